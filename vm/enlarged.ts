/**
 * @module vm/enlarged
 * Typed arrays grow by being made anew: tables of pages, frames of a run. Owns the copy only; when and how far is the callers'.
 */

/** A new array of `length` elements, which begins with those of `array` and goes on with zeros; `length` is not less than what there is. */
export function enlarged(array: Int32Array, length: number): Int32Array<ArrayBuffer>;
export function enlarged(array: Uint16Array, length: number): Uint16Array<ArrayBuffer>;
export function enlarged(array: Int32Array | Uint16Array, length: number): Int32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  const larger = array instanceof Int32Array ? new Int32Array(length) : new Uint16Array(length);
  larger.set(array);
  return larger;
}
