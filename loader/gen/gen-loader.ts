/**
 * @module loader/gen/gen-loader
 * Generates the loader program and the metadata of a light skeleton from an opened object: the same bytes as libbpf. Owns what is
 * asked of the kernel and in which order; the code sequences are `loader-code.ts`, opening and relocating `loader/object`.
 * Reproduces `bpf_object_load` with `gen_loader`, and `bpf_gen__*` of `tools/lib/bpf/gen_loader.c`, of Linux 7.3.
 */
import {
  BTF_LOAD_ATTR, MAP_CREATE_ATTR, MAP_ELEM_ATTR, PROG_LOAD_ATTR, type Field,
} from '../../isa/attr.ts';
import { E2BIG, EFAULT, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP, errnoName } from '../../isa/errno.ts';
import { InputError } from '../../isa/errors.ts';
import { latin1Bytes } from '../../isa/latin1.ts';
import * as U from '../../isa/uapi.ts';
import { resolveSymbols } from '../object/kallsyms.ts';
import { resolveConfiguration } from '../object/kconfig.ts';
import { isMapInMap } from '../object/map-defs.ts';
import type { BPFObject, Extern, ObjectMap, ObjectProgram, ProgramRelocation } from '../object/model.ts';
import { swapInstructions, writeImmediate, writeSource } from '../object/open.ts';
import type { Note } from '../object/passed-over.ts';
import { isLoadable, noteMissingInfo, recordBytes, recordCount, relocateObject, type ReferenceWriter } from '../object/relocate.ts';
import { adjustAutoload } from '../object/struct-ops.ts';
import { attachTargetLookup, SEC_ATTACH_BTF, SEC_SLEEPABLE, SEC_USDT, SEC_XDP_FRAGS } from '../object/section-defs.ts';
import { mapDescOffset, progDescOffset } from '../skeleton.ts';
import {
  GeneratorError, LoaderCode, MAX_KFUNC_DESCS, MAX_USED_MAPS, STACK_BTF_FD, STACK_INNER_MAP_FD, stackProgramFD,
} from './loader-code.ts';

const BPF_F_SLEEPABLE = 1 << 4;
const BPF_F_XDP_HAS_FRAGS = 1 << 5;
const BPF_F_ALL_CPUS = 16n;
const FIRST_FD_OF_BTFS = MAX_USED_MAPS;
const FD_ARRAY_SLOTS = MAX_USED_MAPS + MAX_KFUNC_DESCS;
const CTX_FLAGS = 4;
const CTX_LOG_LEVEL = 8;
const CTX_LOG_SIZE = 12;
const CTX_LOG_BUF = 16;
const BPF_SKEL_KERNEL = 1;
const CORE_RELO_SIZE = 16;
const MAX_ATTACH_TARGET = 128;
/** Offsets in `struct bpf_insn`. */
const INSN_REGS = 1;
const INSN_OFF = 2;
const INSN_IMM = 4;

/** How to generate. */
export interface GenLoaderOptions {
  /** The loader will be signed: it takes nothing from its context that the signature should cover. */
  readonly signed?: boolean;
  /**
   * SHA-256, for kernels before 7.3 (as libbpf of 7.2 has it): a signed loader compares its metadata with a hash of its own. It is given
   * so that who generates for today's kernels loads no cryptography.
   */
  readonly inLoaderCheck?: (metadata: Uint8Array) => Uint8Array;
  /** Text of a kernel configuration, for `__kconfig` externs; libbpf reads that of the machine it runs on. */
  readonly configuration?: string;
  /** `LINUX_KERNEL_VERSION` in configuration externs; default that of Linux 7.3.4, libbpf's that of the machine it runs on. */
  readonly kernelVersion?: number;
  /** Text of a machine's `/proc/kallsyms`, where symbols without types are to be found; default they are only looked up when the loader runs. */
  readonly kallsyms?: string;
  /** Possible processors, for perf event arrays without a size; libbpf asks the machine it runs on. */
  readonly possibleCPUs?: number;
  /** Gets what libbpf says of programs without records of functions or lines. */
  readonly note?: Note;
}

/** A generated loader. */
export interface GeneratedLoader {
  readonly instructions: Uint8Array;
  readonly metadata: Uint8Array;
}

