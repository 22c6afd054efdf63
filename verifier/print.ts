/**
 * @module verifier/print
 * Registers, stack slots and states as the log prints them, and instructions in front of which they stand
 * (`print_verifier_state`, `print_insn_state`, kernel/bpf/log.c). Builds one message a state.
 */
import { disassemble, type DisassemblerOptions } from '../isa/disasm.ts';
import { BTF_KIND_FUNC } from '../isa/uapi.ts';
import { BOUND, cnum32SMax, cnum32SMin, cnum32UMax, cnum32UMin, cnum64SMax, cnum64SMin, cnum64UMax, cnum64UMin } from './cnum.ts';
import type { VerifierEnv } from './env.ts';
import { signedText, unsignedText } from './log.ts';
import { isVarConst, varText } from './regs.ts';
import {
  baseType, CONST_PTR_TO_DYNPTR, MAX_BPF_REG, NOT_INIT, PTR_TO_ARENA, PTR_TO_BTF_ID, PTR_TO_MEM, PTR_TO_STACK, regTypeName, SCALAR_VALUE,
  typeIsMapPtr, typeIsNonOwningRef, typeIsPktPointer,
} from './regtypes.ts';
import {
  BPF_ADD_CONST, F_ALLOCATED_STACK, F_FLAGS, F_FRAMENO, FF_IN_ASYNC_CALLBACK, FF_IN_CALLBACK, REF_ID, REF_WORDS, REG_A, REG_B, REG_C,
  REG_DELTA, REG_ID, REG_MASK_HI, REG_MASK_LO, REG_PARENT_ID, REG_PRECISE, REG_R32, REG_R64, REG_TYPE, REG_VAR_HI, REG_VAR_LO, regAt,
  SLOT_TYPES, slotAt, STACK_DYNPTR, STACK_INVALID, STACK_ITER, STACK_POISON, STACK_SPILL, type VState,
} from './state.ts';

const SLOT_CHARS = '?rm0difp';
const DYNPTR_NAMES: readonly string[] = ['<invalid>', 'local', 'ringbuf', 'skb', 'xdp', 'skb_meta', 'file'];
const ITER_STATES: readonly string[] = ['<invalid>', 'active', 'drained'];
const ITER_PREFIX = 'bpf_iter_';

/** Name of a dynptr kind (`BPF_DYNPTR_TYPE_*`). */
export function dynptrTypeName(type: number): string {
  return DYNPTR_NAMES[type] ?? '<unknown>';
}

/** `num` for the iterator state `bpf_iter_num`. */
export function iterTypeName(env: VerifierEnv, btfIndex: number, btfID: number): string {
  const btf = env.btfAt(btfIndex);
  return btf === undefined || btfID === 0 ? '<invalid>' : btf.typeName(btfID).slice(ITER_PREFIX.length);
}

export function iterStateName(state: number): string {
  return ITER_STATES[state] ?? '<unknown>';
}

const BOUND_NAMES: readonly string[] = ['smin', 'smax', 'umin', 'umax', 'smin32', 'smax32', 'umin32', 'umax32'];
const boundLo = new Int32Array(8);
const boundHi = new Int32Array(8);
const boundOmit = new Uint8Array(8);

function setBound(i: number, lo: number, hi: number, omit: boolean): void {
  boundLo[i] = lo;
  boundHi[i] = hi;
  boundOmit[i] = omit ? 1 : 0;
}

function loadBounds(w: Int32Array, reg: number): void {
  const r64 = reg + REG_R64;
  const r32 = reg + REG_R32;
  cnum64SMin(w, r64);
  setBound(0, BOUND[0]!, BOUND[1]!, BOUND[0] === 0 && BOUND[1] === -0x80000000);
  cnum64SMax(w, r64);
  setBound(1, BOUND[0]!, BOUND[1]!, BOUND[0] === -1 && BOUND[1] === 0x7fffffff);
  cnum64UMin(w, r64);
  setBound(2, BOUND[0]!, BOUND[1]!, BOUND[0] === 0 && BOUND[1] === 0);
  cnum64UMax(w, r64);
  setBound(3, BOUND[0]!, BOUND[1]!, BOUND[0] === -1 && BOUND[1] === -1);
  // Signed 32-bit bounds print in decimal where they are small, else as 32-bit hexadecimal numbers.
  const smin = cnum32SMin(w, r32) | 0;
  setBound(4, smin, smin >= -32768 && smin <= 32767 ? smin >> 31 : 0, smin === -0x80000000);
  const smax = cnum32SMax(w, r32) | 0;
  setBound(5, smax, smax >= -32768 && smax <= 32767 ? smax >> 31 : 0, smax === 0x7fffffff);
  const umin = cnum32UMin(w, r32) | 0;
  setBound(6, umin, 0, umin === 0);
  const umax = cnum32UMax(w, r32) | 0;
  setBound(7, umax, 0, umax === -1);
}

