#!/usr/bin/env node
// Programs that replace or trace functions of other programs: every kind of target function, every kind of program, bodies that change
// packets, sleep, throw or pass wrong arguments. As a transcript without answers:
//   attach-programs.mjs > IN.jsonl; then ../record.mjs IN.jsonl ../data/attach-programs.jsonl.gz
import { F, I, MAP, PROG, Transcript, prog } from './build.mjs';
import { TypeBlob, functionInfo } from './types.mjs';
import { kernelTypeID } from './kernel-types.mjs';

const t = new Transcript();
const types = new TypeBlob();
const int = types.int('int', 4), long = types.int('long', 8), u64 = types.int('unsigned long long', 8, 0), char = types.int('char', 1, 0);
const contexts = Object.fromEntries([['xdp_md', PROG.XDP], ['__sk_buff', PROG.SCHED_CLS], ['bpf_sysctl', PROG.CGROUP_SYSCTL], ['bpf_sock_addr', PROG.CGROUP_SOCK_ADDR]].map(([name]) => [name, types.pointer(types.struct(name, 0, []))]));
const other = types.struct('other', 8, [['a', int, 0]]), otherPointer = types.pointer(other), voidPointer = types.pointer(0), charPointer = types.pointer(char);
const tagged = types.tag;
const protos = {};
for (const [name, pointer] of Object.entries(contexts)) { protos[`${name} main`] = types.proto(int, [['ctx', pointer]]); protos[`${name} two`] = types.proto(int, [['ctx', pointer], ['x', int]]); }
protos.int = types.proto(int, [['x', int]]); protos.long = types.proto(int, [['x', long]]); protos.none = types.proto(int, []); protos.void = types.proto(0, [['x', int]]); protos.u64 = types.proto(int, [['cookie', u64]]); protos.longResult = types.proto(long, [['x', int]]);
protos.other = types.proto(int, [['p', otherPointer]]); protos.raw = types.proto(int, [['p', voidPointer]]); protos.five = types.proto(int, Array.from({ length: 5 }, (_, i) => [`a${i}`, int])); protos.six = types.proto(int, Array.from({ length: 6 }, (_, i) => [`a${i}`, int]));
const funcs = {};
const func = (name, proto, linkage) => (funcs[`${name}/${proto}/${linkage}`] ??= types.func(name, protos[proto], linkage));
void tagged; void charPointer;

