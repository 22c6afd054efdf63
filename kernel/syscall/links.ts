/**
 * @module kernel/syscall/links
 * Attaching: raw tracepoints and links. LSM programs are asked at the hooks of the `bpf()` system call; besides those the instance has
 * no code to instrument, nothing to iterate over and no devices or cgroups: what needs one is refused as for a missing target. Reproduces `bpf_raw_tracepoint_open`, `link_create`, `bpf_tracing_prog_attach`
 * (kernel/bpf/syscall.c).
 */
import {
  ITER_CREATE_ATTR, LINK_CREATE_ATTR, LINK_DETACH_ATTR, LINK_UPDATE_ATTR, OBJ_ATTR, PROG_ATTACH_ATTR, PROG_QUERY_ATTR, RAW_TRACEPOINT_ATTR,
} from '../../isa/attr.ts';
import { E2BIG, EBADF, EFAULT, EINVAL, ENODEV, ENOENT, ENOLINK, ENOMEM, EOPNOTSUPP, EPERM } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import * as F from '../flags.ts';
import { CAP_NET_ADMIN } from '../api.ts';
import { BPFLink, type MultiTarget } from '../link.ts';
import type { BPFMap } from '../maps/map.ts';
import { StructOpsMap } from '../maps/struct-ops.ts';
import type { BPFProgram } from '../program.ts';
import type { KernelState } from '../state.ts';
import { attachTypeToProgramType, checkAttachType } from './attach-types.ts';
import type { Call } from './call.ts';
import { specOf } from './elements.ts';
import { kprobeMultiTarget } from './kprobe-multi.ts';

const TRACEPOINT_NAME = 128;
const NOTHING = (): void => {};

function newLink(
  kernel: KernelState, type: number, attachType: number, program: BPFProgram,
  detail: { tracepoint?: string; targetObjectID?: number; targetTypeID?: number; cookie?: bigint; multi?: MultiTarget },
): number {
  const detach = program.type === U.BPF_PROG_TYPE_LSM ? kernel.lsm.attach(program) : NOTHING;
  if (detach === undefined) return -ENOMEM;
  program.get();
  const link = new BPFLink(type, attachType, program, detail, (freed) => {
    detach();
    kernel.links.remove(freed.id);
    freed.program?.put();
  });
  return publish(kernel, link, () => {
    detach();
    program.put();
  });
}

/** Gives a link its id and a descriptor. */
function publish(kernel: KernelState, link: BPFLink, undo: () => void): number {
  const id = kernel.links.allocate(link);
  if (id < 0) {
    undo();
    return id;
  }
  link.id = id;
  const fd = kernel.files.install(link, 3, () => link.put());
  if (fd < 0) link.put();
  return fd;
}

export function openRawTracepoint(call: Call): number {
  const { kernel } = call;
  const A = RAW_TRACEPOINT_ATTR;
  if (!call.hasCleanTail(specOf(U.BPF_RAW_TRACEPOINT_OPEN))) return -EINVAL;
  const program = kernel.programByFD(call.fd(A.prog_fd));
  if (typeof program === 'number') return program;
  return attachRawTracepoint(call, program, call.u64(A.name) === 0n ? undefined : readName(call), call.u64(A.cookie), program.expectedAttachType);
}

function readName(call: Call): string | number {
  // The name is a user pointer even where a program issues the call.
  const bytes = call.kernel.memory.readString(call.userPointer(RAW_TRACEPOINT_ATTR.name), TRACEPOINT_NAME - 1);
  return bytes === undefined ? -EFAULT : String.fromCharCode(...bytes);
}

