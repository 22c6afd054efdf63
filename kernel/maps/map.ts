/**
 * @module kernel/maps/map
 * What every map has: its attributes, `struct bpf_map` in linear memory, reference counts, and the operations that kinds
 * override. Owns the object; id, descriptors and command rules belong to `kernel/syscall`. Reproduces `struct bpf_map` and
 * `struct bpf_map_ops` (include/linux/bpf.h).
 *
 * Keys and values are offsets into linear memory, in calls from programs and from user space alike (the system call copies
 * user bytes to kernel memory first, as the kernel does).
 */
import type { BTF } from '../../btf/btf.ts';
import { BPF_TASK_WORK, BPF_TIMER, BPF_WORKQUEUE, type FieldRecord } from '../../btf/record.ts';
import { EINVAL, ENOENT, EOPNOTSUPP, ENOTSUPP } from '../../isa/errno.ts';
import {
  BPF_F_ALL_CPUS, BPF_F_CPU, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY, BPF_F_WRONLY_PROG, BPF_MAP_TYPE_ARENA,
} from '../../isa/uapi.ts';
import type { MapDescriptor } from '../../verifier/types.ts';
import type { AllocatedObjects } from '../allocated-objects.ts';
import type { KernelMemory } from '../memory.ts';

/** Fields of `union bpf_attr` that make a map, after `BPF_MAP_CREATE`'s own rules. */
export interface MapAttributes {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** `map_flags` without `BPF_F_TOKEN_FD`. */
  readonly flags: number;
  readonly innerMapFD: number;
  /** `numa_node` where `BPF_F_NUMA_NODE` is set, else -1 (`NUMA_NO_NODE`). */
  readonly numaNode: number;
  readonly mapExtra: bigint;
  readonly name: string;
  readonly btfFD: number;
  readonly btfKeyTypeID: number;
  readonly btfValueTypeID: number;
  readonly btfVmlinuxValueTypeID: number;
  readonly valueTypeBTFObjFD: number;
}

/** What a map needs from the kernel around it. */
export interface MapHost {
  readonly memory: KernelMemory;
  /** Possible CPUs. */
  readonly cpus: number;
  /** CPU that the current program runs on. */
  readonly currentCPU: number;
  readonly memoryLimit: number;
  random(): number;
  /** Effective capability of the caller. */
  capable(capability: number): boolean;
  /** A map behind a descriptor, without a reference; `-EBADF`, `-EINVAL`. */
  mapByFD(fd: number): BPFMap | number;
  /** Objects that a map of descriptors may hold. */
  programByFD(fd: number): MapProgram | number;
  /** True where the descriptor is open at all. */
  hasFD(fd: number): boolean;
  /** Drops a reference that a map held. */
  putMap(map: BPFMap): void;
  /** Map whose `struct bpf_map` begins at this offset. */
  mapAt(offset: number): BPFMap | undefined;
  /** Ring buffers by the offset of their `struct bpf_ringbuf`: a record leads to its ring only. */
  readonly rings: Map<number, BPFMap>;
  /** Structures of callbacks that subsystems have taken, by subsystem and name. */
  readonly registered: Map<string, BPFMap>;
  /** BTF of the kernel, for maps that refer to its types. */
  kernelBTF(): BTF | undefined;
  /** What special fields of values own. */
  readonly allocated: AllocatedObjects;
}

/** A program as a prog array sees it. */
export interface MapProgram {
  readonly kind: 'prog';
  readonly id: number;
  readonly type: number;
  readonly expectedAttachType: number;
  readonly jited: boolean;
  readonly attachBTFID: number;
  readonly xdpHasFrags: boolean;
  readonly sleepable: boolean;
  /** Offset of `struct bpf_prog` in linear memory. */
  readonly address: number;
  get(): void;
  put(): void;
}

/** Element flags of a 64-bit `flags` argument: `lo` the flag bits, `hi` the CPU of `BPF_F_CPU`. */
export interface ElementFlags {
  readonly lo: number;
  readonly hi: number;
}

export const NO_FLAGS: ElementFlags = { lo: 0, hi: 0 };

