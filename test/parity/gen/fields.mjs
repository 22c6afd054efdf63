#!/usr/bin/env node
// Random use of special fields in map values: locks, timers, work queues, kernel pointers, lists and trees, reached directly, through
// a map of maps, by address; jump tables used twice; the mark of a tracked connection. As a transcript without answers:
//   fields.mjs [COUNT [SEED]] > IN.jsonl; then ../record.mjs IN.jsonl ../data/fields.jsonl.gz
import { F, I, MAP, PROG, Transcript, fields, prog, u32 } from './build.mjs';
import { kernelTypeID } from './kernel-types.mjs';
import { TypeBlob, functionInfo } from './types.mjs';

const count = Number(process.argv[2] ?? 300);
let state = Number(process.argv[3] ?? 20261122) >>> 0;
const random = () => { state = (state + 0x6d2b79f5) >>> 0; let x = Math.imul(state ^ (state >>> 15), 1 | state); x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x; return (x ^ (x >>> 14)) >>> 0; };
const below = (n) => random() % n, pick = (list) => list[below(list.length)];

const types = new TypeBlob();
const int = types.int('int', 4), u64 = types.int('unsigned long long', 8, 0), words = types.array(u64, int, 2);
const opaque = (name, size) => types.struct(name, size, size === 16 ? [['__opaque', words, 0]] : size === 8 ? [['__opaque', u64, 0]] : [['val', int, 0]]);
const spin = types.struct('bpf_spin_lock', 4, [['val', int, 0]]), timer = opaque('bpf_timer', 16), wq = opaque('bpf_wq', 16), work = opaque('bpf_task_work', 8), resilient = opaque('bpf_res_spin_lock', 8), refcount = opaque('bpf_refcount', 4);
const listHead = opaque('bpf_list_head', 16), listNode = types.struct('bpf_list_node', 24, [['__opaque', types.array(u64, int, 3), 0]]), root = opaque('bpf_rb_root', 16), treeNode = types.struct('bpf_rb_node', 32, [['__opaque', types.array(u64, int, 4), 0]]);
const task = types.struct('task_struct', 8, [['pid', int, 0]]), taskPointer = (tag) => types.pointer(types.typeTag(tag, task));
const node = types.struct('our_item', 80, [['list', listNode, 0], ['tree', treeNode, 192], ['count', refcount, 448], ['key', u64, 512]]), ownPointer = types.pointer(types.typeTag('kptr', node));
const VALUES = {
  locked: [64, [['n', u64, 0, 0], ['lock', spin, 8, 'spin']]], timed: [64, [['n', u64, 0, 0], ['timer', timer, 8, 'timer'], ['lock', spin, 24, 'spin']]], queued: [64, [['wq', wq, 0, 'wq'], ['work', work, 16, 'work'], ['n', u64, 24, 0]]],
  resilient: [64, [['lock', resilient, 0, 'resilient'], ['n', u64, 8, 0], ['other', resilient, 16, 'resilient']]],
  tasks: [64, [['a', taskPointer('kptr_untrusted'), 0, 'kptr'], ['b', taskPointer('kptr'), 8, 'kptr'], ['n', u64, 16, 0], ['own', ownPointer, 24, 'own']]],
  holding: [64, [['lock', spin, 0, 'spin'], ['list', listHead, 8, 'list'], ['tree', root, 24, 'root'], ['n', u64, 40, 0]]],
  listing: [64, [['lock', spin, 0, 'spin'], ['list', listHead, 8, 'list'], ['n', u64, 24, 0]]], treeing: [64, [['lock', spin, 0, 'spin'], ['tree', root, 8, 'root'], ['n', u64, 24, 0]]],
  plain: [64, [['n', u64, 0, 0]]],
};
for (const value of Object.values(VALUES)) {
  const [size, list] = value;
  value.id = types.struct('value', size, list.map(([name, type, at]) => [name, type, at * 8]));
  list.forEach(([, , , kind], i) => { if (kind === 'list') types.tag('contains:our_item:list', value.id, i); if (kind === 'root') types.tag('contains:our_item:tree', value.id, i); });
}
const context = types.pointer(types.struct('__sk_buff', 0, [])), main = types.func('main', types.proto(int, [['ctx', context]]), 1);
const callback = types.func('callback', types.proto(int, [['map', types.pointer(0)], ['key', types.pointer(int)], ['value', types.pointer(u64)]]), 0);
const blob = types.bytes();
const id = Object.fromEntries(['bpf_wq_init', 'bpf_wq_start', 'bpf_wq_set_callback', 'bpf_res_spin_lock', 'bpf_res_spin_unlock', 'bpf_obj_new', 'bpf_obj_drop', 'bpf_refcount_acquire', 'bpf_list_push_front', 'bpf_list_push_back', 'bpf_list_pop_front', 'bpf_list_pop_back', 'bpf_rbtree_add', 'bpf_rbtree_remove', 'bpf_rbtree_first', 'bpf_task_from_pid', 'bpf_task_release', 'bpf_task_acquire', 'bpf_rcu_read_lock', 'bpf_rcu_read_unlock', 'bpf_preempt_disable', 'bpf_preempt_enable', 'bpf_task_work_schedule_signal'].map((name) => [name, kernelTypeID(name)]));
const kfunc = (name) => I.callKfunc(id[name]);

