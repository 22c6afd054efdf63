/**
 * Times the engines of the eBPF machine on the programs of `bench/programs`, checks r0 of every run and the instructions executed
 * where they are counted, and says for each bar whether it is met (`vm-bars.ts`). `npm run bench:vm -- [--json] [--full] [--engine NAME]…
 * [--program NAME]… [--rounds N] [--peer 'NAME=COMMAND …']… [--calls]`.
 *
 * ns is the least CPU time per executed instruction over the rounds, which are interleaved: every engine and every peer runs every
 * program once per round. The engine `outside` is `compiled` with the helper of the program `helper` in JavaScript instead of inside the
 * module. Peers speak the protocol of `peers/README.md`; bars are also held against those named `ubpf`, `rbpf`, `ubpf-interpreter`.
 * `--calls` times single calls, batches, helpers and what compiling costs, instead.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import { alu64, assemble, exit } from '../isa/encode.ts';
import { compileOptimised } from '../src/node/engine.ts';
import { AddressSpace, KERNEL_HI } from '../vm/address-space.ts';
import type { DirectHelper } from '../vm/direct.ts';
import { Machine } from '../vm/machine.ts';
import type { HelperCall, Program, RunOptions } from '../vm/types.ts';
import { barsOfCalls, barsOfRows, printBars, type Row } from './vm-bars.ts';
import { measureCalls } from './vm-calls.ts';

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

const ENGINES = ['interpreter', 'compiled', 'checked', 'fuel', 'outside'] as const;
type Engine = (typeof ENGINES)[number];

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

/** The same on registers in memory. */
const MIX_IN_MEMORY: DirectHelper = {
  arguments: 5,
  bind: (registers) => () => {
    const r = registers.i64;
    const mixed = BigInt.asIntN(64, r[1]! ^ BigInt.asIntN(64, r[2]! << 1n));
    r[0] = BigInt.asIntN(64, BigInt.asIntN(64, BigInt.asIntN(64, mixed + r[3]!) + r[4]!) + r[5]!);
  },
};

/** The same as an eBPF function, for compiled code to contain. */
const MIX = assemble([
  alu64('lsh', 'r2', 1), alu64('mov', 'r0', 'r1'), alu64('xor', 'r0', 'r2'), alu64('add', 'r0', 'r3'), alu64('add', 'r0', 'r4'), alu64('add', 'r0', 'r5'),
  exit(),
]);

const OPTIONS: Readonly<Record<Engine, RunOptions>> = {
  interpreter: { tier: 'interpreter', mode: 'fast' },
  compiled: { tier: 'optimised', mode: 'fast' },
  checked: { tier: 'optimised', mode: 'checked', budget: Infinity },
  fuel: { tier: 'optimised', mode: 'checked', budget: 2 ** 40 },
  outside: { tier: 'optimised', mode: 'fast' },
};

const programs = new URL(import.meta.url.includes('.cache') ? '../../../../bench/programs/' : './programs/', import.meta.url);

function bytes(file: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(file, programs)));
}

/** Nanoseconds that a peer takes for one of many calls of the packet filter, and what it gives. */
function peerCall([command = '', ...own]: readonly string[], count: number): { ns: number; r0: bigint } {
  const paths = ['pktparse.bin', 'pkt.ctx'].map((file) => fileURLToPath(new URL(file, programs)));
  const [r0 = '', ns = ''] = execFileSync(command, [...own, ...paths, '-', String(count)], { encoding: 'utf8' }).trim().split(/\s+/);
  return { ns: Number(ns), r0: BigInt(r0) };
}

function flags(name: string): string[] {
  return process.argv.flatMap((value, index) => (value === name ? [process.argv[index + 1] ?? ''] : []));
}

/** A machine whose programs contain the helper, and one whose programs call it. */
interface Machines {
  readonly inside: Machine;
  readonly outside: Machine;
}

class Case {
  readonly entry: ManifestEntry;
  readonly #machines: Machines;
  readonly #program: Program;
  readonly #outside: Program;
  readonly #context: Uint8Array;
  readonly #at: number;

  constructor(space: AddressSpace, machines: Machines, entry: ManifestEntry) {
    this.entry = entry;
    this.#machines = machines;
    const image = { name: entry.name, instructions: bytes(entry.file), verified: true };
    this.#program = machines.inside.load(image);
    this.#outside = machines.outside.load(image);
    this.#context = bytes(entry.ctx);
    this.#at = space.alloc(entry.ctx_size, `context of ${entry.name}`, 64);
  }

