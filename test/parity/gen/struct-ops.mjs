#!/usr/bin/env node
// Structures of callbacks: what a value may hold, registration by value and by link, links that change and end; and links of iterators, as a
// transcript without answers: struct-ops.mjs > IN.jsonl; then ../record.mjs IN.jsonl ../data/struct-ops.jsonl.gz
import { I, PROG, Transcript, fields, u32 } from './build.mjs';
import { kernelTypeID, members } from './kernel-types.mjs';

const t = new Transcript();
const STRUCT_OPS = 26, LINK = 1 << 13, STRUCT_OPS_ATTACH = 44, ITER = 28;
const OPS = kernelTypeID('tcp_congestion_ops', 4), VALUE = kernelTypeID('bpf_struct_ops_tcp_congestion_ops', 4), SIZE = 256;
const place = (index) => 64 + members(OPS)[index].offset;
const M = { cong_avoid: 0, cong_control: 1, ssthresh: 2, undo_cwnd: 9, get_info: 11, name: 12, owner: 13, list: 14, key: 15, flags: 16, init: 17 };
const nothing = Buffer.concat([I.mov(0, 0), I.exit()]);
const IDS = [M.cong_avoid, M.ssthresh, M.undo_cwnd].map((index) => [place(index), 8]);

const program = (member, save, id = OPS) => t.load({ type: PROG.STRUCT_OPS, insns: nothing, set: [[68, member], [108, id]], save });
function programs() { program(M.ssthresh, 10); program(M.cong_avoid, 11); program(M.undo_cwnd, 12); }
const create = (save, flags, { type = VALUE, size = SIZE } = {}) => t.bpf('MAP_CREATE', fields(72, [[0, STRUCT_OPS], [4, 4], [8, size], [12, 1], [16, flags], [28, 'ops'], [60, type]]), { save });
function value(name, changes = []) {
  const bytes = Buffer.alloc(SIZE);
  bytes.write(name, place(M.name), 16, 'latin1');
  for (const [at, ...words] of changes) words.forEach((word, i) => bytes.writeUInt32LE(word >>> 0, at + 4 * i));
  return bytes;
}
const GOOD = [[M.ssthresh, 10], [M.cong_avoid, 11], [M.undo_cwnd, 12]];
function update(slot, bytes, callbacks = GOOD, { key = 0, flags = 0 } = {}) {
  t.bpf('MAP_UPDATE_ELEM', fields(32, [[24, flags]]), { in: { 8: u32(key).toString('hex'), 16: bytes.toString('hex') }, fd: { 0: slot }, infd: callbacks.map(([member, fd]) => [16, place(member), fd]) });
}
const look = (slot, key = 0) => t.bpf('MAP_LOOKUP_ELEM', fields(32, []), { in: { 8: u32(key).toString('hex') }, out: { 16: SIZE }, fd: { 0: slot }, ignore: { 16: IDS } });
const remove = (slot) => t.remove(slot, u32(0));
const link = (slot, save, attach = STRUCT_OPS_ATTACH, set = []) => t.bpf('LINK_CREATE', fields(64, [[8, attach], ...set]), { fd: { 0: slot }, ...(save === undefined ? {} : { save }) });
const change = (slot, map, { flags = 0, old, bare = 0 } = {}) => t.bpf('LINK_UPDATE', fields(16, [[8, flags], [12, bare]]), { fd: { 0: slot, 4: map, ...(old === undefined ? {} : { 12: old }) } });
const detach = (slot) => t.bpf('LINK_DETACH', fields(4, []), { fd: { 0: slot } });
const linkInfo = (slot, room = 0) => t.bpf('OBJ_GET_INFO_BY_FD', fields(16, [[4, 64]]), {
  inout: { 8: fields(64, [[24, room]]).toString('hex') }, ...(room > 0 ? { outptr: [[8, 16, room]] } : {}), fd: { 0: slot }, ignore: { 8: [[4, 8], ...(room > 0 ? [[16, 8]] : []), ...(room < 0 ? [[16, 4]] : [])] },
});

