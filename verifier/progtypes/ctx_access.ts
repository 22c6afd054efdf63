/**
 * @module verifier/progtypes/ctx_access
 * Which bytes of its context a program may read and write, in what width, and what a load gives: a scalar, a packet pointer, a
 * socket. Contexts whose layout comes from BTF are `btf_ctx.ts`; the rewriting of accepted accesses is `ctx_convert.ts`.
 * Behaviour of the `is_valid_access` functions of Linux 7.3 (`net/core/filter.c`, `kernel/bpf/cgroup.c`,
 * `kernel/trace/bpf_trace.c`, `kernel/bpf/syscall.c`, `net/netfilter/nf_bpf_link.c`).
 */
import * as U from '../../isa/uapi.ts';
import type { AccessInfo } from '../ops_types.ts';
import {
  BPF_WRITE, MAX_BPF_FUNC_ARGS, PTR_MAYBE_NULL, PTR_TO_FLOW_KEYS, PTR_TO_PACKET, PTR_TO_PACKET_END, PTR_TO_PACKET_META, PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET, PTR_TO_TP_BUFFER,
} from '../regtypes.ts';
import {
  CGROUP_DEV, fieldAt, NF_CTX, offsetOf, PERF_EVENT_DATA, PERF_MAX_TRACE_SIZE, PT_REGS_SIZE, SK_BUFF, SK_LOOKUP, SK_MSG, SK_REUSEPORT, SOCK,
  SOCK_ADDR, SOCK_OPS, SOCKOPT, SYSCTL, TCP_SOCK, XDP_MD, XDP_SOCK, type ContextLayout,
} from './ctx_layouts.ts';
import type { ProgramFacts } from './funcs.ts';

/** One access as the rules see it. `off` and `size` in bytes, `size` one of 1, 2, 4, 8. */
export interface ContextAccess {
  readonly off: number;
  readonly size: number;
  readonly isWrite: boolean;
  readonly info: AccessInfo;
  readonly facts: ProgramFacts;
}

export type ContextRule = (access: ContextAccess) => boolean;

/** A load of `fieldSize` bytes or a power of two below; the caller widens it and masks. */
function narrow({ size, info }: ContextAccess, fieldSize: number): boolean {
  info.ctxFieldSize = fieldSize;
  return size <= fieldSize;
}

function gives({ info }: ContextAccess, regType: number): void {
  info.regType = regType;
}

function inBounds({ off, size }: ContextAccess, length: number): boolean {
  return off >= 0 && off < length && off % size === 0;
}

function names(list: string): ReadonlySet<string> {
  return new Set(list.split(' '));
}

// ---------------------------------------------------------------- struct __sk_buff

/** The rules that hold for every program that sees a packet as `struct __sk_buff`. */
function skbAccess(access: ContextAccess): boolean {
  const { off, size, isWrite, info } = access;
  if (!inBounds(access, SK_BUFF.size)) return false;
  switch (fieldAt(SK_BUFF, off)) {
    case 'cb': return off + size <= offsetOf(SK_BUFF, 'cb') + 20;
    case 'data':
    case 'data_meta':
    case 'data_end': return !info.isLdsx && size === 4;
    case 'remote_ip6':
    case 'local_ip6':
    case 'remote_ip4':
    case 'local_ip4': return size === 4;
    case 'flow_keys':
    case 'tstamp_type':
    case '': return false;
    case 'hwtstamp': return !isWrite && size === 8;
    case 'tstamp': return size === 8;
    case 'sk':
      if (isWrite || size !== 8) return false;
      gives(access, PTR_TO_SOCK_COMMON | PTR_MAYBE_NULL);
      return true;
    default: return isWrite ? size === 4 : narrow(access, 4);
  }
}

const SOCKET_FIELDS = 'family remote_ip4 local_ip4 remote_ip6 local_ip6 remote_port local_port';

