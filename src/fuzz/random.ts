/**
 * @module src/fuzz/random
 * Deterministic random numbers: xoshiro128** (Blackman, Vigna: "Scrambled linear pseudorandom number generators"), seeded and split by
 * a 32-bit mix. The same seed gives the same numbers on every machine.
 */
import * as fc from 'fast-check';

/** murmur3's finaliser: every bit of the result depends on every bit of `x`. */
function mix(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * @example
 * const random = new Random(7);
 * random.pick(['a', 'b']);
 * const child = random.split(3); // independent of what `random` does from here on
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#a = mix(seed + 0x9e3779b9);
    this.#b = mix(this.#a + 0x9e3779b9);
    this.#c = mix(this.#b + 0x9e3779b9);
    this.#d = mix(this.#c + 0x9e3779b9) | 1;
  }

  /** Another source, decided by this one's seed and `label` only: not by what was drawn so far. */
  split(label: number): Random {
    return new Random(mix(this.#seed ^ mix(label + 0x51ed270b)));
  }

  /** A uint32. */
  next(): number {
    const result = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9);
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = rotate(this.#d, 11);
    return result >>> 0;
  }

  /** An integer in `[0, limit)`; `limit` 1…2^32. */
  below(limit: number): number {
    return Math.floor((this.next() / 4294967296) * limit);
  }

  /** An integer in `[min, max]`. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** An int32 that programs find interesting: small, a power of two and its neighbours, a sign boundary, or anything. */
  int32(): number {
    switch (this.below(6)) {
      case 0: return this.below(17) - 4;
      case 1: case 2: return ((1 << this.below(32)) + this.below(3) - 1) | 0;
      case 3: return -(1 << this.below(32)) | 0;
      case 4: return this.below(1 << 16) - (1 << 15);
      default: return this.next() | 0;
    }
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.next() & 0xff);
  }

  /** One value of a fast-check arbitrary. Slower than the rest by far: for structured inputs, not for inner loops. */
  sample<T>(arbitrary: fc.Arbitrary<T>): T {
    return fc.sample(arbitrary, { seed: this.next() | 0, numRuns: 1 })[0] as T;
  }
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}
