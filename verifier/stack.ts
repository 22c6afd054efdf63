/**
 * @module verifier/stack
 * Reads and writes of the stack: spills and fills, partial and variable-offset accesses, what may be read without privilege,
 * on-stack call arguments, and what a helper may touch. Reproduces `check_stack_*` and `save_register_state` of
 * kernel/bpf/verifier.c.
 */
import { EACCES, EFAULT, EINVAL } from '../isa/errno.ts';
import { BPF_MEM, BPF_ST } from '../isa/uapi.ts';
import { btSetFrameSlot, markChainPrecision, markChainPrecisionFrom, pushJmpHistory } from './backtrack.ts';
import { BOUND, cnum64SMax, cnum64SMin } from './cnum.ts';
import {
  DIAG_MOD_SPILL, DIAG_MOD_VAR_WRITE, DIAG_MOD_WRITE,
} from './diagnostics_port.ts';
import { dynptrTypeReferenced } from './dynptr_types.ts';
import { AUX_FASTCALL_PATTERN, AUX_NOSPEC_RESULT, type VerifierEnv } from './env.ts';
import { decimalText } from './log.ts';
import { listRegs, REG_IN_SLOT, REG_LIST, releaseReference } from './refs.ts';
import {
  argName, assignScalarIDBeforeMove, clearScalarID, curReg, isNull, isPointerKind, isVarConst, markConstZero, markKnown, markUnknown, regOfArg,
  smax, smin, varText, widthOf,
} from './regs.ts';
import {
  BPF_MAX_VAR_OFF, BPF_READ, BPF_REG_SIZE, BPF_WRITE, MAX_BPF_FUNC_REG_ARGS, MAX_BPF_STACK, MAX_STACK_ARG_SLOTS, NOT_INIT, PTR_TO_STACK,
  SCALAR_VALUE,
} from './regtypes.ts';
import { verboseLine } from './source_line.ts';
import {
  copyReg, curFrame, F_ALLOCATED_STACK, F_FLAGS, F_FRAMENO, F_OUT_STACK_ARGS, F_SUBPROG, FF_NO_STACK_ARG_LOAD, INSN_F_STACK_ACCESS,
  INSN_F_STACK_ARG_ACCESS, REG_A, REG_B, REG_ID, REG_PARENT_ID, REG_TYPE, REG_VAR_HI, REG_VAR_LO, REG_WORDS, regAt,
  SLOT_TYPES, slotAt, spiOf, STACK_DYNPTR, STACK_INVALID, STACK_ITER, STACK_IRQ_FLAG, STACK_MISC, STACK_POISON, STACK_SPILL, STACK_ZERO,
  stackArgAt,
} from './state.ts';

/** Byte offset of the slot types of the slot at word offset `slot`. */
function typesAt(slot: number): number {
  return (slot + SLOT_TYPES) << 2;
}

/** Frame that a stack pointer points into. */
export function frameOfPointer(env: VerifierEnv, reg: number): number {
  return env.cur.frameAt[env.w[reg + REG_A]!]!;
}

export function markSlotScratched(env: VerifierEnv, spi: number): void {
  if (spi < 32) env.scratchedSlotsLo |= 1 << spi;
  else env.scratchedSlotsHi |= 1 << (spi - 32);
}

export function markSlotsScratched(env: VerifierEnv, spi: number, count: number): void {
  for (let i = 0; i < count; i++) markSlotScratched(env, spi - i);
}

function isSpilled(env: VerifierEnv, slot: number): boolean {
  return env.b[typesAt(slot) + 7] === STACK_SPILL;
}

function isSpilledScalar(env: VerifierEnv, slot: number): boolean {
  return isSpilled(env, slot) && env.w[slot + REG_TYPE] === SCALAR_VALUE;
}

