/**
 * @module loader/object/btf-object
 * The BTF of an object file as libbpf holds it: types that can be changed in place and added to, strings that can be added, and the
 * bytes that come out again in the object's byte order. Owns editing; sizes and alignments are
 * `btf/type-source.ts`, reading for any other purpose is `btf/btf.ts`. Reproduces the part of `tools/lib/bpf/btf.c` that opening an
 * object uses.
 */
import { alignOf, isQualifier, resolveSize, type TypeSource } from '../../btf/type-source.ts';
import { StringSet } from '../../btf/string-set.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { readWords, writeWords } from '../../isa/words.ts';

const HEADER_SIZE_V0 = 24;
const HEADER_SIZE = 32;
const MAX_TYPES = 1 << 20;

/** Words that every type has: name, info, size or type. */
const COMMON_WORDS = 3;
/** Words that follow them, by kind, and words of each of the parts that the info counts. */
const FIXED_WORDS: Uint8Array = byKind([U.BTF_KIND_INT, 1], [U.BTF_KIND_ARRAY, 3], [U.BTF_KIND_VAR, 1], [U.BTF_KIND_DECL_TAG, 1]);
const PART_WORDS: Uint8Array = byKind([U.BTF_KIND_STRUCT, 3], [U.BTF_KIND_UNION, 3], [U.BTF_KIND_ENUM, 2], [U.BTF_KIND_FUNC_PROTO, 2], [U.BTF_KIND_DATASEC, 3], [U.BTF_KIND_ENUM64, 3]);
/** Which word of a part is its type, counted from one; 0 for none. The first is its name, but for a section's variables. */
const PART_TYPE: Uint8Array = byKind([U.BTF_KIND_STRUCT, 2], [U.BTF_KIND_UNION, 2], [U.BTF_KIND_FUNC_PROTO, 2], [U.BTF_KIND_DATASEC, 1]);

/** What libbpf calls the names of a type's parts. */
const PART_NAMES: Readonly<Record<number, string>> = { [U.BTF_KIND_ENUM]: 'enum', [U.BTF_KIND_ENUM64]: 'enum', [U.BTF_KIND_FUNC_PROTO]: 'param' };

