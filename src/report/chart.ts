/**
 * @module src/report/chart
 * Charts as data, and what chart.js is told of them. Owns their look; measures nothing and knows no page. Everything here is plain
 * JSON: number formats go by name, and the page's script ({@link PAGE_SCRIPT}) puts functions in their place.
 */

/** What numbers on an axis are; the page writes them with units. */
export type Unit = 'seconds' | 'bytes' | 'count' | 'ratio' | 'percent';

/** An axis. */
export interface Axis {
  readonly title: string;
  readonly unit: Unit;
  /** Default linear. */
  readonly logarithmic?: boolean;
}

interface ChartBase {
  readonly title: string;
  /** What the chart shows, for readers who cannot see it. */
  readonly description: string;
}

/** Bars on top of each other: the parts of a whole, over sizes. */
export interface StackedChart extends ChartBase {
  readonly kind: 'stacked';
  readonly labels: readonly string[];
  /** `colour` is an index of {@link COLOURS}, for parts that look the same in several charts; default the place in the list. */
  readonly series: readonly { readonly name: string; readonly values: readonly number[]; readonly colour?: number }[];
  readonly x: string;
  readonly y: Axis;
  /** Every bar as long as the others, as shares of its own whole. */
  readonly shares?: boolean;
}

/** Measured points with or without a fitted line, or plain lines. */
export interface CurveChart extends ChartBase {
  readonly kind: 'curves';
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly (readonly [x: number, y: number])[];
    /** A line of its own through the points; without it the points are joined. */
    readonly fit?: readonly (readonly [x: number, y: number])[];
    /** Points are not marked: for lines of very many. */
    readonly plain?: boolean;
  }[];
}

/** Single measurements and the middle half of them, a row each. */
export interface SpreadChart extends ChartBase {
  readonly kind: 'spread';
  readonly x: Axis;
  readonly rows: readonly { readonly name: string; readonly samples: readonly number[] }[];
}

export type Chart = StackedChart | CurveChart | SpreadChart;

/** Okabe and Ito's colours, which people with colour blindness tell apart, and more of the like for long lists. */
export const COLOURS: readonly string[] = [
  '#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#7f7f7f', '#332288', '#88ccee', '#44aa99', '#117733',
  '#999933', '#ddcc77', '#cc6677', '#882255', '#aa4499', '#6699cc', '#004488', '#997700', '#ee99aa', '#bbbbbb',
];

type JSONValue = string | number | boolean | null | readonly JSONValue[] | { readonly [key: string]: JSONValue };

const colourOf = (index: number): string => COLOURS[index % COLOURS.length] ?? '#000000';

/** What chart.js is given; `format` members are names of formats of the page's script. */
export function chartConfiguration(chart: Chart): JSONValue {
  switch (chart.kind) {
    case 'stacked': return stacked(chart);
    case 'curves': return curves(chart);
    case 'spread': return spread(chart);
  }
}

/** Pixels high that a chart wants. */
export function chartHeight(chart: Chart): number {
  return chart.kind === 'spread' ? 90 + 26 * chart.rows.length : 380;
}

function axis({ title, unit, logarithmic }: Axis): { readonly [key: string]: JSONValue } {
  return { type: logarithmic === true ? 'logarithmic' : 'linear', title: { display: true, text: title }, format: unit, ...(logarithmic === true ? {} : { beginAtZero: true }) };
}

const OPTIONS: { readonly [key: string]: JSONValue } = { animation: false, responsive: true, maintainAspectRatio: false, devicePixelRatio: 2 };

function stacked({ labels, series, x, y, shares = false }: StackedChart): JSONValue {
  const wholes = labels.map((_, i) => series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0));
  const share = (value: number, i: number): number => (shares && (wholes[i] ?? 0) > 0 ? (100 * value) / (wholes[i] ?? 1) : value);
  return {
    type: 'bar',
    data: {
      labels,
      datasets: series.map(({ name, values, colour }, i) => ({
        label: name, data: values.map(share), backgroundColor: colourOf(colour ?? i), borderColor: '#ffffff', borderWidth: 0.5, format: shares ? 'percent' : y.unit,
      })),
    },
    options: {
      ...OPTIONS,
      interaction: { mode: 'index', intersect: false },
      scales: {
        x: { stacked: true, title: { display: true, text: x } },
        y: { ...axis(shares ? { title: 'Share', unit: 'percent' } : y), stacked: true, ...(shares ? { max: 100 } : {}) },
      },
      plugins: { legend: { position: 'right', reverse: true, labels: { boxWidth: 12 } } },
    },
  };
}