/** Makes a frame's stack at least `size` bytes deep. */
export function growStack(env: VerifierEnv, frame: number, size: number): void {
  const { w } = env;
  const rounded = (size + 7) & ~7;
  const old = w[frame + F_ALLOCATED_STACK]!;
  if (old >= rounded) return;
  w.fill(0, slotAt(frame, old >> 3), slotAt(frame, rounded >> 3));
  w[frame + F_ALLOCATED_STACK] = rounded;
  const sub = env.subprogs[w[frame + F_SUBPROG]!]!;
  if (sub.stackDepth < rounded) sub.stackDepth = rounded;
}

function dynptrCount(env: VerifierEnv, parentID: number): number {
  const { w, b } = env;
  const n = listRegs(env.cur, 1 << STACK_DYNPTR);
  let count = 0;
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    if (REG_IN_SLOT[i] === 0 || b[typesAt(reg)] !== STACK_DYNPTR || w[reg + REG_B] === 0) continue;
    if (w[reg + REG_PARENT_ID] === parentID) count++;
  }
  return count;
}

/** A write into a dynptr's slot destroys the dynptr, unless it is the last one that protects a resource. */
export function destroyIfDynptr(env: VerifierEnv, frame: number, spi: number): number {
  const { w, b } = env;
  if (b[typesAt(slotAt(frame, spi))] !== STACK_DYNPTR) return 0;
  const first = w[slotAt(frame, spi) + REG_B] === 0 ? spi + 1 : spi;
  const slot = slotAt(frame, first);
  if (dynptrTypeReferenced(w[slot + REG_A]!) && dynptrCount(env, w[slot + REG_PARENT_ID]!) <= 1) {
    env.log.write('cannot overwrite referenced dynptr\n');
    env.diag?.res(
      env.insnIdx, 'referenced dynptr overwrite',
      'This stack slot contains a dynptr that owns or protects a referenced resource. Overwriting the last dynptr for that resource would lose the verifier-tracked release path.',
      'Release or clone the dynptr so another live dynptr still tracks the referenced resource before overwriting this stack slot.',
    );
    return -EINVAL;
  }
  const error = releaseReference(env, w[slot + REG_ID]!);
  if (error === 0) {
    markSlotScratched(env, first);
    markSlotScratched(env, first - 1);
  }
  return error;
}

function isSpecialSlot(type: number): boolean {
  return type === STACK_SPILL || type === STACK_DYNPTR || type === STACK_ITER || type === STACK_IRQ_FLAG;
}

/** Bytes of a spilled register that are no longer all there become "something". */
function scrubSpilled(b: Uint8Array, at: number): void {
  if (b[at] !== STACK_INVALID && b[at] !== STACK_POISON) b[at] = STACK_MISC;
}

function scrubSpecialSlot(env: VerifierEnv, slot: number): void {
  env.w[slot + REG_TYPE] = NOT_INIT;
  const at = typesAt(slot);
  if (!isSpecialSlot(env.b[at + 7]!)) return;
  for (let i = 0; i < BPF_REG_SIZE; i++) scrubSpilled(env.b, at + i);
}

function saveRegister(env: VerifierEnv, slot: number, reg: number, size: number): void {
  const { w, b } = env;
  env.diag?.modBegin(slot, reg, DIAG_MOD_SPILL);
  copyReg(w, slot, w, reg);
  const at = typesAt(slot);
  let i = BPF_REG_SIZE;
  for (; i > BPF_REG_SIZE - size; i--) b[at + i - 1] = STACK_SPILL;
  for (; i > 0; i--) {
    const type = b[at + i - 1];
    if (type !== STACK_ZERO && type !== STACK_INVALID && type !== STACK_POISON) b[at + i - 1] = STACK_MISC;
  }
  env.diag?.modEnd();
}

/** Stack below the region kept for spills around fast calls: touching it otherwise ends the pattern (`bpf_fastcall`). */
function checkFastcallContract(env: VerifierEnv, frame: number, insn: number, off: number): void {
  const index = env.w[frame + F_SUBPROG]!;
  const sub = env.subprogs[index]!;
  if (sub.fastcallStackOff <= off || (env.aux.flags[insn]! & AUX_FASTCALL_PATTERN) !== 0) return;
  sub.fastcallStackOff = -32768;
  const end = env.subprogEnd(index);
  for (let i = sub.start; i < end; i++) {
    env.aux.fastcallSpills[i] = 0;
    env.aux.flags[i]! &= ~AUX_FASTCALL_PATTERN;
  }
}

