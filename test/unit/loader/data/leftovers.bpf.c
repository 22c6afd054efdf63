/* Sections that libbpf makes nothing of: variables in a section of no known name, pointers in initial values, and an arena's variables where
 * there is no arena. */
#define SEC(name) __attribute__((section(name), used))
#define __arena __attribute__((address_space(1)))

int forgotten SEC("settings") = 3;
int target = 4;
int *pointer = &target;
const int *const constant = &target;
int __arena adrift = 5;

SEC("xdp")
int count(void *ctx)
{
	return target++ + (pointer != 0);
}

char LICENSE[] SEC("license") = "GPL";
