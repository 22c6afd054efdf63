/**
 * @module btf/name_index
 * Types of one BTF by name: by bisection where they are sorted, as the kernel's own are, else through an index that is made when it is
 * first needed. Reproduces the search of `btf_find_by_name_kind` and `btf_check_sorted` (kernel/bpf/btf.c).
 */
import type { BTF } from './btf.ts';

/** Own types of a BTF by name; ids are the BTF's. */
export class NameIndex {
  readonly #btf: BTF;
  /** First id of the named run where types are sorted by name; 0: not sorted; -1: not looked yet. */
  #namedStartID = -1;
  #byName: Map<string, number[]> | undefined;

  constructor(btf: BTF) {
    this.#btf = btf;
  }

  /** This BTF's own types of that name, in order of their ids. */
  idsByName(name: string): readonly number[] {
    if (name !== '' && this.namedStartID > 0) return this.#idsBySearch(name);
    this.#byName ??= this.#indexNames();
    return this.#byName.get(name) ?? [];
  }

  /** Own types whose name starts with `prefix`, in order of their ids: a bisection where the BTF is sorted, else a scan. */
  idsByPrefix(prefix: string): number[] {
    const ids: number[] = [];
    if (this.namedStartID > 0 && prefix !== '') {
      for (let i = this.#lowerBound(prefix); i < this.#btf.offsets.length && this.#startsWith(this.#btf.words[this.#btf.offsets[i] ?? 0] ?? 0, prefix); i++) {
        ids.push(this.#btf.startID + i);
      }
      return ids;
    }
    for (let i = 0; i < this.#btf.offsets.length; i++) {
      if (this.#startsWith(this.#btf.words[this.#btf.offsets[i] ?? 0] ?? 0, prefix)) ids.push(this.#btf.startID + i);
    }
    return ids;
  }

  /**
   * First id of the run of named types where own types are sorted by name (anonymous ones first), else 0. The kernel
   * searches such BTF by bisection (btf_check_sorted).
   */
  get namedStartID(): number {
    if (this.#namedStartID < 0) this.#namedStartID = this.#findNamedStart();
    return this.#namedStartID;
  }

  #findNamedStart(): number {
    let namedStart = 0;
    const own = this.#btf.offsets.length;
    if (own === 1) return 0;
    for (let index = 0; index < own; index++) {
      const offset = this.#btf.words[this.#btf.offsets[index] ?? 0] ?? 0;
      if (namedStart === 0 && this.#firstByte(offset) !== 0) namedStart = this.#btf.startID + index;
      if (index === 0) continue;
      const previous = this.#btf.words[this.#btf.offsets[index - 1] ?? 0] ?? 0;
      if (previous !== offset && this.#compare(previous, offset) > 0) return 0;
    }
    return namedStart;
  }

  #firstByte(offset: number): number {
    const owner = this.#ownerOf(offset);
    return owner.strings[offset - owner.startStringOffset] ?? 0;
  }

  #compare(a: number, b: number): number {
    const inA = this.#ownerOf(a);
    const inB = this.#ownerOf(b);
    let i = a - inA.startStringOffset;
    let j = b - inB.startStringOffset;
    for (;;) {
      const x = inA.strings[i++] ?? 0;
      const y = inB.strings[j++] ?? 0;
      if (x !== y) return x - y;
      if (x === 0) return 0;
    }
  }

  /** The BTF that has the string. */
  #ownerOf(stringOffset: number): BTF {
    let owner = this.#btf;
    while (stringOffset < owner.startStringOffset && owner.base !== undefined) owner = owner.base;
    return owner;
  }

  /** Compares the string at `offset` with `name`, as strcmp. */
  #compareWith(offset: number, name: string): number {
    const owner = this.#ownerOf(offset);
    let at = offset - owner.startStringOffset;
    for (let i = 0; ; i++) {
      const x = owner.strings[at++] ?? 0;
      const y = i < name.length ? name.charCodeAt(i) : 0;
      if (x !== y) return x - y;
      if (x === 0) return 0;
    }
  }

  #startsWith(offset: number, prefix: string): boolean {
    const owner = this.#ownerOf(offset);
    const at = offset - owner.startStringOffset;
    for (let i = 0; i < prefix.length; i++) if (owner.strings[at + i] !== prefix.charCodeAt(i)) return false;
    return true;
  }

  /** Index of the first own type of a sorted BTF whose name is not before `name`. */
  #lowerBound(name: string): number {
    let low = this.namedStartID - this.#btf.startID;
    let high = this.#btf.offsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compareWith(this.#btf.words[this.#btf.offsets[middle] ?? 0] ?? 0, name) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #idsBySearch(name: string): number[] {
    const ids: number[] = [];
    for (let i = this.#lowerBound(name); i < this.#btf.offsets.length && this.#compareWith(this.#btf.words[this.#btf.offsets[i] ?? 0] ?? 0, name) === 0; i++) {
      ids.push(this.#btf.startID + i);
    }
    return ids;
  }

  #indexNames(): Map<string, number[]> {
    const index = new Map<string, number[]>();
    for (let id = this.#btf.startID; id < this.#btf.endID; id++) {
      const name = this.#btf.typeName(id);
      const ids = index.get(name);
      if (ids === undefined) index.set(name, [id]);
      else ids.push(id);
    }
    return index;
  }
}
