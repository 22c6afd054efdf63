#!/usr/bin/env node
// Calls of every helper from every kind of program that may call it, with arguments that mostly fit and sometimes do not, as a
// transcript without answers:
//   helper-args.mjs [PER_HELPER [SEED]] > IN.jsonl; then ../record.mjs IN.jsonl ../data/helper-args.jsonl.gz
// Needs a build: the prototypes come from dist.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { BTF } from '../../../dist/btf/btf.js';
import * as U from '../../../dist/isa/uapi.js';
import * as T from '../../../dist/verifier/regtypes.js';
import { findProto } from '../../../dist/verifier/progtypes/funcs.js';
import { I, Transcript, hex, prog, u32 } from './build.mjs';

const perHelper = Number(process.argv[2] ?? 3);
let state = Number(process.argv[3] ?? 77) >>> 0;
const random = () => { state = (state + 0x6d2b79f5) >>> 0; let x = Math.imul(state ^ (state >>> 15), 1 | state); x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x; return (x ^ (x >>> 14)) >>> 0; };
const below = (n) => random() % n;
const pick = (list) => list[below(list.length)];

const kernel = BTF.parse(new Uint8Array(gunzipSync(readFileSync(new URL('../../../assets/vmlinux-7.3.4.btf.gz', import.meta.url)))), { name: 'vmlinux' });
const func = (name) => kernel.findByNameKind(name, U.BTF_KIND_FUNC);
const struct = (name) => kernel.findByNameKind(name, U.BTF_KIND_STRUCT);

const UAPI = new Map(Object.entries(U));

/** Kinds of program: name, type, attach type, attach id, sleepable, names for the tables, a pointer to load into r9 from the context. */
const kind = (name, { type, ...o } = {}) => ({ name, attach: 0, attachID: 0, sleepable: false, attachName: '', attachStruct: '', ...o, type: UAPI.get(`BPF_PROG_TYPE_${type ?? name}`) });
const skbSocket = [I.ldx('dw', 9, 6, 168)];
const KINDS = [
  kind('SOCKET_FILTER'), kind('KPROBE'), kind('SCHED_CLS', { load: skbSocket }), kind('TRACEPOINT'), kind('XDP', { load: [I.ldx('w', 9, 6, 0)] }), kind('PERF_EVENT'),
  kind('CGROUP_SKB', { attach: U.BPF_CGROUP_INET_EGRESS, load: skbSocket }), kind('CGROUP_SOCK', { attach: U.BPF_CGROUP_INET_SOCK_CREATE }),
  kind('CGROUP_SOCK_ADDR', { attach: U.BPF_CGROUP_INET4_CONNECT, load: [I.ldx('dw', 9, 6, 64)] }), kind('LWT_XMIT'),
  kind('SOCK_OPS', { attach: U.BPF_CGROUP_SOCK_OPS, load: [I.ldx('dw', 9, 6, 184)] }), kind('SK_SKB', { load: skbSocket }), kind('SK_MSG', { load: [I.ldx('dw', 9, 6, 72)] }),
  kind('RAW_TRACEPOINT'), kind('CGROUP_SYSCTL', { attach: U.BPF_CGROUP_SYSCTL }), kind('CGROUP_SOCKOPT', { attach: U.BPF_CGROUP_SETSOCKOPT, load: [I.ldx('dw', 9, 6, 0)] }),
  kind('SK_REUSEPORT', { attach: U.BPF_SK_REUSEPORT_SELECT, load: [I.ldx('dw', 9, 6, 40)] }), kind('FLOW_DISSECTOR', { attach: U.BPF_FLOW_DISSECTOR }),
  kind('SK_LOOKUP', { attach: U.BPF_SK_LOOKUP, load: [I.ldx('dw', 9, 6, 0)] }), kind('SYSCALL', { sleepable: true }), kind('NETFILTER', { attach: U.BPF_NETFILTER, load: [I.ldx('dw', 9, 6, 8)] }),
  kind('FENTRY', { type: 'TRACING', attach: U.BPF_TRACE_FENTRY, attachID: func('security_file_open'), attachName: 'security_file_open', load: [I.ldx('dw', 9, 6, 0)] }),
  kind('RAW_TP', { type: 'TRACING', attach: U.BPF_TRACE_RAW_TP, attachID: kernel.findByNameKind('btf_trace_kfree_skb', U.BTF_KIND_TYPEDEF), attachName: 'btf_trace_kfree_skb', load: [I.ldx('dw', 9, 6, 0)] }),
  kind('TASK_ITER', { type: 'TRACING', attach: U.BPF_TRACE_ITER, attachID: func('bpf_iter_task'), attachName: 'bpf_iter_task', load: [I.ldx('dw', 9, 6, 8)] }),
  kind('META_ITER', { type: 'TRACING', attach: U.BPF_TRACE_ITER, attachID: func('bpf_iter_task'), attachName: 'bpf_iter_task', load: [I.ldx('dw', 9, 6, 0), I.ldx('dw', 9, 9, 0)] }),
  kind('LSM', { attach: U.BPF_LSM_MAC, attachID: func('bpf_lsm_file_open'), attachName: 'bpf_lsm_file_open', sleepable: true, load: [I.ldx('dw', 9, 6, 0)] }),
  kind('LSM_SOCKET', { type: 'LSM', attach: U.BPF_LSM_CGROUP, attachID: func('bpf_lsm_socket_post_create'), attachName: 'bpf_lsm_socket_post_create', load: [I.ldx('dw', 9, 6, 0)] }),
  kind('TCP_CA', { type: 'STRUCT_OPS', attach: kernel.findMember(struct('tcp_congestion_ops'), 'cong_avoid'), attachID: struct('tcp_congestion_ops'), attachName: 'cong_avoid', attachStruct: 'tcp_congestion_ops', load: [I.ldx('dw', 9, 6, 0)] }),
];

