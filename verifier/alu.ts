/**
 * @module verifier/alu
 * Arithmetic on registers: moves with their ids, scalars, pointers plus scalars, and what unprivileged programs must mask against
 * speculation. Reproduces `check_alu_op`, `adjust_*_min_max_vals` and the `sanitize_*` functions of kernel/bpf/verifier.c. The
 * numbers themselves are scalar_alu.ts.
 */
import { EACCES, EINVAL, ENOMEM, EOPNOTSUPP } from '../isa/errno.ts';
import {
  BPF_ADD, BPF_ADDR_SPACE_CAST, BPF_ALU64, BPF_AND, BPF_ARSH, BPF_DIV, BPF_END, BPF_LSH, BPF_MOD, BPF_MOV, BPF_NEG, BPF_OR, BPF_RSH,
  BPF_SUB, BPF_XOR,
} from '../isa/uapi.ts';
import { markChainPrecision } from './backtrack.ts';
import { cnum64Add, cnum64Sub } from './cnum.ts';
import { DIAG_MOD_WRITE } from './diagnostics_port.ts';
import { AUX_NEEDS_ZEXT, AUX_NOSPEC, AUX_PREVENT_ZEXT, AUX_ZEXT_DST, type VerifierEnv } from './env.ts';
import { ACCESS_HELPER, checkMapAccess, regMap } from './mem_access.ts';
import { pushStack } from './paths.ts';
import {
  assignScalarIDBeforeMove, boundsSanity, checkDestination, checkSource, clearScalarID, curReg, isConst, isPointerValue, isVarConst, markKnown,
  markUnknown, smax, smin, umax, umin, varText, widthOf,
} from './regs.ts';
import {
  baseType, BPF_MAX_VAR_OFF, CONST_PTR_TO_DYNPTR, CONST_PTR_TO_MAP, MAX_BPF_STACK, PTR_MAYBE_NULL, PTR_TO_ARENA, PTR_TO_BTF_ID, PTR_TO_BUF,
  PTR_TO_CTX, PTR_TO_FLOW_KEYS, PTR_TO_FUNC, PTR_TO_MAP_KEY, PTR_TO_MAP_VALUE, PTR_TO_MEM, PTR_TO_PACKET, PTR_TO_PACKET_META, PTR_TO_STACK,
  PTR_TO_TP_BUFFER, PTR_UNTRUSTED, regTypeName, SCALAR_VALUE, typeIsPktPointer,
} from './regtypes.ts';
import { scalarALU, scalarCanCompute, scalarMaskWidth } from './scalar_alu.ts';
import {
  scalarConstSubreg, scalarLearn32FromBits, scalarSignExtend, scalarSignExtendSubreg, scalarSync, scalarZeroExtend,
} from './scalar.ts';
import { sumText } from './stack.ts';
import {
  BPF_ADD_CONST, BPF_ADD_CONST32, BPF_ADD_CONST64, copyReg, curFrame, REG_A, REG_B, REG_C, REG_DELTA, REG_ID, REG_PRECISE, REG_R32, REG_R64,
  REG_SCALAR, REG_TYPE, REG_VAR_HI, REG_VAR_LO, regAt, type VState,
} from './state.ts';
import { tnumAdd, tnumSub } from './tnum.ts';

const ALU_NAMES: readonly string[] = ['+=', '-=', '*=', '/=', '|=', '&=', '<<=', '>>=', 'neg', '%=', '^=', '=', 's>>=', 'endian', '', ''];

// Why a pointer operation cannot be made safe under speculation.
const REASON_BOUNDS = -1;
const REASON_TYPE = -2;
const REASON_PATHS = -3;
const REASON_LIMIT = -4;
const REASON_STACK = -5;

const ALU_SANITIZE_SRC = 1;
const ALU_SANITIZE_DST = 2;
const ALU_NEG_VALUE = 4;
const ALU_NON_POINTER = 8;
const ALU_IMMEDIATE = 16;

/** Scratch registers: a copy of the offset, of the source, of what is restored. */
const SCRATCH_OFF = 3;
const SCRATCH_SRC = 4;
const SCRATCH_SAVED = 5;

function refuse(env: VerifierEnv, message: string, error: number = -EACCES): number {
  env.log.write(`${message}\n`);
  return error;
}

