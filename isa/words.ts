/**
 * @module isa/words
 * Arrays of 32-bit words in a file's byte order: whole sections at a time, because an object has tens of thousands of them.
 */

/** Whether typed arrays have the least significant byte first here. */
const HOST_LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Copies words between this machine's byte order and a file's; `to` and `from` have the same length. */
function copyWords(to: Uint8Array, from: Uint8Array, isLittle: boolean): void {
  to.set(from);
  if (isLittle === HOST_LITTLE) return;
  for (let at = 0; at + 4 <= to.length; at += 4) to.subarray(at, at + 4).reverse();
}

/**
 * Words of a file; what is left over behind the last whole word is not among them.
 * @param lead so many zeros come first
 * @example readWords(Uint8Array.of(1, 0, 0, 0), true); // Uint32Array [1]
 */
export function readWords(bytes: Uint8Array, isLittle: boolean, lead = 0): Uint32Array {
  const count = Math.floor(bytes.length / 4);
  const words = new Uint32Array(lead + count);
  copyWords(new Uint8Array(words.buffer, 4 * lead), bytes.subarray(0, 4 * count), isLittle);
  return words;
}

/** Writes words into a file's bytes from `at` on. */
export function writeWords(bytes: Uint8Array, at: number, words: Uint32Array, isLittle: boolean): void {
  copyWords(bytes.subarray(at, at + 4 * words.length), new Uint8Array(words.buffer, words.byteOffset, words.byteLength), isLittle);
}
