/** Builds BTF by hand: types as words, names interned. */

/** A small assembler of raw BTF. */
export class BTFBuilder {
  readonly #words: number[] = [];
  readonly #names = new Map<string, number>([['', 0]]);
  #text = '\0';
  #count: number;
  readonly #stringBase: number;

  constructor(firstID: number = 1, stringBase: number = 0) {
    this.#count = firstID;
    this.#stringBase = stringBase;
    if (stringBase > 0) this.#text = '';
  }

  string(text: string): number {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    const at = this.#stringBase + this.#text.length;
    this.#text += `${text}\0`;
    this.#names.set(text, at);
    return at;
  }

  raw(name: string, info: number, sizeOrType: number, ...rest: number[]): number {
    this.#words.push(this.string(name), info >>> 0, sizeOrType, ...rest);
    return this.#count++;
  }

  type(kind: number, name: string, vlen: number, sizeOrType: number, rest: readonly number[] = [], kflag = false): number {
    return this.raw(name, ((kflag ? 0x80000000 : 0) | (kind << 24) | vlen) >>> 0, sizeOrType, ...rest);
  }

  int(name: string, size: number, encoding = 0, bits: number = size * 8): number {
    return this.type(1, name, 0, size, [(encoding << 24) | bits]);
  }

  pointer(type: number): number {
    return this.type(2, '', 0, type);
  }

  array(type: number, index: number, length: number): number {
    return this.type(3, '', 0, 0, [type, index, length]);
  }

  struct(name: string, size: number, members: readonly (readonly [name: string, type: number, bits: number])[], kind = 4): number {
    return this.type(kind, name, members.length, size, members.flatMap(([member, type, bits]) => [this.string(member), type, bits]));
  }

  enumeration(name: string, values: readonly (readonly [string, number])[], isSigned = false): number {
    return this.type(6, name, values.length, 4, values.flatMap(([value, number]) => [this.string(value), number >>> 0]), isSigned);
  }

  modifier(kind: number, type: number, name = ''): number {
    return this.type(kind, name, 0, type);
  }

  proto(result: number, params: readonly (readonly [name: string, type: number])[]): number {
    return this.type(13, '', params.length, result, params.flatMap(([name, type]) => [this.string(name), type]));
  }

  func(name: string, proto: number, linkage = 1): number {
    return this.type(12, name, linkage, proto);
  }

  declTag(value: string, type: number, component: number): number {
    return this.type(17, value, 0, type, [component >>> 0]);
  }

  build(): Uint8Array {
    const types = this.#words.length * 4;
    const bytes = new Uint8Array(24 + types + this.#text.length);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, 0xeb9f, true);
    view.setUint8(2, 1);
    view.setUint32(4, 24, true);
    view.setUint32(12, types, true);
    view.setUint32(16, types, true);
    view.setUint32(20, this.#text.length, true);
    this.#words.forEach((word, i) => view.setUint32(24 + i * 4, word >>> 0, true));
    for (let i = 0; i < this.#text.length; i++) bytes[24 + types + i] = this.#text.charCodeAt(i);
    return bytes;
  }
}
