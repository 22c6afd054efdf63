/** Helpers that compiled programs contain: what they give and leave is what the helpers outside give and leave. */
import { describe, expect, test } from 'vitest';
import { TEST_RUN_ATTR } from '../../../isa/attr.ts';
import {
  alu64, assemble, callHelper, exit, gotox, jump, label, ldMapFD, ldMapValue, ldx, mov64, st, stx, type Item, type Register,
} from '../../../isa/encode.ts';
import * as U from '../../../isa/uapi.ts';
import type { EngineOptions } from '../../../kernel/api.ts';
import { inModuleHelpers } from '../../../kernel/helpers/in-module.ts';
import { createHelpers } from '../../../kernel/helpers/table.ts';
import type { BPFMap } from '../../../kernel/maps/map.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { KERNEL_HI, LOWEST } from '../../../vm/address-space.ts';
import { Machine } from '../../../vm/machine.ts';
import type { Program } from '../../../vm/types.ts';
import { Caller, cString } from './support.ts';

const bytes = loadKernelBTF();

interface Seen {
  readonly r0: readonly [number, number];
  /** Calls that left the module. */
  readonly outside: number;
}

/** A kernel, and two machines on its memory: one that calls helpers outside, one whose programs contain them. */
class Bench {
  readonly c = new Caller({ kernelBTF: () => bytes, cpus: 3 });
  readonly state = this.c.kernel.state;
  #outside = 0;
  readonly #plain: Machine;
  readonly #inside: Machine;
  readonly scratch: number;
  readonly #arguments: number;
  readonly #programs: Map<number, Program> = new Map();

  constructor() {
    const { space } = this.state.memory;
    const helpers = createHelpers(this.state).map((helper) => helper && ((call: Parameters<typeof helper>[0]): void => {
      this.#outside++;
      helper(call);
    }));
    this.#plain = new Machine({ space, helpers });
    this.#inside = new Machine({ space, helpers, inlineHelpers: inModuleHelpers(this.state.sources) });
    this.scratch = space.alloc(1024, 'scratch', 64);
    this.#arguments = space.alloc(64, 'arguments', 64);
    this.state.sources.noteMemory();
  }

  map(fd: number): BPFMap {
    const map = this.state.mapByFD(fd);
    if (typeof map === 'number') throw new Error(`no map ${fd}`);
    return map;
  }

  /** A program that calls the helper with five words from where r1 points. */
  #program(inside: boolean, id: number): Program {
    const key = inside ? id : ~id;
    let program = this.#programs.get(key);
    if (program !== undefined) return program;
    const items: Item[] = [5, 4, 3, 2, 1].map((n) => ldx('u64', `r${n}` as Register, 'r1', 8 * n));
    program = (inside ? this.#inside : this.#plain).load({ name: 'calls', instructions: assemble([...items, callHelper(id), exit()]), verified: true });
    this.#programs.set(key, program);
    return program;
  }

