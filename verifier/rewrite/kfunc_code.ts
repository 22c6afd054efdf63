/**
 * @module verifier/rewrite/kfunc_code
 * What calls of kernel functions become: arguments that programs do not pass themselves, and functions that are done without a call
 * (`bpf_fixup_kfunc_call()` of `kernel/bpf/verifier.c`, Linux 7.3).
 */
import { E2BIG, EFAULT, EINVAL } from '../../isa/errno.ts';
import {
  BPF_ADD, BPF_AND, BPF_DW, BPF_JGT, BPF_JSGE, BPF_JSGT, BPF_LSH, BPF_MOV, BPF_NEG, BPF_RSH, BPF_SUB, BPF_TRACE_FSESSION, BPF_TRACE_FSESSION_MULTI, BPF_W,
} from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import { isSpecialKfunc } from '../kfunc_access.ts';
import { KERNEL_ADDRESS_HI, alu64, aluK, aluX, copy64, jumpK, jumpX, load, load64, mov64, skip, store, storeK } from './code.ts';
import { KEEP, REPLACE, type Rewrite } from './rewrite.ts';

const BPF_MAX_LOOPS = 8 * 1024 * 1024;
const IS_RETURN_SHIFT = 63;
const COOKIE_INDEX_SHIFT = 8;

type Inline = (r: Rewrite) => void;

/** `bpf_iter_num_new(it, start, end)` */
const iterNumNew: Inline = (r) => {
  jumpX(r, false, BPF_JSGT, 2, 3, 8);
  aluX(r, false, BPF_MOV, 0, 3);
  aluX(r, false, BPF_SUB, 0, 2);
  jumpK(r, true, BPF_JGT, 0, BPF_MAX_LOOPS, 8);
  aluK(r, false, BPF_ADD, 2, -1);
  store(r, BPF_W, 1, 2, 0);
  store(r, BPF_W, 1, 3, 4);
  mov64(r, 0, 0);
  skip(r, 5);
  storeK(r, BPF_DW, 1, 0, 0);
  mov64(r, 0, -EINVAL);
  skip(r, 2);
  storeK(r, BPF_DW, 1, 0, 0);
  mov64(r, 0, -E2BIG);
};

/** `bpf_iter_num_next(it)` */
const iterNumNext: Inline = (r) => {
  load(r, BPF_W, 0, 1, 0);
  aluK(r, false, BPF_ADD, 0, 1);
  load(r, BPF_W, 2, 1, 4);
  jumpX(r, false, BPF_JSGE, 0, 2, 3);
  store(r, BPF_W, 1, 0, 0);
  copy64(r, 0, 1);
  skip(r, 2);
  storeK(r, BPF_DW, 1, 0, 0);
  mov64(r, 0, 0);
};

const INLINE: readonly (readonly [names: readonly string[], inline: Inline])[] = [
  [['bpf_cast_to_kern_ctx', 'bpf_rdonly_cast'], (r) => copy64(r, 0, 1)],
  [['bpf_iter_num_new'], iterNumNew],
  [['bpf_iter_num_next'], iterNumNext],
  [['bpf_iter_num_destroy'], (r) => skip(r, 0)],
];

/** Functions of programs that run at both ends of a function. */
const SESSION: readonly (readonly [names: readonly string[], inline: Inline])[] = [
  [['bpf_session_is_return'], (r) => {
    load(r, BPF_DW, 0, 1, -8);
    alu64(r, BPF_RSH, 0, IS_RETURN_SHIFT);
    alu64(r, BPF_AND, 0, 1);
  }],
  [['bpf_session_cookie'], (r) => {
    load(r, BPF_DW, 0, 1, -8);
    alu64(r, BPF_RSH, 0, COOKIE_INDEX_SHIFT);
    alu64(r, BPF_AND, 0, 0xff);
    alu64(r, BPF_LSH, 0, 3);
    aluX(r, true, BPF_SUB, 0, 1);
    alu64(r, BPF_NEG, 0, 0);
  }],
];

const NEW = ['bpf_obj_new_impl', 'bpf_obj_new', 'bpf_percpu_obj_new_impl', 'bpf_percpu_obj_new'] as const;
const WITH_RECORD = [
  'bpf_obj_drop_impl', 'bpf_obj_drop', 'bpf_percpu_obj_drop_impl', 'bpf_percpu_obj_drop', 'bpf_refcount_acquire_impl', 'bpf_refcount_acquire',
] as const;
const INSERT = ['bpf_list_push_front_impl', 'bpf_list_push_front', 'bpf_list_push_back_impl', 'bpf_list_push_back'] as const;
const INSERT_AFTER = ['bpf_list_add', 'bpf_rbtree_add_impl', 'bpf_rbtree_add'] as const;

/** Loads the description of the fields of the object at hand, 0 where it has none. */
function loadRecord(r: Rewrite, notes: number, reg: number): void {
  const has = notes >= 0 && r.aux.kptrStructID[notes]! >= 0;
  load64(r, reg, 0, has ? KERNEL_ADDRESS_HI : 0);
}

/** Emits what replaces the call `i`; KEEP, REPLACE or `-errno`. */
export function rewriteKfuncCall(r: Rewrite, env: VerifierEnv, i: number): number {
  const id = r.imm[i]!;
  const notes = r.notes(i);
  if (id === 0) {
    env.log.write('invalid kernel function call not eliminated in verifier pass\n');
    return -EINVAL;
  }
  const is = (names: readonly string[]): boolean => isSpecialKfunc(env, id, ...names);
  const attachType = env.load.expectedAttachType;
  const isSession = attachType === BPF_TRACE_FSESSION || attachType === BPF_TRACE_FSESSION_MULTI;
  const inline = [...INLINE, ...(isSession ? SESSION : [])].find(([names]) => is(names))?.[1];
  let isReplaced = true;
  if (is(NEW)) {
    if (notes < 0) return -EFAULT;
    mov64(r, 1, r.aux.objNewSize[notes]! | 0);
    loadRecord(r, notes, 2);
    r.emitSelf();
  } else if (is(WITH_RECORD)) {
    loadRecord(r, notes, 2);
    r.emitSelf();
  } else if (is(INSERT) || is(INSERT_AFTER)) {
    if (notes < 0) return -EFAULT;
    const reg = is(INSERT) ? 3 : 4;
    loadRecord(r, notes, reg);
    mov64(r, reg + 1, r.aux.insertOff[notes]!);
    r.emitSelf();
  } else if (inline === undefined) isReplaced = false;
  else inline(r);
  const programRegister = notes < 0 ? 0 : r.aux.argProg[notes]!;
  if (programRegister !== 0) {
    load64(r, programRegister, 0, KERNEL_ADDRESS_HI);
    r.emitSelf();
    isReplaced = true;
  }
  return isReplaced ? REPLACE : KEEP;
}
