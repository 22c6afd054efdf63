// SPDX-License-Identifier: Apache-2.0
// What a kernel has to be asked about: its configuration, functions and symbols that it may not have, an array of instructions.
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))
#define __weak __attribute__((weak))
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __uint(name, val) int (*name)[val]

struct __sk_buff;
enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

extern __u32 CONFIG_TWIN_NUMBER __kconfig __weak;
extern _Bool CONFIG_TWIN_FLAG __kconfig __weak;
extern enum libbpf_tristate CONFIG_TWIN_STATE __kconfig __weak;
extern char CONFIG_TWIN_TEXT[12] __kconfig __weak;

extern int twin_module_function(int) __ksym __weak;
extern const int twin_variable __ksym __weak;
extern const void twin_symbol __ksym __weak;

struct {
	__uint(type, 34); /* BPF_MAP_TYPE_INSN_ARRAY */
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 16);
} places SEC(".maps");

__u64 seen;

SEC("socket")
int configured(struct __sk_buff *skb)
{
	seen = CONFIG_TWIN_NUMBER + 2 * CONFIG_TWIN_FLAG + 4 * CONFIG_TWIN_STATE + CONFIG_TWIN_TEXT[0];
	return (int)seen;
}

SEC("socket")
int absent(struct __sk_buff *skb)
{
	int found = 0;

	if (twin_module_function)
		found = twin_module_function(1);
	if (&twin_variable)
		found += 2;
	if (&twin_symbol)
		found += 4;
	return found;
}

char LICENSE[] SEC("license") = "GPL";
