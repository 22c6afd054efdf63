// SPDX-License-Identifier: Apache-2.0
// Two algorithms of congestion control that do nothing: one is registered by a link, the other by its value.
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops") __u32 keep(__u64 *ctx) { return 2; }
SEC("struct_ops") void grow(__u64 *ctx) {}
SEC("struct_ops") __u32 undo(__u64 *ctx) { return 3; }

SEC(".struct_ops.link") struct tcp_congestion_ops linked = { .ssthresh = (void *)keep, .cong_avoid = (void *)grow, .undo_cwnd = (void *)undo, .name = "twin_linked" };
SEC(".struct_ops") struct tcp_congestion_ops plain = { .ssthresh = (void *)keep, .cong_avoid = (void *)grow, .undo_cwnd = (void *)undo, .name = "twin_plain" };

char LICENSE[] SEC("license") = "GPL";