/** References become indexes in the loader's `fd_array`, symbols are looked up when the loader runs. */
const WRITER: ReferenceWriter = {
  map(instructions, slot, mapIndex) {
    writeSource(instructions, slot, U.BPF_PSEUDO_MAP_IDX);
    writeImmediate(instructions, slot, mapIndex);
  },
  mapValue(instructions, slot, mapIndex) {
    writeSource(instructions, slot, U.BPF_PSEUDO_MAP_IDX_VALUE);
    writeImmediate(instructions, slot, mapIndex);
  },
  symbol(instructions, slot, extern) {
    if (extern.typeID !== 0) writeSource(instructions, slot, U.BPF_PSEUDO_BTF_ID);
    writeImmediate(instructions, slot, 0);
    writeImmediate(instructions, slot + 1, 0);
  },
  // libbpf would put the table into a map of the machine that it generates on.
  jumpTable: undefined,
  kernelCall(instructions, slot) {
    writeImmediate(instructions, slot, 0);
    instructions.fill(0, 8 * slot + INSN_OFF, 8 * slot + INSN_OFF + 2);
  },
};

/**
 * Generates the loader of an object. The object is relocated in place and of no further use.
 *
 * @throws InputError with libbpf's reason where the object cannot be loaded by a loader
 *
 * @example
 * generateLoader(openObject(bytes, 'a.bpf.o', 'a'), { signed: true }).instructions.length / 8;
 */
export function generateLoader(object: BPFObject, options: GenLoaderOptions = {}): GeneratedLoader {
  resolveConfiguration(object, options.configuration, options.kernelVersion);
  if (options.kallsyms !== undefined) resolveSymbols(object, options.kallsyms);
  refuseStructOps(object);
  adjustAutoload(object);
  relocateObject(object, WRITER);
  if (options.note !== undefined) noteMissingInfo(object, options.note);
  try {
    return new LoaderGenerator(object, options).generate();
  } catch (error) {
    if (!(error instanceof GeneratorError)) throw error;
    throw new InputError(object.file, '', `failed to load object file: ${errnoName(error.errno)}, ${error.message}`);
  }
}

/** A loader cannot make such maps: libbpf looks them up in the kernel's types, which it has not read when it generates, and crashes. */
function refuseStructOps({ maps, file }: BPFObject): void {
  const map = maps.find(({ kind, autocreate }) => kind === 'struct_ops' && autocreate);
  if (map !== undefined) throw new InputError(file, `map ${map.name}`, 'struct_ops maps cannot be created by a loader (libbpf ends with SIGSEGV)');
}

/** One symbol of the program being loaded (`struct ksym_desc`). */
interface SymbolSlot {
  readonly name: string;
  readonly kind: number;
  readonly isLoad: boolean;
  typeless: boolean;
  /** Offset in the blob of the first instruction that refers to it. */
  insn: number;
  /** Slot in `fd_array` of a function's BTF. */
  fdSlot: number;
}

/** A reference of the program being loaded (`struct ksym_relo_desc`). */
interface SymbolReference {
  readonly extern: Extern;
  readonly kind: number;
  readonly isLoad: boolean;
  readonly isTypeless: boolean;
  readonly instruction: number;
}

class LoaderGenerator {
  readonly #object: BPFObject;
  readonly #code: LoaderCode;
  readonly #signed: boolean;
  readonly #inLoaderCheck: ((metadata: Uint8Array) => Uint8Array) | undefined;
  readonly #possibleCPUs: number | undefined;
  #maps = 0;
  #programs = 0;
  #kernelBTFs = 0;

  constructor(object: BPFObject, { signed = false, inLoaderCheck, possibleCPUs }: GenLoaderOptions) {
    this.#object = object;
    this.#code = new LoaderCode(object.littleEndian);
    this.#signed = signed;
    this.#inLoaderCheck = signed ? inLoaderCheck : undefined;
    this.#possibleCPUs = possibleCPUs;
  }

