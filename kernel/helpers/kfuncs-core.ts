/**
 * @module kernel/helpers/kfuncs-core
 * Kernel functions without objects of their own: open-coded iterators over numbers and bits, dynptr arithmetic, sections under RCU,
 * preemption or interrupts, exceptions, casts, string copies. Reproduces kernel/bpf/helpers.c and `bpf_iter_num_*` of bpf_iter.c.
 */
import { E2BIG, EFAULT, EINVAL, ENOMEM, ERANGE } from '../../isa/errno.ts';
import type { HelperCall, HelperFunction } from '../../vm/types.ts';
import type { KernelState } from '../state.ts';
import { anyPointer, high, low, pointer, setWords } from './arguments.ts';
import { DYNPTR_TYPE_LOCAL, DYNPTR_TYPE_RINGBUF, type Dynptr, readDynptr, setDynptrNull } from './dynptr.ts';

const MAX_LOOPS = 8 * 1024 * 1024;
/** `struct bpf_iter_bits_kern`: bits or their address, count, place. */
const BITS = { bits: 0, count: 8, bit: 12 } as const;
const MAX_BITS_WORDS = 511;
const PAD_ZEROS = 1;

type Make = (kernel: KernelState) => HelperFunction;

function isU32(call: HelperCall, n: number): boolean {
  return high(call, n) === 0;
}

// ---------------------------------------------------------------- numbers

function numNew(kernel: KernelState): HelperFunction {
  return (call) => {
    const at = pointer(call, 1);
    const start = low(call, 2);
    const end = low(call, 3);
    const { view } = kernel.memory;
    const bad = start > end ? EINVAL : end - start > MAX_LOOPS ? E2BIG : 0;
    view.setInt32(at, bad === 0 ? (start - 1) | 0 : 0, true);
    view.setInt32(at + 4, bad === 0 ? end : 0, true);
    call.setResult(-bad);
  };
}

function numNext(kernel: KernelState): HelperFunction {
  return (call) => {
    const at = pointer(call, 1);
    const { view } = kernel.memory;
    const next = (view.getInt32(at, true) + 1) | 0;
    if (next >= view.getInt32(at + 4, true)) {
      view.setInt32(at, 0, true);
      view.setInt32(at + 4, 0, true);
      return call.setPointer(0);
    }
    view.setInt32(at, next, true);
    call.setPointer(at);
  };
}

function numDestroy(kernel: KernelState): HelperFunction {
  return (call) => {
    const at = pointer(call, 1);
    kernel.memory.u8.fill(0, at, at + 8);
  };
}

// ---------------------------------------------------------------- bits

function bitsNew(kernel: KernelState): HelperFunction {
  return (call) => {
    const { memory } = kernel;
    const at = pointer(call, 1);
    const words = call.u32(3);
    memory.u8.fill(0, at, at + BITS.bit);
    memory.view.setInt32(at + BITS.bit, -1, true);
    const source = anyPointer(call, 2, true);
    if ((source.lo === 0 && source.hi === 0) || words === 0) return call.setResult(-EINVAL);
    if (words > MAX_BITS_WORDS) return call.setResult(-E2BIG);
    const bytes = memory.copyFrom(source, words * 8);
    if (words === 1) {
      if (bytes === undefined) return call.setResult(-EFAULT);
      memory.u8.set(bytes, at);
    } else {
      const copy = memory.tryAlloc(words * 8, 'bits iterator');
      if (copy === 0) return call.setResult(-ENOMEM);
      if (bytes === undefined) {
        memory.free(copy);
        return call.setResult(-EFAULT);
      }
      memory.u8.set(bytes, copy);
      memory.space.setPointer(at, copy);
    }
    memory.view.setInt32(at + BITS.count, words * 64, true);
    call.setResult(0);
  };
}

