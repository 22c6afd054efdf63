/**
 * @module kernel/maps/special
 * Stack traces, instruction arrays, resizable hashes: kinds with rules of their own. Reproduces
 * kernel/bpf/stackmap.c, bpf_insn_array.c and the `rhtab` part of hashtab.c.
 */
import type { BTF } from '../../btf/btf.ts';
import { E2BIG, EACCES, EEXIST, EINVAL, ENOENT, ENOMEM, ENOTSUPP, EOPNOTSUPP } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { CODE_HI, codeAddress, codeIndex } from '../../vm/types.ts';
import { isPlain32BitInt, nextArrayKey } from './array.ts';
import { checkHash, HashBase, HashMap } from './hashtab.ts';
import { type BatchOperations, BPFMap, type ElementFlags, type MapAttributes, type MapHost, roundUp8 } from './map.ts';

const STACK_MAP_SIZE = 528;
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
