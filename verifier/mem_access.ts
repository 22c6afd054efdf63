/**
 * @module verifier/mem_access
 * Loads and stores through every kind of pointer: bounds, alignment, what may be read or written, what a load gives. Reproduces
 * `check_mem_access` and what it calls (kernel/bpf/verifier.c). The stack is stack.ts, kernel structs are btf_access.ts, the rules
 * of contexts are progtypes/.
 */
import {
  BPF_KPTR, BPF_KPTR_PERCPU, BPF_KPTR_REF, BPF_UPTR, type Field, fieldTypeName,
} from '../btf/record.ts';
import { EACCES, EINVAL, EPERM } from '../isa/errno.ts';
import {
  BPF_LDX, BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MEM, BPF_PROG_TYPE_CGROUP_SKB, BPF_PROG_TYPE_CGROUP_SOCKOPT,
  BPF_PROG_TYPE_FLOW_DISSECTOR, BPF_PROG_TYPE_LWT_IN, BPF_PROG_TYPE_LWT_OUT, BPF_PROG_TYPE_LWT_SEG6LOCAL, BPF_PROG_TYPE_LWT_XMIT,
  BPF_PROG_TYPE_SCHED_ACT, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SK_MSG, BPF_PROG_TYPE_SK_REUSEPORT, BPF_PROG_TYPE_SK_SKB,
  BPF_PROG_TYPE_SYSCALL, BPF_PROG_TYPE_XDP, BPF_ST, BPF_STX,
} from '../isa/uapi.ts';
import { markChainPrecision } from './backtrack.ts';
import { checkPtrToBTFAccess, checkPtrToMapAccess, markBTFLoad, mapKptrMatches, kptrLoadType } from './btf_access.ts';
import { BOUND, cnum64SMin } from './cnum.ts';
import { DIAG_DEREF_INVALID_PTR, DIAG_DEREF_NULLABLE_PTR, DIAG_DEREF_SCALAR } from './diagnostics_port.ts';
import type { VerifierEnv } from './env.ts';
import { hasDirectValues, mapRecord, recordFind } from './map_record.ts';
import { convertsCtxAccess, funcRetvalRange, isValidAccess, sockIsValidAccess } from './ops.ts';
import type { AccessInfo, HelperProto } from './ops_types.ts';
import { checkPtrOff } from './ptr_off.ts';
import { findReference } from './refs.ts';
import {
  argName, clearScalarID, curReg, isNull, isPointerValue, isVarConst, markKnown, markKnownZero, markUnknown, regOfArg, smin, umax, varText, varValue,
} from './regs.ts';
import {
  baseType, BPF_MAX_VAR_OFF, BPF_READ, BPF_WRITE, CONST_PTR_TO_MAP, MEM_RDONLY, PTR_MAYBE_NULL, PTR_TO_ARENA, PTR_TO_BTF_ID, PTR_TO_BUF,
  PTR_TO_CTX, PTR_TO_FLOW_KEYS, PTR_TO_INSN, PTR_TO_MAP_KEY, PTR_TO_MAP_VALUE, PTR_TO_MEM, PTR_TO_PACKET, PTR_TO_PACKET_END,
  PTR_TO_PACKET_META, PTR_TO_SOCKET, PTR_TO_SOCK_COMMON, PTR_TO_STACK, PTR_TO_TCP_SOCK, PTR_TO_TP_BUFFER, PTR_TO_XDP_SOCK, PTR_UNTRUSTED,
  regTypeName, SCALAR_VALUE, typeIsSkPointer, typeMayBeNull,
} from './regtypes.ts';
import { scalarAdd } from './scalar_alu.ts';
import { scalarClampSigned32, scalarSignExtend, scalarSync, scalarTruncate } from './scalar.ts';
import { verboseLine } from './source_line.ts';
import { checkStackBounds, checkStackRead, checkStackWrite, sminText, sumText } from './stack.ts';
import {
  copyReg, REG_A, REG_B, REG_ID, REG_R64, REG_SCALAR, REG_TYPE, REG_VAR_HI, REG_VAR_LO,
} from './state.ts';
import { tnumAdd, tnumConst, tnumIsAligned } from './tnum.ts';
import type { MapDescriptor } from './types.ts';

