/**
 * @module isa/info
 * Layouts of the structures that `BPF_OBJ_GET_INFO_BY_FD` fills in, and of the records of BTF.ext that `BPF_PROG_LOAD` takes.
 * Read and written with the functions of `attr.ts`. Source: `include/uapi/linux/bpf.h` of Linux 7.3.
 */

/** `sizeof(struct bpf_prog_info)` */
export const PROG_INFO_SIZE = 232;
/** Offset of the u32 in `struct bpf_prog_info` whose bit 0 is `gpl_compatible`. */
export const PROG_INFO_GPL_OFFSET = 84;
/** `sizeof(struct bpf_map_info)` */
export const MAP_INFO_SIZE = 104;
/** `sizeof(struct bpf_btf_info)` */
export const BTF_INFO_SIZE = 32;
/** `sizeof(struct bpf_link_info)` */
export const LINK_INFO_SIZE = 64;
/** `sizeof(struct bpf_token_info)` */
export const TOKEN_INFO_SIZE = 32;
/** `sizeof(struct bpf_func_info)` */
export const FUNC_INFO_SIZE = 8;
/** `sizeof(struct bpf_line_info)` */
export const LINE_INFO_SIZE = 16;
/** `sizeof(struct bpf_core_relo)` */
export const CORE_RELO_SIZE = 16;

/** `struct bpf_prog_info`. `gpl_compatible` is bit 0 of the u32 at offset 84. 232 bytes. */
export const PROG_INFO = {
  type: { name: 'type', offset: 0, size: 4, kind: 'u32' },
  id: { name: 'id', offset: 4, size: 4, kind: 'u32' },
  tag: { name: 'tag', offset: 8, size: 8, kind: 'bytes' },
  jited_prog_len: { name: 'jited_prog_len', offset: 16, size: 4, kind: 'u32' },
  xlated_prog_len: { name: 'xlated_prog_len', offset: 20, size: 4, kind: 'u32' },
  jited_prog_insns: { name: 'jited_prog_insns', offset: 24, size: 8, kind: 'ptr' },
  xlated_prog_insns: { name: 'xlated_prog_insns', offset: 32, size: 8, kind: 'ptr' },
  load_time: { name: 'load_time', offset: 40, size: 8, kind: 'u64' },
  created_by_uid: { name: 'created_by_uid', offset: 48, size: 4, kind: 'u32' },
  nr_map_ids: { name: 'nr_map_ids', offset: 52, size: 4, kind: 'u32' },
  map_ids: { name: 'map_ids', offset: 56, size: 8, kind: 'ptr' },
  name: { name: 'name', offset: 64, size: 16, kind: 'name' },
  ifindex: { name: 'ifindex', offset: 80, size: 4, kind: 'u32' },
  netns_dev: { name: 'netns_dev', offset: 88, size: 8, kind: 'u64' },
  netns_ino: { name: 'netns_ino', offset: 96, size: 8, kind: 'u64' },
  nr_jited_ksyms: { name: 'nr_jited_ksyms', offset: 104, size: 4, kind: 'u32' },
  nr_jited_func_lens: { name: 'nr_jited_func_lens', offset: 108, size: 4, kind: 'u32' },
  jited_ksyms: { name: 'jited_ksyms', offset: 112, size: 8, kind: 'ptr' },
  jited_func_lens: { name: 'jited_func_lens', offset: 120, size: 8, kind: 'ptr' },
  btf_id: { name: 'btf_id', offset: 128, size: 4, kind: 'u32' },
  func_info_rec_size: { name: 'func_info_rec_size', offset: 132, size: 4, kind: 'u32' },
  func_info: { name: 'func_info', offset: 136, size: 8, kind: 'ptr' },
  nr_func_info: { name: 'nr_func_info', offset: 144, size: 4, kind: 'u32' },
  nr_line_info: { name: 'nr_line_info', offset: 148, size: 4, kind: 'u32' },
  line_info: { name: 'line_info', offset: 152, size: 8, kind: 'ptr' },
  jited_line_info: { name: 'jited_line_info', offset: 160, size: 8, kind: 'ptr' },
  nr_jited_line_info: { name: 'nr_jited_line_info', offset: 168, size: 4, kind: 'u32' },
  line_info_rec_size: { name: 'line_info_rec_size', offset: 172, size: 4, kind: 'u32' },
  jited_line_info_rec_size: { name: 'jited_line_info_rec_size', offset: 176, size: 4, kind: 'u32' },
  nr_prog_tags: { name: 'nr_prog_tags', offset: 180, size: 4, kind: 'u32' },
  prog_tags: { name: 'prog_tags', offset: 184, size: 8, kind: 'ptr' },
  run_time_ns: { name: 'run_time_ns', offset: 192, size: 8, kind: 'u64' },
  run_cnt: { name: 'run_cnt', offset: 200, size: 8, kind: 'u64' },
  recursion_misses: { name: 'recursion_misses', offset: 208, size: 8, kind: 'u64' },
  verified_insns: { name: 'verified_insns', offset: 216, size: 4, kind: 'u32' },
  attach_btf_obj_id: { name: 'attach_btf_obj_id', offset: 220, size: 4, kind: 'u32' },
  attach_btf_id: { name: 'attach_btf_id', offset: 224, size: 4, kind: 'u32' },
} as const;

