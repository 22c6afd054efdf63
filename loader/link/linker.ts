/**
 * @module loader/link/linker
 * Links BPF objects statically into one: sections of one name one after the other, global symbols resolved, types merged, as
 * `bpftool gen object` does, byte for byte. Owns the merging; reading is `input.ts`, comparing declarations `match.ts`, `.BTF.ext`
 * `records.ts`, the file's layout `elf-writer.ts`. Reproduces `tools/lib/bpf/linker.c` of Linux 7.3.
 */
import { dedupTypes } from '../../btf/dedup.ts';
import { rewriteNames, rewriteTypeIDs } from '../../btf/references.ts';
import { StringSet } from '../../btf/string-set.ts';
import { errnoName } from '../../isa/errno.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { ObjectBTF, typeInfo } from '../object/btf-object.ts';
import {
  SHF_EXECINSTR, SHF_STRINGS, SHN_LORESERVE, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_SECTION,
  SYMBOL_SIZE, type Relocation, type Section,
} from '../object/elf.ts';
import { writeELF, type OutputSection } from './elf-writer.ts';
import {
  EXTERN_DATASEC, isNonStatic, LinkInput, symbolBinding, symbolType, symbolVisibility, type InputSection, type InputSymbol,
} from './input.ts';
import { mapMismatch, typeMismatch } from './match.ts';
import { appendRecords, encodeRecords, nameRecordSections, rewriteRecordTypes, SectionRecords } from './records.ts';

const BTF_VAR_GLOBAL_ALLOCATED = 1;
const BTF_FUNC_GLOBAL = 1;
const CALL = U.BPF_JMP | U.BPF_CALL;
const TYPES_ALIGN = 8;
/** Bytes of the linked object; enough for any program, little enough for a mistake in a header to end here. */
const MAX_OUTPUT = 1 << 30;

/** An object to link. */
export interface LinkSource {
  readonly bytes: Uint8Array;
  /** Name in messages. */
  readonly file: string;
}

/** A section of the output. Without `elf` it stands for a DATASEC of externs, and nothing of it is written. */
interface LinkedSection {
  readonly name: string;
  readonly index: number;
  elf: LinkedELFSection | undefined;
  size: number;
  /** Its symbol of type SECTION, 0 for none. */
  symbol: number;
  hasTypes: boolean;
  readonly variables: { readonly type: number; readonly offset: number; size: number }[];
  readonly records: SectionRecords;
}

interface LinkedELFSection {
  /** Index in the file. */
  readonly index: number;
  readonly nameOffset: number;
  readonly type: number;
  readonly flags: number;
  readonly flagsHigh: number;
  readonly entrySize: number;
  align: number;
  link: number;
  info: number;
  data: Uint8Array;
}

interface LinkedSymbol {
  readonly nameOffset: number;
  info: number;
  other: number;
  section: number;
  value: bigint;
  size: bigint;
}

/** A symbol that several objects may declare. */
interface GlobalSymbol {
  readonly symbol: number;
  /** Index of its section among the linked ones, 0 for none. */
  section: number;
  typeID: number;
  /** Type behind it; negative: an id of the input being appended. */
  underlying: number;
  /** Entry in its section's DATASEC, -1 for none. */
  variable: number;
  isExtern: boolean;
  isWeak: boolean;
}

/**
 * Links objects.
 *
 * @returns the linked object
 * @throws InputError naming file, place and reason; the reason is libbpf's own where it has one
 *
 * @example
 * linkObjects([{ bytes: readFileSync('a.o'), file: 'a.o' }, { bytes: readFileSync('b.o'), file: 'b.o' }]);
 */
export function linkObjects(sources: readonly LinkSource[]): Uint8Array {
  const [first] = sources;
  if (first === undefined) throw new InputError('', '', 'no object to link');
  let linker: Linker | undefined;
  for (const { bytes, file } of sources) {
    const input = new LinkInput(bytes, file);
    linker ??= new Linker(input.elf.littleEndian);
    linker.add(input);
  }
  return (linker ?? new Linker(true)).finish();
}

class Linker {
  readonly #littleEndian: boolean;
  readonly #names = new StringSet();
  /** The string table, the symbol table, then sections in the order in which they came; index 0 is a section that is left out. */
  readonly #sections: LinkedSection[] = [];
  readonly #sectionsByName = new Map<string, LinkedSection>();
  #elfSections = 0;
  readonly #symbols: LinkedSymbol[] = [{ nameOffset: 0, info: 0, other: 0, section: 0, value: 0n, size: 0n }];
  readonly #globals = new Map<string, GlobalSymbol>();
  readonly #btf: ObjectBTF;

