/**
 * @module verifier/do_check
 * The main loop: one instruction after the other along every path, from the main program and from every global function.
 * Reproduces `do_check`, `do_check_insn`, `do_check_common` and the exits of kernel/bpf/verifier.c; what single instructions do is in
 * alu.ts, branches.ts, mem_access.ts, calls.ts.
 */
import { E2BIG, EACCES, EFAULT, EINVAL, EPERM } from '../isa/errno.ts';
import {
  BPF_ABS, BPF_ADD, BPF_ALU, BPF_ALU64, BPF_AND, BPF_ATOMIC, BPF_CALL, BPF_CMPXCHG, BPF_DW, BPF_EXIT, BPF_FETCH, BPF_FUNC_kptr_xchg,
  BPF_FUNC_spin_unlock, BPF_IMM, BPF_IND, BPF_JA, BPF_JCOND, BPF_JMP, BPF_JMP32, BPF_LDX, BPF_LOAD_ACQ, BPF_MAP_TYPE_ARENA, BPF_MEMSX,
  BPF_OR, BPF_PROG_TYPE_EXT, BPF_PROG_TYPE_STRUCT_OPS, BPF_PSEUDO_BTF_ID, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_IDX_VALUE, BPF_PSEUDO_MAP_VALUE, BPF_ST, BPF_STORE_REL, BPF_STX, BPF_W, BPF_XCHG, BPF_XOR, BTF_FUNC_STATIC,
} from '../isa/uapi.ts';
import { checkALU } from './alu.ts';
import { pushJmpHistory } from './backtrack.ts';
import { checkCondJump } from './branches.ts';
import { prepareFuncArgs } from './func_args.ts';
import { checkFuncCall, prepareFuncExit } from './calls.ts';
import { DIAG_CONTEXT_LOCK, DIAG_MOD_CALLER_SAVED, DIAG_MOD_WRITE } from './diagnostics_port.ts';
import { AUX_INDIRECT_TARGET, AUX_JMP_POINT, AUX_NOSPEC, AUX_NOSPEC_RESULT, AUX_PRUNE_POINT, findSubprog, type VerifierEnv } from './env.ts';
import { checkHelperCall } from './helper_calls.ts';
import { isStackArgLoad, isStackArgStore } from './insns.ts';
import { checkKfuncCall, isKfuncAllowedUnderLock } from './kfunc_calls.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import { checkMemAccess, sizeBytes } from './mem_access.ts';
import { contextArguments, mayAccessSkb } from './ops.ts';
import { BPF_MAIN_FUNC, accountInsn, accountPath, dropPending, initFrame, popStack, pushStack } from './paths.ts';
import { insnText, markStateScratched, printInsnState, printVerifierState } from './print.ts';
import { checkPtrOff } from './ptr_off.ts';
import { acquireReference, checkResourceLeak } from './refs.ts';
import {
  boundsSanity, checkDestination, checkSource, curReg, isPointerValue, markKnown, markKnownZero, markNotInit, markUnknown, umax, umin,
} from './regs.ts';
import {
  ARG_ANYTHING, ARG_PTR_TO_ARENA, ARG_PTR_TO_BTF_ID, ARG_PTR_TO_CTX, ARG_PTR_TO_DYNPTR, ARG_PTR_TO_MEM, baseType, BPF_READ, BPF_WRITE,
  CALLER_SAVED_REGS, CONST_PTR_TO_MAP, MAX_BPF_FUNC_REG_ARGS, MEM_RDONLY, mayFaultOnDeref, NOT_INIT, PTR_MAYBE_NULL, PTR_TO_ARENA,
  PTR_TO_BTF_ID, PTR_TO_CTX, PTR_TO_FLOW_KEYS, PTR_TO_FUNC, PTR_TO_INSN, PTR_TO_MAP_VALUE, PTR_TO_MEM, PTR_TO_SOCKET, PTR_TO_SOCK_COMMON,
  PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK, PTR_TRUSTED, PTR_UNTRUSTED, regTypeName, SCALAR_VALUE, typeIsPktPointer, typeIsPtrToMemOrBTFID,
  typeIsSkPointer,
} from './regtypes.ts';
import { checkGlobalReturn, checkReturnCode } from './return_code.ts';
import { verboseLine } from './source_line.ts';
import { checkStackArgRead, checkStackArgWrite, incomingStackArgs } from './stack.ts';
import {
  curFrame, F_FLAGS, F_SUBPROG, FF_IN_ASYNC_CALLBACK, FF_IN_CALLBACK, FF_IN_EXCEPTION_CALLBACK, FF_NO_STACK_ARG_LOAD, REG_A, REG_B, REG_ID,
  REG_TYPE, regAt,
} from './state.ts';
import { freeStates, isStateVisited, updateBranchCounts } from './states.ts';
import { isGlobalSubprog, jumpOffset, subprogName } from './subprogs.ts';
import { markDynptrReg } from './dynptr.ts';
import { BPF_DYNPTR_TYPE_LOCAL } from './dynptr_types.ts';

