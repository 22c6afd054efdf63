/**
 * @module verifier/rewrite/rewrite
 * A verified program while its instructions are replaced. Owns the instruction arrays, where each instruction came from and what
 * moves with it: jumps, calls, starts of subprograms. One pass over a program of n instructions costs O(n), however many of them it
 * replaces; the outcome is that of `bpf_patch_insn_data()` and `bpf_remove_insns()` of Linux 7.3 one instruction after the other.
 * What is put in place of what is not here.
 */
import type { Instruction } from '../../isa/decode.ts';
import { pooledBytes, pooledWords } from '../../isa/pool.ts';
import { BPF_PROBE_ATOMIC } from '../../isa/instructions.ts';
import {
  BPF_ATOMIC, BPF_CALL, BPF_DW, BPF_EXIT, BPF_IMM, BPF_JA, BPF_JCOND, BPF_JMP, BPF_JMP32, BPF_LD, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_STX,
} from '../../isa/uapi.ts';
import type { InsnAux, Insns, VerifierEnv } from '../env.ts';
import type { Slab } from '../workspace.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;
const CALL = BPF_JMP | BPF_CALL;
const GOTO32 = BPF_JMP32 | BPF_JA;

/** What a pass says of an instruction: it stays, it goes, or what was emitted takes its place. */
export const KEEP = 0;
export const REMOVE = 1;
export const REPLACE = 2;

/** Set in a patch where `imm` is the number of an instruction before the pass, which the instruction is to call. */
export const CALLS = 1;

/** Kinds of instructions, as bits of {@link Rewrite.kinds}: calls, plain jumps and `may_goto`, atomic accesses. */
export const KIND_CALL = 1;
export const KIND_GOTO = 2;
export const KIND_MAY_GOTO = 4;
export const KIND_ATOMIC = 8;
const KINDS: Uint8Array = Uint8Array.from({ length: 256 }, (_, code) => {
  if (code === CALL) return KIND_CALL;
  if (code === (BPF_JMP | BPF_JA)) return KIND_GOTO;
  if (code === (BPF_JMP | BPF_JCOND)) return KIND_GOTO | KIND_MAY_GOTO;
  return (code & 7) === BPF_STX && ((code & 0xe0) === BPF_ATOMIC || (code & 0xe0) === BPF_PROBE_ATOMIC) ? KIND_ATOMIC : 0;
});

const NO_FROM = -1;
const NO_WORDS: Int32Array = new Int32Array(0);
const NO_BYTES: Uint8Array = new Uint8Array(0);

/** What a program begins with: every instruction at its own place, none from a patch. Never written. */
let ownPlaces: Int32Array = NO_WORDS;
let notPatched: Uint8Array = NO_BYTES;

function beginning({ code, dst, src, off, imm, count }: Insns): Arrays {
  if (ownPlaces.length < count) {
    ownPlaces = Int32Array.from({ length: 2 * count }, (_, i) => i);
    notPatched = new Uint8Array(2 * count);
  }
  return { code, dst, src, off, imm, from: ownPlaces, place: ownPlaces, patched: notPatched };
}

interface Arrays {
  readonly code: Uint8Array;
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  readonly off: Int16Array;
  readonly imm: Int32Array;
  /** Instruction as verified whose notes belong to this one, -1 for an instruction that was added. */
  readonly from: Int32Array;
  /** Instruction as verified that this one is, or was put in the place of. */
  readonly place: Int32Array;
  /** 1 for an instruction that a patch brought. */
  readonly patched: Uint8Array;
}

function createArrays(n: number, slab: Slab): Arrays {
  return {
    code: slab.u8(n, false), dst: slab.u8(n, false), src: slab.u8(n, false), off: slab.i16(n, false), imm: slab.i32(n, false), from: slab.i32(n, false),
    place: slab.i32(n, false), patched: slab.u8(n, false),
  };
}

