/**
 * @module kernel/syscall/attach-types
 * Program types: which capabilities they need, which attach types they may be loaded for and attached with. Tables of facts.
 * Source: kernel/bpf/syscall.c (`bpf_prog_load_check_attach`, `is_net_admin_prog_type`, `attach_type_to_prog_type`).
 */
import { EINVAL, EPERM } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { CAP_NET_ADMIN } from '../api.ts';

const BTF_MAX_TYPE = 0x000fffff;

const NET_ADMIN_TYPES: ReadonlySet<number> = new Set([
  U.BPF_PROG_TYPE_SCHED_CLS, U.BPF_PROG_TYPE_SCHED_ACT, U.BPF_PROG_TYPE_XDP, U.BPF_PROG_TYPE_LWT_IN, U.BPF_PROG_TYPE_LWT_OUT,
  U.BPF_PROG_TYPE_LWT_XMIT, U.BPF_PROG_TYPE_LWT_SEG6LOCAL, U.BPF_PROG_TYPE_SK_SKB, U.BPF_PROG_TYPE_SK_MSG, U.BPF_PROG_TYPE_FLOW_DISSECTOR,
  U.BPF_PROG_TYPE_CGROUP_DEVICE, U.BPF_PROG_TYPE_CGROUP_SOCK, U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, U.BPF_PROG_TYPE_CGROUP_SOCKOPT,
  U.BPF_PROG_TYPE_CGROUP_SYSCTL, U.BPF_PROG_TYPE_SOCK_OPS, U.BPF_PROG_TYPE_EXT, U.BPF_PROG_TYPE_NETFILTER,
]);

const PERFMON_TYPES: ReadonlySet<number> = new Set([
  U.BPF_PROG_TYPE_KPROBE, U.BPF_PROG_TYPE_TRACEPOINT, U.BPF_PROG_TYPE_PERF_EVENT, U.BPF_PROG_TYPE_RAW_TRACEPOINT,
  U.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, U.BPF_PROG_TYPE_TRACING, U.BPF_PROG_TYPE_LSM, U.BPF_PROG_TYPE_STRUCT_OPS,
  U.BPF_PROG_TYPE_EXT,
]);

export function isNetAdminType(type: number): boolean {
  return NET_ADMIN_TYPES.has(type);
}

export function isPerfmonType(type: number): boolean {
  return PERFMON_TYPES.has(type);
}

export function isTracingMulti(attachType: number): boolean {
  return attachType === U.BPF_TRACE_FENTRY_MULTI || attachType === U.BPF_TRACE_FEXIT_MULTI || attachType === U.BPF_TRACE_FSESSION_MULTI;
}

/** Attach types that a program type may be loaded for; types that are not here may be loaded for any. */
const LOAD_ATTACH_TYPES: ReadonlyMap<number, readonly number[]> = new Map<number, readonly number[]>([
  [U.BPF_PROG_TYPE_CGROUP_SOCK, [
    U.BPF_CGROUP_INET_SOCK_CREATE, U.BPF_CGROUP_INET_SOCK_RELEASE, U.BPF_CGROUP_INET4_POST_BIND, U.BPF_CGROUP_INET6_POST_BIND,
  ]],
  [U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, [
    U.BPF_CGROUP_INET4_BIND, U.BPF_CGROUP_INET6_BIND, U.BPF_CGROUP_INET4_CONNECT, U.BPF_CGROUP_INET6_CONNECT, U.BPF_CGROUP_UNIX_CONNECT,
    U.BPF_CGROUP_INET4_GETPEERNAME, U.BPF_CGROUP_INET6_GETPEERNAME, U.BPF_CGROUP_UNIX_GETPEERNAME, U.BPF_CGROUP_INET4_GETSOCKNAME,
    U.BPF_CGROUP_INET6_GETSOCKNAME, U.BPF_CGROUP_UNIX_GETSOCKNAME, U.BPF_CGROUP_UDP4_SENDMSG, U.BPF_CGROUP_UDP6_SENDMSG,
    U.BPF_CGROUP_UNIX_SENDMSG, U.BPF_CGROUP_UDP4_RECVMSG, U.BPF_CGROUP_UDP6_RECVMSG, U.BPF_CGROUP_UNIX_RECVMSG,
  ]],
  [U.BPF_PROG_TYPE_CGROUP_SKB, [U.BPF_CGROUP_INET_INGRESS, U.BPF_CGROUP_INET_EGRESS]],
  [U.BPF_PROG_TYPE_CGROUP_SOCKOPT, [U.BPF_CGROUP_SETSOCKOPT, U.BPF_CGROUP_GETSOCKOPT]],
  [U.BPF_PROG_TYPE_SK_LOOKUP, [U.BPF_SK_LOOKUP]],
  [U.BPF_PROG_TYPE_SK_REUSEPORT, [U.BPF_SK_REUSEPORT_SELECT, U.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE]],
  [U.BPF_PROG_TYPE_NETFILTER, [U.BPF_NETFILTER]],
  [U.BPF_PROG_TYPE_SYSCALL, [0]],
  [U.BPF_PROG_TYPE_EXT, [0]],
]);

