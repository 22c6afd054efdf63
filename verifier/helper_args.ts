/**
 * @module verifier/helper_args
 * Arguments of helpers and global functions: kinds of registers that an argument takes, memory with its size, map keys and values,
 * locks, timers, constant strings. Reproduces `check_func_arg`, `check_reg_type`, `check_helper_mem_access` and what they call
 * (kernel/bpf/verifier.c). What the call then does is helper_calls.ts.
 */
import {
  BPF_KPTR, BPF_KPTR_PERCPU, BPF_KPTR_REF, BPF_RES_SPIN_LOCK, BPF_SPIN_LOCK, BPF_TASK_WORK, BPF_TIMER, fieldTypeName,
} from '../btf/record.ts';
import { EACCES, EFAULT, EINVAL, EOPNOTSUPP } from '../isa/errno.ts';
import {
  BPF_FUNC_kptr_xchg, BPF_FUNC_map_peek_elem, BPF_FUNC_sk_release, BPF_FUNC_spin_lock, BPF_FUNC_spin_unlock, BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_BLOOM_FILTER, BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_SOCKHASH, BPF_MAP_TYPE_SOCKMAP,
  BTF_KIND_STRUCT, HELPER_NAMES,
} from '../isa/uapi.ts';
import { btSetFrameSlot, markChainPrecision, markChainPrecisionBatch } from './backtrack.ts';
import { checkPtrToBTFAccess, mapKptrMatches } from './btf_access.ts';
import { structIDsMatch } from './btf_walk.ts';
import { diagCallArg } from './call_diag.ts';
import type { CallMeta } from './call_meta.ts';
import { processDynptrArg } from './dynptr.ts';
import type { VerifierEnv } from './env.ts';
import { lockPtr } from './graph.ts';
import { inRBTreeCallback } from './graph.ts';
import { hasDirectValues, mapRecord, recordFind, recordHas, regRecord } from './map_record.ts';
import {
  ACCESS_HELPER, checkAlignment, checkBuffer, checkMapAccess, checkMapAccessType, checkPacketAccess, checkRegion, isMapReadOnly,
  isVarCtxOffAllowed, mayAccessPacket, regMap,
} from './mem_access.ts';
import { checkPtrOff } from './ptr_off.ts';
import {
  acquireLock, findLock, inRCU, invalidateNonOwningRefs, invalidateRCUProtectedRefs, isReferenced, releaseLock, updateRefObj,
} from './refs.ts';
import {
  argName, checkSource, curReg, isNull, isPointerValue, isVarConst, regOfArg, smin, umax, umin, varValue,
} from './regs.ts';
import * as T from './regtypes.ts';
import { checkStackRangeInitialized, markArgPrecision, type RawMemory, sumText } from './stack.ts';
import {
  REF_TYPE_LOCK, REF_TYPE_LOCK_MASK, REF_TYPE_RES_LOCK, REF_TYPE_RES_LOCK_IRQ, REG_A, REG_B, REG_ID, REG_MAP_UID, REG_TYPE, REG_VAR_HI,
  REG_VAR_LO, SLOT_TYPES, slotAt, STACK_SPILL, STACK_ZERO,
} from './state.ts';
import type { MapDescriptor } from './types.ts';

const BPF_F_INNER_MAP = 1 << 12;
const NAMES: readonly string[] = HELPER_NAMES.map((name) => `bpf_${name}`);

/** `bpf_map_lookup_elem` for messages, `unknown` for ids that are none. */
export function funcName(id: number): string {
  return NAMES[id] ?? 'unknown';
}

function refuse(env: VerifierEnv, message: string, error: number = -EACCES): number {
  env.log.write(`${message}\n`);
  return error;
}

function bug(env: VerifierEnv, message: string): number {
  env.log.write(`verifier bug: ${message}\n`);
  return -EFAULT;
}

export function isDynptrArg(type: number): boolean {
  return T.baseType(type) === T.ARG_PTR_TO_DYNPTR;
}

// ---- memory

function refuseWrite(env: VerifierEnv, argno: number, type: number): number {
  return refuse(env, `${argName(argno)} cannot write into ${T.regTypeName(type)}`);
}