export { checkPtrOff };

const BPF_F_RDONLY_PROG = 1 << 7;
const BPF_F_WRONLY_PROG = 1 << 8;
/** `sizeof(struct bpf_flow_keys)`. */
const FLOW_KEYS_SIZE = 56;
const U16_MAX = 0xffff;
/** What asks: an instruction or a helper. */
export const ACCESS_DIRECT = 1;
export const ACCESS_HELPER = 2;

const SIZES: readonly number[] = [4, 2, 1, 8];

/** Bytes of a size code (`BPF_W` …). */
export function sizeBytes(code: number): number {
  return SIZES[(code >> 3) & 3]!;
}

/** Map that a register refers to. */
export function regMap(env: VerifierEnv, reg: number): MapDescriptor {
  return env.mapTable[env.w[reg + REG_A]!]!;
}

function refuse(env: VerifierEnv, message: string, error: number = -EACCES): number {
  env.log.write(`${message}\n`);
  return error;
}

/** The low word of smin(reg) + off, as the kernel's `int` sees it. */
function lowOfSmin(w: Int32Array, reg: number, off: number): number {
  cnum64SMin(w, reg + REG_R64);
  return (BOUND[0]! + off) | 0;
}

function checkRange(env: VerifierEnv, reg: number, argno: number, off: number, size: number, memSize: number, zeroSizeAllowed: boolean): number {
  const sizeOK = size > 0 || (size === 0 && zeroSizeAllowed);
  if (off >= 0 && sizeOK && off + size <= memSize) return 0;
  switch (env.w[reg + REG_TYPE]) {
    case PTR_TO_MAP_KEY:
      return refuse(env, `invalid access to map key, key_size=${memSize} off=${off} size=${size}`);
    case PTR_TO_MAP_VALUE:
      return refuse(env, `invalid access to map value, value_size=${memSize} off=${off} size=${size}`);
    case PTR_TO_PACKET: case PTR_TO_PACKET_META: case PTR_TO_PACKET_END:
      return refuse(env, `invalid access to packet, off=${off} size=${size}, ${argName(argno)}(id=${env.w[reg + REG_ID]!},off=${off},r=${memSize})`);
    case PTR_TO_CTX:
      return refuse(env, `invalid access to context, ctx_size=${memSize} off=${off} size=${size}`);
    default:
      return refuse(env, `invalid access to memory, mem_size=${memSize >>> 0} off=${off} size=${size}`);
  }
}

/** Offset range plus size lies inside `memSize` bytes (`check_mem_region_access`). */
export function checkRegion(
  env: VerifierEnv, reg: number, argno: number, off: number, size: number, memSize: number, zeroSizeAllowed: boolean,
): number {
  const { w } = env;
  const low = smin(w, reg);
  if (low < 0 && low + off < 0) {
    env.log.write(`${argName(argno)} min value is negative, either use unsigned index or do a if (index >=0) check.\n`);
    const proof = env.diag === undefined ? '' : `the minimal bound for a memory access is a negative value: ${sminText(w, reg, off)}`;
    return reportBounds(env, reg, argno, off, size, memSize, proof, -EACCES);
  }
  let error = checkRange(env, reg, argno, lowOfSmin(w, reg, off), size, memSize, zeroSizeAllowed);
  if (error !== 0) {
    env.log.write(`${argName(argno)} min value is outside of the allowed memory range\n`);
    const proof = env.diag === undefined ? ''
      : `the minimal bound for a memory access is ${sminText(w, reg, off)} and is outside of the object of size ${memSize >>> 0}`;
    return reportBounds(env, reg, argno, off, size, memSize, proof, error);
  }
  const high = umax(w, reg);
  if (high >= BPF_MAX_VAR_OFF) {
    const text = env.diag === undefined ? '' : umaxText(w, reg);
    env.log.write(`${argName(argno)} unbounded memory access, make sure to bounds check any such access\n`);
    const proof = `the maximal bound for a memory access is ${text} and exceeds maximum allowed offset of ${BPF_MAX_VAR_OFF}`;
    return reportBounds(env, reg, argno, off, size, memSize, proof, -EACCES);
  }
  error = checkRange(env, reg, argno, (high + off) | 0, size, memSize, zeroSizeAllowed);
  if (error === 0) return 0;
  env.log.write(`${argName(argno)} max value is outside of the allowed memory range\n`);
  const start = high + off;
  const proof = `the maximal bound for a memory access is ${start + size}: start ${start} + access_size ${size}, beyond object_size ${memSize >>> 0}`;
  return reportBounds(env, reg, argno, off, size, memSize, proof, error);
}

