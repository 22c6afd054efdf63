/**
 * @module verifier/kfunc_args
 * Arguments of kernel functions: what registers hold against what the function's BTF asks for. Reproduces
 * `check_kfunc_args()` of `kernel/bpf/verifier.c`; the kinds come from `kfuncs.ts`.
 */
import { BTF_KIND_NAMES, type BTF } from '../btf/btf.ts';
import { BPF_TASK_WORK, BPF_TIMER, BPF_WORKQUEUE, structRecord } from '../btf/record.ts';
import { EACCES, EFAULT, EINVAL } from '../isa/errno.ts';
import { BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, BTF_KIND_PTR, BTF_KIND_STRUCT } from '../isa/uapi.ts';
import { isRCUReg, isTrusted } from './btf_access.ts';
import { btfTypeText } from './btf_name.ts';
import { areNoCastAliases, structIDsMatch } from './btf_walk.ts';
import { diagCallArg } from './call_diag.ts';
import type { CallMeta } from './call_meta.ts';
import { processDynptrArg } from './dynptr.ts';
import { BPF_DYNPTR_TYPE_INVALID, dynptrTypeFlag } from './dynptr_types.ts';
import type { VerifierEnv } from './env.ts';
import { inRBTreeCallback, isRbtreeAdd, processGraphNode, processGraphRoot } from './graph.ts';
import {
  PROCESS_LOCK_IRQ, PROCESS_RES_LOCK, PROCESS_SPIN_LOCK, checkArgOffset, checkConstString, checkMapField, checkMemReg, checkMemSize, processAllocSize,
  processMapPtr, processSpinLock, type MemSizeFailure,
} from './helper_args.ts';
import { IRQ_LOCK_KFUNC, IRQ_NATIVE_KFUNC, processIRQFlag } from './irq_flags.ts';
import { processIterArg } from './iterators.ts';
import {
  KF_ARG_ANYTHING, KF_ARG_CONST, KF_ARG_CONST_ALLOC_SIZE_OR_ZERO, KF_ARG_CONST_MAP_PTR, KF_ARG_CONST_MEM_SIZE, KF_ARG_MEM_SIZE,
  KF_ARG_PTR_TO_ALLOC_BTF_ID, KF_ARG_PTR_TO_ARENA, KF_ARG_PTR_TO_BTF_ID, KF_ARG_PTR_TO_CALLBACK, KF_ARG_PTR_TO_CONST_STR, KF_ARG_PTR_TO_CTX,
  KF_ARG_PTR_TO_DYNPTR, KF_ARG_PTR_TO_IRQ_FLAG, KF_ARG_PTR_TO_ITER, KF_ARG_PTR_TO_LIST_HEAD, KF_ARG_PTR_TO_LIST_NODE, KF_ARG_PTR_TO_MEM,
  KF_ARG_PTR_TO_RB_NODE, KF_ARG_PTR_TO_RB_ROOT, KF_ARG_PTR_TO_REFCOUNTED_KPTR, KF_ARG_PTR_TO_RES_SPIN_LOCK, KF_ARG_PTR_TO_TASK_WORK,
  KF_ARG_PTR_TO_TIMER, KF_ARG_PTR_TO_WORKQUEUE, isKfuncArgDynptr, isKfuncArgIgnore, isKfuncArgImplicit, isKfuncArgMap, isKfuncArgNonownAllowed,
  isKfuncArgProgAux, isKfuncArgUninit, isScalarStruct, type KfuncDesc, type KfuncMeta, type KfuncParam,
} from './kfunc_params.ts';
import { KF_RCU, KF_RELEASE } from './kfunc_sets.ts';
import { regRecord } from './map_record.ts';
import { isProjectionOf, kernCtxTypeID } from './prog_ctx_type.ts';
import { inSleepable, isReferenced, updateRefObj } from './refs.ts';
import { argName, curReg, isNull, isVarConst, regOfArg, smin, sminDecimal, umaxDecimal } from './regs.ts';
import {
  ARG_DONTCARE, ARG_PTR_TO_BTF_ID, ARG_PTR_TO_CTX, ARG_PTR_TO_DYNPTR, BPF_MAX_VAR_SIZ, BPF_READ, BPF_WRITE, CONST_PTR_TO_MAP, DYNPTR_TYPE_FILE,
  DYNPTR_TYPE_SKB, DYNPTR_TYPE_SKB_META, DYNPTR_TYPE_XDP, MAX_BPF_FUNC_REG_ARGS, MEM_ALLOC, MEM_FIXED_SIZE, MEM_PERCPU, MEM_UNINIT, NOT_INIT, OBJ_RELEASE, PTR_TO_ARENA,
  PTR_TO_BTF_ID, PTR_TO_CTX, PTR_TO_FUNC, PTR_TO_MAP_VALUE, PTR_TO_SOCKET, PTR_TO_SOCK_COMMON, PTR_TO_STACK, PTR_TO_TCP_SOCK, SCALAR_VALUE, baseType,
  regTypeName, typeHasUnsafeModifiers, typeIsNonOwningRef, typeIsPtrAllocObj, typeMayBeNull,
} from './regtypes.ts';
import { markArgPrecision } from './stack.ts';
import { F_OUT_STACK_ARGS, REG_A, REG_B, REG_TYPE, REG_VAR_HI, REG_VAR_LO, curFrame, stackArgAt } from './state.ts';

