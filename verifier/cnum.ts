/**
 * @module verifier/cnum
 * Circular ranges: an arc of the number circle, given by its first value `base` and its length `size`, so that one pair
 * stands for signed and unsigned bounds at once. 64-bit arcs take four words (`base` low, high, `size` low, high), 32-bit
 * arcs two. The empty arc is all ones. Reproduces the results of Linux's `kernel/bpf/cnum.c`.
 *
 * Functions take `(array, offset)` pairs and write through the first; the destination may be an operand. Bounds are left
 * in {@link BOUND}: nothing is allocated.
 * @example
 * const w = new Int32Array(4);
 * cnum64FromSigned(w, 0, -1, -1, 5, 0);   // -1..5
 * cnum64UMax(w, 0);                       // BOUND = 0xffffffff_ffffffff: the arc crosses zero
 * cnum64SMax(w, 0);                       // BOUND = 5
 */

/** Words of a 64-bit arc. */
export const CNUM64_WORDS = 4;
/** Words of a 32-bit arc. */
export const CNUM32_WORDS = 2;

/** Result words (low, high) of the 64-bit bound queries. */
export const BOUND: Int32Array = new Int32Array(2);

const S_MAX = 0x7fffffff, S_MIN = -0x80000000;

const below = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0;
const belowSigned = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi < bHi;

const store = (d: Int32Array, o: number, baseLo: number, baseHi: number, sizeLo: number, sizeHi: number): void => {
  d[o] = baseLo;
  d[o + 1] = baseHi;
  d[o + 2] = sizeLo;
  d[o + 3] = sizeHi;
};
const bound = (lo: number, hi: number): void => {
  BOUND[0] = lo;
  BOUND[1] = hi;
};

/** Every 64-bit value. */
export function cnum64Unbounded(d: Int32Array, o: number): void {
  store(d, o, 0, 0, -1, -1);
}

/** No value. */
export function cnum64Empty(d: Int32Array, o: number): void {
  store(d, o, -1, -1, -1, -1);
}

/** Values min..max, unsigned, min ≤ max. */
export function cnum64FromUnsigned(d: Int32Array, o: number, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  store(d, o, minLo, minHi, maxLo - minLo, maxHi - minHi - (maxLo >>> 0 < minLo >>> 0 ? 1 : 0));
}

/** Values min..max, signed, min ≤ max; the whole circle starts at 0. */
export function cnum64FromSigned(d: Int32Array, o: number, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  cnum64FromUnsigned(d, o, minLo, minHi, maxLo, maxHi);
  if ((d[o + 2]! & d[o + 3]!) === -1) {
    d[o] = 0;
    d[o + 1] = 0;
  }
}

export function cnum64IsEmpty(a: Int32Array, x: number): boolean {
  return (a[x]! & a[x + 1]! & a[x + 2]! & a[x + 3]!) === -1;
}

export function cnum64IsConst(a: Int32Array, x: number): boolean {
  return (a[x + 2]! | a[x + 3]!) === 0;
}

/** True where the arc runs over the largest unsigned value to 0. */
function wraps64(baseLo: number, baseHi: number, sizeLo: number, sizeHi: number): boolean {
  return below(~baseLo, ~baseHi, sizeLo, sizeHi);
}

/** True where `v` lies on the arc. */
export function cnum64Contains(a: Int32Array, x: number, lo: number, hi: number): boolean {
  if (cnum64IsEmpty(a, x)) return false;
  const dLo = (lo - a[x]!) | 0, dHi = (hi - a[x + 1]! - (lo >>> 0 < a[x]! >>> 0 ? 1 : 0)) | 0;
  return !below(a[x + 2]!, a[x + 3]!, dLo, dHi);
}

/** Smallest unsigned value, into {@link BOUND}; 0 where the arc wraps. */
export function cnum64UMin(a: Int32Array, x: number): void {
  if (wraps64(a[x]!, a[x + 1]!, a[x + 2]!, a[x + 3]!)) bound(0, 0);
  else bound(a[x]!, a[x + 1]!);
}

/** Largest unsigned value, into {@link BOUND}; 2^64-1 where the arc wraps. */
export function cnum64UMax(a: Int32Array, x: number): void {
  const lo = a[x]!, hi = a[x + 1]!, sizeLo = a[x + 2]!, sizeHi = a[x + 3]!;
  if (wraps64(lo, hi, sizeLo, sizeHi)) bound(-1, -1);
  else end64(lo, hi, sizeLo, sizeHi);
}

