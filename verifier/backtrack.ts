/**
 * @module verifier/backtrack
 * Precision: which scalars the safety of a path depends on. Owns the jump history and the walk back over it and over the
 * parent states, which marks registers and stack slots precise there. Reproduces `kernel/bpf/backtrack.c`.
 *
 * The work list is in the environment: for every frame a mask of registers, of stack slots and of outgoing stack arguments.
 */
import { EFAULT, ENOTSUPP } from '../isa/errno.ts';
import {
  BPF_ALU, BPF_ALU64, BPF_ATOMIC, BPF_CALL, BPF_CMPXCHG, BPF_END, BPF_EXIT, BPF_FETCH, BPF_FUNC_tail_call, BPF_IMM, BPF_JMP, BPF_JMP32, BPF_LD,
  BPF_LDX, BPF_LOAD_ACQ, BPF_MOV, BPF_NEG, BPF_ST, BPF_STX, BPF_X,
} from '../isa/uapi.ts';
import { AUX_CALLS_CALLBACK, findSubprog, type VerifierEnv } from './env.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import { printVerifierState, verboseInsn } from './print.ts';
import { MAX_CALL_FRAMES, SCALAR_VALUE } from './regtypes.ts';
import {
  F_ALLOCATED_STACK, F_CALLSITE, F_OUT_STACK_ARGS, F_SUBPROG, HIST_FLAGS, HIST_IDX, HIST_LINKED, HIST_PREV_IDX, HIST_WORDS, INSN_F_DST_REG_STACK,
  INSN_F_SRC_REG_STACK, INSN_F_STACK_ACCESS, INSN_F_STACK_ARG_ACCESS, REG_PRECISE, REG_TYPE, SLOT_TYPES, STACK_SPILL, regAt, slotAt, stackArgAt,
  type VState,
} from './state.ts';
import { isGlobalSubprog, isPseudoCall, isPseudoKfuncCall } from './subprogs.ts';

/** `BPF_MAIN_FUNC`: call site of a frame that nobody called. */
const MAIN_FUNC = -1;
const ARGS_MASK = 0x3e;
const FRAME_POINTER = 10;

/** Most registers and slots that one branch can link (`LINKED_REGS_MAX`). */
export const LINKED_REGS_MAX = 5;

/** Registers and spilled slots that share an id where a branch was taken. An entry is a frame, an index and a kind. */
export class LinkedRegs {
  count = 0;
  readonly #entries: Int32Array = new Int32Array(LINKED_REGS_MAX);

  /** Adds a register (`isReg`) or a stack slot; the caller keeps to {@link LINKED_REGS_MAX}. */
  add(frame: number, index: number, isReg: boolean): void {
    this.#entries[this.count++] = frame | (index << 4) | (isReg ? 0x400 : 0);
  }

  clear(): void {
    this.count = 0;
  }

  entry(i: number): number {
    return this.#entries[i]!;
  }

  /** {@link entry}, 0 behind the last one. */
  entryOrZero(i: number): number {
    return i < this.count ? this.#entries[i]! : 0;
  }

  /** Forgets all entries from `count` on. */
  truncate(count: number): void {
    this.count = count;
  }

  /** Removes entry `i`; the last one takes its place. */
  remove(i: number): void {
    this.#entries[i] = this.#entries[--this.count]!;
  }
}

/** Frame of a linked entry. */
export const linkedFrame = (entry: number): number => entry & 15;
/** Register or slot number of a linked entry. */
export const linkedIndex = (entry: number): number => (entry >> 4) & 63;
/** True for a register, false for a stack slot. */
export const linkedIsReg = (entry: number): boolean => (entry & 0x400) !== 0;

// HIST_FLAGS: INSN_F_* in bits 0-3, frame in 4-7, slot in 8-13, count of linked entries in 14-16, the fifth of them in 17-27.
const FRAME_SHIFT = 4, SLOT_SHIFT = 8, COUNT_SHIFT = 14, FIFTH_SHIFT = 17;
const ACCESS_BITS: number = (1 << COUNT_SHIFT) - 1;
const ENTRY_MASK = 0x7ff;

