/**
 * @module kernel/syscall/map-create
 * `BPF_MAP_CREATE`: rules on the attributes in the kernel's order, type of the map, BTF of key and value, exclusive maps, LSM,
 * id and descriptor. Reproduces `map_create` and `map_create_alloc` of kernel/bpf/syscall.c.
 */
import { checkMapBTF } from '../../btf/record.ts';
import { type Field, MAP_CREATE_ATTR as A } from '../../isa/attr.ts';
import { EACCES, EBADF, EFAULT, EINVAL, EOPNOTSUPP, EPERM } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import type { VerifierLog } from '../../verifier/log.ts';
import { CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN } from '../api.ts';
import { FMODE_READ, FMODE_WRITE } from '../files.ts';
import type { BPFMap, MapAttributes } from '../maps/map.ts';
import { mapKind } from '../maps/registry.ts';
import { isNull } from '../memory.ts';
import type { BTFObject } from '../objects.ts';
import type { KernelState } from '../state.ts';
import { EXCLUSIVE_FLAG } from '../types-6-18.ts';
import type { Call } from './call.ts';
import { specOf } from './elements.ts';
import { commonLog, finishLog } from './log.ts';

const LOOPBACK = 1;

/** 1 for bytes of names. isalnum() of the kernel's table also takes the letters of latin-1. */
const NAME_BYTES: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => (
  Number(/[A-Za-z0-9_.]/.test(String.fromCharCode(byte)) || (byte >= 0xc0 && byte !== 0xd7 && byte !== 0xf7))));

/** `bpf_obj_name_cpy`: letters, digits, `_`, `.`, ended by a NUL inside the field; `undefined` otherwise. */
export function objectName(call: Call, { offset, size }: Field): string | undefined {
  let name = '';
  for (let at = offset; at < offset + size; at++) {
    const byte = call.bytes[at]!;
    if (byte === 0) return name;
    if (NAME_BYTES[byte] === 0) return undefined;
    name += String.fromCharCode(byte);
  }
  return undefined;
}

/** Access mode of a descriptor with these flags, or `-EINVAL` (`bpf_get_file_flag`). */
export function fileMode(flags: number): number {
  const isReadOnly = (flags & U.BPF_F_RDONLY) !== 0;
  const isWriteOnly = (flags & U.BPF_F_WRONLY) !== 0;
  if (isReadOnly && isWriteOnly) return -EINVAL;
  if (isReadOnly) return FMODE_READ;
  return isWriteOnly ? FMODE_WRITE : FMODE_READ | FMODE_WRITE;
}

export function createMap(call: Call): number {
  const common = commonLog(call);
  if (typeof common === 'number') return common;
  const map = allocateMap(call, common?.log);
  let error = typeof map === 'number' ? map : 0;
  if (common !== undefined) {
    const logError = finishLog(call, common.target, common.log);
    if (logError !== 0) error = logError;
  }
  const { kernel } = call;
  const discard = (result: number): number => {
    if (typeof map !== 'number') kernel.freeMap(map);
    return result;
  };
  if (error !== 0 || typeof map === 'number') return discard(error);
  const mode = fileMode(call.u32(A.map_flags));
  if (mode < 0) return discard(mode);
  const verdict = kernel.hookMapCreate(map, call.bytes, call.isFromProgram);
  if (verdict !== 0) return discard(verdict);
  const id = kernel.maps.allocate(map);
  if (id < 0) return discard(id);
  map.setID(id);
  const fd = kernel.newMapFD(map, mode);
  if (fd < 0) kernel.putMapWithUserReference(map);
  return fd;
}

/** `map_create_alloc`: the map, not yet published, or `-errno`. */
function allocateMap(call: Call, log: VerifierLog | undefined): BPFMap | number {
  const { kernel } = call;
  const refuse = (message: string): number => {
    log?.write(`${message}\n`);
    return -EINVAL;
  };
  if (!call.hasCleanTail(specOf(U.BPF_MAP_CREATE))) return refuse('Invalid attr.');
  const type = call.u32(A.map_type);
  const hasToken = (call.u32(A.map_flags) & U.BPF_F_TOKEN_FD) !== 0;
  const flags = (call.u32(A.map_flags) & ~U.BPF_F_TOKEN_FD) >>> 0;
  const keyType = call.u32(A.btf_key_type_id);
  const valueType = call.u32(A.btf_value_type_id);
  const vmlinuxType = call.u32(A.btf_vmlinux_value_type_id);
  if (vmlinuxType !== 0) {
    if (type !== U.BPF_MAP_TYPE_STRUCT_OPS) return refuse('btf_vmlinux_value_type_id can only be used with struct_ops maps.');
    if (keyType !== 0 || valueType !== 0) {
      return refuse('btf_vmlinux_value_type_id is mutually exclusive with btf_key_type_id and btf_value_type_id.');
    }
  } else if (keyType !== 0 && valueType === 0) return refuse('Invalid btf_value_type_id.');
  const takesExtra = type === U.BPF_MAP_TYPE_BLOOM_FILTER || type === U.BPF_MAP_TYPE_ARENA || type === U.BPF_MAP_TYPE_RHASH;
  const mapExtra = call.u64(A.map_extra);
  if (!takesExtra && mapExtra !== 0n) return refuse('Invalid map_extra.');
  const numaNode = (flags & U.BPF_F_NUMA_NODE) !== 0 ? call.attr.getInt32(A.numa_node.offset, true) : -1;
  // The instance is a machine with one NUMA node.
  if (numaNode !== -1 && numaNode !== 0) return refuse('Invalid numa_node.');
  if (type >= U.__MAX_BPF_MAP_TYPE) return refuse('Invalid map_type.');
  const kind = mapKind(type);
  if (kind === undefined) return -EINVAL;
  const name = objectName(call, A.map_name);
  const attr: MapAttributes = {
    type, keySize: call.u32(A.key_size), valueSize: call.u32(A.value_size), maxEntries: call.u32(A.max_entries), flags,
    innerMapFD: call.fd(A.inner_map_fd), numaNode, mapExtra, name: name ?? '', btfFD: call.fd(A.btf_fd), btfKeyTypeID: keyType,
    btfValueTypeID: valueType, btfVmlinuxValueTypeID: vmlinuxType, valueTypeBTFObjFD: call.fd(A.value_type_btf_obj_fd),
  };
  const bad = kind.check?.(attr, kernel) ?? 0;
  if (bad !== 0) return bad;
  if (hasToken) {
    const token = tokenByFD(kernel, call.fd(A.map_token_fd));
    if (token < 0) {
      log?.write('Invalid map_token_fd.\n');
      return token;
    }
  }
  if (kernel.unprivilegedBPFDisabled !== 0 && !kernel.capable(CAP_BPF)) return -EPERM;
  if (kind.capability !== undefined && !kernel.capable(kind.capability)) return -EPERM;
  const ifindex = call.u32(A.map_ifindex);
  if (ifindex !== 0) return offloadError(kernel, type, ifindex);
  const map = kernel.memory.build(() => kind.create(kernel, attr));
  if (typeof map === 'number') return map;
  map.bypassesSpecV1 = kernel.capable(CAP_PERFMON);
  kernel.registerMap(map);
  let error: number;
  try {
    error = describeMap(call, map, attr, name, log);
  } catch (reason) {
    kernel.freeMap(map);
    throw reason;
  }
  if (error === 0) return map;
  kernel.freeMap(map);
  return error;
}

