/**
 * @module loader/object/elf
 * Reads ELF64 relocatable objects of either byte order: header, sections, symbols, relocations. Every offset and count is
 * checked against the file before it is used. Owns the container; what sections mean to BPF is `object.ts`.
 * Sources: the ELF-64 object file format, and the order of checks in `bpf_object__elf_init` of `tools/lib/bpf/libbpf.c`.
 */
import { InputError } from '../../isa/errors.ts';
import { latin1 } from '../../isa/latin1.ts';

export const SHT_PROGBITS = 1;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_NOBITS = 8;
export const SHT_REL = 9;
export const SHT_LLVM_ADDRSIG = 0x6fff4c03;
export const SHF_EXECINSTR = 4;
export const SHF_STRINGS = 0x20;
const SHF_COMPRESSED = 0x800;

export const SHN_UNDEF = 0;
export const SHN_LORESERVE = 0xff00;
const SHN_XINDEX = 0xffff;

export const STT_NOTYPE = 0;
export const STT_OBJECT = 1;
export const STT_FUNC = 2;
export const STT_SECTION = 3;
export const STB_LOCAL = 0;
export const STB_GLOBAL = 1;
export const STB_WEAK = 2;
export const STV_DEFAULT = 0;
export const STV_INTERNAL = 1;
export const STV_HIDDEN = 2;

export const ET_REL = 1;
export const EM_BPF = 247;
export const HEADER_SIZE = 64;
export const SECTION_HEADER_SIZE = 64;
export const SYMBOL_SIZE = 24;
export const REL_SIZE = 16;
/** Sections and symbols of one object; clang gives an object of a thousand programs some ten thousand. */
const MAX_SECTIONS = 65_536;
const MAX_SYMBOLS = 1 << 20;
const MAX_NAME = 4096;
/** Sections of these types are tables: libelf gives no data of one that ends inside an entry. */
const ENTRY_SIZES: ReadonlyMap<number, number> = new Map([
  [SHT_SYMTAB, SYMBOL_SIZE], [4, 24], [5, 4], [6, 16], [SHT_REL, REL_SIZE], [11, SYMBOL_SIZE], [14, 8], [15, 8], [16, 8], [17, 4], [18, 4],
]);
/** `Elf64_Chdr`, which only its byte order tells from other bytes. */
const COMPRESSION_HEADER_SIZE = 24;

/** One section. `data` is empty for `SHT_NOBITS`, and reading it throws `InputError` where it does not lie in the file; `size` is what the header says. */
export interface Section {
  readonly index: number;
  readonly name: string;
  /** Offset of the name among the section names. */
  readonly nameOffset: number;
  readonly type: number;
  /** The low and the high word of the flags; all that mean something are in the low one. */
  readonly flags: number;
  readonly flagsHigh: number;
  /** Place in the file. */
  readonly offset: number;
  readonly size: number;
  readonly align: number;
  readonly link: number;
  readonly info: number;
  readonly entrySize: number;
  readonly data: Uint8Array;
}

/** One symbol. Reading `name` throws `InputError` where it does not lie in its string table. */
export interface Symbol {
  readonly index: number;
  readonly name: string;
  /** Offset of the name in its string table; 0 for none. */
  readonly nameOffset: number;
  readonly type: number;
  readonly binding: number;
  readonly visibility: number;
  readonly section: number;
  readonly value: number;
  readonly size: number;
}

/** One entry of a `SHT_REL` section. */
export interface Relocation {
  readonly offset: number;
  readonly symbol: number;
  readonly type: number;
}

/** A relocatable object. */
export interface ELFObject {
  readonly file: string;
  readonly littleEndian: boolean;
  /** `EM_BPF`, or 0. */
  readonly machine: number;
  /** Names of sections, each ended by NUL; the section that they are in, 0 for none. */
  readonly sectionNames: Uint8Array;
  readonly sectionNamesIndex: number;
  /** Index 0 is the empty section. */
  readonly sections: readonly Section[];
  readonly symbolTable: Section | undefined;
  readonly symbols: readonly Symbol[];
  /** Entries of a relocation section. */
  relocations(section: Section): readonly Relocation[];
}

