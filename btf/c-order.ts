/**
 * @module btf/c-order
 * The order in which `bpftool btf dump … format c` goes through types, so that headers of kernels that are nearly the same are nearly the
 * same: by what a type is, by the name behind it, by its own name, then by a hash over what it consists of. Reproduces `sort_btf_c` of
 * `tools/bpf/bpftool/btf.c` of Linux 7.3.
 */
import {
  BTF_KIND_ARRAY, BTF_KIND_CONST, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC_PROTO, BTF_KIND_INT,
  BTF_KIND_PTR, BTF_KIND_RESTRICT, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';
import type { TypeSource } from './type-source.ts';

const LAST_RANK = 10;
const MAX_DEPTH = 4096;
const TWO_32 = 2 ** 32;

/** Kinds that are only a view of another type. */
const REFERENCES: ReadonlySet<number> = new Set([
  BTF_KIND_TYPE_TAG, BTF_KIND_CONST, BTF_KIND_PTR, BTF_KIND_VOLATILE, BTF_KIND_RESTRICT, BTF_KIND_TYPEDEF, BTF_KIND_DECL_TAG,
]);

/** A 64-bit hash as two halves. */
interface Hash {
  readonly high: number;
  readonly low: number;
}

const EMPTY: Hash = { high: 0, low: 0 };

/** `hash * 31 + value`; `value` fits into 53 bits and may be negative. */
function mix({ high, low }: Hash, value: number): Hash {
  const sum = low * 31 + value;
  return { high: (high * 31 + Math.floor(sum / TWO_32)) >>> 0, low: sum >>> 0 };
}

function mixHash({ high, low }: Hash, value: Hash): Hash {
  const sum = low * 31 + value.low;
  return { high: (high * 31 + value.high + Math.floor(sum / TWO_32)) >>> 0, low: sum >>> 0 };
}

/** libbpf's hash of a string; characters are signed. */
function hashString(text: string): Hash {
  let hash = EMPTY;
  for (let i = 0; i < text.length; i++) hash = mix(hash, (text.charCodeAt(i) << 24) >> 24);
  return hash;
}

class Sorter {
  readonly #types: TypeSource;
  readonly #hashes = new Map<number, Hash>();

  constructor(types: TypeSource) {
    this.#types = types;
  }

  ids(): number[] {
    const rows = Array.from({ length: this.#types.count }, (_, id) => ({ id, rank: this.#rank(id), sortName: this.#sortName(id), ownName: this.#name(id) }));
    rows.sort((a, b) => {
      if (a.rank !== b.rank) return a.rank - b.rank;
      if (a.sortName !== b.sortName) return a.sortName < b.sortName ? -1 : 1;
      if (a.ownName !== b.ownName) return a.ownName < b.ownName ? -1 : 1;
      const [hashA, hashB] = [this.#hash(a.id, true, 0), this.#hash(b.id, true, 0)];
      return hashA.high - hashB.high || hashA.low - hashB.low || a.id - b.id;
    });
    return rows.map(({ id }) => id);
  }

  #name(id: number): string {
    return id === 0 ? '' : this.#types.string(this.#types.word(id, 0));
  }

  /** The type that one refers to; `undefined` where it stands for itself. */
  #target(id: number): number | undefined {
    const kind = id === 0 ? 0 : this.#types.kind(id);
    if (kind === BTF_KIND_ARRAY) return this.#types.word(id, 3);
    return REFERENCES.has(kind) ? this.#types.word(id, 2) : undefined;
  }

  #tooDeep(id: number): never {
    return this.#types.fail(`type ${id}`, 'a cycle of types');
  }

  #rank(first: number): number {
    let hasName = false;
    let id = first;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      if (id === 0) return LAST_RANK;
      hasName ||= this.#types.word(id, 0) !== 0;
      const target = this.#target(id);
      if (target === undefined) return rankOf(this.#types.kind(id), hasName);
      if (!hasName) return LAST_RANK;
      id = target;
    }
    return this.#tooDeep(first);
  }

  /** The name at the end of the references; an anonymous enumeration that is not referred to goes by its first value. */
  #sortName(first: number): string {
    let id = first;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const target = this.#target(id);
      if (target === undefined) {
        const kind = id === 0 ? 0 : this.#types.kind(id);
        const isOwn = depth === 0 && (kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64) && this.#types.word(id, 0) === 0 && this.#types.vlen(id) > 0;
        return isOwn ? this.#types.string(this.#types.word(id, 3)) : this.#name(id);
      }
      id = target;
    }
    return this.#tooDeep(first);
  }

  #mixName(hash: Hash, offset: number): Hash {
    return offset === 0 ? hash : mixHash(hash, hashString(this.#types.string(offset)));
  }

  #hash(id: number, withMembers: boolean, depth: number): Hash {
    if (id === 0) return EMPTY;
    const key = id * 2 + (withMembers ? 1 : 0);
    const known = this.#hashes.get(key);
    if (known !== undefined) return known;
    if (depth > MAX_DEPTH) return this.#tooDeep(id);
    const hash = this.#compute(id, withMembers, depth + 1);
    this.#hashes.set(key, hash);
    return hash;
  }

  #compute(id: number, withMembers: boolean, depth: number): Hash {
    const types = this.#types;
    let hash = this.#mixName(EMPTY, types.word(id, 0));
    const kind = types.kind(id);
    switch (kind) {
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64:
        for (let i = 0, n = types.vlen(id), step = kind === BTF_KIND_ENUM ? 2 : 3; i < n; i++) hash = this.#mixName(hash, types.word(id, 3 + step * i));
        return hash;
      case BTF_KIND_STRUCT: case BTF_KIND_UNION:
        if (!withMembers) return hash;
        for (let i = 0, n = types.vlen(id); i < n; i++) {
          hash = mixHash(this.#mixName(hash, types.word(id, 3 + 3 * i)), this.#hash(types.word(id, 4 + 3 * i), false, depth));
        }
        return hash;
      case BTF_KIND_ARRAY: return mixHash(mix(hash, types.word(id, 5)), this.#hash(types.word(id, 3), withMembers, depth));
      default: return REFERENCES.has(kind) ? mixHash(hash, this.#hash(types.word(id, 2), withMembers, depth)) : hash;
    }
  }
}

function rankOf(kind: number, hasName: boolean): number {
  switch (kind) {
    case BTF_KIND_ENUM: case BTF_KIND_ENUM64: return hasName ? 1 : 0;
    case BTF_KIND_INT: case BTF_KIND_FLOAT: return 2;
    case BTF_KIND_STRUCT: case BTF_KIND_UNION: return hasName ? 3 : LAST_RANK;
    case BTF_KIND_FUNC_PROTO: return hasName ? 4 : LAST_RANK;
    default: return LAST_RANK;
  }
}

/** All ids, void included, in bpftool's order. */
export function sortedForC(types: TypeSource): number[] {
  return new Sorter(types).ids();
}