function isStoreImmediate(env: VerifierEnv, insn: number): boolean {
  return (env.insns.code[insn]! & 0xe7) === (BPF_ST | BPF_MEM);
}

function writeFixed(env: VerifierEnv, frame: number, off: number, size: number, valueRegno: number, insn: number): number {
  const { w, b } = env;
  const byte = -off - 1;
  const spi = byte >> 3;
  const slot = slotAt(frame, spi);
  const at = typesAt(slot);
  if (!env.allowPtrLeaks && isSpilled(env, slot) && w[slot + REG_TYPE] !== SCALAR_VALUE && size !== BPF_REG_SIZE) {
    env.log.write('attempt to corrupt spilled pointer on stack\n');
    env.diag?.memory(
      insn, 'stack spill corruption',
      `This store writes ${size} bytes at stack offset ${off} into a stack slot that currently holds a spilled pointer. ` +
        'Partial writes to spilled pointers are rejected because they can corrupt pointer metadata and leak kernel pointers.',
      'Write the full 8-byte spilled pointer slot, or use a separate stack slot for scalar data before overwriting only part of it.',
    );
    return -EACCES;
  }
  const current = curFrame(env.cur);
  const reg = valueRegno >= 0 ? regAt(current, valueRegno) : -1;
  if (!env.bypassSpecV4) {
    let sanitize = reg >= 0 && isPointerKind(w[reg + REG_TYPE]!);
    for (let i = 0; i < size && !sanitize; i++) {
      const type = b[at + ((byte - i) & 7)];
      if (type !== STACK_MISC && type !== STACK_ZERO) sanitize = true;
    }
    if (sanitize) env.aux.flags[insn]! |= AUX_NOSPEC_RESULT;
  }
  const error = destroyIfDynptr(env, frame, spi);
  if (error !== 0) return error;
  checkFastcallContract(env, frame, insn, off);
  markSlotScratched(env, spi);
  const isAligned = (off & 7) === 0;
  const isImmediate = reg < 0 && isStoreImmediate(env, insn);
  if (reg >= 0 && isAligned && w[reg + REG_TYPE] === SCALAR_VALUE && env.bpfCapable) {
    const fits = widthOf(w, reg) <= 8 * size;
    if (fits) assignScalarIDBeforeMove(env, w, reg);
    saveRegister(env, slot, reg, size);
    if (!fits) clearScalarID(w, slot);
  } else if (isImmediate && isAligned && env.bpfCapable) {
    const fake = env.pool.scratch(0);
    w.fill(0, fake, fake + REG_WORDS);
    const imm = env.insns.imm[insn]!;
    markKnown(w, fake, imm, imm >> 31);
    w[fake + REG_TYPE] = SCALAR_VALUE;
    saveRegister(env, slot, fake, size);
  } else if (reg >= 0 && isPointerKind(w[reg + REG_TYPE]!)) {
    if (size !== BPF_REG_SIZE) {
      verboseLine(env, insn, '; ');
      env.log.write('invalid size of register spill\n');
      return -EACCES;
    }
    if (frame !== current && w[reg + REG_TYPE] === PTR_TO_STACK) {
      env.log.write('cannot spill pointers to stack into stack frame of the caller\n');
      return -EINVAL;
    }
    saveRegister(env, slot, reg, size);
  } else {
    let type = STACK_MISC;
    if (isSpilled(env, slot)) env.diag?.recordScrub(slot, DIAG_MOD_WRITE);
    scrubSpecialSlot(env, slot);
    if ((reg >= 0 && isNull(w, reg)) || (isImmediate && env.insns.imm[insn] === 0)) {
      const precision = markChainPrecision(env, valueRegno);
      if (precision !== 0) return precision;
      type = STACK_ZERO;
    }
    for (let i = 0; i < size; i++) b[at + ((byte - i) & 7)] = type;
    return 0;
  }
  return pushJmpHistory(env, INSN_F_STACK_ACCESS, spi, w[frame + F_FRAMENO]!);
}

