/**
 * @module src/fuzz/shrink
 * Building blocks for `Target.shrink`: fewer elements, smaller numbers, shorter bytes. Lists and numbers shrink as fast-check shrinks them.
 * Finite and in a fixed order.
 */
import * as fc from 'fast-check';

/** Shorter lists: halves, quarters … single elements left out, biggest parts first. Not the empty list unless `allowEmpty`. */
export function* withoutParts<T>(list: readonly T[], allowEmpty = false): Generator<readonly T[]> {
  for (let size = Math.ceil(list.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = list.length - size; at > -size; at -= size) {
      const from = Math.max(0, at);
      const rest = [...list.slice(0, from), ...list.slice(at + size)];
      if (rest.length > 0 || allowEmpty) yield rest;
    }
  }
}

/** Integers closer to 0, nearest to 0 first. */
export function* smallerIntegers(value: number): Generator<number> {
  const arbitrary = value < 0 ? fc.integer({ min: value, max: 0 }) : fc.integer({ min: 0, max: value });
  for (const smaller of arbitrary.shrink(value, undefined)) yield smaller.value;
}

/** The list with one element replaced by each of its alternatives. */
export function* withOneChanged<T>(list: readonly T[], alternatives: (element: T, index: number) => Iterable<T>): Generator<readonly T[]> {
  for (const [index, element] of list.entries()) {
    for (const other of alternatives(element, index)) yield list.with(index, other);
  }
}

/** Shorter byte strings, then simpler bytes. */
export function* smallerBytes(bytes: Uint8Array): Generator<Uint8Array> {
  for (let size = bytes.length >> 1; size >= 1; size >>= 1) {
    for (let at = bytes.length - size; at >= 0; at -= size) {
      const rest = new Uint8Array(bytes.length - size);
      rest.set(bytes.subarray(0, at));
      rest.set(bytes.subarray(at + size), at);
      yield rest;
    }
  }
  for (const [at, byte] of bytes.entries()) if (byte !== 0) yield bytes.with(at, 0);
}
