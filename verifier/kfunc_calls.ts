/**
 * @module verifier/kfunc_calls
 * Calls of kernel functions: who may call, what the call does to the path's context and references, what it returns.
 * Reproduces `check_kfunc_call()` and `check_special_kfunc()` of `kernel/bpf/verifier.c`.
 */
import { BTF_KIND_NAMES, type BTF } from '../btf/btf.ts';
import {
  BPF_KPTR_UNREF, BPF_REFCOUNT, BPF_RES_SPIN_LOCK, BPF_SPIN_LOCK, BPF_TASK_WORK, BPF_TIMER, BPF_WORKQUEUE, structRecord,
} from '../btf/record.ts';
import { EACCES, EFAULT, EINVAL, EPERM } from '../isa/errno.ts';
import {
  BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_UNION,
} from '../isa/uapi.ts';
import { CallMeta } from './call_meta.ts';
import { invalidateOutgoingStackArgs, scrubCallerSaved } from './caller_saved.ts';
import { pushCallbackCall, setRBTreeAddCallback, setTaskWorkCallback, setTimerCallback, type SetCalleeState } from './calls.ts';
import { DIAG_CONTEXT_PREEMPT, DIAG_CONTEXT_RCU, DIAG_MOD_WRITE } from './diagnostics_port.ts';
import { unmarkDynptr } from './dynptr.ts';
import { dynptrTypeFlag } from './dynptr_types.ts';
import { AUX_IS_ITER_NEXT, AUX_NON_SLEEPABLE, type VerifierEnv } from './env.ts';
import { convertOwningToNonOwning, inRBTreeCallback, isListPush, isRbtreeAdd, markGraphNode, setNonOwning } from './graph.ts';
import { isTracingProgType } from './insns.ts';
import { processIterNext, yieldsRCU } from './iterators.ts';
import { checkKfuncArgs } from './kfunc_args.ts';
import { isKfuncAllowed } from './kfunc_access.ts';
import { isScalarStruct, type KfuncDesc, type KfuncMeta } from './kfunc_params.ts';
import {
  KF_ACQUIRE, KF_DESTRUCTIVE, KF_ITER_NEXT, KF_PERFMON, KF_RCU_PROTECTED, KF_RELEASE, KF_RET_NULL, KF_SLEEPABLE, KF_SPINLOCK_SAFE,
} from './kfunc_sets.ts';
import { findKfunc, findKfuncDesc } from './kfuncs.ts';
import { recordHas, regRecord } from './map_record.ts';
import { mayAccessPacket } from './mem_access.ts';
import { pushStack } from './paths.ts';
import {
  acquireReference, checkResourceLeak, clearAllPktPointers, inRCU, inSleepable, inSleepableContext, invalidateRCUProtectedRefs, isReferenced,
  nonSleepableDescription, releaseReference,
} from './refs.ts';
import { curReg, isNull, markConstZero, markKnownZero, markNotInit, markUnknown } from './regs.ts';
import {
  BPF_WRITE, CALLER_SAVED_REGS, MAX_BPF_FUNC_REG_ARGS, MEM_ALLOC, MEM_PERCPU, MEM_RCU, MEM_RDONLY, PTR_MAYBE_NULL, PTR_TO_BTF_ID, PTR_TO_MEM,
  PTR_TRUSTED, PTR_UNTRUSTED,
} from './regtypes.ts';
import { checkReturnCode } from './return_code.ts';
import { scalarClampSigned32 } from './scalar.ts';
import { incomingStackArgs } from './stack.ts';
import {
  F_SUBPROG, REG_A, REG_B, REG_ID, REG_PARENT_ID, REG_SCALAR, REG_TYPE, REG_VAR_LO, curFrame, regAt,
} from './state.ts';

/** The path ends here: the call throws. */
const PATH_ENDS = 1;
const MAX_ERRNO = 4095;
/** Largest object of `bpf_percpu_obj_new` (`BPF_GLOBAL_PERCPU_MA_MAX_SIZE`). */
const MAX_PERCPU_OBJECT = 512;
/** Fields that an interrupt that cannot be masked may meet. */
const NMI_SAFE: number = BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK | BPF_TIMER | BPF_WORKQUEUE | BPF_TASK_WORK | BPF_KPTR_UNREF | BPF_REFCOUNT;