interface SkbRules {
  readonly denied: ReadonlySet<string>;
  readonly writable: ReadonlySet<string>;
  /** Kinds of pointer that some fields give. */
  readonly pointers: Readonly<Record<string, number>>;
  /** Fields that need CAP_BPF, for reading or writing. */
  readonly privileged?: ReadonlySet<string>;
}

const PACKET_POINTERS = { data: PTR_TO_PACKET, data_end: PTR_TO_PACKET_END } as const;

function skbRule({ denied, writable, pointers, privileged }: SkbRules): ContextRule {
  return (access) => {
    const field = access.off < 0 ? '' : fieldAt(SK_BUFF, access.off);
    if (denied.has(field)) return false;
    if (access.isWrite && !writable.has(field)) return false;
    if (privileged?.has(field) === true && !access.facts.capabilities.bpf) return false;
    const pointer = pointers[field];
    if (pointer !== undefined) gives(access, pointer);
    return skbAccess(access);
  };
}

const SOCKET_FILTER = skbRule({
  denied: names(`tc_classid data data_meta data_end ${SOCKET_FIELDS} tstamp wire_len hwtstamp`), writable: names('cb'), pointers: {},
});
const LWT = skbRule({
  denied: names(`tc_classid ${SOCKET_FIELDS} data_meta tstamp wire_len hwtstamp`), writable: names('mark priority cb'), pointers: PACKET_POINTERS,
});
const SK_SKB = skbRule({
  denied: names('tc_classid data_meta tstamp wire_len hwtstamp mark'), writable: names('tc_index priority'), pointers: PACKET_POINTERS,
});
const CGROUP_SKB_RULES = { denied: names('tc_classid data_meta wire_len'), writable: names('mark priority cb tstamp'), pointers: PACKET_POINTERS } as const;
const CGROUP_SKB_READ = skbRule({ ...CGROUP_SKB_RULES, privileged: names('data data_end') });
const CGROUP_SKB_WRITE = skbRule({ ...CGROUP_SKB_RULES, privileged: names('data data_end tstamp') });
const TC_RULE = skbRule({
  denied: names(SOCKET_FIELDS), writable: names('mark tc_index priority tc_classid cb tstamp queue_mapping'),
  pointers: { ...PACKET_POINTERS, data_meta: PTR_TO_PACKET_META },
});

function cgroupSkb(access: ContextAccess): boolean {
  return (access.isWrite ? CGROUP_SKB_WRITE : CGROUP_SKB_READ)(access);
}

function trafficControl(access: ContextAccess): boolean {
  if (!access.isWrite && access.off === offsetOf(SK_BUFF, 'tstamp_type')) return access.size === 1;
  return TC_RULE(access);
}

function flowDissector(access: ContextAccess): boolean {
  const { off, size, isWrite, info } = access;
  if (isWrite || !inBounds(access, SK_BUFF.size)) return false;
  switch (fieldAt(SK_BUFF, off)) {
    case 'data':
      gives(access, PTR_TO_PACKET);
      return !info.isLdsx && size === 4;
    case 'data_end':
      gives(access, PTR_TO_PACKET_END);
      return !info.isLdsx && size === 4;
    case 'flow_keys':
      gives(access, PTR_TO_FLOW_KEYS);
      return size === 8;
    default: return false;
  }
}

// ---------------------------------------------------------------- struct xdp_md

function xdp(access: ContextAccess): boolean {
  const { off, size, isWrite, info, facts } = access;
  if (isWrite || !inBounds(access, XDP_MD.size) || size !== 4) return false;
  switch (fieldAt(XDP_MD, off)) {
    case 'egress_ifindex': return facts.expectedAttachType === U.BPF_XDP_DEVMAP;
    case 'data':
      gives(access, PTR_TO_PACKET);
      return !info.isLdsx;
    case 'data_meta':
      gives(access, PTR_TO_PACKET_META);
      return !info.isLdsx;
    case 'data_end':
      gives(access, PTR_TO_PACKET_END);
      return !info.isLdsx;
    default: return true;
  }
}

