import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { BTF } from '../../../btf/btf.ts';
import { minCoreBTF, type CoreObject } from '../../../loader/gen/min-core-btf.ts';
import { CoreRelocator } from '../../../loader/object/kernel-references.ts';
import { openObject } from '../../../loader/object/open.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { bpftwin } from '../cli/harness.ts';
import { fixturePath } from './fixtures.ts';

const OBJECTS = readdirSync(fixturePath('objects')).filter((name) => name.endsWith('.bpf.o')).toSorted();
const object = (name: string): CoreObject => ({ file: name, bytes: readFileSync(fixturePath(`objects/${name}`)) });
const want = (name: string): Uint8Array => readFileSync(fixturePath(`types/${name}.min.btf`));

describe('the types that relocations need are written byte for byte as bpftool does', () => {
  it.each(['core', 'tracing'])('%s', (name) => {
    expect(Buffer.compare(minCoreBTF(loadKernelBTF(), 'vmlinux', [object(`${name}.bpf.o`)]), want(name))).toBe(0);
  });

  it('of all fixtures together', () => {
    expect(Buffer.compare(minCoreBTF(loadKernelBTF(), 'vmlinux', OBJECTS.map(object)), want('all'))).toBe(0);
  });

  it('of no relocation at all: an empty BTF', () => {
    const bytes = minCoreBTF(want('core'), 'min', []);
    expect([bytes.length, BTF.parse(bytes).endID]).toEqual([33, 1]);
  });
});

describe('what comes out', () => {
  const relocated = (name: string, btf: Uint8Array): Uint8Array[] => {
    const opened = openObject(object(name).bytes, name, 'a');
    new CoreRelocator(opened, { btf: BTF.parse(btf, { isKernel: true }), symbol: () => undefined }, () => {}).relocate();
    return opened.programs.map(({ instructions }) => instructions);
  };

  it.each(['core.bpf.o', 'globals.bpf.o', 'maps.bpf.o', 'kfuncs.bpf.o'])('relocates %s as the whole of the kernel\'s types does', (name) => {
    expect(relocated(name, want('all'))).toEqual(relocated(name, loadKernelBTF()));
  });

  it('needs no more than itself', () => {
    expect(Buffer.compare(minCoreBTF(want('core'), 'min', [object('core.bpf.o')]), want('core'))).toBe(0);
  });
});

describe('bad input', () => {
  const failure = (objects: readonly CoreObject[], kernel: Uint8Array = want('core')): string => {
    try {
      minCoreBTF(kernel, 'vmlinux', objects);
    } catch (error) {
      if (error instanceof InputError) return error.message;
      throw error;
    }
    return 'no error';
  };

  it('is refused with file, place and reason', () => {
    expect(failure([object('../keys/rsa2048.crt')])).toMatch(/^\.\.\/keys\/rsa2048\.crt: /);
    expect(failure([], new Uint8Array(40))).toMatch(/^vmlinux: byte 0: no BTF/);
    const { bytes } = object('core.bpf.o');
    const at = Buffer.from(bytes).indexOf('.BTF.ext\0');
    const without = Uint8Array.from(bytes);
    without[at + 1] = 0x58;
    expect(failure([{ file: 'a.o', bytes: without }])).toBe("a.o: failed to parse BPF object 'a.o': section .BTF.ext not found");
  });

  it('with any changed byte is used or refused', () => {
    const { bytes } = object('core.bpf.o');
    let seed = 5;
    const random = (limit: number): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % limit;
    for (let i = 0; i < 60; i++) {
      const copy = Uint8Array.from(bytes);
      for (let k = 0; k < 4; k++) copy[random(copy.length)] = random(256);
      expect(typeof failure([{ file: 'a.o', bytes: copy }])).toBe('string');
    }
  });
});

describe('the command', () => {
  it('writes the file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bpftwin-test-'));
    try {
      const output = join(folder, 'min.btf');
      const { status, stdout } = await bpftwin(['gen', 'min_core_btf', fixturePath('types/all.min.btf'), output, fixturePath('objects/core.bpf.o')]);
      expect([status, stdout]).toEqual([0, '']);
      expect(BTF.parse(readFileSync(output)).endID).toBeGreaterThan(1);
      const refused = await bpftwin(['gen', 'min_core_btf', fixturePath('types/all.min.btf'), join(folder, 'no', 'where'), fixturePath('objects/core.bpf.o')]);
      expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining('error saving btf file')]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
