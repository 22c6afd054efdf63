/**
 * @module verifier/insns
 * Checks every instruction's fields and resolves what 16-byte loads refer to: maps by descriptor or `fd_array` index, values
 * of maps, kernel variables, functions. Binds maps and BTFs to the program. Reproduces `check_and_resolve_insns` and what it
 * calls (kernel/bpf/verifier.c), messages in the kernel's order. Control flow is cfg.ts.
 */
import { E2BIG, EACCES, EBUSY, EFAULT, EINVAL, ENOENT, EPERM, EPROTO } from '../isa/errno.ts';
import {
  BPF_ABS, BPF_ADD, BPF_ADDR_SPACE_CAST, BPF_ALU, BPF_ALU64, BPF_AND, BPF_ARSH, BPF_ATOMIC, BPF_B, BPF_CALL, BPF_DIV, BPF_DW, BPF_END,
  BPF_EXIT, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JCOND, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JLE, BPF_JLT, BPF_JMP, BPF_JMP32, BPF_JNE, BPF_JSET,
  BPF_JSGE, BPF_JSGT, BPF_JSLE, BPF_JSLT, BPF_LD, BPF_LDX, BPF_LSH, BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_ARRAY_OF_MAPS,
  BPF_MAP_TYPE_CGROUP_STORAGE, BPF_MAP_TYPE_CGRP_STORAGE, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_HASH_OF_MAPS, BPF_MAP_TYPE_INODE_STORAGE,
  BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_LPM_TRIE, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
  BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PROG_ARRAY, BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_RINGBUF,
  BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_STACK, BPF_MAP_TYPE_STRUCT_OPS, BPF_MAP_TYPE_TASK_STORAGE, BPF_MAP_TYPE_USER_RINGBUF, BPF_MAY_GOTO,
  BPF_MEM, BPF_MEMSX, BPF_MOD, BPF_MOV, BPF_MUL, BPF_NEG, BPF_OR, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_PERF_EVENT,
  BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_TRACEPOINT,
  BPF_PSEUDO_BTF_ID, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE, BPF_PSEUDO_MAP_VALUE, BPF_RSH, BPF_ST, BPF_STX, BPF_SUB, BPF_W, BPF_X, BPF_XOR, BTF_KIND_DATASEC, BTF_KIND_FUNC,
  BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_VAR,
} from '../isa/uapi.ts';
import { MAX_USED_BTFS, MAX_USED_MAPS, type VerifierEnv } from './env.ts';
import { BPF_LIST_HEAD, BPF_RB_ROOT, BPF_RES_SPIN_LOCK, BPF_SPIN_LOCK } from '../btf/record.ts';
import { initInstructionArray } from './insn_array.ts';
import { hasDirectValues, mapRecord, recordHas } from './map_record.ts';
import { MAX_BPF_REG, MEM_PERCPU, MEM_RDONLY, PTR_TO_BTF_ID, PTR_TO_FUNC, PTR_TO_MEM } from './regtypes.ts';
import type { BTFDescriptor, MapDescriptor } from './types.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;
/** High word of a kernel address in the linear memory's scheme. */
const KERNEL_HIGH: number = 0xffff8880 | 0;
/** Register number of on-stack arguments. */
const BPF_REG_PARAMS = MAX_BPF_REG;

