/**
 * Reports with made-up numbers, for tests of what is shown.
 */
import { PHASES } from '../../../isa/phases.ts';
import type { Conditions } from '../../../src/bench/conditions.ts';
import type { CorpusRow } from '../../../src/bench/corpus.ts';
import type { Measurement } from '../../../src/bench/measure.ts';
import type { AdmissionReport, CorpusReport } from '../../../src/bench/report.ts';
import { answerQuestions, PLANS, type Sweep } from '../../../src/bench/sweep.ts';

export const CONDITIONS: Conditions = {
  bpftwin: '1.0.0', node: 'v24.0.0', v8: '13', platform: 'linux', arch: 'x64', cpu: 'a <processor> & "more"', cores: 2, crypto: 'native', subject: 'admission', options: '1 s a measurement',
};

const estimate = (value: number): Measurement['seconds'] => ({ value, low: value * 0.98, high: value * 1.03 });
const samples = (value: number): number[] => Array.from({ length: 12 }, (_, i) => value * (0.95 + i / 100));

function measurement(name: string, size: number): Measurement {
  const value = 1e-4 + size * 1e-8, part = value / PHASES.length;
  return {
    name, size, seconds: estimate(value), samples: samples(value), payload: { 'main verification': part }, memory: { allocated: 1 << 20, peak: 1 << 19 },
    phases: Object.fromEntries(PHASES.map((phase) => [phase, part])),
    counters: { instructions: 10, processed: size, states: 12, peakStates: 4, bytesHashed: size, digests: 2, systemCalls: 1 },
  };
}

/** Every sweep, with every kind of table and chart. */
export function admissionReport(): AdmissionReport {
  const pairing = { first: estimate(1e-3), second: estimate(1.02e-3), ratio: estimate(1.02), calm: 1.01 };
  const sweeps = PLANS.map(({ name, sizes }): Sweep => {
    if (name !== 'contract') return { name, rows: sizes.map((size) => measurement(`${name} ${size}`, Math.max(size, 1))), contract: [] };
    const { phases, counters } = measurement('contract', 8);
    return { name, rows: [], contract: [{ name: '8 programs', size: 8, times: pairing, before: { phases, counters }, after: { phases, counters } }] };
  });
  return {
    kind: 'admission', conditions: CONDITIONS, sweeps, linux: '7.3.4', reference: { ...measurement('reference', 8), marks: pairing, coverage: 1.01 },
    exponents: Object.assign({}, ...PLANS.map((plan, i) => answerQuestions(plan, sweeps[i]!))) as AdmissionReport['exponents'],
    work: [
      { program: '10 instructions', ours: { processed: 10, states: 0, peakStates: 0 }, linux: { processed: 10, states: 0, peakStates: 0 }, agrees: true },
      { program: 'other', ours: { processed: 10, states: 1, peakStates: 1 }, linux: { processed: 12, states: 1, peakStates: 1 }, agrees: false },
    ],
  };
}

export function corpusReport(): CorpusReport {
  const row = (prog: string, value: number): CorpusRow => ({
    file: '/somewhere/<b>x</b>.bpf.o', prog, verdict: 'success', error: '', seconds: estimate(value), samples: samples(value), insns: Math.round(value * 1e6), states: 3, peak_states: 2, kernel: null,
  });
  return {
    kind: 'corpus', conditions: CONDITIONS,
    programs: [
      { ...row('dear, "quoted"', 5e-3), kernel: { verdict: 'success', duration: 250, insns: 5000, states: 4 } }, row('cheap', 1e-4),
      { ...row('refused', 1), verdict: 'failure', error: 'EACCES', seconds: null, samples: [] },
    ],
    comparison: { failAbove: 1.1, unmatched: [], rows: [{ name: 'x/dear', ratio: estimate(1.4), work: 'same', isWorse: true }] },
  };
}
