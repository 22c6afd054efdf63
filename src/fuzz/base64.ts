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
