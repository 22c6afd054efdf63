/**
 * @module src/node/native-crypto
 * Primitives of `node:crypto` as a provider for `crypto/`: digests, RSA's modular exponentiation, ECDSA. It declines what
 * OpenSSL would treat differently, so that results never depend on where the code runs.
 */
import {
  constants, createHash, createPrivateKey, createPublicKey, createSign, createVerify, getHashes, hash as hashAtOnce, publicEncrypt, verify as nodeVerify, type KeyObject,
} from 'node:crypto';
import { concatBytes } from '../../crypto/bytes.ts';
import { derBitString, derInteger, derOID, derSequence } from '../../crypto/der.ts';
import { OID } from '../../crypto/oid.ts';
import { setProvider, type CryptoProvider, type CurveName, type HashName } from '../../crypto/provider.ts';
import { sha256Short } from '../../crypto/sha256.ts';
import { within, type Phases } from '../../isa/phases.ts';

/** Curves that JWK has (RFC 7518); P-192 is not among them. */
const JWK_CURVE: Readonly<Partial<Record<CurveName, string>>> = { p256: 'P-256', p384: 'P-384', p521: 'P-521' };
/** Names of a digest in OpenSSL. */
const HASH: Readonly<Record<HashName, string>> = {
  sha1: 'sha1', sha224: 'sha224', sha256: 'sha256', sha384: 'sha384', sha512: 'sha512',
  'sha3-256': 'sha3-256', 'sha3-384': 'sha3-384', 'sha3-512': 'sha3-512',
};
/**
 * Key objects by the array that holds the modulus, the x coordinate or the private key: building one costs more than a verification, and the
 * callers keep those arrays with the key.
 */
class KeyCache {
  private readonly keys = new WeakMap<Uint8Array, { readonly rest: Uint8Array; readonly key: KeyObject | undefined }>();

  get(array: Uint8Array, rest: Uint8Array, make: () => KeyObject): KeyObject | undefined {
    const known = this.keys.get(array);
    if (known !== undefined && known.rest === rest) return known.key;
    let key: KeyObject | undefined;
    try {
      key = make();
    } catch {
      key = undefined;
    }
    this.keys.set(array, { rest, key });
    return key;
  }
}

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64url');

// Through JWK, because OpenSSL 3's decoder of DER costs 110 us a key, five times as much as verifying with it.
function rsaKeyObject(modulus: Uint8Array, exponent: Uint8Array): KeyObject {
  return createPublicKey({ key: { kty: 'RSA', n: base64url(modulus), e: base64url(exponent) }, format: 'jwk' });
}

/** Of an `RSAPrivateKey`; what is copied for OpenSSL to read is wiped. */
function rsaPrivateKeyObject(privateKey: Uint8Array): KeyObject {
  const der = Buffer.from(privateKey);
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs1' });
  } finally {
    der.fill(0);
  }
}

function ecKeyObject(curve: CurveName, x: Uint8Array, y: Uint8Array): KeyObject {
  const crv = JWK_CURVE[curve];
  if (crv !== undefined) return createPublicKey({ key: { kty: 'EC', crv, x: base64url(x), y: base64url(y) }, format: 'jwk' });
  const point = concatBytes(Uint8Array.of(4), x, y), der = derSequence(derSequence(derOID(OID.ecPublicKey), derOID(OID.prime192v1)), derBitString(point));
  return createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
}

/** Pieces up to this many bytes are put together: a stream of updates costs more than the copy. */
const COPIED_BYTES = 1 << 16;
/** Up to this many bytes, setting up OpenSSL's SHA-256 costs more than it saves. */
const SHORT_BYTES = 512;

/**
 * One piece at once, many bytes in several through a stream of updates; `undefined` where OpenSSL will not. The key is given by itself, for which padding
 * (PKCS #1 v1.5) and form (DER) are those that are wanted: Node 24 takes half as long again for a key with options.
 */
