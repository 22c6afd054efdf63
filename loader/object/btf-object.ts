/**
 * @module loader/object/btf-object
 * The BTF of an object file as libbpf holds it: types that can be changed in place and added to, strings that can be added, and the
 * bytes that come out again in the object's byte order. Owns editing; sizes and alignments are
 * `btf/type-source.ts`, reading for any other purpose is `btf/btf.ts`. Reproduces the part of `tools/lib/bpf/btf.c` that opening an
 * object uses.
 */
import { alignOf, isQualifier, resolveSize, type TypeSource } from '../../btf/type-source.ts';
import { rewriteNames, rewriteTypeIDs } from '../../btf/references.ts';
import { StringSet } from '../../btf/string-set.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';

const HEADER_SIZE_V0 = 24;
const HEADER_SIZE = 32;
const MAX_TYPES = 1 << 20;

/** Words that follow the three of every type, by kind: fixed, and per element. */
const TRAILING: Readonly<Record<number, readonly [fixed: number, each: number]>> = {
  [U.BTF_KIND_INT]: [1, 0], [U.BTF_KIND_ARRAY]: [3, 0], [U.BTF_KIND_STRUCT]: [0, 3], [U.BTF_KIND_UNION]: [0, 3], [U.BTF_KIND_ENUM]: [0, 2],
  [U.BTF_KIND_FUNC_PROTO]: [0, 2], [U.BTF_KIND_VAR]: [1, 0], [U.BTF_KIND_DATASEC]: [0, 3], [U.BTF_KIND_DECL_TAG]: [1, 0], [U.BTF_KIND_ENUM64]: [0, 3],
};

/** What libbpf calls the names of a type's parts. */
const PART_NAMES: Readonly<Record<number, string>> = { [U.BTF_KIND_ENUM]: 'enum', [U.BTF_KIND_ENUM64]: 'enum', [U.BTF_KIND_FUNC_PROTO]: 'param' };

const VOID_TYPE: Uint32Array = new Uint32Array(3);

/** Bit fields of `btf_type.info`. */
export function typeInfo(kind: number, vlen: number, kflag = false): number {
  return ((kflag ? 0x80000000 : 0) | (kind << 24) | vlen) >>> 0;
}

/** Types of an object file. Ids begin at 1; 0 is void. */
export class ObjectBTF implements TypeSource {
  /** libbpf takes every object for a 64-bit one. */
  readonly pointerSize = 8;
  readonly #file: string;
  readonly #original: Uint8Array;
  readonly #little: boolean;
  readonly #headerLength: number;
  readonly #typeOffset: number;
  /** Words of each type in native order, void first. */
  #types: Uint32Array[] = [VOID_TYPE];
  readonly #strings: StringSet;
  readonly #layout: Uint8Array;
  #isGrown = false;

