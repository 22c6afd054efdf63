/**
 * @module crypto/mldsa
 * ML-DSA verification (FIPS 204, pure, empty context) with the kernel's error numbers (`lib/crypto/mldsa.c`): a signature that
 * cannot be decoded is told apart from one that does not match. The arithmetic is `@noble/post-quantum`.
 */
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { shake256 } from './digest.ts';
import { EBADMSG, EINVAL, EKEYREJECTED } from '../isa/errno.ts';

/** Parameter sets. */
export type MLDSAName = 'mldsa44' | 'mldsa65' | 'mldsa87';

interface Parameters {
  readonly keyLength: number;
  readonly signatureLength: number;
  /** Bytes of the commitment hash at the front. */
  readonly commitment: number;
  readonly k: number;
  readonly l: number;
  readonly gamma1: number;
  readonly beta: number;
  readonly omega: number;
  /** Bits of one coefficient of z. */
  readonly bits: number;
}

const PARAMETERS: Readonly<Record<MLDSAName, Parameters>> = {
  mldsa44: {
    keyLength: 1312, signatureLength: 2420, commitment: 32, k: 4, l: 4,
    gamma1: 1 << 17, beta: 78, omega: 80, bits: 18,
  },
  mldsa65: {
    keyLength: 1952, signatureLength: 3309, commitment: 48, k: 6, l: 5,
    gamma1: 1 << 19, beta: 196, omega: 55, bits: 20,
  },
  mldsa87: {
    keyLength: 2592, signatureLength: 4627, commitment: 64, k: 8, l: 7,
    gamma1: 1 << 19, beta: 120, omega: 75, bits: 20,
  },
};

const IMPLEMENTATIONS = { mldsa44: ml_dsa44, mldsa65: ml_dsa65, mldsa87: ml_dsa87 } as const;
const COEFFICIENTS = 256;

function zInRange(p: Parameters, signature: Uint8Array): boolean {
  const bound = p.gamma1 - p.beta, mask = 2 ** p.bits - 1;
  let at = p.commitment, held = 0, bits = 0;
  for (let i = 0; i < p.l * COEFFICIENTS; i++) {
    for (; bits < p.bits; bits += 8) held |= (signature[at++] ?? 0) << bits;
    if (Math.abs(p.gamma1 - (held & mask)) >= bound) return false;
    held >>>= p.bits;
    bits -= p.bits;
  }
  return true;
}

function hintIsCanonical(p: Parameters, signature: Uint8Array): boolean {
  const hint = signature.subarray(p.signatureLength - p.omega - p.k);
  let index = 0;
  for (let i = 0; i < p.k; i++) {
    const count = hint[p.omega + i] ?? 0;
    if (count < index || count > p.omega) return false;
    for (let previous = -1; index < count; index++) {
      const position = hint[index] ?? 0;
      if (previous >= position) return false;
      previous = position;
    }
  }
  return hint.subarray(index, p.omega).every((byte) => byte === 0);
}

/**
 * The message representative of FIPS 204 algorithm 7, line 6, for pure ML-DSA with an empty context: what is signed instead of a
 * long message, so that the message goes through the fastest SHAKE256 there is and need not be in one piece.
 */
function representative(publicKey: Uint8Array, message: readonly Uint8Array[]): Uint8Array {
  return shake256(64, shake256(64, publicKey), Uint8Array.of(0, 0), ...message);
}

/**
 * Verifies a signature over the concatenation of `message`.
 * @returns 0; `EINVAL` for a key of another length; `EBADMSG` for a signature that cannot be decoded; `EKEYREJECTED` for a wrong one
 */
export function verifyMLDSA(name: MLDSAName, key: Uint8Array, message: readonly Uint8Array[], signature: Uint8Array): number {
  const p = PARAMETERS[name];
  if (key.length !== p.keyLength) return EINVAL;
  if (signature.length !== p.signatureLength || !zInRange(p, signature) || !hintIsCanonical(p, signature)) return EBADMSG;
  return IMPLEMENTATIONS[name].internal.verify(signature, representative(key, message), key, { externalMu: true }) ? 0 : EKEYREJECTED;
}

/** The expanded private key of a seed (32 bytes) and the public key that belongs to it. */
export function expandMLDSA(name: MLDSAName, seed: Uint8Array): { readonly secretKey: Uint8Array; readonly publicKey: Uint8Array } {
  return IMPLEMENTATIONS[name].keygen(seed);
}

/** The public key of an expanded private key. */
export function publicMLDSA(name: MLDSAName, secretKey: Uint8Array): Uint8Array {
  return IMPLEMENTATIONS[name].getPublicKey(secretKey);
}

/** Signs a message: pure ML-DSA, empty context, deterministic variant (FIPS 204 section 5.2 with a zero random value). */
export function signMLDSA(name: MLDSAName, secretKey: Uint8Array, message: readonly Uint8Array[]): Uint8Array {
  const mu = representative(publicMLDSA(name, secretKey), message);
  return IMPLEMENTATIONS[name].internal.sign(mu, secretKey, { externalMu: true, extraEntropy: false });
}