t.case('the rules of a value', 'struct-ops');
programs();
for (const flags of [LINK, 0]) {
  create(1, flags);
  look(1); look(1, 1); t.nextKey(1, undefined, 4); t.nextKey(1, u32(0), 4); remove(1);
  update(1, value('rules'), GOOD, { key: 1 }); update(1, value('rules'), GOOD, { flags: 1 }); update(1, value('rules'), GOOD, { flags: 2 });
  for (const at of [0, 4, 8, 60, place(M.flags) + 20, SIZE - 4]) update(1, value('rules', [[at, 1]]));
  for (const bad of ['', 'a b', 'sixteen_letters_', 'dash-ed', '\xff']) update(1, value(bad));
  for (const bits of [0x20, 0x80000000, 0x21]) update(1, value('rules', [[place(M.flags), bits]]));
  for (const member of [M.owner, M.list, M.key]) update(1, value('rules', [[place(member), 1]]));
  update(1, value('rules'), [...GOOD, [M.get_info, 10]]); update(1, value('rules'), [[M.ssthresh, 11], [M.cong_avoid, 11], [M.undo_cwnd, 12]]);
  update(1, value('rules', [[place(M.init), 999]])); update(1, value('rules'), [...GOOD, [M.init, 1]]); update(1, value('rules', [[place(M.ssthresh) + 4, 1]]));
  for (const left of [0, 1, 2]) update(1, value('rules'), GOOD.filter((_, i) => i !== left));
  update(1, value('rules'), []);
  look(1);
  t.op({ op: 'close', slot: 1 });
}

t.case('registered by a link', 'struct-ops');
programs();
create(1, LINK); link(1); link(10);
update(1, value('by_link', [[place(M.flags), 3]])); look(1); update(1, value('by_link')); remove(1);
link(1, 2, STRUCT_OPS_ATTACH, [[12, 1]]); link(1, 3); linkInfo(3, -1); look(1); link(1, 4);
create(5, LINK); update(5, value('by_link')); link(5);
create(6, 0); update(6, value('by_link')); look(6);
t.op({ op: 'close', slot: 2 }); link(5); t.op({ op: 'close', slot: 3 }); link(1, 7); link(5);
t.op({ op: 'close', slot: 1 }); link(5); t.op({ op: 'close', slot: 7 }); link(5, 8);

t.case('a link that changes and ends', 'struct-ops');
programs();
create(1, LINK); update(1, value('changing')); create(2, LINK); create(3, LINK); update(3, value('another')); create(4, 0); link(1, 5);
change(5, 2); update(2, value('changing')); change(5, 4); change(5, 10); change(5, 3); change(5, 2, { bare: 1 }); change(5, 2, { flags: 1 }); change(5, 2, { flags: 4, old: 2 }); change(5, 2, { flags: 4, old: 10 });
change(5, 2, { flags: 4, old: 1 }); linkInfo(5, -1); look(1); look(2); change(5, 1, { flags: 4, old: 1 }); change(5, 1); link(2); link(3, 6);
detach(5); detach(5); change(5, 1); linkInfo(5, -1); link(2, 7); detach(6); link(3, 8); t.bpf('LINK_DETACH', fields(4, []), { fd: { 0: 10 } }); t.bpf('ITER_CREATE', fields(8, []), { fd: { 0: 7 } });

t.case('registered by its value', 'struct-ops');
programs();
create(1, 0); update(1, value('by_value')); look(1); link(1); update(1, value('by_value'));
create(2, 0); update(2, value('by_value')); update(2, value('reno')); update(2, value('cubic')); update(2, value('other')); remove(1); remove(1); look(1); update(1, value('by_value')); remove(2);
create(3, 0); update(3, value('by_value')); remove(3);

t.case('subsystems with rules of their own', 'struct-ops');
for (const [name, size] of [['bpf_dummy_ops', 128]]) {
  for (const flags of [0, LINK]) {
    create(1, flags, { type: kernelTypeID(`bpf_struct_ops_${name}`, 4), size });
    t.bpf('MAP_UPDATE_ELEM', fields(32, []), { in: { 8: u32(0).toString('hex'), 16: '00'.repeat(size) }, fd: { 0: 1 } });
    link(1);
  }
}

