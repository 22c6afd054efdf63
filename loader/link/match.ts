/**
 * @module loader/link/match
 * Whether two declarations of one global symbol agree: types of variables and functions, and definitions of maps. Owns the comparison
 * and libbpf's messages. Reproduces `glob_syms_match` of `tools/lib/bpf/linker.c`.
 */
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from '../object/btf-object.ts';
import { btfKindName, parseMapDefinition } from '../object/map-defs.ts';
import type { MapDefinition } from '../object/model.ts';

/** Types of one symbol that are compared; C compilers stop far earlier. */
const MAX_STEPS = 100_000;
const MAX_DEPTH = 1000;
const BTF_STATIC = 0;

const HAS_NAME: ReadonlySet<number> = new Set([
  U.BTF_KIND_STRUCT, U.BTF_KIND_UNION, U.BTF_KIND_ENUM, U.BTF_KIND_ENUM64, U.BTF_KIND_FWD, U.BTF_KIND_FUNC, U.BTF_KIND_VAR,
]);

/** A type of one object. */
export interface TypeOf {
  readonly btf: ObjectBTF;
  readonly id: number;
}

/** The disagreement, in libbpf's words; `undefined` where there is none. */
type Mismatch = string | undefined;

class TypeMatcher {
  readonly #symbol: string;
  readonly #file: string;
  #steps = 0;

  constructor(symbol: string, file: string) {
    this.#symbol = symbol;
    this.#file = file;
  }

  #differs(reason: string): string {
    return `global '${this.#symbol}': ${reason}`;
  }

  /** Exact comparison goes into structures; behind a pointer only kinds and names count. */
  compare(first: TypeOf, second: TypeOf, isExact: boolean, depth = 0): Mismatch {
    if (++this.#steps > MAX_STEPS || depth > MAX_DEPTH) throw new InputError(this.#file, `symbol ${this.#symbol}`, `more than ${MAX_STEPS} types in it, or a circle of them`);
    const a = { btf: first.btf, id: first.btf.skipModifiers(first.id) };
    const b = { btf: second.btf, id: second.btf.skipModifiers(second.id) };
    const kind = a.btf.kind(a.id);
    const otherKind = b.btf.kind(b.id);
    if (!isExact && (kind === U.BTF_KIND_FWD) !== (otherKind === U.BTF_KIND_FWD)) return this.#compareForward(a, b, kind === U.BTF_KIND_FWD);
    const what = btfKindName(kind);
    if (kind !== otherKind) return this.#differs(`incompatible BTF kinds ${what} and ${btfKindName(otherKind)}`);
    const [name, otherName] = [nameOf(a), nameOf(b)];
    if (HAS_NAME.has(kind) && name !== otherName) return this.#differs(`incompatible ${what} names '${name}' and '${otherName}'`);
    const next = (at: number, exactly = isExact): Mismatch => this.compare({ btf: a.btf, id: a.btf.word(a.id, at) }, { btf: b.btf, id: b.btf.word(b.id, at) }, exactly, depth + 1);
    switch (kind) {
      case 0: case U.BTF_KIND_FWD: return undefined;
      case U.BTF_KIND_INT: case U.BTF_KIND_FLOAT: case U.BTF_KIND_ENUM: case U.BTF_KIND_ENUM64: {
        const [size, otherSize] = [a.btf.target(a.id), b.btf.target(b.id)];
        // libbpf prints no name of an integer: it has not looked for one.
        const shown = HAS_NAME.has(kind) ? name : '(null)';
        return size === otherSize ? undefined : this.#differs(`incompatible ${what} '${shown}' size ${size} and ${otherSize}`);
      }
      case U.BTF_KIND_PTR: return next(2, false);
      case U.BTF_KIND_ARRAY: return next(3);
      case U.BTF_KIND_FUNC:
        if ((a.btf.vlen(a.id) === BTF_STATIC) !== (b.btf.vlen(b.id) === BTF_STATIC)) return this.#differs(`incompatible func '${name}' linkage`);
        return next(2);
      case U.BTF_KIND_VAR:
        if ((a.btf.word(a.id, 3) === BTF_STATIC) !== (b.btf.word(b.id, 3) === BTF_STATIC)) return this.#differs(`incompatible var '${name}' linkage`);
        return next(2);
      case U.BTF_KIND_STRUCT: case U.BTF_KIND_UNION: return isExact ? this.#compareMembers(a, b, what, next) : undefined;
      case U.BTF_KIND_FUNC_PROTO: return this.#compareParams(a, b, what, next);
      default: return this.#differs(`unsupported BTF kind ${what}`);
    }
  }

  #compareForward(a: TypeOf, b: TypeOf, isFirst: boolean): Mismatch {
    const [name, otherName] = [nameOf(a), nameOf(b)];
    if (name !== otherName) return this.#differs(`incompatible forward declaration names '${name}' and '${otherName}'`);
    const [forward, concrete] = isFirst ? [a, b] : [b, a];
    const isUnion = forward.btf.kflag(forward.id);
    const kind = concrete.btf.kind(concrete.id);
    if (kind === (isUnion ? U.BTF_KIND_UNION : U.BTF_KIND_STRUCT)) return undefined;
    return this.#differs(`incompatible ${isUnion ? 'union' : 'struct'} forward declaration and concrete kind ${btfKindName(kind)}`);
  }

  #compareMembers(a: TypeOf, b: TypeOf, what: string, next: (at: number) => Mismatch): Mismatch {
    const [count, otherCount] = [a.btf.vlen(a.id), b.btf.vlen(b.id)];
    if (count !== otherCount) return this.#differs(`incompatible number of ${what} fields ${count} and ${otherCount}`);
    for (let i = 0; i < count; i++) {
      const at = 3 + 3 * i;
      const [name, otherName] = [a.btf.string(a.btf.word(a.id, at)), b.btf.string(b.btf.word(b.id, at))];
      if (name !== otherName) return this.#differs(`incompatible field #${i} names '${name}' and '${otherName}'`);
      if (a.btf.word(a.id, at + 2) !== b.btf.word(b.id, at + 2)) return this.#differs(`incompatible field #${i} ('${name}') offsets`);
      const mismatch = next(at + 1);
      if (mismatch !== undefined) return mismatch;
    }
    return undefined;
  }

  #compareParams(a: TypeOf, b: TypeOf, what: string, next: (at: number) => Mismatch): Mismatch {
    const [count, otherCount] = [a.btf.vlen(a.id), b.btf.vlen(b.id)];
    if (count !== otherCount) return this.#differs(`incompatible number of ${what} params ${count} and ${otherCount}`);
    for (let i = 0; i < count; i++) {
      const mismatch = next(4 + 2 * i);
      if (mismatch !== undefined) return mismatch;
    }
    return next(2);
  }
}

