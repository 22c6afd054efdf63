/**
 * Single-bit flips: of five signatures and of the program that they sign, exactly those are accepted, and all others refused
 * with the error number, that Linux 7.3.4 accepted and refused. By default a sample is tried; BPFTWIN_FLIPS=all tries every bit.
 * Data: test/parity/data/flips.json.gz, made by test/parity/gen/flips.mjs.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { DISTRIBUTION_ALGORITHMS, RECORDED_ALGORITHMS } from '../../crypto/algorithms.ts';
import { fromHex } from '../../crypto/bytes.ts';
import { setProvider } from '../../crypto/provider.ts';
import { createNodeProvider } from '../../src/node/native-crypto.ts';
import { freshKeyrings, readData } from '../unit/crypto/recorded.ts';

interface Recorded {
  readonly name: string;
  readonly keys: readonly string[];
  readonly program: string;
  readonly blob: string;
  readonly whole: number;
  readonly flips: string;
  readonly programFlips: string;
}

const FILES = { 'flips.json.gz': RECORDED_ALGORITHMS, 'flips-ecdsa.json.gz': DISTRIBUTION_ALGORITHMS };
const recorded = Object.entries(FILES).flatMap(([file, algorithms]) => (JSON.parse(readData(file)) as readonly Recorded[]).map((each) => ({ ...each, algorithms })));
const step = process.env['BPFTWIN_FLIPS'] === 'all' ? 1 : 29;

afterAll(() => setProvider(undefined));

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice(), at = bit >> 3;
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

describe.each(recorded)('flips of $name', ({ keys, program, blob, whole, flips, programFlips, algorithms }) => {
  const data = fromHex(program), signature = fromHex(blob);
  const keyrings = freshKeyrings({ algorithms });
  for (const key of keys) keyrings.addKey('asymmetric', undefined, fromHex(key), -3);
  const ring = keyrings.resolveKeyring(-3);
  const verdict = (message: Uint8Array, bytes: Uint8Array): number => ring === undefined ? NaN : -keyrings.verifySignature(message, bytes, ring);

  test('whole', () => {
    setProvider(createNodeProvider());
    expect(Math.abs(verdict(data, signature))).toBe(whole);
  });

  test('of the signature', () => {
    setProvider(createNodeProvider());
    const want = Uint8Array.from(Buffer.from(flips, 'base64')), wrong: string[] = [];
    expect(want.length).toBe(signature.length * 8);
    for (let bit = 0; bit < want.length; bit += step) {
      const got = Math.abs(verdict(data, flip(signature, bit)));
      if (got !== want[bit]) wrong.push(`bit ${bit}: ${got}, recorded ${want[bit]}`);
    }
    expect(wrong).toEqual([]);
  });

  test('of the program', () => {
    setProvider(createNodeProvider());
    const want = Uint8Array.from(Buffer.from(programFlips, 'base64'));
    expect(want.length).toBe(data.length * 8);
    for (let bit = 0; bit < want.length; bit++) expect(Math.abs(verdict(flip(data, bit), signature))).toBe(want[bit]);
  });
});
