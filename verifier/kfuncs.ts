/**
 * @module verifier/kfuncs
 * Kernel functions as a program may call them: which exist for its type, their prototypes from BTF, and what each argument must
 * be by its type and the suffix of its name. Reproduces `bpf_add_kfunc_call`, `fetch_kfunc_meta`, `gen_kfunc_arg_proto` and
 * `get_kfunc_arg_type` of kernel/bpf/verifier.c, `btf_kfunc_flags`, `btf_kfunc_is_allowed` and `btf_distill_func_proto` of
 * kernel/bpf/btf.c. Does not check registers against all this (kfunc_args.ts).
 */
import { type BTF, BTF_KIND_NAMES } from '../btf/btf.ts';
import { E2BIG, EACCES, EINVAL, ENOENT, ENOTSUPP, EPROTO, EFAULT } from '../isa/errno.ts';
import {
  BPF_PROG_TYPE_CGROUP_DEVICE, BPF_PROG_TYPE_CGROUP_SKB, BPF_PROG_TYPE_CGROUP_SOCK, BPF_PROG_TYPE_CGROUP_SOCKOPT,
  BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_PROG_TYPE_CGROUP_SYSCTL, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_LWT_IN,
  BPF_PROG_TYPE_LWT_OUT, BPF_PROG_TYPE_LWT_SEG6LOCAL, BPF_PROG_TYPE_LWT_XMIT, BPF_PROG_TYPE_NETFILTER, BPF_PROG_TYPE_PERF_EVENT,
  BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_SCHED_ACT, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SK_SKB, BPF_PROG_TYPE_SOCKET_FILTER,
  BPF_PROG_TYPE_SOCK_OPS, BPF_PROG_TYPE_STRUCT_OPS, BPF_PROG_TYPE_SYSCALL, BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_TRACING,
  BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_XDP, BPF_TRACE_FSESSION, BPF_TRACE_FSESSION_MULTI, BPF_TRACE_ITER, BPF_TRACE_KPROBE_SESSION, BPF_TRACE_UPROBE_SESSION,
  BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT,
  BTF_KIND_UNION,
} from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import {
  KF_IMPLICIT_ARGS, KF_ITER_DESTROY, KF_ITER_NEW, KF_ITER_NEXT, KFUNC_SETS, type KfuncFilter, type KfuncHook,
} from './kfunc_sets.ts';
import { isProgCtxType } from './prog_ctx_type.ts';
import { MAX_BPF_FUNC_ARGS, MEM_FIXED_SIZE, PTR_MAYBE_NULL } from './regtypes.ts';
import type { BTFDescriptor } from './types.ts';

export {
  KF_ACQUIRE, KF_ARENA_ARG1, KF_ARENA_ARG2, KF_ARENA_RET, KF_DESTRUCTIVE, KF_FASTCALL, KF_IMPLICIT_ARGS, KF_ITER_DESTROY, KF_ITER_NEW,
  KF_ITER_NEXT, KF_PERFMON, KF_RCU, KF_RCU_PROTECTED, KF_RELEASE, KF_RET_NULL, KF_SLEEPABLE, KF_SPINLOCK_SAFE,
} from './kfunc_sets.ts';

// enum kfunc_ptr_arg_type; flags of regtypes.ts come on top.
export const KF_ARG_CONST_MEM_SIZE = 0;
export const KF_ARG_MEM_SIZE = 1;
export const KF_ARG_CONST = 2;
export const KF_ARG_CONST_ALLOC_SIZE_OR_ZERO = 3;
export const KF_ARG_ANYTHING = 4;
export const KF_ARG_PTR_TO_CTX = 5;
export const KF_ARG_PTR_TO_ALLOC_BTF_ID = 6;
export const KF_ARG_PTR_TO_REFCOUNTED_KPTR = 7;
export const KF_ARG_PTR_TO_DYNPTR = 8;
export const KF_ARG_PTR_TO_ITER = 9;
export const KF_ARG_PTR_TO_LIST_HEAD = 10;
export const KF_ARG_PTR_TO_LIST_NODE = 11;
export const KF_ARG_PTR_TO_BTF_ID = 12;
export const KF_ARG_PTR_TO_MEM = 13;
export const KF_ARG_PTR_TO_CALLBACK = 14;
export const KF_ARG_PTR_TO_RB_ROOT = 15;
export const KF_ARG_PTR_TO_RB_NODE = 16;
export const KF_ARG_PTR_TO_CONST_STR = 17;
export const KF_ARG_CONST_MAP_PTR = 18;
export const KF_ARG_PTR_TO_TIMER = 19;
export const KF_ARG_PTR_TO_WORKQUEUE = 20;
export const KF_ARG_PTR_TO_IRQ_FLAG = 21;
export const KF_ARG_PTR_TO_RES_SPIN_LOCK = 22;
export const KF_ARG_PTR_TO_TASK_WORK = 23;
export const KF_ARG_PTR_TO_ARENA = 24;

