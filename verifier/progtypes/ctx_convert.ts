/**
 * @module verifier/progtypes/ctx_convert
 * Rewrites accepted accesses to a context, or to a socket, into accesses to the kernel's own structures, as they show in a
 * program's xlated instructions. Each field has a recipe: a few loads along pointers, found by name in the kernel's BTF, and what
 * comes with them. Behaviour of the `convert_ctx_access` functions of Linux 7.3 and of the narrowing around them in
 * `bpf_convert_ctx_accesses()`; walking the program and patching it is not here.
 */
import type { Instruction } from '../../isa/decode.ts';
import * as U from '../../isa/uapi.ts';
import { PTR_TO_CTX, PTR_TO_SOCK_COMMON, PTR_TO_SOCKET, PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK } from '../regtypes.ts';
import { accessSize, Conversion, REG_AX, sizeCode } from './ctx_conversion.ts';
import {
  fieldAt, offsetOf, PERF_EVENT_DATA, SK_BUFF, SK_LOOKUP, SK_MSG, SK_REUSEPORT, SOCK, SOCK_ADDR, SOCK_OPS, SOCKOPT, SYSCTL, TCP_SOCK, XDP_MD, XDP_SOCK,
  type ContextLayout,
} from './ctx_layouts.ts';
import type { KernelLayout, Place } from './kernel_layout.ts';

const NO_QUEUE_MAPPING = 0xffff;
/** `NR_CPUS + 1` of a kernel for up to 128 processors: ids below are no NAPI ids. */
const MIN_NAPI_ID = 129;
/** Bits of the byte at `__mono_tc_offset` in `struct sk_buff`. */
const TC_AT_INGRESS = 4;
const TSTAMP_TYPE = 3;
const PKT_TYPE = 7;

/** Makes one field's instructions; `at` is the offset of the access from the field's start. */
type Recipe = (c: Conversion, at: number) => void;
type Recipes = Readonly<Record<string, Recipe>>;

const own = (path: string, size?: number): Recipe => (c) => c.own(path, size);
const target = (path: string, size?: number): Recipe => (c) => c.target(path, size);
/** A member of what a pointer in the context points at. */
const behind = (pointer: string, path: string, size?: number): Recipe => (c) => {
  c.pointer(pointer);
  c.follow(path, size);
};
const behindTarget = (pointer: string, path: string, size?: number): Recipe => (c) => {
  behind(pointer, path, size)(c, 0);
  c.targetSize = size ?? c.place(path).size;
};

// ---------------------------------------------------------------- sockets reached from a context

/** The fields of `struct sock_common` that several contexts show, behind their pointer to the socket. */
function socketFields(pointer: string, setsTarget: boolean): Recipes {
  const field = (path: string, size: number): Recipe => (c) => {
    behind(pointer, path, size)(c, 0);
    if (setsTarget) c.targetSize = size;
  };
  const address = (path: string): Recipe => (c, at) => {
    c.pointer(pointer);
    c.follow(path, 4, at);
  };
  return {
    family: field('sock_common.skc_family', 2),
    remote_ip4: field('sock_common.skc_daddr', 4),
    local_ip4: field('sock_common.skc_rcv_saddr', 4),
    remote_ip6: address('sock_common.skc_v6_daddr'),
    local_ip6: address('sock_common.skc_v6_rcv_saddr'),
    remote_port: (c) => {
      field('sock_common.skc_dport', 2)(c, 0);
      c.alu32(U.BPF_LSH, c.insn.dst, 16);
    },
    local_port: field('sock_common.skc_num', 2),
  };
}

// ---------------------------------------------------------------- struct __sk_buff

/** The address of `skb_shared_info` into the destination register. */
function sharedInfo(c: Conversion, skb: number): void {
  const { dst } = c.insn;
  const end = c.place('sk_buff.end');
  const head = c.place('sk_buff.head');
  c.ldx(end.size, REG_AX, skb, end.offset);
  c.ldx(head.size, dst, skb, head.offset);
  c.emit(U.BPF_ALU64 | U.BPF_ADD | U.BPF_X, dst, REG_AX, 0, 0);
}

