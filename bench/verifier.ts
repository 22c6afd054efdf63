/**
 * Times the verifier. Generated loops and branch chains from about 100 to about 1,000,000 processed instructions show how time and heap
 * grow; real programs show the speed: those of the objects in `test/fixtures/objects`, or every PROG_LOAD of a transcript
 * (`docs/transcripts.md`). With a baseline each program has a ratio to it, and all have the geometric mean of those.
 *
 *     npm run bench:verifier -- [--json] [--rounds N] [--least N] [--transcript FILE.jsonl[.gz]] [--baseline FILE.tsv] [--no-scale]
 *
 * A baseline's lines are object, program, errno, instructions processed and microseconds, separated by tabs; `#` begins a comment. A time
 * is CPU time of all threads (that of the JIT compiler and the garbage collector counts) over the whole call, of which the verifier is 97 %
 * and more; the rest is arguments copied in and a descriptor given out. There are two: the first one in this process, much of it the
 * JIT compiler's for the programs that come early, and the least over the rounds. Programs with fewer than `--least` (300) processed instructions
 * are left out of a transcript's report.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gunzipSync } from 'node:zlib';
import Benchmark from 'benchmark';
import { alu64, assemble, exit, jump, ldx, mov64, type Item } from '../isa/encode.ts';
import { InputError, InternalError } from '../isa/errors.ts';
import { BPF_PROG_LOAD, BPF_PROG_TYPE_SCHED_CLS } from '../isa/uapi.ts';
import { loadKernelBTF } from '../src/node/kernel-btf.ts';
import { insnsProcessed } from '../src/replay/compare.ts';
import { KernelTarget } from '../src/replay/kernel-target.ts';
import { Replay } from '../src/replay/replay.ts';
import { verifyObject } from '../src/verify.ts';
import type { ProgramLoad, UserArray, VerifierEnvironment } from '../verifier/types.ts';
import { verify } from '../verifier/verify.ts';

/** A generated program. */
interface Scale {
  readonly shape: 'loop' | 'branches';
  readonly processed: number;
  /** Milliseconds, the least of the samples. */
  readonly ms: number;
  readonly nsPerInstruction: number;
  /** Relative margin of error of the samples' mean, percent. */
  readonly margin: number;
  /** Bytes by which heap and array buffers grow, garbage included, at most during one more verification that begins with a collection. */
  readonly heap: number;
}

/** A real program. */
interface Row {
  readonly program: string;
  readonly errno: number;
  readonly processed: number;
  readonly ms: number;
  /** Milliseconds in the first round. */
  readonly first: number;
  readonly instructionsPerSecond: number;
  /** Milliseconds of the baseline, and ours over them. */
  readonly baseline?: number;
  readonly ratio?: number;
  readonly firstRatio?: number;
}

interface Sample {
  readonly errno: number;
  readonly processed: number;
  readonly ms: number;
}

const NOTHING: UserArray = { count: 0, recordSize: 0, isNull: true, read: () => undefined };
const ENVIRONMENT: VerifierEnvironment = {
  resolveFD: () => -9, kernelBTF: () => undefined, kernelSymbol: () => undefined, verifySignature: () => -1, resolveKeyring: () => undefined,
  onProgramLoad: () => 0, random: () => 0, now: () => 0, profile: '7.3',
};
/** Repetitions for about 100, 1,000, 10,000, 100,000 and 1,000,000 processed instructions: two a turn of the loop. */
const TURNS = [49, 499, 4_999, 49_999, 490_000] as const;
/** `n` branches take about 1.5 n² processed instructions, since every side knows another value and goes on to the end. */
const BRANCHES = [8, 26, 82, 258, 810] as const;

/** Instructions between two looks at the memory in use. */
const VISITS_A_SAMPLE = 256;

function loadOf(items: readonly Item[]): ProgramLoad {
  return {
    type: BPF_PROG_TYPE_SCHED_CLS, expectedAttachType: 0, flags: 0, name: '', license: 'GPL', gplCompatible: true, kernelVersion: 0, ifindex: 0,
    instructions: assemble(items), attachBTFID: 0, attachBTF: undefined, attachProgram: undefined, btfFD: 0, funcInfo: NOTHING, lineInfo: NOTHING,
    coreRelos: NOTHING, fdArray: { present: false, count: 0, read: () => undefined }, signature: undefined, log: { level: 0, size: 0, present: false },
    capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true },
  };
}

function loop(turns: number): ProgramLoad {
  return loadOf([mov64('r1', 0), alu64('add', 'r1', 1), jump('jlt', 'r1', turns, -2), mov64('r0', 0), exit()]);
}