/** Most instructions that one load may process. */
export const COMPLEXITY_LIMIT_INSNS = 1_000_000;

/** What an instruction leads to besides 0 (go on behind it) and `-errno`. */
const PATH_ENDS = 1;
const INDEX_SET = 2;

function refuse(env: VerifierEnv, message: string, error: number = -EACCES): number {
  env.log.write(`${message}\n`);
  return error;
}

// ---- loads, stores, atomics

function mismatchOK(type: number): boolean {
  switch (baseType(type)) {
    case PTR_TO_CTX: case PTR_TO_SOCKET: case PTR_TO_SOCK_COMMON: case PTR_TO_TCP_SOCK: case PTR_TO_XDP_SOCK: case PTR_TO_BTF_ID:
    case PTR_TO_ARENA:
      return false;
    case PTR_TO_MEM:
      return !mayFaultOnDeref(type);
    default:
      return true;
  }
}

function mergeTypes(a: number, b: number): number {
  const toMem = baseType(a) === PTR_TO_MEM || baseType(b) === PTR_TO_MEM;
  if (mayFaultOnDeref(a) || mayFaultOnDeref(b)) return toMem ? PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED : PTR_TO_BTF_ID | PTR_UNTRUSTED;
  return (toMem ? PTR_TO_MEM : PTR_TO_BTF_ID) | ((a | b) & MEM_RDONLY);
}

/** An instruction is compiled once: all paths must use the same kind of pointer where kinds differ in code. */
function savePtrType(env: VerifierEnv, type: number, trustMismatchOK: boolean): number {
  const { ptrType } = env.aux;
  const i = env.insnIdx;
  const previous = ptrType[i]!;
  if (previous === NOT_INIT) {
    ptrType[i] = type;
    return 0;
  }
  if (type === previous || (mismatchOK(type) && mismatchOK(previous))) return 0;
  if (trustMismatchOK && typeIsPtrToMemOrBTFID(type) && typeIsPtrToMemOrBTFID(previous)) {
    ptrType[i] = mergeTypes(type, previous);
    return 0;
  }
  return refuse(env, 'same insn cannot be used with different pointers', -EINVAL);
}

function checkLoad(env: VerifierEnv, strictOnce: boolean, isLdsx: boolean, trustMismatchOK: boolean, context: string): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const dst = insns.dst[i]!;
  const src = insns.src[i]!;
  if (isStackArgLoad(env, i)) {
    const error = checkDestination(env, dst, false);
    return error !== 0 ? error : checkStackArgRead(env, insns.off[i]!, dst);
  }
  let error = checkSource(env, src);
  if (error === 0) error = checkDestination(env, dst, false);
  if (error !== 0) return error;
  const srcReg = curReg(env, src);
  const dstReg = curReg(env, dst);
  const type = w[srcReg + REG_TYPE]!;
  env.diag?.modBegin(dstReg, -1, DIAG_MOD_WRITE);
  error = checkMemAccess(env, i, srcReg, src, insns.off[i]!, sizeBytes(insns.code[i]!), BPF_READ, dst, strictOnce, isLdsx);
  if (error === 0) error = savePtrType(env, type, trustMismatchOK);
  if (error === 0) error = boundsSanity(env, w, dstReg, context);
  if (error === 0) env.diag?.modEnd();
  return error;
}

function checkStore(env: VerifierEnv, strictOnce: boolean): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const src = insns.src[i]!;
  const dst = insns.dst[i]!;
  let error = checkSource(env, src);
  if (error !== 0) return error;
  if (isStackArgStore(env, i)) return checkStackArgWrite(env, insns.off[i]!, src);
  error = checkSource(env, dst);
  if (error !== 0) return error;
  const reg = curReg(env, dst);
  const type = w[reg + REG_TYPE]!;
  error = checkMemAccess(env, i, reg, dst, insns.off[i]!, sizeBytes(insns.code[i]!), BPF_WRITE, src, strictOnce, false);
  return error !== 0 ? error : savePtrType(env, type, false);
}

