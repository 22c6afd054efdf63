/**
 * Every recorded signature and certificate blob gets from us the answer that Linux 7.3.4 gave: error number, verdict and the
 * admission lines of the log. Data: test/parity/data/signatures.jsonl.gz, made by test/parity/gen/signatures.mjs.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { DISTRIBUTION_ALGORITHMS, RECORDED_ALGORITHMS, type KernelAlgorithms } from '../../crypto/algorithms.ts';
import { setProvider } from '../../crypto/provider.ts';
import { createNodeProvider } from '../../src/node/native-crypto.ts';
import { KernelTarget } from '../../src/replay/kernel-target.ts';
import { Replay } from '../../src/replay/replay.ts';
import { perform, readCases, readData, type RecordedCase } from '../unit/crypto/recorded.ts';

const cases = readCases('signatures.jsonl.gz');
const suites = [...new Set(cases.map(suiteOf))];

function suiteOf({ name }: RecordedCase): string {
  return name.split(': ')[0] ?? '';
}

afterAll(() => setProvider(undefined));

/** The log's lines about admission; a load that goes on to be verified starts its log anew. */
function admissionLines(log: string): string[] {
  return log.split('\n').filter((line) => /^(?:signature verification failed|cannot resolve|invalid bpf_ld_imm64)/.test(line));
}

function disagreement(recorded: RecordedCase): string | undefined {
  const { keys, load, log, reason } = perform(recorded), wantKeys = recorded.keys.map(({ want }) => want.errno);
  if (String(keys) !== String(wantKeys)) return `${recorded.name}: keys ${String(keys)}, recorded ${String(wantKeys)}`;
  const want = recorded.load?.want;
  if (load !== want?.errno) return `${recorded.name}: load ${load}, recorded ${want?.errno} (${reason})`;
  const lines = admissionLines(log), wantLines = admissionLines(want?.log ?? '');
  return String(lines) === String(wantLines) ? undefined : `${recorded.name}: log ${lines.join('|')}, recorded ${wantLines.join('|')}`;
}

describe('recorded signatures and certificates', () => {
  test('are all here', () => {
    expect(cases.length).toBe(951);
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

  test.each(suites)('%s', (suite) => {
    setProvider(createNodeProvider());
    expect(cases.filter((recorded) => suiteOf(recorded) === suite).map(disagreement).filter((text) => text !== undefined)).toEqual([]);
  });

  test('keys and primitives without native help', () => {
    setProvider(undefined);
    expect(cases.filter((recorded) => suiteOf(recorded) === 'key').map(disagreement).filter((text) => text !== undefined)).toEqual([]);
  });
});

/** Through a whole kernel, logs and all. */
function replayed(file: string, algorithms: KernelAlgorithms): object {
  const replay = new Replay({ createTarget: () => new KernelTarget({ algorithms }) });
  replay.open(file);
  for (const line of readData(file).split('\n')) if (line !== '') replay.line(line);
  const { cases: performed, mismatches, leaks } = replay.finish();
  return { performed, leaks, mismatches: mismatches.slice(0, 10) };
}

test('and through a whole kernel, logs and all', () => {
  setProvider(createNodeProvider());
  expect(replayed('signatures.jsonl.gz', RECORDED_ALGORITHMS)).toEqual({ performed: cases.length, leaks: 0, mismatches: [] });
});

test.each([['native', createNodeProvider()], ['portable', undefined]])('a kernel with ECDSA: the cases that it judges otherwise, %s primitives', (_name, provider) => {
  setProvider(provider);
  expect(replayed('signatures-ecdsa.jsonl.gz', DISTRIBUTION_ALGORITHMS)).toEqual({ performed: 172, leaks: 0, mismatches: [] });
});