const KNOWN_OPCODES: Uint8Array = ((): Uint8Array => {
  const known = new Uint8Array(256);
  const both = [BPF_ADD, BPF_SUB, BPF_AND, BPF_OR, BPF_LSH, BPF_RSH, BPF_XOR, BPF_MUL, BPF_MOV, BPF_ARSH, BPF_DIV, BPF_MOD];
  for (const cls of [BPF_ALU, BPF_ALU64]) {
    for (const op of both) known[cls | op] = known[cls | op | BPF_X] = 1;
    known[cls | BPF_NEG] = 1;
    known[cls | BPF_END] = 1;
  }
  known[BPF_ALU | BPF_END | BPF_X] = 1;
  const jumps = [BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JLT, BPF_JGE, BPF_JLE, BPF_JSGT, BPF_JSLT, BPF_JSGE, BPF_JSLE, BPF_JSET];
  for (const cls of [BPF_JMP, BPF_JMP32]) {
    for (const op of jumps) known[cls | op] = known[cls | op | BPF_X] = 1;
    known[cls | BPF_JA] = 1;
  }
  for (const op of [BPF_CALL, BPF_EXIT, BPF_JCOND, BPF_JA | BPF_X]) known[BPF_JMP | op] = 1;
  for (const size of [BPF_B, BPF_H, BPF_W, BPF_DW]) {
    known[BPF_STX | BPF_ATOMIC | size] = 1;
    known[BPF_STX | BPF_MEM | size] = 1;
    known[BPF_ST | BPF_MEM | size] = 1;
    known[BPF_LDX | BPF_MEM | size] = 1;
    if (size !== BPF_DW) {
      known[BPF_LDX | BPF_MEMSX | size] = 1;
      known[BPF_LD | BPF_ABS | size] = 1;
      known[BPF_LD | BPF_IND | size] = 1;
    }
  }
  known[LD_IMM64] = 1;
  return known;
})();

/** A load of an on-stack argument. */
export function isStackArgLoad(env: VerifierEnv, i: number): boolean {
  const { code, src, off } = env.insns;
  return code[i] === (BPF_LDX | BPF_MEM | BPF_DW) && src[i] === BPF_REG_PARAMS && off[i]! > 0 && off[i]! % 8 === 0;
}

/** A store to an on-stack argument, from a register (STX) or of a constant (ST). */
export function isStackArgStore(env: VerifierEnv, i: number): boolean {
  const { code, dst, off } = env.insns;
  const op = code[i]!;
  return (op === (BPF_ST | BPF_MEM | BPF_DW) || op === (BPF_STX | BPF_MEM | BPF_DW)) && dst[i] === BPF_REG_PARAMS && off[i]! < 0 && off[i]! % 8 === 0;
}

function refuse(env: VerifierEnv, message: string, error: number = -EINVAL): number {
  env.log.write(`${message}\n`);
  return error;
}

function checkALUFields(env: VerifierEnv, i: number): number {
  const { code, src, off, imm } = env.insns;
  const op = code[i]! & 0xf0;
  const isX = (code[i]! & 8) !== 0;
  const is64 = (code[i]! & 7) === BPF_ALU64;
  const distance = off[i]!;
  const value = imm[i]!;
  switch (op) {
    case BPF_NEG:
      return isX || src[i] !== 0 || distance !== 0 || value !== 0 ? refuse(env, 'BPF_NEG uses reserved fields') : 0;
    case BPF_END:
      return src[i] !== 0 || distance !== 0 || (value !== 16 && value !== 32 && value !== 64) || (is64 && isX)
        ? refuse(env, 'BPF_END uses reserved fields') : 0;
    case BPF_MOV: {
      if (!isX) return src[i] !== 0 || distance !== 0 ? refuse(env, 'BPF_MOV uses reserved fields') : 0;
      if (is64 && distance === BPF_ADDR_SPACE_CAST) {
        return value !== 1 && value !== 1 << 16
          ? refuse(env, 'addr_space_cast insn can only convert between address space 1 and 0') : 0;
      }
      const extends_ = distance === 0 || distance === 8 || distance === 16 || (is64 && distance === 32);
      return !extends_ || value !== 0 ? refuse(env, 'BPF_MOV uses reserved fields') : 0;
    }
    case BPF_ADD: case BPF_SUB: case BPF_AND: case BPF_OR: case BPF_XOR: case BPF_LSH: case BPF_RSH: case BPF_ARSH: case BPF_MUL:
    case BPF_DIV: case BPF_MOD: {
      const offOK = distance === 0 || (distance === 1 && (op === BPF_MOD || op === BPF_DIV));
      const otherOK = isX ? value === 0 : src[i] === 0;
      return offOK && otherOK ? 0 : refuse(env, 'BPF_ALU uses reserved fields');
    }
    default:
      return refuse(env, `invalid BPF_ALU opcode ${op.toString(16)}`);
  }
}

