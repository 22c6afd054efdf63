/**
 * @module kernel/maps/hashtab
 * Hash maps: plain, per-CPU, LRU, LRU per-CPU. Elements lie in linear memory as `struct htab_elem`, key, value; buckets and
 * chains are kept beside, in the kernel's order (new elements first). Reproduces kernel/bpf/hashtab.c; eviction is `lru.ts`.
 */
import type { BTF } from '../../btf/btf.ts';
import { BPF_SPIN_LOCK } from '../../btf/record.ts';
import { E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, ENOTSUPP, EPERM } from '../../isa/errno.ts';
import {
  BPF_EXIST, BPF_F_ALL_CPUS, BPF_F_CPU, BPF_F_LOCK, BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_F_ZERO_SEED,
  BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_HASH, BPF_NOEXIST,
} from '../../isa/uapi.ts';
import { CAP_SYS_ADMIN } from '../api.ts';
import { hashKey } from './jhash.ts';
import { LRU } from './lru.ts';
import {
  ACCESS_MASK, accessFlagsOK, BPFMap, type BatchOperations, type ElementFlags, KMALLOC_MAX_SIZE, type MapAttributes, type MapHost,
  PCPU_MIN_UNIT_SIZE, roundUp8,
} from './map.ts';

/** `struct bpf_htab` and `struct htab_elem` of Linux 7.3.4. */
const HTAB_SIZE = 1152;
const HTAB_BUCKET_COUNT = 1136;
export const ELEMENT_HEADER = 48;
const ELEMENT_HASH = 40;
const LRU_REF = 16 + 19;
const BUCKET_BYTES = 16;

const CREATE_FLAGS = BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE | ACCESS_MASK | BPF_F_ZERO_SEED;

