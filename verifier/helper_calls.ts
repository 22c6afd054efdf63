/**
 * @module verifier/helper_calls
 * Calls of helpers: may this program call it, its arguments, what the call does, and what it returns. Reproduces
 * `check_helper_call` and what it calls (kernel/bpf/verifier.c). Single arguments are helper_args.ts.
 */
import { BPF_KPTR_PERCPU, BPF_RES_SPIN_LOCK, BPF_SPIN_LOCK } from '../btf/record.ts';
import { EACCES, EFAULT, EINVAL, ENOTSUPP } from '../isa/errno.ts';
import * as U from '../isa/uapi.ts';
import { markChainPrecision } from './backtrack.ts';
import { CallMeta } from './call_meta.ts';
import { clearCallerSaved, invalidateOutgoingStackArgs } from './caller_saved.ts';
import {
  pushCallbackCall, setFindVMACallback, setLoopCallback, setMapElemCallback, setTimerCallback, setUserRingbufCallback,
} from './calls.ts';
import { prepareFuncExit } from './func_exit.ts';
import { isWithin, refuseScalar, type ValueRange } from './value_range.ts';
import { DIAG_MOD_CALLER_SAVED, DIAG_MOD_WRITE } from './diagnostics_port.ts';
import { unmarkDynptr } from './dynptr.ts';
import { BPF_DYNPTR_TYPE_INVALID, BPF_DYNPTR_TYPE_SKB, BPF_DYNPTR_TYPE_SKB_META } from './dynptr_types.ts';
import {
  AUX_LOOP_FIT, AUX_LOOP_INIT, AUX_MAP_KEY_POISON, AUX_MAP_KEY_SEEN, AUX_MAP_PTR_POISON, AUX_MAP_PTR_UNPRIV, AUX_NON_SLEEPABLE, AUX_PERCPU_ALLOC_PTR,
  type VerifierEnv,
} from './env.ts';
import { canElideNullness, checkHelperArg, constString, funcName, kernelStruct } from './helper_args.ts';
import { helperChangesPktData } from './helper_effects.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import { checkPrintfFormat } from './printf_format.ts';
import { checkMapCompatibility } from './map_helper.ts';
import { mapRecord, recordHas } from './map_record.ts';
import { checkMemAccess } from './mem_access.ts';
import { attachReturnType } from './ops.ts';
import type { HelperProto } from './ops_types.ts';
import { pushStack } from './paths.ts';
import { getHelperProto } from './progtypes/index.ts';
import { factsOf } from './progtypes/facts.ts';
import { hasTrampoline } from './progtypes/funcs.ts';
import { isBooleanHook } from './progtypes/lsm_hooks.ts';
import {
  acquireReference, checkResourceLeak, clearAllPktPointers, convertAllocToRCU, findReference, inRCU, inSleepableContext, isReferenced,
  nonSleepableDescription, releaseReference,
} from './refs.ts';
import { boundsSanity, curReg, isConst, isNull, markKnownZero, markUnknown, umax } from './regs.ts';
import * as T from './regtypes.ts';
import { scalarSetSigned, scalarSetUnsigned, scalarSync } from './scalar.ts';
import { cnum32FromSigned, cnum32FromUnsigned } from './cnum.ts';
import {
  curFrame, F_CALLBACK_DEPTH, F_FLAGS, FF_IN_CALLBACK, REG_A, REG_B, REG_ID, REG_MAP_UID, REG_PARENT_ID, REG_R32, REG_SCALAR, REG_TYPE,
  REG_VAR_HI, REG_VAR_LO, regAt,
} from './state.ts';

const MAX_ERRNO = 4095;
const BPF_F_RDONLY_PROG = 1 << 7;