function checkJumpFields(env: VerifierEnv, i: number): number {
  const { code, src, dst, off, imm } = env.insns;
  const isX = (code[i]! & 8) !== 0;
  const is32 = (code[i]! & 7) === BPF_JMP32;
  switch (code[i]! & 0xf0) {
    case BPF_CALL: {
      const bad = isX || (src[i] !== BPF_PSEUDO_KFUNC_CALL && off[i] !== 0)
        || (src[i] !== 0 && src[i] !== BPF_PSEUDO_CALL && src[i] !== BPF_PSEUDO_KFUNC_CALL) || dst[i] !== 0 || is32;
      return bad ? refuse(env, 'BPF_CALL uses reserved fields') : 0;
    }
    case BPF_JA:
      if (isX) return src[i] !== 0 || imm[i] !== 0 || off[i] !== 0 ? refuse(env, 'BPF_JA|BPF_X uses reserved fields') : 0;
      return src[i] !== 0 || dst[i] !== 0 || (!is32 && imm[i] !== 0) || (is32 && off[i] !== 0)
        ? refuse(env, 'BPF_JA uses reserved fields') : 0;
    case BPF_EXIT:
      return isX || imm[i] !== 0 || src[i] !== 0 || dst[i] !== 0 || is32 ? refuse(env, 'BPF_EXIT uses reserved fields') : 0;
    case BPF_JCOND:
      return code[i] !== (BPF_JMP | BPF_JCOND) || src[i] !== BPF_MAY_GOTO || dst[i] !== 0 || imm[i] !== 0
        ? refuse(env, `invalid may_goto imm ${imm[i]!}`) : 0;
    default:
      return (isX ? imm[i] !== 0 : src[i] !== 0) ? refuse(env, 'BPF_JMP/JMP32 uses reserved fields') : 0;
  }
}

function checkFields(env: VerifierEnv, i: number): number {
  const { code, src, dst, off, imm } = env.insns;
  const op = code[i]!;
  const mode = op & 0xe0;
  switch (op & 7) {
    case BPF_ALU: case BPF_ALU64:
      return checkALUFields(env, i);
    case BPF_LDX:
      return (mode !== BPF_MEM && mode !== BPF_MEMSX) || imm[i] !== 0 ? refuse(env, 'BPF_LDX uses reserved fields') : 0;
    case BPF_STX:
      if (mode === BPF_ATOMIC) return 0;
      return mode !== BPF_MEM || imm[i] !== 0 ? refuse(env, 'BPF_STX uses reserved fields') : 0;
    case BPF_ST:
      return mode !== BPF_MEM || src[i] !== 0 ? refuse(env, 'BPF_ST uses reserved fields') : 0;
    case BPF_JMP: case BPF_JMP32:
      return checkJumpFields(env, i);
    default:
      if (mode === BPF_ABS || mode === BPF_IND) {
        return dst[i] !== 0 || off[i] !== 0 || (op & 0x18) === BPF_DW || (mode === BPF_ABS && src[i] !== 0)
          ? refuse(env, 'BPF_LD_[ABS|IND] uses reserved fields') : 0;
      }
      return mode !== BPF_IMM ? refuse(env, 'invalid BPF_LD mode') : 0;
  }
}

/** True for the program types that attach to arbitrary points of the kernel. */
export function isTracingProgType(type: number): boolean {
  return type === BPF_PROG_TYPE_KPROBE || type === BPF_PROG_TYPE_TRACEPOINT || type === BPF_PROG_TYPE_PERF_EVENT
    || type === BPF_PROG_TYPE_RAW_TRACEPOINT || type === BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE;
}

