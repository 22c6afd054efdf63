/**
 * @module verifier/kfunc_sets
 * The kernel functions that programs may call: by set, with flags, the hooks (groups of program types) they are registered
 * for, and the filter that narrows them down. The table of `BTF_KFUNCS_START` … `register_btf_kfunc_id_set` over the sources of
 * Linux 7.3; which of them a kernel has is decided by the functions in its BTF. Sets of sched_ext, HID and binfmt_misc are left
 * out: their functions are refused.
 */

export const KF_ACQUIRE: number = 1 << 0;
export const KF_RELEASE: number = 1 << 1;
export const KF_RET_NULL: number = 1 << 2;
export const KF_SLEEPABLE: number = 1 << 5;
export const KF_DESTRUCTIVE: number = 1 << 6;
export const KF_RCU: number = 1 << 7;
export const KF_ITER_NEW: number = 1 << 8;
export const KF_ITER_NEXT: number = 1 << 9;
export const KF_ITER_DESTROY: number = 1 << 10;
export const KF_RCU_PROTECTED: number = 1 << 11;
export const KF_FASTCALL: number = 1 << 12;
export const KF_ARENA_RET: number = 1 << 13;
export const KF_ARENA_ARG1: number = 1 << 14;
export const KF_ARENA_ARG2: number = 1 << 15;
export const KF_IMPLICIT_ARGS: number = 1 << 16;
export const KF_SPINLOCK_SAFE: number = 1 << 17;
export const KF_PERFMON: number = 1 << 18;

/** `enum btf_kfunc_hook` */
export type KfuncHook = 'common' | 'xdp' | 'tc' | 'structOps' | 'tracing' | 'syscall' | 'fmodret' | 'cgroup' | 'schedAct' | 'skSkb'
  | 'socketFilter' | 'lwt' | 'netfilter' | 'kprobe';

/** What narrows a set down to certain programs; the rules are in kfuncs.ts. */
export type KfuncFilter = 'fs' | 'fsverity' | 'session' | 'ksock' | 'tracingIter' | 'qdisc';

/** One registered set. */
export interface KfuncSet {
  readonly hooks: readonly KfuncHook[];
  readonly filter: KfuncFilter | undefined;
  readonly kfuncs: readonly (readonly [name: string, flags: number])[];
}