/** Last value of the arc, into {@link BOUND}. */
function end64(lo: number, hi: number, sizeLo: number, sizeHi: number): void {
  const sum = (lo + sizeLo) | 0;
  bound(sum, hi + sizeHi + (sum >>> 0 < lo >>> 0 ? 1 : 0));
}

/** True where the arc runs over the largest signed value to the smallest. */
function wrapsSigned64(a: Int32Array, x: number): boolean {
  return cnum64Contains(a, x, -1, S_MAX) && cnum64Contains(a, x, 0, S_MIN);
}

/** Smallest signed value, into {@link BOUND}. */
export function cnum64SMin(a: Int32Array, x: number): void {
  if (wrapsSigned64(a, x)) {
    bound(0, S_MIN);
    return;
  }
  end64(a[x]!, a[x + 1]!, a[x + 2]!, a[x + 3]!);
  if (belowSigned(a[x]!, a[x + 1]!, BOUND[0]!, BOUND[1]!)) bound(a[x]!, a[x + 1]!);
}

/** Largest signed value, into {@link BOUND}. */
export function cnum64SMax(a: Int32Array, x: number): void {
  if (wrapsSigned64(a, x)) {
    bound(-1, S_MAX);
    return;
  }
  end64(a[x]!, a[x + 1]!, a[x + 2]!, a[x + 3]!);
  if (belowSigned(BOUND[0]!, BOUND[1]!, a[x]!, a[x + 1]!)) bound(a[x]!, a[x + 1]!);
}

/**
 * Values of both arcs. Two arcs may meet twice; one arc cannot say so, and the smaller operand is the answer then.
 */
export function cnum64Intersect(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  if (cnum64IsEmpty(a, x) || cnum64IsEmpty(b, y)) {
    cnum64Empty(d, o);
    return;
  }
  if (below(b[y]!, b[y + 1]!, a[x]!, a[x + 1]!)) intersectOrdered64(d, o, b, y, a, x);
  else intersectOrdered64(d, o, a, x, b, y);
}

/** As above, `a` not starting after `b`. Turned so that `a` starts at 0, `b` starts at `s`. */
function intersectOrdered64(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  const aLo = a[x]!, aHi = a[x + 1]!, anLo = a[x + 2]!, anHi = a[x + 3]!;
  const bLo = b[y]!, bHi = b[y + 1]!, bnLo = b[y + 2]!, bnHi = b[y + 3]!;
  const sLo = (bLo - aLo) | 0, sHi = (bHi - aHi - (bLo >>> 0 < aLo >>> 0 ? 1 : 0)) | 0;
  const startsInside = !below(anLo, anHi, sLo, sHi);
  if (wraps64(sLo, sHi, bnLo, bnHi)) {
    if (startsInside) {
      if (below(bnLo, bnHi, anLo, anHi)) store(d, o, bLo, bHi, bnLo, bnHi);
      else store(d, o, aLo, aHi, anLo, anHi);
      return;
    }
    end64(sLo, sHi, bnLo, bnHi);
    if (below(anLo, anHi, BOUND[0]!, BOUND[1]!)) store(d, o, aLo, aHi, anLo, anHi);
    else store(d, o, aLo, aHi, BOUND[0]!, BOUND[1]!);
    return;
  }
  if (!startsInside) {
    cnum64Empty(d, o);
    return;
  }
  const restLo = (anLo - sLo) | 0, restHi = (anHi - sHi - (anLo >>> 0 < sLo >>> 0 ? 1 : 0)) | 0;
  if (below(restLo, restHi, bnLo, bnHi)) store(d, o, bLo, bHi, restLo, restHi);
  else store(d, o, bLo, bHi, bnLo, bnHi);
}

const TEMP = new Int32Array(CNUM64_WORDS);

/** Narrows the arc in place to the unsigned values min..max. */
export function cnum64ClampUnsigned(d: Int32Array, o: number, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  cnum64FromUnsigned(TEMP, 0, minLo, minHi, maxLo, maxHi);
  cnum64Intersect(d, o, d, o, TEMP, 0);
}

