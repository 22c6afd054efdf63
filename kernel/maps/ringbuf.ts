/**
 * @module kernel/maps/ringbuf
 * `BPF_MAP_TYPE_RINGBUF` and `BPF_MAP_TYPE_USER_RINGBUF`: positions and records in linear memory in the layout that user space
 * maps. The kernel maps the data pages twice in a row; here the second copy is real memory that is kept equal when a record is
 * committed. Reproduces kernel/bpf/ringbuf.c.
 */
import { E2BIG, EAGAIN, EINVAL, ENODATA, ENOMEM, ENOTSUPP, EPERM } from '../../isa/errno.ts';
import {
  BPF_F_NUMA_NODE, BPF_F_RB_OVERWRITE, BPF_MAP_TYPE_RINGBUF, BPF_RB_AVAIL_DATA, BPF_RB_CONS_POS, BPF_RB_OVERWRITE_POS, BPF_RB_PROD_POS,
  BPF_RB_RING_SIZE,
} from '../../isa/uapi.ts';
import { PAGE_SIZE } from '../../vm/address-space.ts';
import { BPFMap, type MapAttributes, type MapHost } from './map.ts';

/** `struct bpf_ringbuf_map` and `struct bpf_ringbuf` of Linux 7.3.4. The first page of the latter is not mapped to user space. */
const RINGBUF_MAP_SIZE = 496;
const RINGBUF_MAP_RB = 488;
const CONSUMER = PAGE_SIZE;
const PRODUCER = 2 * PAGE_SIZE;
const PENDING = PRODUCER + 8;
const OVERWRITE = PRODUCER + 16;
const DATA = 3 * PAGE_SIZE;
const HEADER = 8;
const BUSY = 0x80000000;
const DISCARD = 0x40000000;
const MAX_RECORD = 0xffffffff >>> 2;
/** Largest size of a dynptr (24 bits). */
const DYNPTR_MAX = 0xffffff;

const CREATE_FLAGS = BPF_F_NUMA_NODE | BPF_F_RB_OVERWRITE;

function recordLength(header: number): number {
  return Math.ceil(((header & ~DISCARD) >>> 0) / 8 + 1) * 8;
}

export class RingBufferMap extends BPFMap {
  /** Offset of `struct bpf_ringbuf`. */
  readonly ring: number;
  private readonly isOverwriting: boolean;
  /** A drain is under way (user ring buffers). */
  isBusy = false;

  /** `ringbuf_map_alloc`; the kind has no check of its own before. */
  static create(host: MapHost, attr: MapAttributes): RingBufferMap | number {
    if ((attr.flags & ~CREATE_FLAGS) !== 0) return -EINVAL;
    if ((attr.flags & BPF_F_RB_OVERWRITE) !== 0 && attr.type !== BPF_MAP_TYPE_RINGBUF) return -EINVAL;
    const size = attr.maxEntries;
    if (attr.keySize !== 0 || attr.valueSize !== 0 || size === 0 || (size & (size - 1)) !== 0 || size % PAGE_SIZE !== 0) return -EINVAL;
    if (DATA + 2 * size > host.memoryLimit) return -ENOMEM;
    const ring = host.memory.tryAlloc(DATA + 2 * size, `ring buffer ${attr.name}`, PAGE_SIZE);
    return ring === 0 ? -ENOMEM : new RingBufferMap(host, attr, ring);
  }

  private constructor(host: MapHost, attr: MapAttributes, ring: number) {
    super(host, attr, RINGBUF_MAP_SIZE);
    this.ring = ring;
    this.isOverwriting = (attr.flags & BPF_F_RB_OVERWRITE) !== 0;
    host.memory.space.setPointer(this.address + RINGBUF_MAP_RB, ring);
    host.rings.set(ring, this);
  }

  protected override freeElements(): void {
    this.host.rings.delete(this.ring);
    this.host.memory.free(this.ring);
  }

  private position(at: number): number {
    const view = this.host.memory.view;
    return view.getUint32(this.ring + at, true) + view.getUint32(this.ring + at + 4, true) * 0x100000000;
  }

  private setPosition(at: number, value: number): void {
    const view = this.host.memory.view;
    view.setUint32(this.ring + at, value % 0x100000000, true);
    view.setUint32(this.ring + at + 4, Math.floor(value / 0x100000000) >>> 0, true);
  }

  private dataAt(position: number): number {
    return this.ring + DATA + (position % this.maxEntries);
  }

  /** `ringbuf_avail_data_sz` */
  private available(): number {
    const unread = this.position(PRODUCER) - this.position(CONSUMER);
    return this.isOverwriting ? Math.min(unread, this.position(PRODUCER) - this.position(OVERWRITE)) : unread;
  }

  /** `bpf_ringbuf_query` */
  query(what: number): number {
    switch (what) {
      case BPF_RB_AVAIL_DATA: return this.available();
      case BPF_RB_RING_SIZE: return this.maxEntries;
      case BPF_RB_CONS_POS: return this.position(CONSUMER);
      case BPF_RB_PROD_POS: return this.position(PRODUCER);
      case BPF_RB_OVERWRITE_POS: return this.position(OVERWRITE);
      default: return 0;
    }
  }

