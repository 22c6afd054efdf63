/**
 * @module kernel/syscall/prog-load
 * `BPF_PROG_LOAD`: rules on the attributes in the kernel's order, the load handed to the verifier, what happens with its verdict.
 * Owns everything around `bpf_check`; admission and verification are the verifier room's. Reproduces `bpf_prog_load` and its
 * helpers of kernel/bpf/syscall.c.
 */
import { type Field, PROG_LOAD_ATTR as A } from '../../isa/attr.ts';
import { E2BIG, EBADF, EFAULT, EINVAL, ENOTSUPP, EOPNOTSUPP, EPERM } from '../../isa/errno.ts';
import { within, type Phases } from '../../isa/phases.ts';
import { POOLED_BYTES, pooledBytes } from '../../isa/pool.ts';
import * as U from '../../isa/uapi.ts';
import * as F from '../flags.ts';
import type {
  Admission, BTFDescriptor, MapDescriptor, ProgramDescriptor, ProgramLoad, ResolvedKeyring, StateObserver, Verdict, UserArray, VerifierEnvironment,
} from '../../verifier/types.ts';
import { verify } from '../../verifier/verify.ts';
import { CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN } from '../api.ts';
import { isProgramCompatible, ProgArrayMap } from '../maps/fd-array.ts';
import { BPFMap } from '../maps/map.ts';
import { InsnArrayMap } from '../maps/special.ts';
import { advance, type BPFPtr, isNull, type KernelMemory } from '../memory.ts';
import { BTFObject } from '../objects.ts';
import { BPFProgram } from '../program.ts';
import type { KernelState } from '../state.ts';
import { checkAttach, isNetAdminType, isPerfmonType, isTracingMulti } from './attach-types.ts';
import type { Call } from './call.ts';
import { specOf } from './elements.ts';
import { isGPLCompatible } from './license.ts';
import { deliverLog, type LogFields, type LogTarget, logTarget } from './log.ts';
import { objectName, tokenByFD } from './map-create.ts';

const PROGRAM_FLAGS = F.BPF_F_STRICT_ALIGNMENT | F.BPF_F_ANY_ALIGNMENT | F.BPF_F_TEST_STATE_FREQ | F.BPF_F_SLEEPABLE
  | F.BPF_F_TEST_RND_HI32 | F.BPF_F_XDP_HAS_FRAGS | F.BPF_F_XDP_DEV_BOUND_ONLY | F.BPF_F_TEST_REG_INVARIANTS | U.BPF_F_TOKEN_FD;
const COMPLEXITY_LIMIT = 1_000_000;
const LICENSE_SIZE = 128;
const LOOPBACK = 1;

type FDArray = ProgramLoad['fdArray'];

const LOG_FIELDS: LogFields = { level: A.log_level, size: A.log_size, buffer: A.log_buf, trueSize: A.log_true_size };

/** Fields of the attribute block after the rules that need no object. */
interface Target {
  readonly attachBTF: BTFObject | undefined;
  readonly attachProgram: BPFProgram | undefined;
}

export function loadProgram(call: Call): number {
  const log = logTarget(call, LOG_FIELDS);
  if (typeof log === 'number') return log;
  const early = checkFields(call);
  if (early !== 0) return early;
  const target = resolveTarget(call);
  if (typeof target === 'number') return target;
  const type = call.u32(A.prog_type);
  const attachType = fixedAttachType(type, call.u32(A.expected_attach_type));
  if (!checkAttach(type, attachType, target.attachBTF !== undefined, call.u32(A.attach_btf_id), target.attachProgram !== undefined)) {
    return drop(target, -EINVAL);
  }
  let program: BPFProgram | number;
  try {
    program = allocateProgram(call, type, attachType, target);
  } catch (error) {
    drop(target, 0);
    throw error;
  }
  if (typeof program === 'number') return drop(target, program);
  return verifyAndPublish(call, program, log);
}

/** Ends a load that has no program yet. */
function drop({ attachBTF, attachProgram }: Target, error: number): number {
  attachBTF?.put();
  attachProgram?.put();
  return error;
}

/** `bpf_prog_load_fixup_attach_type` */
function fixedAttachType(type: number, attachType: number): number {
  if (attachType !== 0) return attachType;
  if (type === U.BPF_PROG_TYPE_CGROUP_SOCK) return U.BPF_CGROUP_INET_SOCK_CREATE;
  return type === U.BPF_PROG_TYPE_SK_REUSEPORT ? U.BPF_SK_REUSEPORT_SELECT : attachType;
}