const historyFrame = (flags: number): number => (flags >> FRAME_SHIFT) & 15;
const historySlot = (flags: number): number => (flags >> SLOT_SHIFT) & 63;

function linkedEntryAt(h: Int32Array, at: number, i: number): number {
  if (i === 4) return (h[at + HIST_FLAGS]! >> FIFTH_SHIFT) & ENTRY_MASK;
  return (h[at + HIST_LINKED + (i >> 1)]! >> ((i & 1) * 11)) & ENTRY_MASK;
}

function packLinked(h: Int32Array, at: number, linked: LinkedRegs | undefined): void {
  if (linked === undefined) {
    h[at + HIST_FLAGS]! &= ACCESS_BITS;
    h[at + HIST_LINKED] = 0;
    h[at + HIST_LINKED + 1] = 0;
    return;
  }
  h[at + HIST_FLAGS] = (h[at + HIST_FLAGS]! & ACCESS_BITS) | (linked.count << COUNT_SHIFT) | (linked.entryOrZero(4) << FIFTH_SHIFT);
  h[at + HIST_LINKED] = linked.entryOrZero(0) | (linked.entryOrZero(1) << 11);
  h[at + HIST_LINKED + 1] = linked.entryOrZero(2) | (linked.entryOrZero(3) << 11);
}

/**
 * Notes the current instruction in the history of the current state: that it was jumped to, touched a stack slot, or gave
 * linked registers a range. One entry an instruction; later notes are added to it. `env.historyEntry` is the entry of this
 * instruction, -1 before the first note.
 */
export function pushJmpHistory(env: VerifierEnv, flags: number, spi: number, frame: number, linked?: LinkedRegs): number {
  const st = env.cur;
  const place = (frame << FRAME_SHIFT) | (spi << SLOT_SHIFT);
  if (env.historyEntry >= 0) {
    const at = st.histAt + env.historyEntry * HIST_WORDS;
    st.hist[at + HIST_FLAGS] = (st.hist[at + HIST_FLAGS]! & 15) | flags | place;
    packLinked(st.hist, at, linked);
    return 0;
  }
  env.pool.reserveHistory(st.histCount + 1);
  const h = st.hist, at = st.histAt + st.histCount * HIST_WORDS;
  h[at + HIST_IDX] = env.insnIdx;
  h[at + HIST_PREV_IDX] = env.prevInsnIdx;
  h[at + HIST_FLAGS] = flags | place;
  packLinked(h, at, linked);
  env.historyEntry = st.histCount++;
  return 0;
}

const bug = (env: VerifierEnv, message: string): number => {
  env.log.write(`verifier bug: ${message}\n`);
  return -EFAULT;
};
const hex = (mask: number): string => (mask >>> 0).toString(16);
const hex64 = (lo: number, hi: number): string => (hi === 0 ? hex(lo) : hex(hi) + hex(lo).padStart(8, '0'));

// The work list.
export function btSetFrameReg(env: VerifierEnv, frame: number, reg: number): void {
  env.btRegMasks[frame]! |= 1 << reg;
}
function btClearFrameReg(env: VerifierEnv, frame: number, reg: number): void {
  env.btRegMasks[frame]! &= ~(1 << reg);
}
const btIsRegSet = (env: VerifierEnv, reg: number): boolean => (env.btRegMasks[env.btFrame]! & (1 << reg)) !== 0;
const btSetReg = (env: VerifierEnv, reg: number): void => btSetFrameReg(env, env.btFrame, reg);
const btClearReg = (env: VerifierEnv, reg: number): void => btClearFrameReg(env, env.btFrame, reg);

