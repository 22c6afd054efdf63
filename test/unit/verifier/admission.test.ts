/** Admission: which check decides, with which error number and log line, for both ways in which kernels check signatures. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { concatBytes, fromHex } from '../../../crypto/bytes.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { readPrivateKey } from '../../../crypto/private-key.ts';
import { setProvider } from '../../../crypto/provider.ts';
import { signDetached } from '../../../crypto/sign.ts';
import type { Keyrings } from '../../../kernel/keys/keyrings.ts';
import { createNodeProvider } from '../../../src/node/native-crypto.ts';
import { admit, admitBeforeLog, MAX_SIGNED_SIZE } from '../../../verifier/admission.ts';
import { VerifierEnv } from '../../../verifier/env.ts';
import { addUsedBTF, addUsedMap } from '../../../verifier/insns.ts';
import type { Admission, BTFDescriptor, MapDescriptor, ProgramDescriptor, ProgramLoad, VerifierEnvironment } from '../../../verifier/types.ts';
import { environment, freshKeyrings, programLoad } from '../crypto/recorded.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/keys');
const PROGRAM = fromHex('b7000000000000009500000000000000'), DIGEST = sha256(PROGRAM), SESSION = -3;
const certificate = readFileSync(join(FIXTURES, 'rsa2048.der'));
const sign = (...parts: Uint8Array[]): Uint8Array => signDetached(parts, readPrivateKey(readFileSync(join(FIXTURES, 'rsa2048.pem')), 'key'), certificate);

beforeAll(() => {
  setProvider(createNodeProvider());
  return () => setProvider(undefined);
});

const ENOTSUPP = 524;

/** A frozen, exclusive array of one element; `changes` replaces facts. */
function map(name: string, contents: Uint8Array, changes: Partial<MapDescriptor> = {}): MapDescriptor {
  return {
    kind: 'map', id: 1, name, type: 2, keySize: 4, valueSize: contents.length, maxEntries: 1, flags: 0, mapExtra: 0n, frozen: true, hasActiveWriters: false,
    exclusiveDigest: DIGEST, btf: undefined, btfKeyTypeID: 0, btfValueTypeID: 0, btfVmlinuxValueTypeID: 0, innerMap: undefined, address: 4096,
    directValueAddress: () => 8192, signedContents: () => contents, readDirectValue: () => undefined, ...changes,
  };
}
const btf = { kind: 'btf', id: 7, btf: {}, isKernel: false } as unknown as BTFDescriptor;

interface Setup {
  readonly fds?: Readonly<Record<number, MapDescriptor | BTFDescriptor | ProgramDescriptor>>;
  readonly fdArray?: readonly (number | undefined)[];
  readonly count?: number;
  readonly noArray?: boolean;
  readonly signature?: Uint8Array;
  readonly size?: number;
  readonly unreadable?: boolean;
  readonly keyring?: number;
  readonly program?: Uint8Array;
  readonly profile?: string;
  readonly hook?: (admission: Admission) => number;
  readonly keyrings?: Keyrings;
}

interface Outcome {
  readonly errno: number;
  readonly log: string;
  readonly admission: Admission;
  readonly env: VerifierEnv;
}

function attempt(setup: Setup): Outcome {
  const keyrings = setup.keyrings ?? freshKeyrings();
  if (setup.keyrings === undefined) keyrings.addKey('asymmetric', 'signer', certificate, SESSION);
  const base = programLoad(setup.program ?? PROGRAM, setup.signature, setup.size ?? setup.signature?.length ?? 0, setup.keyring ?? SESSION, 1);
  const { fdArray: fds = [] } = setup;
  const load: ProgramLoad = {
    ...base, fdArray: { present: setup.noArray !== true && (fds.length > 0 || setup.count !== undefined), count: setup.count ?? fds.length, read: (i) => fds[i] },
    signature: base.signature !== undefined && setup.unreadable === true ? { ...base.signature, read: () => undefined } : base.signature,
  };
  const ext: VerifierEnvironment = environment(keyrings, {
    resolveFD: (fd) => setup.fds?.[fd] ?? -9, onProgramLoad: setup.hook ?? (() => 0), ...(setup.profile === undefined ? {} : { profile: setup.profile }),
  });
  const env = new VerifierEnv(load, ext), early = admitBeforeLog(env);
  if (early !== 0) return { errno: -early, log: '', admission: env.admission, env };
  const { error, admission } = admit(env);
  return { errno: Math.abs(error), log: env.log.render(), admission, env };
}

