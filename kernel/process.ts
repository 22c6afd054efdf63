/**
 * @module kernel/process
 * The address space of the one simulated process: private memory, shared mappings of maps, `MAP_FIXED` in place of what was
 * there. Owns mappings; the rights on a map's pages are the map's (kernel/maps). Reproduces the parts of mm/mmap.c and of
 * `bpf_map_mmap` (kernel/bpf/syscall.c) that a loader needs.
 */
import { EACCES, EBADF, EINVAL, ENODEV, ENOMEM, ENOTSUPP, EPERM } from '../isa/errno.ts';
import { InputError, InternalError } from '../isa/errors.ts';
import { BPF_F_RDONLY_PROG } from '../isa/uapi.ts';
import { OutOfMemoryError, PAGE_SIZE, USER_BASE } from '../vm/address-space.ts';
import { PROT_READ, PROT_WRITE } from './api.ts';
import { FMODE_READ, FMODE_WRITE, type FileTable, type OpenFile } from './files.ts';
import type { BPFMap } from './maps/map.ts';
import { type KernelMemory, userPointer } from './memory.ts';
import type { KernelObject } from './objects.ts';

const MAP_SHARED = 1;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;

/** One mapping: `start` and `length` in bytes of user space, `offset` where its memory is. */
interface Mapping {
  readonly start: number;
  readonly length: number;
  readonly offset: number;
  readonly writable: boolean;
  readonly readable: boolean;
  /** The mapped file, `undefined` for private memory. */
  readonly file: OpenFile<KernelObject> | undefined;
  readonly map: BPFMap | undefined;
  /** Private memory that lies unseen below a fixed mapping and goes with it. */
  readonly hidden: readonly Mapping[];
  /** Placed by `MAP_FIXED` at an address that is not its memory's own. */
  readonly isMoved: boolean;
}

function pagesUp(length: number): number {
  return Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
}

export class Process {
  private readonly memory: KernelMemory;
  private readonly files: FileTable<KernelObject>;
  private readonly mappings: Map<number, Mapping> = new Map();
  private readonly blocks: Map<number, number> = new Map();

  constructor(memory: KernelMemory, files: FileTable<KernelObject>) {
    this.memory = memory;
    this.files = files;
  }

  /** Private, zeroed, writable memory; its address or `-ENOMEM`. */
  allocate(size: number): number {
    if (!Number.isSafeInteger(size) || size < 0) throw new InputError('user memory', '', `no size: ${size}`);
    try {
      const offset = this.memory.space.mapUser(size, 'user memory', true);
      this.blocks.set(USER_BASE + offset, pagesUp(Math.max(size, 1)));
      return USER_BASE + offset;
    } catch (error) {
      if (error instanceof OutOfMemoryError) return -ENOMEM;
      throw error;
    }
  }

  free(address: number): void {
    const size = this.blocks.get(address);
    if (size === undefined) throw new InternalError(`free of user address 0x${address.toString(16)}, which is not allocated`);
    this.blocks.delete(address);
    this.memory.space.unmapUser(address - USER_BASE, size, true);
  }

  /** A copy; throws InternalError where the range is not mapped. */
  read(address: number, length: number): Uint8Array {
    const bytes = this.memory.copyFrom(userPointer(address), length);
    if (bytes === undefined) throw new InternalError(`read of ${length} bytes at unmapped user address 0x${address.toString(16)}`);
    return bytes;
  }

  /** Writes all bytes; throws InternalError where the range is not mapped or not writable. */
  write(address: number, bytes: Uint8Array): void {
    if (!this.memory.copyTo(userPointer(address), bytes)) {
      throw new InternalError(`write of ${bytes.length} bytes at user address 0x${address.toString(16)}, which is not writable`);
    }
  }