export function btSetFrameSlot(env: VerifierEnv, frame: number, spi: number): void {
  if (spi < 32) env.btStackLo[frame]! |= 1 << spi;
  else env.btStackHi[frame]! |= 1 << (spi - 32);
}
/** Wants all stack slots of a mask. */
export function btSetFrameSlotMask(env: VerifierEnv, frame: number, lo: number, hi: number): void {
  env.btStackLo[frame]! |= lo;
  env.btStackHi[frame]! |= hi;
}
/** Wants an outgoing stack argument. */
export function btSetFrameStackArgSlot(env: VerifierEnv, frame: number, slot: number): void {
  env.btArgMasks[frame]! |= 1 << slot;
}
function btClearFrameSlot(env: VerifierEnv, frame: number, spi: number): void {
  if (spi < 32) env.btStackLo[frame]! &= ~(1 << spi);
  else env.btStackHi[frame]! &= ~(1 << (spi - 32));
}
const btIsSlotSet = (env: VerifierEnv, frame: number, spi: number): boolean =>
  spi < 32 ? (env.btStackLo[frame]! & (1 << spi)) !== 0 : (env.btStackHi[frame]! & (1 << (spi - 32))) !== 0;
const hasStack = (env: VerifierEnv, frame: number): boolean => (env.btStackLo[frame]! | env.btStackHi[frame]!) !== 0;

function btEmpty(env: VerifierEnv): boolean {
  let any = 0;
  for (let i = env.btFrame; i >= 0; i--) any |= env.btRegMasks[i]! | env.btStackLo[i]! | env.btStackHi[i]! | env.btArgMasks[i]!;
  return any === 0;
}

/** Empties the work list. */
export function btReset(env: VerifierEnv): void {
  env.btFrame = 0;
  const { btRegMasks, btStackLo, btStackHi, btArgMasks } = env;
  for (let i = 0; i < MAX_CALL_FRAMES; i++) {
    btRegMasks[i] = 0;
    btStackLo[i] = 0;
    btStackHi[i] = 0;
    btArgMasks[i] = 0;
  }
}

function enterSubprog(env: VerifierEnv): number {
  if (env.btFrame === MAX_CALL_FRAMES - 1) return bug(env, `subprog enter from frame ${env.btFrame}`);
  env.btFrame++;
  return 0;
}
function exitSubprog(env: VerifierEnv): number {
  if (env.btFrame === 0) return bug(env, 'subprog exit from frame 0');
  env.btFrame--;
  return 0;
}

/** `r0,r2` for a mask of registers. */
export function regMaskText(mask: number): string {
  const parts: string[] = [];
  for (let i = 0; i < 32; i++) if ((mask & (1 << i)) !== 0) parts.push(`r${i}`);
  return parts.join(',');
}

/** `-8,-24` for a mask of stack slots. */
export function stackMaskText(lo: number, hi: number): string {
  const parts: string[] = [];
  for (let i = 0; i < 64; i++) if (((i < 32 ? lo >> i : hi >> (i - 32)) & 1) !== 0) parts.push(String(-(i + 1) * 8));
  return parts.join(',');
}

/** Where one of the registers linked at this history entry is wanted precise, all of them are. */
function syncLinked(env: VerifierEnv, h: Int32Array, at: number): void {
  if (at < 0) return;
  const count = (h[at + HIST_FLAGS]! >> COUNT_SHIFT) & 7;
  let wanted = false;
  for (let i = 0; i < count && !wanted; i++) {
    const e = linkedEntryAt(h, at, i), frame = linkedFrame(e), index = linkedIndex(e);
    wanted = linkedIsReg(e) ? (env.btRegMasks[frame]! & (1 << index)) !== 0 : btIsSlotSet(env, frame, index);
  }
  if (!wanted) return;
  for (let i = 0; i < count; i++) {
    const e = linkedEntryAt(h, at, i);
    if (linkedIsReg(e)) btSetFrameReg(env, linkedFrame(e), linkedIndex(e));
    else btSetFrameSlot(env, linkedFrame(e), linkedIndex(e));
  }
}

/**
 * Steps back over instruction `idx`: replaces what is wanted after it by what is wanted before it. `subseq` is the
 * instruction that ran after it, `at` its history entry in `h` or -1. `-ENOTSUPP`: cannot be followed, be conservative.
 */