function isSanitizable(op: number): boolean {
  return op === BPF_ADD || op === BPF_SUB;
}

function canSkipSanitation(env: VerifierEnv): boolean {
  return env.bypassSpecV1 || (env.insns.code[env.insnIdx]! & 8) === 0 || (env.aux.flags[env.insnIdx]! & AUX_NOSPEC) !== 0;
}

function updateSanitation(env: VerifierEnv, state: number, limit: number): number {
  const { aluState, aluLimit } = env.aux;
  const i = env.insnIdx;
  if (aluState[i] !== 0 && (aluState[i] !== state || aluLimit[i] !== limit)) return REASON_PATHS;
  aluState[i] = state;
  aluLimit[i] = limit;
  return 0;
}

function sanitizeValue(env: VerifierEnv): number {
  return canSkipSanitation(env) ? 0 : updateSanitation(env, ALU_NON_POINTER, 0);
}

/**
 * Queues the path that the processor might take against the program's logic. With `operands` their values are not to be relied on
 * there. 0 or `-errno`.
 */
export function pushSpeculativePath(env: VerifierEnv, operands: boolean, next: number, from: number): number {
  const branch = pushStack(env, next, from, true);
  if (branch === undefined) return env.pushError;
  if (!operands) return 0;
  const i = env.insnIdx;
  const frame = branch.frameAt[branch.curframe]!;
  markUnknown(env, branch.w, regAt(frame, env.insns.dst[i]!));
  if ((env.insns.code[i]! & 8) !== 0) markUnknown(env, branch.w, regAt(frame, env.insns.src[i]!));
  return 0;
}

function ptrLimit(env: VerifierEnv, ptr: number, toLeft: boolean): number {
  const { w } = env;
  let max: number;
  let limit: number;
  switch (w[ptr + REG_TYPE]) {
    case PTR_TO_STACK:
      max = MAX_BPF_STACK + (toLeft ? 1 : 0);
      limit = -w[ptr + REG_VAR_LO]! >>> 0;
      break;
    case PTR_TO_MAP_VALUE:
      max = regMap(env, ptr).valueSize;
      limit = (toLeft ? smin(w, ptr) : umax(w, ptr)) >>> 0;
      break;
    default:
      return REASON_TYPE;
  }
  return limit >= max ? REASON_LIMIT : limit;
}

/** What the first of the two calls for one instruction leaves for the second. */
const SANITIZE = { state: 0, limit: 0, toLeft: false };

function sanitizePointer(env: VerifierEnv, op: number, ptr: number, off: number, dst: number, commit: boolean): number {
  if (canSkipSanitation(env)) return 0;
  const { w } = env;
  const isImmediate = isVarConst(w, off);
  const isNegative = smin(w, off) < 0;
  const isDst = ptr === dst;
  if (!env.cur.speculative) {
    if (!commit) {
      SANITIZE.state = 0;
      SANITIZE.limit = 0;
      if (!isImmediate && isNegative !== smax(w, off) < 0) return REASON_BOUNDS;
      SANITIZE.toLeft = op === BPF_ADD ? isNegative : !isNegative;
    }
    let limit = ptrLimit(env, ptr, SANITIZE.toLeft);
    if (limit < 0) return limit;
    if (commit) {
      limit = Math.abs((SANITIZE.limit - limit) | 0);
      const error = updateSanitation(env, SANITIZE.state, limit);
      if (error < 0) return error;
    } else {
      SANITIZE.state = (isNegative ? ALU_NEG_VALUE : 0) | (isImmediate ? ALU_IMMEDIATE : 0) | (isDst ? ALU_SANITIZE_SRC : ALU_SANITIZE_DST);
      SANITIZE.limit = limit;
      if (!isImmediate) env.exploreAluLimits = true;
    }
  } else if (!commit) {
    SANITIZE.state = 0;
    SANITIZE.limit = 0;
    SANITIZE.toLeft = false;
  }
  if (commit || isImmediate) return 0;
  const saved = env.pool.scratch(SCRATCH_SAVED);
  if (!isDst) {
    copyReg(w, saved, w, dst);
    copyReg(w, dst, w, ptr);
  }
  const pushed = pushSpeculativePath(env, false, env.insnIdx + 1, env.insnIdx);
  if (pushed < 0) return REASON_STACK;
  if (!isDst) copyReg(w, dst, w, saved);
  return 0;
}

