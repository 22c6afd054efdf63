/**
 * @module verifier/live_stack
 * Which stack bytes may still be read: a forward pass finds what each instruction reads and writes through pointers derived
 * from frame pointers, for every way a function is called, and a backward pass finds what is alive. Owns that analysis and
 * the question put to it while states are compared. Reproduces the stack part of `kernel/bpf/liveness.c`.
 *
 * The stack is looked at in halves of eight-byte slots, 128 of them: half 0 is fp-4…fp-1. A mask is four words.
 */
import { E2BIG, EINVAL } from '../isa/errno.ts';
import {
  BPF_ADD, BPF_ALU, BPF_ALU64, BPF_ATOMIC, BPF_CALL, BPF_CMPXCHG, BPF_DW, BPF_FETCH, BPF_FUNC_find_vma, BPF_FUNC_for_each_map_elem, BPF_FUNC_loop,
  BPF_FUNC_user_ringbuf_drain, BPF_IMM, BPF_JMP, BPF_LD, BPF_LDX, BPF_LOAD_ACQ, BPF_MEM, BPF_MOV, BPF_ST, BPF_STORE_REL, BPF_STX, BPF_SUB, BPF_X,
} from '../isa/uapi.ts';
import { ArgTracks, NONE, addOffsets } from './arg_track.ts';
import { UNKNOWN_BYTES, callSummary, stackAccessBytes } from './call_summary.ts';
import { insnSuccessors } from './cfg.ts';
import { AUX_CALLS_CALLBACK, findSubprog, type VerifierEnv } from './env.ts';
import { isStackArgLoad, isStackArgStore } from './insns.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import { logJoin, logTransfer, printInstance, printTracks } from './live_stack_log.ts';
import { FRAME_POINTER, HALF_BYTES, Instance, LiveStack, MARK_WORDS, READ, LIVE, SLOTS, TRACKED, TRACKED_REGS, WRITE } from './live_stack_marks.ts';
import { MAX_BPF_REG, MAX_CALL_FRAMES, MAX_STACK_ARG_SLOTS } from './regtypes.ts';
import { F_CALLSITE, F_SUBPROG, type VState } from './state.ts';
import { isGlobalSubprog, isHelperCall, isPseudoCall, isPseudoKfuncCall } from './subprogs.ts';
import { TrackRows } from './track_rows.ts';

const MAX_ANALYSES = 10000;
const CALL: number = BPF_JMP | BPF_CALL;

/** What the forward pass holds while it runs. */
interface Analysis {
  readonly env: VerifierEnv;
  readonly live: LiveStack;
  readonly tracks: ArgTracks;
  /** By subprogram: tracks before each instruction, of the last analysis. */
  readonly before: (TrackRows | undefined)[];
  /** By call site: tracks of the caller's slots. */
  slotsAt: Map<number, Int32Array> | undefined;
  /** Call sites above the function being analysed. */
  readonly callsites: Int32Array;
}

const talks = (env: VerifierEnv): boolean => (env.log.level & BPF_LOG_LEVEL2) !== 0;
const sizeOf = (code: number): number => [4, 2, 1, 8][(code >> 3) & 3]!;

/** Index of an aligned slot at a frame offset, -1 for none. */
const slotOf = (offset: number): number => (offset >= 0 || offset < -SLOTS * 8 || offset % 8 !== 0 ? -1 : -offset / 8 - 1);

function stackArgSlot(offset: number): number {
  const slot = Math.trunc(Math.abs(offset) / 8);
  return slot > MAX_STACK_ARG_SLOTS ? -1 : slot - 1;
}

/**
 * Analyses every function with all its callers; 0 or `-errno`. Of a program of one function without a log of it that waits for the first
 * question: it cannot fail, and many programs are checked without one.
 */
export function computeStackLiveness(env: VerifierEnv): number {
  env.isStackLivenessDue = env.subprogCount === 1 && !talks(env);
  return env.isStackLivenessDue ? 0 : analyseStack(env);
}

