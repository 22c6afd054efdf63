/**
 * What checking a signature costs beside what it must cost: one per kind of key, digests and folding per MiB, each as a ratio to
 * `node:crypto` alone on the same bytes. The whole of an admission is `bpftwin bench`, whose keys, instruments and methods these are.
 *
 *     npm run bench:admission -- [--json] [--seconds S] [--only REGEX]
 *
 * Both sides run in alternating pairs; a ratio is the median of the pairs' own, with its interval for 95 %. Times are processor time.
 */
import { createHash, createPrivateKey, createPublicKey, sign as nodeSign, verify as nodeVerify, X509Certificate } from 'node:crypto';
import { parseArgs } from 'node:util';
import { ALL_ALGORITHMS } from '../crypto/algorithms.ts';
import { concatBytes } from '../crypto/bytes.ts';
import { digest } from '../crypto/digest.ts';
import { encodePKCS8 } from '../crypto/private-key.ts';
import { setProvider } from '../crypto/provider.ts';
import { InternalError } from '../isa/errors.ts';
import { KEY_SPEC_SESSION_KEYRING, Keyrings } from '../kernel/keys/keyrings.ts';
import { createSigner, KEY_NAMES, type Signer } from '../src/bench/keys.ts';
import { comparePairs, condense, type Contender, type Effort } from '../src/bench/measure.ts';
import { PhaseClock } from '../src/bench/phases.ts';
import { straightProgram } from '../src/bench/programs.ts';
import { estimateMedian, type Estimate } from '../src/bench/statistics.ts';
import { createInstruments, generateRSAKey } from '../src/node/instruments.ts';
import { admit } from '../verifier/admission.ts';
import { VerifierEnv } from '../verifier/env.ts';
import type { MapDescriptor, ProgramLoad, UserArray, VerifierEnvironment } from '../verifier/types.ts';

/** One line of the report. Times in microseconds. */
interface Row {
  readonly what: string;
  readonly bytes: number;
  readonly ours: number;
  readonly portable: number | null;
  readonly node: number | null;
  /** `ours / node`; `null` where node:crypto has no such thing. */
  readonly ratio: Estimate | null;
  /** The lower quartiles' ratio: what other processes disturbed least. */
  readonly calm: number | null;
}

/** What is timed. */
interface Task {
  readonly what: string;
  readonly bytes: number;
  readonly ours: () => void;
  readonly node: (() => void) | undefined;
  readonly portable: boolean;
}

const { values } = parseArgs({ options: { json: { type: 'boolean' }, seconds: { type: 'string', default: '2' }, only: { type: 'string', default: '' } } });
const MIB = 1 << 20, PROGRAM = straightProgram(3), seconds = Number(values.seconds) || 0.6;
const effort: Effort = { seconds, least: 15, warm: seconds };
const instruments = createInstruments(), clock = new PhaseClock(() => instruments.now(), () => instruments.used());
const NOTHING: UserArray = { count: 0, recordSize: 0, isNull: true, read: () => new Uint8Array(0) };

function contender(work: () => void): Contender {
  return {
    phases: undefined,
    perform: () => {
      clock.begin();
      work();
      return clock.end();
    },
  };
}

function measure({ what, bytes, ours, node }: Task): Row {
  if (node !== undefined) {
    const { first, second, ratio, calm } = comparePairs(instruments, contender(node), contender(ours), effort);
    return { what, bytes, ours: second.value * 1e6, portable: null, node: first.value * 1e6, ratio, calm };
  }
  return { what, bytes, ours: sampled(what, ours, effort), portable: null, node: null, ratio: null, calm: null };
}

/** Microseconds, the median. */
function sampled(what: string, work: () => void, wanted: Effort): number {
  const times: number[] = [], { perform } = contender(work);
  instruments.sample(what, () => void times.push(perform().whole), wanted);
  return estimateMedian(condense(times)).value * 1e6;
}

function load(signature: Uint8Array, count: number): ProgramLoad {
  return {
    type: 31, expectedAttachType: 0, flags: 0, name: '', license: 'GPL', gplCompatible: true, kernelVersion: 0, ifindex: 0, instructions: PROGRAM,
    attachBTFID: 0, attachBTF: undefined, attachProgram: undefined, btfFD: 0, funcInfo: NOTHING, lineInfo: NOTHING, coreRelos: NOTHING,
    fdArray: { present: count > 0, count, read: (i) => i }, signature: { size: signature.length, keyringID: KEY_SPEC_SESSION_KEYRING, read: () => signature },
    log: { level: 0, size: 0, present: false }, capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true },
  };
}

