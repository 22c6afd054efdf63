/**
 * @module verifier/scalar_branch
 * Comparisons of scalars: is a branch decided, and what do its two outcomes teach. Owns decision and refinement; pointers
 * and the walk are the caller's. Reproduces `is_scalar_branch_taken()` and `regs_refine_cond_op()` of Linux's verifier.
 */
import { BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JLE, BPF_JLT, BPF_JNE, BPF_JSET, BPF_JSGE, BPF_JSGT, BPF_JSLE, BPF_JSLT } from '../isa/uapi.ts';
import {
  BOUND, cnum32ClampArc, cnum32ClampSigned, cnum32ClampUnsigned, cnum32Intersect, cnum32SMax, cnum32SMin, cnum32UMax, cnum32UMin,
  cnum64ClampArc, cnum64ClampSigned, cnum64ClampUnsigned, cnum64Intersect, cnum64SMax, cnum64SMin, cnum64UMax, cnum64UMin,
} from './cnum.ts';
import { R32, R64, SCALAR_WORDS, scalarCopy, scalarIsEmpty, scalarSync, scalarUnbounded } from './scalar.ts';
import { tnumIntersect, tnumIsConst, tnumSubregIsConst } from './tnum.ts';

/** The false outcome of JSET, an operation that no instruction has: "no common bit". */
export const JSET_NOT: number = BPF_JSET | 8;

const S32_MIN = -0x80000000, S32_MAX = 0x7fffffff, U32_MAX = 0xffffffff;

const byOpcode = (pairs: readonly (readonly [number, number])[]): Uint8Array => {
  const table = new Uint8Array(256);
  for (const [from, to] of pairs) table[from] = to;
  return table;
};

const FLIPPED = byOpcode([
  [BPF_JEQ, BPF_JEQ], [BPF_JNE, BPF_JNE], [BPF_JSET, BPF_JSET],
  [BPF_JGE, BPF_JLE], [BPF_JGT, BPF_JLT], [BPF_JLE, BPF_JGE], [BPF_JLT, BPF_JGT],
  [BPF_JSGE, BPF_JSLE], [BPF_JSGT, BPF_JSLT], [BPF_JSLE, BPF_JSGE], [BPF_JSLT, BPF_JSGT],
]);
const NEGATED = byOpcode([
  [BPF_JEQ, BPF_JNE], [BPF_JNE, BPF_JEQ], [BPF_JSET, JSET_NOT], [JSET_NOT, BPF_JSET],
  [BPF_JGE, BPF_JLT], [BPF_JGT, BPF_JLE], [BPF_JLE, BPF_JGT], [BPF_JLT, BPF_JGE],
  [BPF_JSGE, BPF_JSLT], [BPF_JSGT, BPF_JSLE], [BPF_JSLE, BPF_JSGT], [BPF_JSLT, BPF_JSGE],
]);

/** The operation with its operands exchanged: `a op b` is `b flipped a`. */
export const flipComparison = (op: number): number => FLIPPED[op]!;
/** The operation that holds where `op` does not. */
export const negateComparison = (op: number): number => NEGATED[op]!;

/**
 * The four scalars of an undecided branch, refined and synced: not taken (left, right) at 0 and 10, taken at 20 and 30.
 * Valid after {@link scalarBranch} returned -1 for two different scalars.
 */
export const OUTCOMES: Int32Array = new Int32Array(4 * SCALAR_WORDS);
/** Offsets into {@link OUTCOMES}. */
export const FALSE_LEFT = 0, FALSE_RIGHT: number = SCALAR_WORDS, TRUE_LEFT: number = 2 * SCALAR_WORDS, TRUE_RIGHT: number = 3 * SCALAR_WORDS;

const below = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0;
const signedBelow = (aLo: number, aHi: number, bLo: number, bHi: number): boolean =>
  aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi < bHi;

/** Every value of `a` is above every value of `b`, unsigned. */
function above(a: Int32Array, x: number, b: Int32Array, y: number, is32: boolean): boolean {
  if (is32) return cnum32UMin(a, x + R32) > cnum32UMax(b, y + R32);
  cnum64UMax(b, y + R64);
  const lo = BOUND[0]!, hi = BOUND[1]!;
  cnum64UMin(a, x + R64);
  return below(lo, hi, BOUND[0]!, BOUND[1]!);
}

