/**
 * @module isa/encode
 * A small assembler in code: builders that give instructions, and {@link assemble} that lays them out, resolves labels and gives
 * bytes. Operand order is that of the kernel's text: destination first. Builders accept any register number and immediate,
 * valid for the kernel or not; what does not fit a field is a `RangeError`.
 *
 * @example
 * assemble([
 *   mov64('r0', 0),
 *   jump('jeq', 'r1', 0, 'out'),
 *   ldx('u32', 'r0', 'r1', 4),
 *   label('out'),
 *   exit(),
 * ]) // Uint8Array of 32 bytes
 */
import { INSTRUCTION_SIZE, writeInstruction, type Instruction } from './decode.ts';
import { LD_IMM64, specByName, type InstructionSpec } from './instructions.ts';
import { highWord, lowWord } from './int64.ts';
import * as U from './uapi.ts';

/** A register by name. `r11` carries arguments on the stack; `r12` to `r15` exist only as bytes the kernel refuses. */
export type Register = `r${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15}`;
/** A register, or a 32-bit immediate (signed or unsigned notation). */
export type Operand = Register | number;
export type MemorySize = 'u8' | 'u16' | 'u32' | 'u64';
export type SignedMemorySize = 's8' | 's16' | 's32';
export type BinaryOperation = 'add' | 'sub' | 'mul' | 'div' | 'sdiv' | 'or' | 'and' | 'lsh' | 'rsh' | 'mod' | 'smod' | 'xor' | 'arsh' | 'mov';
export type JumpCondition = 'jeq' | 'jgt' | 'jge' | 'jset' | 'jne' | 'jsgt' | 'jsge' | 'jlt' | 'jle' | 'jslt' | 'jsle';
export type AtomicOperation = 'add' | 'or' | 'and' | 'xor' | 'fetch_add' | 'fetch_or' | 'fetch_and' | 'fetch_xor' | 'xchg' | 'cmpxchg';
/** A jump's target: a label, or the distance in slots from the following instruction. */
export type Target = string | number;

/** A place that jumps can name. */
export interface Label {
  readonly label: string;
}

/** An instruction whose `off` or `imm` is the distance to a label. */
export interface LabelledInstruction extends Instruction {
  readonly target: { readonly label: string; readonly field: 'off' | 'imm' };
}

/** What {@link assemble} takes. */
export type Item = Instruction | LabelledInstruction | Label | readonly Item[];

/** Number of a register. */
export function registerNumber(register: Register): number {
  return Number(register.slice(1));
}

function specNamed(name: string): InstructionSpec {
  const spec = specByName(name);
  if (spec === undefined) throw new RangeError(`no instruction ${name}`);
  return spec;
}

function checkRange(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) throw new RangeError(`${what} ${value} is not in ${min}..${max}`);
}

/** An instruction from its row: operands where the row has operands, its fixed values elsewhere. */
function build(name: string, dst: number, src: number, off: number, imm: number): Instruction {
  const spec = specNamed(name);
  checkRange('off', off, -0x8000, 0x7fff);
  checkRange('imm', imm, -0x80000000, 0xffffffff);
  return {
    code: spec.code,
    dst: spec.dst === 'operand' ? dst : spec.dst,
    src: spec.src === 'operand' ? src : spec.src,
    off: spec.off === 'operand' ? off : spec.off,
    imm: (spec.imm === 'operand' ? imm : spec.imm) | 0,
  };
}

function binary(stem: string, dst: Register, operand: Operand, off: number): Instruction {
  return typeof operand === 'number'
    ? build(`${stem}_k`, registerNumber(dst), 0, off, operand)
    : build(`${stem}_x`, registerNumber(dst), registerNumber(operand), off, 0);
}

/** Any field values at all, for bytes that no builder makes. */
export function raw(code: number, dst = 0, src = 0, off = 0, imm = 0): Instruction {
  return { code, dst, src, off, imm };
}

/** `dst op= operand` on 64 bits. */
export function alu64(operation: BinaryOperation, dst: Register, operand: Operand): Instruction {
  return binary(`${operation}64`, dst, operand, 0);
}

/** `dst op= operand` on the low 32 bits, the upper ones zeroed. */
export function alu32(operation: BinaryOperation, dst: Register, operand: Operand): Instruction {
  return binary(`${operation}32`, dst, operand, 0);
}

export function mov64(dst: Register, operand: Operand): Instruction {
  return alu64('mov', dst, operand);
}

export function mov32(dst: Register, operand: Operand): Instruction {
  return alu32('mov', dst, operand);
}

/** `dst = (s8|s16|s32)src` on 64 bits. */
export function movsx64(from: 8 | 16 | 32, dst: Register, src: Register): Instruction {
  return build(`movsx${from}_64`, registerNumber(dst), registerNumber(src), 0, 0);
}

