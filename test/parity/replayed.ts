/**
 * Runs transcripts of test/parity/data within tests: one test a case.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { KernelTarget } from '../../src/replay/kernel-target.ts';
import { Replay, type Mismatch } from '../../src/replay/replay.ts';

/** One case of a transcript with the lines that it needs. */
export interface RecordedCase {
  readonly name: string;
  readonly lines: readonly string[];
}

/** The cases of a file of test/parity/data. Every case carries the blobs that come before it and that it uses. */
export function recordedCases(file: string): readonly RecordedCase[] {
  const raw = readFileSync(new URL(`data/${file}`, import.meta.url));
  const text = (file.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8');
  const blobs = new Map<string, string>();
  const cases: { name: string; lines: string[] }[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const value = JSON.parse(line) as { blob?: string; case?: string };
    if (value.blob !== undefined) blobs.set(value.blob, line);
    else if (value.case !== undefined) cases.push({ name: value.case, lines: [line] });
    else cases.at(-1)?.lines.push(...[...line.matchAll(/"@(\w+)"/g)].map(([, id]) => blobs.get(id ?? '') ?? ''), line);
  }
  return cases;
}

/** One kernel serves many cases, as in `bpftwin replay`; after a bug or a leak a fresh one does. */
let shared: KernelTarget | undefined;

/** Differences between the recording and our kernel, empty where they agree. */
export function replayCase({ lines }: RecordedCase): readonly Mismatch[] {
  const replay = new Replay({ createTarget: () => (shared ??= new KernelTarget({ kernelBTF: () => loadKernelBTF() })) });
  replay.open('recorded');
  for (const line of lines) replay.line(line);
  const { mismatches, leaking, exceptions } = replay.finish();
  if (exceptions > 0 || leaking.length > 0) shared = undefined;
  if (leaking.length > 0) throw new Error(`left alive: ${leaking.join('; ')}`);
  return mismatches;
}
