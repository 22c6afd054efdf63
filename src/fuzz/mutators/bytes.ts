/**
 * @module src/fuzz/mutators/bytes
 * Changes to bytes without a known structure, and the small tools that the structured mutators share. Pure: arguments are never changed.
 */
import type { Random } from '../random.ts';

/** A copy of `bytes` with `[from, to)` replaced by `by`. */
export function spliceBytes(bytes: Uint8Array, from: number, to: number, by: Uint8Array): Uint8Array {
  const out = new Uint8Array(from + by.length + bytes.length - to);
  out.set(bytes.subarray(0, from));
  out.set(by, from);
  out.set(bytes.subarray(to), from + by.length);
  return out;
}

/** Writes a little-endian integer of 1, 2, 4 or 8 bytes (of 8: sign-extended from 32 bits) into a copy; what lies outside is left out. */
export function withInteger(bytes: Uint8Array, at: number, width: number, value: number): Uint8Array {
  const out = bytes.slice();
  for (let i = 0; i < width && at + i < out.length; i++) out[at + i] = i < 4 ? value >> (8 * i) : value >> 31;
  return out;
}

function position(bytes: Uint8Array, random: Random): number {
  return bytes.length === 0 ? 0 : random.below(bytes.length);
}

/**
 * One change: a bit, a byte, an interesting integer, a range doubled, left out, filled or taken from `other`. Never longer than `limit`.
 * @example mutateBytes(Uint8Array.of(1, 2, 3), new Random(1), undefined)
 */
export function mutateBytes(bytes: Uint8Array, random: Random, other: Uint8Array | undefined, limit: number = 1 << 16): Uint8Array {
  if (bytes.length === 0) return random.bytes(1 + random.below(8));
  const at = position(bytes, random);
  switch (random.below(9)) {
    case 0: return bytes.with(at, bytes[at]! ^ (1 << random.below(8)));
    case 1: return bytes.with(at, random.pick([0, 0xff, 0x7f, 0x80, random.below(256)]));
    case 2: case 3: {
      const width = random.pick([1, 2, 4, 8]);
      return withInteger(bytes, random.oneIn(2) ? at - (at % width) : at, width, random.int32());
    }
    case 4: {
      const to = Math.min(bytes.length, at + 1 + random.below(16));
      return bytes.length + to - at > limit ? bytes : spliceBytes(bytes, at, at, bytes.subarray(at, to));
    }
    case 5: return spliceBytes(bytes, at, Math.min(bytes.length, at + 1 + random.below(16)), new Uint8Array(0));
    case 6: return bytes.slice().fill(random.pick([0, 0xff, random.below(256)]), at, at + 1 + random.below(16));
    case 7: {
      const from = other === undefined || other.length === 0 ? random.bytes(16) : other;
      const start = position(from, random);
      const part = from.subarray(start, start + 1 + random.below(32));
      return spliceBytes(bytes, at, Math.min(bytes.length, at + part.length), part);
    }
    default: return bytes.slice(0, at);
  }
}

/** Several changes, mostly few. */
export function havoc(bytes: Uint8Array, random: Random, other: Uint8Array | undefined, limit?: number): Uint8Array {
  let out = bytes;
  for (let n = 1 + (random.oneIn(3) ? random.below(8) : 0); n > 0; n--) out = mutateBytes(out, random, other, limit);
  return out;
}
