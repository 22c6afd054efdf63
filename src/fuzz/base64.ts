/**
 * @module src/fuzz/base64
 * Bytes as base64 text, in browsers too.
 */

const CHUNK = 0x8000;

/** @example bytesToBase64(Uint8Array.of(1, 2)) // 'AQI=' */
export function bytesToBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(text);
}

/** The bytes of base64 text, in which white space does not count. @example base64ToBytes('AQI=') // Uint8Array [1, 2] */
export function base64ToBytes(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
