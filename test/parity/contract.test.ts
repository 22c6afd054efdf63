/**
 * The contract before 7.3 (the signature covers the instructions, the loader checks the hash of its metadata), as profile 6.18 has
 * it: recorded from Linux 7.2.12, the last kernel with that contract, and from 6.18.15, the first of Debian with it. Made by
 * test/parity/gen/contract-6.18.mjs.
 */
import { describe, expect, it } from 'vitest';
import { DISTRIBUTION_ALGORITHMS } from '../../crypto/algorithms.ts';
import { caseNames, replayed } from './replayed.ts';

describe.each([['contract-7.2.jsonl.gz', 70], ['contract-6.18.15.jsonl.gz', 33]])('%s', (file, count) => {
  const names = caseNames(file), differences = replayed(file, new Set(), { profile: '6.18', algorithms: DISTRIBUTION_ALGORITHMS });

  it(`has ${count} cases`, () => {
    expect(names.length).toBe(count);
  });

  it.each(names)('%s', (name) => {
    expect(differences(name)).toEqual([]);
  });
});
