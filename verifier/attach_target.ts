/**
 * @module verifier/attach_target
 * Looks at what a program is to be attached to, in the kernel or in another program, and notes its prototype for the checks of the
 * program itself. Reproduces `check_attach_btf_id()`, `bpf_check_attach_target()`, `check_struct_ops_btf_id()` of
 * `kernel/bpf/verifier.c`, `btf_distill_func_proto()`, `btf_check_type_match()` of `kernel/bpf/btf.c`, `bpf_lsm_verify_prog()` and
 * `bpf_iter_prog_supported()`, with their messages. Attaching itself is the kernel room's.
 */
import type { BTF } from '../btf/btf.ts';
import { EFAULT, EINVAL, ENOENT, ENOTSUPP, EOPNOTSUPP } from '../isa/errno.ts';
import * as U from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { hasImplicitArguments } from './kfunc_access.ts';
import { kindName } from './progtypes/btf_ctx.ts';
import { iteratorArguments, setContextArguments, structOpsArguments } from './progtypes/ctx_args.ts';
import { DISABLED_HOOKS, isHook, isSleepableHook } from './progtypes/lsm_hooks.ts';
import {
  canModifyReturn, DENIED_FUNCTIONS, isFaultableTracepoint, NORETURN_FUNCTIONS, SLEEPABLE_MODIFY_RETURN, STRUCT_OPS, takesErrorInjection,
} from './progtypes/targets.ts';
import type { ProgramDescriptor } from './types.ts';

const MAX_FUNC_ARGS = 12;
const RAW_TRACEPOINT_PREFIX = 'btf_trace_';

const MULTI_ATTACH_TYPES: readonly number[] = [U.BPF_TRACE_FENTRY_MULTI, U.BPF_TRACE_FEXIT_MULTI, U.BPF_TRACE_FSESSION_MULTI];
const FUNCTION_ATTACH_TYPES: readonly number[] = [
  U.BPF_MODIFY_RETURN, U.BPF_LSM_MAC, U.BPF_LSM_CGROUP, U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FSESSION, ...MULTI_ATTACH_TYPES,
];
const SLEEPABLE_TRACING: readonly number[] = [
  U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_MODIFY_RETURN, U.BPF_TRACE_ITER, U.BPF_TRACE_FSESSION, U.BPF_TRACE_RAW_TP, ...MULTI_ATTACH_TYPES,
];
const RETVAL_ATTACH_TYPES: readonly number[] = [
  U.BPF_MODIFY_RETURN, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FEXIT_MULTI, U.BPF_TRACE_FSESSION, U.BPF_TRACE_FSESSION_MULTI,
];

/** What a target is once it is accepted. */
interface Target {
  /** Prototype in the target's BTF; 0 for five arguments of 64 bits. */
  readonly proto: number;
  readonly name: string;
}

/** The checks of one load, step by step; messages go to its log. */
class AttachTarget {
  readonly env: VerifierEnv;
  readonly program: ProgramDescriptor | undefined;
  readonly btfID: number;
  readonly attachType: number;

  constructor(env: VerifierEnv) {
    this.env = env;
    this.program = env.load.attachProgram;
    this.btfID = env.load.attachBTFID;
    this.attachType = env.expectedAttachType;
  }

  refuse(message: string, errno: number = EINVAL): number {
    this.env.log.write(`${message}\n`);
    return -errno;
  }

  get isExtension(): boolean {
    return this.env.load.type === U.BPF_PROG_TYPE_EXT;
  }

  /** The target, or `-errno` with its message in the log. */
  resolve(): Target | number {
    const { btfID, program, env } = this;
    if (btfID === 0) return this.refuse('Tracing programs must provide btf_id');
    const btf = program === undefined ? env.attachBTF : program.btf;
    if (btf === undefined) return this.refuse('Tracing program can only be attached to another program annotated with BTF');
    if (!btf.has(btfID)) return this.refuse(`attach_btf_id ${btfID} is invalid`);
    const name = btf.stringAt(btf.nameOffset(btfID));
    if (name === undefined) return this.refuse(`attach_btf_id ${btfID} doesn't have a name`);
    let subprog = -1;
    if (program !== undefined) {
      subprog = program.functions.findIndex((each) => each.typeID === btfID);
      const refused = this.checkProgram(program, subprog, name);
      if (refused !== 0) return refused;
    } else if (this.isExtension) {
      return this.refuse('Cannot replace kernel functions');
    }
    if (this.attachType === U.BPF_TRACE_RAW_TP) return this.resolveRawTracepoint(btf, name);
    if (this.attachType === U.BPF_TRACE_ITER) return this.resolveIterator(btf, name);
    if (!FUNCTION_ATTACH_TYPES.includes(this.attachType) && !this.isExtension) return -EINVAL;
    return this.resolveFunction(btf, name, subprog);
  }

