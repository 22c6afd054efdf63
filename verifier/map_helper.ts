/**
 * @module verifier/map_helper
 * Which helpers work on which kinds of maps (`check_map_func_compatibility`, kernel/bpf/verifier.c).
 */
import { EINVAL } from '../isa/errno.ts';
import * as U from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { funcName } from './helper_args.ts';
import type { MapDescriptor } from './types.ts';

const STORAGE = (get: number, del: number): readonly number[] => [get, del, U.BPF_FUNC_kptr_xchg];

/** Kinds of maps that only some helpers take. */
const HELPERS_OF_MAP: ReadonlyMap<number, readonly number[]> = new Map([
  [U.BPF_MAP_TYPE_PROG_ARRAY, [U.BPF_FUNC_tail_call]],
  [U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, [
    U.BPF_FUNC_perf_event_read, U.BPF_FUNC_perf_event_output, U.BPF_FUNC_skb_output, U.BPF_FUNC_perf_event_read_value, U.BPF_FUNC_xdp_output,
  ]],
  [U.BPF_MAP_TYPE_RINGBUF, [
    U.BPF_FUNC_ringbuf_output, U.BPF_FUNC_ringbuf_reserve, U.BPF_FUNC_ringbuf_query, U.BPF_FUNC_ringbuf_reserve_dynptr,
    U.BPF_FUNC_ringbuf_submit_dynptr, U.BPF_FUNC_ringbuf_discard_dynptr,
  ]],
  [U.BPF_MAP_TYPE_USER_RINGBUF, [U.BPF_FUNC_user_ringbuf_drain]],
  [U.BPF_MAP_TYPE_STACK_TRACE, [U.BPF_FUNC_get_stackid]],
  [U.BPF_MAP_TYPE_CGROUP_ARRAY, [U.BPF_FUNC_skb_under_cgroup, U.BPF_FUNC_current_task_under_cgroup]],
  [U.BPF_MAP_TYPE_CGROUP_STORAGE, [U.BPF_FUNC_get_local_storage]],
  [U.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, [U.BPF_FUNC_get_local_storage]],
  [U.BPF_MAP_TYPE_DEVMAP, [U.BPF_FUNC_redirect_map, U.BPF_FUNC_map_lookup_elem]],
  [U.BPF_MAP_TYPE_DEVMAP_HASH, [U.BPF_FUNC_redirect_map, U.BPF_FUNC_map_lookup_elem]],
  [U.BPF_MAP_TYPE_CPUMAP, [U.BPF_FUNC_redirect_map]],
  [U.BPF_MAP_TYPE_XSKMAP, [U.BPF_FUNC_redirect_map, U.BPF_FUNC_map_lookup_elem]],
  [U.BPF_MAP_TYPE_ARRAY_OF_MAPS, [U.BPF_FUNC_map_lookup_elem]],
  [U.BPF_MAP_TYPE_HASH_OF_MAPS, [U.BPF_FUNC_map_lookup_elem]],
  [U.BPF_MAP_TYPE_SOCKMAP, [
    U.BPF_FUNC_sk_redirect_map, U.BPF_FUNC_sock_map_update, U.BPF_FUNC_msg_redirect_map, U.BPF_FUNC_sk_select_reuseport, U.BPF_FUNC_map_lookup_elem,
  ]],
  [U.BPF_MAP_TYPE_SOCKHASH, [
    U.BPF_FUNC_sk_redirect_hash, U.BPF_FUNC_sock_hash_update, U.BPF_FUNC_msg_redirect_hash, U.BPF_FUNC_sk_select_reuseport,
    U.BPF_FUNC_map_lookup_elem,
  ]],
  [U.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, [U.BPF_FUNC_sk_select_reuseport]],
  [U.BPF_MAP_TYPE_QUEUE, [U.BPF_FUNC_map_peek_elem, U.BPF_FUNC_map_pop_elem, U.BPF_FUNC_map_push_elem]],
  [U.BPF_MAP_TYPE_STACK, [U.BPF_FUNC_map_peek_elem, U.BPF_FUNC_map_pop_elem, U.BPF_FUNC_map_push_elem]],
  [U.BPF_MAP_TYPE_SK_STORAGE, STORAGE(U.BPF_FUNC_sk_storage_get, U.BPF_FUNC_sk_storage_delete)],
  [U.BPF_MAP_TYPE_INODE_STORAGE, STORAGE(U.BPF_FUNC_inode_storage_get, U.BPF_FUNC_inode_storage_delete)],
  [U.BPF_MAP_TYPE_TASK_STORAGE, STORAGE(U.BPF_FUNC_task_storage_get, U.BPF_FUNC_task_storage_delete)],
  [U.BPF_MAP_TYPE_CGRP_STORAGE, STORAGE(U.BPF_FUNC_cgrp_storage_get, U.BPF_FUNC_cgrp_storage_delete)],
  [U.BPF_MAP_TYPE_BLOOM_FILTER, [U.BPF_FUNC_map_peek_elem, U.BPF_FUNC_map_push_elem]],
  [U.BPF_MAP_TYPE_INSN_ARRAY, []],
]);

