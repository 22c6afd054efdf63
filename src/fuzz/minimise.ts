/**
 * @module src/fuzz/minimise
 * The smallest input that is still the same finding. Owns the search; what is smaller is the target's business.
 */
import { executeGuarded } from './guard.ts';
import type { Finding, Target } from './types.ts';

/** Executions that one finding is worth. */
const MAX_TRIES = 4000;

/** What a search ended with. */
export interface Minimised<Input> {
  readonly input: Input;
  readonly finding: Finding;
  readonly tries: number;
}

/** What makes findings the same. */
export function keyOf({ oracle, trace }: Finding): string {
  return `${oracle}|${trace}`;
}

/**
 * Takes the first candidate that gives the same finding, again and again, until none does or `maxTries` executions are spent.
 *
 * @example
 * const { input } = minimise(target, input, finding);
 */
export function minimise<Input>(target: Target<Input>, start: Input, finding: Finding, maxTries: number = MAX_TRIES): Minimised<Input> {
  const wanted = keyOf(finding);
  let input = start;
  let last = finding;
  let tries = 0;
  const seen = new Set<string>();
  for (let found = true; found && tries < maxTries; ) {
    found = false;
    for (const candidate of target.shrink(input)) {
      const name = fingerprint(target.serialise(candidate));
      if (seen.has(name)) continue;
      seen.add(name);
      tries++;
      const now = executeGuarded(target, candidate, true);
      if (now !== undefined && keyOf(now) === wanted) {
        input = candidate;
        last = now;
        found = true;
      }
      if (found || tries >= maxTries) break;
    }
  }
  return { input, finding: last, tries };
}

function fingerprint(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 4096)) + bytes.length;
}
