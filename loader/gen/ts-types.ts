/**
 * @module loader/gen/ts-types
 * Types of an object as TypeScript: an interface for every struct and union, constants for enumerations, and beside each the layout that
 * reads and writes it (`loader/live/layout.ts`). Owns names and shapes; the module around them is `ts-skeleton.ts`.
 */
import { isQualifier, memberOf, resolveSize, type TypeSource } from '../../btf/type-source.ts';
import { readable } from '../../isa/latin1.ts';
import * as U from '../../isa/uapi.ts';

const BTF_INT_SIGNED = 1;
const BTF_INT_BOOL = 4;
const MAX_DEPTH = 64;
/** Members after anonymous ones were taken apart. */
const MAX_MEMBERS = 65_536;
const MAX_CHAIN = 4096;

/** A type in both languages of the generated module. */
export interface TypeText {
  /** As a type: `number`. */
  readonly type: string;
  /** As a value: `l.u32`. */
  readonly layout: string;
  /** True for views, which show memory and are not assigned as a whole. */
  readonly isView: boolean;
}

/** `some_name` as `SomeName`. */
export function pascal(name: string): string {
  const text = name.split(/[^A-Za-z0-9]+/).map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join('');
  return /^[A-Za-z]/.test(text) ? text : `Type${text}`;
}

/** A name as a property: quoted where it is none. */
export function property(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : quote(name);
}

/** A string literal in single quotes; anything that is not plain is escaped. */
export function quote(text: string): string {
  return `'${text.replace(/[^\x20-\x7e]|['\\]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)}'`;
}

interface FlatMember {
  readonly name: string;
  readonly type: number;
  /** Bits from the start of the outermost struct. */
  readonly offset: number;
  readonly bits: number;
}

/** Gives types names and collects their declarations. */
export class TypeWriter {
  readonly #types: TypeSource;
  readonly #taken: Set<string>;
  readonly #known = new Map<number, TypeText>();
  readonly #active = new Set<number>();
  readonly #declarations: string[] = [];

  /** @param taken names that the module uses itself */
  constructor(types: TypeSource, taken: Iterable<string>) {
    this.#types = types;
    this.#taken = new Set(taken);
  }

  /** Everything that `describe` needed, in an order in which it can be written down. */
  declarations(): string {
    return this.#declarations.join('\n');
  }

  /** A name that nothing has yet. */
  unique(wanted: string): string {
    let name = wanted;
    for (let i = 2; this.#taken.has(name); i++) name = `${wanted}${i}`;
    this.#taken.add(name);
    return name;
  }

  /** Adds a declaration. */
  declare(text: string): void {
    this.#declarations.push(text);
  }

  /**
   * A type; `undefined` for what has no size.
   * @param hint name for a struct without one
   */
  describe(id: number, hint: string): TypeText | undefined {
    const types = this.#types;
    let at = id;
    let typedef = '';
    for (let steps = 0; at !== 0 && (isQualifier(types.kind(at)) || types.kind(at) === U.BTF_KIND_TYPEDEF); steps++) {
      if (steps > MAX_CHAIN) types.fail(`type ${id}`, 'a cycle of types');
      if (typedef === '' && types.kind(at) === U.BTF_KIND_TYPEDEF) typedef = types.string(types.word(at, 0));
      at = types.word(at, 2);
    }
    if (at === 0) return undefined;
    const known = this.#known.get(at);
    if (known !== undefined) return known;
    const text = this.#describeKind(at, typedef === '' ? hint : typedef);
    // Arrays and scalars have no name that could be given twice.
    if (text !== undefined && isNamedKind(types.kind(at))) this.#known.set(at, text);
    return text;
  }

  #describeKind(id: number, hint: string): TypeText | undefined {
    const types = this.#types;
    const size = types.word(id, 2);
    switch (types.kind(id)) {
      case U.BTF_KIND_INT: return this.#int(id, size);
      case U.BTF_KIND_FLOAT: return size === 4 || size === 8 ? scalar('number', `l.f${8 * size}`) : bytesOf(size);
      case U.BTF_KIND_ENUM: case U.BTF_KIND_ENUM64: return this.#enumeration(id, size);
      case U.BTF_KIND_PTR: return scalar('bigint', 'l.pointer');
      case U.BTF_KIND_ARRAY: return this.#array(id, hint);
      case U.BTF_KIND_STRUCT: case U.BTF_KIND_UNION: return this.#struct(id, size, hint);
      default: return undefined;
    }
  }

