import { describe, expect, test } from 'vitest';
import {
  alu64, assemble, callHelper, callKfunc, callLocal, exit, goto, gotox, jump, label, ldAbs, ldFunction, ldImm64, ldInd, ldx, mayGoto, mov64, raw, st,
  stx, type Item,
} from '../../../isa/encode.ts';
import { codeAddress, type HelperFunction, type ProgramImage } from '../../../vm/types.ts';
import { KERNEL_HI } from '../../../vm/address-space.ts';
import { ENGINES, runEverywhere, runOn, type Outcome, type Scenario } from './engines.ts';

function run(items: readonly Item[], scenario: Partial<Scenario> = {}): Outcome {
  return runEverywhere({ instructions: assemble(items), ...scenario });
}

function helpers(...functions: readonly (HelperFunction | undefined)[]): Pick<Scenario, 'environment'> {
  return { environment: () => ({ helpers: [undefined, ...functions] }) };
}

describe('helper calls', () => {
  test('arguments arrive, the result returns, r1 to r9 stay', () => {
    const seen: number[] = [];
    const helper: HelperFunction = (call) => {
      seen.splice(0, seen.length, ...call.registers.subarray(2, 12));
      call.registers[0] = 7;
      call.registers[1] = -1;
    };
    const body = [
      ...[1, 2, 3, 4, 5].map((n) => mov64(`r${n}` as 'r1', n * 10)), mov64('r9', 99), callHelper(1), alu64('add', 'r0', 'r9'),
      alu64('add', 'r0', 'r5'), exit(),
    ];
    expect(run(body, helpers(helper)).r0).toBe(0xffffffff00000000n + 7n + 99n + 50n);
    expect(seen).toEqual([10, 0, 20, 0, 30, 0, 40, 0, 50, 0]);
  });

  test('accessors read and write what they say', () => {
    let seen: unknown;
    const helper: HelperFunction = (call) => {
      seen = [call.u32(1), call.s64(2), call.pc];
      call.setResult(-14);
    };
    expect(run([...ldImm64('r1', 0xfffffffffn), mov64('r2', -5), callHelper(1), exit()], helpers(helper)).r0).toBe(0xfffffffffffffff2n);
    expect(seen).toEqual([0xffffffff, -5, 3]);
  });

  test('memory may grow inside a helper', () => {
    const helper: HelperFunction = (call) => call.setPointer(call.space.alloc(1 << 20, 'grown'));
    const body = [mov64('r6', 'r1'), callHelper(1), st('u64', 'r0', 64, 5), ldx('u64', 'r7', 'r0', 64), ldx('u8', 'r0', 'r6'), alu64('add', 'r0', 'r7'), exit()];
    expect(run(body, { ...helpers(helper), memory: Uint8Array.of(3) }).r0).toBe(8n);
  });

  test('an unknown helper faults with its place', () => {
    expect(run([mov64('r0', 1), callHelper(77), exit()]).fault).toMatchObject({ kind: 'unknown-helper', pc: 1 });
    expect(run([mov64('r0', 1), callHelper(-3), exit()]).fault).toMatchObject({ kind: 'unknown-helper', pc: 1 });
  });

  test('a helper can end the run with a fault', () => {
    const fault = run([callHelper(1), exit()], helpers((call) => call.fault('helper'))).fault;
    expect(fault).toMatchObject({ kind: 'helper', pc: 0, message: 'helper at instruction 0 of test' });
  });

  test('an error of a helper passes through and leaves the machine usable', () => {
    for (const engine of ENGINES) {
      let calls = 0;
      expect(() =>
        runOn(engine, {
          instructions: assemble([callHelper(1), exit()]),
          environment: ({ machine }) => ({ helpers: [undefined, (): void => {
            calls++;
            if (calls === 1) {
              const inner = machine.load({ name: 'inner', instructions: assemble([callHelper(1), exit()]) });
              machine.run(inner, 0, 0);
            }
            throw new TypeError('of the helper');
          }] }),
        }),
      ).toThrow('of the helper');
      expect(calls).toBe(2);
    }
  });

  test('runs nest: a helper may run another program', () => {
    const outcome = run([mov64('r6', 40), callHelper(1), alu64('add', 'r0', 'r6'), exit()], {
      environment: ({ load, machine }) => {
        const inner = load({ name: 'inner', instructions: assemble([mov64('r6', 1), mov64('r0', 2), exit()]) });
        return { helpers: [undefined, (call): void => call.setResult(machine.run(inner, 0, 0).r0Lo)] };
      },
    });
    expect(outcome.r0).toBe(42n);
  });

  test('nesting has an end', () => {
    let faults = '';
    run([callHelper(1), exit()], {
      environment: ({ machine }) => ({ helpers: [undefined, (call): void => {
        const result = machine.run(call.program, 0, 0);
        if (result.fault !== undefined) faults = result.fault.kind;
        call.setResult(0);
      }] }),
    });
    expect(faults).toBe('call-depth');
  });
});

