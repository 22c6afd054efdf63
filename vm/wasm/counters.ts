/**
 * @module vm/wasm/counters
 * Counters of a module that tells how often its instructions were executed: where they are, which instructions each stands for, how they
 * are read. Owns no code of programs: `function` raises a counter where control enters its instructions.
 *
 * A counter is a global of the module, so that no address leads to it. It stands for instructions that follow each other and are all
 * executed once the first of them is, but for faults: control comes in only at the first, and a call, behind which
 * a run may not go on, is the last. How often the rest was not reached after a fault follows from the instruction at fault.
 */
import { STRIDE } from '../program.ts';
import { ByteWriter, TYPE_I32, W } from './bytes.ts';
import { FACTS, KIND } from './flow.ts';
import type { CompiledFunction } from './function.ts';
import { Refusal } from './structure.ts';

/** Globals that WebAssembly engines accept in a module. */
const MOST = 1_000_000;
/** Counters that one exported function reads, and the bytes that it writes. */
export const READ_AT_ONCE = 256;
export const READ_BYTES: number = 4 * READ_AT_ONCE;

/** Behind these a frame, or a run, may be over. */
const LEAVING: ReadonlySet<number> = new Set([
  KIND.call, KIND.helper, KIND.callx, KIND.tailcall, KIND.packet, KIND.percpu, KIND.exit,
]);

export class Counters {
  /** 1 for dense instructions that begin what a counter stands for. */
  readonly #begins: Uint8Array;
  /** By dense instruction the counter that begins there, -1 where no code needs one. */
  readonly #counterAt: Int32Array;
  readonly #starts: number[] = [];

  /**
   * @param code dense form of the program, and `count` of its instructions
   * @param leaders where blocks begin: `findLeaders`
   * @param entries where control may begin besides
   */
  constructor(code: Int32Array, count: number, leaders: Uint8Array, entries: Iterable<number>) {
    this.#begins = leaders.slice(0, count + 1);
    this.#begins[count] = 1;
    for (const dense of entries) this.#begins[dense] = 1;
    for (let dense = 0; dense < count; dense++) {
      const { kind } = FACTS[code[dense * STRIDE]!]!;
      if (LEAVING.has(kind)) this.#begins[dense + 1] = 1;
      // The interpreter may execute an indirect jump in place of compiled code.
      if (kind === KIND.end) this.#begins[dense] = 1;
    }
    this.#counterAt = new Int32Array(count).fill(-1);
  }

  /** How many there are. */
  get count(): number {
    return this.#starts.length;
  }

  /** True where a dense instruction is the first that a counter stands for. Those behind the program's end have none. */
  begins(dense: number): boolean {
    return dense < this.#counterAt.length && this.#begins[dense] === 1;
  }

  /** Dense instruction behind the last one that is counted together with `dense`. */
  endOf(dense: number): number {
    let end = dense + 1;
    while (end < this.#counterAt.length && this.#begins[end] === 0) end++;
    return Math.min(end, this.#counterAt.length);
  }

  /** First dense instruction of what counter `index` stands for. */
  startOf(index: number): number {
    return this.#starts[index]!;
  }

  /** Code that raises the counter which begins at a dense instruction. */
  raise(out: ByteWriter, dense: number): void {
    let index = this.#counterAt[dense]!;
    if (index < 0) {
      index = this.#starts.length;
      if (index === MOST) throw new Refusal(`coverage of more than ${MOST} blocks`);
      this.#counterAt[dense] = index;
      this.#starts.push(dense);
    }
    out.byte(W.global_get); out.u32(index);
    out.byte(W.i32_const); out.s32(1);
    out.byte(W.i32_add);
    out.byte(W.global_set); out.u32(index);
  }

  /** The globals, all 0. */
  globalSection(): ByteWriter {
    const out = new ByteWriter(5 * this.count + 8);
    out.u32(this.count);
    for (let index = 0; index < this.count; index++) {
      out.byte(TYPE_I32);
      out.byte(1);
      out.byte(W.i32_const); out.s32(0);
      out.byte(W.end);
    }
    return out;
  }

  /** `(to, unused)`: functions that move {@link READ_AT_ONCE} counters each to the offset `to`, and leave them at 0. */
  readers(): readonly CompiledFunction[] {
    const readers: CompiledFunction[] = [];
    for (let first = 0; first < this.count; first += READ_AT_ONCE) {
      const out = new ByteWriter(READ_BYTES * 4);
      out.u32(0);
      for (let index = first; index < Math.min(first + READ_AT_ONCE, this.count); index++) {
        out.byte(W.local_get); out.u32(0);
        out.byte(W.global_get); out.u32(index);
        out.byte(W.i32_store); out.byte(0); out.u32(4 * (index - first));
        out.byte(W.i32_const); out.s32(0);
        out.byte(W.global_set); out.u32(index);
      }
      out.byte(W.end);
      readers.push({ body: out.view(), traps: new Int32Array(0) });
    }
    return readers;
  }
}
