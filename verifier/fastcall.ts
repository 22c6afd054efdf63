/**
 * @module verifier/fastcall
 * Spills and fills around calls that keep registers (`bpf_fastcall`): where they are, and from which stack depth on they lie. They
 * are removed when the program is rewritten, unless that stack is used otherwise. Reproduces `mark_fastcall_patterns`
 * (kernel/bpf/verifier.c).
 */
import { BPF_CALL, BPF_DW, BPF_JA, BPF_JMP, BPF_LDX, BPF_MEM, BPF_STX } from '../isa/uapi.ts';
import { callSummary } from './call_summary.ts';
import { AUX_FASTCALL_PATTERN, AUX_JUMP_TARGET, type Subprog, type VerifierEnv } from './env.ts';

const STORE = BPF_STX | BPF_MEM | BPF_DW;
const LOAD = BPF_LDX | BPF_MEM | BPF_DW;
const CALLER_SAVED = 0x3f;
const CALLER_SAVED_COUNT = 6;

function markCall(env: VerifierEnv, sub: Subprog, call: number, lowest: number): void {
  const summary = callSummary(env, call);
  if (summary === undefined) return;
  const { code, dst, src, off, count } = env.insns;
  const { flags, fastcallSpills } = env.aux;
  const first = summary.isVoid ? 1 : 0;
  const clobbered = ((1 << (summary.paramCount + 1)) - 1) & ~((1 << first) - 1);
  let expected = ~clobbered & CALLER_SAVED;
  let at = lowest;
  let i = 1;
  for (; i <= CALLER_SAVED_COUNT; i++, at += 8) {
    const store = call - i;
    const load = call + i;
    if (store < 0 || load >= count) break;
    if ((flags[store + 1]! & AUX_JUMP_TARGET) !== 0 || (flags[load]! & AUX_JUMP_TARGET) !== 0) break;
    if (code[store] !== STORE || code[load] !== LOAD || dst[store] !== 10 || src[load] !== 10 || src[store] !== dst[load]) break;
    if ((expected & (1 << src[store]!)) === 0 || off[store] !== at || off[load] !== at) break;
    expected &= ~(1 << src[store]!);
    flags[store]! |= AUX_FASTCALL_PATTERN;
    flags[load]! |= AUX_FASTCALL_PATTERN;
  }
  if (i === 1) return;
  if (summary.fastcall) fastcallSpills[call] = i - 1;
  else sub.keepFastcallStack = true;
  sub.fastcallStackOff = Math.min(sub.fastcallStackOff, at);
}

/** Marks the patterns of the whole program; 0. */
export function markFastcallPatterns(env: VerifierEnv): number {
  const { code, dst, off } = env.insns;
  for (let s = 0; s < env.subprogCount; s++) {
    const sub = env.subprogs[s]!;
    const end = env.subprogEnd(s);
    let lowest = 0;
    for (let i = sub.start; i < end; i++) if (code[i] === STORE && dst[i] === 10) lowest = Math.min(lowest, off[i]!);
    for (let i = sub.start; i < end; i++) if (code[i] === (BPF_JMP | BPF_CALL)) markCall(env, sub, i, lowest);
  }
  return 0;
}

/** Turns the spills and fills of kept patterns into nops and gives their stack back (`bpf_remove_fastcall_spills_fills`); 0. */
export function removeFastcallSpills(env: VerifierEnv): number {
  const { code, dst, src, off, imm, count } = env.insns;
  const { fastcallSpills } = env.aux;
  let s = 0;
  let isModified = false;
  const clear = (i: number): void => {
    code[i] = BPF_JMP | BPF_JA;
    dst[i] = 0;
    src[i] = 0;
    off[i] = 0;
    imm[i] = 0;
  };
  for (let i = 0; i < count; i++) {
    const spills = fastcallSpills[i]!;
    for (let j = 1; j <= spills; j++) {
      clear(i - j);
      clear(i + j);
    }
    isModified ||= spills > 0;
    if (env.subprogEnd(s) !== i + 1) continue;
    const sub = env.subprogs[s]!;
    if (isModified && !sub.keepFastcallStack) sub.stackDepth = -sub.fastcallStackOff;
    s++;
    isModified = false;
  }
  return 0;
}
