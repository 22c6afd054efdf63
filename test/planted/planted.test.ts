/**
 * Every planted fault still has its place in the compiled code, and committed inputs find faults. All of them: `npm run test:planted -- --seeds`;
 * here one of each room, because each needs a module graph of its own.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { KernelTarget } from '../../src/replay/kernel-target.ts';
import { Replay } from '../../src/replay/replay.ts';
import { FAULTS, occurrences, plant } from './faults.ts';
import type { Trial } from './trial.ts';

const root = new URL('../../', import.meta.url);
const built = new URL('node_modules/.cache/bpftwin-planted/', root);
const SAMPLE = ['pruned-before-precision', 'div32-tests-64-bits', 'order-ignored', 'digest-not-compared', 'jump-beside-cleanup', 'map-without-descriptor'];

/** Each found by another oracle. */
const REPRODUCED = ['pruned-before-precision', 'div32-tests-64-bits', 'digest-not-compared', 'map-without-descriptor'];

beforeAll(() => {
  spawnSync(process.execPath, [fileURLToPath(new URL('node_modules/typescript/bin/tsc', root)), '-p', fileURLToPath(new URL('test/planted/tsconfig.json', root))]);
}, 120_000);

describe('planted faults', () => {
  it('are more than twenty, with names of their own, each with an input that finds it', () => {
    expect(FAULTS.length).toBeGreaterThan(20);
    expect(new Set(FAULTS.map(({ id }) => id)).size).toBe(FAULTS.length);
    const without = FAULTS.filter(({ id, recorded }) => recorded === undefined && !existsSync(new URL(`test/planted/seeds/${id}.seed`, root)));
    expect(without.map(({ id }) => id)).toEqual([]);
  });

  it.each(FAULTS.map((fault) => [fault.id, fault] as const))('has its place: %s', (_, fault) => {
    const source = readFileSync(new URL(`${fault.file}.js`, built), 'utf8');
    expect(occurrences(source, fault)).toBe(1);
    expect(plant(source, fault)).not.toBe(source);
  });

  it('are found, and nothing is wrong without them', () => {
    const { stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('test/planted/trial.js', built)), 'seeds', ...SAMPLE], { encoding: 'utf8' });
    const trials = stdout.trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Trial);
    expect(trials.map(({ id, found, falseAlarm }) => [id, found, falseAlarm]), stderr).toEqual(SAMPLE.map((id) => [id, true, undefined]));
  });

  it('are reproduced by the file of their finding, of whatever oracle, until they are mended', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bpftwin-planted-'));
    try {
      const { stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('test/planted/trial.js', built)), 'repro', folder, ...REPRODUCED], { encoding: 'utf8' });
      const answers = stdout.trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as [string, number, string, number, string]);
      expect(answers.map(([, status, , mended, said]) => [status, mended, said]), stderr).toEqual(REPRODUCED.map((id) => [1, 0, `${FAULTS.find((fault) => fault.id === id)!.target}: no oracle complains`]));
      for (const [expected, , printed] of answers) expect(printed).toBe(expected);
      expect(new Set(answers.map(([expected]) => expected.split(': ')[1])).size).toBe(REPRODUCED.length);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('leave transcripts whose replay on right code names the call that a fault answers otherwise', () => {
    const { stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('test/planted/trial.js', built)), 'transcript', 'pruned-before-precision'], { encoding: 'utf8' });
    const replay = new Replay({ createTarget: () => new KernelTarget({ cpus: 2 }) });
    for (const line of stdout.trim().split('\n')) replay.line(line);
    const { mismatches, operations } = replay.finish();
    expect(operations, stderr).toBeGreaterThan(2);
    expect(mismatches.map(({ cmd, field, want, got }) => [cmd, field, want, got])).toContainEqual(['PROG_LOAD', 'ret', 'fd', -1]);
    expect(new Set(mismatches.map(({ cmd }) => cmd))).not.toContain('MAP_CREATE');
  });
});
