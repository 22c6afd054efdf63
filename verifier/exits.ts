/**
 * @module verifier/exits
 * Exits of a function, of the program, and by exception (`process_bpf_exit_full`, kernel/bpf/verifier.c).
 */
import type { VerifierEnv } from './env.ts';
import { prepareFuncExit } from './func_exit.ts';
import { checkResourceLeak } from './refs.ts';
import { checkGlobalReturn, checkReturnCode } from './return_code.ts';
import { curFrame, F_FLAGS, F_SUBPROG, FF_IN_ASYNC_CALLBACK, FF_IN_EXCEPTION_CALLBACK } from './state.ts';

/** What an instruction leads to besides 0 (go on behind it) and `-errno`. */
export const PATH_ENDS = 1;
export const INDEX_SET = 2;

/** An exit of a function, of the program, or an exception. */
export function processExit(env: VerifierEnv, isException: boolean): number {
  const st = env.cur;
  const { w } = env;
  const error = checkResourceLeak(
    env, isException, isException || st.curframe === 0, isException ? 'bpf_throw' : 'BPF_EXIT instruction in main prog',
  );
  if (error !== 0) return error;
  if (isException) return PATH_ENDS;
  if (st.curframe > 0) {
    const left = prepareFuncExit(env);
    if (left !== 0) return left;
    env.printNextState = true;
    return INDEX_SET;
  }
  const frame = curFrame(st);
  const flags = w[frame + F_FLAGS]!;
  const isGlobal = w[frame + F_SUBPROG] !== 0 && (flags & (FF_IN_ASYNC_CALLBACK | FF_IN_EXCEPTION_CALLBACK)) === 0;
  const refused = isGlobal ? checkGlobalReturn(env) : checkReturnCode(env, 0, 'R0');
  return refused !== 0 ? refused : PATH_ENDS;
}
