/**
 * @module vm/direct
 * Helpers that unchecked compiled code calls straight, without a `HelperCall`: their arguments are int32 parameters of the import, or lie
 * in memory. Owns the forms and the memory; the calls themselves are in `vm/wasm/calls`.
 *
 * Measured on V8 (Node 20, 24 and 26, EPYC Milan): a call of an empty import 5.5 ns with up to two parameters, 0.4 ns more for each
 * further one; a helper that gets its arguments through a `HelperCall` 27 ns.
 */
import { InternalError } from '../isa/errors.ts';
import type { AddressSpace } from './address-space.ts';

/**
 * What a helper of the first form gives instead of a result: the call is to be made in the general form, as if it had not begun. Not for
 * results of kind `unsigned`.
 */
export const DECLINED: number = -0x80000000;

/** How the upper half of r0 follows from what a helper gives: by sign, 0, or of a kernel address where the lower half is not 0. */
export type DirectResult = 'signed' | 'unsigned' | 'pointer';

/**
 * A helper whose arguments are parameters: for r1, r2, … one (`low`, the lower half; the upper one is 0 or that of a kernel address) or two
 * (`pair`: lower and upper half).
 *
 * @example { parameters: ['low', 'low'], result: 'pointer', call: (map, key) => lookup(map, key) ?? DECLINED }
 */
export interface ParameterHelper {
  readonly parameters: readonly ('low' | 'pair')[];
  readonly result: DirectResult;
  readonly call: (a: number, b: number, c: number, d: number, e: number, f: number, g: number, h: number, i: number, j: number) => number;
}

/**
 * A helper that finds r1 to r`arguments` in memory and leaves r0 there, as 64-bit words. V8 makes machine arithmetic of `BigInt64Array`
 * elements that are read, computed and written in one function.
 *
 * @example { arguments: 2, bind: (registers) => () => { const r = registers.i64; r[0] = r[1]! + r[2]!; } }
 */
export interface MemoryHelper {
  readonly arguments: number;
  readonly bind: (registers: DirectRegisters) => () => void;
}

/**
 * A second form of a helper, for verified programs in unchecked code; it must do what the first one does. It runs no program, calls nothing
 * back and does not ask where it is called from.
 */
export type DirectHelper = ParameterHelper | MemoryHelper;

/** Gives the direct form of a helper by its id; a map of them is one. */
export interface DirectHelpers {
  get(id: number): DirectHelper | undefined;
}

const REGISTERS = 6;

/**
 * r0 to r5 in memory: where {@link MemoryHelper}s find their arguments. A helper asks for a view in each call, as a growing memory
 * replaces them. Until it does V8 takes the view, its length and its address for constants, as nothing stands between the field and the
 * element (measured on Node 24: 1.5 ns of 9 ns a call; a length that is looked at first makes both be loaded and checked).
 */
export class DirectRegisters {
  readonly space: AddressSpace;
  /** Offset of r0. */
  readonly at: number;
  // Declared only: a field that is written twice, as defining and setting it does, is no constant to V8.
  private declare words64: BigInt64Array;
  private declare words32: Int32Array;
  /** Ends the views: they are not renewed any more. */
  readonly dispose: () => void;

  constructor(space: AddressSpace, at: number) {
    this.space = space;
    this.at = at;
    this.look();
    this.dispose = space.onGrowth(() => this.look());
  }

  /** Register `n` at `n`. */
  get i64(): BigInt64Array {
    return this.words64;
  }

  /** As a `RegisterFile`: the lower half of register `n` at `2n`, the upper one behind it. */
  get i32(): Int32Array {
    return this.words32;
  }

  private look(): void {
    this.words64 = new BigInt64Array(this.space.memory.buffer, this.at, REGISTERS);
    this.words32 = new Int32Array(this.space.memory.buffer, this.at, 2 * REGISTERS);
  }
}

/** A helper as a module imports it. */
export interface DirectImport {
  readonly parameters: readonly ('low' | 'pair')[];
  readonly result: DirectResult | 'memory';
  readonly call: (...words: never[]) => number | void;
}

/** The direct helpers of a machine, each asked for once. */
export class DirectImports {
  readonly #helpers: DirectHelpers | undefined;
  readonly #place: () => DirectRegisters;
  #registers: DirectRegisters | undefined;
  readonly #known: Map<number, DirectImport | undefined> = new Map();

  /** @param place gives the registers; asked once, when the first module that needs them is compiled */
  constructor(helpers: DirectHelpers | undefined, place: () => DirectRegisters) {
    this.#helpers = helpers;
    this.#place = place;
  }

  /** Offset of r0 for helpers that work in memory. */
  get at(): number {
    return this.#registers?.at ?? 0;
  }

  get(id: number): DirectImport | undefined {
    if (!this.#known.has(id)) this.#known.set(id, this.#bind(this.#helpers?.get(id)));
    return this.#known.get(id);
  }

  /** No helper is called any more. */
  dispose(): void {
    this.#registers?.dispose();
  }

  #bind(helper: DirectHelper | undefined): DirectImport | undefined {
    if (helper === undefined || 'parameters' in helper) return helper;
    this.#registers ??= this.#place();
    return { parameters: Array.from({ length: helper.arguments }, () => 'pair'), result: 'memory', call: helper.bind(this.#registers) };
  }
}

export const NO_DIRECT: DirectImports = new DirectImports(undefined, () => {
  throw new InternalError('no registers');
});
