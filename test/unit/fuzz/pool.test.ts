/** Threads that end over an input: the batch is run again step by step, the input becomes a finding, the session goes on. */
import { describe, expect, test } from 'vitest';
import { runSession, type SessionReport } from '../../../src/fuzz/engine.ts';
import { startWorkers } from '../../../src/node/fuzz-pool.ts';

const module = new URL('dying-worker.mjs', import.meta.url);
const BATCHES = 20;

async function session(target: string, jobs = 1): Promise<SessionReport> {
  const workers = await startWorkers(target, jobs, { module, patience: target.startsWith('time') ? 400 : 60_000, heapMegabytes: 24 });
  try {
    return await runSession({ target, seed: 1, runs: 4 * BATCHES, now: () => 0 }, workers);
  } finally {
    await Promise.all(workers.map((worker) => worker.close()));
  }
}

describe('a thread that ends', () => {
  test.each([
    ['for want of memory', 'memory', 'thread lost: memory'],
    ['with the process\'s own exit', 'exit', 'thread lost: exit'],
    ['without an answer', 'time', 'thread lost: time'],
    ['over an error that nobody caught', 'error', 'thread lost: Error: out of the blue'],
  ])('%s leaves the input as a finding, and the rest of the session is made', async (_, kind, trace) => {
    const report = await session(`${kind}-9-2`);
    expect(report.runs).toBe(4 * BATCHES);
    expect(report.findings.map((finding) => [finding.oracle, finding.trace.split('\n')[0]])).toEqual([['errors', trace]]);
    const [{ bytes, run, size, transcript } = { bytes: undefined, run: 0, size: 0, transcript: '' }] = report.findings;
    if (kind !== 'error') expect([...bytes!]).toEqual([9, 2]);
    expect([run, size, transcript]).toEqual([36, bytes!.length, undefined]);
    // Every other batch gave what it gives.
    expect(report.corpus.map(([batch]) => batch).toSorted((a, b) => a! - b!)).toEqual(Array.from({ length: BATCHES }, (__, i) => i).filter((batch) => batch !== 9));
  });

  test('is replaced by one that knows the corpus', async () => {
    // The candidates of the round after say how many entries their worker had learnt: those of the first round, without the lost batch.
    const report = await session('exit-3-1');
    expect(report.corpus.filter(([batch]) => batch! >= 8 && batch! < 16).map(([, , learnt]) => learnt)).toEqual(Array.from({ length: 8 }, () => 7));
  });

  test('by chance costs the batch nothing: the second time it counts', async () => {
    const report = await session('exit-9-2-once');
    expect(report.findings).toEqual([]);
    expect(report.corpus).toHaveLength(BATCHES);
  });

  test('changes nothing for the other workers', async () => {
    const [alone, together] = [await session('exit-9-2'), await session('exit-9-2', 3)];
    expect(together.corpusDigest).toBe(alone.corpusDigest);
    expect(together.findings).toEqual(alone.findings);
  });
});

test('a worker that says that it failed ends the session with what it said', async () => {
  await expect(session('throw-2-1')).rejects.toThrow('an answer that is an error');
});
