/**
 * What single calls, batches, helpers and compiling cost: `bench:vm -- --calls`.
 */
import { alu64, assemble, callHelper, exit, jump, label, ldImm64Words, ldx, mov64, stx, type Item } from '../isa/encode.ts';
import * as U from '../isa/uapi.ts';
import { directHelpers } from '../kernel/helpers/direct.ts';
import { inModuleHelpers } from '../kernel/helpers/in-module.ts';
import { createHelpers } from '../kernel/helpers/table.ts';
import { KernelState } from '../kernel/state.ts';
import { mapKind } from '../kernel/maps/registry.ts';
import { KERNEL_HI } from '../vm/address-space.ts';
import { Machine } from '../vm/machine.ts';
import type { EngineStats, ProgramEntry, RunOptions } from '../vm/types.ts';
import type { CallFigures } from './vm-bars.ts';

export interface Calls extends CallFigures {
  /** Nanoseconds a call, inside the module and outside. */
  readonly helpers: Readonly<Record<string, { readonly inside: number; readonly outside: number }>>;
  readonly stats: EngineStats;
}

/** Nanoseconds that work takes: compiler threads count as CPU time, other processes as wall time, so the shorter of both. */
function elapsed(work: () => void): number {
  const before = process.cpuUsage();
  const started = process.hrtime.bigint();
  work();
  const wall = Number(process.hrtime.bigint() - started);
  const { user, system } = process.cpuUsage(before);
  return Math.min(wall, (user + system) * 1000 || wall);
}

/** Least nanoseconds of one of `count` repetitions, over some rounds. */
function least(count: number, work: () => void, rounds: number = 9): number {
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    best = Math.min(best, elapsed(() => {
      for (let repetition = 0; repetition < count; repetition++) work();
    }) / count);
  }
  return best;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** As a caller of a packet filter does it. */
function callOften({ run }: ProgramEntry, at: number, count: number): number {
  let last = 0;
  for (let call = 0; call < count; call++) last = run(at);
  return last;
}

/** A program of `count` instructions with a loop and branches, for the cost of compiling. */
function longProgram(count: number): Uint8Array {
  const items: Item[] = [mov64('r0', 0), mov64('r6', 'r1')];
  for (let block = 0; items.length < count - 8; block++) {
    items.push(
      ldx('u32', 'r2', 'r6', (block % 500) * 4), alu64('add', 'r0', 'r2'), alu64('xor', 'r0', block), jump('jgt', 'r0', 'r2', 2),
      alu64('lsh', 'r0', 1), stx('u64', 'r10', -8, 'r0'), alu64('and', 'r0', 0xffff),
    );
  }
  while (items.length < count - 1) items.push(mov64('r0', 'r0'));
  return assemble([...items, exit()]);
}

/** Turns that ours and the peers' calls of the packet filter take, and calls in each of its three repetitions. */
const TURNS = 20;
const CALLS_A_TURN = 512_000;

/** Calls in the loop that times a helper. */
const CALLS = 200_000;

/** Helpers of a kernel: each called many times by a program that contains it, and by one that calls out. */
function measureHelpers(): Calls['helpers'] {
  const kernel = new KernelState({});
  const { space } = kernel.memory;
  kernel.sources.noteMemory();
  const helpers = createHelpers(kernel);
  const machines = { inside: new Machine({ space, helpers, inlineHelpers: inModuleHelpers(kernel.sources) }), outside: new Machine({ space, helpers, directHelpers: directHelpers(kernel) }) };
  const scratch = space.alloc(256, 'key and value', 64);
  const map = (type: number, keySize: number): number => {
    const made = mapKind(type)!.create(kernel, {
      type, keySize, valueSize: 8, maxEntries: 1024, flags: 0, innerMapFD: 0, numaNode: -1, mapExtra: 0n, name: 'bench', btfFD: 0, btfKeyTypeID: 0,
      btfValueTypeID: 0, btfVmlinuxValueTypeID: 0, valueTypeBTFObjFD: 0,
    });
    if (typeof made === 'number') throw new Error(`no map: ${made}`);
    kernel.registerMap(made);
    for (let n = 0; n < 500; n++) {
      space.setU32(scratch, n);
      made.update(scratch, scratch + 64, { lo: 0, hi: 0 });
    }
    return made.address;
  };
  const at = (register: 'r1' | 'r2' | 'r3', offset: number): Item => ldImm64Words(register, 0, offset, KERNEL_HI);
  const key = at('r2', scratch);
  const cases: readonly (readonly [name: string, id: number, args: readonly Item[]])[] = [
    ['array lookup', U.BPF_FUNC_map_lookup_elem, [at('r1', map(U.BPF_MAP_TYPE_ARRAY, 4)), key]],
    ['per-CPU array lookup', U.BPF_FUNC_map_lookup_elem, [at('r1', map(U.BPF_MAP_TYPE_PERCPU_ARRAY, 4)), key]],
    ['hash lookup, 4 bytes', U.BPF_FUNC_map_lookup_elem, [at('r1', map(U.BPF_MAP_TYPE_HASH, 4)), key]],
    ['hash lookup, 16 bytes', U.BPF_FUNC_map_lookup_elem, [at('r1', map(U.BPF_MAP_TYPE_HASH, 16)), key]],
    ['array update', U.BPF_FUNC_map_update_elem, [at('r1', map(U.BPF_MAP_TYPE_ARRAY, 4)), key, at('r3', scratch + 64), mov64('r4', 0)]],
    ['ktime', U.BPF_FUNC_ktime_get_ns, []], ['random', U.BPF_FUNC_get_prandom_u32, []],
    ['read of 8 bytes', U.BPF_FUNC_probe_read_kernel, [at('r1', scratch + 128), mov64('r2', 8), at('r3', scratch)]],
  ];
  space.setU32(scratch, 77);
  return Object.fromEntries(cases.map(([name, id, args]) => {
    const loop = (items: readonly Item[]): Uint8Array =>
      assemble([mov64('r6', CALLS), label('loop'), ...items, alu64('sub', 'r6', 1), jump('jne', 'r6', 0, 'loop'), mov64('r0', 0), exit()]);
    const time = (machine: Machine): number => {
      const program = machine.load({ name, instructions: loop([...args, callHelper(id)]), verified: true });
      return round(least(4, () => {
        const { fault } = machine.run(program, 0, 0, { tier: 'baseline' });
        if (fault !== undefined) throw new Error(fault.message);
      }) / CALLS, 1);
    };
    return [name, { inside: time(machines.inside), outside: time(machines.outside) }];
  }));
}

