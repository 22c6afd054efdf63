import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { parseLightSkeleton } from '../../../loader/lskel.ts';
import { FIXTURES, fixture, fixtureText, parse } from './fixtures.ts';

function failure(text: string): string {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'no error';
}

const GLOBALS = fixtureText('unsigned/globals.lskel.h');
const SIGNED = fixtureText('signed/onemap.lskel.h');
const ONEMAP = fixtureText('unsigned/onemap.lskel.h');

describe('skeletons that bpftool wrote', () => {
  it.each(FIXTURES)('%s: signed and unsigned differ in the loader and the signature only', (name) => {
    const unsigned = fixture(`unsigned/${name}.lskel.h`);
    const signed = fixture(`signed/${name}.lskel.h`);
    expect(signed.maps.map((map) => map.name)).toEqual(unsigned.maps.map((map) => map.name));
    expect(signed.maps.map((map) => map.data)).toEqual(unsigned.maps.map((map) => map.data));
    expect(signed.programs.map(({ line: _, ...program }) => program)).toEqual(unsigned.programs.map(({ line: _, ...program }) => program));
    expect(signed.metadata).toEqual(unsigned.metadata);
    expect(signed.links).toEqual(signed.programs.map((program) => program.name));
    expect(signed.contextSize).toBe(24 + 16 * signed.maps.length + 4 * signed.programs.length);
    expect(unsigned.signature).toBeUndefined();
    expect(signed.signature?.exclusiveHash.length).toBe(32);
    expect(signed.signature?.bytes[0]).toBe(0x30);
    expect(signed.extraFunctions).toEqual([]);
  });

  it('reads how programs attach', () => {
    const attach = Object.fromEntries(fixture('unsigned/programs.lskel.h').programs.map((program) => [program.name, program.attach]));
    expect(Object.values(attach).some((way) => way.kind === 'none')).toBe(true);
    expect(fixture('unsigned/kfuncs.lskel.h').programs.at(-1)?.attach).toEqual({ kind: 'raw_tracepoint', name: 'sys_enter' });
    expect(fixture('unsigned/lsm.lskel.h').programs[0]?.attach).toEqual({ kind: 'raw_tracepoint', name: undefined });
  });

  it('reads data sections with values, access and variables', () => {
    const { maps } = fixture('unsigned/globals.lskel.h');
    expect(maps.map((map) => [map.name, map.data?.access])).toEqual([['rodata', 'read'], ['data', 'read-write'], ['bss', 'read-write']]);
    for (const { data } of maps) {
      expect(data?.mmapSize).toBe(4096);
      expect(data?.variables.every((variable) => variable.size !== undefined)).toBe(true);
      expect(data?.variables.reduce((sum, variable) => sum + (variable.size ?? 0), 0)).toBeLessThanOrEqual(data?.initialValue.length ?? 0);
    }
    expect(maps[2]?.data?.initialValue.every((byte) => byte === 0)).toBe(true);
  });

  it('gives the same blueprint every time', () => {
    expect(parse(GLOBALS)).toEqual(parse(GLOBALS));
  });

  it('takes any object name', () => {
    for (const name of ['__proto__', 'constructor', '1bad-name', 'a b', 'naïve', 'toString', '9', 'struct', '-']) {
      const utf8 = new TextEncoder().encode(ONEMAP.replaceAll(/\bonemap(?=__|\b)/g, name));
      expect(parseLightSkeleton(utf8, 't.h').name).toBe(name);
    }
  });

  it('takes any map and program name', () => {
    const skeleton = parse(GLOBALS.replaceAll(/\brodata\b/g, '__proto__'));
    expect(skeleton.maps[0]?.name).toBe('__proto__');
    expect(skeleton.maps[0]?.data).toEqual(parse(GLOBALS).maps[0]?.data);
  });

  it('takes the older form, with the bytes in the call and their number as a number', () => {
    const { metadata, instructions } = fixture('unsigned/onemap.lskel.h');
    const literal = (field: string): string => new RegExp(`${field}\\[\\][^=]*= ("[^"]*");`).exec(ONEMAP)?.[1] ?? '';
    const older = ONEMAP
      .replace(/\tstatic const char opts_data[^"]*"[^"]*";\n\tstatic const char opts_insn[^"]*"[^"]*";\n/, '')
      .replace('opts.data_sz = sizeof(opts_data) - 1;', `opts.data_sz = ${metadata.length};`)
      .replace('(void *)opts_data', `(void *)${literal('opts_data')}`)
      .replace('opts.insns_sz = sizeof(opts_insn) - 1;', `opts.insns_sz = ${instructions.length};`)
      .replace('(void *)opts_insn', `(void *)${literal('opts_insn')}`);
    expect(older).not.toContain('opts_data');
    expect(parse(older)).toMatchObject({ metadata, instructions });
    expect(failure(older.replace(`opts.insns_sz = ${instructions.length}`, 'opts.insns_sz = 8'))).toMatch(/^t\.h: line \d+: opts\.insns_sz says 8 bytes, there are \d+$/);
  });

  it('keeps functions of others apart', () => {
    expect(parse(ONEMAP.replace('#endif /*', 'static int mine(void) { if (1) { return 0; } return 1; }\n#endif /*')).extraFunctions).toEqual(['mine']);
  });
});

describe('bad input ends in one line with file, place and reason', () => {
  it.each([
    ['an empty file', '', 't.h: the file is empty'],
    ['blanks', ' \n/* x */\n', 't.h: the file holds nothing but blanks and comments'],
    ['an object', '\x7fELF\x02\x01', 't.h: byte 0: this is an ELF object; a light skeleton is the header made from it by gen skeleton -L'],
    ['another C file', '#include <stdio.h>\n\nint main(void)\n{\n}\n', 't.h: line 3: not a light skeleton: expected "struct NAME {", found "int"'],
    ['another struct', 'struct a {\n\tint x;\n};\n', 't.h: line 2: not a light skeleton: expected "struct bpf_loader_ctx ctx;" as the first member'],
    ['an ordinary skeleton', 'struct a {\n\tstruct bpf_object_skeleton *skeleton;\n};\n', 't.h: line 1: this is an ordinary skeleton; a light one is made by gen skeleton -L'],
    ['a macro', ONEMAP.replace('struct onemap {', '#define opts_insn opts_data\nstruct onemap {'), 't.h: line 8: #define "opts_insn opts_data": a light skeleton defines nothing but its include guard'],
    ['an unknown escape', ONEMAP.replace('\\x', '\\y'), /^t\.h: line \d+: unknown escape \\ and 'y' in a string literal$/],
    ['instructions that are no whole number', ONEMAP.replace(/(opts_insn\[\][^=]*= ")/, '$1\\0'), /^t\.h: line \d+: the loader program has \d+ bytes, which is no whole number of instructions$/],
    ['an initial value larger than its mapping', GLOBALS.replaceAll(/(\W)4096,/g, '$10,').replaceAll(' 4096)', ' 0)'), /^t\.h: line \d+: the initial value of "rodata" has \d+ bytes, its mapping 0$/],
    ['sizes of a mapping that disagree', GLOBALS.replace(/(skel_finalize_map_data\([^,]*,\s*)4096/, '$18192'), /^t\.h: line \d+: the mapping of "rodata" has 4096 bytes here and 8192 elsewhere$/],
    ['a variable larger than its section', GLOBALS.replace(/sizeof\(s->data->(\w+)\) == \d+/, 'sizeof(s->data->$1) == 100000'), /^t\.h: line \d+: the variables of "data" take \d+ bytes, its initial value has \d+$/],
    ['an assertion about nothing', GLOBALS.replace(/sizeof\(s->data->\w+\)/, 'sizeof(s->data->nothing)'), /^t\.h: line \d+: no variable "\w+" in section "data"$/],
    ['two maps of one name', fixtureText('unsigned/most.lskel.h').replace(/(struct bpf_map_desc )\w+;\s*struct bpf_map_desc (\w+);/, '$1$2; $1$2;'), /^t\.h: line \d+: the name "\w+" appears twice$/],
    ['a signature without its hash', SIGNED.replace(/\topts\.excl_prog_hash.*\n/g, ''), /^t\.h: line \d+: a signed skeleton without opts\.excl_prog_hash$/],
    ['a signature without keyring_id', SIGNED.replace('\t__s32 keyring_id;\n', ''), /^t\.h: line \d+: a signed skeleton without the member keyring_id$/],
    ['no instructions', ONEMAP.replace(/\topts\.insns.*\n/g, ''), /^t\.h: line \d+: "onemap"__load does not set opts\.insns$/],
    ['an unknown option', ONEMAP.replace('opts.insns_sz', 'opts.other'), /^t\.h: line \d+: unknown option "other" of the load$/],
    ['another statement', ONEMAP.replace('err = bpf_load', 'evil(); err = bpf_load'), /^t\.h: line \d+: expected "opts" of "opts \.", found "evil"$/],
    ['no load function', ONEMAP.replace('onemap__load(struct', 'onemap__lod(struct'), /^t\.h: line \d+: the file ends without the function "onemap"__load$/],
  ])('%s', (_, text, message) => {
    if (typeof message === 'string') expect(failure(text)).toBe(message);
    else expect(failure(text)).toMatch(message);
  });

  it('a header that is cut anywhere is refused', () => {
    const text = fixtureText('signed/onemap.lskel.h');
    for (let cut = 0; cut < text.length - 1; cut += 1 + Math.floor(cut / 80)) {
      expect(failure(text.slice(0, cut)), `cut at ${cut}`).toMatch(/^t\.h: /);
    }
    expect(failure(text.slice(0, -2))).toMatch(/^t\.h: line \d+: a comment that begins here does not end$/);
  });

  it('a header with one changed byte is read or refused, never more than that', () => {
    const bytes = Uint8Array.from(ONEMAP, (char) => char.charCodeAt(0));
    fc.assert(fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
      const changed = bytes.slice();
      changed[at] = byte;
      try {
        parseLightSkeleton(changed, 't.h');
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
      }
    }), { numRuns: 300 });
  });

  it('is done quickly with large junk', () => {
    const junk = new Uint8Array(8 << 20);
    for (let i = 0; i < junk.length; i++) junk[i] = (i * 7919) >> 3;
    expect(() => parseLightSkeleton(junk, 't.h')).toThrow(InputError);
    expect(() => parseLightSkeleton(junk.fill(0x7b), 't.h')).toThrow(/not a light skeleton/);
    expect(() => parseLightSkeleton(junk.fill(0x20), 't.h')).toThrow(/nothing but blanks/);
    expect(() => parseLightSkeleton(junk.fill(0x22), 't.h')).toThrow(/not a light skeleton/);
    expect(() => parseLightSkeleton(junk.fill(0x61), 't.h')).toThrow(/a name longer than/);
  });
});
