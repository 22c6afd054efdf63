/**
 * Times the engines of the eBPF machine on the programs of `bench/programs`, checks r0 of every run and the instructions executed
 * where they are counted. `npm run bench:vm -- [--json] [--full] [--engine NAME]… [--program NAME]… [--rounds N]
 * [--outside-helper] [--peer NAME=COMMAND]… [--calls]`.
 *
 * ns is the least CPU time per executed instruction over the rounds, which are interleaved: every engine and every peer runs every
 * program once per round. A peer is a command that gets three arguments, the bytecode file, the file with the initial memory and the
 * number of iterations (to be written as u64 at offset 0 of the memory), and prints two numbers: r0 and the nanoseconds of one run.
 * `--outside-helper` calls the helper of the program `helper` in JavaScript instead of compiling it into the module. `--calls` times single
 * calls and batches of `pktparse`, and what compiling costs, instead.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { alu64, assemble, exit, jump, ldx, mov64, stx, type Item } from '../isa/encode.ts';
import { AddressSpace, KERNEL_HI } from '../vm/address-space.ts';
import { Machine } from '../vm/machine.ts';
import type { HelperCall, Program, RunOptions } from '../vm/types.ts';

interface ManifestEntry {
  readonly name: string;
  readonly file: string;
  readonly ctx: string;
  readonly ctx_size: number;
  readonly n_full: number;
  readonly insns_full: number;
  readonly r0_full: string;
  readonly n_small: number;
  readonly insns_small: number;
  readonly r0_small: string;
}

const ENGINES = ['interpreter', 'compiled', 'checked', 'fuel'] as const;
type Engine = (typeof ENGINES)[number];

interface Row {
  readonly program: string;
  /** An engine, or the name of a peer. */
  readonly engine: string;
  readonly ns: number;
  readonly instructions: number;
  readonly ok: boolean;
}

/** Helper 1 of the `helper` program: `(r1 ^ (r2 << 1)) + r3 + r4 + r5`. */
function mix({ registers: r }: HelperCall): void {
  let lo = r[2]! ^ (r[4]! << 1);
  let hi = r[3]! ^ ((r[5]! << 1) | (r[4]! >>> 31));
  for (let n = 3; n <= 5; n++) {
    const sum = (lo + r[2 * n]!) | 0;
    hi = (hi + r[2 * n + 1]! + (sum >>> 0 < lo >>> 0 ? 1 : 0)) | 0;
    lo = sum;
  }
  r[0] = lo;
  r[1] = hi;
}

/** The same as an eBPF function, for compiled code to contain. */
const MIX = assemble([
  alu64('lsh', 'r2', 1), alu64('mov', 'r0', 'r1'), alu64('xor', 'r0', 'r2'), alu64('add', 'r0', 'r3'), alu64('add', 'r0', 'r4'), alu64('add', 'r0', 'r5'),
  exit(),
]);

function compileOptimised(wasm: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  setFlagsFromString('--no-liftoff');
  try {
    return new WebAssembly.Module(wasm);
  } finally {
    setFlagsFromString('--liftoff');
  }
}

const OPTIONS: Readonly<Record<Engine, RunOptions>> = {
  interpreter: { tier: 'interpreter', mode: 'fast' },
  compiled: { tier: 'optimised', mode: 'fast' },
  checked: { tier: 'optimised', mode: 'checked', budget: Infinity },
  fuel: { tier: 'optimised', mode: 'checked', budget: 2 ** 40 },
};

const programs = new URL(import.meta.url.includes('.cache') ? '../../../../bench/programs/' : './programs/', import.meta.url);

function bytes(file: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(file, programs)));
}

function flags(name: string): string[] {
  return process.argv.flatMap((value, index) => (value === name ? [process.argv[index + 1] ?? ''] : []));
}

class Case {
  readonly entry: ManifestEntry;
  readonly #program: Program;
  readonly #context: Uint8Array;
  readonly #at: number;

  constructor(space: AddressSpace, machine: Machine, entry: ManifestEntry) {
    this.entry = entry;
    this.#program = machine.load({ name: entry.name, instructions: bytes(entry.file), verified: true });
    this.#context = bytes(entry.ctx);
    this.#at = space.alloc(entry.ctx_size, `context of ${entry.name}`, 64);
  }