  /** Rules for attaching to another BPF program. */
  checkProgram(program: ProgramDescriptor, subprog: number, name: string): number {
    const target = program.functions[subprog];
    if (target === undefined) return this.refuse(`Subprog ${name} doesn't exist`);
    if (subprog === 0 && program.hasArenaArgument) return this.refuse('Cannot attach to a target with arena context arguments', EOPNOTSUPP);
    if (target.isExceptionCallback) return this.refuse(`${this.isExtension ? 'Extension' : 'Tracing'} programs cannot attach to exception callback`);
    if (this.isExtension) {
      if (target.unreliable) return this.refuse('Cannot replace static functions');
      if (this.env.changesPktData && !target.changesPacketData) return this.refuse('Extension program changes packet data, while original does not');
      if (this.env.mightSleep && !target.mightSleep) return this.refuse('Extension program may sleep, while original does not');
    }
    if (!program.jited) return this.refuse('Can attach to only JITed progs');
    if (this.env.load.type === U.BPF_PROG_TYPE_TRACING) {
      return program.tracesTracing ? this.refuse('Cannot nest tracing program attach more than once') : 0;
    }
    if (program.type === this.env.load.type) return this.refuse('Cannot recursively attach');
    const observes = program.type === U.BPF_PROG_TYPE_TRACING && [U.BPF_TRACE_FENTRY, U.BPF_TRACE_FEXIT, U.BPF_TRACE_FENTRY_MULTI,
      U.BPF_TRACE_FEXIT_MULTI, U.BPF_TRACE_FSESSION, U.BPF_TRACE_FSESSION_MULTI].some((type) => type === program.expectedAttachType);
    return observes && this.isExtension ? this.refuse('Cannot extend fentry/fexit/fsession') : 0;
  }

  resolveRawTracepoint(btf: BTF, typeName: string): Target | number {
    const { btfID } = this;
    if (this.program !== undefined) return this.refuse('Only FENTRY/FEXIT/FSESSION progs are attachable to another BPF prog');
    if (btf.kind(btfID) !== U.BTF_KIND_TYPEDEF) return this.refuse(`attach_btf_id ${btfID} is not a typedef`);
    if (!typeName.startsWith(RAW_TRACEPOINT_PREFIX)) return this.refuse(`attach_btf_id ${btfID} points to wrong type name ${typeName}`);
    const name = typeName.slice(RAW_TRACEPOINT_PREFIX.length);
    if (this.env.sleepable && !isFaultableTracepoint(name)) return this.refuse(`Sleepable program cannot attach to non-faultable tracepoint ${name}`);
    const template = btf.findByNameKind(`__bpf_trace_${name}`, U.BTF_KIND_FUNC);
    if (template > 0) return { proto: btf.functionProto(template), name };
    // The template of a class of events goes by the class's name, which BTF does not tell; its prototype is that of the typedef.
    const pointer = btf.type(btfID);
    if (btf.kind(pointer) !== U.BTF_KIND_PTR || btf.kind(btf.type(pointer)) !== U.BTF_KIND_FUNC_PROTO) return -EINVAL;
    return { proto: btf.type(pointer), name };
  }

  resolveIterator(btf: BTF, name: string): Target | number {
    if (btf.kind(this.btfID) !== U.BTF_KIND_FUNC) return this.refuse(`attach_btf_id ${this.btfID} is not a function`);
    const proto = btf.functionProto(this.btfID);
    const refused = this.checkPrototype(btf, proto, name).error;
    return refused === 0 ? { proto, name } : refused;
  }

  resolveFunction(btf: BTF, name: string, subprog: number): Target | number {
    const { btfID, program, env } = this;
    if (btf.kind(btfID) !== U.BTF_KIND_FUNC) return this.refuse(`attach_btf_id ${btfID} is not a function`);
    if (this.isExtension) {
      const mismatch = this.checkReplacement(btf, btfID);
      if (mismatch !== 0) return -EINVAL;
    }
    const declared = this.declaredPrototype(btf, name);
    if (btf.kind(declared) !== U.BTF_KIND_FUNC_PROTO) return -EINVAL;
    const proto = program?.functions[subprog]?.unreliable === true ? 0 : declared;
    const { error, returnSize } = this.checkPrototype(btf, proto, name);
    if (error !== 0) return error;
    if (returnSize > 8 && RETVAL_ATTACH_TYPES.includes(this.attachType)) {
      return this.refuse(`Attach to function ${name} with a >8 byte return value is not supported for this attach type`, EOPNOTSUPP);
    }
    if (program === undefined && !this.isMulti(name) && env.ext.kernelSymbol(name) === undefined) {
      return this.refuse(`The address of function ${name} cannot be found`, ENOENT);
    }
    if (env.sleepable) {
      if (!this.mayAttachSleepable(btf, name)) return this.refuse(`${name} is not sleepable`);
    } else if (this.attachType === U.BPF_MODIFY_RETURN) {
      if (program !== undefined) return this.refuse("can't modify return codes of BPF programs");
      if (!canModifyReturn(name)) return this.refuse(`${name}() is not modifiable`);
    }
    return { proto, name };
  }

