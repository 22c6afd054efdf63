/**
 * @module btf/dedup
 * Merges equal types of BTF that was put together from several compilations: one type for each different one, forward declarations
 * resolved. Which of several equal types stays, and in which order, is visible in the bytes, so candidates
 * are tried in the order of libbpf's hash table. Owns the algorithm; reading and writing BTF is elsewhere. Reproduces `btf__dedup` of
 * `tools/lib/bpf/btf.c`.
 */
import { EINVAL, ELOOP } from '../isa/errno.ts';
import { InputError } from '../isa/errors.ts';
import {
  BTF_KIND_ARRAY, BTF_KIND_CONST, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_RESTRICT, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF,
  BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_VAR, BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';
import { kindOf, rewriteTypeIDs, vlenOf, type Rewrite } from './references.ts';

/** Rewrites the type ids of records beside the types (`.BTF.ext`). */
export type RewriteCompanion = (rewrite: Rewrite) => void;

const UNPROCESSED = 0xffffffff;
const IN_PROGRESS = 0xfffffffe;
const MAX_TYPES = 0x7fffffff;
/** How deep structures that should be the same are compared. */
const IDENTICAL_DEPTH = 16;
/** References in a chain that are followed; C programs have tens. */
const MAX_CHAIN = 2000;
/** Comparisons of one run: objects of a hundred kilobytes need some ten thousand. */
const MAX_STEPS = 20_000_000;
const SMALLEST_TABLE = 4;

/**
 * Removes duplicates. Names are compared by their offsets, so equal strings must have equal ones, as in a `StringSet`.
 *
 * @param types words of each type in native order, void first; they are changed
 * @param file name in messages
 * @param companion is told the new ids as well
 * @returns the types that stay, or `-errno` as libbpf
 * @throws {InputError} where chains or equal-looking types are more than any compiler writes
 *
 * @example
 * const kept = dedupTypes(types, 'a.o');
 */
export function dedupTypes(types: readonly Uint32Array[], file: string, companion?: RewriteCompanion): Uint32Array[] | number {
  return new Dedup(types, file).run(companion);
}

/**
 * Canonical types by signature. libbpf's table puts new entries in front of a bucket, and growing turns every bucket around; both
 * decide which of several candidates is found first.
 */
class CandidateTable {
  readonly #lists = new Map<string, number[]>();
  #size = 0;
  #capacity = 0;

  /** Candidates; the last comes first. */
  of(key: string): readonly number[] {
    return this.#lists.get(key) ?? [];
  }

  add(key: string, id: number): void {
    if (this.#capacity === 0 || Math.floor(((this.#size + 1) * 4) / 3) > this.#capacity) this.#grow();
    const list = this.#lists.get(key);
    if (list === undefined) this.#lists.set(key, [id]);
    else list.push(id);
    this.#size++;
  }

  #grow(): void {
    this.#capacity = this.#capacity === 0 ? SMALLEST_TABLE : this.#capacity * 2;
    for (const list of this.#lists.values()) if (list.length > 1) list.reverse();
  }
}

function equalWords(a: Uint32Array, b: Uint32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function equalCommon(a: Uint32Array, b: Uint32Array): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2];
}

function isAnyEnum(kind: number): boolean {
  return kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64;
}

function isComposite(kind: number): boolean {
  return kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION;
}

function isEnumForward(words: Uint32Array): boolean {
  return vlenOf(words) === 0;
}

/** Enumerations that may stand for one another: a forward declaration for any of its name, of either width. */
function compatibleEnums(a: Uint32Array, b: Uint32Array): boolean {
  if (!isAnyEnum(kindOf(a)) || !isAnyEnum(kindOf(b))) return false;
  return isEnumForward(a) || isEnumForward(b) ? a[0] === b[0] : equalWords(a, b);
}

/** Kind of what a forward declaration declares. */
function forwardKind(words: Uint32Array): number {
  return (words[1] ?? 0) >>> 31 === 1 ? BTF_KIND_UNION : BTF_KIND_STRUCT;
}

/** Equal but for the types of the members. */
function shallowEqualComposites(a: Uint32Array, b: Uint32Array): boolean {
  if (!equalCommon(a, b) || a.length !== b.length) return false;
  for (let i = 3; i < a.length; i += 3) if (a[i] !== b[i] || a[i + 2] !== b[i + 2]) return false;
  return true;
}

function compatibleArrays(a: Uint32Array, b: Uint32Array): boolean {
  return equalCommon(a, b) && a[5] === b[5];
}

/** Equal but for the types of result and parameters. */
function compatiblePrototypes(a: Uint32Array, b: Uint32Array): boolean {
  if (a[0] !== b[0] || a[1] !== b[1] || a.length !== b.length) return false;
  for (let i = 3; i < a.length; i += 2) if (a[i] !== b[i]) return false;
  return true;
}

/** Signature of a structure or typedef, which leaves out the types that it refers to. */
function shallowKey(words: Uint32Array): string {
  if (kindOf(words) === BTF_KIND_TYPEDEF) return `${words[0]},${words[1]}`;
  let key = `${words[0]},${words[1]},${words[2]}`;
  for (let i = 3; i < words.length; i += 3) key += `,${words[i]},${words[i + 2]}`;
  return key;
}

class Dedup {
  readonly #types: readonly Uint32Array[];
  readonly #file: string;
  /** Type that stands for each type, or one on the way there. */
  readonly #map: Uint32Array;
  /** While two graphs are compared: which type of the candidate stands for a canonical one. */
  readonly #hypotheses: Uint32Array;
  #assumed: number[] = [];
  readonly #table = new CandidateTable();
  #steps = 0;

  constructor(types: readonly Uint32Array[], file: string) {
    this.#types = types;
    this.#file = file;
    this.#map = new Uint32Array(types.length).fill(UNPROCESSED);
    this.#hypotheses = new Uint32Array(types.length).fill(UNPROCESSED);
    this.#map[0] = 0;
    for (const [id, words] of types.entries()) {
      const kind = kindOf(words);
      if (kind === BTF_KIND_VAR || kind === BTF_KIND_DATASEC) this.#map[id] = id;
    }
  }

  run(companion: RewriteCompanion | undefined): Uint32Array[] | number {
    const count = this.#types.length;
    for (let id = 1; id < count; id++) this.#primitive(id);
    for (let id = 1; id < count; id++) {
      const error = this.#composite(id);
      if (error < 0) return error;
    }
    this.#resolveForwards();
    for (let id = 1; id < count; id++) {
      const error = this.#reference(id, 0);
      if (error < 0) return error;
    }
    return this.#compact(companion);
  }

  #type(id: number): Uint32Array {
    return this.#types[id] ?? NO_TYPE;
  }

  #kind(id: number): number {
    return kindOf(this.#type(id));
  }

  #step(): void {
    if (++this.#steps > MAX_STEPS) throw new InputError(this.#file, 'section .BTF', `types take more than ${MAX_STEPS} comparisons to merge`);
  }

  #isMapped(id: number): boolean {
    return (this.#map[id] ?? UNPROCESSED) <= MAX_TYPES;
  }

  #resolve(id: number): number {
    let at = id;
    for (let i = 0; this.#isMapped(at) && this.#map[at] !== at; i++) {
      if (i > this.#types.length) throw new InputError(this.#file, `section .BTF, type ${id}`, 'stands for itself in a circle');
      at = this.#map[at] ?? 0;
    }
    return at;
  }

  // --- primitive types: what refers to no other ---------------------------------------------------------------------

  #primitive(id: number): void {
    const words = this.#type(id);
    switch (kindOf(words)) {
      case BTF_KIND_INT: case BTF_KIND_FWD: case BTF_KIND_FLOAT:
        this.#settle(id, words.join(','));
        return;
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64:
        this.#enumeration(id, words);
        return;
      default:
    }
  }

  /** Takes the first candidate of the same signature, or becomes one. */
  #settle(id: number, key: string): number {
    const same = this.#table.of(key).at(-1);
    this.#map[id] = same ?? id;
    if (same === undefined) this.#table.add(key, id);
    return same ?? id;
  }

  #enumeration(id: number, words: Uint32Array): void {
    const key = `enum ${words[0]}`;
    const candidates = this.#table.of(key);
    let found = id;
    for (let i = candidates.length - 1; i >= 0; i--) {
      this.#step();
      const candidateID = candidates[i] ?? 0;
      const candidate = this.#type(candidateID);
      if (equalWords(words, candidate)) {
        found = candidateID;
        break;
      }
      if (!compatibleEnums(words, candidate)) continue;
      if (isEnumForward(words)) {
        found = candidateID;
        break;
      }
      // The candidate is the forward declaration: it stands for this from now on.
      this.#map[candidateID] = id;
    }
    this.#map[id] = found;
    if (found === id) this.#table.add(key, id);
  }

  // --- structures, unions and typedefs: by comparing graphs ---------------------------------------------------------

  #composite(id: number): number {
    if (this.#isMapped(id)) return 0;
    const words = this.#type(id);
    const kind = kindOf(words);
    if (!isComposite(kind) && kind !== BTF_KIND_TYPEDEF) return 0;
    const key = shallowKey(words);
    const candidates = this.#table.of(key);
    let found = id;
    for (let i = candidates.length - 1; i >= 0; i--) {
      const candidate = candidates[i] ?? 0;
      this.#forgetAssumptions();
      const verdict = this.#isEquivalent(id, candidate);
      if (verdict < 0) return verdict;
      if (verdict === 0) continue;
      this.#acceptAssumptions();
      found = candidate;
      break;
    }
    this.#map[id] = found;
    if (found === id) this.#table.add(key, id);
    return 0;
  }

  #forgetAssumptions(): void {
    for (const id of this.#assumed) this.#hypotheses[id] = UNPROCESSED;
    this.#assumed = [];
  }

  /** A forward declaration that was resolved; otherwise the id itself. */
  #resolveForward(id: number): number {
    if (this.#kind(id) !== BTF_KIND_FWD) return id;
    const resolved = this.#resolve(id);
    return this.#kind(resolved) === BTF_KIND_FWD ? id : resolved;
  }

  /**
   * Whether two graphs of types are the same: 1, 0 or `-errno`. Both are walked side by side in depth-first order; what a canonical
   * type was met with is assumed to be the same from then on, which also ends cycles.
   */
  #isEquivalent(firstID: number, firstCanonID: number): number {
    const pairs = [firstCanonID, firstID];
    while (pairs.length > 0) {
      this.#step();
      const id = pairs.pop() ?? 0;
      let canonID = pairs.pop() ?? 0;
      if (this.#resolve(id) === this.#resolve(canonID)) continue;
      canonID = this.#resolveForward(canonID);
      const assumed = this.#hypotheses[canonID] ?? UNPROCESSED;
      if (assumed <= MAX_TYPES) {
        // Compilers sometimes write the same type twice into one compilation.
        if (assumed === id || this.#isIdentical(assumed, id, IDENTICAL_DEPTH)) continue;
        return 0;
      }
      this.#hypotheses[canonID] = id;
      this.#assumed.push(canonID);
      const verdict = this.#compare(this.#type(id), this.#type(canonID), pairs);
      if (verdict <= 0) return verdict;
    }
    return 1;
  }

  /** Compares two types and puts what they refer to onto the stack, first reference on top. */
  #compare(words: Uint32Array, canon: Uint32Array, pairs: number[]): number {
    if (words[0] !== canon[0]) return 0;
    const kind = kindOf(words);
    const canonKind = kindOf(canon);
    if (kind !== canonKind) {
      if (kind === BTF_KIND_FWD) return forwardKind(words) === canonKind ? 1 : 0;
      return canonKind === BTF_KIND_FWD && forwardKind(canon) === kind ? 1 : 0;
    }
    const both = (at: number): void => {
      pairs.push(canon[at] ?? 0, words[at] ?? 0);
    };
    switch (kind) {
      case BTF_KIND_INT: return equalWords(words, canon) ? 1 : 0;
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64: return compatibleEnums(words, canon) ? 1 : 0;
      case BTF_KIND_FWD: case BTF_KIND_FLOAT: return equalCommon(words, canon) ? 1 : 0;
      case BTF_KIND_CONST: case BTF_KIND_VOLATILE: case BTF_KIND_RESTRICT: case BTF_KIND_PTR: case BTF_KIND_TYPEDEF: case BTF_KIND_FUNC:
      case BTF_KIND_TYPE_TAG:
        if (words[1] !== canon[1]) return 0;
        both(2);
        return 1;
      case BTF_KIND_ARRAY:
        if (!compatibleArrays(words, canon)) return 0;
        both(3);
        both(4);
        return 1;
      case BTF_KIND_STRUCT: case BTF_KIND_UNION:
        if (!shallowEqualComposites(words, canon)) return 0;
        for (let at = words.length - 2; at >= 4; at -= 3) both(at);
        return 1;
      case BTF_KIND_FUNC_PROTO:
        if (!compatiblePrototypes(words, canon)) return 0;
        for (let at = words.length - 1; at >= 4; at -= 2) both(at);
        both(2);
        return 1;
      default: return -EINVAL;
    }
  }

  /** Whether two types of one graph are the same to a certain depth. */
  #isIdentical(firstID: number, secondID: number, depth: number): boolean {
    if (depth <= 0) return false;
    this.#step();
    const a = this.#type(firstID);
    const b = this.#type(secondID);
    const kind = kindOf(a);
    if (kind !== kindOf(b)) return false;
    const same = (at: number): boolean => a[at] === b[at] || this.#isIdentical(a[at] ?? 0, b[at] ?? 0, depth - 1);
    switch (kind) {
      case 0: return true;
      case BTF_KIND_INT: return equalWords(a, b);
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64: return compatibleEnums(a, b);
      case BTF_KIND_FWD: case BTF_KIND_FLOAT: return equalCommon(a, b);
      case BTF_KIND_CONST: case BTF_KIND_VOLATILE: case BTF_KIND_RESTRICT: case BTF_KIND_PTR: case BTF_KIND_TYPEDEF: case BTF_KIND_FUNC:
      case BTF_KIND_TYPE_TAG:
        // The depth does not shrink along such a chain; it ends, or the steps do.
        return a[1] === b[1] && a[0] === b[0] && this.#isIdenticalChain(a, b, depth);
      // libbpf compares an array's elements with themselves: arrays of one length are the same whatever they hold.
      case BTF_KIND_ARRAY: return compatibleArrays(a, b);
      case BTF_KIND_STRUCT: case BTF_KIND_UNION:
        if (!shallowEqualComposites(a, b)) return false;
        for (let at = 4; at < a.length; at += 3) if (!same(at)) return false;
        return true;
      case BTF_KIND_FUNC_PROTO:
        if (!compatiblePrototypes(a, b) || !same(2)) return false;
        for (let at = 4; at < a.length; at += 2) if (!same(at)) return false;
        return true;
      default: return false;
    }
  }

  /** Walks two chains of references of the same kinds and names; what is at their ends is compared. */
  #isIdenticalChain(first: Uint32Array, second: Uint32Array, depth: number): boolean {
    let [a, b] = [first, second];
    for (let length = 0; ; length++) {
      if (length > this.#types.length) throw new InputError(this.#file, 'section .BTF', 'types that refer to each other in a circle');
      this.#step();
      const [nextA, nextB] = [a[2] ?? 0, b[2] ?? 0];
      [a, b] = [this.#type(nextA), this.#type(nextB)];
      const kind = kindOf(a);
      const isReference = kind === BTF_KIND_CONST || kind === BTF_KIND_VOLATILE || kind === BTF_KIND_RESTRICT || kind === BTF_KIND_PTR
        || kind === BTF_KIND_TYPEDEF || kind === BTF_KIND_FUNC || kind === BTF_KIND_TYPE_TAG;
      if (!isReference) return this.#isIdentical(nextA, nextB, depth);
      if (a[1] !== b[1] || a[0] !== b[0]) return false;
    }
  }

  /** What was assumed in a comparison that succeeded resolves forward declarations and maps structures. */
  #acceptAssumptions(): void {
    for (const canonID of this.#assumed) {
      const target = this.#resolve(this.#hypotheses[canonID] ?? 0);
      const canon = this.#resolve(canonID);
      const targetKind = this.#kind(target);
      const canonKind = this.#kind(canon);
      if (targetKind !== BTF_KIND_FWD && canonKind === BTF_KIND_FWD) this.#map[canon] = target;
      if (targetKind === BTF_KIND_FWD && canonKind !== BTF_KIND_FWD) this.#map[target] = canon;
      if (isComposite(targetKind) && canonKind !== BTF_KIND_FWD && this.#isMapped(canon) && !this.#isMapped(target)) this.#map[target] = canon;
    }
  }

  /** Forward declarations that no graph resolved, where only one canonical structure has the name. */
  #resolveForwards(): void {
    /** 0 where several have the name. */
    const byName = new Map<number, number>();
    for (const [id, words] of this.#types.entries()) {
      if (!isComposite(kindOf(words)) || this.#map[id] !== id) continue;
      byName.set(words[0] ?? 0, byName.has(words[0] ?? 0) ? 0 : id);
    }
    for (const [id, words] of this.#types.entries()) {
      if (kindOf(words) !== BTF_KIND_FWD || this.#map[id] !== id) continue;
      const found = byName.get(words[0] ?? 0) ?? 0;
      if (found !== 0 && this.#kind(found) === forwardKind(words)) this.#map[id] = found;
    }
  }

  // --- references: by what they refer to, which is settled by now -----------------------------------------------------

  /** The canonical type of a type, or `-errno`. */
  #reference(id: number, depth: number): number {
    if (this.#map[id] === IN_PROGRESS) return -ELOOP;
    if (this.#isMapped(id)) return this.#resolve(id);
    if (depth > MAX_CHAIN) throw new InputError(this.#file, `section .BTF, type ${id}`, `more than ${MAX_CHAIN} types that refer to each other`);
    const words = this.#type(id);
    this.#map[id] = IN_PROGRESS;
    const settle = (at: number): number => {
      const target = this.#reference(words[at] ?? 0, depth + 1);
      if (target >= 0) words[at] = target;
      return target;
    };
    let error: number;
    switch (kindOf(words)) {
      case BTF_KIND_CONST: case BTF_KIND_VOLATILE: case BTF_KIND_RESTRICT: case BTF_KIND_PTR: case BTF_KIND_FUNC: case BTF_KIND_TYPE_TAG:
      case BTF_KIND_DECL_TAG:
        error = settle(2);
        break;
      case BTF_KIND_ARRAY:
        error = settle(3);
        if (error >= 0) error = settle(4);
        break;
      case BTF_KIND_FUNC_PROTO:
        error = settle(2);
        for (let at = 4; error >= 0 && at < words.length; at += 2) error = settle(at);
        break;
      default:
        error = -EINVAL;
    }
    return error < 0 ? error : this.#settle(id, words.join(','));
  }

  // --- compaction ---------------------------------------------------------------------------------------------------

  #compact(companion: RewriteCompanion | undefined): Uint32Array[] | number {
    const numbers = new Map<number, number>([[0, 0]]);
    const kept = [NO_TYPE];
    for (let id = 1; id < this.#types.length; id++) {
      if (this.#map[id] !== id) continue;
      numbers.set(id, kept.length);
      kept.push(this.#type(id));
    }
    let isComplete = true;
    const renumber = (id: number): number => {
      const to = numbers.get(this.#resolve(id));
      isComplete &&= to !== undefined;
      return to ?? 0;
    };
    for (const words of kept.slice(1)) rewriteTypeIDs(words, renumber);
    companion?.(renumber);
    return isComplete ? kept : -EINVAL;
  }
}

const NO_TYPE: Uint32Array = new Uint32Array(3);
