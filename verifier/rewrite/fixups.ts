/**
 * @module verifier/rewrite/fixups
 * The passes that turn a verified program into the one that Linux compiles and shows as "xlated": loops instead of `bpf_loop()`,
 * no dead code, accesses to the kernel's own structures, guards around divisions, lookups and helpers done without calls. Behaviour
 * of `kernel/bpf/fixups.c`, Linux 7.3, for x86-64 with its compiler on. The machine of this project runs another
 * form (see machine.ts): it divides by zero and calls helpers itself.
 */
import { E2BIG, EFAULT, EINVAL, ENOMEM } from '../../isa/errno.ts';
import { BPF_PROBE_ATOMIC, BPF_PROBE_MEM, BPF_PROBE_MEM32, BPF_PROBE_MEM32SX, BPF_PROBE_MEMSX } from '../../isa/instructions.ts';
import {
  BPF_ABS, BPF_ADD, BPF_ALU, BPF_ALU64, BPF_AND, BPF_ARSH, BPF_ATOMIC, BPF_CALL, BPF_CMPXCHG, BPF_DIV, BPF_DW, BPF_EXIT,
  BPF_FUNC_loop, BPF_FUNC_map_lookup_elem, BPF_FUNC_tail_call, BPF_FUNC_timer_set_callback, BPF_IMM, BPF_IND, BPF_JA, BPF_JCOND, BPF_JEQ, BPF_JGE, BPF_JGT,
  BPF_JLE, BPF_JMP, BPF_JMP32, BPF_JNE, BPF_LD, BPF_LDX, BPF_LSH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MEM, BPF_MEMSX, BPF_MOD, BPF_MOV, BPF_MUL, BPF_NEG, BPF_OR,
  BPF_PSEUDO_CALL, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_IDX_VALUE, BPF_PSEUDO_MAP_VALUE, BPF_ST, BPF_STX, BPF_SUB, BPF_X, BPF_XOR,
} from '../../isa/uapi.ts';
import {
  AUX_LOOP_FIT, AUX_MAP_KEY_POISON, AUX_MAP_KEY_SEEN, AUX_MAP_PTR_POISON, AUX_MAP_PTR_UNPRIV, AUX_NEEDS_ZEXT, AUX_NOSPEC, AUX_NOSPEC_RESULT,
  AUX_PERCPU_ALLOC_PTR, AUX_ZEXT_DST, BPF_F_TEST_RND_HI32, Subprog, type VerifierEnv,
} from '../env.ts';
import { isCastTo32, subregDefinedBy } from '../liveness.ts';
import { convertCtxAccess, genLdAbs, genPrologue, isConverted } from '../progtypes/index.ts';
import { kernelLayout } from '../progtypes/kernel_layout.ts';
import { PTR_TO_ARENA, PTR_TO_CTX, mayFaultOnDeref, typeIsPtrToMemOrBTFID } from '../regtypes.ts';
import { markExceptionCallback } from '../subprogs.ts';
import type { Slab } from '../workspace.ts';
import {
  AX, KERNEL_ADDRESS_HI, alu64, aluK, aluX, barrier, callKernel, copy64, jumpK, jumpX, load, load64, mov32, mov64, percpuAddress, skip, store, storeK,
} from './code.ts';
import { emitHelper } from './helper_code.ts';
import { rewriteKfuncCall } from './kfunc_code.ts';
import { emitMapLookup, indexMask } from './map_lookup.ts';
import { CALLS, KEEP, KIND_ATOMIC, KIND_CALL, KIND_GOTO, KIND_MAY_GOTO, REMOVE, REPLACE, type Rewrite } from './rewrite.ts';

const CALL = BPF_JMP | BPF_CALL;
const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;
const TAIL_CALL = 0xf0;
const MAX_LOOPS = 8 * 1024 * 1024;
const MAX_TIMED_LOOPS = 0xffff;
const REG_SIZE = 8;
/** Stack of a function with `may_goto`: the count and the time of its start. */
const MAY_GOTO_STACK = 16;

