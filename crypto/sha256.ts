/**
 * @module crypto/sha256
 * SHA-256 of one short byte string, without a call of the platform: setting one up costs more than the hash of a small program. Source: FIPS
 * 180-4, sections 4.1.2, 4.2.2, 5.1.1, 5.3.3, 6.2. Longer input is `digest.ts`'s.
 */

/** The first `count` primes. */
function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p !== 0)) found.push(n);
  return found;
}

/** The first 32 bits behind the point of the `root`-th root of a prime: exact by integers, as doubles are not. */
function fraction(prime: number, root: 2 | 3): number {
  const scaled = BigInt(prime) << BigInt(32 * root);
  let low = 0n, high = 1n << 37n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(root) <= scaled) low = middle;
    else high = middle;
  }
  return Number(BigInt.asIntN(32, low));
}

const K: Int32Array = Int32Array.from(primes(64), (prime) => fraction(prime, 3));
const INITIAL: Int32Array = Int32Array.from(primes(8), (prime) => fraction(prime, 2));
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
