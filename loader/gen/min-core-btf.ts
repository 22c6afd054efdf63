/**
 * @module loader/gen/min-core-btf
 * The part of a kernel's types that the CO-RE relocations of some objects need, as a BTF of its own: for kernels that have none, shipped
 * with the objects. The same bytes as `bpftool gen min_core_btf` writes. Owns which types and members are needed; what a relocation matches
 * is `btf/core.ts`. Reproduces `minimize_btf` of `tools/bpf/bpftool/gen.c` of Linux 7.3.
 */
import { BTF } from '../../btf/btf.ts';
import { littleEndianBTF } from '../../btf/byte-order.ts';
import { resolveCoreRelocation, type CoreCandidate, type CoreReporter, type CoreResult } from '../../btf/core.ts';
import { rewriteNames, rewriteTypeIDs } from '../../btf/references.ts';
import { findTypeSections } from '../../btf/type-sections.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { parseObjectBTFExt, recordsOf, type ObjectBTFExt } from '../object/btf-ext.ts';
import { ObjectBTF, typeInfo } from '../object/btf-object.ts';
import { findLocalCandidates } from '../object/kernel-references.ts';

/** Types nested in one another that libbpf compares. */
const CORE_DEPTH = 32;
const MAX_DEPTH = 1024;

/** One object whose relocations are to work. */
export interface CoreObject {
  readonly file: string;
  readonly bytes: Uint8Array;
}

/**
 * The types that the objects' relocations need.
 *
 * @param kernel raw BTF of the kernel, of either byte order
 * @returns little-endian BTF
 * @throws InputError naming file, section and reason
 *
 * @example
 * writeFileSync('min.btf', minCoreBTF(readFileSync('/sys/kernel/btf/vmlinux'), 'vmlinux', [{ file: 'a.bpf.o', bytes }]));
 */
export function minCoreBTF(kernel: Uint8Array, kernelFile: string, objects: readonly CoreObject[]): Uint8Array {
  const source = BTF.parse(littleEndianBTF(plainView(kernel)), { name: kernelFile });
  const needed = new NeededTypes(source, kernelFile);
  for (const { file, bytes } of objects) recordObject({ file, bytes: plainView(bytes) }, source, needed);
  return new MinimalBTF(source, needed, kernelFile).encode();
}

