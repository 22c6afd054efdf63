/**
 * @module btf/check_meta
 * First pass over the type section: every record on its own (sizes, flags, names, offsets), logged as it is read.
 * Reproduces `btf_check_all_metas` of kernel/bpf/btf.c: its order of checks, messages and error numbers.
 */
import { EINVAL, ENOTSUPP } from '../isa/errno.ts';
import {
  BTF_FUNC_GLOBAL, BTF_KIND_ARRAY, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT,
  BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_MAX, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF,
  BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_UNKN, BTF_KIND_VAR, BTF_MAX_TYPE, BTF_VAR_GLOBAL_ALLOCATED, BTF_VAR_STATIC,
} from '../isa/uapi.ts';
import { BTF_INT_BOOL, BTF_INT_CHAR, BTF_INT_SIGNED } from './btf.ts';
import { type CheckEnv, signed } from './check_env.ts';

const TYPE_BYTES = 12;

/** Checks every record of `length` bytes of types; 0 or `-errno`. Gives ids to those that pass. */
export function checkAllMetas(env: CheckEnv, length: number): number {
  let byte = 0;
  env.logID = 1;
  while (byte < length) {
    const size = checkMeta(env, byte >>> 2, length - byte);
    if (size < 0) return size;
    env.addType(byte >>> 2);
    byte += size;
    env.logID++;
  }
  return 0;
}

/** Checks one record with `left` bytes from its start; its whole size in bytes, or `-errno`. */
function checkMeta(env: CheckEnv, at: number, left: number): number {
  if (left < TYPE_BYTES) {
    env.write(`[${env.logID}] meta_left:${left} meta_needed:${TYPE_BYTES}`);
    return -EINVAL;
  }
  const kind = env.kindAt(at);
  if (kind > BTF_KIND_MAX || kind === BTF_KIND_UNKN) {
    env.write(`[${env.logID}] Invalid kind:${kind}`);
    return -EINVAL;
  }
  if (!env.isNameOffset(env.word(at))) {
    env.write(`[${env.logID}] Invalid name_offset:${env.word(at)}`);
    return -EINVAL;
  }
  const rest = checkKind(env, kind, at, left - TYPE_BYTES);
  return rest < 0 ? rest : TYPE_BYTES + rest;
}

/** The kind's own checks; bytes after the common part, or `-errno`. */
function checkKind(env: CheckEnv, kind: number, at: number, left: number): number {
  switch (kind) {
    case BTF_KIND_INT: return checkInt(env, at, left);
    case BTF_KIND_ARRAY: return checkArray(env, at, left);
    case BTF_KIND_STRUCT: case BTF_KIND_UNION: return checkStruct(env, at, left);
    case BTF_KIND_ENUM: case BTF_KIND_ENUM64: return checkEnum(env, at, left);
    case BTF_KIND_FWD: return checkForward(env, at);
    case BTF_KIND_FUNC: return checkFunction(env, at);
    case BTF_KIND_FUNC_PROTO: return checkPrototype(env, at, left);
    case BTF_KIND_VAR: return checkVariable(env, at, left);
    case BTF_KIND_DATASEC: return checkSection(env, at, left);
    case BTF_KIND_FLOAT: return checkFloat(env, at);
    case BTF_KIND_DECL_TAG: return checkDeclTag(env, at, left);
    default: return checkReference(env, kind, at);
  }
}

function refuse(env: CheckEnv, at: number, message: string, errno: number = EINVAL): number {
  env.logType(at, message);
  return -errno;
}

function isShort(env: CheckEnv, at: number, left: number, needed: number): boolean {
  if (left >= needed) return false;
  env.logBasic(at, `meta_left:${left} meta_needed:${needed}`);
  return true;
}

/** True for a name that must be an identifier and is none. */
function lacksIdentifier(env: CheckEnv, at: number): boolean {
  const name = env.word(at);
  return name === 0 || !env.isIdentifier(name);
}

/** True for a name that may be absent but else must be an identifier, and is none. */
function hasBadName(env: CheckEnv, nameOffset: number): boolean {
  return nameOffset !== 0 && !env.isIdentifier(nameOffset);
}

function checkInt(env: CheckEnv, at: number, left: number): number {
  if (isShort(env, at, left, 4)) return -EINVAL;
  if (env.vlenAt(at) !== 0) return refuse(env, at, 'vlen != 0');
  if (env.kflagAt(at)) return refuse(env, at, 'Invalid btf_info kind_flag');
  const data = env.word(at + 3);
  if (data >>> 28 !== 0) {
    env.logBasic(at, `Invalid int_data:${data.toString(16)}`);
    return -EINVAL;
  }
  const bits = (data & 0xff) + ((data >>> 16) & 0xff);
  if (bits > 128) return refuse(env, at, 'nr_bits exceeds 128');
  if ((bits + 7) >>> 3 > env.referAt(at)) return refuse(env, at, 'nr_bits exceeds type_size');
  const encoding = (data >>> 24) & 0xf;
  if (encoding !== 0 && encoding !== BTF_INT_SIGNED && encoding !== BTF_INT_CHAR && encoding !== BTF_INT_BOOL) {
    return refuse(env, at, 'Unsupported encoding', ENOTSUPP);
  }
  env.logType(at);
  return 4;
}

