/**
 * @module vm/compiled
 * Runs compiled modules: instantiates them, gives them their imports, enters their functions, explains their traps. Owns the
 * border between WebAssembly and JavaScript; the code itself comes from `vm/wasm`.
 *
 * Every import takes and gives int32 only: an i64 would arrive as a BigInt (about 100 ns a call against 8).
 */
import { InternalError } from '../isa/errors.ts';
import { KERNEL_HI, type AddressSpace } from './address-space.ts';
import type { DirectImports } from './direct.ts';
import { interpret } from './interpreter.ts';
import { indexOf, STRIDE, type PreparedProgram } from './program.ts';
import { REGISTERS, REGISTERS_USE } from './registers.ts';
import { FAULTED, Unwind, type Run } from './run.ts';
import type { ProgramEntry, RunResult } from './types.ts';
import {
  FAULT_NAMES, FRAME_STRIDE, FRAME_TOP, FREE, RESULT_KEPT, SCRATCH_AT, SCRATCH_BUSY, SCRATCH_GOES, SCRATCH_LEFT, SCRATCH_LIMITS,
  SCRATCH_REGISTERS, SCRATCH_RESULT, SCRATCH_WINDOW, UNDER_WAY,
} from './wasm/layout.ts';
import { READ_AT_ONCE, READ_BYTES, type Counters } from './wasm/counters.ts';
import type { Variant } from './wasm/state.ts';
import type { CompiledModule } from './wasm/module.ts';

/** What all instances of a machine share: the run that is under way. */
export interface Host {
  readonly space: AddressSpace;
  run: Run | undefined;
  /** Runs so far in code of each tier: one number. */
  readonly baseline: Float64Array;
  readonly optimised: Float64Array;
  /** Where counters are read to; 0 until they are. */
  counts: number;
}

type EntryFunction = (
  unused: number, sp: number, base: number, r1: number, r1h: number, r2: number, r2h: number, r3: number, r3h: number, r4: number, r4h: number,
  r5: number, r5h: number,
) => number;
/** V8 keeps arrays of at most 64 bytes in its heap, where their elements are found by way of the object. */
const TALLY_LENGTH = 16;

/** A counter: the first element. */
export function newTally(): Float64Array {
  return new Float64Array(TALLY_LENGTH);
}

/** No import has more than six parameters. */
type Import = (a: number, b: number, c: number, d: number, e: number, f: number) => number | void;

const TWO32 = 4294967296;

/** What an entry needs of the machine: how the program runs where the entry must not, and how the run is set up for it. */
export interface Ways {
  run(offset: number): RunResult;
  repeat(offset: number, count: number): RunResult;
  batch(list: number, count: number): RunResult;
  /** False where the run, or the register file, is in use. */
  prepare(): boolean;
  /** As `prepare`, for the explanation of a trap, whoever uses the register file. */
  recover(): void;
}

/** A program's module, instantiated on the memory of a machine. */
export class CompiledProgram {
  readonly program: PreparedProgram;
  readonly variant: Variant;
  readonly main: (base: number, lo: number, hi: number) => number;
  /** What the machine keeps with the module. */
  quick: unknown = undefined;
  readonly #once: ((offset: number) => number) | undefined;
  readonly #repeat: ((offset: number, count: number) => void) | undefined;
  readonly #batch: ((list: number, count: number) => void) | undefined;
  readonly #go: (sp: number, base: number) => number;
  readonly #roots: Int32Array;
  readonly #entries: readonly EntryFunction[];
  readonly #host: Host;
  readonly #module: CompiledModule;
  readonly #tally: Float64Array;
  readonly #counters: Counters | undefined;
  /** Each moves {@link READ_AT_ONCE} counters to an offset. */
  readonly #readers: readonly ((to: number, unused: number) => void)[];
  /** The run whose executed instructions the counters hold; `undefined` between counted runs. */
  #countsFor: Run | undefined = undefined;

