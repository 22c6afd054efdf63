#!/usr/bin/env node
// Random walks over kernel structures by programs that get pointers to them: tracepoints, traced functions, LSM hooks, iterators,
// struct_ops. Pointers are followed, tested, offset, compared, passed to helpers and kernel functions, stored to, spilled.
// As a transcript without answers: btf-walks.mjs [COUNT [SEED]] > IN.jsonl; then ../record.mjs IN.jsonl ../data/btf-walks.jsonl.gz
import { F, I, PROG, Transcript, prog } from './build.mjs';
import { kernelTypeID, kindOf, members, parameters, plain, target } from './kernel-types.mjs';

const count = Number(process.argv[2] ?? 300);
let state = Number(process.argv[3] ?? 20261121) >>> 0;
const random = () => { state = (state + 0x6d2b79f5) >>> 0; let x = Math.imul(state ^ (state >>> 15), 1 | state); x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x; return (x ^ (x >>> 14)) >>> 0; };
const below = (n) => random() % n, pick = (list) => list[below(list.length)];

const POINTS = ['task_newtask', 'sched_switch', 'kfree_skb', 'sys_enter', 'sys_exit', 'inet_sock_set_state', 'sched_process_exec', 'sched_process_exit', 'cgroup_mkdir', 'tcp_probe', 'net_dev_queue', 'netif_receive_skb', 'block_rq_issue', 'mm_page_alloc', 'signal_generate', 'sched_wakeup', 'tcp_send_reset', 'sched_pi_setprio', 'contention_begin', 'bpf_trace_printk'];
const FUNCTIONS = ['bpf_fentry_test1', 'bpf_fentry_test7', 'bpf_fentry_test9', 'security_file_open', 'vfs_read', 'tcp_v4_connect', 'do_exit', 'kfree_skb_reason', 'wake_up_new_task', 'inet_csk_accept', 'vfs_statx', 'dev_hard_start_xmit', 'ip_rcv', 'cgroup_attach_task', 'security_inode_getattr', 'filp_close', 'bpf_prog_put'];
const HOOKS = ['file_open', 'bprm_check_security', 'socket_connect', 'socket_post_create', 'inode_permission', 'task_alloc', 'task_free', 'file_mprotect', 'inode_getattr', 'bpf', 'bpf_prog_load', 'path_mkdir', 'sb_mount', 'cred_prepare', 'sk_alloc_security', 'socket_sendmsg', 'file_ioctl', 'inode_setxattr', 'mmap_file', 'inode_rename', 'inode_unlink', 'd_instantiate', 'getprocattr', 'ptrace_access_check', 'xfrm_decode_session', 'sock_graft'];
const ITERATORS = ['task', 'task_file', 'task_vma', 'bpf_map', 'bpf_prog', 'bpf_link', 'bpf_map_elem', 'tcp', 'udp', 'unix', 'netlink', 'cgroup', 'ksym', 'ipv6_route', 'bpf_sk_storage_map', 'kmem_cache', 'dmabuf', 'sockmap'];
const KFUNCS = ['bpf_task_acquire', 'bpf_task_release', 'bpf_task_from_pid', 'bpf_cgroup_acquire', 'bpf_cgroup_release', 'bpf_cgroup_ancestor', 'bpf_task_under_cgroup', 'bpf_task_get_cgroup1', 'bpf_get_task_exe_file', 'bpf_put_file', 'bpf_path_d_path', 'bpf_get_file_xattr', 'bpf_rcu_read_lock', 'bpf_rcu_read_unlock', 'bpf_preempt_disable', 'bpf_preempt_enable', 'bpf_cpumask_create', 'bpf_cpumask_release', 'bpf_cpumask_first', 'bpf_cpumask_test_cpu', 'bpf_rdonly_cast', 'bpf_cast_to_kern_ctx', 'bpf_iter_css_task_new', 'bpf_kfree_skb', 'bpf_skb_get_hash', 'bpf_sock_destroy', 'bpf_map_sum_elem_count', 'bpf_local_irq_save', 'bpf_get_kmem_cache', 'bpf_get_dentry_xattr', 'cgroup_rstat_flush', 'bpf_cgroup_read_xattr', 'bpf_real_data_inode', 'bpf_strnlen', 'bpf_send_signal_task', 'bpf_key_put', 'tcp_reno_cong_avoid', 'tcp_slow_start', 'bpf_qdisc_skb_drop', 'bpf_mem_cgroup_from_task', 'bpf_put_mem_cgroup', 'bpf_cgroup_from_id'].map((name) => kernelTypeID(name)).filter((id) => id > 0);
const HELPERS = [4, 113, 112, 115, 141, 147, 136, 137, 138, 139, 140, 156, 157, 158, 161, 162, 175, 174, 178, 193, 191, 210, 35, 8, 14, 16, 15, 5, 111, 25, 107, 6, 106, 46, 47, 148, 67, 45, 51, 1];
const MEMORY = ['b', 'h', 'w', 'dw'];

