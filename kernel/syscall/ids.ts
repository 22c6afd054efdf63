/**
 * @module kernel/syscall/ids
 * Walking objects by id, descriptors from ids, and the small commands on programs: bind a map, statistics, streams, task
 * queries. Reproduces `bpf_obj_get_next_id`, `bpf_*_get_fd_by_id`, `bpf_prog_bind_map`, `bpf_enable_stats`, `prog_stream_read`,
 * `bpf_task_fd_query` (kernel/bpf/syscall.c).
 */
import {
  ENABLE_STATS_ATTR, type Field, GET_ID_ATTR, PROG_ASSOC_STRUCT_OPS_ATTR, PROG_BIND_MAP_ATTR, PROG_STREAM_READ_ATTR, TASK_FD_QUERY_ATTR,
  TOKEN_CREATE_ATTR,
} from '../../isa/attr.ts';
import { EBADF, EFAULT, EINVAL, ENOENT, ENOSPC, ENOTSUPP, EPERM } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { CAP_SYS_ADMIN } from '../api.ts';
import { BPFLink } from '../link.ts';
import { advance } from '../memory.ts';
import type { Call } from './call.ts';
import { specOf } from './elements.ts';
import { fileMode, tokenByFD } from './map-create.ts';

const INT_MAX = 0x7fffffff;
/** The one process of the instance. */
const OWN_PID = 1;

interface IDTable {
  nextFrom(id: number): number;
}

export function nextID(call: Call, table: IDTable): number {
  const start = call.u32(GET_ID_ATTR.start_id);
  if (!call.hasCleanTail(specOf(U.BPF_PROG_GET_NEXT_ID)) || start >= INT_MAX) return -EINVAL;
  if (!call.kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  const id = table.nextFrom(start + 1);
  if (id === 0) return -ENOENT;
  return call.put(GET_ID_ATTR.next_id, id) ? 0 : -EFAULT;
}

export function mapFDByID(call: Call): number {
  const { kernel } = call;
  const flags = call.u32(GET_ID_ATTR.open_flags);
  if (!call.hasCleanTail(specOf(U.BPF_MAP_GET_FD_BY_ID)) || (flags & ~(U.BPF_F_RDONLY | U.BPF_F_WRONLY)) !== 0) return -EINVAL;
  if (!kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  const mode = fileMode(flags);
  if (mode < 0) return mode;
  const map = kernel.maps.find(call.u32(GET_ID_ATTR.map_id));
  if (map === undefined) return -ENOENT;
  map.references++;
  map.userReferences++;
  const fd = kernel.newMapFD(map, mode);
  if (fd < 0) kernel.putMapWithUserReference(map);
  return fd;
}

export function programFDByID(call: Call): number {
  const { kernel } = call;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_GET_FD_BY_ID))) return -EINVAL;
  if (!kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  const program = kernel.programs.find(call.u32(GET_ID_ATTR.prog_id));
  if (program === undefined) return -ENOENT;
  program.get();
  const fd = kernel.newProgramFD(program);
  if (fd < 0) program.put();
  return fd;
}

export function btfFDByID(call: Call): number {
  const { kernel } = call;
  if (!call.hasCleanTail(specOf(U.BPF_BTF_GET_FD_BY_ID))) return -EINVAL;
  const flags = call.u32(GET_ID_ATTR.open_flags);
  if ((flags & ~U.BPF_F_TOKEN_FD) !== 0) return -EINVAL;
  if ((flags & U.BPF_F_TOKEN_FD) !== 0) {
    const token = tokenByFD(kernel, call.fd(GET_ID_ATTR.fd_by_id_token_fd));
    if (token < 0) return token;
  }
  if (!kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  // The kernel's own BTF has an id only once something made the instance load it.
  kernel.publishKernelBTF();
  const object = kernel.btfs.find(call.u32(GET_ID_ATTR.btf_id));
  if (object === undefined) return -ENOENT;
  return kernel.newBTFFD(object.get());
}

export function linkFDByID(call: Call): number {
  const { kernel } = call;
  if (!call.hasCleanTail(specOf(U.BPF_LINK_GET_FD_BY_ID))) return -EINVAL;
  if (!kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  const link = kernel.links.find(call.u32(GET_ID_ATTR.link_id));
  if (link === undefined) return -ENOENT;
  link.get();
  const fd = kernel.files.install(link, 3, () => link.put());
  if (fd < 0) link.put();
  return fd;
}

export function bindMap(call: Call): number {
  const { kernel } = call;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_BIND_MAP)) || call.u32(PROG_BIND_MAP_ATTR.flags) !== 0) return -EINVAL;
  const program = kernel.programByFD(call.fd(PROG_BIND_MAP_ATTR.prog_fd));
  if (typeof program === 'number') return program;
  const map = kernel.mapByFD(call.fd(PROG_BIND_MAP_ATTR.map_fd));
  if (typeof map === 'number') return map;
  if (program.usedMaps.includes(map)) return 0;
  if (program.sleepable) map.sleepableReferences++;
  map.references++;
  program.usedMaps.push(map);
  return 0;
}

