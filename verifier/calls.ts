/**
 * @module verifier/calls
 * Calls between functions of the program: static ones are entered, global ones assumed valid; callbacks of helpers; returns; and the
 * depth of the stack over all of it. Reproduces `check_func_call`, `push_callback_call`, the `set_*_callback_state` functions,
 * `prepare_func_exit` and `check_max_stack_depth` of kernel/bpf/verifier.c.
 */
import { BPF_RB_ROOT } from '../btf/record.ts';
import { E2BIG, EFAULT, EINVAL, ENOTSUPP } from '../isa/errno.ts';
import {
  BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
  BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_RHASH, BTF_KIND_STRUCT,
} from '../isa/uapi.ts';
import { DIAG_CONTEXT_LOCK, DIAG_MOD_CALLER_SAVED, DIAG_MOD_WRITE } from './diagnostics_port.ts';
import { invalidateOutgoingStackArgs, scrubCallerSaved } from './caller_saved.ts';
import { processExit } from './exits.ts';
import { markDynptrReg } from './dynptr.ts';
import { BPF_DYNPTR_TYPE_LOCAL } from './dynptr_types.ts';
import { findSubprog, type VerifierEnv } from './env.ts';
import { checkFuncArgMatch } from './subprog_args.ts';
import { markGraphNode, setNonOwning } from './graph.ts';
import { recordFind, regRecord } from './map_record.ts';
import { BPF_MAIN_FUNC, COMPLEXITY_LIMIT_JMP_SEQ, initFrame, pushStack } from './paths.ts';
import { printVerifierState } from './print.ts';
import { clearAllPktPointers, inSleepableContext, nonSleepableDescription } from './refs.ts';
import { markKnownZero, markNotInit, markUnknown } from './regs.ts';
import { CONST_PTR_TO_MAP, MAX_CALL_FRAMES, PTR_TO_BTF_ID, PTR_TO_MAP_KEY, PTR_TO_MAP_VALUE, SCALAR_VALUE } from './regtypes.ts';
import { incomingStackArgs } from './stack.ts';
import {
  copyReg, curFrame, F_ASYNC_ENTRY_CNT, F_CALLBACK_DEPTH, F_FLAGS, F_FRAMENO, F_RET_MAX, F_RET_MIN, F_SUBPROG, FF_IN_ASYNC_CALLBACK,
  FF_IN_CALLBACK, REG_A, REG_B, REG_ID, REG_MAP_UID, REG_TYPE, REG_VAR_LO, regAt,
} from './state.ts';
import { isGlobalSubprog, subprogName, subprogReturnsVoid } from './subprogs.ts';

const S32_MIN = -0x80000000;
const S32_MAX = 0x7fffffff;

/** Fills the callee's registers; offsets of caller's and callee's frames. 0 or `-errno`. */
export type SetCalleeState = (env: VerifierEnv, caller: number, callee: number, insn: number) => number;

function setRange(w: Int32Array, callee: number, flag: number, min: number, max: number): void {
  w[callee + F_FLAGS]! |= flag;
  w[callee + F_RET_MIN] = min;
  w[callee + F_RET_MAX] = max;
}

function forgetFrom(env: VerifierEnv, callee: number, first: number): void {
  for (let i = first; i <= 5; i++) markNotInit(env, env.w, regAt(callee, i));
}

function setMapReg(w: Int32Array, reg: number, type: number, map: number, uid: number): void {
  w[reg + REG_TYPE] = type;
  markKnownZero(w, reg);
  w[reg + REG_A] = map;
  w[reg + REG_MAP_UID] = uid;
}

const FOR_EACH_MAPS: ReadonlySet<number> = new Set([
  BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_HASH,
  BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_RHASH,
]);

