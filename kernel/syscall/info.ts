/**
 * @module kernel/syscall/info
 * `BPF_OBJ_GET_INFO_BY_FD`: what user space may know of maps, programs, BTF and links. Reproduces `bpf_obj_get_info_by_fd` and
 * the functions it calls (kernel/bpf/syscall.c, btf.c).
 */
import { sha256 } from '../../crypto/digest.ts';
import { type Field, OBJ_INFO_ATTR } from '../../isa/attr.ts';
import { E2BIG, EBADFD, EFAULT, EINVAL, ENOSPC, EPERM } from '../../isa/errno.ts';
import { BTF_INFO, BTF_INFO_SIZE, LINK_INFO, LINK_INFO_SIZE, MAP_INFO, MAP_INFO_SIZE, PROG_INFO, PROG_INFO_SIZE } from '../../isa/info.ts';
import { BPF_PROBE_MEM, BPF_PROBE_MEM32 } from '../../isa/instructions.ts';
import {
  BPF_LINK_TYPE_ITER, BPF_LINK_TYPE_RAW_TRACEPOINT, BPF_LINK_TYPE_STRUCT_OPS, BPF_OBJ_GET_INFO_BY_FD, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE,
} from '../../isa/uapi.ts';
import { KERNEL_HI } from '../../vm/address-space.ts';
import { CAP_BPF } from '../api.ts';
import type { BPFLink, MultiTarget } from '../link.ts';
import { type BPFMap, MAP_LAYOUT } from '../maps/map.ts';
import { advance, type BPFPtr, isNull, pointerAt } from '../memory.ts';
import type { BTFObject } from '../objects.ts';
import type { BPFProgram } from '../program.ts';
import type { KernelState } from '../state.ts';
import type { Call } from './call.ts';
import { specOf } from './elements.ts';

const PAGE = 4096;
/** Ends of the last fields of the structures; what lies behind must be zero. */
const PROG_INFO_END = PROG_INFO.attach_btf_id.offset + 4;
const MAP_INFO_END = MAP_INFO_SIZE;

export function objectInfo(call: Call): number {
  if (!call.hasCleanTail(specOf(BPF_OBJ_GET_INFO_BY_FD))) return -EINVAL;
  const file = call.kernel.files.get(call.fd(OBJ_INFO_ATTR.bpf_fd));
  if (file === undefined) return -EBADFD;
  switch (file.target.kind) {
    case 'prog': return programInfo(call, file.target);
    case 'map': return mapInfo(call, file.target);
    case 'btf': return btfInfo(call, file.target);
    case 'link': return linkInfo(call, file.target);
    default: return -EINVAL;
  }
}

/** The kernel's copy of the caller's structure. */
interface Info {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly pointer: BPFPtr;
  readonly length: number;
}

/** `bpf_check_uarg_tail_zero`: 0, `-E2BIG`, `-EFAULT`. */
export function checkTail(kernel: KernelState, pointer: BPFPtr, expected: number, actual: number): number {
  if (actual > PAGE) return -E2BIG;
  if (actual <= expected) return 0;
  const bytes = kernel.memory.copyFrom(advance(pointer, expected), actual - expected);
  if (bytes === undefined) return -EFAULT;
  return bytes.every((byte) => byte === 0) ? 0 : -E2BIG;
}

function openInfo(call: Call, end: number, size: number): Info | number {
  const pointer = call.userPointer(OBJ_INFO_ATTR.info);
  const asked = call.u32(OBJ_INFO_ATTR.info_len);
  const bad = checkTail(call.kernel, pointer, end, asked);
  if (bad !== 0) return bad;
  const length = Math.min(asked, size);
  const given = call.kernel.memory.copyFrom(pointer, length);
  if (given === undefined) return -EFAULT;
  const bytes = new Uint8Array(size);
  bytes.set(given);
  return { bytes, view: new DataView(bytes.buffer), pointer, length };
}

function closeInfo(call: Call, info: Info, result = 0): number {
  const isCopied = call.kernel.memory.copyTo(info.pointer, info.bytes.subarray(0, info.length)) && call.put(OBJ_INFO_ATTR.info_len, info.length);
  return isCopied ? result : -EFAULT;
}

function setU32(info: Info, field: Field, value: number): void {
  info.view.setUint32(field.offset, value, true);
}

