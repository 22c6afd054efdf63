/**
 * @module kernel/maps/special
 * Stack traces, instruction arrays, struct_ops, resizable hashes: kinds with rules of their own. Reproduces
 * kernel/bpf/stackmap.c, bpf_insn_array.c, bpf_struct_ops.c and the `rhtab` part of hashtab.c.
 */
import type { BTF } from '../../btf/btf.ts';
import { E2BIG, EACCES, EBADF, EEXIST, EINVAL, ENOENT, ENOMEM, ENOTSUPP, EOPNOTSUPP } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { CODE_HI, codeAddress, codeIndex } from '../../vm/types.ts';
import { isPlain32BitInt, nextArrayKey } from './array.ts';
import { checkHash, HashBase, HashMap } from './hashtab.ts';
import { type BatchOperations, BPFMap, type ElementFlags, type MapAttributes, type MapHost, roundUp8 } from './map.ts';

const STACK_MAP_SIZE = 528;
const STRUCT_OPS_SIZE = 832;
const INSN_ARRAY = { used: 488, ips: 496, values: 504, entry: 16 } as const;
/** `kernel.perf_event_max_stack` */
const MAX_STACK = 127;
const BUILD_ID_ENTRY = 32;

export class StackTraceMap extends BPFMap {
  private readonly buckets: number;

  static create(host: MapHost, attr: MapAttributes): StackTraceMap | number {
    const flags = U.BPF_F_NUMA_NODE | U.BPF_F_RDONLY | U.BPF_F_WRONLY | U.BPF_F_STACK_BUILD_ID;
    if ((attr.flags & ~flags) !== 0) return -EINVAL;
    if (attr.maxEntries === 0 || attr.keySize !== 4 || attr.valueSize < 8 || attr.valueSize % 8 !== 0) return -EINVAL;
    const entry = (attr.flags & U.BPF_F_STACK_BUILD_ID) !== 0 ? BUILD_ID_ENTRY : 8;
    if (attr.valueSize % entry !== 0 || attr.valueSize / entry > MAX_STACK) return -EINVAL;
    if (attr.maxEntries > 2 ** 31) return -E2BIG;
    if (attr.maxEntries * (attr.valueSize + 24) > host.memoryLimit) return -ENOMEM;
    return new StackTraceMap(host, attr, STACK_MAP_SIZE);
  }

  constructor(host: MapHost, attr: MapAttributes, structSize: number) {
    super(host, attr, structSize);
    this.buckets = attr.maxEntries <= 1 ? 1 : 2 ** (32 - Math.clz32(attr.maxEntries - 1));
  }

  override checkBTF(): number {
    return -ENOTSUPP;
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  override lookup(): number {
    return -EOPNOTSUPP;
  }

  override copyValue(): number {
    return -ENOENT;
  }

  override lookupAndDelete(): number {
    return -ENOENT;
  }

  override update(): number {
    return -EINVAL;
  }

  override remove(key: number): number {
    return this.host.memory.view.getUint32(key, true) >= this.buckets ? -E2BIG : -ENOENT;
  }

  override nextKey(): number {
    return -ENOENT;
  }
}

/** `insn_array_alloc_check` */
export function checkInsnArray(attr: MapAttributes): number {
  return attr.maxEntries === 0 || attr.keySize !== 4 || attr.valueSize !== INSN_ARRAY.entry || attr.flags !== 0 ? -EINVAL : 0;
}

/** Instruction offsets before and after verification; a jump table of code addresses behind them. */
export class InsnArrayMap extends BPFMap {
  readonly values: number;
  /** Offset of the jump table: one 8-byte address an entry. */
  readonly addresses: number;
  /** A program was loaded with the table: no second one may be, also when the first is gone. */
  isUsed = false;

  static create(host: MapHost, attr: MapAttributes): InsnArrayMap | number {
    if (attr.maxEntries * (INSN_ARRAY.entry + 8) > host.memoryLimit) return -ENOMEM;
    const flags = (attr.flags | U.BPF_F_RDONLY_PROG) >>> 0;
    return new InsnArrayMap(host, { ...attr, flags }, INSN_ARRAY.values + attr.maxEntries * (INSN_ARRAY.entry + 8));
  }

