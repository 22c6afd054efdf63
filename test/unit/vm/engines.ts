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
}

export const ENGINES: readonly Engine[] = [
  { name: 'interpreter', options: { tier: 'interpreter', mode: 'checked' } },
  { name: 'interpreter, fast', options: { tier: 'interpreter', mode: 'fast' } },
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
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const memory = scenario.memory ?? new Uint8Array();
  const at = space.alloc(memory.length, 'memory of the test', 16);
  space.setBytes(at, memory);
  const delegate: { current: Partial<Omit<MachineOptions, 'space'>> } = { current: {} };
  const machine = new Machine({
    space,
    helpers: new Proxy([], { get: (_, id) => delegate.current.helpers?.[Number(id)] }),
    kfunc: (call, id, offset) => delegate.current.kfunc?.(call, id, offset),
    tailCall: (call, map, index) => delegate.current.tailCall?.(call, map, index),
    loadPacket: (call, offset, size) => delegate.current.loadPacket?.(call, offset, size) ?? -1,
    perCPUOffset: (call) => delegate.current.perCPUOffset?.(call) ?? 0,
  });
  const world: World = { space, machine, memory: at, load: (image) => machine.load(image) };
  delegate.current = scenario.environment?.(world) ?? {};
  const program = machine.load({ name: 'test', instructions: scenario.instructions, ...scenario.image });
  const extraArguments = scenario.passLength === true ? Int32Array.of(memory.length, 0) : undefined;
  const result = machine.run(program, memory.length === 0 ? 0 : at, memory.length === 0 ? 0 : KERNEL_HI, {
    ...(extraArguments === undefined ? {} : { extraArguments }), ...engine.options, ...scenario.options,
  });
  const outcome: Outcome = {
    r0: (BigInt(result.r0Hi >>> 0) << 32n) | BigInt(result.r0Lo >>> 0),
    instructions: result.instructions,
    fault: result.fault,
    memory: space.getBytes(at, memory.length),
  };
  machine.dispose();
  return outcome;
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

/** What engines must agree on. Uncounted code gives -1 instructions; a fast engine names no neighbour of a fault. */
function visible(outcome: Outcome, other: Outcome): unknown {
  const counted = outcome.instructions >= 0 && other.instructions >= 0;
  const { fault } = outcome;
  return {
    r0: outcome.r0,
    memory: outcome.memory,
    instructions: counted ? outcome.instructions : 0,
    fault: fault === undefined ? undefined : { kind: fault.kind, pc: fault.pc, lo: fault.addressLo, hi: fault.addressHi, size: fault.size },
  };
}
