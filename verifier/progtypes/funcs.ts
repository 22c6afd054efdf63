/**
 * @module verifier/progtypes/funcs
 * Which helpers a program may call, and in which variant: by program type, attach type, attach target, capabilities. A program
 * type is a chain of layers, each a set of prototypes; the first layer that knows the helper decides, even against it.
 * Behaviour of the `get_func_proto` functions of Linux 7.3 (`kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`,
 * `net/core/filter.c`, `kernel/bpf/cgroup.c`, `kernel/bpf/bpf_lsm.c` and others) as configured for x86-64.
 */
import * as U from '../../isa/uapi.ts';
import type { LoadCapabilities } from '../types.ts';
import { isSleepableHook, LOCKED_SOCKOPT_HOOKS, UNLOCKED_SOCKOPT_HOOKS } from './lsm_hooks.ts';
import { type NamedProto, PROTOS, type ProtoRule } from './protos.ts';

/** What of a program decides which helpers it gets. */
export interface ProgramFacts {
  /** `BPF_PROG_TYPE_*` as loaded. */
  readonly loadedType: number;
  /** The type whose rules hold: for an extension its target's, else {@link loadedType}. */
  readonly type: number;
  readonly expectedAttachType: number;
  readonly sleepable: boolean;
  readonly capabilities: LoadCapabilities;
  /** Name of the attached function, of the iterator's function or of the struct_ops member; `""` for none. */
  readonly attachName: string;
  /** Name of the struct that a struct_ops program belongs to; `""` for others. */
  readonly attachStruct: string;
  /** True for a program attached to another BPF program. */
  readonly attachesToProgram: boolean;
}

type Rule = (facts: ProgramFacts) => string | undefined;

/** `undefined` in the map: known and refused. */
interface Layer {
  readonly choices: ReadonlyMap<number, NamedProto | Rule>;
  /** True where a refusal by rule leaves the decision to the next layer. */
  readonly isOptional: boolean;
}

function named(key: string): NamedProto {
  const found = PROTOS.get(key);
  if (found === undefined) throw new RangeError(`no helper prototype ${key}`);
  return found;
}

/** A layer from prototype keys separated by blanks, and rules by helper name (without `bpf_`). */
function layer(keys: string, rules: Readonly<Record<string, Rule>> = {}, isOptional = false): Layer {
  const choices = new Map<number, NamedProto | Rule>();
  for (const key of keys.split(/\s+/)) {
    if (key === '') continue;
    const found = named(key);
    choices.set(found.id, found);
  }
  for (const [name, rule] of Object.entries(rules)) choices.set(U.HELPER_NAMES.indexOf(name), rule);
  return { choices, isOptional };
}

/** A rule that gives `key` for some attach types only. */
function attachedAs(types: readonly number[], key: string): Rule {
  return (facts) => (types.includes(facts.expectedAttachType) ? key : undefined);
}

function notAttachedAs(types: readonly number[], key: string): Rule {
  return (facts) => (types.includes(facts.expectedAttachType) ? undefined : key);
}

const BASE = layer(`map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem map_lookup_percpu_elem get_prandom_u32
  get_raw_smp_processor_id get_numa_node_id tail_call ktime_get_ns ktime_get_boot_ns ktime_get_tai_ns ringbuf_output ringbuf_reserve
  ringbuf_submit ringbuf_discard ringbuf_query strncmp strtol strtoul get_current_pid_tgid get_ns_current_pid_tgid get_current_uid_gid`);

const BASE_CAP_BPF = layer(`spin_lock spin_unlock jiffies64 per_cpu_ptr this_cpu_ptr timer_init timer_set_callback timer_start timer_cancel kptr_xchg
  for_each_map_elem loop user_ringbuf_drain ringbuf_reserve_dynptr ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_from_mem dynptr_read
  dynptr_write dynptr_data cgrp_storage_get cgrp_storage_delete get_current_cgroup_id get_current_ancestor_cgroup_id
  current_task_under_cgroup get_cgroup_classid_curr task_storage_get task_storage_delete`);

