import { describe, expect, it } from 'vitest';
import { byCost, joinKernel } from '../../../src/bench/corpus.ts';
import { reportPage } from '../../../src/bench/page.ts';
import { bar, comparables, formatSeconds, reportCSV, reportJSON, reportTables } from '../../../src/bench/report.ts';
import { formatBytes, formatCount } from '../../../src/bench/sweep.ts';
import { renderHTML } from '../../../src/report/html.ts';
import { admissionReport, corpusReport } from './reports.ts';

describe('numbers for people', () => {
  it.each([[0, '0'], [4.2e-9, '4.20 ns'], [0.0000123, '12.3 µs'], [0.0009996, '1.00 ms'], [0.5, '500 ms'], [1.25, '1.25 s'], [NaN, '-']])('%d seconds', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });

  it('sizes and counts', () => {
    expect([0, 512, 4096, 1536, 1 << 20, 16_773_120].map(formatBytes)).toEqual(['0 B', '512 B', '4 KiB', '1.5 KiB', '1 MiB', '16 MiB']);
    expect([7, 1_000, 1_234_567].map(formatCount)).toEqual(['7', '1,000', '1,234,567']);
  });

  it('bars have eighths and never leave their place', () => {
    expect([bar(0, 4), bar(0.5, 4), bar(1 / 32, 4), bar(1, 4), bar(7, 4), bar(-1, 4)]).toEqual(['', '██', '▏', '████', '████', '']);
  });
});

describe('reports', () => {
  it.each([['admission', admissionReport()], ['corpus', corpusReport()]] as const)('tables of %s have as many cells as columns', (_, report) => {
    const tables = reportTables(report);
    for (const { head, rows } of tables) for (const row of rows) expect(row).toHaveLength(head.length);
    expect(tables.every(({ title, explanation, rows }) => title !== '' && explanation !== '' && rows.length > 0)).toBe(true);
  });

  it('the JSON has phases, sweeps, exponents and conditions, and what a later run compares with', () => {
    const report = admissionReport(), json = JSON.parse(JSON.stringify(reportJSON(report))) as Record<string, unknown>;
    expect(json['phases']).toEqual(report.reference.phases);
    expect(json['sweeps']).toHaveLength(8);
    expect(json['exponents']).toMatchObject({ signature: { expected: 0 }, 'hashing and folding': { expected: 1, value: expect.any(Number), low: expect.any(Number) } });
    expect(json['conditions']).toEqual(report.conditions);
    expect(json['measured']).toEqual(comparables(report));
  });

  it('the CSV has one line a measurement, all as long as the first, and quotes', () => {
    for (const report of [admissionReport(), corpusReport()]) {
      const lines = reportCSV(report).trimEnd().split('\n'), columns = (line: string): number => line.replaceAll(/"(?:[^"]|"")*"/g, 'x').split(',').length;
      expect(lines).toHaveLength(1 + (report.kind === 'corpus' ? report.programs.length : 1 + report.sweeps.reduce((sum, { rows }) => sum + rows.length, 0)));
      expect(new Set(lines.map(columns)).size).toBe(1);
    }
    expect(reportCSV(corpusReport())).toContain('"dear, ""quoted"""');
  });

  it('the most expensive come first, what was refused last', () => {
    const { programs } = corpusReport();
    expect(byCost([...programs].reverse()).map(({ prog }) => prog)).toEqual(programs.map(({ prog }) => prog));
  });

  it("a kernel's figures stand beside the program of the same name", () => {
    const rows = joinKernel(corpusReport().programs, [{ file_name: 'folder/<b>x</b>.bpf.o', prog_name: 'cheap', verdict: 'success', duration: 12, total_insns: 7, total_states: 1 }]);
    expect(rows.find(({ prog }) => prog === 'cheap')?.kernel).toEqual({ verdict: 'success', duration: 12, insns: 7, states: 1 });
    expect(rows.find(({ prog }) => prog === 'refused')?.kernel).toBeNull();
  });

  it('the page shows names as they are and loads nothing', () => {
    for (const report of [admissionReport(), corpusReport()]) {
      const page = renderHTML(reportPage(report), '/* a library that says </script> */');
      expect(page).toContain('a &lt;processor&gt; &amp; &quot;more&quot;');
      expect(page).not.toContain('<b>');
      expect(page).not.toMatch(/(?:src|href)="(?!#|data:)/);
      expect(page.match(/<\/script>/g)).toHaveLength(page.match(/<script/g)?.length ?? 0);
    }
  });
});
