/**
 * @module verifier/progtypes/btf_ctx
 * Access to a context that BTF describes: the arguments of a traced function, of an LSM hook, of an iterator, of a struct_ops
 * function, as an array of 64-bit slots. Reproduces `btf_ctx_access()` of `kernel/bpf/btf.c` with its messages.
 */
import { isModifierKind, type BTF } from '../../btf/btf.ts';
import * as U from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import type { AccessInfo } from '../ops_types.ts';
import { isProgCtxType, kernCtxTypeID } from '../prog_ctx_type.ts';
import {
  baseType, BPF_READ, MAX_BPF_FUNC_ARGS, MAX_BPF_FUNC_REG_ARGS, MEM_PERCPU, MEM_USER, PTR_MAYBE_NULL, PTR_TO_ARENA, PTR_TO_BTF_ID, PTR_TO_BUF,
  PTR_TRUSTED, SCALAR_VALUE, typeHasUnsafeModifiers,
} from '../regtypes.ts';
import type { BTFDescriptor } from '../types.ts';
import { argumentSlotSize, contextArguments } from './ctx_args.ts';
import { factsOf } from './facts.ts';
import { hasTrustedArguments } from './lsm_hooks.ts';
import { rawTracepointArgument } from './raw_tp_args.ts';

const MAX_MODIFIERS = 64;

/** The kernel's name of a BTF kind in messages (`btf_type_str`). */
const KIND_NAMES: readonly string[] = ['UNKNOWN', 'INT', 'PTR', 'ARRAY', 'STRUCT', 'UNION', 'ENUM', 'FWD', 'TYPEDEF', 'VOLATILE', 'CONST', 'RESTRICT',
  'FUNC', 'FUNC_PROTO', 'VAR', 'DATASEC', 'FLOAT', 'DECL_TAG', 'TYPE_TAG', 'ENUM64'];

/** The kernel's name of a type's kind: `"STRUCT"`, `"void"` reads `"UNKNOWN"`. */
export function kindName(btf: BTF, id: number): string {
  return KIND_NAMES[btf.kind(id)] ?? 'UNKNOWN';
}

/** A type's name in messages (`__btf_name_by_offset`). */
function nameInMessages(btf: BTF, id: number): string {
  return btf.nameOffset(id) === 0 ? '(anon)' : (btf.stringAt(btf.nameOffset(id)) ?? '(invalid-name-offset)');
}

function isSmallInt(btf: BTF, id: number): boolean {
  return btf.kind(id) === U.BTF_KIND_INT && btf.size(id) <= 8;
}

function isEnum(btf: BTF, id: number): boolean {
  return btf.kind(id) === U.BTF_KIND_ENUM || btf.kind(id) === U.BTF_KIND_ENUM64;
}

function isStruct(btf: BTF, id: number): boolean {
  return btf.kind(id) === U.BTF_KIND_STRUCT || btf.kind(id) === U.BTF_KIND_UNION;
}

/** Index of the argument at a byte offset; the number of arguments for the return value, one more beyond it. */
function argumentIndex(btf: BTF, proto: number, off: number): number {
  if (proto === 0) return Math.floor(off / 8);
  const count = btf.vlen(proto);
  let end = 0;
  for (let i = 0; i < count; i++) {
    end += argumentSlotSize(btf, btf.paramType(proto, i));
    if (off < end) return i;
  }
  end += argumentSlotSize(btf, btf.type(proto));
  return off < end ? count : count + 1;
}

function areArgumentsTrusted(env: VerifierEnv): boolean {
  const facts = factsOf(env);
  switch (facts.loadedType) {
    case U.BPF_PROG_TYPE_TRACING: return facts.expectedAttachType === U.BPF_TRACE_RAW_TP || facts.expectedAttachType === U.BPF_TRACE_ITER;
    case U.BPF_PROG_TYPE_LSM: return hasTrustedArguments(facts.attachName);
    case U.BPF_PROG_TYPE_STRUCT_OPS: return true;
    default: return false;
  }
}

/** True for a single pointer to a struct or union (`btf_type_is_struct_ptr`). */
function isStructPointer(btf: BTF, pointer: number): boolean {
  return isStruct(btf, btf.skipModifiers(btf.type(pointer)));
}

/** What the pointer points at, and the flags of its `user` or `percpu` tag; `undefined` for more than one. */
function walkTags(btf: BTF, pointer: number): { readonly id: number; readonly flag: number } | undefined {
  let flag = 0;
  let id = btf.type(pointer);
  for (let i = 0; i < MAX_MODIFIERS && isModifierKind(btf.kind(id)); i++) {
    if (btf.kind(id) === U.BTF_KIND_TYPE_TAG && !btf.kflag(id)) {
      const tag = btf.typeName(id);
      flag |= tag === 'user' ? MEM_USER : tag === 'percpu' ? MEM_PERCPU : 0;
    }
    id = btf.type(id);
  }
  return (flag & (flag - 1)) !== 0 ? undefined : { id, flag };
}