const RECORDED_MAP_FUNCS: ReadonlySet<number> = new Set([
  U.BPF_FUNC_tail_call, U.BPF_FUNC_map_lookup_elem, U.BPF_FUNC_map_update_elem, U.BPF_FUNC_map_delete_elem, U.BPF_FUNC_map_push_elem,
  U.BPF_FUNC_map_pop_elem, U.BPF_FUNC_map_peek_elem, U.BPF_FUNC_for_each_map_elem, U.BPF_FUNC_redirect_map,
  U.BPF_FUNC_map_lookup_percpu_elem,
]);
const WRITING_MAP_FUNCS: ReadonlySet<number> = new Set([
  U.BPF_FUNC_map_delete_elem, U.BPF_FUNC_map_update_elem, U.BPF_FUNC_map_push_elem, U.BPF_FUNC_map_pop_elem,
]);
const PTR_CAST_FUNCS: ReadonlySet<number> = new Set([
  U.BPF_FUNC_tcp_sock, U.BPF_FUNC_sk_fullsock, U.BPF_FUNC_skc_to_tcp_sock, U.BPF_FUNC_skc_to_tcp6_sock, U.BPF_FUNC_skc_to_udp6_sock,
  U.BPF_FUNC_skc_to_mptcp_sock, U.BPF_FUNC_skc_to_tcp_timewait_sock, U.BPF_FUNC_skc_to_tcp_request_sock,
]);
const ACQUIRE_FUNCS: ReadonlySet<number> = new Set([
  U.BPF_FUNC_sk_lookup_tcp, U.BPF_FUNC_sk_lookup_udp, U.BPF_FUNC_skc_lookup_tcp, U.BPF_FUNC_ringbuf_reserve, U.BPF_FUNC_kptr_xchg,
]);

function refuse(env: VerifierEnv, message: string, error: number = -EINVAL): number {
  env.log.write(`${message}\n`);
  return error;
}

function bug(env: VerifierEnv, message: string): number {
  env.log.write(`verifier bug: ${message}\n`);
  return -EFAULT;
}

/** `bpf_map_lookup_elem#1` */
const label = (id: number): string => `${funcName(id)}#${id}`;

function refusePolicy(env: VerifierEnv, id: number, reason: string, suggestion: string): number {
  env.diag?.policy(env.insnIdx, `helper ${label(id)}`, reason, suggestion);
  return -EINVAL;
}

/** Finds the prototype and asks whether the program may call it at all. */
function findHelper(env: VerifierEnv, id: number): HelperProto | number {
  const insn = env.insnIdx;
  if (id < 0 || id >= U.HELPER_NAMES.length) return refuse(env, `invalid func ${label(id)}`);
  const fn = getHelperProto(env, id);
  if (fn === undefined) {
    env.log.write(`program of this type cannot use helper ${label(id)}\n`);
    return refusePolicy(
      env, id, 'this program type does not allow the helper', 'Use a helper allowed for this program type, or move the logic to a compatible program type.',
    );
  }
  if (!env.load.gplCompatible && fn.gplOnly) {
    env.log.write('cannot call GPL-restricted function from non-GPL compatible program\n');
    return refusePolicy(
      env, id, 'this helper is restricted to GPL-compatible programs',
      'Use a GPL-compatible license, or replace the helper with one that is available to non-GPL programs.',
    );
  }
  if (fn.isForbidden === true) {
    env.log.write('helper call is not allowed in probe\n');
    return refusePolicy(
      env, id, 'the helper-specific policy callback rejected this program', 'Use the helper only from an allowed attach point or program configuration.',
    );
  }
  if (fn.mightSleep && !inSleepableContext(env)) {
    env.log.write(`sleepable helper ${label(id)} in ${nonSleepableDescription(env)}\n`);
    env.diag?.ctxForbidden(
      insn, `sleepable helper ${label(id)}`, 'Move the helper call outside the critical section, or use a non-sleepable helper.',
    );
    return -EINVAL;
  }
  return fn;
}

/** Notes which argument is filled in by the call and which is released. */
function scanProto(fn: HelperProto, meta: CallMeta): void {
  const { argTypes } = fn;
  for (let i = 0; i < argTypes.length; i++) {
    const type = argTypes[i]!, base = T.baseType(type);
    if ((type & T.MEM_UNINIT) !== 0 && (base === T.ARG_PTR_TO_MEM || base === T.ARG_PTR_TO_MAP_VALUE)) meta.raw.regno = i + 1;
    if ((type & T.OBJ_RELEASE) !== 0) meta.releaseRegno = i + 1;
  }
}

