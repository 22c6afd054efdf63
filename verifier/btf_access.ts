/**
 * @module verifier/btf_access
 * Loads and stores through pointers to kernel structures and allocated objects, and what the loaded pointer may be trusted
 * with. Owns trust and kptr types; the walk through BTF is `btf_walk.ts`. Reproduces `check_ptr_to_btf_access()`,
 * `check_ptr_to_map_access()` and the kptr rules of `kernel/bpf/verifier.c`, `btf_struct_access()` of `btf.c`.
 */
import type { BTF } from '../btf/btf.ts';
import { BPF_GRAPH_NODE, BPF_KPTR_PERCPU, BPF_KPTR_REF, BPF_KPTR_UNREF, fieldTypeName, structRecord, type Field } from '../btf/record.ts';
import { EACCES, EFAULT, EINVAL, ENOTSUPP, EPERM } from '../isa/errno.ts';
import {
  BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_BLOOM_FILTER, BPF_MAP_TYPE_CGROUP_ARRAY, BPF_MAP_TYPE_CGROUP_STORAGE,
  BPF_MAP_TYPE_CGRP_STORAGE, BPF_MAP_TYPE_CPUMAP, BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_HASH_OF_MAPS,
  BPF_MAP_TYPE_INODE_STORAGE, BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_LPM_TRIE, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
  BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERF_EVENT_ARRAY, BPF_MAP_TYPE_PROG_ARRAY,
  BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_SOCKHASH, BPF_MAP_TYPE_SOCKMAP,
  BPF_MAP_TYPE_STACK, BPF_MAP_TYPE_STACK_TRACE, BPF_MAP_TYPE_STRUCT_OPS, BPF_MAP_TYPE_TASK_STORAGE, BPF_MAP_TYPE_USER_RINGBUF, BPF_MAP_TYPE_XSKMAP,
  BPF_PROG_TYPE_SCHED_ACT, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_STRUCT_OPS, BPF_PROG_TYPE_XDP, BTF_KIND_PTR, BTF_KIND_STRUCT,
} from '../isa/uapi.ts';
import { WALK_PTR, WALK_PTR_UNTRUSTED, WALK_SCALAR, WALK_STRUCT, structIDsMatch, walkStruct, type Walk } from './btf_walk.ts';
import type { VerifierEnv } from './env.ts';
import { checkPtrOff } from './ptr_off.ts';
import { inRCU, isReferenced } from './refs.ts';
import { argName, curReg, isVarConst, markKnownZero, markUnknown, varText } from './regs.ts';
import {
  BPF_READ, BPF_REG_TRUSTED_MODIFIERS, BPF_WRITE, CONST_PTR_TO_MAP, MEM_ALLOC, MEM_PERCPU, MEM_RCU, MEM_RDONLY, MEM_USER, NON_OWN_REF, PTR_MAYBE_NULL,
  PTR_TO_BTF_ID, PTR_TO_MEM, PTR_TO_SOCKET, PTR_TO_SOCK_COMMON, PTR_TO_TCP_SOCK, PTR_TRUSTED, PTR_UNTRUSTED, SCALAR_VALUE, baseType, mayFaultOnDeref,
  regTypeName, typeFlag, typeHasUnsafeModifiers, typeIsNonOwningRef, typeIsPtrAllocObj, typeMayBeNull,
} from './regtypes.ts';
import { REG_A, REG_B, REG_ID, REG_TYPE, REG_VAR_LO } from './state.ts';
import { writeConnection, writeStructOps } from './struct_ops_write.ts';

const refuse = (env: VerifierEnv, message: string, errno: number = EACCES): number => {
  env.log.write(`${message}\n`);
  return -errno;
};

/** What {@link structAccess} found; `flag` replaces the caller's. */
const FOUND: Walk = { id: 0, flag: 0, fieldName: '' };

