import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { littleEndianBTF } from '../../../btf/byte-order.ts';
import { InputError } from '../../../isa/errors.ts';
import { dumpBTF, type DumpBTFOptions } from '../../../src/btf.ts';
import { loadKernelBTF, readBTFFile } from '../../../src/node/kernel-btf.ts';
import { bpftwin } from '../cli/harness.ts';
import { fixturePath } from '../loader/fixtures.ts';
import { BTFBuilder } from './build.ts';

/** Every object that bpftool's answer was recorded for: of the fixtures, and of the loader's tests. */
const NAMES = readdirSync(fixturePath('types')).flatMap((file) => (file.endsWith('.txt') ? [file.slice(0, -'.txt'.length)] : [])).toSorted();
const pathOf = (name: string): string => {
  const own = fixturePath(`objects/${name}.bpf.o`);
  return existsSync(own) ? own : fixturePath(`../unit/loader/data/${name}.bpf.o`);
};

function dump(bytes: Uint8Array, options: DumpBTFOptions): string {
  return [...dumpBTF({ bytes, file: 'f' }, options)].join('');
}

/** What stands between the frame's head and the list of kernel functions. */
function definitions(builder: BTFBuilder, roots?: readonly number[]): string {
  const text = dump(builder.build(), { format: 'c', unsorted: true, ...(roots === undefined ? {} : { roots }) });
  const start = text.indexOf('#endif\n#endif\n\n') + '#endif\n#endif\n\n'.length;
  return text.slice(start, text.indexOf(roots === undefined ? '\n/* BPF kfuncs */' : '#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop'));
}

/** Little-endian BTF without layout, as a big-endian machine has it. */
function swapped(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = 24 + view.getUint32(12, true);
  copy.subarray(0, 2).reverse();
  for (let at = 4; at < end; at += 4) copy.subarray(at, at + 4).reverse();
  return copy;
}

