/**
 * @module isa/instructions
 * The one table of eBPF instructions: RFC 9669, what Linux 7.3 accepts beyond it, and the forms that appear only in a program
 * after verification ("xlated"). Decoder, encoder, field checks, disassembler, assembler, engines and per-instruction tests are
 * driven by it. Owns no state and decides nothing about a program's safety.
 * Source: RFC 9669; `include/uapi/linux/bpf.h`, `include/linux/filter.h`, `bpf_opcode_in_insntable()` of `kernel/bpf/core.c`.
 */
import { LD_IMM64 } from './opcodes.ts';
import * as U from './uapi.ts';

/** Modes and opcodes that only the kernel itself writes, `include/linux/filter.h`. */
export const BPF_PROBE_MEM = 0x20;
export const BPF_PROBE_MEMSX = 0x40;
export const BPF_PROBE_MEM32 = 0xa0;
export const BPF_PROBE_MEM32SX = 0xc0;
export const BPF_PROBE_ATOMIC = 0xe0;
export const BPF_NOSPEC = 0xc0;
export const BPF_TAIL_CALL = 0xf0;
/** `off` of the internal move that adds the per-CPU base. */
export const BPF_ADDR_PERCPU = -1;
/** The register through which arguments beyond the fifth are passed on the stack. */
export const BPF_REG_PARAMS = 11;
export { LD_IMM64 };

/** What an instruction does, as far as engines and the disassembler must tell apart. */
export type InstructionKind =
  | 'alu' | 'neg' | 'mov' | 'end' | 'swap' | 'cast' | 'percpu'
  | 'load' | 'store' | 'storeImmediate' | 'atomic' | 'loadAcquire' | 'storeRelease' | 'packet' | 'immediate64'
  | 'jump' | 'goto' | 'mayGoto' | 'gotoIndirect' | 'call' | 'exit' | 'nospec' | 'internalCall';

/**
 * Where an instruction comes from: the RFC (`packet` for its deprecated packet loads), Linux's user-space API, or only the
 * kernel's rewriting after verification.
 */
export type InstructionOrigin = 'rfc9669' | 'packet' | 'linux' | 'internal';

/** A field that is an operand, or the one value it must have. */
export type FieldUse = 'operand' | number;

/** One row of the table: one meaning of one opcode byte. */
export interface InstructionSpec {
  /** Position in {@link INSTRUCTIONS}. */
  readonly index: number;
  /** Unique: `"add64_x"`, `"sdiv32_k"`, `"ldx_s8"`, `"fetch_add64"`, `"ld_imm64_map_fd"`. */
  readonly name: string;
  /** The opcode byte. */
  readonly code: number;
  readonly kind: InstructionKind;
  /** Operation without its width: `"add"`, `"sdiv"`, `"movsx8"`, `"jsgt"`, `"fetch_add"`, `"be"`; for others the name's stem. */
  readonly operation: string;
  /** Bits of the operation or of the memory access; 0 where it has none. */
  readonly width: 0 | 8 | 16 | 32 | 64;
  /** True where a loaded or moved value is sign-extended, or an operation is signed. */
  readonly signed: boolean;
  /** `"x"` register source, `"k"` immediate, `""` neither. */
  readonly source: 'x' | 'k' | '';
  /** The kernel's notation for the operation: `"s/="`, `"s>"`; `""` where it has none. */
  readonly symbol: string;
  readonly dst: FieldUse;
  readonly src: FieldUse;
  readonly off: FieldUse;
  readonly imm: FieldUse;
  /** Instruction slots of 8 bytes. */
  readonly slots: 1 | 2;
  readonly origin: InstructionOrigin;
}

/** Row as written below: what is left out is 0, `""` or false. */
type Row = Partial<Omit<InstructionSpec, 'index' | 'code' | 'name' | 'kind'>> & Pick<InstructionSpec, 'code' | 'name' | 'kind'>;

const rows: InstructionSpec[] = [];

