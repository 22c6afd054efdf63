/**
 * Algorithms that the recorded kernel was built without, by the kernel's own rules (crypto/ecdsa.c, ecdsa-x962.c, mldsa.c), and
 * the promise that native and portable primitives never differ.
 */
import { createHash, createSign, generateKeyPairSync } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { ALL_ALGORITHMS, DISTRIBUTION_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { bigIntToBytes, bytesToBigInt, fromHex, toHex } from '../../../crypto/bytes.ts';
import { derInteger, derSequence } from '../../../crypto/der.ts';
import { digest, digestLength, sha256 } from '../../../crypto/digest.ts';
import { readECPublicKey, verifyECDSA } from '../../../crypto/ecdsa.ts';
import { expandMLDSA, signMLDSA, verifyMLDSA } from '../../../crypto/mldsa.ts';
import { setProvider, type CurveName, type HashName } from '../../../crypto/provider.ts';
import { modularPower } from '../../../crypto/rsa.ts';
import { createNodeProvider } from '../../../src/node/native-crypto.ts';
import { perform, readCases } from './recorded.ts';

const cases = readCases('signatures.jsonl.gz');
const HASHES: readonly HashName[] = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512'];

afterEach(() => setProvider(undefined));

describe('native and portable primitives agree', () => {
  test('on SHA-256 of every length around the ends of blocks', () => {
    setProvider(createNodeProvider());
    for (let length = 0; length < 400; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => i * 37 + length);
      expect(toHex(sha256(bytes)), `${length} bytes`).toBe(createHash('sha256').update(bytes).digest('hex'));
    }
  });

  test('on recorded keys, primitives and chains, with all algorithms', () => {
    for (const recorded of cases.filter(({ name }) => /^(?:key|chain):/.test(name))) {
      setProvider(undefined);
      const portable = perform(recorded, ALL_ALGORITHMS);
      setProvider(createNodeProvider());
      expect(perform(recorded, ALL_ALGORITHMS), recorded.name).toEqual(portable);
    }
  });

  test('on digests of any length in any number of parts', () => {
    for (const hash of HASHES) {
      for (const length of [0, 1, 55, 56, 63, 64, 111, 112, 127, 128, 135, 136, 1000]) {
        const data = new Uint8Array(length).map((_, i) => i * 7);
        setProvider(undefined);
        const want = toHex(digest(hash, data));
        expect(digest(hash, data)).toHaveLength(digestLength(hash));
        setProvider(createNodeProvider());
        expect(toHex(digest(hash, data.subarray(0, length >> 1), data.subarray(length >> 1)))).toBe(want);
      }
    }
  });

  test('on modular powers, even moduli and exponents included', () => {
    for (const [value, exponent, modulus] of [['02', '03', 'ff'.repeat(64)], ['05', '010001', 'fe'.repeat(64)], ['07', '02', 'ff'.repeat(128)], ['00', '01', 'ff'.repeat(64)], ['03', '00', 'ff'.repeat(64)]] as const) {
      const base = bigIntToBytes(bytesToBigInt(fromHex(value)), modulus.length / 2);
      setProvider(undefined);
      const want = toHex(modularPower(base, fromHex(exponent), fromHex(modulus)));
      setProvider(createNodeProvider());
      expect(toHex(modularPower(base, fromHex(exponent), fromHex(modulus)))).toBe(want);
    }
  });
});

