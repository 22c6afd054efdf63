/**
 * @module verifier/load_store
 * Loads, stores and atomic operations as instructions: their registers, the access itself, and the kind of pointer that all paths
 * must share (`check_load_mem`, `check_store_reg`, `check_atomic`, `save_aux_ptr_type`, kernel/bpf/verifier.c).
 */
import { EACCES, EINVAL } from '../isa/errno.ts';
import {
  BPF_ADD, BPF_AND, BPF_CMPXCHG, BPF_DW, BPF_FETCH, BPF_LOAD_ACQ, BPF_OR, BPF_STORE_REL, BPF_W, BPF_XCHG, BPF_XOR,
} from '../isa/uapi.ts';
import { DIAG_MOD_WRITE } from './diagnostics_port.ts';
import type { VerifierEnv } from './env.ts';
import { isStackArgLoad, isStackArgStore } from './insns.ts';
import { checkMemAccess, sizeBytes } from './mem_access.ts';
import { boundsSanity, checkDestination, checkSource, curReg, isPointerValue } from './regs.ts';
import {
  baseType, BPF_READ, BPF_WRITE, MEM_RDONLY, mayFaultOnDeref, NOT_INIT, PTR_TO_ARENA, PTR_TO_BTF_ID, PTR_TO_CTX, PTR_TO_FLOW_KEYS, PTR_TO_MEM,
  PTR_TO_SOCKET, PTR_TO_SOCK_COMMON, PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK, PTR_UNTRUSTED, regTypeName, typeIsPktPointer, typeIsPtrToMemOrBTFID,
  typeIsSkPointer,
} from './regtypes.ts';
import { checkStackArgRead, checkStackArgWrite } from './stack.ts';
import { REG_TYPE } from './state.ts';

function refuse(env: VerifierEnv, message: string, error: number = -EACCES): number {
  env.log.write(`${message}\n`);
  return error;
}

function mismatchOK(type: number): boolean {
  switch (baseType(type)) {
    case PTR_TO_CTX: case PTR_TO_SOCKET: case PTR_TO_SOCK_COMMON: case PTR_TO_TCP_SOCK: case PTR_TO_XDP_SOCK: case PTR_TO_BTF_ID:
    case PTR_TO_ARENA:
      return false;
    case PTR_TO_MEM:
      return !mayFaultOnDeref(type);
    default:
      return true;
  }
}

function mergeTypes(a: number, b: number): number {
  const toMem = baseType(a) === PTR_TO_MEM || baseType(b) === PTR_TO_MEM;
  if (mayFaultOnDeref(a) || mayFaultOnDeref(b)) return toMem ? PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED : PTR_TO_BTF_ID | PTR_UNTRUSTED;
  return (toMem ? PTR_TO_MEM : PTR_TO_BTF_ID) | ((a | b) & MEM_RDONLY);
}

/** An instruction is compiled once: all paths must use the same kind of pointer where kinds differ in code. */
function savePtrType(env: VerifierEnv, type: number, trustMismatchOK: boolean): number {
  const { ptrType } = env.aux;
  const i = env.insnIdx;
  const previous = ptrType[i]!;
  if (previous === NOT_INIT) {
    ptrType[i] = type;
    return 0;
  }
  if (type === previous || (mismatchOK(type) && mismatchOK(previous))) return 0;
  if (trustMismatchOK && typeIsPtrToMemOrBTFID(type) && typeIsPtrToMemOrBTFID(previous)) {
    ptrType[i] = mergeTypes(type, previous);
    return 0;
  }
  return refuse(env, 'same insn cannot be used with different pointers', -EINVAL);
}

export function checkLoad(env: VerifierEnv, strictOnce: boolean, isLdsx: boolean, trustMismatchOK: boolean, context: string): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const dst = insns.dst[i]!;
  const src = insns.src[i]!;
  if (isStackArgLoad(env, i)) {
    const error = checkDestination(env, dst, false);
    return error !== 0 ? error : checkStackArgRead(env, insns.off[i]!, dst);
  }
  let error = checkSource(env, src);
  if (error === 0) error = checkDestination(env, dst, false);
  if (error !== 0) return error;
  const srcReg = curReg(env, src);
  const dstReg = curReg(env, dst);
  const type = w[srcReg + REG_TYPE]!;
  env.diag?.modBegin(dstReg, -1, DIAG_MOD_WRITE);
  error = checkMemAccess(env, i, srcReg, src, insns.off[i]!, sizeBytes(insns.code[i]!), BPF_READ, dst, strictOnce, isLdsx);
  if (error === 0) error = savePtrType(env, type, trustMismatchOK);
  if (error === 0) error = boundsSanity(env, w, dstReg, context);
  if (error === 0) env.diag?.modEnd();
  return error;
}

export function checkStore(env: VerifierEnv, strictOnce: boolean): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const src = insns.src[i]!;
  const dst = insns.dst[i]!;
  let error = checkSource(env, src);
  if (error !== 0) return error;
  if (isStackArgStore(env, i)) return checkStackArgWrite(env, insns.off[i]!, src);
  error = checkSource(env, dst);
  if (error !== 0) return error;
  const reg = curReg(env, dst);
  const type = w[reg + REG_TYPE]!;
  error = checkMemAccess(env, i, reg, dst, insns.off[i]!, sizeBytes(insns.code[i]!), BPF_WRITE, src, strictOnce, false);
  return error !== 0 ? error : savePtrType(env, type, false);
}