function backtrackInsn(env: VerifierEnv, idx: number, subseq: number, h: Int32Array, at: number): number {
  const { code, dst, src, imm } = env.insns;
  const op = code[idx]!;
  if (op === 0) return 0;
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) {
    const frame = env.btFrame;
    env.log.write(`mark_precise: frame${frame}: regs=${regMaskText(env.btRegMasks[frame]!)} `);
    env.log.write(`stack=${stackMaskText(env.btStackLo[frame]!, env.btStackHi[frame]!)} before `);
    env.log.write(`${idx}: `);
    verboseInsn(env, idx);
    env.log.write('\n');
  }
  syncLinked(env, h, at);
  const insnClass = op & 7, flags = at < 0 ? 0 : h[at + HIST_FLAGS]!;
  const isAtomic = insnClass === BPF_STX && (op & 0xe0) === BPF_ATOMIC;
  let err: number | 'done' = 0;
  if (insnClass === BPF_ALU || insnClass === BPF_ALU64) {
    if (!backtrackALU(env, op, dst[idx]!, src[idx]!)) return 0;
  } else if (insnClass === BPF_LDX || (isAtomic && (imm[idx] === BPF_LOAD_ACQ || (imm[idx]! & BPF_FETCH) !== 0))) {
    if (!backtrackLoad(env, loadTarget(env, idx, isAtomic), flags)) return 0;
  } else if (insnClass === BPF_STX || insnClass === BPF_ST) {
    err = backtrackStore(env, insnClass, dst[idx]!, src[idx]!, flags);
  } else if (insnClass === BPF_JMP || insnClass === BPF_JMP32) {
    err = backtrackJump(env, idx, subseq, flags);
  } else if (insnClass === BPF_LD) {
    err = backtrackLD(env, op, dst[idx]!, idx, subseq);
  }
  if (err !== 0) return err === 'done' ? 0 : err;
  syncLinked(env, h, at);
  return 0;
}

/** The register that a load or a fetching atomic writes. */
function loadTarget(env: VerifierEnv, idx: number, isAtomic: boolean): number {
  const { dst, src, imm } = env.insns;
  if (!isAtomic || (imm[idx]! & BPF_FETCH) === 0 || imm[idx] === BPF_LOAD_ACQ) return dst[idx]!;
  return imm[idx] === BPF_CMPXCHG ? 0 : src[idx]!;
}

/** False where the instruction has nothing to do with what is wanted, or nothing more can be linked to it. */
function backtrackALU(env: VerifierEnv, op: number, dreg: number, sreg: number): boolean {
  if (!btIsRegSet(env, dreg)) return false;
  const operation = op & 0xf0;
  if (operation === BPF_END || operation === BPF_NEG) return false;
  const fromRegister = (op & BPF_X) !== 0;
  if (operation === BPF_MOV) btClearReg(env, dreg);
  if (fromRegister && sreg !== FRAME_POINTER) btSetReg(env, sreg);
  return true;
}

function backtrackLoad(env: VerifierEnv, target: number, flags: number): boolean {
  if (!btIsRegSet(env, target)) return false;
  btClearReg(env, target);
  if ((flags & INSN_F_STACK_ARG_ACCESS) !== 0) {
    // the callee reads what its caller holds in its outgoing stack arguments
    btSetFrameStackArgSlot(env, env.btFrame - 1, historySlot(flags));
    return false;
  }
  // only the stack keeps a scalar's precision; other memory yields unknown values
  if ((flags & INSN_F_STACK_ACCESS) === 0) return false;
  btSetFrameSlot(env, historyFrame(flags), historySlot(flags));
  return true;
}

