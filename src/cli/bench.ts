/**
 * @module src/cli/bench
 * `bpftwin bench [FILES…]`: what admission costs. Without files the project's own measurements, with objects, skeletons or folders of
 * them what each program costs. Owns options and output; measuring is `src/bench`.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { toHex } from '../../crypto/bytes.ts';
import { sha256 } from '../../crypto/digest.ts';
import type { Certificate } from '../../crypto/x509.ts';
import { InputError } from '../../isa/errors.ts';
import { compareWithBaseline, readBaseline, type Comparison } from '../bench/baseline.ts';
import { byCost, joinKernel, measureFile, type CorpusRow } from '../bench/corpus.ts';
import type { Effort, Instruments } from '../bench/measure.ts';
import { reportPage } from '../bench/page.ts';
import { comparables, phaseFacts, reportCSV, reportJSON, reportTables, type AdmissionReport, type BenchReport, type RecordedWork, type WorkRow } from '../bench/report.ts';
import { answerQuestions, Bench, PLANS, SWEEPS, type GrowthAnswer, type Sweep, type SweepName, type SweepPlan } from '../bench/sweep.ts';
import { readCertificates } from '../certificates.ts';
import { readChartLibrary } from '../node/chart-library.ts';
import { createInstruments, generateRSAKey, machineConditions } from '../node/instruments.ts';
import { loadKernelBTF } from '../node/kernel-btf.ts';
import { packageFile } from '../node/package-file.ts';
import { renderHTML } from '../report/html.ts';
import { parseCSV } from '../veristat/csv.ts';
import { UsageError } from './failure.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';
import { createProgress, type Progress } from './progress.ts';
import { createRenderer } from './render.ts';
import { VERSION } from './version.ts';

export interface BenchCommandOptions {
  readonly only?: string;
  readonly quick?: boolean;
  readonly counters?: boolean;
  readonly seconds?: number;
  readonly cert?: readonly string[];
  readonly baseline?: string;
  readonly failAbove?: string;
  readonly acrossVersions?: boolean;
  readonly veristat?: string;
  readonly html?: string;
  readonly csv?: string;
}

const DEFAULT_SECONDS = 0.25, MOST_FILES = 4096;

/** Samples and time to get warm follow from the time that a measurement may take. */
function effortOf(seconds: number): Effort {
  return { seconds, least: Math.max(3, Math.min(8, Math.round(seconds * 40))), warm: 2 * seconds };
}

/** Runs the command; 1 where something is slower than the baseline allows. */
export async function benchCommand(files: readonly string[], options: BenchCommandOptions, context: Context): Promise<number> {
  const failAbove = readRatio(options.failAbove);
  // A file that cannot be read should not be found out about after a minute of measuring.
  const baseline = options.baseline === undefined ? undefined : readBaseline(readText(options.baseline), options.baseline);
  const instruments = createInstruments();
  if (options.counters === true) return writeCounters(createBench(options, instruments), plansOf(options), context);
  const measured = files.length > 0 ? await measureCorpus(files, options, instruments, context) : await measureAdmission(options, instruments, context);
  const comparison = baseline === undefined ? undefined : compareWithBaseline(
    comparables(measured), measured.conditions, baseline, options.baseline ?? '', { failAbove, acrossVersions: options.acrossVersions === true });
  const report: BenchReport = comparison === undefined ? measured : { ...measured, comparison };
  if (options.csv !== undefined) writeFile(options.csv, reportCSV(report));
  if (options.html !== undefined) writeFile(options.html, renderHTML(reportPage(report), readChartLibrary()));
  if (context.json) writeJSON(context, reportJSON(report));
  else await writeTables(report, context);
  return isWorse(comparison) ? EXIT_REJECTED : EXIT_OK;
}

function isWorse(comparison: Comparison | undefined): boolean {
  return comparison?.rows.some((row) => row.isWorse) === true;
}

