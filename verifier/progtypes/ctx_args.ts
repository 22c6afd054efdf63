/**
 * @module verifier/progtypes/ctx_args
 * Arguments of a program's context about which more is known than their BTF type says: what an iterator passes, and arguments of
 * struct_ops functions that may be NULL or carry a reference (`struct bpf_ctx_arg_aux`). Source: the `ctx_arg_info` of every
 * `struct bpf_iter_reg`, and `prepare_arg_info()` of `kernel/bpf/bpf_struct_ops.c`, Linux 7.3.
 */
import type { BTF } from '../../btf/btf.ts';
import { BTF_KIND_FUNC, BTF_KIND_PTR, BTF_KIND_STRUCT } from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import { MEM_RDONLY, PTR_MAYBE_NULL, PTR_TO_ARENA, PTR_TO_BTF_ID, PTR_TO_BUF, PTR_TRUSTED } from '../regtypes.ts';

/** One argument of the context. */
export interface ContextArgument {
  /** Bytes from the context's start. */
  readonly offset: number;
  /** `PTR_TO_*` with flags. */
  readonly regType: number;
  /** Type id in {@link ContextArgument.btf}, 0 for a buffer. */
  readonly btfID: number;
  readonly btf: BTF | undefined;
  readonly refcounted: boolean;
  /** Set at the start of a run for arguments that come with a reference. */
  refID: number;
}

interface IteratorArgument {
  readonly offset: number;
  readonly regType: number;
  /** Kernel struct, `""` for a buffer. */
  readonly struct: string;
}

const NULLABLE: number = PTR_TO_BTF_ID | PTR_MAYBE_NULL;
const TRUSTED: number = NULLABLE | PTR_TRUSTED;
const BUFFER: number = PTR_TO_BUF | PTR_MAYBE_NULL;

function args(...list: readonly (readonly [offset: number, regType: number, struct: string])[]): readonly IteratorArgument[] {
  return list.map(([offset, regType, struct]) => ({ offset, regType, struct }));
}

/** Iterators by the name after `bpf_iter_`. Offset 0 is always the iteration's `meta`. */
const ITERATORS: ReadonlyMap<string, readonly IteratorArgument[]> = new Map([
  ['bpf_prog', args([8, NULLABLE, 'bpf_prog'])],
  ['cgroup', args([8, TRUSTED, 'cgroup'])],
  ['kmem_cache', args([8, TRUSTED, 'kmem_cache'])],
  ['task', args([8, TRUSTED, 'task_struct'])],
  ['task_file', args([8, NULLABLE, 'task_struct'], [24, NULLABLE, 'file'])],
  ['task_vma', args([8, NULLABLE, 'task_struct'], [16, NULLABLE, 'vm_area_struct'])],
  ['bpf_map', args([8, TRUSTED, 'bpf_map'])],
  ['bpf_map_elem', args([16, BUFFER | MEM_RDONLY, ''], [24, BUFFER, ''])],
  ['dmabuf', args([8, NULLABLE, 'dma_buf'])],
  ['bpf_link', args([8, NULLABLE, 'bpf_link'])],
  ['netlink', args([8, NULLABLE, 'netlink_sock'])],
  ['ipv6_route', args([8, NULLABLE, 'fib6_info'])],
  ['tcp', args([8, TRUSTED, 'sock_common'])],
  ['udp', args([8, TRUSTED, 'udp_sock'])],
  ['unix', args([8, NULLABLE, 'unix_sock'])],
  ['bpf_sk_storage_map', args([16, NULLABLE, 'sock'], [24, BUFFER, ''])],
  ['sockmap', args([16, BUFFER | MEM_RDONLY, ''], [24, NULLABLE, 'sock'])],
  ['ksym', args([8, NULLABLE, 'kallsym_iter'])],
]);

/** Prefix of the functions that stand for iterators in BTF. */
export const ITERATOR_PREFIX = 'bpf_iter_';

/** Arguments of an iterator; `undefined` for a function that is none. */
export function iteratorArguments(functionName: string, kernel: BTF): ContextArgument[] | undefined {
  if (!functionName.startsWith(ITERATOR_PREFIX)) return undefined;
  return ITERATORS.get(functionName.slice(ITERATOR_PREFIX.length))?.map(({ offset, regType, struct }) => ({
    offset, regType, btf: kernel, refcounted: false, refID: 0, btfID: struct === '' ? 0 : kernel.findByNameKind(struct, BTF_KIND_STRUCT),
  }));
}

/** Bytes an argument takes in the context: its size rounded up to 8. */
export function argumentSlotSize(btf: BTF, typeID: number): number {
  const id = btf.skipModifiers(typeID);
  return btf.kind(id) === BTF_KIND_PTR ? 8 : Math.ceil((btf.resolveSize(id) ?? 0) / 8) * 8;
}

/**
 * Arguments of a struct_ops function by the suffixes of its stub's parameters: the kernel names a stub `<struct>__<member>` and
 * ends a parameter's name with `__nullable`, `__ref`, `__arena` or `__arena__nullable`.
 */
export function structOpsArguments(btf: BTF, struct: string, member: string, proto: number): ContextArgument[] {
  const stub = btf.findByNameKind(`${struct}__${member}`, BTF_KIND_FUNC);
  if (stub <= 0) return [];
  const stubProto = btf.functionProto(stub);
  const found: ContextArgument[] = [];
  let offset = 0;
  for (let i = 0; i < btf.vlen(proto) && i < btf.vlen(stubProto); i++) {
    const name = btf.paramName(stubProto, i);
    const pointer = btf.skipModifiers(btf.paramType(proto, i));
    const at = { offset, btf, btfID: btf.kind(pointer) === BTF_KIND_PTR ? btf.skipModifiers(btf.type(pointer)) : 0, refID: 0 };
    if (name.endsWith('__arena__nullable') || name.endsWith('__arena')) found.push({ ...at, regType: PTR_TO_ARENA, refcounted: false });
    else if (name.endsWith('__nullable')) found.push({ ...at, regType: PTR_TRUSTED | PTR_TO_BTF_ID | PTR_MAYBE_NULL, refcounted: false });
    else if (name.endsWith('__ref')) found.push({ ...at, regType: PTR_TRUSTED | PTR_TO_BTF_ID, refcounted: true });
    offset += argumentSlotSize(btf, btf.paramType(proto, i));
  }
  return found;
}

/** Notes the arguments of a load, once its attach target is known. */
export function setContextArguments(env: VerifierEnv, list: readonly ContextArgument[]): void {
  env.contextArguments = list;
}

/** The arguments of a load's context; none before its attach target is known. The caller sets `refID` of refcounted ones. */
export function contextArguments(env: VerifierEnv): readonly ContextArgument[] {
  return env.contextArguments;
}
