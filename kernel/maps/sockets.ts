/**
 * @module kernel/maps/sockets
 * Maps of network objects: devmap, devmap hash, cpumap, xskmap, sockmap, sockhash, reuseport array. They are created, sized and
 * walked as in the kernel; the instance has one device (loopback, index 1) and no sockets, which decides what an update finds.
 * Reproduces kernel/bpf/devmap.c, cpumap.c, reuseport_array.c, net/xdp/xskmap.c, net/core/sock_map.c.
 */
import { E2BIG, EBADF, EEXIST, EINVAL, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOTSOCK, ENOTSUPP, EOPNOTSUPP, EOVERFLOW } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { checkArray, nextArrayKey } from './array.ts';
import { BPFMap, type ElementFlags, type MapAttributes, type MapHost, type MapProgram } from './map.ts';

const DEVMAP_SIZE = 592;
const CPUMAP_SIZE = 496;
const XSKMAP_SIZE = 560;
const SOCKMAP_SIZE = 624;
const DESCRIPTOR_FLAGS = U.BPF_F_NUMA_NODE | U.BPF_F_RDONLY | U.BPF_F_WRONLY;
/** `NR_CPUS` of the recorded kernel. */
const NR_CPUS = 64;
const MAX_BPF_STACK = 512;
const LOOPBACK = 1;
const MAX_QUEUE = 16384;

function isTooLarge(host: MapHost, bytes: number): boolean {
  return bytes > host.memoryLimit;
}

/** `dev_map_alloc_check` */
export function checkDevMap(attr: MapAttributes): number {
  const isBad = attr.maxEntries === 0 || attr.keySize !== 4 || (attr.valueSize !== 4 && attr.valueSize !== 8)
    || (attr.flags & ~DESCRIPTOR_FLAGS) !== 0;
  if (isBad) return -EINVAL;
  return attr.type === U.BPF_MAP_TYPE_DEVMAP_HASH && attr.maxEntries > 2 ** 31 ? -EINVAL : 0;
}

/** Entries of `{ifindex, program}` or `{queue size, program}` that live as `struct { u32; u32 id }` for lookups. */
abstract class EntryMap extends BPFMap {
  protected readonly entries: Map<number, { readonly value: number; readonly program: MapProgram | undefined }> = new Map();

  protected key(at: number): number {
    return this.host.memory.view.getUint32(at, true);
  }

  protected override freeElements(): void {
    for (const index of this.entries.keys()) this.clear(index);
  }

  protected clear(index: number): void {
    const entry = this.entries.get(index);
    if (entry === undefined) return;
    this.entries.delete(index);
    this.host.memory.free(entry.value);
    entry.program?.put();
  }

  /** Stores an entry; `first` is its first word. */
  protected store(index: number, first: number, program: MapProgram | undefined): number {
    const value = this.host.memory.tryAlloc(8, `entry of ${this.name}`);
    if (value === 0) return -ENOMEM;
    program?.get();
    this.clear(index);
    this.host.memory.view.setUint32(value, first, true);
    this.host.memory.view.setUint32(value + 4, program?.id ?? 0, true);
    this.entries.set(index, { value, program });
    return 0;
  }

  override lookup(at: number): number {
    return this.entries.get(this.key(at))?.value ?? 0;
  }

  override checkBTF(): number {
    return -ENOTSUPP;
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  /** A program of the type and attach type that the map takes, `undefined` for none asked, or `-EINVAL`. */
  protected programFor(fd: number, attachType: number): MapProgram | undefined | number {
    if (this.valueSize < 8 || fd <= 0) return undefined;
    const program = this.host.programByFD(fd);
    if (typeof program === 'number' || program.type !== U.BPF_PROG_TYPE_XDP) return -EINVAL;
    return program.expectedAttachType === attachType ? program : -EINVAL;
  }
}

export class DevMap extends EntryMap {
  static create(host: MapHost, attr: MapAttributes): DevMap | number {
    if (isTooLarge(host, attr.maxEntries * 8)) return -ENOMEM;
    return new DevMap(host, { ...attr, flags: (attr.flags | U.BPF_F_RDONLY_PROG) >>> 0 }, DEVMAP_SIZE);
  }

  private get isHash(): boolean {
    return this.type === U.BPF_MAP_TYPE_DEVMAP_HASH;
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    const view = this.host.memory.view;
    const index = this.key(key);
    const ifindex = view.getUint32(value, true);
    const fd = this.valueSize === 8 ? view.getInt32(value + 4, true) : 0;
    const isKnown = flags.lo >>> 0 <= U.BPF_EXIST && flags.hi === 0;
    if (this.isHash) {
      if (!isKnown || ifindex === 0) return -EINVAL;
      if (this.entries.has(index) && (flags.lo & U.BPF_NOEXIST) !== 0) return -EEXIST;
    } else {
      if (!isKnown) return -EINVAL;
      if (index >= this.maxEntries) return -E2BIG;
      if (flags.lo === U.BPF_NOEXIST) return -EEXIST;
      if (ifindex === 0) {
        if (fd > 0) return -EINVAL;
        this.clear(index);
        return 0;
      }
    }
    if (ifindex !== LOOPBACK) return -EINVAL;
    const program = this.programFor(fd, U.BPF_XDP_DEVMAP);
    if (typeof program === 'number') return program;
    if (this.isHash && !this.entries.has(index) && this.entries.size >= this.maxEntries) return -E2BIG;
    return this.store(index, ifindex, program);
  }

  override remove(key: number): number {
    const index = this.key(key);
    if (!this.isHash) {
      if (index >= this.maxEntries) return -EINVAL;
      this.clear(index);
      return 0;
    }
    if (!this.entries.has(index)) return -ENOENT;
    this.clear(index);
    return 0;
  }