/** No value of `a` is below any value of `b`, unsigned. */
function atLeast(a: Int32Array, x: number, b: Int32Array, y: number, is32: boolean): boolean {
  if (is32) return cnum32UMin(a, x + R32) >= cnum32UMax(b, y + R32);
  cnum64UMax(b, y + R64);
  const lo = BOUND[0]!, hi = BOUND[1]!;
  cnum64UMin(a, x + R64);
  return !below(BOUND[0]!, BOUND[1]!, lo, hi);
}

function aboveSigned(a: Int32Array, x: number, b: Int32Array, y: number, is32: boolean): boolean {
  if (is32) return cnum32SMin(a, x + R32) > cnum32SMax(b, y + R32);
  cnum64SMax(b, y + R64);
  const lo = BOUND[0]!, hi = BOUND[1]!;
  cnum64SMin(a, x + R64);
  return signedBelow(lo, hi, BOUND[0]!, BOUND[1]!);
}

function atLeastSigned(a: Int32Array, x: number, b: Int32Array, y: number, is32: boolean): boolean {
  if (is32) return cnum32SMin(a, x + R32) >= cnum32SMax(b, y + R32);
  cnum64SMax(b, y + R64);
  const lo = BOUND[0]!, hi = BOUND[1]!;
  cnum64SMin(a, x + R64);
  return !signedBelow(BOUND[0]!, BOUND[1]!, lo, hi);
}

const isKnown = (w: Int32Array, o: number, is32: boolean): boolean => (is32 ? tnumSubregIsConst(w, o) : tnumIsConst(w, o));

/** True where some value can be in both, as far as tnums and ranges tell. */
function mayBeEqual(a: Int32Array, x: number, b: Int32Array, y: number, is32: boolean): boolean {
  const knownLo = ~(a[x + 2]! | b[y + 2]!), knownHi = is32 ? 0 : ~(a[x + 3]! | b[y + 3]!);
  if (((a[x]! ^ b[y]!) & knownLo) !== 0 || ((a[x + 1]! ^ b[y + 1]!) & knownHi) !== 0) return false;
  if (above(a, x, b, y, is32) || above(b, y, a, x, is32) || aboveSigned(a, x, b, y, is32) || aboveSigned(b, y, a, x, is32)) return false;
  return is32 || !(above(a, x, b, y, true) || above(b, y, a, x, true) || aboveSigned(a, x, b, y, true) || aboveSigned(b, y, a, x, true));
}

/**
 * Decides `left op right`: 1 always taken, 0 never, -1 unknown with both outcomes in {@link OUTCOMES}. `is32` compares the
 * low halves.
 */
export function scalarBranch(a: Int32Array, x: number, b: Int32Array, y: number, op: number, is32: boolean): -1 | 0 | 1 {
  const decided = decide(a, x, b, y, op, is32);
  return decided >= 0 ? decided : simulate(a, x, b, y, op, is32);
}

/** Decides `r op r`, a register compared with itself. -1 leaves {@link OUTCOMES} alone. */
export function scalarBranchSelf(w: Int32Array, o: number, op: number, is32: boolean): -1 | 0 | 1 {
  switch (op) {
    case BPF_JGE: case BPF_JLE: case BPF_JSGE: case BPF_JSLE: case BPF_JEQ:
      return 1;
    case BPF_JGT: case BPF_JLT: case BPF_JSGT: case BPF_JSLT: case BPF_JNE:
      return 0;
    default:
      if (isKnown(w, o, is32)) return w[o] !== 0 || (!is32 && w[o + 1] !== 0) ? 1 : 0;
      return mayBeZero(w, o, is32) ? -1 : 1;
  }
}

function mayBeZero(w: Int32Array, o: number, is32: boolean): boolean {
  if (is32) return cnum32SMin(w, o + R32) <= 0 && cnum32SMax(w, o + R32) >= 0;
  cnum64SMin(w, o + R64);
  if (signedBelow(0, 0, BOUND[0]!, BOUND[1]!)) return false;
  cnum64SMax(w, o + R64);
  return BOUND[1]! >= 0;
}

