/**
 * @module verifier/func_arg_match
 * What a caller passes to a function with BTF (`btf_check_func_arg_match()`, `kernel/bpf/verifier.c`).
 */
import { EFAULT, EINVAL } from '../isa/errno.ts';
import { CallMeta } from './call_meta.ts';
import { processDynptrArg } from './dynptr.ts';
import type { SubprogArg, VerifierEnv } from './env.ts';
import { prepareFuncArgs } from './func_args.ts';
import { checkArgOffset, checkMemReg, checkRegType } from './helper_args.ts';
import { checkOutgoingStackArgs, funcArgReg } from './kfunc_args.ts';
import { isDynptrSlicePkt, isPktPointerAny } from './refs.ts';
import { argName, isNull } from './regs.ts';
import {
  ARG_ANYTHING, ARG_DONTCARE, ARG_PTR_TO_ARENA, ARG_PTR_TO_BTF_ID, ARG_PTR_TO_CTX, ARG_PTR_TO_DYNPTR, ARG_PTR_TO_MEM, BPF_READ, BPF_WRITE,
  PTR_MAYBE_NULL, PTR_TO_ARENA, PTR_TO_CTX, PTR_UNTRUSTED, SCALAR_VALUE, baseType, typeMayBeNull,
} from './regtypes.ts';
import { markArgPrecision } from './stack.ts';
import { REG_TYPE } from './state.ts';
import { subprogName } from './subprogs.ts';

/** 0 where the registers are what the function's BTF says; `-errno` with a message. */
export function checkFuncArgMatch(env: VerifierEnv, subprog: number): number {
  const sub = env.subprogs[subprog]!;
  const name = subprogName(env, subprog);
  const error = prepareFuncArgs(env, subprog);
  const { btf } = env.btf ?? {};
  const proto = btf === undefined || sub.typeID === 0 ? 0 : btf.type(sub.typeID);
  const nameOf = (i: number): string | undefined => (error === 0 && btf !== undefined ? btf.paramName(proto, i) || undefined : undefined);
  const stack = checkOutgoingStackArgs(env, sub.argCount, name, nameOf);
  if (stack !== 0) return stack;
  if (error !== 0) return error;
  for (let i = 0; i < sub.argCount; i++) {
    const err = checkArg(env, subprog, sub.args[i]!, i, name);
    if (err < 0) return err;
  }
  return 0;
}

function refuse(env: VerifierEnv, message: string, errno: number = EINVAL): number {
  env.log.write(`${message}\n`);
  return -errno;
}

function checkArg(env: VerifierEnv, subprog: number, arg: SubprogArg, index: number, name: string): number {
  const reg = funcArgReg(env, index), argno = -(index + 1);
  const type = env.w[reg + REG_TYPE]!;
  const who = argName(argno);
  if (arg.type === ARG_ANYTHING) return type === SCALAR_VALUE ? 0 : refuse(env, `${who} is not a scalar`);
  // untrusted arguments are only read, with loads that survive faults
  if ((arg.type & PTR_UNTRUSTED) !== 0) return 0;
  if (arg.type === ARG_PTR_TO_CTX) {
    const err = checkArgOffset(env, reg, argno, ARG_PTR_TO_CTX);
    if (err < 0) return err;
    return type === PTR_TO_CTX ? 0 : refuse(env, `${who} expects pointer to ctx`);
  }
  switch (baseType(arg.type)) {
    case ARG_PTR_TO_MEM:
      return checkMemory(env, subprog, arg, reg, argno);
    case ARG_PTR_TO_ARENA:
      return type === PTR_TO_ARENA || type === SCALAR_VALUE ? 0 : refuse(env, `${who} is not a pointer to arena or scalar.`);
    case ARG_PTR_TO_DYNPTR: {
      const err = checkArgOffset(env, reg, argno, ARG_PTR_TO_DYNPTR);
      return err !== 0 ? err : processDynptrArg(env, reg, argno, env.insnIdx, name, arg.type, { id: 0, parentID: 0, count: 0 }, undefined);
    }
    case ARG_PTR_TO_BTF_ID: {
      if (isNull(env.w, reg) && typeMayBeNull(arg.type)) return markArgPrecision(env, argno);
      const err = checkRegType(env, reg, argno, arg.type, arg.btfID, new CallMeta(0, name), name);
      return err !== 0 ? err : checkArgOffset(env, reg, argno, arg.type);
    }
    default:
      return refuse(env, `verifier bug: unrecognized ${who} type ${arg.type}`, EFAULT);
  }
}

function checkMemory(env: VerifierEnv, subprog: number, arg: SubprogArg, reg: number, argno: number): number {
  const type = env.w[reg + REG_TYPE]!;
  const err = checkArgOffset(env, reg, argno, ARG_DONTCARE);
  if (err < 0) return err;
  if (checkMemReg(env, reg, argno, arg.memSize, BPF_READ | BPF_WRITE, undefined) !== 0) return -EINVAL;
  if ((isPktPointerAny(type) || isDynptrSlicePkt(type)) && env.subprogs[subprog]!.changesPktData) {
    return refuse(env, `${argName(argno)} is a packet pointer, but func#${subprog} may change packet data`);
  }
  if ((arg.type & PTR_MAYBE_NULL) === 0 && (typeMayBeNull(type) || isNull(env.w, reg))) {
    return refuse(env, `${argName(argno)} is expected to be non-NULL`);
  }
  return 0;
}
