/**
 * @module loader/gen/btf-dump
 * C declarations of a BTF type: the text that stands before and behind a variable's name, anonymous structs spelled out with their
 * padding. Owns the syntax; which variables are declared is `skeleton-text.ts`. The text is that of `tools/lib/bpf/btf_dump.c`
 * (`btf_dump__emit_type_decl`) of Linux 7.3.
 */
import * as U from '../../isa/uapi.ts';
import { isModifier, type ObjectBTF } from '../object/btf-object.ts';

/** Anonymous types inside one another. */
const MAX_DEPTH = 200;
const MAX_TABS = 13;
const POINTER_BITS = 64;
/** Types that fill gaps, largest first. */
const FILLERS = [['long', POINTER_BITS], ['int', 32], ['short', 16], ['char', 8]] as const;
const BTF_INT_KINDS: ReadonlySet<number> = new Set([U.BTF_KIND_INT, U.BTF_KIND_FLOAT]);
const QUALIFIERS: Readonly<Record<number, string>> = { [U.BTF_KIND_VOLATILE]: 'volatile', [U.BTF_KIND_CONST]: 'const', [U.BTF_KIND_RESTRICT]: 'restrict' };

function tabs(level: number): string {
  return '\t'.repeat(Math.min(level, MAX_TABS));
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/**
 * Declarations over one BTF. Names that occur twice get a number, so one instance serves a whole text.
 *
 * @example
 * new TypeDumper(btf).declare(id, 'counter', 2, true); // 'int counter'
 */
export class TypeDumper {
  readonly #btf: ObjectBTF;
  readonly #typeNames = new Map<string, number>();
  readonly #identNames = new Map<string, number>();
  readonly #resolved = new Map<number, string>();
  #stripModifiers = false;
  #depth = 0;

  constructor(btf: ObjectBTF) {
    this.#btf = btf;
  }

  /** `type name`, nested lines indented by `level` tabs; without const and volatile where they are stripped. */
  declare(id: number, name: string, level: number, stripModifiers: boolean): string {
    this.#stripModifiers = stripModifiers;
    try {
      return this.#declaration(id, name, level);
    } finally {
      this.#stripModifiers = false;
    }
  }

  #declaration(id: number, name: string, level: number): string {
    if (this.#depth >= MAX_DEPTH) this.#btf.fail(`type ${id}`, `more than ${MAX_DEPTH} types inside one another`);
    this.#depth++;
    const text = this.#chainText(this.#chain(id), name, level);
    this.#depth--;
    return text;
  }

  /** From the type itself down to the one that ends the chain. */
  #chain(first: number): number[] {
    const btf = this.#btf;
    const chain: number[] = [];
    for (let id = first; ; ) {
      const kind = id === 0 ? 0 : btf.kind(id);
      if (!(this.#stripModifiers && isModifier(kind))) chain.push(id);
      if (chain.length > btf.count || chain.length > 4096) btf.fail(`type ${first}`, 'a cycle of types');
      if (kind === U.BTF_KIND_ARRAY) id = btf.word(id, 3);
      else if (kind === U.BTF_KIND_PTR || kind === U.BTF_KIND_FUNC_PROTO || isModifier(kind)) id = btf.target(id);
      else return chain;
    }
  }

  /** Qualifiers at the end of the chain, which C writes in front of what is not a pointer. */
  #leadingQualifiers(chain: number[]): string {
    let text = '';
    for (let id = chain.at(-1); id !== undefined; id = chain.at(-1)) {
      const word = id === 0 ? undefined : QUALIFIERS[this.#btf.kind(id)];
      if (word === undefined) break;
      text += `${word} `;
      chain.pop();
    }
    return text;
  }

  #dropModifiers(chain: number[]): void {
    for (let id = chain.at(-1); id !== undefined && id !== 0 && isModifier(this.#btf.kind(id)); id = chain.at(-1)) chain.pop();
  }

  /** Empties the chain from its end: the innermost type first, the name last. */
  #chainText(chain: number[], name: string, level: number): string {
    let text = '';
    let afterPointer = true;
    for (let id = chain.pop(); id !== undefined; id = chain.pop()) {
      const kind = id === 0 ? 0 : this.#btf.kind(id);
      if (kind === U.BTF_KIND_ARRAY) return text + this.#arrayText(id, chain, name, level, afterPointer);
      if (kind === U.BTF_KIND_FUNC_PROTO) return text + this.#functionText(id, chain, name, level, afterPointer);
      if (kind === U.BTF_KIND_PTR) text += afterPointer ? '*' : ' *';
      else if (QUALIFIERS[kind] !== undefined) text += ` ${QUALIFIERS[kind]}`;
      else if (kind === U.BTF_KIND_TYPE_TAG) text += this.#leadingQualifiers(chain) + this.#tagText(id);
      else text += this.#leadingQualifiers(chain) + this.#baseText(id, kind, level);
      afterPointer = kind === U.BTF_KIND_PTR;
    }
    return text + separated(name, afterPointer);
  }

  #tagText(id: number): string {
    const name = this.#btf.name(id);
    return this.#btf.kflag(id) ? ` __attribute__((${name}))` : ` __attribute__((btf_type_tag("${name}")))`;
  }

  #baseText(id: number, kind: number, level: number): string {
    const btf = this.#btf;
    if (id === 0) return 'void';
    if (BTF_INT_KINDS.has(kind)) return btf.name(id);
    const isAnonymous = btf.nameOffset(id) === 0;
    switch (kind) {
      case U.BTF_KIND_STRUCT: case U.BTF_KIND_UNION:
        return isAnonymous ? this.#structText(id, level) : `${kind === U.BTF_KIND_STRUCT ? 'struct' : 'union'} ${this.#name(id, this.#typeNames)}`;
      case U.BTF_KIND_ENUM: case U.BTF_KIND_ENUM64: return isAnonymous ? this.#enumText(id, level) : `enum ${this.#name(id, this.#typeNames)}`;
      case U.BTF_KIND_FWD: return `${btf.kflag(id) ? 'union' : 'struct'} ${this.#name(id, this.#typeNames)}`;
      case U.BTF_KIND_TYPEDEF: return this.#name(id, this.#identNames);
      default: return btf.fail(`type ${id}`, `unexpected type in decl chain, kind:${kind}, id:[${id}]`);
    }
  }

  #arrayText(id: number, chain: number[], name: string, level: number, afterPointer: boolean): string {
    this.#dropModifiers(chain);
    const length = `[${this.#btf.word(id, 5)}]`;
    const next = chain.at(-1);
    if (next === undefined) return separated(name, afterPointer) + length;
    const blank = name !== '' && !afterPointer ? ' ' : '';
    const isNested = next !== 0 && this.#btf.kind(next) === U.BTF_KIND_ARRAY;
    const inner = this.#chainText(chain, name, level);
    return blank + (isNested ? inner : `(${inner})`) + length;
  }

  #functionText(id: number, chain: number[], name: string, level: number, afterPointer: boolean): string {
    this.#dropModifiers(chain);
    const head = chain.length > 0 ? ` (${this.#chainText(chain, name, level)})` : separated(name, afterPointer);
    return `${head}(${this.#parameters(id, level)})`;
  }

  #parameters(id: number, level: number): string {
    const btf = this.#btf;
    const count = btf.vlen(id);
    if (count === 0 || (count === 1 && btf.word(id, 4) === 0)) return 'void';
    return Array.from({ length: count }, (_, i) => {
      const type = btf.word(id, 4 + 2 * i);
      return type === 0 && i === count - 1 ? '...' : this.#declaration(type, btf.string(btf.word(id, 3 + 2 * i)), level);
    }).join(', ');
  }

  /** A name, numbered from its second occurrence on. */
  #name(id: number, names: Map<string, number>): string {
    const known = this.#resolved.get(id);
    if (known !== undefined) return known;
    const original = this.#btf.name(id);
    const kind = this.#btf.kind(id);
    const isOnlyNamed = kind === U.BTF_KIND_FWD || (kind === U.BTF_KIND_ENUM && this.#btf.vlen(id) === 0);
    const count = isOnlyNamed ? 1 : occurrences(names, original);
    const name = count > 1 ? `${original}___${count}`.slice(0, 255) : original;
    this.#resolved.set(id, name);
    return name;
  }

  #structText(id: number, level: number): string {
    const btf = this.#btf;
    const isStruct = btf.kind(id) === U.BTF_KIND_STRUCT;
    const align = btf.alignOf(id);
    const packed = isStruct && this.#isPacked(id);
    let text = `${isStruct ? 'struct' : 'union'} {`;
    let at = 0;
    let afterBitField = false;
    for (let i = 0; i < btf.vlen(id); i++) {
      const type = btf.memberType(id, i);
      const bits = btf.memberBitfieldSize(id, i);
      const offset = btf.memberBitOffset(id, i);
      text += this.#padding(at, offset, packed ? 1 : btf.alignOf(type), afterBitField && bits !== 0, level + 1);
      text += `\n${tabs(level + 1)}${this.#declaration(type, btf.memberName(id, i), level + 1)}${bits !== 0 ? `: ${bits}` : ''};`;
      at = offset + (bits !== 0 ? bits : 8 * Math.max(0, btf.resolveSize(type)));
      afterBitField = bits !== 0;
    }
    if (isStruct) text += this.#padding(at, 8 * btf.target(id), align, false, level + 1);
    text += btf.vlen(id) > 0 || btf.target(id) > 0 ? `\n${tabs(level)}}` : '}';
    return packed ? `${text} __attribute__((packed))` : text;
  }

  #isPacked(id: number): boolean {
    const btf = this.#btf;
    let largest = 1;
    for (let i = 0; i < btf.vlen(id); i++) {
      const align = btf.alignOf(btf.memberType(id, i));
      if (align !== 0 && btf.memberBitfieldSize(id, i) === 0 && btf.word(id, 5 + 3 * i) % (8 * align) !== 0) return true;
      largest = Math.max(largest, align);
    }
    return btf.target(id) % largest !== 0;
  }

  /** Nameless bit-fields that take the place of a gap which the compiler would not leave by itself. Offsets in bits. */
  #padding(from: number, to: number, align: number, inBitField: boolean, level: number): string {
    if (from >= to) return '';
    let text = '';
    let at = from;
    // The largest filler whose natural boundary is not behind the gap.
    const [type, bits] = FILLERS.find(([, width]) => roundUp(at, width) <= to) ?? FILLERS[3];
    const boundary = roundUp(at, bits);
    if (boundary > at && boundary <= to) {
      const isNeeded = inBitField || (boundary === to ? roundUp(at, align * 8) !== boundary : to - boundary <= boundary - at);
      if (isNeeded) text += `\n${tabs(level)}${type}: ${inBitField ? boundary - at : 0};`;
      at = boundary;
    }
    let unit = bits;
    let unitName: string = type;
    while (at !== to) {
      const rest = Math.min(to - at, unit);
      if (rest !== unit) {
        const smallest = FILLERS.findLast(([, width]) => width >= rest) ?? FILLERS[0];
        [unitName, unit] = smallest;
      }
      text += `\n${tabs(level)}${unitName}: ${rest};`;
      at += rest;
    }
    return text;
  }

  #enumText(id: number, level: number): string {
    const btf = this.#btf;
    const isWide = btf.kind(id) === U.BTF_KIND_ENUM64;
    const count = btf.vlen(id);
    if (count === 0) return 'enum';
    let text = 'enum {';
    let hasHighBits = false;
    for (let i = 0; i < count; i++) {
      const at = 3 + i * (isWide ? 3 : 2);
      const name = btf.string(btf.word(id, at));
      const occurrence = occurrences(this.#identNames, name);
      const high = isWide ? btf.word(id, at + 2) : 0;
      hasHighBits ||= high !== 0;
      text += `\n${tabs(level + 1)}${occurrence > 1 ? `${name}___${occurrence}` : name} = ${enumValue(btf.word(id, at + 1), high, isWide, btf.kflag(id))},`;
    }
    text += `\n${tabs(level)}}`;
    if (btf.target(id) === 1) return `${text} __attribute__((mode(byte)))`;
    return btf.target(id) === 8 && !(isWide && hasHighBits) ? `${text} __attribute__((mode(word)))` : text;
  }
}

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