const REDIRECT_MAPS = [U.BPF_MAP_TYPE_DEVMAP, U.BPF_MAP_TYPE_DEVMAP_HASH, U.BPF_MAP_TYPE_CPUMAP, U.BPF_MAP_TYPE_XSKMAP];
const QUEUES = [U.BPF_MAP_TYPE_QUEUE, U.BPF_MAP_TYPE_STACK];
const PERCPU = [U.BPF_MAP_TYPE_PERCPU_ARRAY, U.BPF_MAP_TYPE_PERCPU_HASH, U.BPF_MAP_TYPE_LRU_PERCPU_HASH];

/** Helpers that take only some kinds of maps. */
const MAPS_OF_HELPER: ReadonlyMap<number, readonly number[]> = new Map<number, readonly number[]>([
  [U.BPF_FUNC_tail_call, [U.BPF_MAP_TYPE_PROG_ARRAY]],
  ...[U.BPF_FUNC_perf_event_read, U.BPF_FUNC_perf_event_output, U.BPF_FUNC_perf_event_read_value, U.BPF_FUNC_skb_output, U.BPF_FUNC_xdp_output]
    .map((id) => [id, [U.BPF_MAP_TYPE_PERF_EVENT_ARRAY]] as const),
  ...[
    U.BPF_FUNC_ringbuf_output, U.BPF_FUNC_ringbuf_reserve, U.BPF_FUNC_ringbuf_query, U.BPF_FUNC_ringbuf_reserve_dynptr,
    U.BPF_FUNC_ringbuf_submit_dynptr, U.BPF_FUNC_ringbuf_discard_dynptr,
  ].map((id) => [id, [U.BPF_MAP_TYPE_RINGBUF]] as const),
  [U.BPF_FUNC_user_ringbuf_drain, [U.BPF_MAP_TYPE_USER_RINGBUF]],
  [U.BPF_FUNC_get_stackid, [U.BPF_MAP_TYPE_STACK_TRACE]],
  [U.BPF_FUNC_current_task_under_cgroup, [U.BPF_MAP_TYPE_CGROUP_ARRAY]],
  [U.BPF_FUNC_skb_under_cgroup, [U.BPF_MAP_TYPE_CGROUP_ARRAY]],
  [U.BPF_FUNC_redirect_map, REDIRECT_MAPS],
  ...[U.BPF_FUNC_sk_redirect_map, U.BPF_FUNC_msg_redirect_map, U.BPF_FUNC_sock_map_update].map((id) => [id, [U.BPF_MAP_TYPE_SOCKMAP]] as const),
  ...[U.BPF_FUNC_sk_redirect_hash, U.BPF_FUNC_msg_redirect_hash, U.BPF_FUNC_sock_hash_update].map((id) => [id, [U.BPF_MAP_TYPE_SOCKHASH]] as const),
  [U.BPF_FUNC_get_local_storage, [U.BPF_MAP_TYPE_CGROUP_STORAGE, U.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE]],
  [U.BPF_FUNC_sk_select_reuseport, [U.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, U.BPF_MAP_TYPE_SOCKMAP, U.BPF_MAP_TYPE_SOCKHASH]],
  [U.BPF_FUNC_map_pop_elem, QUEUES],
  [U.BPF_FUNC_map_peek_elem, [...QUEUES, U.BPF_MAP_TYPE_BLOOM_FILTER]],
  [U.BPF_FUNC_map_push_elem, [...QUEUES, U.BPF_MAP_TYPE_BLOOM_FILTER]],
  [U.BPF_FUNC_map_lookup_percpu_elem, PERCPU],
  [U.BPF_FUNC_sk_storage_get, [U.BPF_MAP_TYPE_SK_STORAGE]],
  [U.BPF_FUNC_sk_storage_delete, [U.BPF_MAP_TYPE_SK_STORAGE]],
  [U.BPF_FUNC_inode_storage_get, [U.BPF_MAP_TYPE_INODE_STORAGE]],
  [U.BPF_FUNC_inode_storage_delete, [U.BPF_MAP_TYPE_INODE_STORAGE]],
  [U.BPF_FUNC_task_storage_get, [U.BPF_MAP_TYPE_TASK_STORAGE]],
  [U.BPF_FUNC_task_storage_delete, [U.BPF_MAP_TYPE_TASK_STORAGE]],
  [U.BPF_FUNC_cgrp_storage_get, [U.BPF_MAP_TYPE_CGRP_STORAGE]],
  [U.BPF_FUNC_cgrp_storage_delete, [U.BPF_MAP_TYPE_CGRP_STORAGE]],
]);