/** What a register may point at: a structure, nothing known. */
const structBehind = (type) => { const id = plain(type); if (kindOf(id) !== 2) return 0; const to = plain(target(id)); return kindOf(to) === 4 || kindOf(to) === 5 ? to : 0; };
/** A member somewhere in a structure, pointers first. */
function member(id, depth = 0) {
  const all = members(id); if (all.length === 0) return { offset: 0, type: 0 };
  const pointers = all.filter(({ type }) => structBehind(type)), { type, offset } = pick(pointers.length && below(4) ? pointers : all), inner = plain(type);
  if ((kindOf(inner) === 4 || kindOf(inner) === 5) && depth < 4) { const found = member(inner, depth + 1); return { offset: offset + found.offset, type: found.type }; }
  return { offset, type };
}
const DIRECT = { 23: 'raw tracepoint', 24: 'fentry', 25: 'fexit', 26: 'fmod_ret', 59: 'fsession' };
const KINDS = [
  () => { const name = pick(POINTS); return { name: `tp_btf/${name}`, type: PROG.TRACING, attach: 23, id: kernelTypeID(`btf_trace_${name}`, 8), args: parameters(target(target(kernelTypeID(`btf_trace_${name}`, 8)))).slice(1) }; },
  () => { const name = pick(FUNCTIONS), attach = pick([24, 24, 25, 25, 26, 59]); return { name: `${DIRECT[attach]}/${name}`, type: PROG.TRACING, attach, id: kernelTypeID(name), args: parameters(kernelTypeID(name)) }; },
  () => { const name = pick(HOOKS), attach = pick([27, 27, 27, 43]); return { name: `lsm/${name}`, type: PROG.LSM, attach, id: kernelTypeID(`bpf_lsm_${name}`), args: parameters(kernelTypeID(`bpf_lsm_${name}`)), flags: attach === 27 && below(2) ? F.SLEEPABLE : 0 }; },
  () => { const name = pick(ITERATORS), id = kernelTypeID(`bpf_iter_${name}`), struct = kernelTypeID(`bpf_iter__${name}`, 4); return { name: `iter/${name}`, type: PROG.TRACING, attach: 28, id, args: struct ? members(struct).map(({ type }) => type) : [], flags: below(2) ? F.SLEEPABLE : 0 }; },
  () => { const [struct, list] = pick([['tcp_congestion_ops', [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 16, 17]], ['Qdisc_ops', [5, 6, 8, 9, 10]], ['bpf_dummy_ops', [0, 1, 2]], ['io_uring_bpf_ops', [0]], ['smc_hs_ctrl', [4, 5]]]); const id = kernelTypeID(struct, 4), at = pick(list), pointer = plain(members(id)[at].type); return { name: `${struct}/${at}`, type: PROG.STRUCT_OPS, attach: at, id, args: kindOf(pointer) === 2 && kindOf(plain(target(pointer))) === 13 ? parameters(plain(target(pointer))) : [] }; },
];