const shared = (path: string): Recipe => (c) => {
  sharedInfo(c, c.insn.src);
  c.follow(path);
  c.targetSize = c.place(path).size;
};

/** Control-block bytes that belong to the program: `struct sk_buff.cb` and a member of what is kept there. */
const controlBlock = (path: string, size?: number): Recipe => (c, at) => {
  const offset = c.place('sk_buff.cb').offset + c.place(path).offset + at;
  const bytes = size ?? accessSize(c.insn.code);
  if (c.isWrite) c.store(bytes, c.insn.dst, offset);
  else c.ldx(bytes, c.insn.dst, c.insn.src, offset);
  if (size !== undefined) c.targetSize = size;
};

function readTimestamp(c: Conversion): void {
  const { dst, src } = c.insn;
  if (!c.knowsTimestampType) {
    // A packet on its way in that carries another clock's time has none for a program that does not ask.
    c.ldx(1, REG_AX, src, c.place('sk_buff.__mono_tc_offset').offset);
    c.emit(U.BPF_JMP32 | U.BPF_JSET, REG_AX, 0, 1, TC_AT_INGRESS);
    c.skip(4);
    c.emit(U.BPF_JMP32 | U.BPF_JSET, REG_AX, 0, 1, TSTAMP_TYPE);
    c.skip(2);
    c.mov64(dst, 0);
    c.skip(1);
  }
  c.ldx(8, dst, src, c.place('sk_buff.tstamp').offset);
}

function writeTimestamp(c: Conversion): void {
  const { dst } = c.insn;
  const flags = c.place('sk_buff.__mono_tc_offset').offset;
  if (!c.knowsTimestampType) {
    c.ldx(1, REG_AX, dst, flags);
    c.emit(U.BPF_JMP32 | U.BPF_JSET, REG_AX, 0, 1, TC_AT_INGRESS);
    c.skip(2);
    c.alu32(U.BPF_AND, REG_AX, ~TSTAMP_TYPE);
    c.stx(1, dst, flags, REG_AX);
  }
  c.store(8, dst, c.place('sk_buff.tstamp').offset);
}

function queueMapping(c: Conversion): void {
  const { insn } = c;
  if (!c.isWrite) {
    c.target('sk_buff.queue_mapping', 2);
    return;
  }
  c.targetSize = 2;
  const isImmediate = (insn.code & 7) === U.BPF_ST;
  if (isImmediate && insn.imm >= NO_QUEUE_MAPPING) {
    c.skip(0);
    return;
  }
  if (!isImmediate) c.jump(U.BPF_JGE, insn.src, NO_QUEUE_MAPPING, 1);
  c.store(2, insn.dst, c.place('sk_buff.queue_mapping').offset);
}