// ---------------------------------------------------------------- bpf_loop

/** A `bpf_loop()` call as a loop: R1 rounds of the callback with R3, three registers saved at `base`. */
function emitLoop(r: Rewrite, base: number, callback: number): void {
  jumpK(r, true, BPF_JLE, 1, MAX_LOOPS, 2);
  mov32(r, 0, -E2BIG);
  skip(r, 16);
  for (let reg = 6; reg <= 8; reg++) store(r, BPF_DW, 10, reg, base + (reg - 6) * REG_SIZE);
  copy64(r, 6, 1);
  mov32(r, 7, 0);
  copy64(r, 8, 3);
  jumpX(r, true, BPF_JGE, 7, 6, 5);
  copy64(r, 1, 7);
  copy64(r, 2, 8);
  r.emit(CALL, 0, BPF_PSEUDO_CALL, 0, callback, CALLS);
  alu64(r, BPF_ADD, 7, 1);
  jumpK(r, true, BPF_JEQ, 0, 0, -6);
  copy64(r, 0, 7);
  for (let reg = 6; reg <= 8; reg++) load(r, BPF_DW, reg, 10, base + (reg - 6) * REG_SIZE);
}

/** Loops instead of calls of `bpf_loop()` with a callback that is always the same (`bpf_optimize_bpf_loop`). */
function inlineLoops(r: Rewrite, env: VerifierEnv): number {
  const isLoop = (i: number): boolean => r.code[i] === CALL && r.src[i] === 0 && r.imm[i] === BPF_FUNC_loop && (r.flags(i) & AUX_LOOP_FIT) !== 0;
  if ((r.kinds & KIND_CALL) === 0) return 0;
  let isNeeded = false;
  const { code } = r;
  for (let i = 0; i < r.count && !isNeeded; i++) isNeeded = code[i] === CALL && isLoop(i);
  if (!isNeeded) return 0;
  let sub = 0;
  let needed = 0;
  return r.pass((i) => {
    const subprog = env.subprogs[sub]!;
    const found = isLoop(i);
    if (found) {
      needed = REG_SIZE * 3 + Math.ceil(subprog.stackDepth / 8) * 8 - subprog.stackDepth;
      emitLoop(r, -(subprog.stackDepth + needed), r.starts[r.aux.callbackSubprog[r.notes(i)]!]!);
    }
    if (r.starts[sub + 1] === i + 1) {
      subprog.stackDepth += needed;
      sub++;
      needed = 0;
    }
    return found ? REPLACE : KEEP;
  });
}

// ---------------------------------------------------------------- dead code

function isConditionalJump(code: number): boolean {
  const op = code & 0xf0;
  if ((code & 7) === BPF_JMP32) return op !== BPF_JA;
  return (code & 7) === BPF_JMP && op !== BPF_JA && op !== BPF_EXIT && op !== BPF_CALL;
}

/** Conditional jumps with one way that is never taken become plain ones (`bpf_opt_hard_wire_dead_code_branches`). */
function hardWireBranches(r: Rewrite): void {
  for (let i = 0; i < r.count; i++) {
    if (!isConditionalJump(r.code[i]!)) continue;
    if (!r.isSeen(i + 1)) r.set(i, BPF_JMP | BPF_JA, 0, 0, r.off[i]!, 0);
    else if (!r.isSeen(i + 1 + r.off[i]!)) r.set(i, BPF_JMP | BPF_JA, 0, 0, 0, 0);
  }
}

function isEmptyJump(r: Rewrite, i: number): boolean {
  return (r.code[i] === (BPF_JMP | BPF_JA) || r.code[i] === (BPF_JMP | BPF_JCOND)) && r.dst[i] === 0 && r.src[i] === 0 && r.imm[i] === 0;
}