const BASE_CAP_PERFMON = layer(`trace_printk get_current_task get_current_task_btf get_current_comm probe_read_user probe_read_kernel
  probe_read_user_str probe_read_kernel_str copy_from_user copy_from_user_task snprintf_btf snprintf task_pt_regs trace_vprintk
  perf_event_read_value perf_event_read send_signal send_signal_thread get_branch_snapshot find_vma`, {
  get_task_stack: (facts) => (facts.sleepable ? 'get_task_stack_sleepable' : 'get_task_stack'),
});

/** The last layer of nearly every chain. */
function baseProto(id: number, facts: ProgramFacts): NamedProto | undefined {
  const { bpf, perfmon } = facts.capabilities;
  return choose(BASE, id, facts) ?? (bpf ? choose(BASE_CAP_BPF, id, facts) : undefined)
    ?? (bpf && perfmon ? choose(BASE_CAP_PERFMON, id, facts) : undefined);
}

function choose(from: Layer, id: number, facts: ProgramFacts): NamedProto | undefined {
  const choice = from.choices.get(id);
  if (typeof choice !== 'function') return choice;
  const key = choice(facts);
  return key === undefined ? undefined : named(key);
}

/** Attach types whose programs may not touch the return value that the system call will give. */
const WITHOUT_RETVAL: readonly number[] = [
  U.BPF_CGROUP_INET_INGRESS, U.BPF_CGROUP_INET_EGRESS, U.BPF_CGROUP_SOCK_OPS, U.BPF_CGROUP_UDP4_RECVMSG, U.BPF_CGROUP_UDP6_RECVMSG,
  U.BPF_CGROUP_UNIX_RECVMSG, U.BPF_CGROUP_INET4_GETPEERNAME, U.BPF_CGROUP_INET6_GETPEERNAME, U.BPF_CGROUP_UNIX_GETPEERNAME,
  U.BPF_CGROUP_INET4_GETSOCKNAME, U.BPF_CGROUP_INET6_GETSOCKNAME, U.BPF_CGROUP_UNIX_GETSOCKNAME,
];

const CGROUP_COMMON = layer('get_local_storage', {
  get_retval: notAttachedAs(WITHOUT_RETVAL, 'get_retval'),
  set_retval: notAttachedAs(WITHOUT_RETVAL, 'set_retval'),
}, true);

const SK_CASTS = ['skc_to_tcp6_sock', 'skc_to_tcp_sock', 'skc_to_tcp_timewait_sock', 'skc_to_tcp_request_sock', 'skc_to_udp6_sock', 'skc_to_unix_sock',
  'skc_to_mptcp_sock'] as const;

/** For programs of the network: casts of sockets, which need CAP_PERFMON. */
const SK_BASE = layer('ktime_get_coarse_ns', Object.fromEntries(
  SK_CASTS.map((name): [string, Rule] => [name, (facts) => (facts.capabilities.perfmon ? name : undefined)])));

const SK_FILTER = layer('skb_load_bytes skb_load_bytes_relative get_socket_cookie get_netns_cookie get_socket_uid skb_event_output');

const CG_SKB = layer(`sk_fullsock sk_storage_get sk_storage_delete skb_event_output skb_cgroup_id skb_ancestor_cgroup_id sk_cgroup_id
  sk_ancestor_cgroup_id sk_lookup_tcp sk_lookup_udp sk_release skc_lookup_tcp tcp_sock get_listener_sock skb_ecn_set_ce`);

const SYNCOOKIES = 'tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6';

