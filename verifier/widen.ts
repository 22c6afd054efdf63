/**
 * @module verifier/widen
 * Loop convergence: scalars that changed since the loop was entered last and on whose value nothing depends become unknown, so
 * that the next iteration looks like the one before (`widen_imprecise_scalars`, kernel/bpf/verifier.c).
 */
import type { VerifierEnv } from './env.ts';
import { markUnknown } from './regs.ts';
import { MAX_BPF_REG, SCALAR_VALUE } from './regtypes.ts';
import { curFrame, F_ALLOCATED_STACK, F_CALLSITE, REG_ID, REG_PRECISE, REG_TYPE, regAt, SLOT_TYPES, slotAt, STACK_SPILL, type VState } from './state.ts';

function widen(env: VerifierEnv, ow: Int32Array, old: number, w: Int32Array, reg: number): void {
  if (ow[old + REG_TYPE] !== SCALAR_VALUE || w[reg + REG_TYPE] !== SCALAR_VALUE) return;
  if (ow[old + REG_PRECISE] !== 0 || w[reg + REG_PRECISE] !== 0) return;
  let same = true;
  for (let i = 0; i < REG_ID && same; i++) same = ow[old + i] === w[reg + i];
  if (!same) markUnknown(env, w, reg);
}

/** Widens `cur`, which comes back to where `old` was. */
export function widenImpreciseScalars(env: VerifierEnv, old: VState, cur: VState): void {
  for (let f = old.curframe; f >= 0; f--) {
    const oldFrame = old.frameAt[f]!;
    const frame = cur.frameAt[f]!;
    for (let i = 0; i < MAX_BPF_REG; i++) widen(env, old.w, regAt(oldFrame, i), cur.w, regAt(frame, i));
    const slots = Math.min(old.w[oldFrame + F_ALLOCATED_STACK]!, cur.w[frame + F_ALLOCATED_STACK]!) >> 3;
    for (let i = 0; i < slots; i++) {
      const oldSlot = slotAt(oldFrame, i);
      const slot = slotAt(frame, i);
      if (old.b[((oldSlot + SLOT_TYPES) << 2) + 7] !== STACK_SPILL || cur.b[((slot + SLOT_TYPES) << 2) + 7] !== STACK_SPILL) continue;
      widen(env, old.w, oldSlot, cur.w, slot);
    }
  }
}

function sameCallsites(a: VState, b: VState): boolean {
  if (a.curframe !== b.curframe) return false;
  for (let f = a.curframe; f >= 0; f--) {
    if (a.w[a.frameAt[f]! + F_CALLSITE] !== b.w[b.frameAt[f]! + F_CALLSITE]) return false;
  }
  return true;
}

/** The checkpoint of an enclosing iteration at `insn`: still open, same call chain, closer to the start than `st`. */
export function findPreviousEntry(env: VerifierEnv, st: VState, insn: number): VState | undefined {
  const { heads, size } = env.explored;
  const callsite = env.w[curFrame(env.cur) + F_CALLSITE]!;
  for (let old = heads[((insn ^ callsite) >>> 0) % size]; old !== undefined; old = old.next) {
    if (old.insnIdx === insn && old.branches > 0 && sameCallsites(old, st) && old.dfsDepth < st.dfsDepth) return old;
  }
  return undefined;
}
