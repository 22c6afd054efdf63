/**
 * @module verifier/call_diag
 * Reports about a call's argument, with the argument named the way the reports want it (`bpf_diag_call_arg`).
 */
import type { VerifierEnv } from './env.ts';
import { argName, regOfArg } from './regs.ts';
import { MAX_BPF_FUNC_REG_ARGS } from './regtypes.ts';

/** Reports argument `argno` of a call. */
export function diagCallArg(env: VerifierEnv, insn: number, argno: number, callName: string, reason: string, suggestion: string): void {
  if (env.diag === undefined) return;
  const regno = regOfArg(argno);
  const arg = argno < 0 ? -argno : regno >= 1 && regno <= 5 ? regno : -1;
  const slot = arg > MAX_BPF_FUNC_REG_ARGS ? arg - MAX_BPF_FUNC_REG_ARGS - 1 : -1;
  env.diag.callType(insn, arg, regno, slot, callName === '' ? 'call' : callName, argName(argno), reason, suggestion);
}
