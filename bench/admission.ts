/**
 * What admission costs: one signature per kind of key, digests and folding per MiB, each as a ratio to `node:crypto` alone on the
 * same bytes. `node bench/admission.js [--json] [--rounds N]` after `tsc -p bench/tsconfig.json`.
 *
 * Both sides run in turn within a round; a figure is the least CPU time over the rounds, which other work on the machine disturbs
 * least, and a ratio is that of the figures.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign as nodeSign, verify as nodeVerify, X509Certificate, type KeyObject } from 'node:crypto';
import { ALL_ALGORITHMS } from '../crypto/algorithms.ts';
import { concatBytes, fromHex } from '../crypto/bytes.ts';
import { derBitString, derElement, derExplicit, derNull, derOctetString, derOID, derSequence, derSetOf } from '../crypto/der.ts';
import { digest } from '../crypto/digest.ts';
import { OID } from '../crypto/oid.ts';
import { readPrivateKey } from '../crypto/private-key.ts';
import { setProvider } from '../crypto/provider.ts';
import { expandMLDSA, signMLDSA } from '../crypto/mldsa.ts';
import { signDetached } from '../crypto/sign.ts';
import { KEY_SPEC_SESSION_KEYRING, Keyrings } from '../kernel/keys/keyrings.ts';
import { createNodeProvider } from '../src/node/native-crypto.ts';
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
  readonly ratio: number | null;
}

const MIB = 1 << 20, PROGRAM = fromHex('b7000000000000009500000000000000');
const rounds = Number(process.argv[process.argv.indexOf('--rounds') + 1]) || 31;

/** CPU microseconds of one call, over `count` calls. */
function timed(call: () => void, count: number): number {
  const start = process.cpuUsage();
  for (let i = 0; i < count; i++) call();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / count;
}

/** Warms a call up, and says how often to make it to last about 4 ms. */
function callsFor(call: () => void): number {
  const until = process.hrtime.bigint() + 200_000_000n;
  while (process.hrtime.bigint() < until) call();
  const once = timed(call, 3);
  return Math.max(1, Math.min(2000, Math.floor(4000 / Math.max(once, 1))));
}

/** What is timed. */
interface Task {
  readonly what: string;
  readonly bytes: number;
  readonly ours: () => void;
  readonly node: (() => void) | undefined;
  readonly portable: boolean;
}

function measure({ what, bytes, ours, node }: Task): Row {
  const count = callsFor(ours), nodeCount = node === undefined ? 0 : callsFor(node);
  let least = Infinity, leastNode = Infinity;
  for (let round = 0; round < rounds; round++) {
    if (node !== undefined) leastNode = Math.min(leastNode, timed(node, nodeCount));
    least = Math.min(least, timed(ours, count));
  }
  return { what, bytes, ours: least, portable: null, node: node === undefined ? null : leastNode, ratio: node === undefined ? null : least / leastNode };
}

/** Least of a few calls without native primitives. */
function measurePortably({ ours }: Task): number {
  let least = Infinity;
  for (let round = 0; round < 5; round++) least = Math.min(least, timed(ours, 1));
  return least;
}

const NOTHING: UserArray = { count: 0, recordSize: 0, isNull: true, read: () => new Uint8Array(0) };

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
    if (error !== 0) throw new Error(`admission gave ${error}: ${keyrings.verification?.reason}`);
  };
}

const name = derSequence(derSetOf(derSequence(derOID(OID.commonName), derElement(0x0c, new TextEncoder().encode('bench')))));
const time = derElement(0x17, new TextEncoder().encode('240101000000Z'));

function certificate(spki: Uint8Array, algorithm: Uint8Array, signTBS: (tbs: Uint8Array) => Uint8Array): Uint8Array {
  const tbs = derSequence(
    derExplicit(0, fromHex('020102')), fromHex('020101'), algorithm, name, derSequence(time, time), name, spki,
    derExplicit(3, derSequence(derSequence(derOID(OID.subjectKeyIdentifier), derOctetString(derOctetString(digest('sha1', spki)))))));
  return derSequence(tbs, algorithm, derBitString(signTBS(tbs)));
}

interface Signer {
  readonly label: string;
  readonly certificate: Uint8Array;
  sign(...parts: Uint8Array[]): Uint8Array;
  /** node:crypto's own verification of a signature over the same bytes. */
  reference(data: Uint8Array): (() => void) | undefined;
}