function checkStoreImmediate(env: VerifierEnv): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  if (isStackArgStore(env, i)) return checkStackArgWrite(env, insns.off[i]!, -1);
  const dst = insns.dst[i]!;
  let error = checkSource(env, dst);
  if (error !== 0) return error;
  const reg = curReg(env, dst);
  const type = w[reg + REG_TYPE]!;
  error = checkMemAccess(env, i, reg, dst, insns.off[i]!, sizeBytes(insns.code[i]!), BPF_WRITE, -1, false, false);
  return error !== 0 ? error : savePtrType(env, type, false);
}

function atomicPointerOK(env: VerifierEnv, regno: number): boolean {
  const type = env.w[curReg(env, regno) + REG_TYPE]!;
  if (type === PTR_TO_CTX || typeIsPktPointer(type) || type === PTR_TO_FLOW_KEYS || typeIsSkPointer(type)) return false;
  if (type === PTR_TO_ARENA) {
    // The x86-64 compiler has no form of these that survives a fault.
    const op = env.insns.imm[env.insnIdx]!;
    return op !== (BPF_AND | BPF_FETCH) && op !== (BPF_OR | BPF_FETCH) && op !== (BPF_XOR | BPF_FETCH);
  }
  return !(env.insns.imm[env.insnIdx] === BPF_LOAD_ACQ && mayFaultOnDeref(type));
}

function checkAtomicUpdate(env: VerifierEnv): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const size = insns.code[i]! & 0x18;
  const dst = insns.dst[i]!;
  const src = insns.src[i]!;
  const op = insns.imm[i]!;
  if (size !== BPF_W && size !== BPF_DW) return refuse(env, 'invalid atomic operand size', -EINVAL);
  let error = checkSource(env, src);
  if (error === 0) error = checkSource(env, dst);
  if (error !== 0) return error;
  if (op === BPF_CMPXCHG) {
    error = checkSource(env, 0);
    if (error !== 0) return error;
    if (isPointerValue(env, 0)) return refuse(env, 'R0 leaks addr into mem');
  }
  if (isPointerValue(env, src)) return refuse(env, `R${src} leaks addr into mem`);
  const reg = curReg(env, dst);
  if (!atomicPointerOK(env, dst)) {
    return refuse(env, `BPF_ATOMIC stores into R${dst} ${regTypeName(w[reg + REG_TYPE]!)} is not allowed`);
  }
  const loadReg = (op & BPF_FETCH) === 0 ? -1 : op === BPF_CMPXCHG ? 0 : src;
  if (loadReg >= 0) {
    error = checkDestination(env, loadReg, true);
    if (error !== 0) return error;
  }
  const bytes = sizeBytes(size);
  const off = insns.off[i]!;
  error = checkMemAccess(env, i, reg, dst, off, bytes, BPF_READ, -1, true, false);
  if (error === 0 && loadReg >= 0) {
    env.diag?.modBegin(curReg(env, loadReg), -1, DIAG_MOD_WRITE);
    error = checkMemAccess(env, i, reg, dst, off, bytes, BPF_READ, loadReg, true, false);
    if (error === 0) env.diag?.modEnd();
  }
  if (error !== 0) return error;
  error = savePtrType(env, w[reg + REG_TYPE]!, false);
  if (error !== 0) return error;
  return checkMemAccess(env, i, reg, dst, off, bytes, BPF_WRITE, -1, true, false);
}

function checkAtomic(env: VerifierEnv): number {
  const i = env.insnIdx;
  const op = env.insns.imm[i]!;
  switch (op) {
    case BPF_ADD: case BPF_ADD | BPF_FETCH: case BPF_AND: case BPF_AND | BPF_FETCH: case BPF_OR: case BPF_OR | BPF_FETCH: case BPF_XOR:
    case BPF_XOR | BPF_FETCH: case BPF_XCHG: case BPF_CMPXCHG:
      return checkAtomicUpdate(env);
    case BPF_LOAD_ACQ: {
      const src = env.insns.src[i]!;
      const error = checkSource(env, src);
      if (error !== 0) return error;
      if (!atomicPointerOK(env, src)) {
        return refuse(env, `BPF_ATOMIC loads from R${src} ${regTypeName(env.w[curReg(env, src) + REG_TYPE]!)} is not allowed`);
      }
      return checkLoad(env, true, false, false, 'atomic_load');
    }
    case BPF_STORE_REL: {
      const error = checkStore(env, true);
      if (error !== 0) return error;
      const dst = env.insns.dst[i]!;
      if (atomicPointerOK(env, dst)) return 0;
      return refuse(env, `BPF_ATOMIC stores into R${dst} ${regTypeName(env.w[curReg(env, dst) + REG_TYPE]!)} is not allowed`);
    }
    default:
      return refuse(env, `BPF_ATOMIC uses invalid atomic opcode ${(op >>> 0).toString(16).padStart(2, '0')}`, -EINVAL);
  }
}

