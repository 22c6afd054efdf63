/**
 * @module kernel/maps/array
 * `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_PERCPU_ARRAY`. Values lie behind `struct bpf_array` at its own offset, so that inlined
 * lookups and direct value addresses work as in the kernel. Reproduces kernel/bpf/arraymap.c.
 */
import type { BTF } from '../../btf/btf.ts';
import { BPF_SPIN_LOCK } from '../../btf/record.ts';
import { E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, ENOTSUPP, EOPNOTSUPP } from '../../isa/errno.ts';
import {
  BPF_EXIST, BPF_F_ALL_CPUS, BPF_F_CPU, BPF_F_INNER_MAP, BPF_F_LOCK, BPF_F_MMAPABLE, BPF_F_NUMA_NODE, BPF_F_PRESERVE_ELEMS,
  BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  BPF_NOEXIST, BTF_KIND_DATASEC, BTF_KIND_INT,
} from '../../isa/uapi.ts';
import { PAGE_SIZE } from '../../vm/address-space.ts';
import {
  ACCESS_MASK, accessFlagsOK, BPFMap, type BatchOperations, type ElementFlags, type MapAttributes, type MapHost, type MapTemplate,
  PCPU_MIN_UNIT_SIZE, roundUp8,
} from './map.ts';

/** `struct bpf_array` of Linux 7.3.4: offsets of `elem_size`, `index_mask` and of the values. */
export const ARRAY_LAYOUT = { elemSize: 488, indexMask: 492, value: 504 } as const;

const CREATE_FLAGS = BPF_F_NUMA_NODE | BPF_F_MMAPABLE | ACCESS_MASK | BPF_F_PRESERVE_ELEMS | BPF_F_INNER_MAP;

/** `array_map_alloc_check` */
export function checkArray(attr: MapAttributes): number {
  const isPerCPU = attr.type === BPF_MAP_TYPE_PERCPU_ARRAY;
  if (attr.maxEntries === 0 || attr.keySize !== 4 || attr.valueSize === 0) return -EINVAL;
  if ((attr.flags & ~CREATE_FLAGS) !== 0 || !accessFlagsOK(attr.flags)) return -EINVAL;
  if (isPerCPU && attr.numaNode !== -1) return -EINVAL;
  if (attr.type !== BPF_MAP_TYPE_ARRAY && (attr.flags & (BPF_F_MMAPABLE | BPF_F_INNER_MAP)) !== 0) return -EINVAL;
  if (attr.type !== BPF_MAP_TYPE_PERF_EVENT_ARRAY && (attr.flags & BPF_F_PRESERVE_ELEMS) !== 0) return -EINVAL;
  if (attr.valueSize > 0x7fffffff) return -E2BIG;
  if (isPerCPU && roundUp8(attr.valueSize) > PCPU_MIN_UNIT_SIZE) return -E2BIG;
  return 0;
}

/** Smallest `2^n - 1` that covers every index. */
function indexMask(maxEntries: number): number {
  return maxEntries <= 1 ? 0 : 2 ** (32 - Math.clz32(maxEntries - 1)) - 1;
}

/** `bpf_array_get_next_key` */
export function nextArrayKey(map: BPFMap, key: number, out: number): number {
  const view = map.host.memory.view;
  const index = key === 0 ? 0xffffffff : view.getUint32(key, true);
  if (index >= map.maxEntries) {
    view.setUint32(out, 0, true);
    return 0;
  }
  if (index === map.maxEntries - 1) return -ENOENT;
  view.setUint32(out, index + 1, true);
  return 0;
}

/** What plain and per-CPU arrays and arrays of descriptors share: elements of one size behind the struct. */
export abstract class ArrayBase extends BPFMap {
  readonly elementSize: number;
  /** Offset of the first element (or of the first pointer to per-CPU memory). */
  readonly values: number;

  constructor(host: MapHost, attr: MapAttributes, slotSize: number, elementSize: number) {
    const isMapped = (attr.flags & BPF_F_MMAPABLE) !== 0;
    const bytes = attr.maxEntries * slotSize;
    const area = isMapped ? Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE : bytes;
    if (ARRAY_LAYOUT.value + area > host.memoryLimit) throw new RangeError('array');
    // A mapped array's values begin on a page; the struct lies before them.
    const pad = isMapped ? PAGE_SIZE - ARRAY_LAYOUT.value : 0;
    super(host, attr, ARRAY_LAYOUT.value + area, attr.maxEntries, isMapped ? PAGE_SIZE : 16, pad);
    this.elementSize = elementSize;
    this.values = this.address + ARRAY_LAYOUT.value;
    host.memory.view.setUint32(this.address + ARRAY_LAYOUT.elemSize, elementSize, true);
    host.memory.view.setUint32(this.address + ARRAY_LAYOUT.indexMask, indexMask(attr.maxEntries), true);
  }

  protected index(key: number): number {
    return this.host.memory.view.getUint32(key, true);
  }

  override nextKey(key: number, out: number): number {
    return nextArrayKey(this, key, out);
  }

