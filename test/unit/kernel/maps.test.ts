import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { E2BIG, EBADF, EBUSY, EEXIST, EINVAL, ENOENT, EPERM } from '../../../isa/errno.ts';
import * as U from '../../../isa/uapi.ts';
import { Caller, u32 } from './support.ts';

describe('array', () => {
  it('keeps values by index and refuses what lies outside', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 8, 3, { map_name: 'values' });
    expect(fd).toBe(3);
    expect(c.update(fd, u32(2), u32(7, 9))).toBe(0);
    expect(c.lookup(fd, u32(2), 8)).toEqual(u32(7, 9));
    expect(c.lookup(fd, u32(0), 8)).toEqual(u32(0, 0));
    expect(c.lookup(fd, u32(3), 8)).toBe(-ENOENT);
    expect(c.update(fd, u32(3), u32(1, 1))).toBe(-E2BIG);
    expect(c.update(fd, u32(0), u32(1, 1), BigInt(U.BPF_NOEXIST))).toBe(-EEXIST);
    expect(c.update(fd, u32(0), u32(1, 1), 3n)).toBe(-EINVAL);
    expect(c.call('MAP_DELETE_ELEM', { map_fd: fd, key: u32(0) })).toBe(-EINVAL);
  });

  it('walks its keys from the first to the last', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 4, 2);
    const next = c.buffer(4);
    expect(c.call('MAP_GET_NEXT_KEY', { map_fd: fd, next_key: next })).toBe(0);
    expect(c.kernel.readUser(next, 4)).toEqual(u32(0));
    expect(c.call('MAP_GET_NEXT_KEY', { map_fd: fd, key: u32(0), next_key: next })).toBe(0);
    expect(c.kernel.readUser(next, 4)).toEqual(u32(1));
    expect(c.call('MAP_GET_NEXT_KEY', { map_fd: fd, key: u32(1), next_key: next })).toBe(-ENOENT);
  });

  it('is frozen once, then read-only for user space, and its hash covers all elements', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 5, 3);
    c.update(fd, u32(1), new Uint8Array([1, 2, 3, 4, 5]));
    const hash = c.buffer(32);
    const info = (size: number): number => {
      const bytes = new Uint8Array(104);
      new DataView(bytes.buffer).setBigUint64(88, BigInt(hash), true);
      new DataView(bytes.buffer).setUint32(96, size, true);
      return c.call('OBJ_GET_INFO_BY_FD', { bpf_fd: fd, info_len: 104, info: bytes });
    };
    expect(info(32)).toBe(-EPERM);
    expect(c.call('MAP_FREEZE', { map_fd: fd })).toBe(0);
    expect(c.update(fd, u32(1), new Uint8Array(5))).toBe(-EPERM);
    expect(info(16)).toBe(-EINVAL);
    expect(info(32)).toBe(0);
    const contents = new Uint8Array(24);
    contents.set([1, 2, 3, 4, 5], 8);
    expect(c.kernel.readUser(hash, 32)).toEqual(new Uint8Array(createHash('sha256').update(contents).digest()));
  });

  it('cannot be frozen while it is mapped writable, nor mapped writable when frozen', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 8, 4, { map_flags: U.BPF_F_MMAPABLE });
    const at = c.kernel.mmap(0, 4096, 3, 1, fd);
    expect(at).toBeGreaterThan(0);
    c.kernel.writeUser(at + 8, u32(5, 6));
    expect(c.lookup(fd, u32(1), 8)).toEqual(u32(5, 6));
    expect(c.call('MAP_FREEZE', { map_fd: fd })).toBe(-EBUSY);
    expect(c.kernel.munmap(at, 4096)).toBe(0);
    expect(c.call('MAP_FREEZE', { map_fd: fd })).toBe(0);
    expect(c.kernel.mmap(0, 4096, 3, 1, fd)).toBe(-EPERM);
    expect(c.kernel.mmap(0, 4096, 1, 1, fd)).toBeGreaterThan(0);
  });

  it('shows its bytes at the address that MAP_FIXED asks for', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 8, 1, { map_flags: U.BPF_F_MMAPABLE });
    const at = c.kernel.mmap(0, 4096, 3, 0x21, -1);
    expect(c.kernel.mmap(at, 4096, 3, 0x11, fd)).toBe(at);
    c.kernel.writeUser(at, u32(1, 2));
    expect(c.lookup(fd, u32(0), 8)).toEqual(u32(1, 2));
    expect(c.kernel.munmap(at, 4096)).toBe(0);
    expect(() => c.kernel.readUser(at, 1)).toThrow(/unmapped/);
  });
});