/** `bpf_raw_tp_link_attach` */
function attachRawTracepoint(call: Call, program: BPFProgram, name: string | number | undefined, cookie: bigint, attachType: number): number {
  const { kernel } = call;
  switch (program.type) {
    case U.BPF_PROG_TYPE_TRACING:
    case U.BPF_PROG_TYPE_EXT:
    case U.BPF_PROG_TYPE_LSM: {
      if (name !== undefined) return -EINVAL;
      if (program.type !== U.BPF_PROG_TYPE_TRACING || program.expectedAttachType !== U.BPF_TRACE_RAW_TP) {
        return attachTracing(kernel, program, 0, 0, 0n, program.expectedAttachType);
      }
      const btf = program.attachBTF?.btf;
      const typedef = btf?.typeName(program.attachBTFID) ?? '';
      const tracepoint = typedef.startsWith('btf_trace_') ? typedef.slice('btf_trace_'.length) : '';
      return newLink(kernel, U.BPF_LINK_TYPE_RAW_TRACEPOINT, attachType, program, { tracepoint, cookie });
    }
    case U.BPF_PROG_TYPE_RAW_TRACEPOINT:
    case U.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: {
      if (name === undefined) return -EFAULT;
      if (typeof name === 'number') return name;
      if (!hasTracepoint(kernel, name)) return -ENOENT;
      return newLink(kernel, U.BPF_LINK_TYPE_RAW_TRACEPOINT, attachType, program, { tracepoint: name, cookie });
    }
    default:
      return -EINVAL;
  }
}

/** The kernel's BTF has a typedef for every tracepoint. */
function hasTracepoint(kernel: KernelState, name: string): boolean {
  return (kernel.kernelBTF()?.findByNameKind(`btf_trace_${name}`, U.BTF_KIND_TYPEDEF) ?? 0) > 0;
}

/** `bpf_tracing_prog_attach` */
function attachTracing(kernel: KernelState, program: BPFProgram, targetFD: number, targetTypeID: number, cookie: bigint, attachType: number): number {
  const isTraced = program.type === U.BPF_PROG_TYPE_TRACING;
  if (isTraced) {
    const allowed = [U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FSESSION, U.BPF_MODIFY_RETURN];
    if (!allowed.includes(program.expectedAttachType)) return -EINVAL;
  } else if (program.type === U.BPF_PROG_TYPE_EXT) {
    if (program.expectedAttachType !== 0) return -EINVAL;
  } else if (program.type === U.BPF_PROG_TYPE_LSM) {
    if (program.expectedAttachType !== U.BPF_LSM_MAC) return -EINVAL;
  } else return -EINVAL;
  if ((targetFD !== 0) !== (targetTypeID !== 0)) return -EINVAL;
  let target = program.attachProgram;
  if (targetFD !== 0) {
    if (program.type !== U.BPF_PROG_TYPE_EXT && !isTraced) return -EINVAL;
    const found = kernel.programByFD(targetFD);
    if (typeof found === 'number') return -EINVAL;
    target = found;
  }
  return newLink(kernel, U.BPF_LINK_TYPE_TRACING, attachType, program, {
    targetObjectID: target?.id ?? program.attachBTF?.id ?? 0, targetTypeID: targetTypeID === 0 ? program.attachBTFID : targetTypeID, cookie,
  });
}