const t = new Transcript();
for (let n = 0; n < count;) {
  const kind = pick(KINDS)();
  if (kind.id === 0) continue;
  // r6 context, r7 and r8 pointers, r9 a number
  const code = [I.movr(6, 1), I.mov(9, below(64))], known = { 7: 0, 8: 0 };
  const load = (r) => { const i = below(Math.max(1, kind.args.length) + (below(6) ? 0 : 2)); code.push(I.ldx('dw', r, 6, 8 * i)); known[r] = structBehind(kind.args[i] ?? 0); };
  const checked = (r) => code.push(I.j(pick(['ne', 'ne', 'ne', 'eq']), r, 0, 2), I.mov(0, 0), I.exit());
  load(7); code.push(I.mov(8, 0));
  if (below(4) === 0) checked(7);
  for (let i = 3 + below(10); i > 0; i--) {
    const r = pick([7, 7, 8]), other = r === 7 ? 8 : 7;
    const follow = () => { const struct = known[r]; if (!struct) { load(r); return; } const { offset, type } = member(struct); code.push(I.ldx(structBehind(type) ? 'dw' : pick(MEMORY), other, r, offset)); known[other] = structBehind(type); if (below(2)) checked(other); };
    pick([follow, follow, follow, follow, () => load(other), () => checked(r),
      () => code.push(I.ldx(pick(MEMORY), 9, r, pick([0, 4, 8, 16, 24, 100, 1000, 4096, -8]))),
      () => code.push(I.alu(pick(['add', 'add', 'sub']), r, pick([8, 16, 0, 1, -8]))), () => code.push(I.alur('add', r, 9)), () => code.push(I.alu('and', 9, pick([7, 15, 63]))),
      () => code.push(pick([I.stx('dw', r, 9, pick([0, 8, 16])), I.st('w', r, pick([0, 4, 96]), 1), I.atomic('dw', 0, r, 9, 0)])),
      () => { code.push(I.stx('dw', 10, r, -8), I.mov(other, 0), I.ldx('dw', other, 10, -8)); known[other] = known[r]; },
      () => code.push(I.jr(pick(['eq', 'ne', 'gt']), 7, 8, 1), I.mov(9, 1)),
      () => { code.push(I.movr(1, r), I.movr(2, pick([7, 8, 9])), ...pick([[I.mov(3, 0)], [I.movr(3, 10), I.alu('add', 3, -64)], [I.mov(3, 8)]]), I.mov(4, 8), I.mov(5, 0), I.callKfunc(pick(KFUNCS))); if (below(2)) { code.push(I.movr(other, 0)); known[other] = 0; if (below(2)) checked(other); } },
      () => { code.push(...pick([[I.movr(1, r)], [I.movr(1, 10), I.alu('add', 1, -64)], [I.movr(1, 6)]]), ...pick([[I.mov(2, 8)], [I.movr(2, r)], [I.movr(2, 10), I.alu('add', 2, -32)]]), ...pick([[I.movr(3, r)], [I.mov(3, 8)]]), I.mov(4, 0), I.mov(5, 0), I.call(pick(HELPERS))); if (below(3) === 0) { code.push(I.movr(other, 0)); known[other] = 0; if (below(2)) checked(other); } },
      () => { const lock = kernelTypeID('bpf_rcu_read_lock'), unlock = kernelTypeID('bpf_rcu_read_unlock'); code.push(I.callKfunc(lock)); follow(); follow(); if (below(5)) code.push(I.callKfunc(unlock)); },
    ])();
  }
  code.push(...pick([[I.mov(0, 0)], [I.mov(0, 0)], [I.mov(0, 0)], [I.movr(0, 9)], [I.mov(0, -1)], [I.mov(0, 1)]]), I.exit());
  t.case(`btf-walks/${String(n++).padStart(3, '0')}`, 'btf-walks', kind.name);
  t.load({ type: kind.type, insns: prog(code), log: 2, logSize: 1 << 18, flags: kind.flags ?? 0, set: [[68, kind.attach], [108, kind.id]] });
}
process.stdout.write(t.text());