/** Kind of register (`SCALAR_VALUE`, `PTR_TO_BTF_ID`, `PTR_TO_MEM`) that a load gives, or `-errno` (`btf_struct_access`). */
function structAccess(env: VerifierEnv, btf: BTF, id: number, regType: number, off: number, size: number): number {
  const say = (message: string): void => env.log.write(message);
  const isAllocated = (regType & MEM_ALLOC) !== 0;
  FOUND.id = id;
  FOUND.flag = 0;
  FOUND.fieldName = '';
  for (const field of isAllocated ? (structRecord(btf, id)?.fields ?? []) : []) {
    if (off < field.offset + field.size && field.offset < off + size) {
      return refuse(env, `direct access to ${fieldTypeName(field.type)} is disallowed`);
    }
  }
  WALKED.flag = 0;
  let at = off;
  for (let depth = 0; depth < 64; depth++) {
    const found = walkStruct(btf, FOUND.id, at, size, WALKED, !isAllocated, say);
    if (found === WALK_STRUCT) {
      FOUND.id = WALKED.id;
      at = 0;
    } else if (found === WALK_PTR) {
      // an allocated object's pointers come out as numbers
      if (isAllocated) return SCALAR_VALUE;
      FOUND.id = WALKED.id;
      FOUND.flag = WALKED.flag;
      FOUND.fieldName = WALKED.fieldName;
      return PTR_TO_BTF_ID;
    } else if (found === WALK_PTR_UNTRUSTED) {
      FOUND.flag = MEM_RDONLY | PTR_UNTRUSTED;
      return PTR_TO_MEM;
    } else return found === WALK_SCALAR ? SCALAR_VALUE : found;
  }
  return -EINVAL;
}

/** What the walk under way found. */
const WALKED: Walk = { id: 0, flag: 0, fieldName: '' };

/** Makes the register at `reg` what a load of kind `regType` gives (`mark_btf_ld_reg`). */
export function markBTFLoad(env: VerifierEnv, reg: number, regType: number, btfIndex: number, btfID: number, flag: number): number {
  const { w } = env;
  if (regType === SCALAR_VALUE) {
    markUnknown(env, w, reg);
    return 0;
  }
  if (regType !== PTR_TO_BTF_ID && regType !== PTR_TO_MEM) {
    env.log.write(`verifier bug: unexpected reg_type ${regType} in mark_btf_ld_reg\n\n`);
    return -EFAULT;
  }
  markKnownZero(w, reg);
  w[reg + REG_TYPE] = regType | flag;
  if (regType === PTR_TO_MEM) return 0;
  w[reg + REG_A] = btfIndex;
  w[reg + REG_B] = btfID;
  if (typeMayBeNull(flag)) w[reg + REG_ID] = ++env.idGen;
  return 0;
}

/** A pointer that the kernel vouches for: referenced, of a kind that always is, or marked so. */
export function isTrusted(env: VerifierEnv, reg: number): boolean {
  if (isReferenced(env, reg)) return true;
  const type = env.w[reg + REG_TYPE]!;
  if (typeHasUnsafeModifiers(type)) return false;
  const base = baseType(type);
  if (base === PTR_TO_SOCKET || base === PTR_TO_SOCK_COMMON || base === PTR_TO_TCP_SOCK || base === CONST_PTR_TO_MAP) return true;
  return (typeFlag(type) & BPF_REG_TRUSTED_MODIFIERS) !== 0;
}

export const isRCUReg = (type: number): boolean => (type & MEM_RCU) !== 0;

/**
 * True where the kernel lists the field as one that keeps its parent's trust: a structure named `<type><suffix>` in its BTF
 * has a member of that name and type.
 */
function isListed(btf: BTF, parentID: number, fieldName: string, targetID: number, suffix: string): boolean {
  const list = btf.findByNameKind(`${btf.typeName(parentID)}${suffix}`, btf.kind(parentID));
  if (list === 0) return false;
  const member = btf.findMember(list, fieldName);
  if (member < 0) return false;
  const type = btf.memberType(list, member);
  return btf.kind(type) === BTF_KIND_PTR && btf.skipModifiers(btf.type(type)) === targetID;
}

