/**
 * @module src/replay/divergence
 * Names the ways in which a case can differ from the recording, so that reports list every difference under a kind. Pure.
 */
import type { Mismatch } from './replay.ts';

/** Every kind, gravest first. */
export const KINDS = {
  'internal-error': 'a bug of ours: the call threw',
  'accepted-too-much': 'the kernel refuses the call, ours accepts it',
  'refused-too-much': 'the kernel accepts the call, ours refuses it',
  'other-errno': 'both refuse, with different errors',
  'other-result': 'both accept, with different results, contents or hooks seen',
  'test-run': 'the program loads alike and runs differently',
  'test-run-missing': 'a test run that this kernel does not offer (ENOTSUPP)',
  'other-message': 'same verdict, another last message',
  'log-state': 'same verdict and message; the log differs in what it tells of states and instructions',
  'log-statistics': 'same verdict and message; only counters of the log differ',
} as const;

/** One of {@link KINDS}. */
export type DivergenceKind = keyof typeof KINDS;

const ENOTSUPP = 524;

/** The gravest kind among the differences of one case. */
export function divergenceKind(mismatches: readonly Mismatch[]): DivergenceKind {
  const order = Object.keys(KINDS);
  const missing = new Set(mismatches.filter(({ cmd, field, got }) => cmd === 'PROG_TEST_RUN' && field === 'errno' && got === ENOTSUPP).map(({ op }) => op));
  const kinds = mismatches.map((mismatch) => (missing.has(mismatch.op) ? 'test-run-missing' : kindOf(mismatch)));
  return kinds.toSorted((a, b) => order.indexOf(a) - order.indexOf(b))[0] ?? 'other-result';
}

function kindOf(mismatch: Mismatch): DivergenceKind {
  const { field, got, want, cmd } = mismatch;
  if (cmd === 'PROG_TEST_RUN' && field !== 'exception') return 'test-run';
  switch (field) {
    case 'exception':
      return 'internal-error';
    case 'ret':
      if (got === -1) return 'refused-too-much';
      return want === -1 ? 'accepted-too-much' : 'other-result';
    case 'errno':
      if (got === 0) return 'accepted-too-much';
      return want === 0 ? 'refused-too-much' : 'other-errno';
    case 'retval':
    case 'dataSizeOut':
    case 'out':
    case 'seen':
      return 'other-result';
    case 'lastMessage':
      return 'other-message';
    case 'log':
      return differsInStatisticsOnly(String(got), String(want)) ? 'log-statistics' : 'log-state';
    case 'insnsProcessed':
      return 'log-statistics';
  }
}

function differsInStatisticsOnly(got: string, want: string): boolean {
  const rest = (text: string): string =>
    text.split('\n').filter((line) => !/^(processed |verification time|stack depth|max_states|subprog \d|\(line )/.test(line)).join('\n');
  return rest(got) === rest(want);
}
