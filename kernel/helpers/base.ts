/**
 * @module kernel/helpers/base
 * Helpers that every kind of program has: time, randomness, the current task, strings, formatted output, reads of memory that
 * may not be there, locks, loops. Reproduces kernel/bpf/helpers.c and kernel/trace/bpf_trace.c.
 */
import { E2BIG, EFAULT, EINVAL, ERANGE } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import type { HelperCall } from '../../vm/types.ts';
import { isNull } from '../memory.ts';
import type { KernelState } from '../state.ts';
import { anyPointer, high, low, pointer, setNumber, setWords } from './arguments.ts';
import { dynptrHelpers } from './dynptr.ts';
import { formatText } from './format.ts';
import type { HelperEntry } from './table.ts';

const MAX_LOOPS = 8 * 1024 * 1024;
const MAX_TRACE_LINES = 65536;
/** Name, process and thread id of the one task. */
const COMM = 'bpftwin';
const PID = 1;
/** Jiffies a second. */
const HZ = 1000;
const REAL_TIME_OFFSET = 1_767_225_600;

/** By theme. */
export const BASE_HELPERS: readonly ((kernel: KernelState) => readonly HelperEntry[])[] = [timeAndTask, strings, memoryReads, control, dynptrHelpers];

function timeAndTask(kernel: KernelState): HelperEntry[] {
  const now = (call: HelperCall): void => setNumber(call, kernel.sources.now());
  return [
    [U.BPF_FUNC_ktime_get_ns, now], [U.BPF_FUNC_ktime_get_boot_ns, now], [U.BPF_FUNC_ktime_get_coarse_ns, now],
    [U.BPF_FUNC_ktime_get_tai_ns, (call) => {
      const nanoseconds = BigInt(kernel.sources.now()) + BigInt(REAL_TIME_OFFSET) * 1_000_000_000n;
      setWords(call, Number(BigInt.asIntN(32, nanoseconds)), Number(BigInt.asIntN(32, nanoseconds >> 32n)));
    }],
    [U.BPF_FUNC_jiffies64, (call) => setNumber(call, Math.floor((kernel.sources.now() * HZ) / 1e9))],
    [U.BPF_FUNC_get_prandom_u32, (call) => setNumber(call, kernel.random())],
    [U.BPF_FUNC_get_smp_processor_id, (call) => setNumber(call, kernel.currentCPU)],
    [U.BPF_FUNC_get_numa_node_id, (call) => setNumber(call, 0)],
    [U.BPF_FUNC_get_current_pid_tgid, (call) => setWords(call, PID, PID)],
    [U.BPF_FUNC_get_current_uid_gid, (call) => setNumber(call, 0)],
    [U.BPF_FUNC_get_current_comm, (call) => {
      const size = call.u32(2);
      const at = pointer(call, 1);
      kernel.memory.u8.fill(0, at, at + size);
      for (let i = 0; i < Math.min(COMM.length, size - 1); i++) kernel.memory.u8[at + i] = COMM.charCodeAt(i);
      call.setResult(0);
    }],
    [U.BPF_FUNC_get_ns_current_pid_tgid, (call) => {
      const at = pointer(call, 3);
      const size = call.u32(4);
      kernel.memory.u8.fill(0, at, at + size);
      call.setResult(-EINVAL);
    }],
    [U.BPF_FUNC_get_current_cgroup_id, (call) => setNumber(call, 1)],
    [U.BPF_FUNC_get_current_ancestor_cgroup_id, (call) => setNumber(call, call.u32(1) === 0 && high(call, 1) === 0 ? 1 : 0)],
    [U.BPF_FUNC_get_attach_cookie, (call) => setNumber(call, 0)],
    [U.BPF_FUNC_get_func_ip, (call) => setNumber(call, 0)],
  ];
}

// ---------------------------------------------------------------- strings

