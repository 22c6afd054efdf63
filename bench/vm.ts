/**
 * Times the engines of the eBPF machine on the programs of `bench/programs`, checks r0 and the number of instructions of every
 * run. `npm run bench:vm -- [--json] [--full] [--engine NAME]… [--program NAME]… [--rounds N]`.
 *
 * ns is the least CPU time per executed instruction over the rounds, which are interleaved: every engine runs every program once
 * per round.
 */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { alu64, assemble, exit } from '../isa/encode.ts';
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
  readonly engine: Engine;
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
  const space = new AddressSpace();
  const machine = new Machine({
    space, helpers: [undefined, mix], compileOptimised,
    ...(process.argv.includes('--outside-helper') ? {} : { inlineHelpers: new Map([[1, MIX]]) }),
  });
  const manifest = (JSON.parse(readFileSync(new URL('manifest.json', programs), 'utf8')) as ManifestEntry[]).filter(
    (entry) => entry.n_full > 0 && (wantedPrograms.length === 0 || wantedPrograms.includes(entry.name)),
  );
  const cases = manifest.map((entry) => new Case(space, machine, entry));
  const engines = ENGINES.filter((engine) => wantedEngines.length === 0 || wantedEngines.includes(engine));
  const best = new Map<string, { us: number; ok: boolean }>();
  for (let round = 0; round < rounds; round++) {
    for (const one of cases) {
      for (const engine of engines) {
        const key = `${one.entry.name} ${engine}`;
        const { us, ok } = one.run(space, machine, engine, full || engine !== 'interpreter');
        const known = best.get(key);
        best.set(key, { us: Math.min(us, known?.us ?? Infinity), ok: ok && (known?.ok ?? true) });
      }
    }
  }
  const rows: Row[] = cases.flatMap((one) =>
    engines.map((engine) => {
      const instructions = full || engine !== 'interpreter' ? one.entry.insns_full : one.entry.insns_small;
      const { us, ok } = best.get(`${one.entry.name} ${engine}`)!;
      return { program: one.entry.name, engine, ns: Number(((us * 1000) / instructions).toFixed(4)), instructions, ok };
    }),
  );
  if (json) console.log(JSON.stringify({ rows }));
  else printTable(rows, engines);
}

/** Nanoseconds per instruction, a line a program. */
function printTable(rows: readonly Row[], engines: readonly Engine[]): void {
  console.log(['program', ...engines].map((text) => text.padStart(12)).join(''));
  for (const program of new Set(rows.map((row) => row.program))) {
    const cells = engines.map((engine) => {
      const row = rows.find((one) => one.program === program && one.engine === engine)!;
      return `${row.ns.toFixed(3)}${row.ok ? '' : ' BAD'}`;
    });
    console.log([program, ...cells].map((text) => text.padStart(12)).join(''));
  }
}

main();