function backtrackStore(env: VerifierEnv, insnClass: number, dreg: number, sreg: number, flags: number): number | 'done' {
  // a scalar as address means that pointers were subtracted
  if (btIsRegSet(env, dreg)) return -ENOTSUPP;
  const spi = historySlot(flags);
  if ((flags & INSN_F_STACK_ARG_ACCESS) !== 0) {
    const bit = 1 << spi;
    if ((env.btArgMasks[env.btFrame]! & bit) === 0) return 'done';
    env.btArgMasks[env.btFrame]! &= ~bit;
    if (insnClass === BPF_STX) btSetReg(env, sreg);
    return 'done';
  }
  if ((flags & INSN_F_STACK_ACCESS) === 0) return 'done';
  const frame = historyFrame(flags);
  if (!btIsSlotSet(env, frame, spi)) return 'done';
  btClearFrameSlot(env, frame, spi);
  if (insnClass === BPF_STX) btSetReg(env, sreg);
  return 0;
}

function backtrackJump(env: VerifierEnv, idx: number, subseq: number, flags: number): number | 'done' {
  const { code, dst, src } = env.insns;
  const op = code[idx]!, operation = op & 0xf0;
  if (isPseudoCall(env, idx)) return backtrackSubprogCall(env, idx, subseq);
  if ((env.aux.flags[idx]! & AUX_CALLS_CALLBACK) !== 0 && idx !== subseq - 1) return backtrackCallbackCall(env);
  if (operation === BPF_CALL) return backtrackCall(env, idx, subseq);
  if (operation === BPF_EXIT) return backtrackExit(env, subseq);
  if ((op & BPF_X) !== 0) {
    const dreg = dst[idx]!, sreg = src[idx]!;
    if (!btIsRegSet(env, dreg) && !btIsRegSet(env, sreg)) return 'done';
    if ((flags & INSN_F_SRC_REG_STACK) === 0) btSetReg(env, sreg);
    if ((flags & INSN_F_DST_REG_STACK) === 0) btSetReg(env, dreg);
  }
  return 0;
}

/** Back over a call of a subprogram: a global one was not entered, of a static one this is the entry. */
function backtrackSubprogCall(env: VerifierEnv, idx: number, subseq: number): number | 'done' {
  const subprog = findSubprog(env, idx + env.insns.imm[idx]! + 1);
  if (subprog < 0) return -EFAULT;
  const frame = env.btFrame, regs = env.btRegMasks[frame]!;
  if (isGlobalSubprog(env, subprog)) {
    if (idx + 1 !== subseq) bug(env, 'extra insn from subprog');
    if ((regs & ARGS_MASK) !== 0) return bug(env, `global subprog unexpected regs ${hex(regs)}`);
    btClearReg(env, 0);
    return 'done';
  }
  if ((regs & ~ARGS_MASK) !== 0) return bug(env, `static subprog unexpected regs ${hex(regs)}`);
  if (hasStack(env, frame)) return bug(env, `static subprog leftover stack slots ${hex64(env.btStackLo[frame]!, env.btStackHi[frame]!)}`);
  env.btRegMasks[frame] = 0;
  if (regs !== 0) env.btRegMasks[frame - 1]! |= regs;
  if (env.btArgMasks[frame] !== 0) return bug(env, `static subprog leftover stack arg slots ${hex(env.btArgMasks[frame]!)}`);
  return exitSubprog(env) < 0 ? -EFAULT : 'done';
}

/** Back out of a callback to the call that ran it; what the callback got as arguments came from the helper. */
function backtrackCallbackCall(env: VerifierEnv): number | 'done' {
  const frame = env.btFrame, regs = env.btRegMasks[frame]!;
  if ((regs & ~ARGS_MASK) !== 0) return bug(env, `callback unexpected regs ${hex(regs)}`);
  if (hasStack(env, frame)) return bug(env, `callback leftover stack slots ${hex64(env.btStackLo[frame]!, env.btStackHi[frame]!)}`);
  env.btRegMasks[frame] = 0;
  return exitSubprog(env) < 0 ? -EFAULT : 'done';
}