function textAt(kernel: KernelState, at: number, size: number): string | undefined {
  const bytes = kernel.memory.u8.subarray(at, at + size);
  const end = bytes.indexOf(0);
  return end < 0 ? undefined : Array.from(bytes.subarray(0, end), (byte) => String.fromCharCode(byte)).join('');
}

/** `__bpf_strtoull`: characters consumed, magnitude, sign; or `-errno`. */
function parseNumber(kernel: KernelState, call: HelperCall): { consumed: number; value: bigint; isNegative: boolean } | number {
  const at = pointer(call, 1);
  const length = call.u32(2);
  const flags = low(call, 3);
  const base = flags & 0x1f;
  if (length === 0 || ![0, 8, 10, 16].includes(base) || (flags & ~0x1f) !== 0 || high(call, 3) !== 0) return -EINVAL;
  let text = '';
  for (let i = 0; i < length; i++) text += String.fromCharCode(kernel.memory.u8[at + i] ?? 0);
  let start = 0;
  while (start < length && /[\t-\r \u00a0]/.test(text.charAt(start))) start++;
  const isNegative = text.charAt(start) === '-';
  if (isNegative) start++;
  if (start >= length) return -EINVAL;
  const body = text.slice(start, start + 63);
  const { radix, skip } = radixOf(body, base);
  const digits = /^[0-9a-f]*/i.exec(body.slice(skip))?.[0] ?? '';
  let value = 0n;
  let used = 0;
  for (const digit of digits.toLowerCase()) {
    const number = Number.parseInt(digit, 16);
    if (number >= radix) break;
    value = value * BigInt(radix) + BigInt(number);
    used++;
    if (value > 0xffffffffffffffffn) return -ERANGE;
  }
  return used === 0 ? -EINVAL : { consumed: start + skip + used, value, isNegative };
}

/** `_parse_integer_fixup_radix` */
function radixOf(text: string, base: number): { radix: number; skip: number } {
  let radix = base;
  if (radix === 0) {
    if (text.charAt(0) !== '0') radix = 10;
    else radix = text.charAt(1).toLowerCase() === 'x' && /[0-9a-f]/i.test(text.charAt(2)) ? 16 : 8;
  }
  return { radix, skip: radix === 16 && text.charAt(0) === '0' && text.charAt(1).toLowerCase() === 'x' ? 2 : 0 };
}

function strings(kernel: KernelState): HelperEntry[] {
  const store = (call: HelperCall, value: bigint): void => kernel.memory.view.setBigUint64(pointer(call, 4), BigInt.asUintN(64, value), true);
  return [
    [U.BPF_FUNC_strtol, (call) => {
      store(call, 0n);
      const parsed = parseNumber(kernel, call);
      if (typeof parsed === 'number') return call.setResult(parsed);
      const value = parsed.isNegative ? -parsed.value : parsed.value;
      if (value < -0x8000000000000000n || value > 0x7fffffffffffffffn) return call.setResult(-ERANGE);
      store(call, value);
      call.setResult(parsed.consumed);
    }],
    [U.BPF_FUNC_strtoul, (call) => {
      store(call, 0n);
      const parsed = parseNumber(kernel, call);
      if (typeof parsed === 'number') return call.setResult(parsed);
      if (parsed.isNegative) return call.setResult(-EINVAL);
      store(call, parsed.value);
      call.setResult(parsed.consumed);
    }],
    [U.BPF_FUNC_strncmp, (call) => {
      const { u8 } = kernel.memory;
      const first = pointer(call, 1);
      const second = pointer(call, 3);
      for (let i = 0, size = call.u32(2); i < size; i++) {
        const a = u8[first + i] ?? 0;
        const b = u8[second + i] ?? 0;
        if (a !== b) return call.setResult(a < b ? -1 : 1);
        if (a === 0) break;
      }
      call.setResult(0);
    }],
    [U.BPF_FUNC_trace_printk, (call) => {
      const args = [3, 4, 5].map((n) => word(call, n));
      print(kernel, call, textAt(kernel, pointer(call, 1), call.u32(2)), args);
    }],
    [U.BPF_FUNC_trace_vprintk, (call) => {
      const args = argumentArray(kernel, call, 3, 4);
      if (typeof args === 'number') return call.setResult(args);
      print(kernel, call, textAt(kernel, pointer(call, 1), call.u32(2)), args);
    }],
    [U.BPF_FUNC_snprintf, (call) => {
      const args = argumentArray(kernel, call, 4, 5);
      if (typeof args === 'number') return call.setResult(args);
      const format = textAt(kernel, pointer(call, 3), kernel.memory.u8.length - pointer(call, 3));
      const text = format === undefined ? -EINVAL : formatText(kernel, format, args);
      if (typeof text === 'number') return call.setResult(text);
      const size = call.u32(2);
      const at = pointer(call, 1);
      for (let i = 0; i < Math.min(text.length, size - 1); i++) kernel.memory.u8[at + i] = text.charCodeAt(i);
      if (size > 0) kernel.memory.u8[at + Math.min(text.length, size - 1)] = 0;
      call.setResult(text.length + 1);
    }],
  ];
}

