/**
 * @module btf/btf
 * The BTF type graph as plain data over the bytes it came from: one pass finds where every type begins, everything else is
 * read from the words on demand. Owns the lookups over it (type by id, name and kind, modifiers, sizes); the encoding is
 * `encoding.ts`, the search by name `name_index.ts`. Does not own the rules of `BPF_BTF_LOAD` (btf/check.ts), BTF.ext (btf/ext.ts), nor the
 * objects of a kernel that have ids and descriptors (kernel room).
 *
 * Names are decoded byte for byte (latin-1): they reappear unchanged in logs, whatever bytes they hold.
 */
import { InputError } from '../isa/errors.ts';
import {
  BTF_KIND_ARRAY, BTF_KIND_DATASEC, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO,
  BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_VAR, BTF_MAGIC, BTF_VERSION,
} from '../isa/uapi.ts';
import {
  BTF_HEADER_SIZE_V0, indexTypes, isModifierKind, readBTFHeader, TYPE_WORDS, wordsOf, type BTFHeader, type EnumValue, type IntType,
  type Member, type Param, type SectionVariable,
} from './encoding.ts';
import { NameIndex } from './name_index.ts';

export {
  BTF_HEADER_SIZE, BTF_HEADER_SIZE_V0, BTF_INT_BOOL, BTF_INT_CHAR, BTF_INT_SIGNED, BTF_KIND_NAMES, isModifierKind, readBTFHeader,
  trailingWords, wordsOf, type BTFHeader, type EnumValue, type IntType, type Member, type Param, type SectionVariable,
} from './encoding.ts';

/** Longest chain of modifiers or arrays that a walk follows; checked BTF has at most 32 (MAX_RESOLVE_DEPTH). */
const MAX_WALK = 64;

/** Where BTF is split, which BTF it extends; and what it is called in messages. */
export interface BTFOptions {
  /** The BTF that a split BTF extends (a module's: the kernel's). */
  readonly base?: BTF | undefined;
  /** Name in messages: a file, a section, or the name of a kernel module. */
  readonly name?: string;
  /** True for the BTF of a kernel or a module. */
  readonly isKernel?: boolean;
  /** libbpf does not look at the header's version. */
  readonly anyVersion?: boolean;
}

/**
 * A parsed BTF. Type ids are global over the split: ids below {@link BTF.startID} belong to the base. Every accessor that
 * takes an id accepts any number; one that names no type reads as kind `-1`, name `""`, and zeros.
 *
 * @example
 * const btf = BTF.parse(bytes);
 * const id = btf.findByNameKind('task_struct', BTF_KIND_STRUCT);
 * for (const member of btf.members(id)) console.log(member.name, member.bitOffset / 8);
 */
export class BTF {
  /** The whole BTF as it came, header included. */
  readonly bytes: Uint8Array;
  readonly header: BTFHeader;
  readonly base: BTF | undefined;
  /** `"vmlinux"`, the module's name, a file's or section's, or `""`. */
  readonly name: string;
  readonly isKernel: boolean;
  /** First id of this BTF's own types: 1 without a base, else the base's {@link endID}. */
  readonly startID: number;
  /** One past the last id. */
  readonly endID: number;
  /** Offset that this BTF's strings start at; 0 without a base. */
  readonly startStringOffset: number;
  /** The type section as words. */
  readonly words: Uint32Array;
  /** Word offset in {@link words} by `id - startID`. */
  readonly offsets: Uint32Array;
  readonly #strings: Uint8Array;
  readonly #nameCache = new Map<number, string>();
  readonly #names: NameIndex;

  /** For {@link BTF.parse} and the checker: `offsets` must describe `words` fully. */
  constructor(bytes: Uint8Array, header: BTFHeader, words: Uint32Array, offsets: Uint32Array, options: BTFOptions) {
    this.bytes = bytes;
    this.header = header;
    this.base = options.base;
    this.name = options.name ?? '';
    this.isKernel = options.isKernel ?? false;
    this.words = words;
    this.offsets = offsets;
    this.startID = options.base === undefined ? 1 : options.base.endID;
    this.endID = this.startID + offsets.length;
    this.startStringOffset = options.base === undefined ? 0 : options.base.startStringOffset + options.base.header.stringLength;
    const start = header.headerLength + header.stringOffset;
    this.#strings = bytes.subarray(start, start + header.stringLength);
    this.#names = new NameIndex(this);
  }

