/** System keyrings, blacklist, revocation list and listings: what the recorded kernel was built without, by the kernel's rules. */
import { beforeAll, describe, expect, test } from 'vitest';
import { ALL_ALGORITHMS, DISTRIBUTION_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { fromHex, toHex } from '../../../crypto/bytes.ts';
import { setProvider } from '../../../crypto/provider.ts';
import { isRefusal } from '../../../crypto/rejection.ts';
import { parseCertificate, type Certificate } from '../../../crypto/x509.ts';
import { InputError } from '../../../isa/errors.ts';
import type { Keyrings } from '../../../kernel/keys/keyrings.ts';
import { createNodeProvider } from '../../../src/node/native-crypto.ts';
import { freshKeyrings, readCases, type RecordedCase } from '../crypto/recorded.ts';

beforeAll(() => {
  setProvider(createNodeProvider());
  return () => setProvider(undefined);
});

const cases = new Map(readCases('signatures.jsonl.gz').map((recorded) => [recorded.name, recorded]));
const SESSION = -3;

function recordedCase(name: string): { readonly keys: Uint8Array[]; readonly program: Uint8Array; readonly signature: Uint8Array } {
  const recorded: RecordedCase | undefined = cases.get(name);
  if (recorded?.load?.signature === undefined) throw new Error(`no case ${name}`);
  return { keys: recorded.keys.map(({ der }) => der), program: recorded.load.program, signature: recorded.load.signature };
}

/** Answer to a recorded signature with these keyrings, named by `keyring_id`. */
function verify(keyrings: Keyrings, name: string, keyringID: number): number {
  const { program, signature } = recordedCase(name), ring = keyrings.resolveKeyring(keyringID);
  return ring === undefined ? NaN : keyrings.verifySignature(program, signature, ring);
}

const certificate = (der: Uint8Array): Certificate => {
  const parsed = parseCertificate(der, { algorithms: ALL_ALGORITHMS });
  if (isRefusal(parsed)) throw new Error(parsed.reason);
  return parsed;
};
const [signer] = recordedCase('load: rsa key id').keys, [root] = recordedCase('chain: all embedded, trust root').keys;
const [leaf] = recordedCase('chain: all embedded, trust leaf').keys, [middle] = recordedCase('chain: all embedded, trust middle').keys;
if (signer === undefined || root === undefined || leaf === undefined || middle === undefined) throw new Error('recorded certificates are missing');

describe('system keyrings', () => {
  test('vouch under their own number, and builtin also under secondary', () => {
    const builtin = freshKeyrings({ builtin: [signer] }), secondary = freshKeyrings({ secondary: [signer] }), platform = freshKeyrings({ platform: [signer] });
    const answers = (keyrings: Keyrings): number[] => [0, 1, 2, SESSION].map((id) => verify(keyrings, 'load: rsa key id', id));
    expect(answers(builtin)).toEqual([0, 0, -126, -126]);
    expect(answers(secondary)).toEqual([-126, 0, -126, -126]);
    expect(answers(platform)).toEqual([-126, -126, 0, -126]);
  });

  test('secondary takes only what builtin or secondary vouches for', () => {
    const keyrings = freshKeyrings({ builtin: [root] }), ring = Number.parseInt(/^(\S+).*\.secondary/m.exec(keyrings.list())?.[1] ?? '', 16);
    expect(keyrings.addKey('asymmetric', 'stranger', signer, ring)).toBe(-126);
    expect(keyrings.addKey('asymmetric', 'leaf', leaf, ring)).toBe(-126);
    expect(keyrings.addKey('user', 'user', fromHex('aa'), ring)).toBe(-95);
    expect(keyrings.addKey('asymmetric', 'middle', middle, ring)).toBeGreaterThan(0);
    expect(keyrings.addKey('asymmetric', 'leaf', leaf, ring)).toBeGreaterThan(0);
    expect(verify(keyrings, 'chain: nothing embedded, trust leaf', 1)).toBe(0);
    expect(verify(keyrings, 'chain: nothing embedded, trust leaf', 0)).toBe(-126);
  });

  test('cannot be changed by user space', () => {
    const keyrings = freshKeyrings({ builtin: [root] }), ring = Number.parseInt(/^(\S+).*\.builtin/m.exec(keyrings.list())?.[1] ?? '', 16);
    expect(keyrings.addKey('asymmetric', 'x', signer, ring)).toBe(-13);
    expect(keyrings.clear(ring)).toBe(-13);
    expect(keyrings.link(ring, SESSION)).toBe(-13);
    expect(keyrings.revoke(ring)).toBe(-13);
  });

  test('a certificate that the kernel does not take is the caller\'s mistake', () => {
    expect(() => freshKeyrings({ builtin: [fromHex('3000')] })).toThrow(InputError);
    expect(() => freshKeyrings({ blacklist: ['tbs:xyz'] })).toThrow(InputError);
  });
});

describe('blacklist', () => {
  const hash = (der: Uint8Array): string => `tbs:${toHex(certificate(der).tbsDigest)}`;
  test('keeps a certificate out of keyrings', () => {
    const keyrings = freshKeyrings({ blacklist: [hash(signer)] });
    expect(keyrings.addKey('asymmetric', 'x', signer, SESSION)).toBe(-129);
    expect(keyrings.addKey('asymmetric', 'x', root, SESSION)).toBeGreaterThan(0);
  });
  test.each<[string, Uint8Array, number]>([['leaf', leaf, -129], ['middle', middle, -129], ['root', root, -129], ['nothing of it', signer, 0]])(
    'a signer that depends on a blacklisted certificate: %s', (_, der, want) => {
      const keyrings = freshKeyrings();
      keyrings.addKey('asymmetric', 'root', root, SESSION);
      expect(verify(keyrings, 'chain: all embedded, trust root', SESSION)).toBe(0);
      const blacklisting = freshKeyrings({ blacklist: [hash(der)] });
      blacklisting.addKey('asymmetric', 'root', root, SESSION);
      expect(verify(blacklisting, 'chain: all embedded, trust root', SESSION)).toBe(want);
    });
  test('another good signer is enough', () => {
    const keyrings = freshKeyrings({ blacklist: [hash(leaf)] });
    keyrings.addKey('asymmetric', 'signer', signer, SESSION);
    keyrings.addKey('asymmetric', 'root', root, SESSION);
    expect(verify(keyrings, 'chain: signers, one through a chain', SESSION)).toBe(0);
  });
});

describe('revocation list', () => {
  test('refuses what a revoked key signed, where the kernel has one', () => {
    for (const [algorithms, want] of [[ALL_ALGORITHMS, -129], [DISTRIBUTION_ALGORITHMS, 0]] as const) {
      const keyrings = freshKeyrings({ algorithms, revoked: [signer] });
      keyrings.addKey('asymmetric', 'signer', signer, SESSION);
      expect(verify(keyrings, 'load: rsa key id', SESSION)).toBe(want);
    }
  });
  test('refuses chains through a revoked certificate', () => {
    const keyrings = freshKeyrings({ algorithms: ALL_ALGORITHMS, revoked: [middle] });
    keyrings.addKey('asymmetric', 'root', root, SESSION);
    expect(verify(keyrings, 'chain: all embedded, trust root', SESSION)).toBe(-129);
    expect(verify(keyrings, 'load: rsa key id', SESSION)).toBe(-126);
  });
});

describe('a kernel without signature verification', () => {
  test('gives EOPNOTSUPP', () => {
    const keyrings = freshKeyrings({ algorithms: { ...DISTRIBUTION_ALGORITHMS, dataVerification: false } });
    expect(verify(keyrings, 'load: rsa key id', SESSION)).toBe(-95);
  });
});

describe('listing', () => {
  test('shows what /proc/keys shows', () => {
    let now = 1_700_000_000;
    const keyrings = freshKeyrings({ now: () => now }), user = keyrings.addKey('user', 'a key', fromHex('aabbcc'), SESSION);
    const ring = keyrings.addKey('keyring', 'ring', new Uint8Array(0), SESSION), line = (serial: number): string => (
      keyrings.list().split('\n').find((text) => text.startsWith(serial.toString(16).padStart(8, '0'))) ?? '').slice(9);
    expect(line(user)).toBe('I--Q---     1 perm 3f010000     0     0 user      a key: 3');
    expect(line(ring)).toBe('I--Q---     1 perm 3f010000     0     0 keyring   ring: empty');
    keyrings.link(user, ring);
    expect(line(ring)).toMatch(/ring: 1$/);
    expect(line(user)).toMatch(/^I--Q--- {5}2 /);
    for (const [seconds, text] of [[30, '30s'], [90, '1m'], [7200, '2h'], [200_000, '2d'], [2_000_000, '3w']] as const) {
      keyrings.setTimeout(user, seconds);
      expect(line(user)).toMatch(new RegExp(`^I--Q--- {5}2 {1,3}${text} `));
    }
    keyrings.setTimeout(user, 5);
    now += 5;
    expect(line(user)).toMatch(/ expd /);
    keyrings.revoke(ring);
    expect(line(ring)).toMatch(/^IR-Q--- /);
    now += 305;
    expect(line(user)).toBe('');
  });

  test('serial numbers are positive, differ, and are the same for the same seed', () => {
    const serials = (): number[] => {
      const keyrings = freshKeyrings();
      return Array.from({ length: 50 }, (_, i) => keyrings.addKey('user', `k${i}`, fromHex('00'), SESSION));
    };
    expect(new Set(serials()).size).toBe(50);
    expect(Math.min(...serials())).toBeGreaterThan(2);
    expect(serials()).toEqual(serials());
    const always = freshKeyrings({ random: () => 1 });
    expect([0, 1, 2].map((i) => always.addKey('user', `${i}`, fromHex('00'), SESSION))).toEqual([expect.any(Number), expect.any(Number), expect.any(Number)]);
  });
});
