/**
 * @module verifier/progtypes/kernel_layout
 * Where members of the kernel's own structures lie, from the kernel's BTF: what the kernel's C code writes as `offsetof()` and
 * `sizeof_field()`. Looked up once a member.
 */
import type { BTF } from '../../btf/btf.ts';
import { InternalError } from '../../isa/errors.ts';
import { BTF_KIND_STRUCT, BTF_KIND_UNION } from '../../isa/uapi.ts';

/** A member's place. */
export interface Place {
  /** Bytes from the structure's start. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

const MAX_DEPTH = 8;

function isAggregate(btf: BTF, id: number): boolean {
  return btf.kind(id) === BTF_KIND_STRUCT || btf.kind(id) === BTF_KIND_UNION;
}

/** A member by name, also within unnamed structs and unions; bits from the start, and its type. */
function findMember(btf: BTF, struct: number, name: string, depth: number): { readonly bits: number; readonly type: number } | undefined {
  if (depth > MAX_DEPTH) return undefined;
  for (let i = 0; i < btf.vlen(struct); i++) {
    const bits = btf.memberBitOffset(struct, i);
    const type = btf.memberType(struct, i);
    const member = btf.memberName(struct, i);
    if (member === name) return { bits, type };
    const inner = btf.skipModifiers(type);
    if (member !== '' || !isAggregate(btf, inner)) continue;
    const found = findMember(btf, inner, name, depth + 1);
    if (found !== undefined) return { bits: bits + found.bits, type: found.type };
  }
  return undefined;
}

/** Layouts of one kernel. */
export class KernelLayout {
  readonly #btf: BTF;
  readonly #places = new Map<string, Place>();

  constructor(btf: BTF) {
    this.#btf = btf;
  }

  /**
   * A member's place.
   * @param path struct, then members: `"sock.__sk_common.skc_family"`; the result is relative to the struct
   * @throws {InternalError} where the kernel has no such member
   */
  place(path: string): Place {
    const known = this.#places.get(path);
    if (known !== undefined) return known;
    const found = this.#find(path);
    this.#places.set(path, found);
    return found;
  }

  #find(path: string): Place {
    const btf = this.#btf;
    const [struct = '', ...members] = path.split('.');
    let id = btf.findByNameKind(struct, BTF_KIND_STRUCT);
    let bits = 0;
    for (const name of members) {
      const found = id > 0 && isAggregate(btf, id) ? findMember(btf, id, name, 0) : undefined;
      if (found === undefined) throw new InternalError(`the kernel's BTF has no ${path}`);
      bits += found.bits;
      id = btf.skipModifiers(found.type);
    }
    return { offset: bits >>> 3, size: btf.resolveSize(id) ?? 0 };
  }
}

const layouts = new WeakMap<BTF, KernelLayout>();

/** The layouts that a kernel's BTF describes. */
export function kernelLayout(btf: BTF): KernelLayout {
  let layout = layouts.get(btf);
  if (layout === undefined) {
    layout = new KernelLayout(btf);
    layouts.set(btf, layout);
  }
  return layout;
}
