/**
 * @module loader/object/externs
 * Symbols that an object leaves to others: kernel functions and variables (`.ksyms`) and configuration (`.kconfig`), and the fix-ups of
 * the object's BTF that make them acceptable to a kernel. Reproduces `bpf_object__collect_externs` of `tools/lib/bpf/libbpf.c`.
 */
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { btfKindName } from './map-defs.ts';
import { STB_GLOBAL, STB_WEAK, STT_NOTYPE, SHN_UNDEF, type ELFObject, type Symbol } from './elf.ts';
import { typeInfo, type ObjectBTF } from './btf-object.ts';
import type { ConfigKind, Extern } from './model.ts';

const BTF_VAR_GLOBAL_ALLOCATED = 1;
const BTF_VAR_GLOBAL_EXTERN = 2;
const BTF_FUNC_GLOBAL = 1;
const BTF_FUNC_EXTERN = 2;
const BTF_INT_SIGNED = 1;
const BTF_INT_BOOL = 4;
const KSYMS = '.ksyms';
const KCONFIG = '.kconfig';

/** True for a symbol that another object defines. */
export function isExternSymbol(symbol: Symbol): boolean {
  return symbol.section === SHN_UNDEF && (symbol.binding === STB_GLOBAL || symbol.binding === STB_WEAK) && symbol.type === STT_NOTYPE;
}

/** Finds all externs, sorts them as libbpf does, and fixes up the sections in BTF. */
export function collectExterns(elf: ELFObject, btf: ObjectBTF | undefined, file: string): Extern[] {
  const collector = new ExternCollector(elf, btf, file);
  return collector.collect();
}

class ExternCollector {
  readonly #elf: ELFObject;
  readonly #btf: ObjectBTF | undefined;
  readonly #file: string;

  constructor(elf: ELFObject, btf: ObjectBTF | undefined, file: string) {
    this.#elf = elf;
    this.#btf = btf;
    this.#file = file;
  }

  #fail(reason: string): never {
    throw new InputError(this.#file, 'section .BTF', reason);
  }

  collect(): Extern[] {
    const symbols = this.#elf.symbols.filter((symbol) => isExternSymbol(symbol) && symbol.name !== '');
    const dummy = this.#btf === undefined ? 0 : addDummyVariable(this.#btf);
    if (symbols.length === 0) return [];
    const btf = this.#btf ?? this.#fail(`failed to find BTF for extern '${symbols[0]?.name ?? ''}': -3`);
    const sections = { ksyms: 0, kconfig: 0 };
    const externs = symbols.map((symbol) => this.#extern(btf, symbol, sections));
    externs.sort(compareExterns);
    if (sections.ksyms !== 0) this.#fixKsyms(btf, sections.ksyms, externs, dummy);
    if (sections.kconfig !== 0) this.#fixKconfig(btf, sections.kconfig, externs);
    return externs;
  }

  #extern(btf: ObjectBTF, symbol: Symbol, sections: { ksyms: number; kconfig: number }): Extern {
    const btfID = this.#findID(btf, symbol.name);
    const datasec = findSection(btf, btfID);
    if (datasec === 0) this.#fail(`failed to find BTF for extern '${symbol.name}' [${btfID}] section: -2`);
    const sectionName = btf.name(datasec);
    const common = { name: btf.name(btfID), symbolIndex: symbol.index, isWeak: symbol.binding === STB_WEAK, btfID, dataOffset: 0 };
    if (sectionName === KSYMS) {
      sections.ksyms = datasec;
      return { ...common, kind: 'ksym', typeID: btf.skipModifiers(btf.target(btfID)), size: 0, align: 0, isSigned: false, configKind: undefined };
    }
    if (sectionName !== KCONFIG) this.#fail(`unrecognized extern section '${sectionName}'`);
    if (btf.kind(btfID) === U.BTF_KIND_FUNC) this.#fail(`extern function ${common.name} is unsupported under ${KCONFIG} section`);
    sections.kconfig = datasec;
    const type = btf.target(btfID);
    const size = btf.resolveSize(type);
    if (size <= 0) this.#fail(`failed to resolve size of extern (kcfg) '${symbol.name}': ${size < 0 ? -22 : 0}`);
    const align = btf.alignOf(type);
    if (align <= 0) this.#fail(`failed to determine alignment of extern (kcfg) '${symbol.name}': ${align}`);
    const form = configForm(btf, type);
    if (form === undefined) return this.#fail(`extern (kcfg) '${symbol.name}': type is unsupported`);
    return { ...common, kind: 'kconfig', typeID: 0, size, align, isSigned: form.isSigned, configKind: form.kind };
  }

