/**
 * @module kernel/syscall/batch
 * `BPF_MAP_*_BATCH`: many elements in one call, generic (element by element in the order of the keys) and bucket by bucket for
 * hash tables. Reproduces `bpf_map_do_batch`, `generic_map_*_batch` (kernel/bpf/syscall.c) and
 * `__htab_map_lookup_and_delete_batch` (kernel/bpf/hashtab.c).
 */
import { MAP_BATCH_ATTR } from '../../isa/attr.ts';
import { EAGAIN, EFAULT, EINVAL, ENOENT, ENOMEM, ENOSPC, ENOTSUPP, EPERM } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { FMODE_READ, FMODE_WRITE } from '../files.ts';
import { HashBase } from '../maps/hashtab.ts';
import type { BPFMap } from '../maps/map.ts';
import { advance, isNull } from '../memory.ts';
import type { Call } from './call.ts';
import { checkOpFlags, hasSpinLock, permissions, specOf, whileWriting } from './elements.ts';

export function batch(call: Call): number {
  if (!call.hasCleanTail(specOf(call.cmd))) return -EINVAL;
  const isRead = call.cmd === U.BPF_MAP_LOOKUP_BATCH || call.cmd === U.BPF_MAP_LOOKUP_AND_DELETE_BATCH;
  const isWrite = call.cmd !== U.BPF_MAP_LOOKUP_BATCH;
  const found = call.kernel.mapFile(call.fd(MAP_BATCH_ATTR.map_fd));
  if (typeof found === 'number') return found;
  const { map, file } = found;
  const perform = (): number => {
    const granted = permissions(map, file);
    if (isRead && (granted & FMODE_READ) === 0) return -EPERM;
    if (isWrite && (granted & FMODE_WRITE) === 0) return -EPERM;
    return dispatch(call, map, file);
  };
  return isWrite ? whileWriting(map, perform) : perform();
}

function dispatch(call: Call, map: BPFMap, file: unknown): number {
  const operations = map.batchOperations;
  switch (call.cmd) {
    case U.BPF_MAP_LOOKUP_BATCH:
      if (operations.lookup === 'buckets' && map instanceof HashBase) return bucketBatch(call, map, false);
      if (operations.lookup === 'cursor' && map instanceof HashBase) return cursorBatch(call, map, false);
      return operations.lookup === 'generic' ? genericLookup(call, map) : -ENOTSUPP;
    case U.BPF_MAP_LOOKUP_AND_DELETE_BATCH:
      if (operations.lookupAndDelete === undefined || !(map instanceof HashBase)) return -ENOTSUPP;
      return operations.lookupAndDelete === 'buckets' ? bucketBatch(call, map, true) : cursorBatch(call, map, true);
    case U.BPF_MAP_UPDATE_BATCH:
      return operations.update ? genericUpdate(call, map, file) : -ENOTSUPP;
    default:
      return operations.delete ? genericDelete(call, map) : -ENOTSUPP;
  }
}

/** Runs `body` with a kernel buffer; `-ENOMEM` where there is none. */
function withBuffer(call: Call, size: number, body: (at: number) => number): number {
  const at = call.kernel.memory.tryAlloc(size, 'batch buffer');
  if (at === 0) return -ENOMEM;
  try {
    return body(at);
  } finally {
    call.kernel.memory.free(at);
  }
}

/**
 * `work` with each key of the batch in turn, and with room for a value of `size` bytes where it asks for any, until it fails; the caller
 * is told how many it was.
 */
function withEachKey(call: Call, map: BPFMap, size: number | undefined, work: (key: number, value: number, index: number) => number): number {
  const count = call.u32(MAP_BATCH_ATTR.count);
  if (count === 0) return 0;
  if (!call.put(MAP_BATCH_ATTR.count, 0)) return -EFAULT;
  const keys = call.userPointer(MAP_BATCH_ATTR.keys);
  const { memory } = call.kernel;
  const walk = (key: number, value: number): number => {
    let error = 0;
    let done = 0;
    for (; done < count; done++) {
      error = memory.copyInto(key, advance(keys, done * map.keySize), map.keySize) ? work(key, value, done) : -EFAULT;
      if (error !== 0) break;
    }
    return call.put(MAP_BATCH_ATTR.count, done) ? error : -EFAULT;
  };
  return withBuffer(call, map.keySize, (key) => (size === undefined ? walk(key, 0) : withBuffer(call, size, (value) => walk(key, value))));
}

