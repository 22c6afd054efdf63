/**
 * @module verifier/dynptr_types
 * Kinds of dynptrs (`enum bpf_dynptr_type`) and the flags that stand for them in argument types.
 */
import {
  DYNPTR_TYPE_FILE, DYNPTR_TYPE_FLAG_MASK, DYNPTR_TYPE_LOCAL, DYNPTR_TYPE_RINGBUF, DYNPTR_TYPE_SKB, DYNPTR_TYPE_SKB_META, DYNPTR_TYPE_XDP,
} from './regtypes.ts';

export const BPF_DYNPTR_TYPE_INVALID = 0;
export const BPF_DYNPTR_TYPE_LOCAL = 1;
export const BPF_DYNPTR_TYPE_RINGBUF = 2;
export const BPF_DYNPTR_TYPE_SKB = 3;
export const BPF_DYNPTR_TYPE_XDP = 4;
export const BPF_DYNPTR_TYPE_SKB_META = 5;
export const BPF_DYNPTR_TYPE_FILE = 6;
/** Stack slots of a dynptr. */
export const BPF_DYNPTR_NR_SLOTS = 2;
/** Bytes of a dynptr. */
export const BPF_DYNPTR_SIZE = 16;

const FLAGS: readonly number[] = [
  0, DYNPTR_TYPE_LOCAL, DYNPTR_TYPE_RINGBUF, DYNPTR_TYPE_SKB, DYNPTR_TYPE_XDP, DYNPTR_TYPE_SKB_META, DYNPTR_TYPE_FILE,
];

/** The kind that an argument type asks for, `BPF_DYNPTR_TYPE_INVALID` for any. */
export function argToDynptrType(argType: number): number {
  return Math.max(0, FLAGS.indexOf(argType & DYNPTR_TYPE_FLAG_MASK));
}

/** The flag that stands for a kind. */
export function dynptrTypeFlag(type: number): number {
  return FLAGS[type] ?? 0;
}

/** Kinds that hold a resource which must be released. */
export function dynptrTypeReferenced(type: number): boolean {
  return type === BPF_DYNPTR_TYPE_RINGBUF || type === BPF_DYNPTR_TYPE_FILE;
}
