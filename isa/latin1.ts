/**
 * @module isa/latin1
 * Bytes as text of one character a byte. `TextDecoder('latin1')` is none of that: by the Encoding Standard the label means windows-1252, whose
 * 0x80 to 0x9f are other characters, and engines differ in whether they keep to it. Texts made here are the same everywhere.
 */

/** Bytes of one piece: more arguments than this overrun small stacks. */
const CHUNK = 4096;

/**
 * One character a byte, the character's number the byte's.
 * @example latin1(Uint8Array.of(0x61, 0x80)); // 'a\u0080'
 */
export function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) text += Reflect.apply(String.fromCharCode, undefined, bytes.subarray(at, at + CHUNK)) as string;
  return text;
}

/** {@link latin1} of what stands before the first NUL, or of all where there is none. */
export function latin1UpToNUL(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return latin1(end < 0 ? bytes : bytes.subarray(0, end));
}