/** int; a value with a lock and a timer. */
function mapBTF() {
  const strings = ['', 'int', 'unsigned int', 'unsigned long long', 'bpf_spin_lock', 'val', 'bpf_timer', '__opaque', 'value', 'cnt', 'lock', 'timer', 'x'];
  const at = []; let text = ''; for (const s of strings) { at.push(text.length); text += `${s}\0`; }
  const s = (name) => at[strings.indexOf(name)];
  const types = u32(
    s('int'), 0x01000000, 4, 0x01000020, s('unsigned int'), 0x01000000, 4, 32, s('unsigned long long'), 0x01000000, 8, 64,
    s('bpf_spin_lock'), 0x04000001, 4, s('val'), 2, 0, 0, 0x03000000, 0, 3, 1, 2, s('bpf_timer'), 0x04000001, 16, s('__opaque'), 5, 0,
    s('value'), 0x04000004, 32, s('cnt'), 1, 0, s('lock'), 4, 32, s('timer'), 6, 64, s('x'), 3, 192);
  const header = Buffer.alloc(24); header.writeUInt16LE(0xeb9f, 0); header[2] = 1; header.writeUInt32LE(24, 4); header.writeUInt32LE(0, 8); header.writeUInt32LE(types.length, 12); header.writeUInt32LE(types.length, 16); header.writeUInt32LE(text.length, 20);
  return Buffer.concat([header, types, Buffer.from(text)]);
}

/** Maps by slot: type, key, value, entries, flags, BTF key and value type. */
const MAPS = [
  [U.BPF_MAP_TYPE_ARRAY, 4, 64, 4], [U.BPF_MAP_TYPE_HASH, 8, 16, 8], [U.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 2], [U.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096],
  [U.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4], [U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 4], [U.BPF_MAP_TYPE_STACK_TRACE, 4, 128, 4], [U.BPF_MAP_TYPE_QUEUE, 0, 8, 4],
  [U.BPF_MAP_TYPE_ARRAY, 4, 32, 2, 0, 1, 7], [U.BPF_MAP_TYPE_SOCKMAP, 4, 4, 2], [U.BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 2], [U.BPF_MAP_TYPE_DEVMAP, 4, 4, 2],
  [U.BPF_MAP_TYPE_SK_STORAGE, 4, 8, 0, 1, 1, 3], [U.BPF_MAP_TYPE_TASK_STORAGE, 4, 8, 0, 1, 1, 3], [U.BPF_MAP_TYPE_INODE_STORAGE, 4, 8, 0, 1, 1, 3],
  [U.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096], [U.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 4, 2], [U.BPF_MAP_TYPE_ARRAY, 4, 16, 1, U.BPF_F_RDONLY_PROG],
  [U.BPF_MAP_TYPE_SOCKHASH, 4, 4, 2], [U.BPF_MAP_TYPE_CPUMAP, 4, 4, 2], [U.BPF_MAP_TYPE_CGRP_STORAGE, 4, 8, 0, 1, 1, 3], [U.BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 2],
];
const VALUE_MAP = 0, LOCK_MAP = 8, TEXT_MAP = 17, BTF_SLOT = 90;