// ---- 16-byte loads and packet loads

function checkLoadFunction(env: VerifierEnv, dst: number): number {
  const { w } = env;
  const subprog = findSubprog(env, env.insnIdx + env.insns.imm[env.insnIdx]! + 1);
  if (env.funcInfoCount === 0) return refuse(env, 'missing btf func_info', -EINVAL);
  if (env.subprogs[subprog]!.linkage !== BTF_FUNC_STATIC) return refuse(env, 'callback function not static', -EINVAL);
  if (subprog === 0) return refuse(env, 'callback function cannot be the main program', -EINVAL);
  w[dst + REG_TYPE] = PTR_TO_FUNC;
  w[dst + REG_A] = subprog;
  return 0;
}

function checkLoadImmediate(env: VerifierEnv): number {
  const { insns, aux, w } = env;
  const i = env.insnIdx;
  if ((insns.code[i]! & 0x18) !== BPF_DW) return refuse(env, 'invalid BPF_LD_IMM insn', -EINVAL);
  const error = checkDestination(env, insns.dst[i]!, true);
  if (error !== 0) return error;
  const dst = curReg(env, insns.dst[i]!);
  env.diag?.modBegin(dst, -1, DIAG_MOD_WRITE);
  const kind = insns.src[i]!;
  if (kind === 0) {
    w[dst + REG_TYPE] = SCALAR_VALUE;
    markKnown(w, dst, insns.imm[i]!, insns.imm[i + 1]!);
    env.diag?.modEnd();
    return 0;
  }
  markKnownZero(w, dst);
  if (kind === BPF_PSEUDO_BTF_ID) {
    const type = aux.ptrType[i]!;
    w[dst + REG_TYPE] = type;
    if (baseType(type) === PTR_TO_MEM) {
      w[dst + REG_A] = aux.memSize[i]!;
    } else {
      w[dst + REG_A] = aux.btfIndex[i]!;
      w[dst + REG_B] = aux.btfID[i]!;
    }
  } else if (kind === BPF_PSEUDO_FUNC) {
    const refused = checkLoadFunction(env, dst);
    if (refused !== 0) return refused;
  } else {
    const index = aux.mapIndex[i]!;
    const isValue = kind === BPF_PSEUDO_MAP_VALUE || kind === BPF_PSEUDO_MAP_IDX_VALUE;
    if (isValue && env.usedMaps[index]!.type === BPF_MAP_TYPE_ARENA) {
      markUnknown(env, w, dst);
    } else if (isValue) {
      markKnown(w, dst, aux.mapOff[i]!, 0);
      w[dst + REG_TYPE] = PTR_TO_MAP_VALUE;
    } else {
      w[dst + REG_TYPE] = CONST_PTR_TO_MAP;
    }
    w[dst + REG_A] = index;
  }
  env.diag?.modEnd();
  return 0;
}

/** Registers 0 to 5 are lost over a call. */
export function clearCallerSaved(env: VerifierEnv, frame: number): void {
  for (let i = 0; i < CALLER_SAVED_REGS; i++) {
    markNotInit(env, env.w, regAt(frame, i));
    env.scratchedRegs |= 1 << i;
  }
}

function checkLoadPacket(env: VerifierEnv): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const st = env.cur;
  if (!mayAccessSkb(env.resolvedProgType)) {
    return refuse(env, 'BPF_LD_[ABS|IND] instructions not allowed for this program type', -EINVAL);
  }
  for (let f = st.curframe; f > 0; f--) {
    if ((w[st.frameAt[f]! + F_FLAGS]! & FF_IN_CALLBACK) !== 0) return refuse(env, 'cannot use BPF_LD_[ABS|IND] within callback', -EINVAL);
  }
  let error = checkSource(env, 6);
  if (error === 0) error = checkResourceLeak(env, false, true, 'BPF_LD_[ABS|IND]');
  if (error !== 0) return error;
  const ctx = curReg(env, 6);
  if (w[ctx + REG_TYPE] !== PTR_TO_CTX) return refuse(env, 'at the time of BPF_LD_ABS|IND R6 != pointer to skb', -EINVAL);
  if ((insns.code[i]! & 0xe0) === BPF_IND) {
    error = checkSource(env, insns.src[i]!);
    if (error !== 0) return error;
  }
  error = checkPtrOff(env, ctx, 6, false);
  if (error < 0) return error;
  const frame = curFrame(st);
  if (env.diag !== undefined) for (let r = 1; r < CALLER_SAVED_REGS; r++) env.diag.recordScrub(regAt(frame, r), DIAG_MOD_CALLER_SAVED);
  env.diag?.modBegin(regAt(frame, 0), -1, DIAG_MOD_WRITE);
  clearCallerSaved(env, frame);
  markUnknown(env, w, regAt(frame, 0));
  env.diag?.modEnd();
  if (st.curframe === 0) return 0;
  env.scratchedRegs |= 1;
  if (pushStack(env, i + 1, i, false) === undefined) return env.pushError;
  markKnownZero(w, regAt(frame, 0));
  error = prepareFuncExit(env);
  if (error !== 0) return error;
  env.insnIdx--;
  return 0;
}

