/**
 * @module kernel/maps/registry
 * Which map types the instance has: for each its check of the attributes, its maker, and the capability it needs beyond those
 * of every `bpf()` call. Reproduces `bpf_map_types` and the privilege switch of `map_create_alloc` (kernel/bpf/syscall.c).
 */
import * as U from '../../isa/uapi.ts';
import { CAP_BPF } from '../api.ts';
import { ArrayMap, checkArray, checkFDArray, PerCPUArrayMap } from './array.ts';
import { ArrayOfMaps, ForeignFDArrayMap, ProgArrayMap } from './fd-array.ts';
import { checkHashOfMaps, HashOfMaps } from './hash-of-maps.ts';
import { checkHash, HashMap, LRUHashMap, LRUPerCPUHashMap, PerCPUHashMap } from './hashtab.ts';
import type { BPFMap, MapAttributes, MapHost } from './map.ts';
import { checkQueueStack, QueueStackMap } from './queue-stack.ts';
import { RingBufferMap } from './ringbuf.ts';

export interface MapKind {
  /** `map_alloc_check`: 0 or `-errno`. */
  readonly check?: (attr: MapAttributes, host: MapHost) => number;
  /** `map_alloc` */
  readonly create: (host: MapHost, attr: MapAttributes) => BPFMap | number;
  /** Capability that creating one needs, `undefined` for none. */
  readonly capability?: number;
}

const KINDS: ReadonlyMap<number, MapKind> = new Map<number, MapKind>([
  [U.BPF_MAP_TYPE_ARRAY, { check: checkArray, create: ArrayMap.create }],
  [U.BPF_MAP_TYPE_PERCPU_ARRAY, { check: checkArray, create: PerCPUArrayMap.create }],
  [U.BPF_MAP_TYPE_PROG_ARRAY, { check: checkFDArray, create: ProgArrayMap.create }],
  [U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, { check: checkFDArray, create: ForeignFDArrayMap.create }],
  [U.BPF_MAP_TYPE_CGROUP_ARRAY, { check: checkFDArray, create: ForeignFDArrayMap.create }],
  [U.BPF_MAP_TYPE_ARRAY_OF_MAPS, { check: checkFDArray, create: ArrayOfMaps.create }],
  [U.BPF_MAP_TYPE_HASH, { check: checkHash, create: HashMap.create }],
  [U.BPF_MAP_TYPE_PERCPU_HASH, { check: checkHash, create: PerCPUHashMap.create }],
  [U.BPF_MAP_TYPE_LRU_HASH, { check: checkHash, create: LRUHashMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_LRU_PERCPU_HASH, { check: checkHash, create: LRUPerCPUHashMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_HASH_OF_MAPS, { check: checkHashOfMaps, create: HashOfMaps.create }],
  [U.BPF_MAP_TYPE_RINGBUF, { create: RingBufferMap.create }],
  [U.BPF_MAP_TYPE_USER_RINGBUF, { create: RingBufferMap.create }],
  [U.BPF_MAP_TYPE_QUEUE, { check: checkQueueStack, create: QueueStackMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_STACK, { check: checkQueueStack, create: QueueStackMap.create, capability: CAP_BPF }],
]);

/** The kind of a map type, `undefined` where the kernel has none. */
export function mapKind(type: number): MapKind | undefined {
  return KINDS.get(type);
}
