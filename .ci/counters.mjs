#!/usr/bin/env node
// Holds the work of admission to what it was: instructions processed, states, bytes hashed, digests, system calls of a subset of
// `bpftwin bench` (no times, so the machine does not matter). More of anything than .ci/counters.json says is a failure; so is a count of
// instructions or states that is not that of Linux. Needs a build.
//   node .ci/counters.mjs            check
//   node .ci/counters.mjs --write    record what is counted now
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url)), file = join(here, 'counters.json');
const main = join(here, '..', process.env.BPFTWIN_DIST ?? 'dist', 'src', 'cli', 'main.js');
const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'bench', '-j', '--counters', '--quick'], { encoding: 'utf8', maxBuffer: 1 << 26 });
if (status !== 0 && status !== 1) throw new Error(`bench ended with status ${status}: ${stderr}${stdout.slice(0, 2000)}`);
const { counters, work } = JSON.parse(stdout);

const failures = work.programs.filter(({ agrees }) => !agrees).map(({ program, ours, linux }) => `${program}: ${JSON.stringify(ours)}, Linux ${work.kernel} ${JSON.stringify(linux)}`);
if (process.argv.includes('--write')) {
  const lines = Object.entries(counters).map(([name, counts]) => ` ${JSON.stringify(name)}: ${JSON.stringify(counts)}`);
  writeFileSync(file, `{\n${lines.join(',\n')}\n}\n`);
  console.log(`${lines.length} measurements recorded`);
} else {
  const known = JSON.parse(readFileSync(file, 'utf8'));
  let less = 0;
  for (const [name, before] of Object.entries(known)) {
    const now = counters[name];
    if (now === undefined) {
      failures.push(`${name}: no longer measured`);
      continue;
    }
    for (const [what, count] of Object.entries(before)) {
      if (!(now[what] <= count)) failures.push(`${name}: ${what} ${now[what]}, was ${count}`);
      else if (now[what] < count) less++;
    }
  }
  const unknown = Object.keys(counters).filter((name) => known[name] === undefined);
  if (unknown.length > 0) failures.push(`not recorded yet, run with --write: ${unknown.join(', ')}`);
  console.log(`${Object.keys(known).length} measurements of work, ${work.programs.length} programs beside Linux ${work.kernel}: ${failures.length} failures${less > 0 ? `; ${less} counts are smaller than recorded, --write keeps that` : ''}`);
}
for (const failure of failures) console.log(failure);
process.exitCode = failures.length > 0 ? 1 : 0;