function decide(a: Int32Array, x: number, b: Int32Array, y: number, op: number, is32: boolean): -1 | 0 | 1 {
  switch (op) {
    case BPF_JEQ:
    case BPF_JNE: {
      const equal = op === BPF_JEQ ? 1 : 0;
      if (isKnown(a, x, is32) && isKnown(b, y, is32)) {
        return a[x] === b[y] && (is32 || a[x + 1] === b[y + 1]) ? equal : ((1 - equal) as 0 | 1);
      }
      return mayBeEqual(a, x, b, y, is32) ? -1 : ((1 - equal) as 0 | 1);
    }
    case BPF_JSET:
      if (isKnown(b, y, is32)) return decideBits(a, x, b[y]!, is32 ? 0 : b[y + 1]!);
      return isKnown(a, x, is32) ? decideBits(b, y, a[x]!, is32 ? 0 : a[x + 1]!) : -1;
    case BPF_JGT:
      return above(a, x, b, y, is32) ? 1 : atLeast(b, y, a, x, is32) ? 0 : -1;
    case BPF_JLT:
      return above(b, y, a, x, is32) ? 1 : atLeast(a, x, b, y, is32) ? 0 : -1;
    case BPF_JGE:
      return atLeast(a, x, b, y, is32) ? 1 : above(b, y, a, x, is32) ? 0 : -1;
    case BPF_JLE:
      return atLeast(b, y, a, x, is32) ? 1 : above(a, x, b, y, is32) ? 0 : -1;
    case BPF_JSGT:
      return aboveSigned(a, x, b, y, is32) ? 1 : atLeastSigned(b, y, a, x, is32) ? 0 : -1;
    case BPF_JSLT:
      return aboveSigned(b, y, a, x, is32) ? 1 : atLeastSigned(a, x, b, y, is32) ? 0 : -1;
    case BPF_JSGE:
      return atLeastSigned(a, x, b, y, is32) ? 1 : aboveSigned(b, y, a, x, is32) ? 0 : -1;
    case BPF_JSLE:
      return atLeastSigned(b, y, a, x, is32) ? 1 : aboveSigned(a, x, b, y, is32) ? 0 : -1;
    default:
      return -1;
  }
}

function decideBits(w: Int32Array, o: number, lo: number, hi: number): -1 | 0 | 1 {
  if ((w[o]! & ~w[o + 2]! & lo) !== 0 || (w[o + 1]! & ~w[o + 3]! & hi) !== 0) return 1;
  return ((w[o]! | w[o + 2]!) & lo) === 0 && ((w[o + 1]! | w[o + 3]!) & hi) === 0 ? 0 : -1;
}

/** Refines both outcomes; one that leaves no value is dead, so the other is taken. */
function simulate(a: Int32Array, x: number, b: Int32Array, y: number, op: number, is32: boolean): -1 | 0 | 1 {
  scalarCopy(OUTCOMES, FALSE_LEFT, a, x);
  scalarCopy(OUTCOMES, FALSE_RIGHT, b, y);
  scalarCopy(OUTCOMES, TRUE_LEFT, a, x);
  scalarCopy(OUTCOMES, TRUE_RIGHT, b, y);
  if (isDead(FALSE_LEFT, FALSE_RIGHT, negateComparison(op), is32)) return 1;
  return isDead(TRUE_LEFT, TRUE_RIGHT, op, is32) ? 0 : -1;
}

function isDead(left: number, right: number, op: number, is32: boolean): boolean {
  scalarRefine(OUTCOMES, left, OUTCOMES, right, op, is32);
  scalarSync(OUTCOMES, left);
  scalarSync(OUTCOMES, right);
  return scalarIsEmpty(OUTCOMES, left) || scalarIsEmpty(OUTCOMES, right);
}

/** Narrows both scalars in place to what `left op right` leaves. Does not sync. */
export function scalarRefine(a: Int32Array, x: number, b: Int32Array, y: number, op: number, is32: boolean): void {
  switch (op) {
    case BPF_JGE: case BPF_JGT: case BPF_JSGE: case BPF_JSGT:
      refineLess(b, y, a, x, flipComparison(op), is32);
      break;
    case BPF_JLE: case BPF_JLT: case BPF_JSLE: case BPF_JSLT:
      refineLess(a, x, b, y, op, is32);
      break;
    case BPF_JEQ:
      refineEqual(a, x, b, y, is32);
      break;
    case BPF_JNE: case BPF_JSET: case JSET_NOT:
      if (isKnown(b, y, is32)) refineByConstant(a, x, b[y]!, is32 ? 0 : b[y + 1]!, op, is32);
      else if (isKnown(a, x, is32)) refineByConstant(b, y, a[x]!, is32 ? 0 : a[x + 1]!, op, is32);
      break;
    default:
      break;
  }
}

