#!/usr/bin/env node
// Random small programs, the same on every run, as a transcript without answers:
//   heldout.mjs [COUNT [SEED]] > IN.jsonl; then ../record.mjs IN.jsonl ../data/heldout.jsonl.gz
// They are not from the kernel's suite, so they show whether the verifier knows the rules or only the suite.
import { ATOMIC, F, I, MAP, PROG, Transcript, prog, u32 } from './build.mjs';

const count = Number(process.argv[2] ?? 240);
let state = Number(process.argv[3] ?? 20251121) >>> 0;
const random = () => { state = (state + 0x6d2b79f5) >>> 0; let x = Math.imul(state ^ (state >>> 15), 1 | state); x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x; return (x ^ (x >>> 14)) >>> 0; };
const below = (n) => random() % n;
const pick = (list) => list[below(list.length)];
const INTERESTING = [0, 1, 2, 3, 7, 8, 15, 16, 31, 63, 64, 100, 255, 256, 4095, 0x7fff, 0xffff, 0x7fffffff, -1, -2, -8, -128, -0x80000000, 0x55555555];
const imm = () => (below(3) ? pick(INTERESTING) : random() | 0);
const SCALARS = [1, 2, 3, 4, 5, 6, 8];
const ALU_OPS = ['add', 'sub', 'mul', 'div', 'or', 'and', 'lsh', 'rsh', 'mod', 'xor', 'mov', 'arsh'];
const JUMPS = ['eq', 'gt', 'ge', 'set', 'ne', 'sgt', 'sge', 'lt', 'le', 'slt', 'sle'];

function aluInsn() {
  const op = pick(ALU_OPS), d = pick(SCALARS), s = pick(SCALARS), wide = below(2);
  const shift = ['lsh', 'rsh', 'arsh'].includes(op), divides = ['div', 'mod'].includes(op);
  switch (below(12)) {
    case 0: return pick([I.neg(d), I.neg32(d)]);
    case 1: return pick([I.be(d, 16), I.be(d, 32), I.be(d, 64), I.le(d, 16), I.le(d, 32), I.bswap(d, 16), I.bswap(d, 32), I.bswap(d, 64)]);
    case 2: return pick([I.movsx(d, s, 8), I.movsx(d, s, 16), I.movsx(d, s, 32), I.movsx32(d, s, 8), I.movsx32(d, s, 16)]);
    case 3: return pick([I.sdivr(d, s), I.smodr(d, s), I.sdiv32r(d, s), I.smod32r(d, s), I.sdiv(d, pick([-1, 1, 2, 7, -3]))]);
    case 4: case 5: case 6: return wide ? I.alur(op, d, s) : I.alu32r(op, d, s);
    default: { const value = shift ? below(wide ? 64 : 32) : divides ? imm() || 3 : imm(); return wide ? I.alu(op, d, value) : I.alu32(op, d, value); }
  }
}
function stackInsn() {
  const off = -8 * (2 + below(3)), d = pick(SCALARS);
  switch (below(7)) {
    case 0: case 1: return I.stx('dw', 10, d, off);
    case 2: return I.ldx('dw', d, 10, off);
    case 3: return I.stx(pick(['w', 'h', 'b']), 10, d, off + 4 * below(2));
    case 4: return I.ldx(pick(['w', 'h', 'b']), d, 10, off + 4 * below(2));
    case 5: return pick([I.ldsx('b', d, 10, off), I.ldsx('h', d, 10, off), I.ldsx('w', d, 10, off)]);
    default: return I.st('dw', 10, off, imm());
  }
}
function memoryInsn() {
  const d = pick(SCALARS), off = below(64);
  switch (below(6)) {
    case 0: return I.ldx('dw', d, 7, off & 56);
    case 1: return I.stx('dw', 7, d, off & 56);
    case 2: return I.ldx('b', d, 7, below(66));
    case 3: return I.st(pick(['w', 'h', 'b']), 7, off & 60, imm());
    case 4: return I.atomic(pick(['w', 'dw']), pick([ATOMIC.add, ATOMIC.and, ATOMIC.or | ATOMIC.fetch, ATOMIC.xor | ATOMIC.fetch, ATOMIC.xchg, ATOMIC.add | ATOMIC.fetch]), 7, d, off & 56);
    default: return I.ldsx(pick(['b', 'h', 'w']), d, 7, off & 56);
  }
}
function variableAccess() {
  const s = pick(SCALARS), mask = pick([7, 15, 31, 55, 56, 63, 127]);
  return [I.movr(9, s), pick([I.alu('and', 9, mask), I.alu32('and', 9, mask), I.alu('mod', 9, mask + 1), I.alu('rsh', 9, 58), I.alu('and', 9, mask)]), I.movr(0, 7), I.alur('add', 0, 9), pick([I.ldx('b', 9, 0, 0), I.stx('b', 0, 1, 0), I.ldx('dw', 9, 0, 0), I.ldx('b', 9, 0, 8)]), I.movr(pick(SCALARS), 9)];
}
/** A forward branch over 1 to 4 instructions that come next. */
function branch() {
  const d = pick(SCALARS), s = pick(SCALARS), op = pick(JUMPS), body = Array.from({ length: 1 + below(4) }, () => pick([aluInsn, aluInsn, stackInsn, memoryInsn])());
  const skip = body.length;
  return [pick([() => I.j(op, d, imm(), skip), () => I.jr(op, d, s, skip), () => I.j32(op, d, imm(), skip), () => I.j32r(op, d, s, skip)])(), ...body];
}
function loop() {
  const counter = 9, body = Array.from({ length: 1 + below(3) }, aluInsn);
  return [I.mov(counter, 0), ...body, I.alu('add', counter, 1), I.j(pick(['lt', 'ne', 'sle']), counter, 2 + below(9), -(body.length + 2))];
}
/** A branch on a value, then an access that is only right behind it. */
function guarded() {
  const s = pick(SCALARS), limit = pick([7, 8, 31, 56, 63, 64]);
  const check = pick([I.j('gt', s, limit, 3), I.j('ge', s, limit, 3), I.j32('gt', s, limit, 3), I.j('sgt', s, limit, 3)]);
  return [check, I.movr(0, 7), I.alur('add', 0, s), I.ldx('b', pick(SCALARS), 0, 0)];
}
const parts = [[aluInsn, 10], [stackInsn, 3], [memoryInsn, 3], [branch, 6], [variableAccess, 1], [loop, 1], [guarded, 2]].flatMap(([make, n]) => Array(n).fill(make));