/** Registers that stand for kernel structures (`reg2btf_ids`). */
const REG_STRUCTS: ReadonlyMap<number, string> = new Map([
  [PTR_TO_SOCKET, 'sock'], [PTR_TO_SOCK_COMMON, 'sock_common'], [PTR_TO_TCP_SOCK, 'tcp_sock'], [CONST_PTR_TO_MAP, 'bpf_map'],
]);

const kindName = (btf: BTF, id: number): string => BTF_KIND_NAMES[btf.kind(id)] ?? 'UNKNOWN';

/** One argument under check. */
interface Arg {
  readonly env: VerifierEnv;
  readonly meta: CallMeta;
  readonly kfunc: KfuncMeta;
  readonly param: KfuncParam;
  readonly insn: number;
  /** Counted from 0. */
  readonly index: number;
  /** As `regs.ts` numbers arguments. */
  readonly argno: number;
  /** Offset of the register in `env.w`, and its kind. */
  readonly reg: number;
  readonly type: number;
  /** `KF_ARG_*` with flags. */
  readonly kind: number;
  /** What a pointer points at: type and BTF. */
  readonly refBTF: BTF;
  readonly refID: number;
}

/** Writes a message about the argument and a report; `-EINVAL`. */
function refuse(a: Arg, message: string, suggestion?: string, reason?: string, errno: number = EINVAL): number {
  a.env.log.write(`${message}\n`);
  if (suggestion !== undefined) diagCallArg(a.env, a.insn, a.argno, a.meta.funcName, reason ?? '', suggestion);
  return -errno;
}

const plainType = (a: Arg): string => a.env.diag?.regTypePlain(a.type) ?? '';
const expectedType = (a: Arg): string => btfTypeText(a.kfunc.btf, a.refID);

/** Offset in `env.w` of argument `index` (from 0): a register, or an outgoing stack argument. */
export function funcArgReg(env: VerifierEnv, index: number): number {
  return index < MAX_BPF_FUNC_REG_ARGS ? curReg(env, index + 1) : stackArgAt(env.cur, curFrame(env.cur), index - MAX_BPF_FUNC_REG_ARGS);
}

/** 0 where all stack arguments that a callee takes were written. */
export function checkOutgoingStackArgs(env: VerifierEnv, count: number, callee: string, nameOf: (index: number) => string | undefined): number {
  const { w } = env;
  for (let i = MAX_BPF_FUNC_REG_ARGS; i < count; i++) {
    const slot = i - MAX_BPF_FUNC_REG_ARGS;
    if (slot < w[curFrame(env.cur) + F_OUT_STACK_ARGS]! && w[funcArgReg(env, i) + REG_TYPE] !== NOT_INIT) continue;
    env.log.write(`callee expects ${count} args, stack arg${slot + 1} is not initialized\n`);
    env.diag?.stackArgUninit(env.insnIdx, count, slot, callee, nameOf(i));
    return -EFAULT;
  }
  return 0;
}

/** A constant argument: remembered, and precise. */
function processConstArg(env: VerifierEnv, reg: number, argno: number, meta: CallMeta): number {
  if (meta.constantFound) {
    env.log.write('verifier bug: only one constant argument permitted\n');
    return -EFAULT;
  }
  if (!isVarConst(env.w, reg)) {
    env.log.write(`${argName(argno)} must be a known constant\n`);
    return -EINVAL;
  }
  const err = markArgPrecision(env, argno);
  if (err < 0) return err;
  meta.constantFound = true;
  meta.constantLo = env.w[reg + REG_VAR_LO]!;
  meta.constantHi = env.w[reg + REG_VAR_HI]!;
  return 0;
}

