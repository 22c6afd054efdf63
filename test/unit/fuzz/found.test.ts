/** Inputs on which something was wrong once. Each is a file whose name says what; `syscalls` has transcripts. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createTarget } from '../../../src/fuzz/targets/syscalls.ts';
import { environment } from './support.ts';

const folder = new URL('seeds/', import.meta.url);
const seeds = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));

describe('sequences of calls that were answered wrongly once', () => {
  const target = createTarget(environment(true));
  it.each(seeds)('%s', (name) => {
    const input = target.deserialise(new Uint8Array(readFileSync(new URL(name, folder))));
    expect(target.execute(input)).toBeUndefined();
  });
});
