/**
 * @module loader/object/relocate
 * Turns the functions of an opened object into programs that can be loaded: subprograms appended and called, function and line
 * information moved along, references to maps, data and externs filled in. Reproduces `bpf_object__relocate` of
 * `tools/lib/bpf/libbpf.c`; who the references are filled in for (a generated loader, a kernel) is the {@link ReferenceWriter}'s.
 */
import { InputError } from '../../isa/errors.ts';
import { LD_IMM64 } from '../../isa/opcodes.ts';
import * as U from '../../isa/uapi.ts';
import { writeWords } from '../../isa/words.ts';
import type { ExtInfo, ExtSection } from './btf-ext.ts';
import { typeInfo } from './btf-object.ts';
import type { BPFObject, Extern, ObjectProgram, ProgramRelocation, RelocationKind } from './model.ts';
import { findProgram, readImmediate, writeImmediate, writeSource } from './open.ts';
import type { Note } from './passed-over.ts';

/** The kernel's limit for a program, in instructions. */
const MAX_INSTRUCTIONS = 1_000_000;
/** Subprograms calling one another in a chain; the kernel stops at 8 frames. */
const MAX_CHAIN = 1000;
const CALL = U.BPF_JMP | U.BPF_CALL;
/** Bytes of an entry of a jump table. */
const JUMP_ENTRY = 8;
const BTF_FUNC_STATIC = 0;
const BTF_FUNC_GLOBAL = 1;
const EXCEPTION_CALLBACK = 'exception_callback:';

/** Where an indirect jump may go. */
export interface JumpTable {
  /** Place in `.jumptables`, which tells the tables of a program apart. */
  readonly offset: number;
  /** Slots of the program, subprograms included. */
  readonly targets: readonly number[];
}

/** Fills references into instructions. */
export interface ReferenceWriter {
  /** `ldimm64` of a map. */
  map(instructions: Uint8Array, slot: number, mapIndex: number): void;
  /** `ldimm64` of a byte in a map's value; the offset is in place already. */
  mapValue(instructions: Uint8Array, slot: number, mapIndex: number): void;
  /** `ldimm64` of a kernel symbol. */
  symbol(instructions: Uint8Array, slot: number, extern: Extern): void;
  /** `ldimm64` of a jump table; `undefined` where nothing can hold one. */
  readonly jumpTable: ((instructions: Uint8Array, slot: number, table: JumpTable) => void) | undefined;
  /** Call of a kernel function. */
  kernelCall(instructions: Uint8Array, slot: number, extern: Extern): void;
}

/** The order in which relocations of one instruction are kept (`enum reloc_type`). */
const KIND_ORDER: readonly RelocationKind[] = ['map', 'call', 'data', 'extern', 'extern-call', 'subprog', 'core', 'jump-table'];

function byInstruction(a: ProgramRelocation, b: ProgramRelocation): number {
  return a.instruction - b.instruction || KIND_ORDER.indexOf(a.kind) - KIND_ORDER.indexOf(b.kind);
}

/** True for the programs that are loaded. */
export function isLoadable(program: ObjectProgram): boolean {
  return !program.isSubprogram && program.autoload;
}

/**
 * Relocates every program of an object, in place.
 * @throws InputError naming the program and libbpf's reason
 */
export function relocateObject(object: BPFObject, writer: ReferenceWriter): void {
  recordCoreRelocations(object);
  for (const program of object.programs) {
    for (const { kind, instruction } of program.relocations) if (kind === 'subprog') writeSource(program.instructions, instruction, U.BPF_PSEUDO_FUNC);
  }
  const linker = new ProgramLinker(object);
  for (const program of object.programs) if (isLoadable(program)) linker.link(program);
  for (const program of object.programs) if (isLoadable(program)) relocateData(object, program, writer);
  markStaticFunctions(object);
}

/** What libbpf says of relocated programs whose records of functions or lines the compiler left out: their logs will have no source. */
export function noteMissingInfo({ programs, ext }: BPFObject, note: Note): void {
  if (ext === undefined) return;
  for (const program of programs) {
    if (!isLoadable(program)) continue;
    const say = (what: string, short: string): void => note(`prog '${program.name}': missing .BTF.ext ${what} info for the main program, skipping all of .BTF.ext ${short} info.`);
    if (program.functionInfo.length === 0) say('function', 'func');
    if (program.lineInfo.length === 0) say('line', 'line');
  }
}

