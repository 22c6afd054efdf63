import { expect, test } from 'vitest';
import { raw, toBytes } from '../../../isa/encode.ts';
import type { Instruction } from '../../../isa/decode.ts';
import { PreparedProgram } from '../../../vm/program.ts';
import { compileModule } from '../../../vm/wasm/module.ts';
import { Arena } from '../../../src/fuzz/bytecode/unverified.ts';
import { Random } from '../../../src/fuzz/random.ts';

const CONDITIONS = [0x55, 0x5d, 0xa5, 0xad, 0xb5, 0xbd, 0x25, 0x2d, 0x35, 0x3d, 0x65, 0x6d, 0xc5, 0xcd, 0x75, 0x7d, 0xd5, 0xdd, 0x15, 0x1d, 0x56, 0x5e, 0xa6, 0xae, 0x26, 0x2e, 0xc6, 0xce, 0x66];
const SMALL = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 40, 48, 60, 63, 64, 65, -1, -2, -8, -64, 100, 0x7fffffff, -0x80000000];
const STEPS = [1, 1, 1, 2, 4, 8, 16, 3, 5, -1, -1, -2, -8, 7, 8191, 8192, 0];

/** A loop of one block around loads, stores, steps and arithmetic, mostly one that ends, and a look at every register behind it. */
function generateLoop(seed: number): Uint8Array {
  const random = new Random(seed);
  const memory = random.pick([6, 6, 6, 7, 8]);
  const insns: Instruction[] = [raw(0xbf, 6, 1), raw(0xbf, 7, 10), raw(0x07, 7, 0, 0, random.pick([-64, -128, -8, -512])), raw(0xbf, 8, 6)];
  insns.push(raw(0xb7, 2, 0, 0, random.pick(SMALL)), raw(0xb7, 3, 0, 0, random.pick(SMALL)), raw(0xb7, 4, 0, 0, random.pick(SMALL)));
  insns.push(raw(0xbf, 5, memory), raw(0x07, 5, 0, 0, random.pick([8, 16, 32, 48, 56, 64, 66])), raw(0xb7, 9, 0, 0, random.pick([1, 2, 3])));
  if (random.below(3) === 0) insns.push(raw(0xbf, 3, memory), raw(0x07, 3, 0, 0, random.pick([0, 8, 56, 63])));
  const outer = random.below(3) === 0 ? insns.length : -1;
  const counter = random.pick([2, 3, 4, 6, 7, 8]);
  const pointer = random.pick([memory, memory, 3, 8]);
  const top = insns.length;
  const body = 1 + random.below(6);
  for (let one = 0; one < body; one++) {
    const any = (): number => random.pick([0, 2, 3, 4, 1, 5]);
    switch (random.below(9)) {
      case 0: case 1: insns.push(raw(random.pick([0x71, 0x69, 0x61, 0x79, 0x91]), random.pick([0, 1]), pointer, random.pick([0, 0, 1, 8, -8, 4]))); break;
      case 2: case 3: insns.push(raw(random.pick([0x73, 0x6b, 0x63, 0x7b]), pointer, any(), random.pick([0, 0, 1, 8, -8, 4]))); break;
      case 4: insns.push(raw(0x7b, 10, random.pick([0, 1, pointer]), random.pick([-8, -16, -504]))); break;
      case 5: insns.push(raw(0xbf, 1, pointer), raw(0x0f, 1, counter), raw(random.pick([0x71, 0x69]), 0, 1, random.pick([0, 1, -1]))); break;
      case 6: insns.push(raw(random.pick([0x0f, 0xaf, 0x0c, 0x5f, 0x6f, 0x7f]), random.pick([0, 1]), any())); break;
      case 7: insns.push(raw(random.pick([0x07, 0x17, 0x04]), pointer, 0, 0, random.pick(STEPS))); break;
      default: insns.push(raw(random.pick([0xbf, 0xbc]), random.pick([0, 1]), any()));
    }
  }
  if (random.below(8) === 0) insns.push(raw(0x0f, counter, random.pick([2, 4, 5])));
  else insns.push(raw(random.pick([0x07, 0x07, 0x07, 0x17, 0x04]), counter, 0, 0, random.pick(STEPS)));
  const code = random.pick(CONDITIONS);
  const limit = random.pick([2, 3, 4, 5, 0]);
  const back = (): number => top - insns.length - 1;
  const operands = (off: number): Instruction => {
    const isRegister = (code & 8) !== 0;
    const turned = isRegister && random.below(4) === 0;
    return raw(code, turned ? limit : counter, isRegister ? (turned ? counter : limit) : 0, off, isRegister ? 0 : random.pick(SMALL));
  };
  if (random.below(4) === 0) {
    insns.push(operands(1));
    insns.push(raw(0x05, 0, 0, back()));
  } else insns.push(operands(back()));
  if (outer >= 0) insns.push(raw(0x17, 9, 0, 0, 1), raw(0x55, 9, 0, outer - insns.length - 2));
  for (const register of [1, 2, 3, 4, 5, 6, 7, 8]) insns.push(raw(0x67, 0, 0, 0, 3), raw(0x0f, 0, register));
  insns.push(raw(0x95));
  return toBytes(insns);
}