  /** One run of a peer. */
  runPeer(command: string, full: boolean): { us: number; ok: boolean } {
    const { entry } = this;
    const paths = [entry.file, entry.ctx].map((file) => fileURLToPath(new URL(file, programs)));
    const output = execFileSync(command, [...paths, String(full ? entry.n_full : entry.n_small)], { encoding: 'utf8' });
    const [r0 = '', ns = ''] = output.trim().split(/\s+/);
    return { us: Number(ns) / 1000, ok: BigInt(r0) === BigInt(full ? entry.r0_full : entry.r0_small) };
  }

  /** One run: CPU microseconds, and whether r0 and the count are right. */
  run(space: AddressSpace, machine: Machine, engine: Engine, full: boolean): { us: number; ok: boolean } {
    const { entry } = this;
    space.setBytes(this.#at, this.#context);
    space.setU32(this.#at, full ? entry.n_full : entry.n_small);
    space.setU32(this.#at + 4, 0);
    const before = process.cpuUsage();
    const started = process.hrtime.bigint();
    const result = machine.run(this.#program, this.#at, KERNEL_HI, OPTIONS[engine]);
    const wall = Number(process.hrtime.bigint() - started) / 1000;
    const used = process.cpuUsage(before);
    const r0 = (BigInt(result.r0Hi >>> 0) << 32n) | BigInt(result.r0Lo >>> 0);
    const ok =
      result.fault === undefined &&
      r0 === BigInt(full ? entry.r0_full : entry.r0_small) &&
      (result.instructions < 0 || result.instructions === (full ? entry.insns_full : entry.insns_small));
    // Concurrent compiler threads count as CPU time; the shorter of both clocks is the run itself.
    return { us: Math.min(wall, used.user + used.system || wall), ok };
  }
}

function main(): void {
  const json = process.argv.includes('--json');
  const full = process.argv.includes('--full');
  const rounds = Number(flags('--rounds')[0] ?? 7);
  const wantedEngines = flags('--engine');
  const wantedPrograms = flags('--program');
  const peers = flags('--peer').map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)] as const);
  const space = new AddressSpace();
  const machine = new Machine({
    space, helpers: [undefined, mix], compileOptimised,
    ...(process.argv.includes('--outside-helper') ? {} : { inlineHelpers: new Map([[1, MIX]]) }),
  });
  if (process.argv.includes('--calls')) {
    console.log(JSON.stringify(measureCalls(space, machine)));
    return;
  }
  const manifest = (JSON.parse(readFileSync(new URL('manifest.json', programs), 'utf8')) as ManifestEntry[]).filter(
    (entry) => entry.n_full > 0 && (wantedPrograms.length === 0 || wantedPrograms.includes(entry.name)),
  );
  const cases = manifest.map((entry) => new Case(space, machine, entry));
  const engines = ENGINES.filter((engine) => wantedEngines.length === 0 || wantedEngines.includes(engine));
  const isFull = (engine: string): boolean => full || engine !== 'interpreter';
  const best = new Map<string, { us: number; ok: boolean }>();
  const note = (one: Case, name: string, { us, ok }: { us: number; ok: boolean }): void => {
    const key = `${one.entry.name} ${name}`;
    const known = best.get(key);
    best.set(key, { us: Math.min(us, known?.us ?? Infinity), ok: ok && (known?.ok ?? true) });
  };
  for (let round = 0; round < rounds; round++) {
    for (const one of cases) {
      for (const engine of engines) {
        // Short runs, so more of them: V8 needs some to reach its best code for the interpreter.
        const repetitions = isFull(engine) ? 1 : 6;
        for (let repetition = 0; repetition < repetitions; repetition++) note(one, engine, one.run(space, machine, engine, isFull(engine)));
      }
      for (const [name, command] of peers) note(one, name, one.runPeer(command, true));
    }
  }
  const columns = [...engines, ...peers.map(([name]) => name)];
  const rows: Row[] = cases.flatMap((one) =>
    columns.map((engine) => {
      const instructions = isFull(engine) ? one.entry.insns_full : one.entry.insns_small;
      const { us, ok } = best.get(`${one.entry.name} ${engine}`)!;
      return { program: one.entry.name, engine, ns: Number(((us * 1000) / instructions).toFixed(4)), instructions, ok };
    }),
  );
  if (json) console.log(JSON.stringify({ rows }));
  else {
    printTable(rows, columns, (row) => `${row.ns.toFixed(3)}${row.ok ? '' : ' BAD'}`);
    for (const [peer] of peers) printRatios(rows, columns, peer);
  }
  if (rows.some((row) => !row.ok)) process.exitCode = 1;
}

/** A line a program, a column an engine. */
function printTable(rows: readonly Row[], columns: readonly string[], cell: (row: Row) => string): void {
  console.log(['program', ...columns].map((text) => text.padStart(12)).join(''));
  for (const program of new Set(rows.map((row) => row.program))) {
    const cells = columns.map((engine) => cell(rows.find((one) => one.program === program && one.engine === engine)!));
    console.log([program, ...cells].map((text) => text.padStart(12)).join(''));
  }
}

/** Times relative to a peer's, and their geometric mean. */
function printRatios(rows: readonly Row[], columns: readonly string[], peer: string): void {
  const others = columns.filter((column) => column !== peer);
  const reference = (row: Row): number => rows.find((one) => one.program === row.program && one.engine === peer)!.ns;
  console.log(`relative to ${peer}`);
  printTable(rows, others, (row) => (row.ns / reference(row)).toFixed(3));
  const means = others.map((engine) => {
    const own = rows.filter((row) => row.engine === engine);
    return Math.exp(own.reduce((sum, row) => sum + Math.log(row.ns / reference(row)), 0) / own.length).toFixed(3);
  });
  console.log(['mean', ...means].map((text) => text.padStart(12)).join(''));
}

/** Least nanoseconds of one of `count` repetitions, over some rounds. */
function least(count: number, work: () => void): number {
  let best = Infinity;
  for (let round = 0; round < 9; round++) {
    const started = process.hrtime.bigint();
    for (let repetition = 0; repetition < count; repetition++) work();
    best = Math.min(best, Number(process.hrtime.bigint() - started) / count);
  }
  return best;
}

/** A program of `count` instructions with a loop and branches, for the cost of compiling. */
function longProgram(count: number): Uint8Array {
  const items: Item[] = [mov64('r0', 0), mov64('r6', 'r1')];
  for (let block = 0; items.length < count - 8; block++) {
    items.push(
      ldx('u32', 'r2', 'r6', (block % 500) * 4), alu64('add', 'r0', 'r2'), alu64('xor', 'r0', block), jump('jgt', 'r0', 'r2', 2),
      alu64('lsh', 'r0', 1), stx('u64', 'r10', -8, 'r0'), alu64('and', 'r0', 0xffff),
    );
  }
  while (items.length < count - 1) items.push(mov64('r0', 'r0'));
  return assemble([...items, exit()]);
}

/** Single calls and batches of the packet filter, and time from the bytes of a program to its first result. */
function measureCalls(space: AddressSpace, machine: Machine): unknown {
  const packet = bytes('pkt.ctx');
  const at = space.alloc(packet.length, 'packet', 64);
  space.setBytes(at, packet);
  const program = machine.load({ name: 'pktparse', instructions: bytes('pktparse.bin'), verified: true });
  const list = space.alloc(64 * 16, 'batch', 16);
  for (let index = 0; index < 64; index++) space.setU32(list + 16 * index, at);
  const options: RunOptions = { tier: 'optimised', mode: 'fast' };
  const single = least(200_000, () => machine.run(program, at, KERNEL_HI, options));
  const batch = least(5000, () => machine.runBatch(program, list, 64, options)) / 64;
  const r0 = machine.run(program, at, KERNEL_HI, options).r0Lo;
  const compile = Object.fromEntries(
    [1000, 10_000, 100_000, 1_000_000].map((count) => {
      const instructions = longProgram(count);
      let best = Infinity;
      for (let round = 0; round < (count > 100_000 ? 1 : 5); round++) {
        const started = process.hrtime.bigint();
        const result = machine.run(machine.load({ name: 'long', instructions, verified: true }), at, KERNEL_HI, { tier: 'baseline', mode: 'fast' });
        if (result.fault !== undefined) throw new Error(result.fault.message);
        best = Math.min(best, Number(process.hrtime.bigint() - started) / 1e6);
      }
      return [`${count}`, Number(best.toFixed(3))];
    }),
  );
  return { pktparse: { r0, singleNs: Number(single.toFixed(1)), batchNs: Number(batch.toFixed(1)) }, firstResultMs: compile, stats: machine.stats };
}

main();
