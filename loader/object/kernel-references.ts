/**
 * @module loader/object/kernel-references
 * What an object refers to in a running kernel: CO-RE relocations against its types, kernel functions and variables, attach targets.
 * Reproduces the parts of `tools/lib/bpf/libbpf.c` that resolve them before a load (`bpf_object__resolve_ksyms_btf_id`,
 * `bpf_core_resolve_relo`, `find_kernel_btf_id`), with their messages. Does not load anything.
 */
import { BTF } from '../../btf/btf.ts';
import { essentialNameLength, resolveCoreRelocation, type CoreCandidate, type CoreReporter } from '../../btf/core.ts';
import { findCoreCandidates } from '../../btf/core_apply.ts';
import { patchCoreInstruction } from '../../btf/core_patch.ts';
import { ESRCH } from '../../isa/errno.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { recordsOf } from './btf-ext.ts';
import type { BPFObject, Extern, ObjectProgram } from './model.ts';
import { writeImmediate, writeSource } from './open.ts';
import type { JumpTable, ReferenceWriter } from './relocate.ts';
import { attachTargetLookup } from './section-defs.ts';

/** Types nested in one another that libbpf compares. */
const CORE_DEPTH = 32;
/** Helpers that do not exist: what an unresolved weak call becomes. */
const POISON_CALL = 2_002_000_000;

/** The kernel as far as names go. */
export interface KernelNames {
  /** Its types; without them nothing can be looked up. */
  readonly btf: BTF | undefined;
  /** Address of a symbol as lo and hi words (kallsyms). */
  symbol(name: string): readonly [lo: number, hi: number] | undefined;
}

function isEnum(kind: number): boolean {
  return kind === U.BTF_KIND_ENUM || kind === U.BTF_KIND_ENUM64;
}

/** Performs the CO-RE relocations of every function, before subprograms are appended (`bpf_object__relocate_core`). */
export class CoreRelocator {
  readonly #object: BPFObject;
  readonly #kernel: KernelNames;
  readonly #warn: (text: string) => void;
  readonly #candidates = new Map<string, readonly CoreCandidate[]>();

  constructor(object: BPFObject, kernel: KernelNames, warn: (text: string) => void) {
    this.#object = object;
    this.#kernel = kernel;
    this.#warn = warn;
  }

  /** @throws InputError where a relocation cannot be performed */
  relocate(): void {
    const { btf: objectBTF, ext, elf, file } = this.#object;
    if (objectBTF === undefined || ext === undefined || ext.relocations.sections.length === 0) return;
    const local = BTF.parse(objectBTF.encode(), { name: file });
    for (const relocations of ext.relocations.sections) {
      const name = objectBTF.string(relocations.nameOffset);
      const section = elf.sections.find((candidate) => candidate.index > 0 && candidate.name === name)?.index ?? 0;
      for (const [index, record] of recordsOf(relocations).entries()) this.#one(local, section, record, index);
    }
  }

  #one(local: BTF, section: number, record: Uint32Array, index: number): void {
    const [instructionOffset = 0, typeID = 0, accessStringOffset = 0, kind = 0] = record;
    const slot = instructionOffset / 8;
    const program = this.#object.programs.find(({ sectionIndex, sectionOffset, ownLength }) =>
      sectionIndex === section && slot >= sectionOffset && slot < sectionOffset + ownLength);
    if (program === undefined || !program.autoload) return;
    const fail = (error: number): never => {
      throw new InputError(this.#object.file, `section ${program.sectionName}`, `prog '${program.name}': relo #${index}: failed to relocate: ${error}`);
    };
    const warn = this.#warn;
    const reporter: CoreReporter = { programName: program.name, warn, debug: () => {}, maxDepth: CORE_DEPTH, isUserSpace: true };
    const relo = { instructionOffset, typeID, accessStringOffset, kind };
    if (!local.has(typeID)) fail(-22);
    const candidates = kind === U.BPF_CORE_TYPE_ID_LOCAL ? [] : this.#find(local, typeID);
    const result = resolveCoreRelocation(local, relo, index, candidates, reporter);
    if (typeof result === 'number') return fail(result);
    const own = slot - program.sectionOffset;
    const error = patchCoreInstruction(program.instructions, 8 * own, own, index, result, reporter);
    if (error !== 0) fail(error);
  }

  #find(local: BTF, typeID: number): readonly CoreCandidate[] {
    const { btf } = this.#kernel;
    return btf === undefined ? [] : findLocalCandidates(local, typeID, btf, this.#candidates);
  }
}

