import { describe, expect, it } from 'vitest';
import {
  BOUND, cnum32Add, cnum32ClampArc, cnum32Contains, cnum32FromCnum64, cnum32FromSigned, cnum32FromUnsigned, cnum32Intersect,
  cnum32IsEmpty, cnum32IsSubset, cnum32Negate, cnum32SMax, cnum32SMin, cnum32Sub, cnum32UMax, cnum32UMin, cnum64Add,
  cnum64ClampSubreg, cnum64FromSigned, cnum64FromUnsigned, cnum64Intersect, cnum64IsEmpty, cnum64IsSubset, cnum64Negate,
  cnum64SMax, cnum64SMin, cnum64Sub, cnum64UMax, cnum64UMin,
} from '../../../verifier/cnum.ts';
import { M32, M64, inArc, inArc32, lo, putArc, s32, s64, u64 } from './scalar-support.ts';

/** Places where words, signs and the circle turn. */
const TURNS_64 = [0n, 0x80000000n, 0x100000000n, 0x8000000000000000n, 0xffffffff00000000n];
const TURNS_32 = [0n, 0x80000000n];

/** All arcs of up to 2^4 values that start within 4 of a turn. */
const arcs = (turns: readonly bigint[], mask: bigint): [bigint, bigint][] =>
  turns.flatMap((turn) => Array.from({ length: 8 }, (_, i) => (turn + BigInt(i) - 4n) & mask))
    .flatMap((base) => [0n, 1n, 2n, 3n, 5n, 8n, 15n].map((size): [bigint, bigint] => [base, size]));
const members = (base: bigint, size: bigint, mask: bigint): bigint[] =>
  Array.from({ length: Number(size) + 1 }, (_, i) => (base + BigInt(i)) & mask);

const w = new Int32Array(16);
const boundValue = (query: (a: Int32Array, x: number) => void): bigint => {
  query(w, 0);
  return u64(BOUND, 0);
};
const least = (values: readonly bigint[]): bigint => values.reduce((a, b) => (a < b ? a : b));
const most = (values: readonly bigint[]): bigint => values.reduce((a, b) => (a > b ? a : b));
const fail = (...what: unknown[]): void => expect(what).toBe('right');

describe('cnum64 around every turn of the circle', () => {
  const all = arcs(TURNS_64, M64);

  it('bounds are those of the members, or all values where the arc wraps', () => {
    for (const [base, size] of all) {
      putArc(w, 0, base, size);
      const values = members(base, size, M64), signed = values.map(s64);
      const wraps = base + size > M64, wrapsSigned = s64(base) + size > (1n << 63n) - 1n;
      expect(boundValue(cnum64UMin)).toBe(wraps ? 0n : least(values));
      expect(boundValue(cnum64UMax)).toBe(wraps ? M64 : most(values));
      expect(s64(boundValue(cnum64SMin))).toBe(wrapsSigned ? -(1n << 63n) : least(signed));
      expect(s64(boundValue(cnum64SMax))).toBe(wrapsSigned ? (1n << 63n) - 1n : most(signed));
    }
  });

  it('sum, difference and negation hold all results and nothing else', () => {
    for (const [a, n] of all) {
      for (const [b, m] of all) {
        putArc(w, 0, a, n);
        putArc(w, 4, b, m);
        cnum64Add(w, 8, w, 0, w, 4);
        if (u64(w, 8) !== ((a + b) & M64) || u64(w, 10) !== n + m) fail('add', a, n, b, m);
        cnum64Sub(w, 8, w, 0, w, 4);
        if (u64(w, 8) !== ((a - b - m) & M64) || u64(w, 10) !== n + m) fail('sub', a, n, b, m);
      }
      cnum64Negate(w, 8, w, 0);
      for (const v of members(a, n, M64)) if (!inArc(w, 8, -v & M64)) fail('negate', a, n);
      expect(u64(w, 10)).toBe(n);
    }
  });

  it('intersections of small arcs are exact', () => {
    for (const [a, n] of all) {
      const own = members(a, n, M64);
      for (const [b, m] of all) {
        putArc(w, 0, a, n);
        putArc(w, 4, b, m);
        const common = own.filter((v) => inArc(w, 4, v));
        if (cnum64IsSubset(w, 4, w, 0) !== (common.length === own.length)) fail('subset', a, n, b, m);
        cnum64Intersect(w, 8, w, 0, w, 4);
        if (cnum64IsEmpty(w, 8) !== (common.length === 0)) fail('empty', a, n, b, m);
        if (common.length === 0) continue;
        if (u64(w, 10) !== BigInt(common.length) - 1n || !common.every((v) => inArc(w, 8, v))) fail('intersect', a, n, b, m);
      }
    }
  });

  it('two arcs that meet twice give the smaller one', () => {
    putArc(w, 0, 0n, M64 - 10n);
    putArc(w, 4, M64 - 20n, 40n);
    cnum64Intersect(w, 8, w, 0, w, 4);
    expect([u64(w, 8), u64(w, 10)]).toEqual([M64 - 20n, 40n]);
    cnum64Intersect(w, 8, w, 4, w, 0);
    expect([u64(w, 8), u64(w, 10)]).toEqual([M64 - 20n, 40n]);
  });

  it('a sum that covers the circle is unbounded', () => {
    putArc(w, 0, 5n, M64 - 3n);
    putArc(w, 4, 0n, 9n);
    cnum64Add(w, 8, w, 0, w, 4);
    expect([u64(w, 8), u64(w, 10)]).toEqual([0n, M64]);
  });

  it('narrowing by the low half keeps every member that fits', () => {
    const lows = arcs(TURNS_32, M32);
    for (const [a, n] of all.filter((_, i) => i % 2 === 0)) {
      for (const span of [n, n + (1n << 32n), n + (5n << 32n)]) {
        for (const [b, m] of lows.filter((_, i) => i % 3 === 0)) {
          putArc(w, 0, a, span);
          w.set([lo(b), lo(m)], 4);
          cnum64ClampSubreg(w, 0, w, 4);
          const fits = (v: bigint): boolean => ((v - a) & M64) <= span && inArc32(w, 4, v & M32);
          const probes = [...members(a, 20n, M64), ...members(a + span - 20n, 20n, M64), ...members((a & ~M32) | b, m, M64),
            ...members((((a >> 32n) + 1n) << 32n) | b, m, M64)].filter(fits);
          for (const v of probes) if (!inArc(w, 0, v)) fail('lost', a, span, b, m, v);
        }
      }
    }
  });

  it('ranges become arcs; the whole circle starts at 0', () => {
    cnum64FromUnsigned(w, 0, 5, 0, 4, 1);
    expect([u64(w, 0), u64(w, 2)]).toEqual([5n, 0xffffffffn]);
    cnum64FromSigned(w, 0, -5, -1, 3, 0);
    expect([u64(w, 0), u64(w, 2)]).toEqual([M64 - 4n, 8n]);
    cnum64FromSigned(w, 0, 0, -0x80000000, -1, 0x7fffffff);
    expect([u64(w, 0), u64(w, 2)]).toEqual([0n, M64]);
  });
});

