/**
 * @module verifier/tnum
 * Tristate numbers: what is known of each bit of a 64-bit value. Owns their arithmetic; ranges are in `cnum.ts`, the two
 * together in `scalar.ts`. Reproduces the results of Linux's `kernel/bpf/tnum.c`.
 *
 * A tnum is four words of an `Int32Array`: `value` (low, high) and `mask` (low, high). A mask bit of 1 means "unknown",
 * and the value bit is then 0. Every function takes `(array, offset)` pairs and writes its result through the first pair,
 * which may be an operand: no tnum is ever allocated.
 * @example
 * const w = new Int32Array(8);
 * tnumRange(w, 0, 0, 0, 6, 0);      // 0..6: value 0, mask 7
 * tnumConst(w, 4, 8, 0);
 * tnumAdd(w, 0, w, 0, w, 4);        // value 8, mask 7
 */

/** Words of one tnum. */
export const TNUM_WORDS = 4;

/** Number of the highest set bit of a word, counted from 1; 0 for 0. */
const bitLength = (word: number): number => 32 - Math.clz32(word);

/** Low `bits` bits set, 0 ≤ bits ≤ 32. */
const lowMask = (bits: number): number => (bits >= 32 ? -1 : (1 << bits) - 1);

const store = (d: Int32Array, o: number, vLo: number, vHi: number, mLo: number, mHi: number): void => {
  d[o] = vLo;
  d[o + 1] = vHi;
  d[o + 2] = mLo;
  d[o + 3] = mHi;
};

/** Carry out of the 32-bit sum `a + b = sum`. */
const carry = (a: number, sum: number): number => (sum >>> 0 < a >>> 0 ? 1 : 0);
/** Borrow of the 32-bit difference `a - b`. */
const borrow = (a: number, b: number): number => (a >>> 0 < b >>> 0 ? 1 : 0);

/** The constant `lo`, `hi`. */
export function tnumConst(d: Int32Array, o: number, lo: number, hi: number): void {
  store(d, o, lo, hi, 0, 0);
}

/** Nothing known. */
export function tnumUnknown(d: Int32Array, o: number): void {
  store(d, o, 0, 0, -1, -1);
}

/** The smallest tnum that holds every value from min to max (unsigned). */
export function tnumRange(d: Int32Array, o: number, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  const differHi = minHi ^ maxHi;
  const maskHi = lowMask(bitLength(differHi));
  const maskLo = differHi !== 0 ? -1 : lowMask(bitLength(minLo ^ maxLo));
  store(d, o, minLo & ~maskLo, minHi & ~maskHi, maskLo, maskHi);
}

/** `a << shift`, 0 ≤ shift ≤ 63. */
export function tnumLsh(d: Int32Array, o: number, a: Int32Array, x: number, shift: number): void {
  const vLo = a[x]!, vHi = a[x + 1]!, mLo = a[x + 2]!, mHi = a[x + 3]!;
  if (shift === 0) store(d, o, vLo, vHi, mLo, mHi);
  else if (shift >= 32) store(d, o, 0, vLo << (shift - 32), 0, mLo << (shift - 32));
  else store(d, o, vLo << shift, (vHi << shift) | (vLo >>> (32 - shift)), mLo << shift, (mHi << shift) | (mLo >>> (32 - shift)));
}

/** `a >> shift` (logical), 0 ≤ shift ≤ 63. */
export function tnumRsh(d: Int32Array, o: number, a: Int32Array, x: number, shift: number): void {
  const vLo = a[x]!, vHi = a[x + 1]!, mLo = a[x + 2]!, mHi = a[x + 3]!;
  if (shift === 0) store(d, o, vLo, vHi, mLo, mHi);
  else if (shift >= 32) store(d, o, vHi >>> (shift - 32), 0, mHi >>> (shift - 32), 0);
  else store(d, o, (vLo >>> shift) | (vHi << (32 - shift)), vHi >>> shift, (mLo >>> shift) | (mHi << (32 - shift)), mHi >>> shift);
}