function analyseStack(env: VerifierEnv): number {
  const live = new LiveStack(env.slab);
  env.liveStack = live;
  const a: Analysis = { env, live, tracks: new ArgTracks(env.slab), before: [], slotsAt: undefined, callsites: env.slab.i32(MAX_CALL_FRAMES) };
  for (let k = env.subprogCount - 1; k >= 0; k--) {
    const sub = env.topoOrder[k]!;
    if (a.before[sub] !== undefined && !isGlobalSubprog(env, sub)) continue;
    const err = analyse(a, undefined, callInstance(a, undefined, 0, sub));
    if (err !== 0) return err;
  }
  if (talks(env)) {
    const all = live.instances.toSorted((x, y) => x.callsite - y.callsite || x.depth - y.depth);
    for (const instance of all) printInstance(env, instance);
  }
  return 0;
}

function callInstance(a: Analysis, caller: Instance | undefined, callsite: number, subprog: number): Instance {
  const start = a.env.subprogs[subprog]!.start;
  const depth = caller === undefined ? 0 : caller.depth + 1;
  const key = depth > 0 ? callsite : start;
  let instance = a.live.find(key, depth);
  if (instance === undefined) {
    instance = new Instance(key, depth, subprog, start, a.env.subprogs[subprog + 1]!.start - start, a.env.slab);
    a.live.add(instance);
  }
  return instance;
}

/** Analyses one function for given arguments, then what it calls with pointers to its stack. */
function analyse(a: Analysis, args: Int32Array | undefined, known: Instance): number {
  const { env } = a;
  if (++a.live.analyses > MAX_ANALYSES) {
    env.log.write(`liveness analysis exceeded complexity limit (${a.live.analyses} calls)\n`);
    return -E2BIG;
  }
  // a second analysis goes into a fresh instance: a write counts only if every analysis has it
  const instance = known.analysed ? new Instance(known.callsite, known.depth, known.subprog, known.start, known.count, env.slab) : known;
  const { subprog, depth, start } = instance;
  trackFunction(a, args, instance);
  const from = env.subprogs[subprog]!.postorderStart, to = env.subprogs[subprog + 1]!.postorderStart;
  for (let p = from; p < to; p++) {
    const insn = env.postorder[p]!;
    if (env.insns.code[insn] !== CALL) continue;
    const before = a.before[subprog]!, { rows } = before, at = before.at(insn - start);
    const callArgs = env.slab.i32(TRACKED_REGS, false);
    for (let r = 0; r < TRACKED_REGS; r++) callArgs[r] = NONE;
    let callee: number;
    if (isPseudoCall(env, insn)) {
      callee = findSubprog(env, insn + env.insns.imm[insn]! + 1);
      for (let r = 1; r <= 5; r++) callArgs[r] = rows[at + r]!;
      for (let r = MAX_BPF_REG; r < TRACKED_REGS; r++) callArgs[r] = rows[at + r]!;
    } else if ((env.aux.flags[insn]! & AUX_CALLS_CALLBACK) !== 0) {
      const callback = callbackOf(env, insn);
      if (callback === undefined) continue;
      const passed = rows[at + callback.contextReg]!;
      if (callback.subprog === undefined) {
        // one of several callbacks: each may read whatever the context points at
        if (passed !== NONE) for (let f = 0; f <= depth; f++) instance.addAll(f, insn);
        continue;
      }
      callee = callback.subprog;
      callArgs[callback.callbackReg] = passed;
    } else continue;
    if (callee < 0 || !hasPointers(a.tracks, callArgs)) continue;
    if (depth === MAX_CALL_FRAMES - 1) return -EINVAL;
    const called = callInstance(a, instance, insn, callee);
    a.callsites[depth] = insn;
    const err = analyse(a, callArgs, called);
    if (err !== 0) return err;
    pullLiveness(instance, called, insn);
  }
  if (instance !== known) mergeInstances(known, instance);
  propagate(env, known);
  return 0;
}

function hasPointers(tracks: ArgTracks, args: Int32Array): boolean {
  for (let r = 1; r <= 5; r++) if (tracks.isPointer(args[r]!)) return true;
  for (let r = MAX_BPF_REG; r < TRACKED_REGS; r++) if (tracks.isPointer(args[r]!)) return true;
  return false;
}

