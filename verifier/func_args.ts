/**
 * @module verifier/func_args
 * What the arguments of a function with BTF are: context, memory of a size, trusted object, dynptr, arena, number. Owns the
 * reading of types and tags; what callers must pass is checked in `calls.ts`. Reproduces `btf_prepare_func_args()` and the
 * context type rules of `kernel/bpf/btf.c`.
 */
import { BTF_KIND_NAMES, isModifierKind, type BTF } from '../btf/btf.ts';
import { essentialNameLength } from '../btf/core.ts';
import { findCoreCandidates } from '../btf/core_apply.ts';
import { findNextDeclTag } from '../btf/record.ts';
import { EFAULT, EINVAL, ENOENT, EOPNOTSUPP, ESRCH } from '../isa/errno.ts';
import {
  BPF_MODIFY_RETURN, BPF_PROG_TYPE_EXT, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_RAW_TRACEPOINT,
  BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, BPF_PROG_TYPE_STRUCT_OPS, BPF_PROG_TYPE_SYSCALL, BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_TRACING,
  BPF_TRACE_FENTRY, BPF_TRACE_FEXIT, BPF_TRACE_FSESSION, BPF_TRACE_ITER, BPF_TRACE_RAW_TP, BTF_FUNC_GLOBAL, BTF_KIND_ENUM, BTF_KIND_ENUM64,
  BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_TYPE_TAG,
  BTF_KIND_UNKN,
} from '../isa/uapi.ts';
import type { Subprog, SubprogArg, VerifierEnv } from './env.ts';
import { isProgCtxType, progCtxTypeID } from './prog_ctx_type.ts';
import {
  ARG_ANYTHING, ARG_PTR_TO_ARENA, ARG_PTR_TO_BTF_ID, ARG_PTR_TO_CTX, ARG_PTR_TO_DYNPTR, ARG_PTR_TO_MEM, MAX_BPF_FUNC_ARGS, MAX_BPF_FUNC_REG_ARGS,
  MEM_RDONLY, PTR_MAYBE_NULL, PTR_TRUSTED, PTR_UNTRUSTED,
} from './regtypes.ts';

const TAG_CTX = 1, TAG_NONNULL = 2, TAG_TRUSTED = 4, TAG_UNTRUSTED = 8, TAG_NULLABLE = 16, TAG_ARENA = 32;
const TAGS: ReadonlyMap<string, number> = new Map([
  ['ctx', TAG_CTX], ['trusted', TAG_TRUSTED], ['untrusted', TAG_UNTRUSTED], ['nonnull', TAG_NONNULL], ['nullable', TAG_NULLABLE], ['arena', TAG_ARENA],
]);
const TAG_KEY = 'arg:';
const MAX_CHAIN = 64;

/** `STRUCT`, as messages name kinds. */
const kindName = (btf: BTF, id: number): string => BTF_KIND_NAMES[btf.kind(id)] ?? 'UNKNOWN';
const isStruct = (btf: BTF, id: number): boolean => btf.isStructOrUnion(id);
const isNumber = (btf: BTF, id: number): boolean => [BTF_KIND_INT, BTF_KIND_ENUM, BTF_KIND_ENUM64].includes(btf.kind(id));
const isVoid = (btf: BTF, id: number): boolean => id === 0 || btf.kind(id) === BTF_KIND_UNKN;

/** The first type of a chain of modifiers that is a typedef, or its end. */
function toTypedef(btf: BTF, start: number): number {
  let id = start;
  for (let i = 0; i < MAX_CHAIN && isModifierKind(btf.kind(id)) && btf.kind(id) !== BTF_KIND_TYPEDEF; i++) id = btf.type(id);
  return id;
}

const isUserRegs = (btf: BTF, id: number): boolean => btf.kind(id) === BTF_KIND_TYPEDEF && btf.typeName(id) === 'bpf_user_pt_regs_t';

