/**
 * @module verifier/stack_depth
 * The depth of the stack over every chain of calls, private stacks, and what callbacks and tail calls may not be part of
 * (`check_max_stack_depth`, kernel/bpf/verifier.c).
 */
import { E2BIG, EACCES, EFAULT, EINVAL } from '../isa/errno.ts';
import {
  BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_STRUCT_OPS,
  BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER,
} from '../isa/uapi.ts';
import { findSubprog, type VerifierEnv } from './env.ts';
import { isSpecialKfunc } from './kfunc_access.ts';
import { MAX_BPF_STACK, MAX_CALL_FRAMES } from './regtypes.ts';
import { isGlobalSubprog, isPseudoCall, isPseudoFunc, isPseudoKfuncCall } from './subprogs.ts';

const UNKNOWN = 0;
const NO_PRIV_STACK = 1;
const ADAPTIVE = 2;
/** Smallest frame that gets a private stack. */
const PRIV_STACK_MIN_SIZE = 64;

/** Frames are multiples of 16 bytes (compiled programs). */
function rounded(depth: number): number {
  return (depth + 15) & ~15;
}

function privStackMode(env: VerifierEnv): number {
  switch (env.load.type) {
    case BPF_PROG_TYPE_KPROBE: case BPF_PROG_TYPE_TRACEPOINT: case BPF_PROG_TYPE_PERF_EVENT: case BPF_PROG_TYPE_RAW_TRACEPOINT:
      return ADAPTIVE;
    case BPF_PROG_TYPE_TRACING:
      return env.expectedAttachType !== BPF_TRACE_ITER ? ADAPTIVE : NO_PRIV_STACK;
    case BPF_PROG_TYPE_LSM: case BPF_PROG_TYPE_STRUCT_OPS:
      return env.privStackRequested ? ADAPTIVE : NO_PRIV_STACK;
    default:
      return NO_PRIV_STACK;
  }
}

class Walk {
  readonly env: VerifierEnv;
  readonly hasPrivStack: boolean;
  readonly caller: Int32Array;
  readonly returnTo: Int32Array;
  readonly frameOf: Int32Array;
  depth = 0;

  constructor(env: VerifierEnv, hasPrivStack: boolean) {
    this.env = env;
    this.hasPrivStack = hasPrivStack;
    this.caller = env.slab.i32(env.subprogCount);
    this.returnTo = env.slab.i32(env.subprogCount);
    this.frameOf = env.slab.i32(env.subprogCount);
  }

  refuse(message: string, error: number): number {
    this.env.log.write(message);
    return error;
  }

  isInCallback(index: number): boolean {
    for (let i = index; i >= 0; i = this.caller[i]!) if (this.env.subprogs[i]!.isCallback) return true;
    return false;
  }

  /** A function is entered: its frame is added. */
  enter(index: number): number {
    const { env } = this;
    const sub = env.subprogs[index]!;
    if (sub.hasLDAbs && this.isInCallback(index)) return this.refuse('cannot use BPF_LD_[ABS|IND] within callback\n', -EINVAL);
    if (index > 0 && sub.hasTailCall && this.depth >= 256) {
      return this.refuse(`tail_calls are not allowed when call stack of previous frames is ${this.depth} bytes. Too large\n`, -EACCES);
    }
    const own = rounded(sub.stackDepth);
    if (sub.stackArgCount > 0) sub.privStackMode = NO_PRIV_STACK;
    else if (this.hasPrivStack && sub.privStackMode === UNKNOWN && own >= PRIV_STACK_MIN_SIZE) sub.privStackMode = ADAPTIVE;
    if (sub.privStackMode === ADAPTIVE) {
      env.maxStackDepth = Math.max(env.maxStackDepth, own);
      return own > MAX_BPF_STACK ? this.refuse(`stack size of subprog ${index} is ${own}. Too large\n`, -EACCES) : 0;
    }
    this.depth += own;
    env.maxStackDepth = Math.max(env.maxStackDepth, this.depth);
    if (this.depth <= MAX_BPF_STACK) return 0;
    let total = 0;
    for (let i = index; i >= 0; i = this.caller[i]!) total++;
    return this.refuse(`combined stack size of ${total} calls is ${this.depth}. Too large\n`, -EACCES);
  }

