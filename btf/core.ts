/**
 * @module btf/core
 * CO-RE matching: what a relocation means in the program's types (the local spec), which types of the target are candidates,
 * how the spec maps onto them, and the value that results. Reproduces tools/lib/bpf/relo_core.c, which kernel and libbpf
 * share: results, order of candidates, refusals and messages. Does not patch instructions (btf/core_patch.ts), nor hold the
 * kernel's cache of candidates (btf/core_cands.ts).
 */
import { E2BIG, EINVAL, EOPNOTSUPP, EUCLEAN } from '../isa/errno.ts';
import {
  BPF_CORE_ENUMVAL_EXISTS, BPF_CORE_ENUMVAL_VALUE, BPF_CORE_FIELD_BYTE_OFFSET, BPF_CORE_FIELD_BYTE_SIZE,
  BPF_CORE_FIELD_EXISTS, BPF_CORE_FIELD_LSHIFT_U64, BPF_CORE_FIELD_RSHIFT_U64, BPF_CORE_FIELD_SIGNED,
  BPF_CORE_TYPE_EXISTS, BPF_CORE_TYPE_ID_LOCAL, BPF_CORE_TYPE_ID_TARGET, BPF_CORE_TYPE_MATCHES, BPF_CORE_TYPE_SIZE,
  BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_PTR,
  BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_DATASEC, BTF_KIND_VAR,
} from '../isa/uapi.ts';
import { type BTF, BTF_INT_SIGNED, BTF_KIND_NAMES } from './btf.ts';

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
}

/** A type of the target that has the right name. */
export interface CoreCandidate {
  readonly btf: BTF;
  readonly id: number;
}

/** What a relocation comes to. */
export interface CoreResult {
  /** What the instruction holds now, unless `validate` is false. */
  readonly originalValue: bigint;
  readonly newValue: bigint;
  /** The instruction is replaced by one that never verifies. */
  readonly poison: boolean;
  readonly validate: boolean;
  readonly failMemorySizeAdjust: boolean;
  readonly originalSize: number;
  readonly newSize: number;
  /** The candidate that matched first: its id, and the access as member and element indexes of its own. */
  readonly target?: { readonly btf: BTF; readonly rootTypeID: number; readonly path: readonly number[] };
}

const MAX_SPEC = 64;
const MAX_NESTING = 32;
const MAX_SPEC_TEXT = 255;
/** Steps of one comparison. The types of a kernel take a few thousand at most; made-up ones could take forever. */
const MAX_STEPS = 1_000_000;

const KIND_NAMES: readonly string[] = [
  'byte_off', 'byte_sz', 'field_exists', 'signed', 'lshift_u64', 'rshift_u64', 'local_type_id', 'target_type_id', 'type_exists',
  'type_size', 'enumval_exists', 'enumval_value', 'type_matches',
];

/** Name of a relocation kind in messages. */
export function coreKindName(kind: number): string {
  return KIND_NAMES[kind] ?? 'unknown';
}

function isFieldBased(kind: number): boolean {
  return kind === BPF_CORE_FIELD_BYTE_OFFSET || kind === BPF_CORE_FIELD_BYTE_SIZE || kind === BPF_CORE_FIELD_EXISTS
    || kind === BPF_CORE_FIELD_SIGNED || kind === BPF_CORE_FIELD_LSHIFT_U64 || kind === BPF_CORE_FIELD_RSHIFT_U64;
}

function isTypeBased(kind: number): boolean {
  return kind === BPF_CORE_TYPE_ID_LOCAL || kind === BPF_CORE_TYPE_ID_TARGET || kind === BPF_CORE_TYPE_EXISTS
    || kind === BPF_CORE_TYPE_MATCHES || kind === BPF_CORE_TYPE_SIZE;
}

function isEnumValueBased(kind: number): boolean {
  return kind === BPF_CORE_ENUMVAL_EXISTS || kind === BPF_CORE_ENUMVAL_VALUE;
}

function isEnumKind(kind: number): boolean {
  return kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64;
}

function isComposite(kind: number): boolean {
  return kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION;
}

function areKindsCompatible(a: number, b: number): boolean {
  return a === b || (isEnumKind(a) && isEnumKind(b));
}

