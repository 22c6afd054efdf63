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
  /** Most seconds of processor time before that, for the engine to compile what it will. */
  readonly warm: number;
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
  /** Seconds of processor time; {@link now} where the platform does not tell. */
  used(): number;
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
  /** They add up to {@link seconds}; their shares are those of the half of the admissions that was disturbed least. */
  readonly phases: PhaseTimes;
  /** What the phase `payload admission` consists of. */
  readonly payload: PhaseTimes;
  readonly counters: Counters;
  readonly memory: MemoryUse | null;
}

const MOST_SAMPLES = 40;
/** From here on, in seconds, a few single admissions have to do. */
const SLOW = 0.2, FEW = 3;
/** Seconds of work between two looks at how fast it has become, fewest looks, and what counts as faster. */
const WINDOW = 0.03, LEAST_WINDOWS = 4, FASTER = 0.95, IDLE = 3;

/**
 * Repeats until the engine has compiled what it will: until some windows in a row were not faster than the best before them.
 * @param most seconds of processor time after which it is enough
 */
export function warmUp(instruments: Instruments, work: () => void, most: number): void {
  const start = instruments.used();
  let best = Infinity, idle = 0;
  for (let window = 0; (window < LEAST_WINDOWS || idle < IDLE) && instruments.used() - start < most; window++) {
    const times: number[] = [];
    for (const began = instruments.used(); times.length === 0 || instruments.used() - began < WINDOW;) {
      const before = instruments.used();
      work();
      times.push(instruments.used() - before);
    }
    const median = medianSorted(times.sort((x, y) => x - y));
    idle = median < best * FASTER ? 0 : idle + 1;
    best = Math.min(best, median);
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

/** Parts of `whole` as they are on average in the half of the admissions that other processes disturbed least. */
function averagePhases(records: readonly Recorded[], whole: number): { readonly phases: PhaseTimes; readonly payload: PhaseTimes } {
  const limit = medianSorted(records.map(({ disturbance }) => disturbance).sort((a, b) => a - b)), calm = records.filter(({ disturbance }) => disturbance <= limit);
  const scale = whole / calm.reduce((sum, record) => sum + record.whole, 0);
  const mean = (of: (record: Recorded) => Float64Array): PhaseTimes => namePhases(Float64Array.from(PHASES, (_, i) => (
    scale * calm.reduce((sum, record) => sum + (of(record)[i] ?? 0), 0))));
  return { phases: mean(({ own }) => own), payload: mean(({ payload }) => payload) };
}

/** Counts the work of one admission, and gives the admission's own record. */
export function countWork(instruments: Instruments, subject: Subject): { readonly counters: Counters; readonly first: Recorded } {
  let bytesHashed = 0, digests = 0;
  instruments.usePrimitives({
    onHash: (bytes) => {
      bytesHashed += bytes;
      digests++;
    },
  });
  // Booting and making maps hash nothing that counts, so hashing is counted of the repeated part alone.
  const first = subject.perform();
  instruments.usePrimitives({});
  return { first, counters: { ...countCalls(subject.observe()), bytesHashed, digests } };
}

/**
 * Measures one subject by phase.
 * @param phases what the subject's kernel tells its phases to
 */
export function measure(instruments: Instruments, name: string, size: number, subject: Subject, phases: Phases, effort: Effort): Measurement {
  const { counters, first } = countWork(instruments, subject), records: Recorded[] = [], work = (): void => void records.push(subject.perform());
  instruments.usePrimitives({ phases });
  let memory: MemoryUse | null = null;
  if (first.whole > SLOW) {
    while (records.length < FEW - 1) work();
    memory = instruments.memory(work) ?? null;
  } else {
    warmUp(instruments, () => void subject.perform(), effort.warm);
    instruments.sample(name, work, effort);
    memory = instruments.memory(() => void subject.perform()) ?? null;
  }
  instruments.usePrimitives({});
  const samples = condense(records.map(({ whole }) => whole)), seconds = estimateMedian(samples);
  return { name, size, seconds, samples, ...averagePhases(records, seconds.value), counters, memory };
}

/** Two subjects measured in turn. */
export interface Pairing {
  readonly first: Estimate;
  readonly second: Estimate;
  /** Of each pair, second to first. */
  readonly ratio: Estimate;
  /** The lower quartile of the second to that of the first: what is left of the ratio where other processes disturbed least. */
  readonly calm: number;
}

/** Where primitives mark their phases, a subject says so before its turn. */
export interface Contender {
  perform(): Recorded;
  readonly phases: Phases | undefined;
}

/**
 * Measures two subjects in alternation, each pair in the other order than the one before, so that what disturbs the machine disturbs both.
 */
export function comparePairs(instruments: Instruments, first: Contender, second: Contender, { seconds, least, warm }: Effort): Pairing {
  const turn = ({ phases, perform }: Contender, count: number): number => {
    instruments.usePrimitives(phases === undefined ? {} : { phases });
    let sum = 0;
    for (let i = 0; i < count; i++) sum += perform().whole;
    return sum / count;
  };
  for (const contender of [first, second]) warmUp(instruments, () => void turn(contender, 1), warm);
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
    calm: quantileSorted(pairs.map(([, value]) => value).sort((a, b) => a - b), 0.25) / quantileSorted(pairs.map(([value]) => value).sort((a, b) => a - b), 0.25),
  };
}
