import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../crypto/bytes.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS } from '../../../isa/uapi.ts';
import { detectContract } from '../../../loader/contract.ts';
import { decodeMetadata, type Metadata } from '../../../loader/metadata.ts';
import type { LightSkeleton } from '../../../loader/skeleton.ts';
import { digestAndTag } from '../../../verifier/tag.ts';
import { FIXTURES, fixture, fixturePath } from './fixtures.ts';

/** What Linux 7.3.4 showed after it had loaded a fixture. */
interface Expected {
  readonly maps: readonly {
    readonly name: string; readonly type: number; readonly key_size: number; readonly value_size: number; readonly max_entries: number;
    readonly map_flags: number; readonly map_extra: number; readonly frozen: number; readonly btf_key_type_id: number; readonly btf_value_type_id: number;
    readonly contents: readonly { readonly key: string; readonly value: string }[];
  }[];
  readonly progs: readonly { readonly name: string; readonly type: number; readonly tag: string; readonly nr_func_info: number; readonly nr_line_info: number; readonly maps: readonly number[] }[];
}

function expected(name: string): Expected {
  return JSON.parse(readFileSync(fixturePath(`expected/${name}.json`), 'utf8')) as Expected;
}

const cases = FIXTURES.flatMap((name) => [[name, `unsigned/${name}.lskel.h`, name], [name, `signed/${name}.lskel.h`, `${name}.signed`]] as const);

function bytesOf({ explained, unexplained }: Metadata): number {
  return [...explained, ...unexplained].reduce((sum, { start, end }) => sum + end - start, 0);
}

describe('what a loader will install is what Linux shows after it ran', () => {
  it.each(cases)('%s (%s)', (_, path, answers) => {
    const metadata = decodeMetadata(fixture(path));
    const want = expected(answers);
    const maps = metadata.maps.filter((map) => map.index !== undefined);
    expect(maps.map((map) => [map.kernelName, map.type, map.keySize, map.valueSize, map.maxEntries, map.frozen ? 1 : 0, map.btfKeyTypeID, map.btfValueTypeID]))
      .toEqual(want.maps.map((map) => [map.name, map.type, map.key_size, map.value_size, map.max_entries, map.frozen, map.btf_key_type_id, map.btf_value_type_id]));
    expect(maps.map((map) => map.flags)).toEqual(want.maps.map((map) => map.map_flags));
    expect(metadata.programs.map((program) => [program.kernelName, program.type, program.functionInfoCount]))
      .toEqual(want.progs.map((program) => [program.name, program.type, program.nr_func_info]));
    for (const [index, program] of metadata.programs.entries()) {
      const used = [...new Set(program.mapReferences.map(({ map }) => (map === undefined ? -1 : metadata.maps[map]?.index ?? -1)))];
      // The kernel drops the lines of code that it found dead.
      expect(program.lineInfoCount).toBeGreaterThanOrEqual(want.progs[index]?.nr_line_info ?? Infinity);
      expect(used.toSorted((a, b) => a - b)).toEqual(want.progs[index]?.maps.toSorted((a, b) => a - b));
      // CO-RE relocations are the kernel's, and come before the tag.
      if ([...metadata.relocations, ...metadata.coreRelocations].some((relocation) => relocation.program === index)) continue;
      expect(toHex(digestAndTag(program.signedInstructions).subarray(0, 8))).toBe(want.progs[index]?.tag);
    }
  });

  it.each(cases)('%s (%s): first contents', (_, path, answers) => {
    const want = expected(answers).maps;
    for (const map of decodeMetadata(fixture(path)).maps) {
      const isOuter = map.type === BPF_MAP_TYPE_ARRAY_OF_MAPS || map.type === BPF_MAP_TYPE_HASH_OF_MAPS;
      for (const { key, value } of map.elements) {
        const found = want[map.index ?? -1]?.contents.find((element) => element.key === toHex(key));
        expect(found, `${map.name}[${toHex(key)}]`).toBeDefined();
        if (!isOuter) expect(found?.value).toBe(toHex(value));
      }
    }
  });

  it.each(cases)('%s (%s): every byte of the metadata is explained', (_, path) => {
    const skeleton = fixture(path);
    const metadata = decodeMetadata(skeleton);
    expect(metadata.stopped).toBeUndefined();
    expect(metadata.unexplained).toEqual([]);
    expect(bytesOf(metadata)).toBe(skeleton.metadata.length);
    expect(metadata.programs.map((program) => program.name)).toEqual(skeleton.programs.map((program) => program.name));
  });
});

