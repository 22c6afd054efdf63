/**
 * @module crypto/ecdsa
 * ECDSA verification on the NIST prime curves with the kernel's rules (`crypto/ecdsa.c`, `crypto/ecdsa-x962.c`, FIPS 186-5):
 * uncompressed points only, integers of a signature read as unsigned, no low-s rule, digest cut to the curve's 64-bit words.
 * Curve arithmetic is `@noble/curves`; a native provider takes over where it can.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { ecdsa, weierstrass, type WeierstrassPointCons } from '@noble/curves/abstract/weierstrass.js';
import { EBADMSG, EINVAL, EKEYREJECTED } from '../isa/errno.ts';
import { content, leaf, readBER, sequence, TAG, type Element, type Pattern } from './ber.ts';
import { bigIntToBytes, bytesToBigInt, concatBytes, padLeft, stripLeadingZeros } from './bytes.ts';
import { currentProvider, type CurveName, type HashName } from './provider.ts';
import { Rejection } from './rejection.ts';

interface Curve {
  readonly point: WeierstrassPointCons<bigint>;
  /** Bytes of a coordinate. */
  readonly bytes: number;
  /** 64-bit words of a coordinate. */
  readonly words: number;
  /** Order of the base point, big-endian without leading zeros. */
  readonly order: Uint8Array;
}

/** SEC 2 secp192r1, which libraries no longer ship; the kernel still has it. */
const p192 = weierstrass({
  p: 0xfffffffffffffffffffffffffffffffeffffffffffffffffn,
  n: 0xffffffffffffffffffffffff99def836146bc9b1b4d22831n,
  h: 1n,
  a: 0xfffffffffffffffffffffffffffffffefffffffffffffffcn,
  b: 0x64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1n,
  Gx: 0x188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012n,
  Gy: 0x07192b95ffc8da78631011ed6b24cdd573f977a11e794811n,
});

function curve(point: WeierstrassPointCons<bigint>, bytes: number): Curve {
  return { point, bytes, words: Math.ceil(bytes / 8), order: stripLeadingZeros(bigIntToBytes(point.CURVE().n, bytes)) };
}

const CURVES: Readonly<Record<CurveName, Curve>> = {
  p192: curve(p192, 24), p256: curve(p256.Point, 32), p384: curve(p384.Point, 48), p521: curve(p521.Point, 66),
};

/** A point that is on its curve. */
export interface ECPublicKey {
  readonly curve: CurveName;
  readonly x: bigint;
  readonly y: bigint;
  /** The coordinates in the curve's byte length; the same arrays every time, so that providers can know a key again. */
  readonly encoded: readonly [x: Uint8Array, y: Uint8Array];
}

/** Reads an uncompressed point; throws {@link Rejection} with `EINVAL` for anything else. */
export function readECPublicKey(curve: CurveName, bytes: Uint8Array): ECPublicKey {
  const bad = (reason: string): never => {
    throw new Rejection(EINVAL, reason);
  };
  if (bytes.length % 2 !== 1 || bytes[0] !== 4) bad('EC point is not uncompressed');
  const { point, words, bytes: size } = CURVES[curve], half = (bytes.length - 1) / 2, { p, a, b } = point.CURVE();
  if (Math.ceil(half / 8) !== words) bad('EC point of another size');
  const x = bytesToBigInt(bytes.subarray(1, 1 + half)), y = bytesToBigInt(bytes.subarray(1 + half));
  if ((x === 0n && y === 0n) || x >= p || y >= p || (y * y - (x * x * x + a * x + b)) % p !== 0n) bad('EC point is not on the curve');
  return { curve, x, y, encoded: [bigIntToBytes(x, size), bigIntToBytes(y, size)] };
}

interface Draft {
  /** Most bytes of an integer. */
  readonly maximum: number;
  r: Uint8Array;
  s: Uint8Array;
}

/** An unsigned integer without leading zeros. */
function integer(draft: Draft, e: Element): Uint8Array {
  const value = content(e);
  if (value.length === 0 || value.length > draft.maximum + 1 || (value.length > draft.maximum && value[0] !== 0)) {
    throw new Rejection(EINVAL, 'ECDSA integer is empty or too long', e.start);
  }
  return stripLeadingZeros(value);
}