function backtrackCall(env: VerifierEnv, idx: number, subseq: number): number {
  const { src, imm } = env.insns;
  if (isPseudoKfuncCall(env, idx) && imm[idx] === 0) return -ENOTSUPP;
  btClearReg(env, 0);
  const regs = env.btRegMasks[env.btFrame]!;
  if ((regs & ARGS_MASK) !== 0) return bug(env, `backtracking call unexpected regs ${hex(regs)}`);
  // a tail call may end the subprogram: walked back into from the caller
  if (src[idx] === 0 && imm[idx] === BPF_FUNC_tail_call && subseq - idx !== 1) return enterSubprog(env);
  return 0;
}

/** Back into a callee at its exit: of a subprogram that was called, R0 is what the caller wanted; of a callback it is not. */
function backtrackExit(env: VerifierEnv, subseq: number): number | 'done' {
  const fromCall = subseq - 1 >= 0 && isPseudoCall(env, subseq - 1);
  const wantsR0 = fromCall && btIsRegSet(env, 0);
  const regs = env.btRegMasks[env.btFrame]!;
  if (fromCall && (regs & ARGS_MASK) !== 0) return bug(env, `backtracking exit unexpected regs ${hex(regs)}`);
  btClearReg(env, 0);
  if (enterSubprog(env) < 0) return -EFAULT;
  if (wantsR0) btSetReg(env, 0);
  return 'done';
}

function backtrackLD(env: VerifierEnv, op: number, dreg: number, idx: number, subseq: number): number | 'done' {
  if ((op & 0xe0) === BPF_IMM) {
    btClearReg(env, dreg);
    return 'done';
  }
  // packet loads may end the subprogram, too
  if (btIsRegSet(env, dreg)) return -ENOTSUPP;
  if (subseq !== idx + 1 && enterSubprog(env) < 0) return -EFAULT;
  return 'done';
}

/** True where a slot holds a spilled register. */
export function isSpilledReg(st: VState, slot: number): boolean {
  return st.b[(slot + SLOT_TYPES) * 4 + 7] === STACK_SPILL;
}

/** Marks every scalar of all parent states precise: the answer where the walk cannot go on. */
export function markAllScalarsPrecise(env: VerifierEnv, from: VState): void {
  const talk = (env.log.level & BPF_LOG_LEVEL2) !== 0;
  if (talk) env.log.write(`mark_precise: frame${from.curframe}: falling back to forcing all scalars precise\n`);
  for (let st = from.parent; st !== undefined; st = st.parent) {
    const w = st.w;
    for (let i = 0; i <= st.curframe; i++) {
      const frame = st.frameAt[i]!;
      for (let j = 0; j < FRAME_POINTER; j++) {
        const reg = regAt(frame, j);
        if (w[reg + REG_TYPE] !== SCALAR_VALUE || w[reg + REG_PRECISE] !== 0) continue;
        w[reg + REG_PRECISE] = 1;
        if (talk) env.log.write(`force_precise: frame${i}: forcing r${j} to be precise\n`);
      }
      for (let j = 0; j < w[frame + F_ALLOCATED_STACK]! >> 3; j++) {
        const slot = slotAt(frame, j);
        if (!isSpilledReg(st, slot) || w[slot + REG_TYPE] !== SCALAR_VALUE || w[slot + REG_PRECISE] !== 0) continue;
        w[slot + REG_PRECISE] = 1;
        if (talk) env.log.write(`force_precise: frame${i}: forcing fp${-(j + 1) * 8} to be precise\n`);
      }
    }
  }
}

/** True where {@link markWanted} marked something that was not precise before. */
let markedAnything = false;