/** Checks an argument that is tagged as context; 0 or `-EINVAL` (`btf_validate_prog_ctx_type`). */
function validateContext(env: VerifierEnv, btf: BTF, pointer: number, arg: number, progType: number): number {
  const target = btf.type(pointer);
  if ((progType === BPF_PROG_TYPE_KPROBE || progType === BPF_PROG_TYPE_PERF_EVENT) && isUserRegs(btf, toTypedef(btf, target))) return 0;
  const id = btf.skipModifiers(target);
  if (isVoid(btf, id)) return 0;
  const say = (message: string): number => {
    env.log.write(`arg#${arg} ${message}\n`);
    return -EINVAL;
  };
  const name = btf.typeName(id);
  if (name === '') return say("type doesn't have a name");
  if (isSpecialContext(btf, id, name, progType, env.expectedAttachType)) return 0;
  const kernel = env.ext.kernelBTF()?.btf;
  const context = kernel === undefined ? 0 : progCtxTypeID(kernel, progType);
  if (kernel === undefined || context === 0) {
    env.log.write('btf_vmlinux is malformed\n');
    return -EINVAL;
  }
  const real = kernel.skipModifiers(context);
  if (kernel.kind(real) !== BTF_KIND_STRUCT) return say('should be void pointer');
  const expected = kernel.typeName(real);
  return btf.kind(id) === BTF_KIND_STRUCT && name === expected ? 0 : say(`should be \`struct ${expected} *\``);
}

/** Contexts that have no structure of their own. */
function isSpecialContext(btf: BTF, id: number, name: string, progType: number, attachType: number): boolean {
  const isStructNamed = (what: string): boolean => btf.kind(id) === BTF_KIND_STRUCT && name === what;
  const isU64 = btf.kind(id) === BTF_KIND_INT && btf.size(id) === 8;
  switch (progType) {
    case BPF_PROG_TYPE_KPROBE: case BPF_PROG_TYPE_PERF_EVENT:
      return isStructNamed('pt_regs');
    case BPF_PROG_TYPE_RAW_TRACEPOINT: case BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: case BPF_PROG_TYPE_LSM: case BPF_PROG_TYPE_STRUCT_OPS:
      return isU64;
    case BPF_PROG_TYPE_TRACING:
      if (attachType === BPF_TRACE_RAW_TP) return isU64 || isStructNamed('bpf_raw_tracepoint_args');
      if (attachType === BPF_TRACE_ITER) return btf.kind(id) === BTF_KIND_STRUCT && name.startsWith('bpf_iter__');
      return isU64 && [BPF_TRACE_FENTRY, BPF_TRACE_FEXIT, BPF_MODIFY_RETURN, BPF_TRACE_FSESSION].includes(attachType);
    case BPF_PROG_TYPE_TRACEPOINT: case BPF_PROG_TYPE_SYSCALL: case BPF_PROG_TYPE_EXT:
      return true;
    default:
      return false;
  }
}

/** Tags of argument `arg` by declaration tags; `-errno`. */
function declaredTags(env: VerifierEnv, btf: BTF, func: number, arg: number, isGlobal: boolean): number {
  let tags = 0;
  for (let id = btf.namedStartID - 1; ;) {
    id = findNextDeclTag(btf, func, arg, TAG_KEY, id);
    if (id <= 0) {
      if (id === -ENOENT) return tags;
      env.log.write(`arg#${arg} type tag fetching failure: ${id}\n`);
      return id;
    }
    if (!isGlobal) {
      env.log.write(`arg#${arg} type tag is not supported in static functions\n`);
      return -EOPNOTSUPP;
    }
    const tag = TAGS.get(btf.typeName(id).slice(TAG_KEY.length));
    if (tag === undefined) {
      env.log.write(`arg#${arg} has unsupported set of tags\n`);
      return -EOPNOTSUPP;
    }
    tags |= tag;
  }
}

/** Tags on the type itself: only `arena`, on a pointer. */
function typeTags(btf: BTF, typeID: number): number {
  const pointer = btf.skipModifiers(typeID);
  if (btf.kind(pointer) !== BTF_KIND_PTR) return 0;
  let id = btf.type(pointer);
  for (let i = 0; i < MAX_CHAIN && isModifierKind(btf.kind(id)); i++) {
    if (btf.kind(id) === BTF_KIND_TYPE_TAG && !btf.kflag(id) && btf.typeName(id) === 'arena') return TAG_ARENA;
    id = btf.type(id);
  }
  return 0;
}

