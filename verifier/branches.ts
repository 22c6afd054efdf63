/**
 * @module verifier/branches
 * Conditional jumps: which way is taken, what each way teaches about the operands, their linked copies, null pointers and packet
 * ends; may_goto; indirect jumps. Reproduces `check_cond_jmp_op` and what it calls (kernel/bpf/verifier.c). Scalars are
 * scalar_branch.ts.
 */
import { EACCES, EINVAL } from '../isa/errno.ts';
import { BPF_JA, BPF_JCOND, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JLE, BPF_JLT, BPF_JMP32, BPF_JNE } from '../isa/uapi.ts';
import { LINKED_REGS_MAX, linkedFrame, linkedIndex, linkedIsReg, LinkedRegs, markChainPrecision, pushJmpHistory } from './backtrack.ts';
import { pushSpeculativePath, regInBranch } from './alu.ts';
import { isTrusted } from './btf_access.ts';
import type { VerifierEnv } from './env.ts';
import { pushStack } from './paths.ts';
import { printInsnState } from './print.ts';
import { dropReference, findReference, isPktPointerAny, listRegs, MASK_SPILL, REG_LIST } from './refs.ts';
import {
  boundsSanity, checkSource, clearScalarID, curReg, isConst, isNull, isPointerKind, isPointerValue, markKnown, markKnownZero, smax, smin, umax,
} from './regs.ts';
import {
  baseType, BPF_MAX_VAR_OFF, CONST_PTR_TO_MAP, MAX_PACKET_OFF, MEM_RCU, PTR_MAYBE_NULL, PTR_TO_BTF_ID, PTR_TO_BUF, PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE, PTR_TO_MEM, PTR_TO_PACKET, PTR_TO_PACKET_END, PTR_TO_PACKET_META, PTR_TO_SOCKET, PTR_TO_SOCK_COMMON, PTR_TO_STACK,
  PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK, PTR_UNTRUSTED, SCALAR_VALUE, typeIsNonOwningRef, typeIsPtrAllocObj, typeMayBeNull,
} from './regtypes.ts';
import { scalarAdd } from './scalar_alu.ts';
import { FALSE_LEFT, FALSE_RIGHT, flipComparison, OUTCOMES, scalarBranch, scalarBranchSelf, TRUE_LEFT, TRUE_RIGHT } from './scalar_branch.ts';
import { scalarCopy, scalarInvariantViolation, scalarSync, scalarZeroExtend } from './scalar.ts';
import { markSlotScratched } from './stack.ts';
import {
  BPF_ADD_CONST, BPF_ADD_CONST32, copyReg, F_ALLOCATED_STACK, frameInsnIdx, INSN_F_DST_REG_STACK, INSN_F_SRC_REG_STACK, REG_A, REG_DELTA,
  REG_ID, REG_SCALAR, REG_TYPE, REG_VAR_HI, REG_VAR_LO, REG_WORDS, regAt, SLOT_TYPES, slotAt, STACK_SPILL, type VState,
} from './state.ts';
import { findPreviousEntry, widenImpreciseScalars } from './widen.ts';

/** Ranges of a packet pointer that was compared with the packet's end. */
const AT_PKT_END = -1;
const BEYOND_PKT_END = -2;

const SCRATCH_SRC = 0;
const SCRATCH_LINK = 6;

/** A pointer that cannot be null (`reg_not_null`). */
function isNotNull(env: VerifierEnv, reg: number): boolean {
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  if (typeMayBeNull(type)) return false;
  if (smin(w, reg) <= -BPF_MAX_VAR_OFF || smax(w, reg) >= BPF_MAX_VAR_OFF) return false;
  switch (baseType(type)) {
    case PTR_TO_SOCKET: case PTR_TO_TCP_SOCK: case PTR_TO_XDP_SOCK: case PTR_TO_BUF: case PTR_TO_MAP_VALUE: case PTR_TO_MAP_KEY:
    case PTR_TO_SOCK_COMMON: case CONST_PTR_TO_MAP:
      return true;
    case PTR_TO_BTF_ID:
      return isTrusted(env, reg);
    case PTR_TO_MEM:
      return (type & PTR_UNTRUSTED) === 0;
    default:
      return false;
  }
}

