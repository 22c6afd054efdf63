/**
 * What a process sees through `bpf()` after each skeleton was loaded, against what Linux 7.3.4 showed of the same skeleton
 * (test/fixtures/expected, recorded by test/fixtures/oracle): instruction bytes after verification, maps within maps, runs.
 */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../crypto/bytes.ts';
import { PROG_INFO, PROG_INFO_SIZE } from '../../isa/info.ts';
import { BPF_MAP_LOOKUP_ELEM, BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_TEST_RUN } from '../../isa/uapi.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { destroySkeleton, isLoaded, loadAndRun, type LoadFailure, type LoadedSkeleton } from '../../loader/load-and-run.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { FIXTURES, fixture, fixturePath } from '../unit/loader/fixtures.ts';

interface Contents {
  readonly key: string;
  readonly value?: string;
  /** Index of the inner map in the skeleton. */
  readonly inner?: number;
}
interface Expected {
  readonly err: number;
  readonly maps?: readonly { readonly name: string; readonly value_size: number; readonly contents: readonly Contents[] | null }[];
  readonly progs?: readonly { readonly name: string; readonly xlated: string; readonly xlated_insns: number; readonly verified_insns: number; readonly maps: readonly number[] }[];
  readonly runs?: readonly { readonly prog: string; readonly ctx: string; readonly ret: number; readonly retval: number; readonly ctx_after: string }[];
  readonly maps_after?: readonly (readonly Contents[] | null)[];
}

const expected = (name: string): Expected => JSON.parse(readFileSync(fixturePath(`expected/${name}.json`), 'utf8')) as Expected;
const fromHex = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));

function kernelWithKeys(): Kernel {
  const kernel = new Kernel({ kernelBTF: () => loadKernelBTF() });
  for (const key of ['rsa2048', 'rsa4096', 'p256', 'p384']) {
    expect(kernel.addKey('asymmetric', key, readFileSync(fixturePath(`keys/${key}.der`)), -3)).toBeGreaterThan(0);
  }
  return kernel;
}

/** `bpf()` with attr as words, buffers at the offsets of `pointers`; gives the result and reads the buffers back. */
function call(kernel: Kernel, cmd: number, size: number, words: Readonly<Record<number, number>>, pointers: Readonly<Record<number, Uint8Array>>): { ret: number; attr: DataView } {
  const attr = new DataView(new ArrayBuffer(size));
  for (const [offset, value] of Object.entries(words)) attr.setUint32(Number(offset), value, true);
  const placed = Object.entries(pointers).map(([offset, bytes]) => {
    const address = kernel.userAlloc(bytes.length);
    kernel.writeUser(address, bytes);
    attr.setBigUint64(Number(offset), BigInt(address), true);
    return { address, bytes };
  });
  const at = kernel.userAlloc(new Uint8Array(attr.buffer));
  const ret = kernel.bpf(cmd, at, size);
  for (const { address, bytes } of placed) {
    bytes.set(kernel.readUser(address, bytes.length));
    kernel.freeUser(address);
  }
  const after = kernel.readUser(at, size).slice();
  kernel.freeUser(at);
  return { ret, attr: new DataView(after.buffer) };
}

/** Instruction bytes as the kernel shows them, and the map ids that they and `map_ids` name. */
function xlated(kernel: Kernel, fd: number, mapIDs: readonly number[]): { text: string; maps: readonly number[]; verified: number } {
  const first = new Uint8Array(PROG_INFO_SIZE);
  expect(call(kernel, BPF_OBJ_GET_INFO_BY_FD, 16, { 0: fd, 4: PROG_INFO_SIZE }, { 8: first }).ret).toBe(0);
  const facts = new DataView(first.buffer);
  const length = facts.getUint32(PROG_INFO.xlated_prog_len.offset, true);
  const count = facts.getUint32(PROG_INFO.nr_map_ids.offset, true);
  const code = kernel.userAlloc(length), ids = kernel.userAlloc(4 * count);
  const info = new Uint8Array(PROG_INFO_SIZE), view = new DataView(info.buffer);
  view.setUint32(PROG_INFO.xlated_prog_len.offset, length, true);
  view.setBigUint64(PROG_INFO.xlated_prog_insns.offset, BigInt(code), true);
  view.setUint32(PROG_INFO.nr_map_ids.offset, count, true);
  view.setBigUint64(PROG_INFO.map_ids.offset, BigInt(ids), true);
  expect(call(kernel, BPF_OBJ_GET_INFO_BY_FD, 16, { 0: fd, 4: PROG_INFO_SIZE }, { 8: info }).ret).toBe(0);
  const instructions = kernel.readUser(code, length).slice(), used = kernel.readUser(ids, 4 * count).slice();
  kernel.freeUser(code);
  kernel.freeUser(ids);
  const maps = Array.from({ length: count }, (_, i) => mapIDs.indexOf(new DataView(used.buffer).getUint32(4 * i, true)));
  return { text: comparable(instructions, (id) => mapIDs.indexOf(id)), maps, verified: facts.getUint32(PROG_INFO.verified_insns.offset, true) };
}