/** Offsets in `struct bpf_map` of Linux 7.3.4, x86-64 (from its BTF); programs read them through `bpf_map` pointers. */
export const MAP_LAYOUT = {
  sha: 0, ops: 32, innerMapMeta: 40, type: 56, keySize: 60, valueSize: 64, maxEntries: 68, mapExtra: 72, flags: 80, id: 84, record: 88,
  numaNode: 96, btfKeyTypeID: 100, btfValueTypeID: 104, btfVmlinuxValueTypeID: 108, name: 128, refcount: 280, userRefcount: 288,
  writeCount: 368, bypassSpecV1: 448, frozen: 449, cookie: 472, exclusiveSHA: 480, size: 488,
} as const;

/** Fields that end when their value is overwritten or removed. */
const CANCELLED_FIELDS: number = BPF_TIMER | BPF_WORKQUEUE | BPF_TASK_WORK;

/** Largest area that `kmalloc` gives, and the unit of per-CPU memory, which bounds a per-CPU value. */
export const KMALLOC_MAX_SIZE: number = 4 << 20;
export const PCPU_MIN_UNIT_SIZE: number = 32 << 10;

export function roundUp8(size: number): number {
  return Math.ceil(size / 8) * 8;
}

/** `bpf_map_flags_access_ok`: not read-only and write-only for programs at once. */
export function accessFlagsOK(flags: number): boolean {
  const both = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
  return (flags & both) !== both;
}

/** `BPF_F_ACCESS_MASK` */
export const ACCESS_MASK: number = BPF_F_RDONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY | BPF_F_WRONLY_PROG;

export abstract class BPFMap implements MapDescriptor {
  readonly kind = 'map' as const;
  readonly host: MapHost;
  id = 0;
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly mapExtra: bigint;
  readonly numaNode: number;
  /** Offset of `struct bpf_map`. */
  readonly address: number;
  frozen = false;
  /** Writable mappings and updates from user space under way (`writecnt`). */
  writers = 0;
  exclusiveDigest: Uint8Array | undefined = undefined;
  btf: BTF | undefined = undefined;
  btfID = 0;
  btfKeyTypeID = 0;
  btfValueTypeID = 0;
  btfVmlinuxValueTypeID = 0;
  /** `-errno` where the value's special fields contradict each other: no program may use them; 0 otherwise. */
  recordError = 0;
  innerMap: MapTemplate | undefined = undefined;
  references = 1;
  userReferences = 1;
  /** Programs bound to this map may sleep. */
  sleepableReferences = 0;
  private exclusiveAddress = 0;
  private fields: FieldRecord | undefined = undefined;
  /** Called with the map's BTF reference when the map is freed. */
  onFree: (() => void) | undefined = undefined;

  /** @param structSize bytes of the kind's own struct, which begins with `struct bpf_map` */
  constructor(host: MapHost, attr: MapAttributes, structSize: number = MAP_LAYOUT.size, maxEntries: number = attr.maxEntries, align = 16, pad = 0) {
    this.host = host;
    this.name = attr.name;
    this.type = attr.type;
    this.keySize = attr.keySize;
    this.valueSize = attr.valueSize;
    this.maxEntries = maxEntries;
    // Flags that belong to the descriptor are not kept (bpf_map_flags_retain_permanent).
    this.flags = (attr.flags & ~(BPF_F_RDONLY | BPF_F_WRONLY)) >>> 0;
    this.mapExtra = attr.mapExtra;
    this.numaNode = attr.numaNode;
    this.areaAddress = host.memory.alloc(pad + structSize, `map ${attr.name}`, align);
    this.address = this.areaAddress + pad;
    const view = host.memory.view;
    const at = this.address;
    view.setUint32(at + MAP_LAYOUT.type, this.type, true);
    view.setUint32(at + MAP_LAYOUT.keySize, this.keySize, true);
    view.setUint32(at + MAP_LAYOUT.valueSize, this.valueSize, true);
    view.setUint32(at + MAP_LAYOUT.maxEntries, this.maxEntries, true);
    view.setBigUint64(at + MAP_LAYOUT.mapExtra, this.mapExtra, true);
    view.setUint32(at + MAP_LAYOUT.flags, this.flags, true);
    view.setInt32(at + MAP_LAYOUT.numaNode, this.numaNode, true);
    view.setUint8(at + MAP_LAYOUT.bypassSpecV1, 1);
    for (let i = 0; i < this.name.length; i++) view.setUint8(at + MAP_LAYOUT.name + i, this.name.charCodeAt(i));
  }