const MAX_KFUNC_DESCS = 256;
const MAX_KFUNC_BTFS = 256;
const MAX_REGISTER_ARGS = 5;

/** A parameter of a kernel function. */
export interface KfuncParam {
  readonly name: string;
  readonly typeID: number;
}

/** A kernel function in the eyes of one program (`struct bpf_kfunc_meta`, `bpf_call_arg_meta`). */
export interface KfuncMeta {
  readonly btf: BTF;
  /** Index in `env.btfTable`. */
  readonly btfIndex: number;
  readonly funcID: number;
  readonly name: string;
  /** `KF_*`; -1 where the function is in no set of the program's hooks. */
  readonly flags: number;
  /** The prototype with implicit arguments. */
  readonly protoID: number;
  readonly params: readonly KfuncParam[];
  /** Arguments that the program passes; those from here on are implicit. */
  readonly explicitCount: number;
  /** The declared type of the result, modifiers included; 0 for void. */
  readonly returnTypeID: number;
  readonly returnsVoid: boolean;
}

/** A kernel function that the program calls, with the kinds of its arguments (`struct bpf_kfunc_desc`). */
export interface KfuncDesc {
  readonly meta: KfuncMeta;
  readonly offset: number;
  /** `KF_ARG_*` with flags; arguments that the verifier supplies or ignores hold 0. */
  readonly argTypes: Int32Array;
}

interface KfuncState {
  hasTable: boolean;
  readonly metas: Map<string, KfuncMeta>;
  readonly descs: Map<string, KfuncDesc>;
}

const states = new WeakMap<VerifierEnv, KfuncState>();

function stateOf(env: VerifierEnv): KfuncState {
  let state = states.get(env);
  if (state === undefined) {
    state = { hasTable: false, metas: new Map(), descs: new Map() };
    states.set(env, state);
  }
  return state;
}

// ---------------------------------------------------------------- sets, hooks, filters

const flagsByHook = new Map<KfuncHook, Map<string, number>>();
for (const set of KFUNC_SETS) {
  for (const hook of set.hooks) {
    const flags = flagsByHook.get(hook) ?? new Map<string, number>();
    for (const [name, bits] of set.kfuncs) if (!flags.has(name)) flags.set(name, bits);
    flagsByHook.set(hook, flags);
  }
}
const filteredSets = KFUNC_SETS.filter((set) => set.filter !== undefined)
  .map((set) => ({ hooks: set.hooks, filter: set.filter as KfuncFilter, names: new Set(set.kfuncs.map(([name]) => name)) }));

/** The hook of a program type, `undefined` for types without kernel functions of their own (`bpf_prog_type_to_kfunc_hook`). */
export function kfuncHookOf(progType: number): KfuncHook | undefined {
  switch (progType) {
    case BPF_PROG_TYPE_UNSPEC: return 'common';
    case BPF_PROG_TYPE_XDP: return 'xdp';
    case BPF_PROG_TYPE_SCHED_CLS: return 'tc';
    case BPF_PROG_TYPE_STRUCT_OPS: return 'structOps';
    case BPF_PROG_TYPE_TRACING: case BPF_PROG_TYPE_TRACEPOINT: case BPF_PROG_TYPE_RAW_TRACEPOINT: case BPF_PROG_TYPE_PERF_EVENT:
    case BPF_PROG_TYPE_LSM:
      return 'tracing';
    case BPF_PROG_TYPE_SYSCALL: return 'syscall';
    case BPF_PROG_TYPE_CGROUP_SKB: case BPF_PROG_TYPE_CGROUP_SOCK: case BPF_PROG_TYPE_CGROUP_DEVICE: case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
    case BPF_PROG_TYPE_CGROUP_SOCKOPT: case BPF_PROG_TYPE_CGROUP_SYSCTL: case BPF_PROG_TYPE_SOCK_OPS:
      return 'cgroup';
    case BPF_PROG_TYPE_SCHED_ACT: return 'schedAct';
    case BPF_PROG_TYPE_SK_SKB: return 'skSkb';
    case BPF_PROG_TYPE_SOCKET_FILTER: return 'socketFilter';
    case BPF_PROG_TYPE_LWT_OUT: case BPF_PROG_TYPE_LWT_IN: case BPF_PROG_TYPE_LWT_XMIT: case BPF_PROG_TYPE_LWT_SEG6LOCAL:
      return 'lwt';
    case BPF_PROG_TYPE_NETFILTER: return 'netfilter';
    case BPF_PROG_TYPE_KPROBE: return 'kprobe';
    default: return undefined;
  }
}