/** Memory of `size` bytes that a call reads or writes (`check_helper_mem_access`). */
export function checkHelperMemory(
  env: VerifierEnv, reg: number, argno: number, size: number, access: number, zeroSizeAllowed: boolean, raw: RawMemory | undefined,
  known?: { isKnown: boolean },
): number {
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  if (known !== undefined) known.isKnown = true;
  switch (T.baseType(type)) {
    case T.PTR_TO_PACKET: case T.PTR_TO_PACKET_META:
      return checkPacketAccess(env, reg, argno, 0, size, zeroSizeAllowed);
    case T.PTR_TO_MAP_KEY:
      if (access === T.BPF_WRITE) return refuseWrite(env, argno, type);
      return checkRegion(env, reg, argno, 0, size, regMap(env, reg).keySize, false);
    case T.PTR_TO_MAP_VALUE:
      if (checkMapAccessType(env, reg, 0, size, access) !== 0) return -EACCES;
      return checkMapAccess(env, reg, argno, 0, size, zeroSizeAllowed, ACCESS_HELPER);
    case T.PTR_TO_MEM:
      if ((type & T.MEM_RDONLY) !== 0 && access === T.BPF_WRITE) return refuseWrite(env, argno, type);
      return checkRegion(env, reg, argno, 0, size, w[reg + REG_A]! >>> 0, zeroSizeAllowed);
    case T.PTR_TO_BUF:
      if ((type & T.MEM_RDONLY) !== 0 && access === T.BPF_WRITE) return refuseWrite(env, argno, type);
      return checkBuffer(env, reg, argno, 0, size);
    case T.PTR_TO_STACK:
      return checkStackRangeInitialized(env, reg, argno, 0, size, zeroSizeAllowed, access, raw);
    case T.PTR_TO_BTF_ID:
      return checkPtrToBTFAccess(env, reg, argno, 0, size, access, -1);
    case T.PTR_TO_CTX:
      if (isVarCtxOffAllowed(env)) {
        const error = checkRegion(env, reg, argno, 0, size, 0xffff, zeroSizeAllowed);
        if (error !== 0) return error;
        env.maxCtxOffset = Math.max(env.maxCtxOffset, umax(w, reg) + size);
        return 0;
      }
      break;
    default:
      break;
  }
  if (zeroSizeAllowed && size === 0 && isNull(w, reg)) return 0;
  if (known !== undefined && T.baseType(type) !== T.PTR_TO_CTX) known.isKnown = false;
  env.log.write(`${argName(argno)} type=${T.regTypeName(type)} `);
  env.log.write(`expected=${T.regTypeName(T.PTR_TO_STACK)}\n`);
  return -EACCES;
}

/** Which of memory and size a pair of arguments failed for. */
export type MemSizeFailure = 'none' | 'memory' | 'size';

/** A memory argument and its size argument (`check_mem_size_reg`). `accesses` is a set of `BPF_READ`, `BPF_WRITE`. */
export function checkMemSize(
  env: VerifierEnv, memReg: number, sizeReg: number, memArg: number, sizeArg: number, accesses: number, zeroSizeAllowed: boolean, meta: CallMeta,
  failure?: { kind: MemSizeFailure },
): number {
  const { w } = env;
  if (failure !== undefined) failure.kind = 'size';
  meta.msizeMaxValue = umax(w, sizeReg);
  const raw = isVarConst(w, sizeReg) ? meta.raw : undefined;
  const name = argName(sizeArg);
  if (smin(w, sizeReg) < 0) return refuse(env, `${name} min value is negative, either use unsigned or 'var &= const'`);
  const low = umin(w, sizeReg);
  const high = umax(w, sizeReg);
  if (low === 0 && !zeroSizeAllowed) return refuse(env, `${name} invalid zero-sized read: u64=[${low},${String(high)}]`);
  if (high >= T.BPF_MAX_VAR_SIZ) return refuse(env, `${name} unbounded memory access, use 'var &= const' or 'if (var < const)'`);
  let error = 0;
  if ((accesses & T.BPF_READ) !== 0) error = checkHelperMemory(env, memReg, memArg, high, T.BPF_READ, zeroSizeAllowed, raw);
  if (error === 0 && (accesses & T.BPF_WRITE) !== 0) error = checkHelperMemory(env, memReg, memArg, high, T.BPF_WRITE, zeroSizeAllowed, raw);
  if (failure !== undefined) failure.kind = error !== 0 ? 'memory' : 'none';
  return error !== 0 ? error : markArgPrecision(env, sizeArg);
}

/** A memory argument of fixed size (`check_mem_reg`). Without `raw` stack slots may be poisoned. */
export function checkMemReg(
  env: VerifierEnv, reg: number, argno: number, memSize: number, accesses: number, raw: RawMemory | undefined, known?: { isKnown: boolean },
): number {
  const { w } = env;
  if (isNull(w, reg)) return markArgPrecision(env, argno);
  if (known !== undefined) known.isKnown = true;
  if (memSize > 0x7fffffff) return refuse(env, `${argName(argno)} memory size ${memSize >>> 0} is too large`);
  const size = raw === undefined && T.baseType(w[reg + REG_TYPE]!) === T.PTR_TO_STACK ? -memSize : memSize;
  let error = 0;
  if ((accesses & T.BPF_READ) !== 0) error = checkHelperMemory(env, reg, argno, size, T.BPF_READ, true, raw, known);
  if (error === 0 && (accesses & T.BPF_WRITE) !== 0) error = checkHelperMemory(env, reg, argno, size, T.BPF_WRITE, true, raw, known);
  return error;
}

/** A constant size of memory to allocate. */
export function processAllocSize(env: VerifierEnv, reg: number, argno: number, meta: CallMeta): number {
  const { w } = env;
  if (meta.retMemSize >= 0) return bug(env, 'only one allocation size argument permitted');
  if (!isVarConst(w, reg)) return refuse(env, `${argName(argno)} is not a const`, -EINVAL);
  if (w[reg + REG_VAR_HI] !== 0) return refuse(env, `${argName(argno)} allocation size exceeds u32 max`, -EINVAL);
  const error = markArgPrecision(env, argno);
  if (error !== 0) return error;
  meta.retMemSize = w[reg + REG_VAR_LO]! >>> 0;
  return 0;
}

// ---- locks and map fields

