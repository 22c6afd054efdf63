/**
 * @module verifier/helper_effects
 * What calling a helper or a kernel function does to the walk besides its arguments and result: it may move packet data, or call
 * functions of the program back. Reproduces `bpf_helper_changes_pkt_data` (net/core/filter.c) and `bpf_is_*_callback_calling_insn`
 * (kernel/bpf/verifier.c).
 */
import * as U from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { isSpecialKfunc } from './kfunc_access.ts';
import { isHelperCall, isPseudoKfuncCall } from './subprogs.ts';

const CHANGES_PACKET: ReadonlySet<number> = new Set([
  U.BPF_FUNC_clone_redirect, U.BPF_FUNC_l3_csum_replace, U.BPF_FUNC_l4_csum_replace, U.BPF_FUNC_lwt_push_encap,
  U.BPF_FUNC_lwt_seg6_action, U.BPF_FUNC_lwt_seg6_adjust_srh, U.BPF_FUNC_lwt_seg6_store_bytes, U.BPF_FUNC_msg_pop_data,
  U.BPF_FUNC_msg_pull_data, U.BPF_FUNC_msg_push_data, U.BPF_FUNC_skb_adjust_room, U.BPF_FUNC_skb_change_head,
  U.BPF_FUNC_skb_change_proto, U.BPF_FUNC_skb_change_tail, U.BPF_FUNC_skb_pull_data, U.BPF_FUNC_skb_store_bytes,
  U.BPF_FUNC_skb_vlan_pop, U.BPF_FUNC_skb_vlan_push, U.BPF_FUNC_store_hdr_opt, U.BPF_FUNC_xdp_adjust_head,
  U.BPF_FUNC_xdp_adjust_meta, U.BPF_FUNC_xdp_adjust_tail,
  // The program that is tail-called may call any of these.
  U.BPF_FUNC_tail_call,
]);
const SYNC_CALLBACK: ReadonlySet<number> = new Set([
  U.BPF_FUNC_for_each_map_elem, U.BPF_FUNC_find_vma, U.BPF_FUNC_loop, U.BPF_FUNC_user_ringbuf_drain,
]);

/** True for helpers after which pointers into the packet are no longer valid. */
export function helperChangesPktData(id: number): boolean {
  return CHANGES_PACKET.has(id);
}

/** True for helpers that call a function of the program while they run. */
export function isSyncCallbackHelper(id: number): boolean {
  return SYNC_CALLBACK.has(id);
}

/** True for helpers that have a function of the program called later. */
export function isAsyncCallbackHelper(id: number): boolean {
  return id === U.BPF_FUNC_timer_set_callback;
}

export function isSyncCallbackKfunc(env: VerifierEnv, funcID: number): boolean {
  return isSpecialKfunc(env, funcID, 'bpf_rbtree_add', 'bpf_rbtree_add_impl');
}

export function isAsyncCallbackKfunc(env: VerifierEnv, funcID: number): boolean {
  return isSpecialKfunc(env, funcID, 'bpf_wq_set_callback', 'bpf_task_work_schedule_signal', 'bpf_task_work_schedule_resume');
}

/** True where instruction `at` calls something that calls the program back while it runs. */
export function callsSyncCallback(env: VerifierEnv, at: number): boolean {
  const imm = env.insns.imm[at]!;
  return (isHelperCall(env, at) && isSyncCallbackHelper(imm)) || (isPseudoKfuncCall(env, at) && isSyncCallbackKfunc(env, imm));
}

/** True where instruction `at` calls something that has the program called back later. */
export function callsAsyncCallback(env: VerifierEnv, at: number): boolean {
  const imm = env.insns.imm[at]!;
  return (isHelperCall(env, at) && isAsyncCallbackHelper(imm)) || (isPseudoKfuncCall(env, at) && isAsyncCallbackKfunc(env, imm));
}

/** True where instruction `at` throws an exception. */
export function callsThrow(env: VerifierEnv, at: number): boolean {
  return isPseudoKfuncCall(env, at) && env.insns.off[at] === 0 && isSpecialKfunc(env, env.insns.imm[at]!, 'bpf_throw');
}