// ---- jumps

/** An exit of a function, of the program, or an exception. */
export function processExit(env: VerifierEnv, isException: boolean): number {
  const st = env.cur;
  const { w } = env;
  const error = checkResourceLeak(
    env, isException, isException || st.curframe === 0, isException ? 'bpf_throw' : 'BPF_EXIT instruction in main prog',
  );
  if (error !== 0) return error;
  if (isException) return PATH_ENDS;
  if (st.curframe > 0) {
    const left = prepareFuncExit(env);
    if (left !== 0) return left;
    env.printNextState = true;
    return INDEX_SET;
  }
  const frame = curFrame(st);
  const flags = w[frame + F_FLAGS]!;
  const isGlobal = w[frame + F_SUBPROG] !== 0 && (flags & (FF_IN_ASYNC_CALLBACK | FF_IN_EXCEPTION_CALLBACK)) === 0;
  const refused = isGlobal ? checkGlobalReturn(env) : checkReturnCode(env, 0, 'R0');
  return refused !== 0 ? refused : PATH_ENDS;
}

function checkIndirectJump(env: VerifierEnv): number {
  const { w } = env;
  const regno = env.insns.dst[env.insnIdx]!;
  const reg = curReg(env, regno);
  if (w[reg + REG_TYPE] !== PTR_TO_INSN) return refuse(env, `R${regno} has type ${regTypeName(w[reg + REG_TYPE]!)}, expected PTR_TO_INSN`, -EINVAL);
  const map = env.mapTable[w[reg + REG_A]!]!;
  const low = umin(w, reg);
  const high = umax(w, reg);
  if (low > 0xffffffff * 8) return refuse(env, `the sum of R${regno} umin_value ${low} is too big`, -34);
  if (high > 0xffffffff * 8) return refuse(env, `the sum of R${regno} umax_value ${high} is too big`, -34);
  const first = Math.floor(low / 8);
  const last = Math.floor(high / 8);
  if (last >= map.maxEntries) {
    return refuse(env, `R${regno} points to outside of jump table: [${first},${last}] max_entries ${map.maxEntries}`, -EINVAL);
  }
  const targets = map.insnTargets?.(first, last);
  if (targets === undefined || typeof targets === 'number') return targets ?? -EINVAL;
  const unique = [...new Set(targets)].toSorted((a, b) => a - b);
  if (unique.length === 0) return refuse(env, `register R${regno} doesn't point to any offset in map id=${map.id}`, -EINVAL);
  for (let k = 0; k < unique.length - 1; k++) {
    env.aux.flags[unique[k]!]! |= AUX_INDIRECT_TARGET;
    if (pushStack(env, unique[k]!, env.insnIdx, env.cur.speculative) === undefined) return env.pushError;
  }
  env.insnIdx = unique.at(-1)!;
  env.aux.flags[env.insnIdx]! |= AUX_INDIRECT_TARGET;
  return INDEX_SET;
}

function checkCall(env: VerifierEnv): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const kind = insns.src[i]!;
  if (env.cur.activeLocks !== 0) {
    const isHelper = kind === 0 && insns.imm[i] !== BPF_FUNC_spin_unlock && insns.imm[i] !== BPF_FUNC_kptr_xchg;
    if (isHelper || (kind === BPF_PSEUDO_KFUNC_CALL && !isKfuncAllowedUnderLock(env, insns.imm[i]!, insns.off[i]!))) {
      env.log.write('function calls are not allowed while holding a lock\n');
      env.diag?.ctxActive(
        i, 'function call', DIAG_CONTEXT_LOCK, 'Release the BPF spin lock before making this call, or move the call outside the locked region.',
      );
      return -EINVAL;
    }
  }
  env.scratchedRegs |= 1;
  const frame = curFrame(env.cur);
  if (incomingStackArgs(env.subprogs[w[frame + F_SUBPROG]!]!.argCount) > 0) w[frame + F_FLAGS]! |= FF_NO_STACK_ARG_LOAD;
  if (kind === BPF_PSEUDO_CALL) return checkFuncCall(env);
  if (kind === BPF_PSEUDO_KFUNC_CALL) return checkKfuncCall(env);
  return checkHelperCall(env);
}

