/**
 * @module verifier/progtypes/targets
 * What is particular about kernel functions and structs as attach targets: which may have their result changed, which may be
 * attached to by sleepable programs, which not at all, and which struct_ops interfaces there are. Source: the BTF sets and
 * `ALLOW_ERROR_INJECTION` of Linux 7.3, each `struct bpf_struct_ops` that an x86-64 kernel of a distribution has built in.
 */

function names(list: string): ReadonlySet<string> {
  return new Set(list.split(/\s+/).filter((name) => name !== ''));
}

/** Functions that tracing programs may not be attached to: they run while a program is entered or left. */
export const DENIED_FUNCTIONS: ReadonlySet<string> = names(`___migrate_enable migrate_disable migrate_enable rcu_read_unlock_strict preempt_count_add
  preempt_count_sub __rcu_read_lock __rcu_read_unlock`);

/** Functions that do not return, so that nothing can wait for their return. */
export const NORETURN_FUNCTIONS: ReadonlySet<string> = names(`__ia32_sys_exit __ia32_sys_exit_group __kunit_abort kunit_try_catch_throw
  __module_put_and_kthread_exit __x64_sys_exit __x64_sys_exit_group do_exit do_group_exit kthread_complete_and_exit make_task_dead`);

/** Functions made for having their result changed by a program. */
const MODIFIABLE: ReadonlySet<string> = names('bpf_modify_return_test bpf_modify_return_test2 bpf_modify_return_test_tp bpf_fentry_test1 update_socket_protocol');

/** Of those, the ones that sleepable programs may be attached to. */
export const SLEEPABLE_MODIFY_RETURN: ReadonlySet<string> = names('bpf_fentry_test1');

/** Functions into which errors may be injected, besides system calls. */
const ERROR_INJECTION: ReadonlySet<string> = names(`__filemap_add_folio btrfs_check_leaf btrfs_check_node btrfs_cow_block btrfs_search_slot
  btrfs_should_cancel_balance io_ctl_init open_ctree page_pool_alloc_netmems should_fail_alloc_page should_fail_net_realloc_skb should_failslab`);

/** Of those, the ones that are also called where sleeping is forbidden. */
const NON_SLEEPABLE_INJECTION: ReadonlySet<string> = names('__filemap_add_folio should_fail_alloc_page should_failslab');

function isSystemCall(name: string): boolean {
  return name.startsWith('__x64_sys_') || name.startsWith('__ia32_sys_') || name.startsWith('__ia32_compat_sys_') || name.startsWith('__x64_compat_sys_');
}

function hasErrorInjection(name: string): boolean {
  return isSystemCall(name) || ERROR_INJECTION.has(name);
}

/** True where a sleepable tracing program may be attached because errors may be injected there (`check_attach_sleepable`). */
export function takesErrorInjection(name: string): boolean {
  return hasErrorInjection(name) && !NON_SLEEPABLE_INJECTION.has(name);
}

/** True where a program may change the result (`check_attach_modify_return`, `btf_kfunc_is_modify_return`). */
export function canModifyReturn(name: string): boolean {
  return MODIFIABLE.has(name) || hasErrorInjection(name) || name.startsWith('security_');
}

/** Tracepoints that are hit where page faults may be taken. */
export function isFaultableTracepoint(name: string): boolean {
  return name === 'sys_enter' || name === 'sys_exit';
}

/** A struct_ops interface. */
export interface StructOps {
  /** Members that a program may stand for; other function pointers are the kernel's own. */
  readonly members: ReadonlySet<string>;
  /** Whether programs for a member may, must or must not be sleepable. */
  readonly sleepable: (member: string) => 'any' | 'never' | 'always';
}

const anySleepable = (): 'any' => 'any';

/** Interfaces by the name of their struct. */
export const STRUCT_OPS: ReadonlyMap<string, StructOps> = new Map<string, StructOps>([
  ['tcp_congestion_ops', {
    members: names(`ssthresh cong_avoid set_state cwnd_event cwnd_event_tx_start in_ack_event pkts_acked min_tso_segs cong_control undo_cwnd
      sndbuf_expand init release`),
    sleepable: anySleepable,
  }],
  ['Qdisc_ops', { members: names('enqueue dequeue init reset destroy'), sleepable: anySleepable }],
  ['io_uring_bpf_ops', { members: names('loop_step'), sleepable: anySleepable }],
  ['smc_hs_ctrl', { members: names('syn_option synack_option'), sleepable: anySleepable }],
  ['bpf_dummy_ops', {
    members: names('test_1 test_2 test_sleepable'),
    sleepable: (member) => (member === 'test_sleepable' ? 'any' : 'never'),
  }],
]);
