/**
 * @module isa/attr
 * Layout of `union bpf_attr` and of `struct bpf_common_attr`, command by command: field, offset, size, kind; which field of a
 * command is its last (`CHECK_ATTR` in `kernel/bpf/syscall.c`), and readers and writers for them. Owns layouts, not the
 * commands' field rules (those are the kernel room's). The `struct bpf_*_info` are in `info.ts`.
 * Source: `include/uapi/linux/bpf.h` and `kernel/bpf/syscall.c` of Linux 7.3.
 */
import * as U from './uapi.ts';

/**
 * What a field holds. `fd` and `s32` are signed 32-bit, `u32` unsigned; `u64` a number and `ptr` a user address, both 64-bit;
 * `name` is a NUL-padded string of `BPF_OBJ_NAME_LEN`, `bytes` raw bytes.
 */
export type FieldKind = 'u32' | 's32' | 'fd' | 'u64' | 'ptr' | 'name' | 'bytes';

/** One field of a fixed layout: little-endian, `offset` and `size` in bytes. */
export interface Field<K extends FieldKind = FieldKind> {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly kind: K;
}

/** A named set of fields over the same bytes. */
export type Layout = Readonly<Record<string, Field>>;

/** `sizeof(union bpf_attr)` in Linux 7.3: what lies beyond must be zero or the call is `E2BIG`. */
export const ATTR_SIZE = 168;
/** `sizeof(struct bpf_common_attr)`, with its 4 bytes of padding. */
export const COMMON_ATTR_SIZE = 24;
/** End of the last field of `struct bpf_common_attr`: from here on a caller's bytes must be zero. */
export const COMMON_ATTR_END = 20;

/** `BPF_MAP_CREATE`. */
export const MAP_CREATE_ATTR = {
  map_type: { name: 'map_type', offset: 0, size: 4, kind: 'u32' },
  key_size: { name: 'key_size', offset: 4, size: 4, kind: 'u32' },
  value_size: { name: 'value_size', offset: 8, size: 4, kind: 'u32' },
  max_entries: { name: 'max_entries', offset: 12, size: 4, kind: 'u32' },
  map_flags: { name: 'map_flags', offset: 16, size: 4, kind: 'u32' },
  inner_map_fd: { name: 'inner_map_fd', offset: 20, size: 4, kind: 'fd' },
  numa_node: { name: 'numa_node', offset: 24, size: 4, kind: 'u32' },
  map_name: { name: 'map_name', offset: 28, size: 16, kind: 'name' },
  map_ifindex: { name: 'map_ifindex', offset: 44, size: 4, kind: 'u32' },
  btf_fd: { name: 'btf_fd', offset: 48, size: 4, kind: 'fd' },
  btf_key_type_id: { name: 'btf_key_type_id', offset: 52, size: 4, kind: 'u32' },
  btf_value_type_id: { name: 'btf_value_type_id', offset: 56, size: 4, kind: 'u32' },
  btf_vmlinux_value_type_id: { name: 'btf_vmlinux_value_type_id', offset: 60, size: 4, kind: 'u32' },
  map_extra: { name: 'map_extra', offset: 64, size: 8, kind: 'u64' },
  value_type_btf_obj_fd: { name: 'value_type_btf_obj_fd', offset: 72, size: 4, kind: 'fd' },
  map_token_fd: { name: 'map_token_fd', offset: 76, size: 4, kind: 'fd' },
  excl_prog_hash: { name: 'excl_prog_hash', offset: 80, size: 8, kind: 'ptr' },
  excl_prog_hash_size: { name: 'excl_prog_hash_size', offset: 88, size: 4, kind: 'u32' },
} as const;

/** `BPF_MAP_*_ELEM`, `BPF_MAP_GET_NEXT_KEY`, `BPF_MAP_FREEZE`. */
export const MAP_ELEM_ATTR = {
  map_fd: { name: 'map_fd', offset: 0, size: 4, kind: 'fd' },
  key: { name: 'key', offset: 8, size: 8, kind: 'ptr' },
  value: { name: 'value', offset: 16, size: 8, kind: 'ptr' },
  next_key: { name: 'next_key', offset: 16, size: 8, kind: 'ptr' },
  flags: { name: 'flags', offset: 24, size: 8, kind: 'u64' },
} as const;

/** `BPF_MAP_*_BATCH`; `count` is read and written. */
export const MAP_BATCH_ATTR = {
  in_batch: { name: 'in_batch', offset: 0, size: 8, kind: 'ptr' },
  out_batch: { name: 'out_batch', offset: 8, size: 8, kind: 'ptr' },
  keys: { name: 'keys', offset: 16, size: 8, kind: 'ptr' },
  values: { name: 'values', offset: 24, size: 8, kind: 'ptr' },
  count: { name: 'count', offset: 32, size: 4, kind: 'u32' },
  map_fd: { name: 'map_fd', offset: 36, size: 4, kind: 'fd' },
  elem_flags: { name: 'elem_flags', offset: 40, size: 8, kind: 'u64' },
  flags: { name: 'flags', offset: 48, size: 8, kind: 'u64' },
} as const;

