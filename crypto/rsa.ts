/**
 * @module crypto/rsa
 * RSASSA-PKCS1-v1_5 verification with the kernel's key and padding rules and error numbers (`crypto/rsa.c`,
 * `crypto/rsassa-pkcs1.c`; RFC 8017 section 8.2.2). Modular exponentiation is native where a provider does it, else BigInt.
 */
import { EBADMSG, EINVAL, EKEYREJECTED, ENOMEM } from '../isa/errno.ts';
import { content, leaf, readBER, sequence, TAG, type Pattern } from './ber.ts';
import { bigIntToBytes, bytesToBigInt, concatBytes, equalBytes, fromHex, padLeft, stripLeadingZeros } from './bytes.ts';
import { currentProvider, type HashName } from './provider.ts';
import { Rejection } from './rejection.ts';

/** `DigestInfo` in front of the digest (RFC 8017 section 9.2). */
export const DIGEST_INFO: Readonly<Record<HashName, Uint8Array>> = {
  sha1: fromHex('3021300906052b0e03021a05000414'),
  sha224: fromHex('302d300d06096086480165030402040500041c'),
  sha256: fromHex('3031300d060960864801650304020105000420'),
  sha384: fromHex('3041300d060960864801650304020205000430'),
  sha512: fromHex('3051300d060960864801650304020305000440'),
  'sha3-256': fromHex('3031300d060960864801650304020805000420'),
  'sha3-384': fromHex('3041300d060960864801650304020905000430'),
  'sha3-512': fromHex('3051300d060960864801650304020a05000440'),
};

/** Modulus sizes in bits, counted in whole 64-bit words. */
const SIZES: ReadonlySet<number> = new Set([512, 1024, 1536, 2048, 3072, 4096]);
const SIZES_FIPS: ReadonlySet<number> = new Set([2048, 3072, 4096]);
/** Integers above this many bits are not read at all. */
const MAX_INTEGER_BITS = 16384;
const WORD = 8;
/** Fewest 0xff bytes of a padding. */
const MIN_PADDING = 8;

/** Modulus and exponent without leading zeros; `size` is the modulus in whole 64-bit words, in bytes. */
export interface RSAPublicKey {
  readonly modulus: Uint8Array;
  readonly exponent: Uint8Array;
  readonly size: number;
}

interface Draft {
  modulus: Uint8Array | undefined;
  exponent: Uint8Array | undefined;
}

const keyGrammar: Pattern<Draft> = sequence<Draft>([
  leaf(TAG.integer, (draft, e) => {
    if (e.length === 0) throw new Rejection(EINVAL, 'RSA modulus is empty', e.start);
    draft.modulus = content(e);
  }),
  leaf(TAG.integer, (draft, e) => {
    if (e.length === 0 || e.length > (draft.modulus?.length ?? 0)) throw new Rejection(EINVAL, 'RSA exponent is empty or longer than the modulus', e.start);
    draft.exponent = content(e);
  }),
]);

/** Reads `RSAPublicKey` (RFC 8017 appendix A.1.1); throws {@link Rejection}. */
export function readRSAPublicKey(bytes: Uint8Array, fips: boolean): RSAPublicKey {
  const draft: Draft = { modulus: undefined, exponent: undefined };
  readBER(keyGrammar, bytes, draft);
  const modulus = stripLeadingZeros(draft.modulus ?? new Uint8Array(0)), exponent = stripLeadingZeros(draft.exponent ?? new Uint8Array(0));
  if (modulus.length * 8 > MAX_INTEGER_BITS || exponent.length * 8 > MAX_INTEGER_BITS) throw new Rejection(ENOMEM, 'RSA integer above 16384 bits');
  const size = Math.ceil(modulus.length / WORD) * WORD;
  if (!(fips ? SIZES_FIPS : SIZES).has(size * 8)) throw new Rejection(EINVAL, `RSA modulus of ${size * 8} bits`);
  return { modulus, exponent, size };
}

/**
 * `value ** exponent mod modulus`. The caller bounds the sizes (4096 bits: at most 6144 multiplications).
 * @returns as many bytes as the modulus
 */
export function modularPower(value: Uint8Array, exponent: Uint8Array, modulus: Uint8Array): Uint8Array {
  const native = currentProvider()?.modularPower(value, exponent, modulus);
  if (native !== undefined) return native;
  const m = bytesToBigInt(modulus);
  let power = bytesToBigInt(value) % m, result = 1n % m;
  for (let e = bytesToBigInt(exponent); e > 0n; e >>= 1n) {
    if ((e & 1n) === 1n) result = (result * power) % m;
    power = (power * power) % m;
  }
  return bigIntToBytes(result, modulus.length);
}

