/**
 * @module btf/dump
 * BTF as a listing, type by type: as data in the shape of bpftool's JSON, and as bpftool's text. Reproduces
 * `bpftool btf dump … format raw` (tools/bpf/bpftool/btf.c). C declarations are not its matter.
 */
import {
  BTF_KIND_ARRAY, BTF_KIND_CONST, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_MAX, BTF_KIND_PTR, BTF_KIND_RESTRICT, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF,
  BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_VAR, BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';
import { type BTF, BTF_INT_BOOL, BTF_INT_CHAR, BTF_INT_SIGNED, BTF_KIND_NAMES } from './btf.ts';

/** A field of a listed type: a number, a text, or a list of parts. 64-bit values are `bigint`. */
export type DumpValue = number | bigint | string | readonly DumpRecord[];

/** A type or a part of one, with bpftool's field names in its order. */
export type DumpRecord = Readonly<Record<string, DumpValue>>;

const LINKAGES = ['static', 'global', 'extern'];

function nameText(btf: BTF, offset: number): string {
  return offset === 0 ? '(anon)' : (btf.stringAt(offset) ?? '(invalid)');
}

function kindText(kind: number): string {
  return (kind >= 0 && kind <= BTF_KIND_MAX ? BTF_KIND_NAMES[kind] : undefined) ?? 'UNKNOWN';
}

function encodingText(encoding: number): string {
  switch (encoding) {
    case 0: return '(none)';
    case BTF_INT_SIGNED: return 'SIGNED';
    case BTF_INT_CHAR: return 'CHAR';
    case BTF_INT_BOOL: return 'BOOL';
    default: return 'UNKN';
  }
}

function linkageText(linkage: number): string {
  return LINKAGES[linkage] ?? '(unknown)';
}

/**
 * One type as data.
 *
 * @example
 * JSON.stringify(describeType(btf, 1)); // {"id":1,"kind":"INT","name":"int","size":4,"bits_offset":0,…}
 */
export function describeType(btf: BTF, id: number): DumpRecord {
  const kind = btf.kind(id);
  return { id, kind: kindText(kind), name: nameText(btf, btf.nameOffset(id)), ...describeKind(btf, id, kind) };
}

function describeKind(btf: BTF, id: number, kind: number): DumpRecord {
  switch (kind) {
    case BTF_KIND_INT: {
      const int = btf.int(id);
      return { size: int.size, bits_offset: int.offset, nr_bits: int.bits, encoding: encodingText(int.encoding) };
    }
    case BTF_KIND_PTR: case BTF_KIND_CONST: case BTF_KIND_VOLATILE: case BTF_KIND_RESTRICT: case BTF_KIND_TYPEDEF: case BTF_KIND_TYPE_TAG:
      return { type_id: btf.type(id) };
    case BTF_KIND_ARRAY:
      return { type_id: btf.arrayElementType(id), index_type_id: btf.arrayIndexType(id), nr_elems: btf.arrayLength(id) };
    case BTF_KIND_STRUCT: case BTF_KIND_UNION:
      return { size: btf.size(id), vlen: btf.vlen(id), members: describeMembers(btf, id) };
    case BTF_KIND_ENUM: case BTF_KIND_ENUM64:
      return { encoding: btf.kflag(id) ? 'SIGNED' : 'UNSIGNED', size: btf.size(id), vlen: btf.vlen(id), values: describeValues(btf, id) };
    case BTF_KIND_FWD:
      return { fwd_kind: btf.kflag(id) ? 'union' : 'struct' };
    case BTF_KIND_FUNC:
      return { type_id: btf.type(id), linkage: linkageText(btf.functionLinkage(id)) };
    case BTF_KIND_FUNC_PROTO:
      return { ret_type_id: btf.type(id), vlen: btf.vlen(id), params: describeParams(btf, id) };
    case BTF_KIND_VAR:
      return { type_id: btf.type(id), linkage: linkageText(btf.variableLinkage(id)) };
    case BTF_KIND_DATASEC:
      return {
        size: btf.size(id), vlen: btf.vlen(id),
        vars: btf.sectionVariables(id).map(({ type, offset, size }) => ({ type_id: type, offset, size })),
      };
    case BTF_KIND_FLOAT:
      return { size: btf.size(id) };
    case BTF_KIND_DECL_TAG:
      return { type_id: btf.type(id), component_idx: btf.declTagComponent(id) };
    default:
      return {};
  }
}

function describeMembers(btf: BTF, id: number): DumpRecord[] {
  return btf.members(id).map(({ type, bitOffset, bitfieldSize }, i) => {
    const member = { name: nameText(btf, btf.memberNameOffset(id, i)), type_id: type, bits_offset: bitOffset };
    return bitfieldSize === 0 ? member : { ...member, bitfield_size: bitfieldSize };
  });
}

function describeValues(btf: BTF, id: number): DumpRecord[] {
  return btf.enumValues(id).map(({ value }, i) => {
    // bpftool prints the 32-bit values of unsigned enumerations as if they were sign-extended to 64 bits.
    const isNarrow = btf.kind(id) === BTF_KIND_ENUM && !btf.kflag(id);
    const val = isNarrow ? BigInt.asUintN(64, BigInt(btf.enumValueLo(id, i) | 0)) : value;
    return { name: nameText(btf, btf.enumNameOffset(id, i)), val };
  });
}

function describeParams(btf: BTF, id: number): DumpRecord[] {
  return btf.params(id).map(({ type }, i) => ({ name: nameText(btf, btf.paramNameOffset(id, i)), type_id: type }));
}

/** One type as text: a line, and an indented line for each part. */
export function typeText(btf: BTF, id: number): string {
  const kind = btf.kind(id);
  const head = `[${id}] ${kindText(kind)} '${nameText(btf, btf.nameOffset(id))}'`;
  return `${head}${detailsText(btf, id, kind)}\n`;
}

function detailsText(btf: BTF, id: number, kind: number): string {
  const record = describeKind(btf, id, kind);
  let text = '';
  for (const [field, value] of Object.entries(record)) {
    if (typeof value === 'object') continue;
    text += `${kind === BTF_KIND_VAR && field === 'linkage' ? ',' : ''} ${field}=${value}`;
  }
  switch (kind) {
    case BTF_KIND_STRUCT: case BTF_KIND_UNION:
      for (const { name, type_id: type, bits_offset: offset, bitfield_size: bits } of describeMembers(btf, id)) {
        text += `\n\t'${String(name)}' type_id=${String(type)} bits_offset=${String(offset)}${bits === undefined ? '' : ` bitfield_size=${String(bits)}`}`;
      }
      return text;
    case BTF_KIND_ENUM: case BTF_KIND_ENUM64: {
      const suffix = kind === BTF_KIND_ENUM ? '' : btf.kflag(id) ? 'LL' : 'ULL';
      btf.enumValues(id).forEach(({ value }, i) => {
        text += `\n\t'${nameText(btf, btf.enumNameOffset(id, i))}' val=${value}${suffix}`;
      });
      return text;
    }
    case BTF_KIND_FUNC_PROTO:
      for (const { name, type_id: type } of describeParams(btf, id)) text += `\n\t'${String(name)}' type_id=${String(type)}`;
      return text;
    case BTF_KIND_DATASEC:
      for (const { type, offset, size } of btf.sectionVariables(id)) {
        text += `\n\ttype_id=${type} offset=${offset} size=${size}`;
        if (btf.has(type)) text += ` (${kindText(btf.kind(type))} '${nameText(btf, btf.nameOffset(type))}')`;
      }
      return text;
    default:
      return text;
  }
}

/** Every own type as text, one after the other; `roots` picks some. */
export function* dumpText(btf: BTF, roots?: readonly number[]): Generator<string> {
  if (roots !== undefined) {
    for (const id of roots) yield typeText(btf, id);
    return;
  }
  for (let id = btf.startID; id < btf.endID; id++) yield typeText(btf, id);
}
