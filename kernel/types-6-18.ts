/**
 * @module kernel/types-6-18
 * The one difference in the kernel's types that loaders of the contract before 7.3 depend on: `struct bpf_map` had the word `excl` behind
 * `sha` (`include/linux/bpf.h` of 7.2; 6.18.15 has no such word yet, and refuses such loaders), which they read to see that their map is exclusive. Given the types of 7.3, profile 6.18
 * shows that word where 7.3 has `ops`, which no program needs; types that have it already stay as they are.
 */
import { BTF } from '../btf/btf.ts';
import { BTF_KIND_INT, BTF_KIND_STRUCT } from '../isa/uapi.ts';

/** Offset of `excl` in `struct bpf_map`, bytes. */
export const EXCLUSIVE_FLAG = 32;
const TYPE_SIZE = 12, MEMBER_SIZE = 12;

const made: WeakMap<Uint8Array, Uint8Array> = new WeakMap();

/** The types of a 6.18 kernel from raw BTF; the same bytes give the same result. */
export function typesOf618(bytes: Uint8Array): Uint8Array {
  let types = made.get(bytes);
  if (types === undefined) {
    types = withExclusiveFlag(bytes);
    made.set(bytes, types);
  }
  return types;
}

function withExclusiveFlag(bytes: Uint8Array): Uint8Array {
  const btf = BTF.parse(bytes, { name: 'vmlinux', isKernel: true });
  const map = btf.findByNameKind('bpf_map', BTF_KIND_STRUCT), word = btf.findByNameKind('unsigned int', BTF_KIND_INT), ops = map > 0 ? btf.findMember(map, 'ops') : -1;
  if (ops < 0 || word <= 0 || btf.memberBitOffset(map, ops) !== EXCLUSIVE_FLAG * 8) return bytes;
  const changed = new Uint8Array(bytes), { headerLength, typeOffset } = btf.header;
  const member = headerLength + typeOffset + (btf.offsets[map - btf.startID] ?? 0) * 4 + TYPE_SIZE + ops * MEMBER_SIZE;
  new DataView(changed.buffer).setUint32(member + 4, word, true);
  return changed;
}
