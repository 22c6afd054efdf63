/**
 * @module kernel/maps/registry
 * Which map types the instance has: for each its check of the attributes, its maker, and the capability it needs beyond those
 * of every `bpf()` call. Reproduces `bpf_map_types` and the privilege switch of `map_create_alloc` (kernel/bpf/syscall.c).
 */
import { ArenaMap } from './arena.ts';
import * as U from '../../isa/uapi.ts';
import { CAP_BPF, CAP_NET_ADMIN } from '../api.ts';
import { ArrayMap, checkArray, checkFDArray, PerCPUArrayMap } from './array.ts';
import { BloomFilterMap, checkBloomFilter } from './bloom-filter.ts';
import { ArrayOfMaps, ForeignFDArrayMap, ProgArrayMap } from './fd-array.ts';
import { checkHashOfMaps, HashOfMaps } from './hash-of-maps.ts';
import { checkHash, HashMap } from './hashtab.ts';
import { LRUHashMap, LRUPerCPUHashMap } from './lru-hash.ts';
import { PerCPUHashMap } from './percpu-hash.ts';
import { LPMTrieMap } from './lpm-trie.ts';
import type { BPFMap, MapAttributes, MapHost } from './map.ts';
import { checkQueueStack, QueueStackMap } from './queue-stack.ts';
import { RingBufferMap } from './ringbuf.ts';
import { checkDevMap, checkReuseport, CPUMap, DevMap, SocketMap } from './sockets.ts';
import {
  checkInsnArray, checkResizableHash, InsnArrayMap, ResizableHashMap, StackTraceMap,
} from './special.ts';
import { checkStructOps, StructOpsMap } from './struct-ops.ts';
import { CgroupStorageMap, checkLocalStorage, LocalStorageMap } from './storage.ts';

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
  [U.BPF_MAP_TYPE_LPM_TRIE, { create: LPMTrieMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_BLOOM_FILTER, { check: checkBloomFilter, create: BloomFilterMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_STACK_TRACE, { create: StackTraceMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_CGROUP_STORAGE, { create: CgroupStorageMap.create }],
  [U.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, { create: CgroupStorageMap.create }],
  [U.BPF_MAP_TYPE_SK_STORAGE, { check: checkLocalStorage, create: LocalStorageMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_INODE_STORAGE, { check: checkLocalStorage, create: LocalStorageMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_TASK_STORAGE, { check: checkLocalStorage, create: LocalStorageMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_CGRP_STORAGE, { check: checkLocalStorage, create: LocalStorageMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_DEVMAP, { check: checkDevMap, create: DevMap.create, capability: CAP_NET_ADMIN }],
  [U.BPF_MAP_TYPE_DEVMAP_HASH, { check: checkDevMap, create: DevMap.create, capability: CAP_NET_ADMIN }],
  [U.BPF_MAP_TYPE_CPUMAP, { create: CPUMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_XSKMAP, { create: SocketMap.create, capability: CAP_NET_ADMIN }],
  [U.BPF_MAP_TYPE_SOCKMAP, { create: SocketMap.create, capability: CAP_NET_ADMIN }],
  [U.BPF_MAP_TYPE_SOCKHASH, { create: SocketMap.create, capability: CAP_NET_ADMIN }],
  [U.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, { check: checkReuseport, create: SocketMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_STRUCT_OPS, { check: checkStructOps, create: StructOpsMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_ARENA, { create: ArenaMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_INSN_ARRAY, { check: checkInsnArray, create: InsnArrayMap.create, capability: CAP_BPF }],
  [U.BPF_MAP_TYPE_RHASH, { check: checkResizableHash, create: ResizableHashMap.create }],
]);

/** The kind of a map type, `undefined` where the kernel has none. */
export function mapKind(type: number): MapKind | undefined {
  return KINDS.get(type);
}
