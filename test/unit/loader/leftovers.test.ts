/**
 * What libbpf leaves out of an object although it succeeds, and what it asks of objects that are only read for their types. The
 * recordings are bpftool's (`data/make.sh`).
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { linkObjects } from '../../../loader/link/linker.ts';
import { parseELF } from '../../../loader/object/elf.ts';
import { openObject } from '../../../loader/object/open.ts';
import { generateLightSkeleton, generateSkeleton } from '../../../src/gen.ts';
import { readBTFFile } from '../../../src/node/kernel-btf.ts';
import { bpftwin, temporary } from '../cli/harness.ts';
import { fixturePath } from './fixtures.ts';

const path = (file: string): string => fixturePath(`../unit/loader/data/${file}`);
const text = (file: string): string => readFileSync(file, 'latin1');
const read = (file: string): Uint8Array => new Uint8Array(readFileSync(file));
const core = fixturePath('objects/core.bpf.o');
const sectionLines = (notes: string): string => notes.split('\n').filter((line) => line.includes(': elf: ')).map((line) => `${line}\n`).join('');

/** The object with its section headers changed: each as a view of its 64 bytes, by index. */
function withHeaders(file: string, change: (header: (index: number) => DataView, indexOf: (name: string) => number) => void): Uint8Array {
  const bytes = read(file);
  const view = new DataView(bytes.buffer);
  const table = Number(view.getBigUint64(40, true));
  const { sections } = parseELF(read(file), file);
  change((index) => new DataView(bytes.buffer, table + 64 * index, 64), (name) => sections.findIndex((section) => section.name === name));
  return bytes;
}

describe('libbpf says what it leaves out', () => {
  it.each(['leftovers', 'gcc', 'gcc-be'])('%s, in a light skeleton', async (name) => {
    const words = [path(`${name}.bpf.o`), 'name', name.replaceAll('-', '_')];
    const light = await bpftwin(['gen', 'skeleton', '-L', ...words]);
    expect([light.status, light.stdout === text(path(`${name}.lskel.h`)), light.stderr]).toEqual([0, true, text(path(`${name}.notes`))]);
    const signed = await bpftwin(['gen', 'skeleton', '-L', '-S', '-k', fixturePath('keys/rsa2048.pem'), '-i', fixturePath('keys/rsa2048.crt'), ...words]);
    expect([signed.status, signed.stderr]).toEqual([0, text(path(`${name}.notes`))]);
  });

  it.each(['leftovers', 'gcc', 'gcc-be'])('%s, in a skeleton and a subskeleton', async (name) => {
    for (const form of ['skeleton', 'subskeleton']) {
      const { status, stderr } = await bpftwin(['gen', form, path(`${name}.bpf.o`)]);
      expect([status, stderr]).toEqual([0, sectionLines(text(path(`${name}.notes`)))]);
    }
  });

  it('not where it fails, which is one line', async () => {
    const bytes = withHeaders(path('leftovers.bpf.o'), (header, indexOf) => header(indexOf('xdp')).setBigUint64(32, 12n, true));
    const { status, stdout, stderr } = await bpftwin(['gen', 'skeleton', temporary('a.bpf.o', bytes)]);
    expect([status, stdout, stderr.split('\n').length]).toEqual([2, '', 2]);
  });

  it('also of types that it cannot read and does not need', () => {
    const bytes = withHeaders(path('leftovers.bpf.o'), (header, indexOf) => header(indexOf('.BTF')).setBigUint64(32, 20n, true));
    const notes: string[] = [];
    generateSkeleton(bytes, 'a.bpf.o', { name: 'a', note: (line) => notes.push(line) });
    expect(notes.at(-1)).toBe('Error loading ELF section .BTF: -EINVAL.');
  });

  it('also of records in a form that it does not know', () => {
    const bytes = read(path('leftovers.bpf.o'));
    const { offset } = parseELF(read(path('leftovers.bpf.o')), 'a').sections.find(({ name }) => name === '.BTF.ext')!;
    bytes[offset + 3] = 1;
    const notes: string[] = [];
    generateSkeleton(bytes, 'a.bpf.o', { name: 'a', note: (line) => notes.push(line) });
    expect(notes.at(-1)).toBe('Error loading ELF section .BTF.ext: -EOPNOTSUPP. Ignored and continue.');
  });

  it('and is silent about an object of which it takes all', async () => {
    const { stderr } = await bpftwin(['gen', 'skeleton', '-L', fixturePath('objects/globals.bpf.o')]);
    expect(stderr).toBe('');
  });
});

describe("an arena's variables without an arena", () => {
  it('are nothing where nobody refers to them', () => {
    expect(openObject(read(path('leftovers.bpf.o')), 'a.bpf.o', 'a').arenaIndex).toBe(-1);
  });

  it('are missed by who does', () => {
    expect(() => generateLightSkeleton(read(path('adrift.o')), 'a.bpf.o', { name: 'a' })).toThrow("prog 'bump': bad arena data relocation at insn 0, no arena maps defined");
  });
});

describe('section 0', () => {
  it('is no table of symbols, whatever its header says', () => {
    const bytes = withHeaders(path('leftovers.bpf.o'), (header) => header(0).setUint32(4, 2, true));
    expect(openObject(bytes, 'a.bpf.o', 'a').programs.map(({ name }) => name)).toEqual(['count']);
  });
});

describe('names of sections', () => {
  it('are taken from a table of strings only', () => {
    const bytes = withHeaders(path('leftovers.bpf.o'), (header, indexOf) => header(indexOf('.strtab')).setUint32(4, 1, true));
    expect(() => generateSkeleton(bytes, 'a.bpf.o', { name: 'x' })).toThrow(/^a\.bpf\.o: section 1: elf: failed to get section name string at offset \d+ from x: invalid section$/);
  });
});