function createMaps(t) {
  const btf = mapBTF();
  const attr = Buffer.alloc(32); attr.writeUInt32LE(btf.length, 16);
  t.bpf('BTF_LOAD', attr, { in: { 0: hex(btf) }, save: BTF_SLOT });
  MAPS.forEach(([type, key, value, max, flags = 0, keyType = 0, valueType = 0], slot) => {
    const a = Buffer.alloc(72);
    [type, key, value, max, flags].forEach((x, i) => a.writeUInt32LE(x, 4 * i));
    a.writeUInt32LE(keyType, 52); a.writeUInt32LE(valueType, 56);
    t.bpf('MAP_CREATE', a, { ...(keyType ? { fd: { 48: BTF_SLOT } } : {}), save: slot });
  });
  t.update(TEXT_MAP, Buffer.alloc(4), Buffer.from('%d %s\n\0'.padEnd(16, '\0')));
  t.freeze(TEXT_MAP);
}

/** A program under construction: parts, and which instruction takes which map. */
class Program {
  parts = []; maps = []; length = 0;
  add(...insns) { for (const i of insns.flat()) { this.parts.push(i); this.length += i.length / 8; } }
  map(reg, slot, offset) { this.maps.push([this.length, slot]); this.add(offset === undefined ? I.ldMap(reg) : I.ldMapValue(reg, offset)); }
}

const constant = (reg, v) => (p) => p.add(I.mov(reg, v));
const copy = (reg, from, add = 0) => (p) => { p.add(I.movr(reg, from)); if (add) p.add(I.alu('add', reg, add)); };
const anyMap = (reg) => (p) => p.map(reg, below(MAPS.length));

/** Something for an argument of a kind; `wild` pays no heed to it. */
function argument(reg, type, wild, helper) {
  const scalar = () => pick([constant(reg, 0), constant(reg, 1), constant(reg, 8), constant(reg, pick([4, 16, 64, -1, 512, 4096])), copy(reg, 7)]);
  const memory = () => pick([copy(reg, 10, -64), copy(reg, 10, -64), copy(reg, 8), copy(reg, 10, -32), copy(reg, 10, -160), copy(reg, 8, 32)]);
  if (wild) return pick([scalar, memory, () => anyMap(reg), () => copy(reg, 6), () => copy(reg, 9), () => copy(reg, 10, pick([0, -4, -520, 8])), () => undefined, () => constant(reg, 0)])();
  switch (T.baseType(type)) {
    case T.ARG_CONST_MAP_PTR: return mapFor(reg, helper);
    case T.ARG_PTR_TO_MAP_KEY: case T.ARG_PTR_TO_MAP_VALUE: return memory();
    case T.ARG_PTR_TO_MEM: return below(6) === 0 && (type & T.PTR_MAYBE_NULL) ? constant(reg, 0) : memory();
    case T.ARG_MEM_SIZE: return pick([constant(reg, 8), constant(reg, 16), constant(reg, 64), constant(reg, 32), constant(reg, 0), copy(reg, 7)]);
    case T.ARG_MEM_SIZE_OR_ZERO: return pick([constant(reg, 8), constant(reg, 0), constant(reg, 32), copy(reg, 7), constant(reg, 65)]);
    case T.ARG_CONST_ALLOC_SIZE_OR_ZERO: return pick([constant(reg, 8), constant(reg, 16), constant(reg, 64), copy(reg, 7)]);
    case T.ARG_PTR_TO_CTX: return copy(reg, 6, below(8) === 0 ? 8 : 0);
    case T.ARG_PTR_TO_SPIN_LOCK: return copy(reg, 8, pick([4, 4, 4, 0, 8]));
    case T.ARG_PTR_TO_TIMER: return copy(reg, 8, pick([8, 8, 8, 0, 16]));
    case T.ARG_PTR_TO_CONST_STR: return (p) => p.map(reg, pick([TEXT_MAP, TEXT_MAP, VALUE_MAP]), 0);
    case T.ARG_PTR_TO_DYNPTR: return copy(reg, 10, pick([-16, -16, -16, -24, -20]));
    case T.ARG_PTR_TO_STACK: return pick([copy(reg, 10, -64), constant(reg, 0), copy(reg, 8)]);
    case T.ARG_PTR_TO_FUNC: return (p) => p.add(I.ldFunc(reg, 5));
    case T.ARG_PTR_TO_BTF_ID: case T.ARG_PTR_TO_SOCK_COMMON: case T.ARG_PTR_TO_SOCKET: case T.ARG_PTR_TO_BTF_ID_SOCK_COMMON: case T.ARG_PTR_TO_PERCPU_BTF_ID:
      return pick([copy(reg, 9), copy(reg, 9), copy(reg, 9), constant(reg, 0), copy(reg, 6), copy(reg, 8)]);
    default: return scalar();
  }
}

