/**
 * @module isa/int64
 * 64-bit integers as pairs of int32 words, little end first, without `BigInt` and without allocation: results go into an
 * `Int32Array` at an index given by the caller (`out[at]` the low word, `out[at + 1]` the high word). Division and modulo have
 * the results of RFC 9669 for a zero divisor and for the one signed overflow. Conversions to and from `bigint` are for the edges.
 *
 * `out` may hold the operands: words are passed by value and read before anything is written.
 */

/** `a + b` modulo 2^64. */
export function add64(out: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number): void {
  const lo = (alo + blo) | 0;
  out[at] = lo;
  out[at + 1] = ahi + bhi + (lo >>> 0 < alo >>> 0 ? 1 : 0);
}

/** `a - b` modulo 2^64. */
export function sub64(out: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number): void {
  out[at] = alo - blo;
  out[at + 1] = ahi - bhi - (alo >>> 0 < blo >>> 0 ? 1 : 0);
}

/** `-a` modulo 2^64. */
export function neg64(out: Int32Array, at: number, lo: number, hi: number): void {
  out[at] = -lo;
  out[at + 1] = lo === 0 ? -hi : ~hi;
}

/** High word of the unsigned product of two words, as int32. */
export function mulHigh32(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = (Math.imul(a1, b0) >>> 0) + (Math.imul(a0, b0) >>> 16);
  const low = (Math.imul(a0, b1) >>> 0) + (middle & 0xffff);
  return (Math.imul(a1, b1) + (middle >>> 16) + (low >>> 16)) | 0;
}

/** `a * b` modulo 2^64. */
export function mul64(out: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number): void {
  const hi = mulHigh32(alo, blo) + Math.imul(alo, bhi) + Math.imul(ahi, blo);
  out[at] = Math.imul(alo, blo);
  out[at + 1] = hi;
}

/** `a << (n & 63)`. */
export function shl64(out: Int32Array, at: number, lo: number, hi: number, n: number): void {
  const count = n & 63;
  if (count === 0) {
    out[at] = lo;
    out[at + 1] = hi;
  } else if (count < 32) {
    out[at + 1] = (hi << count) | (lo >>> (32 - count));
    out[at] = lo << count;
  } else {
    out[at + 1] = lo << (count - 32);
    out[at] = 0;
  }
}

/** `a >> (n & 63)`, unsigned. */
export function shr64(out: Int32Array, at: number, lo: number, hi: number, n: number): void {
  const count = n & 63;
  if (count === 0) {
    out[at] = lo;
    out[at + 1] = hi;
  } else if (count < 32) {
    out[at] = (lo >>> count) | (hi << (32 - count));
    out[at + 1] = hi >>> count;
  } else {
    out[at] = hi >>> (count - 32);
    out[at + 1] = 0;
  }
}

/** `a >> (n & 63)`, signed. */
export function sar64(out: Int32Array, at: number, lo: number, hi: number, n: number): void {
  const count = n & 63;
  if (count === 0) {
    out[at] = lo;
    out[at + 1] = hi;
  } else if (count < 32) {
    out[at] = (lo >>> count) | (hi << (32 - count));
    out[at + 1] = hi >> count;
  } else {
    out[at] = hi >> (count - 32);
    out[at + 1] = hi >> 31;
  }
}

/** `a == b`. */
export function eq64(alo: number, ahi: number, blo: number, bhi: number): boolean {
  return alo === blo && ahi === bhi;
}

/** `a < b`, unsigned. Words are int32. */
export function ltU64(alo: number, ahi: number, blo: number, bhi: number): boolean {
  return ahi === bhi ? alo >>> 0 < blo >>> 0 : ahi >>> 0 < bhi >>> 0;
}

/** `a <= b`, unsigned. */
export function leU64(alo: number, ahi: number, blo: number, bhi: number): boolean {
  return ahi === bhi ? alo >>> 0 <= blo >>> 0 : ahi >>> 0 < bhi >>> 0;
}