export function isPerCPUHash(type: number): boolean {
  return type === BPF_MAP_TYPE_PERCPU_HASH || type === BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

export function isLRUHash(type: number): boolean {
  return type === BPF_MAP_TYPE_LRU_HASH || type === BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/** `htab_map_alloc_check` */
export function checkHash(attr: MapAttributes, host: MapHost): number {
  const isPerCPU = isPerCPUHash(attr.type);
  const isLRU = isLRUHash(attr.type);
  const hasOwnLists = (attr.flags & BPF_F_NO_COMMON_LRU) !== 0;
  if ((attr.flags & BPF_F_ZERO_SEED) !== 0 && !host.capable(CAP_SYS_ADMIN)) return -EPERM;
  if ((attr.flags & ~CREATE_FLAGS) !== 0 || !accessFlagsOK(attr.flags)) return -EINVAL;
  if (!isLRU && hasOwnLists) return -EINVAL;
  if (isLRU && (attr.flags & BPF_F_NO_PREALLOC) !== 0) return -ENOTSUPP;
  if (attr.numaNode !== -1 && (isPerCPU || hasOwnLists)) return -EINVAL;
  if (attr.maxEntries === 0 || attr.keySize === 0 || attr.valueSize === 0) return -EINVAL;
  if (attr.keySize + attr.valueSize >= KMALLOC_MAX_SIZE - ELEMENT_HEADER) return -E2BIG;
  if (isPerCPU && roundUp8(attr.valueSize) > PCPU_MIN_UNIT_SIZE) return -E2BIG;
  return 0;
}

/** `max_entries` as the map keeps it: with lists by CPU, the same number for each. */
function adjustedEntries(attr: MapAttributes, cpus: number): number {
  if ((attr.flags & BPF_F_NO_COMMON_LRU) === 0) return attr.maxEntries;
  const up = Math.ceil(attr.maxEntries / cpus) * cpus;
  return up > 0xffffffff ? Math.floor(attr.maxEntries / cpus) * cpus : up;
}

function nextPowerOfTwo(n: number): number {
  return n <= 1 ? 1 : 2 ** (32 - Math.clz32(n - 1));
}

const BATCH: BatchOperations = { lookup: 'buckets', lookupAndDelete: 'buckets', update: true, delete: true };

/** Table, elements and chains: everything that the four kinds and the hash of maps share. */
export abstract class HashBase extends BPFMap {
  readonly bucketCount: number;
  readonly seed: number;
  protected readonly isPrealloc: boolean;
  /** Bytes from an element to its value (or its pointer to per-CPU copies). */
  protected readonly valueOffset: number;
  private readonly elementBytes: number;
  /** Chains: element addresses by bucket, newest first. */
  private readonly buckets: Map<number, number[]> = new Map();
  /** Buckets with elements, ascending; rebuilt when needed. */
  private order: number[] | undefined = undefined;
  /** Elements that were used before; reused last in, first out. */
  private readonly spare: number[] = [];
  private readonly allElements: number[] = [];
  protected count = 0;

  constructor(host: MapHost, attr: MapAttributes, valueBytes: number) {
    const maxEntries = adjustedEntries(attr, host.cpus);
    super(host, attr, HTAB_SIZE, maxEntries);
    this.bucketCount = nextPowerOfTwo(maxEntries);
    this.seed = (attr.flags & BPF_F_ZERO_SEED) !== 0 ? 0 : host.random();
    this.isPrealloc = (attr.flags & BPF_F_NO_PREALLOC) === 0;
    this.valueOffset = ELEMENT_HEADER + roundUp8(attr.keySize);
    this.elementBytes = this.valueOffset + valueBytes;
    host.memory.view.setUint32(this.address + HTAB_BUCKET_COUNT, this.bucketCount, true);
  }

  /** Rules of `htab_map_alloc` on sizes: 0, `-E2BIG`, `-ENOMEM`. */
  static checkSize(host: MapHost, attr: MapAttributes, valueBytes: number): number {
    const entries = adjustedEntries(attr, host.cpus);
    if (entries > 2 ** 31) return -E2BIG;
    const bucketCount = nextPowerOfTwo(entries);
    if (bucketCount > Math.floor(0xffffffff / BUCKET_BYTES)) return -E2BIG;
    const isPrealloc = (attr.flags & BPF_F_NO_PREALLOC) === 0;
    const elements = isPrealloc ? entries * (ELEMENT_HEADER + roundUp8(attr.keySize) + valueBytes) : 0;
    return bucketCount * BUCKET_BYTES + elements > host.memoryLimit ? -ENOMEM : 0;
  }

  override get batchOperations(): BatchOperations {
    return BATCH;
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  override checkBTF(_btf: BTF, keyType: number, _valueType: number): number {
    return keyType === 0 ? -EINVAL : 0;
  }

  /** Elements of a bucket, newest first: for batch commands. */
  bucket(index: number): readonly number[] {
    return this.buckets.get(index) ?? [];
  }

  /** Address of an element's key. */
  keyOf(element: number): number {
    return element + ELEMENT_HEADER;
  }

  /** First bucket with elements from `from` on; `bucketCount` where there is none. */
  nextBucket(from: number): number {
    this.order ??= [...this.buckets.keys()].sort((x, y) => x - y);
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.order[middle] ?? 0) < from) low = middle + 1;
      else high = middle;
    }
    return this.order[low] ?? this.bucketCount;
  }

  protected hash(key: number): number {
    return hashKey(this.host.memory.view, key, this.keySize, this.seed);
  }

  protected bucketOf(hash: number): number {
    return (hash & (this.bucketCount - 1)) >>> 0;
  }

  /** Address of the element of that key, 0 if there is none. */
  find(key: number): number {
    const hash = this.hash(key);
    return this.findHashed(key, hash);
  }

  protected findHashed(key: number, hash: number): number {
    const chain = this.buckets.get(this.bucketOf(hash));
    if (chain === undefined) return 0;
    const { u8, view } = this.host.memory;
    for (const element of chain) {
      if (view.getUint32(element + ELEMENT_HASH, true) !== hash) continue;
      const at = element + ELEMENT_HEADER;
      let i = 0;
      while (i < this.keySize && u8[at + i] === u8[key + i]) i++;
      if (i === this.keySize) return element;
    }
    return 0;
  }

  /** `check_flags`, on the flags without `BPF_F_LOCK`. */
  protected checkExistence(old: number, flags: number): number {
    const plain = flags & ~BPF_F_LOCK;
    if (old !== 0 && plain === BPF_NOEXIST) return -EEXIST;
    if (old === 0 && plain === BPF_EXIST) return -ENOENT;
    return 0;
  }

  /** A fresh or reused element's memory. 0 where memory is exhausted. */
  protected takeElement(): number {
    const spare = this.spare.pop();
    if (spare !== undefined) return spare;
    const element = this.host.memory.tryAlloc(this.elementBytes, `element of ${this.name}`);
    if (element === 0) return 0;
    this.allElements.push(element);
    if (!this.initElement(element)) {
      this.allElements.pop();
      this.host.memory.free(element);
      return 0;
    }
    return element;
  }

  /** Prepares a new element's memory (per-CPU copies); false where memory is exhausted. */
  protected initElement(_element: number): boolean {
    return true;
  }

  protected freeElementMemory(_element: number): void {}

  protected giveBack(element: number): void {
    this.zeroElementFields(element);
    this.spare.push(element);
  }

  /** Special fields of a removed element end with it (`check_and_cancel_fields`). */
  protected zeroElementFields(element: number): void {
    this.zeroSpecialFields(element + this.valueOffset);
  }

  /** Puts an element at the head of its chain. */
  protected link(element: number, key: number, hash: number): void {
    const { u8, view } = this.host.memory;
    u8.copyWithin(element + ELEMENT_HEADER, key, key + this.keySize);
    view.setUint32(element + ELEMENT_HASH, hash, true);
    const bucket = this.bucketOf(hash);
    const chain = this.buckets.get(bucket);
    if (chain === undefined) {
      this.buckets.set(bucket, [element]);
      this.order = undefined;
    } else chain.unshift(element);
    this.count++;
  }

  /** Takes an element out of its chain; false where it is in none. */
  protected unlink(element: number): boolean {
    const bucket = this.bucketOf(this.host.memory.view.getUint32(element + ELEMENT_HASH, true));
    const chain = this.buckets.get(bucket);
    const at = chain === undefined ? -1 : chain.indexOf(element);
    if (chain === undefined || at < 0) return false;
    chain.splice(at, 1);
    if (chain.length === 0) {
      this.buckets.delete(bucket);
      this.order = undefined;
    }
    this.count--;
    return true;
  }

  override nextKey(key: number, out: number): number {
    const u8 = this.host.memory.u8;
    let from = 0;
    if (key !== 0) {
      const hash = this.hash(key);
      const element = this.findHashed(key, hash);
      if (element !== 0) {
        const bucket = this.bucketOf(hash);
        const chain = this.bucket(bucket);
        const next = chain[chain.indexOf(element) + 1];
        if (next !== undefined) {
          u8.copyWithin(out, next + ELEMENT_HEADER, next + ELEMENT_HEADER + this.keySize);
          return 0;
        }
        from = bucket + 1;
      }
    }
    const first = this.bucket(this.nextBucket(from))[0];
    if (first === undefined) return -ENOENT;
    u8.copyWithin(out, first + ELEMENT_HEADER, first + ELEMENT_HEADER + this.keySize);
    return 0;
  }

  override forEach(visit: (key: number, value: number) => boolean): number {
    let calls = 0;
    for (let bucket = this.nextBucket(0); bucket < this.bucketCount; bucket = this.nextBucket(bucket + 1)) {
      for (const element of this.bucket(bucket).slice()) {
        calls++;
        if (!visit(element + ELEMENT_HEADER, this.valueFor(element, this.host.currentCPU))) return calls;
      }
    }
    return calls;
  }

  /** Address of an element's value as a program on that CPU sees it. */
  protected valueFor(element: number, _cpu: number): number {
    return element + this.valueOffset;
  }

  /** Removes an element that is linked. */
  abstract drop(element: number): void;

  /** Copies the value of a linked element as user space sees it. */
  abstract copyElement(element: number, out: number, flags: ElementFlags): void;

  override lookup(key: number): number {
    const element = this.find(key);
    return element === 0 ? 0 : this.valueFor(element, this.host.currentCPU);
  }

  override copyValue(key: number, out: number, flags: ElementFlags): number {
    const element = this.find(key);
    if (element === 0) return -ENOENT;
    this.copyElement(element, out, flags);
    return 0;
  }

  override remove(key: number): number {
    const element = this.find(key);
    if (element === 0) return -ENOENT;
    this.drop(element);
    return 0;
  }

  override lookupAndDelete(key: number, out: number, _flags: ElementFlags): number {
    const element = this.find(key);
    if (element === 0) return -ENOENT;
    this.copyElement(element, out, { lo: 0, hi: 0 });
    this.drop(element);
    return 0;
  }

  protected override freeElements(): void {
    for (const element of this.allElements) {
      this.freeElementMemory(element);
      this.host.memory.free(element);
    }
    this.allElements.length = 0;
  }
}