  /** `mmap(2)`: an address or `-errno`. */
  mmap(address: number, length: number, prot: number, flags: number, fd: number, offset: number): number {
    if (length <= 0 || offset % PAGE_SIZE !== 0 || address % PAGE_SIZE !== 0) return -EINVAL;
    if ((flags & MAP_ANONYMOUS) !== 0) return this.mapAnonymous(address, length, prot, flags);
    const file = this.files.get(fd);
    if (file === undefined) return -EBADF;
    // mm/mmap.c: a shared mapping needs a readable file, a writable one a writable file.
    if ((file.mode & FMODE_READ) === 0) return -EACCES;
    const writable = (prot & PROT_WRITE) !== 0;
    if ((flags & MAP_SHARED) !== 0 && writable && (file.mode & FMODE_WRITE) === 0) return -EACCES;
    if (file.target.kind !== 'map') return -ENODEV;
    const map = file.target;
    if (!map.hasMmap || map.record !== undefined) return -ENOTSUPP;
    if ((flags & MAP_SHARED) === 0) return -EINVAL;
    // An arena chooses its address before anything else is looked at (get_unmapped_area).
    const early = map.isArena ? map.mmap(length, offset / PAGE_SIZE, writable, address) : 0;
    if (early < 0) return early;
    if (writable && map.frozen) return -EPERM;
    if (writable && (map.flags & BPF_F_RDONLY_PROG) !== 0) return -EACCES;
    const at = map.isArena ? early : map.mmap(length, offset / PAGE_SIZE, writable, address);
    if (at < 0) return at;
    const size = pagesUp(length);
    const wanted = (flags & MAP_FIXED) !== 0 ? address : map.mappedAt;
    const start = wanted !== 0 ? wanted : USER_BASE + at;
    const isMoved = start !== USER_BASE + at;
    const hidden = isMoved ? this.cover(start, size) : [];
    if (hidden === undefined) return -ENOMEM;
    if (this.mappings.has(start)) return -ENOMEM;
    if (writable) map.writers++;
    file.references++;
    const mapping: Mapping = { start, length: size, offset: at, writable, readable: (prot & PROT_READ) !== 0, file, map, hidden, isMoved };
    this.mappings.set(start, mapping);
    this.show(mapping);
    return start;
  }

  /** `munmap(2)` of a whole mapping: 0 or `-EINVAL`; nothing mapped there is no error, as in Linux. */
  munmap(address: number, length: number): number {
    if (address % PAGE_SIZE !== 0 || length <= 0) return -EINVAL;
    const mapping = this.mappings.get(address);
    if (mapping === undefined) return 0;
    if (pagesUp(length) !== mapping.length) return -EINVAL;
    this.drop(mapping);
    return 0;
  }

  /** Unmaps everything and frees all private memory, as the end of a process does. */
  exit(): void {
    for (const mapping of this.mappings.values()) this.drop(mapping);
    for (const address of this.blocks.keys()) this.free(address);
  }

  /** Bytes of user space in use, private blocks and mappings. */
  get inUse(): number {
    let bytes = 0;
    for (const size of this.blocks.values()) bytes += size;
    for (const mapping of this.mappings.values()) bytes += mapping.length;
    return bytes;
  }

  private mapAnonymous(address: number, length: number, prot: number, flags: number): number {
    if ((flags & MAP_FIXED) !== 0) return -EINVAL;
    void address;
    try {
      const writable = (prot & PROT_WRITE) !== 0;
      const at = this.memory.space.mapUser(length, 'anonymous mapping', writable);
      const start = USER_BASE + at;
      this.mappings.set(start, {
        start, length: pagesUp(length), offset: at, writable, readable: true, file: undefined, map: undefined, hidden: [], isMoved: false,
      });
      return start;
    } catch (error) {
      if (error instanceof OutOfMemoryError) return -ENOMEM;
      throw error;
    }
  }

  /** Takes the private mappings that `[start, start + size)` replaces out of sight; `undefined` where it does not cover them whole. */
  private cover(start: number, size: number): Mapping[] | undefined {
    const covered: Mapping[] = [];
    for (const mapping of this.mappings.values()) {
      if (mapping.start >= start + size || mapping.start + mapping.length <= start) continue;
      if (mapping.start < start || mapping.start + mapping.length > start + size) return undefined;
      covered.push(mapping);
    }
    for (const mapping of covered) {
      this.mappings.delete(mapping.start);
      if (mapping.file !== undefined) this.drop(mapping);
    }
    return covered.filter((mapping) => mapping.file === undefined);
  }

  private show(mapping: Mapping): void {
    if (!mapping.isMoved) {
      this.memory.space.mapUserAlias(mapping.offset, mapping.length, mapping.writable);
      return;
    }
    const first = mapping.start / PAGE_SIZE;
    for (let i = 0; i < mapping.length / PAGE_SIZE; i++) {
      this.memory.fixedPages.set(first + i, { page: mapping.offset / PAGE_SIZE + i, writable: mapping.writable });
    }
  }

  private drop(mapping: Mapping): void {
    this.mappings.delete(mapping.start);
    if (mapping.file === undefined || !mapping.isMoved) this.memory.space.unmapUser(mapping.offset, mapping.length, mapping.writable);
    else {
      const first = mapping.start / PAGE_SIZE;
      for (let i = 0; i < mapping.length / PAGE_SIZE; i++) this.memory.fixedPages.delete(first + i);
    }
    for (const hidden of mapping.hidden) this.memory.space.unmapUser(hidden.offset, hidden.length, hidden.writable);
    if (mapping.map !== undefined && mapping.writable) mapping.map.writers--;
    if (mapping.file !== undefined) this.files.put(mapping.file);
  }
}
