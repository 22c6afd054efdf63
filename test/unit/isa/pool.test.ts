import { describe, expect, it } from 'vitest';
import { POOLED_BYTES, pooledBytes, pooledWords } from '../../../isa/pool.ts';

describe('arrays out of shared buffers', () => {
  it('are zero, of the length asked for, and share no byte with one another', () => {
    const lengths = [1, 7, 8, 100, 0, POOLED_BYTES, POOLED_BYTES + 1, 3000, 4095];
    const all: (Uint8Array | Int32Array)[] = [];
    for (let round = 0; round < 20; round++) {
      for (const length of lengths) {
        const bytes = pooledBytes(length), words = pooledWords(length);
        expect([bytes.length, words.length]).toEqual([length, length]);
        for (const array of [bytes, words]) {
          expect(array.every((value) => value === 0)).toBe(true);
          all.push(array.fill(all.length + 1));
        }
      }
    }
    for (const [i, array] of all.entries()) expect(array.every((value) => value === (array instanceof Uint8Array ? (i + 1) & 0xff : i + 1))).toBe(true);
  });

  it('have a buffer of their own where they are long', () => {
    const long = pooledBytes(POOLED_BYTES + 1);
    expect(long.buffer.byteLength).toBe(POOLED_BYTES + 1);
    expect(pooledBytes(8).buffer).not.toBe(long.buffer);
  });
});
