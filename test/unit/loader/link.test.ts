/**
 * Linked objects against what bpftool wrote for the same inputs (test/fixtures/link), and properties that need no reference.
 */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { linkObjects } from '../../../loader/link/linker.ts';
import { openObject } from '../../../loader/object/open.ts';
import { generateLoader } from '../../../loader/gen/gen-loader.ts';
import { fixturePath } from './fixtures.ts';

interface LinkSet {
  readonly name: string;
  readonly members: readonly string[];
}

const SETS: LinkSet[] = readFileSync(fixturePath('link/sets.txt'), 'utf8').trim().split('\n').flatMap((line) => {
  const [name = '', ...members] = line.split(' ');
  return ['', '-be'].map((order) => ({ name: name + order, members: members.map((member) => `${member}${order}.o`) }));
});
const read = (file: string): Uint8Array => readFileSync(fixturePath(`link/objects/${file}`));
const link = (members: readonly string[]): Uint8Array => linkObjects(members.map((file) => ({ file, bytes: read(file) })));

function reasonOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error.reason;
    throw error;
  }
  return 'no error';
}

/** The offset of a variable that was declared before it was defined is right only after a second link; the kernel's own tests link thrice. */
const linkTwice = (members: readonly string[]): Uint8Array => linkObjects([{ file: 'once.o', bytes: link(members) }]);

describe('linked objects', () => {
  it.each(SETS)('$name is what bpftool makes of it', ({ name, members }) => {
    const wanted = fixturePath(`link/linked/${name}.o`);
    if (!existsSync(wanted)) {
      expect(reasonOf(() => link(members))).toBe(readFileSync(fixturePath(`link/linked/${name}.err`), 'utf8').trim());
      return;
    }
    expect(Buffer.compare(link(members), readFileSync(wanted))).toBe(0);
  });

  it('linked again are the same', () => {
    const once = link(['main.o', 'geometry.o', 'library.o']);
    const twice = linkObjects([{ file: 'once.o', bytes: once }]);
    const thrice = linkObjects([{ file: 'twice.o', bytes: twice }]);
    expect(Buffer.compare(twice, thrice)).toBe(0);
  });

  it('load as one: programs of both objects, and the definition of a map that one only declares', () => {
    const object = openObject(linkTwice(['main.o', 'geometry.o']), 'linked.o', 'linked');
    expect(object.programs.map(({ name }) => name)).toEqual(expect.arrayContaining(['classify', 'traced', 'second', 'third', 'area_of', 'twice']));
    expect(object.maps.filter(({ kind }) => kind === 'user').map(({ name }) => name)).toEqual(['shapes', 'points']);
  });

  it('linked once place such a variable as libbpf does, and fail as there', () => {
    expect(reasonOf(() => openObject(link(['main.o', 'geometry.o']), 'linked.o', 'linked'))).toBe("prog 'classify': map relo failed to find map for section '.maps', off 32");
  });

  it('keep statics of one name apart', () => {
    const object = openObject(linkTwice(['main.o', 'geometry.o']), 'linked.o', 'linked');
    const helpers = object.programs.filter(({ name }) => name === 'helper');
    expect(helpers.map(({ ownLength }) => ownLength)).toHaveLength(2);
    expect(generateLoader(object, { configuration: 'CONFIG_BPF_JIT=y\nCONFIG_HZ=250\n' }).instructions.length).toBeGreaterThan(0);
  });

  it('are not made of objects of two byte orders', () => {
    expect(reasonOf(() => link(['main.o', 'geometry-be.o']))).toBe('byte order mismatch with ELF file geometry-be.o');
  });

  it("leave the caller's bytes alone", () => {
    const bytes = read('geometry.o');
    const copy = Uint8Array.from(bytes);
    linkObjects([{ file: 'a.o', bytes }, { file: 'b.o', bytes: read('main.o') }]);
    expect(Buffer.compare(bytes, copy)).toBe(0);
  });
});
