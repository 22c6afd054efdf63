/**
 * @module vm/user-pages
 * Which pages user space may touch: how often each is mapped, and how often writably. Owns the counts; not the memory.
 */
import { InternalError } from '../isa/errors.ts';
import { enlarged } from './enlarged.ts';

/** Bytes of one page, the unit of user mappings. */
export const PAGE_SIZE: number = 4096;

export class UserPages {
  #read: Uint16Array;
  #write: Uint16Array;
  #mapped: number = 0;

  constructor(pages: number) {
    this.#read = new Uint16Array(pages);
    this.#write = new Uint16Array(pages);
  }

  /** Pages that user space may read, counted once for each mapping. */
  get mapped(): number {
    return this.#mapped;
  }

  /** Ends all mappings. */
  clear(): void {
    this.#read.fill(0);
    this.#write.fill(0);
    this.#mapped = 0;
  }

  grow(pages: number): void {
    this.#read = enlarged(this.#read, pages);
    this.#write = enlarged(this.#write, pages);
  }

  /** One mapping more (`by` 1) or less (-1) of the pages of a range that begins with one. */
  count(offset: number, size: number, writable: boolean, by: number): void {
    const [first, end] = pageRange(offset, size);
    if (offset % PAGE_SIZE !== 0 || end > this.#read.length) throw new InternalError(`user mapping of ${size} bytes at ${offset}`);
    for (let page = first; page < end; page++) {
      if (by < 0 && this.#read[page] === 0) throw new InternalError(`unmap of page ${page}, which is not mapped`);
      this.#read[page]! += by;
      if (writable) this.#write[page]! += by;
    }
    this.#mapped += by * (end - first);
  }

  /** How many bytes from `start` on may be accessed, up to `end`, which is in the memory. */
  reach(start: number, end: number, write: boolean): number {
    const counts = write ? this.#write : this.#read;
    let at = start;
    while (at < end && counts[Math.floor(at / PAGE_SIZE)]! > 0) at = (Math.floor(at / PAGE_SIZE) + 1) * PAGE_SIZE;
    return Math.max(0, Math.min(at, end) - start);
  }
}

function pageRange(offset: number, size: number): readonly [first: number, end: number] {
  const first = Math.floor(offset / PAGE_SIZE);
  return [first, first + Math.max(1, Math.ceil(size / PAGE_SIZE))];
}