/** Bytes as `btf_resolve_size` gives them: a signed 32-bit number, or `-EINVAL` for what has no size. */
function sizeOf(btf: BTF, id: number): number {
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

function essentialName(name: string): string {
  return name.slice(0, essentialNameLength(name));
}

/** One step of access: a named member, or an element (no name). */
interface Accessor {
  readonly typeID: number;
  readonly index: number;
  readonly name: string | undefined;
}

/** What an access string means in one BTF. */
class Spec {
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
  toText(): string {
    const { btf } = this;
    const name = btf.typeName(this.rootTypeID);
    let text = `<${coreKindName(this.kind)}> [${this.rootTypeID}] ${kindText(btf, this.rootTypeID)} ${name === '' ? '<anon>' : name}`;
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

function kindText(btf: BTF, id: number): string {
  return BTF_KIND_NAMES[btf.kind(id)] ?? 'UNKNOWN';
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
function isFlexibleArray(btf: BTF, accessor: Accessor | undefined, arrayID: number): boolean {
  if (accessor?.name === undefined || btf.arrayLength(arrayID) > 0) return false;
  return accessor.index === btf.vlen(accessor.typeID) - 1;
}

function parseSpec(btf: BTF, relo: CoreRelocation, reporter: CoreReporter): Spec | number {
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
      reporter.warn(`prog '${reporter.programName}': relo for [${relo.typeID}]  (at idx ${i}) captures type [${id}] of unexpected kind ${kindText(btf, id)}\n`);
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

// ---------------------------------------------------------------- matching

/** Compares types of two BTFs within a budget; results: 1 yes, 0 no, negative `-errno`. */
class Matcher {
  readonly #local: BTF;
  readonly #reporter: CoreReporter;
  #steps = 0;

  constructor(local: BTF, reporter: CoreReporter) {
    this.#local = local;
    this.#reporter = reporter;
  }

  /** Maps the local spec onto a candidate; fills `target`. */
  match(local: Spec, target: Spec): number {
    if (isTypeBased(local.kind)) {
      const maxDepth = this.#reporter.maxDepth;
      return local.kind === BPF_CORE_TYPE_MATCHES
        ? this.#typesMatch(local.rootTypeID, target.btf, target.rootTypeID, false, maxDepth)
        : this.#typesCompatible(local.rootTypeID, target.btf, target.rootTypeID, maxDepth);
    }
    if (isEnumValueBased(local.kind)) return this.#matchEnumValue(local, target);
    return isFieldBased(local.kind) ? this.#matchField(local, target) : -EINVAL;
  }

  #isOverBudget(): boolean {
    return ++this.#steps > MAX_STEPS;
  }

  #matchEnumValue(local: Spec, target: Spec): number {
    const { btf } = target;
    const id = btf.skipModifiers(target.rootTypeID);
    if (!isEnumKind(btf.kind(id))) return 0;
    const wanted = essentialName(local.accessors[0]?.name ?? '');
    for (let i = 0, n = btf.vlen(id); i < n; i++) {
      const name = btf.enumName(id, i);
      if (essentialName(name) !== wanted) continue;
      target.accessors.push({ typeID: id, index: i, name });
      target.raw.push(i);
      return 1;
    }
    return 0;
  }

  #matchField(local: Spec, target: Spec): number {
    const { btf } = target;
    let id = target.rootTypeID;
    for (let i = 0; i < local.accessors.length; i++) {
      const accessor = local.accessors[i];
      if (accessor === undefined) break;
      id = btf.skipModifiers(id);
      if (btf.kind(id) < 0) return -EINVAL;
      if (accessor.name !== undefined) {
        const next = { id };
        const found = this.#matchMember(accessor, target, id, next);
        if (found <= 0) return found;
        id = next.id;
        continue;
      }
      if (i > 0) {
        if (btf.kind(id) !== BTF_KIND_ARRAY) return 0;
        if (!isFlexibleArray(btf, target.accessors[i - 1], id) && accessor.index >= btf.arrayLength(id)) return 0;
        id = btf.skipModifiers(btf.arrayElementType(id));
        if (btf.kind(id) < 0) return -EINVAL;
      }
      if (target.raw.length === MAX_SPEC) return -E2BIG;
      target.raw.push(accessor.index);
      const size = sizeOf(btf, id);
      target.addElement(id, accessor.index, size < 0 ? 0 : size);
      if (size < 0) return size;
    }
    return 1;
  }

  /** Looks for a member of that name, through anonymous members; `next` gets the member's type. */
  #matchMember(wanted: Accessor, target: Spec, typeID: number, next: { id: number }): number {
    const { btf } = target;
    const id = btf.skipModifiers(typeID);
    if (btf.kind(id) < 0 || this.#isOverBudget()) return -EINVAL;
    if (!isComposite(btf.kind(id))) return 0;
    const localName = this.#local.memberName(wanted.typeID, wanted.index);
    for (let i = 0, n = btf.vlen(id); i < n; i++) {
      if (target.raw.length === MAX_SPEC) return -E2BIG;
      const bits = btf.memberBitOffset(id, i);
      target.addBits(bits);
      target.raw.push(i);
      const name = btf.memberName(id, i);
      if (name === '') {
        const found = this.#matchMember(wanted, target, btf.memberType(id, i), next);
        if (found !== 0) return found;
      } else if (name === localName) {
        next.id = btf.memberType(id, i);
        const found = this.#fieldsCompatible(this.#local.memberType(wanted.typeID, wanted.index), btf, next.id);
        if (found !== 0) target.accessors.push({ typeID: id, index: i, name });
        return found;
      }
      target.addBits(-bits);
      target.raw.pop();
    }
    return 0;
  }

  /** May a field of one type stand for a field of the other? */
  #fieldsCompatible(localTypeID: number, btf: BTF, targetTypeID: number): number {
    const local = this.#local;
    let localID = localTypeID;
    let targetID = targetTypeID;
    for (;;) {
      if (this.#isOverBudget()) return -EINVAL;
      localID = local.skipModifiers(localID);
      targetID = btf.skipModifiers(targetID);
      const localKind = local.kind(localID);
      const targetKind = btf.kind(targetID);
      if (localKind < 0 || targetKind < 0) return -EINVAL;
      if (isComposite(localKind) && isComposite(targetKind)) return 1;
      if (!areKindsCompatible(localKind, targetKind)) return 0;
      switch (localKind) {
        case BTF_KIND_PTR: case BTF_KIND_FLOAT:
          return 1;
        case BTF_KIND_FWD: case BTF_KIND_ENUM64: case BTF_KIND_ENUM: {
          const localName = essentialName(local.typeName(localID));
          const targetName = essentialName(btf.typeName(targetID));
          return localName === '' || targetName === '' || localName === targetName ? 1 : 0;
        }
        case BTF_KIND_INT:
          return local.int(localID).offset === 0 && btf.int(targetID).offset === 0 ? 1 : 0;
        case BTF_KIND_ARRAY:
          localID = local.arrayElementType(localID);
          targetID = btf.arrayElementType(targetID);
          break;
        default:
          return 0;
      }
    }
  }

  /** Are two types roughly the same thing (`__bpf_core_types_are_compat`)? */
  #typesCompatible(localTypeID: number, btf: BTF, targetTypeID: number, level: number): number {
    const local = this.#local;
    let localID = localTypeID;
    let targetID = targetTypeID;
    if (!areKindsCompatible(local.kind(localID), btf.kind(targetID))) return 0;
    for (let depth = 0; depth < MAX_NESTING; depth++) {
      if (this.#isOverBudget()) return -EINVAL;
      localID = local.skipModifiers(localID);
      targetID = btf.skipModifiers(targetID);
      const kind = local.kind(localID);
      if (kind < 0 || btf.kind(targetID) < 0) return -EINVAL;
      if (!areKindsCompatible(kind, btf.kind(targetID))) return 0;
      switch (kind) {
        case 0: case BTF_KIND_STRUCT: case BTF_KIND_UNION: case BTF_KIND_ENUM: case BTF_KIND_FWD: case BTF_KIND_ENUM64:
          return 1;
        case BTF_KIND_INT:
          return local.int(localID).offset === 0 && btf.int(targetID).offset === 0 ? 1 : 0;
        case BTF_KIND_PTR:
          localID = local.type(localID);
          targetID = btf.type(targetID);
          break;
        case BTF_KIND_ARRAY:
          localID = local.arrayElementType(localID);
          targetID = btf.arrayElementType(targetID);
          break;
        case BTF_KIND_FUNC_PROTO: {
          if (local.vlen(localID) !== btf.vlen(targetID)) return 0;
          for (let i = 0, n = local.vlen(localID); i < n; i++) {
            if (level <= 0) return -EINVAL;
            const result = this.#typesCompatible(
              local.skipModifiers(local.paramType(localID, i)), btf, btf.skipModifiers(btf.paramType(targetID, i)), level - 1,
            );
            if (result <= 0) return result;
          }
          localID = local.type(localID);
          targetID = btf.type(targetID);
          break;
        }
        default:
          return 0;
      }
    }
    return -EINVAL;
  }

  #namesMatch(localName: string, targetName: string): boolean {
    return targetName === '' ? localName === '' : essentialName(localName) === essentialName(targetName);
  }

  /** Has the target all that the local type has (`__bpf_core_types_match`)? */
  #typesMatch(localTypeID: number, btf: BTF, targetTypeID: number, isBehindPointer: boolean, level: number): number {
    if (level <= 0) return -EINVAL;
    const local = this.#local;
    let localID = localTypeID;
    let targetID = targetTypeID;
    let behindPointer = isBehindPointer;
    for (let depth = 0; depth < MAX_NESTING; depth++) {
      if (this.#isOverBudget()) return -EINVAL;
      localID = local.skipModifiers(localID);
      targetID = btf.skipModifiers(targetID);
      const kind = local.kind(localID);
      const targetKind = btf.kind(targetID);
      if (kind < 0 || targetKind < 0) return -EINVAL;
      if (!this.#namesMatch(local.typeName(localID), btf.typeName(targetID))) return 0;
      if (isEnumKind(kind)) return isEnumKind(targetKind) ? this.#enumsMatch(localID, btf, targetID) : 0;
      if (kind === BTF_KIND_FWD) return forwardMatches(local.kflag(localID), btf.kflag(targetID), targetKind, behindPointer);
      if (isComposite(kind) && behindPointer) {
        if (kind === targetKind) return 1;
        return targetKind === BTF_KIND_FWD && (kind === BTF_KIND_UNION) === btf.kflag(targetID) ? 1 : 0;
      }
      if (kind !== targetKind) return 0;
      switch (kind) {
        case 0:
          return 1;
        case BTF_KIND_STRUCT: case BTF_KIND_UNION:
          return this.#compositesMatch(localID, btf, targetID, level);
        case BTF_KIND_INT: {
          const a = local.int(localID);
          const b = btf.int(targetID);
          return a.size === b.size && (a.encoding & BTF_INT_SIGNED) === (b.encoding & BTF_INT_SIGNED) ? 1 : 0;
        }
        case BTF_KIND_PTR:
          behindPointer = true;
          localID = local.type(localID);
          targetID = btf.type(targetID);
          break;
        case BTF_KIND_ARRAY:
          if (local.arrayLength(localID) !== btf.arrayLength(targetID)) return 0;
          localID = local.arrayElementType(localID);
          targetID = btf.arrayElementType(targetID);
          break;
        case BTF_KIND_FUNC_PROTO: {
          if (local.vlen(localID) !== btf.vlen(targetID)) return 0;
          for (let i = 0, n = local.vlen(localID); i < n; i++) {
            const result = this.#typesMatch(local.paramType(localID, i), btf, btf.paramType(targetID, i), behindPointer, level - 1);
            if (result <= 0) return result;
          }
          localID = local.type(localID);
          targetID = btf.type(targetID);
          break;
        }
        default:
          return 0;
      }
    }
    return -EINVAL;
  }

  #enumsMatch(localID: number, btf: BTF, targetID: number): number {
    const local = this.#local;
    if (local.size(localID) !== btf.size(targetID) || local.vlen(localID) > btf.vlen(targetID)) return 0;
    const names = new Set<string>();
    for (let i = 0, n = btf.vlen(targetID); i < n; i++) names.add(essentialName(btf.enumName(targetID, i)));
    for (let i = 0, n = local.vlen(localID); i < n; i++) if (!names.has(essentialName(local.enumName(localID, i)))) return 0;
    return 1;
  }

  #compositesMatch(localID: number, btf: BTF, targetID: number, level: number): number {
    const local = this.#local;
    if (local.vlen(localID) > btf.vlen(targetID)) return 0;
    for (let i = 0, n = local.vlen(localID); i < n; i++) {
      const name = local.memberName(localID, i);
      let isMatched = false;
      for (let j = 0, m = btf.vlen(targetID); j < m && !isMatched; j++) {
        if (this.#isOverBudget()) return -EINVAL;
        if (!this.#namesMatch(name, btf.memberName(targetID, j))) continue;
        const result = this.#typesMatch(local.memberType(localID, i), btf, btf.memberType(targetID, j), false, level - 1);
        if (result < 0) return result;
        isMatched = result > 0;
      }
      if (!isMatched) return 0;
    }
    return 1;
  }
}

function forwardMatches(isLocalUnion: boolean, targetFlag: boolean, targetKind: number, behindPointer: boolean): number {
  if (targetKind === BTF_KIND_FWD) return isLocalUnion === targetFlag ? 1 : 0;
  return behindPointer && targetKind === (isLocalUnion ? BTF_KIND_UNION : BTF_KIND_STRUCT) ? 1 : 0;
}

// ---------------------------------------------------------------- values

/** What a relocation reads off one side. */
interface SideValue {
  readonly value: bigint;
  /** Size and type of the field for loads and stores, 0 where they play no part. */
  readonly size: number;
  readonly typeID: number;
  readonly validate: boolean;
}

function side(value: bigint | number, validate = true, size = 0, typeID = 0): SideValue {
  return { value: BigInt.asUintN(64, BigInt(value)), size, typeID, validate };
}

/** Size of one element of what may be an array of arrays, `-EINVAL` without size. */
function elementSize(btf: BTF, typeID: number): number {
  let id = btf.skipModifiers(typeID);
  for (let depth = 0; depth < MAX_NESTING && btf.kind(id) === BTF_KIND_ARRAY; depth++) id = btf.skipModifiers(btf.arrayElementType(id));
  const size = sizeOf(btf, id);
  return size < 0 ? -EINVAL : size;
}

function fieldValue(relo: CoreRelocation, spec: Spec | undefined, reporter: CoreReporter): SideValue | number {
  if (relo.kind === BPF_CORE_FIELD_EXISTS) return side(spec === undefined ? 0 : 1);
  if (spec === undefined) return -EUCLEAN;
  const accessor = spec.accessors.at(-1);
  if (accessor === undefined) return -EINVAL;
  return accessor.name === undefined ? arrayFieldValue(relo, spec, accessor, reporter) : memberFieldValue(relo, spec, accessor, reporter);
}

function arrayFieldValue(relo: CoreRelocation, spec: Spec, accessor: Accessor, reporter: CoreReporter): SideValue | number {
  if (relo.kind === BPF_CORE_FIELD_BYTE_OFFSET) {
    const size = elementSize(spec.btf, accessor.typeID);
    return size < 0 ? -EINVAL : side(spec.bitOffset >>> 3, true, size, accessor.typeID);
  }
  if (relo.kind === BPF_CORE_FIELD_BYTE_SIZE) {
    const size = sizeOf(spec.btf, accessor.typeID);
    return size < 0 ? -EINVAL : side(size);
  }
  reporter.warn(`prog '${reporter.programName}': relo ${relo.kind} at insn #${relo.instructionOffset >>> 3} can't be applied to array access\n`);
  return -EINVAL;
}

function memberFieldValue(relo: CoreRelocation, spec: Spec, accessor: Accessor, reporter: CoreReporter): SideValue | number {
  const { btf, bitOffset } = spec;
  const fieldID = btf.skipModifiers(btf.memberType(accessor.typeID, accessor.index));
  let bits = btf.memberBitfieldSize(accessor.typeID, accessor.index);
  const isBitfield = bits > 0;
  let byteSize: number;
  let byteOffset: number;
  if (isBitfield) {
    byteSize = btf.size(fieldID);
    if (byteSize === 0) return -EINVAL;
    byteOffset = Math.floor((bitOffset >>> 3) / byteSize) * byteSize;
    while (bitOffset + bits - byteOffset * 8 > byteSize * 8) {
      if (byteSize >= 8) {
        reporter.warn(`prog '${reporter.programName}': relo ${relo.kind} at insn #${relo.instructionOffset >>> 3} can't be satisfied for bitfield\n`);
        return -E2BIG;
      }
      byteSize *= 2;
      byteOffset = Math.floor((bitOffset >>> 3) / byteSize) * byteSize;
    }
  } else {
    byteSize = sizeOf(btf, fieldID);
    if (byteSize < 0) return -EINVAL;
    byteOffset = bitOffset >>> 3;
    bits = byteSize * 8;
  }
  switch (relo.kind) {
    case BPF_CORE_FIELD_BYTE_OFFSET: {
      if (isBitfield) return side(byteOffset, false);
      const size = elementSize(btf, fieldID);
      return size < 0 ? -EINVAL : side(byteOffset, true, size, fieldID);
    }
    case BPF_CORE_FIELD_BYTE_SIZE:
      return side(byteSize, !isBitfield);
    case BPF_CORE_FIELD_SIGNED: {
      const kind = btf.kind(fieldID);
      const isSigned = (isEnumKind(kind) && btf.kflag(fieldID))
        || (kind === BTF_KIND_INT && (btf.int(fieldID).encoding & BTF_INT_SIGNED) !== 0);
      return side(isSigned ? 1 : 0);
    }
    case BPF_CORE_FIELD_LSHIFT_U64:
      return side((64 - (bitOffset + bits - byteOffset * 8)) >>> 0, !isBitfield);
    case BPF_CORE_FIELD_RSHIFT_U64:
      return side((64 - bits) >>> 0);
    default:
      return -EOPNOTSUPP;
  }
}

function typeValue(relo: CoreRelocation, spec: Spec | undefined): SideValue | number {
  if (spec === undefined) return side(0);
  switch (relo.kind) {
    case BPF_CORE_TYPE_ID_TARGET:
      return side(spec.rootTypeID, false);
    case BPF_CORE_TYPE_EXISTS: case BPF_CORE_TYPE_MATCHES:
      return side(1);
    case BPF_CORE_TYPE_SIZE: {
      const size = sizeOf(spec.btf, spec.rootTypeID);
      return size < 0 ? -EINVAL : side(size);
    }
    default:
      return -EOPNOTSUPP;
  }
}

function enumValue(relo: CoreRelocation, spec: Spec | undefined): SideValue | number {
  if (relo.kind === BPF_CORE_ENUMVAL_EXISTS) return side(spec === undefined ? 0 : 1);
  if (spec === undefined) return -EUCLEAN;
  const accessor = spec.accessors[0];
  if (accessor === undefined) return -EINVAL;
  const lo = spec.btf.enumValueLo(accessor.typeID, accessor.index);
  if (spec.btf.kind(accessor.typeID) === BTF_KIND_ENUM) return side(lo | 0);
  return side((BigInt(spec.btf.enumValueHi(accessor.typeID, accessor.index)) << 32n) | BigInt(lo));
}

function sideValue(relo: CoreRelocation, spec: Spec | undefined, reporter: CoreReporter): SideValue | number {
  if (isFieldBased(relo.kind)) return fieldValue(relo, spec, reporter);
  if (isTypeBased(relo.kind)) return typeValue(relo, spec);
  return isEnumValueBased(relo.kind) ? enumValue(relo, spec) : -EOPNOTSUPP;
}

const EMPTY = side(0);

/** Combines what both sides say; `target` is `undefined` where nothing matched. */
function calculate(
  relo: CoreRelocation, index: number, local: Spec, target: Spec | undefined, reporter: CoreReporter,
): CoreResult | number {
  const original = sideValue(relo, local, reporter);
  const next = typeof original === 'number' ? original : sideValue(relo, target, reporter);
  const error = typeof original === 'number' ? original : typeof next === 'number' ? next : 0;
  if (error !== 0 && error !== -EUCLEAN) {
    if (error === -EOPNOTSUPP) {
      reporter.warn(`prog '${reporter.programName}': relo #${index}: unrecognized CO-RE relocation ${coreKindName(relo.kind)} (${relo.kind}) at insn #${relo.instructionOffset >>> 3}\n`);
    }
    return error;
  }
  const from = typeof original === 'number' ? EMPTY : original;
  const to = typeof next === 'number' ? EMPTY : next;
  const failMemorySizeAdjust = error === 0 && target !== undefined && from.size !== to.size
    && !isSafeResize(local.btf, from.typeID, target.btf, to.typeID);
  return {
    originalValue: from.value,
    newValue: to.value,
    poison: error === -EUCLEAN,
    validate: from.validate,
    failMemorySizeAdjust,
    originalSize: from.size,
    newSize: to.size,
  };
}

/** A load may change its size for pointers and for integers that are not signed. */
function isSafeResize(local: BTF, localID: number, target: BTF, targetID: number): boolean {
  if (local.kind(localID) === BTF_KIND_PTR && target.kind(targetID) === BTF_KIND_PTR) return true;
  return local.kind(localID) === BTF_KIND_INT && target.kind(targetID) === BTF_KIND_INT
    && local.int(localID).encoding !== BTF_INT_SIGNED && target.int(targetID).encoding !== BTF_INT_SIGNED;
}

/**
 * Resolves one relocation against its candidates (`bpf_core_calc_relo_insn`): the result, or `-errno`. Candidates that match
 * must agree on offset and value. Without a match, existence is 0 and anything else poisons the instruction.
 */
export function resolveCoreRelocation(
  local: BTF, relo: CoreRelocation, index: number, candidates: readonly CoreCandidate[], reporter: CoreReporter,
): CoreResult | number {
  const prefix = `prog '${reporter.programName}': relo #${index}:`;
  const localName = local.stringAt(local.nameOffset(relo.typeID));
  if (localName === undefined) return -EINVAL;
  const spec = parseSpec(local, relo, reporter);
  if (typeof spec === 'number') {
    const text = local.stringAt(relo.accessStringOffset) ?? '<?>';
    reporter.warn(`${prefix} parsing [${relo.typeID}] ${kindText(local, relo.typeID)} ${localName === '' ? '<anon>' : localName} + ${text} failed: ${spec}\n`);
    return -EINVAL;
  }
  reporter.debug(`${prefix} ${spec.toText()}\n`);

  if (relo.kind === BPF_CORE_TYPE_ID_LOCAL) {
    const id = BigInt(spec.rootTypeID);
    return { originalValue: id, newValue: id, poison: false, validate: false, failMemorySizeAdjust: false, originalSize: 0, newSize: 0 };
  }
  if (localName === '') {
    reporter.warn(`${prefix} <${coreKindName(relo.kind)}> (${relo.kind}) relocation doesn't support anonymous types\n`);
    return -EOPNOTSUPP;
  }

  let chosen: { readonly result: CoreResult; readonly bitOffset: number } | undefined;
  const matcher = new Matcher(local, reporter);
  for (const [i, candidate] of candidates.entries()) {
    const target = new Spec(candidate.btf, candidate.id, relo.kind);
    const matched = matcher.match(spec, target);
    if (matched < 0) {
      reporter.warn(`${prefix} error matching candidate #${i} ${target.toText()}: ${matched}\n`);
      return matched;
    }
    reporter.debug(`${prefix} ${matched === 0 ? 'non-matching' : 'matching'} candidate #${i} ${target.toText()}\n`);
    if (matched === 0) continue;
    const result = calculate(relo, index, spec, target, reporter);
    if (typeof result === 'number') return result;
    if (chosen === undefined) {
      chosen = { result: { ...result, target: { btf: candidate.btf, rootTypeID: target.rootTypeID, path: target.raw } }, bitOffset: target.bitOffset };
    } else if (target.bitOffset !== chosen.bitOffset) {
      reporter.warn(`${prefix} field offset ambiguity: ${target.bitOffset} != ${chosen.bitOffset}\n`);
      return -EINVAL;
    } else if (result.poison !== chosen.result.poison || result.newValue !== chosen.result.newValue) {
      const outcome = (each: CoreResult): string => `${each.poison ? 'failure' : 'success'} ${each.newValue}`;
      reporter.warn(`${prefix} relocation decision ambiguity: ${outcome(result)} != ${outcome(chosen.result)}\n`);
      return -EINVAL;
    }
  }
  if (chosen !== undefined) return chosen.result;
  reporter.debug(`${prefix} no matching targets found\n`);
  return calculate(relo, index, spec, undefined, reporter);
}
