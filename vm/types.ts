/**
 * @module vm/types
 * The border of the eBPF machine: what a program image is, how helpers are called, what a run gives back. Owns no behaviour.
 * Helper ABI: Linux's (`r1`…`r5` arguments, `r0` result, Documentation/bpf/classic_vs_extended.rst), with 64-bit values as
 * int32 pairs in typed arrays.
 */
import type { Phases } from '../isa/phases.ts';
import type { AddressSpace } from './address-space.ts';
import type { DirectHelpers } from './direct.ts';

/**
 * Registers of the running program as int32 pairs: register `n` has its low half at `2n` and its high half at `2n + 1`. A helper
 * finds `r1`…`r5` at 2…11 and leaves its result at 0 and 1.
 */
export type RegisterFile = Int32Array;

/** What a helper or a kfunc gets. One object per nesting level of runs, reused: keep no reference across the call. */
export interface HelperCall {
  readonly registers: RegisterFile;
  readonly space: AddressSpace;
  /** The program whose instruction makes the call. */
  readonly program: Program;
  /** Index of the call instruction (xlated). */
  readonly pc: number;
  /** What the caller of `run` gave as `context`. */
  readonly context: unknown;
  /** Sets `r0` to a small signed number, such as `-errno`. */
  setResult(value: number): void;
  /** Sets `r0` to a kernel pointer; offset 0 gives null. */
  setPointer(offset: number): void;
  /** Low half of argument `n` (1…5) as uint32. */
  u32(n: number): number;
  /** Argument `n` as a JS number, signed; exact up to 2^53. */
  s64(n: number): number;
  /** Offset of argument `n` (6…12) of a kfunc, 8 bytes on the caller's frame. */
  stackArgument(n: number): number;
  /**
   * Calls a function of the running program (a callback whose address the program passed). Arguments 1…5 are read from
   * `callbackArguments` (int32 pairs, argument n at `2n - 2`), the result is left in `callbackResult`. Where the callback faults,
   * exhausts the budget or throws, this does not return: a sentinel unwinds through the helper (release what you hold in
   * `finally`, never swallow it).
   */
  callback(addressLo: number): void;
  readonly callbackArguments: Int32Array;
  /** `[lo, hi]` of `r0` of the last callback. */
  readonly callbackResult: Int32Array;
  /** Charges `count` instructions to the budget, for helpers that loop by themselves. Does not return where it is exhausted. */
  charge(count: number): void;
  /** Ends the run with a fault at this instruction. Does not return. */
  fault(kind: FaultKind, addressLo?: number, addressHi?: number): never;
  /**
   * `bpf_throw`: ends all frames. The run's result is what the exception callback gives for the cookie (or the cookie itself
   * where the program has none). Does not return.
   */
  throwException(cookieLo: number, cookieHi: number): never;
}

/** A helper function: reads `r1`…`r5`, writes `r0`. */
export type HelperFunction = (call: HelperCall) => void;

/** An arena: `pages` pages of kernel memory seen by the program through 32-bit pointers. */
export interface ArenaWindow {
  /** Offset of the first page in the linear memory. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** User address of the first byte (`user_vm_start`). */
  readonly userLo: number;
  readonly userHi: number;
  /** One byte per page, 1 where the page is populated; an access elsewhere reads 0 or is dropped, as with PROBE_MEM32. */
  readonly present: Uint8Array;
}

/** A program ready to be prepared for the engines: plain data. */
export interface ProgramImage {
  readonly name: string;
  /**
   * Rewritten instructions, 8 bytes each: `ld_imm64` holds final addresses (source register 0 or any PSEUDO value: the
   * immediates are taken as they are), except BPF_PSEUDO_FUNC, whose immediate is the distance to the function.
   */
  readonly instructions: Uint8Array;
  /** First instruction of each function; derived from calls where absent. */
  readonly subprograms?: readonly number[];
  /** Stack bytes by function, up to 512, in the order of `subprograms`; 512 where absent. */
  readonly stackDepths?: readonly number[];
  /** Verified programs may run with unchecked memory accesses and without a budget. Default false. */
  readonly verified?: boolean;
  readonly arena?: ArenaWindow | undefined;
  /**
   * Instructions that indirect jumps may lead to, each from inside its own function; elsewhere they fault. Where absent any instruction
   * may be a target, and compiled code leaves such jumps to the interpreter.
   */
  readonly jumpTargets?: readonly number[] | undefined;
  /** Index in `subprograms` of the exception callback. */
  readonly exceptionCallback?: number | undefined;
}