describe('hash', () => {
  it('obeys the update flags and the limit', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_HASH, 4, 4, 2);
    expect(c.update(fd, u32(1), u32(10), 2n)).toBe(-ENOENT);
    expect(c.update(fd, u32(1), u32(10), 1n)).toBe(0);
    expect(c.update(fd, u32(1), u32(11), 1n)).toBe(-EEXIST);
    expect(c.update(fd, u32(2), u32(20))).toBe(0);
    expect(c.update(fd, u32(3), u32(30))).toBe(-E2BIG);
    expect(c.update(fd, u32(1), u32(12))).toBe(0);
    expect(c.lookup(fd, u32(1), 4)).toEqual(u32(12));
    expect(c.call('MAP_DELETE_ELEM', { map_fd: fd, key: u32(1) })).toBe(0);
    expect(c.call('MAP_DELETE_ELEM', { map_fd: fd, key: u32(1) })).toBe(-ENOENT);
    expect(c.update(fd, u32(3), u32(30))).toBe(0);
  });

  it('gives every element once in a batch and removes what it gave', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_HASH, 4, 4, 100);
    for (let i = 0; i < 50; i++) c.update(fd, u32(i), u32(i * 3));
    const keys = c.buffer(400);
    const values = c.buffer(400);
    const out = c.buffer(4);
    const seen = new Map<number, number>();
    let start: number | undefined;
    for (let round = 0; round < 100; round++) {
      const result = c.call('MAP_LOOKUP_AND_DELETE_BATCH', {
        map_fd: fd, keys, values, out_batch: out, count: 10, ...(start === undefined ? {} : { in_batch: start }),
      });
      const count = c.result(32);
      const keyView = new DataView(c.kernel.readUser(keys, 400).buffer);
      const valueView = new DataView(c.kernel.readUser(values, 400).buffer);
      for (let i = 0; i < count; i++) seen.set(keyView.getUint32(i * 4, true), valueView.getUint32(i * 4, true));
      if (result === -ENOENT) break;
      expect(result).toBe(0);
      start = out;
    }
    expect(seen.size).toBe(50);
    expect([...seen].every(([key, value]) => value === key * 3)).toBe(true);
    expect(c.call('MAP_GET_NEXT_KEY', { map_fd: fd, next_key: out })).toBe(-ENOENT);
  });
});

describe('per-CPU array', () => {
  it('holds one value a CPU', () => {
    const c = new Caller({ cpus: 2 });
    const fd = c.map(U.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 4, 1);
    expect(c.update(fd, u32(0), u32(1, 0, 2, 0))).toBe(0);
    expect(c.lookup(fd, u32(0), 16)).toEqual(u32(1, 0, 2, 0));
    expect(c.update(fd, u32(0), u32(9), (1n << 32n) | BigInt(U.BPF_F_CPU))).toBe(0);
    expect(c.lookup(fd, u32(0), 16)).toEqual(u32(1, 0, 9, 0));
    expect(c.lookup(fd, u32(0), 4, (1n << 32n) | BigInt(U.BPF_F_CPU))).toEqual(u32(9));
  });
});

describe('LRU hash', () => {
  it('never holds more than its limit and keeps what was just added', () => {
    const c = new Caller();
    const fd = c.map(U.BPF_MAP_TYPE_LRU_HASH, 4, 4, 10);
    for (let i = 0; i < 100; i++) {
      expect(c.update(fd, u32(i), u32(i))).toBe(0);
      expect(c.lookup(fd, u32(i), 4)).toEqual(u32(i));
    }
    let alive = 0;
    for (let i = 0; i < 100; i++) if (typeof c.lookup(fd, u32(i), 4) !== 'number') alive++;
    expect(alive).toBeLessThanOrEqual(10);
    expect(alive).toBeGreaterThan(0);
  });
});

describe('maps of maps', () => {
  it('takes maps of the template only and gives their ids', () => {
    const c = new Caller();
    const inner = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 4, 2);
    const other = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 4, 3);
    for (const type of [U.BPF_MAP_TYPE_ARRAY_OF_MAPS, U.BPF_MAP_TYPE_HASH_OF_MAPS]) {
      const outer = c.map(type, 4, 4, 4, { inner_map_fd: inner });
      expect(outer).toBeGreaterThan(0);
      expect(c.update(outer, u32(1), u32(inner))).toBe(0);
      expect(c.update(outer, u32(1), u32(other))).toBe(-EINVAL);
      expect(c.update(outer, u32(1), u32(999))).toBe(-EBADF);
      expect(c.lookup(outer, u32(1), 4)).toEqual(u32(1));
      c.kernel.close(outer);
    }
    expect(c.kernel.objects().maps.map((map) => map.refcount)).toEqual([1, 1]);
  });
});

describe('queue and stack', () => {
  it('pops in the order of the kind', () => {
    const c = new Caller();
    for (const [type, first] of [[U.BPF_MAP_TYPE_QUEUE, 1], [U.BPF_MAP_TYPE_STACK, 2]] as const) {
      const fd = c.map(type, 0, 4, 2);
      const out = c.buffer(4);
      for (const value of [1, 2]) expect(c.call('MAP_UPDATE_ELEM', { map_fd: fd, value: u32(value) })).toBe(0);
      expect(c.call('MAP_UPDATE_ELEM', { map_fd: fd, value: u32(3) })).toBe(-E2BIG);
      expect(c.call('MAP_LOOKUP_AND_DELETE_ELEM', { map_fd: fd, value: out })).toBe(0);
      expect(c.kernel.readUser(out, 4)).toEqual(u32(first));
    }
  });
});

describe('lifetime', () => {
  it('leaves nothing behind when everything is closed', () => {
    const c = new Caller();
    const before = c.kernel.memory.live();
    const kinds = [
      [U.BPF_MAP_TYPE_ARRAY, 4, 8, 4], [U.BPF_MAP_TYPE_HASH, 4, 8, 4], [U.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4],
      [U.BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 4], [U.BPF_MAP_TYPE_LRU_HASH, 4, 8, 4], [U.BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 4],
      [U.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096], [U.BPF_MAP_TYPE_QUEUE, 0, 4, 4],
    ] as const;
    const held = new Set(before.map((allocation) => allocation.offset));
    const user = (label: string): boolean => label === 'user memory';
    for (const [type, key, value, entries] of kinds) {
      const fd = c.map(type, key, value, entries);
      expect(fd).toBeGreaterThan(0);
      if (key === 4) c.update(fd, u32(1), new Uint8Array(32));
      expect(c.kernel.close(fd)).toBe(0);
    }
    expect(c.kernel.objects()).toEqual({ files: [], maps: [], programs: [], btfs: [], links: [] });
    expect(c.kernel.memory.live().filter((allocation) => !held.has(allocation.offset) && !user(allocation.label))).toEqual([]);
  });
});