/** `bpf_for_each_map_elem`: map, key, value, context. */
export const setMapElemCallback: SetCalleeState = (env, caller, callee, insn) => {
  const { w } = env;
  const map = env.mapTable[env.aux.mapIndex[insn]!]!;
  if (!FOR_EACH_MAPS.has(map.type)) {
    env.log.write('callback function not allowed for map\n');
    return -ENOTSUPP;
  }
  const from = regAt(caller, 1);
  copyReg(w, regAt(callee, 1), w, from);
  setMapReg(w, regAt(callee, 2), PTR_TO_MAP_KEY, w[from + REG_A]!, w[from + REG_MAP_UID]!);
  setMapReg(w, regAt(callee, 3), PTR_TO_MAP_VALUE, w[from + REG_A]!, w[from + REG_MAP_UID]!);
  w[regAt(callee, 3) + REG_ID] = ++env.idGen;
  copyReg(w, regAt(callee, 4), w, regAt(caller, 3));
  forgetFrom(env, callee, 5);
  setRange(w, callee, FF_IN_CALLBACK, 0, 1);
  return 0;
};

/** `bpf_loop`: index, context. */
export const setLoopCallback: SetCalleeState = (env, caller, callee) => {
  const { w } = env;
  w[regAt(callee, 1) + REG_TYPE] = SCALAR_VALUE;
  copyReg(w, regAt(callee, 2), w, regAt(caller, 3));
  forgetFrom(env, callee, 3);
  setRange(w, callee, FF_IN_CALLBACK, 0, 1);
  return 0;
};

function setMapTriple(env: VerifierEnv, callee: number, map: number, uid: number): void {
  const { w } = env;
  setMapReg(w, regAt(callee, 1), CONST_PTR_TO_MAP, map, uid);
  setMapReg(w, regAt(callee, 2), PTR_TO_MAP_KEY, map, uid);
  setMapReg(w, regAt(callee, 3), PTR_TO_MAP_VALUE, map, uid);
  w[regAt(callee, 3) + REG_ID] = ++env.idGen;
  forgetFrom(env, callee, 4);
}

/** `bpf_timer_set_callback` and work queues: map, key, value. */
export const setTimerCallback: SetCalleeState = (env, caller, callee) => {
  const from = regAt(caller, 1);
  setMapTriple(env, callee, env.w[from + REG_A]!, env.w[from + REG_MAP_UID]!);
  setRange(env.w, callee, FF_IN_ASYNC_CALLBACK, 0, 0);
  return 0;
};

/** `bpf_task_work_schedule_*`: map, key, value of the third argument's map. */
export const setTaskWorkCallback: SetCalleeState = (env, caller, callee) => {
  const from = regAt(caller, 3);
  setMapTriple(env, callee, env.w[from + REG_A]!, env.w[from + REG_MAP_UID]!);
  setRange(env.w, callee, FF_IN_ASYNC_CALLBACK, S32_MIN, S32_MAX);
  return 0;
};

/** `bpf_find_vma`: task, area, context. */
export const setFindVMACallback: SetCalleeState = (env, caller, callee) => {
  const { w } = env;
  const kernel = env.ext.kernelBTF();
  copyReg(w, regAt(callee, 1), w, regAt(caller, 1));
  const vma = regAt(callee, 2);
  w[vma + REG_TYPE] = PTR_TO_BTF_ID;
  markKnownZero(w, vma);
  w[vma + REG_A] = kernel === undefined ? 0 : env.btfIndexOf(kernel);
  w[vma + REG_B] = kernel === undefined ? 0 : Math.max(0, kernel.btf.findByNameKind('vm_area_struct', BTF_KIND_STRUCT));
  copyReg(w, regAt(callee, 3), w, regAt(caller, 4));
  forgetFrom(env, callee, 4);
  setRange(w, callee, FF_IN_CALLBACK, 0, 1);
  return 0;
};

/** `bpf_user_ringbuf_drain`: dynptr, context. */
export const setUserRingbufCallback: SetCalleeState = (env, caller, callee) => {
  const { w } = env;
  markNotInit(env, w, regAt(callee, 0));
  markDynptrReg(w, regAt(callee, 1), BPF_DYNPTR_TYPE_LOCAL, true, ++env.idGen, 0);
  copyReg(w, regAt(callee, 2), w, regAt(caller, 3));
  forgetFrom(env, callee, 3);
  setRange(w, callee, FF_IN_CALLBACK, 0, 1);
  return 0;
};