/** Checks all arguments of the call at `insn` and fills `meta`; 0 or `-errno`. */
export function checkKfuncArgs(env: VerifierEnv, desc: KfuncDesc, meta: CallMeta, insn: number): number {
  const kfunc = desc.meta;
  const { btf, params } = kfunc;
  const error = checkOutgoingStackArgs(env, params.length, kfunc.name, (i) => params[i]?.name || undefined);
  if (error !== 0) return error;
  for (const [index, param] of params.entries()) {
    const argno = -(index + 1);
    if (isKfuncArgProgAux(btf, param)) {
      const err = takeProgAux(env, meta, insn, argno);
      if (err !== 0) return err;
      continue;
    }
    if (isKfuncArgIgnore(param) || isKfuncArgImplicit(kfunc, index)) continue;
    const reg = funcArgReg(env, index);
    const err = checkArg({
      env, meta, kfunc, param, insn, index, argno, reg, type: env.w[reg + REG_TYPE]!, kind: desc.argTypes[index]!, ...referenced(env, btf, param),
    });
    if (err < 0) return err;
  }
  return 0;
}

/** What the parameter points at; a `__map` one means the kernel's map structure. */
function referenced(env: VerifierEnv, btf: BTF, param: KfuncParam): { refBTF: BTF; refID: number } {
  const pointer = btf.skipModifiers(param.typeID);
  if (btf.kind(pointer) !== BTF_KIND_PTR) return { refBTF: btf, refID: param.typeID };
  const kernel = env.ext.kernelBTF()?.btf;
  if (kernel !== undefined && isKfuncArgMap(param)) return { refBTF: kernel, refID: kernel.findByNameKind('bpf_map', BTF_KIND_STRUCT) };
  return { refBTF: btf, refID: btf.skipModifiers(btf.type(pointer)) };
}

/** The program's own description, which the verifier passes. */
function takeProgAux(env: VerifierEnv, meta: CallMeta, insn: number, argno: number): number {
  if (meta.argProg) {
    env.log.write('verifier bug: Only 1 prog->aux argument supported per-kfunc\n');
    return -EFAULT;
  }
  const regno = regOfArg(argno);
  if (regno < 0) {
    env.log.write(`${argName(argno)} prog->aux cannot be a stack argument\n`);
    return -EINVAL;
  }
  meta.argProg = true;
  env.aux.argProg[insn] = regno;
  return 0;
}

function checkArg(a: Arg): number {
  const { env, meta, kfunc, param, reg, argno } = a;
  const isPointer = kfunc.btf.kind(kfunc.btf.skipModifiers(param.typeID)) === BTF_KIND_PTR;
  const isZero = isNull(env.w, reg);
  if (isPointer && (isZero || typeMayBeNull(a.type)) && !typeMayBeNull(a.kind)) {
    return refuse(a, `Possibly NULL pointer passed to trusted ${argName(argno)}`,
      'Add a NULL check and call the kfunc only on the non-NULL path.',
      `the pointer may be NULL, but this kfunc requires a non-NULL value of type ${btfTypeText(kfunc.btf, param.typeID)}`, EACCES);
  }
  const isReleased = regOfArg(argno) === meta.releaseRegno && meta.releaseRegno !== 0;
  const owns = isReferenced(env, reg);
  if (isReleased && !isKfuncArgDynptr(kfunc.btf, param) && !owns && !isZero) {
    return refuse(a, `release kfunc ${meta.funcName} expects referenced PTR_TO_BTF_ID passed to ${argName(argno)}`,
      'Pass the resource-owning pointer returned by the matching acquire kfunc, and avoid calling the release kfunc after ownership has already been transferred or released.',
      `release kfuncs require a resource-owning value of type ${expectedType(a)} returned by a matching acquire kfunc`);
  }
  if (owns) updateRefObj(env, meta.refObj, reg);
  if (isZero && typeMayBeNull(a.kind)) return markArgPrecision(env, argno);

  let argType = ARG_DONTCARE, offsetOK = true;
  switch (baseType(a.kind)) {
    case KF_ARG_PTR_TO_DYNPTR:
      argType = ARG_PTR_TO_DYNPTR;
      break;
    case KF_ARG_PTR_TO_CTX:
      argType = ARG_PTR_TO_CTX;
      break;
    case KF_ARG_PTR_TO_REFCOUNTED_KPTR:
      argType = ARG_PTR_TO_BTF_ID;
      offsetOK = false;
      break;
    default:
      break;
  }
  const err = checkArgOffset(env, reg, argno, isReleased ? argType | OBJ_RELEASE : argType, offsetOK);
  return err < 0 ? err : checkKind(a);
}