  /** Address of a record of `size` bytes, 0 where there is no room (`__bpf_ringbuf_reserve`). */
  reserve(size: number): number {
    if (size > MAX_RECORD) return 0;
    const length = Math.ceil((size + HEADER) / 8) * 8;
    if (length > this.maxEntries) return 0;
    const view = this.host.memory.view;
    const producer = this.position(PRODUCER);
    const end = producer + length;
    let pending = this.position(PENDING);
    while (pending < producer) {
      const header = view.getUint32(this.dataAt(pending), true);
      if (header >= BUSY) break;
      pending += recordLength(header);
    }
    this.setPosition(PENDING, pending);
    if (end - pending > this.maxEntries - 1) return 0;
    if (!this.isOverwriting && end - this.position(CONSUMER) > this.maxEntries - 1) return 0;
    if (this.isOverwriting) this.advanceOverwritten(end);
    const at = this.dataAt(producer);
    view.setUint32(at, (size | BUSY) >>> 0, true);
    view.setUint32(at + 4, (at - this.ring) >>> 12, true);
    this.mirror(at, HEADER);
    this.setPosition(PRODUCER, end);
    return at + HEADER;
  }

  private advanceOverwritten(end: number): void {
    const view = this.host.memory.view;
    let over = this.position(OVERWRITE);
    while (end - over > this.maxEntries - 1) over += recordLength(view.getUint32(this.dataAt(over), true));
    this.setPosition(OVERWRITE, over);
  }

  /** Makes both copies of the data pages equal for `length` bytes from `at`, which lies in the first. */
  private mirror(at: number, length: number): void {
    const u8 = this.host.memory.u8;
    const start = this.ring + DATA;
    const end = start + this.maxEntries;
    const inside = Math.min(length, end - at);
    u8.copyWithin(at + this.maxEntries, at, at + inside);
    if (inside < length) u8.copyWithin(start, end, end + length - inside);
  }

  /** `bpf_ringbuf_commit` */
  static commit(host: MapHost, sample: number, isDiscarded: boolean): void {
    const view = host.memory.view;
    const header = sample - HEADER;
    const ring = (header - (header % PAGE_SIZE)) - view.getUint32(header + 4, true) * PAGE_SIZE;
    const map = host.rings.get(ring);
    const length = ((view.getUint32(header, true) ^ BUSY) >>> 0);
    view.setUint32(header, (isDiscarded ? length | DISCARD : length) >>> 0, true);
    if (map instanceof RingBufferMap) map.mirror(header, HEADER + (length & ~DISCARD));
  }

  /** `bpf_ringbuf_output`; `data` is an offset. */
  output(data: number, size: number): number {
    const record = this.reserve(size);
    if (record === 0) return -EAGAIN;
    this.host.memory.u8.copyWithin(record, data, data + size);
    RingBufferMap.commit(this.host, record, false);
    return 0;
  }

  /**
   * The next sample that user space produced (`__bpf_user_ringbuf_peek`): `[address, size]`, or `-ENODATA`, `-EAGAIN` for a
   * discarded one (which is passed over), `-EINVAL`, `-E2BIG`.
   */
  peekSample(): readonly [address: number, size: number] | number {
    const producer = this.position(PRODUCER);
    if (producer % 8 !== 0) return -EINVAL;
    const consumer = this.position(CONSUMER);
    if (consumer >= producer) return -ENODATA;
    const at = this.dataAt(consumer);
    const header = this.host.memory.view.getUint32(at, true);
    const size = (header & ~(BUSY | DISCARD)) >>> 0;
    const total = Math.ceil((size + HEADER) / 8) * 8;
    if (total > producer - consumer) return -EINVAL;
    if (total > this.maxEntries) return -E2BIG;
    if (size > DYNPTR_MAX) return -E2BIG;
    if ((header & DISCARD) !== 0) {
      this.setPosition(CONSUMER, consumer + total);
      return -EAGAIN;
    }
    if (header >= BUSY) return -ENODATA;
    this.mirror(at, total);
    return [this.ring + DATA + ((consumer + HEADER) % this.maxEntries), size];
  }

  releaseSample(size: number): void {
    this.setPosition(CONSUMER, this.position(CONSUMER) + Math.ceil((size + HEADER) / 8) * 8);
  }

  override get hasMmap(): boolean {
    return true;
  }

  /** `ringbuf_map_mmap_kern`, `ringbuf_map_mmap_user` */
  override mmap(length: number, page: number, writable: boolean): number {
    const size = Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
    if (writable) {
      const isKernelProducer = this.type === BPF_MAP_TYPE_RINGBUF;
      if (isKernelProducer ? page !== 0 || size !== PAGE_SIZE : page === 0) return -EPERM;
    }
    if ((page + 1) * PAGE_SIZE + size > DATA + 2 * this.maxEntries) return -EINVAL;
    return this.ring + (page + 1) * PAGE_SIZE;
  }

  override lookup(): number {
    return -ENOTSUPP;
  }
}