const SKB: Recipes = {
  ...socketFields('sk_buff.sk', true),
  len: target('sk_buff.len', 4),
  protocol: target('sk_buff.protocol', 2),
  vlan_proto: target('sk_buff.vlan_proto', 2),
  priority: target('sk_buff.priority', 4),
  ingress_ifindex: target('sk_buff.skb_iif', 4),
  ifindex: (c) => {
    c.pointer('sk_buff.dev');
    c.unlessNull();
    c.follow('net_device.ifindex', 4);
    c.targetSize = 4;
  },
  hash: target('sk_buff.hash', 4),
  mark: target('sk_buff.mark', 4),
  pkt_type: (c) => {
    c.ldx(1, c.insn.dst, c.insn.src, c.place('sk_buff.__pkt_type_offset').offset);
    c.alu32(U.BPF_AND, c.insn.dst, PKT_TYPE);
    c.targetSize = 1;
  },
  queue_mapping: queueMapping,
  vlan_present: (c) => {
    c.target('sk_buff.vlan_all', 4);
    c.unlessNull();
    c.alu32(U.BPF_MOV, c.insn.dst, 1);
  },
  vlan_tci: target('sk_buff.vlan_tci', 2),
  cb: controlBlock('qdisc_skb_cb.data'),
  tc_classid: controlBlock('qdisc_skb_cb.tc_classid', 2),
  data: own('sk_buff.data'),
  data_meta: (c) => c.ldx(8, c.insn.dst, c.insn.src, c.place('sk_buff.cb').offset + c.place('bpf_skb_data_end.data_meta').offset),
  data_end: (c) => c.ldx(8, c.insn.dst, c.insn.src, c.place('sk_buff.cb').offset + c.place('bpf_skb_data_end.data_end').offset),
  tc_index: target('sk_buff.tc_index', 2),
  napi_id: (c) => {
    c.target('sk_buff.napi_id', 4);
    c.jump(U.BPF_JGE, c.insn.dst, MIN_NAPI_ID, 1);
    c.mov64(c.insn.dst, 0);
  },
  tstamp: (c) => (c.isWrite ? writeTimestamp(c) : readTimestamp(c)),
  tstamp_type: (c) => {
    c.ldx(1, c.insn.dst, c.insn.src, c.place('sk_buff.__mono_tc_offset').offset);
    c.alu32(U.BPF_AND, c.insn.dst, TSTAMP_TYPE);
  },
  gso_segs: shared('skb_shared_info.gso_segs'),
  gso_size: shared('skb_shared_info.gso_size'),
  wire_len: controlBlock('qdisc_skb_cb.pkt_len', 4),
  sk: own('sk_buff.sk'),
  hwtstamp: shared('skb_shared_info.hwtstamps'),
};

/** Traffic control sees only packets that have a device. */
const TC: Recipes = { ...SKB, ifindex: behindTarget('sk_buff.dev', 'net_device.ifindex', 4) };

/** The end of the linear part, computed: socket programs have no room for it in the control block. */
function computedDataEnd(c: Conversion): void {
  const { dst, src } = c.insn;
  const scratch = c.place('sk_buff.cb').offset + c.place('sk_skb_cb.temp_reg').offset;
  const isShared = dst === src;
  const reg = isShared ? c.spare() : dst;
  if (isShared) c.stx(8, src, scratch, reg);
  const load = (to: number, path: string): void => c.ldx(c.place(path).size, to, src, c.place(path).offset);
  load(reg, 'sk_buff.data');
  load(REG_AX, 'sk_buff.len');
  c.emit(U.BPF_ALU64 | U.BPF_ADD | U.BPF_X, reg, REG_AX, 0, 0);
  load(REG_AX, 'sk_buff.data_len');
  c.emit(U.BPF_ALU64 | U.BPF_SUB | U.BPF_X, reg, REG_AX, 0, 0);
  if (!isShared) return;
  c.copy(REG_AX, src);
  c.copy(dst, reg);
  c.ldx(8, reg, REG_AX, scratch);
}

const SK_SKB_RECIPES: Recipes = { ...SKB, data_end: computedDataEnd, cb: controlBlock('sk_skb_cb.data') };

const FLOW_DISSECTOR: Recipes = {
  data: own('bpf_flow_dissector.data'), data_end: own('bpf_flow_dissector.data_end'), flow_keys: own('bpf_flow_dissector.flow_keys'),
};

// ---------------------------------------------------------------- other contexts

const XDP: Recipes = {
  data: own('xdp_buff.data'),
  data_meta: own('xdp_buff.data_meta'),
  data_end: own('xdp_buff.data_end'),
  ingress_ifindex: (c) => {
    c.pointer('xdp_buff.rxq');
    c.pointer('xdp_rxq_info.dev');
    c.follow('net_device.ifindex', 4);
  },
  rx_queue_index: behind('xdp_buff.rxq', 'xdp_rxq_info.queue_index', 4),
  egress_ifindex: (c) => {
    c.pointer('xdp_buff.txq');
    c.pointer('xdp_txq_info.dev');
    c.follow('net_device.ifindex', 4);
  },
};

const asAccessed = (path: string): Recipe => (c, at) => {
  c.ldx(accessSize(c.insn.code), c.insn.dst, c.insn.src, c.place(path).offset + at);
  c.targetSize = 4;
};