function reportBounds(
  env: VerifierEnv, reg: number, argno: number, off: number, size: number, memSize: number, proof: string, error: number,
): number {
  env.diag?.memBounds(env.insnIdx, regOfArg(argno), argName(argno), regTypeName(env.w[reg + REG_TYPE]!), proof, off, size, memSize, reg);
  return error;
}

function umaxText(w: Int32Array, reg: number): string {
  const value = umax(w, reg);
  if (value <= Number.MAX_SAFE_INTEGER) return String(value);
  return ((BigInt(BOUND[1]! >>> 0) << 32n) | BigInt(BOUND[0]! >>> 0)).toString();
}

/** A map's program-side flags allow the access. */
export function checkMapAccessType(env: VerifierEnv, reg: number, off: number, size: number, access: number): number {
  const map = regMap(env, reg);
  const isForbidden = access === BPF_WRITE ? (map.flags & BPF_F_RDONLY_PROG) !== 0
    : (map.flags & BPF_F_RDONLY_PROG) === 0 && (map.flags & BPF_F_WRONLY_PROG) !== 0;
  if (!isForbidden) return 0;
  const what = access === BPF_WRITE ? 'write into' : 'read from';
  return refuse(env, `${what} map forbidden, value_size=${map.valueSize} off=${sminText(env.w, reg, off)} size=${size}`);
}

function checkFieldAccess(env: VerifierEnv, reg: number, off: number, size: number, source: number, field: Field): number {
  const { w } = env;
  const name = fieldTypeName(field.type);
  if ((field.type & (BPF_KPTR | BPF_UPTR)) === 0) return refuse(env, `${name} cannot be accessed directly by load/store`);
  if (source !== ACCESS_DIRECT) return refuse(env, `${name} cannot be accessed indirectly by helper`);
  if (!isVarConst(w, reg)) return refuse(env, `${name} access cannot have variable offset`);
  const at = off + varValue(w, reg);
  if (field.offset !== at) return refuse(env, `${name} access misaligned expected=${field.offset} off=${at}`);
  return size !== 8 ? refuse(env, `${name} access size must be BPF_DW`) : 0;
}

/** An access to a map's value; special fields have rules of their own. */
export function checkMapAccess(
  env: VerifierEnv, reg: number, argno: number, off: number, size: number, zeroSizeAllowed: boolean, source: number,
): number {
  const map = regMap(env, reg);
  const memSize = map.type === BPF_MAP_TYPE_INSN_ARRAY ? map.maxEntries * 8 : map.valueSize;
  const error = checkRegion(env, reg, argno, off, size, memSize, zeroSizeAllowed);
  if (error !== 0) return error;
  const record = mapRecord(env, map);
  if (record === undefined) return 0;
  const low = smin(env.w, reg) + off;
  const high = umax(env.w, reg) + off + size;
  for (const field of record.fields) {
    if (low >= field.offset + field.size || field.offset >= high) continue;
    const refused = checkFieldAccess(env, reg, off, size, source, field);
    if (refused !== 0) return refused;
  }
  return 0;
}

/** Whether programs of this type may touch packets directly, or pass them to helper `fn` (`may_access_direct_pkt_data`). */
export function mayAccessPacket(env: VerifierEnv, fn: HelperProto | undefined, access: number): boolean {
  switch (env.resolvedProgType) {
    case BPF_PROG_TYPE_LWT_IN: case BPF_PROG_TYPE_LWT_OUT: case BPF_PROG_TYPE_LWT_SEG6LOCAL: case BPF_PROG_TYPE_SK_REUSEPORT:
    case BPF_PROG_TYPE_FLOW_DISSECTOR: case BPF_PROG_TYPE_CGROUP_SKB:
      if (access === BPF_WRITE) return false;
      break;
    case BPF_PROG_TYPE_SCHED_CLS: case BPF_PROG_TYPE_SCHED_ACT: case BPF_PROG_TYPE_XDP: case BPF_PROG_TYPE_LWT_XMIT:
    case BPF_PROG_TYPE_SK_SKB: case BPF_PROG_TYPE_SK_MSG:
      break;
    case BPF_PROG_TYPE_CGROUP_SOCKOPT:
      if (access === BPF_WRITE) env.seenDirectWrite = true;
      return true;
    default:
      return false;
  }
  if (fn !== undefined) return fn.pktAccess;
  env.seenDirectWrite = true;
  return true;
}

