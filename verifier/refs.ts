/**
 * @module verifier/refs
 * Resources that a path holds: acquired references, locks, saved interrupt flags; and what happens to every register when one is
 * released. Reproduces the reference part of kernel/bpf/verifier.c (`acquire_reference` … `invalidate_rcu_protected_refs`).
 */
import { EACCES, EINVAL, ENOMEM } from '../isa/errno.ts';
import {
  DIAG_CONTEXT_IRQ, DIAG_CONTEXT_LOCK, DIAG_CONTEXT_PREEMPT, DIAG_CONTEXT_RCU, DIAG_MOD_NON_OWN_REF, DIAG_MOD_PKT_DATA_CHANGE,
  DIAG_MOD_REF_RELEASE, DIAG_MOD_WRITE,
} from './diagnostics_port.ts';
import type { VerifierEnv } from './env.ts';
import { BPF_PROG_TYPE_STRUCT_OPS } from '../isa/uapi.ts';
import { curReg, markInvalid, markNotInit } from './regs.ts';
import {
  baseType, DYNPTR_TYPE_SKB, DYNPTR_TYPE_SKB_META, DYNPTR_TYPE_XDP, MAX_BPF_REG, MEM_ALLOC, MEM_PERCPU, MEM_RCU, NON_OWN_REF, NOT_INIT,
  PTR_MAYBE_NULL, PTR_TO_MEM, PTR_TO_PACKET_END, PTR_UNTRUSTED, typeIsNonOwningRef, typeIsPktPointer,
} from './regtypes.ts';
import {
  F_ALLOCATED_STACK, F_FRAMENO, F_OUT_STACK_ARGS, REF_ID, REF_INSN, REF_PARENT_OR_PTR, REF_TYPE, REF_TYPE_IRQ, REF_TYPE_LOCK_MASK,
  REF_TYPE_PTR, REF_WORDS, REG_B, REG_ID, REG_PARENT_ID, REG_TYPE, regAt, SLOT_TYPES, SLOT_WORDS, slotAt, STACK_DYNPTR, STACK_INVALID,
  STACK_ITER, STACK_SPILL, stackArgAt, type VState,
} from './state.ts';

/** Registers that {@link listRegs} found: their offsets; and for those in stack slots true in {@link REG_IN_SLOT}. */
export const REG_LIST: Int32Array = new Int32Array(1500);
export const REG_IN_SLOT: Uint8Array = new Uint8Array(1500);

/**
 * Lists all registers of a state: those of every frame, stack slots whose last byte's kind is in `mask` (bits `1 << STACK_*`), and
 * initialised on-stack arguments. The result stays valid until the next call.
 */
export function listRegs(st: VState, mask: number): number {
  const { w, b } = st;
  let n = 0;
  for (let f = 0; f <= st.curframe; f++) {
    const frame = st.frameAt[f]!;
    for (let i = 0; i < MAX_BPF_REG; i++) {
      REG_IN_SLOT[n] = 0;
      REG_LIST[n++] = regAt(frame, i);
    }
    const slots = w[frame + F_ALLOCATED_STACK]! >> 3;
    for (let i = 0; i < slots; i++) {
      const slot = slotAt(frame, i);
      if (((1 << b[((slot + SLOT_TYPES) << 2) + 7]!) & mask) === 0) continue;
      REG_IN_SLOT[n] = 1;
      REG_LIST[n++] = slot;
    }
    const args = w[frame + F_OUT_STACK_ARGS]!;
    for (let i = 0; i < args; i++) {
      const reg = stackArgAt(st, frame, i);
      if (w[reg + REG_TYPE] === NOT_INIT) continue;
      REG_IN_SLOT[n] = 0;
      REG_LIST[n++] = reg;
    }
  }
  return n;
}

/** Bit of spilled registers in the masks of {@link listRegs}. */
export const MASK_SPILL: number = 1 << STACK_SPILL;

function pushRef(env: VerifierEnv, insn: number, type: number, id: number, parentOrPtr: number): number {
  const st = env.cur;
  if (st.acquiredRefs >= env.pool.maxRefs) return -ENOMEM;
  const at = st.refsAt + st.acquiredRefs * REF_WORDS;
  st.w[at + REF_TYPE] = type;
  st.w[at + REF_ID] = id;
  st.w[at + REF_INSN] = insn;
  st.w[at + REF_PARENT_OR_PTR] = parentOrPtr;
  st.acquiredRefs++;
  return id;
}

/** A new reference's id, or `-ENOMEM`. */
export function acquireReference(env: VerifierEnv, insn: number, parentID: number): number {
  const id = pushRef(env, insn, REF_TYPE_PTR, ++env.idGen, parentID);
  if (id >= 0) env.diag?.recordRefAcquire(insn, id);
  return id;
}

