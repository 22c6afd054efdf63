/**
 * @module vm/atomics
 * Atomic instructions for the interpreter (RFC 9669 section 5.3; load-acquire and store-release of Linux 6.14). One thread runs a
 * program, so an atomic access is a read, an operation and a write; misalignment faults, as the verifier demands alignment.
 */
import { KERNEL_HI } from './address-space.ts';
import type { Atomic } from './program.ts';
import type { Run } from './run.ts';

/** Executes one. False after a fault, which is recorded in the run. */
export function executeAtomic(run: Run, atomic: Atomic): boolean {
  const { registers, space } = run;
  const { dst, src, off, operation, size, arena } = atomic;
  const isLoad = operation === 0x100;
  const base = (isLoad ? src : dst) * 2;
  const lo = registers[base]!;
  const hi = registers[base + 1]!;
  let at = (lo + off) | 0;
  if (arena) {
    at = run.arenaOffset(lo, off, size);
    if (at < 0) {
      if (isLoad) registers[dst * 2] = registers[dst * 2 + 1] = 0;
      return true;
    }
  } else if (run.checked) {
    if (!run.allow(lo, hi, off, size, !isLoad)) return false;
  } else if (at % size === 0 && at >>> 0 > space.byteLength - 8) {
    run.memoryFault(lo, hi, off, size, !isLoad);
    return false;
  }
  if (at % size !== 0) {
    run.fault_ = run.describe('alignment', at, arena ? KERNEL_HI : hi, size, !isLoad);
    return false;
  }
  const { view } = space;
  if (isLoad) {
    loadAcquire(view, registers, at, size, dst * 2);
    return true;
  }
  if (operation === 0x110) {
    storeRelease(view, registers, at, size, src * 2);
    return true;
  }
  if (size === 4) atomic32(view, registers, at, operation, src * 2);
  else atomic64(view, registers, at, operation, src * 2);
  return true;
}

function loadAcquire(view: DataView, registers: Int32Array, at: number, size: number, dst: number): void {
  registers[dst + 1] = size === 8 ? view.getInt32(at + 4, true) : 0;
  registers[dst] = size === 1 ? view.getUint8(at) : size === 2 ? view.getUint16(at, true) : view.getInt32(at, true);
}

function storeRelease(view: DataView, registers: Int32Array, at: number, size: number, src: number): void {
  const value = registers[src]!;
  if (size === 1) view.setUint8(at, value);
  else if (size === 2) view.setUint16(at, value, true);
  else view.setInt32(at, value, true);
  if (size === 8) view.setInt32(at + 4, registers[src + 1]!, true);
}

function combine(operation: number, a: number, b: number): number {
  switch (operation & 0xf0) {
    case 0x00: return (a + b) | 0;
    case 0x40: return a | b;
    case 0x50: return a & b;
    case 0xa0: return a ^ b;
    default: return b;
  }
}

function atomic32(view: DataView, registers: Int32Array, at: number, operation: number, src: number): void {
  const old = view.getInt32(at, true);
  if (operation === 0xf1) {
    if (old === registers[0]) view.setInt32(at, registers[src]!, true);
    registers[0] = old;
    registers[1] = 0;
    return;
  }
  view.setInt32(at, combine(operation, old, registers[src]!), true);
  if ((operation & 1) === 0) return;
  registers[src] = old;
  registers[src + 1] = 0;
}

function atomic64(view: DataView, registers: Int32Array, at: number, operation: number, src: number): void {
  const oldLo = view.getInt32(at, true);
  const oldHi = view.getInt32(at + 4, true);
  const lo = registers[src]!;
  const hi = registers[src + 1]!;
  if (operation === 0xf1) {
    if (oldLo === registers[0] && oldHi === registers[1]) {
      view.setInt32(at, lo, true);
      view.setInt32(at + 4, hi, true);
    }
    registers[0] = oldLo;
    registers[1] = oldHi;
    return;
  }
  const sum = combine(operation, oldLo, lo);
  const carry = (operation & 0xf0) === 0 && sum >>> 0 < oldLo >>> 0 ? 1 : 0;
  view.setInt32(at, sum, true);
  view.setInt32(at + 4, (combine(operation, oldHi, hi) + carry) | 0, true);
  if ((operation & 1) === 0) return;
  registers[src] = oldLo;
  registers[src + 1] = oldHi;
}
