/**
 * @module kernel/maps/storage
 * Values that belong to a kernel object: socket, inode, task and cgroup storage, and the older cgroup storage with its per-CPU
 * kind. User space names owners by descriptors that the instance does not hand out, so from there they are not found.
 * Reproduces kernel/bpf/bpf_local_storage.c, bpf_{task,inode,cgrp}_storage.c, local_storage.c, net/core/bpf_sk_storage.c.
 */
import type { BTF } from '../../btf/btf.ts';
import { BPF_SPIN_LOCK } from '../../btf/record.ts';
import { E2BIG, EBADF, EINVAL, ENOENT, ENOTSUPP } from '../../isa/errno.ts';
import {
  BPF_EXIST, BPF_F_ALL_CPUS, BPF_F_CLONE, BPF_F_CPU, BPF_F_LOCK, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
  BTF_KIND_INT, BTF_KIND_STRUCT,
} from '../../isa/uapi.ts';
import { isPlain32BitInt } from './array.ts';
import { ACCESS_MASK, accessFlagsOK, BPFMap, type ElementFlags, type MapAttributes, type MapHost, PCPU_MIN_UNIT_SIZE, roundUp8 } from './map.ts';

const LOCAL_STORAGE_SIZE = 504;
const CGROUP_STORAGE_SIZE = 576;
/** `BPF_LOCAL_STORAGE_MAX_VALUE_SIZE`: 64 KiB without `struct bpf_local_storage_elem`. */
const MAX_VALUE = 0xffff - 128;
const CREATE_FLAGS = BPF_F_NO_PREALLOC | BPF_F_CLONE;

/** `bpf_local_storage_map_alloc_check` */
export function checkLocalStorage(attr: MapAttributes): number {
  const isBad = (attr.flags & ~CREATE_FLAGS) !== 0 || (attr.flags & BPF_F_NO_PREALLOC) === 0 || attr.maxEntries !== 0 || attr.keySize !== 4
    || attr.valueSize === 0 || attr.btfKeyTypeID === 0 || attr.btfValueTypeID === 0;
  if (isBad) return -EINVAL;
  return attr.valueSize > MAX_VALUE ? -E2BIG : 0;
}

export class LocalStorageMap extends BPFMap {
  /** Values by the address of their owner. */
  private readonly values: Map<number, number> = new Map();

  static create(host: MapHost, attr: MapAttributes): LocalStorageMap | number {
    return new LocalStorageMap(host, attr, LOCAL_STORAGE_SIZE);
  }

  protected override freeElements(): void {
    for (const value of this.values.values()) {
      this.freeFields(value);
      this.host.memory.free(value);
    }
    this.values.clear();
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  override checkBTF(btf: BTF, keyType: number): number {
    return isPlain32BitInt(btf, keyType) ? 0 : -EINVAL;
  }

  /** Value of an owner, made where `create` is given (its initial contents: an offset, or 0 for zeros); 0 where there is none. */
  storageOf(owner: number, create: number | undefined): number {
    const old = this.values.get(owner);
    if (old !== undefined) return old;
    if (create === undefined) return 0;
    const value = this.host.memory.tryAlloc(this.valueSize, `storage ${this.name}`);
    if (value === 0) return 0;
    if (create !== 0) this.copyIn(create, value);
    this.values.set(owner, value);
    return value;
  }

  removeOf(owner: number): number {
    const value = this.values.get(owner);
    if (value === undefined) return -ENOENT;
    this.values.delete(owner);
    this.freeFields(value);
    this.host.memory.free(value);
    return 0;
  }

  /** No descriptor of the instance is a pidfd, socket, cgroup, or file of a file system that keeps storage. */
  private ownerError(): number {
    return -EBADF;
  }

  override lookup(_key: number): number {
    return this.ownerError();
  }

  override update(_key: number, _value: number, _flags: ElementFlags): number {
    return this.ownerError();
  }

  override remove(_key: number): number {
    return this.ownerError();
  }

  override nextKey(): number {
    return -ENOTSUPP;
  }
}

/** `cgroup_storage_map_alloc`: size rules of the older cgroup storage. */
function checkCgroupStorage(attr: MapAttributes): number {
  const limit = attr.type === BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE ? Math.min(MAX_VALUE, PCPU_MIN_UNIT_SIZE) : MAX_VALUE;
  if (attr.keySize !== 16 && attr.keySize !== 8) return -EINVAL;
  if (attr.valueSize === 0) return -EINVAL;
  if (attr.valueSize > limit) return -E2BIG;
  if ((attr.flags & ~(BPF_F_NUMA_NODE | ACCESS_MASK)) !== 0 || !accessFlagsOK(attr.flags)) return -EINVAL;
  return attr.maxEntries !== 0 ? -EINVAL : 0;
}

export class CgroupStorageMap extends BPFMap {
  /** Storage of a test run: `bpf_prog_test_run_*` gives each run a fresh one. */
  private current = 0;

