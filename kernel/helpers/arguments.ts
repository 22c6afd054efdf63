/**
 * @module kernel/helpers/arguments
 * Reading a helper's arguments: pointers as offsets, 64-bit words. The verifier (or checked mode) vouches for the memory.
 */
import { KERNEL_HI } from '../../vm/address-space.ts';
import type { HelperCall } from '../../vm/types.ts';
import type { BPFPtr } from '../memory.ts';

/** Offset of pointer argument `n`, 0 for null. */
export function pointer(call: HelperCall, n: number): number {
  return call.registers[2 * n + 1] === KERNEL_HI ? call.u32(n) : 0;
}

/** True where argument `n` is a kernel address. */
export function isKernelPointer(call: HelperCall, n: number): boolean {
  return call.registers[2 * n + 1] === KERNEL_HI;
}

export function low(call: HelperCall, n: number): number {
  return call.registers[2 * n] ?? 0;
}

export function high(call: HelperCall, n: number): number {
  return call.registers[2 * n + 1] ?? 0;
}

/** Argument `n` as a pointer of either world. */
export function anyPointer(call: HelperCall, n: number, kernel: boolean): BPFPtr {
  return { lo: call.u32(n), hi: high(call, n), kernel };
}

/** Sets `r0` to a 64-bit number given as a non-negative JS number below 2^53. */
export function setNumber(call: HelperCall, value: number): void {
  call.registers[0] = value % 0x100000000 | 0;
  call.registers[1] = Math.floor(value / 0x100000000) | 0;
}

export function setWords(call: HelperCall, lo: number, hi: number): void {
  call.registers[0] = lo;
  call.registers[1] = hi;
}
