/**
 * @module src/bench/baseline
 * A report against an earlier one: ratios with intervals, work beside times, and which of it is a failure. Owns reading the earlier
 * report, which may be any file.
 */
import { InputError } from '../../isa/errors.ts';
import { checkComparable, readConditions, type Conditions } from './conditions.ts';
import { estimateRatio, type Estimate } from './statistics.ts';

/** What is compared: samples and work by name. */
export interface Comparable {
  readonly name: string;
  readonly samples: readonly number[];
  /** Processed instructions and states. */
  readonly work: readonly number[];
}

/** One name in both reports. */
export interface ComparedRow {
  readonly name: string;
  readonly ratio: Estimate;
  /** Whether the verifier did as much as before: a slower row with the same work is slower code, or a busy machine. */
  readonly work: 'same' | 'less' | 'more';
  readonly isWorse: boolean;
}

export interface Comparison {
  readonly failAbove: number;
  readonly rows: readonly ComparedRow[];
  /** In one of the two only. */
  readonly unmatched: readonly string[];
}

/** An earlier report. */
export interface Baseline {
  readonly conditions: Conditions;
  readonly rows: ReadonlyMap<string, Comparable>;
}

const asRecord = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {});
const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function readRow(value: unknown, name: string, file: string): Comparable {
  const { samples, work } = asRecord(value), numbers = asList(samples);
  if (!numbers.every((sample) => typeof sample === 'number' && sample >= 0)) throw new InputError(file, name, 'its samples are no times');
  return { name, samples: numbers as number[], work: asList(work).map(Number) };
}

/** Reads the JSON of an earlier run. @throws InputError where it is none */
export function readBaseline(text: string, file: string): Baseline {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError(file, '', 'no JSON: give what bpftwin bench -j printed');
  }
  const { conditions, measured } = asRecord(value), rows = new Map<string, Comparable>();
  const known = readConditions(conditions, file);
  for (const row of asList(measured)) {
    const name = asRecord(row)['name'];
    if (typeof name !== 'string') throw new InputError(file, 'measured', 'a row without a name');
    rows.set(name, readRow(row, name, file));
  }
  if (rows.size === 0) throw new InputError(file, 'measured', 'nothing in it to compare with');
  return { conditions: known, rows };
}

function compareWork(now: readonly number[], before: readonly number[]): ComparedRow['work'] {
  const at = now.findIndex((value, i) => value !== before[i]);
  if (at < 0) return 'same';
  return (now[at] ?? 0) > (before[at] ?? 0) ? 'more' : 'less';
}

/**
 * Compares with an earlier report. A row is worse where its median is beyond `failAbove` times the earlier one and the interval of the
 * ratio lies above 1, so that noise alone does not fail; and where the verifier's work is beyond it, which has no noise.
 * @throws InputError where conditions differ
 */
export function compareWithBaseline(
  now: readonly Comparable[], conditions: Conditions, baseline: Baseline, file: string, { failAbove, acrossVersions }: { readonly failAbove: number; readonly acrossVersions: boolean },
): Comparison {
  checkComparable(conditions, baseline.conditions, file, acrossVersions ? ['bpftwin'] : []);
  const rows: ComparedRow[] = [], unmatched: string[] = [];
  for (const { name, samples, work } of now) {
    const before = baseline.rows.get(name);
    if (before === undefined || before.samples.length === 0 || samples.length === 0) {
      unmatched.push(name);
      continue;
    }
    const ratio = estimateRatio(samples, before.samples), hasGrown = work.some((value, i) => value > failAbove * (before.work[i] ?? Infinity));
    rows.push({ name, ratio, work: compareWork(work, before.work), isWorse: hasGrown || (ratio.value > failAbove && ratio.low > 1) });
  }
  const names = new Set(now.map(({ name }) => name));
  for (const name of baseline.rows.keys()) if (!names.has(name)) unmatched.push(name);
  return { failAbove, rows: rows.toSorted((a, b) => b.ratio.value - a.ratio.value), unmatched };
}
