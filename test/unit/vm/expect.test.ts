import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { assembleText } from '../../../isa/asm.ts';
import { PreparedProgram } from '../../../vm/program.ts';
import { compileModule } from '../../../vm/wasm/module.ts';
import { runEverywhere } from './engines.ts';
import { printFunctions } from './wat.ts';

/**
 * The compiler's output for small programs, accepted by reading: `expect/NAME.asm` gives `expect/NAME.wat`. Names that begin with
 * `checked-`, `counted-` or `covered-` are compiled in that variant, `verified-` as a verified program. `UPDATE_EXPECT=1` writes the files anew; read the difference.
 */
const FOLDER = new URL('./expect/', import.meta.url);
const names = readdirSync(FOLDER).filter((file) => file.endsWith('.asm')).map((file) => file.slice(0, -4)).toSorted();

test('there are at least forty, and no expectation without a program', () => {
  expect(names.length).toBeGreaterThanOrEqual(40);
  const expectations = readdirSync(FOLDER).filter((file) => file.endsWith('.wat')).map((file) => file.slice(0, -4));
  expect(expectations.toSorted()).toEqual(names);
});

describe('compiled text', () => {
  test.each(names)('%s', (name) => {
    const instructions = assembleText(readFileSync(new URL(`${name}.asm`, FOLDER), 'utf8'), `${name}.asm`);
    const verified = name.startsWith('verified-');
    const program = new PreparedProgram({ name, instructions, verified });
    const variant = { checked: name.startsWith('checked-'), counted: name.startsWith('counted-'), covered: name.startsWith('covered-') };
    const module = compileModule(program, variant, () => undefined);
    const text = printFunctions(module.bytes, module.roots.length);
    const file = new URL(`${name}.wat`, FOLDER);
    if (process.env['UPDATE_EXPECT'] === '1' || !existsSync(file)) {
      expect(process.env['UPDATE_EXPECT'], `${name}.wat is missing`).toBe('1');
      writeFileSync(file, text);
    }
    expect(text).toBe(readFileSync(file, 'utf8'));
    runEverywhere({
      instructions, image: { verified }, memory: new Uint8Array(64).fill(9), options: verified ? {} : { budget: 10_000 },
      environment: () => ({ helpers: [undefined, (call): void => call.setResult(call.u32(1) + 1)], kfunc: (call): void => call.setResult(3) }),
    });
  });
});

test('a module has the ways in that somebody uses', () => {
  const ways = (text: string, counted: boolean, going: boolean): readonly string[] => {
    const program = new PreparedProgram({ name: 'ways', instructions: assembleText(text, 'ways.asm'), verified: true });
    const continuation = going ? { dense: 1, frameBytes: 512 } : undefined;
    const { bytes } = compileModule(program, { checked: false, counted }, () => undefined, continuation);
    return WebAssembly.Module.exports(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>)).map(({ name }) => name);
  };
  const plain = 'r0 = 1\nr0 += 2\nexit\n';
  expect(ways(plain, false, false)).toEqual(['f0', 'main', 'once', 'repeat', 'batch']);
  expect(ways(plain, true, false)).toEqual(['f0', 'main']);
  expect(ways('call 1\nr0 += 2\nexit\n', false, false)).toEqual(['f0', 'main']);
  expect(ways(plain, false, true)).toEqual(['go']);
});
