/**
 * @module verifier/cfg
 * The control-flow graph: every instruction is reachable, jumps stay inside, back-edges need privilege; where states are
 * compared and checkpointed; what calls do to their callers; successors and post-order. Reproduces kernel/bpf/cfg.c; loops are
 * in scc.ts.
 */
import { E2BIG, EFAULT, EINVAL } from '../isa/errno.ts';
import {
  BPF_ABS, BPF_CALL, BPF_DW, BPF_EXIT, BPF_FUNC_tail_call, BPF_IMM, BPF_IND, BPF_JA, BPF_JMP, BPF_JMP32, BPF_LD, BPF_PSEUDO_KFUNC_CALL,
} from '../isa/uapi.ts';
import {
  AUX_CALLS_CALLBACK, AUX_FORCE_CHECKPOINT, AUX_JMP_POINT, AUX_JUMP_TARGET, AUX_PRUNE_POINT, findContainingSubprog, type Subprog,
  type VerifierEnv,
} from './env.ts';
import { callsAsyncCallback, callsSyncCallback, callsThrow, helperChangesPktData } from './helper_effects.ts';
import { instructionArrayTargets } from './insn_array.ts';
import { isSpecialKfunc } from './kfunc_access.ts';
import { KF_ITER_NEXT, KF_SLEEPABLE } from './kfunc_sets.ts';
import { fetchKfuncMeta } from './kfuncs.ts';
import { getHelperProto } from './progtypes/index.ts';
import { verboseLine } from './source_line.ts';
import { isGotox, isHelperCall, isMayGoto, isPseudoCall, isPseudoFunc, jumpOffset } from './subprogs.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;
// States of an instruction; DISCOVERED holds the edge that was followed last.
const DISCOVERED = 0x10;
const EXPLORED = 0x20;
const FALLTHROUGH = 1;
const BRANCH = 2;
// Results of a visit.
const DONE = 0;
const KEEP = 1;

interface Walk {
  readonly state: Int32Array;
  readonly stack: Int32Array;
  top: number;
}

