/**
 * @module vm/int64
 * 64-bit division on int32 pairs, for the interpreter. Owns the arithmetic, not the meaning of a zero divisor (the callers follow
 * RFC 9669 section 4.1: quotient 0, remainder the dividend).
 *
 * Why no BigInt: an interpreter that keeps registers as BigInt needs 12 to 30 ns an instruction, and a division that builds
 * three of them allocates on every call.
 */

/** Quotient and remainder of the last division: `[qLo, qHi, rLo, rHi]`. One array for all callers: read it at once. */
export const quotient: Int32Array = new Int32Array(4);

const TWO32 = 4294967296;

/** Unsigned division; the divisor must not be 0. */
export function divideUnsigned(aLo: number, aHi: number, bLo: number, bHi: number): void {
  const aL = aLo >>> 0;
  const aH = aHi >>> 0;
  const bL = bLo >>> 0;
  const bH = bHi >>> 0;
  if (bH === 0) {
    if (aH === 0) {
      quotient[2] = aL % bL;
      quotient[0] = (aL - (aL % bL)) / bL;
      quotient[1] = 0;
      quotient[3] = 0;
      return;
    }
    divideBy32(aL, aH, bL);
    return;
  }
  // The quotient is below 2^32. The estimate in doubles is off by at most one; one less than it never overshoots.
  let q = Math.floor((aH * TWO32 + aL) / (bH * TWO32 + bL)) - 1;
  if (q < 0) q = 0;
  if (q > 0xffffffff) q = 0xffffffff;
  let productLo = Math.imul(q, bL);
  let productHi = (multiplyHigh(q, bL) + Math.imul(q, bH)) | 0;
  let rLo = (aL - productLo) | 0;
  let rHi = (aH - productHi - (aL < productLo >>> 0 ? 1 : 0)) | 0;
  while (rHi >>> 0 > bH || (rHi >>> 0 === bH && rLo >>> 0 >= bL)) {
    productLo = rLo;
    productHi = rHi;
    rLo = (productLo - bL) | 0;
    rHi = (productHi - bH - (productLo >>> 0 < bL ? 1 : 0)) | 0;
    q++;
  }
  quotient[0] = q | 0;
  quotient[1] = 0;
  quotient[2] = rLo;
  quotient[3] = rHi;
}

/** Schoolbook division in digits of 16 bits: every step stays below 2^48, exact in a double. */
function divideBy32(aL: number, aH: number, b: number): void {
  let remainder = aH % b;
  const hi = (aH - remainder) / b;
  let step = remainder * 65536 + (aL >>> 16);
  remainder = step % b;
  const middle = (step - remainder) / b;
  step = remainder * 65536 + (aL & 0xffff);
  remainder = step % b;
  quotient[0] = middle * 65536 + (step - remainder) / b;
  quotient[1] = hi;
  quotient[2] = remainder;
  quotient[3] = 0;
}

/** Signed division truncating towards zero; the divisor must not be 0. `INT64_MIN / -1` is `INT64_MIN`, remainder 0. */
export function divideSigned(aLo: number, aHi: number, bLo: number, bHi: number): void {
  const aNegative = aHi < 0;
  const negative = aNegative !== bHi < 0;
  divideUnsigned(
    aNegative ? -aLo | 0 : aLo,
    aNegative ? negateHigh(aLo, aHi) : aHi,
    bHi < 0 ? -bLo | 0 : bLo,
    bHi < 0 ? negateHigh(bLo, bHi) : bHi,
  );
  if (negative) {
    const lo = quotient[0]!;
    quotient[1] = negateHigh(lo, quotient[1]!);
    quotient[0] = -lo | 0;
  }
  if (aNegative) {
    const lo = quotient[2]!;
    quotient[3] = negateHigh(lo, quotient[3]!);
    quotient[2] = -lo | 0;
  }
}

/** Upper half of the negated pair. */
function negateHigh(lo: number, hi: number): number {
  return (~hi + (lo === 0 ? 1 : 0)) | 0;
}

/** Upper 32 bits of the unsigned product of two 32-bit words, as int32. */
export function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const low = (Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16)) | 0;
  const middle = (Math.imul(a0, b1) + (low & 0xffff)) | 0;
  return (Math.imul(a1, b1) + (low >>> 16) + (middle >>> 16)) | 0;
}

/** `value` with its four bytes in the other order. */
export function swap32(value: number): number {
  return (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
}
