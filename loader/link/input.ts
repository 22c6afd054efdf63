/**
 * @module loader/link/input
 * One object that is to be linked: its sections with their places in the output, its symbols, types and records, after the checks that
 * libbpf makes before it uses any of it. Owns reading and checking; merging is `linker.ts`. Reproduces `linker_load_obj_file`,
 * `linker_sanity_check_*` and `linker_fixup_btf` of `tools/lib/bpf/linker.c`.
 */
import { byteStringAt } from '../../btf/string-set.ts';
import { rewriteTypeIDs } from '../../btf/references.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { parseObjectBTFExt, recordsOf, type ObjectBTFExt } from '../object/btf-ext.ts';
import { ObjectBTF } from '../object/btf-object.ts';
import {
  ELFWords, EM_BPF, parseELF, REL_SIZE, SHF_EXECINSTR, SHN_LORESERVE, SHT_LLVM_ADDRSIG, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL,
  STB_LOCAL, STB_WEAK, STT_NOTYPE, STT_OBJECT, STT_SECTION, STV_DEFAULT, STV_HIDDEN, SYMBOL_SIZE, type ELFObject, type Section,
} from '../object/elf.ts';

const RELOCATION_TYPES: ReadonlySet<number> = new Set([1, 2, 3, 10]);
const BTF_VAR_GLOBAL_ALLOCATED = 1;
const BTF_VAR_STATIC = 0;
const BTF_FUNC_STATIC = 0;
export const EXTERN_DATASEC = '.extern';

/** What libbpf's linker says of a section that cannot be read. */
class LinkerWords extends ELFWords {
  override manySymbolTables(): string {
    return 'multiple SYMTAB sections found, not supported';
  }

  override noName(index: number): string {
    return `failed to get section #${index} name for ${this.called}`;
  }

  override noData(index: number, name: string): string {
    return `failed to get section #${index} (${name}) data from ${this.called}`;
  }
}

/** Reason where libbpf ends without a word. */
export function linkFailure(file: string): string {
  return `failed to link '${file}': Invalid argument (22)`;
}

/** A section of an input object, or what a DATASEC of externs stands for: then it has no ELF section. */
export interface InputSection {
  readonly name: string;
  /** Index in the object; 0 for an ephemeral one. */
  readonly index: number;
  readonly elf: Section | undefined;
  isSkipped: boolean;
  /** Its DATASEC, 0 for none. */
  datasec: number;
  /** Index of the output section, 0 for none, and where this section begins in it. */
  outputIndex: number;
  outputOffset: number;
}

/** A symbol as the file has it. */
export interface InputSymbol {
  readonly name: string;
  readonly info: number;
  readonly other: number;
  readonly section: number;
  readonly value: bigint;
  readonly size: bigint;
}

/** Places where a name is declared in the types, in the order of the types: a variable or function, or an entry of a DATASEC. */
interface Declaration {
  /** 0 for a type by itself. */
  readonly datasec: number;
  readonly typeID: number;
}

export function symbolType({ info }: InputSymbol): number {
  return info & 15;
}

export function symbolBinding({ info }: InputSymbol): number {
  return info >> 4;
}

export function symbolVisibility(symbol: { readonly other: number }): number {
  return symbol.other & 3;
}

/** True for variables and functions that other objects can see. */
export function isNonStatic(btf: ObjectBTF, id: number): boolean {
  const kind = btf.kind(id);
  if (kind === U.BTF_KIND_VAR) return btf.word(id, 3) !== BTF_VAR_STATIC;
  return kind === U.BTF_KIND_FUNC && btf.vlen(id) !== BTF_FUNC_STATIC;
}

function isDebug(name: string): boolean {
  return name.startsWith('.debug_');
}

