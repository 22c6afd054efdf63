/**
 * @module crypto/signature
 * One public key against one signature (`crypto/asymmetric_keys/public_key.c`): algorithm match, hash rules, availability in
 * this kernel, then the primitive. Owns the shapes that certificates and CMS messages are read into.
 */
import { EINVAL, EKEYREJECTED, ENOENT } from '../isa/errno.ts';
import type { KernelAlgorithms, KeyAlgorithm, SignatureAlgorithm } from './algorithms.ts';
import { equalBytes } from './bytes.ts';
import { digest, isHashName } from './digest.ts';
import { readECPublicKey, verifyECDSA, type ECPublicKey } from './ecdsa.ts';
import { verifyMLDSA } from './mldsa.ts';
import type { CurveName, HashName } from './provider.ts';
import { Rejection } from './rejection.ts';
import { readRSAPublicKey, verifyRSA, type RSAPublicKey } from './rsa.ts';

/** A key's bytes as a certificate carries them, with the flags that keyring restrictions look at. */
export interface PublicKey {
  readonly algorithm: KeyAlgorithm;
  /** RSA: `RSAPublicKey`; EC: the point; ML-DSA: the key. */
  readonly bytes: Uint8Array;
  /** Encoded algorithm parameters; empty for none. */
  readonly parameters: Uint8Array;
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly isCA: boolean;
}

/** Who is named as the signer: by serial number and issuer, by subject key identifier, by name. */
export type AuthorityIDs = readonly [Uint8Array | undefined, Uint8Array | undefined, Uint8Array | undefined];

/** A signature ready to be checked. */
export interface Signature {
  readonly algorithm: SignatureAlgorithm;
  /** Name of the digest in the kernel's crypto API (`"sm3"` and the like too), `"none"` where the algorithm takes the message. */
  readonly hash: string;
  /** The algorithm hashes by itself: `message` is what it is given. */
  readonly takesData: boolean;
  /** What is signed, before hashing. */
  readonly message: Uint8Array | readonly Uint8Array[];
  readonly value: Uint8Array;
  readonly authority: AuthorityIDs;
}

/** Equality of key identifiers; a missing one equals nothing. */
export function sameID(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && equalBytes(a, b);
}

const ECDSA_HASHES: ReadonlySet<string> = new Set(['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512']);
const GOST_HASHES: ReadonlySet<string> = new Set(['streebog256', 'streebog512']);
const MLDSA_HASHES: ReadonlySet<string> = new Set(['none', 'sha512']);

const CURVE: Readonly<Partial<Record<KeyAlgorithm, CurveName>>> = {
  'ecdsa-nist-p192': 'p192', 'ecdsa-nist-p256': 'p256', 'ecdsa-nist-p384': 'p384', 'ecdsa-nist-p521': 'p521',
};

/** The message as a list of pieces. */
function parts(message: Uint8Array | readonly Uint8Array[]): readonly Uint8Array[] {
  return message instanceof Uint8Array ? [message] : message;
}

/** The digest of a signature's message; empty where this kernel has no such hash. */
export function messageDigest(signature: Signature, algorithms: KernelAlgorithms): Uint8Array {
  const hash = availableHash(signature.hash, algorithms), { message } = signature;
  if (hash === undefined) return new Uint8Array(0);
  return message instanceof Uint8Array ? digest(hash, message) : digest(hash, ...message);
}

/** The hash of this name, if this kernel has it. */
export function availableHash(name: string, algorithms: KernelAlgorithms): HashName | undefined {
  return isHashName(name) && algorithms.hashes.has(name) ? name : undefined;
}

function algorithmsAgree(key: KeyAlgorithm, signature: SignatureAlgorithm): boolean {
  return key === signature || (signature === 'ecdsa' && key.startsWith('ecdsa-'));
}

function hashIsPermitted(key: KeyAlgorithm, hash: string): boolean {
  if (key === 'rsa') return true;
  if (key === 'ecrdsa') return GOST_HASHES.has(hash);
  return key.startsWith('ecdsa-') ? ECDSA_HASHES.has(hash) : MLDSA_HASHES.has(hash);
}

/**
 * Verifies a signature with a key.
 * @returns 0 or a positive error number: `EKEYREJECTED` for another algorithm or a wrong signature, `EINVAL` for a hash that the
 * algorithm does not permit, `ENOENT` for an algorithm that this kernel lacks, or what the primitive says
 */
export function verifySignature(key: PublicKey, signature: Signature, algorithms: KernelAlgorithms): number {
  if (!algorithmsAgree(key.algorithm, signature.algorithm)) return EKEYREJECTED;
  if (!hashIsPermitted(key.algorithm, signature.hash)) return EINVAL;
  if (!algorithms.signatures.has(key.algorithm)) return ENOENT;
  try {
    return verifyWith(key, signature, algorithms);
  } catch (error) {
    if (error instanceof Rejection) return error.errno;
    throw error;
  }
}

/** Keys of keyrings are used again and again: reading one, and what a provider makes of it, is kept as long as the key. */
const readKeys = new WeakMap<PublicKey, RSAPublicKey | ECPublicKey>();

function remembered<T extends RSAPublicKey | ECPublicKey>(key: PublicKey, isKind: (known: RSAPublicKey | ECPublicKey) => known is T, read: () => T): T {
  const known = readKeys.get(key);
  if (known !== undefined && isKind(known)) return known;
  const made = read();
  readKeys.set(key, made);
  return made;
}

function verifyWith(key: PublicKey, signature: Signature, algorithms: KernelAlgorithms): number {
  const hash = availableHash(signature.hash, algorithms), curve = CURVE[key.algorithm];
  if (key.algorithm === 'rsa') {
    const rsa = algorithms.fips ? readRSAPublicKey(key.bytes, true)
      : remembered(key, (known): known is RSAPublicKey => 'modulus' in known, () => readRSAPublicKey(key.bytes, false));
    return hash === undefined ? EINVAL : verifyRSA(rsa, hash, parts(signature.message), () => messageDigest(signature, algorithms), signature.value);
  }
  if (curve !== undefined) {
    return verifyECDSA(remembered(key, (known): known is ECPublicKey => 'curve' in known, () => readECPublicKey(curve, key.bytes)), {
      hash, message: hash === undefined ? undefined : parts(signature.message), digest: () => messageDigest(signature, algorithms),
    }, signature.value);
  }
  switch (key.algorithm) {
    case 'mldsa44':
    case 'mldsa65':
    case 'mldsa87':
      return verifyMLDSA(key.algorithm, key.bytes, parts(signature.message), signature.value);
    default:
      return ENOENT;
  }
}
