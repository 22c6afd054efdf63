/**
 * @module src/fuzz/targets/kernels
 * A new kernel for every run without a new memory for every run: making 4 MiB of WebAssembly memory costs more than most runs.
 */
import type { Kernel } from '../../../kernel/kernel.ts';
import { KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_KEYRING, KEY_SPEC_USER_SESSION_KEYRING } from '../../../kernel/keys/keyrings.ts';
import { AddressSpace } from '../../../vm/address-space.ts';

/** Keyrings that come with the first question for them and stay with the process and its user: there from the start, they are no leak. */
export function makeKeyrings(kernel: Kernel): void {
  for (const keyring of [KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_KEYRING, KEY_SPEC_USER_SESSION_KEYRING]) kernel.keyrings.getKeyringID(keyring, true);
}

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
