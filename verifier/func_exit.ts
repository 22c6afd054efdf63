/**
 * @module verifier/func_exit
 * Returns from a called function or callback into the frame below (`prepare_func_exit`, kernel/bpf/verifier.c).
 */
import { EACCES, EFAULT, EINVAL } from '../isa/errno.ts';
import { markChainPrecision } from './backtrack.ts';
import { invalidateOutgoingStackArgs } from './caller_saved.ts';
import { DIAG_MOD_WRITE } from './diagnostics_port.ts';
import { AUX_CALLS_CALLBACK, type VerifierEnv } from './env.ts';
import { accountFrame } from './paths.ts';
import { printVerifierState } from './print.ts';
import { PTR_TO_STACK, SCALAR_VALUE } from './regtypes.ts';
import {
  copyReg, curFrame, F_CALLSITE, F_FLAGS, F_FRAMENO, F_RET_32BIT, F_RET_MAX, F_RET_MIN, FF_IN_CALLBACK, REG_TYPE, regAt,
} from './state.ts';
import { isWithin, refuseScalar } from './value_range.ts';
import { findPreviousEntry, widenImpreciseScalars } from './widen.ts';

/** A return from a called function or callback into the frame below; sets `env.insnIdx`. 0 or `-errno`. */
export function prepareFuncExit(env: VerifierEnv): number {
  const { w } = env;
  const st = env.cur;
  const callee = curFrame(st);
  const caller = st.frameAt[st.curframe - 1]!;
  const r0 = regAt(callee, 0);
  if (w[r0 + REG_TYPE] === PTR_TO_STACK) {
    env.log.write('cannot return stack pointer to the caller\n');
    return -EINVAL;
  }
  const isCallback = (w[callee + F_FLAGS]! & FF_IN_CALLBACK) !== 0;
  const callsite = w[callee + F_CALLSITE]!;
  if (isCallback) {
    if (w[r0 + REG_TYPE] !== SCALAR_VALUE) {
      env.log.write('R0 not a scalar value\n');
      return -EACCES;
    }
    const error = markChainPrecision(env, 0);
    if (error !== 0) return error;
    const range = { min: w[callee + F_RET_MIN]!, max: w[callee + F_RET_MAX]!, is32: w[callee + F_RET_32BIT] !== 0 };
    if (!isWithin(w, r0, range)) return refuseScalar(env, r0, range, 'At callback return', 'R0');
    if ((env.aux.flags[callsite]! & AUX_CALLS_CALLBACK) === 0) {
      env.log.write(`verifier bug: in callback at ${env.insnIdx}, callsite ${callsite} !calls_callback\n`);
      return -EFAULT;
    }
  } else {
    env.diag?.modBegin(regAt(caller, 0), r0, DIAG_MOD_WRITE);
    copyReg(w, regAt(caller, 0), w, r0);
    env.diag?.modEnd();
  }
  env.insnIdx = isCallback ? callsite : callsite + 1;
  if (env.log.verbose) {
    env.log.write('returning from callee:\n');
    printVerifierState(env, st, w[callee + F_FRAMENO]!, true);
    env.log.write(`to caller at ${env.insnIdx}:\n`);
    printVerifierState(env, st, w[caller + F_FRAMENO]!, true);
  }
  accountFrame(env, callee, caller);
  st.curframe--;
  invalidateOutgoingStackArgs(env, caller);
  const previous = isCallback ? findPreviousEntry(env, st, env.insnIdx) : undefined;
  if (previous !== undefined) widenImpreciseScalars(env, previous, st);
  return 0;
}