/** A Buffer's `slice` shares memory, a plain view's copies. */
function plainView({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

// --- what the objects ask for

interface RelocatedObject {
  readonly btf: BTF;
  readonly ext: ObjectBTFExt;
}

/** As libbpf's `btf__parse` reads it: nothing is asked of an object but its types and their relocations. */
function readObject({ file, bytes }: CoreObject): RelocatedObject {
  const plain = plainView(bytes);
  const isELF = plain[0] === 0x7f && plain[1] === 0x45 && plain[2] === 0x4c && plain[3] === 0x46;
  const source = { size: plain.length, read: (offset: number, length: number): Uint8Array => plain.subarray(offset, offset + length) };
  const { bytes: types, ext } = isELF ? findTypeSections(source, plain.subarray(0, 64), file) : { bytes: plain, ext: undefined };
  // libbpf refuses what refers to no string or type before it reads the rest.
  void new ObjectBTF(types, file);
  if (ext === undefined) throw new InputError(file, '', `failed to parse BPF object '${file}': section .BTF.ext not found`);
  return { btf: BTF.parse(littleEndianBTF(types), { name: file }), ext: parseObjectBTFExt(ext, file) };
}

function recordObject(object: CoreObject, source: BTF, needed: NeededTypes): void {
  const { btf, ext } = readObject(object);
  const known = new Map<string, readonly CoreCandidate[]>();
  for (const relocations of ext.relocations.sections) {
    const section = btf.stringAt(relocations.nameOffset) ?? '';
    for (const [index, record] of recordsOf(relocations).entries()) {
      const [instructionOffset = 0, typeID = 0, accessStringOffset = 0, kind = 0] = record;
      let warning = '';
      const fail = (error: number): never => {
        throw new InputError(object.file, `section ${section}`, `error recording relocations: ${warning === '' ? `relo #${index}: ${error}` : warning.trimEnd()}`);
      };
      const warn = (text: string): void => {
        warning = text;
      };
      const reporter: CoreReporter = { programName: section, warn, debug: () => {}, maxDepth: CORE_DEPTH, isUserSpace: true };
      if (!btf.has(typeID)) fail(-22);
      const candidates = kind === U.BPF_CORE_TYPE_ID_LOCAL ? [] : findLocalCandidates(btf, typeID, source, known);
      const result: CoreResult | number = resolveCoreRelocation(btf, { instructionOffset, typeID, accessStringOffset, kind }, index, candidates, reporter);
      if (typeof result === 'number') return fail(result);
      if (result.target !== undefined) needed.record(kind, result.target);
    }
  }
}

// --- what that means for the kernel's types

class NeededTypes {
  readonly types = new Set<number>();
  /** Members by struct. */
  readonly members = new Map<number, Set<number>>();
  readonly #btf: BTF;
  readonly #file: string;
  #depth = 0;

  constructor(btf: BTF, file: string) {
    this.#btf = btf;
    this.#file = file;
  }

  record(kind: number, { rootTypeID, path }: { readonly rootTypeID: number; readonly path: readonly number[] }): void {
    switch (kind) {
      case U.BPF_CORE_TYPE_ID_TARGET: case U.BPF_CORE_TYPE_EXISTS: case U.BPF_CORE_TYPE_SIZE: this.#mark(rootTypeID, true); return;
      case U.BPF_CORE_TYPE_MATCHES: this.#markMatch(rootTypeID, false); return;
      case U.BPF_CORE_ENUMVAL_EXISTS: case U.BPF_CORE_ENUMVAL_VALUE: this.#mark(rootTypeID, false); return;
      default: this.#recordField(rootTypeID, path);
    }
  }

  #unsupported(id: number): never {
    throw new InputError(this.#file, `type ${id}`, `unsupported kind: ${this.#btf.kind(id)} (${id})`);
  }

  #deeper(id: number, work: () => void): void {
    if (this.#depth >= MAX_DEPTH) throw new InputError(this.#file, `type ${id}`, `more than ${MAX_DEPTH} types inside one another`);
    this.#depth++;
    work();
    this.#depth--;
  }

  #markMember(struct: number, index: number): void {
    const members = this.members.get(struct) ?? new Set();
    this.members.set(struct, members.add(index));
  }

  /** A type and what it cannot do without; members of structs are chosen one by one. */
  #mark(id: number, followPointers: boolean): void {
    if (id === 0) return;
    const btf = this.#btf;
    this.types.add(id);
    this.#deeper(id, () => {
      switch (btf.kind(id)) {
        case U.BTF_KIND_INT: case U.BTF_KIND_FLOAT: case U.BTF_KIND_ENUM: case U.BTF_KIND_ENUM64: case U.BTF_KIND_STRUCT: case U.BTF_KIND_UNION: return;
        case U.BTF_KIND_PTR:
          if (followPointers) this.#mark(btf.type(id), true);
          return;
        case U.BTF_KIND_CONST: case U.BTF_KIND_RESTRICT: case U.BTF_KIND_VOLATILE: case U.BTF_KIND_TYPEDEF: this.#mark(btf.type(id), followPointers); return;
        case U.BTF_KIND_ARRAY:
          this.#mark(btf.arrayElementType(id), followPointers);
          this.#mark(btf.arrayIndexType(id), followPointers);
          return;
        case U.BTF_KIND_FUNC_PROTO:
          this.#mark(btf.type(id), followPointers);
          for (const { type } of btf.params(id)) this.#mark(type, followPointers);
          return;
        default: this.#unsupported(id);
      }
    });
  }

  #recordField(root: number, path: readonly number[]): void {
    const btf = this.#btf;
    this.#mark(root, false);
    let id = root;
    for (const index of path.slice(1)) {
      id = btf.skipModifiers(id);
      if (btf.isStructOrUnion(id)) {
        this.#markMember(id, index);
        id = btf.memberType(id, index);
        this.#mark(id, false);
      } else if (btf.kind(id) === U.BTF_KIND_ARRAY) {
        id = btf.arrayElementType(id);
      } else {
        this.#unsupported(id);
      }
    }
  }

  /** A type with all its members, down to pointers to structs. */
  #markMatch(id: number, behindPointer: boolean): void {
    if (id === 0) return;
    const btf = this.#btf;
    this.types.add(id);
    this.#deeper(id, () => {
      switch (btf.kind(id)) {
        case U.BTF_KIND_INT: case U.BTF_KIND_FLOAT: case U.BTF_KIND_ENUM: case U.BTF_KIND_ENUM64: return;
        case U.BTF_KIND_STRUCT: case U.BTF_KIND_UNION:
          if (behindPointer) return;
          for (const [index, { type }] of btf.members(id).entries()) {
            this.#markMember(id, index);
            this.#markMatch(type, false);
          }
          return;
        case U.BTF_KIND_FWD: return;
        case U.BTF_KIND_CONST: case U.BTF_KIND_RESTRICT: case U.BTF_KIND_VOLATILE: case U.BTF_KIND_TYPEDEF: this.#markMatch(btf.type(id), behindPointer); return;
        case U.BTF_KIND_PTR: this.#markMatch(btf.type(id), true); return;
        case U.BTF_KIND_ARRAY:
          this.#markMatch(btf.arrayElementType(id), false);
          this.#markMatch(btf.arrayIndexType(id), false);
          return;
        case U.BTF_KIND_FUNC_PROTO:
          this.#markMatch(btf.type(id), false);
          for (const { type } of btf.params(id)) this.#markMatch(type, false);
          return;
        default: this.#unsupported(id);
      }
    });
  }
}

