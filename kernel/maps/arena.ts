/**
 * @module kernel/maps/arena
 * Arenas: pages shared by programs and user space, with addresses that both understand. Reproduces kernel/bpf/arena.c.
 */
import { E2BIG, EBUSY, EINVAL, ENOMEM, EOPNOTSUPP, ERANGE } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { PAGE_SIZE, USER_BASE } from '../../vm/address-space.ts';
import type { ArenaWindow } from '../../vm/types.ts';
import { BPFMap, type MapAttributes, type MapHost } from './map.ts';

const ARENA_SIZE = 976;
/** Bytes of `struct bpf_map`, before the arena's own members. */
const USER_START = 488;

/** Pages shared with user space. They are one block of memory, allocated when the arena is first used. */
export class ArenaMap extends BPFMap {
  /** Address of the arena in user space, 0 until it is known. */
  userStart: bigint;
  userEnd: bigint;
  private pages = 0;
  private watch: { readonly start: number; readonly end: number; touch: (from: number, to: number) => void } | undefined = undefined;
  /** Pages that programs may allocate: neither allocated nor reserved. */
  private readonly isFree: Uint8Array;
  private readonly present: Uint8Array;

  static create(host: MapHost, attr: MapAttributes): ArenaMap | number {
    const known = U.BPF_F_SEGV_ON_FAULT | U.BPF_F_MMAPABLE | U.BPF_F_NO_USER_CONV;
    const isBad = attr.keySize !== 0 || attr.valueSize !== 0 || attr.maxEntries === 0 || (attr.flags & U.BPF_F_MMAPABLE) === 0
      || (attr.flags & ~known) !== 0;
    if (isBad || (attr.mapExtra & 0xfffn) !== 0n) return -EINVAL;
    const range = BigInt(attr.maxEntries) * 4096n;
    if (range > 1n << 32n) return -E2BIG;
    if (attr.mapExtra >> 32n !== BigInt.asUintN(64, attr.mapExtra + range - 1n) >> 32n) return -ERANGE;
    return new ArenaMap(host, attr, ARENA_SIZE);
  }

  constructor(host: MapHost, attr: MapAttributes, structSize: number) {
    super(host, attr, structSize);
    this.userStart = attr.mapExtra;
    this.userEnd = attr.mapExtra === 0n ? 0n : attr.mapExtra + BigInt(attr.maxEntries) * 4096n;
    this.writeRange();
    this.isFree = new Uint8Array(attr.maxEntries).fill(1);
    this.present = new Uint8Array(attr.maxEntries);
  }

  /** `user_vm_start`, `user_vm_end` where programs read them. */
  private writeRange(): void {
    this.host.memory.view.setBigUint64(this.address + USER_START, this.userStart, true);
    this.host.memory.view.setBigUint64(this.address + USER_START + 8, this.userEnd, true);
  }

  /** What a program sees of the arena; `undefined` where it has no address or no memory. */
  window(): ArenaWindow | undefined {
    if (this.userStart === 0n) return undefined;
    const offset = this.block();
    if (offset === 0) return undefined;
    const userLo = Number(BigInt.asIntN(32, this.userStart));
    const userHi = Number(BigInt.asIntN(32, this.userStart >> 32n));
    return { offset, size: this.maxEntries * PAGE_SIZE, userLo, userHi, present: this.present };
  }

  /** The process's first access to a page brings it (`arena_vm_fault`). */
  private touch(from: number, to: number): void {
    for (let page = Math.floor(from / PAGE_SIZE); page < Math.ceil(to / PAGE_SIZE); page++) {
      this.present[page] = 1;
      this.isFree[page] = 0;
    }
  }

  private get pageCount(): number {
    return Number((this.userEnd - this.userStart) / 4096n);
  }

  /** Index of the page at the low half of a user address. */
  private pageOf(lo: number): number {
    return ((lo - Number(BigInt.asIntN(32, this.userStart))) >>> 0) / PAGE_SIZE | 0;
  }

  private isRangeFree(first: number, count: number): boolean {
    for (let page = first; page < first + count; page++) if (this.isFree[page] !== 1) return false;
    return true;
  }