function packetBranch(env: VerifierEnv, dst: number, src: number, op: number): -1 | 0 | 1 {
  const { w } = env;
  let packet = dst;
  let compare = op;
  if (w[src + REG_TYPE] !== PTR_TO_PACKET_END) {
    if (w[dst + REG_TYPE] !== PTR_TO_PACKET_END) return -1;
    packet = src;
    compare = flipComparison(op);
  }
  const range = w[packet + REG_A]!;
  if (range >= 0) return -1;
  if ((compare === BPF_JLE || compare === BPF_JGT) && range === BEYOND_PKT_END) return compare === BPF_JGT ? 1 : 0;
  if ((compare === BPF_JLT || compare === BPF_JGE) && (range === BEYOND_PKT_END || range === AT_PKT_END)) return compare === BPF_JGE ? 1 : 0;
  return -1;
}

/** 1: taken, 0: not taken, -1: either. Fills `OUTCOMES` where two scalars are compared. */
function branchTaken(env: VerifierEnv, dst: number, src: number, op: number, is32: boolean): -1 | 0 | 1 {
  const { w } = env;
  const dstType = w[dst + REG_TYPE]!;
  const srcType = w[src + REG_TYPE]!;
  if (isPktPointerAny(dstType) && isPktPointerAny(srcType) && !is32) return packetBranch(env, dst, src, op);
  if (!isPointerKind(dstType) && !isPointerKind(srcType)) {
    if (dst === src) return scalarBranchSelf(w, dst + REG_SCALAR, op, is32);
    return scalarBranch(w, dst + REG_SCALAR, w, src + REG_SCALAR, op, is32);
  }
  if (is32) return -1;
  let pointer = dst;
  let constant = src;
  let compare = op;
  if (!isConst(w, constant, false)) {
    pointer = src;
    constant = dst;
    compare = flipComparison(op);
  }
  if (!isConst(w, constant, false) || !isNotNull(env, pointer)) return -1;
  if (w[constant + REG_VAR_LO] !== 0 || w[constant + REG_VAR_HI] !== 0) return -1;
  return compare === BPF_JEQ ? 0 : compare === BPF_JNE ? 1 : -1;
}

/** All pointers into the packet with this one's id can be followed as far as this one has been compared. */
function noteGoodPacket(st: VState, w: Int32Array, dst: number, type: number, isRightOpen: boolean): void {
  const high = umax(w, dst);
  if ((high === 0 && isRightOpen) || high > MAX_PACKET_OFF) return;
  const range = isRightOpen ? high + 1 : high;
  const id = w[dst + REG_ID]!;
  const sw = st.w;
  const n = listRegs(st, MASK_SPILL);
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    if (sw[reg + REG_TYPE] === type && sw[reg + REG_ID] === id && sw[reg + REG_A]! < range) sw[reg + REG_A] = range;
  }
}

function notePacketEnd(st: VState, regno: number, isOpen: boolean): void {
  const reg = regInBranch(st, regno);
  if (st.w[reg + REG_TYPE] === PTR_TO_PACKET) st.w[reg + REG_A] = isOpen ? BEYOND_PKT_END : AT_PKT_END;
}

function isFreshPacket(w: Int32Array, reg: number): boolean {
  return w[reg + REG_TYPE] === PTR_TO_PACKET && w[reg + REG_ID] === 0 && w[reg + REG_VAR_LO] === 0 && w[reg + REG_VAR_HI] === 0
    && w[reg + REG_SCALAR + 2] === 0 && w[reg + REG_SCALAR + 3] === 0;
}

/** A comparison of a packet pointer with the packet's end, or of metadata with the packet; false where it is neither. */
function matchPacketPointers(env: VerifierEnv, op: number, dst: number, src: number, thisBranch: VState, other: VState): boolean {
  const { w } = env;
  const i = env.insnIdx;
  const isX = (env.insns.code[i]! & 8) !== 0;
  if (!isX || (env.insns.code[i]! & 7) === BPF_JMP32) return false;
  if (op !== BPF_JGT && op !== BPF_JLT && op !== BPF_JGE && op !== BPF_JLE) return false;
  const dstType = w[dst + REG_TYPE]!;
  const srcType = w[src + REG_TYPE]!;
  const isPacketLeft = (dstType === PTR_TO_PACKET && srcType === PTR_TO_PACKET_END) || (dstType === PTR_TO_PACKET_META && isFreshPacket(w, src));
  const isPacketRight = (dstType === PTR_TO_PACKET_END && srcType === PTR_TO_PACKET) || (isFreshPacket(w, dst) && srcType === PTR_TO_PACKET_META);
  if (!isPacketLeft && !isPacketRight) return false;
  const packet = isPacketLeft ? dst : src;
  const regno = isPacketLeft ? env.insns.dst[i]! : env.insns.src[i]!;
  // Seen from the packet pointer: is it "greater" that is tested, and is equality on the taken side?
  const compare = isPacketLeft ? op : flipComparison(op);
  const type = w[packet + REG_TYPE]!;
  switch (compare) {
    case BPF_JGT:
      noteGoodPacket(thisBranch, w, packet, type, false);
      notePacketEnd(other, regno, true);
      break;
    case BPF_JLT:
      noteGoodPacket(other, w, packet, type, true);
      notePacketEnd(thisBranch, regno, false);
      break;
    case BPF_JGE:
      noteGoodPacket(thisBranch, w, packet, type, true);
      notePacketEnd(other, regno, false);
      break;
    default:
      noteGoodPacket(other, w, packet, type, false);
      notePacketEnd(thisBranch, regno, true);
      break;
  }
  return true;
}