/** `a s>> shift` on 64 bits, or on the low 32 (result zero-extended). An unknown sign bit spreads as unknown bits. */
export function tnumArsh(d: Int32Array, o: number, a: Int32Array, x: number, shift: number, bitness: 32 | 64): void {
  const vLo = a[x]!, vHi = a[x + 1]!, mLo = a[x + 2]!, mHi = a[x + 3]!;
  if (bitness === 32) store(d, o, vLo >> shift, 0, mLo >> shift, 0);
  else if (shift === 0) store(d, o, vLo, vHi, mLo, mHi);
  else if (shift >= 32) store(d, o, vHi >> (shift - 32), vHi >> 31, mHi >> (shift - 32), mHi >> 31);
  else store(d, o, (vLo >>> shift) | (vHi << (32 - shift)), vHi >> shift, (mLo >>> shift) | (mHi << (32 - shift)), mHi >> shift);
}

/** `a + b`: bits that a carry out of unknown bits may reach become unknown. */
export function tnumAdd(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const aLo = a[x]!, aHi = a[x + 1]!, amLo = a[x + 2]!, amHi = a[x + 3]!;
  const bLo = b[y]!, bHi = b[y + 1]!, bmLo = b[y + 2]!, bmHi = b[y + 3]!;
  const vLo = (aLo + bLo) | 0, vHi = (aHi + bHi + carry(aLo, vLo)) | 0;
  if ((amLo | amHi | bmLo | bmHi) === 0) {
    store(d, o, vLo, vHi, 0, 0);
    return;
  }
  const sLo = (amLo + bmLo) | 0, sHi = (amHi + bmHi + carry(amLo, sLo)) | 0;
  const allLo = (sLo + vLo) | 0, allHi = (sHi + vHi + carry(sLo, allLo)) | 0;
  const mLo = (allLo ^ vLo) | amLo | bmLo, mHi = (allHi ^ vHi) | amHi | bmHi;
  store(d, o, vLo & ~mLo, vHi & ~mHi, mLo, mHi);
}

/** `a - b`. */
export function tnumSub(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const aLo = a[x]!, aHi = a[x + 1]!, amLo = a[x + 2]!, amHi = a[x + 3]!;
  const bLo = b[y]!, bHi = b[y + 1]!, bmLo = b[y + 2]!, bmHi = b[y + 3]!;
  const vLo = (aLo - bLo) | 0, vHi = (aHi - bHi - borrow(aLo, bLo)) | 0;
  const maxLo = (vLo + amLo) | 0, maxHi = (vHi + amHi + carry(vLo, maxLo)) | 0;
  const minLo = (vLo - bmLo) | 0, minHi = (vHi - bmHi - borrow(vLo, bmLo)) | 0;
  const mLo = (maxLo ^ minLo) | amLo | bmLo, mHi = (maxHi ^ minHi) | amHi | bmHi;
  store(d, o, vLo & ~mLo, vHi & ~mHi, mLo, mHi);
}

/** `a & b`. */
export function tnumAnd(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const vLo = a[x]! & b[y]!, vHi = a[x + 1]! & b[y + 1]!;
  const mLo = (a[x]! | a[x + 2]!) & (b[y]! | b[y + 2]!) & ~vLo;
  const mHi = (a[x + 1]! | a[x + 3]!) & (b[y + 1]! | b[y + 3]!) & ~vHi;
  store(d, o, vLo, vHi, mLo, mHi);
}

/** `a | b`. */
export function tnumOr(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const vLo = a[x]! | b[y]!, vHi = a[x + 1]! | b[y + 1]!;
  store(d, o, vLo, vHi, (a[x + 2]! | b[y + 2]!) & ~vLo, (a[x + 3]! | b[y + 3]!) & ~vHi);
}