export const PROCESS_SPIN_LOCK = 1;
export const PROCESS_RES_LOCK = 2;
export const PROCESS_LOCK_IRQ = 4;

function takeLock(env: VerifierEnv, isRes: boolean, type: number, id: number, ptr: number): number {
  const st = env.cur;
  const insn = env.insnIdx;
  if (st.activeLocks !== 0) {
    const held = isRes ? findLock(st, REF_TYPE_RES_LOCK | REF_TYPE_RES_LOCK_IRQ, id, ptr) : findLock(st, REF_TYPE_LOCK, 0, 0);
    if (held >= 0 && !isRes) {
      env.log.write('Locking two bpf_spin_locks are not allowed\n');
      env.diag?.lock(
        insn, 'nested spin lock', 'This path already holds a bpf_spin_lock. The verifier allows only one regular BPF spin lock at a time.',
        'Unlock the current bpf_spin_lock before taking another one.', held,
      );
      return -EINVAL;
    }
    if (held >= 0) {
      env.log.write('Acquiring the same lock again, AA deadlock detected\n');
      env.diag?.lock(
        insn, 'recursive resource spin lock', 'This path already holds the same resource spin lock. Taking it again would deadlock.',
        'Avoid reacquiring the same resource spin lock before it is unlocked.', held,
      );
      return -EINVAL;
    }
  }
  if (acquireLock(env, insn, type, id, ptr) < 0) return refuse(env, 'Failed to acquire lock state', -12);
  return 0;
}

function leaveLock(env: VerifierEnv, name: string, type: number, id: number, ptr: number): number {
  const st = env.cur;
  const insn = env.insnIdx;
  if (st.activeLocks === 0) {
    env.log.write(`${name}_unlock without taking a lock\n`);
    env.diag?.res(
      insn, 'unlock without lock', 'This unlock operation has no matching active lock on the current path.',
      'Take the matching lock before this unlock, or remove the unmatched unlock path.',
    );
    return -EINVAL;
  }
  const active = (): number => findLock(st, REF_TYPE_LOCK_MASK, st.activeLockID, st.activeLockPtr);
  if (findLock(st, type, id, ptr) < 0) {
    env.log.write(`${name}_unlock of different lock\n`);
    env.diag?.lock(
      insn, 'unlock of a different lock', 'This unlock does not match any active lock with the same tracked identity on the current path.',
      'Unlock the same lock object that was most recently acquired.', active(),
    );
    return -EINVAL;
  }
  if (id !== st.activeLockID || ptr !== st.activeLockPtr) {
    env.log.write(`${name}_unlock cannot be out of order\n`);
    env.diag?.lock(
      insn, 'unlock out of order', 'Locks must be released in last-in, first-out order, but this unlock does not match the currently active lock.',
      'Release nested locks in the reverse order they were acquired.', active(),
    );
    return -EINVAL;
  }
  if (releaseLock(env, type, id, ptr) !== 0) {
    env.log.write(`${name}_unlock of different lock\n`);
    env.diag?.lock(
      insn, 'unlock of a different lock', 'The verifier could not release a lock state matching this unlock operation.',
      'Pass the same lock object and lock kind that were used for the matching lock operation.', active(),
    );
    return -EINVAL;
  }
  invalidateNonOwningRefs(env);
  if (!inRCU(env)) invalidateRCUProtectedRefs(env);
  return 0;
}

/** A spin lock argument, taken or left (`process_spin_lock`). */
export function processSpinLock(env: VerifierEnv, reg: number, argno: number, flags: number): number {
  const { w } = env;
  const isRes = (flags & PROCESS_RES_LOCK) !== 0;
  const name = isRes ? 'bpf_res_spin' : 'bpf_spin';
  if (!isVarConst(w, reg)) {
    return refuse(env, `${argName(argno)} doesn't have constant offset. ${name}_lock has to be at the constant offset`, -EINVAL);
  }
  const map = w[reg + REG_TYPE] === T.PTR_TO_MAP_VALUE ? regMap(env, reg) : undefined;
  if (map !== undefined && map.btf === undefined) return refuse(env, `map '${map.name}' has to have BTF in order to use ${name}_lock`, -EINVAL);
  const record = regRecord(env, reg);
  if (!recordHas(record, isRes ? BPF_RES_SPIN_LOCK : BPF_SPIN_LOCK)) {
    return refuse(env, `${map !== undefined ? 'map' : 'local'} '${map?.name ?? 'kptr'}' has no valid ${name}_lock`, -EINVAL);
  }
  const at = isRes ? record!.resSpinLockOffset : record!.spinLockOffset;
  if (at !== varValue(w, reg)) {
    return refuse(env, `off ${sumText(w[reg + REG_VAR_LO]!, w[reg + REG_VAR_HI]!, 0)} doesn't point to 'struct ${name}_lock' that is at ${at}`, -EINVAL);
  }
  const type = !isRes ? REF_TYPE_LOCK : (flags & PROCESS_LOCK_IRQ) !== 0 ? REF_TYPE_RES_LOCK_IRQ : REF_TYPE_RES_LOCK;
  const id = w[reg + REG_ID]!;
  const ptr = lockPtr(w[reg + REG_TYPE]!, w[reg + REG_A]!);
  return (flags & PROCESS_SPIN_LOCK) !== 0 ? takeLock(env, isRes, type, id, ptr) : leaveLock(env, name, type, id, ptr);
}