/** `BPF_PROG_LOAD`; `log_true_size` is written. `attach_prog_fd` and `attach_btf_obj_fd` share their bytes. */
export const PROG_LOAD_ATTR = {
  prog_type: { name: 'prog_type', offset: 0, size: 4, kind: 'u32' },
  insn_cnt: { name: 'insn_cnt', offset: 4, size: 4, kind: 'u32' },
  insns: { name: 'insns', offset: 8, size: 8, kind: 'ptr' },
  license: { name: 'license', offset: 16, size: 8, kind: 'ptr' },
  log_level: { name: 'log_level', offset: 24, size: 4, kind: 'u32' },
  log_size: { name: 'log_size', offset: 28, size: 4, kind: 'u32' },
  log_buf: { name: 'log_buf', offset: 32, size: 8, kind: 'ptr' },
  kern_version: { name: 'kern_version', offset: 40, size: 4, kind: 'u32' },
  prog_flags: { name: 'prog_flags', offset: 44, size: 4, kind: 'u32' },
  prog_name: { name: 'prog_name', offset: 48, size: 16, kind: 'name' },
  prog_ifindex: { name: 'prog_ifindex', offset: 64, size: 4, kind: 'u32' },
  expected_attach_type: { name: 'expected_attach_type', offset: 68, size: 4, kind: 'u32' },
  prog_btf_fd: { name: 'prog_btf_fd', offset: 72, size: 4, kind: 'fd' },
  func_info_rec_size: { name: 'func_info_rec_size', offset: 76, size: 4, kind: 'u32' },
  func_info: { name: 'func_info', offset: 80, size: 8, kind: 'ptr' },
  func_info_cnt: { name: 'func_info_cnt', offset: 88, size: 4, kind: 'u32' },
  line_info_rec_size: { name: 'line_info_rec_size', offset: 92, size: 4, kind: 'u32' },
  line_info: { name: 'line_info', offset: 96, size: 8, kind: 'ptr' },
  line_info_cnt: { name: 'line_info_cnt', offset: 104, size: 4, kind: 'u32' },
  attach_btf_id: { name: 'attach_btf_id', offset: 108, size: 4, kind: 'u32' },
  attach_prog_fd: { name: 'attach_prog_fd', offset: 112, size: 4, kind: 'fd' },
  attach_btf_obj_fd: { name: 'attach_btf_obj_fd', offset: 112, size: 4, kind: 'fd' },
  core_relo_cnt: { name: 'core_relo_cnt', offset: 116, size: 4, kind: 'u32' },
  fd_array: { name: 'fd_array', offset: 120, size: 8, kind: 'ptr' },
  core_relos: { name: 'core_relos', offset: 128, size: 8, kind: 'ptr' },
  core_relo_rec_size: { name: 'core_relo_rec_size', offset: 136, size: 4, kind: 'u32' },
  log_true_size: { name: 'log_true_size', offset: 140, size: 4, kind: 'u32' },
  prog_token_fd: { name: 'prog_token_fd', offset: 144, size: 4, kind: 'fd' },
  fd_array_cnt: { name: 'fd_array_cnt', offset: 148, size: 4, kind: 'u32' },
  signature: { name: 'signature', offset: 152, size: 8, kind: 'ptr' },
  signature_size: { name: 'signature_size', offset: 160, size: 4, kind: 'u32' },
  keyring_id: { name: 'keyring_id', offset: 164, size: 4, kind: 's32' },
} as const;

/** `BPF_OBJ_PIN`, `BPF_OBJ_GET`. */
export const OBJ_ATTR = {
  pathname: { name: 'pathname', offset: 0, size: 8, kind: 'ptr' },
  bpf_fd: { name: 'bpf_fd', offset: 8, size: 4, kind: 'fd' },
  file_flags: { name: 'file_flags', offset: 12, size: 4, kind: 'u32' },
  path_fd: { name: 'path_fd', offset: 16, size: 4, kind: 'fd' },
} as const;

/** `BPF_PROG_ATTACH`, `BPF_PROG_DETACH`. */
export const PROG_ATTACH_ATTR = {
  target_fd: { name: 'target_fd', offset: 0, size: 4, kind: 'fd' },
  target_ifindex: { name: 'target_ifindex', offset: 0, size: 4, kind: 'u32' },
  attach_bpf_fd: { name: 'attach_bpf_fd', offset: 4, size: 4, kind: 'fd' },
  attach_type: { name: 'attach_type', offset: 8, size: 4, kind: 'u32' },
  attach_flags: { name: 'attach_flags', offset: 12, size: 4, kind: 'u32' },
  replace_bpf_fd: { name: 'replace_bpf_fd', offset: 16, size: 4, kind: 'fd' },
  relative_fd: { name: 'relative_fd', offset: 20, size: 4, kind: 'fd' },
  relative_id: { name: 'relative_id', offset: 20, size: 4, kind: 'u32' },
  expected_revision: { name: 'expected_revision', offset: 24, size: 8, kind: 'u64' },
} as const;

