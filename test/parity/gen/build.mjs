// Builders for transcript lines: attr unions, light skeletons taken apart, signatures made by openssl. Shared by the generators of
// this folder; nothing here is run by the tests.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const fixtures = join(dirname(fileURLToPath(import.meta.url)), '../../fixtures');
export const sha256 = (...parts) => { const h = createHash('sha256'); for (const p of parts) h.update(p); return h.digest(); };
export const hex = (b) => Buffer.from(b).toString('hex');
export const MAP = { HASH: 1, ARRAY: 2, PROG_ARRAY: 3, PERCPU_HASH: 5, PERCPU_ARRAY: 6, STACK_TRACE: 7, LRU_HASH: 9, ARRAY_OF_MAPS: 12, HASH_OF_MAPS: 13, QUEUE: 22, STACK: 23, RINGBUF: 27 };
export const PROG = { SOCKET_FILTER: 1, KPROBE: 2, SCHED_CLS: 3, SCHED_ACT: 4, TRACEPOINT: 5, XDP: 6, PERF_EVENT: 7, CGROUP_SKB: 8, CGROUP_SOCK: 9, LWT_IN: 10, SOCK_OPS: 13, SK_SKB: 14, CGROUP_DEVICE: 15, SK_MSG: 16, RAW_TRACEPOINT: 17, CGROUP_SOCK_ADDR: 18, FLOW_DISSECTOR: 22, CGROUP_SYSCTL: 23, CGROUP_SOCKOPT: 25, TRACING: 26, STRUCT_OPS: 27, EXT: 28, LSM: 29, SK_LOOKUP: 30, SYSCALL: 31, NETFILTER: 32 };
export const SESSION = -3;
export const F = { MMAPABLE: 1 << 10, NO_PREALLOC: 1, RDONLY: 8, WRONLY: 16, RDONLY_PROG: 128, WRONLY_PROG: 256, SLEEPABLE: 16, INNER_MAP: 1 << 12, STRICT_ALIGNMENT: 1, ANY_ALIGNMENT: 2, TEST_RND_HI32: 4, TEST_STATE_FREQ: 8, TEST_REG_INVARIANTS: 1 << 7 };

/** Bytes of a C string literal as bpftool writes it. */
function literal(text) {
  const out = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== '\\') { out.push(text.charCodeAt(i)); continue; }
    i++;
    if (text[i] === '\n') continue;
    if (text[i] === 'x') { let h = ''; while (/[0-9a-f]/i.test(text[i + 1] ?? '') && h.length < 2) h += text[++i]; out.push(parseInt(h, 16)); }
    else if (/[0-7]/.test(text[i])) { let o = text[i]; while (/[0-7]/.test(text[i + 1] ?? '') && o.length < 3) o += text[++i]; out.push(parseInt(o, 8)); }
    else out.push({ n: 10, t: 9, r: 13, '"': 34, '\\': 92 }[text[i]] ?? text.charCodeAt(i));
  }
  return Buffer.from(out);
}
/** The parts of a light skeleton. */
export function skeleton(path) {
  const text = readFileSync(join(fixtures, path), 'latin1');
  const part = (name) => { const m = new RegExp(`${name}\\[\\] __attribute__\\(\\(__aligned__\\(8\\)\\)\\) = "((?:[^"\\\\]|\\\\[^])*)"`).exec(text); return m && literal(m[1]); };
  const count = (block) => { const m = new RegExp(`\\tstruct \\{\\n((?:\\t\\tstruct ${block} \\w+;\\n)+)`).exec(text); return m ? m[1].trim().split('\n').length : 0; };
  const maps = count('bpf_map_desc'), progs = count('bpf_prog_desc');
  const insns = part('opts_insn'), data = part('opts_data'), signature = part('opts_sig'), exclusive = part('opts_excl_hash');
  return { insns, data, signature, exclusive, maps, progs, ctxSize: 24 + 16 * maps + 4 * progs, digest: sha256(insns) };
}
/** Detached CMS over `content`, as bpftool and sign-file make it. */
export function sign(content, key = 'rsa2048', digest = 'sha256', extra = []) {
  const dir = mkdtempSync(join(tmpdir(), 'sign-'));
  try {
    writeFileSync(join(dir, 'in'), content);
    execFileSync('openssl', ['cms', '-sign', '-binary', '-nocerts', '-noattr', '-keyid', '-md', digest, '-in', join(dir, 'in'), '-signer', join(fixtures, `keys/${key}.crt`), '-inkey', join(fixtures, `keys/${key}.pem`), '-outform', 'der', '-out', join(dir, 'out'), ...extra]);
    return readFileSync(join(dir, 'out'));
  } finally { rmSync(dir, { recursive: true, force: true }); }
}
export const certificate = (key = 'rsa2048') => readFileSync(join(fixtures, `keys/${key}.der`));

