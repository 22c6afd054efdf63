/**
 * @module src/replay/replay
 * Performs whole transcripts case by case and counts agreement. Owns the life of a target (one serves many cases, a fresh one
 * after a bug or a leak) and the summary; does not read files or print.
 */
import { compareAnswers, type Difference, type Field } from './compare.ts';
import { Performer, type Got } from './perform.ts';
import type { ReplayTarget } from './target.ts';
import { TranscriptReader, type CaseLine, type Operation } from './transcript.ts';

/** One disagreement, as `bpftwin replay -j` prints it. Long texts are cut to the lines around the first difference. */
export interface Mismatch {
  readonly case: string;
  /** Index within the case, from 0. */
  readonly op: number;
  readonly cmd: string;
  readonly field: Field;
  readonly got: string | number;
  readonly want: string | number;
}

/** `agree.X` counts the cases all of whose operations agree on X; `agree.cases` those that agree on everything. */
export interface ReplaySummary {
  cases: number;
  operations: number;
  agree: { cases: number; ret: number; errno: number; lastMessage: number; log: number; insnsProcessed: number };
  retval: { compared: number; agree: number };
  /** Cases that ended in an exception of ours. */
  exceptions: number;
  /** Cases after which something was still alive although everything had been closed. */
  leaks: number;
  /** Their names, with what was left. */
  leaking: string[];
  mismatches: Mismatch[];
}

export interface ReplayOptions {
  /** Makes a fresh kernel. */
  readonly createTarget: () => ReplayTarget;
  /** Only cases whose name it matches. */
  readonly only?: RegExp | undefined;
  /** Most mismatches that are kept (all are counted); default 100,000. */
  readonly keep?: number | undefined;
  /** Sees every operation with its answer. */
  readonly onAnswer?: ((testCase: CaseLine, index: number, operation: Operation, got: Got, differences: readonly Difference[]) => void) | undefined;
  /** Sees every case when it is over. `agrees`: in everything. */
  readonly onCase?: ((testCase: CaseLine, agrees: boolean) => void) | undefined;
}

const COUNTED = ['ret', 'errno', 'lastMessage', 'log', 'insnsProcessed'] as const;
const KEEP = 100_000;
const KEEP_LEAKS = 1000;
const CONTEXT_LINES = 3;
const EXCERPT_LINES = 12;
const EXCERPT_CHARS = 2000;

/**
 * Performs transcripts. Lines are handed over one at a time, so that a transcript never has to fit into memory.
 *
 * @example
 * const replay = new Replay({ createTarget });
 * replay.open('cases.jsonl');
 * for (const line of lines) replay.line(line);
 * replay.finish().agree.cases;
 */