/** Notes the map that a call always works on, for inlining (`record_func_map`). */
function recordMap(env: VerifierEnv, meta: CallMeta): number {
  const id = meta.funcID;
  if (!RECORDED_MAP_FUNCS.has(id)) return 0;
  if (meta.map < 0) return bug(env, 'expected map for helper call');
  const map = env.mapTable[meta.map]!;
  if ((map.flags & BPF_F_RDONLY_PROG) !== 0 && WRITING_MAP_FUNCS.has(id)) return refuse(env, 'write into map forbidden', -EACCES);
  const { mapIndex, flags } = env.aux;
  const i = env.insnIdx;
  if (mapIndex[i]! < 0) mapIndex[i] = meta.map;
  else if (mapIndex[i] !== meta.map) {
    mapIndex[i] = meta.map;
    flags[i]! |= AUX_MAP_PTR_POISON;
  }
  if (map.bypassesSpecV1 === false) flags[i]! |= AUX_MAP_PTR_UNPRIV;
  return 0;
}

/** Notes the constant index of a tail call (`record_func_key`). */
function recordKey(env: VerifierEnv, meta: CallMeta): number {
  if (meta.funcID !== U.BPF_FUNC_tail_call) return 0;
  const { w } = env;
  const map = meta.map < 0 ? undefined : env.mapTable[meta.map];
  if (map === undefined || map.type !== U.BPF_MAP_TYPE_PROG_ARRAY) {
    env.log.write('expected prog array map for tail call');
    return -EINVAL;
  }
  const { flags, mapKey } = env.aux;
  const i = env.insnIdx;
  const reg = curReg(env, 3);
  const key = w[reg + REG_VAR_LO]!;
  if (!isConst(w, reg, false) || w[reg + REG_VAR_HI] !== 0 || key >>> 0 >= map.maxEntries) {
    flags[i]! |= AUX_MAP_KEY_POISON | AUX_MAP_KEY_SEEN;
    return 0;
  }
  const error = markChainPrecision(env, 3);
  if (error !== 0) return error;
  if ((flags[i]! & AUX_MAP_KEY_SEEN) === 0) {
    flags[i]! |= AUX_MAP_KEY_SEEN;
    mapKey[i] = key;
  } else if ((flags[i]! & AUX_MAP_KEY_POISON) === 0 && mapKey[i] !== key) {
    flags[i]! |= AUX_MAP_KEY_POISON;
  }
  return 0;
}

/** Gives back what the call releases (`release_reg`). */
export function releaseRegister(env: VerifierEnv, reg: number, convertRCU: boolean, isDynptr: boolean): number {
  if (isNull(env.w, reg)) return 0;
  if (isDynptr) return unmarkDynptr(env, reg);
  if (convertRCU) return convertAllocToRCU(env, env.w[reg + REG_ID]!);
  return isReferenced(env, reg) ? releaseReference(env, env.w[reg + REG_ID]!) : -EINVAL;
}

function isLoopFlagZero(env: VerifierEnv): number {
  if (!isNull(env.w, curReg(env, 4))) return 0;
  const error = markChainPrecision(env, 4);
  return error !== 0 ? error : 1;
}

/** Whether a `bpf_loop` call can be replaced by a loop: always the same callback, no flags. */
function updateLoopInline(env: VerifierEnv, subprog: number): number {
  const { flags, callbackSubprog } = env.aux;
  const i = env.insnIdx;
  if ((flags[i]! & AUX_LOOP_INIT) === 0) {
    const isZero = isLoopFlagZero(env);
    if (isZero < 0) return isZero;
    flags[i]! |= AUX_LOOP_INIT | (isZero === 1 ? AUX_LOOP_FIT : 0);
    callbackSubprog[i] = subprog;
    return 0;
  }
  if ((flags[i]! & AUX_LOOP_FIT) === 0) return 0;
  const isZero = isLoopFlagZero(env);
  if (isZero < 0) return isZero;
  if (isZero === 0 || callbackSubprog[i] !== subprog) flags[i]! &= ~AUX_LOOP_FIT;
  return 0;
}