/** Marks what is wanted of `st` precise and drops from the work list what needs no further walk. */
function markWanted(env: VerifierEnv, st: VState): number {
  const w = st.w;
  const talk = (env.log.level & BPF_LOG_LEVEL2) !== 0;
  for (let fr = env.btFrame; fr >= 0; fr--) {
    const frame = st.frameAt[fr]!;
    for (let mask = env.btRegMasks[fr]!; mask !== 0; mask &= mask - 1) {
      const i = 31 - Math.clz32(mask & -mask), reg = regAt(frame, i);
      if (w[reg + REG_TYPE] !== SCALAR_VALUE || w[reg + REG_PRECISE] !== 0) btClearFrameReg(env, fr, i);
      else {
        w[reg + REG_PRECISE] = 1;
        markedAnything = true;
      }
    }
    const slots = w[frame + F_ALLOCATED_STACK]! >> 3;
    if (hasStack(env, fr)) {
      for (let i = 0; i < 64; i++) {
        if (!btIsSlotSet(env, fr, i)) continue;
        if (i >= slots) return bug(env, `stack slot ${i}, total slots ${slots}`);
        const slot = slotAt(frame, i);
        if (!isSpilledReg(st, slot) || w[slot + REG_TYPE] !== SCALAR_VALUE || w[slot + REG_PRECISE] !== 0) btClearFrameSlot(env, fr, i);
        else {
          w[slot + REG_PRECISE] = 1;
          markedAnything = true;
        }
      }
    }
    for (let i = 0; i < w[frame + F_OUT_STACK_ARGS]!; i++) {
      if ((env.btArgMasks[fr]! & (1 << i)) === 0) continue;
      const reg = stackArgAt(st, frame, i);
      if (w[reg + REG_TYPE] !== SCALAR_VALUE || w[reg + REG_PRECISE] !== 0) env.btArgMasks[fr]! &= ~(1 << i);
      else {
        w[reg + REG_PRECISE] = 1;
        markedAnything = true;
      }
    }
    if (talk) {
      env.log.write(`mark_precise: frame${fr}: parent state regs=${regMaskText(env.btRegMasks[fr]!)} `);
      env.log.write(`stack=${stackMaskText(env.btStackLo[fr]!, env.btStackHi[fr]!)}: `);
      printVerifierState(env, st, fr, true);
    }
  }
  return 0;
}

/** The walk left the first instruction of a global function: its arguments may be wanted, nothing else. */
function markEntry(env: VerifierEnv, st: VState): number {
  const w = st.w, frame = st.frameAt[0]!, regs = env.btRegMasks[env.btFrame]!;
  const isEntry = st.curframe === 0 && w[frame + F_SUBPROG]! > 0 && w[frame + F_CALLSITE] === MAIN_FUNC
    && !hasStack(env, env.btFrame) && (regs & ~ARGS_MASK) === 0;
  if (!isEntry) {
    const stack = hex64(env.btStackLo[env.btFrame]!, env.btStackHi[env.btFrame]!);
    return bug(env, `backtracking func entry subprog ${w[frame + F_SUBPROG]} reg_mask ${hex(regs)} stack_mask ${stack}`);
  }
  for (let i = 1; i <= 5; i++) {
    if ((regs & (1 << i)) === 0) continue;
    btClearReg(env, i);
    const reg = regAt(frame, i);
    if (w[reg + REG_TYPE] !== SCALAR_VALUE) continue;
    w[reg + REG_PRECISE] = 1;
    markedAnything = true;
  }
  return 0;
}

/** What a history entry may say that concerns the walk back: stack accesses and linked registers. */
const NOTED: number = 15 | (7 << COUNT_SHIFT);

/** False where an instruction without notes surely leaves what is wanted as it is; most instructions are of that kind. */
function mattersTo(regs: number, op: number, dreg: number, sreg: number): boolean {
  switch (op & 7) {
    case BPF_ALU: case BPF_ALU64: case BPF_LDX: case BPF_ST:
      return (regs & (1 << dreg)) !== 0;
    case BPF_JMP: case BPF_JMP32: {
      const operation = op & 0xf0;
      if (operation === BPF_CALL || operation === BPF_EXIT) return true;
      return (op & BPF_X) !== 0 && (regs & ((1 << dreg) | (1 << sreg))) !== 0;
    }
    case BPF_STX:
      return (op & 0xe0) === BPF_ATOMIC || (regs & (1 << dreg)) !== 0;
    default:
      return op !== 0;
  }
}