/** `a < b`, signed. */
export function ltS64(alo: number, ahi: number, blo: number, bhi: number): boolean {
  return ahi === bhi ? alo >>> 0 < blo >>> 0 : ahi < bhi;
}

/** `a <= b`, signed. */
export function leS64(alo: number, ahi: number, blo: number, bhi: number): boolean {
  return ahi === bhi ? alo >>> 0 <= blo >>> 0 : ahi < bhi;
}

/** -1, 0 or 1 as `a` is below, equal to or above `b`, unsigned. */
export function compareU64(alo: number, ahi: number, blo: number, bhi: number): -1 | 0 | 1 {
  if (ahi !== bhi) return ahi >>> 0 < bhi >>> 0 ? -1 : 1;
  if (alo === blo) return 0;
  return alo >>> 0 < blo >>> 0 ? -1 : 1;
}

/** -1, 0 or 1 as `a` is below, equal to or above `b`, signed. */
export function compareS64(alo: number, ahi: number, blo: number, bhi: number): -1 | 0 | 1 {
  if (ahi !== bhi) return ahi < bhi ? -1 : 1;
  if (alo === blo) return 0;
  return alo >>> 0 < blo >>> 0 ? -1 : 1;
}

const TWO_32 = 4294967296;

/** Quotient in words 0 and 1, remainder in words 2 and 3 of the last {@link divide}. */
const result = new Int32Array(4);

/** Unsigned division of a value by a divisor of one word; `b` is not zero. */
function divideByWord(alo: number, ahi: number, b: number): void {
  const divisor = b >>> 0;
  const high = ahi >>> 0;
  const quotientHigh = Math.floor(high / divisor);
  // The rest is below 2^32, so each step divides less than 2^48: exact in a double.
  const rest = high - quotientHigh * divisor;
  const upper = rest * 65536 + (alo >>> 16);
  const quotientUpper = Math.floor(upper / divisor);
  const lower = (upper - quotientUpper * divisor) * 65536 + (alo & 0xffff);
  const quotientLower = Math.floor(lower / divisor);
  result[0] = (quotientUpper << 16) + quotientLower;
  result[1] = quotientHigh;
  result[2] = lower - quotientLower * divisor;
  result[3] = 0;
}

/** Unsigned division by a divisor of at least 2^32: the quotient is below 2^32. */
function divideByLong(alo: number, ahi: number, blo: number, bhi: number): void {
  const a = (ahi >>> 0) * TWO_32 + (alo >>> 0);
  const b = (bhi >>> 0) * TWO_32 + (blo >>> 0);
  // The quotient of the two rounded doubles is off by less than one; one less than its floor is never too large.
  let quotient = Math.floor(a / b) - 1;
  if (quotient < 0) quotient = 0;
  mul64(result, 2, quotient | 0, 0, blo, bhi);
  sub64(result, 2, alo, ahi, result[2]!, result[3]!);
  while (!ltU64(result[2]!, result[3]!, blo, bhi)) {
    sub64(result, 2, result[2]!, result[3]!, blo, bhi);
    quotient++;
  }
  result[0] = quotient;
  result[1] = 0;
}

function divide(alo: number, ahi: number, blo: number, bhi: number): void {
  if (bhi === 0) divideByWord(alo, ahi, blo);
  else divideByLong(alo, ahi, blo, bhi);
}

/** `a / b`, unsigned; 0 for `b == 0` (RFC 9669 section 4.1). */
export function divU64(out: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number): void {
  if ((blo | bhi) === 0) {
    out[at] = 0;
    out[at + 1] = 0;
    return;
  }
  divide(alo, ahi, blo, bhi);
  out[at] = result[0]!;
  out[at + 1] = result[1]!;
}

/** `a % b`, unsigned; `a` for `b == 0` (RFC 9669 section 4.1). */
export function modU64(out: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number): void {
  if ((blo | bhi) === 0) {
    out[at] = alo;
    out[at + 1] = ahi;
    return;
  }
  divide(alo, ahi, blo, bhi);
  out[at] = result[2]!;
  out[at + 1] = result[3]!;
}