function define(row: Row): void {
  rows.push({
    index: rows.length, operation: row.name, width: 0, signed: false, source: '', symbol: '', dst: 0, src: 0, off: 0, imm: 0,
    slots: 1, origin: 'rfc9669', ...row,
  });
}

/** Binary arithmetic: operation, BPF_OP, the kernel's symbol. */
const ARITHMETIC: readonly (readonly [string, number, string])[] = [
  ['add', U.BPF_ADD, '+='], ['sub', U.BPF_SUB, '-='], ['mul', U.BPF_MUL, '*='], ['div', U.BPF_DIV, '/='], ['or', U.BPF_OR, '|='],
  ['and', U.BPF_AND, '&='], ['lsh', U.BPF_LSH, '<<='], ['rsh', U.BPF_RSH, '>>='], ['mod', U.BPF_MOD, '%='], ['xor', U.BPF_XOR, '^='],
  ['mov', U.BPF_MOV, '='], ['arsh', U.BPF_ARSH, 's>>='],
];
const SIGNED_DIVISION: readonly (readonly [string, number, string])[] = [['sdiv', U.BPF_DIV, 's/='], ['smod', U.BPF_MOD, 's%=']];
const ALU_CLASSES = [[U.BPF_ALU, 32], [U.BPF_ALU64, 64]] as const;
const SOURCES = [[U.BPF_K, 'k'], [U.BPF_X, 'x']] as const;
const SIGN_EXTENDED_WIDTHS = [8, 16, 32] as const;
const SWAP_WIDTHS = [16, 32, 64] as const;

for (const [cls, width] of ALU_CLASSES) {
  for (const [sourceBit, source] of SOURCES) {
    const operands = source === 'x' ? { src: 'operand', imm: 0 } as const : { src: 0, imm: 'operand' } as const;
    for (const [operation, op, symbol] of ARITHMETIC) {
      define({ name: `${operation}${width}_${source}`, code: cls | op | sourceBit, kind: operation === 'mov' ? 'mov' : 'alu', operation,
        width, source, symbol, signed: operation === 'arsh', dst: 'operand', ...operands });
    }
    for (const [operation, op, symbol] of SIGNED_DIVISION) {
      define({ name: `${operation}${width}_${source}`, code: cls | op | sourceBit, kind: 'alu', operation, width, source, symbol,
        signed: true, dst: 'operand', off: 1, ...operands });
    }
  }
  for (const from of SIGN_EXTENDED_WIDTHS) {
    if (from === width) continue;
    define({ name: `movsx${from}_${width}`, code: cls | U.BPF_MOV | U.BPF_X, kind: 'mov', operation: `movsx${from}`, width, source: 'x',
      symbol: '=', signed: true, dst: 'operand', src: 'operand', off: from });
  }
  define({ name: `neg${width}`, code: cls | U.BPF_NEG, kind: 'neg', operation: 'neg', width, dst: 'operand' });
}
for (const width of SWAP_WIDTHS) {
  define({ name: `le${width}`, code: U.BPF_ALU | U.BPF_END | U.BPF_TO_LE, kind: 'end', operation: 'le', width, symbol: 'le', dst: 'operand', imm: width });
  define({ name: `be${width}`, code: U.BPF_ALU | U.BPF_END | U.BPF_TO_BE, kind: 'end', operation: 'be', width, symbol: 'be', dst: 'operand', imm: width });
  define({ name: `bswap${width}`, code: U.BPF_ALU64 | U.BPF_END, kind: 'swap', operation: 'bswap', width, symbol: 'bswap', dst: 'operand', imm: width });
}
// Of the immediate's halves one names the address space cast to, the other the one cast from.
define({ name: 'cast_to_kernel', code: U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, kind: 'cast', width: 64, source: 'x', dst: 'operand',
  src: 'operand', off: U.BPF_ADDR_SPACE_CAST, imm: 1, origin: 'linux' });
define({ name: 'cast_to_user', code: U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, kind: 'cast', width: 64, source: 'x', dst: 'operand',
  src: 'operand', off: U.BPF_ADDR_SPACE_CAST, imm: 0x10000, origin: 'linux' });
