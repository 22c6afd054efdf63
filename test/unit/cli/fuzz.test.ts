/** `bpftwin fuzz` in process: options, JSON, the folder of a corpus, the page, findings run again. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { bpftwin, temporary } from './harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'bpftwin-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Report {
  readonly target: string;
  readonly seed: number;
  readonly runs: number;
  readonly seconds: number;
  readonly coverage: number;
  readonly corpus: number;
  readonly corpusDigest: string;
  readonly findings: readonly unknown[];
}

describe('fuzz', () => {
  test('gives a report as JSON, keeps the corpus, writes a page; the same for the same seed', async () => {
    const corpus = join(folder, 'corpus'), html = join(folder, 'report.html');
    const first = await bpftwin(['fuzz', 'engines', '--runs', '24', '--seed', '3', '--corpus', corpus, '--html', html, '-j']);
    const report = JSON.parse(first.stdout) as Report;
    expect(first.status).toBe(0);
    expect(report).toMatchObject({ target: 'engines', seed: 3, runs: 24, findings: [] });
    expect(report.coverage).toBeGreaterThan(20);
    expect(readdirSync(corpus)).toHaveLength(report.corpus);
    expect(readFileSync(html, 'utf8')).toContain('Coverage over time');
    const stopped = JSON.parse((await bpftwin(['fuzz', 'engines', '--runs', '24', '--seed', '3', '--stop-after', '1', '-j'])).stdout) as Report;
    expect([stopped.runs, stopped.corpusDigest]).toEqual([24, report.corpusDigest]);
    const second = JSON.parse((await bpftwin(['fuzz', 'engines', '--runs', '24', '--seed', '3', '--jobs', '2', '-j'])).stdout) as Report;
    expect(second.corpusDigest).toBe(report.corpusDigest);
    const text = await bpftwin(['fuzz', 'engines', '--runs', '1', '--corpus', corpus]);
    expect(text.stdout).toMatch(/no findings\n$/);
    expect(existsSync('fuzz-findings')).toBe(false);
  });

  test('runs the input of a finding again', async () => {
    // A program of the target bytecode: r0 = 0, exit.
    const input = Buffer.from([0xb9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]).toString('base64');
    const { status, stdout } = await bpftwin(['fuzz', 'repro', temporary('finding.json', JSON.stringify({ target: 'bytecode', input }))]);
    expect(stdout).toBe('bytecode: no oracle complains\n');
    expect(status).toBe(0);
  });

  test('says what is wrong with its arguments', async () => {
    const wrong = async (...argv: string[]): Promise<string> => {
      const { status, stderr } = await bpftwin(['fuzz', ...argv]);
      expect(status).toBe(2);
      return stderr;
    };
    expect(await wrong('nothing')).toContain('there is no target nothing: bytecode,');
    expect(await wrong('engines', '--runs', '1', '--time', '1')).toContain('exclude each other');
    expect(await wrong('engines', '--jobs', '0')).toContain('--jobs: 1 to');
    expect(await wrong('engines', '--runs', 'many')).toContain('whole number');
    expect(await wrong('engines', '--runs', '1', '--kernel-image', 'x')).toContain('--oracle kernel');
    expect(await wrong('repro')).toContain('.json of a finding');
    expect(await wrong('repro', temporary('x.json', '{}'))).toContain('no target and input');
    expect(await wrong('repro', temporary('y.json', JSON.stringify({ target: 'bytecode', input: 'AAAA' })))).toContain('no program');
  });
});
