/**
 * @module verifier/liveness
 * Which registers may still be read before each instruction, and which 32-bit results need zero extension because their upper
 * half is. Owns register liveness; the stack's is in `live_stack.ts`. Reproduces `bpf_compute_live_registers()` of
 * `kernel/bpf/liveness.c`.
 */
import { BPF_PROBE_ATOMIC, BPF_PROBE_MEM, BPF_PROBE_MEM32 } from '../isa/instructions.ts';
import {
  BPF_ABS, BPF_ALU, BPF_ALU64, BPF_ATOMIC, BPF_CALL, BPF_CMPXCHG, BPF_DW, BPF_END, BPF_EXIT, BPF_FETCH, BPF_IMM, BPF_IND, BPF_JA, BPF_JCOND, BPF_JMP,
  BPF_LD, BPF_LDX, BPF_LOAD_ACQ, BPF_MEM, BPF_MEMSX, BPF_MOV, BPF_ST, BPF_STORE_REL, BPF_STX, BPF_X,
} from '../isa/uapi.ts';
import { callSummary } from './call_summary.ts';
import { insnSuccessors } from './cfg.ts';
import { AUX_ZEXT_DST, type VerifierEnv } from './env.ts';
import { computeStackLiveness } from './live_stack.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import { alignment, verboseInsn } from './print.ts';
import type { MapDescriptor } from './types.ts';

const LD_IMM64: number = BPF_LD | BPF_IMM | BPF_DW;
const CALLER_SAVED = 0x3f;
/** A register is two bits: its low half, and 16 further up its high half. */
const low = (reg: number): number => 1 << reg;
const whole = (reg: number): number => (1 << reg) | (1 << (reg + 16));
const widen = (mask: number): number => mask | (mask << 16);

/** Registers that the instruction last looked at reads and writes. */
let uses = 0;
let defines = 0;

/** Sets {@link uses} and {@link defines} for an instruction; one that is not understood reads everything. */
function lookAt(env: VerifierEnv, insn: number): void {
  const { code, dst, src } = env.insns;
  const op = code[insn]!, cls = op & 7, operation = op & 0xf0, mode = op & 0xe0;
  const is64 = (op & 0x18) === BPF_DW;
  const d = whole(dst[insn]!), s = whole(src[insn]!);
  uses = -1;
  defines = 0;
  switch (cls) {
    case BPF_LD:
      if (op === LD_IMM64) set(0, d);
      break;
    case BPF_LDX:
      if (mode === BPF_MEM || mode === BPF_MEMSX) set(s, d);
      break;
    case BPF_ST:
      if (mode === BPF_MEM) set(d, 0);
      break;
    case BPF_STX:
      if (mode === BPF_MEM) set(d | (is64 ? s : low(src[insn]!)), 0);
      else if (mode === BPF_ATOMIC) lookAtAtomic(env, insn, is64);
      break;
    case BPF_ALU:
    case BPF_ALU64: {
      const half = cls === BPF_ALU64 ? -1 : 0xffff;
      const operand = (op & BPF_X) !== 0 ? s & half : 0;
      if (operation === BPF_END) set(d, d);
      else if (operation === BPF_MOV) set(operand, d);
      else set((d & half) | operand, d);
      break;
    }
    default:
      lookAtJump(env, insn, cls, operation);
  }
}

function set(use: number, define: number): void {
  uses = use;
  defines = define;
}

function lookAtAtomic(env: VerifierEnv, insn: number, is64: boolean): void {
  const { dst, src, imm } = env.insns;
  const d = whole(dst[insn]!), s = whole(src[insn]!), value = is64 ? s : low(src[insn]!);
  switch (imm[insn]) {
    case BPF_CMPXCHG:
      set((is64 ? whole(0) : low(0)) | d | value, whole(0));
      break;
    case BPF_LOAD_ACQ:
      set(s, d);
      break;
    case BPF_STORE_REL:
      set(d | value, 0);
      break;
    default:
      set(d | value, (imm[insn]! & BPF_FETCH) !== 0 ? s : 0);
  }
}

function lookAtJump(env: VerifierEnv, insn: number, cls: number, operation: number): void {
  const { code, dst, src } = env.insns;
  const isRegister = (code[insn]! & BPF_X) !== 0;
  const half = cls === BPF_JMP ? -1 : 0xffff;
  switch (operation) {
    case BPF_JA:
      set(isRegister ? whole(dst[insn]!) : 0, 0);
      break;
    case BPF_JCOND:
      set(0, 0);
      break;
    case BPF_EXIT:
      set(whole(0), 0);
      break;
    case BPF_CALL: {
      const params = callSummary(env, insn)?.paramCount;
      const args = params === undefined ? CALLER_SAVED & ~1 : (1 << (Math.min(params, 5) + 1)) - 2;
      set(widen(args), widen(CALLER_SAVED));
      break;
    }
    default:
      set((whole(dst[insn]!) | (isRegister ? whole(src[insn]!) : 0)) & half, 0);
  }
}

/** Instructions by field. */
export interface InsnFields {
  readonly code: Uint8Array;
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  readonly off: Int16Array;
  readonly imm: Int32Array;
}

/**
 * The register of which an instruction, which may already be rewritten, writes 32 bits only, -1 for none (`bpf_insn_def32`); `arena` is what
 * the program uses.
 */
