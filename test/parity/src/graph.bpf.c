// SPDX-License-Identifier: Apache-2.0
// Objects that programs allocate, in trees, lists and map values: run, so that shapes and counts show in the results.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define OFFSET(type, member) ((unsigned long)&((type *)0)->member)
#define CONTAINER(ptr, type, member) ((type *)((void *)(ptr) - OFFSET(type, member)))
#define contains(name, node) __attribute__((btf_decl_tag("contains:" #name ":" #node)))
#define private_(name) SEC(".bss." #name) __attribute__((visibility("hidden"), aligned(8)))
#define owned __attribute__((btf_type_tag("kptr")))

struct item {
	long key;
	struct bpf_rb_node node;
	struct bpf_list_node link;
	struct bpf_refcount refs;
};
struct slot { struct item owned *item; };

extern void *bpf_obj_new_impl(__u64 local_type_id__k, void *meta__ign) __ksym;
extern void bpf_obj_drop_impl(void *p__alloc, void *meta__ign) __ksym;
extern void *bpf_refcount_acquire_impl(void *p__refcounted_kptr, void *meta__ign) __ksym;
extern int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, __u64 off) __ksym;
extern int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, __u64 off) __ksym;
extern struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) __ksym;
extern struct bpf_list_node *bpf_list_pop_back(struct bpf_list_head *head) __ksym;
extern int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node, _Bool(less)(struct bpf_rb_node *a, const struct bpf_rb_node *b), void *meta__ign, __u64 off) __ksym;
extern struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node) __ksym;
extern struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root) __ksym;
extern struct bpf_rb_node *bpf_rbtree_root(struct bpf_rb_root *root) __ksym;
extern struct bpf_rb_node *bpf_rbtree_left(struct bpf_rb_root *root, struct bpf_rb_node *node) __ksym;
extern struct bpf_rb_node *bpf_rbtree_right(struct bpf_rb_root *root, struct bpf_rb_node *node) __ksym;
#define new_item() bpf_obj_new_impl(__builtin_btf_type_id(*(struct item *)0, 0), 0)

private_(A) struct bpf_spin_lock lock;
private_(A) struct bpf_rb_root root contains(item, node);
private_(A) struct bpf_list_head head contains(item, link);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, int);
	__type(value, struct slot);
	__uint(max_entries, 4);
} slots SEC(".maps");

static _Bool less(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return CONTAINER(a, struct item, node)->key < CONTAINER(b, struct item, node)->key;
}

static int add(long key)
{
	struct item *item = new_item();
	if (!item) return -1;
	item->key = key;
	bpf_spin_lock(&lock);
	bpf_rbtree_add_impl(&root, &item->node, less, 0, 0);
	bpf_spin_unlock(&lock);
	return 0;
}

#define KEY(n) (CONTAINER(n, struct item, node)->key)
/* Keys at the places where a tree of seven would have its nodes, 0 for none, as one number. */
static long shape(void)
{
	struct bpf_rb_node *top, *l, *r, *n;
	long sum = 0;

	bpf_spin_lock(&lock);
	top = bpf_rbtree_root(&root);
	if (top) {
		sum = KEY(top);
		l = bpf_rbtree_left(&root, top);
		if (l) {
			sum += KEY(l) * 31;
			n = bpf_rbtree_left(&root, l);
			if (n) sum += KEY(n) * 31 * 31;
			n = bpf_rbtree_right(&root, l);
			if (n) sum += KEY(n) * 31 * 31 * 31;
		}
		r = bpf_rbtree_right(&root, top);
		if (r) {
			sum += KEY(r) * 37;
			n = bpf_rbtree_left(&root, r);
			if (n) sum += KEY(n) * 37 * 37;
			n = bpf_rbtree_right(&root, r);
			if (n) sum += KEY(n) * 37 * 37 * 37;
		}
	}
	bpf_spin_unlock(&lock);
	return sum;
}

static int remove_first(void)
{
	struct bpf_rb_node *node;

	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&root);
	if (!node) {
		bpf_spin_unlock(&lock);
		return 0;
	}
	node = bpf_rbtree_remove(&root, node);
	bpf_spin_unlock(&lock);
	if (!node) return 0;
	bpf_obj_drop_impl(CONTAINER(node, struct item, node), 0);
	return 1;
}