function setU64(info: Info, field: Field, value: bigint): void {
  info.view.setBigUint64(field.offset, value, true);
}

function setName(info: Info, field: Field, name: string): void {
  info.bytes.fill(0, field.offset, field.offset + field.size);
  for (let i = 0; i < name.length; i++) info.bytes[field.offset + i] = name.charCodeAt(i);
}

function mapInfo(call: Call, map: BPFMap): number {
  const info = openInfo(call, MAP_INFO_END, MAP_INFO_SIZE);
  if (typeof info === 'number') return info;
  setU32(info, MAP_INFO.type, map.type);
  setU32(info, MAP_INFO.id, map.id);
  setU32(info, MAP_INFO.key_size, map.keySize);
  setU32(info, MAP_INFO.value_size, map.valueSize);
  setU32(info, MAP_INFO.max_entries, map.maxEntries);
  setU32(info, MAP_INFO.map_flags, map.flags);
  setU64(info, MAP_INFO.map_extra, map.mapExtra);
  setName(info, MAP_INFO.name, map.name);
  if (map.btfID !== 0) {
    setU32(info, MAP_INFO.btf_id, map.btfID);
    setU32(info, MAP_INFO.btf_key_type_id, map.btfKeyTypeID);
    setU32(info, MAP_INFO.btf_value_type_id, map.btfValueTypeID);
  }
  setU32(info, MAP_INFO.btf_vmlinux_value_type_id, map.btfVmlinuxValueTypeID);
  const hash = pointerAt(info.view, MAP_INFO.hash.offset, false);
  const hashSize = info.view.getUint32(MAP_INFO.hash_size.offset, true);
  if (isNull(hash)) return hashSize !== 0 ? -EINVAL : closeInfo(call, info);
  const contents = map.hashedContents();
  if (contents === undefined || hashSize !== 32) return -EINVAL;
  if (!map.frozen) return -EPERM;
  const digest = sha256(contents);
  // Programs of older loaders read the hash out of struct bpf_map.
  call.kernel.memory.space.setBytes(map.address + MAP_LAYOUT.sha, digest);
  return call.kernel.memory.copyTo(hash, digest) ? closeInfo(call, info) : -EFAULT;
}

function btfInfo(call: Call, object: BTFObject): number {
  const info = openInfo(call, BTF_INFO_SIZE, BTF_INFO_SIZE);
  if (typeof info === 'number') return info;
  const { memory } = call.kernel;
  const data = object.btf.bytes;
  setU32(info, BTF_INFO.id, object.id);
  const asked = info.view.getUint32(BTF_INFO.btf_size.offset, true);
  const target = pointerAt(info.view, BTF_INFO.btf.offset, false);
  if (!memory.copyTo(target, data.subarray(0, Math.min(data.length, asked)))) return -EFAULT;
  setU32(info, BTF_INFO.btf_size, data.length);
  setU32(info, BTF_INFO.kernel_btf, object.isKernel ? 1 : 0);
  const namePointer = pointerAt(info.view, BTF_INFO.name.offset, false);
  const room = info.view.getUint32(BTF_INFO.name_len.offset, true);
  if (isNull(namePointer) !== (room === 0)) return -EINVAL;
  const name = object.isKernel ? object.btf.name : '';
  setU32(info, BTF_INFO.name_len, name.length);
  let result = 0;
  if (room > 0) {
    const text = new Uint8Array(Math.min(room, name.length + 1));
    for (let i = 0; i < text.length - 1; i++) text[i] = name.charCodeAt(i);
    if (!memory.copyTo(namePointer, text)) return -EFAULT;
    if (room < name.length + 1) result = -ENOSPC;
  }
  return closeInfo(call, info, result);
}

function linkInfo(call: Call, link: BPFLink): number {
  const info = openInfo(call, LINK_INFO_SIZE, LINK_INFO_SIZE);
  if (typeof info === 'number') return info;
  setU32(info, LINK_INFO.type, link.type);
  setU32(info, LINK_INFO.id, link.id);
  setU32(info, LINK_INFO.prog_id, link.program?.id ?? 0);
  const detail = LINK_INFO.prog_id.offset + 8;
  if (link.type === BPF_LINK_TYPE_RAW_TRACEPOINT) return rawTracepointInfo(call, info, detail, link);
  if (link.type === BPF_LINK_TYPE_STRUCT_OPS) {
    info.view.setUint32(detail, link.map?.id ?? 0, true);
    return closeInfo(call, info);
  }
  if (link.multi !== undefined) return multiInfo(call, info, detail, link.multi);
  if (link.type === BPF_LINK_TYPE_ITER) return nameInfo(call, info, detail, link);
  info.view.setUint32(detail, link.attachType, true);
  info.view.setUint32(detail + 4, link.targetObjectID, true);
  info.view.setUint32(detail + 8, link.targetTypeID, true);
  info.view.setBigUint64(detail + 16, link.cookie, true);
  return closeInfo(call, info);
}