/** After a null check: every copy of the pointer is null, or is not. */
function markPtrOrNull(st: VState, regno: number, becomesNull: boolean): void {
  const { w } = st;
  const id = w[regInBranch(st, regno) + REG_ID]!;
  if (becomesNull && findReference(st, id) >= 0) dropReference(st, id);
  const n = listRegs(st, MASK_SPILL);
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    const type = w[reg + REG_TYPE]!;
    if (!typeMayBeNull(type) || w[reg + REG_ID] !== id) continue;
    if ((type & MEM_RCU) === 0 && id === 0) continue;
    const isZero = w[reg + REG_VAR_LO] === 0 && w[reg + REG_VAR_HI] === 0 && w[reg + REG_SCALAR + 2] === 0 && w[reg + REG_SCALAR + 3] === 0;
    if (!typeIsPtrAllocObj(type) && !typeIsNonOwningRef(type) && !isZero) continue;
    if (becomesNull) {
      markKnownZero(w, reg);
      w[reg + REG_TYPE] = SCALAR_VALUE;
    } else {
      w[reg + REG_TYPE] = type & ~PTR_MAYBE_NULL;
    }
  }
}

const LINKED: LinkedRegs = new LinkedRegs();

function collect(w: Int32Array, reg: number, id: number, frame: number, index: number, isReg: boolean): void {
  if (w[reg + REG_TYPE] !== SCALAR_VALUE || (w[reg + REG_ID]! & ~BPF_ADD_CONST) !== id) return;
  if (LINKED.count < LINKED_REGS_MAX) LINKED.add(frame, index, isReg);
  else clearScalarID(w, reg);
}

/** Notes all registers and spilled slots with this id; those that do not fit lose it. */
function collectLinked(env: VerifierEnv, withID: number): void {
  const { w, b } = env;
  const st = env.cur;
  const id = withID & ~BPF_ADD_CONST;
  for (let f = st.curframe; f >= 0; f--) {
    const live = env.aux.liveRegsBefore[frameInsnIdx(st, f)]!;
    const frame = st.frameAt[f]!;
    for (let i = 0; i < 10; i++) if (((live >> i) & 1) !== 0) collect(w, regAt(frame, i), id, f, i, true);
    const slots = w[frame + F_ALLOCATED_STACK]! >> 3;
    for (let i = 0; i < slots; i++) {
      const slot = slotAt(frame, i);
      if (b[((slot + SLOT_TYPES) << 2) + 7] === STACK_SPILL) collect(w, slot, id, f, i, false);
    }
  }
}

/** What was learnt of `known` holds for all linked registers of the state, shifted by their distance. */
function syncLinked(env: VerifierEnv, st: VState, known: number): void {
  const { w } = st;
  const fake = env.pool.scratch(SCRATCH_LINK);
  for (let i = 0; i < LINKED.count; i++) {
    const entry = LINKED.entry(i);
    const frame = st.frameAt[linkedFrame(entry)]!;
    const index = linkedIndex(entry);
    const reg = linkedIsReg(entry) ? regAt(frame, index) : slotAt(frame, index);
    if (w[reg + REG_TYPE] !== SCALAR_VALUE || reg === known) continue;
    const id = w[reg + REG_ID]!;
    const knownID = w[known + REG_ID]!;
    if ((id & ~BPF_ADD_CONST) !== (knownID & ~BPF_ADD_CONST)) continue;
    if (((id ^ knownID) & BPF_ADD_CONST) === BPF_ADD_CONST) continue;
    const delta = w[reg + REG_DELTA]!;
    const knownDelta = w[known + REG_DELTA]!;
    if (((id & BPF_ADD_CONST) === 0 && (knownID & BPF_ADD_CONST) === 0) || delta === knownDelta) {
      copyReg(w, reg, w, known);
    } else {
      const distance = delta - knownDelta;
      const hot = env.w;
      markKnown(hot, fake, distance | 0, Math.floor(distance / 4294967296));
      copyReg(w, reg, w, known);
      w[reg + REG_DELTA] = delta;
      w[reg + REG_ID] = id;
      scalarAdd(w, reg + REG_SCALAR, hot, fake + REG_SCALAR);
      if (((id | knownID) & BPF_ADD_CONST32) !== 0) scalarZeroExtend(w, reg + REG_SCALAR);
      scalarSync(w, reg + REG_SCALAR);
    }
    if (linkedIsReg(entry)) env.scratchedRegs |= 1 << index;
    else markSlotScratched(env, index);
  }
}

