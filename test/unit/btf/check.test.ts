import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { checkBTF } from '../../../btf/check.ts';
import { E2BIG, EEXIST } from '../../../isa/errno.ts';
import { BTFBuilder } from './build.ts';

function check(bytes: Uint8Array): { errno: number; log: string } {
  let log = '';
  const { errno } = checkBTF(bytes, { log: { write: (text) => { log += text; } } });
  return { errno, log };
}

describe('BPF_BTF_LOAD', () => {
  it('accepts and dumps', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4, 1);
    b.struct('s', 8, [['a', int, 0], ['', int, 32]]);
    const { errno, log } = check(b.build());
    expect(errno).toBe(0);
    expect(log.slice(log.indexOf('[1]'))).toBe([
      '[1] INT int size=4 bits_offset=0 nr_bits=32 encoding=SIGNED',
      '[2] STRUCT s size=8 vlen=2',
      '\ta type_id=1 bits_offset=0',
      '\t(anon) type_id=1 bits_offset=32',
      '',
    ].join('\n'));
  });

  it('is silent without a log', () => {
    const b = new BTFBuilder();
    b.int('int', 4);
    const { errno, btf } = checkBTF(b.build());
    expect(errno).toBe(0);
    expect(btf?.typeName(1)).toBe('int');
  });

  it('finds loops of arrays, pointers and structs', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4);
    b.array(3, int, 2);
    b.array(2, int, 2);
    expect(check(b.build())).toMatchObject({ errno: EEXIST, log: expect.stringContaining('Loop detected') });

    const p = new BTFBuilder();
    p.modifier(10, 2);
    p.pointer(1);
    expect(check(p.build()).errno).toBe(EEXIST);
  });

  it('limits the depth of references', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4);
    for (let i = 0; i < 40; i++) b.pointer(int + i + 2);
    b.pointer(int);
    expect(check(b.build())).toMatchObject({ errno: E2BIG, log: expect.stringContaining('Exceeded max resolving depth:32') });
  });

  it('counts a chain only up to what is known to be good', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4);
    for (let i = 0; i < 40; i++) b.modifier(10, int + i);
    expect(check(b.build()).errno).toBe(0);
  });

  it('ends on any bytes', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4);
    b.struct('s', 16, [['a', int, 0], ['b', 3, 64]]);
    b.pointer(2);
    b.func('f', b.proto(int, [['x', 3]]));
    b.type(15, '.data', 1, 16, [b.type(14, 'v', 0, 2, [1]), 0, 16]);
    const bytes = b.build();
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 5 }), fc.nat(bytes.length), (changes, length) => {
      const copy = bytes.slice(0, length === 0 ? bytes.length : length);
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
      expect(check(copy).errno).toBeGreaterThanOrEqual(0);
    }), { numRuns: 500 });
  });

  it('takes time linear in size', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4);
    for (let i = 0; i < 20_000; i++) b.struct(`s${i}`, 8, [['a', int, 0], ['b', int, 32]]);
    expect(check(b.build()).errno).toBe(0);
  });
});
