/** Bytes as a C string: what C makes of the text, how wide lines are, and that both ways of writing it agree. */
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { cStringBody, writeCompiled, writeInterpreted } from '../../../loader/gen/c-string.ts';

/** Every byte, runs of zeros of several lengths, and no period that lines could hide in. */
function sample(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => ((i * i) % 7 < 3 ? 0 : (i * 31) & 0xff));
}

function read(text: string): number[] {
  return [...text.replaceAll('\\\n', '').matchAll(/\\x([0-9a-f]{2})|\\0/g)].map(([, digits]) => (digits === undefined ? 0 : Number.parseInt(digits, 16)));
}

describe('bytes as a C string', () => {
  it('are all of them again, in lines of at most 78 characters that are as full as can be', () => {
    for (const length of [0, 1, 255, 256, 1000, 70_000]) {
      const bytes = sample(length);
      const text = cStringBody(bytes);
      expect(read(text)).toEqual([...bytes]);
      const lines = text.split('\\\n');
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(78);
      for (const [i, line] of lines.slice(1).entries()) expect((lines[i] ?? '').length + (line.startsWith('\\0') ? 2 : 4)).toBeGreaterThan(78);
    }
  });

  it('are refused where the text would be no string', () => {
    expect(() => cStringBody(new Uint8Array((1 << 26) + 1))).toThrow(InputError);
  });

  it('are the same text from WebAssembly and from JavaScript', () => {
    for (const bytes of [sample(0), sample(1), sample(997), sample(200_000), new Uint8Array(5000), new Uint8Array(5000).fill(0xff)]) {
      expect(writeCompiled(bytes)).toEqual(writeInterpreted(bytes));
    }
  });
});
