import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openLog } from '../../../loader/object/open-log.ts';
import { openObject } from '../../../loader/object/open.ts';
import { generateSkeleton, generateSubskeleton } from '../../../src/gen.ts';
import { bpftwin } from '../cli/harness.ts';
import { fixturePath } from './fixtures.ts';

/** Every object that bpftool's answer was recorded for: of the fixtures, and of the loader's tests. */
const NAMES = readdirSync(fixturePath('skeletons')).flatMap((file) => (file.endsWith('.skel.h') ? [file.slice(0, -'.skel.h'.length)] : [])).toSorted();
const pathOf = (name: string): string => {
  const own = fixturePath(`objects/${name}.bpf.o`);
  return existsSync(own) ? own : fixturePath(`../unit/loader/data/${name}.bpf.o`);
};
const object = (name: string): Uint8Array => readFileSync(pathOf(name));
const want = (file: string): string => readFileSync(fixturePath(`skeletons/${file}`), 'utf8');
const ident = (name: string): string => name.replaceAll('-', '_');

describe('headers for libbpf are written byte for byte as bpftool does', () => {
  it('for as many objects as ever', () => {
    expect(NAMES.length).toBeGreaterThanOrEqual(22);
  });

  it.each(NAMES)('%s', (name) => {
    expect(generateSkeleton(object(name), name, { name: ident(name) }) === want(`${name}.skel.h`)).toBe(true);
  });

  it.each(NAMES)('%s (subskeleton)', (name) => {
    expect(generateSubskeleton(object(name), name, { name: ident(name) }) === want(`${name}.subskel.h`)).toBe(true);
  });

  it('from a Buffer as from plain bytes, which are not written to', () => {
    const bytes = readFileSync(pathOf('globals'));
    const copy = Uint8Array.from(bytes);
    expect(generateSkeleton(bytes, 'a.o', { name: 'globals' })).toBe(generateSkeleton(copy, 'a.o', { name: 'globals' }));
    expect(Buffer.compare(bytes, copy)).toBe(0);
  });
});

describe('what libbpf says with debugging on', () => {
  it.each(NAMES)('%s', (name) => {
    const said = openLog(openObject(object(name), name, ident(name))).map((line) => `libbpf: ${line}\n`).join('');
    expect(said).toBe(want(`${name}.log`));
  });
});

describe('the command', () => {
  it('says so on standard error with -d', async () => {
    const { status, stdout, stderr } = await bpftwin(['-d', 'gen', 'skeleton', pathOf('globals'), 'name', 'globals']);
    expect([status, stdout === want('globals.skel.h'), stderr]).toEqual([0, true, want('globals.log')]);
  });

  it('prints the header, named after the file or as told', async () => {
    const named = await bpftwin(['gen', 'skeleton', pathOf('globals'), 'name', 'globals']);
    expect([named.status, named.stdout === want('globals.skel.h'), named.stderr]).toEqual([0, true, '']);
    const { stdout } = await bpftwin(['gen', 'skeleton', pathOf('globals')]);
    expect(stdout).toContain('\nstruct globals_bpf {\n');
  });

  it('prints a subskeleton, which has no loader', async () => {
    const { status, stdout } = await bpftwin(['gen', 'subskeleton', pathOf('globals'), 'n', 'globals']);
    expect([status, stdout === want('globals.subskel.h')]).toEqual([0, true]);
    const refused = await bpftwin(['gen', 'subskeleton', '-L', pathOf('globals')]);
    expect([refused.status, refused.stderr]).toEqual([2, 'bpftwin: cannot use loader for subskeletons\n']);
  });

  it.each([
    [['gen', 'skeleton', 'OBJECT', 'name'], "'name' needs at least 1 argument, 0 found"],
    [['gen', 'skeleton', 'OBJECT', 'names', 'a'], 'unknown arg names'],
    [['gen', 'subskeleton', fixturePath('keys/rsa2048.crt')], 'is not a proper ELF object'],
  ])('refuses %j', async (words, reason) => {
    const { status, stdout, stderr } = await bpftwin(words.map((word) => (word === 'OBJECT' ? pathOf('globals') : word)));
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(reason);
  });
});
