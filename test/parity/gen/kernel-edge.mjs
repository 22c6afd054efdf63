#!/usr/bin/env node
// Writes a transcript of edge cases of every bpf(2) command, without answers, to standard output: sizes and tails, field rules of
// every map type, element operations on every map type, program loads, logs, info, ids, capabilities. record.mjs fills in answers.
const COMMANDS = ['MAP_CREATE', 'MAP_LOOKUP_ELEM', 'MAP_UPDATE_ELEM', 'MAP_DELETE_ELEM', 'MAP_GET_NEXT_KEY', 'PROG_LOAD', 'OBJ_PIN', 'OBJ_GET',
  'PROG_ATTACH', 'PROG_DETACH', 'PROG_TEST_RUN', 'PROG_GET_NEXT_ID', 'MAP_GET_NEXT_ID', 'PROG_GET_FD_BY_ID', 'MAP_GET_FD_BY_ID', 'OBJ_GET_INFO_BY_FD',
  'PROG_QUERY', 'RAW_TRACEPOINT_OPEN', 'BTF_LOAD', 'BTF_GET_FD_BY_ID', 'TASK_FD_QUERY', 'MAP_LOOKUP_AND_DELETE_ELEM', 'MAP_FREEZE', 'BTF_GET_NEXT_ID',
  'MAP_LOOKUP_BATCH', 'MAP_LOOKUP_AND_DELETE_BATCH', 'MAP_UPDATE_BATCH', 'MAP_DELETE_BATCH', 'LINK_CREATE', 'LINK_UPDATE', 'LINK_GET_FD_BY_ID',
  'LINK_GET_NEXT_ID', 'ENABLE_STATS', 'ITER_CREATE', 'LINK_DETACH', 'PROG_BIND_MAP', 'TOKEN_CREATE', 'PROG_STREAM_READ_BY_FD', 'PROG_ASSOC_STRUCT_OPS'];
const ENDS = [92, 32, 32, 16, 24, 168, 20, 20, 32, 32, 76, 8, 8, 4, 12, 16, 64, 24, 40, 16, 48, 32, 4, 8, 56, 56, 56, 56, 64, 16, 4, 8, 4, 8, 4, 12, 8, 20, 12];
const lines = [];
const out = (o) => lines.push(JSON.stringify(o));
const start = (name) => out({ case: name, suite: 'kernel-edge', mode: 'priv' });

/** Attribute bytes: `fields` maps an offset to [size, value]. */
function attr(fields, size = 168) {
  const b = Buffer.alloc(Math.max(size, 168));
  for (const [offset, [bytes, value]] of Object.entries(fields)) {
    if (bytes === 8) b.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), +offset);
    else if (bytes === 4) b.writeUInt32LE(value >>> 0, +offset);
    else Buffer.from(value, 'latin1').copy(b, +offset);
  }
  return b.subarray(0, size).toString('hex');
}
const call = (cmd, fields, more = {}, size = 168) => out({ op: 'bpf', cmd, attr: attr(fields, size), ...more });
const u32 = (...v) => { const b = Buffer.alloc(4 * v.length); v.forEach((x, i) => b.writeUInt32LE(x >>> 0, 4 * i)); return b.toString('hex'); };
const zeros = (n) => '00'.repeat(n);

// ---- sizes, tails,
start('sizes');
for (let cmd = 0; cmd < COMMANDS.length; cmd++) {
  const name = COMMANDS[cmd];
  if (name === 'ENABLE_STATS' || name === 'TOKEN_CREATE') continue;
  const small = name === 'PROG_TEST_RUN' ? [16, 92, 168, 176, 4096, 4097] : [1, 4, 16, 92, 168, 176, 4096, 4097];
  for (const size of small) call(name, {}, {}, size);
  const tail = Buffer.alloc(176); tail[170] = 1;
  out({ op: 'bpf', cmd: name, attr: tail.toString('hex') });
  if (ENDS[cmd] < 168) call(name, { [ENDS[cmd]]: [1, '\x01'] });
  call(name, { 164: [4, 1] });
}