/** The bounds that say something, equal ones joined: `smin=0,smax=umax=7`. */
function rangesText(w: Int32Array, reg: number, hasBefore: boolean): string {
  loadBounds(w, reg);
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (boundOmit[i] === 1) continue;
    const isSigned = (i & 2) === 0;
    const isNegative = isSigned && boundHi[i]! < 0;
    text += `${hasBefore || text !== '' ? ',' : ''}${BOUND_NAMES[i]!}=`;
    for (let k = i + 2; k < 8; k += 2) {
      if (boundOmit[k] === 1 || boundLo[k] !== boundLo[i] || boundHi[k] !== boundHi[i]) continue;
      if (((k & 2) === 0 && boundHi[k]! < 0) !== isNegative) continue;
      boundOmit[k] = 1;
      text += `${BOUND_NAMES[k]!}=`;
    }
    text += isSigned ? signedText(boundLo[i]!, boundHi[i]!) : unsignedText(boundLo[i]!, boundHi[i]!);
  }
  return text;
}

/** One register's contents, as after `R1=`. */
export function regText(env: VerifierEnv, w: Int32Array, frameno: number, reg: number): string {
  const type = w[reg + REG_TYPE]!;
  const precise = type === SCALAR_VALUE && w[reg + REG_PRECISE] !== 0 ? 'P' : '';
  const isConst = isVarConst(w, reg);
  const delta = w[reg + REG_DELTA]!;
  if (type === SCALAR_VALUE && isConst) return precise + signedText(w[reg + REG_VAR_LO]!, w[reg + REG_VAR_HI]!);
  let text = precise + regTypeName(type);
  if (type === PTR_TO_ARENA) return text;
  if (type === PTR_TO_STACK) {
    if (frameno !== w[reg + REG_A]) text += `[${w[reg + REG_A]!}]`;
    if (isConst) {
      const off = (w[reg + REG_VAR_LO]! + delta) | 0;
      return text + signedText(off, off >> 31);
    }
  }
  const base = baseType(type);
  if (base === PTR_TO_BTF_ID) text += env.btfAt(w[reg + REG_A]!)?.typeName(w[reg + REG_B]!) ?? '';
  text += '(';
  let sep = '';
  const add = (part: string): void => {
    text += sep + part;
    sep = ',';
  };
  const id = w[reg + REG_ID]!;
  if (id !== 0) add(`id=${id & ~BPF_ADD_CONST}`);
  if ((id & BPF_ADD_CONST) !== 0) text += delta < 0 ? String(delta) : `+${delta}`;
  if (w[reg + REG_PARENT_ID] !== 0) add(`parent_id=${w[reg + REG_PARENT_ID]!}`);
  if (typeIsNonOwningRef(type)) add('non_own_ref');
  if (typeIsMapPtr(type)) {
    const map = env.mapTable[w[reg + REG_A]!]!;
    if (map.name !== '') add(`map=${map.name}`);
    add(`ks=${map.keySize},vs=${map.valueSize}`);
  }
  if (type !== SCALAR_VALUE && delta !== 0) add(`off=${signedText(delta, delta >> 31)}`);
  if (typeIsPktPointer(type)) add(`r=${unsignedText(w[reg + REG_A]!, w[reg + REG_A]! >> 31)}`);
  if (base === PTR_TO_MEM) add(`sz=${unsignedText(w[reg + REG_A]!, 0)}`);
  if (type === CONST_PTR_TO_DYNPTR) add(`type=${dynptrTypeName(w[reg + REG_A]!)}`);
  if (isConst) {
    if (w[reg + REG_VAR_LO] !== 0 || w[reg + REG_VAR_HI] !== 0) add(`imm=${signedText(w[reg + REG_VAR_LO]!, w[reg + REG_VAR_HI]!)}`);
  } else {
    const ranges = rangesText(w, reg, sep !== '');
    if (ranges !== '') {
      text += ranges;
      sep = ',';
    }
    if (w[reg + REG_MASK_LO] !== -1 || w[reg + REG_MASK_HI] !== -1) add(`var_off=${varText(w, reg)}`);
  }
  return `${text})`;
}

/** Text of one stack slot, `undefined` where it does not show; `skip` slots more belong to it. */
function slotText(env: VerifierEnv, st: VState, frame: number, spi: number): { text: string; skip: number } | undefined {
  const { w, b } = st;
  const slot = slotAt(frame, spi);
  const types = (slot + SLOT_TYPES) << 2;
  let isValid = false;
  let chars = '';
  for (let j = 0; j < 8; j++) {
    const type = b[types + j]!;
    if (type !== STACK_INVALID && type !== STACK_POISON) isValid = true;
    chars += SLOT_CHARS[type]!;
  }
  if (!isValid) return undefined;
  const off = (-spi - 1) * 8;
  switch (b[types + 7]) {
    case STACK_SPILL: {
      const first = chars.indexOf('r');
      return { text: ` fp${off}=${chars.slice(0, first)}${regText(env, w, w[frame + F_FRAMENO]!, slot)}`, skip: 0 };
    }
    case STACK_DYNPTR: {
      const next = slotAt(frame, spi + 1);
      const parts: string[] = [];
      if (w[next + REG_ID] !== 0) parts.push(`id=${w[next + REG_ID]!}`);
      if (w[next + REG_PARENT_ID] !== 0) parts.push(`parent_id=${w[next + REG_PARENT_ID]!}`);
      return { text: ` fp${off - 8}=dynptr_${dynptrTypeName(w[next + REG_A]!)}(${parts.join(',')})`, skip: 1 };
    }
    case STACK_ITER: {
      if (w[slot + REG_ID] === 0) return undefined;
      const state = w[slot + REG_C]!;
      const name = iterTypeName(env, w[slot + REG_A]!, w[slot + REG_B]!);
      return { text: ` fp${off}=iter_${name}(id=${w[slot + REG_ID]!},state=${iterStateName(state & 3)},depth=${state >>> 2})`, skip: 0 };
    }
    default:
      return { text: ` fp${off}=${chars}`, skip: 0 };
  }
}

