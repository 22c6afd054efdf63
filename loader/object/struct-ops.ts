/**
 * @module loader/object/struct-ops
 * Maps of `SEC(".struct_ops")` and its relatives: structures of callbacks that a kernel is to use. Owns which variables become maps,
 * which programs they name, and what of it a kernel's types say. Reproduces `init_struct_ops_maps`, `bpf_object__collect_st_ops_relos`
 * and `bpf_map__init_kern_struct_ops` of `tools/lib/bpf/libbpf.c`, with their messages.
 */
import type { BTF } from '../../btf/btf.ts';
import { essentialNameLength } from '../../btf/core.ts';
import { memberOf, resolveSize, typeSource } from '../../btf/type-source.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from './btf-object.ts';
import { SHN_LORESERVE, type Relocation, type Section, type Symbol } from './elf.ts';
import type { BPFObject, ObjectMap, ObjectProgram } from './model.ts';

const LINK_SECTION = '.struct_ops.link';
const SECTIONS: ReadonlySet<string> = new Set(['.struct_ops', LINK_SECTION, '?.struct_ops', `?${LINK_SECTION}`]);
const VALUE_PREFIX = 'bpf_struct_ops_';
const POINTER_SIZE = 8;
/** Bytes of libbpf's buffer for a structure's name, without the NUL. */
const MAX_TYPE_NAME = 191;

/** True for sections whose variables are such maps. */
export function isStructOpsSection(name: string): boolean {
  return SECTIONS.has(name);
}

/** The maps of one section. */
export function parseStructOpsMaps(btf: ObjectBTF | undefined, section: Section, file: string): ObjectMap[] {
  const fail = (reason: string): never => {
    throw new InputError(file, `section ${section.name}`, `struct_ops init: ${reason}`);
  };
  const datasec = btf?.find(section.name, U.BTF_KIND_DATASEC) ?? 0;
  if (btf === undefined || datasec === 0) return fail(`DATASEC ${section.name} not found`);
  return Array.from({ length: btf.vlen(datasec) }, (_, i): ObjectMap => {
    const variable = btf.word(datasec, 3 + 3 * i);
    const offset = btf.word(datasec, 4 + 3 * i);
    const type = resolveType(btf, variable);
    if (type === 0) fail(`Cannot resolve var type_id ${variable} in DATASEC ${section.name}`);
    const typeName = btf.name(type);
    if (typeName === '') fail('anonymous type is not supported');
    if (btf.kind(type) !== U.BTF_KIND_STRUCT) fail(`${typeName} is not a struct`);
    const size = btf.target(type);
    const name = btf.name(variable);
    if (offset + size > section.data.length) fail(`var ${name} is beyond the end of DATASEC ${section.name}`);
    return {
      name, realName: '', kind: 'struct_ops', sectionIndex: section.index, sectionOffset: offset, variableIndex: i, inner: undefined, slots: new Map(),
      // libbpf strikes the question mark out of the section's name with the first map, so that it counts for no other.
      autocreate: !(section.name.startsWith('?') && i === 0),
      callbacks: new Map(),
      data: section.data.slice(offset, offset + size),
      definition: {
        type: U.BPF_MAP_TYPE_STRUCT_OPS, keySize: 4, valueSize: size, maxEntries: 1, flags: section.name.endsWith(LINK_SECTION) ? U.BPF_F_LINK : 0,
        mapExtra: 0n, numaNode: 0, keyTypeID: 0, valueTypeID: type, pinned: false,
      },
    };
  });
}

/** The type of a variable behind typedefs and qualifiers; 0 where there is none. */
function resolveType(btf: ObjectBTF, variable: number): number {
  const type = btf.kind(variable) === U.BTF_KIND_VAR ? btf.target(variable) : variable;
  return btf.skipModifiers(type);
}

/** What a relocation of such a section needs to know of the object. */
interface StructOpsContext {
  readonly btf: ObjectBTF;
  readonly file: string;
  readonly maps: readonly ObjectMap[];
  readonly programs: readonly ObjectProgram[];
  programAt(section: number, slot: number): ObjectProgram | undefined;
}

/** Puts the program that a relocation names into its map. */
export function relocateStructOps(section: Section, relocation: Relocation, symbol: Symbol | undefined, context: StructOpsContext): void {
  const { btf, maps, programs } = context;
  const fail = (reason: string): never => {
    throw new InputError(context.file, `section ${section.name}`, `struct_ops reloc${reason}`);
  };
  if (symbol === undefined) return fail(`: symbol ${relocation.symbol.toString(16)} not found`);
  const { offset } = relocation;
  const map = maps.find(({ kind, sectionIndex, sectionOffset, definition }) =>
    kind === 'struct_ops' && sectionIndex === section.info && sectionOffset <= offset && offset - sectionOffset < definition.valueSize);
  if (map === undefined) return fail(`: cannot find map at rel->r_offset ${offset}`);
  const memberOffset = offset - map.sectionOffset;
  if (symbol.section >= SHN_LORESERVE) fail(` ${map.name}: rel->r_offset ${offset} shdr_idx ${symbol.section} unsupported non-static function`);
  if (symbol.value % 8 !== 0) fail(` ${map.name}: invalid target program offset ${symbol.value}`);
  const structID = map.definition.valueTypeID;
  let index = 0;
  while (index < btf.vlen(structID) && btf.memberBitOffset(structID, index) !== 8 * memberOffset) index++;
  if (index === btf.vlen(structID)) fail(` ${map.name}: cannot find member at moff ${memberOffset}`);
  const name = btf.memberName(structID, index);
  const pointer = btf.skipModifiers(btf.memberType(structID, index));
  const isFunction = btf.kind(pointer) === U.BTF_KIND_PTR && btf.kind(btf.skipModifiers(btf.target(pointer))) === U.BTF_KIND_FUNC_PROTO;
  if (!isFunction) fail(` ${map.name}: cannot relocate non func ptr ${name}`);
  const program = context.programAt(symbol.section, symbol.value / 8);
  if (program === undefined) return fail(` ${map.name}: cannot find prog at shdr_idx ${symbol.section} to relocate func ptr ${name}`);
  if (program.type !== U.BPF_PROG_TYPE_STRUCT_OPS) fail(` ${map.name}: prog ${program.name} is not struct_ops BPF program`);
  map.callbacks.set(index, programs.indexOf(program));
}

