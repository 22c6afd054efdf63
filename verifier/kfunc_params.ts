/**
 * @module verifier/kfunc_params
 * What each parameter of a kernel function must be given, by its type and the suffix of its name, and whether arguments and result can
 * be passed at all. Reproduces `gen_kfunc_arg_proto` and `get_kfunc_arg_type` of kernel/bpf/verifier.c and `btf_distill_func_proto` of
 * kernel/bpf/btf.c. Does not check registers against it (kfunc_args.ts).
 */
import { type BTF, BTF_KIND_NAMES } from '../btf/btf.ts';
import { EINVAL } from '../isa/errno.ts';
import { BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_UNION } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { isSpecialKfunc } from './kfunc_access.ts';
import { KF_IMPLICIT_ARGS, KF_ITER_DESTROY, KF_ITER_NEW, KF_ITER_NEXT } from './kfunc_sets.ts';
import { isProgCtxType } from './prog_ctx_type.ts';
import { argName } from './regs.ts';
import { MAX_BPF_FUNC_ARGS, MAX_BPF_FUNC_REG_ARGS, MEM_FIXED_SIZE, PTR_MAYBE_NULL } from './regtypes.ts';

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
export function paramHasSuffix(param: KfuncParam, suffix: string): boolean {
  return param.name.length > suffix.length && param.name.endsWith(suffix);
}

function isScalarWithSuffix(btf: BTF, param: KfuncParam, suffix: string): boolean {
  return isScalar(btf, btf.skipModifiers(param.typeID)) && paramHasSuffix(param, suffix);
}

/** `__sz`: the size of the memory in the argument before. */
function isKfuncArgMemSize(btf: BTF, param: KfuncParam): boolean {
  return isScalarWithSuffix(btf, param, '__sz');
}

/** `__szk`: such a size, known at verification. */
function isKfuncArgConstMemSize(btf: BTF, param: KfuncParam): boolean {
  return isScalarWithSuffix(btf, param, '__szk');
}

function isKfuncArgConstant(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__k');
}

export function isKfuncArgIgnore(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__ign');
}

export function isKfuncArgMap(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__map');
}

function isKfuncArgConstMap(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__const_map');
}

function isKfuncArgAllocObj(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__alloc');
}

export function isKfuncArgUninit(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__uninit');
}

function isKfuncArgRefcountedKptr(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__refcounted_kptr');
}

function isKfuncArgNullable(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__nullable') || paramHasSuffix(param, '__arena');
}

export function isKfuncArgNonownAllowed(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__nonown_allowed');
}

function isKfuncArgConstStr(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__str');
}

function isKfuncArgIrqFlag(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__irq_flag');
}

