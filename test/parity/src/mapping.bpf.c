// SPDX-License-Identifier: Apache-2.0
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";
struct item { __u64 a; __u32 b[6]; };
struct locked { struct bpf_spin_lock lock; __u32 n; __u64 x; };
struct timed { struct bpf_timer timer; __u64 n; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, struct item); } arr SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16); __type(key, __u64); __type(value, struct item); } hash SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct locked); } locks SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct timed); } timers SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } rb SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(max_entries, 4); __uint(value_size, 8); } queue SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __uint(max_entries, 4); __uint(map_flags, BPF_F_NO_PREALLOC); __uint(key_size, 8); __uint(value_size, 4); } trie SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u64); } pcpu SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_BLOOM_FILTER); __uint(max_entries, 8); __uint(value_size, 4); } bloom SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(max_entries, 8); __uint(key_size, 4); __uint(value_size, 80); } stacks SEC(".maps");
__u64 table[32]; const volatile __u32 limit = 20;

SEC("tc") int value_index_ok(struct __sk_buff *s) { __u32 k = 1; struct item *i = bpf_map_lookup_elem(&arr, &k); __u32 n = s->len; return i && n < 6 ? (int)i->b[n] : 0; }
SEC("tc") int value_index_bad(struct __sk_buff *s) { __u32 k = s->mark; struct item *i = bpf_map_lookup_elem(&arr, &k); __u32 n = s->len; return i && n <= 6 ? (int)i->b[n] : 0; }
SEC("tc") int value_index_signed(struct __sk_buff *s) { __u32 k = s->mark; struct item *i = bpf_map_lookup_elem(&arr, &k); int n = s->len; return i && n < 6 ? (int)i->b[n] : 0; }
SEC("tc") int hash_no_null(struct __sk_buff *s) { __u64 k = s->mark; struct item *i = bpf_map_lookup_elem(&hash, &k); return (int)i->a; }
SEC("tc") int hash_write(struct __sk_buff *s) { __u64 k = s->mark; struct item v = { k }; bpf_map_update_elem(&hash, &k, &v, 0); return bpf_map_delete_elem(&hash, &k); }
SEC("tc") int global_index(struct __sk_buff *s) { __u32 n = s->len; if (n >= 32) return 0; table[n]++; return (int)table[n & 15]; }
SEC("tc") int global_index_bad(struct __sk_buff *s) { __u32 n = s->len; if (n > 32) return 0; table[n]++; return 1; }
SEC("tc") int rodata_bound(struct __sk_buff *s) { __u32 n = s->len; if (n >= limit) return 0; return (int)table[n]; }
SEC("tc") int lock_ok(struct __sk_buff *s) { __u32 k = 0; struct locked *l = bpf_map_lookup_elem(&locks, &k); if (!l) return 0; bpf_spin_lock(&l->lock); l->n++; bpf_spin_unlock(&l->lock); return 1; }
SEC("tc") int lock_helper(struct __sk_buff *s) { __u32 k = 0; struct locked *l = bpf_map_lookup_elem(&locks, &k); if (!l) return 0; bpf_spin_lock(&l->lock); l->x = bpf_ktime_get_ns(); bpf_spin_unlock(&l->lock); return 1; }
SEC("tc") int lock_exit(struct __sk_buff *s) { __u32 k = 0; struct locked *l = bpf_map_lookup_elem(&locks, &k); if (!l) return 0; bpf_spin_lock(&l->lock); return 1; }
SEC("tc") int lock_touch(struct __sk_buff *s) { __u32 k = 0; struct locked *l = bpf_map_lookup_elem(&locks, &k); if (!l) return 0; return *(volatile int *)&l->lock; }
SEC("tc") int lock_twice(struct __sk_buff *s) { __u32 k = 0; struct locked *l = bpf_map_lookup_elem(&locks, &k); if (!l) return 0; bpf_spin_lock(&l->lock); bpf_spin_lock(&l->lock); bpf_spin_unlock(&l->lock); return 1; }
static int tick(void *map, int *key, struct timed *t) { t->n++; return 0; }
SEC("tc") int timer_ok(struct __sk_buff *s) { __u32 k = 0; struct timed *t = bpf_map_lookup_elem(&timers, &k); if (!t) return 0; bpf_timer_init(&t->timer, &timers, 1); bpf_timer_set_callback(&t->timer, tick); return bpf_timer_start(&t->timer, 100, 0); }
SEC("tc") int timer_wrong_map(struct __sk_buff *s) { __u32 k = 0; struct timed *t = bpf_map_lookup_elem(&timers, &k); if (!t) return 0; return bpf_timer_init(&t->timer, &arr, 1); }
SEC("tc") int ring_ok(struct __sk_buff *s) { __u64 *e = bpf_ringbuf_reserve(&rb, 16, 0); if (!e) return 0; e[1] = s->len; bpf_ringbuf_submit(e, 0); return 1; }
SEC("tc") int ring_leak(struct __sk_buff *s) { __u64 *e = bpf_ringbuf_reserve(&rb, 16, 0); if (!e) return 0; e[1] = s->len; return 1; }
SEC("tc") int ring_overrun(struct __sk_buff *s) { __u64 *e = bpf_ringbuf_reserve(&rb, 16, 0); if (!e) return 0; e[2] = s->len; bpf_ringbuf_submit(e, 0); return 1; }
SEC("tc") int ring_after_submit(struct __sk_buff *s) { __u64 *e = bpf_ringbuf_reserve(&rb, 16, 0); if (!e) return 0; bpf_ringbuf_discard(e, 0); return (int)e[0]; }
SEC("tc") int ring_dynptr(struct __sk_buff *s) { struct bpf_dynptr d; __u32 v = 7; int r = bpf_ringbuf_reserve_dynptr(&rb, 64, 0, &d); if (!r) bpf_dynptr_write(&d, 4, &v, 4, 0); bpf_ringbuf_submit_dynptr(&d, 0); return r; }
SEC("tc") int ring_dynptr_leak(struct __sk_buff *s) { struct bpf_dynptr d; bpf_ringbuf_reserve_dynptr(&rb, 64, 0, &d); return 0; }
SEC("tc") int dynptr_slice(struct __sk_buff *s) { struct bpf_dynptr d; __u64 *p; int r = bpf_ringbuf_reserve_dynptr(&rb, 64, 0, &d); p = bpf_dynptr_data(&d, 8, 16); if (p) p[1] = 3; bpf_ringbuf_submit_dynptr(&d, 0); return r; }
SEC("tc") int dynptr_slice_over(struct __sk_buff *s) { struct bpf_dynptr d; __u64 *p; int r = bpf_ringbuf_reserve_dynptr(&rb, 64, 0, &d); p = bpf_dynptr_data(&d, 8, 16); if (p) p[2] = 3; bpf_ringbuf_submit_dynptr(&d, 0); return r; }
SEC("tc") int queue_ops(struct __sk_buff *s) { __u64 v = s->len; bpf_map_push_elem(&queue, &v, 0); bpf_map_peek_elem(&queue, &v); return bpf_map_pop_elem(&queue, &v) ?: (int)v; }
SEC("tc") int trie_lookup(struct __sk_buff *s) { struct { __u32 p; __u32 a; } k = { 32, s->len }; __u32 *v = bpf_map_lookup_elem(&trie, &k); return v ? *v : 0; }
SEC("tc") int percpu_other(struct __sk_buff *s) { __u32 k = 1; __u64 *v = bpf_map_lookup_percpu_elem(&pcpu, &k, 1); return v ? (int)*v : 0; }
SEC("tc") int perf_out(struct __sk_buff *s) { __u64 x = 1; return bpf_perf_event_output(s, &perf, BPF_F_CURRENT_CPU, &x, sizeof(x)); }
SEC("tc") int bloom_ops(struct __sk_buff *s) { __u32 v = s->len; bpf_map_push_elem(&bloom, &v, 0); return bpf_map_peek_elem(&bloom, &v); }
static long each(void *map, __u64 *k, struct item *v, __u64 *sum) { *sum += v->a; return 0; }
SEC("tc") int for_each(struct __sk_buff *s) { __u64 sum = 0; bpf_for_each_map_elem(&hash, each, &sum, 0); return (int)sum; }
SEC("tc") int uninit_value(struct __sk_buff *s) { __u64 k = 1; struct item v; v.a = 1; return bpf_map_update_elem(&hash, &k, &v, 0); }
SEC("tc") int wrong_map_op(struct __sk_buff *s) { __u32 k = 0; return bpf_map_lookup_elem(&rb, &k) != 0; }
SEC("perf_event") int stack_id(struct bpf_perf_event_data *c) { return bpf_get_stackid(c, &stacks, 0); }
SEC("tc") int stack_id_tc(struct __sk_buff *s) { return bpf_get_stackid(s, &stacks, 0); }