function callLoop(env: VerifierEnv, meta: CallMeta): number {
  const { w } = env;
  let error = updateLoopInline(env, meta.subprogno);
  if (error !== 0) return error;
  error = markChainPrecision(env, 1);
  if (error !== 0) return error;
  const frame = curFrame(env.cur);
  if (w[frame + F_CALLBACK_DEPTH]! < umax(w, curReg(env, 1))) return pushCallbackCall(env, meta.subprogno, setLoopCallback, false, false);
  w[frame + F_CALLBACK_DEPTH] = 0;
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) env.log.write(`frame${env.cur.curframe} bpf_loop iteration limit reached\n`);
  return 0;
}

/** Values that an LSM hook may return, `undefined` for hooks without a rule. */
function lsmRange(env: VerifierEnv): ValueRange {
  return isBooleanHook(factsOf(env).attachName) ? { min: 0, max: 1, is32: true } : { min: -MAX_ERRNO, max: 0, is32: true };
}

function callSetRetval(env: VerifierEnv): number {
  const { w } = env;
  const r1 = curReg(env, 1);
  if (w[r1 + REG_TYPE] !== T.SCALAR_VALUE) return refuse(env, 'R1 is not a scalar');
  const type = env.resolvedProgType;
  if (type === U.BPF_PROG_TYPE_CGROUP_SOCKOPT && env.expectedAttachType === U.BPF_CGROUP_GETSOCKOPT) return 0;
  let range: ValueRange = { min: -MAX_ERRNO, max: 0, is32: true };
  if (type === U.BPF_PROG_TYPE_LSM && env.expectedAttachType === U.BPF_LSM_CGROUP) {
    if (attachReturnType(env) === 0) return refuse(env, "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!");
    range = lsmRange(env);
  }
  const error = markChainPrecision(env, 1);
  if (error !== 0) return error;
  return isWithin(w, r1, range) ? 0 : refuseScalar(env, r1, range, 'At bpf_set_retval', 'R1');
}

function callSnprintf(env: VerifierEnv): number {
  const { w } = env;
  const length = w[curReg(env, 5) + REG_VAR_LO]!;
  if (length % 8 !== 0) return -EINVAL;
  const format = constString(env, curReg(env, 3));
  if (format === undefined) return refuse(env, 'failed to retrieve map value address', -EFAULT);
  const error = checkPrintfFormat(format, length / 8);
  return error < 0 ? refuse(env, 'Invalid format string', error) : 0;
}

