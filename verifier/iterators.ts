/**
 * @module verifier/iterators
 * Open-coded iterators: their state on the stack, and the fork at each `next` into one more element and none. Reproduces
 * `process_iter_arg()`, `process_iter_next_call()` and what they call in `kernel/bpf/verifier.c`.
 */
import { EFAULT, EINVAL, EPROTO, ERANGE } from '../isa/errno.ts';
import { diagCallArg } from './call_diag.ts';
import type { CallMeta } from './call_meta.ts';
import { DIAG_CONTEXT_RCU } from './diagnostics_port.ts';
import { objectSpi } from './dynptr.ts';
import type { VerifierEnv } from './env.ts';
import { iterArgType, type KfuncMeta } from './kfunc_params.ts';
import { KF_ITER_DESTROY, KF_ITER_NEW, KF_RCU_PROTECTED } from './kfunc_sets.ts';
import { checkMemAccess } from './mem_access.ts';
import { pushStack } from './paths.ts';
import { iterStateName, iterTypeName } from './print.ts';
import { acquireReference, inRCU, releaseReference, updateRefObj } from './refs.ts';
import { argName, markConstZero, markKnownZero, markNotInit } from './regs.ts';
import { BPF_WRITE, MEM_RCU, PTR_MAYBE_NULL, PTR_TO_STACK, PTR_UNTRUSTED } from './regtypes.ts';
import { frameOfPointer, markSlotScratched, markSlotsScratched } from './stack.ts';
import {
  F_CALLSITE, REG_A, REG_B, REG_C, REG_ID, REG_TYPE, SLOT_TYPES, STACK_INVALID, STACK_ITER, curFrame, regAt, slotAt, type VState,
} from './state.ts';
import { findPreviousEntry, widenImpreciseScalars } from './widen.ts';

/** `enum bpf_iter_state`, in bits 0 and 1 of `REG_C`; the depth is above. */
const ACTIVE = 1, DRAINED = 2, STATE_MASK = 3, DEPTH_ONE = 4;

const fillTypes = (env: VerifierEnv, slot: number, type: number): void => {
  env.b.fill(type, (slot + SLOT_TYPES) << 2, ((slot + SLOT_TYPES) << 2) + 8);
};

/** Marks the slots of a new iterator. */
function markSlots(env: VerifierEnv, meta: CallMeta, reg: number, insn: number, btfIndex: number, btfID: number, slots: number): number {
  const spi = objectSpi(env, reg, 'iter', slots);
  if (spi < 0) return spi;
  const id = acquireReference(env, insn, 0);
  if (id < 0) return id;
  const { w } = env;
  const frame = frameOfPointer(env, reg);
  for (let i = 0; i < slots; i++) {
    const slot = slotAt(frame, spi - i);
    markKnownZero(w, slot);
    w[slot + REG_TYPE] = PTR_TO_STACK;
    if ((meta.flags & KF_RCU_PROTECTED) !== 0) w[slot + REG_TYPE] = PTR_TO_STACK | (inRCU(env) ? MEM_RCU : PTR_UNTRUSTED);
    w[slot + REG_ID] = i === 0 ? id : 0;
    w[slot + REG_A] = btfIndex;
    w[slot + REG_B] = btfID;
    w[slot + REG_C] = ACTIVE;
    fillTypes(env, slot, STACK_ITER);
    markSlotScratched(env, spi - i);
  }
  return 0;
}

/** Ends an iterator. */
function unmarkSlots(env: VerifierEnv, reg: number, slots: number): number {
  const spi = objectSpi(env, reg, 'iter', slots);
  if (spi < 0) return spi;
  const frame = frameOfPointer(env, reg);
  for (let i = 0; i < slots; i++) {
    const slot = slotAt(frame, spi - i);
    if (i === 0) releaseReference(env, env.w[slot + REG_ID]!);
    markNotInit(env, env.w, slot);
    fillTypes(env, slot, STACK_INVALID);
    markSlotScratched(env, spi - i);
  }
  return 0;
}

