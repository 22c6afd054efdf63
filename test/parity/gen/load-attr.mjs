#!/usr/bin/env node
// Every field of BPF_PROG_LOAD with wrong and unusual values around programs that load: func_info, line_info, core_relos, fd_array,
// flags, log buffers, names, licenses, capabilities, what is attached to. As a transcript without answers:
//   load-attr.mjs > IN.jsonl; then ../record.mjs IN.jsonl ../data/load-attr.jsonl.gz
import { F, I, MAP, PROG, Transcript, fields, prog, u32 } from './build.mjs';
import { TypeBlob, functionInfo, lineInfo } from './types.mjs';

const t = new Transcript();
const AT = { type: 0, count: 4, insns: 8, license: 16, level: 24, size: 28, buffer: 32, version: 40, flags: 44, name: 48, ifindex: 64, attach: 68, btf: 72, funcSize: 76, funcs: 80, funcCount: 88, lineSize: 92, lines: 96, lineCount: 104, attachID: 108, target: 112, reloCount: 116, fdArray: 120, relos: 128, reloSize: 136, trueSize: 140, token: 144, arrayCount: 148, signature: 152, signatureSize: 160, keyring: 164 };
const types = new TypeBlob();
const int = types.int('int', 4), context = types.struct('__sk_buff', 0, []), pointer = types.pointer(context);
const unsigned = types.int('unsigned int', 4, 0), pair = types.struct('pair', 8, [['a', int, 0], ['b', unsigned, 32]]);
const mainProto = types.proto(int, [['ctx', pointer]]), subProto = types.proto(int, [['x', int]]), voidProto = types.proto(0, []);
const main = types.func('main', mainProto, 1), sub = types.func('sub', subProto, 0), globalSub = types.func('global_sub', subProto, 1), externSub = types.func('extern_sub', subProto, 2), voidFunc = types.func('nothing', voidProto, 0);
const source = types.string('int main(void)'), file = types.string('a.c'), access0 = types.string('0:0'), access1 = types.string('0:1'), accessBad = types.string('0:x'), accessFar = types.string('0:7'), emptyAccess = types.string('1');
const skb = types.struct('sk_buff', 8, [['len', unsigned, 0]]), task = types.struct('task_struct', 8, [['pid', int, 0]]), ghost = types.struct('no_such_struct', 8, [['pid', int, 0]]);

// 0: r6 = r1; call sub(3); 3: r0 = 0; exit; sub: 5: r0 = r1; exit
const code = prog(I.movr(6, 1), I.mov(1, 3), I.callLocal(2), I.mov(0, 0), I.exit(), I.movr(0, 1), I.exit());
const goodFuncs = functionInfo([0, main], [5, sub]), goodLines = lineInfo([0, file, source, 10, 1], [3, file, source, 12, 3], [5, file, source, 20, 1]);

/** One load: `base` with `change`s; pointers and descriptors by attribute offset. */
function load({ insns = code, license = 'GPL', set = [], input = {}, fd = {}, infd, size = 168, log = 1, logSize = 4096, ...rest } = {}) {
  const values = new Map([[AT.type, PROG.SOCKET_FILTER], [AT.count, insns.length / 8], [AT.level, log], [AT.size, logSize], ...set]);
  const bytes = { [AT.insns]: t.blob(insns), [AT.license]: Buffer.from(`${license}\0`, 'latin1').toString('hex') };
  for (const [at, value] of Object.entries(input)) { if (value === null) delete bytes[at]; else bytes[at] = t.blob(value); }
  const levelSize = values.get(AT.size);
  t.bpf('PROG_LOAD', fields(Math.max(size, 168), [...values]).subarray(0, size), {
    in: bytes, ...(levelSize > 0 && levelSize <= 1 << 20 && rest.buffer !== false ? { out: { [AT.buffer]: levelSize } } : {}), ...(Object.keys(fd).length ? { fd } : {}), ...(infd ? { infd } : {}), ...(rest.save === undefined ? {} : { save: rest.save }),
  });
}
const begin = (name, mode) => { t.case(name, 'load-attr', undefined, mode); t.btf(types.bytes(), 0); };
/** A load with function and line information. */
const described = ({ funcs = goodFuncs, funcSize = 8, funcCount, lines = goodLines, lineSize = 16, lineCount, set = [], input = {}, ...rest } = {}) => load({
  set: [[AT.funcSize, funcSize], [AT.funcCount, funcCount ?? (funcSize ? Math.floor(funcs.length / funcSize) : 0)], [AT.lineSize, lineSize], [AT.lineCount, lineCount ?? (lineSize ? Math.floor(lines.length / lineSize) : 0)], ...set],
  input: { ...(funcs.length ? { [AT.funcs]: funcs } : {}), ...(lines.length ? { [AT.lines]: lines } : {}), ...input }, fd: { [AT.btf]: 0 }, ...rest,
});
const none = Buffer.alloc(0);
/** Records of `size` bytes made of records of `from` bytes, `tail` in the byte behind each. */
const widen = (bytes, from, size, tail = 0) => Buffer.concat(Array.from({ length: bytes.length / from }, (_, i) => { const b = Buffer.alloc(size); bytes.copy(b, 0, i * from, i * from + Math.min(from, size)); if (size > from) b[from] = tail; return b; }));