function writeVariable(env: VerifierEnv, frame: number, ptr: number, off: number, size: number, valueRegno: number, insn: number): number {
  const { w, b } = env;
  const minOff = smin(w, ptr) + off;
  const maxOff = smax(w, ptr) + off + size;
  const value = valueRegno >= 0 ? curReg(env, valueRegno) : -1;
  const writesZero = (value >= 0 && isNull(w, value)) || (value < 0 && isStoreImmediate(env, insn) && env.insns.imm[insn] === 0);
  let zeroUsed = false;
  for (let i = minOff; i < maxOff; i++) {
    const error = destroyIfDynptr(env, frame, spiOf(i));
    if (error !== 0) return error;
  }
  checkFastcallContract(env, frame, insn, minOff);
  for (let i = minOff; i < maxOff; i++) {
    const byte = -i - 1;
    const spi = byte >> 3;
    const slot = slotAt(frame, spi);
    const at = typesAt(slot) + (byte & 7);
    markSlotScratched(env, spi);
    if (!env.allowPtrLeaks && b[at] !== STACK_MISC && b[at] !== STACK_ZERO) {
      env.log.write(`spilled ptr in range of var-offset stack write; insn ${insn}, ptr off: ${i}`);
      return -EINVAL;
    }
    if (writesZero && b[at] === STACK_SPILL && isSpilledScalar(env, slot) && isNull(w, slot)) {
      zeroUsed = true;
      continue;
    }
    scrubSpecialSlot(env, slot);
    let type = STACK_MISC;
    if (writesZero && b[at] === STACK_ZERO) {
      type = STACK_ZERO;
      zeroUsed = true;
    }
    if ((b[at] === STACK_INVALID || b[at] === STACK_POISON) && !env.allowUninitStack) {
      env.log.write(`uninit stack in range of var-offset write prohibited for !root; insn ${insn}, off: ${i}`);
      return -EINVAL;
    }
    b[at] = type;
  }
  if (zeroUsed) {
    const error = markChainPrecision(env, valueRegno);
    if (error !== 0) return error;
  }
  env.diag?.recordScrubStack(frame, minOff, maxOff, DIAG_MOD_VAR_WRITE);
  return 0;
}

/** Bytes `[min, max)` are read into a register: zero if all of them are zero, else unknown. */
function markRead(env: VerifierEnv, frame: number, min: number, max: number, dstRegno: number): number {
  const { w, b } = env;
  let maskLo = 0;
  let maskHi = 0;
  let zeros = 0;
  for (let i = min; i < max; i++) {
    const byte = -i - 1;
    const spi = byte >> 3;
    const slot = slotAt(frame, spi);
    markSlotScratched(env, spi);
    const type = b[typesAt(slot) + (byte & 7)];
    if (type === STACK_ZERO) {
      zeros++;
    } else if (type === STACK_SPILL && isNull(w, slot)) {
      if (spi < 32) maskLo |= 1 << spi;
      else maskHi |= 1 << (spi - 32);
      zeros++;
    } else break;
  }
  const dst = curReg(env, dstRegno);
  if (zeros !== max - min) {
    markUnknown(env, w, dst);
    return 0;
  }
  markConstZero(env, w, dst);
  if (maskLo === 0 && maskHi === 0) return 0;
  const frameno = w[frame + F_FRAMENO]!;
  for (let i = 0; i < 64; i++) if ((((i < 32 ? maskLo >>> i : maskHi >>> (i - 32)) & 1) !== 0)) btSetFrameSlot(env, frameno, i);
  return markChainPrecisionFrom(env, env.cur, -1);
}