const isObjNew = (name: string): boolean => name === 'bpf_obj_new' || name === 'bpf_obj_new_impl';
const isPercpuObjNew = (name: string): boolean => name === 'bpf_percpu_obj_new' || name === 'bpf_percpu_obj_new_impl';
const isObjDrop = (name: string): boolean =>
  name === 'bpf_obj_drop' || name === 'bpf_obj_drop_impl' || name === 'bpf_percpu_obj_drop' || name === 'bpf_percpu_obj_drop_impl';
const isRefcountAcquire = (name: string): boolean => name === 'bpf_refcount_acquire' || name === 'bpf_refcount_acquire_impl';
const isResSpinLock = (name: string): boolean => name === 'bpf_res_spin_lock' || name === 'bpf_res_spin_lock_irqsave';

const isNumber = (btf: BTF, id: number): boolean => [BTF_KIND_INT, BTF_KIND_ENUM, BTF_KIND_ENUM64].includes(btf.kind(id));
const isStruct = (btf: BTF, id: number): boolean => btf.kind(id) === BTF_KIND_STRUCT || btf.kind(id) === BTF_KIND_UNION;

function refuse(env: VerifierEnv, message: string, errno: number): number {
  env.log.write(`${message}\n`);
  return -errno;
}

/** True for functions that may be called with a spin lock held (`kfunc_spin_allowed`). */
export function isKfuncAllowedUnderLock(env: VerifierEnv, funcID: number, offset: number): boolean {
  const meta = findKfunc(env, funcID, offset);
  return typeof meta !== 'number' && meta.flags >= 0 && (meta.flags & KF_SPINLOCK_SAFE) !== 0;
}

/** Checks the call at `env.insnIdx`: 0, 1 where the path ends, or `-errno`. */
export function checkKfuncCall(env: VerifierEnv): number {
  const insn = env.insnIdx;
  const { imm, off } = env.insns;
  // a weak function that the kernel lacks: an error only if the call is still there in the end
  if (imm[insn] === 0) return 0;
  const kfunc = findKfunc(env, imm[insn]!, off[insn]!);
  if (typeof kfunc === 'number') return kfunc;
  if (kfunc.flags < 0 || !isKfuncAllowed(env, kfunc.btfIndex, kfunc.funcID)) {
    env.log.write(`calling kernel function ${kfunc.name} is not allowed\n`);
    env.diag?.policy(insn, `kfunc ${kfunc.name}`, 'this program cannot call the kfunc',
      'Use a kfunc allowed for this program type and attach point, or change the program context.');
    return -EACCES;
  }
  const desc = findKfuncDesc(env, imm[insn]!, off[insn]!);
  if (desc === undefined) return refuse(env, `verifier bug: kfunc descriptor not found for func_id ${imm[insn]!}`, EFAULT);
  const meta = new CallMeta(kfunc.funcID, kfunc.name);
  meta.flags = kfunc.flags;
  if ((kfunc.flags & KF_RELEASE) !== 0) meta.releaseRegno = 1;
  if ((kfunc.flags & KF_ITER_NEXT) !== 0) env.aux.flags[insn]! |= AUX_IS_ITER_NEXT;
  else env.aux.flags[insn]! &= ~AUX_IS_ITER_NEXT;

  const early = checkBeforeArgs(env, kfunc, insn);
  if (early !== 0) return early;
  const args = checkKfuncArgs(env, desc, meta, insn);
  if (args < 0) return args;
  const effects = applyEffects(env, desc, meta, insn);
  if (effects !== 0) return effects;
  return finishCall(env, kfunc, meta, insn);
}

