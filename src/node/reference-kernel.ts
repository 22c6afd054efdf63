/**
 * @module src/node/reference-kernel
 * The oracle "kernel": inputs as transcripts, performed on a real kernel and on ours. Result, error number, log and with it the instructions
 * processed, and the return value of runs must agree. The real one is this machine's, through `bpf(2)`, or an image in QEMU.
 */
import { DISTRIBUTION_ALGORITHMS, RECORDED_ALGORITHMS, type KernelAlgorithms } from '../../crypto/algorithms.ts';
import { COMMANDS, MAP_CREATE_ATTR } from '../../isa/attr.ts';
import { InputError } from '../../isa/errors.ts';
import { EFAULT, EPERM, errnoName } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Allocation } from '../../vm/address-space.ts';
import { STACK_LABEL } from '../../vm/run.ts';
import { Coverage } from '../fuzz/coverage.ts';
import { operationsOf } from '../fuzz/answers.ts';
import { makeCall, NO_ANSWER } from '../fuzz/mutators/calls.ts';
import { createSigner } from '../fuzz/targets/signer.ts';
import type { FoundInput } from '../fuzz/shard.ts';
import { loadTarget } from '../fuzz/targets/index.ts';
import type { Target } from '../fuzz/types.ts';
import { canAgentPerform } from '../replay/agent-lines.ts';
import { compareAnswers, type Difference, type Field } from '../replay/compare.ts';
import { KernelTarget } from '../replay/kernel-target.ts';
import { Performer, type Got } from '../replay/perform.ts';
import type { BPFCall, Operation } from '../replay/transcript.ts';
import { createTargetEnvironment } from './fuzz-environment.ts';
import { KernelMachine } from './kernel-machine.ts';
import { loadKernelBTF } from './kernel-btf.ts';
import { loadNativeCalls, SystemCallTarget } from './system-calls.ts';

/** A real kernel that performs cases, each from the start of a process. */
export interface RealKernel {
  /** What it said when it died while it performed the last cases: answers end where it did. */
  readonly lastWords?: string | undefined;
  perform(cases: readonly (readonly Operation[])[]): Promise<readonly (readonly Got[])[]>;
}

const FIELDS: ReadonlySet<Field> = new Set<Field>(['ret', 'errno', 'insnsProcessed', 'lastMessage', 'log', 'retval']);
/** Helpers whose answers are of the moment, the process or its processor: what a program that calls one returns is its own. */
const UNREPEATABLE: ReadonlySet<number> = new Set([
  U.BPF_FUNC_ktime_get_ns, U.BPF_FUNC_ktime_get_boot_ns, U.BPF_FUNC_ktime_get_coarse_ns, U.BPF_FUNC_ktime_get_tai_ns, U.BPF_FUNC_jiffies64, U.BPF_FUNC_get_prandom_u32,
  U.BPF_FUNC_get_smp_processor_id, U.BPF_FUNC_get_numa_node_id, U.BPF_FUNC_get_current_pid_tgid, U.BPF_FUNC_get_ns_current_pid_tgid, U.BPF_FUNC_get_current_uid_gid,
  U.BPF_FUNC_get_current_comm, U.BPF_FUNC_get_current_task, U.BPF_FUNC_get_current_task_btf, U.BPF_FUNC_get_current_cgroup_id, U.BPF_FUNC_get_current_ancestor_cgroup_id,
]);
/** States that our verifier may visit in one case: a real one needs minutes for what takes much longer. */
const MOST_VISITS = 30_000;
/** By so many bytes memory lies elsewhere when a case is performed again, and what the stack holds that programs find. */
const SHIFT = 0x1528, RUBBISH = 0xa5;
/** A program that is run first, so that the machine has a stack: r0 = 0; exit. */
const NOTHING = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
/** Calls whose answers depend on what else lives in the kernel. */
const UNSTABLE: ReadonlySet<number> = new Set([
  U.BPF_PROG_GET_NEXT_ID, U.BPF_MAP_GET_NEXT_ID, U.BPF_BTF_GET_NEXT_ID, U.BPF_LINK_GET_NEXT_ID, U.BPF_PROG_GET_FD_BY_ID, U.BPF_MAP_GET_FD_BY_ID,
  U.BPF_BTF_GET_FD_BY_ID, U.BPF_LINK_GET_FD_BY_ID, U.BPF_TASK_FD_QUERY, U.BPF_ENABLE_STATS, U.BPF_OBJ_PIN, U.BPF_OBJ_GET, U.BPF_TOKEN_CREATE,
  U.BPF_PROG_QUERY, U.BPF_PROG_ATTACH, U.BPF_PROG_DETACH, U.BPF_LINK_CREATE, U.BPF_RAW_TRACEPOINT_OPEN,
]);

