/** Short ways through the verifier against the ways that they are short for. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EFAULT, EINVAL } from '../../../isa/errno.ts';
import { computeConstRegs } from '../../../verifier/const_fold.ts';
import { checkCFG, computePostorder } from '../../../verifier/cfg.ts';
import { checkBTFInfo } from '../../../verifier/check_btf.ts';
import type { VerifierEnv } from '../../../verifier/env.ts';
import { computeStackLiveness, liveStackQueryInit, stackHalvesAlive } from '../../../verifier/live_stack.ts';
import { scalarConst, scalarIsEmpty, scalarSync, scalarSyncInGeneral, SCALAR_WORDS } from '../../../verifier/scalar.ts';
import { sortSubprogsTopologically } from '../../../verifier/subprogs.ts';
import type { UserArray } from '../../../verifier/types.ts';
import { environmentOf } from './analysis-support.ts';
import { putTnum, random, someScalar, someValue } from './scalar-support.ts';

describe('scalarSync', () => {
  const settled = (w: Int32Array): number[] => {
    const general = Int32Array.from(w);
    scalarSyncInGeneral(general, 0);
    scalarSync(w, 0);
    if (w.some((word, i) => word !== general[i])) expect([...w]).toEqual([...general]);
    return [...w];
  };

  it('says of scalars of every kind what the general way says', () => {
    fc.assert(fc.property(fc.integer(), (seed) => {
      const next = random(seed), w = new Int32Array(SCALAR_WORDS);
      someScalar(next, w, 0, someValue(next));
      if (!scalarIsEmpty(w, 0)) settled(w);
    }), { numRuns: 3000 });
  });

  it('says of small intervals with some bits known what the general way says', () => {
    const word = fc.oneof(fc.nat(300), fc.nat(0x7fffffff), fc.integer({ min: 0x7ffffff0, max: 0x7fffffff }));
    fc.assert(fc.property(word, word, word, word, (member, below, above, mask) => {
      const w = new Int32Array(SCALAR_WORDS);
      putTnum(w, 0, BigInt(member & ~mask), BigInt(mask));
      const base = Math.max(0, member - below), size = Math.min(member + above, 0x7fffffff) - base;
      w.set([base, 0, size, 0, base, size], 4);
      settled(w);
    }), { numRuns: 3000 });
  });

  it('says of unknown numbers after a comparison what the general way says', () => {
    const word = fc.oneof(fc.constantFrom(0, 1, 0x7fffffff, -0x80000000, -1), fc.nat(300), fc.integer());
    fc.assert(fc.property(word, word, word, word, (base, baseHi, size, sizeHi) => {
      const w = Int32Array.of(0, 0, -1, -1, base, baseHi, size, sizeHi, 0, -1);
      // All ones in the arc is the empty scalar, which stays as it is; the general way is for others.
      if (!scalarIsEmpty(w, 0)) settled(w);
    }), { numRuns: 5000 });
  });

  it('settles every interval and every tnum of four bits as the general way does', () => {
    for (let mask = 0; mask < 16; mask++) {
      for (let value = 0; value < 16; value++) {
        if ((value & mask) !== 0) continue;
        for (let base = 0; base < 16; base++) {
          for (let size = 0; base + size < 16; size++) {
            const w = new Int32Array(SCALAR_WORDS);
            w.set([value, 0, mask, 0, base, 0, size, 0, base, size]);
            const isMember = (v: number): boolean => (v & ~mask) === value && v >= base && v <= base + size;
            if (Array.from({ length: 16 }, (_, v) => v).some(isMember)) settled(w);
          }
        }
      }
    }
  });

  it('leaves constants alone', () => {
    fc.assert(fc.property(fc.integer(), fc.integer(), (low, high) => {
      const w = new Int32Array(SCALAR_WORDS);
      scalarConst(w, 0, low, high);
      const before = [...w];
      expect(settled(w)).toEqual(before);
    }));
  });
});

/** Instructions that make, move, spill and lose pointers to the stack. `slot` and `imm` are of the instruction's own choosing. */
const INSTRUCTIONS: readonly ((slot: number, imm: number) => string)[] = [
  () => 'r1 = r10', () => 'r2 = r1', () => 'r3 = r10', (slot) => `r1 += ${-8 * slot}`, (slot) => `r3 += ${-slot}`, (_, imm) => `r2 += ${imm % 64}`,
  (slot) => `*(u64 *)(r10 -${8 * slot}) = r1`, (slot) => `*(u64 *)(r10 -${8 * slot}) = r3`, (slot) => `r1 = *(u64 *)(r10 -${8 * slot})`,
  (slot) => `r4 = *(u64 *)(r10 -${8 * slot})`, (slot) => `*(u32 *)(r10 -${8 * slot}) = r0`, (slot) => `*(u64 *)(r10 -${8 * slot}) = ${slot}`,
  () => 'r5 = *(u64 *)(r1 -8)', () => '*(u64 *)(r3 -16) = r1', () => '*(u32 *)(r2 -4) = r0', () => 'r1 += r2', () => 'r3 = 0', () => 'call 5', () => 'w1 = w2',
];

