/**
 * @module vm/machine
 * The eBPF machine of a kernel instance: prepares programs, runs them, chooses the engine. Owns runs and their stacks; does not own
 * helpers, maps or what a program may do.
 */
import { InternalError } from '../isa/errors.ts';
import type { CompiledProgram } from './compiled.ts';
import { KERNEL_HI } from './address-space.ts';
import { DirectImports, DirectRegisters } from './direct.ts';
import { PreparedProgram } from './program.ts';
import { enterRegisters, leaveRegisters, REGISTER_WORDS, REGISTERS_USE } from './registers.ts';
import { isThrown, Run, Unwind } from './run.ts';
import {
  codeIndex, DEFAULT_BUDGET, type EngineStats, type MachineOptions, type Program, type ProgramEntry, type ProgramImage, type RunOptions, type RunResult,
} from './types.ts';
import { Tiers } from './tiers.ts';
import { FREE, SCRATCH_BUSY, SCRATCH_REGISTERS, UNDER_WAY } from './wasm/layout.ts';

/** Runs inside runs (a helper that runs another program): more is a fault of kind `call-depth`. */
const MAX_NESTING = 16;
const NO_OPTIONS: RunOptions = {};

/** What the last run was, if the like of it can be repeated with one call. */
interface Quick {
  readonly program: PreparedProgram;
  readonly compiled: CompiledProgram;
  readonly entry: ProgramEntry;
  readonly mode: RunOptions['mode'];
  readonly tier: RunOptions['tier'];
  readonly budget: RunOptions['budget'];
}

/**
 * @example
 * const machine = new Machine({ space, helpers: [] });
 * const program = machine.load({ name: 'two', instructions: bytes });
 * const result = machine.run(program, contextOffset, KERNEL_HI);
 * if (result.fault === undefined) console.log(result.r0Lo >>> 0);
 */
export class Machine {
  readonly space: MachineOptions['space'];
  readonly #options: MachineOptions;
  readonly #runs: Run[] = [];
  readonly #results: RunResult[] = [];
  readonly #direct: DirectImports;
  readonly #tiers: Tiers;
  #quick: Quick | undefined = undefined;
  #nesting: number = 0;