const BTF_ATTACHED_TYPES: ReadonlySet<number> = new Set([
  U.BPF_PROG_TYPE_TRACING, U.BPF_PROG_TYPE_LSM, U.BPF_PROG_TYPE_STRUCT_OPS, U.BPF_PROG_TYPE_EXT,
]);

/** `bpf_prog_load_check_attach`: true where type, attach type and attach target fit together. */
export function checkAttach(type: number, attachType: number, hasAttachBTF: boolean, btfID: number, hasTargetProgram: boolean): boolean {
  if (btfID !== 0) {
    if (btfID > BTF_MAX_TYPE || (!hasAttachBTF && !hasTargetProgram) || !BTF_ATTACHED_TYPES.has(type)) return false;
  }
  if (isTracingMulti(attachType)) return type === U.BPF_PROG_TYPE_TRACING && hasAttachBTF && btfID === 0;
  if (hasAttachBTF && (btfID === 0 || hasTargetProgram)) return false;
  if (hasTargetProgram && type !== U.BPF_PROG_TYPE_TRACING && type !== U.BPF_PROG_TYPE_EXT) return false;
  return LOAD_ATTACH_TYPES.get(type)?.includes(attachType) ?? true;
}

/** Attach types by the program type they belong to (`attach_type_to_prog_type`). */
const PROGRAM_TYPE_BY_ATTACH: ReadonlyMap<number, number> = new Map<number, number>([
  ...[U.BPF_CGROUP_INET_INGRESS, U.BPF_CGROUP_INET_EGRESS].map((type): [number, number] => [type, U.BPF_PROG_TYPE_CGROUP_SKB]),
  ...(LOAD_ATTACH_TYPES.get(U.BPF_PROG_TYPE_CGROUP_SOCK) ?? []).map((type): [number, number] => [type, U.BPF_PROG_TYPE_CGROUP_SOCK]),
  ...(LOAD_ATTACH_TYPES.get(U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR) ?? []).map((type): [number, number] => [type, U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR]),
  [U.BPF_CGROUP_SOCK_OPS, U.BPF_PROG_TYPE_SOCK_OPS], [U.BPF_CGROUP_DEVICE, U.BPF_PROG_TYPE_CGROUP_DEVICE],
  [U.BPF_SK_MSG_VERDICT, U.BPF_PROG_TYPE_SK_MSG], [U.BPF_SK_SKB_STREAM_PARSER, U.BPF_PROG_TYPE_SK_SKB],
  [U.BPF_SK_SKB_STREAM_VERDICT, U.BPF_PROG_TYPE_SK_SKB], [U.BPF_SK_SKB_VERDICT, U.BPF_PROG_TYPE_SK_SKB],
  [U.BPF_LIRC_MODE2, U.BPF_PROG_TYPE_LIRC_MODE2], [U.BPF_FLOW_DISSECTOR, U.BPF_PROG_TYPE_FLOW_DISSECTOR],
  [U.BPF_CGROUP_SYSCTL, U.BPF_PROG_TYPE_CGROUP_SYSCTL], [U.BPF_CGROUP_GETSOCKOPT, U.BPF_PROG_TYPE_CGROUP_SOCKOPT],
  [U.BPF_CGROUP_SETSOCKOPT, U.BPF_PROG_TYPE_CGROUP_SOCKOPT], [U.BPF_TRACE_ITER, U.BPF_PROG_TYPE_TRACING],
  [U.BPF_TRACE_RAW_TP, U.BPF_PROG_TYPE_TRACING], [U.BPF_TRACE_FENTRY, U.BPF_PROG_TYPE_TRACING], [U.BPF_TRACE_FEXIT, U.BPF_PROG_TYPE_TRACING],
  [U.BPF_TRACE_FSESSION, U.BPF_PROG_TYPE_TRACING], [U.BPF_TRACE_FSESSION_MULTI, U.BPF_PROG_TYPE_TRACING],
  [U.BPF_TRACE_FENTRY_MULTI, U.BPF_PROG_TYPE_TRACING], [U.BPF_TRACE_FEXIT_MULTI, U.BPF_PROG_TYPE_TRACING],
  [U.BPF_MODIFY_RETURN, U.BPF_PROG_TYPE_TRACING], [U.BPF_LSM_MAC, U.BPF_PROG_TYPE_LSM], [U.BPF_LSM_CGROUP, U.BPF_PROG_TYPE_LSM],
  [U.BPF_SK_LOOKUP, U.BPF_PROG_TYPE_SK_LOOKUP], [U.BPF_XDP, U.BPF_PROG_TYPE_XDP], [U.BPF_TCX_INGRESS, U.BPF_PROG_TYPE_SCHED_CLS],
  [U.BPF_TCX_EGRESS, U.BPF_PROG_TYPE_SCHED_CLS], [U.BPF_NETKIT_PRIMARY, U.BPF_PROG_TYPE_SCHED_CLS], [U.BPF_NETKIT_PEER, U.BPF_PROG_TYPE_SCHED_CLS],
]);