function refuseSanitize(env: VerifierEnv, reason: number): number {
  const i = env.insnIdx;
  const dst = env.insns.dst[i]!;
  const src = env.insns.src[i]!;
  const isSrcScalar = env.w[curReg(env, src) + REG_TYPE] === SCALAR_VALUE;
  const op = (env.insns.code[i]! & 0xf0) === BPF_ADD ? 'add' : 'sub';
  const tail = 'pointer arithmetic with it prohibited for !root';
  switch (reason) {
    case REASON_BOUNDS:
      return refuse(env, `R${isSrcScalar ? src : dst} has unknown scalar with mixed signed bounds, ${tail}`);
    case REASON_TYPE:
      return refuse(env, `R${isSrcScalar ? dst : src} has pointer with unsupported alu operation, ${tail}`);
    case REASON_PATHS:
      return refuse(env, `R${dst} tried to ${op} from different maps, paths or scalars, ${tail}`);
    case REASON_LIMIT:
      return refuse(env, `R${dst} tried to ${op} beyond pointer bounds, ${tail}`);
    default:
      return refuse(env, `R${dst} could not be pushed for speculative verification, ${tail}`, -ENOMEM);
  }
}

function sanitizeBounds(env: VerifierEnv, dst: number): number {
  if (env.bypassSpecV1) return 0;
  const { w } = env;
  const regno = env.insns.dst[env.insnIdx]!;
  switch (w[dst + REG_TYPE]) {
    case PTR_TO_STACK: {
      const off = w[dst + REG_VAR_LO]!;
      if (!isVarConst(w, dst)) return refuse(env, `R${regno} variable stack access prohibited for !root, var_off=${varText(w, dst)} off=${off}`);
      if (off >= 0 || off < -MAX_BPF_STACK) {
        return refuse(env, `R${regno} stack pointer arithmetic goes out of range, prohibited for !root; off=${off}`);
      }
      return 0;
    }
    case PTR_TO_MAP_VALUE:
      if (checkMapAccess(env, dst, regno, 0, 1, false, ACCESS_HELPER) === 0) return 0;
      return refuse(env, `R${regno} pointer arithmetic of map value goes out of range, prohibited for !root`);
    default:
      return -EOPNOTSUPP;
  }
}

function isSaneScalarOffset(env: VerifierEnv, off: number, type: number): boolean {
  const { w } = env;
  const name = regTypeName(type);
  const low = smin(w, off);
  if (isVarConst(w, off) && (low >= BPF_MAX_VAR_OFF || low <= -BPF_MAX_VAR_OFF)) {
    env.log.write(`math between ${name} pointer and ${sumText(w[off + REG_VAR_LO]!, w[off + REG_VAR_HI]!, 0)} is not allowed\n`);
    return false;
  }
  if (low === -(2 ** 63)) {
    env.log.write(`math between ${name} pointer and register with unbounded min value is not allowed\n`);
    return false;
  }
  if (low >= BPF_MAX_VAR_OFF || low <= -BPF_MAX_VAR_OFF) {
    env.log.write(`value ${String(low)} makes ${name} pointer be out of bounds\n`);
    return false;
  }
  return true;
}

function isSanePointerOffset(env: VerifierEnv, reg: number, type: number): boolean {
  const { w } = env;
  const low = smin(w, reg);
  if (isVarConst(w, reg)) {
    const hi = w[reg + REG_VAR_HI]!;
    const value = hi * 4294967296 + (w[reg + REG_VAR_LO]! >>> 0);
    if (value >= BPF_MAX_VAR_OFF || value <= -BPF_MAX_VAR_OFF) {
      env.log.write(`${regTypeName(type)} pointer offset ${sumText(w[reg + REG_VAR_LO]!, hi, 0)} is not allowed\n`);
      return false;
    }
  }
  if (low < BPF_MAX_VAR_OFF && low > -BPF_MAX_VAR_OFF) return true;
  env.log.write(`${regTypeName(type)} pointer offset ${String(low)} is not allowed\n`);
  return false;
}

