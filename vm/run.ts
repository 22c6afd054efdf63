/**
 * @module vm/run
 * The state of one run: registers, frames, budget, the fault that ended it; and what helpers see of it. Owns the rules that both
 * engines share (what checked mode allows, frames, callbacks, the budget); does not execute instructions.
 *
 * Stack: a run has blocks of {@link FRAME_STRIDE} bytes in linear memory, one per frame and one in front of them: 64 bytes that
 * belong to nobody, 512 bytes of stack that end at `r10`, 64 bytes for outgoing arguments 6 to 12. Nothing of the engines' own lies there:
 * a probing load, which reads whatever there is, finds the same on each of them.
 */
import { KERNEL_HI, LOWEST, type AddressSpace } from './address-space.ts';
import { InternalError } from '../isa/errors.ts';
import { enlarged } from './enlarged.ts';
import { FRAME_STRIDE, FRAME_TOP, SCRATCH_BYTES, SCRATCH_DEEPEST, SCRATCH_DEPTHS, SCRATCH_FRAMES } from './wasm/layout.ts';
import type { Home } from './wasm/wrappers.ts';
import { MAX_DEPTH, MAX_FRAMES, MAX_TAIL_CALLS, PreparedProgram, STRIDE } from './program.ts';
import { REGISTERS, REGISTER_WORDS } from './registers.ts';
import {
  codeIndex, type Fault, type FaultKind, type HelperCall, type HelperFunction, type MachineOptions, type Program, type RegisterFile, type Tier,
} from './types.ts';

/** What the allocation is called that holds the frames of programs. */
export const STACK_LABEL: string = 'program stack';
const STACK_BYTES = FRAME_STRIDE * (MAX_DEPTH + 1);
/** Instructions are charged in words of the dense form: four an instruction. This many words are handed out at a time. */
const CHUNK = 1 << 28;
/** After this many words (a quarter as many instructions, about a millisecond) a run is long: compiling it pays. */
const PROMOTE_AFTER = 1 << 20;

/** BPF_MAX_LOOPS of include/linux/bpf.h: what may_goto allows a frame. */
const MAY_GOTO_COUNT = 8 * 1024 * 1024;

/** Unwinds through helpers where a run is over. Never seen outside the machine. */
export class Unwind extends Error {}
/** Thrown where a fault is recorded and the frames above it must end. */
export const FAULTED: Unwind = new Unwind('the run has faulted');
const THROWN = new Unwind('the program has thrown');

const NO_FLOORS: Uint8Array = new Uint8Array(0);

/** Executes a function of a program on a run: from dense instruction `dense` to the exit of this frame. False after a fault. */
export type Enter = (run: Run, program: PreparedProgram, dense: number) => boolean;

