/**
 * @module verifier/do_check
 * The main loop: one instruction after the other along every path, from the main program and from every global function.
 * Reproduces `do_check`, `do_check_insn`, `do_check_common` and the exits of kernel/bpf/verifier.c; what single instructions do is in
 * alu.ts, branches.ts, mem_access.ts, calls.ts.
 */
import { E2BIG, EACCES, EFAULT, EINVAL, EPERM, ERANGE } from '../isa/errno.ts';
import {
  BPF_ABS, BPF_ALU, BPF_ALU64, BPF_ATOMIC, BPF_CALL, BPF_DW, BPF_EXIT, BPF_FUNC_kptr_xchg, BPF_FUNC_spin_unlock, BPF_IMM, BPF_IND, BPF_JA,
  BPF_JCOND, BPF_JMP, BPF_JMP32, BPF_LDX, BPF_MAP_TYPE_ARENA, BPF_MEMSX, BPF_PROG_TYPE_EXT, BPF_PROG_TYPE_STRUCT_OPS, BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_IDX_VALUE, BPF_PSEUDO_MAP_VALUE, BPF_ST, BPF_STX, BTF_FUNC_STATIC,
} from '../isa/uapi.ts';
import { checkALU } from './alu.ts';
import { pushJmpHistory } from './backtrack.ts';
import { checkCondJump } from './branches.ts';
import { clearCallerSaved } from './caller_saved.ts';
import { checkFuncCall } from './calls.ts';
import { DIAG_CONTEXT_LOCK, DIAG_MOD_CALLER_SAVED, DIAG_MOD_WRITE } from './diagnostics_port.ts';
import { markDynptrReg } from './dynptr.ts';
import { BPF_DYNPTR_TYPE_LOCAL } from './dynptr_types.ts';
import { AUX_INDIRECT_TARGET, AUX_JMP_POINT, AUX_NOSPEC, AUX_NOSPEC_RESULT, AUX_PRUNE_POINT, findSubprog, type VerifierEnv } from './env.ts';
import { INDEX_SET, PATH_ENDS, processExit } from './exits.ts';
import { prepareFuncArgs } from './func_args.ts';
import { prepareFuncExit } from './func_exit.ts';
import { checkHelperCall } from './helper_calls.ts';
import { checkKfuncCall, isKfuncAllowedUnderLock } from './kfunc_calls.ts';
import { checkAtomic, checkLoad, checkStore, checkStoreImmediate } from './load_store.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import { contextArguments, mayAccessSkb } from './ops.ts';
import { instructionArrayTargets } from './insn_array.ts';
import { accountInsn, accountPath, BPF_MAIN_FUNC, dropPending, initFrame, popStack, pushStack } from './paths.ts';
import { insnText, markStateScratched, printInsnState, printVerifierState } from './print.ts';
import { checkPtrOff } from './ptr_off.ts';
import { acquireReference, checkResourceLeak } from './refs.ts';
import { checkDestination, checkSource, curReg, markKnown, markKnownZero, markUnknown, umax, umin } from './regs.ts';
import {
  ARG_ANYTHING, ARG_PTR_TO_ARENA, ARG_PTR_TO_BTF_ID, ARG_PTR_TO_CTX, ARG_PTR_TO_DYNPTR, ARG_PTR_TO_MEM, baseType, CALLER_SAVED_REGS,
  CONST_PTR_TO_MAP, MAX_BPF_FUNC_REG_ARGS, MEM_RDONLY, PTR_MAYBE_NULL, PTR_TO_BTF_ID, PTR_TO_CTX, PTR_TO_FUNC, PTR_TO_INSN, PTR_TO_MAP_VALUE,
  PTR_TO_MEM, PTR_TRUSTED, PTR_UNTRUSTED, regTypeName, SCALAR_VALUE,
} from './regtypes.ts';
import { verboseLine } from './source_line.ts';
import { incomingStackArgs } from './stack.ts';
import {
  curFrame, F_FLAGS, F_SUBPROG, FF_IN_CALLBACK, FF_IN_EXCEPTION_CALLBACK, FF_NO_STACK_ARG_LOAD, REG_A, REG_B, REG_ID, REG_TYPE, regAt,
} from './state.ts';
import { cleanState, freeStates, isStateVisited, updateBranchCounts } from './states.ts';
import { isGlobalSubprog, jumpOffset, subprogName, subprogReturnsVoid } from './subprogs.ts';