/** `a ^ b`. */
export function tnumXor(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const mLo = a[x + 2]! | b[y + 2]!, mHi = a[x + 3]! | b[y + 3]!;
  store(d, o, (a[x]! ^ b[y]!) & ~mLo, (a[x + 1]! ^ b[y + 1]!) & ~mHi, mLo, mHi);
}

/** What `a` or `b` may be: unknown wherever they disagree. */
export function tnumUnion(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const mLo = (a[x]! ^ b[y]!) | a[x + 2]! | b[y + 2]!, mHi = (a[x + 1]! ^ b[y + 1]!) | a[x + 3]! | b[y + 3]!;
  store(d, o, a[x]! & b[y]! & ~mLo, a[x + 1]! & b[y + 1]! & ~mHi, mLo, mHi);
}

/** What both `a` and `b` hold; where they contradict each other the bit reads 1, as in Linux. */
export function tnumIntersect(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const mLo = a[x + 2]! & b[y + 2]!, mHi = a[x + 3]! & b[y + 3]!;
  store(d, o, (a[x]! | b[y]!) & ~mLo, (a[x + 1]! | b[y + 1]!) & ~mHi, mLo, mHi);
}

const T = new Int32Array(4 * TNUM_WORDS);
const ACC = 0, SUM = 4, LEFT = 8, RIGHT = 12;

/** `a * b`: long multiplication over the bits of `a`, joining both outcomes of an unknown bit. */
export function tnumMul(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  if ((a[x + 2]! | a[x + 3]! | b[y + 2]! | b[y + 3]!) === 0) {
    multiplyConstants(d, o, a[x]!, a[x + 1]!, b[y]!, b[y + 1]!);
    return;
  }
  tnumConst(T, ACC, 0, 0);
  for (let i = 0; i < TNUM_WORDS; i++) {
    T[LEFT + i] = a[x + i]!;
    T[RIGHT + i] = b[y + i]!;
  }
  while ((T[LEFT]! | T[LEFT + 1]! | T[LEFT + 2]! | T[LEFT + 3]!) !== 0) {
    if ((T[LEFT]! & 1) !== 0) tnumAdd(T, ACC, T, ACC, T, RIGHT);
    else if ((T[LEFT + 2]! & 1) !== 0) {
      tnumAdd(T, SUM, T, ACC, T, RIGHT);
      tnumUnion(T, ACC, T, ACC, T, SUM);
    }
    tnumRsh(T, LEFT, T, LEFT, 1);
    tnumLsh(T, RIGHT, T, RIGHT, 1);
  }
  store(d, o, T[ACC]!, T[ACC + 1]!, T[ACC + 2]!, T[ACC + 3]!);
}

function multiplyConstants(d: Int32Array, o: number, aLo: number, aHi: number, bLo: number, bHi: number): void {
  const a0 = aLo & 0xffff, a1 = aLo >>> 16, b0 = bLo & 0xffff, b1 = bLo >>> 16;
  const low = a0 * b0, middle = a1 * b0 + (low >>> 16), middle2 = a0 * b1 + (middle & 0xffff);
  const hi = a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(middle2 / 0x10000);
  store(d, o, Math.imul(aLo, bLo), (hi + Math.imul(aLo, bHi) + Math.imul(aHi, bLo)) | 0, 0, 0);
}

/** True where some value is in both. */
export function tnumOverlap(a: Int32Array, x: number, b: Int32Array, y: number): boolean {
  const knownLo = ~a[x + 2]! & ~b[y + 2]!, knownHi = ~a[x + 3]! & ~b[y + 3]!;
  return ((a[x]! ^ b[y]!) & knownLo) === 0 && ((a[x + 1]! ^ b[y + 1]!) & knownHi) === 0;
}

/** True where every value of `b` is one of `a`. */
export function tnumIn(a: Int32Array, x: number, b: Int32Array, y: number): boolean {
  if ((b[y + 2]! & ~a[x + 2]!) !== 0 || (b[y + 3]! & ~a[x + 3]!) !== 0) return false;
  return a[x] === (b[y]! & ~a[x + 2]!) && a[x + 1] === (b[y + 1]! & ~a[x + 3]!);
}

