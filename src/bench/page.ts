/**
 * @module src/bench/page
 * The reports of `bpftwin bench` as a page: the tables of `report.ts` with charts between them. Owns which charts there are.
 */
import { PHASES, type Phase } from '../../isa/phases.ts';
import type { Chart, CurveChart } from '../report/chart.ts';
import type { Block, HTMLReport, Section } from '../report/html.ts';
import type { Conditions } from './conditions.ts';
import { comparisonTable, corpusTable, growthTable, phaseFacts, phaseTable, sweepTable, workTable, type AdmissionReport, type BenchReport, type CorpusReport, type Table } from './report.ts';
import type { Measurement } from './measure.ts';
import { growthAt } from './statistics.ts';
import { PLANS, type GrowthAnswer, type SweepPlan, type Sweep } from './sweep.ts';

/** Parts below this share of every bar are shown together. */
const LEAST_SHARE = 0.03;
/** Every phase has the same colour in all charts, the dearest ones those that differ most. */
const DEAREST: readonly Phase[] = ['main verification', 'payload admission', 'liveness', 'signature', 'hashing', 'control flow', 'rewrites', 'references', 'attr', 'compile'];
const colourOf = (phase: Phase): number => (DEAREST.includes(phase) ? DEAREST.indexOf(phase) : DEAREST.length + PHASES.filter((other) => !DEAREST.includes(other)).indexOf(phase));


const OTHERS = PHASES.length;

function tableBlock({ explanation, head, rows }: Table): Block {
  // The page has charts where the terminal has bars.
  const shown = head.map((_, i) => !rows.some((row) => /[█▏▎▍▌▋▊▉]/.test(row[i] ?? '')));
  return { kind: 'table', caption: explanation, head: head.filter((_, i) => shown[i] === true), rows: rows.map((row) => row.filter((_, i) => shown[i] === true)) };
}

function stackedPhases(title: string, description: string, x: string, rows: readonly Pick<Measurement, 'name' | 'phases'>[], shares: boolean): Chart {
  const wholes = rows.map(({ phases }) => Object.values(phases).reduce((sum, value) => sum + value, 0));
  const large = PHASES.filter((phase) => rows.some(({ phases }, i) => (phases[phase] ?? 0) >= LEAST_SHARE * (wholes[i] ?? 0)));
  const series = large.map((phase) => ({ name: phase as string, colour: colourOf(phase), values: rows.map(({ phases }) => phases[phase] ?? 0) }));
  const rest = rows.map((_, i) => Math.max(0, (wholes[i] ?? 0) - series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0)));
  return {
    kind: 'stacked', title, description, labels: rows.map(({ name }) => name), x, y: { title: 'Time', unit: 'seconds' }, shares,
    series: rest.some((value) => value > 0) ? [...series, { name: 'others', colour: OTHERS, values: rest }] : series,
  };
}

function growthChart(title: string, description: string, x: CurveChart['x'], answers: readonly (readonly [string, GrowthAnswer])[]): Chart {
  return {
    kind: 'curves', title, description, x, y: { title: 'Time', unit: 'seconds', logarithmic: true },
    series: answers.map(([name, { growth, points }]) => {
      const sizes = points.map(({ size }) => size), least = Math.log(Math.min(...sizes)), most = Math.log(Math.max(...sizes));
      const fit = Array.from({ length: 41 }, (_, i): readonly [number, number] => {
        const size = Math.exp(least + ((most - least) * i) / 40);
        return [size, growthAt(growth, size)];
      });
      return { name: `${name}: ${growth.exponent.value.toFixed(2)}`, points: points.map(({ size, seconds }) => [size, seconds.value] as const), fit };
    }),
  };
}

function spreadChart(title: string, description: string, rows: readonly Measurement[]): Chart {
  const all = rows.flatMap(({ samples }) => samples), logarithmic = Math.max(...all) > 20 * Math.min(...all);
  return { kind: 'spread', title, description, x: { title: 'Time', unit: 'seconds', logarithmic }, rows: rows.map(({ name, samples }) => ({ name, samples })) };
}

const UNIT_AXIS: Readonly<Record<SweepPlan['unit'], string>> = { instructions: 'Instructions', bytes: 'Metadata', maps: 'Maps', key: 'Key', programs: 'Programs' };

function sweepSection(plan: SweepPlan, sweep: Sweep): Section {
  const blocks: Block[] = [tableBlock(sweepTable(plan, sweep))];
  if (plan.name === 'contract') {
    const rows = sweep.contract.flatMap(({ name, before, after }) => [{ name: `${name}, 6.18`, phases: before.phases }, { name: `${name}, 7.3`, phases: after.phases }]);
    blocks.push({ kind: 'chart', chart: stackedPhases('The same object under both contracts', 'Time by phase of a whole load.', 'Payload and contract', rows, false) });
  } else {
    const grows = sweep.rows.length > 1 && (sweep.rows.at(-1)?.seconds.value ?? 0) > 20 * (sweep.rows[0]?.seconds.value ?? 1);
    const x = UNIT_AXIS[plan.unit];
    blocks.push({ kind: 'chart', chart: stackedPhases(`${plan.title}: time by phase`, grows ? 'Shares of the whole, because the largest takes very much longer than the smallest.' : 'Parts of each admission.', x, sweep.rows, grows) });
    if (plan.name === 'keys' || plan.name === 'payload') blocks.push({ kind: 'chart', chart: spreadChart(`${plan.title}: single samples`, 'Each point is the median of consecutive admissions; the box is the middle half.', sweep.rows) });
  }
  return { heading: plan.title, blocks };
}

