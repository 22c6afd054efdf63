/**
 * @module loader/object/open-log
 * What libbpf says with debugging on (`-d`) while it opens an object: the sections it sees, the programs, externs, maps and relocations it
 * finds, in its order. Owns the account of an object that was opened; opening, and what is wrong with an object, is `open.ts`. Reproduces
 * the messages of `bpf_object_open` of `tools/lib/bpf/libbpf.c` of Linux 7.3. Call before the object is relocated.
 */
import { LD_IMM64 } from '../../isa/instructions.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from './btf-object.ts';
import { SHF_EXECINSTR, SHT_PROGBITS, SHT_REL, STT_FUNC, STT_SECTION, type Relocation, type Section, type Symbol } from './elf.ts';
import { isExternSymbol } from './externs.ts';
import { isMapInMap } from './map-defs.ts';
import type { BPFObject, ObjectMap, ObjectProgram } from './model.ts';
import { isIgnored, isRelocated, passedOver } from './passed-over.ts';
import { isStructOpsSection } from './struct-ops.ts';

/** The lines, without libbpf's name in front and the line's end. */
export function openLog(object: BPFObject): string[] {
  return new OpenLog(object).lines();
}

class OpenLog {
  readonly #object: BPFObject;
  readonly #lines: string[] = [];

  constructor(object: BPFObject) {
    this.#object = object;
  }

