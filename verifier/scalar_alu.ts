/**
 * @module verifier/scalar_alu
 * Arithmetic on scalars: what is known of the result of each ALU operation. Owns the transfer functions; who may compute
 * (pointers, speculation, ids) is the caller's. Reproduces `adjust_scalar_min_max_vals()` and the `scalar*_min_max_*`
 * functions of Linux's verifier.
 * @example
 * const w = new Int32Array(2 * SCALAR_WORDS);
 * scalarConst(w, 0, 40, 0);
 * scalarConst(w, 10, 2, 0);
 * scalarALU(w, 0, w, 10, BPF_ADD, false, false);   // 42
 */
import { BPF_ADD, BPF_AND, BPF_ARSH, BPF_DIV, BPF_END, BPF_LSH, BPF_MOD, BPF_MUL, BPF_NEG, BPF_OR, BPF_RSH, BPF_SUB, BPF_XOR } from '../isa/uapi.ts';
import {
  BOUND, cnum32Add, cnum32FromSigned, cnum32FromUnsigned, cnum32Intersect, cnum32IsConst, cnum32SMax, cnum32SMin, cnum32Sub,
  cnum32UMax, cnum32UMin, cnum32Unbounded, cnum64Add, cnum64FromSigned, cnum64FromUnsigned, cnum64Intersect, cnum64IsConst,
  cnum64SMax, cnum64SMin, cnum64Sub, cnum64UMax, cnum64UMin, cnum64Unbounded,
} from './cnum.ts';
import {
  R32, R64, SCALAR_WORDS, scalarConst, scalarConstSubreg, scalarCopy, scalarLearn32FromBits, scalarLearnFromBits, scalarSetUnsigned,
  scalarSync, scalarTruncate, scalarUnbounded, scalarZeroExtend,
} from './scalar.ts';
import {
  tnumAdd, tnumAnd, tnumArsh, tnumByteSwap, tnumIsConst, tnumLsh, tnumMul, tnumOr, tnumRsh, tnumSub, tnumSubregIsConst, tnumUnknown, tnumXor,
} from './tnum.ts';

const S32_MIN = -0x80000000, S32_MAX = 0x7fffffff;
const T = new Int32Array(SCALAR_WORDS);

const below = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0;

/**
 * True where the result of `op` with source `(s, x)` can be tracked at all: divisors and shift counts must be constants, and
 * shifts stay below the width.
 */
export function scalarCanCompute(s: Int32Array, x: number, op: number, alu32: boolean): boolean {
  if (op !== BPF_DIV && op !== BPF_MOD && op !== BPF_LSH && op !== BPF_RSH && op !== BPF_ARSH) return true;
  const known = alu32 ? tnumSubregIsConst(s, x) && cnum32IsConst(s, x + R32) : tnumIsConst(s, x) && cnum64IsConst(s, x + R64);
  if (!known || op === BPF_DIV || op === BPF_MOD) return known;
  // the 64-bit upper bound decides, also for 32-bit shifts
  cnum64UMax(s, x + R64);
  return BOUND[1] === 0 && BOUND[0]! >>> 0 < (alu32 ? 32 : 64);
}

/**
 * The width at which `(w, o)` is a mask, -1 or 0, so that AND and OR with a constant are worth following on two paths: 64,
 * 32, or 0 where it is none.
 */
export function scalarMaskWidth(w: Int32Array, o: number): 0 | 32 | 64 {
  if (w[o + R64] === -1 && w[o + R64 + 1] === -1 && w[o + R64 + 2] === 1 && w[o + R64 + 3] === 0) return 64;
  return w[o + R32] === -1 && w[o + R32 + 1] === 1 ? 32 : 0;
}

/**
 * Replaces the scalar `(d, o)` by the result of `op` with `(s, x)`, which may not be `(d, o)` itself. `signed` picks signed
 * division. For BPF_END, `swapBits` is the width and `swap` tells a byte swap from a mere truncation. The caller has asked
 * {@link scalarCanCompute}.
 */