/** Which jumps to the next instruction go; removing a `may_goto` also removes what thereby jumps to the next. */
function emptyJumps(r: Rewrite, slab: Slab): Uint8Array {
  const gone = slab.u8(r.count);
  const kept = slab.i32(r.count);
  let keptCount = 0;
  for (let i = 0; i < r.count; i++) {
    if (!isEmptyJump(r, i) || r.off[i] !== 0) {
      kept[keptCount++] = i;
      continue;
    }
    gone[i] = 1;
    let mayCascade = r.code[i] === (BPF_JMP | BPF_JCOND);
    while (mayCascade && keptCount > 0) {
      const last = kept[keptCount - 1]!;
      if (!isEmptyJump(r, last) || r.off[last]! < 0 || last + 1 + r.off[last]! > i + 1) break;
      gone[last] = 1;
      keptCount--;
      mayCascade = r.code[last] === (BPF_JMP | BPF_JCOND);
    }
  }
  return gone;
}

function removeDeadCode(r: Rewrite, isPrivileged: boolean, slab: Slab): number {
  if (!isPrivileged) {
    for (let i = 0; i < r.count; i++) if (!r.isSeen(i)) r.set(i, BPF_JMP | BPF_JA, 0, 0, -1, 0);
    return 0;
  }
  if (!r.isAllSeen) {
    hardWireBranches(r);
    const result = r.pass(keepSeen);
    if (result < 0) return result;
  }
  if ((r.kinds & KIND_GOTO) === 0) return 0;
  let hasEmptyJumps = false;
  const { off } = r;
  for (let i = 0; i < r.count && !hasEmptyJumps; i++) hasEmptyJumps = off[i] === 0 && isEmptyJump(r, i);
  if (!hasEmptyJumps) return 0;
  const gone = emptyJumps(r, slab);
  return r.pass((i) => (gone[i] === 0 ? KEEP : REMOVE));
}

function keepSeen(i: number, r: Rewrite): number {
  return r.isSeen(i) ? KEEP : REMOVE;
}

// ---------------------------------------------------------------- accesses

export function isPlainLoad(code: number): boolean {
  return (code & 7) === BPF_LDX && ((code & 0xe0) === BPF_MEM || ((code & 0xe0) === BPF_MEMSX && code !== (BPF_LDX | BPF_MEMSX | BPF_DW)));
}

export function isPlainStore(code: number): boolean {
  return ((code & 7) === BPF_STX || (code & 7) === BPF_ST) && (code & 0xe0) === BPF_MEM;
}

function withMode(code: number, mode: number): number {
  return (code & 0x1f) | mode;
}

/** Operation code of an access that the kernel guards against faults or takes to an arena; the same code for all others. */
export function guardedCode(code: number, ptrType: number): number {
  const isSigned = (code & 0xe0) === BPF_MEMSX;
  if (ptrType === PTR_TO_ARENA) {
    if ((code & 7) === BPF_STX && (code & 0xe0) === BPF_ATOMIC) return withMode(code, BPF_PROBE_ATOMIC);
    if (isPlainLoad(code) || isPlainStore(code)) return withMode(code, isSigned ? BPF_PROBE_MEM32SX : BPF_PROBE_MEM32);
    return code;
  }
  if (isPlainLoad(code) && typeIsPtrToMemOrBTFID(ptrType) && mayFaultOnDeref(ptrType)) {
    return withMode(code, isSigned ? BPF_PROBE_MEMSX : BPF_PROBE_MEM);
  }
  return code;
}

/** Accesses to contexts, sockets, arenas and memory that may fault (`bpf_convert_ctx_accesses`). */
function convertAccesses(r: Rewrite, env: VerifierEnv): number {
  const prologue = genPrologue(env, env.seenDirectWrite, r.at(0));
  if (prologue.length > 0) {
    const result = r.pass((i) => {
      if (i > 0) return KEEP;
      r.emitAll(prologue.slice(0, -1));
      r.enterHere();
      r.emitSelf();
      return REPLACE;
    });
    if (result < 0) return result;
  }
  // with checks against speculation any instruction may get a barrier
  return r.pass(convertOne, env.bypassSpecV1 && env.bypassSpecV4 ? ACCESSES : undefined);
}