/** `dst = (s8|s16)src` on 32 bits. */
export function movsx32(from: 8 | 16, dst: Register, src: Register): Instruction {
  return build(`movsx${from}_32`, registerNumber(dst), registerNumber(src), 0, 0);
}

export function neg64(dst: Register): Instruction {
  return build('neg64', registerNumber(dst), 0, 0, 0);
}

export function neg32(dst: Register): Instruction {
  return build('neg32', registerNumber(dst), 0, 0, 0);
}

/** Byte order: `le` and `be` convert between it and the host's, `bswap` always swaps; the rest of the register is zeroed. */
export function byteSwap(operation: 'le' | 'be' | 'bswap', width: 16 | 32 | 64, dst: Register): Instruction {
  return build(`${operation}${width}`, registerNumber(dst), 0, 0, 0);
}

/** `addr_space_cast`: an arena pointer of user space to one of the kernel, or back. */
export function castAddressSpace(to: 'kernel' | 'user', dst: Register, src: Register): Instruction {
  return build(`cast_to_${to}`, registerNumber(dst), registerNumber(src), 0, 0);
}

/** `dst = *(size *)(src + off)` */
export function ldx(size: MemorySize | SignedMemorySize, dst: Register, src: Register, off = 0): Instruction {
  return build(`ldx_${size}`, registerNumber(dst), registerNumber(src), off, 0);
}

/** `*(size *)(dst + off) = src` */
export function stx(size: MemorySize, dst: Register, off: number, src: Register): Instruction {
  return build(`stx_${size}`, registerNumber(dst), registerNumber(src), off, 0);
}

/** `*(size *)(dst + off) = imm` */
export function st(size: MemorySize, dst: Register, off: number, imm: number): Instruction {
  return build(`st_${size}`, registerNumber(dst), 0, off, imm);
}

/** An atomic operation on `*(size *)(dst + off)` with `src`; the fetching ones leave the old value in `src` (`cmpxchg`: in r0). */
export function atomic(operation: AtomicOperation, size: 'u32' | 'u64', dst: Register, off: number, src: Register): Instruction {
  return build(`atomic_${operation}${size.slice(1)}`, registerNumber(dst), registerNumber(src), off, 0);
}

/** `dst = load_acquire(*(size *)(src + off))` */
export function loadAcquire(size: MemorySize, dst: Register, src: Register, off = 0): Instruction {
  return build(`load_acquire${size.slice(1)}`, registerNumber(dst), registerNumber(src), off, 0);
}

/** `store_release(*(size *)(dst + off), src)` */
export function storeRelease(size: MemorySize, dst: Register, off: number, src: Register): Instruction {
  return build(`store_release${size.slice(1)}`, registerNumber(dst), registerNumber(src), off, 0);
}

/** `r0 = *(size *)skb[imm]` */
export function ldAbs(size: 'u8' | 'u16' | 'u32', imm: number): Instruction {
  return build(`ld_abs_${size}`, 0, 0, 0, imm);
}

/** `r0 = *(size *)skb[src + imm]` */
export function ldInd(size: 'u8' | 'u16' | 'u32', src: Register, imm: number): Instruction {
  return build(`ld_ind_${size}`, 0, registerNumber(src), 0, imm);
}

/** A two-slot load: `imm` in the first slot, `high` in the second, `src` one of `BPF_PSEUDO_*`. */
export function ldImm64Words(dst: Register, src: number, imm: number, high: number): readonly Instruction[] {
  checkRange('imm', imm, -0x80000000, 0xffffffff);
  checkRange('imm', high, -0x80000000, 0xffffffff);
  return [{ code: LD_IMM64, dst: registerNumber(dst), src, off: 0, imm: imm | 0 }, { code: 0, dst: 0, src: 0, off: 0, imm: high | 0 }];
}

/** `dst = value`, 64 bits. */
export function ldImm64(dst: Register, value: bigint | number): readonly Instruction[] {
  const wide = BigInt(value);
  return ldImm64Words(dst, 0, lowWord(wide), highWord(wide));
}

/** `dst =` the map behind a file descriptor. */
export function ldMapFD(dst: Register, fd: number): readonly Instruction[] {
  return ldImm64Words(dst, U.BPF_PSEUDO_MAP_FD, fd, 0);
}

/** `dst =` address of byte `offset` of the value of the map behind a file descriptor. */
export function ldMapValue(dst: Register, fd: number, offset: number): readonly Instruction[] {
  return ldImm64Words(dst, U.BPF_PSEUDO_MAP_VALUE, fd, offset);
}

/** `dst =` the map at an index of `fd_array`. */
export function ldMapIndex(dst: Register, index: number): readonly Instruction[] {
  return ldImm64Words(dst, U.BPF_PSEUDO_MAP_IDX, index, 0);
}