  /** @param optimised the platform was asked for its best code at once */
  constructor(
    program: PreparedProgram, variant: Variant, compiled: CompiledModule, module: WebAssembly.Module, host: Host, optimised: boolean, direct: DirectImports,
  ) {
    this.program = program;
    this.variant = variant;
    this.#host = host;
    this.#tally = optimised ? host.optimised : host.baseline;
    this.#module = compiled;
    this.#counters = compiled.counters;
    const directs = Object.fromEntries(compiled.directs.map((id) => [`h${id}`, direct.get(id)!.call]));
    const imports = this.#imports();
    const instance = new WebAssembly.Instance(module, { m: { memory: host.space.memory as WebAssembly.Memory, ...imports, ...directs } });
    const { exports } = instance;
    this.main = exports['main'] as typeof this.main;
    this.#once = exports['once'] as ((offset: number) => number) | undefined;
    this.#repeat = exports['repeat'] as ((offset: number, count: number) => void) | undefined;
    this.#batch = exports['batch'] as ((list: number, count: number) => void) | undefined;
    this.#go = exports['go'] as (sp: number, base: number) => number;
    this.#roots = compiled.roots;
    const readers = Math.ceil((compiled.counters?.count ?? 0) / READ_AT_ONCE);
    this.#readers = Array.from({ length: readers }, (_, index) => exports[`counts${index}`] as (to: number, unused: number) => void);
    this.#entries = Array.from(compiled.roots, (_, index) => exports[`f${index}`] as EntryFunction);
  }