const SOCKET: Recipes = {
  bound_dev_if: own('sock.__sk_common.skc_bound_dev_if', 4),
  mark: own('sock.sk_mark', 4),
  priority: own('sock.sk_priority', 4),
  family: target('sock_common.skc_family'),
  type: target('sock.sk_type'),
  protocol: target('sock.sk_protocol'),
  src_ip4: asAccessed('sock_common.skc_rcv_saddr'),
  dst_ip4: asAccessed('sock_common.skc_daddr'),
  src_ip6: asAccessed('sock_common.skc_v6_rcv_saddr'),
  dst_ip6: asAccessed('sock_common.skc_v6_daddr'),
  src_port: target('sock_common.skc_num'),
  dst_port: target('sock_common.skc_dport'),
  state: target('sock_common.skc_state'),
  rx_queue_mapping: (c) => {
    c.own('sock.__sk_common.skc_rx_queue_mapping');
    c.jump(U.BPF_JNE, c.insn.dst, NO_QUEUE_MAPPING, 1);
    c.alu32(U.BPF_MOV, c.insn.dst, -1);
    c.targetSize = 4;
  },
};

const TCP_FIELDS = ['snd_cwnd', 'srtt_us', 'snd_ssthresh', 'rcv_nxt', 'snd_nxt', 'snd_una', 'mss_cache', 'ecn_flags', 'rate_delivered',
  'rate_interval_us', 'packets_out', 'retrans_out', 'total_retrans', 'segs_in', 'data_segs_in', 'segs_out', 'data_segs_out', 'lost_out',
  'sacked_out', 'bytes_received', 'bytes_acked'] as const;

const TCP: Recipes = {
  ...Object.fromEntries([...TCP_FIELDS, 'dsack_dups', 'delivered', 'delivered_ce'].map((name): [string, Recipe] => [name, own(`tcp_sock.${name}`)])),
  rtt_min: (c) => c.ldx(4, c.insn.dst, c.insn.src, c.place('tcp_sock.rtt_min').offset + c.place('minmax_sample.v').offset),
  icsk_retransmits: own('inet_connection_sock.icsk_retransmits'),
};

const XSK: Recipes = { queue_id: own('xdp_sock.queue_id') };

/** A member of the address or the message that the context points at; stores go by way of a borrowed register. */
const addressed = (pointer: string, path: string, size: (c: Conversion) => number, targetSize: (c: Conversion) => number): Recipe => (c, at) => {
  const { insn } = c;
  const place = c.place(path);
  c.targetSize = targetSize(c);
  if (!c.isWrite) {
    c.pointer(pointer);
    c.follow(path, size(c), at);
    return;
  }
  const reg = c.spare();
  const scratch = c.place('bpf_sock_addr_kern.tmp_reg').offset;
  const from = c.place(pointer);
  c.stx(8, insn.dst, scratch, reg);
  c.ldx(from.size, reg, insn.dst, from.offset);
  c.store(size(c), reg, place.offset + at);
  c.ldx(8, reg, insn.dst, scratch);
};

const inAccessSize = (c: Conversion): number => accessSize(c.insn.code);
const word = (): number => 4;

const SOCK_ADDRESS: Recipes = {
  user_family: behindTarget('bpf_sock_addr_kern.uaddr', 'sockaddr.sa_family'),
  user_ip4: addressed('bpf_sock_addr_kern.uaddr', 'sockaddr_in.sin_addr', inAccessSize, word),
  user_ip6: addressed('bpf_sock_addr_kern.uaddr', 'sockaddr_in6.sin6_addr', inAccessSize, word),
  user_port: addressed('bpf_sock_addr_kern.uaddr', 'sockaddr_in6.sin6_port', (c) => Math.min(2, accessSize(c.insn.code)), () => 2),
  family: behindTarget('bpf_sock_addr_kern.sk', 'sock.__sk_common.skc_family'),
  type: behindTarget('bpf_sock_addr_kern.sk', 'sock.sk_type'),
  protocol: behindTarget('bpf_sock_addr_kern.sk', 'sock.sk_protocol'),
  msg_src_ip4: addressed('bpf_sock_addr_kern.t_ctx', 'in_addr.s_addr', inAccessSize, word),
  msg_src_ip6: addressed('bpf_sock_addr_kern.t_ctx', 'in6_addr', inAccessSize, word),
  sk: own('bpf_sock_addr_kern.sk'),
};