/** What is particular to some helpers, before the call's result is made. */
function specialCall(env: VerifierEnv, meta: CallMeta, effects: { changesData: boolean; returnsPercpu: boolean }): number {
  const { w } = env;
  switch (meta.funcID) {
    case U.BPF_FUNC_tail_call:
      return checkResourceLeak(env, false, true, 'tail_call');
    case U.BPF_FUNC_get_local_storage:
      if (!isNull(w, curReg(env, 2))) return refuse(env, "get_local_storage() doesn't support non-zero flags");
      return markChainPrecision(env, 2);
    case U.BPF_FUNC_for_each_map_elem:
      return pushCallbackCall(env, meta.subprogno, setMapElemCallback, false, false);
    case U.BPF_FUNC_timer_set_callback:
      return pushCallbackCall(env, meta.subprogno, setTimerCallback, true, false);
    case U.BPF_FUNC_find_vma:
      return pushCallbackCall(env, meta.subprogno, setFindVMACallback, false, false);
    case U.BPF_FUNC_user_ringbuf_drain:
      return pushCallbackCall(env, meta.subprogno, setUserRingbufCallback, false, false);
    case U.BPF_FUNC_snprintf:
      return callSnprintf(env);
    case U.BPF_FUNC_loop:
      return callLoop(env, meta);
    case U.BPF_FUNC_dynptr_from_mem: {
      const type = w[curReg(env, 1) + REG_TYPE]!;
      return type === T.PTR_TO_MAP_VALUE ? 0 : refuse(env, `Unsupported reg type ${T.regTypeName(type)} for bpf_dynptr_from_mem data`, -EACCES);
    }
    case U.BPF_FUNC_set_retval:
      return callSetRetval(env);
    case U.BPF_FUNC_dynptr_write:
      if (meta.dynptr.type === BPF_DYNPTR_TYPE_INVALID) return -EFAULT;
      if (meta.dynptr.type === BPF_DYNPTR_TYPE_SKB || meta.dynptr.type === BPF_DYNPTR_TYPE_SKB_META) effects.changesData = true;
      return 0;
    case U.BPF_FUNC_per_cpu_ptr: case U.BPF_FUNC_this_cpu_ptr: {
      const reg = curReg(env, 1);
      if ((w[reg + REG_TYPE]! & T.MEM_RCU) === 0) return 0;
      const kind = env.btfAt(w[reg + REG_A]!)?.kind(w[reg + REG_B]!) ?? -1;
      if (kind !== U.BTF_KIND_STRUCT && kind !== U.BTF_KIND_UNION) return refuse(env, 'Helper has invalid btf/btf_id in R1', -EFAULT);
      effects.returnsPercpu = true;
      env.aux.flags[env.insnIdx]! |= AUX_PERCPU_ALLOC_PTR;
      return 0;
    }
    default:
      return 0;
  }
}

function returnMapValue(env: VerifierEnv, r0: number, flags: number, meta: CallMeta): number {
  const { w } = env;
  if (meta.map < 0) return bug(env, 'unexpected null map_ptr');
  const map = env.mapTable[meta.map]!;
  let flag = flags;
  if (meta.funcID === U.BPF_FUNC_map_lookup_elem && canElideNullness(map) && meta.constMapKey >= 0 && meta.constMapKey < map.maxEntries) {
    flag &= ~T.PTR_MAYBE_NULL;
  }
  w[r0 + REG_A] = meta.map;
  w[r0 + REG_MAP_UID] = meta.mapUID;
  w[r0 + REG_TYPE] = T.PTR_TO_MAP_VALUE | flag;
  if (T.typeMayBeNull(flag) || recordHas(mapRecord(env, map), BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK)) w[r0 + REG_ID] = ++env.idGen;
  const nullable = flag & T.PTR_MAYBE_NULL;
  if (map.innerMap !== undefined) {
    w[r0 + REG_TYPE] = T.CONST_PTR_TO_MAP | nullable;
    w[r0 + REG_A] = env.mapIndexOf(map.innerMap);
    w[r0 + REG_MAP_UID] = w[r0 + REG_ID]!;
  } else if (map.type === U.BPF_MAP_TYPE_XSKMAP) {
    w[r0 + REG_TYPE] = T.PTR_TO_XDP_SOCK | nullable;
    w[r0 + REG_MAP_UID] = 0;
  } else if (map.type === U.BPF_MAP_TYPE_SOCKMAP || map.type === U.BPF_MAP_TYPE_SOCKHASH) {
    w[r0 + REG_TYPE] = T.PTR_TO_SOCKET | nullable;
    w[r0 + REG_MAP_UID] = 0;
  }
  return 0;
}

function returnMemOrBTF(env: VerifierEnv, r0: number, flags: number, meta: CallMeta, returnsPercpu: boolean): number {
  const { w } = env;
  const btf = env.btfAt(meta.retBTFIndex)!;
  const target = btf.skipModifiers(meta.retBTFID);
  const kind = btf.kind(target);
  if (kind !== U.BTF_KIND_STRUCT && kind !== U.BTF_KIND_UNION) {
    const size = btf.resolveSize(target);
    if (size === undefined) return refuse(env, `unable to resolve the size of type '${btf.typeName(target)}': -22`);
    w[r0 + REG_TYPE] = T.PTR_TO_MEM | flags;
    w[r0 + REG_A] = size;
    return 0;
  }
  w[r0 + REG_TYPE] = returnsPercpu ? T.PTR_TO_BTF_ID | T.MEM_ALLOC | T.MEM_RCU : T.PTR_TO_BTF_ID | (flags & ~T.MEM_RDONLY);
  w[r0 + REG_A] = meta.retBTFIndex;
  w[r0 + REG_B] = meta.retBTFID;
  return 0;
}

