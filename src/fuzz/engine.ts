/**
 * @module src/fuzz/engine
 * A session: batches handed to workers, what they bring back put together in the order of the batches, so that the same seed and number of runs
 * give the same corpus and findings whoever did the work. Owns the session; where workers run is the caller's business.
 */
import { corpusDigest, distil, type Traced } from './corpus.ts';
import { CoverageMap } from './coverage.ts';
import { keyOf } from './minimise.ts';
import type { BatchRequest, BatchResult, Candidate, DescribedFinding, FoundInput, Shard } from './shard.ts';

/** Somebody who does a shard's work: in this thread or another. */
export interface Worker {
  readonly batchRuns: number;
  seeds(): Promise<readonly Uint8Array[]>;
  learn(entries: readonly Candidate[]): Promise<void>;
  run(request: BatchRequest): Promise<BatchResult>;
  trace(inputs: readonly Uint8Array[], thorough: boolean): Promise<ReturnType<Shard['trace']>>;
  describe(finding: FoundInput): Promise<DescribedFinding>;
  close(): Promise<void>;
}

/** A shard in this thread. */
export class LocalWorker implements Worker {
  readonly #shard: Shard;

  constructor(shard: Shard) {
    this.#shard = shard;
  }

  get batchRuns(): number {
    return this.#shard.batchRuns;
  }

  async seeds(): Promise<readonly Uint8Array[]> {
    return this.#shard.seeds();
  }

  async learn(entries: readonly Candidate[]): Promise<void> {
    this.#shard.learn(entries);
  }

  async run(request: BatchRequest): Promise<BatchResult> {
    return this.#shard.run(request);
  }

  async trace(inputs: readonly Uint8Array[], thorough: boolean): Promise<ReturnType<Shard['trace']>> {
    return this.#shard.trace(inputs, thorough);
  }

  async describe(finding: FoundInput): Promise<DescribedFinding> {
    return this.#shard.describe(finding);
  }

  async close(): Promise<void> {
    this.#shard.dispose();
  }
}

/** Batches between two exchanges. Fixed: it decides what a batch knows, and so the result. */
const BATCHES_PER_ROUND = 8;
/** Inputs that a worker runs again in one request. */
const TRACED_AT_ONCE = 64;
/** Points of the curve that are kept. */
const MOST_SAMPLES = 400;

/** Where a session stands. */
export interface Progress {
  readonly seconds: number;
  readonly runs: number;
  /** Ids reached; with the buckets of their counts {@link features}. */
  readonly edges: number;
  readonly features: number;
  readonly corpus: number;
  readonly findings: number;
}

export interface SessionOptions {
  readonly target: string;
  readonly seed: number;
  /** Runs in all; exactly so many are made. */
  readonly runs?: number;
  /** Ends at the first exchange after so many seconds. */
  readonly seconds?: number;
  /** Inputs of an earlier session. */
  readonly corpus?: readonly Uint8Array[];
  /** Findings after which it ends; default none. */
  readonly stopAfter?: number;
  /** Milliseconds of some clock, for {@link seconds} and the curve. */
  readonly now: () => number;
  readonly onProgress?: (progress: Progress) => void;
  readonly onFinding?: (finding: SessionFinding) => void;
  /** True to end early (an interrupt). */
  readonly isCancelled?: () => boolean;
  /** Looks at what was new to the corpus in a round: a real kernel. */
  readonly reference?: (entries: readonly Uint8Array[]) => Promise<readonly FoundInput[]>;
}

/** A finding as a session reports it. */
export interface SessionFinding extends DescribedFinding {
  readonly run: number;
}

export interface SessionReport {
  readonly target: string;
  readonly seed: number;
  readonly runs: number;
  readonly seconds: number;
  readonly edges: number;
  readonly features: number;
  /** Inputs that are enough to reach everything that was reached. */
  readonly corpus: readonly Uint8Array[];
  readonly corpusDigest: string;
  readonly findings: readonly SessionFinding[];
  readonly curve: readonly Progress[];
}

/**
 * Runs a session on the given workers, of which there is at least one.
 *
 * @example
 * const report = await runSession({ target: 'engines', seed: 1, runs: 1000, now: () => performance.now() }, [worker]);
 */
export async function runSession(options: SessionOptions, workers: readonly Worker[]): Promise<SessionReport> {
  return new Session(options, workers).run();
}

class Session {
  readonly #options: SessionOptions;
  readonly #workers: readonly Worker[];
  readonly #known: CoverageMap = new CoverageMap();
  readonly #corpus: Candidate[] = [];
  readonly #findings: SessionFinding[] = [];
  readonly #keys: Set<string> = new Set();
  readonly #started: number;
  #curve: Progress[] = [];
  #every = 1;
  #rounds = 0;
  #runs = 0;

  constructor(options: SessionOptions, workers: readonly Worker[]) {
    this.#options = options;
    this.#workers = workers;
    this.#started = options.now();
  }

