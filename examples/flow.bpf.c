// SPDX-License-Identifier: Apache-2.0
// Counts bytes by flow on a network interface and refuses frames of a blocked protocol.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct flow {
	__u32 from;
	__u32 to;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow);
	__type(value, __u64);
} bytes_by_flow SEC(".maps");

const volatile __u8 blocked_protocol = 47; /* GRE */
__u64 frames, dropped;

SEC("xdp")
int count_flows(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct flow flow;
	__u64 size = end - data, *bytes;

	frames++;
	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(0x0800))
		return XDP_PASS;
	if (ip->protocol == blocked_protocol) {
		dropped++;
		return XDP_DROP;
	}
	flow.from = ip->saddr;
	flow.to = ip->daddr;
	bytes = bpf_map_lookup_elem(&bytes_by_flow, &flow);
	if (bytes)
		__sync_fetch_and_add(bytes, size);
	else
		bpf_map_update_elem(&bytes_by_flow, &flow, &size, BPF_ANY);
	return XDP_PASS;
}

SEC("syscall")
int reset_counters(void *ctx)
{
	frames = 0;
	dropped = 0;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