export class Run implements HelperCall {
  readonly registers: RegisterFile = REGISTERS;
  readonly space: AddressSpace;
  readonly options: MachineOptions;
  readonly helpers: readonly (HelperFunction | undefined)[];
  readonly callbackArguments: Int32Array = new Int32Array(10);
  readonly callbackResult: Int32Array = new Int32Array(2);
  /** Offset of the first block of the stack. */
  readonly stack: number;
  /** Offset of the scratch area, which no program can name. */
  readonly scratch: number;
  program: PreparedProgram;
  context: unknown = undefined;
  /** Image of the current program for the run's access mode, and the one being executed (it or the stepping image). */
  image: Int32Array;
  code: Int32Array;
  checked: boolean = false;
  /** True where every interpreted instruction takes the stepping prefix from the start: tracing and coverage. */
  observed: boolean = false;
  /** Word index of the instruction that calls a helper or faults. */
  at: number = 0;
  /** Budget that is left, in words: handed out, and behind it. */
  left: number = 0;
  reserve: number = 0;
  /** Words handed out since the run began. */
  issued: number = 0;
  /** True once code ran that does not count. */
  uncounted: boolean = false;
  depth: number = 0;
  tailCalls: number = 0;
  /** Saved registers and return places by frame depth: of as many frames as one program has, until a tail call makes room for all. */
  saved: Int32Array = new Int32Array(REGISTER_WORDS * MAX_FRAMES);
  returns: Int32Array = new Int32Array(MAX_FRAMES);
  readonly callers: PreparedProgram[] = [];
  /** What `may_goto` has left, by frame (BPF_MAX_LOOPS at entry). */
  goes: Int32Array = new Int32Array(MAX_FRAMES);
  /** Depth of the first frame of the program that runs: it was entered by the caller of the run or by a tail call. */
  floor: number = 0;
  /** {@link floor} before the tail call, by depth of the frame that made it. */
  #outerFloors: Uint8Array = NO_FLOORS;
  /** First byte and the byte behind the last of the region that the last slow check found. */
  readonly bounds: Int32Array = new Int32Array(2);
  fault_: Fault | undefined = undefined;
  thrownLo: number = 0;
  thrownHi: number = 0;
  trace: ((program: Program, pc: number, registers: RegisterFile) => void) | undefined = undefined;
  coverage: Uint32Array | undefined = undefined;
  coverageOf: PreparedProgram | undefined = undefined;
  /** Which engine the caller asked for; `interpreter` where the run is traced. */
  tier: Tier = 'auto';
  /** True where compiled code must count instructions. */
  counted: boolean = true;
  readonly enter: Enter;

  /** Finishes the current frame in compiled code, from a dense instruction on; false where that is not possible. */
  readonly #promote: (run: Run, dense: number) => boolean;
  /** True while the run may still leave the interpreter for compiled code. */
  promoting: boolean = false;

  constructor(options: MachineOptions, program: PreparedProgram, enter: Enter, promote: (run: Run, dense: number) => boolean) {
    this.#promote = promote;
    this.options = options;
    this.space = options.space;
    this.helpers = options.helpers;
    this.program = program;
    this.image = program.fast;
    this.code = program.fast;
    this.enter = enter;
    this.stack = options.space.alloc(STACK_BYTES, STACK_LABEL, 64);
    this.scratch = options.space.allocHidden(SCRATCH_BYTES, 'state of a run');
    options.space.i32[(this.scratch + SCRATCH_FRAMES) >> 2] = this.stack + FRAME_STRIDE;
  }

  /** Where compiled code finds the scratch area and the first frame. */
  get home(): Home {
    return { base: this.scratch, sp: this.stack + FRAME_STRIDE + FRAME_TOP };
  }

  /** Gives the memory of the run back. */
  dispose(): void {
    this.space.free(this.stack);
    this.space.freeHidden(this.scratch);
  }

  /** Prepares the state for the entry of `program`. Budget in instructions. */
  begin(program: PreparedProgram, checked: boolean, budget: number): void {
    this.depth = 0;
    this.tailCalls = 0;
    this.fault_ = undefined;
    this.checked = checked;
    this.observed = this.trace !== undefined || this.coverage !== undefined;
    this.reserve = budget * STRIDE;
    this.issued = 0;
    this.uncounted = false;
    this.promoting = this.tier === 'auto';
    this.left = this.refill(0);
    this.goes[0] = MAY_GOTO_COUNT;
    this.switchTo(program);
    this.clearRegisters();
    this.setFloor(0);
    this.setFrame(0, program.stackAt(0));
  }

  /** Instructions executed so far, -1 where compiled code did not count them. */
  used(): number {
    return this.uncounted ? -1 : (this.issued - this.left) / STRIDE;
  }

  /** All that is left of the budget, in instructions, for compiled code to draw on. */
  takeBudget(): number {
    const budget = this.reserve + this.left;
    this.issued -= this.left;
    this.left = 0;
    this.reserve = budget;
    return budget / STRIDE;
  }

  /** What compiled code left of the budget that it took. */
  giveBudget(instructions: number): void {
    const words = instructions * STRIDE;
    this.issued += this.reserve + this.left - words;
    this.reserve = words;
    this.left = 0;
    this.left = this.refill(0);
  }