  override remove(_key: number): number {
    return -EINVAL;
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  /** Keys are 32-bit integers; a map without key type is a data section of one element (`array_map_check_btf`). */
  override checkBTF(btf: BTF, keyType: number, valueType: number): number {
    if (keyType === 0) {
      const isArray = this.type === BPF_MAP_TYPE_ARRAY || this.type === BPF_MAP_TYPE_PERCPU_ARRAY;
      if (!isArray || this.maxEntries !== 1) return -EINVAL;
      return btf.kind(valueType) === BTF_KIND_DATASEC ? 0 : -EINVAL;
    }
    return isPlain32BitInt(btf, keyType) ? 0 : -EINVAL;
  }
}

/** `btf_type_is_i32`: an integer of exactly 32 bits. */
export function isPlain32BitInt(btf: BTF, id: number): boolean {
  const at = btf.skipModifiers(id);
  if (btf.kind(at) !== BTF_KIND_INT) return false;
  const int = btf.int(at);
  return int.size === 4 && int.bits === 32 && int.offset === 0;
}

const ARRAY_BATCH: BatchOperations = { lookup: 'generic', lookupAndDelete: undefined, update: true, delete: false };

export class ArrayMap extends ArrayBase {
  static create(host: MapHost, attr: MapAttributes): ArrayMap | number {
    return createArray(() => new ArrayMap(host, attr, roundUp8(attr.valueSize), roundUp8(attr.valueSize)));
  }

  protected override freeElements(): void {
    if (this.record !== undefined) for (let i = 0; i < this.maxEntries; i++) this.freeFields(this.values + this.elementSize * i);
  }

  override lookup(key: number): number {
    const index = this.index(key);
    return index >= this.maxEntries ? 0 : this.values + this.elementSize * index;
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    const plain = (flags.lo & ~BPF_F_LOCK) >>> 0;
    if (plain > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    const index = this.index(key);
    if (index >= this.maxEntries) return -E2BIG;
    if ((plain & BPF_NOEXIST) !== 0) return -EEXIST;
    if ((flags.lo & BPF_F_LOCK) !== 0 && ((this.record?.fieldMask ?? 0) & BPF_SPIN_LOCK) === 0) return -EINVAL;
    this.copyIn(value, this.values + this.elementSize * index);
    return 0;
  }

  override forEach(visit: (key: number, value: number) => boolean): number {
    return this.host.memory.withBuffer(4, 'for_each key', (key) => {
      for (let i = 0; i < this.maxEntries; i++) {
        this.host.memory.view.setUint32(key, i, true);
        if (!visit(key, this.values + this.elementSize * i)) return i + 1;
      }
      return this.maxEntries;
    });
  }

  override get hasMmap(): boolean {
    return true;
  }

  override mmap(length: number, page: number, _writable: boolean): number {
    if ((this.flags & BPF_F_MMAPABLE) === 0) return -EINVAL;
    const end = page * PAGE_SIZE + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
    if (end > Math.ceil((this.maxEntries * this.elementSize) / PAGE_SIZE) * PAGE_SIZE) return -EINVAL;
    return this.values + page * PAGE_SIZE;
  }

  override hashedContents(): Uint8Array {
    return this.host.memory.u8.subarray(this.values, this.values + this.elementSize * this.maxEntries);
  }

  override get batchOperations(): BatchOperations {
    return ARRAY_BATCH;
  }

  /** Size may differ only where the template says that lookups are not inlined. */
  override metaEquals(template: MapTemplate): boolean {
    return super.metaEquals(template) && ((template.flags & BPF_F_INNER_MAP) !== 0 || template.maxEntries === this.maxEntries);
  }

  override directValueAddress(offset: number): number {
    if (this.maxEntries !== 1) return -ENOTSUPP;
    if (offset >= this.valueSize) return -EINVAL;
    return this.values + offset;
  }

  override signedContents(): Uint8Array | number {
    if (this.maxEntries !== 1) return -ENOTSUPP;
    return this.host.memory.u8.subarray(this.values, this.values + this.valueSize);
  }

  override readDirectValue(offset: number, size: number): readonly [lo: number, hi: number] | undefined {
    if (this.maxEntries !== 1 || offset < 0 || offset + size > this.valueSize) return undefined;
    return readWords(this.host.memory.view, this.values + offset, size);
  }
}

/** `size` bytes (1, 2, 4, 8) as zero-extended words. */
export function readWords(view: DataView, at: number, size: number): readonly [lo: number, hi: number] | undefined {
  switch (size) {
    case 1: return [view.getUint8(at), 0];
    case 2: return [view.getUint16(at, true), 0];
    case 4: return [view.getUint32(at, true) | 0, 0];
    case 8: return [view.getInt32(at, true), view.getInt32(at + 4, true)];
    default: return undefined;
  }
}

/** Turns "larger than the memory" into `-ENOMEM`. */
export function createArray<M extends BPFMap>(make: () => M): M | number {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError) return -ENOMEM;
    throw error;
  }
}