/** Functions of the qdisc set by the operations that may call them. */
const QDISC_COMMON: ReadonlySet<string> = new Set(['bpf_skb_get_hash', 'bpf_kfree_skb', 'bpf_dynptr_from_skb']);
const QDISC_BY_OPERATION: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['enqueue', new Set(['bpf_qdisc_skb_drop', 'bpf_qdisc_watchdog_schedule'])],
  ['dequeue', new Set(['bpf_qdisc_watchdog_schedule', 'bpf_qdisc_bstats_update'])],
]);

/** The struct_ops type and member that a program implements. */
function structOpsOf(env: VerifierEnv): { readonly type: string; readonly member: string } {
  const kernel = env.ext.kernelBTF()?.btf;
  const id = env.load.attachBTFID;
  if (env.load.type !== BPF_PROG_TYPE_STRUCT_OPS || kernel === undefined || id === 0) return { type: '', member: '' };
  return { type: kernel.typeName(id), member: kernel.isStructOrUnion(id) ? kernel.memberName(id, env.load.expectedAttachType) : '' };
}

function isRefusedBy(filter: KfuncFilter, env: VerifierEnv, name: string): boolean {
  const { type, expectedAttachType } = env.load;
  switch (filter) {
    case 'fs': case 'fsverity':
      return type !== BPF_PROG_TYPE_LSM;
    case 'session': {
      const isKprobe = type === BPF_PROG_TYPE_KPROBE
        && (expectedAttachType === BPF_TRACE_KPROBE_SESSION || expectedAttachType === BPF_TRACE_UPROBE_SESSION);
      const isTracing = type === BPF_PROG_TYPE_TRACING
        && (expectedAttachType === BPF_TRACE_FSESSION || expectedAttachType === BPF_TRACE_FSESSION_MULTI);
      return !isKprobe && !isTracing;
    }
    case 'ksock': {
      if (type === BPF_PROG_TYPE_SYSCALL) return false;
      const sendmsg = env.ext.kernelBTF()?.btf.findByNameKind('bpf_lsm_socket_sendmsg', BTF_KIND_FUNC) ?? 0;
      return type !== BPF_PROG_TYPE_LSM || env.load.attachBTFID === sendmsg;
    }
    case 'tracingIter':
      return expectedAttachType !== BPF_TRACE_ITER;
    case 'qdisc': {
      const ops = structOpsOf(env);
      if (ops.type !== 'Qdisc_ops') return true;
      return !QDISC_COMMON.has(name) && QDISC_BY_OPERATION.get(ops.member)?.has(name) !== true;
    }
  }
}

function isAllowedAt(env: VerifierEnv, hook: KfuncHook, name: string): boolean {
  if (flagsByHook.get(hook)?.has(name) !== true) return false;
  return !filteredSets.some((set) => set.hooks.includes(hook) && set.names.has(name) && isRefusedBy(set.filter, env, name));
}

function kfuncNameOf(env: VerifierEnv, btfIndex: number, funcID: number): string | undefined {
  const descriptor = env.btfTable[btfIndex];
  if (descriptor === undefined || !descriptor.isKernel || descriptor.btf.kind(funcID) !== BTF_KIND_FUNC) return undefined;
  return descriptor.btf.typeName(funcID);
}

/** Flags of a kernel function for the program's type, -1 where it is in none of its sets (`btf_kfunc_flags`). */
export function kfuncFlags(env: VerifierEnv, btfIndex: number, funcID: number): number {
  const name = kfuncNameOf(env, btfIndex, funcID);
  if (name === undefined) return -1;
  const common = flagsByHook.get('common')?.get(name);
  if (common !== undefined) return common;
  const hook = kfuncHookOf(env.resolvedProgType);
  return hook === undefined ? -1 : (flagsByHook.get(hook)?.get(name) ?? -1);
}

/** True where sets and filters let the program call the function (`btf_kfunc_is_allowed`). */
export function isKfuncAllowed(env: VerifierEnv, btfIndex: number, funcID: number): boolean {
  const name = kfuncNameOf(env, btfIndex, funcID);
  if (name === undefined) return false;
  if (isAllowedAt(env, 'common', name)) return true;
  const hook = kfuncHookOf(env.resolvedProgType);
  return hook !== undefined && isAllowedAt(env, hook, name);
}