  /** The subprogram that instruction `i` enters, -1 for none, or `-errno` below -1. */
  calleeAt(i: number, index: number): number {
    const { env } = this;
    if (isPseudoKfuncCall(env, i) && env.insns.off[i] === 0) {
      if (!isSpecialKfunc(env, env.insns.imm[i]!, 'bpf_throw') || !this.isInCallback(index)) return -1;
      return this.refuse(`bpf_throw kfunc (insn ${i}) cannot be called from callback subprog ${index}\n`, -EINVAL);
    }
    const isCall = isPseudoCall(env, i);
    if (!isCall && !isPseudoFunc(env, i)) return -1;
    const target = i + env.insns.imm[i]! + 1;
    const callee = findSubprog(env, target);
    if (callee < 0) return this.refuse(`verifier bug: callee not found at insn ${target} (sidx < 0)\n`, -EFAULT);
    const sub = env.subprogs[callee]!;
    if (!sub.isAsyncCallback) return callee;
    if (!isCall) return -1;
    return sub.isExceptionCallback ? this.refuse(`insn ${i} cannot call exception cb directly`, -EINVAL) : callee;
  }

  /** A function and all it called are done: what a tail call below means for it and its callers. */
  leave(index: number, tailCallReachable: boolean): number {
    const { env } = this;
    if (tailCallReachable) {
      for (let i = index; i >= 0; i = this.caller[i]!) {
        const sub = env.subprogs[i]!;
        if (sub.isCallback) return this.refuse('cannot tail call within callback\n', -EINVAL);
        if (sub.stackArgCount > 0) return this.refuse('tail_calls are not allowed in programs with stack args\n', -EINVAL);
        sub.tailCallReachable = true;
      }
    } else if (index === 0 && env.subprogs[0]!.hasTailCall && env.subprogs[0]!.stackArgCount > 0) {
      return this.refuse('tail_calls are not allowed in programs with stack args\n', -EINVAL);
    }
    if (env.subprogs[0]!.tailCallReachable) env.tailCallReachable = true;
    return 0;
  }

  run(root: number): number {
    const { env } = this;
    let index = root;
    let frame = 0;
    let tailCallReachable = false;
    let i = env.subprogs[root]!.start;
    this.caller[root] = -1;
    if (!this.hasPrivStack) env.subprogs[root]!.privStackMode = NO_PRIV_STACK;
    let error = this.enter(index);
    while (error === 0) {
      const end = env.subprogEnd(index);
      let callee = -1;
      for (; i < end && callee === -1; i++) callee = this.calleeAt(i, index);
      if (callee < -1) return callee;
      if (callee >= 0) {
        this.frameOf[index] = frame;
        this.returnTo[index] = i;
        this.caller[callee] = index;
        index = callee;
        i = env.subprogs[index]!.start;
        if (!this.hasPrivStack) env.subprogs[index]!.privStackMode = NO_PRIV_STACK;
        tailCallReachable = env.subprogs[index]!.hasTailCall;
        frame = isGlobalSubprog(env, index) ? 0 : frame + 1;
        if (frame >= MAX_CALL_FRAMES) return this.refuse(`the call stack of ${frame} frames is too deep !\n`, -E2BIG);
        error = this.enter(index);
        continue;
      }
      error = this.leave(index, tailCallReachable);
      if (error !== 0 || (frame === 0 && this.caller[index]! < 0)) break;
      if (env.subprogs[index]!.privStackMode !== ADAPTIVE) this.depth -= rounded(env.subprogs[index]!.stackDepth);
      index = this.caller[index]!;
      frame = this.frameOf[index]!;
      i = this.returnTo[index]!;
      tailCallReachable = env.subprogs[index]!.tailCallReachable;
    }
    return error;
  }
}

/** Checks the stack over all chains of calls from the main program and from asynchronous callbacks; 0 or `-errno`. */
export function checkMaxStackDepth(env: VerifierEnv): number {
  let mode = privStackMode(env);
  for (let i = 0; i < env.subprogCount; i++) if (env.subprogs[i]!.hasTailCall) mode = NO_PRIV_STACK;
  for (let i = env.subprogCount - 1; i >= 0; i--) {
    if (i > 0 && !env.subprogs[i]!.isAsyncCallback) continue;
    const error = new Walk(env, i === 0 && mode === ADAPTIVE).run(i);
    if (error < 0) return error;
  }
  return 0;
}