  #findID(btf: ObjectBTF, name: string): number {
    for (let id = 1; id < btf.count; id++) {
      const kind = btf.kind(id);
      if ((kind !== U.BTF_KIND_VAR && kind !== U.BTF_KIND_FUNC) || btf.name(id) !== name) continue;
      const isExtern = kind === U.BTF_KIND_VAR ? btf.word(id, 3) === BTF_VAR_GLOBAL_EXTERN : btf.vlen(id) === BTF_FUNC_EXTERN;
      return isExtern ? id : this.#fail(`failed to find BTF for extern '${name}': -22`);
    }
    return this.#fail(`failed to find BTF for extern '${name}': -2`);
  }

  /** Every extern becomes a 4-byte variable; functions are replaced by one dummy variable. */
  #fixKsyms(btf: ObjectBTF, datasec: number, externs: readonly Extern[], dummy: number): void {
    const int = find32BitInt(btf);
    const section = btf.type(datasec);
    const count = btf.vlen(datasec);
    for (let i = 0; i < count; i++) {
      const id = btf.word(datasec, 3 + 3 * i);
      const name = btf.name(id);
      if (!externs.some((extern) => extern.name === name)) this.#fail(`failed to find extern definition for BTF ${btfKindName(btf.kind(id))} '${name}'`);
      if (btf.kind(id) === U.BTF_KIND_FUNC) {
        nameParameters(btf, btf.target(id), btf.nameOffset(dummy));
        section[3 + 3 * i] = dummy;
        btf.type(id)[1] = typeInfo(U.BTF_KIND_FUNC, BTF_FUNC_GLOBAL);
      } else {
        btf.type(id)[3] = BTF_VAR_GLOBAL_ALLOCATED;
        btf.type(id)[2] = int;
      }
      section[4 + 3 * i] = 4 * i;
      section[5 + 3 * i] = 4;
    }
    section[2] = 4 * count;
  }

  #fixKconfig(btf: ObjectBTF, datasec: number, externs: readonly Extern[]): void {
    let offset = 0;
    for (const extern of externs) {
      if (extern.kind !== 'kconfig') continue;
      extern.dataOffset = Math.ceil(offset / extern.align) * extern.align;
      offset = extern.dataOffset + extern.size;
    }
    const section = btf.type(datasec);
    section[2] = offset;
    for (let i = 0; i < btf.vlen(datasec); i++) {
      const id = btf.word(datasec, 3 + 3 * i);
      const extern = externs.find((candidate) => candidate.name === btf.name(id));
      if (extern === undefined) return this.#fail(`failed to find extern definition for BTF var '${btf.name(id)}'`);
      btf.type(id)[3] = BTF_VAR_GLOBAL_ALLOCATED;
      section[4 + 3 * i] = extern.dataOffset;
    }
  }
}

/** Functions in `.ksyms` need a variable that stands for them in the section. */
function addDummyVariable(btf: ObjectBTF): number {
  const datasec = btf.find(KSYMS, U.BTF_KIND_DATASEC);
  if (datasec === 0) return 0;
  let hasFunction = false;
  for (let i = 0; i < btf.vlen(datasec); i++) hasFunction ||= btf.kind(btf.word(datasec, 3 + 3 * i)) === U.BTF_KIND_FUNC;
  if (!hasFunction) return 0;
  const int = find32BitInt(btf);
  return btf.addType(btf.addString('dummy_ksym'), typeInfo(U.BTF_KIND_VAR, 0), int, BTF_VAR_GLOBAL_ALLOCATED);
}

function find32BitInt(btf: ObjectBTF): number {
  for (let id = 1; id < btf.count; id++) {
    if (btf.kind(id) === U.BTF_KIND_INT && (btf.word(id, 3) & 0xff) === 32) return id;
  }
  return 0;
}

function findSection(btf: ObjectBTF, variable: number): number {
  for (let id = 1; id < btf.count; id++) {
    if (btf.kind(id) !== U.BTF_KIND_DATASEC) continue;
    for (let i = 0; i < btf.vlen(id); i++) if (btf.word(id, 3 + 3 * i) === variable) return id;
  }
  return 0;
}

/** Kernels refuse prototypes with nameless parameters. */
function nameParameters(btf: ObjectBTF, prototype: number, nameOffset: number): void {
  const words = btf.type(prototype);
  for (let i = 0; i < btf.vlen(prototype); i++) {
    if (words[4 + 2 * i] !== 0 && words[3 + 2 * i] === 0) words[3 + 2 * i] = nameOffset;
  }
}

interface ConfigForm {
  readonly kind: ConfigKind;
  readonly isSigned: boolean;
}

/** What a variable of this type can hold (`find_kcfg_type`); `undefined` where libbpf has no form for it. */
function configForm(btf: ObjectBTF, type: number): ConfigForm | undefined {
  const id = btf.skipModifiers(type);
  switch (btf.kind(id)) {
    case U.BTF_KIND_INT: return integerForm((btf.word(id, 3) >>> 24) & 15, btf.target(id));
    case U.BTF_KIND_ENUM: return btf.target(id) === 4 && btf.name(id) === 'libbpf_tristate' ? { kind: 'tristate', isSigned: false } : undefined;
    case U.BTF_KIND_ENUM64: return btf.name(id) === 'libbpf_tristate' ? { kind: 'tristate', isSigned: false } : undefined;
    case U.BTF_KIND_ARRAY: {
      const element = btf.skipModifiers(btf.word(id, 3));
      const isText = btf.word(id, 5) !== 0 && btf.kind(element) === U.BTF_KIND_INT && configForm(btf, element)?.kind === 'char';
      return isText ? { kind: 'string', isSigned: false } : undefined;
    }
    default: return undefined;
  }
}

function integerForm(encoding: number, size: number): ConfigForm | undefined {
  if ((encoding & BTF_INT_BOOL) !== 0) return size === 1 ? { kind: 'bool', isSigned: false } : undefined;
  const isSigned = (encoding & BTF_INT_SIGNED) !== 0;
  if (size === 1) return { kind: 'char', isSigned };
  return [2, 4, 8].includes(size) ? { kind: 'int', isSigned } : undefined;
}

/** kconfig first, by falling alignment, rising size, then name; ksyms by name. */
function compareExterns(a: Extern, b: Extern): number {
  if (a.kind !== b.kind) return a.kind === 'kconfig' ? -1 : 1;
  if (a.kind === 'kconfig') {
    if (a.align !== b.align) return b.align - a.align;
    if (a.size !== b.size) return a.size - b.size;
  }
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
