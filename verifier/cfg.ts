/**
 * @module verifier/cfg
 * The control-flow graph: every instruction is reachable, jumps stay inside, back-edges need privilege; where states are
 * compared and checkpointed; post-order and strongly connected components. Reproduces `kernel/bpf/cfg.c`.
 */
import { E2BIG, EFAULT, EINVAL } from '../isa/errno.ts';
import {
  BPF_ABS, BPF_CALL, BPF_DW, BPF_EXIT, BPF_FUNC_bind, BPF_FUNC_tail_call, BPF_IMM, BPF_IND, BPF_JA, BPF_JCOND, BPF_JMP, BPF_JMP32, BPF_LD,
  BPF_X, BPF_FUNC_for_each_map_elem, BPF_FUNC_find_vma, BPF_FUNC_loop, BPF_FUNC_user_ringbuf_drain, BPF_FUNC_timer_set_callback,
} from '../isa/uapi.ts';
import {
  AUX_CALLS_CALLBACK, AUX_FORCE_CHECKPOINT, AUX_JMP_POINT, AUX_JUMP_TARGET, AUX_PRUNE_POINT, findContainingSubprog, type VerifierEnv,
} from './env.ts';
import { verboseLine } from './source_line.ts';
import { isGotox, isPseudoCall, isPseudoFunc, isPseudoKfuncCall, jumpOffset } from './subprogs.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;
const DISCOVERED = 0x10;
const EXPLORED = 0x20;
const FALLTHROUGH = 1;
const BRANCH = 2;
const DONE = 0;
const KEEP = 1;
void BPF_FUNC_bind;

interface Walk {
  readonly state: Int32Array;
  readonly stack: Int32Array;
  top: number;
}

function pushInsn(env: VerifierEnv, walk: Walk, from: number, to: number, edge: number): number {
  const { state } = walk;
  if (state[from]! >= (DISCOVERED | edge)) return DONE;
  if (to < 0 || to >= env.insns.count) {
    verboseLine(env, from, `${from}: `);
    env.log.write(`jump out of range from insn ${from} to ${to}\n`);
    env.diag?.programStructure(
      from, 'jump out of range', 'Keep branch targets inside the program.',
      `Instruction ${from} jumps to instruction ${to}, but the program only contains instructions 0 through ${env.insns.count - 1}.`,
    );
    return -EINVAL;
  }
  if (edge === BRANCH) env.aux.flags[to]! |= AUX_PRUNE_POINT | AUX_JMP_POINT | AUX_JUMP_TARGET;
  const seen = state[to]!;
  if (seen === 0) {
    state[from] = DISCOVERED | edge;
    state[to] = DISCOVERED;
    if (walk.top >= env.insns.count) return -E2BIG;
    walk.stack[walk.top++] = to;
    return KEEP;
  }
  if ((seen & 0xf0) === DISCOVERED) {
    if (env.bpfCapable) return DONE;
    verboseLine(env, from, `${from}: `);
    verboseLine(env, to, `${to}: `);
    env.log.write(`back-edge from insn ${from} to ${to}\n`);
    env.diag?.programStructure(
      from, 'back-edge is not allowed', 'Load with privileges that allow this back-edge, or rewrite the control flow so it does not branch backward.',
      `Instruction ${from} branches back to instruction ${to}. This program is being rejected without the privilege needed for this back-edge.`,
    );
    return -EINVAL;
  }
  if (seen === EXPLORED) state[from] = DISCOVERED | edge;
  return DONE;
}