function isUninitialised(env: VerifierEnv, reg: number, slots: number): boolean {
  const spi = objectSpi(env, reg, 'iter', slots);
  // below the tracked stack: the write that follows extends it
  if (spi === -ERANGE) return true;
  if (spi < 0) return false;
  const frame = frameOfPointer(env, reg);
  for (let i = 0; i < slots; i++) {
    const types = (slotAt(frame, spi - i) + SLOT_TYPES) << 2;
    for (let j = 0; j < 8; j++) if (env.b[types + j] === STACK_ITER) return false;
  }
  return true;
}

/** 0 where the slots hold this kind of iterator; `-EPROTO` where its RCU section is over, `-EINVAL` otherwise. */
function checkInitialised(env: VerifierEnv, reg: number, btfIndex: number, btfID: number, slots: number): number {
  const spi = objectSpi(env, reg, 'iter', slots);
  if (spi < 0) return -EINVAL;
  const { w, b } = env;
  const frame = frameOfPointer(env, reg);
  for (let i = 0; i < slots; i++) {
    const slot = slotAt(frame, spi - i);
    if ((w[slot + REG_TYPE]! & PTR_UNTRUSTED) !== 0) return -EPROTO;
    if ((i === 0) !== (w[slot + REG_ID] !== 0)) return -EINVAL;
    if (w[slot + REG_A] !== btfIndex || w[slot + REG_B] !== btfID) return -EINVAL;
    for (let j = 0; j < 8; j++) if (b[((slot + SLOT_TYPES) << 2) + j] !== STACK_ITER) return -EINVAL;
  }
  return 0;
}

/** Checks an iterator argument: made by `new`, used by others, ended by `destroy`; 0 or `-errno`. */
export function processIterArg(env: VerifierEnv, reg: number, argno: number, insn: number, meta: CallMeta, kfunc: KfuncMeta, arg: number): number {
  const { w, log } = env;
  const name = argName(argno);
  if (w[reg + REG_TYPE] !== PTR_TO_STACK) {
    log.write(`${name} expected pointer to an iterator on stack\n`);
    diagCallArg(env, insn, argno, meta.funcName,
      `iterator state must live in verifier-tracked stack memory, but ${name} is ${env.diag?.regTypePlain(w[reg + REG_TYPE]!) ?? ''}`,
      'Pass the address of a stack iterator object for iterator new, next, and destroy calls.');
    return -EINVAL;
  }
  const { btf, btfIndex } = kfunc;
  const btfID = iterArgType(btf, kfunc.protoID, arg);
  if (btfID < 0) {
    log.write(`expected valid iter pointer as ${name}\n`);
    diagCallArg(env, insn, argno, meta.funcName,
      'the kfunc expects a recognized iterator state pointer, but this argument does not match a valid iterator type',
      'Pass the exact iterator state type expected by this kfunc.');
    return -EINVAL;
  }
  const slots = btf.size(btfID) >> 3;
  if ((meta.flags & KF_ITER_NEW) !== 0) return construct(env, reg, argno, insn, meta, btfIndex, btfID, slots);
  const state = checkInitialised(env, reg, btfIndex, btfID, slots);
  if (state === -EPROTO) {
    log.write(`expected an RCU CS when using ${meta.funcName}\n`);
    env.diag?.ctxRequired(insn, meta.funcName, DIAG_CONTEXT_RCU,
      'Wrap iterator use in bpf_rcu_read_lock() and bpf_rcu_read_unlock(), keeping all exit paths balanced.');
    return state;
  }
  if (state !== 0) {
    log.write(`expected an initialized iter_${iterTypeName(env, btfIndex, btfID)} as ${name}\n`);
    env.diag?.res(insn, 'uninitialized iterator use',
      'This iterator operation requires an initialized iterator state object, but the stack range does not contain a live iterator on this path.',
      'Call the matching iterator new kfunc on every path before calling next or destroy, and do not destroy the iterator before this use.');
    return state;
  }
  const spi = objectSpi(env, reg, 'iter', slots);
  if (spi < 0) return spi;
  markSlotsScratched(env, spi, slots);
  meta.iterSpi = spi;
  meta.iterFrameno = w[reg + REG_A]!;
  updateRefObj(env, meta.refObj, slotAt(frameOfPointer(env, reg), spi));
  return (meta.flags & KF_ITER_DESTROY) !== 0 ? unmarkSlots(env, reg, slots) : 0;
}