const codesWhere = (is: (code: number) => boolean): Uint8Array => Uint8Array.from({ length: 256 }, (_, code) => (is(code) ? 1 : 0));
const ACCESSES = codesWhere((code) => isPlainLoad(code) || isPlainStore(code) || ((code & 7) === BPF_STX && (code & 0xe0) === BPF_ATOMIC));
/** What {@link rewriteOne} looks at in programs without an arena; `0` is the second half of a 16-byte load. */
const REWRITTEN = codesWhere((code) => {
  const cls = code & 7, op = code & 0xf0, mode = code & 0xe0;
  const isDivision = (cls === BPF_ALU || cls === BPF_ALU64) && (op === BPF_DIV || op === BPF_MOD);
  const isSum = code === (BPF_ALU64 | BPF_ADD | BPF_X) || code === (BPF_ALU64 | BPF_SUB | BPF_X);
  return isDivision || isSum || (cls === BPF_LD && (mode === BPF_ABS || mode === BPF_IND)) || code === (BPF_JMP | BPF_JCOND) || code === 0 || code === CALL;
});

function convertOne(i: number, r: Rewrite): number {
  const hasBarrier = (r.flags(i) & AUX_NOSPEC) !== 0;
  if (hasBarrier) barrier(r);
  const verdict = convertAccess(r, r.env, i);
  if (verdict !== KEEP || !hasBarrier) return verdict;
  r.emitSelf();
  return REPLACE;
}

function convertAccess(r: Rewrite, env: VerifierEnv, i: number): number {
  const code = r.code[i]!;
  const notes = r.notes(i);
  if (notes < 0) return KEEP;
  const ptrType = r.aux.ptrType[notes]!;
  const isAtomic = (code & 7) === BPF_STX && (code & 0xe0) === BPF_ATOMIC;
  if (!isPlainLoad(code) && !isPlainStore(code) && !(isAtomic && ptrType === PTR_TO_ARENA)) return KEEP;
  if (isPlainStore(code) && (r.flags(i) & AUX_NOSPEC_RESULT) !== 0) {
    r.emitSelf();
    barrier(r);
    return REPLACE;
  }
  const guarded = guardedCode(code, ptrType);
  if (guarded !== code) {
    r.code[i] = guarded;
    return KEEP;
  }
  if (!isConverted(env, ptrType)) return KEEP;
  const converted = convertCtxAccess(env, ptrType, r.at(i), r.aux.ctxFieldSize[notes]!);
  if (converted === undefined) return KEEP;
  if (converted.length === 0) {
    env.log.write('verifier bug: error during ctx access conversion (0)\n');
    return -EFAULT;
  }
  r.emitAll(converted);
  return REPLACE;
}

// ---------------------------------------------------------------- arithmetic

/** Signed division by the constant -1 (`imm`), which machines fault at for the least number. */
function emitDivisionByMinusOne(r: Rewrite, is64: boolean, isDivision: boolean, dst: number): void {
  if (isDivision) aluK(r, is64, BPF_NEG, dst, 0);
  else mov32(r, dst, 0);
}