/** By type of map: 1 where sleepable programs may use it. */
const SLEEPABLE_MAPS: Uint8Array = new Uint8Array(256);
for (const type of [
  BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
  BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_LPM_TRIE, BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS, BPF_MAP_TYPE_RINGBUF,
  BPF_MAP_TYPE_USER_RINGBUF, BPF_MAP_TYPE_INODE_STORAGE, BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_TASK_STORAGE, BPF_MAP_TYPE_CGRP_STORAGE,
  BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK, BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_PROG_ARRAY,
]) SLEEPABLE_MAPS[type] = 1;

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** May this program use this map (`check_map_prog_compatibility`)? 0 or `-errno`. */
export function checkMapProgCompatibility(env: VerifierEnv, map: MapDescriptor): number {
  const type = env.resolvedProgType;
  if (map.exclusiveDigest !== undefined && !sameBytes(map.exclusiveDigest, env.digest)) {
    return refuse(env, "program's hash doesn't match map's excl_prog_hash", -EACCES);
  }
  const record = mapRecord(env, map);
  if (recordHas(record, BPF_LIST_HEAD | BPF_RB_ROOT) && isTracingProgType(type)) {
    return refuse(env, 'tracing progs cannot use bpf_{list_head,rb_root} yet');
  }
  if (recordHas(record, BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK) && type === BPF_PROG_TYPE_SOCKET_FILTER) {
    return refuse(env, 'socket filter progs cannot use bpf_spin_lock yet');
  }
  if (recordHas(record, BPF_SPIN_LOCK) && isTracingProgType(type)) return refuse(env, 'tracing progs cannot use bpf_spin_lock yet');
  if (map.type === BPF_MAP_TYPE_STRUCT_OPS) return refuse(env, 'bpf_struct_ops map cannot be used in prog');
  if (env.sleepable && SLEEPABLE_MAPS[map.type] !== 1) {
    return refuse(env, 'Sleepable programs can only use array, hash, ringbuf and local storage maps');
  }
  if (map.type === BPF_MAP_TYPE_CGROUP_STORAGE || map.type === BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE) {
    const kind = map.type === BPF_MAP_TYPE_CGROUP_STORAGE ? 0 : 1;
    const present = env.cgroupStorage[kind];
    if (present !== undefined && present !== map) return refuse(env, 'only one cgroup storage of each type is allowed', -EBUSY);
    env.cgroupStorage[kind] = map;
  }
  if (map.type !== BPF_MAP_TYPE_ARENA) return 0;
  if (env.arena !== undefined) return refuse(env, 'Only one arena per program', -EBUSY);
  if (!env.allowPtrLeaks || !env.bpfCapable) return refuse(env, 'CAP_BPF and CAP_PERFMON are required to use arena', -EPERM);
  env.arena = map;
  env.jitRequired = true;
  if (map.mapExtra === 0n && map.directValueAddress(0) < 0) {
    return refuse(env, "arena's user address must be set via map_extra or mmap()");
  }
  return 0;
}

/** Binds a map; its index in `env.usedMaps`, or `-errno` (`__add_used_map`). */
export function addUsedMap(env: VerifierEnv, map: MapDescriptor, isSignatureVerified: boolean): number {
  const known = env.usedMaps.indexOf(map);
  if (known >= 0) return known;
  if (env.signed && isSignatureVerified) {
    return refuse(env, `signed program cannot bind map '${map.name}' not covered by the signature`, -EACCES);
  }
  if (env.usedMaps.length >= MAX_USED_MAPS) {
    return refuse(env, `The total number of maps per program has reached the limit of ${MAX_USED_MAPS}`, -E2BIG);
  }
  const error = checkMapProgCompatibility(env, map);
  if (error !== 0) return error;
  env.usedMaps.push(map);
  env.mapTable.push(map);
  if (map.type === BPF_MAP_TYPE_INSN_ARRAY) {
    const invalid = initInstructionArray(env, map);
    if (invalid !== 0) return refuse(env, 'Failed to properly initialize insn array', invalid);
    env.insnArrayMaps.push(map);
    env.jitRequired = true;
  }
  return env.usedMaps.length - 1;
}

