/**
 * @module kernel/structs
 * Kernel structures in linear memory, laid out as the instance's BTF says: a member is written where a program compiled against
 * that BTF reads it. Owns offsets by name; not what the values mean. A kernel without BTF has no such structures.
 */
import type { BTF } from '../btf/btf.ts';
import { BTF_KIND_STRUCT } from '../isa/uapi.ts';
import type { KernelMemory } from './memory.ts';

/** Place of a member: bytes from the start of the struct, size in bytes; bit fields have `bits`. */
interface Place {
  readonly offset: number;
  readonly size: number;
  readonly bit: number;
  readonly bits: number;
}

const MAX_DEPTH = 16;

export class Structs {
  private readonly btf: () => BTF | undefined;
  private readonly memory: KernelMemory;
  private readonly sizes: Map<string, number> = new Map();
  private readonly places: Map<string, Place | undefined> = new Map();

  constructor(memory: KernelMemory, btf: () => BTF | undefined) {
    this.memory = memory;
    this.btf = btf;
  }

  /** `sizeof(struct name)`, 0 where the BTF has none. */
  size(name: string): number {
    let size = this.sizes.get(name);
    if (size === undefined) {
      const btf = this.btf();
      const id = btf?.findByNameKind(name, BTF_KIND_STRUCT) ?? 0;
      size = btf === undefined || id === 0 ? 0 : btf.size(id);
      this.sizes.set(name, size);
    }
    return size;
  }

  /** `offsetof(struct name, member)`, -1 where there is none. Looks into anonymous members. */
  offset(name: string, member: string): number {
    return this.place(name, member)?.offset ?? -1;
  }

  /** Zeroed memory for a struct (at least `least` bytes). @throws KernelOutOfMemory */
  allocate(name: string, least = 8): number {
    return this.memory.alloc(Math.max(this.size(name), least), name);
  }

  /** Writes a number into a member; unknown members are passed over. */
  set(name: string, at: number, member: string, value: number | bigint): void {
    const place = this.place(name, member);
    if (place === undefined) return;
    const view = this.memory.view;
    const start = at + place.offset;
    if (place.bits > 0) {
      const mask = (2 ** place.bits - 1) << place.bit;
      view.setUint32(start, ((view.getUint32(start, true) & ~mask) | ((Number(value) << place.bit) & mask)) >>> 0, true);
      return;
    }
    const number = BigInt(value);
    for (let i = 0; i < Math.min(place.size, 8); i++) view.setUint8(start + i, Number((number >> BigInt(8 * i)) & 0xffn));
  }

  /** Writes a kernel pointer into a member; 0 is null. */
  point(name: string, at: number, member: string, target: number): void {
    const place = this.place(name, member);
    if (place !== undefined) this.memory.space.setPointer(at + place.offset, target);
  }

  /** A member of up to 8 bytes, unsigned; 0 for unknown members. */
  get(name: string, at: number, member: string): bigint {
    const place = this.place(name, member);
    if (place === undefined) return 0n;
    let value = 0n;
    for (let i = Math.min(place.size, 8) - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.memory.view.getUint8(at + place.offset + i));
    return place.bits > 0 ? (value >> BigInt(place.bit)) & ((1n << BigInt(place.bits)) - 1n) : value;
  }

  private place(name: string, member: string): Place | undefined {
    const key = `${name}.${member}`;
    if (this.places.has(key)) return this.places.get(key);
    const btf = this.btf();
    const id = btf?.findByNameKind(name, BTF_KIND_STRUCT) ?? 0;
    const place = btf === undefined || id === 0 ? undefined : findPlace(btf, id, member, 0, 0);
    this.places.set(key, place);
    return place;
  }
}

function findPlace(btf: BTF, id: number, member: string, baseBits: number, depth: number): Place | undefined {
  if (depth > MAX_DEPTH) return undefined;
  for (let i = 0; i < btf.vlen(id); i++) {
    const bits = baseBits + btf.memberBitOffset(id, i);
    const type = btf.memberType(id, i);
    const name = btf.memberName(id, i);
    if (name === member) {
      const width = btf.memberBitfieldSize(id, i);
      const size = btf.resolveSize(type) ?? 0;
      if (width === 0) return { offset: bits >> 3, size, bit: 0, bits: 0 };
      return { offset: (bits >> 5) * 4, size: 4, bit: bits & 31, bits: width };
    }
    const inner = btf.skipModifiers(type);
    if (name === '' && btf.isStructOrUnion(inner)) {
      const found = findPlace(btf, inner, member, bits, depth + 1);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}