/** Keeps the low `bits` bits, 1 ≤ bits ≤ 64. */
export function tnumCast(d: Int32Array, o: number, a: Int32Array, x: number, bits: number): void {
  const lo = lowMask(bits), hi = bits <= 32 ? 0 : lowMask(bits - 32);
  store(d, o, a[x]! & lo, a[x + 1]! & hi, a[x + 2]! & lo, a[x + 3]! & hi);
}

/** True where every value is a multiple of `size`, a power of two up to 2^31 (0: always). */
export function tnumIsAligned(a: Int32Array, x: number, size: number): boolean {
  return size === 0 || ((a[x]! | a[x + 2]!) & (size - 1)) === 0;
}

/** True where the value is known. */
export function tnumIsConst(a: Int32Array, x: number): boolean {
  return (a[x + 2]! | a[x + 3]!) === 0;
}

/** True where the low 32 bits are known. */
export function tnumSubregIsConst(a: Int32Array, x: number): boolean {
  return a[x + 2] === 0;
}

/** The upper half of `a` with the lower half of `b`. */
export function tnumWithSubreg(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  store(d, o, b[y]!, a[x + 1]!, b[y + 2]!, a[x + 3]!);
}

const swapWord = (w: number): number => ((w & 0xff) << 24) | ((w & 0xff00) << 8) | ((w >>> 8) & 0xff00) | (w >>> 24);

/** Byte order reversed over the low 16, 32 or all 64 bits; bits above are cleared. */
export function tnumByteSwap(d: Int32Array, o: number, a: Int32Array, x: number, bits: 16 | 32 | 64): void {
  const vLo = swapWord(a[x]!), mLo = swapWord(a[x + 2]!);
  if (bits === 16) store(d, o, vLo >>> 16, 0, mLo >>> 16, 0);
  else if (bits === 32) store(d, o, vLo, 0, mLo, 0);
  else store(d, o, swapWord(a[x + 1]!), vLo, swapWord(a[x + 3]!), mLo);
}

/** Result words of {@link tnumStep}: low, high. */
export const STEP: Int32Array = new Int32Array(2);

/**
 * Writes to {@link STEP} the smallest member of `a` that is larger than `z` (unsigned): the largest member where there is
 * none, the smallest where `z` is below it.
 */
export function tnumStep(a: Int32Array, x: number, zLo: number, zHi: number): void {
  const vLo = a[x]!, vHi = a[x + 1]!, mLo = a[x + 2]!, mHi = a[x + 3]!;
  const maxLo = vLo | mLo, maxHi = vHi | mHi;
  if (zHi >>> 0 > maxHi >>> 0 || (zHi === maxHi && zLo >>> 0 >= maxLo >>> 0)) {
    STEP[0] = maxLo;
    STEP[1] = maxHi;
    return;
  }
  if (zHi >>> 0 < vHi >>> 0 || (zHi === vHi && zLo >>> 0 < vLo >>> 0)) {
    STEP[0] = vLo;
    STEP[1] = vHi;
    return;
  }
  // members are value + s for the submasks s of mask: count up from z - value within the mask, all gaps filled with ones
  const dLo = (zLo - vLo) | 0, dHi = (zHi - vHi - borrow(zLo, vLo)) | 0;
  const gapHi = bitLength(dHi & ~mHi);
  const fillHi = lowMask(gapHi), fillLo = gapHi > 0 ? -1 : lowMask(bitLength(dLo & ~mLo));
  const fLo = dLo | fillLo | ~mLo, fHi = dHi | fillHi | ~mHi;
  const nextLo = (fLo + 1) | 0, nextHi = (fHi + (nextLo === 0 ? 1 : 0)) | 0;
  STEP[0] = vLo | (nextLo & mLo);
  STEP[1] = vHi | (nextHi & mHi);
}