/** A timer, work queue or task work argument: points at that field of a map's value. */
export function checkMapField(env: VerifierEnv, reg: number, argno: number, type: number, meta: CallMeta): number {
  const { w } = env;
  const map = regMap(env, reg);
  const name = fieldTypeName(type);
  if (!isVarConst(w, reg)) {
    return refuse(env, `${argName(argno)} doesn't have constant offset. ${name} has to be at the constant offset`, -EINVAL);
  }
  if (map.btf === undefined) return refuse(env, `map '${map.name}' has to have BTF in order to use ${name}`, -EINVAL);
  const record = mapRecord(env, map);
  if (record === undefined || !recordHas(record, type)) return refuse(env, `map '${map.name}' has no valid ${name}`, -EINVAL);
  const at = type === BPF_TIMER ? record.timerOffset : type === BPF_TASK_WORK ? record.taskWorkOffset : record.workQueueOffset;
  if (at !== varValue(w, reg)) {
    return refuse(env, `off ${sumText(w[reg + REG_VAR_LO]!, w[reg + REG_VAR_HI]!, 0)} doesn't point to 'struct ${name}' that is at ${at}`, -EINVAL);
  }
  if (meta.map >= 0) return bug(env, `Two map pointers in a ${name} helper`);
  meta.mapUID = w[reg + REG_MAP_UID]!;
  meta.map = w[reg + REG_A]!;
  return 0;
}

function processKptrDestination(env: VerifierEnv, regno: number, meta: CallMeta): number {
  const { w } = env;
  const reg = curReg(env, regno);
  if (!T.typeIsPtrAllocObj(w[reg + REG_TYPE]!)) {
    const map = regMap(env, reg);
    if (map.btf === undefined) return refuse(env, `map '${map.name}' has to have BTF in order to use bpf_kptr_xchg`, -EINVAL);
    meta.map = w[reg + REG_A]!;
  }
  const record = regRecord(env, reg);
  if (!isVarConst(w, reg)) return refuse(env, `R${regno} doesn't have constant offset. kptr has to be at the constant offset`, -EINVAL);
  if (!recordHas(record, BPF_KPTR)) return refuse(env, `R${regno} has no valid kptr`, -EINVAL);
  const off = w[reg + REG_VAR_LO]!;
  const field = recordFind(record, off >>> 0, BPF_KPTR);
  if (field === undefined) return refuse(env, `off=${off} doesn't point to kptr`);
  if (field.type !== BPF_KPTR_REF && field.type !== BPF_KPTR_PERCPU) return refuse(env, `off=${off} kptr isn't referenced kptr`);
  meta.kptrField = field;
  return 0;
}

/** A map argument must be the map that an earlier argument (a timer…) lies in (`process_map_ptr_arg`). */
export function processMapPtr(env: VerifierEnv, reg: number, argno: number, meta: CallMeta): number {
  const map = env.w[reg + REG_A]!;
  const uid = env.w[reg + REG_MAP_UID]!;
  if (meta.map >= 0 && (meta.map !== map || meta.mapUID !== uid)) {
    const record = mapRecord(env, env.mapTable[meta.map]!);
    const name = record !== undefined && record.timerOffset >= 0 ? 'timer'
      : record !== undefined && record.taskWorkOffset >= 0 ? 'bpf_task_work' : 'workqueue';
    env.log.write(`${name} pointer in ${argName(regOfArg(argno) - 1)} map_uid=${meta.mapUID} `);
    env.log.write(`doesn't match map pointer in ${argName(argno)} map_uid=${uid}\n`);
    return -EINVAL;
  }
  meta.map = map;
  meta.mapUID = uid;
  return 0;
}

/** A string that must be constant and end (`check_arg_const_str`). */
export function checkConstString(env: VerifierEnv, reg: number, argno: number): number {
  const { w } = env;
  if (w[reg + REG_TYPE] !== T.PTR_TO_MAP_VALUE) return -EINVAL;
  const map = regMap(env, reg);
  const name = argName(argno);
  if (map.type === BPF_MAP_TYPE_INSN_ARRAY) return refuse(env, `${name} points to insn_array map which cannot be used as const string`);
  if (map.type === BPF_MAP_TYPE_PERCPU_ARRAY) return refuse(env, `${name} points to percpu_array map which cannot be used as const string`);
  if (!isMapReadOnly(map)) return refuse(env, `${name} does not point to a readonly map'`);
  if (!isVarConst(w, reg)) return refuse(env, `${name} is not a constant address'`);
  if (!hasDirectValues(map)) return refuse(env, 'no direct value access support for this map type');
  const off = w[reg + REG_VAR_LO]!;
  const error = checkMapAccess(env, reg, argno, 0, map.valueSize - off, false, ACCESS_HELPER);
  if (error !== 0) return error;
  const address = map.directValueAddress(off);
  if (address < 0) return refuse(env, 'direct value access on string failed', address);
  for (let i = off; i < map.valueSize; i++) {
    const byte = map.readDirectValue(i, 1);
    if (byte !== undefined && (byte[0] & 0xff) === 0) return 0;
  }
  return refuse(env, 'string is not zero-terminated', -EINVAL);
}