/** A loop as compilers write it: pointers that step to a limit or a counter, near the ends of the memory or of the stack. */
function generateWalk(seed: number): Uint8Array {
  const random = new Random(seed);
  const base = random.pick([6, 6, 7]);
  const step = random.pick([1, 2, 4, 8, 16, 3, -1, -2, -4, -8, 24]);
  const trips = 1 + random.below(1 + Math.floor(72 / Math.abs(step)));
  const first = random.pick(step > 0 ? [0, 0, 8, 1, -8] : [63, 60, 56, 48, 64]);
  const distance = step * trips;
  const insns: Instruction[] = [raw(0xbf, 6, 1), raw(0xbf, 7, 10), raw(0x07, 7, 0, 0, -64), raw(0xbf, 2, base), raw(0x07, 2, 0, 0, first)];
  insns.push(raw(0xbf, 3, random.pick([6, 7])), raw(0xb7, 4, 0, 0, random.pick([0, first])), raw(0xbf, 5, 2), raw(0x07, 5, 0, 0, distance + random.pick([0, 0, 0, 1, -1])));
  insns.push(raw(0xb7, 8, 0, 0, trips), raw(0xb7, 9, 0, 0, random.pick([1, 2])), raw(0xb7, 1, 0, 0, random.pick([Math.abs(step), Math.abs(step), 0])));
  const outer = random.below(4) === 0 ? insns.length : -1;
  const top = insns.length;
  const bytes = random.pick([0, 1, 2, 3]);
  const load = [0x71, 0x69, 0x61, 0x79][bytes]!;
  const store = [0x73, 0x6b, 0x63, 0x7b][bytes]!;
  const off = random.pick([0, 0, 1, -1, 8]);
  const indexed = random.below(4) === 0;
  const late = random.below(4) === 0;
  if (late) insns.push(raw(0x07, 2, 0, 0, step));
  if (indexed) insns.push(raw(0xbf, 0, 3), raw(0x0f, 0, 4), raw(random.below(2) === 0 ? 0x73 : 0x6b, 0, 9, off));
  insns.push(raw(load, 0, 2, off));
  if (random.below(4) === 0) insns.push(raw(random.pick([0xaf, 0x0f]), 0, random.pick([2, 4])), raw(0x7f, 0, 9));
  if (random.below(2) === 0) insns.push(raw(store, random.pick([2, 2, 3]), random.pick([0, 4, 8]), random.pick([0, 8, off])));
  if (random.below(3) === 0) insns.push(raw(0x0f, 8, 0), raw(0x1f, 8, 0));
  if (!late) insns.push(raw(0x07, 2, 0, 0, step));
  const byRegister = random.below(6) === 0 && step > 0;
  insns.push(byRegister ? raw(0x0f, 4, 1) : raw(random.pick([0x07, 0x07, 0x04]), 4, 0, 0, Math.abs(step)), raw(random.pick([0x17, 0x14]), 8, 0, 0, random.pick([1, 1, 1, 2, 3])));
  const [code, register, other, value] = random.pick([
    [0x5d, 2, 5, 0], [step > 0 ? 0xad : 0x2d, 2, 5, 0], [step > 0 ? 0x2d : 0xad, 5, 2, 0], [step > 0 ? 0xbd : 0x3d, 2, 5, 0], [0x5e, 2, 5, 0],
    [0x55, 8, 0, 0], [0x56, 8, 0, 0], [0x25, 8, 0, random.pick([0, 1])], [0x35, 8, 0, 1], [0x65, 8, 0, random.pick([0, -1])], [0x75, 8, 0, random.pick([0, 1])],
    [0xa5, 4, 0, distance], [0xb5, 4, 0, distance], [0xa6, 4, 0, distance], [0xc5, 4, 0, distance], [0xd6, 4, 0, distance], [0xae, 4, 5, 0],
  ] as const);
  insns.push(raw(code, register, other, top - insns.length - 1, value));
  if (outer >= 0) insns.push(raw(0x17, 9, 0, 0, 1), raw(0x55, 9, 0, outer - insns.length - 2));
  for (const one of [1, 2, 3, 4, 5, 6, 7, 8]) insns.push(raw(0x67, 0, 0, 0, 3), raw(0x0f, 0, one));
  insns.push(raw(0x95));
  return toBytes(insns);
}

