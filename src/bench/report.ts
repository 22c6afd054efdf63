/**
 * @module src/bench/report
 * The reports of `bpftwin bench` as data and as tables: JSON, CSV, and the tables that terminal and page show. Owns words and layout;
 * measures nothing.
 */
import { PHASES, type Phase } from '../../isa/phases.ts';
import type { ComparedRow, Comparable, Comparison } from './baseline.ts';
import type { Conditions } from './conditions.ts';
import { WHOLE, type CorpusRow } from './corpus.ts';
import type { Measurement } from './measure.ts';
import type { PhaseTimes } from './phases.ts';
import { sumPhases } from './phases.ts';
import { formatBytes, formatCount, PLANS, type ContractRow, type GrowthAnswer, type PhaseReport, type Sweep, type SweepPlan } from './sweep.ts';
import type { Estimate } from './statistics.ts';

/** The verifier's work on one program, ours and Linux's. */
export interface WorkRow {
  readonly program: string;
  readonly ours: Work;
  readonly linux: Work;
  readonly agrees: boolean;
}

export interface Work {
  readonly processed: number;
  readonly states: number;
  readonly peakStates: number;
}

/** What a real kernel counted (`bench/record-linux.mjs`). */
export interface RecordedWork {
  readonly kernel: string;
  readonly programs: Readonly<Record<string, Work>>;
}

/** Everything that was measured. */
export interface AdmissionReport {
  readonly kind: 'admission';
  readonly conditions: Conditions;
  readonly reference: PhaseReport;
  readonly sweeps: readonly Sweep[];
  readonly exponents: Readonly<Record<string, GrowthAnswer>>;
  readonly work: readonly WorkRow[];
  readonly linux: string;
  readonly comparison?: Comparison;
}

/** A corpus that was measured. */
export interface CorpusReport {
  readonly kind: 'corpus';
  readonly conditions: Conditions;
  readonly programs: readonly CorpusRow[];
  readonly comparison?: Comparison;
}

export type BenchReport = AdmissionReport | CorpusReport;