/** Flags of the pointer just loaded from the object in `reg`. */
function loadedFlags(env: VerifierEnv, btf: BTF, reg: number): number {
  const type = env.w[reg + REG_TYPE]!, parent = env.w[reg + REG_B]!;
  const { id, fieldName } = FOUND;
  const untrusting = FOUND.flag & ~(BPF_REG_TRUSTED_MODIFIERS | MEM_RCU);
  if ((type & PTR_UNTRUSTED) !== 0) return PTR_UNTRUSTED;
  if (!isTrusted(env, reg) && !isRCUReg(type)) return untrusting;
  if (isListed(btf, parent, fieldName, id, '__safe_trusted')) return FOUND.flag | PTR_TRUSTED;
  if (isListed(btf, parent, fieldName, id, '__safe_trusted_or_null')) return FOUND.flag | PTR_TRUSTED | PTR_MAYBE_NULL;
  if (!inRCU(env) || typeMayBeNull(type)) return PTR_UNTRUSTED;
  if (isListed(btf, parent, fieldName, id, '__safe_rcu')) return FOUND.flag | MEM_RCU;
  const orNull = isListed(btf, parent, fieldName, id, '__safe_rcu_or_null');
  if ((FOUND.flag & MEM_RCU) !== 0 || orNull) {
    const flag = FOUND.flag | MEM_RCU | PTR_MAYBE_NULL;
    return orNull ? flag & ~PTR_UNTRUSTED : flag;
  }
  return (FOUND.flag & (MEM_PERCPU | MEM_USER)) !== 0 ? FOUND.flag : untrusting;
}

/** Checks an access of `size` bytes at `off` through the object pointer in `reg`; a load sets register `valueRegno`. */
export function checkPtrToBTFAccess(env: VerifierEnv, reg: number, argno: number, off: number, size: number, access: number, valueRegno: number): number {
  const { w } = env;
  const index = w[reg + REG_A]!, id = w[reg + REG_B]!, type = w[reg + REG_TYPE]!;
  const btf = env.btfAt(index)!;
  const name = btf.typeName(id);
  if (!env.allowPtrLeaks) return refuse(env, `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`, EPERM);
  if (!env.load.gplCompatible && btf.isKernel) return refuse(env, `Cannot access kernel 'struct ${name}' from non-GPL compatible program`, EINVAL);
  const who = argName(argno);
  if (!isVarConst(w, reg)) return refuse(env, `${who} is ptr_${name} invalid variable offset: off=${off}, var_off=${varText(w, reg)}`);
  const at = (off + w[reg + REG_VAR_LO]!) | 0;
  if (at < 0) return refuse(env, `${who} is ptr_${name} invalid negative access: off=${at}`);
  if ((type & MEM_USER) !== 0) return refuse(env, `${who} is ptr_${name} access user memory: off=${at}`);
  if ((type & MEM_PERCPU) !== 0) return refuse(env, `${who} is ptr_${name} access percpu memory: off=${at}`);
  if (access !== BPF_READ && mayFaultOnDeref(type)) return refuse(env, 'only read is supported');

  const isAllocated = (type & MEM_ALLOC) !== 0;
  let found: number;
  const special = access === BPF_WRITE && !isAllocated ? writeByProgramType(env, btf, id, at, size) : undefined;
  if (special !== undefined) {
    found = special;
    if (found < 0) env.log.write(`${who} cannot write into ptr_${name} at off=${at} size=${size}\n`);
  } else {
    if (access !== BPF_READ && !typeIsPtrAllocObj(type)) return refuse(env, 'only read is supported');
    if (isAllocated && !mayFaultOnDeref(type) && !typeIsNonOwningRef(type) && !isRCUReg(type) && !isReferenced(env, reg)) {
      return refuse(env, 'verifier bug: allocated object must have a referenced id', EFAULT);
    }
    found = structAccess(env, btf, id, type, at, size);
  }
  if (found < 0) return found;
  if (access !== BPF_READ || valueRegno < 0) return 0;
  const flag = found === PTR_TO_BTF_ID ? loadedFlags(env, btf, reg) : FOUND.flag;
  return markBTFLoad(env, curReg(env, valueRegno), found, index, FOUND.id, flag);
}