const MOST_MAP_BYTES = 16 << 20;

/** Every address that a call passes is, whole, that of a buffer: others could hit memory of this process. */
function hasStrayPointer(call: BPFCall): boolean {
  const owned = new Set([...call.inputs, ...call.outputs].map(({ offset }) => offset));
  if ([...owned].some((offset) => offset < call.attr.length && offset + 8 > call.attr.length)) return true;
  return (COMMANDS[call.cmd]?.fields ?? []).some(({ kind, offset, size }) =>
    kind === 'ptr' && !owned.has(offset) && call.attr.subarray(offset, offset + size).some((byte) => byte !== 0));
}

/** A map so large that the answer depends on how much memory there is (and that a small machine may not survive). */
function isHuge({ cmd, attr }: BPFCall): boolean {
  if (cmd !== U.BPF_MAP_CREATE || attr.length < 16) return false;
  const view = new DataView(attr.buffer, attr.byteOffset, attr.byteLength), { key_size, value_size, max_entries } = MAP_CREATE_ATTR;
  return (view.getUint32(key_size.offset, true) + view.getUint32(value_size.offset, true)) * view.getUint32(max_entries.offset, true) > MOST_MAP_BYTES;
}

function isComparable(operation: Operation): boolean {
  if (!canAgentPerform(operation)) return false;
  return operation.op !== 'bpf' || (!UNSTABLE.has(operation.cmd) && !hasStrayPointer(operation) && !isHuge(operation));
}

/** The operations of a transcript; `undefined` where two kernels could not be expected to agree. */
export function comparableOperations(transcript: string): readonly Operation[] | undefined {
  const operations = operationsOf(transcript);
  return operations.length > 0 && operations.every(isComparable) ? operations : undefined;
}

/** Thrown through a system call: what the case does cannot be compared. */
class Incomparable extends Error {}

/** How our kernel differs from case to case. */
interface Here {
  /** What the real kernel can verify. */
  readonly algorithms?: KernelAlgorithms;
  /** Memory lies elsewhere, and stacks hold something: for what depends on that, two kernels do not agree. */
  readonly isElsewhere?: boolean;
}

/** What our kernel answers; `undefined` where it verifies for long, or where a program passes addresses to `bpf()` that are none. */
export function performHere(operations: readonly Operation[], { algorithms = RECORDED_ALGORITHMS, isElsewhere = false }: Here = {}): readonly Got[] | undefined {
  const target = new KernelTarget({ kernelBTF: () => loadKernelBTF(), algorithms, observer: ({ fromProgram, result }) => {
    // Linux believes its own addresses: it dies of wrong ones.
    if (fromProgram && result === -EFAULT) throw new Incomparable();
  } });
  const { kernel } = target;
  const performer = new Performer(target);
  const stack = isElsewhere ? moveMemory(kernel, performer) : undefined;
  let left = MOST_VISITS;
  kernel.state.stateObserver = { everyPath: false, visit: (): void => {
    if (--left < 0) throw new Incomparable();
  } };
  // The agent begins with a session keyring of its own.
  kernel.keyrings.joinSession(undefined);
  try {
    return operations.map((operation) => {
      if (stack !== undefined) kernel.memory.u8.fill(RUBBISH, stack.offset, stack.offset + stack.size);
      return performer.perform(operation);
    });
  } catch (error) {
    if (error instanceof Incomparable) return undefined;
    throw error;
  } finally {
    performer.reset();
    performer.release();
  }
}

