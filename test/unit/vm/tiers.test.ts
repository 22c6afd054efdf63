import { describe, expect, test, vi } from 'vitest';
import { alu64, assemble, callHelper, callLocal, exit, goto, jump, label, ldImm64Words, ldx, mov64, raw, st, stx, type Item, type Register } from '../../../isa/encode.ts';
import { AddressSpace, KERNEL_HI } from '../../../vm/address-space.ts';
import { DECLINED, type DirectHelper } from '../../../vm/direct.ts';
import { Machine } from '../../../vm/machine.ts';
import type { EngineStats, MachineOptions, RunOptions } from '../../../vm/types.ts';

function world(options: Partial<MachineOptions> = {}): { machine: Machine; space: AddressSpace; at: number } {
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const at = space.alloc(4096, 'memory', 16);
  return { space, at, machine: new Machine({ space, helpers: [], ...options }) };
}

/** Counts down from `count`, summing and touching memory, in a function called from another with live registers. */
const long = (count: number): readonly Item[] => [
  mov64('r6', 7), mov64('r7', 'r1'), callLocal('sum'), alu64('add', 'r0', 'r6'), ldx('u64', 'r2', 'r7', 8), alu64('add', 'r0', 'r2'), exit(),
  label('sum'), mov64('r8', count), mov64('r0', 0), stx('u64', 'r10', -8, 'r0'),
  label('loop'), alu64('add', 'r0', 'r8'), stx('u64', 'r10', -8, 'r0'), stx('u64', 'r1', 8, 'r8'), alu64('sub', 'r8', 1), jump('jne', 'r8', 0, 'loop'),
  ldx('u64', 'r0', 'r10', -8), exit(),
];