/** Division by a register that may hold 0 or, where it is signed, -1. */
function emitDivision(r: Rewrite, i: number): void {
  const dst = r.dst[i]!, src = r.src[i]!;
  const is64 = (r.code[i]! & 7) === BPF_ALU64;
  const isDivision = (r.code[i]! & 0xf0) === BPF_DIV;
  if (r.off[i] === 1) {
    // AX is 0 for -1, 1 for 0 and above 1 for all others.
    copy64(r, AX, src);
    aluK(r, is64, BPF_ADD, AX, 1);
    jumpK(r, is64, BPF_JGT, AX, 1, isDivision ? 4 : 3);
    jumpK(r, is64, BPF_JEQ, AX, isDivision ? 0 : 1, isDivision ? 1 : 3 + (is64 ? 0 : 1));
    if (isDivision) {
      aluK(r, is64, BPF_MOV, dst, 0);
      aluK(r, is64, BPF_NEG, dst, 0);
    } else mov32(r, dst, 0);
    skip(r, 1);
  } else if (isDivision) {
    jumpK(r, is64, BPF_JNE, src, 0, 2);
    aluX(r, false, BPF_XOR, dst, dst);
    skip(r, 1);
  } else jumpK(r, is64, BPF_JEQ, src, 0, is64 ? 1 : 2);
  r.emitSelf();
  if (isDivision || is64) return;
  // A remainder by 0 is the dividend; its upper half goes.
  skip(r, 1);
  aluX(r, false, BPF_MOV, dst, dst);
}

const ALU_SANITIZE = 3;
const ALU_SANITIZE_SRC = 1;
const ALU_NEG_VALUE = 4;
const ALU_NON_POINTER = 8;
const ALU_IMMEDIATE = 16;

/** Pointer arithmetic that stays within its limit even where the processor guesses. */
function emitMaskedAdd(r: Rewrite, i: number, state: number, limit: number): void {
  const dst = r.dst[i]!, src = r.src[i]!, code = r.code[i]!;
  const isNegative = (state & ALU_NEG_VALUE) !== 0, isImmediate = (state & ALU_IMMEDIATE) !== 0;
  const isSource = (state & ALU_SANITIZE) === ALU_SANITIZE_SRC;
  const reg = isSource ? src : dst;
  if (!isImmediate && isNegative) alu64(r, BPF_MUL, reg, -1);
  mov32(r, AX, limit);
  if (!isImmediate) {
    aluX(r, true, BPF_SUB, AX, reg);
    aluX(r, true, BPF_OR, AX, reg);
    alu64(r, BPF_NEG, AX, 0);
    alu64(r, BPF_ARSH, AX, 63);
    aluX(r, true, BPF_AND, AX, reg);
  }
  if (!isSource) copy64(r, dst, src);
  const opposite = code ^ (BPF_ADD ^ BPF_SUB);
  r.emit(isNegative ? opposite : code, dst, AX, r.off[i]!, r.imm[i]!);
  if (isSource && isNegative && !isImmediate) alu64(r, BPF_MUL, reg, -1);
}

// ---------------------------------------------------------------- calls

/** A loop's budget of rounds and time, kept at the end of the stack. */
function emitMayGoto(r: Rewrite, i: number, stackDepth: number): void {
  const slot = -stackDepth - MAY_GOTO_STACK;
  const off = r.off[i]!;
  load(r, BPF_DW, AX, 10, slot);
  jumpK(r, true, BPF_JEQ, AX, 0, off >= 0 ? off + 5 : off - 1);
  alu64(r, BPF_SUB, AX, 1);
  jumpK(r, true, BPF_JNE, AX, 0, 2);
  mov64(r, AX, slot);
  callKernel(r);
  store(r, BPF_DW, 10, AX, slot);
}

function rewriteTailCall(r: Rewrite, env: VerifierEnv, i: number): number {
  const flags = r.flags(i);
  env.cbAccess = true;
  r.set(i, BPF_JMP | TAIL_CALL, 0, 0, 0, 0);
  const isConstantKey = (flags & AUX_MAP_KEY_SEEN) !== 0 && (flags & AUX_MAP_KEY_POISON) === 0;
  const isUnprivileged = (flags & AUX_MAP_PTR_UNPRIV) !== 0, isPoisoned = (flags & AUX_MAP_PTR_POISON) !== 0;
  if ((env.bpfCapable && isConstantKey && !isPoisoned) || !isUnprivileged) return KEEP;
  if (isPoisoned) {
    env.log.write('tail_call abusing map_ptr\n');
    return -EINVAL;
  }
  const map = env.mapTable[r.aux.mapIndex[r.notes(i)]!]!;
  jumpK(r, true, BPF_JGE, 3, map.maxEntries, 2);
  aluK(r, false, BPF_AND, 3, indexMask(map));
  r.emitSelf();
  return REPLACE;
}

