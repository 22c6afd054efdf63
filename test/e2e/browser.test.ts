/**
 * The library in a browser: bundled by Vite, loaded by a page in headless Chromium, with no Node anywhere. A skeleton is run and
 * judged there as here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCertificates } from '../../src/certificates.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { runSkeleton } from '../../src/run.ts';
import { fixture, fixturePath } from '../unit/loader/fixtures.ts';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const ROOT = join(import.meta.dirname, '../..');
const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** The page's own script; kernel and file are in its address. */
const SCRIPT = `
import { parseLightSkeleton, readCertificates, runSkeleton } from '/bpftwin.js';
const query = new URLSearchParams(location.search), file = query.get('file');
const fetched = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
const btf = await fetched('/vmlinux.btf'), certificates = readCertificates(await fetched('/rsa2048.crt'), 'rsa2048.crt');
globalThis.report = JSON.stringify(runSkeleton(parseLightSkeleton(await fetched(file), file), { kernel: query.get('kernel'), certificates, kernelBTF: () => btf }));
`;

async function bundle(): Promise<string> {
  const result = await build({
    root: ROOT, configFile: false, logLevel: 'silent', publicDir: false,
    build: { write: false, minify: false, lib: { entry: join(ROOT, 'src/index.ts'), formats: ['es'], fileName: 'bpftwin' } },
  });
  const [{ output } = { output: [] }] = Array.isArray(result) ? result : [result as { output: { type: string; code?: string }[] }];
  return (output as { type: string; code?: string }[]).find(({ type }) => type === 'chunk')?.code ?? '';
}

if (CHROMIUM === undefined) process.stderr.write('no Chromium on this machine: the library is not tried in a browser\n');

describe.runIf(CHROMIUM !== undefined)('in a browser', () => {
  let server: Server, browser: Browser, code = '';

  beforeAll(async () => {
    code = await bundle();
    const files: Record<string, () => Uint8Array | string> = {
      '/': () => `<!doctype html><title>bpftwin</title><link rel="icon" href="data:,"><script type="module">${SCRIPT}</script>`, '/bpftwin.js': () => code, '/vmlinux.btf': () => loadKernelBTF(),
      '/rsa2048.crt': () => readFileSync(fixturePath('keys/rsa2048.crt')),
    };
    server = createServer((request, response) => {
      const path = new URL(request.url ?? '/', 'http://localhost').pathname, file = files[path] ?? (/^\/[\w./-]+\.lskel\.h$/.test(path) && !path.includes('..') ? () => readFileSync(fixturePath(path.slice(1))) : undefined);
      response.writeHead(file === undefined ? 404 : 200, { 'content-type': path.endsWith('.js') ? 'text/javascript' : path === '/' ? 'text/html' : 'application/octet-stream' });
      response.end(file?.());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    browser = await chromium.launch({ executablePath: CHROMIUM ?? '', args: QUIET });
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  it('needs nothing of Node', () => {
    expect(code.length).toBeGreaterThan(100_000);
    expect(code.match(/(?:from|import\()\s*["'](?:node:)?\w+["']/g)).toBeNull();
  });

  it.each([['7.3', 'signed/programs.lskel.h'], ['7.3', 'signed/rejected.lskel.h'], ['7.3', 'signed/globals.p256.lskel.h'], ['6.18', 'in-loader-check/onemap.lskel.h']] as const)(
    'on %s %s comes out as it does here', async (kernel, file) => {
      const page = await browser.newPage();
      page.on('console', (message) => process.stderr.write(`${message.text()}\n`));
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/?${new URLSearchParams({ kernel, file: `/${file}` }).toString()}`);
      const there = await Promise.race([
        page.waitForFunction('globalThis.report').then(async (handle) => await handle.jsonValue() as string),
        page.waitForEvent('pageerror').then((error) => { throw error; }),
      ]);
      await page.close();
      const certificates = readCertificates(readFileSync(fixturePath('keys/rsa2048.crt')), 'rsa2048.crt');
      const here = runSkeleton(fixture(file), { kernel, certificates, kernelBTF: () => loadKernelBTF() });
      expect(JSON.parse(there)).toEqual(JSON.parse(JSON.stringify(here)));
    }, 60_000);
});
