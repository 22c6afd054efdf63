/**
 * @module vm/tiers
 * Decides which engine runs a program: the interpreter first, compiled code for what runs again or runs long. Owns the policy and the
 * compiled modules; results do not depend on it.
 */
import { CompiledProgram, newTally, type Host } from './compiled.ts';
import type { DirectImports } from './direct.ts';
import { interpret } from './interpreter.ts';
import { hasWebAssembly, NO_WEBASSEMBLY } from './plain-memory.ts';
import { PreparedProgram } from './program.ts';
import { FAULTED, type Enter, type Run } from './run.ts';
import { MAX_FALLBACKS, type EngineStats, type Fallback, type MachineOptions } from './types.ts';
import { compileModule, inlineProgram, type Continuation, type InlineProgram, type InlinePrograms } from './wasm/module.ts';
import type { Variant } from './wasm/state.ts';
import { Refusal } from './wasm/structure.ts';
import type { Home } from './wasm/wrappers.ts';

/** `auto`: from this run on a program is compiled. The first run of most programs is their last. */
const COMPILE_AT_RUN = 2;
/** Beyond this, optimising compilation takes longer than it saves (superlinear with checks); V8 tiers up by itself. */
const OPTIMISE_LIMIT = 10_000;

/** Modules by variant: bit 0 checked, bit 1 counted, bit 2 optimised at once, bit 3 covered. `null`: refused. */
type Compiled = (CompiledProgram | null | undefined)[];

export class Tiers {
  readonly #options: MachineOptions;
  readonly #host: Host;
  readonly #direct: DirectImports;
  readonly #home: () => Home;
  readonly #inlineHelpers: Map<number, InlineProgram | undefined> = new Map();
  #interpretedRuns: number = 0;
  #promotedRuns: number = 0;
  #emitTime: number = 0;
  #compileTime: number = 0;
  readonly #fallbacks: Map<string, Fallback> = new Map();
  #compiledModules: number = 0;
  #compiledBytes: number = 0;
  #refusals: number = 0;
  #lastRefusal: string = '';

  /** @param home where the machine's first run has its memory; asked once there is one */
  constructor(options: MachineOptions, direct: DirectImports, home: () => Home) {
    this.#options = options;
    this.#home = home;
    this.#direct = direct;
    this.#host = { space: options.space, run: undefined, baseline: newTally(), optimised: newTally(), counts: 0 };
  }

  /** Gives back what modules share. None of them runs again. */
  dispose(): void {
    if (this.#host.counts !== 0) this.#host.space.freeHidden(this.#host.counts);
  }

  get stats(): EngineStats {
    const baseline = this.#host.baseline[0]!;
    const optimised = this.#host.optimised[0]!;
    return {
      interpretedRuns: this.#interpretedRuns, compiledRuns: baseline + optimised, baselineRuns: baseline, optimisedRuns: optimised,
      promotedRuns: this.#promotedRuns, compiledModules: this.#compiledModules, compiledBytes: this.#compiledBytes, emitMilliseconds: this.#emitTime,
      compileMilliseconds: this.#compileTime, refusals: this.#refusals, lastRefusal: this.#lastRefusal, fallbacks: [...this.#fallbacks.values()],
    };
  }

  #now(): number {
    return this.#options.clock === undefined ? 0 : this.#options.clock();
  }