/** `BPF_PROG_TEST_RUN`; `retval`, `duration`, `data_size_out` and `ctx_size_out` are written. */
export const TEST_RUN_ATTR = {
  prog_fd: { name: 'prog_fd', offset: 0, size: 4, kind: 'fd' },
  retval: { name: 'retval', offset: 4, size: 4, kind: 'u32' },
  data_size_in: { name: 'data_size_in', offset: 8, size: 4, kind: 'u32' },
  data_size_out: { name: 'data_size_out', offset: 12, size: 4, kind: 'u32' },
  data_in: { name: 'data_in', offset: 16, size: 8, kind: 'ptr' },
  data_out: { name: 'data_out', offset: 24, size: 8, kind: 'ptr' },
  repeat: { name: 'repeat', offset: 32, size: 4, kind: 'u32' },
  duration: { name: 'duration', offset: 36, size: 4, kind: 'u32' },
  ctx_size_in: { name: 'ctx_size_in', offset: 40, size: 4, kind: 'u32' },
  ctx_size_out: { name: 'ctx_size_out', offset: 44, size: 4, kind: 'u32' },
  ctx_in: { name: 'ctx_in', offset: 48, size: 8, kind: 'ptr' },
  ctx_out: { name: 'ctx_out', offset: 56, size: 8, kind: 'ptr' },
  flags: { name: 'flags', offset: 64, size: 4, kind: 'u32' },
  cpu: { name: 'cpu', offset: 68, size: 4, kind: 'u32' },
  batch_size: { name: 'batch_size', offset: 72, size: 4, kind: 'u32' },
} as const;

/** `BPF_*_GET_NEXT_ID` (`next_id` is written) and `BPF_*_GET_FD_BY_ID`; the five ids share their bytes. */
export const GET_ID_ATTR = {
  start_id: { name: 'start_id', offset: 0, size: 4, kind: 'u32' },
  prog_id: { name: 'prog_id', offset: 0, size: 4, kind: 'u32' },
  map_id: { name: 'map_id', offset: 0, size: 4, kind: 'u32' },
  btf_id: { name: 'btf_id', offset: 0, size: 4, kind: 'u32' },
  link_id: { name: 'link_id', offset: 0, size: 4, kind: 'u32' },
  next_id: { name: 'next_id', offset: 4, size: 4, kind: 'u32' },
  open_flags: { name: 'open_flags', offset: 8, size: 4, kind: 'u32' },
  fd_by_id_token_fd: { name: 'fd_by_id_token_fd', offset: 12, size: 4, kind: 'fd' },
} as const;

/** `BPF_OBJ_GET_INFO_BY_FD`; `info_len` is written. */
export const OBJ_INFO_ATTR = {
  bpf_fd: { name: 'bpf_fd', offset: 0, size: 4, kind: 'fd' },
  info_len: { name: 'info_len', offset: 4, size: 4, kind: 'u32' },
  info: { name: 'info', offset: 8, size: 8, kind: 'ptr' },
} as const;

/** `BPF_PROG_QUERY`. */
export const PROG_QUERY_ATTR = {
  target_fd: { name: 'target_fd', offset: 0, size: 4, kind: 'fd' },
  target_ifindex: { name: 'target_ifindex', offset: 0, size: 4, kind: 'u32' },
  attach_type: { name: 'attach_type', offset: 4, size: 4, kind: 'u32' },
  query_flags: { name: 'query_flags', offset: 8, size: 4, kind: 'u32' },
  attach_flags: { name: 'attach_flags', offset: 12, size: 4, kind: 'u32' },
  prog_ids: { name: 'prog_ids', offset: 16, size: 8, kind: 'ptr' },
  prog_cnt: { name: 'prog_cnt', offset: 24, size: 4, kind: 'u32' },
  count: { name: 'count', offset: 24, size: 4, kind: 'u32' },
  prog_attach_flags: { name: 'prog_attach_flags', offset: 32, size: 8, kind: 'ptr' },
  link_ids: { name: 'link_ids', offset: 40, size: 8, kind: 'ptr' },
  link_attach_flags: { name: 'link_attach_flags', offset: 48, size: 8, kind: 'ptr' },
  revision: { name: 'revision', offset: 56, size: 8, kind: 'u64' },
} as const;

/** `BPF_RAW_TRACEPOINT_OPEN`. */
export const RAW_TRACEPOINT_ATTR = {
  name: { name: 'name', offset: 0, size: 8, kind: 'ptr' },
  prog_fd: { name: 'prog_fd', offset: 8, size: 4, kind: 'fd' },
  cookie: { name: 'cookie', offset: 16, size: 8, kind: 'u64' },
} as const;

