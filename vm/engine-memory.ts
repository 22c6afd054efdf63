/**
 * @module vm/engine-memory
 * The part of the linear memory that engines keep for themselves: below every allocation, where no address of a program, of a helper's
 * argument or of user space leads. Owns which bytes of it are taken; not the memory itself.
 */
import { InternalError } from '../isa/errors.ts';

const ALIGN = 64;

/** Pieces of one range of bytes. There are few of them, so they are looked through from the start. */
export class EngineMemory {
  readonly #from: number;
  readonly #to: number;
  /** Taken pieces in order: offset and byte behind the last one, in turn. */
  #taken: number[] = [];

  constructor(from: number, to: number) {
    this.#from = from;
    this.#to = to;
  }

  /** Offset of the first free piece of `size` bytes, a multiple of 64; 0 where there is none. */
  take(size: number): number {
    let at = this.#from;
    let index = 0;
    for (; index < this.#taken.length && this.#taken[index]! - at < size; index += 2) at = Math.ceil(this.#taken[index + 1]! / ALIGN) * ALIGN;
    if (at + size > this.#to) return 0;
    this.#taken.splice(index, 0, at, at + size);
    return at;
  }

  /** Ends a piece that {@link take} gave. */
  give(offset: number): void {
    // The byte behind one piece may be the first of the next.
    const index = this.#taken.findIndex((at, one) => at === offset && one % 2 === 0);
    if (index < 0) throw new InternalError(`free of engine memory ${offset}, which is not taken`);
    this.#taken.splice(index, 2);
  }

  /** Ends all pieces. */
  clear(): void {
    this.#taken = [];
  }
}
