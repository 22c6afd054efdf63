// SPDX-License-Identifier: Apache-2.0
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "GPL";
struct { __uint(type, BPF_MAP_TYPE_TASK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int); __type(value, __u64); } store SEC(".maps");
char buffer[64]; __u64 seen;

SEC("kprobe/do_nanosleep") int BPF_KPROBE(kp, void *t, int mode) { seen += mode; return 0; }
SEC("kretprobe/do_nanosleep") int BPF_KRETPROBE(krp, int ret) { seen += ret; return 0; }
SEC("kprobe/do_nanosleep") int kp_deref(struct pt_regs *c) { struct task_struct *t = (void *)PT_REGS_PARM1(c); return t->pid; }
SEC("kprobe/do_nanosleep") int kp_write(struct pt_regs *c) { c->ax = 1; return 0; }
SEC("tp/sched/sched_switch") int tp(struct trace_event_raw_sched_switch *c) { return bpf_probe_read_kernel(buffer, 16, c->prev_comm); }
SEC("tp/sched/sched_switch") int tp_far(void *c) { return *(int *)(c + 8192); }
SEC("tp/sched/sched_switch") int tp_unaligned(void *c) { return *(int *)(c + 9); }
SEC("raw_tp/sched_switch") int raw(struct bpf_raw_tracepoint_args *c) { return c->args[3] & 1; }
SEC("tp_btf/sched_switch") int BPF_PROG(btf_walk, bool preempt, struct task_struct *prev, struct task_struct *next) { return prev->group_leader->real_parent->pid; }
SEC("tp_btf/sched_switch") int BPF_PROG(btf_write, bool preempt, struct task_struct *prev, struct task_struct *next) { prev->pid = 1; return 0; }
SEC("tp_btf/sched_switch") int BPF_PROG(btf_array, bool preempt, struct task_struct *prev, struct task_struct *next) { int i = next->pid; return prev->comm[i & 15]; }
SEC("tp_btf/sched_switch") int BPF_PROG(btf_beyond, bool preempt, struct task_struct *prev, struct task_struct *next) { return *(int *)((char *)prev + 1000000); }
SEC("tp_btf/sched_switch") int BPF_PROG(btf_arg5) { return ctx[5]; }
SEC("tp_btf/no_such_thing") int no_tp(void *c) { return 0; }
SEC("fentry/filename_unlinkat") int BPF_PROG(fe, int dfd, struct filename *name) { return bpf_probe_read_kernel_str(buffer, sizeof(buffer), name->name); }
SEC("fentry/filename_unlinkat") int BPF_PROG(fe_ret, int dfd, struct filename *name) { return dfd; }
SEC("fexit/filename_unlinkat") int BPF_PROG(fx, int dfd, struct filename *name, long ret) { seen += ret; return 0; }
SEC("fmod_ret/security_file_open") int BPF_PROG(fm, struct file *f, int ret) { return ret; }
SEC("fmod_ret/filename_unlinkat") int BPF_PROG(fm_bad, int dfd, struct filename *name) { return 0; }
SEC("lsm/file_open") int BPF_PROG(lo, struct file *f) { return f->f_flags & 1 ? -1 : 0; }
SEC("lsm/file_open") int BPF_PROG(lo_range, struct file *f) { return f->f_flags; }
SEC("lsm.s/bpf") int BPF_PROG(lb, int cmd, union bpf_attr *attr, unsigned int size) { char b[8]; return bpf_copy_from_user(b, 8, (void *)8) ? -1 : 0; }
SEC("lsm/bpf") int BPF_PROG(lb_ns, int cmd, union bpf_attr *attr, unsigned int size) { char b[8]; return bpf_copy_from_user(b, 8, (void *)8) ? -1 : 0; }
SEC("lsm/no_such_hook") int nohook(void *c) { return 0; }
SEC("iter/task") int it(struct bpf_iter__task *c) { struct task_struct *t = c->task; if (t) bpf_seq_write(c->meta->seq, &t->pid, 4); return 0; }
SEC("iter/task") int it_null(struct bpf_iter__task *c) { bpf_seq_write(c->meta->seq, &c->task->pid, 4); return 0; }
SEC("iter/task") int it_ret(struct bpf_iter__task *c) { return 2; }
SEC("fentry/filename_unlinkat") int BPF_PROG(storage) { __u64 *v = bpf_task_storage_get(&store, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE); if (v) *v += 1; return 0; }
SEC("kprobe/do_nanosleep") int stack_str(struct pt_regs *c) { char s[] = "hello world"; return bpf_trace_printk(s, sizeof(s)); }
SEC("kprobe/do_nanosleep") int stack_uninit(struct pt_regs *c) { char s[16]; s[0] = 'a'; return bpf_trace_printk(s, sizeof(s)); }
SEC("kprobe/do_nanosleep") int read_var(struct pt_regs *c) { char s[32] = {}; __u64 n = PT_REGS_PARM2(c); if (n > 32) n = 32; return bpf_probe_read_user(s, n, (void *)PT_REGS_PARM1(c)); }
SEC("kprobe/do_nanosleep") int read_var_zero(struct pt_regs *c) { char s[32]; __u64 n = PT_REGS_PARM2(c) & 31; return bpf_probe_read_user(s, n, (void *)PT_REGS_PARM1(c)); }
SEC("kprobe/do_nanosleep") int snp(struct pt_regs *c) { __u64 a[2] = { 1, 2 }; static const char fmt[] = "%d %llx"; return bpf_snprintf(buffer, sizeof(buffer), fmt, a, sizeof(a)); }
SEC("perf_event") int pe(struct bpf_perf_event_data *c) { return c->sample_period > 5; }
SEC("freplace/nothing") int ext(void *c) { return 0; }