function nodeSigner(label: string, pair: { privateKey: KeyObject; publicKey: KeyObject }, algorithm: Uint8Array): Signer {
  const pkcs8 = pair.privateKey.export({ type: 'pkcs8', format: 'der' }), der = certificate(
    pair.publicKey.export({ type: 'spki', format: 'der' }), algorithm, (tbs) => nodeSign('sha256', tbs, pair.privateKey));
  // What a caller of node:crypto has who checks one detached signature: a parsed public key.
  const key = createPublicKey(new X509Certificate(der).publicKey.export({ type: 'spki', format: 'pem' }));
  return {
    label, certificate: der,
    sign: (...parts) => signDetached(parts, readPrivateKey(pkcs8, label), der),
    reference: (data) => {
      const value = nodeSign('sha256', data, createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }));
      return () => {
        if (!nodeVerify('sha256', data, key, value)) throw new Error('node:crypto does not verify its own signature');
      };
    },
  };
}

function mldsaSigner(kind: 'mldsa44' | 'mldsa65' | 'mldsa87'): Signer {
  const seed = digest('sha256', new TextEncoder().encode(kind)), { secretKey, publicKey } = expandMLDSA(kind, seed);
  const algorithm = derSequence(derOID({ mldsa44: OID.mlDSA44, mldsa65: OID.mlDSA65, mldsa87: OID.mlDSA87 }[kind]));
  const der = certificate(derSequence(algorithm, derBitString(publicKey)), algorithm, (tbs) => signMLDSA(kind, secretKey, [tbs]));
  const pkcs8 = derSequence(fromHex('020100'), algorithm, derOctetString(derElement(0x80, seed)));
  return { label: `ML-DSA-${kind.slice(5)}`, certificate: der, sign: (...parts) => signDetached(parts, readPrivateKey(pkcs8, kind), der), reference: () => undefined };
}

const RSA = derSequence(derOID(OID.sha256WithRSA), derNull()), ECDSA = derSequence(derOID(OID.ecdsaWithSHA256));
const rsa = (modulusLength: number): Signer => nodeSigner(`RSA-${modulusLength}`, generateKeyPairSync('rsa', { modulusLength }), RSA);
const ec = (label: string, namedCurve: string): Signer => nodeSigner(label, generateKeyPairSync('ec', { namedCurve }), ECDSA);
const signers = [
  rsa(2048), rsa(3072), rsa(4096), ec('ECDSA P-256', 'prime256v1'), ec('ECDSA P-384', 'secp384r1'), ec('ECDSA P-521', 'secp521r1'),
  mldsaSigner('mldsa44'), mldsaSigner('mldsa65'), mldsaSigner('mldsa87'),
];

function keyringsWith(signer: Signer): Keyrings {
  let state = 1;
  const keyrings = new Keyrings({ now: () => 1_800_000_000, random: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0), algorithms: ALL_ALGORITHMS });
  const serial = keyrings.addKey('asymmetric', 'bench', signer.certificate, KEY_SPEC_SESSION_KEYRING);
  if (serial < 0) throw new Error(`${signer.label}: add_key gave ${serial}`);
  return keyrings;
}

const tasks: Task[] = signers.map((signer) => ({
  what: `verify ${signer.label}`, bytes: PROGRAM.length, ours: admission(keyringsWith(signer), signer.sign(PROGRAM), []), node: signer.reference(PROGRAM), portable: true,
}));
for (const size of [1, 4, 15]) {
  const data = new Uint8Array(size * MIB).map((_, i) => i * 31), whole = concatBytes(PROGRAM, data);
  tasks.push({
    what: `SHA-256 of ${size} MiB`, bytes: data.length, ours: () => digest('sha256', data), node: () => createHash('sha256').update(data).digest(), portable: size === 1,
  });
  for (const signer of signers.filter(({ label }) => label === 'RSA-2048' || label === 'ECDSA P-256' || label === 'ML-DSA-65')) {
    tasks.push({
      what: `fold and verify ${size} MiB, ${signer.label}`, bytes: whole.length, ours: admission(keyringsWith(signer), signer.sign(PROGRAM, data), [map(data)]),
      node: signer.reference(whole), portable: size === 1,
    });
  }
}
// A process has one kind of primitives: all that is native is timed before anything portable runs.
setProvider(createNodeProvider());
const native = tasks.map(measure);
setProvider(undefined);
const rows = native.map((row, i): Row => tasks[i]?.portable === true ? { ...row, portable: measurePortably(tasks[i]) } : row);

if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ node: process.version, openssl: process.versions.openssl, rounds, rows })}\n`);
else {
  const figure = (value: number | null): string => (value === null ? '-' : value < 1000 ? `${value.toFixed(1)} us` : `${(value / 1000).toFixed(2)} ms`).padStart(10);
  process.stdout.write(`${'what'.padEnd(36)}${'ours'.padStart(10)}${'portable'.padStart(10)}${'node'.padStart(10)}     ratio\n`);
  for (const row of rows) {
    process.stdout.write(`${row.what.padEnd(36)}${figure(row.ours)}${figure(row.portable)}${figure(row.node)}${(row.ratio === null ? '-' : row.ratio.toFixed(3)).padStart(10)}\n`);
  }
}
