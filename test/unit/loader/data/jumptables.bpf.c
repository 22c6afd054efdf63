/* Indirect jumps through tables: in the main program, and in a subprogram that lies behind another one. */
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))

struct __sk_buff;

/* gotox r0, which clang 19 does not know by name */
#define GOTOX_R0 ".byte 0x0d, 0, 0, 0, 0, 0, 0, 0;"

SEC("socket")
__attribute__((naked)) int main_jumps(void)
{
	asm volatile (
		".pushsection .jumptables,\"\",@progbits;"
	"main_table:"
		".quad main_0 - socket;"
		".quad main_1 - socket;"
		".size main_table, 16;"
		".global main_table;"
		".popsection;"
		"r0 = main_table ll;"
		"r0 += 8;"
		"r0 = *(u64 *)(r0 + 0);"
		GOTOX_R0
	"main_0:"
		"r0 = 0;"
		"exit;"
	"main_1:"
		"r0 = 1;"
		"exit;");
}

static __attribute__((noinline, used)) int before(int value)
{
	asm volatile ("" : "+r"(value));
	return value + 7;
}

static __attribute__((naked, noinline, used)) int sub_jumps(void)
{
	asm volatile (
		".pushsection .jumptables,\"\",@progbits;"
	"sub_table:"
		".quad sub_0 - .text;"
		".quad sub_1 - .text;"
		".quad sub_1 - .text;"
		".size sub_table, 24;"
		".global sub_table;"
		".popsection;"
		"r0 = sub_table ll;"
		"r0 = *(u64 *)(r0 + 16);"
		GOTOX_R0
	"sub_0:"
		"r0 = 2;"
		"exit;"
	"sub_1:"
		"r0 = 3;"
		"exit;");
}

SEC("socket")
int calls(struct __sk_buff *skb)
{
	return before(1) + sub_jumps();
}

char LICENSE[] SEC("license") = "GPL";