describe('kfunc calls', () => {
  test('get the type id and the module index; arguments beyond the fifth lie on the stack', () => {
    let seen: unknown;
    const body = [
      raw(0x7a, 11, 0, -8, 66), mov64('r6', 77), raw(0x7b, 11, 6, -16), ...[1, 2, 3, 4, 5].map((n) => mov64(`r${n}` as 'r1', n)), callKfunc(1234, 3), exit(),
    ];
    const outcome = run(body, {
      environment: () => ({ kfunc: (call, id, offset): void => {
        seen = [id, offset, call.u32(5), call.space.getU32(call.stackArgument(6)), call.space.getU32(call.stackArgument(7))];
        call.setResult(9);
      } }),
    });
    expect(seen).toEqual([1234, 3, 5, 66, 77]);
    expect(outcome.r0).toBe(9n);
  });

  test('local functions read stack arguments of their caller', () => {
    const body = [
      raw(0x7a, 11, 0, -8, -5), raw(0x7a, 11, 0, -16, 12), callLocal('f'), exit(), label('f'), raw(0x79, 0, 11, 8), raw(0x79, 2, 11, 16), alu64('add', 'r0', 'r2'), exit(),
    ];
    expect(run(body).r0).toBe(7n);
  });
});

describe('local calls', () => {
  test('arguments, result, preserved registers and a frame of its own', () => {
    const body = [
      mov64('r6', 1), mov64('r7', 2), st('u64', 'r10', -8, 1000), mov64('r1', 30), callLocal('f'),
      alu64('add', 'r0', 'r6'), alu64('add', 'r0', 'r7'), ldx('u64', 'r1', 'r10', -8), alu64('add', 'r0', 'r1'), exit(),
      label('f'), st('u64', 'r10', -8, 5), mov64('r6', 500), mov64('r7', 600), ldx('u64', 'r0', 'r10', -8), alu64('add', 'r0', 'r1'), exit(),
    ];
    expect(run(body).r0).toBe(1038n);
  });

  test('a callee may write to its caller\'s stack', () => {
    const body = [
      mov64('r1', 'r10'), alu64('add', 'r1', -16), callLocal('f'), ldx('u64', 'r0', 'r10', -16), exit(), label('f'), st('u64', 'r1', 0, 77), mov64('r0', 0), exit(),
    ];
    expect(run(body).r0).toBe(77n);
  });

  const recursion = (depth: number): readonly Item[] => [
    mov64('r1', depth), callLocal('f'), exit(),
    label('f'), mov64('r0', 1), jump('jle', 'r1', 1, 'done'), alu64('sub', 'r1', 1), callLocal('f'), alu64('add', 'r0', 1), label('done'), exit(),
  ];
  test('eight frames, not nine', () => {
    expect(run(recursion(7))).toMatchObject({ r0: 7n, fault: undefined });
    expect(run(recursion(8)).fault).toMatchObject({ kind: 'call-depth', pc: 6 });
  });

  test('a frame\'s stack is only as deep as its function says', () => {
    const items: readonly Item[] = [callLocal('f'), exit(), label('f'), mov64('r0', 3), st('u8', 'r10', -32, 1), st('u8', 'r10', -33, 1), exit()];
    const image: Partial<ProgramImage> = { subprograms: [0, 2], stackDepths: [0, 32] };
    const outcome = run(items, { image, options: { mode: 'checked' } });
    expect(outcome.fault).toMatchObject({ kind: 'memory', pc: 4, size: 1, write: true });
  });
});