function copyArrays(to: Arrays, from: Arrays): Arrays {
  to.code.set(from.code);
  to.dst.set(from.dst);
  to.src.set(from.src);
  to.off.set(from.off);
  to.imm.set(from.imm);
  to.from.set(from.from);
  to.place.set(from.place);
  to.patched.set(from.patched);
  return to;
}

export function isJump(code: number): boolean {
  const cls = code & 7;
  if (cls !== BPF_JMP && cls !== BPF_JMP32) return false;
  const op = code & 0xf0;
  return op !== BPF_CALL && op !== BPF_EXIT;
}

/** 8 bytes an instruction; what a 16-byte load's value came from is left out (`convert_pseudo_ld_imm64`). */
export function encodeInstructions({ code, dst, src, off, imm }: Pick<Arrays, 'code' | 'dst' | 'src' | 'off' | 'imm'>, count: number): Uint8Array {
  const bytes = pooledBytes(count * 8);
  for (let i = 0, at = 0; i < count; i++, at += 8) {
    const source = code[i] === LD_IMM64 && src[i] !== BPF_PSEUDO_FUNC ? 0 : src[i]!;
    const distance = off[i]!, value = imm[i]!;
    bytes[at] = code[i]!;
    bytes[at + 1] = dst[i]! | (source << 4);
    bytes[at + 2] = distance;
    bytes[at + 3] = distance >> 8;
    bytes[at + 4] = value;
    bytes[at + 5] = value >> 8;
    bytes[at + 6] = value >> 16;
    bytes[at + 7] = value >> 24;
  }
  return bytes;
}

/** The program that is being rewritten; the arrays are replaced with each pass. */
export class Rewrite {
  readonly env: VerifierEnv;
  readonly aux: InsnAux;
  count: number;
  /** First instruction of each subprogram, then the number of instructions. */
  starts: number[];
  /** Index of each remaining subprogram as verified. */
  subprogs: number[];
  #position: Int32Array | undefined;
  #now: Arrays;
  #out: Arrays;
  readonly #slab: Slab;
  /** True once the pass under way changed something: until then nothing is copied. */
  #isCopying = false;
  #outCount = 0;
  /** Kinds of instructions that there may be. */
  kinds = 0;
  #origin: Int32Array = NO_WORDS;
  #marks: Uint8Array = NO_BYTES;
  #newStart: Int32Array = NO_WORDS;
  #jumpStart: Int32Array = NO_WORDS;
  #visited = 0;
  /** Subprogram of the instruction being visited. */
  sub = 0;
  #overflow: { readonly insn: number; readonly target: number } | undefined;
  /** Instruction as verified that could not be replaced because a jump over it would be too long. */
  failed = -1;

  /** @param insns are written over: a copy where the instructions of `env` are to stay */
  constructor(env: VerifierEnv, insns: Insns = env.insns) {
    this.env = env;
    this.aux = env.aux;
    this.count = insns.count;
    this.#slab = env.slab;
    const now = beginning(insns);
    this.#now = now;
    this.#out = now;
    for (let i = 0; i < insns.count; i++) this.kinds |= KINDS[insns.code[i]!]!;
    this.starts = [];
    this.subprogs = [];
    for (let i = 0; i <= env.subprogCount; i++) {
      this.starts.push(env.subprogs[i]!.start);
      if (i < env.subprogCount) this.subprogs.push(i);
    }
  }