function visitCall(env: VerifierEnv, walk: Walk, at: number, callee: boolean): number {
  const next = at + (env.insns.code[at] === LD_IMM64 ? 2 : 1);
  const pushed = pushInsn(env, walk, at, next, FALLTHROUGH);
  if (pushed !== DONE) return pushed;
  const { flags } = env.aux;
  flags[next]! |= AUX_PRUNE_POINT | AUX_JMP_POINT;
  if (!callee) return pushed;
  flags[at]! |= AUX_PRUNE_POINT;
  const target = at + env.insns.imm[at]! + 1;
  const caller = env.subprogs[findContainingSubprog(env, at)]!;
  const called = env.subprogs[findContainingSubprog(env, target)]!;
  caller.changesPktData ||= called.changesPktData;
  caller.mightSleep ||= called.mightSleep;
  caller.mightThrow ||= called.mightThrow;
  return pushInsn(env, walk, at, target, BRANCH);
}

const SYNC_CALLBACK_HELPERS: ReadonlySet<number> = new Set([
  BPF_FUNC_for_each_map_elem, BPF_FUNC_find_vma, BPF_FUNC_loop, BPF_FUNC_user_ringbuf_drain,
]);

function visitInsn(env: VerifierEnv, walk: Walk, at: number): number {
  const { code, src, imm } = env.insns;
  const { flags } = env.aux;
  if (isPseudoFunc(env, at)) return visitCall(env, walk, at, true);
  const op = code[at]!;
  const cls = op & 7;
  if (cls !== BPF_JMP && cls !== BPF_JMP32) {
    if (cls === BPF_LD && ((op & 0xe0) === BPF_ABS || (op & 0xe0) === BPF_IND)) noteAbnormalReturn(env, at);
    return pushInsn(env, walk, at, at + (op === LD_IMM64 ? 2 : 1), FALLTHROUGH);
  }
  switch (op & 0xf0) {
    case BPF_EXIT:
      return DONE;
    case BPF_CALL:
      if (src[at] === 0 && imm[at] === BPF_FUNC_timer_set_callback) flags[at]! |= AUX_PRUNE_POINT;
      if (src[at] === 0 && SYNC_CALLBACK_HELPERS.has(imm[at]!)) {
        flags[at]! |= AUX_CALLS_CALLBACK | AUX_FORCE_CHECKPOINT | AUX_PRUNE_POINT | AUX_JMP_POINT;
      }
      if (src[at] === 0 && imm[at] === BPF_FUNC_tail_call) noteAbnormalReturn(env, at);
      return visitCall(env, walk, at, isPseudoCall(env, at));
    case BPF_JA: {
      if (isGotox(env, at)) {
        env.log.write('bpftwin: not supported yet: indirect jumps\n');
        return -524;
      }
      const target = at + jumpOffset(env, at) + 1;
      const pushed = pushInsn(env, walk, at, target, FALLTHROUGH);
      if (pushed !== DONE) return pushed;
      flags[target]! |= AUX_PRUNE_POINT | AUX_JMP_POINT | AUX_JUMP_TARGET;
      return pushed;
    }
    default: {
      flags[at]! |= AUX_PRUNE_POINT;
      if (op === (BPF_JMP | BPF_JCOND)) flags[at]! |= AUX_FORCE_CHECKPOINT;
      const pushed = pushInsn(env, walk, at, at + 1, FALLTHROUGH);
      if (pushed !== DONE) return pushed;
      return pushInsn(env, walk, at, at + env.insns.off[at]! + 1, BRANCH);
    }
  }
}

/** A tail call or packet load may leave the function: its successors are the next instruction and the function's exit. */
function noteAbnormalReturn(env: VerifierEnv, at: number): void {
  env.aux.jumpTables[at] ??= Int32Array.of(at + 1, env.subprogs[findContainingSubprog(env, at)]!.exitIdx);
}

