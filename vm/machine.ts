/**
 * @module vm/machine
 * The eBPF machine of a kernel instance: prepares programs, runs them, chooses the engine. Owns runs and their stacks; does not own
 * helpers, maps or what a program may do.
 */
import { InternalError } from '../isa/errors.ts';
import { PreparedProgram, REGISTER_WORDS } from './program.ts';
import { isThrown, Run, Unwind } from './run.ts';
import {
  codeIndex, DEFAULT_BUDGET, type EngineStats, type MachineOptions, type Program, type ProgramImage, type RunOptions, type RunResult,
} from './types.ts';
import { Tiers } from './tiers.ts';

/** Runs inside runs (a helper that runs another program): more is a fault of kind `call-depth`. */
const MAX_NESTING = 16;
const NO_OPTIONS: RunOptions = {};

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
  readonly #tiers: Tiers;
  #nesting: number = 0;

  constructor(options: MachineOptions) {
    this.space = options.space;
    this.#options = options;
    this.#tiers = new Tiers(options);
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
    prepared(program).compiled = undefined;
  }

  /** Frees the stacks. The machine must not run afterwards. */
  dispose(): void {
    if (this.#nesting !== 0) throw new InternalError('machine disposed of while it runs');
    for (const run of this.#runs) this.space.free(run.stack);
    this.#runs.length = 0;
  }

  /**
   * Runs a program with `r1` = (lo, hi). The result object is reused by the next run on the same nesting level.
   *
   * Registers other than r1 (and `extraArguments`) and r10 start at 0; the stack keeps what earlier runs left on it, as in the
   * kernel.
   */
  run(program: Program, lo: number, hi: number, options: RunOptions = NO_OPTIONS): RunResult {
    return this.#execute(prepared(program), 0, lo, hi, options.extraArguments, options);
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

  #execute(
    program: PreparedProgram, dense: number, lo: number, hi: number, extra: Int32Array | undefined, options: RunOptions,
  ): RunResult {
    const level = this.#nesting;
    const run = (this.#runs[level] ??= new Run(this.#options, program, this.#tiers.enter));
    const result = (this.#results[level] ??= { r0Lo: 0, r0Hi: 0, instructions: 0, fault: undefined });
    const checked = options.mode === undefined ? program.image.verified !== true : options.mode === 'checked';
    const budget = options.budget ?? (program.image.verified === true ? Infinity : DEFAULT_BUDGET);
    run.trace = options.trace;
    run.coverage = options.coverage;
    run.coverageOf = program;
    run.context = options.context;
    run.tier = run.trace === undefined && run.coverage === undefined ? (options.tier ?? 'auto') : 'interpreter';
    run.counted = budget !== Infinity;
    run.begin(program, checked, budget);
    const { registers } = run;
    registers[2] = lo;
    registers[3] = hi;
    if (extra !== undefined) for (let word = 0; word < 8; word++) registers[4 + word] = extra[word] ?? 0;
    if (dense !== 0) run.setFrame(0, program.stackAt(program.pcOf[dense]!));
    let finished = false;
    this.#nesting = level + 1;
    try {
      if (level >= MAX_NESTING) run.refuse('call-depth');
      else finished = run.enter(run, program, dense);
    } catch (error) {
      if (!(error instanceof Unwind)) throw error;
      finished = isThrown(error) && this.#handleException(run, program);
    } finally {
      this.#nesting = level;
    }
    program.runs++;
    result.instructions = run.used();
    result.fault = finished ? undefined : run.fault_;
    result.r0Lo = finished ? registers[0]! : 0;
    result.r0Hi = finished ? registers[1]! : 0;
    return result;
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

function prepared(program: Program): PreparedProgram {
  if (!(program instanceof PreparedProgram)) throw new InternalError('program of another machine');
  return program;
}