function hasLock(map: BPFMap): boolean {
  return ((map.record?.fieldMask ?? 0) & BPF_SPIN_LOCK) !== 0;
}

/** `BPF_MAP_TYPE_HASH` */
export class HashMap extends HashBase {
  static create(host: MapHost, attr: MapAttributes): HashMap | number {
    const bad = HashBase.checkSize(host, attr, roundUp8(attr.valueSize));
    return bad !== 0 ? bad : new HashMap(host, attr, roundUp8(attr.valueSize));
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    if ((flags.lo & ~BPF_F_LOCK) >>> 0 > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    const isLocked = (flags.lo & BPF_F_LOCK) !== 0;
    if (isLocked && !hasLock(this)) return -EINVAL;
    const hash = this.hash(key);
    const old = this.findHashed(key, hash);
    const bad = this.checkExistence(old, flags.lo);
    if (bad !== 0) return bad;
    if (old !== 0 && isLocked) {
      this.copyIn(value, old + this.valueOffset);
      return 0;
    }
    if (old === 0 && this.count >= this.maxEntries) return -E2BIG;
    const element = this.takeElement();
    if (element === 0) return -ENOMEM;
    this.copyIn(value, element + this.valueOffset);
    this.link(element, key, hash);
    if (old !== 0) this.drop(old);
    return 0;
  }

  override drop(element: number): void {
    this.unlink(element);
    this.giveBack(element);
  }

  override copyElement(element: number, out: number): void {
    this.copyOut(element + this.valueOffset, out);
  }
}

/** Values by CPU behind a pointer in the element; updated in place. */
abstract class PerCPUHashBase extends HashBase {
  private readonly copySize: number;

  constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr, 8);
    this.copySize = roundUp8(attr.valueSize);
  }

  override get isPerCPU(): boolean {
    return true;
  }

  protected override initElement(element: number): boolean {
    const copies = this.host.memory.tryAlloc(this.copySize * this.host.cpus, `per-CPU values of ${this.name}`);
    if (copies === 0) return false;
    this.host.memory.space.setPointer(element + this.valueOffset, copies);
    return true;
  }

  protected override freeElementMemory(element: number): void {
    this.host.memory.free(this.copies(element));
  }

  private copies(element: number): number {
    return this.host.memory.view.getUint32(element + this.valueOffset, true);
  }

  protected override zeroElementFields(element: number): void {
    for (let cpu = 0; cpu < this.host.cpus; cpu++) this.zeroSpecialFields(this.valueFor(element, cpu));
  }

  protected override valueFor(element: number, cpu: number): number {
    return this.copies(element) + cpu * this.copySize;
  }

  override lookupPerCPU(key: number, cpu: number): number {
    if (cpu >= this.host.cpus) return 0;
    const element = this.find(key);
    return element === 0 ? 0 : this.valueFor(element, cpu);
  }

  override copyElement(element: number, out: number, flags: ElementFlags): void {
    if ((flags.lo & BPF_F_CPU) !== 0) {
      this.copyOut(this.valueFor(element, flags.hi >>> 0), out);
      return;
    }
    for (let cpu = 0; cpu < this.host.cpus; cpu++) this.copyOut(this.valueFor(element, cpu), out + cpu * this.copySize);
  }

  /** `htab_map_check_update_flags` */
  protected checkUpdateFlags(flags: ElementFlags, isFromUser: boolean): number {
    if (isFromUser) return (flags.lo & BPF_F_LOCK) !== 0 || flags.lo >>> 0 > BPF_F_ALL_CPUS ? -EINVAL : 0;
    return flags.lo >>> 0 > BPF_EXIST || flags.hi !== 0 ? -EINVAL : 0;
  }

  /** `pcpu_copy_value` */
  protected overwrite(element: number, value: number, flags: ElementFlags, isFromUser: boolean): void {
    if (!isFromUser) {
      this.copyIn(value, this.valueFor(element, this.host.currentCPU));
      return;
    }
    if ((flags.lo & BPF_F_CPU) !== 0) {
      this.copyIn(value, this.valueFor(element, flags.hi >>> 0));
      return;
    }
    const isSame = (flags.lo & BPF_F_ALL_CPUS) !== 0;
    for (let cpu = 0; cpu < this.host.cpus; cpu++) {
      this.copyIn(isSame ? value : value + cpu * this.copySize, this.valueFor(element, cpu));
    }
  }

  /** `pcpu_init_value`: copies of other CPUs begin as zeros. */
  protected initialise(element: number, value: number, flags: ElementFlags, isFromUser: boolean): void {
    if (isFromUser && (flags.lo & BPF_F_CPU) === 0) {
      this.overwrite(element, value, flags, true);
      return;
    }
    const chosen = (flags.lo & BPF_F_CPU) !== 0 ? flags.hi >>> 0 : this.host.currentCPU;
    for (let cpu = 0; cpu < this.host.cpus; cpu++) {
      if (cpu === chosen) this.copyIn(value, this.valueFor(element, cpu));
      else this.zeroValue(this.valueFor(element, cpu));
    }
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    return this.store(key, value, flags, false);
  }

  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    return this.store(key, value, flags, true);
  }

  protected abstract store(key: number, value: number, flags: ElementFlags, isFromUser: boolean): number;
}