/** `BPF_BTF_LOAD`; `btf_log_true_size` is written. */
export const BTF_LOAD_ATTR = {
  btf: { name: 'btf', offset: 0, size: 8, kind: 'ptr' },
  btf_log_buf: { name: 'btf_log_buf', offset: 8, size: 8, kind: 'ptr' },
  btf_size: { name: 'btf_size', offset: 16, size: 4, kind: 'u32' },
  btf_log_size: { name: 'btf_log_size', offset: 20, size: 4, kind: 'u32' },
  btf_log_level: { name: 'btf_log_level', offset: 24, size: 4, kind: 'u32' },
  btf_log_true_size: { name: 'btf_log_true_size', offset: 28, size: 4, kind: 'u32' },
  btf_flags: { name: 'btf_flags', offset: 32, size: 4, kind: 'u32' },
  btf_token_fd: { name: 'btf_token_fd', offset: 36, size: 4, kind: 'fd' },
} as const;

/** `BPF_TASK_FD_QUERY`. */
export const TASK_FD_QUERY_ATTR = {
  pid: { name: 'pid', offset: 0, size: 4, kind: 'u32' },
  fd: { name: 'fd', offset: 4, size: 4, kind: 'fd' },
  flags: { name: 'flags', offset: 8, size: 4, kind: 'u32' },
  buf_len: { name: 'buf_len', offset: 12, size: 4, kind: 'u32' },
  buf: { name: 'buf', offset: 16, size: 8, kind: 'ptr' },
  prog_id: { name: 'prog_id', offset: 24, size: 4, kind: 'u32' },
  fd_type: { name: 'fd_type', offset: 28, size: 4, kind: 'u32' },
  probe_offset: { name: 'probe_offset', offset: 32, size: 8, kind: 'u64' },
  probe_addr: { name: 'probe_addr', offset: 40, size: 8, kind: 'u64' },
} as const;

/** `BPF_LINK_CREATE`; what follows `flags` depends on the attach type. */
export const LINK_CREATE_ATTR = {
  prog_fd: { name: 'prog_fd', offset: 0, size: 4, kind: 'fd' },
  map_fd: { name: 'map_fd', offset: 0, size: 4, kind: 'fd' },
  target_fd: { name: 'target_fd', offset: 4, size: 4, kind: 'fd' },
  target_ifindex: { name: 'target_ifindex', offset: 4, size: 4, kind: 'u32' },
  attach_type: { name: 'attach_type', offset: 8, size: 4, kind: 'u32' },
  flags: { name: 'flags', offset: 12, size: 4, kind: 'u32' },
  target_btf_id: { name: 'target_btf_id', offset: 16, size: 4, kind: 'u32' },
  iter_info: { name: 'iter_info', offset: 16, size: 8, kind: 'ptr' },
  iter_info_len: { name: 'iter_info_len', offset: 24, size: 4, kind: 'u32' },
  'perf_event.bpf_cookie': { name: 'perf_event.bpf_cookie', offset: 16, size: 8, kind: 'u64' },
  'kprobe_multi.flags': { name: 'kprobe_multi.flags', offset: 16, size: 4, kind: 'u32' },
  'kprobe_multi.cnt': { name: 'kprobe_multi.cnt', offset: 20, size: 4, kind: 'u32' },
  'kprobe_multi.syms': { name: 'kprobe_multi.syms', offset: 24, size: 8, kind: 'ptr' },
  'kprobe_multi.addrs': { name: 'kprobe_multi.addrs', offset: 32, size: 8, kind: 'ptr' },
  'kprobe_multi.cookies': { name: 'kprobe_multi.cookies', offset: 40, size: 8, kind: 'ptr' },
  'tracing.target_btf_id': { name: 'tracing.target_btf_id', offset: 16, size: 4, kind: 'u32' },
  'tracing.cookie': { name: 'tracing.cookie', offset: 24, size: 8, kind: 'u64' },
  'netfilter.pf': { name: 'netfilter.pf', offset: 16, size: 4, kind: 'u32' },
  'netfilter.hooknum': { name: 'netfilter.hooknum', offset: 20, size: 4, kind: 'u32' },
  'netfilter.priority': { name: 'netfilter.priority', offset: 24, size: 4, kind: 's32' },
  'netfilter.flags': { name: 'netfilter.flags', offset: 28, size: 4, kind: 'u32' },
  'tcx.relative_fd': { name: 'tcx.relative_fd', offset: 16, size: 4, kind: 'fd' },
  'tcx.relative_id': { name: 'tcx.relative_id', offset: 16, size: 4, kind: 'u32' },
  'tcx.expected_revision': { name: 'tcx.expected_revision', offset: 24, size: 8, kind: 'u64' },
  'uprobe_multi.path': { name: 'uprobe_multi.path', offset: 16, size: 8, kind: 'ptr' },
  'uprobe_multi.offsets': { name: 'uprobe_multi.offsets', offset: 24, size: 8, kind: 'ptr' },
  'uprobe_multi.ref_ctr_offsets': { name: 'uprobe_multi.ref_ctr_offsets', offset: 32, size: 8, kind: 'ptr' },
  'uprobe_multi.cookies': { name: 'uprobe_multi.cookies', offset: 40, size: 8, kind: 'ptr' },
  'uprobe_multi.cnt': { name: 'uprobe_multi.cnt', offset: 48, size: 4, kind: 'u32' },
  'uprobe_multi.flags': { name: 'uprobe_multi.flags', offset: 52, size: 4, kind: 'u32' },
  'uprobe_multi.pid': { name: 'uprobe_multi.pid', offset: 56, size: 4, kind: 'u32' },
  'uprobe_multi.path_fd': { name: 'uprobe_multi.path_fd', offset: 60, size: 4, kind: 'fd' },
  'netkit.relative_fd': { name: 'netkit.relative_fd', offset: 16, size: 4, kind: 'fd' },
  'netkit.relative_id': { name: 'netkit.relative_id', offset: 16, size: 4, kind: 'u32' },
  'netkit.expected_revision': { name: 'netkit.expected_revision', offset: 24, size: 8, kind: 'u64' },
  'cgroup.relative_fd': { name: 'cgroup.relative_fd', offset: 16, size: 4, kind: 'fd' },
  'cgroup.relative_id': { name: 'cgroup.relative_id', offset: 16, size: 4, kind: 'u32' },
  'cgroup.expected_revision': { name: 'cgroup.expected_revision', offset: 24, size: 8, kind: 'u64' },
  'tracing_multi.ids': { name: 'tracing_multi.ids', offset: 16, size: 8, kind: 'ptr' },
  'tracing_multi.cookies': { name: 'tracing_multi.cookies', offset: 24, size: 8, kind: 'ptr' },
  'tracing_multi.cnt': { name: 'tracing_multi.cnt', offset: 32, size: 4, kind: 'u32' },
} as const;