function allowsOffsets(env: VerifierEnv, type: number, off: number, op: number): boolean {
  switch (baseType(type)) {
    case PTR_TO_CTX: case PTR_TO_MAP_VALUE: case PTR_TO_MAP_KEY: case PTR_TO_STACK: case PTR_TO_PACKET_META: case PTR_TO_PACKET:
    case PTR_TO_TP_BUFFER: case PTR_TO_BTF_ID: case PTR_TO_MEM: case PTR_TO_BUF: case PTR_TO_FUNC: case CONST_PTR_TO_DYNPTR:
      return true;
    case PTR_TO_FLOW_KEYS:
      if (isVarConst(env.w, off)) return true;
      break;
    case CONST_PTR_TO_MAP:
      break;
    default:
      return false;
  }
  return isVarConst(env.w, off) && smin(env.w, off) === 0 && op === BPF_ADD;
}

function reportPointer(env: VerifierEnv, regno: number, problem: string, reason: string, suggestion: string, error: number): number {
  env.diag?.registerType(env.insnIdx, regno, problem, reason, suggestion);
  return error;
}

/** A pointer in `ptr` plus or minus a scalar in `off`, into the instruction's destination. */
function adjustPointer(env: VerifierEnv, ptrRegno: number, ptr: number, off: number): number {
  const { w } = env;
  const i = env.insnIdx;
  const code = env.insns.code[i]!;
  const op = code & 0xf0;
  const dstRegno = env.insns.dst[i]!;
  const dst = curReg(env, dstRegno);
  const known = isVarConst(w, off);
  const low = smin(w, off);
  const type = w[ptr + REG_TYPE]!;
  const { diag } = env;
  if ((known && (low !== smax(w, off) || umin(w, off) !== umax(w, off))) || low > smax(w, off) || umin(w, off) > umax(w, off)) {
    markUnknown(env, w, dst);
    return 0;
  }
  if ((code & 7) !== BPF_ALU64) {
    if (op === BPF_SUB && env.allowPtrLeaks) {
      markUnknown(env, w, dst);
      return 0;
    }
    env.log.write(`R${dstRegno} 32-bit pointer arithmetic prohibited\n`);
    return reportPointer(
      env, ptrRegno, '32-bit pointer arithmetic',
      `R${ptrRegno} holds ${diag?.regTypePlain(type) ?? ''}. 32-bit ALU operations on pointers discard pointer tracking, so the verifier cannot keep the result as a safe pointer.`,
      'Use a 64-bit ALU instruction with an allowed, bounded scalar offset.', -EACCES,
    );
  }
  if ((type & PTR_MAYBE_NULL) !== 0) {
    env.log.write(`R${dstRegno} pointer arithmetic on ${regTypeName(type)} prohibited, null-check it first\n`);
    return reportPointer(
      env, ptrRegno, 'pointer arithmetic before NULL check',
      `R${ptrRegno} may be NULL (${regTypeName(type)}). Pointer arithmetic is allowed only after the program proves the pointer is non-NULL on this path.`,
      'Make sure that a NULL check precedes any arithmetic performed on the pointer.', -EACCES,
    );
  }
  if (!allowsOffsets(env, type, off, op)) {
    env.log.write(`R${dstRegno} pointer arithmetic on ${regTypeName(type)} prohibited\n`);
    return reportPointer(
      env, ptrRegno, 'pointer arithmetic is not allowed', `R${ptrRegno} holds ${diag?.regTypePlain(type) ?? ''}. This pointer kind does not allow offset arithmetic.`,
      "Do not change this pointer's offset; use it only in operations accepted for its kind.", -EACCES,
    );
  }
  const isDst = dst === ptr;
  // The pointer's own register is not written below unless it is the destination.
  if (!isDst) copyReg(w, dst, w, ptr);
  if (baseType(type) === PTR_TO_MEM && (type & PTR_UNTRUSTED) !== 0) return 0;
  if (!isSaneScalarOffset(env, off, type)) {
    return reportPointer(
      env, ptrRegno, 'pointer offset is not safe',
      `The scalar offset used with R${ptrRegno} is unbounded or outside the verifier's safe pointer-offset range [-${BPF_MAX_VAR_OFF}, ${BPF_MAX_VAR_OFF}].`,
      'Clamp or bounds-check the scalar offset before applying it to the pointer.', -EINVAL,
    );
  }
  if (!isSanePointerOffset(env, ptr, type)) {
    return reportPointer(
      env, ptrRegno, 'pointer offset is not safe',
      `R${ptrRegno} already has an offset outside the verifier's safe range [-${BPF_MAX_VAR_OFF}, ${BPF_MAX_VAR_OFF}] for ${diag?.regTypePlain(type) ?? ''}.`,
      "Keep the base pointer within the verifier's allowed offset range before applying more arithmetic.", -EINVAL,
    );
  }
  if (isSanitizable(op)) {
    const reason = sanitizePointer(env, op, ptr, off, dst, false);
    if (reason < 0) return refuseSanitize(env, reason);
  }
  const isPacket = typeIsPktPointer(type);
  w[dst + REG_R32] = 0;
  w[dst + REG_R32 + 1] = -1;
  if (op === BPF_ADD) {
    cnum64Add(w, dst + REG_R64, w, ptr + REG_R64, w, off + REG_R64);
    tnumAdd(w, dst + REG_SCALAR, w, ptr + REG_SCALAR, w, off + REG_SCALAR);
  } else if (op === BPF_SUB) {
    if (!isDst) {
      env.log.write(`R${dstRegno} tried to subtract pointer from scalar\n`);
      return reportPointer(
        env, ptrRegno, 'pointer subtracted from scalar',
        `This operation subtracts pointer register R${ptrRegno} from scalar register R${dstRegno}. The verifier only tracks pointer-minus-scalar arithmetic for allowed pointer types.`,
        'Keep the pointer as the base; only add or subtract bounded scalars when permitted.', -EACCES,
      );
    }
    if (type === PTR_TO_STACK) {
      env.log.write(`R${dstRegno} subtraction from stack pointer prohibited\n`);
      return reportPointer(
        env, ptrRegno, 'subtraction from stack pointer', `R${ptrRegno} is a stack pointer. The verifier does not allow BPF_SUB to move stack pointers.`,
        'Use addition from R10 to form stack addresses within the tracked stack frame.', -EACCES,
      );
    }
    cnum64Sub(w, dst + REG_R64, w, ptr + REG_R64, w, off + REG_R64);
    tnumSub(w, dst + REG_SCALAR, w, ptr + REG_SCALAR, w, off + REG_SCALAR);
  } else {
    const name = ALU_NAMES[op >> 4]!;
    if (op === BPF_AND || op === BPF_OR || op === BPF_XOR) {
      env.log.write(`R${dstRegno} bitwise operator ${name} on pointer prohibited\n`);
      return reportPointer(
        env, ptrRegno, 'bitwise operation on pointer',
        `R${ptrRegno} holds ${diag?.regTypePlain(type) ?? ''}. Bitwise operator ${name} would destroy the pointer value the verifier is tracking.`,
        'Do bitwise operations on scalar values, not on pointer-valued registers.', -EACCES,
      );
    }
    env.log.write(`R${dstRegno} pointer arithmetic with ${name} operator prohibited\n`);
    return reportPointer(
      env, ptrRegno, 'invalid pointer arithmetic operator',
      `R${ptrRegno} holds ${diag?.regTypePlain(type) ?? ''}. Operator ${name} is not one of the limited pointer arithmetic operations the verifier can track.`,
      'Use only verifier-supported addition or subtraction with a bounded scalar offset, or perform this operation on a scalar value.', -EACCES,
    );
  }
  if (isPacket) {
    if (!known) w[dst + REG_ID] = ++env.idGen;
    const forgets = op === BPF_ADD ? !known : !known && low < 0;
    if (forgets || w[dst + REG_A]! < 0) {
      w[dst + REG_A] = 0;
      w[dst + REG_B] = 0;
      w[dst + REG_C] = 0;
    }
  }
  if (!isSanePointerOffset(env, dst, type)) {
    return reportPointer(
      env, ptrRegno, 'pointer offset is not safe',
      `After this arithmetic, R${dstRegno} would be outside the verifier's safe offset range [-${BPF_MAX_VAR_OFF}, ${BPF_MAX_VAR_OFF}] for ${diag?.regTypePlain(type) ?? ''}.`,
      'Tighten the scalar bounds before the arithmetic so the resulting pointer remains within the allowed range.', -EINVAL,
    );
  }
  if (isPacket && (known || w[dst + REG_A]! > 0)) scalarLearn32FromBits(w, dst + REG_SCALAR);
  else scalarSync(w, dst + REG_SCALAR);
  const bounds = sanitizeBounds(env, dst);
  if (bounds === -EACCES) return bounds;
  if (isSanitizable(op)) {
    const reason = sanitizePointer(env, op, dst, off, dst, true);
    if (reason < 0) return refuseSanitize(env, reason);
  }
  return 0;
}

