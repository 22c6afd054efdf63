/**
 * @module vm/address-space
 * Owns the one linear memory of a kernel instance: which bytes are allocated, by whom, and which pages user space may touch.
 * Does not own what the bytes mean, nor the program's right to touch them (the verifier proves that; checked mode tests it).
 *
 * A kernel address is `0xffff8880_00000000 + offset` (Linux's direct map on x86-64, Documentation/arch/x86/x86_64/mm.rst), a
 * user address is `0x00007f00_00000000 + offset`: the low 32 bits of both are the byte offset into the memory, so an engine
 * translates an address by dropping its upper half.
 *
 * Allocator: objects up to 8 KiB come from 64 KiB slabs of one size class, larger ones from runs of 4 KiB pages kept in
 * two-level segregated free lists with coalescing; both are O(1). Every object is followed by at least {@link GUARD} bytes that
 * belong to nobody, so that an overrun is seen in checked mode.
 */
import { InternalError } from '../isa/errors.ts';
import { enlarged } from './enlarged.ts';
import { EngineMemory } from './engine-memory.ts';
import { PageRuns } from './page-runs.ts';
import { newMemory, WASM_PAGE, type LinearMemory } from './plain-memory.ts';
import { PAGE_SIZE, UserPages } from './user-pages.ts';

export { PAGE_SIZE };

/** Upper 32 bits of every kernel address, as an int32. */
export const KERNEL_HI: number = 0xffff8880 | 0;
/** Upper 32 bits of every user address. */
export const USER_HI: number = 0x7f00;
/** First user address as a JS number (exact: below 2^53). `USER_BASE + offset` is the address of a byte. */
export const USER_BASE: number = 0x7f0000000000;
/** Bytes without owner behind every allocation, at the least. */
export const GUARD: number = 16;
/** Offsets stay below 2^31: they are non-negative as int32. */
export const MAX_MEMORY: number = 0x8000_0000;

/** Pages in front of every allocation: a null pointer plus an offset faults. Behind them lies what engines keep for themselves. */
const NULL_PAGES = 4;
const RESERVED_PAGES = 16;
/** First offset that a kernel address may have. */
export const LOWEST: number = RESERVED_PAGES * PAGE_SIZE;
const SLAB_PAGES = 16;
const SLAB_BYTES = SLAB_PAGES * PAGE_SIZE;
const SMALL_LIMIT = 8192 - GUARD;
/** Slot sizes of the slabs, guard included. */
const CLASSES: readonly number[] = [
  32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 4096,
  5120, 6144, 8192,
];
/** Slabs of a class whose tables are kept for the next ones. */
const MOST_SPARE_SLABS = 2;

/** Thrown by {@link AddressSpace.alloc} where the memory may not grow any further. A system call turns it into `-ENOMEM`. */
export class OutOfMemoryError extends Error {
  /** Bytes that were asked for. */
  readonly size: number;
  readonly label: string;

  constructor(size: number, label: string) {
    super(`out of memory: ${size} bytes for ${label}`);
    this.name = 'OutOfMemoryError';
    this.size = size;
    this.label = label;
  }
}

/** One live allocation. */
export interface Allocation {
  readonly offset: number;
  /** Bytes, as asked for. */
  readonly size: number;
  readonly label: string;
}

/** Totals of a space. Bytes. */
export interface SpaceStats {
  readonly liveAllocations: number;
  /** Sum of the sizes asked for. */
  readonly liveBytes: number;
  /** Size of the memory now. */
  readonly memoryBytes: number;
  /** Pages that user space may read, counted once for each mapping. */
  readonly userPages: number;
}

export interface AddressSpaceOptions {
  /** First size of the memory in bytes; default 4 MiB. */
  readonly initialBytes?: number;
  /** Limit in bytes, at most {@link MAX_MEMORY} (the default). */
  readonly maxBytes?: number;
}

/** A run of pages with an owner: a slab of equal slots, or one large object (a single slot). */
interface Span {
  firstPage: number;
  readonly pages: number;
  /** Index into CLASSES, -1 for a large object. */
  readonly sizeClass: number;
  readonly slotBytes: number;
  /** Requested size by slot, -1 where the slot is free. */
  readonly sizes: Int32Array;
  readonly labels: string[];
  /** Next free slot by slot; -1 ends the list. Of slots that were used before. */
  readonly nextFree: Int32Array;
  freeHead: number;
  /** Slots from here on were never used. */
  freshSlot: number;
  used: number;
  /** Position in the class's list of slabs with free slots, -1 if it is full. */
  partialIndex: number;
  /** True for private memory of user space: programs have no kernel address for it. */
  readonly user: boolean;
}

