/**
 * @module verifier/rewrite/map_lookup
 * Lookups in maps as instructions, for maps whose elements lie where arithmetic finds them (`map_gen_lookup` of `kernel/bpf/arraymap.c`,
 * `hashtab.c`, `net/xdp/xskmap.c`). R1 is the map, R2 the key; R0 becomes the element's address or 0.
 */
import {
  BPF_ADD, BPF_AND, BPF_B, BPF_DW, BPF_F_INNER_MAP, BPF_JEQ, BPF_JGE, BPF_JNE, BPF_LSH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_ARRAY_OF_MAPS,
  BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_HASH_OF_MAPS, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
  BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_XSKMAP, BPF_MUL, BPF_W,
} from '../../isa/uapi.ts';
import type { KernelLayout } from '../progtypes/kernel_layout.ts';
import type { MapDescriptor } from '../types.ts';
import { alu64, aluK, aluX, callKernel, jumpK, load, mov64, percpuAddress, skip, storeK } from './code.ts';
import type { Rewrite } from './rewrite.ts';

type Lookup = (r: Rewrite, map: MapDescriptor, kernel: KernelLayout) => boolean;

function roundUp8(n: number): number {
  return Math.ceil(n / 8) * 8;
}

/** `index_mask` of an array: the least power of two that is not below `max_entries`, less one. */
export function indexMask(map: MapDescriptor): number {
  return map.maxEntries <= 1 ? 0 : 2 ** (32 - Math.clz32(map.maxEntries - 1)) - 1;
}

/** Loads the index into R0 and skips `distance` instructions more where it is none of the map's. */
function checkedIndex(r: Rewrite, map: MapDescriptor, distance: number): void {
  load(r, BPF_W, 0, 2, 0);
  if (map.bypassesSpecV1 === false) {
    jumpK(r, true, BPF_JGE, 0, map.maxEntries, distance + 1);
    aluK(r, false, BPF_AND, 0, indexMask(map));
  } else jumpK(r, true, BPF_JGE, 0, map.maxEntries, distance);
}

function scale(r: Rewrite, map: MapDescriptor): void {
  const size = roundUp8(map.valueSize);
  const shift = 31 - Math.clz32(size);
  if (2 ** shift === size) alu64(r, BPF_LSH, 0, shift);
  else alu64(r, BPF_MUL, 0, size);
}

const array: Lookup = (r, map, kernel) => {
  if ((map.flags & BPF_F_INNER_MAP) !== 0) return false;
  alu64(r, BPF_ADD, 1, kernel.place('bpf_array.value').offset);
  checkedIndex(r, map, 3);
  scale(r, map);
  aluX(r, true, BPF_ADD, 0, 1);
  skip(r, 1);
  mov64(r, 0, 0);
  return true;
};

const percpuArray: Lookup = (r, map, kernel) => {
  if ((map.flags & BPF_F_INNER_MAP) !== 0) return false;
  alu64(r, BPF_ADD, 1, kernel.place('bpf_array.pptrs').offset);
  checkedIndex(r, map, 5);
  alu64(r, BPF_LSH, 0, 3);
  aluX(r, true, BPF_ADD, 0, 1);
  load(r, BPF_DW, 0, 0, 0);
  percpuAddress(r, 0);
  skip(r, 1);
  mov64(r, 0, 0);
  return true;
};

const arrayOfMaps: Lookup = (r, map, kernel) => {
  alu64(r, BPF_ADD, 1, kernel.place('bpf_array.value').offset);
  checkedIndex(r, map, 5);
  scale(r, map);
  aluX(r, true, BPF_ADD, 0, 1);
  load(r, BPF_DW, 0, 0, 0);
  jumpK(r, true, BPF_JEQ, 0, 0, 1);
  skip(r, 1);
  mov64(r, 0, 0);
  return true;
};

/** Bytes from an element's header to its value. */
function valueOffset(map: MapDescriptor, kernel: KernelLayout): number {
  return kernel.place('htab_elem.key').offset + roundUp8(map.keySize);
}

function element(r: Rewrite, distance: number): void {
  callKernel(r);
  jumpK(r, true, BPF_JEQ, 0, 0, distance);
}

const hash: Lookup = (r, map, kernel) => {
  element(r, 1);
  alu64(r, BPF_ADD, 0, valueOffset(map, kernel));
  return true;
};

const lruHash: Lookup = (r, map, kernel) => {
  const used = kernel.place('htab_elem.lru_node').offset + kernel.place('bpf_lru_node.ref').offset;
  element(r, 4);
  load(r, BPF_B, 1, 0, used);
  jumpK(r, true, BPF_JNE, 1, 0, 1);
  storeK(r, BPF_B, 0, used, 1);
  alu64(r, BPF_ADD, 0, valueOffset(map, kernel));
  return true;
};

const percpuHash: Lookup = (r, map, kernel) => {
  element(r, 3);
  alu64(r, BPF_ADD, 0, valueOffset(map, kernel));
  load(r, BPF_DW, 0, 0, 0);
  percpuAddress(r, 0);
  return true;
};

const hashOfMaps: Lookup = (r, map, kernel) => {
  element(r, 2);
  alu64(r, BPF_ADD, 0, valueOffset(map, kernel));
  load(r, BPF_DW, 0, 0, 0);
  return true;
};

const resizableHash: Lookup = (r, map, kernel) => {
  element(r, 1);
  alu64(r, BPF_ADD, 0, kernel.place('rhtab_elem.data').offset + roundUp8(map.keySize));
  return true;
};

const sockets: Lookup = (r, map, kernel) => {
  load(r, BPF_W, 0, 2, 0);
  jumpK(r, false, BPF_JGE, 0, map.maxEntries, 5);
  alu64(r, BPF_LSH, 0, 3);
  alu64(r, BPF_ADD, 1, kernel.place('xsk_map.xsk_map').offset);
  aluX(r, true, BPF_ADD, 0, 1);
  load(r, BPF_DW, 0, 0, 0);
  skip(r, 1);
  mov64(r, 0, 0);
  return true;
};

const LOOKUPS: ReadonlyMap<number, Lookup> = new Map([
  [BPF_MAP_TYPE_ARRAY, array], [BPF_MAP_TYPE_PERCPU_ARRAY, percpuArray], [BPF_MAP_TYPE_ARRAY_OF_MAPS, arrayOfMaps], [BPF_MAP_TYPE_HASH, hash],
  [BPF_MAP_TYPE_LRU_HASH, lruHash], [BPF_MAP_TYPE_PERCPU_HASH, percpuHash], [BPF_MAP_TYPE_HASH_OF_MAPS, hashOfMaps],
  [BPF_MAP_TYPE_RHASH, resizableHash], [BPF_MAP_TYPE_XSKMAP, sockets],
]);

/** Emits the lookup in place of the call; false where such a map is only looked up by a call. */
export function emitMapLookup(r: Rewrite, map: MapDescriptor, kernel: KernelLayout): boolean {
  return LOOKUPS.get(map.type)?.(r, map, kernel) ?? false;
}
