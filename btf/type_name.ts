/**
 * @module btf/type_name
 * A type's name as the kernel shows values of it: `(struct task_struct *)`. Reproduces `btf_show_name` of kernel/bpf/btf.c for a
 * type by itself.
 */
import {
  BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_UNION,
} from '../isa/uapi.ts';
import { type BTF, isModifierKind } from './btf.ts';

/** Pointers, arrays and typedefs that a name can show. */
const MAX_STEPS = 10;
/** Bytes of the kernel's buffer without the final zero. */
const MAX_LENGTH = 79;

/** The name in parentheses, with `{` or `[` behind it where a value of several parts would follow; `""` where it is too deep. */
export function shownTypeName(btf: BTF, typeID: number): string {
  if (!btf.has(typeID)) return '';
  let id = typeID;
  let name: string | undefined;
  let pointers = 0;
  let arrays = 0;
  let hasTypedef = false;
  let parens = '';
  let steps = 0;
  for (; steps < MAX_STEPS; steps++) {
    const kind = btf.kind(id);
    let next: number;
    if (kind === BTF_KIND_TYPEDEF) {
      name ??= btf.typeName(id);
      hasTypedef = true;
      next = btf.type(id);
    } else if (kind === BTF_KIND_ARRAY) {
      parens = '[';
      arrays++;
      next = btf.arrayElementType(id);
    } else if (kind === BTF_KIND_PTR) {
      pointers++;
      next = btf.type(id);
    } else {
      break;
    }
    id = next;
    // Qualifiers do not show; typedefs do.
    for (let i = 0; i < 32 && isModifierKind(btf.kind(id)) && btf.kind(id) !== BTF_KIND_TYPEDEF; i++) id = btf.type(id);
    if (next === 0) break;
  }
  if (steps === MAX_STEPS) return '';

  const kind = btf.kind(id);
  name ??= kind === 0 ? 'void' : btf.typeName(id);
  let prefix = '';
  if (kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION) {
    prefix = kind === BTF_KIND_STRUCT ? 'struct' : 'union';
    if (arrays === 0) parens = '{';
  } else if (kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64) {
    prefix = 'enum';
  }
  if (pointers > 0) parens = '';
  if (hasTypedef) prefix = '';
  const gap = prefix !== '' && name !== '' ? ' ' : '';
  const stars = pointers > 0 ? ` ${'*'.repeat(pointers)}` : '';
  return `(${prefix}${gap}${name}${stars}${'[]'.repeat(arrays)})${parens}`.slice(0, MAX_LENGTH);
}
