/**
 * @module loader/metadata
 * What a light skeleton would install, read from the requests of a dry run: maps with sizes and first contents, programs with
 * their instructions after relocation, types, the symbols that are looked up, and an account of every byte of the metadata.
 * Owns the meaning of a loader's requests; the run itself is `dry-run.ts`. Needs no kernel.
 * Reproduces the reading side of the layout that `tools/lib/bpf/gen_loader.c` writes.
 */
import {
  BTF_LOAD_ATTR, COMMANDS, MAP_CREATE_ATTR, MAP_ELEM_ATTR, PROG_LOAD_ATTR, readInt, readLong, readName, type Field,
} from '../isa/attr.ts';
import { CORE_RELO } from '../isa/info.ts';
import { LD_IMM64 } from '../isa/instructions.ts';
import { latin1 } from '../isa/latin1.ts';
import * as U from '../isa/uapi.ts';
import { dryRun, type BlobWrite, type DryMemory, type DryRun, type LoaderRequest } from './dry-run.ts';
import { mapDescOffset, progDescOffset, type LightSkeleton } from './skeleton.ts';

/** A range of the metadata and what it is. `end` is exclusive. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  readonly what: string;
}

/** One element that the loader puts into a map. */
export interface DecodedElement {
  readonly key: Uint8Array;
  /** The bytes of the value; for a map of maps, empty. */
  readonly value: Uint8Array;
  /** For a map of maps: index in {@link Metadata.maps}. */
  readonly innerMap: number | undefined;
  /** Where in the metadata the value is. */
  readonly offset: number | undefined;
  /** The value comes from the process's memory, not from the metadata. */
  readonly fromProcess: boolean;
}

/** A map that the loader creates. */
export interface DecodedMap {
  /** Place in the context; `undefined` for the template of a map of maps. */
  readonly index: number | undefined;
  /** The skeleton's name, or the kernel's where it has none. */
  readonly name: string;
  /** `map_name`, at most 15 characters. */
  readonly kernelName: string;
  /** `BPF_MAP_TYPE_*` */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** `BPF_F_*` creation flags. */
  readonly flags: number;
  readonly mapExtra: bigint;
  readonly numaNode: number;
  readonly ifindex: number;
  readonly btfKeyTypeID: number;
  readonly btfValueTypeID: number;
  /** Index in {@link Metadata.maps} of the template. */
  readonly innerMap: number | undefined;
  readonly frozen: boolean;
  readonly elements: readonly DecodedElement[];
  /** The caller of the loader can choose `max_entries`. */
  readonly resizable: boolean;
}

/** A value that the loader puts into a program's instructions before it loads it. */
export interface DecodedRelocation {
  /** Index in {@link Metadata.programs}. */
  readonly program: number;
  /** Instruction slot. */
  readonly instruction: number;
  readonly kind: 'kfunc' | 'ksym' | 'ksym_typeless' | 'other';
  /** The symbol that is looked up; `""` for `other`. */
  readonly name: string;
}

/** A CO-RE relocation that the kernel performs at load. */
export interface DecodedCoreRelocation {
  readonly program: number;
  /** Instruction slot. */
  readonly instruction: number;
  readonly typeID: number;
  /** `BPF_CORE_*` */
  readonly kind: number;
  /** The accessor, e.g. `"0:1:0"`. */
  readonly access: string;
}

/** A program that the loader loads. */
export interface DecodedProgram {
  /** Place in the context, `undefined` where its fd is not handed out. */
  readonly index: number | undefined;
  readonly name: string;
  /** `prog_name`, at most 15 characters. */
  readonly kernelName: string;
  /** `BPF_PROG_TYPE_*` */
  readonly type: number;
  readonly expectedAttachType: number;
  /** `BPF_F_*` load flags. */
  readonly flags: number;
  readonly license: string;
  /** What is looked up in the kernel's types to attach to. */
  readonly attachTarget: { readonly name: string; readonly btfKind: number } | undefined;
  readonly attachBTFID: number;
  readonly ifindex: number;
  /** As passed to the load: relocated with the dry run's invented values. */
  readonly instructions: Uint8Array;
  /** As in the metadata. */
  readonly signedInstructions: Uint8Array;
  /** Instructions that name maps: slot, index in {@link Metadata.maps}, offset in the value where it points into one. */
  readonly mapReferences: readonly { readonly instruction: number; readonly map: number | undefined; readonly valueOffset: number | undefined }[];
  readonly functionInfoCount: number;
  readonly lineInfoCount: number;
  readonly hasBTF: boolean;
}