function refuseUninit(env: VerifierEnv, type: number, off: number, i: number, size: number): number {
  if (type === STACK_POISON) {
    env.log.write(`reading from stack off ${off}+${i} size ${size}, slot poisoned by dead code elimination\n`);
    return -EACCES;
  }
  env.log.write(`invalid read from stack off ${off}+${i} size ${size}\n`);
  env.diag?.memory(
    env.insnIdx, 'uninitialized stack read',
    `This rejected read uses ${size} bytes at stack offset ${off}, but byte ${i} in that range is uninitialized on this path. ` +
      'Programs loaded with CAP_PERFMON can be allowed to read uninitialized stack bytes, but this program is being rejected without that allowance.',
    'Initialize every byte in the stack range before reading it, adjust the offset and size so the read covers only initialized bytes, ' +
      'or load with CAP_PERFMON if uninitialized stack reads are intended.',
  );
  return -EACCES;
}

function readFixed(env: VerifierEnv, frame: number, off: number, size: number, dstRegno: number): number {
  const { w, b } = env;
  const byte = -off - 1;
  const spi = byte >> 3;
  const slot = slotAt(frame, spi);
  const at = typesAt(slot);
  const current = curFrame(env.cur);
  const dst = dstRegno >= 0 ? regAt(current, dstRegno) : -1;
  markSlotScratched(env, spi);
  checkFastcallContract(env, current, env.insnIdx, off);
  if (dst >= 0) env.diag?.modBegin(dst, slot, DIAG_MOD_WRITE);
  if (b[at + 7] !== STACK_SPILL) {
    for (let i = 0; i < size; i++) {
      const type = b[at + ((byte - i) & 7)]!;
      if (type === STACK_MISC || type === STACK_ZERO || (type === STACK_INVALID && env.allowUninitStack)) continue;
      return refuseUninit(env, type, off, i, size);
    }
    return dst >= 0 ? markRead(env, frame, off, off + size, dstRegno) : 0;
  }
  let spillSize = 1;
  for (let i = BPF_REG_SIZE - 1; i > 0 && b[at + i - 1] === STACK_SPILL; i--) spillSize++;
  if (size === BPF_REG_SIZE && spillSize === BPF_REG_SIZE) {
    if (dst >= 0) {
      if (env.bpfCapable) assignScalarIDBeforeMove(env, w, slot);
      copyReg(w, dst, w, slot);
    } else if (!env.allowPtrLeaks && isPointerKind(w[slot + REG_TYPE]!)) {
      env.log.write(`leaking pointer from stack off ${off}\n`);
      return -EACCES;
    }
    return pushJmpHistory(env, INSN_F_STACK_ACCESS, spi, w[frame + F_FRAMENO]!);
  }
  if (w[slot + REG_TYPE] !== SCALAR_VALUE) {
    verboseLine(env, env.insnIdx, '; ');
    env.log.write('invalid size of register fill\n');
    return -EACCES;
  }
  if (dst < 0) return 0;
  if (size <= spillSize && (off & 7) === 0) {
    if (env.bpfCapable && size === 4 && spillSize === 4 && widthOf(w, slot) <= 32) assignScalarIDBeforeMove(env, w, slot);
    copyReg(w, dst, w, slot);
    if (widthOf(w, slot) > size * 8) clearScalarID(w, dst);
    return pushJmpHistory(env, INSN_F_STACK_ACCESS, spi, w[frame + F_FRAMENO]!);
  }
  let spilled = 0;
  let zeros = 0;
  for (let i = 0; i < size; i++) {
    const type = b[at + ((byte - i) & 7)]!;
    if (type === STACK_SPILL) spilled++;
    else if (type === STACK_ZERO) zeros++;
    else if (type !== STACK_MISC && !(type === STACK_INVALID && env.allowUninitStack)) return refuseUninit(env, type, off, i, size);
  }
  if (spilled === size && isNull(w, slot)) {
    markConstZero(env, w, dst);
    return pushJmpHistory(env, INSN_F_STACK_ACCESS, spi, w[frame + F_FRAMENO]!);
  }
  if (zeros === size) {
    markConstZero(env, w, dst);
    return 0;
  }
  return markRead(env, frame, off, off + size, dstRegno);
}

