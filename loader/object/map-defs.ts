/**
 * @module loader/object/map-defs
 * Maps of an object: those that `SEC(".maps")` defines through types, and the internal ones that hold `.data`, `.rodata`, `.bss`,
 * per-CPU data and `.kconfig`. Reproduces `parse_btf_map_def`, `bpf_object__init_user_btf_map` and
 * `bpf_object__init_internal_map` of `tools/lib/bpf/libbpf.c`, with their messages.
 */
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from './btf-object.ts';
import type { MapDefinition, MapKind, ObjectMap } from './model.ts';

/** The page size that map sizes are rounded to: what libbpf finds on x86-64. */
export const PAGE_SIZE = 4096;
const BPF_OBJ_NAME_LEN = 16;
const LIBBPF_PIN_BY_NAME = 1;
const BTF_VAR_GLOBAL_ALLOCATED = 1;
const BTF_VAR_STATIC = 0;
/** Slots of a map of maps that an object may fill. */
const MAX_SLOTS = 1 << 20;

const KIND_NAMES = [
  'void', 'int', 'ptr', 'array', 'struct', 'union', 'enum', 'fwd', 'typedef', 'volatile', 'const', 'restrict', 'func', 'func_proto', 'var',
  'datasec', 'float', 'decl_tag', 'type_tag', 'enum64',
];

/** Name of a kind in libbpf's messages. */
export function btfKindName(kind: number): string {
  return KIND_NAMES[kind] ?? 'unknown';
}

function emptyDefinition(): MapDefinition {
  return {
    type: 0, keySize: 0, valueSize: 0, maxEntries: 0, flags: 0, mapExtra: 0n, numaNode: 0, keyTypeID: 0, valueTypeID: 0, pinned: false,
  };
}

export function isMapInMap(type: number): boolean {
  return type === U.BPF_MAP_TYPE_ARRAY_OF_MAPS || type === U.BPF_MAP_TYPE_HASH_OF_MAPS;
}

/** A struct of `SEC(".maps")`, member by member. */
class DefinitionParser {
  readonly #btf: ObjectBTF;
  readonly #file: string;
  readonly #name: string;
  readonly definition: MapDefinition = emptyDefinition();
  inner: MapDefinition | undefined;

  constructor(btf: ObjectBTF, file: string, name: string) {
    this.#btf = btf;
    this.#file = file;
    this.#name = name;
  }

  fail(reason: string): never {
    throw new InputError(this.#file, 'section .maps', `map '${this.#name}': ${reason}`);
  }

  parse(structID: number, isInner: boolean): this {
    const btf = this.#btf;
    const count = btf.vlen(structID);
    for (let i = 0; i < count; i++) this.#member(btf.memberName(structID, i), btf.memberType(structID, i), isInner, i === count - 1);
    if (this.definition.type === U.BPF_MAP_TYPE_UNSPEC) this.fail("map type isn't specified.");
    return this;
  }

  #member(name: string, type: number, isInner: boolean, isLast: boolean): void {
    const { definition } = this;
    switch (name) {
      case 'type': definition.type = this.#int(name, type); return;
      case 'max_entries': definition.maxEntries = this.#int(name, type); return;
      case 'map_flags': definition.flags = this.#int(name, type); return;
      case 'numa_node': definition.numaNode = this.#int(name, type); return;
      case 'key_size': this.#size('key', this.#int(name, type)); return;
      case 'value_size': this.#size('value', this.#int(name, type)); return;
      case 'key': case 'value': this.#typed(name, type); return;
      case 'values': this.#values(type, isInner, isLast); return;
      case 'pinning': this.#pinning(this.#int(name, type), isInner); return;
      case 'map_extra': definition.mapExtra = this.#long(name, type); return;
      default: this.fail(`unknown field '${name}'.`);
    }
  }