/** `struct { __aligned_u64 tp_name; __u32 tp_name_len; __u64 cookie }` */
function rawTracepointInfo(call: Call, info: Info, at: number, link: BPFLink): number {
  info.view.setBigUint64(at + 16, link.cookie, true);
  return nameInfo(call, info, at, link);
}

/** `struct { __aligned_u64 addrs; __u32 count; __u32 flags; __u64 missed; __aligned_u64 cookies }` */
function multiInfo(call: Call, info: Info, at: number, { flags, targets }: MultiTarget): number {
  const [addresses, cookies] = [pointerAt(info.view, at, false), pointerAt(info.view, at + 24, false)];
  const room = info.view.getUint32(at + 8, true);
  if (isNull(addresses) !== (room === 0) || (!isNull(cookies) && room === 0)) return -EINVAL;
  info.view.setUint32(at + 8, targets.length, true);
  info.view.setUint32(at + 12, flags, true);
  info.view.setBigUint64(at + 16, 0n, true);
  if (room === 0) return closeInfo(call, info);
  const shown = targets.slice(0, room);
  for (const [pointer, values] of [[cookies, shown.map(({ cookie }) => cookie)], [addresses, shown.map(({ address }) => address)]] as const) {
    if (!isNull(pointer) && !call.kernel.memory.copyTo(pointer, new Uint8Array(BigUint64Array.from(values).buffer))) return -EFAULT;
  }
  return room < targets.length ? -ENOSPC : closeInfo(call, info);
}

/** Address and room of a buffer for a name, whose length is told. */
function nameInfo(call: Call, info: Info, at: number, link: BPFLink): number {
  const buffer = pointerAt(info.view, at, false);
  const room = info.view.getUint32(at + 8, true);
  if (isNull(buffer) !== (room === 0)) return -EINVAL;
  info.view.setUint32(at + 8, link.tracepoint.length + 1, true);
  if (room === 0) return closeInfo(call, info);
  const text = new Uint8Array(Math.min(room, link.tracepoint.length + 1));
  for (let i = 0; i < text.length - 1; i++) text[i] = link.tracepoint.charCodeAt(i);
  if (!call.kernel.memory.copyTo(buffer, text)) return -EFAULT;
  return room < link.tracepoint.length + 1 ? -ENOSPC : closeInfo(call, info);
}

/** Addresses that a program's code would have: one page each, by id. Nothing lies there. */
function codeAddress(program: BPFProgram, subprogram: number): bigint {
  return 0xffffffffc0000000n + BigInt(program.id % 0xffff) * 0x4000n + BigInt(subprogram % 4) * 0x1000n;
}

