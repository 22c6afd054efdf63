/**
 * @module src/node/native-crypto
 * Primitives of `node:crypto` as a provider for `crypto/`: digests, RSA's modular exponentiation, ECDSA. It declines what
 * OpenSSL would treat differently, so that results never depend on where the code runs.
 */
import { constants, createHash, createPrivateKey, createPublicKey, createSign, createVerify, getHashes, publicEncrypt, type KeyObject } from 'node:crypto';
import { stripLeadingZeros, toHex } from '../../crypto/bytes.ts';
import { derBitString, derInteger, derNull, derOID, derSequence } from '../../crypto/der.ts';
import { OID } from '../../crypto/oid.ts';
import { setProvider, type CryptoProvider, type CurveName, type HashName } from '../../crypto/provider.ts';

const CURVE_OID: Readonly<Record<CurveName, string>> = {
  p192: OID.prime192v1, p256: OID.prime256v1, p384: OID.secp384r1, p521: OID.secp521r1,
};
/** Names of a digest in OpenSSL. */
const HASH: Readonly<Record<HashName, string>> = {
  sha1: 'sha1', sha224: 'sha224', sha256: 'sha256', sha384: 'sha384', sha512: 'sha512',
  'sha3-256': 'sha3-256', 'sha3-384': 'sha3-384', 'sha3-512': 'sha3-512',
};
/** Key objects kept; building one costs more than a verification. */
const MAX_KEYS = 64;

/** Keys by their encoding, the oldest leaves first. */
class KeyCache {
  private readonly keys = new Map<string, KeyObject | undefined>();

  get(name: string, make: () => KeyObject): KeyObject | undefined {
    if (this.keys.has(name)) return this.keys.get(name);
    let key: KeyObject | undefined;
    try {
      key = make();
    } catch {
      key = undefined;
    }
    const oldest = this.keys.keys().next();
    if (this.keys.size >= MAX_KEYS && oldest.done !== true) this.keys.delete(oldest.value);
    this.keys.set(name, key);
    return key;
  }
}

function publicKeyInfo(algorithm: string, parameters: Uint8Array, key: Uint8Array): KeyObject {
  const der = derSequence(derSequence(derOID(algorithm), parameters), derBitString(key));
  return createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
}

/**
 * A provider on `node:crypto`.
 * @example setProvider(createNodeProvider())
 */
export function createNodeProvider(): CryptoProvider {
  const keys = new KeyCache(), available = new Set(getHashes());
  return {
    name: `node:crypto (OpenSSL ${process.versions.openssl})`,
    digest(hash, parts) {
      if (!available.has(HASH[hash])) return undefined;
      const state = createHash(HASH[hash]);
      for (const part of parts) state.update(part);
      const result = state.digest();
      return new Uint8Array(result.buffer, result.byteOffset, result.length);
    },
    modularPower(value, exponent, modulus) {
      const key = keys.get(`rsa ${toHex(modulus)} ${toHex(exponent)}`, () => publicKeyInfo(
        OID.rsaEncryption, derNull(), derSequence(derInteger(modulus), derInteger(exponent))));
      if (key === undefined || stripLeadingZeros(modulus).length !== modulus.length) return undefined;
      try {
        const result = publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, value);
        return new Uint8Array(result.buffer, result.byteOffset, result.length);
      } catch {
        return undefined;
      }
    },
    verifyECDSA(curve, x, y, hash, message, r, s) {
      if (!available.has(HASH[hash])) return undefined;
      const point = new Uint8Array(1 + x.length + y.length);
      point[0] = 4;
      point.set(x, 1);
      point.set(y, 1 + x.length);
      const key = keys.get(`ec ${curve} ${toHex(point)}`, () => publicKeyInfo(OID.ecPublicKey, derOID(CURVE_OID[curve]), point));
      if (key === undefined) return undefined;
      const signature = new Uint8Array(r.length + s.length);
      signature.set(r);
      signature.set(s, r.length);
      try {
        const verifier = createVerify(HASH[hash]);
        for (const part of message) verifier.update(part);
        return verifier.verify({ key, dsaEncoding: 'ieee-p1363' }, signature);
      } catch {
        return undefined;
      }
    },
    signRSA(privateKey, hash, message) {
      if (!available.has(HASH[hash])) return undefined;
      const der = Buffer.from(privateKey);
      try {
        const signer = createSign(HASH[hash]);
        for (const part of message) signer.update(part);
        const result = signer.sign(createPrivateKey({ key: der, format: 'der', type: 'pkcs1' }));
        return new Uint8Array(result.buffer, result.byteOffset, result.length);
      } catch {
        return undefined;
      } finally {
        der.fill(0);
      }
    },
  };
}

/** Installs {@link createNodeProvider} for the process. */
export function installNodeCrypto(): void {
  setProvider(createNodeProvider());
}
