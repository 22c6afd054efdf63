// SPDX-License-Identifier: Apache-2.0
// One program for every way of attaching that an instance in memory has no events for; each counts in a variable of its own.
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))

__u64 by_kprobe, by_kretprobe, by_ksyscall, by_kprobe_multi, by_pattern, by_uprobe, by_uretprobe, by_uprobe_multi, by_tracepoint, by_raw_tracepoint, by_fentry;

#define COUNTER(section, name) SEC(section) int on_##name(void *ctx) { __sync_fetch_and_add(&by_##name, 1); return 0; }

COUNTER("kprobe/vfs_unlink", kprobe)
COUNTER("kretprobe/vfs_unlink", kretprobe)
COUNTER("ksyscall/unlink", ksyscall)
COUNTER("kprobe.multi/vfs_unlink", kprobe_multi)
COUNTER("kprobe.multi/vfs_unl?nk*", pattern)
COUNTER("uprobe//bin/node:uv_fs_unlink", uprobe)
COUNTER("uretprobe/node:uv_fs_unlink", uretprobe)
COUNTER("uprobe.multi//bin/node:uv_fs_unl*", uprobe_multi)
COUNTER("tp/raw_syscalls/sys_enter", tracepoint)
COUNTER("raw_tp/sys_enter", raw_tracepoint)
COUNTER("fentry/vfs_unlink", fentry)

char LICENSE[] SEC("license") = "GPL";
