/**
 * @module src/fuzz/coverage
 * What a run reached: a map of counters by edge or state, as AFL has it (counts fall into buckets: 1, 2, 3, 4–7, 8–15, 16–31, 32–127, 128 and
 * more), and what all runs reached. Owns the maps; who reports what is the targets' business.
 */

/** Different ids that a map tells apart; others fall together. */
export const MAP_SIZE: number = 1 << 16;
const ID_MASK = MAP_SIZE - 1;

/** Bucket of each count, as one bit. */
const BUCKETS = Uint8Array.from({ length: 256 }, (_, count) =>
  count === 0 ? 0 : count < 4 ? 1 << (count - 1) : count < 8 ? 8 : count < 16 ? 16 : count < 32 ? 32 : count < 128 ? 64 : 128);

/** An id and the bucket of its count: `id << 8 | bucketBit`. */
export type Feature = number;

/** Counters of one run. */
export class Coverage {
  readonly #counts: Uint8Array = new Uint8Array(MAP_SIZE);
  readonly #touched: Uint32Array = new Uint32Array(MAP_SIZE);
  #count = 0;
  #isOn = true;

  /** An edge or state was reached. Any int32 is an id; its low 16 bits count. */
  readonly hit = (id: number): void => {
    if (!this.#isOn) return;
    const at = id & ID_MASK;
    const count = this.#counts[at]!;
    if (count === 0) this.#touched[this.#count++] = at;
    if (count < 255) this.#counts[at] = count + 1;
  };

  /** A state was reached; how often does not matter. */
  readonly mark = (id: number): void => {
    if (!this.#isOn) return;
    const at = id & ID_MASK;
    if (this.#counts[at] !== 0) return;
    this.#touched[this.#count++] = at;
    this.#counts[at] = 1;
  };

  /** Stops counting, or goes on: what an oracle does besides must not look like the input's own doing. */
  listen(isOn: boolean): void {
    this.#isOn = isOn;
  }

  /** Forgets the run. */
  reset(): void {
    this.#isOn = true;
    for (let i = 0; i < this.#count; i++) this.#counts[this.#touched[i]!] = 0;
    this.#count = 0;
  }

  /** What the run reached that `known` does not have; `undefined` for nothing. */
  newTo(known: CoverageMap): readonly Feature[] | undefined {
    let out: Feature[] | undefined;
    for (let i = 0; i < this.#count; i++) {
      const id = this.#touched[i]!;
      const bucket = BUCKETS[this.#counts[id]!]!;
      if (known.lacks(id, bucket)) (out ??= []).push((id << 8) | bucket);
    }
    return out;
  }

  /** All that the run reached. */
  features(): readonly Feature[] {
    return this.newTo(NOTHING) ?? [];
  }
}

/** What runs have reached together. */
export class CoverageMap {
  readonly #buckets: Uint8Array;
  #edges = 0;
  #features = 0;

  constructor(from?: CoverageMap) {
    this.#buckets = from === undefined ? new Uint8Array(MAP_SIZE) : from.#buckets.slice();
    this.#edges = from === undefined ? 0 : from.#edges;
    this.#features = from === undefined ? 0 : from.#features;
  }

  lacks(id: number, bucket: number): boolean {
    return (this.#buckets[id]! & bucket) === 0;
  }

  has(feature: Feature): boolean {
    return !this.lacks(feature >>> 8, feature & 0xff);
  }

  /** Adds features; true if one of them is new. */
  add(features: readonly Feature[]): boolean {
    let isNew = false;
    for (const feature of features) {
      if (this.has(feature)) continue;
      const id = feature >>> 8;
      if (this.#buckets[id] === 0) this.#edges++;
      this.#buckets[id]! |= feature & 0xff;
      this.#features++;
      isNew = true;
    }
    return isNew;
  }

  /** Ids that were reached. */
  get edges(): number {
    return this.#edges;
  }

  /** Ids with buckets that were reached. */
  get features(): number {
    return this.#features;
  }
}

const NOTHING = new CoverageMap();

/** FNV-1a over small integers: an id for a combination. */
export function combine(a: number, b: number, c = 0, d = 0): number {
  let h = 0x811c9dc5;
  h = Math.imul(h ^ a, 0x01000193);
  h = Math.imul(h ^ b, 0x01000193);
  h = Math.imul(h ^ c, 0x01000193);
  h = Math.imul(h ^ d, 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}