function checkKind(a: Arg): number {
  switch (baseType(a.kind)) {
    case KF_ARG_CONST: case KF_ARG_ANYTHING: case KF_ARG_CONST_ALLOC_SIZE_OR_ZERO:
      return checkScalar(a);
    case KF_ARG_CONST_MEM_SIZE: case KF_ARG_MEM_SIZE:
      return checkSizeOfMemory(a);
    case KF_ARG_PTR_TO_CTX:
      return checkContext(a);
    case KF_ARG_PTR_TO_ARENA:
      if (a.type === PTR_TO_ARENA || a.type === SCALAR_VALUE) return 0;
      return refuse(a, `${argName(a.argno)} is not a pointer to arena or scalar`);
    case KF_ARG_PTR_TO_ALLOC_BTF_ID:
      return checkAllocated(a);
    case KF_ARG_PTR_TO_DYNPTR:
      return checkDynptr(a);
    case KF_ARG_PTR_TO_ITER:
      if (a.meta.funcName === 'bpf_iter_css_task_new' && !mayIterateCssTasks(a.env)) {
        return refuse(a, 'css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs');
      }
      return processIterArg(a.env, a.reg, a.argno, a.insn, a.meta, a.kfunc, a.index);
    case KF_ARG_PTR_TO_LIST_HEAD: case KF_ARG_PTR_TO_RB_ROOT:
      return checkGraphRoot(a);
    case KF_ARG_PTR_TO_LIST_NODE: case KF_ARG_PTR_TO_RB_NODE:
      return checkGraphNode(a);
    case KF_ARG_CONST_MAP_PTR:
      if (baseType(a.type) !== CONST_PTR_TO_MAP || typeMayBeNull(a.type)) return refuse(a, `pointer in ${argName(a.argno)} isn't map pointer`);
      return processMapPtr(a.env, a.reg, a.argno, a.meta);
    case KF_ARG_PTR_TO_BTF_ID:
      return checkBTFPointer(a);
    case KF_ARG_PTR_TO_MEM:
      return (a.kind & MEM_FIXED_SIZE) === 0 ? 0 : checkFixedMemory(a);
    case KF_ARG_PTR_TO_CALLBACK:
      if (a.type !== PTR_TO_FUNC) return refuse(a, `${argName(a.argno)} expected pointer to func`);
      a.meta.subprogno = a.env.w[a.reg + REG_A]!;
      return 0;
    case KF_ARG_PTR_TO_REFCOUNTED_KPTR:
      return checkRefcounted(a);
    case KF_ARG_PTR_TO_CONST_STR:
      return checkConstStr(a);
    case KF_ARG_PTR_TO_WORKQUEUE: case KF_ARG_PTR_TO_TIMER: case KF_ARG_PTR_TO_TASK_WORK:
      return checkFieldOfMap(a);
    case KF_ARG_PTR_TO_IRQ_FLAG:
      return checkIRQFlag(a);
    case KF_ARG_PTR_TO_RES_SPIN_LOCK:
      return checkResSpinLock(a);
    default:
      a.env.log.write(`verifier bug: unknown kfunc arg type ${a.kind}\n`);
      return -EFAULT;
  }
}

function checkScalar(a: Arg): number {
  const { env, meta } = a;
  const name = argName(a.argno);
  if (a.type !== SCALAR_VALUE) {
    return refuse(a, `${name} is not a scalar`, 'Pass an integer scalar value for this argument, not a pointer or resource object.',
      `the kfunc expects an integer scalar, but ${name} is ${plainType(a)}`);
  }
  if (baseType(a.kind) === KF_ARG_ANYTHING) return 0;
  if (baseType(a.kind) === KF_ARG_CONST) {
    const err = processConstArg(env, a.reg, a.argno, meta);
    if (err === -EINVAL) {
      diagCallArg(env, a.insn, a.argno, meta.funcName,
        `the kfunc requires this scalar argument to be a verifier-known constant, but ${name} is variable on this path`,
        'Pass a compile-time constant or a value the verifier can prove is constant at this call.');
    }
    return err;
  }
  if (a.param.name === 'rdonly_buf_size') meta.r0ReadOnly = true;
  const err = processAllocSize(env, a.reg, a.argno, meta);
  if (err === -EINVAL) {
    diagCallArg(env, a.insn, a.argno, meta.funcName,
      `the kfunc uses this argument as a return-buffer size, but ${name} is invalid or variable on this path`,
      'Pass a verifier-known constant size for this kfunc buffer argument.');
  }
  return err;
}

