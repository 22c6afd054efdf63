import { describe, expect, test } from 'vitest';
import { alu64, assemble, callLocal, exit, jump, label, ldImm64, mov64, raw, stx, toBytes, type Item } from '../../../isa/encode.ts';
import { AddressSpace, KERNEL_HI } from '../../../vm/address-space.ts';
import { Machine } from '../../../vm/machine.ts';
import { CODE_HI, codeAddress, type RunOptions } from '../../../vm/types.ts';
import { PreparedProgram } from '../../../vm/program.ts';
import { compileModule } from '../../../vm/wasm/module.ts';

function world(partInstructions?: number): { machine: Machine; space: AddressSpace; at: number } {
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const at = space.alloc(64, 'memory', 16);
  return { machine: new Machine({ space, helpers: [], ...(partInstructions === undefined ? {} : { partInstructions }) }), space, at };
}

/** Everything that can be seen of a run. */
function outcome(instructions: Uint8Array, options: RunOptions, partInstructions?: number): unknown {
  const { machine, space, at } = world(partInstructions);
  const program = machine.load({ name: 'parts', instructions });
  const { fault, ...result } = machine.run(program, at, KERNEL_HI, options);
  expect(machine.stats.refusals, machine.stats.lastRefusal).toBe(0);
  return { ...result, fault: fault === undefined ? null : [fault.kind, fault.pc], memory: space.getBytes(at, 64).join() };
}

const MODES: readonly (readonly [name: string, options: RunOptions])[] = [
  ['checked and counted', {}], ['checked', { budget: Infinity }], ['counted', { mode: 'fast' }], ['neither', { mode: 'fast', budget: Infinity }],
];

/** Two loops in each other over a local call, may_goto and stores; a part of it is never much longer than a few instructions. */
function nested(turns: number): Uint8Array {
  const items: Item[] = [
    mov64('r6', 'r1'), mov64('r7', 0), mov64('r0', 0),
    label('outer'), mov64('r8', 0),
    label('inner'), alu64('add', 'r0', 'r8'), alu64('xor', 'r0', 'r7'), stx('u64', 'r10', -8, 'r0'), alu64('lsh', 'r0', 1), alu64('add', 'r8', 1),
    jump('jlt', 'r8', 7, 'inner'),
    mov64('r1', 'r0'), mov64('r2', 'r7'), callLocal('f'), stx('u64', 'r6', 8, 'r0'),
    alu64('add', 'r7', 1), jump('jlt', 'r7', turns, 'outer'), exit(),
    label('f'), mov64('r0', 'r1'), jump('jset', 'r2', 1, 'odd'), alu64('add', 'r0', 3), exit(), label('odd'), alu64('mul', 'r0', 5), exit(),
  ];
  return assemble(items);
}

describe('functions in parts', () => {
  test.each(MODES)('give what they give in one piece: %s', (_, options) => {
    const instructions = nested(40);
    const whole = outcome(instructions, { ...options, tier: 'baseline' });
    for (const size of [1, 2, 3, 4, 7, 11]) expect(outcome(instructions, { ...options, tier: 'baseline' }, size), `${size}`).toEqual(whole);
  });

  test.each(MODES.slice(0, 2))('a run that is promoted goes on in them: %s', (_, options) => {
    const instructions = nested(30_000);
    const { machine, at } = world(3);
    const program = machine.load({ name: 'parts', instructions });
    const { r0Lo, r0Hi, instructions: used, fault } = machine.run(program, at, KERNEL_HI, options);
    expect(machine.stats).toMatchObject({ promotedRuns: 1, refusals: 0 });
    const { machine: other, at: to } = world();
    const expected = other.run(other.load({ name: 'parts', instructions }), to, KERNEL_HI, { ...options, tier: 'interpreter' });
    expect({ r0Lo, r0Hi, fault }).toEqual({ r0Lo: expected.r0Lo, r0Hi: expected.r0Hi, fault: undefined });
    if (options.budget === undefined) expect(used).toBe(expected.instructions);
  });

  test('every budget ends at the same instruction', () => {
    const instructions = nested(4);
    for (let budget = 1; budget < 200; budget += 3) {
      const expected = outcome(instructions, { budget, tier: 'interpreter' });
      expect(outcome(instructions, { budget, tier: 'baseline' }, 3), `${budget}`).toEqual(expected);
    }
  });

  test('there are as many as are needed, and none without need', () => {
    const program = new PreparedProgram({ name: 'parts', instructions: nested(4) });
    const functions = (size?: number): number => {
      const { bytes } = compileModule(program, { checked: false, counted: false }, () => undefined, undefined, size);
      return WebAssembly.validate(bytes as Uint8Array<ArrayBuffer>) ? bytes.length : -1;
    };
    expect(functions(100)).toBe(functions());
    expect(functions(4)).toBeGreaterThan(functions());
  });

  test('a function of more instructions than a part has by default', () => {
    const insns = [raw(0xb7, 0, 0, 0, 0), raw(0xbf, 6, 1)];
    for (let n = 0; n < 15_000; n++) insns.push(raw(0x61, 2, 6, (n % 15) * 4), raw(0x0f, 0, 2), raw(0x07, 0, 0, 0, n), raw(0x63, 6, 0, (n % 13) * 4));
    insns.push(raw(0x95));
    const instructions = toBytes(insns);
    expect(outcome(instructions, { tier: 'baseline' })).toEqual(outcome(instructions, { tier: 'interpreter' }));
  });
});

test('indirect jumps that are left to the interpreter are among the fallbacks', () => {
  const { machine, at } = world();
  const instructions = toBytes([...ldImm64('r1', BigInt.asUintN(64, (BigInt(CODE_HI) << 32n) | BigInt(codeAddress(3) >>> 0))), raw(0x0d, 1), raw(0xb7, 0, 0, 0, 7), raw(0x95)]);
  for (const jumpTargets of [undefined, [3]]) {
    const program = machine.load({ name: jumpTargets === undefined ? 'anywhere' : 'declared', instructions, ...(jumpTargets === undefined ? {} : { jumpTargets }) });
    expect(machine.run(program, at, KERNEL_HI, { tier: 'baseline' })).toMatchObject({ r0Lo: 7, fault: undefined });
  }
  expect(machine.stats.fallbacks).toEqual([{ program: 'anywhere', tier: 'interpreter', reason: 'indirect jumps without declared targets' }]);
});
