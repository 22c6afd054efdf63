/**
 * @module verifier/paths
 * The paths still to be explored: states put aside with the instruction at which they go on, last in first out. Also the start
 * of a frame. Reproduces `push_stack`, `pop_stack`, `push_async_cb`, `init_func_state` of kernel/bpf/verifier.c.
 */
import { E2BIG, ENOENT } from '../isa/errno.ts';
import type { VerifierEnv } from './env.ts';
import { markStateScratched } from './print.ts';
import { markKnownZero, markUnknownImprecise } from './regs.ts';
import { MAX_BPF_REG, NOT_INIT, PTR_TO_STACK } from './regtypes.ts';
import {
  F_CALLSITE, F_DIAG_ID, F_FRAMENO, F_INSNS_SUBTOTAL, F_SUBPROG, FRAME_FIXED_WORDS, REG_A, REG_PRECISE, REG_TYPE, regAt, type VState,
} from './state.ts';

/** Most states that wait at one time (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`). */
export const COMPLEXITY_LIMIT_JMP_SEQ = 8192;
/** Call site of a frame that nobody called. */
export const BPF_MAIN_FUNC = -1;

/**
 * Puts a copy of the current state aside, to go on at `insn` as if coming from `previous`. The copy is returned and may be
 * changed; `undefined` with the error in `env.pushError` where there are too many.
 */
export function pushStack(env: VerifierEnv, insn: number, previous: number, speculative: boolean): VState | undefined {
  const st = env.pool.save(env.cur);
  st.queuedInsn = insn;
  st.queuedPrev = previous;
  st.queuedLogPos = env.log.endPos;
  st.queuedDiagPos = env.diag === undefined ? 0 : env.diag.eventLogSave();
  if (speculative) st.speculative = true;
  env.pending.push(st);
  if (env.pending.length > COMPLEXITY_LIMIT_JMP_SEQ) {
    env.log.write(`The sequence of ${env.pending.length} jumps is too complex.\n`);
    env.pushError = -E2BIG;
    return undefined;
  }
  if (st.parent !== undefined) st.parent.branches++;
  return st;
}

/**
 * Takes the state put aside last as the current one and gives its place in `env.insnIdx` and `env.poppedPrevInsn`; `-ENOENT` where
 * none is left. `resetLog` drops what was logged since it was put aside.
 */
export function popStack(env: VerifierEnv, resetLog: boolean): number {
  const st = env.pending.pop();
  if (st === undefined) return -ENOENT;
  env.pool.restore(st);
  env.diag?.eventLogRestore(st.queuedDiagPos);
  if (resetLog) env.log.reset(st.queuedLogPos);
  env.insnIdx = st.queuedInsn;
  env.poppedPrevInsn = st.queuedPrev;
  env.pool.free(st);
  return 0;
}

/** Drops everything that waits. */
export function dropPending(env: VerifierEnv): void {
  for (;;) {
    const st = env.pending.pop();
    if (st === undefined) return;
    env.pool.free(st);
  }
}

/** Words of a frame that just began, by whether numbers that nothing is known of are imprecise. */
const FRESH_FRAMES: readonly [Int32Array, Int32Array] = [freshFrame(1), freshFrame(0)];

function freshFrame(precise: number): Int32Array {
  const w = new Int32Array(FRAME_FIXED_WORDS);
  for (let i = 0; i < MAX_BPF_REG; i++) {
    const reg = regAt(0, i);
    markUnknownImprecise(w, reg);
    w[reg + REG_TYPE] = NOT_INIT;
    w[reg + REG_PRECISE] = precise;
  }
  w[regAt(0, 10) + REG_TYPE] = PTR_TO_STACK;
  markKnownZero(w, regAt(0, 10));
  return w;
}

/** A fresh frame in the current state's place `index`: no register but the frame pointer, no stack. */
export function initFrame(env: VerifierEnv, index: number, callsite: number, subprog: number): number {
  const { w } = env;
  const frame = env.cur.frameAt[index]!;
  w.set(FRESH_FRAMES[env.bpfCapable ? 1 : 0], frame);
  w[frame + F_CALLSITE] = callsite;
  w[frame + F_FRAMENO] = index;
  w[frame + F_SUBPROG] = subprog;
  w[frame + F_DIAG_ID] = env.diag === undefined ? 0 : env.diag.initFrame();
  w[regAt(frame, 10) + REG_A] = index;
  markStateScratched(env);
  return frame;
}

/** Counts the instruction for the frame and its function. */
export function accountInsn(env: VerifierEnv, frame: number): void {
  env.insnProcessed++;
  env.w[frame + F_INSNS_SUBTOTAL]!++;
  env.subprogs[env.w[frame + F_SUBPROG]!]!.insnsSelf++;
}

/** Adds what a frame processed to its function and to its caller's frame (-1 for none). */
export function accountFrame(env: VerifierEnv, frame: number, caller: number): void {
  const { w } = env;
  const insns = w[frame + F_INSNS_SUBTOTAL]!;
  env.subprogs[w[frame + F_SUBPROG]!]!.insnsTotal += insns;
  if (caller >= 0) w[caller + F_INSNS_SUBTOTAL]! += insns;
  w[frame + F_INSNS_SUBTOTAL] = 0;
}

/** At the end of a path: all frames. */
export function accountPath(env: VerifierEnv): void {
  const { frameAt, curframe } = env.cur;
  for (let i = curframe; i >= 0; i--) accountFrame(env, frameAt[i]!, i > 0 ? frameAt[i - 1]! : -1);
}
