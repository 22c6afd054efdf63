import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { bpftwin } from '../unit/cli/harness.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('the output of `run` in the README is what `run` prints', async () => {
  const readme = readFileSync(`${root}README.md`, 'utf8');
  const shown = /```\n(examples\/flow-signed\.lskel\.h: [^`]*)```/.exec(readme)?.[1];
  const { status, stdout } = await bpftwin(['run', `${root}examples/flow-signed.lskel.h`, '--cert', `${root}examples/signer.crt`]);
  expect(status).toBe(0);
  expect(stdout.replace(root, '')).toBe(shown);
});

it.each([
  ['flow.lskel.h', [], 0], ['flow-signed.lskel.h', ['--cert', `${root}examples/signer.crt`], 0], ['flow-signed.lskel.h', [], 1],
])('examples/%s with %j ends with %i', async (file, options, status) => {
  expect((await bpftwin(['run', `${root}examples/${file}`, ...options])).status).toBe(status);
});