const NO_PREVIOUS = -2;
/** History entries that {@link previousInsn} has not used yet. */
let historyLeft = 0;

/** The instruction that ran before `i` in this state, {@link NO_PREVIOUS} at the state's beginning. */
function previousInsn(st: VState, i: number): number {
  const entry = st.histAt + (historyLeft - 1) * HIST_WORDS;
  if (i === st.firstInsnIdx) {
    if (historyLeft === 0) return NO_PREVIOUS;
    if (historyLeft === 1 && st.hist[st.histAt + HIST_IDX] === i) return NO_PREVIOUS;
  }
  if (historyLeft > 0 && st.hist[entry + HIST_IDX] === i) {
    historyLeft--;
    return st.hist[entry + HIST_PREV_IDX]!;
  }
  return i - 1;
}

/**
 * Marks register `regno` of the current frame of `start` (-1: what the work list holds already) precise, with all that it
 * came from, in all parent states. Returns 0 or `-errno`; {@link precisionChanged} tells whether any mark was new.
 */
export function markChainPrecisionFrom(env: VerifierEnv, start: VState, regno: number): number {
  markedAnything = false;
  if (!env.bpfCapable) return 0;
  env.btFrame = start.curframe;
  if (regno >= 0) {
    if (start.w[regAt(start.frameAt[start.curframe]!, regno) + REG_TYPE] !== SCALAR_VALUE) return bug(env, 'backtracking misuse');
    btSetReg(env, regno);
  }
  if (btEmpty(env)) return 0;

  const { code, dst, src } = env.insns;
  const talk = (env.log.level & BPF_LOG_LEVEL2) !== 0;
  let st = start, last = start.insnIdx, first = start.firstInsnIdx, subseq = -1;
  // marks in the state at hand do not matter: it is not one that others are compared with yet
  let skip = true;
  for (;;) {
    historyLeft = st.histCount;
    if (talk) {
      env.log.write(`mark_precise: frame${env.btFrame}: last_idx ${last} first_idx ${first} subseq_idx ${subseq} \n`);
    }
    if (last < 0) return markEntry(env, st);
    for (let i = last; ;) {
      if (skip) skip = false;
      else {
        const entry = st.histAt + (historyLeft - 1) * HIST_WORDS;
        const at = historyLeft > 0 && st.hist[entry + HIST_IDX] === i ? entry : -1;
        const isNoted = talk || (at >= 0 && (st.hist[at + HIST_FLAGS]! & NOTED) !== 0);
        if (isNoted || mattersTo(env.btRegMasks[env.btFrame]!, code[i]!, dst[i]!, src[i]!)) {
          const err = backtrackInsn(env, i, subseq, st.hist, at);
          if (err === -ENOTSUPP) {
            markAllScalarsPrecise(env, start);
            btReset(env);
            return 0;
          }
          if (err !== 0) return err;
          if (btEmpty(env)) return 0;
        }
      }
      subseq = i;
      i = previousInsn(st, i);
      if (i === NO_PREVIOUS) break;
      if (i < 0 || i >= env.insns.count) return bug(env, `backtracking idx ${i}`);
    }
    if (st.parent === undefined) break;
    st = st.parent;
    const err = markWanted(env, st);
    if (err !== 0) return err;
    if (btEmpty(env)) return 0;
    subseq = first;
    last = st.lastInsnIdx;
    first = st.firstInsnIdx;
  }
  markAllScalarsPrecise(env, start);
  btReset(env);
  return 0;
}

/** True where the last {@link markChainPrecisionFrom} marked something that was not precise before. */
export const precisionChanged = (): boolean => markedAnything;

/** Marks register `regno` of the current frame precise in all parent states. */
export function markChainPrecision(env: VerifierEnv, regno: number): number {
  return markChainPrecisionFrom(env, env.cur, regno);
}

/** Marks what the work list holds already, in the frames of the current state, precise in all parent states. */
export function markChainPrecisionBatch(env: VerifierEnv): number {
  return markChainPrecisionFrom(env, env.cur, -1);
}