function branches(count: number): ProgramLoad {
  const items: Item[] = [ldx('u32', 'r6', 'r1')];
  for (let i = 0; i < count; i++) items.push(jump('jeq', 'r6', i, 1), mov64('r0', 1), mov64('r0', 2));
  return loadOf([...items, mov64('r0', 0), exit()]);
}

setFlagsFromString('--expose-gc');
const collect: unknown = runInNewContext('gc');

function memoryInUse(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function measure(shape: Scale['shape'], load: ProgramLoad): Scale {
  const work = (environment: VerifierEnvironment): number => {
    const { errno, stats } = verify(load, environment);
    if (errno !== 0) throw new InternalError(`${shape}: error ${errno}`);
    return stats.instructionsProcessed;
  };
  const bench = new Benchmark(shape, () => void work(ENVIRONMENT), { minSamples: 5, maxTime: 1 });
  bench.run();
  if (bench.error !== undefined) throw new InternalError(`${shape}: ${String(bench.error)}`);
  if (typeof collect === 'function') collect();
  const before = memoryInUse();
  let heap = 0, visits = 0;
  const visit = (): void => {
    if (visits++ % VISITS_A_SAMPLE === 0) heap = Math.max(heap, memoryInUse() - before);
  };
  const processed = work({ ...ENVIRONMENT, observer: { everyPath: false, visit } });
  heap = Math.max(heap, memoryInUse() - before);
  const seconds = Math.min(...bench.stats.sample);
  return { shape, processed, ms: seconds * 1e3, nsPerInstruction: (seconds * 1e9) / processed, margin: bench.stats.rme, heap };
}

/** Less cannot be told from nothing: a collection in between, or another sample, weighs more. */
const LEAST = { ms: 1e-3, heap: 1 << 18 } as const;

/** The slope of log(time), or log(memory), over log(processed instructions): 1 where it grows in proportion. */
function growthExponent(rows: readonly Scale[], of: 'ms' | 'heap'): number {
  const points = rows.map((row) => [Math.log(row.processed), Math.log(Math.max(row[of], LEAST[of]))] as const);
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length, meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const above = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return above / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}

function findRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'test', 'fixtures', 'objects'))) return folder;
    if (folder === dirname(folder)) throw new InternalError('no checkout around the benchmark');
  }
}

const root = findRoot();
const kernelBTF = (): Uint8Array => loadKernelBTF(join(root, 'assets', 'vmlinux-7.3.4.btf.gz'));

/** Keeps the fastest sample of each program, and the time of the first. */
class Best {
  readonly samples: Map<string, Sample & { readonly first: number }> = new Map();

  add(program: string, sample: Sample): void {
    const known = this.samples.get(program);
    if (known === undefined) this.samples.set(program, { ...sample, first: sample.ms });
    else if (sample.ms < known.ms) this.samples.set(program, { ...sample, first: known.first });
  }
}

/** CPU milliseconds since `start`. */
function cpuSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

/** Takes the CPU time of the program load that came last. */
class TimedTarget extends KernelTarget {
  static lastLoad = 0;

  override bpf(cmd: number, attrAddress: number, size: number): number {
    if (cmd !== BPF_PROG_LOAD) return super.bpf(cmd, attrAddress, size);
    const start = process.cpuUsage();
    const result = super.bpf(cmd, attrAddress, size);
    TimedTarget.lastLoad = cpuSince(start);
    return result;
  }
}

function timeTranscript(path: string, rounds: number, least: number): Best {
  const best = new Best();
  const bytes = readFileSync(path);
  const lines = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString().split('\n');
  for (let round = 0; round < rounds; round++) {
    const replay = new Replay({
      createTarget: () => new TimedTarget({ kernelBTF }),
      onAnswer: (testCase, _index, operation, got) => {
        const processed = operation.op === 'bpf' && operation.cmd === BPF_PROG_LOAD ? insnsProcessed(got.log ?? '') : -1;
        if (processed >= least) best.add(testCase.case, { errno: got.errno, processed, ms: TimedTarget.lastLoad });
      },
    });
    replay.open(path);
    for (const line of lines) replay.line(line);
    replay.finish();
  }
  return best;
}

function timeFixtures(rounds: number): Best {
  const best = new Best();
  const folder = join(root, 'test', 'fixtures', 'objects');
  const clock = (): number => cpuSince({ user: 0, system: 0 });
  for (let round = 0; round < rounds; round++) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.bpf.o')).sort()) {
      for (const { prog, insns, errno, duration_us } of verifyObject(readFileSync(join(folder, file)), file, { kernelBTF, clock })) {
        if (insns > 0) best.add(`${file.slice(0, -'.bpf.o'.length)}/${prog}`, { errno, processed: insns, ms: duration_us / 1000 });
      }
    }
  }
  return best;
}