/** The program type that an attach type is for, 0 where it is for none. */
export function attachTypeToProgramType(attachType: number): number {
  return PROGRAM_TYPE_BY_ATTACH.get(attachType) ?? 0;
}

const MULTI_ATTACH: readonly number[] = [
  U.BPF_TRACE_KPROBE_MULTI, U.BPF_TRACE_KPROBE_SESSION, U.BPF_TRACE_UPROBE_MULTI, U.BPF_TRACE_UPROBE_SESSION,
];

/** `bpf_prog_attach_check_attach_type`: 0, `-EINVAL`, `-EPERM`. */
export function checkAttachType(
  kernel: { capable(capability: number): boolean }, program: { readonly type: number; readonly expectedAttachType: number }, attachType: number,
): number {
  const fits = (is: boolean): number => (is ? 0 : -EINVAL);
  switch (program.type) {
    case U.BPF_PROG_TYPE_CGROUP_SOCK:
    case U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
    case U.BPF_PROG_TYPE_CGROUP_SOCKOPT:
    case U.BPF_PROG_TYPE_SK_LOOKUP:
      return fits(attachType === program.expectedAttachType);
    case U.BPF_PROG_TYPE_CGROUP_SKB:
      if (!kernel.capable(CAP_NET_ADMIN)) return -EPERM;
      return fits(attachTypeToProgramType(attachType) === program.type);
    case U.BPF_PROG_TYPE_EXT:
      return 0;
    case U.BPF_PROG_TYPE_NETFILTER:
      return fits(attachType === U.BPF_NETFILTER);
    case U.BPF_PROG_TYPE_PERF_EVENT:
    case U.BPF_PROG_TYPE_TRACEPOINT:
      return fits(attachType === U.BPF_PERF_EVENT);
    case U.BPF_PROG_TYPE_KPROBE:
      if (MULTI_ATTACH.includes(program.expectedAttachType)) return fits(attachType === program.expectedAttachType);
      return fits(attachType === U.BPF_PERF_EVENT || MULTI_ATTACH.includes(attachType));
    case U.BPF_PROG_TYPE_SCHED_CLS:
      return fits([U.BPF_TCX_INGRESS, U.BPF_TCX_EGRESS, U.BPF_NETKIT_PRIMARY, U.BPF_NETKIT_PEER].includes(attachType));
    default:
      return fits(attachTypeToProgramType(attachType) === program.type);
  }
}