// --- the types that are written

class MinimalBTF {
  readonly #source: BTF;
  readonly #needed: NeededTypes;
  readonly #result: ObjectBTF;
  readonly #file: string;

  constructor(source: BTF, needed: NeededTypes, file: string) {
    this.#source = source;
    this.#needed = needed;
    this.#file = file;
    this.#result = ObjectBTF.empty(file, true);
  }

  encode(): Uint8Array {
    const ids = new Map<number, number>([[0, 0]]);
    for (const id of [...this.#needed.types].toSorted((a, b) => a - b)) ids.set(id, this.#source.isStructOrUnion(id) ? this.#addStruct(id) : this.#addType(id));
    this.#renumber(ids);
    return this.#result.encode();
  }

  #string(offset: number): number {
    if (offset === 0) return 0;
    const text = this.#source.stringAt(offset);
    if (text === undefined) throw new InputError(this.#file, `string ${offset}`, 'the offset lies beyond the strings');
    return this.#result.addString(text);
  }

  /** With the members that are needed; it has bit fields where one of those is one. */
  #addStruct(id: number): number {
    const source = this.#source;
    const words = [this.#string(source.nameOffset(id)), 0, source.size(id)];
    let hasBitFields = false;
    const members = [...this.#needed.members.get(id) ?? []].toSorted((a, b) => a - b);
    for (const index of members) {
      const bits = source.memberBitfieldSize(id, index);
      const offset = source.memberBitOffset(id, index);
      hasBitFields ||= bits > 0 || offset % 8 !== 0;
      words.push(this.#string(source.memberNameOffset(id, index)), source.memberType(id, index), (offset | (bits << 24)) >>> 0);
    }
    words[1] = typeInfo(source.kind(id), members.length, hasBitFields);
    return this.#result.addType(...words);
  }

  #addType(id: number): number {
    const source = this.#source;
    const start = source.wordOffset(id);
    const end = id + 1 < source.endID ? source.wordOffset(id + 1) : source.words.length;
    const words = source.words.slice(start, end);
    rewriteNames(words, (offset) => this.#string(offset));
    return this.#result.addType(...words);
  }

  /** Types that are not needed become void. */
  #renumber(ids: ReadonlyMap<number, number>): void {
    const result = this.#result;
    for (let id = 1; id < result.count; id++) rewriteTypeIDs(result.type(id), (target) => ids.get(target) ?? 0);
  }
}
