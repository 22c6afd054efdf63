/**
 * @module vm/plain-memory
 * A linear memory where there is no WebAssembly: a platform may leave it out (`node --jitless`, hardened browsers). Programs are then
 * interpreted. Owns nothing but the bytes.
 */

/** Bytes of one page of a linear memory. */
export const WASM_PAGE = 65536;

/** What the address space needs of a memory: of a `WebAssembly.Memory` too. */
export interface LinearMemory {
  readonly buffer: ArrayBuffer;
  /** Adds pages: `buffer` is another one then. Gives how many there were. */
  grow(pages: number): number;
}

class PlainMemory implements LinearMemory {
  buffer: ArrayBuffer;
  readonly #maximum: number;

  constructor(initial: number, maximum: number) {
    this.buffer = new ArrayBuffer(initial * WASM_PAGE);
    this.#maximum = maximum;
  }

  grow(pages: number): number {
    const before = this.buffer.byteLength / WASM_PAGE;
    if (before + pages > this.#maximum) throw new RangeError(`${before + pages} pages of at most ${this.#maximum}`);
    const larger = new ArrayBuffer((before + pages) * WASM_PAGE);
    new Uint8Array(larger).set(new Uint8Array(this.buffer));
    this.buffer = larger;
    return before;
  }
}

/** Why nothing is compiled. */
export const NO_WEBASSEMBLY = 'the platform has no WebAssembly';

export function hasWebAssembly(): boolean {
  return typeof WebAssembly !== 'undefined';
}

/** A memory of `initial` pages of {@link WASM_PAGE} bytes, all zero, of which there may be `maximum`. */
export function newMemory(initial: number, maximum: number): LinearMemory {
  return hasWebAssembly() ? new WebAssembly.Memory({ initial, maximum }) : new PlainMemory(initial, maximum);
}