function word(call: HelperCall, n: number): bigint {
  return (BigInt(high(call, n) >>> 0) << 32n) | BigInt(call.u32(n));
}

/** Arguments behind a pointer: a multiple of 8 bytes, at most 12 of them. */
function argumentArray(kernel: KernelState, call: HelperCall, data: number, size: number): bigint[] | number {
  const length = call.u32(size);
  const at = pointer(call, data);
  if (length % 8 !== 0 || length > 12 * 8 || (length > 0 && at === 0)) return -EINVAL;
  const args: bigint[] = [];
  for (let i = 0; i < length; i += 8) args.push(kernel.memory.view.getBigUint64(at + i, true));
  return args;
}

function print(kernel: KernelState, call: HelperCall, format: string | undefined, args: readonly bigint[]): void {
  const text = format === undefined ? -EINVAL : formatText(kernel, format, args);
  if (typeof text === 'number') return call.setResult(text);
  kernel.trace.push(text.replace(/\n$/, ''));
  if (kernel.trace.length > MAX_TRACE_LINES) kernel.trace.shift();
  call.setResult(text.length);
}

// ---------------------------------------------------------------- reads

/** The page that the vsyscall of old maps; counts as the user's. */
const VSYSCALL_PAGE = 0xff600000 | 0;

/** `copy_from_kernel_nofault_allowed` of x86-64: no user address, nothing that is no address, not the vsyscall page. */
function isKernelAddress(lo: number, hi: number): boolean {
  return hi >>> 24 === 0xff && !(hi === -1 && (lo & ~0xfff) === VSYSCALL_PAGE);
}

