/**
 * @module isa/disasm
 * Instructions as text, exactly as Linux writes them: in the verifier's log (`kernel/bpf/disasm.c`) and in `bpftool prog dump
 * xlated` (the same with names for calls and map references). Any bytes give a text; what is no instruction reads as it does there.
 */
import type { Instruction } from './decode.ts';
import { decodeInstruction, INSTRUCTION_SIZE } from './decode.ts';
import { BPF_ADDR_PERCPU, BPF_NOSPEC, BPF_PROBE_ATOMIC, INSTRUCTIONS, LD_IMM64 } from './instructions.ts';
import { formatHex } from './int64.ts';
import * as U from './uapi.ts';

/** How to print what the instruction alone does not tell. */
export interface DisassemblerOptions {
  /** Name of a call's target, without the `#number`; asked for what is no known helper. `undefined` for the default text. */
  readonly nameCall?: (insn: Instruction) => string | undefined;
  /** Text of a 64-bit immediate, from its words. */
  readonly formatImmediate?: (insn: Instruction, lo: number, hi: number) => string;
  /** False hides addresses in pseudo loads, as for a program loaded without privileges. Default true. */
  readonly allowPointerLeaks?: boolean;
}

const NONE: DisassemblerOptions = {};

/** What C's `printf` makes of a null string: the symbols of operations that do not exist. */
const NULL_TEXT = '(null)';

function symbols(classBits: number, pick: 'plain' | 'signed'): readonly string[] {
  const table: string[] = Array.from({ length: 16 }, () => NULL_TEXT);
  for (const spec of INSTRUCTIONS) {
    const isDivision = spec.operation === 'sdiv' || spec.operation === 'smod';
    if ((spec.code & 7) !== classBits || spec.symbol === '' || isDivision !== (pick === 'signed')) continue;
    table[spec.code >> 4] = spec.symbol;
  }
  return table;
}

const ALU_SYMBOLS = symbols(U.BPF_ALU, 'plain');
const SIGNED_SYMBOLS = symbols(U.BPF_ALU, 'signed');
const JUMP_SYMBOLS = symbols(U.BPF_JMP, 'plain').with(U.BPF_JA >> 4, 'jmp').with(U.BPF_CALL >> 4, 'call').with(U.BPF_EXIT >> 4, 'exit');
const SIZE_NAMES = ['u32', 'u16', 'u8', 'u64'] as const;
const SIGNED_SIZE_NAMES = ['s32', 's16', 's8', ''] as const;

const ATOMIC_NAMES: ReadonlyMap<number, readonly [operation: string, symbol: string]> = new Map(
  INSTRUCTIONS.filter((spec) => spec.kind === 'atomic').map((spec) => [Number(spec.imm), [spec.operation, spec.symbol]]),
);

function signed(value: number): string {
  return value < 0 ? String(value) : `+${value}`;
}

function sizeName(code: number): string {
  return SIZE_NAMES[(code >> 3) & 3]!;
}

function isSignedDivision(insn: Instruction): boolean {
  const op = insn.code & 0xf0;
  return (op === U.BPF_DIV || op === U.BPF_MOD) && insn.off === 1;
}

function moveExtension(insn: Instruction): string {
  if ((insn.code & 0xf0) !== U.BPF_MOV) return '';
  return insn.off === 8 || insn.off === 16 || insn.off === 32 ? `(s${insn.off})` : '';
}

function aluText(insn: Instruction): string {
  const { code, dst, src, imm } = insn;
  const wide = (code & 7) === U.BPF_ALU64;
  const op = code & 0xf0;
  const r = wide ? 'r' : 'w';
  if (op === U.BPF_END) {
    const name = wide ? 'bswap' : (code & 8) !== 0 ? 'be' : 'le';
    return `r${dst} = ${name}${imm} r${dst}`;
  }
  if (op === U.BPF_NEG) return `${r}${dst} = -${r}${dst}`;
  if (code === (U.BPF_ALU64 | U.BPF_MOV | U.BPF_X)) {
    if (insn.off === U.BPF_ADDR_SPACE_CAST) return `r${dst} = addr_space_cast(r${src}, ${imm >>> 16}, ${imm & 0xffff})`;
    if (insn.off === BPF_ADDR_PERCPU) return `r${dst} = &(void __percpu *)(r${src})`;
  }
  const symbol = (isSignedDivision(insn) ? SIGNED_SYMBOLS : ALU_SYMBOLS)[op >> 4]!;
  if ((code & U.BPF_X) !== 0) return `${r}${dst} ${symbol} ${moveExtension(insn)}${r}${src}`;
  return `${r}${dst} ${symbol} ${imm}`;
}

function memory(insn: Instruction, register: number, type: string): string {
  return `(${type} *)(r${register} ${signed(insn.off)})`;
}

