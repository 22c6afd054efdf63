#!/usr/bin/env node
// Compares what we generate from BPF objects with what bpftool of Linux 7.3 makes of them, byte for byte, or with what it says where it
// refuses: light skeletons (gen skeleton -L), skeletons, subskeletons, linked objects (gen object) and types (btf dump). Needs a build.
//   node .ci/skeletons.mjs           fails where anything differs, or fewer fixtures agree than did (.ci/skeletons.json)
//   node .ci/skeletons.mjs --raise   also raises the floors to what is reached (they are never lowered)
//   node .ci/skeletons.mjs --fetch   first fetches what is missing (test/corpora/fetch.mjs)
// The fixtures have recorded answers and are always compared. Other objects need the tool itself: BPFTOOL, or ../shared/toolchain/bpftool
// beside the checkout; they are looked for in node_modules/.cache/bpftwin-corpora, or CORPORA. What is not there is said. Floors of packages hold
// for the version that they were raised with.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { dumpBTF } from '../dist/src/btf.js';
import { generateLightSkeleton, generateSkeleton, generateSubskeleton } from '../dist/src/gen.js';
import { readBTFFile } from '../dist/src/node/kernel-btf.js';
import { readPrivateKey } from '../dist/crypto/private-key.js';
import { signDetached } from '../dist/crypto/sign.js';
import { possibleCPUs } from '../dist/src/cli/host.js';
import { defaultObjectName } from '../dist/loader/gen/skeleton-model.js';
import { linkObjects } from '../dist/loader/link/linker.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const fixtures = join(root, 'test/fixtures');
const floorsFile = join(root, '.ci/skeletons.json');
const corpora = process.env.CORPORA ?? join(root, 'node_modules/.cache/bpftwin-corpora');
const tool = process.env.BPFTOOL ?? join(root, '../shared/toolchain/bpftool');
const read = (file) => new Uint8Array(readFileSync(file));
const text = (file) => readFileSync(file, 'latin1');
const list = (dir, ending) => (existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith(ending)).toSorted().map((name) => join(dir, name)) : []);

