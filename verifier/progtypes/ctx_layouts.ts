/**
 * @module verifier/progtypes/ctx_layouts
 * The structures that programs see as their context, as user space knows them: fields with offset and size. Who may access which
 * is `ctx_access.ts`. Source: `include/uapi/linux/bpf.h` of Linux 7.3, x86-64 for `struct pt_regs`.
 */

/** A context's structure. */
export interface ContextLayout {
  /** Bytes. */
  readonly size: number;
  /** Offset and size in bytes by field name. */
  readonly fields: Readonly<Record<string, readonly [offset: number, size: number]>>;
  /** Name of the field that covers an offset, `""` for padding and beyond the end; of fields that overlap the first. */
  readonly nameAt: readonly string[];
}

function layout(size: number, fields: ContextLayout['fields']): ContextLayout {
  const nameAt: string[] = Array.from({ length: size }, () => '');
  for (const [name, [offset, length]] of Object.entries(fields)) {
    for (let at = offset; at < offset + length; at++) nameAt[at] ||= name;
  }
  return { size, fields, nameAt };
}

/** Offset of a field's first byte. */
export function offsetOf(context: ContextLayout, name: string): number {
  const field = context.fields[name];
  if (field === undefined) throw new RangeError(`no context field ${name}`);
  return field[0];
}

/** Name of the field at an offset, `""` for none. */
export function fieldAt(context: ContextLayout, offset: number): string {
  return context.nameAt[offset] ?? '';
}

/** `struct __sk_buff` */
export const SK_BUFF: ContextLayout = layout(192, {
  len: [0, 4], pkt_type: [4, 4], mark: [8, 4], queue_mapping: [12, 4], protocol: [16, 4], vlan_present: [20, 4],
  vlan_tci: [24, 4], vlan_proto: [28, 4], priority: [32, 4], ingress_ifindex: [36, 4], ifindex: [40, 4], tc_index: [44, 4],
  cb: [48, 20], hash: [68, 4], tc_classid: [72, 4], data: [76, 4], data_end: [80, 4], napi_id: [84, 4], family: [88, 4],
  remote_ip4: [92, 4], local_ip4: [96, 4], remote_ip6: [100, 16], local_ip6: [116, 16], remote_port: [132, 4],
  local_port: [136, 4], data_meta: [140, 4], flow_keys: [144, 8], tstamp: [152, 8], wire_len: [160, 4], gso_segs: [164, 4],
  sk: [168, 8], gso_size: [176, 4], tstamp_type: [180, 1], hwtstamp: [184, 8],
});

/** `struct bpf_sock` */
export const SOCK: ContextLayout = layout(80, {
  bound_dev_if: [0, 4], family: [4, 4], type: [8, 4], protocol: [12, 4], mark: [16, 4], priority: [20, 4], src_ip4: [24, 4],
  src_ip6: [28, 16], src_port: [44, 4], dst_port: [48, 2], dst_ip4: [52, 4], dst_ip6: [56, 16], state: [72, 4],
  rx_queue_mapping: [76, 4],
});

/** `struct bpf_tcp_sock` */
export const TCP_SOCK: ContextLayout = layout(112, {
  snd_cwnd: [0, 4], srtt_us: [4, 4], rtt_min: [8, 4], snd_ssthresh: [12, 4], rcv_nxt: [16, 4], snd_nxt: [20, 4],
  snd_una: [24, 4], mss_cache: [28, 4], ecn_flags: [32, 4], rate_delivered: [36, 4], rate_interval_us: [40, 4],
  packets_out: [44, 4], retrans_out: [48, 4], total_retrans: [52, 4], segs_in: [56, 4], data_segs_in: [60, 4],
  segs_out: [64, 4], data_segs_out: [68, 4], lost_out: [72, 4], sacked_out: [76, 4], bytes_received: [80, 8],
  bytes_acked: [88, 8], dsack_dups: [96, 4], delivered: [100, 4], delivered_ce: [104, 4], icsk_retransmits: [108, 4],
});

/** `struct bpf_xdp_sock` */
export const XDP_SOCK: ContextLayout = layout(4, {
  queue_id: [0, 4],
});

/** `struct xdp_md` */
export const XDP_MD: ContextLayout = layout(24, {
  data: [0, 4], data_end: [4, 4], data_meta: [8, 4], ingress_ifindex: [12, 4], rx_queue_index: [16, 4],
  egress_ifindex: [20, 4],
});