function curves({ x, y, series }: CurveChart): JSONValue {
  const toData = (points: readonly (readonly [number, number])[]): JSONValue => points.map(([px, py]) => ({ x: px, y: py }));
  return {
    type: 'scatter',
    data: {
      datasets: series.flatMap(({ name, points, fit, plain = false }, i): JSONValue[] => {
        const colour = colourOf(i);
        const measured = {
          label: name, data: toData(points), backgroundColor: colour, borderColor: colour, pointRadius: plain ? 0 : 3.5, borderWidth: 1.5, showLine: fit === undefined,
          format: y.unit, formatX: x.unit,
        };
        // The line belongs to its points: it has no entry in the legend of its own.
        return fit === undefined ? [measured] : [measured, {
          label: '', data: toData(fit), borderColor: colour, backgroundColor: colour, pointRadius: 0, pointHitRadius: 0, borderWidth: 1.2, borderDash: [5, 4], showLine: true,
          format: y.unit, formatX: x.unit,
        }];
      }),
    },
    options: { ...OPTIONS, scales: { x: axis(x), y: axis(y) }, plugins: { legend: { position: 'right', labels: { boxWidth: 12, named: true } } } },
  };
}

function quartiles(samples: readonly number[]): readonly [number, number] {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  return [at(0.25), at(0.75)];
}

function spread({ x, rows }: SpreadChart): JSONValue {
  return {
    type: 'bar',
    data: {
      labels: rows.map(({ name }) => name),
      datasets: [
        {
          type: 'scatter', label: 'sample', data: rows.flatMap(({ name, samples }) => samples.map((sample) => ({ x: sample, y: name }))),
          backgroundColor: '#d55e0066', pointRadius: 2.5, format: x.unit, formatX: x.unit,
        },
        { label: 'middle half', data: rows.map(({ samples }) => quartiles(samples)), backgroundColor: '#56b4e999', borderColor: '#0072b2', borderWidth: 1, borderSkipped: false, format: x.unit },
      ],
    },
    options: { ...OPTIONS, indexAxis: 'y', scales: { x: { ...axis(x), beginAtZero: false }, y: { type: 'category', offset: true } }, plugins: { legend: { position: 'bottom', labels: { boxWidth: 12 } } } },
  };
}

/**
 * The page's only code: formats by name, one chart for each canvas, and beside each a picture of it for paper. A failure is shown in place
 * of the chart and thrown on, so that nobody takes an empty frame for a result.
 */
export const PAGE_SCRIPT = `(() => {
  const step = (value, base, units) => {
    let at = 0, number = Math.abs(value);
    while (number >= base && at < units.length - 1) { number /= base; at++; }
    const digits = number >= 100 || Number.isInteger(number) ? 0 : number >= 10 ? 1 : 2;
    return (value < 0 ? '-' : '') + String(Number(number.toFixed(digits))) + units[at];
  };
  const FORMATS = {
    seconds: (value) => value === 0 ? '0' : step(value * 1e9, 1000, [' ns', ' µs', ' ms', ' s']),
    bytes: (value) => step(value, 1024, [' B', ' KiB', ' MiB', ' GiB']),
    count: (value) => step(value, 1000, ['', 'k', 'M', 'G']),
    ratio: (value) => String(Number(value.toPrecision(3))),
    percent: (value) => String(Number(value.toFixed(1))) + ' %',
  };
  const isPower = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
  const prepare = (config) => {
    for (const scale of Object.values(config.options.scales)) {
      const format = FORMATS[scale.format];
      if (!format) continue;
      const powers = scale.type === 'logarithmic';
      // A short axis has too few powers of ten: it shows 1, 2 and 5 of each.
      scale.ticks = { callback(value) {
        const mantissa = value / 10 ** Math.floor(Math.log10(value) + 1e-9), isShort = this.max / this.min < 300;
        return powers && !isPower(value) && !(isShort && [2, 5].includes(Math.round(mantissa * 1e6) / 1e6)) ? '' : format(value);
      } };
      if (powers) scale.grid = { color: (context) => context.tick && isPower(context.tick.value) ? '#0002' : '#0001' };
    }
    const { legend } = config.options.plugins;
    if (legend.labels.named) legend.labels.filter = (item) => item.text !== '';
    config.options.plugins.tooltip = {
      filter: (item) => item.dataset.label !== '',
      callbacks: {
        label: ({ dataset, raw, parsed }) => {
          const write = FORMATS[dataset.format] || String;
          if (Array.isArray(raw)) return dataset.label + ': ' + raw.map(write).join(' to ');
          if (raw !== null && typeof raw === 'object') {
            const x = (FORMATS[dataset.formatX] || String)(raw.x);
            return dataset.label + ': ' + (typeof raw.y === 'number' ? x + ', ' + write(raw.y) : x);
          }
          return dataset.label + ': ' + write(parsed.y);
        },
      },
    };
    return config;
  };
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const canvas = figure.querySelector('canvas');
    try {
      const chart = new Chart(canvas, prepare(JSON.parse(figure.querySelector('script').textContent)));
      const image = figure.querySelector('img');
      image.src = chart.toBase64Image();
    } catch (error) {
      const note = document.createElement('p');
      note.className = 'failure';
      note.textContent = 'This chart could not be drawn: ' + error;
      figure.append(note);
      setTimeout(() => { throw error; });
    }
  }
  document.documentElement.dataset.drawn = 'true';
})();`;
