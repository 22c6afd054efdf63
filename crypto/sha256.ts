/**
 * @module crypto/sha256
 * SHA-256 of one short byte string, without a call of the platform: setting one up costs more than the hash of a small program. Source: FIPS
 * 180-4, sections 4.1.2, 4.2.2, 5.1.1, 5.3.3, 6.2. Longer input is `digest.ts`'s.
 */

/** Written down: to compute them took every process three milliseconds. */
const K: Int32Array = Int32Array.of(
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
);
const INITIAL: Int32Array = Int32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
const BLOCK = 64;
const H: Int32Array = new Int32Array(8);
const W: Int32Array = new Int32Array(64);
/** The last block, or the last two: the rest of the input, a one, zeros, the length in bits. */
const TAIL: Uint8Array = new Uint8Array(2 * BLOCK);

function compress(bytes: Uint8Array, from: number): void {
  for (let t = 0, at = from; t < 16; t++, at += 4) W[t] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  for (let t = 16; t < 64; t++) {
    const x = W[t - 15]!, y = W[t - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    W[t] = W[t - 16]! + s0 + W[t - 7]! + s1;
  }
  let a = H[0]!, b = H[1]!, c = H[2]!, d = H[3]!, e = H[4]!, f = H[5]!, g = H[6]!, h = H[7]!;
  for (let t = 0; t < 64; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + (g ^ (e & (f ^ g))) + K[t]! + W[t]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) | (c & (a | b)))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  H[0]! += a;
  H[1]! += b;
  H[2]! += c;
  H[3]! += d;
  H[4]! += e;
  H[5]! += f;
  H[6]! += g;
  H[7]! += h;
}

/**
 * SHA-256 of fewer than 2^29 bytes: 32 bytes.
 * @example toHex(sha256Short(Uint8Array.of())) // 'e3b0c442…'
 */
export function sha256Short(bytes: Uint8Array): Uint8Array {
  H.set(INITIAL);
  const { length } = bytes;
  const whole = length - (length % BLOCK);
  for (let at = 0; at < whole; at += BLOCK) compress(bytes, at);
  const rest = length - whole;
  const size = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
  for (let i = 0; i < size; i++) TAIL[i] = i < rest ? bytes[whole + i]! : 0;
  TAIL[rest] = 0x80;
  for (let i = 0, bits = length * 8; i < 4; i++) TAIL[size - 1 - i] = bits >>> (8 * i);
  for (let at = 0; at < size; at += BLOCK) compress(TAIL, at);
  const out = new Uint8Array(32);
  for (let i = 0; i < 32; i++) out[i] = H[i >> 2]! >> (24 - 8 * (i & 3));
  return out;
}