function failure(bytes: Uint8Array, options: DumpBTFOptions = { format: 'c' }): string {
  try {
    dump(bytes, options);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'no error';
}

describe('types are written byte for byte as bpftool does', () => {
  it('for as many objects as ever', () => {
    expect(NAMES.length).toBeGreaterThanOrEqual(22);
  });

  it.each(NAMES)('%s', (name) => {
    const input = { ...readBTFFile(pathOf(name)), file: name };
    expect([...dumpBTF(input, { format: 'c' })].join('') === readFileSync(fixturePath(`types/${name}.h`), 'utf8')).toBe(true);
    expect([...dumpBTF(input, { format: 'raw' })].join('') === readFileSync(fixturePath(`types/${name}.txt`), 'utf8')).toBe(true);
  });

  it.each(readFileSync(fixturePath('types/vmlinux.sha256'), 'utf8').trim().split('\n').map((line) => line.split(' ') as [string, 'c' | 'raw']))(
    'the kernel\'s (%s: %s)', (digest, format) => {
      const hash = createHash('sha256');
      for (const piece of dumpBTF({ bytes: loadKernelBTF(), file: 'vmlinux' }, { format })) hash.update(piece);
      expect(hash.digest('hex')).toBe(digest);
    });
});

// The expected texts below are what bpftool 7.8 prints for the same bytes.
describe('definitions come in an order that a compiler takes', () => {
  it('with forward declarations where types point to one another', () => {
    const builder = new BTFBuilder();
    const [b, pointer] = [3, 2];
    const a = builder.struct('a', 8, [['b', pointer, 0]]);
    builder.pointer(b);
    builder.struct('b', 16, [['a', a, 0], ['next', pointer, 64]]);
    expect(definitions(builder)).toBe('struct b;\n\nstruct a {\n\tstruct b *b;\n};\n\nstruct b {\n\tstruct a a;\n\tstruct b *next;\n};\n\n');
  });

  it('with what is inside before what it is inside of, whatever the ids', () => {
    const builder = new BTFBuilder();
    const outer = builder.struct('outer', 4, [['x', 2, 0]]);
    builder.struct('inner', 4, [['y', 3, 0]]);
    builder.int('int', 4, 1);
    expect(definitions(builder, [outer])).toBe('struct inner {\n\tint y;\n};\n\nstruct outer {\n\tstruct inner x;\n};\n\n');
  });

  it('a typedef of a function that takes its own struct stands for the forward declaration', () => {
    const builder = new BTFBuilder();
    const int = builder.int('int', 4, 1);
    const struct = builder.struct('ops', 8, [['run', 3, 0]]);
    const typedef = builder.modifier(8, 4, 'run_t');
    builder.pointer(5);
    builder.proto(int, [['ops', 6]]);
    builder.pointer(struct);
    expect([struct, typedef]).toEqual([2, 3]);
    expect(definitions(builder)).toBe('struct ops;\n\ntypedef int (*run_t)(struct ops *ops);\n\nstruct ops {\n\trun_t run;\n};\n\n');
  });
});

describe('awkward types', () => {
  it('names that occur twice are numbered, tags and identifiers apart', () => {
    const builder = new BTFBuilder();
    const int = builder.int('int', 4, 1);
    builder.struct('x', 4, [['a', int, 0]]);
    builder.struct('x', 4, [['b', int, 0]]);
    builder.modifier(8, int, 'x');
    builder.enumeration('', [['x', 1], ['y', 2]]);
    expect(definitions(builder)).toBe('struct x {\n\tint a;\n};\n\nstruct x___2 {\n\tint b;\n};\n\ntypedef int x;\n\nenum {\n\tx___2 = 1,\n\ty = 2,\n};\n\n');
  });

  it('what compilers know by themselves is left to them', () => {
    const builder = new BTFBuilder();
    const poly = builder.int('__Poly8_t', 1);
    const tag = builder.struct('tag', 1, [['poly', poly, 0]]);
    builder.modifier(8, tag, '__builtin_va_list');
    builder.modifier(8, 0, '__gnuc_va_list');
    expect(definitions(builder)).toBe('typedef unsigned char __Poly8_t;\n\nstruct tag {\n\t__Poly8_t poly;\n};\n\ntypedef __builtin_va_list __gnuc_va_list;\n\n');
  });

  it('wide enumerations, tags on types, qualifiers of arrays', () => {
    const builder = new BTFBuilder();
    const int = builder.int('int', 4, 1);
    builder.type(19, 'wide', 2, 8, [builder.string('LOW'), 5, 0, builder.string('MINUS'), 0xffffffff, 0xffffffff], true);
    builder.type(19, 'word', 1, 8, [builder.string('ONE'), 1, 0]);
    const array = builder.array(int, int, 3);
    const tagged = builder.type(18, 'user', 0, int);
    const pointer = builder.pointer(tagged);
    const constant = builder.modifier(10, array);
    builder.struct('s', 24, [['p', pointer, 0], ['a', constant, 64]]);
    expect(definitions(builder)).toBe('enum wide {\n\tLOW = 5LL,\n\tMINUS = -1LL,\n};\n\nenum word {\n\tONE = 1ULL,\n} __attribute__((mode(word)));\n\n'
      + 'struct s {\n\tint __attribute__((btf_type_tag("user"))) *p;\n\tint a[3];\n};\n\n');
  });

  it('pointers of four bytes', () => {
    const builder = new BTFBuilder();
    const long = builder.int('long', 4, 1);
    const pointer = builder.pointer(long);
    builder.struct('s', 16, [['p', pointer, 0], ['q', pointer, 64]]);
    expect(definitions(builder)).toBe('struct s {\n\tlong *p;\n\tlong: 32;\n\tlong *q;\n\tlong: 32;\n};\n\n');
  });
});

describe('types that make no sense', () => {
  it('of many kinds are refused with file, type and reason', () => {
    const inside = new BTFBuilder();
    inside.struct('s', 8, [['s', 1, 0]]);
    expect(failure(inside.build(), { format: 'c', unsorted: true })).toBe('f: type 1: unsatisfiable type cycle, id:[1]');
    const beyond = new BTFBuilder();
    beyond.pointer(9);
    expect(failure(beyond.build())).toBe('f: type 1: btf: type [1]: invalid referenced type ID 9');
    const name = new BTFBuilder();
    name.type(8, '', 0, 0);
    const bytes = name.build();
    new DataView(bytes.buffer).setUint32(24, 77, true);
    expect(failure(bytes)).toBe('f: type 1: btf: type [1]: invalid type name (string offset 77)');
    const gap = new BTFBuilder();
    gap.struct('s', 0x0fffffff, []); // 2^31 - 8 bits
    expect(failure(gap.build(), { format: 'c', unsorted: true })).toMatch(/bits of padding$/);
    expect(failure(gap.build(), { format: 'raw', roots: [2] })).toBe('f: invalid root ID: 2');
  });

  it('circles of pointers, qualifiers and arrays end', () => {
    for (const kind of [2, 10, 18, 8, 17]) {
      const builder = new BTFBuilder();
      builder.type(kind, kind === 8 || kind === 18 || kind === 17 ? 't' : '', 0, 1, kind === 17 ? [0xffffffff] : []);
      for (const unsorted of [true, false]) expect(failure(builder.build(), { format: 'c', unsorted })).toMatch(/^f: type 1: |no error/);
    }
    const array = new BTFBuilder();
    array.array(1, 1, 2);
    expect(failure(array.build())).toMatch(/^f: type 1: /);
  });

  it('with any changed byte are shown or refused', () => {
    const original = readBTFFile(pathOf('declarations')).bytes;
    let seed = 3;
    const random = (limit: number): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % limit;
    for (let i = 0; i < 120; i++) {
      const bytes = Uint8Array.from(original);
      for (let k = 0; k < 3; k++) bytes[random(bytes.length)] = random(256);
      for (const format of ['c', 'raw'] as const) expect(typeof failure(bytes, { format })).toBe('string');
    }
  });
});

describe('the other byte order', () => {
  it('comes out as the same types', () => {
    const little = readBTFFile(pathOf('declarations')).bytes;
    const big = readBTFFile(pathOf('declarations-be')).bytes;
    expect([big[0], big[1]]).toEqual([0xeb, 0x9f]);
    expect(littleEndianBTF(little)).toBe(little);
    expect(dump(big, { format: 'raw' })).toBe(dump(little, { format: 'raw' }));
  });
});

describe('ELF files of 32 bits', () => {
  /** A header, `.BTF`, the sections' names, three section headers. */
  function elf32(btf: Uint8Array, little: boolean): Uint8Array {
    const names = '\0.BTF\0.shstrtab\0';
    const table = Math.ceil((52 + btf.length + names.length) / 4) * 4;
    const bytes = new Uint8Array(table + 3 * 40);
    const view = new DataView(bytes.buffer);
    bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, little ? 1 : 2, 1]);
    const half = (at: number, value: number): void => view.setUint16(at, value, little);
    const words = (at: number, ...values: number[]): void => values.forEach((value, i) => view.setUint32(at + 4 * i, value, little));
    half(16, 1);
    half(18, 40);
    words(20, 1);
    words(32, table);
    [[40, 52], [46, 40], [48, 3], [50, 2]].forEach(([at = 0, value = 0]) => half(at, value));
    bytes.set(btf, 52);
    bytes.set(new TextEncoder().encode(names), 52 + btf.length);
    words(table + 40, 1, 1, 0, 0, 52, btf.length, 0, 0, 1, 0);
    words(table + 80, 6, 3, 0, 0, 52 + btf.length, names.length, 0, 0, 1, 0);
    return bytes;
  }

  it.each([true, false])('have pointers of four bytes (little-endian: %s)', (little) => {
    const builder = new BTFBuilder();
    const pointer = builder.pointer(0);
    builder.struct('s', 12, [['p', pointer, 0], ['q', pointer, 64]]);
    const folder = mkdtempSync(join(tmpdir(), 'bpftwin-test-'));
    try {
      const file = join(folder, 'a.o');
      writeFileSync(file, elf32(little ? builder.build() : swapped(builder.build()), little));
      const input = readBTFFile(file);
      expect(input.pointerSize).toBe(4);
      expect([...dumpBTF({ ...input, file }, { format: 'c', unsorted: true })].join('')).toContain('struct s {\n\tvoid *p;\n\tlong: 32;\n\tvoid *q;\n};\n\n');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('types of a module', () => {
  it('extend those of the kernel: listed alone, written with what they need', () => {
    const base = new BTFBuilder();
    const int = base.int('int', 4, 1);
    base.struct('task', 4, [['pid', int, 0]]);
    const baseBytes = base.build();
    const strings = new DataView(baseBytes.buffer).getUint32(20, true);
    const split = new BTFBuilder(3, strings);
    split.struct('mine', 4, [['task', 2, 0]]);
    const options = { base: { bytes: baseBytes, file: 'vmlinux' } };
    expect(dump(split.build(), { ...options, format: 'raw' })).toBe("[3] STRUCT 'mine' size=4 vlen=1\n\t'task' type_id=2 bits_offset=0\n");
    expect(dump(split.build(), { ...options, format: 'c', roots: [3] })).toContain('struct task {\n\tint pid;\n};\n\nstruct mine {\n\tstruct task task;\n};\n\n');
  });
});

describe('the command', () => {
  it('lists by default, and prints JSON and C', async () => {
    const object = pathOf('globals');
    const raw = await bpftwin(['btf', 'dump', 'file', object]);
    expect([raw.status, raw.stdout === readFileSync(fixturePath('types/globals.txt'), 'utf8')]).toEqual([0, true]);
    const c = await bpftwin(['btf', 'dump', 'f', object, 'fo', 'c']);
    expect([c.status, c.stdout === readFileSync(fixturePath('types/globals.h'), 'utf8')]).toEqual([0, true]);
    const { stdout } = await bpftwin(['-j', 'btf', 'dump', 'file', object, 'root_id', '0x1', 'root_id', '2']);
    expect((JSON.parse(stdout) as { types: { id: number }[] }).types.map(({ id }) => id)).toEqual([1, 2]);
  });

  it.each([
    [['file'], "'dump' needs at least 2 arguments, 1 found"],
    [['id', '1'], 'needs a running kernel'],
    [['elsewhere', 'x'], "unrecognized BTF source specifier: 'elsewhere'"],
    [['file', 'OBJECT', 'format', 'xml'], "unrecognized format specifier: 'xml', possible values: raw, c"],
    [['file', 'OBJECT', 'root_id', '1', 'root_id', '1'], 'duplicate root_id 1 supplied'],
    [['file', 'OBJECT', 'root_id', 'x'], "can't parse x as root ID"],
    [['file', 'OBJECT', 'root_id', '99999'], 'invalid root ID: 99999'],
    [['file', 'OBJECT', 'sorted'], "unrecognized option: 'sorted'"],
    [['file', 'OBJECT', 'file', 'OBJECT'], 'merging the types of several files is not supported'],
    [['file', fixturePath('keys/rsa2048.crt')], 'neither BTF nor ELF nor gzip'],
  ])('refuses %j', async (words, reason) => {
    const { status, stderr } = await bpftwin(['btf', 'dump', ...words.map((word) => (word === 'OBJECT' ? pathOf('globals') : word))]);
    expect(status).toBe(2);
    expect(stderr).toContain(reason);
  });
});
