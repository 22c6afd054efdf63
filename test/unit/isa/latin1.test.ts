/** One character a byte, whatever the engine takes the label latin1 for. */
import { expect, test } from 'vitest';
import { latin1, latin1UpToNUL } from '../../../isa/latin1.ts';

test('every byte is the character of its number', () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  expect([...latin1(all)].map((char) => char.charCodeAt(0))).toEqual([...all]);
  const long = new Uint8Array(100_000).fill(0x93);
  expect(latin1(long)).toBe('\u0093'.repeat(long.length));
  expect(latin1(new Uint8Array(0))).toBe('');
});

test('up to the first NUL, or all', () => {
  expect(latin1UpToNUL(Uint8Array.of(0x80, 0x41, 0, 0x42))).toBe('\u0080A');
  expect(latin1UpToNUL(Uint8Array.of(0x80, 0x41))).toBe('\u0080A');
});