describe('gen min_core_btf asks no more of an object than its types and relocations', () => {
  const minimal = async (object: string): Promise<{ readonly status: number; readonly stderr: string; readonly output: string }> => {
    const output = temporary('min.btf', '');
    const { status, stderr } = await bpftwin(['gen', 'min_core_btf', fixturePath('types/all.min.btf'), output, object]);
    return { status, stderr, output: text(output) };
  };

  it('so symbols may be anything', async () => {
    const bytes = withHeaders(core, (header, indexOf) => {
      header(indexOf('.symtab')).setBigUint64(24, 0x7fffffffn, true);
      header(indexOf('license')).setUint32(4, 2, true);
    });
    expect(await minimal(temporary('a.bpf.o', bytes))).toEqual({ status: 0, stderr: '', output: text(fixturePath('types/core.min.btf')) });
  });

  it('but what its types refer to must exist', async () => {
    const bytes = read(core);
    const { offset } = parseELF(read(core), core).sections.find(({ name }) => name === '.BTF')!;
    const types = offset + 24;
    new DataView(bytes.buffer).setUint32(types, 0x400000, true);
    const { status, stderr } = await minimal(temporary('a.bpf.o', bytes));
    expect([status, stderr]).toEqual([2, expect.stringContaining('btf: type [1]: invalid type name (string offset 4194304)')]);
  });

  it('and there must be types', async () => {
    const bytes = withHeaders(core, (header, indexOf) => header(indexOf('.BTF')).setUint32(0, 0, true));
    const file = temporary('a.bpf.o', bytes);
    expect((await minimal(file)).stderr).toBe(`bpftwin: ${file}: failed to find '.BTF' ELF section in ${file}\n`);
  });
});

describe('types come from a pipe as from a file', () => {
  it.each([fixturePath('objects/core.bpf.o'), fixturePath('types/all.min.btf')])('%s', (file) => {
    const pipe = join(mkdtempSync(join(tmpdir(), 'bpftwin-test-')), 'pipe');
    execFileSync('mkfifo', [pipe]);
    spawn('sh', ['-c', 'cat "$0" > "$1"', file, pipe], { stdio: 'ignore' });
    expect(readBTFFile(pipe)).toEqual(readBTFFile(file));
  });
});

describe("the linker's words where a section makes no sense", () => {
  const refusal = (change: Parameters<typeof withHeaders>[1]): string => {
    try {
      linkObjects([{ file: 'a.o', bytes: withHeaders(path('leftovers.bpf.o'), change) }]);
    } catch (error) {
      if (error instanceof InputError) return error.reason;
      throw error;
    }
    return 'none';
  };

  it.each<[what: string, change: Parameters<typeof withHeaders>[1], reason: string]>([
    ['a type of its own in a section that is left out', (header, indexOf) => header(indexOf('.rel.BTF')).setUint32(4, 10, true), 'ELF section #13 (.rel.BTF) has unrecognized type 10 in a.o'],
    ['an alignment that only looks like a power of two', (header, indexOf) => header(indexOf('settings')).setBigUint64(48, (1n << 52n) + 1n, true), 'ELF section #5 alignment 4503599627370497 is non pow-of-2 alignment in a.o'],
    ['a second table of symbols', (header, indexOf) => header(indexOf('settings')).setUint32(4, 2, true), 'multiple SYMTAB sections found, not supported'],
    ['data beyond the file', (header, indexOf) => header(indexOf('settings')).setBigUint64(24, 1n << 40n, true), 'failed to get section #5 (settings) data from a.o'],
    ['a name beyond the names', (header, indexOf) => header(indexOf('settings')).setUint32(0, 1 << 20, true), 'failed to get section #5 name for a.o'],
  ])('%s', (_what, change, reason) => {
    expect(refusal(change).replace(/: it.*/, '')).toContain(reason);
  });

  it('and relocations of another size, which an object may not have even where they are left out', () => {
    const bytes = withHeaders(path('leftovers.bpf.o'), (header, indexOf) => header(indexOf('.rel.data')).setBigUint64(56, 24n, true));
    expect(() => generateSkeleton(bytes, 'a.bpf.o', { name: 'a' })).toThrow('a.bpf.o: section .rel.data: BPF object format invalid');
  });
});

describe('values of the configuration', () => {
  it('are in the order of the machine that generates, as bpftool has them, also for an object of the other one', () => {
    const configuration = 'CONFIG_BPF_SYSCALL=y\nCONFIG_HZ=250\nCONFIG_DEFAULT_HOSTNAME="(none)"\n';
    const first = (name: string): string => /data\[\] .*= "([^"]*)"/.exec(generateLightSkeleton(read(path(`${name}.bpf.o`)), name, { name: 'a', configuration }))?.[1] ?? '';
    expect(first('kconfig')).toContain('\\xfa\\0\\0\\0\\0\\0\\0\\0');
    expect(first('kconfig-be')).toContain('\\xfa\\0\\0\\0\\0\\0\\0\\0');
  });
});

describe('two sections of types', () => {
  it('are no data for the linker, which takes the last', () => {
    const plain = linkObjects([{ file: 'a.o', bytes: read(core) }]);
    const twice = withHeaders(core, (header, indexOf) => {
      const from = header(indexOf('.BTF.ext'));
      const to = header(indexOf('.rel.BTF'));
      for (let at = 0; at < 64; at += 4) to.setUint32(at, from.getUint32(at, true), true);
    });
    expect(Buffer.compare(linkObjects([{ file: 'a.o', bytes: twice }]), plain)).toBe(0);
  });
});