const TYPES = [PROG.SOCKET_FILTER, PROG.SOCKET_FILTER, PROG.SCHED_CLS, PROG.XDP, PROG.CGROUP_SKB, PROG.KPROBE, PROG.TRACEPOINT, PROG.RAW_TRACEPOINT, PROG.SOCK_OPS, PROG.SK_LOOKUP, PROG.LWT_IN, PROG.SYSCALL];
const RUNNABLE = new Set([PROG.SOCKET_FILTER, PROG.SCHED_CLS, PROG.XDP, PROG.CGROUP_SKB, PROG.LWT_IN]);
const t = new Transcript();
for (let n = 0; n < count; n++) {
  const type = pick(TYPES), size = 4 + below(22);
  const code = [I.st('w', 10, -4, 0), I.movr(2, 10), I.alu('add', 2, -4), I.ldMap(1), I.call(1), I.j('ne', 0, 0, 2), I.mov(0, 0), I.exit(), I.movr(7, 0),
    ...SCALARS.map((r, i) => (below(4) ? I.ldx('dw', r, 7, 8 * (i % 8)) : I.mov(r, imm()))), I.st('dw', 10, -16, 0), I.st('dw', 10, -24, imm()), I.st('dw', 10, -32, 0)];
  for (let i = 0; i < size; i++) code.push(...[pick(parts)()].flat());
  const last = pick(SCALARS);
  code.push(I.movr(0, last)); if (type !== PROG.SOCKET_FILTER && below(8)) code.push(I.alu('and', 0, 1)); code.push(I.exit());
  const flags = (type === PROG.SYSCALL ? F.SLEEPABLE : 0) | pick([0, 0, 0, F.TEST_STATE_FREQ, F.TEST_REG_INVARIANTS, F.STRICT_ALIGNMENT]);
  t.case(`random/${String(n).padStart(3, '0')}`, 'heldout', `type ${type}, flags ${flags}`);
  t.mapCreate({ type: MAP.ARRAY, value: 64, max: 1, name: 'm', save: 0 });
  t.update(0, u32(0), Buffer.from(Array.from({ length: 64 }, () => (below(3) ? below(256) : 0))));
  const load = { type, insns: prog(code), license: pick(['GPL', 'Dual BSD/GPL', 'Proprietary']), flags, mapFDs: [[3, 0]] };
  t.progLoad({ ...load, log: 2, logSize: 1 << 22, save: 1 });
  if (below(3) === 0) t.progLoad({ ...load, log: pick([1, 4, 5, 6]), logSize: 1 << 20 });
  if (RUNNABLE.has(type)) { t.runPacket(1, Buffer.from(Array.from({ length: 64 }, () => below(256)))); t.lookup(0, u32(0), 64); }
  if (type === PROG.SYSCALL) { t.run(1, Buffer.alloc(16)); t.lookup(0, u32(0), 64); }
}
process.stdout.write(t.text());
