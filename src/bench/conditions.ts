/**
 * @module src/bench/conditions
 * Under which conditions a measurement was taken, and whether two may be compared at all.
 */
import { InputError } from '../../isa/errors.ts';

/** Everything that moves times and is not the code under measurement. */
export interface Conditions {
  readonly bpftwin: string;
  readonly node: string;
  readonly v8: string;
  readonly platform: string;
  readonly arch: string;
  readonly cpu: string;
  readonly cores: number;
  /** Where the primitives come from. */
  readonly crypto: string;
  /** What was measured: `admission`, or the files of a corpus by name and digest. */
  readonly subject: string;
  /** Options that change what is measured, in one form. */
  readonly options: string;
}

const NAMES: readonly (keyof Conditions)[] = ['bpftwin', 'node', 'v8', 'platform', 'arch', 'cpu', 'cores', 'crypto', 'subject', 'options'];

/** Each condition that differs, in words; empty where the two may be compared. */
export function conditionDifferences(now: Conditions, before: Conditions): string[] {
  return NAMES.filter((name) => now[name] !== before[name]).map((name) => `${name}: ${String(before[name])} then, ${String(now[name])} now`);
}

/**
 * Refuses to compare what was measured under different conditions.
 * @param across conditions that may differ, `bpftwin` to compare versions
 * @throws InputError that names every difference
 */
export function checkComparable(now: Conditions, before: Conditions, file: string, across: readonly (keyof Conditions)[] = []): void {
  const differences = conditionDifferences(now, { ...before, ...Object.fromEntries(across.map((name) => [name, now[name]])) });
  if (differences.length > 0) throw new InputError(file, '', `measured under other conditions (${differences.join('; ')})`);
}

/** Reads conditions from a report; throws InputError where they are not there. */
export function readConditions(value: unknown, file: string): Conditions {
  const record = typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  for (const name of NAMES) {
    if (typeof record[name] !== (name === 'cores' ? 'number' : 'string')) throw new InputError(file, 'conditions', `no ${name}: this is no report of bpftwin bench -j`);
  }
  return record as unknown as Conditions;
}