/** `struct bpf_sock_addr` */
export const SOCK_ADDR: ContextLayout = layout(72, {
  user_family: [0, 4], user_ip4: [4, 4], user_ip6: [8, 16], user_port: [24, 4], family: [28, 4], type: [32, 4],
  protocol: [36, 4], msg_src_ip4: [40, 4], msg_src_ip6: [44, 16], sk: [64, 8],
});

/** `struct bpf_sock_ops` */
export const SOCK_OPS: ContextLayout = layout(224, {
  op: [0, 4], args: [4, 16], reply: [4, 4], replylong: [4, 16], family: [20, 4], remote_ip4: [24, 4], local_ip4: [28, 4],
  remote_ip6: [32, 16], local_ip6: [48, 16], remote_port: [64, 4], local_port: [68, 4], is_fullsock: [72, 4],
  snd_cwnd: [76, 4], srtt_us: [80, 4], bpf_sock_ops_cb_flags: [84, 4], state: [88, 4], rtt_min: [92, 4],
  snd_ssthresh: [96, 4], rcv_nxt: [100, 4], snd_nxt: [104, 4], snd_una: [108, 4], mss_cache: [112, 4], ecn_flags: [116, 4],
  rate_delivered: [120, 4], rate_interval_us: [124, 4], packets_out: [128, 4], retrans_out: [132, 4],
  total_retrans: [136, 4], segs_in: [140, 4], data_segs_in: [144, 4], segs_out: [148, 4], data_segs_out: [152, 4],
  lost_out: [156, 4], sacked_out: [160, 4], sk_txhash: [164, 4], bytes_received: [168, 8], bytes_acked: [176, 8],
  sk: [184, 8], skb_data: [192, 8], skb_data_end: [200, 8], skb_len: [208, 4], skb_tcp_flags: [212, 4],
  skb_hwtstamp: [216, 8],
});

/** `struct sk_msg_md` */
export const SK_MSG: ContextLayout = layout(80, {
  data: [0, 8], data_end: [8, 8], family: [16, 4], remote_ip4: [20, 4], local_ip4: [24, 4], remote_ip6: [28, 16],
  local_ip6: [44, 16], remote_port: [60, 4], local_port: [64, 4], size: [68, 4], sk: [72, 8],
});

/** `struct sk_reuseport_md` */
export const SK_REUSEPORT: ContextLayout = layout(56, {
  data: [0, 8], data_end: [8, 8], len: [16, 4], eth_protocol: [20, 4], ip_protocol: [24, 4], bind_inany: [28, 4],
  hash: [32, 4], sk: [40, 8], migrating_sk: [48, 8],
});

/** `struct bpf_sk_lookup` */
export const SK_LOOKUP: ContextLayout = layout(72, {
  sk: [0, 8], cookie: [0, 8], family: [8, 4], protocol: [12, 4], remote_ip4: [16, 4], remote_ip6: [20, 16],
  remote_port: [36, 2], local_ip4: [40, 4], local_ip6: [44, 16], local_port: [60, 4], ingress_ifindex: [64, 4],
});

/** `struct bpf_sysctl` */
export const SYSCTL: ContextLayout = layout(8, {
  write: [0, 4], file_pos: [4, 4],
});

/** `struct bpf_sockopt` */
export const SOCKOPT: ContextLayout = layout(40, {
  sk: [0, 8], optval: [8, 8], optval_end: [16, 8], level: [24, 4], optname: [28, 4], optlen: [32, 4], retval: [36, 4],
});

/** `struct bpf_cgroup_dev_ctx` */
export const CGROUP_DEV: ContextLayout = layout(12, {
  access_type: [0, 4], major: [4, 4], minor: [8, 4],
});

/** `struct bpf_perf_event_data` (registers first) */
export const PERF_EVENT_DATA: ContextLayout = layout(184, { regs: [0, 168], sample_period: [168, 8], addr: [176, 8] });

/** `struct bpf_nf_ctx` */
export const NF_CTX: ContextLayout = layout(16, { state: [0, 8], skb: [8, 8] });

/** `sizeof(struct pt_regs)` */
export const PT_REGS_SIZE = 168;
/** `PERF_MAX_TRACE_SIZE`, the most bytes of a tracepoint's record. */
export const PERF_MAX_TRACE_SIZE = 8192;
