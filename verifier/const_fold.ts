/**
 * @module verifier/const_fold
 * Which registers hold the same constant on every path to an instruction, and the branches that follow from it. A forward
 * dataflow analysis over R0 to R10, instruction by instruction in reverse post-order until nothing changes; branches with a known
 * outcome become jumps, so that later analyses do not walk dead code. Reproduces kernel/bpf/const_fold.c.
 */
import { EFAULT } from '../isa/errno.ts';
import {
  BPF_ABS, BPF_ADD, BPF_ALU, BPF_ALU64, BPF_AND, BPF_ATOMIC, BPF_CALL, BPF_CMPXCHG, BPF_DW, BPF_EXIT, BPF_FETCH, BPF_H, BPF_IMM, BPF_IND, BPF_JA,
  BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JLE, BPF_JLT, BPF_JMP, BPF_JMP32, BPF_JNE, BPF_JSET, BPF_JSGE, BPF_JSGT, BPF_JSLE, BPF_JSLT, BPF_K, BPF_LD,
  BPF_LDX, BPF_LOAD_ACQ, BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MEM, BPF_MEMSX, BPF_MOV, BPF_PSEUDO_FUNC, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE, BPF_ST, BPF_STX, BPF_SUB, BPF_W, BPF_X,
} from '../isa/uapi.ts';
import { computePostorder, insnSuccessors } from './cfg.ts';
import { AUX_JUMP_TARGET, findSubprog, type InsnAux, type VerifierEnv } from './env.ts';
import { isMapReadOnly } from './mem_access.ts';
import { mayJumpBack } from './scc.ts';
import { isMayGoto } from './subprogs.ts';
import type { MapDescriptor } from './types.ts';
import type { Slab } from './workspace.ts';

/** R0 to R10. */
const REGISTERS = 11;
/** Registers whose constants are kept for later. */
const KEPT_REGISTERS = 10;
/** The register that stands for arguments on the stack. */
const PARAMS = 11;
/** R0 to R5. */
const CALLER_SAVED = 0x3f;

const UNKNOWN = 1;
const CONST = 2;
const MAP_PTR = 3;
const MAP_VALUE = 4;
const SUBPROG = 5;

/** Words of what is known of a register: kind, map, low and high half. */
const KIND = 0;
const MAP = 1;
const LO = 2;
const HI = 3;
const WORDS = 4;
/** Words of an instruction. */
const STRIDE: number = REGISTERS * WORDS;
const UNREACHED = -1;

/**
 * What is known of every register before every instruction, and of the one being worked on after it. Little is known of most registers most of
 * the time, so each instruction has a mask of those of which something is or was known; the others are {@link UNKNOWN} and all zeros.
 */
class Constants {
  /** By instruction, {@link UNREACHED} at first. */
  readonly masks: Int32Array;
  /** By instruction and register, where the mask has it. */
  readonly values: Int32Array;
  /** By register, all of them. */
  readonly out: Int32Array;
  /** Registers of {@link out} of which something is known. */
  outMask = 0;

  constructor(count: number, slab: Slab) {
    this.masks = slab.i32(count, false);
    this.values = slab.i32(count * STRIDE, false);
    this.out = slab.i32(STRIDE, false);
    for (let i = 0; i < count; i++) this.masks[i] = UNREACHED;
    for (let r = 0; r < REGISTERS; r++) this.forget(r);
  }

  startAt(insn: number): void {
    this.masks[insn] = 0;
  }

  load(insn: number): void {
    const { values, out } = this, mask = this.masks[insn]!, from = insn * STRIDE;
    for (let rest = this.outMask & ~mask; rest !== 0; rest &= rest - 1) this.forget(lowestBit(rest));
    for (let rest = mask; rest !== 0; rest &= rest - 1) copyKnown(out, values, lowestBit(rest), 0, from);
    this.outMask = mask;
  }