/** Forks of failing locks, traps, and what the program must be allowed. */
function checkBeforeArgs(env: VerifierEnv, kfunc: KfuncMeta, insn: number): number {
  const isKernel = env.insns.off[insn] === 0;
  if (isKernel && isResSpinLock(kfunc.name)) {
    const err = forkFailedLock(env, insn);
    if (err !== 0) return err;
  } else if (isKernel && kfunc.name === '__bpf_trap') return refuse(env, 'unexpected __bpf_trap() due to uninitialized variable?', EFAULT);
  if ((kfunc.flags & KF_DESTRUCTIVE) !== 0 && !(env.load.capabilities.sysBoot ?? env.load.capabilities.sysAdmin)) {
    env.log.write('destructive kfunc calls require CAP_SYS_BOOT capability\n');
    env.diag?.policy(insn, `destructive kfunc ${kfunc.name}`, 'destructive kfuncs require CAP_SYS_BOOT',
      'Load the program with CAP_SYS_BOOT, or avoid destructive kfuncs.');
    return -EACCES;
  }
  if ((kfunc.flags & KF_PERFMON) !== 0 && !env.allowPtrLeaks) {
    env.log.write(`${kfunc.name} is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n`);
    env.diag?.policy(insn, `kfunc ${kfunc.name}`, 'the kfunc requires CAP_PERFMON', 'Load the program with CAP_PERFMON, or avoid the kfunc.');
    return -EPERM;
  }
  if ((kfunc.flags & KF_SLEEPABLE) !== 0 && !inSleepable(env)) {
    env.log.write(`program must be sleepable to call sleepable kfunc ${kfunc.name}\n`);
    env.diag?.ctxForbidden(insn, `sleepable kfunc ${kfunc.name}`,
      'Mark the program sleepable if the program type allows it, or use a non-sleepable kfunc.');
    return -EACCES;
  }
  if (!inSleepableContext(env)) env.aux.flags[insn]! |= AUX_NON_SLEEPABLE;
  return 0;
}

/** A resilient lock may fail: that path goes on with a negative R0. */
function forkFailedLock(env: VerifierEnv, insn: number): number {
  const branch = pushStack(env, insn + 1, insn, false);
  if (branch === undefined) {
    env.log.write('failed to push state for failed lock acquisition\n');
    return env.pushError;
  }
  const frame = curFrame(branch);
  for (let i = 0; i < CALLER_SAVED_REGS; i++) markNotInit(env, branch.w, regAt(frame, i));
  const r0 = regAt(frame, 0);
  markUnknown(env, branch.w, r0);
  scalarClampSigned32(branch.w, r0 + REG_SCALAR, -MAX_ERRNO, -1);
  return 0;
}

/** Callbacks, critical sections, released and transferred objects. */
function applyEffects(env: VerifierEnv, desc: KfuncDesc, meta: CallMeta, insn: number): number {
  const kfunc = desc.meta, { name } = kfunc;
  if (isObjDrop(name) && runsInInterrupts(env)) {
    const record = structRecord(env.btfAt(meta.argBTFIndex)!, meta.argBTFID);
    if (record !== undefined && record.fields.some((field) => (field.type & NMI_SAFE) === 0)) {
      return refuse(env, `${name} cannot be used in tracing programs on types with NMI unsafe fields`, EINVAL);
    }
  }
  const callback = callbackState(name);
  if (callback !== undefined) {
    const isAsync = callback !== setRBTreeAddCallback;
    const err = pushCallbackCall(env, meta.subprogno, callback, isAsync, isAsync);
    if (err !== 0) {
      env.log.write(`kfunc ${name}#${meta.funcID} failed callback verification\n`);
      return err;
    }
  }
  const section = changeSections(env, name, insn);
  if (section !== 0) return section;
  if ((kfunc.flags & KF_SLEEPABLE) !== 0 && !inSleepableContext(env)) {
    env.log.write(`kernel func ${name} is sleepable within ${nonSleepableDescription(env)}\n`);
    env.diag?.ctxForbidden(insn, `sleepable kfunc ${name}`, 'Move the kfunc call outside the critical section, or use a non-sleepable kfunc.');
    return -EACCES;
  }
  if ((name === 'bpf_rcu_read_lock' || name === 'bpf_rcu_read_unlock') && inRBTreeCallback(env)) {
    return refuse(env, 'Calling bpf_rcu_read_{lock,unlock} in unnecessary rbtree callback', EACCES);
  }
  if ((kfunc.flags & KF_RCU_PROTECTED) !== 0 && !inRCU(env)) {
    env.log.write(`kernel func ${name} requires RCU critical section protection\n`);
    env.diag?.ctxRequired(insn, name, DIAG_CONTEXT_RCU,
      'Call this kfunc between bpf_rcu_read_lock() and bpf_rcu_read_unlock(), keeping all exit paths balanced.');
    return -EACCES;
  }
  if (meta.releaseRegno !== 0) {
    const err = release(env, curReg(env, meta.releaseRegno), meta.dynptr.id !== 0);
    if (err !== 0) return err;
  }
  if (isListPush(name) || isRbtreeAdd(name)) {
    env.aux.insertOff[insn] = env.w[curReg(env, 2) + REG_VAR_LO]!;
    noteStruct(env, insn, meta.argBTFIndex, meta.argBTFID);
    convertOwningToNonOwning(env, env.w[curReg(env, 2) + REG_ID]!);
  }
  if (name !== 'bpf_throw') return 0;
  env.seenException = true;
  return env.exceptionCallbackSubprog === 0 ? Math.min(checkReturnCode(env, 1, 'R1'), 0) : 0;
}

