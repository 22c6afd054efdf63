#!/usr/bin/env node
// Random small programs of a second kind: subprograms, packet and hash map access, spilled pointers, unprivileged loads,
// as a transcript without answers: random2.mjs [COUNT [SEED]] > IN.jsonl; then ../record.mjs IN.jsonl ../data/random2.jsonl.gz
import { ATOMIC, F, I, MAP, PROG, Transcript, prog, u32 } from './build.mjs';

const count = Number(process.argv[2] ?? 240);
let state = Number(process.argv[3] ?? 7) >>> 0;
const random = () => { state = (state + 0x6d2b79f5) >>> 0; let x = Math.imul(state ^ (state >>> 15), 1 | state); x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x; return (x ^ (x >>> 14)) >>> 0; };
const below = (n) => random() % n;
const pick = (list) => list[below(list.length)];
const small = () => pick([0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, -1, -8, 100, 255]);
const jumps = ['eq', 'gt', 'ge', 'set', 'ne', 'sgt', 'sge', 'lt', 'le', 'slt', 'sle'];
const ops = ['add', 'sub', 'or', 'and', 'xor', 'mul', 'lsh', 'rsh', 'arsh', 'mod', 'div'];
// r6 ctx, r7 array value, r8 and r9 scalars, r1 to r5 scratch; the stack below -64 is for spills
const S = [8, 9, 0];
const scalar = () => { const op = pick(ops), d = pick(S), shift = ['lsh', 'rsh', 'arsh'].includes(op), divides = ['mod', 'div'].includes(op); return pick([() => I.alu(op, d, shift ? below(64) : small() || (divides ? 3 : 0)), () => I.alu32(op, d, shift ? below(32) : small() || (divides ? 5 : 0)), () => I.alur(pick(['add', 'sub', 'and', 'or', 'xor', 'mov']), d, pick(S)), () => I.alu32r(pick(['add', 'sub', 'mov']), d, pick(S))])(); };
const get = (r) => [I.ldx('dw', r, 7, 8 * below(4))];
const spill = () => { const off = -72 - 8 * below(4); return pick([() => [I.stx('dw', 10, 7, off), I.mov(7, 0), I.ldx('dw', 7, 10, off)], () => [I.stx('dw', 10, pick(S), off), I.ldx(pick(['dw', 'w', 'h', 'b']), pick(S), 10, off)], () => [I.stx('w', 10, pick(S), off), I.ldx('dw', pick(S), 10, off)], () => [I.stx('dw', 10, 6, off), I.ldx('dw', 6, 10, off)], () => [I.st('dw', 10, off, small()), I.atomic('dw', ATOMIC.add | ATOMIC.fetch, 10, 8, off)]])(); };
const helper = () => pick([() => [I.call(7), I.movr(pick([8, 9]), 0)], () => [I.call(5), I.movr(8, 0)], () => [I.call(8), I.movr(9, 0)], () => [I.call(14), I.movr(9, 0)], () => [I.call(125), I.movr(8, 0)]])();
const hashLookup = (maps) => { const check = below(5), off = pick([0, 0, 0, 8, 12]); const code = [I.stx('dw', 10, pick([8, 9]), -16), I.movr(2, 10), I.alu('add', 2, -16)]; maps.push([code.length, 1]); code.push(I.ldMap(1), I.call(1)); if (check) code.push(I.j('eq', 0, 0, 1)); code.push(I.ldx(pick(['w', 'dw', 'b']), pick([8, 9]), 0, off)); return code; };
const update = (maps) => { const code = [I.stx('dw', 10, 8, -16), ...(below(6) ? [I.st('dw', 10, -32, 5)] : []), I.stx('dw', 10, 9, -24), I.movr(2, 10), I.alu('add', 2, -16), I.movr(3, 10), I.alu('add', 3, -32), I.mov(4, pick([0, 0, 1, 2]))]; maps.push([code.length, 1]); code.push(I.ldMap(1), I.call(2)); return code; };
const packet = (type) => { const [data, end] = type === PROG.XDP ? [0, 4] : [76, 80], n = pick([1, 2, 4, 8, 14, 20, 34]), at = pick([0, n - 1, n - 2, n, 2]); return [I.ldx('w', 2, 6, data), I.ldx('w', 3, 6, end), I.movr(4, 2), I.alu('add', 4, n), pick([() => I.jr('gt', 4, 3, 1), () => I.jr('ge', 4, 3, 1), () => I.jr('le', 3, 4, 1), () => I.jr('lt', 3, 4, 1)])(), I.ldx(pick(['b', 'b', 'h', 'w']), pick([8, 9]), 2, Math.max(at, 0))]; };
const variablePacket = (type) => { const [data, end] = type === PROG.XDP ? [0, 4] : [76, 80]; return [I.ldx('w', 2, 6, data), I.ldx('w', 3, 6, end), I.movr(5, 8), I.alu('and', 5, pick([7, 15, 63, 0xfff])), I.alur('add', 2, 5), I.movr(4, 2), I.alu('add', 4, pick([1, 4, 8])), I.jr('gt', 4, 3, 1), I.ldx('b', 9, 2, pick([0, 0, 3, 7]))]; };
const access = () => { const r = pick(S), limit = pick([7, 31, 56, 63, 64, 100]); return [pick([() => I.j('gt', r, limit, 4), () => I.j32('gt', r, limit, 4), () => I.j('sgt', r, limit, 4), () => I.jr('gt', r, pick(S), 4), () => I.j('ge', r, limit, 4)])(), I.movr(1, 7), I.alur(pick(['add', 'add', 'sub']), 1, r), I.alu('add', 1, pick([0, 0, 1, -1])), I.ldx(pick(['b', 'h', 'dw']), r === 0 ? 8 : r, 1, 0)]; };
const branch = (body) => [pick([() => I.j(pick(jumps), pick(S), small(), body.length), () => I.jr(pick(jumps), pick(S), pick(S), body.length), () => I.j32(pick(jumps), pick(S), small(), body.length), () => I.j32r(pick(jumps), pick(S), pick(S), body.length)])(), ...body];
const loop = () => { const body = Array.from({ length: 1 + below(2) }, scalar); return [I.mov(5, 0), ...body, I.alu('add', 5, 1), I.j(pick(['lt', 'ne']), 5, 2 + below(12), -(body.length + 2))]; };
const length = (parts) => parts.flat(Infinity).reduce((n, b) => n + b.length / 8, 0);