  /** Offset of the allocation that holds the struct (it may begin before the struct). */
  protected readonly areaAddress: number;

  /** Whether indices go unmasked (`bypass_spec_v1`), as they do for maps of users with `CAP_PERFMON`. */
  get bypassesSpecV1(): boolean {
    return this.host.memory.view.getUint8(this.address + MAP_LAYOUT.bypassSpecV1) !== 0;
  }

  set bypassesSpecV1(bypasses: boolean) {
    this.host.memory.view.setUint8(this.address + MAP_LAYOUT.bypassSpecV1, bypasses ? 1 : 0);
  }

  /** Special fields of the value, `undefined` where it has none. */
  get record(): FieldRecord | undefined {
    return this.fields;
  }

  /** Programs see whether there are any: the pointer in the struct is not null then. */
  set record(record: FieldRecord | undefined) {
    this.fields = record;
    this.host.memory.space.setPointer(this.address + MAP_LAYOUT.record, record === undefined ? 0 : this.address);
  }

  get hasActiveWriters(): boolean {
    return this.writers !== 0;
  }

  /** The map was published: programs may read its id. */
  setID(id: number): void {
    this.id = id;
    this.host.memory.view.setUint32(this.address + MAP_LAYOUT.id, id, true);
  }

  freeze(): void {
    this.frozen = true;
    this.host.memory.view.setUint8(this.address + MAP_LAYOUT.frozen, 1);
  }

  setExclusive(digest: Uint8Array): void {
    this.exclusiveDigest = digest;
    this.exclusiveAddress = this.host.memory.alloc(32, 'excl_prog_sha');
    this.host.memory.space.setBytes(this.exclusiveAddress, digest);
    this.host.memory.space.setPointer(this.address + MAP_LAYOUT.exclusiveSHA, this.exclusiveAddress);
  }

  setBTF(btf: BTF, id: number, keyType: number, valueType: number, vmlinuxValueType: number): void {
    this.btf = btf;
    this.btfID = id;
    this.btfKeyTypeID = keyType;
    this.btfValueTypeID = valueType;
    this.btfVmlinuxValueTypeID = vmlinuxValueType;
    const view = this.host.memory.view;
    view.setUint32(this.address + MAP_LAYOUT.btfKeyTypeID, keyType, true);
    view.setUint32(this.address + MAP_LAYOUT.btfValueTypeID, valueType, true);
    view.setUint32(this.address + MAP_LAYOUT.btfVmlinuxValueTypeID, vmlinuxValueType, true);
  }

  /** Frees everything. The last reference is gone. */
  destroy(): void {
    this.freeElements();
    if (this.exclusiveAddress !== 0) this.host.memory.free(this.exclusiveAddress);
    this.host.memory.free(this.areaAddress);
    this.onFree?.();
  }

  /** Frees what the kind allocated beside its struct. */
  protected freeElements(): void {}

  /** The last descriptor is gone (`map_release_uref`). */
  releaseUserReference(): void {}

  // -------------------------------------------------- operations: 0, an offset or -errno

  /** Address of the value for a program; 0 where there is none, `-errno` where the kind has no such operation. */
  lookup(_key: number): number {
    return -ENOTSUPP;
  }

  /** As {@link lookup} for the system call, where it must leave no trace in the map. */
  lookupForSystemCall(key: number): number {
    return this.lookup(key);
  }

  lookupPerCPU(_key: number, _cpu: number): number {
    return -EOPNOTSUPP;
  }

  /** Stores a value, called by a program or for kinds without special user-space rules. */
  update(_key: number, _value: number, _flags: ElementFlags): number {
    return -ENOTSUPP;
  }

  /** `bpf_map_update_value`: called by the system call. `file` identifies the caller's open file. */
  updateFromSystemCall(key: number, value: number, flags: ElementFlags, _file: unknown): number {
    return this.update(key, value, flags);
  }

