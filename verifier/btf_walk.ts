/**
 * @module verifier/btf_walk
 * Finds what lies at an offset of a structure in BTF. Owns the walk and type identity; who may read what is `btf_access.ts`.
 * Reproduces `btf_struct_walk()`, `btf_struct_ids_match()`, `btf_types_are_same()` of `kernel/bpf/btf.c`.
 */
import { isModifierKind, type BTF } from '../btf/btf.ts';
import { EACCES, EFAULT, EINVAL } from '../isa/errno.ts';
import {
  BTF_KIND_ARRAY, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_TYPE_TAG, BTF_KIND_UNION,
} from '../isa/uapi.ts';
import { MEM_PERCPU, MEM_RCU, MEM_USER, PTR_UNTRUSTED } from './regtypes.ts';

/** Results of {@link walkStruct}. */
export const WALK_SCALAR = 0, WALK_PTR = 1, WALK_PTR_UNTRUSTED = 2, WALK_STRUCT = 3;

const TAG_FLAGS: ReadonlyMap<string, number> = new Map([['user', MEM_USER], ['percpu', MEM_PERCPU], ['rcu', MEM_RCU]]);
const MAX_STEPS = 64;

/** What the last walk found: the structure there or pointed to, flags of the pointer, the field's name. */
export interface Walk {
  id: number;
  flag: number;
  fieldName: string;
}

type Say = (message: string) => void;

/** Through modifiers to the element type of an array of arrays. */
function arrayElement(btf: BTF, id: number): number {
  let at = id;
  for (let i = 0; i < MAX_STEPS && btf.kind(at) === BTF_KIND_ARRAY; i++) at = btf.skipModifiers(btf.arrayElementType(at));
  return at;
}

const isStruct = (btf: BTF, id: number): boolean => btf.kind(id) === BTF_KIND_STRUCT || btf.kind(id) === BTF_KIND_UNION;

/** Follows a pointer through modifiers, collecting the flags of its type tags; `-EINVAL` for more than one. */
function pointee(btf: BTF, pointer: number): { id: number; flag: number } | number {
  let flag = 0, id = btf.type(pointer);
  for (let i = 0; i < MAX_STEPS && isModifierKind(btf.kind(id)); i++) {
    if (btf.kind(id) === BTF_KIND_TYPE_TAG && !btf.kflag(id)) flag |= TAG_FLAGS.get(btf.typeName(id)) ?? 0;
    id = btf.type(id);
  }
  return (flag & (flag - 1)) !== 0 ? -EINVAL : { id, flag };
}

/**
 * Finds what `size` bytes at `offset` of structure `start` are: `WALK_*` or `-errno` with a message. `out.flag` is added to;
 * `out.id` and `out.fieldName` are set as the result needs them. `flexible` lets the last, open array go on.
 */
export function walkStruct(btf: BTF, start: number, offset: number, size: number, out: Walk, flexible: boolean, say: Say): number {
  let id = btf.skipModifiers(start);
  let off = offset;
  for (let step = 0; step < MAX_STEPS; step++) {
    const name = btf.logName(id);
    if (!isStruct(btf, id)) {
      say(`Type '${name}' is not a struct\n`);
      return -EINVAL;
    }
    const count = btf.vlen(id);
    // which member of a union is valid, nobody knows
    if (btf.kind(id) === BTF_KIND_UNION && count !== 1) out.flag |= PTR_UNTRUSTED;
    if (off + size > btf.size(id)) {
      const element = flexible ? openArrayElement(btf, id, off) : undefined;
      if (element === undefined) {
        say(`access beyond struct ${name} at off ${off} size ${size}\n`);
        return -EACCES;
      }
      if (btf.kind(element.id) === BTF_KIND_INT) return WALK_SCALAR;
      id = element.id;
      off = element.offset;
      continue;
    }
    const found = walkMembers(btf, id, off, size, out, say);
    if (found !== INNER) return found;
    id = INNER_AT[0]!;
    off = INNER_AT[1]!;
  }
  say(`Type '${btf.logName(id)}' is not a struct\n`);
  return -EINVAL;
}

/** The element that offset `off` falls into behind a structure that ends in an open array. */
function openArrayElement(btf: BTF, id: number, off: number): { id: number; offset: number } | undefined {
  const last = btf.vlen(id) - 1;
  if (last < 0) return undefined;
  const array = btf.skipModifiers(btf.memberType(id, last));
  const start = btf.memberBitOffset(id, last) >>> 3;
  if (btf.kind(array) !== BTF_KIND_ARRAY || btf.arrayLength(array) !== 0 || off < start) return undefined;
  const element = btf.skipModifiers(btf.arrayElementType(array));
  if (btf.kind(element) === BTF_KIND_INT) return { id: element, offset: 0 };
  if (!isStruct(btf, element) || btf.size(element) === 0) return undefined;
  return { id: element, offset: (off - start) % btf.size(element) };
}

