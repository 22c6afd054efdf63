/* Structures of callbacks: one that is created with its link, one without, and two that are optional. */
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))

struct sock;
struct module;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 (*not_in_this_kernel)(struct sock *sk);
	char name[16];
	struct module *owner;
};

typedef struct tcp_congestion_ops tcp_congestion_ops_t;

SEC("struct_ops")
__u32 half(__u64 *ctx)
{
	return 2;
}

SEC("struct_ops")
void grow(__u64 *ctx)
{
}

SEC("struct_ops.s")
__u32 unused_callback(__u64 *ctx)
{
	return 3;
}

SEC("struct_ops")
__u32 for_optional(__u64 *ctx)
{
	return 4;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops linked = {
	.ssthresh = (void *)half,
	.cong_avoid = (void *)grow,
	.undo_cwnd = (void *)half,
	.name = "bpftwin_linked",
};

SEC(".struct_ops")
tcp_congestion_ops_t plain = {
	.ssthresh = (void *)half,
	.name = "bpftwin_plain",
};

SEC("?.struct_ops")
struct tcp_congestion_ops optional = {
	.ssthresh = (void *)for_optional,
	.name = "optional",
};

SEC("?.struct_ops")
struct tcp_congestion_ops after_optional = {
	.name = "after",
};

char LICENSE[] SEC("license") = "GPL";
