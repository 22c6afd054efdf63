/**
 * @module btf/string-set
 * A string section under construction: NUL-terminated strings, each different one once, in the order in which they came. Reproduces
 * `tools/lib/bpf/strset.c`. Strings are byte strings, one character a byte (latin-1), so that names of any bytes survive unchanged.
 */
import { latin1 } from '../isa/latin1.ts';

/** One character a byte, up to the NUL at or after `offset`; `undefined` where there is none. */
export function byteStringAt(bytes: Uint8Array, offset: number): string | undefined {
  const end = offset < bytes.length ? bytes.indexOf(0, offset) : -1;
  if (end < 0) return undefined;
  return latin1(bytes.subarray(offset, end));
}

/** Text as a byte string: one character for each byte of its UTF-8. */
export function toByteString(text: string): string {
  // oxlint-disable-next-line no-control-regex
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/**
 * Strings that offsets stand for.
 *
 * @example
 * const strings = new StringSet();
 * strings.add('int'); // 1, also the second time
 * strings.at(1); // 'int'
 */
export class StringSet {
  #bytes: Uint8Array;
  #length: number;
  /** What the set began with, as one text: thousands of strings are cut out of it. */
  readonly #initial: string;
  /** Built when something is first added or looked for. */
  #offsets: Map<string, number> | undefined;

  /** Begins with these strings, or with the empty one. */
  constructor(initial: Uint8Array = new Uint8Array(1)) {
    this.#bytes = initial.slice();
    this.#length = initial.length;
    this.#initial = latin1(initial);
  }

  get length(): number {
    return this.#length;
  }

  /** The string at an offset, `undefined` where the offset lies outside. */
  at(offset: number): string | undefined {
    const end = this.#initial.indexOf('\0', offset);
    if (end < offset) return byteStringAt(this.bytes(), offset);
    return this.#initial.slice(offset, end);
  }

  /** Offset of a byte string, which is added where it is not there yet as a whole. */
  add(text: string): number {
    this.#offsets ??= this.#index();
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const offset = this.#length;
    this.#reserve(offset + text.length + 1);
    for (let i = 0; i < text.length; i++) this.#bytes[offset + i] = text.charCodeAt(i);
    this.#length += text.length + 1;
    this.#offsets.set(text, offset);
    return offset;
  }

  /** The section's bytes. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(length: number): void {
    if (length <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(4096, 2 ** Math.ceil(Math.log2(length))));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  #index(): Map<string, number> {
    const index = new Map<string, number>();
    let at = 0;
    for (const text of this.#initial.split('\0')) {
      // Behind the last NUL there is no string.
      if (at < this.#initial.length && !index.has(text)) index.set(text, at);
      at += text.length + 1;
    }
    return index;
  }
}