const throwID = kernelTypeID('bpf_throw');
/** Targets: type, functions as [name, prototype, linkage, code], calls filled in: {call: index}. */
const pull = [I.mov(2, 0), I.call(39)], adjust = [I.mov(2, 0), I.call(44)];
const one = [I.mov(0, 1), I.exit()];
const targets = {
  xdp: { type: PROG.XDP, ctx: 'xdp_md', functions: [
    ['main', 'xdp_md main', 1, [I.movr(6, 1), I.mov(1, 1), { call: 1 }, I.movr(1, 6), { call: 2 }, I.movr(1, 6), I.mov(2, 3), { call: 3 }, I.mov(1, 5), { call: 4 }, I.mov(0, 2), I.exit()]],
    ['g_int', 'int', 1, one], ['g_ctx', 'xdp_md main', 1, [...adjust, I.mov(0, 1), I.exit()]], ['g_two', 'xdp_md two', 1, one], ['s_int', 'int', 0, one]] },
  xdpPlain: { type: PROG.XDP, ctx: 'xdp_md', functions: [['main', 'xdp_md main', 1, [I.mov(0, 2), I.exit()]]] },
  tc: { type: PROG.SCHED_CLS, ctx: '__sk_buff', functions: [
    ['main', '__sk_buff main', 1, [I.movr(6, 1), { call: 1 }, I.mov(1, 3), { call: 2 }, I.movr(1, 6), { call: 3 }, I.mov(0, 0), I.exit()]],
    ['g_ctx', '__sk_buff main', 1, [...pull, I.mov(0, 0), I.exit()]], ['g_void', 'void', 1, [I.mov(0, 0), I.exit()]], ['g_still', '__sk_buff main', 1, one]] },
  tcThrows: { type: PROG.SCHED_CLS, ctx: '__sk_buff', throws: true, functions: [
    ['main', '__sk_buff main', 1, [I.mov(1, 0), { call: 1 }, I.mov(0, 0), I.exit()]], ['g_int', 'int', 1, [I.j('eq', 1, 0, 2), I.mov(1, 0), I.callKfunc(throwID), I.mov(0, 0), I.exit()]]] },
  tcHandler: { type: PROG.SCHED_CLS, ctx: '__sk_buff', throws: true, handler: 'handler', functions: [
    ['main', '__sk_buff main', 1, [I.j('eq', 1, 0, 2), I.mov(1, 0), I.callKfunc(throwID), I.mov(0, 0), I.exit()]], ['handler', 'u64', 1, one]] },
  syscall: { type: PROG.SYSCALL, ctx: null, functions: [
    ['main', 'raw', 1, [I.mov(1, 1), { call: 1 }, I.mov(1, 1), { call: 2 }, I.mov(0, 0), I.exit()]],
    ['g_sleeps', 'int', 1, [I.movr(1, 10), I.alu('add', 1, -8), I.mov(2, 8), I.mov(3, 0), I.call(148), I.mov(0, 0), I.exit()]], ['g_int', 'int', 1, one]] },
  fentry: { type: PROG.TRACING, ctx: null, attach: 24, target: 'bpf_fentry_test1', functions: [['main', 'raw', 1, [I.mov(1, 1), { call: 1 }, I.mov(0, 0), I.exit()]], ['g_int', 'int', 1, [I.mov(0, 0), I.exit()]]] },
  fmodret: { type: PROG.TRACING, ctx: null, attach: 26, target: 'bpf_modify_return_test', functions: [['main', 'raw', 1, [I.mov(1, 1), { call: 1 }, I.mov(0, 0), I.exit()]], ['g_int', 'int', 1, [I.mov(0, 0), I.exit()]]] },
  rawtp: { type: PROG.RAW_TRACEPOINT, ctx: null, functions: [['main', 'raw', 1, [I.mov(1, 1), { call: 1 }, I.mov(0, 0), I.exit()]], ['g_int', 'int', 1, one]] },
  nobtf: { type: PROG.XDP, ctx: 'xdp_md', bare: true, functions: [['main', 'xdp_md main', 1, one]] },
};
const length = (parts) => parts.reduce((n, part) => n + (Buffer.isBuffer(part) ? part.length / 8 : 1), 0);
function assemble(functions) {
  const starts = []; let at = 0;
  for (const [, , , code] of functions) { starts.push(at); at += length(code); }
  const out = [];
  for (const [, , , code] of functions) for (const part of code) out.push(Buffer.isBuffer(part) ? part : I.callLocal(starts[part.call] - length(out) - 1));
  return { insns: prog(out), starts };
}
for (const target of Object.values(targets)) { target.ids = target.functions.map(([name, proto, linkage]) => func(name, proto, linkage)); if (target.handler) types.tag(`exception_callback:${target.handler}`, target.ids[0]); }
const bodies = {
  plain: { code: [I.mov(0, 0), I.exit()] },
  'changes packet': { code: [...pull, I.mov(0, 0), I.exit()] }, 'changes xdp packet': { code: [...adjust, I.mov(0, 0), I.exit()] },
  sleeps: { code: [I.movr(1, 10), I.alu('add', 1, -8), I.mov(2, 8), I.mov(3, 0), I.call(148), I.mov(0, 0), I.exit()] },
  'reads context': { code: [I.ldx('dw', 0, 1, 0), I.mov(0, 0), I.exit()] }, 'reads second': { code: [I.ldx('dw', 0, 1, 8), I.mov(0, 0), I.exit()] }, 'reads data': { code: [I.ldx('w', 2, 1, 76), I.ldx('w', 3, 1, 80), I.mov(0, 0), I.exit()] },
  'returns 7': { code: [I.mov(0, 7), I.exit()] }, 'returns context': { code: [I.movr(0, 1), I.exit()] }, throws: { code: [I.mov(1, 0), I.callKfunc(throwID), I.mov(0, 0), I.exit()] },
};
const mains = ['xdp_md main', 'xdp_md two', '__sk_buff main', '__sk_buff two', 'bpf_sysctl main', 'int', 'long', 'none', 'void', 'other', 'raw', 'five', 'six', 'longResult'].map((proto) => [proto, func(`new_${proto.replace(/\W/g, '_')}`, proto, 1)]);
const staticMain = func('static_new', 'int', 0);
const blob = types.bytes();