  /** @throws InputError where libbpf's `btf__new` fails */
  constructor(bytes: Uint8Array, file: string) {
    this.#file = file;
    this.#original = bytes.slice();
    const view = viewOf(bytes);
    if (bytes.length < HEADER_SIZE_V0) this.fail(`byte ${bytes.length}`, 'BTF header not found');
    this.#little = view.getUint16(0, true) === U.BTF_MAGIC;
    if (!this.#little && view.getUint16(0, false) !== U.BTF_MAGIC) this.fail('byte 0', `Invalid BTF magic: ${view.getUint16(0, true).toString(16)}`);
    const word = (at: number): number => view.getUint32(at, this.#little);
    this.#headerLength = word(4);
    if (this.#headerLength < HEADER_SIZE_V0) this.fail('byte 4', `unsupported header length ${this.#headerLength}`);
    if (this.#headerLength > bytes.length) this.fail('byte 4', `BTF header len ${this.#headerLength} larger than data size ${bytes.length}`);
    const [typeOffset, typeLength, stringOffset, stringLength] = [word(8), word(12), word(16), word(20)];
    this.#typeOffset = this.#headerLength + typeOffset;
    if (stringOffset + stringLength > bytes.length - this.#headerLength) this.fail('byte 16', `Invalid BTF total size: ${bytes.length}`);
    if (typeOffset + typeLength > stringOffset) {
      this.fail('byte 8', `Invalid BTF data sections layout: type data at ${typeOffset} + ${typeLength}, strings data at ${stringOffset} + ${stringLength}`);
    }
    if (typeOffset % 4 !== 0) this.fail('byte 8', 'BTF type section is not aligned to 4 bytes');
    const strings = bytes.subarray(this.#headerLength + stringOffset, this.#headerLength + stringOffset + stringLength);
    if (stringLength === 0 || strings[stringLength - 1] !== 0) this.fail('byte 16', 'Invalid BTF string section');
    if (strings[0] !== 0) this.fail('byte 16', 'Malformed BTF string section, did you forget to provide base BTF?');
    this.#strings = new StringSet(strings);
    this.#layout = this.#readLayout(bytes, this.#headerLength < HEADER_SIZE ? 0 : word(24), this.#headerLength < HEADER_SIZE ? 0 : word(28), typeOffset + typeLength, stringOffset);
    this.#readTypes(view, typeLength);
    for (let id = 1; id < this.count; id++) this.#validate(id);
  }

  /** The optional description of kinds between types and strings. */
  #readLayout(bytes: Uint8Array, offset: number, length: number, typeEnd: number, stringOffset: number): Uint8Array {
    if (length === 0) return new Uint8Array(0);
    if (offset % 4 !== 0) this.fail('byte 24', 'BTF layout section is not aligned to 4 bytes');
    if (offset < typeEnd || offset + length > stringOffset) this.fail('byte 24', `Invalid BTF data sections layout: layout data at ${offset} + ${length}`);
    if (length % 4 !== 0) this.fail('byte 28', 'Invalid BTF kind layout section');
    return bytes.slice(this.#headerLength + offset, this.#headerLength + offset + length);
  }

  /** Every string and type that a type refers to exists (`btf_validate_type`). */
  #validate(id: number): void {
    const words = this.type(id);
    const kind = this.kind(id);
    const parts = PART_NAMES[kind];
    let names = 0;
    rewriteNames(words, (offset) => {
      const what = names++ === 0 ? 'type name' : `${parts ?? 'field'} name`;
      if (offset >= this.#strings.length) this.fail(`type ${id}`, `btf: type [${id}]: invalid ${what} (string offset ${offset})`);
      return offset;
    });
    // The third word of a forward declaration is no reference for libbpf's check.
    if (kind !== U.BTF_KIND_FWD) {
      rewriteTypeIDs(words, (target) => (this.has(target) ? target : this.fail(`type ${id}`, `btf: type [${id}]: invalid referenced type ID ${target}`)));
    }
    if (kind === U.BTF_KIND_FUNC && this.kind(this.target(id)) !== U.BTF_KIND_FUNC_PROTO) {
      this.fail(`type ${id}`, `btf: type [${id}]: referenced type [${this.target(id)}] is not FUNC_PROTO`);
    }
  }

  /** BTF without types, to be added to (`btf__new_empty`). */
  static empty(file: string, littleEndian: boolean): ObjectBTF {
    const bytes = new Uint8Array(HEADER_SIZE + 1);
    const view = viewOf(bytes);
    view.setUint16(0, U.BTF_MAGIC, littleEndian);
    view.setUint8(2, U.BTF_VERSION);
    view.setUint32(4, HEADER_SIZE, littleEndian);
    view.setUint32(20, 1, littleEndian);
    return new ObjectBTF(bytes, file);
  }

  fail(place: string, reason: string): never {
    throw new InputError(this.#file, place === '' ? 'section .BTF' : `section .BTF, ${place}`, reason);
  }

  #readTypes(view: DataView, length: number): void {
    const end = this.#typeOffset + length;
    for (let at = this.#typeOffset; at < end;) {
      if (at + 12 > end) this.fail(`type ${this.#types.length}`, 'BTF types data is malformed');
      const info = view.getUint32(at + 4, this.#little);
      const kind = (info >>> 24) & 0x7f;
      if (kind === 0 || kind > U.BTF_KIND_ENUM64) this.fail(`type ${this.#types.length}`, `Unsupported BTF_KIND: ${kind}`);
      const [fixed, each] = TRAILING[kind] ?? [0, 0];
      const count = 3 + fixed + each * (info & 0xffffff);
      if (at + 4 * count > end) this.fail(`type ${this.#types.length}`, `BTF type [${this.#types.length}] is malformed`);
      if (this.#types.length > MAX_TYPES) this.fail('', `more than ${MAX_TYPES} types`);
      const words = new Uint32Array(count);
      for (let i = 0; i < count; i++) words[i] = view.getUint32(at + 4 * i, this.#little);
      this.#types.push(words);
      at += 4 * count;
    }
  }

  /** One more than the highest id. */
  get count(): number {
    return this.#types.length;
  }

  has(id: number): boolean {
    return id >= 0 && id < this.#types.length;
  }

  /** The words of a type: name, info, size or type, then what its kind has. They may be changed. */
  type(id: number): Uint32Array {
    return this.#types[id] ?? this.fail(`type ${id}`, 'there is no such type');
  }

  word(id: number, at: number): number {
    return this.type(id)[at] ?? this.fail(`type ${id}`, 'the type is too short');
  }

  kind(id: number): number {
    return (this.word(id, 1) >>> 24) & 0x7f;
  }

  vlen(id: number): number {
    return this.word(id, 1) & 0xffffff;
  }

  kflag(id: number): boolean {
    return this.word(id, 1) >>> 31 === 1;
  }

  /** The third word: a size or a type id. */
  target(id: number): number {
    return this.word(id, 2);
  }

  nameOffset(id: number): number {
    return this.word(id, 0);
  }

  name(id: number): string {
    return this.string(this.word(id, 0));
  }

  hasString(offset: number): boolean {
    return offset < this.#strings.length;
  }

  /** The string as it is in the file, one character a byte. */
  string(offset: number): string {
    return this.#strings.at(offset) ?? this.fail(`string ${offset}`, 'the offset lies beyond the strings');
  }

  /** Offset of a string (one character a byte), which is added where it is not there yet as a whole. */
  addString(text: string): number {
    const { length } = this.#strings;
    const offset = this.#strings.add(text);
    this.#isGrown ||= this.#strings.length > length;
    return offset;
  }

  /** Appends a type; its id. */
  addType(...words: readonly number[]): number {
    this.#isGrown = true;
    this.#types.push(Uint32Array.from(words, (word) => word >>> 0));
    return this.#types.length - 1;
  }

  /** Words of every type, void first, to be changed as a whole. */
  get types(): readonly Uint32Array[] {
    return this.#types;
  }

  /** Puts other types in place of all. */
  replaceTypes(types: Uint32Array[]): void {
    this.#types = types;
    this.#isGrown = true;
  }

  /** The first type of that name, of that kind where one is given; 0 for none. */
  find(name: string, kind?: number): number {
    for (let id = 1; id < this.count; id++) {
      if (kind !== undefined ? this.kind(id) === kind && this.name(id) === name : this.name(id) === name) return id;
    }
    return 0;
  }

  /** The type behind modifiers and typedefs (`skip_mods_and_typedefs`). */
  skipModifiers(id: number): number {
    let at = id;
    for (let depth = 0; isQualifier(this.kind(at)) || this.kind(at) === U.BTF_KIND_TYPEDEF; depth++) {
      if (depth > MAX_TYPES) return this.fail(`type ${id}`, 'a cycle of modifiers');
      at = this.target(at);
    }
    return at;
  }

  /** Bytes of a value; -1 where it has none. */
  resolveSize(id: number): number {
    return resolveSize(this, id);
  }

  /** Alignment in bytes; 1 for what must be packed, 0 where the type has none. */
  alignOf(id: number): number {
    return alignOf(this, id);
  }

  memberName(id: number, index: number): string {
    return this.string(this.word(id, 3 + 3 * index));
  }

  memberType(id: number, index: number): number {
    return this.word(id, 4 + 3 * index);
  }

  memberBitOffset(id: number, index: number): number {
    const word = this.word(id, 5 + 3 * index);
    return this.kflag(id) ? word & 0xffffff : word;
  }

  memberBitfieldSize(id: number, index: number): number {
    return this.kflag(id) ? this.word(id, 5 + 3 * index) >>> 24 : 0;
  }

  /** The bytes to load, in the object's byte order (`btf__raw_data`). */
  encode(): Uint8Array {
    if (!this.#isGrown) return this.#encodeInPlace();
    const typeLength = 4 * this.#types.slice(1).reduce((sum, type) => sum + type.length, 0);
    const bytes = new Uint8Array(this.#headerLength + typeLength + this.#layout.length + this.#strings.length);
    bytes.set(this.#original.subarray(0, this.#headerLength));
    const view = viewOf(bytes);
    const { length: layoutLength } = this.#layout;
    view.setUint32(8, 0, this.#little);
    view.setUint32(12, typeLength, this.#little);
    view.setUint32(16, typeLength + layoutLength, this.#little);
    view.setUint32(20, this.#strings.length, this.#little);
    if (layoutLength > 0) view.setUint32(24, typeLength, this.#little);
    this.#writeTypes(view, this.#headerLength);
    bytes.set(this.#layout, this.#headerLength + typeLength);
    bytes.set(this.#strings.bytes(), this.#headerLength + typeLength + layoutLength);
    return bytes;
  }

  /** Nothing was added: the original with its types written over. */
  #encodeInPlace(): Uint8Array {
    const bytes = this.#original.slice();
    this.#writeTypes(viewOf(bytes), this.#typeOffset);
    return bytes;
  }

  #writeTypes(view: DataView, start: number): void {
    let at = start;
    for (const type of this.#types.slice(1)) {
      for (const word of type) {
        view.setUint32(at, word, this.#little);
        at += 4;
      }
    }
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
