import { describe, expect, test } from 'vitest';
import { alu64, assemble, callHelper, callKfunc, callLocal, exit, jump, label, ldFunction, ldx, mayGoto, mov64, raw, stx, type Item } from '../../../isa/encode.ts';
import { Arena, generateImage } from '../../../src/fuzz/bytecode/unverified.ts';
import { AddressSpace, KERNEL_HI } from '../../../vm/address-space.ts';
import { Machine } from '../../../vm/machine.ts';
import type { AccessMode, MachineOptions, Program, ProgramImage, RunOptions } from '../../../vm/types.ts';

const COMPILED: readonly RunOptions[] = [
  { tier: 'baseline', mode: 'checked' }, { tier: 'baseline', mode: 'checked', budget: Infinity }, { tier: 'baseline', mode: 'fast' },
  { tier: 'baseline', mode: 'fast', budget: Infinity }, { tier: 'optimised', mode: 'checked' }, { tier: 'auto', mode: 'checked' },
];

interface Outcome {
  readonly counts: readonly number[];
  readonly end: unknown;
  readonly interpretedRuns: number;
  readonly compiledRuns: number;
}

interface World {
  readonly machine: Machine;
  readonly space: AddressSpace;
  readonly at: number;
}

type Surroundings = (world: World) => Partial<Omit<MachineOptions, 'space'>>;

/** Runs a program once and gives its counts, how it ended, and where it ran. */
function counted(image: ProgramImage, options: RunOptions, surroundings: Surroundings = () => ({}), partInstructions?: number): Outcome {
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const at = space.alloc(64, 'memory', 16);
  const world: { machine: Machine | undefined; space: AddressSpace; at: number } = { machine: undefined, space, at };
  const given = surroundings({ space, at, get machine(): Machine { return world.machine!; } });
  const machine = new Machine({ helpers: [], ...given, space, ...(partInstructions === undefined ? {} : { partInstructions }) });
  world.machine = machine;
  const program = machine.load(image);
  const coverage = new Uint32Array(program.instructionCount);
  const { fault, r0Lo } = machine.run(program, at, KERNEL_HI, { ...options, coverage });
  const { interpretedRuns, compiledRuns, refusals, lastRefusal } = machine.stats;
  expect(refusals, lastRefusal).toBe(0);
  machine.dispose();
  return { counts: [...coverage], end: fault === undefined ? r0Lo : [fault.kind, fault.pc], interpretedRuns, compiledRuns };
}

/** What every tier and variant counts as the interpreter does in the same access mode; that of checked code. Those that are asked for must have run. */
function everywhere(items: readonly Item[], image: Partial<ProgramImage> = {}, surroundings?: Surroundings, budget?: number): Outcome {
  const whole: ProgramImage = { name: 'covered', instructions: assemble([...items]), ...image };
  const limits = budget === undefined ? {} : { budget };
  const [expected, inFast] = (['checked', 'fast'] as const).map((mode) => counted(whole, { tier: 'interpreter', mode, ...limits }, surroundings));
  for (const options of COMPILED) {
    for (const parts of options.tier === 'baseline' ? [undefined, 1, 3] : [undefined]) {
      const { counts: same, end: sameEnd } = options.mode === 'fast' ? inFast! : expected!;
      const { counts, end, compiledRuns } = counted(whole, { ...options, ...limits }, surroundings, parts);
      expect({ counts, end }, `${JSON.stringify(options)} in parts of ${parts}`).toEqual({ counts: same, end: sameEnd });
      if (options.tier !== 'auto') expect(compiledRuns).toBeGreaterThan(0);
    }
  }
  return expected!;
}