export function checkPacketAccess(env: VerifierEnv, reg: number, argno: number, off: number, size: number, zeroSizeAllowed: boolean): number {
  const range = env.w[reg + REG_A]!;
  if (range < 0) return refuse(env, `${argName(argno)} offset is outside of the packet`, -EINVAL);
  const error = checkRegion(env, reg, argno, off, size, range, zeroSizeAllowed);
  if (error !== 0) return error;
  env.maxPktOffset = Math.max(env.maxPktOffset, (off + umax(env.w, reg) + size - 1) >>> 0);
  return 0;
}

/** `struct bpf_insn_access_aux` of the access being checked. */
const INFO: AccessInfo = { regType: 0, isLdsx: false, isRetval: false, ctxFieldSize: 0, btfIndex: 0, btfID: 0, refID: 0 };

function resetInfo(isLdsx: boolean): AccessInfo {
  INFO.regType = SCALAR_VALUE;
  INFO.isLdsx = isLdsx;
  INFO.isRetval = false;
  INFO.ctxFieldSize = 0;
  INFO.btfIndex = 0;
  INFO.btfID = 0;
  INFO.refID = 0;
  return INFO;
}

/** SYSCALL programs may use variable offsets into their context. */
export function isVarCtxOffAllowed(env: VerifierEnv): boolean {
  return env.resolvedProgType === BPF_PROG_TYPE_SYSCALL;
}

function checkCtxField(env: VerifierEnv, insn: number, off: number, size: number, access: number, info: AccessInfo): number {
  if (!isValidAccess(env, off, size, access, info)) return refuse(env, `invalid bpf_context access off=${off} size=${size}`);
  if (baseType(info.regType) === PTR_TO_BTF_ID) {
    if (info.refID !== 0 && findReference(env.cur, info.refID) < 0) {
      return refuse(env, `invalid bpf_context access off=${off}. Reference may already be released`);
    }
  } else {
    env.aux.ctxFieldSize[insn] = info.ctxFieldSize;
  }
  if (env.maxCtxOffset < off + size) env.maxCtxOffset = off + size;
  return 0;
}

function checkCtxAccess(env: VerifierEnv, insn: number, reg: number, argno: number, off: number, size: number, access: number, info: AccessInfo): number {
  const error = isVarCtxOffAllowed(env)
    ? checkRegion(env, reg, argno, off, size, U16_MAX, false)
    : checkPtrOff(env, reg, argno, !convertsCtxAccess(env));
  if (error !== 0) return error;
  const refused = checkCtxField(env, insn, (off + umax(env.w, reg)) | 0, size, access, info);
  if (refused !== 0) verboseLine(env, insn, '; ');
  return refused;
}

function loadFromCtx(env: VerifierEnv, info: AccessInfo, valueRegno: number): number {
  const { w } = env;
  const dst = curReg(env, valueRegno);
  if (info.regType === SCALAR_VALUE) {
    markUnknown(env, w, dst);
    const range = info.isRetval ? funcRetvalRange(env) : undefined;
    if (range !== undefined) scalarClampSigned32(w, dst + REG_SCALAR, range.min, range.max);
  } else {
    markKnownZero(w, dst);
    if (baseType(info.regType) === PTR_TO_BTF_ID) {
      w[dst + REG_A] = info.btfIndex;
      w[dst + REG_B] = info.btfID;
      w[dst + REG_ID] = info.refID;
    }
    if (typeMayBeNull(info.regType) && w[dst + REG_ID] === 0) w[dst + REG_ID] = ++env.idGen;
  }
  w[dst + REG_TYPE] = info.regType;
  return 0;
}