/** Programs that may change socket maps; says so where not. */
function mayUpdateSockmap(env: VerifierEnv, id: number): boolean {
  if (id !== U.BPF_FUNC_map_update_elem && id !== U.BPF_FUNC_map_delete_elem) return false;
  switch (env.resolvedProgType) {
    case U.BPF_PROG_TYPE_TRACING:
      if (env.expectedAttachType === U.BPF_TRACE_ITER) return true;
      break;
    case U.BPF_PROG_TYPE_SOCK_OPS:
      if (id === U.BPF_FUNC_map_delete_elem) return true;
      break;
    case U.BPF_PROG_TYPE_SOCKET_FILTER: case U.BPF_PROG_TYPE_SCHED_CLS: case U.BPF_PROG_TYPE_SCHED_ACT: case U.BPF_PROG_TYPE_XDP:
      break;
    case U.BPF_PROG_TYPE_SK_REUSEPORT: case U.BPF_PROG_TYPE_SK_LOOKUP:
      return true;
    default:
      break;
  }
  env.log.write('cannot update sockmap in this context\n');
  return false;
}

/** May helper `id` be called with this map? 0 or `-EINVAL`. */
export function checkMapCompatibility(env: VerifierEnv, map: MapDescriptor, id: number): number {
  const helpers = HELPERS_OF_MAP.get(map.type);
  const isSockets = map.type === U.BPF_MAP_TYPE_SOCKMAP || map.type === U.BPF_MAP_TYPE_SOCKHASH;
  const byMap = helpers === undefined || helpers.includes(id) || (isSockets && mayUpdateSockmap(env, id));
  const maps = MAPS_OF_HELPER.get(id);
  if (byMap && (maps === undefined || maps.includes(map.type))) return 0;
  env.log.write(`cannot pass map_type ${map.type} into func ${funcName(id)}#${id}\n`);
  return -EINVAL;
}
