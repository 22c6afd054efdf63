/**
 * @module verifier/kfunc_access
 * Which kernel functions a program may call, by the sets of its type's hook and their filters, and comparisons with known functions.
 * Reproduces `btf_kfunc_flags` and `btf_kfunc_is_allowed` of kernel/bpf/btf.c. The sets themselves are facts of kfunc_sets.ts.
 */
import type { BTF } from '../btf/btf.ts';
import {
  BPF_PROG_TYPE_CGROUP_DEVICE, BPF_PROG_TYPE_CGROUP_SKB, BPF_PROG_TYPE_CGROUP_SOCK, BPF_PROG_TYPE_CGROUP_SOCKOPT,
  BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_PROG_TYPE_CGROUP_SYSCTL, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_LWT_IN,
  BPF_PROG_TYPE_LWT_OUT, BPF_PROG_TYPE_LWT_SEG6LOCAL, BPF_PROG_TYPE_LWT_XMIT, BPF_PROG_TYPE_NETFILTER, BPF_PROG_TYPE_PERF_EVENT,
  BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_SCHED_ACT, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SK_SKB, BPF_PROG_TYPE_SOCKET_FILTER,
  BPF_PROG_TYPE_SOCK_OPS, BPF_PROG_TYPE_STRUCT_OPS, BPF_PROG_TYPE_SYSCALL, BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_TRACING,
  BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_XDP, BPF_TRACE_FSESSION, BPF_TRACE_FSESSION_MULTI, BPF_TRACE_ITER, BPF_TRACE_KPROBE_SESSION,
  BPF_TRACE_UPROBE_SESSION, BTF_KIND_FUNC,
} from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { KF_IMPLICIT_ARGS, KFUNC_SETS, type KfuncFilter, type KfuncHook } from './kfunc_sets.ts';

const flagsByHook = new Map<KfuncHook, Map<string, number>>();
for (const set of KFUNC_SETS) {
  for (const hook of set.hooks) {
    const flags = flagsByHook.get(hook) ?? new Map<string, number>();
    for (const [name, bits] of set.kfuncs) if (!flags.has(name)) flags.set(name, bits);
    flagsByHook.set(hook, flags);
  }
}
const filteredSets = KFUNC_SETS.filter((set) => set.filter !== undefined)
  .map((set) => ({ hooks: set.hooks, filter: set.filter as KfuncFilter, names: new Set(set.kfuncs.map(([name]) => name)) }));

/** The hook of a program type, `undefined` for types without kernel functions of their own (`bpf_prog_type_to_kfunc_hook`). */
function kfuncHookOf(progType: number): KfuncHook | undefined {
  switch (progType) {
    case BPF_PROG_TYPE_UNSPEC: return 'common';
    case BPF_PROG_TYPE_XDP: return 'xdp';
    case BPF_PROG_TYPE_SCHED_CLS: return 'tc';
    case BPF_PROG_TYPE_STRUCT_OPS: return 'structOps';
    case BPF_PROG_TYPE_TRACING: case BPF_PROG_TYPE_TRACEPOINT: case BPF_PROG_TYPE_RAW_TRACEPOINT: case BPF_PROG_TYPE_PERF_EVENT:
    case BPF_PROG_TYPE_LSM:
      return 'tracing';
    case BPF_PROG_TYPE_SYSCALL: return 'syscall';
    case BPF_PROG_TYPE_CGROUP_SKB: case BPF_PROG_TYPE_CGROUP_SOCK: case BPF_PROG_TYPE_CGROUP_DEVICE: case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
    case BPF_PROG_TYPE_CGROUP_SOCKOPT: case BPF_PROG_TYPE_CGROUP_SYSCTL: case BPF_PROG_TYPE_SOCK_OPS:
      return 'cgroup';
    case BPF_PROG_TYPE_SCHED_ACT: return 'schedAct';
    case BPF_PROG_TYPE_SK_SKB: return 'skSkb';
    case BPF_PROG_TYPE_SOCKET_FILTER: return 'socketFilter';
    case BPF_PROG_TYPE_LWT_OUT: case BPF_PROG_TYPE_LWT_IN: case BPF_PROG_TYPE_LWT_XMIT: case BPF_PROG_TYPE_LWT_SEG6LOCAL:
      return 'lwt';
    case BPF_PROG_TYPE_NETFILTER: return 'netfilter';
    case BPF_PROG_TYPE_KPROBE: return 'kprobe';
    default: return undefined;
  }
}

/** Functions of the qdisc set by the operations that may call them. */
const QDISC_COMMON: ReadonlySet<string> = new Set(['bpf_skb_get_hash', 'bpf_kfree_skb', 'bpf_dynptr_from_skb']);
const QDISC_BY_OPERATION: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['enqueue', new Set(['bpf_qdisc_skb_drop', 'bpf_qdisc_watchdog_schedule'])],
  ['dequeue', new Set(['bpf_qdisc_watchdog_schedule', 'bpf_qdisc_bstats_update'])],
]);