begin('func_info/sizes');
for (const size of [0, 1, 4, 7, 8, 9, 10, 12, 16, 20, 24, 248, 252, 253, 256, 260, 4096, 0xffffffff]) described({ funcs: size >= 4 && size <= 4096 ? widen(goodFuncs, 8, size) : goodFuncs, funcSize: size, funcCount: 2 });
for (const size of [12, 16, 252]) described({ funcs: widen(goodFuncs, 8, size, 1), funcSize: size });
for (const count of [0, 1, 2, 3, 4, 100, 0x7fffffff, 0xffffffff]) described({ funcCount: count, funcs: Buffer.concat([goodFuncs, goodFuncs]) });
described({ funcs: none, funcCount: 2 }); described({ funcs: none, funcCount: 0, funcSize: 0 }); described({ funcs: none, funcCount: 2, lines: none, lineCount: 0 });
begin('func_info/contents');
for (const funcs of [
  [[1, main], [5, sub]], [[0, main], [4, sub]], [[0, main], [6, sub]], [[0, main], [0, sub]], [[5, main], [0, sub]], [[0, main], [7, sub]], [[0, main], [0xffffffff, sub]],
  [[0, 0], [5, sub]], [[0, int], [5, sub]], [[0, mainProto], [5, sub]], [[0, main], [5, 0]], [[0, main], [5, 999]], [[0, main], [5, 0x7fffffff]], [[0, main], [5, main]], [[0, sub], [5, main]],
  [[0, main], [5, globalSub]], [[0, main], [5, externSub]], [[0, externSub], [5, sub]], [[0, globalSub], [5, globalSub]], [[0, voidFunc], [5, sub]], [[0, main], [5, voidFunc]], [[0, main], [5, pair]], [[0, main], [2, sub], [5, sub]],
]) described({ funcs: functionInfo(...funcs) });
described({ set: [], fd: {} }); described({ fd: { [AT.btf]: -1 } }); described({ lines: none, lineCount: 0, fd: {} });
begin('line_info/sizes');
for (const size of [0, 1, 8, 12, 15, 16, 17, 20, 24, 252, 253, 256, 0xffffffff]) described({ lines: size >= 16 && size <= 256 ? widen(goodLines, 16, size) : goodLines, lineSize: size, lineCount: 3 });
for (const size of [20, 24, 252]) described({ lines: widen(goodLines, 16, size, 7), lineSize: size });
for (const count of [0, 1, 2, 3, 4, 6, 1000, 0x7ffffff, 0x7fffffff, 0xffffffff]) described({ lineCount: count, lines: Buffer.concat([goodLines, goodLines]) });
described({ lines: none, lineCount: 3 }); described({ funcs: none, funcCount: 0 }); described({ funcs: none, funcCount: 0, funcSize: 0 });
begin('line_info/contents');
for (const lines of [
  [[1, file, source, 1, 1], [5, file, source, 2, 2]], [[0, file, source, 1, 1]], [[0, file, source, 1, 1], [6, file, source, 2, 2]], [[0, file, source, 1, 1], [4, file, source, 1, 1], [5, file, source, 2, 2]], [[0, file, source, 1, 1], [0, file, source, 1, 1], [5, file, source, 2, 2]],
  [[3, file, source, 1, 1], [0, file, source, 1, 1], [5, file, source, 2, 2]], [[0, file, source, 1, 1], [5, file, source, 2, 2], [7, file, source, 2, 2]], [[0, file, source, 1, 1], [5, file, source, 2, 2], [0xffffffff, file, source, 2, 2]], [[0, 0, 0, 0, 0], [5, 0, 0, 0, 0]],
  [[0, 99999, source, 1, 1], [5, file, source, 2, 2]], [[0, file, 99999, 1, 1], [5, file, source, 2, 2]], [[0, file, 0, 1, 1], [5, file, source, 2, 2]], [[0, file, source, 0xffffffff >>> 10, 1023], [5, file, source, 2, 2]], [[0, file + 1, source + 4, 7, 0], [5, file, source, 2, 2]],
]) { const l = lineInfo(...lines); described({ lines: l }); described({ lines: l, log: 2 }); }
{ const wide = prog(I.ld64(2, 1, 2), I.mov(0, 0), I.exit()), f = functionInfo([0, main]); for (const at of [0, 1, 2, 3, 4]) described({ insns: wide, funcs: f, lines: lineInfo([0, file, source, 1, 1], ...(at ? [[at, file, source, 2, 2]] : [])), log: 2 }); }