const TC = layer(`skb_store_bytes skb_load_bytes skb_load_bytes_relative skb_pull_data csum_diff csum_update csum_level l3_csum_replace
  l4_csum_replace clone_redirect get_cgroup_classid skb_vlan_push skb_vlan_pop skb_change_proto skb_change_type skb_adjust_room
  skb_change_tail skb_change_head skb_get_tunnel_key skb_set_tunnel_key skb_get_tunnel_opt skb_set_tunnel_opt redirect redirect_neigh
  redirect_peer get_route_realm get_hash_recalc set_hash_invalid set_hash skb_event_output get_smp_processor_id skb_under_cgroup
  get_socket_cookie get_netns_cookie get_socket_uid skb_fib_lookup skb_check_mtu sk_fullsock sk_storage_get sk_storage_delete
  skb_get_xfrm_state skb_cgroup_classid skb_cgroup_id skb_ancestor_cgroup_id tc_sk_lookup_tcp tc_sk_lookup_udp sk_release tcp_sock
  get_listener_sock tc_skc_lookup_tcp tcp_check_syncookie skb_ecn_set_ce tcp_gen_syncookie sk_assign skb_set_tstamp ${SYNCOOKIES}`);

const XDP = layer(`xdp_event_output get_smp_processor_id csum_diff xdp_adjust_head xdp_adjust_meta xdp_redirect xdp_redirect_map xdp_adjust_tail
  xdp_get_buff_len xdp_load_bytes xdp_store_bytes xdp_fib_lookup xdp_check_mtu xdp_sk_lookup_udp xdp_sk_lookup_tcp sk_release
  xdp_skc_lookup_tcp tcp_check_syncookie tcp_gen_syncookie ${SYNCOOKIES}`);

const LWT_OUT = layer(`skb_load_bytes skb_pull_data csum_diff get_cgroup_classid get_route_realm get_hash_recalc skb_event_output
  get_smp_processor_id skb_under_cgroup`);
const LWT_IN = layer('lwt_in_push_encap');
const LWT_XMIT = layer(`skb_get_tunnel_key skb_set_tunnel_key skb_get_tunnel_opt skb_set_tunnel_opt redirect clone_redirect skb_change_tail
  skb_change_head skb_store_bytes csum_update csum_level l3_csum_replace l4_csum_replace set_hash_invalid lwt_xmit_push_encap`);
const LWT_SEG6LOCAL = layer('lwt_seg6_store_bytes lwt_seg6_action lwt_seg6_adjust_srh', { skb_pull_data: () => undefined });

const CGROUP_SOCK = layer('get_socket_cookie_sock get_netns_cookie_sock event_output_data sk_storage_get_cg_sock ktime_get_coarse_ns', {
  setsockopt: attachedAs([U.BPF_CGROUP_INET_SOCK_CREATE], 'sock_create_setsockopt'),
  getsockopt: attachedAs([U.BPF_CGROUP_INET_SOCK_CREATE], 'sock_create_getsockopt'),
});

const SOCK_ADDR_SOCKOPT: readonly number[] = [
  U.BPF_CGROUP_INET4_BIND, U.BPF_CGROUP_INET6_BIND, U.BPF_CGROUP_INET4_CONNECT, U.BPF_CGROUP_INET6_CONNECT, U.BPF_CGROUP_UNIX_CONNECT,
  U.BPF_CGROUP_UDP4_RECVMSG, U.BPF_CGROUP_UDP6_RECVMSG, U.BPF_CGROUP_UNIX_RECVMSG, U.BPF_CGROUP_UDP4_SENDMSG, U.BPF_CGROUP_UDP6_SENDMSG,
  U.BPF_CGROUP_UNIX_SENDMSG, U.BPF_CGROUP_INET4_GETPEERNAME, U.BPF_CGROUP_INET6_GETPEERNAME, U.BPF_CGROUP_INET4_GETSOCKNAME,
  U.BPF_CGROUP_INET6_GETSOCKNAME,
];
const CGROUP_SOCK_ADDR = layer(`get_socket_cookie_sock_addr get_netns_cookie_sock_addr event_output_data sock_addr_sk_lookup_tcp
  sock_addr_sk_lookup_udp sk_release sock_addr_skc_lookup_tcp sk_storage_get sk_storage_delete`, {
  bind: attachedAs([U.BPF_CGROUP_INET4_CONNECT, U.BPF_CGROUP_INET6_CONNECT], 'bind'),
  setsockopt: attachedAs(SOCK_ADDR_SOCKOPT, 'sock_addr_setsockopt'),
  getsockopt: attachedAs(SOCK_ADDR_SOCKOPT, 'sock_addr_getsockopt'),
});

