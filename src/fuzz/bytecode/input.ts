/**
 * @module src/fuzz/bytecode/input
 * What the target `bytecode` runs.
 */

/** A program with what it is loaded as and the values that it runs on. */
export interface BytecodeInput {
  /** `KIND_*` of the grammar. */
  readonly kind: number;
  /** `prog_flags`, but for `BPF_F_SLEEPABLE`. */
  readonly flags: number;
  /** Decides context and map values. */
  readonly data: number;
  readonly instructions: Uint8Array;
}
