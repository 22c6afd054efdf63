/**
 * @module verifier/ptr_null
 * A pointer that turned out not to be null (`mark_ptr_not_null_reg`, kernel/bpf/verifier.c).
 */
import { PTR_MAYBE_NULL } from './regtypes.ts';
import { REG_TYPE } from './state.ts';

/** The pointer in `reg` is not null. */
export function markPtrNotNull(w: Int32Array, reg: number): void {
  w[reg + REG_TYPE]! &= ~PTR_MAYBE_NULL;
}
