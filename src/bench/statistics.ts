/**
 * @module src/bench/statistics
 * What can be said from samples: medians with intervals, ratios, growth. Every interval is for 95 %. Owns the methods; takes no
 * measurement. Nothing here is random but by a seed, so that a report made twice from the same samples is the same.
 */
import { medianSorted, quantileSorted, sampleWithReplacement } from 'simple-statistics';

/** A value and the interval around it. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** How time grows with size: `constant + factor * size ** exponent`. */
export interface Growth {
  readonly exponent: Estimate;
  /** Seconds that every size costs. */
  readonly constant: number;
  readonly factor: number;
  /** Typical relative distance of a point from the curve. */
  readonly error: number;
}

/** Two-sided 95 % quantiles of Student's t by degrees of freedom, 1 to 30 (NIST/SEMATECH e-Handbook, 1.3.6.7.2). */
const T95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08,
  2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
] as const;
const NORMAL95 = 1.96;
const RESAMPLES = 400;

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

/** Quantile of Student's t. */
function studentT(degrees: number): number {
  return degrees < 1 ? Infinity : T95[degrees - 1] ?? NORMAL95;
}

/** xorshift32 from 0 to 1. */
function seeded(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * The median, with the interval between two of the sorted samples that holds the true median whatever the distribution is (binomial
 * ranks, Conover, Practical Nonparametric Statistics 3.2). With fewer than six samples that is all of them.
 *
 * @example estimateMedian([3, 1, 2]); // { value: 2, low: 1, high: 3 }
 */
export function estimateMedian(samples: readonly number[]): Estimate {
  if (samples.length === 0) return { value: NaN, low: NaN, high: NaN };
  const sorted = ascending(samples), n = sorted.length, reach = NORMAL95 * Math.sqrt(n) / 2;
  const low = Math.max(0, Math.floor(n / 2 - reach) - (n < 6 ? n : 0)), high = n < 6 ? n - 1 : Math.min(n - 1, Math.ceil(n / 2 + reach));
  return { value: medianSorted(sorted), low: sorted[low] ?? NaN, high: sorted[high] ?? NaN };
}

/** The ratio of two medians of separate samples; the interval by resampling both. */
export function estimateRatio(now: readonly number[], before: readonly number[]): Estimate {
  if (now.length === 0 || before.length === 0) return { value: NaN, low: NaN, high: NaN };
  const random = seeded(now.length * 7919 + before.length);
  const median = (samples: readonly number[]): number => medianSorted(ascending(samples));
  const value = median(now) / median(before);
  const ratios = ascending(Array.from({ length: RESAMPLES }, () => (
    median(sampleWithReplacement([...now], now.length, random)) / median(sampleWithReplacement([...before], before.length, random)))));
  return { value, low: Math.min(value, quantileSorted(ratios, 0.025)), high: Math.max(value, quantileSorted(ratios, 0.975)) };
}

/** The ratio of measurements that were taken in pairs: the median of the pairs' own ratios. */
export function estimatePairedRatio(pairs: readonly (readonly [number, number])[]): Estimate {
  return estimateMedian(pairs.map(([first, second]) => first / second));
}

/** A measured size. */
export interface Point {
  readonly size: number;
  readonly seconds: Estimate;
}

interface Fit {
  readonly constant: number;
  readonly factor: number;
  /** Mean square of relative distances. */
  readonly sum: number;
}

/** The best `constant + factor * size ** exponent` for one exponent, by relative distance; neither is below zero. */
function fitWith(points: readonly Point[], exponent: number, hasConstant: boolean): Fit {
  let s11 = 0, s1p = 0, spp = 0, s1 = 0, sp = 0;
  // Divided by the time: a distance of one tenth counts the same at every size.
  for (const { size, seconds: { value } } of points) {
    const one = 1 / value, power = size ** exponent / value;
    s11 += one * one;
    s1p += one * power;
    spp += power * power;
    s1 += one;
    sp += power;
  }
  const determinant = s11 * spp - s1p * s1p;
  let constant = hasConstant && determinant > 0 ? (s1 * spp - sp * s1p) / determinant : 0;
  let factor = hasConstant && determinant > 0 ? (s11 * sp - s1p * s1) / determinant : sp / spp;
  if (constant < 0) [constant, factor] = [0, sp / spp];
  if (factor < 0) [constant, factor] = [s1 / s11, 0];
  const sum = points.reduce((total, { size, seconds: { value } }) => total + ((constant + factor * size ** exponent - value) / value) ** 2, 0);
  return { constant, factor, sum };
}

const STEP = 0.001, LOWEST = -0.5, HIGHEST = 3;

/**
 * Fits growth to points of at least four sizes. The interval holds every exponent with which the curve misses the points by not
 * significantly more than the best one does (profile of the sum of squares, F with 1 and n - p degrees); points are never taken to be
 * more certain than their own intervals say.
 *
 * @param model `above a constant` for what has a fixed cost too, `straight` for what may not grow at all
 * @example fitGrowth(points, 'above a constant')?.exponent.value; // 1.02
 */
export function fitGrowth(points: readonly Point[], model: 'above a constant' | 'straight'): Growth | undefined {
  const usable = points.filter(({ size, seconds: { value } }) => size > 0 && value > 0);
  const hasConstant = model === 'above a constant', degrees = usable.length - (hasConstant ? 3 : 2);
  if (degrees < 1) return undefined;
  // Sizes relative to the middle one keep the sums well scaled.
  const scale = Math.exp(usable.reduce((sum, { size }) => sum + Math.log(size), 0) / usable.length);
  const scaled = usable.map(({ size, seconds }) => ({ size: size / scale, seconds }));
  const profile: { readonly exponent: number; readonly fit: Fit }[] = [];
  for (let exponent = LOWEST; exponent <= HIGHEST; exponent += STEP) {
    // A power near 0 and a constant are one and the same.
    if (hasConstant && Math.abs(exponent) < 0.05) continue;
    profile.push({ exponent, fit: fitWith(scaled, exponent, hasConstant) });
  }
  const best = profile.reduce((least, next) => (next.fit.sum < least.fit.sum ? next : least));
  const noise = usable.reduce((sum, { seconds: { value, low, high } }) => sum + ((high - low) / 2 / NORMAL95 / value) ** 2, 0) / usable.length;
  const variance = Math.max(best.fit.sum / degrees, noise), limit = best.fit.sum + variance * studentT(degrees) ** 2;
  const within = profile.filter(({ fit }) => fit.sum <= limit);
  return {
    exponent: { value: best.exponent, low: within[0]?.exponent ?? best.exponent, high: within.at(-1)?.exponent ?? best.exponent },
    constant: best.fit.constant, factor: best.fit.factor / scale ** best.exponent, error: Math.sqrt(best.fit.sum / usable.length),
  };
}

/** The fitted time at a size. */
export function growthAt({ constant, factor, exponent }: Growth, size: number): number {
  return constant + factor * size ** exponent.value;
}
