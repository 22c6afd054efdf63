/**
 * @module verifier/graph
 * Linked lists and trees of allocated objects: their heads, roots and nodes as kfunc arguments, and the change from owning to
 * non-owning pointers. Reproduces the "graph" part of `kernel/bpf/verifier.c`.
 */
import { BPF_LIST_HEAD, BPF_LIST_NODE, BPF_RB_NODE, BPF_RB_ROOT, fieldTypeName, type Field } from '../btf/record.ts';
import { EFAULT, EINVAL } from '../isa/errno.ts';
import { structIDsMatch } from './btf_walk.ts';
import type { CallMeta } from './call_meta.ts';
import type { VerifierEnv } from './env.ts';
import { recordFind, regRecord } from './map_record.ts';
import { MASK_SPILL, REG_LIST, findLock, listRegs, releaseReferenceNoMark } from './refs.ts';
import { argName, isVarConst, markKnown } from './regs.ts';
import { MEM_ALLOC, MEM_RCU, NON_OWN_REF, PTR_TO_BTF_ID, PTR_TO_MAP_VALUE, typeFlag } from './regtypes.ts';
import { FF_IN_CALLBACK, F_CALLSITE, F_FLAGS, REF_TYPE_LOCK_MASK, REG_A, REG_B, REG_ID, REG_TYPE, REG_VAR_LO } from './state.ts';

/** kfuncs of lists and trees, by name. */
const LIST_PUSH: ReadonlySet<string> = new Set([
  'bpf_list_push_front', 'bpf_list_push_front_impl', 'bpf_list_push_back', 'bpf_list_push_back_impl', 'bpf_list_add',
]);
const LIST_API: ReadonlySet<string> = new Set([
  ...LIST_PUSH, 'bpf_list_pop_front', 'bpf_list_pop_back', 'bpf_list_del', 'bpf_list_front', 'bpf_list_back', 'bpf_list_is_first',
  'bpf_list_is_last', 'bpf_list_empty',
]);
const LIST_NODE_API: ReadonlySet<string> = new Set([...LIST_PUSH, 'bpf_list_del', 'bpf_list_is_first', 'bpf_list_is_last']);
const RBTREE_ADD: ReadonlySet<string> = new Set(['bpf_rbtree_add', 'bpf_rbtree_add_impl']);
const RBTREE_API: ReadonlySet<string> = new Set([
  ...RBTREE_ADD, 'bpf_rbtree_remove', 'bpf_rbtree_first', 'bpf_rbtree_root', 'bpf_rbtree_left', 'bpf_rbtree_right',
]);
const RBTREE_NODE_API: ReadonlySet<string> = new Set([...RBTREE_ADD, 'bpf_rbtree_remove', 'bpf_rbtree_left', 'bpf_rbtree_right']);

export const isListPush = (name: string): boolean => LIST_PUSH.has(name);
export const isListKfunc = (name: string): boolean => LIST_API.has(name);
export const isRbtreeAdd = (name: string): boolean => RBTREE_ADD.has(name);
export const isRbtreeKfunc = (name: string): boolean => RBTREE_API.has(name);

const refuse = (env: VerifierEnv, message: string): number => {
  env.log.write(`${message}\n`);
  return -EINVAL;
};

/** 0 where the lock in the same allocation is held (`check_reg_allocation_locked`). */
function checkLocked(env: VerifierEnv, reg: number): number {
  const { w, cur } = env;
  const type = w[reg + REG_TYPE]!;
  if (type !== PTR_TO_MAP_VALUE && type !== (PTR_TO_BTF_ID | MEM_ALLOC)) {
    env.log.write('verifier bug: unknown reg type for lock check\n');
    return -EFAULT;
  }
  if (cur.activeLocks === 0) return -EINVAL;
  if (findLock(cur, REF_TYPE_LOCK_MASK, w[reg + REG_ID]!, lockPtr(type, w[reg + REG_A]!)) >= 0) return 0;
  return refuse(env, 'held lock and object are not in the same allocation');
}

/** What tells the allocations of two locks apart: maps and BTFs are numbered from different ends. */
export const lockPtr = (type: number, index: number): number => (type === PTR_TO_MAP_VALUE ? index + 1 : -index - 1);

/** Checks a list head or tree root; remembers its field in `meta`. */
export function processGraphRoot(env: VerifierEnv, reg: number, argno: number, meta: CallMeta, isTree: boolean): number {
  const kind = isTree ? BPF_RB_ROOT : BPF_LIST_HEAD;
  const kindName = fieldTypeName(kind);
  if (!(isTree ? RBTREE_API : LIST_API).has(meta.funcName)) {
    env.log.write(`verifier internal error: ${kindName} head arg for unknown kfunc\n`);
    return -EFAULT;
  }
  if (!isVarConst(env.w, reg)) {
    return refuse(env, `${argName(argno)} doesn't have constant offset. ${kindName} has to be at the constant offset`);
  }
  const record = regRecord(env, reg), offset = env.w[reg + REG_VAR_LO]!;
  const field = recordFind(record, offset >>> 0, kind);
  if (field === undefined) return refuse(env, `${kindName} not found at offset=${offset >>> 0}`);
  if (checkLocked(env, reg) !== 0) return refuse(env, `bpf_spin_lock at off=${record!.spinLockOffset} must be held for ${kindName}`);
  if ((isTree ? meta.rbtreeRoot : meta.listHead) !== undefined) {
    env.log.write(`verifier bug: repeating ${kindName} arg\n`);
    return -EFAULT;
  }
  if (isTree) meta.rbtreeRoot = field;
  else meta.listHead = field;
  return 0;
}