/** `BPF_LINK_UPDATE`. */
export const LINK_UPDATE_ATTR = {
  link_fd: { name: 'link_fd', offset: 0, size: 4, kind: 'fd' },
  new_prog_fd: { name: 'new_prog_fd', offset: 4, size: 4, kind: 'fd' },
  new_map_fd: { name: 'new_map_fd', offset: 4, size: 4, kind: 'fd' },
  flags: { name: 'flags', offset: 8, size: 4, kind: 'u32' },
  old_prog_fd: { name: 'old_prog_fd', offset: 12, size: 4, kind: 'fd' },
  old_map_fd: { name: 'old_map_fd', offset: 12, size: 4, kind: 'fd' },
} as const;

/** `BPF_LINK_DETACH`. */
export const LINK_DETACH_ATTR = {
  link_fd: { name: 'link_fd', offset: 0, size: 4, kind: 'fd' },
} as const;

/** `BPF_ENABLE_STATS`. */
export const ENABLE_STATS_ATTR = {
  type: { name: 'type', offset: 0, size: 4, kind: 'u32' },
} as const;

/** `BPF_ITER_CREATE`. */
export const ITER_CREATE_ATTR = {
  link_fd: { name: 'link_fd', offset: 0, size: 4, kind: 'fd' },
  flags: { name: 'flags', offset: 4, size: 4, kind: 'u32' },
} as const;

/** `BPF_PROG_BIND_MAP`. */
export const PROG_BIND_MAP_ATTR = {
  prog_fd: { name: 'prog_fd', offset: 0, size: 4, kind: 'fd' },
  map_fd: { name: 'map_fd', offset: 4, size: 4, kind: 'fd' },
  flags: { name: 'flags', offset: 8, size: 4, kind: 'u32' },
} as const;

/** `BPF_TOKEN_CREATE`. */
export const TOKEN_CREATE_ATTR = {
  flags: { name: 'flags', offset: 0, size: 4, kind: 'u32' },
  bpffs_fd: { name: 'bpffs_fd', offset: 4, size: 4, kind: 'fd' },
} as const;

/** `BPF_PROG_STREAM_READ_BY_FD`. */
export const PROG_STREAM_READ_ATTR = {
  stream_buf: { name: 'stream_buf', offset: 0, size: 8, kind: 'ptr' },
  stream_buf_len: { name: 'stream_buf_len', offset: 8, size: 4, kind: 'u32' },
  stream_id: { name: 'stream_id', offset: 12, size: 4, kind: 'u32' },
  prog_fd: { name: 'prog_fd', offset: 16, size: 4, kind: 'fd' },
} as const;

/** `BPF_PROG_ASSOC_STRUCT_OPS`. */
export const PROG_ASSOC_STRUCT_OPS_ATTR = {
  map_fd: { name: 'map_fd', offset: 0, size: 4, kind: 'fd' },
  prog_fd: { name: 'prog_fd', offset: 4, size: 4, kind: 'fd' },
  flags: { name: 'flags', offset: 8, size: 4, kind: 'u32' },
} as const;

