import { describe, expect, it } from 'vitest';
import { COMMANDS, MAP_CREATE_ATTR, PROG_LOAD_ATTR, readInt, readLong, readName } from '../../../isa/attr.ts';
import { ENOMEM, EPERM } from '../../../isa/errno.ts';
import * as U from '../../../isa/uapi.ts';
import { attachProgram, destroySkeleton, isLoaded, loadAndRun, type LoadOptions } from '../../../loader/load-and-run.ts';
import type { LightSkeleton } from '../../../loader/skeleton.ts';
import { FakePort } from './fake-port.ts';
import { fixture } from './fixtures.ts';

const unsigned = fixture('unsigned/globals.lskel.h');
const signed = fixture('signed/globals.lskel.h');

/** A port whose loader hands out a file descriptor for everything. */
function workingPort(skeleton: LightSkeleton): FakePort {
  const port = new FakePort();
  port.onRun = (context) => {
    for (const i of skeleton.maps.keys()) context.setInt32(24 + 16 * i, port.openFD(), true);
    for (const i of skeleton.programs.keys()) context.setInt32(24 + 16 * skeleton.maps.length + 4 * i, port.openFD(), true);
  };
  return port;
}

const names = (port: FakePort): (string | undefined)[] => port.calls.map((call) => COMMANDS[call.cmd]?.name);
const attr = (port: FakePort, cmd: number): DataView => new DataView(port.calls.find((call) => call.cmd === cmd)?.attr.buffer ?? new ArrayBuffer(0));
const isEmpty = (port: FakePort): void => {
  expect([...port.openFDs], 'open file descriptors').toEqual([]);
  expect([...port.blocks], 'user memory').toEqual([]);
  expect([...port.mappings], 'mappings').toEqual([]);
};

describe('the steps', () => {
  it('come in the order of skel_internal.h', () => {
    const port = workingPort(unsigned);
    const outcome = loadAndRun(port, unsigned);
    expect(isLoaded(outcome)).toBe(true);
    expect(names(port)).toEqual(['MAP_CREATE', 'MAP_UPDATE_ELEM', 'MAP_FREEZE', 'PROG_LOAD', 'PROG_TEST_RUN']);
    expect(port.calls.map((call) => call.attr.length)).toEqual([92, 32, 4, 168, 80]);
    if (isLoaded(outcome)) destroySkeleton(port, outcome);
    isEmpty(port);
  });

  it('of Linux 6.18 ask for the hash and bind no map', () => {
    const port = workingPort(signed);
    const outcome = loadAndRun(port, signed, { userSpace: '6.18' });
    expect(names(port)).toEqual(['MAP_CREATE', 'MAP_UPDATE_ELEM', 'MAP_FREEZE', 'OBJ_GET_INFO_BY_FD', 'PROG_LOAD', 'PROG_TEST_RUN']);
    expect(readInt(attr(port, U.BPF_PROG_LOAD), 0, PROG_LOAD_ATTR.fd_array_cnt)).toBe(0);
    if (isLoaded(outcome)) destroySkeleton(port, outcome);
    isEmpty(port);
  });

  it('of a signed skeleton carry signature, digest and keyring', () => {
    const port = workingPort(signed);
    loadAndRun(port, signed, { keyringID: 77 });
    const create = attr(port, U.BPF_MAP_CREATE);
    const load = attr(port, U.BPF_PROG_LOAD);
    expect(readName(create, 0, MAP_CREATE_ATTR.map_name)).toBe('__loader.map');
    expect(readInt(create, 0, MAP_CREATE_ATTR.value_size)).toBe(signed.metadata.length);
    expect(readInt(create, 0, MAP_CREATE_ATTR.excl_prog_hash_size)).toBe(32);
    expect(readInt(load, 0, PROG_LOAD_ATTR.prog_type)).toBe(U.BPF_PROG_TYPE_SYSCALL);
    expect(readInt(load, 0, PROG_LOAD_ATTR.prog_flags)).toBe(16);
    expect(readInt(load, 0, PROG_LOAD_ATTR.insn_cnt)).toBe(signed.instructions.length / 8);
    expect(readInt(load, 0, PROG_LOAD_ATTR.signature_size)).toBe(signed.signature?.bytes.length);
    expect(readInt(load, 0, PROG_LOAD_ATTR.keyring_id)).toBe(77);
    expect(readInt(load, 0, PROG_LOAD_ATTR.fd_array_cnt)).toBe(1);
    expect(readName(load, 0, PROG_LOAD_ATTR.prog_name)).toBe('__loader.prog');
  });

  it('of an unsigned skeleton leave all of that out', () => {
    const port = workingPort(unsigned);
    loadAndRun(port, unsigned, { keyringID: 77 });
    const load = attr(port, U.BPF_PROG_LOAD);
    expect(readLong(attr(port, U.BPF_MAP_CREATE), 0, MAP_CREATE_ATTR.excl_prog_hash)).toBe(0n);
    expect([readLong(load, 0, PROG_LOAD_ATTR.signature), readInt(load, 0, PROG_LOAD_ATTR.fd_array_cnt), readInt(load, 0, PROG_LOAD_ATTR.keyring_id)]).toEqual([0n, 0, 0]);
  });
});

