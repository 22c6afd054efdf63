/**
 * @module verifier/states
 * Checkpoints and pruning: when a state is remembered, when a new one is covered by an old one, how loops converge. Owns the
 * life of explored states and the branch counts; comparison is in `state_equal.ts`, precision in `backtrack.ts`.
 * Reproduces the decisions and counters of `kernel/bpf/states.c`.
 */
import { EFAULT, EINVAL } from '../isa/errno.ts';
import {
  btSetFrameReg, btSetFrameSlot, isSpilledReg, markAllScalarsPrecise, markChainPrecisionFrom, precisionChanged, pushJmpHistory,
} from './backtrack.ts';
import { AUX_CALLS_CALLBACK, AUX_FORCE_CHECKPOINT, AUX_IS_ITER_NEXT, AUX_JMP_POINT, type VerifierEnv } from './env.ts';
import type { SCCVisit } from './explored.ts';
import { liveStackQueryInit, stackHalvesAlive } from './live_stack.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import { printVerifierState } from './print.ts';
import { MAX_CALL_FRAMES, NOT_INIT, SCALAR_VALUE } from './regtypes.ts';
import { scalarUnknown } from './scalar.ts';
import { verboseLine } from './source_line.ts';
import { EXACT, NOT_EXACT, RANGE_WITHIN, iteratorDepthsDiffer, maybeLooping, statesEqual } from './state_equal.ts';
import {
  BPF_ADD_CONST, FF_IN_ASYNC_CALLBACK, F_ALLOCATED_STACK, F_ASYNC_ENTRY_CNT, F_CALLSITE, F_FLAGS, F_OUT_STACK_ARGS, REG_A, REG_C, REG_DELTA,
  REG_ID, REG_PRECISE, REG_SCALAR, REG_TYPE, REG_VAR_LO, REG_WORDS, SLOT_TYPES, SLOT_WORDS, STACK_DYNPTR, STACK_IRQ_FLAG, STACK_ITER, STACK_MISC,
  STACK_POISON, STACK_SPILL, curFrame, frameInsnIdx, regAt, slotAt, spiOf, stackArgAt, type VState,
} from './state.ts';
import { isMayGoto } from './subprogs.ts';

/** States an instruction may have before an unprivileged load stops remembering more. */
const COMPLEXITY_LIMIT_STATES = 64;
const MAX_BACKEDGE_ROUNDS = 64;
const ITER_STATE_ACTIVE = 1;
const FRAME_POINTER = 10;

function updatePeakStates(env: VerifierEnv): void {
  env.peakStates = Math.max(env.peakStates, env.exploredStatesSize + env.freeListSize + env.numBackedges);
}

/** Call sites and component of the last {@link findCallchain}. */
const CALLSITES: Int32Array = new Int32Array(MAX_CALL_FRAMES - 1);
let callchainSCC = 0;

/** Finds the outermost frame that stands in a loop and the call sites above it; false where none does. */
function findCallchain(env: VerifierEnv, st: VState): boolean {
  if (env.sccCount <= 1) return false;
  for (let i = 0; i < CALLSITES.length; i++) CALLSITES[i] = 0;
  for (let i = 0; i <= st.curframe; i++) {
    const insn = frameInsnIdx(st, i);
    callchainSCC = env.aux.scc[insn]!;
    if (callchainSCC !== 0) return true;
    if (i < st.curframe) CALLSITES[i] = insn;
  }
  return false;
}

function lookupVisit(env: VerifierEnv): SCCVisit | undefined {
  const visits = env.explored.visits[callchainSCC];
  if (visits === undefined) return undefined;
  for (const visit of visits) if (isAtCallsites(visit.callsites)) return visit;
  return undefined;
}

function isAtCallsites(callsites: Int32Array): boolean {
  for (let i = 0; i < CALLSITES.length; i++) if (CALLSITES[i] !== callsites[i]) return false;
  return true;
}

function callchainText(): string {
  const sites: string[] = [];
  for (const site of CALLSITES) {
    if (site === 0) break;
    sites.push(`${site >>> 0},`);
  }
  return `(${sites.join('')}${callchainSCC})`;
}

/** A checkpoint in a loop that nobody is in becomes the loop's entry. */
function maybeEnterSCC(env: VerifierEnv, st: VState): void {
  if (!findCallchain(env, st)) return;
  let visit = lookupVisit(env);
  if (visit === undefined) {
    visit = { callsites: CALLSITES.slice(), scc: callchainSCC, entryState: undefined, backedges: [] };
    (env.explored.visits[callchainSCC] ??= []).push(visit);
  }
  if (visit.entryState !== undefined) return;
  visit.entryState = st;
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) env.log.write(`SCC enter ${callchainText()}\n`);
}