/** Narrows the arc in place to the signed values min..max. */
export function cnum64ClampSigned(d: Int32Array, o: number, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  cnum64FromSigned(TEMP, 0, minLo, minHi, maxLo, maxHi);
  cnum64Intersect(d, o, d, o, TEMP, 0);
}

/** Narrows the arc in place to the arc `base`, `size`. */
export function cnum64ClampArc(d: Int32Array, o: number, baseLo: number, baseHi: number, sizeLo: number, sizeHi: number): void {
  store(TEMP, 0, baseLo, baseHi, sizeLo, sizeHi);
  cnum64Intersect(d, o, d, o, TEMP, 0);
}

/** A full circle has many names; it starts at 0 unless it starts at 0 or the largest signed value already. */
function normalize64(d: Int32Array, o: number): void {
  if ((d[o + 2]! & d[o + 3]!) !== -1) return;
  if (d[o] === -1 && d[o + 1] === S_MAX) return;
  d[o] = 0;
  d[o + 1] = 0;
}

/** Sums of a value of each. */
export function cnum64Add(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  if (cnum64IsEmpty(a, x) || cnum64IsEmpty(b, y)) cnum64Empty(d, o);
  else addArcs64(d, o, a, x, b[y]!, b[y + 1]!, b[y + 2]!, b[y + 3]!);
}

/** Differences of a value of each: the sum with the negated `b`. */
export function cnum64Sub(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  if (cnum64IsEmpty(a, x) || cnum64IsEmpty(b, y)) {
    cnum64Empty(d, o);
    return;
  }
  cnum64Negate(TEMP, 0, b, y);
  addArcs64(d, o, a, x, TEMP[0]!, TEMP[1]!, TEMP[2]!, TEMP[3]!);
}

function addArcs64(d: Int32Array, o: number, a: Int32Array, x: number, lo: number, hi: number, sizeLo: number, sizeHi: number): void {
  if (below(~sizeLo, ~sizeHi, a[x + 2]!, a[x + 3]!)) {
    cnum64Unbounded(d, o);
    return;
  }
  const baseLo = (a[x]! + lo) | 0, baseHi = a[x + 1]! + hi + (baseLo >>> 0 < lo >>> 0 ? 1 : 0);
  const nLo = (a[x + 2]! + sizeLo) | 0, nHi = a[x + 3]! + sizeHi + (nLo >>> 0 < sizeLo >>> 0 ? 1 : 0);
  store(d, o, baseLo, baseHi, nLo, nHi);
  normalize64(d, o);
}

/** Negated values. */
export function cnum64Negate(d: Int32Array, o: number, a: Int32Array, x: number): void {
  if (cnum64IsEmpty(a, x)) {
    cnum64Empty(d, o);
    return;
  }
  end64(a[x]!, a[x + 1]!, a[x + 2]!, a[x + 3]!);
  const lo = BOUND[0]!, hi = BOUND[1]!;
  store(d, o, -lo, ~hi + (lo === 0 ? 1 : 0), a[x + 2]!, a[x + 3]!);
  normalize64(d, o);
}

/** True where every value of `b` lies on `a`. */
export function cnum64IsSubset(a: Int32Array, x: number, b: Int32Array, y: number): boolean {
  if (cnum64IsEmpty(b, y)) return true;
  if (cnum64IsEmpty(a, x)) return false;
  const bLo = b[y]!, aLo = a[x]!;
  const sLo = (bLo - aLo) | 0, sHi = (b[y + 1]! - a[x + 1]! - (bLo >>> 0 < aLo >>> 0 ? 1 : 0)) | 0;
  if (wraps64(sLo, sHi, b[y + 2]!, b[y + 3]!) && (a[x + 2]! & a[x + 3]!) !== -1) return false;
  end64(sLo, sHi, b[y + 2]!, b[y + 3]!);
  return !below(a[x + 2]!, a[x + 3]!, BOUND[0]!, BOUND[1]!);
}

/** Every 32-bit value. */
export function cnum32Unbounded(d: Int32Array, o: number): void {
  d[o] = 0;
  d[o + 1] = -1;
}

/** No value. */
export function cnum32Empty(d: Int32Array, o: number): void {
  d[o] = -1;
  d[o + 1] = -1;
}

/** Values min..max, unsigned, min ≤ max. */
export function cnum32FromUnsigned(d: Int32Array, o: number, min: number, max: number): void {
  d[o] = min;
  d[o + 1] = max - min;
}

