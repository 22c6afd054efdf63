/**
 * @module verifier/prog_ctx_type
 * Which struct is a program's context: by program type, the type that programs see and the kernel's own behind it, as the
 * kernel's BTF lists them in `struct bpf_ctx_convert`. Reproduces `btf_is_prog_ctx_type` and `find_kern_ctx_type_id` of
 * kernel/bpf/btf.c.
 */
import type { BTF } from '../btf/btf.ts';
import { isModifierKind } from '../btf/btf.ts';
import { BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_SOCKET_FILTER, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_UNION, PROG_TYPE_NAMES } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';

const MAX_CHAIN = 32;

function isStruct(btf: BTF, id: number): boolean {
  const kind = btf.kind(id);
  return kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION;
}

/** Type of a member of `struct bpf_ctx_convert`, 0 for none; program types that the kernel lacks read as the first one. */
function convertedType(kernel: BTF, progType: number, suffix: '_prog' | '_kern'): number {
  const convert = kernel.findByNameKind('bpf_ctx_convert', BTF_KIND_STRUCT);
  if (convert === 0) return 0;
  for (const type of [progType, BPF_PROG_TYPE_SOCKET_FILTER]) {
    const member = kernel.findMember(convert, `BPF_PROG_TYPE_${(PROG_TYPE_NAMES[type] ?? '').toUpperCase()}${suffix}`);
    if (member >= 0) return kernel.memberType(convert, member);
  }
  return 0;
}

/** Type in the kernel's BTF that programs of a type see as their context (`struct __sk_buff`), 0 for none. */
export function progCtxTypeID(kernel: BTF, progType: number): number {
  return convertedType(kernel, progType, '_prog');
}

/** Type in the kernel's BTF that stands behind it (`struct sk_buff`), 0 for none. */
export function kernCtxTypeID(kernel: BTF, progType: number): number {
  return convertedType(kernel, progType, '_kern');
}

/** True where a struct of a program is a reduced view of a kernel's (`btf_is_projection_of`). */
export function isProjectionOf(programName: string, kernelName: string): boolean {
  return (programName === '__sk_buff' && kernelName === 'sk_buff') || (programName === 'xdp_md' && kernelName === 'xdp_buff');
}

/**
 * True where `pointer` (a PTR of `btf`) points to the context of programs of that type.
 *
 * @param arg number of the argument in messages, from 0.
 */
export function isProgCtxType(env: VerifierEnv, btf: BTF, pointer: number, progType: number, arg: number): boolean {
  let target = btf.type(pointer);
  if (progType === BPF_PROG_TYPE_KPROBE) {
    let typedef = target;
    for (let i = 0; i < MAX_CHAIN && isModifierKind(btf.kind(typedef)) && btf.kind(typedef) !== BTF_KIND_TYPEDEF; i++) typedef = btf.type(typedef);
    if (btf.kind(typedef) === BTF_KIND_TYPEDEF && btf.typeName(typedef) === 'bpf_user_pt_regs_t') return true;
  }
  target = btf.skipModifiers(target);
  if (!isStruct(btf, target)) return false;
  const name = btf.stringAt(btf.nameOffset(target));
  if (name === undefined) {
    env.log.write(`arg#${arg} struct doesn't have a name\n`);
    return false;
  }
  const kernel = env.ext.kernelBTF()?.btf;
  const first = kernel === undefined ? 0 : progCtxTypeID(kernel, progType);
  if (kernel === undefined || first === 0) {
    env.log.write('btf_vmlinux is malformed\n');
    return false;
  }
  // The context may be named by a typedef (bpf_user_pt_regs_t): both names count.
  for (const ctx of [first, kernel.skipModifiers(first)]) {
    const ctxName = kernel.typeName(ctx);
    if (ctxName === '') return false;
    if (ctxName === name || isProjectionOf(ctxName, name)) return true;
  }
  return false;
}
