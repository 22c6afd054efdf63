import { describe, expect, test } from 'vitest';
import { assemble, callHelper, exit, ldx, type Item, type Register } from '../../../isa/encode.ts';
import * as U from '../../../isa/uapi.ts';
import { directHelpers } from '../../../kernel/helpers/direct.ts';
import { createHelpers } from '../../../kernel/helpers/table.ts';
import { mapKind } from '../../../kernel/maps/registry.ts';
import { KernelState } from '../../../kernel/state.ts';
import { KERNEL_HI } from '../../../vm/address-space.ts';
import { Machine } from '../../../vm/machine.ts';
import type { HelperFunction } from '../../../vm/types.ts';

/** An argument: a number, or an address. */
type Argument = number | { readonly at: number };

/** A kernel with some maps, and a machine whose programs call helpers in one of the two forms. */
class World {
  readonly #machine: Machine;
  readonly #isDirect: boolean;
  readonly #state: KernelState = new KernelState({});
  readonly #arguments: number;
  readonly scratch: number;
  readonly maps: readonly number[];
  /** Calls in the general form. */
  general = 0;

  constructor(isDirect: boolean) {
    const { space } = this.#state.memory;
    const helpers = createHelpers(this.#state).map((helper): HelperFunction | undefined => helper && ((call): void => {
      this.general++;
      helper(call);
    }));
    this.#isDirect = isDirect;
    this.#machine = new Machine({ space, helpers, directHelpers: directHelpers(this.#state) });
    this.scratch = space.alloc(256, 'scratch', 64);
    this.#arguments = space.alloc(64, 'arguments', 64);
    this.maps = [U.BPF_MAP_TYPE_ARRAY, U.BPF_MAP_TYPE_HASH, U.BPF_MAP_TYPE_PERCPU_ARRAY, U.BPF_MAP_TYPE_LRU_HASH, U.BPF_MAP_TYPE_QUEUE, U.BPF_MAP_TYPE_STACK].map((type) => this.#map(type));
  }

  #map(type: number): number {
    const isQueue = type === U.BPF_MAP_TYPE_QUEUE || type === U.BPF_MAP_TYPE_STACK;
    const made = mapKind(type)!.create(this.#state, {
      type, keySize: isQueue ? 0 : 4, valueSize: 8, maxEntries: 3, flags: 0, innerMapFD: 0, numaNode: -1, mapExtra: 0n, name: 'map', btfFD: 0, btfKeyTypeID: 0,
      btfValueTypeID: 0, btfVmlinuxValueTypeID: 0, valueTypeBTFObjFD: 0,
    });
    if (typeof made === 'number') throw new Error(`no map: ${made}`);
    this.#state.registerMap(made);
    return made.address;
  }

  /** r0 of a helper, and the scratch memory behind the call. */
  call(id: number, args: readonly Argument[]): unknown {
    const { space } = this.#state.memory;
    for (const [index, value] of args.entries()) {
      const isAddress = typeof value !== 'number';
      space.setU32(this.#arguments + 8 * index + 8, isAddress ? value.at : value >>> 0);
      space.setU32(this.#arguments + 8 * index + 12, isAddress ? KERNEL_HI >>> 0 : Math.floor(value / 2 ** 32) >>> 0);
    }
    const items: Item[] = [5, 4, 3, 2, 1].map((n) => ldx('u64', `r${n}` as Register, 'r1', 8 * n));
    const program = this.#machine.load({ name: 'calls', instructions: assemble([...items, callHelper(id), exit()]), verified: true });
    const { r0Lo, r0Hi, fault } = this.#machine.run(program, this.#arguments, KERNEL_HI, { tier: this.#isDirect ? 'baseline' : 'interpreter' });
    return { r0Lo, r0Hi, fault: fault?.message, scratch: [...space.getBytes(this.scratch, 32)] };
  }

  set(key: number, value: number): void {
    const { space } = this.#state.memory;
    space.setU32(this.scratch, key);
    space.setU32(this.scratch + 8, value);
  }
}

describe('helpers in their second form', () => {
  test('give what they give in the first one', () => {
    const worlds = [new World(false), new World(true)] as const;
    const step = (id: number, args: (world: World) => readonly Argument[]): void => {
      const [plain, direct] = worlds.map((world) => world.call(id, args(world)));
      expect(direct).toEqual(plain);
    };
    const key = ({ scratch }: World): Argument => ({ at: scratch });
    const value = ({ scratch }: World): Argument => ({ at: scratch + 8 });
    for (const [round, number] of [0, 2, 7, 2, 1, 0, 9].entries()) {
      for (const world of worlds) world.set(number, 1000 + round);
      for (let index = 0; index < worlds[0].maps.length; index++) {
        const map = (world: World): Argument => ({ at: world.maps[index]! });
        step(U.BPF_FUNC_map_lookup_elem, (world) => [map(world), key(world)]);
        for (const flags of [U.BPF_ANY, U.BPF_NOEXIST, U.BPF_EXIST, 2 ** 40, 77]) {
          step(U.BPF_FUNC_map_update_elem, (world) => [map(world), key(world), value(world), flags]);
          step(U.BPF_FUNC_map_push_elem, (world) => [map(world), value(world), flags]);
        }
        step(U.BPF_FUNC_map_lookup_elem, (world) => [map(world), key(world)]);
        for (const cpu of [0, 1, 0xffffffff]) step(U.BPF_FUNC_map_lookup_percpu_elem, (world) => [map(world), key(world), cpu]);
        step(U.BPF_FUNC_map_peek_elem, (world) => [map(world), value(world)]);
        step(U.BPF_FUNC_map_pop_elem, (world) => [map(world), value(world)]);
        if (round % 2 === 1) step(U.BPF_FUNC_map_delete_elem, (world) => [map(world), key(world)]);
      }
      for (const id of [U.BPF_FUNC_ktime_get_ns, U.BPF_FUNC_ktime_get_boot_ns, U.BPF_FUNC_ktime_get_coarse_ns, U.BPF_FUNC_get_prandom_u32, U.BPF_FUNC_get_smp_processor_id]) step(id, () => []);
    }
    expect(worlds[1].general).toBe(0);
    expect(worlds[0].general).toBeGreaterThan(200);
  });

  test('decline what is no map: the first form says so', () => {
    const [plain, direct] = [new World(false), new World(true)].map((world) => [
      world.call(U.BPF_FUNC_map_lookup_elem, [{ at: world.scratch }, { at: world.scratch }]), world.call(U.BPF_FUNC_map_delete_elem, [{ at: world.scratch }, { at: world.scratch }]), world.general,
    ]);
    expect(direct).toEqual(plain);
    expect(JSON.stringify(direct)).toContain('helper at instruction 5 of calls');
  });
});