  constructor(options: MachineOptions) {
    this.space = options.space;
    this.#options = options;
    // One place for all runs: a helper has read its arguments before another run can begin.
    const place = (): DirectRegisters => new DirectRegisters(options.space, this.#runs[0]!.scratch + SCRATCH_REGISTERS);
    this.#direct = new DirectImports(options.directHelpers, place);
    this.#tiers = new Tiers(options, this.#direct, () => this.#runs[0]!.home);
  }

  /** What the engines have done so far. */
  get stats(): EngineStats {
    return this.#tiers.stats;
  }

  /**
   * Decodes a program. Nothing is judged: what no engine knows faults when it is reached.
   *
   * @throws InputError where the bytes are no whole number of instructions
   */
  load(image: ProgramImage): Program {
    return new PreparedProgram(image);
  }

  /** Forgets what the engines keep of a program. Programs own no memory of the address space. */
  unload(program: Program): void {
    prepared(program).forget();
    this.#quick = undefined;
  }

  /** Frees the stacks. The machine must not run afterwards. */
  dispose(): void {
    if (this.#nesting !== 0) throw new InternalError('machine disposed of while it runs');
    this.#direct.dispose();
    this.#tiers.dispose();
    for (const run of this.#runs) run.dispose();
    this.#runs.length = 0;
  }

  /**
   * Runs a program with `r1` = (lo, hi). The result object is reused by the next run on the same nesting level; {@link entry} is for callers
   * that run one program often.
   *
   * Registers other than r1 (and `extraArguments`) and r10 start at 0; the stack keeps what earlier runs left on it, as in the
   * kernel.
   */
  run(program: Program, lo: number, hi: number, options: RunOptions = NO_OPTIONS): RunResult {
    const quick = this.#quick;
    if (quick !== undefined && hi === KERNEL_HI && this.#nesting === 0 && isLike(quick, program, options)) {
      quick.compiled.noteSingle();
      quick.entry.run(lo);
      return quick.entry.result();
    }
    return this.#execute(prepared(program), 0, lo, hi, options.extraArguments, options);
  }

  /**
   * Runs a program once for each of `count` entries of 16 bytes at offset `list`: the first word of an entry is the offset that r1 points
   * at, r0 goes to its last 8 bytes. Stops at the first fault, which the result has; its r0 is the last one.
   */
  runBatch(program: Program, list: number, count: number, options: RunOptions = NO_OPTIONS): RunResult {
    if (list % 8 !== 0 || list + 16 * count > this.space.byteLength) throw new InternalError(`batch of ${count} entries at ${list}`);
    const quick = this.#quick;
    if (quick !== undefined && isLike(quick, program, options)) return quick.entry.batch(list, count);
    const target = prepared(program);
    const compiled = this.#isPlain(target, options) ? this.#choose(target, options) : null;
    return compiled === null ? this.#runEach(target, list, count, options) : this.#makeQuick(target, compiled, options).entry.batch(list, count);
  }

  /**
   * What runs a program with these options again and again. It is compiled at once, unless the options say `interpreter`. The options are
   * those of this moment.
   */
  entry(program: Program, options: RunOptions = NO_OPTIONS): ProgramEntry {
    const target = prepared(program);
    const own = { ...options };
    if (this.#isPlain(target, own) && own.tier !== 'interpreter') {
      const compiled = this.#choose(target, own.tier === 'optimised' ? own : { ...own, tier: 'baseline' });
      if (compiled !== null) return this.#entryOf(target, compiled, own);
    }
    let result: RunResult = { r0Lo: 0, r0Hi: 0, instructions: 0, fault: undefined };
    return {
      run: (offset) => (result = this.run(program, offset, KERNEL_HI, own)).r0Lo,
      repeat: (offset, count) => (result = this.#repeat(target, offset, count, own)).r0Lo,
      result: () => result,
      batch: (list, count) => this.#runEach(target, list, count, own),
    };
  }

  #repeat(program: PreparedProgram, offset: number, count: number, options: RunOptions): RunResult {
    let result: RunResult;
    let left = count;
    do result = this.#execute(program, 0, offset, KERNEL_HI, options.extraArguments, options);
    while (--left > 0 && result.fault === undefined);
    return result;
  }

  #runEach(program: PreparedProgram, list: number, count: number, options: RunOptions): RunResult {
    let result = this.#results[this.#nesting];
    for (let index = 0; index < count; index++) {
      result = this.#execute(program, 0, this.space.i32[(list + 16 * index) >> 2]!, KERNEL_HI, options.extraArguments, options);
      if (result.fault !== undefined) break;
      this.space.i32[(list + 16 * index + 8) >> 2] = result.r0Lo;
      this.space.i32[(list + 16 * index + 12) >> 2] = result.r0Hi;
    }
    return result ?? { r0Lo: 0, r0Hi: 0, instructions: 0, fault: undefined };
  }

  /**
   * Calls one function of a program outside a run (a timer, a work item): `argumentPairs` are r1…r5 as int32 pairs.
   * `addressLo` is the low half of the function's address.
   */
  callback(program: Program, addressLo: number, argumentPairs: Int32Array, options: RunOptions = NO_OPTIONS): RunResult {
    const target = prepared(program);
    const pc = codeIndex(addressLo);
    const dense = pc >= 0 && pc < target.instructionCount ? target.denseOf[pc]! : -1;
    if (dense < 0) throw new InternalError(`callback to ${addressLo >>> 0}, no instruction of ${program.image.name}`);
    return this.#execute(target, dense, argumentPairs[0]!, argumentPairs[1]!, argumentPairs.subarray(2), options);
  }

  /** True where a run needs no state but the stack and the first argument. */
  #isPlain(program: PreparedProgram, options: RunOptions): boolean {
    return (
      !program.callsOut && this.#isUncounted(program, options) && options.trace === undefined && options.coverage === undefined &&
      options.extraArguments === undefined
    );
  }

  #choose(program: PreparedProgram, options: RunOptions): CompiledProgram | null {
    const outer = enterRegisters();
    try {
      return this.#tiers.choose(this.#begin(program, options), program);
    } finally {
      leaveRegisters(outer);
    }
  }