/** The encoded message that a right signature yields: 00 01 ff… 00 DigestInfo digest. */
export function encodePKCS1(hash: HashName, digest: Uint8Array, size: number): Uint8Array {
  const info = concatBytes(DIGEST_INFO[hash], digest), encoded = new Uint8Array(size).fill(0xff);
  encoded[0] = 0;
  encoded[1] = 1;
  encoded[size - info.length - 1] = 0;
  encoded.set(info, size - info.length);
  return encoded;
}

/** `1 < value < modulus - 1`, without the cost of big integers. Both have the modulus's length, or the value is longer. */
function isProperValue(value: Uint8Array, modulus: Uint8Array): boolean {
  const at = (bytes: Uint8Array, i: number): number => bytes[i] ?? 0, last = modulus.length - 1;
  if (value.length > modulus.length || (at(value, last) <= 1 && value.subarray(0, last).every((byte) => byte === 0))) return false;
  const place = value.findIndex((byte, i) => byte !== modulus[i]);
  if (place < 0 || at(value, place) > at(modulus, place)) return false;
  // Smaller; it is modulus - 1 where subtracting the 1 borrowed through zeros up to this place.
  const borrowed = at(value, place) + 1 === at(modulus, place) && value.subarray(place + 1).every((byte) => byte === 0xff)
    && modulus.subarray(place + 1).every((byte) => byte === 0);
  return !borrowed;
}

/**
 * Verifies a signature over a message.
 * @param digest of the message, asked only where a provider does not settle it
 * @returns 0; `EINVAL` for a wrong length, a value outside 2…n-2 or a leading byte; `EBADMSG` for wrong padding or DigestInfo;
 * `EKEYREJECTED` for another digest
 */
export function verifyRSA(key: RSAPublicKey, hash: HashName, message: readonly Uint8Array[], digest: () => Uint8Array, signature: Uint8Array): number {
  if (signature.length !== key.size) return EINVAL;
  const { modulus, exponent } = key;
  if (modulus.length === key.size && currentProvider()?.verifyRSA(exponent, modulus, hash, message, signature) === true) return 0;
  const value = padLeft(stripLeadingZeros(signature), modulus.length);
  if (!isProperValue(value, modulus)) return EINVAL;
  return checkBlock(padLeft(modularPower(value, exponent, modulus), key.size), hash, digest());
}

/** The block that the public key makes of a signature: 00 01 ff… 00 DigestInfo digest. */
function checkBlock(block: Uint8Array, hash: HashName, digest: Uint8Array): number {
  const prefix = DIGEST_INFO[hash];
  if (block[0] !== 0) return EINVAL;
  if (block[1] !== 1) return EBADMSG;
  let at = 2;
  while (at < block.length && block[at] === 0xff) at++;
  if (at < 2 + MIN_PADDING || at === block.length || block[at] !== 0) return EBADMSG;
  at++;
  if (prefix.length > block.length - at || !equalBytes(block.subarray(at, at + prefix.length), prefix)) return EBADMSG;
  return equalBytes(block.subarray(at + prefix.length), digest) ? 0 : EKEYREJECTED;
}

/**
 * Signs a digest. Uses the Chinese remainder theorem and checks the result with the public key before it gives it out, so that a
 * computation error never leaks a factor.
 * @param primes p, q, d mod (p-1), d mod (q-1), q⁻¹ mod p
 * @throws Rejection where the key's parts do not belong together
 */
export function signRSA(
  modulus: Uint8Array, publicExponent: Uint8Array, primes: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array],
  hash: HashName, digest: Uint8Array,
): Uint8Array {
  const block = encodePKCS1(hash, digest, modulus.length), [pBytes, qBytes, dp, dq, qi] = primes;
  const p = bytesToBigInt(pBytes), q = bytesToBigInt(qBytes), power = (exponent: Uint8Array, prime: Uint8Array): bigint => (
    bytesToBigInt(modularPower(bigIntToBytes(bytesToBigInt(block) % bytesToBigInt(prime), prime.length), exponent, prime)));
  const m1 = power(dp, pBytes), m2 = power(dq, qBytes);
  const h = ((((m1 - m2) % p) + p) * bytesToBigInt(qi)) % p, signature = bigIntToBytes(m2 + q * h, modulus.length);
  if (!equalBytes(padLeft(modularPower(signature, publicExponent, modulus), modulus.length), block)) {
    throw new Rejection(EINVAL, 'the parts of the RSA key do not belong together');
  }
  return signature;
}