/** bpftool reads some facts from the machine that it runs on. */
function machine() {
  const attempt = (action) => { try { return action(); } catch { return undefined; } };
  const [major = 0, minor = 0, patch = 0] = (release().match(/\d+/g) ?? []).map(Number);
  const facts = {
    possibleCPUs: possibleCPUs(), kernelVersion: (major << 16) | (minor << 8) | Math.min(patch, 255),
    kallsyms: attempt(() => text('/proc/kallsyms')),
    configuration: attempt(() => text(`/boot/config-${release()}`)) ?? attempt(() => gunzipSync(read('/proc/config.gz')).toString('latin1')),
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}

// --- outcomes: { output } or { refused: lines }; bpftool may also crash

const own = (action) => {
  try {
    const made = action();
    // Texts have one character a byte.
    return { output: typeof made === 'string' ? latin1(made) : Buffer.from(made) };
  } catch (error) {
    if (error?.name !== 'InputError') throw error;
    return { refused: [error.reason] };
  }
};
const types = (file, format) => own(() => [...dumpBTF({ ...readBTFFile(file), file }, { format })].join(''));
const libbpfLines = (stderr) => stderr.split('\n').flatMap((line) => (line.startsWith('libbpf: ') ? [line.slice(8)] : []));
function bpftool(args, outputFile) {
  const { status, signal, stdout, stderr } = spawnSync(tool, args, { maxBuffer: 1 << 28 });
  if (signal !== null) return { crashed: signal };
  if (status !== 0) return { refused: libbpfLines(stderr.toString('latin1')) };
  return { output: outputFile === undefined ? stdout : readFileSync(outputFile) };
}

/** equal: the same bytes; refused: both refuse, and ours gives a line of libbpf's, or libbpf has none; crash: bpftool crashes. */
function verdict(got, want) {
  if (want.crashed !== undefined) return `crash ${want.crashed}`;
  if (want.output !== undefined) return got.output !== undefined && Buffer.compare(got.output, want.output) === 0 ? 'equal' : 'DIFFERENT';
  if (got.refused === undefined) return 'DIFFERENT';
  return want.refused.length === 0 || want.refused.some((line) => got.refused.some((reason) => reason.includes(line))) ? 'refused' : 'OTHER MESSAGE';
}

class Tally {
  rows = new Map();

  add(corpus, what, name, outcome) {
    const key = `${corpus} ${what}`;
    const row = this.rows.get(key) ?? { corpus, what, objects: 0, equal: 0, refused: 0, crashes: [], wrong: [] };
    this.rows.set(key, row);
    row.objects++;
    if (outcome === 'equal' || outcome === 'refused') row[outcome]++;
    else if (outcome.startsWith('crash')) row.crashes.push(`${name} (${outcome.slice(6)})`);
    else row.wrong.push(`${name}: ${outcome}`);
  }
}

const tally = new Tally();

// --- the fixtures, against recorded answers

const latin1 = (value) => Buffer.from(value, 'latin1');
for (const file of list(join(fixtures, 'objects'), '.bpf.o')) {
  const name = basename(file, '.bpf.o');
  const want = join(fixtures, 'unsigned', `${name}.lskel.h`);
  if (existsSync(want)) tally.add('fixtures', 'gen skeleton -L', name, verdict(own(() => generateLightSkeleton(read(file), file, { name })), { output: latin1(text(want)) }));
}
for (const file of [...list(join(fixtures, 'objects'), '.bpf.o'), ...list(join(root, 'test/unit/loader/data'), '.bpf.o')]) {
  const stem = basename(file, '.bpf.o');
  const name = stem.replaceAll('-', '_');
  const light = file.replace(/\.bpf\.o$/, '.lskel.h');
  if (existsSync(light)) tally.add('fixtures', 'gen skeleton -L', stem, verdict(own(() => generateLightSkeleton(read(file), file, { name })), { output: latin1(text(light)) }));
  for (const [what, ending, make] of [['gen skeleton', 'skel.h', generateSkeleton], ['gen subskeleton', 'subskel.h', generateSubskeleton]]) {
    const want = join(fixtures, 'skeletons', `${stem}.${ending}`);
    if (existsSync(want)) tally.add('fixtures', what, stem, verdict(own(() => make(read(file), file, { name })), { output: latin1(text(want)) }));
  }
}
for (const file of [...list(join(fixtures, 'objects'), '.bpf.o'), ...list(join(root, 'test/unit/loader/data'), '.bpf.o')]) {
  for (const [format, ending] of [['c', 'h'], ['raw', 'txt']]) {
    const want = join(fixtures, 'types', `${basename(file, '.bpf.o')}.${ending}`);
    if (existsSync(want)) tally.add('fixtures', `btf dump format ${format}`, basename(file, '.bpf.o'), verdict(types(file, format), { output: readFileSync(want) }));
  }
}
for (const file of list(join(fixtures, 'signed'), '.lskel.h')) {
  // ECDSA signatures are different every time.
  const [name, key = 'rsa2048'] = basename(file, '.lskel.h').split('.');
  if (!key.startsWith('rsa')) continue;
  const object = join(fixtures, 'objects', `${name}.bpf.o`);
  const privateKey = readPrivateKey(read(join(fixtures, 'keys', `${key}.pem`)), key);
  const sign = (parts) => signDetached(parts, privateKey, read(join(fixtures, 'keys', `${key}.der`)), { file: key });
  tally.add('fixtures', 'gen skeleton -L -S', basename(file, '.lskel.h'), verdict(own(() => generateLightSkeleton(read(object), object, { name, sign })), { output: latin1(text(file)) }));
}
for (const line of text(join(fixtures, 'link/sets.txt')).trim().split('\n')) {
  const [set, ...members] = line.split(' ');
  for (const order of ['', '-be']) {
    const sources = members.map((member) => ({ file: `${member}${order}.o`, bytes: read(join(fixtures, 'link/objects', `${member}${order}.o`)) }));
    const result = join(fixtures, 'link/linked', `${set}${order}`);
    const want = existsSync(`${result}.o`) ? { output: readFileSync(`${result}.o`) } : { refused: text(`${result}.err`).trim().split('\n') };
    tally.add('fixtures', 'gen object', `${set}${order}`, verdict(own(() => linkObjects(sources)), want));
  }
}

// --- other people's objects, against the tool

if (process.argv.includes('--fetch') && existsSync(tool)) spawnSync(process.execPath, [join(root, 'test/corpora/fetch.mjs'), corpora], { stdio: 'inherit', timeout: 180_000 });
const found = existsSync(corpora) ? readdirSync(corpora, { withFileTypes: true }).filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map(({ name }) => name).toSorted() : [];
if (!existsSync(tool)) console.log(`no reference tool (${tool}): only the fixtures are compared`);
else if (found.length === 0) console.log(`no other objects in ${corpora} (fetch them with --fetch): only the fixtures are compared`);
else compareCorpora();

function compareCorpora() {
  const tmp = mkdtempSync(join(tmpdir(), 'bpftwin-skeletons-'));
  const linked = join(tmp, 'linked.o');
  const facts = machine();
  try {
    for (const corpus of found) {
      for (const file of list(join(corpora, corpus), '.bpf.o')) {
        const short = basename(file);
        const name = defaultObjectName(file);
        const compare = (what, got, want) => tally.add(corpus, what, short, verdict(got, want));
        compare('gen skeleton -L', own(() => latin1(generateLightSkeleton(read(file), file, { name, ...facts }))), bpftool(['gen', 'skeleton', '-L', file]));
        compare('gen skeleton', own(() => generateSkeleton(read(file), file, { name })), bpftool(['gen', 'skeleton', file]));
        compare('gen subskeleton', own(() => generateSubskeleton(read(file), file, { name })), bpftool(['gen', 'subskeleton', file]));
        for (const format of ['c', 'raw']) compare(`btf dump format ${format}`, types(file, format), bpftool(['btf', 'dump', 'file', file, 'format', format]));
        compare('gen object', own(() => linkObjects([{ file, bytes: read(file) }])), bpftool(['gen', 'object', linked, file], linked));
      }
      const sets = join(corpora, `${corpus}-linked.txt`);
      for (const line of existsSync(sets) ? text(sets).trim().split('\n') : []) {
        const [set, ...members] = line.split(' ');
        const files = members.map((member) => join(corpora, corpus, `${member}.bpf.o`));
        tally.add(corpus, 'gen object, several', set, verdict(own(() => linkObjects(files.map((file) => ({ file, bytes: read(file) })))), bpftool(['gen', 'object', linked, ...files], linked)));
      }
      const light = join(corpora, `${corpus}-light.txt`);
      for (const stem of existsSync(light) ? text(light).trim().split('\n') : []) {
        const file = join(corpora, corpus, `${stem}.bpf.o`);
        const name = `${stem}_lskel`;
        tally.add(corpus, "the Makefile's light skeletons", stem, verdict(own(() => latin1(generateLightSkeleton(read(file), file, { name, ...facts }))), bpftool(['gen', 'skeleton', '-L', file, 'name', name])));
      }
    }
  } finally {
    rmSync(tmp, { recursive: true, force: true });
  }
}

// --- the table and the floors

/** A package's floors are those of its version. */
const floorOf = (corpus, what) => {
  const version = join(corpora, corpus, 'package');
  return corpus !== 'fixtures' && existsSync(version) ? `${text(version).trim()}: ${what}` : `${corpus}: ${what}`;
};
const floors = existsSync(floorsFile) ? JSON.parse(readFileSync(floorsFile, 'utf8')) : {};
let failed = false;
console.log('| objects | command | compared | equal | both refuse | bpftool crashes | different |\n|---|---|---:|---:|---:|---:|---:|');
for (const { corpus, what, objects, equal, refused, crashes, wrong } of tally.rows.values()) {
  console.log(`| ${corpus} | ${what} | ${objects} | ${equal} | ${refused} | ${crashes.length} | ${wrong.length} |`);
}
for (const { corpus, what, equal, refused, crashes, wrong } of tally.rows.values()) {
  const key = `${corpus}: ${what}`;
  if (crashes.length > 0) console.log(`${key}: bpftool crashes on ${crashes.join(', ')}`);
  for (const line of wrong) console.log(`${key}: ${line}`);
  const reached = equal + refused;
  const floor = floorOf(corpus, what);
  if (reached < (floors[floor] ?? 0)) { failed = true; console.log(`BELOW THE FLOOR: ${floor}: ${reached}, floor ${floors[floor]}`); }
  if (wrong.length > 0) failed = true;
  // How many objects a package has changes with its version.
  if (process.argv.includes('--raise') && (corpus === 'fixtures' || floor !== key)) floors[floor] = Math.max(reached, floors[floor] ?? 0);
}
if (process.argv.includes('--raise')) writeFileSync(floorsFile, `${JSON.stringify(floors, undefined, 1)}\n`);
process.exitCode = failed ? 1 : 0;
