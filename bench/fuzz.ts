/**
 * How many inputs a second are fuzzed: `npm run bench:fuzz -- [--seconds S] [--runs N] [--target NAME] [--jobs N] [--json]`. For each target two rows
 * by one worker and by `--jobs` of them (default 2), each in threads as `bpftwin fuzz` has them:
 *
 * - `session`: what `bpftwin fuzz` does, all oracles, from an empty corpus;
 * - `throughput` (bytecode, loader): every input once, without what only some inputs are asked (states, engines, variants): bytecode programs
 *   generated, verified and run; loaders changed, signatures checked, verified, run;
 * - `whole loads` (loader): the signed loader of one map and one program as it is: signature checked, verified, run, what it made compared and taken down.
 *
 * CPU seconds are those of all threads of the process, so that a machine that does other things beside it does not look slower than it is.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, type Worker, workerData } from 'node:worker_threads';
import { Coverage } from '../src/fuzz/coverage.ts';
import { Grammar, KIND_SYSCALL } from '../src/fuzz/bytecode/grammar.ts';
import { MAPS, World } from '../src/fuzz/bytecode/world.ts';
import { runSession } from '../src/fuzz/engine.ts';
import { Random } from '../src/fuzz/random.ts';
import { MOST_VISITS } from '../src/fuzz/targets/bytecode.ts';
import { loadTarget, TARGET_NAMES } from '../src/fuzz/targets/index.ts';
import { createTargetEnvironment } from '../src/node/fuzz-environment.ts';
import { startThread, startWorkers } from '../src/node/fuzz-pool.ts';
import { installNodeCrypto } from '../src/node/native-crypto.ts';

/** What is measured with inputs that no session chooses. */
type Measure = 'throughput' | 'whole loads';

/** The signed skeleton of one map and one program, as inputs of the target are written. */
const WHOLE_LOAD = new TextEncoder().encode(JSON.stringify({ base: 'onemap', signed: true, resign: true }));

interface Task {
  readonly target: string;
  readonly measure: Measure;
  readonly runs: number;
  readonly seed: number;
}

interface Row {
  readonly target: string;
  readonly measure: 'session' | Measure;
  readonly jobs: number;
  readonly runs: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly runsPerSecond: number;
  /** Runs for each CPU second of one processor. */
  readonly runsPerCPUSecond: number;
  readonly more?: Readonly<Record<string, number>>;
}

/** Programs generated, loaded and run once: verified or refused. Counts of those accepted, of those given up as a session gives them up, and of slots. */
function bytecodePrograms({ runs, seed }: Task): Record<string, number> {
  const grammar = new Grammar(MAPS);
  const world = new World();
  const random = new Random(seed);
  const stop = new Error('visits');
  let accepted = 0, givenUp = 0, slots = 0, left = 0;
  const limit = { everyPath: false, visit: (): void => {
    if (--left < 0) throw stop;
  } };
  for (let run = 0; run < runs; run++) {
    const program = grammar.program(random, KIND_SYSCALL);
    slots += program.length / 8;
    left = MOST_VISITS;
    try {
      const loaded = world.load(program, KIND_SYSCALL, 0, limit);
      if (typeof loaded === 'number') continue;
      accepted++;
      if (world.canRun(loaded)) world.run(loaded, run, { tier: 'interpreter' });
      world.unload(loaded);
      world.settle();
    } catch (error) {
      if (error !== stop) throw error;
      givenUp++;
    }
  }
  return { accepted, 'given up': givenUp, slots };
}

/** Inputs of a target, each executed once without the dear oracles. */
async function executions({ target: name, measure, runs, seed }: Task): Promise<Record<string, number>> {
  const coverage = new Coverage();
  const target = (await loadTarget(name))(createTargetEnvironment(coverage));
  const random = new Random(seed);
  const whole = measure === 'whole loads' ? target.deserialise(WHOLE_LOAD) : undefined;
  let findings = 0;
  for (let run = 0; run < runs; run++) {
    coverage.reset();
    if (target.execute(whole ?? target.generate(random), false) !== undefined) findings++;
  }
  return { findings };
}