function refineEqual(a: Int32Array, x: number, b: Int32Array, y: number, is32: boolean): void {
  if (!is32) {
    cnum64Intersect(a, x + R64, a, x + R64, b, y + R64);
    tnumIntersect(a, x, a, x, b, y);
    for (let i = 0; i < R32; i++) b[y + i] = a[x + i]!;
    return;
  }
  cnum32Intersect(a, x + R32, a, x + R32, b, y + R32);
  b[y + R32] = a[x + R32]!;
  b[y + R32 + 1] = a[x + R32 + 1]!;
  const mask = a[x + 2]! & b[y + 2]!, value = (a[x]! | b[y]!) & ~mask;
  a[x] = b[y] = value;
  a[x + 2] = b[y + 2] = mask;
}

/** Not equal to, a common bit with, no common bit with the constant `lo`, `hi`. */
function refineByConstant(w: Int32Array, o: number, lo: number, hi: number, op: number, is32: boolean): void {
  if (op === BPF_JNE) {
    // the circle without one point is an arc
    if (is32) cnum32ClampArc(w, o + R32, lo + 1, -2);
    else cnum64ClampArc(w, o + R64, (lo + 1) | 0, (hi + (lo === -1 ? 1 : 0)) | 0, -2, -1);
  } else if (op === BPF_JSET) {
    if (!isPowerOfTwo(lo, hi)) return;
    w[o] = w[o]! | lo;
    w[o + 2] = w[o + 2]! & ~lo;
    w[o + 1] = w[o + 1]! | hi;
    w[o + 3] = w[o + 3]! & ~hi;
  } else {
    // ranges are forgotten first: on a dead branch they could contradict the narrowed bits
    scalarUnbounded(w, o);
    w[o] = w[o]! & ~lo;
    w[o + 2] = w[o + 2]! & ~lo;
    if (is32) return;
    w[o + 1] = w[o + 1]! & ~hi;
    w[o + 3] = w[o + 3]! & ~hi;
  }
}

const isSingleBit = (word: number): boolean => word !== 0 && (word & (word - 1)) === 0;
const isPowerOfTwo = (lo: number, hi: number): boolean => (hi === 0 ? isSingleBit(lo) : lo === 0 && isSingleBit(hi));

/** `a op b` for the four "less" operations: `a` loses what is above `b`'s maximum, then `b` what is below `a`'s minimum. */
function refineLess(a: Int32Array, x: number, b: Int32Array, y: number, op: number, is32: boolean): void {
  const strict = op === BPF_JLT || op === BPF_JSLT ? 1 : 0;
  const signed = op === BPF_JSLE || op === BPF_JSLT;
  if (is32) {
    const r = x + R32, s = y + R32;
    if (signed) {
      cnum32ClampSigned(a, r, S32_MIN, (cnum32SMax(b, s) - strict) | 0);
      cnum32ClampSigned(b, s, (cnum32SMin(a, r) + strict) | 0, S32_MAX);
    } else {
      cnum32ClampUnsigned(a, r, 0, cnum32UMax(b, s) - strict);
      cnum32ClampUnsigned(b, s, cnum32UMin(a, r) + strict, U32_MAX);
    }
    return;
  }
  const r = x + R64, s = y + R64;
  if (signed) cnum64SMax(b, s);
  else cnum64UMax(b, s);
  const maxLo = BOUND[0]!, maxHi = BOUND[1]!;
  const topLo = (maxLo - strict) | 0, topHi = (maxHi - (strict === 1 && maxLo === 0 ? 1 : 0)) | 0;
  if (signed) cnum64ClampSigned(a, r, 0, S32_MIN, topLo, topHi);
  else cnum64ClampUnsigned(a, r, 0, 0, topLo, topHi);
  if (signed) cnum64SMin(a, r);
  else cnum64UMin(a, r);
  const minLo = BOUND[0]!, minHi = BOUND[1]!;
  const bottomLo = (minLo + strict) | 0, bottomHi = (minHi + (strict === 1 && minLo === -1 ? 1 : 0)) | 0;
  if (signed) cnum64ClampSigned(b, s, bottomLo, bottomHi, -1, S32_MAX);
  else cnum64ClampUnsigned(b, s, bottomLo, bottomHi, -1, -1);
}