  override nextKey(key: number, out: number): number {
    if (!this.isHash) return nextArrayKey(this, key, out);
    const order = [...this.entries.keys()].sort((a, b) => a - b);
    const at = key === 0 ? -1 : order.indexOf(this.key(key));
    const next = order[at + 1];
    if (next === undefined) return -ENOENT;
    this.host.memory.view.setUint32(out, next, true);
    return 0;
  }
}

export class CPUMap extends EntryMap {
  static create(host: MapHost, attr: MapAttributes): CPUMap | number {
    const isBad = attr.maxEntries === 0 || attr.keySize !== 4 || (attr.valueSize !== 4 && attr.valueSize !== 8)
      || (attr.flags & ~U.BPF_F_NUMA_NODE) !== 0;
    if (isBad) return -EINVAL;
    return attr.maxEntries > NR_CPUS ? -E2BIG : new CPUMap(host, attr, CPUMAP_SIZE);
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    const view = this.host.memory.view;
    const cpu = this.key(key);
    const queue = view.getUint32(value, true);
    if (flags.lo >>> 0 > U.BPF_EXIST || flags.hi !== 0) return -EINVAL;
    if (cpu >= this.maxEntries) return -E2BIG;
    if (flags.lo === U.BPF_NOEXIST) return -EEXIST;
    if (queue > MAX_QUEUE) return -EOVERFLOW;
    if (cpu >= this.host.cpus) return -ENODEV;
    if (queue === 0) {
      this.clear(cpu);
      return 0;
    }
    const program = this.programFor(this.valueSize === 8 ? view.getInt32(value + 4, true) : 0, U.BPF_XDP_CPUMAP);
    return typeof program === 'number' ? program : this.store(cpu, queue, program);
  }

  override remove(key: number): number {
    const cpu = this.key(key);
    if (cpu >= this.maxEntries) return -EINVAL;
    this.clear(cpu);
    return 0;
  }

  override nextKey(key: number, out: number): number {
    return nextArrayKey(this, key, out);
  }
}

/** A map that holds sockets: nothing can be put in. */
export class SocketMap extends BPFMap {
  static create(host: MapHost, attr: MapAttributes): SocketMap | number {
    const bad = socketMapError(attr);
    if (bad !== 0) return bad;
    if (isTooLarge(host, attr.maxEntries * 8)) return -ENOMEM;
    return new SocketMap(host, attr, attr.type === U.BPF_MAP_TYPE_XSKMAP ? XSKMAP_SIZE : SOCKMAP_SIZE);
  }

  private get isHash(): boolean {
    return this.type === U.BPF_MAP_TYPE_SOCKHASH;
  }

  private get isReuseport(): boolean {
    return this.type === U.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY;
  }

  private get isXSK(): boolean {
    return this.type === U.BPF_MAP_TYPE_XSKMAP;
  }

  private isOutside(key: number): boolean {
    return !this.isHash && this.host.memory.view.getUint32(key, true) >= this.maxEntries;
  }

  override checkBTF(): number {
    return this.isReuseport ? 0 : -ENOTSUPP;
  }

  override get hasBTFCheck(): boolean {
    return !this.isReuseport;
  }

  override lookup(): number {
    return 0;
  }

  override copyValue(): number {
    if (this.isXSK) return -EOPNOTSUPP;
    return this.valueSize === 8 ? -ENOENT : -ENOSPC;
  }

  /** A descriptor that is open is no socket. */
  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    const { view } = this.host.memory;
    if (this.isReuseport || this.isXSK) {
      if (flags.lo >>> 0 > U.BPF_EXIST || flags.hi !== 0) return -EINVAL;
      if (this.isOutside(key)) return -E2BIG;
    }
    const fd = this.valueSize === 8 ? view.getBigUint64(value, true) : BigInt(view.getUint32(value, true));
    if (fd > 0x7fffffffn) return this.isXSK ? -EBADF : -EINVAL;
    return this.host.hasFD(Number(fd)) ? -ENOTSOCK : -EBADF;
  }

  override update(): number {
    return -EOPNOTSUPP;
  }

  override remove(key: number): number {
    if (this.isHash) return -ENOENT;
    if (this.isReuseport) return this.isOutside(key) ? -E2BIG : -ENOENT;
    if (this.isXSK) return this.isOutside(key) ? -EINVAL : 0;
    return -EINVAL;
  }

  override nextKey(key: number, out: number): number {
    return this.isHash ? -ENOENT : nextArrayKey(this, key, out);
  }
}

function socketMapError(attr: MapAttributes): number {
  switch (attr.type) {
    case U.BPF_MAP_TYPE_XSKMAP: {
      const isBad = attr.maxEntries === 0 || attr.keySize !== 4 || attr.valueSize !== 4 || (attr.flags & ~DESCRIPTOR_FLAGS) !== 0;
      return isBad ? -EINVAL : 0;
    }
    case U.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
      return 0;
    default: {
      const isHash = attr.type === U.BPF_MAP_TYPE_SOCKHASH;
      const isBad = attr.maxEntries === 0 || (isHash ? attr.keySize === 0 : attr.keySize !== 4 || attr.maxEntries > 0x7fffffff)
        || (attr.valueSize !== 4 && attr.valueSize !== 8) || (attr.flags & ~DESCRIPTOR_FLAGS) !== 0;
      if (isBad) return -EINVAL;
      return isHash && attr.keySize > MAX_BPF_STACK ? -E2BIG : 0;
    }
  }
}

/** `reuseport_array_alloc_check` */
export function checkReuseport(attr: MapAttributes): number {
  return attr.valueSize !== 4 && attr.valueSize !== 8 ? -EINVAL : checkArray(attr);
}
