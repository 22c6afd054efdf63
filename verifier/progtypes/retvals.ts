/**
 * @module verifier/progtypes/retvals
 * What a program may return, by type and attach type. Reproduces `return_retval_range()`, `program_returns_void()` and
 * `get_func_retval_range()` of `kernel/bpf/verifier.c` and `bpf_lsm_get_retval_range()` of `kernel/bpf/bpf_lsm.c`.
 */
import * as U from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import { factsOf } from './facts.ts';
import { isBooleanHook } from './lsm_hooks.ts';

/** Least and greatest value, signed; `return32` where only the low 32 bits count. */
export interface ReturnRange {
  readonly min: number;
  readonly max: number;
  readonly return32: boolean;
}

const MAX_ERRNO = 4095;
const ZERO: ReturnRange = { min: 0, max: 0, return32: false };
const ONE: ReturnRange = { min: 1, max: 1, return32: false };
const BOOLEAN: ReturnRange = { min: 0, max: 1, return32: false };
const UP_TO_THREE: ReturnRange = { min: 0, max: 3, return32: false };

/** Attach types of socket addresses that can only let pass. */
const ALWAYS_PASS: readonly number[] = [
  U.BPF_CGROUP_UDP4_RECVMSG, U.BPF_CGROUP_UDP6_RECVMSG, U.BPF_CGROUP_UNIX_RECVMSG, U.BPF_CGROUP_INET4_GETPEERNAME,
  U.BPF_CGROUP_INET6_GETPEERNAME, U.BPF_CGROUP_UNIX_GETPEERNAME, U.BPF_CGROUP_INET4_GETSOCKNAME, U.BPF_CGROUP_INET6_GETSOCKNAME,
  U.BPF_CGROUP_UNIX_GETSOCKNAME,
];
const OBSERVERS: readonly number[] = [
  U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FSESSION, U.BPF_TRACE_FENTRY_MULTI, U.BPF_TRACE_FEXIT_MULTI, U.BPF_TRACE_FSESSION_MULTI,
];

/** True where the attach target returns nothing. */
function targetReturnsVoid(env: VerifierEnv): boolean {
  const btf = env.load.attachProgram === undefined ? env.attachBTF : env.load.attachProgram.btf;
  return env.attachFuncProto !== 0 && btf !== undefined && btf.type(env.attachFuncProto) === 0;
}

/** The range of values an LSM hook itself gives, for a program that reads them; `undefined` for hooks that return nothing, and for others. */
export function funcRetvalRange(env: VerifierEnv): ReturnRange | undefined {
  const facts = factsOf(env);
  if (facts.loadedType !== U.BPF_PROG_TYPE_LSM || facts.expectedAttachType !== U.BPF_LSM_MAC || targetReturnsVoid(env)) return undefined;
  return isBooleanHook(facts.attachName) ? BOOLEAN : { min: -MAX_ERRNO, max: 0, return32: false };
}

function tracingRange(attachType: number): ReturnRange | undefined {
  if (OBSERVERS.includes(attachType)) return ZERO;
  return attachType === U.BPF_TRACE_RAW_TP || attachType === U.BPF_MODIFY_RETURN ? undefined : BOOLEAN;
}

function lsmRange(env: VerifierEnv, attachType: number): ReturnRange | undefined {
  if (attachType === U.BPF_LSM_CGROUP) return targetReturnsVoid(env) ? ONE : BOOLEAN;
  const range = funcRetvalRange(env);
  return range === undefined ? undefined : { ...range, return32: true };
}

/** The range that the program's return value must lie in; `undefined` where any value will do. */
export function returnRange(env: VerifierEnv): ReturnRange | undefined {
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

/** True where the program returns nothing, so that R0 does not matter; of an extension this is its own BTF's to say. */
export function programReturnsVoid(env: VerifierEnv): boolean {
  const facts = factsOf(env);
  if (facts.loadedType === U.BPF_PROG_TYPE_LSM) return facts.expectedAttachType !== U.BPF_LSM_CGROUP && targetReturnsVoid(env);
  return facts.loadedType === U.BPF_PROG_TYPE_STRUCT_OPS && targetReturnsVoid(env);
}

/** Return values (least, greatest) that, all possible ones lying in them, bind an egress program to its attach type. */
export const EGRESS_CONGESTION_RANGE: ReturnRange = { min: 2, max: 3, return32: false };