// ---------------------------------------------------------------- sockets

/** `struct bpf_sock` behind a pointer (`bpf_sock_is_valid_access`). */
export function sockAccess(access: ContextAccess): boolean {
  const { off, size } = access;
  if (!inBounds(access, SOCK.size)) return false;
  const field = fieldAt(SOCK, off);
  switch (field) {
    case 'src_ip4':
    case 'src_ip6':
    case 'dst_ip4':
    case 'dst_ip6': return narrow(access, 4);
    case 'state':
    case 'family':
    case 'type':
    case 'protocol':
    case 'src_port':
    case 'rx_queue_mapping': return off === offsetOf(SOCK, field) ? narrow(access, 4) : size === 4;
    // A port of two bytes, which may also be loaded as four.
    case 'dst_port': return narrow(access, size === 4 ? 4 : 2);
    case '': return false;
    default: return size === 4;
  }
}

const COMMON_DENIED = names('type protocol mark priority');

/** `struct bpf_sock` of a socket that may be no full one (`bpf_sock_common_is_valid_access`). */
export function sockCommonAccess(access: ContextAccess): boolean {
  return !(access.off >= 0 && COMMON_DENIED.has(fieldAt(SOCK, access.off))) && sockAccess(access);
}

/** `struct bpf_tcp_sock`. */
export function tcpSockAccess(access: ContextAccess): boolean {
  const { off, size } = access;
  if (!inBounds(access, offsetOf(TCP_SOCK, 'icsk_retransmits') + 4)) return false;
  const isLong = off === offsetOf(TCP_SOCK, 'bytes_received') || off === offsetOf(TCP_SOCK, 'bytes_acked');
  return size === (isLong ? 8 : 4);
}

/** `struct bpf_xdp_sock`. */
export function xdpSockAccess(access: ContextAccess): boolean {
  return inBounds(access, XDP_SOCK.size) && access.size === 4;
}

function cgroupSock(access: ContextAccess): boolean {
  if (!sockAccess(access)) return false;
  const { off, isWrite, facts } = access;
  const attachedTo = (...types: readonly number[]): boolean => types.includes(facts.expectedAttachType);
  const field = fieldAt(SOCK, off);
  switch (field) {
    case 'bound_dev_if':
    case 'mark':
    case 'priority':
      if (off !== offsetOf(SOCK, field)) return !isWrite;
      return attachedTo(U.BPF_CGROUP_INET_SOCK_CREATE, U.BPF_CGROUP_INET_SOCK_RELEASE);
    case 'src_ip4': return attachedTo(U.BPF_CGROUP_INET4_POST_BIND) && !isWrite;
    case 'src_ip6': return attachedTo(U.BPF_CGROUP_INET6_POST_BIND) && !isWrite;
    case 'src_port': return attachedTo(U.BPF_CGROUP_INET4_POST_BIND, U.BPF_CGROUP_INET6_POST_BIND) && !isWrite;
    default: return !isWrite;
  }
}

const IPV4_ADDRESSES: readonly number[] = [U.BPF_CGROUP_INET4_BIND, U.BPF_CGROUP_INET4_CONNECT, U.BPF_CGROUP_INET4_GETPEERNAME,
  U.BPF_CGROUP_INET4_GETSOCKNAME, U.BPF_CGROUP_UDP4_SENDMSG, U.BPF_CGROUP_UDP4_RECVMSG];
const IPV6_ADDRESSES: readonly number[] = [U.BPF_CGROUP_INET6_BIND, U.BPF_CGROUP_INET6_CONNECT, U.BPF_CGROUP_INET6_GETPEERNAME,
  U.BPF_CGROUP_INET6_GETSOCKNAME, U.BPF_CGROUP_UDP6_SENDMSG, U.BPF_CGROUP_UDP6_RECVMSG];