#define TREE(name, ...) SEC("tc") long name(void *ctx) \
{ \
	static const long keys[] = { __VA_ARGS__ }; \
	long sum = 0; \
	_Pragma("unroll") for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) { if (add(keys[i])) return -1; sum = sum * 3 + shape(); } \
	_Pragma("unroll") for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) { if (!remove_first()) return -2; sum = sum * 5 + shape(); } \
	return (int)(sum ^ (sum >> 32)) & 0x7fffffff; \
}
TREE(tree_rising, 1, 2, 3, 4, 5, 6, 7, 8)
TREE(tree_falling, 8, 7, 6, 5, 4, 3, 2, 1)
TREE(tree_mixed, 5, 2, 9, 1, 4, 7, 8, 3)
TREE(tree_zigzag, 9, 1, 8, 2, 7, 3, 6, 4)
TREE(tree_equal, 4, 4, 4, 2, 2, 6, 6, 4)

SEC("tc") long remove_top(void *ctx)
{
	struct bpf_rb_node *node;
	long sum = 0;

	if (add(4) || add(2) || add(6) || add(1) || add(3) || add(5) || add(7)) return -1;
	_Pragma("unroll") for (int i = 0; i < 7; i++) {
		bpf_spin_lock(&lock);
		node = bpf_rbtree_root(&root);
		if (!node) { bpf_spin_unlock(&lock); return -2; }
		node = bpf_rbtree_remove(&root, node);
		bpf_spin_unlock(&lock);
		if (!node) return -3;
		sum = sum * 7 + KEY(node);
		bpf_obj_drop_impl(CONTAINER(node, struct item, node), 0);
		sum += shape();
	}
	return (int)(sum ^ (sum >> 32)) & 0x7fffffff;
}

SEC("tc") long list_order(void *ctx)
{
	struct bpf_list_node *link;
	struct item *item;
	long sum = 0;

	_Pragma("unroll") for (int i = 1; i <= 5; i++) {
		item = new_item();
		if (!item) return -1;
		item->key = i;
		bpf_spin_lock(&lock);
		if (i & 1) bpf_list_push_front_impl(&head, &item->link, 0, 0);
		else bpf_list_push_back_impl(&head, &item->link, 0, 0);
		bpf_spin_unlock(&lock);
	}
	_Pragma("unroll") for (int i = 0; i < 6; i++) {
		bpf_spin_lock(&lock);
		link = i & 2 ? bpf_list_pop_front(&head) : bpf_list_pop_back(&head);
		bpf_spin_unlock(&lock);
		sum *= 10;
		if (!link) continue;
		item = CONTAINER(link, struct item, link);
		sum += item->key;
		bpf_obj_drop_impl(item, 0);
	}
	return sum;
}

/* An item that the tree owns cannot be added again: the second reference ends. */
SEC("tc") long added_twice(void *ctx)
{
	struct item *item = new_item(), *again;
	long first, second;

	if (!item) return -1;
	again = bpf_refcount_acquire_impl(item, 0);
	item->key = 1;
	bpf_spin_lock(&lock);
	first = bpf_rbtree_add_impl(&root, &item->node, less, 0, 0);
	second = bpf_rbtree_add_impl(&root, &again->node, less, 0, 0);
	bpf_spin_unlock(&lock);
	return 1000 + first * 100 - second + (remove_first() ? 1 : 0) * 100 + (remove_first() ? 1 : 0);
}

/* What a map value owns ends with the element; what was left in trees and lists ends with the map. */
SEC("tc") long stashed(void *ctx)
{
	struct slot *slot, zero = {};
	struct item *item, *old;
	long key, again;
	int i = 0;

	bpf_map_update_elem(&slots, &i, &zero, 0);
	slot = bpf_map_lookup_elem(&slots, &i);
	if (!slot) return -1;
	item = new_item();
	if (!item) return -2;
	item->key = 42;
	old = bpf_kptr_xchg(&slot->item, item);
	if (old) { bpf_obj_drop_impl(old, 0); return -3; }
	old = bpf_kptr_xchg(&slot->item, 0);
	if (!old) return -4;
	key = old->key;
	old = bpf_kptr_xchg(&slot->item, old);
	if (old) { bpf_obj_drop_impl(old, 0); return -5; }
	bpf_map_delete_elem(&slots, &i);
	bpf_map_update_elem(&slots, &i, &zero, 0);
	slot = bpf_map_lookup_elem(&slots, &i);
	if (!slot) return -6;
	old = bpf_kptr_xchg(&slot->item, 0);
	again = old ? 1 : 0;
	if (old) bpf_obj_drop_impl(old, 0);
	if (add(3)) return -7;
	return key * 10 + again;
}

char _license[] SEC("license") = "GPL";