/** Programs that may run where the allocator's locks are held. */
function runsInInterrupts(env: VerifierEnv): boolean {
  const type = env.resolvedProgType;
  return isTracingProgType(type) || (type === BPF_PROG_TYPE_TRACING && env.expectedAttachType !== BPF_TRACE_ITER && !env.sleepable);
}

function callbackState(name: string): SetCalleeState | undefined {
  if (isRbtreeAdd(name)) return setRBTreeAddCallback;
  if (name === 'bpf_wq_set_callback') return setTimerCallback;
  return name === 'bpf_task_work_schedule_signal' || name === 'bpf_task_work_schedule_resume' ? setTaskWorkCallback : undefined;
}

/** RCU and preemption sections entered and left. */
function changeSections(env: VerifierEnv, name: string, insn: number): number {
  const st = env.cur;
  switch (name) {
    case 'bpf_rcu_read_lock':
      st.activeRCULocks++;
      env.diag?.recordContext(insn, DIAG_CONTEXT_RCU, true, st.activeRCULocks);
      return 0;
    case 'bpf_rcu_read_unlock':
      if (st.activeRCULocks === 0) {
        env.log.write(`unmatched rcu read unlock (kernel function ${name})\n`);
        env.diag?.ctxUnderflow(insn, name, DIAG_CONTEXT_RCU,
          'Remove the extra bpf_rcu_read_unlock() call, or ensure this path first enters an RCU read lock region.');
        return -EINVAL;
      }
      st.activeRCULocks--;
      env.diag?.recordContext(insn, DIAG_CONTEXT_RCU, false, st.activeRCULocks);
      if (!inRCU(env)) invalidateRCUProtectedRefs(env);
      return 0;
    case 'bpf_preempt_disable':
      st.activePreemptLocks++;
      env.diag?.recordContext(insn, DIAG_CONTEXT_PREEMPT, true, st.activePreemptLocks);
      return 0;
    case 'bpf_preempt_enable':
      if (st.activePreemptLocks === 0) {
        env.log.write(`unmatched attempt to enable preemption (kernel function ${name})\n`);
        env.diag?.ctxUnderflow(insn, name, DIAG_CONTEXT_PREEMPT,
          'Remove the extra bpf_preempt_enable() call, or ensure this path first disables preemption.');
        return -EINVAL;
      }
      st.activePreemptLocks--;
      env.diag?.recordContext(insn, DIAG_CONTEXT_PREEMPT, false, st.activePreemptLocks);
      if (!inRCU(env)) invalidateRCUProtectedRefs(env);
      return 0;
    default:
      return 0;
  }
}

