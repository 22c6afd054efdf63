/**
 * @module kernel/syscall/elements
 * Commands on one element of a map, and `BPF_MAP_FREEZE`. Owns the rules of the commands in the kernel's order; what an element
 * is, is the map's business. Reproduces `map_lookup_elem` … `map_freeze` of kernel/bpf/syscall.c.
 */
import { BPF_SPIN_LOCK } from '../../btf/record.ts';
import { COMMANDS, type CommandSpec, MAP_ELEM_ATTR } from '../../isa/attr.ts';
import { EBUSY, EFAULT, EINVAL, ENOMEM, ENOTSUPP, EPERM, ERANGE } from '../../isa/errno.ts';
import { InternalError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { FMODE_READ, FMODE_WRITE, type OpenFile } from '../files.ts';
import type { BPFMap, ElementFlags } from '../maps/map.ts';
import { type BPFPtr, isNull } from '../memory.ts';
import type { KernelObject } from '../objects.ts';
import type { KernelState } from '../state.ts';
import type { Call } from './call.ts';

export function specOf(cmd: number): CommandSpec {
  const spec = COMMANDS[cmd];
  if (spec === undefined) throw new InternalError(`no command ${cmd}`);
  return spec;
}

/** `map_get_sys_perms`: a frozen map is not written to. */
export function permissions(map: BPFMap, file: OpenFile<KernelObject>): number {
  return map.frozen ? file.mode & ~FMODE_WRITE : file.mode;
}

export function hasSpinLock(map: BPFMap): boolean {
  return ((map.record?.fieldMask ?? 0) & BPF_SPIN_LOCK) !== 0;
}

/** `bpf_map_check_op_flags` */
export function checkOpFlags(map: BPFMap, flags: ElementFlags, allowed: number): number {
  const { lo, hi } = flags;
  if ((lo & ~allowed) !== 0) return -EINVAL;
  if ((lo & U.BPF_F_LOCK) !== 0 && !hasSpinLock(map)) return -EINVAL;
  const takesCPU = (lo & U.BPF_F_CPU) !== 0;
  if (!takesCPU && hi !== 0) return -EINVAL;
  if ((lo & (U.BPF_F_CPU | U.BPF_F_ALL_CPUS)) === 0) return 0;
  // bpf_map_is_percpu_map of include/linux/bpf.h
  if (!isPerCPUMapType(map.type)) return -EINVAL;
  if (takesCPU && (lo & U.BPF_F_ALL_CPUS) !== 0) return -EINVAL;
  return takesCPU && hi >>> 0 >= map.host.cpus ? -ERANGE : 0;
}

function isPerCPUMapType(type: number): boolean {
  return type === U.BPF_MAP_TYPE_PERCPU_ARRAY || type === U.BPF_MAP_TYPE_PERCPU_HASH || type === U.BPF_MAP_TYPE_LRU_PERCPU_HASH
    || type === U.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

/** Runs `body` while the map counts as being written to. */
export function whileWriting(map: BPFMap, body: () => number): number {
  map.writers++;
  try {
    return body();
  } finally {
    map.writers--;
  }
}

/** Runs `body` with a kernel copy of the key: 0 for kinds without keys. `-EINVAL` where such a map is given one, `-EFAULT`. */
function withKey(kernel: KernelState, pointer: BPFPtr, size: number, body: (key: number) => number): number {
  if (size === 0) return isNull(pointer) ? body(0) : -EINVAL;
  const key = kernel.memory.tryAlloc(size, 'key');
  if (key === 0) return -ENOMEM;
  try {
    return kernel.memory.copyInto(key, pointer, size) ? body(key) : -EFAULT;
  } finally {
    kernel.memory.free(key);
  }
}

function withValue(kernel: KernelState, size: number, body: (value: number) => number): number {
  const value = kernel.memory.tryAlloc(size, 'value');
  if (value === 0) return -ENOMEM;
  try {
    return body(value);
  } finally {
    kernel.memory.free(value);
  }
}

export function lookupElement(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_MAP_LOOKUP_ELEM))) return -EINVAL;
  const found = call.kernel.mapFile(call.fd(MAP_ELEM_ATTR.map_fd));
  if (typeof found === 'number') return found;
  const { map, file } = found;
  if ((permissions(map, file) & FMODE_READ) === 0) return -EPERM;
  const flags = call.flags(MAP_ELEM_ATTR.flags);
  const bad = checkOpFlags(map, flags, U.BPF_F_LOCK | U.BPF_F_CPU);
  if (bad !== 0) return bad;
  const target = call.userPointer(MAP_ELEM_ATTR.value);
  const { memory } = call.kernel;
  return withKey(call.kernel, call.userPointer(MAP_ELEM_ATTR.key), map.keySize, (key) => {
    const size = map.userValueSize(flags);
    return withValue(call.kernel, size, (value) => {
      if (map.type === U.BPF_MAP_TYPE_BLOOM_FILTER) {
        return memory.copyInto(value, target, size) ? map.copyValue(key, value, flags) : -EFAULT;
      }
      const error = map.copyValue(key, value, flags);
      if (error !== 0) return error;
      return memory.copyOut(target, value, size) ? 0 : -EFAULT;
    });
  });
}

