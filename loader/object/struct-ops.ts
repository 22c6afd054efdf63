/**
 * @module loader/object/struct-ops
 * Maps of `SEC(".struct_ops")` and its relatives: structures of callbacks that a kernel is to use. Owns which variables become maps and
 * which programs they name; what a kernel's types say of it is `struct-ops-kernel.ts`. Reproduces `init_struct_ops_maps` and
 * `bpf_object__collect_st_ops_relos` of `tools/lib/bpf/libbpf.c`, with their messages.
 */
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from './btf-object.ts';
import { SHN_LORESERVE, type Relocation, type Section, type Symbol } from './elf.ts';
import type { BPFObject, ObjectMap, ObjectProgram } from './model.ts';

const LINK_SECTION = '.struct_ops.link';
const SECTIONS: ReadonlySet<string> = new Set(['.struct_ops', LINK_SECTION, '?.struct_ops', `?${LINK_SECTION}`]);

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
