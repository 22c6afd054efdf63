/**
 * @module verifier/map_record
 * The special fields (locks, timers, kptrs, lists, trees…) of what a map's value or an allocated object holds, looked up once a
 * map. The parsing is btf/record.ts.
 */
import { type Field, type FieldRecord, MAP_VALUE_FIELDS, parseFields, structRecord } from '../btf/record.ts';
import { BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { PTR_TO_MAP_VALUE, typeIsPtrAllocObj } from './regtypes.ts';
import { REG_A, REG_B, REG_TYPE } from './state.ts';
import type { MapDescriptor } from './types.ts';

const records = new WeakMap<MapDescriptor, FieldRecord | 'none'>();

/** The record of a map's value, `undefined` where it has no special fields. */
export function mapRecord(env: VerifierEnv, map: MapDescriptor): FieldRecord | undefined {
  // the template of a map in a map has no type ids, but the fields
  if (map.btf === undefined || map.btfValueTypeID === 0) return map.record;
  const known = records.get(map);
  if (known !== undefined) return known === 'none' ? undefined : known;
  const parsed = parseFields(map.btf, map.btf.skipModifiers(map.btfValueTypeID), MAP_VALUE_FIELDS, map.valueSize, () => env.ext.kernelBTF()?.btf);
  const record = typeof parsed === 'object' ? parsed : map.record;
  records.set(map, record ?? 'none');
  return record;
}

/** True where a record has a field of one of the kinds in `mask`. */
export function recordHas(record: FieldRecord | undefined, mask: number): boolean {
  return record !== undefined && (record.fieldMask & mask) !== 0;
}

/** The field of one of the kinds that begins at `offset` (`btf_record_find`). */
export function recordFind(record: FieldRecord | undefined, offset: number, mask: number): Field | undefined {
  if (record === undefined || (record.fieldMask & mask) === 0) return undefined;
  return record.fields.find((field) => field.offset === offset && (field.type & mask) !== 0);
}

/** The record of what the register at `reg` points at (`reg_btf_record`). */
export function regRecord(env: VerifierEnv, reg: number): FieldRecord | undefined {
  const type = env.w[reg + REG_TYPE]!;
  if (type === PTR_TO_MAP_VALUE) return mapRecord(env, env.mapTable[env.w[reg + REG_A]!]!);
  if (!typeIsPtrAllocObj(type)) return undefined;
  const btf = env.btfAt(env.w[reg + REG_A]!);
  return btf === undefined ? undefined : structRecord(btf, env.w[reg + REG_B]!);
}

/** True for maps whose values have a fixed address that instructions may carry (`map_direct_value_addr`). */
export function hasDirectValues(map: MapDescriptor): boolean {
  return map.type === BPF_MAP_TYPE_ARRAY || map.type === BPF_MAP_TYPE_PERCPU_ARRAY || map.type === BPF_MAP_TYPE_ARENA || map.type === BPF_MAP_TYPE_INSN_ARRAY;
}
