/**
 * @module test/planted/trial
 * One process that tries faults: `seeds ID…` runs each fault's committed input on faulty and on right code, `fuzz ID SECONDS SEED` fuzzes faulty
 * code from an empty corpus, and `none` for an ID means the right code. Prints a line of JSON a fault. `transcript ID` prints the transcript of
 * the finding that the committed input makes on faulty code, `repro FOLDER ID…` what `bpftwin fuzz repro` says of it on faulty and on right code.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { reproCommand as ReproCommand } from '../../src/cli/fuzz.ts';
import { Coverage } from '../../src/fuzz/coverage.ts';
import { LocalWorker, runSession, type SessionFinding } from '../../src/fuzz/engine.ts';
import { executeGuarded } from '../../src/fuzz/guard.ts';
import { findingFiles, findingName } from '../../src/fuzz/report.ts';
import { Shard } from '../../src/fuzz/shard.ts';
import type { Target, TargetEnvironment, TargetFactory } from '../../src/fuzz/types.ts';
import type { KernelTarget as KernelTargetClass } from '../../src/replay/kernel-target.ts';
import type { Replay as ReplayClass } from '../../src/replay/replay.ts';
import { faultNamed, type PlantedFault } from './faults.ts';

register('./hooks.js', import.meta.url);

/** The checkout: this file runs from node_modules/.cache/bpftwin-planted/test/planted. */
const checkout = new URL('../../../../../', import.meta.url);
const kernelBTF = new Uint8Array(gunzipSync(readFileSync(new URL('assets/vmlinux-7.3.4.btf.gz', checkout))));

/** What came of one fault. */
export interface Trial {
  readonly id: string;
  readonly found: boolean;
  /** By fuzzing: runs and seconds of processor time. */
  readonly runs?: number;
  readonly seconds?: number;
  readonly oracle?: string;
  readonly trace?: string;
  /** Base64 of the small input. */
  readonly input?: string;
  readonly assembly?: string;
  /** The right code complains about the same input. */
  readonly falseAlarm?: string;
}

const cpuSeconds = (): number => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;

/** Imports a module of the graph with that fault. */
async function importFaulty<T>(path: string, id: string): Promise<T> {
  return (await import(new URL(`../../${path}.js${id === 'none' ? '' : `?fault=${id}`}`, import.meta.url).href)) as T;
}

function environment(coverage: Coverage): TargetEnvironment {
  return { coverage, file: (name) => new Uint8Array(readFileSync(new URL(name, checkout))), kernelBTF: () => kernelBTF };
}

async function factoryOf(target: string, id: string): Promise<TargetFactory> {
  (await importFaulty<{ installNodeCrypto: () => void }>('src/node/native-crypto', id)).installNodeCrypto();
  return (await importFaulty<{ createTarget: TargetFactory }>(`src/fuzz/targets/${target}`, id)).createTarget;
}

async function targetOf(target: string, id: string): Promise<Target> {
  return (await factoryOf(target, id))(environment(new Coverage()));
}

const rightTargets: Map<string, Target> = new Map();

/** A target on the right code, made once. */
async function rightTarget(target: string): Promise<Target> {
  const known = rightTargets.get(target) ?? (await targetOf(target, 'none'));
  rightTargets.set(target, known);
  return known;
}

/** The committed input of a fault; `undefined` where there is none. */
function seedOf({ id }: PlantedFault): Uint8Array | undefined {
  const file = new URL(`test/planted/seeds/${id}.seed`, checkout);
  return existsSync(file) ? new Uint8Array(readFileSync(file)) : undefined;
}

async function withSeed(fault: PlantedFault): Promise<Trial> {
  const bytes = seedOf(fault);
  if (bytes === undefined) return withRecording(fault);
  const complaint = (target: Target): ReturnType<Target['execute']> => executeGuarded(target, target.deserialise(bytes), true);
  const finding = complaint(await targetOf(fault.target, fault.id)), falseAlarm = complaint(await rightTarget(fault.target));
  return {
    id: fault.id, found: finding !== undefined, ...(finding === undefined ? {} : { oracle: finding.oracle, trace: finding.trace }),
    ...(falseAlarm === undefined ? {} : { falseAlarm: `${falseAlarm.oracle}: ${falseAlarm.trace}` }),
  };
}

/** The answers of a real kernel to one recorded case. */
async function withRecording(fault: PlantedFault): Promise<Trial> {
  if (fault.recorded === undefined) return { id: fault.id, found: false };
  const lines = gunzipSync(readFileSync(new URL('test/parity/data/regressions.jsonl.gz', checkout))).toString('utf8').split('\n');
  const replay = async (id: string): Promise<readonly { field: string }[]> => {
    const { Replay } = await importFaulty<{ Replay: typeof ReplayClass }>('src/replay/replay', id);
    const { KernelTarget } = await importFaulty<{ KernelTarget: typeof KernelTargetClass }>('src/replay/kernel-target', id);
    const name = fault.recorded ?? '';
    const performer = new Replay({ createTarget: () => new KernelTarget({}), only: new RegExp(`^${name}$`) });
    performer.open('regressions.jsonl');
    for (const line of lines) performer.line(line);
    const { mismatches, exceptions } = performer.finish();
    return exceptions > 0 ? [{ field: 'exception' }] : mismatches;
  };
  const found = await replay(fault.id), falseAlarm = await replay('none');
  return {
    id: fault.id, found: found.length > 0, oracle: 'kernel (recorded)', ...(found[0] === undefined ? {} : { trace: `${fault.recorded}: ${found[0].field}` }),
    ...(falseAlarm[0] === undefined ? {} : { falseAlarm: falseAlarm[0].field }),
  };
}