  switchTo(program: PreparedProgram): void {
    this.program = program;
    this.image = this.checked ? program.checked : program.fast;
    this.code = this.observed ? program.step : this.image;
  }

  clearRegisters(): void {
    this.registers.fill(0);
  }

  /** Points `r10` at the frame of `depth`, whose stack has so many bytes. */
  setFrame(depth: number, bytes: number): void {
    this.space.i32[((this.scratch + SCRATCH_DEPTHS) >> 2) + depth] = bytes;
    this.registers[20] = this.stack + FRAME_STRIDE * (depth + 1) + FRAME_TOP;
    this.registers[21] = KERNEL_HI;
  }

  /** Bytes of the stack of a live frame. */
  stackBytes(depth: number): number {
    return this.space.i32[((this.scratch + SCRATCH_DEPTHS) >> 2) + depth]!;
  }

  /** Offset where the stack of the current frame ends; its outgoing arguments begin there. */
  frameTop(): number {
    return this.stack + FRAME_STRIDE * (this.depth + 1) + FRAME_TOP;
  }

  /** The program that a tail call leads to, `undefined` where it falls through: no such entry, or 33 are done. */
  tailCallTarget(): PreparedProgram | undefined {
    if (this.options.tailCall === undefined || this.tailCalls >= MAX_TAIL_CALLS) return undefined;
    const next = this.options.tailCall(this, this.registers[4]!, this.registers[6]! >>> 0);
    if (next === undefined) return undefined;
    if (!(next instanceof PreparedProgram)) throw new InternalError('tail call to a program of another machine');
    this.tailCalls++;
    return next;
  }

  /** Counts frames from `depth` on; compiled code finds the last frame that may call there. */
  setFloor(depth: number): void {
    this.floor = depth;
    this.space.i32[(this.scratch + SCRATCH_DEEPEST) >> 2] = this.stack + FRAME_STRIDE * (depth + MAX_FRAMES) + FRAME_TOP;
  }