/** Ends what the argument owns. */
function release(env: VerifierEnv, reg: number, isDynptr: boolean): number {
  if (isNull(env.w, reg)) return 0;
  if (isDynptr) return unmarkDynptr(env, reg);
  return isReferenced(env, reg) ? releaseReference(env, env.w[reg + REG_ID]!) : -EINVAL;
}

/** Remembers whose special fields the call must know at run time. */
function noteStruct(env: VerifierEnv, insn: number, btfIndex: number, id: number): void {
  const btf = env.btfAt(btfIndex);
  const has = btf !== undefined && structRecord(btf, id) !== undefined;
  env.aux.kptrStructBTF[insn] = has ? btfIndex : 0;
  env.aux.kptrStructID[insn] = has ? id : -1;
}

/** Loses the caller-saved registers, makes R0, forks iterators. */
function finishCall(env: VerifierEnv, kfunc: KfuncMeta, meta: CallMeta, insn: number): number {
  const { btf, name } = kfunc;
  const frame = curFrame(env.cur);
  const r0 = regAt(frame, 0);
  if (env.diag !== undefined) env.diag.modBegin(r0, -1, DIAG_MOD_WRITE);
  scrubCallerSaved(env, frame);
  invalidateOutgoingStackArgs(env, frame);
  const type = btf.skipModifiers(kfunc.returnTypeID);
  const isPointer = btf.kind(type) === BTF_KIND_PTR;
  const target = isPointer ? btf.skipModifiers(btf.type(type)) : 0;
  if ((kfunc.flags & KF_ACQUIRE) !== 0 && !(isPointer && isStruct(btf, target))) {
    if (!btf.isKernel || (!isObjNew(name) && !isPercpuObjNew(name) && !isRefcountAcquire(name))) {
      return refuse(env, 'acquire kernel function does not return PTR_TO_BTF_ID', EINVAL);
    }
  }
  if (isNumber(btf, type)) {
    markUnknown(env, env.w, r0);
    if (btf.isKernel && isResSpinLock(name)) markConstZero(env, env.w, r0);
  } else if (isPointer) {
    const err = returnPointer(env, kfunc, meta, insn, r0, target);
    if (err !== 0) return err;
  } else if (btf.isKernel && isObjDrop(name)) noteStruct(env, insn, meta.argBTFIndex, meta.argBTFID);

  if (name === 'bpf_xdp_pull_data') clearAllPktPointers(env);
  if (kfunc.params.length > MAX_BPF_FUNC_REG_ARGS) {
    const caller = env.subprogs[env.w[frame + F_SUBPROG]!]!;
    caller.stackArgCount = Math.max(caller.stackArgCount, incomingStackArgs(caller.argCount) + kfunc.params.length - MAX_BPF_FUNC_REG_ARGS);
  }
  env.diag?.modEnd();
  if ((kfunc.flags & KF_ITER_NEXT) !== 0) {
    const err = processIterNext(env, insn, meta);
    if (err !== 0) return err;
  }
  if (env.insns.off[insn] !== 0 || name !== 'bpf_throw') return 0;
  const leak = checkResourceLeak(env, true, true, 'bpf_throw');
  return leak === 0 ? PATH_ENDS : leak;
}

function returnPointer(env: VerifierEnv, kfunc: KfuncMeta, meta: CallMeta, insn: number, r0: number, target: number): number {
  const { w } = env;
  const { btf, name } = kfunc;
  const isNode = btf.isKernel && ['bpf_list_node', 'bpf_rb_node'].includes(btf.typeName(target)) && btf.kind(target) === BTF_KIND_STRUCT;
  const special = returnSpecial(env, kfunc, meta, insn, r0, isNode, target);
  if (special < 0) return special;
  if (special === 0) {
    if (target === 0) markUnknown(env, w, r0);
    else if (btf.kind(target) === BTF_KIND_STRUCT) returnObject(env, kfunc, meta, r0, target);
    else {
      const err = returnMemory(env, kfunc, meta, r0, target);
      if (err !== 0) return err;
    }
  }
  if ((kfunc.flags & KF_RET_NULL) !== 0 && !(isRefcountAcquire(name) && meta.argOwningRef)) {
    w[r0 + REG_TYPE]! |= PTR_MAYBE_NULL;
    w[r0 + REG_ID] = ++env.idGen;
  }
  if ((kfunc.flags & KF_ACQUIRE) !== 0) {
    const id = acquireReference(env, insn, 0);
    if (id < 0) return id;
    w[r0 + REG_ID] = id;
  } else if (isNode) setNonOwning(env, r0);
  if (w[r0 + REG_ID] === 0 && recordHas(regRecord(env, r0), BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK)) w[r0 + REG_ID] = ++env.idGen;
  return 0;
}

