/**
 * @module src/fuzz/mutators/admissions
 * Signed loads as sequences of system calls: exclusive maps are made, filled and frozen, then a program is loaded with a signature over its
 * instructions and the maps; with none, one or several things not as the contract wants them.
 */
import { sha256 } from '../../../crypto/digest.ts';
import { assemble, exit, ldMapFD, mov64 } from '../../../isa/encode.ts';
import * as U from '../../../isa/uapi.ts';
import type { Operation } from '../../replay/transcript.ts';
import { digestOf } from '../oracles/admission.ts';
import type { Random } from '../random.ts';
import type { FuzzSigner } from '../targets/signer.ts';
import { cString, makeCall, NO_ANSWER } from './calls.ts';

const PROGRAM_SLOT = 8;
const SESSION = -3;

/** What is not as it should be. */
export interface Deviations {
  readonly maps: number;
  /** Index of a map that stays as it is, in each respect; -1 for none. */
  readonly unfrozen: number;
  readonly shared: number;
  readonly foreign: number;
  readonly several: number;
  readonly hash: number;
  /** Of the signed parts: a map that is left out, exchanged with the next, or signed with other contents. */
  readonly unsigned: number;
  readonly swapped: boolean;
  readonly altered: number;
  /** Of `fd_array`: exchanged order, a map not bound, bound twice. */
  readonly boundSwapped: boolean;
  readonly unbound: boolean;
  readonly twice: boolean;
  readonly noSignature: boolean;
  readonly noKey: boolean;
  readonly changedProgram: boolean;
  readonly usesMap: boolean;
}

/** Mostly one deviation, sometimes none or several. */
export function randomDeviations(random: Random): Deviations {
  const maps = random.pick([0, 1, 1, 2, 2, 2]);
  const chance = random.oneIn(4) ? 1000 : random.pick([6, 10, 14]);
  const one = (): number => (maps > 0 && random.oneIn(chance) ? random.below(maps) : -1);
  const yes = (): boolean => random.oneIn(chance);
  return {
    maps, unfrozen: one(), shared: one(), foreign: one(), several: one(), hash: one(), unsigned: one(), swapped: yes(), altered: one(), boundSwapped: yes(),
    unbound: yes(), twice: yes(), noSignature: yes(), noKey: yes(), changedProgram: yes(), usesMap: random.oneIn(4),
  };
}

/** The calls of one signed load. */
export function admissionCalls(d: Deviations, random: Random, signer: FuzzSigner): readonly Operation[] {
  const returned = random.below(3);
  const program = d.usesMap && d.maps > 0 ? assemble([ldMapFD('r1', 0), mov64('r0', returned), exit()]) : assemble([mov64('r0', returned), exit()]);
  const signed = d.changedProgram ? assemble([mov64('r0', returned + 1), exit()]) : program;
  const operations: Operation[] = d.noKey ? [] : [{ op: 'key', name: 'fuzz', der: signer.certificate, want: NO_ANSWER }];
  const values = Array.from({ length: d.maps }, () => random.bytes(random.pick([8, 12, 16])));
  for (const [i, value] of values.entries()) {
    operations.push(makeCall('MAP_CREATE', {
      map_type: d.hash === i ? U.BPF_MAP_TYPE_HASH : U.BPF_MAP_TYPE_ARRAY, key_size: 4, value_size: value.length, max_entries: d.several === i ? 2 : 1, map_name: `m${i}`,
      ...(d.shared === i ? {} : { excl_prog_hash: d.foreign === i ? sha256(value) : digestOf(program), excl_prog_hash_size: 32 }),
    }, { save: i }));
    operations.push(makeCall('MAP_UPDATE_ELEM', { key: new Uint8Array(4), value }, { fds: { map_fd: i } }));
    if (d.unfrozen !== i) operations.push(makeCall('MAP_FREEZE', {}, { fds: { map_fd: i } }));
  }
  const parts = values.map((value, i) => (d.altered === i ? value.with(0, value[0]! ^ 1) : value)).filter((_, i) => d.unsigned !== i);
  const signature = signer.sign([signed, ...(d.swapped ? parts.toReversed() : parts)]);
  const order = values.map((_, i) => i);
  const slots = [...(d.boundSwapped ? order.toReversed() : order).slice(d.unbound ? 1 : 0), ...(d.twice && d.maps > 0 ? [0] : [])];
  operations.push(makeCall('PROG_LOAD', {
    prog_type: U.BPF_PROG_TYPE_SYSCALL, prog_flags: 1 << 4, insns: program, insn_cnt: program.length / 8, license: cString('GPL'), prog_name: 'signed',
    ...(d.noSignature ? {} : { signature }), signature_size: signature.length, keyring_id: SESSION,
    ...(slots.length === 0 ? {} : { fd_array: new Uint8Array(4 * slots.length), fd_array_cnt: slots.length }),
  }, {
    save: PROGRAM_SLOT,
    infds: [...slots.map((slot, i) => ['fd_array', 4 * i, slot] as const), ...(program.length > 16 ? [['insns', 4, 0] as const] : [])],
  }));
  return operations;
}