  /** True where dense instruction `dense` begins a function of the module. */
  has(dense: number): boolean {
    return dense === 0 || indexOf(this.#roots, dense) >= 0;
  }

  #imports(): Record<string, Import> {
    const counters = this.#counters;
    const plain = plainImports(this.#host, this.program);
    const covered = counters === undefined ? plain : coveredImports(this.#host, plain, this.program, counters);
    return this.variant.counted ? countedImports(this.#host, covered) : covered;
  }

  /** Runs the function that begins at `dense` in the run's current frame. As `Enter` of the run. */
  enter(run: Run, dense: number): boolean {
    if (this.#counters !== undefined && this.#countsFor !== run) return this.#cover(run, () => this.enter(run, dense));
    const { registers: r, scratch } = run;
    this.#host.run = run;
    this.#tally[0]!++;
    if (run.program !== this.program) run.switchTo(this.program);
    if (this.variant.counted) writeBudget(run);
    else run.uncounted = true;
    try {
      if (dense === 0 && run.depth === 0 && (r[4]! | r[5]! | r[6]! | r[7]! | r[8]! | r[9]! | r[10]! | r[11]!) === 0) r[0] = this.main(scratch, r[2]!, r[3]!);
      else {
        const entry = this.#entries[dense === 0 ? 0 : indexOf(this.#roots, dense)]!;
        r[0] = entry(0, run.frameTop(), scratch, r[2]!, r[3]!, r[4]!, r[5]!, r[6]!, r[7]!, r[8]!, r[9]!, r[10]!, r[11]!);
      }
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      this.explain(run, error);
      return false;
    }
    r[1] = this.#host.space.i32[(scratch + SCRATCH_RESULT + 4) >> 2]!;
    if (this.variant.counted) readBudget(run);
    return true;
  }

  /** Has the counters count for a run, while it is in this module. Where another is under way there, that has them back afterwards. */
  #cover(run: Run, execute: () => boolean): boolean {
    const outer = this.#countsFor;
    this.#readCounters();
    this.#countsFor = run;
    try {
      return execute();
    } finally {
      this.#readCounters();
      this.#countsFor = outer;
    }
  }

  /** Moves what has been counted to the run that it was counted for. */
  #readCounters(): void {
    const run = this.#countsFor;
    const counters = this.#counters;
    if (run?.coverage === undefined || counters === undefined) return;
    const { space } = this.#host;
    const at = (this.#host.counts ||= space.allocHidden(READ_BYTES, 'counters'));
    for (let first = 0; first < counters.count; first += READ_AT_ONCE) {
      this.#readers[first / READ_AT_ONCE]!(at, 0);
      const end = Math.min(first + READ_AT_ONCE, counters.count);
      for (let one = first; one < end; one++) {
        const times = space.i32[(at >> 2) + one - first]!;
        const start = counters.startOf(one);
        if (times !== 0) cover(run, this.program, start, counters.endOf(start), times);
      }
    }
  }

  /** Finishes the run's current frame from the continuation that the module was compiled for; its registers are those of the run. */
  goOn(run: Run): boolean {
    if (this.#counters !== undefined && this.#countsFor !== run) return this.#cover(run, () => this.goOn(run));
    const { registers: r, scratch } = run;
    const { i32 } = run.space;
    const to = (scratch + SCRATCH_REGISTERS) >> 2;
    for (let word = 0; word < 26; word++) i32[to + word] = r[word]!;
    i32[(scratch + SCRATCH_GOES) >> 2] = run.goes[run.depth]!;
    this.#host.run = run;
    this.#tally[0]!++;
    if (this.variant.counted) writeBudget(run);
    else run.uncounted = true;
    try {
      r[0] = this.#go(run.frameTop(), scratch);
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      this.explain(run, error);
      return false;
    }
    r[1] = run.space.i32[(scratch + SCRATCH_RESULT + 4) >> 2]!;
    if (this.variant.counted) readBudget(run);
    return true;
  }

  /**
   * Entries for a program that calls nothing outside, without counting. What they do on each call is all that the call costs, so it is
   * little. A single run of code that calls no import needs nothing but its memory: it is the call of the module, which sees by itself
   * whether it may run, and is not counted; what explains a trap is prepared afterwards. Others have the run set up, and see that it is
   * still theirs.
   *
   * @param run that of the machine's first level
   */
  entry(run: Run, ways: Ways): ProgramEntry {
    const once = this.#once;
    const repeat = this.#repeat;
    const batch = this.#batch;
    if (once === undefined || repeat === undefined || batch === undefined) throw new InternalError('entry of a program that needs more than its memory');
    const runs = this.#tally;
    const { scratch, space } = run;
    const token = {};
    const use = REGISTERS_USE;
    const low = (scratch + SCRATCH_RESULT) >> 2;
    const busy = (scratch + SCRATCH_BUSY) >> 2;
    const result: RunResult = { r0Lo: 0, r0Hi: 0, instructions: -1, fault: undefined };
    const ofBatch: RunResult = { r0Lo: 0, r0Hi: 0, instructions: -1, fault: undefined };
    /** The result of the last run, where that did not go well: until the machine runs something else. */
    let other: RunResult | undefined;
    const note = (given: RunResult): number => {
      other = given;
      space.i32[busy] ||= RESULT_KEPT;
      return given.r0Lo;
    };
    const isReady = (): boolean => {
      if (!ways.prepare()) return false;
      space.i32[busy] = FREE;
      this.#host.run = run;
      run.uncounted = true;
      use.ready = token;
      return true;
    };
    const failed = (error: unknown): RunResult => {
      use.ready = undefined;
      return this.#failed(error);
    };
    const stopped = (error: unknown, offset: number): number => {
      const why = space.i32[busy];
      if (why === UNDER_WAY) return note(ways.run(offset));
      if (why === RESULT_KEPT) {
        space.i32[busy] = FREE;
        return runAlone(offset);
      }
      ways.recover();
      this.#host.run = run;
      return note(failed(error));
    };
    const runReady = (offset: number): number => {
      if (use.ready !== token && !isReady()) return note(ways.run(offset));
      runs[0]!++;
      try {
        return once(offset);
      } catch (error) {
        return note(failed(error));
      }
    };
    const runAlone = (offset: number): number => {
      try {
        return once(offset);
      } catch (error) {
        return stopped(error, offset);
      }
    };
    return {
      run: this.#module.isAlone ? runAlone : runReady,
      repeat: (offset, count) => {
        if (use.ready !== token && !isReady()) return note(ways.repeat(offset, count));
        runs[0]! += count;
        try {
          repeat(offset, count);
        } catch (error) {
          return note(failed(error));
        }
        return space.i32[low]!;
      },
      result: () => {
        const { i32 } = space;
        if (other !== undefined && i32[busy] !== FREE) return other;
        other = undefined;
        result.r0Lo = i32[low]!;
        result.r0Hi = i32[low + 1]!;
        return result;
      },
      batch: (list, count) => {
        if (use.ready !== token && !isReady()) return ways.batch(list, count);
        runs[0]! += count;
        try {
          batch(list, count);
        } catch (error) {
          return failed(error);
        }
        const last = (list + 16 * count - 8) >> 2;
        ofBatch.r0Lo = count > 0 ? space.i32[last]! : 0;
        ofBatch.r0Hi = count > 0 ? space.i32[last + 1]! : 0;
        return ofBatch;
      },
    };
  }

  /** Counts a run that an entry has not counted. */
  noteSingle(): void {
    if (this.#module.isAlone) this.#tally[0]!++;
  }

  /** The result of a run that a trap or a fault has ended. */
  #failed(error: unknown): RunResult {
    const run = this.#host.run!;
    if (error instanceof WebAssembly.RuntimeError) this.explain(run, error);
    else if (!(error instanceof Unwind)) throw error;
    return { r0Lo: 0, r0Hi: 0, instructions: -1, fault: run.fault_ };
  }

  /**
   * Records the fault behind a trap: an access outside the memory. V8 and other engines name the byte of the module in the stack
   * trace, from which the instruction follows; the address is not known.
   */
  explain(run: Run, error: Error): void {
    const match = /wasm-function\[\d+\](?::|@)?:?0x([0-9a-f]+)/.exec(error.stack ?? '');
    const position = match === null ? -1 : Number.parseInt(match[1]!, 16);
    const { trapPositions, trapInstructions } = this.#module;
    const index = indexOf(trapPositions, position);
    run.uncounted = true;
    run.fault_ = run.describe('memory', 0, 0, 0, false);
    const dense = index < 0 ? 0 : trapInstructions[index]!;
    const counters = this.#counters;
    if (counters !== undefined && index >= 0 && dense >= 0) cover(run, this.program, dense + 1, counters.endOf(dense), -1);
    run.locate(dense < 0 ? run.space.i32[(run.scratch + SCRATCH_AT) >> 2]! : dense * STRIDE);
  }
}

/** Hands the run's budget to compiled code. */
function writeBudget(run: Run): void {
  const budget = run.takeBudget();
  const at = (run.scratch + SCRATCH_LEFT) >> 2;
  const { i32 } = run.space;
  i32[at] = budget % TWO32 | 0;
  i32[at + 1] = Math.floor(budget / TWO32);
}

function readBudget(run: Run): void {
  const at = (run.scratch + SCRATCH_LEFT) >> 2;
  const { i32 } = run.space;
  run.giveBudget(i32[at + 1]! * TWO32 + (i32[at]! >>> 0));
}

function currentRun(host: Host): Run {
  return host.run!;
}

/** Tells the run where compiled code is. */
function place(run: Run, at: number, sp: number): void {
  run.at = at;
  run.depth = (((sp - run.stack - FRAME_TOP) / FRAME_STRIDE) | 0) - 1;
}

/** r1…r5 from the scratch area. */
function takeArguments(run: Run): void {
  const { i32 } = run.space;
  const r = REGISTERS;
  const from = (run.scratch + SCRATCH_REGISTERS) >> 2;
  r[2] = i32[from + 2]!;
  r[3] = i32[from + 3]!;
  r[4] = i32[from + 4]!;
  r[5] = i32[from + 5]!;
  r[6] = i32[from + 6]!;
  r[7] = i32[from + 7]!;
  r[8] = i32[from + 8]!;
  r[9] = i32[from + 9]!;
  r[10] = i32[from + 10]!;
  r[11] = i32[from + 11]!;
}

/** Imports of uncounted code. */
function plainImports(host: Host, program: PreparedProgram): Record<string, Import> {
  const { space } = host;
  const helper = (at: number, id: number, sp: number): number => {
    const run = host.run!;
    takeArguments(run);
    run.at = at;
    run.depth = (((sp - run.stack - FRAME_TOP) / FRAME_STRIDE) | 0) - 1;
    const call = run.helpers[id];
    if (call === undefined) return run.fault('unknown-helper');
    call(run);
    host.run = run;
    space.i32[(run.scratch + SCRATCH_RESULT + 4) >> 2] = REGISTERS[1]!;
    return REGISTERS[0]!;
  };
  const kfunc = (at: number, id: number, sp: number): number => {
    const run = host.run!;
    takeArguments(run);
    place(run, at, sp);
    if (run.options.kfunc === undefined) return run.fault('unknown-helper');
    run.options.kfunc(run, id, program.fast[at + 1]!);
    host.run = run;
    space.i32[(run.scratch + SCRATCH_RESULT + 4) >> 2] = REGISTERS[1]!;
    return REGISTERS[0]!;
  };
  return {
    helper, kfunc,
    tail: (at, sp) => {
      const run = currentRun(host);
      place(run, at, sp);
      return tailCall(host, run, program);
    },
    packet: (at, sp, offset, lo, hi) => {
      const run = currentRun(host);
      place(run, at, sp);
      return loadPacket(host, run, at, offset, lo, hi);
    },
    slow: (at, sp, lo, hi, what) => {
      const run = currentRun(host);
      place(run, at, sp);
      checkSlowly(run, lo, hi, what);
    },
    fault: (at, sp, what, lo, hi) => {
      const run = currentRun(host);
      place(run, at, sp);
      raise(run, what, lo, hi);
    },
    resume: (at, sp) => {
      const run = currentRun(host);
      place(run, at, sp);
      resume(host, run, program);
    },
    region: (sp, lo, hi) => {
      const run = currentRun(host);
      place(run, run.at, sp);
      return findRegion(run, lo, hi);
    },
    arena: (lo, off, size) => currentRun(host).arenaOffset(lo, off, size),
    perCPU: (at, sp) => {
      const run = currentRun(host);
      place(run, at, sp);
      const by = run.options.perCPUOffset === undefined ? 0 : run.options.perCPUOffset(run);
      host.run = run;
      return by;
    },
  };
}

/** Adds to the counts of dense instructions from `from` on, as far as `to`. */
function cover({ coverage }: Run, program: PreparedProgram, from: number, to: number, times: number): void {
  if (coverage === undefined) return;
  for (let dense = from; dense < to; dense++) coverage[program.pcOf[dense]!]! += times;
}

/** Imports of code that counts executed instructions: takes back those that a fault, or the interpreter, keeps from being executed there. */
function coveredImports(host: Host, plain: Record<string, Import>, program: PreparedProgram, counters: Counters): Record<string, Import> {
  const slow = plain['slow']!;
  const fault = plain['fault']!;
  const resume = plain['resume']!;
  /** At a fault nothing behind the instruction is executed; those behind the program's end are not counted. */
  const stop = (at: number): void => {
    const dense = at / STRIDE;
    if (dense < program.denseCount) cover(host.run!, program, dense + 1, counters.endOf(dense), -1);
  };
  return {
    ...plain,
    slow: (at, sp, lo, hi, what, unused) => {
      try {
        return slow(at, sp, lo, hi, what, unused);
      } catch (error) {
        stop(at);
        throw error;
      }
    },
    fault: (at, sp, what, lo, hi, unused) => {
      stop(at);
      return fault(at, sp, what, lo, hi, unused);
    },
    resume: (at, sp, ...unused) => {
      const dense = at / STRIDE;
      // In front of what a counter stands for it has not been raised yet.
      if (dense < program.denseCount && !counters.begins(dense)) cover(host.run!, program, dense, counters.endOf(dense), -1);
      return resume(at, sp, ...unused);
    },
  };
}

/** Imports of counted code: the budget goes out and comes back around each. */
function countedImports(host: Host, plain: Record<string, Import>): Record<string, Import> {
  const wrapped: Record<string, Import> = {};
  for (const [name, inner] of Object.entries(plain)) {
    wrapped[name] = name === 'arena' || name === 'region' ? inner : (a, b, c, d, e, f) => {
      const run = host.run!;
      readBudget(run);
      const result = inner(a, b, c, d, e, f);
      writeBudget(run);
      return result;
    };
  }
  return wrapped;
}

function leaveResult(run: Run): void {
  const at = (run.scratch + SCRATCH_RESULT) >> 2;
  run.space.i32[at] = run.registers[0]!;
  run.space.i32[at + 1] = run.registers[1]!;
}

function tailCall(host: Host, run: Run, program: PreparedProgram): number {
  const r = run.registers;
  takeArguments(run);
  const lo = r[2]!;
  const hi = r[3]!;
  const { depth, floor } = run;
  const next = run.tailCallTarget();
  host.run = run;
  if (next === undefined) return 0;
  r[2] = lo;
  r[3] = hi;
  run.enterTailCall(next);
  if (!run.enter(run, next, 0)) throw FAULTED;
  host.run = run;
  run.depth = depth;
  run.setFloor(floor);
  if (run.program !== program) run.switchTo(program);
  leaveResult(run);
  return 1;
}

function loadPacket(host: Host, run: Run, at: number, offset: number, lo: number, hi: number): number {
  run.registers[12] = lo;
  run.registers[13] = hi;
  const value = run.loadPacket(offset, run.program.fast[at + 1]!);
  host.run = run;
  if (value < 0) return 0;
  run.space.i32[(run.scratch + SCRATCH_RESULT) >> 2] = value;
  return 1;
}

/** The slow side of a check: finds the region and says how far each access size may reach into it, or faults. */
function checkSlowly(run: Run, lo: number, hi: number, what: number): void {
  const size = what & 255;
  if (!run.allow(lo, hi, 0, size, (what & 256) !== 0)) {
    run.locate(run.at);
    throw FAULTED;
  }
  leaveWindow(run);
}

/** The region that an address lies in, for pointers that a loop will use: 1, or 0 where it is in none. Never faults. */
function findRegion(run: Run, lo: number, hi: number): number {
  // A pointer behind the last byte belongs to the region in front of it.
  if (!run.isLive(lo, hi, 1) && !run.isLive(lo - 1, hi, 1)) return 0;
  leaveWindow(run);
  return 1;
}

function leaveWindow(run: Run): void {
  const { i32 } = run.space;
  const [start = 0, end = 0] = run.bounds;
  const window = (run.scratch + SCRATCH_WINDOW) >> 2;
  i32[window] = start;
  i32[window + 1] = KERNEL_HI;
  for (let log = 0; log < 4; log++) i32[((run.scratch + SCRATCH_LIMITS) >> 2) + log] = Math.max(0, end - start - (1 << log) + 1);
}

function raise(run: Run, what: number, lo: number, hi: number): never {
  const size = what >> 8;
  const kind = FAULT_NAMES[what & 255]!;
  if (size === 0) run.setFault(kind);
  else run.fault_ = run.describe(kind, lo, hi, size, false);
  run.locate(run.at);
  throw FAULTED;
}

/** Lets the interpreter finish the current frame from the registers in the scratch area. */
function resume(host: Host, run: Run, program: PreparedProgram): void {
  const { i32 } = run.space;
  const r = run.registers;
  const { depth } = run;
  const from = (run.scratch + SCRATCH_REGISTERS) >> 2;
  for (let word = 0; word < 26; word++) r[word] = i32[from + word]!;
  run.goes[depth] = i32[(run.scratch + SCRATCH_GOES) >> 2]!;
  if (!interpret(run, program, run.at / STRIDE)) throw FAULTED;
  host.run = run;
  run.depth = depth;
  if (run.program !== program) run.switchTo(program);
  leaveResult(run);
}
