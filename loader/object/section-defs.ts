/**
 * @module loader/object/section-defs
 * What the name of a section says about the program in it: type, attach type, whether it sleeps, whether its target is looked up in
 * the kernel's types. The table is libbpf's (`section_defs` of `tools/lib/bpf/libbpf.c`, Linux 7.3), in its order: the first match wins.
 */
import * as U from '../../isa/uapi.ts';

/** Properties beside the types. */
export const SEC_ATTACH_BTF = 4;
export const SEC_SLEEPABLE = 8;
export const SEC_XDP_FRAGS = 16;
export const SEC_USDT = 32;

/** One row. `pattern` ends in `+` where `NAME` and `NAME/…` both match. */
export interface SectionDef {
  readonly pattern: string;
  /** `BPF_PROG_TYPE_*` */
  readonly type: number;
  /** `BPF_*` attach type, 0 for none. */
  readonly attachType: number;
  readonly flags: number;
}

type Row = readonly [patterns: string, type: number, attachType: number, flags: number];

const BTF = SEC_ATTACH_BTF;
const SLEEP = SEC_SLEEPABLE;
const KPROBE = U.BPF_PROG_TYPE_KPROBE;
const TRACING = U.BPF_PROG_TYPE_TRACING;
const CLS = U.BPF_PROG_TYPE_SCHED_CLS;
const XDP = U.BPF_PROG_TYPE_XDP;
const ADDR = U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
const SOCK = U.BPF_PROG_TYPE_CGROUP_SOCK;
const SK_SKB = U.BPF_PROG_TYPE_SK_SKB;