describe('relocations', () => {
  const metadata = decodeMetadata(fixture('signed/kfuncs.lskel.h'));

  it('names every kernel function and symbol with its instruction', () => {
    const found = metadata.relocations.map(({ program, instruction, kind, name }) => `${metadata.programs[program]?.name}:${instruction} ${kind} ${name}`);
    expect(found).toEqual([
      'use_ctx:0 kfunc bpf_cast_to_kern_ctx', 'use_task:1 kfunc bpf_task_from_pid', 'use_task:8 kfunc bpf_task_release',
      'use_task:9 kfunc no_such_kfunc', 'use_task:17 ksym_typeless no_such_symbol', 'use_task:27 ksym_typeless init_task',
      'use_percpu:0 ksym bpf_prog_active', 'use_percpu:4 ksym runqueues',
    ]);
  });

  it('names targets that are looked up to attach to', () => {
    const { programs } = decodeMetadata(fixture('unsigned/tracing.lskel.h'));
    expect(programs.some((program) => program.attachTarget !== undefined)).toBe(true);
  });
});

describe('signed and unsigned loaders', () => {
  it('let the caller choose sizes and contents only where they are unsigned', () => {
    const unsigned = decodeMetadata(fixture('unsigned/globals.lskel.h'));
    const signed = decodeMetadata(fixture('signed/globals.lskel.h'));
    expect(unsigned.maps.map((map) => [map.resizable, map.elements[0]?.fromProcess])).toEqual([[true, true], [true, true], [true, true]]);
    expect(signed.maps.map((map) => [map.resizable, map.elements[0]?.fromProcess])).toEqual([[false, false], [false, false], [false, false]]);
  });

  it('tell their contract', () => {
    expect(detectContract(fixture('unsigned/onemap.lskel.h')).contract).toBe('unsigned');
    expect(detectContract(fixture('signed/onemap.lskel.h')).contract).toBe('load-time');
    for (const name of ['nomap', 'onemap', 'globals', 'runnable']) {
      const skeleton = fixture(`in-loader-check/${name}.lskel.h`);
      const evidence = detectContract(skeleton);
      expect(evidence).toMatchObject({ contract: 'in-loader', bakedHashMatches: true });
      expect(evidence.bakedHash).toEqual(sha256(skeleton.metadata));
      expect(decodeMetadata(skeleton).stopped).toBeUndefined();
    }
  });

  it('an in-loader check fails once the metadata was changed', () => {
    const skeleton = fixture('in-loader-check/onemap.lskel.h');
    const metadata = skeleton.metadata.slice();
    metadata[metadata.length - 1] = 1;
    expect(detectContract({ ...skeleton, metadata }).bakedHashMatches).toBe(false);
    expect(decodeMetadata({ ...skeleton, metadata }).stopped).toBe('the loader returns -22 without any call having failed');
  });
});

describe('hostile loaders', () => {
  const base = fixture('unsigned/onemap.lskel.h');
  const withInstructions = (...slots: readonly number[][]): LightSkeleton => ({ ...base, instructions: Uint8Array.from(slots.flat()) });
  const EXIT = [0x95, 0, 0, 0, 0, 0, 0, 0];

  it('an appended byte is not explained', () => {
    const metadata = new Uint8Array(base.metadata.length + 16);
    metadata.set(base.metadata);
    metadata[metadata.length - 3] = 7;
    expect(decodeMetadata({ ...base, metadata }).unexplained).toEqual([{ start: base.metadata.length, end: metadata.length }]);
  });

  it.each([
    ['an endless loop', [[0x05, 0, 0xff, 0xff, 0, 0, 0, 0]], /more than 2000000 instructions/],
    ['a fall off the end', [[0xb7, 0, 0, 0, 0, 0, 0, 0]], /control leaves the program/],
    ['a read through a null pointer', [[0x79, 0x20, 0, 0, 0, 0, 0, 0], EXIT], /a read of 8 bytes outside its memory/],
    ['a store beyond the stack', [[0x7b, 0x1a, 8, 0, 0, 0, 0, 0], EXIT], /a store to 8 bytes outside its memory/],
    ['another helper', [[0x85, 0, 0, 0, 1, 0, 0, 0], EXIT], /helper 1, which no generated loader calls/],
    ['half a load', [[0x18, 0x60, 0, 0, 0, 0, 0, 0]], /half of a 16-byte load/],
    ['a write to the frame pointer', [[0xb7, 0x0a, 0, 0, 0, 0, 0, 0], EXIT], /writes r10/],
    ['an atomic', [[0xdb, 0x1a, 0xf8, 0xff, 0, 0, 0, 0], EXIT], /an atomic operation/],
  ])('%s ends the dry run', (_, slots, message) => {
    expect(decodeMetadata(withInstructions(...slots)).stopped).toMatch(message);
  });

  it('any instructions end the dry run', () => {
    let seed = 1;
    const random = (): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 24;
    for (let run = 0; run < 300; run++) {
      const instructions = base.instructions.slice(0, 8 * 40);
      for (let i = 0; i < 6; i++) instructions[random() % instructions.length] = random();
      expect(typeof (decodeMetadata({ ...base, instructions }).stopped ?? '')).toBe('string');
    }
  });
});
