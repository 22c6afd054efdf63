/**
 * @module verifier/struct_ops_write
 * Kernel fields that programs may write: those of a struct_ops (`btf_struct_access` of net/ipv4/bpf_tcp_ca.c,
 * net/sched/bpf_qdisc.c, net/bpf/bpf_dummy_struct_ops.c), and network programs to a connection that they track
 * (net/netfilter/nf_conntrack_bpf.c). Offsets come from the kernel's BTF.
 */
import type { BTF } from '../btf/btf.ts';
import { EACCES, EINVAL } from '../isa/errno.ts';
import { BTF_KIND_STRUCT } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';

/** A field by structure and path; `isRange` lets a write begin anywhere in it, `as` is what lies in a buffer there. */
interface Writable {
  readonly struct: string;
  readonly path: readonly string[];
  readonly isRange?: boolean;
  readonly as?: Writable;
}

const TCP_FIELDS: readonly Writable[] = [
  { struct: 'sock', path: ['sk_pacing_rate'] }, { struct: 'sock', path: ['sk_pacing_status'] },
  { struct: 'inet_connection_sock', path: ['icsk_ca_priv'], isRange: true }, { struct: 'inet_connection_sock', path: ['icsk_ack', 'pending'] },
  { struct: 'tcp_sock', path: ['snd_cwnd'] }, { struct: 'tcp_sock', path: ['snd_cwnd_cnt'] }, { struct: 'tcp_sock', path: ['snd_cwnd_stamp'] },
  { struct: 'tcp_sock', path: ['snd_ssthresh'] }, { struct: 'tcp_sock', path: ['ecn_flags'] }, { struct: 'tcp_sock', path: ['app_limited'] },
];
const SKB_FIELDS: readonly Writable[] = [
  { struct: 'sk_buff', path: ['tstamp'] }, { struct: 'sk_buff', path: ['cb'], isRange: true, as: { struct: 'qdisc_skb_cb', path: ['data'] } },
];
const QDISC_FIELDS: readonly Writable[] = [
  { struct: 'Qdisc', path: ['limit'] }, { struct: 'Qdisc', path: ['q', 'qlen'] }, { struct: 'Qdisc', path: ['qstats'], isRange: true },
];

const CONNECTION_FIELDS: readonly Writable[] = [{ struct: 'nf_conn', path: ['mark'] }];

/** First byte and byte behind the end of a field, through anonymous members; `undefined` where the kernel has none. */
function fieldRange(btf: BTF, field: Writable): readonly [start: number, end: number] | undefined {
  let id = btf.findByNameKind(field.struct, BTF_KIND_STRUCT), start = 0;
  for (const name of field.path) {
    const found = id === 0 ? undefined : findMember(btf, id, name, 0);
    if (found === undefined) return undefined;
    start += found.offset;
    id = found.type;
  }
  const inner = field.as === undefined ? undefined : fieldRange(btf, field.as);
  if (field.as !== undefined) return inner === undefined ? undefined : [start + inner[0], start + inner[1]];
  const size = btf.resolveSize(id);
  return size === undefined ? undefined : [start, start + size];
}

function findMember(btf: BTF, id: number, name: string, depth: number): { offset: number; type: number } | undefined {
  for (const member of btf.members(id)) {
    const offset = member.bitOffset >>> 3;
    if (member.name === name) return { offset, type: btf.skipModifiers(member.type) };
    const inner = btf.skipModifiers(member.type);
    if (member.name !== '' || depth > 8 || !btf.isStructOrUnion(inner)) continue;
    const found = findMember(btf, inner, name, depth + 1);
    if (found !== undefined) return { offset: offset + found.offset, type: found.type };
  }
  return undefined;
}

/** Checks a write against a list of fields: 0 or `-EACCES`. `subject` names the structure in messages. */
function writeField(env: VerifierEnv, btf: BTF, fields: readonly Writable[], subject: string, off: number, size: number): number {
  for (const field of fields) {
    const range = fieldRange(btf, field);
    if (range === undefined) continue;
    const [start, end] = range;
    if (field.isRange === true ? off < start || off >= end : off !== start) continue;
    if (off + size <= end) return 0;
    env.log.write(`write access at off ${off} with size ${size} beyond the member of ${subject} ended at ${end}\n`);
    return -EACCES;
  }
  env.log.write(`no write support to ${subject} at off ${off}\n`);
  return -EACCES;
}

/** Verdict on a write to a kernel structure by a program for packets: at least 0, or `-EACCES` with a message. */
export function writeConnection(env: VerifierEnv, btf: BTF, id: number, off: number, size: number): number {
  const name = btf.typeName(id);
  if (btf.kind(id) === BTF_KIND_STRUCT && (name === 'nf_conn' || name === 'nf_conn___init')) return writeField(env, btf, CONNECTION_FIELDS, 'nf_conn', off, size);
  env.log.write('only read is supported\n');
  return -EACCES;
}

/**
 * Verdict on a write to a kernel structure by a struct_ops program: at least 0, or `-errno` with a message; `undefined` for
 * a struct_ops that has no rule of its own.
 */
export function writeStructOps(env: VerifierEnv, btf: BTF, id: number, off: number, size: number): number | undefined {
  const name = btf.typeName(id);
  const isStruct = btf.kind(id) === BTF_KIND_STRUCT;
  const readOnly = (): number => {
    env.log.write('only read is supported\n');
    return -EACCES;
  };
  switch (env.attachBTF?.typeName(env.load.attachBTFID)) {
    case 'tcp_congestion_ops':
      return isStruct && name === 'tcp_sock' ? writeField(env, btf, TCP_FIELDS, 'tcp_sock', off, size) : readOnly();
    case 'Qdisc_ops':
      if (isStruct && name === 'sk_buff') return writeField(env, btf, SKB_FIELDS, name, off, size);
      return isStruct && name === 'Qdisc' ? writeField(env, btf, QDISC_FIELDS, name, off, size) : readOnly();
    case 'bpf_dummy_ops': {
      const state = btf.findByNameKind('bpf_dummy_ops_state', BTF_KIND_STRUCT);
      if (state === 0) return -EINVAL;
      if (id !== state) env.log.write('only access to bpf_dummy_ops_state is supported\n');
      else if (off + size > btf.size(state)) env.log.write(`write access at off ${off} with size ${size}\n`);
      else return 0;
      return -EACCES;
    }
    case 'io_uring_bpf_ops': {
      // a write it allows is one to a scalar in front of the end of the last field for programs; others are refused without a word
      const params = fieldRange(btf, { struct: 'iou_loop_params', path: ['cq_wait_idx'] });
      return params !== undefined && isStruct && name === 'iou_loop_params' && off + size <= params[1] ? 0 : -EACCES;
    }
    default:
      return undefined;
  }
}