/** `BPF_MAP_TYPE_PERCPU_HASH` */
export class PerCPUHashMap extends PerCPUHashBase {
  static create(host: MapHost, attr: MapAttributes): PerCPUHashMap | number {
    const bad = HashBase.checkSize(host, attr, 8 + roundUp8(attr.valueSize) * host.cpus);
    return bad !== 0 ? bad : new PerCPUHashMap(host, attr);
  }

  /** `htab_map_update_elem_in_place` */
  protected override store(key: number, value: number, flags: ElementFlags, isFromUser: boolean): number {
    const badFlags = this.checkUpdateFlags(flags, isFromUser);
    if (badFlags !== 0) return badFlags;
    const hash = this.hash(key);
    const old = this.findHashed(key, hash);
    const bad = flags.hi === 0 ? this.checkExistence(old, flags.lo) : 0;
    if (bad !== 0) return bad;
    if (old !== 0) {
      this.overwrite(old, value, flags, isFromUser);
      return 0;
    }
    if (this.count >= this.maxEntries) return -E2BIG;
    const element = this.takeElement();
    if (element === 0) return -ENOMEM;
    this.initialise(element, value, flags, isFromUser);
    this.link(element, key, hash);
    return 0;
  }

  override drop(element: number): void {
    this.unlink(element);
    this.giveBack(element);
  }
}

/** `BPF_MAP_TYPE_LRU_HASH` */
export class LRUHashMap extends HashBase {
  private readonly lru: LRU;

  static create(host: MapHost, attr: MapAttributes): LRUHashMap | number {
    const bad = HashBase.checkSize(host, attr, roundUp8(attr.valueSize));
    return bad !== 0 ? bad : new LRUHashMap(host, attr);
  }

  constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr, roundUp8(attr.valueSize));
    this.lru = new LRU(this.maxEntries, host.cpus, (attr.flags & BPF_F_NO_COMMON_LRU) !== 0, refBits(host), () => this.takeElement(), (element) => this.unlink(element));
  }

  override lookup(key: number): number {
    const element = this.find(key);
    if (element === 0) return 0;
    this.host.memory.view.setUint8(element + LRU_REF, 1);
    return element + this.valueOffset;
  }

  override lookupForSystemCall(key: number): number {
    const element = this.find(key);
    return element === 0 ? 0 : element + this.valueOffset;
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    if (flags.lo >>> 0 > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    const hash = this.hash(key);
    const element = this.lru.pop(this.host.currentCPU, hash);
    if (element === 0) return -ENOMEM;
    this.copyIn(value, element + this.valueOffset);
    const old = this.findHashed(key, hash);
    const bad = this.checkExistence(old, flags.lo);
    if (bad !== 0) {
      this.lru.push(element);
      return bad;
    }
    if (old !== 0) this.host.memory.view.setUint8(element + LRU_REF, 1);
    this.link(element, key, hash);
    if (old !== 0) this.drop(old);
    return 0;
  }

  override drop(element: number): void {
    this.unlink(element);
    this.zeroElementFields(element);
    this.lru.push(element);
  }

  override copyElement(element: number, out: number): void {
    this.copyOut(element + this.valueOffset, out);
  }
}

/** The reference bit of `struct bpf_lru_node` inside an element. */
function refBits(host: MapHost): { get(element: number): boolean; set(element: number, value: boolean): void } {
  return {
    get: (element) => host.memory.view.getUint8(element + LRU_REF) !== 0,
    set: (element, value) => host.memory.view.setUint8(element + LRU_REF, value ? 1 : 0),
  };
}

/** `BPF_MAP_TYPE_LRU_PERCPU_HASH` */
export class LRUPerCPUHashMap extends PerCPUHashBase {
  private readonly lru: LRU;

  static create(host: MapHost, attr: MapAttributes): LRUPerCPUHashMap | number {
    const bad = HashBase.checkSize(host, attr, 8 + roundUp8(attr.valueSize) * host.cpus);
    return bad !== 0 ? bad : new LRUPerCPUHashMap(host, attr);
  }

  constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr);
    this.lru = new LRU(this.maxEntries, host.cpus, (attr.flags & BPF_F_NO_COMMON_LRU) !== 0, refBits(host), () => this.takeElement(), (element) => this.unlink(element));
  }

  override lookup(key: number): number {
    const element = this.find(key);
    if (element === 0) return 0;
    this.host.memory.view.setUint8(element + LRU_REF, 1);
    return this.valueFor(element, this.host.currentCPU);
  }

  override lookupForSystemCall(key: number): number {
    const element = this.find(key);
    return element === 0 ? 0 : this.valueFor(element, this.host.currentCPU);
  }

  /** `__htab_lru_percpu_map_update_elem` */
  protected override store(key: number, value: number, flags: ElementFlags, isFromUser: boolean): number {
    const badFlags = this.checkUpdateFlags(flags, isFromUser);
    if (badFlags !== 0) return badFlags;
    const hash = this.hash(key);
    let element = 0;
    if (flags.lo !== BPF_EXIST || flags.hi !== 0) {
      element = this.lru.pop(this.host.currentCPU, hash);
      if (element === 0) return -ENOMEM;
    }
    const old = this.findHashed(key, hash);
    const bad = flags.hi === 0 ? this.checkExistence(old, flags.lo) : 0;
    if (bad === 0 && old !== 0) {
      this.host.memory.view.setUint8(old + LRU_REF, 1);
      this.overwrite(old, value, flags, isFromUser);
    } else if (bad === 0) {
      this.initialise(element, value, flags, isFromUser);
      this.link(element, key, hash);
      return 0;
    }
    if (element !== 0) this.lru.push(element);
    return bad;
  }

  override drop(element: number): void {
    this.unlink(element);
    this.zeroElementFields(element);
    this.lru.push(element);
  }
}