/** Everything that a loader's bytes tell. */
export interface Metadata {
  readonly maps: readonly DecodedMap[];
  readonly programs: readonly DecodedProgram[];
  readonly relocations: readonly DecodedRelocation[];
  readonly coreRelocations: readonly DecodedCoreRelocation[];
  /** Raw BTF of the payload. */
  readonly btf: Uint8Array | undefined;
  /** Strings that the loader passes to helpers, in order, each once. */
  readonly strings: readonly string[];
  readonly requests: readonly LoaderRequest[];
  /** Ranges of the metadata in order, padding included; they do not overlap. */
  readonly explained: readonly Segment[];
  readonly unexplained: readonly { readonly start: number; readonly end: number }[];
  /** Instruction slots of the loader that the dry run went through, and all of them. */
  readonly coverage: { readonly executed: number; readonly total: number; readonly cleanup: number };
  /** Why the dry run did not reach the loader's end; then what is above is only a part. */
  readonly stopped: string | undefined;
  readonly run: DryRun;
}

/**
 * Explains the metadata of a light skeleton.
 *
 * @example
 * decodeMetadata(parseLightSkeleton(bytes, file)).maps.map((map) => map.name);
 */
export function decodeMetadata(skeleton: LightSkeleton): Metadata {
  const decoder = new MetadataDecoder(skeleton);
  const run = dryRun(skeleton, (request, memory) => decoder.observe(request, memory));
  return decoder.finish(run);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface MapDraft extends Mutable<Omit<DecodedMap, 'elements'>> {
  readonly fd: number;
  readonly elements: DecodedElement[];
}

interface ProgramDraft extends Mutable<Omit<DecodedProgram, 'mapReferences'>> {
  readonly fd: number;
  readonly insnsOffset: number | undefined;
  readonly fdArray: Uint8Array | undefined;
  readonly coreRelos: Uint8Array;
  /** Number of the request, to tell which stores came before. */
  readonly requestIndex: number;
}

/** `fd_array` as `gen_loader.c` reserves it: 64 maps and 256 BTFs. */
const FD_ARRAY_SIZE = 4 * (64 + 256);
const MAX_LICENSE = 128;

class MetadataDecoder {
  readonly #skeleton: LightSkeleton;
  readonly #maps: MapDraft[] = [];
  readonly #programs: ProgramDraft[] = [];
  readonly #segments: Segment[] = [];
  readonly #found = new Map<number, { readonly name: string; readonly btfKind: number }>();
  readonly #addresses = new Map<number, string>();
  readonly #copied: { readonly offset: number; readonly size: number }[] = [];
  readonly #strings = new Set<string>();
  #btf: Uint8Array | undefined;
  #requests = 0;

  constructor(skeleton: LightSkeleton) {
    this.#skeleton = skeleton;
  }

  observe(request: LoaderRequest, memory: DryMemory): void {
    this.#requests++;
    switch (request.kind) {
      case 'bpf': return this.#command(request, memory);
      case 'find':
        this.#found.set(request.id, { name: request.name, btfKind: request.btfKind });
        return this.#string(request.nameOffset, request.nameSize, request.name, 'name to look up in the kernel\'s types');
      case 'kallsyms':
        this.#addresses.set(Number(BigInt.asUintN(32, request.address)), request.name);
        this.#segment(request.resultOffset, 8, `place for the address of ${request.name}`);
        return this.#string(request.nameOffset, request.nameSize, request.name, 'name to look up in kallsyms');
      case 'print': return this.#string(request.formatOffset, request.formatSize, request.format, 'format of a trace message');
      case 'copy':
        if (request.to !== undefined) this.#copied.push({ offset: request.to, size: request.size });
        return;
      case 'close':
    }
  }

  finish(run: DryRun): Metadata {
    this.#placeInContext(run);
    const relocations = this.#programs.flatMap((_, index) => this.#relocations(index, run.writes));
    for (const write of run.writes) this.#explainSlot(write);
    const { explained, unexplained } = this.#account();
    return {
      maps: this.#maps,
      programs: this.#programs.map((program) => ({ ...program, mapReferences: this.#mapReferences(program) })),
      relocations,
      coreRelocations: this.#programs.flatMap((_, index) => this.#coreRelocations(index)),
      btf: this.#btf,
      strings: [...this.#strings],
      requests: run.requests,
      explained,
      unexplained,
      coverage: coverage(run, this.#skeleton.instructions),
      stopped: run.stopped ?? (run.retval === 0n ? undefined : `the loader returns ${BigInt.asIntN(32, run.retval ?? 0n)} without any call having failed`),
      run,
    };
  }

  #segment(start: number | undefined, size: number, what: string): void {
    if (start !== undefined && size > 0) this.#segments.push({ start, end: start + size, what });
  }

  #string(offset: number | undefined, size: number, text: string, what: string): void {
    this.#strings.add(text);
    this.#segment(offset, size, `${what}: "${text}"`);
  }

  /** Reads what a pointer field points at and notes where it is. */
  #pointed(memory: DryMemory, attr: DataView, field: Field<'ptr'>, size: number, what: string): { bytes: Uint8Array; offset: number | undefined } | undefined {
    const read = field.offset + 8 <= attr.byteLength ? memory.read(readLong(attr, 0, field), size) : undefined;
    if (read === undefined) return undefined;
    this.#segment(read.blobOffset, size, what);
    return { bytes: read.bytes, offset: read.blobOffset };
  }

  #command(request: LoaderRequest & { kind: 'bpf' }, memory: DryMemory): void {
    // A short attr reads as zeros beyond its size, as in the kernel.
    const bytes = new Uint8Array(168);
    bytes.set(request.attr.subarray(0, 168));
    const attr = new DataView(bytes.buffer);
    this.#segment(request.attrOffset, request.size, `arguments of ${COMMANDS[request.cmd]?.name ?? request.cmd}`);
    switch (request.cmd) {
      case U.BPF_MAP_CREATE: return this.#mapCreate(request, attr);
      case U.BPF_MAP_UPDATE_ELEM: return this.#mapUpdate(attr, memory);
      case U.BPF_MAP_FREEZE: {
        const map = this.#mapOf(readInt(attr, 0, MAP_ELEM_ATTR.map_fd));
        if (map !== undefined) map.frozen = true;
        return;
      }
      case U.BPF_BTF_LOAD: {
        const btf = this.#pointed(memory, attr, BTF_LOAD_ATTR.btf, readInt(attr, 0, BTF_LOAD_ATTR.btf_size), 'types (BTF)');
        this.#btf ??= btf?.bytes;
        return;
      }
      case U.BPF_PROG_LOAD: return this.#progLoad(request, attr, memory);
      default:
    }
  }

  #mapOf(fd: number): MapDraft | undefined {
    return this.#maps.find((map) => map.fd === fd);
  }

  #mapCreate(request: LoaderRequest & { kind: 'bpf' }, attr: DataView): void {
    const innerFD = readInt(attr, 0, MAP_CREATE_ATTR.inner_map_fd);
    const inner = this.#maps.findIndex((map) => map.fd === innerFD);
    const kernelName = readName(attr, 0, MAP_CREATE_ATTR.map_name);
    this.#maps.push({
      fd: request.result,
      index: undefined,
      name: kernelName,
      kernelName,
      type: readInt(attr, 0, MAP_CREATE_ATTR.map_type),
      keySize: readInt(attr, 0, MAP_CREATE_ATTR.key_size),
      valueSize: readInt(attr, 0, MAP_CREATE_ATTR.value_size),
      maxEntries: readInt(attr, 0, MAP_CREATE_ATTR.max_entries),
      flags: readInt(attr, 0, MAP_CREATE_ATTR.map_flags),
      mapExtra: readLong(attr, 0, MAP_CREATE_ATTR.map_extra),
      numaNode: readInt(attr, 0, MAP_CREATE_ATTR.numa_node),
      ifindex: readInt(attr, 0, MAP_CREATE_ATTR.map_ifindex),
      btfKeyTypeID: readInt(attr, 0, MAP_CREATE_ATTR.btf_key_type_id),
      btfValueTypeID: readInt(attr, 0, MAP_CREATE_ATTR.btf_value_type_id),
      innerMap: innerFD !== 0 && inner >= 0 ? inner : undefined,
      frozen: false,
      elements: [],
      resizable: false,
    });
  }

  #mapUpdate(attr: DataView, memory: DryMemory): void {
    const map = this.#mapOf(readInt(attr, 0, MAP_ELEM_ATTR.map_fd));
    if (map === undefined) return;
    const key = this.#pointed(memory, attr, MAP_ELEM_ATTR.key, map.keySize, `key in ${map.kernelName}`);
    const isOuter = map.type === U.BPF_MAP_TYPE_ARRAY_OF_MAPS || map.type === U.BPF_MAP_TYPE_HASH_OF_MAPS;
    if (isOuter) {
      const fd = memory.read(readLong(attr, 0, MAP_ELEM_ATTR.value), 4);
      const inner = fd === undefined ? -1 : this.#maps.findIndex((candidate) => candidate.fd === viewOf(fd.bytes).getInt32(0, true));
      map.elements.push({
        key: key?.bytes ?? new Uint8Array(0), value: new Uint8Array(0), innerMap: inner >= 0 ? inner : undefined, offset: undefined, fromProcess: false,
      });
      return;
    }
    const value = this.#pointed(memory, attr, MAP_ELEM_ATTR.value, map.valueSize, `first contents of ${map.kernelName}`);
    const fromProcess = this.#copied.some((copy) => copy.offset === value?.offset);
    map.elements.push({
      key: key?.bytes ?? new Uint8Array(0), value: value?.bytes ?? new Uint8Array(0), innerMap: undefined, offset: value?.offset, fromProcess,
    });
  }

  #progLoad(request: LoaderRequest & { kind: 'bpf' }, attr: DataView, memory: DryMemory): void {
    const kernelName = readName(attr, 0, PROG_LOAD_ATTR.prog_name);
    const records = (pointer: Field<'ptr'>, count: Field<'u32'>, size: Field<'u32'>, what: string): Uint8Array =>
      this.#pointed(memory, attr, pointer, readInt(attr, 0, count) * readInt(attr, 0, size), `${what} of ${kernelName}`)?.bytes ?? new Uint8Array(0);
    const insns = this.#pointed(memory, attr, PROG_LOAD_ATTR.insns, 8 * readInt(attr, 0, PROG_LOAD_ATTR.insn_cnt), `instructions of ${kernelName}`);
    const attachBTFID = readInt(attr, 0, PROG_LOAD_ATTR.attach_btf_id);
    records(PROG_LOAD_ATTR.func_info, PROG_LOAD_ATTR.func_info_cnt, PROG_LOAD_ATTR.func_info_rec_size, 'function info');
    records(PROG_LOAD_ATTR.line_info, PROG_LOAD_ATTR.line_info_cnt, PROG_LOAD_ATTR.line_info_rec_size, 'line info');
    const insnsEnd = (insns?.offset ?? 0) + (insns?.bytes.length ?? 0);
    this.#programs.push({
      fd: request.result,
      index: undefined,
      name: kernelName,
      kernelName,
      type: readInt(attr, 0, PROG_LOAD_ATTR.prog_type),
      expectedAttachType: readInt(attr, 0, PROG_LOAD_ATTR.expected_attach_type),
      flags: readInt(attr, 0, PROG_LOAD_ATTR.prog_flags),
      license: this.#license(attr, memory, kernelName),
      attachTarget: this.#found.get(attachBTFID),
      attachBTFID,
      ifindex: readInt(attr, 0, PROG_LOAD_ATTR.prog_ifindex),
      instructions: insns?.bytes ?? new Uint8Array(0),
      signedInstructions: insns?.offset === undefined ? new Uint8Array(0) : this.#skeleton.metadata.slice(insns.offset, insnsEnd),
      insnsOffset: insns?.offset,
      fdArray: this.#pointed(memory, attr, PROG_LOAD_ATTR.fd_array, FD_ARRAY_SIZE, 'places for file descriptors (fd_array)')?.bytes,
      coreRelos: records(PROG_LOAD_ATTR.core_relos, PROG_LOAD_ATTR.core_relo_cnt, PROG_LOAD_ATTR.core_relo_rec_size, 'CO-RE relocations'),
      functionInfoCount: readInt(attr, 0, PROG_LOAD_ATTR.func_info_cnt),
      lineInfoCount: readInt(attr, 0, PROG_LOAD_ATTR.line_info_cnt),
      hasBTF: readInt(attr, 0, PROG_LOAD_ATTR.prog_btf_fd) !== 0,
      requestIndex: this.#requests,
    });
  }

  #license(attr: DataView, memory: DryMemory, kernelName: string): string {
    const address = readLong(attr, 0, PROG_LOAD_ATTR.license);
    let text = '';
    for (let i = 0; i < MAX_LICENSE; i++) {
      const byte = memory.read(address + BigInt(i), 1);
      if (byte === undefined || byte.bytes[0] === 0 || byte.bytes[0] === undefined) break;
      text += String.fromCharCode(byte.bytes[0]);
    }
    this.#pointed(memory, attr, PROG_LOAD_ATTR.license, text.length + 1, `licence of ${kernelName}: "${text}"`);
    return text;
  }

  /** The context after the run tells which fd is which of the skeleton's names. */
  #placeInContext(run: DryRun): void {
    const { maps, programs } = this.#skeleton;
    const context = viewOf(run.context);
    const finished = run.stopped === undefined && run.retval === 0n;
    for (const [index, { name }] of maps.entries()) {
      const map = finished ? this.#mapOf(context.getInt32(mapDescOffset(index), true)) : undefined;
      if (map === undefined) continue;
      map.index = index;
      map.name = name;
      map.resizable = this.#readsMaxEntries(index);
    }
    for (const [index, { name }] of programs.entries()) {
      const offset = progDescOffset(maps.length, index);
      const fd = finished && offset + 4 <= context.byteLength ? context.getInt32(offset, true) : 0;
      const program = this.#programs.find((candidate) => candidate.fd === fd);
      if (program === undefined) continue;
      program.index = index;
      program.name = name;
    }
  }

  /** `r0 = *(u32 *)(r6 + offset of max_entries)`: an unsigned loader asks the context for each size. */
  #readsMaxEntries(index: number): boolean {
    const { instructions } = this.#skeleton;
    const view = viewOf(instructions);
    const wanted = mapDescOffset(index) + 4;
    for (let at = 0; at < instructions.length; at += 8) {
      if (view.getUint8(at) === (U.BPF_LDX | U.BPF_MEM | U.BPF_W) && view.getUint8(at + 1) >> 4 === 6 && view.getInt16(at + 2, true) === wanted) return true;
    }
    return false;
  }

  #relocations(index: number, writes: readonly BlobWrite[]): DecodedRelocation[] {
    const program = this.#programs[index];
    if (program?.insnsOffset === undefined) return [];
    const start = program.insnsOffset;
    const end = start + program.instructions.length;
    const found = new Map<number, DecodedRelocation>();
    for (const write of writes) {
      if (write.offset < start || write.offset >= end) continue;
      const instruction = Math.floor((write.offset - start) / 8);
      const symbol = this.#symbol(write);
      if (symbol !== undefined) found.set(instruction, { program: index, instruction, ...symbol });
      else if (!found.has(instruction) && !found.has(instruction - 1)) found.set(instruction, { program: index, instruction, kind: 'other', name: '' });
    }
    return [...found.values()].sort((a, b) => a.instruction - b.instruction);
  }

  #symbol(write: BlobWrite): { readonly kind: DecodedRelocation['kind']; readonly name: string } | undefined {
    const value = Number(BigInt.asUintN(32, write.value));
    const found = this.#found.get(value);
    if (found !== undefined) return { kind: found.btfKind === U.BTF_KIND_FUNC ? 'kfunc' : 'ksym', name: found.name };
    const name = this.#addresses.get(value);
    return name === undefined ? undefined : { kind: 'ksym_typeless', name };
  }

  #coreRelocations(index: number): DecodedCoreRelocation[] {
    const bytes = this.#programs[index]?.coreRelos ?? new Uint8Array(0);
    const view = viewOf(bytes);
    const list: DecodedCoreRelocation[] = [];
    for (let at = 0; at + 16 <= bytes.length; at += 16) {
      list.push({
        program: index,
        instruction: readInt(view, at, CORE_RELO.insn_off) / 8,
        typeID: readInt(view, at, CORE_RELO.type_id),
        kind: readInt(view, at, CORE_RELO.kind),
        access: btfString(this.#btf, readInt(view, at, CORE_RELO.access_str_off)),
      });
    }
    return list;
  }

  #mapReferences(program: ProgramDraft): DecodedProgram['mapReferences'] {
    const references: { instruction: number; map: number | undefined; valueOffset: number | undefined }[] = [];
    const view = viewOf(program.instructions);
    for (let at = 0; at + 16 <= program.instructions.length; at += 8) {
      if (view.getUint8(at) !== LD_IMM64) continue;
      const source = view.getUint8(at + 1) >> 4;
      if (source === U.BPF_PSEUDO_MAP_IDX || source === U.BPF_PSEUDO_MAP_IDX_VALUE) {
        const slot = 4 * view.getUint32(at + 4, true);
        const fd = program.fdArray !== undefined && slot + 4 <= program.fdArray.length ? viewOf(program.fdArray).getInt32(slot, true) : -1;
        const map = this.#maps.findIndex((candidate) => candidate.fd === fd);
        references.push({
          instruction: at / 8,
          map: map >= 0 ? map : undefined,
          valueOffset: source === U.BPF_PSEUDO_MAP_IDX_VALUE ? view.getUint32(at + 12, true) : undefined,
        });
      }
      at += 8;
    }
    return references;
  }

  /** A store outside everything else is a slot that the generator set aside (more than 256 kernel functions). */
  #explainSlot(write: BlobWrite): void {
    if (this.#segments.some((segment) => write.offset >= segment.start && write.offset < segment.end)) return;
    this.#segment(write.offset, write.size, 'place that the loader writes');
  }

  /** Sorts, joins and pads the ranges; what is left over is unexplained. */
  #account(): { explained: Segment[]; unexplained: { start: number; end: number }[] } {
    const { metadata } = this.#skeleton;
    const explained: Segment[] = [];
    const unexplained: { start: number; end: number }[] = [];
    let at = 0;
    const gap = (end: number): void => {
      if (end <= at) return;
      // The generator fills every piece up to a multiple of eight with zeros.
      const aligned = Math.min(Math.ceil(at / 8) * 8, end);
      const isPadded = aligned > at && metadata.subarray(at, aligned).every((byte) => byte === 0);
      if (isPadded) explained.push({ start: at, end: aligned, what: 'padding' });
      const start = isPadded ? aligned : at;
      if (start < end) unexplained.push({ start, end });
    };
    for (const segment of this.#segments.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
      if (segment.end <= at) continue;
      gap(Math.min(segment.start, metadata.length));
      const start = Math.max(segment.start, at);
      explained.push({ start, end: segment.end, what: segment.what });
      at = segment.end;
    }
    gap(metadata.length);
    return { explained, unexplained };
  }
}

function coverage(run: DryRun, instructions: Uint8Array): Metadata['coverage'] {
  const executed = run.executed.reduce((sum, ran) => sum + ran, 0);
  return { executed, total: instructions.length / 8, cleanup: cleanupLength(instructions) };
}

/** Instructions of the block that closes everything after an error: what the jump at the start goes over. */
function cleanupLength(instructions: Uint8Array): number {
  const view = viewOf(instructions);
  for (let at = 0; at < Math.min(instructions.length, 128); at += 8) {
    if (view.getUint8(at) === (U.BPF_JMP | U.BPF_JA)) return Math.max(0, view.getInt16(at + 2, true));
  }
  return 0;
}

/** A string of raw BTF by offset; `""` where the BTF cannot be read that far. */
function btfString(btf: Uint8Array | undefined, offset: number): string {
  if (btf === undefined || btf.length < 24) return '';
  const view = viewOf(btf);
  const start = view.getUint32(4, true) + view.getUint32(16, true) + offset;
  const end = btf.indexOf(0, start);
  return end < 0 || start > btf.length ? '' : latin1(btf.subarray(start, Math.min(end, start + 1024)));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