  constructor(littleEndian: boolean) {
    this.#littleEndian = littleEndian;
    this.#btf = ObjectBTF.empty('linked object', littleEndian);
    this.#addSection('');
    this.#addSection('.strtab').elf = this.#newELFSection('.strtab', { type: SHT_STRTAB, flags: SHF_STRINGS, flagsHigh: 0, entrySize: 0, align: 1 });
    this.#addSection('.symtab').elf = this.#newELFSection('.symtab', { type: SHT_SYMTAB, flags: 0, flagsHigh: 0, entrySize: SYMBOL_SIZE, align: 8 });
  }

  add(input: LinkInput): void {
    if (input.elf.littleEndian !== this.#littleEndian) input.fail('byte 5', `byte order mismatch with ELF file ${input.file}`);
    this.#appendSections(input);
    const symbols = this.#appendSymbols(input);
    this.#appendRelocations(input, symbols);
    this.#appendTypes(input);
  }

  // --- sections -----------------------------------------------------------------------------------------------------

  #addSection(name: string): LinkedSection {
    const section: LinkedSection = {
      name, index: this.#sections.length, elf: undefined, size: 0, symbol: 0, hasTypes: false, variables: [], records: new SectionRecords(),
    };
    this.#sections.push(section);
    if (section.index > 0 && !this.#sectionsByName.has(name)) this.#sectionsByName.set(name, section);
    return section;
  }

  #newELFSection(name: string, { type, flags, flagsHigh, entrySize, align }: Pick<Section, 'type' | 'flags' | 'flagsHigh' | 'entrySize' | 'align'>): LinkedELFSection {
    return {
      index: ++this.#elfSections, nameOffset: this.#names.add(name), type, flags, flagsHigh, entrySize, align, link: 0, info: 0, data: new Uint8Array(0),
    };
  }