function map(contents: Uint8Array): MapDescriptor {
  return {
    kind: 'map', id: 1, name: 'meta', type: 2, keySize: 4, valueSize: contents.length, maxEntries: 1, flags: 0, mapExtra: 0n, frozen: true, hasActiveWriters: false,
    exclusiveDigest: digest('sha256', PROGRAM), btf: undefined, btfKeyTypeID: 0, btfValueTypeID: 0, btfVmlinuxValueTypeID: 0, innerMap: undefined, address: 0,
    directValueAddress: () => 0, signedContents: () => contents, readDirectValue: () => undefined,
  };
}

/** Everything from the first look at the instructions to the verdict; the verifier's own working memory is made beforehand. */
function admission(keyrings: Keyrings, signature: Uint8Array, maps: readonly MapDescriptor[]): () => void {
  const ext: VerifierEnvironment = {
    resolveFD: (fd) => maps[fd] ?? -9, kernelBTF: () => undefined, kernelSymbol: () => undefined, onProgramLoad: () => 0, random: () => 0, now: () => 0,
    profile: '7.3', resolveKeyring: (id) => keyrings.resolveKeyring(id), verifySignature: (data, sig, ring) => keyrings.verifySignature(data, sig, ring),
  };
  const env = new VerifierEnv(load(signature, maps.length), ext);
  return () => {
    const { error } = admit(env);
    if (error !== 0) throw new InternalError(`admission gave ${error}: ${keyrings.verification?.reason}`);
  };
}

/** node:crypto's own verification of a signature over the same bytes, with what a caller has who checks one: a parsed public key. */
function reference({ key, certificate }: Signer, data: Uint8Array): (() => void) | undefined {
  if (key.kind !== 'rsa' && key.kind !== 'ec') return undefined;
  const value = nodeSign('sha256', data, createPrivateKey({ key: Buffer.from(encodePKCS8(key)), format: 'der', type: 'pkcs8' }));
  const publicKey = createPublicKey(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'pem' }));
  return () => {
    if (!nodeVerify('sha256', data, publicKey, value)) throw new InternalError('node:crypto does not verify its own signature');
  };
}

function keyringsWith({ name, certificate }: Signer): Keyrings {
  let state = 1;
  const keyrings = new Keyrings({ now: () => 1_800_000_000, random: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0), algorithms: ALL_ALGORITHMS });
  const serial = keyrings.addKey('asymmetric', 'bench', certificate, KEY_SPEC_SESSION_KEYRING);
  if (serial < 0) throw new InternalError(`${name}: add_key gave ${serial}`);
  return keyrings;
}

const signers = KEY_NAMES.map((name) => createSigner(name, generateRSAKey));
const tasks: Task[] = signers.map((signer) => ({
  what: `verify ${signer.name}`, bytes: PROGRAM.length, ours: admission(keyringsWith(signer), signer.sign([PROGRAM]), []), node: reference(signer, PROGRAM), portable: true,
}));
for (const size of [1, 4, 15]) {
  const data = new Uint8Array(size * MIB).map((_, i) => i * 31), whole = concatBytes(PROGRAM, data);
  tasks.push({
    what: `SHA-256 of ${size} MiB`, bytes: data.length, ours: () => digest('sha256', data), node: () => createHash('sha256').update(data).digest(), portable: size === 1,
  });
  for (const signer of signers.filter(({ name }) => name === 'RSA-2048' || name === 'ECDSA P-256' || name === 'ML-DSA-65')) {
    tasks.push({
      what: `fold and verify ${size} MiB, ${signer.name}`, bytes: whole.length, ours: admission(keyringsWith(signer), signer.sign([PROGRAM, data]), [map(data)]),
      node: reference(signer, whole), portable: size === 1,
    });
  }
}
const wanted = new RegExp(values.only, 'i'), chosen = tasks.filter(({ what }) => wanted.test(what));
// A process has one kind of primitives: all that is native is timed before anything portable runs.
const native = chosen.map(measure);
setProvider(undefined);
const rows = native.map((row, i): Row => {
  const task = chosen[i];
  return task?.portable === true ? { ...row, portable: sampled(task.what, task.ours, { seconds: seconds / 4, least: 3, warm: 0 }) } : row;
});

if (values.json === true) process.stdout.write(`${JSON.stringify({ node: process.version, openssl: process.versions.openssl, seconds, rows })}\n`);
else {
  const figure = (value: number | null): string => (value === null ? '-' : value < 1000 ? `${value.toFixed(1)} us` : `${(value / 1000).toFixed(2)} ms`).padStart(10);
  const ratioOf = ({ ratio, calm }: Row): string => (ratio === null || calm === null ? '-' : `${ratio.value.toFixed(3)} (${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)}), calm ${calm.toFixed(3)}`);
  process.stdout.write(`${'what'.padEnd(36)}${'ours'.padStart(10)}${'portable'.padStart(10)}${'node'.padStart(10)}     ratio\n`);
  for (const row of rows) process.stdout.write(`${row.what.padEnd(36)}${figure(row.ours)}${figure(row.portable)}${figure(row.node)}     ${ratioOf(row)}\n`);
}