const A = fromHex('aa'.repeat(16)), B = fromHex('bb'.repeat(8));

describe('what a signature covers', () => {
  test('instructions alone', () => {
    const { errno, log, admission } = attempt({ signature: sign(PROGRAM) });
    expect({ errno, log }).toEqual({ errno: 0, log: 'signature verification passed\n' });
    expect(admission).toMatchObject({ verdict: 1, keyringType: 4 });
    expect(admission.keyringSerial).toBeGreaterThan(2);
    expect(admission.digest).toEqual(DIGEST);
  });

  test.each([
    ['both maps in order', [1, 2], [PROGRAM, A, B], 0], ['swapped', [2, 1], [PROGRAM, A, B], 129], ['one dropped', [1], [PROGRAM, A, B], 129],
    ['one too many', [1, 2], [PROGRAM, A], 129], ['a duplicate counts once', [1, 1, 2, 1], [PROGRAM, A, B], 0],
    ['no separator between the parts', [1], [concatBytes(PROGRAM, A)], 0], ['instructions only', [1, 2], [PROGRAM], 129],
  ] as const)('%s', (_, fdArray, parts, errno) => {
    const outcome = attempt({ signature: sign(...parts), fdArray, fds: { 1: map('a', A), 2: map('b', B) } });
    expect(outcome.errno).toBe(errno);
    expect(outcome.log).toBe(errno === 0 ? 'signature verification passed\n' : 'signature verification failed: -129\n');
    expect(outcome.admission.verdict).toBe(errno === 0 ? 1 : 0);
  });

  test('every byte of map and program', () => {
    const signature = sign(PROGRAM, A);
    for (let i = 0; i < A.length; i++) {
      const changed = A.slice();
      changed[i] = (changed[i] ?? 0) ^ 1;
      expect(attempt({ signature, fdArray: [1], fds: { 1: map('a', changed) } }).errno).toBe(129);
    }
    const program = PROGRAM.slice();
    program[4] = 1;
    expect(attempt({ signature, program, fdArray: [1], fds: { 1: map('a', A, { exclusiveDigest: sha256(program) }) } }).errno).toBe(129);
  });
});