/** Programs that maps name are loaded where at least one of the maps is created. */
export function adjustAutoload(object: BPFObject): void {
  const wanted = new Map<number, boolean>();
  for (const { callbacks, autocreate } of object.maps) for (const index of callbacks.values()) wanted.set(index, (wanted.get(index) ?? false) || autocreate);
  for (const [index, isWanted] of wanted) {
    const program = object.programs[index];
    if (program?.type === U.BPF_PROG_TYPE_STRUCT_OPS) program.autoload = isWanted;
  }
}

/** What a map is in a kernel. */
export interface KernelStructOps {
  /** Type of the map's value among the kernel's, and its bytes. */
  readonly valueTypeID: number;
  readonly valueSize: number;
  /** Type of the structure, to which its programs attach. */
  readonly typeID: number;
  /** Index of each callback's member in the kernel's structure. */
  readonly memberIndexes: ReadonlyMap<number, number>;
}

/**
 * Finds a map's structure in a kernel's types and compares the members.
 * @param isSet whether a callback is to be installed
 * @throws InputError with libbpf's reason
 */
export function resolveStructOps(object: BPFObject, map: ObjectMap, kernel: BTF | undefined, isSet: (programIndex: number) => boolean): KernelStructOps {
  const { btf, file } = object;
  const fail = (reason: string): never => {
    throw new InputError(file, `map ${map.name}`, `struct_ops init_kern${reason}`);
  };
  const structID = map.definition.valueTypeID;
  if (btf === undefined) return fail(': no types');
  const full = btf.name(structID);
  const name = full.slice(0, Math.min(essentialNameLength(full), MAX_TYPE_NAME));
  const valueTypeID = kernel?.findByNameKind(VALUE_PREFIX + name, U.BTF_KIND_STRUCT) ?? 0;
  if (kernel === undefined || valueTypeID <= 0) return fail(`: struct ${VALUE_PREFIX}${name} is not found in kernel BTF`);
  const typeID = kernel.findByNameKind(name, U.BTF_KIND_STRUCT);
  if (typeID <= 0) fail(`: struct ${name} is not found in kernel BTF`);
  if (!kernel.members(valueTypeID).some(({ type }) => type === typeID)) fail(`: struct ${name} data is not found in struct ${VALUE_PREFIX}${name}`);
  const kernelTypes = typeSource(kernel, (place, reason) => fail(`: ${place}: ${reason}`), POINTER_SIZE);
  const kernelMembers = kernel.members(typeID);
  const memberIndexes = new Map<number, number>();
  for (let i = 0; i < btf.vlen(structID); i++) {
    const member = memberOf(btf, structID, i);
    const memberName = btf.memberName(structID, i);
    const size = btf.resolveSize(member.type);
    if (size < 0) fail(` ${map.name}: failed to resolve the size of member ${memberName}`);
    const callback = map.callbacks.get(i);
    const hasProgram = callback !== undefined && isSet(callback);
    const index = kernelMembers.findIndex((candidate) => candidate.name === memberName);
    const kernelMember = kernelMembers[index];
    if (kernelMember === undefined) {
      const isZero = !hasProgram && (map.data?.subarray(member.offset / 8, member.offset / 8 + size).every((byte) => byte === 0) ?? true);
      if (!isZero) fail(` ${map.name}: Cannot find member ${memberName} in kernel BTF`);
      continue;
    }
    if (member.bits !== 0 || kernelMember.bitfieldSize !== 0) fail(` ${map.name}: bitfield ${memberName} is not supported`);
    const type = btf.skipModifiers(member.type);
    const kernelType = kernel.skipModifiers(kernelMember.type);
    const [kind, kernelKind] = [btf.kind(type), kernel.kind(kernelType)];
    if (kind !== kernelKind) fail(` ${map.name}: Unmatched member type ${memberName} ${kind} != ${kernelKind}(kernel)`);
    if (kind === U.BTF_KIND_PTR) {
      if (!hasProgram) continue;
      if (kernel.kind(kernel.skipModifiers(kernel.type(kernelType))) !== U.BTF_KIND_FUNC_PROTO) fail(` ${map.name}: kernel member ${memberName} is not a func ptr`);
      memberIndexes.set(i, index);
      continue;
    }
    const kernelSize = resolveSize(kernelTypes, kernelType);
    if (size !== kernelSize) fail(` ${map.name}: Error in size of member ${memberName}: ${size} != ${kernelSize}(kernel)`);
  }
  return { valueTypeID, valueSize: kernel.size(valueTypeID), typeID, memberIndexes };
}