const CGROUP_DEVICE = layer('event_output_data');
const CGROUP_SYSCTL = layer('sysctl_get_name sysctl_get_current_value sysctl_get_new_value sysctl_set_new_value ktime_get_coarse_ns event_output_data');
const CGROUP_SOCKOPT = layer('get_netns_cookie_sockopt sk_storage_get sk_storage_delete tcp_sock event_output_data', {
  setsockopt: attachedAs([U.BPF_CGROUP_SETSOCKOPT], 'sk_setsockopt'),
  getsockopt: attachedAs([U.BPF_CGROUP_SETSOCKOPT], 'sk_getsockopt'),
});

const SOCK_OPS = layer(`sock_ops_setsockopt sock_ops_getsockopt sock_ops_cb_flags_set sock_map_update sock_hash_update get_socket_cookie_sock_ops
  event_output_data sk_storage_get sk_storage_delete get_netns_cookie_sock_ops sock_ops_load_hdr_opt sock_ops_store_hdr_opt
  sock_ops_reserve_hdr_opt tcp_sock`);
const SK_MSG = layer(`msg_redirect_map msg_redirect_hash msg_apply_bytes msg_cork_bytes msg_pull_data msg_push_data msg_pop_data event_output_data
  sk_storage_get sk_storage_delete get_netns_cookie_sk_msg`);
const SK_SKB = layer(`skb_store_bytes skb_load_bytes sk_skb_pull_data sk_skb_change_tail sk_skb_change_head sk_skb_adjust_room get_socket_cookie
  get_socket_uid sk_redirect_map sk_redirect_hash skb_event_output sk_lookup_tcp sk_lookup_udp sk_release skc_lookup_tcp`);
const FLOW_DISSECTOR = layer('flow_dissector_load_bytes');
const SK_REUSEPORT = layer('sk_select_reuseport sk_reuseport_load_bytes sk_reuseport_load_bytes_relative get_socket_ptr_cookie ktime_get_coarse_ns');
const SK_LOOKUP = layer('event_output_data sk_lookup_assign sk_release');

// ---------------------------------------------------------------- tracing

function isKprobeMulti(facts: ProgramFacts): boolean {
  return facts.expectedAttachType === U.BPF_TRACE_KPROBE_MULTI || facts.expectedAttachType === U.BPF_TRACE_KPROBE_SESSION;
}

function isUprobeMulti(facts: ProgramFacts): boolean {
  return facts.expectedAttachType === U.BPF_TRACE_UPROBE_MULTI || facts.expectedAttachType === U.BPF_TRACE_UPROBE_SESSION;
}

const TRAMPOLINE_ATTACH_TYPES: readonly number[] = [
  U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_MODIFY_RETURN, U.BPF_TRACE_FSESSION, U.BPF_TRACE_FENTRY_MULTI, U.BPF_TRACE_FEXIT_MULTI,
  U.BPF_TRACE_FSESSION_MULTI,
];

/** True for a program that is entered through a trampoline (`bpf_prog_has_trampoline`). */
export function hasTrampoline(facts: ProgramFacts): boolean {
  if (facts.loadedType === U.BPF_PROG_TYPE_TRACING) return TRAMPOLINE_ATTACH_TYPES.includes(facts.expectedAttachType);
  return facts.loadedType === U.BPF_PROG_TYPE_LSM && facts.expectedAttachType === U.BPF_LSM_MAC;
}