/** `struct bpf_common_attr`, the fourth argument of a command with `BPF_COMMON_ATTRS`; `log_true_size` is written. 24 bytes. */
export const COMMON_ATTR = {
  log_buf: { name: 'log_buf', offset: 0, size: 8, kind: 'ptr' },
  log_size: { name: 'log_size', offset: 8, size: 4, kind: 'u32' },
  log_level: { name: 'log_level', offset: 12, size: 4, kind: 'u32' },
  log_true_size: { name: 'log_true_size', offset: 16, size: 4, kind: 'u32' },
} as const;

/** A command of `bpf(2)`. */
export interface CommandSpec {
  /** `BPF_*` number. */
  readonly cmd: number;
  /** The command's name without `BPF_`, as in transcripts: `"PROG_LOAD"`. */
  readonly name: string;
  /** The fields that this command reads or writes, in the order of the union. */
  readonly fields: readonly Field[];
  /** End of the last field (`CHECK_ATTR`), in bytes: every byte of the union from here on must be zero, or the call is `EINVAL`. */
  readonly end: number;
}

function command(cmd: number, name: string, fields: readonly Field[], last: Field): CommandSpec {
  return { cmd, name, fields, end: last.offset + last.size };
}

const elem = MAP_ELEM_ATTR;
const id = GET_ID_ATTR;
const attach = PROG_ATTACH_ATTR;
const batchFields: readonly Field[] = Object.values(MAP_BATCH_ATTR);
const attachFields = [attach.target_fd, attach.attach_bpf_fd, attach.attach_type, attach.attach_flags, attach.replace_bpf_fd,
  attach.relative_fd, attach.expected_revision];
const nextIDFields = [id.start_id, id.next_id];

function all(cmd: number, name: string, layout: Layout, last: Field): CommandSpec {
  return command(cmd, name, Object.values(layout), last);
}

/**
 * Every command, indexed by its number.
 * @example COMMANDS[BPF_MAP_FREEZE]?.end === 4
 */
