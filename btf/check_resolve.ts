/**
 * @module btf/check_resolve
 * Second pass: follows references depth first with a stack of at most 32, finds loops, checks that members fit their struct
 * and that everything with a size has one. Reproduces `btf_check_all_types` of kernel/bpf/btf.c with its three modes of
 * walking: what ends a walk depends on whether it began at a pointer or at a struct or array.
 */
import { E2BIG, EEXIST, EINVAL } from '../isa/errno.ts';
import {
  BTF_KIND_ARRAY, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_UNION,
  BTF_KIND_VAR,
} from '../isa/uapi.ts';
import { isModifierKind } from './btf.ts';
import { type CheckEnv, isRegularInt, isSizelessKind, isSourceOnlyKind, needsResolve } from './check_env.ts';

const MAX_RESOLVE_DEPTH = 32;
const U32_MAX = 0xffffffff;

const NOT_VISITED = 0;
const VISITED = 1;
const RESOLVED = 2;

/** How a walk began decides which types end it. */
type ResolveMode = 'undecided' | 'pointer' | 'aggregate';

/** Resolves every type; 0 or `-errno`. */
export function checkAllTypes(env: CheckEnv): number {
  return new Resolver(env).run();
}

class Resolver {
  readonly #env: CheckEnv;
  readonly #states: Uint8Array;
  readonly #stack = new Uint32Array(MAX_RESOLVE_DEPTH);
  readonly #nextMembers = new Uint32Array(MAX_RESOLVE_DEPTH);
  #depth = 0;
  #mode: ResolveMode = 'undecided';

  constructor(env: CheckEnv) {
    this.#env = env;
    this.#states = new Uint8Array(env.typeCount);
    env.resolvedIDs = new Uint32Array(env.typeCount);
    env.resolvedSizes = new Uint32Array(env.typeCount);
  }

  run(): number {
    const env = this.#env;
    env.isMetaPhase = false;
    for (let id = 1; id < env.typeCount; id++) {
      env.logID = id;
      const kind = env.kind(id);
      let result = 0;
      if (needsResolve(kind) && !this.#isResolved(id)) result = this.#resolve(id);
      else if (kind === BTF_KIND_FUNC_PROTO) result = this.#checkPrototype(id);
      if (result !== 0) return result;
    }
    return 0;
  }

  // ---------------------------------------------------------------- the walk

  #isResolved(id: number): boolean {
    return this.#states[id] === RESOLVED;
  }