/** What is alive at a callee's entry is read by the call. */
function pullLiveness(caller: Instance, callee: Instance, insn: number): void {
  for (let f = 0; f < callee.depth; f++) {
    const entry = callee.frames[f];
    if (entry === undefined) continue;
    const m = caller.marks(f), at = (insn - caller.start) * MARK_WORDS + READ;
    for (let i = 0; i < 4; i++) m[at + i]! |= entry[LIVE + i]!;
  }
}

function mergeInstances(known: Instance, fresh: Instance): void {
  for (let f = 0; f <= known.depth; f++) {
    const from = fresh.frames[f];
    if (from === undefined && known.frames[f] === undefined) continue;
    const had = known.frames[f] !== undefined;
    const m = known.marks(f);
    for (let at = 0; at < known.count * MARK_WORDS; at += MARK_WORDS) {
      for (let i = 0; i < 4; i++) {
        if (from !== undefined) m[at + READ + i]! |= from[at + READ + i]!;
        m[at + WRITE + i] = had && from !== undefined ? m[at + WRITE + i]! & from[at + WRITE + i]! : 0;
      }
      if (!had && from !== undefined) for (let i = 0; i < 4; i++) m[at + LIVE + i] = from[at + LIVE + i]!;
    }
  }
}

/** Backward pass to a fixed point: live before = (live after without writes) with reads. */
function propagate(env: VerifierEnv, instance: Instance): void {
  instance.analysed = true;
  const from = env.subprogs[instance.subprog]!.postorderStart, to = env.subprogs[instance.subprog + 1]!.postorderStart;
  for (let f = 0; f <= instance.depth; f++) {
    const m = instance.frames[f];
    const words = m === undefined ? 0 : wordsRead(m, instance.count);
    if (m === undefined || words === 0) continue;
    for (let changed = true; changed; ) {
      changed = false;
      for (let p = from; p < to; p++) changed = propagateInsn(env, m, instance.start, env.backward[p]!, words) || changed;
      if (!env.jumpsBack) break;
    }
  }
}

/** Bit i: word i of a mask is read, or live, somewhere; the other words stay as they are. */
function wordsRead(m: Int32Array, count: number): number {
  let words = 0;
  for (let at = 0; at < count * MARK_WORDS; at += MARK_WORDS) {
    for (let i = 0; i < 4; i++) if ((m[at + READ + i]! | m[at + LIVE + i]!) !== 0) words |= 1 << i;
  }
  return words;
}

function propagateInsn(env: VerifierEnv, m: Int32Array, start: number, insn: number, words: number): boolean {
  const count = insnSuccessors(env, insn);
  if (count === 0) return false;
  const at = (insn - start) * MARK_WORDS, { succ } = env;
  if (words === 1 && count === 1) {
    const before = (m[(succ[0]! - start) * MARK_WORDS + LIVE]! & ~m[at + WRITE]!) | m[at + READ]!;
    if (before === m[at + LIVE]) return false;
    m[at + LIVE] = before;
    return true;
  }
  let changed = false;
  for (let i = 0; words >> i !== 0; i++) {
    if (((words >> i) & 1) === 0) continue;
    let after = 0;
    for (let s = 0; s < count; s++) after |= m[(succ[s]! - start) * MARK_WORDS + LIVE + i]!;
    const before = (after & ~m[at + WRITE + i]!) | m[at + READ + i]!;
    if (before !== m[at + LIVE + i]) {
      m[at + LIVE + i] = before;
      changed = true;
    }
  }
  return changed;
}

interface Callback {
  /** `undefined`: not the same one on all paths. */
  readonly subprog: number | undefined;
  /** Caller's register whose value the callback gets in `callbackReg`. */
  readonly contextReg: number;
  readonly callbackReg: number;
}