describe('generated programs are covered alike by the interpreter and by compiled code', () => {
  const compare = (arena: Arena, seed: number, budget: number, mode: AccessMode = 'checked'): string => {
    const image = generateImage(seed);
    const [interpreted, compiled] = (['interpreter', 'baseline'] as const).map((tier) => {
      const coverage = new Uint32Array(image.instructions.length / 8);
      const [trace = ''] = arena.run(image, budget, [{ tier, mode, coverage }]);
      return `${trace.replace(/"used":-1/, '"used":1')} ${coverage.join(' ')}`;
    });
    const withoutUse = (text: string | undefined): string => (budget === Infinity ? text!.replace(/"used":\d+/, '') : text!);
    expect(withoutUse(compiled), `seed ${seed}`).toBe(withoutUse(interpreted));
    return interpreted!;
  };

  test('with budgets that end runs anywhere, in checked code', () => {
    const arena = new Arena();
    for (let seed = 1; seed <= 300; seed++) compare(arena, seed, seed % 3 === 0 ? 1 + (seed % 97) : 3000);
    expect(arena.refusals).toBe(0);
  });

  test('without a budget, and unchecked where they neither fault nor run on', () => {
    const arena = new Arena();
    let unchecked = 0;
    for (let seed = 2000; seed < 2200; seed++) {
      const trace = compare(arena, seed, 3000);
      if (trace.includes('"budget"')) continue;
      compare(arena, seed, Infinity);
      if (!trace.includes('"fault":null')) continue;
      compare(arena, seed, Infinity, 'fast');
      compare(arena, seed, 3000, 'fast');
      unchecked++;
    }
    expect(unchecked).toBeGreaterThan(20);
    expect(arena.refusals).toBe(0);
  });

  test.each([1, 2, 5, 9])('in parts of %i', (partInstructions) => {
    const arena = new Arena({ partInstructions });
    for (let seed = 7000 * partInstructions; seed < 7000 * partInstructions + 50; seed++) compare(arena, seed, seed % 3 === 0 ? 1 + (seed % 97) : 3000);
    expect(arena.refusals).toBe(0);
  });
});

