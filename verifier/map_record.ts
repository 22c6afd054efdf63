/**
 * @module verifier/map_record
 * The special fields (locks, timers, kptrs, lists, trees…) of a map's value, as the map's BTF describes it.
 */
import type { MapDescriptor } from './types.ts';

// enum btf_field_type
export const SPECIAL_SPIN_LOCK = 1;
export const SPECIAL_TIMER = 2;
export const SPECIAL_KPTR_UNREF = 4;
export const SPECIAL_KPTR_REF = 8;
export const SPECIAL_KPTR_PERCPU = 0x10;
export const SPECIAL_KPTR = 0x1c;
export const SPECIAL_LIST_HEAD = 0x20;
export const SPECIAL_LIST_NODE = 0x40;
export const SPECIAL_RB_ROOT = 0x80;
export const SPECIAL_RB_NODE = 0x100;
export const SPECIAL_REFCOUNT = 0x200;
export const SPECIAL_WORKQUEUE = 0x400;
export const SPECIAL_UPTR = 0x800;
export const SPECIAL_RES_SPIN_LOCK = 0x1000;
export const SPECIAL_TASK_WORK = 0x2000;

/** One special field. `kptr` and `graph` describe what it points at or holds. */
export interface SpecialField {
  /** Bytes from the start of the value. */
  readonly offset: number;
  readonly size: number;
  readonly type: number;
  readonly kptr: { readonly btfIndexKernel: boolean; readonly btfID: number } | undefined;
  readonly graph: { readonly nodeOffset: number; readonly valueBTFID: number } | undefined;
}

/** All special fields of a type, by offset. */
export interface SpecialRecord {
  readonly mask: number;
  readonly fields: readonly SpecialField[];
}

/** The record of a map's value, `undefined` where it has no special fields. */
export function mapRecord(_map: MapDescriptor): SpecialRecord | undefined {
  return undefined;
}

/** True where a record has a field of one of the kinds in `mask`. */
export function recordHas(record: SpecialRecord | undefined, mask: number): boolean {
  return record !== undefined && (record.mask & mask) !== 0;
}
