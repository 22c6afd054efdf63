/**
 * @module btf/type-source
 * The least that somebody who prints or lays out types asks of BTF, and libbpf's rules of size and alignment over it. A kernel's types
 * (`BTF`) and an object's, which can be edited, both offer it. Reproduces `btf__resolve_size`, `btf__align_of` and `determine_ptr_size`
 * of `tools/lib/bpf/btf.c`.
 */
import {
  BTF_KIND_ARRAY, BTF_KIND_CONST, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC_PROTO,
  BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_RESTRICT, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_VAR,
  BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';
import type { BTF } from './btf.ts';

/** Modifiers and arrays inside one another (`MAX_RESOLVE_DEPTH`). */
const MAX_RESOLVE_DEPTH = 32;
/** Structures inside one another; C compilers stop earlier. */
const MAX_ALIGN_DEPTH = 256;
/** Names under which compilers know an integer of a pointer's size. */
const LONG_NAMES: ReadonlySet<string> = new Set(['long', 'long int', 'int long', 'unsigned long', 'long unsigned', 'unsigned long int',
  'unsigned int long', 'long unsigned int', 'long int unsigned', 'int unsigned long', 'int long unsigned']);

/** Types by id. Ids begin at 1; 0 is void. */
export interface TypeSource {
  /** One more than the highest id. */
  readonly count: number;
  /** Bytes of a pointer: 4 or 8. */
  readonly pointerSize: number;
  /** `BTF_KIND_*` */
  kind(id: number): number;
  /** Members, values, parameters or variables; a function's linkage. */
  vlen(id: number): number;
  kflag(id: number): boolean;
  /** A 32-bit word: 0 name, 1 info, 2 size or type, from 3 on what the kind has. */
  word(id: number, at: number): number;
  /** A string by its offset. */
  string(offset: number): string;
  /** Reports that the types make no sense. */
  fail(place: string, reason: string): never;
}

/** Size of pointers by the first integer that is called a long; 8 where there is none. */
function pointerSizeOf(btf: BTF): number {
  if (btf.base !== undefined) return pointerSizeOf(btf.base);
  for (let id = btf.startID; id < btf.endID; id++) {
    if (btf.kind(id) !== BTF_KIND_INT) continue;
    const size = btf.size(id);
    if ((size === 4 || size === 8) && LONG_NAMES.has(btf.typeName(id))) return size;
  }
  return 8;
}

/**
 * A kernel's or file's types as a source.
 * @param fail reports what is wrong with a type
 * @param pointerSize bytes; default: what the integers tell
 */
export function typeSource(btf: BTF, fail: (place: string, reason: string) => never, pointerSize: number = pointerSizeOf(btf)): TypeSource {
  return {
    count: btf.endID,
    pointerSize,
    kind: (id) => btf.kind(id),
    vlen: (id) => btf.vlen(id),
    kflag: (id) => btf.kflag(id),
    word: (id, at) => btf.word(id, at),
    string: (offset) => btf.stringAt(offset) ?? '',
    fail,
  };
}

/** True for const, volatile, restrict and type tags. */
export function isQualifier(kind: number): boolean {
  return kind === BTF_KIND_CONST || kind === BTF_KIND_VOLATILE || kind === BTF_KIND_RESTRICT || kind === BTF_KIND_TYPE_TAG;
}

/** True for what has its size in the third word. */
function hasSize(kind: number): boolean {
  return kind === BTF_KIND_INT || kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION || kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64
    || kind === BTF_KIND_DATASEC || kind === BTF_KIND_FLOAT;
}

/** Bytes of a value (`btf__resolve_size`); -1 where it has none. */
export function resolveSize(types: TypeSource, id: number): number {
  let at = id;
  let elements = 1;
  for (let depth = 0; depth < MAX_RESOLVE_DEPTH && at !== 0; depth++) {
    const kind = types.kind(at);
    if (kind === BTF_KIND_PTR) return types.pointerSize * elements;
    if (hasSize(kind)) {
      const size = types.word(at, 2) * elements;
      return size > 0xffffffff ? -1 : size;
    }
    if (kind === BTF_KIND_ARRAY) {
      elements *= types.word(at, 5);
      at = types.word(at, 3);
    } else if (isQualifier(kind) || kind === BTF_KIND_TYPEDEF || kind === BTF_KIND_VAR || kind === BTF_KIND_DECL_TAG) {
      at = types.word(at, 2);
    } else {
      return -1;
    }
    if (elements > 0xffffffff) return -1;
  }
  return -1;
}

/** Alignment in bytes (`btf__align_of`); 1 for what must be packed, 0 where the type has none. */
export function alignOf(types: TypeSource, id: number, depth = 0): number {
  if (depth > MAX_ALIGN_DEPTH) return 0;
  const kind = types.kind(id);
  switch (kind) {
    case BTF_KIND_INT: case BTF_KIND_ENUM: case BTF_KIND_ENUM64: case BTF_KIND_FLOAT: return Math.min(types.pointerSize, types.word(id, 2));
    case BTF_KIND_PTR: return types.pointerSize;
    case BTF_KIND_ARRAY: return alignOf(types, types.word(id, 3), depth + 1);
    case BTF_KIND_STRUCT: case BTF_KIND_UNION: return alignOfMembers(types, id, depth);
    default: return isQualifier(kind) || kind === BTF_KIND_TYPEDEF ? alignOf(types, types.word(id, 2), depth + 1) : 0;
  }
}

function alignOfMembers(types: TypeSource, id: number, depth: number): number {
  let largest = 1;
  for (let i = 0, n = types.vlen(id); i < n; i++) {
    const { type, word, bits } = memberOf(types, id, i);
    const align = alignOf(types, type, depth + 1);
    if (align <= 0) return align;
    largest = Math.max(largest, align);
    if (bits === 0 && word % (8 * align) !== 0) return 1;
  }
  return types.word(id, 2) % largest !== 0 ? 1 : largest;
}

/** A member of a struct or union. */
export interface SourceMember {
  readonly type: number;
  readonly nameOffset: number;
  /** The raw offset word, with a bit field's size in its top byte. */
  readonly word: number;
  /** Bits from the start. */
  readonly offset: number;
  /** Bits of a bit field, 0 for others. */
  readonly bits: number;
}

export function memberOf(types: TypeSource, id: number, index: number): SourceMember {
  const word = types.word(id, 5 + 3 * index);
  const hasBits = types.kflag(id);
  return {
    type: types.word(id, 4 + 3 * index), nameOffset: types.word(id, 3 + 3 * index), word,
    offset: hasBits ? word & 0xffffff : word, bits: hasBits ? word >>> 24 : 0,
  };
}

/** Ids that a type names, in the order of its words. */
export function referencedTypes(types: TypeSource, id: number): number[] {
  const kind = types.kind(id);
  const each = (first: number, step: number): number[] => Array.from({ length: types.vlen(id) }, (_, i) => types.word(id, first + step * i));
  switch (kind) {
    case BTF_KIND_ARRAY: return [types.word(id, 3), types.word(id, 4)];
    case BTF_KIND_STRUCT: case BTF_KIND_UNION: return each(4, 3);
    case BTF_KIND_FUNC_PROTO: return [types.word(id, 2), ...each(4, 2)];
    case BTF_KIND_DATASEC: return each(3, 3);
    default: return hasSize(kind) || kind === 0 || kind === BTF_KIND_FWD ? [] : [types.word(id, 2)];
  }
}