/** Flags of a function whose result programs may replace (`btf_kfunc_is_modify_return`), -1 for others. */
export function modifyReturnFlags(name: string): number {
  return flagsByHook.get('fmodret')?.get(name) ?? -1;
}

/** True for a kernel function that takes arguments which programs do not pass, whichever kind of program may call it. */
export function hasImplicitArguments(name: string): boolean {
  for (const flags of flagsByHook.values()) if (((flags.get(name) ?? 0) & KF_IMPLICIT_ARGS) !== 0) return true;
  return false;
}

// ---------------------------------------------------------------- special functions

const idsByName = new WeakMap<BTF, Map<string, number>>();

/** Id of a function in the kernel's own BTF, 0 where the kernel lacks it: for comparisons with known functions. */
export function specialKfunc(env: VerifierEnv, name: string): number {
  const kernel = env.ext.kernelBTF()?.btf;
  if (kernel === undefined) return 0;
  let ids = idsByName.get(kernel);
  if (ids === undefined) {
    ids = new Map();
    idsByName.set(kernel, ids);
  }
  let id = ids.get(name);
  if (id === undefined) {
    id = kernel.findByNameKind(name, BTF_KIND_FUNC);
    ids.set(name, id);
  }
  return id;
}

/** True where the function is one of these, in the kernel's own BTF. Ids are compared alone, as the kernel does. */
export function isSpecialKfunc(env: VerifierEnv, funcID: number, ...names: readonly string[]): boolean {
  return funcID !== 0 && names.some((name) => specialKfunc(env, name) === funcID);
}

// ---------------------------------------------------------------- prototypes

/** BTF of a call's `off`: the kernel's, or a module's from `fd_array`; `-errno`. */
function kfuncBTF(env: VerifierEnv, offset: number): BTFDescriptor | number {
  if (offset === 0) return env.ext.kernelBTF() ?? -ENOENT;
  if (offset < 0) {
    env.log.write('negative offset disallowed for kernel module function call\n');
    return -EINVAL;
  }
  const tables = (env.kfuncBTFs ??= new Map<number, BTFDescriptor>());
  const known = tables.get(offset);
  if (known !== undefined) return known;
  if (tables.size === MAX_KFUNC_BTFS) {
    env.log.write('too many different module BTFs\n');
    return -E2BIG;
  }
  const found = fdArrayBTF(env, offset);
  if (typeof found === 'number') return found;
  if (!found.isKernel || found.btf.base === undefined) {
    env.log.write('BTF fd for kfunc is not a module BTF\n');
    return -EINVAL;
  }
  tables.set(offset, found);
  return found;
}

function fdArrayBTF(env: VerifierEnv, index: number): BTFDescriptor | number {
  if (env.signed) {
    env.log.write('signed program cannot bind any BTF\n');
    return -EACCES;
  }
  if (env.fdArray !== undefined) {
    if (index >= env.fdArray.length) {
      env.log.write(`kfunc fd_idx ${index} out of bounds, fd_array_cnt ${env.fdArray.length}\n`);
      return -EINVAL;
    }
    const entry = env.fdArray[index];
    if (entry?.kind === 'btf') return entry;
    env.log.write(`kfunc fd_idx ${index} is not a module BTF\n`);
    return -EINVAL;
  }
  if (!env.load.fdArray.present) {
    env.log.write('kfunc offset > 0 without fd_array is invalid\n');
    return -EPROTO;
  }
  const fd = env.load.fdArray.read(index);
  if (fd === undefined) return -EFAULT;
  const object = env.ext.resolveFD(fd);
  if (typeof object !== 'number' && object.kind === 'btf') return object;
  env.log.write('invalid module BTF fd specified\n');
  return typeof object === 'number' ? object : -EINVAL;
}

