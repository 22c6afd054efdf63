/**
 * @module verifier/progtypes/retvals
 * What a program may return, by type and attach type. Reproduces `return_retval_range()` and
 * `get_func_retval_range()` of `kernel/bpf/verifier.c` and `bpf_lsm_get_retval_range()` of `kernel/bpf/bpf_lsm.c`.
 */
import type { BTF } from '../../btf/btf.ts';
import * as U from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import { factsOf } from './facts.ts';
import { isBooleanHook } from './lsm_hooks.ts';

/** Least and greatest value, signed; `is32` where only the low 32 bits count. */
export interface ValueRange {
  readonly min: number;
  readonly max: number;
  readonly is32: boolean;
}

const MAX_ERRNO = 4095;
const ZERO: ValueRange = { min: 0, max: 0, is32: false };
const ONE: ValueRange = { min: 1, max: 1, is32: false };
const BOOLEAN: ValueRange = { min: 0, max: 1, is32: false };
const UP_TO_THREE: ValueRange = { min: 0, max: 3, is32: false };

/** Attach types of socket addresses that can only let pass. */
const ALWAYS_PASS: readonly number[] = [
  U.BPF_CGROUP_UDP4_RECVMSG, U.BPF_CGROUP_UDP6_RECVMSG, U.BPF_CGROUP_UNIX_RECVMSG, U.BPF_CGROUP_INET4_GETPEERNAME,
  U.BPF_CGROUP_INET6_GETPEERNAME, U.BPF_CGROUP_UNIX_GETPEERNAME, U.BPF_CGROUP_INET4_GETSOCKNAME, U.BPF_CGROUP_INET6_GETSOCKNAME,
  U.BPF_CGROUP_UNIX_GETSOCKNAME,
];
const OBSERVERS: readonly number[] = [
  U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FSESSION, U.BPF_TRACE_FENTRY_MULTI, U.BPF_TRACE_FEXIT_MULTI, U.BPF_TRACE_FSESSION_MULTI,
];

function targetBTF(env: VerifierEnv): BTF | undefined {
  return env.load.attachProgram === undefined ? env.attachBTF : env.load.attachProgram.btf;
}

/** Type id of what the attach target returns, 0 for nothing, -1 where the target has no prototype. */
export function attachReturnType(env: VerifierEnv): number {
  const btf = targetBTF(env);
  return env.attachFuncProto === 0 || btf === undefined ? -1 : btf.type(env.attachFuncProto);
}

/** Type that a pointer which a struct_ops function returns points at, without modifiers; 0 where it returns none. */
export function structOpsReturnType(env: VerifierEnv): number {
  const type = attachReturnType(env);
  const btf = targetBTF(env);
  if (type <= 0 || btf === undefined) return 0;
  const id = btf.skipModifiers(type);
  return btf.kind(id) === U.BTF_KIND_PTR ? btf.skipModifiers(btf.type(id)) : 0;
}

function targetReturnsVoid(env: VerifierEnv): boolean {
  return attachReturnType(env) === 0;
}

/** The range of values an LSM hook itself gives, for a program that reads them; `undefined` for hooks that return nothing, and for others. */
export function funcRetvalRange(env: VerifierEnv): ValueRange | undefined {
  const facts = factsOf(env);
  if (facts.loadedType !== U.BPF_PROG_TYPE_LSM || facts.expectedAttachType !== U.BPF_LSM_MAC || targetReturnsVoid(env)) return undefined;
  return isBooleanHook(facts.attachName) ? BOOLEAN : { min: -MAX_ERRNO, max: 0, is32: false };
}

function tracingRange(attachType: number): ValueRange | undefined {
  if (OBSERVERS.includes(attachType)) return ZERO;
  return attachType === U.BPF_TRACE_RAW_TP || attachType === U.BPF_MODIFY_RETURN ? undefined : BOOLEAN;
}

function lsmRange(env: VerifierEnv, attachType: number): ValueRange | undefined {
  if (attachType === U.BPF_LSM_CGROUP) return targetReturnsVoid(env) ? ONE : BOOLEAN;
  const range = funcRetvalRange(env);
  return range === undefined ? undefined : { ...range, is32: true };
}

/** The range that the program's return value must lie in; `undefined` where any value will do. */
export function programReturnRange(env: VerifierEnv): ValueRange | undefined {
  const attachType = factsOf(env).expectedAttachType;
  switch (env.resolvedProgType) {
    case U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
      if (ALWAYS_PASS.includes(attachType)) return ONE;
      return attachType === U.BPF_CGROUP_INET4_BIND || attachType === U.BPF_CGROUP_INET6_BIND ? UP_TO_THREE : BOOLEAN;
    case U.BPF_PROG_TYPE_CGROUP_SKB: return attachType === U.BPF_CGROUP_INET_EGRESS ? UP_TO_THREE : BOOLEAN;
    case U.BPF_PROG_TYPE_CGROUP_SOCK:
    case U.BPF_PROG_TYPE_SOCK_OPS:
    case U.BPF_PROG_TYPE_CGROUP_DEVICE:
    case U.BPF_PROG_TYPE_CGROUP_SYSCTL:
    case U.BPF_PROG_TYPE_CGROUP_SOCKOPT:
    case U.BPF_PROG_TYPE_SK_LOOKUP:
    case U.BPF_PROG_TYPE_NETFILTER: return BOOLEAN;
    case U.BPF_PROG_TYPE_RAW_TRACEPOINT: return env.load.attachBTFID === 0 ? undefined : ZERO;
    case U.BPF_PROG_TYPE_TRACING: return tracingRange(attachType);
    case U.BPF_PROG_TYPE_KPROBE:
      return attachType === U.BPF_TRACE_KPROBE_SESSION || attachType === U.BPF_TRACE_UPROBE_SESSION ? BOOLEAN : undefined;
    case U.BPF_PROG_TYPE_LSM: return lsmRange(env, attachType);
    case U.BPF_PROG_TYPE_STRUCT_OPS: return ZERO;
    default: return undefined;
  }
}