/** `struct bpf_map_info`. 104 bytes. */
export const MAP_INFO = {
  type: { name: 'type', offset: 0, size: 4, kind: 'u32' },
  id: { name: 'id', offset: 4, size: 4, kind: 'u32' },
  key_size: { name: 'key_size', offset: 8, size: 4, kind: 'u32' },
  value_size: { name: 'value_size', offset: 12, size: 4, kind: 'u32' },
  max_entries: { name: 'max_entries', offset: 16, size: 4, kind: 'u32' },
  map_flags: { name: 'map_flags', offset: 20, size: 4, kind: 'u32' },
  name: { name: 'name', offset: 24, size: 16, kind: 'name' },
  ifindex: { name: 'ifindex', offset: 40, size: 4, kind: 'u32' },
  btf_vmlinux_value_type_id: { name: 'btf_vmlinux_value_type_id', offset: 44, size: 4, kind: 'u32' },
  netns_dev: { name: 'netns_dev', offset: 48, size: 8, kind: 'u64' },
  netns_ino: { name: 'netns_ino', offset: 56, size: 8, kind: 'u64' },
  btf_id: { name: 'btf_id', offset: 64, size: 4, kind: 'u32' },
  btf_key_type_id: { name: 'btf_key_type_id', offset: 68, size: 4, kind: 'u32' },
  btf_value_type_id: { name: 'btf_value_type_id', offset: 72, size: 4, kind: 'u32' },
  btf_vmlinux_id: { name: 'btf_vmlinux_id', offset: 76, size: 4, kind: 'u32' },
  map_extra: { name: 'map_extra', offset: 80, size: 8, kind: 'u64' },
  hash: { name: 'hash', offset: 88, size: 8, kind: 'ptr' },
  hash_size: { name: 'hash_size', offset: 96, size: 4, kind: 'u32' },
} as const;

/** `struct bpf_btf_info`. 32 bytes. */
export const BTF_INFO = {
  btf: { name: 'btf', offset: 0, size: 8, kind: 'ptr' },
  btf_size: { name: 'btf_size', offset: 8, size: 4, kind: 'u32' },
  id: { name: 'id', offset: 12, size: 4, kind: 'u32' },
  name: { name: 'name', offset: 16, size: 8, kind: 'ptr' },
  name_len: { name: 'name_len', offset: 24, size: 4, kind: 'u32' },
  kernel_btf: { name: 'kernel_btf', offset: 28, size: 4, kind: 'u32' },
} as const;

