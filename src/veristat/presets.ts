/**
 * @module src/veristat/presets
 * First values for global variables of an object: `variable.field[3] = 7`, as veristat reads and sets them before it loads
 * (`append_var_preset()`, `set_global_vars()` of `tools/testing/selftests/bpf/veristat.c`). Changes the contents of the object's
 * data sections; reads no file.
 */
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from '../../loader/object/btf-object.ts';
import type { BPFObject, ObjectMap } from '../../loader/object/model.ts';
import { SpecError } from './stats.ts';

/** A step from a variable towards the value that is set. */
type Step = { readonly kind: 'field'; readonly name: string } | { readonly kind: 'index'; readonly index: bigint | string };

/** `variable.path = value`; a value or index that is no number is the name of an enumerator. */
export interface Preset {
  readonly text: string;
  readonly variable: string;
  readonly steps: readonly Step[];
  readonly value: bigint | string;
}

/** A place in a data section. */
interface Place {
  readonly offset: number;
  readonly type: number;
  readonly size: number;
}

const EXPRESSION = /^\s*([\][a-zA-Z0-9_. ]+?)\s*=\s*(\S+)\s*$/;
const PART = /^\s*([a-zA-Z0-9_]+)\s*((?:\[\s*[a-zA-Z0-9_]+\s*\]\s*)*)$/;
const INDEX = /\[\s*([a-zA-Z0-9_]+)\s*\]/g;
const INT_SIGNED = 1;

/**
 * Reads one assignment.
 *
 * @throws SpecError that names it
 *
 * @example
 * parsePreset('limits.max[2] = 0x10').steps.length; // 2
 */
export function parsePreset(text: string): Preset {
  const [, path = '', right = ''] = EXPRESSION.exec(text) ?? fail(text, 'not of the form VARIABLE = VALUE');
  const steps: Step[] = [];
  for (const part of path.split('.')) {
    const [, name = '', indexes = ''] = PART.exec(part) ?? fail(text, `${JSON.stringify(part)} names no variable or field`);
    steps.push({ kind: 'field', name }, ...[...indexes.matchAll(INDEX)].map(([, index = '']): Step => ({ kind: 'index', index: parseValue(text, index) })));
  }
  const [first, ...rest] = steps;
  if (first?.kind !== 'field') fail(text, 'no variable');
  return { text: path, variable: first.name, steps: rest, value: parseValue(text, right) };
}

function fail(text: string, reason: string): never {
  throw new SpecError(`--set-global-vars ${JSON.stringify(text)}: ${reason}`);
}

/** A number as C writes it, or a name. */
function parseValue(text: string, value: string): bigint | string {
  if (!/^[-\d]/.test(value)) return value;
  const [, sign = '', digits = ''] = /^(-?)(0[xX][0-9a-fA-F]+|\d+)$/.exec(value) ?? fail(text, `${JSON.stringify(value)} is no whole number`);
  const isOctal = /^0\d/.test(digits);
  if (isOctal && /[89]/.test(digits)) fail(text, `${JSON.stringify(value)} is no octal number`);
  const number = BigInt(isOctal ? `0o${digits.slice(1)}` : digits);
  const signed = sign === '-' ? -number : number;
  if (signed < -(1n << 63n) || signed >= 1n << 64n) fail(text, `${JSON.stringify(value)} does not fit 64 bits`);
  return BigInt.asIntN(64, signed);
}

/**
 * Writes the values into the object's data sections.
 *
 * @throws InputError where a variable, field or enumerator does not exist, is not an integer or enumeration, or the value does not fit
 */
export function applyPresets(object: BPFObject, presets: readonly Preset[]): void {
  if (presets.length === 0) return;
  const { btf } = object;
  if (btf === undefined) throw new InputError(object.file, '', 'the object has no types: no variable can be set');
  const applied = new Set<Preset>();
  for (const { map, variable, place } of variablesOf(object, btf)) {
    for (const preset of presets) {
      if (preset.variable !== variable) continue;
      if (applied.has(preset)) throw new InputError(object.file, `variable ${variable}`, 'set more than once');
      new Setter(object.file, btf, preset).set(map, place);
      applied.add(preset);
    }
  }
  const missing = presets.find((preset) => !applied.has(preset));
  if (missing !== undefined) throw new InputError(object.file, `variable ${missing.text}`, 'the object has no such global variable');
}

function* variablesOf(object: BPFObject, btf: ObjectBTF): Generator<{ map: ObjectMap; variable: string; place: Place }> {
  for (let id = 1; id < btf.count; id++) {
    if (btf.kind(id) !== U.BTF_KIND_DATASEC) continue;
    const map = object.maps.find(({ realName, data }) => realName === btf.name(id) && data !== undefined);
    if (map === undefined) continue;
    for (let i = 0; i < btf.vlen(id); i++) {
      const variable = btf.word(id, 3 + 3 * i);
      if (btf.kind(variable) !== U.BTF_KIND_VAR) continue;
      yield { map, variable: btf.name(variable), place: { type: btf.skipModifiers(btf.target(variable)), offset: btf.word(id, 4 + 3 * i), size: btf.word(id, 5 + 3 * i) } };
    }
  }
}