function checkContext(a: Arg): number {
  if (a.type !== PTR_TO_CTX) {
    return refuse(a, `${argName(a.argno)} expected pointer to ctx, but got ${regTypeName(a.type)}`,
      'Pass the original program context pointer or preserve it before modifying registers.',
      `the kfunc expects a context pointer, but ${argName(a.argno)} is ${plainType(a)}`);
  }
  if (a.meta.funcName !== 'bpf_cast_to_kern_ctx') return 0;
  const kernel = a.env.ext.kernelBTF()?.btf;
  const id = kernel === undefined ? 0 : kernCtxTypeID(kernel, a.env.resolvedProgType);
  if (kernel === undefined || !kernel.isStructOrUnion(id)) {
    a.env.log.write(`kern ctx type id ${id} is not a struct\n`);
    return -EINVAL;
  }
  a.meta.retBTFID = id;
  return 0;
}

function checkAllocated(a: Arg): number {
  const { env, meta } = a;
  const name = argName(a.argno);
  if (a.type === (PTR_TO_BTF_ID | MEM_ALLOC)) {
    if (!['bpf_obj_drop', 'bpf_obj_drop_impl'].includes(meta.funcName)) return refuse(a, `${name} expected for bpf_obj_drop()`);
  } else if (a.type === (PTR_TO_BTF_ID | MEM_ALLOC | MEM_PERCPU)) {
    if (!['bpf_percpu_obj_drop', 'bpf_percpu_obj_drop_impl'].includes(meta.funcName)) {
      return refuse(a, `${name} expected for bpf_percpu_obj_drop()`);
    }
  } else {
    return refuse(a, `${name} expected pointer to allocated object`, 'Pass a pointer returned by the matching BPF object allocation path.',
      `the kfunc expects an allocated object pointer, but ${name} is ${plainType(a)}`);
  }
  if (!isReferenced(env, a.reg)) {
    return refuse(a, 'allocated object must be referenced', 'Pass the owned object pointer before it is released or transferred.',
      `the allocated object pointer in ${name} must still carry verifier-tracked ownership, but this pointer no longer owns a live resource`);
  }
  meta.argBTFIndex = env.w[a.reg + REG_A]!;
  meta.argBTFID = env.w[a.reg + REG_B]!;
  return 0;
}

const DYNPTR_KINDS: ReadonlyMap<string, number> = new Map([
  ['bpf_dynptr_from_skb', DYNPTR_TYPE_SKB], ['bpf_dynptr_from_xdp', DYNPTR_TYPE_XDP], ['bpf_dynptr_from_skb_meta', DYNPTR_TYPE_SKB_META],
  ['bpf_dynptr_from_file', DYNPTR_TYPE_FILE], ['bpf_dynptr_file_discard', DYNPTR_TYPE_FILE | OBJ_RELEASE],
]);

function checkDynptr(a: Arg): number {
  const { env, meta } = a;
  let argType = ARG_PTR_TO_DYNPTR | (isKfuncArgUninit(a.param) ? MEM_UNINIT : 0) | (DYNPTR_KINDS.get(meta.funcName) ?? 0);
  if (meta.funcName === 'bpf_dynptr_clone' && (argType & MEM_UNINIT) !== 0) {
    if (meta.dynptr.type === BPF_DYNPTR_TYPE_INVALID) {
      env.log.write('verifier bug: no dynptr type for parent of clone\n');
      return -EFAULT;
    }
    argType |= dynptrTypeFlag(meta.dynptr.type);
  }
  return processDynptrArg(env, a.reg, a.argno, a.insn, meta.funcName, argType, meta.refObj, meta.dynptr);
}