  remove(_key: number): number {
    return -ENOTSUPP;
  }

  /** Writes the key after `key` (0: the first) to `out`; `-ENOENT` at the end. */
  nextKey(_key: number, _out: number): number {
    return -ENOTSUPP;
  }

  push(_value: number, _flags: ElementFlags): number {
    return -ENOTSUPP;
  }

  pop(_out: number): number {
    return -ENOTSUPP;
  }

  peek(_out: number): number {
    return -ENOTSUPP;
  }

  /** `bpf_map_copy_value`: the value as user space sees it goes to `out` ({@link userValueSize} bytes). */
  copyValue(key: number, out: number, _flags: ElementFlags): number {
    const value = this.lookupForSystemCall(key);
    if (value < 0) return value;
    if (value === 0) return -ENOENT;
    this.copyOut(value, out);
    return 0;
  }

  /** Element removed and its value copied to `out`; `-ENOTSUPP` where the kind has no such operation. */
  lookupAndDelete(_key: number, _out: number, _flags: ElementFlags): number {
    return -ENOTSUPP;
  }

  /** Calls `visit` with key and value addresses until it returns false; number of calls or `-errno`. */
  forEach(_visit: (key: number, value: number) => boolean): number {
    return -EINVAL;
  }

  /** Offset of a shared mapping, or `-errno`. `page` is the offset in pages, `address` what the caller asked for (0: anything). */
  mmap(_length: number, _page: number, _writable: boolean, _address: number): number {
    return -ENOTSUPP;
  }

  /** The user address that a mapping must have, 0 where any will do. */
  get mappedAt(): number {
    return 0;
  }

  /** True where the kind has `map_mmap` at all. */
  get hasMmap(): boolean {
    return false;
  }

  /** SHA-256 input of `BPF_OBJ_GET_INFO_BY_FD`'s hash, `undefined` where the kind has none. */
  hashedContents(): Uint8Array | undefined {
    return undefined;
  }

  get isPerCPU(): boolean {
    return false;
  }

  /** True where values hold descriptors in user space. */
  get holdsFDs(): boolean {
    return false;
  }

  /** Bytes of one value in user space (`bpf_map_value_size`). */
  userValueSize(flags: ElementFlags): number {
    if ((flags.lo & (BPF_F_CPU | BPF_F_ALL_CPUS)) !== 0) return this.valueSize;
    if (this.isPerCPU) return roundUp8(this.valueSize) * this.host.cpus;
    return this.holdsFDs ? 4 : this.valueSize;
  }

  /** Which batch commands the kind has. */
  get batchOperations(): BatchOperations {
    return NO_BATCH;
  }

  /**
   * Rules on the types of key and value beyond their sizes (`map_check_btf`); `undefined` where the kind has none. `keyType` 0 is
   * void.
   */
  checkBTF(_btf: BTF, _keyType: number, _valueType: number): number {
    return 0;
  }

  /** True where the kind has `map_check_btf`, which a map without key type needs. */
  get hasBTFCheck(): boolean {
    return false;
  }

  /** True where the kind may be an inner map (`map_meta_equal`). */
  get canBeInner(): boolean {
    return true;
  }

  /** True where `other` may stand where `template` was promised. `this` is the template's kind. */
  metaEquals(template: MapTemplate): boolean {
    return template.type === this.type && template.keySize === this.keySize && template.valueSize === this.valueSize
      && template.flags === this.flags && recordsEqual(template.record, this.record);
  }

  // -------------------------------------------------- for the verifier

  directValueAddress(_offset: number): number {
    return -EINVAL;
  }

  signedContents(): Uint8Array | number {
    return -EINVAL;
  }

  readDirectValue(_offset: number, _size: number): readonly [lo: number, hi: number] | undefined {
    return undefined;
  }

  /** Bytes of memory that `fdinfo` would report; the address range a value pointer may lie in for arenas. */
  get isArena(): boolean {
    return this.type === BPF_MAP_TYPE_ARENA;
  }

  // -------------------------------------------------- values with special fields