  /** The placeholder for many functions, whose places are known when a link is made. */
  isMulti(name: string): boolean {
    return MULTI_ATTACH_TYPES.includes(this.attachType) && name === 'bpf_multi_func';
  }

  /** A kernel function with arguments that the verifier fills in has them in its `_impl` twin alone (`btf_attach_func_proto`). */
  declaredPrototype(btf: BTF, name: string): number {
    if (!btf.isKernel || !hasImplicitArguments(name)) return btf.functionProto(this.btfID);
    const twin = btf.findByNameKind(`${name}_impl`, U.BTF_KIND_FUNC);
    if (twin > 0) return btf.functionProto(twin);
    this.env.log.write(`cannot find function ${name}_impl in BTF\n`);
    return 0;
  }

  mayAttachSleepable(btf: BTF, name: string): boolean {
    if (!btf.isKernel) return false;
    switch (this.env.load.type) {
      case U.BPF_PROG_TYPE_TRACING: return this.isMulti(name) || takesErrorInjection(name) || SLEEPABLE_MODIFY_RETURN.has(name);
      case U.BPF_PROG_TYPE_LSM: return isSleepableHook(name);
      default: return false;
    }
  }

  /** What a trampoline can pass on: at most twelve arguments of at most 16 bytes (`btf_distill_func_proto`). */
  checkPrototype(btf: BTF, proto: number, name: string): { readonly error: number; readonly returnSize: number } {
    if (proto === 0) return { error: 0, returnSize: 8 };
    const count = btf.vlen(proto);
    if (count > MAX_FUNC_ARGS) return { error: this.refuse(`The function ${name} has ${count} arguments. Too many.`), returnSize: 0 };
    const returned = typeSize(btf, btf.type(proto));
    if (returned.size < 0 || isStruct(btf, returned.id)) {
      return { error: this.refuse(`The function ${name} return type ${kindName(btf, returned.id)} is unsupported.`), returnSize: 0 };
    }
    for (let i = 0; i < count; i++) {
      const type = btf.paramType(proto, i);
      if (i === count - 1 && type === 0) return { error: this.refuse(`The function ${name} with variable args is unsupported.`), returnSize: 0 };
      const { size, id } = typeSize(btf, type);
      if (size < 0 || size > 16) return { error: this.refuse(`The function ${name} arg${i} type ${kindName(btf, id)} is unsupported.`), returnSize: 0 };
      if (size === 0) return { error: this.refuse(`The function ${name} has malformed void argument.`), returnSize: 0 };
    }
    return { error: 0, returnSize: returned.size };
  }

  /** An extension must look like the function it replaces (`btf_check_type_match`). */
  checkReplacement(targetBTF: BTF, target: number): number {
    const { env } = this;
    const own = env.btf?.btf;
    const id = env.funcInfo[0]?.typeID;
    if (own === undefined || id === undefined) return this.refuse('Program extension requires BTF');
    if (id === 0 || own.kind(id) !== U.BTF_KIND_FUNC) return -EFAULT;
    const a = own.typeName(id);
    const b = targetBTF.typeName(target);
    if (own.functionLinkage(id) !== U.BTF_FUNC_GLOBAL) return this.refuse(`${a}() is not a global function`);
    if (targetBTF.functionLinkage(target) !== U.BTF_FUNC_GLOBAL) return this.refuse(`${b}() is not a global function`);
    const mine = own.functionProto(id);
    const theirs = targetBTF.functionProto(target);
    if (own.vlen(mine) !== targetBTF.vlen(theirs)) return this.refuse(`${a}() has ${own.vlen(mine)} args while ${b}() has ${targetBTF.vlen(theirs)} args`);
    const r1 = own.skipModifiers(own.type(mine));
    const r2 = targetBTF.skipModifiers(targetBTF.type(theirs));
    if (own.info(r1) !== targetBTF.info(r2)) {
      return this.refuse(`Return type ${kindName(own, r1)} of ${a}() doesn't match type ${kindName(targetBTF, r2)} of ${b}()`);
    }
    for (let i = 0; i < own.vlen(mine); i++) {
      const error = this.compareArgument(i, own, own.paramType(mine, i), a, targetBTF, targetBTF.paramType(theirs, i), b);
      if (error !== 0) return error;
    }
    return 0;
  }