/** A table for people; every row has as many cells as `head`. */
export interface Table {
  readonly title: string;
  readonly explanation: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

// Numbers for people.

/** `1.23 ms`: three digits and the unit that suits them. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  if (seconds === 0) return '0';
  const units = [[1, 's'], [1e-3, 'ms'], [1e-6, 'µs']] as const, [scale, unit] = units.find(([size]) => seconds >= size * 0.9995) ?? [1e-9, 'ns'];
  const value = seconds / scale;
  return `${value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2)} ${unit}`;
}

function formatShare(part: number, whole: number): string {
  const share = (100 * part) / whole;
  return share > 0 && share < 0.1 ? '<0.1 %' : `${share.toFixed(1)} %`;
}

/** Half of the interval, relative to the value. */
function formatMargin({ value, low, high }: Estimate): string {
  return `±${((50 * (high - low)) / value).toFixed(value > 0 && (high - low) / value < 0.2 ? 1 : 0)} %`;
}

function formatRatio({ value, low, high }: Estimate): string {
  return `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

const BLOCKS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;

/** A bar of up to `width` characters, with eighths. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.max(0, Math.min(1, share)) * width * 8);
  return '█'.repeat(Math.floor(eighths / 8)) + (BLOCKS[eighths % 8] ?? '');
}

// Tables.

/** What each phase is, in words for newcomers. */
export const PHASE_WORDS: Readonly<Record<Phase, string>> = {
  'user space': "the process's own part: buffers, attributes, mappings", maps: "the loader's map made, filled, frozen", attr: 'system call arguments copied and checked',
  'set-up': "the verifier's working memory", digest: 'SHA-256 over the instructions', fd_array: 'descriptors resolved, maps bound',
  folding: "maps' contents put behind the instructions", 'CMS parse': 'the signature message read', hashing: 'digest of what is signed',
  signature: 'key found, public-key operation, trust', 'LSM hooks': "security modules' say", references: 'types, subprograms, maps that instructions name',
  'control flow': 'graph of jumps, constants, loops', liveness: 'which registers and stack slots matter', 'main verification': 'every path followed, states compared',
  rewrites: 'the program as it will run', log: "the verifier's log", install: 'id and descriptor given out', compile: 'decoded or compiled for the machine',
  'loader run': "the loader program's own instructions", 'payload admission': 'what the loader loads: types, maps, programs',
};

function phaseRows(times: PhaseTimes): readonly (readonly [Phase, number])[] {
  return PHASES.flatMap((phase): (readonly [Phase, number])[] => {
    const seconds = times[phase];
    return seconds === undefined ? [] : [[phase, seconds]];
  });
}

/** One admission by phase. */
export function phaseTable(report: PhaseReport): Table {
  const whole = sumPhases(report.phases), most = Math.max(...Object.values(report.phases));
  const rows = phaseRows(report.phases).map(([phase, seconds]) => [phase, formatSeconds(seconds), formatShare(seconds, whole), bar(seconds / most, 20), PHASE_WORDS[phase]]);
  return {
    title: 'Where the time goes',
    explanation: `One signed light skeleton with 8 programs, from the first call to the last: ${formatSeconds(report.seconds.value)} ${formatMargin(report.seconds)}, of it`,
    head: ['phase', 'time', 'share', '', 'what happens'], rows,
  };
}

/** What the numbers under the table of phases say. */
export function phaseFacts({ counters, memory, coverage }: PhaseReport): string[] {
  return [
    `Together ${(100 * coverage).toFixed(1)} % of the same admission without marks, measured in turn.`,
    `${formatCount(counters.processed)} instructions verified in ${formatCount(counters.states)} states, ${formatBytes(counters.bytesHashed)} hashed, ${counters.systemCalls} system calls.`,
    ...(memory === null ? [] : [`${formatBytes(memory.allocated)} of memory taken, at most ${formatBytes(memory.peak)} at once.`]),
  ];
}

/** The two parts that cost most. */
function mostly({ phases }: Pick<Measurement, 'phases'>): string {
  const whole = sumPhases(phases);
  return phaseRows(phases).toSorted(([, a], [, b]) => b - a).slice(0, 2).map(([phase, seconds]) => `${phase} ${Math.round((100 * seconds) / whole)} %`).join(', ');
}

/** One sweep. Bars compare logarithms, because sizes grow by factors. */
export function sweepTable(plan: SweepPlan, sweep: Sweep): Table {
  if (plan.name === 'contract') return contractTable(plan, sweep.contract);
  const times = sweep.rows.map(({ seconds }) => Math.log(seconds.value)), least = Math.min(...times), span = Math.max(...times) - least;
  return {
    title: plan.title, explanation: plan.explanation,
    head: [plan.unit === 'key' ? 'key' : 'size', 'time', 'margin', '', 'mostly', 'verified', 'states', 'memory'],
    rows: sweep.rows.map((row) => [
      row.name, formatSeconds(row.seconds.value), formatMargin(row.seconds), bar(0.08 + (0.92 * (Math.log(row.seconds.value) - least)) / (span || 1), 12), mostly(row),
      formatCount(row.counters.processed), formatCount(row.counters.states), row.memory === null ? '-' : formatBytes(row.memory.allocated),
    ]),
  };
}

function contractTable(plan: SweepPlan, rows: readonly ContractRow[]): Table {
  return {
    title: plan.title, explanation: plan.explanation,
    head: ['payload', '6.18', '7.3', '7.3 over 6.18', 'instructions loaded', 'system calls', 'bytes hashed'],
    rows: rows.map(({ name, times, before, after }) => [
      name, formatSeconds(times.first.value), formatSeconds(times.second.value), formatRatio(times.ratio),
      ...(['instructions', 'systemCalls', 'bytesHashed'] as const).map((what) => `${formatCount(before.counters[what])} to ${formatCount(after.counters[what])}`),
    ]),
  };
}

/** The fitted growth. */
export function growthTable(exponents: AdmissionReport['exponents']): Table {
  return {
    title: 'How it grows', explanation: 'Time as a constant plus size to a power: 1 is in proportion, 0 not at all. Intervals are for 95 %.',
    head: ['what', 'power', 'interval', 'expected', 'of'],
    rows: Object.entries(exponents).map(([name, { growth: { exponent }, expected, of }]) => [
      name, exponent.value.toFixed(2), `${exponent.low.toFixed(2)} to ${exponent.high.toFixed(2)}`, expected.toFixed(1), of,
    ]),
  };
}

/** The verifier's work beside Linux's. */
export function workTable(rows: readonly WorkRow[], kernel: string): Table {
  const agreeing = rows.filter(({ agrees }) => agrees).length;
  return {
    title: "The verifier's work beside Linux's",
    explanation: `Instructions processed and states of the same programs on a real Linux ${kernel}: ${agreeing} of ${rows.length} agree in every number.`,
    head: ['program', 'verified', 'Linux', 'states', 'Linux', 'at once', 'Linux', ''],
    rows: rows.map(({ program, ours, linux, agrees }) => [
      program, formatCount(ours.processed), formatCount(linux.processed), formatCount(ours.states), formatCount(linux.states),
      formatCount(ours.peakStates), formatCount(linux.peakStates), agrees ? 'same' : 'differs',
    ]),
  };
}

/** A corpus, the most expensive first. */
export function corpusTable(rows: readonly CorpusRow[]): Table {
  const most = Math.max(...rows.filter(({ prog }) => prog !== WHOLE).map(({ seconds }) => seconds?.value ?? 0), 1e-9), hasKernel = rows.some(({ kernel }) => kernel !== null);
  return {
    title: 'Cost by program', explanation: 'The most expensive first; every program of an object is loaded by itself.',
    head: ['file', 'program', 'verdict', 'time', 'margin', '', 'verified', 'states', ...(hasKernel ? ['kernel: time', 'verified', 'states'] : [])],
    rows: rows.map(({ file, prog, verdict, error, seconds, insns, states, kernel }) => [
      file.slice(file.lastIndexOf('/') + 1), prog, verdict === 'success' ? 'accepted' : error, seconds === null ? '-' : formatSeconds(seconds.value),
      seconds === null ? '-' : formatMargin(seconds), bar((seconds?.value ?? 0) / most, 10), formatCount(insns), formatCount(states),
      ...(hasKernel ? kernelCells(insns, states, kernel) : []),
    ]),
  };
}

function kernelCells(insns: number, states: number, kernel: CorpusRow['kernel']): string[] {
  if (kernel === null) return ['-', '-', '-'];
  const figure = (theirs: number, ours: number): string => `${formatCount(theirs)}${theirs === ours ? '' : ' !'}`;
  return [formatSeconds(kernel.duration / 1e6), figure(kernel.insns, insns), figure(kernel.states, states)];
}

/** A comparison with an earlier run. */
export function comparisonTable({ rows, failAbove }: Comparison): Table {
  const worse = rows.filter(({ isWorse }) => isWorse).length;
  return {
    title: 'Against the earlier run', explanation: `${rows.length} compared, ${worse} beyond ${failAbove}. With the same work and another time, it is the code or the machine; work itself has no noise.`,
    head: ['what', 'now over then', 'interval', 'work', ''],
    rows: rows.map(({ name, ratio, work, isWorse }: ComparedRow) => [name, ratio.value.toFixed(3), `${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)}`, work, isWorse ? 'worse' : '']),
  };
}

/** Every table of a report, in order. */
export function reportTables(report: BenchReport): Table[] {
  const compared = report.comparison === undefined ? [] : [comparisonTable(report.comparison)];
  if (report.kind === 'corpus') return [corpusTable(report.programs), ...compared];
  const sweeps = report.sweeps.flatMap((sweep) => PLANS.filter(({ name }) => name === sweep.name).map((plan) => sweepTable(plan, sweep)));
  return [
    phaseTable(report.reference), ...sweeps, ...(Object.keys(report.exponents).length === 0 ? [] : [growthTable(report.exponents)]),
    ...(report.work.length === 0 ? [] : [workTable(report.work, report.linux)]), ...compared,
  ];
}

// Data.

/** What a later run compares with. */
export function comparables(report: BenchReport): Comparable[] {
  if (report.kind === 'corpus') {
    return report.programs.map(({ file, prog, samples, insns, states }) => ({ name: `${file.slice(file.lastIndexOf('/') + 1)}/${prog}`, samples, work: [insns, states] }));
  }
  const of = (name: string, { samples, counters }: Measurement): Comparable => ({ name, samples, work: [counters.processed, counters.states, counters.bytesHashed] });
  return [of('reference', report.reference), ...report.sweeps.flatMap(({ name, rows }) => rows.map((row) => of(`${name}/${row.name}`, row)))];
}

/** The JSON of `bench -j`. Times are seconds, sizes bytes. */
export function reportJSON(report: BenchReport): unknown {
  const common = { conditions: report.conditions, measured: comparables(report), ...(report.comparison === undefined ? {} : { comparison: report.comparison }) };
  if (report.kind === 'corpus') return { programs: report.programs.map(({ samples: _samples, ...row }) => row), ...common };
  const { phases, payload, seconds, counters, memory, marks, coverage } = report.reference;
  return {
    phases, whole: { ...seconds, coverage, marks, counters, memory, payload },
    sweeps: report.sweeps.map(({ name, rows, contract }) => ({ name, rows: name === 'contract' ? contract : rows.map(({ samples: _samples, ...row }) => row) })),
    exponents: Object.fromEntries(Object.entries(report.exponents).map(([name, { growth: { exponent, constant, factor, error }, expected, of, model }]) => (
      [name, { ...exponent, expected, of, model, constant, factor, error }]))),
    work: { kernel: report.linux, programs: report.work },
    ...common,
  };
}

const cell = (value: string | number): string => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

/** One line a measurement. Times are seconds, sizes bytes. */
export function reportCSV(report: BenchReport): string {
  const lines = report.kind === 'corpus'
    ? [
      ['file', 'program', 'verdict', 'seconds', 'low', 'high', 'processed', 'states', 'peak_states', 'kernel_us', 'kernel_processed', 'kernel_states'],
      ...report.programs.map(({ file, prog, verdict, seconds, insns, states, peak_states, kernel }) => [
        file, prog, verdict, seconds?.value ?? '', seconds?.low ?? '', seconds?.high ?? '', insns, states, peak_states, kernel?.duration ?? '', kernel?.insns ?? '', kernel?.states ?? '',
      ]),
    ]
    : [
      ['sweep', 'name', 'size', 'seconds', 'low', 'high', 'instructions', 'processed', 'states', 'peak_states', 'bytes_hashed', 'system_calls', 'allocated', 'peak_memory', ...PHASES],
      measurementCells('reference', report.reference), ...report.sweeps.flatMap(({ name, rows }) => rows.map((row) => measurementCells(name, row))),
    ];
  return lines.map((line) => `${line.map(cell).join(',')}\n`).join('');
}

function measurementCells(sweep: string, { name, size, seconds, counters, memory, phases }: Measurement): (string | number)[] {
  return [
    sweep, name, size, seconds.value, seconds.low, seconds.high, counters.instructions, counters.processed, counters.states, counters.peakStates, counters.bytesHashed,
    counters.systemCalls, memory?.allocated ?? '', memory?.peak ?? '', ...PHASES.map((phase) => phases[phase] ?? 0),
  ];
}
