import { describe, expect, it } from 'vitest';
import {
  BPF_ADD, BPF_AND, BPF_ARSH, BPF_DIV, BPF_END, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JLE, BPF_JLT, BPF_JNE, BPF_JSET, BPF_JSGE, BPF_JSGT, BPF_JSLE,
  BPF_JSLT, BPF_LSH, BPF_MOD, BPF_MUL, BPF_NEG, BPF_OR, BPF_RSH, BPF_SUB, BPF_XOR,
} from '../../../isa/uapi.ts';
import {
  SCALAR_WORDS, scalarClampSigned32, scalarConst, scalarInvariantViolation, scalarIsEmpty, scalarSignExtend,
  scalarSignExtendSubreg, scalarSync, scalarTruncate, scalarUnknown, scalarZeroExtend,
} from '../../../verifier/scalar.ts';
import { scalarALU, scalarCanCompute, scalarMaskWidth } from '../../../verifier/scalar_alu.ts';
import {
  FALSE_LEFT, FALSE_RIGHT, OUTCOMES, TRUE_LEFT, TRUE_RIGHT, negateComparison, scalarBranch, scalarBranchSelf,
} from '../../../verifier/scalar_branch.ts';
import { M32, M64, hi, inScalar, lo, random, s32, s64, someScalar, someValue, u64 } from './scalar-support.ts';

const CASES = 8_000;
const w = new Int32Array(2 * SCALAR_WORDS);
const A = 0, B = SCALAR_WORDS;
const show = (o: number): string => [...w.subarray(o, o + SCALAR_WORDS)].map((x) => (x >>> 0).toString(16)).join(' ');

const div = (a: bigint, b: bigint): bigint => (b === 0n ? 0n : a / b);
const mod = (a: bigint, b: bigint): bigint => (b === 0n ? a : a % b);

/** Concrete results by RFC 9669; operands and result unsigned, of `bits` bits. */
const CONCRETE: readonly [name: string, op: number, signed: boolean, run: (a: bigint, b: bigint, bits: 32 | 64) => bigint][] = [
  ['add', BPF_ADD, false, (a, b) => a + b], ['sub', BPF_SUB, false, (a, b) => a - b], ['mul', BPF_MUL, false, (a, b) => a * b],
  ['and', BPF_AND, false, (a, b) => a & b], ['or', BPF_OR, false, (a, b) => a | b], ['xor', BPF_XOR, false, (a, b) => a ^ b],
  ['neg', BPF_NEG, false, (a) => -a],
  ['div', BPF_DIV, false, div], ['mod', BPF_MOD, false, mod],
  ['sdiv', BPF_DIV, true, (a, b, bits) => div(BigInt.asIntN(bits, a), BigInt.asIntN(bits, b))],
  ['smod', BPF_MOD, true, (a, b, bits) => mod(BigInt.asIntN(bits, a), BigInt.asIntN(bits, b))],
  ['lsh', BPF_LSH, false, (a, b) => a << b], ['rsh', BPF_RSH, false, (a, b) => a >> b],
  ['arsh', BPF_ARSH, false, (a, b, bits) => BigInt.asIntN(bits, a) >> b],
];