/** Hex, an instruction a line, without what differs from boot to boot: targets of calls to the kernel, kernel addresses, map ids. */
function comparable(code: Uint8Array, mapIndex: (id: number) => number): string {
  const bytes = code.slice(), view = new DataView(bytes.buffer);
  const lines: string[] = [];
  for (let i = 0; i < bytes.length; i += 8) {
    const op = bytes[i], src = (bytes[i + 1] ?? 0) >> 4;
    if (op === 0x85 && src !== 1) view.setInt32(i + 4, 0, true);
    if (op === 0x18) {
      if (src === 1 || src === 2) view.setInt32(i + 4, mapIndex(view.getUint32(i + 4, true)), true);
      else if (view.getUint32(i + 12, true) >= 0xffff0000 && src === 0) {
        view.setUint32(i + 4, 0, true);
        view.setUint32(i + 12, 0, true);
      }
      lines.push(toHex(bytes.subarray(i, i + 8)));
      i += 8;
    }
    lines.push(toHex(bytes.subarray(i, i + 8)));
  }
  return lines.join('\n');
}

function load(kernel: Kernel, path: string): LoadedSkeleton | LoadFailure {
  return loadAndRun(kernel, fixture(path));
}

function whileLoaded(path: string, look: (kernel: Kernel, loaded: LoadedSkeleton, idOf: (fd: number) => number) => void): void {
  const kernel = kernelWithKeys();
  const outcome = load(kernel, path);
  if (!isLoaded(outcome)) throw new Error(`${outcome.errno} ${outcome.message}`);
  const { files } = kernel.objects();
  look(kernel, outcome, (fd) => files.find((file) => file.fd === fd)?.id ?? -1);
  destroySkeleton(kernel, outcome);
  expect(kernel.objects()).toMatchObject({ files: [], maps: [], programs: [] });
}

describe.each(FIXTURES)('%s', (name) => {
  const want = expected(name);

  it.each(['unsigned', 'signed'])('%s: instruction bytes and maps of every program', (kind) => {
    whileLoaded(`${kind}/${name}.lskel.h`, (kernel, { maps, programs }, idOf) => {
      const ids = maps.map(({ fd }) => idOf(fd));
      const got = programs.map(({ fd }) => xlated(kernel, fd, ids));
      expect(got.map(({ text }) => text)).toEqual(want.progs?.map((program) => comparable(fromHex(program.xlated), (index) => index)));
      expect(got.map(({ maps: used }) => used)).toEqual(want.progs?.map(({ maps: used }) => used));
      expect(got.map(({ verified }) => verified)).toEqual(want.progs?.map(({ verified_insns }) => verified_insns));
    });
  });

  it('elements of maps of maps', () => {
    whileLoaded(`unsigned/${name}.lskel.h`, (kernel, { maps }, idOf) => {
      for (const [index, { contents, value_size }] of (want.maps ?? []).entries()) {
        for (const { key, inner } of contents ?? []) {
          if (inner === undefined) continue;
          const value = new Uint8Array(value_size);
          expect(call(kernel, BPF_MAP_LOOKUP_ELEM, 32, { 0: maps[index]?.fd ?? -1 }, { 8: fromHex(key), 16: value }).ret).toBe(0);
          expect(new DataView(value.buffer).getUint32(0, true)).toBe(idOf(maps[inner]?.fd ?? -1));
        }
      }
    });
  });
});

describe.each(FIXTURES.filter((name) => expected(name).runs !== undefined))('running %s', (name) => {
  const { runs = [], maps_after: after = [], maps: before = [] } = expected(name);

  it('gives the result, context and map contents of Linux', () => {
    whileLoaded(`signed/${name}.lskel.h`, (kernel, { maps, programs }) => {
      for (const { prog, ctx, ret, retval, ctx_after } of runs) {
        const fd = programs.find((program) => program.name === prog)?.fd ?? -1;
        const context = fromHex(ctx);
        const { ret: got, attr } = call(kernel, BPF_PROG_TEST_RUN, 80, { 0: fd, 40: context.length }, { 48: context });
        expect([got, attr.getUint32(4, true), toHex(context)]).toEqual([ret, retval, ctx_after]);
      }
      for (const [index, contents] of after.entries()) {
        // the address of a kernel symbol is another on every boot
        for (const { key, value } of name === 'kfuncs' ? [] : contents ?? []) {
          if (value === undefined) continue;
          const found = new Uint8Array(before[index]?.value_size ?? 0);
          expect(call(kernel, BPF_MAP_LOOKUP_ELEM, 32, { 0: maps[index]?.fd ?? -1 }, { 8: fromHex(key), 16: found }).ret).toBe(0);
          expect(toHex(found), `${before[index]?.name}[${key}]`).toBe(value);
        }
      }
    });
  });
});

describe('a skeleton that Linux refuses', () => {
  const refused = ['rejected', ...['globals', 'nomap', 'onemap', 'runnable'].map((name) => `${name}.in-loader-check.bound`)];

  it.each(refused)('%s: the same error, nothing left', (name) => {
    const { err } = expected(name);
    const [fixtureName, contract] = name.split('.');
    const kernel = kernelWithKeys();
    const outcome = load(kernel, `${contract ?? 'signed'}/${fixtureName}.lskel.h`);
    if (isLoaded(outcome)) throw new Error('it was loaded');
    expect(-outcome.errno).toBe(err);
    expect(kernel.objects()).toMatchObject({ files: [], maps: [], programs: [], btfs: [], links: [] });
  });

  it('every expectation belongs to a fixture', () => {
    for (const name of FIXTURES) expect(existsSync(fixturePath(`expected/${name}.signed.json`)), name).toBe(true);
    for (const name of FIXTURES) expect(expected(`${name}.signed`), name).toEqual(expected(name));
  });
});