const t = new Transcript();
const mapCreate = (value, type, save, inner) => t.bpf('MAP_CREATE', fields(72, [[0, type], [4, 4], [8, inner === undefined ? 64 : 4], [12, 1], [28, 'm'], ...(inner === undefined ? [[52, int], [56, value.id]] : [])]), { fd: inner === undefined ? { 48: 0 } : { 20: inner }, save });
for (let n = 0; n < count; n++) {
  const kind = pick(Object.keys(VALUES)), value = VALUES[kind], list = value[1], how = pick(['lookup', 'lookup', 'lookup', 'inner', 'address']), mapType = how === 'address' ? MAP.ARRAY : pick([MAP.ARRAY, MAP.ARRAY, MAP.ARRAY, MAP.HASH, MAP.HASH, MAP.LRU_HASH]), type = pick([PROG.SCHED_CLS, PROG.SCHED_CLS, PROG.SCHED_CLS, PROG.SYSCALL, PROG.TRACING, PROG.SOCKET_FILTER]);
  const maps = [], code = [I.movr(6, 1)], functions = [];
  const length = () => code.reduce((sum, part) => sum + part.length / 8, 0);
  const loadMap = (r, slot) => { maps.push([length(), slot]); code.push(I.ldMap(r)); };
  const lookup = (slot, into, isInner) => { code.push(I.st('w', 10, -4, 0), I.movr(2, 10), I.alu('add', 2, -4)); if (isInner) code.push(I.movr(1, 9)); else loadMap(1, slot); code.push(I.call(1)); if (below(12)) code.push(I.j('ne', 0, 0, 2), I.mov(0, 0), I.exit()); code.push(I.movr(into, 0)); };
  const get = (into) => { if (how === 'address') { maps.push([length(), 1]); code.push(I.ldMapValue(into, 0)); } else if (how === 'inner') { lookup(2, 9); lookup(0, into, true); } else lookup(1, into); };
  get(7);
  const at = (kinds) => { const found = list.filter(([, , , each]) => kinds.includes(each)); return found.length && below(8) ? pick(found)[2] : pick([0, 8, 16, 24, 40]); };
  const pointer = (r, offset) => code.push(I.movr(r, 7), I.alu('add', r, offset));
  const lockKind = list.some(([, , , each]) => each === 'resilient') ? 'resilient' : 'spin';
  const lock = (offset) => { pointer(1, offset); if (lockKind === 'spin') code.push(I.call(93)); else code.push(kfunc('bpf_res_spin_lock'), ...(below(4) ? [I.j('eq', 0, 0, 2), I.mov(0, 0), I.exit()] : [])); };
  const unlock = (offset) => { pointer(1, offset); code.push(lockKind === 'spin' ? I.call(94) : kfunc('bpf_res_spin_unlock')); };
  const newNode = () => { code.push(I.mov(1, node), I.mov(2, 0), kfunc('bpf_obj_new')); if (below(6)) code.push(I.j('ne', 0, 0, 2), I.mov(0, 0), I.exit()); code.push(I.movr(8, 0)); };
  const call = (name, ...args) => { for (const [i, arg] of args.entries()) code.push(Buffer.isBuffer(arg) ? arg : I.mov(i + 1, arg)); code.push(kfunc(name)); };
  const useCallback = (r) => { functions.push([length(), 0]); code.push(I.ldFunc(r, 0)); };
  const has = (...kinds) => list.some(([, , , each]) => kinds.includes(each)) || below(15) === 0;
  const fits = [
    () => { const offset = at([lockKind]); lock(offset); for (let i = below(3); i > 0; i--) inner(); if (below(8)) unlock(below(8) ? offset : at([lockKind])); },
    () => { pointer(1, at(['timer'])); if (how === 'inner' && below(3)) code.push(I.movr(2, 9)); else loadMap(2, pick([1, 1, 3])); code.push(I.mov(3, pick([0, 1, 7, 99])), I.call(169)); },
    () => { pointer(1, at(['timer'])); useCallback(2); code.push(I.call(170)); }, () => { pointer(1, at(['timer'])); code.push(I.mov(2, 0), I.mov(3, pick([0, 1, 3])), I.call(171)); }, () => { pointer(1, at(['timer'])); code.push(I.call(172)); },
    () => { pointer(1, at(['wq'])); if (how === 'inner') code.push(I.movr(2, 9)); else loadMap(2, 1); code.push(I.mov(3, 0), kfunc('bpf_wq_init')); }, () => { pointer(1, at(['wq'])); useCallback(2); code.push(I.mov(3, 0), kfunc('bpf_wq_set_callback')); }, () => { pointer(1, at(['wq'])); code.push(I.mov(2, 0), kfunc('bpf_wq_start')); },
    () => { pointer(1, at(['kptr', 'own'])); code.push(I.mov(2, 0), I.call(194)); if (below(2)) { code.push(I.j('eq', 0, 0, 2), I.movr(1, 0), pick([kfunc('bpf_task_release'), kfunc('bpf_obj_drop')])); } },
    () => { code.push(I.mov(1, 1), kfunc('bpf_task_from_pid'), I.j('ne', 0, 0, 2), I.mov(0, 0), I.exit(), I.movr(8, 0)); pointer(1, at(['kptr'])); code.push(I.movr(2, 8), I.call(194)); if (below(3)) code.push(I.j('eq', 0, 0, 2), I.movr(1, 0), kfunc('bpf_task_release')); },
    () => { code.push(I.ldx('dw', 8, 7, at(['kptr', 'own']))); if (below(2)) code.push(I.j('eq', 8, 0, 1), I.ldx('w', 0, 8, pick([0, 64, 1000]))); }, () => code.push(I.stx('dw', 7, pick([6, 7, 8]), at(['kptr', 'list']))), () => code.push(I.st('dw', 7, at([0, 'spin', 'timer', 'kptr']), 5)), () => code.push(I.ldx(pick(['w', 'dw']), 8, 7, at([0, 'spin', 'timer', 'list']))),
    () => { newNode(); if (below(2)) { const offset = at(['spin']); lock(offset); addNode(); unlock(offset); } else code.push(I.movr(1, 8), pick([kfunc('bpf_obj_drop'), kfunc('bpf_obj_drop'), kfunc('bpf_refcount_acquire')])); },
    () => { newNode(); pointer(1, at(['own', 'own', 'own', 'kptr'])); code.push(I.movr(2, 8), I.call(194), I.j('eq', 0, 0, 2), I.movr(1, 0), kfunc('bpf_obj_drop')); },
    () => { const offset = at(['spin']); lock(offset); pointer(1, at(['list'])); code.push(pick([kfunc('bpf_list_pop_front'), kfunc('bpf_list_pop_back')]), I.movr(8, 0)); unlock(offset); code.push(I.j('eq', 8, 0, 3), I.movr(1, 8), I.alu('add', 1, pick([0, 0, 8])), kfunc('bpf_obj_drop')); },
    () => { const offset = at(['spin']); lock(offset); pointer(1, at(['root'])); code.push(kfunc('bpf_rbtree_first'), I.j('ne', 0, 0, 3)); unlock(offset); code.push(I.ja(8), I.movr(2, 0)); pointer(1, at(['root'])); code.push(kfunc('bpf_rbtree_remove'), I.movr(8, 0)); unlock(offset); code.push(I.mov(0, 0)); },
    () => call('bpf_rcu_read_lock'), () => call('bpf_rcu_read_unlock'), () => call(pick(['bpf_preempt_disable', 'bpf_preempt_enable'])), () => get(7), () => { code.push(I.st('w', 10, -4, 0), I.movr(2, 10), I.alu('add', 2, -4), I.movr(3, 7), I.mov(4, 0)); loadMap(1, pick([1, 3])); code.push(I.call(2)); }, () => { code.push(I.movr(1, 10), I.alu('add', 1, -72), I.movr(3, 7), I.mov(2, 64), I.call(113)); },
  ].filter((operation) => has(...(/at\(\[(?:0, )?('[a-z', ]+')/.exec(String(operation))?.[1].replaceAll("'", '').split(', ') ?? (/lockKind/.test(String(operation)) ? ['spin', 'resilient'] : ['none', ...list.map(([, , , each]) => each)]))));
  const some = () => pick(fits)();
  const addNode = () => pick([() => { pointer(1, at(['list'])); code.push(I.movr(2, 8), I.mov(3, 0), I.mov(4, pick([0, 0, 8])), pick([kfunc('bpf_list_push_front'), kfunc('bpf_list_push_back')])); }, () => { pointer(1, at(['root'])); code.push(I.movr(2, 8), I.alu('add', 2, pick([24, 24, 0]))); useCallback(3); code.push(I.mov(4, 0), I.mov(5, 0), kfunc('bpf_rbtree_add')); }])();
  const inner = () => pick([() => code.push(I.st('dw', 7, at([0]), 1)), () => code.push(I.ldx('dw', 8, 7, at([0]))), () => code.push(I.call(5)), () => get(7), () => { newNode(); addNode(); }, () => call('bpf_rcu_read_unlock')])();
  for (let i = 1 + below(4); i > 0; i--) some();
  code.push(I.mov(0, 0), I.exit());
  let insns = prog(code);
  const starts = [insns.length / 8];
  if (functions.length) {
    insns = Buffer.concat([insns, prog(pick([[I.mov(0, 0), I.exit()], [I.mov(0, 1), I.exit()], [I.ldx('dw', 4, 3, 0), I.mov(0, 0), I.exit()], [I.st('dw', 3, 8, 1), I.mov(0, 0), I.exit()], [I.movr(1, 3), I.alu('add', 1, 8), I.call(172), I.mov(0, 0), I.exit()]]))]);
    for (const [place, entry] of functions) insns.writeInt32LE((entry ? starts[0] + 1 : starts[0]) - place - 1, 8 * place + 4);
  }
  t.case(`fields/${String(n).padStart(3, '0')}`, 'fields', `${kind}, ${how}, type ${type}`); t.btf(blob, 0);
  mapCreate(value, mapType, 1); mapCreate(value, mapType, 3); mapCreate(value, mapType, 4); mapCreate(value, MAP.ARRAY_OF_MAPS, 2, 4);
  t.load({ type, insns, log: 2, logSize: 1 << 18, flags: type === PROG.SYSCALL ? F.SLEEPABLE : 0, set: [[76, 8], [88, functions.length ? 2 : 1], ...(type === PROG.TRACING ? [[68, 24], [108, kernelTypeID('bpf_fentry_test1')]] : [])], input: { 80: functions.length ? functionInfo([0, main], [starts[0], callback]) : functionInfo([0, main]) }, fd: { 72: 0 }, infd: maps.map(([place, slot]) => [8, 8 * place + 4, slot]) });
}
t.case('connections', 'fields');
for (const [type, allocate] of [[PROG.XDP, 'bpf_xdp_ct_alloc'], [PROG.SCHED_CLS, 'bpf_skb_ct_alloc'], [PROG.XDP, 'bpf_xdp_ct_lookup'], [PROG.SCHED_CLS, 'bpf_skb_ct_lookup']]) for (const off of [0, 8, 16, 100, 104, 108, 112, 116, 128, 132, 136, 140, 144, 152, 168, 172, 176, 180, 240, 1000]) for (const size of ['b', 'w', 'dw'])
  t.load({ type, log: 2, logSize: 1 << 14, insns: prog(I.st('dw', 10, -16, 0), I.st('dw', 10, -8, 0), I.st('dw', 10, -24, 0), I.st('dw', 10, -32, 0), I.movr(2, 10), I.alu('add', 2, -16), I.mov(3, 12), I.movr(4, 10), I.alu('add', 4, -32), I.mov(5, 12), I.callKfunc(kernelTypeID(allocate)), I.j('ne', 0, 0, 2), I.mov(0, 0), I.exit(), I.movr(6, 0), I.st(size, 6, off, 1), I.movr(1, 6), I.callKfunc(kernelTypeID(allocate.endsWith('alloc') ? 'bpf_ct_insert_entry' : 'bpf_ct_release')), I.mov(0, 0), I.exit()) });
t.case('jump tables', 'fields');
{
  const table = (entries, save, freeze = true) => { t.bpf('MAP_CREATE', fields(72, [[0, 34], [4, 4], [8, 16], [12, entries.length], [28, 'jt']]), { save }); entries.forEach((entry, i) => t.update(save, u32(i), Buffer.concat([u32(entry), Buffer.alloc(12)]))); if (freeze) t.freeze(save); };
  // 0: r1 = &table; 2: r1 += 8 * (ctx.len & 1); 6: r1 = *(u64 *)r1; gotox r1; 8: r0 = 0; exit; 10: r0 = 1; exit
  const jumps = (more = []) => prog(I.ldx('w', 2, 1, 0), I.alu('and', 2, 1), I.alu('lsh', 2, 3), I.ldMapValue(1, 0), I.alur('add', 1, 2), I.ldx('dw', 1, 1, 0), Buffer.from([0x0d, 1, 0, 0, 0, 0, 0, 0]), ...more, I.mov(0, 0), I.exit(), I.mov(0, 1), I.exit());
  const go = (insns, slot, rest = {}) => t.load({ type: PROG.SOCKET_FILTER, insns, log: 2, logSize: 1 << 14, infd: [[8, 28, slot]], ...rest });
  table([8, 10], 0); go(jumps().subarray(0, 88), 0); go(jumps(), 0, { save: 1 }); go(jumps(), 0); t.op({ op: 'close', slot: 1 }); go(jumps(), 0);
  table([8, 10], 2, false); go(jumps(), 2); t.freeze(2); go(jumps(), 2);
  for (const [i, entries] of [[8, 9], [8, 12], [4, 8], [3, 8], [0, 8], [8], [8, 10, 10], [8, 8], [7, 10], [5, 6], [8, 0xffffffff]].entries()) { table(entries, 10 + i); go(jumps(), 10 + i); go(jumps(), 10 + i); }
}
process.stdout.write(t.text());