function bitsNext(kernel: KernelState): HelperFunction {
  return (call) => {
    const { u8, view } = kernel.memory;
    const at = pointer(call, 1);
    const count = view.getInt32(at + BITS.count, true);
    let bit = view.getInt32(at + BITS.bit, true);
    if (count === 0 || bit >= count) return call.setPointer(0);
    const base = count === 64 ? at : view.getUint32(at, true);
    do bit++; while (bit < count && ((u8[base + (bit >> 3)] ?? 0) >> (bit & 7) & 1) === 0);
    view.setInt32(at + BITS.bit, bit, true);
    call.setPointer(bit >= count ? 0 : at + BITS.bit);
  };
}

function bitsDestroy(kernel: KernelState): HelperFunction {
  return (call) => {
    const { memory } = kernel;
    const at = pointer(call, 1);
    if (memory.view.getInt32(at + BITS.count, true) > 64) memory.free(memory.view.getUint32(at, true));
  };
}

// ---------------------------------------------------------------- dynptrs

/** Offset of `length` bytes from `offset` on in the dynptr's memory; 0 where they are not in it or not in one piece. */
function slice(call: HelperCall, dynptr: Dynptr, offset: number, length: number): number {
  if (dynptr.data === 0 || !isU32(call, offset) || !isU32(call, length)) return 0;
  const from = call.u32(offset);
  const bytes = call.u32(length);
  if (bytes > dynptr.size || from > dynptr.size - bytes) return 0;
  return dynptr.type === DYNPTR_TYPE_LOCAL || dynptr.type === DYNPTR_TYPE_RINGBUF ? dynptr.data + dynptr.offset + from : 0;
}

function dynptrSlice(kernel: KernelState, isWrite: boolean): HelperFunction {
  return (call) => {
    const dynptr = readDynptr(kernel, pointer(call, 1));
    call.setPointer(isWrite && dynptr.isReadOnly ? 0 : slice(call, dynptr, 2, 4));
  };
}

function dynptrAdjust(kernel: KernelState): HelperFunction {
  return (call) => {
    const at = pointer(call, 1);
    const dynptr = readDynptr(kernel, at);
    const start = (high(call, 2) >>> 0) * 2 ** 32 + call.u32(2);
    const end = (high(call, 3) >>> 0) * 2 ** 32 + call.u32(3);
    if (dynptr.data === 0 || start > end) return call.setResult(-EINVAL);
    if (end > dynptr.size) return call.setResult(-ERANGE);
    const { view } = kernel.memory;
    view.setUint32(at + 12, dynptr.offset + start, true);
    view.setUint32(at + 8, ((view.getUint32(at + 8, true) & 0xff000000) | (end - start)) >>> 0, true);
    call.setResult(0);
  };
}

function dynptrClone(kernel: KernelState): HelperFunction {
  return (call) => {
    const from = pointer(call, 1);
    const to = pointer(call, 2);
    if (readDynptr(kernel, from).data === 0) {
      setDynptrNull(kernel, to);
      return call.setResult(-EINVAL);
    }
    kernel.memory.u8.copyWithin(to, from, from + 16);
    call.setResult(0);
  };
}

/** Memory dynptrs are in one piece: what `slice` does not find is out of bounds or read-only. */
function dynptrCopy(kernel: KernelState): HelperFunction {
  return (call) => {
    const target = readDynptr(kernel, pointer(call, 1));
    const source = readDynptr(kernel, pointer(call, 3));
    const from = slice(call, source, 4, 5);
    const to = target.isReadOnly ? 0 : slice(call, target, 2, 5);
    if (from !== 0 && to !== 0) {
      kernel.memory.u8.copyWithin(to, from, from + call.u32(5));
      return call.setResult(0);
    }
    // The kernel falls back to a write or a read, whose own checks speak.
    if (from !== 0) return call.setResult(target.data === 0 || target.isReadOnly ? -EINVAL : -E2BIG);
    if (to !== 0) return call.setResult(source.data === 0 ? -EINVAL : -E2BIG);
    if (slice(call, target, 2, 5) === 0 || slice(call, source, 4, 5) === 0) return call.setResult(-E2BIG);
    call.setResult(-EINVAL);
  };
}

