/**
 * @module verifier/caller_saved
 * What a call takes from its caller: registers 0 to 5 and the arguments on the stack.
 */
import { DIAG_MOD_CALLER_SAVED } from './diagnostics_port.ts';
import type { VerifierEnv } from './env.ts';
import { markNotInit } from './regs.ts';
import { CALLER_SAVED_REGS } from './regtypes.ts';
import { F_OUT_STACK_ARGS, regAt, stackArgAt } from './state.ts';

/** Registers 0 to 5 are lost over a call. */
export function clearCallerSaved(env: VerifierEnv, frame: number): void {
  for (let i = 0; i < CALLER_SAVED_REGS; i++) {
    markNotInit(env, env.w, regAt(frame, i));
    env.scratchedRegs |= 1 << i;
  }
}

/** Registers 1 to 5 end, as the diagnostics see it, and 0 to 5 are lost. */
export function scrubCallerSaved(env: VerifierEnv, frame: number): void {
  if (env.diag !== undefined) for (let i = 1; i <= 5; i++) env.diag.recordScrub(regAt(frame, i), DIAG_MOD_CALLER_SAVED);
  clearCallerSaved(env, frame);
}

/** Arguments on the stack are lost over a call. */
export function invalidateOutgoingStackArgs(env: VerifierEnv, frame: number): void {
  const n = env.w[frame + F_OUT_STACK_ARGS]!;
  for (let i = 0; i < n; i++) {
    const reg = stackArgAt(env.cur, frame, i);
    env.diag?.recordScrub(reg, DIAG_MOD_CALLER_SAVED);
    markNotInit(env, env.w, reg);
  }
}