/** Flags, token, privileges, number of instructions. */
function checkFields(call: Call): number {
  const { kernel } = call;
  if (!call.hasCleanTail(specOf(U.BPF_PROG_LOAD))) return -EINVAL;
  const flags = call.u32(A.prog_flags);
  if ((flags & ~PROGRAM_FLAGS) !== 0) return -EINVAL;
  if ((flags & U.BPF_F_TOKEN_FD) !== 0) {
    const token = tokenByFD(kernel, call.fd(A.prog_token_fd));
    if (token < 0) return token;
  }
  const isCapable = kernel.capable(CAP_BPF);
  if (kernel.unprivilegedBPFDisabled !== 0 && !isCapable) return -EPERM;
  const count = call.u32(A.insn_cnt);
  if (count === 0 || count > (isCapable ? COMPLEXITY_LIMIT : U.BPF_MAXINSNS)) return -E2BIG;
  const type = call.u32(A.prog_type);
  if (type !== U.BPF_PROG_TYPE_SOCKET_FILTER && type !== U.BPF_PROG_TYPE_CGROUP_SKB && !isCapable) return -EPERM;
  if (isNetAdminType(type) && !kernel.capable(CAP_NET_ADMIN)) return -EPERM;
  return isPerfmonType(type) && !kernel.capable(CAP_PERFMON) ? -EPERM : 0;
}

/** What the program attaches to, with references; or `-errno`. */
function resolveTarget(call: Call): Target | number {
  const { kernel } = call;
  const fd = call.u32(A.attach_prog_fd);
  const isMulti = isTracingMulti(call.u32(A.expected_attach_type));
  if (fd !== 0) {
    const program = kernel.programByFD(fd | 0);
    if (typeof program !== 'number') {
      program.get();
      return { attachBTF: undefined, attachProgram: program };
    }
    const btf = kernel.btfByFD(fd | 0);
    if (typeof btf === 'number') return -EINVAL;
    if (!btf.isKernel) return -ENOTSUPP;
    return { attachBTF: btf.get(), attachProgram: undefined };
  }
  if (call.u32(A.attach_btf_id) === 0 && !isMulti) return { attachBTF: undefined, attachProgram: undefined };
  const btf = kernel.kernelBTFDescriptor();
  if (btf === undefined) return -EINVAL;
  return { attachBTF: btf.get(), attachProgram: undefined };
}

function allocateProgram(call: Call, type: number, attachType: number, target: Target): BPFProgram | number {
  const { kernel } = call;
  const { memory } = kernel;
  const flags = call.u32(A.prog_flags);
  const instructions = copyInstructions(call);
  if (instructions === undefined) return -EFAULT;
  const license = memory.readLatin1(call.callerPointer(A.license), LICENSE_SIZE - 1);
  if (license === undefined) return -EFAULT;
  const ifindex = call.u32(A.prog_ifindex);
  if (ifindex !== 0) {
    const error = checkDevice(call, type);
    if (error !== 0) return error;
  }
  if (type === 0 || type >= U.__MAX_BPF_PROG_TYPE) return -EINVAL;
  const loadTime = kernel.sources.now();
  const name = objectName(call, A.prog_name);
  if (name === undefined) return -EINVAL;
  return new BPFProgram(memory, {
    name, type, expectedAttachType: attachType, flags, license, gplCompatible: isGPLCompatible(license),
    sleepable: (flags & F.BPF_F_SLEEPABLE) !== 0, attachBTFID: attachTypeID(call, attachType), instructions, loadTime, userID: 0,
    xdpHasFrags: (flags & F.BPF_F_XDP_HAS_FRAGS) !== 0, isDeviceBound: ifindex !== 0,
  }, target.attachBTF, target.attachProgram, kernel);
}

/** The program's own copy; `undefined` on a fault, before which a long one is not made. */
function copyInstructions(call: Call): Uint8Array | undefined {
  const { memory } = call.kernel;
  const pointer = call.callerPointer(A.insns), length = call.u32(A.insn_cnt) * 8;
  if (length > POOLED_BYTES) return memory.copyFrom(pointer, length);
  const bytes = pooledBytes(length);
  return memory.copyToBytes(bytes, pointer, length) ? bytes : undefined;
}

/** A program for many functions stands for a placeholder of the kernel's. */
function attachTypeID(call: Call, attachType: number): number {
  if (!isTracingMulti(attachType)) return call.u32(A.attach_btf_id);
  return call.kernel.kernelBTF()?.findByNameKind('bpf_multi_func', U.BTF_KIND_FUNC) ?? 0;
}