export const fields = (size, list) => { const b = Buffer.alloc(size); for (const [at, value] of list) { if (typeof value === 'string') b.write(value, at, 16, 'latin1'); else if (value < 0) b.writeInt32LE(value, at); else b.writeUInt32LE(value, at); } return b; };

/** Collects lines; large buffers become blobs. */
export class Transcript {
  lines = [];
  #blobs = new Set();
  blob(bytes) {
    const h = hex(bytes);
    if (h.length < 400) return h;
    const id = createHash('sha256').update(h).digest('hex').slice(0, 16);
    if (!this.#blobs.has(id)) { this.#blobs.add(id); this.lines.push({ blob: id, hex: h }); }
    return `@${id}`;
  }
  case(name, suite, desc, mode = 'priv') { this.lines.push({ case: name, suite, mode, ...(desc ? { desc } : {}) }); }
  key(name = 'signer', der = certificate()) { this.lines.push({ op: 'key', name, der: hex(der) }); }
  keyid(id = SESSION) { this.lines.push({ op: 'keyid', id }); }
  op(o) { this.lines.push(o); }
  bpf(cmd, attr, rest = {}) { this.lines.push({ op: 'bpf', cmd, attr: hex(attr), ...rest }); }
  mapCreate(o) {
    const size = o.attrSize ?? (o.exclusive || o.exclusiveSize ? 92 : 72);
    const attr = fields(Math.max(size, 92), [[0, o.type], [4, o.key ?? 4], [8, o.value ?? 8], [12, o.max ?? 1], [16, o.flags ?? 0], [28, o.name ?? ''], [88, o.exclusiveSize ?? (o.exclusive ? 32 : 0)]]).subarray(0, size);
    this.bpf('MAP_CREATE', attr, { ...(o.exclusive ? { in: { 80: hex(o.exclusive) } } : {}), ...(o.inner !== undefined ? { fd: { 20: o.inner } } : {}), ...(o.save !== undefined ? { save: o.save } : {}) });
  }
  update(slot, key, value, flags = 0, infd) { this.bpf('MAP_UPDATE_ELEM', fields(32, [[24, flags]]), { in: { 8: hex(key), 16: this.blob(value) }, fd: { 0: slot }, ...(infd !== undefined ? { infd: [[16, 0, infd]] } : {}) }); }
  lookup(slot, key, size, flags = 0) { this.bpf('MAP_LOOKUP_ELEM', fields(32, [[24, flags]]), { in: { 8: hex(key) }, out: { 16: size }, fd: { 0: slot } }); }
  remove(slot, key) { this.bpf('MAP_DELETE_ELEM', fields(32, []), { in: { 8: hex(key) }, fd: { 0: slot } }); }
  nextKey(slot, key, size) { this.bpf('MAP_GET_NEXT_KEY', fields(32, []), { ...(key ? { in: { 8: hex(key) } } : {}), out: { 16: size }, fd: { 0: slot } }); }
  btf(bytes, save) { this.bpf('BTF_LOAD', fields(40, [[16, bytes.length]]), { in: { 0: this.blob(bytes) }, save }); }
  freeze(slot) { this.bpf('MAP_FREEZE', fields(4, []), { fd: { 0: slot } }); }
  progLoad(o) {
    const log = o.log ?? 0, logSize = o.logSize ?? (log ? 1 << 16 : 0);
    const attr = fields(o.attrSize ?? 168, [[0, o.type ?? PROG.SYSCALL], [4, o.count ?? o.insns.length / 8], [24, log], [28, logSize], [44, o.flags ?? ((o.type ?? PROG.SYSCALL) === PROG.SYSCALL ? F.SLEEPABLE : 0)], [48, o.name ?? ''],
      [68, o.attach ?? 0], [108, o.attachID ?? 0], [148, o.bound ?? 0], [160, o.signatureSize ?? o.signature?.length ?? 0], [164, o.keyring ?? 0]].filter(([at]) => at < (o.attrSize ?? 168)));
    const inputs = { 8: this.blob(o.insns), 16: hex(Buffer.from(`${o.license ?? 'Dual BSD/GPL'}\0`, 'latin1')) };
    const infd = [];
    if (o.fdArray) { inputs[120] = '00'.repeat(4 * o.fdArray.length); o.fdArray.forEach((slot, i) => infd.push([120, 4 * i, slot])); }
    if (o.signature) inputs[152] = this.blob(o.signature);
    for (const [insn, slot] of o.mapFDs ?? []) infd.push([8, 8 * insn + 4, slot]);
    this.bpf('PROG_LOAD', attr, { in: inputs, ...(logSize ? { out: { 32: logSize } } : {}), ...(infd.length ? { infd } : {}), ...(o.save !== undefined ? { save: o.save } : {}), ...(o.fd ? { fd: o.fd } : {}) });
  }
  /** A load field by field: `set` has [offset, value] pairs, `input` bytes by offset, `fd` slots by offset. */
  load({ insns, type, flags = 0, license = 'GPL', log = 0, logSize = 1 << 16, set = [], input = {}, fd, infd, save }) {
    const attr = fields(168, [[0, type], [4, insns.length / 8], [24, log], [28, log ? logSize : 0], [44, flags], ...set]);
    const bytes = Object.fromEntries(Object.entries({ 8: insns, 16: Buffer.from(`${license}\0`), ...input }).map(([at, value]) => [at, this.blob(value)]));
    this.bpf('PROG_LOAD', attr, { in: bytes, ...(log ? { out: { 32: logSize } } : {}), ...(fd ? { fd } : {}), ...(infd ? { infd } : {}), ...(save === undefined ? {} : { save }) });
  }
  run(slot, ctx, rest = {}) { this.bpf('PROG_TEST_RUN', fields(80, [[40, ctx.length]]), { inout: { 48: hex(ctx) }, fd: { 0: slot }, ...rest }); }
  runPacket(slot, data, rest = {}) { this.bpf('PROG_TEST_RUN', fields(80, [[8, data.length], [12, 256], [32, 1]]), { in: { 16: hex(data) }, out: { 24: 256 }, fd: { 0: slot }, ...rest }); }
  /** Ids, BTF ids, netns and addresses are not compared. */
  mapInfo(slot, hashSize) {
    const info = fields(104, [[96, hashSize ?? 0]]);
    this.bpf('OBJ_GET_INFO_BY_FD', fields(16, [[4, 104]]), { inout: { 8: hex(info) }, fd: { 0: slot }, ...(hashSize !== undefined ? { outptr: [[8, 88, 32]] } : {}), ignore: { 8: [[4, 4], [64, 4], [76, 4], [88, 8]] } });
  }
  progInfo(slot, more = []) { this.bpf('OBJ_GET_INFO_BY_FD', fields(16, [[4, 232]]), { out: { 8: 232 }, fd: { 0: slot }, ignore: { 8: [[4, 4], [16, 4], [40, 8], [104, 8], [128, 4], [168, 4], [192, 24], [220, 4], ...more] } }); }
  /** A loader's metadata map: exclusive to `digest`, filled, frozen. */
  metadata(save, data, digest, { freeze = true, exclusive = true, name = '__loader.map' } = {}) {
    this.mapCreate({ type: MAP.ARRAY, key: 4, value: data.length, max: 1, name, attrSize: 92, ...(exclusive ? { exclusive: digest } : {}), save });
    this.update(save, Buffer.alloc(4), data);
    if (freeze) this.freeze(save);
  }
  text() { return `${this.lines.map((o) => JSON.stringify(o)).join('\n')}\n`; }
}
/** A loader's context: header and zeros. */
export function context(skel, { maxEntries = 0 } = {}) {
  const ctx = Buffer.alloc(skel.ctxSize);
  ctx.writeUInt32LE(skel.ctxSize, 0);
  for (let i = 0; i < skel.maps; i++) ctx.writeUInt32LE(maxEntries, 24 + 16 * i + 4);
  return ctx;
}
/** Slots that a loader's fds go to: maps from 100, programs from 200. */
export const taken = (skel) => [...Array.from({ length: skel.maps }, (_, i) => [48, 24 + 16 * i, 100 + i]), ...Array.from({ length: skel.progs }, (_, i) => [48, 24 + 16 * skel.maps + 4 * i, 200 + i])];
export const u32 = (...v) => { const b = Buffer.alloc(4 * v.length); v.forEach((x, i) => b.writeUInt32LE(x >>> 0, 4 * i)); return b; };

// Instructions ---------------------------------------------------------------------------------------------------
export const insn = (code, dst = 0, src = 0, off = 0, imm = 0) => { const b = Buffer.alloc(8); b[0] = code; b[1] = dst | (src << 4); b.writeInt16LE(off, 2); b.writeInt32LE(imm | 0, 4); return b; };
const SIZE = { w: 0x00, h: 0x08, b: 0x10, dw: 0x18 };
const ALU = { add: 0x00, sub: 0x10, mul: 0x20, div: 0x30, or: 0x40, and: 0x50, lsh: 0x60, rsh: 0x70, mod: 0x90, xor: 0xa0, mov: 0xb0, arsh: 0xc0 };
const JMP = { eq: 0x10, gt: 0x20, ge: 0x30, set: 0x40, ne: 0x50, sgt: 0x60, sge: 0x70, lt: 0xa0, le: 0xb0, slt: 0xc0, sle: 0xd0 };
export const I = {
  mov: (d, i) => insn(0xb7, d, 0, 0, i), movr: (d, s) => insn(0xbf, d, s), mov32: (d, i) => insn(0xb4, d, 0, 0, i), mov32r: (d, s) => insn(0xbc, d, s),
  movsx: (d, s, bits) => insn(0xbf, d, s, bits), movsx32: (d, s, bits) => insn(0xbc, d, s, bits),
  alu: (op, d, i) => insn(0x07 | ALU[op], d, 0, 0, i), alur: (op, d, s) => insn(0x0f | ALU[op], d, s), alu32: (op, d, i) => insn(0x04 | ALU[op], d, 0, 0, i), alu32r: (op, d, s) => insn(0x0c | ALU[op], d, s),
  sdiv: (d, i) => insn(0x37, d, 0, 1, i), sdivr: (d, s) => insn(0x3f, d, s, 1), smodr: (d, s) => insn(0x9f, d, s, 1), sdiv32r: (d, s) => insn(0x3c, d, s, 1), smod32r: (d, s) => insn(0x9c, d, s, 1),
  neg: (d) => insn(0x87, d), neg32: (d) => insn(0x84, d), be: (d, bits) => insn(0xdc, d, 0, 0, bits), le: (d, bits) => insn(0xd4, d, 0, 0, bits), bswap: (d, bits) => insn(0xd7, d, 0, 0, bits),
  ldx: (sz, d, s, off) => insn(0x61 | SIZE[sz], d, s, off), ldsx: (sz, d, s, off) => insn(0x81 | SIZE[sz], d, s, off), stx: (sz, d, s, off) => insn(0x63 | SIZE[sz], d, s, off), st: (sz, d, off, i) => insn(0x62 | SIZE[sz], d, 0, off, i),
  j: (op, d, i, off) => insn(0x05 | JMP[op], d, 0, off, i), jr: (op, d, s, off) => insn(0x0d | JMP[op], d, s, off), j32: (op, d, i, off) => insn(0x06 | JMP[op], d, 0, off, i), j32r: (op, d, s, off) => insn(0x0e | JMP[op], d, s, off),
  ja: (off) => insn(0x05, 0, 0, off), gotol: (imm) => insn(0x06, 0, 0, 0, imm), mayGoto: (off) => insn(0xe5, 0, 0, off),
  call: (id) => insn(0x85, 0, 0, 0, id), callLocal: (rel) => insn(0x85, 0, 1, 0, rel), callKfunc: (id, idx = 0) => insn(0x85, 0, 2, idx, id), exit: () => insn(0x95),
  ld64: (d, lo, hi = 0, src = 0) => Buffer.concat([insn(0x18, d, src, 0, lo), insn(0, 0, 0, 0, hi)]), ldMap: (d) => Buffer.concat([insn(0x18, d, 1), insn(0)]), ldMapIdx: (d, i) => Buffer.concat([insn(0x18, d, 5, 0, i), insn(0)]), ldMapIdxValue: (d, i, off) => Buffer.concat([insn(0x18, d, 6, 0, i), insn(0, 0, 0, 0, off)]), ldMapValue: (d, off = 0) => Buffer.concat([insn(0x18, d, 2), insn(0, 0, 0, 0, off)]), ldFunc: (d, rel) => Buffer.concat([insn(0x18, d, 4, 0, rel), insn(0)]),
  atomic: (sz, op, d, s, off) => insn(0xc3 | SIZE[sz], d, s, off, op), ldAbs: (sz, i) => insn(0x20 | SIZE[sz], 0, 0, 0, i), ldInd: (sz, s, i) => insn(0x40 | SIZE[sz], 0, s, 0, i),
};
export const ATOMIC = { add: 0, or: 0x40, and: 0x50, xor: 0xa0, fetch: 1, xchg: 0xe1, cmpxchg: 0xf1, loadAcquire: 0x100, storeRelease: 0x110 };
export const prog = (...parts) => Buffer.concat(parts.flat(Infinity));