describe('exact counts', () => {
  const loop: readonly Item[] = [
    mov64('r0', 0), mov64('r6', 0),
    label('loop'), ldx('u8', 'r3', 'r1'), alu64('add', 'r0', 'r3'), alu64('add', 'r1', 1), alu64('add', 'r6', 1), jump('jlt', 'r6', 48, 'loop'), exit(),
  ];

  test('a loop that is otherwise proven in front', () => {
    expect(everywhere(loop).counts).toEqual([1, 1, 48, 48, 48, 48, 48, 1]);
  });

  test('one that leaves its memory, and one whose budget ends in it', () => {
    const leaves = loop.map((item) => item);
    leaves[7] = jump('jlt', 'r6', 100, 'loop');
    expect(everywhere(leaves, {}, undefined, 10_000)).toMatchObject({ counts: [1, 1, 65, 64, 64, 64, 64, 0], end: ['memory', 2] });
    for (let budget = 1; budget < 30; budget += 4) {
      const { counts } = everywhere(loop, {}, undefined, budget);
      expect(counts.reduce((sum, one) => sum + one)).toBe(budget);
    }
  });

  test('short branches that otherwise become selections', () => {
    const items: readonly Item[] = [
      mov64('r0', 0), mov64('r6', 0),
      label('loop'), jump('jset', 'r6', 1, 'odd'), mov64('r0', 7), label('odd'), alu64('add', 'r6', 1), jump('jlt', 'r6', 9, 'loop'), exit(),
    ];
    expect(everywhere(items).counts).toEqual([1, 1, 9, 5, 9, 9, 1]);
    expect(everywhere(items, { verified: true }).counts).toEqual([1, 1, 9, 5, 9, 9, 1]);
  });

  test('a fault in a function does not count what its callers have not reached', () => {
    const items: readonly Item[] = [
      mov64('r6', 'r1'), callLocal('f'), mov64('r0', 1), mov64('r1', 'r6'), callLocal('f'), mov64('r0', 2), exit(),
      label('f'), stx('u64', 'r10', -8, 'r1'), ldx('u32', 'r0', 'r1'), jump('jne', 'r0', 0, 'bad'), stx('u32', 'r1', 0, 'r1'), exit(),
      label('bad'), mov64('r2', 0), ldx('u64', 'r0', 'r2'), mov64('r0', 3), exit(),
    ];
    expect(everywhere(items)).toMatchObject({ counts: [1, 1, 1, 1, 1, 0, 0, 2, 2, 2, 1, 1, 1, 1, 0, 0], end: ['memory', 13] });
  });

  test('a trap of the platform at an address outside the memory', () => {
    const items: readonly Item[] = [
      mov64('r6', 3), label('loop'), mov64('r0', 1), ldx('u32', 'r3', 'r1'), alu64('add', 'r1', 0x1000_0000), alu64('sub', 'r6', 1), jump('jne', 'r6', 0, 'loop'), exit(),
    ];
    expect(everywhere(items)).toMatchObject({ counts: [1, 2, 2, 1, 1, 1, 0], end: ['memory', 2] });
    expect(everywhere(items, { verified: true }).counts).toEqual([1, 2, 2, 1, 1, 1, 0]);
  });

  test('frames too deep, instructions unknown, control that runs off the end', () => {
    everywhere([label('again'), mov64('r0', 1), callLocal('again'), exit()]);
    everywhere([mov64('r0', 1), raw(0xff), mov64('r0', 2), exit()]);
    everywhere([mov64('r0', 1), jump('jeq', 'r0', 2, 'end'), mov64('r0', 1), label('end'), mov64('r0', 5)]);
  });

  test('a function that begins between two shifts of another, which are one operation otherwise', () => {
    const items: readonly Item[] = [callLocal('middle'), mov64('r0', -1), alu64('lsh', 'r0', 32), label('middle'), alu64('rsh', 'r0', 32), exit()];
    expect(everywhere(items, { subprograms: [0] }).counts).toEqual([1, 1, 1, 2, 2]);
  });

  test('an irreducible graph and may_goto', () => {
    everywhere([
      mov64('r0', 0), jump('jne', 'r0', 0, 'b'), label('a'), alu64('add', 'r0', 1), label('b'), alu64('add', 'r0', 3), mayGoto('out'),
      jump('jlt', 'r0', 50, 'a'), label('out'), exit(),
    ]);
  });

  describe('calls out', () => {
    const surroundings: Surroundings = (world) => {
      const { space, at } = world;
      const helpers: MachineOptions['helpers'] = [
        undefined,
        (call): void => call.setResult(call.u32(1) + 1),
        (call): void => {
          for (let one = 0; one < 5; one++) {
            call.callbackArguments.fill(0);
            call.callbackArguments[0] = one;
            call.callback(call.registers[2]!);
          }
          call.setResult(call.callbackResult[0]!);
        },
        (call): void => call.fault('helper'),
        (call): void => call.charge(1_000_000),
        (call): void => {
          const own = new Uint32Array(call.program.instructionCount);
          const from = space.i32[at >> 2]!;
          space.i32[at >> 2] = from + 1;
          if (from === 0) world.machine.run(call.program, at, KERNEL_HI, { tier: 'baseline', coverage: own });
          // What the inner run counts is its own; the outer one tells of it through its result.
          call.setResult(own.reduce((sum, count) => sum + count, 0));
        },
      ];
      return { helpers, kfunc: (call): void => call.throwException(5, 0) };
    };

    test('that end the run', () => {
      for (const end of [callHelper(3), callHelper(4), callKfunc(9), callHelper(77)]) {
        const { counts } = everywhere([mov64('r6', 4), callLocal('f'), mov64('r0', 1), exit(), label('f'), mov64('r1', 2), callHelper(1), end, mov64('r0', 4), exit()], {}, surroundings, 900);
        expect(counts).toEqual([1, 1, 0, 0, 1, 1, 1, 0, 0]);
      }
    });

    test('that come back with callbacks', () => {
      const items: readonly Item[] = [
        ldFunction('r1', 'callback'), callHelper(2), alu64('add', 'r0', 1), exit(),
        label('callback'), mov64('r0', 'r1'), jump('jlt', 'r1', 3, 'less'), alu64('mul', 'r0', 2), label('less'), alu64('add', 'r0', 1), exit(),
      ];
      expect(everywhere(items, {}, surroundings).counts).toEqual([1, 0, 1, 1, 1, 5, 5, 2, 5, 5]);
    });

    test('that throw, with a callback for it', () => {
      const items: readonly Item[] = [
        mov64('r6', 4), callLocal('f'), exit(), label('f'), mov64('r0', 0), callKfunc(9), exit(), label('catch'), mov64('r0', 'r1'), alu64('add', 'r0', 1), exit(),
      ];
      expect(everywhere(items, { subprograms: [0, 3, 6], exceptionCallback: 2 }, surroundings)).toMatchObject({ counts: [1, 1, 0, 1, 1, 0, 1, 1, 1], end: 6 });
    });

    test('that run the same program with counts of its own', () => {
      const items: readonly Item[] = [mov64('r6', 0), callHelper(5), alu64('add', 'r0', 1), alu64('add', 'r6', 1), exit()];
      expect(everywhere(items, {}, surroundings)).toMatchObject({ counts: [1, 1, 1, 1, 1], end: 6 });
    });
  });

  test('tail calls: only what was asked for is counted, also where it is come back to', () => {
    const bodies = { self: true, other: false };
    for (const [name, isSelf] of Object.entries(bodies)) {
      let other: Program | undefined;
      const surroundings: Surroundings = (world) => ({
        tailCall: (call, _, index) => {
          if (index > 3) return undefined;
          other ??= world.machine.load({ name: 'other', instructions: assemble([mov64('r0', 42), mov64('r1', 1), exit()]) });
          return isSelf ? call.program as Program : other;
        },
      });
      const again: Surroundings = (world) => {
        other = undefined;
        return surroundings(world);
      };
      // The first word of the memory goes up with each round.
      const items: readonly Item[] = [
        ldx('u64', 'r3', 'r1'), mov64('r4', 'r3'), alu64('add', 'r4', 1), stx('u64', 'r1', 0, 'r4'), mov64('r2', 0), callHelper(12), mov64('r0', 1), exit(),
      ];
      const { counts } = everywhere(items, {}, again);
      expect(counts, name).toEqual(isSelf ? [5, 5, 5, 5, 5, 5, 1, 1] : [1, 1, 1, 1, 1, 1, 0, 0]);
    }
  });
});

