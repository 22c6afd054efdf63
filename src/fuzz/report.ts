/**
 * @module src/fuzz/report
 * A session as JSON, as a page, as the files of a finding and as lines for people. Owns their form; writes nothing.
 */
import { bytesToBase64 } from './base64.ts';
import type { Progress, SessionFinding, SessionReport } from './engine.ts';
import { nameOf } from './corpus.ts';
import type { HTMLReport, Section } from '../report/html.ts';

/** A session as `-j` prints it. */
export function toJSON(report: SessionReport): Record<string, unknown> {
  return {
    target: report.target, seed: report.seed, runs: report.runs, seconds: Math.round(report.seconds * 1000) / 1000,
    coverage: report.edges, features: report.features, corpus: report.corpus.length, corpusDigest: report.corpusDigest,
    findings: report.findings.map((finding) => ({
      oracle: finding.oracle, trace: finding.trace, message: finding.message, run: finding.run, size: finding.size, name: findingName(report.target, finding),
      input: bytesToBase64(finding.bytes), assembly: finding.assembly,
    })),
    curve: report.curve.map(({ seconds, runs, edges, corpus }) => ({ seconds: Math.round(seconds * 1000) / 1000, runs, coverage: edges, corpus })),
  };
}

/** Name of a finding's files, without their ending. */
export function findingName(target: string, { oracle, bytes }: SessionFinding): string {
  return `${target}-${oracle}-${nameOf(bytes)}`;
}

/** The files that a finding is written to: what `fuzz repro` reads, assembly, a test, and a transcript where there is one. */
export function findingFiles(target: string, seed: number, finding: SessionFinding): ReadonlyMap<string, string> {
  const name = findingName(target, finding);
  const input = bytesToBase64(finding.bytes);
  const { oracle, trace, message, run, size } = finding;
  const files = new Map([
    [`${name}.json`, `${JSON.stringify({ target, seed, run, oracle, trace, message, size, input }, undefined, 2)}\n`],
    [`${name}.s`, `; ${oracle}: ${trace}\n${message.split('\n').map((line) => `; ${line}\n`).join('')}${finding.assembly}`],
    [`${name}.test.ts`, testFile(target, seed, finding, input)],
  ]);
  if (finding.transcript !== undefined) files.set(`${name}.jsonl`, finding.transcript);
  return files;
}

function testFile(target: string, seed: number, { oracle, trace, run, assembly }: SessionFinding, input: string): string {
  const comment = assembly.trimEnd().split('\n').map((line) => ` * ${line.replaceAll('*/', '* /')}`).join('\n');
  return `/**
 * Found by \`bpftwin fuzz ${target} --seed ${seed}\` at run ${run}: ${oracle}, ${trace.replaceAll('*/', '* /')}.
 *
${comment}
 */
import { reproduce } from 'bpftwin/node';
import { expect, test } from 'vitest';

test(${JSON.stringify(`${target}: ${oracle}, ${trace}`)}, async () => {
  expect(await reproduce('${target}', '${input}')).toBeUndefined();
});
`;
}

/** One line about where a session stands. */
export function progressLine(target: string, progress: Progress, perSecond: number): string {
  const { runs, edges, corpus, findings, seconds } = progress;
  const rate = perSecond >= 100 ? Math.round(perSecond) : Math.round(perSecond * 10) / 10;
  return `${target}: ${clock(seconds)}  ${count(runs)} runs  ${count(rate)}/s  coverage ${count(edges)}  corpus ${count(corpus)}  findings ${findings}`;
}

function clock(seconds: number): string {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

function count(n: number): string {
  return n.toLocaleString('en-US');
}

/** What is printed at the end. */
export function summaryText(report: SessionReport): string {
  const { target, seed, runs, seconds, edges, features, corpus, corpusDigest, findings } = report;
  const lines = [
    `${target}, seed ${seed}: ${count(runs)} runs in ${seconds.toFixed(1)} s (${count(Math.round(runs / Math.max(seconds, 0.001)))}/s)`,
    `coverage ${count(edges)} (${count(features)} with counts), corpus ${corpus.length} inputs, digest ${corpusDigest}`,
    findings.length === 0 ? 'no findings' : `${findings.length} finding${findings.length === 1 ? '' : 's'}:`,
    ...findings.map((finding) => `  ${finding.oracle}: ${finding.trace} (${findingName(target, finding)}, size ${finding.size}, run ${finding.run})`),
  ];
  return `${lines.join('\n')}\n`;
}

/** The page of a session. */
export function toHTML(report: SessionReport, facts: readonly (readonly [name: string, value: string])[]): HTMLReport {
  const { target, seed, runs, seconds, findings, curve } = report;
  const line = (name: string, value: (progress: Progress) => number): { name: string; points: (readonly [number, number])[]; plain: true } =>
    ({ name, points: curve.map((progress) => [progress.seconds, value(progress)] as const), plain: true });
  const sections: Section[] = [
    {
      heading: 'Coverage over time',
      blocks: [
        {
          kind: 'chart',
          chart: {
            kind: 'curves', title: 'What runs reached', description: `Edges and states that were reached: ${report.edges} after ${seconds.toFixed(1)} seconds.`,
            x: { title: 'time', unit: 'seconds' }, y: { title: 'edges and states', unit: 'count' }, series: [line('edges and states', ({ edges }) => edges)],
          },
        },
        {
          kind: 'chart',
          chart: {
            kind: 'curves', title: 'Corpus', description: `Inputs that reached something new: ${curve.at(-1)?.corpus ?? 0}; ${report.corpus.length} of them are enough.`,
            x: { title: 'time', unit: 'seconds' }, y: { title: 'inputs', unit: 'count' }, series: [line('corpus', ({ corpus }) => corpus), line('findings', (progress) => progress.findings)],
          },
        },
      ],
    },
    {
      heading: 'Findings',
      blocks: findings.length === 0
        ? [{ kind: 'text', text: 'No oracle complained.' }]
        : [
            {
              kind: 'table', head: ['oracle', 'trace', 'size', 'run'],
              rows: findings.map(({ oracle, trace, size, run }) => [{ text: oracle, tone: 'alarm' as const }, trace, String(size), String(run)]),
            },
            ...findings.map((finding) => ({ kind: 'code' as const, caption: `${findingName(target, finding)}: ${finding.message.split('\n')[0] ?? ''}`, text: finding.assembly })),
          ],
    },
  ];
  return {
    title: `Fuzzing ${target}`, lead: `${count(runs)} runs from seed ${seed} in ${seconds.toFixed(1)} seconds; ${findings.length} findings.`,
    facts: [['target', target], ['seed', String(seed)], ['runs', String(runs)], ['runs a second', String(Math.round(runs / Math.max(seconds, 0.001)))], ['corpus', `${report.corpus.length} inputs, digest ${report.corpusDigest}`], ...facts],
    sections,
  };
}
