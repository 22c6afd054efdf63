/**
 * @module src/fuzz/mutators/object-file
 * Small BPF object files made to measure: ELF with programs, maps as libbpf wants them (BTF in `.maps`), data sections, relocations. Owns
 * the writing of what `loader/object` reads. Nothing here checks anything: a wrong description gives a wrong file.
 */
import { concatBytes } from '../../../crypto/bytes.ts';
import * as U from '../../../isa/uapi.ts';

/** A map of `.maps`. */
export interface MapSpec {
  readonly name: string;
  /** `BPF_MAP_TYPE_*` */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
}

/** A program in a section of its own. */
export interface ProgramSpec {
  readonly section: string;
  readonly name: string;
  /** 8 bytes an instruction. */
  readonly instructions: Uint8Array;
  /** 16-byte loads (slot) that refer to a map or a data section by name. */
  readonly references: readonly { readonly slot: number; readonly to: string }[];
}

/** A whole object. */
export interface ObjectSpec {
  readonly maps: readonly MapSpec[];
  readonly programs: readonly ProgramSpec[];
  /** `.data`, `.rodata`, `.bss`… by section name; one variable each. */
  readonly data: readonly { readonly section: string; readonly bytes: Uint8Array }[];
  readonly license: string;
}

const utf8 = new TextEncoder();

class Strings {
  #text = '\0';
  readonly #known = new Map<string, number>([['', 0]]);

  add(text: string): number {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const at = this.#text.length;
    this.#text += `${text}\0`;
    this.#known.set(text, at);
    return at;
  }

  get bytes(): Uint8Array {
    return utf8.encode(this.#text);
  }
}

function words(...values: readonly number[]): Uint8Array {
  const out = new Uint8Array(values.length * 4);
  const view = new DataView(out.buffer);
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true);
  return out;
}

/** Types, one after another; ids count from 1. */
export class Types {
  readonly strings: Strings = new Strings();
  readonly #words: number[] = [];
  #count = 0;

  add(kind: number, name: string, vlen: number, sizeOrType: number, ...rest: readonly number[]): number {
    this.#words.push(this.strings.add(name), (kind << 24) | vlen, sizeOrType, ...rest);
    return ++this.#count;
  }

  /** `int (*)[n]`, how a map definition says a number. */
  number(int: number, n: number): number {
    return this.add(U.BTF_KIND_PTR, '', 0, this.add(U.BTF_KIND_ARRAY, '', 0, 0, int, int, n));
  }