/** Pointers, typedefs, const, volatile, restrict, type tags. */
function checkReference(env: CheckEnv, kind: number, at: number): number {
  if (env.vlenAt(at) !== 0) return refuse(env, at, 'vlen != 0');
  if (env.kflagAt(at) && kind !== BTF_KIND_TYPE_TAG) return refuse(env, at, 'Invalid btf_info kind_flag');
  if (env.referAt(at) > BTF_MAX_TYPE) return refuse(env, at, 'Invalid type_id');
  const name = env.word(at);
  if (kind === BTF_KIND_TYPEDEF) {
    if (lacksIdentifier(env, at)) return refuse(env, at, 'Invalid name');
  } else if (kind === BTF_KIND_TYPE_TAG) {
    if (!env.hasText(name)) return refuse(env, at, 'Invalid name');
  } else if (name !== 0) {
    return refuse(env, at, 'Invalid name');
  }
  env.logType(at);
  return 0;
}

function checkForward(env: CheckEnv, at: number): number {
  if (env.vlenAt(at) !== 0) return refuse(env, at, 'vlen != 0');
  if (env.referAt(at) !== 0) return refuse(env, at, 'type != 0');
  if (lacksIdentifier(env, at)) return refuse(env, at, 'Invalid name');
  env.logType(at);
  return 0;
}

function checkArray(env: CheckEnv, at: number, left: number): number {
  if (isShort(env, at, left, 12)) return -EINVAL;
  if (env.word(at) !== 0) return refuse(env, at, 'Invalid name');
  if (env.vlenAt(at) !== 0) return refuse(env, at, 'vlen != 0');
  if (env.kflagAt(at)) return refuse(env, at, 'Invalid btf_info kind_flag');
  if (env.referAt(at) !== 0) return refuse(env, at, 'size != 0');
  if (!isTypeID(env.word(at + 3))) return refuse(env, at, 'Invalid elem');
  if (!isTypeID(env.word(at + 4))) return refuse(env, at, 'Invalid index');
  env.logType(at);
  return 12;
}

/** An id in range that is not void. */
function isTypeID(id: number): boolean {
  return id !== 0 && id <= BTF_MAX_TYPE;
}

function checkStruct(env: CheckEnv, at: number, left: number): number {
  const needed = env.vlenAt(at) * 12;
  if (isShort(env, at, left, needed)) return -EINVAL;
  if (hasBadName(env, env.word(at))) return refuse(env, at, 'Invalid name');
  env.logType(at);
  const isUnion = env.kindAt(at) === BTF_KIND_UNION;
  const hasBitfields = env.kflagAt(at);
  const size = env.referAt(at);
  let lastOffset = 0;
  for (let member = at + 3, end = at + 3 + needed / 4; member < end; member += 3) {
    const offset = hasBitfields ? env.word(member + 2) & 0xffffff : env.word(member + 2);
    const problem = memberProblem(env, member, offset, lastOffset, isUnion, size);
    env.logMember(at, member, problem);
    if (problem !== '') return -EINVAL;
    lastOffset = offset;
  }
  return needed;
}

function memberProblem(env: CheckEnv, member: number, offset: number, lastOffset: number, isUnion: boolean, size: number): string {
  const name = env.word(member);
  if (!env.isNameOffset(name)) return `Invalid member name_offset:${name}`;
  if (hasBadName(env, name)) return 'Invalid name';
  if (!isTypeID(env.word(member + 1))) return 'Invalid type_id';
  if (isUnion && offset !== 0) return 'Invalid member bits_offset';
  // Not ">=": the last member may be an array without elements.
  if (lastOffset > offset) return 'Invalid member bits_offset';
  if ((offset >>> 3) + ((offset & 7) === 0 ? 0 : 1) > size) return 'Member bits_offset exceeds its struct size';
  return '';
}

function checkEnum(env: CheckEnv, at: number, left: number): number {
  const is64 = env.kindAt(at) === BTF_KIND_ENUM64;
  const stride = is64 ? 3 : 2;
  const count = env.vlenAt(at);
  const needed = count * stride * 4;
  if (isShort(env, at, left, needed)) return -EINVAL;
  const size = env.referAt(at);
  if (size > 8 || size === 0 || (size & (size - 1)) !== 0) return refuse(env, at, 'Unexpected size');
  if (hasBadName(env, env.word(at))) return refuse(env, at, 'Invalid name');
  env.logType(at);
  const isSigned = env.kflagAt(at);
  for (let i = 0; i < count; i++) {
    const value = at + 3 + i * stride;
    const name = env.word(value);
    if (!env.isNameOffset(name)) {
      env.write(`\tInvalid name_offset:${name}`);
      return -EINVAL;
    }
    if (name === 0 || !env.isIdentifier(name)) return refuse(env, at, 'Invalid name');
    if (env.log === undefined) continue;
    env.write(`\t${env.nameText(name)} val=${is64 ? value64Text(env, value, isSigned) : value32Text(env, value, isSigned)}\n`);
  }
  return needed;
}