define({ name: 'mov_percpu', code: U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, kind: 'percpu', width: 64, source: 'x', dst: 'operand',
  src: 'operand', off: BPF_ADDR_PERCPU, origin: 'internal' });

const SIZES = [[U.BPF_B, 8], [U.BPF_H, 16], [U.BPF_W, 32], [U.BPF_DW, 64]] as const;
for (const [size, width] of SIZES) {
  const type = `u${width}`;
  define({ name: `ldx_${type}`, code: U.BPF_LDX | U.BPF_MEM | size, kind: 'load', operation: 'ldx', width, symbol: type, dst: 'operand', src: 'operand', off: 'operand' });
  define({ name: `stx_${type}`, code: U.BPF_STX | U.BPF_MEM | size, kind: 'store', operation: 'stx', width, symbol: type, dst: 'operand', src: 'operand', off: 'operand' });
  define({ name: `st_${type}`, code: U.BPF_ST | U.BPF_MEM | size, kind: 'storeImmediate', operation: 'st', width, symbol: type, dst: 'operand', off: 'operand', imm: 'operand' });
  define({ name: `load_acquire${width}`, code: U.BPF_STX | U.BPF_ATOMIC | size, kind: 'loadAcquire', operation: 'load_acquire', width,
    symbol: type, dst: 'operand', src: 'operand', off: 'operand', imm: U.BPF_LOAD_ACQ, origin: 'linux' });
  define({ name: `store_release${width}`, code: U.BPF_STX | U.BPF_ATOMIC | size, kind: 'storeRelease', operation: 'store_release', width,
    symbol: type, dst: 'operand', src: 'operand', off: 'operand', imm: U.BPF_STORE_REL, origin: 'linux' });
  // Loads and stores that may fault, written by the kernel for pointers it does not trust (PROBE_MEM) and for arenas (PROBE_MEM32).
  define({ name: `probe_ldx_${type}`, code: U.BPF_LDX | BPF_PROBE_MEM | size, kind: 'load', operation: 'ldx', width, symbol: type, dst: 'operand', src: 'operand', off: 'operand', origin: 'internal' });
  define({ name: `arena_ldx_${type}`, code: U.BPF_LDX | BPF_PROBE_MEM32 | size, kind: 'load', operation: 'ldx', width, symbol: type, dst: 'operand', src: 'operand', off: 'operand', origin: 'internal' });
  define({ name: `arena_stx_${type}`, code: U.BPF_STX | BPF_PROBE_MEM32 | size, kind: 'store', operation: 'stx', width, symbol: type, dst: 'operand', src: 'operand', off: 'operand', origin: 'internal' });
  define({ name: `arena_st_${type}`, code: U.BPF_ST | BPF_PROBE_MEM32 | size, kind: 'storeImmediate', operation: 'st', width, symbol: type, dst: 'operand', off: 'operand', imm: 'operand', origin: 'internal' });
  define({ name: `probe_load_acquire${width}`, code: U.BPF_STX | BPF_PROBE_ATOMIC | size, kind: 'loadAcquire', operation: 'load_acquire', width,
    symbol: type, dst: 'operand', src: 'operand', off: 'operand', imm: U.BPF_LOAD_ACQ, origin: 'internal' });
  define({ name: `probe_store_release${width}`, code: U.BPF_STX | BPF_PROBE_ATOMIC | size, kind: 'storeRelease', operation: 'store_release', width,
    symbol: type, dst: 'operand', src: 'operand', off: 'operand', imm: U.BPF_STORE_REL, origin: 'internal' });
  if (width === 64) continue;
  define({ name: `ldx_s${width}`, code: U.BPF_LDX | U.BPF_MEMSX | size, kind: 'load', operation: 'ldx', width, signed: true, symbol: `s${width}`, dst: 'operand', src: 'operand', off: 'operand' });
  define({ name: `probe_ldx_s${width}`, code: U.BPF_LDX | BPF_PROBE_MEMSX | size, kind: 'load', operation: 'ldx', width, signed: true, symbol: `s${width}`, dst: 'operand', src: 'operand', off: 'operand', origin: 'internal' });
  define({ name: `arena_ldx_s${width}`, code: U.BPF_LDX | BPF_PROBE_MEM32SX | size, kind: 'load', operation: 'ldx', width, signed: true, symbol: `s${width}`, dst: 'operand', src: 'operand', off: 'operand', origin: 'internal' });
  define({ name: `ld_abs_u${width}`, code: U.BPF_LD | U.BPF_ABS | size, kind: 'packet', operation: 'ld_abs', width, symbol: type, imm: 'operand', origin: 'packet' });
  define({ name: `ld_ind_u${width}`, code: U.BPF_LD | U.BPF_IND | size, kind: 'packet', operation: 'ld_ind', width, symbol: type, source: 'x', src: 'operand', imm: 'operand', origin: 'packet' });
}
define({ name: 'nospec', code: U.BPF_ST | BPF_NOSPEC, kind: 'nospec', origin: 'internal' });