export function scalarALU(d: Int32Array, o: number, s: Int32Array, x: number, op: number, alu32: boolean, signed: boolean, swapBits: 0 | 16 | 32 | 64 = 0, swap = false): void {
  switch (op) {
    case BPF_ADD:
      scalarAdd(d, o, s, x);
      break;
    case BPF_SUB:
      scalarSub(d, o, s, x);
      break;
    case BPF_NEG:
      scalarCopy(T, 0, d, o);
      scalarConst(d, o, 0, 0);
      scalarSub(d, o, T, 0);
      break;
    case BPF_MUL:
      tnumMul(d, o, d, o, s, x);
      multiply32(d, o, s, x);
      multiply64(d, o, s, x);
      break;
    case BPF_DIV:
    case BPF_MOD:
      if (alu32) divide32(d, o, s[x + R32]!, op === BPF_MOD, signed);
      else divide64(d, o, s[x + R64]!, s[x + R64 + 1]!, op === BPF_MOD, signed);
      break;
    case BPF_AND:
      tnumAnd(d, o, d, o, s, x);
      bitwise(d, o, s, x, BPF_AND);
      break;
    case BPF_OR:
      tnumOr(d, o, d, o, s, x);
      bitwise(d, o, s, x, BPF_OR);
      break;
    case BPF_XOR:
      tnumXor(d, o, d, o, s, x);
      bitwise(d, o, s, x, BPF_XOR);
      break;
    case BPF_LSH:
      if (alu32) shiftLeft32(d, o, s[x + R32]!);
      else shiftLeft64(d, o, s[x + R64]!);
      break;
    case BPF_RSH:
      if (alu32) shiftRight32(d, o, s[x + R32]!);
      else shiftRight64(d, o, s[x + R64]!);
      break;
    case BPF_ARSH:
      if (alu32) shiftRightSigned32(d, o, s[x + R32]!);
      else shiftRightSigned64(d, o, s[x + R64]!);
      break;
    case BPF_END:
      byteSwap(d, o, swapBits, swap);
      break;
    default:
      break;
  }
  if (alu32 && op !== BPF_END) scalarZeroExtend(d, o);
  scalarSync(d, o);
}

/** `d += s` on all three parts; does not sync. */
export function scalarAdd(d: Int32Array, o: number, s: Int32Array, x: number): void {
  cnum32Add(d, o + R32, d, o + R32, s, x + R32);
  cnum64Add(d, o + R64, d, o + R64, s, x + R64);
  tnumAdd(d, o, d, o, s, x);
}

/** `d -= s` on all three parts; does not sync. */
export function scalarSub(d: Int32Array, o: number, s: Int32Array, x: number): void {
  cnum32Sub(d, o + R32, d, o + R32, s, x + R32);
  cnum64Sub(d, o + R64, d, o + R64, s, x + R64);
  tnumSub(d, o, d, o, s, x);
}

function multiply32(d: Int32Array, o: number, s: Int32Array, x: number): void {
  const a = o + R32, b = x + R32;
  const uMin = cnum32UMin(d, a) * cnum32UMin(s, b), uMax = cnum32UMax(d, a) * cnum32UMax(s, b);
  const aMin = cnum32SMin(d, a), aMax = cnum32SMax(d, a), bMin = cnum32SMin(s, b), bMax = cnum32SMax(s, b);
  // a corner product of 32-bit values is below 2^62 but compared with 2^31 and 2^32 only: doubles suffice
  const p = aMin * bMin, q = aMin * bMax, r = aMax * bMin, t = aMax * bMax;
  const least = Math.min(p, q, r, t), most = Math.max(p, q, r, t);
  if (uMax > 0xffffffff || uMin > 0xffffffff) cnum32Unbounded(T, 0);
  else cnum32FromUnsigned(T, 0, uMin | 0, uMax | 0);
  if (least < S32_MIN || most > S32_MAX) cnum32Unbounded(T, 2);
  else cnum32FromSigned(T, 2, least, most);
  cnum32Intersect(d, a, T, 0, T, 2);
}

/** Product of {@link multiplyUnsigned}: low, high. */
const P = new Int32Array(2);