/** A kernel function by id and `off`, whether or not the program may call it (`fetch_kfunc_meta`); `-errno` with a message. */
export function findKfunc(env: VerifierEnv, funcID: number, offset: number): KfuncMeta | number {
  const key = `${offset}:${funcID}`;
  const known = stateOf(env).metas.get(key);
  if (known !== undefined) return known;
  if (funcID <= 0) {
    env.log.write(`invalid kernel function btf_id ${funcID}\n`);
    return -EINVAL;
  }
  const descriptor = kfuncBTF(env, offset);
  if (typeof descriptor === 'number') {
    env.log.write('failed to find BTF for kernel function\n');
    return descriptor;
  }
  const { btf } = descriptor;
  if (btf.kind(funcID) !== BTF_KIND_FUNC) {
    env.log.write(`kernel btf_id ${funcID} is not a function\n`);
    return -EINVAL;
  }
  const btfIndex = env.btfIndexOf(descriptor);
  const flags = kfuncFlags(env, btfIndex, funcID);
  const name = btf.typeName(funcID);
  const declared = btf.type(funcID);
  const hasImplicit = flags >= 0 && (flags & KF_IMPLICIT_ARGS) !== 0;
  const protoID = hasImplicit ? implementationProto(env, btf, name) : declared;
  if (btf.kind(protoID) !== BTF_KIND_FUNC_PROTO) {
    env.log.write(`kernel function btf_id ${funcID} does not have a valid func_proto\n`);
    return -EINVAL;
  }
  const params = btf.params(protoID).map(({ name: param, type }) => ({ name: param, typeID: type }));
  const returnTypeID = btf.type(protoID);
  const meta: KfuncMeta = {
    btf, btfIndex, funcID, name, flags, protoID, params,
    explicitCount: hasImplicit ? btf.vlen(declared) : params.length,
    returnTypeID,
    returnsVoid: btf.skipModifiers(returnTypeID) === 0,
  };
  stateOf(env).metas.set(key, meta);
  return meta;
}

/** The prototype with all arguments is that of the function's `_impl` twin; 0 where there is none. */
function implementationProto(env: VerifierEnv, btf: BTF, name: string): number {
  const twin = `${name}_impl`;
  if (twin.length >= 512) {
    env.log.write(`function name ${twin} is too long\n`);
    return 0;
  }
  const id = btf.findByNameKind(twin, BTF_KIND_FUNC);
  if (id > 0) return btf.type(id);
  env.log.write(`cannot find function ${twin} in BTF\n`);
  return 0;
}

/** A kernel function that the program may call (`bpf_fetch_kfunc_arg_meta`): `-EACCES` where sets or filters forbid it. */
export function fetchKfuncMeta(env: VerifierEnv, funcID: number, offset: number): KfuncMeta | number {
  const meta = findKfunc(env, funcID, offset);
  if (typeof meta === 'number') return meta;
  return meta.flags >= 0 && isKfuncAllowed(env, meta.btfIndex, funcID) ? meta : -EACCES;
}

/** The description of a function that {@link addKfuncCall} has seen. */
export function findKfuncDesc(env: VerifierEnv, funcID: number, offset: number): KfuncDesc | undefined {
  return stateOf(env).descs.get(`${offset}:${funcID}`);
}

/** Takes note of a call before verification: checks BTF, prototype and arguments; 0 or `-errno` (`bpf_add_kfunc_call`). */
export function addKfuncCall(env: VerifierEnv, funcID: number, offset: number): number {
  const state = stateOf(env);
  if (!state.hasTable) {
    if (env.ext.kernelBTF() === undefined) {
      env.log.write('calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF\n');
      return -ENOTSUPP;
    }
    if (!env.load.gplCompatible) {
      env.log.write('cannot call kernel function from non-GPL compatible program\n');
      return -EINVAL;
    }
    state.hasTable = true;
  }
  env.jitRequired = true;
  // Weak functions that the kernel lacks are called by id 0: an error only if the call survives.
  if (funcID === 0 && offset === 0) return 0;
  const key = `${offset}:${funcID}`;
  if (state.descs.has(key)) return 0;
  if (state.descs.size === MAX_KFUNC_DESCS) {
    env.log.write('too many different kernel function calls\n');
    return -E2BIG;
  }
  const meta = findKfunc(env, funcID, offset);
  if (typeof meta === 'number') return meta;
  if (env.ext.kernelSymbol(meta.name) === undefined) {
    env.log.write(`cannot find address for kernel function ${meta.name}\n`);
    return -EINVAL;
  }
  if (meta.name.startsWith('bpf_xdp_metadata_') && env.load.ifindex === 0) {
    env.log.write('metadata kfuncs require device-bound program\n');
    return -EINVAL;
  }
  const error = checkFuncModel(env, meta.btf, meta.protoID, meta.name);
  if (error !== 0) return error;
  const argTypes = classifyArgs(env, meta);
  if (typeof argTypes === 'number') return argTypes;
  state.descs.set(key, { meta, offset, argTypes });
  return 0;
}

function isStruct(btf: BTF, id: number): boolean {
  const kind = btf.kind(id);
  return kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION;
}

function isEnum(kind: number): boolean {
  return kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64;
}

/** Integers and enumerations. */
function isScalar(btf: BTF, id: number): boolean {
  const kind = btf.kind(id);
  return kind === BTF_KIND_INT || isEnum(kind);
}

function kindName(btf: BTF, id: number): string {
  return BTF_KIND_NAMES[btf.kind(id)] ?? 'UNKNOWN';
}

