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

/** Space for a program much longer than most is given back. */
const KEPT_HEADS = 8192;

/** The checkpoints of one `do_check` run. */
export class ExploredStates {
  /** Newest first, linked by `VState.next`; index = (instruction ^ call site) modulo {@link size}. There may be room for more. */
  heads: (VState | undefined)[] = [];
  /** The program's length. */
  size = 0;
  /** By component number. */
  visits: (SCCVisit[] | undefined)[] = [];

  /** Empties the containers for a program of `insnCount` instructions. */
  reset(insnCount: number): void {
    if (this.heads.length > KEPT_HEADS && insnCount <= KEPT_HEADS) this.heads = [];
    const { heads } = this;
    const kept = Math.min(Math.max(this.size, insnCount), heads.length);
    for (let i = 0; i < kept; i++) heads[i] = undefined;
    while (heads.length < insnCount) heads.push(undefined);
    this.size = insnCount;
    if (this.visits.length > 0) this.visits = [];
  }
}