function dynptrMemset(kernel: KernelState): HelperFunction {
  return (call) => {
    const dynptr = readDynptr(kernel, pointer(call, 1));
    const at = dynptr.isReadOnly ? 0 : slice(call, dynptr, 2, 3);
    if (at === 0) return call.setResult(dynptr.isReadOnly ? -EINVAL : -E2BIG);
    kernel.memory.u8.fill(low(call, 4) & 0xff, at, at + call.u32(3));
    call.setResult(0);
  };
}

// ---------------------------------------------------------------- others

function copyUserString(kernel: KernelState): HelperFunction {
  return (call) => {
    const { memory } = kernel;
    const at = pointer(call, 1);
    const size = call.u32(2);
    const flags = low(call, 4);
    if ((flags & ~PAD_ZEROS) !== 0 || high(call, 4) !== 0) return call.setResult(-EINVAL);
    if (size === 0) return call.setResult(0);
    const text = memory.readString(anyPointer(call, 3, false), size - 1);
    if (text === undefined) {
      if (flags !== 0) memory.u8.fill(0, at, at + size);
      return call.setResult(-EFAULT);
    }
    memory.u8.set(text, at);
    memory.u8.fill(0, at + text.length, flags === 0 ? at + text.length + 1 : at + size);
    call.setResult(text.length + 1);
  };
}

/** One CPU and no interrupts: sections hold nobody off. */
const section: Make = () => () => undefined;
const same: Make = () => (call) => setWords(call, low(call, 1), high(call, 1));

/** Kernel functions by name. */
export const CORE_KFUNCS: ReadonlyMap<string, Make> = new Map<string, Make>([
  ['bpf_iter_num_new', numNew], ['bpf_iter_num_next', numNext], ['bpf_iter_num_destroy', numDestroy],
  ['bpf_iter_bits_new', bitsNew], ['bpf_iter_bits_next', bitsNext], ['bpf_iter_bits_destroy', bitsDestroy],
  ['bpf_dynptr_slice', (kernel) => dynptrSlice(kernel, false)], ['bpf_dynptr_slice_rdwr', (kernel) => dynptrSlice(kernel, true)],
  ['bpf_dynptr_adjust', dynptrAdjust], ['bpf_dynptr_clone', dynptrClone], ['bpf_dynptr_copy', dynptrCopy],
  ['bpf_dynptr_memset', dynptrMemset],
  ['bpf_dynptr_is_null', (kernel) => (call) => call.setResult(readDynptr(kernel, pointer(call, 1)).data === 0 ? 1 : 0)],
  ['bpf_dynptr_is_rdonly', (kernel) => (call) => {
    const dynptr = readDynptr(kernel, pointer(call, 1));
    call.setResult(dynptr.data !== 0 && dynptr.isReadOnly ? 1 : 0);
  }],
  ['bpf_dynptr_size', (kernel) => (call) => {
    const dynptr = readDynptr(kernel, pointer(call, 1));
    call.setResult(dynptr.data === 0 ? -EINVAL : dynptr.size);
  }],
  ['bpf_rcu_read_lock', section], ['bpf_rcu_read_unlock', section], ['bpf_preempt_disable', section], ['bpf_preempt_enable', section],
  ['bpf_local_irq_restore', section],
  ['bpf_local_irq_save', (kernel) => (call) => kernel.memory.u8.fill(0, pointer(call, 1), pointer(call, 1) + 8)],
  ['bpf_cast_to_kern_ctx', same], ['bpf_rdonly_cast', same],
  ['bpf_throw', () => (call) => call.throwException(low(call, 1), high(call, 1))],
  ['bpf_copy_from_user_str', copyUserString],
]);
