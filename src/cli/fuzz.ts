/**
 * @module src/cli/fuzz
 * `bpftwin fuzz TARGET` and `bpftwin fuzz repro FILE`: options, the live line, files; the session is `src/fuzz/engine.ts`. Exit status 0 without
 * findings, 1 with.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { Chalk } from 'chalk';
import { InputError } from '../../isa/errors.ts';
import { Coverage } from '../fuzz/coverage.ts';
import { LocalWorker, runSession, type Progress, type SessionFinding, type SessionOptions, type SessionReport, type Worker } from '../fuzz/engine.ts';
import { findingFiles, findingName, progressLine, summaryText, toHTML, toJSON } from '../fuzz/report.ts';
import { Shard } from '../fuzz/shard.ts';
import { loadTarget, TARGET_NAMES } from '../fuzz/targets/index.ts';
import { readChartLibrary } from '../node/chart-library.ts';
import { loadCorpus, saveCorpus } from '../node/fuzz-corpus.ts';
import { createTargetEnvironment, reproduce } from '../node/fuzz-environment.ts';
import { startWorkers } from '../node/fuzz-pool.ts';
import { openReferenceKernel } from '../node/reference-kernel.ts';
import { renderHTML } from '../report/html.ts';
import { UsageError } from './failure.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';
import { VERSION } from './version.ts';

export interface FuzzCommandOptions {
  readonly seed?: number;
  readonly time?: number;
  readonly runs?: number;
  readonly corpus?: string;
  readonly jobs?: number;
  /** Folder that findings are written to; default `fuzz-findings`. */
  readonly findings?: string;
  readonly html?: string;
  /** `kernel`: compare with a real one. */
  readonly oracle?: 'kernel';
  readonly kernelImage?: string;
  readonly stopAfter?: number;
}

const DEFAULT_SECONDS = 60;
const MOST_JOBS = 64;
/** Milliseconds between lines: on a terminal, elsewhere. */
const REDRAW = 250, PLAIN = 10_000;

/**
 * Fuzzes a target.
 * @returns the exit status
 * @throws UsageError, InputError
 */
export async function fuzzCommand(target: string, options: FuzzCommandOptions, context: Context): Promise<number> {
  if (!TARGET_NAMES.some(({ name }) => name === target)) throw new UsageError(`there is no target ${target}: ${TARGET_NAMES.map(({ name }) => name).join(', ')}, or repro FILE`);
  if (options.time !== undefined && options.runs !== undefined) throw new UsageError('--time and --runs exclude each other');
  if (options.kernelImage !== undefined && options.oracle !== 'kernel') throw new UsageError('--kernel-image needs --oracle kernel');
  const jobs = options.jobs ?? 1;
  if (jobs < 1 || jobs > MOST_JOBS) throw new UsageError(`--jobs: 1 to ${MOST_JOBS}`);
  const screen = new Screen(target, context);
  const workers = await start(target, jobs);
  let isCancelled = false;
  const cancel = (): void => {
    isCancelled = true;
  };
  process.once('SIGINT', cancel);
  const reference = options.oracle === 'kernel' ? await openReference(target, options.kernelImage) : undefined;
  const folder = options.findings ?? 'fuzz-findings';
  const seed = options.seed ?? 1;
  try {
    const session: SessionOptions = {
      target, seed, now: () => performance.now(), isCancelled: () => isCancelled, onProgress: (progress) => screen.progress(progress),
      onFinding: (finding) => {
        writeFinding(folder, target, seed, finding);
        screen.finding(finding, folder);
      },
      ...(options.runs === undefined ? { seconds: options.time ?? DEFAULT_SECONDS } : { runs: options.runs }),
      ...(options.corpus === undefined ? {} : { corpus: loadCorpus(options.corpus, readInput) }),
      ...(options.stopAfter === undefined ? {} : { stopAfter: options.stopAfter }),
      ...(reference === undefined ? {} : { reference: reference.compare }),
    };
    const report = await runSession(session, workers);
    screen.end();
    if (options.corpus !== undefined) saveCorpus(options.corpus, report.corpus);
    if (options.html !== undefined) writeHTML(options.html, report, jobs);
    if (context.json) writeJSON(context, toJSON(report));
    else context.stdout.write(summaryText(report));
    return report.findings.length === 0 ? EXIT_OK : EXIT_REJECTED;
  } finally {
    process.off('SIGINT', cancel);
    await Promise.all(workers.map((worker) => worker.close()));
    await reference?.close();
  }
}

