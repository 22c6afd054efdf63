/**
 * @module src/fuzz/types
 * What a fuzzing target is and what the engine does with it. Owns the contract; `engine.ts` drives targets, `targets/` has them.
 *
 * The engine calls, for every run: `generate` or `mutate`, then `execute`, which resets the target's own state, runs one input and
 * tells `coverage` what it saw. All decisions come from the given {@link Random}; a target keeps nothing between runs that a later
 * run could notice (a kernel that is reused must be back at its baseline), so that an input does the same on any machine, in any order.
 */
import type { Coverage } from './coverage.ts';
import type { Random } from './random.ts';

/** A broken promise, found by one oracle. */
export interface Finding {
  /** Short name of the promise: `soundness`, `engines`, `tamper`, `errors`, `resources`, `metamorphic`, `kernel`, `bounds`… */
  readonly oracle: string;
  /**
   * What makes two findings the same one: where it happened, without numbers that differ from input to input (for an exception: its
   * class and innermost frames; for soundness: the instruction's name and the state's class).
   */
  readonly trace: string;
  /** One line or more for people. */
  readonly message: string;
}

/** What a target is made with. */
export interface TargetEnvironment {
  /** Where `execute` reports edges and states. */
  readonly coverage: Coverage;
  /**
   * Files of the package or the repository by name (`examples/flow-signed.lskel.h`), for targets that begin with real data; throws
   * InputError where there is no such file.
   */
  readonly file: (name: string) => Uint8Array;
  /** Raw BTF of the kernel, for targets that load what refers to it; absent where there is none. */
  readonly kernelBTF?: () => Uint8Array;
}

/** Something that can be fuzzed. `Input` is the target's own structured form. */
export interface Target<Input = unknown> {
  readonly name: string;
  /** Inputs that every corpus begins with; `[]` for none. The same list every time. */
  seeds(): readonly Input[];
  /** A new input. */
  generate(random: Random): Input;
  /** A changed copy of `input`; `other` is another member of the corpus, to take parts from. Never changes its arguments. */
  mutate(input: Input, random: Random, other: Input | undefined): Input;
  /**
   * Runs one input. Bounded by counted budgets, never by time. Throws only where the product throws what it must not: that is a finding too.
   * `thorough` asks every oracle; without it dear ones may be asked for some inputs only (chosen by the input's bytes). What is reached
   * must be the same either way (`coverage.listen(false)` around what oracles do besides).
   */
  execute(input: Input, thorough?: boolean): Finding | undefined;
  /** Bytes of an input, for the corpus on disk and for messages between threads: the same input gives the same bytes. */
  serialise(input: Input): Uint8Array;
  /** Throws InputError for bytes that are no input. */
  deserialise(bytes: Uint8Array): Input;
  /**
   * Smaller or simpler inputs to try, best first; finite. The engine keeps the first on which the same oracle still complains with the
   * same trace and asks again. `shrink.ts` has building blocks.
   */
  shrink(input: Input): Iterable<Input>;
  /** Measure that shrinking and corpus minimisation reduce: instructions, calls or bytes. */
  size(input: Input): number;
  /** The input as a transcript (`bpftwin replay`), JSON lines; whose answers play no part. `undefined` where it is no system call. */
  toTranscript(input: Input): string | undefined;
  /** The input for people: assembly, a list of calls, a dump. */
  toAssembly(input: Input): string;
  /** Runs of one batch (a batch is what one worker does between two exchanges); 128 where absent. Fewer for slow targets. */
  readonly batchRuns?: number;
  /** Frees what the target holds. */
  dispose?(): void;
}

/** Makes a target. Called once in each worker. */
export type TargetFactory = (environment: TargetEnvironment) => Target;

/**
 * An oracle that is too slow, or not possible, in a worker (a real kernel). Asked in the main thread after each exchange, with the inputs
 * that were new to the corpus, in order. `undefined` where the input cannot be compared.
 */
export interface ReferenceOracle {
  readonly name: string;
  check(inputs: readonly { readonly target: Target; readonly bytes: Uint8Array }[]): Promise<readonly (Finding | undefined)[]>;
  close(): Promise<void>;
}
