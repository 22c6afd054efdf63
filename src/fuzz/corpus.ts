/**
 * @module src/fuzz/corpus
 * Inputs that reached something new, in the order in which they were found; which of them to change next; which of them are enough to reach
 * everything. Owns the collection in memory; files are `src/node/fuzz-corpus.ts`.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { Feature } from './coverage.ts';
import type { Random } from './random.ts';

/** One member. */
export interface CorpusEntry {
  readonly bytes: Uint8Array;
  /** What it reached first. */
  readonly features: readonly Feature[];
}

/** Name of an input by its content: what its file is called, and what digests of a corpus are made of. */
export function nameOf(bytes: Uint8Array): string {
  return bytesToHex(sha256(bytes)).slice(0, 16);
}

/** One digest over a whole corpus, whatever its order. */
export function corpusDigest(entries: readonly { readonly bytes: Uint8Array }[]): string {
  const names = entries.map(({ bytes }) => nameOf(bytes)).toSorted();
  return bytesToHex(sha256(new TextEncoder().encode(names.join('\n')))).slice(0, 16);
}

/** Picks a member of a list that grows at its end: half of the time any, otherwise one of the newest eighth. */
export function pickEntry<T>(list: readonly T[], random: Random): T | undefined {
  if (list.length === 0) return undefined;
  if (random.oneIn(2)) return random.pick(list);
  const newest = Math.max(1, list.length >> 3);
  return list[list.length - 1 - random.below(newest)];
}

/** An input with all that it reaches. */
export interface Traced {
  readonly bytes: Uint8Array;
  readonly features: readonly Feature[];
  readonly size: number;
}

/**
 * The fewest inputs, small ones first, that reach everything all of them reach: greedy, feature by feature from the rarest on.
 * The result keeps the order of the list.
 */
export function distil<T extends Traced>(inputs: readonly T[]): readonly T[] {
  const holders = new Map<Feature, number[]>();
  for (const [index, { features }] of inputs.entries()) {
    for (const feature of features) {
      const list = holders.get(feature);
      if (list === undefined) holders.set(feature, [index]);
      else list.push(index);
    }
  }
  const order = [...holders.entries()].sort(([a, of], [b, others]) => of.length - others.length || a - b);
  const covered = new Set<Feature>();
  const kept = new Set<number>();
  for (const [feature, candidates] of order) {
    if (covered.has(feature)) continue;
    let best = candidates[0]!;
    for (const index of candidates) if (inputs[index]!.size < inputs[best]!.size) best = index;
    kept.add(best);
    for (const reached of inputs[best]!.features) covered.add(reached);
  }
  return inputs.filter((_, index) => kept.has(index));
}