  constructor(host: MapHost, attr: MapAttributes, structSize: number) {
    super(host, attr, structSize);
    this.values = this.address + INSN_ARRAY.values;
    this.addresses = this.values + attr.maxEntries * INSN_ARRAY.entry;
    host.memory.space.setPointer(this.address + INSN_ARRAY.ips, this.addresses);
  }

  override lookup(key: number): number {
    const index = this.host.memory.view.getUint32(key, true);
    return index >= this.maxEntries ? 0 : this.values + index * INSN_ARRAY.entry;
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    const view = this.host.memory.view;
    const index = view.getUint32(key, true);
    if (index >= this.maxEntries) return -E2BIG;
    if ((flags.lo & U.BPF_NOEXIST) !== 0) return -EEXIST;
    if (view.getUint32(value + 4, true) !== 0 || view.getUint32(value + 8, true) !== 0) return -EINVAL;
    view.setUint32(this.values + index * INSN_ARRAY.entry, view.getUint32(value, true), true);
    return 0;
  }

  override remove(): number {
    return -EINVAL;
  }

  override get canBeInner(): boolean {
    return false;
  }

  override nextKey(key: number, out: number): number {
    return nextArrayKey(this, key, out);
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  override checkBTF(btf: BTF, keyType: number, valueType: number): number {
    const value = btf.skipModifiers(valueType);
    const isLong = btf.kind(value) === U.BTF_KIND_INT && btf.size(value) === 8 && btf.int(value).bits === 64;
    return isPlain32BitInt(btf, keyType) && isLong ? 0 : -EINVAL;
  }

  override directValueAddress(offset: number): number {
    return offset % 8 !== 0 || offset / 8 >= this.maxEntries ? -EACCES : this.addresses + offset;
  }

  /**
   * Fills the table for a loaded program. `xlated` gives the place of an instruction in the rewritten program, -1 where it was removed;
   * `machine` where the machine has it.
   */
  link(xlated: (original: number) => number, machine: (original: number) => number): void {
    const view = this.host.memory.view;
    for (let i = 0; i < this.maxEntries; i++) {
      const entry = this.values + i * INSN_ARRAY.entry;
      const original = view.getUint32(entry, true);
      const place = xlated(original);
      view.setInt32(entry + 4, place, true);
      view.setInt32(this.addresses + i * 8, place < 0 ? 0 : codeAddress(machine(original)), true);
      view.setInt32(this.addresses + i * 8 + 4, place < 0 ? 0 : CODE_HI, true);
    }
  }

  /** Instructions of the machine's form that the table leads to. */
  targets(): readonly number[] {
    const { view } = this.host.memory;
    return Array.from({ length: this.maxEntries }, (_, i) =>
      (view.getInt32(this.addresses + i * 8 + 4, true) === CODE_HI ? codeIndex(view.getInt32(this.addresses + i * 8, true)) : -1)).filter((pc) => pc >= 0);
  }

  /** Offsets as user space stored them: what the verifier starts from. */
  override readDirectValue(offset: number, size: number): readonly [lo: number, hi: number] | undefined {
    if (size !== 4 || offset % INSN_ARRAY.entry > 8 || offset / INSN_ARRAY.entry >= this.maxEntries) return undefined;
    return [this.host.memory.view.getInt32(this.values + offset, true), 0];
  }
}

/** `bpf_struct_ops_map_alloc_check` */
export function checkStructOps(attr: MapAttributes): number {
  const flags = U.BPF_F_LINK | U.BPF_F_VTYPE_BTF_OBJ_FD;
  const isBad = attr.keySize !== 4 || attr.maxEntries !== 1 || (attr.flags & ~flags) !== 0 || attr.btfVmlinuxValueTypeID === 0;
  return isBad ? -EINVAL : 0;
}

/** Wrapper structs that name a registered `struct_ops` begin so; those of the subsystem itself do not wrap operations. */
const STRUCT_OPS_PREFIX = 'bpf_struct_ops_';

/** True for the value type of a `struct_ops` that the kernel has: a wrapper of `common` and `data`. */
function isStructOpsValue(btf: BTF, id: number): boolean {
  if (btf.kind(id) !== U.BTF_KIND_STRUCT || !btf.typeName(id).startsWith(STRUCT_OPS_PREFIX) || btf.vlen(id) !== 2) return false;
  const data = btf.findMember(id, 'data');
  return data >= 0 && btf.kind(btf.skipModifiers(btf.memberType(id, data))) === U.BTF_KIND_STRUCT;
}

/** A set of operations. The instance has no subsystem that would call them: updates are refused by name. */
export class StructOpsMap extends BPFMap {
  static create(host: MapHost, attr: MapAttributes): StructOpsMap | number {
    if ((attr.flags & U.BPF_F_VTYPE_BTF_OBJ_FD) !== 0) return host.hasFD(attr.valueTypeBTFObjFD) ? -EINVAL : -EBADF;
    const btf = host.kernelBTF();
    if (btf === undefined || !isStructOpsValue(btf, attr.btfVmlinuxValueTypeID)) return -ENOTSUPP;
    if (attr.valueSize !== btf.size(attr.btfVmlinuxValueTypeID)) return -EINVAL;
    return new StructOpsMap(host, attr, STRUCT_OPS_SIZE);
  }

