import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { interpreterSource } from '../../../vm/gen/interpreter.ts';

const FILE = new URL('../../../vm/interpreter.ts', import.meta.url);

test('vm/interpreter.ts is what its generator writes', () => {
  const source = interpreterSource();
  if (process.env['UPDATE_GENERATED'] === '1') writeFileSync(FILE, source);
  expect(readFileSync(FILE, 'utf8')).toBe(source);
});