/** `bpf_prog_dev_bound_init`: the instance has only a loopback device, which offloads nothing. */
function checkDevice(call: Call, type: number): number {
  if (type !== U.BPF_PROG_TYPE_SCHED_CLS && type !== U.BPF_PROG_TYPE_XDP) return -EINVAL;
  const flags = call.u32(A.prog_flags);
  if ((flags & ~(F.BPF_F_XDP_DEV_BOUND_ONLY | F.BPF_F_XDP_HAS_FRAGS)) !== 0) return -EINVAL;
  const isBoundOnly = (flags & F.BPF_F_XDP_DEV_BOUND_ONLY) !== 0;
  if ((flags & F.BPF_F_XDP_HAS_FRAGS) !== 0 && !isBoundOnly) return -EINVAL;
  if (type === U.BPF_PROG_TYPE_SCHED_CLS && isBoundOnly) return -EINVAL;
  return call.u32(A.prog_ifindex) === LOOPBACK ? -EOPNOTSUPP : -EINVAL;
}

function verifyAndPublish(call: Call, program: BPFProgram, log: LogTarget): number {
  const { kernel } = call;
  const environment = new Environment(call, program);
  const verdict = verifyOrFree(call, program, log, environment);
  program.setAdmission(verdict.admission);
  const { phases } = kernel;
  if (phases === undefined) return publish(call, program, verdict, deliver(call, log, verdict) || -verdict.errno);
  const logError = within(phases, 'log', () => deliver(call, log, verdict));
  return within(phases, 'install', () => publish(call, program, verdict, logError || -verdict.errno));
}

function deliver(call: Call, log: LogTarget, verdict: Verdict): number {
  return deliverLog(call, log, verdict.log, verdict.logTrueSize, 0);
}

/** Gives an accepted program its references, id and descriptor; frees a refused one. `>= 0` or `-errno`. */
function publish(call: Call, program: BPFProgram, verdict: Verdict, outcome: number): number {
  const { kernel } = call;
  let error = outcome;
  const verified = verdict.program;
  if (error === 0 && verified !== undefined) {
    program.setVerified(verified);
    error = holdReferences(program, verified.usedMaps, verified.usedBTFs, verified.btf);
    copyDebugInfo(call, program);
  }
  if (error === 0) {
    const id = kernel.programs.allocate(program);
    if (id < 0) error = id;
    else program.setID(id);
  }
  if (error !== 0) {
    program.references = 0;
    kernel.freeProgram(program);
    return error;
  }
  const fd = kernel.newProgramFD(program);
  if (fd < 0) program.put();
  return fd;
}

/** A verification that does not end (no memory, a defect) must not leave the program behind. */
function verifyOrFree(call: Call, program: BPFProgram, log: LogTarget, environment: Environment): Verdict {
  try {
    return verify(loadOf(call, program, log), environment);
  } catch (error) {
    program.references = 0;
    call.kernel.freeProgram(program);
    throw error;
  }
}

/** References on maps and BTF for as long as the program lives; `-EINVAL` where a program array belongs to another kind of program. */
function holdReferences(
  program: BPFProgram, maps: readonly MapDescriptor[], btfs: readonly BTFDescriptor[], btf: BTFDescriptor | undefined,
): number {
  for (const map of maps) {
    if (!(map instanceof BPFMap)) continue;
    map.references++;
    if (program.sleepable) map.sleepableReferences++;
    program.usedMaps.push(map);
  }
  for (const used of btfs) if (used instanceof BTFObject) program.usedBTFs.push(used.get());
  if (btf instanceof BTFObject) program.btfObject = btf.get();
  for (const map of program.usedMaps) {
    if (map instanceof ProgArrayMap && !isProgramCompatible(map, program, true)) return -EINVAL;
    if (!(map instanceof InsnArrayMap)) continue;
    map.isUsed = true;
    const { verified } = program;
    map.link((original) => verified?.xlated.position[original] ?? -1, (original) => verified?.machineIndex?.[original] ?? original);
  }
  return 0;
}

/** What `BPF_OBJ_GET_INFO_BY_FD` shows of function and line information. */
function copyDebugInfo(call: Call, program: BPFProgram): void {
  if (program.btfObject === undefined) return;
  const read = (pointer: BPFPtr, count: number, record: number, size: number): Uint8Array => {
    const all = call.kernel.memory.copyFrom(pointer, count * record);
    const out = new Uint8Array(all === undefined ? 0 : count * size);
    if (all === undefined) return out;
    for (let i = 0; i < count; i++) out.set(all.subarray(i * record, i * record + Math.min(size, record)), i * size);
    return out;
  };
  program.funcInfo = read(call.callerPointer(A.func_info), call.u32(A.func_info_cnt), call.u32(A.func_info_rec_size), 8);
  program.lineInfo = read(call.callerPointer(A.line_info), call.u32(A.line_info_cnt), call.u32(A.line_info_rec_size), 16);
}

/** Records in user memory. */
class Records implements UserArray {
  readonly count: number;
  readonly recordSize: number;
  readonly isNull: boolean;
  private readonly memory: KernelMemory;
  private readonly pointer: BPFPtr;

