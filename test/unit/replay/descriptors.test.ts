/**
 * The process of a transcript: which descriptors its calls get, and what counts as left behind.
 */
import { expect, it } from 'vitest';
import { MAP_CREATE_ATTR, writeInt } from '../../../isa/attr.ts';
import { BPF_MAP_CREATE, BPF_MAP_TYPE_ARRAY } from '../../../isa/uapi.ts';
import { KernelTarget } from '../../../src/replay/kernel-target.ts';

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
