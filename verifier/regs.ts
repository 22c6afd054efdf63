/**
 * @module verifier/regs
 * What is done to a register as a whole: marking it unknown, constant, uninitialised; reading its bounds as numbers or words;
 * its name in messages. Registers are offsets into `Int32Array`s (state.ts). Reproduces the `mark_reg_*` family of
 * kernel/bpf/verifier.c. Arithmetic is scalar*.ts and alu.ts.
 */
import { EACCES, EFAULT } from '../isa/errno.ts';
import { formatS64, formatU64 } from '../isa/int64.ts';
import { BOUND, cnum32SMax, cnum32SMin, cnum32UMax, cnum32UMin, cnum64SMax, cnum64SMin, cnum64UMax, cnum64UMin } from './cnum.ts';
import type { VerifierEnv } from './env.ts';
import { hexText, tnumText } from './log.ts';
import { BPF_REG_SIZE, MAX_BPF_FUNC_REG_ARGS, NOT_INIT, SCALAR_VALUE } from './regtypes.ts';
import { scalarConst, scalarInvariantViolation, scalarUnbounded, scalarUnknown } from './scalar.ts';
import {
  curFrame, REG_A, REG_B, REG_C, REG_DELTA, REG_ID, REG_MAP_UID, REG_MASK_HI, REG_MASK_LO, REG_PARENT_ID, REG_PRECISE, REG_R32, REG_R64,
  REG_SCALAR, REG_TYPE, REG_VAR_HI, REG_VAR_LO, regAt,
} from './state.ts';

const TWO32 = 4294967296;

/** Offset of a register of the current frame. */
export function curReg(env: VerifierEnv, regno: number): number {
  return regAt(curFrame(env.cur), regno);
}

/** A scalar of which nothing is known, not precise. */
export function markUnknownImprecise(w: Int32Array, reg: number): void {
  w[reg + REG_TYPE] = SCALAR_VALUE;
  w[reg + REG_DELTA] = 0;
  w[reg + REG_A] = 0;
  w[reg + REG_B] = 0;
  w[reg + REG_C] = 0;
  scalarUnknown(w, reg + REG_SCALAR);
  w[reg + REG_ID] = 0;
  w[reg + REG_PARENT_ID] = 0;
  w[reg + REG_MAP_UID] = 0;
  w[reg + REG_PRECISE] = 0;
}

/** A scalar of which nothing is known; always precise without `CAP_BPF`. */
export function markUnknown(env: VerifierEnv, w: Int32Array, reg: number): void {
  markUnknownImprecise(w, reg);
  if (!env.bpfCapable) w[reg + REG_PRECISE] = 1;
}

export function markNotInit(env: VerifierEnv, w: Int32Array, reg: number): void {
  markUnknown(env, w, reg);
  w[reg + REG_TYPE] = NOT_INIT;
}

/** The value, or for pointers the offset, becomes a constant; kind and precision stay, everything else is cleared. */
export function markKnown(w: Int32Array, reg: number, lo: number, hi: number): void {
  w[reg + REG_DELTA] = 0;
  w[reg + REG_A] = 0;
  w[reg + REG_B] = 0;
  w[reg + REG_C] = 0;
  w[reg + REG_ID] = 0;
  w[reg + REG_PARENT_ID] = 0;
  w[reg + REG_MAP_UID] = 0;
  scalarConst(w, reg + REG_SCALAR, lo, hi);
}

export function markKnownZero(w: Int32Array, reg: number): void {
  markKnown(w, reg, 0, 0);
}

/** The scalar zero. */
export function markConstZero(env: VerifierEnv, w: Int32Array, reg: number): void {
  markKnown(w, reg, 0, 0);
  w[reg + REG_TYPE] = SCALAR_VALUE;
  w[reg + REG_PRECISE] = env.bpfCapable ? 0 : 1;
}

/** What a register becomes when what it pointed at is gone (`mark_reg_invalid`). */
export function markInvalid(env: VerifierEnv, w: Int32Array, reg: number): void {
  if (env.allowPtrLeaks) markUnknown(env, w, reg);
  else markNotInit(env, w, reg);
}

export function clearScalarID(w: Int32Array, reg: number): void {
  w[reg + REG_ID] = 0;
  w[reg + REG_DELTA] = 0;
}

/** Constant in all 64 bits, whatever the kind. */
export function isVarConst(w: Int32Array, reg: number): boolean {
  return w[reg + REG_MASK_LO] === 0 && w[reg + REG_MASK_HI] === 0;
}

/** The scalar zero (`bpf_register_is_null`). */
export function isNull(w: Int32Array, reg: number): boolean {
  return w[reg + REG_TYPE] === SCALAR_VALUE && w[reg + REG_VAR_LO] === 0 && w[reg + REG_VAR_HI] === 0 && isVarConst(w, reg);
}

/** A scalar with a constant value, or low half with `is32` (`is_reg_const`). */
export function isConst(w: Int32Array, reg: number, is32: boolean): boolean {
  return w[reg + REG_TYPE] === SCALAR_VALUE && w[reg + REG_MASK_LO] === 0 && (is32 || w[reg + REG_MASK_HI] === 0);
}

/** {@link smin} as decimal digits, all of them: doubles lose the last ones. */
export function sminDecimal(w: Int32Array, reg: number): string {
  cnum64SMin(w, reg + REG_R64);
  return formatS64(BOUND[0]!, BOUND[1]!);
}

/** {@link umax} as decimal digits, all of them. */
export function umaxDecimal(w: Int32Array, reg: number): string {
  cnum64UMax(w, reg + REG_R64);
  return formatU64(BOUND[0]!, BOUND[1]!);
}