function readVariable(env: VerifierEnv, reg: number, argno: number, off: number, size: number, dstRegno: number): number {
  const { w } = env;
  const frame = frameOfPointer(env, reg);
  const error = checkStackRangeInitialized(env, reg, argno, off, size, false, BPF_READ, undefined);
  if (error !== 0) return error;
  const minOff = smin(w, reg) + off;
  const maxOff = smax(w, reg) + off;
  const marked = markRead(env, frame, minOff, maxOff + size, dstRegno);
  if (marked !== 0) return marked;
  checkFastcallContract(env, frame, env.insnIdx, minOff);
  return 0;
}

/** A load from the stack; `dstRegno` -1 only checks. */
export function checkStackRead(env: VerifierEnv, reg: number, argno: number, off: number, size: number, dstRegno: number): number {
  const { w } = env;
  if (isVarConst(w, reg)) return readFixed(env, frameOfPointer(env, reg), (off + w[reg + REG_VAR_LO]!) | 0, size, dstRegno);
  if (dstRegno >= 0) return readVariable(env, reg, argno, off, size, dstRegno);
  const tnum = varText(w, reg);
  env.log.write(`variable offset stack pointer cannot be passed into helper function; var_off=${tnum} off=${off} size=${size}\n`);
  env.diag?.memory(
    env.insnIdx, 'variable stack access',
    `The helper would access the stack through variable offset ${tnum} plus fixed offset ${off} and size ${size}. ` +
      'Helper stack memory arguments require a constant stack offset and a precise initialized range.',
    'Use a fixed stack offset for helper memory arguments, or copy the needed bytes into a fixed stack slot first.',
  );
  return -EACCES;
}

/** A store to the stack; `valueRegno` -1 for stores of constants and by helpers. */
export function checkStackWrite(env: VerifierEnv, reg: number, off: number, size: number, valueRegno: number, insn: number): number {
  const { w } = env;
  const frame = frameOfPointer(env, reg);
  if (!isVarConst(w, reg)) return writeVariable(env, frame, reg, off, size, valueRegno, insn);
  return writeFixed(env, frame, (off + w[reg + REG_VAR_LO]!) | 0, size, valueRegno, insn);
}

/** The access lies inside the stack; grows the tracked stack. */
export function checkStackBounds(env: VerifierEnv, reg: number, argno: number, off: number, size: number, access: number): number {
  const { w } = env;
  const frame = frameOfPointer(env, reg);
  const extra = access === BPF_READ ? ' read from' : ' write to';
  const isFixed = isVarConst(w, reg);
  let minOff: number;
  let maxOff: number;
  if (isFixed) {
    minOff = w[reg + REG_VAR_HI]! * 4294967296 + (w[reg + REG_VAR_LO]! >>> 0) + off;
    maxOff = minOff + size;
  } else {
    const low = smin(w, reg);
    const high = smax(w, reg);
    if (high >= BPF_MAX_VAR_OFF || low <= -BPF_MAX_VAR_OFF) {
      env.log.write(`invalid unbounded variable-offset${extra} stack ${argName(argno)}\n`);
      return -EACCES;
    }
    minOff = low + off;
    maxOff = high + off + size;
  }
  const lowest = access === BPF_WRITE || env.allowUninitStack ? -MAX_BPF_STACK : -w[frame + F_ALLOCATED_STACK]!;
  let error = minOff < lowest || minOff > -1 ? -EACCES : 0;
  if (error === 0 && maxOff > 0) error = -EINVAL;
  if (error === 0 && size < 0) error = -EFAULT;
  if (error === 0) {
    growStack(env, frame, -minOff);
    return 0;
  }
  if (isFixed) env.log.write(`invalid${extra} stack ${argName(argno)} off=${minOff} size=${size}\n`);
  else env.log.write(`invalid variable-offset${extra} stack ${argName(argno)} var_off=${varText(w, reg)} off=${off} size=${size}\n`);
  return error;
}