describe('tiers', () => {
  const long = (turns: number): Uint8Array => assemble([
    mov64('r0', 0), mov64('r2', 0), label('loop'), alu64('add', 'r0', 'r2'), jump('jset', 'r2', 1, 'odd'), alu64('xor', 'r0', 5), label('odd'), alu64('add', 'r2', 1),
    jump('jne', 'r2', turns, 'loop'), exit(),
  ]);

  test('a run that is promoted is counted on both', () => {
    for (const partInstructions of [undefined, 3]) {
      const space = new AddressSpace({ initialBytes: 1 << 18 });
      const machine = new Machine({ space, helpers: [], ...(partInstructions === undefined ? {} : { partInstructions }) });
      const program = machine.load({ name: 'long', instructions: long(300_000) });
      const coverage = new Uint32Array(program.instructionCount);
      machine.run(program, 0, 0, { coverage });
      expect(machine.stats).toMatchObject({ interpretedRuns: 1, promotedRuns: 1, compiledRuns: 1 });
      expect([...coverage]).toEqual([1, 1, 300_000, 300_000, 150_000, 300_000, 300_000, 1]);
    }
  });

  test('counts of several runs add up, modules with and without counters are kept side by side', () => {
    const space = new AddressSpace({ initialBytes: 1 << 18 });
    const machine = new Machine({ space, helpers: [] });
    const program = machine.load({ name: 'short', instructions: long(4) });
    const coverage = new Uint32Array(program.instructionCount);
    for (let run = 0; run < 3; run++) {
      machine.run(program, 0, 0, { coverage, tier: 'baseline' });
      machine.run(program, 0, 0, { tier: 'baseline' });
    }
    expect([...coverage]).toEqual([3, 3, 12, 12, 6, 12, 12, 3]);
    expect(machine.stats).toMatchObject({ interpretedRuns: 0, baselineRuns: 6, compiledModules: 2 });
  });

  test('a machine gives back what it read counters with', () => {
    const space = new AddressSpace({ initialBytes: 1 << 18 });
    const taken = space.allocHidden(64, 'probe');
    for (let one = 0; one < 100; one++) {
      const machine = new Machine({ space, helpers: [] });
      const program = machine.load({ name: 'short', instructions: long(4) });
      machine.run(program, 0, 0, { coverage: new Uint32Array(program.instructionCount), tier: 'baseline' });
      machine.dispose();
    }
    space.freeHidden(taken);
    expect(space.allocHidden(64, 'probe')).toBe(taken);
  });

  test('more counters than are read at once', () => {
    const items: Item[] = [mov64('r0', 0)];
    for (let n = 0; n < 700; n++) items.push(jump('jset', 'r1', 1 << (n % 8), `skip${n}`), alu64('add', 'r0', 1), label(`skip${n}`));
    items.push(exit());
    const image = { name: 'many', instructions: assemble(items) };
    const { counts } = counted(image, { tier: 'interpreter' });
    expect(counted(image, { tier: 'baseline' }).counts).toEqual(counts);
  });
});
