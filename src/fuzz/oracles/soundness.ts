/**
 * @module src/fuzz/oracles/soundness
 * Whatever a program does, the verifier foresaw it: every number and every pointer in a register, every byte of stack at every step of a run
 * lies in a state that the verifier had at that instruction. Owns recorded states and the comparison; does not verify or run.
 */
import {
  F_ALLOCATED_STACK, F_FRAMENO, F_STACK, REG_A, REG_MASK_HI, REG_MASK_LO, REG_R32, REG_R64, REG_TYPE, REG_VAR_HI, REG_VAR_LO, regAt, SLOT_TYPES, SLOT_WORDS,
  STACK_SPILL, STACK_ZERO,
} from '../../../verifier/state.ts';
import { PTR_TO_CTX, PTR_TO_STACK, SCALAR_VALUE } from '../../../verifier/regtypes.ts';
import type { StateObserver } from '../../../verifier/types.ts';
import type { RegisterFile } from '../../../vm/types.ts';

const NOTHING = 0;
/** Words in front of a recorded frame: the record before it at the same instruction, and its stack slots. */
const HEAD = 2;
const FP = 10;

/** True where the 64-bit value (lo, hi) is one that the register at `at` may hold: in the tristate number and in both ranges. */
export function scalarHolds(words: Int32Array, at: number, lo: number, hi: number): boolean {
  if (((lo ^ words[at + REG_VAR_LO]!) & ~words[at + REG_MASK_LO]!) !== 0 || ((hi ^ words[at + REG_VAR_HI]!) & ~words[at + REG_MASK_HI]!) !== 0) return false;
  const base32 = words[at + REG_R32]!, size32 = words[at + REG_R32 + 1]!;
  if ((base32 & size32) === -1 || (lo - base32) >>> 0 > size32 >>> 0) return false;
  const baseLo = words[at + REG_R64]!, baseHi = words[at + REG_R64 + 1]!, sizeLo = words[at + REG_R64 + 2]!, sizeHi = words[at + REG_R64 + 3]!;
  if ((baseLo & baseHi & sizeLo & sizeHi) === -1) return false;
  const distanceLo = (lo - baseLo) >>> 0;
  const distanceHi = (hi - baseHi - (lo >>> 0 < baseLo >>> 0 ? 1 : 0)) >>> 0;
  return distanceHi < sizeHi >>> 0 || (distanceHi === sizeHi >>> 0 && distanceLo <= sizeLo >>> 0);
}

/** What did not fit into any state. */
export interface Unforeseen {
  /** Index of the instruction about to be executed. */
  readonly insn: number;
  /** What is outside, by state: `r3 = 0x…`, `fp-8 is not zero`; `never visited` where there is no state. */
  readonly reasons: readonly string[];
  /** `register`, `stack` or `path`. */
  readonly kind: string;
}

/** Records states, instruction by instruction, in one array that is used again. */
export class StateRecorder implements StateObserver {
  readonly everyPath: boolean;
  /** True where there were more states than the array holds: nothing can be said then. */
  overflowed = false;
  #words: Int32Array;
  #used = 1;
  #heads: Int32Array = new Int32Array(0);

  constructor(everyPath = true, words: number = 1 << 20) {
    this.everyPath = everyPath;
    this.#words = new Int32Array(words);
  }