/** Values by CPU; the slots behind the struct hold pointers to per-CPU memory, one copy of a value after another. */
export class PerCPUArrayMap extends ArrayBase {
  private readonly copies: number[] = [];

  static create(host: MapHost, attr: MapAttributes): PerCPUArrayMap | number {
    const size = roundUp8(attr.valueSize);
    if (attr.maxEntries * size * host.cpus > host.memoryLimit) return -ENOMEM;
    return createArray(() => new PerCPUArrayMap(host, attr, 8, size));
  }

  constructor(host: MapHost, attr: MapAttributes, slotSize: number, elementSize: number) {
    super(host, attr, slotSize, elementSize);
    const block = host.memory.tryAlloc(elementSize * host.cpus * attr.maxEntries, 'per-CPU array');
    if (block === 0) {
      host.memory.free(this.areaAddress);
      throw new RangeError('per-CPU array');
    }
    this.block = block;
    for (let i = 0; i < attr.maxEntries; i++) {
      const copy = block + i * elementSize * host.cpus;
      this.copies.push(copy);
      host.memory.space.setPointer(this.values + i * 8, copy);
    }
  }

  private readonly block: number;

  protected override freeElements(): void {
    if (this.record !== undefined) for (const copy of this.copies) for (let cpu = 0; cpu < this.host.cpus; cpu++) this.freeFields(copy + cpu * this.elementSize);
    this.host.memory.free(this.block);
  }

  override get isPerCPU(): boolean {
    return true;
  }

  override get batchOperations(): BatchOperations {
    return ARRAY_BATCH;
  }

  private copyOf(index: number, cpu: number): number {
    return (this.copies[index] ?? 0) + cpu * this.elementSize;
  }

  override lookup(key: number): number {
    const index = this.index(key);
    return index >= this.maxEntries ? 0 : this.copyOf(index, this.host.currentCPU);
  }

  override lookupPerCPU(key: number, cpu: number): number {
    const index = this.index(key);
    return cpu >= this.host.cpus || index >= this.maxEntries ? 0 : this.copyOf(index, cpu);
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    const plain = (flags.lo & ~BPF_F_LOCK) >>> 0;
    if (plain > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    const index = this.index(key);
    if (index >= this.maxEntries) return -E2BIG;
    if ((plain & BPF_NOEXIST) !== 0) return -EEXIST;
    if ((flags.lo & BPF_F_LOCK) !== 0 && ((this.record?.fieldMask ?? 0) & BPF_SPIN_LOCK) === 0) return -EINVAL;
    this.copyIn(value, this.copyOf(index, this.host.currentCPU));
    return 0;
  }

  /** `bpf_percpu_array_update` */
  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    if ((flags.lo & BPF_F_LOCK) !== 0 || flags.lo >>> 0 > BPF_F_ALL_CPUS) return -EINVAL;
    const index = this.index(key);
    if (index >= this.maxEntries) return -E2BIG;
    if (flags.lo === BPF_NOEXIST && flags.hi === 0) return -EEXIST;
    if ((flags.lo & BPF_F_CPU) !== 0) {
      this.copyIn(value, this.copyOf(index, flags.hi >>> 0));
      return 0;
    }
    const isSame = (flags.lo & BPF_F_ALL_CPUS) !== 0;
    for (let cpu = 0; cpu < this.host.cpus; cpu++) {
      this.copyIn(isSame ? value : value + cpu * this.elementSize, this.copyOf(index, cpu));
    }
    return 0;
  }

  override copyValue(key: number, out: number, flags: ElementFlags): number {
    const index = this.index(key);
    if (index >= this.maxEntries) return -ENOENT;
    if ((flags.lo & BPF_F_CPU) !== 0) {
      this.copyOut(this.copyOf(index, flags.hi >>> 0), out);
      return 0;
    }
    for (let cpu = 0; cpu < this.host.cpus; cpu++) this.copyOut(this.copyOf(index, cpu), out + cpu * this.elementSize);
    return 0;
  }

  override forEach(visit: (key: number, value: number) => boolean): number {
    return this.host.memory.withBuffer(4, 'for_each key', (key) => {
      for (let i = 0; i < this.maxEntries; i++) {
        this.host.memory.view.setUint32(key, i, true);
        if (!visit(key, this.copyOf(i, this.host.currentCPU))) return i + 1;
      }
      return this.maxEntries;
    });
  }

  override metaEquals(template: MapTemplate): boolean {
    return super.metaEquals(template) && ((template.flags & BPF_F_INNER_MAP) !== 0 || template.maxEntries === this.maxEntries);
  }

  override directValueAddress(offset: number): number {
    if (this.maxEntries !== 1) return -EOPNOTSUPP;
    if (offset >= this.valueSize) return -EINVAL;
    return this.copyOf(0, 0) + offset;
  }
}

/** `fd_array_map_alloc_check` */
export function checkFDArray(attr: MapAttributes): number {
  if (attr.valueSize !== 4) return -EINVAL;
  if ((attr.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) !== 0) return -EINVAL;
  return checkArray(attr);
}