  private isFirst(key: number): boolean {
    return this.host.memory.view.getUint32(key, true) === 0;
  }

  override get canBeInner(): boolean {
    return false;
  }

  override lookup(): number {
    return -EINVAL;
  }

  override copyValue(key: number, out: number): number {
    if (!this.isFirst(key)) return -ENOENT;
    this.host.memory.u8.fill(0, out, out + this.valueSize);
    return 0;
  }

  override update(key: number, _value: number, flags: ElementFlags): number {
    if (flags.lo !== 0 || flags.hi !== 0) return -EINVAL;
    return this.isFirst(key) ? -EOPNOTSUPP : -E2BIG;
  }

  override remove(): number {
    return (this.flags & U.BPF_F_LINK) !== 0 ? -EOPNOTSUPP : -EINVAL;
  }

  override nextKey(key: number, out: number): number {
    if (key !== 0 && this.isFirst(key)) return -ENOENT;
    this.host.memory.view.setUint32(out, 0, true);
    return 0;
  }
}

/** `rhtab_map_alloc_check` */
export function checkResizableHash(attr: MapAttributes, host: MapHost): number {
  if ((attr.flags & U.BPF_F_NO_PREALLOC) === 0 || (attr.flags & U.BPF_F_ZERO_SEED) !== 0) return -EINVAL;
  if (attr.keySize > 0xffff) return -E2BIG;
  if (attr.mapExtra >> 32n !== 0n) return -EINVAL;
  if (attr.mapExtra > 0xffffn) return -E2BIG;
  if (attr.mapExtra > BigInt(attr.maxEntries)) return -EINVAL;
  return checkHash(attr, host);
}

const CURSOR_BATCH: BatchOperations = { lookup: 'cursor', lookupAndDelete: 'cursor', update: true, delete: true };

/** A hash that grows; what user space can see of it is that of a hash without preallocation, but for batches. */
export class ResizableHashMap extends HashMap {
  static override create(host: MapHost, attr: MapAttributes): ResizableHashMap | number {
    if (attr.maxEntries > 2 ** 31) return -E2BIG;
    const bad = HashBase.checkSize(host, { ...attr, flags: attr.flags | U.BPF_F_NO_PREALLOC }, roundUp8(attr.valueSize));
    return bad !== 0 ? bad : new ResizableHashMap(host, attr, roundUp8(attr.valueSize));
  }

  override get batchOperations(): BatchOperations {
    return CURSOR_BATCH;
  }
}