/** The kernel's type for what a pointer in the program's BTF points at; `-errno` with a message. */
function kernelTypeOf(env: VerifierEnv, btf: BTF, pointer: number, arg: number): number {
  const id = btf.skipModifiers(btf.type(pointer));
  const name = btf.typeName(id);
  const kernel = env.ext.kernelBTF()?.btf;
  const say = (what: string, errno: number): number => {
    env.log.write(`arg#${arg} reference type('${kindName(btf, id)} ${name}') ${what}\n`);
    return -errno;
  };
  const essential = name.slice(0, essentialNameLength(name));
  if (kernel === undefined || essential === '') return say(`candidate matching error: ${-EINVAL}`, EINVAL);
  const found = findCoreCandidates(kernel, essential, (kind) => kind === btf.kind(id));
  if (found.length === 1) return found[0]!.id;
  return found.length === 0 ? say('has no matches', ENOENT) : say('is ambiguous', ESRCH);
}

function isDynptr(btf: BTF, pointer: number): boolean {
  const id = btf.skipModifiers(btf.type(pointer));
  return (isStruct(btf, id) || (btf.kind(id) === BTF_KIND_FWD && !btf.kflag(id))) && btf.typeName(id) === 'bpf_dynptr';
}

/** 0 where a function may return the type: nothing, a number, or (not the main program) an arena pointer. */
function validateReturn(btf: BTF, typeID: number, subprog: number): number {
  const id = btf.skipModifiers(typeID);
  if (subprog !== 0 && btf.kind(id) === BTF_KIND_PTR && typeTags(btf, typeID) !== 0) return 0;
  return isVoid(btf, id) || isNumber(btf, id) ? 0 : -EOPNOTSUPP;
}

/**
 * Reads a function's BTF into `args` and `argCount` of its {@link Subprog}: 0, or `-errno` with a message. A static function
 * that BTF cannot describe is `-EINVAL` without one, and is then checked by what it is called with.
 */
export function prepareFuncArgs(env: VerifierEnv, subprog: number): number {
  const sub = env.subprogs[subprog]!;
  if (sub.argsCached) return 0;
  const isGlobal = sub.linkage === BTF_FUNC_GLOBAL;
  const say = (message: string, errno: number): number => {
    env.log.write(`${message}\n`);
    return -errno;
  };
  if (env.btf === undefined || env.funcInfoCount === 0) return say('verifier bug: func_info undefined', EFAULT);
  const { btf } = env.btf;
  if (sub.typeID === 0) return isGlobal ? say('Global functions need valid BTF', EFAULT) : -EINVAL;
  if (!btf.has(sub.typeID) || btf.kind(sub.typeID) !== BTF_KIND_FUNC) return say(`BTF of func#${subprog} doesn't point to KIND_FUNC`, EFAULT);
  const name = btf.typeName(sub.typeID);
  if (sub.unreliable) return say(`verifier bug: unreliable BTF for function ${name}()`, EFAULT);
  const proto = btf.type(sub.typeID);
  if (btf.kind(proto) !== BTF_KIND_FUNC_PROTO) return say(`Invalid type of function ${name}()`, EFAULT);
  const count = btf.vlen(proto);
  sub.argCount = count;
  if (count > MAX_BPF_FUNC_ARGS) return say(`kernel supports at most ${MAX_BPF_FUNC_ARGS} parameters, function ${name} has ${count}`, EFAULT);
  if (count > MAX_BPF_FUNC_REG_ARGS) sub.stackArgCount = count - MAX_BPF_FUNC_REG_ARGS;
  if (isGlobal && count > MAX_BPF_FUNC_REG_ARGS) {
    return say(`global function ${name} has ${count} > ${MAX_BPF_FUNC_REG_ARGS} args, stack args not supported`, EINVAL);
  }
  const returns = validateReturn(btf, btf.type(proto), subprog);
  if (returns !== 0) {
    if (isGlobal) env.log.write(`Global function ${name}() return value not void or scalar. Only those are supported.\n`);
    return returns;
  }
  const args: SubprogArg[] = [];
  for (let i = 0; i < count; i++) {
    const arg = readArg(env, btf, sub, isGlobal, btf.paramType(proto, i), i, name);
    if (typeof arg === 'number') return arg;
    args.push(arg);
  }
  sub.args = args;
  sub.argsCached = true;
  return 0;
}