/** The verdict of a program type that lets some kernel fields be written; `undefined` for types without such a rule. */
function writeByProgramType(env: VerifierEnv, btf: BTF, id: number, off: number, size: number): number | undefined {
  switch (env.opsType) {
    case BPF_PROG_TYPE_SCHED_CLS: case BPF_PROG_TYPE_SCHED_ACT: case BPF_PROG_TYPE_XDP:
      return writeConnection(env, btf, id, off, size);
    case BPF_PROG_TYPE_STRUCT_OPS:
      return writeStructOps(env, btf, id, off, size);
    default:
      return undefined;
  }
}

/** `map_btf_id` of each kind of map: the kernel structure that a map pointer may be read as. */
const MAP_STRUCTS: ReadonlyMap<number, string> = new Map([
  ...[BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PROG_ARRAY, BPF_MAP_TYPE_PERF_EVENT_ARRAY, BPF_MAP_TYPE_CGROUP_ARRAY,
    BPF_MAP_TYPE_ARRAY_OF_MAPS].map((type): [number, string] => [type, 'bpf_array']),
  ...[BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
    BPF_MAP_TYPE_HASH_OF_MAPS].map((type): [number, string] => [type, 'bpf_htab']),
  ...[BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_INODE_STORAGE, BPF_MAP_TYPE_TASK_STORAGE,
    BPF_MAP_TYPE_CGRP_STORAGE].map((type): [number, string] => [type, 'bpf_local_storage_map']),
  ...[BPF_MAP_TYPE_CGROUP_STORAGE, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE].map((type): [number, string] => [type, 'bpf_cgroup_storage_map']),
  ...[BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH].map((type): [number, string] => [type, 'bpf_dtab']),
  ...[BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK].map((type): [number, string] => [type, 'bpf_queue_stack']),
  ...[BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF].map((type): [number, string] => [type, 'bpf_ringbuf_map']),
  [BPF_MAP_TYPE_ARENA, 'bpf_arena'], [BPF_MAP_TYPE_BLOOM_FILTER, 'bpf_bloom_filter'], [BPF_MAP_TYPE_INSN_ARRAY, 'bpf_insn_array'],
  [BPF_MAP_TYPE_STRUCT_OPS, 'bpf_struct_ops_map'], [BPF_MAP_TYPE_CPUMAP, 'bpf_cpu_map'], [BPF_MAP_TYPE_LPM_TRIE, 'lpm_trie'],
  [BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 'reuseport_array'], [BPF_MAP_TYPE_STACK_TRACE, 'bpf_stack_map'], [BPF_MAP_TYPE_SOCKMAP, 'bpf_stab'],
  [BPF_MAP_TYPE_SOCKHASH, 'bpf_shtab'], [BPF_MAP_TYPE_XSKMAP, 'xsk_map'],
]);

/** Type id of the kernel structure behind a map, 0 where the kernel has none. */
export function mapStructID(kernel: BTF, mapType: number): number {
  const name = MAP_STRUCTS.get(mapType);
  return name === undefined ? 0 : kernel.findByNameKind(name, BTF_KIND_STRUCT);
}

/** Checks a load through a map pointer, which shows the map's kernel structure. */
export function checkPtrToMapAccess(env: VerifierEnv, reg: number, argno: number, off: number, size: number, access: number, valueRegno: number): number {
  const kernel = env.ext.kernelBTF();
  if (kernel === undefined) return refuse(env, 'map_ptr access not supported without CONFIG_DEBUG_INFO_BTF', ENOTSUPP);
  const mapType = env.mapTable[env.w[reg + REG_A]!]!.type;
  const id = mapStructID(kernel.btf, mapType);
  if (id === 0) return refuse(env, `map_ptr access not supported for map type ${mapType}`, ENOTSUPP);
  const name = kernel.btf.typeName(id);
  if (!env.allowPtrLeaks) return refuse(env, `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`, EPERM);
  if (off < 0) return refuse(env, `${argName(argno)} is ${name} invalid negative access: off=${off}`);
  if (access !== BPF_READ) return refuse(env, `only read from ${name} is supported`);
  const found = structAccess(env, kernel.btf, id, PTR_TO_BTF_ID, off, size);
  if (found < 0 || valueRegno < 0) return Math.min(found, 0);
  return markBTFLoad(env, curReg(env, valueRegno), found, env.btfIndexOf(kernel), FOUND.id, FOUND.flag);
}

