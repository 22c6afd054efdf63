/**
 * @module loader/gen/c-declarations
 * The parts of a C skeleton that declare an object's types: structs of data sections with their padding, pointers to variables for
 * subskeletons, shadow types of struct_ops maps, and size assertions. The types' own text is `btf/c-dump.ts`. Reproduces
 * `codegen_datasecs`, `codegen_subskel_datasecs`, `gen_st_ops_shadow` and `codegen_asserts` of `tools/bpf/bpftool/gen.c` of Linux 7.3.
 * Call before the object is relocated, which changes its types.
 */
import { CDumper } from '../../btf/c-dump.ts';
import { memberOf } from '../../btf/type-source.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from '../object/btf-object.ts';
import type { BPFObject, ObjectMap } from '../object/model.ts';
import { dataSections, skeletonMaps, type DataSection } from './skeleton-model.ts';

const POINTER_SIZE = 8;
/** libbpf keeps the qualifiers of `.kconfig` alone. */
const KCONFIG = '.kconfig';

function sectionError(object: BPFObject, section: string, reason: string): never {
  throw new InputError(object.file, `section ${section}`, reason);
}

/** `struct NAME__data { … } *data;` for every section that is shown. */
export function sectionStructs(object: BPFObject, name: string): string {
  const { btf } = object;
  if (btf === undefined) return '';
  const dumper = new CDumper(btf);
  return dataSections(object, btf).map((section) => `\tstruct ${name}__${section.ident} {\n${sectionMembers(object, btf, dumper, section)}\t} *${section.ident};\n`).join('');
}

function sectionMembers(object: BPFObject, btf: ObjectBTF, dumper: CDumper, { section, variables }: DataSection): string {
  if (section === undefined) return '';
  let text = '';
  let at = 0;
  let pads = 0;
  for (const { type, name, ident, offset: unsigned, size } of variables) {
    // bpftool counts in signed integers of 32 bits.
    const offset = unsigned | 0;
    if (at > offset) sectionError(object, section, `Something is wrong for ${section}'s variable '${name}': need offset ${offset}, already at ${at}.`);
    const align = btf.alignOf(type);
    if (align <= 0) sectionError(object, section, `Failed to determine alignment of variable '${name}': ${align}`);
    // For a 32-bit target, whose pointers and longs are aligned to four.
    const unit = Math.min(align, 4);
    if (Math.ceil(at / unit) * unit !== offset) text += `\t\tchar __pad${pads++}[${offset - at}];\n`;
    text += `\t\t${dumper.declare(type, ident, { level: 2, stripQualifiers: section !== KCONFIG })};\n`;
    at = (offset + size) | 0;
  }
  return text;
}

/** `struct NAME__data { int *variable; … } data;`: what a subskeleton finds in somebody else's object. */
export function subskeletonStructs(object: BPFObject, btf: ObjectBTF, name: string): string {
  const dumper = new CDumper(btf);
  return mappableSections(object, btf).map(({ ident, section, variables }) => {
    if (section === undefined) return '';
    const members = variables.map(({ type, name: variable }) => {
      const target = btf.skipModifiers(type);
      const isFunctionPointer = btf.kind(target) === U.BTF_KIND_PTR && btf.kind(btf.target(target)) === U.BTF_KIND_FUNC_PROTO;
      const text = dumper.declare(type, '', { level: 2, stripQualifiers: section !== KCONFIG });
      // A star cannot simply be put in front of these names.
      return `\t\t${btf.kind(target) === U.BTF_KIND_ARRAY || isFunctionPointer ? `__typeof__(${text})` : text} *${variable};\n`;
    });
    return `\tstruct ${name}__${ident} {\n${members.join('')}\t} ${ident};\n`;
  }).join('');
}

/** Sections whose memory is the map's own; per-CPU data has no such memory. */
export function mappableSections(object: BPFObject, btf: ObjectBTF): DataSection[] {
  return dataSections(object, btf).filter(({ map }) => map.definition.type !== U.BPF_MAP_TYPE_PERCPU_ARRAY);
}

/** `_Static_assert` for the size of every variable; `undefined` for an object without types. */
export function sizeAssertions(object: BPFObject): string | undefined {
  const { btf } = object;
  if (btf === undefined) return undefined;
  return dataSections(object, btf).flatMap(({ ident, variables }) => variables.flatMap(({ type, ident: variable }) => {
    const size = btf.resolveSize(type);
    return size < 0 ? [] : [`\t_Static_assert(sizeof(s->${ident}->${variable}) == ${size}, "unexpected size of '${variable}'");\n`];
  })).join('');
}

/** The function around the assertions. */
export function assertFunction(name: string, assertions: string | undefined): string {
  if (assertions === undefined) return '';
  return `__attribute__((unused)) static void\n${name}__assert(struct ${name} *s __attribute__((unused)))\n{\n`
    + `#ifdef __cplusplus\n#define _Static_assert static_assert\n#endif\n${assertions}#ifdef __cplusplus\n#undef _Static_assert\n#endif\n}\n`;
}

/** `struct { … } struct_ops;`: a writable picture of every struct_ops map. */
export function structOpsShadows(object: BPFObject, name: string): string {
  const { btf } = object;
  if (btf === undefined) return '';
  const shadows = skeletonMaps(object).filter(({ isStructOps }) => isStructOps).map(({ map, ident }) => shadowStruct(object, btf, name, ident, map));
  return shadows.length === 0 ? '' : `\tstruct {\n${shadows.join('')}\t} struct_ops;\n`;
}

/** Scalars and functions can be set; anything else is bytes, so that no type of the object needs a definition. */
function shadowStruct(object: BPFObject, btf: ObjectBTF, name: string, ident: string, map: ObjectMap): string {
  const struct = map.definition.valueTypeID;
  if (struct === 0) sectionError(object, map.realName, `map '${map.name}': has no type`);
  const dumper = new CDumper(btf);
  let text = `\t\tstruct ${name}__${ident}__${btf.name(struct)} {\n`;
  let next = 0;
  for (let i = 0, n = btf.vlen(struct); i < n; i++) {
    const { type, nameOffset, offset } = memberOf(btf, struct, i);
    const at = Math.floor(offset / 8);
    const member = btf.string(nameOffset);
    const target = btf.skipModifiers(type);
    if (next < at) text += `\t\t\tchar __padding_${i}[${at - next}];\n`;
    if (isScalar(btf.kind(target))) {
      text += `\t\t\t${dumper.declare(target, member, { level: 3 })};\n`;
      next = at + sizeOf(btf, target, member);
    } else if (btf.kind(target) === U.BTF_KIND_PTR && btf.kind(btf.skipModifiers(btf.target(target))) === U.BTF_KIND_FUNC_PROTO) {
      text += `\t\t\tstruct bpf_program *${member};\n`;
      next = at + POINTER_SIZE;
    } else {
      const size = sizeOf(btf, target, member);
      text += `\t\t\tchar __unsupported_${i}[${size}];\n`;
      next = at + size;
    }
  }
  const size = btf.resolveSize(struct);
  if (next < size) text += `\t\t\tchar __padding_end[${size - next}];\n`;
  return `${text}\t\t} *${ident};\n`;
}

function isScalar(kind: number): boolean {
  return kind === U.BTF_KIND_INT || kind === U.BTF_KIND_FLOAT || kind === U.BTF_KIND_ENUM || kind === U.BTF_KIND_ENUM64;
}

function sizeOf(btf: ObjectBTF, type: number, member: string): number {
  const size = btf.resolveSize(type);
  return size < 0 ? btf.fail(`type ${type}`, `Failed to resolve size of ${member}: -22`) : size;
}