describe('callbacks', () => {
  const loop: HelperFunction = (call) => {
    const count = call.u32(1);
    const address = call.registers[4]!;
    const context = [call.registers[6]!, call.registers[7]!] as const;
    let total = 0;
    for (let index = 0; index < count; index++) {
      call.callbackArguments.fill(0);
      call.callbackArguments[0] = index;
      call.callbackArguments[2] = context[0];
      call.callbackArguments[3] = context[1];
      call.callback(address);
      total++;
      if (call.callbackResult[0] !== 0) break;
    }
    call.setResult(total);
  };
  const summing = (stop: number): readonly Item[] => [
    st('u64', 'r10', -8, 0), mov64('r9', 5), mov64('r1', 10), ...ldFunction('r2', 'body').flat(), mov64('r3', 'r10'), alu64('add', 'r3', -8), callHelper(1),
    ldx('u64', 'r1', 'r10', -8), alu64('lsh', 'r0', 32), alu64('add', 'r0', 'r1'), alu64('add', 'r0', 'r9'), exit(),
    label('body'), mov64('r9', 77), ldx('u64', 'r3', 'r2'), alu64('add', 'r3', 'r1'), stx('u64', 'r2', 0, 'r3'), mov64('r0', 0),
    jump('jne', 'r1', stop, 'end'), mov64('r0', 1), label('end'), exit(),
  ];
  test('run in frames of their own and reach the caller\'s stack', () => {
    expect(run(summing(100), helpers(loop)).r0).toBe((10n << 32n) + 45n + 5n);
    expect(run(summing(3), helpers(loop)).r0).toBe((4n << 32n) + 6n + 5n);
  });
  test('a fault inside ends the run with its place', () => {
    const body = [mov64('r1', 10), ...ldFunction('r2', 'body').flat(), callHelper(1), exit(), label('body'), mov64('r2', 0), ldx('u64', 'r0', 'r2', 8), exit()];
    expect(run(body, { ...helpers(loop), options: { mode: 'checked' } }).fault).toMatchObject({ kind: 'memory', pc: 6, addressLo: 8, addressHi: 0 });
  });
  test('an address that is no instruction faults at the call', () => {
    for (const bad of [0, codeAddress(100), codeAddress(1), codeAddress(0) + 1]) {
      const body = [...ldImm64('r2', 5n), mov64('r1', 1), callHelper(1), exit()];
      const outcome = run(body, helpers((call) => call.callback(bad)));
      expect(outcome.fault).toMatchObject({ kind: 'bad-target', pc: 3 });
    }
  });
  test('count as frames', () => {
    const nest: HelperFunction = (call) => {
      call.callback(call.registers[4]!);
      call.setResult(0);
    };
    const body = [...ldFunction('r2', 'f').flat(), mov64('r6', 'r2'), label('f'), ...ldFunction('r2', 'f').flat(), callHelper(1), exit()];
    expect(run(body, helpers(nest)).fault).toMatchObject({ kind: 'call-depth', pc: 5 });
  });
  test('can be called from outside a run', () => {
    for (const engine of ENGINES) {
      runOn(engine, {
        instructions: assemble([mov64('r0', 1), exit()]),
        environment: ({ machine, load }) => {
          const program = load({ name: 'timer', instructions: assemble([mov64('r0', 5), exit(), label('f'), mov64('r0', 'r1'), alu64('add', 'r0', 'r3'), exit()]), subprograms: [0, 2] });
          const result = machine.callback(program, codeAddress(2), Int32Array.of(1, 0, 2, 0, 3, 0, 0, 0, 0, 0), engine.options);
          expect([result.r0Lo, result.fault]).toEqual([4, undefined]);
          return {};
        },
      });
    }
  });
});

describe('exceptions', () => {
  const thrower: HelperFunction = (call) => call.throwException(call.registers[2]!, call.registers[3]!);
  const body = [callLocal('f'), mov64('r0', 1), exit(), label('f'), mov64('r1', 44), callHelper(1), exit(), label('catch'), mov64('r0', 'r1'), alu64('add', 'r0', 1), exit()];
  test('the cookie is the result', () => expect(run(body, helpers(thrower))).toMatchObject({ r0: 44n, fault: undefined }));
  test('the exception callback decides', () => {
    expect(run(body, { ...helpers(thrower), image: { subprograms: [0, 3, 6], exceptionCallback: 2 } }).r0).toBe(45n);
  });
});