function callbackOf(env: VerifierEnv, insn: number): Callback | undefined {
  if (!isHelperCall(env, insn)) return undefined;
  let functionReg: number, contextReg: number, callbackReg: number;
  switch (env.insns.imm[insn]) {
    case BPF_FUNC_loop: case BPF_FUNC_user_ringbuf_drain:
      [functionReg, contextReg, callbackReg] = [2, 3, 2];
      break;
    case BPF_FUNC_for_each_map_elem:
      [functionReg, contextReg, callbackReg] = [2, 3, 4];
      break;
    case BPF_FUNC_find_vma:
      [functionReg, contextReg, callbackReg] = [3, 4, 3];
      break;
    default:
      return undefined;
  }
  const isKnown = (env.aux.constRegSubprogMask[insn]! & (1 << functionReg)) !== 0;
  return { subprog: isKnown ? env.aux.constRegVals[insn * 10 + functionReg]! : undefined, contextReg, callbackReg };
}

/** Forward pass over one function, then the marks of its instructions. */
function trackFunction(a: Analysis, args: Int32Array | undefined, instance: Instance): void {
  const { env, tracks } = a;
  const { subprog, depth, start, count } = instance;
  const end = start + count, talk = talks(env);
  const before = new TrackRows(count, talk, env.slab);
  const out = env.slab.i32(TRACKED, false);
  for (let i = 0; i < TRACKED; i++) out[i] = NONE;
  before.reach(0, before.add(out, 0));
  const entry = before.at(0);
  before.rows[entry + FRAME_POINTER] = tracks.single(depth, 0);
  if (args !== undefined) for (let r = 1; r <= 5; r++) before.rows[entry + r] = args[r]!;
  const incoming = env.slab.i32(MAX_STACK_ARG_SLOTS, false);
  for (let i = 0; i < MAX_STACK_ARG_SLOTS; i++) incoming[i] = args === undefined ? NONE : args[MAX_BPF_REG + i]!;
  if (talk) env.log.write(`subprog#${subprog}: analyzing (depth ${depth})...\n`);

  const from = env.subprogs[subprog]!.postorderStart, to = env.subprogs[subprog + 1]!.postorderStart;
  // an instruction is looked at again only where what holds before it has changed: all else would come out as before
  const isSettled = env.slab.u8(count);
  for (let changed = true; changed; ) {
    changed = false;
    for (let p = to - 1; p >= from; p--) {
      const insn = env.postorder[p]!, row = insn - start;
      if ((isSettled[row] !== 0 && !talk) || !before.isReached(row)) continue;
      isSettled[row] = 1;
      let after = before.rowOf[row]!;
      if (!keepsTracks(env, insn, before, before.at(row))) {
        before.read(after, out);
        transfer(a, insn, out, incoming, depth);
        // only what is spilled is new in a slot
        if ((env.insns.code[insn]! & 7) === BPF_STX) before.widen(out);
        if (talk) logTransfer(a.env, a.tracks, insn, before.rows, before.at(row), out);
        if (!before.equals(after, out)) after = before.add(out, 0);
      }
      const successors = insnSuccessors(env, insn);
      for (let s = 0; s < successors; s++) {
        const target = env.succ[s]!;
        if (target < start || target >= end || !joinRow(a, before, target - start, after, insn, target)) continue;
        isSettled[target - start] = 0;
        changed = true;
      }
      before.release(after);
    }
    // each instruction came after all that lead to it
    if (!env.jumpsBack && !talk) break;
  }
  for (let p = to - 1; p >= from; p--) {
    const insn = env.postorder[p]!, at = before.at(insn - start);
    if (env.insns.code[insn] !== CALL) {
      recordMemoryAccess(a, instance, before.rows, at, insn);
      continue;
    }
    recordCallAccess(a, instance, before.rows, at, insn);
    if (isPseudoCall(env, insn) || (env.aux.flags[insn]! & AUX_CALLS_CALLBACK) !== 0) (a.slotsAt ??= new Map()).set(insn, before.slots(insn - start));
  }
  a.before[subprog] = before;
  if (talk) printTracks(a.env, a.tracks, subprog, before);
}