describe('the context', () => {
  function contextOf(options: LoadOptions): { readonly bytes: Uint8Array; readonly port: FakePort } {
    const port = workingPort(unsigned);
    const onRun = port.onRun;
    let bytes = new Uint8Array(0);
    port.onRun = (context) => {
      bytes = new Uint8Array(context.buffer, context.byteOffset, context.byteLength).slice();
      onRun(context);
    };
    loadAndRun(port, unsigned, options);
    return { bytes, port };
  }

  it('has the layout of the skeleton\'s struct', () => {
    const { bytes, port } = contextOf({ log: { level: 2, size: 4096 }, maxEntries: new Map([['bss', 9]]) });
    const view = new DataView(bytes.buffer);
    expect(bytes.length).toBe(24 + 16 * 3 + 4);
    expect([view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true), view.getUint32(12, true)]).toEqual([bytes.length, 0, 2, 4096]);
    expect(view.getBigUint64(16, true)).not.toBe(0n);
    expect([0, 1, 2].map((i) => view.getUint32(24 + 16 * i + 4, true))).toEqual([0, 0, 9]);
    expect([0, 1, 2].map((i) => port.mappings.has(Number(view.getBigUint64(24 + 16 * i + 8, true))))).toEqual([true, true, true]);
  });

  it('points at the skeleton\'s own initial values, or the caller\'s', () => {
    const own = Uint8Array.of(9, 9, 9);
    const port = workingPort(unsigned);
    const seen: Uint8Array[] = [];
    const onRun = port.onRun;
    port.onRun = (context) => {
      for (const [i, map] of unsigned.maps.entries()) seen.push(port.readUser(Number(context.getBigUint64(24 + 16 * i + 8, true)), map.data?.initialValue.length ?? 0));
      onRun(context);
    };
    loadAndRun(port, unsigned, { data: new Map([['data', own]]) });
    expect(seen[0]).toEqual(unsigned.maps[0]?.data?.initialValue);
    expect(seen[1]?.slice(0, 3)).toEqual(own);
    expect(seen[1]?.slice(3)).toEqual(unsigned.maps[1]?.data?.initialValue.slice(3));
  });
});