/** Unsigned product into {@link P}; false where it does not fit 64 bits. */
function multiplyUnsigned(aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  if (aHi !== 0 && bHi !== 0) return false;
  const high = (aHi !== 0 ? aHi : bHi) >>> 0;
  const factor = (aHi !== 0 ? bLo : aLo) >>> 0;
  const a0 = aLo & 0xffff, a1 = aLo >>> 16, b0 = bLo & 0xffff, b1 = bLo >>> 16;
  const low = a0 * b0, middle = a1 * b0 + (low >>> 16), middle2 = a0 * b1 + (middle & 0xffff);
  // a cross product beyond 2^53 is inexact, but then far beyond 2^32 too
  const top = a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(middle2 / 0x10000) + high * factor;
  P[0] = Math.imul(aLo, bLo);
  P[1] = top;
  return top <= 0xffffffff;
}

/** Signed product into {@link P}; false where it does not fit 64 bits. */
function multiplySigned(aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  const negative = (aHi ^ bHi) < 0;
  if (aHi < 0) {
    aHi = (~aHi + (aLo === 0 ? 1 : 0)) | 0;
    aLo = -aLo | 0;
  }
  if (bHi < 0) {
    bHi = (~bHi + (bLo === 0 ? 1 : 0)) | 0;
    bLo = -bLo | 0;
  }
  if (!multiplyUnsigned(aLo, aHi, bLo, bHi)) return false;
  const lo = P[0]!, hi = P[1]!;
  if (!negative) return hi >= 0;
  P[0] = -lo;
  P[1] = ~hi + (lo === 0 ? 1 : 0);
  return hi >= 0 || (hi === S32_MIN && lo === 0);
}

const signedBelow = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi < bHi;

/** Corner values of both operands: dst smin, smax, src smin, smax. */
const CORNERS = new Int32Array(8);

function multiply64(d: Int32Array, o: number, s: Int32Array, x: number): void {
  const a = o + R64, b = x + R64;
  cnum64UMax(d, a);
  const aMaxLo = BOUND[0]!, aMaxHi = BOUND[1]!;
  cnum64UMax(s, b);
  let fits = multiplyUnsigned(aMaxLo, aMaxHi, BOUND[0]!, BOUND[1]!);
  const maxLo = P[0]!, maxHi = P[1]!;
  cnum64UMin(d, a);
  const aMinLo = BOUND[0]!, aMinHi = BOUND[1]!;
  cnum64UMin(s, b);
  fits = multiplyUnsigned(aMinLo, aMinHi, BOUND[0]!, BOUND[1]!) && fits;
  if (fits) cnum64FromUnsigned(T, 0, P[0]!, P[1]!, maxLo, maxHi);
  else cnum64Unbounded(T, 0);

  cnum64SMin(d, a);
  CORNERS.set(BOUND, 0);
  cnum64SMax(d, a);
  CORNERS.set(BOUND, 2);
  cnum64SMin(s, b);
  CORNERS.set(BOUND, 4);
  cnum64SMax(s, b);
  CORNERS.set(BOUND, 6);
  let leastLo = -1, leastHi = S32_MAX, mostLo = 0, mostHi = S32_MIN;
  let signedFits = true;
  for (let i = 0; i < 4; i++) {
    const left = (i >> 1) * 2, right = 4 + (i & 1) * 2;
    signedFits = multiplySigned(CORNERS[left]!, CORNERS[left + 1]!, CORNERS[right]!, CORNERS[right + 1]!) && signedFits;
    if (signedBelow(P[0]!, P[1]!, leastLo, leastHi)) [leastLo, leastHi] = [P[0]!, P[1]!];
    if (signedBelow(mostLo, mostHi, P[0]!, P[1]!)) [mostLo, mostHi] = [P[0]!, P[1]!];
  }
  if (signedFits) cnum64FromSigned(T, 4, leastLo, leastHi, mostLo, mostHi);
  else cnum64Unbounded(T, 4);
  cnum64Intersect(d, a, T, 0, T, 4);
}