/** Attach types that may touch a field of `struct bpf_sock_addr`; fields not named are open to all. */
const ADDRESS_FIELDS: Readonly<Record<string, readonly number[]>> = {
  user_ip4: IPV4_ADDRESSES, user_ip6: IPV6_ADDRESSES, msg_src_ip4: [U.BPF_CGROUP_UDP4_SENDMSG], msg_src_ip6: [U.BPF_CGROUP_UDP6_SENDMSG],
};

/** An aligned 8-byte access within a field of 16 bytes. */
function isWide({ off, size }: ContextAccess, context: ContextLayout, name: string): boolean {
  const start = offsetOf(context, name);
  return size === 8 && off >= start && off + 8 <= start + 16 && off % 8 === 0;
}

function sockAddr(access: ContextAccess): boolean {
  const { off, size, isWrite, facts } = access;
  if (!inBounds(access, SOCK_ADDR.size)) return false;
  const field = fieldAt(SOCK_ADDR, off);
  if (ADDRESS_FIELDS[field]?.includes(facts.expectedAttachType) === false) return false;
  switch (field) {
    case 'user_ip4':
    case 'user_ip6':
    case 'msg_src_ip4':
    case 'msg_src_ip6':
    case 'user_port':
      if (!isWrite) access.info.ctxFieldSize = 4;
      if (isWide(access, SOCK_ADDR, 'user_ip6') || isWide(access, SOCK_ADDR, 'msg_src_ip6')) return true;
      return isWrite ? size === 4 : narrow(access, 4);
    case 'sk':
      if (isWrite || size !== 8) return false;
      gives(access, PTR_TO_SOCKET);
      return true;
    case 'user_family':
    case 'family':
    case 'type':
    case 'protocol': return !isWrite && size === 4;
    default: return false;
  }
}

function sockOps(access: ContextAccess): boolean {
  const { off, size, isWrite } = access;
  if (!inBounds(access, SOCK_OPS.size)) return false;
  if (isWrite) return (off === offsetOf(SOCK_OPS, 'reply') || off === offsetOf(SOCK_OPS, 'sk_txhash')) && size === 4;
  switch (fieldAt(SOCK_OPS, off)) {
    case 'bytes_received':
    case 'bytes_acked':
    case 'skb_hwtstamp': return size === 8;
    case 'sk':
      gives(access, PTR_TO_SOCKET | PTR_MAYBE_NULL);
      return size === 8;
    case 'skb_data':
      gives(access, PTR_TO_PACKET);
      return size === 8;
    case 'skb_data_end':
      gives(access, PTR_TO_PACKET_END);
      return size === 8;
    case 'skb_tcp_flags': return off === offsetOf(SOCK_OPS, 'skb_tcp_flags') ? narrow(access, 4) : size === 4;
    default: return size === 4;
  }
}

function skMsg(access: ContextAccess): boolean {
  const { off, size, isWrite } = access;
  if (isWrite || off < 0 || off % size !== 0) return false;
  switch (fieldAt(SK_MSG, off)) {
    case 'data':
      gives(access, PTR_TO_PACKET);
      return size === 8;
    case 'data_end':
      gives(access, PTR_TO_PACKET_END);
      return size === 8;
    case 'sk':
      gives(access, PTR_TO_SOCKET);
      return size === 8;
    case '': return false;
    default: return size === 4;
  }
}