/** A value that is -1 or 0, masked by a constant: both are followed, because the result is then exact on each path. */
function forkMask(env: VerifierEnv, dst: number): number {
  const { w } = env;
  const width = scalarMaskWidth(w, dst + REG_SCALAR);
  if (width === 0) return 0;
  const branch = pushStack(env, env.insnIdx, env.insnIdx, false);
  if (branch === undefined) return env.pushError;
  const other = regInBranch(branch, env.insns.dst[env.insnIdx]!);
  if (width === 32) {
    scalarConstSubreg(branch.w, other + REG_SCALAR, 0);
    scalarConstSubreg(w, dst + REG_SCALAR, -1);
  } else {
    markKnown(branch.w, other, 0, 0);
    markKnown(w, dst, -1, -1);
  }
  return 0;
}

/** Offset of a register of a branch's current frame. */
export function regInBranch(branch: VState, regno: number): number {
  return regAt(curFrame(branch), regno);
}

/** Scalar arithmetic; `src` may not be `dst`. */
function adjustScalar(env: VerifierEnv, dst: number, src: number): number {
  const { w } = env;
  const i = env.insnIdx;
  const code = env.insns.code[i]!;
  const op = code & 0xf0;
  const alu32 = (code & 7) !== BPF_ALU64;
  if (!scalarCanCompute(w, src + REG_SCALAR, op, alu32)) {
    markUnknown(env, w, dst);
    return 0;
  }
  if (isSanitizable(op)) {
    const reason = sanitizeValue(env);
    if (reason < 0) return refuseSanitize(env, reason);
  }
  if ((op === BPF_AND || op === BPF_OR) && isVarConst(w, src)) {
    const error = forkMask(env, dst);
    if (error !== 0) return error;
  }
  const isSigned = env.insns.off[i] === 1;
  if (op === BPF_END) {
    const bits = env.insns.imm[i]! as 16 | 32 | 64;
    const swaps = !alu32 || (code & 8) !== 0;
    if (swaps || bits !== 64) clearScalarID(w, dst);
    scalarALU(w, dst + REG_SCALAR, w, src + REG_SCALAR, op, alu32, isSigned, bits, swaps);
    return 0;
  }
  if (op === BPF_NEG) {
    // The kernel computes 0 - value on a register marked known, which drops what else was noted of it.
    markKnownKeepingScalar(w, dst);
  }
  scalarALU(w, dst + REG_SCALAR, w, src + REG_SCALAR, op, alu32, isSigned);
  return 0;
}