// ---- MAP_CREATE: every type with variants around a working set
const VALID = {
  1: [4, 8, 4, 0], 2: [4, 8, 4, 0], 3: [4, 4, 4, 0], 4: [4, 4, 4, 0], 5: [4, 8, 4, 0], 6: [4, 8, 4, 0], 7: [4, 16, 4, 0], 8: [4, 4, 4, 0], 9: [4, 8, 4, 0],
  10: [4, 8, 4, 0], 11: [8, 8, 4, 1], 12: [4, 4, 4, 0], 13: [4, 4, 4, 0], 14: [4, 4, 4, 0], 15: [4, 4, 4, 0], 16: [4, 4, 4, 0], 17: [4, 4, 4, 0],
  18: [4, 4, 4, 0], 19: [8, 8, 0, 0], 20: [4, 8, 4, 0], 21: [8, 8, 0, 0], 22: [0, 8, 4, 0], 23: [0, 8, 4, 0], 24: [4, 8, 0, 1], 25: [4, 4, 4, 0],
  26: [4, 128, 1, 0], 27: [0, 0, 4096, 0], 28: [4, 8, 0, 1], 29: [4, 8, 0, 1], 30: [0, 8, 4, 0], 31: [0, 0, 4096, 0], 32: [4, 8, 0, 1],
  33: [0, 0, 4, 0x400], 34: [4, 16, 4, 0], 35: [4, 8, 4, 1],
};
const create = (type, [key, value, entries, flags], more = {}, extra = {}) =>
  call('MAP_CREATE', { 0: [4, type], 4: [4, key], 8: [4, value], 12: [4, entries], 16: [4, flags], ...more }, extra);
for (let type = 0; type < 37; type++) {
  start(`create type ${type}`);
  const inner = type === 12 || type === 13;
  if (inner) create(2, [4, 8, 4, 0], {}, { save: 0 });
  const fd = inner ? { fd: { 20: 0 } } : {};
  const base = VALID[type] ?? [4, 4, 1, 0];
  const make = (change, more = {}) => create(type, base.map((v, i) => change[i] ?? v), more, fd);
  make([]);
  for (const key of [0, 1, 3, 4, 5, 8, 12, 16, 260, 261, 512, 513, 65535, 65536, 4194303, 0xffffffff]) make([key]);
  for (const value of [0, 1, 3, 4, 7, 8, 9, 12, 16, 24, 32, 1016, 1024, 32760, 32768, 32769, 65400, 65407, 65408, 65535, 4194200, 4194304, 0x7fffffff, 0x80000000, 0xffffffff]) make([undefined, value]);
  for (const entries of [0, 1, 2, 3, 4096, 8192, 12288, 5000]) make([undefined, undefined, entries]);
  for (let bit = 0; bit < 21; bit++) make([undefined, undefined, undefined, base[3] ^ (1 << bit)]);
  make([undefined, undefined, undefined, base[3] | 0x18]);
  make([undefined, undefined, undefined, base[3] | 0x180]);
  make([undefined, undefined, undefined, base[3] | 0x80000000]);
  make([], { 28: [16, 'good_name.1'] });
  make([], { 28: [16, 'bad name'] });
  make([], { 28: [16, '0123456789abcde'] });
  make([], { 28: [16, '0123456789abcdef'] });
  make([], { 28: [16, 'bad\xffname'] });
  make([], { 28: [16, 'bad\xd7name'] });
  make([undefined, undefined, undefined, base[3] | 4], { 24: [4, 1] });
  make([undefined, undefined, undefined, base[3] | 4], { 24: [4, 0xffffffff] });
  make([], { 24: [4, 7] });
  make([], { 44: [4, 1] });
  make([], { 48: [4, 999] });
  make([], { 52: [4, 1] });
  make([], { 56: [4, 1] });
  make([], { 52: [4, 1], 56: [4, 1], 48: [4, 999] });
  make([], { 60: [4, 1] });
  make([], { 60: [4, 1], 56: [4, 1] });
  make([], { 64: [8, 1] });
  make([], { 64: [8, 16] });
  make([], { 64: [8, 4096] });
  make([], { 64: [8, 0x100000000] });
  make([], { 76: [4, 5] });
  make([], { 72: [4, 5] });
  make([], { 88: [4, 32] });
  make([], { 80: [8, 1], 88: [4, 32] });
  make([], { 80: [8, 1], 88: [4, 16] });
  if (inner) for (const slot of [-1]) create(type, base, {}, { fd: { 20: slot } });
  for (const caps of ['0', '0000008000000000', '0000000000001000', '0000008000001000', '0000000000200000']) {
    out({ op: 'caps', effective: caps.padStart(16, '0') });
    make([]);
  }
}

start('exclusive');
create(2, [4, 8, 1, 0], { 88: [4, 32] }, { in: { 80: 'ab'.repeat(32) }, save: 0 });
create(12, [4, 4, 4, 0], {}, { fd: { 20: 0 } });
create(2, [4, 8, 1, 0], { 88: [4, 31] }, { in: { 80: 'ab'.repeat(32) } });
create(1, [4, 8, 1, 0], { 88: [4, 32] }, { in: { 80: 'ab'.repeat(32) } });
start('inner');
create(2, [4, 8, 4, 0], {}, { save: 0 });
create(12, [4, 4, 4, 0], {}, { fd: { 20: 0 }, save: 1 });
create(12, [4, 4, 4, 0], {}, { fd: { 20: 1 } });
create(13, [4, 4, 4, 0], {}, { fd: { 20: 1 } });
for (const type of [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 27, 30, 31, 33, 34, 35]) {
  create(type, VALID[type], {}, { save: 2 });
  create(12, [4, 4, 4, 0], {}, { fd: { 20: 2 }, save: 3 });
  call('MAP_UPDATE_ELEM', {}, { in: { 8: u32(0), 16: u32(0) }, fd: { 0: 3 }, infd: [[16, 0, 2]] });
  out({ op: 'close', slot: 2 });
  out({ op: 'close', slot: 3 });
}

