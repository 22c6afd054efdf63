/**
 * @module src/node/fuzz-pool
 * Fuzzing workers in threads of their own. Owns the threads: where one ends over an input (no memory, a loop without end), it is replaced, the
 * batch is run again step by step to find the input, and that becomes a finding.
 */
import { setFlagsFromString } from 'node:v8';
import { Worker as Thread } from 'node:worker_threads';
import { InternalError } from '../../isa/errors.ts';
import type { Worker } from '../fuzz/engine.ts';
import type { BatchRequest, BatchResult, Candidate, DescribedFinding, FoundInput, Shard } from '../fuzz/shard.ts';

/** What a thread begins with. */
export interface WorkerStart {
  readonly target: string;
  /** Length and bytes of the input being run, where batches are announced. */
  readonly current: SharedArrayBuffer;
}

type Asked =
  | { readonly op: 'hello' }
  | { readonly op: 'learn'; readonly entries: readonly Candidate[] }
  | { readonly op: 'run'; readonly batch: BatchRequest }
  | { readonly op: 'trace'; readonly inputs: readonly Uint8Array[]; readonly thorough: boolean }
  | { readonly op: 'describe'; readonly finding: FoundInput };

export type Request = Asked & { readonly id: number };
export type Answer = { readonly id: number; readonly result?: unknown; readonly error?: string };

const LARGEST_INPUT = 1 << 20;
/** Milliseconds after which a thread that does not answer counts as lost. Only tells a defect from work: nothing that is found depends on it. */
const PATIENCE = 600_000;
const HEAP_MEGABYTES = 1536;
/** Programs die young: fewer collections of a larger nursery cost less. */
const YOUNG_MEGABYTES = 96;

/**
 * Starts a thread for the inputs of a target: with a young generation for what dies young. Every program of target `bytecode` is another, so there is
 * always code that runs too seldom for the optimising compiler, and V8's interpreter is slow at it: functions get baseline code with their first
 * call there. Other targets gain nothing by it or lose. It is a flag of the process: threads of two kinds at once have that of the last.
 */
export function startThread(module: URL, target: string, data: unknown, heapMegabytes: number = HEAP_MEGABYTES): Thread {
  setFlagsFromString(target === 'bytecode' ? '--always-sparkplug' : '--no-always-sparkplug');
  return new Thread(module, { workerData: data, resourceLimits: { maxOldGenerationSizeMb: heapMegabytes, maxYoungGenerationSizeMb: YOUNG_MEGABYTES } });
}

/** How threads are run; everything has a default. */
export interface PoolOptions {
  /** What runs in a thread. */
  readonly module?: URL;
  /** Milliseconds that an answer may take. */
  readonly patience?: number;
  readonly heapMegabytes?: number;
}

/** Thrown where a thread ended instead of answering. */
class ThreadLost extends Error {}

type Waiting = Map<number, { readonly resolve: (result: unknown) => void; readonly reject: (error: Error) => void }>;

class ThreadWorker implements Worker {
  readonly #target: string;
  readonly #options: Required<PoolOptions>;
  readonly #current = new SharedArrayBuffer(4 + LARGEST_INPUT);
  readonly #learnt: Candidate[] = [];
  #thread: Thread;
  #next = 0;
  #waiting: Waiting = new Map();
  #hello: { readonly batchRuns: number; readonly seeds: readonly Uint8Array[] } = { batchRuns: 0, seeds: [] };

  constructor(target: string, options: PoolOptions) {
    this.#target = target;
    this.#options = { module: new URL('./fuzz-worker.js', import.meta.url), patience: PATIENCE, heapMegabytes: HEAP_MEGABYTES, ...options };
    this.#thread = this.#start();
  }

  async begin(): Promise<this> {
    this.#hello = (await this.#ask({ op: 'hello' })) as { batchRuns: number; seeds: readonly Uint8Array[] };
    return this;
  }

  #start(): Thread {
    const data: WorkerStart = { target: this.#target, current: this.#current };
    const thread = startThread(this.#options.module, this.#target, data, this.#options.heapMegabytes);
    const waiting: Waiting = new Map();
    this.#waiting = waiting;
    const lose = (reason: string): void => {
      for (const { reject } of waiting.values()) reject(new ThreadLost(reason));
      waiting.clear();
    };
    thread.on('message', ({ id, result, error }: Answer) => {
      const call = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new InternalError(`a fuzzing worker failed: ${error}`));
    });
    thread.on('error', (error: Error & { code?: string }) => lose(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : (error.stack ?? error.message)));
    thread.on('exit', () => lose('exit'));
    return thread;
  }

  async #ask(asked: Asked): Promise<unknown> {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new ThreadLost('time')), this.#options.patience);
    });
    this.#thread.postMessage({ ...asked, id });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #replace(): Promise<void> {
    this.#thread.removeAllListeners();
    await this.#thread.terminate();
    this.#thread = this.#start();
    await this.#ask({ op: 'hello' });
    if (this.#learnt.length > 0) await this.#ask({ op: 'learn', entries: this.#learnt });
  }

  get batchRuns(): number {
    return this.#hello.batchRuns;
  }

  async seeds(): Promise<readonly Uint8Array[]> {
    return this.#hello.seeds;
  }

  async learn(entries: readonly Candidate[]): Promise<void> {
    this.#learnt.push(...entries);
    await this.#ask({ op: 'learn', entries });
  }

  async run(batch: BatchRequest): Promise<BatchResult> {
    try {
      return (await this.#ask({ op: 'run', batch })) as BatchResult;
    } catch (error) {
      if (!(error instanceof ThreadLost)) throw error;
      await this.#replace();
      return await this.#findLoss(batch);
    }
  }

  /** Runs a batch that ended a thread again, each input announced: the last one announced is the finding. */
  async #findLoss(batch: BatchRequest): Promise<BatchResult> {
    try {
      return (await this.#ask({ op: 'run', batch: { ...batch, announce: true } })) as BatchResult;
    } catch (error) {
      if (!(error instanceof ThreadLost)) throw error;
      const length = Atomics.load(new Int32Array(this.#current, 0, 1), 0);
      const bytes = new Uint8Array(this.#current.slice(4, 4 + length));
      await this.#replace();
      const finding: FoundInput = { oracle: 'errors', trace: `thread lost: ${error.message.split('\n')[0]}`, message: `a worker ended: ${error.message}`, bytes, run: batch.index * this.batchRuns };
      return { index: batch.index, runs: batch.runs, candidates: [], findings: [finding] };
    }
  }

  async trace(inputs: readonly Uint8Array[], thorough: boolean): Promise<ReturnType<Shard['trace']>> {
    return (await this.#ask({ op: 'trace', inputs, thorough })) as ReturnType<Shard['trace']>;
  }

  async describe(finding: FoundInput): Promise<DescribedFinding> {
    try {
      if (!finding.trace.startsWith('thread lost')) return (await this.#ask({ op: 'describe', finding })) as DescribedFinding;
    } catch (error) {
      if (!(error instanceof ThreadLost)) throw error;
      await this.#replace();
    }
    return { ...finding, size: finding.bytes.length, tries: 0, assembly: '', transcript: undefined };
  }

  async close(): Promise<void> {
    this.#thread.removeAllListeners();
    await this.#thread.terminate();
  }
}

/**
 * Starts `jobs` workers for a target.
 * @example const workers = await startWorkers('bytecode', 2);
 */
export async function startWorkers(target: string, jobs: number, options: PoolOptions = {}): Promise<readonly Worker[]> {
  return Promise.all(Array.from({ length: jobs }, () => new ThreadWorker(target, options).begin()));
}