  #entryOf(program: PreparedProgram, compiled: CompiledProgram, options: RunOptions): ProgramEntry {
    return compiled.entry(this.#runAt(0, program), {
      prepare: () => {
        if (this.#nesting > 0 || REGISTERS_USE.level > 0) return false;
        this.#begin(program, options);
        return true;
      },
      recover: () => {
        const outer = enterRegisters();
        this.#begin(program, options);
        leaveRegisters(outer);
      },
      run: (offset) => this.#execute(program, 0, offset, KERNEL_HI, undefined, options),
      repeat: (offset, count) => this.#repeat(program, offset, count, options),
      batch: (list, count) => this.#runEach(program, list, count, options),
    });
  }

  /** Tells the modules of entries whether the machine's first run is under way. */
  #noteBusy(state: number): void {
    this.space.i32[(this.#runs[0]!.scratch + SCRATCH_BUSY) >> 2] = state;
  }

  #runAt(level: number, program: PreparedProgram): Run {
    return (this.#runs[level] ??= new Run(this.#options, program, this.#tiers.enter, this.#tiers.promote));
  }

  #isUncounted(program: PreparedProgram, options: RunOptions): boolean {
    return options.budget === undefined ? program.image.verified === true : options.budget === Infinity;
  }

  /** The run of this nesting level, set up for the entry of a program but for its arguments. */
  #begin(program: PreparedProgram, options: RunOptions): Run {
    const run = this.#runAt(this.#nesting, program);
    run.trace = options.trace;
    run.coverage = options.coverage;
    run.coverageOf = program;
    run.context = options.context;
    run.tier = run.trace === undefined ? (options.tier ?? 'auto') : 'interpreter';
    run.counted = !this.#isUncounted(program, options);
    const checked = options.mode === undefined ? program.image.verified !== true : options.mode === 'checked';
    run.begin(program, checked, options.budget ?? (run.counted ? DEFAULT_BUDGET : Infinity));
    return run;
  }

  #finish(run: Run, program: PreparedProgram, finished: boolean): RunResult {
    const result = (this.#results[this.#nesting] ??= { r0Lo: 0, r0Hi: 0, instructions: 0, fault: undefined });
    program.runs++;
    result.instructions = run.used();
    result.fault = finished ? undefined : run.fault_;
    result.r0Lo = finished ? run.registers[0]! : 0;
    result.r0Hi = finished ? run.registers[1]! : 0;
    return result;
  }

  #execute(
    program: PreparedProgram, dense: number, lo: number, hi: number, extra: Int32Array | undefined, options: RunOptions,
  ): RunResult {
    const level = this.#nesting;
    const outer = enterRegisters();
    const run = this.#begin(program, options);
    const { registers } = run;
    registers[2] = lo;
    registers[3] = hi;
    if (extra !== undefined) for (let word = 0; word < 8; word++) registers[4 + word] = extra[word] ?? 0;
    if (dense !== 0) run.setFrame(0, program.stackAt(program.pcOf[dense]!));
    let finished = false;
    this.#nesting = level + 1;
    if (level === 0) this.#noteBusy(UNDER_WAY);
    try {
      if (level >= MAX_NESTING) run.refuse('call-depth');
      else finished = run.enter(run, program, dense);
    } catch (error) {
      if (!(error instanceof Unwind)) throw error;
      finished = isThrown(error) && this.#handleException(run, program);
    } finally {
      this.#nesting = level;
      if (level === 0) this.#noteBusy(FREE);
      if (!finished) leaveRegisters(outer);
    }
    const result = this.#finish(run, program, finished);
    if (finished) leaveRegisters(outer);
    if (level === 0 && dense === 0 && this.#isPlain(program, options)) {
      const compiled = run.tier === 'interpreter' ? null : this.#tiers.known(run, program);
      if (compiled !== null && compiled !== undefined) this.#makeQuick(program, compiled, options);
    }
    return result;
  }

  /** The next run like this one is one call. */
  #makeQuick(program: PreparedProgram, compiled: CompiledProgram, options: RunOptions): Quick {
    const known = compiled.quick as Quick | undefined;
    if (known !== undefined && isLike(known, program, options)) return (this.#quick = known);
    const { mode, tier, budget } = options;
    const quick = { program, compiled, mode, tier, budget, entry: this.#entryOf(program, compiled, plain(mode, tier, budget)) };
    compiled.quick = quick;
    return (this.#quick = quick);
  }

  /** `bpf_throw`: the cookie goes to the exception callback, or is the result itself (kernel/bpf/helpers.c, bpf_throw). */
  #handleException(run: Run, program: PreparedProgram): boolean {
    const { registers } = run;
    const index = program.image.exceptionCallback;
    const pc = index === undefined ? undefined : program.image.subprograms?.[index];
    registers.fill(0, 0, REGISTER_WORDS);
    if (pc === undefined) {
      registers[0] = run.thrownLo;
      registers[1] = run.thrownHi;
      return true;
    }
    run.depth = 0;
    run.setFloor(0);
    registers[2] = run.thrownLo;
    registers[3] = run.thrownHi;
    run.setFrame(0, program.stackAt(pc));
    try {
      return run.enter(run, program, program.denseOf[pc]!);
    } catch (error) {
      if (!(error instanceof Unwind)) throw error;
      if (isThrown(error)) run.refuse('helper');
      return false;
    }
  }
}

function plain(mode: RunOptions['mode'], tier: RunOptions['tier'], budget: RunOptions['budget']): RunOptions {
  return { ...(mode === undefined ? {} : { mode }), ...(tier === undefined ? {} : { tier }), ...(budget === undefined ? {} : { budget }) };
}

/** May the entry of an earlier run serve this one? */
function isLike(quick: Quick, program: Program, options: RunOptions): boolean {
  return (
    quick.program === program && options.mode === quick.mode && options.tier === quick.tier && options.budget === quick.budget &&
    options.trace === undefined && options.coverage === undefined && options.extraArguments === undefined
  );
}

function prepared(program: Program): PreparedProgram {
  if (!(program instanceof PreparedProgram)) throw new InternalError('program of another machine');
  return program;
}