function genericDelete(call: Call, map: BPFMap): number {
  const flags = call.flags(MAP_BATCH_ATTR.elem_flags);
  if ((flags.lo & ~U.BPF_F_LOCK) !== 0 || flags.hi !== 0) return -EINVAL;
  if ((flags.lo & U.BPF_F_LOCK) !== 0 && !hasSpinLock(map)) return -EINVAL;
  return withEachKey(call, map, undefined, (key) => map.remove(key));
}

function genericUpdate(call: Call, map: BPFMap, file: unknown): number {
  const flags = call.flags(MAP_BATCH_ATTR.elem_flags);
  const bad = checkOpFlags(map, flags, U.BPF_F_LOCK | U.BPF_F_CPU | U.BPF_F_ALL_CPUS);
  if (bad !== 0) return bad;
  const size = map.userValueSize(flags);
  const values = call.userPointer(MAP_BATCH_ATTR.values);
  return withEachKey(call, map, size, (key, value, index) => (
    call.kernel.memory.copyInto(value, advance(values, index * size), size) ? map.updateFromSystemCall(key, value, flags, file) : -EFAULT));
}

function genericLookup(call: Call, map: BPFMap): number {
  const flags = call.flags(MAP_BATCH_ATTR.elem_flags);
  const bad = checkOpFlags(map, flags, U.BPF_F_LOCK | U.BPF_F_CPU);
  if (bad !== 0) return bad;
  const size = map.userValueSize(flags);
  const count = call.u32(MAP_BATCH_ATTR.count);
  if (count === 0) return 0;
  if (!call.put(MAP_BATCH_ATTR.count, 0)) return -EFAULT;
  const { memory } = call.kernel;
  const start = call.userPointer(MAP_BATCH_ATTR.in_batch);
  const keys = call.userPointer(MAP_BATCH_ATTR.keys);
  const values = call.userPointer(MAP_BATCH_ATTR.values);
  return withBuffer(call, map.keySize * 2, (keyBuffers) => withBuffer(call, size, (value) => {
    let previous = 0;
    let key = keyBuffers;
    if (!isNull(start)) {
      previous = keyBuffers + map.keySize;
      if (!memory.copyInto(previous, start, map.keySize)) return -EFAULT;
    }
    let error = 0;
    let done = 0;
    while (done < count) {
      error = map.nextKey(previous, key);
      if (error !== 0) break;
      error = map.copyValue(key, value, flags);
      if (error !== 0 && error !== -ENOENT) return error;
      if (error === 0) {
        if (!memory.copyOut(advance(keys, done * map.keySize), key, map.keySize)) return -EFAULT;
        if (!memory.copyOut(advance(values, done * size), value, size)) return -EFAULT;
        done++;
      }
      const other = previous === 0 ? keyBuffers + map.keySize : previous;
      previous = key;
      key = other;
    }
    if (error === -EFAULT) return error;
    if (!call.put(MAP_BATCH_ATTR.count, done)) return -EFAULT;
    const isCopied = done === 0 || memory.copyOut(call.userPointer(MAP_BATCH_ATTR.out_batch), previous, map.keySize);
    return isCopied ? error : -EFAULT;
  }));
}