  #say(line: string): void {
    this.#lines.push(line);
  }

  lines(): string[] {
    const { name, elf, littleEndian, programs } = this.#object;
    this.#say(`loading object '${name}' from buffer`);
    for (const section of elf.sections.slice(1)) if (!isIgnored(section)) this.#section(section);
    if (!littleEndian) this.#say(`converted ${programs.length} BPF programs to native byte order`);
    this.#externs();
    this.#maps();
    for (const { name: program, isSubprogram, definition, sectionName } of programs) {
      if (!isSubprogram && definition === undefined) this.#say(`prog '${program}': unrecognized ELF section name '${sectionName}'`);
    }
    this.#relocations();
    return this.#lines;
  }

  // --- sections -----------------------------------------------------------------------------------------------------

  #section(section: Section): void {
    const { index, name, type, flags, link, size } = section;
    this.#say(`elf: section(${index}) ${name}, size ${size}, link ${link | 0}, flags ${flags.toString(16)}, type=${type | 0}`);
    if (name === 'license') this.#say(`license of ${this.#object.name} is ${this.#object.license}`);
    else if (name === 'version') this.#version(section);
    else if (type === SHT_PROGBITS && size > 0 && (flags & SHF_EXECINSTR) !== 0) this.#programs(section);
    const note = passedOver(section, this.#object.elf);
    if (note !== undefined) this.#say(note);
  }

  #version({ data }: Section): void {
    const version = new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(0, true);
    this.#say(`kernel version of ${this.#object.name} is ${version.toString(16)}`);
  }

  /** In the order of the symbols. */
  #programs({ name, index }: Section): void {
    for (const { section, type, name: symbol, value, size } of this.#object.elf.symbols) {
      if (section !== index || type !== STT_FUNC) continue;
      this.#say(`sec '${name}': found program '${symbol}' at insn offset ${value / 8} (${value} bytes), code size ${size / 8} insns (${size} bytes)`);
    }
  }

  // --- externs and maps ---------------------------------------------------------------------------------------------

  #externs(): void {
    const { externs, elf } = this.#object;
    this.#say(`looking for externs among ${elf.symbols.length} symbols...`);
    this.#say(`collected ${externs.length} externs total`);
    for (const [i, { kind, symbolIndex, name }] of externs.entries()) if (kind === 'ksym') this.#say(`extern (ksym) #${i}: symbol ${symbolIndex}, name ${name}`);
    for (const [i, { kind, symbolIndex, name, dataOffset }] of externs.entries()) {
      if (kind === 'kconfig') this.#say(`extern (kcfg) #${i}: symbol ${symbolIndex}, off ${dataOffset}, name ${name}`);
    }
  }

  #maps(): void {
    const { maps, btf } = this.#object;
    for (const [index, map] of maps.entries()) {
      if (map.kind === 'user') {
        if (btf !== undefined) this.#userMap(btf, map);
      } else if (map.kind === 'struct_ops') {
        const { definition: { valueTypeID }, name, sectionOffset } = map;
        this.#say(`struct_ops init: struct ${btf?.name(valueTypeID) ?? ''}(type_id=${valueTypeID}) ${name} found at offset ${sectionOffset}`);
      } else {
        this.#say(`map '${map.name}' (global ${map.kind === 'percpu' ? 'percpu ' : ''}data): at sec_idx ${map.sectionIndex}, offset 0, flags ${map.definition.flags.toString(16)}.`);
        this.#say(`map ${index} is "${map.name}"`);
      }
    }
  }

  #userMap(btf: ObjectBTF, { name, sectionIndex, sectionOffset, variableIndex }: ObjectMap): void {
    this.#say(`map '${name}': at sec_idx ${sectionIndex}, offset ${sectionOffset}.`);
    const datasec = btf.find('.maps', U.BTF_KIND_DATASEC);
    this.#definition(btf, name, btf.skipModifiers(btf.target(btf.word(datasec, 3 + 3 * variableIndex))));
  }

  /** A struct of `SEC(".maps")`, as it was written and before sizes are adjusted. */
  #definition(btf: ObjectBTF, name: string, struct: number): void {
    const members = new Map(Array.from({ length: btf.vlen(struct) }, (_, i) => [btf.memberName(struct, i), btf.memberType(struct, i)] as const));
    const number = (member: string): bigint | undefined => {
      const type = members.get(member);
      return type === undefined ? undefined : numberOf(btf, type);
    };
    const say = (what: string, value: bigint | undefined, radix = 10): void => {
      if (value !== undefined) this.#say(`map '${name}': found ${what} = ${radix === 16 ? '0x' : ''}${value.toString(radix)}.`);
    };
    say('type', number('type'));
    for (const part of ['key', 'value']) {
      const target = members.get(part);
      if (target !== undefined) this.#say(`map '${name}': found ${part} [${btf.target(target)}], sz = ${btf.resolveSize(btf.target(target))}.`);
      else say(`${part}_size`, number(`${part}_size`));
    }
    say('max_entries', number('max_entries'));
    say('map_flags', number('map_flags'), 16);
    say('map_extra', number('map_extra'), 16);
    say('pinning', number('pinning'));
    say('numa_node', number('numa_node'));
    const inner = innerDefinition(btf, members.get('values'));
    if (inner === undefined) return;
    this.#say(`map '${name}': found inner map definition.`);
    this.#definition(btf, `${name}.inner`, inner);
  }

  // --- relocations --------------------------------------------------------------------------------------------------

  #relocations(): void {
    const { elf, mapsIndex } = this.#object;
    for (const section of elf.sections.slice(1)) {
      const target = elf.sections[section.info];
      if (section.type !== SHT_REL || isIgnored(section) || target === undefined || !isRelocated(section, target)) continue;
      const relocations = elf.relocations(section);
      if (isStructOpsSection(target.name)) for (const relocation of relocations) this.#structOps(target, relocation);
      else if (section.info === mapsIndex) for (const [i, relocation] of relocations.entries()) this.#mapSlot(i, relocation);
      else this.#code(section, target, relocations);
    }
  }

  #structOps({ index }: Section, { offset, symbol }: Relocation): void {
    const { maps, elf } = this.#object;
    const map = maps.find(({ kind, sectionIndex, sectionOffset, definition }) =>
      kind === 'struct_ops' && sectionIndex === index && sectionOffset <= offset && offset < sectionOffset + definition.valueSize);
    const target = elf.symbols[symbol];
    if (map === undefined || target === undefined) return;
    this.#say(`struct_ops reloc ${map.name}: for ${symbol} value ${target.value} shdr_idx ${target.section} rel->r_offset ${offset} map->sec_offset ${map.sectionOffset} name ${target.nameOffset} ('${target.name}')`);
  }

  #mapSlot(i: number, { offset, symbol }: Relocation): void {
    const { maps, elf, btf } = this.#object;
    const target = elf.symbols[symbol];
    if (target === undefined || btf === undefined) return;
    this.#say(`.maps relo #${i}: for ${symbol} value ${target.value} rel->r_offset ${offset} name ${target.nameOffset} ('${target.name}')`);
    const datasec = btf.find('.maps', U.BTF_KIND_DATASEC);
    const map = maps.find(({ kind, sectionOffset, variableIndex }) =>
      kind === 'user' && sectionOffset <= offset && offset + 8 <= sectionOffset + btf.word(datasec, 5 + 3 * variableIndex));
    if (map === undefined) return;
    const struct = btf.skipModifiers(btf.target(btf.word(datasec, 3 + 3 * map.variableIndex)));
    const slot = (offset - map.sectionOffset - btf.memberBitOffset(struct, btf.vlen(struct) - 1) / 8) / 8;
    this.#say(`.maps relo #${i}: map '${map.name}' slot [${slot}] points to ${isMapInMap(map.definition.type) ? 'map' : 'prog'} '${target.name}'`);
  }

  #code(section: Section, target: Section, relocations: readonly Relocation[]): void {
    this.#say(`sec '${section.name}': collecting relocation for section(${target.index}) '${target.name}'`);
    for (const [i, { offset, symbol: index }] of relocations.entries()) {
      const symbol = this.#object.elf.symbols[index];
      if (symbol === undefined) continue;
      const slot = offset / 8;
      const name = symbol.type === STT_SECTION && symbol.nameOffset === 0 ? this.#object.elf.sections[symbol.section]?.name ?? '' : symbol.name;
      this.#say(`sec '${section.name}': relo #${i}: insn #${slot} against '${name}'`);
      const program = this.#object.programs.find(({ sectionIndex, sectionOffset, ownLength }) =>
        sectionIndex === target.index && slot >= sectionOffset && slot < sectionOffset + ownLength);
      if (program === undefined) {
        this.#say(`sec '${section.name}': relo #${i}: couldn't find program in section '${target.name}' for insn #${slot}, probably overridden weak function, skipping...`);
      } else {
        this.#reference(program, slot - program.sectionOffset, symbol);
      }
    }
  }

  #reference(program: ObjectProgram, instruction: number, symbol: Symbol): void {
    const { externs, maps, arenaIndex, arenaSection, mapsIndex } = this.#object;
    if (isExternSymbol(symbol)) {
      const index = externs.findIndex(({ symbolIndex }) => symbolIndex === symbol.index);
      const extern = externs[index];
      if (extern !== undefined) this.#say(`prog '${program.name}': found extern #${index} '${extern.name}' (sym ${extern.symbolIndex}) for insn #${instruction}`);
      return;
    }
    if (program.instructions[8 * instruction] !== LD_IMM64) return;
    const found = (what: string, index: number, hash: string): void => {
      const map = maps[index];
      if (map !== undefined) this.#say(`prog '${program.name}': found ${what} ${index} (${map.name}, sec ${map.sectionIndex}, off ${map.sectionOffset}) for insn ${hash}${instruction}`);
    };
    if (symbol.section === arenaSection) found('arena map', arenaIndex, '');
    else if (symbol.section === mapsIndex) found('map', maps.findIndex(({ kind, sectionOffset }) => kind === 'user' && sectionOffset === symbol.value), '#');
    else found('data map', maps.findIndex(({ kind, sectionIndex }) => kind !== 'user' && kind !== 'struct_ops' && kind !== 'kconfig' && sectionIndex === symbol.section), '');
  }
}

/** `__uint(name, N)` is a pointer to an array of N elements, `__ulong(name, N)` an enumeration of one value. */
function numberOf(btf: ObjectBTF, type: number): bigint {
  const at = btf.skipModifiers(type);
  if (btf.kind(at) === U.BTF_KIND_PTR) return BigInt(btf.word(btf.target(at), 5));
  if (btf.kind(at) === U.BTF_KIND_ENUM64) return BigInt(btf.word(at, 4)) | (BigInt(btf.word(at, 5)) << 32n);
  return BigInt.asUintN(64, BigInt(btf.word(at, 4) | 0));
}

/** The struct of an inner map, where `values` is about maps. */
function innerDefinition(btf: ObjectBTF, values: number | undefined): number | undefined {
  if (values === undefined) return undefined;
  const target = btf.skipModifiers(btf.target(btf.skipModifiers(btf.word(values, 3))));
  return btf.kind(target) === U.BTF_KIND_STRUCT ? target : undefined;
}
