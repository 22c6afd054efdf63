/**
 * @module vm/program
 * Turns the bytes of a rewritten program into the dense form that the engines execute, and keeps what both derive from it.
 * Owns decoding for execution; does not judge a program (the verifier does): what no engine knows becomes an operation that
 * faults when it is reached. Internal opcodes: include/linux/filter.h (BPF_PROBE_MEM, BPF_TAIL_CALL, BPF_NOSPEC…).
 */
import { InputError } from '../isa/errors.ts';
import { ALU_NAMES, JUMP_NAMES, op } from './ops.ts';
import { CODE_HI, codeAddress, type Program, type ProgramImage } from './types.ts';

/** Words of one dense instruction: operation, destination, source or target, immediate or offset. */
export const STRIDE: number = 4;
/** Registers that a program can name: r0…r10, the stack-argument base (11) and the verifier's scratch register (12). */
export const REGISTERS: number = 13;
/** Words of a register file. */
export const REGISTER_WORDS: number = REGISTERS * 2;
export const MAX_FRAMES: number = 8;
export const MAX_STACK: number = 512;

const WIDTH_BY_SIZE = ['32', '16', '8', '64'] as const;
const BYTES_BY_SIZE = [4, 2, 1, 8] as const;
const REG_PARAMS = 11;

/** One atomic instruction, by index in {@link PreparedProgram.atomics}. */
export interface Atomic {
  readonly dst: number;
  readonly src: number;
  readonly off: number;
  /** `BPF_ADD`, … with `BPF_FETCH`; `BPF_LOAD_ACQ` 0x100, `BPF_STORE_REL` 0x110. */
  readonly operation: number;
  /** Bytes: 1, 2, 4, 8. */
  readonly size: number;
  readonly arena: boolean;
}

/**
 * A decoded program. Instructions are numbered densely here (the second half of a 16-byte load has no number): `pcOf` gives the
 * index in the rewritten program, `denseOf` the way back (-1 for the second half of a load).
 *
 * Word layout of instruction `i` at `code[4 * i]`: operation; 2 × destination register; 2 × source register, or the word index
 * of a jump's target for immediate jumps; immediate, offset, or the target for register jumps.
 */
export class PreparedProgram implements Program {
  readonly image: ProgramImage;
  readonly instructionCount: number;
  readonly subprograms: Int32Array;
  /** Stack bytes by subprogram. */
  readonly stackDepths: Int32Array;
  /** Dense instructions without the faulting ones behind the end. */
  readonly denseCount: number;
  /** Dense form with unchecked accesses. */
  readonly fast: Int32Array;
  readonly pcOf: Int32Array;
  readonly denseOf: Int32Array;
  readonly atomics: readonly Atomic[];
  #checked: Int32Array | undefined;
  #step: Int32Array | undefined;
  /** Runs so far, for the tier policy. */
  runs: number = 0;
  /** Instructions interpreted so far, for the tier policy. */
  interpreted: number = 0;
  /** What an engine keeps with the program. */
  compiled: unknown = undefined;

  constructor(image: ProgramImage) {
    this.image = image;
    const bytes = image.instructions;
    if (bytes.length === 0 || bytes.length % 8 !== 0) {
      throw new InputError('', `program ${image.name}`, `${bytes.length} bytes are no whole number of instructions`);
    }
    this.instructionCount = bytes.length / 8;
    const decoder = new Decoder(bytes);
    this.pcOf = decoder.pcOf;
    this.denseOf = decoder.denseOf;
    this.denseCount = decoder.denseCount;
    this.fast = decoder.code();
    this.atomics = decoder.atomics;
    const starts = image.subprograms === undefined ? [...decoder.functions] : [...image.subprograms];
    this.subprograms = Int32Array.from(starts.filter((pc) => pc >= 0 && pc < this.instructionCount)).sort();
    this.stackDepths = new Int32Array(this.subprograms.length).fill(MAX_STACK);
    for (const [index, start] of starts.entries()) {
      const depth = image.stackDepths?.[index];
      const at = this.subprograms.indexOf(start);
      if (depth !== undefined && at >= 0) this.stackDepths[at] = Math.min(MAX_STACK, Math.max(0, depth));
    }
  }

