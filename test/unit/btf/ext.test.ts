import { describe, expect, it } from 'vitest';
import { BTF } from '../../../btf/btf.ts';
import { dumpText, describeType } from '../../../btf/dump.ts';
import { parseBTFExt } from '../../../btf/ext.ts';
import { findDeclTagValue, parseFields, BPF_SPIN_LOCK, BPF_TIMER, MAP_VALUE_FIELDS } from '../../../btf/record.ts';
import { shownTypeName } from '../../../btf/type_name.ts';
import { E2BIG, EEXIST, EINVAL, ENOENT } from '../../../isa/errno.ts';
import { BTFBuilder } from './build.ts';

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setUint32(i * 4, value, true));
  return bytes;
}

function header(...fields: number[]): number[] {
  return [0x0001eb9f, 8 + fields.length * 4, ...fields];
}

describe('.BTF.ext', () => {
  const b = new BTFBuilder();
  const int = b.int('int', 4, 1);
  const func = b.func('main', b.proto(int, []));
  const section = b.string('tc');
  const btf = BTF.parse(b.build());

  it('gives functions, lines and relocations by section', () => {
    const bytes = words(
      ...header(0, 20, 20, 28, 48, 28),
      8, section, 1, 0, func,
      16, section, 1, 8, section, section, (12 << 10) | 5,
      16, section, 1, 16, int, section, 7,
    );
    expect(parseBTFExt(bytes, btf)).toEqual({
      functions: [{ section: 'tc', records: [{ instructionOffset: 0, typeID: func }] }],
      functionRecordSize: 8,
      lines: [{ section: 'tc', records: [{ instructionOffset: 8, fileNameOffset: section, lineOffset: section, line: 12, column: 5 }] }],
      lineRecordSize: 16,
      relocations: [{ section: 'tc', records: [{ instructionOffset: 16, typeID: int, accessStringOffset: section, kind: 7 }] }],
      relocationRecordSize: 16,
    });
  });

  it('does without relocations where the header is the older one', () => {
    const bytes = words(...header(0, 20, 20, 0), 8, section, 1, 0, func);
    expect(parseBTFExt(bytes, btf)).toMatchObject({ relocations: [], relocationRecordSize: 0 });
  });

  it.each([
    ['short header', words(0x0001eb9f, 24), 'byte 8: ends inside'],
    ['magic', words(0x0001abcd, 24, 0, 0, 0, 0), 'wrong magic'],
    ['section outside', words(...header(0, 400, 0, 0)), 'func_info (0, 400 bytes) exceeds 24'],
    ['record size', words(...header(0, 20, 0, 0), 4, 0, 1, 0, 0), 'invalid record size 4'],
    ['no records', words(...header(0, 12, 0, 0), 8, 0, 0), 'without records'],
    ['too many records', words(...header(0, 20, 0, 0), 8, 0, 0xffffffff, 0, 0), 'ends inside the records'],
    ['name', words(...header(0, 20, 0, 0), 8, 9999, 1, 0, 0), 'outside the string section'],
  ])('says what is wrong: %s', (_, bytes, message) => {
    expect(() => parseBTFExt(bytes, btf, 'x.o')).toThrow(message);
  });
});

describe('special fields', () => {
  const noKernel = (): undefined => undefined;

  it('finds locks and timers, once each', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4, 1);
    const lock = b.struct('bpf_spin_lock', 4, [['val', int, 0]]);
    const timer = b.struct('bpf_timer', 16, [['a', int, 0]]);
    const good = b.struct('good', 24, [['l', lock, 32], ['t', timer, 64]]);
    const twice = b.struct('twice', 8, [['l', lock, 0], ['m', lock, 32]]);
    const array = b.struct('array', 8, [['l', b.array(lock, int, 2), 0]]);
    const plain = b.struct('plain', 4, [['x', int, 0]]);
    const btf = BTF.parse(b.build());
    const parse = (id: number, size: number): unknown => parseFields(btf, id, MAP_VALUE_FIELDS, size, noKernel);
    expect(parse(good, 24)).toMatchObject({ fieldMask: BPF_SPIN_LOCK | BPF_TIMER, spinLockOffset: 4, timerOffset: 8 });
    expect(parse(twice, 8)).toBe(-E2BIG);
    expect(parse(array, 8)).toBe(-EINVAL);
    expect(parse(plain, 4)).toBeUndefined();
  });

  it('reads declaration tags', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4, 1);
    const struct = b.struct('s', 4, [['x', int, 0]]);
    b.declTag('contains:n:l', struct, 0);
    b.declTag('key:1', struct, -1);
    b.declTag('key:2', struct, -1);
    const btf = BTF.parse(b.build());
    expect(findDeclTagValue(btf, struct, 0, 'contains:')).toBe('n:l');
    expect(findDeclTagValue(btf, struct, 1, 'contains:')).toBe(-ENOENT);
    expect(findDeclTagValue(btf, struct, -1, 'key:')).toBe(-EEXIST);
  });
});

describe('listings', () => {
  const b = new BTFBuilder();
  const int = b.int('int', 4, 1);
  const struct = b.struct('s', 8, [['a', int, 0], ['', b.pointer(int), 0]]);
  const values = b.enumeration('e', [['MINUS', -1]]);
  const variable = b.type(14, 'v', 0, struct, [1]);
  const section = b.type(15, '.data', 1, 8, [variable, 0, 8]);
  const typedef = b.modifier(8, struct, 's_t');
  const pointers = b.pointer(b.pointer(b.modifier(10, typedef)));
  const btf = BTF.parse(b.build());

  it('are those of bpftool', () => {
    expect([...dumpText(btf, [int, struct, values, variable, section])].join('')).toBe([
      "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
      "[3] STRUCT 's' size=8 vlen=2",
      "\t'a' type_id=1 bits_offset=0",
      "\t'(anon)' type_id=2 bits_offset=0",
      "[4] ENUM 'e' encoding=UNSIGNED size=4 vlen=1",
      "\t'MINUS' val=4294967295",
      "[5] VAR 'v' type_id=3, linkage=global",
      "[6] DATASEC '.data' size=8 vlen=1",
      "\ttype_id=5 offset=0 size=8 (VAR 'v')",
      '',
    ].join('\n'));
    expect(describeType(btf, values)).toEqual({
      id: values, kind: 'ENUM', name: 'e', encoding: 'UNSIGNED', size: 4, vlen: 1, values: [{ name: 'MINUS', val: 0xffffffffffffffffn }],
    });
  });

  it('name types as the kernel shows them', () => {
    expect([struct, typedef, pointers, int, 0].map((id) => shownTypeName(btf, id)))
      .toEqual(['(struct s){', '(s_t){', '(s_t **)', '(int)', '(void)']);
  });
});