function atomicText(insn: Instruction): string | undefined {
  const probe = (insn.code & 0xe0) === BPF_PROBE_ATOMIC ? 'probe ' : '';
  const type = sizeName(insn.code);
  const suffix = type === 'u64' ? '64' : '';
  if (insn.imm === U.BPF_LOAD_ACQ) return `${probe}r${insn.dst} = load_acquire(${memory(insn, insn.src, type)})`;
  const target = memory(insn, insn.dst, type);
  if (insn.imm === U.BPF_STORE_REL) return `${probe}store_release(${target}, r${insn.src})`;
  const [operation, symbol] = ATOMIC_NAMES.get(insn.imm) ?? ['', ''];
  if (operation === '') return undefined;
  if (operation === 'cmpxchg') return `${probe}r0 = atomic${suffix}_cmpxchg(${target}, r0, r${insn.src})`;
  if (operation === 'xchg') return `${probe}r${insn.src} = atomic${suffix}_xchg(${target}, r${insn.src})`;
  if (operation.startsWith('fetch_')) return `${probe}r${insn.src} = atomic${suffix}_fetch_${symbol}(${target}, r${insn.src})`;
  return `${probe}lock *${target} ${symbol} r${insn.src}`;
}

function storeText(insn: Instruction): string | undefined {
  const mode = insn.code & 0xe0;
  if (mode === U.BPF_MEM) return `*${memory(insn, insn.dst, sizeName(insn.code))} = r${insn.src}`;
  return mode === U.BPF_ATOMIC || mode === BPF_PROBE_ATOMIC ? atomicText(insn) : undefined;
}

function callText(insn: Instruction, options: DisassemblerOptions): string {
  if (insn.src === U.BPF_PSEUDO_CALL) return `call pc${options.nameCall?.(insn) ?? signed(insn.imm)}`;
  const helper = insn.src === 0 ? U.HELPER_NAMES[insn.imm] : undefined;
  if (helper !== undefined) return `call bpf_${helper}#${insn.imm}`;
  const fallback = insn.src === U.BPF_PSEUDO_KFUNC_CALL ? 'kernel-function' : 'unknown';
  return `call ${options.nameCall?.(insn) ?? fallback}#${insn.imm}`;
}

function jumpText(insn: Instruction, options: DisassemblerOptions): string {
  const { code, dst, src, off, imm } = insn;
  const wide = (code & 7) === U.BPF_JMP;
  if ((code & 0xf0) === U.BPF_CALL) return callText(insn, options);
  if (code === (U.BPF_JMP | U.BPF_JA)) return `goto pc${signed(off)}`;
  if (code === (U.BPF_JMP | U.BPF_JA | U.BPF_X)) return `gotox r${dst}`;
  if (code === (U.BPF_JMP | U.BPF_JCOND) && src === U.BPF_MAY_GOTO) return `may_goto pc${signed(off)}`;
  if (code === (U.BPF_JMP32 | U.BPF_JA)) return `gotol pc${signed(imm)}`;
  if (code === (U.BPF_JMP | U.BPF_EXIT)) return 'exit';
  const r = wide ? 'r' : 'w';
  const operand = (code & U.BPF_X) !== 0 ? `${r}${src}` : `0x${(imm >>> 0).toString(16)}`;
  return `if ${r}${dst} ${JUMP_SYMBOLS[code >> 4]!} ${operand} goto pc${signed(off)}`;
}

function isPointerLoad(src: number): boolean {
  return src !== 0 && src !== U.BPF_PSEUDO_FUNC && src <= U.BPF_PSEUDO_MAP_IDX_VALUE;
}

function loadText(insn: Instruction, high: number, options: DisassemblerOptions): string | undefined {
  const mode = insn.code & 0xe0;
  if (mode === U.BPF_ABS) return `r0 = *(${sizeName(insn.code)} *)skb[${insn.imm}]`;
  if (mode === U.BPF_IND) return `r0 = *(${sizeName(insn.code)} *)skb[r${insn.src} + ${insn.imm}]`;
  if (insn.code !== LD_IMM64) return undefined;
  const hide = options.allowPointerLeaks === false && isPointerLoad(insn.src);
  const lo = hide ? 0 : insn.imm;
  const hi = hide ? 0 : high;
  return `r${insn.dst} = ${options.formatImmediate?.(insn, lo, hi) ?? `0x${formatHex(lo, hi)}`}`;
}

/**
 * One instruction as in the verifier's log, opcode included.
 * @param high `imm` of the following slot, for 64-bit immediates
 * @example disassemble({ code: 0xb7, dst: 0, src: 0, off: 0, imm: 1 }, 0) === '(b7) r0 = 1'
 */
