/**
 * @module verifier/scalar
 * What the verifier knows of a 64-bit scalar: a tnum, a 64-bit arc and an arc for the low 32 bits. Owns their upkeep: each
 * of the three teaches the others ({@link scalarSync}), truncation and sign extension. Arithmetic is in `scalar_alu.ts`,
 * branches in `scalar_branch.ts`. Reproduces `reg_bounds_sync()` and the `coerce_*` functions of Linux's verifier.
 *
 * A scalar is ten words of an `Int32Array`: tnum value (low, high), tnum mask (low, high), 64-bit arc base (low, high) and
 * size (low, high), 32-bit arc base and size. Functions take `(array, offset)` and work in place.
 * @example
 * const w = new Int32Array(SCALAR_WORDS);
 * scalarUnknown(w, 0);
 * scalarSetUnsigned(w, 0, 0, 0, 7, 0);
 * scalarSync(w, 0);                         // the tnum now knows that only three bits can be set
 */
import {
  BOUND, cnum32ClampArc, cnum32FromCnum64, cnum32FromSigned, cnum32FromUnsigned, cnum32Intersect, cnum32IsConst, cnum32IsEmpty,
  cnum32SMax, cnum32SMin, cnum32UMax, cnum32UMin, cnum32Unbounded, cnum64ClampSubreg, cnum64FromSigned, cnum64FromUnsigned,
  cnum64Intersect, cnum64IsConst, cnum64IsEmpty, cnum64SMax, cnum64SMin, cnum64UMax, cnum64UMin, cnum64Unbounded,
} from './cnum.ts';
import { STEP, tnumCast, tnumConst, tnumIntersect, tnumIsConst, tnumRange, tnumStep, tnumSubregIsConst, tnumUnknown } from './tnum.ts';

/** Words of one scalar. */
export const SCALAR_WORDS = 10;
/** Word of the 64-bit arc. */
export const R64 = 4;
/** Word of the 32-bit arc. */
export const R32 = 8;

const S32_MIN = -0x80000000;
const T = new Int32Array(SCALAR_WORDS);
const U32_MAX = 0xffffffff;

/** Compares unsigned pairs: a < b. */
const below = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0;

/** Both arcs become the whole circle; the tnum stays. */
export function scalarUnbounded(w: Int32Array, o: number): void {
  cnum64Unbounded(w, o + R64);
  cnum32Unbounded(w, o + R32);
}

/** Nothing known. */
export function scalarUnknown(w: Int32Array, o: number): void {
  tnumUnknown(w, o);
  scalarUnbounded(w, o);
}

/** The constant `lo`, `hi`. */
export function scalarConst(w: Int32Array, o: number, lo: number, hi: number): void {
  tnumConst(w, o, lo, hi);
  w[o + R64] = lo;
  w[o + R64 + 1] = hi;
  w[o + R64 + 2] = 0;
  w[o + R64 + 3] = 0;
  w[o + R32] = lo;
  w[o + R32 + 1] = 0;
}

/** The low half becomes the constant `value`; the 64-bit arc stays. */
export function scalarConstSubreg(w: Int32Array, o: number, value: number): void {
  w[o] = value;
  w[o + 2] = 0;
  w[o + R32] = value;
  w[o + R32 + 1] = 0;
}

/** Replaces the 64-bit arc by min..max, unsigned. */
export function scalarSetUnsigned(w: Int32Array, o: number, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  cnum64FromUnsigned(w, o + R64, minLo, minHi, maxLo, maxHi);
}

/** Replaces the 64-bit arc by min..max, signed. */
export function scalarSetSigned(w: Int32Array, o: number, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  cnum64FromSigned(w, o + R64, minLo, minHi, maxLo, maxHi);
}

/** Copies a scalar. */
export function scalarCopy(d: Int32Array, o: number, s: Int32Array, x: number): void {
  for (let i = 0; i < SCALAR_WORDS; i++) d[o + i] = s[x + i]!;
}

/** True where the value is known (by the tnum, as Linux asks). */
export function scalarIsConst(w: Int32Array, o: number): boolean {
  return tnumIsConst(w, o);
}

/** True where no value is left: the path that leads here is dead. */
export function scalarIsEmpty(w: Int32Array, o: number): boolean {
  return cnum32IsEmpty(w, o + R32) || cnum64IsEmpty(w, o + R64);
}