/** Types of a kernel that a type of the object could be (`bpf_core_add_cands`); `known` keeps what was found before. */
export function findLocalCandidates(local: BTF, typeID: number, target: BTF, known: Map<string, readonly CoreCandidate[]>): readonly CoreCandidate[] {
  const full = local.typeName(typeID);
  if (full === '') return [];
  const name = full.slice(0, essentialNameLength(full));
  const kind = local.kind(typeID);
  const key = `${isEnum(kind) ? 'enum' : kind} ${name}`;
  let candidates = known.get(key);
  if (candidates === undefined) {
    candidates = findCoreCandidates(target, name, (other) => other === kind || (isEnum(other) && isEnum(kind)));
    known.set(key, candidates);
  }
  return candidates;
}

/** Writes descriptors of maps and ids of kernel symbols. */
export class KernelReferenceWriter implements ReferenceWriter {
  readonly #object: BPFObject;
  readonly #kernel: KernelNames;
  readonly #mapFDs: readonly number[];

  readonly jumpTable: (instructions: Uint8Array, slot: number, table: JumpTable) => void;

  /** @param createJumpTable makes the map of a table; its descriptor */
  constructor(object: BPFObject, kernel: KernelNames, mapFDs: readonly number[], createJumpTable: (targets: readonly number[]) => number) {
    this.#object = object;
    this.#kernel = kernel;
    this.#mapFDs = mapFDs;
    const tables = new Map<number, number>();
    this.jumpTable = (instructions, slot, { offset, targets }) => {
      const fd = tables.get(offset) ?? createJumpTable(targets);
      tables.set(offset, fd);
      writeSource(instructions, slot, U.BPF_PSEUDO_MAP_VALUE);
      writeImmediate(instructions, slot, fd);
    };
  }

  map(instructions: Uint8Array, slot: number, mapIndex: number): void {
    writeSource(instructions, slot, U.BPF_PSEUDO_MAP_FD);
    writeImmediate(instructions, slot, this.#mapFDs[mapIndex] ?? -1);
  }

  mapValue(instructions: Uint8Array, slot: number, mapIndex: number): void {
    writeSource(instructions, slot, U.BPF_PSEUDO_MAP_VALUE);
    writeImmediate(instructions, slot, this.#mapFDs[mapIndex] ?? -1);
  }

  symbol(instructions: Uint8Array, slot: number, extern: Extern): void {
    const isVariable = this.#object.btf?.kind(extern.btfID) === U.BTF_KIND_VAR;
    const id = extern.typeID === 0 ? 0 : this.#find(extern, isVariable ? U.BTF_KIND_VAR : U.BTF_KIND_FUNC);
    if (id > 0) {
      writeSource(instructions, slot, U.BPF_PSEUDO_BTF_ID);
      writeImmediate(instructions, slot, id);
      writeImmediate(instructions, slot + 1, 0);
      return;
    }
    const [lo, hi] = extern.typeID === 0 ? this.#address(extern) : [0, 0];
    writeImmediate(instructions, slot, lo);
    writeImmediate(instructions, slot + 1, hi);
  }

  kernelCall(instructions: Uint8Array, slot: number, extern: Extern): void {
    const id = this.#find(extern, U.BTF_KIND_FUNC);
    if (id > 0) {
      writeImmediate(instructions, slot, id);
      instructions.fill(0, 8 * slot + 2, 8 * slot + 4);
      return;
    }
    instructions.fill(0, 8 * slot + 1, 8 * slot + 4);
    writeImmediate(instructions, slot, POISON_CALL + this.#object.externs.indexOf(extern));
  }

  #address(extern: Extern): readonly [lo: number, hi: number] {
    const address = this.#kernel.symbol(extern.name);
    if (address === undefined && !extern.isWeak) this.#missing(`extern '${extern.name}' (strong): not resolved`);
    return address ?? [0, 0];
  }

  /** The id in the kernel's types; 0 for a weak symbol that is not there. */
  #find(extern: Extern, kind: number): number {
    const name = extern.name.slice(0, essentialNameLength(extern.name));
    const id = this.#kernel.btf?.findByNameKind(name, kind) ?? 0;
    if (id > 0) return id;
    if (!extern.isWeak) this.#missing(`extern (${kind === U.BTF_KIND_FUNC ? 'func' : 'var'} ksym) '${extern.name}': not found in kernel or module BTFs`);
    return 0;
  }

  #missing(reason: string): never {
    throw new InputError(this.#object.file, 'section .ksyms', reason);
  }
}

/**
 * The type id of a program's attach target (`find_kernel_btf_id`).
 * @returns the id, or `-errno`
 */
export function findAttachTarget(program: ObjectProgram, kernel: KernelNames): number {
  const slash = program.sectionName.indexOf('/');
  const { prefix, kind } = attachTargetLookup(program.expectedAttachType);
  const id = kernel.btf?.findByNameKind(prefix + program.sectionName.slice(slash + 1), kind) ?? 0;
  return id > 0 ? id : -ESRCH;
}