export function createLink(call: Call): number {
  const { kernel } = call;
  const A = LINK_CREATE_ATTR;
  if (!call.hasCleanTail(specOf(U.BPF_LINK_CREATE))) return -EINVAL;
  const attachType = call.u32(A.attach_type);
  if (attachType === U.BPF_STRUCT_OPS) return createStructOpsLink(call);
  const program = kernel.programByFD(call.fd(A.prog_fd));
  if (typeof program === 'number') return program;
  const bad = checkAttachType(kernel, program, attachType);
  if (bad !== 0) return bad;
  const cookie = call.u64(A['tracing.cookie']);
  switch (program.type) {
    case U.BPF_PROG_TYPE_EXT:
      return attachTracing(kernel, program, call.fd(A.target_fd), call.u32(A.target_btf_id), cookie, attachType);
    case U.BPF_PROG_TYPE_LSM:
    case U.BPF_PROG_TYPE_TRACING:
      if (attachType !== program.expectedAttachType) return -EINVAL;
      if (attachType === U.BPF_TRACE_RAW_TP) return attachRawTracepoint(call, program, undefined, cookie, attachType);
      if (attachType === U.BPF_TRACE_ITER) return createIteratorLink(call, program);
      if (attachType === U.BPF_LSM_CGROUP) return -EOPNOTSUPP;
      return attachTracing(kernel, program, call.fd(A.target_fd), call.u32(A.target_btf_id), cookie, attachType);
    case U.BPF_PROG_TYPE_CGROUP_SKB:
    case U.BPF_PROG_TYPE_CGROUP_SOCK:
    case U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
    case U.BPF_PROG_TYPE_SOCK_OPS:
    case U.BPF_PROG_TYPE_CGROUP_DEVICE:
    case U.BPF_PROG_TYPE_CGROUP_SYSCTL:
    case U.BPF_PROG_TYPE_CGROUP_SOCKOPT:
      if (call.u32(A.flags) !== 0) return -EINVAL;
      return -EBADF;
    case U.BPF_PROG_TYPE_XDP:
    case U.BPF_PROG_TYPE_SCHED_CLS:
      return -ENODEV;
    case U.BPF_PROG_TYPE_PERF_EVENT:
    case U.BPF_PROG_TYPE_TRACEPOINT:
      return call.u32(A.flags) !== 0 ? -EINVAL : -EBADF;
    case U.BPF_PROG_TYPE_FLOW_DISSECTOR:
    case U.BPF_PROG_TYPE_SK_LOOKUP:
      if (call.u32(A.flags) !== 0) return -EINVAL;
      return kernel.hasFD(call.fd(A.target_fd)) ? -EINVAL : -EBADF;
    case U.BPF_PROG_TYPE_SK_MSG:
    case U.BPF_PROG_TYPE_SK_SKB:
      return call.u32(A.flags) !== 0 ? -EINVAL : socketMapError(kernel, call.fd(A.target_fd));
    case U.BPF_PROG_TYPE_KPROBE:
      if (attachType === U.BPF_PERF_EVENT) return call.u32(A.flags) !== 0 ? -EINVAL : -EBADF;
      return attachType === U.BPF_TRACE_KPROBE_MULTI || attachType === U.BPF_TRACE_KPROBE_SESSION ? createKprobeMultiLink(call, program, attachType) : -EOPNOTSUPP;
    case U.BPF_PROG_TYPE_NETFILTER:
      // The instance has no such attach point: the command is refused by name, not performed in part.
      return -EOPNOTSUPP;
    default:
      return -EINVAL;
  }
}

function createStructOpsLink(call: Call): number {
  const map = call.kernel.mapByFD(call.fd(LINK_CREATE_ATTR.map_fd));
  if (typeof map === 'number') return map;
  if (!(map instanceof StructOpsMap) || !map.isReady) return -EINVAL;
  const { kernel } = call;
  const link = new BPFLink(U.BPF_LINK_TYPE_STRUCT_OPS, U.BPF_STRUCT_OPS, undefined, { map }, (freed) => {
    releaseStructOps(kernel, freed);
    kernel.links.remove(freed.id);
  });
  const registered = map.register();
  if (registered !== 0) return registered;
  map.references++;
  return publish(kernel, link, () => releaseStructOps(kernel, link));
}

/** Takes a link's structure from its subsystem; nothing where it was detached. */
function releaseStructOps(kernel: KernelState, link: BPFLink): void {
  const { map } = link;
  link.map = undefined;
  map?.unregister();
  if (map !== undefined) kernel.putMap(map);
}

/** `link_update_map` */
function updateStructOps(call: Call, link: BPFLink): number {
  const { kernel } = call;
  const A = LINK_UPDATE_ATTR;
  const map = kernel.mapByFD(call.fd(A.new_prog_fd));
  if (typeof map === 'number') return map;
  let expected: BPFMap | undefined;
  if ((call.u32(A.flags) & F.BPF_F_REPLACE) !== 0) {
    const old = kernel.mapByFD(call.fd(A.old_prog_fd));
    if (typeof old === 'number') return old;
    expected = old;
  } else if (call.u32(A.old_prog_fd) !== 0) return -EINVAL;
  if (!(map instanceof StructOpsMap) || !map.isReady) return -EINVAL;
  if (!map.canUpdate) return -EOPNOTSUPP;
  const current = link.map;
  if (current === undefined) return -ENOLINK;
  if (expected !== undefined && expected !== current) return -EPERM;
  const replaced = map.replace(current);
  if (replaced !== 0) return replaced;
  map.references++;
  link.map = map;
  kernel.putMap(current);
  return 0;
}