/** Fuzzes until something is found that the right code does not do too. */
async function byFuzzing(id: string, target: string, seconds: number, seed: number): Promise<Trial> {
  const factory = await factoryOf(target, id);
  const right = id === 'none' ? undefined : await rightTarget(target);
  const start = cpuSeconds();
  const worker = new LocalWorker(new Shard(factory, environment(new Coverage())));
  let found: { readonly finding: SessionFinding; readonly seconds: number } | undefined;
  let runs = 0;
  await runSession({
    target, seed, seconds, now: () => cpuSeconds() * 1000, isCancelled: () => found !== undefined, onProgress: (progress) => { runs = progress.runs; },
    onFinding: (finding) => {
      if (found !== undefined || (right !== undefined && executeGuarded(right, right.deserialise(finding.bytes), true) !== undefined)) return;
      found = { finding, seconds: cpuSeconds() - start };
    },
  }, [worker]);
  if (found === undefined) return { id, found: false, runs, seconds: cpuSeconds() - start };
  const { finding } = found;
  return {
    id, found: true, runs: finding.run + 1, seconds: found.seconds, oracle: finding.oracle, trace: finding.trace,
    input: Buffer.from(finding.bytes).toString('base64'), assembly: finding.assembly,
  };
}

/** What the faulty code says about the fault's committed input, as a finding's transcript. */
async function transcriptOf(fault: PlantedFault): Promise<string> {
  const bytes = seedOf(fault);
  if (bytes === undefined) throw new RangeError(`${fault.id} has no input`);
  const { Shard: Faulty } = await importFaulty<{ Shard: typeof Shard }>('src/fuzz/shard', fault.id);
  const shard = new Faulty(await factoryOf(fault.target, fault.id), environment(new Coverage()));
  const finding = shard.reproduce(bytes);
  if (finding === undefined) throw new RangeError(`${fault.id} is not found by its input`);
  return shard.describe({ ...finding, bytes, run: 0 }).transcript ?? '';
}

/**
 * The finding of the fault's committed input, as files in a folder, then `fuzz repro` of them on the faulty code and on the right one: exit status
 * and what is printed.
 */
async function reproductions(fault: PlantedFault, folder: string): Promise<readonly unknown[]> {
  const bytes = seedOf(fault) ?? new Uint8Array(0);
  const faulty = new Shard(await factoryOf(fault.target, fault.id), environment(new Coverage()));
  const finding = faulty.reproduce(bytes);
  if (finding === undefined) throw new RangeError(`${fault.id} is not found by its input`);
  const described: SessionFinding = { ...finding, bytes, run: 7, size: faulty.target.size(faulty.target.deserialise(bytes)), tries: 0, assembly: '', transcript: undefined };
  for (const [name, text] of findingFiles(fault.target, 1, described)) writeFileSync(join(folder, name), text);
  const file = join(folder, `${findingName(fault.target, described)}.json`);
  const answers: unknown[] = [`${fault.target}: ${finding.oracle}: ${finding.trace}`];
  for (const id of [fault.id, 'none']) {
    const { reproCommand } = await importFaulty<{ reproCommand: typeof ReproCommand }>('src/cli/fuzz', id);
    let printed = '';
    const output = { write: (text: string | Uint8Array) => (printed += String(text)) };
    const status = await reproCommand(file, { json: false, pretty: false, debug: false, env: {}, colours: false, isTerminal: false, columns: 80, stdout: output, stderr: output });
    answers.push(status, printed.split('\n')[0]);
  }
  return answers;
}

const print = (trial: Trial): void => void process.stdout.write(`${JSON.stringify(trial)}\n`);

const [mode, ...rest] = process.argv.slice(2);
if (mode === 'seeds') for (const id of rest) print(await withSeed(faultNamed(id)));
else if (mode === 'repro') {
  const [folder = '', ...ids] = rest;
  for (const id of ids) process.stdout.write(`${JSON.stringify(await reproductions(faultNamed(id), folder))}\n`);
} else if (mode === 'transcript') process.stdout.write(await transcriptOf(faultNamed(rest[0] ?? '')));
else if (mode === 'fuzz') {
  const [id = '', seconds = '60', seed = '1', target = ''] = rest;
  print(await byFuzzing(id, id === 'none' ? target : faultNamed(id).target, Number(seconds), Number(seed)));
} else throw new RangeError(`unknown mode ${mode}`);