/** `bpf_rbtree_add`: two nodes. */
export const setRBTreeAddCallback: SetCalleeState = (env, caller, callee) => {
  const { w } = env;
  const tree = regAt(caller, 1);
  const field = recordFind(regRecord(env, tree), w[tree + REG_VAR_LO]!, BPF_RB_ROOT);
  if (field?.root === undefined || field.root.valueTypeID === 0) return -EFAULT;
  for (const regno of [1, 2]) {
    markGraphNode(env, regAt(callee, regno), field.root);
    setNonOwning(env, regAt(callee, regno));
  }
  forgetFrom(env, callee, 3);
  setRange(w, callee, FF_IN_CALLBACK, 0, 1);
  return 0;
};

const setCallee: SetCalleeState = (env, caller, callee) => {
  const { w } = env;
  for (let i = 1; i <= 5; i++) copyReg(w, regAt(callee, i), w, regAt(caller, i));
  return 0;
};

/** Opens a frame for `subprog` above the current one and enters it; 0 or `-errno`. */
function enterFunction(env: VerifierEnv, subprog: number, callsite: number, setState: SetCalleeState): number {
  const st = env.cur;
  if (st.curframe + 1 >= MAX_CALL_FRAMES) {
    env.log.write(`the call stack of ${st.curframe + 2} frames is too deep\n`);
    return -E2BIG;
  }
  const callee = initFrame(env, st.curframe + 1, callsite, subprog);
  const error = setState(env, curFrame(st), callee, callsite);
  if (error !== 0) return error;
  st.curframe++;
  return 0;
}

/** The caller's arguments fit the BTF of the function; 0, or `-EINVAL` where BTF does not tell (not fatal for static ones). */
function checkSubprogCall(env: VerifierEnv, subprog: number): number {
  if (env.funcInfoCount === 0) return -EINVAL;
  const sub = env.subprogs[subprog]!;
  if (sub.typeID === 0) return -EFAULT;
  if (sub.unreliable) return -EINVAL;
  const error = checkFuncArgMatch(env, subprog);
  if (error !== 0) sub.unreliable = true;
  return error;
}

/** A call that will run callback `subprog`: now and then (synchronous), or some time (asynchronous). 0 or `-errno`. */
export function pushCallbackCall(env: VerifierEnv, subprog: number, setState: SetCalleeState, isAsync: boolean, isSleepable: boolean): number {
  const { w } = env;
  const st = env.cur;
  const insn = env.insnIdx;
  const matched = checkSubprogCall(env, subprog);
  if (matched === -EFAULT) return matched;
  const sub = env.subprogs[subprog]!;
  sub.isCallback = true;
  if (isAsync) return pushAsyncCallback(env, subprog, setState, isSleepable);
  // The queued state is the current one with the callback entered; it is built in place, put aside, and taken back.
  const caller = curFrame(st);
  const depth = w[caller + F_CALLBACK_DEPTH]!;
  const pushed = pushStack(env, sub.start, insn, false);
  if (pushed === undefined) return env.pushError;
  const error = enterFunction(env, subprog, insn, setState);
  if (error !== 0) return error;
  w[caller + F_CALLBACK_DEPTH] = depth + 1;
  st.callbackUnrollDepth++;
  env.pool.replace(pushed);
  st.callbackUnrollDepth--;
  st.curframe--;
  w[caller + F_CALLBACK_DEPTH] = 0;
  return 0;
}

function pushAsyncCallback(env: VerifierEnv, subprog: number, setState: SetCalleeState, isSleepable: boolean): number {
  const { w } = env;
  const st = env.cur;
  const sub = env.subprogs[subprog]!;
  sub.isAsyncCallback = true;
  if (env.pending.length + 1 > COMPLEXITY_LIMIT_JMP_SEQ) {
    env.log.write(`The sequence of ${env.pending.length + 1} jumps is too complex for async cb.\n`);
    return -E2BIG;
  }
  // Built in the frame behind the current one, then saved as a state of its own with this frame only.
  const caller = curFrame(st);
  const logPos = env.log.endPos;
  const diagPos = env.diag === undefined ? 0 : env.diag.eventLogSave();
  const place = st.curframe + 1 < MAX_CALL_FRAMES ? st.curframe + 1 : -1;
  if (place < 0) return -E2BIG;
  const callee = initFrame(env, place, BPF_MAIN_FUNC, subprog);
  w[callee + F_FRAMENO] = 0;
  w[regAt(callee, 10) + REG_A] = 0;
  w[callee + F_ASYNC_ENTRY_CNT] = w[caller + F_ASYNC_ENTRY_CNT]! + 1;
  const error = setState(env, caller, callee, env.insnIdx);
  const queued = env.pool.saveFrame(callee);
  queued.branches = 1;
  queued.inSleepable = isSleepable;
  queued.queuedInsn = sub.start;
  queued.queuedPrev = env.insnIdx;
  queued.queuedLogPos = logPos;
  queued.queuedDiagPos = diagPos;
  env.pending.push(queued);
  return error;
}

