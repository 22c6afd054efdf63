/**
 * @module verifier/ptr_off
 * The offset that a pointer must not have where only the object itself will do (`__check_ptr_off_reg`, kernel/bpf/verifier.c).
 */
import { EACCES } from '../isa/errno.ts';
import { DIAG_DEREF_MODIFIED_PTR } from './diagnostics_port.ts';
import type { VerifierEnv } from './env.ts';
import { argName, isVarConst, regOfArg, smin, varText } from './regs.ts';
import { regTypeName } from './regtypes.ts';
import { REG_TYPE, REG_VAR_HI, REG_VAR_LO } from './state.ts';
import { sumText } from './stack.ts';

function refuse(env: VerifierEnv, message: string): number {
  env.log.write(`${message}\n`);
  return -EACCES;
}

/** The pointer has a constant, non-negative offset, and without `fixedOffOK` none at all (`__check_ptr_off_reg`). */
export function checkPtrOff(env: VerifierEnv, reg: number, argno: number, fixedOffOK: boolean): number {
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  if (!isVarConst(w, reg)) return refuse(env, `variable ${regTypeName(type)} access var_off=${varText(w, reg)} disallowed`);
  const lo = w[reg + REG_VAR_LO]!;
  const hi = w[reg + REG_VAR_HI]!;
  if (hi < 0 || smin(w, reg) < 0) return refuse(env, `negative offset ${regTypeName(type)} ptr ${argName(argno)} off=${sumText(lo, hi, 0)} disallowed`);
  if (fixedOffOK || (lo === 0 && hi === 0)) return 0;
  env.log.write(`dereference of modified ${regTypeName(type)} ptr ${argName(argno)} off=${sumText(lo, hi, 0)} disallowed\n`);
  env.diag?.invalidDeref(env.insnIdx, regOfArg(argno), argName(argno), reg, DIAG_DEREF_MODIFIED_PTR, lo, hi);
  return -EACCES;
}