/** Binds a BTF; 0 or `-errno` (`__add_used_btf`). */
export function addUsedBTF(env: VerifierEnv, btf: BTFDescriptor): number {
  if (env.usedBTFs.some((used) => used.btf === btf.btf)) return 0;
  if (env.signed) return refuse(env, 'signed program cannot bind any BTF', -EACCES);
  if (env.usedBTFs.length >= MAX_USED_BTFS) {
    return refuse(env, `The total number of btfs per program has reached the limit of ${MAX_USED_BTFS}`, -E2BIG);
  }
  env.usedBTFs.push(btf);
  return 0;
}

function addUsedMapFD(env: VerifierEnv, fd: number): number {
  const object = env.ext.resolveFD(fd);
  if (typeof object === 'number' || object.kind !== 'map') {
    const error = typeof object === 'number' ? object : -EINVAL;
    return refuse(env, `fd ${fd} is not pointing to valid bpf_map`, error);
  }
  return addUsedMap(env, object, env.signed);
}

function mapByArrayIndex(env: VerifierEnv, index: number): number {
  if (env.fdArray !== undefined) {
    if (index >>> 0 >= env.fdArray.length) return refuse(env, `fd_idx ${index >>> 0} out of bounds, fd_array_cnt ${env.fdArray.length}`);
    const object = env.fdArray[index]!;
    return object.kind === 'map' ? addUsedMap(env, object, env.signed) : refuse(env, `fd_idx ${index >>> 0} is not a map`);
  }
  if (env.signed) return refuse(env, 'signed program must bind maps via a continuous fd_array (fd_array_cnt)', -EACCES);
  if (!env.load.fdArray.present) return refuse(env, 'fd_idx without fd_array is invalid', -EPROTO);
  const fd = env.load.fdArray.read(index >>> 0);
  return fd === undefined ? -EFAULT : addUsedMapFD(env, fd);
}

function isPercpuVariable(btf: BTFDescriptor, id: number): boolean {
  const types = btf.btf;
  for (let section = types.startID; section < types.endID; section++) {
    if (types.kind(section) !== BTF_KIND_DATASEC || types.typeName(section) !== '.data..percpu') continue;
    return types.sectionVariables(section).some((variable) => variable.type === id);
  }
  return false;
}

/** A load of a kernel variable's or function's address (`check_pseudo_btf_id`). */
function resolveKernelSymbol(env: VerifierEnv, i: number): number {
  const { imm } = env.insns;
  const fd = imm[i + 1]!;
  let descriptor: BTFDescriptor | undefined;
  if (fd !== 0) {
    const object = env.ext.resolveFD(fd);
    if (typeof object === 'number' || object.kind !== 'btf') return refuse(env, 'invalid module BTF object FD specified.');
    descriptor = object;
  } else {
    descriptor = env.ext.kernelBTF();
    if (descriptor === undefined) {
      return refuse(env, 'kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.');
    }
  }
  const types = descriptor.btf;
  const id = imm[i]!;
  if (!types.has(id) || id < 0) return refuse(env, `ldimm64 insn specifies invalid btf_id ${id}.`, -ENOENT);
  const kind = types.kind(id);
  if (kind !== BTF_KIND_VAR && kind !== BTF_KIND_FUNC) return refuse(env, `pseudo btf_id ${id} in ldimm64 isn't KIND_VAR or KIND_FUNC`);
  const name = types.typeName(id);
  const address = env.ext.kernelSymbol(name);
  if (address === undefined) return refuse(env, `ldimm64 failed to find the address for kernel symbol '${name}'.`, -ENOENT);
  imm[i] = address[0];
  imm[i + 1] = address[1];
  const { aux } = env;
  if (kind === BTF_KIND_FUNC) {
    aux.ptrType[i] = PTR_TO_MEM | MEM_RDONLY;
    aux.memSize[i] = 0;
    return addUsedBTF(env, descriptor);
  }
  const type = types.type(id);
  const target = types.skipModifiers(type);
  const targetKind = types.kind(target);
  if (isPercpuVariable(descriptor, id)) {
    aux.ptrType[i] = PTR_TO_BTF_ID | MEM_PERCPU;
    aux.btfIndex[i] = env.btfIndexOf(descriptor);
    aux.btfID[i] = type;
  } else if (targetKind === BTF_KIND_STRUCT || targetKind === BTF_KIND_UNION) {
    aux.ptrType[i] = PTR_TO_BTF_ID;
    aux.btfIndex[i] = env.btfIndexOf(descriptor);
    aux.btfID[i] = type;
  } else {
    const size = types.resolveSize(target);
    if (size === undefined) {
      return refuse(env, `ldimm64 unable to resolve the size of type '${types.typeName(target)}': -22`);
    }
    aux.ptrType[i] = PTR_TO_MEM | MEM_RDONLY;
    aux.memSize[i] = size;
  }
  return addUsedBTF(env, descriptor);
}