/** Takes a lock of kind `type` (`REF_TYPE_*LOCK*`); `ptr` identifies map or BTF. */
export function acquireLock(env: VerifierEnv, insn: number, type: number, id: number, ptr: number): number {
  const st = env.cur;
  if (pushRef(env, insn, type, id, ptr) < 0) return -ENOMEM;
  st.activeLocks++;
  st.activeLockID = id;
  st.activeLockPtr = ptr;
  env.diag?.recordContext(insn, DIAG_CONTEXT_LOCK, true, st.activeLocks);
  return 0;
}

/** Depth of saved interrupt flags. */
export function irqDepth(st: VState): number {
  let depth = 0;
  for (let i = 0; i < st.acquiredRefs; i++) if (st.w[st.refsAt + i * REF_WORDS + REF_TYPE] === REF_TYPE_IRQ) depth++;
  return depth;
}

export function acquireIRQ(env: VerifierEnv, insn: number): number {
  const st = env.cur;
  const id = pushRef(env, insn, REF_TYPE_IRQ, ++env.idGen, 0);
  if (id < 0) return id;
  st.activeIRQID = id;
  env.diag?.recordContext(insn, DIAG_CONTEXT_IRQ, true, irqDepth(st));
  return id;
}

function dropRef(st: VState, index: number): void {
  const at = st.refsAt + index * REF_WORDS;
  const end = st.refsAt + st.acquiredRefs * REF_WORDS;
  st.w.copyWithin(at, at + REF_WORDS, end);
  st.w.fill(0, end - REF_WORDS, end);
  st.acquiredRefs--;
}

/** Index of the pointer reference with an id, -1 for none. */
export function findReference(st: VState, id: number): number {
  for (let i = 0; i < st.acquiredRefs; i++) {
    const at = st.refsAt + i * REF_WORDS;
    if (st.w[at + REF_TYPE] === REF_TYPE_PTR && st.w[at + REF_ID] === id) return i;
  }
  return -1;
}

/** True where the register's id is a live reference. */
export function isReferenced(env: VerifierEnv, reg: number): boolean {
  return findReference(env.cur, env.w[reg + REG_ID]!) >= 0;
}

/** Offset of the lock that matches, -1 for none. */
export function findLock(st: VState, types: number, id: number, ptr: number): number {
  for (let i = 0; i < st.acquiredRefs; i++) {
    const at = st.refsAt + i * REF_WORDS;
    if ((st.w[at + REF_TYPE]! & types) !== 0 && st.w[at + REF_ID] === id && st.w[at + REF_PARENT_OR_PTR] === ptr) return at;
  }
  return -1;
}

export function releaseLock(env: VerifierEnv, type: number, id: number, ptr: number): number {
  const st = env.cur;
  let previousID = 0;
  let previousPtr = 0;
  for (let i = 0; i < st.acquiredRefs; i++) {
    const at = st.refsAt + i * REF_WORDS;
    const kind = st.w[at + REF_TYPE]!;
    if (kind === type && st.w[at + REF_ID] === id && st.w[at + REF_PARENT_OR_PTR] === ptr) {
      dropRef(st, i);
      st.activeLocks--;
      st.activeLockID = previousID;
      st.activeLockPtr = previousPtr;
      env.diag?.recordContext(env.insnIdx, DIAG_CONTEXT_LOCK, false, st.activeLocks);
      return 0;
    }
    if ((kind & REF_TYPE_LOCK_MASK) !== 0) {
      previousID = st.w[at + REF_ID]!;
      previousPtr = st.w[at + REF_PARENT_OR_PTR]!;
    }
  }
  return -EINVAL;
}

export function releaseIRQ(env: VerifierEnv, id: number): number {
  const st = env.cur;
  if (id !== st.activeIRQID) return -EACCES;
  let previous = 0;
  for (let i = 0; i < st.acquiredRefs; i++) {
    const at = st.refsAt + i * REF_WORDS;
    if (st.w[at + REF_TYPE] !== REF_TYPE_IRQ) continue;
    if (st.w[at + REF_ID] === id) {
      dropRef(st, i);
      st.activeIRQID = previous;
      env.diag?.recordContext(env.insnIdx, DIAG_CONTEXT_IRQ, false, irqDepth(st));
      return 0;
    }
    previous = st.w[at + REF_ID]!;
  }
  return -EINVAL;
}

/** Forgets a reference without looking at registers; 0 or `-EINVAL`. Works on any state. */
export function dropReference(st: VState, id: number): number {
  const index = findReference(st, id);
  if (index < 0) return -EINVAL;
  dropRef(st, index);
  return 0;
}

/** Forgets a reference of the current state and notes it. */
export function releaseReferenceNoMark(env: VerifierEnv, id: number): number {
  const error = dropReference(env.cur, id);
  if (error === 0) env.diag?.recordRefRelease(env.insnIdx, id);
  return error;
}