  /** `__uint(name, N)` is a pointer to an array of N elements. */
  #int(attribute: string, type: number): number {
    const btf = this.#btf;
    const pointer = btf.skipModifiers(type);
    if (btf.kind(pointer) !== U.BTF_KIND_PTR) this.fail(`attr '${attribute}': expected PTR, got ${btfKindName(btf.kind(pointer))}.`);
    const array = btf.target(pointer);
    if (!btf.has(array)) this.fail(`attr '${attribute}': type [${array}] not found.`);
    if (btf.kind(array) !== U.BTF_KIND_ARRAY) this.fail(`attr '${attribute}': expected ARRAY, got ${btfKindName(btf.kind(array))}.`);
    return btf.word(array, 5);
  }

  /** `__ulong(name, N)` is an enum with one value. */
  #long(attribute: string, type: number): bigint {
    const btf = this.#btf;
    const at = btf.skipModifiers(type);
    const kind = btf.kind(at);
    if (kind === U.BTF_KIND_PTR) return BigInt(this.#int(attribute, type));
    if (kind !== U.BTF_KIND_ENUM && kind !== U.BTF_KIND_ENUM64) this.fail(`attr '${attribute}': expected ENUM or ENUM64, got ${btfKindName(kind)}.`);
    if (btf.vlen(at) !== 1) this.fail(`attr '${attribute}': invalid __ulong`);
    if (kind === U.BTF_KIND_ENUM) return BigInt.asUintN(64, BigInt(btf.word(at, 4) | 0));
    return BigInt(btf.word(at, 4)) | (BigInt(btf.word(at, 5)) << 32n);
  }

  #size(what: 'key' | 'value', size: number): void {
    const field = what === 'key' ? 'keySize' : 'valueSize';
    const known = this.definition[field];
    if (known !== 0 && known !== size) this.fail(`conflicting ${what} size ${known} != ${size}.`);
    this.definition[field] = size;
  }

  /** `__type(key, T)` is a pointer to T. */
  #typed(what: 'key' | 'value', type: number): void {
    const btf = this.#btf;
    if (!btf.has(type)) this.fail(`${what} type [${type}] not found.`);
    if (btf.kind(type) !== U.BTF_KIND_PTR) this.fail(`${what} spec is not PTR: ${btfKindName(btf.kind(type))}.`);
    const target = btf.target(type);
    const size = btf.resolveSize(target);
    if (size < 0) this.fail(`can't determine ${what} size for type [${target}]: -22.`);
    this.#size(what, size);
    if (what === 'key') this.definition.keyTypeID = target;
    else this.definition.valueTypeID = target;
  }

  #pinning(value: number, isInner: boolean): void {
    if (isInner) this.fail("inner def can't be pinned.");
    if (value !== 0 && value !== LIBBPF_PIN_BY_NAME) this.fail(`invalid pinning value ${value}.`);
    this.definition.pinned = value === LIBBPF_PIN_BY_NAME;
  }

  /** `__array(values, T)`: inner maps or programs. */
  #values(type: number, isInner: boolean, isLast: boolean): void {
    const btf = this.#btf;
    const { type: mapType } = this.definition;
    const isPrograms = mapType === U.BPF_MAP_TYPE_PROG_ARRAY;
    const what = isMapInMap(mapType) ? 'map-in-map inner' : 'prog-array value';
    if (isInner) this.fail('multi-level inner maps not supported.');
    if (!isLast) this.fail("'values' member should be last.");
    if (!isMapInMap(mapType) && !isPrograms) this.fail('should be map-in-map or prog-array.');
    if (this.definition.valueSize !== 0 && this.definition.valueSize !== 4) this.fail(`conflicting value size ${this.definition.valueSize} != 4.`);
    this.definition.valueSize = 4;
    if (!btf.has(type)) this.fail(`${what} type [${type}] not found.`);
    if (btf.kind(type) !== U.BTF_KIND_ARRAY || btf.word(type, 5) !== 0) this.fail(`${what} spec is not a zero-sized array.`);
    const pointer = btf.skipModifiers(btf.word(type, 3));
    if (btf.kind(pointer) !== U.BTF_KIND_PTR) this.fail(`${what} def is of unexpected kind ${btfKindName(btf.kind(pointer))}.`);
    const target = btf.skipModifiers(btf.target(pointer));
    if (isPrograms) {
      if (btf.kind(target) !== U.BTF_KIND_FUNC_PROTO) this.fail(`prog-array value def is of unexpected kind ${btfKindName(btf.kind(target))}.`);
      return;
    }
    if (btf.kind(target) !== U.BTF_KIND_STRUCT) this.fail(`map-in-map inner def is of unexpected kind ${btfKindName(btf.kind(target))}.`);
    this.inner = new DefinitionParser(btf, this.#file, `${this.#name}.inner`).parse(target, true).definition;
  }
}