function skReuseport(access: ContextAccess): boolean {
  const { off, size, isWrite } = access;
  if (isWrite || !inBounds(access, SK_REUSEPORT.size)) return false;
  const field = fieldAt(SK_REUSEPORT, off);
  const isStart = field !== '' && off === offsetOf(SK_REUSEPORT, field);
  switch (field) {
    case 'data':
      if (isStart) gives(access, PTR_TO_PACKET);
      return isStart && size === 8;
    case 'data_end':
      if (isStart) gives(access, PTR_TO_PACKET_END);
      return isStart && size === 8;
    case 'hash': return isStart && size === 4;
    case 'sk':
      if (isStart) gives(access, PTR_TO_SOCKET);
      return isStart && size === 8;
    case 'migrating_sk':
      if (isStart) gives(access, PTR_TO_SOCK_COMMON | PTR_MAYBE_NULL);
      return isStart && size === 8;
    // Two bytes at least: the width of `skb->protocol`.
    case 'eth_protocol': return size >= 2 && narrow(access, 4);
    case 'ip_protocol':
    case 'bind_inany':
    case 'len': return narrow(access, 4);
    default: return false;
  }
}

function skLookup(access: ContextAccess): boolean {
  const { off, size, isWrite } = access;
  if (isWrite || !inBounds(access, SK_LOOKUP.size)) return false;
  switch (fieldAt(SK_LOOKUP, off)) {
    case 'sk':
      gives(access, PTR_TO_SOCKET | PTR_MAYBE_NULL);
      return size === 8;
    case 'remote_port': return size === 4 || narrow(access, 2);
    // The two bytes after the port once belonged to it.
    case '': return off < offsetOf(SK_LOOKUP, 'local_ip4') && narrow(access, 2);
    default: return narrow(access, 4);
  }
}

// ---------------------------------------------------------------- cgroups

function cgroupDevice(access: ContextAccess): boolean {
  const { off, size, isWrite } = access;
  if (isWrite || off < 0 || off + size > CGROUP_DEV.size || off % size !== 0) return false;
  return fieldAt(CGROUP_DEV, off) === 'access_type' ? narrow(access, 4) : size === 4;
}

function sysctl(access: ContextAccess): boolean {
  const { off, size, isWrite } = access;
  if (off < 0 || off + size > SYSCTL.size || off % size !== 0) return false;
  if (fieldAt(SYSCTL, off) === 'write') return !isWrite && narrow(access, 4);
  return isWrite ? size === 4 : narrow(access, 4);
}

function sockopt(access: ContextAccess): boolean {
  const { off, size, isWrite, facts } = access;
  if (!inBounds(access, SOCKOPT.size)) return false;
  const field = fieldAt(SOCKOPT, off);
  const isGet = facts.expectedAttachType === U.BPF_CGROUP_GETSOCKOPT;
  const isSet = facts.expectedAttachType === U.BPF_CGROUP_SETSOCKOPT;
  if (isWrite) {
    if (size !== 4 || off !== offsetOf(SOCKOPT, field)) return false;
    return field === 'retval' ? isGet : field === 'optname' || field === 'level' ? isSet : field === 'optlen';
  }
  switch (field) {
    case 'sk':
      gives(access, PTR_TO_SOCKET);
      return size === 8;
    case 'optval':
      gives(access, PTR_TO_PACKET);
      return size === 8;
    case 'optval_end':
      gives(access, PTR_TO_PACKET_END);
      return size === 8;
    case 'retval': return size === 4 && isGet;
    default: return size === 4;
  }
}

// ---------------------------------------------------------------- tracing

function kprobe(access: ContextAccess): boolean {
  return inBounds(access, PT_REGS_SIZE) && access.off + access.size <= PT_REGS_SIZE;
}

/** Linux compares the offset with the size of a pointer unsigned, so that it lets negative ones pass. */
function tracepoint({ off, size, isWrite }: ContextAccess): boolean {
  return !isWrite && (off < 0 || off >= 8) && off < PERF_MAX_TRACE_SIZE && off % size === 0;
}

/** Arguments as an array of 64-bit values (`bpf_tracing_ctx_access`). */
export function argumentArray(access: ContextAccess): boolean {
  return !access.isWrite && inBounds(access, 8 * MAX_BPF_FUNC_ARGS);
}