/** Most instructions that one load may process. */
export const COMPLEXITY_LIMIT_INSNS = 1_000_000;

function refuse(env: VerifierEnv, message: string, error: number = -EACCES): number {
  env.log.write(`${message}\n`);
  return error;
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

function checkIndirectJump(env: VerifierEnv): number {
  const { w } = env;
  const regno = env.insns.dst[env.insnIdx]!;
  const reg = curReg(env, regno);
  if (w[reg + REG_TYPE] !== PTR_TO_INSN) return refuse(env, `R${regno} has type ${regTypeName(w[reg + REG_TYPE]!)}, expected PTR_TO_INSN`, -EINVAL);
  const map = env.mapTable[w[reg + REG_A]!]!;
  const low = umin(w, reg);
  const high = umax(w, reg);
  if (low > 0xffffffff * 8) return refuse(env, `the sum of R${regno} umin_value ${low} is too big`, -ERANGE);
  if (high > 0xffffffff * 8) return refuse(env, `the sum of R${regno} umax_value ${high} is too big`, -ERANGE);
  const first = Math.floor(low / 8);
  const last = Math.floor(high / 8);
  if (last >= map.maxEntries) {
    return refuse(env, `R${regno} points to outside of jump table: [${first},${last}] max_entries ${map.maxEntries}`, -EINVAL);
  }
  const unique = instructionArrayTargets(map, first, last);
  if (typeof unique === 'number') return unique;
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
  const { observer } = env.ext;
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
      if (observer?.everyPath === true) {
        cleanState(env, st);
      } else {
        const visited = isStateVisited(env, i);
        if (visited < 0) return visited;
        if (visited === 1) {
          logSafe(env);
          ends = true;
        }
      }
    }
    if (!ends) {
      if ((flags[i]! & AUX_JMP_POINT) !== 0) {
        const error = pushJmpHistory(env, 0, 0, 0);
        if (error !== 0) return error;
      }
      if (logs) logInsn(env);
      noteSeen(env);
      observer?.visit(i, env.w, curFrame(st));
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

function prepareFunction(env: VerifierEnv, subprog: number, frame: number): number {
  const { w } = env;
  const sub = env.subprogs[subprog]!;
  if (env.log.verbose) env.log.write(`Validating ${subprogName(env, subprog)}() func#${subprog}...\n`);
  const error = prepareFuncArgs(env, subprog);
  if (error !== 0) return error;
  if (sub.isExceptionCallback) {
    w[frame + F_FLAGS]! |= FF_IN_EXCEPTION_CALLBACK;
    if (subprogReturnsVoid(env, subprog)) return refuse(env, 'exception cb cannot return void', -EINVAL);
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
  if (env.exceptionCallbackSubprog !== 0) env.subprogs[env.exceptionCallbackSubprog]!.called |= env.sleepable ? 2 : 1;
  for (;;) {
    let checked = 0;
    for (let i = 1; i < env.subprogCount; i++) {
      if (!isGlobalSubprog(env, i)) continue;
      const sub = env.subprogs[i]!;
      for (let context = 0; context < 2; context++) {
        if ((((sub.called & ~sub.verified) >> context) & 1) === 0) continue;
        env.insnIdx = sub.start;
        const error = checkCommon(env, i, context === 1);
        if (error !== 0) return error;
        if (env.log.verbose) env.log.write(`Func#${i} ('${subprogName(env, i)}') is safe for any args that match its prototype\n`);
        sub.verified |= 1 << context;
        checked++;
      }
    }
    if (checked === 0) return 0;
  }
}
