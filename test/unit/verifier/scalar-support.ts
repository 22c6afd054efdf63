/** Concrete sets for the tests of the abstract domains: BigInt views of tnums, arcs and scalars, and their members. */

export const M64: bigint = (1n << 64n) - 1n;
export const M32: bigint = (1n << 32n) - 1n;
export const lo = (v: bigint): number => Number(BigInt.asIntN(32, v));
export const hi = (v: bigint): number => Number(BigInt.asIntN(32, v >> 32n));
export const u64 = (w: Int32Array, o: number): bigint => (BigInt(w[o + 1]! >>> 0) << 32n) | BigInt(w[o]! >>> 0);
export const s64 = (v: bigint): bigint => BigInt.asIntN(64, v);
export const s32 = (v: bigint): bigint => BigInt.asIntN(32, v);

export function putTnum(w: Int32Array, o: number, value: bigint, mask: bigint): void {
  w.set([lo(value), hi(value), lo(mask), hi(mask)], o);
}

export function putArc(w: Int32Array, o: number, base: bigint, size: bigint): void {
  w.set([lo(base), hi(base), lo(size), hi(size)], o);
}

export const inTnum = (w: Int32Array, o: number, v: bigint): boolean => (v & ~u64(w, o + 2) & M64) === u64(w, o);

export function inArc(w: Int32Array, o: number, v: bigint): boolean {
  const base = u64(w, o), size = u64(w, o + 2);
  return !(base === M64 && size === M64) && ((v - base) & M64) <= size;
}

export function inArc32(w: Int32Array, o: number, v: bigint): boolean {
  const base = BigInt(w[o]! >>> 0), size = BigInt(w[o + 1]! >>> 0);
  return !(base === M32 && size === M32) && ((v - base) & M32) <= size;
}

export const inScalar = (w: Int32Array, o: number, v: bigint): boolean =>
  inTnum(w, o, v) && inArc(w, o + 4, v) && inArc32(w, o + 8, v & M32);

/** All tnums over the bits `shift`..`shift + width - 1`, other bits zero, each with its members. */
export function allTnums(width: number, shift: number): { value: bigint; mask: bigint; members: bigint[] }[] {
  const out: { value: bigint; mask: bigint; members: bigint[] }[] = [];
  for (let mask = 0; mask < 1 << width; mask++) {
    for (let value = 0; value < 1 << width; value++) {
      if ((value & mask) !== 0) continue;
      const members: bigint[] = [];
      for (let sub = mask; ; sub = (sub - 1) & mask) {
        members.push(BigInt(value | sub) << BigInt(shift));
        if (sub === 0) break;
      }
      out.push({ value: BigInt(value) << BigInt(shift), mask: BigInt(mask) << BigInt(shift), members });
    }
  }
  return out;
}

/** A small deterministic generator (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

const EDGES = [0n, 1n, 2n, 7n, 8n, 31n, 63n, 64n, 255n, 0x7fffn, 0xffffn, 0x7fffffffn, 0x80000000n, 0xfffffffen, 0xffffffffn, 0x100000000n,
  0x1ffffffffn, 0x7fffffffffffffffn, 0x8000000000000000n, 0xfffffffffffffffen, M64, 0xffffffff00000000n, 0xffffffff80000000n];

/** A 64-bit value, often near one of the places where arithmetic turns. */
export function someValue(next: () => number): bigint {
  const kind = next() % 4;
  if (kind === 0) return ((BigInt(next()) << 32n) | BigInt(next())) & M64;
  if (kind === 1) return BigInt(next() % 64);
  const edge = EDGES[next() % EDGES.length]!;
  return (edge + BigInt(next() % 9) - 4n) & M64;
}

/** Fills `(w, o)` with a random scalar that holds `v`. */
export function someScalar(next: () => number, w: Int32Array, o: number, v: bigint): void {
  const mask = [0n, M64, BigInt(next()), (BigInt(next()) << 32n) | BigInt(next()), (1n << BigInt(next() % 64)) - 1n][next() % 5]! & M64;
  putTnum(w, o, v & ~mask & M64, mask);
  const spread = (): bigint => [0n, 1n, BigInt(next() % 16), BigInt(next()), someValue(next)][next() % 5]!;
  const below = spread(), size = below + spread();
  if (size >= M64) putArc(w, o + 4, 0n, M64);
  else putArc(w, o + 4, (v - below) & M64, size);
  const below32 = spread() & M32, size32 = below32 + (spread() & M32);
  if (size32 >= M32) w.set([0, -1], o + 8);
  else w.set([lo(v - below32), lo(size32)], o + 8);
}