/** All paths from the loop's entry are explored: what its back edges need becomes known to their parents. */
function maybeExitSCC(env: VerifierEnv, st: VState): number {
  if (!findCallchain(env, st)) return 0;
  const visit = lookupVisit(env);
  if (visit === undefined) {
    if (st.speculative) return 0;
    env.log.write(`verifier bug: scc exit: no visit info for call chain ${callchainText()}\n`);
    return -EFAULT;
  }
  if (visit.entryState !== st) return 0;
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) env.log.write(`SCC exit ${callchainText()}\n`);
  visit.entryState = undefined;
  env.numBackedges -= visit.backedges.length;
  updatePeakStates(env);
  return propagateBackedges(env, visit);
}

function addBackedge(env: VerifierEnv, checkpoint: VState, backedge: VState): number {
  const visit = findCallchain(env, checkpoint) ? lookupVisit(env) : undefined;
  if (visit === undefined) {
    env.log.write(`verifier bug: add backedge: no visit info for call chain ${callchainText()}\n`);
    return -EFAULT;
  }
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) env.log.write(`SCC backedge ${callchainText()}\n`);
  visit.backedges.push(backedge);
  env.numBackedges++;
  updatePeakStates(env);
  return 0;
}

/** True while the marks of `st` may still grow: it stands in a loop with back edges that are not settled. */
function hasIncompleteMarks(env: VerifierEnv, st: VState): boolean {
  return env.numBackedges > 0 && findCallchain(env, st) && (lookupVisit(env)?.backedges.length ?? 0) > 0;
}

/** Repeats until no mark is new: each back edge's parents learn what the state that it met needs. */
function propagateBackedges(env: VerifierEnv, visit: SCCVisit): number {
  const { backedges } = visit;
  for (let round = 0, changed = true; changed; ) {
    if (round++ > MAX_BACKEDGE_ROUNDS) {
      if ((env.log.level & BPF_LOG_LEVEL2) !== 0) env.log.write('propagate_backedges: too many iterations\n');
      for (let i = backedges.length - 1; i >= 0; i--) markAllScalarsPrecise(env, backedges[i]!);
      break;
    }
    changed = false;
    for (let i = backedges.length - 1; i >= 0; i--) {
      const err = propagatePrecision(env, backedges[i]!.equalState!, backedges[i]!);
      if (err !== 0) return err;
      changed = precisionChanged() || changed;
    }
  }
  for (const backedge of backedges) env.pool.free(backedge);
  backedges.length = 0;
  return 0;
}

/** Frees a checkpoint that left the lists once nothing refers to it. */
function maybeFree(env: VerifierEnv, st: VState): void {
  if (!st.inFreeList || st.branches !== 0 || hasIncompleteMarks(env, st)) return;
  env.freeListSize--;
  env.pool.free(st);
}

/** A path ended in `st`: it and every ancestor without open branches are done. */
export function updateBranchCounts(env: VerifierEnv, st: VState): number {
  let at: VState | undefined = st;
  while (at !== undefined) {
    if (--at.branches !== 0) break;
    const err = maybeExitSCC(env, at);
    if (err !== 0) return err;
    const parent: VState | undefined = at.parent;
    if (at !== st) maybeFree(env, at);
    at = parent;
  }
  return 0;
}

/** A register that was never written. */
const UNWRITTEN: Int32Array = new Int32Array(REG_WORDS);
UNWRITTEN[REG_TYPE] = NOT_INIT;
scalarUnknown(UNWRITTEN, REG_SCALAR);

/** Makes a register "never written": what comparison ignores. */
function markNotInit(env: VerifierEnv, w: Int32Array, reg: number): void {
  for (let i = 0; i < REG_WORDS; i++) w[reg + i] = UNWRITTEN[i]!;
  w[reg + REG_PRECISE] = env.bpfCapable ? 0 : 1;
}

/** Types of four forgotten bytes. */
const ALL_POISON: number = STACK_POISON * 0x01010101;
/** Bits of half slots that may still be read. */
const LIVE_HALVES: Int32Array = new Int32Array(4);