/** Whole buckets: the next batch begins at a bucket number, not at a key. */
function bucketBatch(call: Call, map: HashBase, deletes: boolean): number {
  const elementFlags = call.flags(MAP_BATCH_ATTR.elem_flags);
  const allowed = U.BPF_F_LOCK | (!deletes && map.isPerCPU ? U.BPF_F_CPU : 0);
  const bad = checkOpFlags(map, elementFlags, allowed);
  if (bad !== 0) return bad;
  if (call.u64(MAP_BATCH_ATTR.flags) !== 0n) return -EINVAL;
  const count = call.u32(MAP_BATCH_ATTR.count);
  if (count === 0) return 0;
  if (!call.put(MAP_BATCH_ATTR.count, 0)) return -EFAULT;
  const { memory } = call.kernel;
  const start = call.userPointer(MAP_BATCH_ATTR.in_batch);
  let bucket = 0;
  if (!isNull(start)) {
    const bytes = memory.copyFrom(start, 4);
    if (bytes === undefined) return -EFAULT;
    bucket = new DataView(bytes.buffer).getUint32(0, true);
  }
  if (bucket >= map.bucketCount) return -ENOENT;
  const size = map.userValueSize(elementFlags);
  const keys = call.userPointer(MAP_BATCH_ATTR.keys);
  const values = call.userPointer(MAP_BATCH_ATTR.values);
  let total = 0;
  const walk = (value: number): number => {
    for (;;) {
      const next = map.nextBucket(bucket);
      // Empty buckets are passed over; the last bucket of the table ends the walk even where it is empty.
      if (next >= map.bucketCount) {
        bucket = map.bucketCount;
        return -ENOENT;
      }
      bucket = next;
      const chain = [...map.bucket(bucket)];
      if (chain.length > count - total) return total === 0 ? -ENOSPC : 0;
      for (const [i, element] of chain.entries()) {
        map.copyElement(element, value, elementFlags);
        const isCopied = memory.copyOut(advance(keys, (total + i) * map.keySize), map.keyOf(element), map.keySize)
          && memory.copyOut(advance(values, (total + i) * size), value, size);
        if (deletes) map.drop(element);
        if (!isCopied) return -EFAULT;
      }
      total += chain.length;
      bucket++;
      if (bucket >= map.bucketCount) return -ENOENT;
    }
  };
  const error = withBuffer(call, size, walk);
  if (error === -EFAULT || error === -ENOMEM) return error;
  const word = new Uint8Array(4);
  new DataView(word.buffer).setUint32(0, bucket, true);
  const isCopied = memory.copyTo(call.userPointer(MAP_BATCH_ATTR.out_batch), word) && call.put(MAP_BATCH_ATTR.count, total);
  return isCopied ? error : -EFAULT;
}

/** Elements from a key on; the key to go on with comes back. A cursor that was deleted meanwhile is `-EAGAIN`. */
function cursorBatch(call: Call, map: HashBase, deletes: boolean): number {
  const flags = call.flags(MAP_BATCH_ATTR.elem_flags);
  const bad = checkOpFlags(map, flags, U.BPF_F_LOCK);
  if (bad !== 0) return bad;
  if (call.u64(MAP_BATCH_ATTR.flags) !== 0n) return -EINVAL;
  const count = call.u32(MAP_BATCH_ATTR.count);
  if (count === 0) return 0;
  if (!call.put(MAP_BATCH_ATTR.count, 0)) return -EFAULT;
  const { memory } = call.kernel;
  const start = call.userPointer(MAP_BATCH_ATTR.in_batch);
  return withBuffer(call, map.keySize + map.valueSize, (buffer) => {
    const chosen: number[] = [];
    let next = isNull(start) ? firstElement(map) : 0;
    if (!isNull(start)) {
      if (!memory.copyInto(buffer, start, map.keySize)) return -EFAULT;
      next = map.find(buffer);
      if (next === 0) return -EAGAIN;
    }
    while (next !== 0 && chosen.length < count) {
      chosen.push(next);
      next = map.nextKey(map.keyOf(next), buffer) === 0 ? map.find(buffer) : 0;
    }
    if (chosen.length === 0) return -ENOENT;
    const cursor = next === 0 ? undefined : memory.space.getBytes(map.keyOf(next), map.keySize);
    const keys = call.userPointer(MAP_BATCH_ATTR.keys);
    const values = call.userPointer(MAP_BATCH_ATTR.values);
    let isCopied = true;
    for (const [i, element] of chosen.entries()) {
      map.copyElement(element, buffer + map.keySize, flags);
      isCopied &&= memory.copyOut(advance(keys, i * map.keySize), map.keyOf(element), map.keySize)
        && memory.copyOut(advance(values, i * map.valueSize), buffer + map.keySize, map.valueSize);
    }
    if (deletes) for (const element of chosen) map.drop(element);
    if (!isCopied || !call.put(MAP_BATCH_ATTR.count, chosen.length)) return -EFAULT;
    if (cursor !== undefined && !memory.copyTo(call.userPointer(MAP_BATCH_ATTR.out_batch), cursor)) return -EFAULT;
    return cursor === undefined ? -ENOENT : 0;
  });
}

function firstElement(map: HashBase): number {
  return map.bucket(map.nextBucket(0))[0] ?? 0;
}