/** Joins row `after`, which holds after `insn`, into what holds before `target`, instruction `to` of the function; true where that changed. */
function joinRow(a: Analysis, before: TrackRows, to: number, after: number, insn: number, target: number): boolean {
  const row = before.rowOf[to]!;
  if (row === after) return false;
  if (!before.isReached(to)) {
    before.reach(to, after);
    return true;
  }
  const { rows, stride } = before;
  const from = after * stride, at = row * stride;
  let changed = false;
  for (let i = 0; i < stride; i++) {
    const old = rows[at + i]!, next = rows[from + i]!;
    if (old === next) continue;
    const joined = a.tracks.join(old, next);
    if (joined === old) continue;
    // the rows may move with that, and what they held is still here
    before.rows[before.own(to) + i] = joined;
    changed = true;
    if (talks(a.env)) logJoin(a.env, a.tracks, insn, target, i, old, next, joined);
  }
  return changed;
}

/** True for most instructions: what does not touch a pointer to the stack leaves all tracks at `at` of the rows as they are. */
function keepsTracks(env: VerifierEnv, insn: number, before: TrackRows, at: number): boolean {
  const { code, dst, src, off } = env.insns;
  const t = before.rows;
  const op = code[insn]!, d = dst[insn]!, s = src[insn]!;
  // registers beyond the frame pointer stand for arguments on the stack
  if (d > FRAME_POINTER || s > FRAME_POINTER) return false;
  const isWhole = (op & (0xe0 | 0x18)) === (BPF_MEM | BPF_DW);
  switch (op & 7) {
    case BPF_ALU64:
      return t[at + d] === NONE && ((op & BPF_X) === 0 || t[at + s] === NONE);
    case BPF_ALU: case BPF_LD:
      return t[at + d] === NONE;
    case BPF_LDX:
      if (t[at + d] !== NONE) return false;
      if (s !== FRAME_POINTER) return t[at + s] === NONE;
      return !isWhole || before.slot(at, slotOf(off[insn]!)) === NONE;
    case BPF_ST: case BPF_STX: {
      if ((op & 0xe0) !== BPF_MEM) return false;
      if (d !== FRAME_POINTER) return t[at + d] === NONE;
      const slot = slotOf(off[insn]!);
      // a store of less or beside the slots may be about more than one
      return slot >= 0 && before.slot(at, slot) === (isWhole && (op & 7) === BPF_STX ? t[at + s]! : NONE);
    }
    default:
      if ((op & 0xf0) !== BPF_CALL) return true;
      for (let r = 0; r < 6; r++) if (t[at + r] !== NONE) return false;
      return true;
  }
}

/** True where a register may point into the function's own frame. */
function mayBeLocal(tracks: ArgTracks, depth: number, reg: number, t: number): boolean {
  return reg === FRAME_POINTER || tracks.frame(t) === depth || (tracks.isImprecise(t) && (tracks.mask(t) & (1 << depth)) !== 0);
}

/** Applies one instruction to the tracks `t`. */
function transfer(a: Analysis, insn: number, t: Int32Array, incoming: Int32Array, depth: number): void {
  const { env } = a;
  const { code, dst, src, off } = env.insns;
  const op = code[insn]!, cls = op & 7, d = dst[insn]!, s = src[insn]!;
  if (isStackArgStore(env, insn)) {
    const slot = stackArgSlot(off[insn]!);
    if (slot >= 0) t[MAX_BPF_REG + slot] = cls === BPF_STX ? t[s]! : NONE;
  } else if (isStackArgLoad(env, insn)) {
    const slot = stackArgSlot(off[insn]!);
    t[d] = slot >= 0 ? incoming[slot]! : NONE;
  } else if (cls === BPF_ALU64) transferALU64(a, insn, t);
  else if (cls === BPF_ALU) t[d] = NONE;
  else if (cls === BPF_JMP && (op & 0xf0) === BPF_CALL) t.fill(NONE, 0, 6);
  else if (cls === BPF_LDX) transferLoad(a, insn, t, depth);
  else if (cls === BPF_LD && (op & 0xe0) === BPF_IMM) t[d] = NONE;
  else if (cls === BPF_STX || cls === BPF_ST) transferStore(a, insn, t, depth);
}