  generate(): GeneratedLoader {
    const { btf, maps, programs } = this.#object;
    this.#code.prologue(programs.length, maps.length);
    const constants = this.#inLoaderCheck === undefined ? [] : this.#code.checkMetadata();
    if (btf !== undefined) this.#loadBTF(btf.encode());
    for (const [index, map] of maps.entries()) if (map.autocreate) this.#createMapWithContents(map, index);
    for (const program of programs) if (isLoadable(program)) this.#loadProgram(program);
    for (const map of maps) {
      if (map.slots.size > 0 && map.definition.type === U.BPF_MAP_TYPE_PROG_ARRAY) {
        throw new GeneratorError(EOPNOTSUPP, `failed to load object '${this.#object.name}': a loader cannot fill program array '${map.name}'`);
      }
    }
    if (this.#maps !== maps.length) {
      throw new GeneratorError(EFAULT, `nr_progs ${programs.length}/${this.#programs} nr_maps ${maps.length}/${this.#maps} mismatch`);
    }
    this.#epilogue();
    const metadata = this.#code.takeData();
    if (this.#inLoaderCheck !== undefined) this.#code.setMetadataHash(constants, this.#inLoaderCheck(metadata));
    return { instructions: this.#code.takeInstructions(), metadata };
  }

  #epilogue(): void {
    const code = this.#code;
    code.closeStack(STACK_BTF_FD);
    for (let i = 0; i < this.#programs; i++) code.stackToContext(progDescOffset(this.#maps, i), 4, stackProgramFD(i));
    for (let i = 0; i < this.#maps; i++) code.blobToContext(mapDescOffset(i), 4, code.fdSlot(i));
    code.moveImmediate(0, 0);
    code.exit();
  }

  // --- attributes ---------------------------------------------------------------------------------------------------

  /** A zeroed `union bpf_attr` up to and with `last`. */
  #attr(last: Field): DataView {
    return new DataView(new ArrayBuffer(last.offset + last.size));
  }

  #set(attr: DataView, { offset, size }: Field, value: number | bigint): void {
    if (size === 8) attr.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), this.#object.littleEndian);
    else attr.setUint32(offset, Number(value), this.#object.littleEndian);
  }

  #setName(attr: DataView, { offset, size }: Field, name: string): void {
    const bytes = latin1Bytes(name).subarray(0, size - 1);
    new Uint8Array(attr.buffer).set(bytes, offset);
  }