/** `struct bpf_link_info`; what follows `prog_id` depends on the link type. 64 bytes. */
export const LINK_INFO = {
  type: { name: 'type', offset: 0, size: 4, kind: 'u32' },
  id: { name: 'id', offset: 4, size: 4, kind: 'u32' },
  prog_id: { name: 'prog_id', offset: 8, size: 4, kind: 'u32' },
  'raw_tracepoint.tp_name': { name: 'raw_tracepoint.tp_name', offset: 16, size: 8, kind: 'ptr' },
  'raw_tracepoint.tp_name_len': { name: 'raw_tracepoint.tp_name_len', offset: 24, size: 4, kind: 'u32' },
  'raw_tracepoint.cookie': { name: 'raw_tracepoint.cookie', offset: 32, size: 8, kind: 'u64' },
  'tracing.attach_type': { name: 'tracing.attach_type', offset: 16, size: 4, kind: 'u32' },
  'tracing.target_obj_id': { name: 'tracing.target_obj_id', offset: 20, size: 4, kind: 'u32' },
  'tracing.target_btf_id': { name: 'tracing.target_btf_id', offset: 24, size: 4, kind: 'u32' },
  'tracing.cookie': { name: 'tracing.cookie', offset: 32, size: 8, kind: 'u64' },
  'cgroup.cgroup_id': { name: 'cgroup.cgroup_id', offset: 16, size: 8, kind: 'u64' },
  'cgroup.attach_type': { name: 'cgroup.attach_type', offset: 24, size: 4, kind: 'u32' },
  'iter.target_name': { name: 'iter.target_name', offset: 16, size: 8, kind: 'ptr' },
  'iter.target_name_len': { name: 'iter.target_name_len', offset: 24, size: 4, kind: 'u32' },
  'iter.map.map_id': { name: 'iter.map.map_id', offset: 28, size: 4, kind: 'u32' },
  'iter.cgroup.cgroup_id': { name: 'iter.cgroup.cgroup_id', offset: 32, size: 8, kind: 'u64' },
  'iter.cgroup.order': { name: 'iter.cgroup.order', offset: 40, size: 4, kind: 'u32' },
  'iter.task.tid': { name: 'iter.task.tid', offset: 32, size: 4, kind: 'u32' },
  'iter.task.pid': { name: 'iter.task.pid', offset: 36, size: 4, kind: 'u32' },
  'netns.netns_ino': { name: 'netns.netns_ino', offset: 16, size: 4, kind: 'u32' },
  'netns.attach_type': { name: 'netns.attach_type', offset: 20, size: 4, kind: 'u32' },
  'xdp.ifindex': { name: 'xdp.ifindex', offset: 16, size: 4, kind: 'u32' },
  'struct_ops.map_id': { name: 'struct_ops.map_id', offset: 16, size: 4, kind: 'u32' },
  'netfilter.pf': { name: 'netfilter.pf', offset: 16, size: 4, kind: 'u32' },
  'netfilter.hooknum': { name: 'netfilter.hooknum', offset: 20, size: 4, kind: 'u32' },
  'netfilter.priority': { name: 'netfilter.priority', offset: 24, size: 4, kind: 's32' },
  'netfilter.flags': { name: 'netfilter.flags', offset: 28, size: 4, kind: 'u32' },
  'kprobe_multi.addrs': { name: 'kprobe_multi.addrs', offset: 16, size: 8, kind: 'ptr' },
  'kprobe_multi.count': { name: 'kprobe_multi.count', offset: 24, size: 4, kind: 'u32' },
  'kprobe_multi.flags': { name: 'kprobe_multi.flags', offset: 28, size: 4, kind: 'u32' },
  'kprobe_multi.missed': { name: 'kprobe_multi.missed', offset: 32, size: 8, kind: 'u64' },
  'kprobe_multi.cookies': { name: 'kprobe_multi.cookies', offset: 40, size: 8, kind: 'ptr' },
  'uprobe_multi.path': { name: 'uprobe_multi.path', offset: 16, size: 8, kind: 'ptr' },
  'uprobe_multi.offsets': { name: 'uprobe_multi.offsets', offset: 24, size: 8, kind: 'ptr' },
  'uprobe_multi.ref_ctr_offsets': { name: 'uprobe_multi.ref_ctr_offsets', offset: 32, size: 8, kind: 'ptr' },
  'uprobe_multi.cookies': { name: 'uprobe_multi.cookies', offset: 40, size: 8, kind: 'ptr' },
  'uprobe_multi.path_size': { name: 'uprobe_multi.path_size', offset: 48, size: 4, kind: 'u32' },
  'uprobe_multi.count': { name: 'uprobe_multi.count', offset: 52, size: 4, kind: 'u32' },
  'uprobe_multi.flags': { name: 'uprobe_multi.flags', offset: 56, size: 4, kind: 'u32' },
  'uprobe_multi.pid': { name: 'uprobe_multi.pid', offset: 60, size: 4, kind: 'u32' },
  'tracing_multi.attach_type': { name: 'tracing_multi.attach_type', offset: 16, size: 4, kind: 'u32' },
  'tracing_multi.count': { name: 'tracing_multi.count', offset: 20, size: 4, kind: 'u32' },
  'tracing_multi.btf_obj_id': { name: 'tracing_multi.btf_obj_id', offset: 24, size: 4, kind: 'u32' },
  'tracing_multi.ids': { name: 'tracing_multi.ids', offset: 32, size: 8, kind: 'ptr' },
  'tracing_multi.addrs': { name: 'tracing_multi.addrs', offset: 40, size: 8, kind: 'ptr' },
  'tracing_multi.cookies': { name: 'tracing_multi.cookies', offset: 48, size: 8, kind: 'ptr' },
  'perf_event.type': { name: 'perf_event.type', offset: 16, size: 4, kind: 'u32' },
  'perf_event.uprobe.file_name': { name: 'perf_event.uprobe.file_name', offset: 24, size: 8, kind: 'ptr' },
  'perf_event.uprobe.name_len': { name: 'perf_event.uprobe.name_len', offset: 32, size: 4, kind: 'u32' },
  'perf_event.uprobe.offset': { name: 'perf_event.uprobe.offset', offset: 36, size: 4, kind: 'u32' },
  'perf_event.uprobe.cookie': { name: 'perf_event.uprobe.cookie', offset: 40, size: 8, kind: 'u64' },
  'perf_event.uprobe.ref_ctr_offset': { name: 'perf_event.uprobe.ref_ctr_offset', offset: 48, size: 8, kind: 'u64' },
  'perf_event.kprobe.func_name': { name: 'perf_event.kprobe.func_name', offset: 24, size: 8, kind: 'ptr' },
  'perf_event.kprobe.name_len': { name: 'perf_event.kprobe.name_len', offset: 32, size: 4, kind: 'u32' },
  'perf_event.kprobe.offset': { name: 'perf_event.kprobe.offset', offset: 36, size: 4, kind: 'u32' },
  'perf_event.kprobe.addr': { name: 'perf_event.kprobe.addr', offset: 40, size: 8, kind: 'u64' },
  'perf_event.kprobe.missed': { name: 'perf_event.kprobe.missed', offset: 48, size: 8, kind: 'u64' },
  'perf_event.kprobe.cookie': { name: 'perf_event.kprobe.cookie', offset: 56, size: 8, kind: 'u64' },
  'perf_event.tracepoint.tp_name': { name: 'perf_event.tracepoint.tp_name', offset: 24, size: 8, kind: 'ptr' },
  'perf_event.tracepoint.name_len': { name: 'perf_event.tracepoint.name_len', offset: 32, size: 4, kind: 'u32' },
  'perf_event.tracepoint.cookie': { name: 'perf_event.tracepoint.cookie', offset: 40, size: 8, kind: 'u64' },
  'perf_event.event.config': { name: 'perf_event.event.config', offset: 24, size: 8, kind: 'u64' },
  'perf_event.event.type': { name: 'perf_event.event.type', offset: 32, size: 4, kind: 'u32' },
  'perf_event.event.cookie': { name: 'perf_event.event.cookie', offset: 40, size: 8, kind: 'u64' },
  'tcx.ifindex': { name: 'tcx.ifindex', offset: 16, size: 4, kind: 'u32' },
  'tcx.attach_type': { name: 'tcx.attach_type', offset: 20, size: 4, kind: 'u32' },
  'netkit.ifindex': { name: 'netkit.ifindex', offset: 16, size: 4, kind: 'u32' },
  'netkit.attach_type': { name: 'netkit.attach_type', offset: 20, size: 4, kind: 'u32' },
  'sockmap.map_id': { name: 'sockmap.map_id', offset: 16, size: 4, kind: 'u32' },
  'sockmap.attach_type': { name: 'sockmap.attach_type', offset: 20, size: 4, kind: 'u32' },
} as const;

