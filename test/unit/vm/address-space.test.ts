import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InternalError } from '../../../isa/errors.ts';
import { AddressSpace, GUARD, KERNEL_HI, LOWEST, OutOfMemoryError, PAGE_SIZE, USER_HI } from '../../../vm/address-space.ts';

const small = (): AddressSpace => new AddressSpace({ initialBytes: 1 << 18 });

describe('allocation', () => {
  test('never overlaps, keeps its guard, is zero, and leaks nothing', () => {
    const size = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 20_000 }), fc.constantFrom(4096, 8176, 8177, 65536, 200_000));
    const step = fc.record({ size, align: fc.constantFrom(1, 8, 16, 64, 256, 4096), free: fc.nat(), drop: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const space = small();
        const live: { at: number; size: number }[] = [];
        for (const { size: bytes, align, free, drop } of steps) {
          if (drop && live.length > 0) {
            const [one] = live.splice(free % live.length, 1);
            space.u8.fill(0xff, one!.at, one!.at + one!.size);
            space.free(one!.at);
            continue;
          }
          const at = space.alloc(bytes, `a${bytes}`, align);
          expect(at % align).toBe(0);
          expect(at).toBeGreaterThan(0);
          expect(space.u8.subarray(at, at + bytes).every((byte) => byte === 0)).toBe(true);
          live.push({ at, size: bytes });
        }
        const sorted = live.toSorted((a, b) => a.at - b.at);
        expect(space.live().map(({ offset, size: bytes }) => ({ at: offset, size: bytes }))).toEqual(sorted);
        for (const [index, one] of sorted.entries()) {
          const next = sorted[index + 1];
          if (next !== undefined) expect(next.at).toBeGreaterThanOrEqual(one.at + one.size + GUARD);
          expect(one.at + one.size + GUARD).toBeLessThanOrEqual(space.byteLength);
        }
        for (const one of live) space.free(one.at);
        expect(space.live()).toEqual([]);
        expect(space.stats).toMatchObject({ liveAllocations: 0, liveBytes: 0 });
      }),
      { numRuns: 60 },
    );
  });

  test('reuses what was freed: a long alternation does not grow the memory', () => {
    const space = small();
    let settled = 0;
    for (let round = 0; round < 2000; round++) {
      const kept = [40, 5000, 9000, 70_000].map((size) => space.alloc(size, 'again'));
      for (const at of kept) space.free(at);
      if (round === 0) settled = space.byteLength;
    }
    expect(space.byteLength).toBe(settled);
  });

  test('puts freed neighbours together', () => {
    const space = new AddressSpace({ initialBytes: 1 << 20, maxBytes: 1 << 20 });
    const parts = Array.from({ length: 20 }, () => space.alloc(40_000, 'part'));
    for (const at of [...parts.filter((_, index) => index % 2 === 0), ...parts.filter((_, index) => index % 2 === 1)]) space.free(at);
    expect(space.tryAlloc(900_000, 'whole')).toBeGreaterThan(0);
  });

  test('grows, and says that views are new', () => {
    const space = small();
    const old = space.u8;
    const at = space.alloc(1 << 20, 'large');
    expect(space.generation).toBeGreaterThan(0);
    expect(old.length).toBe(0);
    space.u8[at + (1 << 20) - 1] = 7;
    expect(space.view.getUint8(at + (1 << 20) - 1)).toBe(7);
  });

  test('is refused with a typed error where the limit is reached, and works on after that', () => {
    const space = new AddressSpace({ initialBytes: 1 << 18, maxBytes: 1 << 20 });
    expect(() => space.alloc(1 << 20, 'too large')).toThrow(OutOfMemoryError);
    expect(space.tryAlloc(1 << 20, 'too large')).toBe(0);
    expect(space.tryAlloc(2 ** 40, 'absurd')).toBe(0);
    const all: number[] = [];
    for (let at = space.tryAlloc(1000, 'one'); at !== 0; at = space.tryAlloc(1000, 'one')) all.push(at);
    expect(all.length).toBeGreaterThan(700);
    for (const at of all) space.free(at);
    expect(space.tryAlloc(500_000, 'after')).toBeGreaterThan(0);
  });

  test('double frees and frees of the middle are bugs', () => {
    const space = small();
    const at = space.alloc(100, 'one');
    expect(() => space.free(at + 16)).toThrow(InternalError);
    space.free(at);
    expect(() => space.free(at)).toThrow(InternalError);
    expect(() => space.free(-5)).toThrow(InternalError);
  });
});