describe('scalar arithmetic holds every concrete result', () => {
  for (const [name, op, signed, run] of CONCRETE) {
    const needsConstant = op === BPF_DIV || op === BPF_MOD || op === BPF_LSH || op === BPF_RSH || op === BPF_ARSH;
    const isShift = op === BPF_LSH || op === BPF_RSH || op === BPF_ARSH;
    for (const bits of [64, 32] as const) {
      it(`${name}${bits}`, () => {
        const next = random(op * 64 + bits + (signed ? 1 : 0));
        for (let i = 0; i < CASES; i++) {
          const x = someValue(next), y = isShift ? BigInt(next() % bits) : someValue(next);
          someScalar(next, w, A, x);
          if (needsConstant) scalarConst(w, B, lo(y), hi(y));
          else someScalar(next, w, B, y);
          scalarSync(w, A);
          scalarSync(w, B);
          const before = [show(A), show(B)];
          if (!scalarCanCompute(w, B, op, bits === 32)) continue;
          scalarALU(w, A, w, B, op, bits === 32, signed);
          const result = BigInt.asUintN(bits, run(BigInt.asUintN(bits, x), BigInt.asUintN(bits, y), bits));
          if (!inScalar(w, A, result)) expect([...before, x, y, result, show(A)]).toBe('inside');
        }
      });
      // of a remainder by a constant Linux keeps the range only
      if (op !== BPF_MOD) it(`${name}${bits} of constants is exact`, () => {
        const next = random(op + bits);
        for (let i = 0; i < 2000; i++) {
          const x = someValue(next), y = isShift ? BigInt(next() % bits) : someValue(next);
          scalarConst(w, A, lo(x), hi(x));
          scalarConst(w, B, lo(y), hi(y));
          scalarALU(w, A, w, B, op, bits === 32, signed);
          const result = BigInt.asUintN(bits, run(BigInt.asUintN(bits, x), BigInt.asUintN(bits, y), bits));
          expect([u64(w, A), u64(w, A + 2), scalarInvariantViolation(w, A)]).toEqual([result, 0n, undefined]);
        }
      });
    }
  }

  it('byte swaps and truncations', () => {
    const next = random(7);
    for (let i = 0; i < CASES; i++) {
      const x = someValue(next), bits = ([16, 32, 64] as const)[next() % 3]!, swap = next() % 2 === 0;
      someScalar(next, w, A, x);
      scalarSync(w, A);
      scalarALU(w, A, w, B, BPF_END, true, false, bits, swap);
      const bytes = Array.from({ length: bits / 8 }, (_, n) => (x >> BigInt(8 * n)) & 0xffn);
      const ordered = swap ? bytes.toReversed() : bytes;
      const result = ordered.reduce((sum, byte, n) => sum | (byte << BigInt(8 * n)), 0n);
      if (!inScalar(w, A, result)) expect([x, bits, swap, result, show(A)]).toBe('inside');
    }
  });

  it('truncation, sign and zero extension', () => {
    const next = random(11);
    for (let i = 0; i < CASES; i++) {
      const x = someValue(next), size = [1, 2, 4][next() % 3]!, bits = size * 8;
      const check = (what: string, change: () => void, result: bigint): void => {
        someScalar(next, w, A, x);
        scalarSync(w, A);
        const before = show(A);
        change();
        if (!inScalar(w, A, result & M64)) expect([what, size, x, before, show(A)]).toBe('inside');
      };
      check('truncate', () => scalarTruncate(w, A, size), BigInt.asUintN(bits, x));
      check('sign extend', () => scalarSignExtend(w, A, size), BigInt.asIntN(bits, x));
      check('zero extend', () => scalarZeroExtend(w, A), x & M32);
      if (size === 4) continue;
      check('sign extend subreg', () => {
        scalarSignExtendSubreg(w, A, size);
        scalarZeroExtend(w, A);
      }, BigInt.asIntN(bits, x) & M32);
    }
  });
});

describe('scalarSync', () => {
  it('loses no member', () => {
    const next = random(3);
    for (let i = 0; i < CASES; i++) {
      const x = someValue(next);
      someScalar(next, w, A, x);
      const before = show(A);
      scalarSync(w, A);
      if (!inScalar(w, A, x)) expect([before, x, show(A)]).toBe('inside');
      if (scalarIsEmpty(w, A)) expect(before).toBe('not empty');
    }
  });

  it('teaches bits from ranges and ranges from bits', () => {
    scalarUnknown(w, A);
    w.set([0, 0, 7, 0], A + 4);
    scalarSync(w, A);
    expect([u64(w, A), u64(w, A + 2)]).toEqual([0n, 7n]);
    expect([w[A + 8], w[A + 9]]).toEqual([0, 7]);
    scalarUnknown(w, A);
    w.set([0, 0, 0xf0, 0], A);
    scalarSync(w, A);
    expect([u64(w, A + 4), u64(w, A + 6)]).toEqual([0n, 0xf0n]);
  });

  it('finds the one value on which range and bits agree', () => {
    // multiples of 16 within 17..40: only 32
    scalarUnknown(w, A);
    w.set([0, 0, 0xf0, 0, 17, 0, 23 - 8, 0], A);
    scalarSync(w, A);
    expect([u64(w, A), u64(w, A + 2)]).toEqual([32n, 0n]);
  });

  it('clamps to a signed 32-bit range', () => {
    scalarUnknown(w, A);
    scalarClampSigned32(w, A, -4095, 0);
    expect(inScalar(w, A, 0n)).toBe(true);
    expect(inScalar(w, A, M64)).toBe(true);
    expect(inScalar(w, A, 1n)).toBe(false);
    expect(inScalar(w, A, M64 - 4095n)).toBe(false);
  });
});