function readRatio(text = '1.1'): number {
  const ratio = Number(text);
  if (!(ratio >= 1 && ratio <= 1000)) throw new UsageError(`--fail-above: a ratio from 1 on is wanted, not ${JSON.stringify(text)}`);
  return ratio;
}

function readText(file: string): string {
  return new TextDecoder().decode(readInput(file));
}

function writeFile(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new InputError(file, '', error instanceof Error ? error.message : String(error));
  }
}

function plansOf({ only }: BenchCommandOptions): readonly SweepPlan[] {
  if (only === undefined) return PLANS;
  const wanted = only.split(',').map((name) => name.trim());
  for (const name of wanted) {
    if (!(SWEEPS as readonly string[]).includes(name) && name !== 'phases') throw new UsageError(`--only ${JSON.stringify(name)}: there are phases, ${SWEEPS.join(', ')}`);
  }
  return PLANS.filter(({ name }) => wanted.includes(name));
}

function readRecordedWork(): RecordedWork {
  return JSON.parse(new TextDecoder().decode(readFileSync(packageFile('assets/payload-linux.json')))) as RecordedWork;
}

function createBench({ quick = false, seconds = DEFAULT_SECONDS }: BenchCommandOptions, instruments: Instruments): Bench {
  return new Bench({
    instruments, kernelBTF: () => loadKernelBTF(), rsaKey: generateRSAKey, payload: readFileSync(packageFile('assets/payload.bpf.o')), quick,
    effort: effortOf(seconds),
  });
}

function optionsText({ quick = false, seconds = DEFAULT_SECONDS, only }: BenchCommandOptions): string {
  return `${seconds} s a measurement${quick ? ', quick' : ''}${only === undefined ? '' : `, only ${only}`}`;
}

async function measureAdmission(options: BenchCommandOptions, instruments: Instruments, context: Context): Promise<AdmissionReport> {
  const plans = plansOf(options), bench = createBench(options, instruments), names = plans.map(({ name }): SweepName => name);
  const progress = await createProgress(context, Bench.steps(names, options.quick === true));
  try {
    const linux = readRecordedWork();
    const sweeps: Sweep[] = [];
    let exponents: Readonly<Record<string, GrowthAnswer>> = {};
    for (const plan of plans) {
      const sweep = bench.sweep(plan, (what) => progress.step(what));
      sweeps.push(sweep);
      exponents = { ...exponents, ...answerQuestions(plan, sweep) };
    }
    // Last, when the engine has compiled everything that an admission runs.
    progress.step('one admission by phase');
    const reference = bench.phases();
    return {
      kind: 'admission', conditions: { bpftwin: VERSION, ...machineConditions(), subject: 'admission', options: optionsText(options) },
      reference, sweeps, exponents, work: compareWork(bench.work(names), linux), linux: linux.kernel,
    };
  } finally {
    progress.stop();
  }
}

/** The same programs on ours and on a real kernel. */
function compareWork(ours: ReturnType<Bench['work']>, { programs }: RecordedWork): WorkRow[] {
  return ours.flatMap(({ program, work }): WorkRow[] => {
    const linux = programs[program];
    if (linux === undefined) return [];
    return [{ program, ours: work, linux, agrees: work.processed === linux.processed && work.states === linux.states && work.peakStates === linux.peakStates }];
  });
}

/** Work without times: equal on every machine, for continuous integration. 1 where the verifier's is not what Linux's is. */
function writeCounters(bench: Bench, plans: readonly SweepPlan[], context: Context): number {
  const linux = readRecordedWork(), work = compareWork(bench.work(plans.map(({ name }) => name)), linux), different = work.filter(({ agrees }) => !agrees);
  const counters = Object.fromEntries(plans.flatMap((plan) => bench.count(plan).map(({ name, counters: done }) => [`${plan.name}: ${name}`, done])));
  if (context.json) writeJSON(context, { counters, work: { kernel: linux.kernel, programs: work } });
  else {
    for (const [name, done] of Object.entries(counters)) context.stdout.write(`${name}: ${Object.entries(done).map(([what, count]) => `${what} ${count}`).join(', ')}\n`);
    context.stdout.write(`${work.length - different.length} of ${work.length} programs: as many instructions and states as on Linux ${linux.kernel}\n`);
  }
  return different.length === 0 ? EXIT_OK : EXIT_REJECTED;
}