describe('what is live', () => {
  test('findLive accepts ranges inside one allocation and nothing else', () => {
    const space = small();
    const bounds = new Int32Array(2);
    for (const size of [10, 600, 9000]) {
      const at = space.alloc(size, 'one');
      expect(space.findLive(at, size, bounds)).toBe(true);
      expect([...bounds]).toEqual([at, at + size]);
      expect(space.findLive(at + size - 1, 1, bounds)).toBe(true);
      expect(space.findLive(at + size - 1, 2, bounds)).toBe(false);
      expect(space.findLive(at + size, 1, bounds)).toBe(false);
      expect(space.findLive(at - 1, 1, bounds)).toBe(false);
      space.free(at);
      expect(space.findLive(at, 1, bounds)).toBe(false);
    }
  });

  test('nearest names the neighbour and the distance', () => {
    const space = small();
    const at = space.alloc(20, 'neighbour');
    expect(space.nearest(at + 20)).toMatchObject({ allocation: { label: 'neighbour', size: 20 }, distance: 1 });
    expect(space.nearest(at - 3)).toMatchObject({ distance: -3 });
    expect(space.nearest(at + 5)).toMatchObject({ distance: 0 });
  });
});

describe('user space', () => {
  test('only mapped bytes translate; ranges may not leave them', () => {
    const space = small();
    const at = space.mapUser(5000, 'buffer', true);
    expect(space.userReach(at, USER_HI, 8192, true)).toBe(8192);
    expect(space.userReach(at, USER_HI, 8193, false)).toBeLessThan(8193);
    expect(space.userReach(at + 8191, USER_HI, 1, true)).toBe(1);
    expect(space.userReach(at, USER_HI + 1, 1, false)).toBeLessThan(1);
    expect(space.userReach(at, KERNEL_HI, 1, false)).toBeLessThan(1);
    expect(space.userReach(-1, USER_HI, 8, false)).toBeLessThan(8);
    expect(space.userReach(0, 0, 0, true)).toBe(0);
    expect(space.userReach(at + 8000, USER_HI, 1000, false)).toBe(192);
    space.unmapUser(at, 5000, true);
    expect(space.userReach(at, USER_HI, 1, false)).toBeLessThan(1);
    expect(space.live()).toEqual([]);
  });

  test('read-only mappings are not written, aliases are counted', () => {
    const space = small();
    const kernel = space.alloc(PAGE_SIZE * 2, 'map values', PAGE_SIZE);
    space.mapUserAlias(kernel, PAGE_SIZE * 2, false);
    expect(space.userReach(kernel, USER_HI, 100, false)).toBe(100);
    expect(space.userReach(kernel, USER_HI, 100, true)).toBeLessThan(100);
    space.mapUserAlias(kernel, PAGE_SIZE, true);
    expect(space.userReach(kernel, USER_HI, PAGE_SIZE, true)).toBe(PAGE_SIZE);
    expect(space.userReach(kernel, USER_HI, PAGE_SIZE + 1, true)).toBeLessThan(PAGE_SIZE + 1);
    space.unmapUser(kernel, PAGE_SIZE, true);
    expect(space.userReach(kernel, USER_HI, 1, true)).toBeLessThan(1);
    expect(space.userReach(kernel, USER_HI, 1, false)).toBe(1);
    space.unmapUser(kernel, PAGE_SIZE * 2, false);
    expect(space.userReach(kernel, USER_HI, 1, false)).toBeLessThan(1);
    expect(space.sizeAt(kernel)).toBe(PAGE_SIZE * 2);
    expect(space.stats.userPages).toBe(0);
  });

  test('programs have no kernel address for private user memory', () => {
    const space = small();
    const at = space.mapUser(100, 'buffer', true);
    expect(space.findLive(at, 1, new Int32Array(2))).toBe(false);
  });

  test('kernel ranges stay inside the memory', () => {
    const space = small();
    expect(space.kernelToOffset(LOWEST, KERNEL_HI, 8)).toBe(LOWEST);
    expect(space.kernelToOffset(space.byteLength - 8, KERNEL_HI, 8)).toBe(space.byteLength - 8);
    expect(space.kernelToOffset(space.byteLength - 8, KERNEL_HI, 9)).toBe(-1);
    expect(space.kernelToOffset(-8, KERNEL_HI, 16)).toBe(-1);
    expect(space.kernelToOffset(100, USER_HI, 8)).toBe(-1);
    expect(space.kernelToOffset(LOWEST - 1, KERNEL_HI, 2)).toBe(-1);
  });
});

