/**
 * @module crypto/der
 * Writing DER (ITU-T X.690 section 10): the few types that certificates and CMS messages are made of. Reading is in
 * `crypto/ber.ts`.
 */
import { concatBytes } from './bytes.ts';
import { encodeOID } from './oid.ts';

/** An element with the shortest length form. */
export function derElement(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content), n = body.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : n < 0x10000 ? [0x82, n >> 8, n & 0xff]
    : n < 0x1000000 ? [0x83, n >> 16, (n >> 8) & 0xff, n & 0xff] : [0x84, n >>> 24, (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff];
  return concatBytes(Uint8Array.of(tag, ...length), body);
}

/** SEQUENCE. */
export const derSequence = (...members: readonly Uint8Array[]): Uint8Array => derElement(0x30, ...members);

/** SET OF: members in ascending order of their encodings. */
export function derSetOf(...members: readonly Uint8Array[]): Uint8Array {
  return derElement(0x31, ...members.toSorted(compareBytes));
}

/** Order of byte strings as SET OF has it: by bytes, a prefix first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** INTEGER from unsigned big-endian bytes. */
export function derInteger(magnitude: Uint8Array): Uint8Array {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start++;
  const body = magnitude.length === 0 ? Uint8Array.of(0) : magnitude.subarray(start);
  return (body[0] ?? 0) >= 0x80 ? derElement(0x02, Uint8Array.of(0), body) : derElement(0x02, body);
}

/** INTEGER below 128. */
export const derSmallInteger = (value: number): Uint8Array => derElement(0x02, Uint8Array.of(value));
/** NULL. */
export const derNull = (): Uint8Array => Uint8Array.of(0x05, 0x00);
/** OBJECT IDENTIFIER from dotted notation. */
export const derOID = (dotted: string): Uint8Array => derElement(0x06, encodeOID(dotted));
/** OCTET STRING. */
export const derOctetString = (bytes: Uint8Array): Uint8Array => derElement(0x04, bytes);
/** BIT STRING of whole bytes. */
export const derBitString = (bytes: Uint8Array): Uint8Array => derElement(0x03, Uint8Array.of(0), bytes);
/** Context-specific constructed `[n]`. */
export const derExplicit = (n: number, ...content: readonly Uint8Array[]): Uint8Array => derElement(0xa0 | n, ...content);
/** Context-specific primitive `[n]`. */
export const derImplicit = (n: number, content: Uint8Array): Uint8Array => derElement(0x80 | n, content);
