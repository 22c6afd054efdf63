/**
 * @module verifier/dynptr
 * Dynptrs in stack slots and in arguments: their marks, whether a slot holds one, and what a call does with it. Reproduces the
 * dynptr part of kernel/bpf/verifier.c (`mark_stack_slots_dynptr` … `process_dynptr_func`).
 */
import { EFAULT, EINVAL, ERANGE } from '../isa/errno.ts';
import {
  argToDynptrType, BPF_DYNPTR_NR_SLOTS, BPF_DYNPTR_SIZE, BPF_DYNPTR_TYPE_INVALID, dynptrTypeReferenced,
} from './dynptr_types.ts';
import { diagCallArg } from './call_diag.ts';
import type { VerifierEnv } from './env.ts';
import { checkMemAccess } from './mem_access.ts';
import { dynptrTypeName } from './print.ts';
import { acquireReference, type RefObj, releaseReference } from './refs.ts';
import { argName, isVarConst, markKnownZero } from './regs.ts';
import { ARG_PTR_TO_DYNPTR, BPF_WRITE, CONST_PTR_TO_DYNPTR, MEM_UNINIT, OBJ_RELEASE, PTR_TO_STACK } from './regtypes.ts';
import { destroyIfDynptr, frameOfPointer, markSlotsScratched } from './stack.ts';
import {
  F_ALLOCATED_STACK, REG_A, REG_B, REG_ID, REG_PARENT_ID, REG_TYPE, REG_VAR_LO, SLOT_TYPES, slotAt, spiOf, STACK_DYNPTR,
} from './state.ts';

/** The last dynptr that a call was given (`struct bpf_dynptr_desc`). */
export interface DynptrDesc {
  type: number;
  id: number;
  parentID: number;
}

/** Slot of an object of `slots` slots that a stack pointer points at; `-EINVAL`, or `-ERANGE` below the tracked stack. */
export function objectSpi(env: VerifierEnv, reg: number, kind: string, slots: number): number {
  const { w } = env;
  if (!isVarConst(w, reg)) {
    env.log.write(`${kind} has to be at a constant offset\n`);
    return -EINVAL;
  }
  const off = w[reg + REG_VAR_LO]!;
  if (off >= 0 || off % 8 !== 0 || spiOf(off) + 1 < slots) {
    env.log.write(`cannot pass in ${kind} at an offset=${off}\n`);
    return -EINVAL;
  }
  const spi = spiOf(off);
  const allocated = w[frameOfPointer(env, reg) + F_ALLOCATED_STACK]! >> 3;
  return spi - slots + 1 >= 0 && spi < allocated ? spi : -ERANGE;
}

export function dynptrSpi(env: VerifierEnv, reg: number): number {
  return objectSpi(env, reg, 'dynptr', BPF_DYNPTR_NR_SLOTS);
}

/** Marks a register, or the register of a slot, as a dynptr. */
export function markDynptrReg(w: Int32Array, reg: number, type: number, isFirst: boolean, id: number, parentID: number): void {
  markKnownZero(w, reg);
  w[reg + REG_TYPE] = CONST_PTR_TO_DYNPTR;
  w[reg + REG_ID] = id;
  w[reg + REG_PARENT_ID] = parentID;
  w[reg + REG_A] = type;
  w[reg + REG_B] = isFirst ? 1 : 0;
}

function markStackSlots(env: VerifierEnv, reg: number, argType: number, insn: number, ref: RefObj, dynptr: DynptrDesc): number {
  const { w, b } = env;
  const spi = dynptrSpi(env, reg);
  if (spi < 0) return spi;
  const frame = frameOfPointer(env, reg);
  let error = destroyIfDynptr(env, frame, spi);
  if (error === 0) error = destroyIfDynptr(env, frame, spi - 1);
  if (error !== 0) return error;
  const first = slotAt(frame, spi);
  const second = slotAt(frame, spi - 1);
  for (const slot of [first, second]) b.fill(STACK_DYNPTR, (slot + SLOT_TYPES) << 2, ((slot + SLOT_TYPES) << 2) + 8);
  const type = argToDynptrType(argType);
  if (type === BPF_DYNPTR_TYPE_INVALID) return -EINVAL;
  let parentID = dynptr.parentID;
  if (dynptr.type === BPF_DYNPTR_TYPE_INVALID) {
    if (ref.count > 1) {
      env.log.write(`verifier bug: function expects only one referenced object but got ${ref.count}\n\n`);
      return -EFAULT;
    }
    parentID = ref.id;
    if (dynptrTypeReferenced(type)) {
      parentID = acquireReference(env, insn, parentID);
      if (parentID < 0) return parentID;
    }
  }
  const id = ++env.idGen;
  markDynptrReg(w, first, type, true, id, parentID);
  markDynptrReg(w, second, type, false, id, parentID);
  return 0;
}

/** Ends a dynptr and what was taken from it; 0 or `-errno`. */
export function unmarkDynptr(env: VerifierEnv, reg: number): number {
  const { w } = env;
  const spi = dynptrSpi(env, reg);
  if (spi < 0) return spi;
  const slot = slotAt(frameOfPointer(env, reg), spi);
  return releaseReference(env, dynptrTypeReferenced(w[slot + REG_A]!) ? w[slot + REG_PARENT_ID]! : w[slot + REG_ID]!);
}

function isValidUninit(env: VerifierEnv, reg: number): boolean {
  if (env.w[reg + REG_TYPE] === CONST_PTR_TO_DYNPTR) return false;
  const spi = dynptrSpi(env, reg);
  return spi >= 0 || spi === -ERANGE;
}