const NO_LINKS = new Int32Array(0);

/**
 * The memory of one kernel instance.
 *
 * The views {@link u8}, {@link i32} and {@link view} are replaced whenever the memory grows, and an old view is then detached (its length
 * is 0) or shows what was there before: re-read them from the space after every call that may allocate, never keep them across one.
 *
 * @example
 * const space = new AddressSpace();
 * const at = space.alloc(64, 'map values');
 * space.i32[at >> 2] = 7;
 * // the kernel address of that word is (hi KERNEL_HI, lo at)
 * space.free(at);
 */
export class AddressSpace {
  /** A `WebAssembly.Memory` where the platform has WebAssembly. */
  readonly memory: LinearMemory;
  u8: Uint8Array;
  i32: Int32Array;
  view: DataView;
  /** Goes up with every growth: compare it to learn whether kept views are stale. */
  generation: number = 0;

  readonly #maxPages: number;
  #pages: number;
  /** Pages from here on have never been written: they are zero. */
  #freshPage: number;
  /** 1 + span index by page, 0 for a free page. */
  #owner: Int32Array;
  readonly #free: PageRuns;
  readonly #user: UserPages;
  readonly #spans: (Span | undefined)[] = [];
  readonly #freeSpans: number[] = [];
  readonly #growing: Set<() => void> = new Set();
  readonly #engines: EngineMemory = new EngineMemory(NULL_PAGES * PAGE_SIZE, LOWEST);
  readonly #partial: Span[][] = CLASSES.map(() => []);
  /** Slabs that ended, by class: their tables serve the next ones. */
  readonly #spareSlabs: Span[][] = CLASSES.map(() => []);
  #liveAllocations: number = 0;
  #liveBytes: number = 0;

  constructor(options: AddressSpaceOptions = {}) {
    const maxBytes = Math.min(options.maxBytes ?? MAX_MEMORY, MAX_MEMORY);
    const maximum = Math.max(2, Math.floor(maxBytes / WASM_PAGE));
    const initial = Math.min(maximum, Math.max(2, Math.ceil((options.initialBytes ?? 4 << 20) / WASM_PAGE)));
    this.memory = newMemory(initial, maximum);
    this.#maxPages = maximum * (WASM_PAGE / PAGE_SIZE);
    this.#pages = initial * (WASM_PAGE / PAGE_SIZE);
    this.u8 = new Uint8Array(this.memory.buffer);
    this.i32 = new Int32Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    this.#owner = new Int32Array(this.#pages);
    this.#free = new PageRuns(this.#pages);
    this.#user = new UserPages(this.#pages);
    this.#owner.fill(-1, 0, RESERVED_PAGES);
    this.#freshPage = RESERVED_PAGES;
    this.#free.give(RESERVED_PAGES, this.#pages - RESERVED_PAGES, this.#owner);
  }

