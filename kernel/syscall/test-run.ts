/**
 * @module kernel/syscall/test-run
 * `BPF_PROG_TEST_RUN`: rules of the command and of each program type, the context a program gets, what is copied back.
 * Reproduces `bpf_prog_test_run` (kernel/bpf/syscall.c) and `bpf_prog_test_run_*` (net/bpf/test_run.c).
 */
import { TEST_RUN_ATTR as A } from '../../isa/attr.ts';
import { EFAULT, EINVAL, ENOTSUPP, ENXIO } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { BPF_F_TEST_RUN_ON_CPU } from '../flags.ts';
import type { BPFProgram } from '../program.ts';
import { type Call, isNullField } from './call.ts';
import { specOf } from './elements.ts';
import { runnerOf } from './runner.ts';
import { runFlowDissector, runNetfilter, runSKB, runSKLookup, runXDP } from './test-run-net.ts';

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

/** `bpf_prog_test_run_syscall` */
function runSyscall(call: Call, program: BPFProgram): number {
  const { memory } = call.kernel;
  if ([A.data_in, A.data_out, A.ctx_out, A.duration, A.repeat, A.flags, A.batch_size].some((field) => isSet(call, field))) return -EINVAL;
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

const MAX_TRACEPOINT_ARGUMENTS = 12;

/** `bpf_prog_test_run_raw_tp` */
function runRawTracepoint(call: Call, program: BPFProgram): number {
  const { memory, cpus, sources } = call.kernel;
  if ([A.data_in, A.data_out, A.ctx_out, A.duration, A.repeat, A.batch_size].some((field) => isSet(call, field))) return -EINVAL;
  const size = call.u32(A.ctx_size_in);
  if (size < (program.verified?.maxCtxOffset ?? 0) || size > MAX_TRACEPOINT_ARGUMENTS * 8) return -EINVAL;
  const onCPU = (call.u32(A.flags) & BPF_F_TEST_RUN_ON_CPU) !== 0;
  const cpu = call.u32(A.cpu);
  if ((!onCPU && cpu !== 0) || (program.sleepable && onCPU)) return -EINVAL;
  const pointer = call.userPointer(A.ctx_in);
  const perform = (ctx: number): number => {
    if (onCPU && cpu >= cpus) return -ENXIO;
    const before = sources.cpu;
    sources.cpu = onCPU ? cpu : before;
    try {
      const outcome = runnerOf(call).run(program, ctx);
      return call.put(A.retval, outcome.retval) ? 0 : -EFAULT;
    } finally {
      sources.cpu = before;
    }
  };
  if (size === 0) return perform(0);
  return memory.withBuffer(size, 'ctx', (ctx) => (memory.copyInto(ctx, pointer, size) ? perform(ctx) : -EFAULT));
}

/**
 * `bpf_prog_test_run_tracing`: calls the kernel's test functions, which trigger the program only where it is attached to them.
 * Their result for `fmod_ret` is that of the untouched functions: 4 and 29, with both side effects.
 */
function runTracing(call: Call, program: BPFProgram): number {
  if ([A.flags, A.cpu, A.batch_size].some((field) => isSet(call, field))) return -EINVAL;
  switch (program.expectedAttachType) {
    case U.BPF_TRACE_FENTRY:
    case U.BPF_TRACE_FEXIT:
    case U.BPF_TRACE_FSESSION:
    case U.BPF_TRACE_FENTRY_MULTI:
    case U.BPF_TRACE_FEXIT_MULTI:
    case U.BPF_TRACE_FSESSION_MULTI:
      return call.put(A.retval, 0) ? 0 : -EFAULT;
    case U.BPF_MODIFY_RETURN:
      return call.put(A.retval, ((2 << 16) | (4 + 29)) >>> 0) ? 0 : -EFAULT;
    default:
      return -EFAULT;
  }
}

function isSet(call: Call, field: { readonly offset: number; readonly size: number }): boolean {
  for (let i = 0; i < field.size; i++) if (call.attr.getUint8(field.offset + i) !== 0) return true;
  return false;
}

type TestRun = (call: Call, program: BPFProgram) => number;

const RUNNERS: ReadonlyMap<number, TestRun> = new Map<number, TestRun>([
  [U.BPF_PROG_TYPE_SYSCALL, runSyscall], [U.BPF_PROG_TYPE_RAW_TRACEPOINT, runRawTracepoint],
  [U.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, runRawTracepoint], [U.BPF_PROG_TYPE_TRACING, runTracing],
  ...[
    U.BPF_PROG_TYPE_SOCKET_FILTER, U.BPF_PROG_TYPE_SCHED_CLS, U.BPF_PROG_TYPE_SCHED_ACT, U.BPF_PROG_TYPE_CGROUP_SKB, U.BPF_PROG_TYPE_LWT_IN,
    U.BPF_PROG_TYPE_LWT_OUT, U.BPF_PROG_TYPE_LWT_XMIT, U.BPF_PROG_TYPE_LWT_SEG6LOCAL,
  ].map((type): [number, TestRun] => [type, runSKB]),
  [U.BPF_PROG_TYPE_XDP, runXDP], [U.BPF_PROG_TYPE_FLOW_DISSECTOR, runFlowDissector], [U.BPF_PROG_TYPE_SK_LOOKUP, runSKLookup],
  [U.BPF_PROG_TYPE_NETFILTER, runNetfilter],
]);