/** Forgets registers and stack bytes that nothing reads from here on: what is known of a number whose other half is dead depends on it. */
export function cleanState(env: VerifierEnv, st: VState): void {
  const w = st.w;
  let isPrepared = false;
  for (let fr = 0; fr <= st.curframe; fr++) {
    const frame = st.frameAt[fr]!;
    const live = env.aux.liveRegsBefore[frameInsnIdx(st, fr)]!;
    for (let i = 0; i < FRAME_POINTER; i++) {
      const reg = regAt(frame, i);
      if ((live & (1 << i)) === 0 && w[reg + REG_TYPE] !== NOT_INIT) markNotInit(env, w, reg);
    }
    const slots = w[frame + F_ALLOCATED_STACK]! >> 3;
    if (slots === 0) continue;
    if (!isPrepared) liveStackQueryInit(env, st);
    isPrepared = true;
    stackHalvesAlive(env, fr, LIVE_HALVES);
    for (let i = 0, slot = slotAt(frame, 0); i < slots; i++, slot += SLOT_WORDS) {
      const halves = (LIVE_HALVES[i >> 4]! >> ((i & 15) * 2)) & 3;
      // most dead slots were forgotten at an earlier checkpoint
      if (halves === 3 || (w[slot + SLOT_TYPES] === ALL_POISON && w[slot + SLOT_TYPES + 1] === ALL_POISON)) continue;
      cleanSlot(env, st, slot, (halves & 1) !== 0, (halves & 2) !== 0);
    }
  }
}

/** The two halves of a slot die separately; at least one of them did. */
function cleanSlot(env: VerifierEnv, st: VState, slot: number, lowLive: boolean, highLive: boolean): void {
  const { w, b } = st, types = (slot + SLOT_TYPES) * 4;
  const type = b[types + 7]!;
  // overwriting one of these must still be noticed
  if (type === STACK_DYNPTR || type === STACK_ITER || type === STACK_IRQ_FLAG) return;
  if (!highLive) {
    if (lowLive && type === STACK_SPILL) {
      // a pointer must stay one for partial reads to be refused; a zero would have to be made precise first
      if (w[slot + REG_TYPE] !== SCALAR_VALUE || isNull(w, slot)) return;
      for (let j = 0; j < 4; j++) if (b[types + j] === STACK_SPILL) b[types + j] = STACK_MISC;
    }
    markNotInit(env, w, slot);
  }
  if (!lowLive) w[slot + SLOT_TYPES] = ALL_POISON;
  if (!highLive) w[slot + SLOT_TYPES + 1] = ALL_POISON;
}

const isNull = (w: Int32Array, reg: number): boolean =>
  w[reg + REG_TYPE] === SCALAR_VALUE && (w[reg + REG_VAR_LO]! | w[reg + REG_VAR_LO + 1]! | w[reg + REG_VAR_LO + 2]! | w[reg + REG_VAR_LO + 3]!) === 0;

/** Marks in the ancestors of `cur` what the old state that covers it needs precise. */
function propagatePrecision(env: VerifierEnv, old: VState, cur: VState): number {
  const talk = (env.log.level & BPF_LOG_LEVEL2) !== 0;
  const w = old.w;
  for (let fr = old.curframe; fr >= 0; fr--) {
    const frame = old.frameAt[fr]!;
    let first = true;
    for (let i = 0; i < FRAME_POINTER; i++) {
      const reg = regAt(frame, i);
      if (w[reg + REG_TYPE] !== SCALAR_VALUE || w[reg + REG_PRECISE] === 0) continue;
      if (talk) env.log.write(first ? `frame ${fr}: propagating r${i}` : `,r${i}`);
      first = false;
      btSetFrameReg(env, fr, i);
    }
    for (let i = 0, n = w[frame + F_ALLOCATED_STACK]! >> 3; i < n; i++) {
      const slot = slotAt(frame, i);
      if (!isSpilledReg(old, slot) || w[slot + REG_TYPE] !== SCALAR_VALUE || w[slot + REG_PRECISE] === 0) continue;
      if (talk) env.log.write(first ? `frame ${fr}: propagating fp${(-i - 1) * 8}` : `,fp${(-i - 1) * 8}`);
      first = false;
      btSetFrameSlot(env, fr, i);
    }
    if (!first && talk) env.log.write('\n');
  }
  return markChainPrecisionFrom(env, cur, -1);
}

function markAllScalarsImprecise(st: VState): void {
  const w = st.w;
  for (let fr = 0; fr <= st.curframe; fr++) {
    const frame = st.frameAt[fr]!;
    for (let i = 0; i < FRAME_POINTER; i++) {
      const reg = regAt(frame, i);
      if (w[reg + REG_TYPE] === SCALAR_VALUE) w[reg + REG_PRECISE] = 0;
    }
    for (let i = 0, n = w[frame + F_ALLOCATED_STACK]! >> 3; i < n; i++) {
      const slot = slotAt(frame, i);
      if (isSpilledReg(st, slot) && w[slot + REG_TYPE] === SCALAR_VALUE) w[slot + REG_PRECISE] = 0;
    }
  }
}