export function enableStats(call: Call): number {
  const { kernel } = call;
  if (!call.hasCleanTail(specOf(U.BPF_ENABLE_STATS))) return -EINVAL;
  if (!kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  if (call.u32(ENABLE_STATS_ATTR.type) !== U.BPF_STATS_RUN_TIME) return -EINVAL;
  const fd = kernel.files.install({ kind: 'stats', id: 0 }, 1, () => {
    kernel.statsUsers--;
  });
  if (fd >= 0) kernel.statsUsers++;
  return fd;
}

export function readStream(call: Call): number {
  const { kernel } = call;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_STREAM_READ_BY_FD))) return -EINVAL;
  const program = kernel.programByFD(call.fd(PROG_STREAM_READ_ATTR.prog_fd));
  if (typeof program === 'number') return program;
  const id = call.u32(PROG_STREAM_READ_ATTR.stream_id);
  if (id !== U.BPF_STREAM_STDOUT && id !== U.BPF_STREAM_STDERR) return -ENOENT;
  const stream = program.streams[id === U.BPF_STREAM_STDOUT ? 0 : 1];
  const length = call.u32(PROG_STREAM_READ_ATTR.stream_buf_len);
  let done = 0;
  while (done < length && stream.length > 0) {
    const piece = stream[0] ?? new Uint8Array(0);
    const part = piece.subarray(0, length - done);
    if (!kernel.memory.copyTo(advance(call.userPointer(PROG_STREAM_READ_ATTR.stream_buf), done), part)) return done > 0 ? done : -EFAULT;
    done += part.length;
    if (part.length === piece.length) stream.shift();
    else stream[0] = piece.subarray(part.length);
  }
  return done;
}

export function assocStructOps(call: Call): number {
  const { kernel } = call;
  const A = PROG_ASSOC_STRUCT_OPS_ATTR;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_ASSOC_STRUCT_OPS)) || call.u32(A.flags) !== 0) return -EINVAL;
  const program = kernel.programByFD(call.fd(A.prog_fd));
  if (typeof program === 'number') return program;
  if (program.type === U.BPF_PROG_TYPE_STRUCT_OPS) return -EINVAL;
  const map = kernel.mapByFD(call.fd(A.map_fd));
  if (typeof map === 'number') return map;
  if (map.type !== U.BPF_MAP_TYPE_STRUCT_OPS) return -EINVAL;
  return program.associate(map);
}

export function createToken(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_TOKEN_CREATE)) || call.u32(TOKEN_CREATE_ATTR.flags) !== 0) return -EINVAL;
  return call.kernel.hasFD(call.fd(TOKEN_CREATE_ATTR.bpffs_fd)) ? -EINVAL : -EBADF;
}

export function queryTaskFD(call: Call): number {
  const { kernel } = call;
  const A = TASK_FD_QUERY_ATTR;
  if (!call.hasCleanTail(specOf(U.BPF_TASK_FD_QUERY))) return -EINVAL;
  if (!kernel.hasCapability(CAP_SYS_ADMIN)) return -EPERM;
  if (call.u32(A.flags) !== 0) return -EINVAL;
  if (call.u32(A.pid) !== OWN_PID) return -ENOENT;
  const file = kernel.files.get(call.fd(A.fd));
  if (file === undefined) return -EBADF;
  if (!(file.target instanceof BPFLink) || file.target.type !== U.BPF_LINK_TYPE_RAW_TRACEPOINT) return -ENOTSUPP;
  return copyTracepoint(call, file.target);
}

/** `bpf_task_fd_query_copy` for a raw tracepoint. */
function copyTracepoint(call: Call, link: BPFLink): number {
  const A = TASK_FD_QUERY_ATTR;
  const { memory } = call.kernel;
  const room = call.u32(A.buf_len);
  if (!call.put(A.buf_len, link.tracepoint.length)) return -EFAULT;
  const buffer = call.userPointer(A.buf);
  let result = 0;
  if (room > 0 && (buffer.lo !== 0 || buffer.hi !== 0)) {
    const text = new Uint8Array(Math.min(room, link.tracepoint.length + 1));
    for (let i = 0; i < text.length - 1; i++) text[i] = link.tracepoint.charCodeAt(i);
    if (!memory.copyTo(buffer, text)) return -EFAULT;
    if (room < link.tracepoint.length + 1) result = -ENOSPC;
  }
  const fields: readonly (readonly [Field, number])[] = [[A.prog_id, link.program?.id ?? 0], [A.fd_type, U.BPF_FD_TYPE_RAW_TRACEPOINT]];
  for (const [field, value] of fields) if (!call.put(field, value)) return -EFAULT;
  return call.put64(A.probe_offset, 0n) && call.put64(A.probe_addr, 0n) ? result : -EFAULT;
}

