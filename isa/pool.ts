/**
 * @module isa/pool
 * Small arrays that live as long as something else does (a program's instructions, its decoded form): cut out of shared buffers, since
 * a buffer for each costs the platform more than what is written into it. Owns the buffer under way; nothing is ever given back, a buffer
 * goes when none of its arrays is left. What leaves the product (snapshots, results of `bpf()`) is copied out first: its `buffer` is not
 * the array's alone.
 */

/** Bytes of a shared buffer, and of the longest array that comes out of one. */
const BUFFER_BYTES = 16384;
export const POOLED_BYTES = 4096;

let buffer: ArrayBuffer = new ArrayBuffer(0);
let used = 0;

/** Offset in {@link buffer} of room for `bytes`, at a multiple of 8. */
function take(bytes: number): number {
  let at = used;
  if (at + bytes > buffer.byteLength) {
    buffer = new ArrayBuffer(BUFFER_BYTES);
    at = 0;
  }
  used = (at + bytes + 7) & ~7;
  return at;
}

/** `length` zero bytes of one's own, in a buffer that others have too. */
export function pooledBytes(length: number): Uint8Array {
  if (length > POOLED_BYTES) return new Uint8Array(length);
  const at = take(length);
  return new Uint8Array(buffer, at, length);
}

/** As {@link pooledBytes}: `length` words of 32 bits. */
export function pooledWords(length: number): Int32Array {
  if (length * 4 > POOLED_BYTES) return new Int32Array(length);
  const at = take(length * 4);
  return new Int32Array(buffer, at, length);
}