describe('tail calls', () => {
  const tail = (items: readonly Item[], targets: readonly (readonly Item[])[]): Outcome =>
    run(items, {
      memory: Uint8Array.of(11),
      environment: ({ load }) => {
        const programs = targets.map((target, index) => load({ name: `target${index}`, instructions: assemble(target) }));
        return { tailCall: (_, map, index) => (map === 77 ? programs[index] : undefined), helpers: [] };
      },
    });
  const jumpTo = (index: number): readonly Item[] => [mov64('r2', 77), mov64('r3', index), callHelper(12)];

  test('the target goes on in the frame, with the context and nothing else', () => {
    const target = [ldx('u8', 'r0', 'r1'), alu64('add', 'r0', 'r6'), alu64('add', 'r0', 'r3'), exit()];
    expect(tail([mov64('r6', 5), ...jumpTo(0), mov64('r0', 99), exit()], [target]).r0).toBe(11n);
    expect(tail([mov64('r2', 77), mov64('r3', 0), raw(0xf5), mov64('r0', 99), exit()], [target]).r0).toBe(11n);
  });
  test('an empty slot falls through', () => {
    expect(tail([mov64('r6', 5), ...jumpTo(4), mov64('r0', 'r6'), exit()], [])).toMatchObject({ r0: 5n, fault: undefined });
  });
  test('whoever resolves the target sees the arguments whole', () => {
    const seen: number[][] = [];
    run([...ldImm64('r2', 0x1234567800000077n), ...ldImm64('r3', 0x900000002n), callHelper(12), mov64('r0', 1), exit()], {
      memory: Uint8Array.of(1),
      environment: () => ({ tailCall: (call) => {
        seen.push([...call.registers.subarray(4, 8)]);
        return undefined;
      } }),
    });
    expect(seen).toEqual(ENGINES.map(() => [0x77, 0x12345678, 2, 9]));
  });
  test('33 succeed, the 34th falls through', () => {
    const step = [ldx('u8', 'r6', 'r1'), alu64('add', 'r6', 1), stx('u8', 'r1', 0, 'r6'), ...jumpTo(0), mov64('r0', 'r6'), exit()];
    expect(tail(step, [step])).toMatchObject({ r0: 45n, memory: Uint8Array.of(45), instructions: 34 * 6 + 2 });
  });
  test('from a function: its caller gets the result of the target', () => {
    const body = [mov64('r6', 'r1'), callLocal('f'), alu64('add', 'r0', 1), ldx('u8', 'r1', 'r6'), alu64('add', 'r0', 'r1'), exit(), label('f'), ...jumpTo(0), mov64('r0', 0), exit()];
    expect(tail(body, [[mov64('r6', 0), mov64('r0', 100), exit()]]).r0).toBe(112n);
  });
  test('each program of a chain has eight frames of its own, and its caller keeps its count', () => {
    // f(n) calls itself n times; the deepest makes the tail call, and each frame on the way back adds one.
    const descend = (frames: number, last: readonly Item[]): readonly Item[] => [
      mov64('r6', 'r1'), mov64('r2', frames), callLocal('f'), exit(),
      label('f'), mov64('r6', 'r1'), mov64('r7', 'r2'), stx('u64', 'r10', -8, 'r7'), jump('jeq', 'r2', 1, 'last'), alu64('sub', 'r2', 1), callLocal('f'),
      ldx('u64', 'r1', 'r10', -8), jump('jne', 'r1', 'r7', 'bad'), alu64('add', 'r0', 1), exit(), label('bad'), mov64('r0', -1), exit(),
      label('last'), mov64('r1', 'r6'), ...last, exit(),
    ];
    const chain = descend(7, [...jumpTo(0), mov64('r0', 1000)]);
    // 33 tail calls out of the eighth frame each: 34 times six frames add one.
    expect(tail(chain, [chain])).toMatchObject({ r0: 1000n + 34n * 6n, fault: undefined });
    const tooDeep = descend(8, [mov64('r0', 0)]);
    expect(tail(chain, [tooDeep])).toMatchObject({ fault: { kind: 'call-depth', program: 'target0', pc: 9 } });
    // Behind the tail call the caller has the frames that it had before.
    const after = (frames: number): readonly Item[] => [
      mov64('r6', 'r1'), callLocal('g'), mov64('r1', 'r6'), mov64('r2', frames), callLocal('f'), exit(), label('g'), ...jumpTo(0), exit(),
      ...descend(frames, [mov64('r0', 5)]).slice(4),
    ];
    expect(tail(after(7), [descend(7, [mov64('r0', 3)])]).r0).toBe(11n);
    expect(tail(after(8), [descend(7, [mov64('r0', 3)])]).fault).toMatchObject({ kind: 'call-depth', program: 'test' });
  });
});

