import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { reportPage } from '../../src/bench/page.ts';
import { readChartLibrary } from '../../src/node/chart-library.ts';
import { renderHTML } from '../../src/report/html.ts';
import { admissionReport, corpusReport } from '../unit/bench/reports.ts';
import { bpftwin, temporary } from '../unit/cli/harness.ts';
import { fixturePath } from '../unit/loader/fixtures.ts';

const folder = mkdtempSync(join(tmpdir(), 'bpftwin-bench-'));
const SHORT = ['--seconds', '0.001'] as const;

describe('bpftwin bench of files', () => {
  it('gives every program of objects and skeletons its cost, and takes its own report for a baseline', async () => {
    const files = [fixturePath('objects/globals.bpf.o'), fixturePath('signed/onemap.lskel.h')], cert = ['--cert', fixturePath('keys/rsa2048.crt')], csv = join(folder, 'corpus.csv');
    const { status, stdout } = await bpftwin(['bench', '-j', ...SHORT, ...cert, '--csv', csv, ...files]);
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as { programs: { prog: string; verdict: string; seconds: { value: number }; insns: number }[] };
    expect(report.programs.map(({ prog }) => prog).toSorted()).toEqual(['(whole skeleton)', '__loader.prog', 'count', 'within']);
    expect(report.programs.every(({ verdict, seconds, insns }) => verdict === 'success' && seconds.value > 0 && insns > 0)).toBe(true);
    expect(readFileSync(csv, 'utf8').trimEnd().split('\n')).toHaveLength(5);
    const baseline = temporary('base.json', stdout), again = await bpftwin(['bench', '-j', ...SHORT, ...cert, '--baseline', baseline, '--fail-above', '1000', ...files]);
    expect(again.status).toBe(0);
    expect((JSON.parse(again.stdout) as { comparison: { rows: { work: string }[] } }).comparison.rows.map(({ work }) => work)).toEqual(['same', 'same', 'same', 'same']);
    const other = await bpftwin(['bench', ...SHORT, '--baseline', baseline, files[0] ?? '']);
    expect({ status: other.status, stdout: other.stdout }).toEqual({ status: 2, stdout: '' });
    expect(other.stderr).toContain('measured under other conditions (subject: ');
  }, 180_000);

  it('says which skeleton does not load, and refuses what it cannot read', async () => {
    const { status, stdout } = await bpftwin(['bench', '-j', ...SHORT, fixturePath('signed/onemap.lskel.h')]);
    expect(status).toBe(0);
    expect((JSON.parse(stdout) as { programs: unknown[] }).programs).toMatchObject([{ verdict: 'failure', error: 'ENOKEY', seconds: null }]);
    expect((await bpftwin(['bench', folder])).status).toBe(2);
    expect((await bpftwin(['bench', '/nowhere.o'])).stderr).toContain('/nowhere.o');
    expect((await bpftwin(['bench', '--only', 'time'])).stderr).toContain('there are phases, instructions');
    expect((await bpftwin(['bench', '--seconds', '0'])).status).toBe(2);
    expect((await bpftwin(['bench', '--fail-above', '0.5'])).status).toBe(2);
  });
});

describe('bpftwin bench', () => {
  it('explains one admission by phase and a sweep, in words, and beside Linux', async () => {
    const { status, stdout } = await bpftwin(['bench', '--quick', '--only', 'metadata,branches', ...SHORT]);
    expect(status).toBe(0);
    for (const text of ['Where the time goes', 'payload admission', 'Metadata', '64 KiB', 'How it grows', "The verifier's work beside Linux's", 'Node.js v']) expect(stdout).toContain(text);
    expect(stdout).not.toContain('differs');
  }, 180_000);

  it('counts work without a clock', async () => {
    const { stdout } = await bpftwin(['bench', '-j', '--counters', '--quick', '--only', 'maps']);
    expect(JSON.parse(stdout)).toEqual({
      counters: Object.fromEntries([1, 8, 64].map((maps) => [`maps: ${maps} map${maps === 1 ? '' : 's'}`, {
        instructions: 3, processed: 3, states: 0, peakStates: 0, systemCalls: 1, bytesHashed: 48 + 4096 * maps, digests: 2,
      }])),
      work: { kernel: '7.3.4', programs: [] },
    });
  });
});

/** The one that is asked for, or Debian's, or where it is called otherwise. */
const { BPFTWIN_CHROMIUM } = process.env;
const CHROMIUM = (BPFTWIN_CHROMIUM === undefined ? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'] : [BPFTWIN_CHROMIUM]).find((path) => existsSync(path));
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

describe('the report in a browser', () => {
  let browser: Browser | undefined;
  beforeAll(async () => {
    if (CHROMIUM === undefined) return;
    const { chromium } = await import('playwright-core');
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  }, 60_000);
  afterAll(async () => await browser?.close());

  /** The test needs a browser and says so where there is none. */
  function opened(context: TestContext): Browser {
    if (browser === undefined) context.skip('no Chromium is installed (Debian: apt-get install chromium)');
    return browser;
  }

  it.for([['admission', admissionReport()], ['corpus', corpusReport()]] as const)('%s: every chart is drawn, nothing complains, paper has pictures', async ([name, report], context) => {
    const browserOfTest = opened(context), file = join(folder, `${name}.html`), complaints: string[] = [], requests: string[] = [];
    writeFileSync(file, renderHTML(reportPage(report), readChartLibrary()));
    const page = await browserOfTest.newPage({ viewport: { width: 1100, height: 900 } });
    try {
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('request', (request) => requests.push(request.url()));
      await page.goto(pathToFileURL(file).href);
      await page.waitForSelector('html[data-drawn]');
      // How many colours each canvas has: an empty one has one, axes alone a few shades of grey.
      const colours = await page.$$eval('figure[data-chart] canvas', (canvases) => canvases.map((canvas) => {
        const { width, height } = canvas as HTMLCanvasElement, pixels = (canvas as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height).data;
        const seen = new Set<number>();
        for (let i = 0; i < pixels.length; i += 4) {
          const [r = 0, g = 0, b = 0, alpha = 0] = pixels.subarray(i, i + 4);
          if (alpha > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 40) seen.add((r << 16) | (g << 8) | b);
        }
        return seen.size;
      }));
      expect(colours.length).toBeGreaterThanOrEqual(name === 'admission' ? 12 : 2);
      expect(colours.filter((count) => count < 1)).toEqual([]);
      expect(complaints).toEqual([]);
      expect(requests.filter((url) => !url.startsWith('data:'))).toEqual([pathToFileURL(file).href]);
      await page.emulateMedia({ media: 'print' });
      const printed = await page.$$eval('figure[data-chart]', (figures) => figures.map((figure) => {
        const image = figure.querySelector('img')!, plot = figure.querySelector('.plot')!;
        return { drawn: image.complete && image.naturalWidth >= 1200 && image.getBoundingClientRect().width > 400, canvas: getComputedStyle(plot).display };
      }));
      expect(printed.every(({ drawn, canvas }) => drawn && canvas === 'none')).toBe(true);
      expect((await page.pdf({ format: 'A4' })).length).toBeGreaterThan(20_000);
    } finally {
      await page.close();
    }
  });
});