/** RFC 3279 section 2.2.3. */
const signatureGrammar: Pattern<Draft> = sequence<Draft>([
  leaf(TAG.integer, (draft, e) => { draft.r = integer(draft, e); }),
  leaf(TAG.integer, (draft, e) => { draft.s = integer(draft, e); }),
]);

/** What is signed: the message for a native provider, its digest for the portable code. */
export interface Signed {
  readonly hash: HashName | undefined;
  /** `undefined` where the kernel could not hash it. */
  readonly message: readonly Uint8Array[] | undefined;
  /** Empty where the kernel has no such hash; it then signs the number 0. */
  digest(): Uint8Array;
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (b !== 0n) {
    const quotient = a / b;
    [a, b] = [b, a - quotient * b];
    [x, y] = [y, x - quotient * y];
  }
  return x < 0n ? x + modulus : x;
}

/**
 * Verifies an `ECDSA-Sig-Value`.
 * @returns 0; `EBADMSG` for broken BER or r, s outside 1…n-1; `EINVAL` for integers that are too long; `EKEYREJECTED` otherwise
 */
export function verifyECDSA(key: ECPublicKey, signed: Signed, signature: Uint8Array): number {
  const { bytes, words, order } = CURVES[key.curve], draft: Draft = { maximum: words * 8, r: signature, s: signature };
  readBER(signatureGrammar, signature, draft);
  if (!isBelow(draft.r, order) || !isBelow(draft.s, order)) return EBADMSG;
  if (signed.message !== undefined && signed.hash !== undefined) {
    const native = currentProvider()?.verifyECDSA(key.curve, ...key.encoded, signed.hash, signed.message, padLeft(draft.r, bytes), padLeft(draft.s, bytes));
    if (native !== undefined) return native ? 0 : EKEYREJECTED;
  }
  return verifyPortably(key, bytesToBigInt(draft.r), bytesToBigInt(draft.s), signed.digest());
}

/** `0 < value < order`, both without leading zeros. */
function isBelow(value: Uint8Array, order: Uint8Array): boolean {
  if (value.length === 0 || value.length !== order.length) return value.length > 0 && value.length < order.length;
  for (let i = 0; i < value.length; i++) {
    const difference = (value[i] ?? 0) - (order[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

/** FIPS 186-5 section 6.4.2. */
function verifyPortably(key: ECPublicKey, r: bigint, s: bigint, digest: Uint8Array): number {
  const { point, words } = CURVES[key.curve], { n } = point.CURVE();
  const z = bytesToBigInt(digest.subarray(0, words * 8)), w = inverse(s, n);
  const u1 = (z * w) % n, u2 = (r * w) % n, q = point.fromAffine({ x: key.x, y: key.y });
  const sum = u1 === 0n ? q.multiplyUnsafe(u2) : point.BASE.mulAddUnsafe(u1, q, u2);
  if (sum.equals(point.ZERO)) return EKEYREJECTED;
  return sum.toAffine().x % n === r ? 0 : EKEYREJECTED;
}

/** The public point of a private scalar, uncompressed; throws {@link Rejection} for a scalar outside 1…n-1. */
export function publicPoint(curve: CurveName, scalar: Uint8Array): Uint8Array {
  const { point, bytes } = CURVES[curve], d = bytesToBigInt(scalar);
  if (d === 0n || d >= point.CURVE().n) throw new Rejection(EINVAL, 'EC private key out of range');
  const { x, y } = point.BASE.multiply(d).toAffine();
  return concatBytes(Uint8Array.of(4), bigIntToBytes(x, bytes), bigIntToBytes(y, bytes));
}

/** `ECDSA-Sig-Value` over a digest; the nonce is derived from key and digest (RFC 6979), so the result is always the same. */
export function signECDSA(curve: CurveName, scalar: Uint8Array, digest: Uint8Array): Uint8Array {
  const { point, bytes } = CURVES[curve], key = padLeft(scalar, bytes);
  try {
    return ecdsa(point, sha256).sign(digest, key.subarray(key.length - bytes), { prehash: false, lowS: false, format: 'der' });
  } finally {
    if (key !== scalar) key.fill(0);
  }
}