/** The memory argument that a call fills in: its register and, once checked, its size. */
export interface RawMemory {
  regno: number;
  size: number;
}

/**
 * Bytes that a call will read or write on the stack. A negative `size` allows poisoned slots. With `raw` for this argument the
 * bytes need not be initialised: the size is noted and they are marked written after all arguments are checked.
 */
export function checkStackRangeInitialized(
  env: VerifierEnv, reg: number, argno: number, off: number, size: number, zeroSizeAllowed: boolean, access: number, raw: RawMemory | undefined,
): number {
  const { w, b } = env;
  const clobber = access === BPF_WRITE;
  const allowPoison = size < 0 || clobber;
  const bytes = Math.abs(size);
  let isRaw = raw !== undefined && raw.regno === regOfArg(argno);
  if (bytes === 0 && !zeroSizeAllowed) {
    env.log.write('invalid zero-sized read\n');
    return -EACCES;
  }
  const error = checkStackBounds(env, reg, argno, off, bytes, access);
  if (error !== 0) return error;
  const isFixed = isVarConst(w, reg);
  let minOff: number;
  let maxOff: number;
  if (isFixed) {
    minOff = (w[reg + REG_VAR_LO]! + off) | 0;
    maxOff = minOff;
  } else {
    if (!env.bypassSpecV1) {
      env.log.write(`${argName(argno)} variable offset stack access prohibited for !root, var_off=${varText(w, reg)}\n`);
      return -EACCES;
    }
    isRaw = false;
    minOff = smin(w, reg) + off;
    maxOff = smax(w, reg) + off;
  }
  if (isRaw) {
    raw!.size = bytes;
    return 0;
  }
  const frame = frameOfPointer(env, reg);
  for (let i = minOff; i < maxOff + bytes; i++) {
    const byte = -i - 1;
    const spi = byte >> 3;
    if (w[frame + F_ALLOCATED_STACK]! <= byte) {
      env.log.write('allocated_stack too small\n');
      return -EFAULT;
    }
    const slot = slotAt(frame, spi);
    const at = typesAt(slot) + (byte & 7);
    const type = b[at];
    if (type === STACK_MISC) continue;
    if (type === STACK_ZERO || (type === STACK_INVALID && env.allowUninitStack)) {
      if (clobber) b[at] = STACK_MISC;
      continue;
    }
    if (isSpilled(env, slot) && (w[slot + REG_TYPE] === SCALAR_VALUE || env.allowPtrLeaks)) {
      if (clobber) {
        markUnknown(env, w, slot);
        for (let j = 0; j < BPF_REG_SIZE; j++) scrubSpilled(b, typesAt(slot) + j);
      }
      continue;
    }
    if (type === STACK_POISON) {
      if (allowPoison) continue;
      env.log.write(`reading from stack ${argName(argno)} off ${minOff}+${i - minOff} size ${bytes}, slot poisoned by dead code elimination\n`);
    } else if (isFixed) {
      env.log.write(`invalid read from stack ${argName(argno)} off ${minOff}+${i - minOff} size ${bytes}\n`);
    } else {
      env.log.write(`invalid read from stack ${argName(argno)} var_off ${varText(w, reg)}+${i - minOff} size ${bytes}\n`);
    }
    return -EACCES;
  }
  return 0;
}

