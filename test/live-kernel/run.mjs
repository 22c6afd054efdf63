#!/usr/bin/env node
// Runs generated TypeScript skeletons on a real kernel, which QEMU boots with Node.js as its only process, and compares what comes of it
// with our kernel: maps and programs as the kernel describes them, results of runs, global variables, what is attached and what it counts.
//   node test/live-kernel/run.mjs BZIMAGE [koffi's folder]     or with the image in BPFTWIN_KERNEL
// Needs qemu-system-x86_64 and koffi (npm install --no-save koffi). What is missing is said, and nothing is compared then (status 0).
// The certificates of the test key and the modules come from this repository; the programs' sources are *.bpf.c here and in test/fixtures/src.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, lstatSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { inflateSync } from 'node:zlib';
import { build } from 'vite';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const QEMU = 'qemu-system-x86_64';
const BOOT_SECONDS = 600;
const FILE = 0o100644, PROGRAM = 0o100755, FOLDER = 0o040755, DEVICE = 0o020600;

function skip(reason) {
  console.log(`skeletons on a real kernel: not compared: ${reason}`);
  process.exit(0);
}

const image = process.argv[2] ?? process.env.BPFTWIN_KERNEL;
if (image === undefined) skip('no kernel image given');
if (!existsSync(image)) skip(`no such image: ${image}`);
if (process.platform !== 'linux' || process.arch !== 'x64') skip(`this is ${process.platform} on ${process.arch}`);
if (spawnSync(QEMU, ['--version']).error !== undefined) skip(`${QEMU} is not installed`);
const koffi = findKoffi(process.argv[3]);
if (koffi === undefined) skip('koffi is not installed (npm install --no-save koffi)');

function findKoffi(folder) {
  const require = createRequire(folder === undefined ? import.meta.url : pathToFileURL(join(folder, 'x.js')));
  try {
    const main = dirname(require.resolve('koffi'));
    const native = dirname(createRequire(join(main, 'x.js')).resolve('@koromix/koffi-linux-x64'));
    return { main, native };
  } catch { return undefined; }
}

/** One file for each entry, with everything in it but koffi. */
async function bundle(out) {
  const common = { root, configFile: false, logLevel: 'error', publicDir: false, ssr: { noExternal: true } };
  for (const entry of ['guest', 'scenario']) {
    await build({
      ...common,
      build: { ssr: join(here, `${entry}.ts`), outDir: out, emptyOutDir: false, minify: false, target: 'node20', rollupOptions: { external: ['koffi'], output: { entryFileNames: `${entry}.mjs` } } },
    });
  }
}

// --- the archive that the machine boots from

function filesOf(folder, at) {
  return readdirSync(folder).toSorted().flatMap((name) => {
    const path = join(folder, name), target = join(at, name);
    if (lstatSync(path).isDirectory()) return [{ name: target, mode: FOLDER, bytes: Buffer.alloc(0) }, ...filesOf(path, target)];
    return [{ name: target, mode: FILE, bytes: readFileSync(path) }];
  });
}

/** The shared libraries of a program, with its loader, where it looks for them. */
function librariesOf(program) {
  const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' });
  return [...stdout.matchAll(/(\/\S+)/g)].map(([, path]) => path);
}

function withFolders(entries) {
  const folders = new Set(entries.filter(({ mode }) => mode === FOLDER).map(({ name }) => name));
  const made = [];
  for (const { name } of entries) {
    const parts = name.split('/').slice(0, -1);
    for (let i = 1; i <= parts.length; i++) {
      const folder = parts.slice(0, i).join('/');
      if (!folders.has(folder)) made.push({ name: folder, mode: FOLDER, bytes: Buffer.alloc(0) });
      folders.add(folder);
    }
  }
  return [...made, ...entries];
}

async function archive(work) {
  const { cpioArchive } = await import(pathToFileURL(join(work, 'archive.mjs')));
  const libraries = [...new Set([...librariesOf(process.execPath), ...librariesOf(findAddon())])];
  return cpioArchive(withFolders([
    { name: 'dev', mode: FOLDER, bytes: Buffer.alloc(0) }, { name: 'dev/console', mode: DEVICE, bytes: Buffer.alloc(0), device: [5, 1] },
    { name: 'dev/null', mode: DEVICE, bytes: Buffer.alloc(0), device: [1, 3] }, { name: 'dev/urandom', mode: DEVICE, bytes: Buffer.alloc(0), device: [1, 9] },
    { name: 'init', mode: PROGRAM, bytes: Buffer.from("#!/bin/node\nimport('/app/guest.mjs').catch((error) => { console.error(error); process.exit(1); });\n") },
    { name: 'bin/node', mode: PROGRAM, bytes: readFileSync(process.execPath) },
    ...libraries.map((path) => ({ name: path.slice(1), mode: PROGRAM, bytes: readFileSync(path) })),
    { name: 'certificate.der', mode: FILE, bytes: readFileSync(join(root, 'test/fixtures/keys/rsa2048.der')) },
    { name: 'app/guest.mjs', mode: FILE, bytes: readFileSync(join(work, 'guest.mjs')) },
    ...filesOf(koffi.main, 'app/node_modules/koffi'), ...filesOf(koffi.native, 'app/node_modules/@koromix/koffi-linux-x64'),
  ]));
}