/** The struct_ops type and member that a program implements. */
function structOpsOf(env: VerifierEnv): { readonly type: string; readonly member: string } {
  const kernel = env.ext.kernelBTF()?.btf;
  const id = env.load.attachBTFID;
  if (env.load.type !== BPF_PROG_TYPE_STRUCT_OPS || kernel === undefined || id === 0) return { type: '', member: '' };
  return { type: kernel.typeName(id), member: kernel.isStructOrUnion(id) ? kernel.memberName(id, env.load.expectedAttachType) : '' };
}

function isRefusedBy(filter: KfuncFilter, env: VerifierEnv, name: string): boolean {
  const { type, expectedAttachType } = env.load;
  switch (filter) {
    case 'fs': case 'fsverity':
      return type !== BPF_PROG_TYPE_LSM;
    case 'session': {
      const isKprobe = type === BPF_PROG_TYPE_KPROBE
        && (expectedAttachType === BPF_TRACE_KPROBE_SESSION || expectedAttachType === BPF_TRACE_UPROBE_SESSION);
      const isTracing = type === BPF_PROG_TYPE_TRACING
        && (expectedAttachType === BPF_TRACE_FSESSION || expectedAttachType === BPF_TRACE_FSESSION_MULTI);
      return !isKprobe && !isTracing;
    }
    case 'ksock': {
      if (type === BPF_PROG_TYPE_SYSCALL) return false;
      const sendmsg = env.ext.kernelBTF()?.btf.findByNameKind('bpf_lsm_socket_sendmsg', BTF_KIND_FUNC) ?? 0;
      return type !== BPF_PROG_TYPE_LSM || env.load.attachBTFID === sendmsg;
    }
    case 'tracingIter':
      return expectedAttachType !== BPF_TRACE_ITER;
    case 'qdisc': {
      const ops = structOpsOf(env);
      if (ops.type !== 'Qdisc_ops') return true;
      return !QDISC_COMMON.has(name) && QDISC_BY_OPERATION.get(ops.member)?.has(name) !== true;
    }
  }
}

function isAllowedAt(env: VerifierEnv, hook: KfuncHook, name: string): boolean {
  if (flagsByHook.get(hook)?.has(name) !== true) return false;
  return !filteredSets.some((set) => set.hooks.includes(hook) && set.names.has(name) && isRefusedBy(set.filter, env, name));
}

function kfuncNameOf(env: VerifierEnv, btfIndex: number, funcID: number): string | undefined {
  const descriptor = env.btfTable[btfIndex];
  if (descriptor === undefined || !descriptor.isKernel || descriptor.btf.kind(funcID) !== BTF_KIND_FUNC) return undefined;
  return descriptor.btf.typeName(funcID);
}

/** Flags of a kernel function for the program's type, -1 where it is in none of its sets (`btf_kfunc_flags`). */
export function kfuncFlags(env: VerifierEnv, btfIndex: number, funcID: number): number {
  const name = kfuncNameOf(env, btfIndex, funcID);
  if (name === undefined) return -1;
  const common = flagsByHook.get('common')?.get(name);
  if (common !== undefined) return common;
  const hook = kfuncHookOf(env.resolvedProgType);
  return hook === undefined ? -1 : (flagsByHook.get(hook)?.get(name) ?? -1);
}

/** True where sets and filters let the program call the function (`btf_kfunc_is_allowed`). */
export function isKfuncAllowed(env: VerifierEnv, btfIndex: number, funcID: number): boolean {
  const name = kfuncNameOf(env, btfIndex, funcID);
  if (name === undefined) return false;
  if (isAllowedAt(env, 'common', name)) return true;
  const hook = kfuncHookOf(env.resolvedProgType);
  return hook !== undefined && isAllowedAt(env, hook, name);
}


/** True for a kernel function that takes arguments which programs do not pass, whichever kind of program may call it. */
export function hasImplicitArguments(name: string): boolean {
  for (const flags of flagsByHook.values()) if (((flags.get(name) ?? 0) & KF_IMPLICIT_ARGS) !== 0) return true;
  return false;
}

const idsByName = new WeakMap<BTF, Map<string, number>>();

/** Id of a function in the kernel's own BTF, 0 where the kernel lacks it: for comparisons with known functions. */
function specialKfunc(env: VerifierEnv, name: string): number {
  const kernel = env.ext.kernelBTF()?.btf;
  if (kernel === undefined) return 0;
  let ids = idsByName.get(kernel);
  if (ids === undefined) {
    ids = new Map();
    idsByName.set(kernel, ids);
  }
  let id = ids.get(name);
  if (id === undefined) {
    id = kernel.findByNameKind(name, BTF_KIND_FUNC);
    ids.set(name, id);
  }
  return id;
}

/** True where the function is one of these, in the kernel's own BTF. Ids are compared alone, as the kernel does. */
export function isSpecialKfunc(env: VerifierEnv, funcID: number, ...names: readonly string[]): boolean {
  return funcID !== 0 && names.some((name) => specialKfunc(env, name) === funcID);
}
