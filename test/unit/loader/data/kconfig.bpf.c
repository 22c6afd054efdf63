/* What the kernel's configuration says. */
#define SEC(name) __attribute__((section(name), used))
#define __kconfig __attribute__((section(".kconfig"), weak))

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern unsigned long long CONFIG_HZ __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[8] __kconfig;

SEC("xdp")
int version(void *ctx)
{
	return CONFIG_BPF_SYSCALL + CONFIG_HZ + CONFIG_DEFAULT_HOSTNAME[1] + LINUX_KERNEL_VERSION;
}

char LICENSE[] SEC("license") = "GPL";