function rewriteHelperCall(r: Rewrite, env: VerifierEnv, i: number): number {
  const id = r.imm[i]!;
  const notes = r.notes(i);
  const flags = r.flags(i);
  if (id === BPF_FUNC_tail_call) return rewriteTailCall(r, env, i);
  if (id === BPF_FUNC_timer_set_callback) {
    load64(r, 3, 0, KERNEL_ADDRESS_HI);
    r.emitSelf();
    return REPLACE;
  }
  if ((flags & AUX_PERCPU_ALLOC_PTR) !== 0) {
    load(r, BPF_DW, 1, 1, 0);
    r.emitSelf();
    return REPLACE;
  }
  if (id === BPF_FUNC_map_lookup_elem) {
    const kernel = env.ext.kernelBTF();
    const map = notes < 0 || (flags & AUX_MAP_PTR_POISON) !== 0 ? undefined : env.mapTable[r.aux.mapIndex[notes]!];
    return kernel !== undefined && map !== undefined && emitMapLookup(r, map, kernelLayout(kernel.btf)) ? REPLACE : KEEP;
  }
  return emitHelper(r, env, id) ? REPLACE : KEEP;
}

/** Second half of a 16-byte load of an address in a per-processor array, which becomes that of this processor's copy. */
function isPercpuValue(r: Rewrite, env: VerifierEnv, i: number): boolean {
  if (i === 0 || r.code[i - 1] !== LD_IMM64) return false;
  const src = r.src[i - 1]!;
  if (src !== BPF_PSEUDO_MAP_VALUE && src !== BPF_PSEUDO_MAP_IDX_VALUE) return false;
  const notes = r.notes(i - 1);
  return notes >= 0 && env.mapTable[r.aux.mapIndex[notes]!]?.type === BPF_MAP_TYPE_PERCPU_ARRAY;
}

function rewriteOne(r: Rewrite, env: VerifierEnv, i: number, stackDepth: number): number {
  const { imm, off } = r;
  if (isCastTo32(r, i, env.arena)) r.set(i, BPF_ALU | BPF_MOV | BPF_X, r.dst[i]!, r.src[i]!, 0, 0);
  else if ((r.flags(i) & AUX_NEEDS_ZEXT) !== 0) r.code[i] = BPF_ALU | (r.code[i]! & 0xf8);
  const code = r.code[i]!;
  const cls = code & 7, op = code & 0xf0;
  if ((cls === BPF_ALU || cls === BPF_ALU64) && (op === BPF_DIV || op === BPF_MOD)) {
    if ((code & BPF_X) !== 0) emitDivision(r, i);
    else if (off[i] === 1 && imm[i] === -1) emitDivisionByMinusOne(r, cls === BPF_ALU64, op === BPF_DIV, r.dst[i]!);
    else return KEEP;
    return REPLACE;
  }
  if (cls === BPF_LD && ((code & 0xe0) === BPF_ABS || (code & 0xe0) === BPF_IND)) {
    r.emitAll(genLdAbs(r.at(i), () => 0));
    return REPLACE;
  }
  if (code === (BPF_ALU64 | BPF_ADD | BPF_X) || code === (BPF_ALU64 | BPF_SUB | BPF_X)) {
    const notes = r.notes(i);
    const state = notes < 0 ? 0 : r.aux.aluState[notes]!;
    if (state === 0 || state === ALU_NON_POINTER) return KEEP;
    emitMaskedAdd(r, i, state, r.aux.aluLimit[notes]!);
    return REPLACE;
  }
  if (isMayGoto(r, i)) {
    emitMayGoto(r, i, stackDepth);
    return REPLACE;
  }
  if (code === 0 && isPercpuValue(r, env, i)) {
    r.emitSelf();
    percpuAddress(r, r.dst[i - 1]!);
    return REPLACE;
  }
  if (code !== CALL || r.src[i] === BPF_PSEUDO_CALL) return KEEP;
  return r.src[i] === BPF_PSEUDO_KFUNC_CALL ? rewriteKfuncCall(r, env, i) : rewriteHelperCall(r, env, i);
}

