/**
 * @module kernel/helpers/kfuncs-strings
 * String functions on untrusted kernel pointers: `bpf_strcmp`, `bpf_strstr` and their family. A pointer that is no kernel address
 * gives `-ERANGE`, one that cannot be read `-EFAULT`, a string of more than 64 KiB `-E2BIG`. Reproduces the string kfuncs of
 * kernel/bpf/helpers.c.
 */
import { E2BIG, EFAULT, ENOENT, ERANGE } from '../../isa/errno.ts';
import type { HelperCall, HelperFunction } from '../../vm/types.ts';
import type { KernelState } from '../state.ts';
import { high, low } from './arguments.ts';

/** `XATTR_SIZE_MAX`, longest string that any of these looks through. */
const LONGEST = 65536;
/** What a read beyond the memory gives. */
const FAULT = -1;

/** Characters at a kernel address, one by one. */
interface Text {
  /** Byte `i`, or {@link FAULT}. */
  at: (i: number) => number;
}

/** Opens argument `n`; `undefined` for an address outside the kernel's half. */
function open(kernel: KernelState, call: HelperCall, n: number): Text | undefined {
  const hi = high(call, n);
  if (hi >>> 16 !== 0xffff) return undefined;
  const { space } = kernel.memory;
  const lo = call.u32(n);
  const start = space.kernelToOffset(lo, hi, 1);
  const end = space.byteLength;
  const { u8 } = space;
  return { at: (i) => (start < 0 || start + i >= end ? FAULT : (u8[start + i] ?? FAULT)) };
}

/** `tolower` of the kernel's Latin-1 table. */
function lower(byte: number): number {
  const isUpper = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0xc0 && byte <= 0xde && byte !== 0xd7);
  return isUpper ? byte + 32 : byte;
}

/** A size argument, cut to what matters. */
function size(call: HelperCall, n: number): number {
  return high(call, n) === 0 ? call.u32(n) : 2 ** 40;
}

function signed(byte: number): number {
  return (byte << 24) >> 24;
}

function compare(first: Text, second: Text, ignoreCase: boolean, length: number): number {
  const end = Math.min(length, LONGEST);
  for (let i = 0; i < end; i++) {
    let a = first.at(i);
    if (a === FAULT) return -EFAULT;
    let b = second.at(i);
    if (b === FAULT) return -EFAULT;
    if (ignoreCase) {
      a = lower(a);
      b = lower(b);
    }
    if (a !== b) return signed(a) < signed(b) ? -1 : 1;
    if (a === 0) return 0;
  }
  return end === LONGEST ? -E2BIG : 0;
}

/** Index of the first byte that `stop` accepts, `atEnd` where the string or the length ends before. */
function scan(text: Text, length: number, stop: (byte: number) => boolean, atNUL: (i: number) => number, atLength: (i: number) => number): number {
  const end = Math.min(length, LONGEST);
  for (let i = 0; i < end; i++) {
    const byte = text.at(i);
    if (byte === FAULT) return -EFAULT;
    if (stop(byte)) return i;
    if (byte === 0) return atNUL(i);
  }
  return end === LONGEST ? -E2BIG : atLength(end);
}

function last(text: Text, wanted: number): number {
  let found = -ENOENT;
  for (let i = 0; i < LONGEST; i++) {
    const byte = text.at(i);
    if (byte === FAULT) return -EFAULT;
    if (byte === wanted) found = i;
    if (byte === 0) return found;
  }
  return -E2BIG;
}

/** Length of the start of `text` whose bytes are (`accept`) or are not in `set`. */
function span(text: Text, set: Text, accept: boolean): number {
  for (let i = 0; i < LONGEST; i++) {
    const byte = text.at(i);
    if (byte === FAULT) return -EFAULT;
    if (byte === 0) return i;
    let isMember = false;
    let j = 0;
    for (; j < LONGEST; j++) {
      const member = set.at(j);
      if (member === FAULT) return -EFAULT;
      isMember = member === byte;
      if (isMember || member === 0) break;
    }
    if (j === LONGEST) return -E2BIG;
    if (isMember !== accept) return i;
  }
  return -E2BIG;
}

