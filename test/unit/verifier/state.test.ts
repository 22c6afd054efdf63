/** States: saved, restored and replaced copies; blocks that are used again. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  F_ALLOCATED_STACK, F_OUT_STACK_ARGS, HIST_IDX, HIST_WORDS, REG_ID, regAt, slotAt, StatePool, stackArgAt, type VState,
} from '../../../verifier/state.ts';

/** A current state with `frames` frames, a stack of `slots` slots each, and a value in every place. */
function fill(pool: StatePool, frames: number, slots: number): VState {
  const st = pool.current, { w } = pool;
  st.curframe = frames - 1;
  for (let f = 0; f < frames; f++) {
    const frame = st.frameAt[f]!;
    w[frame + F_ALLOCATED_STACK] = slots * 8;
    w[frame + F_OUT_STACK_ARGS] = 1;
    for (let r = 0; r < 11; r++) w[regAt(frame, r) + REG_ID] = 1000 * f + r;
    for (let s = 0; s < slots; s++) w[slotAt(frame, s) + REG_ID] = 1000 * f + 100 + s;
    w[stackArgAt(st, frame, 0) + REG_ID] = 1000 * f + 500;
  }
  pool.reserveHistory(2);
  st.histCount = 2;
  st.hist[st.histAt + HIST_IDX] = 7;
  st.hist[st.histAt + HIST_WORDS + HIST_IDX] = 8;
  return st;
}

const valuesOf = (st: VState): number[] => {
  const out: number[] = [];
  for (let f = 0; f <= st.curframe; f++) {
    const frame = st.frameAt[f]!;
    for (let r = 0; r < 11; r++) out.push(st.w[regAt(frame, r) + REG_ID]!);
    for (let s = 0; s < st.w[frame + F_ALLOCATED_STACK]! >> 3; s++) out.push(st.w[slotAt(frame, s) + REG_ID]!);
    out.push(st.w[stackArgAt(st, frame, 0) + REG_ID]!);
  }
  for (let i = 0; i < st.histCount; i++) out.push(st.hist[st.histAt + i * HIST_WORDS + HIST_IDX]!);
  return out;
};

describe('StatePool', () => {
  it('saves and restores frames, stacks, stack arguments and history', () => {
    const pool = new StatePool(), want = valuesOf(fill(pool, 3, 64));
    const saved = pool.save(pool.current);
    expect(valuesOf(saved)).toEqual(want);
    fill(pool, 1, 2);
    pool.restore(saved);
    expect(valuesOf(pool.current)).toEqual(want);
  });

  it('restores a state that gave up its references after it was saved', () => {
    const pool = new StatePool(), st = fill(pool, 1, 12), want = valuesOf(st);
    st.acquiredRefs = 2;
    const saved = pool.save(st);
    saved.acquiredRefs = 0;
    st.acquiredRefs = 0;
    fill(pool, 2, 3);
    pool.restore(saved);
    expect(valuesOf(pool.current)).toEqual(want);
  });

  it('gives every state back as it was, whatever was saved, freed and restored in between', () => {
    fc.assert(fc.property(fc.array(fc.record({ frames: fc.integer({ min: 1, max: 8 }), slots: fc.integer({ min: 0, max: 64 }), restores: fc.nat(), frees: fc.boolean() }), { maxLength: 24 }), (steps) => {
      const pool = new StatePool(), kept: { saved: VState; want: number[] }[] = [];
      for (const { frames, slots, restores, frees } of steps) {
        const want = valuesOf(fill(pool, frames, slots));
        kept.push({ saved: pool.save(pool.current), want });
        const at = restores % kept.length, chosen = kept[at]!;
        pool.restore(chosen.saved);
        expect(valuesOf(pool.current)).toEqual(chosen.want);
        if (!frees) continue;
        pool.free(chosen.saved);
        kept.splice(at, 1);
      }
      for (const { saved, want } of kept) expect(valuesOf(saved)).toEqual(want);
    }), { numRuns: 60 });
  });

  it('makes copies independent', () => {
    const pool = new StatePool(), want = valuesOf(fill(pool, 2, 4));
    const saved = pool.save(pool.current);
    pool.w.fill(0, pool.current.frameAt[0]!, pool.current.frameAt[0]! + 200);
    expect(valuesOf(saved)).toEqual(want);
  });

  it('uses the memory of freed states again', () => {
    const pool = new StatePool();
    fill(pool, 2, 8);
    const first = pool.save(pool.current), words = pool.liveWords;
    pool.free(first);
    expect(pool.liveWords).toBe(0);
    for (let i = 0; i < 1000; i++) pool.free(pool.save(pool.current));
    expect(pool.save(pool.current)).toBe(first);
    expect(pool.liveWords).toBe(words);
  });

  it('replaces a waiting state by the current one and keeps its place', () => {
    const pool = new StatePool();
    fill(pool, 1, 1);
    const waiting = pool.save(pool.current);
    waiting.queuedInsn = 42;
    const want = valuesOf(fill(pool, 2, 40));
    pool.replace(waiting);
    expect(valuesOf(waiting)).toEqual(want);
    expect(waiting.queuedInsn).toBe(42);
  });
});