/** A random program: instructions, some of them jumps to anywhere, and an exit. */
const programs = fc.array(fc.record({
  kind: fc.nat(INSTRUCTIONS.length + 5), slot: fc.integer({ min: 1, max: 64 }), imm: fc.nat(200), target: fc.nat(60),
}), { minLength: 3, maxLength: 40 }).map((list) => {
  const count = list.length + 1;
  const lines = list.map(({ kind, slot, imm, target }, i) => {
    if (kind < INSTRUCTIONS.length) return INSTRUCTIONS[kind]!(slot, imm);
    const distance = (target % count) - i;
    return `if r0 == ${imm} goto ${distance < 0 ? distance : `+${distance}`}`;
  });
  return ['r0 = 0', ...lines, 'r0 = 0', 'exit'].join('\n');
});

function liveHalves(program: string, logLevel: number): { env: VerifierEnv; halves: number[][] } {
  const env = environmentOf(program, { logLevel });
  expect(checkCFG(env)).toBe(0);
  computePostorder(env);
  computeConstRegs(env);
  sortSubprogsTopologically(env);
  expect(computeStackLiveness(env)).toBe(0);
  const live = new Int32Array(4), halves: number[][] = [];
  const st = env.cur;
  st.curframe = 0;
  for (let insn = 0; insn < env.insns.count; insn++) {
    st.insnIdx = insn;
    liveStackQueryInit(env, st);
    stackHalvesAlive(env, 0, live);
    halves.push([...live]);
  }
  return { env, halves };
}

describe('stack liveness', () => {
  it('is the same where nothing is skipped: with the log of every step', () => {
    fc.assert(fc.property(programs, (program) => {
      expect(liveHalves(program, 1).halves).toEqual(liveHalves(program, 2).halves);
    }), { numRuns: 60 });
  });

  it('sees a pointer that comes back from the last slot', () => {
    const { halves } = liveHalves('r1 = r10\nr1 += -16\n*(u64 *)(r10 -512) = r1\nr2 = *(u64 *)(r10 -512)\nr0 = *(u64 *)(r2 +0)\nexit', 1);
    expect(halves.map((mask) => mask[0])).toEqual([0b1100, 0b1100, 0b1100, 0b1100, 0b1100, 0]);
    expect(halves.map((mask) => mask[3]! >>> 30)).toEqual([0, 0, 0, 3, 0, 0]);
  });
});

describe('constants of registers', () => {
  it('hold in a program that goes through every instruction twice', () => {
    const env = environmentOf('r1 = 7\nr2 = 1\nr3 = r1\nr2 += 1\nif r2 < 9 goto -3\nr0 = r3\nexit');
    expect(checkCFG(env)).toBe(0);
    computePostorder(env);
    computeConstRegs(env);
    const { constRegMask, constRegVals } = env.aux;
    expect(constRegMask[6]! & 0b1111).toBe(0b1011);
    expect([constRegVals[60], constRegVals[61], constRegVals[63]]).toEqual([7, 7, 7]);
  });
});

describe('line records', () => {
  const RECORD = 16;
  /** `count` records of a program of as many instructions; `change` may spoil some; memory ends after `readable` of them. */
  function check(count: number, readable: number, change: (view: DataView) => void, recordSize: number = RECORD): { error: number; log: string; env: VerifierEnv } {
    const env = environmentOf(`${'r0 = 0\n'.repeat(count - 1)}exit`);
    const bytes = new Uint8Array(count * recordSize), view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) view.setUint32(i * recordSize, i, true);
    change(view);
    const lineInfo: UserArray = {
      count, recordSize, isNull: false,
      read: (offset, length) => (offset + length <= readable * recordSize ? bytes.slice(offset, offset + length) : undefined),
    };
    env.btf = { kind: 'btf', id: 1, btf: environmentOf('exit').ext.kernelBTF()!.btf, isKernel: false };
    const spoiled = Object.assign(Object.create(env) as VerifierEnv, { load: { ...env.load, lineInfo } });
    return { error: checkBTFInfo(spoiled), log: env.log.render(), env: spoiled };
  }

  it('are taken in over more than one piece', () => {
    const { error, env } = check(300, 300, () => undefined);
    expect(error).toBe(0);
    expect(env.lineInfo.map((line) => line.insn)).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });

  it('of a larger size may only have zeros behind', () => {
    expect(check(200, 200, () => undefined, 24).error).toBe(0);
    expect(check(200, 200, (view) => view.setUint8(150 * 24 + 23, 1), 24).log).toBe('nonzero tailing record in line_info');
  });

  it('are refused for what is wrong first, though memory ends a little later', () => {
    const spoil = (view: DataView): void => view.setUint32(150 * RECORD, 3, true);
    expect(check(300, 160, () => undefined).error).toBe(-EFAULT);
    const { error, log } = check(300, 160, spoil);
    expect(error).toBe(-EINVAL);
    expect(log).toBe('Invalid line_info[150].insn_off:3 (prev_offset:149 prog->len:300)\n');
    expect(check(300, 140, spoil).error).toBe(-EFAULT);
  });
});