  /**
   * As it was when it was made, in the memory that there is by now: all allocations and mappings are gone, all bytes zero. For whoever runs
   * many short kernels; a memory that has grown stays so, and then places allocations differently.
   */
  reset(): void {
    this.#clear();
    this.#engines.clear();
    for (const span of this.#spans) if (span !== undefined && span.sizeClass >= 0) this.#keepSlab(span);
    this.#owner.fill(0, RESERVED_PAGES, this.#freshPage);
    this.#user.clear();
    this.#free.clear();
    this.#spans.length = 0;
    this.#freeSpans.length = 0;
    for (const partial of this.#partial) partial.length = 0;
    this.#liveAllocations = 0;
    this.#liveBytes = 0;
    this.#freshPage = RESERVED_PAGES;
    this.#free.give(RESERVED_PAGES, this.#pages - RESERVED_PAGES, this.#owner);
  }

  /** Zeroes what was ever given out: of a slab, the slots up to the last one that was used. */
  #clear(): void {
    let from = RESERVED_PAGES;
    const clearTo = (page: number): void => {
      if (from < page) this.u8.fill(0, from * PAGE_SIZE, page * PAGE_SIZE);
    };
    for (let page = from; page < this.#freshPage;) {
      const owner = this.#owner[page]!;
      const span = owner > 0 ? this.#spans[owner - 1]! : undefined;
      const next = span === undefined ? page + 1 : page + span.pages;
      if (span !== undefined && span.sizeClass >= 0) {
        clearTo(page);
        this.u8.fill(0, page * PAGE_SIZE, page * PAGE_SIZE + span.freshSlot * span.slotBytes);
        from = next;
      }
      page = next;
    }
    clearTo(this.#freshPage);
  }

  /** Size of the memory now, in bytes. */
  get byteLength(): number {
    return this.#pages * PAGE_SIZE;
  }

  get stats(): SpaceStats {
    return {
      liveAllocations: this.#liveAllocations,
      liveBytes: this.#liveBytes,
      memoryBytes: this.byteLength,
      userPages: this.#user.mapped,
    };
  }

  /**
   * Allocates `size` zero bytes and gives their offset, never 0.
   *
   * @param size bytes; 0 gives a valid offset that no access may touch
   * @param align a power of two up to {@link PAGE_SIZE}
   * @throws OutOfMemoryError
   */
  alloc(size: number, label: string, align: number = 16): number {
    const offset = this.tryAlloc(size, label, align);
    if (offset === 0) throw new OutOfMemoryError(size, label);
    return offset;
  }

  /** As {@link alloc}, but gives 0 where there is no memory. */
  tryAlloc(size: number, label: string, align: number = 16): number {
    if (!(size >= 0) || size !== Math.floor(size)) throw new InternalError(`allocation of ${size} bytes for ${label}`);
    if (align > PAGE_SIZE || align < 1 || (align & (align - 1)) !== 0) throw new InternalError(`alignment ${align} for ${label}`);
    if (size > MAX_MEMORY) return 0;
    if (size <= SMALL_LIMIT) {
      const sizeClass = classFor(size + GUARD, align);
      if (sizeClass >= 0) return this.#allocSlot(sizeClass, size, label);
    }
    return this.#allocLarge(size, Math.ceil((size + GUARD) / PAGE_SIZE), label, false);
  }

  /** Ends an allocation. `offset` must be one that {@link alloc} gave and that is live. */
  free(offset: number): void {
    const index = this.#spanIndex(offset);
    const span = index < 0 ? undefined : this.#spans[index];
    const slot = span === undefined ? -1 : slotOf(span, offset);
    if (span === undefined || slot < 0 || span.sizes[slot]! < 0 || span.firstPage * PAGE_SIZE + slot * span.slotBytes !== offset) {
      throw new InternalError(`free of offset ${offset}, which is not a live allocation`);
    }
    this.#liveAllocations--;
    this.#liveBytes -= span.sizes[slot]!;
    span.sizes[slot] = -1;
    span.labels[slot] = '';
    span.used--;
    if (span.sizeClass < 0) {
      this.#releaseSpan(index, span);
      return;
    }
    span.nextFree[slot] = span.freeHead;
    span.freeHead = slot;
    const partial = this.#partial[span.sizeClass]!;
    if (span.partialIndex < 0) {
      span.partialIndex = partial.length;
      partial.push(span);
    }
    if (span.used === 0 && partial.length > 1) {
      this.#dropPartial(span);
      this.#releaseSpan(index, span);
    }
  }

  /** Calls `listener` after each growth, when the views are those of the memory again. Gives what ends that. */
  onGrowth(listener: () => void): () => void {
    this.#growing.add(listener);
    return () => void this.#growing.delete(listener);
  }

  /**
   * Zero bytes for an engine's own use, at a multiple of 64: no kernel or user address leads there, and they are no allocation that
   * {@link live} names. Only unchecked accesses, which verified programs make to what they were given, would find them.
   *
   * @throws OutOfMemoryError where the few pages for this are taken
   */
  allocHidden(size: number, label: string): number {
    const offset = this.#engines.take(size);
    if (offset === 0) throw new OutOfMemoryError(size, label);
    this.u8.fill(0, offset, offset + size);
    return offset;
  }

  /** Ends what {@link allocHidden} gave. */
  freeHidden(offset: number): void {
    this.#engines.give(offset);
  }

  /** Requested size of the live allocation that contains `offset`, -1 if there is none. */
  sizeAt(offset: number): number {
    const found = this.allocationAt(offset);
    return found === undefined ? -1 : found.size;
  }

  /** The live allocation whose bytes (or whose guard) `offset` falls into. */
  allocationAt(offset: number): Allocation | undefined {
    const index = this.#spanIndex(offset);
    if (index < 0) return undefined;
    const span = this.#spans[index]!;
    const slot = slotOf(span, offset);
    if (slot < 0 || span.sizes[slot]! < 0) return undefined;
    return { offset: span.firstPage * PAGE_SIZE + slot * span.slotBytes, size: span.sizes[slot]!, label: span.labels[slot]! };
  }

  /**
   * Finds the live kernel allocation around `[offset, offset + length)` without allocating: its bounds go to `bounds[0]` (first
   * byte) and `bounds[1]` (byte behind the last). False where the range is not inside one.
   */
  findLive(offset: number, length: number, bounds: Int32Array): boolean {
    const index = this.#spanIndex(offset);
    if (index < 0) return false;
    const span = this.#spans[index]!;
    if (span.user) return false;
    const slot = slotOf(span, offset);
    if (slot < 0) return false;
    const start = span.firstPage * PAGE_SIZE + slot * span.slotBytes;
    const size = span.sizes[slot]!;
    if (size < 0 || offset + length > start + size) return false;
    bounds[0] = start;
    bounds[1] = start + size;
    return true;
  }

  /** The live allocation nearest to `offset` and the distance in bytes: 0 inside, positive behind its end, negative before it. */
  nearest(offset: number): { readonly allocation: Allocation; readonly distance: number } | undefined {
    let best: Allocation | undefined;
    let bestDistance = Infinity;
    const consider = (allocation: Allocation): void => {
      const distance =
        offset < allocation.offset ? offset - allocation.offset : Math.max(0, offset - (allocation.offset + allocation.size) + 1);
      if (Math.abs(distance) < Math.abs(bestDistance)) {
        best = allocation;
        bestDistance = distance;
      }
    };
    const page = Math.floor(offset / PAGE_SIZE);
    // 256 pages either way: an address farther from everything says nothing about a neighbour.
    for (let away = 0; away <= 256 && best === undefined; away++) {
      for (const at of away === 0 ? [page] : [page - away, page + away]) {
        if (at < 0 || at >= this.#pages) continue;
        const owner = this.#owner[at]!;
        if (owner <= 0) continue;
        const span = this.#spans[owner - 1]!;
        for (let slot = 0; slot < span.sizes.length; slot++) {
          if (span.sizes[slot]! < 0) continue;
          consider({ offset: span.firstPage * PAGE_SIZE + slot * span.slotBytes, size: span.sizes[slot]!, label: span.labels[slot]! });
        }
      }
    }
    return best === undefined ? undefined : { allocation: best, distance: bestDistance };
  }

  /** Every live allocation, in order of offset: what a leak test compares. */
  live(): Allocation[] {
    const all: Allocation[] = [];
    for (const span of this.#spans) {
      if (span === undefined) continue;
      for (let slot = 0; slot < span.sizes.length; slot++) {
        if (span.sizes[slot]! < 0) continue;
        all.push({ offset: span.firstPage * PAGE_SIZE + slot * span.slotBytes, size: span.sizes[slot]!, label: span.labels[slot]! });
      }
    }
    return all.sort((a, b) => a.offset - b.offset);
  }

  /** How many allocations there are of each label: {@link live} without its list, for those who ask often. */
  countLive(visit: (label: string, count: number) => void): void {
    const counts = new Map<string, number>();
    for (const span of this.#spans) {
      if (span === undefined || span.used === 0) continue;
      for (let slot = 0; slot < span.freshSlot; slot++) {
        if (span.sizes[slot]! >= 0) counts.set(span.labels[slot]!, (counts.get(span.labels[slot]!) ?? 0) + 1);
      }
    }
    for (const [label, count] of counts) visit(label, count);
  }

  // User space

  /**
   * Private memory of user space: whole pages, zero, with an unmapped page behind them. Gives the offset; the address is
   * `USER_BASE + offset`.
   *
   * @throws OutOfMemoryError
   */
  mapUser(size: number, label: string, writable: boolean): number {
    const pages = Math.max(1, Math.ceil(size / PAGE_SIZE));
    const offset = size > MAX_MEMORY ? 0 : this.#allocLarge(pages * PAGE_SIZE, pages + 1, label, true);
    if (offset === 0) throw new OutOfMemoryError(size, label);
    this.#user.count(offset, pages * PAGE_SIZE, writable, 1);
    return offset;
  }

  /**
   * Lets user space reach kernel memory (an mmap of a map): `USER_BASE + offset` then reads, and writes if `writable`, the same
   * bytes. `offset` is page-aligned; ranges may be mapped many times. The memory must stay allocated until it is unmapped.
   */
  mapUserAlias(offset: number, size: number, writable: boolean): void {
    if (offset % PAGE_SIZE !== 0) throw new InternalError(`user alias of unaligned offset ${offset}`);
    this.#user.count(offset, size, writable, 1);
  }

  /** Ends one {@link mapUser} or {@link mapUserAlias} of this offset, size and writability. Frees the memory of the former. */
  unmapUser(offset: number, size: number, writable: boolean): void {
    this.#user.count(offset, size, writable, -1);
    const index = this.#spanIndex(offset);
    if (index >= 0 && this.#spans[index]!.user) this.free(offset);
  }

  /**
   * How many of `length` bytes from a user address on may be accessed: `length`, or fewer where a page is not mapped (or not writable, if
   * `write`). The byte at the address has the address's lower half for its offset.
   *
   * @param lo lower, hi upper half of the address, int32 or uint32
   */
  userReach(lo: number, hi: number, length: number, write: boolean): number {
    const start = lo >>> 0;
    if (hi !== USER_HI || !(length > 0)) return 0;
    return this.#user.reach(start, Math.min(start + length, this.byteLength), write);
  }

  /**
   * Offset of the kernel range `[address, address + length)`, or -1 where it leaves the memory that kernel addresses lead to. Says nothing
   * about allocations.
   */
  kernelToOffset(lo: number, hi: number, length: number): number {
    const start = lo >>> 0;
    if ((hi | 0) !== KERNEL_HI || !(length >= 0) || start < LOWEST || start + length > this.byteLength) return -1;
    return start;
  }

  // Copies, for callers outside hot loops

  /** A copy of `length` bytes. */
  getBytes(offset: number, length: number): Uint8Array {
    return this.u8.slice(offset, offset + length);
  }

  setBytes(offset: number, bytes: Uint8Array): void {
    this.u8.set(bytes, offset);
  }

  getU32(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  setU32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  /** Writes the kernel address of `target` at `offset`; target 0 writes a null pointer. */
  setPointer(offset: number, target: number): void {
    this.view.setInt32(offset, target, true);
    this.view.setInt32(offset + 4, target === 0 ? 0 : KERNEL_HI, true);
  }

  #spanIndex(offset: number): number {
    const page = Math.floor(offset / PAGE_SIZE);
    if (!(page >= 0 && page < this.#pages)) return -1;
    const owner = this.#owner[page]!;
    return owner > 0 ? owner - 1 : -1;
  }

  #allocSlot(sizeClass: number, size: number, label: string): number {
    const partial = this.#partial[sizeClass]!;
    let span = partial.at(-1);
    if (span === undefined) {
      const page = this.#takeRun(SLAB_PAGES);
      if (page < 0) return 0;
      span = this.#newSlab(page, sizeClass);
      span.partialIndex = 0;
      partial.push(span);
    }
    let slot = span.freeHead;
    if (slot < 0) slot = span.freshSlot++;
    else span.freeHead = span.nextFree[slot]!;
    span.used++;
    span.sizes[slot] = size;
    span.labels[slot] = label;
    if (span.freeHead < 0 && span.freshSlot === span.sizes.length) this.#dropPartial(span);
    this.#liveAllocations++;
    this.#liveBytes += size;
    const offset = span.firstPage * PAGE_SIZE + slot * span.slotBytes;
    this.u8.fill(0, offset, offset + span.slotBytes);
    return offset;
  }

  #newSlab(firstPage: number, sizeClass: number): Span {
    let span = this.#spareSlabs[sizeClass]!.pop();
    if (span === undefined) {
      const slotBytes = CLASSES[sizeClass]!;
      const slots = Math.floor(SLAB_BYTES / slotBytes);
      span = {
        firstPage, pages: SLAB_PAGES, sizeClass, slotBytes, sizes: new Int32Array(slots).fill(-1),
        labels: [], nextFree: new Int32Array(slots), freeHead: -1, freshSlot: 0, used: 0, partialIndex: -1, user: false,
      };
    } else span.firstPage = firstPage;
    this.#adoptSpan(span);
    this.#freshPage = Math.max(this.#freshPage, firstPage + SLAB_PAGES);
    return span;
  }

  /** Keeps the tables of a slab that ended, as they are in a new one. */
  #keepSlab(span: Span): void {
    const spare = this.#spareSlabs[span.sizeClass]!;
    if (spare.length >= MOST_SPARE_SLABS) return;
    span.sizes.fill(-1, 0, span.freshSlot);
    span.freeHead = -1;
    span.freshSlot = 0;
    span.used = 0;
    span.partialIndex = -1;
    spare.push(span);
  }

  #allocLarge(size: number, pages: number, label: string, user: boolean): number {
    const page = this.#takeRun(pages);
    if (page < 0) return 0;
    const span: Span = {
      firstPage: page, pages, sizeClass: -1, slotBytes: pages * PAGE_SIZE, sizes: Int32Array.of(size), labels: [label], nextFree: NO_LINKS,
      freeHead: -1, freshSlot: 1, used: 1, partialIndex: -1, user,
    };
    this.#adoptSpan(span);
    this.#liveAllocations++;
    this.#liveBytes += size;
    const start = page * PAGE_SIZE;
    if (page < this.#freshPage) this.u8.fill(0, start, Math.min(page + pages, this.#freshPage) * PAGE_SIZE);
    this.#freshPage = Math.max(this.#freshPage, page + pages);
    return start;
  }

  #adoptSpan(span: Span): void {
    const index = this.#freeSpans.pop() ?? this.#spans.length;
    this.#spans[index] = span;
    this.#owner.fill(index + 1, span.firstPage, span.firstPage + span.pages);
  }

  #releaseSpan(index: number, span: Span): void {
    this.#spans[index] = undefined;
    this.#freeSpans.push(index);
    this.#owner.fill(0, span.firstPage, span.firstPage + span.pages);
    this.#free.give(span.firstPage, span.pages, this.#owner);
    if (span.sizeClass >= 0) this.#keepSlab(span);
  }

  #dropPartial(span: Span): void {
    const partial = this.#partial[span.sizeClass]!;
    const last = partial.pop()!;
    if (last !== span) {
      partial[span.partialIndex] = last;
      last.partialIndex = span.partialIndex;
    }
    span.partialIndex = -1;
  }