function createKprobeMultiLink(call: Call, program: BPFProgram, attachType: number): number {
  const multi = kprobeMultiTarget(call, program);
  return typeof multi === 'number' ? multi : newLink(call.kernel, U.BPF_LINK_TYPE_KPROBE_MULTI, attachType, program, { multi });
}

/** Iterators that must be told what to go through. */
const NEEDING_MAP: ReadonlySet<string> = new Set(['bpf_map_elem', 'bpf_sk_storage_map', 'sockmap']);
/** `union bpf_iter_link_info` */
const ITER_INFO_SIZE = 16;
const LONGEST_ITER_INFO = 4096;

/** `bpf_iter_link_attach`: the link exists and is listed; there is nothing to read from it (`createIterator`). */
function createIteratorLink(call: Call, program: BPFProgram): number {
  const { kernel } = call;
  const A = LINK_CREATE_ATTR;
  if (call.u32(A.target_fd) !== 0 || call.u32(A.flags) !== 0) return -EINVAL;
  const length = call.u32(A.iter_info_len);
  if ((call.u64(A.iter_info) === 0n) !== (length === 0)) return -EINVAL;
  if (length > LONGEST_ITER_INFO) return -E2BIG;
  const told = length === 0 ? new Uint8Array(0) : kernel.memory.copyFrom(call.callerPointer(A.iter_info), length);
  if (told === undefined) return -EFAULT;
  if (told.subarray(ITER_INFO_SIZE).some((byte) => byte !== 0)) return -E2BIG;
  const target = (program.attachBTF?.btf.typeName(program.attachBTFID) ?? '').replace(/^bpf_iter_/, '');
  const isTold = told.some((byte) => byte !== 0);
  if (NEEDING_MAP.has(target) && !isTold) return -EBADF;
  if (target === 'cgroup' && !isTold) return -EINVAL;
  // Tasks, cgroups and maps to start from: the instance has no iterator that would.
  if (isTold) return -EOPNOTSUPP;
  return newLink(kernel, U.BPF_LINK_TYPE_ITER, U.BPF_TRACE_ITER, program, { tracepoint: target });
}

function linkByFD(kernel: KernelState, fd: number): BPFLink | number {
  const file = kernel.files.get(fd);
  if (file === undefined) return -EBADF;
  return file.target.kind === 'link' ? file.target : -EINVAL;
}

export function updateLink(call: Call): number {
  const { kernel } = call;
  const A = LINK_UPDATE_ATTR;
  if (!call.hasCleanTail(specOf(U.BPF_LINK_UPDATE))) return -EINVAL;
  const flags = call.u32(A.flags);
  if ((flags & ~F.BPF_F_REPLACE) !== 0) return -EINVAL;
  const link = linkByFD(kernel, call.fd(A.link_fd));
  if (typeof link === 'number') return link;
  if (link.type === U.BPF_LINK_TYPE_STRUCT_OPS) return updateStructOps(call, link);
  const program = kernel.programByFD(call.fd(A.new_prog_fd));
  if (typeof program === 'number') return program;
  let expected: BPFProgram | undefined;
  if ((flags & F.BPF_F_REPLACE) !== 0) {
    const old = kernel.programByFD(call.fd(A.old_prog_fd));
    if (typeof old === 'number') return old;
    expected = old;
  } else if (call.u32(A.old_prog_fd) !== 0) return -EINVAL;
  // Neither raw tracepoints nor tracing links can change their program.
  return link.type === U.BPF_LINK_TYPE_ITER ? replaceIterator(link, program, expected) : -EINVAL;
}

/** `bpf_iter_link_replace` */
function replaceIterator(link: BPFLink, program: BPFProgram, expected: BPFProgram | undefined): number {
  const { program: current } = link;
  if (expected !== undefined && expected !== current) return -EPERM;
  const isAlike = current?.type === program.type && current.expectedAttachType === program.expectedAttachType && current.attachBTFID === program.attachBTFID
    && current.attachBTF === program.attachBTF;
  if (!isAlike) return -EINVAL;
  program.get();
  link.program = program;
  current.put();
  return 0;
}

