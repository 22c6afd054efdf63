/**
 * @module btf/core
 * CO-RE relocations resolved: which candidate matches (`core_match.ts`) and the value that results. Reproduces
 * tools/lib/bpf/relo_core.c, which kernel and libbpf share: results, order of candidates, refusals and messages. What a relocation
 * means is `core_spec.ts`, patching of instructions `core_patch.ts`, candidates and their cache `core_apply.ts`.
 */
import { E2BIG, EINVAL, EOPNOTSUPP, EUCLEAN } from '../isa/errno.ts';
import {
  BPF_CORE_ENUMVAL_EXISTS, BPF_CORE_FIELD_BYTE_OFFSET, BPF_CORE_FIELD_BYTE_SIZE, BPF_CORE_FIELD_EXISTS,
  BPF_CORE_FIELD_LSHIFT_U64, BPF_CORE_FIELD_RSHIFT_U64, BPF_CORE_FIELD_SIGNED, BPF_CORE_TYPE_EXISTS, BPF_CORE_TYPE_ID_LOCAL,
  BPF_CORE_TYPE_ID_TARGET, BPF_CORE_TYPE_MATCHES, BPF_CORE_TYPE_SIZE, BTF_KIND_ARRAY, BTF_KIND_ENUM, BTF_KIND_INT,
  BTF_KIND_PTR,
} from '../isa/uapi.ts';
import { type BTF, BTF_INT_SIGNED } from './btf.ts';
import { Matcher } from './core_match.ts';
import {
  coreKindName, isEnumKind, isEnumValueBased, isFieldBased, isTypeBased, kindText, parseSpec, sizeOf, Spec, type Accessor, type CoreRelocation, type CoreReporter,
} from './core_spec.ts';

export { coreKindName, essentialNameLength, type CoreRelocation, type CoreReporter } from './core_spec.ts';

/** Arrays and structs inside one another. */
const MAX_NESTING = 32;

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
    reporter.warn(`${prefix} parsing [${relo.typeID}] ${kindText(local, relo.typeID, reporter)} ${localName === '' ? '<anon>' : localName} + ${text} failed: ${spec}\n`);
    return -EINVAL;
  }
  reporter.debug(`${prefix} ${spec.toText(reporter)}\n`);

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
      reporter.warn(`${prefix} error matching candidate #${i} ${target.toText(reporter)}: ${matched}\n`);
      return matched;
    }
    reporter.debug(`${prefix} ${matched === 0 ? 'non-matching' : 'matching'} candidate #${i} ${target.toText(reporter)}\n`);
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