function isMayGoto(r: Rewrite, i: number): boolean {
  return r.code[i] === (BPF_JMP | BPF_JCOND) && r.src[i] === 0;
}

/** Everything that concerns one instruction alone (`bpf_do_misc_fixups`). */
function rewriteAll(r: Rewrite, env: VerifierEnv): number {
  if (env.seenException && env.exceptionCallbackSubprog === 0) {
    const result = addExceptionCallback(r, env);
    if (result < 0) return result;
  }
  const subprogs = r.subprogs.length;
  let hasMayGoto: Uint8Array | undefined;
  for (let i = 0, sub = 0; (r.kinds & KIND_MAY_GOTO) !== 0 && i < r.count; i++) {
    if (isMayGoto(r, i)) (hasMayGoto ??= env.slab.u8(subprogs))[sub] = 1;
    if (r.starts[sub + 1] === i + 1) sub++;
  }
  const result = r.pass(rewriteNext, env.arena === undefined ? REWRITTEN : undefined);
  if (result < 0) return result;
  if (hasMayGoto === undefined) return 0;
  for (let i = 0; i < subprogs; i++) {
    if (hasMayGoto[i] === 0) continue;
    env.subprogs[i]!.stackDepth += MAY_GOTO_STACK;
    env.subprogs[i]!.stackExtra = MAY_GOTO_STACK;
  }
  return initMayGoto(r, env, hasMayGoto);
}

function rewriteNext(i: number, r: Rewrite): number {
  return rewriteOne(r, r.env, i, r.env.subprogs[r.sub]!.stackDepth);
}

function initMayGoto(r: Rewrite, env: VerifierEnv, hasMayGoto: Uint8Array): number {
  let sub = 0;
  return r.pass((i) => {
    while (r.starts[sub + 1]! <= i) sub++;
    if (r.starts[sub] !== i || hasMayGoto[sub] === 0) return KEEP;
    const depth = env.subprogs[sub]!.stackDepth;
    storeK(r, BPF_DW, 10, -depth, MAX_TIMED_LOOPS);
    storeK(r, BPF_DW, 10, -depth + 8, 0);
    r.enterHere();
    r.emitSelf();
    return REPLACE;
  });
}

/** A function that gives the exception's value to the program's caller, for programs that have none of their own. */
function addExceptionCallback(r: Rewrite, env: VerifierEnv): number {
  const result = r.appendHidden([
    { code: BPF_ALU64 | BPF_MOV | BPF_X, dst: 0, src: 1, off: 0, imm: 0 },
    { code: BPF_JMP | BPF_EXIT, dst: 0, src: 0, off: 0, imm: 0 },
  ]);
  if (result < 0) return result;
  env.subprogs.splice(env.subprogCount, 0, new Subprog(0));
  env.exceptionCallbackSubprog = env.subprogCount++;
  env.hiddenSubprogCount++;
  markExceptionCallback(env, env.exceptionCallbackSubprog);
  return 0;
}

// ---------------------------------------------------------------- upper halves

function isCompareAndExchange(r: Rewrite, i: number): boolean {
  const mode = r.code[i]! & 0xe0;
  return (r.code[i]! & 7) === BPF_STX && (mode === BPF_ATOMIC || mode === BPF_PROBE_ATOMIC) && r.imm[i] === BPF_CMPXCHG;
}