class Setter {
  readonly #file: string;
  readonly #btf: ObjectBTF;
  readonly #preset: Preset;

  constructor(file: string, btf: ObjectBTF, preset: Preset) {
    this.#file = file;
    this.#btf = btf;
    this.#preset = preset;
  }

  #fail(reason: string): never {
    throw new InputError(this.#file, `variable ${this.#preset.text}`, reason);
  }

  set(map: ObjectMap, variable: Place): void {
    const place = this.#preset.steps.reduce((at, step) => (step.kind === 'index' ? this.#element(at, step.index) : this.#field(at, step.name)), variable);
    const value = this.#valueFor(place);
    const data = map.data?.slice();
    if (data === undefined || place.offset + place.size > data.length) this.#fail('lies outside of its section');
    for (let i = 0; i < place.size; i++) data[place.offset + i] = Number(BigInt.asUintN(8, value >> BigInt(8 * Math.min(i, 7))));
    map.data = data;
  }

  #element(array: Place, index: bigint | string): Place {
    const btf = this.#btf;
    if (btf.kind(array.type) !== U.BTF_KIND_ARRAY) this.#fail('an index, but no array');
    const count = btf.word(array.type, 5);
    const at = typeof index === 'bigint' ? index : this.#anyEnumerator(index);
    if (at < 0n || at >= BigInt(count)) this.#fail(`index ${at} is out of bounds [0, ${count})`);
    const type = btf.word(array.type, 3);
    const size = btf.resolveSize(type);
    return { type: btf.skipModifiers(type), size, offset: array.offset + size * Number(at) };
  }

  #field(struct: Place, name: string): Place {
    const kind = this.#btf.kind(struct.type);
    if (kind !== U.BTF_KIND_STRUCT && kind !== U.BTF_KIND_UNION) this.#fail(`field ${name} of something that has no fields`);
    return this.#findField(struct, name, 0) ?? this.#fail(`there is no field ${name}`);
  }

  /** Fields of anonymous members are fields. */
  #findField({ type, offset }: Place, name: string, depth: number): Place | undefined {
    const btf = this.#btf;
    for (let i = 0; i < btf.vlen(type) && depth < 32; i++) {
      const inner = btf.skipModifiers(btf.memberType(type, i));
      const place = { type: inner, offset: offset + (btf.memberBitOffset(type, i) >>> 3), size: btf.resolveSize(inner) };
      if (btf.memberName(type, i) === name) return btf.memberBitfieldSize(type, i) === 0 ? place : this.#fail('bit fields cannot be set');
      const isAnonymous = btf.memberName(type, i) === '' && (btf.kind(inner) === U.BTF_KIND_STRUCT || btf.kind(inner) === U.BTF_KIND_UNION);
      const found = isAnonymous ? this.#findField(place, name, depth + 1) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #valueFor({ type, size }: Place): bigint {
    const btf = this.#btf;
    const { value } = this.#preset;
    const kind = btf.kind(type);
    const isEnum = kind === U.BTF_KIND_ENUM || kind === U.BTF_KIND_ENUM64;
    if (kind !== U.BTF_KIND_INT && !isEnum) this.#fail('only integers and enumerations can be set');
    if (typeof value === 'string' && !isEnum) this.#fail(`${value} is no value of type ${btf.name(type)}`);
    const number = typeof value === 'bigint' ? value : this.#enumerator(type, value) ?? this.#fail(`${value} is no enumerator of ${btf.name(type)}`);
    const isSigned = isEnum ? btf.kflag(type) : ((btf.word(type, 3) >>> 24) & INT_SIGNED) !== 0;
    if (size < 8) {
      // A negative number of the same width may also be written into an unsigned variable.
      const limit = 1n << BigInt(size * 8 - (isSigned ? 1 : 0));
      if (number >= limit || number < -limit) this.#fail(`${number} is out of range [${isSigned ? -limit : 0n}; ${limit - 1n}]`);
    }
    return number;
  }

  #enumerator(type: number, name: string): bigint | undefined {
    const btf = this.#btf;
    const words = btf.kind(type) === U.BTF_KIND_ENUM64 ? 3 : 2;
    for (let i = 0; i < btf.vlen(type); i++) {
      const at = 3 + words * i;
      if (btf.string(btf.word(type, at)) !== name) continue;
      const low = BigInt(btf.word(type, at + 1));
      return words === 3 ? BigInt.asIntN(64, (BigInt(btf.word(type, at + 2)) << 32n) | low) : BigInt.asIntN(32, low);
    }
    return undefined;
  }

  /** Of whichever enumeration has it. */
  #anyEnumerator(name: string): bigint {
    for (let id = 1; id < this.#btf.count; id++) {
      const kind = this.#btf.kind(id);
      const value = kind === U.BTF_KIND_ENUM || kind === U.BTF_KIND_ENUM64 ? this.#enumerator(id, name) : undefined;
      if (value !== undefined) return value;
    }
    return this.#fail(`there is no enumerator ${name}`);
  }
}
