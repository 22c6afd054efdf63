/**
 * Signatures and certificates changed at random get the answers that Linux 7.3.4 gave. Data: test/parity/data/mutations.jsonl.gz,
 * the first 1500 cases of `gen/mutations.mjs 12345 6000`; all 6000 agreed when they were recorded. By
 * default every third is tried; BPFTWIN_FLIPS=all tries all.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setProvider } from '../../crypto/provider.ts';
import { createNodeProvider } from '../../src/node/native-crypto.ts';
import { perform, readCases } from '../unit/crypto/recorded.ts';

beforeAll(() => setProvider(createNodeProvider()));
afterAll(() => setProvider(undefined));

test('random changes', () => {
  const cases = readCases('mutations.jsonl.gz');
  const step = process.env['BPFTWIN_FLIPS'] === 'all' ? 1 : 3;
  const wrong = cases.filter((_, i) => i % step === 0).flatMap((recorded) => {
    const got = perform(recorded), want = recorded.keys.map((key) => key.want.errno);
    const agrees = String(got.keys) === String(want) && got.load === recorded.load?.want.errno;
    return agrees ? [] : [`${recorded.name}: keys ${String(got.keys)}, recorded ${String(want)}; load ${got.load}, recorded ${recorded.load?.want.errno} (${got.reason})`];
  });
  expect(cases).toHaveLength(1500);
  expect(wrong).toEqual([]);
});