/** A prepared program: made by `Machine.load`, run by `Machine.run`. Opaque to everybody but the engines. */
export interface Program {
  readonly image: ProgramImage;
  readonly instructionCount: number;
  /** First instruction of each function, ascending. */
  readonly subprograms: Int32Array;
  /** True where an instruction calls a helper, a kfunc, another program or a hook. */
  readonly callsOut: boolean;
}

/** Why a run ended without a result. */
export type FaultKind =
  /** An address outside the memory, or in checked mode outside every live allocation. */
  | 'memory'
  /** A misaligned atomic access. */
  | 'alignment'
  /** More than 8 frames of one program. */
  | 'call-depth'
  /** The instruction budget is used up. */
  | 'budget'
  /** A helper or kfunc that the machine does not have. */
  | 'unknown-helper'
  /** An indirect jump or a callback to what is no instruction, or control that runs off the end. */
  | 'bad-target'
  /** An instruction that the engines do not know. */
  | 'bad-instruction'
  /** A helper gave up: its own reason is in the message. */
  | 'helper';

/** Where and why a run ended. */
export interface Fault {
  readonly kind: FaultKind;
  /** Index of the instruction (xlated). */
  readonly pc: number;
  /** The program that was running (a tail call may have changed it). */
  readonly program: string;
  /** Address halves of a memory fault, otherwise 0. */
  readonly addressLo: number;
  readonly addressHi: number;
  /** Bytes of the access, otherwise 0. */
  readonly size: number;
  /** True for a write. */
  readonly write: boolean;
  /** Nearest live allocation: label, distance in bytes (0 inside, positive behind its end, negative before it). */
  readonly nearest: { readonly label: string; readonly size: number; readonly distance: number } | undefined;
  /** One line: kind, instruction, address, neighbour. */
  readonly message: string;
}

/**
 * How accesses are tested: `fast` (inside the linear memory: for verified programs) or `checked` (inside a live allocation or the
 * stack of a live frame).
 */
export type AccessMode = 'fast' | 'checked';

/** Which engine runs a program. `auto` is the machine's policy. */
export type Tier = 'auto' | 'interpreter' | 'baseline' | 'optimised';

/** Options of one run. Reuse one object: a run does not allocate. */
export interface RunOptions {
  /**
   * Greatest number of instructions; exhaustion is a fault of kind `budget`. Default: none for verified programs, {@link DEFAULT_BUDGET}
   * for others. `Infinity` lets compiled code run without counting.
   */
  budget?: number;
  /** Default: `fast` for verified programs, `checked` for others. */
  mode?: AccessMode;
  /** For helpers: `HelperCall.context`. */
  context?: unknown;
  /** `r2`…`r5` at entry, int32 pairs (r2 at 0); zero where absent. Programs of the kernel get only `r1`. */
  extraArguments?: Int32Array;
  /** Called before each instruction, with the frame's registers. Forces the interpreter. */
  trace?: (program: Program, pc: number, registers: RegisterFile) => void;
  /** One counter per instruction of the first program, raised by each execution, on every tier; read it once the run is over. */
  coverage?: Uint32Array;
  tier?: Tier;
}

/** Result of a run: overwritten by the next run of the machine on the same nesting level. */
export interface RunResult {
  /** `r0`; 0 after a fault. */
  r0Lo: number;
  r0Hi: number;
  /**
   * Instructions executed, callbacks and tail-called programs included; `ld_imm64` counts once. -1 where compiled code ran without a
   * budget, which does not count.
   */
  instructions: number;
  fault: Fault | undefined;
}

/**
 * Runs one program again and again with the same options, with as little as possible around it: `Machine.entry`.
 *
 * @example
 * const filter = machine.entry(program);
 * const verdict = filter.run(packet);
 */
export interface ProgramEntry {
  /**
   * Runs the program with `r1` = the kernel address of `offset`. Gives the lower half of r0 as an int32; 0 after a fault. The statistics
   * need not count it, as that alone would be a tenth of the time of a short program.
   */
  readonly run: (offset: number) => number;
  /** As `run`, `count` times (a positive number below 2^32) on the same memory, until a fault: gives what the last one did. */
  readonly repeat: (offset: number, count: number) => number;
  /** What the last `run` or `repeat` gave: all of r0, or its fault. Overwritten by the next run of the machine. */
  readonly result: () => RunResult;
  /** As `Machine.runBatch` with `count` entries at offset `list`. */
  readonly batch: (list: number, count: number) => RunResult;
}

/** Budget of a run that names none: about ten seconds of the interpreter. */
export const DEFAULT_BUDGET: number = 2 ** 32;

/** Gives the instructions of a helper by its id; a map of them is one. */
export interface InlineHelpers {
  get(id: number): Uint8Array | undefined;
}