// ---- element operations on every type
const VALUE_BYTES = { 5: 16, 6: 16, 10: 16, 21: 16 };
for (const type of Object.keys(VALID).map(Number)) {
  if ([24, 28, 29, 32, 26].includes(type)) continue;
  for (const flag of [0, 8, 16]) {
    if (flag !== 0 && ![1, 2].includes(type)) continue;
    start(`elements type ${type} flag ${flag}`);
    const inner = type === 12 || type === 13;
    if (inner) create(2, [4, 8, 4, 0], {}, { save: 9 });
    const [k, v, e, f] = VALID[type];
    create(type, [k, v, e, f | flag], {}, { save: 0, ...(inner ? { fd: { 20: 9 } } : {}) });
    const bytes = VALUE_BYTES[type] ?? v;
    const fd = { fd: { 0: 0 } };
    const keyHex = k === 0 ? undefined : k === 8 && type === 11 ? `20000000${'0a000001'}` : zeros(k);
    const withKey = (hex = keyHex) => (hex === undefined ? {} : { 8: hex });
    const lookup = (flags = 0n) => call('MAP_LOOKUP_ELEM', { 24: [8, flags] }, { ...fd, in: withKey(), out: { 16: Math.max(bytes, 8) } });
    const update = (flags, value = '01'.repeat(Math.max(bytes, 8))) => call('MAP_UPDATE_ELEM', { 24: [8, flags] }, { ...fd, in: { ...withKey(), 16: value } });
    lookup();
    for (const flags of [0n, 1n, 2n, 3n, 4n, 5n, 8n, 16n, 24n, 1n << 32n, (1n << 32n) | 8n, (5n << 32n) | 8n, 32n, 1n << 63n]) update(flags);
    for (const flags of [0n, 1n, 4n, 8n, 16n, (1n << 32n) | 8n, (9n << 32n) | 8n, 1n << 32n]) lookup(flags);
    if (k > 0) {
      // a key beyond an array's end
      call('MAP_UPDATE_ELEM', {}, { ...fd, in: { 8: 'ff'.repeat(k), 16: '01'.repeat(Math.max(bytes, 8)) } });
      call('MAP_LOOKUP_ELEM', {}, { ...fd, in: { 8: 'ff'.repeat(k) }, out: { 16: Math.max(bytes, 8) } });
      call('MAP_DELETE_ELEM', {}, { ...fd, in: { 8: 'ff'.repeat(k) } });
      call('MAP_GET_NEXT_KEY', {}, { ...fd, in: { 8: 'ff'.repeat(k) }, out: { 16: k } });
    }
    call('MAP_GET_NEXT_KEY', {}, { ...fd, out: { 16: Math.max(k, 4) } });
    call('MAP_GET_NEXT_KEY', {}, { ...fd, in: withKey(), out: { 16: Math.max(k, 4) } });
    call('MAP_GET_NEXT_KEY', { 16: [8, 1] }, { ...fd });
    call('MAP_LOOKUP_ELEM', { 8: [8, 1] }, { ...fd, out: { 16: 64 } });
    call('MAP_LOOKUP_ELEM', { 16: [8, 1] }, { ...fd, in: withKey() });
    call('MAP_UPDATE_ELEM', { 8: [8, 1], 16: [8, 1] }, fd);
    call('MAP_UPDATE_ELEM', { 16: [8, 1] }, { ...fd, in: withKey() });
    call('MAP_DELETE_ELEM', { 8: [8, 1] }, fd);
    for (const flags of [0n, 1n, 4n, 8n]) {
      call('MAP_LOOKUP_AND_DELETE_ELEM', { 24: [8, flags] }, { ...fd, in: withKey(), out: { 16: Math.max(bytes, 8) } });
    }
    update(0n);
    call('MAP_DELETE_ELEM', {}, { ...fd, in: withKey() });
    call('MAP_DELETE_ELEM', {}, { ...fd, in: withKey() });
    update(0n);
    const batchFD = { fd: { 36: 0 } };
    const keys = k === 0 ? {} : { 16: (keyHex + zeros(k)).repeat(8) };
    for (const [elem, flags, count] of [[0n, 0n, 0], [0n, 0n, 1], [0n, 0n, 8], [4n, 0n, 1], [1n, 0n, 1], [8n, 0n, 1], [0n, 1n, 1]]) {
      const fields = { 32: [4, count], 40: [8, elem], 48: [8, flags] };
      call('MAP_LOOKUP_BATCH', fields, { ...batchFD, out: { 8: 16, 16: 256, 24: 512 } });
      call('MAP_UPDATE_BATCH', fields, { ...batchFD, in: { ...keys, 24: '02'.repeat(1024) } });
      call('MAP_LOOKUP_AND_DELETE_BATCH', fields, { ...batchFD, out: { 8: 16, 16: 256, 24: 512 } });
      call('MAP_DELETE_BATCH', fields, { ...batchFD, in: keys });
    }
    call('MAP_LOOKUP_BATCH', { 32: [4, 4], 0: [8, 1] }, { ...batchFD, out: { 8: 16, 16: 256, 24: 512 } });
    call('MAP_LOOKUP_BATCH', { 32: [4, 4], 8: [8, 1] }, { ...batchFD, out: { 16: 256, 24: 512 } });
    // mappings
    for (const [size, prot] of [[4096, 1], [4096, 3], [8192, 1], [12288, 1], [65536, 1], [16384, 1]]) { out({ op: 'mmap', slot: 0, size, prot }); out({ op: 'munmap' }); }
    // freezing
    out({ op: 'mmap', slot: 0, size: 4096, prot: 3 });
    call('MAP_FREEZE', {}, fd);
    out({ op: 'munmap' });
    call('MAP_FREEZE', {}, fd);
    call('MAP_FREEZE', {}, fd);
    update(0n);
    lookup();
    call('MAP_DELETE_ELEM', {}, { ...fd, in: withKey() });
    call('MAP_LOOKUP_AND_DELETE_ELEM', {}, { ...fd, in: withKey(), out: { 16: Math.max(bytes, 8) } });
    call('MAP_UPDATE_BATCH', { 32: [4, 1] }, { ...batchFD, in: { ...keys, 24: '02'.repeat(256) } });
    out({ op: 'mmap', slot: 0, size: 4096, prot: 3 });
    out({ op: 'mmap', slot: 0, size: 4096, prot: 1 });
    out({ op: 'munmap' });
    // information
    for (const length of [0, 4, 40, 88, 104, 112, 4096, 4097]) call('OBJ_GET_INFO_BY_FD', { 4: [4, length] }, { fd: { 0: 0 }, out: { 8: 4104 } });
    for (const [pointer, size] of [[1, 32], [0, 32], [1, 16], [1, 0]]) {
      const info = Buffer.alloc(104); info.writeBigUInt64LE(BigInt(pointer), 88); info.writeUInt32LE(size, 96);
      call('OBJ_GET_INFO_BY_FD', { 4: [4, 104] }, { fd: { 0: 0 }, in: { 8: info.toString('hex') } });
    }
    const junk = Buffer.alloc(120); junk[110] = 1;
    call('OBJ_GET_INFO_BY_FD', { 4: [4, 120] }, { fd: { 0: 0 }, in: { 8: junk.toString('hex') } });
    call('OBJ_GET_INFO_BY_FD', { 4: [4, 104], 8: [8, 1] }, { fd: { 0: 0 } });
  }
}

