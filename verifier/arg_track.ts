/**
 * @module verifier/arg_track
 * Where a value that came from a frame pointer may point: a lattice for the stack analysis of `live_stack.ts`. Owns the
 * values, their join and their text. Reproduces `struct arg_track` of `kernel/bpf/liveness.c`.
 *
 * Tracks are numbered: equal tracks have the same number, so that states are arrays of numbers and comparing is one
 * comparison. A track is a frame with up to four byte offsets, a frame with unknown offset, or a set of frames.
 */

import type { Slab } from './workspace.ts';

/** Not reached yet. */
export const UNVISITED = 0;
/** Not derived from a frame pointer. */
export const NONE = 1;

const FRAME_NONE = -1, FRAME_UNVISITED = -2, FRAME_IMPRECISE = -3;
const MAX_OFFSETS = 4;
/** Different hashes, a power of two. */
const HASHES = 32;

interface Track {
  readonly frame: number;
  /** Sorted; empty: unknown. */
  readonly offsets: readonly number[];
  /** Frames that may be meant where `frame` is {@link FRAME_IMPRECISE}. */
  readonly mask: number;
}

const NO_OFFSETS: readonly number[] = [];
const UNVISITED_TRACK: Track = { frame: FRAME_UNVISITED, offsets: NO_OFFSETS, mask: 0 };
const NO_TRACK: Track = { frame: FRAME_NONE, offsets: NO_OFFSETS, mask: 0 };

/** True where `v` fits a signed 16-bit offset. */
const fits = (v: number): boolean => v >= -0x8000 && v <= 0x7fff;

function sameOffsets(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The tracks of one analysis. */
export class ArgTracks {
  readonly #tracks: Track[] = [UNVISITED_TRACK, NO_TRACK];
  /** By hash: the track that came last, {@link UNVISITED} for none; by track: the one before it with the same hash. */
  readonly #heads: Int32Array;
  readonly #previous: number[] = [UNVISITED, UNVISITED];
  #joins: Map<number, number> | undefined = undefined;

  constructor(slab: Slab) {
    this.#heads = slab.i32(HASHES);
  }

  #intern(frame: number, offsets: readonly number[], mask: number): number {
    let hash = Math.imul(frame, 31) + Math.imul(mask, 7);
    for (let i = 0; i < offsets.length; i++) hash = Math.imul(hash, 5) + (offsets[i]! >> 2);
    hash &= HASHES - 1;
    for (let n = this.#heads[hash]!; n !== UNVISITED; n = this.#previous[n]!) {
      const track = this.#tracks[n]!;
      if (track.frame === frame && track.mask === mask && sameOffsets(track.offsets, offsets)) return n;
    }
    const n = this.#tracks.push({ frame, offsets, mask }) - 1;
    this.#previous.push(this.#heads[hash]!);
    this.#heads[hash] = n;
    return n;
  }

  /** Byte `offset` of frame `frame`. */
  single(frame: number, offset: number): number {
    return this.#intern(frame, [offset], 0);
  }

  /** Somewhere in frame `frame`. */
  somewhere(frame: number): number {
    return this.#intern(frame, NO_OFFSETS, 0);
  }

  /** Somewhere in one of the frames of a bit mask. */
  imprecise(mask: number): number {
    return this.#intern(FRAME_IMPRECISE, NO_OFFSETS, mask);
  }

  /** The frame, -1 where there is none or more than one. */
  frame(t: number): number {
    return Math.max(this.#tracks[t]!.frame, -1);
  }

  offsets(t: number): readonly number[] {
    return this.#tracks[t]!.offsets;
  }

  isImprecise(t: number): boolean {
    return this.#tracks[t]!.frame === FRAME_IMPRECISE;
  }

  /** Frames of an imprecise track. */
  mask(t: number): number {
    return this.#tracks[t]!.mask;
  }

  /** True where the value may be derived from a frame pointer. */
  isPointer(t: number): boolean {
    return t > NONE;
  }

  /** What either may be. */
  join(a: number, b: number): number {
    if (a === b || b === UNVISITED) return a;
    if (a === UNVISITED) return b;
    const key = a * 0x200000 + b;
    const joins = (this.#joins ??= new Map());
    let n = joins.get(key);
    if (n === undefined) {
      n = this.#join(this.#tracks[a]!, a, this.#tracks[b]!, b);
      joins.set(key, n);
    }
    return n;
  }

  #join(x: Track, a: number, y: Track, b: number): number {
    if (x.frame === y.frame && x.frame >= 0) {
      return x.offsets.length === 0 || y.offsets.length === 0 ? this.somewhere(x.frame) : this.#merge(x.frame, x.offsets, y.offsets);
    }
    // a value that is a pointer on one path only: offset 0 beside it keeps it from counting as a sure write
    if (x.frame >= 0 && b === NONE) return x.offsets.length === 1 ? this.#merge(x.frame, x.offsets, [0]) : a;
    if (y.frame >= 0 && a === NONE) return y.offsets.length === 1 ? this.#merge(y.frame, y.offsets, [0]) : b;
    return this.#blur(x, y);
  }

  #merge(frame: number, a: readonly number[], b: readonly number[]): number {
    const all = [...new Set([...a, ...b])].toSorted((x, y) => x - y);
    return all.length > MAX_OFFSETS ? this.somewhere(frame) : this.#intern(frame, all, 0);
  }

  #blur(x: Track, y: Track): number {
    const bits = (t: Track): number => (t.frame >= 0 ? 1 << t.frame : t.mask);
    return this.imprecise(bits(x) | bits(y));
  }

  /** `dst op src` in 64 bits for an operation that loses the offset. */
  combine(dst: number, src: number): number {
    const x = this.#tracks[dst]!, y = this.#tracks[src]!;
    if (x.frame >= 0 && (src === NONE || y.frame === x.frame)) return this.somewhere(x.frame);
    if (y.frame >= 0 && dst === NONE) return this.somewhere(y.frame);
    return dst === NONE && src === NONE ? NONE : this.#blur(x, y);
  }

  /** The track moved by a constant. */
  add(t: number, delta: number): number {
    const { frame, offsets } = this.#tracks[t]!;
    if (offsets.length === 0) return t;
    const moved: number[] = [];
    let isKnown = fits(delta);
    for (let i = 0; i < offsets.length; i++) {
      moved.push(offsets[i]! + delta);
      isKnown &&= fits(moved[i]!);
    }
    return isKnown ? this.#intern(frame, moved, 0) : this.somewhere(frame);
  }

  /** The track with its offset forgotten; others stay. */
  forgetOffset(t: number): number {
    const { frame } = this.#tracks[t]!;
    return frame >= 0 ? this.somewhere(frame) : t;
  }

  /** As the log has it: `fp0-8|fp0-16`, `fp1 ?`, `IMP3`, `_`, `?`. */
  text(t: number): string {
    const { frame, offsets, mask } = this.#tracks[t]!;
    if (frame === FRAME_NONE) return '_';
    if (frame === FRAME_UNVISITED) return '?';
    if (frame === FRAME_IMPRECISE) return `IMP${mask.toString(16)}`;
    return offsets.length === 0 ? `fp${frame} ?` : offsets.map((o) => `fp${frame}${o < 0 ? '' : '+'}${o}`).join('|');
  }
}

/** The sum of two offsets, `undefined` where it leaves 16 bits. */
export function addOffsets(a: number, b: number): number | undefined {
  return fits(b) && fits(a + b) ? a + b : undefined;
}