  /** Dense form whose accesses are checked against live allocations. */
  get checked(): Int32Array {
    if (this.#checked !== undefined) return this.#checked;
    const code = this.fast.slice();
    const loads = op('ld8f');
    const stores = op('st8kf');
    const loadDelta = op('ld8c') - loads;
    const storeDelta = op('st8kc') - stores;
    for (let at = 0; at < code.length; at += STRIDE) {
      const operation = code[at]!;
      if (operation >= loads && operation < loads + loadDelta) code[at] = operation + loadDelta;
      else if (operation >= stores && operation < stores + storeDelta) code[at] = operation + storeDelta;
    }
    this.#checked = code;
    return code;
  }

  /** Image in which each operation is the stepping prefix: the interpreter looks the real one up in the other image. */
  get step(): Int32Array {
    if (this.#step !== undefined) return this.#step;
    const code = this.fast.slice();
    const badTarget = op('badtarget');
    for (let at = 0; at < code.length; at += STRIDE) if (code[at] !== badTarget) code[at] = 0;
    this.#step = code;
    return code;
  }

  /** Index in {@link subprograms} of the function that contains instruction `pc`; 0 where none begins before it. */
  subprogramAt(pc: number): number {
    let low = 0;
    let high = this.subprograms.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.subprograms[middle]! <= pc) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Stack bytes of the function that begins at `pc`, 512 where it is none that was declared. */
  stackAt(pc: number): number {
    if (this.subprograms.length === 0) return MAX_STACK;
    const index = this.subprogramAt(pc);
    return this.subprograms[index] === pc ? this.stackDepths[index]! : MAX_STACK;
  }
}

/** One pass over the bytes. */
class Decoder {
  readonly pcOf: Int32Array;
  readonly denseOf: Int32Array;
  readonly denseCount: number;
  readonly atomics: Atomic[] = [];
  readonly functions: Set<number> = new Set([0]);
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #count: number;
  readonly #words: number[] = [];
  /** Instruction to blame, by entry behind the end. */
  readonly #tail: number[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#count = bytes.length / 8;
    this.denseOf = new Int32Array(this.#count + 1).fill(-1);
    let dense = 0;
    for (let pc = 0; pc < this.#count; pc++) {
      this.denseOf[pc] = dense++;
      if (bytes[pc * 8] === 0x18 && pc + 1 < this.#count) pc++;
    }
    this.denseCount = dense;
    this.denseOf[this.#count] = dense;
    this.pcOf = new Int32Array(dense);
    for (let pc = 0; pc < this.#count; pc++) if (this.denseOf[pc]! >= 0) this.pcOf[this.denseOf[pc]!] = pc;
  }

  /** The dense words. Entries behind the last instruction fault: control ran off the end, or a jump had no valid target. */
  code(): Int32Array {
    const main = new Int32Array(this.denseCount * STRIDE);
    for (let dense = 0; dense < this.denseCount; dense++) {
      this.#words.length = 0;
      this.#decode(this.pcOf[dense]!);
      main.set(this.#words, dense * STRIDE);
    }
    const code = new Int32Array((this.denseCount + 1 + this.#tail.length) * STRIDE);
    code.set(main);
    const bad = op('badtarget');
    code.set([bad, 0, 0, this.#count], this.denseCount * STRIDE);
    for (const [index, pc] of this.#tail.entries()) code.set([bad, 0, 0, pc], (this.denseCount + 1 + index) * STRIDE);
    return code;
  }

  #emit(name: string, second: number = 0, third: number = 0, fourth: number = 0): void {
    this.#words.push(op(name), second, third, fourth);
  }

  /** Word index of a jump's target; jumps to nowhere lead to an entry behind the end that blames them. */
  #target(pc: number, distance: number): number {
    const to = pc + 1 + distance;
    const dense = to >= 0 && to < this.#count ? this.denseOf[to]! : -1;
    if (dense >= 0) return dense * STRIDE;
    this.#tail.push(pc);
    return (this.denseCount + this.#tail.length) * STRIDE;
  }

  #decode(pc: number): void {
    const at = pc * 8;
    const code = this.#bytes[at]!;
    const registers = this.#bytes[at + 1]!;
    const dst = registers & 15;
    const src = registers >> 4;
    const off = this.#view.getInt16(at + 2, true);
    const imm = this.#view.getInt32(at + 4, true);
    if (dst >= REGISTERS || (src >= REGISTERS && usesSource(code))) {
      this.#emit('bad');
      return;
    }
    switch (code & 7) {
      case 0: this.#load(pc, code, dst, src, imm); return;
      case 1: this.#loadMemory(code, dst, src, off); return;
      case 2: this.#storeImmediate(code, dst, off, imm); return;
      case 3: this.#storeRegister(code, dst, src, off, imm); return;
      case 4: this.#arithmetic(code, dst, src, off, imm, '32'); return;
      case 7: this.#arithmetic(code, dst, src, off, imm, '64'); return;
      case 5: this.#jump(pc, code, dst, src, off, imm, '64'); return;
      default: this.#jump(pc, code, dst, src, off, imm, '32');
    }
  }

  #load(pc: number, code: number, dst: number, src: number, imm: number): void {
    if (code === 0x18) {
      if (pc + 1 >= this.#count) this.#emit('bad');
      else if (src === 4) {
        const target = pc + 1 + imm;
        this.functions.add(target);
        this.#emit('lddw', dst * 2, codeAddress(target), CODE_HI);
      } else this.#emit('lddw', dst * 2, imm, this.#view.getInt32(pc * 8 + 12, true));
      return;
    }
    const size = BYTES_BY_SIZE[(code >> 3) & 3]!;
    if (code >> 5 === 1 && size !== 8) this.#emit('ldabs', size, 0, imm);
    else if (code >> 5 === 2 && size !== 8) this.#emit('ldind', size, src * 2, imm);
    else this.#emit('bad');
  }

  #loadMemory(code: number, dst: number, src: number, off: number): void {
    const width = WIDTH_BY_SIZE[(code >> 3) & 3]!;
    const mode = code >> 5;
    const signed = mode === 4 || mode === 2 || mode === 6;
    const kind = mode === 3 || mode === 4 ? 'f' : mode === 1 || mode === 2 ? 'p' : mode === 5 || mode === 6 ? 'a' : '';
    if (kind === '' || (signed && width === '64')) this.#emit('bad');
    else if (src === REG_PARAMS) this.#stackArgument('ldarg', off, dst * 2, 0, 1);
    else this.#emit(`ld${signed ? 's' : ''}${width}${kind}`, dst * 2, src * 2, off);
  }

  #storeImmediate(code: number, dst: number, off: number, imm: number): void {
    const width = WIDTH_BY_SIZE[(code >> 3) & 3]!;
    const mode = code >> 5;
    if (mode === 6) this.#emit('nop');
    else if (mode !== 3 && mode !== 5) this.#emit('bad');
    else if (dst === REG_PARAMS) this.#stackArgument('stargk', off, 0, imm, -1);
    else this.#emit(`st${width}k${mode === 3 ? 'f' : 'a'}`, dst * 2, off, imm);
  }

  #storeRegister(code: number, dst: number, src: number, off: number, imm: number): void {
    const width = WIDTH_BY_SIZE[(code >> 3) & 3]!;
    const mode = code >> 5;
    if (mode === 6 || mode === 7) {
      const size = BYTES_BY_SIZE[(code >> 3) & 3]!;
      if (!isAtomic(imm, size)) {
        this.#emit('bad');
        return;
      }
      this.atomics.push({ dst, src, off, operation: imm, size, arena: mode === 7 });
      this.#emit('atomic', 0, 0, this.atomics.length - 1);
    } else if (mode !== 3 && mode !== 5) this.#emit('bad');
    else if (dst === REG_PARAMS) this.#stackArgument('stargx', off, 0, src * 2, -1);
    else this.#emit(`st${width}x${mode === 3 ? 'f' : 'a'}`, dst * 2, src * 2, off);
  }

  /** Arguments 6 to 12 travel in slots of the caller's frame: out at `r11 - 8k`, in at `r11 + 8k` (x86's bpf_jit_comp.c). */
  #stackArgument(name: string, off: number, second: number, value: number, sign: number): void {
    const slot = (off * sign) / 8;
    if (Number.isInteger(slot) && slot >= 1 && slot <= 7) this.#emit(name, second, (slot - 1) * 8, value);
    else this.#emit('bad');
  }

  #arithmetic(code: number, dst: number, src: number, off: number, imm: number, width: '32' | '64'): void {
    const register = (code & 8) !== 0;
    const high = code >> 4;
    const name = ALU_NAMES[high];
    if (high === 8) this.#emit(`neg${width}`, dst * 2);
    else if (high === 13) this.#byteOrder(register, dst, imm, width);
    else if (name === undefined) this.#emit('bad');
    else if (name === 'mov' && register && off !== 0) this.#specialMove(dst, src, off, imm, width);
    else {
      const signed = (name === 'div' || name === 'mod') && off === 1 ? 's' : '';
      if (register) this.#emit(`${signed}${name}${width}x`, dst * 2, src * 2);
      else if (name === 'lsh' || name === 'rsh' || name === 'arsh') this.#shift(name, dst, imm, width);
      else this.#emit(`${signed}${name}${width}k`, dst * 2, 0, imm);
    }
  }

  #shift(name: string, dst: number, imm: number, width: '32' | '64'): void {
    if (width === '32') this.#emit(`${name}32k`, dst * 2, 0, imm & 31);
    else if ((imm & 63) === 0) this.#emit('nop');
    else this.#emit((imm & 63) >= 32 ? `${name}64kh` : `${name}64k`, dst * 2, 0, imm & 31);
  }

  #byteOrder(bigEndian: boolean, dst: number, imm: number, width: '32' | '64'): void {
    if (imm !== 16 && imm !== 32 && imm !== 64) this.#emit('bad');
    else if (width === '64' && bigEndian) this.#emit('bad');
    else if (width === '64' || bigEndian) this.#emit(`bswap${imm}`, dst * 2);
    else if (imm === 16) this.#emit('zext16', dst * 2);
    else if (imm === 32) this.#emit('mov32x', dst * 2, dst * 2);
    else this.#emit('nop');
  }

  #specialMove(dst: number, src: number, off: number, imm: number, width: '32' | '64'): void {
    if (off === 8 || off === 16 || (off === 32 && width === '64')) this.#emit(`movs${off}_${width}`, dst * 2, src * 2);
    else if (width === '64' && off === 1 && imm === 1 << 16) this.#emit('castuser', dst * 2, src * 2);
    else if (width === '64' && off === 1 && imm === 1) this.#emit('mov32x', dst * 2, src * 2);
    else if (width === '64' && off === -1) this.#emit('percpu', dst * 2, src * 2);
    else this.#emit('bad');
  }

  #jump(pc: number, code: number, dst: number, src: number, off: number, imm: number, width: '32' | '64'): void {
    const register = (code & 8) !== 0;
    const high = code >> 4;
    const name = JUMP_NAMES[high];
    if (name !== undefined) {
      if (register) this.#emit(`${name}${width}x`, dst * 2, src * 2, this.#target(pc, off));
      else this.#emit(`${name}${width}k`, dst * 2, this.#target(pc, off), imm);
    } else if (high === 0 && !register) this.#emit('ja', 0, this.#target(pc, width === '64' ? off : imm));
    else if (width === '32') this.#emit('bad');
    else if (high === 0) this.#emit('gotox', dst * 2);
    else if (high === 14 && !register) this.#emit('maygoto', 0, this.#target(pc, off));
    else if (high === 15) this.#emit('tailcall');
    else if (high === 9 && !register) this.#emit('exit');
    else if (high === 8) this.#call(pc, register, dst, src, off, imm);
    else this.#emit('bad');
  }