  /** Copies a value into an element, leaving its special fields alone (`copy_map_value`). */
  protected copyIn(value: number, element: number): void {
    this.copyAround(value, element);
    this.cancelFields(element);
  }

  /** Timers and queued work of a value end (`bpf_obj_cancel_fields`); what it owns stays, also where its memory is used again. */
  protected cancelFields(value: number): void {
    if (this.record === undefined) return;
    for (const { type, offset, size } of this.record.fields) {
      if ((type & CANCELLED_FIELDS) !== 0) this.host.memory.u8.fill(0, value + offset, value + offset + size);
    }
  }

  /** What the special fields of a value own ends with the map (`bpf_obj_free_fields`). */
  protected freeFields(value: number): void {
    if (this.record !== undefined) this.host.allocated.freeFields(this.record, value);
  }

  /** Copies an element out, its special fields as zeros (`copy_map_value`, `check_and_init_map_value`). */
  protected copyOut(element: number, out: number): void {
    this.copyAround(element, out);
    this.zeroSpecialFields(out);
  }

  /** Zero fill except special fields (`zero_map_value`). */
  protected zeroValue(element: number): void {
    const u8 = this.host.memory.u8;
    let at = 0;
    for (const field of this.record?.fields ?? []) {
      u8.fill(0, element + at, element + field.offset);
      at = field.offset + field.size;
    }
    u8.fill(0, element + at, element + this.valueSize);
  }

  protected zeroSpecialFields(value: number): void {
    if (this.record === undefined) return;
    const u8 = this.host.memory.u8;
    for (const field of this.record.fields) u8.fill(0, value + field.offset, value + field.offset + field.size);
  }

  protected copyAround(from: number, to: number): void {
    const u8 = this.host.memory.u8;
    if (this.record === undefined) {
      u8.copyWithin(to, from, from + this.valueSize);
      return;
    }
    let at = 0;
    for (const field of this.record.fields) {
      u8.copyWithin(to + at, from + at, from + field.offset);
      at = field.offset + field.size;
    }
    u8.copyWithin(to + at, from + at, from + this.valueSize);
  }
}

/** The shape that an outer map promises of its inner maps (`inner_map_meta`). */
export interface MapTemplate extends MapDescriptor {
  readonly record: FieldRecord | undefined;
}

/** Batch commands of a kind: `generic` element by element, `buckets` as hash tables do, `cursor` by the key to go on with, none. */
export interface BatchOperations {
  readonly lookup: 'generic' | 'buckets' | 'cursor' | undefined;
  readonly lookupAndDelete: 'buckets' | 'cursor' | undefined;
  readonly update: boolean;
  readonly delete: boolean;
}

export const NO_BATCH: BatchOperations = { lookup: undefined, lookupAndDelete: undefined, update: false, delete: false };

/** `btf_record_equal` */
export function recordsEqual(a: FieldRecord | undefined, b: FieldRecord | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.fields.length !== b.fields.length) return false;
  return a.fields.every((field, i) => {
    const other = b.fields[i];
    return other !== undefined && field.type === other.type && field.offset === other.offset && field.size === other.size
      && field.pointer?.btf === other.pointer?.btf && field.pointer?.typeID === other.pointer?.typeID
      && field.root?.btf === other.root?.btf && field.root?.valueTypeID === other.root?.valueTypeID
      && field.root?.nodeOffset === other.root?.nodeOffset;
  });
}

/** A template of a live map, with its own references left out: what `bpf_map_meta_alloc` copies. */
export function templateOf(map: BPFMap): MapTemplate {
  return {
    kind: 'map', id: 0, name: '', type: map.type, keySize: map.keySize, valueSize: map.valueSize, maxEntries: map.maxEntries,
    flags: map.flags, mapExtra: 0n, frozen: false, hasActiveWriters: false, exclusiveDigest: undefined, btf: map.btf,
    btfKeyTypeID: 0, btfValueTypeID: 0, btfVmlinuxValueTypeID: 0, innerMap: undefined, address: 0, record: map.record,
    directValueAddress: () => -EINVAL, signedContents: () => -EINVAL, readDirectValue: () => undefined,
  };
}
