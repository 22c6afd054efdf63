#!/usr/bin/env node
// Records what a real Linux 7.3.4 counts when it verifies the programs that `bpftwin bench` measures, into assets/payload-linux.json:
//   npm run build && BPFTWIN_ORACLE=… node bench/record-linux.mjs
// BPFTWIN_ORACLE is the folder of oracle.mjs (test/parity/README.md). Times are not recorded: the machine is emulated.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const oracle = join(resolve(process.env.BPFTWIN_ORACLE ?? (() => { throw new Error('set BPFTWIN_ORACLE to the folder of oracle.mjs'); })()), 'oracle.mjs');
const { generatedPrograms } = await import(join(root, process.env.BPFTWIN_DIST ?? 'dist', 'src', 'bench', 'sweep.js'));

const PROG_LOAD = 5, SCHED_CLS = 3, STATISTICS = 4, LOG_SIZE = 4096;
const PROCESSED = /^processed (\d+) insns \(limit \d+\) max_states_per_insn \d+ total_states (\d+) peak_states (\d+) /m;

function ask(...args) {
  const { status } = spawnSync(process.execPath, [oracle, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Error(`oracle ${args[0]}: status ${status}`);
}

/** The last load of each case that verified something, by case. */
function workByCase(file) {
  const work = new Map();
  let name = '';
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean).map((text) => JSON.parse(text))) {
    if (line.case !== undefined) name = line.case;
    const log = line.want?.log ?? line.want?.logTail;
    const [, processed, states, peakStates] = (log && (line.cmd === PROG_LOAD || line.cmd === 'PROG_LOAD') && PROCESSED.exec(log)) || [];
    if (processed !== undefined) work.set(name, { processed: Number(processed), states: Number(states), peakStates: Number(peakStates) });
  }
  return work;
}

/** One load of each generated program. */
function transcript() {
  const lines = [];
  for (const { name, instructions } of generatedPrograms()) {
    const attr = new DataView(new ArrayBuffer(128));
    attr.setUint32(0, SCHED_CLS, true);
    attr.setUint32(4, instructions.length / 8, true);
    attr.setUint32(24, STATISTICS, true);
    attr.setUint32(28, LOG_SIZE, true);
    lines.push({ case: name, suite: 'bench', mode: 'priv' });
    lines.push({
      op: 'bpf', cmd: 'PROG_LOAD', attr: Buffer.from(attr.buffer).toString('hex'),
      in: { 8: Buffer.from(instructions).toString('hex'), 16: Buffer.from('GPL\0').toString('hex') }, out: { 32: LOG_SIZE },
    });
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

const folder = mkdtempSync(join(tmpdir(), 'bpftwin-record-'));
try {
  const input = join(folder, 'in.jsonl'), generated = join(folder, 'generated.jsonl'), payload = join(folder, 'payload.jsonl');
  writeFileSync(input, transcript());
  ask('run', input, generated);
  ask('load', join(root, 'assets', 'payload.bpf.o'), payload);
  const programs = Object.fromEntries(workByCase(generated));
  for (const [name, work] of workByCase(payload)) programs[`payload/${name.slice(name.lastIndexOf('/') + 1)}`] = work;
  writeFileSync(join(root, 'assets', 'payload-linux.json'), `${JSON.stringify({ kernel: '7.3.4', programs }, undefined, 1)}\n`);
  console.log(`${Object.keys(programs).length} programs`);
} finally {
  if (!process.env.BPFTWIN_KEEP) rmSync(folder, { recursive: true, force: true });
  else console.log(folder);
}