/** One access to be judged; methods go through the kernel's steps. */
class BTFContextAccess {
  readonly env: VerifierEnv;
  readonly off: number;
  readonly size: number;
  readonly info: AccessInfo;
  readonly btf: BTF | undefined;
  readonly descriptor: BTFDescriptor | undefined;

  constructor(env: VerifierEnv, off: number, size: number, info: AccessInfo) {
    this.env = env;
    this.off = off;
    this.size = size;
    this.info = info;
    const target = env.load.attachProgram;
    this.descriptor = target === undefined ? env.load.attachBTF : undefined;
    this.btf = target === undefined ? env.attachBTF : target.btf;
  }

  refuse(message: string): false {
    this.env.log.write(message);
    return false;
  }

  check(): boolean {
    const { env, off, btf } = this;
    const name = env.attachFuncName;
    if (off % 8 !== 0) return this.refuse(`func '${name}' offset ${off} is not multiple of 8\n`);
    const proto = env.attachFuncProto;
    if (btf === undefined) return proto === 0 && this.checkUntyped(Math.floor(off / 8));
    if (proto === 0) return this.checkUntyped(Math.floor(off / 8));
    const skipped = env.attachBTFTrace ? 1 : 0;
    const arg = argumentIndex(btf, proto, off);
    const count = btf.vlen(proto) - skipped;
    if (arg > count) return this.refuse(`func '${name}' doesn't have ${arg + 1}-th argument\n`);
    if (arg === count) return this.checkReturnValue(btf, proto, arg);
    return this.checkType(btf, btf.paramType(proto, arg + skipped), arg, btf.paramName(proto, arg + skipped));
  }

  /** Five arguments of 64 bits, where the target's prototype is not to be relied on. */
  checkUntyped(arg: number): boolean {
    if (arg < MAX_BPF_FUNC_REG_ARGS) return true;
    const name = this.env.attachFuncName;
    const facts = factsOf(this.env);
    if (arg === MAX_BPF_FUNC_REG_ARGS && RETURN_READERS.includes(facts.expectedAttachType)) {
      if (facts.expectedAttachType === U.BPF_LSM_MAC) this.info.isRetval = true;
      return true;
    }
    if (arg === MAX_BPF_FUNC_REG_ARGS && facts.expectedAttachType === U.BPF_MODIFY_RETURN) return false;
    return this.refuse(`func '${name}' doesn't have ${arg + 1}-th argument\n`);
  }

  checkReturnValue(btf: BTF, proto: number, arg: number): boolean {
    const facts = factsOf(this.env);
    if (facts.expectedAttachType === U.BPF_LSM_MAC) this.info.isRetval = true;
    if (RETURN_READERS.includes(facts.expectedAttachType)) return this.checkType(btf, btf.type(proto), arg, '');
    if (facts.expectedAttachType !== U.BPF_MODIFY_RETURN) {
      return this.refuse(`func '${this.env.attachFuncName}' doesn't have ${arg + 1}-th argument\n`);
    }
    const type = btf.skipModifiers(btf.type(proto));
    if (!isSmallInt(btf, type)) return this.refuse(`ret type ${kindName(btf, type)} not allowed for fmod_ret\n`);
    return this.checkType(btf, type, arg, '');
  }

  checkType(btf: BTF, typeID: number, arg: number, argName: string): boolean {
    const { env, size, info } = this;
    const name = env.attachFuncName;
    const id = btf.skipModifiers(typeID);
    if (isSmallInt(btf, id) || isEnum(btf, id) || isStruct(btf, id)) return true;
    if (btf.kind(id) !== U.BTF_KIND_PTR) {
      return this.refuse(`func '${name}' arg${arg} '${nameInMessages(btf, id)}' has type ${kindName(btf, id)}. Only pointer access is allowed\n`);
    }
    if (size !== 8) return this.refuse(`func '${name}' size ${size} must be 8\n`);
    const known = contextArguments(env).find((each) => each.offset === this.off);
    if (known !== undefined) {
      const base = baseType(known.regType);
      if (base === PTR_TO_ARENA || (base === PTR_TO_BUF && (known.regType & PTR_MAYBE_NULL) !== 0)) {
        info.regType = known.regType;
        return true;
      }
    }
    // Pointers to anything but a struct are numbers to a program.
    if (!isStructPointer(btf, id)) return true;
    if (known !== undefined) {
      if (known.btfID === 0) return this.refuse(`invalid btf_id for context argument offset ${this.off}\n`);
      info.regType = known.regType;
      info.btfID = known.btfID;
      info.btfIndex = this.indexOf(known.btf);
      info.refID = known.refID;
      return true;
    }
    return this.checkStructPointer(btf, id, arg, argName);
  }

