/**
 * @module loader/object/open
 * Opens an object: sections, programs, types, externs, maps, relocations, in libbpf's order and with its messages. The result is
 * plain data (`model.ts`). Reproduces `bpf_object_open` of `tools/lib/bpf/libbpf.c`.
 */
import { InputError } from '../../isa/errors.ts';
import { latin1UpToNUL } from '../../isa/latin1.ts';
import { LD_IMM64 } from '../../isa/opcodes.ts';
import * as U from '../../isa/uapi.ts';
import { ObjectBTF } from './btf-object.ts';
import { parseObjectBTFExt, type ObjectBTFExt } from './btf-ext.ts';
import {
  ELFWords, parseELF, REL_SIZE, SHF_EXECINSTR, SHN_LORESERVE, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_SYMTAB, STB_GLOBAL, STB_LOCAL, STB_WEAK,
  STT_FUNC, STT_OBJECT, STT_SECTION, STV_HIDDEN, STV_INTERNAL, type ELFObject, type Relocation, type Section, type Symbol,
} from './elf.ts';
import { collectExterns, isExternSymbol } from './externs.ts';
import { createInternalMap, isMapInMap, PAGE_SIZE, parseUserMaps, setSlot, visibleMapName } from './map-defs.ts';
import type { BPFObject, Extern, MapKind, ObjectMap, ObjectProgram, ProgramRelocation } from './model.ts';
import { isIgnored, isRelocated, noteSections, type Note } from './passed-over.ts';
import { findSectionDef } from './section-defs.ts';
import { isStructOpsSection, parseStructOpsMaps, relocateStructOps } from './struct-ops.ts';

const CALL = U.BPF_JMP | U.BPF_CALL;
const BTF_VAR_STATIC = 0;
const BTF_VAR_GLOBAL_EXTERN = 2;
const ARENA_SECTION = '.addr_space.1';
const TYPES_REQUIRED = 'BTF is required, but is missing or corrupted.';
const JUMP_TABLES_SECTION = '.jumptables';

/**
 * Opens an object file.
 *
 * @param name what libbpf calls `object_name`: it goes into the names of internal maps
 * @throws InputError naming file, section and reason; the reason is libbpf's own where it has one
 *
 * @example
 * openObject(readFileSync('a.bpf.o'), 'a.bpf.o', 'a').programs.map((program) => program.name);
 */
export function openObject(bytes: Uint8Array, file: string, name: string): BPFObject {
  return new ObjectOpener(parseELF(bytes, file, new ELFWords(name)), file, name).open();
}

/**
 * The same, for who wants to know what the object loses.
 * @param note gets what libbpf says of sections that it makes nothing of, and of types that it cannot read but need not
 */
export function openNoting(bytes: Uint8Array, file: string, name: string, note?: Note): BPFObject {
  const opener = new ObjectOpener(parseELF(bytes, file, new ELFWords(name)), file, name);
  const object = opener.open();
  if (note !== undefined) {
    noteSections(object.elf, note);
    for (const line of opener.unreadableTypes) note(line);
  }
  return object;
}

class ObjectOpener {
  readonly #elf: ELFObject;
  readonly #file: string;
  readonly #name: string;
  #license = '';
  #btfSection: Section | undefined;
  #extSection: Section | undefined;
  #textIndex = 0;
  #mapsIndex = -1;
  #mapsDatasec = 0;
  #arena: Section | undefined;
  #jumpTables = -1;
  readonly #dataSections: { readonly section: Section; readonly kind: MapKind }[] = [];
  readonly #structOps: Section[] = [];
  readonly #relocationSections: Section[] = [];
  readonly #programs: ObjectProgram[] = [];
  /** What libbpf says of types that it cannot read and does without. */
  readonly unreadableTypes: string[] = [];

  constructor(elf: ELFObject, file: string, name: string) {
    this.#elf = elf;
    this.#file = file;
    this.#name = name;
  }

  #fail(place: string, reason: string): never {
    throw new InputError(this.#file, place, reason);
  }

