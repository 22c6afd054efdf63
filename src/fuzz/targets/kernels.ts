/**
 * @module src/fuzz/targets/kernels
 * A new kernel for every run without a new memory for every run: making 4 MiB of WebAssembly memory costs more than most runs.
 */
import { AddressSpace } from '../../../vm/address-space.ts';

/** Gives the same space again and again, as new each time. */
export class SpareSpace {
  readonly #maxBytes: number;
  #space: AddressSpace | undefined;
  #initialBytes = 0;

  /** @param maxBytes limit of a kernel's memory */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** A space with nothing in it; whoever had it before is done. */
  take(): AddressSpace {
    // A memory that has grown would place things elsewhere than a new one does.
    if (this.#space === undefined || this.#space.byteLength !== this.#initialBytes) {
      this.#space = new AddressSpace({ maxBytes: this.#maxBytes });
      this.#initialBytes = this.#space.byteLength;
    } else this.#space.reset();
    return this.#space;
  }
}
