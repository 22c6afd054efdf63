/**
 * @module vm/tiers
 * Decides which engine runs a program: the interpreter first, compiled code for what runs again or runs long. Owns the policy and the
 * compiled modules; results do not depend on it.
 */
import { CompiledProgram, type Host } from './compiled.ts';
import { interpret } from './interpreter.ts';
import { PreparedProgram } from './program.ts';
import type { Enter, Run } from './run.ts';
import type { EngineStats, MachineOptions } from './types.ts';
import { compileModule } from './wasm/module.ts';
import { Refusal } from './wasm/structure.ts';

/** `auto`: from this run on a program is compiled. The first run of most programs is their last. */
const COMPILE_AT_RUN = 2;
/** Beyond this, optimising compilation takes longer than it saves (superlinear with checks); V8 tiers up by itself. */
const OPTIMISE_LIMIT = 10_000;

/** Modules by variant: bit 0 checked, bit 1 counted, bit 2 optimised at once. `null`: refused. */
type Compiled = (CompiledProgram | null | undefined)[];

export class Tiers {
  readonly #options: MachineOptions;
  readonly #host: Host;
  readonly #inlineHelpers: ReadonlyMap<number, PreparedProgram>;
  #interpretedRuns: number = 0;
  #compiledRuns: number = 0;
  #compiledModules: number = 0;
  #compiledBytes: number = 0;
  #refusals: number = 0;
  #lastRefusal: string = '';

  constructor(options: MachineOptions) {
    this.#options = options;
    this.#host = { space: options.space, run: undefined };
    this.#inlineHelpers = new Map(
      [...(options.inlineHelpers ?? [])].map(([id, instructions]) => [id, new PreparedProgram({ name: `helper ${id}`, instructions })]),
    );
  }

  get stats(): EngineStats {
    return {
      interpretedRuns: this.#interpretedRuns, compiledRuns: this.#compiledRuns, compiledModules: this.#compiledModules,
      compiledBytes: this.#compiledBytes, refusals: this.#refusals, lastRefusal: this.#lastRefusal,
    };
  }

  /** Runs a function of a program on the engine that the run's tier asks for. */
  readonly enter: Enter = (run, program, dense) => {
    const compiled = this.choose(run, program);
    if (compiled === null || !compiled.has(dense)) {
      this.#interpretedRuns++;
      return interpret(run, program, dense);
    }
    this.#compiledRuns++;
    return compiled.enter(run, dense);
  };

  /** Compiled code for the run's tier, access mode and counting; `null` where the interpreter is to run the program. */
  choose(run: Run, program: PreparedProgram): CompiledProgram | null {
    if (run.tier === 'interpreter') return null;
    if (run.tier === 'auto' && program.runs + 1 < COMPILE_AT_RUN) return null;
    const optimised = run.tier === 'optimised' && this.#options.compileOptimised !== undefined && program.denseCount <= OPTIMISE_LIMIT;
    const index = (run.checked ? 1 : 0) | (run.counted ? 2 : 0) | (optimised ? 4 : 0);
    const kept = (program.compiled ??= []) as Compiled;
    const known = kept[index];
    if (known !== undefined) return known;
    const made = this.#compile(program, run.checked, run.counted, optimised);
    kept[index] = made;
    return made;
  }

  #compile(program: PreparedProgram, checked: boolean, counted: boolean, optimised: boolean): CompiledProgram | null {
    const variant = { checked, counted };
    try {
      const compiled = compileModule(program, variant, this.#inlineHelpers);
      const bytes = compiled.bytes as Uint8Array<ArrayBuffer>;
      const module = optimised && this.#options.compileOptimised !== undefined ? this.#options.compileOptimised(bytes) : new WebAssembly.Module(bytes);
      const result = new CompiledProgram(program, variant, compiled, module, this.#host);
      this.#compiledModules++;
      this.#compiledBytes += compiled.bytes.length;
      return result;
    } catch (error) {
      // A platform may refuse a module for its size, its locals or its nesting, or for want of memory.
      if (!(error instanceof Refusal || error instanceof WebAssembly.CompileError || error instanceof RangeError)) throw error;
      this.#refusals++;
      this.#lastRefusal = error.message;
      return null;
    }
  }
}
