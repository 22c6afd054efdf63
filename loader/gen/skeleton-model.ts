/**
 * @module loader/gen/skeleton-model
 * What every skeleton of an object has in common, whatever language it is written in: names of maps and programs, which maps show their
 * memory and which variables lie there. Owns bpftool's rules of naming (`get_obj_name`, `get_map_ident`, `get_datasec_ident`,
 * `is_skel_data` of `tools/bpf/bpftool/gen.c`); the texts are the other files of this folder.
 */
import { toByteString } from '../../btf/string-set.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from '../object/btf-object.ts';
import { visibleMapName } from '../object/map-defs.ts';
import type { BPFObject, ObjectMap, ObjectProgram } from '../object/model.ts';
import type { SkeletonAttach, SkeletonData } from '../skeleton.ts';

const BTF_VAR_STATIC = 0;
const MAX_IDENT = 255;
const MAX_OBJECT_NAME = 63;
const DATA_SUFFIXES = ['.data', '.rodata', '.bss', '.kconfig'] as const;
const DATA_PREFIXES = ['.data', '.rodata', '.bss', '.percpu', '.kconfig'] as const;

/** Anything that is no letter, digit or underscore becomes an underscore (`sanitize_identifier`). */
export function sanitizeIdentifier(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, '_');
}

/** The name that bpftool gives an object without `name`: its file's, without `.o`. */
export function defaultObjectName(path: string): string {
  const file = toByteString(path);
  const base = (file.split('/').at(-1) ?? '').slice(0, MAX_OBJECT_NAME);
  return sanitizeIdentifier(base.endsWith('.o') ? base.slice(0, -2) : base);
}

/** A name that somebody typed, as bpftool cuts it: one character for each byte of its UTF-8. */
export function cutObjectName(name: string): string {
  return toByteString(name).slice(0, MAX_OBJECT_NAME);
}

/** The macro that keeps a header from being read twice; `toupper()` in the C locale, byte by byte. */
export function headerGuard(name: string, suffix: 'SKEL_H' | 'SUBSKEL_H'): string {
  return `__${name}_${suffix}__`.replace(/[a-z]/g, (letter) => letter.toUpperCase());
}

/** True for maps that libbpf makes of data sections. */
function isInternal(map: ObjectMap): boolean {
  return map.kind !== 'user' && map.definition.type !== U.BPF_MAP_TYPE_STRUCT_OPS;
}

/** Name of a map in the skeleton (`get_map_ident`); `undefined` where it has none. */
function mapIdent(map: ObjectMap): string | undefined {
  const name = visibleMapName(map);
  if (!isInternal(map)) return name;
  if (map.definition.type === U.BPF_MAP_TYPE_PERCPU_ARRAY) return sanitizeIdentifier(name.slice(1));
  for (const suffix of DATA_SUFFIXES) {
    const at = name.indexOf(suffix);
    if (at >= 0) return sanitizeIdentifier(name.slice(at + 1));
  }
  return undefined;
}

/** Name of a data section's struct (`get_datasec_ident`). */
function sectionIdent(section: string): string | undefined {
  if (section === '.addr_space.1') return 'arena';
  return DATA_PREFIXES.some((prefix) => section.startsWith(prefix)) ? sanitizeIdentifier(section.slice(1)) : undefined;
}

/** The member that shows a map's memory, where the skeleton has one (`is_skel_data`). */
function dataIdent(map: ObjectMap): string | undefined {
  if (map.definition.type === U.BPF_MAP_TYPE_ARENA && map.data !== undefined) return 'arena';
  if (!isInternal(map)) return undefined;
  const isShown = (map.definition.flags & U.BPF_F_MMAPABLE) !== 0 || (map.definition.type === U.BPF_MAP_TYPE_PERCPU_ARRAY && map.definition.valueTypeID !== 0);
  return isShown ? mapIdent(map) : undefined;
}

/** A map with its place in a skeleton. */
export interface SkeletonMapMember {
  readonly map: ObjectMap;
  /** Member of `maps`. */
  readonly ident: string;
  /** Member that shows the memory. */
  readonly data: string | undefined;
  readonly isStructOps: boolean;
}