/** Atomic read-modify-write operations: name, `imm`, symbol of the non-fetching form or name of the fetching one. */
const ATOMICS: readonly (readonly [string, number, string])[] = [
  ['add', U.BPF_ADD, '+='], ['or', U.BPF_OR, '|='], ['and', U.BPF_AND, '&='], ['xor', U.BPF_XOR, '^='],
  ['fetch_add', U.BPF_ADD | U.BPF_FETCH, 'add'], ['fetch_or', U.BPF_OR | U.BPF_FETCH, 'or'], ['fetch_and', U.BPF_AND | U.BPF_FETCH, 'and'],
  ['fetch_xor', U.BPF_XOR | U.BPF_FETCH, 'xor'], ['xchg', U.BPF_XCHG, 'xchg'], ['cmpxchg', U.BPF_CMPXCHG, 'cmpxchg'],
];
for (const [size, width] of [[U.BPF_W, 32], [U.BPF_DW, 64]] as const) {
  for (const [prefix, mode, origin] of [['', U.BPF_ATOMIC, 'rfc9669'], ['probe_', BPF_PROBE_ATOMIC, 'internal']] as const) {
    for (const [operation, imm, symbol] of ATOMICS) {
      define({ name: `${prefix}atomic_${operation}${width}`, code: U.BPF_STX | mode | size, kind: 'atomic', operation, width, symbol,
        dst: 'operand', src: 'operand', off: 'operand', imm, origin });
    }
  }
}

const PSEUDO_LOADS: readonly (readonly [string, number])[] = [
  ['ld_imm64', 0], ['ld_imm64_map_fd', U.BPF_PSEUDO_MAP_FD], ['ld_imm64_map_value', U.BPF_PSEUDO_MAP_VALUE], ['ld_imm64_btf_id', U.BPF_PSEUDO_BTF_ID],
  ['ld_imm64_func', U.BPF_PSEUDO_FUNC], ['ld_imm64_map_idx', U.BPF_PSEUDO_MAP_IDX], ['ld_imm64_map_idx_value', U.BPF_PSEUDO_MAP_IDX_VALUE],
];
for (const [name, src] of PSEUDO_LOADS) {
  define({ name, code: LD_IMM64, kind: 'immediate64', width: 64, source: 'k', dst: 'operand', src, imm: 'operand', slots: 2 });
}