function isValidInit(env: VerifierEnv, reg: number): boolean {
  const { w, b } = env;
  if (w[reg + REG_TYPE] === CONST_PTR_TO_DYNPTR) return true;
  const spi = dynptrSpi(env, reg);
  if (spi < 0) return false;
  const frame = frameOfPointer(env, reg);
  if (w[slotAt(frame, spi) + REG_B] === 0) return false;
  for (const slot of [slotAt(frame, spi), slotAt(frame, spi - 1)]) {
    const at = (slot + SLOT_TYPES) << 2;
    for (let i = 0; i < 8; i++) if (b[at + i] !== STACK_DYNPTR) return false;
  }
  return true;
}

/** Kind of the dynptr that a register is or points at. */
export function dynptrTypeOf(env: VerifierEnv, reg: number): number {
  const { w } = env;
  if (w[reg + REG_TYPE] === CONST_PTR_TO_DYNPTR) return w[reg + REG_A]!;
  const spi = dynptrSpi(env, reg);
  return spi < 0 ? BPF_DYNPTR_TYPE_INVALID : w[slotAt(frameOfPointer(env, reg), spi) + REG_A]!;
}

function constructDynptr(env: VerifierEnv, reg: number, argno: number, insn: number, argType: number, ref: RefObj, dynptr: DynptrDesc | undefined): number {
  if (!isValidUninit(env, reg)) {
    env.log.write('Dynptr has to be an uninitialized dynptr\n');
    env.diag?.res(
      insn, 'dynptr is already initialized',
      'This kfunc constructs a dynptr and requires an uninitialized dynptr stack slot, but the selected slot already holds dynptr state.',
      'Use a fresh stack dynptr slot, or release/destroy the existing dynptr before reusing the slot.',
    );
    return -EINVAL;
  }
  for (let i = 0; i < BPF_DYNPTR_SIZE; i += 8) {
    const error = checkMemAccess(env, insn, reg, argno, i, 8, BPF_WRITE, -1, false, false);
    if (error !== 0) return error;
  }
  return markStackSlots(env, reg, argType, insn, ref, dynptr ?? { type: 0, id: 0, parentID: 0 });
}

/** A dynptr argument: constructed (`MEM_UNINIT`), released or used. Fills in `dynptr`. 0 or `-errno`. */
export function processDynptrArg(
  env: VerifierEnv, reg: number, argno: number, insn: number, callName: string, argType: number, ref: RefObj, dynptr: DynptrDesc | undefined,
): number {
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  if (type !== PTR_TO_STACK && type !== CONST_PTR_TO_DYNPTR) {
    env.log.write(`${argName(argno)} expected pointer to stack or const struct bpf_dynptr\n`);
    diagCallArg(
      env, insn, argno, callName,
      `a dynptr argument must be a pointer to a dynptr stack slot or a verifier-provided const struct bpf_dynptr, but ${argName(argno)} is ${env.diag?.regTypePlain(type) ?? ''}`,
      'Pass the address of a stack dynptr object, or use a const dynptr pointer returned by the verifier-supported path.',
    );
    return -EINVAL;
  }
  if ((argType & MEM_UNINIT) !== 0) return constructDynptr(env, reg, argno, insn, argType, ref, dynptr);
  if (type === CONST_PTR_TO_DYNPTR && (argType & OBJ_RELEASE) !== 0) {
    env.log.write('CONST_PTR_TO_DYNPTR cannot be released\n');
    env.diag?.res(
      insn, 'const dynptr release',
      'This release operation was given a const dynptr. Const dynptr values are verifier-provided views and cannot be released by the program.',
      'Release only mutable dynptrs that the program initialized or reserved.',
    );
    return -EINVAL;
  }
  if (!isValidInit(env, reg)) {
    env.log.write(`Expected an initialized dynptr as ${argName(argno)}\n`);
    env.diag?.res(
      insn, 'uninitialized dynptr use',
      'This operation requires an initialized dynptr, but the stack slot does not currently hold a valid dynptr on this path.',
      'Initialize the dynptr on every path before this call, and avoid overwriting or releasing it before this use.',
    );
    return -EINVAL;
  }
  const wanted = argType & ~OBJ_RELEASE;
  if (wanted !== ARG_PTR_TO_DYNPTR && dynptrTypeOf(env, reg) !== argToDynptrType(wanted)) {
    const expected = dynptrTypeName(argToDynptrType(argType));
    env.log.write(`Expected a dynptr of type ${expected} as ${argName(argno)}\n`);
    diagCallArg(
      env, insn, argno, callName,
      `the dynptr is initialized with backing object type ${dynptrTypeName(dynptrTypeOf(env, reg))}, but this operation expects dynptr type ${expected}`,
      "Use a dynptr constructor that matches this operation, or call an operation that accepts the dynptr's current type.",
    );
    return -EINVAL;
  }
  let at = reg;
  if (type !== CONST_PTR_TO_DYNPTR) {
    const spi = dynptrSpi(env, reg);
    if (spi < 0) return spi;
    markSlotsScratched(env, spi, BPF_DYNPTR_NR_SLOTS);
    at = slotAt(frameOfPointer(env, reg), spi);
  }
  if (dynptr !== undefined) {
    dynptr.type = w[at + REG_A]!;
    dynptr.id = w[at + REG_ID]!;
    dynptr.parentID = w[at + REG_PARENT_ID]!;
  }
  return 0;
}