export const COMMANDS: readonly CommandSpec[] = [
  all(U.BPF_MAP_CREATE, 'MAP_CREATE', MAP_CREATE_ATTR, MAP_CREATE_ATTR.excl_prog_hash_size),
  command(U.BPF_MAP_LOOKUP_ELEM, 'MAP_LOOKUP_ELEM', [elem.map_fd, elem.key, elem.value, elem.flags], elem.flags),
  command(U.BPF_MAP_UPDATE_ELEM, 'MAP_UPDATE_ELEM', [elem.map_fd, elem.key, elem.value, elem.flags], elem.flags),
  command(U.BPF_MAP_DELETE_ELEM, 'MAP_DELETE_ELEM', [elem.map_fd, elem.key], elem.key),
  command(U.BPF_MAP_GET_NEXT_KEY, 'MAP_GET_NEXT_KEY', [elem.map_fd, elem.key, elem.next_key], elem.next_key),
  all(U.BPF_PROG_LOAD, 'PROG_LOAD', PROG_LOAD_ATTR, PROG_LOAD_ATTR.keyring_id),
  all(U.BPF_OBJ_PIN, 'OBJ_PIN', OBJ_ATTR, OBJ_ATTR.path_fd),
  all(U.BPF_OBJ_GET, 'OBJ_GET', OBJ_ATTR, OBJ_ATTR.path_fd),
  command(U.BPF_PROG_ATTACH, 'PROG_ATTACH', attachFields, attach.expected_revision),
  command(U.BPF_PROG_DETACH, 'PROG_DETACH', attachFields, attach.expected_revision),
  all(U.BPF_PROG_TEST_RUN, 'PROG_TEST_RUN', TEST_RUN_ATTR, TEST_RUN_ATTR.batch_size),
  command(U.BPF_PROG_GET_NEXT_ID, 'PROG_GET_NEXT_ID', nextIDFields, id.next_id),
  command(U.BPF_MAP_GET_NEXT_ID, 'MAP_GET_NEXT_ID', nextIDFields, id.next_id),
  command(U.BPF_PROG_GET_FD_BY_ID, 'PROG_GET_FD_BY_ID', [id.prog_id], id.prog_id),
  command(U.BPF_MAP_GET_FD_BY_ID, 'MAP_GET_FD_BY_ID', [id.map_id, id.open_flags], id.open_flags),
  all(U.BPF_OBJ_GET_INFO_BY_FD, 'OBJ_GET_INFO_BY_FD', OBJ_INFO_ATTR, OBJ_INFO_ATTR.info),
  all(U.BPF_PROG_QUERY, 'PROG_QUERY', PROG_QUERY_ATTR, PROG_QUERY_ATTR.revision),
  all(U.BPF_RAW_TRACEPOINT_OPEN, 'RAW_TRACEPOINT_OPEN', RAW_TRACEPOINT_ATTR, RAW_TRACEPOINT_ATTR.cookie),
  all(U.BPF_BTF_LOAD, 'BTF_LOAD', BTF_LOAD_ATTR, BTF_LOAD_ATTR.btf_token_fd),
  command(U.BPF_BTF_GET_FD_BY_ID, 'BTF_GET_FD_BY_ID', [id.btf_id, id.open_flags, id.fd_by_id_token_fd], id.fd_by_id_token_fd),
  all(U.BPF_TASK_FD_QUERY, 'TASK_FD_QUERY', TASK_FD_QUERY_ATTR, TASK_FD_QUERY_ATTR.probe_addr),
  command(U.BPF_MAP_LOOKUP_AND_DELETE_ELEM, 'MAP_LOOKUP_AND_DELETE_ELEM', [elem.map_fd, elem.key, elem.value, elem.flags], elem.flags),
  command(U.BPF_MAP_FREEZE, 'MAP_FREEZE', [elem.map_fd], elem.map_fd),
  command(U.BPF_BTF_GET_NEXT_ID, 'BTF_GET_NEXT_ID', nextIDFields, id.next_id),
  command(U.BPF_MAP_LOOKUP_BATCH, 'MAP_LOOKUP_BATCH', batchFields, MAP_BATCH_ATTR.flags),
  command(U.BPF_MAP_LOOKUP_AND_DELETE_BATCH, 'MAP_LOOKUP_AND_DELETE_BATCH', batchFields, MAP_BATCH_ATTR.flags),
  command(U.BPF_MAP_UPDATE_BATCH, 'MAP_UPDATE_BATCH', batchFields, MAP_BATCH_ATTR.flags),
  command(U.BPF_MAP_DELETE_BATCH, 'MAP_DELETE_BATCH', batchFields, MAP_BATCH_ATTR.flags),
  all(U.BPF_LINK_CREATE, 'LINK_CREATE', LINK_CREATE_ATTR, LINK_CREATE_ATTR['uprobe_multi.path_fd']),
  all(U.BPF_LINK_UPDATE, 'LINK_UPDATE', LINK_UPDATE_ATTR, LINK_UPDATE_ATTR.old_prog_fd),
  command(U.BPF_LINK_GET_FD_BY_ID, 'LINK_GET_FD_BY_ID', [id.link_id], id.link_id),
  command(U.BPF_LINK_GET_NEXT_ID, 'LINK_GET_NEXT_ID', nextIDFields, id.next_id),
  all(U.BPF_ENABLE_STATS, 'ENABLE_STATS', ENABLE_STATS_ATTR, ENABLE_STATS_ATTR.type),
  all(U.BPF_ITER_CREATE, 'ITER_CREATE', ITER_CREATE_ATTR, ITER_CREATE_ATTR.flags),
  all(U.BPF_LINK_DETACH, 'LINK_DETACH', LINK_DETACH_ATTR, LINK_DETACH_ATTR.link_fd),
  all(U.BPF_PROG_BIND_MAP, 'PROG_BIND_MAP', PROG_BIND_MAP_ATTR, PROG_BIND_MAP_ATTR.flags),
  all(U.BPF_TOKEN_CREATE, 'TOKEN_CREATE', TOKEN_CREATE_ATTR, TOKEN_CREATE_ATTR.bpffs_fd),
  all(U.BPF_PROG_STREAM_READ_BY_FD, 'PROG_STREAM_READ_BY_FD', PROG_STREAM_READ_ATTR, PROG_STREAM_READ_ATTR.prog_fd),
  all(U.BPF_PROG_ASSOC_STRUCT_OPS, 'PROG_ASSOC_STRUCT_OPS', PROG_ASSOC_STRUCT_OPS_ATTR, PROG_ASSOC_STRUCT_OPS_ATTR.flags),
];

const BY_NAME: ReadonlyMap<string, CommandSpec> = new Map(COMMANDS.map((spec) => [spec.name, spec]));

/** The command of that name, with or without `BPF_`; `PROG_RUN` is `PROG_TEST_RUN`. */
export function commandByName(name: string): CommandSpec | undefined {
  const bare = name.startsWith('BPF_') ? name.slice(4) : name;
  return BY_NAME.get(bare === 'PROG_RUN' ? 'PROG_TEST_RUN' : bare);
}

/** The name of a command for messages: `"PROG_LOAD"`, or `"cmd 99"` for an unknown number. `BPF_COMMON_ATTRS` is ignored. */
export function commandName(cmd: number): string {
  const bare = cmd & ~U.BPF_COMMON_ATTRS;
  return COMMANDS[bare]?.name ?? `cmd ${bare}`;
}

/**
 * `CHECK_ATTR`: true if no byte of the union after the command's last field is set.
 * @param attr the union as the kernel copied it, `ATTR_SIZE` bytes from `base`, zero-filled
 */
export function attrTailIsZero(attr: DataView, base: number, spec: CommandSpec): boolean {
  for (let offset = spec.end; offset < ATTR_SIZE; offset++) {
    if (attr.getUint8(base + offset) !== 0) return false;
  }
  return true;
}