begin('core_relo');
{
  const target = prog(I.mov(1, 4), I.ldx('w', 0, 1, 0), I.mov(0, 0), I.exit()), f = functionInfo([0, main]), l = lineInfo([0, file, source, 1, 1]);
  const relo = (...list) => Buffer.concat(list.map(([at, id, access, kind]) => u32(at, id, access, kind)));
  const go = (relos, o = {}) => described({ insns: o.insns ?? target, funcs: f, lines: l, log: o.log ?? 2, set: [[AT.reloCount, o.count ?? relos.length / (o.size || 16)], [AT.reloSize, o.size ?? 16], ...(o.set ?? [])], input: relos.length ? { [AT.relos]: relos } : {} });
  for (const kind of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 100, 0xffffffff]) { go(relo([0, task, access0, kind])); go(relo([0, ghost, access0, kind])); go(relo([0, int, emptyAccess, kind])); }
  for (const at of [1, 7, 8, 16, 24, 32, 40, 0xfffffff8]) go(relo([at, skb, access0, 0]));
  for (const id of [0, int, unsigned, pointer, mainProto, main, 500, 0xffffffff]) go(relo([0, id, access0, 0]));
  for (const access of [access1, accessBad, accessFar, emptyAccess, 0, 99999]) for (const kind of [0, 2, 8, 10]) go(relo([0, skb, access, kind]));
  for (const size of [0, 8, 12, 15, 16, 17, 20, 32, 252, 256]) go(widen(relo([0, skb, access0, 0]), 16, Math.max(16, size)), { size, count: 1 });
  for (const count of [0, 1, 2, 1000, 0xffffffff]) go(relo([0, skb, access0, 0], [0, task, access0, 0]), { count });
  go(none, { count: 1 }); go(none, { count: 0, size: 16 }); go(relo([0, skb, access0, 0]), { log: 1 }); go(relo([8, skb, access0, 0]), { insns: prog(I.mov(1, 4), I.ld64(0, 0), I.mov(0, 0), I.exit()) }); go(relo([0, pair, access1, 0]));
  for (const insn of [I.movr(1, 2), I.alu('add', 1, 4), I.alu32('mov', 1, 0), I.st('w', 10, -8, 0), I.stx('dw', 10, 1, -8), I.ldx('b', 1, 10, -8), I.exit(), I.call(7), I.ld64(1, 4, 0), I.atomic('w', 0, 10, 1, -8), I.j('eq', 1, 4, 0), I.be(1, 16)]) go(relo([0, skb, access0, 0]), { insns: prog(insn, I.mov(0, 0), I.exit()) });
}