/** Linux's words for a scalar whose three parts contradict each other; `undefined` where they agree. */
export function scalarInvariantViolation(w: Int32Array, o: number): string | undefined {
  if (scalarIsEmpty(w, o)) return 'range bounds violation';
  if (tnumIsConst(w, o) && !(cnum64IsConst(w, o + R64) && w[o + R64] === w[o] && w[o + R64 + 1] === w[o + 1])) {
    return 'const tnum out of sync with range bounds';
  }
  if (tnumSubregIsConst(w, o) && !(cnum32IsConst(w, o + R32) && w[o + R32] === w[o])) {
    return 'const subreg tnum out of sync with range bounds';
  }
  return undefined;
}

/** Narrows the 32-bit arc by the low half of the tnum. */
export function scalarLearn32FromBits(w: Int32Array, o: number): void {
  const value = w[o]!, mask = w[o + 2]!;
  // with a sign bit that may be set the bounds are signed ones: smallest has the sign bit, largest has not
  if ((mask | value) < 0) cnum32FromSigned(T, R32, value | (mask & S32_MIN), value | (mask & ~S32_MIN));
  else cnum32FromUnsigned(T, R32, value, value | mask);
  cnum32Intersect(w, o + R32, w, o + R32, T, R32);
}

/** Narrows the 64-bit arc by the tnum; where the two meet in one value only, that is the value. */
function learn64FromBits(w: Int32Array, o: number): void {
  const vLo = w[o]!, vHi = w[o + 1]!, mLo = w[o + 2]!, mHi = w[o + 3]!;
  if ((mHi | vHi) < 0) {
    cnum64FromSigned(T, R64, vLo, vHi | (mHi & S32_MIN), vLo | mLo, vHi | (mHi & ~S32_MIN));
  } else cnum64FromUnsigned(T, R64, vLo, vHi, vLo | mLo, vHi | mHi);
  const r64 = o + R64;
  cnum64Intersect(w, r64, w, r64, T, R64);

  cnum64UMin(w, r64);
  const minLo = BOUND[0]!, minHi = BOUND[1]!;
  cnum64UMax(w, r64);
  const maxLo = BOUND[0]!, maxHi = BOUND[1]!;
  tnumStep(w, o, minLo, minHi);
  const nextLo = STEP[0]!, nextHi = STEP[1]!;
  const nextAboveMax = below(maxLo, maxHi, nextLo, nextHi);
  if ((minLo & ~mLo) === vLo && (minHi & ~mHi) === vHi) {
    if (nextAboveMax) scalarConst(w, o, minLo, minHi);
  } else if (nextLo === (vLo | mLo) && nextHi === (vHi | mHi)) scalarConst(w, o, nextLo, nextHi);
  else if (!nextAboveMax) {
    tnumStep(w, o, nextLo, nextHi);
    if (below(maxLo, maxHi, STEP[0]!, STEP[1]!)) scalarConst(w, o, nextLo, nextHi);
  }
}

/** Both arcs learn from the tnum. */
export function scalarLearnFromBits(w: Int32Array, o: number): void {
  scalarLearn32FromBits(w, o);
  learn64FromBits(w, o);
}

/** The arcs learn from each other. */
function learnFromOtherArc(w: Int32Array, o: number): void {
  cnum32FromCnum64(T, R32, w, o + R64);
  cnum32Intersect(w, o + R32, w, o + R32, T, R32);
  cnum64ClampSubreg(w, o + R64, w, o + R32);
}

/** The tnum learns from the arcs: leading bits that all values share are known. */
function learnBits(w: Int32Array, o: number): void {
  cnum64UMin(w, o + R64);
  const minLo = BOUND[0]!, minHi = BOUND[1]!;
  cnum64UMax(w, o + R64);
  tnumRange(T, 0, minLo, minHi, BOUND[0]!, BOUND[1]!);
  tnumIntersect(w, o, w, o, T, 0);
  tnumRange(T, 0, cnum32UMin(w, o + R32) | 0, 0, cnum32UMax(w, o + R32) | 0, 0);
  const mask = w[o + 2]! & T[2]!;
  w[o] = (w[o]! | T[0]!) & ~mask;
  w[o + 2] = mask;
}

/** Lets tnum and arcs teach each other, to the depth to which Linux does. An empty scalar stays as it is. */
export function scalarSync(w: Int32Array, o: number): void {
  if (!scalarIsEmpty(w, o) && !isSettled(w, o) && !syncCompared(w, o) && !syncSmall(w, o)) scalarSyncInGeneral(w, o);
}

/** {@link scalarSync} without its short ways, for scalars that are not empty. */
export function scalarSyncInGeneral(w: Int32Array, o: number): void {
  scalarLearnFromBits(w, o);
  learnFromOtherArc(w, o);
  learnFromOtherArc(w, o);
  learnBits(w, o);
  scalarLearnFromBits(w, o);
}