function checkFlowKeys(env: VerifierEnv, reg: number, argno: number, off: number, size: number): number {
  const { w } = env;
  if (!isVarConst(w, reg)) {
    return refuse(env, `${argName(argno)} invalid variable offset to flow keys: off=${off}, var_off=${varText(w, reg)}`);
  }
  const at = (off + w[reg + REG_VAR_LO]!) | 0;
  return size < 0 || at < 0 || at + size > FLOW_KEYS_SIZE ? refuse(env, `invalid access to flow keys off=${at} size=${size}`) : 0;
}

function checkSock(env: VerifierEnv, insn: number, reg: number, argno: number, off: number, size: number, access: number): number {
  const { w } = env;
  if (smin(w, reg) < 0) {
    return refuse(env, `${argName(argno)} min value is negative, either use unsigned index or do a if (index >=0) check.`);
  }
  const info = resetInfo(false);
  const type = w[reg + REG_TYPE]!;
  if (sockIsValidAccess(env, type, off, size, access, info)) {
    env.aux.ctxFieldSize[insn] = info.ctxFieldSize;
    return 0;
  }
  return refuse(env, `${argName(argno)} invalid ${regTypeName(type)} access off=${off} size=${size}`);
}

const ALIGN = new Int32Array(8);

const ALIGNMENT_NAMES: ReadonlyMap<number, string> = new Map([
  [PTR_TO_FLOW_KEYS, 'flow keys '], [PTR_TO_MAP_KEY, 'key '], [PTR_TO_MAP_VALUE, 'value '], [PTR_TO_CTX, 'context '], [PTR_TO_STACK, 'stack '],
  [PTR_TO_SOCKET, 'sock '], [PTR_TO_SOCK_COMMON, 'sock_common '], [PTR_TO_TCP_SOCK, 'tcp_sock '], [PTR_TO_XDP_SOCK, 'xdp_sock '],
]);

/** Aligned as far as asked for: always on the stack, packets counted from two bytes before (`check_ptr_alignment`). */
export function checkAlignment(env: VerifierEnv, reg: number, off: number, size: number, strictOnce: boolean): number {
  if (size === 1) return 0;
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  let strict = env.strictAlignment || strictOnce || type === PTR_TO_STACK;
  if (type === PTR_TO_ARENA) return 0;
  if (type === PTR_TO_MAP_VALUE && !strict) strict = regMap(env, reg).type === BPF_MAP_TYPE_INSN_ARRAY;
  if (!strict) return 0;
  const isPacket = type === PTR_TO_PACKET || type === PTR_TO_PACKET_META;
  const shift = isPacket ? off + 2 : off;
  tnumConst(ALIGN, 4, shift, shift >> 31);
  tnumAdd(ALIGN, 0, w, reg + REG_SCALAR, ALIGN, 4);
  if (tnumIsAligned(ALIGN, 0, size)) return 0;
  if (isPacket) return refuse(env, `misaligned packet access off 2+${varText(w, reg)}+${off} size ${size}`);
  return refuse(env, `misaligned ${ALIGNMENT_NAMES.get(type) ?? ''}access off ${varText(w, reg)}+${off} size ${size}`);
}

function bufferEnd(env: VerifierEnv, what: string, reg: number, argno: number, off: number, size: number): number {
  const { w } = env;
  if (!isVarConst(w, reg)) {
    return refuse(env, `${argName(argno)} invalid variable buffer offset: off=${off}, var_off=${varText(w, reg)}`);
  }
  const start = varValue(w, reg) + off;
  if (start < 0) {
    return refuse(env, `${argName(argno)} invalid negative ${what} buffer offset: off=${off}, var_off=${sumText(w[reg + REG_VAR_LO]!, w[reg + REG_VAR_HI]!, 0)}`);
  }
  return (start + size) >>> 0;
}

function checkTPBuffer(env: VerifierEnv, reg: number, argno: number, off: number, size: number): number {
  const end = bufferEnd(env, 'tracepoint', reg, argno, off, size);
  if (end < 0) return end;
  env.maxTPAccess = Math.max(env.maxTPAccess, end);
  return 0;
}