// ---- order of keys with a zero seed, LRU eviction, tries, queues, bloom
start('hash order');
for (const [k, n] of [[4, 40], [8, 20], [5, 20], [16, 20], [13, 20]]) {
  create(1, [k, 4, 64, 0x40], {}, { save: 0 });
  for (let i = 0; i < n; i++) call('MAP_UPDATE_ELEM', {}, { fd: { 0: 0 }, in: { 8: (u32(i * 7919) + zeros(k)).slice(0, k * 2), 16: u32(i) } });
  call('MAP_LOOKUP_BATCH', { 32: [4, 64] }, { fd: { 36: 0 }, out: { 8: 4, 16: 64 * k, 24: 256 } });
  call('MAP_LOOKUP_BATCH', { 32: [4, 7] }, { fd: { 36: 0 }, out: { 8: 4, 16: 64 * k, 24: 256 } });
  call('MAP_LOOKUP_AND_DELETE_BATCH', { 32: [4, 9] }, { fd: { 36: 0 }, out: { 8: 4, 16: 64 * k, 24: 256 } });
  call('MAP_GET_NEXT_KEY', {}, { fd: { 0: 0 }, out: { 16: k } });
  out({ op: 'close', slot: 0 });
}
for (const [type, flags] of [[9, 0], [9, 2], [10, 0], [10, 2]]) {
  start(`lru ${type} ${flags}`);
  create(type, [4, 4, 8, flags | 0x40], {}, { save: 0 });
  for (let i = 0; i < 30; i++) {
    call('MAP_UPDATE_ELEM', {}, { fd: { 0: 0 }, in: { 8: u32(i), 16: u32(i, 0, i, 0) } });
    if (i % 3 === 0) call('MAP_LOOKUP_ELEM', {}, { fd: { 0: 0 }, in: { 8: u32(i >> 1) }, out: { 16: 16 } });
  }
  for (let i = 0; i < 30; i++) call('MAP_LOOKUP_ELEM', {}, { fd: { 0: 0 }, in: { 8: u32(i) }, out: { 16: 16 } });
}
start('trie');
create(11, [8, 4, 16, 1], {}, { save: 0 });
const PREFIXES = [[24, '0a000100'], [16, '0a000000'], [32, '0a000101'], [0, '00000000'], [8, '0b000000'], [25, '0a000180'], [16, '0a010000'], [16, '0a0100ff']];
PREFIXES.forEach(([length, address], i) => call('MAP_UPDATE_ELEM', {}, { fd: { 0: 0 }, in: { 8: u32(length) + address, 16: u32(i) } }));
for (const address of ['0a000101', '0a000181', '0a000001', '0a010203', '0c000000', '0b010101']) {
  for (const length of [32, 24, 8, 0, 33]) call('MAP_LOOKUP_ELEM', {}, { fd: { 0: 0 }, in: { 8: u32(length) + address }, out: { 16: 4 } });
}
call('MAP_LOOKUP_BATCH', { 32: [4, 16] }, { fd: { 36: 0 }, out: { 8: 8, 16: 128, 24: 64 } });
for (const [length, address] of [...PREFIXES, [7, '00000000'], [40, '00000000']]) {
  call('MAP_GET_NEXT_KEY', {}, { fd: { 0: 0 }, in: { 8: u32(length) + address }, out: { 16: 8 } });
  call('MAP_UPDATE_ELEM', { 24: [8, 1] }, { fd: { 0: 0 }, in: { 8: u32(length) + address, 16: u32(9) } });
}
for (const [length, address] of PREFIXES) call('MAP_DELETE_ELEM', {}, { fd: { 0: 0 }, in: { 8: u32(length) + address } });
for (const type of [22, 23]) {
  start(`queue ${type}`);
  create(type, [0, 4, 3, 0], {}, { save: 0 });
  for (const [value, flags] of [[1, 0], [2, 0], [3, 0], [4, 0], [5, 2], [6, 1], [7, 3]]) call('MAP_UPDATE_ELEM', { 24: [8, flags] }, { fd: { 0: 0 }, in: { 16: u32(value) } });
  call('MAP_UPDATE_ELEM', {}, { fd: { 0: 0 }, in: { 8: u32(0), 16: u32(1) } });
  call('MAP_LOOKUP_ELEM', {}, { fd: { 0: 0 }, out: { 16: 4 } });
  for (let i = 0; i < 4; i++) call('MAP_LOOKUP_AND_DELETE_ELEM', {}, { fd: { 0: 0 }, out: { 16: 4 } });
}
start('bloom');
create(30, [0, 4, 8, 0x40], {}, { save: 0 });
for (const value of [1, 2, 3]) call('MAP_UPDATE_ELEM', {}, { fd: { 0: 0 }, in: { 16: u32(value) } });
for (let value = 0; value < 40; value++) call('MAP_LOOKUP_ELEM', {}, { fd: { 0: 0 }, in: { 16: u32(value) } });

