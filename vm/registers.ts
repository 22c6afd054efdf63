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
let level = 0;

/** True while a run of any machine is under way. */
export function registersInUse(): boolean {
  return level > 0;
}

/** Begins a run: gives the level to hand to {@link leaveRegisters}. Keeps the registers of a run that is under way. */
export function enterRegisters(): number {
  if (level > 0) (saved[level] ??= new Int32Array(REGISTER_WORDS)).set(REGISTERS);
  return level++;
}

/** Ends the run of `outer`, and what was left open above it. */
export function leaveRegisters(outer: number): void {
  level = outer;
  if (outer > 0) REGISTERS.set(saved[outer]!);
}
