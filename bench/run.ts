/**
 * Times a whole `bpftwin run`: a cold process (Node's own start measured beside it) and warm in one process, for an unsigned and
 * signed skeletons of each key type; and the interpreter, in nanoseconds per instruction. Needs a built command line in `dist`.
 *
 *     npx tsc -p bench && node node_modules/.cache/bpftwin-bench/bench/run.js [--json]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Benchmark from 'benchmark';
import { fromHex } from '../crypto/bytes.ts';
import { InternalError } from '../isa/errors.ts';
import { parseLightSkeleton } from '../loader/lskel.ts';
import { readCertificates } from '../src/certificates.ts';
import { loadKernelBTF } from '../src/node/kernel-btf.ts';
import { installNodeCrypto } from '../src/node/native-crypto.ts';
import { runSkeleton } from '../src/run.ts';
import { AddressSpace } from '../vm/address-space.ts';
import { Machine } from '../vm/machine.ts';

interface Row {
  readonly name: string;
  readonly mode: 'cold' | 'warm';
  /** Milliseconds, mean. */
  readonly ms: number;
  /** Relative margin of error, percent. */
  readonly margin: number;
}

const CASES = [
  ['runnable, unsigned', 'unsigned/runnable.lskel.h', undefined],
  ['runnable, RSA-2048', 'signed/runnable.lskel.h', 'rsa2048'],
  ['onemap, RSA-4096', 'signed/onemap.rsa4096.lskel.h', 'rsa4096'],
  ['onemap, P-256', 'signed/onemap.p256.lskel.h', 'p256'],
  ['onemap, P-384', 'signed/onemap.p384.lskel.h', 'p384'],
  ['most (64 maps, 32 programs), RSA-2048', 'signed/most.lskel.h', 'rsa2048'],
] as const;

function findRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'test', 'fixtures', 'signed'))) return folder;
    if (folder === dirname(folder)) throw new InternalError('no checkout around the benchmark');
  }
}

const root = findRoot();
const kernelBTF = join(root, 'assets', 'vmlinux-7.3.4.btf.gz');
const fixture = (path: string): string => join(root, 'test', 'fixtures', path);

function rowOf(name: string, mode: Row['mode'], work: () => void): Row {
  const bench = new Benchmark(name, work, { minSamples: mode === 'cold' ? 10 : 20, maxTime: 1 });
  bench.run();
  if (bench.error !== undefined) throw new InternalError(`${name}: ${String(bench.error)}`);
  return { name, mode, ms: bench.stats.mean * 1000, margin: bench.stats.rme };
}

function spawn(args: readonly string[]): void {
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new InternalError(`exit status ${status}: ${stderr}`);
}

function warm(name: string, path: string, key: string | undefined): Row {
  const skeleton = parseLightSkeleton(readFileSync(fixture(path)), path);
  const certificates = key === undefined ? [] : readCertificates(readFileSync(fixture(`keys/${key}.crt`)), key);
  return rowOf(name, 'warm', () => {
    const { result } = runSkeleton(skeleton, { certificates, kernelBTF: () => loadKernelBTF(kernelBTF) });
    if (result.errno !== 0) throw new InternalError(`${name}: ${result.name}`);
  });
}

function cold(name: string, path: string, key: string | undefined): Row {
  const args = [join(root, 'dist', 'src', 'cli', 'main.js'), 'run', '-j', fixture(path), ...(key === undefined ? [] : ['--cert', fixture(`keys/${key}.crt`)])];
  return rowOf(name, 'cold', () => spawn(args));
}

/** A million rounds of arithmetic and a jump. */
const LOOP = fromHex('b700000000000000' + 'b701000040420f00' + '0f10000000000000' + 'a70000005a5a5a5a' + '1701000001000000' + '5501fcff00000000' + '9500000000000000');

/** Nanoseconds per instruction in the interpreter. */
function interpreted(): { readonly ns: number; readonly margin: number; readonly instructions: number } {
  const machine = new Machine({ space: new AddressSpace({ initialBytes: 1 << 18 }), helpers: [] });
  const program = machine.load({ name: 'loop', instructions: LOOP, verified: true });
  const run = (): number => {
    const { fault, instructions } = machine.run(program, 0, 0, { tier: 'interpreter', budget: 2 ** 32 });
    if (fault !== undefined) throw new InternalError(fault.message);
    return instructions;
  };
  const instructions = run();
  const { ms, margin } = rowOf('interpreter', 'warm', run);
  return { ns: (ms * 1e6) / instructions, margin, instructions };
}

installNodeCrypto();
const interpreter = interpreted();
const rows: Row[] = [rowOf('node itself', 'cold', () => spawn(['-e', '0']))];
for (const [name, path, key] of CASES) rows.push(cold(name, path, key), warm(name, path, key));
if (process.argv.includes('--json')) {
  console.log(JSON.stringify({ interpreter, rows }));
} else {
  console.log(`interpreter ${interpreter.ns.toFixed(2)} ns per instruction ±${interpreter.margin.toFixed(1)} %`);
  for (const { name, mode, ms, margin } of rows) console.log(`${mode}  ${ms.toFixed(2).padStart(8)} ms ±${margin.toFixed(1)} %  ${name}`);
}