function returnBTF(env: VerifierEnv, r0: number, flags: number, meta: CallMeta): number {
  const { w } = env;
  const fn = meta.fn!;
  w[r0 + REG_TYPE] = T.PTR_TO_BTF_ID | flags;
  let index: number;
  let id: number;
  if (meta.funcID === U.BPF_FUNC_kptr_xchg) {
    const target = meta.kptrField!.pointer!;
    index = env.btfIndexOf({ kind: 'btf', id: 0, btf: target.btf, isKernel: target.btf.isKernel });
    id = target.typeID;
    if (!target.btf.isKernel) {
      w[r0 + REG_TYPE]! |= T.MEM_ALLOC;
      if (meta.kptrField!.type === BPF_KPTR_PERCPU) w[r0 + REG_TYPE]! |= T.MEM_PERCPU;
    }
  } else {
    const kernel = env.ext.kernelBTF();
    index = kernel === undefined ? 0 : env.btfIndexOf(kernel);
    id = fn.retBTFName === undefined ? 0 : kernelStruct(env, fn.retBTFName);
  }
  if (id === 0) return refuse(env, `invalid return type ${T.baseType(fn.retType)} of func ${funcName(meta.funcID)}#${meta.funcID}`);
  w[r0 + REG_A] = index;
  w[r0 + REG_B] = id;
  return 0;
}

/** Makes R0 what the helper returns. */
function makeResult(env: VerifierEnv, r0: number, meta: CallMeta, returnsPercpu: boolean): number {
  const { w } = env;
  const { retType } = meta.fn!;
  const flags = T.typeFlag(retType);
  const base = T.baseType(retType);
  if (base === T.RET_INTEGER) {
    markUnknown(env, w, r0);
    return 0;
  }
  if (base === T.RET_VOID) {
    w[r0 + REG_TYPE] = T.NOT_INIT;
    return 0;
  }
  markKnownZero(w, r0);
  switch (base) {
    case T.RET_PTR_TO_MAP_VALUE:
      return returnMapValue(env, r0, flags, meta);
    case T.RET_PTR_TO_SOCKET:
      w[r0 + REG_TYPE] = T.PTR_TO_SOCKET | flags;
      return 0;
    case T.RET_PTR_TO_SOCK_COMMON:
      w[r0 + REG_TYPE] = T.PTR_TO_SOCK_COMMON | flags;
      return 0;
    case T.RET_PTR_TO_TCP_SOCK:
      w[r0 + REG_TYPE] = T.PTR_TO_TCP_SOCK | flags;
      return 0;
    case T.RET_PTR_TO_MEM:
      w[r0 + REG_TYPE] = T.PTR_TO_MEM | flags;
      w[r0 + REG_A] = Math.max(0, meta.retMemSize);
      return 0;
    case T.RET_PTR_TO_MEM_OR_BTF_ID:
      return returnMemOrBTF(env, r0, flags, meta, returnsPercpu);
    case T.RET_PTR_TO_BTF_ID:
      return returnBTF(env, r0, flags, meta);
    default:
      return refuse(env, `unknown return type ${base} of func ${funcName(meta.funcID)}#${meta.funcID}`);
  }
}

function setRange(env: VerifierEnv, reg: number, min: number, max: number): void {
  const { w } = env;
  scalarSetSigned(w, reg + REG_SCALAR, min, min < 0 ? -1 : 0, max, max < 0 ? -1 : 0);
  cnum32FromSigned(w, reg + REG_R32, min, max);
  scalarSync(w, reg + REG_SCALAR);
}