function loadTarget(target, save) {
  const { insns, starts } = assemble(target.functions);
  const set = [[68, target.attach ?? 0], ...(target.target ? [[108, kernelTypeID(target.target)]] : []), ...(target.bare ? [] : [[76, 8], [88, target.functions.length]])];
  t.load({ type: target.type, insns, set, flags: target.type === PROG.SYSCALL ? F.SLEEPABLE : 0, input: target.bare ? {} : { 80: functionInfo(...starts.map((at, i) => [at, target.ids[i]])) }, fd: target.bare ? {} : { 72: 0 }, log: 1, save });
}
/** A program for function `id` of the program in slot 1. */
function attach({ type, attachType = 0, id, body, own, flags = 0, log = 1, bare = false }) {
  t.load({ type, insns: prog(body.code), flags, log, set: [[68, attachType], [108, id], ...(bare ? [] : [[76, 8], [88, 1]])], input: bare ? {} : { 80: functionInfo([0, own]) }, fd: { ...(bare ? {} : { 72: 0 }), 112: 1 } });
}
for (const [name, target] of Object.entries(targets)) {
  t.case(`extension/${name}`, 'attach-programs'); t.btf(blob, 0); loadTarget(target, 1);
  for (const [i, [, proto]] of target.functions.entries()) {
    const id = target.ids[i], fitting = mains.find(([each]) => each === proto)?.[1] ?? mains[5][1];
    for (const body of Object.values(bodies)) attach({ type: PROG.EXT, id, body, own: fitting });
    for (const [, own] of mains) attach({ type: PROG.EXT, id, body: bodies.plain, own });
    attach({ type: PROG.EXT, id, body: bodies.plain, own: staticMain }); attach({ type: PROG.EXT, id, body: bodies.plain, bare: true }); attach({ type: PROG.EXT, id, body: bodies.plain, own: fitting, flags: F.SLEEPABLE }); attach({ type: PROG.EXT, attachType: 24, id, body: bodies.plain, own: fitting });
  }
  for (const id of [0, int, 999, blob.length]) attach({ type: PROG.EXT, id, body: bodies.plain, own: mains[0][1] });
  t.case(`tracing/${name}`, 'attach-programs'); t.btf(blob, 0); loadTarget(target, 1);
  for (const id of [...target.ids, int]) for (const attachType of [23, 24, 25, 26, 28, 59]) for (const which of ['plain', 'reads context', 'reads second', 'returns 7', 'sleeps']) attach({ type: PROG.TRACING, attachType, id, body: bodies[which], own: mains[10][1], bare: true, flags: which === 'sleeps' ? F.SLEEPABLE : 0 });
  for (const type of [PROG.LSM, PROG.XDP, PROG.KPROBE, PROG.STRUCT_OPS, PROG.SYSCALL]) attach({ type, attachType: type === PROG.LSM ? 27 : 0, id: target.ids[0], body: bodies.plain, bare: true, flags: type === PROG.SYSCALL ? F.SLEEPABLE : 0 });
}
t.case('nesting', 'attach-programs'); t.btf(blob, 0); loadTarget(targets.fentry, 1);
{
  // a tracing program of a tracing program, and a third that wants to trace that; an extension, and what may be done to it
  const main = functionInfo([0, mains[10][1]]), tracer = { type: PROG.TRACING, insns: prog(I.mov(0, 0), I.exit()), log: 1, input: { 80: main } };
  for (const attachType of [24, 25, 59]) { t.load({ ...tracer, set: [[68, attachType], [108, targets.fentry.ids[0]], [76, 8], [88, 1]], fd: { 72: 0, 112: 1 }, save: 2 }); for (const next of [24, 25, 59]) t.load({ ...tracer, set: [[68, next], [108, mains[10][1]], [76, 8], [88, 1]], fd: { 72: 0, 112: 2 } }); t.op({ op: 'close', slot: 2 }); }
  loadTarget(targets.xdp, 3);
  const extension = { type: PROG.EXT, insns: prog(I.mov(0, 0), I.exit()), log: 1, input: { 80: functionInfo([0, mains[5][1]]) } };
  t.load({ ...extension, set: [[108, targets.xdp.ids[1]], [76, 8], [88, 1]], fd: { 72: 0, 112: 3 }, save: 4 }); t.load({ ...extension, set: [[108, mains[5][1]], [76, 8], [88, 1]], fd: { 72: 0, 112: 4 } });
  for (const attachType of [24, 25, 59, 26]) t.load({ ...tracer, set: [[68, attachType], [108, mains[5][1]], [76, 8], [88, 1]], fd: { 72: 0, 112: 4 } });
}
t.case('kernel functions of extensions', 'attach-programs'); t.btf(blob, 0); loadTarget(targets.xdp, 1);
// what an extension may call is known when its target is: their flags and hidden arguments too
for (const name of ['bpf_obj_new', 'bpf_obj_drop', 'bpf_percpu_obj_new', 'bpf_refcount_acquire', 'bpf_list_push_front', 'bpf_list_push_back', 'bpf_list_add', 'bpf_rbtree_add', 'bpf_wq_set_callback', 'bpf_stream_vprintk', 'bpf_stream_print_stack', 'bpf_task_work_schedule_signal', 'bpf_task_work_schedule_resume', 'bpf_obj_new_impl', 'bpf_dynptr_from_xdp', 'bpf_dynptr_from_skb', 'bpf_xdp_ct_lookup', 'bpf_skb_ct_lookup', 'bpf_rcu_read_lock', 'bpf_preempt_disable', 'bpf_cast_to_kern_ctx', 'bpf_rdonly_cast', 'bpf_task_from_pid', 'bpf_iter_num_new', 'bpf_xdp_pull_data', 'bpf_xdp_get_xfrm_state', 'bpf_xdp_metadata_rx_hash', 'bpf_copy_from_user_str'])
  for (const [own, target] of [[mains[0][1], targets.xdp.ids[0]], [mains[5][1], targets.xdp.ids[1]]]) for (const before of [[], [I.mov(1, 0), I.mov(2, 0), I.mov(3, 0), I.mov(4, 0), I.mov(5, 0)], [I.mov(2, 0), I.mov(3, 0), I.mov(4, 0)], [I.st('dw', 10, -8, 0), I.movr(1, 10), I.alu('add', 1, -8), I.mov(2, 1), I.mov(3, 2)]]) attach({ type: PROG.EXT, id: target, own, log: 2, body: { code: [...before, I.callKfunc(kernelTypeID(name)), I.mov(0, 0), I.exit()] } });