/** CO-RE records become relocations of the functions that they are in. */
function recordCoreRelocations(object: BPFObject): void {
  const { btf, ext, elf } = object;
  if (btf === undefined || ext === undefined) return;
  const size = ext.relocations.recordSize / 4;
  for (const { nameOffset, count, words } of ext.relocations.sections) {
    const name = btf.string(nameOffset);
    const section = elf.sections.find((candidate) => candidate.index > 0 && candidate.name === name)?.index ?? 0;
    for (let i = 0; i < count; i++) {
      const offset = words[size * i] ?? 0;
      if (offset % 8 !== 0) throw new InputError(object.file, 'section .BTF.ext', `CO-RE relocation #${i} of section ${name} at offset ${offset}`);
      const program = findProgram(object.programs, section, offset / 8);
      if (program === undefined || !program.autoload) continue;
      const core = { typeID: words[size * i + 1] ?? 0, access: words[size * i + 2] ?? 0, kind: words[size * i + 3] ?? 0 };
      program.relocations.push({ kind: 'core', instruction: offset / 8 - program.sectionOffset, target: -1, symbolOffset: 0, core });
    }
  }
  for (const program of object.programs) program.relocations.sort(byInstruction);
}

/** Appends subprograms to main programs and fills in the calls. */
class ProgramLinker {
  readonly #object: BPFObject;
  /** Declaration tags that name exception callbacks: most objects have none. */
  readonly #callbackTags: readonly number[];
  /** Records by the section that they are about. */
  readonly #functions: ReadonlyMap<number, ExtSection>;
  readonly #lines: ReadonlyMap<number, ExtSection>;

  constructor(object: BPFObject) {
    this.#object = object;
    this.#callbackTags = callbackTags(object);
    this.#functions = recordsBySection(object, object.ext?.functions);
    this.#lines = recordsBySection(object, object.ext?.lines);
  }

  link(program: ObjectProgram): void {
    for (const candidate of this.#object.programs) if (candidate.isSubprogram) candidate.subOffset = 0;
    this.#process(program, program, 0);
    const callback = this.#exceptionCallback(program);
    if (callback !== undefined && callback.subOffset === 0) {
      this.#append(program, callback);
      this.#process(program, callback, 1);
    }
  }

  #fail(program: ObjectProgram, reason: string): never {
    throw new InputError(this.#object.file, `section ${program.sectionName}`, `prog '${program.name}': ${reason}`);
  }

  #process(main: ObjectProgram, part: ObjectProgram, depth: number): void {
    if (depth > MAX_CHAIN) this.#fail(main, `more than ${MAX_CHAIN} subprograms calling one another`);
    this.#moveInfo(main, part);
    const { relocations, subOffset, ownLength } = part;
    // Few instructions call: what they refer to is looked up from the first on.
    let own: Map<number, ProgramRelocation> | undefined;
    let bytes = main.instructions;
    for (let i = 0; i < ownLength; i++) {
      const slot = subOffset + i;
      const code = bytes[8 * slot];
      if (code !== CALL && code !== LD_IMM64) continue;
      const source = (bytes[8 * slot + 1] ?? 0) >> 4;
      const isFunctionAddress = code === LD_IMM64;
      if (source !== (isFunctionAddress ? U.BPF_PSEUDO_FUNC : U.BPF_PSEUDO_CALL)) continue;
      own ??= new Map(relocations.filter(({ kind }) => kind !== 'core').map((relocation) => [relocation.instruction, relocation]));
      const relocation = own.get(i);
      if (relocation?.kind === 'extern-call') continue;
      const callee = this.#callee(part, i, relocation, readImmediate(main.instructions, slot), isFunctionAddress);
      if (callee.subOffset === 0) {
        this.#append(main, callee);
        this.#process(main, callee, depth + 1);
        bytes = main.instructions;
      }
      writeImmediate(main.instructions, slot, callee.subOffset - slot - 1);
    }
  }

  #callee(part: ObjectProgram, index: number, relocation: ProgramRelocation | undefined, immediate: number, isFunctionAddress: boolean): ObjectProgram {
    if (relocation !== undefined && relocation.kind !== 'call' && relocation.kind !== 'subprog') {
      this.#fail(part, `unexpected relo for insn #${index}, type ${KIND_ORDER.indexOf(relocation.kind)}`);
    }
    if (relocation === undefined && isFunctionAddress) this.#fail(part, `missing subprog addr relo for insn #${index}`);
    let slot = part.sectionOffset + index + immediate + 1;
    if (relocation?.kind === 'call') slot = relocation.symbolOffset / 8 + immediate + 1;
    if (relocation?.kind === 'subprog') slot = (relocation.symbolOffset + immediate) / 8;
    return findProgram(this.#object.programs, this.#object.textIndex, slot) ?? this.#fail(part, 'no .text section found yet sub-program call exists');
  }

