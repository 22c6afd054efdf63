import { describe, expect, test } from 'vitest';
import { ENGINES, runOn, type Scenario } from '../unit/vm/engines.ts';
import { readVectors } from './vector.ts';

/**
 * Vectors that call the suite's own helpers. Helper 5 (`unwind`) gives its first argument back and ends the program where that is
 * zero; it is given to these vectors and to no other.
 */
const NEEDS_SUITE_HELPERS: ReadonlyMap<string, string> = new Map([
  ['call_unwind_fail', 'calls helper 5'],
  ['callx', 'calls helper 5 through a register'],
]);

const vectors = readVectors();

function scenarioOf(name: string): Scenario {
  const vector = vectors.find((one) => one.name === name)!;
  const helpers: Scenario['environment'] = () => ({
    helpers: [
      undefined, undefined, undefined, undefined, undefined,
      (call): void => {
        call.registers[0] = call.registers[2]!;
        call.registers[1] = call.registers[3]!;
        if ((call.registers[2]! | call.registers[3]!) === 0) call.throwException(0, 0);
      },
    ],
  });
  return {
    instructions: vector.bytecode, memory: vector.memory, passLength: vector.memory.length > 0,
    ...(NEEDS_SUITE_HELPERS.has(name) ? { environment: helpers } : {}),
  };
}

test('all 313 vectors are there to run', () => {
  expect(vectors.length).toBe(313);
  expect(new Set(vectors.map((vector) => vector.name)).size).toBe(313);
});

test('the vectors that need helpers of the suite are those of the list', () => {
  const needing = vectors.filter((vector) => vector.helpers.length > 0 || vector.callsRegister).map((vector) => vector.name);
  expect(needing.toSorted()).toEqual([...NEEDS_SUITE_HELPERS.keys()].toSorted());
});

describe.each(ENGINES)('$name', (engine) => {
  test.each(vectors)('$name', (vector) => {
    const outcome = runOn(engine, scenarioOf(vector.name));
    expect(outcome.fault).toBe(undefined);
    expect(outcome.r0).toBe(vector.result);
  });
});