export function detachLink(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_LINK_DETACH))) return -EINVAL;
  const link = linkByFD(call.kernel, call.fd(LINK_DETACH_ATTR.link_fd));
  if (typeof link === 'number') return link;
  if (link.type !== U.BPF_LINK_TYPE_STRUCT_OPS) return -EOPNOTSUPP;
  releaseStructOps(call.kernel, link);
  return 0;
}

export function createIterator(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_ITER_CREATE)) || call.u32(ITER_CREATE_ATTR.flags) !== 0) return -EINVAL;
  const link = linkByFD(call.kernel, call.fd(ITER_CREATE_ATTR.link_fd));
  if (typeof link === 'number') return link;
  return link.type === U.BPF_LINK_TYPE_ITER ? -EOPNOTSUPP : -EINVAL;
}

const ATTACH_BASE = F.BPF_F_ALLOW_OVERRIDE | F.BPF_F_ALLOW_MULTI | F.BPF_F_REPLACE | F.BPF_F_PREORDER;
const ATTACH_MPROG = F.BPF_F_REPLACE | F.BPF_F_BEFORE | F.BPF_F_AFTER | F.BPF_F_ID | U.BPF_F_LINK;

function isCgroupType(type: number): boolean {
  return [
    U.BPF_PROG_TYPE_CGROUP_DEVICE, U.BPF_PROG_TYPE_CGROUP_SKB, U.BPF_PROG_TYPE_CGROUP_SOCK, U.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
    U.BPF_PROG_TYPE_CGROUP_SOCKOPT, U.BPF_PROG_TYPE_CGROUP_SYSCTL, U.BPF_PROG_TYPE_SOCK_OPS, U.BPF_PROG_TYPE_LSM,
  ].includes(type);
}

export function attachProgram(call: Call): number {
  const { kernel } = call;
  const A = PROG_ATTACH_ATTR;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_ATTACH))) return -EINVAL;
  const type = attachTypeToProgramType(call.u32(A.attach_type));
  if (type === 0) return -EINVAL;
  const flags = call.u32(A.attach_flags);
  if (type === U.BPF_PROG_TYPE_SCHED_CLS) {
    if ((flags & ~ATTACH_MPROG) !== 0) return -EINVAL;
  } else if (isCgroupType(type)) {
    if ((flags & ~(ATTACH_BASE | ATTACH_MPROG)) !== 0) return -EINVAL;
  } else if ((flags & ~ATTACH_BASE) !== 0 || call.u32(A.relative_fd) !== 0 || call.u64(A.expected_revision) !== 0n) return -EINVAL;
  const program = kernel.programByFD(call.fd(A.attach_bpf_fd));
  if (typeof program === 'number') return program;
  if (program.type !== type || checkAttachType(kernel, program, call.u32(A.attach_type)) !== 0) return -EINVAL;
  if (isCgroupType(type)) return -EBADF;
  if (isSocketMapType(type)) {
    if (flags !== 0 || call.u32(A.replace_bpf_fd) !== 0) return -EINVAL;
    return socketMapError(kernel, call.fd(A.target_fd));
  }
  return type === U.BPF_PROG_TYPE_SCHED_CLS ? -ENODEV : -EINVAL;
}

export function detachProgram(call: Call): number {
  const { kernel } = call;
  const A = PROG_ATTACH_ATTR;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_DETACH))) return -EINVAL;
  const type = attachTypeToProgramType(call.u32(A.attach_type));
  const flags = call.u32(A.attach_flags);
  if (type === U.BPF_PROG_TYPE_SCHED_CLS) {
    if ((flags & ~ATTACH_MPROG) !== 0) return -EINVAL;
    if (call.u32(A.attach_bpf_fd) !== 0) {
      const program = kernel.programByFD(call.fd(A.attach_bpf_fd));
      if (typeof program === 'number') return program;
      if (program.type !== type) return -EINVAL;
    }
    return -ENODEV;
  }
  if (isCgroupType(type)) return flags !== 0 || call.u32(A.relative_fd) !== 0 ? -EINVAL : -EBADF;
  if (flags !== 0 || call.u32(A.relative_fd) !== 0 || call.u64(A.expected_revision) !== 0n) return -EINVAL;
  return isSocketMapType(type) ? socketMapError(kernel, call.fd(A.target_fd)) : -EINVAL;
}