function callGlobal(env: VerifierEnv, subprog: number, matched: number): number {
  const { w } = env;
  const insn = env.insnIdx;
  const sub = env.subprogs[subprog]!;
  const name = subprogName(env, subprog);
  if (env.cur.activeLocks !== 0) {
    env.log.write('global function calls are not allowed while holding a lock,\nuse static function instead\n');
    env.diag?.ctxActive(
      insn, `global function ${name}()`, DIAG_CONTEXT_LOCK, 'Release the lock before calling the global function, or use a static function instead.',
    );
    return -EINVAL;
  }
  if (sub.mightSleep && !inSleepableContext(env)) {
    env.log.write(`sleepable global function ${name}() called in ${nonSleepableDescription(env)}\n`);
    env.diag?.ctxForbidden(
      insn, `sleepable global function ${name}()`, 'Move the call outside the critical section, or use a non-sleepable function.',
    );
    return -EINVAL;
  }
  if (matched !== 0) {
    env.log.write(`Caller passes invalid args into func#${subprog} ('${name}')\n`);
    return matched;
  }
  if (env.log.verbose) env.log.write(`Func#${subprog} ('${name}') is global and assumed valid.\n`);
  sub.called |= inSleepableContext(env) ? 2 : 1;
  const isVoid = subprogReturnsVoid(env, subprog);
  if (sub.changesPktData) clearAllPktPointers(env);
  const frame = curFrame(env.cur);
  const r0 = regAt(frame, 0);
  if (isVoid) env.diag?.recordScrub(r0, DIAG_MOD_CALLER_SAVED);
  else env.diag?.modBegin(r0, -1, DIAG_MOD_WRITE);
  scrubCallerSaved(env, frame);
  invalidateOutgoingStackArgs(env, frame);
  if (!isVoid) {
    markUnknown(env, w, r0);
    env.diag?.modEnd();
  }
  if (!sub.mightThrow) return 0;
  if (pushStack(env, insn + 1, insn, false) === undefined) {
    env.log.write('failed to push state for global subprog exception path\n');
    return env.pushError;
  }
  return processExit(env, true);
}

/** A call of a function of the program; 0, the code of a path's end, or `-errno`. */
export function checkFuncCall(env: VerifierEnv): number {
  const { w } = env;
  const st = env.cur;
  const insn = env.insnIdx;
  const target = insn + env.insns.imm[insn]! + 1;
  const subprog = findSubprog(env, target);
  if (subprog < 0) {
    env.log.write(`verifier bug: target of func call at insn ${target} is not a program (subprog < 0)\n`);
    return -EFAULT;
  }
  const matched = checkSubprogCall(env, subprog);
  if (matched === -EFAULT) return matched;
  if (isGlobalSubprog(env, subprog)) return callGlobal(env, subprog, matched);
  const caller = curFrame(st);
  const callerInfo = env.subprogs[w[caller + F_SUBPROG]!]!;
  const args = incomingStackArgs(callerInfo.argCount) + incomingStackArgs(env.subprogs[subprog]!.argCount);
  if (args > callerInfo.stackArgCount) callerInfo.stackArgCount = args;
  const error = enterFunction(env, subprog, insn, setCallee);
  if (error !== 0) return error;
  env.diag?.recordScrub(regAt(caller, 0), DIAG_MOD_CALLER_SAVED);
  scrubCallerSaved(env, caller);
  env.insnIdx = env.subprogs[subprog]!.start - 1;
  if (env.log.verbose) {
    env.log.write('caller:\n');
    printVerifierState(env, st, w[caller + F_FRAMENO]!, true);
    env.log.write('callee:\n');
    printVerifierState(env, st, st.curframe, true);
  }
  return 0;
}
