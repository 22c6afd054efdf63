/**
 * @module verifier/kfuncs
 * Kernel functions that a program calls: found in the kernel's BTF or a module's, with their prototypes and what their arguments must be.
 * Reproduces `bpf_add_kfunc_call` and `fetch_kfunc_meta` of kernel/bpf/verifier.c.
 */
import type { BTF } from '../btf/btf.ts';
import { E2BIG, EACCES, EINVAL, ENOENT, ENOTSUPP, EPROTO, EFAULT } from '../isa/errno.ts';
import { BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { isKfuncAllowed, kfuncFlags } from './kfunc_access.ts';
import { checkFuncModel, classifyArgs, type KfuncDesc, type KfuncMeta } from './kfunc_params.ts';
import { KF_IMPLICIT_ARGS } from './kfunc_sets.ts';
import type { BTFDescriptor } from './types.ts';

const MAX_KFUNC_DESCS = 256;
const MAX_KFUNC_BTFS = 256;

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