/** Checks a node against the head or root seen before it. */
export function processGraphNode(env: VerifierEnv, reg: number, argno: number, meta: CallMeta, isTree: boolean): number {
  const { w } = env;
  const nodeKind = isTree ? BPF_RB_NODE : BPF_LIST_NODE;
  const nodeName = fieldTypeName(nodeKind), headName = fieldTypeName(isTree ? BPF_RB_ROOT : BPF_LIST_HEAD);
  if (!(isTree ? RBTREE_NODE_API : LIST_NODE_API).has(meta.funcName)) {
    env.log.write(`verifier internal error: ${nodeName} node arg for unknown kfunc\n`);
    return -EFAULT;
  }
  if (!isVarConst(w, reg)) {
    return refuse(env, `${argName(argno)} doesn't have constant offset. ${nodeName} has to be at the constant offset`);
  }
  const offset = w[reg + REG_VAR_LO]!;
  if (recordFind(regRecord(env, reg), offset >>> 0, nodeKind) === undefined) return refuse(env, `${nodeName} not found at offset=${offset >>> 0}`);
  const root = (isTree ? meta.rbtreeRoot : meta.listHead)?.root;
  if (root === undefined) {
    env.log.write(`verifier bug: no ${headName} for ${nodeName}\n`);
    return -EFAULT;
  }
  const btf = env.btfAt(w[reg + REG_A]!)!, id = w[reg + REG_B]!;
  const say = (message: string): void => env.log.write(message);
  const valueName = root.btf.typeName(root.valueTypeID);
  if (!structIDsMatch(btf, id, 0, root.btf, root.valueTypeID, true, (w[reg + REG_TYPE]! & MEM_ALLOC) === 0, say)) {
    return refuse(env, `operation on ${headName} expects arg#1 ${nodeName} at offset=${root.nodeOffset} in struct ${valueName}, ` +
      `but arg is at offset=${offset} in struct ${btf.typeName(id)}`);
  }
  meta.argBTFIndex = w[reg + REG_A]!;
  meta.argBTFID = id;
  if (offset === root.nodeOffset) return 0;
  return refuse(env, `arg#1 offset=${offset}, but expected ${nodeName} at offset=${root.nodeOffset} in struct ${valueName}`);
}

/** Makes the register at `reg` a pointer to a node of what a list head or tree root contains. */
export function markGraphNode(env: VerifierEnv, reg: number, root: NonNullable<Field['root']>): void {
  const { w } = env;
  markKnown(w, reg, root.nodeOffset, 0);
  w[reg + REG_TYPE] = PTR_TO_BTF_ID | MEM_ALLOC;
  w[reg + REG_A] = env.btfIndexOf({ kind: 'btf', id: 0, btf: root.btf, isKernel: root.btf.isKernel });
  w[reg + REG_B] = root.valueTypeID;
}

/** The pointer keeps its object only as long as the lock is held; under RCU longer where the object counts references. */
export function setNonOwning(env: VerifierEnv, reg: number): number {
  const { w } = env;
  const bug = (message: string): number => {
    env.log.write(`verifier bug: ${message}\n`);
    return -EFAULT;
  };
  if (env.cur.activeLocks === 0) return bug('ref_set_non_owning w/o active lock');
  if ((typeFlag(w[reg + REG_TYPE]!) & NON_OWN_REF) !== 0) return bug('NON_OWN_REF already set');
  const record = regRecord(env, reg);
  w[reg + REG_TYPE]! |= NON_OWN_REF;
  if (record !== undefined && record.refcountOffset >= 0) w[reg + REG_TYPE]! |= MEM_RCU;
  return 0;
}

/** The object went into a list or tree: all pointers to it stop owning it. */
export function convertOwningToNonOwning(env: VerifierEnv, id: number): void {
  releaseReferenceNoMark(env, id);
  const n = listRegs(env.cur, MASK_SPILL);
  for (let i = 0; i < n; i++) {
    const reg = REG_LIST[i]!;
    if (env.w[reg + REG_ID] !== id) continue;
    env.w[reg + REG_ID] = 0;
    setNonOwning(env, reg);
  }
}

/** True inside a callback that runs with a tree's lock held. */
export function inRBTreeCallback(env: VerifierEnv): boolean {
  const { cur, w } = env;
  for (let f = cur.curframe; f > 0; f--) {
    const frame = cur.frameAt[f]!;
    if ((w[frame + F_FLAGS]! & FF_IN_CALLBACK) === 0) continue;
    const id = env.insns.imm[w[frame + F_CALLSITE]!]!;
    const kernel = env.ext.kernelBTF()?.btf;
    if (kernel !== undefined && kernel.has(id) && isRbtreeKfunc(kernel.typeName(id))) return true;
  }
  return false;
}