t.case('links of iterators', 'struct-ops');
const iterator = (target, save, flags = 0) => t.load({ type: PROG.TRACING, insns: nothing, flags, set: [[68, ITER], [108, kernelTypeID(`bpf_iter_${target}`)]], save });
for (const target of ['bpf_map', 'task', 'bpf_map_elem', 'bpf_prog', 'cgroup', 'bpf_sk_storage_map', 'sockmap', 'netlink', 'ksym', 'task_file']) {
  if (kernelTypeID(`bpf_iter_${target}`) === 0) continue;
  iterator(target, 1);
  link(1, 2, ITER); linkInfo(2); for (const room of [64, target.length + 1, 3]) linkInfo(2, room); detach(2); change(2, 1);
  link(1, undefined, ITER, [[12, 1]]); link(1, undefined, ITER, [[4, 1]]); link(1, undefined, ITER, [[24, 16]]);
  link(1, undefined, 24);
}
iterator('bpf_map', 1);
for (const size of [1, 16, 20, 64]) t.bpf('LINK_CREATE', fields(64, [[8, ITER], [24, size]]), { fd: { 0: 1 }, in: { 16: '00'.repeat(size) } });
t.bpf('LINK_CREATE', fields(64, [[8, ITER], [24, 20]]), { fd: { 0: 1 }, in: { 16: '00'.repeat(16) + '01000000' } });
t.bpf('LINK_CREATE', fields(64, [[8, ITER], [24, 5000]]), { fd: { 0: 1 }, in: { 16: '00'.repeat(5000) } });

t.case('links to several functions', 'struct-ops');
const KPROBE_MULTI = 42, SESSION = 56;
for (const [save, type] of [[1, KPROBE_MULTI], [2, SESSION], [3, 0]]) t.load({ type: PROG.KPROBE, insns: nothing, set: [[68, type]], save });
function multi(slot, names, { attach = KPROBE_MULTI, flags = 0, bits = 0, count = names.length, cookies, addrs, save } = {}) {
  const set = [[8, attach], [12, flags], [16, bits], [20, count]];
  const texts = names.map((name, i) => [24, 8 * i, Buffer.from(`${name}\0`).toString('hex')]);
  t.bpf('LINK_CREATE', fields(64, set), { fd: { 0: slot }, in: { ...(names.length > 0 ? { 24: '00'.repeat(8 * names.length) } : {}), ...(cookies ? { 40: cookies } : {}), ...(addrs ? { 32: addrs } : {}) }, ...(names.length > 0 ? { inptr: texts } : {}), ...(save === undefined ? {} : { save }) });
}
multi(1, ['vfs_read'], { save: 5 }); multi(1, ['vfs_read', 'vfs_write'], { save: 6, bits: 1, cookies: '0700000000000000' + '0900000000000000' });
for (const names of [['no_such_function'], ['vfs_read', 'no_such_function'], ['vfs_read', 'vfs_read'], [''], ['x'.repeat(511)], ['x'.repeat(512)], ['x'.repeat(600)]]) multi(1, names);
multi(1, ['vfs_read'], { flags: 1 }); multi(1, ['vfs_read'], { bits: 2 }); multi(1, ['vfs_read'], { count: 0 }); multi(1, ['vfs_read'], { count: (1 << 20) + 1 }); multi(1, [], { count: 1 });
multi(1, ['vfs_read'], { addrs: '00'.repeat(8) }); multi(1, ['vfs_read'], { attach: SESSION }); multi(2, ['vfs_read'], { attach: SESSION, save: 7 }); multi(2, ['vfs_read']); multi(3, ['vfs_read']); multi(3, ['vfs_read'], { attach: SESSION }); multi(2, ['vfs_read'], { attach: SESSION, bits: 1 });
for (const slot of [5, 6, 7]) {
  t.bpf('OBJ_GET_INFO_BY_FD', fields(16, [[4, 64]]), { inout: { 8: '00'.repeat(64) }, fd: { 0: slot }, ignore: { 8: [[4, 8]] } });
  t.bpf('OBJ_GET_INFO_BY_FD', fields(16, [[4, 64]]), { inout: { 8: fields(64, [[24, 1]]).toString('hex') }, fd: { 0: slot }, ignore: { 8: [[4, 8]] } });
  detachAndChange(slot);
}
function detachAndChange(slot) { detach(slot); change(slot, 1); }
process.stdout.write(t.text());