export function disassemble(insn: Instruction, high: number, options: DisassemblerOptions = NONE): string {
  const hex = insn.code.toString(16).padStart(2, '0');
  switch (insn.code & 7) {
    case U.BPF_ALU:
    case U.BPF_ALU64: return `(${hex}) ${aluText(insn)}`;
    case U.BPF_STX: {
      const text = storeText(insn);
      return text === undefined ? `BUG_${hex}` : `(${hex}) ${text}`;
    }
    case U.BPF_ST:
      if ((insn.code & 0xe0) === U.BPF_MEM) return `(${hex}) *${memory(insn, insn.dst, sizeName(insn.code))} = ${insn.imm}`;
      return (insn.code & 0xe0) === BPF_NOSPEC ? `(${hex}) nospec` : `BUG_st_${hex}`;
    case U.BPF_LDX: {
      const mode = insn.code & 0xe0;
      const type = mode === U.BPF_MEM ? sizeName(insn.code) : mode === U.BPF_MEMSX ? SIGNED_SIZE_NAMES[(insn.code >> 3) & 3]! : '';
      return type === '' ? `BUG_ldx_${hex}` : `(${hex}) r${insn.dst} = *${memory(insn, insn.src, type)}`;
    }
    case U.BPF_LD: {
      const text = loadText(insn, high, options);
      return text === undefined ? `BUG_ld_${hex}` : `(${hex}) ${text}`;
    }
    default: return `(${hex}) ${jumpText(insn, options)}`;
  }
}

/** A line of a listing. */
export interface DisassembledLine {
  /** Slot of the instruction. */
  readonly index: number;
  readonly insn: Instruction;
  /** As {@link disassemble} gives it. */
  readonly text: string;
}

/** A whole program, one line an instruction (two slots of a 64-bit immediate make one). A rest of under 8 bytes is left out. */
export function disassembleProgram(bytes: Uint8Array, options: DisassemblerOptions = NONE): readonly DisassembledLine[] {
  const lines: DisassembledLine[] = [];
  const count = Math.floor(bytes.length / INSTRUCTION_SIZE);
  for (let index = 0; index < count; index++) {
    const insn = decodeInstruction(bytes, index * INSTRUCTION_SIZE);
    const twoSlots = insn.code === LD_IMM64;
    const high = twoSlots && index + 1 < count ? decodeInstruction(bytes, (index + 1) * INSTRUCTION_SIZE).imm : 0;
    lines.push({ index, insn, text: disassemble(insn, high, options) });
    if (twoSlots) index++;
  }
  return lines;
}

/** What bpftool knows of the running kernel when it prints a program. */
export interface XlatedNames {
  /** Name of the kernel symbol a helper call's `imm` stands for (`imm` is relative to `__bpf_call_base`); `undefined` if unknown. */
  readonly symbolOfCall?: (imm: number) => string | undefined;
  /** Number of addresses of compiled functions known; 0 for an interpreted program. */
  readonly jitedFunctions?: number;
  /** Name of the compiled function of subprogram `index`; `undefined` if unknown. */
  readonly nameOfFunction?: (index: number) => string | undefined;
  /** Address of the compiled function of subprogram `index`, or of a call by its `imm`, in hexadecimal without prefix. */
  readonly addressOfCall?: (insn: Instruction) => string;
}

/**
 * Options that print as `bpftool prog dump xlated` does: maps by id, subprograms by offset (which the kernel moved to `off`) and
 * name, helpers by symbol.
 */
export function xlatedOptions(names: XlatedNames = {}): DisassemblerOptions {
  const address = (insn: Instruction): string => names.addressOfCall?.(insn) ?? (insn.imm >>> 0).toString(16);
  return {
    nameCall(insn) {
      if (insn.src !== U.BPF_PSEUDO_CALL) return names.symbolOfCall?.(insn.imm) ?? `0x${address(insn)}`;
      if ((names.jitedFunctions ?? 0) === 0) return signed(insn.off);
      const name = names.nameOfFunction?.(insn.imm);
      return `${signed(insn.off)}#${name ?? `0x${address(insn)}`}`;
    },
    formatImmediate(insn, lo, hi) {
      switch (insn.src) {
        case U.BPF_PSEUDO_MAP_FD: return `map[id:${lo}]`;
        case U.BPF_PSEUDO_MAP_VALUE: return `map[id:${lo}][0]+${hi}`;
        case U.BPF_PSEUDO_MAP_IDX_VALUE: return `map[idx:${lo}]+${hi}`;
        case U.BPF_PSEUDO_FUNC: return `subprog[${signed(lo)}]`;
        default: return `0x${formatHex(lo, hi)}`;
      }
    },
  };
}

/**
 * The listing of `bpftool prog dump xlated`, without BTF and source lines: `"   0: (b7) r0 = 1\n"`.
 * @param opcodes also print each instruction's bytes on a line of their own, as `opcodes` does
 */
export function formatXlated(bytes: Uint8Array, names: XlatedNames = {}, opcodes = false): string {
  let text = '';
  for (const { index, insn, text: line } of disassembleProgram(bytes, xlatedOptions(names))) {
    text += `${String(index).padStart(4)}: ${line}\n`;
    if (!opcodes) continue;
    const slots = insn.code === LD_IMM64 ? 2 : 1;
    const raw = bytes.subarray(index * INSTRUCTION_SIZE, (index + slots) * INSTRUCTION_SIZE);
    text += `       ${Array.from(raw, (byte) => byte.toString(16).padStart(2, '0')).join(' ')}\n`;
  }
  return text;
}