function findAddon() {
  const addon = filesIn(koffi.native).find((path) => path.endsWith('.node') && !path.includes('musl'));
  if (addon === undefined) skip("koffi has no addon for this machine");
  return addon;
}

function filesIn(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

// --- the machine

async function boot(work, accelerator) {
  const args = [
    '-nodefaults', '-no-reboot', '-m', '2048', '-smp', '2', ...accelerator, '-kernel', image, '-initrd', join(work, 'initrd'), '-display', 'none',
    '-serial', `file:${join(work, 'console')}`, '-serial', `file:${join(work, 'answers')}`, '-append', 'console=ttyS0 panic=-1 quiet oops=panic nowatchdog rdinit=/init lsm=capability,bpf',
  ];
  await new Promise((resolve, reject) => {
    const child = spawn(QEMU, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), 1000 * BOOT_SECONDS);
    child.once('error', reject);
    child.once('exit', () => { clearTimeout(timer); resolve(); });
  });
  return existsSync(join(work, 'answers')) ? readFileSync(join(work, 'answers'), 'utf8') : '';
}

async function ask(work) {
  const accelerators = [...(existsSync('/dev/kvm') ? [['-accel', 'kvm', '-cpu', 'host']] : []), ['-accel', 'tcg,thread=multi', '-cpu', 'max']];
  for (const accelerator of accelerators) {
    const text = await boot(work, accelerator);
    if (text !== '' || accelerator === accelerators.at(-1)) return new Map(text.replaceAll('\r', '').split('\n').filter((line) => line.startsWith('[') && line.endsWith(']')).map((line) => JSON.parse(line)));
  }
  return new Map();
}

// --- the comparison

let compared = 0, different = 0;
function same(what, got, want) {
  compared++;
  if (JSON.stringify(got) === JSON.stringify(want)) return;
  different++;
  console.log(`${what}: ours\n  ${JSON.stringify(got)}\nthe real kernel's\n  ${JSON.stringify(want)}`);
}

const work = mkdtempSync(join(tmpdir(), 'bpftwin-live-'));
try {
  await bundle(work);
  await build({ root, configFile: false, logLevel: 'error', publicDir: false, build: { ssr: join(root, 'src/node/kernel-machine.ts'), outDir: work, emptyOutDir: false, rollupOptions: { output: { entryFileNames: 'archive.mjs' } } } });
  writeFileSync(join(work, 'initrd'), await archive(work));
  const told = await ask(work);
  if (told.get('done') !== true) {
    console.error(`the machine did not finish: ${JSON.stringify([...told.keys()])}; its console ends:\n${existsSync(join(work, 'console')) ? readFileSync(join(work, 'console'), 'latin1').slice(-3000) : ''}`);
    process.exitCode = 1;
  } else {
    const release = told.get('kernel');
    const { accountsHere } = await import(pathToFileURL(join(work, 'scenario.mjs')));
    if (process.env.BPFTWIN_KEEP !== undefined) writeFileSync(join(work, 'told.json'), JSON.stringify([...told], undefined, 1));
    const ours = accountsHere(readFileSync(join(root, 'test/fixtures/keys/rsa2048.der')), new Uint8Array(inflateSync(Buffer.from(told.get('types'), 'base64'))));
    const theirs = told.get('common');
    for (const name of new Set([...Object.keys(ours), ...Object.keys(theirs)])) same(name, ours[name], theirs[name]);
    const { probes, tracing, congestion, lsm } = Object.fromEntries(told);
    const names = ['kprobe', 'kretprobe', 'ksyscall', 'kprobe_multi', 'pattern', 'uprobe', 'uretprobe', 'uprobe_multi', 'tracepoint', 'raw_tracepoint', 'fentry'];
    same('probes, attached', { attached: names.map((name) => `on_${name}`), skipped: [], counted: names.map((name) => `by_${name}`), once: '1', isStill: true }, probes);
    same('tracing, attached', { attached: ['before', 'after', 'switched', 'maps'], skipped: [], opens: '1', failures: '0' }, tracing);
    same('congestion, attached', {
      attached: ['linked', 'plain'], skipped: ['keep', 'grow', 'undo'], before: [], during: ['twin_linked', 'twin_plain'], withoutLink: ['twin_plain'], after: [],
    }, congestion);
    same('lsm, attached', { attached: ['admit', 'watch', 'opened'], skipped: [] }, lsm);
    console.log(`skeletons on a real kernel (${release}, ${basename(image)}): ${compared - different} of ${compared} accounts are equal`);
    if (different > 0) process.exitCode = 1;
  }
} finally {
  if (process.env.BPFTWIN_KEEP === undefined) rmSync(work, { recursive: true, force: true });
  else console.log(work);
}