/** Registers, spills and stack arguments with an id that {@link clearSingularIDs} found. */
let linkedRegs: Int32Array = new Int32Array(256);
let linkedCount = 0;

function noteLinked(w: Int32Array, reg: number): void {
  if (w[reg + REG_TYPE] !== SCALAR_VALUE || w[reg + REG_ID] === 0) return;
  if (linkedCount === linkedRegs.length) {
    const grown = new Int32Array(linkedCount * 2);
    grown.set(linkedRegs);
    linkedRegs = grown;
  }
  linkedRegs[linkedCount++] = reg;
}

/** An id that only one scalar has links it to nothing. */
export function clearSingularIDs(st: VState): void {
  const w = st.w;
  linkedCount = 0;
  for (let fr = 0; fr <= st.curframe; fr++) {
    const frame = st.frameAt[fr]!;
    for (let i = 0; i <= FRAME_POINTER; i++) noteLinked(w, regAt(frame, i));
    for (let i = 0, n = w[frame + F_ALLOCATED_STACK]! >> 3; i < n; i++) {
      const slot = slotAt(frame, i);
      if (isSpilledReg(st, slot)) noteLinked(w, slot);
    }
    for (let i = 0; i < w[frame + F_OUT_STACK_ARGS]!; i++) noteLinked(w, stackArgAt(st, frame, i));
  }
  // each id is settled with its first bearer: the others are struck out
  for (let i = 0; i < linkedCount; i++) {
    const reg = linkedRegs[i]!;
    if (reg < 0) continue;
    const id = w[reg + REG_ID]! & ~BPF_ADD_CONST;
    let shared = false;
    for (let j = i + 1; j < linkedCount; j++) {
      const other = linkedRegs[j]!;
      if (other < 0 || (w[other + REG_ID]! & ~BPF_ADD_CONST) !== id) continue;
      shared = true;
      linkedRegs[j] = -1;
    }
    if (shared) continue;
    w[reg + REG_ID] = 0;
    w[reg + REG_DELTA] = 0;
  }
}

/** What an old state on the way to the current one says about it; negative: `-errno`. */
const MISS = 0, HIT = 1, LOOP = 2;

/** `old` has open branches, so the current path may be its own descendant: loops are looked for here. */
function meetAncestor(env: VerifierEnv, old: VState, insn: number): number {
  const cur = env.cur;
  const flags = env.aux.flags[insn]!;
  const oldFrame = curFrame(old), frame = curFrame(cur);
  const otherEntry = (old.w[oldFrame + F_FLAGS]! & FF_IN_ASYNC_CALLBACK) !== 0
    && old.w[oldFrame + F_ASYNC_ENTRY_CNT] !== cur.w[frame + F_ASYNC_ENTRY_CNT];
  if (otherEntry) return MISS;
  if ((flags & AUX_IS_ITER_NEXT) !== 0) return statesEqual(env, old, cur, RANGE_WITHIN) && iteratorIsActive(cur, frame) ? LOOP : MISS;
  if (isMayGoto(env, insn) && old.mayGotoDepth !== cur.mayGotoDepth && statesEqual(env, old, cur, RANGE_WITHIN)) return LOOP;
  if ((flags & AUX_CALLS_CALLBACK) !== 0) return statesEqual(env, old, cur, RANGE_WITHIN) ? LOOP : MISS;
  const looping = maybeLooping(old, cur) && statesEqual(env, old, cur, EXACT) && !iteratorDepthsDiffer(old, cur)
    && old.mayGotoDepth === cur.mayGotoDepth && old.callbackUnrollDepth === cur.callbackUnrollDepth;
  if (!looping) return MISS;
  verboseLine(env, insn, '; ');
  env.log.write(`infinite loop detected at insn ${insn}\n`);
  env.log.write('cur state:');
  printVerifierState(env, cur, cur.curframe, true);
  env.log.write('old state:');
  printVerifierState(env, old, cur.curframe, true);
  return -EINVAL;
}

/** The iterator that R1 points at has elements left. */
function iteratorIsActive(st: VState, frame: number): boolean {
  const w = st.w, r1 = regAt(frame, 1);
  const slot = slotAt(st.frameAt[w[r1 + REG_A]!]!, spiOf(w[r1 + REG_VAR_LO]!));
  return (w[slot + REG_C]! & 3) === ITER_STATE_ACTIVE;
}

