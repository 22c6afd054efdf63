/**
 * @module isa/fields
 * The checks that Linux makes of one instruction's own fields before it looks at the program around it: register numbers, known
 * opcodes, reserved fields, the two slots of a 64-bit immediate. Each gives the kernel's message without the newline, or
 * `undefined`; the errno is always `EINVAL`. When they are made is the verifier's business: `check_and_resolve_insns()` of
 * `kernel/bpf/verifier.c` goes through the program once, register numbers first, then (for other than 64-bit immediates) opcode
 * and fields. Atomic operations are checked only when the abstract interpreter reaches them, see {@link atomicError}.
 */
import type { Instruction } from './decode.ts';
import { BPF_REG_PARAMS, LD_IMM64, LOADABLE_CODES, specOf, specsOfCode } from './instructions.ts';
import * as U from './uapi.ts';

const LDX_DW = U.BPF_LDX | U.BPF_MEM | U.BPF_DW;
const ST_DW = U.BPF_ST | U.BPF_MEM | U.BPF_DW;
const STX_DW = U.BPF_STX | U.BPF_MEM | U.BPF_DW;

/** A load of an incoming argument from the stack: `rN = *(u64 *)(r11 +8n)`. */
export function isStackArgumentLoad(insn: Instruction): boolean {
  return insn.code === LDX_DW && insn.src === BPF_REG_PARAMS && insn.off > 0 && insn.off % 8 === 0;
}

/** A store of an outgoing argument to the stack: `*(u64 *)(r11 -8n) = …`. */
export function isStackArgumentStore(insn: Instruction): boolean {
  return (insn.code === ST_DW || insn.code === STX_DW) && insn.dst === BPF_REG_PARAMS && insn.off < 0 && insn.off % 8 === 0;
}

/** `"R12 is invalid"` for a register number beyond R10 that is not an argument on the stack. */
export function registerError(insn: Instruction): string | undefined {
  if (insn.dst >= U.MAX_BPF_REG && !isStackArgumentStore(insn)) return `R${insn.dst} is invalid`;
  if (insn.src >= U.MAX_BPF_REG && !isStackArgumentLoad(insn)) return `R${insn.src} is invalid`;
  return undefined;
}

/** `"unknown opcode 8f"` for an opcode byte that no program may be loaded with. */
export function opcodeError(code: number): string | undefined {
  return LOADABLE_CODES[code] === 1 ? undefined : `unknown opcode ${code.toString(16).padStart(2, '0')}`;
}

/** What the kernel says of an instruction with a known opcode whose reserved fields are set. */
function reservedFieldMessage(insn: Instruction): string {
  const op = insn.code & 0xf0;
  switch (insn.code & 7) {
    case U.BPF_ALU:
    case U.BPF_ALU64:
      if (op === U.BPF_NEG) return 'BPF_NEG uses reserved fields';
      if (op === U.BPF_END) return 'BPF_END uses reserved fields';
      if (op !== U.BPF_MOV) return 'BPF_ALU uses reserved fields';
      return insn.code === (U.BPF_ALU64 | U.BPF_MOV | U.BPF_X) && insn.off === U.BPF_ADDR_SPACE_CAST
        ? 'addr_space_cast insn can only convert between address space 1 and 0'
        : 'BPF_MOV uses reserved fields';
    case U.BPF_JMP:
    case U.BPF_JMP32:
      if (op === U.BPF_CALL) return 'BPF_CALL uses reserved fields';
      if (op === U.BPF_EXIT) return 'BPF_EXIT uses reserved fields';
      if (op === U.BPF_JCOND) return `invalid may_goto imm ${insn.imm}`;
      if (op !== U.BPF_JA) return 'BPF_JMP/JMP32 uses reserved fields';
      return (insn.code & U.BPF_X) !== 0 ? 'BPF_JA|BPF_X uses reserved fields' : 'BPF_JA uses reserved fields';
    case U.BPF_LDX: return 'BPF_LDX uses reserved fields';
    case U.BPF_STX: return 'BPF_STX uses reserved fields';
    case U.BPF_ST: return 'BPF_ST uses reserved fields';
    default: return 'BPF_LD_[ABS|IND] uses reserved fields';
  }
}

/**
 * The kernel's message if a reserved field of the instruction is set: no row of the table that a program may be loaded with fits
 * it. Not for 64-bit immediates ({@link immediate64Error}) nor unknown opcodes ({@link opcodeError}); atomics pass here.
 * @example reservedFieldError({ code: 0x95, dst: 1, src: 0, off: 0, imm: 0 }) === 'BPF_EXIT uses reserved fields'
 */
export function reservedFieldError(insn: Instruction): string | undefined {
  if (isAtomicCode(insn.code)) return undefined;
  const spec = specOf(insn.code, insn.dst, insn.src, insn.off, insn.imm);
  return spec === undefined || spec.origin === 'internal' ? reservedFieldMessage(insn) : undefined;
}

function isAtomicCode(code: number): boolean {
  return (code & 0xe7) === (U.BPF_STX | U.BPF_ATOMIC);
}

/**
 * Message and sort of failure of an atomic operation that no row of the table has, as the kernel says it when it reaches the
 * instruction: an unknown operation, or a read-modify-write of 8 or 16 bits. `undefined` if it is one.
 */
export function atomicError(insn: Instruction): string | undefined {
  if (specOf(insn.code, insn.dst, insn.src, insn.off, insn.imm) !== undefined) return undefined;
  const wide = specsOfCode(U.BPF_STX | U.BPF_ATOMIC | U.BPF_DW).some((spec) => spec.imm === insn.imm);
  return wide ? 'invalid atomic operand size' : `BPF_ATOMIC uses invalid atomic opcode ${(insn.imm >>> 0).toString(16).padStart(2, '0')}`;
}

/**
 * The kernel's message for a malformed load of a 64-bit immediate.
 * @param next the slot after it, `undefined` at the end of the program
 */
export function immediate64Error(insn: Instruction, next: Instruction | undefined): string | undefined {
  if (next === undefined || next.code !== 0 || next.dst !== 0 || next.src !== 0 || next.off !== 0) return 'invalid bpf_ld_imm64 insn';
  if (insn.off !== 0) return 'BPF_LD_IMM64 uses reserved fields';
  if (insn.src > U.BPF_PSEUDO_MAP_IDX_VALUE) return 'unrecognized bpf_ld_imm64 insn';
  if ((insn.src === U.BPF_PSEUDO_MAP_FD || insn.src === U.BPF_PSEUDO_MAP_IDX) && next.imm !== 0) return 'unrecognized bpf_ld_imm64 insn';
  return undefined;
}

/**
 * All of the above in the kernel's order, for callers that have nothing to resolve in between.
 * @param next the following slot, only looked at for 64-bit immediates
 */
export function instructionError(insn: Instruction, next: Instruction | undefined): string | undefined {
  const register = registerError(insn);
  if (register !== undefined) return register;
  if (insn.code === LD_IMM64) return immediate64Error(insn, next);
  return opcodeError(insn.code) ?? reservedFieldError(insn);
}
