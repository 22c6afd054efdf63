/** Signatures that we make: equal to bpftool's byte for byte, and accepted by our own reading of the kernel's rules. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { ALL_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { concatBytes, fromHex, toHex } from '../../../crypto/bytes.ts';
import { derBitString, derExplicit, derImplicit, derOctetString, derOID, derSequence } from '../../../crypto/der.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { expandMLDSA, signMLDSA } from '../../../crypto/mldsa.ts';
import { OID } from '../../../crypto/oid.ts';
import { readPEM } from '../../../crypto/pem.ts';
import { readPrivateKey, wipeKey, type PrivateKey } from '../../../crypto/private-key.ts';
import { setProvider, type HashName } from '../../../crypto/provider.ts';
import { isRefusal } from '../../../crypto/rejection.ts';
import { signDetached } from '../../../crypto/sign.ts';
import { certificateKeyring, verifyDetached } from '../../../crypto/verify.ts';
import { parseCertificate, type Certificate } from '../../../crypto/x509.ts';
import { InputError } from '../../../isa/errors.ts';
import { readLightSkeleton } from './skeletons.ts';
import { createNodeProvider } from '../../../src/node/native-crypto.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');
const file = (name: string): Uint8Array => readFileSync(join(FIXTURES, name));
const keyOf = (name: string): PrivateKey => readPrivateKey(file(`keys/${name}.pem`), `${name}.pem`);
const certificateOf = (name: string): Certificate => {
  const certificate = parseCertificate(file(`keys/${name}.der`), { algorithms: ALL_ALGORITHMS });
  if (isRefusal(certificate)) throw new Error(certificate.reason);
  return certificate;
};

afterEach(() => setProvider(undefined));

describe('signatures equal to bpftool\'s', () => {
  const skeletons = readdirSync(join(FIXTURES, 'signed')).filter((name) => /^\w+(?:\.rsa4096)?\.lskel\.h$/.test(name));
  test('there are some', () => expect(skeletons.length).toBeGreaterThanOrEqual(10));
  test.each(skeletons)('%s', (name) => {
    setProvider(createNodeProvider());
    const { insns, data, signature } = readLightSkeleton(join(FIXTURES, 'signed', name)), signer = name.includes('rsa4096') ? 'rsa4096' : 'rsa2048';
    expect(toHex(signDetached([insns, data], keyOf(signer), file(`keys/${signer}.der`)))).toBe(toHex(signature));
  });
  test('without native primitives', () => {
    const { insns, data, signature } = readLightSkeleton(join(FIXTURES, 'signed', 'onemap.lskel.h'));
    expect(toHex(signDetached([insns, data], keyOf('rsa2048'), file('keys/rsa2048.der')))).toBe(toHex(signature));
  });
});

describe('signatures verify', () => {
  const data = [fromHex('b700000000000000'), fromHex('9500000000000000')];
  const hashes: readonly HashName[] = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512'];
  test.each(['rsa2048', 'rsa4096', 'p256', 'p384'])('%s', (name) => {
    const certificate = certificateOf(name), key = keyOf(name);
    for (const provider of [undefined, createNodeProvider()]) {
      setProvider(provider);
      for (const hash of provider === undefined ? ['sha256' as const] : hashes) {
        for (const signerID of ['key identifier', 'issuer and serial'] as const) {
          const blob = signDetached(data, key, certificate.raw, { hash, signerID });
          const context = { algorithms: ALL_ALGORITHMS, keyring: certificateKeyring([certificate]) };
          expect(verifyDetached(data, blob, context)).toMatchObject({ errno: 0, step: 'accepted' });
          expect(verifyDetached([concatBytes(...data), Uint8Array.of(0)], blob, context).errno).toBe(129);
        }
      }
    }
  });

  test.each(['mldsa44', 'mldsa65', 'mldsa87'] as const)('%s', (kind) => {
    const seed = sha256(new TextEncoder().encode(kind)), { secretKey, publicKey } = expandMLDSA(kind, seed);
    const algorithm = derSequence(derOID({ mldsa44: OID.mlDSA44, mldsa65: OID.mlDSA65, mldsa87: OID.mlDSA87 }[kind]));
    const name = fromHex('300c310a300806035504030c0161'), time = fromHex('170d3234303130313030303030305a');
    const tbs = derSequence(
      derExplicit(0, fromHex('020102')), fromHex('020101'), algorithm, name, derSequence(time, time), name, derSequence(algorithm, derBitString(publicKey)),
      derExplicit(3, derSequence(derSequence(derOID(OID.subjectKeyIdentifier), derOctetString(derOctetString(fromHex('aabbcc')))))));
    const certificate = derSequence(tbs, algorithm, derBitString(signMLDSA(kind, secretKey, [tbs])));
    const parsed = parseCertificate(certificate, { algorithms: ALL_ALGORITHMS });
    expect(parsed).toMatchObject({ selfSigned: true });
    if (isRefusal(parsed)) return;
    const pkcs8 = derSequence(fromHex('020100'), algorithm, derOctetString(derImplicit(0, seed)));
    const blob = signDetached(data, readPrivateKey(pkcs8, 'key'), certificate);
    const context = { algorithms: ALL_ALGORITHMS, keyring: certificateKeyring([parsed]) };
    expect(verifyDetached(data, blob, context).errno).toBe(0);
    expect(verifyDetached([fromHex('00')], blob, context).errno).toBe(129);
    const cut = blob.slice();
    cut.set(fromHex('ffffffff'), blob.length - 4);
    expect(verifyDetached(data, cut, context)).toMatchObject({ errno: 129, reason: 'signature does not verify with the key of the keyring' });
  });
});

describe('private keys', () => {
  const forms: Readonly<Record<string, string | undefined>> = JSON.parse(readFileSync(join(import.meta.dirname, 'key-forms.json'), 'utf8')) as Record<string, string>;
  const passphrase = (): Uint8Array => new TextEncoder().encode('open sesame');
  const read = (name: string, secret: (() => Uint8Array | undefined) | undefined = passphrase): PrivateKey => {
    const text = forms[name] ?? '';
    return readPrivateKey(text.startsWith('-----') ? new TextEncoder().encode(text) : fromHex(text), name, secret);
  };
  const plain = { rsa: 'rsa pkcs8 pem', ec: 'ec pkcs8 pem' } as const;

  test.each(Object.keys(forms))('%s', (name) => {
    const kind = name.startsWith('rsa') ? 'rsa' : 'ec';
    expect(read(name)).toEqual(read(plain[kind]));
  });

  test.each(Object.keys(forms).filter((name) => name.includes('encrypted')))('%s needs the right passphrase', (name) => {
    expect(() => read(name, () => undefined)).toThrow(/encrypted and there is no passphrase/);
    expect(() => read(name, () => new TextEncoder().encode('wrong'))).toThrow(/passphrase is wrong|not a private key/);
  });

  test('are overwritten', () => {
    const key = read(plain.rsa);
    wipeKey(key);
    if (key.kind === 'rsa') expect([...key.privateExponent, ...key.encoded, ...key.primes.flatMap((part) => [...part])].every((byte) => byte === 0)).toBe(true);
  });

  test('must belong to the certificate', () => {
    for (const [key, certificate] of [['rsa2048', 'stranger'], ['rsa2048', 'p256'], ['p256', 'p384'], ['p256', 'rsa2048']] as const) {
      expect(() => signDetached([fromHex('00')], keyOf(key), file(`keys/${certificate}.der`))).toThrow(/not that of the private key/);
    }
  });

  test.each([
    ['nothing', ''], ['junk', 'ff'.repeat(40)], ['a certificate', toHex(file('keys/rsa2048.der'))], ['a short sequence', '3000'], ['an OID', '06032a0304'],
  ])('%s is none', (_, hex) => {
    expect(() => readPrivateKey(fromHex(hex), 'file.key')).toThrow(InputError);
  });

  test('PEM without a key, and one that is cut', () => {
    expect(() => readPrivateKey(file('keys/rsa2048.crt'), 'x.crt')).toThrow(/no private key/);
    expect(() => readPrivateKey(file('keys/rsa2048.pem').slice(0, 300), 'x.pem')).toThrow(/line 1: the file ends inside/);
    expect(readPEM(file('keys/rsa2048.pem'), 'x')).toHaveLength(1);
  });
});
