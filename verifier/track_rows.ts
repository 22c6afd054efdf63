/**
 * @module verifier/track_rows
 * Where pointers into the stack are before every instruction of a function, as `live_stack.ts` finds it. Owns the memory of that: few instructions
 * change anything, so the others share what holds before the one in front of them.
 */
import { NONE, UNVISITED } from './arg_track.ts';
import { SLOTS, TRACKED, TRACKED_REGS } from './live_stack_marks.ts';
import type { Slab } from './workspace.ts';

/** Slots that a row begins with, and grows by. */
const FIRST_SLOTS = 8;
const FIRST_ROWS = 32;
/** The row of instructions that are not reached yet. */
const UNREACHED = 0;

/**
 * Rows of tracks, shared by instructions until one of them needs another. A row has only as many stack slots as were needed so far, because
 * most functions hold pointers to their stack in a few slots at most: in rows that were reached the others are {@link NONE}.
 */
export class TrackRows {
  stride: number = TRACKED_REGS + FIRST_SLOTS;
  /** All rows, one behind the other. */
  rows: Int32Array;
  /** By instruction of the function: its row, 0 before it is reached. */
  readonly rowOf: Int32Array;
  readonly #slab: Slab;
  /** By row: instructions that have it. */
  #users: Int32Array;
  #used = 1;
  /** A row that no instruction has, 0 for none. */
  #spare: number = UNREACHED;
  #capacity: number = FIRST_ROWS;

  /** @param all rows have all slots from the start */
  constructor(count: number, all: boolean, slab: Slab) {
    if (all) this.stride = TRACKED;
    this.#slab = slab;
    this.rowOf = slab.i32(count);
    this.rows = slab.i32(FIRST_ROWS * this.stride, false);
    this.#users = slab.i32(FIRST_ROWS, false);
    for (let i = 0; i < this.stride; i++) this.rows[i] = UNVISITED;
  }

  isReached(insn: number): boolean {
    return this.rowOf[insn] !== UNREACHED;
  }

  /** Where the row of an instruction begins in {@link rows}. */
  at(insn: number): number {
    return this.rowOf[insn]! * this.stride;
  }

  /** What a slot (-1: none) holds in the row that begins at `at` of {@link rows} and was reached; {@link UNVISITED} for none. */
  slot(at: number, slot: number): number {
    if (slot < 0) return UNVISITED;
    return TRACKED_REGS + slot < this.stride ? this.rows[at + TRACKED_REGS + slot]! : NONE;
  }

  /** Copies a row to `out`, which holds {@link NONE} behind it. */
  read(row: number, out: Int32Array): void {
    const { rows, stride } = this;
    for (let i = 0, at = row * stride; i < stride; i++) out[i] = rows[at + i]!;
  }

  /** True where a row is the same as `out`. */
  equals(row: number, out: Int32Array): boolean {
    const { rows, stride } = this;
    for (let i = 0, at = row * stride; i < stride; i++) if (rows[at + i] !== out[i]) return false;
    return true;
  }

  /** A new row with the tracks at `from` of an array. */
  add(tracks: Int32Array, from: number): number {
    const { stride } = this;
    let row = this.#spare;
    this.#spare = UNREACHED;
    if (row === UNREACHED) {
      if (this.#used === this.#capacity) this.#grow();
      row = this.#used++;
      this.#users[row] = 0;
    }
    const { rows } = this;
    for (let i = 0, at = row * stride; i < stride; i++) rows[at + i] = tracks[from + i]!;
    return row;
  }

  /** Gives an instruction its first row. */
  reach(insn: number, row: number): void {
    this.rowOf[insn] = row;
    this.#users[row]!++;
  }

  /** Takes a row back that was added and that no instruction got. */
  release(row: number): void {
    if (this.#users[row] === 0) this.#spare = row;
  }

  /** Makes the row of an instruction its own, to be changed; where it begins. */
  own(insn: number): number {
    const row = this.rowOf[insn]!;
    if (this.#users[row] !== 1) {
      this.#users[row]!--;
      this.reach(insn, this.add(this.rows, row * this.stride));
    }
    return this.at(insn);
  }

  #grow(): void {
    const users = this.#slab.i32(this.#capacity * 2, false), rows = this.#slab.i32(this.#capacity * 2 * this.stride, false);
    users.set(this.#users.subarray(0, this.#used));
    rows.set(this.rows.subarray(0, this.#used * this.stride));
    this.#users = users;
    this.rows = rows;
    this.#capacity *= 2;
  }

  /** The stack slots before an instruction, all of them. */
  slots(insn: number): Int32Array {
    const { rows, stride } = this, held = stride - TRACKED_REGS, from = this.at(insn) + TRACKED_REGS;
    const slots = this.#slab.i32(SLOTS, false), rest = this.isReached(insn) ? NONE : UNVISITED;
    for (let i = 0; i < SLOTS; i++) slots[i] = i < held ? rows[from + i]! : rest;
    return slots;
  }

  /** Makes room for slots up to the last one of `out` that holds something. */
  widen(out: Int32Array): void {
    let stride = TRACKED;
    while (stride > this.stride && out[stride - 1] === NONE) stride--;
    if (stride === this.stride) return;
    stride = Math.min((stride + FIRST_SLOTS) & ~(FIRST_SLOTS - 1), TRACKED);
    const rows = this.#slab.i32(this.#capacity * stride, false);
    for (let row = 0; row < this.#used; row++) {
      rows.set(this.rows.subarray(row * this.stride, (row + 1) * this.stride), row * stride);
      rows.fill(row === UNREACHED ? UNVISITED : NONE, row * stride + this.stride, (row + 1) * stride);
    }
    this.rows = rows;
    this.stride = stride;
  }
}
