/**
 * @module verifier/call_summary
 * What the analyses before the main walk need to know of a call: how many arguments it takes and how many stack bytes it may
 * read or write through each. Reproduces `bpf_get_call_summary()` and `bpf_{helper,kfunc}_stack_access_bytes()` of
 * `kernel/bpf/verifier.c`.
 */
import { BTF_KIND_PTR, HELPER_NAMES } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { isKfuncArgDynptr, isKfuncArgUninit, paramHasSuffix } from './kfunc_params.ts';
import { KF_FASTCALL, KF_ITER_NEW } from './kfunc_sets.ts';
import { fetchKfuncMeta } from './kfuncs.ts';
import type { HelperProto } from './ops_types.ts';
import { getHelperProto } from './progtypes/index.ts';
import {
  ARG_CONST_MAP_PTR, ARG_DONTCARE, ARG_MEM_SIZE, ARG_MEM_SIZE_OR_ZERO, ARG_PTR_TO_DYNPTR, ARG_PTR_TO_MAP_KEY, ARG_PTR_TO_MAP_VALUE,
  ARG_PTR_TO_MEM, ARG_PTR_TO_STACK, MAX_BPF_STACK, MEM_FIXED_SIZE, MEM_UNINIT, RET_VOID, baseType,
} from './regtypes.ts';
import { isHelperCall, isPseudoKfuncCall } from './subprogs.ts';

/** Bytes of a dynptr on the stack. */
const DYNPTR_SIZE = 16;
/** A call reads an unknown number of bytes. */
export const UNKNOWN_BYTES: number = -Infinity;

/** A helper or kfunc call in short. */
export interface CallSummary {
  readonly paramCount: number;
  readonly isVoid: boolean;
  /** The call keeps the registers that it does not use (`bpf_fastcall`). */
  readonly fastcall: boolean;
}

/** Helpers whose call is replaced by instructions on x86-64. */
const INLINED_HELPERS: ReadonlySet<string> = new Set(['get_smp_processor_id', 'get_current_task_btf', 'get_current_task']);

/** By number of a helper: the prototype met last and its summary. */
const protos: (HelperProto | undefined)[] = Array.from({ length: HELPER_NAMES.length }, () => undefined);
const summaries: (CallSummary | undefined)[] = Array.from({ length: HELPER_NAMES.length }, () => undefined);

function summaryOf(proto: HelperProto): CallSummary {
  const end = proto.argTypes.indexOf(ARG_DONTCARE);
  return {
    paramCount: end < 0 ? proto.argTypes.length : end,
    isVoid: proto.retType === RET_VOID,
    fastcall: proto.allowFastcall && INLINED_HELPERS.has(proto.name),
  };
}

/** The summary of the call at `insn`, `undefined` where it is none that resolves (reported later). */
export function callSummary(env: VerifierEnv, insn: number): CallSummary | undefined {
  const { imm, off } = env.insns;
  if (isHelperCall(env, insn)) {
    const proto = getHelperProto(env, imm[insn]!);
    if (proto === undefined) return undefined;
    const id = imm[insn]!;
    if (protos[id] !== proto) {
      protos[id] = proto;
      summaries[id] = summaryOf(proto);
    }
    return summaries[id];
  }
  if (!isPseudoKfuncCall(env, insn)) return undefined;
  const meta = fetchKfuncMeta(env, imm[insn]!, off[insn]!);
  if (typeof meta === 'number') return undefined;
  return { paramCount: meta.params.length, isVoid: meta.returnsVoid, fastcall: (meta.flags & KF_FASTCALL) !== 0 };
}

/**
 * Stack bytes that the call at `insn` accesses through argument `arg` (from 0): positive read, negative written for sure,
 * 0 none, {@link UNKNOWN_BYTES}.
 */
export function stackAccessBytes(env: VerifierEnv, insn: number, arg: number): number {
  return isHelperCall(env, insn) ? helperBytes(env, insn, arg) : kfuncBytes(env, insn, arg);
}