  /** Joins what holds after an instruction into what holds before its successor; true where that changed. */
  join(insn: number): boolean {
    const { values, out } = this, mask = this.masks[insn]!, to = insn * STRIDE;
    if (mask === UNREACHED) {
      this.masks[insn] = this.outMask;
      for (let rest = this.outMask; rest !== 0; rest &= rest - 1) copyKnown(values, out, lowestBit(rest), to, 0);
      return true;
    }
    let changed = false;
    for (let rest = mask; rest !== 0; rest &= rest - 1) {
      const from = lowestBit(rest) * WORDS, at = to + from;
      if (values[at] === UNKNOWN) continue;
      if (values[at] === out[from] && values[at + MAP] === out[from + MAP] && values[at + LO] === out[from + LO] && values[at + HI] === out[from + HI]) continue;
      values[at] = UNKNOWN;
      changed = true;
    }
    return changed;
  }

  forget(r: number): void {
    const { out } = this, at = r * WORDS;
    out[at] = UNKNOWN;
    out[at + MAP] = 0;
    out[at + LO] = 0;
    out[at + HI] = 0;
    this.outMask &= ~(1 << r);
  }

  forgetCallerSaved(): void {
    for (let rest = this.outMask & CALLER_SAVED; rest !== 0; rest &= rest - 1) this.forget(lowestBit(rest));
  }

  /** Sets the kind and the number. The kernel leaves the map of an earlier pointer in place, and compares it where paths meet. */
  set(r: number, kind: number, lo: number, hi: number): void {
    const { out } = this, at = r * WORDS;
    out[at] = kind;
    out[at + LO] = lo;
    out[at + HI] = hi;
    this.outMask |= 1 << r;
  }

  /** Sets the kind and the map. The number of an earlier constant stays, and is compared where paths meet. */
  setMap(r: number, kind: number, map: number): void {
    const { out } = this, at = r * WORDS;
    out[at] = kind;
    out[at + MAP] = map;
    this.outMask |= 1 << r;
  }

  copy(dst: number, src: number): void {
    const { out } = this, to = dst * WORDS, from = src * WORDS;
    for (let i = 0; i < WORDS; i++) out[to + i] = out[from + i]!;
    this.outMask = (this.outMask & ~(1 << dst)) | (((this.outMask >> src) & 1) << dst);
  }

  kind(r: number): number {
    return this.out[r * WORDS]!;
  }

  map(r: number): number {
    return this.out[r * WORDS + MAP]!;
  }

  lo(r: number): number {
    return this.out[r * WORDS + LO]!;
  }

  hi(r: number): number {
    return this.out[r * WORDS + HI]!;
  }

  isConst(r: number): boolean {
    return this.out[r * WORDS] === CONST;
  }

  isZero(r: number): boolean {
    const { out } = this, at = r * WORDS;
    return out[at] === CONST && out[at + LO] === 0 && out[at + HI] === 0;
  }

  /** Adds a sign-extended 32-bit number; `-imm` of the smallest one needs the extra bit that `number` has. */
  add(r: number, imm: number): void {
    const { out } = this, at = r * WORDS;
    const sum = (out[at + LO]! >>> 0) + imm;
    out[at + LO] = sum | 0;
    out[at + HI] = (out[at + HI]! + Math.floor(sum / 2 ** 32)) | 0;
  }
}

