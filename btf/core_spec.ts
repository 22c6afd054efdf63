/**
 * @module btf/core_spec
 * What a CO-RE relocation means in one BTF: kinds of relocations, names without their flavor, and the access that a string like `0:1:2`
 * stands for. Reproduces `bpf_core_parse_spec` and its helpers of tools/lib/bpf/relo_core.c.
 */
import { E2BIG, EINVAL } from '../isa/errno.ts';
import {
  BPF_CORE_ENUMVAL_EXISTS, BPF_CORE_ENUMVAL_VALUE, BPF_CORE_FIELD_BYTE_OFFSET, BPF_CORE_FIELD_BYTE_SIZE,
  BPF_CORE_FIELD_EXISTS, BPF_CORE_FIELD_LSHIFT_U64, BPF_CORE_FIELD_RSHIFT_U64, BPF_CORE_FIELD_SIGNED, BPF_CORE_TYPE_EXISTS,
  BPF_CORE_TYPE_ID_LOCAL, BPF_CORE_TYPE_ID_TARGET, BPF_CORE_TYPE_MATCHES, BPF_CORE_TYPE_SIZE, BTF_KIND_ARRAY, BTF_KIND_ENUM,
  BTF_KIND_ENUM64, BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_DATASEC, BTF_KIND_VAR,
} from '../isa/uapi.ts';
import { type BTF, BTF_KIND_NAMES } from './btf.ts';

/** `struct bpf_core_relo`. */
export interface CoreRelocation {
  /** Bytes from the start of the program (kernel) or section (ELF). */
  readonly instructionOffset: number;
  readonly typeID: number;
  readonly accessStringOffset: number;
  /** `BPF_CORE_*` */
  readonly kind: number;
}

/** Who asks: messages are the same, but libbpf tells warnings from chatter and compares types deeper than the kernel dares. */
export interface CoreReporter {
  /** Name in messages; the kernel gives `""`. */
  readonly programName: string;
  warn(text: string): void;
  debug(text: string): void;
  /** Levels of nested types that a comparison enters: 2 in the kernel, 32 in libbpf. */
  readonly maxDepth: number;
  /** Messages are libbpf's, not the kernel's. */
  readonly isUserSpace?: boolean;
}

/** Steps of one access. */
export const MAX_SPEC = 64;
const MAX_SPEC_TEXT = 255;

const KIND_NAMES: readonly string[] = [
  'byte_off', 'byte_sz', 'field_exists', 'signed', 'lshift_u64', 'rshift_u64', 'local_type_id', 'target_type_id', 'type_exists',
  'type_size', 'enumval_exists', 'enumval_value', 'type_matches',
];

/** Name of a relocation kind in messages. */
export function coreKindName(kind: number): string {
  return KIND_NAMES[kind] ?? 'unknown';
}

export function isFieldBased(kind: number): boolean {
  return kind === BPF_CORE_FIELD_BYTE_OFFSET || kind === BPF_CORE_FIELD_BYTE_SIZE || kind === BPF_CORE_FIELD_EXISTS
    || kind === BPF_CORE_FIELD_SIGNED || kind === BPF_CORE_FIELD_LSHIFT_U64 || kind === BPF_CORE_FIELD_RSHIFT_U64;
}

export function isTypeBased(kind: number): boolean {
  return kind === BPF_CORE_TYPE_ID_LOCAL || kind === BPF_CORE_TYPE_ID_TARGET || kind === BPF_CORE_TYPE_EXISTS
    || kind === BPF_CORE_TYPE_MATCHES || kind === BPF_CORE_TYPE_SIZE;
}

export function isEnumValueBased(kind: number): boolean {
  return kind === BPF_CORE_ENUMVAL_EXISTS || kind === BPF_CORE_ENUMVAL_VALUE;
}

export function isEnumKind(kind: number): boolean {
  return kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64;
}

export function isComposite(kind: number): boolean {
  return kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION;
}

export function areKindsCompatible(a: number, b: number): boolean {
  return a === b || (isEnumKind(a) && isEnumKind(b));
}

/** Bytes as `btf_resolve_size` gives them: a signed 32-bit number, or `-EINVAL` for what has no size. */
export function sizeOf(btf: BTF, id: number): number {
  const kind = btf.kind(id);
  if (kind === BTF_KIND_VAR || kind === BTF_KIND_DATASEC) return -EINVAL;
  const size = btf.resolveSize(id);
  return size === undefined ? -EINVAL : size | 0;
}

/** Length of a name without its flavor: `task_struct` of `task_struct___new` (`bpf_core_essential_name_len`). */
export function essentialNameLength(name: string): number {
  for (let i = name.length - 5; i >= 0; i--) {
    if (name[i] !== '_' && name.startsWith('___', i + 1) && name[i + 4] !== '_') return i + 1;
  }
  return name.length;
}

export function essentialName(name: string): string {
  return name.slice(0, essentialNameLength(name));
}

/** One step of access: a named member, or an element (no name). */
export interface Accessor {
  readonly typeID: number;
  readonly index: number;
  readonly name: string | undefined;
}

/** What an access string means in one BTF. */
export class Spec {
  readonly btf: BTF;
  readonly rootTypeID: number;
  readonly kind: number;
  readonly accessors: Accessor[] = [];
  readonly raw: number[] = [];
  bitOffset = 0;

  constructor(btf: BTF, rootTypeID: number, kind: number) {
    this.btf = btf;
    this.rootTypeID = rootTypeID;
    this.kind = kind;
  }

  addBits(bits: number): void {
    this.bitOffset = (this.bitOffset + bits) >>> 0;
  }

  addElement(typeID: number, index: number, size: number): void {
    this.addBits(Math.imul(Math.imul(index, size), 8));
    this.accessors.push({ typeID, index, name: undefined });
  }