  #addAttr(attr: DataView): number {
    return this.#code.addData(new Uint8Array(attr.buffer));
  }

  #logFields(attr: number, level: Field, size: Field, buffer: Field): void {
    this.#code.contextToBlob(attr + level.offset, 4, CTX_LOG_LEVEL, false);
    this.#code.contextToBlob(attr + size.offset, 4, CTX_LOG_SIZE, false);
    this.#code.contextToBlob(attr + buffer.offset, 8, CTX_LOG_BUF, false);
  }

  // --- BTF and maps -------------------------------------------------------------------------------------------------

  #loadBTF(bytes: Uint8Array): void {
    const code = this.#code;
    const data = code.addData(bytes);
    const attr = this.#attr(BTF_LOAD_ATTR.btf_log_level);
    this.#set(attr, BTF_LOAD_ATTR.btf_size, bytes.length);
    const at = this.#addAttr(attr);
    this.#logFields(at, BTF_LOAD_ATTR.btf_log_level, BTF_LOAD_ATTR.btf_log_size, BTF_LOAD_ATTR.btf_log_buf);
    code.storeAddress(at + BTF_LOAD_ATTR.btf.offset, data);
    code.systemCall(U.BPF_BTF_LOAD, at, attr.byteLength);
    code.checkError();
    code.store(4, 10, 7, STACK_BTF_FD);
  }

  #createMapWithContents(map: ObjectMap, index: number): void {
    this.#defaultEntries(map);
    this.#createMap(map, index);
    if (map.kind !== 'user') {
      this.#updateElement(index, map.data ?? new Uint8Array(0), map.kind === 'percpu' ? BPF_F_ALL_CPUS : 0n);
      if (map.kind === 'rodata' || map.kind === 'kconfig') this.#freezeMap(index);
    } else if (map.data !== undefined) {
      throw new GeneratorError(EOPNOTSUPP, `a loader cannot fill arena '${map.name}' (libbpf ends with SIGBUS)`);
    } else if (map.definition.type === U.BPF_MAP_TYPE_ARENA) {
      // libbpf maps it although it is none yet: from now on the map shows its memory, of which the skeleton's struct knows nothing.
      map.data = new Uint8Array(0);
    }
    if (map.definition.type !== U.BPF_MAP_TYPE_PROG_ARRAY) {
      for (const slot of [...map.slots.keys()].toSorted((a, b) => a - b)) this.#fillSlot(index, slot, map.slots.get(slot) ?? 0);
    }
    // libbpf tries it with a descriptor that is no map's.
    if (map.definition.pinned) throw new GeneratorError(EINVAL, `map '${map.name}': failed to auto-pin at '/sys/fs/bpf/${map.name}': -EINVAL`);
  }

  /** A perf event array without a size gets one element a processor. */
  #defaultEntries({ definition, name }: ObjectMap): void {
    if (definition.type !== U.BPF_MAP_TYPE_PERF_EVENT_ARRAY || definition.maxEntries !== 0) return;
    if (this.#possibleCPUs === undefined) {
      throw new GeneratorError(ENOENT, `map '${name}' has one element a processor: say how many there are`);
    }
    definition.maxEntries = this.#possibleCPUs;
  }

  /** `index` is `undefined` for the template of a map of maps. */
  #createMap(map: ObjectMap, index: number | undefined): void {
    const code = this.#code;
    const { definition } = map;
    const isOuter = isMapInMap(definition.type);
    if (isOuter && map.inner !== undefined) {
      this.#defaultEntries(map.inner);
      this.#createMap(map.inner, undefined);
    }
    const hasTypes = this.#object.btf !== undefined && !WITHOUT_BTF.has(definition.type);
    const valueTypeID = hasTypes ? definition.valueTypeID : 0;
    const attr = this.#attr(MAP_CREATE_ATTR.map_extra);
    this.#set(attr, MAP_CREATE_ATTR.map_type, definition.type);
    this.#set(attr, MAP_CREATE_ATTR.key_size, definition.keySize);
    this.#set(attr, MAP_CREATE_ATTR.value_size, definition.valueSize);
    this.#set(attr, MAP_CREATE_ATTR.map_flags, definition.flags);
    this.#set(attr, MAP_CREATE_ATTR.map_extra, definition.mapExtra);
    this.#setName(attr, MAP_CREATE_ATTR.map_name, map.name);
    this.#set(attr, MAP_CREATE_ATTR.numa_node, definition.numaNode);
    this.#set(attr, MAP_CREATE_ATTR.max_entries, definition.maxEntries);
    this.#set(attr, MAP_CREATE_ATTR.btf_key_type_id, hasTypes ? definition.keyTypeID : 0);
    this.#set(attr, MAP_CREATE_ATTR.btf_value_type_id, valueTypeID);
    const at = this.#addAttr(attr);
    if (valueTypeID !== 0) code.stackToBlob(at + MAP_CREATE_ATTR.btf_fd.offset, 4, STACK_BTF_FD);
    if (isOuter) code.stackToBlob(at + MAP_CREATE_ATTR.inner_map_fd.offset, 4, STACK_INNER_MAP_FD);
    if (index !== undefined && !this.#signed) code.contextToBlob(at + MAP_CREATE_ATTR.max_entries.offset, 4, mapDescOffset(index) + 4, true);
    code.systemCall(U.BPF_MAP_CREATE, at, attr.byteLength);
    code.checkError();
    if (index === undefined) code.store(4, 10, 7, STACK_INNER_MAP_FD);
    else this.#rememberMap();
    if (isOuter) code.closeStack(STACK_INNER_MAP_FD);
  }

  #rememberMap(): void {
    if (this.#maps === MAX_USED_MAPS) throw new GeneratorError(E2BIG, `Total maps exceeds ${MAX_USED_MAPS}`);
    this.#code.address(1, this.#code.fdSlot(this.#maps++));
    this.#code.store(4, 1, 7, 0);
  }

  #updateElement(index: number, value: Uint8Array, flags: bigint): void {
    const code = this.#code;
    const attr = this.#attr(MAP_ELEM_ATTR.flags);
    this.#set(attr, MAP_ELEM_ATTR.flags, flags);
    const valueAt = code.addData(value);
    const keyAt = code.addZeros(4);
    if (!this.#signed) this.#takeCallersValue(index, valueAt, value.length);
    const at = this.#addAttr(attr);
    code.blobToBlob(at + MAP_ELEM_ATTR.map_fd.offset, 4, code.fdSlot(index));
    code.storeAddress(at + MAP_ELEM_ATTR.key.offset, keyAt);
    code.storeAddress(at + MAP_ELEM_ATTR.value.offset, valueAt);
    code.systemCall(U.BPF_MAP_UPDATE_ELEM, at, attr.byteLength);
    code.checkError();
  }

  /** `initial_value` of the context, where it is set, is read from user or kernel memory over the value in the blob. */
  #takeCallersValue(index: number, valueAt: number, size: number): void {
    const code = this.#code;
    code.load(8, 3, 6, mapDescOffset(index) + 8);
    code.jump(U.BPF_JEQ, 3, 0, 8);
    code.address(1, valueAt);
    code.moveImmediate(2, size);
    code.load(4, 0, 6, CTX_FLAGS);
    code.jump(U.BPF_JSET, 0, BPF_SKEL_KERNEL, 2);
    code.call(U.BPF_FUNC_copy_from_user);
    code.jump(U.BPF_JA, 0, 0, 1);
    code.call(U.BPF_FUNC_probe_read_kernel);
  }

  #freezeMap(index: number): void {
    const attr = this.#attr(MAP_ELEM_ATTR.map_fd);
    const at = this.#addAttr(attr);
    this.#code.blobToBlob(at, 4, this.#code.fdSlot(index));
    this.#code.systemCall(U.BPF_MAP_FREEZE, at, attr.byteLength);
    this.#code.checkError();
  }

  #fillSlot(index: number, slot: number, inner: number): void {
    const code = this.#code;
    const key = new DataView(new ArrayBuffer(4));
    key.setUint32(0, slot, this.#object.littleEndian);
    const keyAt = code.addData(new Uint8Array(key.buffer));
    const attr = this.#attr(MAP_ELEM_ATTR.flags);
    const at = this.#addAttr(attr);
    code.blobToBlob(at, 4, code.fdSlot(index));
    code.storeAddress(at + MAP_ELEM_ATTR.key.offset, keyAt);
    code.storeAddress(at + MAP_ELEM_ATTR.value.offset, code.fdSlot(inner));
    code.systemCall(U.BPF_MAP_UPDATE_ELEM, at, attr.byteLength);
    code.checkError();
  }

  // --- programs -----------------------------------------------------------------------------------------------------

  #loadProgram(program: ObjectProgram): void {
    const code = this.#code;
    const attach = this.#attachTarget(program);
    const { attr, license, insns, functions, lines, relocations } = this.#programAttr(program, attach !== undefined);
    const at = this.#addAttr(attr);
    code.storeAddress(at + PROG_LOAD_ATTR.license.offset, license);
    code.storeAddress(at + PROG_LOAD_ATTR.insns.offset, insns);
    code.storeAddress(at + PROG_LOAD_ATTR.func_info.offset, functions);
    code.storeAddress(at + PROG_LOAD_ATTR.line_info.offset, lines);
    code.storeAddress(at + PROG_LOAD_ATTR.core_relos.offset, relocations);
    code.storeAddress(at + PROG_LOAD_ATTR.fd_array.offset, code.fdArray);
    this.#logFields(at, PROG_LOAD_ATTR.log_level, PROG_LOAD_ATTR.log_size, PROG_LOAD_ATTR.log_buf);
    code.stackToBlob(at + PROG_LOAD_ATTR.prog_btf_fd.offset, 4, STACK_BTF_FD);
    if (attach !== undefined) this.#findAttachTarget(attach, at);
    const symbols = this.#relocateSymbols(program, insns);
    code.systemCall(U.BPF_PROG_LOAD, at, attr.byteLength);
    this.#closeSymbols(symbols);
    if (attach !== undefined) code.closeBlob(at + PROG_LOAD_ATTR.attach_btf_obj_fd.offset);
    code.checkError();
    code.store(4, 10, 7, stackProgramFD(this.#programs++));
  }

  /** What the loader looks up to attach to (`libbpf_prepare_prog_load`). */
  #attachTarget(program: ObjectProgram): { readonly name: string; readonly kind: number } | undefined {
    const fail = (reason: string): never => {
      throw new InputError(this.#object.file, `section ${program.sectionName}`, `prog '${program.name}': ${reason}`);
    };
    if (program.type === U.BPF_PROG_TYPE_UNSPEC) fail(`missing BPF prog type, check ELF section name '${program.sectionName}'`);
    if (program.type === U.BPF_PROG_TYPE_STRUCT_OPS) fail('SEC("struct_ops") program isn\'t referenced anywhere, did you forget to use it?');
    const flags = program.definition?.flags ?? 0;
    if ((flags & SEC_USDT) !== 0) program.expectedAttachType = U.BPF_TRACE_UPROBE_MULTI;
    if ((flags & SEC_ATTACH_BTF) === 0) return undefined;
    const slash = program.sectionName.indexOf('/');
    if (slash < 0) fail('no BTF-based attach target is specified, use bpf_program__set_attach_target()');
    if (program.type === U.BPF_PROG_TYPE_EXT) fail('attach program FD is not set');
    const { prefix, kind } = attachTargetLookup(program.expectedAttachType);
    const name = prefix + program.sectionName.slice(slash + 1);
    if (name.length >= MAX_ATTACH_TARGET) throw new GeneratorError(ENOSPC, `the attach target of '${program.name}' is too long`);
    return { name, kind };
  }

  #programAttr(program: ObjectProgram, hasTarget: boolean): {
    readonly attr: DataView; readonly license: number; readonly insns: number; readonly functions: number; readonly lines: number; readonly relocations: number;
  } {
    const code = this.#code;
    const hasBTF = this.#object.btf !== undefined;
    const functionInfo = hasBTF ? program.functionInfo : [];
    const lineInfo = hasBTF ? program.lineInfo : [];
    const core = coreRecords(program.relocations);
    const flags = program.definition?.flags ?? 0;
    const attr = this.#attr(PROG_LOAD_ATTR.core_relo_rec_size);
    const license = code.addData(latin1Bytes(`${this.#object.license}\0`));
    const instructions = program.instructions.slice();
    if (!this.#object.littleEndian) swapInstructions(instructions);
    const insns = code.addData(instructions);
    this.#set(attr, PROG_LOAD_ATTR.prog_type, program.type);
    this.#set(attr, PROG_LOAD_ATTR.expected_attach_type, program.expectedAttachType);
    this.#set(attr, PROG_LOAD_ATTR.attach_btf_id, hasTarget ? 1 : 0);
    this.#set(attr, PROG_LOAD_ATTR.insn_cnt, instructions.length / 8);
    this.#set(attr, PROG_LOAD_ATTR.prog_flags, ((flags & SEC_SLEEPABLE) !== 0 ? BPF_F_SLEEPABLE : 0)
      | (program.type === U.BPF_PROG_TYPE_XDP && (flags & SEC_XDP_FRAGS) !== 0 ? BPF_F_XDP_HAS_FRAGS : 0));
    this.#set(attr, PROG_LOAD_ATTR.func_info_rec_size, hasBTF ? program.functionInfoSize : 0);
    this.#set(attr, PROG_LOAD_ATTR.func_info_cnt, recordCount(functionInfo, program.functionInfoSize));
    const functions = code.addData(this.#records(functionInfo));
    this.#set(attr, PROG_LOAD_ATTR.line_info_rec_size, hasBTF ? program.lineInfoSize : 0);
    this.#set(attr, PROG_LOAD_ATTR.line_info_cnt, recordCount(lineInfo, program.lineInfoSize));
    const lines = code.addData(this.#records(lineInfo));
    this.#set(attr, PROG_LOAD_ATTR.core_relo_rec_size, CORE_RELO_SIZE);
    this.#set(attr, PROG_LOAD_ATTR.core_relo_cnt, (4 * core.length) / CORE_RELO_SIZE);
    const relocations = code.addData(this.#records([core]));
    this.#setName(attr, PROG_LOAD_ATTR.prog_name, program.name);
    return { attr, license, insns, functions, lines, relocations };
  }

  /** Records in the target's byte order. */
  #records(records: readonly Uint32Array[]): Uint8Array {
    return recordBytes(records, this.#object.littleEndian);
  }

  /** `r7 = btf_find_by_name_kind(name, length, kind, 0)` */
  #findByName(name: string, kind: number): void {
    const code = this.#code;
    const { offset, length } = code.addString(name);
    code.address(1, offset);
    code.moveImmediate(2, length);
    code.moveImmediate(3, kind);
    code.moveImmediate(4, 0);
    code.call(U.BPF_FUNC_btf_find_by_name_kind);
    code.moveRegister(7, 0);
  }

  /** The type id in the low half of the answer, the BTF's descriptor in the high one. */
  #findAttachTarget({ name, kind }: { readonly name: string; readonly kind: number }, attr: number): void {
    const code = this.#code;
    this.#findByName(name, kind);
    code.checkError();
    code.address(0, attr);
    code.store(4, 0, 7, PROG_LOAD_ATTR.attach_btf_id.offset);
    code.shiftRight32(7);
    code.store(4, 0, 7, PROG_LOAD_ATTR.attach_btf_obj_fd.offset);
  }

  // --- kernel symbols -----------------------------------------------------------------------------------------------

  #relocateSymbols(program: ObjectProgram, insns: number): readonly SymbolSlot[] {
    const { externs, btf } = this.#object;
    const slots: SymbolSlot[] = [];
    for (const { kind, target, instruction } of program.relocations) {
      const extern = externs[target];
      if (extern === undefined || extern.kind !== 'ksym' || (kind !== 'extern' && kind !== 'extern-call')) continue;
      const isLoad = kind === 'extern';
      const isVariable = isLoad && btf?.kind(extern.btfID) === U.BTF_KIND_VAR;
      const reference = { extern, kind: isVariable ? U.BTF_KIND_VAR : U.BTF_KIND_FUNC, isLoad, isTypeless: isLoad && extern.typeID === 0, instruction };
      this.#relocateSymbol(reference, insns + 8 * instruction, slots);
    }
    return slots;
  }

  #relocateSymbol(reference: SymbolReference, insn: number, slots: SymbolSlot[]): void {
    this.#code.address(8, insn);
    const { kind, isLoad, extern: { name } } = reference;
    const known = slots.find((slot) => slot.kind === kind && slot.isLoad === isLoad && slot.name === name);
    const slot = known ?? { name, kind, isLoad, typeless: false, insn, fdSlot: 0 };
    if (known === undefined) slots.push(slot);
    const isFirst = known === undefined;
    if (!isLoad) this.#functionCall(reference, insn, slot, isFirst);
    else if (reference.isTypeless) this.#typelessSymbol(reference, insn, slot, isFirst);
    else this.#typedSymbol(reference, insn, slot, isFirst);
  }

  #functionCall({ extern, kind }: SymbolReference, insn: number, slot: SymbolSlot, isFirst: boolean): void {
    const code = this.#code;
    if (!isFirst) {
      code.blobToBlob(insn + INSN_IMM, 4, slot.insn + INSN_IMM);
      code.blobToBlob(insn + INSN_OFF, 2, slot.insn + INSN_OFF);
      return;
    }
    this.#findByName(extern.name, kind);
    if (!extern.isWeak) code.checkError();
    const index = this.#takeFDSlot();
    if (index > 32767) throw new GeneratorError(E2BIG, `BTF fd off ${index} for kfunc ${extern.name} exceeds INT16_MAX, cannot process relocation`);
    slot.fdSlot = index;
    code.jump(U.BPF_JSGE, 7, 0, 3);
    code.storeImmediate(4, 8, INSN_IMM, 0);
    code.storeImmediate(2, 8, INSN_OFF, 0);
    code.jump(U.BPF_JA, 0, 0, 10);
    code.store(4, 8, 7, INSN_IMM);
    code.moveRegister(9, 7);
    code.shiftRight32(9);
    code.address(0, code.fdSlot(index));
    code.store(4, 0, 9, 0);
    code.jump(U.BPF_JNE, 9, 0, 2);
    code.storeImmediate(2, 8, INSN_OFF, 0);
    code.jump(U.BPF_JA, 0, 0, 1);
    code.storeImmediate(2, 8, INSN_OFF, index);
  }

  /** A slot of `fd_array`, or behind it once that is full. */
  #takeFDSlot(): number {
    if (this.#kernelBTFs === MAX_KFUNC_DESCS) return (this.#code.addZeros(4) - this.#code.fdArray) / 4;
    return FIRST_FD_OF_BTFS + this.#kernelBTFs++;
  }

  #typelessSymbol({ extern }: SymbolReference, insn: number, slot: SymbolSlot, isFirst: boolean): void {
    const code = this.#code;
    if (!isFirst) {
      code.blobToBlob(insn + INSN_IMM, 4, slot.insn + INSN_IMM);
      code.blobToBlob(insn + 8 + INSN_IMM, 4, slot.insn + 8 + INSN_IMM);
      return;
    }
    slot.typeless = true;
    const name = code.addString(extern.name);
    const result = code.addZeros(8);
    code.address(1, name.offset);
    code.moveImmediate(2, name.length);
    code.moveImmediate(3, 0);
    code.address(4, result);
    code.moveRegister(7, 4);
    code.call(U.BPF_FUNC_kallsyms_lookup_name);
    code.load(8, 9, 7, 0);
    code.moveRegister(7, 0);
    code.jump(U.BPF_JEQ, 7, -ENOENT, 1);
    code.checkError();
    code.store(4, 8, 9, INSN_IMM);
    code.shiftRight32(9);
    code.store(4, 8, 9, 8 + INSN_IMM);
  }

  #typedSymbol({ extern, kind }: SymbolReference, insn: number, slot: SymbolSlot, isFirst: boolean): void {
    const code = this.#code;
    if (isFirst) {
      this.#findByName(extern.name, kind);
      if (!extern.isWeak) code.checkError();
      code.jump(U.BPF_JSGE, 7, 0, 3);
      code.storeImmediate(4, 8, INSN_IMM, 0);
      code.storeImmediate(4, 8, 8 + INSN_IMM, 0);
      code.jump(U.BPF_JA, 0, 0, 4);
      code.store(4, 8, 7, INSN_IMM);
      code.shiftRight32(7);
      code.store(4, 8, 7, 8 + INSN_IMM);
      code.jump(U.BPF_JA, 0, 0, 3);
    } else {
      code.blobToBlob(insn + 8 + INSN_IMM, 4, slot.insn + 8 + INSN_IMM);
      code.blobToBlob(insn + INSN_IMM, 4, slot.insn + INSN_IMM);
      code.jump(U.BPF_JNE, 0, 0, 3);
    }
    // Not found: the load must no longer claim to be of a BTF id.
    code.load(1, 9, 8, INSN_REGS);
    code.emit(U.BPF_ALU | U.BPF_AND | U.BPF_K, 9, 0, 0, code.littleEndian ? 0x0f : 0xf0);
    code.store(1, 8, 9, INSN_REGS);
  }

  #closeSymbols(slots: readonly SymbolSlot[]): void {
    const code = this.#code;
    for (const slot of slots) {
      if (slot.isLoad) {
        if (!slot.typeless) code.closeBlob(slot.insn + 8 + INSN_IMM);
        continue;
      }
      code.closeBlob(code.fdSlot(slot.fdSlot));
      if (slot.fdSlot < FD_ARRAY_SLOTS) this.#kernelBTFs--;
    }
  }
}