/** Number of the lowest bit of a mask that is not 0. */
function lowestBit(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

/** Copies what is known of a register between places of one instruction each. */
function copyKnown(d: Int32Array, s: Int32Array, r: number, to: number, from: number): void {
  const dst = to + r * WORDS, src = from + r * WORDS;
  d[dst + KIND] = s[src + KIND]!;
  d[dst + MAP] = s[src + MAP]!;
  d[dst + LO] = s[src + LO]!;
  d[dst + HI] = s[src + HI]!;
}

/**
 * Fills `constRegMask` (64-bit value fits 32 bits unsigned), `constRegMapMask` (index into `usedMaps`), `constRegSubprogMask` and
 * `constRegVals` of every instruction; needs the post-order.
 */
export function computeConstRegs(env: VerifierEnv): number {
  const { count } = env.insns;
  const constants = new Constants(count, env.slab);
  for (let i = 0; i < env.subprogCount; i++) constants.startAt(env.subprogs[i]!.start);
  if (mayJumpBack(env)) repeatForward(env, constants);
  else passForward(env, constants);
  return 0;
}

/** Where nothing jumps back: one pass, in which most instructions find what holds before them as the one in front of them left it. */
function passForward(env: VerifierEnv, constants: Constants): void {
  const { postorder, reachable, aux } = env;
  let isFollowed = false;
  for (let i = reachable - 1; i >= 0; i--) {
    const insn = postorder[i]!;
    if (!isFollowed) constants.load(insn);
    keepConstantsOf(aux, insn, constants.out, constants.outMask, 0);
    transfer(env, constants, insn);
    const successors = insnSuccessors(env, insn), next = env.succ[0]!;
    isFollowed = successors === 1 && i > 0 && next === postorder[i - 1] && (aux.flags[next]! & AUX_JUMP_TARGET) === 0;
    if (isFollowed) continue;
    for (let s = 0; s < successors; s++) constants.join(env.succ[s]!);
  }
}

/** To a fixed point. */
function repeatForward(env: VerifierEnv, constants: Constants): void {
  const { postorder, reachable } = env;
  const { count } = env.insns;
  // an instruction is looked at again only where what holds before it has changed: all else would come out as before
  const isSettled = env.slab.u8(count);
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = reachable - 1; i >= 0; i--) {
      const insn = postorder[i]!;
      if (isSettled[insn] !== 0) continue;
      isSettled[insn] = 1;
      constants.load(insn);
      transfer(env, constants, insn);
      const successors = insnSuccessors(env, insn);
      for (let s = 0; s < successors; s++) {
        const next = env.succ[s]!;
        if (!constants.join(next)) continue;
        isSettled[next] = 0;
        changed = true;
      }
    }
  }
  const { masks, values } = constants;
  for (let insn = 0; insn < count; insn++) if (masks[insn] !== UNREACHED) keepConstantsOf(env.aux, insn, values, masks[insn]!, insn * STRIDE);
}

/** Notes the constants of the registers in `known`, whose words are at `at` of `values`. */
function keepConstantsOf(aux: InsnAux, insn: number, values: Int32Array, known: number, at: number): void {
  let mask = 0, mapMask = 0, subprogMask = 0;
  for (let rest = known & ((1 << KEPT_REGISTERS) - 1); rest !== 0; rest &= rest - 1) {
    const r = lowestBit(rest), from = at + r * WORDS, kind = values[from]!;
    if (kind < CONST || kind === MAP_VALUE) continue;
    if (kind === CONST) {
      if (values[from + HI] !== 0) continue;
      mask |= 1 << r;
    } else if (kind === MAP_PTR) mapMask |= 1 << r;
    else subprogMask |= 1 << r;
    aux.constRegVals[insn * KEPT_REGISTERS + r] = values[from + (kind === MAP_PTR ? MAP : LO)]!;
  }
  aux.constRegMask[insn] = mask;
  aux.constRegMapMask[insn] = mapMask;
  aux.constRegSubprogMask[insn] = subprogMask;
}

/** What an instruction does to the constants. */
function transfer(env: VerifierEnv, c: Constants, insn: number): void {
  const { insns } = env;
  const code = insns.code[insn]!;
  const dst = insns.dst[insn]!;
  const src = insns.src[insn]!;
  const off = insns.off[insn]!;
  const isWord = code === (BPF_LDX | BPF_MEM | BPF_DW) || code === (BPF_ST | BPF_MEM | BPF_DW) || code === (BPF_STX | BPF_MEM | BPF_DW);
  if (isWord && off % 8 === 0) {
    if ((code & 7) !== BPF_LDX && dst === PARAMS && off < 0) return;
    if ((code & 7) === BPF_LDX && src === PARAMS && off > 0) {
      if (dst < REGISTERS) c.forget(dst);
      return;
    }
  }
  switch (code & 7) {
    case BPF_ALU: case BPF_ALU64:
      if (dst < REGISTERS) transferALU(c, code, dst, src, off, insns.imm[insn]!);
      break;
    case BPF_LD:
      transferLoad64(env, c, insn, code, dst, src);
      break;
    case BPF_LDX:
      if (dst < REGISTERS) transferLoad(env, c, code, dst, src, off);
      break;
    case BPF_JMP:
      if ((code & 0xf8) === BPF_CALL) c.forgetCallerSaved();
      break;
    case BPF_STX: {
      const loaded = atomicLoadRegister(env, insn);
      if (loaded >= 0 && loaded < REGISTERS) c.forget(loaded);
      break;
    }
    default:
  }
}