/** Smallest signed value; exact below 2^53, else rounded. The exact words are in `BOUND`. */
export function smin(w: Int32Array, reg: number): number {
  cnum64SMin(w, reg + REG_R64);
  return BOUND[1]! * TWO32 + (BOUND[0]! >>> 0);
}

export function smax(w: Int32Array, reg: number): number {
  cnum64SMax(w, reg + REG_R64);
  return BOUND[1]! * TWO32 + (BOUND[0]! >>> 0);
}

export function umin(w: Int32Array, reg: number): number {
  cnum64UMin(w, reg + REG_R64);
  return (BOUND[1]! >>> 0) * TWO32 + (BOUND[0]! >>> 0);
}

export function umax(w: Int32Array, reg: number): number {
  cnum64UMax(w, reg + REG_R64);
  return (BOUND[1]! >>> 0) * TWO32 + (BOUND[0]! >>> 0);
}

export function s32min(w: Int32Array, reg: number): number {
  return cnum32SMin(w, reg + REG_R32) | 0;
}

export function s32max(w: Int32Array, reg: number): number {
  return cnum32SMax(w, reg + REG_R32) | 0;
}

export function u32min(w: Int32Array, reg: number): number {
  return cnum32UMin(w, reg + REG_R32) >>> 0;
}

export function u32max(w: Int32Array, reg: number): number {
  return cnum32UMax(w, reg + REG_R32) >>> 0;
}

/** Bits that the unsigned value can need (`get_reg_width`). */
export function widthOf(w: Int32Array, reg: number): number {
  cnum64UMax(w, reg + REG_R64);
  const hi = BOUND[1]!;
  return hi !== 0 ? 64 - Math.clz32(hi) : 32 - Math.clz32(BOUND[0]!);
}

/** The constant part as a number, signed; exact below 2^53. */
export function varValue(w: Int32Array, reg: number): number {
  return w[reg + REG_VAR_HI]! * TWO32 + (w[reg + REG_VAR_LO]! >>> 0);
}

/** The tristate number as the log prints it. */
export function varText(w: Int32Array, reg: number): string {
  return tnumText(w[reg + REG_VAR_LO]!, w[reg + REG_VAR_HI]!, w[reg + REG_MASK_LO]!, w[reg + REG_MASK_HI]!);
}

/** Checks that the three views of the value agree; 0 or `-EFAULT` where the load asked for it (`reg_bounds_sanity_check`). */
export function boundsSanity(env: VerifierEnv, w: Int32Array, reg: number, context: string): number {
  const message = scalarInvariantViolation(w, reg + REG_SCALAR);
  if (message === undefined) return 0;
  const r64 = reg + REG_R64;
  const r32 = reg + REG_R32;
  env.log.write(
    `verifier bug: REG INVARIANTS VIOLATION (${context}): ${message} r64={.base=${hexText(w[r64]!, w[r64 + 1]!)}, .size=${hexText(w[r64 + 2]!, w[r64 + 3]!)}} ` +
      `r32={.base=${hexText(w[r32]!, 0)}, .size=${hexText(w[r32 + 1]!, 0)}} var_off=(${hexText(w[reg + REG_VAR_LO]!, w[reg + REG_VAR_HI]!)}, ${hexText(w[reg + REG_MASK_LO]!, w[reg + REG_MASK_HI]!)})\n`,
  );
  if (env.testRegInvariants) return -EFAULT;
  scalarUnbounded(w, reg + REG_SCALAR);
  return 0;
}

/** `R3`, or `*(R11-8)` for on-stack arguments. Arguments are negative: -1 is the first. */
export function argName(argno: number): string {
  if (argno >= 0) return `R${argno}`;
  if (argno >= -MAX_BPF_FUNC_REG_ARGS) return `R${-argno}`;
  return `*(R11-${(-argno - MAX_BPF_FUNC_REG_ARGS) * BPF_REG_SIZE})`;
}

/** Register of an argument number, -1 for on-stack arguments. */
export function regOfArg(argno: number): number {
  if (argno >= 0) return argno;
  return argno >= -MAX_BPF_FUNC_REG_ARGS ? -argno : -1;
}

/** Reads register `regno` as a source; 0 or `-EACCES` where it was never written. */
export function checkSource(env: VerifierEnv, regno: number): number {
  env.scratchedRegs |= 1 << regno;
  if (env.w[curReg(env, regno)] !== NOT_INIT) return 0;
  env.log.write(`R${regno} !read_ok\n`);
  env.diag?.unreadableReg(env.insnIdx, regno);
  return -EACCES;
}

/** Writes register `regno`; its contents become unknown with `mark`. 0 or `-EACCES` for the frame pointer. */
export function checkDestination(env: VerifierEnv, regno: number, mark: boolean): number {
  env.scratchedRegs |= 1 << regno;
  if (regno === 10) {
    env.log.write('frame pointer is read only\n');
    return -EACCES;
  }
  if (mark) markUnknown(env, env.w, curReg(env, regno));
  return 0;
}

/** True where the kind is a pointer and pointers must not leak. */
export function isPointerValue(env: VerifierEnv, regno: number): boolean {
  return !env.allowPtrLeaks && isPointerKind(env.w[curReg(env, regno)]!);
}

export function isPointerKind(type: number): boolean {
  return type !== SCALAR_VALUE && type !== NOT_INIT;
}

/** Before a scalar is copied: both copies get one id, so that what is learnt of one holds for the other. */
export function assignScalarIDBeforeMove(env: VerifierEnv, w: Int32Array, reg: number): void {
  if (w[reg + REG_TYPE] !== SCALAR_VALUE) return;
  if ((w[reg + REG_ID]! & 0xc0000000) !== 0) clearScalarID(w, reg);
  if (w[reg + REG_ID] === 0 && !isVarConst(w, reg)) w[reg + REG_ID] = ++env.idGen;
}