function verifyMessage(
  hash: HashName, message: readonly Uint8Array[], key: KeyObject, signature: Uint8Array, phases: Phases | undefined,
): boolean | undefined {
  try {
    if (message.length === 1 && message[0] !== undefined && phases === undefined) return nodeVerify(HASH[hash], message[0], key, signature);
    if (phases === undefined && message.reduce((sum, part) => sum + part.length, 0) <= COPIED_BYTES) {
      return nodeVerify(HASH[hash], concatBytes(...message), key, signature);
    }
    const verifier = createVerify(HASH[hash]);
    within(phases, 'hashing', () => {
      for (const part of message) verifier.update(part);
    });
    return verifier.verify(key, signature);
  } catch {
    return undefined;
  }
}

/**
 * A provider on `node:crypto`.
 * @param phases hears when it hashes; hashing and the public-key operation are then always two steps
 * @example setProvider(createNodeProvider())
 */
export function createNodeProvider(phases?: Phases): CryptoProvider {
  const keys = new KeyCache(), privateKeys = new KeyCache(), available = new Set(getHashes());
  const rsaKey = (exponent: Uint8Array, modulus: Uint8Array): KeyObject | undefined => (
    keys.get(modulus, exponent, () => rsaKeyObject(modulus, exponent)));
  return {
    name: `node:crypto (OpenSSL ${process.versions.openssl})`,
    digest(hash, parts) {
      if (!available.has(HASH[hash])) return undefined;
      const [first] = parts;
      if (hash === 'sha256' && parts.length === 1 && first !== undefined && first.length <= SHORT_BYTES) return within(phases, 'hashing', () => sha256Short(first));
      const result = parts.length === 1 && first !== undefined && first.length <= COPIED_BYTES && phases === undefined
        ? hashAtOnce(HASH[hash], first, 'buffer')
        : within(phases, 'hashing', () => {
          const state = createHash(HASH[hash]);
          for (const part of parts) state.update(part);
          return state.digest();
        });
      return new Uint8Array(result.buffer, result.byteOffset, result.length);
    },
    shake256(parts, length) {
      if (!available.has('shake256')) return undefined;
      const result = within(phases, 'hashing', () => {
        const state = createHash('shake256', { outputLength: length });
        for (const part of parts) state.update(part);
        return state.digest();
      });
      return new Uint8Array(result.buffer, result.byteOffset, result.length);
    },
    modularPower(value, exponent, modulus) {
      const key = rsaKey(exponent, modulus);
      if (key === undefined || modulus[0] === 0) return undefined;
      try {
        const result = publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, value);
        return new Uint8Array(result.buffer, result.byteOffset, result.length);
      } catch {
        return undefined;
      }
    },
    verifyECDSA(curve, x, y, hash, message, r, s) {
      if (!available.has(HASH[hash])) return undefined;
      const key = keys.get(x, y, () => ecKeyObject(curve, x, y));
      if (key === undefined) return undefined;
      // Not as two numbers of fixed length: Node 24 takes 40 us to convert that form.
      return verifyMessage(hash, message, key, derSequence(derInteger(r), derInteger(s)), phases);
    },
    verifyRSA(exponent, modulus, hash, message, signature) {
      const key = available.has(HASH[hash]) ? rsaKey(exponent, modulus) : undefined;
      return key === undefined ? undefined : verifyMessage(hash, message, key, signature, phases);
    },
    signRSA(privateKey, hash, message) {
      const key = available.has(HASH[hash]) ? privateKeys.get(privateKey, privateKey, () => rsaPrivateKeyObject(privateKey)) : undefined;
      if (key === undefined) return undefined;
      try {
        const signer = createSign(HASH[hash]);
        for (const part of message) signer.update(part);
        const result = signer.sign(key);
        return new Uint8Array(result.buffer, result.byteOffset, result.length);
      } catch {
        return undefined;
      }
    },
  };
}

/** Installs {@link createNodeProvider} for the process. */
export function installNodeCrypto(): void {
  setProvider(createNodeProvider());
}