function checkJump(env: VerifierEnv): number {
  const code = env.insns.code[env.insnIdx]!;
  env.jmpsProcessed++;
  switch (code & 0xf0) {
    case BPF_CALL:
      return checkCall(env);
    case BPF_JA:
      if ((code & 8) !== 0) return checkIndirectJump(env);
      env.insnIdx += jumpOffset(env, env.insnIdx) + 1;
      return INDEX_SET;
    case BPF_EXIT:
      return processExit(env, false);
    default:
      return checkCondJump(env);
  }
}

function noteSeen(env: VerifierEnv): void {
  if (!env.cur.speculative) env.aux.seen[env.insnIdx] = env.passCount;
}

function checkInsn(env: VerifierEnv): number {
  const code = env.insns.code[env.insnIdx]!;
  switch (code & 7) {
    case BPF_ALU: case BPF_ALU64:
      return checkALU(env);
    case BPF_LDX:
      return checkLoad(env, false, (code & 0xe0) === BPF_MEMSX, true, 'ldx');
    case BPF_STX:
      return (code & 0xe0) === BPF_ATOMIC ? checkAtomic(env) : checkStore(env, false);
    case BPF_ST:
      return checkStoreImmediate(env);
    case BPF_JMP: case BPF_JMP32:
      return checkJump(env);
    default: {
      const mode = code & 0xe0;
      if (mode === BPF_ABS || mode === BPF_IND) return checkLoadPacket(env);
      if (mode !== BPF_IMM) return 0;
      const error = checkLoadImmediate(env);
      if (error !== 0) return error;
      env.insnIdx++;
      noteSeen(env);
      return 0;
    }
  }
}

// ---- the loop

function isBranch(code: number): boolean {
  const cls = code & 7;
  const op = code & 0xf0;
  return (cls === BPF_JMP || cls === BPF_JMP32) && op !== BPF_JA && op !== BPF_CALL && op !== BPF_EXIT && op <= BPF_JCOND;
}

/** Tells the diagnostics which way the branch before this instruction went. */
function recordBranch(env: VerifierEnv, previous: number): void {
  if (env.cur.speculative || previous < 0 || previous >= env.insns.count || !isBranch(env.insns.code[previous]!)) return;
  const target = previous + jumpOffset(env, previous) + 1;
  if (target === previous + 1) return;
  if (env.insnIdx === target) env.diag!.recordBranch(previous, true);
  else if (env.insnIdx === previous + 1) env.diag!.recordBranch(previous, false);
}

function logInsn(env: VerifierEnv): void {
  const { log } = env;
  const st = env.cur;
  if ((log.level & BPF_LOG_LEVEL2) !== 0 && env.printNextState) {
    log.write(`\nfrom ${env.prevInsnIdx} to ${env.insnIdx}${st.speculative ? ' (speculative execution)' : ''}:`);
    printVerifierState(env, st, st.curframe, true);
    env.printNextState = false;
  }
  if (!log.verbose) return;
  if (env.scratchedRegs !== 0 || env.scratchedSlotsLo !== 0 || env.scratchedSlotsHi !== 0) printInsnState(env, st, st.curframe);
  verboseLine(env, env.insnIdx, '; ');
  const start = log.endPos;
  log.write(`${env.insnIdx}: `);
  log.write(`${insnText(env, env.insnIdx)}\n`);
  env.prevInsnPrintPos = log.endPos - start;
  env.prevLogPos = log.endPos;
}

function logSafe(env: VerifierEnv): void {
  if (!env.log.verbose) return;
  if (env.printNextState) {
    env.log.write(`\nfrom ${env.prevInsnIdx} to ${env.insnIdx}${env.cur.speculative ? ' (speculative execution)' : ''}: safe\n`);
  } else {
    env.log.write(`${env.insnIdx}: safe\n`);
  }
}