  #append(main: ObjectProgram, part: ObjectProgram): void {
    part.subOffset = main.instructions.length / 8;
    const joined = new Uint8Array(main.instructions.length + 8 * part.ownLength);
    if (joined.length > 8 * MAX_INSTRUCTIONS) this.#fail(main, `more than ${MAX_INSTRUCTIONS} instructions`);
    joined.set(main.instructions);
    joined.set(part.instructions.subarray(0, 8 * part.ownLength), main.instructions.length);
    main.instructions = joined;
    main.relocations = [...main.relocations, ...part.relocations.map((relocation) => ({
      ...relocation, instruction: relocation.instruction + part.subOffset, moved: part.subOffset - part.sectionOffset,
    }))];
  }

  /** Function and line records of one part, with offsets in the whole program (`reloc_prog_func_and_line_info`). */
  #moveInfo(main: ObjectProgram, part: ObjectProgram): void {
    const { ext } = this.#object;
    if (ext === undefined) return;
    if (main === part || main.functionInfo.length > 0) {
      const records = infoOf(this.#functions.get(part.sectionIndex), part);
      if (records === undefined && main.functionInfo.length > 0) this.#fail(part, 'missing .BTF.ext function info.');
      if (records !== undefined) {
        main.functionInfo.push(records);
        main.functionInfoSize = ext.functions.recordSize;
      }
    }
    if (main === part || main.lineInfo.length > 0) {
      const records = infoOf(this.#lines.get(part.sectionIndex), part);
      if (records === undefined && main.lineInfo.length > 0) this.#fail(part, 'missing .BTF.ext line info.');
      if (records !== undefined) {
        main.lineInfo.push(records);
        main.lineInfoSize = ext.lines.recordSize;
      }
    }
  }

  /** The subprogram that a declaration tag names as the program's exception callback (`bpf_prog_assign_exc_cb`). */
  #exceptionCallback(program: ObjectProgram): ObjectProgram | undefined {
    const { btf } = this.#object;
    if (btf === undefined) return undefined;
    let found: ObjectProgram | undefined;
    for (const id of this.#callbackTags) {
      const target = btf.target(id);
      if (btf.kind(target) !== U.BTF_KIND_FUNC || btf.vlen(target) !== BTF_FUNC_GLOBAL) {
        this.#fail(program, 'exception_callback:<value> decl tag not applied to the main program');
      }
      if (btf.name(target) !== program.name) continue;
      // The verifier refuses several callbacks with a better message.
      if (found !== undefined) return undefined;
      found = this.#namedCallback(program, btf.name(id).slice(EXCEPTION_CALLBACK.length));
    }
    return found;
  }

  #namedCallback(program: ObjectProgram, name: string): ObjectProgram {
    if (name === '') this.#fail(program, 'exception_callback:<value> decl tag contains empty value');
    const [callback, ...others] = this.#object.programs.filter((candidate) => candidate.isSubprogram && candidate.name === name);
    if (callback === undefined) return this.#fail(program, `cannot find exception callback '${name}'`);
    if (!callback.isGlobal || callback.markStatic) this.#fail(program, `exception callback ${callback.name} must be a global non-hidden function`);
    if (others.length > 0) this.#fail(program, `multiple subprogs with same name as exception callback '${callback.name}'`);
    return callback;
  }
}

function callbackTags({ btf }: BPFObject): number[] {
  const tags: number[] = [];
  for (let id = 1; btf !== undefined && id < btf.count; id++) {
    if (btf.kind(id) === U.BTF_KIND_DECL_TAG && (btf.word(id, 3) | 0) === -1 && btf.name(id).startsWith(EXCEPTION_CALLBACK)) tags.push(id);
  }
  return tags;
}

/** Number of function or line records of a program; `size` in bytes. */
export function recordCount(records: readonly Uint32Array[], size: number): number {
  return size === 0 ? 0 : (4 * records.reduce((sum, { length }) => sum + length, 0)) / size;
}

/** The bytes of a program's records. */
export function recordBytes(records: readonly Uint32Array[], isLittle: boolean): Uint8Array {
  const bytes = new Uint8Array(4 * records.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const words of records) {
    writeWords(bytes, at, words, isLittle);
    at += 4 * words.length;
  }
  return bytes;
}

function recordsBySection({ btf, elf }: BPFObject, info: ExtInfo | undefined): Map<number, ExtSection> {
  const found = new Map<number, ExtSection>();
  for (const records of info?.sections ?? []) {
    // libbpf passes over a section without a name.
    const name = btf !== undefined && btf.hasString(records.nameOffset) ? btf.string(records.nameOffset) : '';
    const index = elf.sections.find((candidate) => candidate.index > 0 && candidate.name === name)?.index;
    if (index !== undefined && !found.has(index)) found.set(index, records);
  }
  return found;
}