  #section(index: number): LinkedSection {
    return this.#sections[index] ?? this.#leftOut();
  }

  #leftOut(): LinkedSection {
    const [section] = this.#sections;
    return section ?? this.#addSection('');
  }

  #appendSections(input: LinkInput): void {
    for (const section of input.sections.slice(1)) {
      const { elf, isSkipped } = section;
      const isData = elf === undefined || elf.type === SHT_PROGBITS || elf.type === SHT_NOBITS;
      if (isSkipped || !isData) continue;
      const known = this.#sectionsByName.get(section.name);
      const target = known ?? this.#addSection(section.name);
      section.outputIndex = target.index;
      if (known !== undefined) {
        if (!this.#matches(input, target, section, `ELF sections ${section.name} are incompatible`)) continue;
        if (this.#isRepeated(input, target, section)) {
          section.isSkipped = true;
          continue;
        }
      }
      this.#extend(input, target, section);
    }
  }

  /** Objects agree on what a section is. */
  #matches(input: LinkInput, { name, elf: target }: LinkedSection, { elf }: InputSection, reason: string): boolean {
    if (target === undefined || elf === undefined) return true;
    const fail = (what: string): never => input.fail(`section ${name}`, `sec ${name} ${what} mismatch; ${reason}`);
    if (target.type !== elf.type) fail('types');
    if (target.flags !== elf.flags || target.flagsHigh !== elf.flagsHigh) fail('flags');
    if (target.entrySize !== elf.entrySize) fail('entsize');
    return true;
  }

  /** Every object has a licence; one stays. */
  #isRepeated(input: LinkInput, target: LinkedSection, { name, elf }: InputSection): boolean {
    if (name !== 'license' && name !== 'version') return false;
    const isSame = target.elf !== undefined && elf !== undefined && target.size === elf.size && target.elf.data.every((byte, i) => byte === elf.data[i]);
    if (!isSame) input.fail(`section ${name}`, `non-identical contents of section '${name}' are not supported`);
    return true;
  }

  #extend(input: LinkInput, target: LinkedSection, section: InputSection): void {
    const { elf } = section;
    if (elf === undefined) return;
    // A section of externs becomes a real one with the first definition.
    target.elf ??= this.#newELFSection(section.name, elf);
    const align = Math.max(1, target.elf.align, elf.align);
    const offset = Math.ceil(target.size / align) * align;
    if (offset + elf.size > MAX_OUTPUT) input.fail(`section ${section.name}`, `more than ${MAX_OUTPUT} bytes when linked`);
    if (elf.type !== SHT_NOBITS) {
      const data = new Uint8Array(offset + elf.size);
      data.set(target.elf.data);
      data.set(elf.data, offset);
      target.elf.data = data;
    }
    target.size = offset + elf.size;
    target.elf.align = align;
    section.outputOffset = offset;
  }

  // --- symbols ------------------------------------------------------------------------------------------------------

  /** Output symbol of each input symbol, 0 for none. */
  #appendSymbols(input: LinkInput): Uint32Array {
    const outputs = new Uint32Array(input.symbols.length);
    for (const [i, symbol] of input.symbols.entries()) if (i > 0) outputs[i] = this.#appendSymbol(input, symbol, i);
    return outputs;
  }

  #appendSymbol(input: LinkInput, symbol: InputSymbol, index: number): number {
    const isExtern = symbol.section === 0;
    if (isExtern && input.btf === undefined) input.fail(`symbol ${symbol.name}`, 'externs without BTF info are not supported');
    let section: InputSection | undefined;
    if (!isExtern && symbol.section < SHN_LORESERVE) {
      section = input.sections[symbol.section];
      if (section === undefined || section.isSkipped) return 0;
      const target = this.#section(section.outputIndex);
      if (symbolType(symbol) === STT_SECTION && target.symbol !== 0) return target.symbol;
      if (section.name === '.jumptables') return this.#addSymbol(symbol, section);
    }
    if (symbolBinding(symbol) === STB_LOCAL) return this.#addSymbol(symbol, section);
    const { datasec, typeID } = input.declaration(symbol.name);
    if (isExtern && datasec !== 0) section = this.#externSection(input, datasec) ?? section;
    const known = this.#globals.get(symbol.name);
    if (known === undefined) return this.#addSymbol(symbol, section);
    this.#resolve(input, symbol, index, known, section, typeID);
    return known.symbol;
  }

  /** The section that an extern is to be found in; none where only the linker can resolve it. */
  #externSection(input: LinkInput, datasec: number): InputSection | undefined {
    const name = input.btf?.string(input.btf.nameOffset(datasec)) ?? '';
    if (name === EXTERN_DATASEC) return undefined;
    return input.section(name) ?? input.fail(`section ${name}`, `failed to find matching ELF sec '${name}'`);
  }

  #addSymbol(symbol: InputSymbol, section: InputSection | undefined): number {
    const target = section === undefined ? undefined : this.#section(section.outputIndex);
    const index = this.#symbols.length;
    const nameOffset = this.#names.add(symbol.name);
    const isSection = symbolType(symbol) === STT_SECTION && target !== undefined;
    this.#symbols.push({
      nameOffset, info: symbol.info, other: symbol.other, section: target === undefined ? symbol.section : (target.elf?.index ?? 0),
      value: isSection ? 0n : BigInt(section?.outputOffset ?? 0) + symbol.value, size: symbol.size,
    });
    if (isSection) target.symbol = index;
    if (symbolBinding(symbol) !== STB_LOCAL && !this.#globals.has(symbol.name)) {
      this.#globals.set(symbol.name, {
        symbol: index, section: target?.index ?? 0, typeID: 0, underlying: 0, variable: -1, isExtern: symbol.section === 0,
        isWeak: symbolBinding(symbol) === STB_WEAK,
      });
    }
    return index;
  }

  /** A second declaration of a symbol: of two definitions one must be weak, and a definition replaces what is only declared. */
  #resolve(input: LinkInput, symbol: InputSymbol, index: number, known: GlobalSymbol, section: InputSection | undefined, typeID: number): void {
    const isExtern = symbol.section === 0;
    const binding = symbolBinding(symbol);
    if (!isExtern && !known.isExtern && !known.isWeak && binding !== STB_WEAK) {
      input.fail(`symbol ${symbol.name}`, `conflicting non-weak symbol #${index} (${symbol.name}) definition in '${input.file}'`);
    }
    this.#checkDeclarations(input, symbol.name, known, typeID);
    const target = this.#symbols[known.symbol];
    if (target === undefined) return;
    if (binding === STB_GLOBAL) {
      target.info = (STB_GLOBAL << 4) | (target.info & 15);
      known.isWeak = false;
    }
    // The stricter visibility wins, also that of a mere declaration.
    if (symbolVisibility(symbol) > symbolVisibility(target)) target.other = (target.other & ~3) | symbolVisibility(symbol);
    if (isExtern || (!known.isExtern && binding === STB_WEAK)) return;
    const place = this.#section(section?.outputIndex ?? 0);
    target.info = (target.info & 0xf0) | symbolType(symbol);
    target.section = place.elf?.index ?? 0;
    target.value = BigInt(section?.outputOffset ?? 0) + symbol.value;
    target.size = symbol.size;
    known.section = place.index;
    known.isExtern = false;
    this.#completeDeclaration(input, known.typeID, typeID);
    known.underlying = 0;
  }

  #checkDeclarations(input: LinkInput, name: string, known: GlobalSymbol, typeID: number): void {
    const place = `symbol ${name}`;
    if (input.btf === undefined || known.typeID === 0 || typeID === 0) input.fail(place, `BTF info is missing for global symbol '${name}'`);
    const kind = input.btf.kind(typeID);
    if (kind !== U.BTF_KIND_VAR && kind !== U.BTF_KIND_FUNC) {
      input.fail(place, `only extern variables and functions are supported, but got '${kind}' for '${name}'`);
    }
    const [main, extra] = [{ btf: this.#btf, id: known.typeID }, { btf: input.btf, id: typeID }];
    const isMap = known.section !== 0 && this.#section(known.section).name === '.maps';
    const mismatch = isMap ? mapMismatch(name, main, extra, input.file) : typeMismatch(name, main, extra, input.file);
    if (mismatch !== undefined) input.fail(place, mismatch);
  }

  /** An extern's type becomes that of a definition; declarations of functions have no names of parameters. */
  #completeDeclaration({ btf }: LinkInput, typeID: number, definitionID: number): void {
    const words = this.#btf.type(typeID);
    if (this.#btf.kind(typeID) === U.BTF_KIND_VAR) {
      words[3] = BTF_VAR_GLOBAL_ALLOCATED;
      return;
    }
    words[1] = typeInfo(U.BTF_KIND_FUNC, BTF_FUNC_GLOBAL);
    const prototype = this.#btf.type(this.#btf.target(typeID));
    const definition = btf?.type(btf.target(definitionID));
    for (let at = 3; at < prototype.length; at += 2) {
      const name = definition?.[at] ?? 0;
      if (name !== 0) prototype[at] = this.#btf.addString(btf?.string(name) ?? '');
    }
  }

  // --- relocations --------------------------------------------------------------------------------------------------

  #appendRelocations(input: LinkInput, symbols: Uint32Array): void {
    for (const section of input.sections.slice(1)) {
      const { elf, isSkipped, name } = section;
      if (elf === undefined || isSkipped || elf.type !== SHT_REL) continue;
      const relocated = input.sections[elf.info];
      if (relocated === undefined || relocated.isSkipped) continue;
      const known = this.#sectionsByName.get(name);
      const target = known ?? this.#addSection(name);
      this.#matches(input, target, section, `sections ${name} are not compatible`);
      section.outputIndex = target.index;
      this.#extend(input, target, section);
      if (target.elf === undefined) continue;
      target.elf.link = this.#sectionsByName.get('.symtab')?.elf?.index ?? 0;
      const code = this.#section(relocated.outputIndex);
      target.elf.info = code.elf?.index ?? 0;
      const view = new DataView(target.elf.data.buffer, section.outputOffset);
      for (const [i, relocation] of input.elf.relocations(elf).entries()) {
        // What was copied here still has the place in the input.
        const offset = view.getBigUint64(16 * i, this.#littleEndian) + BigInt(relocated.outputOffset);
        view.setBigUint64(16 * i, BigInt.asUintN(64, offset), this.#littleEndian);
        view.setBigUint64(16 * i + 8, (BigInt(symbols[relocation.symbol] ?? 0) << 32n) | BigInt(relocation.type), this.#littleEndian);
        this.#adjustInstruction(input, relocation, relocated, code, name);
      }
    }
  }

  /** What is relative to a section's begin moves with the section; the first static function of `.text` is called in that way. */
  #adjustInstruction(input: LinkInput, relocation: Relocation, relocated: InputSection, { elf }: LinkedSection, name: string): void {
    const symbol = input.symbols[relocation.symbol];
    if (symbol === undefined || symbolType(symbol) !== STT_SECTION) return;
    const place = `section ${name}`;
    if (((relocated.elf?.flags ?? 0) & SHF_EXECINSTR) === 0) input.fail(place, 'relocation against STT_SECTION in non-exec section is not supported!');
    const at = relocation.offset + relocated.outputOffset;
    if (elf === undefined || at + 8 > elf.data.length) input.fail(place, `relocation at offset ${relocation.offset} lies beyond section '${relocated.name}'`);
    const moved = input.sections[symbol.section]?.outputOffset ?? 0;
    const view = new DataView(elf.data.buffer, elf.data.byteOffset + at, 8);
    const amount = view.getUint8(0) === CALL ? moved / 8 : moved;
    view.setInt32(4, (view.getInt32(4, this.#littleEndian) + amount) | 0, this.#littleEndian);
  }

  // --- types --------------------------------------------------------------------------------------------------------

  #appendTypes(input: LinkInput): void {
    const { btf } = input;
    if (btf === undefined) return;
    const typeIDs = new Uint32Array(btf.count);
    const first = this.#btf.count;
    for (let id = 1; id < btf.count; id++) typeIDs[id] = this.#appendType(btf, id);
    for (let id = first; id < this.#btf.count; id++) {
      rewriteTypeIDs(this.#btf.type(id), (from) => {
        const to = typeIDs[from] ?? 0;
        return to !== 0 || from === 0 ? to : input.fail(`section .BTF, type ${from}`, `failed to find new ID mapping for original BTF type ID ${from}`);
      });
    }
    for (const symbol of this.#globals.values()) {
      if (symbol.underlying >= 0) continue;
      symbol.underlying = typeIDs[-symbol.underlying] ?? 0;
      this.#btf.type(symbol.typeID)[2] = symbol.underlying;
    }
    for (const section of input.sections.slice(1)) {
      if (section.datasec !== 0 && !section.isSkipped) this.#appendVariables(input, btf, section, typeIDs);
    }
    appendRecords(input, { btf: this.#btf, typeIDs, records: (index) => this.#section(index).records });
  }

  /** The id that a type of an input gets, 0 for one that is left out. */
  #appendType(btf: ObjectBTF, id: number): number {
    if (btf.kind(id) === U.BTF_KIND_DATASEC) return 0;
    let symbol: GlobalSymbol | undefined;
    if (isNonStatic(btf, id)) {
      symbol = this.#globals.get(btf.string(btf.nameOffset(id)));
      // A variable of a section that was left out, as the second licence.
      if (symbol === undefined) return 0;
      if (symbol.underlying === 0) symbol.underlying = -btf.target(id);
      if (symbol.typeID !== 0) return symbol.typeID;
    }
    const words = btf.type(id).slice();
    rewriteNames(words, (offset) => (offset === 0 ? 0 : this.#btf.addString(btf.string(offset))));
    const added = this.#btf.addType(...words);
    if (symbol !== undefined) {
      symbol.typeID = added;
      symbol.underlying = -btf.target(id);
    }
    return added;
  }

  #appendVariables(input: LinkInput, btf: ObjectBTF, section: InputSection, typeIDs: Uint32Array): void {
    const target = this.#section(section.outputIndex);
    // Also without variables: the section's size is all that its DATASEC says then.
    target.hasTypes = true;
    for (let i = 0; i < btf.vlen(section.datasec); i++) {
      const at = 3 + 3 * i;
      const type = typeIDs[btf.word(section.datasec, at)] ?? 0;
      const symbol = this.#globalOf(input, target, type);
      if (symbol !== undefined && symbol.variable >= 0) {
        this.#updateVariable(input, target, type, symbol);
        continue;
      }
      target.variables.push({ type, offset: section.outputOffset + btf.word(section.datasec, at + 1), size: btf.word(section.datasec, at + 2) });
      if (symbol !== undefined) symbol.variable = target.variables.length - 1;
    }
  }

  #globalOf(input: LinkInput, target: LinkedSection, type: number): GlobalSymbol | undefined {
    if (!isNonStatic(this.#btf, type)) return undefined;
    const name = this.#btf.string(this.#btf.nameOffset(type));
    const symbol = this.#globals.get(name) ?? input.fail(`symbol ${name}`, `global '${name}': it is in the types but not among the symbols`);
    if (symbol.section !== target.index) input.fail(`symbol ${name}`, `global '${name}': section mismatch ${symbol.section} vs ${target.index}`);
    return symbol;
  }

  /** Another object's declaration of the same variable: its type, and so its size, may be better known now. */
  #updateVariable(input: LinkInput, target: LinkedSection, type: number, symbol: GlobalSymbol): void {
    if (this.#btf.kind(type) === U.BTF_KIND_FUNC) return;
    const name = this.#btf.string(this.#btf.nameOffset(type));
    const size = this.#btf.resolveSize(symbol.underlying);
    if (size < 0) input.fail(`symbol ${name}`, `global '${name}': failed to resolve size of underlying type: -22`);
    const variable = target.variables[symbol.variable];
    if (variable !== undefined) variable.size = size;
  }

  // --- output -------------------------------------------------------------------------------------------------------

  /** The linked object. */
  finish(): Uint8Array {
    const types = this.#finishTypes();
    const sections = this.#sections.slice(1).flatMap(({ elf, size, name }) => {
      if (elf === undefined) return [];
      if (elf.entrySize !== 0 && size % elf.entrySize !== 0) throw new InputError('linked object', `section ${name}`, 'failed to finalize ELF layout: invalid section entry size');
      const data = name === '.symtab' && elf.type === SHT_SYMTAB ? this.#encodeSymbols() : elf.data;
      const link = elf.type === SHT_SYMTAB ? 1 : elf.link;
      return [{ nameOffset: elf.nameOffset, type: elf.type, flags: elf.flags, flagsHigh: elf.flagsHigh, link, info: elf.info, align: elf.align, entrySize: elf.entrySize, data, size: elf.type === SHT_NOBITS ? size : data.length, index: elf.index }];
    }).toSorted((a, b) => a.index - b.index);
    const extra: OutputSection[] = types.map(({ name, data }) => ({
      nameOffset: this.#names.add(name), type: SHT_PROGBITS, flags: 0, flagsHigh: 0, link: 0, info: 0, align: TYPES_ALIGN, entrySize: 0, data, size: data.length,
    }));
    const names = this.#names.bytes();
    const [strings, ...rest] = sections;
    if (strings === undefined) return new Uint8Array(0);
    return writeELF([{ ...strings, data: names, size: names.length }, ...rest, ...extra], strings.index, this.#littleEndian);
  }

  #finishTypes(): { readonly name: string; readonly data: Uint8Array }[] {
    if (this.#btf.count === 1) return [];
    const sections = this.#sections.slice(1);
    for (const { name, hasTypes, size, variables } of sections) {
      if (!hasTypes) continue;
      if (name === '') throw new InputError('linked object', 'section .BTF', "failed to add consolidated BTF type for datasec '': -22");
      this.#btf.addType(this.#btf.addString(name), typeInfo(U.BTF_KIND_DATASEC, variables.length), size, ...variables.flatMap(({ type, offset, size: bytes }) => [type, offset, bytes]));
    }
    nameRecordSections(sections, this.#btf);
    const kept = dedupTypes(this.#btf.types, 'linked object', (rewrite) => rewriteRecordTypes(sections.map(({ records }) => records), rewrite));
    if (typeof kept === 'number') throw new InputError('linked object', 'section .BTF', `BTF dedup failed: -${errnoName(kept)}`);
    this.#btf.replaceTypes(kept);
    const records = encodeRecords(sections, this.#btf, this.#littleEndian);
    return [{ name: '.BTF', data: this.#btf.encode() }, ...(records === undefined ? [] : [{ name: '.BTF.ext', data: records }])];
  }

  #encodeSymbols(): Uint8Array {
    const view = new DataView(new ArrayBuffer(SYMBOL_SIZE * this.#symbols.length));
    for (const [i, { nameOffset, info, other, section, value, size }] of this.#symbols.entries()) {
      const at = i * SYMBOL_SIZE;
      view.setUint32(at, nameOffset, this.#littleEndian);
      view.setUint8(at + 4, info);
      view.setUint8(at + 5, other);
      view.setUint16(at + 6, section, this.#littleEndian);
      view.setBigUint64(at + 8, BigInt.asUintN(64, value), this.#littleEndian);
      view.setBigUint64(at + 16, size, this.#littleEndian);
    }
    return new Uint8Array(view.buffer);
  }
}