/** Value of a register before `insn` where it is the same constant on all paths. */
function constantRegister(env: VerifierEnv, insn: number, reg: number): number | undefined {
  return (env.aux.constRegMask[insn]! & (1 << reg)) !== 0 ? env.aux.constRegVals[insn * 10 + reg]! : undefined;
}

function helperBytes(env: VerifierEnv, insn: number, arg: number): number {
  const proto = getHelperProto(env, env.insns.imm[insn]!);
  if (proto === undefined) return UNKNOWN_BYTES;
  const type = proto.argTypes[arg] ?? ARG_DONTCARE;
  const size = helperArgSize(env, insn, arg, proto.argTypes, proto.argSizes?.[arg] ?? 0);
  return (type & MEM_UNINIT) !== 0 && size !== UNKNOWN_BYTES ? -size : size;
}

function helperArgSize(env: VerifierEnv, insn: number, arg: number, types: readonly number[], fixedSize: number): number {
  const type = types[arg] ?? ARG_DONTCARE;
  switch (baseType(type)) {
    case ARG_PTR_TO_MAP_KEY:
    case ARG_PTR_TO_MAP_VALUE:
      return mapBytes(env, insn, types.findIndex((t, i) => i < arg && baseType(t) === ARG_CONST_MAP_PTR), baseType(type) === ARG_PTR_TO_MAP_KEY);
    case ARG_PTR_TO_MEM: {
      if ((type & MEM_FIXED_SIZE) !== 0) return fixedSize;
      const sizeType = baseType(types[arg + 1] ?? ARG_DONTCARE);
      if (sizeType !== ARG_MEM_SIZE && sizeType !== ARG_MEM_SIZE_OR_ZERO) return UNKNOWN_BYTES;
      const size = constantRegister(env, insn, arg + 2);
      if (size !== undefined) return size;
      return (type & MEM_UNINIT) !== 0 ? 0 : MAX_BPF_STACK;
    }
    case ARG_PTR_TO_DYNPTR:
      return DYNPTR_SIZE;
    case ARG_PTR_TO_STACK:
      return 0;
    default:
      return UNKNOWN_BYTES;
  }
}

/** Key or value size of the map in argument `mapArg`; the largest of all maps where that is not known. */
function mapBytes(env: VerifierEnv, insn: number, mapArg: number, isKey: boolean): number {
  const reg = mapArg + 1;
  if (mapArg >= 0 && (env.aux.constRegMapMask[insn]! & (1 << reg)) !== 0) {
    const map = env.usedMaps[env.aux.constRegVals[insn * 10 + reg]!];
    if (map !== undefined) return isKey ? map.keySize : map.valueSize;
  }
  let largest = 0;
  for (const map of env.usedMaps) {
    for (const m of [map, map.innerMap]) if (m !== undefined) largest = Math.max(largest, isKey ? m.keySize : m.valueSize);
  }
  return largest === 0 ? UNKNOWN_BYTES : largest;
}

function kfuncBytes(env: VerifierEnv, insn: number, arg: number): number {
  const meta = fetchKfuncMeta(env, env.insns.imm[insn]!, env.insns.off[insn]!);
  if (typeof meta === 'number') return UNKNOWN_BYTES;
  const { btf, params } = meta;
  const param = params[arg];
  if (param === undefined) return 0;
  const type = btf.skipModifiers(param.typeID);
  if (btf.kind(type) !== BTF_KIND_PTR) return 0;
  let size: number;
  const next = params[arg + 1];
  if (isKfuncArgDynptr(btf, param)) size = DYNPTR_SIZE;
  else if (next !== undefined && (paramHasSuffix(next, '__sz') || paramHasSuffix(next, '__szk'))) {
    const constant = constantRegister(env, insn, arg + 2);
    if (constant === undefined) return MAX_BPF_STACK;
    size = constant;
  } else {
    const resolved = btf.resolveSize(btf.skipModifiers(btf.type(type)));
    if (resolved === undefined || resolved < 0) return UNKNOWN_BYTES;
    size = resolved;
  }
  const writes = (arg === 0 && (meta.flags & KF_ITER_NEW) !== 0) || isKfuncArgUninit(param);
  return writes ? -size : size;
}
