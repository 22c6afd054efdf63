/**
 * A long session of every target on the code as it is, for the figures of docs/fuzzing.md: after `tsc -p bench/tsconfig.json`,
 * `node node_modules/.cache/bpftwin-bench/bench/fuzz-long.js [--seconds S] [--cpu] [--seed N] [--jobs N] [--target NAME] [--findings DIR] [--docs FILE]`.
 * `S` is for each target (default 600), by the clock or, with `--cpu`, in processor time. Findings are written as `bpftwin fuzz` writes them;
 * `--docs` puts the table between the marks of a document. Exit status 1 with findings.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runSession, type SessionReport } from '../src/fuzz/engine.ts';
import { findingFiles } from '../src/fuzz/report.ts';
import { TARGET_NAMES } from '../src/fuzz/targets/index.ts';
import { startWorkers } from '../src/node/fuzz-pool.ts';

const BEGIN = '<!-- long sessions: begin -->', END = '<!-- long sessions: end -->';

interface Row extends SessionReport {
  readonly cpuSeconds: number;
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function table(rows: readonly Row[], seed: number, jobs: number): string {
  const sum = (value: (row: Row) => number): number => rows.reduce((total, row) => total + value(row), 0);
  const minutes = (seconds: number): string => (seconds / 60).toFixed(1);
  return [
    BEGIN,
    `${minutes(sum((row) => row.cpuSeconds))} minutes of processor time, ${sum((row) => row.runs)} runs, ${sum((row) => row.findings.length)} findings; every oracle, from empty corpora, seed ${seed}, `
      + `${jobs} ${jobs === 1 ? 'worker' : 'workers'}, Node ${process.versions.node}, ${cpus()[0]?.model ?? 'unknown processor'}.`,
    '', '| target | CPU s | runs | coverage | with counts | corpus | digest | findings |', '|---|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row.target} | ${row.cpuSeconds.toFixed(0)} | ${row.runs} | ${row.edges} | ${row.features} | ${row.corpus.length} | ${row.corpusDigest} | ${row.findings.map(({ oracle, trace }) => `${oracle}: ${trace.replaceAll('|', '/')}`).join('; ') || 'none'} |`),
    END,
  ].join('\n');
}

function writeDocs(path: string, text: string): void {
  const old = readFileSync(path, 'utf8');
  const begin = old.indexOf(BEGIN), end = old.indexOf(END);
  if (begin < 0 || end < 0) throw new Error(`${path} has no marks for the table`);
  writeFileSync(path, old.slice(0, begin) + text + old.slice(end + END.length));
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' }, cpu: { type: 'boolean', default: false }, seed: { type: 'string', default: '1' }, jobs: { type: 'string', default: '1' },
    target: { type: 'string', multiple: true }, findings: { type: 'string', default: 'fuzz-findings' }, docs: { type: 'string' },
  },
});
const seed = Number(values.seed), jobs = Number(values.jobs);
const rows: Row[] = [];
for (const target of values.target ?? TARGET_NAMES.map(({ name }) => name)) {
  const before = cpuSeconds();
  const workers = await startWorkers(target, jobs);
  const report = await runSession({
    target, seed, seconds: Number(values.seconds), now: () => (values.cpu ? cpuSeconds() * 1000 : performance.now()),
    onFinding: (finding) => {
      mkdirSync(values.findings, { recursive: true });
      for (const [name, text] of findingFiles(target, seed, finding)) writeFileSync(join(values.findings, name), text);
    },
  }, workers);
  await Promise.all(workers.map((worker) => worker.close()));
  rows.push({ ...report, cpuSeconds: cpuSeconds() - before });
  console.log(`${target}: ${report.runs} runs, ${rows.at(-1)!.cpuSeconds.toFixed(0)} CPU s, coverage ${report.edges}, corpus ${report.corpus.length}, findings ${report.findings.length}`);
}
if (values.docs === undefined) console.log(table(rows, seed, jobs));
else writeDocs(values.docs, table(rows, seed, jobs));
process.exitCode = rows.some(({ findings }) => findings.length > 0) ? 1 : 0;