/**
 * Reads a map's definition from its structure (`parse_btf_map_def`, strict).
 * @throws InputError with libbpf's reason
 */
export function parseMapDefinition(btf: ObjectBTF, file: string, name: string, structID: number): { readonly definition: MapDefinition; readonly inner: MapDefinition | undefined } {
  return new DefinitionParser(btf, file, name).parse(structID, false);
}

/** Ring buffers take a power-of-two number of pages (`adjust_ringbuf_sz`). */
function adjustRingBuffer(definition: MapDefinition): void {
  const size = definition.maxEntries;
  if (definition.type !== U.BPF_MAP_TYPE_RINGBUF && definition.type !== U.BPF_MAP_TYPE_USER_RINGBUF) return;
  const pages = size / PAGE_SIZE;
  if (size === 0 || (Number.isInteger(pages) && (pages & (pages - 1)) === 0)) return;
  for (let adjusted = PAGE_SIZE; adjusted <= 0xffffffff; adjusted *= 2) {
    if (adjusted > size) {
      definition.maxEntries = adjusted;
      return;
    }
  }
}

/** The maps of DATASEC `.maps`, in its order. */
export function parseUserMaps(btf: ObjectBTF, file: string, sectionIndex: number, sectionSize: number): { readonly maps: ObjectMap[]; readonly datasec: number } {
  const datasec = btf.find('.maps', U.BTF_KIND_DATASEC);
  if (datasec === 0) throw new InputError(file, 'section .BTF', "DATASEC '.maps' not found.");
  const maps: ObjectMap[] = [];
  for (let i = 0; i < btf.vlen(datasec); i++) maps.push(parseUserMap(btf, file, datasec, i, sectionIndex, sectionSize));
  return { maps, datasec };
}

const LINKAGE_NAMES = ['static', 'global', 'extern'];

function parseUserMap(btf: ObjectBTF, file: string, datasec: number, index: number, sectionIndex: number, sectionSize: number): ObjectMap {
  const variable = btf.word(datasec, 3 + 3 * index);
  const offset = btf.word(datasec, 4 + 3 * index);
  const size = btf.word(datasec, 5 + 3 * index);
  const name = btf.name(variable);
  const fail = (reason: string): never => {
    throw new InputError(file, 'section .maps', reason);
  };
  if (name === '') fail(`map #${index}: empty name.`);
  if (offset + size > sectionSize) fail(`map '${name}' BTF data is corrupted.`);
  if (btf.kind(variable) !== U.BTF_KIND_VAR) fail(`map '${name}': unexpected var kind ${btfKindName(btf.kind(variable))}.`);
  const linkage = btf.word(variable, 3);
  if (linkage !== BTF_VAR_GLOBAL_ALLOCATED) fail(`map '${name}': unsupported map linkage ${LINKAGE_NAMES[linkage] ?? 'unknown'}.`);
  const struct = btf.skipModifiers(btf.target(variable));
  if (btf.kind(struct) !== U.BTF_KIND_STRUCT) fail(`map '${name}': unexpected def kind ${btfKindName(btf.kind(variable))}.`);
  if (btf.target(struct) > size) fail(`map '${name}': invalid def size.`);
  const parser = parseMapDefinition(btf, file, name, struct);
  adjustRingBuffer(parser.definition);
  if (parser.inner !== undefined) adjustRingBuffer(parser.inner);
  const common = { realName: '', kind: 'user', sectionIndex, sectionOffset: offset, variableIndex: index, data: undefined, autocreate: true, callbacks: new Map<number, number>() } as const;
  const inner = parser.inner === undefined ? undefined
    : { ...common, name: `${name}.inner`, definition: parser.inner, inner: undefined, slots: new Map<number, number>() };
  return { ...common, name, definition: parser.definition, inner, slots: new Map() };
}

