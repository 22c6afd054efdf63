/**
 * @module test/planted/run
 * Plants every fault and lets its fuzzing target look for it from an empty corpus; where the time is not enough, its committed input must find
 * it. `npm run test:planted -- [--seeds] [--seconds N] [--only ID,…] [--save] [--docs FILE]`: `--seeds` tries committed inputs only, `--save`
 * keeps small inputs that found a fault, `--docs` writes the table into a document between its marks. Exit status 1 where a fault is not found.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { FAULTS, type PlantedFault } from './faults.ts';
import type { Trial } from './trial.ts';

const checkout = new URL('../../../../../', import.meta.url);
const trial = fileURLToPath(new URL('trial.js', import.meta.url));
const BEGIN = '<!-- planted faults: begin -->', END = '<!-- planted faults: end -->';
const SEED = '1';

const { values } = parseArgs({
  options: { seeds: { type: 'boolean', default: false }, seconds: { type: 'string', default: '60' }, only: { type: 'string' }, save: { type: 'boolean', default: false }, docs: { type: 'string' }, from: { type: 'string' } },
});

function run(args: readonly string[]): Trial {
  const { stdout, stderr } = spawnSync(process.execPath, [trial, ...args], { encoding: 'utf8', maxBuffer: 64 << 20 });
  const line = stdout.trim().split('\n').at(-1) ?? '';
  if (line === '') throw new Error(`a trial failed (${args.join(' ')}): ${stderr}`);
  return JSON.parse(line) as Trial;
}

interface Row {
  readonly fault: PlantedFault;
  readonly fuzzed: Trial;
  readonly seeded: Trial | undefined;
}

function tryFault(fault: PlantedFault): Row {
  // `--from DIR`: results of trials that ran before, a file of JSON each.
  const kept = values.from === undefined ? undefined : `${values.from}/${fault.id}.json`;
  const fuzzed = values.seeds ? { id: fault.id, found: false } : kept !== undefined && existsSync(kept) ? (JSON.parse(readFileSync(kept, 'utf8')) as Trial) : run(['fuzz', fault.id, values.seconds, SEED]);
  const file = new URL(`test/planted/seeds/${fault.id}.seed`, checkout);
  if (values.save && fuzzed.input !== undefined) writeFileSync(file, Buffer.from(fuzzed.input, 'base64'));
  const seeded = fuzzed.found ? undefined : run(['seeds', fault.id]);
  const how = fuzzed.found ? `found after ${fuzzed.runs} runs, ${fuzzed.seconds?.toFixed(1)} s` : seeded?.found === true ? 'found by its seed' : 'NOT FOUND';
  process.stdout.write(`${fault.id}: ${how}${fuzzed.found ? ` (${fuzzed.oracle}: ${fuzzed.trace})` : ''}\n`);
  return { fault, fuzzed, seeded };
}

function tableOf(rows: readonly Row[]): string {
  const line = ({ fault, fuzzed, seeded }: Row): string => {
    const how = fuzzed.found ? `${fuzzed.runs} runs, ${fuzzed.seconds?.toFixed(1)} s` : seeded?.found === true ? 'its seed' : 'not found';
    return `| ${fault.about} | ${fault.origin} | \`${fault.target}\` | ${how} | ${(fuzzed.found ? fuzzed.oracle : seeded?.oracle) ?? ''} |`;
  };
  const found = rows.filter(({ fuzzed }) => fuzzed.found).length;
  return [
    BEGIN,
    `${rows.length} faults, ${found} found from an empty corpus within ${values.seconds} s of processor time, ${rows.filter(({ seeded }) => seeded?.found === true).length} by their committed input (\`npm run test:planted\`, seed ${SEED}, Node ${process.versions.node}).`,
    '', '| fault | as in | target | found after | oracle |', '|---|---|---|---|---|', ...rows.map(line), END,
  ].join('\n');
}

function writeDocs(path: string, table: string): void {
  const text = readFileSync(path, 'utf8');
  const begin = text.indexOf(BEGIN), end = text.indexOf(END);
  if (begin < 0 || end < 0) throw new Error(`${path} has no marks for the table`);
  writeFileSync(path, text.slice(0, begin) + table + text.slice(end + END.length));
}

const only = values.only?.split(',');
const rows = FAULTS.filter(({ id }) => only === undefined || only.includes(id)).map(tryFault);
if (values.docs !== undefined) writeDocs(fileURLToPath(new URL(values.docs, checkout)), tableOf(rows));
else process.stdout.write(`${tableOf(rows)}\n`);
process.exitCode = rows.every(({ fuzzed, seeded }) => fuzzed.found || seeded?.found === true) ? 0 : 1;