/** Where walking the tasks of a css cannot deadlock. */
function mayIterateCssTasks(env: VerifierEnv): boolean {
  const type = env.resolvedProgType;
  if (type === BPF_PROG_TYPE_LSM || (type === BPF_PROG_TYPE_TRACING && env.expectedAttachType === BPF_TRACE_ITER)) return true;
  return inSleepable(env);
}

function checkGraphRoot(a: Arg): number {
  if (a.type !== PTR_TO_MAP_VALUE && a.type !== (PTR_TO_BTF_ID | MEM_ALLOC)) {
    return refuse(a, `${argName(a.argno)} expected pointer to map value or allocated object`);
  }
  if (a.type === (PTR_TO_BTF_ID | MEM_ALLOC) && !isReferenced(a.env, a.reg)) return refuse(a, 'allocated object must be referenced');
  return processGraphRoot(a.env, a.reg, a.argno, a.meta, baseType(a.kind) === KF_ARG_PTR_TO_RB_ROOT);
}

function checkGraphNode(a: Arg): number {
  const { env, meta } = a;
  const owns = isReferenced(env, a.reg);
  const isTree = baseType(a.kind) === KF_ARG_PTR_TO_RB_NODE;
  if (isTree && !isRbtreeAdd(meta.funcName)) {
    if (!typeIsNonOwningRef(a.type) && !owns) return refuse(a, `${meta.funcName} can only take non-owning or refcounted bpf_rb_node pointer`);
    if (inRBTreeCallback(env)) return refuse(a, `${meta.funcName} not allowed in rbtree cb`);
  } else {
    const borrowed = !isTree && isKfuncArgNonownAllowed(a.param) && typeIsNonOwningRef(a.type) && !owns;
    if (!borrowed && a.type !== (PTR_TO_BTF_ID | MEM_ALLOC)) return refuse(a, `${argName(a.argno)} expected pointer to allocated object`);
    if (!borrowed && !owns) return refuse(a, 'allocated object must be referenced');
  }
  return processGraphNode(env, a.reg, a.argno, meta, isTree);
}

function checkBTFPointer(a: Arg): number {
  const { env, kfunc } = a;
  const name = argName(a.argno);
  const base = baseType(a.type);
  if (base === PTR_TO_BTF_ID || REG_STRUCTS.has(base)) {
    if (!isTrusted(env, a.reg) || typeHasUnsafeModifiers(a.type)) {
      if ((kfunc.flags & KF_RCU) === 0) {
        return refuse(a, `${name} must be referenced or trusted`,
          'Pass a pointer acquired from a verifier-tracked source, or call this kfunc only inside the required protection if it accepts RCU pointers.',
          `the kfunc requires a trusted or resource-owning pointer to ${expectedType(a)}, but ${name} is ${plainType(a)}`);
      }
      if (!isRCUReg(a.type)) {
        return refuse(a, `${name} must be a rcu pointer`, 'Use this kfunc with a pointer that is valid in an RCU read lock region.',
          `the kfunc requires an RCU-protected pointer to ${expectedType(a)}, but ${name} is ${plainType(a)}`);
      }
    }
    return matchBTFPointer(a);
  }
  if (isScalarStruct(env, a.refBTF, a.refID)) return checkFixedMemory(a);
  let message = `${name} is ${regTypeName(a.type)} expected ${kindName(a.refBTF, a.refID)} ${a.refBTF.typeName(a.refID)}`;
  for (const [type, struct] of REG_STRUCTS) {
    if (a.refBTF.isKernel && a.refBTF.kind(a.refID) === BTF_KIND_STRUCT && a.refBTF.typeName(a.refID) === struct) message += ` or ${regTypeName(type)}`;
  }
  return refuse(a, message, 'Pass a verifier-tracked pointer to the expected kernel object type, not a pointer to stack storage or another memory buffer.',
    `the kfunc expects a pointer to ${expectedType(a)}, but this argument is ${plainType(a)} and cannot be used as that kernel object pointer`);
}