  compareArgument(i: number, btf1: BTF, type1: number, a: string, btf2: BTF, type2: number, b: string): number {
    const t1 = btf1.skipModifiers(type1);
    const t2 = btf2.skipModifiers(type2);
    if (btf1.info(t1) !== btf2.info(t2)) return this.refuse(`arg${i} in ${a}() is ${kindName(btf1, t1)} while ${b}() has ${kindName(btf2, t2)}`);
    const isNumber = [U.BTF_KIND_INT, U.BTF_KIND_ENUM, U.BTF_KIND_ENUM64].some((kind) => kind === btf1.kind(t1));
    if ((isNumber || isStruct(btf1, t1)) && btf1.size(t1) !== btf2.size(t2)) {
      return this.refuse(`arg${i} in ${a}() has size ${btf1.size(t1)} while ${b}() has ${btf2.size(t2)}`);
    }
    if (isNumber) return 0;
    if (btf1.kind(t1) !== U.BTF_KIND_PTR) return this.refuse(`arg${i} in ${a}() has unrecognized type`);
    const s1 = btf1.skipModifiers(btf1.type(t1));
    const s2 = btf2.skipModifiers(btf2.type(t2));
    if (!isStruct(btf1, s1)) return this.refuse(`arg${i} in ${a}() is not a pointer to context`);
    if (!isStruct(btf2, s2)) return this.refuse(`arg${i} in ${b}() is not a pointer to context`);
    const n1 = btf1.typeName(s1);
    const n2 = btf2.typeName(s2);
    return n1 === n2 ? 0 : this.refuse(`arg${i} ${a}(struct ${n1} *) doesn't match ${b}(struct ${n2} *)`);
  }
}

function isStruct(btf: BTF, id: number): boolean {
  return btf.kind(id) === U.BTF_KIND_STRUCT || btf.kind(id) === U.BTF_KIND_UNION;
}

/** Bytes of an argument or result, 0 for void, -1 for what cannot be one. */
function typeSize(btf: BTF, typeID: number): { readonly size: number; readonly id: number } {
  if (typeID === 0) return { size: 0, id: 0 };
  const id = btf.skipModifiers(typeID);
  switch (btf.kind(id)) {
    case U.BTF_KIND_PTR: return { size: 8, id };
    case U.BTF_KIND_INT:
    case U.BTF_KIND_ENUM:
    case U.BTF_KIND_ENUM64:
    case U.BTF_KIND_STRUCT:
    case U.BTF_KIND_UNION: return { size: btf.size(id), id };
    default: return { size: -1, id };
  }
}

function canBeSleepable(env: VerifierEnv): boolean {
  switch (env.load.type) {
    case U.BPF_PROG_TYPE_TRACING: return SLEEPABLE_TRACING.includes(env.expectedAttachType);
    case U.BPF_PROG_TYPE_LSM: return env.expectedAttachType !== U.BPF_LSM_CGROUP;
    case U.BPF_PROG_TYPE_KPROBE:
    case U.BPF_PROG_TYPE_STRUCT_OPS:
    case U.BPF_PROG_TYPE_RAW_TRACEPOINT:
    case U.BPF_PROG_TYPE_TRACEPOINT: return true;
    default: return false;
  }
}

/**
 * The phase of `bpf_check` that looks at the attach target: 0 or `-errno`. Fills in `env.attachFuncProto`, `attachFuncName`,
 * `attachBTFTrace`, the arguments that are known better than by their type, and for an extension the type it behaves like.
 */