/** What is known of the result of some helpers. */
function refineResult(env: VerifierEnv, r0: number, meta: CallMeta): number {
  if (meta.fn!.retType !== T.RET_INTEGER) return 0;
  const { w } = env;
  const type = env.resolvedProgType;
  switch (meta.funcID) {
    case U.BPF_FUNC_get_stack: case U.BPF_FUNC_get_task_stack: case U.BPF_FUNC_probe_read_str: case U.BPF_FUNC_probe_read_kernel_str:
    case U.BPF_FUNC_probe_read_user_str:
      setRange(env, r0, -MAX_ERRNO, meta.msizeMaxValue);
      break;
    case U.BPF_FUNC_get_smp_processor_id: {
      const last = (env.ext.cpuCount ?? 1) - 1;
      scalarSetUnsigned(w, r0 + REG_SCALAR, 0, 0, last, 0);
      cnum32FromUnsigned(w, r0 + REG_R32, 0, last);
      scalarSync(w, r0 + REG_SCALAR);
      break;
    }
    case U.BPF_FUNC_get_retval:
      if (type === U.BPF_PROG_TYPE_CGROUP_SOCKOPT && env.expectedAttachType === U.BPF_CGROUP_GETSOCKOPT) break;
      if (type === U.BPF_PROG_TYPE_LSM && env.expectedAttachType === U.BPF_LSM_CGROUP) {
        if (attachReturnType(env) === 0) break;
        const range = lsmRange(env);
        setRange(env, r0, range.min, range.max);
      } else {
        setRange(env, r0, -MAX_ERRNO, 0);
      }
      break;
    default:
      break;
  }
  return boundsSanity(env, w, r0, 'retval');
}

/** References that the result carries: the argument's own for casts, a new one for acquiring helpers. */
function trackResult(env: VerifierEnv, r0: number, meta: CallMeta): number {
  const { w } = env;
  const insn = env.insnIdx;
  if (PTR_CAST_FUNCS.has(meta.funcID) && findReference(env.cur, meta.refObj.id) >= 0) {
    if (meta.refObj.count > 1) return bug(env, `function expects only one referenced object but got ${meta.refObj.count}\n`);
    env.diag?.modEnd();
    const branch = pushStack(env, insn + 1, insn, false);
    if (branch === undefined) return env.pushError;
    const other = regAt(curFrame(branch), 0);
    markKnownZero(branch.w, other);
    branch.w[other + REG_TYPE] = T.SCALAR_VALUE;
    env.diag?.modBegin(r0, -1, DIAG_MOD_WRITE);
    w[r0 + REG_TYPE]! &= ~T.PTR_MAYBE_NULL;
    w[r0 + REG_ID] = meta.refObj.id;
    return 0;
  }
  const mapType = meta.map < 0 ? -1 : env.mapTable[meta.map]!.type;
  const acquires = ACQUIRE_FUNCS.has(meta.funcID)
    || (meta.funcID === U.BPF_FUNC_map_lookup_elem && (mapType === U.BPF_MAP_TYPE_SOCKMAP || mapType === U.BPF_MAP_TYPE_SOCKHASH));
  if (!acquires) return 0;
  const id = acquireReference(env, insn, 0);
  if (id < 0) return id;
  w[r0 + REG_ID] = id;
  return 0;
}

function checkGetFuncIP(env: VerifierEnv): number {
  const type = env.resolvedProgType;
  const label = `${funcName(U.BPF_FUNC_get_func_ip)}#${U.BPF_FUNC_get_func_ip}`;
  if (type === U.BPF_PROG_TYPE_KPROBE) return 0;
  if (type !== U.BPF_PROG_TYPE_TRACING) return refuse(env, `func ${label} not supported for program type ${type}`, -ENOTSUPP);
  return hasTrampoline(factsOf(env)) ? 0 : refuse(env, `func ${label} supported only for fentry/fexit/fsession/fmod_ret programs`, -ENOTSUPP);
}