// ---- programs
const RETURN = 'b7000000000000009500000000000000';
const LONG = RETURN.repeat(2600);
const GPL = Buffer.from('GPL\0').toString('hex');
const load = (type, more = {}, extra = {}) => call('PROG_LOAD', { 0: [4, type], 4: [4, 2], ...more }, { in: { 8: RETURN, 16: GPL, ...extra.in }, ...Object.fromEntries(Object.entries(extra).filter(([name]) => name !== 'in')) });
start('program types');
for (let type = 0; type < 36; type++) load(type);
load(0xffffffff);
start('program flags');
for (let bit = 0; bit < 32; bit++) load(1, { 44: [4, (1 << bit) >>> 0] });
for (let bit = 0; bit < 9; bit++) load(31, { 44: [4, 1 << bit] });
for (let bit = 0; bit < 9; bit++) load(6, { 44: [4, 1 << bit] });
start('attach types');
for (const type of [1, 3, 6, 8, 9, 15, 18, 21, 25, 26, 28, 29, 30, 31, 32]) for (const attach of [0, 1, 2, 3, 8, 10, 14, 21, 22, 23, 24, 26, 27, 28, 34, 36, 37, 39, 40, 43, 45, 49, 54, 59, 62, 1000]) load(type, { 68: [4, attach] });
start('attach ids');
for (const type of [1, 26, 27, 28, 29, 31]) for (const attach of [0, 24, 27]) for (const id of [1, 2, 0xfffff, 0x100000, 0x7fffffff]) load(type, { 68: [4, attach], 108: [4, id] });
for (const type of [1, 26, 28]) for (const fd of [0, 1, 999]) load(type, { 108: [4, 1], 112: [4, fd] });
start('sizes of programs');
for (const count of [0, 1, 1000001, 0xffffffff]) load(1, { 4: [4, count] });
for (const count of [3, 4097]) load(1, { 4: [4, count] }, { in: { 8: LONG } });
call('PROG_LOAD', { 0: [4, 1], 4: [4, 2], 8: [8, 1] }, { in: { 16: GPL } });
call('PROG_LOAD', { 0: [4, 1], 4: [4, 2], 16: [8, 1] }, { in: { 8: RETURN } });
call('PROG_LOAD', { 0: [4, 1], 4: [4, 2] }, { in: { 8: RETURN } });
load(1, {}, { in: { 16: '00' } });
load(1, {}, { in: { 16: '41'.repeat(300) + '00' } });
for (const name of ['ok', 'with space', '0123456789abcde', '0123456789abcdef', 'slash/']) load(1, { 48: [16, name] });
load(1, { 64: [4, 1] });
load(6, { 64: [4, 1] });
load(3, { 64: [4, 999] });
load(1, { 72: [4, 999] });
load(1, { 72: [4, 999], 88: [4, 1], 76: [4, 8], 80: [8, 1] });
load(1, { 148: [4, 1] });
load(1, { 148: [4, 1], 120: [8, 1] });
load(1, { 148: [4, 5000], 120: [8, 1] });
load(1, { 156: [4, 0], 160: [4, 10], 164: [4, 5] });
load(1, { 144: [4, 5] });
load(1, { 40: [4, 12345] });
start('program logs');
for (const level of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 0x80000000]) {
  load(1, { 24: [4, level] });
  load(1, { 24: [4, level], 28: [4, 4096] }, { out: { 32: 4096 } });
  load(1, { 24: [4, level], 28: [4, 0] }, { out: { 32: 4096 } });
  load(1, { 24: [4, level], 28: [4, 4096] });
  load(1, { 24: [4, level], 28: [4, 4096], 32: [8, 1] });
  load(1, { 24: [4, level], 28: [4, 20] }, { out: { 32: 20 } });
  load(1, { 24: [4, level], 28: [4, 1] }, { out: { 32: 1 } });
}
load(1, { 24: [4, 1], 28: [4, 0x40000000] }, { out: { 32: 16 } });
load(1, { 24: [4, 1], 28: [4, 0x3fffffff] }, { out: { 32: 4096 } });
start('program capabilities');
for (const caps of ['0', '8000000000', '4000000000', '1000', '8000001000', '4000001000', 'c000000000', 'c000001000', '200000']) {
  out({ op: 'caps', effective: caps.padStart(16, '0') });
  for (let type = 1; type < 33; type++) load(type);
  load(1, { 44: [4, 1] });
  load(1, { 44: [4, 2] });
  load(1, { 4: [4, 5000] }, { in: { 8: LONG } });
}
start('program objects');
load(31, { 44: [4, 16] }, { save: 0 });
load(1, {}, { save: 1 });
create(2, [4, 8, 1, 0], {}, { save: 2 });
create(3, [4, 4, 2, 0], {}, { save: 3 });
for (const slot of [-1, 0, 1, 2]) {
  call('PROG_BIND_MAP', {}, { fd: { 0: slot, 4: 2 } });
  call('PROG_BIND_MAP', {}, { fd: { 0: 1, 4: slot } });
  call('PROG_BIND_MAP', { 8: [4, 1] }, { fd: { 0: slot, 4: 2 } });
  call('MAP_UPDATE_ELEM', {}, { fd: { 0: 3 }, in: { 8: u32(0), 16: u32(0) }, infd: [[16, 0, slot]] });
  call('MAP_UPDATE_ELEM', {}, { fd: { 0: slot }, in: { 8: u32(0), 16: u32(0, 0) } });
  for (const length of [0, 80, 228, 232, 240]) call('OBJ_GET_INFO_BY_FD', { 4: [4, length] }, { fd: { 0: slot }, out: { 8: 256 } });
  call('PROG_TEST_RUN', {}, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 40: [4, 8] }, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 40: [4, 8] }, { fd: { 0: slot }, in: { 48: zeros(8) } });
  call('PROG_TEST_RUN', { 44: [4, 8] }, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 32: [4, 1] }, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 64: [4, 1] }, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 68: [4, 1] }, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 72: [4, 1] }, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 36: [4, 1] }, { fd: { 0: slot } });
  call('PROG_TEST_RUN', { 40: [4, 65535] }, { fd: { 0: slot }, in: { 48: zeros(65535) } });
  call('PROG_TEST_RUN', { 40: [4, 65536] }, { fd: { 0: slot }, in: { 48: zeros(65536) } });
  call('PROG_TEST_RUN', { 40: [4, 8], 48: [8, 1] }, { fd: { 0: slot } });
  call('PROG_STREAM_READ_BY_FD', { 8: [4, 16], 12: [4, 1] }, { fd: { 16: slot }, out: { 0: 16 } });
  call('PROG_STREAM_READ_BY_FD', { 8: [4, 16], 12: [4, 3] }, { fd: { 16: slot }, out: { 0: 16 } });
  call('PROG_ASSOC_STRUCT_OPS', {}, { fd: { 0: 2, 4: slot } });
  call('RAW_TRACEPOINT_OPEN', {}, { fd: { 8: slot } });
  call('LINK_CREATE', {}, { fd: { 0: slot } });
  call('LINK_CREATE', { 8: [4, 44] }, { fd: { 0: slot } });
  call('LINK_UPDATE', {}, { fd: { 0: slot } });
  call('LINK_DETACH', {}, { fd: { 0: slot } });
  call('ITER_CREATE', {}, { fd: { 0: slot } });
  call('MAP_FREEZE', {}, { fd: { 0: slot } });
  call('OBJ_GET_INFO_BY_FD', { 4: [4, 64] }, { fd: { 0: slot } });
}
call('MAP_LOOKUP_ELEM', {}, { fd: { 0: 3 }, in: { 8: u32(1) }, out: { 16: 4 } });
call('MAP_DELETE_ELEM', {}, { fd: { 0: 3 }, in: { 8: u32(0) } });
call('MAP_DELETE_ELEM', {}, { fd: { 0: 3 }, in: { 8: u32(0) } });
start('raw tracepoints');
load(17, {}, { save: 0 });
for (const name of ['sched_switch', 'no_such_tracepoint', '']) call('RAW_TRACEPOINT_OPEN', {}, { fd: { 8: 0 }, in: { 0: Buffer.from(`${name}\0`).toString('hex') }, save: 1 });
call('RAW_TRACEPOINT_OPEN', { 0: [8, 1] }, { fd: { 8: 0 } });
call('RAW_TRACEPOINT_OPEN', {}, { fd: { 8: 0 }, in: { 0: Buffer.from('sched_switch\0').toString('hex') }, save: 1 });
call('LINK_DETACH', {}, { fd: { 0: 1 } });
call('LINK_UPDATE', {}, { fd: { 0: 1, 4: 0 } });
call('LINK_UPDATE', { 8: [4, 4] }, { fd: { 0: 1, 4: 0, 12: 0 } });
call('LINK_UPDATE', { 8: [4, 1] }, { fd: { 0: 1, 4: 0 } });
call('LINK_UPDATE', {}, { fd: { 0: 1, 4: 0, 12: 0 } });
call('ITER_CREATE', {}, { fd: { 0: 1 } });
call('TASK_FD_QUERY', { 0: [4, 1], 8: [4, 1] }, { fd: { 4: 1 } });
call('TASK_FD_QUERY', { 0: [4, 123456] }, { fd: { 4: 1 } });
for (const length of [0, 12, 40, 64, 72]) call('OBJ_GET_INFO_BY_FD', { 4: [4, length] }, { fd: { 0: 1 }, out: { 8: 80 } });
start('attach and query');
load(8, {}, { save: 0 });
load(9, { 68: [4, 2] }, { save: 1 });
load(3, {}, { save: 2 });
load(14, {}, { save: 3 });
load(22, {}, { save: 4 });
for (let attach = 0; attach < 63; attach++) {
  call('PROG_QUERY', { 4: [4, attach] }, { fd: { 0: -1 } });
  call('PROG_DETACH', { 8: [4, attach] }, { fd: { 0: -1 } });
  for (let slot = 0; slot < 5; slot++) call('PROG_ATTACH', { 8: [4, attach] }, { fd: { 0: -1, 4: slot } });
  for (let slot = 0; slot < 5; slot++) call('LINK_CREATE', { 8: [4, attach] }, { fd: { 0: slot, 4: -1 } });
}
call('PROG_QUERY', { 8: [4, 2] }, { fd: { 0: -1 } });
call('PROG_ATTACH', { 12: [4, 0x80] }, { fd: { 0: -1, 4: 0 } });