const COMPARE: readonly [name: string, op: number, holds: (a: bigint, b: bigint, signed: (v: bigint) => bigint) => boolean][] = [
  ['jeq', BPF_JEQ, (a, b) => a === b], ['jne', BPF_JNE, (a, b) => a !== b], ['jset', BPF_JSET, (a, b) => (a & b) !== 0n],
  ['jgt', BPF_JGT, (a, b) => a > b], ['jge', BPF_JGE, (a, b) => a >= b], ['jlt', BPF_JLT, (a, b) => a < b], ['jle', BPF_JLE, (a, b) => a <= b],
  ['jsgt', BPF_JSGT, (a, b, s) => s(a) > s(b)], ['jsge', BPF_JSGE, (a, b, s) => s(a) >= s(b)],
  ['jslt', BPF_JSLT, (a, b, s) => s(a) < s(b)], ['jsle', BPF_JSLE, (a, b, s) => s(a) <= s(b)],
];

describe('branches decide rightly and refine without losing a value', () => {
  for (const [name, op, holds] of COMPARE) {
    for (const is32 of [false, true]) {
      it(`${name}${is32 ? '32' : ''}`, () => {
        const next = random(op * 2 + (is32 ? 1 : 0));
        let decided = 0;
        for (let i = 0; i < CASES; i++) {
          const x = someValue(next), y = next() % 4 === 0 ? x : someValue(next);
          someScalar(next, w, A, x);
          someScalar(next, w, B, y);
          if (next() % 3 === 0) scalarConst(w, B, lo(y), hi(y));
          scalarSync(w, A);
          scalarSync(w, B);
          const before = [show(A), show(B)];
          const taken = is32 ? holds(x & M32, y & M32, s32) : holds(x, y, s64);
          const verdict = scalarBranch(w, A, w, B, op, is32);
          if (verdict >= 0) {
            decided++;
            if ((verdict === 1) !== taken) expect([...before, x, y, verdict]).toBe(taken);
          } else {
            const left = taken ? TRUE_LEFT : FALSE_LEFT, right = taken ? TRUE_RIGHT : FALSE_RIGHT;
            if (!inScalar(OUTCOMES, left, x) || !inScalar(OUTCOMES, right, y)) expect([...before, x, y, taken]).toBe('inside');
          }
        }
        expect(decided).toBeGreaterThan(CASES / 100);
      });

      it(`${name}${is32 ? '32' : ''} of a value with itself`, () => {
        const next = random(op);
        for (let i = 0; i < 5000; i++) {
          const x = someValue(next);
          someScalar(next, w, A, x);
          scalarSync(w, A);
          const verdict = scalarBranchSelf(w, A, op, is32);
          if (verdict >= 0) expect(verdict === 1).toBe(is32 ? holds(x & M32, x & M32, s32) : holds(x, x, s64));
        }
      });
    }
  }

  it('negating twice is the operation itself', () => {
    for (const [, op] of COMPARE) expect(negateComparison(negateComparison(op))).toBe(op);
  });
});

describe('what may be computed', () => {
  it('asks for constants as divisors and shift counts, and for counts below the width', () => {
    scalarUnknown(w, B);
    for (const op of [BPF_DIV, BPF_MOD, BPF_LSH, BPF_RSH, BPF_ARSH]) expect(scalarCanCompute(w, B, op, false)).toBe(false);
    for (const op of [BPF_ADD, BPF_MUL, BPF_END]) expect(scalarCanCompute(w, B, op, false)).toBe(true);
    scalarConst(w, B, 40, 0);
    expect(scalarCanCompute(w, B, BPF_LSH, false)).toBe(true);
    expect(scalarCanCompute(w, B, BPF_LSH, true)).toBe(false);
    scalarConst(w, B, -1, -1);
    expect(scalarCanCompute(w, B, BPF_RSH, false)).toBe(false);
    expect(scalarCanCompute(w, B, BPF_DIV, false)).toBe(true);
  });

  it('knows a mask when it sees one', () => {
    scalarUnknown(w, A);
    expect(scalarMaskWidth(w, A)).toBe(0);
    w.set([-1, -1, 1, 0], A + 4);
    expect(scalarMaskWidth(w, A)).toBe(64);
    scalarUnknown(w, A);
    w.set([-1, 1], A + 8);
    expect(scalarMaskWidth(w, A)).toBe(32);
  });
});
