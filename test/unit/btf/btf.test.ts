import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { BTF, BTF_INT_SIGNED } from '../../../btf/btf.ts';
import { InputError } from '../../../isa/errors.ts';
import { BTF_KIND_FUNC, BTF_KIND_INT, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_UNION } from '../../../isa/uapi.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { BTFBuilder } from './build.ts';

describe('the type graph', () => {
  it('reads every kind back', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4, BTF_INT_SIGNED);
    const pointer = b.pointer(int);
    const array = b.array(int, int, 7);
    const struct = b.struct('pair', 12, [['a', int, 0], ['', pointer, 32]]);
    const flags = b.type(4, 'flags', 2, 4, [b.string('x'), int, (3 << 24) | 0, b.string('y'), int, (5 << 24) | 3], true);
    const signedEnum = b.enumeration('e', [['MINUS', -1], ['ONE', 1]], true);
    const wide = b.type(19, 'w', 1, 8, [b.string('BIG'), 1, 2]);
    const typedef = b.modifier(BTF_KIND_TYPEDEF, struct, 'pair_t');
    const constant = b.modifier(10, typedef);
    const proto = b.proto(int, [['p', pointer], ['', 0]]);
    const func = b.func('f', proto, 0);
    const variable = b.type(14, 'v', 0, constant, [1]);
    const section = b.type(15, '.data', 1, 16, [variable, 4, 12]);
    const tag = b.declTag('note', struct, 1);

    const btf = BTF.parse(b.build());
    expect(btf.endID).toBe(tag + 1);
    expect(btf.int(int)).toEqual({ size: 4, bits: 32, offset: 0, encoding: BTF_INT_SIGNED });
    expect([btf.arrayElementType(array), btf.arrayIndexType(array), btf.arrayLength(array)]).toEqual([int, int, 7]);
    expect(btf.members(struct)).toEqual([
      { name: 'a', type: int, bitOffset: 0, bitfieldSize: 0 }, { name: '', type: pointer, bitOffset: 32, bitfieldSize: 0 },
    ]);
    expect(btf.members(flags).map((m) => [m.bitOffset, m.bitfieldSize])).toEqual([[0, 3], [3, 5]]);
    expect(btf.findMember(flags, 'y')).toBe(1);
    expect(btf.enumValues(signedEnum).map((v) => v.value)).toEqual([-1n, 1n]);
    expect(btf.enumValues(wide).map((v) => v.value)).toEqual([0x2_0000_0001n]);
    expect(btf.skipModifiers(constant)).toBe(struct);
    expect(btf.params(proto)).toEqual([{ name: 'p', type: pointer }, { name: '', type: 0 }]);
    expect(btf.functionProto(func)).toBe(proto);
    expect(btf.functionLinkage(func)).toBe(0);
    expect(btf.variableLinkage(variable)).toBe(1);
    expect(btf.sectionVariables(section)).toEqual([{ type: variable, offset: 4, size: 12 }]);
    expect(btf.declTagComponent(tag)).toBe(1);
    expect([int, pointer, array, struct, constant, variable, proto, func].map((id) => btf.resolveSize(id)))
      .toEqual([4, 8, 28, 12, 12, 12, undefined, undefined]);
    expect(btf.sizedType(variable)).toBe(struct);
    expect(btf.sizedType(func)).toBeUndefined();
  });

  it('answers for ids that do not exist', () => {
    const b = new BTFBuilder();
    b.int('int', 4);
    const btf = BTF.parse(b.build());
    expect([btf.kind(0), btf.kind(1), btf.kind(2), btf.kind(0xffffffff), btf.kind(-1)]).toEqual([0, BTF_KIND_INT, -1, -1, -1]);
    expect(btf.typeName(99)).toBe('');
    expect(btf.resolveSize(99)).toBeUndefined();
    expect([btf.has(0), btf.has(1), btf.has(2)]).toEqual([true, true, false]);
  });

  it('finds by name and kind, lowest id first, sorted or not', () => {
    for (const names of [['a', 'b', 'b', 'c'], ['c', 'b', 'b', 'a']]) {
      const b = new BTFBuilder();
      const int = b.int('', 4);
      names.forEach((name, i) => b.struct(name, 4, [['m', int, 0]], i === 2 ? BTF_KIND_UNION : BTF_KIND_STRUCT));
      const btf = BTF.parse(b.build());
      expect(btf.namedStartID > 0).toBe(names[0] === 'a');
      expect(btf.findByNameKind('b', BTF_KIND_STRUCT)).toBe(3);
      expect(btf.findByNameKind('b', BTF_KIND_UNION)).toBe(4);
      expect(btf.findByNameKind('a', BTF_KIND_UNION)).toBe(0);
      expect(btf.findByNameKind('zz', BTF_KIND_STRUCT)).toBe(0);
      expect(btf.idsByPrefix('b')).toEqual([3, 4]);
    }
  });

  it('continues a base', () => {
    const b = new BTFBuilder();
    const int = b.int('int', 4);
    const base = BTF.parse(b.build());
    const s = new BTFBuilder(base.endID, base.header.stringLength);
    const pointer = s.pointer(int);
    const struct = s.struct('mod', 8, [['p', pointer, 0]]);
    const split = BTF.parse(s.build(), { base, name: 'module' });
    expect(split.startID).toBe(2);
    expect(split.kind(int)).toBe(BTF_KIND_INT);
    expect(split.typeName(int)).toBe('int');
    expect(split.typeName(struct)).toBe('mod');
    expect(split.findByNameKind('int', BTF_KIND_INT)).toBe(int);
    expect(split.findByNameKind('int', BTF_KIND_INT, true)).toBe(0);
    expect(split.findByNameKind('mod', BTF_KIND_STRUCT)).toBe(struct);
    expect(base.findByNameKind('mod', BTF_KIND_STRUCT)).toBe(0);
  });

  it('walks no cycle for ever', () => {
    const b = new BTFBuilder();
    b.modifier(10, 2);
    b.modifier(10, 1);
    b.array(3, 3, 2);
    const btf = BTF.parse(b.build());
    expect(btf.resolveSize(1)).toBeUndefined();
    expect(btf.resolveSize(3)).toBeUndefined();
    expect([1, 2]).toContain(btf.skipModifiers(1));
  });

  it('says where bytes are no BTF', () => {
    const good = new BTFBuilder();
    good.struct('s', 4, [['m', 1, 0]]);
    const bytes = good.build();
    const parse = (change: (copy: Uint8Array, view: DataView) => Uint8Array | void): (() => BTF) => () => {
      const copy = bytes.slice();
      return BTF.parse(change(copy, new DataView(copy.buffer)) ?? copy, { name: 'x.o' });
    };
    expect(parse((copy) => copy.subarray(0, 10))).toThrow('x.o: byte 10: ends inside the BTF header');
    expect(parse((_, view) => view.setUint16(0, 0x1234, true))).toThrow('x.o: byte 0: no BTF');
    expect(parse((_, view) => view.setUint16(0, 0xeb9f, false))).toThrow('big-endian');
    expect(parse((_, view) => view.setUint32(12, 0xfffffff0, true))).toThrow('type section');
    expect(parse((_, view) => view.setUint32(20, 0xfffffff0, true))).toThrow('string section');
    expect(parse((_, view) => view.setUint32(28, 0x04ffffff, true))).toThrow('type [1]: BTF type [1] is malformed: STRUCT exceeds the type section');
    expect(parse((_, view) => view.setUint32(28, 0x55000000, true))).toThrow('type [1]: unknown kind 85');
  });

  it('throws nothing but InputError', () => {
    const base = new BTFBuilder();
    const int = base.int('int', 4);
    base.struct('s', 8, [['a', int, 0], ['b', int, 32]]);
    const bytes = base.build();
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 6 }), (changes) => {
      const copy = bytes.slice();
      for (const [at, value] of changes) copy[at] = value;
      try {
        const btf = BTF.parse(copy);
        for (let id = 0; id <= btf.endID; id++) {
          btf.members(id);
          btf.resolveSize(id);
          btf.enumValues(id);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
      }
    }), { numRuns: 300 });
  });
});

describe("the kernel's BTF", () => {
  it('is sorted, and has what is needed', () => {
    const btf = BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true });
    expect(btf.endID).toBe(115094);
    expect(btf.namedStartID).toBeGreaterThan(0);
    const task = btf.findByNameKind('task_struct', BTF_KIND_STRUCT);
    expect(btf.typeName(task)).toBe('task_struct');
    expect(btf.memberName(task, 0)).toBe('thread_info');
    const kfunc = btf.findByNameKind('bpf_obj_new_impl', BTF_KIND_FUNC);
    expect(btf.params(btf.functionProto(kfunc)).map((p) => p.name)).toEqual(['local_type_id__k', 'meta__ign']);
  });
});
