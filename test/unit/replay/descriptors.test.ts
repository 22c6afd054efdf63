/**
 * The process of a transcript: which descriptors its calls get, and what counts as left behind.
 */
import { expect, it } from 'vitest';
import { MAP_CREATE_ATTR, writeInt } from '../../../isa/attr.ts';
import { BPF_F_MMAPABLE, BPF_MAP_CREATE, BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_ARRAY } from '../../../isa/uapi.ts';
import { makeCall, NO_ANSWER } from '../../../src/fuzz/mutators/calls.ts';
import { KernelTarget } from '../../../src/replay/kernel-target.ts';
import { Performer } from '../../../src/replay/perform.ts';
import type { Operation } from '../../../src/replay/transcript.ts';

it('begins behind the two files of the recorder, which are not left behind', () => {
  const target = new KernelTarget({});
  expect(target.liveObjects()).toEqual([]);
  const attr = new DataView(new ArrayBuffer(MAP_CREATE_ATTR.map_flags.offset + 4));
  writeInt(attr, 0, MAP_CREATE_ATTR.map_type, BPF_MAP_TYPE_ARRAY);
  for (const field of [MAP_CREATE_ATTR.key_size, MAP_CREATE_ATTR.value_size, MAP_CREATE_ATTR.max_entries]) writeInt(attr, 0, field, 4);
  const address = target.allocUser(attr.byteLength);
  target.writeUser(address, new Uint8Array(attr.buffer));
  expect(target.bpf(BPF_MAP_CREATE, address, attr.byteLength)).toBe(5);
  expect(target.liveObjects().join()).toContain('fd 5 (map)');
  expect(target.close(5)).toBe(0);
  expect(target.liveObjects()).toEqual([]);
});

it('undoes every mapping of a case', () => {
  const target = new KernelTarget({});
  const before = target.kernel.memoryStats.liveBytes;
  const performer = new Performer(target);
  const arena = { map_type: BPF_MAP_TYPE_ARENA, max_entries: 1, map_flags: BPF_F_MMAPABLE };
  const mmap = (slot: number, size: number): Operation => ({ op: 'mmap', slot, size, prot: 3, want: NO_ANSWER });
  const operations: Operation[] = [makeCall('MAP_CREATE', arena, { save: 0 }), makeCall('MAP_CREATE', arena, { save: 1 }), mmap(0, 8192), mmap(1, 4096)];
  expect(operations.map((operation) => performer.perform(operation).errno)).toEqual([0, 0, 0, 0]);
  performer.reset();
  performer.release();
  expect(target.liveObjects()).toEqual([]);
  expect(target.kernel.memoryStats.liveBytes).toBe(before);
});