const TRACING_COMMON = layer('get_smp_processor_id probe_read_compat probe_read_compat_str get_func_ip_tracing');

const KPROBE = layer('perf_event_output get_stackid override_return', {
  get_stack: (facts) => (facts.sleepable ? 'get_stack_sleepable' : 'get_stack'),
  get_func_ip: (facts) => (isKprobeMulti(facts) ? 'get_func_ip_kprobe_multi' : isUprobeMulti(facts) ? 'get_func_ip_uprobe_multi' : 'get_func_ip_kprobe'),
  get_attach_cookie: (facts) =>
    isKprobeMulti(facts) ? 'get_attach_cookie_kmulti' : isUprobeMulti(facts) ? 'get_attach_cookie_umulti' : 'get_attach_cookie_trace',
});
const TRACEPOINT = layer('perf_event_output_tp get_stackid_tp get_stack_tp get_attach_cookie_trace');
const PERF_EVENT = layer('perf_event_output_tp get_stackid_pe get_stack_pe perf_prog_read_value read_branch_records get_attach_cookie_pe');
const RAW_TRACEPOINT = layer('perf_event_output_raw_tp get_stackid_raw_tp get_stack_raw_tp get_attach_cookie_tracing');

function ofArguments(key: string): Rule {
  return (facts) => (hasTrampoline(facts) || facts.expectedAttachType === U.BPF_TRACE_RAW_TP ? key : undefined);
}

const TRACING = layer(`skb_output xdp_output ${SK_CASTS.join(' ')} sk_storage_get_tracing sk_storage_delete_tracing sock_from_file
  get_socket_ptr_cookie xdp_get_buff_len_trace d_path`, {
  seq_printf: attachedAs([U.BPF_TRACE_ITER], 'seq_printf'),
  seq_write: attachedAs([U.BPF_TRACE_ITER], 'seq_write'),
  seq_printf_btf: attachedAs([U.BPF_TRACE_ITER], 'seq_printf_btf'),
  get_func_arg: ofArguments('get_func_arg'),
  get_func_arg_cnt: ofArguments('get_func_arg_cnt'),
  get_func_ret: (facts) => (hasTrampoline(facts) ? 'get_func_ret' : undefined),
  get_attach_cookie: (facts) => {
    const isRawTracepoint = facts.loadedType === U.BPF_PROG_TYPE_TRACING && facts.expectedAttachType === U.BPF_TRACE_RAW_TP;
    return isRawTracepoint || hasTrampoline(facts) ? 'get_attach_cookie_tracing' : undefined;
  },
});

/** Helpers of an iterator's own, where nothing before knows the helper. */
const SOCKET_ITERATORS: readonly string[] = ['bpf_iter_tcp', 'bpf_iter_unix'];
const ITERATOR_SOCKOPT = layer('sk_setsockopt sk_getsockopt');

function lsmSockopt(verb: 'get' | 'set'): Rule {
  return (facts) => {
    if (facts.expectedAttachType !== U.BPF_LSM_CGROUP) return undefined;
    if (LOCKED_SOCKOPT_HOOKS.has(facts.attachName)) return `sk_${verb}sockopt`;
    return UNLOCKED_SOCKOPT_HOOKS.has(facts.attachName) ? `unlocked_sk_${verb}sockopt` : undefined;
  };
}

const LSM = layer('inode_storage_get inode_storage_delete sk_storage_get sk_storage_delete spin_lock spin_unlock bprm_opts_set ima_inode_hash ima_file_hash', {
  get_attach_cookie: (facts) => (hasTrampoline(facts) ? 'get_attach_cookie' : undefined),
  setsockopt: lsmSockopt('set'),
  getsockopt: lsmSockopt('get'),
});