  /** Where each instruction as verified is now, -1 for one that was removed; one more for the end. */
  get position(): Int32Array {
    if (this.#position !== undefined) return this.#position;
    const { count } = this.env.insns;
    const position = pooledWords(count + 1);
    for (let i = 0; i <= count; i++) position[i] = i;
    this.#position = position;
    return position;
  }

  /** False while every instruction is where it was. */
  get hasMoved(): boolean {
    return this.#position !== undefined;
  }

  get code(): Uint8Array {
    return this.#now.code;
  }

  get dst(): Uint8Array {
    return this.#now.dst;
  }

  get src(): Uint8Array {
    return this.#now.src;
  }

  get off(): Int16Array {
    return this.#now.off;
  }

  get imm(): Int32Array {
    return this.#now.imm;
  }

  /** Index of the notes about instruction `i` in {@link aux}, -1 where it was added and has none. */
  notes(i: number): number {
    return this.#now.from[i]!;
  }

  /** Flags of the notes about `i`. */
  flags(i: number): number {
    const from = this.#now.from[i]!;
    return from < 0 ? 0 : this.aux.flags[from]!;
  }

  /** True where the verifier walked over `i`, or over what it was put in the place of. */
  isSeen(i: number): boolean {
    return this.aux.seen[this.#now.place[i]!] !== 0;
  }

  /** True where a patch brought `i`. */
  isPatched(i: number): boolean {
    return this.#now.patched[i] !== 0;
  }

  at(i: number): Instruction {
    const now = this.#now;
    return { code: now.code[i]!, dst: now.dst[i]!, src: now.src[i]!, off: now.off[i]!, imm: now.imm[i]! };
  }

  /** Overwrites instruction `i` in its place. */
  set(i: number, code: number, dst: number, src: number, off: number, imm: number): void {
    const now = this.#now;
    now.code[i] = code;
    now.dst[i] = dst;
    now.src[i] = src;
    now.off[i] = off;
    now.imm[i] = imm;
    this.kinds |= KINDS[code]!;
  }

  /** Adds an instruction to the patch for the instruction being visited. */
  emit(code: number, dst: number, src: number, off: number, imm: number, marks = 0): void {
    if (!this.#isCopying) this.#beginCopy();
    if (this.#outCount === this.#out.code.length) this.#grow();
    const out = this.#out;
    const at = this.#outCount++;
    this.kinds |= KINDS[code]!;
    out.code[at] = code;
    out.dst[at] = dst;
    out.src[at] = src;
    out.off[at] = off;
    out.imm[at] = imm;
    out.from[at] = NO_FROM;
    out.place[at] = this.#now.place[this.#visited]!;
    out.patched[at] = 1;
    this.#origin[at] = ~this.#visited;
    this.#marks[at] = marks;
  }

  emitAll(list: readonly Instruction[]): void {
    for (const { code, dst, src, off, imm } of list) this.emit(code, dst, src, off, imm);
  }

  /** Adds the instruction being visited to its own patch. */
  emitSelf(): void {
    const now = this.#now;
    const i = this.#visited;
    this.emit(now.code[i]!, now.dst[i]!, now.src[i]!, now.off[i]!, now.imm[i]!);
  }

  /** Jumps to the instruction being visited lead behind what was emitted for it so far; calls still lead before it. */
  enterHere(): void {
    if (!this.#isCopying) this.#beginCopy();
    this.#jumpStart[this.#visited] = this.#outCount;
  }

  /** Number that the next emitted instruction gets. */
  get next(): number {
    return this.#outCount;
  }

  /** True where the verifier walked over all instructions. */
  get isAllSeen(): boolean {
    const { seen } = this.aux, { place } = this.#now;
    for (let i = 0; i < this.count; i++) if (seen[place[i]!] === 0) return false;
    return true;
  }

  /**
   * One pass: `visit(i, this)` says what becomes of each instruction, in order.
   * @param wanted by operation code: 0 for instructions that stay as they are without a visit
   * @returns 0, or a negative number that `visit` gave, or -1 with {@link failed} set where a jump became too long
   */
  pass(visit: (i: number, r: Rewrite) => number, wanted?: Uint8Array): number {
    const n = this.count, { starts } = this, { code } = this.#now;
    this.#isCopying = false;
    this.#outCount = 0;
    this.#overflow = undefined;
    this.sub = 0;
    for (let i = 0; i < n; i++) {
      if (i === starts[this.sub + 1]) this.sub++;
      const isVisited = wanted === undefined || wanted[code[i]!] !== 0;
      this.#visited = i;
      if (!this.#isCopying) {
        const first = isVisited ? visit(i, this) : KEEP;
        if (first < 0) return first;
        if (first === KEEP && !this.#isCopying) {
          this.#outCount++;
          continue;
        }
        if (!this.#isCopying) this.#beginCopy();
        this.#settle(i, i, first);
        continue;
      }
      const start = this.#outCount;
      this.#newStart[i] = start;
      this.#jumpStart[i] = start;
      const verdict = isVisited ? visit(i, this) : KEEP;
      if (verdict < 0) return verdict;
      if (verdict === KEEP && this.#outCount === start) this.#keep(i);
      else this.#settle(i, start, verdict);
    }
    if (!this.#isCopying) return 0;
    this.#newStart[n] = this.#outCount;
    this.#jumpStart[n] = this.#outCount;
    this.#relocate();
    if (this.#overflow !== undefined) {
      this.failed = this.#blame();
      return -1;
    }
    this.#move();
    return 0;
  }

  /** Instruction `i` stays as it is and nothing comes before it: what happens to most. */
  #keep(i: number): void {
    if (this.#outCount === this.#out.code.length) this.#grow();
    const out = this.#out, now = this.#now, at = this.#outCount++;
    out.code[at] = now.code[i]!;
    out.dst[at] = now.dst[i]!;
    out.src[at] = now.src[i]!;
    out.off[at] = now.off[i]!;
    out.imm[at] = now.imm[i]!;
    out.from[at] = now.from[i]!;
    out.place[at] = now.place[i]!;
    out.patched[at] = now.patched[i]!;
    this.#origin[at] = i;
    this.#marks[at] = 0;
  }

  /** What a verdict means for instruction `i`, whose patch began at `start`. */
  #settle(i: number, start: number, verdict: number): void {
    if (verdict === KEEP) {
      this.emitSelf();
      this.#origin[start] = i;
      this.#out.patched[start] = this.#now.patched[i]!;
    }
    if (verdict !== REMOVE) this.#out.from[this.#outCount - 1] = this.#now.from[i]!;
  }

  /** The instructions before the one being visited stay; from here on the pass writes a new program. */
  #beginCopy(): void {
    const n = this.count, done = this.#visited, slab = this.#slab, now = this.#now;
    const out = createArrays(n + 16, slab);
    for (let i = 0; i < done; i++) {
      out.code[i] = now.code[i]!;
      out.dst[i] = now.dst[i]!;
      out.src[i] = now.src[i]!;
      out.off[i] = now.off[i]!;
      out.imm[i] = now.imm[i]!;
      out.from[i] = now.from[i]!;
      out.place[i] = now.place[i]!;
      out.patched[i] = now.patched[i]!;
    }
    this.#out = out;
    this.#origin = slab.i32(n + 16, false);
    this.#marks = slab.u8(n + 16);
    this.#newStart = slab.i32(n + 1, false);
    this.#jumpStart = slab.i32(n + 1, false);
    for (let i = 0; i < done; i++) this.#origin[i] = i;
    for (let i = 0; i <= done; i++) {
      this.#newStart[i] = i;
      this.#jumpStart[i] = i;
    }
    this.#outCount = done;
    this.#isCopying = true;
  }

  /** Puts a function behind the program that only the kernel calls; `list` is its body. */
  appendHidden(list: readonly Instruction[]): number {
    const last = this.count - 1;
    const result = this.pass((i) => {
      if (i !== last) return KEEP;
      this.emitSelf();
      this.emitAll(list);
      return REPLACE;
    });
    if (result === 0) {
      this.starts.splice(-1, 1, this.count - list.length, this.count);
      this.subprogs.push(-1);
    }
    return result;
  }

  /** {@link encodeInstructions} of the program as it is now. */
  encode(): Uint8Array {
    return encodeInstructions(this.#now, this.count);
  }

  #grow(): void {
    const n = this.#out.code.length * 2 + 16;
    this.#out = copyArrays(createArrays(n, this.#slab), this.#out);
    const origin = this.#slab.i32(n, false), marks = this.#slab.u8(n);
    origin.set(this.#origin);
    marks.set(this.#marks);
    this.#origin = origin;
    this.#marks = marks;
  }

  /** Distances after the pass. */
  #relocate(): void {
    const { code, src, off, imm } = this.#out;
    for (let at = 0; at < this.#outCount; at++) {
      const op = code[at]!;
      const isCall = (op === CALL && src[at] === BPF_PSEUDO_CALL) || (op === LD_IMM64 && src[at] === BPF_PSEUDO_FUNC);
      if (op === LD_IMM64) {
        if (isCall) imm[at] = this.#distance(at, imm[at]!, true);
        at++;
      } else if (isCall || op === GOTO32) imm[at] = this.#distance(at, imm[at]!, isCall);
      else if (isJump(op)) {
        const distance = this.#distance(at, off[at]!, false);
        if (distance !== (distance << 16) >> 16) this.#tooLong(at, off[at]!);
        off[at] = distance;
      }
    }
  }

  #distance(at: number, distance: number, isCall: boolean): number {
    const starts = isCall ? this.#newStart : this.#jumpStart;
    const origin = this.#origin[at]!;
    if (origin >= 0) return starts[origin + 1 + distance]! - at - 1;
    const marks = this.#marks[at]!;
    if ((marks & CALLS) !== 0) return starts[distance]! - at - 1;
    const source = this.#sourceTarget(at, distance);
    return source < 0 ? distance : starts[source]! - at - 1;
  }

  /** Where an instruction of a patch leads, as numbered before the pass; -1 for within its patch. */
  #sourceTarget(at: number, distance: number): number {
    const from = ~this.#origin[at]!;
    const begin = this.#newStart[from]!, end = this.#newStart[from + 1]!;
    const target = at + 1 + distance;
    if (target >= begin && target < end) return -1;
    return target >= end ? from + 1 + target - end : from + target - begin;
  }

  #tooLong(at: number, distance: number): void {
    const origin = this.#origin[at]!;
    const insn = origin >= 0 ? origin : ~origin;
    const target = origin >= 0 ? origin + 1 + distance : this.#sourceTarget(at, distance);
    const blame = this.#crossing(insn, target);
    if (this.#overflow === undefined || blame < this.#crossing(this.#overflow.insn, this.#overflow.target)) this.#overflow = { insn, target };
  }

  /** The first patch, from the left, with which a jump from `insn` to `target` is too long. */
  #crossing(insn: number, target: number): number {
    const [low, high] = insn < target ? [insn + 1, target] : [target, insn];
    let distance = target - insn - 1;
    for (let i = low; i < high; i++) {
      const growth = this.#newStart[i + 1]! - this.#newStart[i]! - 1;
      distance += insn < target ? growth : -growth;
      if (distance !== (distance << 16) >> 16) return i;
    }
    return high;
  }

  #blame(): number {
    const { insn, target } = this.#overflow!;
    return this.#now.place[Math.min(this.#crossing(insn, target), this.count - 1)]!;
  }

  #move(): void {
    const { position, starts } = this;
    const newStart = this.#newStart;
    for (let i = 0; i < position.length; i++) {
      const at = position[i]!;
      if (at < 0) continue;
      const isRemoved = at < this.count && newStart[at] === newStart[at + 1];
      position[i] = isRemoved ? -1 : newStart[at]!;
    }
    let kept = 0;
    for (let i = 0; i < starts.length; i++) {
      const at = newStart[starts[i]!]!;
      if (i < this.subprogs.length) {
        if (at === newStart[starts[i + 1]!]) continue;
        this.subprogs[kept] = this.subprogs[i]!;
      }
      starts[kept++] = at;
    }
    starts.length = kept;
    this.subprogs.length = Math.min(this.subprogs.length, kept - 1);
    this.#now = this.#out;
    this.count = this.#outCount;
  }
}