/** What libbpf says of a section that cannot be read while it opens an object; its linker has other words. */
export class ELFWords {
  /** What the messages call the object: where it was opened from memory, as bpftool does for skeletons, it goes by its name. */
  readonly called: string;

  constructor(called: string) {
    this.called = called;
  }

  manySymbolTables(): string {
    return `elf: multiple symbol tables in ${this.called}`;
  }

  noName(_index: number, offset: number): string {
    return `elf: failed to get section name string at offset ${offset} from ${this.called}`;
  }

  noData(index: number, name: string): string {
    return `elf: failed to get section(${index}) ${name} data from ${this.called}`;
  }
}

/**
 * Parses an object file.
 *
 * @param words what libbpf says where it cannot read
 * @throws InputError naming file, place and reason
 *
 * @example
 * parseELF(readFileSync('a.bpf.o'), 'a.bpf.o').sections.map((section) => section.name);
 */
export function parseELF(bytes: Uint8Array, file: string, words: ELFWords = new ELFWords(file)): ELFObject {
  // A plain view: the slice() of Node's Buffer would share the caller's memory, which is later written to.
  return new ELFReader(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), file, words).read();
}

/** A 64-bit field; objects have too many for BigInt. */
function u64(view: DataView, at: number, little: boolean): number {
  const [low, high] = little ? [at, at + 4] : [at + 4, at];
  return view.getUint32(high, little) * 0x1_0000_0000 + view.getUint32(low, little);
}

class ELFReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: string;
  readonly #words: ELFWords;
  #little = true;
  #sectionNames: Uint8Array = new Uint8Array(0);
  #sectionNamesIndex = 0;

  constructor(bytes: Uint8Array, file: string, words: ELFWords) {
    this.#bytes = bytes;
    this.#file = file;
    this.#words = words;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read(): ELFObject {
    this.#checkIdentity();
    const sections = this.#readSections();
    // Whatever the header of section 0 says, nobody looks there.
    const tables = sections.slice(1).filter((section) => section.type === SHT_SYMTAB);
    if (tables.length > 1) this.#fail(`section ${tables[1]?.name ?? ''}`, this.#words.manySymbolTables());
    const symbolTable = tables[0];
    const symbols = symbolTable === undefined ? [] : this.#readSymbols(symbolTable, sections);
    return {
      file: this.#file, littleEndian: this.#little, machine: this.#u16(18), sectionNames: this.#sectionNames, sectionNamesIndex: this.#sectionNamesIndex,
      sections, symbolTable, symbols, relocations: (section) => this.#readRelocations(section),
    };
  }

  #fail(place: string, reason: string): never {
    throw new InputError(this.#file, place, reason);
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.#little);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.#little);
  }

  /** A 64-bit field as a number; what a double cannot hold lies beyond any file. */
  #u64(at: number): number {
    return u64(this.#view, at, this.#little);
  }

  /** The same in full, for messages. */
  #long(at: number): string {
    return String(this.#view.getBigUint64(at, this.#little));
  }

  #checkIdentity(): void {
    const bytes = this.#bytes;
    if (bytes.length === 0) this.#fail('', 'the file is empty');
    const isELF = bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
    // libelf knows one version of the format.
    if (!isELF || (bytes.length > 6 && bytes[6] !== 1)) this.#fail('byte 0', `elf: '${this.#words.called}' is not a proper ELF object`);
    if (bytes[4] !== 2) this.#fail('byte 4', `elf: '${this.#words.called}' is not a 64-bit ELF object`);
    if (bytes.length < HEADER_SIZE) this.#fail(`byte ${bytes.length}`, 'the file ends inside the ELF header');
    if (bytes[5] !== 1 && bytes[5] !== 2) this.#fail('byte 5', `elf: '${this.#words.called}' has unknown byte order`);
    this.#little = bytes[5] === 1;
    const machine = this.#u16(18);
    if (this.#u16(16) !== ET_REL || (machine !== 0 && machine !== EM_BPF)) this.#fail('byte 16', `elf: ${this.#words.called} is not a valid eBPF object file`);
  }

  #readSections(): Section[] {
    const table = this.#u64(40);
    if (table === 0) return [];
    if (table + SECTION_HEADER_SIZE > this.#bytes.length) this.#fail('byte 40', `elf: failed to get section names strings from ${this.#words.called}: the section headers begin at ${this.#long(40)}, beyond the file's ${this.#bytes.length} bytes`);
    // With many sections the true counts are in the first header.
    const count = this.#u16(60) || this.#u64(table + 32);
    const namesIndex = this.#u16(62) === SHN_XINDEX ? this.#u32(table + 40) : this.#u16(62);
    if (count > MAX_SECTIONS || table + count * SECTION_HEADER_SIZE > this.#bytes.length) {
      this.#fail('byte 60', `elf: failed to get section names strings from ${this.#words.called}: ${count} section headers at ${table} do not fit into the file's ${this.#bytes.length} bytes`);
    }
    if (namesIndex >= count) this.#fail('byte 62', `elf: failed to get section names section index for ${this.#words.called}`);
    const names = this.#sectionNamesData(table, namesIndex);
    // libelf takes names from a table of strings only, but there may be none to take.
    if (count > 1 && this.#u32(table + namesIndex * SECTION_HEADER_SIZE + 4) !== SHT_STRTAB) {
      this.#fail('section 1', `${this.#words.noName(1, this.#u32(table + SECTION_HEADER_SIZE))}: invalid section`);
    }
    this.#sectionNames = names;
    this.#sectionNamesIndex = namesIndex;
    return Array.from({ length: count }, (_, index) => this.#readSection(table, index, names));
  }

  #sectionNamesData(table: number, index: number): Uint8Array {
    try {
      return this.#sectionData(table, index, 'section names');
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return this.#fail(error.place, `elf: failed to get section names strings from ${this.#words.called}: ${error.reason}`);
    }
  }

  #readSection(table: number, index: number, names: Uint8Array): Section {
    const at = table + index * SECTION_HEADER_SIZE;
    const name = index === 0 ? '' : this.#string(names, this.#u32(at), 'section', index);
    const [flags, flagsHigh] = this.#little ? [this.#u32(at + 8), this.#u32(at + 12)] : [this.#u32(at + 12), this.#u32(at + 8)];
    // What nobody reads may lie anywhere.
    let data: Uint8Array | undefined;
    const readData = (): Uint8Array => {
      if (index === 0) return new Uint8Array(0);
      if ((flags & SHF_COMPRESSED) !== 0) this.#checkCompressed(table, index, name);
      return this.#sectionData(table, index, name);
    };
    return {
      index, name, flags, flagsHigh,
      nameOffset: this.#u32(at),
      type: this.#u32(at + 4),
      offset: this.#u64(at + 24),
      size: this.#u64(at + 32),
      align: this.#u64(at + 48),
      link: this.#u32(at + 40),
      info: this.#u32(at + 44),
      entrySize: this.#u64(at + 56),
      get data() {
        return (data ??= readData());
      },
    };
  }

  /** libbpf takes a compressed section's bytes as they are; libelf has swapped its header in the other byte order. */
  #checkCompressed(table: number, index: number, name: string): void {
    const size = this.#u64(table + index * SECTION_HEADER_SIZE + 32);
    if (!this.#little || size < COMPRESSION_HEADER_SIZE) this.#fail(`section ${name}`, `${this.#words.noData(index, name)}: compressed sections are not supported`);
  }

  #sectionData(table: number, index: number, name: string): Uint8Array {
    const at = table + index * SECTION_HEADER_SIZE;
    if (this.#u32(at + 4) === SHT_NOBITS) return new Uint8Array(0);
    const offset = this.#u64(at + 24);
    const size = this.#u64(at + 32);
    // Nothing may lie anywhere.
    if (size === 0) return new Uint8Array(0);
    const fail = (reason: string): never => this.#fail(`section ${name}`, `${this.#words.noData(index, name)}: ${reason}`);
    if (offset + size > this.#bytes.length) fail(`its ${this.#long(at + 32)} bytes at ${this.#long(at + 24)} do not fit into the file's ${this.#bytes.length}`);
    const entry = ENTRY_SIZES.get(this.#u32(at + 4)) ?? 1;
    if (size % entry !== 0) fail(`its ${size} bytes are no multiple of the ${entry} that its entries have`);
    return this.#bytes.subarray(offset, offset + size);
  }

  #string(table: Uint8Array, offset: number, what: 'section' | 'symbol', index: number): string {
    const place = `${what} ${index}`;
    const end = offset < table.length ? table.indexOf(0, offset) : -1;
    if (end < 0) this.#fail(place, `${this.#words.noName(index, offset)}: it does not lie in the string table of ${table.length} bytes`);
    if (end - offset > MAX_NAME) this.#fail(place, `a name longer than ${MAX_NAME} bytes`);
    return latin1(table.subarray(offset, end));
  }

  #readSymbols(table: Section, sections: readonly Section[]): Symbol[] {
    const strings = sections[table.link];
    if (table.link === 0 || strings === undefined) this.#fail(`section ${table.name}`, `elf: symbol strings section missing or invalid in ${this.#words.called}`);
    if (table.entrySize !== SYMBOL_SIZE) this.#fail(`section ${table.name}`, `symbols of ${table.entrySize} bytes, not ${SYMBOL_SIZE}`);
    const count = Math.floor(table.size / SYMBOL_SIZE);
    if (count > MAX_SYMBOLS) this.#fail(`section ${table.name}`, `${count} symbols, more than ${MAX_SYMBOLS}`);
    // Of section 0 only the header counts: it has no data, whatever it says of its size.
    if (count * SYMBOL_SIZE > table.data.length) this.#fail(`section ${table.name}`, `elf: symbol table of ${count} symbols has ${table.data.length} bytes`);
    return Array.from({ length: count }, (_, index) => this.#readSymbol(table, strings, index));
  }

  #readSymbol(table: Section, strings: Section, index: number): Symbol {
    const view = new DataView(table.data.buffer, table.data.byteOffset + index * SYMBOL_SIZE, SYMBOL_SIZE);
    const little = this.#little;
    const info = view.getUint8(4);
    const nameOffset = view.getUint32(0, little);
    let name: string | undefined;
    const readName = (): string => {
      if (strings.type !== SHT_STRTAB) this.#fail(`symbol ${index}`, `elf: failed to get section name string at offset ${nameOffset} from ${this.#words.called}: invalid section`);
      return nameOffset === 0 ? '' : this.#string(strings.data, nameOffset, 'symbol', index);
    };
    return {
      index,
      nameOffset,
      get name() {
        return (name ??= readName());
      },
      type: info & 15,
      binding: info >> 4,
      visibility: view.getUint8(5) & 3,
      section: view.getUint16(6, little),
      value: u64(view, 8, little),
      size: u64(view, 16, little),
    };
  }

  #readRelocations(section: Section): Relocation[] {
    if (section.entrySize !== REL_SIZE) this.#fail(`section ${section.name}`, `relocations of ${section.entrySize} bytes, not ${REL_SIZE}`);
    const view = new DataView(section.data.buffer, section.data.byteOffset, section.data.byteLength);
    const count = Math.floor(section.data.length / REL_SIZE);
    const little = this.#little;
    const relocations: Relocation[] = [];
    for (let at = 0; at < REL_SIZE * count; at += REL_SIZE) {
      relocations.push({ offset: u64(view, at, little), symbol: view.getUint32(at + (little ? 12 : 8), little), type: view.getUint32(at + (little ? 8 : 12), little) });
    }
    return relocations;
  }
}
