/**
 * @module src/bench/corpus
 * What each program of given objects and skeletons costs. Of an object every program is loaded by itself, as `verify` does; of a light
 * skeleton the whole load is measured, and each load of a program in it.
 */
import { errnoName } from '../../isa/errno.ts';
import type { Phase, Phases } from '../../isa/phases.ts';
import type { Certificate } from '../../crypto/x509.ts';
import { parseLightSkeleton } from '../../loader/lskel.ts';
import { detectContract } from '../../loader/contract.ts';
import { runSkeleton } from '../run.ts';
import { verifyObject, type VerifiedRow } from '../verify.ts';
import type { Stats } from '../veristat/stats.ts';
import { SkeletonAdmission } from './admission.ts';
import { countCalls } from './counters.ts';
import { condense, warmUp, type Effort, type Instruments } from './measure.ts';
import { PhaseClock } from './phases.ts';
import { estimateMedian, type Estimate } from './statistics.ts';

/** A real kernel's figures of a program, from veristat's CSV. */
export interface KernelFigures {
  readonly verdict: string;
  /** Microseconds. */
  readonly duration: number;
  readonly insns: number;
  readonly states: number;
}

/** One program, or one skeleton as a whole. */
export interface CorpusRow {
  readonly file: string;
  readonly prog: string;
  readonly verdict: 'success' | 'failure';
  /** Name of the error, '' for success. */
  readonly error: string;
  readonly seconds: Estimate | null;
  readonly samples: readonly number[];
  readonly insns: number;
  readonly states: number;
  readonly peak_states: number;
  readonly kernel: KernelFigures | null;
}

/** Name of the row that stands for a whole skeleton. */
export const WHOLE = '(whole skeleton)';

/** What measuring a corpus needs. */
export interface CorpusOptions {
  readonly instruments: Instruments;
  readonly effort: Effort;
  readonly kernelBTF: () => Uint8Array;
  /** Trusted by the kernel that skeletons are loaded into. */
  readonly certificates: readonly Certificate[];
}

/**
 * Measures a file: a light skeleton where its name ends in `.h`, else an object.
 * @throws InputError where it cannot be read as such
 */
export function measureFile(bytes: Uint8Array, file: string, options: CorpusOptions): CorpusRow[] {
  options.instruments.usePrimitives({});
  return file.endsWith('.h') ? measureSkeleton(bytes, file, options) : measureObject(bytes, file, options);
}

function measureObject(bytes: Uint8Array, file: string, { instruments, effort, kernelBTF }: CorpusOptions): CorpusRow[] {
  const samples = new Map<string, number[]>();
  let rows: readonly VerifiedRow[] = [];
  const work = (isCounted: boolean): void => {
    rows = verifyObject(bytes, file, { kernelBTF, clock: () => instruments.used() * 1000 });
    if (isCounted) for (const { prog, duration_us } of rows) samples.set(prog, [...(samples.get(prog) ?? []), duration_us / 1e6]);
  };
  warmUp(instruments, () => work(false), effort.warm);
  instruments.sample(file, () => work(true), effort);
  return rows.map(({ prog, verdict, name, insns, states, peak_states }) => ({
    file, prog, verdict, error: name, ...timesOf(samples.get(prog) ?? []), insns, states, peak_states, kernel: null,
  }));
}

function timesOf(all: readonly number[]): Pick<CorpusRow, 'seconds' | 'samples'> {
  const samples = condense(all);
  return { samples, seconds: samples.length === 0 ? null : estimateMedian(samples) };
}

/** Times every load of a program: the kernel enters phase `attr` once for each. */
class LoadTimes implements Phases {
  readonly #used: () => number;
  readonly #open: number[] = [];
  times: number[] = [];

  constructor(used: () => number) {
    this.#used = used;
  }

  enter(phase: Phase): void {
    this.#open.push(phase === 'attr' ? this.#used() : NaN);
  }

  leave(): void {
    const began = this.#open.pop() ?? NaN;
    if (!Number.isNaN(began)) this.times.push(this.#used() - began);
  }
}

function measureSkeleton(bytes: Uint8Array, file: string, { instruments, effort, kernelBTF, certificates }: CorpusOptions): CorpusRow[] {
  const skeleton = parseLightSkeleton(bytes, file), contract = detectContract(skeleton).contract === 'in-loader' ? '6.18' : '7.3';
  const { result } = runSkeleton(skeleton, { kernel: contract, kernelBTF, certificates });
  if (result.errno !== 0) {
    return [{ file, prog: WHOLE, verdict: 'failure', error: errnoName(result.errno), seconds: null, samples: [], insns: 0, states: 0, peak_states: 0, kernel: null }];
  }
  const clock = new PhaseClock(() => instruments.now(), () => instruments.used()), loads = new LoadTimes(() => instruments.used());
  const common = { clock, contract, kernelBTF, certificates: certificates.map(({ raw }) => raw) } as const;
  const whole = new SkeletonAdmission(skeleton, { ...common, phases: undefined }), listened = new SkeletonAdmission(skeleton, { ...common, phases: loads });
  const wholes: number[] = [], single: number[][] = [];
  const work = (): void => {
    wholes.push(whole.perform().whole);
    loads.times = [];
    listened.perform();
    for (const [i, time] of loads.times.entries()) (single[i] ??= []).push(time);
  };
  warmUp(instruments, work, effort.warm);
  for (const list of [wholes, ...single]) list.length = 0;
  instruments.sample(file, work, effort);
  const calls = whole.observe().filter(({ name }) => name === 'PROG_LOAD'), accepted = { verdict: 'success', error: '', kernel: null } as const;
  const all = countCalls(calls);
  return [
    { file, prog: WHOLE, ...accepted, ...timesOf(wholes), insns: all.processed, states: all.states, peak_states: all.peakStates },
    ...calls.map((call, i): CorpusRow => {
      const { processed, states, peakStates } = countCalls([call]);
      return { file, prog: String(call.args['prog_name'] ?? ''), ...accepted, ...timesOf(single[i] ?? []), insns: processed, states, peak_states: peakStates };
    }),
  ];
}

/** Puts a kernel's figures beside ours, by name of file (without folder) and program. */
export function joinKernel(rows: readonly CorpusRow[], figures: readonly Stats[]): CorpusRow[] {
  const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  const known = new Map(figures.map((stats) => [`${baseName(String(stats.file_name))}\0${String(stats.prog_name)}`, stats]));
  return rows.map((row) => {
    const stats = known.get(`${baseName(row.file)}\0${row.prog}`);
    if (stats === undefined) return row;
    return {
      ...row,
      kernel: { verdict: String(stats.verdict ?? ''), duration: Number(stats.duration ?? NaN), insns: Number(stats.total_insns ?? NaN), states: Number(stats.total_states ?? NaN) },
    };
  });
}

/** The most expensive first; what has no time last. */
export function byCost(rows: readonly CorpusRow[]): CorpusRow[] {
  return rows.toSorted((a, b) => (b.seconds?.value ?? -1) - (a.seconds?.value ?? -1));
}
