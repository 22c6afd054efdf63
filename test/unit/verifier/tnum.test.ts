import { describe, expect, it } from 'vitest';
import {
  STEP, tnumAdd, tnumAnd, tnumArsh, tnumByteSwap, tnumCast, tnumIn, tnumIntersect, tnumIsAligned, tnumLsh, tnumMul, tnumOr, tnumOverlap,
  tnumRange, tnumRsh, tnumStep, tnumSub, tnumUnion, tnumXor,
} from '../../../verifier/tnum.ts';
import { M64, allTnums, hi, inTnum, lo, putTnum, s64, u64 } from './scalar-support.ts';

type Binary = (d: Int32Array, o: number, a: Int32Array, x: number, b: Int32Array, y: number) => void;

/** Value and mask of the smallest tnum that holds all results. */
function hull(results: readonly bigint[]): [bigint, bigint] {
  let value = results[0]!, mask = 0n;
  for (const r of results) mask |= r ^ value;
  value &= ~mask & M64;
  return [value, mask];
}

const w = new Int32Array(12);
/** A comparison that costs little while it holds. */
function same(o: number, [value, mask]: [bigint, bigint], ...context: unknown[]): void {
  if (u64(w, o) !== value || u64(w, o + 2) !== mask) expect([u64(w, o), u64(w, o + 2), ...context]).toEqual([value, mask, ...context]);
}

/** Runs `op` over all pairs of `width`-bit tnums placed at `shift`; `optimal` demands the smallest sound answer. */
function everyPair(width: number, shift: number, op: Binary, concrete: (a: bigint, b: bigint) => bigint, optimal: boolean): void {
  const all = allTnums(width, shift);
  for (const a of all) {
    putTnum(w, 0, a.value, a.mask);
    for (const b of all) {
      putTnum(w, 4, b.value, b.mask);
      op(w, 8, w, 0, w, 4);
      const results = a.members.flatMap((x) => b.members.map((y) => concrete(x, y) & M64));
      if (optimal) {
        const [value, mask] = hull(results);
        if (u64(w, 8) !== value || u64(w, 10) !== mask) expect([a, b, u64(w, 8), u64(w, 10)]).toEqual([a, b, value, mask]);
      } else for (const r of results) if (!inTnum(w, 8, r)) expect([a, b, r]).toBe('inside');
    }
  }
}

