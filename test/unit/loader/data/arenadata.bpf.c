/* A variable in an arena. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA */
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE */
	__uint(max_entries, 10);
} pages SEC(".maps");

int __arena counter = 5;

SEC("syscall")
int bump(void *ctx)
{
	counter++;
	return counter;
}

char LICENSE[] SEC("license") = "GPL";
