/**
 * @module isa/latin1
 * Bytes as text of one character a byte. `TextDecoder('latin1')` is none of that: by the Encoding Standard the label means windows-1252, whose
 * 0x80 to 0x9f are other characters, and engines differ in whether they keep to it. Texts made here are the same everywhere.
 */

/** Bytes of one piece: more arguments than this overrun small stacks. */
const CHUNK = 4096;
/** From here on a decoder is faster than characters one by one. */
const LONG = 256;

let decoder: TextDecoder | undefined;

/**
 * One character a byte, the character's number the byte's.
 * @example latin1(Uint8Array.of(0x61, 0x80)); // 'a\u0080'
 */
export function latin1(bytes: Uint8Array): string {
  if (bytes.length >= LONG) {
    const text = (decoder ??= new TextDecoder('utf-8', { ignoreBOM: true })).decode(bytes);
    if (isASCII(text)) return text;
  }
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) text += Reflect.apply(String.fromCharCode, undefined, bytes.subarray(at, at + CHUNK)) as string;
  return text;
}

/** Whether a text is the same in ASCII, UTF-8 and latin-1. */
export function isASCII(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

/**
 * The bytes of a text made by {@link latin1}; of other characters only the low eight bits are left.
 * @example latin1Bytes('a\u0080'); // 61 80
 */
export function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The text that people read: UTF-8 where the bytes behind a text of {@link latin1} are that, else the text as it is. */
export function readable(text: string): string {
  if (!/[\x80-\xff]/.test(text) || /[^\0-\xff]/.test(text)) return text;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(latin1Bytes(text));
  } catch {
    return text;
  }
}

/** {@link latin1} of what stands before the first NUL, or of all where there is none. */
export function latin1UpToNUL(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return latin1(end < 0 ? bytes : bytes.subarray(0, end));
}