const FITTING = { ringbuf: [3], tail_call: [4], perf_event: [5], event_output: [5], skb_output: [5], xdp_output: [5], stackid: [6], push_elem: [7], pop_elem: [7], peek_elem: [7], sk_storage: [12], task_storage: [13],
  inode_storage: [14], cgrp_storage: [20], user_ringbuf: [15], reuseport: [16], under_cgroup: [10], redirect_map: [9, 11, 19], redirect_hash: [18], sock_map_update: [9], sock_hash_update: [18], percpu_elem: [2, 21],
  for_each_map: [0, 1, 2], timer: [8] };
function mapFor(reg, helper) {
  const found = Object.entries(FITTING).findLast(([part]) => helper.includes(part));
  return (p) => p.map(reg, below(5) === 0 ? below(MAPS.length) : pick(found ? found[1] : [0, 1, 2, 7]));
}

function buildCall(kindOf, proto, index) {
  const p = new Program();
  const wildAt = index % 3 === 2 ? 1 + below(5) : 0;
  p.add(I.movr(6, 1));
  for (let off = -8; off >= -64; off -= 8) p.add(I.st('dw', 10, off, 0));
  p.add(I.call(U.BPF_FUNC_get_prandom_u32), I.movr(7, 0));
  if (below(3)) p.add(I.alu('and', 7, pick([15, 63, 7])));
  p.map(1, /spin|timer/.test(proto.name) ? LOCK_MAP : VALUE_MAP);
  p.add(I.movr(2, 10), I.alu('add', 2, -8), I.call(U.BPF_FUNC_map_lookup_elem), I.j('ne', 0, 0, 1), I.exit(), I.movr(8, 0));
  if (kindOf.load) {
    p.add(kindOf.load);
    if (below(5)) p.add(I.j('ne', 9, 0, 2), I.mov(0, 0), I.exit());
  } else p.add(I.mov(9, 0));
  const types = proto.argTypes;
  if (types.some((type) => T.baseType(type) === T.ARG_PTR_TO_DYNPTR) && below(4)) {
    // A dynptr for those that take one: of the map value, or of a ring buffer's record.
    if (/ringbuf_(submit|discard)/.test(proto.name)) { p.map(1, 3); p.add(I.mov(2, 8), I.mov(3, 0), I.movr(4, 10), I.alu('add', 4, -16), I.call(U.BPF_FUNC_ringbuf_reserve_dynptr)); }
    else if (!/reserve_dynptr|from_mem/.test(proto.name)) p.add(I.movr(1, 8), I.mov(2, 16), I.mov(3, 0), I.movr(4, 10), I.alu('add', 4, -16), I.call(U.BPF_FUNC_dynptr_from_mem));
  }
  if (/ringbuf_(submit|discard)$/.test(proto.name) && below(4)) { p.map(1, 3); p.add(I.mov(2, 8), I.mov(3, 0), I.call(U.BPF_FUNC_ringbuf_reserve), I.j('ne', 0, 0, 1), I.exit(), I.movr(9, 0)); }
  for (let i = types.length; i >= 1; i--) {
    const release = /ringbuf_(submit|discard)$/.test(proto.name) && i === 1;
    (release ? copy(1, 9) : argument(i, types[i - 1], i === wildAt, proto.name))?.(p);
  }
  p.add(I.call(proto.id));
  const use = below(6);
  if (use === 0) p.add(I.ldx('w', 1, 0, 0));
  else if (use === 1) p.add(I.j('eq', 0, 0, 1), I.ldx('b', 1, 0, 0));
  else if (use === 2) p.add(I.j('sgt', 0, 100, 0));
  if (/spin_lock/.test(proto.name) && below(2)) p.add(I.movr(1, 8), I.alu('add', 1, 4), I.call(U.BPF_FUNC_spin_unlock));
  p.add(I.mov(0, 0), I.exit());
  return p;
}

const t = new Transcript();
for (const each of KINDS) {
  const facts = { loadedType: each.type, type: each.type, expectedAttachType: each.attach, sleepable: each.sleepable, capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true },
    attachName: each.attachName, attachStruct: each.attachStruct, attachesToProgram: false };
  const protos = [];
  for (let id = 1; id < U.HELPER_NAMES.length; id++) { const proto = findProto(id, facts); if (proto) protos.push(proto); }
  for (let from = 0; from < protos.length; from += 8) {
    t.case(`${each.name} ${protos[from].name}`, 'helper-args');
    createMaps(t);
    for (const proto of protos.slice(from, from + 8)) {
      for (let i = 0; i < perHelper; i++) {
        const p = buildCall(each, proto, i);
        t.progLoad({ type: each.type, insns: prog(p.parts), mapFDs: p.maps, attach: each.attach, attachID: each.attachID, flags: each.sleepable ? 16 : 0, license: 'GPL', log: i % 3 === 0 ? 2 : 1 });
      }
    }
  }
}
process.stdout.write(t.text());