/** Rows with several patterns, separated by blanks, stand for as many rows in that order. */
const ROWS: readonly Row[] = [
  ['socket', U.BPF_PROG_TYPE_SOCKET_FILTER, 0, 0],
  ['sk_reuseport/migrate', U.BPF_PROG_TYPE_SK_REUSEPORT, U.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE, 0],
  ['sk_reuseport', U.BPF_PROG_TYPE_SK_REUSEPORT, U.BPF_SK_REUSEPORT_SELECT, 0],
  ['kprobe+ uprobe+ kretprobe+ uretprobe+ ksyscall+ kretsyscall+', KPROBE, 0, 0],
  ['uprobe.s+ uretprobe.s+', KPROBE, 0, SLEEP],
  ['kprobe.multi+ kretprobe.multi+', KPROBE, U.BPF_TRACE_KPROBE_MULTI, 0],
  ['kprobe.session+', KPROBE, U.BPF_TRACE_KPROBE_SESSION, 0],
  ['uprobe.multi+ uretprobe.multi+', KPROBE, U.BPF_TRACE_UPROBE_MULTI, 0],
  ['uprobe.session+', KPROBE, U.BPF_TRACE_UPROBE_SESSION, 0],
  ['uprobe.multi.s+ uretprobe.multi.s+', KPROBE, U.BPF_TRACE_UPROBE_MULTI, SLEEP],
  ['uprobe.session.s+', KPROBE, U.BPF_TRACE_UPROBE_SESSION, SLEEP],
  ['usdt+', KPROBE, 0, SEC_USDT],
  ['usdt.s+', KPROBE, 0, SEC_USDT | SLEEP],
  ['tc/ingress tcx/ingress', CLS, U.BPF_TCX_INGRESS, 0],
  ['tc/egress tcx/egress', CLS, U.BPF_TCX_EGRESS, 0],
  ['tc classifier', CLS, 0, 0],
  ['action', U.BPF_PROG_TYPE_SCHED_ACT, 0, 0],
  ['netkit/primary', CLS, U.BPF_NETKIT_PRIMARY, 0],
  ['netkit/peer', CLS, U.BPF_NETKIT_PEER, 0],
  ['tracepoint+ tp+', U.BPF_PROG_TYPE_TRACEPOINT, 0, 0],
  ['tracepoint.s+ tp.s+', U.BPF_PROG_TYPE_TRACEPOINT, 0, SLEEP],
  ['raw_tracepoint+ raw_tp+', U.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0],
  ['raw_tracepoint.s+ raw_tp.s+', U.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, SLEEP],
  ['raw_tracepoint.w+ raw_tp.w+', U.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, 0],
  ['tp_btf+', TRACING, U.BPF_TRACE_RAW_TP, BTF],
  ['tp_btf.s+', TRACING, U.BPF_TRACE_RAW_TP, BTF | SLEEP],
  ['fentry+', TRACING, U.BPF_TRACE_FENTRY, BTF],
  ['fmod_ret+', TRACING, U.BPF_MODIFY_RETURN, BTF],
  ['fexit+', TRACING, U.BPF_TRACE_FEXIT, BTF],
  ['fentry.s+', TRACING, U.BPF_TRACE_FENTRY, BTF | SLEEP],
  ['fmod_ret.s+', TRACING, U.BPF_MODIFY_RETURN, BTF | SLEEP],
  ['fexit.s+', TRACING, U.BPF_TRACE_FEXIT, BTF | SLEEP],
  ['fsession+', TRACING, U.BPF_TRACE_FSESSION, BTF],
  ['fsession.s+', TRACING, U.BPF_TRACE_FSESSION, BTF | SLEEP],
  ['fsession.multi+', TRACING, U.BPF_TRACE_FSESSION_MULTI, 0],
  ['fsession.multi.s+', TRACING, U.BPF_TRACE_FSESSION_MULTI, SLEEP],
  ['fentry.multi+', TRACING, U.BPF_TRACE_FENTRY_MULTI, 0],
  ['fexit.multi+', TRACING, U.BPF_TRACE_FEXIT_MULTI, 0],
  ['fentry.multi.s+', TRACING, U.BPF_TRACE_FENTRY_MULTI, SLEEP],
  ['fexit.multi.s+', TRACING, U.BPF_TRACE_FEXIT_MULTI, SLEEP],
  ['freplace+', U.BPF_PROG_TYPE_EXT, 0, BTF],
  ['lsm+', U.BPF_PROG_TYPE_LSM, U.BPF_LSM_MAC, BTF],
  ['lsm.s+', U.BPF_PROG_TYPE_LSM, U.BPF_LSM_MAC, BTF | SLEEP],
  ['lsm_cgroup+', U.BPF_PROG_TYPE_LSM, U.BPF_LSM_CGROUP, BTF],
  ['iter+', TRACING, U.BPF_TRACE_ITER, BTF],
  ['iter.s+', TRACING, U.BPF_TRACE_ITER, BTF | SLEEP],
  ['syscall', U.BPF_PROG_TYPE_SYSCALL, 0, SLEEP],
  ['xdp.frags/devmap', XDP, U.BPF_XDP_DEVMAP, SEC_XDP_FRAGS],
  ['xdp/devmap', XDP, U.BPF_XDP_DEVMAP, 0],
  ['xdp.frags/cpumap', XDP, U.BPF_XDP_CPUMAP, SEC_XDP_FRAGS],
  ['xdp/cpumap', XDP, U.BPF_XDP_CPUMAP, 0],
  ['xdp.frags', XDP, U.BPF_XDP, SEC_XDP_FRAGS],
  ['xdp', XDP, U.BPF_XDP, 0],
  ['perf_event', U.BPF_PROG_TYPE_PERF_EVENT, 0, 0],
  ['lwt_in', U.BPF_PROG_TYPE_LWT_IN, 0, 0],
  ['lwt_out', U.BPF_PROG_TYPE_LWT_OUT, 0, 0],
  ['lwt_xmit', U.BPF_PROG_TYPE_LWT_XMIT, 0, 0],
  ['lwt_seg6local', U.BPF_PROG_TYPE_LWT_SEG6LOCAL, 0, 0],
  ['sockops', U.BPF_PROG_TYPE_SOCK_OPS, U.BPF_CGROUP_SOCK_OPS, 0],
  ['sk_skb/stream_parser', SK_SKB, U.BPF_SK_SKB_STREAM_PARSER, 0],
  ['sk_skb/stream_verdict', SK_SKB, U.BPF_SK_SKB_STREAM_VERDICT, 0],
  ['sk_skb/verdict', SK_SKB, U.BPF_SK_SKB_VERDICT, 0],
  ['sk_skb', SK_SKB, 0, 0],
  ['sk_msg', U.BPF_PROG_TYPE_SK_MSG, U.BPF_SK_MSG_VERDICT, 0],
  ['lirc_mode2', U.BPF_PROG_TYPE_LIRC_MODE2, U.BPF_LIRC_MODE2, 0],
  ['flow_dissector', U.BPF_PROG_TYPE_FLOW_DISSECTOR, U.BPF_FLOW_DISSECTOR, 0],
  ['cgroup_skb/ingress', U.BPF_PROG_TYPE_CGROUP_SKB, U.BPF_CGROUP_INET_INGRESS, 0],
  ['cgroup_skb/egress', U.BPF_PROG_TYPE_CGROUP_SKB, U.BPF_CGROUP_INET_EGRESS, 0],
  ['cgroup/skb', U.BPF_PROG_TYPE_CGROUP_SKB, 0, 0],
  ['cgroup/sock_create cgroup/sock', SOCK, U.BPF_CGROUP_INET_SOCK_CREATE, 0],
  ['cgroup/sock_release', SOCK, U.BPF_CGROUP_INET_SOCK_RELEASE, 0],
  ['cgroup/post_bind4', SOCK, U.BPF_CGROUP_INET4_POST_BIND, 0],
  ['cgroup/post_bind6', SOCK, U.BPF_CGROUP_INET6_POST_BIND, 0],
  ['cgroup/bind4', ADDR, U.BPF_CGROUP_INET4_BIND, 0],
  ['cgroup/bind6', ADDR, U.BPF_CGROUP_INET6_BIND, 0],
  ['cgroup/connect4', ADDR, U.BPF_CGROUP_INET4_CONNECT, 0],
  ['cgroup/connect6', ADDR, U.BPF_CGROUP_INET6_CONNECT, 0],
  ['cgroup/connect_unix', ADDR, U.BPF_CGROUP_UNIX_CONNECT, 0],
  ['cgroup/sendmsg4', ADDR, U.BPF_CGROUP_UDP4_SENDMSG, 0],
  ['cgroup/sendmsg6', ADDR, U.BPF_CGROUP_UDP6_SENDMSG, 0],
  ['cgroup/sendmsg_unix', ADDR, U.BPF_CGROUP_UNIX_SENDMSG, 0],
  ['cgroup/recvmsg4', ADDR, U.BPF_CGROUP_UDP4_RECVMSG, 0],
  ['cgroup/recvmsg6', ADDR, U.BPF_CGROUP_UDP6_RECVMSG, 0],
  ['cgroup/recvmsg_unix', ADDR, U.BPF_CGROUP_UNIX_RECVMSG, 0],
  ['cgroup/getpeername4', ADDR, U.BPF_CGROUP_INET4_GETPEERNAME, 0],
  ['cgroup/getpeername6', ADDR, U.BPF_CGROUP_INET6_GETPEERNAME, 0],
  ['cgroup/getpeername_unix', ADDR, U.BPF_CGROUP_UNIX_GETPEERNAME, 0],
  ['cgroup/getsockname4', ADDR, U.BPF_CGROUP_INET4_GETSOCKNAME, 0],
  ['cgroup/getsockname6', ADDR, U.BPF_CGROUP_INET6_GETSOCKNAME, 0],
  ['cgroup/getsockname_unix', ADDR, U.BPF_CGROUP_UNIX_GETSOCKNAME, 0],
  ['cgroup/sysctl', U.BPF_PROG_TYPE_CGROUP_SYSCTL, U.BPF_CGROUP_SYSCTL, 0],
  ['cgroup/getsockopt', U.BPF_PROG_TYPE_CGROUP_SOCKOPT, U.BPF_CGROUP_GETSOCKOPT, 0],
  ['cgroup/setsockopt', U.BPF_PROG_TYPE_CGROUP_SOCKOPT, U.BPF_CGROUP_SETSOCKOPT, 0],
  ['cgroup/dev', U.BPF_PROG_TYPE_CGROUP_DEVICE, U.BPF_CGROUP_DEVICE, 0],
  ['struct_ops+', U.BPF_PROG_TYPE_STRUCT_OPS, 0, 0],
  ['struct_ops.s+', U.BPF_PROG_TYPE_STRUCT_OPS, 0, SLEEP],
  ['sk_lookup', U.BPF_PROG_TYPE_SK_LOOKUP, U.BPF_SK_LOOKUP, 0],
  ['netfilter', U.BPF_PROG_TYPE_NETFILTER, U.BPF_NETFILTER, 0],
];