/** `dst =` address of byte `offset` of the value of the map at an index of `fd_array`. */
export function ldMapIndexValue(dst: Register, index: number, offset: number): readonly Instruction[] {
  return ldImm64Words(dst, U.BPF_PSEUDO_MAP_IDX_VALUE, index, offset);
}

/** `dst =` address of a kernel variable by its BTF id; `btfFD` 0 for the kernel's own BTF. */
export function ldBTFID(dst: Register, btfID: number, btfFD = 0): readonly Instruction[] {
  return ldImm64Words(dst, U.BPF_PSEUDO_BTF_ID, btfID, btfFD);
}

/** `dst =` address of the subprogram at a label or distance, for callbacks. */
export function ldFunction(dst: Register, target: Target): readonly Item[] {
  const [first, second] = ldImm64Words(dst, U.BPF_PSEUDO_FUNC, 0, 0) as readonly [Instruction, Instruction];
  return [withTarget(first, target, 'imm'), second];
}

function withTarget(insn: Instruction, target: Target, field: 'off' | 'imm'): Instruction | LabelledInstruction {
  if (typeof target === 'string') return { ...insn, target: { label: target, field } };
  if (field === 'off') checkRange('off', target, -0x8000, 0x7fff);
  else checkRange('imm', target, -0x80000000, 0x7fffffff);
  return { ...insn, [field]: target };
}

/** `if dst condition operand goto target` on 64 bits. */
export function jump(condition: JumpCondition, dst: Register, operand: Operand, target: Target): Item {
  return withTarget(binary(`${condition}64`, dst, operand, 0), target, 'off');
}

/** `if dst condition operand goto target` on the low 32 bits. */
export function jump32(condition: JumpCondition, dst: Register, operand: Operand, target: Target): Item {
  return withTarget(binary(`${condition}32`, dst, operand, 0), target, 'off');
}

export function goto(target: Target): Item {
  return withTarget(build('ja', 0, 0, 0, 0), target, 'off');
}

/** Jump with a 32-bit distance. */
export function gotol(target: Target): Item {
  return withTarget(build('gotol', 0, 0, 0, 0), target, 'imm');
}

export function mayGoto(target: Target): Item {
  return withTarget(build('may_goto', 0, 0, 0, 0), target, 'off');
}

/** Jump to the address in a register. */
export function gotox(dst: Register): Instruction {
  return build('gotox', registerNumber(dst), 0, 0, 0);
}

/** Call of a helper by number (`BPF_FUNC_*`). */
export function callHelper(id: number): Instruction {
  return build('call_helper', 0, 0, 0, id);
}

/** Call of a subprogram. */
export function callLocal(target: Target): Item {
  return withTarget(build('call_local', 0, 0, 0, 0), target, 'imm');
}

/** Call of a kernel function by BTF id; `off` 0 for the kernel's own BTF, else an index of `fd_array`. */
export function callKfunc(btfID: number, off = 0): Instruction {
  return build('call_kfunc', 0, 0, off, btfID);
}

export function exit(): Instruction {
  return build('exit', 0, 0, 0, 0);
}

/** A place for jumps. */
export function label(name: string): Label {
  return { label: name };
}

function isLabel(item: Item): item is Label {
  return 'label' in item;
}

function isList(item: Item): item is readonly Item[] {
  return Array.isArray(item);
}

function flatten(items: readonly Item[], out: (Instruction | LabelledInstruction | Label)[]): void {
  for (const item of items) {
    if (isList(item)) flatten(item, out);
    else out.push(item);
  }
}

/**
 * Lays instructions out and resolves labels.
 * @throws RangeError for an unknown or repeated label, and for a distance that does not fit its field
 */
export function encode(items: readonly Item[]): readonly Instruction[] {
  const flat: (Instruction | LabelledInstruction | Label)[] = [];
  flatten(items, flat);
  const places = new Map<string, number>();
  const instructions: (Instruction | LabelledInstruction)[] = [];
  for (const item of flat) {
    if (!isLabel(item)) instructions.push(item);
    else if (places.has(item.label)) throw new RangeError(`label ${item.label} is defined twice`);
    else places.set(item.label, instructions.length);
  }
  return instructions.map((insn, index) => {
    if (!('target' in insn)) return insn;
    const { target, ...fields } = insn;
    const place = places.get(target.label);
    if (place === undefined) throw new RangeError(`label ${target.label} is not defined`);
    return withTarget(fields, place - index - 1, target.field);
  });
}

/** The bytes of instructions, 8 each. */
export function toBytes(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * INSTRUCTION_SIZE);
  for (const [index, insn] of instructions.entries()) writeInstruction(bytes, index * INSTRUCTION_SIZE, insn);
  return bytes;
}

/** {@link encode} and {@link toBytes} in one. */
export function assemble(items: readonly Item[]): Uint8Array {
  return toBytes(encode(items));
}
