/* A variable in an arena that nobody declared. */
#define SEC(name) __attribute__((section(name), used))

int __attribute__((address_space(1))) adrift = 5;

SEC("syscall")
int bump(void *ctx)
{
	return ++adrift;
}

char LICENSE[] SEC("license") = "GPL";