/** Forgets the tnum and the 64-bit arc: what a 32-bit division leaves unknown. */
function forget64(d: Int32Array, o: number): void {
  cnum64Unbounded(d, o + R64);
  tnumUnknown(d, o);
}

/** Forgets the tnum and the 32-bit arc: what a 64-bit division leaves unknown. */
function forget32(d: Int32Array, o: number): void {
  cnum32Unbounded(d, o + R32);
  tnumUnknown(d, o);
}

/** Division or remainder by the constant `by`; `x / 0` is 0 and `x % 0` is x. */
function divide32(d: Int32Array, o: number, by: number, remainder: boolean, signed: boolean): void {
  const r = o + R32;
  if (by === 0) {
    if (!remainder) scalarConst(d, o, 0, 0);
    return;
  }
  if (remainder) {
    if (signed ? !remainder32Signed(d, r, by) : !remainder32(d, r, by >>> 0)) return;
  } else if (!signed) {
    cnum32FromUnsigned(d, r, Math.floor(cnum32UMin(d, r) / (by >>> 0)) | 0, Math.floor(cnum32UMax(d, r) / (by >>> 0)) | 0);
  } else {
    const min = cnum32SMin(d, r), max = cnum32SMax(d, r);
    // S32_MIN / -1 is S32_MIN: with any other dividend beside it the quotients lie at both ends
    if (min === S32_MIN && by === -1) cnum32FromSigned(d, r, S32_MIN, max === S32_MIN ? S32_MIN : S32_MAX);
    else cnum32FromSigned(d, r, Math.min(Math.trunc(min / by), Math.trunc(max / by)), Math.max(Math.trunc(min / by), Math.trunc(max / by)));
  }
  forget64(d, o);
}

/** False where the dividend is left as it is. */
function remainder32(d: Int32Array, r: number, by: number): boolean {
  const max = cnum32UMax(d, r);
  if (max < by) return false;
  cnum32FromUnsigned(d, r, 0, Math.min(max, by - 1) | 0);
  return true;
}

function remainder32Signed(d: Int32Array, r: number, by: number): boolean {
  const limit = Math.abs(by) - 1, min = cnum32SMin(d, r), max = cnum32SMax(d, r);
  if (min >= -limit && max <= limit) return false;
  if (min >= 0) cnum32FromSigned(d, r, 0, Math.min(max, limit));
  else if (max <= 0) cnum32FromSigned(d, r, Math.max(min, -limit), 0);
  else cnum32FromSigned(d, r, -limit, limit);
  return true;
}

const unsignedOf = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
const signedOf = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) | BigInt(lo >>> 0);
const low = (v: bigint): number => Number(BigInt.asIntN(32, v));
const high = (v: bigint): number => Number(BigInt.asIntN(32, v >> 32n));
const S64_MIN = -(1n << 63n), S64_MAX = (1n << 63n) - 1n;
const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const most = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** As {@link divide32} on 64 bits. Divisions by constants are rare enough for BigInt. */
function divide64(d: Int32Array, o: number, byLo: number, byHi: number, remainder: boolean, signed: boolean): void {
  if ((byLo | byHi) === 0) {
    if (!remainder) scalarConst(d, o, 0, 0);
    return;
  }
  const r = o + R64;
  if (signed) {
    cnum64SMin(d, r);
    const min = signedOf(BOUND[0]!, BOUND[1]!);
    cnum64SMax(d, r);
    if (!divideSigned(d, r, min, signedOf(BOUND[0]!, BOUND[1]!), signedOf(byLo, byHi), remainder)) return;
  } else {
    cnum64UMin(d, r);
    const min = unsignedOf(BOUND[0]!, BOUND[1]!);
    cnum64UMax(d, r);
    if (!divideUnsigned(d, r, min, unsignedOf(BOUND[0]!, BOUND[1]!), unsignedOf(byLo, byHi), remainder)) return;
  }
  forget32(d, o);
}

function divideUnsigned(d: Int32Array, r: number, min: bigint, max: bigint, by: bigint, remainder: boolean): boolean {
  if (remainder && max < by) return false;
  const from = remainder ? 0n : min / by, to = remainder ? least(max, by - 1n) : max / by;
  cnum64FromUnsigned(d, r, low(from), high(from), low(to), high(to));
  return true;
}

