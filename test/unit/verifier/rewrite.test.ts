/** Rewriting in one pass gives what replacing and removing one instruction after the other gives. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InsnAux, Insns, Subprog, type VerifierEnv } from '../../../verifier/env.ts';
import { KEEP, REMOVE, REPLACE, Rewrite } from '../../../verifier/rewrite/rewrite.ts';
import { Slab } from '../../../verifier/workspace.ts';

interface Jump {
  code: number;
  off: number;
}
const MOVE = 0xb7, JUMP = 0x15;

function bytes(program: readonly Jump[]): Uint8Array {
  const out = new Uint8Array(program.length * 8);
  const view = new DataView(out.buffer);
  for (const [i, { code, off }] of program.entries()) {
    out[i * 8] = code;
    view.setInt16(i * 8 + 2, off, true);
    view.setInt32(i * 8 + 4, i, true);
  }
  return out;
}

function rewriteOf(program: readonly Jump[]): Rewrite {
  const insns = new Insns(bytes(program));
  const subprogs = [new Subprog(0), new Subprog(insns.count)];
  const slab = new Slab();
  return new Rewrite({ insns, aux: new InsnAux(insns.count), slab, subprogs, subprogCount: 1 } as unknown as VerifierEnv);
}

/** Instruction `at` becomes `patch`: jumps over it grow, jumps of the patch itself are as they are. */
function patchOne(program: Jump[], at: number, patch: readonly Jump[]): void {
  const grown = patch.length - 1;
  for (const [i, insn] of program.entries()) {
    if (insn.code !== JUMP || i === at) continue;
    const target = i + 1 + insn.off;
    if (i < at && target > at) insn.off += grown;
    else if (i > at && target <= at) insn.off -= grown;
  }
  program.splice(at, 1, ...patch.map((insn) => ({ ...insn })));
}

function removeOne(program: Jump[], at: number): void {
  program.splice(at, 1);
  for (const [i, insn] of program.entries()) {
    if (insn.code !== JUMP) continue;
    const old = i < at ? i : i + 1;
    const target = old + 1 + insn.off;
    if (i < at && target > at) insn.off--;
    else if (i >= at && target <= at) insn.off++;
  }
}

const programs = fc.integer({ min: 1, max: 30 }).chain((n) =>
  fc.array(fc.record({ isJump: fc.boolean(), target: fc.integer({ min: 0, max: n - 1 }), action: fc.constantFrom('keep', 'keep', 'patch', 'remove') }), {
    minLength: n, maxLength: n,
  }));

describe('one pass', () => {
  test('patches as one replacement after the other does', () => {
    fc.assert(fc.property(programs, (choices) => {
      const program = choices.map(({ isJump, target }, i) => ({ code: isJump ? JUMP : MOVE, off: isJump ? target - i - 1 : 0 }));
      const expected = program.map((insn) => ({ ...insn }));
      const patches = choices.map(({ action }) => action === 'patch');
      for (let i = 0, at = 0; i < program.length; i++) {
        const isPatched = patches[i]! && expected[at]!.code !== JUMP;
        if (isPatched) patchOne(expected, at, [{ code: MOVE, off: 0 }, { code: JUMP, off: 1 }, { code: MOVE, off: 0 }, { code: MOVE, off: 0 }]);
        at += isPatched ? 4 : 1;
      }
      const rewrite = rewriteOf(program);
      expect(rewrite.pass((i) => {
        if (!patches[i]! || rewrite.code[i] === JUMP) return KEEP;
        for (const insn of [MOVE, JUMP, MOVE, MOVE]) rewrite.emit(insn, 0, 0, insn === JUMP ? 1 : 0, 0);
        return REPLACE;
      })).toBe(0);
      expect(Array.from({ length: rewrite.count }, (_, i) => [rewrite.code[i], rewrite.off[i]])).toEqual(expected.map(({ code, off }) => [code, off]));
    }));
  });

  test('removes as one removal after the other does', () => {
    fc.assert(fc.property(programs, (choices) => {
      const program = choices.map(({ isJump, target }, i) => ({ code: isJump ? JUMP : MOVE, off: isJump ? target - i - 1 : 0 }));
      const expected = program.map((insn) => ({ ...insn }));
      const gone = choices.map(({ action }) => action === 'remove');
      for (let i = gone.length - 1; i >= 0; i--) if (gone[i]!) removeOne(expected, i);
      const rewrite = rewriteOf(program);
      expect(rewrite.pass((i) => (gone[i]! ? REMOVE : KEEP))).toBe(0);
      expect(Array.from({ length: rewrite.count }, (_, i) => [rewrite.code[i], rewrite.off[i]])).toEqual(expected.map(({ code, off }) => [code, off]));
      let at = 0;
      expect(Array.from(rewrite.position.subarray(0, -1))).toEqual(gone.map((isGone) => (isGone ? -1 : at++)));
    }));
  });

  test('names the instruction with which a jump becomes too long', () => {
    const program = Array.from({ length: 32_000 }, (_, i) => ({ code: i === 0 ? JUMP : MOVE, off: i === 0 ? 31_998 : 0 }));
    const rewrite = rewriteOf(program);
    expect(rewrite.pass((i) => {
      if (i === 0 || i > 1000) return KEEP;
      rewrite.emit(MOVE, 0, 0, 0, 0);
      rewrite.emitSelf();
      return REPLACE;
    })).toBe(-1);
    expect(rewrite.failed).toBe(32_767 - 31_998 + 1);
  });

  test('jumps to an instruction lead behind what was put before it, calls before', () => {
    const rewrite = rewriteOf([{ code: MOVE, off: 0 }, { code: JUMP, off: -2 }]);
    rewrite.pass((i) => {
      if (i > 0) return KEEP;
      rewrite.emit(MOVE, 1, 0, 0, 7);
      rewrite.enterHere();
      rewrite.emitSelf();
      return REPLACE;
    });
    expect(rewrite.off[2]).toBe(-2);
    expect(rewrite.position[0]).toBe(0);
  });
});