// ---- BTF
const BTF_HEADER = (length) => { const b = Buffer.alloc(24); b.writeUInt16LE(0xeb9f, 0); b[2] = 1; b.writeUInt32LE(24, 4); b.writeUInt32LE(0, 8); b.writeUInt32LE(length, 12); b.writeUInt32LE(length, 16); b.writeUInt32LE(5, 20); return b; };
const INT = Buffer.alloc(16); INT.writeUInt32LE(1, 0); INT.writeUInt32LE(1 << 24, 4); INT.writeUInt32LE(4, 8); INT.writeUInt32LE((1 << 24) | 32, 12);
const BTF = Buffer.concat([BTF_HEADER(16), INT, Buffer.from('\0int\0')]).toString('hex');
const size = BTF.length / 2;
start('btf');
call('BTF_LOAD', { 16: [4, size] }, { in: { 0: BTF }, save: 0 });
call('BTF_LOAD', { 16: [4, size - 1] }, { in: { 0: BTF } });
call('BTF_LOAD', { 16: [4, 0] }, { in: { 0: BTF } });
call('BTF_LOAD', { 16: [4, 0x1000001] }, { in: { 0: BTF } });
call('BTF_LOAD', { 16: [4, size], 0: [8, 1] });
call('BTF_LOAD', { 16: [4, size], 32: [4, 1] }, { in: { 0: BTF } });
call('BTF_LOAD', { 16: [4, size], 32: [4, 0x10000], 36: [4, 1] }, { in: { 0: BTF } });
for (const level of [0, 1, 2, 4, 8, 16]) {
  for (const [length, buffer] of [[0, 0], [4096, 4096], [8, 8], [1, 1], [0, 16], [16, 0]]) {
    call('BTF_LOAD', { 16: [4, size], 20: [4, length], 24: [4, level] }, { in: { 0: BTF }, ...(buffer > 0 ? { out: { 8: buffer } } : {}) });
  }
  call('BTF_LOAD', { 16: [4, size], 20: [4, 64], 24: [4, level], 8: [8, 1] }, { in: { 0: BTF } });
}
for (const length of [0, 16, 32, 40]) call('OBJ_GET_INFO_BY_FD', { 4: [4, length] }, { fd: { 0: 0 }, out: { 8: 48 } });
create(2, [4, 4, 1, 0], { 52: [4, 1], 56: [4, 1] }, { fd: { 48: 0 } });
create(2, [4, 8, 1, 0], { 52: [4, 1], 56: [4, 1] }, { fd: { 48: 0 } });
create(2, [4, 4, 1, 0], { 56: [4, 1] }, { fd: { 48: 0 } });
create(1, [4, 4, 1, 0], { 56: [4, 1] }, { fd: { 48: 0 } });
create(1, [4, 4, 1, 0], { 52: [4, 1], 56: [4, 2] }, { fd: { 48: 0 } });
create(4, [4, 4, 1, 0], { 52: [4, 1], 56: [4, 1] }, { fd: { 48: 0 } });
for (const type of Object.keys(VALID).map(Number)) create(type, VALID[type], { 52: [4, 1], 56: [4, 1] }, { fd: { 48: 0 } });
load(1, {}, { fd: { 72: 0 } });
out({ op: 'caps', effective: '0000000000000000' });
call('BTF_LOAD', { 16: [4, size] }, { in: { 0: BTF } });