  readonly #inline: InlinePrograms = (id) => {
    if (!this.#inlineHelpers.has(id)) {
      const instructions = this.#options.inlineHelpers?.get(id);
      this.#inlineHelpers.set(id, instructions === undefined ? undefined : inlineProgram(new PreparedProgram({ name: `helper ${id}`, instructions })));
    }
    return this.#inlineHelpers.get(id);
  };

  /** Runs a function of a program on the engine that the run's tier asks for. */
  readonly enter: Enter = (run, program, dense) => {
    const compiled = this.choose(run, program);
    if (compiled === null || !compiled.has(dense)) {
      this.#interpretedRuns++;
      return interpret(run, program, dense);
    }
    return compiled.enter(run, dense);
  };

  /** Compiled code for the run's tier, access mode and counting; `null` where the interpreter is to run the program. */
  choose(run: Run, program: PreparedProgram): CompiledProgram | null {
    if (run.tier === 'interpreter') return null;
    if (run.tier === 'auto' && program.runs + 1 < COMPILE_AT_RUN) return null;
    const known = this.known(run, program);
    if (known !== undefined) return known;
    const optimised = this.#optimises(run, program);
    if (run.tier === 'optimised' && !optimised) {
      const reason = this.#options.compileOptimised === undefined ? 'the platform cannot be asked for optimised code' : `more than ${OPTIMISE_LIMIT} instructions`;
      this.#fallBack(program, 'baseline', reason);
    }
    const made = this.#compile(program, variantOf(run, program), optimised);
    (program.compiled as Compiled)[this.#index(run, program)] = made;
    return made;
  }

  /** What {@link choose} would give without compiling; `undefined` where it would have to. */
  known(run: Run, program: PreparedProgram): CompiledProgram | null | undefined {
    return ((program.compiled ??= []) as Compiled)[this.#index(run, program)];
  }

  #fallBack(program: PreparedProgram, tier: Fallback['tier'], reason: string): void {
    const { name } = program.image;
    if (this.#fallbacks.size < MAX_FALLBACKS) this.#fallbacks.set(`${tier} ${name}`, { program: name, tier, reason });
  }

  /** The program is left to the interpreter. */
  #refuse(program: PreparedProgram, reason: string): null {
    this.#refusals++;
    this.#lastRefusal = reason;
    this.#fallBack(program, 'interpreter', reason);
    return null;
  }

  #optimises(run: Run, program: PreparedProgram): boolean {
    return run.tier === 'optimised' && this.#options.compileOptimised !== undefined && program.denseCount <= OPTIMISE_LIMIT;
  }

  #index(run: Run, program: PreparedProgram): number {
    return (run.checked ? 1 : 0) | (run.counted ? 2 : 0) | (this.#optimises(run, program) ? 4 : 0) | (isCovered(run, program) ? 8 : 0);
  }

  /**
   * A run that stays long in the interpreter: compiles the program with an entry at dense instruction `dense` of the current frame,
   * optimised at once where the platform can, and finishes the frame there. False where that is not possible.
   */
  readonly promote = (run: Run, dense: number): boolean => {
    const { program } = run;
    const frameBytes = run.stackBytes(run.depth);
    const optimised = this.#options.compileOptimised !== undefined && program.denseCount <= OPTIMISE_LIMIT;
    const variant = variantOf(run, program);
    const key = `${dense} ${frameBytes} ${variant.checked} ${variant.counted} ${variant.covered}`;
    const known = program.continuations.get(key) as CompiledProgram | null | undefined;
    const compiled = known === undefined ? this.#compile(program, variant, optimised, { dense, frameBytes }) : known;
    program.continuations.set(key, compiled);
    if (compiled === null) return false;
    this.#promotedRuns++;
    if (!compiled.goOn(run)) throw FAULTED;
    if (run.program !== program) run.switchTo(program);
    return true;
  };

  #compile(program: PreparedProgram, variant: Variant, optimised: boolean, continuation?: Continuation): CompiledProgram | null {
    if (!hasWebAssembly()) return this.#refuse(program, NO_WEBASSEMBLY);
    this.#options.phases?.enter('compile');
    try {
      const started = this.#now();
      const compiled = compileModule(program, variant, this.#inline, continuation, this.#options.partInstructions, this.#direct, this.#home());
      if (compiled.leaves !== '') this.#fallBack(program, 'interpreter', compiled.leaves);
      const emitted = this.#now();
      this.#emitTime += emitted - started;
      const bytes = compiled.bytes as Uint8Array<ArrayBuffer>;
      const module = optimised && this.#options.compileOptimised !== undefined ? this.#options.compileOptimised(bytes) : new WebAssembly.Module(bytes);
      const result = new CompiledProgram(program, variant, compiled, module, this.#host, optimised, this.#direct);
      this.#compileTime += this.#now() - emitted;
      this.#compiledModules++;
      this.#compiledBytes += compiled.bytes.length;
      return result;
    } catch (error) {
      // A platform may refuse a module for its size, its locals or its nesting, or for want of memory.
      if (!(error instanceof Refusal || error instanceof WebAssembly.CompileError || error instanceof RangeError)) throw error;
      return this.#refuse(program, error.message);
    } finally {
      this.#options.phases?.leave();
    }
  }
}

/** Only the program that the run was begun with is covered. */
function isCovered(run: Run, program: PreparedProgram): boolean {
  return run.coverage !== undefined && run.coverageOf === program;
}

function variantOf(run: Run, program: PreparedProgram): Variant {
  return { checked: run.checked, counted: run.counted, covered: isCovered(run, program) };
}