/** Clears the upper half after a 4-byte compare-and-exchange; with `BPF_F_TEST_RND_HI32`, fills those that nobody reads. */
function rewriteUpperHalves(r: Rewrite, env: VerifierEnv): number {
  const fills = (env.load.flags & BPF_F_TEST_RND_HI32) !== 0;
  let isNeeded = fills;
  if (!fills && (r.kinds & KIND_ATOMIC) === 0) return 0;
  // only those are followed by anything
  for (let i = 0; i < r.count && !isNeeded; i++) isNeeded = (r.code[i]! & 7) === BPF_STX && isCompareAndExchange(r, i);
  if (!isNeeded) return 0;
  return r.pass((i) => {
    if (!fills && !isCompareAndExchange(r, i)) return KEEP;
    const reg = subregDefinedBy(r, i, env.arena);
    const isExtended = r.isPatched(i) ? reg >= 0 : (r.flags(i) & AUX_ZEXT_DST) !== 0;
    if (isExtended) {
      if (!isCompareAndExchange(r, i)) return KEEP;
      r.emitSelf();
      r.emit(BPF_ALU | BPF_MOV | BPF_X, 0, 0, 0, 1);
      return REPLACE;
    }
    const notes = r.notes(i);
    if (!fills || reg < 0 || ((r.code[i]! & 7) === BPF_LDX && notes >= 0 && r.aux.ptrType[notes] === PTR_TO_CTX)) return KEEP;
    r.emitSelf();
    mov64(r, AX, env.ext.random() | 0);
    alu64(r, BPF_LSH, AX, 32);
    aluX(r, true, BPF_OR, reg, AX);
    return REPLACE;
  });
}

// ---------------------------------------------------------------- all of it

/** Every function passes as many arguments on the stack as it writes (`bpf_fixup_call_args`). */
function checkStackArguments(env: VerifierEnv): number {
  for (let i = 0; i < env.subprogCount; i++) {
    const sub = env.subprogs[i]!;
    const outgoing = sub.stackArgCount - Math.max(0, sub.argCount - 5);
    if (sub.maxOutStackArgCount <= outgoing) continue;
    env.log.write(`func#${i} writes ${sub.maxOutStackArgCount} stack arg slots, but calls only require ${outgoing}\n`);
    return -EINVAL;
  }
  return 0;
}

/** The subprograms that are left, where they are now; what no pass reached any more is gone. */
function moveSubprogs(r: Rewrite, env: VerifierEnv): void {
  const end = env.subprogs[env.subprogCount]!;
  const old = env.subprogs;
  if (r.subprogs.length === env.subprogCount && env.hiddenSubprogCount === 0) {
    // none is gone
    for (let i = 0; i < r.starts.length; i++) old[i]!.start = r.starts[i]!;
    return;
  }
  let hidden = env.subprogCount - env.hiddenSubprogCount;
  env.subprogs = [...r.subprogs.map((index) => old[index < 0 ? hidden++ : index]!), end];
  env.subprogCount = r.subprogs.length;
  r.subprogs = r.subprogs.map((_, i) => i);
  for (const [i, start] of r.starts.entries()) env.subprogs[i]!.start = start;
}

function removeDead(r: Rewrite, env: VerifierEnv): number {
  const result = removeDeadCode(r, env.bpfCapable, env.slab);
  if (result === 0) moveSubprogs(r, env);
  return result;
}

function finish(r: Rewrite, env: VerifierEnv): number {
  moveSubprogs(r, env);
  return checkStackArguments(env);
}

const PASSES: readonly ((r: Rewrite, env: VerifierEnv) => number)[] = [inlineLoops, removeDead, convertAccesses, rewriteAll, rewriteUpperHalves, finish];

/**
 * All passes over `r`; the subprograms of `env` move with their instructions.
 * @returns 0 or `-errno`, with the reason in the log
 */
export function applyFixups(r: Rewrite, env: VerifierEnv): number {
  for (let i = 0; i < PASSES.length; i++) {
    const result = PASSES[i]!(r, env);
    if (r.failed >= 0) {
      env.log.write(`insn ${r.failed} cannot be patched due to 16-bit range\n`);
      return -ENOMEM;
    }
    if (result < 0) return result;
  }
  return 0;
}