function divideSigned(d: Int32Array, r: number, min: bigint, max: bigint, by: bigint, remainder: boolean): boolean {
  let from: bigint, to: bigint;
  if (remainder) {
    const limit = (by < 0n ? -by : by) - 1n;
    if (min >= -limit && max <= limit) return false;
    from = min >= 0n ? 0n : max <= 0n ? most(min, -limit) : -limit;
    to = min >= 0n ? least(max, limit) : max <= 0n ? 0n : limit;
  } else if (min === S64_MIN && by === -1n) {
    from = S64_MIN;
    to = max === S64_MIN ? S64_MIN : S64_MAX;
  } else {
    from = least(min / by, max / by);
    to = most(min / by, max / by);
  }
  cnum64FromSigned(d, r, low(from), high(from), low(to), high(to));
  return true;
}

/** Ranges of AND, OR and XOR; the tnum holds the result already. */
function bitwise(d: Int32Array, o: number, s: Int32Array, x: number, op: number): void {
  const value = d[o]!, all = value | d[o + 2]!;
  if (tnumSubregIsConst(d, o) && tnumSubregIsConst(s, x)) scalarConstSubreg(d, o, value);
  else if (op === BPF_AND) cnum32FromUnsigned(d, o + R32, value, Math.min(cnum32UMax(d, o + R32), cnum32UMax(s, x + R32)) | 0);
  else if (op === BPF_OR) cnum32FromUnsigned(d, o + R32, Math.max(cnum32UMin(d, o + R32), cnum32UMin(s, x + R32)) | 0, all);
  else cnum32FromUnsigned(d, o + R32, value, all);

  const valueHi = d[o + 1]!, allHi = valueHi | d[o + 3]!;
  if (tnumIsConst(d, o) && tnumIsConst(s, x)) {
    scalarConst(d, o, value, valueHi);
    return;
  }
  if (op === BPF_XOR) {
    scalarSetUnsigned(d, o, value, valueHi, all, allHi);
    return;
  }
  if (op === BPF_AND) {
    cnum64UMax(d, o + R64);
    const lo = BOUND[0]!, hi = BOUND[1]!;
    cnum64UMax(s, x + R64);
    if (below(BOUND[0]!, BOUND[1]!, lo, hi)) scalarSetUnsigned(d, o, value, valueHi, BOUND[0]!, BOUND[1]!);
    else scalarSetUnsigned(d, o, value, valueHi, lo, hi);
  } else {
    cnum64UMin(d, o + R64);
    const lo = BOUND[0]!, hi = BOUND[1]!;
    cnum64UMin(s, x + R64);
    if (below(lo, hi, BOUND[0]!, BOUND[1]!)) scalarSetUnsigned(d, o, BOUND[0]!, BOUND[1]!, all, allHi);
    else scalarSetUnsigned(d, o, lo, hi, all, allHi);
  }
  scalarLearnFromBits(d, o);
}

/** The 32-bit arc of `d << by`; nothing is known once the top bit may be shifted out. */
function shiftArcLeft32(d: Int32Array, o: number, by: number): void {
  const max = cnum32UMax(d, o + R32);
  if (by > 31 || max > 2 ** (31 - by)) cnum32Unbounded(d, o + R32);
  else cnum32FromUnsigned(d, o + R32, (cnum32UMin(d, o + R32) << by) | 0, max << by);
}

function shiftLeft32(d: Int32Array, o: number, by: number): void {
  shiftArcLeft32(d, o, by);
  d[o] = d[o]! << by;
  d[o + 1] = 0;
  d[o + 2] = d[o + 2]! << by;
  d[o + 3] = 0;
  cnum64Unbounded(d, o + R64);
  scalarLearn32FromBits(d, o);
}