function modes(count: number): void {
  const arena = new Arena();
  let finished = 0;
  for (let seed = 0; seed < count; seed++) {
    const image = { name: 'loop', instructions: seed % 2 === 0 ? generateLoop(seed) : generateWalk(seed) };
    const budget = seed % 3 === 0 ? 20 + (seed % 297) : 3000;
    const [interpreted, compiled] = arena.run(image, budget, [{ tier: 'interpreter', mode: 'checked' }, { tier: 'baseline', mode: 'checked' }]);
    expect(compiled, `seed ${seed}`).toBe(interpreted);
    if (!interpreted!.endsWith('"fault":null}')) continue;
    finished++;
    // What ends without a fault may run without checks, and as a verified program.
    for (const verified of [false, true]) {
      const [, counted] = arena.run({ ...image, verified }, budget, [{ tier: 'interpreter', mode: 'checked' }, { tier: 'baseline', mode: 'fast' }]);
      expect(counted, `seed ${seed}, unchecked`).toBe(interpreted);
      const [, free] = arena.run({ ...image, verified }, Infinity, [{ tier: 'interpreter', mode: 'checked' }, { tier: 'baseline', mode: 'fast' }]);
      expect(free!.replace(/"used":-?\d+/, ''), `seed ${seed}, uncounted`).toBe(interpreted!.replace(/"used":-?\d+/, ''));
      const [, watched] = arena.run({ ...image, verified }, Infinity, [{ tier: 'interpreter', mode: 'checked' }, { tier: 'baseline', mode: 'checked' }]);
      expect(watched!.replace(/"used":-?\d+/, ''), `seed ${seed}, checked and uncounted`).toBe(interpreted!.replace(/"used":-?\d+/, ''));
    }
  }
  expect(finished).toBeGreaterThan(count / 20);
  expect(arena.refusals).toBe(0);
}

test('loops of a known number of iterations do what the interpreter does, wherever they end', () => {
  modes(Number(process.env['LOOPS'] ?? 600));
});

test('a copy of bytes has a version without checks: one call of the check before the loop and one in the other version', () => {
  // r2 and r3 step by one until r2 reaches r4.
  const instructions = toBytes([
    raw(0xbf, 2, 1), raw(0xbf, 3, 1), raw(0x07, 3, 0, 0, 32), raw(0xbf, 4, 2), raw(0x07, 4, 0, 0, 16),
    raw(0x71, 5, 2), raw(0x73, 3, 5), raw(0x07, 2, 0, 0, 1), raw(0x07, 3, 0, 0, 1), raw(0x5d, 2, 4, -5), raw(0xb7, 0), raw(0x95),
  ]);
  const sizeOf = (condition: number): number => {
    const bytes = instructions.slice();
    bytes[9 * 8] = condition;
    return compileModule(new PreparedProgram({ name: 'copy', instructions: bytes }), { checked: true, counted: true }, () => undefined).bytes.length;
  };
  // With "set" as its condition the loop is not known to end.
  expect(sizeOf(0x5d)).toBeGreaterThan(sizeOf(0x4d) + 100);
});