/** The two common cases in which there is nothing to learn: a constant that all three know, and nothing known at all. */
function isSettled(w: Int32Array, o: number): boolean {
  const maskLo = w[o + 2]!, maskHi = w[o + 3]!;
  if ((maskLo | maskHi) === 0) {
    return (w[o + R64 + 2]! | w[o + R64 + 3]! | w[o + R32 + 1]!) === 0
      && w[o + R64] === w[o] && w[o + R64 + 1] === w[o + 1] && w[o + R32] === w[o];
  }
  return (maskLo & maskHi & w[o + R64 + 2]! & w[o + R64 + 3]! & w[o + R32 + 1]!) === -1
    && (w[o + R64]! | w[o + R64 + 1]! | w[o + R32]!) === 0;
}

/**
 * Syncs what a comparison makes of an unknown number: the 64-bit arc is known, nothing else. False where the scalar is of another kind, untouched
 * then.
 */
function syncCompared(w: Int32Array, o: number): boolean {
  if ((w[o + 2]! & w[o + 3]! & w[o + R32 + 1]!) !== -1 || w[o + R32] !== 0) return false;
  const base = w[o + R64]!, baseHi = w[o + R64 + 1]!, size = w[o + R64 + 2]!, sizeHi = w[o + R64 + 3]!;
  if ((baseHi | sizeHi) === 0 && (base | size | (base + size)) >= 0) {
    w[o + 2] = 0x7fffffff;
    w[o + 3] = 0;
    w[o + R32] = base;
    w[o + R32 + 1] = size;
    return syncSmall(w, o);
  }
  // low halves of all values, and no leading bit that all share: nothing to learn, but where to begin with all numbers
  const end = (baseHi >>> 0) + (sizeHi >>> 0) + ((base >>> 0) + (size >>> 0) > U32_MAX ? 1 : 0);
  return sizeHi !== 0 && (size & sizeHi) !== -1 && (end > U32_MAX || (baseHi ^ end) < 0);
}

/**
 * Syncs a scalar below 2^31 of which both arcs say the same: then one interval and one word of bits are all there is, and
 * none of the cases of the general way can occur. False where the scalar is of another kind, untouched then.
 */
function syncSmall(w: Int32Array, o: number): boolean {
  const base = w[o + R64]!, size = w[o + R64 + 2]!;
  if ((w[o + 1]! | w[o + 3]! | w[o + R64 + 1]! | w[o + R64 + 3]!) !== 0 || w[o + R32] !== base || w[o + R32 + 1] !== size) return false;
  let value = w[o]!, mask = w[o + 2]!;
  if ((value | mask | base | size | (base + size)) < 0) return false;
  let min = base, max = base + size;
  for (let round = 0; round < 2; round++) {
    const most = value | mask;
    if (value > max || most < min) return false;
    if (min < value) min = value;
    if (max > most) max = most;
    let only = -1;
    const next = stepSmall(value, mask, min);
    if ((min & ~mask) === value) {
      if (next > max) only = min;
    } else if (next === most || (next <= max && stepSmall(value, mask, next) > max)) only = next;
    if (only >= 0) {
      scalarConst(w, o, only, 0);
      return true;
    }
    if (round !== 0) break;
    // bits that all values of the interval share
    const free = fillBelow(min ^ max), fixed = min & ~free;
    mask &= free;
    value = (value | fixed) & ~mask;
  }
  w[o] = value;
  w[o + 2] = mask;
  w[o + R64] = min;
  w[o + R64 + 2] = max - min;
  w[o + R32] = min;
  w[o + R32 + 1] = max - min;
  return true;
}

/** All bits up to the highest one of a number. */
const fillBelow = (bits: number): number => (bits === 0 ? 0 : -1 >>> Math.clz32(bits));

/** {@link tnumStep} for numbers below 2^31. */
function stepSmall(value: number, mask: number, z: number): number {
  const most = value | mask;
  if (z >= most) return most;
  if (z < value) return value;
  const distance = z - value;
  return value | (((distance | fillBelow(distance & ~mask) | ~mask) + 1) & mask);
}

/** The low half, zero-extended: what every 32-bit operation leaves. Does not sync. */
export function scalarZeroExtend(w: Int32Array, o: number): void {
  w[o + 1] = 0;
  w[o + 3] = 0;
  cnum64FromUnsigned(w, o + R64, cnum32UMin(w, o + R32) | 0, 0, cnum32UMax(w, o + R32) | 0, 0);
}