function transferALU64(a: Analysis, insn: number, t: Int32Array): void {
  const { code, dst, src, off, imm } = a.env.insns;
  const op = code[insn]! & 0xf0, d = dst[insn]!, s = src[insn]!;
  const isMove = op === BPF_MOV;
  if ((code[insn]! & BPF_X) !== 0) {
    if (!isMove) t[d] = a.tracks.combine(t[d]!, t[s]!);
    // sign extension and address space casts make no pointer
    else t[d] = off[insn] === 0 ? t[s]! : NONE;
  } else if (isMove) t[d] = NONE;
  else if (a.tracks.frame(t[d]!) >= 0) {
    if (op === BPF_ADD) t[d] = a.tracks.add(t[d]!, imm[insn]!);
    else if (op === BPF_SUB) t[d] = a.tracks.add(t[d]!, -imm[insn]!);
    else t[d] = a.tracks.forgetOffset(t[d]!);
  }
}

function transferLoad(a: Analysis, insn: number, t: Int32Array, depth: number): void {
  const { tracks } = a;
  const { code, dst, src, off } = a.env.insns;
  const op = code[insn]!, s = src[insn]!, from = t[s]!, frame = tracks.frame(from);
  const isWhole = (op & 0xe0) === BPF_MEM && sizeOf(op) === 8;
  if (!isWhole) t[dst[insn]!] = NONE;
  else if (mayBeLocal(tracks, depth, s, from)) t[dst[insn]!] = fill(tracks, t, TRACKED_REGS, s, from, off[insn]!, depth);
  else if (frame >= 0 && frame < depth) {
    const slots = a.slotsAt?.get(a.callsites[frame]!);
    t[dst[insn]!] = slots === undefined ? tracks.imprecise((1 << (frame + 1)) - 1) : fill(tracks, slots, 0, s, from, off[insn]!, frame);
  } else if (!tracks.isImprecise(from) || tracks.mask(from) === 0) t[dst[insn]!] = NONE;
  else t[dst[insn]!] = from;
}

/** The track that a load finds in the slots at `base` of `slots`. */
function fill(tracks: ArgTracks, slots: Int32Array, base: number, reg: number, from: number, off: number, depth: number): number {
  const unknown = (): number => tracks.imprecise((1 << (depth + 1)) - 1);
  if (reg === FRAME_POINTER) {
    const slot = slotOf(off);
    return slot >= 0 ? slots[base + slot]! : unknown();
  }
  const offsets = tracks.offsets(from);
  if (offsets.length === 0) return unknown();
  let result = NONE;
  for (const o of offsets) {
    const at = addOffsets(o, off), slot = at === undefined ? -1 : slotOf(at);
    if (slot < 0) return unknown();
    result = tracks.join(result, slots[base + slot]!);
  }
  return result;
}

function transferStore(a: Analysis, insn: number, t: Int32Array, depth: number): void {
  const { tracks } = a;
  const { code, dst, src, off, imm } = a.env.insns;
  const op = code[insn]!, mode = op & 0xe0, d = dst[insn]!, size = sizeOf(op);
  const isLocal = mayBeLocal(tracks, depth, d, t[d]!);
  if ((op & 7) === BPF_ST) {
    if (mode === BPF_MEM && isLocal) clearSlots(tracks, t, d, off[insn]!, size);
    return;
  }
  if (isLocal && mode === BPF_MEM) spill(tracks, t, d, off[insn]!, size === 8 ? t[src[insn]!]! : NONE);
  if (mode !== BPF_ATOMIC) return;
  if (isLocal && imm[insn] !== BPF_LOAD_ACQ) clearSlots(tracks, t, d, off[insn]!, size);
  if (imm[insn] === BPF_LOAD_ACQ) t[d] = NONE;
  else if (imm[insn] === BPF_CMPXCHG) t[0] = NONE;
  else if ((imm[insn]! & BPF_FETCH) !== 0) t[src[insn]!] = NONE;
}

function spill(tracks: ArgTracks, t: Int32Array, reg: number, off: number, value: number): void {
  if (reg === FRAME_POINTER) {
    const slot = slotOf(off);
    if (slot >= 0) t[TRACKED_REGS + slot] = value;
    return;
  }
  const offsets = tracks.offsets(t[reg]!);
  if (offsets.length === 0) for (let i = TRACKED_REGS; i < TRACKED; i++) t[i] = tracks.join(t[i]!, value);
  for (const o of offsets) {
    const at = addOffsets(o, off), slot = at === undefined ? -1 : slotOf(at);
    if (slot < 0) continue;
    const i = TRACKED_REGS + slot;
    t[i] = offsets.length === 1 ? value : tracks.join(t[i]!, value);
  }
}