/** An access to a read-only or read-write buffer whose length is checked when the program is attached. */
export function checkBuffer(env: VerifierEnv, reg: number, argno: number, off: number, size: number): number {
  const isReadOnly = (env.w[reg + REG_TYPE]! & MEM_RDONLY) !== 0;
  const end = bufferEnd(env, isReadOnly ? 'rdonly' : 'rdwr', reg, argno, off, size);
  if (end < 0) return end;
  if (isReadOnly) env.maxRdonlyAccess = Math.max(env.maxRdonlyAccess, end);
  else env.maxRdwrAccess = Math.max(env.maxRdwrAccess, end);
  return 0;
}

function checkKptrAccess(env: VerifierEnv, valueRegno: number, insn: number, field: Field): number {
  const { w } = env;
  const op = env.insns.code[insn]!;
  if ((op & 0xe0) !== BPF_MEM) return refuse(env, 'kptr in map can only be accessed using BPF_MEM instruction mode');
  const cls = op & 7;
  if (cls !== BPF_LDX && (field.type === BPF_KPTR_REF || field.type === BPF_KPTR_PERCPU)) return refuse(env, 'store to referenced kptr disallowed');
  if (cls !== BPF_LDX && field.type === BPF_UPTR) return refuse(env, 'store to uptr disallowed');
  if (cls === BPF_LDX) {
    const target = field.pointer!;
    if (field.type === BPF_UPTR) {
      const dst = curReg(env, valueRegno);
      markKnownZero(w, dst);
      w[dst + REG_TYPE] = PTR_TO_MEM | PTR_MAYBE_NULL;
      w[dst + REG_A] = target.btf.size(target.typeID);
      w[dst + REG_ID] = ++env.idGen;
      return 0;
    }
    const index = env.btfIndexOf({ kind: 'btf', id: 0, btf: target.btf, isKernel: target.btf.isKernel });
    return markBTFLoad(env, curReg(env, valueRegno), PTR_TO_BTF_ID, index, target.typeID, kptrLoadType(env, field));
  }
  if (cls === BPF_STX) {
    const value = curReg(env, valueRegno);
    if (isNull(w, value)) return markChainPrecision(env, valueRegno);
    return mapKptrMatches(env, field, value, valueRegno) ? 0 : -EACCES;
  }
  if (cls === BPF_ST) {
    return env.insns.imm[insn] !== 0 ? refuse(env, `BPF_ST imm must be 0 when storing to kptr at off=${field.offset}`) : 0;
  }
  return refuse(env, 'kptr in map can only be accessed using BPF_LDX/BPF_STX/BPF_ST');
}

/** True for maps whose contents can no longer change. */
export function isMapReadOnly(map: MapDescriptor): boolean {
  return (map.flags & BPF_F_RDONLY_PROG) !== 0 && map.frozen && !map.hasActiveWriters;
}

function loadFromMap(env: VerifierEnv, reg: number, off: number, size: number, valueRegno: number, isLdsx: boolean): number {
  const { w } = env;
  const map = regMap(env, reg);
  const dst = curReg(env, valueRegno);
  if (map.type === BPF_MAP_TYPE_INSN_ARRAY) {
    if (size !== 8) return refuse(env, `Invalid read of ${size} bytes from insn_array`);
    copyReg(w, dst, w, reg);
    if (off !== 0) {
      const fake = env.pool.scratch(2);
      markKnown(w, fake, off, off >> 31);
      scalarAdd(w, dst + REG_SCALAR, w, fake + REG_SCALAR);
      scalarSync(w, dst + REG_SCALAR);
    }
    w[dst + REG_TYPE] = PTR_TO_INSN;
    return 0;
  }
  if (map.type !== BPF_MAP_TYPE_PERCPU_ARRAY && isVarConst(w, reg) && isMapReadOnly(map) && hasDirectValues(map)) {
    const at = (off + w[reg + REG_VAR_LO]!) | 0;
    const words = map.readDirectValue(at, size);
    if (words === undefined) {
      const address = map.directValueAddress(at);
      return address < 0 ? address : -EINVAL;
    }
    let lo = words[0] | 0;
    let hi = words[1] | 0;
    if (isLdsx && size < 8) {
      const shift = 32 - size * 8;
      lo = (lo << shift) >> shift;
      hi = lo >> 31;
    }
    w[dst + REG_TYPE] = SCALAR_VALUE;
    markKnown(w, dst, lo, hi);
    return 0;
  }
  markUnknown(env, w, dst);
  return 0;
}