begin('fd_array');
t.mapCreate({ type: MAP.ARRAY, value: 8, name: 'a', save: 1 }); t.mapCreate({ type: MAP.HASH, value: 8, name: 'h', save: 2 });
load({ insns: prog(I.mov(0, 0), I.exit()), save: 3 });
{
  const byIndex = (i) => prog(I.ldMapIdx(1, i), I.mov(0, 0), I.exit());
  const array = (insns, slots, count, o = {}) => load({ insns, set: [[AT.arrayCount, count]], input: { [AT.fdArray]: Buffer.alloc(4 * Math.max(1, slots.length)) }, infd: slots.map((slot, i) => [AT.fdArray, 4 * i, slot]), log: 2, ...o });
  for (const count of [0, 1, 2, 3]) for (const slots of [[1], [1, 2], [1, 1], [2, 0], [0, 1], [-1, 1], [3], [1, 3], [0], []]) array(byIndex(0), slots, count);
  for (const i of [0, 1, 2, -1, 0x7fffffff]) for (const count of [0, 2]) array(byIndex(i), [1, 2], count);
  for (const off of [0, 4, 7, 8, 16, -1, 0x7fffffff]) array(prog(I.ldMapIdxValue(1, 0, off), I.mov(0, 0), I.exit()), [1], 1);
  load({ insns: byIndex(0), log: 2 }); for (const count of [1, 64, 65, 4095, 4096, 4097, 0x7fffffff, 0xffffffff]) { load({ insns: byIndex(0), set: [[AT.arrayCount, count]], log: 2 }); load({ insns: prog(I.mov(0, 0), I.exit()), set: [[AT.arrayCount, count]], log: 2 }); }
  array(prog(I.ldMap(1), I.mov(0, 0), I.exit()), [1, 2], 2);
}

begin('flags');
for (const type of [PROG.SOCKET_FILTER, PROG.KPROBE, PROG.SCHED_CLS, PROG.TRACEPOINT, PROG.XDP, PROG.PERF_EVENT, PROG.RAW_TRACEPOINT, PROG.SYSCALL, PROG.STRUCT_OPS, PROG.SK_LOOKUP, PROG.CGROUP_SKB, PROG.LSM, PROG.TRACING, PROG.EXT, PROG.NETFILTER])
  for (const flags of [0, 1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512, 1 << 16, 1 << 31, 16 | 8, 32 | 16, 0xff]) load({ insns: prog(I.mov(0, 0), I.exit()), set: [[AT.type, type], [AT.flags, flags], [AT.attach, type === PROG.NETFILTER ? 45 : type === PROG.SK_LOOKUP ? 36 : 0]] });
begin('attach types');
for (let type = 0; type < 35; type++) for (const attach of [0, 1, 3, 6, 10, 17, 22, 23, 24, 25, 26, 27, 28, 33, 34, 36, 37, 39, 40, 41, 42, 43, 44, 45, 48, 49, 54, 56, 59, 60, 61, 62, 63, 64, 100, 0xffffffff]) load({ insns: prog(I.mov(0, 0), I.exit()), log: 1, logSize: 512, set: [[AT.type, type], [AT.attach, attach], [AT.flags, type === PROG.SYSCALL ? 16 : 0]] });
begin('attach targets');
for (const type of [PROG.SOCKET_FILTER, PROG.XDP, PROG.TRACING, PROG.LSM, PROG.EXT, PROG.STRUCT_OPS, PROG.SYSCALL, PROG.KPROBE, PROG.RAW_TRACEPOINT]) for (const id of [0, 1, 1000, 100000, 200000, 0x7fffffff, 0xffffffff]) for (const attach of type === PROG.TRACING ? [23, 24, 25, 26, 28] : type === PROG.LSM ? [27, 43] : [0]) {
  const set = [[AT.type, type], [AT.attach, attach], [AT.attachID, id], [AT.flags, type === PROG.SYSCALL ? 16 : 0]];
  load({ insns: prog(I.mov(0, 0), I.exit()), set }); load({ insns: prog(I.mov(0, 0), I.exit()), set, fd: { [AT.target]: 0 } }); load({ insns: prog(I.mov(0, 0), I.exit()), set, fd: { [AT.target]: -1 } });
}
begin('logs');
for (const level of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 0x80000001]) for (const size of [0, 1, 64, 127, 128, 129, 200, 1000, 4096]) if (!(level & 4)) load({ set: [[AT.level, level], [AT.size, size]], logSize: size }); else load({ set: [[AT.level, level], [AT.size, size]], logSize: size, buffer: false });
for (const level of [0, 1, 2, 8]) { load({ set: [[AT.level, level], [AT.size, 4096]], buffer: false }); load({ set: [[AT.level, level], [AT.size, 0x40000000]], buffer: false }); load({ set: [[AT.level, level], [AT.size, 0xffffffff]], buffer: false }); }
{ const bad = prog(I.ldx('dw', 0, 1, 0), I.exit()); for (const level of [1, 2, 9, 10]) for (const size of [1, 2, 10, 50, 64, 100, 128, 150, 200, 250, 300, 400, 600, 1000, 4096]) load({ insns: bad, set: [[AT.level, level], [AT.size, size]], logSize: size }); }
{ const long = prog(...Array.from({ length: 300 }, (_, i) => I.mov(i % 10, i)), I.mov(0, 0), I.exit()); for (const level of [2, 10]) for (const size of [128, 500, 1024, 4096, 16384]) load({ insns: long, set: [[AT.level, level], [AT.size, size]], logSize: size }); }

