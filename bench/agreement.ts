/**
 * Compares interpreter and compiled code on generated programs: `npm run bench:agreement -- [--runs N] [--seed N] [--parts N]`. Prints the number of
 * programs and the seeds of those on which result, memory, stack, fault or budget differ; exit status 1 if there are any. With `--parts`
 * every function of more than N instructions is compiled in parts.
 */
import { Arena, generateImage } from '../src/fuzz/bytecode/unverified.ts';

function flag(name: string, fallback: number): number {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

const runs = flag('--runs', 100_000);
const first = flag('--seed', 1);
const differing: number[] = [];
const options = process.argv.includes('--parts') ? { partInstructions: flag('--parts', 1) } : {};
let arena = new Arena(options);
for (let seed = first; seed < first + runs; seed++) {
  // A machine keeps nothing of a program, but modules die only with the garbage: a new one now and then.
  if (seed % 5000 === 0) arena = new Arena(options);
  const [interpreted, compiled] = arena.run(generateImage(seed), seed % 3 === 0 ? 1 + (seed % 97) : 3000, [
    { tier: 'interpreter', mode: 'checked' },
    { tier: 'baseline', mode: 'checked' },
  ]);
  if (interpreted !== compiled) differing.push(seed);
}
console.log(JSON.stringify({ programs: runs, first, differing: differing.slice(0, 100), count: differing.length }));
process.exitCode = differing.length === 0 ? 0 : 1;