/** A store to on-stack argument `-off / 8` of the next call; `valueRegno` -1 for a constant. */
export function checkStackArgWrite(env: VerifierEnv, off: number, valueRegno: number): number {
  const { w } = env;
  const frame = curFrame(env.cur);
  const sub = env.subprogs[w[frame + F_SUBPROG]!]!;
  const slot = -off / BPF_REG_SIZE - 1;
  if (slot >= MAX_STACK_ARG_SLOTS) {
    env.log.write(`stack arg write offset ${off} exceeds max ${MAX_STACK_ARG_SLOTS} stack args\n`);
    return -EINVAL;
  }
  const old = w[frame + F_OUT_STACK_ARGS]!;
  if (old < slot + 1) {
    w.fill(0, stackArgAt(env.cur, frame, old), stackArgAt(env.cur, frame, slot + 1));
    w[frame + F_OUT_STACK_ARGS] = slot + 1;
  }
  if (slot + 1 > sub.maxOutStackArgCount) sub.maxOutStackArgCount = slot + 1;
  const arg = stackArgAt(env.cur, frame, slot);
  const value = valueRegno >= 0 ? regAt(frame, valueRegno) : -1;
  env.diag?.modBegin(arg, value, DIAG_MOD_WRITE);
  if (value >= 0) copyReg(w, arg, w, value);
  else {
    const imm = env.insns.imm[env.insnIdx]!;
    w[arg + REG_TYPE] = SCALAR_VALUE;
    markKnown(w, arg, imm, imm >> 31);
  }
  env.diag?.modEnd();
  w[frame + F_FLAGS]! |= FF_NO_STACK_ARG_LOAD;
  return pushJmpHistory(env, INSN_F_STACK_ARG_ACCESS, slot, 0);
}

/** A load of on-stack argument `off / 8` in the callee. */
export function checkStackArgRead(env: VerifierEnv, off: number, dstRegno: number): number {
  const { w } = env;
  const st = env.cur;
  const frame = curFrame(st);
  const sub = env.subprogs[w[frame + F_SUBPROG]!]!;
  const slot = off / BPF_REG_SIZE - 1;
  if ((w[frame + F_FLAGS]! & FF_NO_STACK_ARG_LOAD) !== 0) {
    env.log.write('r11 load must be before any r11 store or call insn\n');
    return -EINVAL;
  }
  const incoming = incomingStackArgs(sub.argCount);
  if (slot + 1 > incoming) {
    env.log.write(`invalid read from stack arg off ${off} depth ${incoming * BPF_REG_SIZE}\n`);
    return -EACCES;
  }
  const arg = stackArgAt(st, st.frameAt[st.curframe - 1]!, slot);
  const dst = regAt(frame, dstRegno);
  env.diag?.modBegin(dst, arg, DIAG_MOD_WRITE);
  copyReg(w, dst, w, arg);
  env.diag?.modEnd();
  return pushJmpHistory(env, INSN_F_STACK_ARG_ACCESS, slot, 0);
}

/** Arguments of a function that come on the stack. */
export function incomingStackArgs(argCount: number): number {
  return Math.max(0, argCount - MAX_BPF_FUNC_REG_ARGS);
}

/** Makes an argument precise, in a register or on the stack. */
export function markArgPrecision(env: VerifierEnv, argno: number): number {
  const regno = regOfArg(argno);
  if (regno >= 0) return markChainPrecision(env, regno);
  env.btArgMasks[env.w[curFrame(env.cur) + F_FRAMENO]!]! |= 1 << (-argno - 1 - MAX_BPF_FUNC_REG_ARGS);
  return markChainPrecisionFrom(env, env.cur, -1);
}

/** Words of a signed bound as decimal text: the smallest, plus `add`. */
export function sminText(w: Int32Array, reg: number, add: number): string {
  cnum64SMin(w, reg + 9);
  return sumText(BOUND[0]!, BOUND[1]!, add);
}

/** The largest signed value as decimal text, plus `add`. */
export function smaxText(w: Int32Array, reg: number, add: number): string {
  cnum64SMax(w, reg + 9);
  return sumText(BOUND[0]!, BOUND[1]!, add);
}

/** The wrapped 64-bit sum of two words and a small number, signed, in decimal. */
export function sumText(lo: number, hi: number, add: number): string {
  const sum = (lo + add) | 0;
  const carry = (lo >>> 0) + (add >>> 0) > 0xffffffff ? 1 : 0;
  return decimalText(sum, (hi + (add >> 31) + carry) | 0, true);
}