/** Takes memory of users and of the kernel, and gives the machine its stack: where that is. */
function moveMemory(kernel: Kernel, performer: Performer): Allocation | undefined {
  kernel.allocUser(SHIFT);
  kernel.memory.alloc(SHIFT, 'elsewhere', 8);
  performer.perform(makeCall('PROG_LOAD', { prog_type: U.BPF_PROG_TYPE_RAW_TRACEPOINT, insns: NOTHING, insn_cnt: 2, license: Uint8Array.of(0) }, { save: 0 }));
  performer.perform(makeCall('PROG_TEST_RUN', {}, { fds: { prog_fd: 0 } }));
  performer.reset();
  return kernel.memory.live().find(({ label }) => label === STACK_LABEL);
}

/** True where a program of the case calls a helper that no two kernels answer alike. */
function isUnrepeatable(operations: readonly Operation[]): boolean {
  return operations.some((operation) => operation.op === 'bpf' && operation.inputs.some(({ bytes }) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + 8 <= bytes.length; at += 8) {
      if (view.getUint16(at, true) === (U.BPF_JMP | U.BPF_CALL) && UNREPEATABLE.has(view.getInt32(at + 4, true))) return true;
    }
    return false;
  }));
}

/** What our kernel answers, without return values that depend on addresses, the moment or the process. */
export function comparableAnswers(operations: readonly Operation[], algorithms: KernelAlgorithms = RECORDED_ALGORITHMS): readonly Got[] | undefined {
  const answers = performHere(operations, { algorithms });
  const shifted = answers?.some(({ retval }) => retval !== undefined) === true ? performHere(operations, { algorithms, isElsewhere: true }) : answers;
  const isMoving = isUnrepeatable(operations);
  return answers?.map((got, i) => (isMoving || got.retval !== shifted?.[i]?.retval ? { ...got, retval: undefined } : got));
}

/** How far beyond a buffer a process can read is its own affair. */
function isLayout({ op }: Operation, { field, got, want }: Difference): boolean {
  return op === 'bpf' && field === 'errno' && (got === EFAULT || want === EFAULT);
}

/** The first operation on which two kernels disagree in what must agree. */
export function firstDifference(operations: readonly Operation[], ours: readonly Got[], theirs: readonly Got[]): { readonly index: number; readonly difference: Difference } | undefined {
  for (const [index, operation] of operations.entries()) {
    const want = theirs[index], got = ours[index];
    if (want === undefined || got === undefined) continue;
    const known = got.retval === undefined ? { ...want, retval: undefined } : want;
    const differences = compareAnswers({ ...operation, want: known }, got).filter(({ field }) => FIELDS.has(field));
    // What comes after may follow from it.
    if (differences.some((difference) => isLayout(operation, difference))) return undefined;
    if (differences[0] !== undefined) return { index, difference: differences[0] };
  }
  return undefined;
}

function inWords(field: Field, value: string | number): string {
  return field === 'errno' ? errnoName(Number(value)) : String(value);
}

/** Compares inputs of a target with a real kernel. */
export class ReferenceKernel {
  readonly #target: Target;
  readonly #kernel: RealKernel;
  #algorithms: KernelAlgorithms | undefined;

  constructor(target: Target, kernel: RealKernel) {
    this.#target = target;
    this.#kernel = kernel;
  }