/** A member of the TCP socket, 0 where the context has only a request socket: checked by a flag, with a register borrowed if need be. */
function guarded(c: Conversion, flag: string, places: readonly Place[]): void {
  const { dst, src } = c.insn;
  const scratch = c.place('bpf_sock_ops_kern.temp').offset;
  const isShared = dst === src;
  const reg = c.spare();
  const tested = isShared ? reg : dst;
  const guard = c.place(`bpf_sock_ops_kern.${flag}`);
  if (isShared) c.stx(8, src, scratch, reg);
  c.ldx(guard.size, tested, src, guard.offset);
  c.jump(U.BPF_JEQ, tested, 0, 1 + places.length + (isShared ? 2 : 0));
  if (isShared) c.ldx(8, reg, src, scratch);
  const sk = c.place('bpf_sock_ops_kern.sk');
  c.ldx(sk.size, dst, src, sk.offset);
  for (const place of places) c.ldx(place.size, dst, dst, place.offset);
  if (!isShared) return;
  c.skip(2);
  c.ldx(8, reg, src, scratch);
  c.mov64(dst, 0);
}

const tcpField = (path: string): Recipe => (c) => guarded(c, 'is_locked_tcp_sock', [c.place(path)]);

function storeSocketField(c: Conversion, path: string): void {
  const { insn } = c;
  const reg = c.spare();
  const scratch = c.place('bpf_sock_ops_kern.temp').offset;
  const guard = c.place('bpf_sock_ops_kern.is_locked_tcp_sock');
  const sk = c.place('bpf_sock_ops_kern.sk');
  const place = c.place(path);
  c.stx(8, insn.dst, scratch, reg);
  c.ldx(guard.size, reg, insn.dst, guard.offset);
  c.jump(U.BPF_JEQ, reg, 0, 2);
  c.ldx(sk.size, reg, insn.dst, sk.offset);
  c.store(place.size, reg, place.offset);
  c.ldx(8, reg, insn.dst, scratch);
}

/** A member of the packet, 0 where there is none. */
const ofPacket = (path: string): Recipe => (c) => {
  c.pointer('bpf_sock_ops_kern.skb');
  c.unlessNull();
  c.follow(path);
};

const reply: Recipe = (c, at) => c.own('bpf_sock_ops_kern.replylong', 4, at);

const SOCK_OPERATIONS: Recipes = {
  ...socketFields('bpf_sock_ops_kern.sk', false),
  ...Object.fromEntries(TCP_FIELDS.map((name): [string, Recipe] => [name, tcpField(`tcp_sock.${name}`)])),
  op: own('bpf_sock_ops_kern.op'),
  args: reply,
  reply,
  replylong: reply,
  is_fullsock: own('bpf_sock_ops_kern.is_fullsock'),
  state: behind('bpf_sock_ops_kern.sk', 'sock_common.skc_state', 1),
  // Of the three samples the first one's value.
  rtt_min: (c) => guarded(c, 'is_locked_tcp_sock', [{ offset: c.place('tcp_sock.rtt_min').offset + c.place('minmax_sample.v').offset, size: 4 }]),
  bpf_sock_ops_cb_flags: tcpField('tcp_sock.bpf_sock_ops_cb_flags'),
  sk_txhash: (c) => (c.isWrite ? storeSocketField(c, 'sock.sk_txhash') : guarded(c, 'is_locked_tcp_sock', [c.place('sock.sk_txhash')])),
  sk: (c) => guarded(c, 'is_fullsock', []),
  skb_data_end: own('bpf_sock_ops_kern.skb_data_end'),
  skb_data: ofPacket('sk_buff.data'),
  skb_len: ofPacket('sk_buff.len'),
  skb_tcp_flags: (c) => {
    const flags = c.place('tcp_skb_cb.tcp_flags');
    c.pointer('bpf_sock_ops_kern.skb');
    c.unlessNull();
    c.ldx(flags.size, c.insn.dst, c.insn.dst, c.place('sk_buff.cb').offset + flags.offset);
    c.targetSize = flags.size;
  },
  skb_hwtstamp: (c) => {
    c.pointer('bpf_sock_ops_kern.skb');
    c.unlessNull(4);
    sharedInfo(c, c.insn.dst);
    c.follow('skb_shared_info.hwtstamps');
    c.targetSize = 8;
  },
};