/** Bytes of a value that is passed, `-EINVAL` for types that cannot be. */
function passedSize(btf: BTF, typeID: number): number {
  if (typeID === 0) return 0;
  const id = btf.skipModifiers(typeID);
  if (btf.kind(id) === BTF_KIND_PTR) return 8;
  return isScalar(btf, id) || isStruct(btf, id) ? btf.size(id) : -EINVAL;
}

/** Can arguments and result be passed at all (`btf_distill_func_proto`)? 0 or `-EINVAL` with a message. */
export function checkFuncModel(env: VerifierEnv, btf: BTF, protoID: number, name: string): number {
  const refuse = (reason: string): number => {
    env.log.write(`The function ${name} ${reason}\n`);
    return -EINVAL;
  };
  const count = btf.vlen(protoID);
  if (count > MAX_BPF_FUNC_ARGS) return refuse(`has ${count} arguments. Too many.`);
  const result = btf.type(protoID);
  const resultID = btf.skipModifiers(result);
  const resultSize = passedSize(btf, result);
  if (resultSize < 0 || isStruct(btf, resultID)) return refuse(`return type ${kindName(btf, resultID)} is unsupported.`);
  for (let i = 0; i < count; i++) {
    const type = btf.paramType(protoID, i);
    if (i === count - 1 && type === 0) return refuse('with variable args is unsupported.');
    const size = passedSize(btf, type);
    if (size < 0 || size > 16) return refuse(`arg${i} type ${kindName(btf, btf.skipModifiers(type))} is unsupported.`);
    if (size === 0) return refuse('has malformed void argument.');
  }
  return 0;
}

// ---------------------------------------------------------------- arguments

/** True where a parameter's name ends in `suffix` and has something before it (`btf_param_match_suffix`). */
export function paramHasSuffix(_btf: BTF, param: KfuncParam, suffix: string): boolean {
  return param.name.length > suffix.length && param.name.endsWith(suffix);
}

function isScalarWithSuffix(btf: BTF, param: KfuncParam, suffix: string): boolean {
  return isScalar(btf, btf.skipModifiers(param.typeID)) && paramHasSuffix(btf, param, suffix);
}

/** `__sz`: the size of the memory in the argument before. */
export function isKfuncArgMemSize(btf: BTF, param: KfuncParam): boolean {
  return isScalarWithSuffix(btf, param, '__sz');
}

/** `__szk`: such a size, known at verification. */
export function isKfuncArgConstMemSize(btf: BTF, param: KfuncParam): boolean {
  return isScalarWithSuffix(btf, param, '__szk');
}

export function isKfuncArgConstant(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__k');
}

export function isKfuncArgIgnore(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__ign');
}

export function isKfuncArgMap(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__map');
}

export function isKfuncArgConstMap(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__const_map');
}

export function isKfuncArgAllocObj(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__alloc');
}

export function isKfuncArgUninit(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__uninit');
}

export function isKfuncArgRefcountedKptr(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__refcounted_kptr');
}

export function isKfuncArgNullable(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__nullable') || paramHasSuffix(btf, param, '__arena');
}

export function isKfuncArgNonownAllowed(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__nonown_allowed');
}

export function isKfuncArgConstStr(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__str');
}

export function isKfuncArgIrqFlag(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__irq_flag');
}

export function isKfuncArgArena(btf: BTF, param: KfuncParam): boolean {
  return paramHasSuffix(btf, param, '__arena__nullable') || paramHasSuffix(btf, param, '__arena');
}

/** True for a pointer to the struct of that name in the kernel's own BTF. */
function pointsTo(btf: BTF, param: KfuncParam, structName: string): boolean {
  const target = btf.resolvePointer(param.typeID);
  if (target === undefined || btf.kind(target) !== BTF_KIND_STRUCT) return false;
  const kernel = btf.base ?? btf;
  return target === kernel.findByNameKind(structName, BTF_KIND_STRUCT);
}

export function isKfuncArgDynptr(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_dynptr');
}

export function isKfuncArgListHead(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_list_head');
}

export function isKfuncArgListNode(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_list_node');
}

export function isKfuncArgRbtreeRoot(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_rb_root');
}

export function isKfuncArgRbtreeNode(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_rb_node');
}

export function isKfuncArgTimer(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_timer');
}

export function isKfuncArgWorkQueue(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_wq');
}

export function isKfuncArgTaskWork(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_task_work');
}

export function isKfuncArgResSpinLock(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_res_spin_lock');
}

export function isKfuncArgProgAux(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_prog_aux');
}

export function isKfuncArgCallback(btf: BTF, param: KfuncParam): boolean {
  return btf.resolveFunctionPointer(param.typeID) !== undefined;
}

