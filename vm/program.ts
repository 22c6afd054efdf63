/**
 * @module vm/program
 * Turns the bytes of a rewritten program into the dense form that the engines execute, and keeps what both derive from it.
 * Owns decoding for execution; does not judge a program (the verifier does): what no engine knows becomes an operation that
 * faults when it is reached. Internal opcodes: include/linux/filter.h (BPF_PROBE_MEM, BPF_TAIL_CALL, BPF_NOSPEC…).
 */
import { decodeInstruction, INSTRUCTION_SIZE } from '../isa/decode.ts';
import { InputError } from '../isa/errors.ts';
import { BPF_REG_PARAMS, INSTRUCTIONS, LD_IMM64, specOf, type InstructionSpec } from '../isa/instructions.ts';
import { pooledWords } from '../isa/pool.ts';
import { BPF_PSEUDO_FUNC } from '../isa/uapi.ts';
import { op, OPS } from './ops.ts';
import { REGISTER_COUNT } from './registers.ts';
import { CODE_HI, codeAddress, type Program, type ProgramImage } from './types.ts';

/** Words of one dense instruction: operation, destination, source or target, immediate or offset. */
export const STRIDE: number = 4;
/** Frames of functions that one program may have at a time; a tail call begins a program with all of them (MAX_CALL_FRAMES). */
export const MAX_FRAMES: number = 8;
/** MAX_TAIL_CALL_CNT of include/linux/bpf.h. */
export const MAX_TAIL_CALLS: number = 33;
/** Frames of a run: each tail call may come out of the last frame of its program, which it replaces. */
export const MAX_DEPTH: number = (MAX_FRAMES - 1) * (MAX_TAIL_CALLS + 1) + 1;
export const MAX_STACK: number = 512;


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
  /** Declared targets of indirect jumps, ascending; `undefined` where any instruction may be one. */
  readonly jumps: { readonly pc: Int32Array; readonly dense: Int32Array } | undefined;
  #checked: Int32Array | undefined;
  #step: Int32Array | undefined;
  /** True where an instruction calls a helper, a kfunc, another program or a hook. */
  readonly callsOut: boolean;
  /** Runs so far, for the tier policy. */
  runs: number = 0;
  /** What an engine keeps with the program. */
  compiled: unknown = undefined;
  #continuations: Map<string, unknown> | undefined;

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
    this.jumps = image.jumpTargets === undefined ? undefined : this.#declaredTargets(image.jumpTargets);
    this.callsOut = decoder.callsOut;
    const starts: readonly number[] = image.subprograms ?? decoder.functions();
    this.subprograms = ascending(starts, this.instructionCount);
    this.stackDepths = new Int32Array(this.subprograms.length);
    for (let at = 0; at < this.stackDepths.length; at++) this.stackDepths[at] = MAX_STACK;
    for (let index = 0; index < starts.length; index++) {
      const depth = image.stackDepths?.[index];
      const at = this.subprograms[index] === starts[index] ? index : this.subprograms.indexOf(starts[index]!);
      if (depth !== undefined && at >= 0) this.stackDepths[at] = Math.min(MAX_STACK, Math.max(0, depth));
    }
  }

  /** As {@link compiled}, for entries in the middle of frames. */
  get continuations(): Map<string, unknown> {
    return (this.#continuations ??= new Map());
  }

  /** Ends what engines keep with the program. */
  forget(): void {
    this.compiled = undefined;
    this.#continuations = undefined;
  }

  #declaredTargets(targets: readonly number[]): { pc: Int32Array; dense: Int32Array } {
    const pc = Int32Array.from(new Set(targets.filter((at) => at >= 0 && at < this.instructionCount && this.denseOf[at]! >= 0))).sort();
    return { pc, dense: pc.map((at) => this.denseOf[at]!) };
  }

  /** Dense instruction that an indirect jump at dense instruction `from` to instruction `pc` leads to, -1 where it must not. */
  jumpEntry(from: number, pc: number): number {
    if (pc < 0 || pc >= this.instructionCount) return -1;
    if (this.jumps === undefined) return this.denseOf[pc]!;
    const at = indexOf(this.jumps.pc, pc);
    return at < 0 || this.subprogramAt(pc) !== this.subprogramAt(this.pcOf[from]!) ? -1 : this.jumps.dense[at]!;
  }

  /** Dense form whose accesses are checked against live allocations. */
  get checked(): Int32Array {
    if (this.#checked !== undefined) return this.#checked;
    const { fast } = this;
    // a loop: slice() of a small array costs more than its words
    const code = pooledWords(fast.length);
    for (let at = 0; at < code.length; at += STRIDE) {
      const operation = fast[at]!;
      if (operation >= LOADS && operation < LOADS + LOAD_DELTA) code[at] = operation + LOAD_DELTA;
      else if (operation >= STORES && operation < STORES + STORE_DELTA) code[at] = operation + STORE_DELTA;
      else code[at] = operation;
      code[at + 1] = fast[at + 1]!;
      code[at + 2] = fast[at + 2]!;
      code[at + 3] = fast[at + 3]!;
    }
    this.#checked = code;
    return code;
  }

  /** Image in which each operation is the stepping prefix: the interpreter looks the real one up in the other image. */
  get step(): Int32Array {
    if (this.#step !== undefined) return this.#step;
    const code = this.fast.slice();
    for (let at = 0; at < code.length; at += STRIDE) if (code[at] !== BAD_TARGET) code[at] = 0;
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

/** Position of `value` in an ascending array, -1 where it is not. */
export function indexOf(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] === value) return middle;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** By row of the instruction table: the operation that executes it. */
const OP_OF_SPEC: Int16Array = Int16Array.from(INSTRUCTIONS, (spec) => op(operationName(spec)));

/** Name of the operation for a row of the table. */
function operationName(spec: InstructionSpec): string {
  const { kind, operation, width, source } = spec;
  const access = spec.name.startsWith('probe_') ? 'p' : spec.name.startsWith('arena_') ? 'a' : 'f';
  switch (kind) {
    case 'alu': return `${operation}${width}${source}`;
    case 'mov': return operation === 'mov' ? `mov${width}${source}` : `${operation.replace('movsx', 'movs')}_${width}`;
    case 'neg': return `neg${width}`;
    case 'end': return operation === 'be' ? `bswap${width}` : width === 16 ? 'zext16' : width === 32 ? 'mov32x' : 'nop';
    case 'swap': return `bswap${width}`;
    // The kernel's verifier makes a plain 32-bit move of a cast to the kernel's address space (fixups.c).
    case 'cast': return spec.name === 'cast_to_user' ? 'castuser' : 'mov32x';
    case 'percpu': return 'percpu';
    case 'load': return `ld${spec.signed ? 's' : ''}${width}${access}`;
    case 'store': return `st${width}x${access}`;
    case 'storeImmediate': return `st${width}k${access}`;
    case 'atomic': case 'loadAcquire': case 'storeRelease': return 'atomic';
    case 'packet': return operation === 'ld_abs' ? 'ldabs' : 'ldind';
    case 'immediate64': return 'lddw';
    case 'jump': return `${operation}${width}${source}`;
    case 'goto': return 'ja';
    case 'gotoIndirect': return 'gotox';
    case 'mayGoto': return 'maygoto';
    case 'call': return spec.src === 0 ? 'helper' : spec.src === 1 ? 'call' : 'kfunc';
    case 'exit': return 'exit';
    case 'nospec': return 'nop';
    case 'internalCall': return 'tailcall';
  }
}

const BAD = op('bad');
const BAD_TARGET = op('badtarget');
const NOP = op('nop');
const TAIL_CALL = op('tailcall');
const CALL_X = op('callx');
const LDARG = op('ldarg');
const STARG_K = op('stargk');
const STARG_X = op('stargx');
const CODE_CALL_X = 0x8d;
const HELPER_TAIL_CALL = 12;
/** By operation: 1 where it leaves the program. */
const OUTSIDE: Uint8Array = new Uint8Array(OPS.length);
for (const name of ['helper', 'kfunc', 'callx', 'tailcall', 'ldabs', 'ldind', 'percpu']) OUTSIDE[op(name)] = 1;
/** First unchecked loads and stores, and how far behind each its checked form is. */
const LOADS = op('ld8f'), STORES = op('st8kf');
const LOAD_DELTA: number = op('ld8c') - LOADS, STORE_DELTA: number = op('st8kc') - STORES;
/** By row of the instruction table, for 64-bit shifts by a constant: the operation for 32 and more. */
const FAR_SHIFT_OF_SPEC: Int16Array = Int16Array.from(INSTRUCTIONS, ({ kind, operation, width, source }) => (
  kind === 'alu' && source === 'k' && width === 64 && (operation === 'lsh' || operation === 'rsh' || operation === 'arsh') ? op(`${operation}64kh`) : -1));

/** How the words of an instruction are made. */
const PLAIN = 0, SHIFT = 1, END = 2, LOAD = 3, STORE = 4, STORE_K = 5, ATOMIC = 6, PACKET = 7, LDDW = 8, JUMP_X = 9, JUMP_K = 10, GOTO = 11, GOTO32 = 12, CALL = 13;

function formOf({ kind, source, operation, off }: InstructionSpec): number {
  switch (kind) {
    case 'alu': return source === 'k' && (operation === 'lsh' || operation === 'rsh' || operation === 'arsh') ? SHIFT : PLAIN;
    case 'end': return END;
    case 'load': return LOAD;
    case 'store': return STORE;
    case 'storeImmediate': return STORE_K;
    case 'atomic': case 'loadAcquire': case 'storeRelease': return ATOMIC;
    case 'packet': return PACKET;
    case 'immediate64': return LDDW;
    case 'jump': return source === 'x' ? JUMP_X : JUMP_K;
    case 'goto': return off === 'operand' ? GOTO : GOTO32;
    case 'mayGoto': return GOTO;
    case 'call': return CALL;
    default: return PLAIN;
  }
}

/** By row of the instruction table. */
const FORM_OF_SPEC: Uint8Array = Uint8Array.from(INSTRUCTIONS, formOf);

/** Those of `starts` that are instructions, in order. */
function ascending(starts: readonly number[], count: number): Int32Array {
  const sorted = new Int32Array(starts.length);
  let length = 0, isSorted = true;
  for (let i = 0; i < starts.length; i++) {
    const pc = starts[i]!;
    if (pc < 0 || pc >= count) continue;
    if (length > 0 && sorted[length - 1]! > pc) isSorted = false;
    sorted[length++] = pc;
  }
  const all = length === sorted.length ? sorted : sorted.slice(0, length);
  return isSorted ? all : all.sort();
}

/** One pass over the bytes. */
class Decoder {
  readonly pcOf: Int32Array;
  readonly denseOf: Int32Array;
  readonly denseCount: number;
  readonly atomics: Atomic[] = [];
  callsOut: boolean = false;
  readonly #bytes: Uint8Array;
  readonly #count: number;
  readonly #main: Int32Array;
  /** Instruction to blame, by entry behind the end. */
  readonly #tail: number[] = [];
  /** Where calls and addresses of functions lead, in the order of the instructions. */
  readonly #called: number[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    const count = bytes.length / INSTRUCTION_SIZE;
    this.#count = count;
    const denseOf = pooledWords(count + 1);
    let dense = 0;
    for (let pc = 0; pc < count; pc++) {
      denseOf[pc] = dense++;
      if (bytes[pc * INSTRUCTION_SIZE] === LD_IMM64 && pc + 1 < count) denseOf[++pc] = -1;
    }
    denseOf[count] = dense;
    const pcOf = pooledWords(dense);
    for (let pc = 0; pc < count; pc++) {
      const at = denseOf[pc]!;
      if (at >= 0) pcOf[at] = pc;
    }
    this.denseOf = denseOf;
    this.denseCount = dense;
    this.pcOf = pcOf;
    this.#main = pooledWords((dense + 1) * STRIDE);
  }

  /** First instructions of functions as calls tell them, after {@link code}. */
  functions(): number[] {
    return [...new Set([0, ...this.#called])];
  }

  /** The dense words. Entries behind the last instruction fault: control ran off the end, or a jump had no valid target. */
  code(): Int32Array {
    const main = this.#main;
    for (let dense = 0; dense < this.denseCount; dense++) {
      this.#decode(dense * STRIDE, this.pcOf[dense]!);
      if (OUTSIDE[main[dense * STRIDE]!] !== 0) this.callsOut = true;
    }
    const tail = this.#tail;
    let code = this.#main;
    if (tail.length > 0) {
      code = new Int32Array((this.denseCount + 1 + tail.length) * STRIDE);
      code.set(this.#main);
    }
    for (let index = -1; index < tail.length; index++) {
      const at = (this.denseCount + 1 + index) * STRIDE;
      code[at] = BAD_TARGET;
      code[at + 3] = index < 0 ? this.#count : tail[index]!;
    }
    return code;
  }

  /** Word index of a jump's target; jumps to nowhere lead to an entry behind the end that blames them. */
  #target(pc: number, distance: number): number {
    const to = pc + 1 + distance;
    const dense = to >= 0 && to < this.#count ? this.denseOf[to]! : -1;
    if (dense >= 0) return dense * STRIDE;
    this.#tail.push(pc);
    return (this.denseCount + this.#tail.length) * STRIDE;
  }

  #set(at: number, operation: number, second: number, third: number, fourth: number): void {
    const main = this.#main;
    main[at] = operation;
    main[at + 1] = second;
    main[at + 2] = third;
    main[at + 3] = fourth;
  }

  #decode(at: number, pc: number): void {
    const bytes = this.#bytes, from = pc * INSTRUCTION_SIZE;
    const code = bytes[from]!, registers = bytes[from + 1]!;
    const dst = registers & 15, src = registers >>> 4;
    const off = ((bytes[from + 2]! | (bytes[from + 3]! << 8)) << 16) >> 16;
    const imm = bytes[from + 4]! | (bytes[from + 5]! << 8) | (bytes[from + 6]! << 16) | (bytes[from + 7]! << 24);
    const spec = specOf(code, dst, src, off, imm);
    if (spec === undefined) {
      // An indirect call is no instruction of Linux, but of RFC 9669; older compilers put the register into the immediate.
      const holder = imm === 0 ? dst : imm;
      if (code === CODE_CALL_X && holder >= 0 && holder < REGISTER_COUNT) this.#set(at, CALL_X, holder * 2, 0, 0);
      else this.#set(at, BAD, 0, 0, 0);
      return;
    }
    if (dst >= REGISTER_COUNT || (src >= REGISTER_COUNT && spec.src === 'operand')) {
      this.#set(at, BAD, 0, 0, 0);
      return;
    }
    this.#operands(at, pc, spec, dst, src, off, imm);
  }

  #operands(at: number, pc: number, spec: InstructionSpec, dst: number, src: number, off: number, imm: number): void {
    const operation = OP_OF_SPEC[spec.index]!;
    const d = dst * 2;
    const s = src * 2;
    switch (FORM_OF_SPEC[spec.index]) {
      case SHIFT:
        this.#shift(at, operation, spec, d, imm);
        return;
      case END:
        this.#set(at, operation, d, d, 0);
        return;
      case LOAD:
        if (src === BPF_REG_PARAMS) this.#stackArgument(at, LDARG, off / 8, d, 0);
        else this.#set(at, operation, d, s, off);
        return;
      case STORE:
        if (dst === BPF_REG_PARAMS) this.#stackArgument(at, STARG_X, off / -8, 0, s);
        else this.#set(at, operation, d, s, off);
        return;
      case STORE_K:
        if (dst === BPF_REG_PARAMS) this.#stackArgument(at, STARG_K, off / -8, 0, imm);
        else this.#set(at, operation, d, off, imm);
        return;
      case ATOMIC:
        this.atomics.push({ dst, src, off, operation: imm, size: spec.width / 8, arena: spec.name.startsWith('probe_') });
        this.#set(at, operation, 0, 0, this.atomics.length - 1);
        return;
      case PACKET:
        this.#set(at, operation, spec.width / 8, s, imm);
        return;
      case LDDW:
        this.#immediate64(at, operation, pc, src, d, imm);
        return;
      case JUMP_X:
        this.#set(at, operation, d, s, this.#target(pc, off));
        return;
      case JUMP_K:
        this.#set(at, operation, d, this.#target(pc, off), imm);
        return;
      case GOTO:
        this.#set(at, operation, 0, this.#target(pc, off), 0);
        return;
      case GOTO32:
        this.#set(at, operation, 0, this.#target(pc, imm), 0);
        return;
      case CALL:
        this.#call(at, operation, pc, src, off, imm);
        return;
      default:
        this.#set(at, operation, d, s, imm);
    }
  }

  #call(at: number, operation: number, pc: number, src: number, off: number, imm: number): void {
    if (src === 0) this.#set(at, imm === HELPER_TAIL_CALL ? TAIL_CALL : operation, 0, 0, imm);
    else if (src === 2) this.#set(at, operation, off, 0, imm);
    else {
      this.#called.push(pc + 1 + imm);
      this.#set(at, operation, 0, this.#target(pc, imm), 0);
    }
  }

  #immediate64(at: number, operation: number, pc: number, src: number, d: number, imm: number): void {
    if (pc + 1 >= this.#count) this.#set(at, BAD, 0, 0, 0);
    else if (src === BPF_PSEUDO_FUNC) {
      const target = pc + 1 + imm;
      this.#called.push(target);
      this.#set(at, operation, d, codeAddress(target), CODE_HI);
    } else this.#set(at, operation, d, imm, decodeInstruction(this.#bytes, (pc + 1) * INSTRUCTION_SIZE).imm);
  }

  #shift(at: number, operation: number, spec: InstructionSpec, d: number, imm: number): void {
    if (spec.width === 32) this.#set(at, operation, d, 0, imm & 31);
    else if ((imm & 63) === 0) this.#set(at, NOP, 0, 0, 0);
    else this.#set(at, (imm & 63) >= 32 ? FAR_SHIFT_OF_SPEC[spec.index]! : operation, d, 0, imm & 31);
  }

  /** Arguments 6 to 12 travel in slots of the caller's frame: out at `r11 - 8k`, in at `r11 + 8k` (x86's bpf_jit_comp.c). */
  #stackArgument(at: number, operation: number, slot: number, second: number, value: number): void {
    if (Number.isInteger(slot) && slot >= 1 && slot <= 7) this.#set(at, operation, second, (slot - 1) * 8, value);
    else this.#set(at, BAD, 0, 0, 0);
  }
}
