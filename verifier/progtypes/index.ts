/**
 * @module verifier/progtypes
 * What the checks ask about a program's type: the helpers it may call, how it may access its context, what it may return. The
 * front of the tables in this folder; the shapes are in `../ops_types.ts`.
 */
import * as U from '../../isa/uapi.ts';
import type { Instruction } from '../../isa/decode.ts';
import type { VerifierEnv } from '../env.ts';
import type { AccessInfo, HelperProto } from '../ops_types.ts';
import { BPF_WRITE, PTR_TO_BTF_ID, PTR_TO_SOCK_COMMON, PTR_TO_SOCKET, PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK, PTR_TRUSTED } from '../regtypes.ts';
import { btfContextAccess, hookContextAccess, structOpsContextAccess } from './btf_ctx.ts';
import {
  CONTEXT_RULES, NETFILTER_STRUCTS, sockAccess, sockCommonAccess, tcpSockAccess, xdpSockAccess, type ContextRule,
} from './ctx_access.ts';
import { convertAccess, hasConversion } from './ctx_convert.ts';
import { fieldAt, NF_CTX, offsetOf, SK_BUFF } from './ctx_layouts.ts';
import { factsOf } from './facts.ts';
import { findProto, isForbidden, type ProgramFacts } from './funcs.ts';
import { kernelLayout, type KernelLayout } from './kernel_layout.ts';
import { packetLoad, prologueOf } from './prologue.ts';

export { contextArguments } from './ctx_args.ts';
export { attachReturnType, funcRetvalRange, programReturnRange, structOpsReturnType, type ValueRange } from './retvals.ts';

/** By number: what {@link getHelperProto} found for programs of which {@link protosOf} is true; `null` for none. */
let protos: (HelperProto | null | undefined)[] = [];
let protosOf: ProgramFacts | undefined;

/**
 * The prototype of a helper for this program; `undefined` where programs like it may not call it, or where there is no such
 * helper. `isForbidden` is set where the prototype has a rule of its own that excludes the program.
 */
export function getHelperProto(env: VerifierEnv, id: number): HelperProto | undefined {
  // an extension has its target's operations from where the target was checked, none before
  if (env.opsType === U.BPF_PROG_TYPE_EXT) return undefined;
  const facts = factsOf(env);
  if (facts !== protosOf) {
    protos = [];
    protosOf = facts;
  }
  if (id < 0 || id >= U.HELPER_NAMES.length) return undefined;
  const known = protos[id];
  if (known !== undefined) return known ?? undefined;
  const found = findProto(id, facts);
  const proto = found !== undefined && isForbidden(found, facts) ? { ...found, isForbidden: true } : found;
  protos[id] = proto ?? null;
  return proto;
}

/**
 * True where the program may access `size` bytes at `off` of its context. `info` tells what a load gives; the caller has reset it.
 * Messages about a context described by BTF go to the log, the final refusal is the caller's.
 */
export function isValidAccess(env: VerifierEnv, off: number, size: number, type: number, info: AccessInfo): boolean {
  switch (env.resolvedProgType) {
    case U.BPF_PROG_TYPE_TRACING: return btfContextAccess(env, off, size, type, info);
    case U.BPF_PROG_TYPE_LSM: return hookContextAccess(env, off, size, info);
    case U.BPF_PROG_TYPE_STRUCT_OPS: return structOpsContextAccess(env, off, size, type, info);
    default: {
      const rule = CONTEXT_RULES.get(env.resolvedProgType);
      const facts = factsOf(env);
      if (rule === undefined || !rule({ off, size, isWrite: type === BPF_WRITE, info, facts })) return false;
      if (isTimestampType(env, off)) env.readsTimestampType = true;
      return env.resolvedProgType !== U.BPF_PROG_TYPE_NETFILTER || pointsToKernelStruct(env, off, info);
    }
  }
}

function pointsToKernelStruct(env: VerifierEnv, off: number, info: AccessInfo): boolean {
  const kernel = env.ext.kernelBTF();
  const name = NETFILTER_STRUCTS[fieldAt(NF_CTX, off)];
  const id = kernel === undefined || name === undefined ? 0 : kernel.btf.findByNameKind(name, U.BTF_KIND_STRUCT);
  if (kernel === undefined || id <= 0) return false;
  info.regType = PTR_TO_BTF_ID | PTR_TRUSTED;
  info.btfID = id;
  info.btfIndex = env.btfIndexOf(kernel);
  return true;
}

const SOCKET_RULES: ReadonlyMap<number, ContextRule> = new Map([
  [PTR_TO_SOCK_COMMON, sockCommonAccess], [PTR_TO_SOCKET, sockAccess], [PTR_TO_TCP_SOCK, tcpSockAccess], [PTR_TO_XDP_SOCK, xdpSockAccess],
]);