  /** True where the walk need not enter a type of that kind. */
  #isSink(kind: number): boolean {
    switch (this.#mode) {
      case 'undecided':
        return !needsResolve(kind);
      case 'pointer':
        return !isModifierKind(kind) && kind !== BTF_KIND_PTR;
      case 'aggregate':
        return !isModifierKind(kind) && kind !== BTF_KIND_ARRAY && kind !== BTF_KIND_STRUCT && kind !== BTF_KIND_UNION;
    }
  }

  #push(id: number): number {
    if (this.#depth === MAX_RESOLVE_DEPTH) return -E2BIG;
    if (this.#states[id] !== NOT_VISITED) return -EEXIST;
    this.#states[id] = VISITED;
    this.#stack[this.#depth] = id;
    this.#nextMembers[this.#depth] = 0;
    this.#depth++;
    if (this.#mode === 'undecided') {
      const kind = this.#env.kind(id);
      if (kind === BTF_KIND_PTR) this.#mode = 'pointer';
      else if (kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION || kind === BTF_KIND_ARRAY) this.#mode = 'aggregate';
    }
    return 0;
  }

  #pop(resolvedID: number, resolvedSize: number): number {
    const id = this.#stack[--this.#depth] ?? 0;
    this.#env.resolvedIDs[id] = resolvedID;
    this.#env.resolvedSizes[id] = resolvedSize;
    this.#states[id] = RESOLVED;
    return 0;
  }

  #resolve(id: number): number {
    const env = this.#env;
    const savedLogID = env.logID;
    this.#mode = 'undecided';
    this.#push(id);
    let result = 0;
    while (result === 0 && this.#depth > 0) {
      const current = this.#stack[this.#depth - 1] ?? 0;
      env.logID = current;
      result = this.#step(current);
    }
    env.logID = id;
    const at = env.at(id) ?? 0;
    if (result === -E2BIG) env.logType(at, `Exceeded max resolving depth:${MAX_RESOLVE_DEPTH}`);
    else if (result === -EEXIST) env.logType(at, 'Loop detected');
    if (result === 0 && !this.#isSane(id)) {
      env.logType(at, 'Invalid resolve state');
      result = -EINVAL;
    }
    env.logID = savedLogID;
    return result;
  }

  /** One step at the top of the stack: pushes what must come first, or resolves and pops. */
  #step(id: number): number {
    const at = this.#env.at(id) ?? 0;
    const kind = this.#env.kind(id);
    switch (kind) {
      case BTF_KIND_PTR: return this.#resolvePointer(at);
      case BTF_KIND_ARRAY: return this.#resolveArray(at);
      case BTF_KIND_STRUCT: case BTF_KIND_UNION: return this.#resolveStruct(at);
      case BTF_KIND_FUNC: return this.#resolveFunction(at);
      case BTF_KIND_VAR: return this.#resolveVariable(at);
      case BTF_KIND_DATASEC: return this.#resolveSection(at);
      case BTF_KIND_DECL_TAG: return this.#resolveDeclTag(at);
      default:
        if (isModifierKind(kind)) return this.#resolveModifier(at);
        this.#env.logBasic(at, 'Unsupported resolve');
        return -EINVAL;
    }
  }

  /** The kernel's last look at what a walk left. */
  #isSane(id: number): boolean {
    const env = this.#env;
    if (!this.#isResolved(id)) return false;
    const kind = env.kind(id);
    const resolved = env.resolvedIDs[id] ?? 0;
    const size = env.resolvedSizes[id] ?? 0;
    if (kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION || kind === BTF_KIND_DATASEC) return resolved === 0 && size === 0;
    if (kind === BTF_KIND_DECL_TAG || kind === BTF_KIND_FUNC) return resolved !== 0 && size === 0;
    if (kind === BTF_KIND_ARRAY) {
      const at = env.at(id) ?? 0;
      const element = env.sizedType(env.word(at + 3));
      return element !== undefined && Math.imul(env.word(at + 5), env.sizeOf(element)) >>> 0 === size;
    }
    const resolvedKind = env.kind(resolved);
    return resolvedKind >= 0 && !isModifierKind(resolvedKind) && resolvedKind !== BTF_KIND_VAR && resolvedKind !== BTF_KIND_DATASEC;
  }

  // ---------------------------------------------------------------- references

  #refuse(at: number, message: string): number {
    this.#env.logType(at, message);
    return -EINVAL;
  }

  /** True where `id` must be walked before its referrer is done. */
  #mustEnter(id: number): boolean {
    return !this.#isSink(this.#env.kind(id)) && !this.#isResolved(id);
  }

  /** True for ids that a type may refer to. */
  #mayRefer(id: number): boolean {
    const kind = this.#env.kind(id);
    return kind >= 0 && !isSourceOnlyKind(kind);
  }

  /**
   * A modifier that was resolved for a struct stopped at the first pointer; a pointer or variable behind it must go on from
   * there, or a loop of pointers would stay unseen. The pointer to go on from, 0 if there is none.
   */
  #pointerBehind(id: number): number {
    if (!isModifierKind(this.#env.kind(id))) return 0;
    const resolved = this.#env.resolvedIDs[id] ?? 0;
    return this.#env.kind(resolved) === BTF_KIND_PTR && this.#mustEnter(resolved) ? resolved : 0;
  }

  /** The end of a modifier or pointer: a sized type, or void, a forward declaration or a prototype. */
  #popReference(at: number, next: number): number {
    const env = this.#env;
    let target = env.sizedType(next);
    if (target === undefined) {
      target = this.#isResolved(next) ? (env.resolvedIDs[next] ?? 0) : next;
      const kind = env.kind(target);
      if (kind !== 0 && kind !== BTF_KIND_FWD && kind !== BTF_KIND_FUNC_PROTO) return this.#refuse(at, 'Invalid type_id');
    }
    return this.#pop(target, 0);
  }

  #resolveModifier(at: number): number {
    const next = this.#env.referAt(at);
    if (!this.#mayRefer(next)) return this.#refuse(at, 'Invalid type_id');
    if (this.#mustEnter(next)) return this.#push(next);
    return this.#popReference(at, next);
  }

  #resolvePointer(at: number): number {
    const next = this.#env.referAt(at);
    if (!this.#mayRefer(next)) return this.#refuse(at, 'Invalid type_id');
    if (this.#mustEnter(next)) return this.#push(next);
    const behind = this.#pointerBehind(next);
    if (behind !== 0) return this.#push(behind);
    return this.#popReference(at, next);
  }

  #resolveVariable(at: number): number {
    const next = this.#env.referAt(at);
    if (!this.#mayRefer(next)) return this.#refuse(at, 'Invalid type_id');
    if (this.#mustEnter(next)) return this.#push(next);
    const behind = this.#pointerBehind(next);
    if (behind !== 0) return this.#push(behind);
    const target = this.#env.sizedType(next);
    if (target === undefined) return this.#refuse(at, 'Invalid type_id');
    return this.#pop(target, 0);
  }

  #resolveFunction(at: number): number {
    const env = this.#env;
    const proto = env.referAt(at);
    if (env.kind(proto) !== BTF_KIND_FUNC_PROTO) return this.#refuse(at, 'Invalid type_id');
    const protoAt = env.at(proto) ?? 0;
    for (let i = 0, n = env.vlenAt(protoAt); i < n; i++) {
      const hasName = env.word(protoAt + 3 + i * 2) !== 0;
      const hasType = env.word(protoAt + 4 + i * 2) !== 0;
      if (!hasName && hasType) return this.#refuse(at, `Invalid arg#${i + 1}`);
    }
    return this.#pop(proto, 0);
  }

  #resolveDeclTag(at: number): number {
    const env = this.#env;
    const next = env.referAt(at);
    const kind = env.kind(next);
    if (!isDeclTagTarget(kind)) return this.#refuse(at, 'Invalid type_id');
    if (this.#mustEnter(next)) return this.#push(next);
    const component = env.word(at + 3) | 0;
    if (component !== -1) {
      if (kind === BTF_KIND_VAR || kind === BTF_KIND_TYPEDEF) return this.#refuse(at, 'Invalid component_idx');
      const nextAt = env.at(next) ?? 0;
      const listAt = kind === BTF_KIND_FUNC ? (env.at(env.referAt(nextAt)) ?? 0) : nextAt;
      if (component >>> 0 >= env.vlenAt(listAt)) return this.#refuse(at, 'Invalid component_idx');
    }
    return this.#pop(next, 0);
  }

  // ---------------------------------------------------------------- arrays, sections

  #resolveArray(at: number): number {
    const env = this.#env;
    const indexID = env.word(at + 4);
    if (!this.#mayContain(indexID)) return this.#refuse(at, 'Invalid index');
    if (this.#mustEnter(indexID)) return this.#push(indexID);
    const index = env.sizedType(indexID);
    if (index === undefined || env.kind(index) !== BTF_KIND_INT || !this.#isRegular(index)) return this.#refuse(at, 'Invalid index');

    const elementID = env.word(at + 3);
    if (!this.#mayContain(elementID)) return this.#refuse(at, 'Invalid elem');
    if (this.#mustEnter(elementID)) return this.#push(elementID);
    const element = env.sizedType(elementID);
    if (element === undefined) return this.#refuse(at, 'Invalid elem');
    if (env.kind(element) === BTF_KIND_INT && !this.#isRegular(element)) return this.#refuse(at, 'Invalid array of int');
    const count = env.word(at + 5);
    const size = env.sizeOf(element);
    if (count !== 0 && size > Math.floor(U32_MAX / count)) return this.#refuse(at, 'Array size overflows U32_MAX');
    return this.#pop(element, Math.imul(size, count) >>> 0);
  }

  #isRegular(id: number): boolean {
    return isRegularInt(this.#env.word((this.#env.at(id) ?? 0) + 3));
  }

  /** True for types that an array or a struct may be made of. */
  #mayContain(id: number): boolean {
    const kind = this.#env.kind(id);
    return kind >= 0 && !isSizelessKind(kind) && !isSourceOnlyKind(kind);
  }

  #resolveSection(at: number): number {
    const env = this.#env;
    this.#mode = 'undecided';
    const refuse = (variableAt: number, message: string): number => {
      env.logSectionVariable(at, variableAt, message);
      return -EINVAL;
    };
    for (let i = this.#nextMembers[this.#depth - 1] ?? 0, n = env.vlenAt(at); i < n; i++) {
      const entry = at + 3 + i * 3;
      const variable = env.word(entry);
      if (env.kind(variable) !== BTF_KIND_VAR) return refuse(entry, 'Not a VAR kind member');
      if (this.#mustEnter(variable)) {
        this.#nextMembers[this.#depth - 1] = i + 1;
        return this.#push(variable);
      }
      const type = env.sizedType(env.referAt(env.at(variable) ?? 0));
      if (type === undefined) return refuse(entry, 'Invalid type');
      if (env.word(entry + 2) < env.sizeOf(type)) return refuse(entry, 'Invalid size');
    }
    return this.#pop(0, 0);
  }

  // ---------------------------------------------------------------- structs

  #resolveStruct(at: number): number {
    const env = this.#env;
    const done = this.#nextMembers[this.#depth - 1] ?? 0;
    // The member that the walk was pushed for is resolved now, and checked like those that needed no walk.
    if (done > 0) {
      const result = this.#checkMember(at, at + 3 + (done - 1) * 3);
      if (result !== 0) return result;
    }
    for (let i = done, n = env.vlenAt(at); i < n; i++) {
      const member = at + 3 + i * 3;
      const type = env.word(member + 1);
      if (!this.#mayContain(type)) return this.#refuseMember(at, member, 'Invalid member');
      if (this.#mustEnter(type)) {
        this.#nextMembers[this.#depth - 1] = i + 1;
        return this.#push(type);
      }
      const result = this.#checkMember(at, member);
      if (result !== 0) return result;
    }
    return this.#pop(0, 0);
  }

  #refuseMember(structAt: number, member: number, message: string): number {
    this.#env.logMember(structAt, member, message);
    return -EINVAL;
  }

  #checkMember(structAt: number, member: number): number {
    const env = this.#env;
    let type = env.word(member + 1);
    if (isModifierKind(env.kind(type))) {
      const resolved = env.sizedType(type);
      if (resolved === undefined) return this.#refuseMember(structAt, member, 'Invalid member');
      type = resolved;
    }
    const problem = env.kflagAt(structAt)
      ? this.#bitfieldProblem(structAt, member, type)
      : this.#memberProblem(structAt, member, type);
    if (problem === '') return 0;
    if (problem === undefined) {
      env.logBasic(structAt, `Unsupported check_${env.kflagAt(structAt) ? 'kflag_' : ''}member`);
      return -EINVAL;
    }
    env.logMember(structAt, member, problem, type);
    return -EINVAL;
  }

  /** What is wrong with a member whose offset word is a plain bit offset; `''` if nothing, `undefined` if it cannot be one. */
  #memberProblem(structAt: number, member: number, type: number): string | undefined {
    const env = this.#env;
    const offset = env.word(member + 2);
    const structSize = env.referAt(structAt);
    switch (env.kind(type)) {
      case BTF_KIND_INT: {
        const data = env.word((env.at(type) ?? 0) + 3);
        const intOffset = (data >>> 16) & 0xff;
        if (U32_MAX - offset < intOffset) return 'bits_offset exceeds U32_MAX';
        return bitsProblem(offset + intOffset, data & 0xff, structSize);
      }
      case BTF_KIND_PTR: case BTF_KIND_ARRAY: case BTF_KIND_STRUCT: case BTF_KIND_UNION: case BTF_KIND_ENUM: case BTF_KIND_ENUM64: {
        if ((offset & 7) !== 0) return 'Member is not byte aligned';
        // The first pass made sure that the offset lies in the struct.
        return ((structSize - (offset >>> 3)) >>> 0) < env.sizeOf(type) ? 'Member exceeds struct_size' : '';
      }
      case BTF_KIND_FLOAT: {
        const size = env.sizeOf(type);
        if (offset % (Math.min(8, size) * 8) !== 0) return 'Member is not properly aligned';
        return (offset >>> 3) + size > structSize ? 'Member exceeds struct_size' : '';
      }
      default:
        return undefined;
    }
  }

  /** The same where the offset word holds a bit field's size in its top byte. */
  #bitfieldProblem(structAt: number, member: number, type: number): string | undefined {
    const env = this.#env;
    const word = env.word(member + 2);
    const offset = word & 0xffffff;
    let bits = word >>> 24;
    const structSize = env.referAt(structAt);
    switch (env.kind(type)) {
      case BTF_KIND_INT: {
        const data = env.word((env.at(type) ?? 0) + 3);
        if (!isRegularInt(data)) return 'Invalid member base type';
        if (bits === 0) {
          if ((offset & 7) !== 0) return 'Invalid member offset';
          bits = data & 0xff;
        } else if (bits > (data & 0xff)) {
          return 'Invalid member bitfield_size';
        }
        return bitsProblem(offset, bits, structSize);
      }
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64: {
        if (bits === 0) {
          if ((offset & 7) !== 0) return 'Member is not byte aligned';
          bits = 32;
        } else if (bits > 32) {
          return 'Invalid member bitfield_size';
        }
        return structSize < (offset + bits + 7) >>> 3 ? 'Member exceeds struct_size' : '';
      }
      case BTF_KIND_PTR: case BTF_KIND_ARRAY: case BTF_KIND_STRUCT: case BTF_KIND_UNION: case BTF_KIND_FLOAT:
        return bits !== 0 ? 'Invalid member bitfield_size' : this.#memberProblem(structAt, member, type);
      default:
        return undefined;
    }
  }

  // ---------------------------------------------------------------- prototypes

  #checkPrototype(id: number): number {
    const env = this.#env;
    const at = env.at(id) ?? 0;
    const result = env.referAt(at);
    if (result !== 0) {
      const error = this.#checkValueType(at, result, 'Invalid return type');
      if (error !== 0) return error;
    }
    let count = env.vlenAt(at);
    if (count === 0) return 0;
    if (env.word(at + 4 + (count - 1) * 2) === 0) {
      if (env.word(at + 3 + (count - 1) * 2) !== 0) return this.#refuse(at, `Invalid arg#${count}`);
      count--;
    }
    for (let i = 0; i < count; i++) {
      const name = env.word(at + 3 + i * 2);
      const type = env.word(at + 4 + i * 2);
      const message = `Invalid arg#${i + 1}`;
      if (!this.#mayRefer(type)) return this.#refuse(at, message);
      if (name !== 0 && (!env.isNameOffset(name) || !env.isIdentifier(name))) return this.#refuse(at, message);
      const error = this.#checkValueType(at, type, message);
      if (error !== 0) return error;
    }
    return 0;
  }

  /** Results and arguments must have a size. */
  #checkValueType(at: number, type: number, message: string): number {
    if (!this.#mayRefer(type)) return this.#refuse(at, message);
    if (needsResolve(this.#env.kind(type)) && !this.#isResolved(type)) {
      const result = this.#resolve(type);
      if (result !== 0) return result;
    }
    return this.#env.sizedType(type) === undefined ? this.#refuse(at, message) : 0;
  }
}

function isDeclTagTarget(kind: number): boolean {
  return kind === BTF_KIND_FUNC || kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION || kind === BTF_KIND_VAR
    || kind === BTF_KIND_TYPEDEF;
}

/** Bits at a bit offset must be at most 128 with their lead, and lie in the struct. */
function bitsProblem(offset: number, bits: number, structSize: number): string {
  const byte = Math.floor(offset / 8);
  const copied = bits + (offset & 7);
  if (copied > 128) return 'nr_copy_bits exceeds 128';
  return structSize < byte || structSize - byte < (copied + 7) >>> 3 ? 'Member exceeds struct_size' : '';
}
