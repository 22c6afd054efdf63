/**
 * @module crypto/provider
 * Where the primitives come from. The portable ones (`@noble/*`, BigInt) work everywhere; a host that has faster native ones
 * installs them once with {@link setProvider}. Both must give equal results: a provider may only be faster, and may decline
 * (`undefined`) anything it does not do exactly as specified here.
 *
 * Does not own: what a signature means, which algorithms a kernel has (`crypto/algorithms.ts`).
 */

/** Digests that the project computes. Names as in the kernel's crypto API. */
export type HashName = 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'sha3-256' | 'sha3-384' | 'sha3-512';

/** Curves of ECDSA keys that a kernel can hold. */
export type CurveName = 'p192' | 'p256' | 'p384' | 'p521';

/** Native primitives. Every method may give `undefined`: the portable code then does the work. */
export interface CryptoProvider {
  /** For reports: `"node:crypto (OpenSSL 3.0.19)"`. */
  readonly name: string;
  /** The digest of the concatenation of `parts`. */
  digest(hash: HashName, parts: readonly Uint8Array[]): Uint8Array | undefined;
  /** `length` bytes of SHAKE256 (FIPS 202) over the concatenation of `parts`. */
  shake256(parts: readonly Uint8Array[], length: number): Uint8Array | undefined;
  /**
   * `value ** exponent mod modulus`, big-endian, as many bytes as `modulus`, which has no leading zero byte. Arrays of a key that
   * is used again are the same ones and do not change.
   */
  modularPower(value: Uint8Array, exponent: Uint8Array, modulus: Uint8Array): Uint8Array | undefined;
  /**
   * RSASSA-PKCS1-v1_5 over the hash of the concatenated `message`, for a signature of the modulus's length. Only `true` is final:
   * why a signature is wrong is found out with {@link modularPower}.
   */
  verifyRSA(exponent: Uint8Array, modulus: Uint8Array, hash: HashName, message: readonly Uint8Array[], signature: Uint8Array): boolean | undefined;
  /**
   * ECDSA over the hash of the concatenated `message`; `x`, `y`, `r`, `s` big-endian in the curve's byte length, the point is on the curve,
   * `0 < r, s < n`.
   */
  verifyECDSA(
    curve: CurveName, x: Uint8Array, y: Uint8Array, hash: HashName, message: readonly Uint8Array[], r: Uint8Array, s: Uint8Array,
  ): boolean | undefined;
  /** RSASSA-PKCS1-v1_5 over the hash of the concatenated `message`, with an `RSAPrivateKey` (RFC 8017). */
  signRSA?(privateKey: Uint8Array, hash: HashName, message: readonly Uint8Array[]): Uint8Array | undefined;
}

let installed: CryptoProvider | undefined;

/**
 * Installs native primitives for the whole process, or removes them with `undefined`.
 * @example setProvider(createNodeProvider())
 */
export function setProvider(provider: CryptoProvider | undefined): void {
  installed = provider;
}

/** The installed provider; `undefined` where the portable code does everything. */
export function currentProvider(): CryptoProvider | undefined {
  return installed;
}