  #call(pc: number, register: boolean, dst: number, src: number, off: number, imm: number): void {
    if (register) {
      // Compilers put the register into the immediate or, since LLVM 19, into the destination field.
      const holder = imm === 0 ? dst : imm;
      if (holder >= 0 && holder < REGISTERS) this.#emit('callx', holder * 2);
      else this.#emit('bad');
    } else if (src === 0) this.#emit(imm === 12 ? 'tailcall' : 'helper', 0, 0, imm);
    else if (src === 1) {
      this.functions.add(pc + 1 + imm);
      this.#emit('call', 0, this.#target(pc, imm));
    } else if (src === 2) this.#emit('kfunc', off, 0, imm);
    else this.#emit('bad');
  }
}

/** False where the upper register nibble is a pseudo value and no register. */
function usesSource(code: number): boolean {
  const cls = code & 7;
  if (cls === 0) return code >> 5 === 2;
  if (cls === 1 || cls === 3) return true;
  return cls !== 2 && (code & 8) !== 0 && code >> 4 !== 13;
}

function isAtomic(operation: number, size: number): boolean {
  switch (operation) {
    case 0x00: case 0x40: case 0x50: case 0xa0: case 0x01: case 0x41: case 0x51: case 0xa1: case 0xe1: case 0xf1:
      return size === 4 || size === 8;
    case 0x100: case 0x110:
      return true;
    default:
      return false;
  }
}