function factsOf({ bpftwin, node, v8, cpu, cores, arch, platform, crypto, options }: Conditions): HTMLReport['facts'] {
  return [
    ['bpftwin', bpftwin], ['Node.js', `${node}, V8 ${v8}`], ['Processor', `${cpu}, ${cores} cores, ${arch}, ${platform}`], ['Cryptography', crypto], ['Options', options],
  ];
}

function admissionPage(report: AdmissionReport): HTMLReport {
  const answers = Object.entries(report.exponents);
  const by = (over: (answer: GrowthAnswer) => boolean): (readonly [string, GrowthAnswer])[] => answers.filter(([, answer]) => over(answer));
  const growth: Block[] = [tableBlock(growthTable(report.exponents))];
  const processed = by(({ over }) => over === 'processed'), bytes = by(({ sweep }) => sweep === 'metadata');
  if (processed.length > 0) growth.push({ kind: 'chart', chart: growthChart('Verification over processed instructions', 'Both axes are logarithmic: a straight line of slope 1 is growth in proportion. Dashed: the fitted curve; the number is its power.', { title: 'Processed instructions', unit: 'count', logarithmic: true }, processed) });
  if (bytes.length > 0) growth.push({ kind: 'chart', chart: growthChart('Admission over signed bytes', 'Hashing grows with what is signed, the public-key operation does not.', { title: 'Metadata', unit: 'bytes', logarithmic: true }, bytes) });
  const reference = { name: 'one admission', phases: report.reference.phases };
  return {
    title: 'What admission costs',
    lead: 'What it costs to admit a signed light skeleton, where the time goes, and how it grows. Times are medians of repeated admissions in one process.',
    facts: factsOf(report.conditions),
    sections: [
      {
        heading: 'Where the time goes',
        blocks: [
          tableBlock(phaseTable(report.reference)), { kind: 'list', items: phaseFacts(report.reference) },
          { kind: 'chart', chart: stackedPhases('One admission', 'A signed light skeleton with 8 programs, by phase.', '', [reference, { name: 'its payload', phases: report.reference.payload }], false) },
          { kind: 'chart', chart: spreadChart('Single samples of it', 'Each point is the median of consecutive admissions; the box is the middle half.', [report.reference]) },
        ],
      },
      ...report.sweeps.flatMap((sweep) => PLANS.filter(({ name }) => name === sweep.name).map((plan) => sweepSection(plan, sweep))),
      ...(answers.length === 0 ? [] : [{ heading: 'How it grows', blocks: growth }]),
      ...(report.work.length === 0 ? [] : [{ heading: 'Beside Linux', blocks: [tableBlock(workTable(report.work, report.linux))] }]),
      ...comparisonSection(report),
    ],
  };
}

function comparisonSection({ comparison }: BenchReport): Section[] {
  return comparison === undefined ? [] : [{ heading: 'Against the earlier run', blocks: [tableBlock(comparisonTable(comparison))] }];
}

const MOST_ROWS = 40;

function corpusPage(report: CorpusReport): HTMLReport {
  const timed = report.programs.filter(({ samples }) => samples.length > 0), shown = timed.slice(0, MOST_ROWS);
  const points = timed.map(({ insns, seconds }) => [insns, seconds?.value ?? 0] as const).filter(([insns]) => insns > 0);
  return {
    title: 'What these programs cost to admit', lead: `${report.programs.length} programs and skeletons, the most expensive first. Times are medians of repeated loads in one process.`,
    facts: factsOf(report.conditions),
    sections: [
      {
        heading: 'Cost by program',
        blocks: [
          tableBlock(corpusTable(report.programs)),
          { kind: 'chart', chart: { kind: 'spread', title: 'Single samples', description: `The ${shown.length} most expensive; the box is the middle half.`, x: { title: 'Time', unit: 'seconds', logarithmic: true }, rows: shown.map(({ file, prog, samples }) => ({ name: `${file.slice(file.lastIndexOf('/') + 1)} ${prog}`, samples })) } },
          { kind: 'chart', chart: { kind: 'curves', title: 'Cost over processed instructions', description: 'One point a program. Far above the others: dear for what it makes the verifier do.', x: { title: 'Processed instructions', unit: 'count', logarithmic: true }, y: { title: 'Time', unit: 'seconds', logarithmic: true }, series: [{ name: 'programs', points, fit: [] }] } },
        ],
      },
      ...comparisonSection(report),
    ],
  };
}

/** The page of a report. */
export function reportPage(report: BenchReport): HTMLReport {
  return report.kind === 'corpus' ? corpusPage(report) : admissionPage(report);
}
