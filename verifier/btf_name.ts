/**
 * @module verifier/btf_name
 * A type as reports name it: `(struct task_struct *)`. Reproduces `bpf_diag_fmt_btf_type()` of kernel/bpf/diagnostics.c.
 */
import type { BTF } from '../btf/btf.ts';
import { shownTypeName } from '../btf/type_name.ts';

/** The type in words that a C programmer knows; its number where it has none. */
export function btfTypeText(btf: BTF, typeID: number): string {
  const name = shownTypeName(btf, typeID);
  if (name === '') return `BTF type ID ${typeID}`;
  return name.endsWith('{') ? name.slice(0, -1) : name;
}