function setObject(env: VerifierEnv, r0: number, type: number, btfIndex: number, id: number): void {
  const { w } = env;
  markKnownZero(w, r0);
  w[r0 + REG_TYPE] = type;
  w[r0 + REG_A] = btfIndex;
  w[r0 + REG_B] = id;
}

/** Functions whose result the verifier knows better than BTF: 1 where R0 is set, 0 for others, `-errno`. */
function returnSpecial(env: VerifierEnv, kfunc: KfuncMeta, meta: CallMeta, insn: number, r0: number, isNode: boolean, target: number): number {
  const { btf, btfIndex, name } = kfunc;
  if (!btf.isKernel) return 0;
  if (isObjNew(name) || isPercpuObjNew(name)) return returnNewObject(env, meta, insn, r0, isPercpuObjNew(name));
  if (isRefcountAcquire(name)) {
    setObject(env, r0, PTR_TO_BTF_ID | MEM_ALLOC, meta.argBTFIndex, meta.argBTFID);
    noteStruct(env, insn, meta.argBTFIndex, meta.argBTFID);
    return 1;
  }
  if (isNode) {
    const field = btf.typeName(target) === 'bpf_list_node' ? meta.listHead : meta.rbtreeRoot;
    if (field?.root === undefined) return refuse(env, `verifier bug: no root for the node that ${name} returns`, EFAULT);
    markGraphNode(env, r0, field.root);
    return 1;
  }
  if (name === 'bpf_cast_to_kern_ctx') {
    setObject(env, r0, PTR_TO_BTF_ID | PTR_TRUSTED, btfIndex, meta.retBTFID);
    return 1;
  }
  if (name === 'bpf_rdonly_cast') return returnCast(env, kfunc, meta, r0);
  return name === 'bpf_dynptr_slice' || name === 'bpf_dynptr_slice_rdwr' ? returnSlice(env, meta, r0, name === 'bpf_dynptr_slice') : 0;
}

function returnNewObject(env: VerifierEnv, meta: CallMeta, insn: number, r0: number, isPercpu: boolean): number {
  if (meta.constantHi !== 0) return refuse(env, 'local type ID argument must be in range [0, U32_MAX]', EINVAL);
  if (env.btf === undefined) return refuse(env, 'bpf_obj_new/bpf_percpu_obj_new requires prog BTF', EINVAL);
  const { btf } = env.btf;
  const id = meta.constantLo >>> 0;
  if (!btf.has(id) || btf.kind(id) !== BTF_KIND_STRUCT) {
    return refuse(env, 'bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct', EINVAL);
  }
  const size = btf.size(id);
  if (isPercpu) {
    if (size > MAX_PERCPU_OBJECT) return refuse(env, `bpf_percpu_obj_new type size (${size}) is greater than ${MAX_PERCPU_OBJECT}`, EINVAL);
    if (!isScalarStruct(env, btf, id)) return refuse(env, 'bpf_percpu_obj_new type ID argument must be of a struct of scalars', EINVAL);
    if (structRecord(btf, id) !== undefined) {
      return refuse(env, 'bpf_percpu_obj_new type ID argument must not contain special fields', EINVAL);
    }
  }
  const btfIndex = env.btfIndexOf(env.btf);
  setObject(env, r0, PTR_TO_BTF_ID | MEM_ALLOC | (isPercpu ? MEM_PERCPU : 0), btfIndex, id);
  env.aux.objNewSize[insn] = size;
  noteStruct(env, insn, btfIndex, id);
  return 1;
}

