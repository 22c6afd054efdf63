/**
 * @module verifier/rewrite/helper_code
 * Helpers that programs do without a call on x86-64 with its compiler on: what `bpf_do_misc_fixups()` writes in place of them
 * (`kernel/bpf/fixups.c`, Linux 7.3). Addresses of the kernel's own variables are 0: nobody is shown them.
 */
import { EINVAL, ENOENT, EOPNOTSUPP } from '../../isa/errno.ts';
import {
  BPF_ADD, BPF_AND, BPF_ATOMIC, BPF_DW, BPF_FUNC_get_branch_snapshot, BPF_FUNC_get_current_task, BPF_FUNC_get_current_task_btf, BPF_FUNC_get_func_arg,
  BPF_FUNC_get_func_arg_cnt, BPF_FUNC_get_func_ip, BPF_FUNC_get_func_ret, BPF_FUNC_get_smp_processor_id, BPF_FUNC_jiffies64, BPF_FUNC_kptr_xchg, BPF_JEQ,
  BPF_JGE, BPF_JNE, BPF_LSH, BPF_MODIFY_RETURN, BPF_MUL, BPF_PROG_TYPE_TRACING, BPF_RSH, BPF_STX, BPF_TRACE_FEXIT, BPF_TRACE_FEXIT_MULTI,
  BPF_TRACE_FSESSION, BPF_TRACE_FSESSION_MULTI, BPF_TRACE_RAW_TP, BPF_W, BPF_XCHG,
} from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import { KERNEL_ADDRESS_HI, alu64, aluK, aluX, callKernel, copy64, jumpK, jumpX, load, load64, mov32, mov64, percpuAddress, skip, store } from './code.ts';
import type { Rewrite } from './rewrite.ts';

const PERF_BRANCH_ENTRY_SIZE = 24;
/** (2^33 + 1) / 3: a multiplication and a shift divide by three. */
const THIRD = 0xaaaaaaab | 0;
const ARGUMENT_COUNT_MASK = 0xff;

/** A variable of each processor, read by its address. */
function perProcessor(size: number): (r: Rewrite) => void {
  return (r) => {
    mov64(r, 0, 0);
    percpuAddress(r, 0);
    load(r, size, 0, 0, 0);
  };
}

/** R0 = number of the traced function's arguments. */
function argumentCount(r: Rewrite, env: VerifierEnv): void {
  if (env.expectedAttachType === BPF_TRACE_RAW_TP) mov64(r, 0, (env.attachBTF?.vlen(env.attachFuncProto) ?? 1) - 1);
  else {
    load(r, BPF_DW, 0, 1, -8);
    alu64(r, BPF_AND, 0, ARGUMENT_COUNT_MASK);
  }
}

function functionArgument(r: Rewrite, env: VerifierEnv): void {
  argumentCount(r, env);
  jumpX(r, false, BPF_JGE, 2, 0, 6);
  alu64(r, BPF_LSH, 2, 3);
  aluX(r, true, BPF_ADD, 2, 1);
  load(r, BPF_DW, 0, 2, 0);
  store(r, BPF_DW, 3, 0, 0);
  mov64(r, 0, 0);
  skip(r, 1);
  mov64(r, 0, -EINVAL);
}

const RETURNING: ReadonlySet<number> = new Set([BPF_TRACE_FEXIT, BPF_TRACE_FSESSION, BPF_TRACE_FEXIT_MULTI, BPF_TRACE_FSESSION_MULTI, BPF_MODIFY_RETURN]);

function functionResult(r: Rewrite, env: VerifierEnv): void {
  if (!RETURNING.has(env.expectedAttachType)) {
    mov64(r, 0, -EOPNOTSUPP);
    return;
  }
  argumentCount(r, env);
  alu64(r, BPF_LSH, 0, 3);
  aluX(r, true, BPF_ADD, 0, 1);
  load(r, BPF_DW, 3, 0, 0);
  store(r, BPF_DW, 2, 3, 0);
  mov64(r, 0, 0);
}

function branchSnapshot(r: Rewrite): void {
  jumpK(r, true, BPF_JNE, 3, 0, 7);
  mov32(r, 0, THIRD);
  aluX(r, true, BPF_MUL, 2, 0);
  alu64(r, BPF_RSH, 2, 36);
  callKernel(r);
  jumpK(r, true, BPF_JEQ, 0, 0, 4);
  aluK(r, false, BPF_MUL, 0, PERF_BRANCH_ENTRY_SIZE);
  skip(r, 3);
  mov64(r, 0, -EINVAL);
  skip(r, 1);
  mov64(r, 0, -ENOENT);
}

type Inline = (r: Rewrite, env: VerifierEnv) => void;

const ALWAYS: ReadonlyMap<number, Inline> = new Map<number, Inline>([
  [BPF_FUNC_get_smp_processor_id, perProcessor(BPF_W)],
  [BPF_FUNC_get_current_task, perProcessor(BPF_DW)],
  [BPF_FUNC_get_current_task_btf, perProcessor(BPF_DW)],
  [BPF_FUNC_get_branch_snapshot, branchSnapshot],
  [BPF_FUNC_jiffies64, (r) => {
    load64(r, 0, 0, KERNEL_ADDRESS_HI);
    load(r, BPF_DW, 0, 0, 0);
  }],
  [BPF_FUNC_kptr_xchg, (r) => {
    copy64(r, 0, 2);
    r.emit(BPF_STX | BPF_ATOMIC | BPF_DW, 1, 0, 0, BPF_XCHG);
  }],
]);

const TRACING: ReadonlyMap<number, Inline> = new Map<number, Inline>([
  [BPF_FUNC_get_func_arg, functionArgument],
  [BPF_FUNC_get_func_ret, functionResult],
  [BPF_FUNC_get_func_arg_cnt, argumentCount],
  [BPF_FUNC_get_func_ip, (r) => load(r, BPF_DW, 0, 1, -16)],
]);

/** Emits what replaces a call of helper `id`; false where it stays a call. */
export function emitHelper(r: Rewrite, env: VerifierEnv, id: number): boolean {
  const inline = ALWAYS.get(id) ?? (env.resolvedProgType === BPF_PROG_TYPE_TRACING ? TRACING.get(id) : undefined);
  inline?.(r, env);
  return inline !== undefined;
}