function readArg(env: VerifierEnv, btf: BTF, sub: Subprog, isGlobal: boolean, typeID: number, i: number, name: string): SubprogArg | number {
  const declared = declaredTags(env, btf, sub.typeID, i, isGlobal);
  if (declared < 0) return declared;
  const tags = declared | typeTags(btf, typeID);
  const id = btf.skipModifiers(typeID);
  if (btf.kind(id) === BTF_KIND_PTR) {
    const arg = readPointer(env, btf, id, tags, isGlobal, i);
    if (arg !== undefined) return arg;
  }
  if (tags !== 0) return refuse(env, `arg#${i} has pointer tag, but is not a pointer type`);
  if (isNumber(btf, id)) return { type: ARG_ANYTHING, memSize: 0, btfID: 0 };
  return isGlobal ? refuse(env, `Arg#${i} type ${kindName(btf, id)} in ${name}() is not supported yet.`) : -EINVAL;
}

function refuse(env: VerifierEnv, message: string): number {
  env.log.write(`${message}\n`);
  return -EINVAL;
}

/** A pointer argument; `undefined` where its type alone says too little and the function is static. */
function readPointer(env: VerifierEnv, btf: BTF, id: number, tags: number, isGlobal: boolean, i: number): SubprogArg | number | undefined {
  const progType = env.load.type === BPF_PROG_TYPE_EXT ? (env.load.attachProgram?.type ?? env.load.type) : env.load.type;
  const badTags = (): number => refuse(env, `arg#${i} has invalid combination of tags`);
  const plain = (type: number): SubprogArg => ({ type, memSize: 0, btfID: 0 });
  if ((tags & TAG_CTX) !== 0 || isProgCtxType(env, btf, id, progType, i)) {
    if ((tags & ~TAG_CTX) !== 0) return badTags();
    if ((tags & TAG_CTX) !== 0 && validateContext(env, btf, id, i, progType) !== 0) return -EINVAL;
    return plain(ARG_PTR_TO_CTX);
  }
  if (isDynptr(btf, id)) return tags === 0 ? plain(ARG_PTR_TO_DYNPTR) : badTags();
  if ((tags & TAG_TRUSTED) !== 0) {
    if ((tags & TAG_NONNULL) !== 0) return badTags();
    const btfID = kernelTypeOf(env, btf, id, i);
    if (btfID < 0) return btfID;
    return { type: ARG_PTR_TO_BTF_ID | PTR_TRUSTED | ((tags & TAG_NULLABLE) !== 0 ? PTR_MAYBE_NULL : 0), memSize: 0, btfID };
  }
  if ((tags & TAG_UNTRUSTED) !== 0) return readUntrusted(env, btf, id, tags, i);
  if ((tags & TAG_ARENA) !== 0) {
    return (tags & ~TAG_ARENA) === 0 ? plain(ARG_PTR_TO_ARENA) : refuse(env, `arg#${i} arena cannot be combined with any other tags`);
  }
  if (!isGlobal) return undefined;
  if ((tags & TAG_NULLABLE) !== 0) return badTags();
  const target = btf.skipModifiers(btf.type(id));
  const memSize = isVoid(btf, target) ? undefined : btf.resolveSize(target);
  if (memSize === undefined) {
    return refuse(env, `arg#${i} reference type('${kindName(btf, target)} ${btf.typeName(target)}') size cannot be determined: ${-EINVAL}`);
  }
  return { type: ARG_PTR_TO_MEM | ((tags & TAG_NONNULL) !== 0 ? 0 : PTR_MAYBE_NULL), memSize, btfID: 0 };
}

function readUntrusted(env: VerifierEnv, btf: BTF, id: number, tags: number, i: number): SubprogArg | number {
  if ((tags & ~TAG_UNTRUSTED) !== 0) return refuse(env, `arg#${i} untrusted cannot be combined with any other tags`);
  const target = btf.skipModifiers(btf.type(id));
  if (isVoid(btf, target) || isNumber(btf, target)) return { type: ARG_PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED, memSize: 0, btfID: 0 };
  const btfID = kernelTypeOf(env, btf, id, i);
  if (btfID < 0) return btfID;
  const kernel = env.ext.kernelBTF()!.btf;
  if (!isStruct(kernel, btfID)) {
    return refuse(env, `arg#${i} has type ${kindName(kernel, btfID)} '', but only struct or primitive types are allowed`);
  }
  return { type: ARG_PTR_TO_BTF_ID | PTR_UNTRUSTED, memSize: 0, btfID };
}
