/* Everything in it waits to be asked for. */
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	char name[16];
};

SEC("struct_ops")
__u32 half(__u64 *ctx)
{
	return 2;
}

SEC("?.struct_ops")
struct tcp_congestion_ops maybe = {
	.ssthresh = (void *)half,
	.name = "maybe",
};

char LICENSE[] SEC("license") = "GPL";