  static create(host: MapHost, attr: MapAttributes): CgroupStorageMap | number {
    const bad = checkCgroupStorage(attr);
    return bad !== 0 ? bad : new CgroupStorageMap(host, attr, CGROUP_STORAGE_SIZE);
  }

  /** Address of the storage of the run that is under way; made on the first use. */
  storageOfRun(): number {
    if (this.current === 0) {
      const copies = this.isPerCPU ? this.host.cpus : 1;
      this.current = this.host.memory.tryAlloc(roundUp8(this.valueSize) * copies, `cgroup storage ${this.name}`);
    }
    return this.current === 0 ? 0 : this.current + (this.isPerCPU ? this.host.currentCPU * roundUp8(this.valueSize) : 0);
  }

  endRun(): void {
    if (this.current !== 0) this.host.memory.free(this.current);
    this.current = 0;
  }

  protected override freeElements(): void {
    this.endRun();
  }

  override get isPerCPU(): boolean {
    return this.type === BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
  }

  override get canBeInner(): boolean {
    return false;
  }

  override lookup(): number {
    return 0;
  }

  override copyValue(): number {
    return -ENOENT;
  }

  override update(_key: number, _value: number, flags: ElementFlags): number {
    if ((flags.lo & ~(BPF_F_LOCK | BPF_EXIST)) !== 0 || flags.hi !== 0) return -EINVAL;
    if ((flags.lo & BPF_F_LOCK) !== 0 && ((this.record?.fieldMask ?? 0) & BPF_SPIN_LOCK) === 0) return -EINVAL;
    return -ENOENT;
  }

  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    if (!this.isPerCPU) return this.update(key, value, flags);
    return (flags.lo & ~(BPF_EXIST | BPF_F_CPU | BPF_F_ALL_CPUS)) !== 0 ? -EINVAL : -ENOENT;
  }

  override remove(): number {
    return -EINVAL;
  }

  override nextKey(): number {
    return -ENOENT;
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  /** `cgroup_storage_check_btf` */
  override checkBTF(btf: BTF, keyType: number): number {
    if (this.keySize === 8) {
      const at = btf.skipModifiers(keyType);
      return btf.kind(at) === BTF_KIND_INT && btf.size(at) === 8 && btf.int(at).bits === 64 ? 0 : -EINVAL;
    }
    if (btf.kind(keyType) !== BTF_KIND_STRUCT || btf.vlen(keyType) !== 2) return -EINVAL;
    const isMember = (index: number, offset: number, size: number): boolean => {
      const type = btf.skipModifiers(btf.memberType(keyType, index));
      return btf.kind(type) === BTF_KIND_INT && btf.size(type) === size && btf.int(type).bits === size * 8
        && btf.memberBitOffset(keyType, index) === offset * 8 && btf.memberBitfieldSize(keyType, index) === 0;
    };
    return isMember(0, 0, 8) && isMember(1, 8, 4) ? 0 : -EINVAL;
  }
}