function nameOf({ btf, id }: TypeOf): string {
  return btf.string(btf.nameOffset(id));
}

/** Compares two declarations of a variable or function. */
export function typeMismatch(symbol: string, first: TypeOf, second: TypeOf, file: string): Mismatch {
  return new TypeMatcher(symbol, file).compare(first, second, true);
}

/** Compares two definitions of a map: an extern one must say everything that the concrete one says. */
export function mapMismatch(symbol: string, first: TypeOf, second: TypeOf, file: string): Mismatch {
  if (second.btf.kind(second.id) !== U.BTF_KIND_VAR) return `global '${symbol}': invalid map definition type [${second.id}]`;
  const parse = ({ btf, id }: TypeOf): ReturnType<typeof parseMapDefinition> => parseMapDefinition(btf, file, symbol, btf.skipModifiers(btf.target(id)));
  const extra = parse(second);
  const main = parse(first);
  return definitionMismatch(symbol, first.btf, main.definition, second.btf, extra.definition, file)
    ?? ((main.inner === undefined) === (extra.inner === undefined) ? undefined : `global '${symbol}': map inner map mismatch`)
    ?? (main.inner === undefined || extra.inner === undefined ? undefined : definitionMismatch(`${symbol}.inner`, first.btf, main.inner, second.btf, extra.inner, file));
}

function definitionMismatch(symbol: string, mainBTF: ObjectBTF, main: MapDefinition, extraBTF: ObjectBTF, extra: MapDefinition, file: string): Mismatch {
  const differs = (what: string): string => `global '${symbol}': map ${what} mismatch`;
  const types = (mainID: number, extraID: number, what: string): Mismatch => {
    if ((mainID === 0) !== (extraID === 0)) return differs(`${what} type`);
    if (mainID === 0) return undefined;
    const mismatch = typeMismatch(symbol, { btf: mainBTF, id: mainID }, { btf: extraBTF, id: extraID }, file);
    // libbpf says "key type" of values too.
    return mismatch === undefined ? undefined : `${mismatch}; ${differs('key type')}`;
  };
  if (main.type !== extra.type) return differs('type');
  if (main.keySize !== extra.keySize) return differs('key_size');
  const key = types(main.keyTypeID, extra.keyTypeID, 'key');
  if (key !== undefined) return key;
  if (main.valueSize !== extra.valueSize) return differs('value_size');
  const value = types(main.valueTypeID, extra.valueTypeID, 'value');
  if (value !== undefined) return value;
  if (main.maxEntries !== extra.maxEntries) return differs('max_entries');
  if (main.flags !== extra.flags) return differs('map_flags');
  if (main.numaNode !== extra.numaNode) return differs('numa_node');
  return main.pinned === extra.pinned ? undefined : differs('pinning');
}
