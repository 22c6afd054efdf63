import { describe, expect, it } from 'vitest';
import { chartConfiguration, chartHeight, COLOURS, type Chart } from '../../../src/report/chart.ts';
import { escapeHTML, renderHTML, type Block } from '../../../src/report/html.ts';

const HOSTILE = `</script><script>alert(1)</script><img src=x onerror=alert(1)> "quoted" 'single' & <!-- ${'\u2028'}`;
const stacked: Chart = { kind: 'stacked', title: HOSTILE, description: HOSTILE, labels: [HOSTILE, 'b'], x: 'x', y: { title: HOSTILE, unit: 'seconds' }, series: [{ name: HOSTILE, values: [1, 2] }, { name: 'other', values: [3, 6], colour: 5 }] };
const curves: Chart = { kind: 'curves', title: 't', description: 'd', x: { title: 'x', unit: 'count', logarithmic: true }, y: { title: 'y', unit: 'seconds' }, series: [{ name: HOSTILE, points: [[1, 2]], fit: [[1, 2], [3, 4]] }] };
const spread: Chart = { kind: 'spread', title: 't', description: 'd', x: { title: 'x', unit: 'seconds' }, rows: [{ name: HOSTILE, samples: [4, 1, 3, 2, 5] }] };
const page = (...blocks: Block[]): string => renderHTML({ title: HOSTILE, lead: HOSTILE, facts: [[HOSTILE, HOSTILE]], sections: [{ heading: HOSTILE, blocks }] }, 'var Chart;');

/** The page without what is in its scripts and style. */
function markup(html: string): string {
  return html.replaceAll(/<script[^>]*>[\s\S]*?<\/script>/g, '<script>').replaceAll(/<style>[\s\S]*?<\/style>/g, '<style>');
}

/** Elements that the page has, by name. */
function elements(html: string): string[] {
  return [...markup(html).matchAll(/<([a-z][a-z0-9]*)/g)].map(([, name]) => name ?? '');
}

describe('a page', () => {
  const blocks: Block[] = [
    { kind: 'text', text: HOSTILE }, { kind: 'list', items: [HOSTILE] }, { kind: 'code', caption: HOSTILE, text: HOSTILE },
    { kind: 'table', caption: HOSTILE, head: [HOSTILE, 'n'], rows: [[HOSTILE, '1'], [{ text: HOSTILE, tone: 'alarm' }, '2 ms']] },
    ...[stacked, curves, spread].map((chart): Block => ({ kind: 'chart', chart })),
  ];

  it('lets nothing of its data become an element or an attribute', () => {
    const html = page(...blocks);
    // Pictures are those of the three charts, scripts their data, the library and the page's own.
    expect(elements(html).filter((name) => name === 'img')).toHaveLength(3);
    expect(elements(html).filter((name) => name === 'script')).toHaveLength(5);
    expect(markup(html).replaceAll(/"[^"]*"/g, '""')).not.toMatch(/<[^>]*\sonerror=/);
    expect(html).not.toContain('<!--');
  });

  it('keeps the data as it was', () => {
    const html = page({ kind: 'chart', chart: stacked }), [, data = ''] = /<script type="application\/json">([\s\S]*?)<\/script>/.exec(html) ?? [];
    expect(JSON.parse(data)).toEqual(JSON.parse(JSON.stringify(chartConfiguration(stacked))));
    expect(data).not.toContain('<');
  });

  it('carries no library where it has no chart', () => {
    expect(page({ kind: 'text', text: 'x' })).not.toContain('<script');
  });

  it('forbids itself to load anything', () => {
    expect(page()).toContain("default-src 'none'");
  });

  it('puts numbers to the right and text to the left', () => {
    const html = page({ kind: 'table', head: ['name', 'time'], rows: [['a', '1.2 ms'], ['b', '-']] });
    expect(html).toContain('<th scope="col">name</th><th scope="col" class="n">time</th>');
    expect(html).toContain('<td>b</td><td class="n">-</td>');
  });

  it.each([['&<>"\'', '&amp;&lt;&gt;&quot;&#39;'], ['plain', 'plain']])('escapes %s', (text, escaped) => {
    expect(escapeHTML(text)).toBe(escaped);
  });
});

describe('charts', () => {
  interface Drawn { readonly data: { readonly datasets: readonly { readonly label: string; readonly data: readonly unknown[]; readonly backgroundColor: string }[] } }
  const draw = (chart: Chart): Drawn['data']['datasets'] => (chartConfiguration(chart) as unknown as Drawn).data.datasets;

  it('of shares reach 100 at every size', () => {
    const series = draw({ ...stacked, shares: true } as Chart).map(({ data }) => data as number[]);
    for (const i of [0, 1]) expect(series.reduce((sum, values) => sum + (values[i] ?? 0), 0)).toBeCloseTo(100, 9);
  });

  it('keep a colour that was asked for', () => {
    expect(draw(stacked).map(({ backgroundColor }) => backgroundColor)).toEqual([COLOURS[0], COLOURS[5]]);
  });

  it('draw a fitted line beside its points, without a name of its own', () => {
    expect(draw(curves).map(({ label, data }) => [label, data.length])).toEqual([[HOSTILE, 1], ['', 2]]);
  });

  it('show the middle half of samples', () => {
    expect(draw(spread)[1]?.data).toEqual([[2, 4]]);
    expect(chartHeight(spread)).toBeLessThan(chartHeight({ ...spread, rows: Array.from({ length: 30 }, () => ({ name: 'x', samples: [1] })) } as Chart));
  });
});