const magnitudes = new Int32Array(4);

function divideMagnitudes(alo: number, ahi: number, blo: number, bhi: number): void {
  if (ahi < 0) neg64(magnitudes, 0, alo, ahi);
  else {
    magnitudes[0] = alo;
    magnitudes[1] = ahi;
  }
  if (bhi < 0) neg64(magnitudes, 2, blo, bhi);
  else {
    magnitudes[2] = blo;
    magnitudes[3] = bhi;
  }
  divide(magnitudes[0]!, magnitudes[1]!, magnitudes[2]!, magnitudes[3]!);
}

/** `a / b`, signed and towards zero; 0 for `b == 0`; the least value divided by -1 is itself (RFC 9669 section 4.1). */
export function divS64(out: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number): void {
  if ((blo | bhi) === 0) {
    out[at] = 0;
    out[at + 1] = 0;
    return;
  }
  divideMagnitudes(alo, ahi, blo, bhi);
  if ((ahi ^ bhi) < 0) neg64(out, at, result[0]!, result[1]!);
  else {
    out[at] = result[0]!;
    out[at + 1] = result[1]!;
  }
}

/** `a % b` with the sign of `a`; `a` for `b == 0`; 0 for the least value and -1 (RFC 9669 section 4.1). */
export function modS64(out: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number): void {
  if ((blo | bhi) === 0) {
    out[at] = alo;
    out[at + 1] = ahi;
    return;
  }
  divideMagnitudes(alo, ahi, blo, bhi);
  if (ahi < 0) neg64(out, at, result[2]!, result[3]!);
  else {
    out[at] = result[2]!;
    out[at + 1] = result[3]!;
  }
}

/** The byte order of a word reversed, as int32. */
export function bswap32(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** The value as an unsigned `bigint`. */
export function toBigUint(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

/** The value as a signed `bigint`. */
export function toBigInt(lo: number, hi: number): bigint {
  return (BigInt(hi | 0) << 32n) | BigInt(lo >>> 0);
}

/** Low word of a `bigint` modulo 2^64, as int32. */
export function lowWord(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

/** High word of a `bigint` modulo 2^64, as int32. */
export function highWord(value: bigint): number {
  return Number(BigInt.asIntN(32, value >> 32n));
}

/** Writes a `bigint` modulo 2^64 as two words. */
export function fromBigInt(out: Int32Array, at: number, value: bigint): void {
  out[at] = lowWord(value);
  out[at + 1] = highWord(value);
}

/** Low word of an integral double of magnitude up to 2^53, as int32. */
export function lowOfNumber(value: number): number {
  return value | 0;
}

/** High word (sign-extended) of an integral double of magnitude up to 2^53, as int32. */
export function highOfNumber(value: number): number {
  return Math.floor(value / TWO_32) | 0;
}

/** The unsigned value as a double; exact up to 2^53. */
export function toNumberU(lo: number, hi: number): number {
  return (hi >>> 0) * TWO_32 + (lo >>> 0);
}

/** The signed value as a double; exact for magnitudes up to 2^53. */
export function toNumberS(lo: number, hi: number): number {
  return hi * TWO_32 + (lo >>> 0);
}

/** As C's `%llx`: lower case, no prefix, no leading zeros. */
export function formatHex(lo: number, hi: number): string {
  if (hi === 0) return (lo >>> 0).toString(16);
  return (hi >>> 0).toString(16) + (lo >>> 0).toString(16).padStart(8, '0');
}

/** As C's `%llu`. */
export function formatU64(lo: number, hi: number): string {
  if (hi >>> 0 < 0x200000) return String(toNumberU(lo, hi));
  return toBigUint(lo, hi).toString();
}

/** As C's `%lld`. */
export function formatS64(lo: number, hi: number): string {
  if (hi < 0x200000 && hi >= -0x200000) return String(toNumberS(lo, hi));
  return toBigInt(lo, hi).toString();
}
