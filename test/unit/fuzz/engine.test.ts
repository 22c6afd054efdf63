/** Sessions on a target small enough to be known by heart: what is found, kept, made small and written is decided by the seed alone. */
import { describe, expect, test } from 'vitest';
import { corpusDigest, distil, nameOf } from '../../../src/fuzz/corpus.ts';
import { Coverage, CoverageMap } from '../../../src/fuzz/coverage.ts';
import { LocalWorker, runSession, type SessionOptions, type SessionReport, type Worker } from '../../../src/fuzz/engine.ts';
import { findingOf } from '../../../src/fuzz/guard.ts';
import { minimise } from '../../../src/fuzz/minimise.ts';
import { Random } from '../../../src/fuzz/random.ts';
import { findingFiles, toHTML, toJSON } from '../../../src/fuzz/report.ts';
import { renderHTML } from '../../../src/report/html.ts';
import { Shard, type BatchRequest, type BatchResult } from '../../../src/fuzz/shard.ts';
import { smallerBytes } from '../../../src/fuzz/shrink.ts';
import type { Finding, Target, TargetFactory } from '../../../src/fuzz/types.ts';

/** Bytes; each byte of `WORD` in its place is an edge; the word whole is one defect, a byte 0xee anywhere another. */
const WORD = [0x66, 0x75, 0x7a, 0x7a];

function createTarget(isBroken = true): TargetFactory {
  return ({ coverage }) => {
    const target: Target<Uint8Array> = {
      name: 'word',
      batchRuns: 32,
      seeds: () => [],
      generate: (random) => random.bytes(1 + random.below(8)),
      mutate: (input, random) => {
        const at = random.below(input.length + 1);
        return at === input.length ? Uint8Array.of(...input, random.below(256)) : input.with(at, random.oneIn(2) ? random.pick(WORD) : random.below(256));
      },
      execute: (input): Finding | undefined => {
        let at = 0;
        while (at < WORD.length && input[at] === WORD[at]) at++;
        coverage.hit(at);
        coverage.hit(100 + Math.min(input.length, 20));
        if (!isBroken) return undefined;
        if (at === WORD.length) return { oracle: 'word', trace: 'whole', message: `after ${input.length} bytes` };
        if (input.includes(0xee)) throw new TypeError(`byte ${input.indexOf(0xee)}`);
        return undefined;
      },
      serialise: (input) => input.slice(),
      deserialise: (bytes) => bytes.slice(),
      shrink: (input) => smallerBytes(input),
      size: (input) => input.length,
      toTranscript: () => undefined,
      toAssembly: (input) => `${input.join(' ')}\n`,
    };
    return target as Target;
  };
}

const worker = (factory: TargetFactory = createTarget()): LocalWorker => new LocalWorker(new Shard(factory, { coverage: new Coverage(), file: () => new Uint8Array() }));

/** A worker that answers late, by the number of the batch. */
class Late implements Worker {
  readonly #inner = worker();
  readonly batchRuns = this.#inner.batchRuns;
  readonly seeds = (): ReturnType<Worker['seeds']> => this.#inner.seeds();
  readonly learn: Worker['learn'] = (entries) => this.#inner.learn(entries);
  readonly trace: Worker['trace'] = (inputs, thorough) => this.#inner.trace(inputs, thorough);
  readonly describe: Worker['describe'] = (finding) => this.#inner.describe(finding);
  readonly close = (): Promise<void> => this.#inner.close();

  async run(request: BatchRequest): Promise<BatchResult> {
    for (let turns = (request.index * 7) % 5; turns > 0; turns--) await Promise.resolve();
    return this.#inner.run(request);
  }
}

const session = (options: Partial<SessionOptions>, workers: readonly Worker[] = [worker()]): Promise<SessionReport> => {
  let clock = 0;
  return runSession({ target: 'word', seed: 1, runs: 4000, now: () => (clock += 1), ...options }, workers);
};

const outcome = (report: SessionReport): unknown => {
  const { seconds, curve, ...rest } = toJSON(report);
  void seconds;
  void curve;
  return rest;
};

describe('a session', () => {
  test('follows coverage to the word, and reports each defect once, small', async () => {
    const report = await session({ runs: 12_000 });
    expect(report.findings.map(({ oracle }) => oracle).toSorted()).toEqual(['errors', 'word']);
    const [word, thrown] = [report.findings.find(({ oracle }) => oracle === 'word')!, report.findings.find(({ oracle }) => oracle === 'errors')!];
    expect([...word.bytes]).toEqual(WORD);
    expect([...thrown.bytes]).toEqual([0xee]);
    expect(thrown.trace).toMatch(/^TypeError at .*execute/);
  });

  test('gives the same for the same seed and number of runs, also with more workers, in whatever order they answer', async () => {
    const alone = outcome(await session({}));
    expect(outcome(await session({}))).toEqual(alone);
    expect(outcome(await session({}, [new Late(), new Late()]))).toEqual(alone);
    expect(outcome(await session({}, [new Late(), worker(), new Late()]))).toEqual(alone);
    expect(outcome(await session({ seed: 2 }))).not.toEqual(alone);
  });

  test('makes exactly the runs that were asked for, and ends at a time, a number of findings or an interrupt', async () => {
    expect((await session({ runs: 77 })).runs).toBe(77);
    const { runs: _, ...timed } = { runs: 0, target: 'word', seed: 1, seconds: 0.05, now: ((): (() => number) => { let t = 0; return () => (t += 5); })() };
    expect((await runSession(timed, [worker()])).runs).toBeGreaterThan(0);
    expect((await session({ runs: 100_000, stopAfter: 1 })).findings).toHaveLength(1);
    expect((await session({ isCancelled: () => true })).runs).toBe(0);
  });

  test('begins where an earlier one ended: its corpus reaches the same', async () => {
    const factory = createTarget(false);
    const first = await session({}, [worker(factory)]);
    const again = await session({ runs: 1, corpus: first.corpus }, [worker(factory)]);
    expect(again.features).toBeGreaterThanOrEqual(first.features);
    expect(first.corpus.length).toBeLessThanOrEqual(first.curve.at(-1)!.corpus);
  });

  test('a real kernel is asked about what was new, and its complaints are findings', async () => {
    const asked: number[] = [];
    const report = await session({
      reference: async (entries) => {
        asked.push(entries.length);
        return [{ oracle: 'kernel', trace: 'errno', message: 'differs', bytes: entries[0]!, run: -1 }];
      },
    }, [worker(createTarget(false))]);
    expect(asked.length).toBeGreaterThan(0);
    expect(report.findings.map(({ oracle }) => oracle)).toEqual(['kernel']);
  });
});