/** What a machine needs from its surroundings. */
export interface MachineOptions {
  readonly space: AddressSpace;
  /** By helper id (`BPF_FUNC_*`). Holes are unknown helpers. */
  readonly helpers: readonly (HelperFunction | undefined)[];
  /** Calls of kernel functions (BPF_PSEUDO_KFUNC_CALL): `btfID` is the immediate, `offset` the instruction's (module fd index). */
  readonly kfunc?: (call: HelperCall, btfID: number, offset: number) => void;
  /**
   * Target of a tail call: `r2` low half is the map's offset, `index` the uint32 in r3. `undefined` lets the program go on.
   * The machine keeps the limit of 33.
   */
  readonly tailCall?: (call: HelperCall, mapLo: number, index: number) => Program | undefined;
  /**
   * BPF_LD_ABS and BPF_LD_IND: reads `size` (1, 2, 4) bytes of the packet at `offset` in network order and gives them as a
   * uint32 in host order; -1 where they are outside, which ends the program with r0 = 0.
   */
  readonly loadPacket?: (call: HelperCall, offset: number, size: number) => number;
  /**
   * Helpers given as eBPF: one function each, without local calls and without a stack, that computes r0 from r1…r5. Compiled code contains
   * them instead of calling out; they must do what the helper of the same id does, and may call any helper (their own, for what is
   * rare), which is then called outside as if the program's instruction had. Their accesses are not checked: checked code contains
   * only those that neither access memory nor call. Each helper is asked for once, when the first program that calls it is compiled.
   */
  readonly inlineHelpers?: InlineHelpers;
  /**
   * Helpers that compiled code of verified programs may call with less around the call; each has its entry in {@link helpers} too, and does
   * the same.
   */
  readonly directHelpers?: DirectHelpers;
  /**
   * Compiles a module with the platform's optimising compiler at once, where there is a way to ask for it (Node:
   * `v8.setFlagsFromString('--no-liftoff')` around `new WebAssembly.Module`). Without it V8 decides by itself, between calls.
   */
  readonly compileOptimised?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
  /** Functions of more instructions are compiled in parts of about as many; default 40,000. Results do not depend on it. */
  readonly partInstructions?: number;
  /** Milliseconds, for the times in the statistics. Nothing else depends on it. */
  readonly clock?: () => number;
  /** Hears when a program is compiled. */
  readonly phases?: Phases;
  /** Added to a pointer by the per-CPU move (BPF_ADDR_PERCPU); default 0. */
  readonly perCPUOffset?: (call: HelperCall) => number;
}

/** Upper half of the address of an instruction (callbacks, indirect jumps). */
export const CODE_HI: number = -1;
const CODE_LO = 0xc0000000 | 0;

/** Low half of the address of instruction `pc` of the running program. The address is `(CODE_HI, codeAddress(pc))`. */
export function codeAddress(pc: number): number {
  return (CODE_LO + pc * 8) | 0;
}

/** Instruction index of a code address's low half, or -1 where it is none. */
export function codeIndex(lo: number): number {
  const distance = (lo - CODE_LO) | 0;
  return distance >= 0 && (distance & 7) === 0 ? distance >> 3 : -1;
}

/** What {@link EngineStats.fallbacks} keeps. */
export const MAX_FALLBACKS = 100;

/** A program that ran on a lower tier. */
export interface Fallback {
  readonly program: string;
  readonly tier: 'interpreter' | 'baseline';
  readonly reason: string;
}

/** What the engines of a machine have done. */
export interface EngineStats {
  readonly interpretedRuns: number;
  /** Runs in compiled code: baseline and optimised ones. Single runs of a {@link ProgramEntry} may be missing. */
  readonly compiledRuns: number;
  readonly baselineRuns: number;
  /** Runs in code that the platform was asked to optimise at once. Baseline code that it optimises by itself counts as baseline. */
  readonly optimisedRuns: number;
  /** Runs that began in the interpreter and went on in compiled code; they count as interpreted too. */
  readonly promotedRuns: number;
  /** Modules compiled. */
  readonly compiledModules: number;
  /** Bytes of WebAssembly of all of them. */
  readonly compiledBytes: number;
  /** Milliseconds spent on emitting WebAssembly and in the platform's compiler; 0 without {@link MachineOptions.clock}. */
  readonly emitMilliseconds: number;
  readonly compileMilliseconds: number;
  /** How often the compiler or the platform refused a program, with the reason of the last time: it is interpreted. */
  readonly refusals: number;
  readonly lastRefusal: string;
  /** Programs that did not run on the tier that was asked for, and why; at most {@link MAX_FALLBACKS}. */
  readonly fallbacks: readonly Fallback[];
}