// ---- ids and capabilities
start('ids');
create(2, [4, 4, 1, 0], {}, { save: 0 });
for (const name of ['PROG', 'MAP', 'BTF', 'LINK']) {
  for (const id of [0x7fffffff, 0xffffffff, 0x7ffffffe]) call(`${name}_GET_NEXT_ID`, { 0: [4, id] });
  call(`${name}_GET_FD_BY_ID`, { 0: [4, 0] });
  call(`${name}_GET_FD_BY_ID`, { 0: [4, 0x7ffffff0] });
}
call('MAP_GET_FD_BY_ID', { 8: [4, 1] });
call('MAP_GET_FD_BY_ID', { 8: [4, 24] });
call('BTF_GET_FD_BY_ID', { 8: [4, 1] });
call('BTF_GET_FD_BY_ID', { 8: [4, 0x10000], 12: [4, 3] });
call('ENABLE_STATS', { 0: [4, 1] });
call('TOKEN_CREATE', { 4: [4, 0xffffffff] });
call('TOKEN_CREATE', { 0: [4, 1] });
for (const caps of ['0', '8000000000', '200000', '1000']) {
  out({ op: 'caps', effective: caps.padStart(16, '0') });
  for (const name of ['PROG_GET_NEXT_ID', 'MAP_GET_NEXT_ID', 'BTF_GET_NEXT_ID', 'LINK_GET_NEXT_ID', 'PROG_GET_FD_BY_ID', 'MAP_GET_FD_BY_ID', 'BTF_GET_FD_BY_ID', 'LINK_GET_FD_BY_ID', 'TASK_FD_QUERY', 'PROG_QUERY', 'ENABLE_STATS', 'BTF_LOAD', 'OBJ_GET_INFO_BY_FD']) {
    call(name, name === 'ENABLE_STATS' ? { 0: [4, 1] } : { 0: [4, 0x7ffffff0] });
  }
}
process.stdout.write(`${lines.join('\n')}\n`);