  /** The frame of {@link floor} ends: its caller's program counts its own frames. */
  leaveFloor(): void {
    this.setFloor(this.#outerFloors[this.floor]!);
  }

  /** Makes `next` the program of the current frame: only r1 (the context) and the frame survive. */
  enterTailCall(next: PreparedProgram): void {
    if (this.floor !== this.depth) {
      if (this.#outerFloors.length === 0) this.#makeRoom();
      this.#outerFloors[this.depth] = this.floor;
      this.setFloor(this.depth);
    }
    const lo = this.registers[2]!;
    const hi = this.registers[3]!;
    this.switchTo(next);
    this.clearRegisters();
    this.registers[2] = lo;
    this.registers[3] = hi;
    this.setFrame(this.depth, next.stackAt(0));
    this.goes[this.depth] = MAY_GOTO_COUNT;
  }

  /** Frames behind the first program's: few runs have them, and what they take is dearer to make than a short run. */
  #makeRoom(): void {
    this.#outerFloors = new Uint8Array(MAX_DEPTH);
    this.saved = enlarged(this.saved, REGISTER_WORDS * MAX_DEPTH);
    this.returns = enlarged(this.returns, MAX_DEPTH);
    this.goes = enlarged(this.goes, MAX_DEPTH);
  }

  /** LD_ABS and LD_IND: the value, or -1 outside the packet. */
  loadPacket(offset: number, size: number): number {
    return this.options.loadPacket === undefined ? -1 : this.options.loadPacket(this, offset, size);
  }

  /** Moves budget from the reserve: gives the new number of words at hand. */
  refill(left: number): number {
    // The first chunk of a run that may be promoted is small: its end is where that is decided.
    const take = Math.min(this.reserve, this.promoting && this.issued === 0 ? PROMOTE_AFTER : CHUNK);
    if (left > CHUNK || take <= 0) return left;
    this.reserve -= take;
    this.issued += take;
    return left + take;
  }

  /** At the target of a jump, once a chunk is used up: finishes the frame in compiled code if the run is worth it. */
  promote(at: number, left: number): boolean {
    if (!this.promoting || this.reserve + left < PROMOTE_AFTER) return false;
    this.left = left;
    this.promoting = this.#promote(this, at / STRIDE);
    return this.promoting;
  }

  /** The stepping image, once a straight run of the program might overdraw the budget. */
  stepping(): Int32Array {
    return this.program.step;
  }

  /** What the stepping prefix does beside counting. */
  observe(at: number): void {
    const pc = this.program.pcOf[at / STRIDE]!;
    if (this.coverage !== undefined && this.program === this.coverageOf) this.coverage[pc]!++;
    if (this.trace !== undefined) this.trace(this.program, pc, this.registers);
  }

  // Accesses

  /**
   * Checked mode: may `size` bytes at the 64-bit sum of the pair and `off` be accessed? Leaves the region in {@link bounds}.
   * A region of the stack is one live frame's stack.
   */
  allow(lo: number, hi: number, off: number, size: number, write: boolean): boolean {
    const at = (lo + off) | 0;
    const carry = off >= 0 ? (at >>> 0 < lo >>> 0 ? 1 : 0) : at >>> 0 > lo >>> 0 ? -1 : 0;
    if (this.isLive(at, (hi + carry) | 0, size)) return true;
    this.bounds[0] = 0;
    this.bounds[1] = 0;
    this.memoryFault(lo, hi, off, size, write);
    return false;
  }

  /** True where `size` bytes at an address are in one live allocation or in the stack of a live frame; its bounds are then known. */
  isLive(at: number, hi: number, size: number): boolean {
    if (hi !== KERNEL_HI || at < LOWEST) return false;
    const inStack = at - this.stack;
    if (inStack < 0 || inStack >= STACK_BYTES) return this.space.findLive(at, size, this.bounds);
    const frame = Math.floor(inStack / FRAME_STRIDE) - 1;
    const top = this.stack + FRAME_STRIDE * (frame + 1) + FRAME_TOP;
    if (frame < 0 || frame > this.depth) return false;
    const bytes = this.stackBytes(frame);
    if (at < top - bytes || at + size > top) return false;
    this.bounds[0] = top - bytes;
    this.bounds[1] = top;
    return true;
  }

  /** Offset of an access through a 32-bit arena pointer, -1 where it is outside the arena or on a page that is not there. */
  arenaOffset(lo: number, off: number, size: number): number {
    const arena = this.program.image.arena;
    if (arena === undefined) return -1;
    const at = (lo + off - arena.userLo) >>> 0;
    if (at + size > arena.size) return -1;
    if (arena.present[at >>> 12] !== 1 || arena.present[(at + size - 1) >>> 12] !== 1) return -1;
    return arena.offset + at;
  }

  /** Records a memory fault; the engine fills in the place through {@link at}. */
  memoryFault(lo: number, hi: number, off: number, size: number, write: boolean): void {
    const at = (lo + off) | 0;
    const carry = off >= 0 ? (at >>> 0 < lo >>> 0 ? 1 : 0) : at >>> 0 > lo >>> 0 ? -1 : 0;
    this.fault_ = this.describe('memory', at, (hi + carry) | 0, size, write);
  }

  /** Records a fault that concerns no address. */
  setFault(kind: FaultKind): void {
    this.fault_ = this.describe(kind, 0, 0, 0, false);
  }

  /** Completes a recorded fault with the instruction at word `at`. Both engines call it once, before they give up. */
  locate(at: number): void {
    this.at = at;
    const dense = at / STRIDE;
    const { program } = this;
    const pc = dense < program.denseCount ? program.pcOf[dense]! : program.fast[at + 3]!;
    if (this.fault_ === undefined) this.setFault('bad-instruction');
    const fault = this.fault_!;
    this.fault_ = { ...fault, pc, program: program.image.name, message: faultMessage(fault, program.image.name, pc) };
  }

  describe(kind: FaultKind, addressLo: number, addressHi: number, size: number, write: boolean): Fault {
    let nearest: Fault['nearest'];
    if (kind === 'memory' && addressHi === KERNEL_HI) {
      const found = this.space.nearest(addressLo >>> 0);
      if (found !== undefined) nearest = { label: found.allocation.label, size: found.allocation.size, distance: found.distance };
    }
    return { kind, pc: 0, program: '', addressLo, addressHi, size, write, nearest, message: '' };
  }

  // HelperCall

  get pc(): number {
    return this.program.pcOf[this.at / STRIDE]!;
  }

  setResult(value: number): void {
    this.registers[0] = value;
    this.registers[1] = value < 0 ? -1 : 0;
  }

  setPointer(offset: number): void {
    this.registers[0] = offset;
    this.registers[1] = offset === 0 ? 0 : KERNEL_HI;
  }

  u32(n: number): number {
    return this.registers[2 * n]! >>> 0;
  }

  s64(n: number): number {
    return this.registers[2 * n + 1]! * 4294967296 + (this.registers[2 * n]! >>> 0);
  }

  stackArgument(n: number): number {
    return this.stack + FRAME_STRIDE * (this.depth + 1) + FRAME_TOP + (n - 6) * 8;
  }

  callback(addressLo: number): void {
    const { program, at, depth, registers } = this;
    const pc = codeIndex(addressLo);
    const dense = pc >= 0 && pc < program.instructionCount ? program.denseOf[pc]! : -1;
    if (dense < 0) this.fault('bad-target');
    if (depth + 1 - this.floor >= MAX_FRAMES) this.fault('call-depth');
    const base = REGISTER_WORDS * depth;
    for (let word = 0; word < REGISTER_WORDS; word++) this.saved[base + word] = registers[word]!;
    this.clearRegisters();
    for (let word = 0; word < 10; word++) registers[2 + word] = this.callbackArguments[word]!;
    this.depth = depth + 1;
    this.goes[depth + 1] = MAY_GOTO_COUNT;
    this.setFrame(depth + 1, program.stackAt(pc));
    const finished = this.enter(this, program, dense);
    if (!finished) throw FAULTED;
    this.callbackResult[0] = registers[0]!;
    this.callbackResult[1] = registers[1]!;
    this.depth = depth;
    this.at = at;
    if (this.program !== program) this.switchTo(program);
    for (let word = 0; word < REGISTER_WORDS; word++) registers[word] = this.saved[base + word]!;
  }

  charge(count: number): void {
    this.left -= count * STRIDE;
    while (this.left < 0 && this.reserve > 0) this.left = this.refill(this.left);
    if (this.left >= 0) return;
    this.left = 0;
    this.fault('budget');
  }

  fault(kind: FaultKind, addressLo: number = 0, addressHi: number = 0): never {
    this.fault_ = this.describe(kind, addressLo, addressHi, 0, false);
    this.locate(this.at);
    throw FAULTED;
  }

  /** Records a fault at the entry of the run, where nothing has been executed. */
  refuse(kind: FaultKind): void {
    this.setFault(kind);
    this.locate(0);
  }

  throwException(cookieLo: number, cookieHi: number): never {
    this.thrownLo = cookieLo;
    this.thrownHi = cookieHi;
    throw THROWN;
  }
}

/** True for the unwinding of a program's own exception, false for that of a fault. */
export function isThrown(unwind: Unwind): boolean {
  return unwind === THROWN;
}

function hex32(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}

function faultMessage(fault: Fault, program: string, pc: number): string {
  const place = `instruction ${pc} of ${program}`;
  if (fault.kind !== 'memory') return `${fault.kind} at ${place}`;
  const access = `${fault.write ? 'write' : 'read'} of ${fault.size} bytes at 0x${hex32(fault.addressHi)}${hex32(fault.addressLo)}`;
  if (fault.nearest === undefined) return `${access} by ${place}: no allocation near`;
  const { label, size, distance } = fault.nearest;
  const where = distance === 0 ? 'inside' : distance > 0 ? `${distance} bytes behind the end of` : `${-distance} bytes before`;
  return `${access} by ${place}: ${where} ${label} (${size} bytes)`;
}