  /** `arena_alloc_pages`: low half of the user address of the pages; 0 where there are none. `lo` 0 asks for any. */
  allocatePages(lo: number, count: number): number {
    const limit = this.pageCount;
    if (count > limit || (lo & (PAGE_SIZE - 1)) !== 0 || this.block() === 0) return 0;
    let first = -1;
    if (lo !== 0) {
      first = this.pageOf(lo);
      if (first > limit - count || !this.isRangeFree(first, count)) return 0;
    } else {
      for (let page = 0; page <= limit - count && first < 0; page++) if (this.isRangeFree(page, count)) first = page;
      if (first < 0) return 0;
    }
    this.isFree.fill(0, first, first + count);
    this.present.fill(1, first, first + count);
    const at = this.pages + first * PAGE_SIZE;
    this.host.memory.u8.fill(0, at, at + count * PAGE_SIZE);
    return (Number(BigInt.asUintN(32, this.userStart)) + first * PAGE_SIZE) | 0;
  }

  /** `arena_free_pages` */
  freePages(lo: number, count: number): void {
    const offset = (lo & ~(PAGE_SIZE - 1)) >>> 0;
    const start = Number(BigInt.asUintN(32, this.userStart));
    if (offset < start || this.pages === 0) return;
    const first = (offset - start) / PAGE_SIZE;
    const end = Math.min(this.pageCount, first + count);
    if (first >= end) return;
    this.isFree.fill(1, first, end);
    this.present.fill(0, first, end);
    this.host.memory.u8.fill(0, this.pages + first * PAGE_SIZE, this.pages + end * PAGE_SIZE);
  }

  /** `arena_reserve_pages`: keeps pages from being allocated. */
  reservePages(lo: number, count: number): number {
    if ((lo & (PAGE_SIZE - 1)) !== 0) return 0;
    const first = this.pageOf(lo);
    if (first + count > this.pageCount) return -EINVAL;
    if (!this.isRangeFree(first, count)) return -EBUSY;
    this.isFree.fill(0, first, first + count);
    return 0;
  }

  protected override freeElements(): void {
    if (this.pages !== 0) this.host.memory.free(this.pages);
    if (this.watch !== undefined) this.host.memory.watched.delete(this.watch);
  }

  /** Offset of the first page, 0 where there is no memory for it. */
  block(): number {
    if (this.pages === 0 && this.maxEntries * PAGE_SIZE <= this.host.memoryLimit) {
      this.pages = this.host.memory.tryAlloc(this.maxEntries * PAGE_SIZE, `arena ${this.name}`, PAGE_SIZE);
    }
    return this.pages;
  }

  override get hasMmap(): boolean {
    return true;
  }

  override get mappedAt(): number {
    return Number(this.userStart);
  }

  /** `arena_get_unmapped_area`, `arena_map_mmap` */
  override mmap(length: number, page: number, _writable: boolean, address: number): number {
    if (page !== 0) return -EINVAL;
    const size = Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
    if (size > 2 ** 32) return -E2BIG;
    if (this.userStart !== 0n) {
      const range = this.userEnd - this.userStart;
      if (BigInt(size) > range) return -E2BIG;
      if (BigInt(size) !== range || BigInt(address) !== this.userStart) return -EINVAL;
    }
    const at = this.block();
    if (at === 0) return -ENOMEM;
    if (this.userStart === 0n) {
      this.userStart = BigInt(USER_BASE + at);
      this.userEnd = this.userStart + BigInt(size);
      this.writeRange();
    }
    if (this.watch === undefined) {
      this.watch = { start: Number(this.userStart), end: Number(this.userEnd), touch: (from, to) => this.touch(from, to) };
      this.host.memory.watched.add(this.watch);
    }
    return at;
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  override checkBTF(): number {
    return 0;
  }

  override lookup(): number {
    return -EINVAL;
  }

  override update(): number {
    return -EOPNOTSUPP;
  }

  override remove(): number {
    return -EOPNOTSUPP;
  }

  override nextKey(): number {
    return -EOPNOTSUPP;
  }

  override push(): number {
    return -EOPNOTSUPP;
  }

  override pop(): number {
    return -EOPNOTSUPP;
  }

  override peek(): number {
    return -EOPNOTSUPP;
  }

  override directValueAddress(offset: number): number {
    if (BigInt(offset) >= this.userEnd - this.userStart) return -ERANGE;
    return Number(BigInt.asUintN(32, this.userStart)) + offset;
  }
}
