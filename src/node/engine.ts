/**
 * @module src/node/engine
 * How programs run under Node: V8's optimising compiler at once where that is asked for, and a clock for the statistics.
 */
import { setFlagsFromString } from 'node:v8';
import type { EngineOptions } from '../../kernel/api.ts';
import type { Tier } from '../../vm/types.ts';

const V8 = Number(process.versions.v8.split('.')[0]);
/**
 * Flags for the time of a compilation, and what they are otherwise. V8 compiles a function when it is called first, unless it is told not to:
 * baseline code would be allowed again by then. V8 14 (Node 26) ends the process where it inlines functions of a module that has no
 * baseline code to have counted calls. What V8 12 does is not known, so it is not asked.
 */
const FLAGS: readonly string[] = ['liftoff', ...(V8 === 12 ? [] : ['wasm-lazy-compilation']), ...(V8 >= 14 ? ['wasm-inlining'] : [])];

/**
 * Compiles a module with V8's optimising compiler, without the baseline code that V8 begins with otherwise. The flags are the process's:
 * they are set for the time of this call, which is synchronous.
 *
 * @example const kernel = new Kernel({ engine: { compileOptimised } });
 */
export function compileOptimised(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  for (const flag of FLAGS) setFlagsFromString(`--no-${flag}`);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const flag of FLAGS) setFlagsFromString(`--${flag}`);
  }
}

/** What a kernel under Node runs programs with. @param tier default `auto`, the machine's policy */
export function nodeEngine(tier: Tier = 'auto'): EngineOptions {
  return { tier, compileOptimised, clock: () => performance.now() };
}