function markKnownKeepingScalar(w: Int32Array, reg: number): void {
  w[reg + REG_DELTA] = 0;
  w[reg + REG_ID] = 0;
}

/** ADD, SUB, … with a register or a constant. */
function adjustRegister(env: VerifierEnv): number {
  const { w } = env;
  const i = env.insnIdx;
  const code = env.insns.code[i]!;
  const op = code & 0xf0;
  const alu32 = (code & 7) !== BPF_ALU64;
  const isX = (code & 8) !== 0;
  const dstRegno = env.insns.dst[i]!;
  const srcRegno = env.insns.src[i]!;
  const dst = curReg(env, dstRegno);
  const srcReg = isX ? curReg(env, srcRegno) : -1;
  const { flags } = env.aux;
  if (w[dst + REG_TYPE] === PTR_TO_ARENA || (isX && w[srcReg + REG_TYPE] === PTR_TO_ARENA)) {
    if (w[dst + REG_TYPE] !== PTR_TO_ARENA) copyReg(w, dst, w, srcReg);
    if (!alu32) {
      if ((flags[i]! & AUX_PREVENT_ZEXT) !== 0) return refuse(env, 'same insn cannot be used with and without arena pointer', -EINVAL);
      flags[i]! |= AUX_NEEDS_ZEXT | AUX_ZEXT_DST;
    }
    return 0;
  }
  if (env.arena !== undefined && !alu32) {
    if ((flags[i]! & AUX_NEEDS_ZEXT) !== 0) return refuse(env, 'same insn cannot be used with and without arena pointer', -EINVAL);
    flags[i]! |= AUX_PREVENT_ZEXT;
  }
  const isDstPointer = w[dst + REG_TYPE] !== SCALAR_VALUE;
  let src = env.pool.scratch(SCRATCH_SRC);
  if (isX) {
    if (w[srcReg + REG_TYPE] !== SCALAR_VALUE) {
      if (isDstPointer) {
        if (op === BPF_SUB && env.allowPtrLeaks) {
          markUnknown(env, w, dst);
          return 0;
        }
        return refuse(env, `R${dstRegno} pointer ${ALU_NAMES[op >> 4]!} pointer prohibited`);
      }
      const error = markChainPrecision(env, dstRegno);
      if (error !== 0) return error;
      const off = env.pool.scratch(SCRATCH_OFF);
      copyReg(w, off, w, dst);
      return adjustPointer(env, srcRegno, srcReg, off);
    }
    if (isDstPointer) {
      const error = markChainPrecision(env, srcRegno);
      return error !== 0 ? error : adjustPointer(env, dstRegno, dst, srcReg);
    }
    if (w[dst + REG_PRECISE] !== 0) {
      const error = markChainPrecision(env, srcRegno);
      if (error !== 0) return error;
    }
    if (srcReg === dst) copyReg(w, src, w, srcReg);
    else src = srcReg;
  } else {
    const imm = env.insns.imm[i]!;
    markKnown(w, src, imm, imm >> 31);
    w[src + REG_TYPE] = SCALAR_VALUE;
    if (isDstPointer) return adjustPointer(env, dstRegno, dst, src);
  }
  const dstMax = umax(w, dst);
  const error = adjustScalar(env, dst, src);
  if (error !== 0) return error;
  linkAfterAdd(env, op, alu32, isX && srcRegno === dstRegno, dst, isX ? srcReg : src, dstMax);
  return 0;
}