/** A tail call from inside a function: it may not happen, or the function returns with what the other program gave. */
function leaveByTailCall(env: VerifierEnv): number {
  const { w } = env;
  const insn = env.insnIdx;
  const frame = curFrame(env.cur);
  if ((w[frame + F_FLAGS]! & FF_IN_CALLBACK) !== 0) return refuse(env, 'cannot tail call within callback');
  env.scratchedRegs |= 1;
  if (pushStack(env, insn + 1, insn, false) === undefined) return env.pushError;
  clearAllPktPointers(env);
  markUnknown(env, w, regAt(frame, 0));
  const error = prepareFuncExit(env);
  if (error !== 0) return error;
  env.insnIdx--;
  return 0;
}

/** What the call being checked is about, and does. A call ends before the next one begins. */
const META: CallMeta = new CallMeta(0, '');
const EFFECTS = { changesData: false, returnsPercpu: false };

/** A call of a helper; 0 or `-errno`. */
export function checkHelperCall(env: VerifierEnv): number {
  const { w } = env;
  const insn = env.insnIdx;
  const id = env.insns.imm[insn]!;
  const fn = findHelper(env, id);
  if (typeof fn === 'number') return fn;
  const effects = EFFECTS;
  effects.changesData = helperChangesPktData(id);
  effects.returnsPercpu = false;
  const meta = META.reset(id, funcName(id));
  meta.fn = fn;
  meta.constMapKey = 0;
  scanProto(fn, meta);
  if (!inSleepableContext(env)) env.aux.flags[insn]! |= AUX_NON_SLEEPABLE;
  let error = 0;
  for (let i = 0; i < T.MAX_BPF_FUNC_REG_ARGS; i++) {
    error = checkHelperArg(env, i, meta);
    if (error !== 0) return error;
  }
  error = recordMap(env, meta);
  if (error === 0) error = recordKey(env, meta);
  if (error !== 0) return error;
  for (let i = 0; i < meta.raw.size; i++) {
    error = checkMemAccess(env, insn, curReg(env, meta.raw.regno), meta.raw.regno, i, 1, T.BPF_WRITE, -1, false, false);
    if (error !== 0) return error;
  }
  if (meta.releaseRegno !== 0) {
    const reg = curReg(env, meta.releaseRegno);
    const type = w[reg + REG_TYPE]!;
    const convertRCU = id === U.BPF_FUNC_kptr_xchg && inRCU(env) && (type & T.MEM_ALLOC) !== 0 && (type & T.MEM_PERCPU) !== 0;
    error = releaseRegister(env, reg, convertRCU, meta.dynptr.id !== 0);
    if (error !== 0) return error;
  }
  error = specialCall(env, meta, effects);
  if (error !== 0) return error;
  const frame = curFrame(env.cur);
  const r0 = regAt(frame, 0);
  if (env.diag !== undefined) for (let i = 1; i <= 5; i++) env.diag.recordScrub(regAt(frame, i), DIAG_MOD_CALLER_SAVED);
  env.diag?.modBegin(r0, -1, DIAG_MOD_WRITE);
  clearCallerSaved(env, frame);
  invalidateOutgoingStackArgs(env, frame);
  error = makeResult(env, r0, meta, effects.returnsPercpu);
  if (error !== 0) return error;
  if (T.typeMayBeNull(w[r0 + REG_TYPE]!) && w[r0 + REG_ID] === 0) w[r0 + REG_ID] = ++env.idGen;
  error = trackResult(env, r0, meta);
  if (error !== 0) return error;
  if (id === U.BPF_FUNC_dynptr_data) w[r0 + REG_PARENT_ID] = meta.dynptr.id;
  error = refineResult(env, r0, meta);
  if (error !== 0) return error;
  env.diag?.modEnd();
  if (meta.map >= 0) {
    error = checkMapCompatibility(env, env.mapTable[meta.map]!, id);
    if (error !== 0) return error;
  }
  if (id === U.BPF_FUNC_get_func_ip && checkGetFuncIP(env) !== 0) return -ENOTSUPP;
  if (id === U.BPF_FUNC_tail_call) {
    if (env.cur.curframe > 0) {
      error = leaveByTailCall(env);
      if (error !== 0) return error;
    } else {
      effects.changesData = false;
    }
  }
  if (effects.changesData) clearAllPktPointers(env);
  return 0;
}