/** True where slot `spi` was touched since the last print. */
function isSlotScratched(env: VerifierEnv, spi: number): boolean {
  return ((spi < 32 ? env.scratchedSlotsLo >>> spi : env.scratchedSlotsHi >>> (spi - 32)) & 1) !== 0;
}

/** Writes one frame of a state, all of it or what was touched since the last time. */
export function printVerifierState(env: VerifierEnv, st: VState, frameno: number, all: boolean): void {
  if (env.log.level !== 0) writeState(env, st, frameno, all);
  if (!all) markStateClean(env);
}

function writeState(env: VerifierEnv, st: VState, frameno: number, all: boolean): void {
  const { w } = st;
  const frame = st.frameAt[frameno]!;
  const own = w[frame + F_FRAMENO]!;
  if (own !== 0) env.log.write(` frame${own}:`);
  for (let i = 0; i < MAX_BPF_REG; i++) {
    const reg = regAt(frame, i);
    if (w[reg + REG_TYPE] === NOT_INIT) continue;
    if (!all && ((env.scratchedRegs >>> i) & 1) === 0) continue;
    env.log.write(` R${i}=${regText(env, w, own, reg)}`);
  }
  const slots = w[frame + F_ALLOCATED_STACK]! >> 3;
  for (let i = 0; i < slots; i++) {
    if (!all && !isSlotScratched(env, i)) continue;
    const slot = slotText(env, st, frame, i);
    if (slot === undefined) continue;
    env.log.write(slot.text);
    i += slot.skip;
  }
  let refs = '';
  for (let i = 0; i < st.acquiredRefs; i++) {
    const id = w[st.refsAt + i * REF_WORDS + REF_ID]!;
    if (i === 0 && id === 0) break;
    if (id !== 0) refs += i === 0 ? ` refs=${id}` : `,${id}`;
  }
  env.log.write(refs);
  const flags = w[frame + F_FLAGS]!;
  if ((flags & FF_IN_CALLBACK) !== 0) env.log.write(' cb');
  if ((flags & FF_IN_ASYNC_CALLBACK) !== 0) env.log.write(' async_cb');
  env.log.write('\n');
}

export function markStateClean(env: VerifierEnv): void {
  env.scratchedRegs = 0;
  env.scratchedSlotsLo = 0;
  env.scratchedSlotsHi = 0;
}

export function markStateScratched(env: VerifierEnv): void {
  env.scratchedRegs = -1;
  env.scratchedSlotsLo = -1;
  env.scratchedSlotsHi = -1;
}

/** Columns up to which the state behind an instruction is pushed (`bpf_vlog_alignment`). */
export function alignment(position: number): number {
  return Math.ceil(Math.max(position + 4, 40) / 8) * 8 - position - 1;
}

/** Writes what the last instruction changed, on its own line's end where it was written last. */
export function printInsnState(env: VerifierEnv, st: VState, frameno: number): void {
  const { log } = env;
  if (env.prevLogPos !== 0 && env.prevLogPos === log.endPos) {
    log.reset(env.prevLogPos - 1);
    log.write(`${' '.repeat(alignment(env.prevInsnPrintPos))};`);
  } else {
    log.write(`${env.insnIdx}:`);
  }
  printVerifierState(env, st, frameno, false);
}

function kfuncName(env: VerifierEnv, off: number, id: number): string {
  const btf = off === 0 ? env.ext.kernelBTF()?.btf : env.kfuncBTFs?.get(off)?.btf;
  return btf === undefined || btf.kind(id) !== BTF_KIND_FUNC ? '<error>' : btf.typeName(id);
}

/** One instruction's text (`bpf_verbose_insn`). */
export function insnText(env: VerifierEnv, i: number): string {
  const { code, dst, src, off, imm, count } = env.insns;
  const options: DisassemblerOptions = {
    allowPointerLeaks: env.allowPtrLeaks,
    nameCall: (insn) => (insn.src === 2 ? kfuncName(env, insn.off, insn.imm) : undefined),
  };
  return disassemble({ code: code[i]!, dst: dst[i]!, src: src[i]!, off: off[i]!, imm: imm[i]! }, i + 1 < count ? imm[i + 1]! : 0, options);
}

/** Writes an instruction without its number and without the end of the line. */
export function verboseInsn(env: VerifierEnv, i: number): void {
  if (env.log.level !== 0) env.log.write(insnText(env, i));
}