/** Kernel types that RCU protects (`rcu_protected_types`). */
const RCU_PROTECTED: ReadonlySet<string> = new Set(['prog_test_ref_kfunc', 'cgroup', 'bpf_cpumask', 'task_struct', 'bpf_crypto_ctx', 'bpf_ksock']);

/** True where an object of the type stays readable under RCU after its release. */
export function isRCUProtected(btf: BTF, id: number): boolean {
  return !btf.isKernel || (btf.kind(id) === BTF_KIND_STRUCT && RCU_PROTECTED.has(btf.typeName(id)));
}

/** Flags of a pointer loaded from a kptr field. */
export function kptrLoadType(env: VerifierEnv, field: Field): number {
  const { btf, typeID } = field.pointer!;
  const isSafe = field.type === BPF_KPTR_PERCPU || (field.type === BPF_KPTR_REF && isRCUProtected(btf, typeID));
  if (!isSafe || !inRCU(env)) return PTR_MAYBE_NULL | PTR_UNTRUSTED;
  let flag = PTR_MAYBE_NULL | MEM_RCU;
  if (field.type === BPF_KPTR_PERCPU) flag |= MEM_PERCPU;
  else if (!btf.isKernel) flag |= MEM_ALLOC;
  const record = btf.isKernel ? undefined : structRecord(btf, typeID);
  return record !== undefined && (record.fieldMask & BPF_GRAPH_NODE) !== 0 ? flag | NON_OWN_REF : flag;
}

/** True where the pointer in `reg` may be stored in a kptr field; says why not. */
export function mapKptrMatches(env: VerifierEnv, field: Field, reg: number, regno: number): boolean {
  const { w } = env;
  const target = field.pointer!;
  const type = w[reg + REG_TYPE]!;
  let regName = '';
  const bad = (): boolean => {
    env.log.write(`invalid kptr access, R${regno} type=${regTypeName(type)}${regName} `);
    const expected = target.btf.typeName(target.typeID);
    env.log.write(`expected=${regTypeName(PTR_TO_BTF_ID)}${expected}`);
    env.log.write(field.type === BPF_KPTR_UNREF ? ` or ${regTypeName(PTR_TO_BTF_ID | PTR_UNTRUSTED)}${expected}\n` : '\n');
    return false;
  };
  if (baseType(type) !== PTR_TO_BTF_ID) return bad();
  const btf = env.btfAt(w[reg + REG_A]!)!;
  let allowed = PTR_MAYBE_NULL | (btf.isKernel ? PTR_TRUSTED | MEM_RCU : MEM_ALLOC);
  if (btf.isKernel && field.type === BPF_KPTR_UNREF) allowed |= PTR_UNTRUSTED;
  if (!btf.isKernel && field.type === BPF_KPTR_PERCPU) allowed |= MEM_PERCPU;
  if ((typeFlag(type) & ~allowed) !== 0) return bad();
  if ((field.type === BPF_KPTR_PERCPU) !== ((type & MEM_PERCPU) !== 0)) return bad();
  regName = btf.typeName(w[reg + REG_B]!);
  if (checkPtrOff(env, reg, regno, true) !== 0) return false;
  const say = (message: string): void => env.log.write(message);
  const matches = structIDsMatch(btf, w[reg + REG_B]!, w[reg + REG_VAR_LO]!, target.btf, target.typeID, field.type !== BPF_KPTR_UNREF,
    (type & MEM_ALLOC) === 0, say);
  return matches || bad();
}