describe('refusals, with the kernel\'s log lines', () => {
  const signature = sign(PROGRAM, A);
  const bound = (changes: Partial<MapDescriptor>): Setup => ({ signature, fdArray: [1], fds: { 1: map('meta', A, changes) } });
  test.each<[string, Setup, number, string]>([
    ['not exclusive', bound({ exclusiveDigest: undefined }), 1, "signed program metadata map 'meta' must be exclusive\n"],
    ['not frozen', bound({ frozen: false }), 1, "signed program metadata map 'meta' must be frozen\n"],
    ['writers', bound({ hasActiveWriters: true }), 16, "signed program metadata map 'meta' has active writers\n"],
    ['hash', bound({ type: 1 }), 22, "signed program metadata map 'meta' must be an array\n"],
    ['hash before frozen', bound({ type: 1, frozen: false }), 22, "signed program metadata map 'meta' must be an array\n"],
    ['frozen before writers', bound({ frozen: false, hasActiveWriters: true }), 1, "signed program metadata map 'meta' must be frozen\n"],
    ['writers before exclusive', bound({ exclusiveDigest: undefined, hasActiveWriters: true }), 16, "signed program metadata map 'meta' has active writers\n"],
    ['another digest', bound({ exclusiveDigest: A }), 13, "program's hash doesn't match map's excl_prog_hash\n"],
    ['two elements', bound({ maxEntries: 2, signedContents: () => -ENOTSUPP }), ENOTSUPP, "failed to read signed metadata map 'meta': -524\n"],
    ['too large', bound({ valueSize: MAX_SIGNED_SIZE - PROGRAM.length + 1 }), 7, 'signed payload too large: 16777216 bytes\n'],
    ['a BTF', { signature, fdArray: [2], fds: { 2: btf } }, 13, 'signed program cannot bind any BTF\n'],
    ['nothing behind the fd', { signature, fdArray: [9] }, 9, 'fd 9 is not pointing to valid bpf_map or btf\n'],
    ['fds that cannot be read', { signature, fdArray: [undefined] }, 14, ''],
    ['count without array', { signature, noArray: true, count: 3 }, 22, 'fd_array_cnt 3 without fd_array is invalid\n'],
    ['count too large', { signature, count: 4097 }, 7, 'fd_array has too many entries (4097, max 4096)\n'],
    ['size 0', { signature, size: 0 }, 22, ''],
    ['size above 8192', { signature, size: 8193 }, 22, ''],
    ['size before keyring', { signature, size: 8193, keyring: 2147483647 }, 22, ''],
    ['unknown keyring', { signature, keyring: 2147483647 }, 22, 'cannot resolve signing keyring with keyring_id 2147483647\n'],
    ['negative keyring', { signature, keyring: -9 }, 22, 'cannot resolve signing keyring with keyring_id -9\n'],
    ['keyring before unreadable', { signature, unreadable: true, keyring: -9 }, 22, 'cannot resolve signing keyring with keyring_id -9\n'],
    ['unreadable', { signature, unreadable: true }, 14, ''],
    ['unreadable before maps', { ...bound({ frozen: false }), unreadable: true }, 14, ''],
    ['builtin', { signature: sign(PROGRAM), keyring: 0 }, 126, 'signature verification failed: -126\n'],
    ['platform that is not there', { signature: sign(PROGRAM), keyring: 2 }, 126, 'signature verification failed: -126\n'],
    ['half of a 16-byte load at the end', { signature, program: fromHex('b700000000000000' + '1800000000000000') }, 22, 'invalid bpf_ld_imm64 insn\n'],
    ['half of a load before fd_array', { signature, count: 4097, program: fromHex('1800000000000000') }, 22, 'invalid bpf_ld_imm64 insn\n'],
    ['junk', { signature: fromHex('30421337' + '00'.repeat(60)) }, 74, 'signature verification failed: -74\n'],
  ])('%s', (_, setup, errno, log) => {
    const hooked: Admission[] = [];
    const outcome = attempt({ ...setup, hook: (admission) => hooked.push(admission) && 0 });
    expect({ errno: outcome.errno, log: outcome.log }).toEqual({ errno, log });
    expect(outcome.admission).toMatchObject({ verdict: 0, keyringType: 0, keyringSerial: 0 });
    expect(hooked).toEqual([]);
  });

  test('the 65th map', () => {
    const fds = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [i, map(`m${i}`, B)]));
    expect(attempt({ signature, fds, fdArray: Object.keys(fds).map(Number) })).toMatchObject({
      errno: 7, log: 'The total number of maps per program has reached the limit of 64\n',
    });
  });
});

describe('unsigned loads', () => {
  test('say so, whatever size and keyring are', () => {
    expect(attempt({ size: 379, keyring: 12345 })).toMatchObject({ errno: 0, log: '', admission: { verdict: 0, keyringType: 0, keyringSerial: 0, digest: undefined } });
  });
  test('cannot bind an exclusive map up front, not even the right program', () => {
    expect(attempt({ fdArray: [1], fds: { 1: map('meta', A) } })).toMatchObject({ errno: 13, log: "program's hash doesn't match map's excl_prog_hash\n" });
  });
  test('bind maps and BTFs', () => {
    const one = map('one', A, { exclusiveDigest: undefined, frozen: false }), { errno, env } = attempt({ fdArray: [1, 2, 1], fds: { 1: one, 2: btf } });
    expect(errno).toBe(0);
    expect(env.usedMaps).toEqual([one]);
    expect(env.usedBTFs).toEqual([btf]);
    expect(env.fdArray).toEqual([one, btf, one]);
  });
});

