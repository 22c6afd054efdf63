import { describe, expect, it } from 'vitest';
import { disassembleProgram } from '../../isa/disasm.ts';
import { instructionError } from '../../isa/fields.ts';
import { decodeProgram, instructionAt } from '../../isa/decode.ts';
import { LD_IMM64 } from '../../isa/instructions.ts';
import { readVectors } from './vector.ts';

describe('conformance vectors', () => {
  const vectors = readVectors();
  it('are all read', () => {
    expect(vectors.length).toBe(313);
    expect(vectors.filter((vector) => vector.helpers.length > 0).map((vector) => vector.name)).toEqual(['call_unwind_fail']);
    expect(vectors.filter((vector) => vector.callsRegister).map((vector) => vector.name)).toEqual(['callx']);
  });
  it('assemble to the bytes that the suite gives, where it gives them', () => {
    const withBytes = vectors.filter((vector) => vector.rawBytecode !== undefined);
    expect(withBytes.map((vector) => vector.name)).toEqual(['lddw']);
    for (const vector of withBytes) expect(vector.bytecode).toEqual(vector.rawBytecode);
  });
  it('use only instructions that Linux knows, but for the call through a register', () => {
    for (const vector of vectors) {
      const program = decodeProgram(vector.bytecode);
      const errors: string[] = [];
      for (let i = 0; i < program.length; i++) {
        const error = instructionError(instructionAt(program, i), i + 1 < program.length ? instructionAt(program, i + 1) : undefined);
        if (error !== undefined) errors.push(error);
        if (program.code[i] === LD_IMM64) i++;
      }
      expect(errors, vector.name).toEqual(vector.callsRegister ? ['unknown opcode 8d'] : []);
    }
  });
  it('assemble as written', () => {
    const text = (name: string): readonly string[] =>
      disassembleProgram(vectors.find((vector) => vector.name === name)?.bytecode ?? new Uint8Array()).map((line) => line.text);
    expect(text('ja32')).toEqual(['(b7) r1 = 0', '(06) gotol pc+2', '(b7) r2 = 0', '(95) exit', '(b7) r0 = 0', '(06) gotol pc-4']);
    expect(text('stxdw')).toEqual(['(b7) r2 = -2005440939', '(67) r2 <<= 32', '(47) r2 |= 1144201745', '(7b) *(u64 *)(r1 +2) = r2', '(79) r0 = *(u64 *)(r1 +2)', '(95) exit']);
    expect(text('lock_fetch_add').slice(2, 5)).toEqual(['(b7) r1 = 1', '(db) r1 = atomic64_fetch_add((u64 *)(r10 -8), r1)', '(5d) if r1 != r0 goto pc+5']);
  });
});
