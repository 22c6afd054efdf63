import { expect, test } from 'vitest';
import type { RunOptions } from '../../../vm/types.ts';
import { Arena, generateImage } from '../../../src/fuzz/bytecode/unverified.ts';

const ENGINES: readonly RunOptions[] = [
  { tier: 'interpreter', mode: 'checked' },
  { tier: 'baseline', mode: 'checked' },
];

test('interpreter and compiled code agree on generated programs: result, memory, stack, fault and budget', () => {
  const arena = new Arena();
  for (let seed = 1; seed <= 300; seed++) {
    const [interpreted, compiled] = arena.run(generateImage(seed), seed % 3 === 0 ? 1 + (seed % 97) : 3000, ENGINES);
    expect(compiled, `seed ${seed}`).toBe(interpreted);
  }
  expect(arena.refusals).toBe(0);
});

test('so does code that is compiled in parts of a few instructions', () => {
  for (const partInstructions of [1, 2, 5, 9]) {
    const arena = new Arena({ partInstructions });
    for (let seed = 1000 * partInstructions; seed < 1000 * partInstructions + 80; seed++) {
      const [interpreted, compiled] = arena.run(generateImage(seed), seed % 3 === 0 ? 1 + (seed % 97) : 3000, ENGINES);
      expect(compiled, `seed ${seed}, parts of ${partInstructions}`).toBe(interpreted);
    }
    expect(arena.refusals).toBe(0);
  }
});

// A probing load reads whatever is allocated, and below its stack a program that nobody verified finds what the engine keeps there for
// itself: instruction 19 of these reads r8 + 8, and r8 goes down by 64 in each round. Verified programs never get there. Fails on the day on which it agrees.
test.fails('but not on what a probing load finds in the private words below the stack', () => {
  const [interpreted, compiled] = new Arena().run(generateImage(40_719_121), 3000, ENGINES);
  expect(compiled).toBe(interpreted);
});