  /**
   * Parses BTF that a tool reads (a kernel's, an object's section): bounds and record sizes are checked, meaning is not
   * (`checkBTF` of btf/check.ts does what the kernel does).
   *
   * @throws {InputError} where the bytes are no BTF or end too early; it names the offending byte or type.
   */
  static parse(bytes: Uint8Array, options: BTFOptions = {}): BTF {
    const file = options.name ?? 'BTF';
    const header = readBTFHeader(bytes);
    if (header === undefined) throw new InputError(file, `byte ${bytes.length}`, 'ends inside the BTF header (24 bytes)');
    if (header.magic === 0x9feb) throw new InputError(file, 'byte 0', 'big-endian BTF is not supported');
    if (header.magic !== BTF_MAGIC) {
      throw new InputError(file, 'byte 0', `no BTF: magic is 0x${header.magic.toString(16)}, not 0x${BTF_MAGIC.toString(16)}`);
    }
    if (header.version !== BTF_VERSION && options.anyVersion !== true) throw new InputError(file, 'byte 2', `unknown BTF version ${header.version}`);
    const bodyLength = bytes.length - header.headerLength;
    if (header.headerLength < BTF_HEADER_SIZE_V0 || bodyLength < 0) {
      throw new InputError(file, 'byte 4', `header length ${header.headerLength} does not fit into ${bytes.length} bytes`);
    }
    if (header.typeOffset % 4 !== 0 || header.typeOffset + header.typeLength > bodyLength) {
      throw new InputError(file, 'byte 8', `type section (${header.typeOffset}, ${header.typeLength} bytes) exceeds ${bodyLength} bytes`);
    }
    if (header.stringOffset + header.stringLength > bodyLength) {
      throw new InputError(file, 'byte 16', `string section (${header.stringOffset}, ${header.stringLength} bytes) exceeds ${bodyLength} bytes`);
    }
    if (header.stringLength > 0 && bytes[header.headerLength + header.stringOffset + header.stringLength - 1] !== 0) {
      throw new InputError(file, 'byte 16', 'string section does not end with a zero byte');
    }
    const words = wordsOf(bytes, header.headerLength + header.typeOffset, header.typeLength);
    return new BTF(bytes, header, words, indexTypes(file, words, header, bytes), options);
  }

  // ---------------------------------------------------------------- strings

  /** True where {@link stringAt} gives a string; does not make it. */
  hasString(offset: number): boolean {
    if (offset < this.startStringOffset) return this.base?.hasString(offset) ?? false;
    return offset - this.startStringOffset < this.#strings.length;
  }

  /** The string at `offset` of the (split) string section; `undefined` where the offset lies outside. */
  stringAt(offset: number): string | undefined {
    if (offset < this.startStringOffset) return this.base?.stringAt(offset);
    const cached = this.#nameCache.get(offset);
    if (cached !== undefined) return cached;
    const strings = this.#strings;
    let at = offset - this.startStringOffset;
    if (at >= strings.length) return undefined;
    const start = at;
    while (at < strings.length && strings[at] !== 0) at++;
    let text = '';
    for (let from = start; from < at; from += 4096) {
      text += String.fromCharCode(...strings.subarray(from, Math.min(at, from + 4096)));
    }
    this.#nameCache.set(offset, text);
    return text;
  }

  /** The bytes of the own string section. */
  get strings(): Uint8Array {
    return this.#strings;
  }

  // ---------------------------------------------------------------- types

  /** Word offset of an own type in {@link words}, -1 where `id` is not this BTF's own. */
  wordOffset(id: number): number {
    const index = id - this.startID;
    return index >= 0 && index < this.offsets.length ? (this.offsets[index] ?? -1) : -1;
  }

  /** True for every id that names a type, 0 (void) included. */
  has(id: number): boolean {
    return id >= 0 && id < this.endID;
  }