function leaks(env: VerifierEnv, access: number, valueRegno: number): boolean {
  return access === BPF_WRITE && valueRegno >= 0 && isPointerValue(env, valueRegno);
}

function mapValueAccess(
  env: VerifierEnv, insn: number, reg: number, argno: number, off: number, size: number, access: number, valueRegno: number, isLdsx: boolean,
): number {
  if (leaks(env, access, valueRegno)) return refuse(env, `R${valueRegno} leaks addr into map`);
  let error = checkMapAccessType(env, reg, off, size, access);
  if (error === 0) error = checkMapAccess(env, reg, argno, off, size, false, ACCESS_DIRECT);
  if (error !== 0) return error;
  if (isVarConst(env.w, reg)) {
    const field = recordFind(mapRecord(env, regMap(env, reg)), off + varValue(env.w, reg), BPF_KPTR | BPF_UPTR);
    if (field !== undefined) return checkKptrAccess(env, valueRegno, insn, field);
  }
  return access === BPF_READ && valueRegno >= 0 ? loadFromMap(env, reg, off, size, valueRegno, isLdsx) : 0;
}

function memAccess(env: VerifierEnv, insn: number, reg: number, argno: number, off: number, size: number, access: number, valueRegno: number): number {
  const type = env.w[reg + REG_TYPE]!;
  const isReadOnly = (type & MEM_RDONLY) !== 0;
  const isUntrusted = isReadOnly && (type & PTR_UNTRUSTED) !== 0;
  if (typeMayBeNull(type)) {
    env.log.write(`${argName(argno)} invalid mem access '${regTypeName(type)}'\n`);
    env.diag?.invalidDeref(insn, regOfArg(argno), argName(argno), reg, DIAG_DEREF_NULLABLE_PTR, 0, 0);
    return -EACCES;
  }
  if (access === BPF_WRITE && isReadOnly) return refuse(env, `${argName(argno)} cannot write into ${regTypeName(type)}`);
  if (leaks(env, access, valueRegno)) return refuse(env, `R${valueRegno} leaks addr into mem`);
  if (isUntrusted && !env.allowPtrLeaks) {
    env.log.write(`${regTypeName(type)} access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n`);
    env.diag?.policy(
      insn, 'read from untrusted read-only memory', 'the access requires CAP_PERFMON',
      'Load the program with CAP_PERFMON, or avoid dereferencing untrusted pointers.',
    );
    return -EPERM;
  }
  if (!isUntrusted) {
    const error = checkRegion(env, reg, argno, off, size, env.w[reg + REG_A]! >>> 0, false);
    if (error !== 0) return error;
  }
  if (valueRegno >= 0 && (access === BPF_READ || isReadOnly)) markUnknown(env, env.w, curReg(env, valueRegno));
  return 0;
}

/** Marks the destination of a plain load unknown where the check passed. */
function unknownLoad(env: VerifierEnv, error: number, access: number, valueRegno: number): number {
  if (error === 0 && access === BPF_READ && valueRegno >= 0) markUnknown(env, env.w, curReg(env, valueRegno));
  return error;
}

