#!/usr/bin/env node
// Gathers BPF objects that others have made, for .ci/skeletons.mjs:
//   - from Debian packages: objects that lie in them, and those inside their binaries (a skeleton embeds its object, so that an ELF
//     file begins somewhere inside another one);
//   - from the kernel's selftests, where LINUX names a source tree and clang 19, libbpf's headers and vmlinux.h (in BPF_INCLUDE) are
//     there: those that its Makefile makes light skeletons of, and those that it links together.
//
//   node test/corpora/fetch.mjs [DIR]     default: node_modules/.cache/bpftwin-corpora
//
// DIR/NAME/*.bpf.o are the objects of each corpus, DIR/NAME/package which package they are of, DIR/selftests-linked.txt which of them are
// linked together. Needs apt-get and dpkg-deb for the packages. What is there already is kept; what cannot be had within its time is said and
// left out; nothing of it is part of this repository.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Debian's packages with BPF objects; libbpf-tools are the tools of BCC that use libbpf. */
const PACKAGES = ['libbpf-tools', 'xdp-tools', 'xdp-tests', 'libxdp1'];
/** Milliseconds for one package, and for the lists of packages. */
const PATIENCE = 30_000;
const ET_REL = 1;
const EM_BPF = 247;
const SHT_NOBITS = 8;

/** Bytes of the BPF object that begins at `at`, 0 where none does: as far as its section headers and sections reach. */
export function embeddedLength(bytes, at) {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  if (view.byteLength < 64 || view.getUint32(0) !== 0x7f454c46 || view.getUint8(4) !== 2) return 0;
  const little = view.getUint8(5) === 1;
  if (view.getUint16(16, little) !== ET_REL || view.getUint16(18, little) !== EM_BPF) return 0;
  const table = Number(view.getBigUint64(40, little));
  const count = view.getUint16(60, little);
  let end = table + 64 * count;
  if (view.getUint16(58, little) !== 64 || end > view.byteLength) return 0;
  for (let i = 0; i < count; i++) {
    const header = table + 64 * i;
    if (view.getUint32(header + 4, little) === SHT_NOBITS) continue;
    end = Math.max(end, Number(view.getBigUint64(header + 24, little)) + Number(view.getBigUint64(header + 32, little)));
  }
  return end <= view.byteLength ? end : 0;
}

/** Every BPF object inside a file, also the file itself. */
export function embeddedObjects(bytes) {
  const found = [];
  const magic = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = buffer.indexOf(magic); at >= 0; at = buffer.indexOf(magic, at + 1)) {
    const length = embeddedLength(bytes, at);
    if (length > 0) found.push(bytes.slice(at, at + length));
  }
  return found;
}

function filesIn(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return filesIn(path);
    return entry.isFile() && statSync(path).size > 64 ? [path] : [];
  });
}

/** The package's file; a machine that has no lists of packages yet fetches them once, where it may. */
function download(name, folder) {
  const attempt = () => execFileSync('apt-get', ['download', '-q', '-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=10', name], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], timeout: PATIENCE });
  try {
    attempt();
  } catch (error) {
    if (!/unable to locate|no packages found/i.test(error.stderr?.toString() ?? '') || lists.tried || process.getuid?.() !== 0) throw error;
    lists.tried = true;
    if (spawnSync('apt-get', ['update', '-qq', '-o', 'Acquire::http::Timeout=10'], { stdio: 'ignore', timeout: PATIENCE }).status !== 0) throw error;
    attempt();
  }
  return readdirSync(folder).find((file) => file.endsWith('.deb'));
}
const lists = { tried: false };