/** `struct bpf_token_info`. 32 bytes. */
export const TOKEN_INFO = {
  allowed_cmds: { name: 'allowed_cmds', offset: 0, size: 8, kind: 'u64' },
  allowed_maps: { name: 'allowed_maps', offset: 8, size: 8, kind: 'u64' },
  allowed_progs: { name: 'allowed_progs', offset: 16, size: 8, kind: 'u64' },
  allowed_attachs: { name: 'allowed_attachs', offset: 24, size: 8, kind: 'u64' },
} as const;

/** `struct bpf_func_info`. 8 bytes. */
export const FUNC_INFO = {
  insn_off: { name: 'insn_off', offset: 0, size: 4, kind: 'u32' },
  type_id: { name: 'type_id', offset: 4, size: 4, kind: 'u32' },
} as const;

/** `struct bpf_line_info`. 16 bytes. */
export const LINE_INFO = {
  insn_off: { name: 'insn_off', offset: 0, size: 4, kind: 'u32' },
  file_name_off: { name: 'file_name_off', offset: 4, size: 4, kind: 'u32' },
  line_off: { name: 'line_off', offset: 8, size: 4, kind: 'u32' },
  line_col: { name: 'line_col', offset: 12, size: 4, kind: 'u32' },
} as const;

/** `struct bpf_core_relo`. 16 bytes. */
export const CORE_RELO = {
  insn_off: { name: 'insn_off', offset: 0, size: 4, kind: 'u32' },
  type_id: { name: 'type_id', offset: 4, size: 4, kind: 'u32' },
  access_str_off: { name: 'access_str_off', offset: 8, size: 4, kind: 'u32' },
  kind: { name: 'kind', offset: 12, size: 4, kind: 'u32' },
} as const;