describe('cnum32 around every turn of the circle', () => {
  const all = arcs(TURNS_32, M32);

  it('bounds, sums, differences, intersections and subsets are those of the members', () => {
    for (const [a, n] of all) {
      w.set([lo(a), lo(n)], 0);
      const own = members(a, n, M32), signed = own.map(s32);
      const wraps = a + n > M32, wrapsSigned = s32(a) + n > 0x7fffffffn;
      expect(BigInt(cnum32UMin(w, 0))).toBe(wraps ? 0n : least(own));
      expect(BigInt(cnum32UMax(w, 0))).toBe(wraps ? M32 : most(own));
      expect(BigInt(cnum32SMin(w, 0))).toBe(wrapsSigned ? -0x80000000n : least(signed));
      expect(BigInt(cnum32SMax(w, 0))).toBe(wrapsSigned ? 0x7fffffffn : most(signed));
      cnum32Negate(w, 4, w, 0);
      for (const v of own) if (!cnum32Contains(w, 4, lo(-v))) fail('negate', a, n);
      for (const [b, m] of all) {
        w.set([lo(b), lo(m)], 2);
        const common = own.filter((v) => inArc32(w, 2, v));
        cnum32Add(w, 4, w, 0, w, 2);
        if (w[4] !== lo(a + b) || w[5] !== lo(n + m)) fail('add', a, n, b, m);
        cnum32Sub(w, 4, w, 0, w, 2);
        if (w[4] !== lo(a - b - m) || w[5] !== lo(n + m)) fail('sub', a, n, b, m);
        if (cnum32IsSubset(w, 2, w, 0) !== (common.length === own.length)) fail('subset', a, n, b, m);
        cnum32Intersect(w, 4, w, 0, w, 2);
        if (cnum32IsEmpty(w, 4) !== (common.length === 0)) fail('empty', a, n, b, m);
        if (common.length > 0 && (w[5] !== common.length - 1 || !common.every((v) => inArc32(w, 4, v)))) fail('intersect', a, n, b, m);
      }
    }
  });

  it('the low half of a 64-bit arc is its arc, or unbounded from 2^32 values on', () => {
    putArc(w, 0, 0x1fffffff0n, 0x20n);
    cnum32FromCnum64(w, 4, w, 0);
    expect([w[4], w[5]]).toEqual([-16, 0x20]);
    putArc(w, 0, 7n, M32);
    cnum32FromCnum64(w, 4, w, 0);
    expect([w[4], w[5]]).toEqual([0, -1]);
    putArc(w, 0, 7n, M32 - 1n);
    cnum32FromCnum64(w, 4, w, 0);
    expect([w[4], w[5]]).toEqual([7, -2]);
  });

  it('ranges become arcs, and clamping leaves one point less', () => {
    cnum32FromSigned(w, 0, -3, 2);
    expect([w[0], w[1]]).toEqual([-3, 5]);
    cnum32FromUnsigned(w, 0, 10, 12);
    cnum32ClampArc(w, 0, 11, -2);
    expect([w[0], w[1]]).toEqual([11, 1]);
  });
});