  constructor(memory: KernelMemory, pointer: BPFPtr, count: number, recordSize: number) {
    this.memory = memory;
    this.pointer = pointer;
    this.count = count;
    this.recordSize = recordSize;
    this.isNull = isNull(pointer);
  }

  read(offset: number, length: number): Uint8Array | undefined {
    return this.memory.copyFrom(advance(this.pointer, offset), length);
  }
}

/** `fd_array`. */
class Descriptors implements FDArray {
  readonly present: boolean;
  readonly count: number;
  private readonly memory: KernelMemory;
  private readonly pointer: BPFPtr;

  constructor(memory: KernelMemory, pointer: BPFPtr, count: number) {
    this.memory = memory;
    this.pointer = pointer;
    this.present = !isNull(pointer);
    this.count = count;
  }

  read(index: number): number | undefined {
    const bytes = this.memory.copyFrom(advance(this.pointer, index * 4), 4);
    return bytes === undefined ? undefined : new DataView(bytes.buffer).getInt32(0, true);
  }
}

function records(call: Call, pointer: Field, count: Field, recordSize: Field): UserArray {
  return new Records(call.kernel.memory, call.callerPointer(pointer), call.u32(count), call.u32(recordSize));
}

function loadOf(call: Call, program: BPFProgram, log: LogTarget): ProgramLoad {
  const { kernel } = call;
  const { memory } = kernel;
  const signature = call.callerPointer(A.signature);
  const signatureSize = call.u32(A.signature_size);
  return {
    type: program.type, expectedAttachType: program.expectedAttachType, flags: program.flags, name: program.name, license: program.license,
    gplCompatible: program.gplCompatible, kernelVersion: call.u32(A.kern_version), ifindex: call.u32(A.prog_ifindex),
    instructions: program.instructions, attachBTFID: program.attachBTFID, attachBTF: program.attachBTF, attachProgram: program.attachProgram,
    btfFD: call.u32(A.prog_btf_fd),
    funcInfo: records(call, A.func_info, A.func_info_cnt, A.func_info_rec_size),
    lineInfo: records(call, A.line_info, A.line_info_cnt, A.line_info_rec_size),
    coreRelos: records(call, A.core_relos, A.core_relo_cnt, A.core_relo_rec_size),
    fdArray: new Descriptors(memory, call.callerPointer(A.fd_array), call.u32(A.fd_array_cnt)),
    signature: isNull(signature)
      ? undefined
      : { size: signatureSize, keyringID: call.attr.getInt32(A.keyring_id.offset, true), read: () => memory.copyFrom(signature, signatureSize) },
    log: { level: log.level, size: log.size, present: log.buffer !== undefined },
    capabilities: {
      bpf: kernel.capable(CAP_BPF), perfmon: kernel.capable(CAP_PERFMON), netAdmin: kernel.capable(CAP_NET_ADMIN),
      sysAdmin: kernel.hasCapability(CAP_SYS_ADMIN),
    },
  };
}

/** What the verifier may ask of this kernel. */
class Environment implements VerifierEnvironment {
  private readonly kernel: KernelState;
  private readonly call: Call;
  private readonly program: BPFProgram;
  readonly profile: string;
  readonly cpuCount: number;
  readonly observer: StateObserver | undefined;
  readonly phases: Phases | undefined;

  constructor(call: Call, program: BPFProgram) {
    this.kernel = call.kernel;
    this.call = call;
    this.program = program;
    this.profile = call.kernel.profile;
    this.cpuCount = call.kernel.cpus;
    this.observer = call.kernel.stateObserver;
    this.phases = call.kernel.phases;
  }

  resolveFD(fd: number): MapDescriptor | BTFDescriptor | ProgramDescriptor | number {
    const file = this.kernel.files.get(fd);
    if (file === undefined) return -EBADF;
    const { target } = file;
    return target.kind === 'map' || target.kind === 'btf' || target.kind === 'prog' ? target : -EINVAL;
  }

  kernelBTF(): BTFDescriptor | undefined {
    return this.kernel.kernelBTFDescriptor();
  }

  kernelSymbol(name: string): readonly [lo: number, hi: number] | undefined {
    return this.kernel.symbols.lookup(name);
  }

  verifySignature(data: readonly Uint8Array[], signature: Uint8Array, keyring: ResolvedKeyring): number {
    return this.kernel.keyrings.verifySignature(data, signature, keyring);
  }

  resolveKeyring(id: number): ResolvedKeyring | undefined {
    return this.kernel.keyrings.resolveKeyring(id);
  }

  onProgramLoad(admission: Admission): number {
    this.program.setAdmission(admission);
    return this.kernel.hookProgramLoad(this.program, this.call.bytes, this.call.isFromProgram, admission);
  }

  random(): number {
    return this.kernel.random();
  }

  now(): number {
    return Math.floor(this.kernel.sources.now() / 1000);
  }
}