describe('after the load', () => {
  it('data sections are mapped from their maps, read-only ones for reading', () => {
    const port = workingPort(unsigned);
    const outcome = loadAndRun(port, unsigned);
    if (!isLoaded(outcome)) throw new Error('not loaded');
    expect(outcome.maps.map((map) => [map.name, port.mappings.get(map.address ?? 0)])).toEqual([
      ['rodata', { length: 4096, prot: 1, fd: outcome.maps[0]?.fd }],
      ['data', { length: 4096, prot: 3, fd: outcome.maps[1]?.fd }],
      ['bss', { length: 4096, prot: 3, fd: outcome.maps[2]?.fd }],
    ]);
    expect([...port.blocks]).toEqual([]);
  });

  it('programs attach as the skeleton says', () => {
    const skeleton = fixture('unsigned/kfuncs.lskel.h');
    const port = new FakePort();
    expect(attachProgram(port, skeleton, { name: 'use_ctx', fd: 9 })).toBe(0);
    expect(attachProgram(port, skeleton, { name: 'use_percpu', fd: 9 })).toBeGreaterThan(0);
    expect(names(port)).toEqual(['RAW_TRACEPOINT_OPEN']);
    expect([...port.blocks]).toEqual([]);
  });
});

describe('failures', () => {
  it('a loader that returns an error is reported with it', () => {
    const port = workingPort(unsigned);
    port.retval = -EPERM;
    expect(loadAndRun(port, unsigned)).toMatchObject({ errno: EPERM, retval: -EPERM, step: 'run of loader prog', message: 'error returned by loader prog' });
    isEmpty(port);
  });

  it.each([[0, 1 << 16], [1, 1 << 16], [4095, 1 << 16], [4096, 1 << 16], [40_000, 1 << 16], [99, 100], [5000, 5000]])(
    'a log of %i characters in a buffer of %i bytes is read to its end and no farther', (characters, size) => {
      const port = workingPort(signed), text = 'x'.repeat(characters);
      const bpf = port.bpf.bind(port);
      port.bpf = (command, address, length) => {
        if (command !== U.BPF_PROG_LOAD) return bpf(command, address, length);
        const at = Number(readLong(new DataView(port.readUser(address, length).buffer), 0, PROG_LOAD_ATTR.log_buf));
        port.writeUser(at, new TextEncoder().encode(characters < size ? `${text}\0y`.slice(0, size) : text));
        return -EPERM;
      };
      expect(loadAndRun(port, signed, { log: { level: 1, size } })).toMatchObject({ errno: EPERM, step: 'load loader prog', log: text });
    },
  );

  it('a positive return value is none', () => {
    const port = workingPort(unsigned);
    port.retval = 5;
    expect(loadAndRun(port, unsigned)).toMatchObject({ errno: 0, retval: 5 });
  });

  it.each([
    ['create loader map', U.BPF_MAP_CREATE], ['update loader map', U.BPF_MAP_UPDATE_ELEM], ['freeze map', U.BPF_MAP_FREEZE],
    ['load loader prog', U.BPF_PROG_LOAD], ['execute loader prog', U.BPF_PROG_TEST_RUN],
  ])('%s', (step, cmd) => {
    const port = workingPort(signed);
    const bpf = port.bpf.bind(port);
    port.bpf = (command, address, size) => (command === cmd ? -EPERM : bpf(command, address, size));
    expect(loadAndRun(port, signed)).toMatchObject({ errno: EPERM, step, message: `failed to ${step}` });
    isEmpty(port);
  });

  it.each([['unsigned', unsigned, '7.3'], ['signed', signed, '7.3'], ['signed', signed, '6.18']] as const)(
    'whichever event fails, nothing is left (%s, %s)', (_, skeleton, userSpace) => {
      let failures = 0;
      for (let failAt = 1; ; failAt++) {
        const port = workingPort(skeleton);
        port.failAt = failAt;
        const outcome = loadAndRun(port, skeleton, { userSpace, log: { level: 1, size: 100 } });
        if (isLoaded(outcome)) {
          destroySkeleton(port, outcome);
          isEmpty(port);
          expect(failures).toBe(port.events);
          break;
        }
        expect([EPERM, ENOMEM]).toContain(outcome.errno);
        isEmpty(port);
        failures++;
      }
    },
  );
});
