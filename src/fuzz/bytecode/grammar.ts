/**
 * @module src/fuzz/bytecode/grammar
 * Programs from a grammar: pieces that mean something to a verifier (a value loaded, narrowed, used as an offset; a lookup with its null check;
 * a loop with its bound; a spill and a fill of another size), joined so that most programs are valid. Owns what is generated; knows
 * the maps only by the numbers of their descriptors.
 */
import { pooledBytes } from '../../../isa/pool.ts';
import * as U from '../../../isa/uapi.ts';
import type { Random } from '../random.ts';
import { divergingPaths, dynamicPointer, iteratorLoop, type IteratorFunctions, type Writer } from './sequences.ts';

/** Most slots of 8 bytes that a program has. */
export const MOST_SLOTS = 64;

/** Kinds of program. */
export const KIND_SYSCALL = 0;
export const KIND_RAW_TRACEPOINT = 1;
/** A socket filter of a user without privileges: verified, not run. */
export const KIND_UNPRIVILEGED = 2;

/** Maps by what they are for; the numbers are descriptors. */
export interface MapNumbers {
  /** Array of one value of {@link VALUE_SIZE} bytes. */
  readonly value: number;
  /** Array of four values of 8 bytes. */
  readonly four: number;
  /** Hash table: 8-byte keys, 16-byte values. */
  readonly hash: number;
  readonly ring: number;
  /** Frozen array of one value of 16 bytes that programs may only read. */
  readonly constant: number;
  /** Program array, empty. */
  readonly calls: number;
}

export const VALUE_SIZE = 64;
/** Bytes of the context that programs read. */
export const CONTEXT_SIZE = 64;

const ALU = [U.BPF_ADD, U.BPF_SUB, U.BPF_MUL, U.BPF_DIV, U.BPF_OR, U.BPF_AND, U.BPF_LSH, U.BPF_RSH, U.BPF_MOD, U.BPF_XOR, U.BPF_MOV, U.BPF_ARSH] as const;
const JUMPS = [U.BPF_JEQ, U.BPF_JGT, U.BPF_JGE, U.BPF_JSET, U.BPF_JNE, U.BPF_JSGT, U.BPF_JSGE, U.BPF_JLT, U.BPF_JLE, U.BPF_JSLT, U.BPF_JSLE] as const;
const SIZES = [U.BPF_B, U.BPF_H, U.BPF_W, U.BPF_DW] as const;
const CLASSES = [U.BPF_ALU, U.BPF_ALU64] as const;
const JUMP_CLASSES = [U.BPF_JMP, U.BPF_JMP32] as const;
const CONSTANTS = [0, 1, 2, 3, 7, 8, 15, 31, 32, 63, 64, 255, 4095, 0x7fff, 0xffff, 0x7fff_ffff, -1, -2, -8, -128, -0x8000_0000, 0x5555_5555] as const;
const ATOMICS = [U.BPF_ADD, U.BPF_OR, U.BPF_AND, U.BPF_XOR, U.BPF_ADD | U.BPF_FETCH, U.BPF_OR | U.BPF_FETCH, U.BPF_AND | U.BPF_FETCH, U.BPF_XOR | U.BPF_FETCH, U.BPF_XCHG, U.BPF_CMPXCHG] as const;
const SLOTS = 4;
const CONTEXT = 6;
const VALUE = 7;
const FP = 10;
const LD_IMM64 = U.BPF_LD | U.BPF_IMM | U.BPF_DW;
/** Helpers without arguments that give a number. */
const NUMBER_HELPERS = [U.BPF_FUNC_get_prandom_u32, U.BPF_FUNC_ktime_get_ns, U.BPF_FUNC_get_smp_processor_id, U.BPF_FUNC_get_current_pid_tgid] as const;

function bytesOf(size: number): number {
  return size === U.BPF_B ? 1 : size === U.BPF_H ? 2 : size === U.BPF_W ? 4 : 8;
}

