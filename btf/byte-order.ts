/**
 * @module btf/byte-order
 * BTF of a big-endian machine in the other byte order, as libbpf reads it. Types are 32-bit words throughout, so that only the header and
 * the layout section need a closer look. Reproduces `btf_bswap_hdr` and `btf_bswap_type_rest` of `tools/lib/bpf/btf.c`.
 */
import { BTF_HEADER_SIZE, BTF_HEADER_SIZE_V0 } from './btf.ts';

/** `BTF_MAGIC` with its bytes the other way round. */
const SWAPPED_MAGIC = 0x9feb;

function reverse(bytes: Uint8Array, offset: number, size: number): void {
  bytes.subarray(offset, offset + size).reverse();
}

/** Reverses every unit of a section, as far as it lies in the bytes. */
function reverseAll(bytes: Uint8Array, offset: number, length: number, size: number): void {
  const end = Math.min(offset + length, bytes.length);
  for (let at = offset; at + size <= end; at += size) reverse(bytes, at, size);
}

/**
 * Little-endian BTF: the bytes themselves where they are that already, or no BTF at all; else a copy.
 * Nothing is judged here: what does not fit is left to the parser.
 */
export function littleEndianBTF(bytes: Uint8Array): Uint8Array {
  if (bytes.length < BTF_HEADER_SIZE_V0 || (bytes[0] ?? 0) + (bytes[1] ?? 0) * 256 !== SWAPPED_MAGIC) return bytes;
  const copy = Uint8Array.from(bytes);
  const view = new DataView(copy.buffer);
  reverse(copy, 0, 2);
  const headerLength = view.getUint32(4, false);
  reverseAll(copy, 4, (Math.min(headerLength, BTF_HEADER_SIZE) & ~3) - 4, 4);
  const field = (at: number): number => view.getUint32(at, true);
  if (headerLength < BTF_HEADER_SIZE_V0 || headerLength > copy.length) return copy;
  reverseAll(copy, headerLength + field(8), field(12), 4);
  // A layout entry is two single bytes and a 16-bit word of flags.
  if (headerLength >= BTF_HEADER_SIZE) {
    const start = headerLength + field(24);
    for (let at = start; at + 4 <= Math.min(start + field(28), copy.length); at += 4) reverse(copy, at + 2, 2);
  }
  return copy;
}