const MESSAGE: Recipes = {
  ...socketFields('sk_msg.sk', false),
  data: own('sk_msg.data'), data_end: own('sk_msg.data_end'), size: own('sk_msg_sg.size'), sk: own('sk_msg.sk'),
};

const REUSEPORT: Recipes = {
  data: behindTarget('sk_reuseport_kern.skb', 'sk_buff.data'),
  len: behindTarget('sk_reuseport_kern.skb', 'sk_buff.len'),
  eth_protocol: behindTarget('sk_reuseport_kern.skb', 'sk_buff.protocol'),
  ip_protocol: behindTarget('sk_reuseport_kern.sk', 'sock.sk_protocol'),
  data_end: target('sk_reuseport_kern.data_end'),
  hash: target('sk_reuseport_kern.hash'),
  bind_inany: target('sk_reuseport_kern.bind_inany'),
  sk: target('sk_reuseport_kern.sk'),
  migrating_sk: target('sk_reuseport_kern.migrating_sk'),
};

const lookupAddress = (pointer: string): Recipe => (c, at) => {
  c.pointer(pointer);
  c.unlessNull();
  c.ldx(4, c.insn.dst, c.insn.dst, at);
  c.targetSize = 4;
};

const LOOKUP: Recipes = {
  sk: own('bpf_sk_lookup_kern.selected_sk'),
  family: target('bpf_sk_lookup_kern.family', 2),
  protocol: target('bpf_sk_lookup_kern.protocol', 2),
  remote_ip4: target('bpf_sk_lookup_kern.v4.saddr', 4),
  local_ip4: target('bpf_sk_lookup_kern.v4.daddr', 4),
  remote_ip6: lookupAddress('bpf_sk_lookup_kern.v6.saddr'),
  local_ip6: lookupAddress('bpf_sk_lookup_kern.v6.daddr'),
  remote_port: target('bpf_sk_lookup_kern.sport', 2),
  local_port: target('bpf_sk_lookup_kern.dport', 2),
  ingress_ifindex: target('bpf_sk_lookup_kern.ingress_ifindex', 4),
  // Two bytes of padding that once were the port's upper half.
  '': (c) => {
    c.alu32(U.BPF_MOV, c.insn.dst, 0);
    c.targetSize = 2;
  },
};

function filePosition(c: Conversion): void {
  const { insn } = c;
  c.targetSize = 4;
  const position = c.place('bpf_sysctl_kern.ppos');
  if (!c.isWrite) {
    c.pointer('bpf_sysctl_kern.ppos');
    c.ldx(accessSize(insn.code), insn.dst, insn.dst, 0);
    return;
  }
  const reg = c.spare();
  const scratch = c.place('bpf_sysctl_kern.tmp_reg').offset;
  c.stx(8, insn.dst, scratch, reg);
  c.ldx(position.size, reg, insn.dst, position.offset);
  c.store(4, reg, 0);
  c.ldx(8, reg, insn.dst, scratch);
}

const SYSTEM_CONTROL: Recipes = {
  write: (c) => {
    c.ldx(accessSize(c.insn.code), c.insn.dst, c.insn.src, c.place('bpf_sysctl_kern.write').offset);
    c.targetSize = 4;
  },
  file_pos: filePosition,
};