/** Bytes of the constant string at a register, without its end. */
export function constString(env: VerifierEnv, reg: number): string | undefined {
  const map = regMap(env, reg);
  let text = '';
  for (let i = env.w[reg + REG_VAR_LO]!; i < map.valueSize; i++) {
    const byte = map.readDirectValue(i, 1);
    if (byte === undefined) return undefined;
    if ((byte[0] & 0xff) === 0) return text;
    text += String.fromCharCode(byte[0] & 0xff);
  }
  return undefined;
}

// ---- register kinds

const { PTR_TO_BTF_ID, PTR_TRUSTED, MEM_ALLOC, MEM_RCU, MEM_PERCPU, NON_OWN_REF } = T;
const SOCK_TYPES = [T.PTR_TO_SOCK_COMMON, T.PTR_TO_SOCKET, T.PTR_TO_TCP_SOCK, T.PTR_TO_XDP_SOCK];
const MEM_TYPES = [
  T.PTR_TO_STACK, T.PTR_TO_PACKET, T.PTR_TO_PACKET_META, T.PTR_TO_MAP_KEY, T.PTR_TO_MAP_VALUE, T.PTR_TO_MEM, T.PTR_TO_MEM | T.MEM_RINGBUF,
  T.PTR_TO_BUF, PTR_TO_BTF_ID | PTR_TRUSTED, T.PTR_TO_CTX,
];
const SCALAR_TYPES = [T.SCALAR_VALUE];

/** Kinds that an argument takes, in the order in which messages list them. */
const COMPATIBLE: ReadonlyMap<number, readonly number[]> = new Map([
  [T.ARG_PTR_TO_MAP_KEY, MEM_TYPES],
  [T.ARG_PTR_TO_MAP_VALUE, MEM_TYPES],
  [T.ARG_MEM_SIZE, SCALAR_TYPES],
  [T.ARG_MEM_SIZE_OR_ZERO, SCALAR_TYPES],
  [T.ARG_CONST_ALLOC_SIZE_OR_ZERO, SCALAR_TYPES],
  [T.ARG_SCALAR, SCALAR_TYPES],
  [T.ARG_CONST_MAP_PTR, [T.CONST_PTR_TO_MAP]],
  [T.ARG_PTR_TO_CTX, [T.PTR_TO_CTX]],
  [T.ARG_PTR_TO_SOCK_COMMON, SOCK_TYPES],
  [T.ARG_PTR_TO_BTF_ID_SOCK_COMMON, [...SOCK_TYPES, PTR_TO_BTF_ID, PTR_TO_BTF_ID | PTR_TRUSTED]],
  [T.ARG_PTR_TO_SOCKET, [T.PTR_TO_SOCKET]],
  [T.ARG_PTR_TO_BTF_ID, [PTR_TO_BTF_ID, PTR_TO_BTF_ID | PTR_TRUSTED, PTR_TO_BTF_ID | MEM_RCU]],
  [T.ARG_PTR_TO_SPIN_LOCK, [T.PTR_TO_MAP_VALUE, PTR_TO_BTF_ID | MEM_ALLOC]],
  [T.ARG_PTR_TO_MEM, MEM_TYPES],
  [T.ARG_PTR_TO_RINGBUF_MEM, [T.PTR_TO_MEM | T.MEM_RINGBUF]],
  [T.ARG_PTR_TO_PERCPU_BTF_ID, [PTR_TO_BTF_ID | MEM_PERCPU, PTR_TO_BTF_ID | MEM_PERCPU | MEM_RCU, PTR_TO_BTF_ID | MEM_PERCPU | PTR_TRUSTED]],
  [T.ARG_PTR_TO_FUNC, [T.PTR_TO_FUNC]],
  [T.ARG_PTR_TO_STACK, [T.PTR_TO_STACK]],
  [T.ARG_PTR_TO_CONST_STR, [T.PTR_TO_MAP_VALUE]],
  [T.ARG_PTR_TO_TIMER, [T.PTR_TO_MAP_VALUE]],
  [T.ARG_KPTR_XCHG_DEST, [
    T.PTR_TO_MAP_VALUE, PTR_TO_BTF_ID | MEM_ALLOC, PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF, PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF | MEM_RCU,
  ]],
  [T.ARG_PTR_TO_DYNPTR, [T.PTR_TO_STACK, T.CONST_PTR_TO_DYNPTR]],
]);

function checkBTFArg(env: VerifierEnv, reg: number, argno: number, argType: number, btfID: number, meta: CallMeta, callName: string): number {
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  const isRelease = (argType & T.OBJ_RELEASE) !== 0;
  if (T.typeMayBeNull(type) && (!T.typeMayBeNull(argType) || isRelease)) {
    env.log.write(`Possibly NULL pointer passed to helper ${argName(argno)}\n`);
    diagCallArg(
      env, env.insnIdx, argno, callName, 'the pointer may be NULL, but this call requires a non-NULL pointer',
      'Add a NULL check and make the call only on the non-NULL path.',
    );
    return -EACCES;
  }
  if (meta.funcID === BPF_FUNC_kptr_xchg) return mapKptrMatches(env, meta.kptrField!, reg, regOfArg(argno)) ? 0 : -EACCES;
  const kernel = env.ext.kernelBTF()?.btf;
  if (kernel === undefined || btfID === 0) return bug(env, 'missing arg compatible BTF ID');
  const error = checkPtrOff(env, reg, argno, true);
  if (error !== 0) return error;
  const btf = env.btfAt(w[reg + REG_A]!)!;
  const id = w[reg + REG_B]!;
  const isStrict = isRelease && meta.funcID !== BPF_FUNC_sk_release;
  const isAlloc = (type & MEM_ALLOC) !== 0;
  if (structIDsMatch(btf, id, w[reg + REG_VAR_LO]!, kernel, btfID, isStrict, !isAlloc, (text) => env.log.write(text))) return 0;
  return refuse(env, `${argName(argno)} is of type ${btf.typeName(id)} but ${kernel.typeName(btfID)} is expected`);
}