/** Forgets the tracks in all slots that a store may touch. */
function clearSlots(tracks: ArgTracks, t: Int32Array, reg: number, off: number, size: number): void {
  if (reg === FRAME_POINTER) {
    clearRange(tracks, t, off, size, true);
    return;
  }
  const offsets = tracks.offsets(t[reg]!);
  const forgetAll = (): void => {
    for (let i = TRACKED_REGS; i < TRACKED; i++) t[i] = tracks.join(t[i]!, NONE);
  };
  if (offsets.length === 0) forgetAll();
  for (const o of offsets) {
    const at = addOffsets(o, off);
    if (at === undefined) {
      forgetAll();
      break;
    }
    clearRange(tracks, t, at, size, offsets.length === 1);
  }
}

function clearRange(tracks: ArgTracks, t: Int32Array, off: number, size: number, isSure: boolean): void {
  for (let i = 0; i < SLOTS; i++) {
    const start = -(i + 1) * 8;
    if (start < off + size && start + 8 > off) t[TRACKED_REGS + i] = isSure ? NONE : tracks.join(t[TRACKED_REGS + i]!, NONE);
  }
}

/** Marks an access of `bytes` (positive read, negative write) at one frame offset. */
function recordAt(instance: Instance, offset: number, bytes: number, frame: number, insn: number): void {
  if (offset >= 0) return;
  const last = Math.trunc((-offset - 1) / HALF_BYTES);
  if (bytes === UNKNOWN_BYTES) instance.add(frame, insn, READ, 0, last);
  else if (bytes > 0) instance.add(frame, insn, READ, Math.trunc((-offset - bytes) / HALF_BYTES), last);
  else {
    // only halves that are covered whole are written for sure
    const low = Math.max(Math.trunc((-offset + bytes + HALF_BYTES - 1) / HALF_BYTES), 0), high = Math.trunc(-offset / HALF_BYTES) - 1;
    if (low <= high) instance.add(frame, insn, WRITE, low, high);
  }
}

function record(instance: Instance, frame: number, offsets: readonly number[], bytes: number, insn: number): void {
  if (bytes === 0) return;
  const reads = bytes > 0 || bytes === UNKNOWN_BYTES;
  if (offsets.length === 0) {
    if (reads) instance.addAll(frame, insn);
  } else if (reads || offsets.length === 1) for (const o of offsets) recordAt(instance, o, bytes, frame, insn);
}

/** An access at a distance from where a pointer may point. */
function recordMoved(instance: Instance, frame: number, offsets: readonly number[], by: number, bytes: number, insn: number): void {
  if (offsets.length === 1) {
    const at = addOffsets(offsets[0]!, by);
    if (at === undefined) record(instance, frame, [], bytes, insn);
    else if (bytes !== 0) recordAt(instance, at, bytes, frame, insn);
    return;
  }
  const moved = offsets.map((o) => addOffsets(o, by));
  record(instance, frame, moved.includes(undefined) ? [] : (moved as number[]), bytes, insn);
}

function recordImprecise(instance: Instance, mask: number, insn: number): void {
  for (let f = 0; f <= instance.depth; f++) if ((mask & (1 << f)) !== 0) instance.addAll(f, insn);
}

function recordMemoryAccess(a: Analysis, instance: Instance, before: Int32Array, at: number, insn: number): void {
  const { env, tracks } = a;
  const { code, dst, src, off, imm } = env.insns;
  const op = code[insn]!, cls = op & 7;
  if (cls !== BPF_LDX && cls !== BPF_STX && cls !== BPF_ST) return;
  if (isStackArgStore(env, insn) || isStackArgLoad(env, insn)) return;
  const isAtomic = cls === BPF_STX && (op & 0xe0) === BPF_ATOMIC;
  const isLoad = cls === BPF_LDX || (isAtomic && imm[insn] === BPF_LOAD_ACQ);
  const writesOnly = isAtomic ? imm[insn] === BPF_STORE_REL : cls !== BPF_LDX;
  const bytes = writesOnly ? -sizeOf(op) : sizeOf(op);
  const t = before[at + (isLoad ? src[insn]! : dst[insn]!)]!;
  if (!tracks.isPointer(t)) return;
  const frame = tracks.frame(t);
  if (frame >= 0 && frame <= instance.depth) {
    recordMoved(instance, frame, tracks.offsets(t), off[insn]!, bytes, insn);
  } else if (tracks.isImprecise(t)) recordImprecise(instance, tracks.mask(t), insn);
}