/** The return value is the task's: behind its current BPF context. */
function sockoptRetval(c: Conversion): void {
  const { insn } = c;
  const task = c.place('bpf_sockopt_kern.current_task');
  const context = c.place('task_struct.bpf_ctx');
  const value = c.place('bpf_cg_run_ctx.retval');
  if (!c.isWrite) {
    c.pointer('bpf_sockopt_kern.current_task');
    c.pointer('task_struct.bpf_ctx');
    c.follow('bpf_cg_run_ctx.retval');
    return;
  }
  const reg = c.spare();
  const scratch = c.place('bpf_sockopt_kern.tmp_reg').offset;
  c.stx(8, insn.dst, scratch, reg);
  c.ldx(task.size, reg, insn.dst, task.offset);
  c.ldx(context.size, reg, reg, context.offset);
  c.store(value.size, reg, value.offset);
  c.ldx(8, reg, insn.dst, scratch);
}

const SOCKET_OPTION: Recipes = {
  ...Object.fromEntries(['sk', 'level', 'optname', 'optlen', 'optval', 'optval_end'].map((name): [string, Recipe] => [name, own(`bpf_sockopt_kern.${name}`)])),
  retval: sockoptRetval,
};

const PERF_EVENT: Recipes = {
  sample_period: behindTarget('bpf_perf_event_data_kern.data', 'perf_sample_data.period', 8),
  addr: behindTarget('bpf_perf_event_data_kern.data', 'perf_sample_data.addr', 8),
  regs: (c, at) => {
    c.pointer('bpf_perf_event_data_kern.regs');
    c.ldx(8, c.insn.dst, c.insn.dst, at);
  },
};

interface Converter {
  readonly context: ContextLayout;
  readonly recipes: Recipes;
}

const skb = (recipes: Recipes): Converter => ({ context: SK_BUFF, recipes });

const BY_PROGRAM: ReadonlyMap<number, Converter> = new Map([
  [U.BPF_PROG_TYPE_SOCKET_FILTER, skb(SKB)],
  [U.BPF_PROG_TYPE_SCHED_CLS, skb(TC)],
  [U.BPF_PROG_TYPE_SCHED_ACT, skb(TC)],
  [U.BPF_PROG_TYPE_CGROUP_SKB, skb(SKB)],
  [U.BPF_PROG_TYPE_LWT_IN, skb(SKB)],
  [U.BPF_PROG_TYPE_LWT_OUT, skb(SKB)],
  [U.BPF_PROG_TYPE_LWT_XMIT, skb(SKB)],
  [U.BPF_PROG_TYPE_LWT_SEG6LOCAL, skb(SKB)],
  [U.BPF_PROG_TYPE_SK_SKB, skb(SK_SKB_RECIPES)],
  [U.BPF_PROG_TYPE_FLOW_DISSECTOR, skb(FLOW_DISSECTOR)],
  [U.BPF_PROG_TYPE_XDP, { context: XDP_MD, recipes: XDP }],
  [U.BPF_PROG_TYPE_CGROUP_SOCK, { context: SOCK, recipes: SOCKET }],
  [U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, { context: SOCK_ADDR, recipes: SOCK_ADDRESS }],
  [U.BPF_PROG_TYPE_SOCK_OPS, { context: SOCK_OPS, recipes: SOCK_OPERATIONS }],
  [U.BPF_PROG_TYPE_SK_MSG, { context: SK_MSG, recipes: MESSAGE }],
  [U.BPF_PROG_TYPE_SK_REUSEPORT, { context: SK_REUSEPORT, recipes: REUSEPORT }],
  [U.BPF_PROG_TYPE_SK_LOOKUP, { context: SK_LOOKUP, recipes: LOOKUP }],
  [U.BPF_PROG_TYPE_CGROUP_SYSCTL, { context: SYSCTL, recipes: SYSTEM_CONTROL }],
  [U.BPF_PROG_TYPE_CGROUP_SOCKOPT, { context: SOCKOPT, recipes: SOCKET_OPTION }],
  [U.BPF_PROG_TYPE_PERF_EVENT, { context: PERF_EVENT_DATA, recipes: PERF_EVENT }],
]);

