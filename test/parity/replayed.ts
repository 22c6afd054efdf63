/**
 * Runs transcripts of test/parity/data within tests. A whole file is performed in its order on one kernel, as it was recorded (the
 * kernel's log shows a cache of type candidates that earlier programs filled); tests then look at single cases.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { RECORDED_ALGORITHMS } from '../../crypto/algorithms.ts';
import type { KernelOptions } from '../../kernel/api.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { KernelTarget } from '../../src/replay/kernel-target.ts';
import { Replay, type Mismatch } from '../../src/replay/replay.ts';

/** The lines of a file of test/parity/data, without the cases of `skip`. */
function linesOf(file: string, skip: ReadonlySet<string>): readonly string[] {
  const raw = readFileSync(new URL(`data/${file}`, import.meta.url));
  const text = (file.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8');
  let skipping = false;
  return text.split('\n').filter((line) => {
    if (line === '') return false;
    const name = /^\{"case":"([^"]*)"/.exec(line)?.[1];
    if (name !== undefined) skipping = skip.has(name);
    return !skipping || line.startsWith('{"blob"');
  });
}

/** Names of the cases of a file, in order. */
export function caseNames(file: string): readonly string[] {
  return linesOf(file, new Set()).flatMap((line) => /^\{"case":"([^"]*)"/.exec(line)?.[1] ?? []);
}

/**
 * Performs a file when it is first asked for a case.
 * @param kernel what sets the kernel that answered apart from the one of the other recordings
 * @returns a function that gives the differences of a case, none where it agrees
 */
export function replayed(file: string, skip: ReadonlySet<string> = new Set(), kernel: KernelOptions = {}): (name: string) => readonly Mismatch[] {
  let results: { readonly mismatches: ReadonlyMap<string, readonly Mismatch[]>; readonly leaking: readonly string[] } | undefined;
  return (name) => {
    results ??= perform(file, skip, kernel);
    const leak = results.leaking.find((text) => text.startsWith(`${name}: `));
    if (leak !== undefined) throw new Error(`left alive after ${leak}`);
    return results.mismatches.get(name) ?? [];
  };
}

function perform(file: string, skip: ReadonlySet<string>, kernel: KernelOptions): { mismatches: ReadonlyMap<string, readonly Mismatch[]>; leaking: readonly string[] } {
  const replay = new Replay({ createTarget: () => new KernelTarget({ kernelBTF: () => loadKernelBTF(), algorithms: RECORDED_ALGORITHMS, cpus: 2, ...kernel }) });
  replay.open(file);
  for (const line of linesOf(file, skip)) replay.line(line);
  const { mismatches, leaking } = replay.finish();
  const byCase = new Map<string, Mismatch[]>();
  for (const mismatch of mismatches) byCase.set(mismatch.case, [...(byCase.get(mismatch.case) ?? []), mismatch]);
  return { mismatches: byCase, leaking };
}

/** One case of a transcript with the lines that it needs, for tests that perform cases one by one. */
export interface RecordedCase {
  readonly name: string;
  readonly lines: readonly string[];
}

/** The cases of a file of test/parity/data. Every case carries the blobs that it uses. */
export function recordedCases(file: string): readonly RecordedCase[] {
  const blobs = new Map<string, string>();
  const cases: { name: string; lines: string[] }[] = [];
  for (const line of linesOf(file, new Set())) {
    const value = JSON.parse(line) as { blob?: string; case?: string };
    if (value.blob !== undefined) blobs.set(value.blob, line);
    else if (value.case !== undefined) cases.push({ name: value.case, lines: [line] });
    else cases.at(-1)?.lines.push(...[...line.matchAll(/"@(\w+)"/g)].map(([, id]) => blobs.get(id ?? '') ?? ''), line);
  }
  return cases;
}

/** Performs one case on a fresh kernel: the differences, none where it agrees. */
export function replayCase({ name, lines }: RecordedCase): readonly Mismatch[] {
  const replay = new Replay({ createTarget: () => new KernelTarget({ kernelBTF: () => loadKernelBTF(), algorithms: RECORDED_ALGORITHMS, cpus: 2 }) });
  replay.open(name);
  for (const line of lines) replay.line(line);
  const { mismatches, leaking } = replay.finish();
  if (leaking.length > 0) throw new Error(`left alive: ${leaking.join('; ')}`);
  return mismatches;
}
