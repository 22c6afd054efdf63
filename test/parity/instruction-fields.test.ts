/**
 * The checks of an instruction's own fields against what Linux 7.3.4 said to programs of one random instruction followed by
 * `r0 = 0; exit`: code, dst, src, off, imm (for 64-bit immediates of both slots) and the message, `""` where that check passed.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Instruction } from '../../isa/decode.ts';
import { instructionError } from '../../isa/fields.ts';

const rows = JSON.parse(readFileSync(new URL('data/instruction-fields.json', import.meta.url), 'utf8')) as readonly (readonly [readonly number[], string])[];

function slot(fields: readonly number[], at: number): Instruction | undefined {
  const [code, dst = 0, src = 0, off = 0, imm = 0] = fields.slice(at, at + 5);
  return code === undefined ? undefined : { code, dst, src, off, imm };
}

describe('field checks of instructions', () => {
  it('are those of Linux, message by message', () => {
    expect(rows.length).toBeGreaterThan(2500);
    const differing = rows.flatMap(([fields, message]) => {
      const ours = instructionError(slot(fields, 0)!, slot(fields, 5) ?? slot([0xb7, 0, 0, 0, 0], 0)) ?? '';
      return ours === message ? [] : [`${fields.join(' ')}: ${ours}, Linux ${message}`];
    });
    expect(differing).toEqual([]);
  });
});