export class Replay {
  readonly #options: ReplayOptions;
  readonly #summary: ReplaySummary = {
    cases: 0,
    operations: 0,
    agree: { cases: 0, ret: 0, errno: 0, lastMessage: 0, log: 0, insnsProcessed: 0 },
    retval: { compared: 0, agree: 0 },
    exceptions: 0,
    leaks: 0,
    leaking: [],
    mismatches: [],
  };
  #reader = new TranscriptReader('');
  #target: ReplayTarget | undefined;
  #performer: Performer | undefined;
  #case: CaseLine | undefined;
  #selected = true;
  #index = 0;
  #disagreed = new Set<Field>();
  #abandoned = false;

  constructor(options: ReplayOptions) {
    this.#options = options;
  }

  /** Begins a transcript; `file` names it in errors. */
  open(file: string): void {
    this.#endCase();
    this.#reader = new TranscriptReader(file);
    this.#selected = true;
  }

  /**
   * One line of the transcript.
   * @throws InputError naming file and line, where it is none
   */
  line(text: string): void {
    if (!this.#selected && text.startsWith('{"op"')) {
      this.#reader.read('');
      return;
    }
    const line = this.#reader.read(text);
    if (line === undefined) return;
    if (line.kind === 'case') this.#beginCase(line.value);
    else if (this.#selected) this.#operation(line.value);
  }

  /** Ends the last case and gives the counts. */
  finish(): ReplaySummary {
    this.#endCase();
    if (this.#target !== undefined) this.#performer?.release();
    this.#target = undefined;
    return this.#summary;
  }

  #beginCase(value: CaseLine): void {
    this.#endCase();
    this.#selected = this.#options.only === undefined || this.#options.only.test(value.case);
    if (!this.#selected) return;
    this.#case = value;
    this.#summary.cases++;
  }

  #endCase(): void {
    const ended = this.#case;
    if (ended === undefined) return;
    if (!this.#abandoned) this.#reset(ended);
    const { agree } = this.#summary;
    for (const field of COUNTED) if (!this.#disagreed.has(field) && !this.#disagreed.has('exception')) agree[field]++;
    const agrees = this.#disagreed.size === 0;
    if (agrees) agree.cases++;
    this.#options.onCase?.(ended, agrees);
    this.#case = undefined;
    this.#index = 0;
    this.#disagreed = new Set();
    this.#abandoned = false;
  }

  #reset(ended: CaseLine): void {
    const target = this.#target;
    if (target === undefined) return;
    try {
      this.#performer?.reset();
      const left = target.liveObjects();
      if (left.length === 0) return;
      this.#summary.leaks++;
      if (this.#summary.leaking.length < KEEP_LEAKS) this.#summary.leaking.push(`${ended.case}: ${left.slice(0, 8).join(', ')}`);
    } catch (error) {
      this.#exception(ended, 'reset', error);
    }
    this.#target = undefined;
  }

  #operation(operation: Operation): void {
    this.#case ??= this.#unnamed();
    const index = this.#index++;
    this.#summary.operations++;
    if (operation.want.retval !== undefined) this.#summary.retval.compared++;
    if (this.#abandoned) return;
    const cmd = operation.op === 'bpf' ? operation.name : operation.op;
    let got: Got;
    try {
      got = this.#perform(operation);
    } catch (error) {
      this.#index = index;
      this.#exception(this.#case, cmd, error);
      this.#index = index + 1;
      this.#abandoned = true;
      this.#target = undefined;
      return;
    }
    const differences = compareAnswers(operation, got);
    if (operation.want.retval !== undefined && operation.want.retval === got.retval) this.#summary.retval.agree++;
    this.#options.onAnswer?.(this.#case, index, operation, got, differences);
    for (const difference of differences) this.#disagree(this.#case, index, cmd, difference);
  }

  #perform(operation: Operation): Got {
    if (this.#target === undefined) {
      this.#target = this.#options.createTarget();
      this.#performer = new Performer(this.#target);
    }
    if (this.#performer === undefined) throw new Error('a target without a performer');
    return this.#performer.perform(operation);
  }

  #unnamed(): CaseLine {
    this.#summary.cases++;
    return { case: '(before the first case)', suite: '', mode: '', desc: '' };
  }

  #exception(testCase: CaseLine, cmd: string, error: unknown): void {
    this.#summary.exceptions++;
    const got = error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 6).join('\n') : String(error);
    this.#disagree(testCase, this.#index, cmd, { field: 'exception', got, want: 'an answer' });
  }

  #disagree(testCase: CaseLine, op: number, cmd: string, difference: Difference): void {
    this.#disagreed.add(difference.field);
    const { mismatches } = this.#summary;
    if (mismatches.length >= (this.#options.keep ?? KEEP)) return;
    const [got, want] = excerpts(difference);
    mismatches.push({ case: testCase.case, op, cmd, field: difference.field, got, want });
  }
}

/** Both texts of a difference, cut to the lines around the first that differs. */
function excerpts({ got, want }: Difference): [string | number, string | number] {
  if (typeof got !== 'string' || typeof want !== 'string') return [got, want];
  const mine = got.split('\n');
  const theirs = want.split('\n');
  if (mine.length <= EXCERPT_LINES && theirs.length <= EXCERPT_LINES) return [got.slice(0, EXCERPT_CHARS), want.slice(0, EXCERPT_CHARS)];
  let first = 0;
  while (first < mine.length && mine[first] === theirs[first]) first++;
  const cut = (lines: readonly string[]): string =>
    `(line ${first + 1} of ${lines.length})\n${lines.slice(Math.max(0, first - CONTEXT_LINES), first + 2 * CONTEXT_LINES).join('\n')}`.slice(0, EXCERPT_CHARS);
  return [cut(mine), cut(theirs)];
}
