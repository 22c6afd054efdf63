/**
 * @module btf/core_match
 * Whether and how an access of the program's types maps onto a type of the target: by names and kinds of members, by the shape of types,
 * by names of enumerators. Reproduces `bpf_core_spec_match` and `bpf_core_types_match` of tools/lib/bpf/relo_core.c.
 */
import { E2BIG, EINVAL } from '../isa/errno.ts';
import {
  BPF_CORE_TYPE_MATCHES, BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC_PROTO, BTF_KIND_FWD,
  BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_UNION,
} from '../isa/uapi.ts';
import { type BTF, BTF_INT_SIGNED } from './btf.ts';
import {
  areKindsCompatible, essentialName, isComposite, isEnumKind, isEnumValueBased, isFieldBased, isFlexibleArray, isTypeBased, MAX_SPEC, sizeOf, type Spec, type Accessor, type CoreReporter,
} from './core_spec.ts';

/** Arrays and structs inside one another. */
const MAX_NESTING = 32;
/** Steps of one comparison. The types of a kernel take a few thousand at most; made-up ones could take forever. */
const MAX_STEPS = 1_000_000;

/** Compares types of two BTFs within a budget; results: 1 yes, 0 no, negative `-errno`. */
export class Matcher {
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
