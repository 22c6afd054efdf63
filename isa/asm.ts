/**
 * @module isa/asm
 * Kernel-style assembly text to instructions: what `disasm.ts` prints (with or without the slot number and the opcode in front) and
 * what clang prints for BPF, plus labels. A listing printed with the default options or with those of bpftool assembles to the
 * same bytes. Source of the notation: `kernel/bpf/disasm.c`.
 *
 * Notes: `rN = 0x…` in hexadecimal is the 64-bit immediate load, `rN = 12` in decimal the 32-bit move, as the kernel prints them; a
 * trailing `ll` forces the former. Jump targets are `pc+1`, `+1` or a label. Comments start with `;`, `#` after a blank, or `//`.
 */
import { InputError } from './errors.ts';
import { BPF_NOSPEC, BPF_ADDR_PERCPU } from './instructions.ts';
import {
  alu32, alu64, atomic, byteSwap, callHelper, callKfunc, callLocal, castAddressSpace, encode, exit, goto, gotol, gotox, jump, jump32,
  label, ldAbs, ldFunction, ldImm64, ldImm64Words, ldInd, ldx, loadAcquire, mayGoto, movsx32, movsx64, neg32, neg64, raw,
  registerNumber, st, storeRelease, stx, toBytes,
  type AtomicOperation, type BinaryOperation, type Item, type JumpCondition, type MemorySize, type Operand, type Register,
  type SignedMemorySize, type Target,
} from './encode.ts';
import * as U from './uapi.ts';

const BINARY: ReadonlyMap<string, BinaryOperation> = new Map([
  ['=', 'mov'], ['+=', 'add'], ['-=', 'sub'], ['*=', 'mul'], ['/=', 'div'], ['s/=', 'sdiv'], ['|=', 'or'], ['&=', 'and'], ['<<=', 'lsh'],
  ['>>=', 'rsh'], ['%=', 'mod'], ['s%=', 'smod'], ['^=', 'xor'], ['s>>=', 'arsh'],
]);
const CONDITIONS: ReadonlyMap<string, JumpCondition> = new Map([
  ['==', 'jeq'], ['>', 'jgt'], ['>=', 'jge'], ['&', 'jset'], ['!=', 'jne'], ['s>', 'jsgt'], ['s>=', 'jsge'], ['<', 'jlt'], ['<=', 'jle'],
  ['s<', 'jslt'], ['s<=', 'jsle'],
]);
const HELPERS: ReadonlyMap<string, number> = new Map(U.HELPER_NAMES.map((name, id) => [`bpf_${name}`, id]));

const NUMBER = '[+-]?(?:0x[0-9a-f]+|\\d+)';
const REG = 'r(?:1[0-5]|[0-9])';
const MEMORY = `\\*?\\(([us](?:8|16|32|64)) \\*\\)\\((${REG}) ?(${NUMBER})\\)`;
const TARGET = '(?:pc ?)?([+-]\\d+)|([A-Za-z_.][\\w.]*)';

type Rule = readonly [RegExp, (m: readonly string[]) => Item];

function rule(pattern: string, make: (m: readonly string[]) => Item): Rule {
  return [new RegExp(`^${pattern}$`), make];
}

function integer(text: string): number {
  const negative = text.startsWith('-');
  const value = Number(text.replace(/^[+-]/, ''));
  return negative ? -value : value;
}

function target(distance: string | undefined, name: string | undefined): Target {
  return distance === undefined || distance === '' ? (name ?? '') : integer(distance);
}

function wordRegister(text: string): Register {
  return `r${text.slice(1)}` as Register;
}

function operand(text: string): Operand {
  return /^[rw]\d/.test(text) ? wordRegister(text) : integer(text);
}

function wide(text: string): bigint {
  const negative = text.startsWith('-');
  const value = BigInt(text.replace(/^[+-]/, ''));
  return negative ? -value : value;
}

function atomicSize(type: string): 'u32' | 'u64' {
  if (type !== 'u32' && type !== 'u64') throw new RangeError(`no atomic operation on ${type}`);
  return type;
}

function castTo(to: string, from: string): 'kernel' | 'user' {
  if (to === '0' && from === '1') return 'kernel';
  if (to === '1' && from === '0') return 'user';
  throw new RangeError(`no cast from address space ${from} to ${to}`);
}

const R = (text: string | undefined): Register => (text ?? 'r0') as Register;

