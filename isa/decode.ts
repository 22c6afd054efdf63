/**
 * @module isa/decode
 * From bytes to instructions: one at a time as an object, or a whole program as a structure of typed arrays with each slot's row
 * of the table already found. Little-endian layout of RFC 9669 section 3. Owns no judgement: reserved fields are `fields.ts`.
 */
import { InputError } from './errors.ts';
import { INSTRUCTIONS, LD_IMM64, specOf, type InstructionSpec } from './instructions.ts';

/** Bytes of one instruction slot. */
export const INSTRUCTION_SIZE = 8;

/** The fields of one slot. `off` is int16, `imm` int32, registers 0 to 15. */
export interface Instruction {
  readonly code: number;
  readonly dst: number;
  readonly src: number;
  readonly off: number;
  readonly imm: number;
}

/** The slot at byte `at`; the caller has checked that 8 bytes are there. */
export function decodeInstruction(bytes: Uint8Array, at: number): Instruction {
  const registers = bytes[at + 1]!;
  return {
    code: bytes[at]!,
    dst: registers & 15,
    src: registers >>> 4,
    off: ((bytes[at + 2]! | (bytes[at + 3]! << 8)) << 16) >> 16,
    imm: bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24),
  };
}

/** Value of {@link Program.spec} for a slot that is no instruction of the table (unknown opcode or reserved fields set). */
export const NO_SPEC = 0xffff;
/** Value of {@link Program.spec} for the second slot of a 64-bit immediate load. */
export const SECOND_SLOT = 0xfffe;

/** A program as parallel arrays, one element a slot. */
export interface Program {
  /** Slots. */
  readonly length: number;
  readonly code: Uint8Array;
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  readonly off: Int16Array;
  readonly imm: Int32Array;
  /** Index in `INSTRUCTIONS`, {@link NO_SPEC} or {@link SECOND_SLOT}. */
  readonly spec: Uint16Array;
}

/**
 * Decodes a whole program.
 * @param bytes a multiple of 8
 * @throws InputError if it is not
 */
export function decodeProgram(bytes: Uint8Array): Program {
  if (bytes.length % INSTRUCTION_SIZE !== 0) {
    throw new InputError('', `byte ${bytes.length - (bytes.length % INSTRUCTION_SIZE)}`, 'program ends within an instruction');
  }
  const length = bytes.length / INSTRUCTION_SIZE;
  const program: Program = {
    length, code: new Uint8Array(length), dst: new Uint8Array(length), src: new Uint8Array(length), off: new Int16Array(length),
    imm: new Int32Array(length), spec: new Uint16Array(length),
  };
  for (let i = 0; i < length; i++) redecode(program, i, bytes, i * INSTRUCTION_SIZE);
  return program;
}

function redecode(program: Program, i: number, bytes: Uint8Array, at: number): void {
  const insn = decodeInstruction(bytes, at);
  program.code[i] = insn.code;
  program.dst[i] = insn.dst;
  program.src[i] = insn.src;
  program.off[i] = insn.off;
  program.imm[i] = insn.imm;
  if (i > 0 && program.code[i - 1] === LD_IMM64 && program.spec[i - 1] !== SECOND_SLOT) {
    program.spec[i] = SECOND_SLOT;
    return;
  }
  program.spec[i] = specOf(insn.code, insn.dst, insn.src, insn.off, insn.imm)?.index ?? NO_SPEC;
}

/** The fields of slot `index` as an object. */
export function instructionAt(program: Program, index: number): Instruction {
  return { code: program.code[index]!, dst: program.dst[index]!, src: program.src[index]!, off: program.off[index]!, imm: program.imm[index]! };
}

/** The table's row of slot `index`; `undefined` for second slots and for what is no instruction. */
export function specAt(program: Program, index: number): InstructionSpec | undefined {
  return INSTRUCTIONS[program.spec[index] ?? NO_SPEC];
}

/** The program's bytes again. */
export function programToBytes(program: Program): Uint8Array {
  const bytes = new Uint8Array(program.length * INSTRUCTION_SIZE);
  for (let i = 0; i < program.length; i++) writeInstruction(bytes, i * INSTRUCTION_SIZE, instructionAt(program, i));
  return bytes;
}

/** Writes one slot at byte `at`; fields are taken modulo their width. */
export function writeInstruction(bytes: Uint8Array, at: number, insn: Instruction): void {
  bytes[at] = insn.code;
  bytes[at + 1] = (insn.dst & 15) | (insn.src << 4);
  bytes[at + 2] = insn.off;
  bytes[at + 3] = insn.off >> 8;
  bytes[at + 4] = insn.imm;
  bytes[at + 5] = insn.imm >> 8;
  bytes[at + 6] = insn.imm >> 16;
  bytes[at + 7] = insn.imm >> 24;
}
