import { describe, expect, test } from 'vitest';
import { alu64, assemble, callHelper, callKfunc, callLocal, exit, jump, label, ldFunction, ldImm64Words, mayGoto, mov64, raw, st, type Item } from '../../../isa/encode.ts';
import { KERNEL_HI } from '../../../vm/address-space.ts';
import type { RunOptions } from '../../../vm/types.ts';
import { Arena, generateImage } from '../../../src/fuzz/bytecode/unverified.ts';
import { ENGINES as PLAIN_ENGINES, runEverywhere, type Engine, type Scenario } from './engines.ts';

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

test('a program whose probing load goes down below its stack, where engines once kept words of their own', () => {
  const [interpreted, compiled] = new Arena().run(generateImage(40_719_121), 3000, ENGINES);
  expect(compiled).toBe(interpreted);
});

describe('probing loads', () => {
  const PROBE = 0x21, PROBE_SIGNED = 0x41, U32 = 0x00, U16 = 0x08, U8 = 0x10, U64 = 0x18;
  const BLOCK = 640;
  /** r0 = a hash of what loads of all sizes find in the r2 bytes from r1 on: 0 where they find nothing but zeros. */
  const sweep: readonly Item[] = [
    label('sweep'), mov64('r0', 0), alu64('add', 'r2', 'r1'),
    label('again'),
    ...[raw(PROBE | U64, 3, 1, 0), raw(PROBE_SIGNED | U32, 3, 1, 1), raw(PROBE | U16, 3, 1, 3), raw(PROBE_SIGNED | U8, 3, 1, 5), raw(PROBE | U32, 3, 1, -4)]
      .flatMap((load) => [load, alu64('mul', 'r0', 31), alu64('add', 'r0', 'r3')]),
    alu64('add', 'r1', 8), jump('jlt', 'r1', 'r2', 'again'), exit(),
  ];
  /** Uses everything for which engines keep something, and probes in between, three frames deep, in a callback, and at the end. */
  const program = (from: readonly Item[], bytes: number): Uint8Array => assemble([
    mov64('r6', 0), st('u64', 'r10', -8, 0x1111), st('u64', 'r10', -512, 0x2222), mov64('r7', 'r10'),
    ...[1, 2, 3, 4, 5].map((n) => mov64(`r${n}` as 'r1', n * 0x01010101)), callHelper(1), alu64('add', 'r0', 5), callKfunc(3),
    mov64('r1', 0), mov64('r2', 0), mov64('r3', 7), callHelper(12), mayGoto('on'), label('on'),
    mov64('r1', 'r7'), callLocal('first'), alu64('xor', 'r6', 'r0'),
    ldFunction('r1', 'first'), mov64('r2', 'r7'), callHelper(2), alu64('mul', 'r6', 7), alu64('xor', 'r6', 'r0'),
    ...from, mov64('r2', bytes), callLocal('sweep'), alu64('mul', 'r6', 7), alu64('xor', 'r0', 'r6'), exit(),
    label('first'), mov64('r7', 'r1'), st('u64', 'r10', -16, 0x3333), callLocal('second'), mov64('r8', 'r0'),
    ...from, mov64('r2', bytes), callLocal('sweep'), alu64('mul', 'r8', 7), alu64('add', 'r0', 'r8'), exit(),
    label('second'), st('u32', 'r10', -64, 0x4444), mov64('r1', 9), callHelper(1), ...from, mov64('r2', bytes), callLocal('sweep'), exit(),
    ...sweep,
  ]);
  const scenario: Pick<Scenario, 'environment' | 'memory'> = {
    memory: Uint8Array.from({ length: 64 }, (_, index) => index),
    environment: () => ({
      helpers: [
        undefined, (call): void => call.setResult(call.u32(1)),
        (call): void => {
          call.callbackArguments.fill(0);
          call.callbackArguments.set(call.registers.subarray(4, 6));
          call.callback(call.registers[2]!);
          call.registers.set(call.callbackResult);
        },
      ],
      kfunc: (call): void => call.setResult(-3),
      directHelpers: new Map([[1, { parameters: ['low'], result: 'signed', call: (value) => value }]]),
    }),
  };
  const everywhere: readonly Engine[] = [
    ...PLAIN_ENGINES,
    ...(['auto', 'optimised'] as const).flatMap((tier) => (['fast', 'checked'] as const).map((mode) => ({ name: `${tier}, ${mode}`, options: { tier, mode } }))),
  ];

  test('find no word of any engine below the first address', () => {
    const low = program([...ldImm64Words('r1', 0, 0, KERNEL_HI)], 65_536 - 8);
    expect(runEverywhere({ instructions: low, ...scenario }, everywhere).r0).toBe(0n);
    expect(runEverywhere({ instructions: low, ...scenario, image: { verified: true } }, everywhere).r0).toBe(0n);
  });

  test.each([
    ['below the stack', -3 * BLOCK, 2 * BLOCK], ['in and between frames', -BLOCK, 12 * BLOCK], ['behind them', 9 * BLOCK, 231 * BLOCK],
  ])('find the same on every engine: %s', (_, distance, bytes) => {
    const around = { instructions: program([mov64('r1', 'r7'), alu64('add', 'r1', distance)], bytes), ...scenario };
    const { r0 } = runEverywhere(around, everywhere);
    expect(runEverywhere({ ...around, image: { verified: true } }, everywhere).r0).toBe(r0);
    if (distance === -BLOCK) expect(r0).not.toBe(0n);
  });

  test('that leave the memory, or begin in front of it, give 0 everywhere', () => {
    for (const at of [0x1_0000 - 8, 0x1_0000 - 1, 0x4_0000 - 16, 0x4_0000 - 8, 0x4_0000 - 1, 0x4_0000, 0x7fff_fff8, -8]) {
      runEverywhere({ instructions: program([...ldImm64Words('r1', 0, at, KERNEL_HI)], 24), ...scenario }, everywhere);
    }
  });
});
