/**
 * Programs and loads recorded from Linux 7.3.4 (test/parity/gen): historical bugs, signing at its edges, random programs, small C
 * programs of every type, calls of every helper from every kind of program, every fixture's loader with its log. Everything has to agree: results, errors, whole logs, test runs.
 */
import { describe, expect, it } from 'vitest';
import { caseNames, replayed } from './replayed.ts';

/** A million instructions each: replayed by `node .ci/parity.mjs`, too slow here. */
const TOO_SLOW: ReadonlySet<string> = new Set(['CVE-2024-45020', 'logic/loop_unbounded']);

/** Cases that differ, and why. `it.fails`: a case fails here on the day on which it agrees, and then leaves the list. */
const DIVERGENCES: Readonly<Record<string, string>> = {};

/** How many cases each file has: a case that silently went missing fails. */
const FILES: Readonly<Record<string, number>> = {
  'regressions.jsonl.gz': 157,
  'heldout.jsonl.gz': 240,
  'heldout-objects.jsonl.gz': 150,
  'flips-fixtures.jsonl.gz': 8,
  'loaders.jsonl.gz': 45,
  'helper-args.jsonl.gz': 69,
  'attach-programs.jsonl.gz': 24,
  'fields.jsonl.gz': 302,
  'graph.jsonl.gz': 9,
  'special-objects.jsonl.gz': 18,
  'struct-ops.jsonl.gz': 7,
};

describe.each(Object.entries(FILES))('%s', (file, count) => {
  const names = caseNames(file);
  const differences = replayed(file, TOO_SLOW);

  it(`has ${count} cases`, () => {
    expect(names.length).toBe(count);
  });

  for (const name of names.filter((each) => !TOO_SLOW.has(each))) {
    (DIVERGENCES[name] === undefined ? it : it.fails)(name, () => {
      expect(differences(name)).toEqual([]);
    });
  }
});