/** Types that attach to a sockmap. */
function isSocketMapType(type: number): boolean {
  return type === U.BPF_PROG_TYPE_SK_SKB || type === U.BPF_PROG_TYPE_SK_MSG;
}

/**
 * What attaching to (or asking) a descriptor as a sockmap ends in: no socket can be in one, so a program on it would never run, and
 * the instance refuses it by name.
 */
function socketMapError(kernel: KernelState, fd: number): number {
  const map = kernel.mapByFD(fd);
  if (typeof map === 'number') return map;
  return map.type === U.BPF_MAP_TYPE_SOCKMAP || map.type === U.BPF_MAP_TYPE_SOCKHASH ? -EOPNOTSUPP : -EINVAL;
}

export function queryPrograms(call: Call): number {
  const { kernel } = call;
  if (!kernel.capable(CAP_NET_ADMIN)) return -EPERM;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_QUERY))) return -EINVAL;
  if ((call.u32(PROG_QUERY_ATTR.query_flags) & ~F.BPF_F_QUERY_EFFECTIVE) !== 0) return -EINVAL;
  const attachType = call.u32(PROG_QUERY_ATTR.attach_type);
  const type = attachTypeToProgramType(attachType);
  if (isCgroupType(type) && attachType !== U.BPF_LSM_MAC) return -EBADF;
  if (type === U.BPF_PROG_TYPE_SCHED_CLS) return -ENODEV;
  const fd = call.fd(PROG_QUERY_ATTR.target_fd);
  if (isSocketMapType(type)) return socketMapError(kernel, fd);
  const isNamespaced = attachType === U.BPF_LIRC_MODE2 || attachType === U.BPF_FLOW_DISSECTOR || attachType === U.BPF_SK_LOOKUP;
  if (isNamespaced) return kernel.hasFD(fd) ? -EINVAL : -EBADF;
  return -EINVAL;
}

/** `BPF_OBJ_PIN` and `BPF_OBJ_GET`: the instance mounts no bpffs. */
export function pinObject(call: Call): number {
  const A = OBJ_ATTR;
  const flags = call.u32(A.file_flags);
  if (!call.hasCleanTail(specOf(U.BPF_OBJ_PIN)) || (flags & ~U.BPF_F_PATH_FD) !== 0) return -EINVAL;
  if ((flags & U.BPF_F_PATH_FD) === 0 && call.u32(A.path_fd) !== 0) return -EINVAL;
  const file = call.kernel.files.get(call.fd(A.bpf_fd));
  if (file === undefined) return -EBADF;
  if (file.target.kind !== 'map' && file.target.kind !== 'prog' && file.target.kind !== 'link') return -EINVAL;
  return pathError(call, EPERM);
}

export function getObject(call: Call): number {
  const A = OBJ_ATTR;
  const flags = call.u32(A.file_flags);
  const allowed = U.BPF_F_RDONLY | U.BPF_F_WRONLY | U.BPF_F_PATH_FD;
  if (!call.hasCleanTail(specOf(U.BPF_OBJ_GET)) || call.u32(A.bpf_fd) !== 0 || (flags & ~allowed) !== 0) return -EINVAL;
  if ((flags & U.BPF_F_PATH_FD) === 0 && call.u32(A.path_fd) !== 0) return -EINVAL;
  const both = U.BPF_F_RDONLY | U.BPF_F_WRONLY;
  if ((flags & both) === both) return -EINVAL;
  return pathError(call, ENOENT);
}

/** A path is read, and leads to no file system that takes BPF objects. */
function pathError(call: Call, error: number): number {
  const path = call.kernel.memory.readString(call.userPointer(OBJ_ATTR.pathname), 4095);
  if (path === undefined) return -EFAULT;
  return path.length === 0 ? -ENOENT : -error;
}