  checkStructPointer(btf: BTF, pointer: number, arg: number, argName: string): boolean {
    const { env, info } = this;
    const facts = factsOf(env);
    info.regType = PTR_TO_BTF_ID;
    if (areArgumentsTrusted(env)) info.regType |= PTR_TRUSTED;
    if (argName.endsWith('__nullable')) info.regType |= PTR_MAYBE_NULL;
    let mayBeError = false;
    if (facts.expectedAttachType === U.BPF_TRACE_RAW_TP) {
      const exception = rawTracepointArgument(facts.attachName.replace(/^btf_trace_/, ''), arg);
      const isModule = env.load.attachBTF !== undefined && env.load.attachBTF.isKernel && env.load.attachBTF.btf.base !== undefined;
      if (exception === undefined ? isModule : exception.mayBeNull) info.regType |= PTR_MAYBE_NULL;
      mayBeError = exception?.mayBeError === true;
    }
    const target = env.load.attachProgram;
    if (target !== undefined) return this.translateToKernel(btf, pointer, target.type, arg);
    const name = env.attachFuncName;
    const walked = walkTags(btf, pointer);
    if (walked === undefined) return this.refuse(`func '${name}' arg${arg} type ${kindName(btf, pointer)} has multiple type tags\n`);
    info.regType |= walked.flag;
    info.btfID = walked.id;
    info.btfIndex = this.indexOf(btf);
    if (!isStruct(btf, walked.id)) return this.refuse(`func '${name}' arg${arg} type ${kindName(btf, walked.id)} is not a struct\n`);
    env.log.write(`func '${name}' arg${arg} has btf_id ${walked.id} type ${kindName(btf, walked.id)} '${nameInMessages(btf, walked.id)}'\n`);
    if (mayBeError) {
      env.log.write(`marking pointer arg${arg} as scalar as it may encode error`);
      info.regType = SCALAR_VALUE;
    }
    return true;
  }

  /** The context of another BPF program, as the kernel knows it. */
  translateToKernel(btf: BTF, pointer: number, targetType: number, arg: number): boolean {
    const kernel = this.env.ext.kernelBTF();
    if (kernel === undefined || !isProgCtxType(this.env, btf, pointer, targetType, arg)) return false;
    const id = kernCtxTypeID(kernel.btf, targetType);
    if (id <= 0) return false;
    this.info.btfID = id;
    this.info.btfIndex = this.env.btfIndexOf(kernel);
    return true;
  }

  indexOf(btf: BTF | undefined): number {
    const { env, descriptor } = this;
    const found = descriptor !== undefined && descriptor.btf === btf ? descriptor : env.ext.kernelBTF();
    return found === undefined ? 0 : env.btfIndexOf(found);
  }
}

const RETURN_READERS: readonly number[] = [U.BPF_LSM_MAC, U.BPF_LSM_CGROUP, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FSESSION];

/** `bpf_tracing_btf_ctx_access()`: bounds and alignment first, then what BTF says. */
export function btfContextAccess(env: VerifierEnv, off: number, size: number, type: number, info: AccessInfo): boolean {
  if (off < 0 || off >= 8 * MAX_BPF_FUNC_ARGS || type !== BPF_READ || off % size !== 0) return false;
  return new BTFContextAccess(env, off, size, info).check();
}

/** LSM programs: the same without the bounds, and without asking whether it is a load. */
export function hookContextAccess(env: VerifierEnv, off: number, size: number, info: AccessInfo): boolean {
  return new BTFContextAccess(env, off, size, info).check();
}

/** struct_ops programs: as above, with what their subsystem adds. */
export function structOpsContextAccess(env: VerifierEnv, off: number, size: number, type: number, info: AccessInfo): boolean {
  const facts = factsOf(env);
  const btf = env.attachBTF;
  if (btf === undefined) return false;
  if (facts.attachStruct === 'Qdisc_ops' && facts.attachName === 'enqueue' && type === BPF_READ && argumentIndex(btf, env.attachFuncProto, off) === 2) {
    // `to_free` reads as a struct made for the purpose, which nothing but the helpers for it may look into.
    info.regType = PTR_TO_BTF_ID | PTR_TRUSTED;
    info.btfID = btf.findByNameKind('bpf_sk_buff_ptr', U.BTF_KIND_STRUCT);
    info.btfIndex = env.load.attachBTF === undefined ? 0 : env.btfIndexOf(env.load.attachBTF);
    return true;
  }
  if (!btfContextAccess(env, off, size, type, info)) return false;
  if (facts.attachStruct === 'tcp_congestion_ops' && baseType(info.regType) === PTR_TO_BTF_ID && !typeHasUnsafeModifiers(info.regType)
    && info.btfID === btf.findByNameKind('sock', U.BTF_KIND_STRUCT)) {
    info.btfID = btf.findByNameKind('tcp_sock', U.BTF_KIND_STRUCT);
  }
  return true;
}