/** Keeps the low `size` bytes (1, 2 or 4), zero-extended, and syncs. */
export function scalarTruncate(w: Int32Array, o: number, size: number): void {
  const mask = size === 4 ? -1 : (1 << (size * 8)) - 1;
  tnumCast(w, o, w, o, size * 8);
  cnum64UMin(w, o + R64);
  const minLo = BOUND[0]!, minHi = BOUND[1]!;
  cnum64UMax(w, o + R64);
  const maxLo = BOUND[0]!;
  if (minHi === BOUND[1] && (minLo & ~mask) === (maxLo & ~mask)) scalarSetUnsigned(w, o, minLo & mask, 0, maxLo & mask, 0);
  else scalarSetUnsigned(w, o, 0, 0, mask, 0);
  if (size < 4) cnum32Unbounded(w, o + R32);
  scalarSync(w, o);
}

/** Sign-extends the low `size` bytes (1, 2 or 4) of a word. */
const extend = (word: number, size: number): number => (size === 4 ? word : (word << (32 - 8 * size)) >> (32 - 8 * size));

/** The low `size` bytes (1, 2 or 4), sign-extended to 64 bits. */
export function scalarSignExtend(w: Int32Array, o: number, size: number): void {
  if (tnumIsConst(w, o)) {
    const value = extend(w[o]!, size);
    scalarConst(w, o, value, value >> 31);
    return;
  }
  const shift = size * 8;
  cnum64SMax(w, o + R64);
  const maxLo = BOUND[0]!, maxHi = BOUND[1]!;
  cnum64SMin(w, o + R64);
  const minLo = BOUND[0]!;
  const sameTop = maxHi === BOUND[1] && (size === 4 || maxLo >> shift === minLo >> shift);
  const one = extend(maxLo, size), other = extend(minLo, size);
  if (sameTop && one < 0 === other < 0) {
    const min = Math.min(one, other), max = Math.max(one, other), high = min >> 31;
    scalarSetSigned(w, o, min, high, max, high);
    cnum32FromSigned(w, o + R32, min, max);
    tnumRange(w, o, min, high, max, high);
    return;
  }
  const limit = size === 4 ? 0x7fffffff : (1 << (shift - 1)) - 1;
  scalarSetSigned(w, o, ~limit, -1, limit, 0);
  cnum32FromSigned(w, o + R32, ~limit, limit);
  tnumUnknown(w, o);
}

/** The low `size` bytes (1 or 2), sign-extended to 32 bits; the upper half of the arc is for {@link scalarZeroExtend} to settle. */
export function scalarSignExtendSubreg(w: Int32Array, o: number, size: number): void {
  if (tnumIsConst(w, o)) {
    const value = extend(w[o]!, size);
    tnumConst(w, o, value, value >> 31);
    cnum32FromSigned(w, o + R32, value, value);
    return;
  }
  const shift = size * 8;
  const top = cnum32SMax(w, o + R32), bottom = cnum32SMin(w, o + R32);
  const one = extend(top, size), other = extend(bottom, size);
  if (top >> shift === bottom >> shift && one < 0 === other < 0) {
    const min = Math.min(one, other), max = Math.max(one, other);
    cnum32FromSigned(w, o + R32, min, max);
    tnumRange(w, o, min, 0, max, 0);
    return;
  }
  const limit = (1 << (shift - 1)) - 1;
  cnum32FromSigned(w, o + R32, ~limit, limit);
  w[o] = 0;
  w[o + 1] = 0;
  w[o + 2] = -1;
  w[o + 3] = 0;
}

/** Narrows both arcs to the signed 32-bit values min..max and syncs (return values of helpers and programs). */
export function scalarClampSigned32(w: Int32Array, o: number, min: number, max: number): void {
  cnum64SMin(w, o + R64);
  let minLo = min, minHi = min >> 31;
  if (signedBelow(minLo, minHi, BOUND[0]!, BOUND[1]!)) [minLo, minHi] = [BOUND[0]!, BOUND[1]!];
  cnum64SMax(w, o + R64);
  let maxLo = max, maxHi = max >> 31;
  if (signedBelow(BOUND[0]!, BOUND[1]!, maxLo, maxHi)) [maxLo, maxHi] = [BOUND[0]!, BOUND[1]!];
  cnum32FromSigned(w, o + R32, Math.max(cnum32SMin(w, o + R32), min), Math.min(cnum32SMax(w, o + R32), max));
  cnum64FromSigned(w, o + R64, minLo, minHi, maxLo, maxHi);
  scalarSync(w, o);
}

const signedBelow = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi < bHi;

/** Narrows the 32-bit arc in place to the arc `base`, `size`. */
export function scalarClampArc32(w: Int32Array, o: number, base: number, size: number): void {
  cnum32ClampArc(w, o + R32, base, size);
}