function byKind(...entries: readonly (readonly [kind: number, value: number])[]): Uint8Array {
  const table = new Uint8Array(128);
  for (const [kind, value] of entries) table[kind] = value;
  return table;
}

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
  /** Words of all types in native order, void first, and where each begins; an object has thousands of types. */
  #words: Uint32Array = new Uint32Array(COMMON_WORDS);
  #starts: Uint32Array = Uint32Array.of(0, COMMON_WORDS);
  #count = 1;
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
    this.#readTypes(bytes.subarray(this.#typeOffset, this.#typeOffset + typeLength));
    for (let id = 1; id < this.#count; id++) this.#validate(id);
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
    const words = this.#words;
    const start = this.#starts[id] ?? 0;
    const end = this.#starts[id + 1] ?? 0;
    const kind = ((words[start + 1] ?? 0) >>> 24) & 0x7f;
    const partWords = PART_WORDS[kind] ?? 0;
    const first = start + COMMON_WORDS;
    this.#checkName(id, words[start] ?? 0, 'type');
    if (partWords !== 0) {
      const limit = this.#strings.length;
      const typeAt = PART_TYPE[kind] ?? 0;
      if (kind !== U.BTF_KIND_DATASEC) for (let at = first; at < end; at += partWords) if ((words[at] ?? 0) >= limit) this.#checkName(id, words[at] ?? 0, PART_NAMES[kind] ?? 'field');
      // What a function returns is no reference for libbpf's check.
      if (typeAt !== 0) for (let at = first + typeAt - 1; at < end; at += partWords) if ((words[at] ?? 0) >= this.#count) this.#checkReference(id, words[at] ?? 0);
      return;
    }
    switch (kind) {
      case U.BTF_KIND_PTR: case U.BTF_KIND_CONST: case U.BTF_KIND_VOLATILE: case U.BTF_KIND_RESTRICT: case U.BTF_KIND_TYPEDEF: case U.BTF_KIND_VAR:
      case U.BTF_KIND_DECL_TAG: case U.BTF_KIND_TYPE_TAG:
        this.#checkReference(id, words[start + 2] ?? 0);
        return;
      case U.BTF_KIND_ARRAY:
        this.#checkReference(id, words[first] ?? 0);
        this.#checkReference(id, words[first + 1] ?? 0);
        return;
      case U.BTF_KIND_FUNC: {
        const prototype = words[start + 2] ?? 0;
        this.#checkReference(id, prototype);
        if (this.kind(prototype) !== U.BTF_KIND_FUNC_PROTO) this.fail(`type ${id}`, `btf: type [${id}]: referenced type [${prototype}] is not FUNC_PROTO`);
        return;
      }
      // The third word of a forward declaration is no reference for libbpf's check.
      default:
    }
  }

  #checkName(id: number, offset: number, what: string): void {
    if (offset >= this.#strings.length) this.fail(`type ${id}`, `btf: type [${id}]: invalid ${what} name (string offset ${offset})`);
  }

  #checkReference(id: number, target: number): void {
    if (target >= this.#count) this.fail(`type ${id}`, `btf: type [${id}]: invalid referenced type ID ${target}`);
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

  #readTypes(bytes: Uint8Array): void {
    const words = readWords(bytes, this.#little, COMMON_WORDS);
    // No type is shorter than its common words.
    const starts = new Uint32Array(Math.floor(words.length / COMMON_WORDS) + 2);
    let count = 1;
    let at = COMMON_WORDS;
    while (4 * (at - COMMON_WORDS) < bytes.length) {
      if (4 * at > bytes.length) this.fail(`type ${count}`, 'BTF types data is malformed');
      const info = words[at + 1] ?? 0;
      const kind = (info >>> 24) & 0x7f;
      if (kind === 0 || kind > U.BTF_KIND_ENUM64) this.fail(`type ${count}`, `Unsupported BTF_KIND: ${kind}`);
      const next = at + COMMON_WORDS + (FIXED_WORDS[kind] ?? 0) + (PART_WORDS[kind] ?? 0) * (info & 0xffffff);
      if (4 * (next - COMMON_WORDS) > bytes.length) this.fail(`type ${count}`, `BTF type [${count}] is malformed`);
      if (count > MAX_TYPES) this.fail('', `more than ${MAX_TYPES} types`);
      starts[count++] = at;
      at = next;
    }
    starts[count] = at;
    this.#words = words;
    this.#starts = starts;
    this.#count = count;
  }

  /** One more than the highest id. */
  get count(): number {
    return this.#count;
  }

  has(id: number): boolean {
    return id >= 0 && id < this.#count;
  }

  /** The words of a type: name, info, size or type, then what its kind has. They may be changed until a type is added. */
  type(id: number): Uint32Array {
    return this.#words.subarray(this.#start(id), this.#starts[id + 1]);
  }

  word(id: number, at: number): number {
    const place = this.#start(id) + at;
    if (place >= (this.#starts[id + 1] ?? 0)) this.fail(`type ${id}`, 'the type is too short');
    return this.#words[place] ?? 0;
  }

  #start(id: number): number {
    if (id < 0 || id >= this.#count) this.fail(`type ${id}`, 'there is no such type');
    return this.#starts[id] ?? 0;
  }

  kind(id: number): number {
    return ((this.#words[this.#start(id) + 1] ?? 0) >>> 24) & 0x7f;
  }

  vlen(id: number): number {
    return (this.#words[this.#start(id) + 1] ?? 0) & 0xffffff;
  }

  kflag(id: number): boolean {
    return (this.#words[this.#start(id) + 1] ?? 0) >>> 31 === 1;
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
    this.#append(Uint32Array.from(words, (word) => word >>> 0));
    return this.#count - 1;
  }

  #append(words: Uint32Array): void {
    const start = this.#starts[this.#count] ?? 0;
    const end = start + words.length;
    this.#isGrown = true;
    this.#words = withRoom(this.#words, end);
    this.#words.set(words, start);
    this.#count++;
    this.#starts = withRoom(this.#starts, this.#count + 1);
    this.#starts[this.#count] = end;
  }

  /** Words of every type, void first, to be changed as a whole. */
  get types(): readonly Uint32Array[] {
    return Array.from({ length: this.#count }, (_, id) => this.type(id));
  }

  /** Puts other types in place of all; `types` has void first. */
  replaceTypes(types: readonly Uint32Array[]): void {
    this.#words = new Uint32Array(types.reduce((sum, words) => sum + words.length, 0));
    this.#starts = Uint32Array.of(0, COMMON_WORDS);
    this.#count = 1;
    this.#isGrown = true;
    for (const words of types.slice(1)) this.#append(words);
  }

  /** The first type of that name, of that kind where one is given; 0 for none. */
  find(name: string, kind?: number): number {
    for (let id = 1; id < this.#count; id++) if ((kind === undefined || this.kind(id) === kind) && this.name(id) === name) return id;
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
    const typeLength = 4 * ((this.#starts[this.#count] ?? 0) - COMMON_WORDS);
    const bytes = new Uint8Array(this.#headerLength + typeLength + this.#layout.length + this.#strings.length);
    bytes.set(this.#original.subarray(0, this.#headerLength));
    const view = viewOf(bytes);
    const { length: layoutLength } = this.#layout;
    view.setUint32(8, 0, this.#little);
    view.setUint32(12, typeLength, this.#little);
    view.setUint32(16, typeLength + layoutLength, this.#little);
    view.setUint32(20, this.#strings.length, this.#little);
    if (layoutLength > 0) view.setUint32(24, typeLength, this.#little);
    this.#writeTypes(bytes, this.#headerLength);
    bytes.set(this.#layout, this.#headerLength + typeLength);
    bytes.set(this.#strings.bytes(), this.#headerLength + typeLength + layoutLength);
    return bytes;
  }

  /** Nothing was added: the original with its types written over. */
  #encodeInPlace(): Uint8Array {
    const bytes = this.#original.slice();
    this.#writeTypes(bytes, this.#typeOffset);
    return bytes;
  }

  #writeTypes(bytes: Uint8Array, start: number): void {
    writeWords(bytes, start, this.#words.subarray(COMMON_WORDS, this.#starts[this.#count]), this.#little);
  }
}

/** The same words with room for `length` of them. */
function withRoom(words: Uint32Array, length: number): Uint32Array {
  if (length <= words.length) return words;
  const larger = new Uint32Array(2 * length);
  larger.set(words);
  return larger;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