function construct(env: VerifierEnv, reg: number, argno: number, insn: number, meta: CallMeta, btfIndex: number, btfID: number, slots: number): number {
  if (!isUninitialised(env, reg, slots)) {
    env.log.write(`expected uninitialized iter_${iterTypeName(env, btfIndex, btfID)} as ${argName(argno)}\n`);
    env.diag?.res(insn, 'iterator is already initialized',
      'Iterator creation requires an uninitialized iterator stack object, but this stack range already contains iterator state.',
      'Use a fresh iterator stack slot, or destroy the existing iterator before reusing the slot.');
    return -EINVAL;
  }
  for (let i = 0; i < slots * 8; i += 8) {
    const err = checkMemAccess(env, insn, reg, argno, i, 8, BPF_WRITE, -1, false, false);
    if (err !== 0) return err;
  }
  return markSlots(env, meta, reg, insn, btfIndex, btfID, slots);
}

const iteratorIn = (st: VState, meta: CallMeta): number => slotAt(st.frameAt[meta.iterFrameno]!, meta.iterSpi);

/** True where the iterator of the call yields pointers that RCU protects. */
export const yieldsRCU = (env: VerifierEnv, meta: CallMeta): boolean => (env.w[iteratorIn(env.cur, meta) + REG_TYPE]! & MEM_RCU) !== 0;

function sameCallSites(a: VState, b: VState): boolean {
  if (a.curframe !== b.curframe) return false;
  for (let f = a.curframe; f >= 0; f--) if (a.w[a.frameAt[f]! + F_CALLSITE] !== b.w[b.frameAt[f]! + F_CALLSITE]) return false;
  return true;
}

/**
 * Goes on with "no more elements" and puts "one more" aside. The paths come together at the next call where nothing that
 * matters has changed; scalars that do not matter are forgotten so that they can.
 */
export function processIterNext(env: VerifierEnv, insn: number, meta: CallMeta): number {
  const { w, cur } = env;
  const iter = iteratorIn(cur, meta);
  const state = w[iter + REG_C]! & STATE_MASK;
  if (state !== ACTIVE && state !== DRAINED) {
    env.log.write(`verifier bug: unexpected iterator state ${state} (${iterStateName(state)})\n`);
    return -EFAULT;
  }
  if (state === ACTIVE) {
    const { parent } = cur;
    if (parent === undefined || parent.insnIdx !== insn || !sameCallSites(parent, cur)) {
      env.log.write('verifier bug: bad parent state for iter next call\n');
      return -EFAULT;
    }
    const previous = findPreviousEntry(env, parent, insn);
    const queued = pushStack(env, insn + 1, insn, false);
    if (queued === undefined) return env.pushError;
    queued.w[iteratorIn(queued, meta) + REG_C]! += DEPTH_ONE;
    if (previous !== undefined) widenImpreciseScalars(env, previous, queued);
    queued.w[regAt(curFrame(queued), 0) + REG_TYPE]! &= ~PTR_MAYBE_NULL;
  }
  w[iter + REG_C] = (w[iter + REG_C]! & ~STATE_MASK) | DRAINED;
  markConstZero(env, w, regAt(curFrame(cur), 0));
  return 0;
}