function shiftLeft64(d: Int32Array, o: number, by: number): void {
  const r = o + R64;
  // the first half of the usual sign extension, << 32 and s>> 32: the signed 32-bit bounds become the upper half
  if (by === 32) cnum64FromSigned(T, 4, 0, cnum32SMin(d, o + R32), 0, cnum32SMax(d, o + R32));
  else cnum64Unbounded(T, 4);
  cnum64UMax(d, r);
  const limit = 63 - by;
  const limitLo = limit < 32 ? 1 << limit : 0, limitHi = limit < 32 ? 0 : 1 << (limit - 32);
  if (below(limitLo, limitHi, BOUND[0]!, BOUND[1]!)) cnum64Unbounded(T, 0);
  else {
    SHIFT[2] = BOUND[0]!;
    SHIFT[3] = BOUND[1]!;
    cnum64UMin(d, r);
    SHIFT[0] = BOUND[0]!;
    SHIFT[1] = BOUND[1]!;
    tnumLsh(SHIFT, 0, SHIFT, 0, by);
    cnum64FromUnsigned(T, 0, SHIFT[0]!, SHIFT[1]!, SHIFT[2]!, SHIFT[3]!);
  }
  cnum64Intersect(d, r, T, 0, T, 4);
  shiftArcLeft32(d, o, by);
  tnumLsh(d, o, d, o, by);
  scalarLearnFromBits(d, o);
}

/** Two 64-bit words shifted side by side. */
const SHIFT = new Int32Array(4);

function shiftRight32(d: Int32Array, o: number, by: number): void {
  d[o] = d[o]! >>> by;
  d[o + 1] = 0;
  d[o + 2] = d[o + 2]! >>> by;
  d[o + 3] = 0;
  cnum32FromUnsigned(d, o + R32, (cnum32UMin(d, o + R32) >>> by) | 0, (cnum32UMax(d, o + R32) >>> by) | 0);
  cnum64Unbounded(d, o + R64);
  scalarLearn32FromBits(d, o);
}

function shiftRight64(d: Int32Array, o: number, by: number): void {
  tnumRsh(d, o, d, o, by);
  cnum64UMin(d, o + R64);
  SHIFT[0] = BOUND[0]!;
  SHIFT[1] = BOUND[1]!;
  cnum64UMax(d, o + R64);
  SHIFT[2] = BOUND[0]!;
  SHIFT[3] = BOUND[1]!;
  tnumRsh(SHIFT, 0, SHIFT, 0, by);
  scalarSetUnsigned(d, o, SHIFT[0]!, SHIFT[1]!, SHIFT[2]!, SHIFT[3]!);
  cnum32Unbounded(d, o + R32);
  scalarLearnFromBits(d, o);
}

function shiftRightSigned32(d: Int32Array, o: number, by: number): void {
  cnum32FromSigned(d, o + R32, cnum32SMin(d, o + R32) >> by, cnum32SMax(d, o + R32) >> by);
  tnumArsh(d, o, d, o, by, 32);
  cnum64Unbounded(d, o + R64);
  scalarLearn32FromBits(d, o);
}

function shiftRightSigned64(d: Int32Array, o: number, by: number): void {
  cnum64SMin(d, o + R64);
  SHIFT[0] = BOUND[0]!;
  SHIFT[1] = BOUND[1]!;
  cnum64SMax(d, o + R64);
  SHIFT[2] = BOUND[0]!;
  SHIFT[3] = BOUND[1]!;
  tnumArsh(SHIFT, 0, SHIFT, 0, by, 64);
  cnum64FromSigned(d, o + R64, SHIFT[0]!, SHIFT[1]!, SHIFT[2]!, SHIFT[3]!);
  tnumArsh(d, o, d, o, by, 64);
  cnum32Unbounded(d, o + R32);
  scalarLearnFromBits(d, o);
}

/** Byte swap (or, without `swap`, only the truncation that `le16` and `le32` mean here). */
function byteSwap(d: Int32Array, o: number, bits: 0 | 16 | 32 | 64, swap: boolean): void {
  if (swap && bits !== 0) {
    tnumByteSwap(d, o, d, o, bits);
    scalarUnbounded(d, o);
  }
  if (bits === 16 || bits === 32) scalarTruncate(d, o, bits / 8);
}