export function checkAttachTarget(env: VerifierEnv): number {
  const { load, log } = env;
  if (load.type === U.BPF_PROG_TYPE_SYSCALL) {
    if (env.sleepable) return 0;
    log.write('Syscall programs can only be sleepable\n');
    return -EINVAL;
  }
  if (env.sleepable && !canBeSleepable(env)) {
    log.write('Program of this type cannot be sleepable\n');
    return -EINVAL;
  }
  if (load.type === U.BPF_PROG_TYPE_STRUCT_OPS) return checkStructOps(env);
  if (load.type !== U.BPF_PROG_TYPE_TRACING && load.type !== U.BPF_PROG_TYPE_LSM && load.type !== U.BPF_PROG_TYPE_EXT) return 0;
  const target = new AttachTarget(env).resolve();
  if (typeof target === 'number') return target;
  env.attachFuncProto = target.proto;
  env.attachFuncName = target.name;
  const program = load.attachProgram;
  if (program !== undefined) {
    if (load.type === U.BPF_PROG_TYPE_EXT) {
      env.opsType = program.type;
      env.expectedAttachType = program.expectedAttachType;
    }
  }
  if (env.expectedAttachType === U.BPF_TRACE_RAW_TP) {
    env.attachBTFTrace = true;
    return 0;
  }
  if (env.expectedAttachType === U.BPF_TRACE_ITER) return checkIterator(env);
  return checkTargetFunction(env, target.name);
}

function checkIterator(env: VerifierEnv): number {
  const found = env.attachBTF === undefined ? undefined : iteratorArguments(env.attachFuncName, env.attachBTF);
  if (found === undefined) return -EINVAL;
  setContextArguments(env, found);
  return 0;
}

function checkTargetFunction(env: VerifierEnv, name: string): number {
  const { load, log } = env;
  if (load.type === U.BPF_PROG_TYPE_LSM) return checkHook(env, name);
  if (load.type === U.BPF_PROG_TYPE_TRACING && load.attachProgram === undefined && DENIED_FUNCTIONS.has(name)) {
    log.write(`Attaching tracing programs to function '${name}' is rejected.\n`);
    return -EINVAL;
  }
  const waitsForReturn = [U.BPF_TRACE_FEXIT, U.BPF_TRACE_FSESSION, U.BPF_TRACE_FSESSION_MULTI, U.BPF_MODIFY_RETURN].some((type) => type === env.expectedAttachType);
  if (waitsForReturn && load.attachProgram === undefined && NORETURN_FUNCTIONS.has(name)) {
    log.write(`Attaching fexit/fsession/fmod_ret to __noreturn function '${name}' is rejected.\n`);
    return -EINVAL;
  }
  return 0;
}

function checkHook(env: VerifierEnv, name: string): number {
  const { load, log } = env;
  if (!load.gplCompatible) {
    log.write('LSM programs must have a GPL compatible license\n');
    return -EINVAL;
  }
  if (DISABLED_HOOKS.has(name)) {
    log.write(`attach_btf_id ${load.attachBTFID} points to disabled hook ${name}\n`);
    return -EINVAL;
  }
  if (!isHook(name)) {
    log.write(`attach_btf_id ${load.attachBTFID} points to wrong type name ${name}\n`);
    return -EINVAL;
  }
  return 0;
}

function checkStructOps(env: VerifierEnv): number {
  const { load, log } = env;
  const refuse = (message: string, errno: number): number => {
    log.write(`${message}\n`);
    return -errno;
  };
  if (!load.gplCompatible) return refuse('struct ops programs must have a GPL compatible license', EINVAL);
  if (load.attachBTFID === 0) return -ENOTSUPP;
  const btf = env.attachBTF;
  const id = load.attachBTFID;
  const struct = btf === undefined || !btf.has(id) || btf.kind(id) !== U.BTF_KIND_STRUCT ? '' : btf.typeName(id);
  const ops = STRUCT_OPS.get(struct);
  if (btf === undefined || ops === undefined) return refuse(`attach_btf_id ${id} is not a supported struct`, ENOTSUPP);
  const index = load.expectedAttachType;
  if (index >= btf.vlen(id)) return refuse(`attach to invalid member idx ${index} of struct ${struct}`, EINVAL);
  const member = btf.memberName(id, index);
  const proto = btf.resolveFunctionPointer(btf.memberType(id, index));
  if (proto === undefined) return refuse(`attach to invalid member ${member}(@idx ${index}) of struct ${struct}`, EINVAL);
  if (!ops.members.has(member)) return refuse(`attach to unsupported member ${member} of struct ${struct}`, ENOTSUPP);
  const sleeps = ops.sleepable(member);
  if ((env.sleepable && sleeps === 'never') || (!env.sleepable && sleeps === 'always')) {
    return refuse(`attach to unsupported member ${member} of struct ${struct}`, EINVAL);
  }
  const args = structOpsArguments(btf, struct, member, proto);
  if (args.some((each) => each.refcounted) && env.subprogs.slice(0, env.subprogCount).some((sub) => sub.hasTailCall)) {
    return refuse('program with __ref argument cannot tail call', EINVAL);
  }
  env.attachFuncProto = proto;
  env.attachFuncName = member;
  setContextArguments(env, args);
  return 0;
}