/** Both slots of a dynptr become empty; `slot` is the one further from the frame pointer's end (the second). */
function invalidateDynptr(env: VerifierEnv, slot: number): void {
  for (const at of [slot, slot + SLOT_WORDS]) {
    env.b.fill(STACK_INVALID, (at + SLOT_TYPES) << 2, ((at + SLOT_TYPES) << 2) + 8);
    markNotInit(env, env.w, at);
  }
}

/**
 * Releases object `id` and everything derived from it: registers that are it or come from it become unusable, dynptrs over it
 * disappear. 0, or `-EINVAL` where a reference taken from it is still held.
 */
export function releaseReference(env: VerifierEnv, id: number): number {
  const st = env.cur;
  const { w, b } = env;
  const todo: number[] = [];
  const push = (next: number): void => {
    if (next !== 0 && !todo.includes(next)) todo.push(next);
  };
  push(id);
  if (findReference(st, id) >= 0) releaseReferenceNoMark(env, id);
  for (;;) {
    const cur = todo.pop();
    if (cur === undefined) return 0;
    for (let i = 0; i < st.acquiredRefs; i++) {
      const at = st.refsAt + i * REF_WORDS;
      if (w[at + REF_TYPE] !== REF_TYPE_PTR || w[at + REF_PARENT_OR_PTR] !== cur) continue;
      env.log.write(`Leaking reference id=${w[at + REF_ID]!} alloc_insn=${w[at + REF_INSN]!}. Release it first.\n`);
      return -EINVAL;
    }
    const n = listRegs(st, MASK_SPILL | (1 << STACK_DYNPTR));
    for (let i = 0; i < n; i++) {
      const reg = REG_LIST[i]!;
      const isChild = w[reg + REG_PARENT_ID] === cur;
      if (w[reg + REG_ID] !== cur && !isChild) continue;
      if (isChild) push(w[reg + REG_ID]!);
      if (REG_IN_SLOT[i] === 1) {
        const kind = b[((reg + SLOT_TYPES) << 2) + 7]!;
        if (kind === STACK_DYNPTR) {
          const low = w[reg + REG_B] !== 0 ? reg - SLOT_WORDS : reg;
          env.diag?.recordScrub(low, DIAG_MOD_REF_RELEASE);
          env.diag?.recordScrub(low + SLOT_WORDS, DIAG_MOD_REF_RELEASE);
          invalidateDynptr(env, low);
          continue;
        }
        env.diag?.recordScrub(reg, DIAG_MOD_REF_RELEASE);
        if (kind === STACK_SPILL) markInvalid(env, w, reg);
        continue;
      }
      env.diag?.recordScrub(reg, DIAG_MOD_REF_RELEASE);
      markInvalid(env, w, reg);
    }
  }
}

/** Non-owning references end with the lock that made them safe. */
export function invalidateNonOwningRefs(env: VerifierEnv): void {
  const n = listRegs(env.cur, MASK_SPILL);
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    if (!typeIsNonOwningRef(env.w[reg + REG_TYPE]!)) continue;
    env.diag?.recordScrub(reg, DIAG_MOD_NON_OWN_REF);
    markInvalid(env, env.w, reg);
  }
}

/** RCU pointers are untrusted once the read section is over. */
export function invalidateRCUProtectedRefs(env: VerifierEnv): void {
  const { w } = env;
  const n = listRegs(env.cur, MASK_SPILL | (1 << STACK_ITER));
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    if ((w[reg + REG_TYPE]! & MEM_RCU) === 0) continue;
    env.diag?.modBegin(reg, -1, DIAG_MOD_WRITE);
    w[reg + REG_TYPE] = (w[reg + REG_TYPE]! & ~(MEM_RCU | PTR_MAYBE_NULL | NON_OWN_REF)) | PTR_UNTRUSTED;
    env.diag?.modEnd();
  }
}

/** A per-CPU object given away under RCU stays readable: its pointers become RCU ones. */
export function convertAllocToRCU(env: VerifierEnv, id: number): number {
  const { w } = env;
  const error = releaseReferenceNoMark(env, id);
  if (error !== 0) return error;
  const n = listRegs(env.cur, MASK_SPILL);
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    if (w[reg + REG_ID] !== id) continue;
    const type = w[reg + REG_TYPE]!;
    if ((type & MEM_ALLOC) === 0 || (type & MEM_PERCPU) === 0) continue;
    env.diag?.modBegin(reg, -1, DIAG_MOD_WRITE);
    w[reg + REG_ID] = 0;
    w[reg + REG_TYPE] = (type & ~MEM_ALLOC) | MEM_RCU;
    env.diag?.modEnd();
  }
  return 0;
}