type PeerCalls = readonly (readonly [name: string, call: (count: number) => { ns: number; r0: bigint }])[];

/**
 * Single calls and batches of the packet filter. Ours and the peers' take turns, so that a slow minute of the machine is everybody's;
 * of each the least counts. A peer calls the filter in a loop as {@link callOften} does, takes the least of three of those, and times
 * nothing else; ours are as many.
 */
function measureFilter(entry: ProgramEntry, at: number, list: number, peers: PeerCalls): Calls['pktparse'] {
  let single = Infinity;
  let batch = Infinity;
  const best = new Map(peers.map(([name]) => [name, Infinity]));
  entry.run(at);
  const { r0Lo, r0Hi } = entry.result();
  const r0 = (BigInt(r0Hi >>> 0) << 32n) | BigInt(r0Lo >>> 0);
  for (let turn = 0; turn < TURNS; turn++) {
    // In one long loop, as short ones are part of V8's middle tier when they are called often, which calls modules through a stub.
    single = Math.min(single, least(1, () => callOften(entry, at, CALLS_A_TURN), 3) / CALLS_A_TURN);
    batch = Math.min(batch, least(CALLS_A_TURN / 64, () => entry.batch(list, 64), 3) / 64);
    for (const [name, call] of peers) {
      const one = call(CALLS_A_TURN);
      if (one.r0 !== r0) throw new Error(`${name} gives ${one.r0} for the packet, not ${r0}`);
      best.set(name, Math.min(best.get(name)!, one.ns));
    }
  }
  return { singleNs: round(single, 2), batchNs: round(batch, 2), peers: Object.fromEntries(best) };
}

/** Repetitions in each of some rounds: the shorter a compilation, the more it takes until V8 has optimised the compiler and a quiet moment is met. */
const REPETITIONS: readonly (readonly [instructions: number, repetitions: number])[] = [[1000, 80], [10_000, 5], [100_000, 4], [1_000_000, 1]];
const COMPILING_ROUNDS = 3;

/**
 * Single calls and batches of the packet filter, and time from the bytes of a program to its first result: emitting, baseline compilation
 * and the run, in a process that has compiled others.
 */
export function measureCalls(machine: Machine, filter: Uint8Array, packet: Uint8Array, peers: PeerCalls): Calls {
  const { space } = machine;
  const at = space.alloc(Math.max(packet.length, 4096), 'packet', 64);
  space.setBytes(at, packet);
  const program = machine.load({ name: 'pktparse', instructions: filter, verified: true });
  const list = space.alloc(64 * 16, 'batch', 16);
  for (let index = 0; index < 64; index++) space.setU32(list + 16 * index, at);
  const options: RunOptions = { tier: 'optimised', mode: 'fast' };
  const pktparse = measureFilter(machine.entry(program, options), at, list, peers);
  const best = new Map(REPETITIONS.map(([count]) => [count, Infinity]));
  for (let turn = 0; turn < COMPILING_ROUNDS; turn++) {
    for (const [count, repetitions] of REPETITIONS) {
      const instructions = longProgram(count);
      for (let repetition = 0; repetition < repetitions; repetition++) {
        const loaded = machine.load({ name: 'long', instructions, verified: true });
        const ns = elapsed(() => {
          const { fault } = machine.run(loaded, at, KERNEL_HI, { tier: 'baseline', mode: 'fast' });
          if (fault !== undefined) throw new Error(fault.message);
        });
        best.set(count, Math.min(best.get(count)!, ns / 1e6));
      }
    }
  }
  const firstResultMs = Object.fromEntries([...best].map(([count, ms]) => [`${count}`, round(ms, 3)]));
  return { pktparse, firstResultMs, helpers: measureHelpers(), stats: machine.stats };
}