/** True for arguments that the verifier supplies and the program does not see. */
export function isKfuncArgImplicit(meta: KfuncMeta, index: number): boolean {
  return meta.flags >= 0 && (meta.flags & KF_IMPLICIT_ARGS) !== 0 && index >= meta.explicitCount;
}

export function isIterKfunc(meta: KfuncMeta): boolean {
  return meta.flags >= 0 && (meta.flags & (KF_ITER_NEW | KF_ITER_NEXT | KF_ITER_DESTROY)) !== 0;
}

/** True for an iterator's state: the first argument of its functions, or one that ends in `__iter`. */
export function isKfuncArgIter(meta: KfuncMeta, index: number, param: KfuncParam): boolean {
  return isIterKfunc(meta) ? index === 0 : paramHasSuffix(meta.btf, param, '__iter');
}

/** Struct of an iterator's state in an argument, `-EINVAL` where it is none (`btf_check_iter_arg`). */
export function iterArgType(btf: BTF, protoID: number, index: number): number {
  if (index >= btf.vlen(protoID)) return -EINVAL;
  const target = btf.resolvePointer(btf.paramType(protoID, index));
  if (target === undefined || btf.kind(target) !== BTF_KIND_STRUCT) return -EINVAL;
  return btf.typeName(target).startsWith('bpf_iter_') ? target : -EINVAL;
}

/** How messages call an argument, counted from 0: a register or a slot of the stack (`reg_arg_name`). */
export function argName(index: number): string {
  return index < MAX_REGISTER_ARGS ? `R${index + 1}` : `*(R11-${(index + 1 - MAX_REGISTER_ARGS) * 8})`;
}

/** True for structs made of scalars only, up to four levels deep. Says so where they are deeper. */
export function isScalarStruct(env: VerifierEnv, btf: BTF, id: number, depth = 0): boolean {
  if (!isStruct(btf, id)) return false;
  for (let i = 0, n = btf.vlen(id); i < n; i++) {
    let member = btf.skipModifiers(btf.memberType(id, i));
    if (isStruct(btf, member)) {
      if (depth >= 3) {
        env.log.write('max struct nesting depth exceeded\n');
        return false;
      }
      if (!isScalarStruct(env, btf, member, depth + 1)) return false;
      continue;
    }
    if (btf.kind(member) === BTF_KIND_ARRAY) {
      if (btf.arrayLength(member) === 0) return false;
      member = btf.skipModifiers(btf.arrayElementType(member));
    }
    if (!isScalar(btf, member)) return false;
  }
  return true;
}

/** Kinds of all arguments, or `-errno` with a message. */
function classifyArgs(env: VerifierEnv, meta: KfuncMeta): Int32Array | number {
  const { btf, params } = meta;
  if (params.length > MAX_BPF_FUNC_ARGS) {
    env.log.write(`Function ${meta.name} has ${params.length} > ${MAX_BPF_FUNC_ARGS} args\n`);
    return -EINVAL;
  }
  const types = new Int32Array(MAX_BPF_FUNC_ARGS);
  for (const [i, param] of params.entries()) {
    if (isKfuncArgProgAux(btf, param) || isKfuncArgIgnore(btf, param) || isKfuncArgImplicit(meta, i)) continue;
    const type = classifyArg(env, meta, i, param);
    if (type < 0) return type;
    types[i] = type;
  }
  return types;
}

/** Kind of one argument with its flags, or `-errno` (`get_kfunc_arg_type`). */
function classifyArg(env: VerifierEnv, meta: KfuncMeta, index: number, param: KfuncParam): number {
  const { btf } = meta;
  const type = btf.skipModifiers(param.typeID);
  if (isScalar(btf, type)) return classifyScalar(btf, param);
  if (btf.kind(type) !== BTF_KIND_PTR) {
    env.log.write(`Unrecognized ${argName(index)} type ${kindName(btf, type)}\n`);
    return -EINVAL;
  }
  const kind = classifyPointer(env, meta, index, param, type);
  return kind < 0 || !isKfuncArgNullable(btf, param) ? kind : kind | PTR_MAYBE_NULL;
}

function classifyScalar(btf: BTF, param: KfuncParam): number {
  if (isKfuncArgConstant(btf, param)) return KF_ARG_CONST;
  if (isKfuncArgConstMemSize(btf, param)) return KF_ARG_CONST_MEM_SIZE;
  if (isKfuncArgMemSize(btf, param)) return KF_ARG_MEM_SIZE;
  return param.name === 'rdonly_buf_size' || param.name === 'rdwr_buf_size' ? KF_ARG_CONST_ALLOC_SIZE_OR_ZERO : KF_ARG_ANYTHING;
}

