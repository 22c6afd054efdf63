/**
 * @module verifier/btf_name
 * A type as reports name it: `(struct task_struct *)` (`btf_type_name_to_buf()`, kernel/bpf/btf.c, and
 * `bpf_diag_fmt_btf_type()`, kernel/bpf/diagnostics.c).
 */
import { isModifierKind, type BTF } from '../btf/btf.ts';
import { BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_UNION } from '../isa/uapi.ts';

const MAX_STEPS = 10;

/** The type in words that a C programmer knows; its number where it has none. */
export function btfTypeText(btf: BTF, typeID: number): string {
  let id = typeID, name: string | undefined, stars = '', brackets = '';
  let isTypedef = false;
  for (let i = 0; ; i++) {
    if (i === MAX_STEPS || !btf.has(id)) return `BTF type ID ${typeID}`;
    const kind = btf.kind(id);
    if (kind === BTF_KIND_TYPEDEF) {
      name ??= btf.typeName(id);
      isTypedef = true;
      id = btf.type(id);
    } else if (kind === BTF_KIND_ARRAY) {
      brackets += '[]';
      id = btf.arrayElementType(id);
    } else if (kind === BTF_KIND_PTR) {
      stars += '*';
      id = btf.type(id);
    } else if (isModifierKind(kind)) id = btf.type(id);
    else break;
    if (id === 0) break;
  }
  const kind = id === 0 ? 0 : btf.kind(id);
  name ??= id === 0 ? 'void' : btf.typeName(id);
  let prefix = '';
  if (!isTypedef) {
    if (kind === BTF_KIND_STRUCT) prefix = 'struct';
    else if (kind === BTF_KIND_UNION) prefix = 'union';
    else if (kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64) prefix = 'enum';
  }
  const space = prefix !== '' && name !== '' ? ' ' : '';
  return `(${prefix}${space}${name}${stars === '' ? '' : ` ${stars}`}${brackets})`;
}
