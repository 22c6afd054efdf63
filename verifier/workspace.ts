/**
 * @module verifier/workspace
 * Memory that a load works in and leaves behind clean enough for the next one: the pool of states and a slab that short-lived arrays are cut
 * from. Making both anew costs several times what checking a program of a few instructions does. Owns their reuse; nothing of a verdict
 * may live here.
 */
import type { InsnAux } from './env.ts';
import { ExploredStates } from './explored.ts';
import { StatePool } from './state.ts';

/** Space for a program much larger than most is given back. */
const KEPT_STATES = 1024;
/** Elements of the smallest array that is handed out, as a power of two, and sizes above it: the largest kept has 8192. */
const SMALLEST_SHIFT = 6;
const KEPT_SIZES = 8;
/** Arrays of one kind and size that are kept. */
const KEPT_ARRAYS = 256;

type IntegerArray = Int32Array | Uint32Array | Int16Array | Uint16Array | Uint8Array | Float64Array;

/** An array, and its bytes as words: zeroed through those, whatever the kind. */
interface Piece<T extends IntegerArray> {
  readonly array: T;
  readonly words: Int32Array;
}

/** Arrays of one kind, by size. */
class Shelf<T extends IntegerArray> {
  readonly #make: (elements: number) => T;
  readonly #bytesShift: number;
  /** By size: those given out lie before `#used[size]`. */
  readonly #pieces: Piece<T>[][] = Array.from({ length: KEPT_SIZES }, () => []);
  readonly #used: number[] = Array.from({ length: KEPT_SIZES }, () => 0);

  constructor(bytesShift: number, make: (elements: number) => T) {
    this.#bytesShift = bytesShift;
    this.#make = make;
  }

  reset(): void {
    const used = this.#used;
    for (let size = 0; size < KEPT_SIZES; size++) {
      if (used[size]! > KEPT_ARRAYS) this.#pieces[size]!.length = KEPT_ARRAYS;
      used[size] = 0;
    }
  }

  take(n: number, isCleared: boolean): T {
    const size = n <= 1 << SMALLEST_SHIFT ? 0 : 32 - Math.clz32(n - 1) - SMALLEST_SHIFT;
    if (size >= KEPT_SIZES) return this.#make(n);
    const pieces = this.#pieces[size]!;
    const at = this.#used[size]!;
    this.#used[size] = at + 1;
    if (at === pieces.length) {
      const array = this.#make(1 << (size + SMALLEST_SHIFT));
      pieces.push({ array, words: new Int32Array(array.buffer) });
      return array;
    }
    const { array, words } = pieces[at]!;
    if (!isCleared) return array;
    // a loop: a call of fill() costs more than most arrays have words
    for (let i = ((n << this.#bytesShift) + 3) >> 2; --i >= 0; ) words[i] = 0;
    return array;
  }
}

/**
 * Arrays for one load, used again by the next: a new array costs more than what is done with most. One has at least as many elements
 * as asked for; those are zero, but where the caller says that it writes them all.
 */
export class Slab {
  readonly #i32 = new Shelf(2, (n) => new Int32Array(n));
  readonly #u32 = new Shelf(2, (n) => new Uint32Array(n));
  readonly #i16 = new Shelf(1, (n) => new Int16Array(n));
  readonly #u16 = new Shelf(1, (n) => new Uint16Array(n));
  readonly #u8 = new Shelf(0, (n) => new Uint8Array(n));
  readonly #f64 = new Shelf(3, (n) => new Float64Array(n));

  /** Takes back everything that was handed out. */
  reset(): void {
    this.#i32.reset();
    this.#u32.reset();
    this.#i16.reset();
    this.#u16.reset();
    this.#u8.reset();
    this.#f64.reset();
  }

  i32(n: number, isCleared = true): Int32Array {
    return this.#i32.take(n, isCleared);
  }

  u32(n: number, isCleared = true): Uint32Array {
    return this.#u32.take(n, isCleared);
  }

  i16(n: number, isCleared = true): Int16Array {
    return this.#i16.take(n, isCleared);
  }

  u16(n: number, isCleared = true): Uint16Array {
    return this.#u16.take(n, isCleared);
  }

  u8(n: number, isCleared = true): Uint8Array {
    return this.#u8.take(n, isCleared);
  }

  f64(n: number, isCleared = true): Float64Array {
    return this.#f64.take(n, isCleared);
  }
}

/** What one load works in. */
export interface Workspace {
  readonly pool: StatePool;
  readonly slab: Slab;
  /** Notes about instructions, by room. */
  readonly notes: InsnAux[];
  readonly explored: ExploredStates;
}

let idle: Workspace | undefined;

/** The idle workspace, or a new one: a hook may load a program while another is being loaded. */
export function takeWorkspace(): Workspace {
  const workspace = idle ?? { pool: new StatePool(), slab: new Slab(), notes: [], explored: new ExploredStates() };
  idle = undefined;
  return workspace;
}

/** Ends a load's use of its workspace. */
export function leaveWorkspace(workspace: Workspace): void {
  workspace.pool.reset(KEPT_STATES);
  workspace.slab.reset();
  idle = workspace;
}