  open(): BPFObject {
    if (this.#elf.symbolTable === undefined) this.#fail('', `elf: couldn't find symbol table in ${this.#name}, stripped object file?`);
    for (const section of this.#elf.sections.slice(1)) this.#collect(section);
    this.#programs.sort((a, b) => a.sectionIndex - b.sectionIndex || a.sectionOffset - b.sectionOffset);
    const { data: types } = this.#btfSection ?? {};
    const { data: records } = this.#extSection ?? {};
    const btf = types === undefined ? undefined : this.#parseTypes(() => new ObjectBTF(types, this.#file), () => 'Error loading ELF section .BTF: -EINVAL.');
    const ext = btf === undefined || records === undefined ? undefined : this.#parseTypes(() => parseObjectBTFExt(records, this.#file), (reason) => `Error loading ELF section .BTF.ext: ${reason.startsWith('Unsupported') ? '-EOPNOTSUPP' : '-EINVAL'}. Ignored and continue.`);
    if (btf === undefined && this.#needsTypes()) this.#fail('', TYPES_REQUIRED);
    const externs = collectExterns(this.#elf, btf, this.#file);
    if (btf !== undefined) this.#fixDatasecs(btf);
    const { maps, arenaIndex, kconfigIndex } = this.#createMaps(btf, externs);
    this.#assignTypes();
    this.#collectRelocations(btf, maps, externs, arenaIndex);
    return this.#assemble(btf, ext, maps, externs, arenaIndex, kconfigIndex);
  }

  #assemble(
    btf: ObjectBTF | undefined, ext: ObjectBTFExt | undefined, maps: ObjectMap[], externs: Extern[], arenaIndex: number, kconfigIndex: number,
  ): BPFObject {
    return {
      file: this.#file, name: this.#name, elf: this.#elf, littleEndian: this.#elf.littleEndian, license: this.#license, btf, ext,
      programs: this.#programs, maps, externs, textIndex: this.#textIndex, mapsIndex: this.#mapsIndex, arenaIndex, kconfigIndex,
      arenaSection: this.#arena?.index ?? -1, jumpTableSection: this.#jumpTables,
    };
  }

  #needsTypes(): boolean {
    return this.#mapsIndex >= 0 || this.#structOps.length > 0;
  }

  /** Types that libbpf cannot read are as good as none, where nothing needs them (`bpf_object__init_btf`). */
  #parseTypes<T>(parse: () => T, warning: (reason: string) => string): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      if (!this.#needsTypes()) {
        // Of the reasons only those about a type are more than debugging for libbpf.
        if (/^btf: |^BTF types? /.test(error.reason)) this.unreadableTypes.push(error.reason);
        this.unreadableTypes.push(warning(error.reason));
        return undefined;
      }
      throw new InputError(error.file, error.place, `${error.reason}; ${TYPES_REQUIRED}`);
    }
  }

  // --- sections -----------------------------------------------------------------------------------------------------

  #collect(section: Section): void {
    const { name, type, index } = section;
    if (isIgnored(section) || type === SHT_SYMTAB) return;
    // libbpf reads what it does not ignore, needed or not.
    void section.data;
    if (name === 'license') this.#license = cString(section.data, 63);
    else if (name === 'version') this.#checkVersion(section);
    else if (name === 'maps') this.#fail('section maps', "elf: legacy map definitions in 'maps' section are not supported by libbpf v1.0+");
    else if (name === '.maps') this.#mapsIndex = index;
    else if (name === '.BTF') this.#btfSection = this.#progbits(section);
    else if (name === '.BTF.ext') this.#extSection = this.#progbits(section);
    else if (type === SHT_PROGBITS && section.data.length > 0) this.#collectProgbits(section);
    else if (type === SHT_REL) this.#collectRelSection(section);
    else if (type === SHT_NOBITS && (name === '.bss' || name.startsWith('.bss.'))) this.#dataSections.push({ section, kind: 'bss' });
  }

  #checkVersion(section: Section): void {
    if (section.data.length !== 4) this.#fail('section version', `invalid kver section in ${this.#name}`);
  }

  #progbits(section: Section): Section {
    if (section.type !== SHT_PROGBITS) this.#fail(`section ${section.name}`, `of type ${section.type}, not PROGBITS`);
    return section;
  }

  #collectProgbits(section: Section): void {
    const { name } = section;
    if ((section.flags & SHF_EXECINSTR) !== 0) {
      if (name === '.text') this.#textIndex = section.index;
      this.#addPrograms(section);
    } else if (name === '.data' || name.startsWith('.data.')) this.#dataSections.push({ section, kind: 'data' });
    else if (name === '.rodata' || name.startsWith('.rodata.')) this.#dataSections.push({ section, kind: 'rodata' });
    else if (name === '.percpu' || name.startsWith('.percpu.')) this.#dataSections.push({ section, kind: 'percpu' });
    else if (isStructOpsSection(name)) this.#structOps.push(section);
    else if (name === ARENA_SECTION) this.#arena = section;
    else if (name === JUMP_TABLES_SECTION) this.#jumpTables = section.index;
  }

  #collectRelSection(section: Section): void {
    const target = this.#elf.sections[section.info];
    if (target === undefined) this.#fail(`section ${section.name}`, `relocates section ${section.info}, which does not exist`);
    if (section.entrySize !== REL_SIZE) this.#fail(`section ${section.name}`, `BPF object format invalid: relocations of ${section.entrySize} bytes, not ${REL_SIZE}`);
    if (isRelocated(section, target)) this.#relocationSections.push(section);
  }

  #addPrograms(section: Section): void {
    const place = `section ${section.name}`;
    for (const symbol of this.#elf.symbols) {
      if (symbol.section !== section.index || symbol.type !== STT_FUNC) continue;
      if (symbol.value + symbol.size > section.data.length) this.#fail(place, `sec '${section.name}': program at offset ${symbol.value} crosses section boundary`);
      if (section.index !== this.#textIndex && symbol.binding === STB_LOCAL) {
        this.#fail(place, `sec '${section.name}': program '${symbol.name}' is static and not supported`);
      }
      if (symbol.size === 0 || symbol.size % 8 !== 0 || symbol.value % 8 !== 0) {
        this.#fail(place, `sec '${section.name}': corrupted program '${symbol.name}', offset ${symbol.value}, size ${symbol.size}`);
      }
      this.#programs.push(this.#createProgram(section, symbol));
    }
  }

  #createProgram(section: Section, symbol: Symbol): ObjectProgram {
    const instructions = section.data.slice(symbol.value, symbol.value + symbol.size);
    if (!this.#elf.littleEndian) swapInstructions(instructions);
    const isGlobal = symbol.binding !== STB_LOCAL;
    const isOptional = section.name.startsWith('?');
    return {
      name: symbol.name, sectionName: isOptional ? section.name.slice(1) : section.name, sectionIndex: section.index, sectionOffset: symbol.value / 8,
      ownLength: symbol.size / 8, instructions, autoload: !isOptional, isGlobal,
      markStatic: isGlobal && (symbol.visibility === STV_HIDDEN || symbol.visibility === STV_INTERNAL),
      isSubprogram: section.index === this.#textIndex,
      definition: findSectionDef(isOptional ? section.name.slice(1) : section.name),
      type: 0, expectedAttachType: 0, relocations: [], subOffset: 0, functionInfo: [], functionInfoSize: 0, lineInfo: [], lineInfoSize: 0,
    };
  }

  #assignTypes(): void {
    for (const program of this.#programs) {
      if (program.isSubprogram || program.definition === undefined) continue;
      program.type = program.definition.type;
      program.expectedAttachType = program.definition.attachType;
    }
  }

  // --- BTF ----------------------------------------------------------------------------------------------------------

  /** Sizes of sections and offsets of variables, which the compiler leaves out, and visibility (`btf_fixup_datasec`). */
  #fixDatasecs(btf: ObjectBTF): void {
    const symbols = new Map<string, Symbol>();
    for (const symbol of this.#elf.symbols) {
      const isVisible = symbol.binding === STB_GLOBAL || symbol.binding === STB_WEAK;
      if (symbol.type === STT_OBJECT && isVisible && !symbols.has(symbol.name)) symbols.set(symbol.name, symbol);
    }
    for (let id = 1; id < btf.count; id++) if (btf.kind(id) === U.BTF_KIND_DATASEC) this.#fixDatasec(btf, id, symbols);
  }

  #fixDatasec(btf: ObjectBTF, id: number, symbols: ReadonlyMap<string, Symbol>): void {
    const name = btf.name(id);
    const words = btf.type(id);
    if (name !== '.kconfig' && name !== '.ksyms') {
      const isOpen = words[2] === 0;
      if (isOpen) words[2] = this.#sectionSize(name);
      for (let i = 0; i < btf.vlen(id); i++) this.#fixVariable(btf, words, i, name, symbols, isOpen);
    }
    sortVariables(words, btf.vlen(id));
  }

  #sectionSize(name: string): number {
    const section = this.#elf.sections.find((candidate) => candidate.name === name);
    if (section === undefined || section.size === 0) return this.#fail(`section ${name}`, `sec '${name}': failed to determine size from ELF: size ${section?.size ?? 0}, err -2`);
    return section.size;
  }

  #fixVariable(btf: ObjectBTF, words: Uint32Array, index: number, section: string, symbols: ReadonlyMap<string, Symbol>, isOpen: boolean): void {
    const variable = words[3 + 3 * index] ?? 0;
    if (!btf.has(variable) || btf.kind(variable) !== U.BTF_KIND_VAR) this.#fail(`section ${section}`, `sec '${section}': unexpected non-VAR type found`);
    const linkage = btf.word(variable, 3);
    if (linkage === BTF_VAR_STATIC || linkage === BTF_VAR_GLOBAL_EXTERN) return;
    const symbol = symbols.get(btf.name(variable));
    if (symbol === undefined) return this.#fail(`section ${section}`, `sec '${section}': failed to find ELF symbol for VAR '${btf.name(variable)}'`);
    // Beyond what a number holds nothing is known of the lower half, which libbpf would take.
    if (isOpen && !Number.isSafeInteger(symbol.value)) this.#fail(`section ${section}`, `sec '${section}': the value of VAR '${btf.name(variable)}' lies beyond any section`);
    if (isOpen) words[4 + 3 * index] = symbol.value;
    if (symbol.visibility === STV_HIDDEN || symbol.visibility === STV_INTERNAL) btf.type(variable)[3] = BTF_VAR_STATIC;
  }

  // --- maps ---------------------------------------------------------------------------------------------------------

  #createMaps(btf: ObjectBTF | undefined, externs: readonly Extern[]): { maps: ObjectMap[]; arenaIndex: number; kconfigIndex: number } {
    const maps: ObjectMap[] = [];
    const mapsSection = this.#elf.sections[this.#mapsIndex];
    if (btf !== undefined && mapsSection !== undefined) {
      const user = parseUserMaps(btf, this.#file, this.#mapsIndex, mapsSection.size);
      maps.push(...user.maps);
      this.#mapsDatasec = user.datasec;
    }
    const arenaIndex = this.#placeArena(maps);
    for (const { section, kind } of this.#dataSections) {
      if (section.size === 0) continue;
      const data = kind === 'bss' ? this.#zeros(section) : section.data.slice();
      maps.push(createInternalMap(btf, this.#name, section.name, kind, section.index, data));
    }
    const last = externs.findLast((extern) => extern.kind === 'kconfig');
    if (last !== undefined) maps.push(createInternalMap(btf, this.#name, '.kconfig', 'kconfig', this.#elf.symbolTable?.index ?? 0, new Uint8Array(last.dataOffset + last.size)));
    const kconfigIndex = last === undefined ? -1 : maps.length - 1;
    for (const section of this.#structOps) maps.push(...parseStructOpsMaps(btf, section, this.#file));
    return { maps, arenaIndex, kconfigIndex };
  }

  #zeros(section: Section): Uint8Array {
    if (section.size > 0x7fffffff) this.#fail(`section ${section.name}`, `${section.size} bytes`);
    return new Uint8Array(section.size);
  }

  #placeArena(maps: readonly ObjectMap[]): number {
    const indexes = maps.flatMap((map, index) => (map.definition.type === U.BPF_MAP_TYPE_ARENA ? [index] : []));
    const [first, second] = indexes;
    if (first !== undefined && second !== undefined) {
      this.#fail('section .maps', `map '${maps[second]?.name ?? ''}': only single ARENA map is supported (map '${maps[first]?.name ?? ''}' is also ARENA)`);
    }
    const arena = maps[first ?? -1];
    if (this.#arena === undefined) return first ?? -1;
    const place = `section ${ARENA_SECTION}`;
    if (first === undefined || arena === undefined) {
      // libbpf looks for the map where it reads maps: without any, only who refers to the section misses it.
      if (this.#mapsIndex < 0) return -1;
      return this.#fail(place, `elf: sec '${ARENA_SECTION}': to use global __arena variables the ARENA map should be explicitly declared in SEC(".maps")`);
    }
    const size = PAGE_SIZE * arena.definition.maxEntries;
    if (Math.ceil(this.#arena.data.length / PAGE_SIZE) * PAGE_SIZE > size) {
      this.#fail(place, `elf: sec '${ARENA_SECTION}': declared ARENA map size (${size}) is too small to hold global __arena variables of size ${this.#arena.data.length}`);
    }
    arena.data = this.#arena.data.slice();
    return first;
  }

  // --- relocations --------------------------------------------------------------------------------------------------

  #collectRelocations(btf: ObjectBTF | undefined, maps: readonly ObjectMap[], externs: readonly Extern[], arenaIndex: number): void {
    for (const section of this.#relocationSections) {
      if (section.info === this.#mapsIndex) {
        if (btf === undefined) this.#fail(`section ${section.name}`, 'BTF is required, but is missing or corrupted.');
        this.#mapRelocations(btf, section, maps);
      } else if (this.#structOps.some(({ index }) => index === section.info)) {
        if (btf !== undefined) this.#structOpsRelocations(btf, section, maps);
      } else {
        this.#programRelocations(section, maps, externs, arenaIndex);
      }
    }
    for (const program of this.#programs) program.relocations.sort((a, b) => a.instruction - b.instruction);
  }

  /** `values` of maps of maps and of program arrays. */
  #mapRelocations(btf: ObjectBTF, section: Section, maps: readonly ObjectMap[]): void {
    for (const [i, relocation] of this.#elf.relocations(section).entries()) {
      const fail = (reason: string): never => this.#fail(`section ${section.name}`, `.maps relo #${i}: ${reason}`);
      const symbol = this.#elf.symbols[relocation.symbol] ?? fail(`symbol ${relocation.symbol.toString(16)} not found`);
      const map = maps.find(({ kind, sectionOffset, variableIndex }) => {
        const size = kind === 'user' ? btf.word(this.#mapsDatasec, 5 + 3 * variableIndex) : 0;
        return kind === 'user' && sectionOffset <= relocation.offset && relocation.offset + 8 <= sectionOffset + size;
      }) ?? fail(`cannot find map '${symbol.name}' at rel->r_offset ${relocation.offset}`);
      const target = this.#slotTarget(map, symbol, maps, fail);
      setSlot(map, this.#slotIndex(btf, map, relocation, fail), target, this.#file);
    }
  }

  #structOpsRelocations(btf: ObjectBTF, section: Section, maps: readonly ObjectMap[]): void {
    const context = { btf, file: this.#file, maps, programs: this.#programs, programAt: (index: number, slot: number) => this.#programAt(index, slot) };
    for (const relocation of this.#elf.relocations(section)) relocateStructOps(section, relocation, this.#elf.symbols[relocation.symbol], context);
  }

  #slotTarget(map: ObjectMap, symbol: Symbol, maps: readonly ObjectMap[], fail: (reason: string) => never): number {
    const { type, keySize } = map.definition;
    if (isMapInMap(type)) {
      if (symbol.section !== this.#mapsIndex) fail(`'${symbol.name}' isn't a BTF-defined map`);
      if (type === U.BPF_MAP_TYPE_HASH_OF_MAPS && keySize !== 4) fail(`hash-of-maps '${map.name}' should have key size 4.`);
      const index = maps.findIndex((candidate) => visibleMapName(candidate) === symbol.name);
      return index < 0 ? fail(`'${symbol.name}' isn't a valid map reference`) : index;
    }
    if (type !== U.BPF_MAP_TYPE_PROG_ARRAY) return fail(`map '${map.name}' has no initial values`);
    const index = this.#programs.findIndex((program) => !program.isSubprogram && program.name === symbol.name);
    const program = this.#programs[index];
    if (program === undefined) return fail(`'${symbol.name}' isn't a valid program reference`);
    if (program.sectionIndex !== symbol.section || program.sectionOffset * 8 !== symbol.value) fail(`'${symbol.name}' isn't an entry-point program`);
    return index;
  }

  #slotIndex(btf: ObjectBTF, map: ObjectMap, relocation: Relocation, fail: (reason: string) => never): number {
    const struct = btf.skipModifiers(btf.target(btf.word(this.#mapsDatasec, 3 + 3 * map.variableIndex)));
    const last = btf.vlen(struct) - 1;
    if (last < 0 || btf.memberName(struct, last) !== 'values') fail(`map '${map.name}' has no member 'values'`);
    const slot = (relocation.offset - map.sectionOffset - btf.memberBitOffset(struct, last) / 8) / 8;
    return slot < 0 || !Number.isInteger(slot) ? fail(`offset ${relocation.offset} is no slot of map '${map.name}'`) : slot;
  }

  #programRelocations(section: Section, maps: readonly ObjectMap[], externs: readonly Extern[], arenaIndex: number): void {
    const target = this.#elf.sections[section.info];
    const place = `section ${section.name}`;
    const { symbols, sections } = this.#elf;
    const size = target?.data.length ?? 0;
    const places = new Map<number, number>();
    const contents = new Map<number, number>();
    for (const [index, { kind, sectionOffset, sectionIndex }] of maps.entries()) {
      if (kind === 'user') setFirst(places, sectionOffset, index);
      else if (kind !== 'kconfig') setFirst(contents, sectionIndex, index);
    }
    let i = -1;
    for (const relocation of this.#elf.relocations(section)) {
      i++;
      const symbol = symbols[relocation.symbol];
      if (symbol === undefined) return this.#fail(place, `sec '${section.name}': symbol #${relocation.symbol} not found for relo #${i}`);
      if (symbol.section >= sections.length) {
        this.#fail(place, `sec '${section.name}': corrupted symbol #${relocation.symbol} pointing to invalid section #${symbol.section} for relo #${i}`);
      }
      if (relocation.offset % 8 !== 0 || relocation.offset >= size) {
        this.#fail(place, `sec '${section.name}': invalid offset 0x${relocation.offset.toString(16)} for relo #${i}`);
      }
      const slot = relocation.offset / 8;
      const program = this.#programAt(section.info, slot);
      // Code of a weak function that another one overrode.
      if (program === undefined) continue;
      program.relocations.push(this.#programRelocation(program, slot - program.sectionOffset, symbol, { places, contents, externs, arenaIndex }, place));
    }
  }

  #programAt(section: number, slot: number): ObjectProgram | undefined {
    return findProgram(this.#programs, section, slot);
  }

  #programRelocation(
    program: ObjectProgram, instruction: number, symbol: Symbol, { places, contents, externs, arenaIndex }: RelocationTargets, place: string,
  ): ProgramRelocation {
    const fail = (reason: (symbolName: string, sectionName: string) => string): never => {
      const sectionName = this.#elf.sections[symbol.section]?.name ?? '';
      return this.#fail(place, `prog '${program.name}': ${reason(symbol.type === STT_SECTION && symbol.nameOffset === 0 ? sectionName : symbol.name, sectionName)}`);
    };
    const code = program.instructions[8 * instruction] ?? 0;
    const source = (program.instructions[8 * instruction + 1] ?? 0) >> 4;
    const made = (kind: ProgramRelocation['kind'], target: number, symbolOffset: number): ProgramRelocation => ({ kind, instruction, target, symbolOffset, core: undefined });
    if (code !== CALL && code !== LD_IMM64) fail((symbolName) => `invalid relo against '${symbolName}' for insns[${instruction}].code 0x${code.toString(16)}`);
    if (isExternSymbol(symbol)) {
      const index = externs.findIndex((extern) => extern.symbolIndex === symbol.index);
      if (index < 0) fail((symbolName) => `extern relo failed to find extern for '${symbolName}' (${symbol.index})`);
      return made(code === CALL ? 'extern-call' : 'extern', index, 0);
    }
    if (code === CALL) {
      if (source !== U.BPF_PSEUDO_CALL) fail(() => 'incorrect bpf_call opcode');
      if (symbol.section === 0 || symbol.section !== this.#textIndex) fail((symbolName, sectionName) => `bad call relo against '${symbolName}' in section '${sectionName}'`);
      if (symbol.value % 8 !== 0) fail((symbolName) => `bad call relo against '${symbolName}' at offset ${symbol.value}`);
      return made('call', -1, symbol.value);
    }
    if (symbol.section === 0 || symbol.section >= SHN_LORESERVE) {
      fail((symbolName) => `invalid relo against '${symbolName}' in special section 0x${symbol.section.toString(16)}; forgot to initialize global var?..`);
    }
    if (this.#isSubprogram(symbol)) {
      const immediate = readImmediate(program.instructions, instruction);
      if (symbol.value % 8 !== 0 || immediate % 8 !== 0) fail((symbolName) => `bad subprog addr relo against '${symbolName}' at offset ${symbol.value}+${immediate}`);
      return made('subprog', -1, symbol.value);
    }
    if (symbol.section === this.#arena?.index) {
      if (arenaIndex < 0) fail(() => `bad arena data relocation at insn ${instruction}, no arena maps defined`);
      return made('data', arenaIndex, symbol.value);
    }
    if (symbol.section === this.#jumpTables) return { ...made('jump-table', -1, symbol.value), symbolSize: symbol.size };
    const isData = this.#dataSections.some(({ section }) => section.index === symbol.section);
    if (!isData) {
      if (symbol.section !== this.#mapsIndex) fail((symbolName, sectionName) => `bad map relo against '${symbolName}' in section '${sectionName}'`);
      const index = places.get(symbol.value) ?? -1;
      if (index < 0) fail((_symbolName, sectionName) => `map relo failed to find map for section '${sectionName}', off ${symbol.value}`);
      return made('map', index, 0);
    }
    const index = contents.get(symbol.section) ?? -1;
    if (index < 0) fail((_symbolName, sectionName) => `data relo failed to find map for section '${sectionName}'`);
    return made('data', index, symbol.value);
  }

  #isSubprogram(symbol: Symbol): boolean {
    if (symbol.section !== this.#textIndex) return false;
    if (symbol.binding === STB_LOCAL && symbol.type === STT_SECTION) return true;
    return (symbol.binding === STB_GLOBAL || symbol.binding === STB_WEAK) && symbol.type === STT_FUNC;
  }
}

/** What the relocations of a section may refer to: indexes of user maps by their place in `.maps`, of other maps by their section. */
interface RelocationTargets {
  readonly places: ReadonlyMap<number, number>;
  readonly contents: ReadonlyMap<number, number>;
  readonly externs: readonly Extern[];
  readonly arenaIndex: number;
}

function setFirst(indexes: Map<number, number>, key: number, index: number): void {
  if (!indexes.has(key)) indexes.set(key, index);
}

/** Text up to its NUL, at most `limit` bytes. */
function cString(data: Uint8Array, limit: number): string {
  return latin1UpToNUL(data.subarray(0, limit));
}

/** Slots are ordered by offset; equal offsets keep their order, as glibc's merge sort does. */
function sortVariables(words: Uint32Array, count: number): void {
  const rows = Array.from({ length: count }, (_, i) => words.slice(3 + 3 * i, 6 + 3 * i));
  rows.sort((a, b) => ((a[1] ?? 0) - (b[1] ?? 0)) | 0);
  for (const [i, row] of rows.entries()) words.set(row, 3 + 3 * i);
}

/** The function that has an instruction of a section; `programs` are sorted by section, then offset (`find_prog_by_sec_insn`). */
export function findProgram(programs: readonly ObjectProgram[], section: number, slot: number): ObjectProgram | undefined {
  let low = 0;
  let high = programs.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const program = programs[middle];
    if (program !== undefined && (program.sectionIndex < section || (program.sectionIndex === section && program.sectionOffset <= slot))) low = middle;
    else high = middle - 1;
  }
  const found = programs[low];
  return found?.sectionIndex === section && slot >= found.sectionOffset && slot < found.sectionOffset + found.ownLength ? found : undefined;
}

/** Changes the byte order of instructions, registers included. */
export function swapInstructions(bytes: Uint8Array): void {
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const registers = bytes[at + 1] ?? 0;
    bytes[at + 1] = ((registers & 15) << 4) | (registers >> 4);
    bytes.subarray(at + 2, at + 4).reverse();
    bytes.subarray(at + 4, at + 8).reverse();
  }
}

/** `imm` of a slot. */
export function readImmediate(instructions: Uint8Array, slot: number): number {
  const at = 8 * slot + 4;
  return (instructions[at] ?? 0) | ((instructions[at + 1] ?? 0) << 8) | ((instructions[at + 2] ?? 0) << 16) | ((instructions[at + 3] ?? 0) << 24);
}

/** Writes `imm` of a slot. */
export function writeImmediate(instructions: Uint8Array, slot: number, value: number): void {
  const at = 8 * slot + 4;
  instructions[at] = value;
  instructions[at + 1] = value >> 8;
  instructions[at + 2] = value >> 16;
  instructions[at + 3] = value >> 24;
}

/** Writes the source register of a slot. */
export function writeSource(instructions: Uint8Array, slot: number, source: number): void {
  instructions[8 * slot + 1] = ((instructions[8 * slot + 1] ?? 0) & 15) | (source << 4);
}