  /** A 32-bit word of a type: 0 name, 1 info, 2 size or type, from 3 on what the kind has; 0 where there is none. */
  word(id: number, at: number): number {
    if (id < this.startID) return this.base === undefined ? 0 : this.base.word(id, at);
    const offset = this.offsets[id - this.startID];
    return offset === undefined ? 0 : (this.words[offset + at] ?? 0);
  }

  /** `BTF_KIND_*`; 0 for void, -1 for an id that names no type. */
  kind(id: number): number {
    if (id < this.startID) return id === 0 ? 0 : (this.base?.kind(id) ?? -1);
    const offset = this.offsets[id - this.startID];
    return offset === undefined ? -1 : ((this.words[offset + 1] ?? 0) >>> 24) & 0x7f;
  }

  /** The `info` word. */
  info(id: number): number {
    return this.word(id, 1);
  }

  /** Number of members, values, parameters or variables; a function's linkage. */
  vlen(id: number): number {
    return this.word(id, 1) & 0xffffff;
  }

  /** The kind flag: bit-field encoding, forward union, signed enumeration, attribute tags. */
  kflag(id: number): boolean {
    return this.word(id, 1) >>> 31 === 1;
  }

  /** The third word: size or referred type, as the kind says. */
  sizeOrType(id: number): number {
    return this.word(id, 2);
  }

  /** `t->size`, bytes, of int, struct, union, enum, enum64, float and data section. */
  size(id: number): number {
    return this.word(id, 2);
  }

  /** `t->type` of pointer, modifiers, function (its prototype), prototype (its result), variable, tags; 0 is void. */
  type(id: number): number {
    return this.word(id, 2);
  }

  nameOffset(id: number): number {
    return this.word(id, 0);
  }

  /** The type's name, `""` for anonymous ones. */
  typeName(id: number): string {
    const offset = this.word(id, 0);
    return offset === 0 ? '' : (this.stringAt(offset) ?? '');
  }

  /** The type's name as the kernel logs it: `(anon)` without one (`__btf_name_by_offset`). */
  logName(id: number): string {
    const offset = this.word(id, 0);
    return offset === 0 ? '(anon)' : (this.stringAt(offset) ?? '(invalid-name-offset)');
  }

  isStructOrUnion(id: number): boolean {
    const kind = this.kind(id);
    return kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION;
  }

  /** The integer's encoding; only for kind INT. */
  int(id: number): IntType {
    const word = this.word(id, TYPE_WORDS);
    return { size: this.size(id), bits: word & 0xff, offset: (word >>> 16) & 0xff, encoding: (word >>> 24) & 0xf };
  }

  arrayElementType(id: number): number {
    return this.word(id, TYPE_WORDS);
  }

  arrayIndexType(id: number): number {
    return this.word(id, TYPE_WORDS + 1);
  }

  arrayLength(id: number): number {
    return this.word(id, TYPE_WORDS + 2);
  }

  // Members of struct and union, by index.

  memberNameOffset(id: number, index: number): number {
    return this.word(id, TYPE_WORDS + index * 3);
  }

  memberName(id: number, index: number): string {
    const offset = this.word(id, TYPE_WORDS + index * 3);
    return offset === 0 ? '' : (this.stringAt(offset) ?? '');
  }

  memberType(id: number, index: number): number {
    return this.word(id, TYPE_WORDS + index * 3 + 1);
  }

  /** The member's raw `offset` word: bit offset, with a bit field's size in the top byte where the kind flag is set. */
  memberOffsetWord(id: number, index: number): number {
    return this.word(id, TYPE_WORDS + index * 3 + 2);
  }

  /** Bits from the start of the struct. */
  memberBitOffset(id: number, index: number): number {
    const word = this.word(id, TYPE_WORDS + index * 3 + 2);
    return this.kflag(id) ? word & 0xffffff : word;
  }

  /** Bits of a bit field, 0 for a plain member. */
  memberBitfieldSize(id: number, index: number): number {
    return this.kflag(id) ? this.word(id, TYPE_WORDS + index * 3 + 2) >>> 24 : 0;
  }

  members(id: number): Member[] {
    if (!this.isStructOrUnion(id)) return [];
    const members: Member[] = [];
    for (let i = 0, n = this.vlen(id); i < n; i++) {
      members.push({
        name: this.memberName(id, i), type: this.memberType(id, i), bitOffset: this.memberBitOffset(id, i),
        bitfieldSize: this.memberBitfieldSize(id, i),
      });
    }
    return members;
  }

