/**
 * @module btf/c-dump
 * Types as C: declarations of a variable (`declare`), and definitions of a type with everything that it needs in an order that a compiler
 * takes (`define`). Owns order, forward declarations, padding and the numbering of names that occur twice; which types are wanted is the
 * caller's. The text is that of `btf_dump__emit_type_decl` and `btf_dump__dump_type` of `tools/lib/bpf/btf_dump.c` of Linux 7.3, byte for
 * byte.
 */
import {
  BTF_KIND_ARRAY, BTF_KIND_CONST, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT,
  BTF_KIND_PTR, BTF_KIND_RESTRICT, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';
import { alignOf, isQualifier, memberOf, referencedTypes, resolveSize, type TypeSource } from './type-source.ts';

/** Types inside one another; C needs far fewer, and recursion must end. */
const MAX_DEPTH = 512;
/** Qualifiers, pointers and arrays between a name and its type. */
const MAX_CHAIN = 4096;
const MAX_TABS = 13;
const MAX_NAME = 255;
/** Bits of one gap, which takes a line for every long. */
const MAX_PADDING = 2 ** 27;

const QUALIFIERS: Readonly<Record<number, string>> = { [BTF_KIND_VOLATILE]: 'volatile', [BTF_KIND_CONST]: 'const', [BTF_KIND_RESTRICT]: 'restrict' };

/** Integers that gcc knows without a definition, for vectors of Arm. */
const COMPILER_TYPES: ReadonlyMap<string, string> = new Map([
  ['__Poly8_t', 'unsigned char'], ['__Poly16_t', 'unsigned short'], ['__Poly64_t', 'unsigned long long'], ['__Poly128_t', 'unsigned __int128'],
]);

/** How far a type has come on its way into the order or into the text. */
const NOT_YET = 0;
const UNDER_WAY = 1;
const DONE = 2;

/** How a declaration is written. */
export interface DeclarationStyle {
  /** Tabs before nested lines. */
  readonly level?: number;
  /** Leaves out const, volatile, restrict and type tags. */
  readonly stripQualifiers?: boolean;
}

function tabs(level: number): string {
  return '\t'.repeat(Math.min(level, MAX_TABS));
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** A name behind a type: a star needs no blank. */
function separated(name: string, afterPointer: boolean): string {
  return name !== '' && !afterPointer ? ` ${name}` : name;
}

function occurrences(names: Map<string, number>, name: string): number {
  const count = (names.get(name) ?? 0) + 1;
  names.set(name, count);
  return count;
}

function enumValue(low: number, high: number, isWide: boolean, isSigned: boolean): string {
  if (!isWide) return String(isSigned ? low | 0 : low);
  const value = (BigInt(high) << 32n) | BigInt(low);
  return isSigned ? `${BigInt.asIntN(64, value)}LL` : `${value}ULL`;
}

function isComposite(kind: number): boolean {
  return kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION;
}

/**
 * C text over one set of types. Names that occur twice get a number and a definition is given once, so one instance serves a whole text.
 *
 * @example
 * new CDumper(types).declare(id, 'counter'); // 'int counter'
 * new CDumper(types).define(id); // 'struct list;\n\nstruct list {\n\tstruct list *next;\n};\n\n'
 */
export class CDumper {
  readonly #types: TypeSource;
  readonly #warn: (message: string) => void;
  readonly #tagNames = new Map<string, number>();
  readonly #identNames = new Map<string, number>();
  readonly #resolved = new Map<number, string>();
  #stripQualifiers = false;
  #depth = 0;
  // For definitions only, by id.
  #order = new Uint8Array(0);
  #emitted = new Uint8Array(0);
  #isForwarded = new Uint8Array(0);
  #isReferenced: Uint8Array | undefined;
  #queue: number[] = [];
  readonly #text: string[] = [];

  /** @param warn takes what libbpf would warn of */
  constructor(types: TypeSource, warn: (message: string) => void = () => {}) {
    this.#types = types;
    this.#warn = warn;
  }

  /**
   * `type name`, as in a member or parameter; anonymous structs, unions and enumerations are spelled out.
   * @throws InputError (through the source) where the types run in a circle
   */
  declare(id: number, name: string, { level = 0, stripQualifiers = false }: DeclarationStyle = {}): string {
    this.#stripQualifiers = stripQualifiers;
    try {
      return this.#declaration(id, name, level);
    } finally {
      this.#stripQualifiers = false;
    }
  }

  /**
   * Definitions of a type and of all it needs, each with an empty line behind it, less those that this instance has given before.
   * @throws InputError (through the source) where a type contains itself
   */
  define(id: number): string {
    this.#prepare();
    this.#queue = [];
    this.#sort(id, false);
    for (const wanted of this.#queue) this.#emit(wanted, 0);
    return this.#text.splice(0).join('');
  }

  // --- names --------------------------------------------------------------------------------------------------------

  #nameOf(id: number): string {
    return this.#types.string(this.#types.word(id, 0));
  }

  #isAnonymous(id: number): boolean {
    return this.#types.word(id, 0) === 0;
  }

  /** A name, numbered from its second occurrence on. */
  #uniqueName(id: number, names: Map<string, number>): string {
    if (this.#isAnonymous(id)) return '';
    const known = this.#resolved.get(id);
    if (known !== undefined) return known;
    const original = this.#nameOf(id);
    const kind = this.#types.kind(id);
    const isOnlyNamed = kind === BTF_KIND_FWD || (kind === BTF_KIND_ENUM && this.#types.vlen(id) === 0);
    const count = isOnlyNamed ? 1 : occurrences(names, original);
    const name = count > 1 ? `${original}___${count}`.slice(0, MAX_NAME) : original;
    this.#resolved.set(id, name);
    return name;
  }

  #tag(id: number): string {
    return this.#uniqueName(id, this.#tagNames);
  }

  // --- order --------------------------------------------------------------------------------------------------------

  #prepare(): void {
    const { count } = this.#types;
    if (this.#order.length === count) return;
    this.#order = new Uint8Array(count);
    this.#emitted = new Uint8Array(count);
    this.#isForwarded = new Uint8Array(count);
    this.#order[0] = DONE;
    this.#emitted[0] = DONE;
  }

  /** Which types any other names, but for results of functions: an anonymous enumeration that none names stands for itself. */
  #referenced(): Uint8Array {
    if (this.#isReferenced !== undefined) return this.#isReferenced;
    const referenced = new Uint8Array(this.#types.count);
    for (let id = 1; id < this.#types.count; id++) {
      const ids = referencedTypes(this.#types, id);
      for (const other of this.#types.kind(id) === BTF_KIND_FUNC_PROTO ? ids.slice(1) : ids) referenced[other] = 1;
    }
    this.#isReferenced = referenced;
    return referenced;
  }

  #deeper<T>(id: number, work: () => T): T {
    if (this.#depth >= MAX_DEPTH) this.#types.fail(`type ${id}`, `more than ${MAX_DEPTH} types inside one another`);
    this.#depth++;
    try {
      return work();
    } finally {
      this.#depth--;
    }
  }

  /**
   * Queues what must be defined before `id` can be used, and `id`.
   * @returns whether the link is strong: the full definition must come first, a forward declaration will not do
   */
  #sort(id: number, throughPointer: boolean): boolean {
    if (this.#order[id] === DONE) return true;
    const kind = this.#types.kind(id);
    if (this.#order[id] === UNDER_WAY) {
      if (isComposite(kind) && throughPointer && !this.#isAnonymous(id)) return false;
      this.#types.fail(`type ${id}`, `unsatisfiable type cycle, id:[${id}]`);
    }
    return this.#deeper(id, () => this.#sortKind(id, kind, throughPointer));
  }

  #sortKind(id: number, kind: number, throughPointer: boolean): boolean {
    const types = this.#types;
    switch (kind) {
      case BTF_KIND_PTR: {
        const isStrong = this.#sort(types.word(id, 2), true);
        this.#order[id] = DONE;
        return isStrong;
      }
      case BTF_KIND_ARRAY: return this.#sort(types.word(id, 3), false);
      case BTF_KIND_STRUCT: case BTF_KIND_UNION: return this.#sortMembers(id, throughPointer);
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64: case BTF_KIND_FWD:
        if (!this.#isAnonymous(id) || this.#referenced()[id] === 0) this.#queue.push(id);
        this.#order[id] = DONE;
        return true;
      case BTF_KIND_TYPEDEF: {
        const isStrong = this.#sort(types.word(id, 2), throughPointer);
        if (throughPointer && !isStrong) return false;
        this.#queue.push(id);
        this.#order[id] = DONE;
        return true;
      }
      case BTF_KIND_FUNC_PROTO: {
        let isStrong = this.#sort(types.word(id, 2), throughPointer);
        for (let i = 0, n = types.vlen(id); i < n; i++) isStrong = this.#sort(types.word(id, 4 + 2 * i), throughPointer) || isStrong;
        return isStrong;
      }
      default:
        if (isQualifier(kind)) return this.#sort(types.word(id, 2), throughPointer);
        // Integers, and what has no definition: functions, variables, sections, declaration tags.
        this.#order[id] = DONE;
        return false;
    }
  }

  #sortMembers(id: number, throughPointer: boolean): boolean {
    const isNamed = !this.#isAnonymous(id);
    if (throughPointer && isNamed) return false;
    this.#order[id] = UNDER_WAY;
    for (let i = 0, n = this.#types.vlen(id); i < n; i++) this.#sort(this.#types.word(id, 4 + 3 * i), false);
    if (isNamed) this.#queue.push(id);
    this.#order[id] = DONE;
    return true;
  }

  // --- definitions --------------------------------------------------------------------------------------------------

  #statement(text: string): void {
    this.#text.push(text, ';\n\n');
  }

  /** Writes the definition of `id` where it stands for itself (`container` is 0), else what must be known to name it inside `container`. */
  #emit(id: number, container: number): void {
    const state = this.#emitted[id];
    if (state === DONE) return;
    const kind = this.#types.kind(id);
    if (state === UNDER_WAY) {
      this.#emitAgain(id, kind, container);
      return;
    }
    this.#deeper(id, () => this.#emitKind(id, kind, container));
  }

  /** A type that is being written is named again from inside. */
  #emitAgain(id: number, kind: number, container: number): void {
    if (this.#isForwarded[id] !== 0) return;
    if (isComposite(kind)) {
      if (id === container) return;
      if (this.#isAnonymous(id)) {
        this.#warn(`anonymous struct/union loop, id:[${id}]`);
        return;
      }
      this.#statement(this.#forward(id));
    } else if (kind === BTF_KIND_TYPEDEF) {
      this.#emitTypedef(id);
    } else {
      return;
    }
    this.#isForwarded[id] = 1;
  }

  #emitKind(id: number, kind: number, container: number): void {
    const types = this.#types;
    switch (kind) {
      case BTF_KIND_INT:
        this.#emitCompilerType(id);
        this.#emitted[id] = DONE;
        return;
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64:
        if (container === 0) this.#statement(this.#enumText(id, 0));
        this.#emitted[id] = DONE;
        return;
      case BTF_KIND_FWD:
        this.#statement(this.#forward(id));
        this.#emitted[id] = DONE;
        return;
      case BTF_KIND_ARRAY: this.#emit(types.word(id, 3), container); return;
      case BTF_KIND_TYPEDEF:
        this.#emitted[id] = UNDER_WAY;
        this.#emit(types.word(id, 2), id);
        if (this.#isForwarded[id] === 0) this.#emitTypedef(id);
        this.#emitted[id] = DONE;
        return;
      case BTF_KIND_STRUCT: case BTF_KIND_UNION: this.#emitComposite(id, container); return;
      case BTF_KIND_FUNC_PROTO:
        this.#emit(types.word(id, 2), container);
        for (let i = 0, n = types.vlen(id); i < n; i++) this.#emit(types.word(id, 4 + 2 * i), container);
        return;
      default:
        if (kind === BTF_KIND_PTR || isQualifier(kind)) this.#emit(types.word(id, 2), container);
    }
  }

  #emitComposite(id: number, container: number): void {
    const isNamed = !this.#isAnonymous(id);
    this.#emitted[id] = UNDER_WAY;
    if (container === 0 || !isNamed) {
      const inside = isNamed ? id : container;
      for (let i = 0, n = this.#types.vlen(id); i < n; i++) this.#emit(this.#types.word(id, 4 + 3 * i), inside);
    } else if (this.#isForwarded[id] === 0 && id !== container) {
      this.#statement(this.#forward(id));
      this.#isForwarded[id] = 1;
    }
    if (container === 0) this.#statement(this.#structText(id, 0));
    this.#emitted[id] = container === 0 ? DONE : NOT_YET;
  }

  /** Compilers know `__builtin_va_list` by themselves, and gcc gives its other name no type. */
  #emitTypedef(id: number): void {
    if (this.#nameOf(id) === '__builtin_va_list') return;
    const name = this.#uniqueName(id, this.#identNames);
    const target = this.#types.word(id, 2);
    const declaration = target === 0 && name === '__gnuc_va_list' ? '__builtin_va_list __gnuc_va_list' : this.#declaration(target, name, 0);
    this.#statement(`typedef ${declaration}`);
  }

  #emitCompilerType(id: number): void {
    const name = this.#tag(id);
    const standard = COMPILER_TYPES.get(name);
    if (standard !== undefined) this.#statement(`typedef ${standard} ${name}`);
  }

  /** `struct name`, also for forward declarations of the BTF itself. */
  #forward(id: number): string {
    const kind = this.#types.kind(id);
    const isUnion = kind === BTF_KIND_UNION || (kind === BTF_KIND_FWD && this.#types.kflag(id));
    const name = this.#tag(id);
    return `${isUnion ? 'union' : 'struct'}${name === '' && kind !== BTF_KIND_FWD ? '' : ' '}${name}`;
  }

  // --- declarations -------------------------------------------------------------------------------------------------

  #declaration(id: number, name: string, level: number): string {
    return this.#deeper(id, () => this.#chainText(this.#chain(id), name, level));
  }

  /** From the type itself down to the one that ends the chain. */
  #chain(first: number): number[] {
    const types = this.#types;
    const chain: number[] = [];
    for (let id = first, steps = 0; ; steps++) {
      const kind = id === 0 ? 0 : types.kind(id);
      if (!(this.#stripQualifiers && isQualifier(kind))) chain.push(id);
      if (steps > MAX_CHAIN) types.fail(`type ${first}`, 'a cycle of types');
      if (kind === BTF_KIND_ARRAY) id = types.word(id, 3);
      else if (kind === BTF_KIND_PTR || kind === BTF_KIND_FUNC_PROTO || isQualifier(kind)) id = types.word(id, 2);
      else return chain;
    }
  }

  /** Qualifiers at the end of the chain, which C writes in front of what is not a pointer. */
  #leadingQualifiers(chain: number[]): string {
    let text = '';
    for (let id = chain.at(-1); id !== undefined; id = chain.at(-1)) {
      const word = id === 0 ? undefined : QUALIFIERS[this.#types.kind(id)];
      if (word === undefined) break;
      text += `${word} `;
      chain.pop();
    }
    return text;
  }

  #dropQualifiers(chain: number[]): void {
    for (let id = chain.at(-1); id !== undefined && id !== 0 && isQualifier(this.#types.kind(id)); id = chain.at(-1)) chain.pop();
  }

  /** Empties the chain from its end: the innermost type first, the name last. */
  #chainText(chain: number[], name: string, level: number): string {
    let text = '';
    let afterPointer = true;
    for (let id = chain.pop(); id !== undefined; id = chain.pop()) {
      const kind = id === 0 ? 0 : this.#types.kind(id);
      if (kind === BTF_KIND_ARRAY) return text + this.#arrayText(id, chain, name, level, afterPointer);
      if (kind === BTF_KIND_FUNC_PROTO) return text + this.#functionText(id, chain, name, level, afterPointer);
      if (kind === BTF_KIND_PTR) {
        text += afterPointer ? '*' : ' *';
      } else if (QUALIFIERS[kind] !== undefined) {
        text += ` ${QUALIFIERS[kind]}`;
      } else {
        const base = kind === BTF_KIND_TYPE_TAG ? () => this.#attributeText(id) : this.#baseText(id, kind, level);
        if (base === undefined) {
          this.#warn(`unexpected type in decl chain, kind:${kind}, id:[${id}]`);
          return text;
        }
        text += this.#leadingQualifiers(chain) + base();
      }
      afterPointer = kind === BTF_KIND_PTR;
    }
    return text + separated(name, afterPointer);
  }

  #attributeText(id: number): string {
    const name = this.#nameOf(id);
    return this.#types.kflag(id) ? ` __attribute__((${name}))` : ` __attribute__((btf_type_tag("${name}")))`;
  }

  /** The type that a chain ends in; `undefined` where no declaration can end in it. */
  #baseText(id: number, kind: number, level: number): (() => string) | undefined {
    if (id === 0) return () => 'void';
    const isAnonymous = this.#isAnonymous(id);
    switch (kind) {
      case BTF_KIND_INT: case BTF_KIND_FLOAT: return () => this.#nameOf(id);
      case BTF_KIND_STRUCT: case BTF_KIND_UNION: return () => (isAnonymous ? this.#structText(id, level) : this.#forward(id));
      case BTF_KIND_ENUM: case BTF_KIND_ENUM64: return () => (isAnonymous ? this.#enumText(id, level) : `enum ${this.#tag(id)}`);
      case BTF_KIND_FWD: return () => this.#forward(id);
      case BTF_KIND_TYPEDEF: return () => this.#uniqueName(id, this.#identNames);
      default: return undefined;
    }
  }

  #arrayText(id: number, chain: number[], name: string, level: number, afterPointer: boolean): string {
    this.#dropQualifiers(chain);
    const length = `[${this.#types.word(id, 5)}]`;
    const next = chain.at(-1);
    if (next === undefined) return separated(name, afterPointer) + length;
    const blank = name !== '' && !afterPointer ? ' ' : '';
    const isNested = next !== 0 && this.#types.kind(next) === BTF_KIND_ARRAY;
    const inner = this.#chainText(chain, name, level);
    return blank + (isNested ? inner : `(${inner})`) + length;
  }

  #functionText(id: number, chain: number[], name: string, level: number, afterPointer: boolean): string {
    this.#dropQualifiers(chain);
    const head = chain.length > 0 ? ` (${this.#chainText(chain, name, level)})` : separated(name, afterPointer);
    return `${head}(${this.#parameters(id, level)})`;
  }

  #parameters(id: number, level: number): string {
    const types = this.#types;
    const count = types.vlen(id);
    if (count === 0 || (count === 1 && types.word(id, 4) === 0)) return 'void';
    return Array.from({ length: count }, (_, i) => {
      const type = types.word(id, 4 + 2 * i);
      return type === 0 && i === count - 1 ? '...' : this.#declaration(type, types.string(types.word(id, 3 + 2 * i)), level);
    }).join(', ');
  }

  // --- bodies -------------------------------------------------------------------------------------------------------

  #structText(id: number, level: number): string {
    const types = this.#types;
    const isStruct = types.kind(id) === BTF_KIND_STRUCT;
    const size = types.word(id, 2);
    const count = types.vlen(id);
    const align = alignOf(types, id);
    const packed = isStruct && this.#isPacked(id);
    let text = `${this.#forward(id)} {`;
    let at = 0;
    let afterBitField = false;
    for (let i = 0; i < count; i++) {
      const { type, nameOffset, offset, bits } = memberOf(types, id, i);
      text += this.#padding(at, offset, packed ? 1 : alignOf(types, type), afterBitField && bits !== 0, level + 1);
      text += `\n${tabs(level + 1)}${this.#declaration(type, types.string(nameOffset), level + 1)}${bits !== 0 ? `: ${bits}` : ''};`;
      at = offset + (bits !== 0 ? bits : 8 * Math.max(0, resolveSize(types, type)));
      afterBitField = bits !== 0;
    }
    if (isStruct) text += this.#padding(at, 8 * size, align, false, level + 1);
    text += count > 0 || size > 0 ? `\n${tabs(level)}}` : '}';
    return packed ? `${text} __attribute__((packed))` : text;
  }

  #isPacked(id: number): boolean {
    const types = this.#types;
    let largest = 1;
    for (let i = 0, n = types.vlen(id); i < n; i++) {
      const { type, word, bits } = memberOf(types, id, i);
      const align = alignOf(types, type);
      if (align !== 0 && bits === 0 && word % (8 * align) !== 0) return true;
      largest = Math.max(largest, align);
    }
    return types.word(id, 2) % largest !== 0;
  }

  /** Nameless bit-fields that take the place of a gap which the compiler would not leave by itself. Offsets in bits. */
  #padding(first: number, end: number, align: number, inBitField: boolean, level: number): string {
    // libbpf counts in integers of 32 bits.
    const [from, to] = [first | 0, end | 0];
    if (from >= to) return '';
    const fillers = [['long', 8 * this.#types.pointerSize], ['int', 32], ['short', 16], ['char', 8]] as const;
    let text = '';
    let at = from;
    // The largest filler whose natural boundary is not behind the gap.
    const [type, bits] = fillers.find(([, width]) => roundUp(at, width) <= to) ?? fillers[3];
    const boundary = roundUp(at, bits);
    if (boundary > at && boundary <= to) {
      const isNeeded = inBitField || (boundary === to ? roundUp(at, align * 8) !== boundary : to - boundary <= boundary - at);
      if (isNeeded) text += `\n${tabs(level)}${type}: ${inBitField ? boundary - at : 0};`;
      at = boundary;
    }
    let unit: number = bits;
    let unitName: string = type;
    const lines: string[] = [];
    if (to - at > MAX_PADDING) this.#types.fail('', `${to - at} bits of padding`);
    while (at !== to) {
      const rest = Math.min(to - at, unit);
      if (rest !== unit) {
        const smallest = fillers.findLast(([, width]) => width >= rest) ?? fillers[0];
        [unitName, unit] = smallest;
      }
      lines.push(`\n${tabs(level)}${unitName}: ${rest};`);
      at += rest;
    }
    return text + lines.join('');
  }

  #enumText(id: number, level: number): string {
    const types = this.#types;
    const isWide = types.kind(id) === BTF_KIND_ENUM64;
    const count = types.vlen(id);
    const size = types.word(id, 2);
    const name = this.#tag(id);
    let text = name === '' ? 'enum' : `enum ${name}`;
    if (count === 0) return text;
    text += ' {';
    let hasHighBits = false;
    for (let i = 0; i < count; i++) {
      const at = 3 + i * (isWide ? 3 : 2);
      const value = types.string(types.word(id, at));
      const occurrence = occurrences(this.#identNames, value);
      const high = isWide ? types.word(id, at + 2) : 0;
      hasHighBits ||= high !== 0;
      text += `\n${tabs(level + 1)}${occurrence > 1 ? `${value}___${occurrence}` : value} = ${enumValue(types.word(id, at + 1), high, isWide, types.kflag(id))},`;
    }
    text += `\n${tabs(level)}}`;
    if (size === 1) return `${text} __attribute__((mode(byte)))`;
    return size === 8 && types.pointerSize === 8 && !(isWide && hasHighBits) ? `${text} __attribute__((mode(word)))` : text;
  }
}
