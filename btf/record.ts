/**
 * @module btf/record
 * Special fields of map values and allocated objects: locks, timers, work queues, kernel pointers, list and tree heads and
 * nodes, reference counts. Where they lie, what they point to, and which combinations are refused. Reproduces
 * `btf_parse_fields`, `btf_parse_struct_metas`, `btf_check_and_fixup_fields` and `btf_check_ownership_depth` of
 * kernel/bpf/btf.c, and the map type rules of `map_check_btf` of kernel/bpf/syscall.c. Does not own what the fields do at run
 * time.
 */
import { E2BIG, EACCES, EEXIST, EFAULT, EINVAL, ELOOP, ENOENT, EOPNOTSUPP, EPERM } from '../isa/errno.ts';
import {
  BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_CGROUP_STORAGE, BPF_MAP_TYPE_CGRP_STORAGE,
  BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_INODE_STORAGE, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
  BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_SK_STORAGE,
  BPF_MAP_TYPE_TASK_STORAGE, BTF_KIND_ARRAY, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_FUNC, BTF_KIND_PTR,
  BTF_KIND_STRUCT, BTF_KIND_TYPE_TAG, BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';
import { type BTF, isModifierKind } from './btf.ts';

/** `enum btf_field_type`: bits of {@link FieldRecord.fieldMask}. */
export const BPF_SPIN_LOCK: number = 1 << 0;
export const BPF_TIMER: number = 1 << 1;
export const BPF_KPTR_UNREF: number = 1 << 2;
export const BPF_KPTR_REF: number = 1 << 3;
export const BPF_KPTR_PERCPU: number = 1 << 4;
export const BPF_KPTR: number = BPF_KPTR_UNREF | BPF_KPTR_REF | BPF_KPTR_PERCPU;
export const BPF_LIST_HEAD: number = 1 << 5;
export const BPF_LIST_NODE: number = 1 << 6;
export const BPF_RB_ROOT: number = 1 << 7;
export const BPF_RB_NODE: number = 1 << 8;
export const BPF_GRAPH_NODE: number = BPF_RB_NODE | BPF_LIST_NODE;
export const BPF_GRAPH_ROOT: number = BPF_RB_ROOT | BPF_LIST_HEAD;
export const BPF_REFCOUNT: number = 1 << 9;
export const BPF_WORKQUEUE: number = 1 << 10;
export const BPF_UPTR: number = 1 << 11;
export const BPF_RES_SPIN_LOCK: number = 1 << 12;
export const BPF_TASK_WORK: number = 1 << 13;

/** The fields that a map's value may have. */
export const MAP_VALUE_FIELDS: number = BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK | BPF_TIMER | BPF_KPTR | BPF_LIST_HEAD | BPF_RB_ROOT
  | BPF_REFCOUNT | BPF_WORKQUEUE | BPF_UPTR | BPF_TASK_WORK;
/** The fields that an allocated object may have. */
export const OBJECT_FIELDS: number = BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK | BPF_LIST_HEAD | BPF_LIST_NODE | BPF_RB_ROOT | BPF_RB_NODE
  | BPF_REFCOUNT | BPF_KPTR;

/** `BTF_FIELDS_MAX` */
const MAX_FIELDS = 11;
const MAX_RESOLVE_DEPTH = 32;
const MAX_OWNERSHIP_DEPTH = 8;
const PAGE_SIZE = 4096;

interface FieldType {
  readonly type: number;
  /** Name of the struct that stands for the field. */
  readonly name: string;
  /** At most one in a value. */
  readonly isUnique: boolean;
  /** Bytes. */
  readonly size: number;
  readonly align: number;
}

/** In the order in which the kernel tries them; sizes and alignments of include/uapi/linux/bpf.h. */
const FIELD_TYPES: readonly FieldType[] = [
  { type: BPF_SPIN_LOCK, name: 'bpf_spin_lock', isUnique: true, size: 4, align: 4 },
  { type: BPF_RES_SPIN_LOCK, name: 'bpf_res_spin_lock', isUnique: true, size: 4, align: 4 },
  { type: BPF_TIMER, name: 'bpf_timer', isUnique: true, size: 16, align: 8 },
  { type: BPF_WORKQUEUE, name: 'bpf_wq', isUnique: true, size: 16, align: 8 },
  { type: BPF_TASK_WORK, name: 'bpf_task_work', isUnique: true, size: 8, align: 8 },
  { type: BPF_LIST_HEAD, name: 'bpf_list_head', isUnique: false, size: 16, align: 8 },
  { type: BPF_LIST_NODE, name: 'bpf_list_node', isUnique: false, size: 24, align: 8 },
  { type: BPF_RB_ROOT, name: 'bpf_rb_root', isUnique: false, size: 16, align: 8 },
  { type: BPF_RB_NODE, name: 'bpf_rb_node', isUnique: false, size: 32, align: 8 },
  { type: BPF_REFCOUNT, name: 'bpf_refcount', isUnique: true, size: 4, align: 4 },
];
const POINTER_FIELD: FieldType = { type: BPF_KPTR_REF, name: '', isUnique: false, size: 8, align: 8 };

/** Name of a field type in messages (btf_field_type_name of include/linux/bpf.h). */
export function fieldTypeName(type: number): string {
  if (type === BPF_KPTR_UNREF || type === BPF_KPTR_REF) return 'kptr';
  if (type === BPF_KPTR_PERCPU) return 'percpu_kptr';
  if (type === BPF_UPTR) return 'uptr';
  return FIELD_TYPES.find((entry) => entry.type === type)?.name ?? 'unknown';
}

/** Bytes of a field of that type. */
export function fieldTypeSize(type: number): number {
  return FIELD_TYPES.find((entry) => entry.type === type)?.size ?? 8;
}

/** Type tags that make a pointer a kernel (or user) pointer field. */
const POINTER_TAGS: ReadonlyMap<string, number> = new Map([
  ['kptr_untrusted', BPF_KPTR_UNREF], ['kptr', BPF_KPTR_REF], ['percpu_kptr', BPF_KPTR_PERCPU], ['uptr', BPF_UPTR],
]);

/** Types of the kernel that a map may own, with the function that releases them (`register_btf_id_dtor_kfuncs`). */
export const DESTRUCTORS: ReadonlyMap<string, string> = new Map([
  ['task_struct', 'bpf_task_release_dtor'], ['cgroup', 'bpf_cgroup_release_dtor'], ['bpf_cpumask', 'bpf_cpumask_release_dtor'],
  ['bpf_crypto_ctx', 'bpf_crypto_ctx_release_dtor'], ['sk_buff', 'bpf_kfree_skb_dtor'], ['bpf_ksock', 'bpf_ksock_release_dtor'],
  ['prog_test_ref_kfunc', 'bpf_kfunc_call_test_release_dtor'], ['prog_test_member', 'bpf_kfunc_call_memb_release_dtor'],
]);

/** One special field. */
export interface Field {
  /** Bytes from the start of the value. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** One of the `BPF_*` field types. */
  readonly type: number;
  /** For pointers: the type pointed to, in the kernel's BTF or, for allocated objects, the program's. */
  readonly pointer?: {
    readonly btf: BTF;
    readonly typeID: number;
    /** The kernel function that releases an owned object, `undefined` for unreferenced pointers and allocated objects. */
    readonly destructor: string | undefined;
  };
  /** For list heads and tree roots: what they contain. */
  readonly root?: {
    readonly btf: BTF;
    readonly valueTypeID: number;
    /** Bytes from the start of the contained object to its node. */
    readonly nodeOffset: number;
    /** Record of the contained object, once {@link checkAndFixupFields} has found it. */
    readonly valueRecord: FieldRecord | undefined;
  };
}

/** The special fields of one value or object, by offset; single offsets are -EINVAL where the field is absent. */
export interface FieldRecord {
  readonly fieldMask: number;
  readonly fields: readonly Field[];
  readonly spinLockOffset: number;
  readonly resSpinLockOffset: number;
  readonly timerOffset: number;
  readonly workQueueOffset: number;
  readonly taskWorkOffset: number;
  readonly refcountOffset: number;
}

interface FoundField {
  type: number;
  offset: number;
  pointerType: number;
  nodeName: string;
  valueTypeID: number;
}

// ---------------------------------------------------------------- declaration tags

/**
 * Value of the one declaration tag that starts with `key` on a type or its component (`btf_find_decl_tag_value`);
 * `-ENOENT` where there is none, `-EEXIST` where there are several.
 */
export function findDeclTagValue(btf: BTF, typeID: number, component: number, key: string): string | number {
  const id = findNextDeclTag(btf, typeID, component, key, 0);
  if (id < 0) return id;
  if (findNextDeclTag(btf, typeID, component, key, id) >= 0) return -EEXIST;
  return btf.typeName(id).slice(key.length);
}

/** Next declaration tag after `lastID` on a type or its component that starts with `key`, or `-ENOENT`. */
export function findNextDeclTag(btf: BTF, typeID: number, component: number, key: string, lastID: number): number {
  const ids = declTagsOf(btf).get(typeID);
  if (ids === undefined) return -ENOENT;
  for (const id of ids) {
    if (id > lastID && btf.declTagComponent(id) === component && btf.typeName(id).startsWith(key)) return id;
  }
  return -ENOENT;
}

const declTagIndex = new WeakMap<BTF, Map<number, number[]>>();

/** Declaration tags by the type they are on, in order of their ids: a scan for every question would be quadratic. */
function declTagsOf(btf: BTF): Map<number, number[]> {
  const known = declTagIndex.get(btf);
  if (known !== undefined) return known;
  const index = new Map<number, number[]>();
  if (btf.base !== undefined) for (const [type, ids] of declTagsOf(btf.base)) index.set(type, [...ids]);
  for (let id = btf.startID; id < btf.endID; id++) {
    if (btf.kind(id) !== BTF_KIND_DECL_TAG) continue;
    const type = btf.type(id);
    const ids = index.get(type);
    if (ids === undefined) index.set(type, [id]);
    else ids.push(id);
  }
  declTagIndex.set(btf, index);
  return index;
}

// ---------------------------------------------------------------- finding

/** Collects fields of a value; each method gives the number of fields found or `-errno`. */
class FieldFinder {
  readonly found: FoundField[] = [];
  readonly #btf: BTF;
  readonly #mask: number;
  #seen = 0;

  constructor(btf: BTF, mask: number) {
    this.#btf = btf;
    this.#mask = mask;
  }

  find(typeID: number): number {
    const kind = this.#btf.kind(typeID);
    if (kind === BTF_KIND_STRUCT) return this.#inStruct(typeID, 0);
    if (kind === BTF_KIND_DATASEC) return this.#inSection(typeID);
    return -EINVAL;
  }

  #inStruct(typeID: number, level: number): number {
    const btf = this.#btf;
    const before = this.found.length;
    for (let i = 0, n = btf.vlen(typeID); i < n; i++) {
      const bits = btf.memberBitOffset(typeID, i);
      if (bits % 8 !== 0) return -EINVAL;
      const result = this.#one(typeID, btf.memberType(typeID, i), i, bits / 8, 0, level);
      if (result < 0) return result;
    }
    return this.found.length - before;
  }

  #inSection(typeID: number): number {
    const btf = this.#btf;
    for (const variable of btf.sectionVariables(typeID)) {
      const result = this.#one(variable.type, btf.type(variable.type), -1, variable.offset, variable.size, 0);
      if (result < 0) return result;
    }
    return this.found.length;
  }

  /** One member or variable: `owner` and `component` are where its tags are. */
  #one(owner: number, typeID: number, component: number, offset: number, expectedSize: number, level: number): number {
    const btf = this.#btf;
    let type = typeID;
    let count = 1;
    let depth = 0;
    for (; depth < MAX_RESOLVE_DEPTH && btf.kind(type) === BTF_KIND_ARRAY; depth++) {
      count = Math.imul(count, btf.arrayLength(type)) >>> 0;
      type = btf.arrayElementType(type);
    }
    if (depth === MAX_RESOLVE_DEPTH) return -E2BIG;
    if (count === 0) return 0;

    const fieldType = this.#fieldType(type);
    if (typeof fieldType === 'number') return fieldType;
    if (fieldType === undefined) {
      if (btf.kind(type) !== BTF_KIND_STRUCT) return 0;
      if (expectedSize !== 0 && expectedSize !== Math.imul(btf.size(type), count) >>> 0) return 0;
      return this.#nested(type, offset, count, level);
    }
    if (expectedSize !== 0 && expectedSize !== Math.imul(fieldType.size, count) >>> 0) return 0;
    if (offset % fieldType.align !== 0) return 0;

    const field: FoundField | number = this.#describe(owner, type, component, offset, fieldType);
    if (typeof field === 'number') return field;
    if (this.found.length >= MAX_FIELDS) return -E2BIG;
    const first = this.found.length;
    this.found.push(field);
    if (count > 1) {
      const result = this.#repeat(first, 1, count - 1, fieldType.size);
      if (result < 0) return result;
    }
    return count;
  }

  /** Which field a type stands for; `undefined` for none, `-E2BIG` for a second unique one. */
  #fieldType(typeID: number): FieldType | number | undefined {
    const btf = this.#btf;
    const name = btf.typeName(typeID);
    for (const entry of FIELD_TYPES) {
      if ((this.#mask & entry.type) === 0 || entry.name !== name) continue;
      if (entry.isUnique) {
        if ((this.#seen & entry.type) !== 0) return -E2BIG;
        this.#seen |= entry.type;
      }
      return entry;
    }
    const mayBePointer = (this.#mask & (BPF_KPTR | BPF_UPTR)) !== 0 && btf.kind(typeID) !== BTF_KIND_STRUCT;
    return mayBePointer ? POINTER_FIELD : undefined;
  }

  /** The field itself; 0 where the type turns out to be none, or `-errno`. */
  #describe(owner: number, typeID: number, component: number, offset: number, fieldType: FieldType): FoundField | number {
    const btf = this.#btf;
    if (fieldType === POINTER_FIELD) return findPointer(btf, typeID, offset, this.#mask);
    if (btf.kind(typeID) !== BTF_KIND_STRUCT || btf.size(typeID) !== fieldType.size) return 0;
    const field = { type: fieldType.type, offset, pointerType: 0, nodeName: '', valueTypeID: 0 };
    if ((fieldType.type & BPF_GRAPH_ROOT) === 0) return field;

    const value = findDeclTagValue(btf, owner, component, 'contains:');
    if (typeof value === 'number') return -EINVAL;
    const colon = value.indexOf(':');
    if (colon < 0) return -EINVAL;
    field.valueTypeID = btf.findByNameKind(value.slice(0, colon), BTF_KIND_STRUCT);
    if (field.valueTypeID === 0) return -ENOENT;
    field.nodeName = value.slice(colon + 1);
    return field.nodeName === '' ? -EINVAL : field;
  }

  #nested(typeID: number, offset: number, count: number, level: number): number {
    if (level + 1 >= MAX_RESOLVE_DEPTH) return -E2BIG;
    const first = this.found.length;
    const fields = this.#inStruct(typeID, level + 1);
    if (fields <= 0) return fields;
    for (const field of this.found.slice(first)) field.offset += offset;
    if (count === 1) return fields;
    const result = this.#repeat(first, fields, count - 1, this.#btf.size(typeID));
    return result < 0 ? result : fields * count;
  }

  /** Repeats the last `fields` fields for the other elements of an array. */
  #repeat(first: number, fields: number, times: number, elementSize: number): number {
    const repeatable = BPF_KPTR | BPF_UPTR | BPF_GRAPH_ROOT;
    for (const field of this.found.slice(first)) if ((field.type & repeatable) === 0) return -EINVAL;
    if (times + 1 > 0xffffffff || fields * (times + 1) > MAX_FIELDS - first) return -E2BIG;
    const originals = this.found.slice(first, first + fields);
    for (let i = 1; i <= times; i++) {
      for (const field of originals) this.found.push({ ...field, offset: (field.offset + i * elementSize) >>> 0 });
    }
    return 0;
  }
}

/** A tagged pointer to a struct (`btf_find_kptr`); 0 where the type is none, `-EINVAL` for two tags or no struct behind it. */
function findPointer(btf: BTF, typeID: number, offset: number, mask: number): FoundField | number {
  let pointer = typeID;
  if (btf.kind(pointer) === BTF_KIND_VOLATILE) pointer = btf.type(pointer);
  if (btf.kind(pointer) !== BTF_KIND_PTR) return 0;
  let tags = 0;
  let target = btf.type(pointer);
  for (let steps = 0; steps < 64 && isModifierKind(btf.kind(target)); steps++) {
    if (btf.kind(target) === BTF_KIND_TYPE_TAG && !btf.kflag(target)) tags |= POINTER_TAGS.get(btf.typeName(target)) ?? 0;
    target = btf.type(target);
  }
  if ((tags & (tags - 1)) !== 0) return -EINVAL;
  if ((tags & mask) === 0) return 0;
  if (btf.kind(target) !== BTF_KIND_STRUCT) return -EINVAL;
  return { type: tags, offset, pointerType: target, nodeName: '', valueTypeID: 0 };
}

// ---------------------------------------------------------------- records

/** Gives the kernel's own BTF, `undefined` on a kernel without. */
export type KernelBTFSource = () => BTF | undefined;

/**
 * The special fields of a struct or data section (`btf_parse_fields`): a record, `undefined` where it has none, or `-errno`.
 *
 * @param fieldMask which fields to look for; others are plain bytes.
 * @param valueSize bytes of the value; fields beyond are an inconsistency (`EFAULT`).
 */
export function parseFields(
  btf: BTF, typeID: number, fieldMask: number, valueSize: number, kernelBTF: KernelBTFSource,
): FieldRecord | number | undefined {
  const finder = new FieldFinder(btf, fieldMask);
  const count = finder.find(typeID);
  if (count < 0) return count;
  if (count === 0) return undefined;

  const fields: Field[] = [];
  let nextOffset = 0;
  let mask = 0;
  for (const found of finder.found) {
    const size = fieldTypeSize(found.type);
    if (found.offset + size > valueSize) return -EFAULT;
    if (found.offset < nextOffset) return -EEXIST;
    nextOffset = found.offset + size;
    mask |= found.type;
    const field = completeField(btf, found, size, kernelBTF);
    if (typeof field === 'number') return field;
    fields.push(field);
  }
  const offsetOf = (type: number): number => fields.find((field) => field.type === type)?.offset ?? -EINVAL;
  const record: FieldRecord = {
    fieldMask: mask,
    fields: fields.sort((a, b) => a.offset - b.offset),
    spinLockOffset: offsetOf(BPF_SPIN_LOCK),
    resSpinLockOffset: offsetOf(BPF_RES_SPIN_LOCK),
    timerOffset: offsetOf(BPF_TIMER),
    workQueueOffset: offsetOf(BPF_WORKQUEUE),
    taskWorkOffset: offsetOf(BPF_TASK_WORK),
    refcountOffset: offsetOf(BPF_REFCOUNT),
  };
  return isAllowedCombination(record) ? record : -EINVAL;
}

function isAllowedCombination(record: FieldRecord): boolean {
  const hasLock = record.spinLockOffset >= 0;
  const hasResilientLock = record.resSpinLockOffset >= 0;
  if (hasLock && hasResilientLock) return false;
  if ((record.fieldMask & BPF_GRAPH_ROOT) !== 0 && !hasLock && !hasResilientLock) return false;
  return record.refcountOffset >= 0 || (record.fieldMask & BPF_GRAPH_NODE) !== BPF_GRAPH_NODE;
}

function completeField(btf: BTF, found: FoundField, size: number, kernelBTF: KernelBTFSource): Field | number {
  const plain = { offset: found.offset, size, type: found.type };
  if ((found.type & (BPF_KPTR | BPF_UPTR)) !== 0) {
    const pointer = parsePointer(btf, found, kernelBTF);
    return typeof pointer === 'number' ? pointer : { ...plain, pointer };
  }
  if ((found.type & BPF_GRAPH_ROOT) !== 0) {
    const root = parseRoot(btf, found, found.type === BPF_LIST_HEAD ? 'bpf_list_node' : 'bpf_rb_node');
    return typeof root === 'number' ? root : { ...plain, root };
  }
  return plain;
}

/** Finds the type in the kernel by name; a type that the kernel does not know is one of the program's allocated objects. */
function parsePointer(btf: BTF, found: FoundField, kernelBTF: KernelBTFSource): NonNullable<Field['pointer']> | number {
  const kernel = kernelBTF();
  if (kernel === undefined) return -EINVAL;
  const name = btf.nameOffset(found.pointerType) === 0 ? '(anon)' : btf.typeName(found.pointerType);
  const typeID = kernel.findByNameKind(name, btf.kind(found.pointerType));
  if (typeID === 0) return { btf, typeID: found.pointerType, destructor: undefined };
  if (found.type !== BPF_KPTR_REF) return { btf: kernel, typeID, destructor: undefined };
  const destructor = DESTRUCTORS.get(name);
  if (destructor === undefined || kernel.findByNameKind(destructor, BTF_KIND_FUNC) === 0) return -ENOENT;
  return { btf: kernel, typeID, destructor };
}

function parseRoot(btf: BTF, found: FoundField, nodeTypeName: string): NonNullable<Field['root']> | number {
  let nodeOffset = -1;
  const value = found.valueTypeID;
  for (let i = 0, n = btf.vlen(value); i < n; i++) {
    if (btf.memberName(value, i) !== found.nodeName) continue;
    if (nodeOffset >= 0) return -EINVAL;
    const node = btf.memberType(value, i);
    if (btf.kind(node) !== BTF_KIND_STRUCT || btf.typeName(node) !== nodeTypeName) return -EINVAL;
    // The kernel reads the offset word by the node type's kind flag, not by the object's.
    const word = btf.memberOffsetWord(value, i);
    const bits = btf.kflag(node) ? word & 0xffffff : word;
    if (bits % 64 !== 0) return -EINVAL;
    nodeOffset = bits / 8;
  }
  return nodeOffset < 0 ? -ENOENT : { btf, valueTypeID: value, nodeOffset, valueRecord: undefined };
}

// ---------------------------------------------------------------- structs of a BTF

const structRecords = new WeakMap<BTF, ReadonlyMap<number, FieldRecord>>();

/** Record of a struct that `BPF_BTF_LOAD` found special fields in (`btf_find_struct_meta`). */
export function structRecord(btf: BTF, typeID: number): FieldRecord | undefined {
  return structRecords.get(btf)?.get(typeID);
}

const OBJECT_FIELD_NAMES = ['bpf_spin_lock', 'bpf_list_head', 'bpf_list_node', 'bpf_rb_root', 'bpf_rb_node', 'bpf_refcount'];

/** Finds and checks the records of all structs of a program's BTF, as its load does; 0 or `-errno`. */
export function checkStructRecords(btf: BTF, kernelBTF: KernelBTFSource): number {
  const special = new Set<number>();
  for (const name of OBJECT_FIELD_NAMES) {
    const id = btf.findByNameKind(name, BTF_KIND_STRUCT);
    if (id > 0) special.add(id);
  }
  for (let id = 1; id < btf.endID; id++) {
    if (typeof findPointer(btf, id, 0, BPF_KPTR) !== 'number') special.add(id);
  }
  if (special.size === 0) return 0;

  const records = new Map<number, FieldRecord>();
  for (let id = 1; id < btf.endID; id++) {
    if (btf.kind(id) !== BTF_KIND_STRUCT || !hasMemberIn(btf, id, special)) continue;
    const record = parseFields(btf, id, OBJECT_FIELDS, btf.size(id), kernelBTF);
    if (typeof record === 'number') return record;
    if (record === undefined) return -EFAULT;
    records.set(id, record);
  }
  structRecords.set(btf, records);
  for (const [id, record] of records) {
    const fixed = checkAndFixupFields(btf, record);
    if (typeof fixed === 'number') {
      structRecords.delete(btf);
      return fixed;
    }
    records.set(id, fixed);
  }
  return checkOwnershipDepth(btf, records);
}

function hasMemberIn(btf: BTF, id: number, types: ReadonlySet<number>): boolean {
  for (let i = 0, n = btf.vlen(id); i < n; i++) if (types.has(btf.memberType(id, i))) return true;
  return false;
}

/**
 * Checks what needs the whole BTF (`btf_check_and_fixup_fields`): user pointers point to at most a page of the program's own
 * types, and roots know the record of what they contain. The completed record, or `-errno`.
 */
export function checkAndFixupFields(btf: BTF, record: FieldRecord): FieldRecord | number {
  if ((record.fieldMask & (BPF_GRAPH_ROOT | BPF_UPTR)) === 0) return record;
  const fields: Field[] = [];
  for (const field of record.fields) {
    if (field.type === BPF_UPTR && field.pointer !== undefined) {
      if (field.pointer.btf.isKernel) return -EINVAL;
      const size = field.pointer.btf.size(field.pointer.typeID);
      if (size === 0) return -EINVAL;
      if (size > PAGE_SIZE) return -E2BIG;
    }
    if (field.root === undefined) {
      fields.push(field);
      continue;
    }
    const valueRecord = structRecord(btf, field.root.valueTypeID);
    if (valueRecord === undefined) return -EFAULT;
    fields.push({ ...field, root: { ...field.root, valueRecord } });
  }
  return { ...record, fields };
}

/** Owned objects may own others only 8 levels deep, or freeing them would recurse too far. */
function checkOwnershipDepth(btf: BTF, records: ReadonlyMap<number, FieldRecord>): number {
  const depths = new Map<number, number>();
  const depthOf = (id: number, left: number): number => {
    if (left === 0) return -ELOOP;
    let depth = depths.get(id);
    if (depth === undefined) {
      depth = 0;
      for (const field of records.get(id)?.fields ?? []) {
        const owned = ownedType(btf, field);
        if (owned === 0 || !records.has(owned)) {
          if (field.root !== undefined) return -EFAULT;
          continue;
        }
        const below = depthOf(owned, left - 1);
        if (below < 0) return below;
        depth = Math.max(depth, below);
      }
      depth++;
      depths.set(id, depth);
    }
    return depth > left ? -ELOOP : depth;
  };
  for (const id of records.keys()) {
    const depth = depthOf(id, MAX_OWNERSHIP_DEPTH);
    if (depth < 0) return depth;
  }
  return 0;
}

/** The program's type that a field owns, 0 where it owns none. */
function ownedType(btf: BTF, field: Field): number {
  if (field.root !== undefined) return field.root.valueTypeID;
  const isOwning = field.type === BPF_KPTR_REF || field.type === BPF_KPTR_PERCPU;
  return isOwning && field.pointer !== undefined && field.pointer.btf === btf ? field.pointer.typeID : 0;
}

// ---------------------------------------------------------------- maps

const LOCK_MAPS: readonly number[] = [
  BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_CGROUP_STORAGE, BPF_MAP_TYPE_SK_STORAGE,
  BPF_MAP_TYPE_INODE_STORAGE, BPF_MAP_TYPE_TASK_STORAGE, BPF_MAP_TYPE_CGRP_STORAGE,
];
const TIMER_MAPS: readonly number[] = [BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY];
const POINTER_MAPS: readonly number[] = [
  BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
  BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_INODE_STORAGE,
  BPF_MAP_TYPE_TASK_STORAGE, BPF_MAP_TYPE_CGRP_STORAGE,
];
const ROOT_MAPS: readonly number[] = [BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY];

/** Map types whose values may hold each field. */
const MAPS_BY_FIELD: ReadonlyMap<number, readonly number[]> = new Map([
  [BPF_SPIN_LOCK, LOCK_MAPS], [BPF_RES_SPIN_LOCK, LOCK_MAPS],
  [BPF_TIMER, TIMER_MAPS], [BPF_WORKQUEUE, TIMER_MAPS], [BPF_TASK_WORK, TIMER_MAPS],
  [BPF_KPTR_UNREF, POINTER_MAPS], [BPF_KPTR_REF, POINTER_MAPS], [BPF_KPTR_PERCPU, POINTER_MAPS], [BPF_REFCOUNT, POINTER_MAPS],
  [BPF_UPTR, [BPF_MAP_TYPE_TASK_STORAGE]], [BPF_LIST_HEAD, ROOT_MAPS], [BPF_RB_ROOT, ROOT_MAPS],
]);

/** What `BPF_MAP_CREATE` says about a map with BTF. */
export interface MapBTFRequest {
  readonly btf: BTF;
  readonly keyTypeID: number;
  readonly valueTypeID: number;
  readonly mapType: number;
  readonly mapFlags: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** `CAP_BPF`, which special fields need. */
  readonly isCapable: boolean;
  /** True where the map type has BTF rules of its own (`map_check_btf` of its operations): it may do without a key type. */
  readonly hasOwnCheck: boolean;
}

/**
 * What the generic part of `map_check_btf` says. With `errno` 0 the map is fine so far; `record` is then its special fields,
 * `undefined` for none, or `-errno` where the value's fields contradict each other: such a map exists, but no program may use
 * its fields.
 */
export interface MapBTFVerdict {
  /** 0 or a positive error number. */
  readonly errno: number;
  readonly record: FieldRecord | number | undefined;
  /** Ids of the sized types behind key (0: none) and value, for the map type's own check. */
  readonly keyTypeID: number;
  readonly valueTypeID: number;
}

/** Checks a map's key and value types and finds the value's special fields; the map type's own check comes after. */
export function checkMapBTF(request: MapBTFRequest, kernelBTF: KernelBTFSource): MapBTFVerdict {
  const { btf } = request;
  const keyTypeID = request.keyTypeID === 0 ? 0 : (btf.sizedType(request.keyTypeID) ?? 0);
  const valueTypeID = btf.sizedType(request.valueTypeID) ?? 0;
  const verdict = (errno: number, record?: FieldRecord | number): MapBTFVerdict => ({ errno, record, keyTypeID, valueTypeID });

  if (request.keyTypeID !== 0) {
    if (keyTypeID === 0 || btf.resolveSize(keyTypeID) !== request.keySize) return verdict(EINVAL);
  } else if (!request.hasOwnCheck) {
    return verdict(EINVAL);
  }
  if (valueTypeID === 0 || btf.resolveSize(valueTypeID) !== request.valueSize) return verdict(EINVAL);

  const record = parseFields(btf, valueTypeID, MAP_VALUE_FIELDS, request.valueSize, kernelBTF);
  if (record === undefined || typeof record === 'number') return verdict(0, record);
  if (!request.isCapable) return verdict(EPERM);
  if ((request.mapFlags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) !== 0) return verdict(EACCES);
  for (let bit = 1; bit !== 0; bit <<= 1) {
    if ((record.fieldMask & bit) !== 0 && MAPS_BY_FIELD.get(bit)?.includes(request.mapType) !== true) return verdict(EOPNOTSUPP);
  }
  const fixed = checkAndFixupFields(btf, record);
  return typeof fixed === 'number' ? verdict(-fixed) : verdict(0, fixed);
}