/** Packet pointers and slices of packets end where the packet may have moved. */
export function clearAllPktPointers(env: VerifierEnv): void {
  const { w } = env;
  const n = listRegs(env.cur, MASK_SPILL);
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    const type = w[reg + REG_TYPE]!;
    if (!isPktPointerAny(type) && !isDynptrSlicePkt(type)) continue;
    env.diag?.recordScrub(reg, DIAG_MOD_PKT_DATA_CHANGE);
    markInvalid(env, w, reg);
  }
}

export function isPktPointerAny(type: number): boolean {
  return typeIsPktPointer(type) || type === PTR_TO_PACKET_END;
}

export function isDynptrSlicePkt(type: number): boolean {
  return baseType(type) === PTR_TO_MEM && (type & (DYNPTR_TYPE_SKB | DYNPTR_TYPE_XDP | DYNPTR_TYPE_SKB_META)) !== 0;
}

export function inSleepable(env: VerifierEnv): boolean {
  return env.cur.inSleepable;
}

/** Inside something that keeps RCU readers alive. */
export function inRCU(env: VerifierEnv): boolean {
  const st = env.cur;
  return st.activeRCULocks !== 0 || st.activePreemptLocks !== 0 || st.activeLocks !== 0 || st.activeIRQID !== 0 || !st.inSleepable;
}

export function inSleepableContext(env: VerifierEnv): boolean {
  return !inRCU(env);
}

export function nonSleepableDescription(env: VerifierEnv): string {
  const st = env.cur;
  if (st.activeRCULocks !== 0) return 'rcu_read_lock region';
  if (st.activePreemptLocks !== 0) return 'non-preemptible region';
  if (st.activeIRQID !== 0) return 'IRQ-disabled region';
  if (st.activeLocks !== 0) return 'lock region';
  return 'non-sleepable prog';
}

function checkReferenceLeak(env: VerifierEnv, isException: boolean): number {
  const st = env.cur;
  const { w } = env;
  if (!isException && w[st.frameAt[st.curframe]! + F_FRAMENO] !== 0) return 0;
  const isStructOps = env.resolvedProgType === BPF_PROG_TYPE_STRUCT_OPS;
  let leaks = false;
  for (let i = 0; i < st.acquiredRefs; i++) {
    const at = st.refsAt + i * REF_WORDS;
    if (w[at + REF_TYPE] !== REF_TYPE_PTR) continue;
    const id = w[at + REF_ID]!;
    if (isStructOps && !isException && w[curReg(env, 0) + REG_ID] === id) continue;
    env.log.write(`Unreleased reference id=${id} alloc_insn=${w[at + REF_INSN]!}\n`);
    env.diag?.leak(id, w[at + REF_INSN]!, env.insnIdx);
    leaks = true;
  }
  return leaks ? -EINVAL : 0;
}

/** What must not be held at an exit, tail call or exception; 0 or `-EINVAL`. */
export function checkResourceLeak(env: VerifierEnv, isException: boolean, checkLock: boolean, prefix: string): number {
  const st = env.cur;
  const refuse = (region: string, kind: number, suggestion: string): number => {
    env.log.write(`${prefix} cannot be used inside ${region} region\n`);
    env.diag?.ctxActive(env.insnIdx, prefix, kind, suggestion);
    return -EINVAL;
  };
  if (checkLock && st.activeLocks !== 0) {
    return refuse('bpf_spin_lock-ed', DIAG_CONTEXT_LOCK, 'Release the BPF spin lock before this operation on every path.');
  }
  const error = checkReferenceLeak(env, isException);
  if (error !== 0) {
    env.log.write(`${prefix} would lead to reference leak\n`);
    return error;
  }
  if (!checkLock) return 0;
  if (st.activeIRQID !== 0) {
    return refuse('bpf_local_irq_save-ed', DIAG_CONTEXT_IRQ, 'Restore the saved IRQ state before this operation on every path.');
  }
  if (st.activeRCULocks !== 0) {
    return refuse('bpf_rcu_read_lock-ed', DIAG_CONTEXT_RCU, 'Call bpf_rcu_read_unlock() before this operation on every path.');
  }
  if (st.activePreemptLocks !== 0) {
    return refuse('bpf_preempt_disable-ed', DIAG_CONTEXT_PREEMPT, 'Call bpf_preempt_enable() before this operation on every path.');
  }
  return 0;
}

/** The object that a call's referenced argument is (`struct ref_obj_desc`). */
export interface RefObj {
  id: number;
  parentID: number;
  count: number;
}

export function updateRefObj(env: VerifierEnv, ref: RefObj, reg: number): void {
  ref.id = env.w[reg + REG_ID]!;
  ref.parentID = env.w[reg + REG_PARENT_ID]!;
  ref.count++;
}