function programInfo(call: Call, program: BPFProgram): number {
  const info = openInfo(call, PROG_INFO_END, PROG_INFO_SIZE);
  if (typeof info === 'number') return info;
  const { kernel } = call;
  const { memory } = kernel;
  const pointer = (field: Field): BPFPtr => pointerAt(info.view, field.offset, false);
  const asked = (field: Field): number => info.view.getUint32(field.offset, true);
  const verified = program.verified;
  setU32(info, PROG_INFO.type, program.type);
  setU32(info, PROG_INFO.id, program.id);
  setU64(info, PROG_INFO.load_time, BigInt(program.loadTime));
  setU32(info, PROG_INFO.created_by_uid, program.userID);
  info.view.setUint32(84, program.gplCompatible ? 1 : 0, true);
  info.bytes.set((verified?.tag ?? new Uint8Array(8)).subarray(0, 8), PROG_INFO.tag.offset);
  setName(info, PROG_INFO.name, program.name);
  const mapRoom = Math.min(asked(PROG_INFO.nr_map_ids), program.usedMaps.length);
  setU32(info, PROG_INFO.nr_map_ids, program.usedMaps.length);
  for (let i = 0; i < mapRoom; i++) {
    if (!memory.putU32(advance(pointer(PROG_INFO.map_ids), i * 4), program.usedMaps[i]?.id ?? 0)) return -EFAULT;
  }
  const bad = checkRecordSizes(info);
  if (bad !== 0) return bad;
  setU64(info, PROG_INFO.run_time_ns, BigInt(program.runTime));
  setU64(info, PROG_INFO.run_cnt, BigInt(program.runCount));
  setU64(info, PROG_INFO.recursion_misses, BigInt(program.recursionMisses));
  setU32(info, PROG_INFO.verified_insns, verified?.verifiedInstructions ?? 0);
  setU32(info, PROG_INFO.btf_id, program.btfObject?.id ?? 0);
  if (!kernel.capable(CAP_BPF)) {
    for (const field of [
      PROG_INFO.jited_prog_len, PROG_INFO.xlated_prog_len, PROG_INFO.nr_jited_ksyms, PROG_INFO.nr_jited_func_lens, PROG_INFO.nr_func_info,
      PROG_INFO.nr_line_info, PROG_INFO.nr_jited_line_info,
    ]) setU32(info, field, 0);
    return closeInfo(call, info);
  }
  const error = fillCode(kernel, program, info, pointer, asked);
  return error !== 0 ? error : closeInfo(call, info);
}

/** `set_info_rec_size`: record sizes are the kernel's, or all zero. */
function checkRecordSizes(info: Info): number {
  const rules: readonly (readonly [count: Field, size: Field, bytes: number])[] = [
    [PROG_INFO.nr_func_info, PROG_INFO.func_info_rec_size, 8], [PROG_INFO.nr_line_info, PROG_INFO.line_info_rec_size, 16],
    [PROG_INFO.nr_jited_line_info, PROG_INFO.jited_line_info_rec_size, 8],
  ];
  for (const [count, size, bytes] of rules) {
    const given = info.view.getUint32(size.offset, true);
    if ((info.view.getUint32(count.offset, true) !== 0 || given !== 0) && given !== bytes) return -EINVAL;
  }
  for (const [, size, bytes] of rules) setU32(info, size, bytes);
  return 0;
}

/** Everything about code and debug information, in the kernel's order of copies. */
function fillCode(kernel: KernelState, program: BPFProgram, info: Info, pointer: (field: Field) => BPFPtr, asked: (field: Field) => number): number {
  const { memory } = kernel;
  const xlated = xlatedDump(program);
  const copyBlock = (count: Field, target: Field, bytes: Uint8Array, unit: number): boolean => {
    const room = asked(count);
    setU32(info, count, bytes.length / unit);
    const copied = Math.min(room, bytes.length / unit) * unit;
    return copied === 0 || memory.copyTo(pointer(target), bytes.subarray(0, copied));
  };
  if (!copyBlock(PROG_INFO.xlated_prog_len, PROG_INFO.xlated_prog_insns, xlated, 1)) return -EFAULT;
  const rewritten = program.verified?.xlated;
  const functions = rewritten?.functionCount ?? 1;
  const functionRecords = rewritten === undefined ? program.funcInfo : movedRecords(program.funcInfo, 8, rewritten.functions);
  const lineRecords = rewritten === undefined ? program.lineInfo : movedRecords(program.lineInfo, 16, rewritten.lines);
  // The instance compiles to no machine code: it shows none, as a kernel does that runs programs in its interpreter.
  setU32(info, PROG_INFO.jited_prog_len, 0);
  const addresses = new Uint8Array(functions * 8);
  const lengths = new Uint8Array(functions * 4);
  for (let i = 0; i < functions; i++) new DataView(addresses.buffer).setBigUint64(i * 8, codeAddress(program, i), true);
  if (!copyBlock(PROG_INFO.nr_jited_ksyms, PROG_INFO.jited_ksyms, addresses, 8)) return -EFAULT;
  if (!copyBlock(PROG_INFO.nr_jited_func_lens, PROG_INFO.jited_func_lens, lengths, 4)) return -EFAULT;
  setU32(info, PROG_INFO.attach_btf_id, program.attachBTFID);
  setU32(info, PROG_INFO.attach_btf_obj_id, program.attachBTF?.id ?? program.attachProgram?.btfObject?.id ?? 0);
  if (!copyBlock(PROG_INFO.nr_func_info, PROG_INFO.func_info, functionRecords, 8)) return -EFAULT;
  if (!copyBlock(PROG_INFO.nr_line_info, PROG_INFO.line_info, lineRecords, 16)) return -EFAULT;
  setU32(info, PROG_INFO.nr_jited_line_info, 0);
  const tags = new Uint8Array(functions * 8);
  tags.set((program.verified?.tag ?? new Uint8Array(8)).subarray(0, 8));
  return copyBlock(PROG_INFO.nr_prog_tags, PROG_INFO.prog_tags, tags, 8) ? 0 : -EFAULT;
}