describe('jumps', () => {
  test('gotox goes to an instruction of the program', () => {
    const body = (at: bigint): readonly Item[] => [...ldImm64('r1', at), gotox('r1'), mov64('r0', 1), exit(), mov64('r0', 2), exit()];
    const address = (pc: number): bigint => (0xffffffffn << 32n) | BigInt(codeAddress(pc) >>> 0);
    expect(run(body(address(5))).r0).toBe(2n);
    expect(run(body(address(3))).r0).toBe(1n);
    expect(run(body(address(1))).fault).toMatchObject({ kind: 'bad-target', pc: 2 });
    expect(run(body(address(70))).fault).toMatchObject({ kind: 'bad-target', pc: 2 });
    expect(run(body(5n)).fault).toMatchObject({ kind: 'bad-target', pc: 2 });
  });
  describe('gotox with declared targets', () => {
    const address = (pc: number): bigint => (0xffffffffn << 32n) | BigInt(codeAddress(pc) >>> 0);
    /** A machine for a little language: each byte of the memory names the code that is run, code 4 ends. */
    const body: readonly Item[] = [
      ...ldImm64('r6', address(12)), mov64('r0', 0),
      label('next'), ldx('u8', 'r2', 'r1'), alu64('add', 'r1', 1), alu64('lsh', 'r2', 4), mov64('r3', 'r6'), alu64('add', 'r3', 'r2'), alu64('add', 'r0', 0), gotox('r3'),
      exit(), exit(),
      alu64('add', 'r0', 1), goto('next'),
      alu64('lsh', 'r0', 1), goto('next'),
      alu64('sub', 'r0', 3), goto('next'),
      alu64('xor', 'r0', 0x55), goto('next'),
      exit(),
    ];
    const compiledRuns = (jumpTargets: readonly number[] | undefined, memory: Uint8Array, items: readonly Item[] = body): Outcome =>
      run(items, { memory, image: jumpTargets === undefined ? {} : { jumpTargets } });
    test.each([undefined, [12, 14, 16, 18, 20], [20, 18, 16, 14, 12, 12, 999, -1]])('each leads where it says: %s', (targets) => {
      expect(compiledRuns(targets, Uint8Array.of(0, 1, 0, 3, 1, 2, 4))).toMatchObject({ r0: ((((2n + 1n) ^ 0x55n) << 1n) - 3n), fault: undefined });
    });
    test('elsewhere it faults: at the end, in a gap, between two, in another function', () => {
      for (const [targets, code] of [[[12, 14, 20], 2], [[12, 14, 16], 4], [[14, 16], 0], [[14, 16, 20], 200]] as const) {
        expect(compiledRuns(targets, Uint8Array.of(1, code, 4, 4)).fault).toMatchObject({ kind: 'bad-target', pc: 9 });
      }
      const skewed = body.map((item, index) => (index === 7 ? alu64('add', 'r0', 0) : index === 8 ? alu64('add', 'r3', 4) : item));
      expect(compiledRuns([12, 14], Uint8Array.of(0, 0), skewed).fault).toMatchObject({ kind: 'bad-target', pc: 9 });
      const functions: readonly Item[] = [...ldImm64('r1', address(5)), gotox('r1'), mov64('r0', 1), exit(), label('f'), mov64('r0', 2), exit()];
      expect(run(functions, { image: { jumpTargets: [5, 3], subprograms: [0, 5] } }).fault).toMatchObject({ kind: 'bad-target', pc: 2 });
      expect(run(functions, { image: { jumpTargets: [5, 3] } }).r0).toBe(2n);
    });
    test('two that lead into each other', () => {
      const items: readonly Item[] = [
        mov64('r0', 0), ...ldImm64('r6', address(6)), jump('jeq', 'r1', 0, 'second'), gotox('r6'), exit(),
        alu64('add', 'r0', 1), jump('jgt', 'r0', 20, 'end'), alu64('add', 'r6', 24), label('second'), mov64('r7', 'r6'), alu64('sub', 'r6', 24), gotox('r7'),
        label('end'), exit(),
      ];
      expect(run(items, { memory: Uint8Array.of(1), image: { jumpTargets: [6, 9] } }).fault?.kind ?? 'none').toBe(run(items, { memory: Uint8Array.of(1) }).fault?.kind ?? 'none');
    });
    test('a budget ends at the same instruction', () => {
      for (let budget = 1; budget < 60; budget++) {
        compiledRunsOfBudget(budget);
      }
    });
    const compiledRunsOfBudget = (budget: number): void => {
      const outcomes = ENGINES.filter((engine) => engine.options.budget !== Infinity)
        .map((engine) => runOn(engine, { instructions: assemble(body), memory: Uint8Array.of(0, 1, 0, 3, 1, 2, 4), image: { jumpTargets: [12, 14, 16, 18, 20] }, options: { budget } }));
      for (const { r0, instructions, fault } of outcomes) expect({ r0, instructions, pc: fault?.pc }).toEqual({ r0: outcomes[0]!.r0, instructions: outcomes[0]!.instructions, pc: outcomes[0]!.fault?.pc });
    };
  });
  test('may_goto falls through 8388608 times in a frame', () => {
    const body = [mov64('r0', 0), label('loop'), mayGoto('end'), alu64('add', 'r0', 1), goto('loop'), label('end'), exit()];
    expect(run(body).r0).toBe(8388608n);
  }, 20_000);
  test('jumps to nowhere fault where they are taken, and only there', () => {
    expect(run([mov64('r0', 4), raw(0x15, 0, 0, 100, 5), raw(0x15, 0, 0, 100, 4), exit()]).fault).toMatchObject({ kind: 'bad-target', pc: 2 });
    expect(run([mov64('r0', 4), raw(0x05, 0, 0, -9), exit()]).fault).toMatchObject({ kind: 'bad-target', pc: 1 });
    expect(run([raw(0x05, 0, 0, 1), ...ldImm64('r0', 1n), exit()]).fault).toMatchObject({ kind: 'bad-target', pc: 0 });
    expect(run([raw(0x85, 0, 1, 0, 100), exit()]).fault).toMatchObject({ kind: 'bad-target', pc: 0 });
  });
  test('control that runs off the end faults behind the last instruction', () => {
    expect(run([mov64('r0', 4)])).toMatchObject({ fault: { kind: 'bad-target', pc: 1 }, instructions: 1 });
  });
  test('what is no instruction faults where it is reached', () => {
    expect(run([mov64('r0', 4), raw(0xff), exit()])).toMatchObject({ fault: { kind: 'bad-instruction', pc: 1 }, instructions: 2 });
    expect(run([mov64('r0', 4), exit(), raw(0xff)]).r0).toBe(4n);
    expect(run([raw(0xbf, 15, 1), exit()]).fault).toMatchObject({ kind: 'bad-instruction', pc: 0 });
  });
});