function isIgnored({ type, size }: Section, name: string): boolean {
  if (type === SHT_STRTAB || type === SHT_LLVM_ADDRSIG) return true;
  if ((type === SHT_PROGBITS && size === 0 && name === '.text') || isDebug(name)) return true;
  if (!name.startsWith('.rel')) return false;
  const target = name.slice(4);
  return isDebug(target) || target === '.BTF' || target === '.BTF.ext';
}

/**
 * A checked input object. Names are byte strings (`btf/string-set.ts`).
 */
export class LinkInput {
  readonly file: string;
  readonly elf: ELFObject;
  /** Index 0 is unused; ephemeral sections follow those of the file. */
  readonly sections: InputSection[] = [];
  readonly symbols: readonly InputSymbol[];
  readonly btf: ObjectBTF | undefined;
  readonly ext: ObjectBTFExt | undefined;
  readonly #symbolTable: Section;
  readonly #sectionsByName = new Map<string, InputSection>();
  readonly #declarations = new Map<string, Declaration[]>();

  constructor(bytes: Uint8Array, file: string) {
    this.file = file;
    this.elf = parseELF(bytes, file, new LinkerWords(file));
    if (this.elf.machine !== EM_BPF) throw new InputError(file, 'byte 18', `unsupported kind of ELF file ${file}`);
    for (const section of this.elf.sections) this.#addSection(this.#sectionName(section), section.index, section);
    this.#refuseUnknownSections();
    this.btf = this.#readBTF();
    this.ext = this.#readBTFExt();
    this.#symbolTable = this.elf.symbolTable ?? this.fail('', `ELF is missing SYMTAB section in ${file}`);
    if (this.elf.sectionNamesIndex === 0) this.fail('', `ELF is missing section headers STRTAB section in ${file}`);
    this.symbols = this.#readSymbols();
    for (const section of this.sections.slice(1)) this.#checkSection(section);
    if (this.btf !== undefined) this.#checkReferences(this.btf, this.ext);
    if (this.btf !== undefined) this.#fixDatasecs(this.btf);
    if (this.btf !== undefined) this.#indexDeclarations(this.btf);
  }

  fail(place: string, reason: string): never {
    throw new InputError(this.file, place, reason);
  }

  section(name: string): InputSection | undefined {
    return this.#sectionsByName.get(name);
  }

  // --- sections -----------------------------------------------------------------------------------------------------