// Corpora.

/** The files themselves, and of folders the objects and light skeletons in them. */
function expand(paths: readonly string[]): string[] {
  const found = paths.flatMap((path) => {
    let isFolder: boolean;
    try {
      isFolder = statSync(path).isDirectory();
    } catch {
      throw new InputError(path, '', 'no such file');
    }
    if (!isFolder) return [path];
    return readdirSync(path).filter((name) => name.endsWith('.o') || name.endsWith('.lskel.h')).toSorted().map((name) => join(path, name));
  });
  if (found.length === 0) throw new InputError(paths.join(', '), '', 'no objects (*.o) and no light skeletons (*.lskel.h)');
  if (found.length > MOST_FILES) throw new InputError(paths.join(', '), '', `${found.length} files, more than the ${MOST_FILES} that are measured`);
  return found;
}

async function measureCorpus(paths: readonly string[], options: BenchCommandOptions, instruments: Instruments, context: Context): Promise<BenchReport> {
  const { seconds = DEFAULT_SECONDS } = options;
  if (options.only !== undefined || options.quick === true) throw new UsageError('--only and --quick choose among the measurements that are done without files');
  const files = expand(paths), certificates = readTrusted(options.cert ?? []);
  const kernel = options.veristat === undefined ? [] : parseCSV(readText(options.veristat), options.veristat).rows;
  const contents = files.map((file) => ({ file, bytes: readInput(file) }));
  const progress: Progress = await createProgress(context, files.length), rows: CorpusRow[] = [];
  try {
    for (const { file, bytes } of contents) {
      progress.step(basename(file));
      rows.push(...measureFile(bytes, file, { instruments, certificates, kernelBTF: () => loadKernelBTF(), effort: effortOf(seconds) }));
    }
  } finally {
    progress.stop();
  }
  const subject = contents.map(({ file, bytes }) => `${basename(file)} ${toHex(sha256(bytes)).slice(0, 12)}`).join(', ');
  return {
    kind: 'corpus', programs: byCost(joinKernel(rows, kernel)),
    conditions: { bpftwin: VERSION, ...machineConditions(), subject, options: optionsText(options) },
  };
}

function readTrusted(files: readonly string[]): Certificate[] {
  return files.flatMap((file) => readCertificates(readInput(file), file));
}

// Output.

async function writeTables(report: BenchReport, context: Context): Promise<void> {
  const render = await createRenderer(context), { stdout } = context;
  for (const [i, { title, explanation, head, rows }] of reportTables(report).entries()) {
    stdout.write(`${i === 0 ? '' : '\n'}${render.tone('strong', title)}\n${explanation}\n\n${render.table(head, rows)}`);
    if (i === 0 && report.kind === 'admission') stdout.write(`\n${phaseFacts(report.reference).join('\n')}\n`);
  }
  const { conditions } = report;
  stdout.write(`\n${render.tone('dim', `bpftwin ${conditions.bpftwin}, Node.js ${conditions.node}, ${conditions.cpu}, ${conditions.cores} cores, ${conditions.crypto}; ${conditions.options}`)}\n`);
  const unmatched = report.comparison?.unmatched ?? [];
  if (unmatched.length > 0) stdout.write(`not compared, because in one of the two runs only: ${unmatched.slice(0, 10).join(', ')}${unmatched.length > 10 ? `, and ${unmatched.length - 10} more` : ''}\n`);
}