describe('packet loads', () => {
  const packet = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const environment: Scenario['environment'] = () => ({
    loadPacket: (_, offset, size): number => {
      if (offset < 0 || offset + size > packet.length) return -1;
      let value = 0;
      for (let byte = 0; byte < size; byte++) value = value * 256 + packet[offset + byte]!;
      return value;
    },
  });
  test('absolute and indirect, in network order', () => {
    expect(run([ldAbs('u32', 2), exit()], { environment }).r0).toBe(0x03040506n);
    expect(run([ldAbs('u8', 7), exit()], { environment }).r0).toBe(8n);
    expect(run([mov64('r7', 3), ldInd('u16', 'r7', 2), exit()], { environment }).r0).toBe(0x0607n);
  });
  test('outside the packet the frame ends with 0', () => {
    expect(run([mov64('r0', 9), ldAbs('u16', 7), mov64('r0', 5), exit()], { environment })).toMatchObject({ r0: 0n, instructions: 2 });
    expect(run([callLocal('f'), alu64('add', 'r0', 3), exit(), label('f'), ldAbs('u16', 7), mov64('r0', 5), exit()], { environment })).toMatchObject({ r0: 3n, instructions: 4 });
  });
});

test('the per-CPU move adds the offset of the CPU', () => {
  expect(run([...ldImm64('r1', 0xfffffff0n), raw(0xbf, 0, 1, -1), exit()], { environment: () => ({ perCPUOffset: () => 32 }) }).r0).toBe(0x100000010n);
});