/** Writes programs; one is used again and again. */
export class Grammar {
  readonly #maps: MapNumbers;
  readonly #bytes: Uint8Array = new Uint8Array(8 * (MOST_SLOTS + 64));
  readonly #view: DataView = new DataView(this.#bytes.buffer);
  #random!: Random;
  #count = 0;
  #limit = 0;
  /** Registers that hold numbers, as bits. */
  #numbers = 0;
  /** Stack slots that were written. */
  #slots = 0;
  /** True where r7 points at the value of the first array. */
  #hasValue = false;
  #isFunction = false;
  #depth = 0;
  /** Jumps that lead to the exit. */
  readonly #exits: number[] = [];
  /** Calls (and addresses) of functions still to be written. */
  readonly #calls: { readonly at: number; readonly isCallback: boolean }[] = [];

  readonly #iterator: IteratorFunctions | undefined;

  /** @param iterator where the kernel's types are known: how it calls its number iterator */
  constructor(maps: MapNumbers, iterator?: IteratorFunctions) {
    this.#maps = maps;
    this.#iterator = iterator;
  }

  /** What sequences are written with. */
  get #writer(): Writer {
    const lead = (at: number, target: number): void => this.#view.setInt16(at * 8 + 2, target - at - 1, true);
    return {
      random: this.#random, here: () => this.#count, lead, land: (at) => lead(at, this.#count), emit: (code, dst, src, off, imm) => this.#emit(code, dst, src, off, imm),
    };
  }

  /** One program of a kind, 8 bytes a slot. */
  program(random: Random, kind: number): Uint8Array {
    this.#random = random;
    this.#count = 0;
    this.#calls.length = 0;
    this.#isFunction = false;
    this.#limit = 6 + random.below(random.oneIn(3) ? 42 : 22);
    this.#function(kind);
    for (let i = 0; i < this.#calls.length && this.#count < MOST_SLOTS - 8; i++) {
      const { at, isCallback } = this.#calls[i]!;
      this.#view.setInt32(at * 8 + 4, this.#count - at - 1, true);
      this.#isFunction = true;
      this.#limit = this.#count + 3 + random.below(10);
      this.#function(isCallback ? -1 : kind);
    }
    return this.#written();
  }

  /** A piece for another program: a few instructions that suit most places. */
  piece(random: Random): Uint8Array {
    this.#random = random;
    this.#count = 0;
    this.#calls.length = 0;
    // A piece has nowhere to put functions that it calls.
    this.#isFunction = true;
    this.#exits.length = 0;
    this.#numbers = 0x3ff & ~(1 << CONTEXT) & ~(1 << VALUE);
    this.#slots = (1 << SLOTS) - 1;
    this.#hasValue = random.oneIn(2);
    this.#limit = 1 + random.below(6);
    this.#depth = 1;
    while (this.#count < this.#limit) this.#statement();
    for (const at of this.#exits) this.#view.setInt16(at * 8 + 2, this.#count - at - 1, true);
    return this.#written();
  }

  /** A copy of what was written, out of a shared buffer: inputs are many, and those that are kept are kept in another form. */
  #written(): Uint8Array {
    const out = pooledBytes(this.#count * 8), bytes = this.#bytes;
    for (let at = 0; at < out.length; at++) out[at] = bytes[at]!;
    return out;
  }

  #emit(code: number, dst: number, src: number, off: number, imm: number): number {
    const at = this.#count;
    if (at >= MOST_SLOTS + 60) return at - 1;
    const bytes = this.#bytes;
    bytes[at * 8] = code;
    bytes[at * 8 + 1] = dst | (src << 4);
    this.#view.setInt16(at * 8 + 2, off, true);
    this.#view.setInt32(at * 8 + 4, imm, true);
    this.#count = at + 1;
    return at;
  }

  #constant(): number {
    const random = this.#random;
    return random.oneIn(4) ? random.int32() : random.pick(CONSTANTS);
  }

  /** A register that holds a number. */
  #number(): number {
    const random = this.#random;
    for (let tries = 0; tries < 6; tries++) {
      const reg = random.below(10);
      if ((this.#numbers & (1 << reg)) !== 0) return reg;
    }
    for (let reg = 0; reg < 10; reg++) if ((this.#numbers & (1 << reg)) !== 0) return reg;
    return this.#fresh();
  }

  /** A register to write: neither the context nor the value. */
  #free(): number {
    for (;;) {
      const reg = this.#random.below(10);
      if (reg !== CONTEXT && (reg !== VALUE || !this.#hasValue)) return reg;
    }
  }

  /** A register with a new constant. */
  #fresh(): number {
    const reg = this.#free();
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, reg, 0, 0, this.#constant());
    this.#numbers |= 1 << reg;
    return reg;
  }

  #function(kind: number): void {
    const random = this.#random;
    this.#exits.length = 0;
    this.#slots = 0;
    this.#hasValue = false;
    this.#depth = 0;
    const isCallback = kind < 0;
    this.#numbers = isCallback ? 1 << 1 : 0;
    if (isCallback) {
      this.#emit(U.BPF_ALU64 | U.BPF_MOV, CONTEXT, 0, 0, 0);
      this.#numbers |= 1 << CONTEXT;
    } else this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, CONTEXT, 1, 0, 0);
    if (random.oneIn(2)) this.#value();
    for (let n = 2 + random.below(4); n > 0; n--) this.#load(kind);
    while (this.#count < this.#limit) this.#statement();
    this.#exit();
  }

  #exit(): void {
    const random = this.#random;
    if ((this.#numbers & 1) === 0 || this.#exits.length > 0 || random.oneIn(4)) {
      const source = this.#exits.length === 0 && this.#numbers !== 0 && random.oneIn(2) ? this.#number() : -1;
      for (const at of this.#exits) this.#view.setInt16(at * 8 + 2, this.#count - at - 1, true);
      if (source >= 0) this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 0, source, 0, 0);
      else this.#emit(U.BPF_ALU64 | U.BPF_MOV, 0, 0, 0, this.#isFunction ? random.below(2) : this.#constant());
    }
    this.#emit(U.BPF_JMP | U.BPF_EXIT, 0, 0, 0, 0);
  }

  /** A number that nobody knows before the run. */
  #load(kind: number): void {
    const random = this.#random;
    const reg = this.#free();
    const size = kind === KIND_RAW_TRACEPOINT ? U.BPF_DW : kind === KIND_UNPRIVILEGED ? U.BPF_W : random.pick(SIZES);
    const bytes = bytesOf(size);
    if (kind < 0) this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, reg, 1, 0, 0);
    else if (this.#hasValue && random.oneIn(2)) this.#emit(U.BPF_LDX | (random.oneIn(4) && size !== U.BPF_DW ? U.BPF_MEMSX : U.BPF_MEM) | size, reg, VALUE, bytes * random.below(VALUE_SIZE / bytes), 0);
    else this.#emit(U.BPF_LDX | U.BPF_MEM | size, reg, CONTEXT, bytes * random.below(CONTEXT_SIZE / bytes), 0);
    this.#numbers |= 1 << reg;
    if (random.oneIn(3)) {
      const slot = random.below(SLOTS);
      this.#emit(U.BPF_STX | U.BPF_MEM | U.BPF_DW, FP, reg, -8 * (slot + 1), 0);
      this.#slots |= 1 << slot;
    }
  }

  /** r7 = the value of the first array, by its address or by a lookup. */
  #value(): void {
    const { value } = this.#maps;
    if (this.#random.oneIn(2)) {
      this.#emit(LD_IMM64, VALUE, U.BPF_PSEUDO_MAP_VALUE, 0, value);
      this.#emit(0, 0, 0, 0, 0);
    } else {
      this.#lookup(value, 4, 0);
      this.#exits.push(this.#emit(U.BPF_JMP | U.BPF_JEQ, 0, 0, 0, 0));
      this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, VALUE, 0, 0, 0);
      this.#numbers &= ~1;
    }
    this.#numbers &= ~(1 << VALUE);
    this.#hasValue = true;
  }

  #loadMap(reg: number, fd: number): void {
    this.#emit(LD_IMM64, reg, U.BPF_PSEUDO_MAP_FD, 0, fd);
    this.#emit(0, 0, 0, 0, 0);
  }

  #call(helper: number): void {
    this.#emit(U.BPF_JMP | U.BPF_CALL, 0, 0, 0, helper);
    this.#numbers = (this.#numbers & ~0x3e) | 1;
  }

  /** r0 = lookup(map, key on the stack); a pointer or null. */
  #lookup(fd: number, keySize: number, key: number): void {
    this.#emit((keySize === 4 ? U.BPF_W : U.BPF_DW) | U.BPF_ST | U.BPF_MEM, FP, 0, -8, key);
    this.#slots |= 1;
    this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 2, FP, 0, 0);
    this.#emit(U.BPF_ALU64 | U.BPF_ADD, 2, 0, 0, -8);
    this.#loadMap(1, fd);
    this.#call(U.BPF_FUNC_map_lookup_elem);
    this.#numbers &= ~1;
  }

  #statement(): void {
    const random = this.#random;
    switch (random.below(25)) {
      case 0: case 1: case 2: case 3: case 4: case 5: return this.#alu();
      case 6: case 7: case 8: return this.#memory();
      case 9: case 10: case 11: return this.#branch();
      case 12: case 13: return this.#offset();
      case 14: return this.#narrow(this.#number());
      case 15: return random.oneIn(3) ? this.#halves() : this.#zeroExtend();
      case 16: return this.#atomic();
      case 17: return this.#element();
      case 18: return this.#loop();
      case 19: return this.#helper();
      case 20: return this.#early();
      case 21: return random.oneIn(2) ? this.#subprogram() : this.#ring();
      case 22: return random.oneIn(2) ? this.#tail() : this.#load(KIND_SYSCALL);
      case 23: return random.oneIn(2) ? this.#sequence() : this.#alu();
      default: return this.#alu();
    }
  }

  /** One of the longer pieces, outside of other pieces only. */
  #sequence(): void {
    if (this.#depth > 0 || this.#count > MOST_SLOTS - 24) return this.#alu();
    const random = this.#random;
    const kind = random.below(3);
    if (kind === 0) {
      const number = random.oneIn(2) ? 8 : 9;
      divergingPaths(this.#writer, this.#number(), number, number ^ 1);
      this.#numbers = (this.#numbers & ~(1 << (number ^ 1))) | (1 << number);
      return;
    }
    const sum = random.oneIn(2) ? 8 : 9;
    if (kind === 1 && this.#iterator !== undefined) {
      if ((this.#numbers & (1 << sum)) === 0) this.#emit(U.BPF_ALU64 | U.BPF_MOV, sum, 0, 0, 0);
      this.#numbers |= 1 << sum;
      iteratorLoop(this.#writer, this.#iterator, sum);
    } else dynamicPointer(this.#writer, this.#maps.ring);
    this.#numbers = (this.#numbers & ~0x3e) | 1;
  }

  #alu(): void {
    const random = this.#random;
    const cls = random.pick(CLASSES);
    const dst = this.#number(), src = this.#number();
    switch (random.below(14)) {
      case 0: return void this.#emit(cls | U.BPF_NEG, dst, 0, 0, 0);
      case 1: return void this.#emit(U.BPF_ALU | U.BPF_END | (random.oneIn(2) ? U.BPF_X : 0), dst, 0, 0, 16 << random.below(3));
      case 2: return void this.#emit(U.BPF_ALU64 | U.BPF_END, dst, 0, 0, 16 << random.below(3));
      case 3: return void this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, dst, src, 8 << random.below(3), 0);
      case 4: return void this.#emit(U.BPF_ALU | U.BPF_MOV | U.BPF_X, dst, src, 8 << random.below(2), 0);
      case 5: return void this.#emit(cls | (random.oneIn(2) ? U.BPF_DIV : U.BPF_MOD) | U.BPF_X, dst, src, random.below(2), 0);
      case 6: {
        const to = this.#free();
        this.#numbers |= 1 << to;
        return void this.#emit(cls | U.BPF_MOV | U.BPF_X, to, src, 0, 0);
      }
      case 7: case 8: case 9: return void this.#emit(cls | random.pick(ALU) | U.BPF_X, dst, src, 0, 0);
      default: return this.#aluConstant(cls, dst);
    }
  }

  #aluConstant(cls: number, dst: number): void {
    const random = this.#random;
    const op = random.pick(ALU);
    const isShift = op === U.BPF_LSH || op === U.BPF_RSH || op === U.BPF_ARSH;
    const divides = op === U.BPF_DIV || op === U.BPF_MOD;
    const imm = isShift ? random.below(cls === U.BPF_ALU ? 32 : 64) : divides ? this.#constant() || 3 : this.#constant();
    this.#emit(cls | op, dst, 0, divides ? random.below(2) : 0, imm);
  }

  #slot(): number {
    for (let slot = 0; slot < SLOTS; slot++) if ((this.#slots & (1 << slot)) !== 0 && this.#random.oneIn(2)) return slot;
    const slot = this.#random.below(SLOTS);
    if ((this.#slots & (1 << slot)) === 0) {
      this.#emit(U.BPF_STX | U.BPF_MEM | U.BPF_DW, FP, this.#number(), -8 * (slot + 1), 0);
      this.#slots |= 1 << slot;
    }
    return slot;
  }

  #memory(): void {
    const random = this.#random;
    const size = random.pick(SIZES), bytes = bytesOf(size);
    const slot = this.#slot();
    const off = -8 * (slot + 1) + bytes * random.below(8 / bytes);
    switch (random.below(7)) {
      case 0: case 1: return void this.#emit(U.BPF_STX | U.BPF_MEM | U.BPF_DW, FP, this.#number(), -8 * (slot + 1), 0);
      case 2: return void this.#emit(U.BPF_STX | U.BPF_MEM | size, FP, this.#number(), off, 0);
      case 3: return void this.#emit(U.BPF_ST | U.BPF_MEM | size, FP, 0, off, this.#constant());
      default: {
        const to = this.#free();
        this.#numbers |= 1 << to;
        return void this.#emit(U.BPF_LDX | (size !== U.BPF_DW && random.oneIn(4) ? U.BPF_MEMSX : U.BPF_MEM) | size, to, FP, off, 0);
      }
    }
  }

  /** A jump over a few statements. */
  #branch(): void {
    if (this.#depth > 3) return this.#alu();
    const at = this.#compare(this.#number());
    const before = this.#numbers, slots = this.#slots, hasValue = this.#hasValue;
    this.#depth++;
    for (let n = 1 + this.#random.below(3); n > 0; n--) this.#statement();
    this.#depth--;
    this.#numbers &= before;
    this.#slots &= slots;
    this.#hasValue &&= hasValue;
    this.#view.setInt16(at * 8 + 2, this.#count - at - 1, true);
  }

  /** A conditional jump on a number; its distance is the caller's. */
  #compare(reg: number): number {
    const random = this.#random;
    const cls = random.pick(JUMP_CLASSES);
    return random.oneIn(3)
      ? this.#emit(cls | random.pick(JUMPS) | U.BPF_X, reg, this.#number(), 0, 0)
      : this.#emit(cls | random.pick(JUMPS), reg, 0, 0, this.#constant());
  }

  /** Makes a number small: by a mask, a shift, a comparison, a remainder. */
  #narrow(reg: number): void {
    const random = this.#random;
    const cls = random.pick(CLASSES);
    const bound = random.pick([3, 7, 8, 15, 31, 47, 55, 56, 60, 63]);
    switch (random.below(7)) {
      case 0: case 1: return void this.#emit(cls | U.BPF_AND, reg, 0, 0, bound);
      case 2: return void this.#emit(cls | U.BPF_RSH, reg, 0, 0, cls === U.BPF_ALU ? 26 + random.below(6) : 58 + random.below(6));
      case 3: return void this.#emit(cls | U.BPF_MOD, reg, 0, 0, bound + 1);
      case 4: {
        this.#exits.push(this.#emit(random.pick(JUMP_CLASSES) | U.BPF_JSGT, reg, 0, 0, bound));
        return void this.#exits.push(this.#emit(random.pick(JUMP_CLASSES) | U.BPF_JSLT, reg, 0, 0, 0));
      }
      default: return void this.#exits.push(this.#emit(random.pick(JUMP_CLASSES) | (random.oneIn(2) ? U.BPF_JGT : U.BPF_JGE), reg, 0, 0, bound));
    }
  }

  /** A narrowed number as offset into the array's value or the stack. */
  #offset(): void {
    const random = this.#random;
    if (!this.#hasValue && random.oneIn(2)) this.#value();
    const number = this.#number();
    if (number === VALUE && this.#hasValue) return;
    if (random.oneIn(3)) this.#diverge(number);
    else {
      this.#narrow(number);
      for (let n = random.below(3); n > 0; n--) this.#aluConstant(random.pick(CLASSES), number);
      if (random.oneIn(2)) this.#narrow(number);
    }
    const size = random.pick(SIZES);
    const pointer = this.#pointer(number);
    const off = random.oneIn(2) ? 0 : random.below(9) - (this.#hasValue ? 0 : 4);
    switch (random.below(4)) {
      case 0: return void this.#emit(U.BPF_ST | U.BPF_MEM | size, pointer, 0, off, this.#constant());
      case 1: return void this.#emit(U.BPF_STX | U.BPF_MEM | size, pointer, this.#number(), off, 0);
      default: {
        const to = this.#free();
        this.#emit(U.BPF_LDX | U.BPF_MEM | size, to, pointer, off, 0);
        this.#numbers |= 1 << to;
      }
    }
  }

  /**
   * One of two constants, by a branch that nobody can foresee; often by way of the stack, also through an atomic fetch. A verifier that forgets
   * what the first path depended on takes the second for the same.
   */
  #diverge(number: number): void {
    const random = this.#random;
    const constants = [0, 1, 8, 16, 40, 56, random.oneIn(3) ? 1000 : 24] as const;
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, number, 0, 0, random.pick(constants));
    this.#numbers |= 1 << number;
    const at = this.#compare(this.#number());
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, number, 0, 0, random.pick(constants));
    this.#view.setInt16(at * 8 + 2, this.#count - at - 1, true);
    if (random.oneIn(2)) return;
    const slot = this.#slot();
    this.#emit(U.BPF_STX | U.BPF_MEM | U.BPF_DW, FP, number, -8 * (slot + 1), 0);
    if (random.oneIn(2)) this.#emit(U.BPF_LDX | U.BPF_MEM | U.BPF_DW, number, FP, -8 * (slot + 1), 0);
    else {
      this.#emit(U.BPF_ALU64 | U.BPF_MOV, number, 0, 0, 0);
      this.#emit(U.BPF_STX | U.BPF_ATOMIC | U.BPF_DW, FP, number, -8 * (slot + 1), (random.oneIn(2) ? U.BPF_ADD : U.BPF_OR) | U.BPF_FETCH);
    }
  }

  /** A register that points `number` bytes into the value, or into the stack. */
  #pointer(number: number): number {
    const random = this.#random;
    let pointer = this.#free();
    while (pointer === number || pointer === CONTEXT) pointer = random.below(10);
    if (pointer === VALUE && this.#hasValue) pointer = number === 8 ? 9 : 8;
    this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, pointer, this.#hasValue ? VALUE : FP, 0, 0);
    this.#numbers &= ~(1 << pointer);
    if (!this.#hasValue) this.#emit(U.BPF_ALU64 | U.BPF_ADD, pointer, 0, 0, -8 * (1 + random.below(9)));
    this.#emit(U.BPF_ALU64 | (random.oneIn(6) ? U.BPF_SUB : U.BPF_ADD) | U.BPF_X, pointer, number, 0, 0);
    return pointer;
  }

  #zeroExtend(): void {
    const reg = this.#number();
    this.#emit(U.BPF_ALU64 | U.BPF_LSH, reg, 0, 0, 32);
    this.#emit(U.BPF_ALU64 | (this.#random.oneIn(2) ? U.BPF_RSH : U.BPF_ARSH), reg, 0, 0, this.#random.oneIn(3) ? 31 : 32);
  }

  /** Two numbers whose low halves are known and whose upper halves are not, put together bit by bit. */
  #halves(): void {
    const random = this.#random;
    const a = this.#number(), b = this.#number();
    for (const reg of new Set([a, b])) {
      this.#emit(U.BPF_ALU64 | U.BPF_LSH, reg, 0, 0, 32);
      if (!random.oneIn(4)) this.#emit(U.BPF_ALU64 | random.pick([U.BPF_OR, U.BPF_ADD]), reg, 0, 0, this.#constant());
    }
    this.#emit(random.pick(CLASSES) | random.pick([U.BPF_AND, U.BPF_OR, U.BPF_XOR]) | U.BPF_X, a, b, 0, 0);
  }

  #atomic(): void {
    const random = this.#random;
    const size = random.oneIn(2) ? U.BPF_DW : U.BPF_W;
    const operation = random.pick(ATOMICS);
    const src = this.#number();
    const isStack = !this.#hasValue || random.oneIn(2);
    const off = isStack ? -8 * (this.#slot() + 1) : 8 * random.below(VALUE_SIZE / 8);
    if (operation === U.BPF_CMPXCHG && (this.#numbers & 1) === 0) this.#emit(U.BPF_ALU64 | U.BPF_MOV, 0, 0, 0, this.#constant());
    this.#emit(U.BPF_STX | U.BPF_ATOMIC | size, isStack ? FP : VALUE, src, off, operation);
    if (operation === U.BPF_CMPXCHG) this.#numbers |= 1;
  }

  /** A lookup with its null check (mostly), and an access. */
  #element(): void {
    const random = this.#random;
    const isHash = random.oneIn(2);
    this.#lookup(isHash ? this.#maps.hash : random.oneIn(3) ? this.#maps.constant : this.#maps.four, isHash ? 8 : 4, random.below(5));
    if (random.oneIn(12)) this.#emit(U.BPF_ALU64 | U.BPF_ADD, 0, 0, 0, random.below(8));
    const check = this.#emit(U.BPF_JMP | U.BPF_JEQ, 0, 0, 0, 0);
    const to = random.pick([2, 3, 4, 5, 8, 9]);
    const before = this.#numbers;
    if (random.oneIn(2)) this.#emit(U.BPF_LDX | U.BPF_MEM | random.pick(SIZES), to, 0, 0, 0);
    else this.#emit(U.BPF_STX | U.BPF_MEM | U.BPF_W, 0, this.#number(), random.oneIn(6) ? 12 : 4, 0);
    this.#numbers = before;
    this.#view.setInt16(check * 8 + 2, this.#count - check - 1, true);
    if (random.oneIn(2)) this.#fresh();
  }

  #loop(): void {
    const random = this.#random;
    if (this.#depth > 1) return this.#alu();
    const counter = random.pick([8, 9]);
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, counter, 0, 0, 0);
    this.#numbers |= 1 << counter;
    const start = this.#count;
    this.#depth += 2;
    const kept = this.#numbers;
    for (let n = 1 + random.below(3); n > 0; n--) this.#alu();
    this.#depth -= 2;
    this.#numbers = kept;
    if (random.oneIn(6)) this.#emit(U.BPF_JMP | U.BPF_JCOND, 0, 0, 1, 0);
    this.#emit(U.BPF_ALU64 | U.BPF_ADD, counter, 0, 0, 1);
    this.#emit(random.pick(JUMP_CLASSES) | U.BPF_JLT, counter, 0, start - this.#count - 1, 1 + random.below(12));
  }

  #helper(): void {
    const random = this.#random;
    switch (random.below(5)) {
      case 0: case 1: return this.#call(random.pick(NUMBER_HELPERS));
      case 2: {
        // bpf_strtol(buf, 8, flags, &res): writes its result.
        this.#emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, FP, 0, -8, random.pick([0x3231, 0x2d, 0x3778, 0x20]));
        this.#slots |= 1;
        this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 1, FP, 0, 0);
        this.#emit(U.BPF_ALU64 | U.BPF_ADD, 1, 0, 0, -8);
        this.#emit(U.BPF_ALU64 | U.BPF_MOV, 2, 0, 0, random.pick([8, 8, 4, 1]));
        this.#emit(U.BPF_ALU64 | U.BPF_MOV, 3, 0, 0, 0);
        if (random.oneIn(3)) {
          this.#emit(LD_IMM64, 4, U.BPF_PSEUDO_MAP_VALUE, 0, random.oneIn(2) ? this.#maps.constant : this.#maps.value);
          this.#emit(0, 0, 0, 0, 0);
        } else {
          this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 4, FP, 0, 0);
          this.#emit(U.BPF_ALU64 | U.BPF_ADD, 4, 0, 0, -16);
          this.#slots |= 2;
        }
        return this.#call(U.BPF_FUNC_strtol);
      }
      case 3: {
        // map_update_elem(hash, key, value, 0)
        this.#emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, FP, 0, -8, random.below(4));
        this.#emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, FP, 0, -16, this.#constant());
        this.#emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, FP, 0, -24, 0);
        this.#slots |= 7;
        this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 2, FP, 0, 0);
        this.#emit(U.BPF_ALU64 | U.BPF_ADD, 2, 0, 0, -8);
        this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 3, FP, 0, 0);
        this.#emit(U.BPF_ALU64 | U.BPF_ADD, 3, 0, 0, -24);
        this.#emit(U.BPF_ALU64 | U.BPF_MOV, 4, 0, 0, random.below(4));
        this.#loadMap(1, this.#maps.hash);
        return this.#call(U.BPF_FUNC_map_update_elem);
      }
      default: {
        // probe_read_kernel(stack, size, anything): the size is a narrowed number or a constant.
        const size = this.#numbers !== 0 && random.oneIn(2) ? this.#number() : -1;
        if (size >= 0) this.#narrow(size);
        if (size >= 0) this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 2, size, 0, 0);
        else this.#emit(U.BPF_ALU64 | U.BPF_MOV, 2, 0, 0, random.pick([0, 1, 8, 16, 32, 33, 0x7fff_ffff]));
        this.#emit(U.BPF_ALU64 | U.BPF_MOV, 3, 0, 0, 0);
        this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 1, FP, 0, 0);
        this.#emit(U.BPF_ALU64 | U.BPF_ADD, 1, 0, 0, random.pick([-8, -32, -64]));
        return this.#call(U.BPF_FUNC_probe_read_kernel);
      }
    }
  }

  /** Leaves the function where a number is what it is compared with. */
  #early(): void {
    this.#exits.push(this.#compare(this.#number()));
  }

  #subprogram(): void {
    if (this.#isFunction || this.#calls.length > 1) return this.#alu();
    const random = this.#random;
    if (random.oneIn(4)) {
      // bpf_loop(n, callback, NULL, 0)
      this.#emit(U.BPF_ALU64 | U.BPF_MOV, 1, 0, 0, random.below(6));
      this.#calls.push({ at: this.#emit(LD_IMM64, 2, U.BPF_PSEUDO_FUNC, 0, 0), isCallback: true });
      this.#emit(0, 0, 0, 0, 0);
      this.#emit(U.BPF_ALU64 | U.BPF_MOV, 3, 0, 0, 0);
      this.#emit(U.BPF_ALU64 | U.BPF_MOV, 4, 0, 0, 0);
      return this.#call(U.BPF_FUNC_loop);
    }
    this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 1, CONTEXT, 0, 0);
    this.#calls.push({ at: this.#emit(U.BPF_JMP | U.BPF_CALL, 0, U.BPF_PSEUDO_CALL, 0, 0), isCallback: false });
    this.#numbers = (this.#numbers & ~0x3e) | 1;
  }

  /** A ring buffer record: reserved, checked, written, given up. */
  #ring(): void {
    const random = this.#random;
    this.#loadMap(1, this.#maps.ring);
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, 2, 0, 0, random.pick([8, 16, 24]));
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, 3, 0, 0, 0);
    this.#call(U.BPF_FUNC_ringbuf_reserve);
    const check = this.#emit(U.BPF_JMP | U.BPF_JEQ, 0, 0, 0, 0);
    this.#emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, 0, 0, random.oneIn(8) ? 8 : 0, this.#constant());
    this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 1, 0, 0, 0);
    if (random.oneIn(8)) this.#emit(U.BPF_ALU64 | U.BPF_ADD, 1, 0, 0, 8);
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, 2, 0, 0, 0);
    this.#call(random.oneIn(2) ? U.BPF_FUNC_ringbuf_submit : U.BPF_FUNC_ringbuf_discard);
    this.#view.setInt16(check * 8 + 2, this.#count - check - 1, true);
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, 0, 0, 0, 0);
    this.#numbers = (this.#numbers & ~0x3e) | 1;
  }

  #tail(): void {
    if (this.#isFunction) return this.#alu();
    this.#emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, 1, CONTEXT, 0, 0);
    this.#loadMap(2, this.#maps.calls);
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, 3, 0, 0, this.#random.pick([0, 3, 4, 100]));
    this.#call(U.BPF_FUNC_tail_call);
    this.#emit(U.BPF_ALU64 | U.BPF_MOV, 0, 0, 0, 0);
  }
}