/** Register that an atomic instruction loads, -1 for none (`bpf_atomic_load_reg`). */
function atomicLoadRegister(env: VerifierEnv, insn: number): number {
  const code = env.insns.code[insn]!;
  if ((code & 7) !== BPF_STX || (code & 0xe0) !== BPF_ATOMIC) return -1;
  const imm = env.insns.imm[insn]!;
  if (imm === BPF_LOAD_ACQ) return env.insns.dst[insn]!;
  if (imm === BPF_CMPXCHG) return 0;
  return (imm & BPF_FETCH) !== 0 ? env.insns.src[insn]! : -1;
}

function transferALU(c: Constants, code: number, dst: number, src: number, off: number, imm: number): void {
  const high = imm >> 31;
  switch (code & 0xf8) {
    case BPF_MOV | BPF_K:
      c.set(dst, CONST, imm, high);
      break;
    case BPF_MOV | BPF_X:
      if (src < REGISTERS) c.copy(dst, src);
      else c.forget(dst);
      if (off !== 0) signExtend(c, dst, off);
      break;
    case BPF_ADD | BPF_K:
    case BPF_SUB | BPF_K:
      if (!c.isConst(dst) && c.kind(dst) !== MAP_VALUE) c.forget(dst);
      else c.add(dst, (code & 0xf0) === BPF_ADD ? imm : -imm);
      break;
    case BPF_AND | BPF_K:
      if (c.isConst(dst)) c.set(dst, CONST, c.lo(dst) & imm, c.hi(dst) & high);
      else if (imm === 0) c.set(dst, CONST, 0, 0);
      else c.forget(dst);
      break;
    case BPF_AND | BPF_X:
      if (c.isZero(dst)) break;
      if (src < REGISTERS && c.isZero(src)) c.set(dst, CONST, 0, 0);
      else if (src < REGISTERS && c.isConst(dst) && c.isConst(src)) c.set(dst, CONST, c.lo(dst) & c.lo(src), c.hi(dst) & c.hi(src));
      else c.forget(dst);
      break;
    default:
      c.forget(dst);
  }
  if ((code & 7) !== BPF_ALU) return;
  if (c.isConst(dst)) c.set(dst, CONST, c.lo(dst), 0);
  else if (c.kind(dst) !== UNKNOWN) c.forget(dst);
}

/** Moves with sign extension from 8, 16 or 32 bits. */
function signExtend(c: Constants, r: number, bits: number): void {
  if (!c.isConst(r) || (bits !== 8 && bits !== 16 && bits !== 32)) {
    c.forget(r);
    return;
  }
  const shift = 32 - bits;
  const lo = (c.lo(r) << shift) >> shift;
  c.set(r, CONST, lo, lo >> 31);
}

function transferLoad64(env: VerifierEnv, c: Constants, insn: number, code: number, dst: number, src: number): void {
  const mode = code & 0xe0;
  if (mode === BPF_ABS || mode === BPF_IND) {
    c.forgetCallerSaved();
    return;
  }
  if (mode !== BPF_IMM || (code & 0x18) !== BPF_DW || dst >= REGISTERS) return;
  const { aux, insns } = env;
  const imm = insns.imm[insn]!;
  switch (src) {
    case BPF_PSEUDO_FUNC: {
      const subprog = findSubprog(env, insn + imm + 1);
      if (subprog < 0) {
        c.forget(dst);
        return;
      }
      c.set(dst, SUBPROG, subprog, 0);
      return;
    }
    case BPF_PSEUDO_MAP_VALUE: case BPF_PSEUDO_MAP_IDX_VALUE:
      c.set(dst, MAP_VALUE, aux.mapOff[insn]!, 0);
      c.setMap(dst, MAP_VALUE, aux.mapIndex[insn]!);
      return;
    case BPF_PSEUDO_MAP_FD: case BPF_PSEUDO_MAP_IDX:
      c.setMap(dst, MAP_PTR, aux.mapIndex[insn]!);
      return;
    case 0:
      c.set(dst, CONST, imm, insns.imm[insn + 1] ?? 0);
      return;
    default:
      c.forget(dst);
  }
}

