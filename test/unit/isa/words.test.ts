import { describe, expect, it } from 'vitest';
import { readWords, writeWords } from '../../../isa/words.ts';

describe('words of a file', () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 0xf5, 6, 7, 8, 9);

  it('are read in either order, without what is no whole word', () => {
    expect([...readWords(bytes, true)]).toEqual([0x04030201, 0x080706f5]);
    expect([...readWords(bytes, false)]).toEqual([0x01020304, 0xf5060708]);
  });

  it('follow zeros where some are asked for', () => {
    expect([...readWords(bytes.subarray(1), true, 2)]).toEqual([0, 0, 0xf5040302, 0x09080706]);
  });

  it('are written where they are to be', () => {
    for (const isLittle of [true, false]) {
      const copy = new Uint8Array(bytes.length);
      writeWords(copy, 1, readWords(bytes, isLittle).subarray(1), isLittle);
      expect([...copy]).toEqual([0, 0xf5, 6, 7, 8, 0, 0, 0, 0]);
    }
  });
});