function mayGoto(env: VerifierEnv): number {
  const i = env.insnIdx;
  const st = env.cur;
  const previous = st.parent === undefined ? undefined : findPreviousEntry(env, st.parent, i);
  const queued = pushStack(env, i + 1, i, false);
  if (queued === undefined) return env.pushError;
  queued.mayGotoDepth++;
  if (previous !== undefined) widenImpreciseScalars(env, previous, queued);
  env.insnIdx += env.insns.off[i]!;
  return 0;
}

/** The sanity of one scalar of an outcome, which is in `OUTCOMES`. */
function outcomeSane(env: VerifierEnv, at: number, name: string): number {
  if (scalarInvariantViolation(OUTCOMES, at) === undefined) return 0;
  const scratch = env.pool.scratch(7);
  const { w } = env;
  scalarCopy(w, scratch + REG_SCALAR, OUTCOMES, at);
  const error = boundsSanity(env, w, scratch, name);
  scalarCopy(OUTCOMES, at, w, scratch + REG_SCALAR);
  return error;
}

/** The sanity of the four scalars of both outcomes. */
function outcomesSane(env: VerifierEnv): number {
  return outcomeSane(env, TRUE_LEFT, 'true_reg1') || outcomeSane(env, TRUE_RIGHT, 'true_reg2')
    || outcomeSane(env, FALSE_LEFT, 'false_reg1') || outcomeSane(env, FALSE_RIGHT, 'false_reg2');
}

/** A decided branch: the operands' values mattered, and the processor may still guess wrong. */
function decided(env: VerifierEnv, taken: 0 | 1, dst: number, src: number, isX: boolean): number {
  const { w } = env;
  const i = env.insnIdx;
  if (!isPointerKind(w[dst + REG_TYPE]!)) {
    const error = markChainPrecision(env, env.insns.dst[i]!);
    if (error !== 0) return error;
  }
  if (isX && !isPointerKind(w[src + REG_TYPE]!)) {
    const error = markChainPrecision(env, env.insns.src[i]!);
    if (error !== 0) return error;
  }
  const off = env.insns.off[i]!;
  if (!env.bypassSpecV1) {
    const error = pushSpeculativePath(env, true, taken === 1 ? i + 1 : i + off + 1, i);
    if (error < 0) return error;
  }
  if (env.log.verbose) printInsnState(env, env.cur, env.cur.curframe);
  if (taken === 1) env.insnIdx += off;
  return 0;
}

/** Equal pointers: if one is not null, neither is the other. */
function learnFromPointerEquality(env: VerifierEnv, op: number, dst: number, src: number, other: VState): void {
  const { w } = env;
  const i = env.insnIdx;
  const dstType = w[dst + REG_TYPE]!;
  const srcType = w[src + REG_TYPE]!;
  if (!isPointerKind(srcType) || !isPointerKind(dstType) || baseType(srcType) === PTR_TO_BTF_ID || baseType(dstType) === PTR_TO_BTF_ID) return;
  const equal = op === BPF_JEQ ? other : op === BPF_JNE ? env.cur : undefined;
  if (equal === undefined) return;
  if (isNotNull(env, dst) && typeMayBeNull(srcType)) equal.w[regInBranch(equal, env.insns.src[i]!) + REG_TYPE]! &= ~PTR_MAYBE_NULL;
  if (isNotNull(env, src) && typeMayBeNull(dstType)) equal.w[regInBranch(equal, env.insns.dst[i]!) + REG_TYPE]! &= ~PTR_MAYBE_NULL;
}