/** The same for what a pointer to a socket of kind `regType` points at. */
export function sockIsValidAccess(env: VerifierEnv, regType: number, off: number, size: number, type: number, info: AccessInfo): boolean {
  return SOCKET_RULES.get(regType)?.({ off, size, isWrite: type === BPF_WRITE, info, facts: factsOf(env) }) ?? false;
}

const CONVERTING: ReadonlySet<number> = new Set([
  U.BPF_PROG_TYPE_SOCKET_FILTER, U.BPF_PROG_TYPE_SCHED_CLS, U.BPF_PROG_TYPE_SCHED_ACT, U.BPF_PROG_TYPE_XDP, U.BPF_PROG_TYPE_CGROUP_SKB,
  U.BPF_PROG_TYPE_CGROUP_SOCK, U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, U.BPF_PROG_TYPE_LWT_IN, U.BPF_PROG_TYPE_LWT_OUT, U.BPF_PROG_TYPE_LWT_XMIT,
  U.BPF_PROG_TYPE_LWT_SEG6LOCAL, U.BPF_PROG_TYPE_SOCK_OPS, U.BPF_PROG_TYPE_SK_SKB, U.BPF_PROG_TYPE_SK_MSG, U.BPF_PROG_TYPE_FLOW_DISSECTOR,
  U.BPF_PROG_TYPE_SK_REUSEPORT, U.BPF_PROG_TYPE_SK_LOOKUP, U.BPF_PROG_TYPE_CGROUP_SYSCTL, U.BPF_PROG_TYPE_CGROUP_SOCKOPT,
  U.BPF_PROG_TYPE_PERF_EVENT,
]);

/** True for programs whose context accesses are rewritten, so that the context pointer must come unmodified (`convert_ctx_access`). */
export function convertsCtxAccess(env: VerifierEnv): boolean {
  return CONVERTING.has(env.resolvedProgType);
}

/** True for programs that may use the classic packet loads (`may_access_skb`). */
export function mayAccessSkb(progType: number): boolean {
  return progType === U.BPF_PROG_TYPE_SOCKET_FILTER || progType === U.BPF_PROG_TYPE_SCHED_CLS || progType === U.BPF_PROG_TYPE_SCHED_ACT;
}

function isTimestampType(env: VerifierEnv, off: number): boolean {
  const type = env.resolvedProgType;
  return off === offsetOf(SK_BUFF, 'tstamp_type') && (type === U.BPF_PROG_TYPE_SCHED_CLS || type === U.BPF_PROG_TYPE_SCHED_ACT);
}

function layoutOf(env: VerifierEnv): KernelLayout | undefined {
  const kernel = env.ext.kernelBTF();
  return kernel === undefined ? undefined : kernelLayout(kernel.btf);
}

/** False where accesses through such a pointer stay as they are, whatever they access: what {@link convertCtxAccess} would find. */
export function isConverted(env: VerifierEnv, ptrType: number): boolean {
  return hasConversion(env.resolvedProgType, ptrType);
}

/**
 * The instructions that replace an accepted access to the context or to a socket, narrowing and sign extension included;
 * `undefined` where it stays as it is (no conversion for this pointer, or a kernel without BTF); empty where none is known, which
 * Linux answers with "verifier bug: error during ctx access conversion (0)" and EFAULT.
 * @param ptrType kind of the pointer (`env.aux.ptrType`)
 * @param ctxFieldSize as noted when the access was checked (`env.aux.ctxFieldSize`)
 */
export function convertCtxAccess(env: VerifierEnv, ptrType: number, insn: Instruction, ctxFieldSize: number): readonly Instruction[] | undefined {
  const kernel = layoutOf(env);
  if (kernel === undefined) return undefined;
  return convertAccess({ kernel, progType: env.resolvedProgType, knowsTimestampType: env.readsTimestampType }, ptrType, insn, ctxFieldSize);
}

/** What replaces the program's first instruction where the program writes into its packet; empty for nothing (`gen_prologue`). */
export function genPrologue(env: VerifierEnv, directWrite: boolean, first: Instruction): readonly Instruction[] {
  const kernel = layoutOf(env);
  return kernel === undefined ? [] : prologueOf(kernel, env.resolvedProgType, directWrite, first);
}

/** What replaces a classic packet load (`gen_ld_abs`); `callImmediate` gives `imm` of a call of the kernel function of that name. */
export function genLdAbs(insn: Instruction, callImmediate: (name: string) => number): readonly Instruction[] {
  return packetLoad(insn, callImmediate);
}
