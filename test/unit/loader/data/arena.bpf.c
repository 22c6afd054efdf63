/* An arena without globals: bpftool's light skeleton shows its memory although its struct has no member for it. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]

struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA */
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE */
	__uint(max_entries, 10);
} pages SEC(".maps");

SEC("syscall")
int refer(void *ctx)
{
	return ((long)&pages & 1) != 0;
}

char LICENSE[] SEC("license") = "GPL";