/** A conditional jump; sets `env.insnIdx` to the instruction before the next. 0 or `-errno`. */
export function checkCondJump(env: VerifierEnv): number {
  const { w } = env;
  const i = env.insnIdx;
  const code = env.insns.code[i]!;
  const op = code & 0xf0;
  if (op === BPF_JA || op > BPF_JCOND) {
    env.log.write(`invalid BPF_JMP/JMP32 opcode ${op.toString(16)}\n`);
    return -EINVAL;
  }
  if (op === BPF_JCOND) return mayGoto(env);
  const isX = (code & 8) !== 0;
  const is32 = (code & 7) === BPF_JMP32;
  const dstRegno = env.insns.dst[i]!;
  const srcRegno = env.insns.src[i]!;
  let error = checkSource(env, dstRegno);
  if (error !== 0) return error;
  const dst = curReg(env, dstRegno);
  let src: number;
  let histFlags = w[dst + REG_TYPE] === PTR_TO_STACK ? INSN_F_DST_REG_STACK : 0;
  if (isX) {
    error = checkSource(env, srcRegno);
    if (error !== 0) return error;
    src = curReg(env, srcRegno);
    if (!(isPktPointerAny(w[dst + REG_TYPE]!) && isPktPointerAny(w[src + REG_TYPE]!)) && isPointerValue(env, srcRegno)) {
      env.log.write(`R${srcRegno} pointer comparison prohibited\n`);
      return -EACCES;
    }
    if (w[src + REG_TYPE] === PTR_TO_STACK) histFlags |= INSN_F_SRC_REG_STACK;
  } else {
    src = env.pool.scratch(SCRATCH_SRC);
    for (let k = 0; k < REG_WORDS; k++) w[src + k] = 0;
    w[src + REG_TYPE] = SCALAR_VALUE;
    const imm = env.insns.imm[i]!;
    markKnown(w, src, imm, imm >> 31);
  }
  if (histFlags !== 0) {
    error = pushJmpHistory(env, histFlags, 0, 0);
    if (error !== 0) return error;
  }
  LINKED.clear();
  const isSrcScalar = w[src + REG_TYPE] === SCALAR_VALUE;
  const isDstScalar = w[dst + REG_TYPE] === SCALAR_VALUE;
  if (isX && isSrcScalar && w[src + REG_ID] !== 0) collectLinked(env, w[src + REG_ID]!);
  if (isDstScalar && w[dst + REG_ID] !== 0) collectLinked(env, w[dst + REG_ID]!);
  const taken = branchTaken(env, dst, src, op, is32);
  if (taken >= 0) return decided(env, taken as 0 | 1, dst, src, isX);
  if (LINKED.count > 1) {
    error = pushJmpHistory(env, 0, 0, 0, LINKED);
    if (error !== 0) return error;
  }
  const st = env.cur;
  const other = pushStack(env, i + env.insns.off[i]! + 1, i, false);
  if (other === undefined) return env.pushError;
  const ow = other.w;
  const otherDst = regInBranch(other, dstRegno);
  const otherSrc = isX ? regInBranch(other, srcRegno) : -1;
  if (isSrcScalar && isDstScalar && dst !== src) {
    error = outcomesSane(env);
    if (error !== 0) return error;
    scalarCopy(w, dst + REG_SCALAR, OUTCOMES, FALSE_LEFT);
    scalarCopy(w, src + REG_SCALAR, OUTCOMES, FALSE_RIGHT);
    scalarCopy(ow, otherDst + REG_SCALAR, OUTCOMES, TRUE_LEFT);
    if (isX) scalarCopy(ow, otherSrc + REG_SCALAR, OUTCOMES, TRUE_RIGHT);
  }
  if (isX && isSrcScalar && w[src + REG_ID] !== 0) {
    syncLinked(env, st, src);
    syncLinked(env, other, otherSrc);
  }
  if (isDstScalar && w[dst + REG_ID] !== 0) {
    syncLinked(env, st, dst);
    syncLinked(env, other, otherDst);
  }
  if (!is32 && isX) learnFromPointerEquality(env, op, dst, src, other);
  const comparesNull = isX ? isNull(w, src) : env.insns.imm[i] === 0;
  if (!is32 && (op === BPF_JEQ || op === BPF_JNE) && typeMayBeNull(w[dst + REG_TYPE]!) && comparesNull) {
    if (isX) {
      error = markChainPrecision(env, srcRegno);
      if (error !== 0) return error;
    }
    markPtrOrNull(st, dstRegno, op === BPF_JNE);
    markPtrOrNull(other, dstRegno, op === BPF_JEQ);
  } else if (!matchPacketPointers(env, op, dst, curReg(env, srcRegno), st, other) && isPointerValue(env, dstRegno)) {
    env.log.write(`R${dstRegno} pointer comparison prohibited\n`);
    return -EACCES;
  }
  if (env.log.verbose) printInsnState(env, st, st.curframe);
  return 0;
}