  /** Forgets everything and prepares for a program of `count` instructions. */
  begin(count: number): void {
    if (this.#heads.length < count) this.#heads = new Int32Array(count);
    else this.#heads.fill(NOTHING);
    this.#used = 1;
    this.overflowed = false;
  }

  visit(insn: number, words: Int32Array, frame: number): void {
    const slots = words[frame + F_ALLOCATED_STACK]! >> 3;
    const length = F_STACK + slots * SLOT_WORDS;
    const at = this.#used;
    if (at + HEAD + length > this.#words.length) {
      this.overflowed = true;
      return;
    }
    const store = this.#words;
    store[at] = this.#heads[insn]!;
    store[at + 1] = slots;
    for (let i = 0; i < length; i++) store[at + HEAD + i] = words[frame + i]!;
    this.#heads[insn] = at;
    this.#used = at + HEAD + length;
  }

  /** Changes every recorded state, for tests of the comparison. */
  forEach(change: (words: Int32Array, frame: number) => void): void {
    for (const head of this.#heads) for (let at = head; at !== NOTHING; at = this.#words[at]!) change(this.#words, at + HEAD);
  }

  /**
   * Looks for a state that allows what is in the registers and on the stack before instruction `insn`.
   * @param contextLo low half of the context's kernel address; the high half is that of `r10`
   * @param memory all memory; the stack is at the low half of `r10`
   */
  foresaw(insn: number, registers: RegisterFile, contextLo: number, memory: Uint8Array): boolean {
    const store = this.#words;
    for (let at = this.#heads[insn] ?? NOTHING; at !== NOTHING; at = store[at]!) {
      if (fits(store, at + HEAD, store[at + 1]!, registers, contextLo, memory)) return true;
    }
    return false;
  }

  /** Why no state allows it. */
  explain(insn: number, registers: RegisterFile, contextLo: number, memory: Uint8Array, most = 8): Unforeseen {
    const store = this.#words;
    const reasons: string[] = [];
    let kind = 'path';
    for (let at = this.#heads[insn] ?? NOTHING; at !== NOTHING && reasons.length < most; at = store[at]!) {
      const reason = misfit(store, at + HEAD, store[at + 1]!, registers, contextLo, memory);
      kind = kind === 'register' || reason.startsWith('r') ? 'register' : 'stack';
      reasons.push(reason);
    }
    return { insn, reasons: reasons.length === 0 ? ['never visited'] : reasons, kind };
  }
}

function registerFits(store: Int32Array, frame: number, reg: number, registers: RegisterFile, contextLo: number): boolean {
  const at = regAt(frame, reg);
  const type = store[at + REG_TYPE]!;
  const lo = registers[2 * reg]!, hi = registers[2 * reg + 1]!;
  if (type === SCALAR_VALUE) return scalarHolds(store, at, lo, hi);
  const isStack = type === PTR_TO_STACK && store[at + REG_A] === store[frame + F_FRAMENO];
  if (!isStack && type !== PTR_TO_CTX) return true;
  const baseLo = isStack ? registers[2 * FP]! : contextLo;
  const baseHi = registers[2 * FP + 1]!;
  return scalarHolds(store, at, (lo - baseLo) | 0, (hi - baseHi - (lo >>> 0 < baseLo >>> 0 ? 1 : 0)) | 0);
}

/** True where slot `slot` of the stack is as the state says. */
function slotFits(store: Int32Array, frame: number, slot: number, registers: RegisterFile, memory: Uint8Array): boolean {
  const at = frame + F_STACK + slot * SLOT_WORDS;
  const low = store[at + SLOT_TYPES]!, high = store[at + SLOT_TYPES + 1]!;
  const top = (registers[2 * FP]! >>> 0) - 8 * slot;
  let spilled = 0;
  for (let k = 0; k < 8; k++) {
    const type = ((k < 4 ? low : high) >> (8 * (k & 3))) & 0xff;
    if (type === STACK_ZERO && memory[top - 1 - k] !== 0) return false;
    if (type === STACK_SPILL) spilled++;
  }
  if (spilled !== 8 || store[at + REG_TYPE] !== SCALAR_VALUE) return true;
  const word = (from: number): number => memory[from]! | (memory[from + 1]! << 8) | (memory[from + 2]! << 16) | (memory[from + 3]! << 24);
  return scalarHolds(store, at, word(top - 8), word(top - 4));
}

function fits(store: Int32Array, frame: number, slots: number, registers: RegisterFile, contextLo: number, memory: Uint8Array): boolean {
  for (let reg = 0; reg < FP; reg++) if (!registerFits(store, frame, reg, registers, contextLo)) return false;
  for (let slot = 0; slot < slots; slot++) if (!slotFits(store, frame, slot, registers, memory)) return false;
  return true;
}

function misfit(store: Int32Array, frame: number, slots: number, registers: RegisterFile, contextLo: number, memory: Uint8Array): string {
  for (let reg = 0; reg < FP; reg++) {
    if (!registerFits(store, frame, reg, registers, contextLo)) return `r${reg} = 0x${hex(registers[2 * reg + 1]!)}${hex(registers[2 * reg]!)}`;
  }
  for (let slot = 0; slot < slots; slot++) if (!slotFits(store, frame, slot, registers, memory)) return `fp${-8 * (slot + 1)} differs`;
  return '';
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