describe('memory faults', () => {
  test('have place, address, size and neighbour', () => {
    for (const engine of ENGINES.filter((one) => one.options.mode === 'checked')) {
      const outcome = runOn(engine, { instructions: assemble([mov64('r0', 0), st('u32', 'r1', 6, 1), exit()]), memory: new Uint8Array(8) });
      expect(outcome.fault).toMatchObject({ kind: 'memory', pc: 1, addressHi: KERNEL_HI, size: 4, write: true });
      expect(outcome.fault?.nearest).toEqual({ label: 'memory of the test', size: 8, distance: 0 });
      expect(outcome.fault?.message).toMatch(/^write of 4 bytes at 0xffff8880000[0-9a-f]{5} by instruction 1 of test: inside memory of the test \(8 bytes\)$/);
    }
  });
  test.each([[8, 1], [-1, 1], [7, 2], [5, 4], [1, 8], [4096, 8], [-32768, 1]] as const)('at offset %i, %i bytes', (off, size) => {
    const code = { 1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79 }[size];
    const outcome = run([raw(code, 0, 1, off), exit()], { memory: new Uint8Array(8), options: { mode: 'checked' } });
    expect(outcome.fault).toMatchObject({ kind: 'memory', pc: 0, size });
  });
  test.each([0n, 8n, 0xffffffffffffffffn, 0x7f0000010000n, 0xffff888100010000n, 0xffff887fffffffffn, 0xffff888080000000n, 0xffff8880ffffffffn])(
    'at the wild address %x', (address) => {
      for (const body of [[ldx('u64', 'r0', 'r6')], [stx('u64', 'r6', 0, 'r6')], [st('u8', 'r6', 0, 1)], [raw(0xdb, 6, 0)]]) {
        const outcome = run([...ldImm64('r6', address), ...body, exit()], { options: { mode: 'checked' } });
        expect(outcome.fault).toMatchObject({ kind: 'memory', pc: 2, addressLo: Number(BigInt.asIntN(32, address)), addressHi: Number(BigInt.asIntN(32, address >> 32n)) });
      }
    },
  );
  test('unchecked accesses stay inside the linear memory', () => {
    for (const address of [0xffff888080000000n, 0xffff8880fffffff0n, 0x7ffffff8n, 0x7fff0000n]) {
      for (const body of [[ldx('u64', 'r0', 'r6')], [stx('u64', 'r6', 0, 'r6')], [raw(0xdb, 6, 0)]]) {
        const outcome = run([...ldImm64('r6', address), ...body, exit()], { options: { mode: 'fast' } });
        expect(outcome.fault).toMatchObject({ kind: 'memory', pc: 2 });
      }
    }
  });
  test('the stack of frames that are not live is out of bounds', () => {
    const body = [mov64('r1', 'r10'), alu64('add', 'r1', 640 - 8), st('u64', 'r1', 0, 1), exit()];
    expect(run(body, { options: { mode: 'checked' } }).fault).toMatchObject({ kind: 'memory', pc: 2 });
    expect(run([st('u64', 'r10', -513, 1), exit()], { options: { mode: 'checked' } }).fault).toMatchObject({ kind: 'memory', pc: 0 });
    expect(run([st('u64', 'r10', -4, 1), exit()], { options: { mode: 'checked' } }).fault).toMatchObject({ kind: 'memory', pc: 0 });
  });
  test('freed memory is out of bounds', () => {
    const body = [mov64('r6', 'r1'), st('u8', 'r6', 0, 1), callHelper(1), mov64('r7', 1), st('u8', 'r6', 0, 1), exit()];
    const outcome = run(body, {
      options: { mode: 'checked' },
      environment: ({ space }) => {
        let at = 0;
        return { helpers: [undefined, (call): void => {
          if (at === 0) {
            at = space.alloc(8, 'short life');
            call.setPointer(at);
          } else space.free(at);
        }] };
      },
    });
    expect(outcome.fault).toMatchObject({ kind: 'memory', pc: 1 });
    const life = run([callHelper(1), mov64('r6', 'r0'), st('u8', 'r6', 0, 1), callHelper(1), st('u8', 'r6', 0, 1), exit()], {
      options: { mode: 'checked' },
      environment: ({ space }) => {
        let at = 0;
        return { helpers: [undefined, (call): void => {
          if (at === 0) {
            at = space.alloc(8, 'short life');
            call.setPointer(at);
          } else space.free(at);
        }] };
      },
    });
    expect(life.fault).toMatchObject({ kind: 'memory', pc: 4 });
  });
  test('misaligned atomics fault', () => {
    expect(run([mov64('r6', 1), raw(0xdb, 1, 6, 4), exit()], { memory: new Uint8Array(16) }).fault).toMatchObject({ kind: 'alignment', pc: 1, size: 8 });
  });
});

