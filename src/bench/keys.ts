/**
 * @module src/bench/keys
 * Throw-away signers for measurements: a key and a self-signed certificate of each kind that Linux takes. EC and ML-DSA keys follow from
 * their names and are the same every time; RSA keys, which need primes, come from outside.
 */
import { concatBytes, fromHex } from '../../crypto/bytes.ts';
import { derBitString, derElement, derExplicit, derInteger, derNull, derOctetString, derOID, derSequence, derSetOf } from '../../crypto/der.ts';
import { digest, shake256 } from '../../crypto/digest.ts';
import { publicPoint, signECDSA } from '../../crypto/ecdsa.ts';
import { expandMLDSA, signMLDSA } from '../../crypto/mldsa.ts';
import { OID } from '../../crypto/oid.ts';
import { readPrivateKey, type MLDSAPrivateKey, type PrivateKey, type RSAPrivateKey } from '../../crypto/private-key.ts';
import type { CurveName } from '../../crypto/provider.ts';
import { signRSA } from '../../crypto/rsa.ts';
import { signDetached } from '../../crypto/sign.ts';

/** Kinds of keys, weakest first in each family. */
export const KEY_NAMES = ['RSA-2048', 'RSA-3072', 'RSA-4096', 'ECDSA P-256', 'ECDSA P-384', 'ECDSA P-521', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'] as const;
export type KeyName = (typeof KEY_NAMES)[number];

/** Signs, and is trusted through its certificate. */
export interface Signer {
  readonly name: KeyName;
  /** Nothing worth keeping secret. */
  readonly key: PrivateKey;
  /** DER. */
  readonly certificate: Uint8Array;
  /** Detached CMS over the parts. */
  sign(parts: readonly Uint8Array[]): Uint8Array;
}

/** Gives an RSA key of so many bits, PKCS#8 in DER. */
export type RSAKeySource = (bits: number) => Uint8Array;

const CURVES: Readonly<Partial<Record<KeyName, readonly [CurveName, string, number]>>> = {
  'ECDSA P-256': ['p256', OID.prime256v1, 32], 'ECDSA P-384': ['p384', OID.secp384r1, 48], 'ECDSA P-521': ['p521', OID.secp521r1, 66],
};
const MLDSA: Readonly<Partial<Record<KeyName, readonly [MLDSAPrivateKey['kind'], string]>>> = {
  'ML-DSA-44': ['mldsa44', OID.mlDSA44], 'ML-DSA-65': ['mldsa65', OID.mlDSA65], 'ML-DSA-87': ['mldsa87', OID.mlDSA87],
};

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** X.509 version 3 with a subject key identifier, which is what CMS messages name keys by. */
function certificate(spki: Uint8Array, algorithm: Uint8Array, sign: (tbs: Uint8Array) => Uint8Array): Uint8Array {
  const name = derSequence(derSetOf(derSequence(derOID(OID.commonName), derElement(0x0c, text('bpftwin bench')))));
  const time = (when: string): Uint8Array => derElement(0x17, text(when));
  const keyID = derSequence(derOID(OID.subjectKeyIdentifier), derOctetString(derOctetString(digest('sha1', spki))));
  const tbs = derSequence(
    derExplicit(0, fromHex('020102')), fromHex('020101'), algorithm, name, derSequence(time('240101000000Z'), time('491231235959Z')), name, spki,
    derExplicit(3, derSequence(keyID)));
  return derSequence(tbs, algorithm, derBitString(sign(tbs)));
}

function signer(name: KeyName, key: PrivateKey, der: Uint8Array): Signer {
  return { name, key, certificate: der, sign: (parts) => signDetached(parts, key, der) };
}

function rsaSigner(name: KeyName, pkcs8: Uint8Array): Signer {
  const key = readPrivateKey(pkcs8, name) as RSAPrivateKey;
  const spki = derSequence(derSequence(derOID(OID.rsaEncryption), derNull()), derBitString(derSequence(derInteger(key.modulus), derInteger(key.publicExponent))));
  return signer(name, key, certificate(spki, derSequence(derOID(OID.sha256WithRSA), derNull()), (tbs) => (
    signRSA(key.modulus, key.publicExponent, key.primes, 'sha256', digest('sha256', tbs)))));
}

function ecSigner(name: KeyName, [curve, oid, size]: readonly [CurveName, string, number]): Signer {
  // Any number below the order will do: a first byte of 0 makes it so on every curve.
  const scalar = concatBytes(new Uint8Array(1), shake256(size - 1, text(name)));
  const spki = derSequence(derSequence(derOID(OID.ecPublicKey), derOID(oid)), derBitString(publicPoint(curve, scalar)));
  return signer(name, { kind: 'ec', curve, scalar }, certificate(spki, derSequence(derOID(OID.ecdsaWithSHA256)), (tbs) => signECDSA(curve, scalar, digest('sha256', tbs))));
}

function mldsaSigner(name: KeyName, [kind, oid]: readonly [MLDSAPrivateKey['kind'], string]): Signer {
  const seed = digest('sha256', text(name)), { secretKey, publicKey } = expandMLDSA(kind, seed), algorithm = derSequence(derOID(oid));
  return signer(name, { kind, seed, expanded: secretKey }, certificate(derSequence(algorithm, derBitString(publicKey)), algorithm, (tbs) => signMLDSA(kind, secretKey, [tbs])));
}

/** The signer of this name. */
export function createSigner(name: KeyName, rsaKey: RSAKeySource): Signer {
  const curve = CURVES[name], mldsa = MLDSA[name];
  if (curve !== undefined) return ecSigner(name, curve);
  return mldsa === undefined ? rsaSigner(name, rsaKey(Number(name.slice('RSA-'.length)))) : mldsaSigner(name, mldsa);
}