function writableRawTracepoint(access: ContextAccess): boolean {
  if (access.off === 0) {
    if (access.isWrite || access.size !== 8) return false;
    gives(access, PTR_TO_TP_BUFFER);
  }
  return argumentArray(access);
}

function perfEvent(access: ContextAccess): boolean {
  const { off, size, isWrite } = access;
  if (isWrite || !inBounds(access, PERF_EVENT_DATA.size)) return false;
  return fieldAt(PERF_EVENT_DATA, off) === 'regs' ? size === 8 : narrow(access, 8);
}

// ---------------------------------------------------------------- the rest

/** Kernel structs behind the pointers of a netfilter program's context, by field. */
export const NETFILTER_STRUCTS: Readonly<Record<string, string>> = { skb: 'sk_buff', state: 'nf_hook_state' };

function netfilter(access: ContextAccess): boolean {
  return !access.isWrite && inBounds(access, NF_CTX.size) && access.size === 8;
}

/** A program of a system call sees what its caller passed: any bytes below 64 KiB. */
function syscall(access: ContextAccess): boolean {
  return access.off >= 0 && access.off < 0xffff;
}

/** One 32-bit sample, read only. */
function infrared(access: ContextAccess): boolean {
  return access.off === 0 && access.size === 4 && !access.isWrite;
}

/** The rule of a program type, for those whose context's layout is fixed. */
export const CONTEXT_RULES: ReadonlyMap<number, ContextRule> = new Map<number, ContextRule>([
  [U.BPF_PROG_TYPE_SOCKET_FILTER, SOCKET_FILTER],
  [U.BPF_PROG_TYPE_SCHED_CLS, trafficControl],
  [U.BPF_PROG_TYPE_SCHED_ACT, trafficControl],
  [U.BPF_PROG_TYPE_XDP, xdp],
  [U.BPF_PROG_TYPE_CGROUP_SKB, cgroupSkb],
  [U.BPF_PROG_TYPE_LWT_IN, LWT],
  [U.BPF_PROG_TYPE_LWT_OUT, LWT],
  [U.BPF_PROG_TYPE_LWT_XMIT, LWT],
  [U.BPF_PROG_TYPE_LWT_SEG6LOCAL, LWT],
  [U.BPF_PROG_TYPE_CGROUP_SOCK, cgroupSock],
  [U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, sockAddr],
  [U.BPF_PROG_TYPE_SOCK_OPS, sockOps],
  [U.BPF_PROG_TYPE_SK_SKB, SK_SKB],
  [U.BPF_PROG_TYPE_SK_MSG, skMsg],
  [U.BPF_PROG_TYPE_FLOW_DISSECTOR, flowDissector],
  [U.BPF_PROG_TYPE_SK_REUSEPORT, skReuseport],
  [U.BPF_PROG_TYPE_SK_LOOKUP, skLookup],
  [U.BPF_PROG_TYPE_CGROUP_DEVICE, cgroupDevice],
  [U.BPF_PROG_TYPE_CGROUP_SYSCTL, sysctl],
  [U.BPF_PROG_TYPE_CGROUP_SOCKOPT, sockopt],
  [U.BPF_PROG_TYPE_KPROBE, kprobe],
  [U.BPF_PROG_TYPE_TRACEPOINT, tracepoint],
  [U.BPF_PROG_TYPE_PERF_EVENT, perfEvent],
  [U.BPF_PROG_TYPE_RAW_TRACEPOINT, argumentArray],
  [U.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, writableRawTracepoint],
  [U.BPF_PROG_TYPE_NETFILTER, netfilter],
  [U.BPF_PROG_TYPE_SYSCALL, syscall],
  [U.BPF_PROG_TYPE_LIRC_MODE2, infrared],
]);

/** True for `BPF_WRITE`. */
export function isWriteAccess(type: number): boolean {
  return type === BPF_WRITE;
}