/** What a pointer may be, by suffix or by the struct it points to, in the order in which the kernel asks. */
const POINTER_KINDS: readonly (readonly [matches: (meta: KfuncMeta, index: number, param: KfuncParam) => boolean, kind: number])[] = [
  [(meta, _, param) => isKfuncArgAllocObj(meta.btf, param), KF_ARG_PTR_TO_ALLOC_BTF_ID],
  [(meta, _, param) => isKfuncArgRefcountedKptr(meta.btf, param), KF_ARG_PTR_TO_REFCOUNTED_KPTR],
  [(meta, _, param) => isKfuncArgDynptr(meta.btf, param), KF_ARG_PTR_TO_DYNPTR],
  [isKfuncArgIter, KF_ARG_PTR_TO_ITER],
  [(meta, _, param) => isKfuncArgListHead(meta.btf, param), KF_ARG_PTR_TO_LIST_HEAD],
  [(meta, _, param) => isKfuncArgListNode(meta.btf, param), KF_ARG_PTR_TO_LIST_NODE],
  [(meta, _, param) => isKfuncArgRbtreeRoot(meta.btf, param), KF_ARG_PTR_TO_RB_ROOT],
  [(meta, _, param) => isKfuncArgRbtreeNode(meta.btf, param), KF_ARG_PTR_TO_RB_NODE],
  [(meta, _, param) => isKfuncArgConstStr(meta.btf, param), KF_ARG_PTR_TO_CONST_STR],
  [(meta, _, param) => isKfuncArgConstMap(meta.btf, param), KF_ARG_CONST_MAP_PTR],
  [(meta, _, param) => isKfuncArgMap(meta.btf, param), KF_ARG_PTR_TO_BTF_ID],
  [(meta, _, param) => isKfuncArgWorkQueue(meta.btf, param), KF_ARG_PTR_TO_WORKQUEUE],
  [(meta, _, param) => isKfuncArgTimer(meta.btf, param), KF_ARG_PTR_TO_TIMER],
  [(meta, _, param) => isKfuncArgTaskWork(meta.btf, param), KF_ARG_PTR_TO_TASK_WORK],
  [(meta, _, param) => isKfuncArgIrqFlag(meta.btf, param), KF_ARG_PTR_TO_IRQ_FLAG],
  [(meta, _, param) => isKfuncArgResSpinLock(meta.btf, param), KF_ARG_PTR_TO_RES_SPIN_LOCK],
  [(meta, _, param) => isKfuncArgCallback(meta.btf, param), KF_ARG_PTR_TO_CALLBACK],
];

function classifyPointer(env: VerifierEnv, meta: KfuncMeta, index: number, param: KfuncParam, pointer: number): number {
  const { btf } = meta;
  if (isSpecialKfunc(env, meta.funcID, 'bpf_cast_to_kern_ctx', 'bpf_session_is_return', 'bpf_session_cookie')
    || isProgCtxType(env, btf, pointer, env.resolvedProgType, index)) {
    return KF_ARG_PTR_TO_CTX;
  }
  for (const [matches, kind] of POINTER_KINDS) if (matches(meta, index, param)) return kind;
  if (isKfuncArgArena(btf, param)) return classifyArena(env, index);

  const target = btf.skipModifiers(btf.type(pointer));
  const refuse = (what: string): number => {
    env.log.write(`${argName(index)} pointer type ${kindName(btf, target)} ${btf.typeName(target)} must point to ${what}\n`);
    return -EINVAL;
  };
  const next = meta.params[index + 1];
  if (next !== undefined && (isKfuncArgMemSize(btf, next) || isKfuncArgConstMemSize(btf, next))) {
    const isMemory = target === 0 || isScalar(btf, target) || isScalarStruct(env, btf, target);
    return isMemory ? KF_ARG_PTR_TO_MEM : refuse('void, scalar, or struct with scalar');
  }
  if (isStruct(btf, target)) return KF_ARG_PTR_TO_BTF_ID;
  return isScalar(btf, target) ? KF_ARG_PTR_TO_MEM | MEM_FIXED_SIZE : refuse('scalar, or struct with scalar');
}

function classifyArena(env: VerifierEnv, index: number): number {
  if (env.arena === undefined) {
    env.log.write(`${argName(index)} arena pointer requires a program with an associated arena\n`);
    return -EINVAL;
  }
  if (index >= MAX_REGISTER_ARGS) {
    env.log.write(`${argName(index)} arena pointer cannot be a stack argument\n`);
    return -EINVAL;
  }
  return KF_ARG_PTR_TO_ARENA;
}
