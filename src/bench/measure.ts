/**
 * @module src/bench/measure
 * Measurements of repeated admissions: samples, phases, counters, memory, and pairs for comparisons. Owns what is done with the times;
 * clock, sampler and memory meter are instruments of the caller, so that this runs anywhere and tests can give their own.
 */
import { medianSorted, quantileSorted } from 'simple-statistics';
import { PHASES, type Phases } from '../../isa/phases.ts';
import type { SystemCall } from '../../kernel/api.ts';
import { countCalls, type Counters } from './counters.ts';
import { namePhases, type PhaseTimes, type Recorded } from './phases.ts';
import { estimateMedian, estimatePairedRatio, type Estimate } from './statistics.ts';

/** How long to sample. */
export interface Effort {
  /** Seconds after which enough samples end the sampling. */
  readonly seconds: number;
  /** Fewest samples. */
  readonly least: number;
}

/** Bytes of JavaScript's heap and array buffers. */
export interface MemoryUse {
  /** Taken while the work was done, whether or not it is free again. */
  readonly allocated: number;
  /** Most in use at once above what was in use before. */
  readonly peak: number;
}

/** What measures. */
export interface Instruments {
  /** Seconds, never going back. */
  now(): number;
  /** Calls `work` as often as the effort asks for. */
  sample(name: string, work: () => void, effort: Effort): void;
  /** Memory of one call; `undefined` where the platform does not tell. */
  memory(work: () => void): MemoryUse | undefined;
  /** Installs primitives: as they are, marking when they hash, or counting what they hash. */
  usePrimitives(listener: { readonly phases?: Phases; readonly onHash?: (bytes: number) => void }): void;
}

/** What is measured: admits once, timed; and admits once, looked at. */
export interface Subject {
  perform(): Recorded;
  observe(): readonly SystemCall[];
}

/** One measured subject. All times are seconds. */
export interface Measurement {
  readonly name: string;
  /** On the sweep's axis. */
  readonly size: number;
  readonly seconds: Estimate;
  readonly samples: readonly number[];
  /** Mean of the middle half of the admissions, so that they add up. */
  readonly phases: PhaseTimes;
  /** What the phase `payload admission` consists of. */
  readonly payload: PhaseTimes;
  readonly counters: Counters;
  readonly memory: MemoryUse | null;
}

const WARM_SECONDS = 0.05, WARM_LEAST = 3, SLOW = 0.2, MOST_SAMPLES = 40;

/** Repeats until the code is warm: long enough, but only once what takes long by itself. */
export function warmUp(instruments: Instruments, work: () => void): void {
  const start = instruments.now();
  for (let i = 0; ; i++) {
    work();
    const elapsed = instruments.now() - start;
    if (elapsed > SLOW || (i + 1 >= WARM_LEAST && elapsed >= WARM_SECONDS)) return;
  }
}

/** Samples that stand for runs of consecutive admissions: the median of each run. */
export function condense(values: readonly number[], most: number = MOST_SAMPLES): number[] {
  if (values.length <= most) return [...values];
  return Array.from({ length: most }, (_, i) => {
    const run = values.slice(Math.floor((i * values.length) / most), Math.floor(((i + 1) * values.length) / most));
    return medianSorted(run.sort((a, b) => a - b));
  });
}

/** Mean times of the admissions whose whole is in the middle half. */
function averagePhases(records: readonly Recorded[]): { readonly phases: PhaseTimes; readonly payload: PhaseTimes } {
  const wholes = records.map(({ whole }) => whole).sort((a, b) => a - b), low = quantileSorted(wholes, 0.25), high = quantileSorted(wholes, 0.75);
  const middle = records.filter(({ whole }) => whole >= low && whole <= high);
  const mean = (of: (record: Recorded) => Float64Array): PhaseTimes => namePhases(Float64Array.from(PHASES, (_, i) => (
    middle.reduce((sum, record) => sum + (of(record)[i] ?? 0), 0) / Math.max(1, middle.length))));
  return { phases: mean(({ own }) => own), payload: mean(({ payload }) => payload) };
}

/** Counts the work of one admission. */
export function countWork(instruments: Instruments, subject: Pick<Subject, 'observe' | 'perform'>): Counters {
  let bytesHashed = 0, digests = 0;
  instruments.usePrimitives({
    onHash: (bytes) => {
      bytesHashed += bytes;
      digests++;
    },
  });
  // Booting and making maps hash nothing that counts, so hashing is counted of the repeated part alone.
  subject.perform();
  instruments.usePrimitives({});
  return { ...countCalls(subject.observe()), bytesHashed, digests };
}

/**
 * Measures one subject by phase.
 * @param phases what the subject's kernel tells its phases to
 */
export function measure(instruments: Instruments, name: string, size: number, subject: Subject, phases: Phases, effort: Effort): Measurement {
  const counters = countWork(instruments, subject);
  instruments.usePrimitives({ phases });
  warmUp(instruments, () => void subject.perform());
  const records: Recorded[] = [];
  instruments.sample(name, () => void records.push(subject.perform()), effort);
  const memory = instruments.memory(() => void subject.perform()) ?? null;
  instruments.usePrimitives({});
  const samples = condense(records.map(({ whole }) => whole));
  return { name, size, seconds: estimateMedian(samples), samples, ...averagePhases(records), counters, memory };
}

/** Two subjects measured in turn. */
export interface Pairing {
  readonly first: Estimate;
  readonly second: Estimate;
  /** Of each pair, second to first. */
  readonly ratio: Estimate;
}

/** Where primitives mark their phases, a subject says so before its turn. */
export interface Contender {
  perform(): Recorded;
  readonly phases: Phases | undefined;
}

/**
 * Measures two subjects in alternation, each pair in the other order than the one before, so that what disturbs the machine disturbs both.
 */
export function comparePairs(instruments: Instruments, first: Contender, second: Contender, { seconds, least }: Effort): Pairing {
  const turn = ({ phases, perform }: Contender, count: number): number => {
    instruments.usePrimitives(phases === undefined ? {} : { phases });
    let sum = 0;
    for (let i = 0; i < count; i++) sum += perform().whole;
    return sum / count;
  };
  for (const contender of [first, second]) warmUp(instruments, () => void turn(contender, 1));
  // About 2 ms a turn, which the clock and the scheduler tell well apart.
  const count = Math.max(1, Math.min(50, Math.round(0.002 / Math.max(turn(first, 1), 1e-6))));
  const pairs: [number, number][] = [], start = instruments.now();
  for (let round = 0; round < least || instruments.now() - start < seconds; round++) {
    if (round % 2 === 0) pairs.push([turn(first, count), turn(second, count)]);
    else {
      const after = turn(second, count);
      pairs.push([turn(first, count), after]);
    }
  }
  instruments.usePrimitives({});
  return {
    first: estimateMedian(pairs.map(([value]) => value)), second: estimateMedian(pairs.map(([, value]) => value)),
    ratio: estimatePairedRatio(pairs.map(([one, other]) => [other, one])),
  };
}