  /** Index of a struct's own member by name, -1 if there is none; does not look into anonymous members. */
  findMember(id: number, name: string): number {
    if (!this.isStructOrUnion(id)) return -1;
    for (let i = 0, n = this.vlen(id); i < n; i++) if (this.memberName(id, i) === name) return i;
    return -1;
  }

  // Parameters of a prototype, by index.

  paramNameOffset(protoID: number, index: number): number {
    return this.word(protoID, TYPE_WORDS + index * 2);
  }

  paramName(protoID: number, index: number): string {
    const offset = this.word(protoID, TYPE_WORDS + index * 2);
    return offset === 0 ? '' : (this.stringAt(offset) ?? '');
  }

  paramType(protoID: number, index: number): number {
    return this.word(protoID, TYPE_WORDS + index * 2 + 1);
  }

  params(protoID: number): Param[] {
    if (this.kind(protoID) !== BTF_KIND_FUNC_PROTO) return [];
    const params: Param[] = [];
    for (let i = 0, n = this.vlen(protoID); i < n; i++) {
      params.push({ name: this.paramName(protoID, i), type: this.paramType(protoID, i) });
    }
    return params;
  }

  /** The prototype of a FUNC, or of a PTR to a prototype; 0 where there is none. */
  functionProto(id: number): number {
    let at = this.skipModifiers(id);
    if (this.kind(at) === BTF_KIND_PTR) at = this.skipModifiers(this.type(at));
    else if (this.kind(at) === BTF_KIND_FUNC) at = this.type(at);
    return this.kind(at) === BTF_KIND_FUNC_PROTO ? at : 0;
  }

  /** `BTF_FUNC_STATIC`, `BTF_FUNC_GLOBAL`, `BTF_FUNC_EXTERN`. */
  functionLinkage(id: number): number {
    return this.vlen(id);
  }

  // Enumerations, for ENUM and ENUM64.

  enumNameOffset(id: number, index: number): number {
    return this.word(id, TYPE_WORDS + index * (this.kind(id) === BTF_KIND_ENUM64 ? 3 : 2));
  }

  enumName(id: number, index: number): string {
    return this.stringAt(this.enumNameOffset(id, index)) ?? '';
  }

  /** Low 32 bits of a value, unsigned. */
  enumValueLo(id: number, index: number): number {
    return this.word(id, TYPE_WORDS + index * (this.kind(id) === BTF_KIND_ENUM64 ? 3 : 2) + 1);
  }

  /** High 32 bits, unsigned: of ENUM64 as written, of ENUM the extension (by sign where the enumeration is signed). */
  enumValueHi(id: number, index: number): number {
    if (this.kind(id) === BTF_KIND_ENUM64) return this.word(id, TYPE_WORDS + index * 3 + 2);
    return this.kflag(id) && this.enumValueLo(id, index) >= 0x80000000 ? 0xffffffff : 0;
  }

  enumValues(id: number): EnumValue[] {
    const kind = this.kind(id);
    if (kind !== BTF_KIND_ENUM && kind !== BTF_KIND_ENUM64) return [];
    const isSigned = this.kflag(id);
    const values: EnumValue[] = [];
    for (let i = 0, n = this.vlen(id); i < n; i++) {
      const lo = this.enumValueLo(id, i);
      const hi = this.enumValueHi(id, i);
      const raw = (BigInt(hi) << 32n) | BigInt(lo);
      values.push({ name: this.enumName(id, i), lo, hi, value: isSigned ? BigInt.asIntN(64, raw) : raw });
    }
    return values;
  }

  /** `BTF_VAR_STATIC`, `BTF_VAR_GLOBAL_ALLOCATED`, `BTF_VAR_GLOBAL_EXTERN`. */
  variableLinkage(id: number): number {
    return this.word(id, TYPE_WORDS);
  }

  sectionVariables(id: number): SectionVariable[] {
    if (this.kind(id) !== BTF_KIND_DATASEC) return [];
    const variables: SectionVariable[] = [];
    for (let i = 0, n = this.vlen(id); i < n; i++) {
      const at = TYPE_WORDS + i * 3;
      variables.push({ type: this.word(id, at), offset: this.word(id, at + 1), size: this.word(id, at + 2) });
    }
    return variables;
  }