/** Every pattern with what it stands for. */
export const SECTION_DEFS: readonly SectionDef[] = ROWS.flatMap(([patterns, type, attachType, flags]) =>
  patterns.split(' ').map((pattern) => ({ pattern, type, attachType, flags })));

function matches(pattern: string, section: string): boolean {
  if (!pattern.endsWith('+')) return section === pattern;
  const stem = pattern.slice(0, -1);
  return section.startsWith(stem) && (section.length === stem.length || section[stem.length] === '/');
}

/**
 * The row for a section name, without a leading `?`.
 * @example findSectionDef('fentry.s/do_unlinkat')?.attachType === BPF_TRACE_FENTRY
 */
export function findSectionDef(section: string): SectionDef | undefined {
  return SECTION_DEFS.find(({ pattern }) => matches(pattern, section));
}

/** How the target's name is looked up in the kernel's types (`btf_get_kernel_prefix_kind`). */
export function attachTargetLookup(attachType: number): { readonly prefix: string; readonly kind: number } {
  switch (attachType) {
    case U.BPF_TRACE_RAW_TP: return { prefix: 'btf_trace_', kind: U.BTF_KIND_TYPEDEF };
    case U.BPF_LSM_MAC: case U.BPF_LSM_CGROUP: return { prefix: 'bpf_lsm_', kind: U.BTF_KIND_FUNC };
    case U.BPF_TRACE_ITER: return { prefix: 'bpf_iter_', kind: U.BTF_KIND_FUNC };
    default: return { prefix: '', kind: U.BTF_KIND_FUNC };
  }
}