describe('memory of engines', () => {
  test('is zero, apart from every address, taken and given back', () => {
    const space = small();
    const sizes = [200, 64, 1124, 8];
    const places = sizes.map((size) => space.allocHidden(size, 'state'));
    for (const [index, at] of places.entries()) {
      expect(at % 64).toBe(0);
      space.u8.fill(0xff, at, at + sizes[index]!);
      expect(space.kernelToOffset(at, KERNEL_HI, 8)).toBe(-1);
      expect(space.userReach(at, USER_HI, 8, false)).toBeLessThan(8);
      expect(space.findLive(at, 1, new Int32Array(2))).toBe(false);
    }
    for (const [index, at] of places.entries()) for (const [other, from] of places.entries()) if (index !== other) expect(from + sizes[other]! <= at || from >= at + sizes[index]!).toBe(true);
    expect(space.live()).toEqual([]);
    space.freeHidden(places[1]!);
    expect(() => space.freeHidden(places[1]!)).toThrow(InternalError);
    expect(() => space.freeHidden(places[2]! + 1124)).toThrow(InternalError);
    // A piece may begin where another ends.
    const [first, second] = [space.allocHidden(64, 'state'), space.allocHidden(64, 'state')];
    space.freeHidden(second);
    space.freeHidden(first);
    const again = space.allocHidden(64, 'state');
    expect(again).toBe(places[1]);
    expect(space.getBytes(again, 64)).toEqual(new Uint8Array(64));
  });

  test('ends where kernel addresses begin', () => {
    const space = small();
    const all: number[] = [];
    expect(() => { for (;;) all.push(space.allocHidden(1000, 'state')); }).toThrow(OutOfMemoryError);
    expect(all.length).toBeGreaterThan(32);
    expect(Math.max(...all) + 1000).toBeLessThanOrEqual(LOWEST);
    expect(Math.min(...all)).toBeGreaterThanOrEqual(4 * PAGE_SIZE);
    space.reset();
    expect(space.allocHidden(1000, 'state')).toBe(all[0]);
  });
});

describe('a reset space', () => {
  test('is as a new one: nothing alive, all zero, the same places in the same order', () => {
    const places = (space: AddressSpace): number[] => {
      const list = [24, 24, 100, 5000, 24].map((size) => space.alloc(size, 'a'));
      space.free(list[1]!);
      return [...list, space.alloc(20, 'b'), space.mapUser(5000, 'user', true), space.alloc(300_000, 'large')];
    };
    const space = new AddressSpace();
    const first = places(space);
    const counts: [string, number][] = [];
    space.countLive((label, count) => counts.push([label, count]));
    expect(Object.fromEntries(counts)).toEqual({ a: 4, b: 1, user: 1, large: 1 });
    for (const at of first) space.u8.fill(0xaa, at, at + 20);
    space.mapUserAlias(4096 * 20, 4096, true);
    space.reset();
    expect([space.stats.liveAllocations, space.stats.liveBytes, space.stats.userPages, space.live()]).toEqual([0, 0, 0, []]);
    expect(space.u8.every((byte) => byte === 0)).toBe(true);
    expect(places(space)).toEqual(first);
  });
});
