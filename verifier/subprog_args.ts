/**
 * @module verifier/subprog_args
 * A call's registers against what the called function's BTF says of its arguments (`btf_check_func_arg_match`,
 * `check_outgoing_stack_args`, kernel/bpf/verifier.c).
 */
import { EFAULT, EINVAL } from '../isa/errno.ts';
import { CallMeta } from './call_meta.ts';
import { processDynptrArg } from './dynptr.ts';
import type { VerifierEnv } from './env.ts';
import { prepareFuncArgs } from './func_args.ts';
import { checkArgOffset, checkMemReg, checkRegType } from './helper_args.ts';
import { isDynptrSlicePkt, isPktPointerAny, type RefObj } from './refs.ts';
import { argName, isNull } from './regs.ts';
import * as T from './regtypes.ts';
import { incomingStackArgs, markArgPrecision } from './stack.ts';
import { curFrame, F_OUT_STACK_ARGS, REG_TYPE, regAt, stackArgAt } from './state.ts';
import { subprogName } from './subprogs.ts';

function refuse(env: VerifierEnv, message: string): number {
  env.log.write(`${message}\n`);
  return -EINVAL;
}

/** All on-stack arguments that the callee takes are written; 0 or `-EFAULT`. `nameOf` gives an argument's name. */
export function checkOutgoingStackArgs(env: VerifierEnv, nargs: number, callee: string, nameOf: (arg: number) => string | undefined): number {
  const { w } = env;
  const frame = curFrame(env.cur);
  for (let i = T.MAX_BPF_FUNC_REG_ARGS; i < nargs; i++) {
    const slot = i - T.MAX_BPF_FUNC_REG_ARGS;
    if (slot < w[frame + F_OUT_STACK_ARGS]! && w[stackArgAt(env.cur, frame, slot) + REG_TYPE] !== T.NOT_INIT) continue;
    env.log.write(`callee expects ${nargs} args, stack arg${slot + 1} is not initialized\n`);
    env.diag?.stackArgUninit(env.insnIdx, nargs, slot, callee, nameOf(i));
    return -EFAULT;
  }
  return 0;
}

/** Register of argument `arg` (from 0) of a call in the current frame. */
export function callArgReg(env: VerifierEnv, arg: number): number {
  const frame = curFrame(env.cur);
  return arg < T.MAX_BPF_FUNC_REG_ARGS ? regAt(frame, arg + 1) : stackArgAt(env.cur, frame, arg - T.MAX_BPF_FUNC_REG_ARGS);
}

function checkArg(env: VerifierEnv, subprog: number, index: number, ref: RefObj): number {
  const { w } = env;
  const sub = env.subprogs[subprog]!;
  const arg = sub.args[index]!;
  const argno = -(index + 1);
  const name = argName(argno);
  const reg = callArgReg(env, index);
  const type = w[reg + REG_TYPE]!;
  const base = T.baseType(arg.type);
  if (arg.type === T.ARG_ANYTHING) return type === T.SCALAR_VALUE ? 0 : refuse(env, `${name} is not a scalar`);
  if ((arg.type & T.PTR_UNTRUSTED) !== 0) return 0;
  if (arg.type === T.ARG_PTR_TO_CTX) {
    const error = checkArgOffset(env, reg, argno, T.ARG_PTR_TO_CTX);
    if (error < 0) return error;
    return type === T.PTR_TO_CTX ? 0 : refuse(env, `${name} expects pointer to ctx`);
  }
  if (base === T.ARG_PTR_TO_MEM) {
    const error = checkArgOffset(env, reg, argno, T.ARG_DONTCARE);
    if (error < 0) return error;
    if (checkMemReg(env, reg, argno, arg.memSize, T.BPF_READ | T.BPF_WRITE, undefined) !== 0) return -EINVAL;
    if ((isPktPointerAny(w[reg + REG_TYPE]!) || isDynptrSlicePkt(w[reg + REG_TYPE]!)) && sub.changesPktData) {
      return refuse(env, `${name} is a packet pointer, but func#${subprog} may change packet data`);
    }
    if ((arg.type & T.PTR_MAYBE_NULL) === 0 && (T.typeMayBeNull(w[reg + REG_TYPE]!) || isNull(w, reg))) {
      return refuse(env, `${name} is expected to be non-NULL`);
    }
    return 0;
  }
  if (base === T.ARG_PTR_TO_ARENA) {
    return type === T.PTR_TO_ARENA || type === T.SCALAR_VALUE ? 0 : refuse(env, `${name} is not a pointer to arena or scalar.`);
  }
  if (arg.type === T.ARG_PTR_TO_DYNPTR) {
    const error = checkArgOffset(env, reg, argno, T.ARG_PTR_TO_DYNPTR);
    if (error !== 0) return error;
    return processDynptrArg(env, reg, argno, env.insnIdx, subprogName(env, subprog), arg.type, ref, undefined);
  }
  if (base === T.ARG_PTR_TO_BTF_ID) {
    if (isNull(w, reg) && T.typeMayBeNull(arg.type)) return markArgPrecision(env, argno);
    const error = checkRegType(env, reg, argno, arg.type, arg.btfID, new CallMeta(0, ''), subprogName(env, subprog));
    return error !== 0 ? error : checkArgOffset(env, reg, argno, arg.type);
  }
  env.log.write(`verifier bug: unrecognized ${name} type ${arg.type}\n`);
  return -EFAULT;
}

/** All arguments of a call of `subprog` are what its BTF says; 0 or `-errno`. */
export function checkFuncArgMatch(env: VerifierEnv, subprog: number): number {
  const sub = env.subprogs[subprog]!;
  const callee = subprogName(env, subprog);
  const prepared = prepareFuncArgs(env, subprog);
  if (prepared !== 0) {
    const error = incomingStackArgs(sub.argCount) > 0 ? checkOutgoingStackArgs(env, sub.argCount, callee, () => undefined) : 0;
    return error !== 0 ? error : prepared;
  }
  const btf = env.btf!.btf;
  const proto = btf.type(sub.typeID);
  const error = checkOutgoingStackArgs(env, sub.argCount, callee, (arg) => {
    const name = btf.paramName(proto, arg);
    return name === '' ? undefined : name;
  });
  if (error !== 0) return error;
  const ref: RefObj = { id: 0, parentID: 0, count: 0 };
  for (let i = 0; i < sub.argCount; i++) {
    const refused = checkArg(env, subprog, i, ref);
    if (refused !== 0) return refused;
  }
  return 0;
}
