// SPDX-License-Identifier: Apache-2.0
// What `bpftwin bench` admits as a payload: 32 programs that count flows of packets in shared maps, each in a loop of its own
// length, so that a load can have as many of them as a measurement wants. bench/payload.sh compiles it.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct flow {
	__u32 source;
	__u32 target;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct flow);
	__type(value, __u64);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

const volatile __u32 least = 14;

static __always_inline int count(struct xdp_md *xdp, __u32 slot, __u32 rounds)
{
	__u8 *data = (__u8 *)(long)xdp->data, *end = (__u8 *)(long)xdp->data_end;
	struct flow flow = { 0, slot };
	__u64 one = 1, *seen;
	__u32 i;

	if (end - data < least)
		return XDP_PASS;
	for (i = 0; i < rounds; i++) {
		if (data + i + 1 > end)
			break;
		flow.source = (flow.source << 5 | flow.source >> 27) ^ data[i];
	}
	seen = bpf_map_lookup_elem(&flows, &flow);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&flows, &flow, &one, BPF_ANY);
	seen = bpf_map_lookup_elem(&packets, &slot);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	return XDP_PASS;
}

#define PROG(n)                                          \
	SEC("xdp")                                       \
	int count_##n(struct xdp_md *xdp)                \
	{                                                \
		return count(xdp, n, 8 + n);             \
	}

PROG(0) PROG(1) PROG(2) PROG(3) PROG(4) PROG(5) PROG(6) PROG(7)
PROG(8) PROG(9) PROG(10) PROG(11) PROG(12) PROG(13) PROG(14) PROG(15)
PROG(16) PROG(17) PROG(18) PROG(19) PROG(20) PROG(21) PROG(22) PROG(23)
PROG(24) PROG(25) PROG(26) PROG(27) PROG(28) PROG(29) PROG(30) PROG(31)

char _license[] SEC("license") = "Dual BSD/GPL";