describe('ECDSA by the kernel\'s rules', () => {
  /** Without the certificate whatever is wrong is EKEYREJECTED; with it the primitive's own error shows. */
  const expected: Readonly<Record<string, number>> = {
    'high s': 0, 'trailing': 0, 'long length': 0, 'indefinite': 0, 'primitive tag': 0, 'zeros in front to 32': 0, 'zeros in front to 33': 0,
    'SET': 74, 'trailing inside': 74, 'one integer': 74, 'raw': 74, 'empty': 74, 'r as octets': 74, 'r 0': 74, 's 0': 74, 'r n': 74, 's n': 74, 'r n + 1': 74,
    'zeros in front to 34': 22, 'r of 33 bytes': 22, 'r empty': 22, 'swapped': 129, 'flipped': 129,
  };
  const answer = (name: string): number | undefined => {
    const recorded = cases.find((c) => c.name === name);
    if (recorded === undefined) throw new Error(`no case ${name}`);
    const { keys, load } = perform(recorded, DISTRIBUTION_ALGORITHMS);
    expect(keys.every((errno) => errno === 0)).toBe(true);
    return load;
  };

  test.each(Object.entries(expected))('%s', (name, errno) => {
    expect(answer(`key: ecdsa signature ${name} with the certificate`)).toBe(errno);
    expect(answer(`key: ecdsa signature ${name}`)).toBe(errno === 0 ? 0 : 129);
  });

  test.each(['p192', 'p256', 'p384', 'p521'])('%s verifies with every digest', (curve) => {
    for (const hash of HASHES.slice(0, 5)) expect(answer(`key: ecdsa ${curve} ${hash}`), hash).toBe(0);
    expect(answer(`key: ecdsa ${curve} attributes`)).toBe(0);
    expect(answer(`key: ecdsa ${curve} with its certificate`)).toBe(0);
  });

  test.each(['p224', 'k256'])('%s is not supported', (curve) => {
    const recorded = cases.find(({ name }) => name === `key: ecdsa ${curve} sha256`);
    expect(recorded === undefined ? undefined : perform(recorded, ALL_ALGORITHMS)).toMatchObject({ keys: [65], load: 126 });
  });

  test.each(['compressed', 'hybrid', 'off the curve', 'short', 'even length', 'zero', 'infinity', 'empty', 'p384 parameters'])('a point that is %s', (name) => {
    expect(answer(`key: ec point ${name} with its certificate`)).toBe(22);
    expect(answer(`key: ec point ${name}`)).toBe(129);
  });

  test('chains of ECDSA certificates', () => {
    expect(answer('chain: nine deep, trust root')).toBe(0);
    expect(answer('chain: nine deep, trust none')).toBe(126);
    expect(answer('chain: link with r 0, embedded')).toBe(74);
  });

  test('signatures of OpenSSL, and none of another message', () => {
    for (const [curve, namedCurve] of [['p192', 'prime192v1'], ['p256', 'prime256v1'], ['p384', 'secp384r1'], ['p521', 'secp521r1']] as readonly [CurveName, string][]) {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve }), spki = publicKey.export({ type: 'spki', format: 'der' });
      const size = { p192: 49, p256: 65, p384: 97, p521: 133 }[curve], key = readECPublicKey(curve, spki.subarray(spki.length - size));
      for (const hash of ['sha1', 'sha256', 'sha512'] as const) {
        const message = fromHex('00112233'), value = createSign(hash).update(message).sign(privateKey);
        for (const provider of [undefined, createNodeProvider()]) {
          setProvider(provider);
          const verify = (text: Uint8Array): number => verifyECDSA(key, { hash, message: [text], digest: () => digest(hash, text) }, value);
          expect(verify(message)).toBe(0);
          expect(verify(fromHex('00112234'))).toBe(129);
        }
      }
    }
  });

  test('a hash that the kernel lacks signs the number 0', () => {
    // r = x(Q), s = r for the key Q: 0·G + (r/s)·Q = Q. A kernel that cannot hash accepts it from a certificate's issuer.
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }), spki = publicKey.export({ type: 'spki', format: 'der' });
    const point = spki.subarray(spki.length - 65), key = readECPublicKey('p256', point), r = derInteger(point.subarray(1, 33));
    const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const errno = verifyECDSA(key, { hash: undefined, message: undefined, digest: () => new Uint8Array(0) }, derSequence(r, r));
    expect(errno).toBe(key.x < n ? 0 : 74);
  });
});

describe('ML-DSA by the kernel\'s rules', () => {
  test('messages with and without attributes, made by another implementation of CMS', () => {
    const load = (name: string): number | undefined => {
      const recorded = cases.find((c) => c.name === `key: ${name}`);
      return recorded === undefined ? undefined : perform(recorded, ALL_ALGORITHMS).load;
    };
    for (const kind of ['mldsa44', 'mldsa65', 'mldsa87']) {
      expect(load(`${kind} self-signed`)).toBe(0);
      expect(load(`${kind} issued by rsa`)).toBe(0);
      expect(load(`${kind} issued by rsa, attributes`)).toBe(0);
    }
    // With attributes the digest must be SHA-512; without it, EINVAL, which shows only where the certificate comes along.
    expect(load('mldsa44 issued, attributes with sha256')).toBe(129);
    expect(load('mldsa44 attributes, with its certificate')).toBe(0);
  });

  test.each(['mldsa44', 'mldsa65', 'mldsa87'] as const)('%s', (name) => {
    const { secretKey, publicKey } = expandMLDSA(name, sha256(fromHex('01'))), message = fromHex('616263'), good = signMLDSA(name, secretKey, [message]);
    const changed = (at: number, value: number): Uint8Array => {
      const copy = good.slice();
      copy[at < 0 ? copy.length + at : at] = value;
      return copy;
    };
    expect(verifyMLDSA(name, publicKey, [message], good)).toBe(0);
    expect(verifyMLDSA(name, publicKey, [fromHex('616264')], good)).toBe(129);
    expect(verifyMLDSA(name, publicKey, [message], changed(0, (good[0] ?? 0) ^ 1))).toBe(129);
    expect(verifyMLDSA(name, publicKey, [message], good.subarray(1))).toBe(74);
    expect(verifyMLDSA(name, publicKey.subarray(1), [message], good)).toBe(22);
    // The last byte counts the hints of all rows together: neither fewer than before nor more than omega.
    expect(verifyMLDSA(name, publicKey, [message], changed(-1, 255))).toBe(74);
    expect(verifyMLDSA(name, publicKey, [message], changed(-1, 0))).toBe(74);
    // Coefficients of z at the end of their range: all bits of the first one set, or none.
    const commitment = { mldsa44: 32, mldsa65: 48, mldsa87: 64 }[name], extreme = good.slice();
    extreme.fill(0, commitment, commitment + 3);
    expect(verifyMLDSA(name, publicKey, [message], extreme)).toBe(74);
  });
});
