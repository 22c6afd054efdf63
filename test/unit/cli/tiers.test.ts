/** `run --tier` and `--stats`: the same report on every engine, and which engine it was. */
import { describe, expect, test } from 'vitest';
import type { RunReport } from '../../../src/run.ts';
import { fixturePath } from '../loader/fixtures.ts';
import { bpftwin } from './harness.ts';

const SKELETON = fixturePath('signed/runnable.lskel.h');
const CERT = fixturePath('keys/rsa2048.crt');

async function run(tier: string): Promise<RunReport> {
  const { status, stdout } = await bpftwin(['run', '-j', SKELETON, '--cert', CERT, '--tier', tier, '--stats']);
  expect(status).toBe(0);
  return JSON.parse(stdout) as RunReport;
}

describe('run --tier', () => {
  test('every engine gives the same report, and says that it ran', async () => {
    const { engine: _policy, ...expected } = await run('auto');
    for (const tier of ['interpreter', 'baseline', 'optimised'] as const) {
      const { engine, ...report } = await run(tier);
      expect(report).toEqual(expected);
      expect(engine).toMatchObject({ tier, fallbacks: [] });
      expect(engine!.runs[tier]).toBeGreaterThan(0);
      expect(engine!.runs.interpreter + engine!.runs.baseline + engine!.runs.optimised).toBe(engine!.runs[tier]);
      expect(engine!.modules > 0).toBe(tier !== 'interpreter');
      expect(engine!.emit_ms > 0).toBe(tier !== 'interpreter');
    }
  });

  test('text, and nothing without --stats', async () => {
    const { stdout } = await bpftwin(['run', SKELETON, '--cert', CERT, '--tier', 'baseline', '--stats']);
    expect(stdout).toMatch(/^engine {5}baseline: 0 interpreted, [1-9]\d* baseline, 0 optimised runs; 0 promoted\n {11}\d+ modules of \d+ bytes, emitted in [\d.]+ ms, compiled in [\d.]+ ms$/m);
    expect((await bpftwin(['run', SKELETON, '--cert', CERT])).stdout).not.toContain('engine');
    expect(JSON.parse((await bpftwin(['run', '-j', SKELETON, '--cert', CERT])).stdout)).not.toHaveProperty('engine');
  });

  test('a tier that is none', async () => {
    expect((await bpftwin(['run', SKELETON, '--tier', 'turbo'])).stderr).toMatch(/Allowed choices are auto, interpreter, baseline, optimised/);
  });
});