const RULES: readonly Rule[] = [
  rule('exit', () => exit()),
  rule('nospec', () => raw(U.BPF_ST | BPF_NOSPEC)),
  rule(`goto (?:${TARGET})`, ([, d, n]) => goto(target(d, n))),
  rule(`gotol (?:${TARGET})`, ([, d, n]) => gotol(target(d, n))),
  rule(`may_goto (?:${TARGET})`, ([, d, n]) => mayGoto(target(d, n))),
  rule(`gotox (${REG})`, ([, r]) => gotox(R(r))),
  rule(`if ([rw](?:1[0-5]|\\d)) (==|!=|s?>=?|s?<=?|&) ([rw](?:1[0-5]|\\d)|${NUMBER}) goto (?:${TARGET})`, ([, left = '', op = '', right = '', d, n]) => {
    const make = left.startsWith('w') ? jump32 : jump;
    return make(CONDITIONS.get(op) ?? 'jeq', wordRegister(left), operand(right), target(d, n));
  }),
  rule(`call pc ?([+-]\\d+)(?:#\\S+)?`, ([, d = '0']) => callLocal(integer(d))),
  rule(`call kernel-function#(-?\\d+)`, ([, id = '0']) => callKfunc(integer(id))),
  rule(`call (\\w+)#(-?\\d+)`, ([, , id = '0']) => callHelper(integer(id))),
  rule(`call (-?\\d+)`, ([, id = '0']) => callHelper(integer(id))),
  rule(`call ([A-Za-z_.][\\w.]*)`, ([, name = '']) => {
    const id = HELPERS.get(name);
    return id === undefined ? callLocal(name) : callHelper(id);
  }),
  rule(`lock ${MEMORY} (\\+=|\\|=|&=|\\^=) (${REG})`, ([, type = '', dst, off = '', op = '', src]) =>
    atomic(BINARY.get(op) as AtomicOperation, atomicSize(type), R(dst), integer(off), R(src))),
  rule(`(${REG}) = atomic(?:64)?_(fetch_(?:add|or|and|xor)|xchg)\\(${MEMORY}, (${REG})\\)`, ([, , op, type = '', dst, off = '', src]) =>
    atomic(op as AtomicOperation, atomicSize(type), R(dst), integer(off), R(src))),
  rule(`r0 = atomic(?:64)?_cmpxchg\\(${MEMORY}, r0, (${REG})\\)`, ([, type = '', dst, off = '', src]) =>
    atomic('cmpxchg', atomicSize(type), R(dst), integer(off), R(src))),
  rule(`(${REG}) = load_acquire\\(${MEMORY}\\)`, ([, dst, type, src, off = '']) => loadAcquire(type as MemorySize, R(dst), R(src), integer(off))),
  rule(`store_release\\(${MEMORY}, (${REG})\\)`, ([, type, dst, off = '', src]) => storeRelease(type as MemorySize, R(dst), integer(off), R(src))),
  rule(`(${REG}) = ${MEMORY}`, ([, dst, type, src, off = '']) => ldx(type as MemorySize | SignedMemorySize, R(dst), R(src), integer(off))),
  rule(`${MEMORY} = (${REG})`, ([, type, dst, off = '', src]) => stx(type as MemorySize, R(dst), integer(off), R(src))),
  rule(`${MEMORY} = (${NUMBER})`, ([, type, dst, off = '', imm = '']) => st(type as MemorySize, R(dst), integer(off), integer(imm))),
  rule(`r0 = \\*\\((u8|u16|u32) \\*\\)skb\\[(${NUMBER})\\]`, ([, type, imm = '']) => ldAbs(type as 'u8', integer(imm))),
  rule(`r0 = \\*\\((u8|u16|u32) \\*\\)skb\\[(${REG}) \\+ (${NUMBER})\\]`, ([, type, src, imm = '']) => ldInd(type as 'u8', R(src), integer(imm))),
  rule(`(${REG}) = (le|be|bswap)(16|32|64) \\1`, ([, dst, op, width]) => byteSwap(op as 'le', Number(width) as 16, R(dst))),
  rule(`([rw])(1[0-5]|\\d) = -\\1\\2`, ([, kind, n]) => (kind === 'w' ? neg32 : neg64)(`r${n}` as Register)),
  rule(`(${REG}) = addr_space_cast\\((${REG}), (\\d+), (\\d+)\\)`, ([, dst, src, to = '', from = '']) => castAddressSpace(castTo(to, from), R(dst), R(src))),
  rule(`(${REG}) = &\\(void __percpu \\*\\)\\((${REG})\\)`, ([, dst, src]) =>
    raw(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, registerNumber(R(dst)), registerNumber(R(src)), BPF_ADDR_PERCPU, 0)),
  rule(`([rw])(1[0-5]|\\d) = \\(s(8|16|32)\\) ?\\1(1[0-5]|\\d)`, ([, kind, dst, from, src]) => {
    const width = Number(from) as 8 | 16 | 32;
    if (kind === 'r') return movsx64(width, `r${dst}` as Register, `r${src}` as Register);
    if (width === 32) throw new RangeError('no 32-bit move that extends from 32 bits');
    return movsx32(width, `r${dst}` as Register, `r${src}` as Register);
  }),
  rule(`(${REG}) = map\\[id:(-?\\d+)\\]`, ([, dst, id = '']) => ldImm64Words(R(dst), U.BPF_PSEUDO_MAP_FD, integer(id), 0)),
  rule(`(${REG}) = map\\[id:(-?\\d+)\\]\\[0\\]\\+(-?\\d+)`, ([, dst, id = '', off = '']) => ldImm64Words(R(dst), U.BPF_PSEUDO_MAP_VALUE, integer(id), integer(off))),
  rule(`(${REG}) = map\\[idx:(-?\\d+)\\]`, ([, dst, id = '']) => ldImm64Words(R(dst), U.BPF_PSEUDO_MAP_IDX, integer(id), 0)),
  rule(`(${REG}) = map\\[idx:(-?\\d+)\\]\\+(-?\\d+)`, ([, dst, id = '', off = '']) => ldImm64Words(R(dst), U.BPF_PSEUDO_MAP_IDX_VALUE, integer(id), integer(off))),
  rule(`(${REG}) = subprog\\[(?:${TARGET})\\]`, ([, dst, d, n]) => ldFunction(R(dst), target(d, n))),
  rule(`(${REG}) = ([+-]?0x[0-9a-f]+)(?: ?ll)?`, ([, dst, value = '0']) => ldImm64(R(dst), wide(value))),
  rule(`(${REG}) = ([+-]?\\d+) ?ll`, ([, dst, value = '0']) => ldImm64(R(dst), wide(value))),
  rule(`([rw](?:1[0-5]|\\d)) (s?/=|s?%=|\\+=|-=|\\*=|\\|=|&=|\\^=|<<=|s?>>=|=) ([rw](?:1[0-5]|\\d)|${NUMBER})`, ([, left = '', op = '', right = '']) => {
    if (/^[rw]\d/.test(right) && right[0] !== left[0]) throw new RangeError('mixes 64-bit and 32-bit registers');
    const make = left.startsWith('w') ? alu32 : alu64;
    return make(BINARY.get(op) ?? 'mov', wordRegister(left), operand(right));
  }),
];