/** {@link walkMembers} found an inner structure, and the offset in it: they are here. */
const INNER = 4;
const INNER_AT: Int32Array = new Int32Array(2);

function walkMembers(btf: BTF, id: number, off: number, size: number, out: Walk, say: Say): number {
  const name = btf.logName(id);
  for (let i = 0, n = btf.vlen(id); i < n; i++) {
    const bits = btf.memberBitOffset(id, i);
    let start = bits >>> 3;
    if (off + size <= start) break;
    const width = btf.memberBitfieldSize(id, i);
    if (width !== 0) {
      // clang writes no member for an anonymous bit-field in front, hence <=
      if (off <= start && Math.ceil((bits + width) / 8) <= off + size) return WALK_SCALAR;
      continue;
    }
    if (off < start) break;
    const fieldName = btf.memberName(id, i);
    const total = btf.resolveSize(btf.memberType(id, i));
    if (total === undefined) {
      say(`field ${fieldName} doesn't have size\n`);
      return -EFAULT;
    }
    const end = start + total;
    if (off >= end) continue;
    let type = btf.skipModifiers(btf.memberType(id, i)), length = total;
    if (btf.kind(type) === BTF_KIND_ARRAY) {
      // an array of structures is that many structures side by side
      type = arrayElement(btf, type);
      length = btf.resolveSize(type) ?? total;
      if (length === 0) continue;
      start += Math.trunc((off - start) / length) * length;
    }
    if (isStruct(btf, type)) {
      if (off === start) {
        out.id = type;
        return WALK_STRUCT;
      }
      INNER_AT[0] = type;
      INNER_AT[1] = off - start;
      return INNER;
    }
    if (btf.kind(type) === BTF_KIND_PTR) {
      if (length !== size || off !== start) {
        say(`cannot access ptr member ${fieldName} with moff ${start} in struct ${name} with off ${off} size ${size}\n`);
        return -EACCES;
      }
      const target = pointee(btf, type);
      if (typeof target === 'number') {
        say(`type 'PTR' has multiple type tags\n`);
        return target;
      }
      if (!isStruct(btf, target.id)) return WALK_PTR_UNTRUSTED;
      out.id = target.id;
      out.flag |= target.flag;
      out.fieldName = fieldName;
      return WALK_PTR;
    }
    if (off + size > end && (out.flag & PTR_UNTRUSTED) === 0) {
      say(`access beyond the end of member ${fieldName} (mend:${end}) in struct ${name} with off ${off} size ${size}\n`);
      return -EACCES;
    }
    return WALK_SCALAR;
  }
  say(`struct ${name} doesn't have field at offset ${off}\n`);
  return -EINVAL;
}

/** True where two ids name one type: the same BTF, or both from the base that two module BTFs share. */
export function typesAreSame(a: BTF, aID: number, b: BTF, bID: number): boolean {
  if (aID !== bID) return false;
  if (a === b) return true;
  const root = (btf: BTF): BTF => (btf.base !== undefined && aID < btf.startID ? btf.base : btf);
  return root(a) === root(b);
}

/** True where the object at `off` of type `id` is, or begins with, an object of the type needed. */
export function structIDsMatch(btf: BTF, id: number, off: number, needBTF: BTF, needID: number, strict: boolean, flexible: boolean, say: Say): boolean {
  if (off === 0 && typesAreSame(btf, id, needBTF, needID)) return true;
  if (strict) return false;
  const out: Walk = { id, flag: 0, fieldName: '' };
  let at = off;
  for (let step = 0; step < MAX_STEPS; step++) {
    if (!btf.has(out.id) || out.id === 0) return false;
    if (walkStruct(btf, out.id, at, 1, out, flexible, say) !== WALK_STRUCT) return false;
    if (typesAreSame(btf, out.id, needBTF, needID)) return true;
    at = 0;
  }
  return false;
}

const NO_CAST_SUFFIX = '___init';

/** True where two type names differ only in the suffix that says "not initialised yet": no cast between them. */
export function areNoCastAliases(a: BTF, aID: number, b: BTF, bID: number): boolean {
  const x = a.typeName(aID), y = b.typeName(bID);
  return x === y + NO_CAST_SUFFIX || y === x + NO_CAST_SUFFIX;
}
