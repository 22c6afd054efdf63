/**
 * @module kernel/maps/jhash
 * Bob Jenkins' lookup3 hash as `include/linux/jhash.h` applies it to keys: it decides the order of a hash map's elements where
 * the seed is zero (`BPF_F_ZERO_SEED`).
 */

const INITIAL = 0xdeadbeef | 0;

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

/** State of one hash: reused, so that hashing does not allocate. */
let a = 0;
let b = 0;
let c = 0;

function mix(): void {
  a = (a - c) ^ rotate(c, 4); c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 6); a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 8); b = (b + a) | 0;
  a = (a - c) ^ rotate(c, 16); c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 19); a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 4); b = (b + a) | 0;
}

function finish(): number {
  c = (c ^ b) - rotate(b, 14) | 0;
  a = (a ^ c) - rotate(c, 11) | 0;
  b = (b ^ a) - rotate(a, 25) | 0;
  c = (c ^ b) - rotate(b, 16) | 0;
  a = (a ^ c) - rotate(c, 4) | 0;
  b = (b ^ a) - rotate(a, 14) | 0;
  c = (c ^ b) - rotate(b, 24) | 0;
  return c >>> 0;
}

/** `htab_map_hash`: of `length` bytes at `offset`; uint32. `jhash2` of whole words gives the same number. */
export function hashKey(view: DataView, offset: number, length: number, seed: number): number {
  a = b = c = (INITIAL + length + seed) | 0;
  let at = offset;
  let left = length;
  while (left > 12) {
    a = (a + view.getUint32(at, true)) | 0;
    b = (b + view.getUint32(at + 4, true)) | 0;
    c = (c + view.getUint32(at + 8, true)) | 0;
    mix();
    at += 12;
    left -= 12;
  }
  if (left === 0) return c >>> 0;
  let wordA = 0;
  let wordB = 0;
  let wordC = 0;
  for (let i = 0; i < left; i++) {
    const byte = view.getUint8(at + i) << (8 * (i & 3));
    if (i < 4) wordA |= byte;
    else if (i < 8) wordB |= byte;
    else wordC |= byte;
  }
  a = (a + wordA) | 0;
  b = (b + wordB) | 0;
  c = (c + wordC) | 0;
  return finish();
}