/** Follows all paths from the current state; 0 when all are safe. */
function doCheck(env: VerifierEnv): number {
  const { flags, aluState } = env.aux;
  const count = env.insns.count;
  const resetLog = (env.log.level & BPF_LOG_LEVEL2) === 0;
  const logs = env.log.level !== 0;
  const st = env.cur;
  let previous = -1;
  env.printNextState = false;
  for (;;) {
    env.historyEntry = -1;
    env.prevInsnIdx = previous;
    const i = env.insnIdx;
    if (i >= count) {
      env.log.write(`invalid insn idx ${i} insn_cnt ${count}\n`);
      return -EFAULT;
    }
    accountInsn(env, curFrame(st));
    if (env.insnProcessed > COMPLEXITY_LIMIT_INSNS) {
      env.log.write(`BPF program is too large. Processed ${env.insnProcessed} insn\n`);
      return -E2BIG;
    }
    st.lastInsnIdx = previous;
    st.insnIdx = i;
    if (env.diag !== undefined) recordBranch(env, previous);
    let ends = false;
    if ((flags[i]! & AUX_PRUNE_POINT) !== 0) {
      const visited = isStateVisited(env, i);
      if (visited < 0) return visited;
      if (visited === 1) {
        logSafe(env);
        ends = true;
      }
    }
    if (!ends) {
      if ((flags[i]! & AUX_JMP_POINT) !== 0) {
        const error = pushJmpHistory(env, 0, 0, 0);
        if (error !== 0) return error;
      }
      if (logs) logInsn(env);
      noteSeen(env);
      previous = i;
      if (st.speculative && (flags[i]! & AUX_NOSPEC) !== 0) {
        ends = true;
      } else {
        const result = checkInsn(env);
        if (result < 0) {
          const recoverable = result === -EPERM || result === -EACCES || result === -EINVAL;
          if (!recoverable || !st.speculative) return result;
          flags[i]! |= AUX_NOSPEC;
          aluState[i] = 0;
          ends = true;
        } else if (result === PATH_ENDS) {
          ends = true;
        } else {
          if (result === 0) env.insnIdx++;
          ends = st.speculative && (flags[i]! & AUX_NOSPEC_RESULT) !== 0;
        }
      }
    }
    if (!ends) continue;
    accountPath(env);
    markStateScratched(env);
    const error = updateBranchCounts(env, st);
    if (error !== 0) return error;
    if (popStack(env, resetLog) < 0) return 0;
    previous = env.poppedPrevInsn;
    env.printNextState = true;
  }
}

/** Sets up the argument registers of a function from its BTF; 0 or `-errno`. */
function setFunctionArgs(env: VerifierEnv, subprog: number, frame: number): number {
  const { w } = env;
  const sub = env.subprogs[subprog]!;
  for (let i = 1; i <= Math.min(sub.argCount, MAX_BPF_FUNC_REG_ARGS); i++) {
    const arg = sub.args[i - 1]!;
    const reg = regAt(frame, i);
    const base = baseType(arg.type);
    if (arg.type === ARG_PTR_TO_CTX) {
      w[reg + REG_TYPE] = PTR_TO_CTX;
      markKnownZero(w, reg);
    } else if (arg.type === ARG_ANYTHING || base === ARG_PTR_TO_ARENA) {
      markUnknown(env, w, reg);
    } else if (arg.type === ARG_PTR_TO_DYNPTR) {
      markDynptrReg(w, reg, BPF_DYNPTR_TYPE_LOCAL, true, ++env.idGen, 0);
    } else if (base === ARG_PTR_TO_MEM) {
      w[reg + REG_TYPE] = PTR_TO_MEM | (arg.type & (PTR_MAYBE_NULL | PTR_UNTRUSTED | MEM_RDONLY));
      markKnownZero(w, reg);
      w[reg + REG_A] = arg.memSize;
      if ((arg.type & PTR_MAYBE_NULL) !== 0) w[reg + REG_ID] = ++env.idGen;
    } else if (base === ARG_PTR_TO_BTF_ID) {
      const kernel = env.ext.kernelBTF();
      w[reg + REG_TYPE] = PTR_TO_BTF_ID | (arg.type & (PTR_MAYBE_NULL | PTR_UNTRUSTED | PTR_TRUSTED));
      markKnownZero(w, reg);
      w[reg + REG_A] = kernel === undefined ? 0 : env.btfIndexOf(kernel);
      w[reg + REG_B] = arg.btfID;
      w[reg + REG_ID] = ++env.idGen;
    } else {
      env.log.write(`verifier bug: unhandled arg#${i} type ${arg.type}\n`);
      return -EFAULT;
    }
  }
  return 0;
}

function returnsVoid(env: VerifierEnv, subprog: number): boolean {
  const btf = env.btf!.btf;
  return btf.skipModifiers(btf.type(btf.type(env.subprogs[subprog]!.typeID))) === 0;
}