const LD_IMM64 = 0x18;
const CALL = 0x85;
const TAIL_CALL = 0xf5;
const HELPER_TAIL_CALL = 12;
const CLASS_MASK = 7;
const MODE_MASK = 0xe0;
const LDX = 1;
const LAST_MEMORY_CLASS = 3;
const MODE_MEM = 0x60;

/** Modes of accesses that may fault are shown as plain ones; those of signed loads and of atomics as they are. */
function shownCode(code: number): number {
  const cls = code & CLASS_MASK, mode = code & MODE_MASK;
  const isGuarded = (cls === LDX && mode === BPF_PROBE_MEM) || (cls >= LDX && cls <= LAST_MEMORY_CLASS && mode === BPF_PROBE_MEM32);
  return isGuarded ? (code & ~MODE_MASK) | MODE_MEM : code;
}

/**
 * `bpf_insn_prepare_dump` as a kernel does it that hides addresses (`kptr_restrict`): maps and values become ids and offsets, targets
 * of calls are 0, calls of subprograms keep their distance in `off`.
 */
export function xlatedDump(program: BPFProgram): Uint8Array {
  const xlated = program.verified?.xlated;
  const code = (xlated?.instructions ?? program.instructions).slice();
  const view = new DataView(code.buffer);
  for (let at = 0; at + 8 <= code.length; at += 8) {
    const opcode = view.getUint8(at);
    const source = view.getUint8(at + 1) >> 4;
    if (opcode === CALL) {
      const distance = view.getInt32(at + 4, true);
      if (source === BPF_PSEUDO_CALL) view.setInt16(at + 2, distance === (distance << 16) >> 16 ? distance : 0, true);
      view.setInt32(at + 4, 0, true);
    } else if (opcode === TAIL_CALL) {
      view.setUint8(at, CALL);
      view.setInt32(at + 4, HELPER_TAIL_CALL, true);
    } else if (opcode === LD_IMM64 && at + 16 <= code.length) {
      if (source === BPF_PSEUDO_FUNC) {
        const target = at / 8 + view.getInt32(at + 4, true) + 1;
        view.setInt32(at + 12, xlated?.subprograms.indexOf(target) ?? 0, true);
      } else dumpAddress(program, view, at);
      at += 8;
    } else view.setUint8(at, shownCode(opcode));
  }
  return code;
}

/** Records of 4-byte words whose first is an instruction: those that are left, with the instruction's place in the rewritten program. */
function movedRecords(records: Uint8Array, size: number, left: readonly { readonly record: number; readonly instruction: number }[]): Uint8Array {
  const out = new Uint8Array(left.length * size);
  const view = new DataView(out.buffer);
  for (const [i, { record, instruction }] of left.entries()) {
    out.set(records.subarray(record * size, (record + 1) * size), i * size);
    view.setUint32(i * size, instruction, true);
  }
  return out;
}

/** Turns the address of a used map or of its value back into the map's id. */
function dumpAddress(program: BPFProgram, view: DataView, at: number): void {
  if (view.getInt32(at + 12, true) !== KERNEL_HI) return;
  const address = view.getUint32(at + 4, true);
  for (const map of program.usedMaps) {
    const base = map.directValueAddress(0);
    const isValue = base > 0 && address >= base && address < base + map.valueSize;
    if (address !== map.address && !isValue) continue;
    view.setUint8(at + 1, (view.getUint8(at + 1) & 0xf) | ((isValue ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD) << 4));
    view.setUint32(at + 4, map.id, true);
    view.setUint32(at + 12, isValue ? address - base : 0, true);
    return;
  }
}
