// SPDX-License-Identifier: Apache-2.0
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "Dual BSD/GPL";
__u32 sink;

SEC("xdp") int bounds_ok(struct xdp_md *ctx)
{
	void *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *e = p; struct iphdr *ip;

	if (p + sizeof(*e) > end) return XDP_DROP;
	if (e->h_proto != bpf_htons(0x0800)) return XDP_PASS;
	ip = p + sizeof(*e);
	if ((void *)(ip + 1) > end) return XDP_DROP;
	sink = ip->saddr;
	return ip->ttl > 1 ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int bounds_missing(struct xdp_md *ctx)
{
	__u8 *p = (void *)(long)ctx->data;
	return p[13] ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int bounds_off_by_one(struct xdp_md *ctx)
{
	__u8 *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (p + 14 > end) return XDP_DROP;
	return p[14] ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int variable_header(struct xdp_md *ctx)
{
	__u8 *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; __u32 len;
	if (p + 34 > end) return XDP_DROP;
	len = (p[14] & 15) * 4;
	if (len < 20) return XDP_DROP;
	if (p + 14 + len + 4 > end) return XDP_DROP;
	sink = *(__u16 *)(p + 14 + len);
	return XDP_PASS;
}
SEC("xdp") int variable_header_unchecked(struct xdp_md *ctx)
{
	__u8 *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; __u32 len;
	if (p + 34 > end) return XDP_DROP;
	len = (p[14] & 15) * 4;
	sink = *(__u16 *)(p + 14 + len);
	return XDP_PASS;
}
SEC("xdp") int adjust_invalidates(struct xdp_md *ctx)
{
	__u8 *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (p + 14 > end) return XDP_DROP;
	if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP;
	return p[0] ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int adjust_reload(struct xdp_md *ctx)
{
	__u8 *p, *end;
	if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP;
	p = (void *)(long)ctx->data; end = (void *)(long)ctx->data_end;
	if (p + 14 > end) return XDP_DROP;
	p[0] = 1;
	return XDP_TX;
}
SEC("xdp") int options_loop(struct xdp_md *ctx)
{
	__u8 *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; __u32 n = 0;
	for (int i = 0; i < 16; i++) {
		if (p + 2 > end) break;
		if (p[0] == 0) break;
		n += p[1];
		p += 2;
	}
	return n & 3;
}
SEC("tc") int skb_store(struct __sk_buff *skb)
{
	__u8 mac[6] = { 1, 2, 3, 4, 5, 6 };
	bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), BPF_F_RECOMPUTE_CSUM);
	bpf_l3_csum_replace(skb, 24, 0, 1, 2);
	return 0;
}
SEC("tc") int skb_load_var(struct __sk_buff *skb)
{
	__u8 buf[64]; __u32 n = skb->len;
	if (n > sizeof(buf)) n = sizeof(buf);
	if (n == 0) return 0;
	if (bpf_skb_load_bytes(skb, 0, buf, n)) return 1;
	return buf[0];
}
SEC("tc") int skb_load_unbounded(struct __sk_buff *skb)
{
	__u8 buf[64];
	if (bpf_skb_load_bytes(skb, 0, buf, skb->len)) return 1;
	return buf[0];
}
SEC("tc") int skb_meta(struct __sk_buff *skb)
{
	__u8 *m = (void *)(long)skb->data_meta, *p = (void *)(long)skb->data;
	if (m + 4 > p) return 0;
	return *(__u32 *)m;
}
SEC("tc") int skb_ctx_write(struct __sk_buff *skb)
{
	skb->mark = 7; skb->cb[2] = 8; skb->priority = 1; skb->tc_classid = 3;
	return skb->cb[4];
}
SEC("tc") int skb_ctx_write_ro(struct __sk_buff *skb) { skb->len = 7; return 0; }
SEC("tc") int skb_ctx_odd(struct __sk_buff *skb) { return *((__u16 *)&skb->len + 1); }
SEC("tc") int skb_ctx_gap(struct __sk_buff *skb) { return *(__u32 *)((char *)skb + 400); }
SEC("tc") int skb_ctx_copy(struct __sk_buff *skb) { volatile __u64 x = (__u64)skb; return (int)x; }
SEC("socket") int sock_direct(struct __sk_buff *skb) { return *(__u8 *)(long)skb->data; }
SEC("tc") int direct_write(struct __sk_buff *skb)
{
	__u8 *p, *end;
	if (bpf_skb_pull_data(skb, 20)) return 0;
	p = (void *)(long)skb->data; end = (void *)(long)skb->data_end;
	if (p + 20 <= end) p[19] ^= 0xff;
	return 0;
}
SEC("tc") int fib(struct __sk_buff *skb)
{
	struct bpf_fib_lookup f = { .family = 2, .ifindex = skb->ifindex };
	int r = bpf_fib_lookup(skb, &f, sizeof(f), 0);
	return r == 0 ? bpf_redirect(f.ifindex, 0) : r;
}
SEC("tc") int sock_ref(struct __sk_buff *skb)
{
	struct bpf_sock_tuple t = {}; struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	int r = 0;
	if (sk) { r = sk->family; bpf_sk_release(sk); }
	return r;
}
SEC("tc") int sock_ref_leak(struct __sk_buff *skb)
{
	struct bpf_sock_tuple t = {}; struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	return sk ? sk->family : 0;
}
SEC("tc") int sock_ref_twice(struct __sk_buff *skb)
{
	struct bpf_sock_tuple t = {}; struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk) return 0;
	bpf_sk_release(sk); bpf_sk_release(sk);
	return 1;
}
SEC("tc") int sock_null(struct __sk_buff *skb) { struct bpf_sock *sk = skb->sk; return sk->family; }
SEC("tc") int sock_full(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	if (!sk) return 0;
	sk = bpf_sk_fullsock(sk);
	return sk ? (int)(sk->src_port + sk->dst_ip4) : 0;
}
SEC("cgroup_skb/ingress") int cg_range(struct __sk_buff *skb) { return skb->len; }
SEC("cgroup_skb/ingress") int cg_ok(struct __sk_buff *skb) { return skb->len & 1; }
SEC("flow_dissector") int dissect(struct __sk_buff *skb)
{
	struct bpf_flow_keys *k = skb->flow_keys; void *p = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (p + 34 > end) return BPF_DROP;
	k->n_proto = *(__u16 *)(p + 12); k->thoff = 34;
	return BPF_OK;
}
SEC("lwt_in") int lwt(struct __sk_buff *skb) { return skb->len > 100 ? BPF_DROP : BPF_OK; }
SEC("sk_skb/stream_parser") int parser(struct __sk_buff *skb) { return skb->len; }
SEC("sk_msg") int msg(struct sk_msg_md *m)
{
	__u8 *p = m->data, *end = m->data_end;
	if (p + 4 > end) return SK_PASS;
	bpf_msg_cork_bytes(m, 8);
	return p[3] == 7 ? SK_DROP : SK_PASS;
}