function subprogOf(env: VerifierEnv, at: number): Subprog {
  return env.subprogs[findContainingSubprog(env, at)]!;
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

function visitCall(env: VerifierEnv, walk: Walk, at: number, entersCallee: boolean): number {
  const next = at + (env.insns.code[at] === LD_IMM64 ? 2 : 1);
  const pushed = pushInsn(env, walk, at, next, FALLTHROUGH);
  if (pushed !== DONE) return pushed;
  const { flags } = env.aux;
  flags[next]! |= AUX_PRUNE_POINT | AUX_JMP_POINT;
  if (!entersCallee) return pushed;
  flags[at]! |= AUX_PRUNE_POINT;
  const target = at + env.insns.imm[at]! + 1;
  // Complete once the callee is explored: the walk comes by again.
  const caller = subprogOf(env, at);
  const callee = subprogOf(env, target);
  caller.changesPktData ||= callee.changesPktData;
  caller.mightSleep ||= callee.mightSleep;
  caller.mightThrow ||= callee.mightThrow;
  return pushInsn(env, walk, at, target, BRANCH);
}

/** What a helper or kernel function does to its caller, and where states must be kept because of it. */
function noteCallEffects(env: VerifierEnv, at: number): void {
  const { flags } = env.aux;
  const imm = env.insns.imm[at]!;
  if (callsAsyncCallback(env, at)) flags[at]! |= AUX_PRUNE_POINT;
  if (callsSyncCallback(env, at)) flags[at]! |= AUX_CALLS_CALLBACK | AUX_FORCE_CHECKPOINT | AUX_PRUNE_POINT | AUX_JMP_POINT;
  if (isHelperCall(env, at)) {
    if (getHelperProto(env, imm)?.mightSleep === true) subprogOf(env, at).mightSleep = true;
    if (helperChangesPktData(imm)) subprogOf(env, at).changesPktData = true;
    if (imm === BPF_FUNC_tail_call) noteAbnormalReturn(env, at);
    return;
  }
  if (env.insns.src[at] !== BPF_PSEUDO_KFUNC_CALL) return;
  const meta = fetchKfuncMeta(env, imm, env.insns.off[at]!);
  if (typeof meta === 'number') return;
  if ((meta.flags & KF_ITER_NEXT) !== 0) flags[at]! |= AUX_PRUNE_POINT | AUX_FORCE_CHECKPOINT;
  if ((meta.flags & KF_SLEEPABLE) !== 0) subprogOf(env, at).mightSleep = true;
  if (isSpecialKfunc(env, imm, 'bpf_xdp_pull_data')) subprogOf(env, at).changesPktData = true;
  if (callsThrow(env, at)) subprogOf(env, at).mightThrow = true;
}

function visitInsn(env: VerifierEnv, walk: Walk, at: number): number {
  const { flags } = env.aux;
  if (isPseudoFunc(env, at)) return visitCall(env, walk, at, true);
  const code = env.insns.code[at]!;
  const cls = code & 7;
  if (cls !== BPF_JMP && cls !== BPF_JMP32) {
    if (cls === BPF_LD && ((code & 0xe0) === BPF_ABS || (code & 0xe0) === BPF_IND)) noteAbnormalReturn(env, at);
    return pushInsn(env, walk, at, at + (code === LD_IMM64 ? 2 : 1), FALLTHROUGH);
  }
  switch (code & 0xf0) {
    case BPF_EXIT:
      return DONE;
    case BPF_CALL:
      noteCallEffects(env, at);
      return visitCall(env, walk, at, isPseudoCall(env, at));
    case BPF_JA: {
      if (isGotox(env, at)) return visitGotox(env, walk, at);
      const target = at + jumpOffset(env, at) + 1;
      const pushed = pushInsn(env, walk, at, target, FALLTHROUGH);
      if (pushed !== DONE) return pushed;
      flags[target]! |= AUX_PRUNE_POINT | AUX_JMP_POINT | AUX_JUMP_TARGET;
      return pushed;
    }
    default: {
      flags[at]! |= AUX_PRUNE_POINT;
      if (isMayGoto(env, at)) flags[at]! |= AUX_FORCE_CHECKPOINT;
      const pushed = pushInsn(env, walk, at, at + 1, FALLTHROUGH);
      if (pushed !== DONE) return pushed;
      return pushInsn(env, walk, at, at + env.insns.off[at]! + 1, BRANCH);
    }
  }
}

/** A tail call or packet load may leave the function: its successors are the next instruction and the function's exit. */
function noteAbnormalReturn(env: VerifierEnv, at: number): void {
  const tables = (env.aux.jumpTables ??= new Map());
  if (!tables.has(at)) tables.set(at, Int32Array.of(at + 1, subprogOf(env, at).exitIdx));
}

// ---------------------------------------------------------------- indirect jumps

/** An indirect jump goes to any target of the jump tables of its function. */
function visitGotox(env: VerifierEnv, walk: Walk, at: number): number {
  const tables = (env.aux.jumpTables ??= new Map());
  let table = tables.get(at);
  if (table === undefined) {
    const created = createJumpTable(env, at);
    if (typeof created === 'number') return created;
    table = created;
    tables.set(at, table);
  }
  env.aux.flags[at]! |= AUX_PRUNE_POINT;
  let result = DONE;
  for (const target of table) {
    if (target < 0 || target >= env.insns.count) {
      env.log.write(`indirect jump out of range from insn ${at} to ${target}\n`);
      env.diag?.programStructure(
        at, 'indirect jump out of range', 'Keep indirect jump targets inside the program.',
        `Instruction ${at} can jump indirectly to instruction ${target}, but the program only contains instructions 0 through ${env.insns.count - 1}.`,
      );
      return -EINVAL;
    }
    env.aux.flags[target]! |= AUX_JMP_POINT | AUX_JUMP_TARGET;
    if (walk.state[target] !== 0) continue;
    if (walk.top >= env.insns.count) return -E2BIG;
    walk.stack[walk.top++] = target;
    walk.state[target]! |= DISCOVERED;
    result = KEEP;
  }
  return result;
}

function createJumpTable(env: VerifierEnv, at: number): Int32Array | number {
  const index = findContainingSubprog(env, at);
  const start = env.subprogs[index]!.start;
  const end = env.subprogEnd(index);
  const targets = new Set<number>();
  for (const map of env.insnArrayMaps) {
    const found = instructionArrayTargets(map, 0, map.maxEntries - 1);
    if (typeof found === 'number') return found;
    if (found.length === 0) return -EINVAL;
    // One entry tells whose table it is; the whole is checked below.
    if (found[0]! >= start && found[0]! < end) for (const target of found) targets.add(target);
  }
  if (targets.size === 0) {
    env.log.write(`no jump tables found for subprog starting at ${start}\n`);
    env.diag?.programStructure(
      start, 'missing jump table',
      'Make sure subprograms containing gotox instructions are accompanied by jump tables referencing these subprograms.',
      `No jump table was found for the subprogram that starts at instruction ${start}.`,
    );
    return -EINVAL;
  }
  const table = Int32Array.from([...targets].sort((a, b) => a - b));
  if (table.some((target) => target < start || target >= end)) {
    env.log.write(`jump table for insn ${at} points outside of the subprog [${start},${end}]\n`);
    env.diag?.programStructure(
      at, 'jump table target out of range', 'Keep every jump-table target inside the same subprogram.',
      `The jump table for instruction ${at} points outside subprogram range [${start},${end}).`,
    );
    return -EINVAL;
  }
  return table;
}

// ---------------------------------------------------------------- the walk

/** Walks the whole program; 0 or `-errno`. */
export function checkCFG(env: VerifierEnv): number {
  const n = env.insns.count;
  const walk: Walk = { state: env.slab.i32(n), stack: env.slab.i32(n, false), top: 1 };
  walk.state[0] = DISCOVERED;
  walk.stack[0] = 0;
  let error = explore(env, walk);
  if (error !== 0) return error;
  const exception = env.exceptionCallbackSubprog !== 0 ? env.subprogs[env.exceptionCallbackSubprog]!.start : 0;
  if (exception !== 0 && walk.state[exception] !== EXPLORED) {
    walk.state[exception] = DISCOVERED;
    walk.stack[0] = exception;
    walk.top = 1;
    error = explore(env, walk);
    if (error !== 0) return error;
  }
  error = checkCoverage(env, walk.state);
  if (error !== 0) return error;
  env.changesPktData = env.subprogs[0]!.changesPktData;
  env.mightSleep = env.subprogs[0]!.mightSleep;
  return 0;
}

function explore(env: VerifierEnv, walk: Walk): number {
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

/** Every instruction was reached, and no second half of a 16-byte load. */
function checkCoverage(env: VerifierEnv, state: Int32Array): number {
  for (let i = 0; i < env.insns.count; i++) {
    if (state[i] !== EXPLORED) {
      env.log.write(`unreachable insn ${i}\n`);
      env.diag?.programStructure(
        i, 'unreachable instruction', 'Remove the unreachable instruction or add valid control flow that reaches it.',
        `Instruction ${i} is not reachable from the program entry point.`,
      );
      return -EINVAL;
    }
    if (env.insns.code[i] !== LD_IMM64) continue;
    if (state[i + 1] !== 0) {
      env.log.write(`jump into the middle of ldimm64 insn ${i}\n`);
      env.diag?.programStructure(
        i, 'jump into ldimm64 immediate', 'Target the first instruction of the ldimm64 pair, or restructure the jump target.',
        `Control flow reaches the second half of the ldimm64 instruction pair that starts at instruction ${i}.`,
      );
      return -EINVAL;
    }
    i++;
  }
  return 0;
}

// ---------------------------------------------------------------- edges and order

/** Up to two successors; jump tables are handed out as they are. */
const pair = new Int32Array(2);

/** Number of successors of an instruction; they are in `env.succ` until the next call (`bpf_insn_successors`). */
export function insnSuccessors(env: VerifierEnv, at: number): number {
  const { jumpTables } = env.aux;
  const table = jumpTables === undefined ? undefined : jumpTables.get(at);
  if (table !== undefined) {
    env.succ = table;
    return table.length;
  }
  // it is mostly that already, and storing a reference costs more than looking
  if (env.succ !== pair) env.succ = pair;
  const code = env.insns.code[at]!;
  const cls = code & 7;
  const operation = code & 0xf0;
  const isBranch = cls === BPF_JMP || cls === BPF_JMP32;
  let count = 0;
  if (!isBranch || (operation !== BPF_EXIT && operation !== BPF_JA)) pair[count++] = at + (code === LD_IMM64 ? 2 : 1);
  if (isBranch && operation !== BPF_CALL && operation !== BPF_EXIT) pair[count++] = at + jumpOffset(env, at) + 1;
  return count;
}

/** Fills `env.postorder` and every subprogram's `postorderStart`; 0. */
export function computePostorder(env: VerifierEnv): number {
  const n = env.insns.count;
  const state = env.slab.u8(n);
  const stack = env.slab.i32(n + 1, false);
  const order = env.slab.i32(n, false);
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
  env.postorder = order;
  env.backward = order;
  env.reachable = placed;
  return 0;
}