/** The register's kind is one that the argument takes (`check_reg_type`). `btfID` is the kernel struct expected, 0 for none. */
export function checkRegType(env: VerifierEnv, reg: number, argno: number, argType: number, btfID: number, meta: CallMeta, callName: string): number {
  const { w } = env;
  const actual = w[reg + REG_TYPE]!;
  const base = T.baseType(argType);
  const compatible = COMPATIBLE.get(base);
  if (compatible === undefined) return bug(env, `unsupported arg type ${argType}`);
  let type = actual;
  if ((argType & T.MEM_RDONLY) !== 0) type &= ~T.MEM_RDONLY;
  if ((argType & T.PTR_MAYBE_NULL) !== 0) type &= ~T.PTR_MAYBE_NULL;
  if (base === T.ARG_PTR_TO_MEM) type &= ~T.DYNPTR_TYPE_FLAG_MASK;
  if (meta.funcID === BPF_FUNC_kptr_xchg && (type & MEM_ALLOC) !== 0 && regOfArg(argno) === 2) type &= ~(MEM_ALLOC | MEM_PERCPU);
  if (!compatible.includes(type)) {
    const names = compatible.map((kind) => T.regTypeName(kind)).join(', ');
    env.log.write(`${argName(argno)} type=${T.regTypeName(actual)} expected=${names}\n`);
    diagCallArg(
      env, env.insnIdx, argno, callName, `it has type ${T.regTypeName(actual)}, but this argument accepts ${names}`,
      'Pass a value with one of the accepted pointer or scalar types for this call.',
    );
    return -EACCES;
  }
  if (T.baseType(actual) !== PTR_TO_BTF_ID) return 0;
  if (compatible === MEM_TYPES) {
    if ((argType & T.MEM_RDONLY) !== 0) return 0;
    return refuse(env, `${funcName(meta.funcID)}() may write into memory pointed by ${argName(argno)} type=${T.regTypeName(actual)}`);
  }
  switch (actual & ~T.PTR_MAYBE_NULL) {
    case PTR_TO_BTF_ID: case PTR_TO_BTF_ID | PTR_TRUSTED: case PTR_TO_BTF_ID | MEM_RCU:
      return checkBTFArg(env, reg, argno, argType, btfID === 0 && base === T.ARG_PTR_TO_BTF_ID_SOCK_COMMON ? kernelStruct(env, 'sock_common') : btfID, meta, callName);
    case PTR_TO_BTF_ID | MEM_ALLOC: case PTR_TO_BTF_ID | MEM_PERCPU | MEM_ALLOC: case PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF:
    case PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF | MEM_RCU:
      if (meta.funcID !== BPF_FUNC_spin_lock && meta.funcID !== BPF_FUNC_spin_unlock && meta.funcID !== BPF_FUNC_kptr_xchg) {
        return bug(env, 'unimplemented handling of MEM_ALLOC');
      }
      if (meta.funcID === BPF_FUNC_kptr_xchg && regOfArg(argno) === 2 && !mapKptrMatches(env, meta.kptrField!, reg, 2)) return -EACCES;
      return 0;
    case PTR_TO_BTF_ID | MEM_PERCPU: case PTR_TO_BTF_ID | MEM_PERCPU | MEM_RCU: case PTR_TO_BTF_ID | MEM_PERCPU | PTR_TRUSTED:
      return 0;
    default:
      return bug(env, 'invalid PTR_TO_BTF_ID register for type match');
  }
}

/** Id of a struct of the kernel's BTF, 0 where there is none. */
export function kernelStruct(env: VerifierEnv, name: string): number {
  return Math.max(0, env.ext.kernelBTF()?.btf.findByNameKind(name, BTF_KIND_STRUCT) ?? 0);
}