function recordCallAccess(a: Analysis, instance: Instance, before: Int32Array, at: number, insn: number): void {
  const { env, tracks } = a;
  if (isPseudoCall(env, insn)) return;
  const params = callSummary(env, insn)?.paramCount ?? 5;
  for (let arg = 0; arg < params && arg < 5 + MAX_STACK_ARG_SLOTS; arg++) {
    const t = before[at + (arg < 5 ? arg + 1 : MAX_BPF_REG + arg - 5)]!;
    if (!tracks.isPointer(t)) continue;
    if (!isHelperCall(env, insn) && !isPseudoKfuncCall(env, insn)) {
      for (let f = 0; f <= instance.depth; f++) instance.addAll(f, insn);
      continue;
    }
    const bytes = stackAccessBytes(env, insn, arg);
    if (bytes === 0) continue;
    const frame = tracks.frame(t);
    if (frame >= 0 && frame <= instance.depth) record(instance, frame, tracks.offsets(t), bytes, insn);
    else if (tracks.isImprecise(t)) recordImprecise(instance, tracks.mask(t), insn);
  }
}

// The question.

/** Prepares {@link stackHalvesAlive} for a state. */
export function liveStackQueryInit(env: VerifierEnv, st: VState): void {
  if (env.isStackLivenessDue) {
    env.isStackLivenessDue = false;
    analyseStack(env);
  }
  const q = env.liveStack;
  if (q === undefined) return;
  for (let fr = 0; fr <= st.curframe; fr++) {
    q.byFrame[fr] = lookupInstance(env, q, st, fr);
    if (fr < st.curframe) q.callsites[fr] = st.w[st.frameAt[fr + 1]! + F_CALLSITE]!;
  }
  q.curframe = st.curframe;
  q.insn = st.insnIdx;
}

/** The instance for a frame of a state; a function that gets no pointers was analysed at a smaller depth. */
function lookupInstance(env: VerifierEnv, q: LiveStack, st: VState, fr: number): Instance | undefined {
  const frame = st.frameAt[fr]!, start = env.subprogs[st.w[frame + F_SUBPROG]!]!.start;
  const callsite = fr > 0 ? st.w[frame + F_CALLSITE]! : start;
  for (let depth = fr; depth > 0; depth--) {
    const found = q.find(callsite, depth);
    if (found !== undefined) return found;
  }
  return q.find(start, 0);
}

/**
 * Writes to `live` (four words, a bit a half slot) what of a frame's stack may still be read: by the innermost function, or
 * after the return to an outer one.
 */
export function stackHalvesAlive(env: VerifierEnv, frameno: number, live: Int32Array): void {
  const q = env.liveStack;
  const inner = q?.byFrame[q.curframe];
  for (let i = 0; i < 4; i++) live[i] = 0;
  if (q === undefined || inner === undefined) {
    for (let i = 0; i < 4; i++) live[i] = -1;
    return;
  }
  const innerFrame = frameno + inner.depth - q.curframe;
  if (innerFrame >= 0 && innerFrame <= inner.depth) inner.addLive(q.insn, innerFrame, live);
  for (let i = frameno; i < q.curframe; i++) {
    const outer = q.byFrame[i], frame = outer === undefined ? -1 : frameno + outer.depth - i;
    if (outer === undefined || frame < 0 || frame > outer.depth) {
      for (let k = 0; k < 4; k++) live[k] = -1;
      return;
    }
    const callsite = q.callsites[i]!;
    outer.addLive((env.aux.flags[callsite]! & AUX_CALLS_CALLBACK) !== 0 ? callsite : callsite + 1, frame, live);
  }
}