function memoryReads(kernel: KernelState): HelperEntry[] {
  const { memory } = kernel;
  /** Why argument 3 could not be read: for the kernel's reads, an address that is none of the kernel's is refused before it is tried. */
  const unreadable = (call: HelperCall, isKernel: boolean): number => (isKernel && !isKernelAddress(call.u32(3) | 0, high(call, 3)) ? -ERANGE : -EFAULT);
  /** Copies into argument 1, or zero-fills it and gives an error. */
  const read = (isKernel: boolean) => (call: HelperCall): void => {
    const at = pointer(call, 1);
    const size = call.u32(2);
    const source = anyPointer(call, 3, isKernel);
    if (memory.copyInto(at, source, size)) return call.setResult(0);
    memory.u8.fill(0, at, at + size);
    call.setResult(unreadable(call, isKernel));
  };
  /** As `read` for strings: length with the NUL. */
  const readString = (isKernel: boolean) => (call: HelperCall): void => {
    const at = pointer(call, 1);
    const size = call.u32(2);
    if (size === 0) return call.setResult(0);
    const text = memory.readString(anyPointer(call, 3, isKernel), size - 1);
    if (text === undefined) {
      memory.u8.fill(0, at, at + size);
      return call.setResult(unreadable(call, isKernel));
    }
    memory.u8.set(text, at);
    memory.u8[at + text.length] = 0;
    call.setResult(text.length + 1);
  };
  /** The old helpers take an address of either world. */
  const either = (kernelRead: (call: HelperCall) => void, userRead: (call: HelperCall) => void) => (call: HelperCall): void => {
    if (high(call, 3) < 0) kernelRead(call);
    else userRead(call);
  };
  return [
    [U.BPF_FUNC_copy_from_user, read(false)], [U.BPF_FUNC_probe_read_user, read(false)], [U.BPF_FUNC_probe_read_kernel, read(true)],
    [U.BPF_FUNC_probe_read, either(read(true), read(false))],
    [U.BPF_FUNC_probe_read_user_str, readString(false)], [U.BPF_FUNC_probe_read_kernel_str, readString(true)],
    [U.BPF_FUNC_probe_read_str, either(readString(true), readString(false))],
    [U.BPF_FUNC_probe_write_user, (call) => {
      const target = anyPointer(call, 1, false);
      const bytes = memory.space.getBytes(pointer(call, 2), call.u32(3));
      call.setResult(!isNull(target) && memory.copyTo(target, bytes) ? 0 : -EFAULT);
    }],
  ];
}

// ---------------------------------------------------------------- control

function control(kernel: KernelState): HelperEntry[] {
  return [
    [U.BPF_FUNC_spin_lock, (call) => {
      const at = pointer(call, 1);
      // One CPU runs: a lock that is held is held by this very run, and the kernel would spin for ever.
      if (kernel.memory.view.getUint32(at, true) !== 0) call.fault('helper', at);
      kernel.memory.view.setUint32(at, 1, true);
      call.setResult(0);
    }],
    [U.BPF_FUNC_spin_unlock, (call) => {
      kernel.memory.view.setUint32(pointer(call, 1), 0, true);
      call.setResult(0);
    }],
    [U.BPF_FUNC_loop, (call) => {
      const count = call.u32(1);
      const callback = call.u32(2);
      const contextLo = low(call, 3);
      const contextHi = high(call, 3);
      if (low(call, 4) !== 0 || high(call, 4) !== 0) return call.setResult(-EINVAL);
      if (count > MAX_LOOPS) return call.setResult(-E2BIG);
      const words = call.callbackArguments;
      let i = 0;
      while (i < count) {
        words[0] = i;
        words[1] = 0;
        words[2] = contextLo;
        words[3] = contextHi;
        words.fill(0, 4);
        call.callback(callback);
        i++;
        if (call.callbackResult[0] !== 0 || call.callbackResult[1] !== 0) break;
      }
      call.setResult(i);
    }],
    [U.BPF_FUNC_per_cpu_ptr, (call) => {
      if (call.u32(2) >= kernel.cpus) return call.setPointer(0);
      const copy = kernel.allocated.copyOf(pointer(call, 1), call.u32(2));
      if (copy === undefined) setWords(call, low(call, 1), high(call, 1));
      else call.setPointer(copy);
    }],
    [U.BPF_FUNC_this_cpu_ptr, (call) => {
      const copy = kernel.allocated.copyOf(pointer(call, 1), kernel.currentCPU);
      if (copy === undefined) setWords(call, low(call, 1), high(call, 1));
      else call.setPointer(copy);
    }],
    [U.BPF_FUNC_kptr_xchg, (call) => {
      const at = pointer(call, 1);
      const view = kernel.memory.view;
      const oldLo = view.getInt32(at, true);
      const oldHi = view.getInt32(at + 4, true);
      view.setInt32(at, low(call, 2), true);
      view.setInt32(at + 4, high(call, 2), true);
      setWords(call, oldLo, oldHi);
    }],
  ];
}