const BY_POINTER: ReadonlyMap<number, Converter> = new Map([
  [PTR_TO_SOCKET, { context: SOCK, recipes: SOCKET }],
  [PTR_TO_SOCK_COMMON, { context: SOCK, recipes: SOCKET }],
  [PTR_TO_TCP_SOCK, { context: TCP_SOCK, recipes: TCP }],
  [PTR_TO_XDP_SOCK, { context: XDP_SOCK, recipes: XSK }],
]);

/** What a conversion depends on besides the instruction. */
export interface ConversionContext {
  readonly kernel: KernelLayout;
  /** `BPF_PROG_TYPE_*` whose context it is. */
  readonly progType: number;
  /** True where the program also reads `__sk_buff.tstamp_type`. */
  readonly knowsTimestampType: boolean;
}

/**
 * The instructions that replace one access.
 * @param ptrType kind of the pointer accessed: the context or a socket
 * @param insn the access as loaded
 * @param ctxFieldSize bytes of the field that a narrower load is taken from, 0 for none (`AccessInfo.ctxFieldSize`)
 * @returns `undefined` where such an access stays as it is; an empty list where the checks let an access pass that no conversion
 *   knows (Linux: 4 bytes within an 8-byte field of `struct bpf_tcp_sock`), which ends the load with `EFAULT`
 */
export function convertAccess(context: ConversionContext, ptrType: number, insn: Instruction, ctxFieldSize: number): readonly Instruction[] | undefined {
  const converter = converterOf(context.progType, ptrType);
  if (converter === undefined) return undefined;
  const size = accessSize(insn.code);
  const isNarrow = size < ctxFieldSize;
  const whole = isNarrow
    ? { ...insn, code: U.BPF_LDX | U.BPF_MEM | sizeCode(ctxFieldSize === 4 || ctxFieldSize === 8 ? ctxFieldSize : 2), off: insn.off & ~(ctxFieldSize - 1) }
    : insn;
  const conversion = new Conversion(context.kernel, whole, context.knowsTimestampType);
  applyRecipe(converter, conversion);
  if (conversion.out.length === 0) return [];
  if (isNarrow && size < conversion.targetSize) cutOut(conversion, insn, size, ctxFieldSize);
  if ((insn.code & 0xe0) === U.BPF_MEMSX) conversion.emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, insn.dst, insn.dst, size * 8, 0);
  return conversion.out;
}

function converterOf(progType: number, ptrType: number): Converter | undefined {
  return ptrType === PTR_TO_CTX ? BY_PROGRAM.get(progType) : BY_POINTER.get(ptrType);
}

/** True where accesses through a pointer of this kind may have to be converted. */
export function hasConversion(progType: number, ptrType: number): boolean {
  return converterOf(progType, ptrType) !== undefined;
}

/** Fields that may be accessed anywhere in them; of others only the start is converted. */
const SPANNING: ReadonlySet<string> = new Set(['cb', 'remote_ip6', 'local_ip6', 'src_ip6', 'dst_ip6', 'user_ip6', 'msg_src_ip6', 'args', 'reply', 'replylong',
  'regs', '']);

function applyRecipe({ context, recipes }: Converter, conversion: Conversion): void {
  const { off } = conversion.insn;
  const field = fieldAt(context, off);
  const at = field === '' ? 0 : off - offsetOf(context, field);
  if (at === 0 || SPANNING.has(field)) recipes[field]?.(conversion, at);
}

/** The bytes of a field that were asked for. */
function cutOut(conversion: Conversion, insn: Instruction, size: number, fieldSize: number): void {
  const shift = (insn.off & (fieldSize - 1)) * 8;
  if (shift !== 0) conversion.emit((fieldSize <= 4 ? U.BPF_ALU : U.BPF_ALU64) | U.BPF_RSH, insn.dst, 0, 0, shift);
  conversion.emit(U.BPF_ALU | U.BPF_AND, insn.dst, 0, 0, size === 4 ? -1 : 2 ** (size * 8) - 1);
}