function coreRecords(relocations: readonly ProgramRelocation[]): Uint32Array {
  const words = new Uint32Array((CORE_RELO_SIZE / 4) * relocations.length);
  let at = 0;
  for (const { core, instruction } of relocations) {
    if (core === undefined) continue;
    words[at] = 8 * instruction;
    words[at + 1] = core.typeID;
    words[at + 2] = core.access;
    words[at + 3] = core.kind;
    at += 4;
  }
  return words.subarray(0, at);
}

/** Maps that are created without key and value types. */
const WITHOUT_BTF: ReadonlySet<number> = new Set([
  U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, U.BPF_MAP_TYPE_CGROUP_ARRAY, U.BPF_MAP_TYPE_STACK_TRACE, U.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  U.BPF_MAP_TYPE_HASH_OF_MAPS, U.BPF_MAP_TYPE_DEVMAP, U.BPF_MAP_TYPE_DEVMAP_HASH, U.BPF_MAP_TYPE_CPUMAP, U.BPF_MAP_TYPE_XSKMAP,
  U.BPF_MAP_TYPE_SOCKMAP, U.BPF_MAP_TYPE_SOCKHASH, U.BPF_MAP_TYPE_QUEUE, U.BPF_MAP_TYPE_STACK, U.BPF_MAP_TYPE_ARENA,
]);