describe('budget', () => {
  const endless = [mov64('r0', 0), label('loop'), alu64('add', 'r0', 1), stx('u64', 'r1', 0, 'r0'), goto('loop')];
  test.each([1, 2, 3, 4, 5, 10, 99, 100, 101, 12345])('%i instructions, then a fault that names the next', (budget) => {
    const outcome = run(endless, { memory: new Uint8Array(8), options: { budget } });
    expect(outcome.instructions).toBe(budget);
    expect(outcome.fault).toMatchObject({ kind: 'budget', pc: budget === 1 ? 1 : 1 + ((budget - 1) % 3) });
    const stores = Math.floor((budget - 1 + 1) / 3);
    expect(new DataView(outcome.memory.buffer).getUint32(0, true)).toBe(budget < 3 ? 0 : stores);
  });
  test('a program of exactly the budget finishes', () => {
    const body = [mov64('r0', 1), mov64('r1', 1), callLocal('f'), exit(), label('f'), mov64('r0', 2), exit()];
    expect(run(body, { options: { budget: 6 } })).toMatchObject({ r0: 2n, fault: undefined, instructions: 6 });
    for (let budget = 0; budget < 6; budget++) {
      expect(run(body, { options: { budget } }), `${budget}`).toMatchObject({ fault: { kind: 'budget', pc: [0, 1, 2, 4, 5, 3][budget] }, instructions: budget });
    }
  });
  test('a helper may charge for its own loops', () => {
    const helper: HelperFunction = (call) => {
      call.charge(100);
      call.setResult(1);
    };
    expect(run([callHelper(1), exit()], { ...helpers(helper), options: { budget: 102 } })).toMatchObject({ r0: 1n, instructions: 102 });
    expect(run([callHelper(1), exit()], { ...helpers(helper), options: { budget: 101 } })).toMatchObject({ fault: { kind: 'budget', pc: 1 } });
    expect(run([callHelper(1), exit()], { ...helpers(helper), options: { budget: 50 } })).toMatchObject({ fault: { kind: 'budget', pc: 0 }, instructions: 50 });
  });
  test('callbacks draw on the same budget', () => {
    const body = [...ldFunction('r2', 'f').flat(), callHelper(1), exit(), label('f'), mov64('r0', 0), exit()];
    const ten: HelperFunction = (call) => {
      const address = call.registers[4]!;
      for (let index = 0; index < 10; index++) call.callback(address);
      call.setResult(3);
    };
    expect(run(body, { ...helpers(ten), options: { budget: 23 } })).toMatchObject({ r0: 3n, instructions: 23 });
    expect(run(body, { ...helpers(ten), options: { budget: 21 } })).toMatchObject({ instructions: 21, fault: { kind: 'budget', pc: 5 } });
  });
});

describe('observation', () => {
  const body = [mov64('r1', 3), label('loop'), alu64('sub', 'r1', 1), jump('jne', 'r1', 0, 'loop'), ...ldImm64('r0', 5n), exit()];
  test('coverage counts executions by instruction', () => {
    for (const engine of ENGINES) {
      const coverage = new Uint32Array(6);
      runOn(engine, { instructions: assemble(body), options: { coverage } });
      expect([...coverage]).toEqual([1, 3, 3, 1, 0, 1]);
    }
  });
  test('a trace sees every instruction before it runs', () => {
    const seen: string[] = [];
    runOn(ENGINES[0]!, { instructions: assemble(body), options: { trace: (_, pc, registers) => seen.push(`${pc}:${registers[2]}`) } });
    expect(seen).toEqual(['0:0', '1:3', '2:2', '1:2', '2:1', '1:1', '2:0', '3:0', '5:0']);
  });
});