  /** Member or argument that a declaration tag concerns, -1 for the declaration itself. */
  declTagComponent(id: number): number {
    return this.word(id, TYPE_WORDS) | 0;
  }

  // ---------------------------------------------------------------- walks

  /** The first id at or below `id` that is no modifier (typedef, const, volatile, restrict, type tag). */
  skipModifiers(id: number): number {
    let at = id;
    for (let steps = 0; steps < MAX_WALK && isModifierKind(this.kind(at)); steps++) at = this.type(at);
    return at;
  }

  /** What a pointer (behind modifiers) points to, modifiers skipped; `undefined` where `id` is no pointer. */
  resolvePointer(id: number): number | undefined {
    const at = this.skipModifiers(id);
    return this.kind(at) === BTF_KIND_PTR ? this.skipModifiers(this.type(at)) : undefined;
  }

  /** The prototype behind a function pointer, `undefined` for anything else. */
  resolveFunctionPointer(id: number): number | undefined {
    const target = this.resolvePointer(id);
    return target !== undefined && this.kind(target) === BTF_KIND_FUNC_PROTO ? target : undefined;
  }

  /**
   * Bytes of a type, through modifiers, variables and arrays; `undefined` for void, functions, forward declarations, and
   * what does not fit into 32 bits.
   */
  resolveSize(id: number): number | undefined {
    let at = id;
    let count = 1;
    for (let steps = 0; steps < MAX_WALK; steps++) {
      const kind = this.kind(at);
      let size: number | undefined;
      switch (kind) {
        case BTF_KIND_INT: case BTF_KIND_STRUCT: case BTF_KIND_UNION: case BTF_KIND_ENUM: case BTF_KIND_ENUM64:
        case BTF_KIND_FLOAT: case BTF_KIND_DATASEC:
          size = this.size(at);
          break;
        case BTF_KIND_PTR:
          size = 8;
          break;
        case BTF_KIND_ARRAY:
          count *= this.arrayLength(at);
          if (count > 0xffffffff) return undefined;
          at = this.arrayElementType(at);
          continue;
        case BTF_KIND_VAR:
          at = this.type(at);
          continue;
        default:
          if (!isModifierKind(kind)) return undefined;
          at = this.type(at);
          continue;
      }
      const total = size * count;
      return total > 0xffffffff ? undefined : total;
    }
    return undefined;
  }

  /**
   * Id of the type that gives `id` its size: modifiers and variables followed, stopping at pointers and arrays
   * (btf_type_id_size); `undefined` for what has no size.
   */
  sizedType(id: number): number | undefined {
    let at = id;
    if (this.kind(at) === BTF_KIND_VAR) at = this.type(at);
    at = this.skipModifiers(at);
    return this.resolveSize(at) === undefined || this.kind(at) === BTF_KIND_VAR ? undefined : at;
  }

  // ---------------------------------------------------------------- lookups

  /**
   * The type of that name and kind with the lowest id, base first (btf_find_by_name_kind); 0 where there is none.
   * `ownOnly` leaves the base out.
   */
  findByNameKind(name: string, kind: number, ownOnly = false): number {
    if (this.base !== undefined && !ownOnly) {
      const id = this.base.findByNameKind(name, kind);
      if (id > 0) return id;
    }
    for (const id of this.idsByName(name)) if (this.kind(id) === kind) return id;
    return 0;
  }

  /** This BTF's own types of that name, in order of their ids. */
  idsByName(name: string): readonly number[] {
    return this.#names.idsByName(name);
  }

  /** Own types whose name starts with `prefix`, in order of their ids: a bisection where the BTF is sorted, else a scan. */
  idsByPrefix(prefix: string): number[] {
    return this.#names.idsByPrefix(prefix);
  }

  /**
   * First id of the run of named types where own types are sorted by name (anonymous ones first), else 0. The kernel
   * searches such BTF by bisection (btf_check_sorted).
   */
  get namedStartID(): number {
    return this.#names.namedStartID;
  }
}