test('minimising keeps oracle and trace', () => {
  const target = createTarget()({ coverage: new Coverage(), file: () => new Uint8Array() });
  const start = Uint8Array.of(...WORD, 1, 2, 0xee, 4);
  const finding = target.execute(start)!;
  const { input, tries } = minimise(target, start, finding);
  expect(input).toEqual(Uint8Array.from(WORD));
  expect(tries).toBeLessThan(100);
});

test('a corpus is made small without losing what it reaches; its digest does not depend on order', () => {
  const entry = (size: number, ...features: number[]): { bytes: Uint8Array; size: number; features: number[] } => ({ bytes: Uint8Array.of(size), size, features });
  const kept = distil([entry(9, 1, 2, 3), entry(1, 1), entry(2, 2), entry(3, 3), entry(4, 4, 3)]);
  expect(new Set(kept.flatMap(({ features }) => features))).toEqual(new Set([1, 2, 3, 4]));
  expect(kept.map(({ size }) => size)).toEqual([1, 2, 4]);
  expect(corpusDigest(kept)).toBe(corpusDigest(kept.toReversed()));
  expect(nameOf(Uint8Array.of(1))).toMatch(/^[0-9a-f]{16}$/);
});

test('coverage counts in buckets, and not while an oracle works', () => {
  const coverage = new Coverage();
  const known = new CoverageMap();
  coverage.hit(5);
  expect(known.add(coverage.newTo(known)!)).toBe(true);
  coverage.reset();
  coverage.hit(5);
  expect(coverage.newTo(known)).toBeUndefined();
  coverage.hit(5);
  expect(coverage.newTo(known)).toHaveLength(1);
  coverage.reset();
  coverage.listen(false);
  coverage.hit(6);
  coverage.listen(true);
  expect(coverage.features()).toEqual([]);
  coverage.hit(0x1_0006);
  coverage.hit(6);
  expect(coverage.features()).toHaveLength(1);
});

test('random numbers come from the seed, and parts of it are independent of what was drawn', () => {
  const a = new Random(3), b = new Random(3);
  b.next();
  expect(a.split(9).next()).toBe(b.split(9).next());
  expect(a.split(9).next()).not.toBe(a.split(10).next());
  const values = Array.from({ length: 1000 }, () => a.below(10));
  expect(new Set(values).size).toBe(10);
});

test('what is thrown is told apart by class and functions, not by numbers', () => {
  const thrown = (n: number): Finding => {
    try {
      throw new RangeError(`length ${n}`);
    } catch (error) {
      return findingOf(error);
    }
  };
  expect(thrown(1).trace).toBe(thrown(2).trace);
  expect(thrown(1).message).not.toBe(thrown(2).message);
  expect(findingOf('text').trace).toBe('thrown string');
});

test('the page of a session shows its findings, coverage over time, and what it was made with', async () => {
  const report = await session({ runs: 12_000 });
  const page = renderHTML(toHTML(report, [['jobs', '3']]), 'window.Chart = class {};');
  expect(page).toMatch(/^<!doctype html>/i);
  for (const { oracle, trace } of report.findings) {
    expect(page).toContain(oracle);
    expect(page).toContain(trace.replaceAll('<', '&lt;').replaceAll('>', '&gt;'));
  }
  for (const text of ['Coverage over time', report.corpusDigest, `${report.runs.toLocaleString('en-US')} runs from seed 1`]) expect(page).toContain(text);
  expect(renderHTML(toHTML({ ...report, findings: [] }, []), '')).toContain('No oracle complained.');
  const json = toJSON(report) as { findings: readonly { input: string; name: string }[]; curve: readonly { runs: number; coverage: number }[]; corpusDigest: string };
  expect(json.findings.map(({ input }) => [...Buffer.from(input, 'base64')])).toEqual(report.findings.map(({ bytes }) => [...bytes]));
  expect(json.findings.every(({ name }) => /^word-(word|errors)-[0-9a-f]{16}$/.test(name))).toBe(true);
  expect(json.curve.at(-1)).toMatchObject({ runs: report.runs, coverage: report.edges });
});

test('the files of a finding: what repro reads, assembly, a test with the seed', async () => {
  const report = await session({ runs: 12_000, seed: 4 });
  const finding = report.findings.find(({ oracle }) => oracle === 'word')!;
  const files = findingFiles('word', 4, finding);
  expect([...files.keys()].map((name) => name.replace(/^[^.]*/, ''))).toEqual(['.json', '.s', '.test.ts']);
  const json = JSON.parse([...files.values()][0]!) as { input: string; seed: number };
  expect([...Buffer.from(json.input, 'base64')]).toEqual(WORD);
  expect([...files.values()][2]).toContain(`--seed 4\` at run ${finding.run}`);
  expect([...files.values()][2]).toContain(json.input);
});
