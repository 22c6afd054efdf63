/**
 * @module kernel/syscall/call
 * One `bpf()` call under way: the kernel's copy of `union bpf_attr` and where it came from. Owns reading its fields and writing
 * results back to the caller's union.
 */
import { ATTR_SIZE, attrTailIsZero, type CommandSpec, type Field } from '../../isa/attr.ts';
import type { KernelState } from '../state.ts';
import { advance, type BPFPtr, pointerAt } from '../memory.ts';
import type { ElementFlags } from '../maps/map.ts';

/** `struct bpf_common_attr` of a command with `BPF_COMMON_ATTRS`; all zero without. */
export interface CommonAttributes {
  readonly view: DataView;
  readonly pointer: BPFPtr;
  /** Bytes that the caller passed, at most the kernel's size; 0 without common attributes. */
  readonly size: number;
}

/** Room for a copy of `union bpf_attr`. */
export interface AttributeBlock {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Blocks that no call needs any more. */
const spare: AttributeBlock[] = [];

/** A block whose contents are those of an earlier call. */
export function takeBlock(): AttributeBlock {
  const block = spare.pop();
  if (block !== undefined) return block;
  const view = new DataView(new ArrayBuffer(ATTR_SIZE));
  return { bytes: new Uint8Array(view.buffer), view };
}

/** Ends a call's use of its block. */
export function leaveBlock(block: AttributeBlock): void {
  spare.push(block);
}

export class Call {
  readonly kernel: KernelState;
  readonly cmd: number;
  /** Where the copy is; another call gets it when this one is over. */
  readonly block: AttributeBlock;
  /** Zero-filled copy of the union, {@link ATTR_SIZE} bytes. */
  readonly attr: DataView;
  readonly bytes: Uint8Array;
  /** The caller's union. Its `kernel` says whether pointers in it are kernel addresses. */
  readonly pointer: BPFPtr;
  /** Bytes of the union that the caller passed, at most the kernel's size. */
  readonly size: number;
  readonly common: CommonAttributes;
  /** The log that the command wrote, for observers. */
  log = '';

  constructor(kernel: KernelState, cmd: number, block: AttributeBlock, pointer: BPFPtr, size: number, common: CommonAttributes) {
    this.kernel = kernel;
    this.cmd = cmd;
    this.block = block;
    this.bytes = block.bytes;
    this.attr = block.view;
    this.pointer = pointer;
    this.size = size;
    this.common = common;
  }

  get isFromProgram(): boolean {
    return this.pointer.kernel;
  }

  u32(field: Field): number {
    return this.attr.getUint32(field.offset, true);
  }

  fd(field: Field): number {
    return this.attr.getInt32(field.offset, true);
  }

  u64(field: Field): bigint {
    return this.attr.getBigUint64(field.offset, true);
  }

  /** A pointer that is always a user address (`u64_to_user_ptr`). */
  userPointer(field: Field): BPFPtr {
    return pointerAt(this.attr, field.offset, false);
  }

  /** A pointer into the caller's own world (`make_bpfptr`). */
  callerPointer(field: Field): BPFPtr {
    return pointerAt(this.attr, field.offset, this.pointer.kernel);
  }

  flags(field: Field): ElementFlags {
    return { lo: this.attr.getInt32(field.offset, true), hi: this.attr.getInt32(field.offset + 4, true) };
  }

  /** Writes a 32-bit field of the caller's union; false on a fault. */
  put(field: Field, value: number): boolean {
    return this.kernel.memory.putU32(advance(this.pointer, field.offset), value);
  }

  put64(field: Field, value: bigint): boolean {
    return this.kernel.memory.putU64(advance(this.pointer, field.offset), value);
  }

  /** `CHECK_ATTR`: nothing behind the command's last field is set. */
  hasCleanTail(spec: CommandSpec): boolean {
    return attrTailIsZero(this.attr, 0, spec);
  }
}

/** 0 (null) as a pointer? */
export function isNullField(call: Call, field: Field): boolean {
  return call.attr.getUint32(field.offset, true) === 0 && call.attr.getUint32(field.offset + 4, true) === 0;
}