export function checkStoreImmediate(env: VerifierEnv): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  if (isStackArgStore(env, i)) return checkStackArgWrite(env, insns.off[i]!, -1);
  const dst = insns.dst[i]!;
  let error = checkSource(env, dst);
  if (error !== 0) return error;
  const reg = curReg(env, dst);
  const type = w[reg + REG_TYPE]!;
  error = checkMemAccess(env, i, reg, dst, insns.off[i]!, sizeBytes(insns.code[i]!), BPF_WRITE, -1, false, false);
  return error !== 0 ? error : savePtrType(env, type, false);
}

function atomicPointerOK(env: VerifierEnv, regno: number): boolean {
  const type = env.w[curReg(env, regno) + REG_TYPE]!;
  if (type === PTR_TO_CTX || typeIsPktPointer(type) || type === PTR_TO_FLOW_KEYS || typeIsSkPointer(type)) return false;
  if (type === PTR_TO_ARENA) {
    // The x86-64 compiler has no form of these that survives a fault.
    const op = env.insns.imm[env.insnIdx]!;
    return op !== (BPF_AND | BPF_FETCH) && op !== (BPF_OR | BPF_FETCH) && op !== (BPF_XOR | BPF_FETCH);
  }
  return !(env.insns.imm[env.insnIdx] === BPF_LOAD_ACQ && mayFaultOnDeref(type));
}

function checkAtomicUpdate(env: VerifierEnv): number {
  const { insns, w } = env;
  const i = env.insnIdx;
  const size = insns.code[i]! & 0x18;
  const dst = insns.dst[i]!;
  const src = insns.src[i]!;
  const op = insns.imm[i]!;
  if (size !== BPF_W && size !== BPF_DW) return refuse(env, 'invalid atomic operand size', -EINVAL);
  let error = checkSource(env, src);
  if (error === 0) error = checkSource(env, dst);
  if (error !== 0) return error;
  if (op === BPF_CMPXCHG) {
    error = checkSource(env, 0);
    if (error !== 0) return error;
    if (isPointerValue(env, 0)) return refuse(env, 'R0 leaks addr into mem');
  }
  if (isPointerValue(env, src)) return refuse(env, `R${src} leaks addr into mem`);
  const reg = curReg(env, dst);
  if (!atomicPointerOK(env, dst)) {
    return refuse(env, `BPF_ATOMIC stores into R${dst} ${regTypeName(w[reg + REG_TYPE]!)} is not allowed`);
  }
  const loadReg = (op & BPF_FETCH) === 0 ? -1 : op === BPF_CMPXCHG ? 0 : src;
  if (loadReg >= 0) {
    error = checkDestination(env, loadReg, true);
    if (error !== 0) return error;
  }
  const bytes = sizeBytes(size);
  const off = insns.off[i]!;
  error = checkMemAccess(env, i, reg, dst, off, bytes, BPF_READ, -1, true, false);
  if (error === 0 && loadReg >= 0) {
    env.diag?.modBegin(curReg(env, loadReg), -1, DIAG_MOD_WRITE);
    error = checkMemAccess(env, i, reg, dst, off, bytes, BPF_READ, loadReg, true, false);
    if (error === 0) env.diag?.modEnd();
  }
  if (error !== 0) return error;
  error = savePtrType(env, w[reg + REG_TYPE]!, false);
  if (error !== 0) return error;
  return checkMemAccess(env, i, reg, dst, off, bytes, BPF_WRITE, -1, true, false);
}

export function checkAtomic(env: VerifierEnv): number {
  const i = env.insnIdx;
  const op = env.insns.imm[i]!;
  switch (op) {
    case BPF_ADD: case BPF_ADD | BPF_FETCH: case BPF_AND: case BPF_AND | BPF_FETCH: case BPF_OR: case BPF_OR | BPF_FETCH: case BPF_XOR:
    case BPF_XOR | BPF_FETCH: case BPF_XCHG: case BPF_CMPXCHG:
      return checkAtomicUpdate(env);
    case BPF_LOAD_ACQ: {
      const src = env.insns.src[i]!;
      const error = checkSource(env, src);
      if (error !== 0) return error;
      if (!atomicPointerOK(env, src)) {
        return refuse(env, `BPF_ATOMIC loads from R${src} ${regTypeName(env.w[curReg(env, src) + REG_TYPE]!)} is not allowed`);
      }
      return checkLoad(env, true, false, false, 'atomic_load');
    }
    case BPF_STORE_REL: {
      const error = checkStore(env, true);
      if (error !== 0) return error;
      const dst = env.insns.dst[i]!;
      if (atomicPointerOK(env, dst)) return 0;
      return refuse(env, `BPF_ATOMIC stores into R${dst} ${regTypeName(env.w[curReg(env, dst) + REG_TYPE]!)} is not allowed`);
    }
    default:
      return refuse(env, `BPF_ATOMIC uses invalid atomic opcode ${(op >>> 0).toString(16).padStart(2, '0')}`, -EINVAL);
  }
}