/** What a map has beside its elements: a name, types, the program that it is exclusive to. */
function describeMap(call: Call, map: BPFMap, attr: MapAttributes, name: string | undefined, log: VerifierLog | undefined): number {
  const { kernel } = call;
  if (name === undefined) {
    log?.write('Invalid map_name.\n');
    return -EINVAL;
  }
  if (attr.btfKeyTypeID !== 0 || attr.btfValueTypeID !== 0 || attr.btfVmlinuxValueTypeID !== 0) {
    const btf = kernel.btfByFD(attr.btfFD);
    if (typeof btf === 'number') {
      log?.write('Invalid btf_fd.\n');
      return btf;
    }
    const error = attachBTF(kernel, map, btf, attr);
    if (error !== 0) return error;
  }
  return makeExclusive(call, map, log);
}

/** `bpf_map_offload_map_alloc`: the instance's only device is loopback, which offloads nothing. */
function offloadError(kernel: KernelState, type: number, ifindex: number): number {
  if (!kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  if (type !== U.BPF_MAP_TYPE_ARRAY && type !== U.BPF_MAP_TYPE_HASH) return -EINVAL;
  return ifindex === LOOPBACK ? -EOPNOTSUPP : -EINVAL;
}

/** `bpf_token_get_from_fd`: the instance mounts no bpffs, so no descriptor is a token. */
export function tokenByFD(kernel: KernelState, fd: number): number {
  return kernel.hasFD(fd) ? -EINVAL : -EBADF;
}

function attachBTF(kernel: KernelState, map: BPFMap, object: BTFObject, attr: MapAttributes): number {
  if (object.isKernel) return -EACCES;
  const { btf } = object;
  object.get();
  map.onFree = chain(map.onFree, () => object.put());
  map.btf = btf;
  if (attr.btfValueTypeID !== 0) {
    const verdict = checkMapBTF({
      btf, keyTypeID: attr.btfKeyTypeID, valueTypeID: attr.btfValueTypeID, mapType: map.type, mapFlags: map.flags, keySize: map.keySize,
      valueSize: map.valueSize, isCapable: kernel.capable(CAP_BPF), hasOwnCheck: map.hasBTFCheck,
    }, () => kernel.kernelBTF());
    if (verdict.errno !== 0) return -verdict.errno;
    if (typeof verdict.record === 'number') map.recordError = verdict.record;
    else map.record = verdict.record;
    if (map.hasBTFCheck) {
      const error = map.checkBTF(btf, verdict.keyTypeID, verdict.valueTypeID);
      if (error < 0) {
        map.record = undefined;
        return error;
      }
    }
  }
  map.setBTF(btf, object.id, attr.btfKeyTypeID, attr.btfValueTypeID, attr.btfVmlinuxValueTypeID);
  return 0;
}

function chain(first: (() => void) | undefined, second: () => void): () => void {
  return () => {
    first?.();
    second();
  };
}

function makeExclusive(call: Call, map: BPFMap, log: VerifierLog | undefined): number {
  const pointer = call.callerPointer(A.excl_prog_hash);
  const size = call.u32(A.excl_prog_hash_size);
  if (isNull(pointer) ? size !== 0 : size !== 32) {
    log?.write('Invalid excl_prog_hash_size.\n');
    return -EINVAL;
  }
  if (isNull(pointer)) return 0;
  const digest = call.kernel.memory.copyFrom(pointer, 32);
  if (digest === undefined) return -EFAULT;
  map.setExclusive(digest);
  if (call.kernel.profile === '6.18') call.kernel.memory.view.setUint32(map.address + EXCLUSIVE_FLAG, 1, true);
  return 0;
}

