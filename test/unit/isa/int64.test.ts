import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as I from '../../../isa/int64.ts';

const U64 = (1n << 64n) - 1n;
const MIN = -(1n << 63n);

/** Values around every boundary a 64-bit routine can get wrong. */
const EDGES: readonly bigint[] = [0n, 1n, 2n, 3n, 5n, 7n, 10n, 16n, 31n, 32n, 33n, 63n, 64n, 127n, 255n, 65535n, 65536n, 65537n,
  0x7fffffffn, 0x80000000n, 0x80000001n, 0xffffffffn, 0x100000000n, 0x100000001n, 0x1fffffffffffffn, 0x20000000000000n,
  0x20000000000001n, 0x7fffffffffffffffn, 0x8000000000000000n, 0x8000000000000001n, 0xfffffffffffffffen, U64, 0xffffffff00000000n,
  0xffffffff00000001n, 0x123456789abcdef0n, 0xfedcba9876543210n, 0xffff0000ffff0000n, 0x0000ffff0000ffffn];

const out = new Int32Array(4);
const u64 = fc.oneof(fc.constantFrom(...EDGES), fc.bigInt({ min: 0n, max: U64 }), fc.bigInt({ min: 0n, max: 0xffffffffn }));

type Binary = (o: Int32Array, at: number, alo: number, ahi: number, blo: number, bhi: number) => void;

function apply(f: Binary, a: bigint, b: bigint): bigint {
  f(out, 1, I.lowWord(a), I.highWord(a), I.lowWord(b), I.highWord(b));
  return I.toBigUint(out[1]!, out[2]!);
}

function applyInPlace(f: Binary, a: bigint, b: bigint): bigint {
  const words = new Int32Array(4);
  I.fromBigInt(words, 0, a);
  I.fromBigInt(words, 2, b);
  f(words, 0, words[0]!, words[1]!, words[2]!, words[3]!);
  return I.toBigUint(words[0]!, words[1]!);
}

const s = (x: bigint): bigint => BigInt.asIntN(64, x);
const binaries: Record<string, [Binary, (a: bigint, b: bigint) => bigint]> = {
  add64: [I.add64, (a, b) => a + b],
  sub64: [I.sub64, (a, b) => a - b],
  mul64: [I.mul64, (a, b) => a * b],
  divU64: [I.divU64, (a, b) => (b === 0n ? 0n : a / b)],
  modU64: [I.modU64, (a, b) => (b === 0n ? a : a % b)],
  divS64: [I.divS64, (a, b) => (b === 0n ? 0n : s(a) / s(b))],
  modS64: [I.modS64, (a, b) => (b === 0n ? a : s(a) % s(b))],
};

describe('binary operations agree with BigInt', () => {
  for (const [name, [ours, theirs]] of Object.entries(binaries)) {
    it(`${name} on every pair of edge values`, () => {
      for (const a of EDGES) {
        for (const b of EDGES) {
          const want = theirs(a, b) & U64;
          expect(apply(ours, a, b), `${a} ${b}`).toBe(want);
          expect(applyInPlace(ours, a, b), `${a} ${b}`).toBe(want);
        }
      }
    });
    it(`${name} on random values`, () => {
      fc.assert(fc.property(u64, u64, (a, b) => apply(ours, a, b) === (theirs(a, b) & U64)), { numRuns: 2000 });
    });
  }
});

describe('division near its hard cases', () => {
  it('quotients next to an integer, divisors of two words', () => {
    fc.assert(fc.property(fc.bigInt({ min: 1n << 32n, max: U64 }), fc.bigInt({ min: 0n, max: 0xffffffffn }), fc.bigInt({ min: -2n, max: 2n }),
      (b, q, delta) => {
        const a = b * q + delta;
        if (a < 0n || a > U64) return true;
        return apply(I.divU64, a, b) === a / b && apply(I.modU64, a, b) === a % b;
      }), { numRuns: 3000 });
  });
  it('the least value divided by -1 is itself, with no rest', () => {
    expect(apply(I.divS64, MIN & U64, U64)).toBe(MIN & U64);
    expect(apply(I.modS64, MIN & U64, U64)).toBe(0n);
  });
});

describe('shifts', () => {
  it('agree with BigInt for every count, counts above 63 taken modulo 64', () => {
    for (const a of EDGES) {
      const lo = I.lowWord(a);
      const hi = I.highWord(a);
      for (let n = 0; n < 130; n++) {
        const count = BigInt(n & 63);
        I.shl64(out, 0, lo, hi, n);
        expect(I.toBigUint(out[0]!, out[1]!)).toBe((a << count) & U64);
        I.shr64(out, 0, lo, hi, n);
        expect(I.toBigUint(out[0]!, out[1]!)).toBe(a >> count);
        I.sar64(out, 0, lo, hi, n);
        expect(I.toBigUint(out[0]!, out[1]!)).toBe((s(a) >> count) & U64);
      }
    }
  });
});

describe('comparisons, negation, conversion, text', () => {
  it('agree with BigInt on every pair of edge values', () => {
    for (const a of EDGES) {
      for (const b of EDGES) {
        const words = [I.lowWord(a), I.highWord(a), I.lowWord(b), I.highWord(b)] as const;
        expect(I.eq64(...words)).toBe(a === b);
        expect(I.ltU64(...words)).toBe(a < b);
        expect(I.leU64(...words)).toBe(a <= b);
        expect(I.ltS64(...words)).toBe(s(a) < s(b));
        expect(I.leS64(...words)).toBe(s(a) <= s(b));
        expect(I.compareU64(...words)).toBe(a < b ? -1 : a > b ? 1 : 0);
        expect(I.compareS64(...words)).toBe(s(a) < s(b) ? -1 : s(a) > s(b) ? 1 : 0);
      }
    }
  });
  it('agree with BigInt on random values', () => {
    fc.assert(fc.property(u64, (a) => {
      const lo = I.lowWord(a);
      const hi = I.highWord(a);
      I.neg64(out, 0, lo, hi);
      expect(I.toBigUint(out[0]!, out[1]!)).toBe(-a & U64);
      expect(I.toBigUint(lo, hi)).toBe(a);
      expect(I.toBigInt(lo, hi)).toBe(s(a));
      expect(I.formatHex(lo, hi)).toBe(a.toString(16));
      expect(I.formatU64(lo, hi)).toBe(a.toString());
      expect(I.formatS64(lo, hi)).toBe(s(a).toString());
      expect(I.toNumberU(lo, hi)).toBe(Number(a));
      expect(I.toNumberS(lo, hi)).toBe(Number(s(a)));
    }), { numRuns: 3000 });
  });
  it('splits doubles into words', () => {
    fc.assert(fc.property(fc.maxSafeInteger(), (n) => I.toBigInt(I.lowOfNumber(n), I.highOfNumber(n)) === BigInt(n)));
  });
  it('multiplies words and swaps their bytes', () => {
    fc.assert(fc.property(fc.integer(), fc.integer(), (a, b) => {
      const product = BigInt(a >>> 0) * BigInt(b >>> 0);
      const view = new DataView(new ArrayBuffer(4));
      view.setInt32(0, a, true);
      return I.mulHigh32(a, b) === Number(BigInt.asIntN(32, product >> 32n)) && I.bswap32(a) === view.getInt32(0, false);
    }));
  });
});
