/**
 * Malformed objects. Whatever is changed in an object, it is generated from, linked and opened, or refused with one line that names the
 * file; nothing else ever comes out. The mutants are the same on every run.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { linkObjects } from '../../../loader/link/linker.ts';
import { openObject } from '../../../loader/object/open.ts';
import { generateLightSkeleton, generateSkeleton } from '../../../src/gen.ts';
import { fixturePath } from './fixtures.ts';

const object = (name: string): Uint8Array => Uint8Array.from(readFileSync(fixturePath(`objects/${name}.bpf.o`)));
const structops = Uint8Array.from(readFileSync(new URL('data/structops.bpf.o', import.meta.url)));

/** The refusal's text, `''` for none; anything but a refusal goes through. */
function refusal(action: () => unknown): string {
  try {
    action();
    return '';
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

const FILE = 'a.o';
const open = (bytes: Uint8Array): string => refusal(() => openObject(bytes, FILE, 'a'));
const link = (bytes: Uint8Array): string => refusal(() => linkObjects([{ file: FILE, bytes }]));

/** An object with its headers at hand. */
class Patient {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #table: number;
  readonly count: number;

  constructor(original: Uint8Array) {
    this.bytes = original.slice();
    this.view = new DataView(this.bytes.buffer);
    this.#table = Number(this.view.getBigUint64(40, true));
    this.count = this.view.getUint16(60, true);
  }

  /** Place of a section's header. */
  header(index: number): number {
    return this.#table + 64 * index;
  }

  name(index: number): string {
    const names = this.offset(this.view.getUint16(62, true)) + this.view.getUint32(this.header(index), true);
    return Buffer.from(this.bytes.subarray(names, this.bytes.indexOf(0, names))).toString('latin1');
  }

  offset(index: number): number {
    return Number(this.view.getBigUint64(this.header(index) + 24, true));
  }

  size(index: number): number {
    return Number(this.view.getBigUint64(this.header(index) + 32, true));
  }

  index(name: string): number {
    for (let i = 1; i < this.count; i++) if (this.name(i) === name) return i;
    throw new Error(`no section ${name}`);
  }

  /** Changes a 32-bit word of a section. */
  word(section: string, at: number, value: number): this {
    this.view.setUint32(this.offset(this.index(section)) + at, value, true);
    return this;
  }

  /** Changes a 32-bit word of a section's header. */
  field(section: string, at: number, value: number): this {
    this.view.setUint32(this.header(this.index(section)) + at, value, true);
    return this;
  }

  /** Puts a name over another one. */
  rename(from: string, to: string): this {
    const at = Buffer.from(this.bytes).indexOf(`\0${from}\0`, 0, 'latin1') + 1;
    this.bytes.fill(0, at, at + from.length);
    this.bytes.set(Buffer.from(to, 'latin1'), at);
    return this;
  }

  /** Offset of a type in `.BTF`, from the section's start. */
  type(id: number): number {
    const start = this.offset(this.index('.BTF'));
    let at = this.view.getUint32(start + 4, true);
    for (let i = 1; i < id; i++) {
      const info = this.view.getUint32(start + at + 4, true);
      const kind = (info >>> 24) & 31;
      const vlen = info & 0xffff;
      at += 12 + ({ 1: 4, 3: 12, 4: 12 * vlen, 5: 12 * vlen, 6: 8 * vlen, 13: 8 * vlen, 14: 4, 15: 12 * vlen, 17: 4, 19: 12 * vlen }[kind] ?? 0);
    }
    return at;
  }
}

const patient = (name = 'onemap'): Patient => new Patient(object(name));

describe('objects are refused with file, place and reason', () => {
  it('where a section lies beyond the file', () => {
    const reason = /^a\.o: section socket: elf: failed to get section\(3\) socket data from a: its \d+ bytes at \d+ do not fit into the file's \d+$/;
    expect(open(patient().field('socket', 24, 0x7fffffff).bytes)).toMatch(reason);
    expect(open(patient().field('socket', 36, 1).bytes)).toMatch(reason);
    expect(link(patient().field('socket', 24, 0x7fffffff).bytes)).toMatch(/^a\.o: section socket: failed to get section #3 \(socket\) data from a\.o: its \d+ bytes at \d+ do not fit/);
  });

  it('where a section is compressed', () => {
    const reason = /^a\.o: section license: elf: failed to get section\(\d+\) license data from a: compressed sections are not supported$/;
    expect(open(patient().field('license', 8, 0x803).bytes)).toMatch(reason);
    // Where there is room for the header libbpf takes the bytes as they are, as if nothing were said.
    expect(open(patient().field('socket', 8, 0x806).bytes)).toBe('');
  });

  it('where the format has another version, or a table ends inside an entry', () => {
    const other = patient();
    other.bytes[6] = 2;
    expect(open(other.bytes)).toBe("a.o: byte 0: elf: 'a' is not a proper ELF object");
    expect(open(patient().field('.relsocket', 32, 15).bytes)).toMatch(/^a\.o: section \.relsocket: elf: failed to get section\(\d+\) \.relsocket data from a: its 15 bytes are no multiple of the 16 that its entries have$/);
    expect(link(patient().field('socket', 48, 0).bytes)).toMatch(/has inconsistent alignment addr=0 != d=1 in a\.o$/);
    expect(link(patient().field('socket', 48, 1 << 30).bytes)).toMatch(/has inconsistent alignment addr=1073741824 != d=64 in a\.o$/);
    expect(link(patient().word('.relsocket', 4, 0x7fffffff).word('.relsocket', 0, 0xffffffff).bytes)).toMatch(/ELF relo #0 in section #\d+ points to missing symbol #\d+ in a\.o$/);
  });

  it('where programs, symbols and relocations point nowhere', () => {
    expect(open(patient().word('.relsocket', 0, 0x10000).bytes)).toBe("a.o: section .relsocket: sec '.relsocket': invalid offset 0x10000 for relo #0");
    expect(open(patient().word('.relsocket', 12, 999).bytes)).toBe("a.o: section .relsocket: sec '.relsocket': symbol #999 not found for relo #0");
    expect(link(patient().word('.relsocket', 12, 999).bytes)).toMatch(/^a\.o: section \.relsocket: ELF relo #0 in section #\d+ points to invalid symbol #999 in a\.o$/);
    expect(link(patient().word('.relsocket', 8, 77).bytes)).toMatch(/has unexpected type 77 in a\.o$/);
    expect(link(patient().field('.symtab', 40, 3).bytes)).toMatch(/^a\.o: section \.symtab: ELF SYMTAB section #\d+ points to invalid STRTAB section #3 in a\.o$/);
  });

  it('where types refer to types or names that are not there', () => {
    const bad = patient();
    expect(open(bad.word('.BTF', bad.type(1) + 8, 5000).bytes)).toBe(
      'a.o: section .BTF, type 1: btf: type [1]: invalid referenced type ID 5000; BTF is required, but is missing or corrupted.',
    );
    expect(link(bad.bytes)).toBe('a.o: section .BTF, type 1: btf: type [1]: invalid referenced type ID 5000; failed to parse .BTF from a.o: -EINVAL');
    const nameless = patient();
    expect(open(nameless.word('.BTF', nameless.type(2), 0xffffff).bytes)).toMatch(/^a\.o: section \.BTF, type 2: btf: type \[2\]: invalid type name \(string offset 16777215\); BTF is/);
  });

  it('where types are more than there are bytes for', () => {
    const gigantic = patient();
    expect(open(gigantic.word('.BTF', gigantic.type(3) + 4, 0x04ffffff).bytes)).toMatch(/^a\.o: section \.BTF, type 3: BTF type \[3\] is malformed/);
    expect(open(patient().word('.BTF', 12, 0x7fffffff).bytes)).toMatch(/^a\.o: section \.BTF, byte 8: Invalid BTF data sections layout/);
    expect(open(patient().word('.BTF', 20, 0x7fffffff).bytes)).toMatch(/^a\.o: section \.BTF, byte 16: Invalid BTF total size/);
  });

  it('where records of .BTF.ext do not fit, and types are needed', () => {
    expect(open(patient().word('.BTF.ext', 12, 0x7fffff00).bytes)).toMatch(/^a\.o: section \.BTF\.ext, byte 8: func_info section \(off:0 len:2147483392\) is beyond the end of the ELF section \.BTF\.ext; BTF is required/);
  });
});

describe('types that refer to themselves', () => {
  /** Every reference of a kind becomes one to itself. */
  function circular(name: string, kinds: readonly number[]): Uint8Array {
    const bad = patient(name);
    const start = bad.offset(bad.index('.BTF'));
    const end = bad.view.getUint32(start + 4, true) + bad.view.getUint32(start + 12, true);
    for (let id = 1, at = bad.type(1); at < end; id++, at = bad.type(id)) {
      if (kinds.includes((bad.view.getUint32(start + at + 4, true) >>> 24) & 31)) bad.view.setUint32(start + at + 8, id, true);
    }
    return bad.bytes;
  }

  it.each([['pointers', [2]], ['typedefs', [8]], ['qualifiers', [9, 10, 11]], ['arrays and pointers', [2, 3]], ['everything that may', [2, 8, 9, 10, 11, 18]]])('%s', (_what, kinds) => {
    for (const name of ['onemap', 'maps', 'kfuncs', 'core']) {
      const bytes = circular(name, kinds as number[]);
      for (const text of [open(bytes), link(bytes), refusal(() => generateSkeleton(bytes, FILE, { name: 'a' })), refusal(() => generateLightSkeleton(bytes, FILE, { name: 'a' }))]) {
        expect(text).not.toMatch(/\n/);
      }
    }
  });
});

describe('names of every object', () => {
  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])('%s is a name like any other', (name) => {
    const renamed = patient('programs');
    const section = renamed.name(renamed.index('.maps') + 1);
    for (const from of ['classify', 'sockets', 'by_port', section]) {
      if (from.length < name.length) continue;
      const bytes = patient('programs').rename(from, name).bytes;
      expect(refusal(() => generateLightSkeleton(bytes, FILE, { name: 'a' }))).not.toMatch(/\n/);
      expect(link(bytes)).not.toMatch(/\n/);
    }
  });
});

describe('mutants', () => {
  const ORIGINALS = [object('onemap'), object('subprogs'), object('mapinmap'), object('maps'), structops, Uint8Array.from(readFileSync(fixturePath('link/objects/geometry-be.o')))];
  const INTERESTING = [0, 1, 7, 8, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

  /** A generator of numbers below a limit (xorshift32). */
  function randomNumbers(seed: number): (limit: number) => number {
    let state = (seed * 2654435761 + 1) >>> 0;
    return (limit) => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % limit;
    };
  }

  /** One to three words changed, most of them where they count: in headers, symbols, relocations and types. */
  function mutant(seed: number): Uint8Array {
    const random = randomNumbers(seed);
    const bytes = (ORIGINALS[seed % ORIGINALS.length] ?? structops).slice();
    const view = new DataView(bytes.buffer);
    const little = bytes[5] === 1;
    const table = Number(view.getBigUint64(40, little));
    const count = view.getUint16(60, little);
    for (let i = 0; i <= random(3); i++) {
      const header = table + 64 * (1 + random(count - 1));
      const start = Number(view.getBigUint64(header + 24, little));
      const words = Math.floor(Number(view.getBigUint64(header + 32, little)) / 4);
      const at = [() => header + 4 * random(16), () => 4 * random(16), () => random(bytes.length - 4), () => start + 4 * random(Math.max(1, words))][random(4) < 1 ? random(3) : 3]?.() ?? 0;
      const value = random(2) === 0 ? INTERESTING[random(INTERESTING.length)] ?? 0 : random(0xffffffff);
      if (at + 4 <= bytes.length) view.setUint32(at, value, little);
    }
    return random(20) === 0 ? bytes.slice(0, random(bytes.length)) : bytes;
  }

  it('are refused in one line, or taken', () => {
    let refused = 0;
    for (let seed = 1; seed <= 240; seed++) {
      const bytes = mutant(seed);
      const texts = [
        refusal(() => generateLightSkeleton(bytes, FILE, { name: 'a', possibleCPUs: 2 })),
        refusal(() => linkObjects([{ file: FILE, bytes }])),
        refusal(() => generateSkeleton(bytes, FILE, { name: 'a' })),
      ];
      for (const text of texts) expect(text === '' || !text.includes('\n'), `mutant ${seed}: ${text}`).toBe(true);
      if (texts[0] !== '') refused++;
    }
    // Were none refused or all, the mutants would be worth little.
    expect(refused).toBeGreaterThan(40);
    expect(refused).toBeLessThan(220);
  });
});