/** Index of the first occurrence within `length` bytes. The byte of `needle` behind the last one that may match is read as well. */
function find(text: Text, needle: Text, length: number, ignoreCase: boolean, charge: (count: number) => void): number {
  for (let i = 0; i < LONGEST; i++) {
    let j = 0;
    for (; i + j <= length && j < LONGEST; j++) {
      let wanted = needle.at(j);
      if (wanted === FAULT) return -EFAULT;
      if (wanted === 0) return i;
      if (i + j === length) break;
      let byte = text.at(i + j);
      if (byte === FAULT) return -EFAULT;
      if (ignoreCase) {
        byte = lower(byte);
        wanted = lower(wanted);
      }
      if (byte === 0) return -ENOENT;
      if (byte !== wanted) break;
    }
    if (j === LONGEST) return -E2BIG;
    if (i + j === length) return -ENOENT;
    if (j > 64) charge(j);
  }
  return -E2BIG;
}

type One = (text: Text, call: HelperCall) => number;
type Two = (first: Text, second: Text, call: HelperCall) => number;

/** Kernel functions by name. */
export const STRING_KFUNCS: ReadonlyMap<string, (kernel: KernelState) => HelperFunction> = new Map<string, (kernel: KernelState) => HelperFunction>([
  one('bpf_strchr', (text, call) => character(text, LONGEST, low(call, 2))),
  one('bpf_strnchr', (text, call) => character(text, size(call, 2), low(call, 3))),
  one('bpf_strchrnul', (text, call) => scan(text, LONGEST, (byte) => byte === (low(call, 2) & 0xff), (i) => i, (i) => i)),
  one('bpf_strrchr', (text, call) => last(text, wide(low(call, 2)))),
  one('bpf_strlen', (text) => scan(text, LONGEST, () => false, (i) => i, (i) => i)),
  one('bpf_strnlen', (text, call) => scan(text, size(call, 2), () => false, (i) => i, (i) => i)),
  two('bpf_strcmp', (first, second) => compare(first, second, false, LONGEST)),
  two('bpf_strcasecmp', (first, second) => compare(first, second, true, LONGEST)),
  two('bpf_strncasecmp', (first, second, call) => compare(first, second, true, size(call, 3))),
  two('bpf_strspn', (text, set) => span(text, set, true)),
  two('bpf_strcspn', (text, set) => span(text, set, false)),
  two('bpf_strstr', (text, needle, call) => find(text, needle, LONGEST, false, (count) => call.charge(count))),
  two('bpf_strcasestr', (text, needle, call) => find(text, needle, LONGEST, true, (count) => call.charge(count))),
  two('bpf_strnstr', (text, needle, call) => find(text, needle, size(call, 3), false, (count) => call.charge(count))),
  two('bpf_strncasestr', (text, needle, call) => find(text, needle, size(call, 3), true, (count) => call.charge(count))),
]);

function character(text: Text, length: number, wanted: number): number {
  return scan(text, length, (byte) => byte === (wanted & 0xff), () => -ENOENT, () => -ENOENT);
}

/** `bpf_strrchr` compares with an int: bytes above 127 are negative there. */
function wide(wanted: number): number {
  return wanted >= -128 && wanted <= 127 ? wanted & 0xff : FAULT - 1;
}

function one(name: string, body: One): [string, (kernel: KernelState) => HelperFunction] {
  return [name, (kernel) => (call) => {
    const text = open(kernel, call, 1);
    call.setResult(text === undefined ? -ERANGE : body(text, call));
  }];
}

function two(name: string, body: Two): [string, (kernel: KernelState) => HelperFunction] {
  return [name, (kernel) => (call) => {
    const first = open(kernel, call, 1);
    const second = open(kernel, call, 2);
    call.setResult(first === undefined || second === undefined ? -ERANGE : body(first, second, call));
  }];
}