function accessByKind(
  env: VerifierEnv, insn: number, reg: number, argno: number, off: number, size: number, access: number, valueRegno: number, isLdsx: boolean,
): number {
  const type = env.w[reg + REG_TYPE]!;
  switch (type) {
    case PTR_TO_STACK: {
      const error = checkStackBounds(env, reg, argno, off, size, access);
      if (error !== 0) return error;
      return access === BPF_READ
        ? checkStackRead(env, reg, argno, off, size, valueRegno)
        : checkStackWrite(env, reg, off, size, valueRegno, insn);
    }
    case PTR_TO_MAP_VALUE:
      return mapValueAccess(env, insn, reg, argno, off, size, access, valueRegno, isLdsx);
    case PTR_TO_MAP_KEY: {
      if (access === BPF_WRITE) return refuse(env, `write to change key ${argName(argno)} not allowed`);
      const error = checkRegion(env, reg, argno, off, size, regMap(env, reg).keySize, false);
      return unknownLoad(env, error, BPF_READ, valueRegno);
    }
    case PTR_TO_CTX: {
      const info = resetInfo(isLdsx);
      if (leaks(env, access, valueRegno)) return refuse(env, `R${valueRegno} leaks addr into ctx`);
      const error = checkCtxAccess(env, insn, reg, argno, off, size, access, info);
      return error === 0 && access === BPF_READ && valueRegno >= 0 ? loadFromCtx(env, info, valueRegno) : error;
    }
    case PTR_TO_PACKET: case PTR_TO_PACKET_META:
      if (access === BPF_WRITE && !mayAccessPacket(env, undefined, access)) return refuse(env, 'cannot write into packet');
      if (leaks(env, access, valueRegno)) return refuse(env, `R${valueRegno} leaks addr into packet`);
      return unknownLoad(env, checkPacketAccess(env, reg, argno, off, size, false), access, valueRegno);
    case PTR_TO_FLOW_KEYS:
      if (leaks(env, access, valueRegno)) return refuse(env, `R${valueRegno} leaks addr into flow keys`);
      return unknownLoad(env, checkFlowKeys(env, reg, argno, off, size), access, valueRegno);
    case PTR_TO_TP_BUFFER:
      return unknownLoad(env, checkTPBuffer(env, reg, argno, off, size), access, valueRegno);
    case CONST_PTR_TO_MAP:
      return checkPtrToMapAccess(env, reg, argno, off, size, access, valueRegno);
    case PTR_TO_ARENA:
      return unknownLoad(env, 0, access, valueRegno);
    default:
      break;
  }
  const base = baseType(type);
  if (base === PTR_TO_MEM) return memAccess(env, insn, reg, argno, off, size, access, valueRegno);
  if (typeIsSkPointer(type)) {
    if (access === BPF_WRITE) return refuse(env, `${argName(argno)} cannot write into ${regTypeName(type)}`);
    return unknownLoad(env, checkSock(env, insn, reg, argno, off, size, access), BPF_READ, valueRegno);
  }
  if (base === PTR_TO_BTF_ID && !typeMayBeNull(type)) return checkPtrToBTFAccess(env, reg, argno, off, size, access, valueRegno);
  if (base === PTR_TO_BUF && !typeMayBeNull(type)) {
    const isReadOnly = (type & MEM_RDONLY) !== 0;
    if (isReadOnly && access === BPF_WRITE) return refuse(env, `${argName(argno)} cannot write into ${regTypeName(type)}`);
    return unknownLoad(env, checkBuffer(env, reg, argno, off, size), isReadOnly ? BPF_READ : access, valueRegno);
  }
  const name = argName(argno);
  env.log.write(`${name} invalid mem access '${regTypeName(type)}'\n`);
  const kind = type === SCALAR_VALUE ? DIAG_DEREF_SCALAR : typeMayBeNull(type) ? DIAG_DEREF_NULLABLE_PTR : DIAG_DEREF_INVALID_PTR;
  env.diag?.invalidDeref(insn, regOfArg(argno), name, reg, kind, 0, 0);
  return -EACCES;
}

/**
 * A load or store of `size` bytes at `off` from the pointer in `reg`. `valueRegno` is the register loaded to or stored from, -1
 * for none. Returns 0 or `-errno`.
 */
export function checkMemAccess(
  env: VerifierEnv, insn: number, reg: number, argno: number, off: number, size: number, access: number, valueRegno: number,
  strictOnce: boolean, isLdsx: boolean,
): number {
  const aligned = checkAlignment(env, reg, off, size, strictOnce);
  if (aligned !== 0) return aligned;
  const error = accessByKind(env, insn, reg, argno, off, size, access, valueRegno, isLdsx);
  if (error !== 0 || size >= 8 || valueRegno < 0 || access !== BPF_READ) return error;
  const { w } = env;
  const dst = curReg(env, valueRegno);
  if (w[dst + REG_TYPE] !== SCALAR_VALUE) return 0;
  if (!isLdsx) {
    scalarTruncate(w, dst + REG_SCALAR, size);
    return 0;
  }
  const fits = umax(w, dst) < 2 ** (size * 8 - 1);
  scalarSignExtend(w, dst + REG_SCALAR, size);
  if (!fits) clearScalarID(w, dst);
  return 0;
}