/** After `r += constant` the register is still linked to those that share its id, at a distance. */
function linkAfterAdd(env: VerifierEnv, op: number, alu32: boolean, isSelf: boolean, dst: number, src: number, dstMax: number): void {
  const { w } = env;
  const id = w[dst + REG_ID]!;
  if (!env.bpfCapable || !isSanitizable(op) || id === 0 || isSelf || !isConst(w, src, alu32)) {
    clearScalarID(w, dst);
    return;
  }
  const lo = w[src + REG_VAR_LO]!;
  const fits = alu32 ? dstMax <= 0xffffffff : w[src + REG_VAR_HI] === lo >> 31;
  const isSmallest = op === BPF_SUB && lo === -0x80000000;
  if (!fits || isSmallest || (id & BPF_ADD_CONST) !== 0) {
    clearScalarID(w, dst);
    return;
  }
  w[dst + REG_ID] = id | (alu32 ? BPF_ADD_CONST32 : BPF_ADD_CONST64);
  w[dst + REG_DELTA] = op === BPF_SUB ? -lo : lo;
}

function moveRegister(env: VerifierEnv): number {
  const { w } = env;
  const i = env.insnIdx;
  const off = env.insns.off[i]!;
  const srcRegno = env.insns.src[i]!;
  const src = curReg(env, srcRegno);
  const dst = curReg(env, env.insns.dst[i]!);
  const is64 = (env.insns.code[i]! & 7) === BPF_ALU64;
  const isScalar = w[src + REG_TYPE] === SCALAR_VALUE;
  if (is64 && env.insns.imm[i] !== 0) {
    markUnknown(env, w, dst);
    if (env.insns.imm[i] === 1) w[dst + REG_TYPE] = PTR_TO_ARENA;
    return 0;
  }
  if (is64 && off === 0) {
    assignScalarIDBeforeMove(env, w, src);
    copyReg(w, dst, w, src);
    return 0;
  }
  if (isPointerValue(env, srcRegno)) {
    return refuse(env, is64 ? `R${srcRegno} sign-extension part of pointer` : `R${srcRegno} partial copy of pointer`);
  }
  if (!isScalar) {
    markUnknown(env, w, dst);
  } else {
    const keeps = off === 0 ? widthOf(w, src) <= 32 : umax(w, src) < 2 ** (off - 1);
    if (keeps) assignScalarIDBeforeMove(env, w, src);
    copyReg(w, dst, w, src);
    if (!keeps) clearScalarID(w, dst);
    if (off !== 0) {
      if (is64) scalarSignExtend(w, dst + REG_SCALAR, off >> 3);
      else scalarSignExtendSubreg(w, dst + REG_SCALAR, off >> 3);
    }
  }
  if (is64) return 0;
  scalarZeroExtend(w, dst + REG_SCALAR);
  scalarSync(w, dst + REG_SCALAR);
  return 0;
}

