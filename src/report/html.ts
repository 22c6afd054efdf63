/**
 * @module src/report/html
 * One self-contained HTML file from a report of headings, text, tables, code and charts: opens offline, loads nothing, prints. Owns the
 * page's form and that nothing of the data can become markup; does not own what is reported. chart.js comes as text from the caller
 * (`src/node/chart-library.ts`), so that this runs in a browser too.
 */
import { chartConfiguration, chartHeight, PAGE_SCRIPT, type Chart } from './chart.ts';

/** A cell; `alarm` and `good` are shown so. */
export type Cell = string | { readonly text: string; readonly tone: 'alarm' | 'good' | 'dim' };

/** A table; every row has as many cells as `head`. Columns whose cells begin with digits stand to the right. */
export interface TableBlock {
  readonly kind: 'table';
  readonly caption?: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** A piece of a section. */
export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly string[] }
  | { readonly kind: 'code'; readonly caption?: string; readonly text: string }
  | TableBlock
  | { readonly kind: 'chart'; readonly chart: Chart };

/** A heading with what belongs to it. */
export interface Section {
  readonly heading: string;
  readonly blocks: readonly Block[];
}

/** A whole report. */
export interface HTMLReport {
  readonly title: string;
  /** One or two sentences under the title. */
  readonly lead: string;
  /** Facts about the run: version, machine, options. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly sections: readonly Section[];
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text as it may stand in an element or in a quoted attribute. */
export function escapeHTML(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

const STYLE = `
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c1e21; background: #fff; max-width: 66rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #d8dadd; padding-bottom: .25rem; }
p { max-width: 46rem; margin: .5rem 0; } .lead { font-size: 1.08rem; color: #3a3d42; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0; font-size: .92rem; } dt { color: #666b73; } dd { margin: 0; overflow-wrap: anywhere; }
nav ol { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; list-style: none; font-size: .92rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #666b73; padding: .2rem 0; } th { text-align: left; font-weight: 600; border-bottom: 2px solid #b9bdc3; }
th, td { padding: .22rem .7rem .22rem 0; vertical-align: top; } td { border-bottom: 1px solid #eceef0; } .n { text-align: right; white-space: nowrap; }
.alarm { color: #b00020; font-weight: 600; } .good { color: #1a7f37; } .dim { color: #767b83; }
pre { background: #f5f6f7; padding: .7rem .9rem; overflow-x: auto; font-size: .84rem; line-height: 1.4; }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; } figcaption small { display: block; font-weight: 400; color: #666b73; }
.plot { position: relative; width: 100%; } figure img { display: none; } .failure { color: #b00020; }
@media print {
  @page { margin: 14mm; } body { font-size: 10pt; max-width: none; padding: 0; } nav { display: none; } a { color: inherit; text-decoration: none; }
  .plot { display: none; } figure img { display: block; width: 100%; height: auto; } figure, tr, pre, dl { break-inside: avoid; } h2, figcaption { break-after: avoid; }
  .wide { overflow: visible; } pre { white-space: pre-wrap; }
}`;

/**
 * Renders a report.
 *
 * @param chartLibrary text of chart.js's UMD build; only put in where the report has charts
 *
 * @example
 * writeFileSync('report.html', renderHTML(report, readChartLibrary()));
 */
export function renderHTML(report: HTMLReport, chartLibrary: string): string {
  const hasCharts = report.sections.some(({ blocks }) => blocks.some(({ kind }) => kind === 'chart'));
  // Nothing is loaded from anywhere, whatever the data says.
  const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escapeHTML(report.title)}</title>
<style>${STYLE}
</style>
</head>
<body>
<header>
<h1>${escapeHTML(report.title)}</h1>
<p class="lead">${escapeHTML(report.lead)}</p>
<dl>${report.facts.map(([name, value]) => `<dt>${escapeHTML(name)}</dt><dd>${escapeHTML(value)}</dd>`).join('')}</dl>
</header>
${contents(report.sections)}
<main>
${report.sections.map(section).join('\n')}
</main>
${hasCharts ? `<script>${scriptText(chartLibrary)}</script>\n<script>${PAGE_SCRIPT}</script>\n` : ''}</body>
</html>
`;
}

/** A script that is put in as text ends at the first `</script`, also within a string of its own. */
function scriptText(library: string): string {
  return library.replace(/^\/\/# sourceMappingURL=.*$/gm, '').replace(/<(?=\/script|!--)/gi, '\\x3c');
}

function contents(sections: readonly Section[]): string {
  if (sections.length < 3) return '';
  return `<nav aria-label="Contents"><ol>${sections.map(({ heading }, i) => `<li><a href="#s${i + 1}">${escapeHTML(heading)}</a></li>`).join('')}</ol></nav>`;
}

function section({ heading, blocks }: Section, index: number): string {
  return `<section id="s${index + 1}"><h2>${escapeHTML(heading)}</h2>\n${blocks.map(block).join('\n')}\n</section>`;
}

function block(part: Block): string {
  switch (part.kind) {
    case 'text': return `<p>${escapeHTML(part.text)}</p>`;
    case 'list': return `<ul>${part.items.map((item) => `<li>${escapeHTML(item)}</li>`).join('')}</ul>`;
    case 'code': return `${part.caption === undefined ? '' : `<p>${escapeHTML(part.caption)}</p>`}<pre>${escapeHTML(part.text)}</pre>`;
    case 'table': return table(part);
    case 'chart': return figure(part.chart);
  }
}

const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : cell.text);

function table({ caption, head, rows }: TableBlock): string {
  const isNumeric = head.map((_, i) => rows.length > 0 && rows.every((row) => /^[-+±~<]?\d|^[-–]?$/.test(textOf(row[i] ?? ''))));
  const classes = (i: number, cell?: Cell): string => {
    const names = [...(isNumeric[i] === true ? ['n'] : []), ...(cell === undefined || typeof cell === 'string' ? [] : [cell.tone])];
    return names.length === 0 ? '' : ` class="${names.join(' ')}"`;
  };
  const heading = head.map((cell, i) => `<th scope="col"${classes(i)}>${escapeHTML(cell)}</th>`).join('');
  const body = rows.map((row) => `<tr>${row.map((cell, i) => `<td${classes(i, cell)}>${escapeHTML(textOf(cell))}</td>`).join('')}</tr>`).join('\n');
  return `<div class="wide"><table>${caption === undefined ? '' : `<caption>${escapeHTML(caption)}</caption>`}<thead><tr>${heading}</tr></thead>\n<tbody>${body}</tbody></table></div>`;
}

function figure(chart: Chart): string {
  // In a data block no character but `<` could end it early.
  const data = JSON.stringify(chartConfiguration(chart)).replaceAll('<', '\\u003c');
  return `<figure data-chart="${chart.kind}"><figcaption>${escapeHTML(chart.title)}<small>${escapeHTML(chart.description)}</small></figcaption>`
    + `<div class="plot" style="height:${chartHeight(chart)}px"><canvas role="img" aria-label="${escapeHTML(`${chart.title}. ${chart.description}`)}"></canvas></div>`
    + `<img alt="${escapeHTML(chart.title)}"><script type="application/json">${data}</script></figure>`;
}
