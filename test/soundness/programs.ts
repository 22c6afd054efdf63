/**
 * @module test/soundness/programs
 * Random programs for the tests of soundness: arithmetic of every kind on values that nobody knows before the run, spills and fills,
 * branches forward, calls of functions. The same seed gives the same program.
 */
import * as U from '../../isa/uapi.ts';

/** Seeded random numbers (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A uint32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return (x ^ (x >>> 14)) >>> 0;
  }

  below(n: number): number {
    return this.next() % n;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Bytes of the context, of which the programs read all. */
export const CONTEXT_SIZE = 64;

const ALU = [U.BPF_ADD, U.BPF_SUB, U.BPF_MUL, U.BPF_DIV, U.BPF_OR, U.BPF_AND, U.BPF_LSH, U.BPF_RSH, U.BPF_MOD, U.BPF_XOR, U.BPF_MOV, U.BPF_ARSH] as const;
const JUMPS = [
  U.BPF_JEQ, U.BPF_JGT, U.BPF_JGE, U.BPF_JSET, U.BPF_JNE, U.BPF_JSGT, U.BPF_JSGE, U.BPF_JLT, U.BPF_JLE, U.BPF_JSLT, U.BPF_JSLE,
] as const;
const CONSTANTS = [0, 1, 2, 3, 7, 8, 15, 31, 63, 64, 255, 4095, 0x7fff, 0xffff, 0x7fff_ffff, -1, -2, -8, -128, -0x8000_0000, 0x5555_5555] as const;
const SIZES = [U.BPF_B, U.BPF_H, U.BPF_W, U.BPF_DW] as const;
const BYTES = new Map<number, number>([[U.BPF_B, 1], [U.BPF_H, 2], [U.BPF_W, 4], [U.BPF_DW, 8]]);
/** Registers that hold numbers; R6 keeps the context. */
const NUMBERS = [0, 2, 3, 4, 5, 7, 8, 9] as const;
const SLOTS = 4;

type Insn = readonly [code: number, dst: number, src: number, off: number, imm: number];

class Generator {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  #constant(): number {
    return this.#random.below(4) === 0 ? this.#random.next() | 0 : this.#random.pick(CONSTANTS);
  }

  #alu(): Insn {
    const r = this.#random;
    const cls = r.pick([U.BPF_ALU, U.BPF_ALU64]);
    const dst = r.pick(NUMBERS), src = r.pick(NUMBERS);
    switch (r.below(12)) {
      case 0: return [cls | U.BPF_NEG, dst, 0, 0, 0];
      case 1: return [U.BPF_ALU | U.BPF_END | r.pick([0, U.BPF_X]), dst, 0, 0, r.pick([16, 32, 64])];
      case 2: return [U.BPF_ALU64 | U.BPF_END, dst, 0, 0, r.pick([16, 32, 64])];
      case 3: return [U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, dst, src, r.pick([8, 16, 32]), 0];
      case 4: return [U.BPF_ALU | U.BPF_MOV | U.BPF_X, dst, src, r.pick([8, 16]), 0];
      case 5: return [cls | r.pick([U.BPF_DIV, U.BPF_MOD]) | U.BPF_X, dst, src, 1, 0];
      case 6: case 7: case 8: return [cls | r.pick(ALU) | U.BPF_X, dst, src, 0, 0];
      default: {
        const op = r.pick(ALU);
        const isShift = op === U.BPF_LSH || op === U.BPF_RSH || op === U.BPF_ARSH;
        const divides = op === U.BPF_DIV || op === U.BPF_MOD;
        return [cls | op, dst, 0, 0, isShift ? r.below(cls === U.BPF_ALU ? 32 : 64) : divides ? this.#constant() || 3 : this.#constant()];
      }
    }
  }

  #memory(): Insn {
    const r = this.#random;
    const size = r.pick(SIZES), bytes = BYTES.get(size)!;
    const stack = -8 * (1 + r.below(SLOTS)) + bytes * r.below(8 / bytes);
    switch (r.below(8)) {
      case 0: case 1: return [U.BPF_STX | U.BPF_MEM | U.BPF_DW, 10, r.pick(NUMBERS), -8 * (1 + r.below(SLOTS)), 0];
      case 2: return [U.BPF_STX | U.BPF_MEM | size, 10, r.pick(NUMBERS), stack, 0];
      case 3: return [U.BPF_ST | U.BPF_MEM | size, 10, 0, stack, this.#constant()];
      case 4: case 5: return [U.BPF_LDX | U.BPF_MEM | size, r.pick(NUMBERS), 10, stack, 0];
      case 6: return size === U.BPF_DW ? this.#alu() : [U.BPF_LDX | U.BPF_MEMSX | size, r.pick(NUMBERS), 10, stack, 0];
      default: return [U.BPF_LDX | U.BPF_MEM | size, r.pick(NUMBERS), 6, bytes * r.below(CONTEXT_SIZE / bytes), 0];
    }
  }

  #branch(): readonly Insn[] {
    const r = this.#random;
    const body = Array.from({ length: 1 + r.below(4) }, () => (r.below(3) === 0 ? this.#memory() : this.#alu()));
    const cls = r.pick([U.BPF_JMP, U.BPF_JMP32]);
    return [
      r.below(2) === 0 ? [cls | r.pick(JUMPS), r.pick(NUMBERS), 0, body.length, this.#constant()] : [cls | r.pick(JUMPS) | U.BPF_X, r.pick(NUMBERS), r.pick(NUMBERS), body.length, 0],
      ...body,
    ];
  }

  /** A body in which all registers hold numbers and all slots were written. */
  body(branches: number): Insn[] {
    const r = this.#random;
    const out: Insn[] = NUMBERS.map((reg, i): Insn => r.below(4) === 0
      ? [U.BPF_ALU64 | U.BPF_MOV, reg, 0, 0, this.#constant()]
      : [U.BPF_LDX | U.BPF_MEM | r.pick(SIZES), reg, 6, 8 * (i % (CONTEXT_SIZE / 8)), 0]);
    for (let slot = 1; slot <= SLOTS; slot++) out.push([U.BPF_STX | U.BPF_MEM | U.BPF_DW, 10, r.pick(NUMBERS), -8 * slot, 0]);
    for (let i = 0; i < branches; i++) {
      for (let k = r.below(4); k > 0; k--) out.push(r.below(3) === 0 ? this.#memory() : this.#alu());
      out.push(...this.#branch());
    }
    return out;
  }
}

/** A program of type SYSCALL that reads {@link CONTEXT_SIZE} bytes of context. */
export function randomProgram(random: Random): Uint8Array {
  const generator = new Generator(random);
  const exit: Insn = [U.BPF_JMP | U.BPF_EXIT, 0, 0, 0, 0];
  const keepContext: Insn = [U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 6, 1, 0, 0];
  const main = [keepContext, ...generator.body(1 + random.below(5))];
  const insns: Insn[] = [...main];
  if (random.below(3) === 0) {
    const tail = generator.body(1);
    const callee = [keepContext, ...generator.body(1 + random.below(2))];
    insns.push([U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 1, 6, 0, 0], [U.BPF_JMP | U.BPF_CALL, 0, U.BPF_PSEUDO_CALL, 0, tail.length + 1], ...tail, exit, ...callee);
  }
  insns.push(exit);
  const bytes = new Uint8Array(insns.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, [code, dst, src, off, imm]] of insns.entries()) {
    bytes.set([code, dst | (src << 4)], i * 8);
    view.setInt16(i * 8 + 2, off, true);
    view.setInt32(i * 8 + 4, imm, true);
  }
  return bytes;
}
