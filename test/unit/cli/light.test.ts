/** The short way of a plain `gen skeleton -L`: it is taken for nothing else, and says what the long way says. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { latin1 } from '../../../isa/latin1.ts';
import type { Surroundings } from '../../../src/cli/io.ts';
import { lightCall } from '../../../src/cli/light-call.ts';
import { runLight } from '../../../src/cli/light.ts';
import { runProgram } from '../../../src/cli/program.ts';
import { temporary, type Answer } from './harness.ts';

const OBJECT = join(import.meta.dirname, '../../fixtures/objects/maps.bpf.o');

async function answerOf(run: (surroundings: Surroundings) => number | Promise<number>): Promise<Answer> {
  const written = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr'): Surroundings['stdout'] => ({ write: (text) => (written[name] += typeof text === 'string' ? text : latin1(text)) });
  const status = await run({ stdout: sink('stdout'), stderr: sink('stderr'), isTerminal: false, columns: 80, env: {} });
  return { status, ...written };
}

describe('the short way', () => {
  it('is for the object, a name and the loader alone', () => {
    expect(lightCall(['gen', 'skeleton', '-L', 'a.o'])).toEqual({ file: 'a.o', words: [] });
    expect(lightCall(['gen', 'skeleton', 'a.o', 'name', 'b', '--use-loader'])).toEqual({ file: 'a.o', words: ['name', 'b'] });
    for (const line of ['', 'gen', 'gen skeleton', 'gen skeleton -L', 'gen skeleton a.o', 'gen skeleton -L -S a.o', 'gen skeleton -L a.o -j', '-j gen skeleton -L a.o',
      'gen skeleton -L -- a.o', 'gen skeleton -L --lang=ts a.o', 'gen subskeleton -L a.o', 'gen skeleton -Lh a.o']) {
      expect(lightCall(line.split(' ')), line).toBeUndefined();
    }
  });

  it.each([
    ['an object', [OBJECT]], ['a name', [OBJECT, 'name', 'other']], ['a shortened word', [OBJECT, 'na', 'other']], ['another word', [OBJECT, 'as', 'other']],
    ['a name that is missing', [OBJECT, 'name']], ['a word too many', [OBJECT, 'name', 'a', 'b']], ['no file', ['/nowhere/a.bpf.o']],
    ['no object', [temporary('none.bpf.o', 'no object')]],
  ])('answers as the long way does: %s', async (_what, words) => {
    const argv = ['gen', 'skeleton', '-L', ...words];
    const call = lightCall(argv) ?? { file: '', words: [] };
    const short = await answerOf((surroundings) => runLight(call, surroundings));
    expect(short).toEqual(await answerOf((surroundings) => runProgram(argv, surroundings)));
    expect(short.stdout === '').toBe(short.status !== 0);
  });
});