/** The offset that a pointer argument may have (`__check_func_arg_reg_off`). */
export function checkArgOffset(env: VerifierEnv, reg: number, argno: number, argType: number, btfFixedOffOK: boolean = true): number {
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  if ((argType & T.OBJ_RELEASE) !== 0) {
    if (isDynptrArg(argType) && type === T.PTR_TO_STACK) return 0;
    if (!isVarConst(w, reg) || w[reg + REG_VAR_LO] !== 0 || w[reg + REG_VAR_HI] !== 0) {
      return refuse(env, `${argName(argno)} must have zero offset when passed to release func or trusted arg to kfunc`, -EINVAL);
    }
  }
  switch (type) {
    case T.PTR_TO_STACK: case T.PTR_TO_PACKET: case T.PTR_TO_PACKET_META: case T.PTR_TO_MAP_KEY: case T.PTR_TO_MAP_VALUE: case T.PTR_TO_MEM:
    case T.PTR_TO_MEM | T.MEM_RDONLY: case T.PTR_TO_MEM | T.MEM_RINGBUF: case T.PTR_TO_BUF: case T.PTR_TO_BUF | T.MEM_RDONLY:
    case T.PTR_TO_ARENA: case T.SCALAR_VALUE:
      return 0;
    case PTR_TO_BTF_ID: case PTR_TO_BTF_ID | MEM_ALLOC: case PTR_TO_BTF_ID | PTR_TRUSTED: case PTR_TO_BTF_ID | MEM_RCU:
    case PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF: case PTR_TO_BTF_ID | MEM_ALLOC | NON_OWN_REF | MEM_RCU:
      return checkPtrOff(env, reg, argno, btfFixedOffOK);
    case T.PTR_TO_CTX:
      if (argType !== T.ARG_PTR_TO_CTX && isVarCtxOffAllowed(env)) return 0;
      return checkPtrOff(env, reg, argno, false);
    default:
      return checkPtrOff(env, reg, argno, false);
  }
}

// ---- helper arguments

/** Maps whose elements always exist: a lookup with a constant index inside cannot fail. */
export function canElideNullness(map: MapDescriptor): boolean {
  if ((map.flags & BPF_F_INNER_MAP) !== 0) return false;
  return map.type === BPF_MAP_TYPE_ARRAY || map.type === BPF_MAP_TYPE_PERCPU_ARRAY;
}

/** The constant key that a stack pointer points at, `undefined` for none, or `-errno` as `{error}`. */
function constantMapKey(env: VerifierEnv, key: number, keySize: number): number | { error: number } | undefined {
  const { w, b } = env;
  if (!env.bpfCapable || w[key + REG_TYPE] !== T.PTR_TO_STACK || !isVarConst(w, key)) return undefined;
  const frameno = w[key + REG_A]!;
  const byte = -w[key + REG_VAR_LO]! - 1;
  const spi = byte >> 3;
  const off = byte & 7;
  const slot = slotAt(env.cur.frameAt[frameno]!, spi);
  const types = (slot + SLOT_TYPES) << 2;
  let zeros = 0;
  for (let i = off; i >= 0 && b[types + i] === STACK_ZERO; i--) zeros++;
  if (zeros >= keySize) return 0;
  if (b[types + 7] !== STACK_SPILL || w[slot + REG_TYPE] !== T.SCALAR_VALUE) return undefined;
  let spilled = 0;
  for (let i = off; i >= 0 && b[types + i] === STACK_SPILL; i--) spilled++;
  if (spilled !== keySize || !isVarConst(w, slot)) return undefined;
  btSetFrameSlot(env, frameno, spi);
  const error = markChainPrecisionBatch(env);
  return error < 0 ? { error } : varValue(w, slot);
}

function resolveMapValueArg(env: VerifierEnv, meta: CallMeta, argType: number): number {
  if (meta.map < 0) return bug(env, 'invalid map_ptr to access map->type');
  switch (env.mapTable[meta.map]!.type) {
    case BPF_MAP_TYPE_SOCKMAP: case BPF_MAP_TYPE_SOCKHASH:
      if (argType === T.ARG_PTR_TO_MAP_VALUE) return T.ARG_PTR_TO_BTF_ID_SOCK_COMMON;
      return refuse(env, 'invalid arg_type for sockmap/sockhash', -EINVAL);
    case BPF_MAP_TYPE_BLOOM_FILTER:
      return meta.funcID === BPF_FUNC_map_peek_elem ? T.ARG_PTR_TO_MAP_VALUE : argType;
    default:
      return argType;
  }
}

function accessOf(argType: number): number {
  return (argType & T.MEM_WRITE) !== 0 ? T.BPF_WRITE : T.BPF_READ;
}

function checkKeyArg(env: VerifierEnv, reg: number, argno: number, meta: CallMeta): number {
  if (meta.map < 0) return bug(env, 'invalid map_ptr to access map->key');
  const map = env.mapTable[meta.map]!;
  const { keySize } = map;
  const error = checkHelperMemory(env, reg, argno, keySize, T.BPF_READ, false, undefined);
  if (error !== 0 || !canElideNullness(map)) return error;
  const key = constantMapKey(env, reg, keySize);
  if (typeof key === 'object') {
    meta.constMapKey = -1;
    return key.error === -EOPNOTSUPP ? 0 : key.error;
  }
  meta.constMapKey = key ?? -1;
  return 0;
}

function checkMemArg(env: VerifierEnv, reg: number, regno: number, argType: number, size: number, meta: CallMeta): number {
  if ((argType & T.MEM_FIXED_SIZE) === 0) return 0;
  const error = checkMemReg(env, reg, regno, size, accessOf(argType), meta.raw);
  if (error !== 0) return error;
  return (argType & T.MEM_ALIGNED) !== 0 ? checkAlignment(env, reg, 0, size, true) : 0;
}