function value32Text(env: CheckEnv, value: number, isSigned: boolean): string {
  const word = env.word(value + 1);
  return isSigned ? signed(word) : String(word);
}

function value64Text(env: CheckEnv, value: number, isSigned: boolean): string {
  const raw = (BigInt(env.word(value + 2)) << 32n) | BigInt(env.word(value + 1));
  return String(isSigned ? BigInt.asIntN(64, raw) : raw);
}

function checkPrototype(env: CheckEnv, at: number, left: number): number {
  const needed = env.vlenAt(at) * 8;
  if (isShort(env, at, left, needed)) return -EINVAL;
  if (env.word(at) !== 0) return refuse(env, at, 'Invalid name');
  if (env.kflagAt(at)) return refuse(env, at, 'Invalid btf_info kind_flag');
  env.logType(at);
  return needed;
}

function checkFunction(env: CheckEnv, at: number): number {
  if (lacksIdentifier(env, at)) return refuse(env, at, 'Invalid name');
  if (env.vlenAt(at) > BTF_FUNC_GLOBAL) return refuse(env, at, 'Invalid func linkage');
  if (env.kflagAt(at)) return refuse(env, at, 'Invalid btf_info kind_flag');
  env.logType(at);
  return 0;
}

function checkVariable(env: CheckEnv, at: number, left: number): number {
  if (isShort(env, at, left, 4)) return -EINVAL;
  if (env.vlenAt(at) !== 0) return refuse(env, at, 'vlen != 0');
  if (env.kflagAt(at)) return refuse(env, at, 'Invalid btf_info kind_flag');
  if (lacksIdentifier(env, at)) return refuse(env, at, 'Invalid name');
  if (!isTypeID(env.referAt(at))) return refuse(env, at, 'Invalid type_id');
  const linkage = env.word(at + 3);
  if (linkage !== BTF_VAR_STATIC && linkage !== BTF_VAR_GLOBAL_ALLOCATED) return refuse(env, at, 'Linkage not supported');
  env.logType(at);
  return 4;
}

function checkSection(env: CheckEnv, at: number, left: number): number {
  const needed = env.vlenAt(at) * 12;
  if (isShort(env, at, left, needed)) return -EINVAL;
  const size = env.referAt(at);
  if (size === 0) return refuse(env, at, 'size == 0');
  if (env.kflagAt(at)) return refuse(env, at, 'Invalid btf_info kind_flag');
  const name = env.word(at);
  if (name === 0 || !env.isSectionName(name)) return refuse(env, at, 'Invalid name');
  env.logType(at);
  let lastEnd = 0;
  let sum = 0;
  for (let variable = at + 3, end = at + 3 + needed / 4; variable < end; variable += 3) {
    const problem = sectionVariableProblem(env, variable, lastEnd, size);
    env.logSectionVariable(at, variable, problem);
    if (problem !== '') return -EINVAL;
    // The kernel adds in 32 bits and then widens; both summands are at most the section's size here.
    lastEnd = (env.word(variable + 1) + env.word(variable + 2)) >>> 0;
    sum += env.word(variable + 2);
  }
  return size < sum ? refuse(env, at, 'Invalid btf_info size') : needed;
}

function sectionVariableProblem(env: CheckEnv, variable: number, lastEnd: number, sectionSize: number): string {
  const offset = env.word(variable + 1);
  const size = env.word(variable + 2);
  if (!isTypeID(env.word(variable))) return 'Invalid type_id';
  if (offset < lastEnd || offset >= sectionSize) return 'Invalid offset';
  if (size === 0 || size > sectionSize) return 'Invalid size';
  if (((offset + size) >>> 0) > sectionSize) return 'Invalid offset+size';
  return '';
}

function checkFloat(env: CheckEnv, at: number): number {
  if (env.vlenAt(at) !== 0) return refuse(env, at, 'vlen != 0');
  if (env.kflagAt(at)) return refuse(env, at, 'Invalid btf_info kind_flag');
  const size = env.referAt(at);
  if (size !== 2 && size !== 4 && size !== 8 && size !== 12 && size !== 16) return refuse(env, at, 'Invalid type_size');
  env.logType(at);
  return 0;
}

function checkDeclTag(env: CheckEnv, at: number, left: number): number {
  if (isShort(env, at, left, 4)) return -EINVAL;
  if (!env.hasText(env.word(at))) return refuse(env, at, 'Invalid value');
  if (env.vlenAt(at) !== 0) return refuse(env, at, 'vlen != 0');
  if ((env.word(at + 3) | 0) < -1) return refuse(env, at, 'Invalid component_idx');
  env.logType(at);
  return 4;
}
