/**
 * @module vm/registers
 * The one register file of this JavaScript realm. Why one and not one per run: V8 compiles accesses to a typed array that is a constant
 * of the module with its address and length in the code; through a variable each access loads both (measured: a quarter of the
 * interpreter's time). Runs inside runs save it and put it back.
 */
import type { RegisterFile } from './types.ts';

/** Registers that a program can name: r0…r10, the stack-argument base (11) and the verifier's scratch register (12). */
export const REGISTER_COUNT: number = 13;
/** Words of a register file. */
export const REGISTER_WORDS: number = REGISTER_COUNT * 2;

/** Register `n` at words `2n` (low) and `2n + 1` (high). */
export const REGISTERS: RegisterFile = new Int32Array(REGISTER_WORDS);

const saved: Int32Array[] = [];

/**
 * How many runs are under way, of all machines, and the entry whose run is still set up because no other run has begun since its last
 * one: that entry need not begin anew.
 */
export const REGISTERS_USE: { level: number; ready: object | undefined } = { level: 0, ready: undefined };

/** Begins a run: gives the level to hand to {@link leaveRegisters}. Keeps the registers of a run that is under way. */
export function enterRegisters(): number {
  const { level } = REGISTERS_USE;
  REGISTERS_USE.ready = undefined;
  if (level > 0) (saved[level] ??= new Int32Array(REGISTER_WORDS)).set(REGISTERS);
  return REGISTERS_USE.level++;
}

/** Ends the run of `outer`, and what was left open above it. */
export function leaveRegisters(outer: number): void {
  REGISTERS_USE.level = outer;
  if (outer > 0) REGISTERS.set(saved[outer]!);
}