/** A 32-bit field: signed for `fd` and `s32`, unsigned for `u32`. */
export function readInt(view: DataView, base: number, field: Field<'u32' | 's32' | 'fd'>): number {
  return field.kind === 'u32' ? view.getUint32(base + field.offset, true) : view.getInt32(base + field.offset, true);
}

/** A 64-bit field, unsigned. */
export function readLong(view: DataView, base: number, field: Field<'u64' | 'ptr'>): bigint {
  return view.getBigUint64(base + field.offset, true);
}

/** Low word of a 64-bit field as int32. */
export function readLow(view: DataView, base: number, field: Field<'u64' | 'ptr'>): number {
  return view.getInt32(base + field.offset, true);
}

/** High word of a 64-bit field as int32. */
export function readHigh(view: DataView, base: number, field: Field<'u64' | 'ptr'>): number {
  return view.getInt32(base + field.offset + 4, true);
}

/** The bytes of a `name` or `bytes` field, a copy. */
export function readBytes(view: DataView, base: number, field: Field<'name' | 'bytes'>): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + base + field.offset, field.size).slice();
}

/** A `name` field up to its first NUL, one character a byte. */
export function readName(view: DataView, base: number, field: Field<'name'>): string {
  let text = '';
  for (let i = 0; i < field.size; i++) {
    const byte = view.getUint8(base + field.offset + i);
    if (byte === 0) break;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Writes a 32-bit field; the value is taken modulo 2^32. */
export function writeInt(view: DataView, base: number, field: Field<'u32' | 's32' | 'fd'>, value: number): void {
  view.setUint32(base + field.offset, value, true);
}

/** Writes a 64-bit field; the value is taken modulo 2^64. */
export function writeLong(view: DataView, base: number, field: Field<'u64' | 'ptr'>, value: bigint): void {
  view.setBigUint64(base + field.offset, BigInt.asUintN(64, value), true);
}

/** Writes a 64-bit field from two words. */
export function writeWords(view: DataView, base: number, field: Field<'u64' | 'ptr'>, lo: number, hi: number): void {
  view.setInt32(base + field.offset, lo, true);
  view.setInt32(base + field.offset + 4, hi, true);
}

/** Writes bytes into a `name` or `bytes` field, cut to its size and padded with zeros. */
export function writeBytes(view: DataView, base: number, field: Field<'name' | 'bytes'>, value: Uint8Array): void {
  for (let i = 0; i < field.size; i++) view.setUint8(base + field.offset + i, value[i] ?? 0);
}

/** Writes a `name` field, cut to its size minus one and padded with NUL; characters above 0xff keep their low byte. */
export function writeName(view: DataView, base: number, field: Field<'name'>, value: string): void {
  for (let i = 0; i < field.size; i++) {
    view.setUint8(base + field.offset + i, i < field.size - 1 && i < value.length ? value.charCodeAt(i) & 0xff : 0);
  }
}

/** A field's value: a number for 32-bit kinds, a bigint for 64-bit ones, a string for names, bytes for the rest. */
export type FieldValue = number | bigint | string | Uint8Array;

/** Reads any field. */
export function readField(view: DataView, base: number, field: Field): FieldValue {
  switch (field.kind) {
    case 'u32': return view.getUint32(base + field.offset, true);
    case 's32':
    case 'fd': return view.getInt32(base + field.offset, true);
    case 'u64':
    case 'ptr': return view.getBigUint64(base + field.offset, true);
    case 'name': return readName(view, base, field as Field<'name'>);
    case 'bytes': return readBytes(view, base, field as Field<'bytes'>);
  }
}

/** One decoded argument of a call. */
export interface Argument {
  readonly field: Field;
  readonly value: FieldValue;
}

/**
 * The arguments of a call, for traces: those fields of the command that lie within the `size` bytes the caller passed and that
 * are not zero; of fields that share their bytes only the first. Unknown commands give none.
 */
export function decodeArguments(cmd: number, view: DataView, base: number, size: number): readonly Argument[] {
  const spec = COMMANDS[cmd & ~U.BPF_COMMON_ATTRS];
  if (spec === undefined) return [];
  const seen = new Set<number>();
  const args: Argument[] = [];
  for (const field of spec.fields) {
    if (field.offset + field.size > size || seen.has(field.offset)) continue;
    seen.add(field.offset);
    const value = readField(view, base, field);
    if (value === 0 || value === 0n || value === '') continue;
    args.push({ field, value });
  }
  return args;
}

/** One argument as text: `name=value`, pointers in hexadecimal, names quoted. */
export function formatArgument({ field, value }: Argument): string {
  if (field.kind === 'ptr') return `${field.name}=0x${(value as bigint).toString(16)}`;
  if (typeof value === 'string') return `${field.name}=${JSON.stringify(value)}`;
  if (value instanceof Uint8Array) return `${field.name}=${Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  return `${field.name}=${value}`;
}