/** One argument (from 0) of a helper call; 0 or `-errno`. */
export function checkHelperArg(env: VerifierEnv, arg: number, meta: CallMeta): number {
  const { w } = env;
  const fn = meta.fn!;
  const regno = arg + 1;
  let argType = fn.argTypes[arg] ?? T.ARG_DONTCARE;
  if (argType === T.ARG_DONTCARE) return 0;
  let error = checkSource(env, regno);
  if (error !== 0) return error;
  if (argType === T.ARG_ANYTHING) return isPointerValue(env, regno) ? refuse(env, `R${regno} leaks addr into helper function`) : 0;
  const reg = curReg(env, regno);
  if (T.typeIsPktPointer(w[reg + REG_TYPE]!) && !mayAccessPacket(env, fn, T.BPF_READ)) return refuse(env, 'helper access to the packet is not allowed');
  if (T.baseType(argType) === T.ARG_PTR_TO_MAP_VALUE) {
    argType = resolveMapValueArg(env, meta, argType);
    if (argType < 0) return argType;
  }
  const base = T.baseType(argType);
  if (isNull(w, reg) && T.typeMayBeNull(argType)) {
    error = markChainPrecision(env, regno);
  } else {
    const struct = base === T.ARG_PTR_TO_BTF_ID ? fn.argBTFNames?.[arg] : undefined;
    error = checkRegType(env, reg, regno, argType, struct === undefined ? 0 : kernelStruct(env, struct), meta, funcName(meta.funcID));
    if (error === 0) error = checkArgOffset(env, reg, regno, argType);
  }
  if (error !== 0) return error;
  if ((argType & T.OBJ_RELEASE) !== 0 && !isDynptrArg(argType) && !isReferenced(env, reg) && !isNull(w, reg)) {
    env.log.write(`release helper ${funcName(meta.funcID)} expects referenced PTR_TO_BTF_ID passed to R${regno}\n`);
    diagCallArg(
      env, env.insnIdx, regno, funcName(meta.funcID), 'release helpers require a value that owns a live resource returned by a matching acquire helper',
      'Pass the resource-owning pointer returned by the matching acquire helper, and avoid calling the release helper after ownership has already been transferred or released.',
    );
    return -EINVAL;
  }
  if (isReferenced(env, reg)) updateRefObj(env, meta.refObj, reg);
  return checkArgByKind(env, arg, reg, regno, argType, base, meta);
}

function checkArgByKind(env: VerifierEnv, arg: number, reg: number, regno: number, argType: number, base: number, meta: CallMeta): number {
  const { w } = env;
  const fn = meta.fn!;
  switch (base) {
    case T.ARG_CONST_MAP_PTR:
      return processMapPtr(env, reg, regno, meta);
    case T.ARG_PTR_TO_MAP_KEY:
      return checkKeyArg(env, reg, regno, meta);
    case T.ARG_PTR_TO_MAP_VALUE:
      if (T.typeMayBeNull(argType) && isNull(w, reg)) return 0;
      if (meta.map < 0) return bug(env, 'invalid map_ptr to access map->value');
      if (meta.funcID === BPF_FUNC_map_peek_elem && env.mapTable[meta.map]!.type === BPF_MAP_TYPE_BLOOM_FILTER) meta.raw.regno = 0;
      return checkHelperMemory(env, reg, regno, env.mapTable[meta.map]!.valueSize, accessOf(argType), false, meta.raw);
    case T.ARG_PTR_TO_PERCPU_BTF_ID:
      if (w[reg + REG_B] === 0) return refuse(env, `Helper has invalid btf_id in R${regno}`);
      meta.retBTFIndex = w[reg + REG_A]!;
      meta.retBTFID = w[reg + REG_B]!;
      return 0;
    case T.ARG_PTR_TO_SPIN_LOCK:
      if (inRBTreeCallback(env)) return refuse(env, "can't spin_{lock,unlock} in rbtree cb");
      if (meta.funcID === BPF_FUNC_spin_lock) return processSpinLock(env, reg, regno, PROCESS_SPIN_LOCK);
      if (meta.funcID === BPF_FUNC_spin_unlock) return processSpinLock(env, reg, regno, 0);
      return bug(env, 'spin lock arg on unexpected helper');
    case T.ARG_PTR_TO_TIMER:
      return checkMapField(env, reg, regno, BPF_TIMER, meta);
    case T.ARG_PTR_TO_FUNC:
      meta.subprogno = w[reg + REG_A]!;
      return 0;
    case T.ARG_PTR_TO_MEM:
      return checkMemArg(env, reg, regno, argType, fn.argSizes?.[arg] ?? 0, meta);
    case T.ARG_MEM_SIZE: case T.ARG_MEM_SIZE_OR_ZERO:
      return checkMemSize(
        env, curReg(env, regno - 1), reg, regno - 1, regno, accessOf(fn.argTypes[arg - 1]!), base === T.ARG_MEM_SIZE_OR_ZERO, meta,
      );
    case T.ARG_PTR_TO_DYNPTR:
      return processDynptrArg(env, reg, regno, env.insnIdx, funcName(meta.funcID), argType, meta.refObj, meta.dynptr);
    case T.ARG_CONST_ALLOC_SIZE_OR_ZERO:
      return processAllocSize(env, reg, regno, meta);
    case T.ARG_PTR_TO_CONST_STR:
      return checkConstString(env, reg, regno);
    case T.ARG_KPTR_XCHG_DEST:
      return processKptrDestination(env, regno, meta);
    default:
      return 0;
  }
}