/** A function's records, one after the other, for where it was put (`adjust_prog_btf_ext_info`); `undefined` where it has none. */
function infoOf(section: ExtSection | undefined, { sectionOffset, ownLength, subOffset }: ObjectProgram): Uint32Array | undefined {
  if (section === undefined) return undefined;
  const { words, count } = section;
  const size = words.length / count;
  let [from, to] = [-1, -1];
  for (let at = 0; at < words.length; at += size) {
    const offset = words[at] ?? 0;
    if (offset < 8 * sectionOffset) continue;
    if (offset >= 8 * (sectionOffset + ownLength)) break;
    if (from < 0) from = at;
    to = at + size;
  }
  if (from < 0) return undefined;
  const records = words.slice(from, to);
  for (let at = 0; at < records.length; at += size) records[at] = ((records[at] ?? 0) >>> 3) + subOffset - sectionOffset;
  return records;
}

function relocateData(object: BPFObject, program: ObjectProgram, writer: ReferenceWriter): void {
  const { instructions } = program;
  let index = -1;
  for (const relocation of program.relocations) {
    index++;
    const { kind, instruction, target, symbolOffset } = relocation;
    const extern = object.externs[target];
    switch (kind) {
      case 'map': writer.map(instructions, instruction, target); break;
      case 'data':
        writeImmediate(instructions, instruction + 1, readImmediate(instructions, instruction) + symbolOffset + (target === object.arenaIndex ? arenaDataOffset(object) : 0));
        writer.mapValue(instructions, instruction, target);
        break;
      case 'extern':
        if (extern?.kind === 'kconfig') {
          writeImmediate(instructions, instruction + 1, extern.dataOffset);
          writer.mapValue(instructions, instruction, object.kconfigIndex);
        } else if (extern !== undefined) {
          writer.symbol(instructions, instruction, extern);
        }
        break;
      case 'extern-call':
        writeSource(instructions, instruction, U.BPF_PSEUDO_KFUNC_CALL);
        if (extern !== undefined) writer.kernelCall(instructions, instruction, extern);
        break;
      case 'jump-table':
        if (writer.jumpTable === undefined) {
          throw new InputError(object.file, `section ${program.sectionName}`, `prog '${program.name}': relo #${index}: can't create jump table: sym_off ${symbolOffset}`);
        }
        writer.jumpTable(instructions, instruction, readJumpTable(object, program, relocation));
        break;
      default:
    }
  }
}

/** A table of byte offsets in a section becomes one of instructions of a program (`create_jt_map`). */
function readJumpTable(object: BPFObject, program: ObjectProgram, { symbolOffset, symbolSize = 0, moved = -program.sectionOffset }: ProgramRelocation): JumpTable {
  const fail = (reason: string): never => {
    throw new InputError(object.file, 'section .jumptables', `map '.jumptables': ${reason}`);
  };
  if (symbolOffset % JUMP_ENTRY !== 0) fail(`jumptable start ${symbolOffset} should be multiple of ${JUMP_ENTRY}`);
  if (symbolSize % JUMP_ENTRY !== 0) fail(`jumptable size ${symbolSize} should be multiple of ${JUMP_ENTRY}`);
  const data = object.elf.sections[object.jumpTableSection]?.data ?? fail('ELF file is missing jump table data');
  if (symbolOffset + symbolSize > data.length) fail(`jumptables_data size is ${data.length}, trying to access ${symbolOffset + symbolSize}`);
  const view = new DataView(data.buffer, data.byteOffset + symbolOffset, symbolSize);
  const targets = Array.from({ length: symbolSize / JUMP_ENTRY }, (_, i) => {
    const value = view.getBigUint64(JUMP_ENTRY * i, object.littleEndian);
    const target = Number(value / 8n) + moved;
    return target >= 0 && target <= 0xffffffff ? target : fail(`invalid jump table value 0x${value.toString(16)} at offset ${symbolOffset + JUMP_ENTRY * i}`);
  });
  return { offset: symbolOffset, targets };
}

/** Globals of an arena lie at its end. */
function arenaDataOffset(object: BPFObject): number {
  const map = object.maps[object.arenaIndex];
  if (map === undefined) return 0;
  return 4096 * map.definition.maxEntries - Math.ceil((map.data?.length ?? 0) / 4096) * 4096;
}

/** Hidden subprograms become static, so that the verifier looks at them with their callers. */
export function markStaticFunctions({ btf, programs }: BPFObject): void {
  if (btf === undefined) return;
  for (const program of programs) {
    if (!program.markStatic || !program.isSubprogram) continue;
    for (let id = 1; id < btf.count; id++) {
      if (btf.kind(id) !== U.BTF_KIND_FUNC || btf.vlen(id) !== BTF_FUNC_GLOBAL || btf.name(id) !== program.name) continue;
      btf.type(id)[1] = typeInfo(U.BTF_KIND_FUNC, BTF_FUNC_STATIC);
      break;
    }
  }
}
