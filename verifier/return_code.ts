/**
 * @module verifier/return_code
 * What a program may return, by its type and attachment, and what a global function may (`check_return_code`,
 * `check_global_subprog_return_code`, kernel/bpf/verifier.c).
 */
import { EACCES, EINVAL } from '../isa/errno.ts';
import {
  BPF_LSM_CGROUP, BPF_PROG_TYPE_EXT, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_STRUCT_OPS,
} from '../isa/uapi.ts';
import { markChainPrecision } from './backtrack.ts';
import type { VerifierEnv } from './env.ts';
import { attachReturnType, programReturnRange, structOpsReturnType } from './ops.ts';
import { checkPtrOff } from './ptr_off.ts';
import { isReferenced } from './refs.ts';
import { checkSource, curReg, isPointerValue } from './regs.ts';
import { subprogReturnsVoid } from './subprogs.ts';
import { isWithin, refuseScalar, type ValueRange } from './value_range.ts';
import { baseType, PTR_TO_ARENA, PTR_TO_BTF_ID, regTypeName, SCALAR_VALUE } from './regtypes.ts';
import { F_FLAGS, F_RET_32BIT, F_RET_MAX, F_RET_MIN, F_SUBPROG, FF_IN_ASYNC_CALLBACK, curFrame, REG_A, REG_B, REG_TYPE } from './state.ts';

/** A program whose result nobody looks at. */
function programReturnsVoid(env: VerifierEnv): boolean {
  switch (env.load.type) {
    case BPF_PROG_TYPE_LSM:
      return env.expectedAttachType !== BPF_LSM_CGROUP && attachReturnType(env) === 0;
    case BPF_PROG_TYPE_STRUCT_OPS:
      return attachReturnType(env) === 0;
    case BPF_PROG_TYPE_EXT:
      return subprogReturnsVoid(env, 0);
    default:
      return false;
  }
}

/** The value in `regno` that the program returns, or throws; 0 or `-errno`. */
export function checkReturnCode(env: VerifierEnv, regno: number, name: string): number {
  const { w } = env;
  const frame = env.cur.frameAt[0]!;
  const reg = curReg(env, regno);
  const isAsync = (w[frame + F_FLAGS]! & FF_IN_ASYNC_CALLBACK) !== 0;
  const type = env.resolvedProgType;
  if (!isAsync && programReturnsVoid(env)) return 0;
  const wantedStruct = type === BPF_PROG_TYPE_STRUCT_OPS ? structOpsReturnType(env) : 0;
  if (wantedStruct !== 0 && baseType(w[reg + REG_TYPE]!) === PTR_TO_BTF_ID && env.btfAt(w[reg + REG_A]!)?.isKernel === true
    && w[reg + REG_B] === wantedStruct && isReferenced(env, reg)) {
    return checkPtrOff(env, reg, regno, false);
  }
  let error = checkSource(env, regno);
  if (error !== 0) return error;
  if (isPointerValue(env, regno)) {
    env.log.write(`R${regno} leaks addr as return value\n`);
    return -EACCES;
  }
  let context = 'At program exit';
  let range: ValueRange | undefined;
  if (isAsync) {
    context = 'At async callback return';
    range = { min: w[frame + F_RET_MIN]!, max: w[frame + F_RET_MAX]!, is32: w[frame + F_RET_32BIT] !== 0 };
  } else {
    if (type === BPF_PROG_TYPE_STRUCT_OPS && wantedStruct === 0) return 0;
    range = programReturnRange(env);
    if (range === undefined) return 0;
  }
  if (w[reg + REG_TYPE] !== SCALAR_VALUE) {
    env.log.write(`${context} the register R${regno} is not a known value (${regTypeName(w[reg + REG_TYPE]!)})\n`);
    return -EINVAL;
  }
  error = markChainPrecision(env, regno);
  if (error !== 0) return error;
  if (isWithin(w, reg, range)) return 0;
  refuseScalar(env, reg, range, context, name);
  if (env.expectedAttachType === BPF_LSM_CGROUP && type === BPF_PROG_TYPE_LSM && attachReturnType(env) === 0) {
    env.log.write("Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!\n");
  }
  return -EINVAL;
}

/** A global function returns a scalar, or nothing. */
export function checkGlobalReturn(env: VerifierEnv): number {
  const { w } = env;
  if (subprogReturnsVoid(env, w[curFrame(env.cur) + F_SUBPROG]!)) return 0;
  const error = checkSource(env, 0);
  if (error !== 0) return error;
  const type = w[curReg(env, 0) + REG_TYPE]!;
  if (type === PTR_TO_ARENA) return 0;
  if (isPointerValue(env, 0)) {
    env.log.write('R0 leaks addr as return value\n');
    return -EACCES;
  }
  if (type === SCALAR_VALUE) return 0;
  env.log.write(`At subprogram exit the register R0 is not a scalar value (${regTypeName(type)})\n`);
  return -EINVAL;
}

