/**
 * @module crypto/digest
 * SHA-1, SHA-2, SHA-3 and SHAKE256 digests, native where a provider is installed, else `@noble/hashes`. Sources: FIPS 180-4, FIPS 202.
 */
import { sha1 } from '@noble/hashes/legacy.js';
import { sha224, sha256 as nobleSHA256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { sha3_256, sha3_384, sha3_512, shake256 as nobleShake256 } from '@noble/hashes/sha3.js';
import { currentProvider, type HashName } from './provider.ts';

interface Incremental {
  update(data: Uint8Array): Incremental;
  digest(): Uint8Array;
}

const PORTABLE: Readonly<Record<HashName, { create(): Incremental; readonly outputLen: number }>> = {
  sha1, sha224, sha256: nobleSHA256, sha384, sha512, 'sha3-256': sha3_256, 'sha3-384': sha3_384, 'sha3-512': sha3_512,
};

/** Digest length in bytes. */
export function digestLength(hash: HashName): number {
  return PORTABLE[hash].outputLen;
}

/** Whether this is a digest that the project computes. */
export function isHashName(name: string): name is HashName {
  return Object.hasOwn(PORTABLE, name);
}

/**
 * The digest of the concatenation of byte strings.
 * @example toHex(digest('sha256', insns, metadata))
 */
export function digest(hash: HashName, ...parts: readonly Uint8Array[]): Uint8Array {
  const native = currentProvider()?.digest(hash, parts);
  if (native !== undefined) return native;
  const state = PORTABLE[hash].create();
  for (const part of parts) state.update(part);
  return state.digest();
}

/** SHA-256 of the concatenation of byte strings: 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return digest('sha256', ...parts);
}

/** `length` bytes of SHAKE256 over the concatenation of byte strings. */
export function shake256(length: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const native = currentProvider()?.shake256(parts, length);
  if (native !== undefined) return native;
  const state = nobleShake256.create({ dkLen: length });
  for (const part of parts) state.update(part);
  return state.digest();
}