  /** Findings among inputs; those that cannot be compared are passed over. */
  async compare(inputs: readonly Uint8Array[]): Promise<readonly FoundInput[]> {
    const candidates = inputs.flatMap((bytes) => {
      const transcript = this.#target.toTranscript(this.#target.deserialise(bytes));
      const operations = transcript === undefined ? undefined : comparableOperations(transcript);
      return operations === undefined ? [] : [{ bytes, operations }];
    });
    const algorithms = candidates.some(({ operations }) => operations.some(({ op }) => op === 'key')) ? await this.#askAlgorithms() : RECORDED_ALGORITHMS;
    const cases = candidates.flatMap(({ bytes, operations }) => {
      const ours = comparableAnswers(operations, algorithms);
      return ours === undefined ? [] : [{ bytes, operations, ours }];
    });
    if (cases.length === 0) return [];
    const answers = await this.#kernel.perform(cases.map(({ operations }) => operations));
    const { lastWords } = this.#kernel;
    const fatal = lastWords === undefined ? -1 : cases.findIndex(({ operations }, i) => (answers[i]?.length ?? 0) < operations.length);
    return cases.flatMap(({ bytes, operations, ours }, i): FoundInput[] => {
      if (i === fatal) {
        const operation = operations[answers[i]?.length ?? 0], name = operation?.op === 'bpf' ? operation.name : operation?.op ?? '';
        return [{ oracle: 'kernel', trace: `the real kernel died in ${name}`, bytes, run: -1, answers: answers[i] ?? [], message: `the real kernel died in operation ${answers[i]?.length} (${name}): ${lastWords}` }];
      }
      const found = firstDifference(operations, ours, answers[i] ?? []);
      if (found === undefined) return [];
      const { index, difference: { field, got, want } } = found;
      const operation = operations[index];
      const name = operation?.op === 'bpf' ? operation.name : operation?.op ?? '';
      const numbers = field === 'errno' || field === 'ret' ? `, ${inWords(field, got)} for ${inWords(field, want)}` : '';
      return [{
        oracle: 'kernel', trace: `${name} ${field}${numbers}`, bytes, run: -1, answers: answers[i] ?? [],
        message: `operation ${index} (${name}): ${field} is ${inWords(field, got)} here and ${inWords(field, want)} there`,
      }];
    });
  }

  /** What the real kernel can verify: it takes a certificate with an elliptic curve, or has no such algorithm. */
  async #askAlgorithms(): Promise<KernelAlgorithms> {
    if (this.#algorithms === undefined) {
      const [answers] = await this.#kernel.perform([[{ op: 'key', name: 'curve', der: createSigner('curve').certificate, want: NO_ANSWER }]]);
      this.#algorithms = (answers?.[0]?.errno ?? 0) === 0 ? DISTRIBUTION_ALGORITHMS : RECORDED_ALGORITHMS;
    }
    return this.#algorithms;
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

/** The kernel under this process. */
class HostKernel implements RealKernel {
  readonly #target: SystemCallTarget;

  constructor(target: SystemCallTarget) {
    this.#target = target;
  }

  async perform(cases: readonly (readonly Operation[])[]): Promise<readonly (readonly Got[])[]> {
    return cases.map((operations) => {
      const performer = new Performer(this.#target);
      try {
        return operations.map((operation) => performer.perform(operation));
      } finally {
        performer.reset();
        performer.release();
      }
    });
  }
}

/** True where the kernel lets this process use `bpf(2)` as root would: an empty call is refused for its contents, not for who asks. */
function mayUseBPF(target: SystemCallTarget): boolean {
  const attr = target.allocUser(256);
  const answer = target.bpf(U.BPF_PROG_LOAD, attr, 256);
  target.freeUser(attr);
  return answer !== -EPERM && answer < 0;
}

/**
 * Opens a real kernel: an image in QEMU where one is given, else the one under this process.
 * @throws InputError where neither can be had
 */
export async function openRealKernel(kernelImage: string | undefined): Promise<RealKernel> {
  if (kernelImage !== undefined) return new KernelMachine(kernelImage);
  const target = new SystemCallTarget(await loadNativeCalls());
  if (!mayUseBPF(target)) throw new InputError('bpf(2)', '', 'this process may not use it (CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN are needed): give --kernel-image');
  return new HostKernel(target);
}

/**
 * The oracle for a fuzzing target.
 * @throws InputError where there is no real kernel to ask, or nothing to ask it
 * @example
 * const reference = await openReferenceKernel('bytecode', 'bzImage');
 * await reference.compare(inputs);
 */
export async function openReferenceKernel(targetName: string, kernelImage: string | undefined): Promise<ReferenceKernel> {
  if (targetName === 'engines') throw new InputError('--oracle kernel', '', 'the target engines has nothing to ask a kernel: no kernel runs programs that it did not verify');
  if (targetName === 'loader' && kernelImage === undefined) {
    throw new InputError('--oracle kernel', '', 'changed loaders hand the kernel wrong addresses of its own, which it believes: give --kernel-image');
  }
  const kernel = await openRealKernel(kernelImage);
  return new ReferenceKernel((await loadTarget(targetName))(createTargetEnvironment(new Coverage())), kernel);
}