function isKfuncArgArena(param: KfuncParam): boolean {
  return paramHasSuffix(param, '__arena__nullable') || paramHasSuffix(param, '__arena');
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

function isKfuncArgListHead(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_list_head');
}

function isKfuncArgListNode(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_list_node');
}

function isKfuncArgRbtreeRoot(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_rb_root');
}

function isKfuncArgRbtreeNode(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_rb_node');
}

function isKfuncArgTimer(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_timer');
}

function isKfuncArgWorkQueue(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_wq');
}

function isKfuncArgTaskWork(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_task_work');
}

function isKfuncArgResSpinLock(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_res_spin_lock');
}

export function isKfuncArgProgAux(btf: BTF, param: KfuncParam): boolean {
  return pointsTo(btf, param, 'bpf_prog_aux');
}

function isKfuncArgCallback(btf: BTF, param: KfuncParam): boolean {
  return btf.resolveFunctionPointer(param.typeID) !== undefined;
}

/** True for arguments that the verifier supplies and the program does not see. */
export function isKfuncArgImplicit(meta: KfuncMeta, index: number): boolean {
  return meta.flags >= 0 && (meta.flags & KF_IMPLICIT_ARGS) !== 0 && index >= meta.explicitCount;
}

function isIterKfunc(meta: KfuncMeta): boolean {
  return meta.flags >= 0 && (meta.flags & (KF_ITER_NEW | KF_ITER_NEXT | KF_ITER_DESTROY)) !== 0;
}

/** True for an iterator's state: the first argument of its functions, or one that ends in `__iter`. */
function isKfuncArgIter(meta: KfuncMeta, index: number, param: KfuncParam): boolean {
  return isIterKfunc(meta) ? index === 0 : paramHasSuffix(param, '__iter');
}

/** Struct of an iterator's state in an argument, `-EINVAL` where it is none (`btf_check_iter_arg`). */
export function iterArgType(btf: BTF, protoID: number, index: number): number {
  if (index >= btf.vlen(protoID)) return -EINVAL;
  const target = btf.resolvePointer(btf.paramType(protoID, index));
  if (target === undefined || btf.kind(target) !== BTF_KIND_STRUCT) return -EINVAL;
  return btf.typeName(target).startsWith('bpf_iter_') ? target : -EINVAL;
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
export function classifyArgs(env: VerifierEnv, meta: KfuncMeta): Int32Array | number {
  const { btf, params } = meta;
  if (params.length > MAX_BPF_FUNC_ARGS) {
    env.log.write(`Function ${meta.name} has ${params.length} > ${MAX_BPF_FUNC_ARGS} args\n`);
    return -EINVAL;
  }
  const types = new Int32Array(MAX_BPF_FUNC_ARGS);
  for (const [i, param] of params.entries()) {
    if (isKfuncArgProgAux(btf, param) || isKfuncArgIgnore(param) || isKfuncArgImplicit(meta, i)) continue;
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
    env.log.write(`Unrecognized ${argName(-1 - index)} type ${kindName(btf, type)}\n`);
    return -EINVAL;
  }
  const kind = classifyPointer(env, meta, index, param, type);
  return kind < 0 || !isKfuncArgNullable(param) ? kind : kind | PTR_MAYBE_NULL;
}

function classifyScalar(btf: BTF, param: KfuncParam): number {
  if (isKfuncArgConstant(param)) return KF_ARG_CONST;
  if (isKfuncArgConstMemSize(btf, param)) return KF_ARG_CONST_MEM_SIZE;
  if (isKfuncArgMemSize(btf, param)) return KF_ARG_MEM_SIZE;
  return param.name === 'rdonly_buf_size' || param.name === 'rdwr_buf_size' ? KF_ARG_CONST_ALLOC_SIZE_OR_ZERO : KF_ARG_ANYTHING;
}

/** What a pointer may be, by suffix or by the struct it points to, in the order in which the kernel asks. */
const POINTER_KINDS: readonly (readonly [matches: (meta: KfuncMeta, index: number, param: KfuncParam) => boolean, kind: number])[] = [
  [(_meta, _index, param) => isKfuncArgAllocObj(param), KF_ARG_PTR_TO_ALLOC_BTF_ID],
  [(_meta, _index, param) => isKfuncArgRefcountedKptr(param), KF_ARG_PTR_TO_REFCOUNTED_KPTR],
  [(meta, _, param) => isKfuncArgDynptr(meta.btf, param), KF_ARG_PTR_TO_DYNPTR],
  [isKfuncArgIter, KF_ARG_PTR_TO_ITER],
  [(meta, _, param) => isKfuncArgListHead(meta.btf, param), KF_ARG_PTR_TO_LIST_HEAD],
  [(meta, _, param) => isKfuncArgListNode(meta.btf, param), KF_ARG_PTR_TO_LIST_NODE],
  [(meta, _, param) => isKfuncArgRbtreeRoot(meta.btf, param), KF_ARG_PTR_TO_RB_ROOT],
  [(meta, _, param) => isKfuncArgRbtreeNode(meta.btf, param), KF_ARG_PTR_TO_RB_NODE],
  [(_meta, _index, param) => isKfuncArgConstStr(param), KF_ARG_PTR_TO_CONST_STR],
  [(_meta, _index, param) => isKfuncArgConstMap(param), KF_ARG_CONST_MAP_PTR],
  [(_meta, _index, param) => isKfuncArgMap(param), KF_ARG_PTR_TO_BTF_ID],
  [(meta, _, param) => isKfuncArgWorkQueue(meta.btf, param), KF_ARG_PTR_TO_WORKQUEUE],
  [(meta, _, param) => isKfuncArgTimer(meta.btf, param), KF_ARG_PTR_TO_TIMER],
  [(meta, _, param) => isKfuncArgTaskWork(meta.btf, param), KF_ARG_PTR_TO_TASK_WORK],
  [(_meta, _index, param) => isKfuncArgIrqFlag(param), KF_ARG_PTR_TO_IRQ_FLAG],
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
  if (isKfuncArgArena(param)) return classifyArena(env, index);

  const target = btf.skipModifiers(btf.type(pointer));
  const refuse = (what: string): number => {
    env.log.write(`${argName(-1 - index)} pointer type ${kindName(btf, target)} ${btf.typeName(target)} must point to ${what}\n`);
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
    env.log.write(`${argName(-1 - index)} arena pointer requires a program with an associated arena\n`);
    return -EINVAL;
  }
  if (index >= MAX_BPF_FUNC_REG_ARGS) {
    env.log.write(`${argName(-1 - index)} arena pointer cannot be a stack argument\n`);
    return -EINVAL;
  }
  return KF_ARG_PTR_TO_ARENA;
}