t.case('kernel functions', 'attach-programs');
for (const name of ['bpf_fentry_test1', 'bpf_fentry_test2', 'bpf_modify_return_test', 'security_file_open', 'do_exit', 'migrate_disable', 'bpf_wq_set_callback', 'bpf_wq_set_callback_impl', 'bpf_stream_vprintk', 'bpf_list_push_back', 'bpf_obj_new', 'vprintk', 'printk', '_printk', 'vfs_read', '__x64_sys_nanosleep', 'bpf_lsm_file_open', 'bpf_lsm_bprm_committed_creds', 'bpf_iter_task', 'bpf_iter_bpf_map', 'tcp_v4_connect', 'kfree_skb_reason', 'should_failslab', 'bpf_testmod_loop_test'])
  for (const attachType of [24, 25, 26, 27, 28, 43, 59, 60, 61, 62]) for (const flags of [0, F.SLEEPABLE]) {
    const id = kernelTypeID(name); if (id === 0) continue;
    t.load({ type: attachType === 27 || attachType === 43 ? PROG.LSM : PROG.TRACING, insns: prog(I.ldx('dw', 0, 1, 0), I.mov(0, 0), I.exit()), flags, log: 1, set: [[68, attachType], [108, id]] });
  }
t.case('struct_ops members', 'attach-programs');
for (const struct of ['tcp_congestion_ops', 'Qdisc_ops', 'smc_hs_ctrl', 'bpf_dummy_ops', 'io_uring_bpf_ops', 'sched_ext_ops', 'task_struct', 'hid_bpf_ops']) {
  const id = kernelTypeID(struct, 4); if (id === 0) continue;
  for (let member = 0; member < 24; member++) for (const flags of [0, F.SLEEPABLE]) for (const code of [[I.mov(0, 0), I.exit()], [I.ldx('dw', 2, 1, 0), I.ldx('dw', 3, 2, 0), I.mov(0, 0), I.exit()]]) t.load({ type: PROG.STRUCT_OPS, insns: prog(code), flags, log: 1, set: [[68, member], [108, id]] });
  for (const off of [0, 8, 16, 24, 32, 40, 64, 512, 1024]) for (const size of ['b', 'w', 'dw']) for (const member of struct === 'Qdisc_ops' ? [5, 6, 8] : struct === 'bpf_dummy_ops' ? [0] : struct === 'tcp_congestion_ops' ? [0, 16] : [0]) {
    t.load({ type: PROG.STRUCT_OPS, insns: prog(I.ldx('dw', 2, 1, 0), I.stx(size, 2, 10, off), I.st(size, 2, off, 1), I.mov(0, 0), I.exit()), log: 1, set: [[68, member], [108, id]] });
    t.load({ type: PROG.STRUCT_OPS, insns: prog(I.ldx('dw', 2, 1, struct === 'io_uring_bpf_ops' ? 8 : 0), I.st(size, 2, off, 1), I.mov(0, 0), I.exit()), log: 1, set: [[68, member], [108, id]] });
  }
}
for (const license of ['GPL', 'MIT']) t.load({ type: PROG.STRUCT_OPS, insns: prog(I.mov(0, 0), I.exit()), license, log: 1, set: [[108, kernelTypeID('tcp_congestion_ops', 4)]] });
t.load({ type: PROG.STRUCT_OPS, insns: prog(I.mov(0, 0), I.exit()), log: 1 });
t.mapCreate({ type: MAP.ARRAY, save: 5 });
process.stdout.write(t.text());