describe('the hook', () => {
  test('sees the verdict after everything was checked, and can refuse', () => {
    const seen: Admission[] = [], bound = map('meta', A);
    const outcome = attempt({ signature: sign(PROGRAM, A), fdArray: [1], fds: { 1: bound }, hook: (admission) => (seen.push(admission), -1) });
    expect(outcome).toMatchObject({ errno: 1, log: 'signature verification passed\n' });
    expect(seen).toMatchObject([{ verdict: 1, keyringType: 4, boundMaps: [bound] }]);
  });
  test.each([[0, 1], [1, 2], [2, 3]])('keyring %i is recorded as type %i without a serial', (keyring, keyringType) => {
    const keyrings = freshKeyrings({ builtin: [certificate], platform: [certificate] });
    expect(attempt({ signature: sign(PROGRAM), keyring, keyrings }).admission).toMatchObject({ verdict: 1, keyringType, keyringSerial: 0 });
  });
});

describe('after admission, a signed program', () => {
  test('keeps what it bound and gets nothing more', () => {
    const bound = map('meta', A), { env } = attempt({ signature: sign(PROGRAM, A), fdArray: [1], fds: { 1: bound } });
    expect(addUsedMap(env, bound, true)).toBe(0);
    expect(addUsedMap(env, map('late', B), true)).toBe(-13);
    expect(addUsedBTF(env, btf)).toBe(-13);
    expect(env.log.render()).toBe(
      "signature verification passed\nsigned program cannot bind map 'late' not covered by the signature\nsigned program cannot bind any BTF\n");
  });
});

describe('6.18, which checks in the system call', () => {
  const profile = '6.18';
  test('covers the instructions alone and records nothing', () => {
    const seen: Admission[] = [], signature = sign(PROGRAM);
    const outcome = attempt({ profile, signature, hook: (admission) => (seen.push(admission), 0) });
    expect(outcome).toMatchObject({ errno: 0, log: '', admission: { verdict: 0, keyringType: 0, keyringSerial: 0 } });
    expect(seen).toMatchObject([{ verdict: 0, keyringType: 0, boundMaps: [] }]);
    expect(outcome.env.signed).toBe(false);
  });
  test.each<[string, Setup, number]>([
    ['a signature made for 7.3', { signature: sign(PROGRAM, A), fdArray: [1], fds: { 1: map('meta', A) } }, 129],
    ['no bytes', { signature: new Uint8Array(0), size: 0 }, 74],
    ['too many bytes', { signature: sign(PROGRAM), size: 8193 }, 22],
    ['unreadable', { signature: sign(PROGRAM), unreadable: true }, 12],
    ['unknown keyring', { signature: sign(PROGRAM), keyring: 99999 }, 22],
    ['signature before the last instruction', { signature: fromHex('00'), program: fromHex('1800000000000000') }, 74],
    ['exclusive map up front', { signature: sign(PROGRAM), fdArray: [1], fds: { 1: map('meta', A) } }, 13],
    ['count without array', { count: 3, noArray: true }, 14],
  ])('%s', (_, setup, errno) => {
    const outcome = attempt({ ...setup, profile });
    expect(outcome.errno).toBe(errno);
    expect(outcome.log).not.toMatch(/signature/);
  });
  test('a signature made for it fails on 7.3 where a map is bound', () => {
    expect(attempt({ signature: sign(PROGRAM), fdArray: [1], fds: { 1: map('meta', A) } }).errno).toBe(129);
  });
});