  async run(): Promise<SessionReport> {
    await this.#begin();
    const { batchRuns } = this.#workers[0]!;
    const limit = this.#options.runs ?? Infinity;
    for (let batch = 0; batch * batchRuns < limit && !this.#isOver(); batch += BATCHES_PER_ROUND) {
      const requests: BatchRequest[] = [];
      for (let index = batch; index < batch + BATCHES_PER_ROUND && index * batchRuns < limit; index++) {
        requests.push({ seed: this.#options.seed, index, runs: Math.min(batchRuns, limit - index * batchRuns) });
      }
      await this.#merge(await this.#hand(requests));
    }
    return this.#finish();
  }

  /** Seeds of the target, then the corpus of an earlier session. */
  async #begin(): Promise<void> {
    const first = this.#workers[0]!;
    const given = [...(await first.seeds()), ...(this.#options.corpus ?? [])];
    const traced = await first.trace(given, true);
    const fresh: Candidate[] = [];
    for (const { bytes, features, finding } of traced) {
      if (finding !== undefined) await this.#keep({ ...finding, bytes, run: -1 });
      if (this.#known.add(features)) fresh.push({ bytes, features });
    }
    await this.#teach(fresh);
    this.#note();
  }

  #isOver(): boolean {
    const { seconds, stopAfter, isCancelled } = this.#options;
    return (
      (seconds !== undefined && this.#seconds() >= seconds) || (stopAfter !== undefined && this.#findings.length >= stopAfter) || isCancelled?.() === true
    );
  }

  #seconds(): number {
    return (this.#options.now() - this.#started) / 1000;
  }

  /** All that each of these reaches, in parts that whoever is free takes. */
  async #trace(inputs: readonly Uint8Array[]): Promise<readonly Traced[]> {
    const parts: (readonly Traced[])[] = [];
    let next = 0;
    await Promise.all(this.#workers.map(async (worker) => {
      while (next < inputs.length) {
        const from = next;
        next += TRACED_AT_ONCE;
        parts[from / TRACED_AT_ONCE] = await worker.trace(inputs.slice(from, from + TRACED_AT_ONCE), false);
      }
    }));
    return parts.flat();
  }

  /** All batches of a round, by whoever is free; results in the order of the batches. */
  async #hand(requests: readonly BatchRequest[]): Promise<readonly BatchResult[]> {
    const results: BatchResult[] = [];
    let next = 0;
    await Promise.all(this.#workers.map(async (worker) => {
      while (next < requests.length) {
        const at = next++;
        results[at] = await worker.run(requests[at]!);
      }
    }));
    return results;
  }

  async #merge(results: readonly BatchResult[]): Promise<void> {
    const fresh: Candidate[] = [];
    for (const { runs, candidates, findings } of results) {
      this.#runs += runs;
      for (const candidate of candidates) if (this.#known.add(candidate.features)) fresh.push(candidate);
      for (const finding of findings) await this.#keep(finding);
    }
    await this.#teach(fresh);
    const compared = fresh.length === 0 ? undefined : await this.#options.reference?.(fresh.map(({ bytes }) => bytes));
    for (const finding of compared ?? []) await this.#keep(finding);
    this.#note();
  }

  async #teach(entries: readonly Candidate[]): Promise<void> {
    this.#corpus.push(...entries);
    if (entries.length > 0) await Promise.all(this.#workers.map((worker) => worker.learn(entries)));
  }

  /** Takes up a finding that is not known, as small as it gets. */
  async #keep(finding: FoundInput): Promise<void> {
    if (this.#keys.has(keyOf(finding))) return;
    this.#keys.add(keyOf(finding));
    const described = { ...(await this.#workers[0]!.describe(finding)), run: finding.run };
    this.#findings.push(described);
    this.#options.onFinding?.(described);
  }

  #note(): void {
    const progress: Progress = {
      seconds: this.#seconds(), runs: this.#runs, edges: this.#known.edges, features: this.#known.features, corpus: this.#corpus.length,
      findings: this.#findings.length,
    };
    if (this.#rounds++ % this.#every === 0) this.#curve.push(progress);
    if (this.#curve.length > MOST_SAMPLES) {
      this.#curve = this.#curve.filter((_, i) => i % 2 === 0);
      this.#every *= 2;
    }
    this.#options.onProgress?.(progress);
  }

  async #finish(): Promise<SessionReport> {
    const seconds = this.#seconds();
    const { target, seed } = this.#options;
    const corpus = distil(await this.#trace(this.#corpus.map(({ bytes }) => bytes))).map(({ bytes }) => bytes);
    const last: Progress = {
      seconds, runs: this.#runs, edges: this.#known.edges, features: this.#known.features, corpus: this.#corpus.length, findings: this.#findings.length,
    };
    return {
      target, seed, runs: this.#runs, seconds, edges: last.edges, features: last.features, corpus, corpusDigest: corpusDigest(corpus.map((bytes) => ({ bytes }))),
      findings: this.#findings, curve: [...this.#curve.filter(({ runs }) => runs !== last.runs), last],
    };
  }
}