const perform = async (task: Task): Promise<Record<string, number>> => (task.target === 'bytecode' ? bytecodePrograms(task) : executions(task));

async function throughput(target: string, measure: Measure, jobs: number, runs: number): Promise<Row> {
  const workers = Array.from({ length: jobs }, () => startThread(new URL(import.meta.url), target, 'bench:fuzz'));
  const ask = async (worker: Worker, task: Task): Promise<Record<string, number>> => new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.postMessage(task);
  });
  // Warm: what the compiler of the platform learns in the first tens of thousands of runs is not what a long session costs.
  await Promise.all(workers.map((worker, i) => ask(worker, { target, measure, runs: 2 * runs, seed: 100 + i })));
  const cpu = process.cpuUsage(), start = performance.now();
  const results = await Promise.all(workers.map((worker, i) => ask(worker, { target, measure, runs, seed: 1 + i })));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await Promise.all(workers.map((worker) => worker.terminate()));
  const more = Object.fromEntries(Object.keys(results[0]!).map((key) => [key, results.reduce((sum, result) => sum + result[key]!, 0)]));
  return row(target, measure, jobs, runs * jobs, seconds, (user + system) / 1e6, more);
}

function row(target: string, measure: Row['measure'], jobs: number, runs: number, seconds: number, cpuSeconds: number, more?: Record<string, number>): Row {
  return {
    target, measure, jobs, runs, seconds: round(seconds), cpuSeconds: round(cpuSeconds), runsPerSecond: Math.round(runs / seconds), runsPerCPUSecond: Math.round(runs / cpuSeconds),
    ...(more === undefined ? {} : { more }),
  };
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

async function session(target: string, jobs: number, seconds: number): Promise<Row> {
  const workers = await startWorkers(target, jobs);
  const cpu = process.cpuUsage();
  const report = await runSession({ target, seed: 1, seconds, now: () => performance.now() }, workers);
  const { user, system } = process.cpuUsage(cpu);
  await Promise.all(workers.map((worker) => worker.close()));
  return row(target, 'session', jobs, report.runs, report.seconds, (user + system) / 1e6, { coverage: report.edges, corpus: report.corpus.length, findings: report.findings.length });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' }, runs: { type: 'string', default: '20000' }, target: { type: 'string', multiple: true }, jobs: { type: 'string', default: '2' },
      json: { type: 'boolean', default: false },
    },
  });
  const targets = values.target ?? TARGET_NAMES.map(({ name }) => name);
  const rows: Row[] = [];
  for (const target of targets) {
    for (const jobs of new Set([1, Number(values.jobs)])) {
      if (target === 'bytecode') rows.push(await throughput(target, 'throughput', jobs, Number(values.runs)));
      if (target === 'loader') {
        for (const measure of ['throughput', 'whole loads'] as const) rows.push(await throughput(target, measure, jobs, Math.ceil(Number(values.runs) / (measure === 'throughput' ? 10 : 2))));
      }
      if (Number(values.seconds) > 0) rows.push(await session(target, jobs, Number(values.seconds)));
      if (!values.json) print(rows);
    }
  }
  if (values.json) console.log(JSON.stringify({ rows, conditions: { node: process.version, processor: cpus()[0]?.model ?? 'unknown', threads: cpus().length } }));
}

const printed = new Set<Row>();

/** Lines of the table in docs/fuzzing.md. */
function print(rows: readonly Row[]): void {
  if (printed.size === 0) console.log('| target | measure | workers | runs | s | runs/s | runs per CPU s | |\n|---|---|---|---|---|---|---|---|');
  for (const one of rows) {
    if (printed.has(one)) continue;
    printed.add(one);
    const more = Object.entries(one.more ?? {}).map(([key, value]) => `${key} ${value}`).join(', ');
    console.log(`| ${one.target} | ${one.measure} | ${one.jobs} | ${one.runs} | ${one.seconds.toFixed(1)} | ${one.runsPerSecond} | ${one.runsPerCPUSecond} | ${more} |`);
  }
}

if (isMainThread) {
  await main();
} else if (workerData === 'bench:fuzz') {
  installNodeCrypto();
  parentPort!.on('message', (task: Task) => void perform(task).then((result) => parentPort!.postMessage(result)));
}