  /** `<byte_off> [7] struct foo.bar[3] (0:1:3 @ offset 20)` */
  toText(reporter: Pick<CoreReporter, 'isUserSpace'> = {}): string {
    const { btf } = this;
    const name = btf.typeName(this.rootTypeID);
    let text = `<${coreKindName(this.kind)}> [${this.rootTypeID}] ${kindText(btf, this.rootTypeID, reporter)} ${name === '' ? '<anon>' : name}`;
    if (isEnumValueBased(this.kind)) text += this.#enumText();
    else if (isFieldBased(this.kind)) text += this.#fieldText();
    return text.slice(0, MAX_SPEC_TEXT);
  }

  #enumText(): string {
    const id = this.btf.skipModifiers(this.rootTypeID);
    const index = this.raw[0] ?? 0;
    const raw = (BigInt(this.btf.enumValueHi(id, index)) << 32n) | BigInt(this.btf.enumValueLo(id, index));
    const value = this.btf.kflag(id) ? BigInt.asIntN(64, raw) : raw;
    return `::${this.btf.enumName(id, index)} = ${value}`;
  }

  #fieldText(): string {
    let text = '';
    this.accessors.forEach(({ name, index }, i) => {
      if (name !== undefined) text += `.${name}`;
      else if (i > 0 || index > 0) text += `[${index}]`;
    });
    const byte = this.bitOffset >>> 3;
    const bit = this.bitOffset & 7;
    return `${text} (${this.raw.join(':')} @ offset ${byte}${bit === 0 ? '' : `.${bit}`})`;
  }
}

/** The name of a type's kind: the kernel's in capitals, libbpf's not. */
export function kindText(btf: BTF, id: number, { isUserSpace }: Pick<CoreReporter, 'isUserSpace'> = {}): string {
  const name = BTF_KIND_NAMES[btf.kind(id)] ?? 'UNKNOWN';
  return isUserSpace === true ? name.toLowerCase() : name;
}

// ---------------------------------------------------------------- the local spec

/** Numbers of an access string `0:1:2`; `-errno` where it is none. */
function parseAccessString(text: string): number[] | number {
  const indices: number[] = [];
  let rest = text;
  while (rest !== '') {
    if (rest.startsWith(':')) rest = rest.slice(1);
    const match = /^[\t-\r \u00a0]*(-?[0-9]+)/.exec(rest);
    if (match === null) return -EINVAL;
    const index = Number(BigInt.asIntN(32, BigInt(match[1] ?? '0')));
    if (index < 0) return -EINVAL;
    if (indices.length === MAX_SPEC) return -E2BIG;
    indices.push(index);
    rest = rest.slice(match[0].length);
  }
  return indices.length === 0 ? -EINVAL : indices;
}

/** An array without length at the end of a struct has any number of elements. */
export function isFlexibleArray(btf: BTF, accessor: Accessor | undefined, arrayID: number): boolean {
  if (accessor?.name === undefined || btf.arrayLength(arrayID) > 0) return false;
  return accessor.index === btf.vlen(accessor.typeID) - 1;
}

export function parseSpec(btf: BTF, relo: CoreRelocation, reporter: CoreReporter): Spec | number {
  const text = btf.stringAt(relo.accessStringOffset) ?? '';
  if (text === '' || text.startsWith(':')) return -EINVAL;
  const spec = new Spec(btf, relo.typeID, relo.kind);
  if (isTypeBased(relo.kind)) return text === '0' ? spec : -EINVAL;
  const indices = parseAccessString(text);
  if (typeof indices === 'number') return indices;
  spec.raw.push(...indices);

  let id = btf.skipModifiers(relo.typeID);
  const first = indices[0] ?? 0;
  if (isEnumValueBased(relo.kind)) {
    if (!isEnumKind(btf.kind(id)) || indices.length > 1 || first >= btf.vlen(id)) return -EINVAL;
    spec.accessors.push({ typeID: id, index: first, name: btf.enumName(id, first) });
    return spec;
  }
  if (!isFieldBased(relo.kind)) return -EINVAL;
  const size = sizeOf(btf, id);
  if (size < 0) return size;
  spec.addElement(id, first, size);

  for (let i = 1; i < indices.length; i++) {
    id = btf.skipModifiers(id);
    const next = stepInto(spec, id, indices[i] ?? 0);
    if (next === undefined) {
      reporter.warn(`prog '${reporter.programName}': relo for [${relo.typeID}]  (at idx ${i}) captures type [${id}] of unexpected kind ${kindText(btf, id, reporter)}\n`);
      return -EINVAL;
    }
    if (next < 0) return next;
    id = next;
  }
  return spec;
}

/** Takes one step of a local access; the type reached, `-errno`, or `undefined` where the type has no parts. */
function stepInto(spec: Spec, id: number, index: number): number | undefined {
  const { btf } = spec;
  const kind = btf.kind(id);
  if (isComposite(kind)) {
    if (index >= btf.vlen(id)) return -EINVAL;
    spec.addBits(btf.memberBitOffset(id, index));
    if (btf.memberNameOffset(id, index) !== 0) {
      const name = btf.memberName(id, index);
      if (name === '') return -EINVAL;
      spec.accessors.push({ typeID: id, index, name });
    }
    return btf.memberType(id, index);
  }
  if (kind === BTF_KIND_ARRAY) {
    const element = btf.skipModifiers(btf.arrayElementType(id));
    if (btf.kind(element) < 0) return -EINVAL;
    if (!isFlexibleArray(btf, spec.accessors.at(-1), id) && index >= btf.arrayLength(id)) return -EINVAL;
    const size = sizeOf(btf, element);
    if (size < 0) return size;
    spec.addElement(element, index, size);
    return element;
  }
  return undefined;
}