/** Workers in threads; from sources, which threads cannot load, in this one. */
async function start(target: string, jobs: number): Promise<readonly Worker[]> {
  if (!import.meta.url.endsWith('.ts')) return startWorkers(target, jobs);
  const factory = await loadTarget(target);
  return Array.from({ length: jobs }, () => new LocalWorker(new Shard(factory, createTargetEnvironment(new Coverage()))));
}

interface Reference {
  readonly compare: NonNullable<SessionOptions['reference']>;
  readonly close: () => Promise<void>;
}

/** A real kernel behind the session. */
async function openReference(target: string, kernelImage: string | undefined): Promise<Reference> {
  const reference = await openReferenceKernel(target, kernelImage);
  return { compare: (entries) => reference.compare(entries), close: () => reference.close() };
}

function writeFinding(folder: string, target: string, seed: number, finding: SessionFinding): void {
  try {
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of findingFiles(target, seed, finding)) writeFileSync(join(folder, name), text);
  } catch (error) {
    throw new InputError(folder, '', error instanceof Error ? error.message : String(error));
  }
}

function writeHTML(file: string, report: SessionReport, jobs: number): void {
  const facts: (readonly [string, string])[] = [
    ['bpftwin', VERSION], ['node', process.version], ['jobs', String(jobs)], ['processor', `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} threads`],
  ];
  try {
    writeFileSync(file, renderHTML(toHTML(report, facts), readChartLibrary()));
  } catch (error) {
    throw new InputError(file, '', error instanceof Error ? error.message : String(error));
  }
}

/** The live line on a terminal, now and then a plain line elsewhere, nothing for JSON. */
class Screen {
  readonly #target: string;
  readonly #context: Context;
  readonly #chalk: InstanceType<typeof Chalk>;
  #shown = -Infinity;
  #last: Progress | undefined;
  #rate = 0;
  #isDrawn = false;

  constructor(target: string, context: Context) {
    this.#target = target;
    this.#context = context;
    this.#chalk = new Chalk({ level: context.colours ? 1 : 0 });
  }

  progress(progress: Progress): void {
    const { json, isTerminal, stdout, columns } = this.#context;
    const now = performance.now();
    if (json || now - this.#shown < (isTerminal ? REDRAW : PLAIN)) return;
    const before = this.#last;
    if (before !== undefined && progress.seconds > before.seconds) this.#rate = (progress.runs - before.runs) / (progress.seconds - before.seconds);
    this.#last = progress;
    this.#shown = now;
    const line = progressLine(this.#target, progress, this.#rate);
    if (!isTerminal) stdout.write(`${line}\n`);
    else {
      const text = line.slice(0, Math.max(20, columns - 1));
      stdout.write(`\r\u001b[K${progress.findings > 0 ? this.#chalk.red(text) : this.#chalk.cyan(text)}`);
      this.#isDrawn = true;
    }
  }

  finding(finding: SessionFinding, folder: string): void {
    if (this.#context.json) return;
    this.end();
    this.#context.stdout.write(`${this.#chalk.red('finding')} ${finding.oracle}: ${finding.trace}\n  ${join(folder, findingName(this.#target, finding))}.json\n`);
  }

  /** Leaves the live line. */
  end(): void {
    if (this.#isDrawn) this.#context.stdout.write('\r\u001b[K');
    this.#isDrawn = false;
  }
}

/** Runs the input of a finding again: 0 where no oracle complains any more, 1 where one does. */
export async function reproCommand(file: string, context: Context): Promise<number> {
  const { target, input } = parseFinding(file, new TextDecoder().decode(readInput(file)));
  const finding = await reproduce(target, input);
  if (context.json) writeJSON(context, { target, finding: finding ?? null });
  else if (finding === undefined) context.stdout.write(`${target}: no oracle complains\n`);
  else context.stdout.write(`${target}: ${finding.oracle}: ${finding.trace}\n${finding.message}\n`);
  return finding === undefined ? EXIT_OK : EXIT_REJECTED;
}

function parseFinding(file: string, text: string): { readonly target: string; readonly input: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError(file, '', 'no JSON: fuzz repro wants the .json of a finding');
  }
  const { target, input } = (value ?? {}) as { target?: unknown; input?: unknown };
  if (typeof target !== 'string' || typeof input !== 'string') throw new InputError(file, '', 'no finding: it has no target and input');
  return { target, input };
}
