/**
 * @module verifier/progtypes/lsm_hooks
 * What is particular about LSM hooks as attach targets: which may sleep, which get untrusted pointers, which are closed. Names are
 * those of the functions a program attaches to, `bpf_lsm_` included. Source: the BTF sets of `kernel/bpf/bpf_lsm.c`, Linux 7.3.
 */

function hooks(names: string): ReadonlySet<string> {
  return new Set(names.split(/\s+/).filter((name) => name !== '').map((name) => `bpf_lsm_${name}`));
}

/** Hooks no program may attach to. */
export const DISABLED_HOOKS: ReadonlySet<string> = hooks(`
  vm_enough_memory inode_need_killpriv inode_getsecurity inode_listsecurity inode_copy_up_xattr getselfattr getprocattr
  setprocattr key_getsecurity audit_rule_match xfrm_decode_session ismaclabel file_alloc_security`);

/** Hooks that act on the cgroup of the current task, whatever their arguments (LSM programs of cgroups). */
export const CURRENT_HOOKS: ReadonlySet<string> = hooks(`
  sk_alloc_security sk_free_security`);

/** Hooks that run with the socket locked, so that socket options may be set. */
export const LOCKED_SOCKOPT_HOOKS: ReadonlySet<string> = hooks(`
  sock_graft inet_csk_clone inet_conn_established`);

/** Hooks that run with the socket not locked but not yet in use, so that socket options may be set. */
export const UNLOCKED_SOCKOPT_HOOKS: ReadonlySet<string> = hooks(`
  socket_post_create socket_socketpair`);

/** Hooks that sleepable programs may attach to. */
export const SLEEPABLE_HOOKS: ReadonlySet<string> = hooks(`
  bpf bpf_map bpf_map_create bpf_map_free bpf_prog bpf_prog_load bpf_token_create bpf_token_free bpf_token_cmd
  bpf_token_capable bprm_check_security bprm_committed_creds bprm_committing_creds bprm_creds_for_exec
  bprm_creds_from_file capget capset cred_prepare file_ioctl file_lock file_open file_post_open file_receive
  inode_create inode_free_security inode_getattr inode_getxattr inode_mknod inode_need_killpriv inode_post_setxattr
  inode_post_removexattr inode_readlink inode_removexattr inode_rename inode_rmdir inode_setattr inode_setxattr
  inode_symlink inode_unlink kernel_module_request kernel_read_file kernfs_init_security path_unlink path_mkdir
  path_rmdir path_truncate path_symlink path_link path_rename path_chmod path_chown mmap_file netlink_send path_notify
  release_secctx sb_alloc_security sb_eat_lsm_opts sb_kern_mount sb_mount sb_remount sb_set_mnt_opts sb_show_options
  sb_statfs sb_umount settime socket_accept socket_bind socket_connect socket_create socket_getpeername
  socket_getpeersec_dgram socket_getsockname socket_getsockopt socket_listen socket_post_create socket_recvmsg
  socket_sendmsg socket_shutdown socket_socketpair syslog task_alloc task_prctl task_setscheduler userns_create
  bdev_alloc_security bdev_setintegrity`);

/** Hooks whose pointer arguments are not trusted: the objects are being made or freed. */
export const UNTRUSTED_HOOKS: ReadonlySet<string> = hooks(`
  bpf_map_free bpf_prog_free file_alloc_security file_free_security sk_alloc_security sk_free_security task_free
  bdev_alloc_security bdev_free_security`);

/** True for a hook that sleepable programs may attach to (`bpf_lsm_is_sleepable_hook`). */
export function isSleepableHook(name: string): boolean {
  return SLEEPABLE_HOOKS.has(name);
}

/** True for a hook whose pointer arguments are trusted (`bpf_lsm_is_trusted`). */
export function hasTrustedArguments(name: string): boolean {
  return !UNTRUSTED_HOOKS.has(name);
}

/** Hooks that answer yes or no rather than with an error number. */
export const BOOLEAN_HOOKS: ReadonlySet<string> = hooks('xfrm_state_pol_flow_match audit_rule_known inode_xattr_skipcap');

/** True for a hook whose value is 0 or 1. */
export function isBooleanHook(name: string): boolean {
  return BOOLEAN_HOOKS.has(name);
}

/** Functions whose names begin like those of hooks. */
const NOT_HOOKS: ReadonlySet<string> = hooks(`find_cgroup_shim func_proto get_retval_range has_d_inode_locked hook_returns_errno init
  is_sleepable_hook is_trusted verify_prog`);

/** True for a function that stands for an LSM hook. */
export function isHook(name: string): boolean {
  return name.startsWith('bpf_lsm_') && !NOT_HOOKS.has(name);
}