begin('name, license, version, sizes');
for (const name of ['a', 'good_name.1', 'bad name', 'bad-name', '0123456789abcde', '0123456789abcdef', 'x\0y', '\xff', '.', '_', '']) load({ set: [[AT.name, name]] });
for (const license of ['', 'GPL', 'GPL v2', 'GPL and additional rights', 'Dual BSD/GPL', 'Dual MIT/GPL', 'Dual MPL/GPL', 'MIT', 'gpl', 'GPL ', 'x'.repeat(126), 'x'.repeat(127), 'x'.repeat(128), 'x'.repeat(300)]) { load({ license }); load({ license, insns: prog(I.movr(1, 10), I.alu('add', 1, -8), I.st('dw', 10, -8, 0), I.mov(2, 8), I.mov(3, 0), I.call(4), I.mov(0, 0), I.exit()), set: [[AT.type, PROG.KPROBE]] }); }
for (const version of [0, 1, 0xffffffff]) load({ set: [[AT.version, version], [AT.type, PROG.KPROBE]] });
for (const index of [1, 99, 0xffffffff]) for (const type of [PROG.XDP, PROG.SCHED_CLS, PROG.KPROBE]) for (const flags of [0, 32, 64, 96]) load({ insns: prog(I.mov(0, 0), I.exit()), set: [[AT.type, type], [AT.ifindex, index], [AT.flags, flags]] });
for (const count of [0, 1, 6, 1000001, 0xffffffff]) load({ set: [[AT.count, count]] });
for (const at of [AT.insns, AT.license]) load({ input: { [at]: null } });
for (const size of [0, 8, 24, 28, 40, 48, 64, 72, 112, 116, 144, 150, 164, 167, 168]) load({ size, log: 0, logSize: 0 });
for (const token of [0, -1]) { load({ set: [[AT.flags, 1 << 16]], fd: { [AT.token]: token } }); load({ fd: { [AT.token]: token } }); }

for (const [name, caps] of [['all', '000001ffffffffff'], ['none', '0'], ['bpf', '8000000000'], ['bpf+perfmon', 'c000000000'], ['bpf+net_admin', '8000001000'], ['perfmon', '4000000000'], ['net_admin', '1000'], ['sys_admin', '200000'], ['sys_admin+net_admin', '201000'], ['all but sys_admin', '000001ffffdfffff'], ['all but bpf and sys_admin', '0000017fffdfffff'], ['all but perfmon and sys_admin', '000001bfffdfffff']]) {
  begin(`capabilities/${name}`);
  t.op({ op: 'caps', effective: caps.padStart(16, '0') });
  for (let type = 1; type < 33; type++) load({ insns: prog(I.mov(0, 0), I.exit()), logSize: 1024, set: [[AT.type, type], [AT.flags, type === PROG.SYSCALL ? 16 : 0], [AT.attach, { 30: 36, 32: 45, 18: 10, 25: 21, 21: 39 }[type] ?? 0]] });
  for (const insns of [prog(I.movr(0, 10), I.exit()), prog(I.movr(0, 1), I.exit()), prog(I.neg(1), I.mov(0, 0), I.exit()), prog(I.st('dw', 10, -8, 0), I.ldx('dw', 0, 10, -16), I.exit()), code, prog(I.ld64(1, 0, 0, 3), I.mov(0, 0), I.exit()), prog(I.mov(1, 0), I.alu('add', 1, 1), I.j('lt', 1, 10, -2), I.mov(0, 0), I.exit()), prog(I.movr(2, 1), I.stx('dw', 10, 2, -8), I.ldx('w', 3, 10, -8), I.mov(0, 0), I.exit()), prog(I.movr(2, 10), I.alu('sub', 2, 8), I.jr('gt', 2, 10, 0), I.mov(0, 0), I.exit())]) load({ insns, log: 2 });
  described(); described({ flags: [[AT.flags, F.TEST_STATE_FREQ]] });
}
process.stdout.write(t.text());