/** Milliseconds by `object/program`. */
function readBaseline(path: string): Map<string, number> {
  const times = new Map<string, number>();
  for (const [index, line] of readFileSync(path, 'utf8').split('\n').entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const [object, program, , , microseconds] = line.split('\t');
    if (!(Number(microseconds) > 0)) throw new InputError(path, `line ${index + 1}`, 'no microseconds in the fifth column');
    times.set(`${object}/${program}`, Number(microseconds) / 1000);
  }
  return times;
}

function rowsOf(best: Best, baseline: ReadonlyMap<string, number>): Row[] {
  return [...best.samples].sort(([, a], [, b]) => b.processed - a.processed).map(([program, { errno, processed, ms, first }]): Row => {
    const row = { program, errno, processed, ms, first, instructionsPerSecond: (processed * 1000) / ms }, known = baseline.get(program);
    return known === undefined ? row : { ...row, baseline: known, ratio: ms / known, firstRatio: first / known };
  });
}

function geometricMean(values: readonly number[]): number | null {
  return values.length === 0 ? null : Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

const { values } = parseArgs({
  options: {
    json: { type: 'boolean' }, rounds: { type: 'string', default: '5' }, least: { type: 'string', default: '300' },
    transcript: { type: 'string' }, baseline: { type: 'string' }, 'no-scale': { type: 'boolean' },
  },
});
const rounds = Math.max(1, Number(values.rounds) || 1);
const scale = values['no-scale'] === true ? [] : [
  ...TURNS.map((turns) => measure('loop', loop(turns))),
  ...BRANCHES.map((count) => measure('branches', branches(count))),
];
const growth = (['loop', 'branches'] as const).map((shape) => ({ shape, rows: scale.filter((row) => row.shape === shape) }))
  .filter(({ rows }) => rows.length > 0).map(({ shape, rows }) => ({ shape, exponent: growthExponent(rows, 'ms'), heapExponent: growthExponent(rows, 'heap') }));
const best = values.transcript === undefined ? timeFixtures(rounds) : timeTranscript(values.transcript, rounds, Number(values.least));
const rows = rowsOf(best, values.baseline === undefined ? new Map() : readBaseline(values.baseline));
const ratios = rows.flatMap(({ ratio }) => (ratio === undefined ? [] : [ratio]));
const mean = geometricMean(ratios), firstMean = geometricMean(rows.flatMap(({ firstRatio }) => (firstRatio === undefined ? [] : [firstRatio]))), maxRSS = process.resourceUsage().maxRSS * 1024;

if (values.json === true) {
  console.log(JSON.stringify({ node: process.version, rounds, scale, growth, rows, geometricMean: mean, firstGeometricMean: firstMean, compared: ratios.length, maxRSS }));
} else {
  for (const { shape, processed, ms, nsPerInstruction, margin, heap } of scale) {
    console.log(`${shape.padEnd(9)}${String(processed).padStart(8)} insns ${ms.toFixed(2).padStart(9)} ms ±${margin.toFixed(1)} %  ${nsPerInstruction.toFixed(0).padStart(6)} ns/insn  heap ${(heap / 1e6).toFixed(2)} MB`);
  }
  for (const { shape, exponent, heapExponent } of growth) {
    console.log(`${shape.padEnd(9)}time grows as processed^${exponent.toFixed(2)}, memory as processed^${heapExponent.toFixed(2)}`);
  }
  for (const { program, errno, processed, ms, instructionsPerSecond, ratio, firstRatio } of rows) {
    const compared = ratio === undefined ? '' : `  ${ratio.toFixed(2).padStart(6)} of baseline, first ${firstRatio!.toFixed(2).padStart(6)}`;
    console.log(`${program.padEnd(50)} errno ${String(errno).padStart(3)} ${String(processed).padStart(8)} insns ${ms.toFixed(2).padStart(9)} ms ${(instructionsPerSecond / 1e6).toFixed(2).padStart(6)} M/s${compared}`);
  }
  if (mean !== null && firstMean !== null) console.log(`geometric mean of ${ratios.length} ratios: ${mean.toFixed(2)}, first loads ${firstMean.toFixed(2)}`);
  console.log(`largest resident set: ${(maxRSS / 1e6).toFixed(0)} MB`);
}