function checkMove(env: VerifierEnv): number {
  const i = env.insnIdx;
  const code = env.insns.code[i]!;
  const isX = (code & 8) !== 0;
  if (isX) {
    if (env.insns.off[i] === BPF_ADDR_SPACE_CAST && env.arena === undefined) {
      return refuse(env, 'addr_space_cast insn can only be used in a program that has an associated arena', -EINVAL);
    }
    const error = checkSource(env, env.insns.src[i]!);
    if (error !== 0) return error;
  }
  const error = checkDestination(env, env.insns.dst[i]!, false);
  if (error !== 0) return error;
  if (isX) return moveRegister(env);
  const { w } = env;
  const dst = curReg(env, env.insns.dst[i]!);
  const imm = env.insns.imm[i]!;
  markUnknown(env, w, dst);
  markKnown(w, dst, imm, (code & 7) === BPF_ALU64 ? imm >> 31 : 0);
  return 0;
}

function checkUnary(env: VerifierEnv): number {
  const { w } = env;
  const regno = env.insns.dst[env.insnIdx]!;
  const error = checkSource(env, regno);
  if (error !== 0) return error;
  if (isPointerValue(env, regno)) return refuse(env, `R${regno} pointer arithmetic prohibited`);
  const dst = curReg(env, regno);
  if (w[dst + REG_TYPE] !== SCALAR_VALUE) return checkDestination(env, regno, true);
  const written = checkDestination(env, regno, false);
  if (written !== 0) return written;
  const src = env.pool.scratch(SCRATCH_SRC);
  copyReg(w, src, w, dst);
  return adjustScalar(env, dst, src);
}

function checkBinary(env: VerifierEnv): number {
  const i = env.insnIdx;
  const code = env.insns.code[i]!;
  const op = code & 0xf0;
  const isX = (code & 8) !== 0;
  if (isX) {
    const error = checkSource(env, env.insns.src[i]!);
    if (error !== 0) return error;
  }
  const error = checkSource(env, env.insns.dst[i]!);
  if (error !== 0) return error;
  const imm = env.insns.imm[i]!;
  if (!isX) {
    if ((op === BPF_MOD || op === BPF_DIV) && imm === 0) return refuse(env, 'div by zero', -EINVAL);
    const width = (code & 7) === BPF_ALU64 ? 64 : 32;
    if ((op === BPF_LSH || op === BPF_RSH || op === BPF_ARSH) && (imm < 0 || imm >= width)) return refuse(env, `invalid shift ${imm}`, -EINVAL);
  }
  const written = checkDestination(env, env.insns.dst[i]!, false);
  return written !== 0 ? written : adjustRegister(env);
}

/** An instruction of classes ALU and ALU64; 0 or `-errno`. */
export function checkALU(env: VerifierEnv): number {
  const i = env.insnIdx;
  const regno = env.insns.dst[i]!;
  const op = env.insns.code[i]! & 0xf0;
  env.diag?.modBegin(curReg(env, regno), -1, DIAG_MOD_WRITE);
  let error: number;
  if (op === BPF_MOV) error = checkMove(env);
  else if (op === BPF_NEG || op === BPF_END) error = checkUnary(env);
  else error = checkBinary(env);
  if (error !== 0) return error;
  const insane = boundsSanity(env, env.w, curReg(env, regno), 'alu');
  if (insane !== 0) return insane;
  env.diag?.modEnd();
  return 0;
}