function returnCast(env: VerifierEnv, kfunc: KfuncMeta, meta: CallMeta, r0: number): number {
  const { btf, btfIndex } = kfunc;
  const id = meta.constantLo >>> 0;
  if (meta.constantHi === 0 && id === 0) {
    setObject(env, r0, PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED, 0, 0);
    return 1;
  }
  if (!btf.has(id)) {
    const value = (BigInt(meta.constantHi) << 32n) | BigInt(id);
    return refuse(env, `Unknown type ID ${value} passed to kfunc bpf_rdonly_cast`, EINVAL);
  }
  if (!isStruct(btf, id)) return refuse(env, 'kfunc bpf_rdonly_cast type ID argument must be of a struct or void', EINVAL);
  setObject(env, r0, PTR_TO_BTF_ID | PTR_UNTRUSTED, btfIndex, id);
  return 1;
}

function returnSlice(env: VerifierEnv, meta: CallMeta, r0: number, isReadOnly: boolean): number {
  if (!meta.constantFound) return refuse(env, 'verifier bug: bpf_dynptr_slice(_rdwr) no constant size', EFAULT);
  setObject(env, r0, PTR_TO_MEM | dynptrTypeFlag(meta.dynptr.type) | (isReadOnly ? MEM_RDONLY : 0), meta.constantLo, 0);
  if (!isReadOnly && !mayAccessPacket(env, undefined, BPF_WRITE)) {
    return refuse(env, 'the prog does not allow writes to packet data', EINVAL);
  }
  if (meta.dynptr.id === 0) return refuse(env, 'verifier bug: no dynptr id', EFAULT);
  env.w[r0 + REG_PARENT_ID] = meta.dynptr.id;
  return 1;
}

/** A pointer to a number, or to memory whose size an argument gave. */
function returnMemory(env: VerifierEnv, kfunc: KfuncMeta, meta: CallMeta, r0: number, target: number): number {
  const { w } = env;
  const { btf, name } = kfunc;
  if (meta.retMemSize < 0) {
    const size = btf.resolveSize(target);
    if (size !== undefined) {
      meta.retMemSize = size;
      meta.r0ReadOnly = name !== 'bpf_session_cookie';
    }
  }
  if (meta.retMemSize < 0) {
    const kind = BTF_KIND_NAMES[btf.kind(target)] ?? 'UNKNOWN';
    return refuse(env, `kernel function ${name} returns pointer type ${kind} ${btf.typeName(target)} is not supported`, EINVAL);
  }
  setObject(env, r0, PTR_TO_MEM | (meta.r0ReadOnly ? MEM_RDONLY : 0), meta.retMemSize, 0);
  if (meta.refObj.id !== 0) {
    if (meta.refObj.count > 1) {
      return refuse(env, `verifier bug: function expects only one referenced object but got ${meta.refObj.count}\n`, EFAULT);
    }
    w[r0 + REG_PARENT_ID] = meta.refObj.id;
  }
  if ((kfunc.flags & KF_RCU_PROTECTED) !== 0) w[r0 + REG_TYPE]! |= MEM_RCU;
  return 0;
}

/** A pointer to a kernel object: trusted, unless RCU protects it or the function says otherwise. */
function returnObject(env: VerifierEnv, kfunc: KfuncMeta, meta: CallMeta, r0: number, target: number): void {
  let flag = PTR_TRUSTED;
  if (kfunc.name === 'bpf_get_kmem_cache') flag = PTR_UNTRUSTED;
  else if ((kfunc.flags & KF_RCU_PROTECTED) !== 0 || ((kfunc.flags & KF_ITER_NEXT) !== 0 && yieldsRCU(env, meta))) flag = MEM_RCU;
  setObject(env, r0, PTR_TO_BTF_ID | flag, kfunc.btfIndex, target);
}
