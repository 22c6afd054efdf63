/**
 * @module src/fuzz/shard
 * One worker's part of a session: its target, what it knows of the corpus, and batches. A batch is a function of the session's seed, its own
 * number and the corpus of the last exchange, so it does not matter who runs it or when.
 */
import type { Got } from '../replay/perform.ts';
import { operationsOf, performOnTwin, withAnswers } from './answers.ts';
import { pickEntry } from './corpus.ts';
import { type Coverage, CoverageMap, type Feature } from './coverage.ts';
import { executeGuarded } from './guard.ts';
import { keyOf, minimise } from './minimise.ts';
import { Random } from './random.ts';
import type { Finding, Target, TargetEnvironment, TargetFactory } from './types.ts';

/** A batch to run. */
export interface BatchRequest {
  readonly seed: number;
  /** Number of the batch in the session. */
  readonly index: number;
  readonly runs: number;
  /** True to tell each input before it runs, for a batch that ended a worker. */
  readonly announce?: boolean;
}

/** An input that reached something that the shard did not know. */
export interface Candidate {
  readonly bytes: Uint8Array;
  readonly features: readonly Feature[];
}

/** A finding and the input that made it. */
export interface FoundInput extends Finding {
  readonly bytes: Uint8Array;
  /** Number of the run in the session. */
  readonly run: number;
  /** What another kernel answered to the operations of the input's transcript. */
  readonly answers?: readonly Got[];
}

export interface BatchResult {
  readonly index: number;
  readonly runs: number;
  readonly candidates: readonly Candidate[];
  readonly findings: readonly FoundInput[];
}

/** A finding in all forms that are written. */
export interface DescribedFinding extends Finding {
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly tries: number;
  readonly assembly: string;
  readonly transcript: string | undefined;
}

/** Changes that one run makes at most. */
const MOST_MUTATIONS = 4;
/** One run in this many begins from nothing. */
const FRESH_ONE_IN = 4;

export class Shard {
  readonly target: Target;
  readonly #coverage: Coverage;
  readonly #known: CoverageMap = new CoverageMap();
  readonly #corpus: unknown[] = [];
  #isWarm = false;
  readonly #kernelBTF: (() => Uint8Array) | undefined;
  readonly #announce: ((bytes: Uint8Array) => void) | undefined;

  constructor(factory: TargetFactory, environment: TargetEnvironment, announce?: (bytes: Uint8Array) => void) {
    this.#coverage = environment.coverage;
    this.#kernelBTF = environment.kernelBTF;
    this.#announce = announce;
    this.target = factory(environment);
  }

  /** Runs some inputs unseen: what happens only the first time in a process must not count as reached. */
  #warm(): void {
    if (this.#isWarm) return;
    this.#isWarm = true;
    const random = new Random(0);
    for (const input of this.target.seeds()) executeGuarded(this.target, input, true);
    for (let i = 0; i < 8; i++) executeGuarded(this.target, this.target.generate(random), true);
  }

  get batchRuns(): number {
    return this.target.batchRuns ?? 128;
  }

  /** Inputs that every corpus of the target begins with. */
  seeds(): readonly Uint8Array[] {
    return this.target.seeds().map((input) => this.target.serialise(input));
  }

  /** New members of the corpus, with what they reached. */
  learn(entries: readonly Candidate[]): void {
    for (const { bytes, features } of entries) {
      this.#corpus.push(this.target.deserialise(bytes));
      this.#known.add(features);
    }
  }

  run(request: BatchRequest): BatchResult {
    this.#warm();
    const { target } = this;
    const random = new Random(request.seed).split(request.index);
    const known = new CoverageMap(this.#known);
    const corpus = this.#corpus.slice();
    const candidates: Candidate[] = [];
    const findings = new Map<string, FoundInput>();
    for (let run = 0; run < request.runs; run++) {
      const input = this.#next(corpus, random);
      if (request.announce === true) this.#announce?.(target.serialise(input));
      const keep = (finding: Finding | undefined): void => {
        if (finding === undefined || findings.has(keyOf(finding))) return;
        findings.set(keyOf(finding), { ...finding, bytes: target.serialise(input), run: request.index * this.batchRuns + run });
      };
      keep(this.#execute(input, false));
      if (this.#coverage.newTo(known) === undefined) continue;
      // What happens only the first time in a process is no doing of the input: the second time counts.
      keep(this.#execute(input, true));
      const features = this.#coverage.newTo(known);
      if (features === undefined) continue;
      known.add(features);
      corpus.push(input);
      candidates.push({ bytes: target.serialise(input), features });
    }
    return { index: request.index, runs: request.runs, candidates, findings: [...findings.values()] };
  }

  /** Runs given inputs, as the seeds and a corpus that was kept: all that each reaches, and what is found (by every oracle where `thorough`). */
  trace(inputs: readonly Uint8Array[], thorough: boolean): readonly { readonly bytes: Uint8Array; readonly features: readonly Feature[]; readonly size: number; readonly finding: Finding | undefined }[] {
    this.#warm();
    return inputs.map((bytes) => {
      const input = this.target.deserialise(bytes);
      this.#execute(input, false);
      const finding = this.#execute(input, thorough);
      return { bytes, features: this.#coverage.features(), size: this.target.size(input), finding };
    });
  }

  /** Makes a finding small and puts it into words. */
  describe(finding: FoundInput): DescribedFinding {
    const { target } = this;
    const start = target.deserialise(finding.bytes);
    const { answers, ...complaint } = finding;
    // What another kernel answered, it answered to this input and to no smaller one.
    const small = answers === undefined ? minimise(target, start, complaint) : { input: start, finding: complaint, tries: 0 };
    const { oracle, trace, message } = small.finding;
    return {
      oracle, trace, message, bytes: target.serialise(small.input), size: target.size(small.input), tries: small.tries,
      assembly: target.toAssembly(small.input), transcript: this.#transcript(small.input, answers),
    };
  }

  /** An input as a transcript that wants what another kernel answered, or what ours answers now. */
  #transcript(input: unknown, answers: readonly Got[] | undefined): string | undefined {
    const transcript = this.target.toTranscript(input);
    if (transcript === undefined) return undefined;
    return withAnswers(transcript, answers ?? performOnTwin(operationsOf(transcript), this.#kernelBTF));
  }

  /** Runs one input once. */
  reproduce(bytes: Uint8Array): Finding | undefined {
    return this.#execute(this.target.deserialise(bytes), true);
  }

  dispose(): void {
    this.target.dispose?.();
  }

  #execute(input: unknown, thorough: boolean): Finding | undefined {
    this.#coverage.reset();
    return executeGuarded(this.target, input, thorough);
  }

  #next(corpus: readonly unknown[], random: Random): unknown {
    const { target } = this;
    const from = random.oneIn(FRESH_ONE_IN) ? undefined : pickEntry(corpus, random);
    if (from === undefined) return target.generate(random);
    let input: unknown = from;
    for (let left = 1 + random.below(MOST_MUTATIONS); left > 0; left--) input = target.mutate(input, random, pickEntry(corpus, random));
    return input;
  }
}
