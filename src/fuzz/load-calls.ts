/**
 * @module src/fuzz/load-calls
 * What user space asks of a kernel to load a light skeleton, a signed program or BTF, as transcripts that any kernel can be asked with. Owns the
 * calls' contents; does not own how they are performed (`src/replay/`) nor what our own loads do (`loader/load-and-run.ts`).
 */
import { TEST_RUN_ATTR } from '../../isa/attr.ts';
import * as U from '../../isa/uapi.ts';
import { BPF_F_SLEEPABLE } from '../../verifier/env.ts';
import { BPF_LOG_STATS } from '../../verifier/log_levels.ts';
import { mapDescOffset, progDescOffset, type LightSkeleton } from '../../loader/skeleton.ts';
import { KEY_SPEC_SESSION_KEYRING, type LoadOptions } from '../../loader/load-and-run.ts';
import type { NestedBuffer, Operation } from '../replay/transcript.ts';
import { writeOperation } from '../replay/write.ts';
import { cString, makeCall, NO_ANSWER } from './mutators/calls.ts';

const MAP_SLOT = 0, PROGRAM_SLOT = 1, FIRST_MAP_SLOT = 100, FIRST_PROGRAM_SLOT = 300;
const LOG_BYTES = 1 << 16;
const CONTEXT_AT = TEST_RUN_ATTR.ctx_in.offset;

/** A transcript of one case. */
export function transcriptOf(operations: readonly Operation[]): string {
  const head = JSON.stringify({ case: 'fuzz', suite: 'fuzz', mode: 'priv' });
  return `${[head, ...operations.map((operation) => writeOperation(operation, NO_ANSWER))].join('\n')}\n`;
}

/** Certificates into the session keyring, in order. */
function keys(certificates: readonly Uint8Array[]): readonly Operation[] {
  return certificates.map((der, i) => ({ op: 'key', name: `fuzz${i}`, der, want: NO_ANSWER }));
}

/**
 * A load of `program`, signed by `signature` over the program alone.
 * @example transcriptOf(signedLoadCalls(instructions, message, [certificate]))
 */
export function signedLoadCalls(program: Uint8Array, signature: Uint8Array, certificates: readonly Uint8Array[]): readonly Operation[] {
  return [...keys(certificates), makeCall('PROG_LOAD', {
    prog_type: U.BPF_PROG_TYPE_SYSCALL, prog_flags: BPF_F_SLEEPABLE, insns: program, insn_cnt: program.length / 8, license: cString('GPL'),
    log_level: BPF_LOG_STATS, log_size: LOG_BYTES, signature, signature_size: signature.length, keyring_id: KEY_SPEC_SESSION_KEYRING,
  }, { outs: { log_buf: LOG_BYTES } })];
}

/** A load of BTF, with its log. */
export function btfLoadCalls(btf: Uint8Array): readonly Operation[] {
  return [makeCall('BTF_LOAD', { btf, btf_size: btf.length, btf_log_level: 1, btf_log_size: LOG_BYTES }, { outs: { btf_log_buf: LOG_BYTES } })];
}

/** What `NAME__open_and_load()` asks, with statistics of the loader and of what it loads in the logs. */
export function skeletonCalls(skeleton: LightSkeleton, certificates: readonly Uint8Array[], options: LoadOptions = {}): readonly Operation[] {
  const { instructions, metadata, maps, programs, signature, structOpsSize, contextSize } = skeleton;
  const context = new Uint8Array(contextSize);
  const view = new DataView(context.buffer);
  view.setUint32(0, contextSize, true);
  view.setUint32(8, BPF_LOG_STATS, true);
  view.setUint32(12, LOG_BYTES, true);
  const nested: NestedBuffer[] = [{ isLog: true, offset: CONTEXT_AT, at: 16, bytes: undefined, size: LOG_BYTES }];
  for (const [i, { name, data }] of maps.entries()) {
    view.setUint32(mapDescOffset(i) + 4, options.maxEntries?.get(name) ?? 0, true);
    if (data === undefined) continue;
    const bytes = new Uint8Array(data.mmapSize);
    bytes.set(data.initialValue);
    bytes.set(options.data?.get(name)?.subarray(0, data.initialValue.length) ?? []);
    nested.push({ isLog: false, offset: CONTEXT_AT, at: mapDescOffset(i) + 8, bytes, size: bytes.length });
  }
  const run = makeCall('PROG_TEST_RUN', { ctx_size_in: contextSize, ctx_in: context }, { fds: { prog_fd: PROGRAM_SLOT } });
  return [
    ...keys(certificates),
    makeCall('MAP_CREATE', {
      map_type: U.BPF_MAP_TYPE_ARRAY, key_size: 4, value_size: metadata.length, max_entries: 1, map_name: '__loader.map',
      ...(signature === undefined ? {} : { excl_prog_hash: signature.exclusiveHash, excl_prog_hash_size: signature.exclusiveHash.length }),
    }, { save: MAP_SLOT }),
    makeCall('MAP_UPDATE_ELEM', { key: new Uint8Array(4), value: metadata }, { fds: { map_fd: MAP_SLOT } }),
    makeCall('MAP_FREEZE', {}, { fds: { map_fd: MAP_SLOT } }),
    makeCall('PROG_LOAD', {
      prog_type: U.BPF_PROG_TYPE_SYSCALL, prog_flags: BPF_F_SLEEPABLE, insns: instructions, insn_cnt: instructions.length / 8, license: cString('Dual BSD/GPL'),
      prog_name: '__loader.prog', log_level: BPF_LOG_STATS, log_size: LOG_BYTES, fd_array: new Uint8Array(4),
      ...(signature === undefined ? {} : { signature: signature.bytes, signature_size: signature.bytes.length, keyring_id: KEY_SPEC_SESSION_KEYRING, fd_array_cnt: 1 }),
    }, { save: PROGRAM_SLOT, outs: { log_buf: LOG_BYTES }, infds: [['fd_array', 0, MAP_SLOT]] }),
    {
      ...run, nested, inputs: run.inputs.map((input) => ({ ...input, answered: true })),
      taken: [
        ...maps.map((_, i) => ({ offset: CONTEXT_AT, at: mapDescOffset(i), slot: FIRST_MAP_SLOT + i })),
        ...programs.map((_, i) => ({ offset: CONTEXT_AT, at: progDescOffset(maps.length, i) + structOpsSize, slot: FIRST_PROGRAM_SLOT + i })),
      ],
    },
  ];
}