  /** Calls a helper with a budget: what is used, and where it ends. */
  counted(inside: boolean, id: number, args: readonly (number | { readonly at: number })[], budget: number): unknown {
    this.#put(args);
    const machine = inside ? this.#inside : this.#plain;
    const { r0Lo, instructions, fault } = machine.run(this.#program(inside, id), this.#arguments, KERNEL_HI, { tier: inside ? 'baseline' : 'interpreter', budget });
    return { r0Lo, instructions, fault: fault && [fault.kind, fault.pc] };
  }

  #put(args: readonly (number | { readonly at: number })[]): void {
    const { view } = this.state.memory;
    for (const [index, arg] of args.entries()) {
      view.setInt32(this.#arguments + 8 * index + 8, typeof arg === 'number' ? arg : arg.at, true);
      view.setInt32(this.#arguments + 8 * index + 12, typeof arg === 'number' ? arg >> 31 : KERNEL_HI, true);
    }
  }

  /** Calls a helper. */
  call(inside: boolean, id: number, args: readonly (number | { readonly at: number })[]): Seen {
    this.#put(args);
    const machine = inside ? this.#inside : this.#plain;
    this.#outside = 0;
    const result = machine.run(this.#program(inside, id), this.#arguments, KERNEL_HI, { tier: inside ? 'baseline' : 'interpreter' });
    expect(result.fault).toBe(undefined);
    expect(machine.stats.refusals, machine.stats.lastRefusal).toBe(0);
    return { r0: [result.r0Lo, result.r0Hi], outside: this.#outside };
  }

  /** Both ways from the same state: same result, same memory. */
  same(id: number, args: readonly (number | { readonly at: number })[], leaves: boolean): readonly [number, number] {
    const { space } = this.state.memory;
    const last = space.live().at(-1)!;
    const used = last.offset + last.size;
    const before = space.u8.slice(0, used);
    const plain = this.call(false, id, args);
    const after = space.u8.slice(0, used);
    space.u8.set(before);
    const inside = this.call(true, id, args);
    expect(inside.r0).toEqual(plain.r0);
    expect(inside.outside).toBe(leaves ? 1 : 0);
    const now = space.u8.slice(0, used);
    // Stacks of the two machines aside, and what engines keep for themselves.
    now.fill(0, 0, LOWEST);
    after.fill(0, 0, LOWEST);
    for (const one of space.live()) if (one.label === 'program stack') {
      now.fill(0, one.offset, one.offset + one.size);
      after.fill(0, one.offset, one.offset + one.size);
    }
    expect(Buffer.compare(now, after)).toBe(0);
    return plain.r0;
  }

  put(at: number, value: Uint8Array): { at: number } {
    this.state.memory.space.setBytes(at, value);
    return { at };
  }
}

const key = (n: number, size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i < 4 ? (n >>> (8 * i)) & 255 : (n * (i + 3)) & 255));
const ARRAYS = [['array', U.BPF_MAP_TYPE_ARRAY], ['per-CPU array', U.BPF_MAP_TYPE_PERCPU_ARRAY]] as const;
const HASHES = [
  ['hash', U.BPF_MAP_TYPE_HASH], ['LRU hash', U.BPF_MAP_TYPE_LRU_HASH], ['per-CPU hash', U.BPF_MAP_TYPE_PERCPU_HASH], ['LRU per-CPU hash', U.BPF_MAP_TYPE_LRU_PERCPU_HASH],
] as const;

describe('lookups', () => {
  test.each(ARRAYS)('%s: every index, none outside', (_, type) => {
    const b = new Bench();
    for (const [valueSize, entries] of [[1, 1], [8, 5], [20, 7], [100, 300]] as const) {
      const map = b.map(b.c.map(type, 4, valueSize, entries));
      for (const cpu of [0, 2]) {
        b.state.sources.cpu = cpu;
        for (const index of [0, 1, entries - 1, entries, 0x7fffffff, 0xffffffff]) {
          const [lo] = b.same(U.BPF_FUNC_map_lookup_elem, [{ at: map.address }, b.put(b.scratch, key(index, 4))], false);
          expect(lo === 0).toBe(index >= entries);
        }
      }
    }
  });

  test.each(HASHES)('%s: keys that are there and not, of every length', (_, type) => {
    const b = new Bench();
    for (const keySize of [4, 8, 12, 16, 28, 6]) {
      const map = b.map(b.c.map(type, keySize, 12, 200));
      const at = b.put(b.scratch, new Uint8Array(keySize));
      for (let n = 0; n < 80; n++) {
        b.put(at.at, key(n, keySize));
        expect(map.update(at.at, b.scratch + 128, { lo: 0, hi: 0 })).toBe(0);
      }
      for (let n = 0; n < 80; n += 3) {
        b.put(at.at, key(n, keySize));
        expect(map.remove(at.at)).toBe(0);
      }
      b.state.sources.cpu = keySize % 3;
      for (let n = 0; n < 90; n += 7) {
        const [lo] = b.same(U.BPF_FUNC_map_lookup_elem, [{ at: map.address }, b.put(at.at, key(n, keySize))], keySize % 4 !== 0);
        expect(lo !== 0, `key ${n} of ${keySize} bytes`).toBe(n < 80 && n % 3 !== 0);
      }
    }
  });

  test('an index that somebody wrote to misleads, but neither hangs nor stops the kernel', () => {
    const b = new Bench();
    const fd = b.c.map(U.BPF_MAP_TYPE_HASH, 4, 8, 64);
    const map = b.map(fd);
    for (let n = 0; n < 40; n++) b.c.update(fd, key(n, 4), new Uint8Array(8));
    // Every element follows itself.
    for (const one of b.state.memory.space.live()) if (one.label.startsWith('element of')) b.state.memory.space.setU32(one.offset, one.offset);
    for (let n = 0; n < 40; n++) {
      b.state.memory.space.setBytes(b.scratch, key(n, 4));
      expect(b.call(true, U.BPF_FUNC_map_lookup_elem, [{ at: map.address }, { at: b.scratch }]).r0[0]).not.toBe(0);
    }
    for (let n = 0; n < 40; n += 2) expect(b.c.call('MAP_DELETE_ELEM', { map_fd: fd, key: key(n, 4) })).toBe(0);
    for (let n = 0; n < 40; n++) {
      const [lo] = b.same(U.BPF_FUNC_map_lookup_elem, [{ at: map.address }, b.put(b.scratch, key(n, 4))], false);
      expect(lo !== 0).toBe(n % 2 === 1);
    }
  });

  test('other kinds are asked outside', () => {
    const b = new Bench();
    const fd = b.c.map(U.BPF_MAP_TYPE_LPM_TRIE, 8, 8, 4, { map_flags: U.BPF_F_NO_PREALLOC });
    expect(b.c.update(fd, key(32, 8), new Uint8Array(8))).toBe(0);
    expect(b.same(U.BPF_FUNC_map_lookup_elem, [{ at: b.map(fd).address }, b.put(b.scratch, key(32, 8))], true)[0]).not.toBe(0);
  });
});

describe('updates of arrays', () => {
  test.each(ARRAYS)('%s: flags, indices, sizes', (_, type) => {
    const b = new Bench();
    for (const valueSize of [1, 3, 4, 7, 8, 12, 31, 200]) {
      const map = b.map(b.c.map(type, 4, valueSize, 6));
      b.state.sources.cpu = valueSize % 3;
      const value = b.put(b.scratch + 64, Uint8Array.from({ length: valueSize }, (_unused, i) => i + valueSize));
      for (const index of [0, 5, 6]) {
        const at = b.put(b.scratch, key(index, 4));
        for (const flags of [U.BPF_ANY, U.BPF_NOEXIST, U.BPF_EXIST, 3, U.BPF_F_LOCK, -1]) {
          b.same(U.BPF_FUNC_map_update_elem, [{ at: map.address }, at, value, flags], index === 6 || (flags !== U.BPF_ANY && flags !== U.BPF_EXIST));
        }
      }
    }
  });

  test('a value out of the element itself, or shortly before it', () => {
    const b = new Bench();
    const map = b.map(b.c.map(U.BPF_MAP_TYPE_ARRAY, 4, 24, 4));
    const [lo] = b.same(U.BPF_FUNC_map_lookup_elem, [{ at: map.address }, b.put(b.scratch, key(1, 4))], false);
    b.put(lo - 24, Uint8Array.from({ length: 72 }, (_, i) => i));
    const at = b.put(b.scratch, key(1, 4));
    for (const [from, leaves] of [[lo, true], [lo - 8, true], [lo - 23, true], [lo - 24, false], [lo + 8, false]] as const) {
      b.same(U.BPF_FUNC_map_update_elem, [{ at: map.address }, at, { at: from }, U.BPF_ANY], leaves);
    }
  });

  test('values with special fields keep them', () => {
    const b = new Bench();
    const map = b.map(b.c.map(U.BPF_MAP_TYPE_ARRAY, 4, 16, 2));
    map.record = { fieldMask: 1, fields: [{ type: 1, offset: 4, size: 4 }] } as unknown as NonNullable<BPFMap['record']>;
    const at = b.put(b.scratch, key(1, 4));
    b.same(U.BPF_FUNC_map_update_elem, [{ at: map.address }, at, b.put(b.scratch + 64, new Uint8Array(16).fill(9)), U.BPF_ANY], true);
    map.record = undefined;
    b.same(U.BPF_FUNC_map_update_elem, [{ at: map.address }, at, { at: b.scratch + 64 }, U.BPF_ANY], false);
  });
});

test('a budget counts the call once, inside and outside', () => {
  const b = new Bench();
  const array = b.map(b.c.map(U.BPF_MAP_TYPE_ARRAY, 4, 8, 4));
  const trie = b.map(b.c.map(U.BPF_MAP_TYPE_LPM_TRIE, 8, 8, 4, { map_flags: U.BPF_F_NO_PREALLOC }));
  const at = b.put(b.scratch, key(1, 8));
  for (const map of [array, trie]) {
    for (let budget = 1; budget < 10; budget++) {
      const args = [{ at: map.address }, at] as const;
      expect(b.counted(true, U.BPF_FUNC_map_lookup_elem, args, budget)).toEqual(b.counted(false, U.BPF_FUNC_map_lookup_elem, args, budget));
    }
  }
});

describe('the sources of the instance', () => {
  test('time and random numbers go on from where they were', () => {
    const b = new Bench();
    for (const id of [U.BPF_FUNC_ktime_get_ns, U.BPF_FUNC_ktime_get_boot_ns, U.BPF_FUNC_ktime_get_coarse_ns, U.BPF_FUNC_get_prandom_u32]) {
      const seen = new Set<string>();
      for (let n = 0; n < 20; n++) seen.add(String(b.same(id, [], false)));
      expect(seen.size).toBe(20);
    }
    // Time beyond 32 bits carries.
    b.state.sources.advance(2 ** 32 * 5 - (b.state.sources.now() % 2 ** 32) - 150);
    for (let n = 0; n < 3; n++) b.same(U.BPF_FUNC_ktime_get_ns, [], false);
  });

  test('processor and node', () => {
    const b = new Bench();
    for (const cpu of [0, 1, 2]) {
      b.state.sources.cpu = cpu;
      expect(b.same(U.BPF_FUNC_get_smp_processor_id, [], false)).toEqual([cpu, 0]);
      expect(b.same(U.BPF_FUNC_get_numa_node_id, [], false)).toEqual([0, 0]);
    }
  });
});

test.each([U.BPF_FUNC_probe_read_kernel, U.BPF_FUNC_probe_read])('reads of memory (helper %i)', (id) => {
  const b = new Bench();
  const { space } = b.state.memory;
  b.put(b.scratch, Uint8Array.from({ length: 256 }, (_, i) => i));
  for (const size of [0, 1, 2, 4, 7, 8, 16, 33]) {
    b.same(id, [{ at: b.scratch + 512 }, size, { at: b.scratch + 3 }], false);
    b.same(id, [{ at: b.scratch + 8 }, size, { at: b.scratch + 5 }], size > 3);
    b.same(id, [{ at: b.scratch + 512 }, size, 0], true);
    b.same(id, [{ at: b.scratch + 512 }, size, -8], true);
    b.same(id, [{ at: b.scratch + 512 }, size, { at: space.byteLength - size }], false);
    b.same(id, [{ at: b.scratch + 512 }, size, { at: space.byteLength - size + 1 }], true);
    b.same(id, [{ at: b.scratch + 512 }, size, { at: LOWEST }], false);
    b.same(id, [{ at: b.scratch + 512 }, size, { at: LOWEST - 1 }], true);
    if (size > 0) expect(b.same(id, [{ at: b.scratch + 512 }, size, { at: LOWEST - 1 }], true)).toEqual([-14, -1]);
  }
});

test('a loaded program gives the same on every tier, with helpers inside and outside', () => {
  const engines: readonly EngineOptions[] = [{ tier: 'interpreter' }, { tier: 'baseline' }, { tier: 'baseline', inModule: false }, { tier: 'auto' }];
  const outcomes = engines.map((engine) => {
    const c = new Caller({ kernelBTF: () => bytes, engine });
    const array = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 8, 4);
    const hash = c.map(U.BPF_MAP_TYPE_HASH, 4, 8, 4);
    c.update(hash, key(3, 4), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const element = (fd: number, index: number): readonly Item[] => [
      st('u32', 'r10', -4, index), mov64('r2', 'r10'), alu64('add', 'r2', -4), ldMapFD('r1', fd), callHelper(U.BPF_FUNC_map_lookup_elem),
      jump('jeq', 'r0', 0, 'out'), ldx('u64', 'r1', 'r0'), alu64('add', 'r6', 'r1'),
    ];
    // array[1] += (time ^ random) + hash[3], by an update
    const code = assemble([
      callHelper(U.BPF_FUNC_ktime_get_ns), mov64('r6', 'r0'), callHelper(U.BPF_FUNC_get_prandom_u32), alu64('xor', 'r6', 'r0'), element(hash, 3), element(array, 1),
      stx('u64', 'r10', -16, 'r6'), mov64('r2', 'r10'), alu64('add', 'r2', -4), mov64('r3', 'r10'), alu64('add', 'r3', -16), mov64('r4', 0), ldMapFD('r1', array),
      callHelper(U.BPF_FUNC_map_update_elem), mov64('r0', 'r6'), exit(), label('out'), mov64('r0', 0), exit(),
    ]);
    const fd = c.call('PROG_LOAD', { prog_type: U.BPF_PROG_TYPE_SOCKET_FILTER, license: cString('GPL'), insn_cnt: code.length / 8, insns: code });
    expect(fd).toBeGreaterThan(0);
    const results = Array.from({ length: 5 }, () => {
      expect(c.call('PROG_TEST_RUN', { prog_fd: fd, data_in: new Uint8Array(64), data_size_in: 64 })).toBe(0);
      return c.result(TEST_RUN_ATTR.retval.offset);
    });
    const { interpretedRuns, baselineRuns } = c.kernel.engineStats;
    expect([interpretedRuns, baselineRuns]).toEqual(engine.tier === 'interpreter' ? [5, 0] : engine.tier === 'baseline' ? [0, 5] : [1, 4]);
    return { results, value: c.lookup(array, key(1, 4), 8) };
  });
  for (const outcome of outcomes) expect(outcome).toEqual(outcomes[0]);
  expect(new Set(outcomes[0]!.results).size).toBe(5);
});

test('indirect jumps of a loaded program are compiled: its jump table says where they lead', () => {
  for (const tier of ['interpreter', 'baseline'] as const) {
    const c = new Caller({ kernelBTF: () => bytes, engine: { tier } });
    const table = c.map(U.BPF_MAP_TYPE_INSN_ARRAY, 4, 16, 2);
    for (const [index, target] of [5, 7].entries()) expect(c.update(table, key(index, 4), key(target, 16).fill(0, 4))).toBe(0);
    expect(c.call('MAP_FREEZE', { map_fd: table })).toBe(0);
    const code = assemble([
      ldMapValue('r2', table, 8), ldx('u64', 'r2', 'r2'), mov64('r0', 0), gotox('r2'),
      mov64('r0', 1), exit(), mov64('r0', 2), exit(),
    ]);
    const fd = c.call('PROG_LOAD', { prog_type: U.BPF_PROG_TYPE_SOCKET_FILTER, license: cString('GPL'), insn_cnt: code.length / 8, insns: code });
    expect(fd).toBeGreaterThan(0);
    expect(c.call('PROG_TEST_RUN', { prog_fd: fd, data_in: new Uint8Array(64), data_size_in: 64 })).toBe(0);
    expect(c.result(TEST_RUN_ATTR.retval.offset)).toBe(2);
    const program = c.kernel.state.programs.values().find((one) => one.prepared !== undefined);
    // The verifier has removed the one that is never reached.
    expect(program?.prepared?.image.jumpTargets?.length).toBe(1);
  }
});