/** Conditional jumps: operation, BPF_OP, the kernel's symbol. */
const CONDITIONS: readonly (readonly [string, number, string])[] = [
  ['jeq', U.BPF_JEQ, '=='], ['jgt', U.BPF_JGT, '>'], ['jge', U.BPF_JGE, '>='], ['jset', U.BPF_JSET, '&'], ['jne', U.BPF_JNE, '!='],
  ['jsgt', U.BPF_JSGT, 's>'], ['jsge', U.BPF_JSGE, 's>='], ['jlt', U.BPF_JLT, '<'], ['jle', U.BPF_JLE, '<='], ['jslt', U.BPF_JSLT, 's<'],
  ['jsle', U.BPF_JSLE, 's<='],
];
for (const [cls, width] of [[U.BPF_JMP, 64], [U.BPF_JMP32, 32]] as const) {
  for (const [sourceBit, source] of SOURCES) {
    const operands = source === 'x' ? { src: 'operand', imm: 0 } as const : { src: 0, imm: 'operand' } as const;
    for (const [operation, op, symbol] of CONDITIONS) {
      define({ name: `${operation}${width}_${source}`, code: cls | op | sourceBit, kind: 'jump', operation, width, source, symbol,
        signed: operation.startsWith('js') && operation !== 'jset', dst: 'operand', off: 'operand', ...operands });
    }
  }
}
define({ name: 'ja', code: U.BPF_JMP | U.BPF_JA, kind: 'goto', off: 'operand' });
define({ name: 'gotol', code: U.BPF_JMP32 | U.BPF_JA, kind: 'goto', imm: 'operand' });
define({ name: 'gotox', code: U.BPF_JMP | U.BPF_JA | U.BPF_X, kind: 'gotoIndirect', dst: 'operand', origin: 'linux' });
define({ name: 'may_goto', code: U.BPF_JMP | U.BPF_JCOND, kind: 'mayGoto', src: U.BPF_MAY_GOTO, off: 'operand', origin: 'linux' });
define({ name: 'call_helper', code: U.BPF_JMP | U.BPF_CALL, kind: 'call', imm: 'operand' });
define({ name: 'call_local', code: U.BPF_JMP | U.BPF_CALL, kind: 'call', src: U.BPF_PSEUDO_CALL, imm: 'operand' });
define({ name: 'call_kfunc', code: U.BPF_JMP | U.BPF_CALL, kind: 'call', src: U.BPF_PSEUDO_KFUNC_CALL, off: 'operand', imm: 'operand' });
// Linux reads no meaning into an exit's offset and lets any value pass.
define({ name: 'exit', code: U.BPF_JMP | U.BPF_EXIT, kind: 'exit', off: 'operand' });
define({ name: 'tail_call', code: U.BPF_JMP | BPF_TAIL_CALL, kind: 'internalCall', origin: 'internal' });

/** Every instruction. Rows that share an opcode byte stand so that those with the more particular fields come later. */
export const INSTRUCTIONS: readonly InstructionSpec[] = rows;

const byCode: InstructionSpec[][] = Array.from({ length: 256 }, () => []);
for (const row of rows) byCode[row.code]?.push(row);

/** The rows of an opcode byte, possibly none. */
export function specsOfCode(code: number): readonly InstructionSpec[] {
  return byCode[code & 0xff] ?? [];
}

const byName: ReadonlyMap<string, InstructionSpec> = new Map(rows.map((row) => [row.name, row]));

/** The row of that name. */
export function specByName(name: string): InstructionSpec | undefined {
  return byName.get(name);
}

function fits(use: FieldUse, value: number): boolean {
  return use === 'operand' || use === value;
}

/** The row that an instruction's fields satisfy wholly, reserved fields included; `undefined` if there is none. */
export function specOf(code: number, dst: number, src: number, off: number, imm: number): InstructionSpec | undefined {
  const specs = specsOfCode(code);
  for (let i = 0; i < specs.length; i++) {
    const spec = specs[i];
    if (spec !== undefined && fits(spec.off, off) && fits(spec.imm, imm) && fits(spec.src, src) && fits(spec.dst, dst)) return spec;
  }
  return undefined;
}

/** For each opcode byte 1 if a program may be loaded with it (`bpf_opcode_in_insntable`), else 0. */
export const LOADABLE_CODES: Uint8Array = new Uint8Array(256);
for (const row of rows) {
  if (row.origin !== 'internal') LOADABLE_CODES[row.code] = 1;
}