/** Maps that have a name in the skeleton, in the object's order. */
export function skeletonMaps(object: BPFObject): SkeletonMapMember[] {
  return object.maps.flatMap((map) => {
    const ident = mapIdent(map);
    return ident === undefined ? [] : [{ ident, data: dataIdent(map), map, isStructOps: map.definition.type === U.BPF_MAP_TYPE_STRUCT_OPS }];
  });
}

/**
 * How a light skeleton attaches a program (`codegen_attach_detach`).
 * @throws InputError for a raw tracepoint whose section names none
 */
export function skeletonAttach({ file }: BPFObject, { type, expectedAttachType, sectionName, name }: ObjectProgram): SkeletonAttach {
  switch (type) {
    case U.BPF_PROG_TYPE_RAW_TRACEPOINT: {
      const slash = sectionName.indexOf('/');
      if (slash < 0) throw new InputError(file, `section ${sectionName}`, `prog '${name}': no tracepoint is named`);
      return { kind: 'raw_tracepoint', name: sectionName.slice(slash + 1) };
    }
    case U.BPF_PROG_TYPE_TRACING:
    case U.BPF_PROG_TYPE_LSM:
      return expectedAttachType === U.BPF_TRACE_ITER ? { kind: 'iter' } : { kind: 'raw_tracepoint', name: undefined };
    default: return { kind: 'none' };
  }
}

/** What becomes of a section's memory after the load. */
export function sectionAccess({ definition }: ObjectMap): SkeletonData['access'] {
  if (definition.type === U.BPF_MAP_TYPE_PERCPU_ARRAY) return 'protect';
  return (definition.flags & U.BPF_F_RDONLY_PROG) !== 0 ? 'read' : 'read-write';
}

/** Entry points, in the object's order. */
export function skeletonPrograms(object: BPFObject): ObjectProgram[] {
  return object.programs.filter((program) => !program.isSubprogram);
}

/** A variable of a data section that other files may see. */
export interface SectionVariable {
  readonly type: number;
  /** As the object has it. */
  readonly name: string;
  /** As a member of a struct. */
  readonly ident: string;
  /** Bytes from the section's start. */
  readonly offset: number;
  readonly size: number;
}

/** A data section that a skeleton shows. */
export interface DataSection {
  readonly map: ObjectMap;
  /** Member of the skeleton. */
  readonly ident: string;
  /** Name of the DATASEC, `undefined` where the section has no types. */
  readonly section: string | undefined;
  /** In the order of their offsets. */
  readonly variables: readonly SectionVariable[];
}

/** The data sections whose memory a skeleton shows, in the object's order. */
export function dataSections(object: BPFObject, btf: ObjectBTF): DataSection[] {
  return object.maps.flatMap((map) => {
    const ident = dataIdent(map);
    if (ident === undefined) return [];
    const datasec = findDatasec(btf, ident);
    return [{ map, ident, section: datasec === 0 ? undefined : btf.name(datasec), variables: datasec === 0 ? [] : visibleVariables(btf, datasec) }];
  });
}

/** The DATASEC of a member (`find_type_for_map`); 0 for none. */
function findDatasec(btf: ObjectBTF, ident: string): number {
  for (let id = 1; id < btf.count; id++) if (btf.kind(id) === U.BTF_KIND_DATASEC && sectionIdent(btf.name(id)) === ident) return id;
  return 0;
}

/** Variables of a section that are not static, in the order of their offsets. */
export function visibleVariables(btf: ObjectBTF, datasec: number): SectionVariable[] {
  return Array.from({ length: btf.vlen(datasec) }, (_, i) => i).flatMap((i): SectionVariable[] => {
    const variable = btf.word(datasec, 3 + 3 * i);
    if (btf.kind(variable) !== U.BTF_KIND_VAR || btf.word(variable, 3) === BTF_VAR_STATIC) return [];
    const name = btf.name(variable);
    return [{
      type: btf.target(variable), name, ident: sanitizeIdentifier(name.slice(0, MAX_IDENT)), offset: btf.word(datasec, 4 + 3 * i), size: btf.word(datasec, 5 + 3 * i),
    }];
  });
}