function prepareFunction(env: VerifierEnv, subprog: number, frame: number): number {
  const { w } = env;
  const sub = env.subprogs[subprog]!;
  if (env.log.verbose) env.log.write(`Validating ${subprogName(env, subprog)}() func#${subprog}...\n`);
  const error = prepareFuncArgs(env, subprog);
  if (error !== 0) return error;
  if (sub.isExceptionCallback) {
    w[frame + F_FLAGS]! |= FF_IN_EXCEPTION_CALLBACK;
    if (returnsVoid(env, subprog)) return refuse(env, 'exception cb cannot return void', -EINVAL);
    if (sub.argCount !== 1 || sub.args[0]!.type !== ARG_ANYTHING) {
      return refuse(env, 'exception cb only supports single integer argument', -EINVAL);
    }
  }
  const set = setFunctionArgs(env, subprog, frame);
  if (set !== 0) return set;
  if (env.load.type === BPF_PROG_TYPE_EXT && sub.argCount > MAX_BPF_FUNC_REG_ARGS) {
    return refuse(env, `freplace programs with >${MAX_BPF_FUNC_REG_ARGS} args not supported yet`, -EINVAL);
  }
  return 0;
}

function prepareMain(env: VerifierEnv, frame: number): void {
  const { w } = env;
  const sub = env.subprogs[0]!;
  if (env.funcInfoCount > 0) {
    const error = prepareFuncArgs(env, 0);
    if (error !== 0 || sub.argCount !== 1 || sub.args[0]!.type !== ARG_PTR_TO_CTX) {
      sub.unreliable = true;
      sub.argCount = 1;
      sub.stackArgCount = 0;
    }
  }
  const ctx = regAt(frame, 1);
  w[ctx + REG_TYPE] = PTR_TO_CTX;
  markKnownZero(w, ctx);
}

function checkFunction(env: VerifierEnv, subprog: number, isSleepable: boolean): number {
  const st = env.cur;
  env.prevLineInfo = undefined;
  env.passCount++;
  st.curframe = 0;
  st.parent = undefined;
  st.equalState = undefined;
  st.branches = 1;
  st.speculative = false;
  st.inSleepable = isSleepable;
  st.acquiredRefs = 0;
  st.activeLocks = 0;
  st.activePreemptLocks = 0;
  st.activeIRQID = 0;
  st.activeLockID = 0;
  st.activeLockPtr = 0;
  st.activeRCULocks = 0;
  st.histCount = 0;
  st.dfsDepth = 0;
  st.callbackUnrollDepth = 0;
  st.mayGotoDepth = 0;
  const frame = initFrame(env, 0, BPF_MAIN_FUNC, subprog);
  st.firstInsnIdx = env.subprogs[subprog]!.start;
  st.lastInsnIdx = -1;
  if (subprog !== 0 || env.load.type === BPF_PROG_TYPE_EXT) {
    const error = prepareFunction(env, subprog, frame);
    if (error !== 0) return error;
  } else {
    prepareMain(env, frame);
  }
  if (subprog === 0 && env.load.type === BPF_PROG_TYPE_STRUCT_OPS) {
    for (const arg of contextArguments(env)) {
      if (!arg.refcounted) continue;
      const id = acquireReference(env, 0, 0);
      if (id < 0) return id;
      arg.refID = id;
    }
  }
  return doCheck(env);
}

function checkCommon(env: VerifierEnv, subprog: number, isSleepable: boolean): number {
  const sub = env.subprogs[subprog]!;
  const before = sub.insnsTotal;
  const processed = env.insnProcessed;
  env.explored.reset(env.insns.count);
  const error = checkFunction(env, subprog, isSleepable);
  accountPath(env);
  if (error === 0) {
    if ((env.log.level & BPF_LOG_LEVEL2) === 0) env.log.reset(0);
    env.diag?.eventLogRestore(0);
  }
  dropPending(env);
  freeStates(env);
  sub.insnsTotal = before + (env.insnProcessed - processed);
  return error;
}

/** Checks the main program; 0 or `-errno`. */
export function doCheckMain(env: VerifierEnv): number {
  env.insnIdx = 0;
  return checkCommon(env, 0, env.sleepable);
}

/** Checks every global function that was reached, in the contexts in which it was; 0 or `-errno`. */
export function doCheckSubprogs(env: VerifierEnv): number {
  if (env.funcInfoCount === 0) return 0;
  if (env.exceptionCallbackSubprog !== 0) env.subprogs[env.exceptionCallbackSubprog]!.called[env.sleepable ? 1 : 0] = true;
  for (;;) {
    let checked = 0;
    for (let i = 1; i < env.subprogCount; i++) {
      if (!isGlobalSubprog(env, i)) continue;
      const sub = env.subprogs[i]!;
      for (let context = 0; context < 2; context++) {
        if (!sub.called[context]! || sub.verified[context]!) continue;
        env.insnIdx = sub.start;
        const error = checkCommon(env, i, context === 1);
        if (error !== 0) return error;
        if (env.log.verbose) env.log.write(`Func#${i} ('${subprogName(env, i)}') is safe for any args that match its prototype\n`);
        sub.verified[context] = true;
        checked++;
      }
    }
    if (checked === 0) return 0;
  }
}