export const KFUNC_SETS: readonly KfuncSet[] = [
  { // kernel/bpf/helpers.c: generic_btf_ids
    hooks: ['tracing', 'tc', 'xdp', 'structOps', 'syscall', 'cgroup'], filter: undefined,
    kfuncs: [
      ['crash_kexec', KF_DESTRUCTIVE],
      ['bpf_obj_new', KF_ACQUIRE | KF_RET_NULL | KF_IMPLICIT_ARGS],
      ['bpf_obj_new_impl', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_percpu_obj_new', KF_ACQUIRE | KF_RET_NULL | KF_IMPLICIT_ARGS],
      ['bpf_percpu_obj_new_impl', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_obj_drop', KF_RELEASE | KF_IMPLICIT_ARGS],
      ['bpf_obj_drop_impl', KF_RELEASE],
      ['bpf_percpu_obj_drop', KF_RELEASE | KF_IMPLICIT_ARGS],
      ['bpf_percpu_obj_drop_impl', KF_RELEASE],
      ['bpf_refcount_acquire', KF_ACQUIRE | KF_RET_NULL | KF_RCU | KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE],
      ['bpf_refcount_acquire_impl', KF_ACQUIRE | KF_RET_NULL | KF_RCU | KF_SPINLOCK_SAFE],
      ['bpf_list_push_front', KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE],
      ['bpf_list_push_front_impl', KF_SPINLOCK_SAFE],
      ['bpf_list_push_back', KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE],
      ['bpf_list_push_back_impl', KF_SPINLOCK_SAFE],
      ['bpf_list_add', KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE],
      ['bpf_list_pop_front', KF_ACQUIRE | KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_list_pop_back', KF_ACQUIRE | KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_list_del', KF_ACQUIRE | KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_list_front', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_list_back', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_list_is_first', KF_SPINLOCK_SAFE],
      ['bpf_list_is_last', KF_SPINLOCK_SAFE],
      ['bpf_list_empty', KF_SPINLOCK_SAFE],
      ['bpf_task_acquire', KF_ACQUIRE | KF_RCU | KF_RET_NULL],
      ['bpf_task_release', KF_RELEASE],
      ['bpf_rbtree_remove', KF_ACQUIRE | KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_rbtree_add', KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE],
      ['bpf_rbtree_add_impl', KF_SPINLOCK_SAFE],
      ['bpf_rbtree_first', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_rbtree_root', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_rbtree_left', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_rbtree_right', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_cgroup_acquire', KF_ACQUIRE | KF_RCU | KF_RET_NULL],
      ['bpf_cgroup_release', KF_RELEASE],
      ['bpf_cgroup_ancestor', KF_ACQUIRE | KF_RCU | KF_RET_NULL],
      ['bpf_cgroup_from_id', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_task_under_cgroup', KF_RCU],
      ['bpf_task_get_cgroup1', KF_ACQUIRE | KF_RCU | KF_RET_NULL],
      ['bpf_task_from_pid', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_task_from_vpid', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_throw', 0],
      ['bpf_send_signal_task', 0],
      ['bpf_lookup_user_key', KF_ACQUIRE | KF_RET_NULL | KF_SLEEPABLE],
      ['bpf_lookup_system_key', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_key_put', KF_RELEASE],
      ['bpf_verify_pkcs7_signature', KF_SLEEPABLE],
    ],
  },
  { // kernel/bpf/helpers.c: common_btf_ids
    hooks: ['common'], filter: undefined,
    kfuncs: [
      ['bpf_cast_to_kern_ctx', KF_FASTCALL],
      ['bpf_rdonly_cast', KF_FASTCALL | KF_PERFMON],
      ['bpf_rcu_read_lock', 0],
      ['bpf_rcu_read_unlock', 0],
      ['bpf_dynptr_slice', KF_RET_NULL],
      ['bpf_dynptr_slice_rdwr', KF_RET_NULL],
      ['bpf_iter_num_new', KF_ITER_NEW | KF_SPINLOCK_SAFE],
      ['bpf_iter_num_next', KF_ITER_NEXT | KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_iter_num_destroy', KF_ITER_DESTROY | KF_SPINLOCK_SAFE],
      ['bpf_iter_task_vma_new', KF_ITER_NEW | KF_RCU],
      ['bpf_iter_task_vma_next', KF_ITER_NEXT | KF_RET_NULL],
      ['bpf_iter_task_vma_destroy', KF_ITER_DESTROY],
      ['bpf_iter_css_task_new', KF_ITER_NEW],
      ['bpf_iter_css_task_next', KF_ITER_NEXT | KF_RET_NULL],
      ['bpf_iter_css_task_destroy', KF_ITER_DESTROY],
      ['bpf_iter_css_new', KF_ITER_NEW | KF_RCU_PROTECTED],
      ['bpf_iter_css_next', KF_ITER_NEXT | KF_RET_NULL],
      ['bpf_iter_css_destroy', KF_ITER_DESTROY],
      ['bpf_iter_task_new', KF_ITER_NEW | KF_RCU_PROTECTED],
      ['bpf_iter_task_next', KF_ITER_NEXT | KF_RET_NULL],
      ['bpf_iter_task_destroy', KF_ITER_DESTROY],
      ['bpf_dynptr_adjust', 0],
      ['bpf_dynptr_is_null', 0],
      ['bpf_dynptr_is_rdonly', 0],
      ['bpf_dynptr_size', 0],
      ['bpf_dynptr_clone', 0],
      ['bpf_dynptr_copy', 0],
      ['bpf_dynptr_memset', 0],
      ['bpf_modify_return_test_tp', 0],
      ['bpf_wq_init', 0],
      ['bpf_wq_set_callback', KF_IMPLICIT_ARGS],
      ['bpf_wq_start', 0],
      ['bpf_preempt_disable', 0],
      ['bpf_preempt_enable', 0],
      ['bpf_iter_bits_new', KF_ITER_NEW | KF_PERFMON],
      ['bpf_iter_bits_next', KF_ITER_NEXT | KF_RET_NULL],
      ['bpf_iter_bits_destroy', KF_ITER_DESTROY],
      ['bpf_copy_from_user_str', KF_SLEEPABLE | KF_PERFMON],
      ['bpf_copy_from_user_task_str', KF_SLEEPABLE | KF_PERFMON],
      ['bpf_get_kmem_cache', KF_PERFMON],
      ['bpf_iter_kmem_cache_new', KF_ITER_NEW | KF_SLEEPABLE],
      ['bpf_iter_kmem_cache_next', KF_ITER_NEXT | KF_RET_NULL | KF_SLEEPABLE],
      ['bpf_iter_kmem_cache_destroy', KF_ITER_DESTROY | KF_SLEEPABLE],
      ['bpf_local_irq_save', 0],
      ['bpf_local_irq_restore', 0],
      ['bpf_probe_read_user_dynptr', KF_PERFMON],
      ['bpf_probe_read_kernel_dynptr', KF_PERFMON],
      ['bpf_probe_read_user_str_dynptr', KF_PERFMON],
      ['bpf_probe_read_kernel_str_dynptr', KF_PERFMON],
      ['bpf_copy_from_user_dynptr', KF_SLEEPABLE | KF_PERFMON],
      ['bpf_copy_from_user_str_dynptr', KF_SLEEPABLE | KF_PERFMON],
      ['bpf_copy_from_user_task_dynptr', KF_SLEEPABLE | KF_PERFMON],
      ['bpf_copy_from_user_task_str_dynptr', KF_SLEEPABLE | KF_PERFMON],
      ['bpf_iter_dmabuf_new', KF_ITER_NEW | KF_SLEEPABLE],
      ['bpf_iter_dmabuf_next', KF_ITER_NEXT | KF_RET_NULL | KF_SLEEPABLE],
      ['bpf_iter_dmabuf_destroy', KF_ITER_DESTROY | KF_SLEEPABLE],
      ['__bpf_trap', 0],
      ['bpf_strcmp', KF_PERFMON],
      ['bpf_strcasecmp', KF_PERFMON],
      ['bpf_strncasecmp', KF_PERFMON],
      ['bpf_strchr', KF_PERFMON],
      ['bpf_strchrnul', KF_PERFMON],
      ['bpf_strnchr', KF_PERFMON],
      ['bpf_strrchr', KF_PERFMON],
      ['bpf_strlen', KF_PERFMON],
      ['bpf_strnlen', KF_PERFMON],
      ['bpf_strspn', KF_PERFMON],
      ['bpf_strcspn', KF_PERFMON],
      ['bpf_strstr', KF_PERFMON],
      ['bpf_strcasestr', KF_PERFMON],
      ['bpf_strnstr', KF_PERFMON],
      ['bpf_strncasestr', KF_PERFMON],
      ['bpf_cgroup_read_xattr', KF_RCU],
      ['bpf_stream_vprintk', KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE | KF_PERFMON],
      ['bpf_stream_print_stack', KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE | KF_PERFMON],
      ['bpf_task_work_schedule_signal', KF_IMPLICIT_ARGS],
      ['bpf_task_work_schedule_resume', KF_IMPLICIT_ARGS],
      ['bpf_dynptr_from_file', 0],
      ['bpf_dynptr_file_discard', KF_RELEASE],
      ['bpf_timer_cancel_async', 0],
    ],
  },
  { // kernel/bpf/arena.c: arena_kfuncs
    hooks: ['common'], filter: undefined,
    kfuncs: [
      ['bpf_arena_alloc_pages', KF_ARENA_RET | KF_ARENA_ARG2 | KF_SPINLOCK_SAFE],
      ['bpf_arena_free_pages', KF_ARENA_ARG2 | KF_SPINLOCK_SAFE],
      ['bpf_arena_reserve_pages', KF_ARENA_ARG2 | KF_SPINLOCK_SAFE],
    ],
  },
  { // kernel/bpf/cpumask.c: cpumask_kfunc_btf_ids
    hooks: ['tracing', 'structOps', 'syscall'], filter: undefined,
    kfuncs: [
      ['bpf_cpumask_create', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_cpumask_release', KF_RELEASE],
      ['bpf_cpumask_acquire', KF_ACQUIRE],
      ['bpf_cpumask_first', KF_RCU],
      ['bpf_cpumask_first_zero', KF_RCU],
      ['bpf_cpumask_first_and', KF_RCU],
      ['bpf_cpumask_set_cpu', KF_RCU],
      ['bpf_cpumask_clear_cpu', KF_RCU],
      ['bpf_cpumask_test_cpu', KF_RCU],
      ['bpf_cpumask_test_and_set_cpu', KF_RCU],
      ['bpf_cpumask_test_and_clear_cpu', KF_RCU],
      ['bpf_cpumask_setall', KF_RCU],
      ['bpf_cpumask_clear', KF_RCU],
      ['bpf_cpumask_and', KF_RCU],
      ['bpf_cpumask_or', KF_RCU],
      ['bpf_cpumask_xor', KF_RCU],
      ['bpf_cpumask_equal', KF_RCU],
      ['bpf_cpumask_intersects', KF_RCU],
      ['bpf_cpumask_subset', KF_RCU],
      ['bpf_cpumask_empty', KF_RCU],
      ['bpf_cpumask_full', KF_RCU],
      ['bpf_cpumask_copy', KF_RCU],
      ['bpf_cpumask_any_distribute', KF_RCU],
      ['bpf_cpumask_any_and_distribute', KF_RCU],
      ['bpf_cpumask_weight', KF_RCU],
      ['bpf_cpumask_populate', KF_RCU],
    ],
  },
  { // kernel/bpf/crypto.c: crypt_init_kfunc_btf_ids
    hooks: ['syscall'], filter: undefined,
    kfuncs: [
      ['bpf_crypto_ctx_create', KF_ACQUIRE | KF_RET_NULL | KF_SLEEPABLE],
      ['bpf_crypto_ctx_release', KF_RELEASE],
      ['bpf_crypto_ctx_acquire', KF_ACQUIRE | KF_RCU | KF_RET_NULL],
    ],
  },
  { // kernel/bpf/crypto.c: crypt_kfunc_btf_ids
    hooks: ['tc', 'schedAct', 'xdp'], filter: undefined,
    kfuncs: [
      ['bpf_crypto_decrypt', KF_RCU],
      ['bpf_crypto_encrypt', KF_RCU],
    ],
  },
  { // kernel/bpf/map_iter.c: bpf_map_iter_kfunc_ids
    hooks: ['common'], filter: undefined,
    kfuncs: [
      ['bpf_map_sum_elem_count', 0],
    ],
  },
  { // kernel/bpf/rqspinlock.c: rqspinlock_kfunc_ids
    hooks: ['common'], filter: undefined,
    kfuncs: [
      ['bpf_res_spin_lock', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_res_spin_unlock', KF_SPINLOCK_SAFE],
      ['bpf_res_spin_lock_irqsave', KF_RET_NULL | KF_SPINLOCK_SAFE],
      ['bpf_res_spin_unlock_irqrestore', KF_SPINLOCK_SAFE],
    ],
  },
  { // kernel/cgroup/rstat.c: bpf_rstat_kfunc_ids
    hooks: ['tracing'], filter: undefined,
    kfuncs: [
      ['css_rstat_updated', 0],
      ['css_rstat_flush', KF_SLEEPABLE],
    ],
  },
  { // kernel/trace/bpf_trace.c: session_kfunc_set_ids
    hooks: ['kprobe', 'tracing'], filter: 'session',
    kfuncs: [
      ['bpf_session_is_return', 0],
      ['bpf_session_cookie', 0],
    ],
  },
  { // fs/bpf_fs_kfuncs.c: bpf_fs_kfunc_set_ids
    hooks: ['tracing', 'structOps'], filter: 'fs',
    kfuncs: [
      ['bpf_get_task_exe_file', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_put_file', KF_RELEASE],
      ['bpf_path_d_path', 0],
      ['bpf_get_dentry_xattr', KF_SLEEPABLE],
      ['bpf_get_file_xattr', KF_SLEEPABLE],
      ['bpf_set_dentry_xattr', KF_SLEEPABLE],
      ['bpf_remove_dentry_xattr', KF_SLEEPABLE],
      ['bpf_real_data_inode', KF_SLEEPABLE | KF_RET_NULL],
      ['bpf_sock_read_xattr', KF_RCU],
    ],
  },
  { // fs/verity/measure.c: fsverity_set_ids
    hooks: ['tracing'], filter: 'fsverity',
    kfuncs: [
      ['bpf_get_fsverity_digest', 0],
    ],
  },
  { // mm/bpf_memcontrol.c: bpf_memcontrol_kfuncs
    hooks: ['common'], filter: undefined,
    kfuncs: [
      ['bpf_get_root_mem_cgroup', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_get_mem_cgroup', KF_ACQUIRE | KF_RET_NULL | KF_RCU],
      ['bpf_put_mem_cgroup', KF_RELEASE],
      ['bpf_mem_cgroup_vm_events', 0],
      ['bpf_mem_cgroup_memory_events', 0],
      ['bpf_mem_cgroup_usage', 0],
      ['bpf_mem_cgroup_page_state', 0],
      ['bpf_mem_cgroup_flush_stats', KF_SLEEPABLE],
    ],
  },
  { // net/bpf/test_run.c: bpf_test_modify_return_ids
    hooks: ['fmodret'], filter: undefined,
    kfuncs: [
      ['bpf_modify_return_test', 0],
      ['bpf_modify_return_test2', 0],
      ['bpf_modify_return_test_tp', 0],
      ['bpf_fentry_test1', KF_SLEEPABLE],
    ],
  },
  { // net/bpf/test_run.c: test_sk_check_kfunc_ids
    hooks: ['tc', 'tracing', 'syscall'], filter: undefined,
    kfuncs: [
      ['bpf_kfunc_call_test_release', KF_RELEASE],
      ['bpf_kfunc_call_memb_release', KF_RELEASE],
    ],
  },
  { // net/core/bpf_ksock.c: ksock_init_kfunc_btf_ids
    hooks: ['syscall'], filter: undefined,
    kfuncs: [
      ['bpf_ksock_create', KF_ACQUIRE | KF_RET_NULL | KF_SLEEPABLE],
      ['bpf_ksock_connect', KF_SLEEPABLE],
    ],
  },
  { // net/core/bpf_ksock.c: ksock_kfunc_btf_ids
    hooks: ['syscall', 'tracing'], filter: 'ksock',
    kfuncs: [
      ['bpf_ksock_release', KF_RELEASE],
      ['bpf_ksock_acquire', KF_ACQUIRE | KF_RCU | KF_RET_NULL],
      ['bpf_ksock_send', KF_SLEEPABLE],
    ],
  },
  { // net/core/filter.c: bpf_kfunc_check_set_skb
    hooks: ['tc', 'schedAct', 'skSkb', 'socketFilter', 'cgroup', 'lwt', 'netfilter', 'tracing'], filter: undefined,
    kfuncs: [
      ['bpf_dynptr_from_skb', 0],
    ],
  },
  { // net/core/filter.c: bpf_kfunc_check_set_skb_meta
    hooks: ['tc', 'schedAct'], filter: undefined,
    kfuncs: [
      ['bpf_dynptr_from_skb_meta', 0],
    ],
  },
  { // net/core/filter.c: bpf_kfunc_check_set_xdp
    hooks: ['xdp'], filter: undefined,
    kfuncs: [
      ['bpf_dynptr_from_xdp', 0],
      ['bpf_xdp_pull_data', 0],
    ],
  },
  { // net/core/filter.c: bpf_kfunc_check_set_sock_addr
    hooks: ['cgroup'], filter: undefined,
    kfuncs: [
      ['bpf_sock_addr_set_sun_path', 0],
    ],
  },
  { // net/core/filter.c: bpf_kfunc_check_set_tcp_reqsk
    hooks: ['tc'], filter: undefined,
    kfuncs: [
      ['bpf_sk_assign_tcp_reqsk', 0],
    ],
  },
  { // net/core/filter.c: bpf_kfunc_check_set_sock_ops
    hooks: ['cgroup'], filter: undefined,
    kfuncs: [
      ['bpf_sock_ops_enable_tx_tstamp', 0],
    ],
  },
  { // net/core/filter.c: bpf_kfunc_check_set_icmp_send
    hooks: ['cgroup'], filter: undefined,
    kfuncs: [
      ['bpf_icmp_send', 0],
    ],
  },
  { // net/core/filter.c: bpf_sk_iter_kfunc_ids
    hooks: ['tracing'], filter: 'tracingIter',
    kfuncs: [
      ['bpf_sock_destroy', 0],
    ],
  },
  { // net/core/xdp.c: xdp_metadata_kfunc_ids
    hooks: ['xdp'], filter: undefined,
    kfuncs: [
      ['bpf_xdp_metadata_rx_timestamp', 0],
      ['bpf_xdp_metadata_rx_hash', 0],
      ['bpf_xdp_metadata_rx_vlan_tag', 0],
    ],
  },
  { // net/ipv4/bpf_tcp_ca.c: bpf_tcp_ca_check_kfunc_ids
    hooks: ['structOps'], filter: undefined,
    kfuncs: [
      ['tcp_reno_ssthresh', 0],
      ['tcp_reno_cong_avoid', 0],
      ['tcp_reno_undo_cwnd', 0],
      ['tcp_slow_start', 0],
      ['tcp_cong_avoid_ai', 0],
    ],
  },
  { // net/ipv4/fou_bpf.c: fou_kfunc_set
    hooks: ['tc'], filter: undefined,
    kfuncs: [
      ['bpf_skb_set_fou_encap', 0],
      ['bpf_skb_get_fou_encap', 0],
    ],
  },
  { // net/ipv4/tcp_bbr.c: tcp_bbr_check_kfunc_ids
    hooks: ['structOps'], filter: undefined,
    kfuncs: [
      ['bbr_init', 0],
      ['bbr_main', 0],
      ['bbr_sndbuf_expand', 0],
      ['bbr_undo_cwnd', 0],
      ['bbr_cwnd_event_tx_start', 0],
      ['bbr_ssthresh', 0],
      ['bbr_min_tso_segs', 0],
      ['bbr_set_state', 0],
    ],
  },
  { // net/ipv4/tcp_cubic.c: tcp_cubic_check_kfunc_ids
    hooks: ['structOps'], filter: undefined,
    kfuncs: [
      ['cubictcp_init', 0],
      ['cubictcp_recalc_ssthresh', 0],
      ['cubictcp_cong_avoid', 0],
      ['cubictcp_state', 0],
      ['cubictcp_cwnd_event_tx_start', 0],
      ['cubictcp_acked', 0],
    ],
  },
  { // net/ipv4/tcp_dctcp.c: tcp_dctcp_check_kfunc_ids
    hooks: ['structOps'], filter: undefined,
    kfuncs: [
      ['dctcp_init', 0],
      ['dctcp_update_alpha', 0],
      ['dctcp_cwnd_event', 0],
      ['dctcp_cwnd_event_tx_start', 0],
      ['dctcp_ssthresh', 0],
      ['dctcp_cwnd_undo', 0],
      ['dctcp_state', 0],
    ],
  },
  { // net/netfilter/nf_conntrack_bpf.c: nf_ct_kfunc_set
    hooks: ['xdp', 'tc'], filter: undefined,
    kfuncs: [
      ['bpf_xdp_ct_alloc', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_xdp_ct_lookup', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_skb_ct_alloc', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_skb_ct_lookup', KF_ACQUIRE | KF_RET_NULL],
      ['bpf_ct_insert_entry', KF_ACQUIRE | KF_RET_NULL | KF_RELEASE],
      ['bpf_ct_release', KF_RELEASE],
      ['bpf_ct_set_timeout', 0],
      ['bpf_ct_change_timeout', 0],
      ['bpf_ct_set_status', 0],
      ['bpf_ct_change_status', 0],
    ],
  },
  { // net/netfilter/nf_flow_table_bpf.c: nf_ft_kfunc_set
    hooks: ['xdp'], filter: undefined,
    kfuncs: [
      ['bpf_xdp_flow_lookup', KF_RET_NULL],
    ],
  },
  { // net/netfilter/nf_nat_bpf.c: nf_nat_kfunc_set
    hooks: ['xdp', 'tc'], filter: undefined,
    kfuncs: [
      ['bpf_ct_set_nat_info', 0],
    ],
  },
  { // net/sched/bpf_qdisc.c: qdisc_kfunc_ids
    hooks: ['structOps'], filter: 'qdisc',
    kfuncs: [
      ['bpf_skb_get_hash', 0],
      ['bpf_kfree_skb', KF_RELEASE],
      ['bpf_qdisc_skb_drop', KF_RELEASE],
      ['bpf_dynptr_from_skb', 0],
      ['bpf_qdisc_watchdog_schedule', 0],
      ['bpf_qdisc_init_prologue', 0],
      ['bpf_qdisc_reset_destroy_epilogue', 0],
      ['bpf_qdisc_bstats_update', 0],
    ],
  },
  { // net/xfrm/xfrm_interface_bpf.c: xfrm_ifc_kfunc_set
    hooks: ['tc'], filter: undefined,
    kfuncs: [
      ['bpf_skb_get_xfrm_info', 0],
      ['bpf_skb_set_xfrm_info', 0],
    ],
  },
  { // net/xfrm/xfrm_state_bpf.c: xfrm_state_kfunc_set
    hooks: ['xdp'], filter: undefined,
    kfuncs: [
      ['bpf_xdp_get_xfrm_state', KF_RET_NULL | KF_ACQUIRE],
      ['bpf_xdp_xfrm_state_release', KF_RELEASE],
    ],
  },
  { // drivers/base/power/wakeup.c: wakeup_source_kfunc_ids
    hooks: ['syscall'], filter: undefined,
    kfuncs: [
      ['bpf_wakeup_sources_read_lock', KF_ACQUIRE],
      ['bpf_wakeup_sources_read_unlock', KF_RELEASE],
      ['bpf_wakeup_sources_get_head', 0],
    ],
  },
  { // io_uring/bpf-ops.c: io_uring_kfunc_set
    hooks: ['structOps'], filter: undefined,
    kfuncs: [
      ['bpf_io_uring_submit_sqes', KF_SLEEPABLE],
      ['bpf_io_uring_get_region', KF_RET_NULL],
    ],
  },
];