  /** True where an engine is for this program. */
  takes(engine: Engine): boolean {
    return engine !== 'outside' || this.entry.name === 'helper';
  }

  /** One run of a peer. */
  runPeer([command = '', ...own]: readonly string[], full: boolean): { us: number; ok: boolean } {
    const { entry } = this;
    const paths = [entry.file, entry.ctx].map((file) => fileURLToPath(new URL(file, programs)));
    const output = execFileSync(command, [...own, ...paths, String(full ? entry.n_full : entry.n_small)], { encoding: 'utf8' });
    const [r0 = '', ns = ''] = output.trim().split(/\s+/);
    return { us: Number(ns) / 1000, ok: BigInt(r0) === BigInt(full ? entry.r0_full : entry.r0_small) };
  }

  /** One run: CPU microseconds, and whether r0 and the count are right. */
  run(space: AddressSpace, engine: Engine, full: boolean): { us: number; ok: boolean } {
    const { entry } = this;
    space.setBytes(this.#at, this.#context);
    space.setU32(this.#at, full ? entry.n_full : entry.n_small);
    space.setU32(this.#at + 4, 0);
    const before = process.cpuUsage();
    const started = process.hrtime.bigint();
    const isOutside = engine === 'outside';
    const result = (isOutside ? this.#machines.outside : this.#machines.inside).run(isOutside ? this.#outside : this.#program, this.#at, KERNEL_HI, OPTIONS[engine]);
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
  const peers = flags('--peer').map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1).trim().split(/\s+/)] as const);
  const space = new AddressSpace();
  const inside = new Machine({ space, helpers: [undefined, mix], compileOptimised, inlineHelpers: new Map([[1, MIX]]) });
  const machines: Machines = { inside, outside: new Machine({ space, helpers: [undefined, mix], compileOptimised, directHelpers: new Map([[1, MIX_IN_MEMORY]]) }) };
  if (process.argv.includes('--calls')) {
    const calls = measureCalls(inside, bytes('pktparse.bin'), bytes('pkt.ctx'), peers.map(([name, command]) => [name, (count) => peerCall(command, count)]));
    const bars = barsOfCalls(calls);
    if (json) console.log(JSON.stringify({ ...calls, bars }));
    else {
      console.log(JSON.stringify(calls, undefined, 1));
      printBars(bars);
    }
    return;
  }
  const manifest = (JSON.parse(readFileSync(new URL('manifest.json', programs), 'utf8')) as ManifestEntry[]).filter(
    (entry) => entry.n_full > 0 && (wantedPrograms.length === 0 || wantedPrograms.includes(entry.name)),
  );
  const cases = manifest.map((entry) => new Case(space, machines, entry));
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
      for (const engine of engines.filter((name) => one.takes(name))) {
        // Short runs, so more of them: V8 needs some to reach its best code for the interpreter.
        const repetitions = isFull(engine) ? 1 : 6;
        for (let repetition = 0; repetition < repetitions; repetition++) note(one, engine, one.run(space, engine, isFull(engine)));
      }
      for (const [name, command] of peers) note(one, name, one.runPeer(command, true));
    }
  }
  const columns = [...engines, ...peers.map(([name]) => name)];
  const rows: Row[] = cases.flatMap((one) =>
    columns.flatMap((engine): Row[] => {
      const measured = best.get(`${one.entry.name} ${engine}`);
      if (measured === undefined) return [];
      const instructions = isFull(engine) ? one.entry.insns_full : one.entry.insns_small;
      const { us, ok } = measured;
      return [{ program: one.entry.name, engine, ns: Number(((us * 1000) / instructions).toFixed(4)), instructions, ok }];
    }),
  );
  const bars = barsOfRows(rows);
  if (json) console.log(JSON.stringify({ rows, bars }));
  else {
    printTable(rows, columns, (row) => `${row.ns.toFixed(3)}${row.ok ? '' : ' BAD'}`);
    for (const [peer] of peers) printRatios(rows, columns, peer);
    printBars(bars);
  }
  if (rows.some((row) => !row.ok)) process.exitCode = 1;
}

/** A line a program, a column an engine. */
function printTable(rows: readonly Row[], columns: readonly string[], cell: (row: Row) => string): void {
  console.log(['program', ...columns].map((text) => text.padStart(12)).join(''));
  for (const program of new Set(rows.map((row) => row.program))) {
    const cells = columns.map((engine) => {
      const row = rows.find((one) => one.program === program && one.engine === engine);
      return row === undefined ? '' : cell(row);
    });
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

main();
