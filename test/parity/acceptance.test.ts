/**
 * The signing contract, row by row: every sequence of calls was performed on Linux 7.3.4 (test/parity/gen/acceptance.mjs), and is
 * performed here byte for byte on ours. Everything has to agree: results, errors, logs, contents, what a hook sees.
 */
import { describe, expect, it } from 'vitest';
import { caseNames, replayed } from './replayed.ts';

const names = caseNames('acceptance.jsonl');
const differences = replayed('acceptance.jsonl');
const ROWS = 30;

/** Cases that differ, and why. `it.fails`: a case fails here on the day on which it agrees, and then leaves the list. */
const DIVERGENCES: Readonly<Record<string, string>> = {};

describe('the signing contract', () => {
  it('has all its rows', () => {
    expect(new Set(names.map((name) => Number(name.slice(0, 2))))).toEqual(new Set(Array.from({ length: ROWS }, (_, i) => i + 1)));
  });

  for (const name of names) {
    (DIVERGENCES[name] === undefined ? it : it.fails)(name, () => {
      expect(differences(name)).toEqual([]);
    });
  }
});