  #int(id: number, size: number): TypeText {
    const encoding = (this.#types.word(id, 3) >>> 24) & 15;
    if ((encoding & BTF_INT_BOOL) !== 0 && size === 1) return scalar('boolean', 'l.bool');
    return integer(size, (encoding & BTF_INT_SIGNED) !== 0);
  }

  /** Named enumerations also become constants. */
  #enumeration(id: number, size: number): TypeText {
    const types = this.#types;
    const text = integer(size, types.kflag(id));
    const tag = readable(types.string(types.word(id, 0)));
    if (tag !== '' && types.vlen(id) > 0 && (text.type === 'number' || text.type === 'bigint')) {
      const name = this.unique(pascal(tag));
      this.#declarations.push(`/** \`enum ${comment(tag)}\` */\nexport const ${name} = {\n${this.#enumerators(id, text.type === 'bigint')}} as const;\n`);
    }
    return text;
  }

  #enumerators(id: number, isBig: boolean): string {
    const types = this.#types;
    const isWide = types.kind(id) === U.BTF_KIND_ENUM64;
    const lines: string[] = [];
    const names = new Set<string>();
    for (let i = 0, n = types.vlen(id), step = isWide ? 3 : 2; i < n; i++) {
      const name = readable(types.string(types.word(id, 3 + step * i)));
      if (names.has(name)) continue;
      names.add(name);
      const low = types.word(id, 4 + step * i);
      const value = isWide ? (BigInt(types.word(id, 5 + step * i)) << 32n) | BigInt(low) : BigInt(low);
      const signed = types.kflag(id) ? BigInt.asIntN(isWide ? 64 : 32, value) : value;
      // A literal `__proto__: 1` would set the prototype.
      lines.push(`  ${name === '__proto__' ? "['__proto__']" : property(name)}: ${signed}${isBig ? 'n' : ''},\n`);
    }
    return lines.join('');
  }

  #array(id: number, hint: string): TypeText | undefined {
    const types = this.#types;
    const length = types.word(id, 5);
    const element = this.#deeper(id, () => this.describe(types.word(id, 3), hint));
    if (element === undefined) return undefined;
    if (element.layout === 'l.u8' || element.layout === 'l.s8') return { type: 'TextView', layout: `l.text(${length}, ${element.layout === 'l.s8'})`, isView: true };
    return { type: `ArrayView<${element.type}>`, layout: `l.array(${element.layout}, ${length})`, isView: true };
  }

  #deeper<T>(id: number, work: () => T): T {
    if (this.#active.size >= MAX_DEPTH || this.#active.has(id)) this.#types.fail(`type ${id}`, 'the type contains itself, or too many others');
    this.#active.add(id);
    try {
      return work();
    } finally {
      this.#active.delete(id);
    }
  }

  #struct(id: number, size: number, hint: string): TypeText {
    return this.#deeper(id, () => {
      const types = this.#types;
      const tag = readable(types.string(types.word(id, 0)));
      const name = this.unique(pascal(tag === '' ? hint : tag));
      const properties: string[] = [];
      const layouts: string[] = [];
      const names = new Set<string>();
      for (const { name: member, type, offset, bits } of this.#flatMembers(id, 0, 0)) {
        if (names.has(member)) continue;
        const text = bits > 0 ? this.#bitField(type, offset, bits) : offset % 8 === 0 ? this.describe(type, `${hint}_${member}`) : undefined;
        if (text === undefined) continue;
        names.add(member);
        properties.push(`  ${text.isView ? 'readonly ' : ''}${property(member)}: ${text.type};\n`);
        layouts.push(`  [${quote(member)}, ${bits > 0 ? 0 : offset / 8}, ${text.layout}],\n`);
      }
      const keyword = types.kind(id) === U.BTF_KIND_UNION ? 'union' : 'struct';
      const layout = this.unique(`layoutOf${name}`);
      this.#declarations.push(`/** ${tag === '' ? `A ${keyword} without a name` : `\`${keyword} ${comment(tag)}\``}, ${size} bytes. */\nexport interface ${name} {\n${properties.join('')}}\n\n`
        + `const ${layout}: Layout<${name}> = l.struct<${name}>(${size}, [\n${layouts.join('')}]);\n`);
      return { type: name, layout, isView: false };
    });
  }

  /** Members, those of anonymous structs and unions among them, as C names them. */
  #flatMembers(id: number, base: number, depth: number): FlatMember[] {
    const types = this.#types;
    if (depth > MAX_DEPTH) types.fail(`type ${id}`, 'too many anonymous types inside one another');
    const members: FlatMember[] = [];
    for (let i = 0, n = types.vlen(id); i < n; i++) {
      const { type, nameOffset, offset, bits } = memberOf(types, id, i);
      const name = readable(types.string(nameOffset));
      const at = this.#behindQualifiers(type);
      const kind = at === 0 ? 0 : types.kind(at);
      if (name !== '') members.push({ name, type, offset: base + offset, bits });
      else if (kind === U.BTF_KIND_STRUCT || kind === U.BTF_KIND_UNION) members.push(...this.#flatMembers(at, base + offset, depth + 1));
      if (members.length > MAX_MEMBERS) types.fail(`type ${id}`, `more than ${MAX_MEMBERS} members`);
    }
    return members;
  }

  #behindQualifiers(id: number): number {
    let at = id;
    for (let steps = 0; at !== 0 && isQualifier(this.#types.kind(at)); steps++) {
      if (steps > MAX_CHAIN) this.#types.fail(`type ${id}`, 'a cycle of types');
      at = this.#types.word(at, 2);
    }
    return at;
  }

  #bitField(type: number, offset: number, bits: number): TypeText | undefined {
    const types = this.#types;
    let at = this.#behindQualifiers(type);
    for (let steps = 0; at !== 0 && types.kind(at) === U.BTF_KIND_TYPEDEF; steps++) {
      if (steps > MAX_CHAIN) types.fail(`type ${type}`, 'a cycle of types');
      at = this.#behindQualifiers(types.word(at, 2));
    }
    const kind = at === 0 ? 0 : types.kind(at);
    const isSigned = kind === U.BTF_KIND_INT ? ((types.word(at, 3) >>> 24) & BTF_INT_SIGNED) !== 0 : types.kflag(at);
    if (kind !== U.BTF_KIND_INT && kind !== U.BTF_KIND_ENUM && kind !== U.BTF_KIND_ENUM64) return undefined;
    if (bits > 64) return undefined;
    return bits <= 32 ? scalar('number', `l.bits(${offset}, ${bits}, ${isSigned})`) : scalar('bigint', `l.wideBits(${offset}, ${bits}, ${isSigned})`);
  }

  /** Bytes of a value; -1 where it has none. */
  sizeOf(id: number): number {
    return resolveSize(this.#types, id);
  }
}

/** Text inside a comment must not end it. */
export function comment(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').replaceAll('*/', '* /');
}

function isNamedKind(kind: number): boolean {
  return kind === U.BTF_KIND_STRUCT || kind === U.BTF_KIND_UNION || kind === U.BTF_KIND_ENUM || kind === U.BTF_KIND_ENUM64;
}

function scalar(type: string, layout: string): TypeText {
  return { type, layout, isView: false };
}

/** Bytes that have no better type. */
export function bytesOf(size: number): TypeText {
  return scalar('Uint8Array', `l.bytes(${size})`);
}

function integer(size: number, signed: boolean): TypeText {
  const layout = `l.${signed ? 's' : 'u'}${8 * size}`;
  if (size === 1 || size === 2 || size === 4) return scalar('number', layout);
  return size === 8 || size === 16 ? scalar('bigint', layout) : bytesOf(size);
}