describe('tnum, all inputs of small widths', () => {
  // shifts: low bits, across the middle of the pair of words, and at the top, where sums wrap
  for (const [width, shift] of [[4, 0], [3, 30], [4, 60]] as const) {
    const at = `${width} bits at ${shift}`;
    it(`add is sound and optimal: ${at}`, () => everyPair(width, shift, tnumAdd, (a, b) => a + b, true));
    it(`sub is sound and optimal: ${at}`, () => everyPair(width, shift, tnumSub, (a, b) => a - b, true));
    it(`and, or, xor are sound and optimal: ${at}`, () => {
      everyPair(width, shift, tnumAnd, (a, b) => a & b, true);
      everyPair(width, shift, tnumOr, (a, b) => a | b, true);
      everyPair(width, shift, tnumXor, (a, b) => a ^ b, true);
    });
    it(`mul is sound: ${at}`, () => everyPair(Math.min(width, 4), shift, tnumMul, (a, b) => a * b, false));
    it(`mul of constants is exact: ${at}`, () => {
      for (const a of allTnums(width, shift)) {
        if (a.mask !== 0n) continue;
        putTnum(w, 0, a.value, 0n);
        putTnum(w, 4, a.value ^ 0x123456789abcdef1n, 0n);
        tnumMul(w, 8, w, 0, w, 4);
        expect(u64(w, 8)).toBe((a.value * (a.value ^ 0x123456789abcdef1n)) & M64);
      }
    });
    it(`union is the hull, intersection the common members, overlap tells whether there are any: ${at}`, () => {
      const all = allTnums(width, shift);
      for (const a of all) {
        for (const b of all) {
          putTnum(w, 0, a.value, a.mask);
          putTnum(w, 4, b.value, b.mask);
          tnumUnion(w, 8, w, 0, w, 4);
          same(8, hull([...a.members, ...b.members]));
          const common = a.members.filter((m) => inTnum(w, 4, m));
          expect(tnumOverlap(w, 0, w, 4)).toBe(common.length > 0);
          expect(tnumIn(w, 0, w, 4)).toBe(common.length === b.members.length);
          if (common.length === 0) continue;
          tnumIntersect(w, 8, w, 0, w, 4);
          same(8, hull(common));
        }
      }
    });
    it(`step finds the next member: ${at}`, () => {
      for (const a of allTnums(width, shift)) {
        putTnum(w, 0, a.value, a.mask);
        const sorted = a.members.toSorted((x, y) => (x < y ? -1 : 1));
        for (let z = 0n; z < 1n << BigInt(width); z++) {
          for (const bias of [0n, 1n]) {
            const from = (z << BigInt(shift)) + bias;
            tnumStep(w, 0, lo(from), hi(from));
            const above = from < sorted[0]! ? sorted[0]! : (sorted.find((m) => m > from) ?? sorted.at(-1)!);
            if (u64(STEP, 0) !== above) expect([a, from, u64(STEP, 0)]).toBe(above);
          }
        }
      }
    });
  }

  it('shifts move every member, for every count', () => {
    for (const place of [0, 29, 60]) {
      for (const a of allTnums(4, place)) {
        putTnum(w, 0, a.value, a.mask);
        for (let by = 0; by < 64; by++) {
          const n = BigInt(by);
          tnumLsh(w, 4, w, 0, by);
          same(4, hull(a.members.map((m) => (m << n) & M64)));
          tnumRsh(w, 4, w, 0, by);
          same(4, hull(a.members.map((m) => m >> n)));
          tnumArsh(w, 4, w, 0, by, 64);
          same(4, hull(a.members.map((m) => (s64(m) >> n) & M64)));
        }
      }
    }
  });

  it('arithmetic shifts of the low half keep to 32 bits', () => {
    for (const a of allTnums(4, 28)) {
      putTnum(w, 0, a.value, a.mask);
      for (let by = 0; by < 32; by++) {
        tnumArsh(w, 4, w, 0, by, 32);
        same(4, hull(a.members.map((m) => BigInt.asUintN(32, BigInt.asIntN(32, m) >> BigInt(by)))));
      }
    }
  });

  it('a range is the smallest tnum over it', () => {
    for (const start of [0n, 0xfffffff8n, M64 - 31n]) {
      for (let min = 0n; min < 16n; min++) {
        for (let max = min; max < 16n; max++) {
          tnumRange(w, 0, lo(start + min), hi(start + min), lo(start + max), hi(start + max));
          // leading bits that both ends share are known, all below are not: only that much can a prefix say
          const differ = (start + min) ^ (start + max);
          const mask = differ === 0n ? 0n : (1n << BigInt(differ.toString(2).length)) - 1n;
          expect([u64(w, 0), u64(w, 2)]).toEqual([(start + min) & ~mask, mask]);
        }
      }
    }
  });

  it('casts, alignment and byte swaps follow the members', () => {
    const swap = (v: bigint, bytes: number): bigint => {
      let out = 0n;
      for (let i = 0; i < bytes; i++) out |= ((v >> BigInt(8 * i)) & 0xffn) << BigInt(8 * (bytes - 1 - i));
      return out;
    };
    for (const place of [0, 6, 14, 30, 59]) {
      for (const a of allTnums(4, place)) {
        putTnum(w, 0, a.value, a.mask);
        for (const bits of [8, 16, 32, 64]) {
          tnumCast(w, 4, w, 0, bits);
          same(4, hull(a.members.map((m) => BigInt.asUintN(bits, m))));
        }
        for (const bits of [16, 32, 64] as const) {
          tnumByteSwap(w, 4, w, 0, bits);
          same(4, hull(a.members.map((m) => swap(m, bits / 8))));
        }
        for (const size of [0, 1, 2, 4, 8]) {
          expect(tnumIsAligned(w, 0, size)).toBe(a.members.every((m) => size === 0 || m % BigInt(size) === 0n));
        }
      }
    }
  });
});
