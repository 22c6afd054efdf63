/** Inputs on which something was wrong once: a folder for each target, a file for each input, whose name says what was wrong. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { reproduce } from '../../../src/node/fuzz-environment.ts';

const folder = new URL('seeds/', import.meta.url);

describe.each(readdirSync(folder))('%s', (target) => {
  const inputs = new URL(`${target}/`, folder);
  it.each(readdirSync(inputs))('keeps its promises on %s', async (name) => {
    expect(await reproduce(target, new Uint8Array(readFileSync(new URL(name, inputs))))).toBeUndefined();
  });
});
