/**
 * @module verifier/explored
 * Where checkpoints are kept: lists by instruction and call site, and the visits of loops that are under way. Owns the
 * containers; what is put in and when is `states.ts`.
 */
import type { VState } from './state.ts';

/** One way to be inside a strongly connected component: its number and the call sites that lead to it. */
export interface SCCVisit {
  readonly callsites: Int32Array;
  readonly scc: number;
  /** The checkpoint that entered, `undefined` once all its paths are explored. */
  entryState: VState | undefined;
  /** Copies of states that met a checkpoint of the component again, oldest first. */
  readonly backedges: VState[];
}

/** The checkpoints of one `do_check` run. */
export class ExploredStates {
  /** Newest first, linked by `VState.next`; index = (instruction ^ call site) modulo the program's length. */
  heads: (VState | undefined)[] = [];
  /** By component number. */
  visits: (SCCVisit[] | undefined)[] = [];

  /** Empties the containers for a program of `insnCount` instructions. */
  reset(insnCount: number): void {
    if (this.heads.length !== insnCount) {
      this.heads = [];
      for (let i = 0; i < insnCount; i++) this.heads.push(undefined);
    } else this.heads.fill(undefined);
    this.visits = [];
  }
}