/** Loads from frozen read-only values give constants. */
function transferLoad(env: VerifierEnv, c: Constants, code: number, dst: number, src: number, off: number): void {
  const map = src < REGISTERS && c.kind(src) === MAP_VALUE ? constantMap(env, c.map(src)) : undefined;
  const size = bytesOf(code);
  const at = src < REGISTERS ? (c.lo(src) + off) | 0 : -1;
  const value = map === undefined || !isMapReadOnly(map) || at < 0 || at + size > map.valueSize ? undefined : map.readDirectValue(at, size);
  if (value === undefined) {
    c.forget(dst);
    return;
  }
  c.set(dst, CONST, value[0] | 0, value[1] | 0);
  if ((code & 0xe0) === BPF_MEMSX && size < 8) signExtend(c, dst, size * 8);
}

/** A used map whose values may be constants: not those whose direct values are something else than what programs read. */
function constantMap(env: VerifierEnv, index: number): MapDescriptor | undefined {
  const map = env.usedMaps[index];
  return map === undefined || map.type === BPF_MAP_TYPE_INSN_ARRAY || map.type === BPF_MAP_TYPE_PERCPU_ARRAY ? undefined : map;
}

function bytesOf(code: number): number {
  switch (code & 0x18) {
    case BPF_DW: return 8;
    case BPF_W: return 4;
    case BPF_H: return 2;
    default: return 1;
  }
}

/** True for conditional jumps (`bpf_insn_is_cond_jump`), `may_goto` included. */
export function isConditionalJump(code: number): boolean {
  const operation = code & 0xf0;
  if ((code & 7) === BPF_JMP32) return operation !== BPF_JA;
  return (code & 7) === BPF_JMP && operation !== BPF_JA && operation !== BPF_EXIT && operation !== BPF_CALL;
}

/** Turns branches whose outcome is known into jumps; 0 or `-errno`. Recomputes the post-order where it changed anything. */
export function pruneDeadBranches(env: VerifierEnv): number {
  const { insns, aux } = env;
  let changed = false;
  for (let i = 0; i < insns.count; i++) {
    const code = insns.code[i]!;
    if (!isConditionalJump(code) || isMayGoto(env, i)) continue;
    const mask = aux.constRegMask[i]!;
    const dst = insns.dst[i]!;
    const src = insns.src[i]!;
    if ((mask & (1 << dst)) === 0) continue;
    const hasRegister = (code & 8) === BPF_X;
    if (hasRegister && (mask & (1 << src)) === 0) continue;
    const is32 = (code & 7) === BPF_JMP32;
    const dstLo = aux.constRegVals[i * KEPT_REGISTERS + dst]!;
    const srcLo = hasRegister ? aux.constRegVals[i * KEPT_REGISTERS + src]! : insns.imm[i]!;
    const dstHi = is32 ? dstLo >> 31 : 0;
    const srcHi = is32 || !hasRegister ? srcLo >> 31 : 0;
    const taken = branchOutcome(code & 0xf0, dstLo, dstHi, srcLo, srcHi);
    if (taken === undefined) {
      env.log.write(`Unknown conditional jump ${code.toString(16)}\n`);
      return -EFAULT;
    }
    insns.code[i] = BPF_JMP | BPF_JA;
    insns.dst[i] = 0;
    insns.src[i] = 0;
    if (!taken) insns.off[i] = 0;
    insns.imm[i] = 0;
    changed = true;
  }
  return changed ? computePostorder(env) : 0;
}

/** Outcome of a comparison of two 64-bit numbers, `undefined` for an unknown operation. */
function branchOutcome(operation: number, aLo: number, aHi: number, bLo: number, bHi: number): boolean | undefined {
  const equal = aLo === bLo && aHi === bHi;
  const below = aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0;
  const less = aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi < bHi;
  switch (operation) {
    case BPF_JEQ: return equal;
    case BPF_JNE: return !equal;
    case BPF_JGT: return !below && !equal;
    case BPF_JGE: return !below;
    case BPF_JLT: return below;
    case BPF_JLE: return below || equal;
    case BPF_JSGT: return !less && !equal;
    case BPF_JSGE: return !less;
    case BPF_JSLT: return less;
    case BPF_JSLE: return less || equal;
    case BPF_JSET: return (aLo & bLo) !== 0 || (aHi & bHi) !== 0;
    default: return undefined;
  }
}