/** A 16-byte load that names a map or a byte of a map's value. */
function resolveMapLoad(env: VerifierEnv, i: number): number {
  const { src, imm } = env.insns;
  const kind = src[i]!;
  const isValue = kind === BPF_PSEUDO_MAP_VALUE || kind === BPF_PSEUDO_MAP_IDX_VALUE;
  const isMap = (kind === BPF_PSEUDO_MAP_FD || kind === BPF_PSEUDO_MAP_IDX) && imm[i + 1] === 0;
  if (!isValue && !isMap) return refuse(env, 'unrecognized bpf_ld_imm64 insn');
  let index: number;
  if (kind === BPF_PSEUDO_MAP_IDX || kind === BPF_PSEUDO_MAP_IDX_VALUE) index = mapByArrayIndex(env, imm[i]!);
  else if (env.signed) return refuse(env, 'signed program cannot reference a map by fd, only via fd_array index');
  else index = addUsedMapFD(env, imm[i]!);
  if (index < 0) return index;
  const map = env.usedMaps[index]!;
  env.aux.mapIndex[i] = index;
  if (!isValue) {
    imm[i] = map.address;
    imm[i + 1] = KERNEL_HIGH;
    return 0;
  }
  const off = imm[i + 1]!;
  if (!hasDirectValues(map)) return refuse(env, 'no direct value access support for this map type');
  const address = map.directValueAddress(off >>> 0);
  if (address < 0) {
    return refuse(env, `invalid access to map value pointer, value_size=${map.valueSize} off=${off >>> 0}`, address);
  }
  env.aux.mapOff[i] = off;
  imm[i] = address;
  imm[i + 1] = KERNEL_HIGH;
  return 0;
}

/** Checks and resolves all instructions; 0 or `-errno`. */
export function checkAndResolveInsns(env: VerifierEnv): number {
  const { code, dst, src, off, count } = env.insns;
  // Here, as in the kernel: after CO-RE relocations were applied.
  if (!env.signed) env.digestLater(env.insns.encode(env.slab.u8(count * 8, false).subarray(0, count * 8)));
  for (let i = 0; i < count; i++) {
    if (dst[i]! >= MAX_BPF_REG && !isStackArgStore(env, i)) return refuse(env, `R${dst[i]!} is invalid`);
    if (src[i]! >= MAX_BPF_REG && !isStackArgLoad(env, i)) return refuse(env, `R${src[i]!} is invalid`);
    if (code[i] !== LD_IMM64) {
      if (KNOWN_OPCODES[code[i]!] === 0) return refuse(env, `unknown opcode ${code[i]!.toString(16).padStart(2, '0')}`);
      const error = checkFields(env, i);
      if (error !== 0) return error;
      continue;
    }
    if (i === count - 1 || code[i + 1] !== 0 || dst[i + 1] !== 0 || src[i + 1] !== 0 || off[i + 1] !== 0) {
      return refuse(env, 'invalid bpf_ld_imm64 insn');
    }
    if (off[i] !== 0) return refuse(env, 'BPF_LD_IMM64 uses reserved fields');
    let error = 0;
    if (src[i] === BPF_PSEUDO_BTF_ID) error = resolveKernelSymbol(env, i);
    else if (src[i] === BPF_PSEUDO_FUNC) env.aux.ptrType[i] = PTR_TO_FUNC;
    else if (src[i] !== 0) error = resolveMapLoad(env, i);
    if (error !== 0) return error;
    i++;
  }
  return 0;
}