  #sectionName(section: Section): string {
    if (section.index === 0) return '';
    return byteStringAt(this.elf.sectionNames, section.nameOffset) ?? this.fail(`section ${section.index}`, `failed to get section #${section.index} name for ${this.file}`);
  }

  #addSection(name: string, index: number, elf: Section | undefined): InputSection {
    // The linker reads every section, also one that it leaves out.
    void elf?.data;
    const section: InputSection = {
      name, index, elf, isSkipped: elf !== undefined && isIgnored(elf, name), datasec: 0, outputIndex: 0, outputOffset: 0,
    };
    this.sections.push(section);
    if (this.sections.length > 1 && !this.#sectionsByName.has(name)) this.#sectionsByName.set(name, section);
    return section;
  }

  #refuseUnknownSections(): void {
    for (const { elf, name, isSkipped } of this.sections.slice(1)) {
      if (elf === undefined || isSkipped) continue;
      const isKnown = elf.type === SHT_SYMTAB || elf.type === SHT_PROGBITS || elf.type === SHT_NOBITS || elf.type === SHT_REL;
      if (!isKnown) this.fail(`section ${name}`, `unrecognized section #${elf.index} (${name}) in ${this.file}`);
    }
  }

  #checkSection({ name, elf }: InputSection): void {
    if (elf === undefined) return;
    const { index, align, offset } = elf;
    const place = `section ${name === '' ? index : name}`;
    if (name === '') this.fail(place, `ELF section #${index} has empty name in ${this.file}`);
    if (isDebug(name)) return;
    if (align !== 0 && 2 ** Math.floor(Math.log2(align)) !== align) this.fail(place, `ELF section #${index} alignment ${align} is non pow-of-2 alignment in ${this.file}`);
    // libelf takes none for 1, and does not believe an alignment that is larger than the section's offset.
    const believed = align === 0 ? 1 : align <= offset ? align : offset === 0 ? 0 : 2 ** Math.ceil(Math.log2(offset));
    if (elf.type !== SHT_NOBITS && elf.size > 0 && align !== believed) {
      this.fail(place, `ELF section #${index} has inconsistent alignment addr=${align} != d=${believed} in ${this.file}`);
    }
    switch (elf.type) {
      case SHT_SYMTAB: return this.#checkSymbols(elf, place);
      case SHT_REL: return this.#checkRelocations(name, elf, place);
      case SHT_PROGBITS:
        if ((elf.flags & SHF_EXECINSTR) !== 0 && elf.size % 8 !== 0) this.fail(place, `ELF section #${index} has unexpected size alignment ${elf.size} in ${this.file}`);
        return undefined;
      case SHT_NOBITS: case SHT_STRTAB: case SHT_LLVM_ADDRSIG: return undefined;
      default: return this.fail(place, `ELF section #${index} (${name}) has unrecognized type ${elf.type} in ${this.file}`);
    }
  }

  #checkSymbols(table: Section, place: string): void {
    const { index } = table;
    if (table.size % SYMBOL_SIZE !== 0) this.fail(place, linkFailure(this.file));
    const strings = this.elf.sections[table.link];
    if (strings?.type !== SHT_STRTAB) this.fail(place, `ELF SYMTAB section #${index} points to invalid STRTAB section #${table.link} in ${this.file}`);
    for (const [i, symbol] of this.symbols.entries()) {
      const { section, value, size, info, other } = symbol;
      const type = symbolType(symbol);
      const binding = symbolBinding(symbol);
      const visibility = symbolVisibility(symbol);
      const at = `symbol ${i}`;
      if (i === 0) {
        if (symbol.name !== '' || info !== 0 || other !== 0 || section !== 0 || value !== 0n || size !== 0n) this.fail(at, `ELF sym #0 is invalid in ${this.file}`);
        continue;
      }
      if (binding !== STB_LOCAL && binding !== STB_GLOBAL && binding !== STB_WEAK) {
        this.fail(at, `ELF sym #${i} in section #${index} has unsupported symbol binding ${binding}`);
      }
      if (visibility !== STV_DEFAULT && visibility !== STV_HIDDEN) {
        this.fail(at, `ELF sym #${i} in section #${index} has unsupported symbol visibility ${visibility}`);
      }
      if (section === 0) {
        if (type !== STT_NOTYPE || binding === STB_LOCAL || value !== 0n || size !== 0n) this.fail(at, `ELF sym #${i} is invalid extern symbol in ${this.file}`);
        continue;
      }
      if (section < SHN_LORESERVE && section >= this.elf.sections.length) {
        this.fail(at, `ELF sym #${i} in section #${index} points to missing section #${section} in ${this.file}`);
      }
      if (type === STT_SECTION && value !== 0n) this.fail(at, linkFailure(this.file));
    }
  }

  #checkRelocations(name: string, { index, size, entrySize, link, info }: Section, place: string): void {
    if (entrySize !== REL_SIZE || size % REL_SIZE !== 0) this.fail(place, linkFailure(this.file));
    if (link !== this.#symbolTable.index) this.fail(place, `ELF relo section #${index} points to invalid SYMTAB section #${link} in ${this.file}`);
    const target = this.sections[info];
    if (info === 0 || target?.elf === undefined) this.fail(place, `ELF relo section #${index} points to missing section #${info} in ${this.file}`);
    if (name !== `.rel${target.name}`) this.fail(place, `ELF relo section #${index} name has invalid name in ${this.file}`);
    if (target.isSkipped) return;
    const { type, flags } = target.elf;
    if (type !== SHT_PROGBITS && type !== SHT_NOBITS) this.fail(place, `ELF relo section #${index} points to invalid section #${info} in ${this.file}`);
    const section = this.elf.sections[index];
    if (section === undefined) return;
    for (const [i, relocation] of this.elf.relocations(section).entries()) {
      const what = `ELF relo #${i} in section #${index}`;
      if (!RELOCATION_TYPES.has(relocation.type)) this.fail(place, `${what} has unexpected type ${relocation.type} in ${this.file}`);
      if (relocation.symbol === 0 || relocation.symbol >= this.symbols.length) this.fail(place, `${what} points to invalid symbol #${relocation.symbol} in ${this.file}`);
      if ((flags & SHF_EXECINSTR) !== 0 && (!Number.isSafeInteger(relocation.offset) || relocation.offset % 8 !== 0)) this.fail(place, `${what} points to missing symbol #${relocation.symbol} in ${this.file}`);
    }
  }

  #readSymbols(): InputSymbol[] {
    const { data, link } = this.#symbolTable;
    const strings = this.elf.sections[link]?.data ?? new Uint8Array(0);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const little = this.elf.littleEndian;
    return this.elf.symbols.map((_, i) => {
      const at = i * SYMBOL_SIZE;
      return {
        name: byteStringAt(strings, view.getUint32(at, little)) ?? this.fail(`symbol ${i}`, `can't fetch symbol name for symbol #${i} in '${this.file}'`),
        info: view.getUint8(at + 4),
        other: view.getUint8(at + 5),
        section: view.getUint16(at + 6, little),
        value: view.getBigUint64(at + 8, little),
        size: view.getBigUint64(at + 16, little),
      };
    });
  }

  // --- types --------------------------------------------------------------------------------------------------------

  /** The last section of the name; none of them is data to be linked. */
  #takeTypes(name: string): InputSection | undefined {
    const sections = this.sections.filter((candidate) => candidate.name === name && isTypes(candidate));
    for (const section of sections) section.isSkipped = true;
    return sections.at(-1);
  }

  #readBTF(): ObjectBTF | undefined {
    const section = this.#takeTypes('.BTF');
    if (section?.elf === undefined) return undefined;
    const { data } = section.elf;
    return this.#parse(() => new ObjectBTF(data, this.file), `failed to parse .BTF from ${this.file}: -EINVAL`);
  }

  #readBTFExt(): ObjectBTFExt | undefined {
    const section = this.#takeTypes('.BTF.ext');
    if (section?.elf === undefined) return undefined;
    if (this.btf === undefined) this.fail('section .BTF.ext', linkFailure(this.file));
    const { data } = section.elf;
    return this.#parse(() => parseObjectBTFExt(data, this.file), `failed to parse .BTF.ext from '${this.file}': -EINVAL`);
  }

  #parse<T>(parse: () => T, reason: string): T {
    try {
      return parse();
    } catch (error) {
      if (error instanceof InputError) this.fail(error.place, `${error.reason}; ${reason}`);
      throw error;
    }
  }

  /** Every id and string offset that types and records hold exists. */
  #checkReferences(btf: ObjectBTF, ext: ObjectBTFExt | undefined): void {
    const checkID = (id: number): number => (btf.has(id) ? id : this.fail('section .BTF', linkFailure(this.file)));
    const checkString = (offset: number): void => {
      if (!btf.hasString(offset)) this.fail('section .BTF.ext', linkFailure(this.file));
    };
    for (let id = 1; id < btf.count; id++) rewriteTypeIDs(btf.type(id), checkID);
    for (const section of ext?.functions.sections ?? []) for (const record of recordsOf(section)) checkID(record[1] ?? 0);
    for (const section of ext?.relocations.sections ?? []) for (const record of recordsOf(section)) checkID(record[1] ?? 0);
    for (const info of [ext?.functions, ext?.lines, ext?.relocations]) for (const { nameOffset } of info?.sections ?? []) checkString(nameOffset);
    for (const section of ext?.lines.sections ?? []) for (const record of recordsOf(section)) record.subarray(1, 3).forEach(checkString);
    for (const section of ext?.relocations.sections ?? []) for (const record of recordsOf(section)) checkString(record[2] ?? 0);
  }

  /** Fills in what compilers leave open: sizes of sections and offsets of visible variables. */
  #fixDatasecs(btf: ObjectBTF): void {
    const objects = new Map<string, InputSymbol>();
    for (const symbol of this.symbols) {
      const key = `${symbol.section} ${symbol.name}`;
      if (symbolType(symbol) === STT_OBJECT && !objects.has(key)) objects.set(key, symbol);
    }
    for (let id = 1; id < btf.count; id++) {
      if (btf.kind(id) !== U.BTF_KIND_DATASEC) continue;
      const words = btf.type(id);
      const name = btf.string(btf.nameOffset(id));
      let section = this.#sectionsByName.get(name);
      if (section === undefined) {
        // Externs without a section are for the linker alone to resolve.
        if (name === EXTERN_DATASEC) continue;
        section = this.#addSection(name, 0, undefined);
      }
      if (section.elf !== undefined) words[2] = section.elf.size;
      section.datasec = id;
      for (let i = 0; i < btf.vlen(id); i++) {
        const variable = words[3 + 3 * i] ?? 0;
        if (btf.kind(variable) !== U.BTF_KIND_VAR || btf.word(variable, 3) !== BTF_VAR_GLOBAL_ALLOCATED) continue;
        const variableName = btf.string(btf.nameOffset(variable));
        const symbol = objects.get(`${section.index} ${variableName}`);
        if (symbol === undefined) this.fail(`section ${name}`, `failed to find symbol for variable '${variableName}' in section '${name}'`);
        words[4 + 3 * i] = Number(symbol.value & 0xffffffffn);
      }
    }
  }

  #indexDeclarations(btf: ObjectBTF): void {
    const add = (typeID: number, datasec: number): void => {
      const name = btf.string(btf.nameOffset(typeID));
      const known = this.#declarations.get(name);
      if (known === undefined) this.#declarations.set(name, [{ datasec, typeID }]);
      else known.push({ datasec, typeID });
    };
    for (let id = 1; id < btf.count; id++) {
      if (isNonStatic(btf, id)) add(id, 0);
      if (btf.kind(id) !== U.BTF_KIND_DATASEC) continue;
      for (let i = 0; i < btf.vlen(id); i++) {
        const entry = btf.word(id, 3 + 3 * i);
        const kind = btf.kind(entry);
        if (isNonStatic(btf, entry) || (kind !== U.BTF_KIND_VAR && kind !== U.BTF_KIND_FUNC)) add(entry, id);
      }
    }
  }

  /** The type of a visible symbol and the DATASEC that lists it, 0 for none (`find_glob_sym_btf`). */
  declaration(name: string): Declaration {
    const place = `symbol ${name}`;
    if (this.btf === undefined) this.fail(place, `failed to find BTF info for object '${this.file}'`);
    let typeID = 0;
    for (const found of this.#declarations.get(name) ?? []) {
      if (found.datasec === 0) {
        typeID = found.typeID;
        continue;
      }
      if (typeID !== 0 && typeID !== found.typeID) {
        this.fail(place, `global/extern '${name}' BTF is ambiguous: both types #${typeID} and #${found.typeID} match`);
      }
      return found;
    }
    return typeID === 0 ? this.fail(place, `failed to find BTF info for global/extern symbol '${name}'`) : { datasec: 0, typeID };
  }
}

/** Sections of types and records, which are merged by meaning and not as bytes. */
function isTypes({ name, elf }: InputSection): boolean {
  return elf?.type === SHT_PROGBITS && (name === '.BTF' || name === '.BTF.ext');
}
