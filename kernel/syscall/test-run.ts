/**
 * @module kernel/syscall/test-run
 * `BPF_PROG_TEST_RUN`: rules of the command and of each program type, the context a program gets, what is copied back.
 * Reproduces `bpf_prog_test_run` (kernel/bpf/syscall.c) and `bpf_prog_test_run_*` (net/bpf/test_run.c).
 */
import { TEST_RUN_ATTR as A } from '../../isa/attr.ts';
import { EFAULT, EINVAL, ENOTSUPP } from '../../isa/errno.ts';
import { InternalError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { BPFProgram } from '../program.ts';
import type { Runner } from '../run.ts';
import { type Call, isNullField } from './call.ts';
import { specOf } from './elements.ts';

const U16_MAX = 0xffff;

export function testRun(call: Call): number {
  if (!call.hasCleanTail(specOf(U.BPF_PROG_TEST_RUN))) return -EINVAL;
  if ((call.u32(A.ctx_size_in) !== 0) === isNullField(call, A.ctx_in)) return -EINVAL;
  if ((call.u32(A.ctx_size_out) !== 0) === isNullField(call, A.ctx_out)) return -EINVAL;
  const program = call.kernel.programByFD(call.fd(A.prog_fd));
  if (typeof program === 'number') return program;
  const run = RUNNERS.get(program.type);
  if (run === undefined) return -ENOTSUPP;
  program.get();
  try {
    return run(call, program);
  } finally {
    program.put();
  }
}

export function runnerOf(call: Call): Runner {
  const { runner } = call.kernel;
  if (runner === undefined) throw new InternalError('no machine');
  return runner;
}

/** `bpf_prog_test_run_syscall` */
function runSyscall(call: Call, program: BPFProgram): number {
  const { memory } = call.kernel;
  const isSet = (field: { readonly offset: number; readonly size: number }): boolean => {
    for (let i = 0; i < field.size; i++) if (call.attr.getUint8(field.offset + i) !== 0) return true;
    return false;
  };
  if ([A.data_in, A.data_out, A.ctx_out, A.duration, A.repeat, A.flags, A.batch_size].some(isSet)) return -EINVAL;
  const size = call.u32(A.ctx_size_in);
  if (size < (program.verified?.maxCtxOffset ?? 0) || size > U16_MAX) return -EINVAL;
  const pointer = call.userPointer(A.ctx_in);
  const perform = (ctx: number): number => {
    const outcome = runnerOf(call).run(program, ctx);
    if (!call.put(A.retval, outcome.retval)) return -EFAULT;
    return size === 0 || memory.copyOut(pointer, ctx, size) ? 0 : -EFAULT;
  };
  if (size === 0) return perform(0);
  return memory.withBuffer(size, 'ctx', (ctx) => (memory.copyInto(ctx, pointer, size) ? perform(ctx) : -EFAULT));
}

const RUNNERS: ReadonlyMap<number, (call: Call, program: BPFProgram) => number> = new Map([
  [U.BPF_PROG_TYPE_SYSCALL, runSyscall],
]);