function strip(line: string): string {
  return line.replace(/(^|\s)(\/\/|;|#).*$/, '').replace(/;\s*$/, '').replace(/\s+/g, ' ').trim()
    .replace(/^\d+: /, '').replace(/^\([0-9a-f]{2}\) /, '');
}

/**
 * One line to an item; `undefined` for an empty line or a comment.
 * @throws RangeError for what is no instruction
 */
export function parseLine(line: string): Item | undefined {
  const text = strip(line);
  if (text === '') return undefined;
  const named = /^([A-Za-z_.][\w.]*):$/.exec(text);
  if (named !== null) return label(named[1] ?? '');
  for (const [pattern, make] of RULES) {
    const match = pattern.exec(text);
    if (match !== null) return make(match);
  }
  throw new RangeError(`not an instruction: ${text}`);
}

/**
 * Assembles text, one instruction or label a line.
 * @param file named in errors
 * @returns 8 bytes a slot
 * @throws InputError naming the line
 * @example assembleText('r0 = 0\nif r1 == 0x0 goto out\nr0 = *(u32 *)(r1 +4)\nout:\nexit').length === 32
 */
export function assembleText(source: string, file = ''): Uint8Array {
  const items: Item[] = [];
  for (const [index, line] of source.split('\n').entries()) {
    try {
      const item = parseLine(line);
      if (item !== undefined) items.push(item);
    } catch (error) {
      if (error instanceof RangeError || error instanceof SyntaxError) throw new InputError(file, `line ${index + 1}`, error.message);
      throw error;
    }
  }
  try {
    return toBytes(encode(items));
  } catch (error) {
    if (error instanceof RangeError) throw new InputError(file, '', error.message);
    throw error;
  }
}