/** Values min..max, signed, min ≤ max; the whole circle starts at 0. */
export function cnum32FromSigned(d: Int32Array, o: number, min: number, max: number): void {
  const size = (max - min) | 0;
  d[o] = size === -1 ? 0 : min;
  d[o + 1] = size;
}

export function cnum32IsEmpty(a: Int32Array, x: number): boolean {
  return (a[x]! & a[x + 1]!) === -1;
}

export function cnum32IsConst(a: Int32Array, x: number): boolean {
  return a[x + 1] === 0;
}

const wraps32 = (base: number, size: number): boolean => size >>> 0 > ~base >>> 0;

/** True where `v` lies on the arc. */
export function cnum32Contains(a: Int32Array, x: number, v: number): boolean {
  return !cnum32IsEmpty(a, x) && (v - a[x]!) >>> 0 <= a[x + 1]! >>> 0;
}

/** Smallest unsigned value, 0 ≤ result < 2^32. */
export function cnum32UMin(a: Int32Array, x: number): number {
  return wraps32(a[x]!, a[x + 1]!) ? 0 : a[x]! >>> 0;
}

/** Largest unsigned value, 0 ≤ result < 2^32. */
export function cnum32UMax(a: Int32Array, x: number): number {
  return wraps32(a[x]!, a[x + 1]!) ? 0xffffffff : (a[x]! + a[x + 1]!) >>> 0;
}

const wrapsSigned32 = (a: Int32Array, x: number): boolean => cnum32Contains(a, x, S_MAX) && cnum32Contains(a, x, S_MIN);

/** Smallest signed value. */
export function cnum32SMin(a: Int32Array, x: number): number {
  return wrapsSigned32(a, x) ? S_MIN : Math.min(a[x]!, (a[x]! + a[x + 1]!) | 0);
}

/** Largest signed value. */
export function cnum32SMax(a: Int32Array, x: number): number {
  return wrapsSigned32(a, x) ? S_MAX : Math.max(a[x]!, (a[x]! + a[x + 1]!) | 0);
}

/** Values of both arcs; see {@link cnum64Intersect}. */
export function cnum32Intersect(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  cnum32ClampPair(d, o, a[x]!, a[x + 1]!, b[y]!, b[y + 1]!);
}

/** Narrows the arc in place to the arc `base`, `size`. */
export function cnum32ClampArc(d: Int32Array, o: number, base: number, size: number): void {
  cnum32ClampPair(d, o, d[o]!, d[o + 1]!, base | 0, size | 0);
}

/** Narrows the arc in place to the unsigned values min..max. */
export function cnum32ClampUnsigned(d: Int32Array, o: number, min: number, max: number): void {
  cnum32ClampArc(d, o, min, max - min);
}

/** Narrows the arc in place to the signed values min..max. */
export function cnum32ClampSigned(d: Int32Array, o: number, min: number, max: number): void {
  const size = (max - min) | 0;
  cnum32ClampArc(d, o, size === -1 ? 0 : min, size);
}

function cnum32ClampPair(d: Int32Array, o: number, aBase: number, aSize: number, bBase: number, bSize: number): void {
  if ((aBase & aSize) === -1 || (bBase & bSize) === -1) {
    cnum32Empty(d, o);
    return;
  }
  const ordered = aBase >>> 0 <= bBase >>> 0;
  const first = ordered ? aBase : bBase, firstSize = (ordered ? aSize : bSize) >>> 0;
  const second = ordered ? bBase : aBase, secondSize = (ordered ? bSize : aSize) >>> 0;
  const start = (second - first) >>> 0;
  const startsInside = start <= firstSize;
  if (wraps32(start, secondSize)) {
    const takeSecond = startsInside && secondSize < firstSize;
    d[o] = takeSecond ? second : first;
    if (startsInside) d[o + 1] = takeSecond ? secondSize : firstSize;
    else d[o + 1] = Math.min(firstSize, (start + secondSize) >>> 0);
  } else if (startsInside) {
    d[o] = second;
    d[o + 1] = Math.min(firstSize - start, secondSize);
  } else cnum32Empty(d, o);
}

function normalize32(d: Int32Array, o: number): void {
  if (d[o + 1] === -1 && d[o] !== S_MAX) d[o] = 0;
}

