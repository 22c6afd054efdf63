/**
 * Times the generation of light skeletons: the process `bpftwin gen skeleton -L` from start to end, beside Node itself with an empty script,
 * and beside bpftool where `--bpftool` names it; and warm, inside this process. All take turns, their output goes to a file as in a build,
 * and what is printed is the shortest of all rounds: under load even that says little. Objects are the largest fixtures, or those that are
 * named; `--node` (repeatable) names the Nodes to run, by default this one. Needs a build (`npm run build`).
 *
 * With bpftool the bar is three times its process, start-up included: passed or missed for each Node, with what Node leaves of it before
 * the first line of ours is read.
 *
 *     npx tsc -p bench && node node_modules/.cache/bpftwin-bench/bench/gen.js [--json] [--rounds 20] [--bpftool FILE] [--node FILE]… [OBJ.o…]
 */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InternalError } from '../isa/errors.ts';
import { defaultObjectName } from '../loader/gen/skeleton-model.ts';
import { generateLightSkeleton } from '../src/gen.ts';

/** Times bpftool's process. */
const BAR = 3;
const LARGEST = 3;

interface Row {
  readonly object: string;
  readonly bytes: number;
  readonly node: string;
  /** Milliseconds, each the shortest of all rounds. */
  readonly cold: number;
  readonly nodeItself: number;
  readonly bpftool: number | undefined;
}

function findRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'test', 'fixtures', 'objects'))) return folder;
    if (folder === dirname(folder)) throw new InternalError('no checkout around the benchmark');
  }
}

/** The entry that the package installs; without `.ci/bundle.mjs` there is only the slower one. */
function findEntry(root: string): string {
  const entry = ['bpftwin.cjs', 'main.js'].map((name) => join(root, 'dist', 'src', 'cli', name)).find((path) => existsSync(path));
  if (entry === undefined) throw new InternalError('there is no build: npm run build');
  return entry;
}

function largestFixtures(root: string): string[] {
  const folder = join(root, 'test', 'fixtures', 'objects');
  return readdirSync(folder).filter((name) => name.endsWith('.o')).map((name) => join(folder, name)).toSorted((a, b) => statSync(b).size - statSync(a).size).slice(0, LARGEST);
}

/** Certificates that the environment adds are read by some Nodes at every start, whatever they run. */
const { NODE_EXTRA_CA_CERTS: _certificates, ...ENVIRONMENT } = process.env;

/** Milliseconds that a process takes, output to a file. */
function timeOf(command: readonly string[], output: string): number {
  const [program = '', ...args] = command;
  const fd = openSync(output, 'w');
  const start = process.hrtime.bigint();
  const { status, stderr } = spawnSync(program, args, { stdio: ['ignore', fd, 'pipe'], env: ENVIRONMENT, encoding: 'latin1' });
  const end = process.hrtime.bigint();
  closeSync(fd);
  if (status !== 0) throw new InternalError(`${program}: exit status ${status}: ${stderr}`);
  return Number(end - start) / 1e6;
}

/** The shortest of all rounds, for each command; every round runs all of them, after one that does not count. */
function takeTurns(commands: readonly (readonly string[])[], rounds: number, output: string): number[] {
  const best = commands.map(() => Infinity);
  for (let round = -1; round < rounds; round++) {
    for (const [i, command] of commands.entries()) {
      const time = timeOf(command, output);
      if (round >= 0) best[i] = Math.min(best[i] ?? Infinity, time);
    }
  }
  return best;
}

function warm(object: string, rounds: number): number {
  const bytes = readFileSync(object);
  let best = Infinity;
  for (let i = 0; i < 5 * rounds; i++) {
    const start = process.hrtime.bigint();
    generateLightSkeleton(bytes, object, { name: defaultObjectName(object), possibleCPUs: 2 });
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e6);
  }
  return best;
}

const { values, positionals } = parseArgs({
  allowPositionals: true, options: { json: { type: 'boolean' }, bpftool: { type: 'string' }, node: { type: 'string', multiple: true }, rounds: { type: 'string', default: '20' } },
});
const root = findRoot();
const entry = findEntry(root);
const rounds = Number(values.rounds);
const nodes = values.node ?? [process.execPath];
const objects = positionals.length > 0 ? positionals : largestFixtures(root);
const scratch = mkdtempSync(join(tmpdir(), 'bpftwin-bench-gen-'));
const [empty, output] = [join(scratch, 'empty.cjs'), join(scratch, 'output.h')];
writeFileSync(empty, '');
const versions = nodes.map((node) => spawnSync(node, ['--version'], { encoding: 'latin1' }).stdout.trim());
const rows: Row[] = [];
const warmTimes: { readonly object: string; readonly ms: number }[] = [];
for (const object of objects) {
  const commands = [...nodes.flatMap((node) => [[node, empty], [node, entry, 'gen', 'skeleton', '-L', object]]), ...(values.bpftool === undefined ? [] : [[values.bpftool, 'gen', 'skeleton', '-L', object]])];
  const times = takeTurns(commands, rounds, output);
  for (const [i, node] of versions.entries()) {
    rows.push({ object: basename(object), bytes: statSync(object).size, node, nodeItself: times[2 * i] ?? 0, cold: times[2 * i + 1] ?? 0, bpftool: times[2 * nodes.length] });
  }
  warmTimes.push({ object: basename(object), ms: warm(object, rounds) });
}
rmSync(scratch, { recursive: true });

/** How a process compares with the bar, in words. */
function verdict({ cold, nodeItself, bpftool }: Row): string {
  if (bpftool === undefined) return '';
  const bar = BAR * bpftool;
  const outcome = cold <= bar ? 'passed' : nodeItself > bar ? 'missed: Node alone takes longer' : 'missed';
  return `; bpftool ${bpftool.toFixed(1)} ms: ${(cold / bpftool).toFixed(1)} times, ${((cold - nodeItself) / bpftool).toFixed(1)} without Node itself; ${BAR} times are ${bar.toFixed(0)} ms, ${outcome}`;
}

if (values.json === true) {
  console.log(JSON.stringify({ entry: basename(entry), rounds, rows, warm: warmTimes }));
} else {
  for (const row of rows) console.log(`${row.object} (${row.bytes} bytes), Node ${row.node}: ${row.cold.toFixed(1)} ms, Node itself ${row.nodeItself.toFixed(1)} ms${verdict(row)}`);
  for (const { object, ms } of warmTimes) console.log(`${object}, warm, ${process.version}: ${ms.toFixed(2)} ms`);
}
