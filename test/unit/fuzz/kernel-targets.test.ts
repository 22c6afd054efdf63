/** Targets that drive a kernel: inputs survive being written, the same seed gives the same inputs, the real code keeps its promises. */
import { describe, expect, it } from 'vitest';
import { Kernel } from '../../../kernel/kernel.ts';
import { Random } from '../../../src/fuzz/random.ts';
import { compareResources, resourcesOf } from '../../../src/fuzz/oracles/resources.ts';
import { createTarget as createLoader } from '../../../src/fuzz/targets/loader.ts';
import { createTarget as createObject } from '../../../src/fuzz/targets/object.ts';
import { createTarget as createSignature } from '../../../src/fuzz/targets/signature.ts';
import { createTarget as createSyscalls } from '../../../src/fuzz/targets/syscalls.ts';
import type { Target } from '../../../src/fuzz/types.ts';
import { environment } from './support.ts';

const RUNS = 16;

/** Inputs as a small run makes them. */
function inputsOf(target: Target, seed: number, count: number): unknown[] {
  const root = new Random(seed);
  const list: unknown[] = [];
  for (let i = 0; i < count; i++) {
    const random = root.split(i);
    list.push(list.length === 0 || random.oneIn(2) ? target.generate(random) : target.mutate(random.pick(list), random, random.pick(list)));
  }
  return list;
}

const TARGETS: readonly (readonly [string, () => Target])[] = [
  ['syscalls', () => createSyscalls(environment()) as Target], ['signature', () => createSignature(environment()) as Target],
  ['object', () => createObject(environment()) as Target],
  ['loader', () => createLoader(environment()) as Target],
];

describe.each(TARGETS)('%s', (_, create) => {
  it('makes the same inputs from the same seed', () => {
    const target = create();
    const bytes = (seed: number): string[] => inputsOf(target, seed, RUNS).map((input) => Buffer.from(target.serialise(input)).toString('latin1'));
    expect(bytes(5)).toEqual(bytes(5));
    expect(bytes(5)).not.toEqual(bytes(6));
  });

  it('reads back what it writes', () => {
    const target = create();
    for (const input of inputsOf(target, 7, RUNS)) {
      const bytes = target.serialise(input);
      expect(Buffer.compare(target.serialise(target.deserialise(bytes)), bytes)).toBe(0);
    }
  });

  it('finds nothing in a few runs, and makes smaller inputs', () => {
    const target = create();
    for (const input of inputsOf(target, 8, RUNS)) {
      expect(target.execute(input), target.toAssembly(input)).toBeUndefined();
      for (const smaller of target.shrink(input)) {
        expect(target.size(smaller)).toBeLessThanOrEqual(target.size(input));
        break;
      }
    }
  });
});

describe('the count of resources', () => {
  it('names what was left behind', () => {
    const kernel = new Kernel();
    const before = resourcesOf(kernel);
    expect(compareResources(before, resourcesOf(kernel))).toBeUndefined();
    kernel.allocUser(100);
    kernel.state.memory.alloc(8, 'forgotten');
    expect(compareResources(before, resourcesOf(kernel))?.trace).toBe('allocation "forgotten", byte of user space');
  });
});