  // Runs of free pages

  /** First page of `pages` pages, which are not free any more; -1 where memory is exhausted. */
  #takeRun(pages: number): number {
    const page = this.#free.take(pages);
    if (page >= 0 || !this.#grow(pages)) return page;
    const grown = this.#free.take(pages);
    if (grown < 0) throw new InternalError(`no run of ${pages} pages after growth`);
    return grown;
  }

  #grow(pages: number): boolean {
    const unit = WASM_PAGE / PAGE_SIZE;
    // The search wants a run from the next bin up, at most 1/8 larger than asked for, unless the exact bin has one.
    const wanted = Math.max(pages + unit, Math.floor(this.#pages / 4));
    const room = this.#maxPages - this.#pages;
    const least = pages;
    const by = Math.min(room, Math.ceil(wanted / unit) * unit);
    if (by < least) return false;
    try {
      this.memory.grow(by / unit);
    } catch {
      return false;
    }
    const old = this.#pages;
    this.#pages += by;
    this.u8 = new Uint8Array(this.memory.buffer);
    this.i32 = new Int32Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    this.generation++;
    this.#owner = enlarged(this.#owner, this.#pages);
    this.#free.grow(this.#pages);
    this.#user.grow(this.#pages);
    this.#free.give(old, by, this.#owner);
    for (const listener of this.#growing) listener();
    return true;
  }
}

function slotOf(span: Span, offset: number): number {
  const slot = Math.floor((offset - span.firstPage * PAGE_SIZE) / span.slotBytes);
  return slot < span.sizes.length ? slot : -1;
}

function classFor(bytes: number, align: number): number {
  let low = 0;
  let high = CLASSES.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (CLASSES[middle]! < bytes) low = middle + 1;
    else high = middle;
  }
  if (align > 16) while (low < CLASSES.length && CLASSES[low]! % align !== 0) low++;
  return low < CLASSES.length && CLASSES[low]! >= bytes ? low : -1;
}
