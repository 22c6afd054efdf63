/* From another compiler: sections of no size, types without records of functions and lines, a comment. */
#define SEC(name) __attribute__((section(name), used))

struct pair {
	short kind : 3;
	long long sum;
	const char *text;
} pairs[2];
static int hidden;
volatile const unsigned char limit = 7;
enum state { OFF = -1, ON } state = ON;

static __attribute__((noinline)) int twice(int value)
{
	return value * 2 + hidden++;
}

SEC("socket")
int first(void *ctx)
{
	pairs[0].sum += twice(limit);
	return state;
}

SEC("tracepoint/sched/sched_switch")
int second(void *ctx)
{
	return pairs[1].sum > limit;
}

char LICENSE[] SEC("license") = "GPL";