/** Name of an internal map for the kernel (`internal_map_name`): a piece of the object's name, then the section's. */
export function internalMapName(objectName: string, section: string, kind: MapKind): string {
  const suffixLength = Math.min(Math.max(7, section.length), BPF_OBJ_NAME_LEN - 1);
  const isCustom = section.slice(1).includes('.') || kind === 'percpu';
  const prefixLength = isCustom ? 0 : Math.min(BPF_OBJ_NAME_LEN - suffixLength - 1, objectName.length);
  const name = objectName.slice(0, prefixLength) + section.slice(0, suffixLength);
  return name.slice(0, BPF_OBJ_NAME_LEN - 1).replace(/[^A-Za-z0-9_.]/g, '_');
}

/** A map that holds a data section. */
export function createInternalMap(
  btf: ObjectBTF | undefined, objectName: string, section: string, kind: MapKind, sectionIndex: number, data: Uint8Array,
): ObjectMap {
  const definition = emptyDefinition();
  definition.type = kind === 'percpu' ? U.BPF_MAP_TYPE_PERCPU_ARRAY : U.BPF_MAP_TYPE_ARRAY;
  definition.keySize = 4;
  definition.valueSize = data.length;
  definition.maxEntries = 1;
  definition.flags = kind === 'rodata' || kind === 'kconfig' ? U.BPF_F_RDONLY_PROG : 0;
  definition.valueTypeID = btf?.find(section) ?? 0;
  if (btf !== undefined && kind !== 'percpu' && hasVisibleVariable(btf, definition.valueTypeID)) definition.flags |= U.BPF_F_MMAPABLE;
  return {
    name: internalMapName(objectName, section, kind), realName: section, kind, definition, sectionIndex, sectionOffset: 0, variableIndex: -1,
    data, autocreate: true, callbacks: new Map(), inner: undefined, slots: new Map(),
  };
}

/** A section is mapped into the process only where it shows at least one variable (`map_is_mmapable`). */
function hasVisibleVariable(btf: ObjectBTF, datasec: number): boolean {
  if (datasec === 0 || btf.kind(datasec) !== U.BTF_KIND_DATASEC) return false;
  for (let i = 0; i < btf.vlen(datasec); i++) {
    const variable = btf.word(datasec, 3 + 3 * i);
    if (btf.kind(variable) === U.BTF_KIND_VAR && btf.word(variable, 3) !== BTF_VAR_STATIC) return true;
  }
  return false;
}

/** Bytes of the mapping of a map's values (`bpf_map_mmap_sz`). */
export function mapMappingSize({ definition }: ObjectMap): number {
  const bytes = Math.ceil(definition.valueSize / 8) * 8 * definition.maxEntries;
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}

/** The name that bpftool and libbpf's users see (`bpf_map__name`). */
export function visibleMapName(map: ObjectMap): string {
  const isRealName = (map.kind === 'data' && map.realName !== '.data') || (map.kind === 'rodata' && map.realName !== '.rodata') || map.kind === 'percpu';
  return isRealName ? map.realName : map.name;
}

/** Puts an inner map or program into a slot. */
export function setSlot(map: ObjectMap, slot: number, target: number, file: string): void {
  if (slot >= MAX_SLOTS) throw new InputError(file, 'section .rel.maps', `map '${map.name}': slot ${slot} is beyond ${MAX_SLOTS}`);
  map.slots.set(slot, target);
}