  get bytes(): Uint8Array {
    const types = words(...this.#words), strings = this.strings.bytes;
    return concatBytes(words(0x0001eb9f, 24, 0, types.length, types.length, strings.length), types, strings);
  }
}

const POINTER_BYTES = 8;

function mapType(types: Types, int: number, map: MapSpec): number {
  const members: readonly (readonly [string, number])[] = [
    ['type', map.type], ['key_size', map.keySize], ['value_size', map.valueSize], ['max_entries', map.maxEntries],
    ...(map.flags === undefined ? [] : [['map_flags', map.flags] as const]),
  ];
  const numbers = members.map(([name, n]) => [types.strings.add(name), types.number(int, n)] as const);
  return types.add(U.BTF_KIND_STRUCT, '', numbers.length, numbers.length * POINTER_BYTES, ...numbers.flatMap(([name, type], i) => [name, type, 8 * POINTER_BYTES * i]));
}

const GLOBAL = 1;
/** The one variable of a data section. */
const variableOf = (section: string): string => `v${section.replace(/\W/g, '_')}`;
const mapBytes = (map: MapSpec): number => POINTER_BYTES * (map.flags === undefined ? 4 : 5);

/** The object's types. */
export function buildTypes(spec: ObjectSpec): Uint8Array {
  const types = new Types();
  const int = types.add(U.BTF_KIND_INT, 'int', 0, 4, 0x01000020);
  const variable = (name: string, type: number): number => types.add(U.BTF_KIND_VAR, name, 0, type, GLOBAL);
  if (spec.maps.length > 0) {
    let at = 0;
    const variables = spec.maps.map((map) => [variable(map.name, mapType(types, int, map)), mapBytes(map)] as const);
    const rows = variables.flatMap(([id, size]) => {
      at += size;
      return [id, at - size, size];
    });
    types.add(U.BTF_KIND_DATASEC, '.maps', variables.length, at, ...rows);
  }
  for (const { section, bytes } of spec.data) {
    const char = types.add(U.BTF_KIND_INT, 'char', 0, 1, 0x00000008);
    const id = variable(variableOf(section), types.add(U.BTF_KIND_ARRAY, '', 0, 0, char, int, bytes.length));
    types.add(U.BTF_KIND_DATASEC, section, 1, bytes.length, id, 0, bytes.length);
  }
  for (const { name } of spec.programs) types.add(U.BTF_KIND_FUNC, name, GLOBAL, types.add(U.BTF_KIND_FUNC_PROTO, '', 0, int));
  return types.bytes;
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly link: number;
  readonly info: number;
  readonly entry: number;
}

interface Symbol {
  readonly name: string;
  readonly info: number;
  readonly section: number;
  readonly value: number;
  readonly size: number;
}

const PROGBITS = 1, SYMTAB = 2, STRTAB = 3, NOBITS = 8, REL = 9;
const WRITE = 1, ALLOC = 2, EXEC = 4;
const OBJECT = 0x11, FUNC = 0x12, SECTION = 0x03;
const ELF_HEADER = 64, SECTION_HEADER = 64, SYMBOL = 24;
const R_BPF_64_64 = 1;

/**
 * The object file.
 * @example buildObject({ maps: [], programs: [{ section: 'xdp', name: 'p', instructions, references: [] }], data: [], license: 'GPL' })
 */
export function buildObject(spec: ObjectSpec): Uint8Array {
  const sections: Section[] = [{ name: '', type: 0, flags: 0, bytes: new Uint8Array(0), link: 0, info: 0, entry: 0 }];
  const add = (name: string, type: number, flags: number, bytes: Uint8Array, link = 0, info = 0, entry = 0): number =>
    sections.push({ name, type, flags, bytes, link, info, entry }) - 1;
  const locals: Symbol[] = [{ name: '', info: 0, section: 0, value: 0, size: 0 }], globals: Symbol[] = [];
  const programs = spec.programs.map(({ section, name, instructions }) => {
    const index = add(section, PROGBITS, ALLOC | EXEC, instructions);
    globals.push({ name, info: FUNC, section: index, value: 0, size: instructions.length });
    return index;
  });
  const license = utf8.encode(`${spec.license}\0`);
  globals.push({ name: '_license', info: OBJECT, section: add('license', PROGBITS, ALLOC | WRITE, license), value: 0, size: license.length });
  for (const { section, bytes } of spec.data) {
    const index = add(section, section === '.bss' ? NOBITS : PROGBITS, ALLOC | (section.startsWith('.rodata') ? 0 : WRITE), bytes);
    locals.push({ name: section, info: SECTION, section: index, value: 0, size: 0 });
    globals.push({ name: variableOf(section), info: OBJECT, section: index, value: 0, size: bytes.length });
  }
  if (spec.maps.length > 0) {
    const index = add('.maps', PROGBITS, ALLOC | WRITE, new Uint8Array(spec.maps.reduce((sum, map) => sum + mapBytes(map), 0)));
    let at = 0;
    for (const map of spec.maps) {
      globals.push({ name: map.name, info: OBJECT, section: index, value: at, size: mapBytes(map) });
      at += mapBytes(map);
    }
  }
  add('.BTF', PROGBITS, 0, buildTypes(spec));
  const symbols = [...locals, ...globals];
  const names = new Strings();
  const symbolTable = concatBytes(...symbols.map(({ name, info, section, value, size }) => words(names.add(info === SECTION ? '' : name), info | (section << 16), value, 0, size, 0)));
  const symtab = sections.length + spec.programs.filter(({ references }) => references.length > 0).length;
  for (const [i, { section, references }] of spec.programs.entries()) {
    if (references.length === 0) continue;
    const rows = references.map(({ slot, to }) => words(slot * 8, 0, R_BPF_64_64, symbols.findIndex(({ name }) => name === to)));
    add(`.rel${section}`, REL, 0, concatBytes(...rows), symtab, programs[i] ?? 0, 16);
  }
  const strtab = symtab + 1;
  for (const { name } of sections) names.add(name);
  for (const name of ['.symtab', '.strtab']) names.add(name);
  add('.symtab', SYMTAB, 0, symbolTable, strtab, locals.length, SYMBOL);
  add('.strtab', STRTAB, 0, names.bytes);
  return layOut(sections, names, strtab);
}

function layOut(sections: readonly Section[], names: Strings, strtab: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = ELF_HEADER;
  const headers = sections.map(({ name, type, flags, bytes, link, info, entry }, index) => {
    const offset = at;
    if (type !== NOBITS && index > 0) {
      const padding = new Uint8Array(-bytes.length & 7);
      parts.push(bytes, padding);
      at += bytes.length + padding.length;
    }
    return words(names.add(name), type, flags, 0, 0, 0, index === 0 ? 0 : offset, 0, bytes.length, 0, link, info, index === 0 ? 0 : 8, 0, entry, 0);
  });
  const header = new Uint8Array(ELF_HEADER);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  const view = new DataView(header.buffer);
  view.setUint16(16, 1, true);
  view.setUint16(18, 247, true);
  view.setUint32(20, 1, true);
  view.setUint32(40, at, true);
  view.setUint16(52, ELF_HEADER, true);
  view.setUint16(58, SECTION_HEADER, true);
  view.setUint16(60, sections.length, true);
  view.setUint16(62, strtab, true);
  return concatBytes(header, ...parts, ...headers);
}
