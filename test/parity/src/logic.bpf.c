// SPDX-License-Identifier: Apache-2.0
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym;
extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym;
extern void bpf_cpumask_release(struct bpf_cpumask *m) __ksym;
extern void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *m) __ksym;
__u64 total; __u32 data[16]; int zero;
#define sarg(x) asm volatile("" : "+r"(x))

SEC("socket") int loop_const(void *c) { __u64 s = 0; for (int i = 0; i < 50; i++) { s += i; sarg(s); } return s; }
SEC("socket") int loop_var(struct __sk_buff *c) { __u64 s = 0; __u32 n = c->len & 31; for (__u32 i = 0; i < n; i++) { s += i; sarg(s); } return s; }
SEC("socket") int loop_unbounded(struct __sk_buff *c) { __u64 s = 0; __u32 n = c->len; for (__u32 i = 0; i < n; i++) { s ^= i * 3; sarg(s); if (i > 100000000) break; } return s; }
SEC("socket") int loop_forever(void *c) { for (;;) total++; return 0; }
SEC("socket") int iter_ok(void *c) { struct bpf_iter_num it; int *v, s = 0; bpf_iter_num_new(&it, 0, 100); while ((v = bpf_iter_num_next(&it))) s += *v; bpf_iter_num_destroy(&it); return s; }
SEC("socket") int iter_index(void *c) { struct bpf_iter_num it; int *v; bpf_iter_num_new(&it, 0, 16); while ((v = bpf_iter_num_next(&it))) { int i = *v; if (i < 0 || i >= 16) break; data[i]++; } bpf_iter_num_destroy(&it); return 0; }
SEC("socket") int iter_leak(void *c) { struct bpf_iter_num it; bpf_iter_num_new(&it, 0, 100); bpf_iter_num_next(&it); return 0; }
SEC("socket") int iter_no_new(void *c) { struct bpf_iter_num it = {}; bpf_iter_num_next(&it); return 0; }
static long cb(__u64 i, __u64 *s) { *s += i; return i > 5; }
SEC("socket") int bloop(void *c) { __u64 s = 0; bpf_loop(100, cb, &s, 0); return s; }
static long cb_bad(__u64 i, __u64 *s) { s[1] = i; return 0; }
SEC("socket") int bloop_bad(void *c) { __u64 s = 0; bpf_loop(100, cb_bad, &s, 0); return s; }
static long cb_ret(__u64 i, void *s) { return i; }
SEC("socket") int bloop_ret(void *c) { return bpf_loop(100, cb_ret, 0, 0); }
__noinline int g_int(int x) { return x * 3 + zero; }
__noinline int g_mem(struct __sk_buff *s, int n) { return n + s->len; }
__noinline int g_ptr(__u64 *p) { return p ? (int)*p : 0; }
__noinline int g_ptr_nonull(__u64 *p) { return (int)*p; }
SEC("socket") int call_g(struct __sk_buff *s) { return g_int(s->len) + g_mem(s, 3); }
SEC("socket") int call_ptr(struct __sk_buff *s) { __u64 x = s->len; return g_ptr(&x) + g_ptr(0); }
SEC("socket") int call_ptr_bad(struct __sk_buff *s) { __u64 x = s->len; return g_ptr_nonull(&x); }
SEC("socket") int call_g_pkt(struct __sk_buff *s) { return g_ptr((void *)(long)s->len); }
static __noinline int deep(int n) { volatile char b[200]; b[n & 127] = 1; return b[3] + n; }
static __noinline int deeper(int n) { volatile char b[200]; b[n & 127] = 2; return deep(n) + b[5]; }
SEC("socket") int stack_sum(struct __sk_buff *s) { volatile char b[200]; b[s->len & 127] = 3; return deeper(s->len) + b[7]; }
static __noinline int rec(int n) { return n <= 0 ? zero : rec(n - 1) + 1; }
SEC("socket") int recurse(struct __sk_buff *s) { return rec(s->len & 3); }
SEC("tp_btf/task_newtask") int acq_ok(__u64 *c) { struct task_struct *t = bpf_task_acquire((void *)c[0]); if (t) bpf_task_release(t); return 0; }
SEC("tp_btf/task_newtask") int acq_leak(__u64 *c) { bpf_task_acquire((void *)c[0]); return 0; }
SEC("tp_btf/task_newtask") int acq_null(__u64 *c) { struct task_struct *t = bpf_task_from_pid(1); bpf_task_release(t); return 0; }
SEC("tp_btf/task_newtask") int rel_untrusted(__u64 *c) { struct task_struct *t = (void *)c[0]; bpf_task_release(t->real_parent); return 0; }
SEC("tp_btf/task_newtask") int rcu_ok(__u64 *c) { struct task_struct *t = (void *)c[0]; int p; bpf_rcu_read_lock(); p = t->real_parent->pid; bpf_rcu_read_unlock(); return p & 0; }
SEC("tp_btf/task_newtask") int rcu_unbalanced(__u64 *c) { bpf_rcu_read_lock(); return 0; }
SEC("tp_btf/task_newtask") int rcu_extra(__u64 *c) { bpf_rcu_read_unlock(); return 0; }
SEC("tp_btf/task_newtask") int preempt_ok(__u64 *c) { bpf_preempt_disable(); total++; bpf_preempt_enable(); return 0; }
SEC("fentry.s/filename_unlinkat") int preempt_sleep(__u64 *c) { char b[4]; bpf_preempt_disable(); bpf_copy_from_user(b, 4, 0); bpf_preempt_enable(); return 0; }
SEC("tp_btf/task_newtask") int mask_ok(__u64 *c) { struct bpf_cpumask *m = bpf_cpumask_create(); if (!m) return 0; bpf_cpumask_set_cpu(0, m); bpf_cpumask_release(m); return 0; }
SEC("tp_btf/task_newtask") int mask_use_after(__u64 *c) { struct bpf_cpumask *m = bpf_cpumask_create(); if (!m) return 0; bpf_cpumask_release(m); bpf_cpumask_set_cpu(0, m); return 0; }
SEC("socket") int range_and(struct __sk_buff *s) { __u32 n = s->len & 0xf; return data[n]; }
SEC("socket") int range_shift(struct __sk_buff *s) { __u32 n = s->len >> 28; return data[n]; }
SEC("socket") int range_mod(struct __sk_buff *s) { __u32 n = s->len % 16; return data[n]; }
SEC("socket") int range_div(struct __sk_buff *s) { __u32 n = (s->len & 0xff) / 16; return data[n]; }
SEC("socket") int range_div_off(struct __sk_buff *s) { __u32 n = (s->len & 0x1ff) / 16; return data[n]; }
SEC("socket") int range_signed(struct __sk_buff *s) { int n = (int)s->len; if (n < 0) return 0; if (n > 15) return 0; return data[n]; }
SEC("socket") int range_split(struct __sk_buff *s) { __u64 n = s->len; n -= 5; if (n > 10) return 0; return data[n]; }
SEC("socket") int range_switch(struct __sk_buff *s) { switch (s->protocol) { case 8: return 1; case 9: return data[2]; case 12: return data[s->len & 1]; case 77: return 4; default: return 0; } }
SEC("socket") int range_select(struct __sk_buff *s) { __u32 a = s->len, b = s->mark, n = a < b ? a : b; sarg(n); if (n < 16) return data[n]; return 0; }
SEC("socket") int range_linked(struct __sk_buff *s) { __u32 n = s->len, m = n; sarg(m); if (n < 16) return data[n]; return m; }
SEC("socket") int div_zero(struct __sk_buff *s) { return 100 / s->len + 100 % s->mark; }
SEC("syscall") int sys_ctx(__u32 *c) { c[3] = 5; return c[0]; }
SEC("syscall") int sys_ctx_var(__u32 *c) { __u32 n = c[0] & 63; return c[n]; }
SEC("syscall") int sys_ctx_far(__u32 *c) { return c[70000]; }
SEC("?cgroup/sock_create") int sk_create(struct bpf_sock *s) { s->mark = 3; return s->family == 2; }
SEC("cgroup/connect4") int conn(struct bpf_sock_addr *c) { c->user_ip4 = 0x7f000001; return 1; }
SEC("cgroup/connect4") int conn_ro(struct bpf_sock_addr *c) { c->family = 1; return 1; }
SEC("cgroup/connect4") int conn_ret(struct bpf_sock_addr *c) { return 2; }
SEC("cgroup/getsockopt") int gso(struct bpf_sockopt *c) { __u8 *p = c->optval, *e = c->optval_end; if (p + 1 > e) return 0; p[0] = 1; c->retval = 0; return 1; }
SEC("cgroup/setsockopt") int sso(struct bpf_sockopt *c) { c->optlen = -1; return c->level == 6; }
SEC("cgroup/sysctl") int sysctl(struct bpf_sysctl *c) { char n[16]; return bpf_sysctl_get_name(c, n, sizeof(n), 0) > 0; }
SEC("cgroup/dev") int dev(struct bpf_cgroup_dev_ctx *c) { return c->major == 1; }
SEC("sockops") int so(struct bpf_sock_ops *c) { c->reply = 10; return c->op == 4 ? bpf_sock_ops_cb_flags_set(c, 1) : 1; }
SEC("sk_lookup") int skl(struct bpf_sk_lookup *c) { return c->local_port == 80 ? SK_PASS : SK_DROP; }
SEC("sk_reuseport") int skr(struct sk_reuseport_md *c) { return c->len ? SK_PASS : SK_DROP; }
SEC("netfilter") int nf(struct bpf_nf_ctx *c) { return c->state->pf == 2 ? 1 : 0; }