describe('the policy', () => {
  test('first runs are interpreted, later ones compiled, with equal results', () => {
    const { machine, at } = world();
    const program = machine.load({ name: 'short', instructions: assemble([ldx('u8', 'r0', 'r1'), alu64('add', 'r0', 3), exit()]) });
    for (let run = 0; run < 4; run++) expect(machine.run(program, at, KERNEL_HI)).toMatchObject({ r0Lo: 3, r0Hi: 0, fault: undefined, instructions: 3 });
    expect(machine.stats).toMatchObject({ interpretedRuns: 1, compiledRuns: 3, compiledModules: 1, refusals: 0 });
  });

  test.each<[string, RunOptions, boolean]>([
    ['checked and counted', {}, true], ['fast and counted', { mode: 'fast' }, true], ['checked', { budget: Infinity }, false],
    ['fast', { mode: 'fast', budget: Infinity }, false],
  ])('a long first run goes on in compiled code: %s', (_, options, counted) => {
    const instructions = assemble(long(400_000));
    const one = world();
    const expected = { ...one.machine.run(one.machine.load({ name: 'long', instructions }), one.at, KERNEL_HI, { ...options, tier: 'interpreter' }) };
    expect(one.machine.stats.compiledModules).toBe(0);
    const two = world();
    const result = two.machine.run(two.machine.load({ name: 'long', instructions }), two.at, KERNEL_HI, options);
    expect(two.machine.stats.compiledModules).toBe(1);
    expect({ ...result, instructions: 0 }).toEqual({ ...expected, instructions: 0 });
    expect(result.instructions).toBe(counted ? expected.instructions : -1);
    expect(two.space.getBytes(two.at, 16)).toEqual(one.space.getBytes(one.at, 16));
  });

  test('a promoted run keeps its budget and the place of its faults', () => {
    const instructions = assemble([mov64('r2', 0), label('loop'), alu64('add', 'r2', 1), jump('jne', 'r2', 600_000, 'loop'), mov64('r3', 0), ldx('u8', 'r0', 'r3'), exit()]);
    const { machine, at } = world();
    const program = machine.load({ name: 'long', instructions });
    const fault = machine.run(program, at, KERNEL_HI).fault;
    expect(fault).toMatchObject({ kind: 'memory', pc: 4 });
    for (const budget of [1_000_000, 1_000_001, 1_199_999]) {
      const other = machine.load({ name: 'long', instructions });
      const result = machine.run(other, at, KERNEL_HI, { budget });
      expect(result).toMatchObject({ instructions: budget, fault: { kind: 'budget', pc: 1 + ((budget - 1) % 2) } });
    }
  });

  test('a traced run stays in the interpreter', () => {
    const { machine, at } = world();
    const program = machine.load({ name: 'long', instructions: assemble(long(300_000)) });
    let times = 0;
    const trace = (_: unknown, pc: number): void => {
      if (pc === 10) times++;
    };
    machine.run(program, at, KERNEL_HI, { trace, coverage: new Uint32Array(program.instructionCount) });
    expect(machine.stats.compiledModules).toBe(0);
    expect(times).toBe(300_000);
  });

  test('functions that share too much code are refused: the interpreter runs them, and says so', () => {
    // Three hundred functions, each of which falls into all that follow.
    const items: Item[] = [mov64('r0', 0)];
    for (let n = 0; n < 300; n++) items.push(jump('jeq', 'r1', n, `skip${n}`), callLocal(`f${n}`), label(`skip${n}`));
    items.push(exit());
    for (let n = 0; n < 300; n++) items.push(label(`f${n}`), alu64('add', 'r0', 1), alu64('xor', 'r0', n));
    items.push(exit());
    const { machine, at } = world();
    const program = machine.load({ name: 'sharing', instructions: assemble(items) });
    const first = { ...machine.run(program, at, KERNEL_HI, { tier: 'interpreter' }) };
    expect(machine.run(program, at, KERNEL_HI, { tier: 'baseline' })).toEqual(first);
    expect(machine.stats).toMatchObject({ refusals: 1, compiledModules: 0, lastRefusal: 'functions that share too much code' });
    expect(machine.stats.fallbacks).toEqual([{ program: 'sharing', tier: 'interpreter', reason: 'functions that share too much code' }]);
  });

  test('without WebAssembly everything is interpreted, says so once a program, and the memory grows all the same', () => {
    const run = (): unknown => {
      const { machine, space, at } = world({ helpers: [undefined, (call): void => { call.space.alloc(call.space.byteLength, 'much'); call.setResult(3); }] });
      const program = machine.load({ name: 'plain', instructions: assemble([st('u32', 'r1', 0, 5), mov64('r6', 'r1'), callHelper(1), ldx('u32', 'r1', 'r6'), alu64('add', 'r0', 'r1'), exit()]), verified: true });
      const entry = machine.entry(machine.load({ name: 'entry', instructions: assemble([ldx('u32', 'r0', 'r1'), exit()]), verified: true }));
      const results = (['auto', 'baseline', 'optimised', 'auto'] as const).map((tier) => machine.run(program, at, KERNEL_HI, { tier }).r0Lo);
      return { results, entry: [entry.run(at), entry.repeat(at, 3)], bytes: space.byteLength, stats: machine.stats };
    };
    const usual = run();
    expect(usual).toMatchObject({ results: [8, 8, 8, 8], entry: [5, 5] });
    vi.stubGlobal('WebAssembly', undefined);
    try {
      const { stats, ...without } = run() as { stats: EngineStats };
      expect(usual).toMatchObject(without);
      expect(stats).toMatchObject({ compiledRuns: 0, compiledModules: 0, interpretedRuns: 8, lastRefusal: 'the platform has no WebAssembly' });
      const reason = 'the platform has no WebAssembly';
      expect(stats.fallbacks.filter(({ tier }) => tier === 'interpreter')).toEqual(['entry', 'plain'].map((program) => ({ program, tier: 'interpreter', reason })));
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test('what the platform refuses is interpreted', () => {
    const { machine, at } = world({ compileOptimised: () => { throw new WebAssembly.CompileError('no'); } });
    const program = machine.load({ name: 'refused', instructions: assemble([mov64('r0', 5), exit()]) });
    expect(machine.run(program, at, KERNEL_HI, { tier: 'optimised' }).r0Lo).toBe(5);
    expect(machine.stats).toMatchObject({ refusals: 1, lastRefusal: 'no' });
  });

  test('runs are counted by tier, and what is not on the tier asked for has a reason', () => {
    let now = 0;
    const instructions = assemble([mov64('r0', 5), exit()]);
    const { machine, at } = world({ clock: () => now++, compileOptimised: (wasm) => new WebAssembly.Module(wasm) });
    const one = machine.load({ name: 'one', instructions, verified: true });
    const tiers = ['interpreter', 'baseline', 'baseline', 'baseline', 'optimised', 'optimised'] as const;
    for (const tier of tiers) expect(machine.run(one, at, KERNEL_HI, { tier }).r0Lo).toBe(5);
    expect(machine.stats).toMatchObject({ interpretedRuns: 1, baselineRuns: 3, optimisedRuns: 2, compiledRuns: 5, compiledModules: 2, fallbacks: [] });
    expect(machine.stats.emitMilliseconds).toBe(2);
    expect(machine.stats.compileMilliseconds).toBe(2);
    const plain = world();
    plain.machine.run(plain.machine.load({ name: 'two', instructions }), plain.at, KERNEL_HI, { tier: 'optimised' });
    expect(plain.machine.stats.fallbacks).toEqual([{ program: 'two', tier: 'baseline', reason: 'the platform cannot be asked for optimised code' }]);
    const large = machine.load({ name: 'large', instructions: assemble([...Array.from({ length: 10_000 }, () => mov64('r0', 1)), exit()]) });
    machine.run(large, at, KERNEL_HI, { tier: 'optimised' });
    expect(machine.stats.fallbacks).toEqual([{ program: 'large', tier: 'baseline', reason: 'more than 10000 instructions' }]);
  });
});

describe('repeated runs', () => {
  const body = assemble([ldx('u32', 'r2', 'r1'), mov64('r0', 1), jump('jgt', 'r2', 5, 'out'), stx('u8', 'r1', 4, 'r0'), label('out'), alu64('add', 'r0', 'r2'), exit()]);
  test('one call after the other, with other programs between', () => {
    const { machine, space, at } = world();
    const program = machine.load({ name: 'one', instructions: body, verified: true });
    const other = machine.load({ name: 'two', instructions: assemble([ldx('u64', 'r0', 'r1', 9000), exit()]) });
    for (let n = 0; n < 12; n++) {
      space.setU32(at, n);
      expect(machine.run(program, at, KERNEL_HI)).toMatchObject({ r0Lo: n + 1, r0Hi: 0, fault: undefined });
      if (n % 4 === 3) expect(machine.run(other, at, KERNEL_HI).fault).toMatchObject({ kind: 'memory', pc: 0 });
    }
  });

  test('a batch gives each entry its result', () => {
    for (const options of [{ mode: 'fast', budget: Infinity, tier: 'baseline' }, { tier: 'interpreter' }, { tier: 'baseline', budget: 1000 }] as const) {
      const { machine, space, at } = world();
      const program = machine.load({ name: 'one', instructions: body });
      const list = space.alloc(16 * 10, 'list');
      for (let n = 0; n < 10; n++) {
        space.setU32(at + 16 * n, n);
        space.setU32(list + 16 * n, at + 16 * n);
      }
      expect(machine.runBatch(program, list, 10, options)).toMatchObject({ fault: undefined, r0Lo: 10 });
      for (let n = 0; n < 10; n++) {
        expect(space.getU32(list + 16 * n + 8)).toBe(n + 1);
        expect(space.u8[at + 16 * n + 4]).toBe(n > 5 ? 0 : 1);
      }
    }
  });

  test('an entry gives what a run gives, with other programs, faults and batches between', () => {
    for (const options of [{ mode: 'fast', budget: Infinity, tier: 'baseline' }, { mode: 'checked', budget: Infinity }, { tier: 'interpreter' }, { budget: 1000 }] as const) {
      const { machine, space, at } = world();
      const image = { name: 'one', instructions: assemble([ldx('u64', 'r0', 'r1'), stx('u8', 'r1', 16, 'r0'), alu64('mul', 'r0', 3), exit()]) };
      const program = machine.load(image);
      const entry = machine.entry(program, options);
      const other = machine.entry(machine.load({ name: 'two', instructions: body, verified: true }));
      const list = space.alloc(32, 'list');
      space.setU32(list, at);
      space.setU32(list + 16, at);
      for (let n = 1; n < 8; n++) {
        space.setU32(at, n);
        space.setU32(at + 4, n);
        expect(entry.run(at)).toBe(3 * n);
        if (n % 3 === 1) expect(other.run(at)).toBe(n + 1);
        space.setU32(at + 4, n);
        if (n % 3 === 2) machine.run(program, at, KERNEL_HI, { tier: 'interpreter' });
        expect(entry.run(at)).toBe(3 * n);
        expect(entry.result()).toMatchObject({ r0Lo: 3 * n, r0Hi: 3 * n, fault: undefined });
        expect(space.u8[at + 16]).toBe(n);
        if (n % 2 === 0) {
          expect(entry.run(0x7ffffff0)).toBe(0);
          expect(entry.result()).toMatchObject({ r0Lo: 0, fault: { kind: 'memory', pc: 0, program: 'one' } });
        }
        if (n % 4 === 3) {
          expect(entry.batch(list, 2)).toMatchObject({ r0Lo: 3 * n, r0Hi: 3 * n, fault: undefined });
          expect([space.getU32(list + 8), space.getU32(list + 12), space.getU32(list + 24)]).toEqual([3 * n, 3 * n, 3 * n]);
        }
      }
    }
  });

  test('the fault of an entry is told until something else runs, which goes on as if there had been none', () => {
    for (const tier of ['baseline', 'interpreter'] as const) {
      const { machine, space, at } = world();
      const options = { mode: 'fast', budget: Infinity, tier } as const;
      const image = { name: 'one', instructions: assemble([ldx('u32', 'r0', 'r1'), alu64('add', 'r0', 1), exit()]) };
      const one = machine.entry(machine.load(image), options);
      const two = machine.entry(machine.load({ ...image, name: 'two' }), options);
      const program = machine.load({ ...image, name: 'three' });
      const others: readonly (() => number)[] = [
        () => one.run(at), () => two.run(at), () => one.repeat(at, 2), () => two.repeat(at, 2), () => machine.run(program, at, KERNEL_HI, options).r0Lo,
      ];
      space.setU32(at, 41);
      for (const other of [...others, ...others]) {
        expect(one.run(0x7ffffff0)).toBe(0);
        for (let n = 0; n < 2; n++) expect(one.result()).toMatchObject({ r0Lo: 0, fault: { kind: 'memory', pc: 0, program: 'one' } });
        expect(other()).toBe(42);
        expect(two.run(at)).toBe(42);
        expect(two.result()).toMatchObject({ r0Lo: 42, fault: undefined });
        expect(one.run(at)).toBe(42);
        expect(one.result()).toMatchObject({ r0Lo: 42, fault: undefined });
      }
    }
  });

  test('an entry used by a helper leaves the run that is under way alone', () => {
    const inner = world();
    const double = inner.machine.entry(inner.machine.load({ name: 'double', instructions: assemble([ldx('u32', 'r0', 'r1'), mov64('r6', 'r0'), alu64('add', 'r0', 'r6'), exit()]), verified: true }));
    const outer = world({ helpers: [undefined, (call): void => {
      inner.space.setU32(inner.at, call.u32(1));
      const doubled = double.run(inner.at);
      call.setResult(doubled + own.run(outer.at) + call.u32(2));
    }] });
    const own = outer.machine.entry(outer.machine.load({ name: 'own', instructions: assemble([mov64('r6', 0), mov64('r0', 1000), exit()]), verified: true }));
    const program = outer.machine.load({ name: 'outer', instructions: assemble([mov64('r6', 5), mov64('r1', 20), mov64('r2', 7), callHelper(1), alu64('add', 'r0', 'r6'), exit()]), verified: true });
    expect(own.run(outer.at)).toBe(1000);
    expect(double.run(inner.at)).toBe(0);
    for (const tier of ['interpreter', 'baseline'] as const) expect(outer.machine.run(program, 0, 0, { tier }).r0Lo).toBe(1052);
    expect(own.run(outer.at)).toBe(1000);
  });

  test('each entry of a batch begins with registers of its own', () => {
    // r6 and the lower half of r7 are read before they are written; a loop and several exits lie between.
    const instructions = assemble([
      mov64('r0', 'r6'), alu64('add', 'r0', 'r7'), alu64('add', 'r0', 'r3'), ldx('u32', 'r2', 'r1'), jump('jeq', 'r2', 3, 'out'), label('loop'),
      alu64('add', 'r6', 1), alu64('add', 'r3', 'r6'), alu64('sub', 'r2', 1), jump('jne', 'r2', 0, 'loop'), ldImm64Words('r7', 0, 5, 6), alu64('add', 'r0', 100),
      jump('jset', 'r6', 1, 'out'), alu64('add', 'r0', 1000), label('out'), exit(),
    ]);
    for (const tier of ['baseline', 'interpreter'] as const) {
      const { machine, space, at } = world();
      const program = machine.load({ name: 'own', instructions });
      const list = space.alloc(16 * 4, 'list');
      for (const [n, first] of [1, 2, 3, 1].entries()) {
        space.setU32(at + 16 * n, first);
        space.setU32(list + 16 * n, at + 16 * n);
      }
      expect(machine.runBatch(program, list, 4, { mode: 'fast', budget: Infinity, tier })).toMatchObject({ fault: undefined, r0Lo: 100 });
      expect([0, 1, 2, 3].map((n) => space.getU32(list + 16 * n + 8))).toEqual([100, 1100, 0, 100]);
    }
  });

  test('a batch with a fault says so', () => {
    const { machine, space, at } = world();
    const program = machine.load({ name: 'one', instructions: body });
    const list = space.alloc(32, 'list');
    space.setU32(list, at);
    space.setU32(list + 16, 0x7ffffff0);
    for (const tier of ['baseline', 'interpreter'] as const) {
      expect(machine.runBatch(program, list, 2, { mode: 'fast', budget: Infinity, tier }).fault).toMatchObject({ kind: 'memory', pc: 0 });
    }
  });
});

test('helpers given as eBPF do what the helper does', () => {
  const inlineHelpers = new Map([[5, assemble([mov64('r0', 'r1'), jump('jgt', 'r2', 3, 'big'), alu64('lsh', 'r0', 1), label('big'), alu64('add', 'r0', 'r5'), exit()])]]);
  const helpers: MachineOptions['helpers'] = [
    undefined, undefined, undefined, undefined, undefined,
    (call): void => call.setResult((call.u32(2) > 3 ? call.u32(1) : call.u32(1) * 2) + call.u32(5)),
  ];
  const items: readonly Item[] = [mov64('r6', 'r1'), ldx('u8', 'r2', 'r6'), mov64('r1', 20), mov64('r5', 7), callHelper(5), goto('out'), label('out'), raw(0x95)];
  for (const first of [2, 9]) {
    const results = (['interpreter', 'baseline'] as const).map((tier) => {
      const { machine, space, at } = world({ helpers, inlineHelpers });
      space.u8[at] = first;
      return machine.run(machine.load({ name: 'helped', instructions: assemble(items) }), at, KERNEL_HI, { tier, budget: 100 }).r0Lo;
    });
    expect(results).toEqual(first > 3 ? [27, 27] : [47, 47]);
  }
});

describe('helpers with a second form', () => {
  /** Helper 1: r1 + 2 r3, by sign, general where r1 is odd. Helper 2: the address of r1, null where it is 0. Helper 3: r2 as uint32. Helper 4: r1 * r2 + r3. */
  const seen: string[] = [];
  const general: MachineOptions['helpers'] = [
    undefined,
    (call): void => { seen.push(`1 at ${call.pc}`); if (call.u32(1) === 99) call.fault('helper'); call.setResult((call.u32(1) + 2 * call.registers[6]!) | 0); },
    (call): void => { seen.push('2'); call.setPointer(call.u32(1)); },
    (call): void => { seen.push('3'); call.registers[0] = call.registers[4]!; call.registers[1] = 0; },
    (call): void => {
      seen.push('4');
      const word = (n: number): bigint => (BigInt(call.registers[2 * n + 1]!) << 32n) | BigInt(call.u32(n));
      const product = BigInt.asIntN(64, word(1) * word(2) + word(3));
      call.registers[0] = Number(BigInt.asIntN(32, product));
      call.registers[1] = Number(product >> 32n);
    },
  ];
  const direct = new Map<number, DirectHelper>([
    [1, { parameters: ['low', 'low', 'pair'], result: 'signed', call: (a, _b, c) => ((a & 1) === 1 ? DECLINED : (a + 2 * c) | 0) }],
    [2, { parameters: ['low'], result: 'pointer', call: (a) => a }],
    [3, { parameters: ['low', 'low'], result: 'unsigned', call: (_a, b) => b }],
    [4, { arguments: 3, bind: (registers) => () => { const r = registers.i64; r[0] = BigInt.asIntN(64, BigInt.asIntN(64, r[1]! * r[2]!) + r[3]!); } }],
  ]);
  const call = (id: number, ...args: readonly number[]): Uint8Array =>
    assemble([...args.flatMap((value, index): Item[] => [ldImm64Words(`r${index + 1}` as Register, 0, value | 0, Math.floor(value / 2 ** 32) | 0)]), callHelper(id), exit()]);

  test('is called in unchecked code of verified programs, and declines what the first form does', () => {
    const cases: readonly (readonly [id: number, ...args: readonly number[]])[] = [
      [1, 8, 0, 5], [1, 8, 0, -9], [1, 7, 0, 5], [1, 7, 0, -50], [1, 0, 0, -0x40000000], [2, 0], [2, 70_000], [3, 1, -1], [3, 1, 5], [4, 3, -7, 2], [4, 2 ** 40, 2 ** 20 + 1, -1],
    ];
    const { machine, space } = world({ helpers: general, directHelpers: direct });
    for (const [id, ...args] of cases) {
      const program = machine.load({ name: 'calls', instructions: call(id, ...args), verified: true });
      const { r0Lo, r0Hi } = machine.run(program, 0, 0, { tier: 'interpreter' });
      for (const options of [{ tier: 'baseline' }, { tier: 'baseline', budget: 100 }, { tier: 'baseline', mode: 'checked' }, { tier: 'baseline', budget: 2 }] as const) {
        seen.length = 0;
        const result = machine.run(program, 0, 0, options);
        if ('budget' in options && options.budget === 2) expect(result.fault?.kind).toBe('budget');
        else expect([id, args, options, result.r0Lo, result.r0Hi, result.fault]).toEqual([id, args, options, r0Lo, r0Hi, undefined]);
        if (!('budget' in options) && !('mode' in options)) expect(seen).toEqual(id === 1 && (args[0] === 7 || args[2] === -0x40000000) ? ['1 at 6'] : []);
      }
    }
    // The views of a memory that has grown are others.
    space.alloc(space.byteLength, 'much');
    expect(machine.run(machine.load({ name: 'calls', instructions: call(4, 6, 7, 1), verified: true }), 0, 0, { tier: 'baseline' }).r0Lo).toBe(43);
  });

  test('unverified programs call the first form, whose fault has its place', () => {
    const { machine } = world({ helpers: general, directHelpers: direct });
    seen.length = 0;
    expect(machine.run(machine.load({ name: 'calls', instructions: call(2, 70_000) }), 0, 0, { tier: 'baseline', budget: 100 }).fault).toBeUndefined();
    expect(seen).toEqual(['2']);
    const fault = machine.run(machine.load({ name: 'calls', instructions: call(1, 99, 0, 5), verified: true }), 0, 0, { tier: 'baseline' }).fault;
    expect(fault).toMatchObject({ kind: 'helper', pc: 6, program: 'calls' });
  });
});

test('a helper that runs other programs, singly and in batches, keeps its registers', () => {
  const inner = world();
  const program = inner.machine.load({ name: 'inner', instructions: assemble([mov64('r6', 99), ldx('u8', 'r0', 'r1'), exit()]) });
  const list = inner.space.alloc(16, 'list');
  inner.space.setU32(list, inner.at);
  for (const tier of ['interpreter', 'baseline'] as const) {
    const seen: number[] = [];
    const outer = world({ helpers: [undefined, (call): void => {
      for (let n = 0; n < 3; n++) {
        inner.machine.run(program, inner.at, KERNEL_HI, { tier: 'baseline', mode: 'checked', budget: Infinity });
        inner.machine.runBatch(program, list, 1, { tier: 'baseline', mode: 'checked', budget: Infinity });
        seen.push(call.u32(1), call.u32(5));
      }
      call.setResult(call.u32(1));
    }] });
    const instructions = assemble([mov64('r1', 11), mov64('r5', 55), mov64('r6', 4), callHelper(1), alu64('add', 'r0', 'r6'), exit()]);
    expect(outer.machine.run(outer.machine.load({ name: 'outer', instructions }), 0, 0, { tier }).r0Lo).toBe(15);
    expect(seen).toEqual([11, 55, 11, 55, 11, 55]);
  }
});

test('a machine leaves no allocation behind', () => {
  const { machine, space, at } = world();
  const program = machine.load({ name: 'short', instructions: assemble([mov64('r0', 5), exit()]) });
  machine.run(program, at, KERNEL_HI);
  machine.unload(program);
  machine.dispose();
  expect(space.live().map((one) => one.label)).toEqual(['memory']);
});