/** Whether the package could be had. */
function fetchPackage(name, out) {
  const tmp = mkdtempSync(join(tmpdir(), 'bpftwin-corpus-'));
  // Under its own name only when it is whole.
  const draft = join(out, `.${name}.${process.pid}`);
  try {
    const deb = download(name, tmp);
    execFileSync('dpkg-deb', ['-x', join(tmp, deb), join(tmp, 'root')], { timeout: PATIENCE });
    mkdirSync(draft, { recursive: true });
    writeFileSync(join(draft, 'package'), `${deb}\n`);
    const seen = new Set();
    let count = 0;
    for (const file of filesIn(join(tmp, 'root')).toSorted()) {
      for (const [i, object] of embeddedObjects(new Uint8Array(readFileSync(file))).entries()) {
        const digest = createHash('sha256').update(object).digest('hex');
        if (seen.has(digest)) continue;
        seen.add(digest);
        const stem = basename(file).replace(/(\.bpf)?\.o$/, '');
        writeFileSync(join(draft, `${stem}${i === 0 ? '' : `-${i}`}.bpf.o`), object);
        count++;
      }
    }
    renameSync(draft, join(out, name));
    console.log(`${name}: ${count} objects of ${deb}`);
    return true;
  } catch (error) {
    const why = error?.code === 'ETIMEDOUT' ? `no answer within ${PATIENCE / 1000} seconds` : error?.code === 'ENOENT' ? `no ${error.path ?? 'apt-get'} here` : error?.stderr?.toString().trim().split('\n').at(-1) || (error instanceof Error ? error.message.split('\n')[0] : error);
    console.log(`${name}: not fetched: ${why}`);
    return false;
  } finally {
    rmSync(tmp, { recursive: true, force: true });
    rmSync(draft, { recursive: true, force: true });
  }
}

/** A variable of the selftests' Makefile, with its continued lines. */
function makeVariable(text, name) {
  const [, value = ''] = new RegExp(`^${name} *:= *((?:.*\\\\\\n)*.*)$`, 'm').exec(text) ?? [];
  return value.replaceAll('\\\n', ' ').trim().split(/\s+/).filter((word) => word !== '');
}

function compileSelftests(linux, out) {
  const tests = join(linux, 'tools/testing/selftests/bpf');
  const text = readFileSync(join(tests, 'Makefile'), 'utf8');
  const light = [...makeVariable(text, 'LSKELS'), ...makeVariable(text, 'LSKELS_EXTRA'), ...makeVariable(text, 'LSKELS_SIGNED')].map((source) => source.replace(/\.c$/, ''));
  const linked = [...text.matchAll(/^(\S+)\.skel\.h-deps := (.*)$/gm)].map(([, name, members]) => ({ name, members: members.split(/\s+/).map((member) => member.replace(/\.bpf\.o$/, '')) }));
  const clang = process.env.CLANG ?? 'clang-19';
  const include = process.env.BPF_INCLUDE ?? join(process.env.HOME ?? '/root', '.cache/bpf-include');
  let ok = 0;
  const names = [...new Set([...light, ...linked.flatMap(({ members }) => members)])];
  mkdirSync(join(out, 'selftests'), { recursive: true });
  for (const name of names) {
    const object = join(out, 'selftests', `${name}.bpf.o`);
    // The helpers' declarations are made when libbpf is built; those of the system's libbpf do.
    const { status } = spawnSync(clang, ['-g', '-O2', '-mcpu=v3', '-target', 'bpf', '-D__TARGET_ARCH_x86', '-Wno-everything', '-fms-extensions', '-fno-strict-aliasing',
      '-I', include, '-I', tests, '-I', join(linux, 'tools/include/uapi'), '-I', join(linux, 'tools/lib'), '-idirafter', '/usr/include/bpf',
      '-idirafter', '/usr/include/x86_64-linux-gnu', '-idirafter', '/usr/include', '-c', join(tests, 'progs', `${name}.c`), '-o', object], { stdio: 'ignore' });
    if (status === 0) ok++;
    else rmSync(object, { force: true });
  }
  const has = (name) => existsSync(join(out, 'selftests', `${name}.bpf.o`));
  writeFileSync(join(out, 'selftests-light.txt'), light.filter(has).map((name) => `${name}\n`).join(''));
  writeFileSync(join(out, 'selftests-linked.txt'), linked.filter(({ members }) => members.length > 1 && members.every(has)).map(({ name, members }) => `${name} ${members.join(' ')}\n`).join(''));
  console.log(`selftests: ${ok} of ${names.length} objects compiled`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
  const out = process.argv[2] ?? join(root, 'node_modules/.cache/bpftwin-corpora');
  mkdirSync(out, { recursive: true });
  // Who gets nothing for the first has no network: the others would only cost their time.
  PACKAGES.filter((name) => !existsSync(join(out, name))).every((name) => fetchPackage(name, out));
  const { LINUX: linux } = process.env;
  if (existsSync(join(out, 'selftests-light.txt'))) console.log('selftests: compiled already');
  else if (linux === undefined || !existsSync(join(linux, 'tools/testing/selftests/bpf/Makefile'))) console.log('selftests: no kernel source, set LINUX to its folder');
  else compileSelftests(linux, out);
}
