/**
 * Times the generation of light skeletons: a cold process (`gen skeleton -L`) beside Node itself, and warm in one process, for the
 * largest fixtures or for the objects that are named. With `--bpftool FILE` that program is timed on the same objects, and the ratios
 * of our cold process to it are printed, with and without the time that Node takes by itself.
 *
 *     npx tsc -p bench && node node_modules/.cache/bpftwin-bench/bench/gen.js [--json] [--bpftool FILE] [OBJ.o…]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { InternalError } from '../isa/errors.ts';
import { defaultObjectName } from '../loader/gen/skeleton-model.ts';
import { generateLightSkeleton } from '../src/gen.ts';

interface Row {
  readonly object: string;
  readonly who: 'node itself' | 'bpftwin, cold' | 'bpftwin, warm' | 'bpftool';
  /** Milliseconds, mean. */
  readonly ms: number;
  /** Relative margin of error, percent. */
  readonly margin: number;
}

function findRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'test', 'fixtures', 'objects'))) return folder;
    if (folder === dirname(folder)) throw new InternalError('no checkout around the benchmark');
  }
}

function rowOf(object: string, who: Row['who'], work: () => void): Row {
  const bench = new Benchmark(`${object} ${who}`, work, { minSamples: 10, maxTime: 1 });
  bench.run();
  if (bench.error !== undefined) throw new InternalError(String(bench.error));
  return { object: basename(object), who, ms: bench.stats.mean * 1000, margin: bench.stats.rme };
}

function spawn(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'latin1', maxBuffer: 1 << 28 });
  if (status !== 0) throw new InternalError(`exit status ${status}: ${stderr}`);
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean' }, bpftool: { type: 'string' } } });
const root = findRoot();
const objects = positionals.length > 0 ? positionals : ['most', 'kfuncs', 'core'].map((name) => join(root, 'test', 'fixtures', 'objects', `${name}.bpf.o`));
const rows: Row[] = [rowOf('', 'node itself', () => spawn(process.execPath, ['-e', '0']))];
for (const object of objects) {
  const bytes = readFileSync(object);
  const main = join(root, 'dist', 'src', 'cli', 'main.js');
  rows.push(rowOf(object, 'bpftwin, cold', () => spawn(process.execPath, [main, 'gen', 'skeleton', '-L', object])));
  rows.push(rowOf(object, 'bpftwin, warm', () => void generateLightSkeleton(bytes, object, { name: defaultObjectName(object) })));
  const { bpftool } = values;
  if (bpftool !== undefined) rows.push(rowOf(object, 'bpftool', () => spawn(bpftool, ['gen', 'skeleton', '-L', object])));
}
const node = rows[0]?.ms ?? 0;
const ratios = objects.flatMap((object) => {
  const time = (who: Row['who']): number | undefined => rows.find((row) => row.object === basename(object) && row.who === who)?.ms;
  const [cold, reference] = [time('bpftwin, cold'), time('bpftool')];
  return cold === undefined || reference === undefined ? [] : [{ object: basename(object), bytes: statSync(object).size, ratio: cold / reference, withoutNode: (cold - node) / reference }];
});
if (values.json === true) console.log(JSON.stringify({ rows, ratios }));
else for (const { object, who, ms, margin } of rows) console.log(`${ms.toFixed(2).padStart(8)} ms ±${margin.toFixed(1)} %  ${who.padEnd(14)} ${object}`);
if (values.json !== true) {
  for (const { object, bytes, ratio, withoutNode } of ratios) console.log(`${ratio.toFixed(1).padStart(8)} × bpftool, ${withoutNode.toFixed(1)} × without Node's start  ${object} (${bytes} bytes)`);
}