/** The structure that the register points at is the one asked for, or begins with it. */
function matchBTFPointer(a: Arg): number {
  const { env, meta, kfunc } = a;
  const { w } = env;
  const kernel = env.ext.kernelBTF()!.btf;
  const isObject = baseType(a.type) === PTR_TO_BTF_ID;
  const btf = isObject ? env.btfAt(w[a.reg + REG_A]!)! : kernel;
  const given = isObject ? w[a.reg + REG_B]! : kernel.findByNameKind(REG_STRUCTS.get(baseType(a.type))!, BTF_KIND_STRUCT);
  const strict = ((kfunc.flags & KF_RELEASE) !== 0 && isReferenced(env, a.reg)) || areNoCastAliases(btf, given, kfunc.btf, a.refID);
  const id = btf.skipModifiers(given);
  const say = (message: string): void => env.log.write(message);
  const same = structIDsMatch(btf, id, w[a.reg + REG_VAR_LO]!, kfunc.btf, a.refID, strict, (a.type & MEM_ALLOC) === 0, say);
  const wanted = a.refBTF.typeName(a.refID);
  if (same || isProjectionOf(wanted, btf.typeName(id))) return 0;
  const name = argName(a.argno);
  return refuse(a, `kernel function ${meta.funcName} ${name} expected pointer to ${kindName(a.refBTF, a.refID)} ${wanted} ` +
    `but ${name} has a pointer to ${kindName(btf, id)} ${btf.typeName(id)}`);
}

function checkFixedMemory(a: Arg): number {
  const { env, meta } = a;
  const size = a.refBTF.resolveSize(a.refID);
  if (size === undefined) {
    return refuse(a, `${argName(a.argno)} reference type('${kindName(a.refBTF, a.refID)} ${a.refBTF.typeName(a.refID)}') size cannot be determined: ${-EINVAL}`);
  }
  const known = { isKnown: false };
  const err = checkMemReg(env, a.reg, a.argno, size, BPF_READ | BPF_WRITE, meta.raw, known);
  if (err >= 0) return err;
  if (known.isKnown) {
    diagCallArg(env, a.insn, a.argno, meta.funcName,
      `the kfunc expects ${size} bytes of memory for ${expectedType(a)}, but the verifier cannot prove that ${plainType(a)} provides a readable and writable range of that size`,
      'Pass memory with at least the required number of accessible bytes and suitable read and write access.');
  } else {
    diagCallArg(env, a.insn, a.argno, meta.funcName,
      `the kfunc expects ${size} bytes of memory for ${expectedType(a)}, but it is ${plainType(a)} and not verifier-known memory`,
      'Pass stack, map, context, or other verifier-known memory of the expected type and size, not an integer cast to a pointer.');
  }
  return err;
}

function checkSizeOfMemory(a: Arg): number {
  const { env, meta } = a;
  const name = argName(a.argno);
  if (baseType(a.kind) === KF_ARG_CONST_MEM_SIZE) {
    const err = processConstArg(env, a.reg, a.argno, meta);
    if (err === -EINVAL) {
      diagCallArg(env, a.insn, a.argno, meta.funcName,
        `the kfunc requires this memory size to be a verifier-known constant, but ${name} is variable on this path`,
        'Pass a compile-time constant or a value the verifier can prove is constant at this call.');
    }
    if (err < 0) return err;
  }
  if (a.type !== SCALAR_VALUE) {
    return refuse(a, `${name} is not a scalar`, 'Pass an integer scalar length for this memory argument.',
      `the kfunc expects a scalar memory size, but ${name} is ${plainType(a)}`);
  }
  const buffer = funcArgReg(env, a.index - 1), bufferArgno = a.argno + 1;
  if (isNull(env.w, buffer)) return 0;
  const failure: { kind: MemSizeFailure } = { kind: 'none' };
  const err = checkMemSize(env, buffer, a.reg, bufferArgno, a.argno, BPF_READ | BPF_WRITE, true, meta, failure);
  if (err >= 0) return err;
  const bufferName = argName(bufferArgno);
  env.log.write(`${bufferName} and ${name} memory, len pair leads to invalid memory access\n`);
  if (failure.kind === 'memory') {
    diagCallArg(env, a.insn, bufferArgno, meta.funcName,
      `it is the memory pointer in a memory/length pair with ${name}, but ${bufferName} does not describe verifier-readable memory for the requested length`,
      'Pass a stack, map, context, or other verifier-known memory pointer, and keep the paired length within that object.');
  } else if (failure.kind === 'size') {
    const least = smin(env.w, a.reg);
    diagCallArg(env, a.insn, a.argno, meta.funcName,
      least < 0 ? `the memory size in ${name} may be negative because its signed minimum is ${sminDecimal(env.w, a.reg)}`
        : `the memory size in ${name} may reach ${umaxDecimal(env.w, a.reg)} bytes, but variable memory accesses must stay below ${BPF_MAX_VAR_SIZ} bytes`,
      'Constrain the memory size to a non-negative value smaller than BPF_MAX_VAR_SIZ before this call.');
  }
  return err;
}

