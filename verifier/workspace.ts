/**
 * @module verifier/workspace
 * Memory that a load works in and leaves behind clean enough for the next one: the pool of states and a slab that short-lived arrays are cut
 * from. Making both anew costs several times what checking a program of a few instructions does. Owns their reuse; nothing of a verdict
 * may live here.
 */
import { StatePool } from './state.ts';

const SLAB_BYTES: number = 1 << 19;
/** Space for a program much larger than most is given back. */
const KEPT_STATES = 1024;

/** Zeroed arrays out of one buffer, until it is used up: then out of buffers of their own. */
export class Slab {
  readonly #buffer: ArrayBuffer;
  readonly #bytes: Uint8Array;
  #used = 0;

  constructor(bytes: number = SLAB_BYTES) {
    this.#buffer = new ArrayBuffer(bytes);
    this.#bytes = new Uint8Array(this.#buffer);
  }

  reset(): void {
    this.#used = 0;
  }

  /** Offset of `size` zero bytes, -1 where the buffer is used up. */
  #take(size: number): number {
    const at = this.#used;
    const end = (at + size + 7) & ~7;
    if (end < 0 || end > this.#bytes.length) return -1;
    this.#used = end;
    this.#bytes.fill(0, at, end);
    return at;
  }

  i32(n: number): Int32Array {
    const at = this.#take(n * 4);
    return at < 0 ? new Int32Array(n) : new Int32Array(this.#buffer, at, n);
  }

  u32(n: number): Uint32Array {
    const at = this.#take(n * 4);
    return at < 0 ? new Uint32Array(n) : new Uint32Array(this.#buffer, at, n);
  }

  i16(n: number): Int16Array {
    const at = this.#take(n * 2);
    return at < 0 ? new Int16Array(n) : new Int16Array(this.#buffer, at, n);
  }

  u16(n: number): Uint16Array {
    const at = this.#take(n * 2);
    return at < 0 ? new Uint16Array(n) : new Uint16Array(this.#buffer, at, n);
  }

  u8(n: number): Uint8Array {
    const at = this.#take(n);
    return at < 0 ? new Uint8Array(n) : new Uint8Array(this.#buffer, at, n);
  }

  f64(n: number): Float64Array {
    const at = this.#take(n * 8);
    return at < 0 ? new Float64Array(n) : new Float64Array(this.#buffer, at, n);
  }
}

/** What one load works in. */
export interface Workspace {
  readonly pool: StatePool;
  readonly slab: Slab;
}

let idle: Workspace | undefined;

/** The idle workspace, or a new one: a hook may load a program while another is being loaded. */
export function takeWorkspace(): Workspace {
  const workspace = idle ?? { pool: new StatePool(), slab: new Slab() };
  idle = undefined;
  return workspace;
}

/** Ends a load's use of its workspace. */
export function leaveWorkspace(workspace: Workspace): void {
  workspace.pool.reset(KEPT_STATES);
  workspace.slab.reset();
  idle = workspace;
}