/** The current state is covered by `old`: its parents learn what `old` needs. */
function meet(env: VerifierEnv, old: VState, insn: number, loop: boolean): number {
  const cur = env.cur;
  old.hitCount++;
  if ((env.aux.flags[env.insnIdx]! & AUX_JMP_POINT) !== 0) pushJmpHistory(env, 0, 0, 0);
  const err = propagatePrecision(env, old, cur);
  if (err !== 0) return err;
  if (loop) {
    const backedge = env.pool.save(cur);
    backedge.equalState = old;
    backedge.insnIdx = insn;
    const failed = addBackedge(env, old, backedge);
    if (failed !== 0) return failed;
  }
  return 1;
}

/**
 * At a prune point: 1 where an explored state covers the current one, 0 where the walk goes on (and the current state may
 * have been remembered), `-errno` on an endless loop.
 */
export function isStateVisited(env: VerifierEnv, insn: number): number {
  const cur = env.cur;
  const flags = env.aux.flags[insn]!;
  const forceNew = env.testStateFreq || (flags & AUX_FORCE_CHECKPOINT) !== 0 || cur.histCount > 40;
  const jumps = env.jmpsProcessed - env.prevJmpsProcessed, insns = env.insnProcessed - env.prevInsnProcessed;
  let addNew = forceNew || (jumps >= 2 && insns >= 8);

  cleanState(env, cur);

  const { heads, size } = env.explored;
  const bucket = ((insn ^ cur.w[curFrame(cur) + F_CALLSITE]!) >>> 0) % size;
  let previous: VState | undefined;
  let seen = 0;
  for (let old = heads[bucket], next: VState | undefined; old !== undefined; old = next) {
    next = old.next;
    seen++;
    let kept = true;
    if (old.insnIdx === insn) {
      let meeting: number;
      if (old.branches > 0) {
        meeting = meetAncestor(env, old, insn);
        if (meeting < 0) return meeting;
        // the iterations of one loop are all different: few of them are worth remembering
        if (meeting === MISS && !forceNew && jumps < 20 && insns < 100) addNew = false;
      } else {
        const incomplete = hasIncompleteMarks(env, old);
        meeting = statesEqual(env, old, cur, incomplete ? RANGE_WITHIN : NOT_EXACT) ? (incomplete ? LOOP : HIT) : MISS;
      }
      if (meeting !== MISS) return meet(env, old, insn, meeting === LOOP);
      if (addNew) old.missCount++;
      const patience = (flags & AUX_FORCE_CHECKPOINT) !== 0 && old.branches > 0 ? 64 : 3;
      if (old.missCount > old.hitCount * patience + patience) {
        kept = false;
        if (previous === undefined) heads[bucket] = next;
        else previous.next = next;
        old.next = undefined;
        old.inFreeList = true;
        env.freeListSize++;
        env.exploredStatesSize--;
        maybeFree(env, old);
      }
    }
    if (kept) previous = old;
  }
  if (env.maxStatesPerInsn < seen) env.maxStatesPerInsn = seen;
  if ((!env.bpfCapable && seen > COMPLEXITY_LIMIT_STATES) || !addNew) return 0;
  remember(env, insn, bucket);
  return 0;
}

/** Makes the current state a checkpoint and its own child. */
function remember(env: VerifierEnv, insn: number, bucket: number): void {
  const cur = env.cur;
  env.totalStates++;
  env.exploredStatesSize++;
  updatePeakStates(env);
  env.prevJmpsProcessed = env.jmpsProcessed;
  env.prevInsnProcessed = env.insnProcessed;
  if (env.bpfCapable) markAllScalarsImprecise(cur);
  clearSingularIDs(cur);
  const st = env.pool.save(cur);
  st.insnIdx = insn;
  maybeEnterSCC(env, st);
  cur.parent = st;
  cur.firstInsnIdx = insn;
  cur.dfsDepth = st.dfsDepth + 1;
  cur.histCount = 0;
  const { heads } = env.explored;
  st.next = heads[bucket];
  heads[bucket] = st;
}

/** Forgets all checkpoints and loops of the run that ends; the memory goes back to the pool. */
export function freeStates(env: VerifierEnv): void {
  const { heads, size, visits } = env.explored;
  for (let i = 0; i < size; i++) {
    for (let st = heads[i], next: VState | undefined; st !== undefined; st = next) {
      next = st.next;
      st.next = undefined;
      env.pool.free(st);
    }
  }
  for (const list of visits) for (const visit of list ?? []) for (const backedge of visit.backedges) env.pool.free(backedge);
  // the counters run on over all functions of a program, as Linux's do
  env.explored.reset(size);
}
