import { describe, expect, it } from 'vitest';
import * as A from '../../../isa/attr.ts';
import * as Info from '../../../isa/info.ts';
import * as U from '../../../isa/uapi.ts';

const LAYOUTS: Readonly<Record<string, A.Layout>> = Object.fromEntries(
  [...Object.entries(A), ...Object.entries(Info)].filter((entry) => typeof entry[1] === 'object' && !Array.isArray(entry[1])) as [string, A.Layout][],
);

const INFO_SIZES: Readonly<Record<string, number>> = {
  COMMON_ATTR: A.COMMON_ATTR_SIZE, PROG_INFO: Info.PROG_INFO_SIZE, MAP_INFO: Info.MAP_INFO_SIZE, BTF_INFO: Info.BTF_INFO_SIZE, LINK_INFO: Info.LINK_INFO_SIZE,
  TOKEN_INFO: Info.TOKEN_INFO_SIZE, FUNC_INFO: Info.FUNC_INFO_SIZE, LINE_INFO: Info.LINE_INFO_SIZE, CORE_RELO: Info.CORE_RELO_SIZE,
};

describe('layouts', () => {
  it('place every field inside its structure, aligned to its size, under its own name', () => {
    expect(Object.keys(LAYOUTS).length).toBeGreaterThan(25);
    for (const [name, layout] of Object.entries(LAYOUTS)) {
      for (const [key, field] of Object.entries(layout)) {
        expect(field.name).toBe(key);
        expect(field.offset % (field.kind === 'name' || field.kind === 'bytes' ? 1 : field.size), `${name}.${key}`).toBe(0);
        expect(field.offset + field.size, `${name}.${key}`).toBeLessThanOrEqual(INFO_SIZES[name] ?? A.ATTR_SIZE);
      }
    }
  });
  it('have the places that user space relies on', () => {
    expect(A.PROG_LOAD_ATTR.log_true_size.offset).toBe(140);
    expect(A.PROG_LOAD_ATTR.fd_array.offset).toBe(120);
    expect(A.PROG_LOAD_ATTR.keyring_id.offset).toBe(164);
    expect(A.MAP_CREATE_ATTR.excl_prog_hash.offset).toBe(80);
    expect(A.TEST_RUN_ATTR.ctx_in.offset).toBe(48);
    expect(Info.PROG_INFO.xlated_prog_insns.offset).toBe(32);
    expect(Info.MAP_INFO.hash.offset).toBe(88);
  });
});

describe('commands', () => {
  it('stand at their number', () => {
    expect(A.COMMANDS.length).toBe(39);
    for (const [index, spec] of A.COMMANDS.entries()) expect(spec.cmd).toBe(index);
    expect(A.commandByName('BPF_PROG_LOAD')?.cmd).toBe(U.BPF_PROG_LOAD);
    expect(A.commandByName('PROG_RUN')?.cmd).toBe(U.BPF_PROG_TEST_RUN);
    expect(A.commandByName('NOTHING')).toBeUndefined();
    expect(A.commandName(U.BPF_MAP_FREEZE | U.BPF_COMMON_ATTRS)).toBe('MAP_FREEZE');
    expect(A.commandName(99)).toBe('cmd 99');
  });
  it('know where their last field ends', () => {
    const ends = Object.fromEntries(A.COMMANDS.map((spec) => [spec.name, spec.end]));
    expect(ends).toMatchObject({ MAP_CREATE: 92, MAP_LOOKUP_ELEM: 32, MAP_DELETE_ELEM: 16, MAP_FREEZE: 4, PROG_LOAD: 168, OBJ_PIN: 20, PROG_ATTACH: 32,
      PROG_TEST_RUN: 76, MAP_GET_FD_BY_ID: 12, PROG_GET_FD_BY_ID: 4, LINK_CREATE: 64, BTF_LOAD: 40, PROG_STREAM_READ_BY_FD: 20 });
  });
  it('find a byte after their last field', () => {
    const freeze = A.COMMANDS[U.BPF_MAP_FREEZE]!;
    const view = new DataView(new ArrayBuffer(A.ATTR_SIZE + 8));
    view.setUint32(8, 77, true);
    expect(A.attrTailIsZero(view, 8, freeze)).toBe(true);
    view.setUint8(8 + A.ATTR_SIZE - 1, 1);
    expect(A.attrTailIsZero(view, 8, freeze)).toBe(false);
  });
});

describe('fields', () => {
  it('read what was written', () => {
    const view = new DataView(new ArrayBuffer(200), 16);
    A.writeInt(view, 8, A.PROG_LOAD_ATTR.insn_cnt, 0xfffffff0);
    A.writeInt(view, 8, A.PROG_LOAD_ATTR.prog_btf_fd, -1);
    A.writeLong(view, 8, A.PROG_LOAD_ATTR.insns, 0x123456789abcdefn);
    A.writeName(view, 8, A.PROG_LOAD_ATTR.prog_name, 'a_name_that_is_too_long');
    expect(A.readInt(view, 8, A.PROG_LOAD_ATTR.insn_cnt)).toBe(0xfffffff0);
    expect(A.readInt(view, 8, A.PROG_LOAD_ATTR.prog_btf_fd)).toBe(-1);
    expect(A.readLong(view, 8, A.PROG_LOAD_ATTR.insns)).toBe(0x123456789abcdefn);
    expect(A.readLow(view, 8, A.PROG_LOAD_ATTR.insns)).toBe(0x89abcdef | 0);
    expect(A.readHigh(view, 8, A.PROG_LOAD_ATTR.insns)).toBe(0x1234567);
    expect(A.readName(view, 8, A.PROG_LOAD_ATTR.prog_name)).toBe('a_name_that_is_');
    A.writeBytes(view, 0, Info.PROG_INFO.tag, Uint8Array.of(1, 2, 3));
    expect(A.readBytes(view, 0, Info.PROG_INFO.tag)).toEqual(Uint8Array.of(1, 2, 3, 0, 0, 0, 0, 0));
  });
  it('make the arguments of a trace', () => {
    const view = new DataView(new ArrayBuffer(A.ATTR_SIZE));
    A.writeInt(view, 0, A.MAP_CREATE_ATTR.map_type, 2);
    A.writeInt(view, 0, A.MAP_CREATE_ATTR.inner_map_fd, -1);
    A.writeName(view, 0, A.MAP_CREATE_ATTR.map_name, 'm"x');
    A.writeLong(view, 0, A.MAP_CREATE_ATTR.excl_prog_hash, 0xfffn);
    const texts = (size: number): readonly string[] => A.decodeArguments(U.BPF_MAP_CREATE, view, 0, size).map(A.formatArgument);
    expect(texts(A.ATTR_SIZE)).toEqual(['map_type=2', 'inner_map_fd=-1', 'map_name="m\\"x"', 'excl_prog_hash=0xfff']);
    expect(texts(24)).toEqual(['map_type=2', 'inner_map_fd=-1']);
    expect(A.decodeArguments(1000, view, 0, A.ATTR_SIZE)).toEqual([]);
  });
});
