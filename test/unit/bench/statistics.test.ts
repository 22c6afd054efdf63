import { describe, expect, it } from 'vitest';
import { estimateMedian, estimatePairedRatio, estimateRatio, fitGrowth, growthAt, type Point } from '../../../src/bench/statistics.ts';

/** Numbers from 0 to 1, the same every time. */
function random(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

/** A sample of a skewed distribution with median 1: most near it, a few far above. */
function skewed(count: number, next: () => number): number[] {
  return Array.from({ length: count }, () => 2 ** (3 * (next() - 0.5)));
}

const exactly = (size: number, value: number): Point => ({ size, seconds: { value, low: value, high: value } });
const SIZES = [10, 100, 1_000, 10_000, 100_000, 1_000_000];

describe('medians', () => {
  it('are in the middle of an interval that holds them', () => {
    expect(estimateMedian([3, 1, 2])).toEqual({ value: 2, low: 1, high: 3 });
    expect(estimateMedian([5])).toEqual({ value: 5, low: 5, high: 5 });
    expect(estimateMedian([]).value).toBeNaN();
  });

  it('have intervals that hold the true median about 95 times of 100', () => {
    let held = 0;
    for (let seed = 1; seed <= 400; seed++) {
      const { low, high } = estimateMedian(skewed(25, random(seed * 7)));
      if (low <= 1 && 1 <= high) held++;
    }
    expect(held / 400).toBeGreaterThan(0.92);
    expect(held / 400).toBeLessThan(1);
  });

  it('are not moved by a few samples that something disturbed', () => {
    const calm = Array.from({ length: 21 }, (_, i) => 1 + i / 1000);
    expect(estimateMedian([...calm, 50, 90]).value).toBeCloseTo(estimateMedian(calm).value, 2);
  });
});

describe('ratios', () => {
  it('tell a change from noise', () => {
    const next = random(5), before = skewed(40, next), same = skewed(40, next);
    const noise = estimateRatio(same, before), change = estimateRatio(same.map((value) => value * 4), before);
    expect(noise.low).toBeLessThanOrEqual(1);
    expect(noise.high).toBeGreaterThanOrEqual(1);
    expect(change.low).toBeGreaterThan(1);
  });

  it('are the same each time from the same samples', () => {
    const samples = skewed(30, random(9));
    expect(estimateRatio(samples, samples)).toEqual(estimateRatio(samples, samples));
    expect(estimateRatio(samples, samples).value).toBe(1);
  });

  it('of pairs do not see what disturbs both of a pair', () => {
    const next = random(3), pairs = Array.from({ length: 31 }, (): readonly [number, number] => {
      const load = 1 + 10 * next();
      return [1.25 * load, load];
    });
    const { value, low, high } = estimatePairedRatio(pairs);
    for (const number of [value, low, high]) expect(number).toBeCloseTo(1.25, 9);
  });
});

describe('growth', () => {
  it.each([0.5, 1, 1.5, 2])('to the power %d is found above a constant', (power) => {
    const fit = fitGrowth(SIZES.map((size) => exactly(size, 2e-4 + 3e-9 * size ** power)), 'above a constant');
    expect(fit?.exponent.value).toBeCloseTo(power, 2);
    expect(fit?.constant).toBeCloseTo(2e-4, 5);
    expect(growthAt(fit!, 5_000)).toBeCloseTo(2e-4 + 3e-9 * 5_000 ** power, 5);
  });

  it('that is none is 0, with an interval around it', () => {
    const next = random(11), fit = fitGrowth(SIZES.map((size) => exactly(size, 1e-4 * (0.97 + 0.06 * next()))), 'straight');
    expect(Math.abs(fit?.exponent.value ?? 1)).toBeLessThan(0.02);
    expect(fit?.exponent.low).toBeLessThan(0);
    expect(fit?.exponent.high).toBeGreaterThan(0);
  });

  it('has intervals that hold the true power in nearly all of many disturbed runs', () => {
    let held = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const next = random(seed * 31), fit = fitGrowth(SIZES.map((size) => exactly(size, (1e-5 + 1e-7 * size) * (0.9 + 0.2 * next()))), 'above a constant');
      if (fit !== undefined && fit.exponent.low <= 1 && fit.exponent.high >= 1) held++;
    }
    expect(held).toBeGreaterThan(50);
  });

  it('is not told from fewer sizes than it takes', () => {
    expect(fitGrowth([exactly(1, 1), exactly(2, 2), exactly(3, 3)], 'above a constant')).toBeUndefined();
    expect(fitGrowth([exactly(1, 0), exactly(2, 0), exactly(4, 0), exactly(8, 0)], 'above a constant')).toBeUndefined();
  });

  it('is not more certain than its points', () => {
    const vague = (size: number): Point => ({ size, seconds: { value: size, low: size * 0.5, high: size * 1.5 } });
    const sure = fitGrowth(SIZES.map((size) => exactly(size, size)), 'above a constant'), unsure = fitGrowth(SIZES.map(vague), 'above a constant');
    expect(unsure!.exponent.high - unsure!.exponent.low).toBeGreaterThan(10 * (sure!.exponent.high - sure!.exponent.low));
  });
});