/** Walks the whole program; 0 or `-errno`. */
export function checkCFG(env: VerifierEnv): number {
  const n = env.insns.count;
  const walk: Walk = { state: new Int32Array(n), stack: new Int32Array(n), top: 1 };
  walk.state[0] = DISCOVERED;
  let error = run(env, walk);
  if (error !== 0) return error;
  const exception = env.exceptionCallbackSubprog !== 0 ? env.subprogs[env.exceptionCallbackSubprog]!.start : 0;
  if (exception !== 0 && walk.state[exception] !== EXPLORED) {
    walk.state[exception] = DISCOVERED;
    walk.stack[0] = exception;
    walk.top = 1;
    error = run(env, walk);
    if (error !== 0) return error;
  }
  for (let i = 0; i < n; i++) {
    if (walk.state[i] !== EXPLORED) {
      env.log.write(`unreachable insn ${i}\n`);
      env.diag?.programStructure(
        i, 'unreachable instruction', 'Remove the unreachable instruction or add valid control flow that reaches it.',
        `Instruction ${i} is not reachable from the program entry point.`,
      );
      return -EINVAL;
    }
    if (env.insns.code[i] !== LD_IMM64) continue;
    if (walk.state[i + 1] !== 0) {
      env.log.write(`jump into the middle of ldimm64 insn ${i}\n`);
      env.diag?.programStructure(
        i, 'jump into ldimm64 immediate', 'Target the first instruction of the ldimm64 pair, or restructure the jump target.',
        `Control flow reaches the second half of the ldimm64 instruction pair that starts at instruction ${i}.`,
      );
      return -EINVAL;
    }
    i++;
  }
  env.changesPktData = env.subprogs[0]!.changesPktData;
  env.mightSleep = env.subprogs[0]!.mightSleep;
  return 0;
}

function run(env: VerifierEnv, walk: Walk): number {
  while (walk.top > 0) {
    const at = walk.stack[walk.top - 1]!;
    const result = visitInsn(env, walk, at);
    if (result < 0) return result;
    if (result === DONE) {
      walk.state[at] = EXPLORED;
      walk.top--;
    }
  }
  return walk.top < 0 ? -EFAULT : 0;
}

/** Number of successors of an instruction; they are in `env.succ` (`bpf_insn_successors`). */
export function insnSuccessors(env: VerifierEnv, at: number): number {
  const table = env.aux.jumpTables[at];
  if (table !== undefined) {
    env.succ = table;
    return table.length;
  }
  if (env.succ.length !== 2 || env.succ === table) env.succ = new Int32Array(2);
  const { code } = env.insns;
  const op = code[at]!;
  const cls = op & 7;
  const operation = op & 0xf0;
  const isJump = (cls === BPF_JMP || cls === BPF_JMP32) && operation !== BPF_CALL && operation !== BPF_EXIT;
  let count = 0;
  const falls = !((cls === BPF_JMP || cls === BPF_JMP32) && (operation === BPF_EXIT || operation === BPF_JA));
  if (falls) env.succ[count++] = at + (op === LD_IMM64 ? 2 : 1);
  if (isJump) env.succ[count++] = at + jumpOffset(env, at) + 1;
  return count;
}

/** Fills `env.postorder` and every subprogram's `postorderStart`; 0. */
export function computePostorder(env: VerifierEnv): number {
  const n = env.insns.count;
  const state = new Uint8Array(n);
  const stack = new Int32Array(n + 1);
  const order = new Int32Array(n);
  let placed = 0;
  for (let s = 0; s < env.subprogCount; s++) {
    env.subprogs[s]!.postorderStart = placed;
    stack[0] = env.subprogs[s]!.start;
    let top = 1;
    while (top > 0) {
      const at = stack[top - 1]!;
      state[at]! |= 1;
      if ((state[at]! & 2) !== 0) {
        order[placed++] = at;
        top--;
        continue;
      }
      const count = insnSuccessors(env, at);
      for (let k = 0; k < count; k++) {
        const next = env.succ[k]!;
        if (state[next] !== 0) continue;
        stack[top++] = next;
        state[next]! |= 1;
      }
      state[at]! |= 2;
    }
  }
  env.subprogs[env.subprogCount]!.postorderStart = placed;
  env.postorder = order.subarray(0, placed);
  return 0;
}
void BPF_X;
void isPseudoKfuncCall;