export function updateElement(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_MAP_UPDATE_ELEM))) return -EINVAL;
  const found = call.kernel.mapFile(call.fd(MAP_ELEM_ATTR.map_fd));
  if (typeof found === 'number') return found;
  const { map, file } = found;
  return whileWriting(map, () => {
    if ((permissions(map, file) & FMODE_WRITE) === 0) return -EPERM;
    const flags = call.flags(MAP_ELEM_ATTR.flags);
    const bad = checkOpFlags(map, flags, -1);
    if (bad !== 0) return bad;
    return withKey(call.kernel, call.callerPointer(MAP_ELEM_ATTR.key), map.keySize, (key) => {
      const size = map.userValueSize(flags);
      return withValue(call.kernel, size, (value) => {
        if (!call.kernel.memory.copyInto(value, call.callerPointer(MAP_ELEM_ATTR.value), size)) return -EFAULT;
        return map.updateFromSystemCall(key, value, flags, file);
      });
    });
  });
}

export function deleteElement(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_MAP_DELETE_ELEM))) return -EINVAL;
  const found = call.kernel.mapFile(call.fd(MAP_ELEM_ATTR.map_fd));
  if (typeof found === 'number') return found;
  const { map, file } = found;
  return whileWriting(map, () => {
    if ((permissions(map, file) & FMODE_WRITE) === 0) return -EPERM;
    return withKey(call.kernel, call.callerPointer(MAP_ELEM_ATTR.key), map.keySize, (key) => map.remove(key));
  });
}

export function nextKey(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_MAP_GET_NEXT_KEY))) return -EINVAL;
  const found = call.kernel.mapFile(call.fd(MAP_ELEM_ATTR.map_fd));
  if (typeof found === 'number') return found;
  const { map, file } = found;
  if ((permissions(map, file) & FMODE_READ) === 0) return -EPERM;
  const source = call.userPointer(MAP_ELEM_ATTR.key);
  const target = call.userPointer(MAP_ELEM_ATTR.next_key);
  const find = (key: number): number => withValue(call.kernel, map.keySize, (out) => {
    const error = map.nextKey(key, out);
    if (error !== 0) return error;
    return call.kernel.memory.copyOut(target, out, map.keySize) ? 0 : -EFAULT;
  });
  return isNull(source) ? find(0) : withKey(call.kernel, source, map.keySize, find);
}

const DELETING_TYPES: ReadonlySet<number> = new Set([
  U.BPF_MAP_TYPE_HASH, U.BPF_MAP_TYPE_PERCPU_HASH, U.BPF_MAP_TYPE_LRU_HASH, U.BPF_MAP_TYPE_LRU_PERCPU_HASH, U.BPF_MAP_TYPE_RHASH,
  U.BPF_MAP_TYPE_STACK_TRACE,
]);

export function lookupAndDeleteElement(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_MAP_LOOKUP_AND_DELETE_ELEM))) return -EINVAL;
  const flags = call.flags(MAP_ELEM_ATTR.flags);
  if ((flags.lo & ~U.BPF_F_LOCK) !== 0 || flags.hi !== 0) return -EINVAL;
  const found = call.kernel.mapFile(call.fd(MAP_ELEM_ATTR.map_fd));
  if (typeof found === 'number') return found;
  const { map, file } = found;
  return whileWriting(map, () => {
    const both = FMODE_READ | FMODE_WRITE;
    if ((permissions(map, file) & both) !== both) return -EPERM;
    const isQueue = map.type === U.BPF_MAP_TYPE_QUEUE || map.type === U.BPF_MAP_TYPE_STACK;
    if (flags.lo !== 0 && (isQueue || !hasSpinLock(map))) return -EINVAL;
    return withKey(call.kernel, call.userPointer(MAP_ELEM_ATTR.key), map.keySize, (key) => {
      const size = map.userValueSize({ lo: 0, hi: 0 });
      return withValue(call.kernel, size, (value) => {
        let error = -ENOTSUPP;
        if (isQueue) error = map.pop(value);
        else if (DELETING_TYPES.has(map.type)) error = map.lookupAndDelete(key, value, flags);
        if (error !== 0) return error;
        return call.kernel.memory.copyOut(call.userPointer(MAP_ELEM_ATTR.value), value, size) ? 0 : -EFAULT;
      });
    });
  });
}

export function freezeMap(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_MAP_FREEZE))) return -EINVAL;
  const found = call.kernel.mapFile(call.fd(MAP_ELEM_ATTR.map_fd));
  if (typeof found === 'number') return found;
  const { map, file } = found;
  if (map.type === U.BPF_MAP_TYPE_STRUCT_OPS || map.record !== undefined) return -ENOTSUPP;
  // A frozen map has lost its write permission: the second freeze is refused by that.
  if ((permissions(map, file) & FMODE_WRITE) === 0) return -EPERM;
  if (map.hasActiveWriters || map.frozen) return -EBUSY;
  map.freeze();
  return 0;
}
