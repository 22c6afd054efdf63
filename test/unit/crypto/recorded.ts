/**
 * Recorded signature cases performed directly on keyrings and admission, without a kernel around them: fast, and independent of
 * what the rest of a load does. The same files are replayed through a whole kernel elsewhere.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { RECORDED_ALGORITHMS, type KernelAlgorithms } from '../../../crypto/algorithms.ts';
import { fromHex } from '../../../crypto/bytes.ts';
import { Keyrings } from '../../../kernel/keys/keyrings.ts';
import { admit } from '../../../verifier/admission.ts';
import { VerifierEnv } from '../../../verifier/env.ts';
import type { ProgramLoad, UserArray, VerifierEnvironment } from '../../../verifier/types.ts';

/** What a kernel answered. */
export interface Want {
  readonly ret: number | 'fd';
  readonly errno: number;
  readonly log?: string;
}

interface Line {
  readonly blob?: string;
  readonly hex?: string;
  readonly case?: string;
  readonly op?: string;
  readonly name?: string;
  readonly der?: string;
  readonly attr?: string;
  readonly in?: Readonly<Record<string, string>>;
  readonly out?: Readonly<Record<string, number>>;
  readonly want?: Want;
}

/** One recorded case: keys offered to the session keyring, then at most one load. */
export interface RecordedCase {
  readonly name: string;
  readonly keys: readonly { readonly name: string; readonly der: Uint8Array; readonly want: Want }[];
  readonly load: { readonly attr: Uint8Array; readonly program: Uint8Array; readonly signature: Uint8Array | undefined; readonly want: Want } | undefined;
}

/** A file of test/parity/data. */
export function readData(name: string): string {
  return gunzipSync(readFileSync(join(import.meta.dirname, '../../parity/data', name))).toString('utf8');
}

/** The cases of a transcript that only adds keys and loads programs. */
export function readCases(name: string): RecordedCase[] {
  const blobs = new Map<string, string>(), cases: { name: string; keys: RecordedCase['keys'][number][]; load: RecordedCase['load'] }[] = [];
  const bytes = (text: string): Uint8Array => fromHex(text.startsWith('@') ? blobs.get(text.slice(1)) ?? '?' : text);
  for (const text of readData(name).split('\n').filter((t) => t !== '')) {
    const line = JSON.parse(text) as Line, last = cases.at(-1);
    if (line.blob !== undefined) blobs.set(line.blob, line.hex ?? '');
    else if (line.case !== undefined) cases.push({ name: line.case, keys: [], load: undefined });
    else if (line.op === 'key' && line.want !== undefined) last?.keys.push({ name: line.name ?? '', der: bytes(line.der ?? ''), want: line.want });
    else if (line.op === 'bpf' && line.want !== undefined && last !== undefined) {
      const signature = line.in?.['152'];
      last.load = {
        attr: bytes(line.attr ?? ''), program: bytes(line.in?.['8'] ?? ''), want: line.want,
        signature: signature === undefined ? undefined : bytes(signature),
      };
    }
  }
  return cases;
}

const NONE: UserArray = { count: 0, recordSize: 0, isNull: true, read: () => new Uint8Array(0) };

/** Keyrings of a fresh kernel whose clock stands still. */
export function freshKeyrings(options: Partial<ConstructorParameters<typeof Keyrings>[0]> = {}): Keyrings {
  let state = 1;
  return new Keyrings({ now: () => 1_700_000_000, random: () => (state = Math.imul(state, 1664525) + 1013904223 >>> 0) >>> 0, ...options });
}

/** A load as the recorded calls make it. */
export function programLoad(program: Uint8Array, signature: Uint8Array | undefined, size: number, keyringID: number, level: number): ProgramLoad {
  return {
    type: 1, expectedAttachType: 0, flags: 0, name: '', license: 'GPL', gplCompatible: true, kernelVersion: 0, ifindex: 0, instructions: program,
    attachBTFID: 0, attachBTF: undefined, attachProgram: undefined, btfFD: 0, funcInfo: NONE, lineInfo: NONE, coreRelos: NONE,
    fdArray: { present: false, count: 0, read: () => undefined },
    signature: signature === undefined ? undefined : { size, keyringID, read: () => signature.length < size ? undefined : signature.subarray(0, size) },
    log: { level, size: level === 0 ? 0 : 4096, present: level !== 0 }, capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true },
  };
}

/** An environment with keyrings and nothing else. */
export function environment(keyrings: Keyrings, more: Partial<VerifierEnvironment> = {}): VerifierEnvironment {
  return {
    resolveFD: () => -9, kernelBTF: () => undefined, kernelSymbol: () => undefined, onProgramLoad: () => 0, random: () => 0, now: () => 0,
    profile: '7.3', resolveKeyring: (id) => keyrings.resolveKeyring(id),
    verifySignature: (data, signature, keyring) => keyrings.verifySignature(data, signature, keyring), ...more,
  };
}

/** Our answers to a case. */
export interface Answers {
  /** Per key: 0 or a positive error number. */
  readonly keys: readonly number[];
  /** 0 or a positive error number; `undefined` where nothing is loaded. */
  readonly load: number | undefined;
  readonly log: string;
  readonly reason: string;
}

/** Performs a case on fresh keyrings, by default those of the recorded kernel. */
export function perform(recorded: RecordedCase, algorithms: KernelAlgorithms = RECORDED_ALGORITHMS): Answers {
  const keyrings = freshKeyrings({ algorithms }), keys = recorded.keys.map(({ name, der }) => Math.max(0, -keyrings.addKey('asymmetric', name, der, -3)));
  const { load } = recorded;
  if (load === undefined) return { keys, load: undefined, log: '', reason: '' };
  const view = new DataView(load.attr.buffer, load.attr.byteOffset), level = view.getUint32(24, true);
  const env = new VerifierEnv(programLoad(load.program, load.signature, view.getUint32(160, true), view.getInt32(164, true), level), environment(keyrings));
  const { error } = admit(env);
  return { keys, load: Math.abs(error), log: env.log.render(), reason: keyrings.verification?.reason ?? '' };
}
