/**
 * @module verifier/ops_types
 * What the checks need to know of a program type: prototypes of helpers and rules of context access. Owns the shapes only; the
 * tables are in `progtypes/`.
 */

/** A helper's prototype (`struct bpf_func_proto`). Arguments and result are `ARG_*`, `RET_*` with flags (regtypes.ts). */
export interface HelperProto {
  readonly id: number;
  /** `map_lookup_elem`, without prefix. */
  readonly name: string;
  readonly gplOnly: boolean;
  readonly pktAccess: boolean;
  readonly mightSleep: boolean;
  readonly allowFastcall: boolean;
  readonly retType: number;
  /** Up to five `ARG_*`; missing ones are `ARG_DONTCARE`. */
  readonly argTypes: readonly number[];
  /** Name of the kernel struct an `ARG_PTR_TO_BTF_ID` argument points at, by argument. */
  readonly argBTFNames?: readonly (string | undefined)[];
  /** Bytes of `MEM_FIXED_SIZE` arguments, by argument. */
  readonly argSizes?: readonly (number | undefined)[];
  /** Name of the kernel struct that the result points at. */
  readonly retBTFName?: string;
  /** True where the helper has its own rule for the program and it is not met (`!fn->allowed(prog)`). */
  readonly isForbidden?: boolean;
}

/** In: `isLdsx`. Out: what a load from the context gives (`struct bpf_insn_access_aux`). Callers reset it before use. */
export interface AccessInfo {
  /** `SCALAR_VALUE` or `PTR_TO_*` with flags. */
  regType: number;
  isLdsx: boolean;
  isRetval: boolean;
  /** Bytes of the field that is narrowed, 0 for none. */
  ctxFieldSize: number;
  /** Index in `env.btfTable` and type id where `regType` is `PTR_TO_BTF_ID`. */
  btfIndex: number;
  btfID: number;
  refID: number;
}