/** Sums of a value of each. */
export function cnum32Add(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  if (cnum32IsEmpty(a, x) || cnum32IsEmpty(b, y)) cnum32Empty(d, o);
  else addArcs32(d, o, a[x]!, a[x + 1]!, b[y]!, b[y + 1]!);
}

/** Differences of a value of each. */
export function cnum32Sub(d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number): void {
  if (cnum32IsEmpty(a, x) || cnum32IsEmpty(b, y)) {
    cnum32Empty(d, o);
    return;
  }
  const base = a[x]!, size = a[x + 1]!;
  cnum32Negate(TEMP, 0, b, y);
  addArcs32(d, o, base, size, TEMP[0]!, TEMP[1]!);
}

function addArcs32(d: Int32Array, o: number, aBase: number, aSize: number, bBase: number, bSize: number): void {
  if (aSize >>> 0 > ~bSize >>> 0) {
    cnum32Unbounded(d, o);
    return;
  }
  d[o] = aBase + bBase;
  d[o + 1] = aSize + bSize;
  normalize32(d, o);
}

/** Negated values. */
export function cnum32Negate(d: Int32Array, o: number, a: Int32Array, x: number): void {
  if (cnum32IsEmpty(a, x)) {
    cnum32Empty(d, o);
    return;
  }
  const size = a[x + 1]!;
  d[o] = -(a[x]! + size);
  d[o + 1] = size;
  normalize32(d, o);
}

/** True where every value of `b` lies on `a`. */
export function cnum32IsSubset(a: Int32Array, x: number, b: Int32Array, y: number): boolean {
  if (cnum32IsEmpty(b, y)) return true;
  if (cnum32IsEmpty(a, x)) return false;
  const start = (b[y]! - a[x]!) >>> 0;
  if (wraps32(start, b[y + 1]!) && a[x + 1] !== -1) return false;
  return (start + b[y + 1]!) >>> 0 <= a[x + 1]! >>> 0;
}

/** The low halves of the values of a 64-bit arc. */
export function cnum32FromCnum64(d: Int32Array, o: number, a: Int32Array, x: number): void {
  if (cnum64IsEmpty(a, x)) cnum32Empty(d, o);
  else if (a[x + 3] !== 0 || a[x + 2] === -1) cnum32Unbounded(d, o);
  else {
    d[o] = a[x]!;
    d[o + 1] = a[x + 2]!;
  }
}

/**
 * Narrows the 64-bit arc `d` in place to what its values with a low half on the 32-bit arc `b` leave: both ends move
 * inwards to the next value whose low half is on `b`.
 */
export function cnum64ClampSubreg(d: Int32Array, o: number, b: Int32Array, y: number): void {
  if (cnum64IsEmpty(d, o) || cnum32IsEmpty(b, y)) {
    cnum64Empty(d, o);
    return;
  }
  // turned so that the 64-bit arc starts at a 32-bit boundary
  const start = (b[y]! - d[o]!) >>> 0, bSize = b[y + 1]! >>> 0;
  const lastLow = d[o + 2]! >>> 0;
  if (wraps32(start, bSize)) {
    const end = (start + bSize) >>> 0;
    if (lastLow > end && lastLow < start) shorten(d, o, lastLow - end);
    return;
  }
  const end = start + bSize;
  if (d[o + 3] === 0 && lastLow < start) {
    cnum64Empty(d, o);
    return;
  }
  const base = (d[o]! + start) | 0;
  if (base >>> 0 < start) d[o + 1] = d[o + 1]! + 1;
  d[o] = base;
  shorten(d, o, start);
  const excess = lastLow < start ? lastLow + (0x100000000 - end) : lastLow >= end ? lastLow - end : 0;
  if (d[o + 3] === 0 && d[o + 2]! >>> 0 < excess) cnum64Empty(d, o);
  else shorten(d, o, excess);
}

/** Takes `by`, 0 ≤ by < 2^33, from the size of a 64-bit arc. */
function shorten(d: Int32Array, o: number, by: number): void {
  const low = by | 0;
  const borrow = d[o + 2]! >>> 0 < low >>> 0 ? 1 : 0;
  d[o + 2] = d[o + 2]! - low;
  d[o + 3] = d[o + 3]! - borrow - (by >= 0x100000000 ? 1 : 0);
}
