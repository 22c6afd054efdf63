// SPDX-License-Identifier: Apache-2.0
/* Global variables whose C declarations are awkward: padding, bit-fields, function pointers, nested arrays, names that clash. */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} __proto__ SEC(".maps"), constructor SEC(".maps");

enum plain { PLAIN_A, PLAIN_B };
enum wide { WIDE_A = 0x100000000ULL, WIDE_B };
typedef int (*callback_t)(int, char *);
typedef struct { int x; } pair_t;

enum plain plain_value = PLAIN_B;
enum { ANON_A = -1, ANON_B = 5 } anonymous_enum = ANON_B;
enum wide wide_value = WIDE_B;
callback_t callbacks[3];
struct { int x; union { int u; char c[9]; }; } anonymous;
int (*pointer)(void);
void (*(*nested)(int (*)(void), ...))(const char *);
u64 matrix[2][3];
int (*rows[2])[4];
const volatile char *text;
static int hidden;
struct { int a: 3; int b: 7; long: 0; int c; } __attribute__((packed)) fields = { 1 };
struct { char c; long l; char d; } gaps = { 1, 2, 3 };
struct { int a: 1; int: 30; int b: 1; short s; } wide_gap = { 1, 1, 1 };
struct { char c; int i; } __attribute__((packed)) tight = { 1, 2 };
pair_t pair = { 1 };
union { long l; char c[12]; } choice = { 1 };
bool flag = true;
u8 small;
u64 large;
__int128 huge = 1;
float single = 1.0f;
int in_section[4] SEC(".data.custom");
const int read_only SEC(".rodata.x") = 3;
volatile const int limit = 10;

SEC("syscall")
int __proto__2(void *ctx)
{
	hidden++;
	return plain_value + anonymous.x + flag + large + hidden + limit;
}

SEC("iter/task")
int it(struct bpf_iter__task *ctx)
{
	return 0;
}

SEC("?xdp")
int toString(void *ctx)
{
	return (long)text ? 2 : 1;
}

SEC("tp_btf/sys_enter")
int on_enter(u64 *ctx)
{
	u32 key = 0;

	return bpf_map_lookup_elem(&__proto__, &key) ? 1 : 0;
}
