/**
 * @module kernel/helpers/dynptr
 * Dynptrs: `struct bpf_dynptr_kern` in linear memory and the helpers on them. Reproduces kernel/bpf/helpers.c.
 */
import { E2BIG, EINVAL } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import type { HelperCall } from '../../vm/types.ts';
import type { KernelState } from '../state.ts';
import { high, low, pointer } from './arguments.ts';
import type { HelperEntry } from './table.ts';

export const DYNPTR_TYPE_LOCAL = 1;
export const DYNPTR_TYPE_RINGBUF = 2;
/** Size word: bits 0 to 23 size, 28 to 30 type, 31 read-only. */
const TYPE_SHIFT = 28;
const SIZE_MASK = 0xffffff;
const READ_ONLY = 0x80000000;
const MAX_SIZE = SIZE_MASK;

/** A dynptr's fields. `data` 0 is the null dynptr. */
export interface Dynptr {
  readonly data: number;
  readonly size: number;
  readonly offset: number;
  readonly type: number;
  readonly isReadOnly: boolean;
}

export function readDynptr(kernel: KernelState, at: number): Dynptr {
  const view = kernel.memory.view;
  const word = view.getUint32(at + 8, true);
  return {
    data: view.getUint32(at, true), size: word & SIZE_MASK, offset: view.getUint32(at + 12, true), type: (word >>> TYPE_SHIFT) & 7,
    isReadOnly: word >= READ_ONLY,
  };
}

export function setDynptr(kernel: KernelState, at: number, data: number, type: number, size: number): void {
  kernel.memory.space.setPointer(at, data);
  kernel.memory.view.setUint32(at + 8, (size | (type << TYPE_SHIFT)) >>> 0, true);
  kernel.memory.view.setUint32(at + 12, 0, true);
}

export function setDynptrNull(kernel: KernelState, at: number): void {
  kernel.memory.u8.fill(0, at, at + 16);
}

/** `bpf_dynptr_check_off_len` */
function isInside(dynptr: Dynptr, call: HelperCall, offsetArgument: number, lengthArgument: number): boolean {
  if (high(call, offsetArgument) !== 0 || high(call, lengthArgument) !== 0) return false;
  const offset = call.u32(offsetArgument);
  const length = call.u32(lengthArgument);
  return length <= dynptr.size && offset <= dynptr.size - length;
}

export function dynptrHelpers(kernel: KernelState): HelperEntry[] {
  return [
    [U.BPF_FUNC_dynptr_from_mem, (call) => {
      const at = pointer(call, 4);
      const refuse = (errno: number): void => {
        setDynptrNull(kernel, at);
        call.setResult(-errno);
      };
      if (call.u32(2) > MAX_SIZE) return refuse(E2BIG);
      if (low(call, 3) !== 0 || high(call, 3) !== 0) return refuse(EINVAL);
      setDynptr(kernel, at, pointer(call, 1), DYNPTR_TYPE_LOCAL, call.u32(2));
      call.setResult(0);
    }],
    [U.BPF_FUNC_dynptr_read, (call) => {
      // dst, len, src, offset, flags
      const dynptr = readDynptr(kernel, pointer(call, 3));
      if (dynptr.data === 0 || low(call, 5) !== 0 || high(call, 5) !== 0) return call.setResult(-EINVAL);
      if (!isInside(dynptr, call, 4, 2)) return call.setResult(-E2BIG);
      const from = dynptr.data + dynptr.offset + call.u32(4);
      kernel.memory.u8.copyWithin(pointer(call, 1), from, from + call.u32(2));
      call.setResult(0);
    }],
    [U.BPF_FUNC_dynptr_write, (call) => {
      // dst, offset, src, len, flags
      const dynptr = readDynptr(kernel, pointer(call, 1));
      if (dynptr.data === 0 || dynptr.isReadOnly) return call.setResult(-EINVAL);
      if (!isInside(dynptr, call, 2, 4)) return call.setResult(-E2BIG);
      if (low(call, 5) !== 0 || high(call, 5) !== 0) return call.setResult(-EINVAL);
      const from = pointer(call, 3);
      kernel.memory.u8.copyWithin(dynptr.data + dynptr.offset + call.u32(2), from, from + call.u32(4));
      call.setResult(0);
    }],
    [U.BPF_FUNC_dynptr_data, (call) => {
      const dynptr = readDynptr(kernel, pointer(call, 1));
      const isGood = dynptr.data !== 0 && !dynptr.isReadOnly && isInside(dynptr, call, 2, 3);
      call.setPointer(isGood ? dynptr.data + dynptr.offset + call.u32(2) : 0);
    }],
  ];
}