const t = new Transcript();
for (let n = 0; n < count; n++) {
  const type = pick([PROG.SOCKET_FILTER, PROG.SCHED_CLS, PROG.SCHED_CLS, PROG.XDP, PROG.XDP, PROG.CGROUP_SKB]), unprivileged = type === PROG.SOCKET_FILTER && below(2);
  const functions = [], calls = [], mapRefs = [];
  const main = [I.movr(6, 1), I.st('w', 10, -4, below(2)), I.movr(2, 10), I.alu('add', 2, -4)];
  mapRefs.push([length(main), 0]);
  main.push(I.ldMap(1), I.call(1), I.j('ne', 0, 0, 2), I.mov(0, 0), I.exit(), I.movr(7, 0), ...get(8), ...get(9), I.mov(0, small()));
  for (let i = 4 + below(12); i > 0; i--) {
    const maps = [], here = length(main);
    const part = pick([() => [scalar(), scalar()], () => [scalar(), scalar(), scalar()], spill, helper, () => hashLookup(maps), () => update(maps), () => (type === PROG.SOCKET_FILTER ? [scalar()] : packet(type)), () => (type === PROG.SOCKET_FILTER ? [scalar()] : variablePacket(type)), access, () => branch([scalar(), scalar()]), () => branch(spill()), loop, () => get(pick([8, 9])),
      () => { if (functions.length === 0 || below(3) === 0) functions.push(below(3)); const f = below(functions.length); const args = functions[f] === 2 ? [I.movr(1, 10), I.alu('add', 1, -40), I.st('dw', 10, -40, 3), I.movr(2, 8)] : functions[f] === 1 ? [I.movr(1, 7), I.movr(2, 9)] : [I.movr(1, 8), I.movr(2, 9)]; calls.push([here + args.length, f]); return [...args, I.callLocal(0), ...(below(2) ? [I.movr(8, 0)] : [])]; }])();
    for (const [at, map] of maps) mapRefs.push([here + length(part.slice(0, at)), map]);
    main.push(...part);
    main.push(I.mov(0, small()));
  }
  main.push(I.movr(0, pick([8, 9])), ...(below(3) || type === PROG.CGROUP_SKB ? [I.alu('and', 0, 1)] : []), I.exit());
  let code = prog(main);
  const starts = functions.map((kind) => {
    const start = code.length / 8;
    const body = kind === 0 ? [I.movr(0, 1), I.alur('add', 0, 2), branchless(), I.exit()] : kind === 1 ? [I.ldx('dw', 0, 1, pick([0, 8, 56, 60])), I.alur('xor', 0, 2), I.exit()] : [I.ldx('dw', 3, 1, 0), I.alur('add', 3, 2), I.stx('dw', 1, 3, pick([0, 0, 8])), I.ldx('dw', 0, 1, 0), I.exit()];
    code = Buffer.concat([code, prog(body)]);
    return start;
  });
  for (const [at, f] of calls) code.writeInt32LE(starts[f] - at - 1, 8 * at + 4);
  const flags = pick([0, 0, 0, F.TEST_STATE_FREQ, F.TEST_REG_INVARIANTS]);
  t.case(`random2/${String(n).padStart(3, '0')}`, 'heldout', `type ${type}, flags ${flags}`, unprivileged ? 'unpriv' : 'priv');
  t.mapCreate({ type: MAP.ARRAY, value: 64, max: 2, name: 'array', save: 0 });
  t.mapCreate({ type: MAP.HASH, key: 8, value: 16, max: 8, name: 'hash', save: 1 });
  t.update(0, u32(0), Buffer.from(Array.from({ length: 64 }, () => (below(3) ? below(256) : 0))));
  if (unprivileged) t.op({ op: 'caps', effective: '0000013fffdfefff' });
  const load = { type, insns: code, license: 'GPL', flags, mapFDs: mapRefs };
  t.progLoad({ ...load, log: 2, logSize: 1 << 22, save: 2 });
  if (below(4) === 0) t.progLoad({ ...load, log: pick([1, 4, 5, 6]), logSize: 1 << 20 });
  if (unprivileged) t.op({ op: 'caps', effective: '000001ffffffffff' });
  // helpers that tell a time or a random number make results differ from run to run
  const stable = ![7, 5, 8, 14, 125].some((id) => code.includes(I.call(id)));
  t.runPacket(2, Buffer.from(Array.from({ length: 64 }, () => below(256))), stable ? {} : { unstable: true, ignore: { 24: [[0, 256]] } });
  if (stable) { t.lookup(0, u32(0), 64); t.lookup(0, u32(1), 64); }
}
function branchless() { return pick([I.alu('and', 0, 63), I.alu('rsh', 0, 1), I.neg(0)]); }
process.stdout.write(t.text());
