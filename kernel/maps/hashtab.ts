/**
 * @module kernel/maps/hashtab
 * Hash maps: what all kinds share, and the plain one; `percpu-hash.ts` and `lru-hash.ts` have the others. Elements lie in linear memory
 * as `struct htab_elem`, key, value; buckets and chains are kept beside, in the kernel's order (new elements first), and an index in
 * linear memory for compiled programs (`hash-index.ts`). Reproduces kernel/bpf/hashtab.c.
 */
import type { BTF } from '../../btf/btf.ts';
import { BPF_SPIN_LOCK } from '../../btf/record.ts';
import { E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, ENOTSUPP, EPERM } from '../../isa/errno.ts';
import {
  BPF_EXIST, BPF_F_LOCK, BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_F_ZERO_SEED,
  BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_HASH, BPF_NOEXIST,
} from '../../isa/uapi.ts';
import { CAP_SYS_ADMIN } from '../api.ts';
import { hashKey } from './jhash.ts';
import { HASH_SIZE, HashIndex } from './hash-index.ts';
import {
  ACCESS_MASK, accessFlagsOK, BPFMap, type BatchOperations, type ElementFlags, KMALLOC_MAX_SIZE, type MapAttributes, type MapHost,
  PCPU_MIN_UNIT_SIZE, roundUp8,
} from './map.ts';

/** `struct bpf_htab` and `struct htab_elem` of Linux 7.3.4. */
const HTAB_BUCKET_COUNT = 1136;
export const ELEMENT_HEADER = 48;
export const ELEMENT_HASH = 40;
/** `lru_node.ref` in an element. */
export const LRU_REF: number = 16 + 19;
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
  protected readonly index: HashIndex;
  protected count = 0;

  constructor(host: MapHost, attr: MapAttributes, valueBytes: number) {
    const maxEntries = adjustedEntries(attr, host.cpus);
    super(host, attr, HASH_SIZE, maxEntries);
    this.bucketCount = nextPowerOfTwo(maxEntries);
    this.seed = (attr.flags & BPF_F_ZERO_SEED) !== 0 ? 0 : host.random();
    this.isPrealloc = (attr.flags & BPF_F_NO_PREALLOC) === 0;
    this.valueOffset = ELEMENT_HEADER + roundUp8(attr.keySize);
    this.elementBytes = this.valueOffset + valueBytes;
    host.memory.view.setUint32(this.address + HTAB_BUCKET_COUNT, this.bucketCount, true);
    this.index = new HashIndex(host.memory, this.address, this.seed, this.valueOffset, () => this.buckets.values());
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
    this.forEachCopy(element, (value) => this.cancelFields(value));
    this.spare.push(element);
  }

  /** The values of an element: one, or one for each CPU. */
  protected forEachCopy(element: number, visit: (value: number) => void): void {
    visit(element + this.valueOffset);
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
    this.index.insert(element, hash, this.count);
  }

  /** Takes an element out of its chain; false where it is in none. */
  protected unlink(element: number): boolean {
    const hash = this.host.memory.view.getUint32(element + ELEMENT_HASH, true);
    const bucket = this.bucketOf(hash);
    const chain = this.buckets.get(bucket);
    const at = chain === undefined ? -1 : chain.indexOf(element);
    if (chain === undefined || at < 0) return false;
    chain.splice(at, 1);
    if (chain.length === 0) {
      this.buckets.delete(bucket);
      this.order = undefined;
    }
    this.count--;
    this.index.remove(element, hash, this.count);
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
      if (this.record !== undefined) this.forEachCopy(element, (value) => this.freeFields(value));
      this.freeElementMemory(element);
      this.host.memory.free(element);
    }
    this.allElements.length = 0;
    this.index.free();
  }
}

function hasLock(map: BPFMap): boolean {
  return ((map.record?.fieldMask ?? 0) & BPF_SPIN_LOCK) !== 0;
}

/** `BPF_MAP_TYPE_HASH` */
export class HashMap extends HashBase {
  /** With preallocation, by CPU: the element that takes the place of the next one to be overwritten (`extra_elems`). */
  private readonly extra: number[] = [];

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
      this.copyAround(value, old + this.valueOffset);
      return 0;
    }
    if (old === 0 && this.count >= this.maxEntries) return -E2BIG;
    const cpu = this.host.currentCPU, swaps = old !== 0 && this.isPrealloc;
    const element = (swaps ? this.extra[cpu] : undefined) ?? this.takeElement();
    if (element === 0) return -ENOMEM;
    this.copyIn(value, element + this.valueOffset);
    this.link(element, key, hash);
    if (swaps) {
      this.unlink(old);
      this.cancelFields(old + this.valueOffset);
      this.extra[cpu] = old;
    } else if (old !== 0) this.drop(old);
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
