/**
 * @module kernel/maps/hash-index
 * An index of a hash map in linear memory, by which compiled programs find elements without leaving their module
 * (`helpers/in-module.ts`). Owns the words behind `struct bpf_htab`, the table of chain heads and the link in each element's header; which
 * elements there are, and in which order, is the map's own business. Nothing of the kernel's lookups depends on it: what a hostile
 * program writes into it misleads programs alone.
 */
import type { KernelMemory } from '../memory.ts';

/** `struct bpf_htab` of Linux 7.3.4, and behind it what the index keeps. */
export const HASH_LAYOUT = {
  /** Pointer to the chain heads, 4 bytes each: the offset of the first element, 0 for none. */
  heads: 1152,
  /** Number of heads less one. */
  mask: 1160,
  seed: 1164,
  /** Bytes from an element to its value. */
  valueOffset: 1168,
  /** {@link HASH_LRU}, {@link HASH_PER_CPU}. */
  kind: 1172,
  /** Bytes of one CPU's copy of a value. */
  copySize: 1176,
  /** The one head of a small map. */
  ownHead: 1180,
} as const;
export const HASH_SIZE = 1184;
/** A lookup marks the element as used. */
export const HASH_LRU = 1;
/** The element has a pointer to the copies of the value. */
export const HASH_PER_CPU = 2;
/** In an element: offset of the next one of its chain, 0 at the end. */
export const ELEMENT_NEXT = 0;
const ELEMENT_HASH = 40;
/** Heads of the first table; it doubles whenever there are more elements than heads. */
const FIRST_HEADS = 16;

export class HashIndex {
  private readonly memory: KernelMemory;
  private readonly map: number;
  private readonly chains: () => Iterable<readonly number[]>;
  /** Offset of the heads, and of their allocation (0: the one in the map). */
  private heads: number;
  private block = 0;
  private mask = 0;

  /** @param chains all elements of the map, to build the index anew from */
  constructor(memory: KernelMemory, map: number, seed: number, valueOffset: number, chains: () => Iterable<readonly number[]>) {
    this.memory = memory;
    this.map = map;
    this.chains = chains;
    this.heads = map + HASH_LAYOUT.ownHead;
    memory.view.setUint32(map + HASH_LAYOUT.seed, seed, true);
    memory.view.setUint32(map + HASH_LAYOUT.valueOffset, valueOffset, true);
    memory.space.setPointer(map + HASH_LAYOUT.heads, this.heads);
  }

  setKind(kind: number, copySize: number): void {
    this.memory.view.setUint32(this.map + HASH_LAYOUT.kind, kind, true);
    this.memory.view.setUint32(this.map + HASH_LAYOUT.copySize, copySize, true);
  }

  /** Adds an element that the map has just linked; it has `count` now. */
  insert(element: number, hash: number, count: number): void {
    if (count > this.mask + 1 && this.grow(Math.max(FIRST_HEADS, 2 * (this.mask + 1)))) this.rebuild();
    else this.push(element, hash);
  }

  /** Takes an element out that the map has just unlinked; it has `count` now. */
  remove(element: number, hash: number, count: number): void {
    const { view } = this.memory;
    const limit = view.byteLength - 4;
    let link = this.headOf(hash);
    for (let steps = 0; steps <= count && link <= limit; steps++) {
      const at = view.getUint32(link, true);
      if (at === element) {
        view.setUint32(link, view.getUint32(element + ELEMENT_NEXT, true), true);
        return;
      }
      if (at === 0) break;
      link = at + ELEMENT_NEXT;
    }
    // Somebody else has written to the chain.
    this.rebuild();
  }

  free(): void {
    if (this.block !== 0) this.memory.space.free(this.block);
    this.block = 0;
  }

  private headOf(hash: number): number {
    return this.heads + 4 * ((hash & this.mask) >>> 0);
  }

  private push(element: number, hash: number): void {
    const { view } = this.memory;
    const head = this.headOf(hash);
    view.setUint32(element + ELEMENT_NEXT, view.getUint32(head, true), true);
    view.setUint32(head, element, true);
  }

  /** A larger table; without memory for it the chains become longer. */
  private grow(heads: number): boolean {
    const block = this.memory.space.tryAlloc(4 * heads, 'hash index');
    if (block === 0) return false;
    this.free();
    this.block = block;
    this.heads = block;
    this.mask = heads - 1;
    this.memory.view.setUint32(this.map + HASH_LAYOUT.mask, this.mask, true);
    this.memory.space.setPointer(this.map + HASH_LAYOUT.heads, block);
    return true;
  }

  private rebuild(): void {
    const { view, u8 } = this.memory;
    u8.fill(0, this.heads, this.heads + 4 * (this.mask + 1));
    for (const chain of this.chains()) for (const element of chain) this.push(element, view.getUint32(element + ELEMENT_HASH, true));
  }
}