const SYSCALL = layer('btf_find_by_name_kind sys_close kallsyms_lookup_name', {
  sys_bpf: (facts) => (facts.capabilities.perfmon ? 'sys_bpf' : undefined),
});

// ---------------------------------------------------------------- struct_ops and the rest

function unlessRelease(key: string): Rule {
  return (facts) => (facts.attachName === 'release' ? undefined : key);
}

const TCP_CONGESTION = layer('tcp_send_ack sk_storage_get sk_storage_delete ktime_get_coarse_ns', {
  setsockopt: unlessRelease('sk_setsockopt_nodelay'),
  getsockopt: unlessRelease('sk_getsockopt'),
});

/** Infrared decoders have a set of their own and nothing of the base. */
const LIRC = layer(`rc_repeat rc_keydown rc_pointer_rel map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem
  ktime_get_ns ktime_get_boot_ns tail_call get_prandom_u32`, { trace_printk: (facts) => (facts.capabilities.perfmon ? 'trace_printk' : undefined) });

/** The chain of a type, ended by {@link baseProto}. */
const CHAINS: ReadonlyMap<number, readonly Layer[]> = new Map([
  [U.BPF_PROG_TYPE_SOCKET_FILTER, [SK_FILTER, SK_BASE]],
  [U.BPF_PROG_TYPE_SCHED_CLS, [TC, SK_BASE]],
  [U.BPF_PROG_TYPE_SCHED_ACT, [TC, SK_BASE]],
  [U.BPF_PROG_TYPE_XDP, [XDP, SK_BASE]],
  [U.BPF_PROG_TYPE_CGROUP_SKB, [CGROUP_COMMON, CG_SKB, SK_FILTER, SK_BASE]],
  [U.BPF_PROG_TYPE_CGROUP_SOCK, [CGROUP_COMMON, CGROUP_SOCK]],
  [U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, [CGROUP_COMMON, CGROUP_SOCK_ADDR, SK_BASE]],
  [U.BPF_PROG_TYPE_CGROUP_DEVICE, [CGROUP_COMMON, CGROUP_DEVICE]],
  [U.BPF_PROG_TYPE_CGROUP_SYSCTL, [CGROUP_COMMON, CGROUP_SYSCTL]],
  [U.BPF_PROG_TYPE_CGROUP_SOCKOPT, [CGROUP_COMMON, CGROUP_SOCKOPT]],
  [U.BPF_PROG_TYPE_LWT_IN, [LWT_IN, LWT_OUT, SK_BASE]],
  [U.BPF_PROG_TYPE_LWT_OUT, [LWT_OUT, SK_BASE]],
  [U.BPF_PROG_TYPE_LWT_XMIT, [LWT_XMIT, LWT_OUT, SK_BASE]],
  [U.BPF_PROG_TYPE_LWT_SEG6LOCAL, [LWT_SEG6LOCAL, LWT_OUT, SK_BASE]],
  [U.BPF_PROG_TYPE_SOCK_OPS, [CGROUP_COMMON, SOCK_OPS, SK_BASE]],
  [U.BPF_PROG_TYPE_SK_SKB, [SK_SKB, SK_BASE]],
  [U.BPF_PROG_TYPE_SK_MSG, [SK_MSG, SK_BASE]],
  [U.BPF_PROG_TYPE_FLOW_DISSECTOR, [FLOW_DISSECTOR, SK_BASE]],
  [U.BPF_PROG_TYPE_SK_REUSEPORT, [SK_REUSEPORT]],
  [U.BPF_PROG_TYPE_SK_LOOKUP, [SK_LOOKUP, SK_BASE]],
  [U.BPF_PROG_TYPE_KPROBE, [KPROBE, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_TRACEPOINT, [TRACEPOINT, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_PERF_EVENT, [PERF_EVENT, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_RAW_TRACEPOINT, [RAW_TRACEPOINT, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, [RAW_TRACEPOINT, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_TRACING, [TRACING, RAW_TRACEPOINT, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_LSM, [LSM, TRACING, RAW_TRACEPOINT, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_SYSCALL, [SYSCALL, TRACING, RAW_TRACEPOINT, TRACING_COMMON]],
  [U.BPF_PROG_TYPE_NETFILTER, []],
]);

const PROBE_WRITE_USER = layer('probe_write_user');

function chainOf(facts: ProgramFacts): readonly Layer[] | undefined {
  if (facts.type === U.BPF_PROG_TYPE_STRUCT_OPS) {
    // Interfaces with no get_func_proto of their own (bpf_dummy_ops) give no helper at all.
    if (facts.attachStruct === 'bpf_dummy_ops' || facts.attachStruct === '') return undefined;
    return facts.attachStruct === 'tcp_congestion_ops' ? [TCP_CONGESTION] : [];
  }
  const chain = CHAINS.get(facts.type);
  const isCgroupLSM = facts.type === U.BPF_PROG_TYPE_LSM && facts.expectedAttachType === U.BPF_LSM_CGROUP;
  return isCgroupLSM && chain !== undefined ? [CGROUP_COMMON, ...chain] : chain;
}

/**
 * The prototype of a helper for a program, `undefined` where programs like it may not call it ("program of this type cannot use
 * helper"). A prototype's own rule is not looked at, see {@link isForbidden}.
 */
export function findProto(id: number, facts: ProgramFacts): NamedProto | undefined {
  if (facts.type === U.BPF_PROG_TYPE_LIRC_MODE2) return choose(LIRC, id, facts);
  const chain = chainOf(facts);
  if (chain === undefined) return undefined;
  for (const each of chain) {
    if (!each.choices.has(id)) continue;
    const found = choose(each, id, facts);
    if (found !== undefined || !each.isOptional) return found;
  }
  const base = baseProto(id, facts);
  if (base !== undefined) return base;
  const isTracing = chain.includes(TRACING_COMMON);
  if (isTracing && facts.capabilities.sysAdmin) {
    const found = choose(PROBE_WRITE_USER, id, facts);
    if (found !== undefined) return found;
  }
  const isIterator = chain.includes(TRACING) && facts.expectedAttachType === U.BPF_TRACE_ITER;
  return isIterator && SOCKET_ITERATORS.includes(facts.attachName) ? choose(ITERATOR_SOCKOPT, id, facts) : undefined;
}

/** Functions that `bpf_d_path` may be called from (`btf_allowlist_d_path`). */
const D_PATH_FUNCTIONS: ReadonlySet<string> = new Set(['security_file_permission', 'security_inode_getattr', 'security_file_open',
  'security_path_truncate', 'vfs_truncate', 'vfs_fallocate', 'dentry_open', 'vfs_getattr', 'filp_close']);

/** True where a prototype's own rule excludes the program ("helper call is not allowed in probe"). */
export function isForbidden(proto: NamedProto, facts: ProgramFacts): boolean {
  const rule: ProtoRule | undefined = proto.rule;
  switch (rule) {
    case undefined: return false;
    case 'd_path':
      if (facts.loadedType === U.BPF_PROG_TYPE_TRACING && facts.expectedAttachType === U.BPF_TRACE_ITER) return false;
      if (facts.loadedType === U.BPF_PROG_TYPE_LSM) return !isSleepableHook(facts.attachName);
      return !D_PATH_FUNCTIONS.has(facts.attachName);
    case 'sleepable_lsm': return !isSleepableHook(facts.attachName);
    case 'sk_storage_tracing':
      if (facts.attachesToProgram) return true;
      if (facts.expectedAttachType === U.BPF_TRACE_ITER || facts.expectedAttachType === U.BPF_TRACE_RAW_TP) return false;
      return ![U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FSESSION].some((type) => type === facts.expectedAttachType)
        || facts.attachName.startsWith('bpf_sk_storage');
  }
}
