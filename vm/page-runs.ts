/**
 * @module vm/page-runs
 * Runs of free pages in two-level segregated lists: by the power of two of their length, then by eighths of it. Finding, taking and
 * joining are O(1). Owns which pages are free; not what the others are.
 */
import { enlarged } from './enlarged.ts';

const SECOND_LEVEL = 8;

export class PageRuns {
  #pages: number;
  /** Length of a free run, kept at its first and its last page. */
  #length: Int32Array;
  #next: Int32Array;
  /** The run in front in the list, or -1 - bin. */
  #previous: Int32Array;
  readonly #bins: Int32Array = new Int32Array(32 * SECOND_LEVEL).fill(-1);
  readonly #binBits: Uint8Array = new Uint8Array(32);
  #levelBits: number = 0;

  /** Of `pages` pages, of which none is free yet. */
  constructor(pages: number) {
    this.#pages = pages;
    this.#length = new Int32Array(pages);
    this.#next = new Int32Array(pages);
    this.#previous = new Int32Array(pages);
  }

  /** No page is free any more. What is left of runs is read nowhere: lengths and neighbours are looked up at runs that are in the lists. */
  clear(): void {
    this.#bins.fill(-1);
    this.#binBits.fill(0);
    this.#levelBits = 0;
  }

  /** There are more pages, none of them free yet. */
  grow(pages: number): void {
    this.#pages = pages;
    this.#length = enlarged(this.#length, pages);
    this.#next = enlarged(this.#next, pages);
    this.#previous = enlarged(this.#previous, pages);
  }

  /** First page of `pages` pages in a row, which are not free any more; -1 where there are none. */
  take(pages: number): number {
    const page = this.#find(pages);
    if (page < 0) return -1;
    this.#remove(page);
    const length = this.#length[page]!;
    if (length > pages) this.#insert(page + pages, length - pages);
    return page;
  }

  /**
   * Pages become free, and one run with their free neighbours.
   *
   * @param owner 0 for each page that is free, the given ones included
   */
  give(page: number, length: number, owner: Int32Array): void {
    let first = page;
    let total = length;
    if (owner[page - 1] === 0) {
      const before = this.#length[page - 1]!;
      this.#remove(page - before);
      first -= before;
      total += before;
    }
    const after = page + length;
    if (after < this.#pages && owner[after] === 0) {
      total += this.#length[after]!;
      this.#remove(after);
    }
    this.#insert(first, total);
  }

  #insert(page: number, length: number): void {
    this.#length[page] = length;
    this.#length[page + length - 1] = length;
    const bin = binOf(length);
    const head = this.#bins[bin]!;
    this.#next[page] = head;
    this.#previous[page] = -1 - bin;
    if (head >= 0) this.#previous[head] = page;
    this.#bins[bin] = page;
    this.#binBits[bin >> 3]! |= 1 << (bin & 7);
    this.#levelBits |= 1 << (bin >> 3);
  }

  #remove(page: number): void {
    const next = this.#next[page]!;
    const previous = this.#previous[page]!;
    if (next >= 0) this.#previous[next] = previous;
    if (previous >= 0) {
      this.#next[previous] = next;
      return;
    }
    const bin = -1 - previous;
    this.#bins[bin] = next;
    if (next >= 0) return;
    this.#binBits[bin >> 3]! &= ~(1 << (bin & 7));
    if (this.#binBits[bin >> 3] === 0) this.#levelBits &= ~(1 << (bin >> 3));
  }

  #find(pages: number): number {
    // First a look through the bin the size itself falls into (short, and it keeps the memory dense), then any larger bin.
    let bin = binOf(pages);
    let tries = 8;
    for (let page = this.#bins[bin]!; page >= 0 && tries > 0; page = this.#next[page]!, tries--) {
      if (this.#length[page]! >= pages) return page;
    }
    bin++;
    let level = bin >> 3;
    if (level > 31) return -1;
    let bits = this.#binBits[level]! & (0xff << (bin & 7));
    if (bits === 0) {
      const levels = level === 31 ? 0 : this.#levelBits & (-1 << (level + 1));
      if (levels === 0) return -1;
      level = 31 - Math.clz32(levels & -levels);
      bits = this.#binBits[level]!;
    }
    return this.#bins[level * SECOND_LEVEL + (31 - Math.clz32(bits & -bits))]!;
  }
}

/** Bin of the free lists for a run of `length` pages: the power of two, then eighths of it. */
function binOf(length: number): number {
  const level = 31 - Math.clz32(length);
  const eighth = level >= 3 ? (length >>> (level - 3)) & 7 : (length << (3 - level)) & 7;
  return level * SECOND_LEVEL + eighth;
}
