/**
 * @module test/unit/vm/engines
 * Runs one program on every engine and access mode, compares everything that can be seen, and gives what they agree on.
 */
import { expect } from 'vitest';
import { AddressSpace, KERNEL_HI } from '../../../vm/address-space.ts';
import { Machine } from '../../../vm/machine.ts';
import type { Fault, MachineOptions, Program, ProgramImage, RunOptions } from '../../../vm/types.ts';

/** A way to run a program. */
export interface Engine {
  readonly name: string;
  readonly options: RunOptions;
  /** See `MachineOptions`. */
  readonly partInstructions?: number;
}

export const ENGINES: readonly Engine[] = [
  { name: 'interpreter', options: { tier: 'interpreter', mode: 'checked' } },
  { name: 'interpreter, fast', options: { tier: 'interpreter', mode: 'fast' } },
  { name: 'compiled, checked, counted', options: { tier: 'baseline', mode: 'checked', budget: 2 ** 32 } },
  { name: 'compiled, checked', options: { tier: 'baseline', mode: 'checked', budget: Infinity } },
  { name: 'compiled, counted', options: { tier: 'baseline', mode: 'fast', budget: 2 ** 32 } },
  { name: 'compiled', options: { tier: 'baseline', mode: 'fast', budget: Infinity } },
  { name: 'compiled in parts, checked, counted', options: { tier: 'baseline', mode: 'checked', budget: 2 ** 32 }, partInstructions: 3 },
  { name: 'compiled in parts', options: { tier: 'baseline', mode: 'fast', budget: Infinity }, partInstructions: 2 },
];

export interface Scenario {
  readonly instructions: Uint8Array;
  /** Bytes that r1 points at; without them r1 is 0. */
  readonly memory?: Uint8Array;
  /** True where r2 is the number of bytes. */
  readonly passLength?: boolean;
  readonly image?: Partial<ProgramImage>;
  readonly options?: RunOptions;
  /** Helpers and hooks; called once for each engine, with that engine's machine. */
  readonly environment?: (world: World) => Partial<Omit<MachineOptions, 'space'>>;
}

/** One engine's machine and memory. */
export interface World {
  readonly space: AddressSpace;
  readonly machine: Machine;
  /** Offset of the scenario's memory. */
  readonly memory: number;
  /** Loads another program of the same machine. */
  load(image: ProgramImage): Program;
}

export interface Outcome {
  readonly r0: bigint;
  readonly instructions: number;
  readonly fault: Fault | undefined;
  readonly memory: Uint8Array;
}

/** Runs on one engine, in a fresh space. */
export function runOn(engine: Engine, scenario: Scenario): Outcome {
  return runBatchOn(engine, scenario, [scenario.memory ?? new Uint8Array()])[0]!;
}

/** Runs one program on one engine for each of several contents of its memory, all of one length. */
export function runBatchOn(engine: Engine, scenario: Scenario, memories: readonly Uint8Array[]): readonly Outcome[] {
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const { length } = memories[0]!;
  const at = space.alloc(length, 'memory of the test', 16);
  const delegate: { current: Partial<Omit<MachineOptions, 'space'>> } = { current: {} };
  const machine = new Machine({
    space, ...(engine.partInstructions === undefined ? {} : { partInstructions: engine.partInstructions }),
    helpers: new Proxy([], { get: (_, id) => delegate.current.helpers?.[Number(id)] }),
    kfunc: (call, id, offset) => delegate.current.kfunc?.(call, id, offset),
    tailCall: (call, map, index) => delegate.current.tailCall?.(call, map, index),
    loadPacket: (call, offset, size) => delegate.current.loadPacket?.(call, offset, size) ?? -1,
    perCPUOffset: (call) => delegate.current.perCPUOffset?.(call) ?? 0,
    directHelpers: { get: (id) => delegate.current.directHelpers?.get(id) },
  });
  const world: World = { space, machine, memory: at, load: (image) => machine.load(image) };
  delegate.current = scenario.environment?.(world) ?? {};
  const program = machine.load({ name: 'test', instructions: scenario.instructions, ...scenario.image });
  const extraArguments = scenario.passLength === true ? Int32Array.of(length, 0) : undefined;
  const outcomes = memories.map((memory): Outcome => {
    space.setBytes(at, memory);
    const result = machine.run(program, length === 0 ? 0 : at, length === 0 ? 0 : KERNEL_HI, {
      ...(extraArguments === undefined ? {} : { extraArguments }), ...engine.options, ...scenario.options,
    });
    return {
      r0: (BigInt(result.r0Hi >>> 0) << 32n) | BigInt(result.r0Lo >>> 0),
      instructions: result.instructions,
      fault: result.fault,
      memory: space.getBytes(at, length),
    };
  });
  if (engine.options.tier !== 'interpreter') expect(machine.stats.refusals, machine.stats.lastRefusal).toBe(0);
  machine.dispose();
  return outcomes;
}

/** One engine of each kind: what a single instruction computes does not depend on the variant. */
const ESSENTIAL: readonly Engine[] = ENGINES.filter((engine) => /^interpreter|counted$|^compiled$/.test(engine.name) && !/^compiled(, counted| in parts.*)$/.test(engine.name));

/** As {@link runEverywhere}, for several contents of the memory. */
export function runBatchEverywhere(scenario: Scenario, memories: readonly Uint8Array[]): readonly Outcome[] {
  const [first, ...others] = ESSENTIAL.map((engine) => ({ engine, outcomes: runBatchOn(engine, scenario, memories) }));
  for (const { engine, outcomes } of others) {
    for (const [index, outcome] of outcomes.entries()) {
      const expected = first!.outcomes[index]!;
      expect(visible(outcome, expected), `${engine.name} against ${first!.engine.name}`).toEqual(visible(expected, outcome));
    }
  }
  return first!.outcomes;
}

/** Runs on every engine and demands the same outcome; gives that of the first. */
export function runEverywhere(scenario: Scenario, engines: readonly Engine[] = ENGINES): Outcome {
  const [first, ...others] = engines.map((engine) => ({ engine, outcome: runOn(engine, scenario) }));
  if (first === undefined) throw new Error('no engine');
  for (const { engine, outcome } of others) {
    expect(visible(outcome, first.outcome), `${engine.name} against ${first.engine.name}`).toEqual(visible(first.outcome, outcome));
  }
  return first.outcome;
}

/**
 * What engines must agree on. Uncounted code gives -1 instructions. A trap of compiled code names the instruction, not the
 * address: its fault has size 0.
 */
function visible(outcome: Outcome, other: Outcome): unknown {
  const counted = outcome.instructions >= 0 && other.instructions >= 0;
  const { fault } = outcome;
  const located = fault?.kind !== 'memory' || (fault.size > 0 && other.fault?.size !== 0);
  return {
    r0: outcome.r0,
    // As text: comparing thousands of array elements one by one is slow.
    memory: Buffer.from(outcome.memory).toString('latin1'),
    instructions: counted ? outcome.instructions : 0,
    fault:
      fault === undefined ? undefined
      : located ? { kind: fault.kind, pc: fault.pc, lo: fault.addressLo, hi: fault.addressHi, size: fault.size }
      : { kind: fault.kind, pc: fault.pc },
  };
}