export function subregDefinedBy(insns: InsnFields, insn: number, arena: MapDescriptor | undefined): number {
  const { code, dst, src, imm } = insns;
  const op = code[insn]!, cls = op & 7, mode = op & 0xe0, is64 = (op & 0x18) === BPF_DW;
  const isEnd = (op & 0xf0) === BPF_END;
  switch (cls) {
    case BPF_ALU:
      return isEnd && imm[insn] === 64 ? -1 : dst[insn]!;
    case BPF_ALU64:
      return (isEnd && imm[insn] !== 64) || isCastTo32(insns, insn, arena) ? dst[insn]! : -1;
    case BPF_LDX:
      return (mode === BPF_MEM || mode === BPF_PROBE_MEM || mode === BPF_PROBE_MEM32) && !is64 ? dst[insn]! : -1;
    case BPF_LD:
      return mode === BPF_IND || mode === BPF_ABS ? dst[insn]! : -1;
    case BPF_STX:
      if (is64 || (mode !== BPF_ATOMIC && mode !== BPF_PROBE_ATOMIC)) return -1;
      if (imm[insn] === BPF_LOAD_ACQ) return dst[insn]!;
      if (imm[insn] === BPF_CMPXCHG) return 0;
      return (imm[insn]! & BPF_FETCH) !== 0 ? src[insn]! : -1;
    default:
      return -1;
  }
}

const ADDR_SPACE_CAST = 1;
const NO_USER_CONV = 1 << 18;

/** Address space casts that become 32-bit moves. */
export function isCastTo32({ code, off, imm }: InsnFields, insn: number, arena: MapDescriptor | undefined): boolean {
  if (code[insn] !== (BPF_ALU64 | BPF_MOV | BPF_X) || off[insn] !== ADDR_SPACE_CAST) return false;
  if (imm[insn] === 1) return true;
  return imm[insn] === 1 << 16 && arena !== undefined && (arena.flags & NO_USER_CONV) !== 0;
}

/** The order for backward analyses, by function as the post-order: where nothing jumps back one pass in it is enough. */
function backwardOrder(env: VerifierEnv): Int32Array {
  const { postorder, reachable } = env;
  if (env.jumpsBack) return postorder;
  const isReached = env.slab.u8(env.insns.count), order = env.slab.i32(reachable, false);
  for (let p = 0; p < reachable; p++) isReached[postorder[p]!] = 1;
  for (let s = 0, p = 0; s < env.subprogCount; s++) {
    for (let i = env.subprogEnd(s) - 1, { start } = env.subprogs[s]!; i >= start; i--) if (isReached[i] !== 0) order[p++] = i;
  }
  return order;
}

/** Computes stack and register liveness of the program into `env.liveStack` and `env.aux`; 0 or `-errno`. */
export function computeLiveRegisters(env: VerifierEnv): number {
  env.backward = backwardOrder(env);
  const err = computeStackLiveness(env);
  if (err !== 0) return err;
  if (env.jumpsBack) repeatBackward(env);
  else passBackward(env);
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) printLiveRegisters(env);
  return 0;
}

/** Where nothing jumps back: one pass. What is not reached needs nothing. */
function passBackward(env: VerifierEnv): void {
  const { backward, reachable } = env;
  const before = env.slab.i32(env.insns.count);
  for (let p = 0; p < reachable; p++) {
    const insn = backward[p]!;
    lookAt(env, insn);
    let out = 0;
    for (let s = insnSuccessors(env, insn) - 1; s >= 0; s--) out |= before[env.succ[s]!]!;
    const live = (out & ~defines) | uses;
    before[insn] = live;
    keepLive(env, insn, live, out);
  }
}

/** To a fixed point. */
function repeatBackward(env: VerifierEnv): void {
  const { backward, reachable, slab } = env, n = env.insns.count;
  const use = slab.i32(n, false), define = slab.i32(n, false), before = slab.i32(n), after = slab.i32(n);
  for (let i = 0; i < n; i++) {
    lookAt(env, i);
    use[i] = uses;
    define[i] = defines;
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (let p = 0; p < reachable; p++) {
      const insn = backward[p]!;
      let out = 0;
      for (let s = insnSuccessors(env, insn) - 1; s >= 0; s--) out |= before[env.succ[s]!]!;
      const live = (out & ~define[insn]!) | use[insn]!;
      if (out === after[insn] && live === before[insn]) continue;
      before[insn] = live;
      after[insn] = out;
      changed = true;
    }
  }
  for (let i = 0; i < n; i++) keepLive(env, i, before[i]!, after[i]!);
}

/** Notes what is alive before and after an instruction. */
function keepLive({ aux, insns, arena }: VerifierEnv, i: number, before: number, after: number): void {
  aux.liveRegsBefore[i] = (before | (before >>> 16)) & 0xffff;
  if (after >>> 16 === 0) return;
  const subreg = subregDefinedBy(insns, i, arena);
  if (subreg >= 0 && (after & (1 << (subreg + 16))) !== 0) aux.flags[i]! |= AUX_ZEXT_DST;
}

function printLiveRegisters(env: VerifierEnv): void {
  const { log, aux } = env;
  log.write('Live regs before insn:\n');
  for (let i = 0; i < env.insns.count; i++) {
    log.write(aux.scc[i] !== 0 ? `${String(aux.scc[i]).padStart(3)} ` : '    ');
    log.write(`${String(i).padStart(3)}: `);
    for (let r = 0; r < 10; r++) log.write((aux.liveRegsBefore[i]! & (1 << r)) !== 0 ? String(r) : '.');
    log.write(' ');
    const from = log.endPos;
    verboseInsn(env, i);
    if ((aux.flags[i]! & AUX_ZEXT_DST) !== 0) log.write(`${' '.repeat(alignment(log.endPos - from))}; zext`);
    log.write('\n');
    if (env.insns.code[i] === LD_IMM64) i++;
  }
}