function checkRefcounted(a: Arg): number {
  const { env, meta } = a;
  const name = argName(a.argno);
  if (!typeIsPtrAllocObj(a.type)) {
    return refuse(a, `${name} is neither owning or non-owning ref`,
      'Pass an owning or non-owning pointer to a BPF-managed object containing a bpf_refcount field.',
      `the kfunc expects a pointer to a BPF-managed refcounted object, but ${name} is ${plainType(a)}`);
  }
  if (!typeIsNonOwningRef(a.type) && isReferenced(env, a.reg)) meta.argOwningRef = true;
  const btfIndex = env.w[a.reg + REG_A]!, id = env.w[a.reg + REG_B]!;
  const record = regRecord(env, a.reg) ?? structRecord(env.btfAt(btfIndex)!, id);
  if (record === undefined) {
    env.log.write("verifier bug: Couldn't find btf_record\n");
    return -EFAULT;
  }
  if (record.refcountOffset < 0) return refuse(a, `${name} doesn't point to a type with bpf_refcount field`);
  meta.argBTFIndex = btfIndex;
  meta.argBTFID = id;
  return 0;
}

function checkConstStr(a: Arg): number {
  if (a.type === PTR_TO_MAP_VALUE) return checkConstString(a.env, a.reg, a.argno);
  return refuse(a, `${argName(a.argno)} doesn't point to a const string`,
    'Pass a constant string pointer that the verifier recognizes, such as a string stored in a read-only map value.',
    `the kfunc expects a pointer to a constant string stored in verifier-known memory, but ${argName(a.argno)} is ${plainType(a)}`);
}

function checkFieldOfMap(a: Arg): number {
  if (a.type !== PTR_TO_MAP_VALUE) return refuse(a, `${argName(a.argno)} doesn't point to a map value`);
  const kind = baseType(a.kind);
  const field = kind === KF_ARG_PTR_TO_TIMER ? BPF_TIMER : kind === KF_ARG_PTR_TO_WORKQUEUE ? BPF_WORKQUEUE : BPF_TASK_WORK;
  return checkMapField(a.env, a.reg, a.argno, field, a.meta);
}

function checkIRQFlag(a: Arg): number {
  const { meta } = a;
  if (a.type !== PTR_TO_STACK) {
    return refuse(a, `${argName(a.argno)} doesn't point to an irq flag on stack`,
      'Pass the same stack slot used by bpf_local_irq_save() or bpf_res_spin_lock_irqsave().',
      `the kfunc expects a stack pointer to an IRQ flag slot, but ${argName(a.argno)} is ${plainType(a)}`);
  }
  const isLock = meta.funcName.startsWith('bpf_res_spin_');
  const isSave = meta.funcName === 'bpf_local_irq_save' || meta.funcName === 'bpf_res_spin_lock_irqsave';
  const isRestore = meta.funcName === 'bpf_local_irq_restore' || meta.funcName === 'bpf_res_spin_unlock_irqrestore';
  if (!isSave && !isRestore) {
    a.env.log.write('verifier bug: unknown irq flags kfunc\n');
    return -EFAULT;
  }
  return processIRQFlag(a.env, a.reg, a.argno, isSave, isLock ? IRQ_LOCK_KFUNC : IRQ_NATIVE_KFUNC);
}

function checkResSpinLock(a: Arg): number {
  const { env, meta } = a;
  if (inRBTreeCallback(env)) return refuse(a, "can't res_spin_{lock,unlock} in rbtree cb", undefined, undefined, EACCES);
  if (a.type !== PTR_TO_MAP_VALUE && a.type !== (PTR_TO_BTF_ID | MEM_ALLOC)) {
    return refuse(a, `${argName(a.argno)} doesn't point to map value or allocated object`);
  }
  const name = meta.funcName;
  if (!/^bpf_res_spin_(lock|unlock|lock_irqsave|unlock_irqrestore)$/.test(name)) return -EFAULT;
  let flags = PROCESS_RES_LOCK;
  if (name.startsWith('bpf_res_spin_lock')) flags |= PROCESS_SPIN_LOCK;
  if (name.includes('irq')) flags |= PROCESS_LOCK_IRQ;
  return processSpinLock(env, a.reg, a.argno, flags);
}
