/**
 * @module loader/live/layout
 * Values of C as JavaScript's: how a number, a bit field, an array or a struct lies in memory, and views that read and write it in place.
 * What generated TypeScript skeletons are made of. Owns the conversion; whose memory it is, is the {@link Memory}'s business.
 * Integers up to 32 bits are numbers, larger ones and pointers bigints, so that no value loses a bit; what does not fit is refused.
 */
import { InputError } from '../../isa/errors.ts';

/** Bytes that values lie in. Offsets are the owner's own. */
export interface Memory {
  /** A copy. */
  read(offset: number, length: number): Uint8Array;
  /** @throws InputError where the memory cannot be written */
  write(offset: number, bytes: Uint8Array): void;
}

/** Memory of one's own. */
export class LocalMemory implements Memory {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  read(offset: number, length: number): Uint8Array {
    return Uint8Array.prototype.slice.call(this.bytes, offset, offset + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, offset);
  }
}

/** A type of C with `size` bytes, whose values are `T` here. */
export interface Layout<T> {
  readonly size: number;
  get(memory: Memory, offset: number): T;
  /** @throws InputError where the value does not fit the type */
  set(memory: Memory, offset: number, value: T): void;
}

/** An array in memory. */
export interface ArrayView<T> extends Iterable<T> {
  readonly length: number;
  /** @throws RangeError for an index that is not in it */
  get(index: number): T;
  set(index: number, value: T): void;
  /** The elements as they are now; views of structs stay views. */
  toArray(): T[];
}

/** An array of characters or bytes. */
export interface TextView extends ArrayView<number> {
  /** UTF-8 up to the first NUL; writing fills the rest with zeros. */
  text: string;
  /** A copy. */
  bytes: Uint8Array;
}

/** Where a view lies, to copy it as bytes. */
interface Place {
  readonly memory: Memory;
  readonly offset: number;
  readonly layout: Layout<unknown>;
}

const PLACES: WeakMap<object, Place> = new WeakMap();

function refuse(what: string): never {
  throw new InputError('value', '', what);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** True where a value is a view of the very same type: its bytes can be copied. */
function copyView(memory: Memory, offset: number, value: unknown, layout: Layout<unknown>): boolean {
  const place = typeof value === 'object' && value !== null ? PLACES.get(value) : undefined;
  if (place === undefined || place.layout !== layout) return false;
  memory.write(offset, place.memory.read(place.offset, layout.size));
  return true;
}

/** A member of a struct or union: name, bytes from its start, type. */
export type MemberLayout = readonly [name: string, offset: number, layout: Layout<unknown>];

/** Types in one byte order. */
export interface Layouts {
  readonly u8: Layout<number>;
  readonly s8: Layout<number>;
  readonly u16: Layout<number>;
  readonly s16: Layout<number>;
  readonly u32: Layout<number>;
  readonly s32: Layout<number>;
  readonly u64: Layout<bigint>;
  readonly s64: Layout<bigint>;
  readonly u128: Layout<bigint>;
  readonly s128: Layout<bigint>;
  readonly bool: Layout<boolean>;
  readonly f32: Layout<number>;
  readonly f64: Layout<number>;
  /** An address: what it points to is not read. */
  readonly pointer: Layout<bigint>;
  /** Bytes without a type. */
  bytes(size: number): Layout<Uint8Array>;
  array<T>(element: Layout<T>, length: number): Layout<ArrayView<T>>;
  /** Characters: 8-bit integers, signed or not. */
  text(length: number, signed: boolean): Layout<TextView>;
  struct<T extends object>(size: number, members: readonly MemberLayout[]): Layout<T>;
  /** `bits` bits from bit `first` of the struct on; at most 32. */
  bits(first: number, bits: number, signed: boolean): Layout<number>;
  /** At most 64 bits. */
  wideBits(first: number, bits: number, signed: boolean): Layout<bigint>;
}

/** The types for objects of that byte order. */
export function layouts(littleEndian: boolean): Layouts {
  return littleEndian ? LITTLE : BIG;
}

function createLayouts(little: boolean): Layouts {
  const number = (size: 1 | 2 | 4, signed: boolean): Layout<number> => new IntegerLayout(size, signed, little);
  const wide = (size: 8 | 16, signed: boolean): Layout<bigint> => new WideLayout(size, signed, little);
  return {
    u8: number(1, false), s8: number(1, true), u16: number(2, false), s16: number(2, true), u32: number(4, false), s32: number(4, true),
    u64: wide(8, false), s64: wide(8, true), u128: wide(16, false), s128: wide(16, true), pointer: wide(8, false),
    bool: BOOL, f32: new FloatLayout(4, little), f64: new FloatLayout(8, little),
    bytes: (size) => new BytesLayout(size),
    array: (element, length) => new ArrayLayout(element, length),
    text: (length, signed) => new TextLayout(number(1, signed), length),
    struct: (size, members) => new StructLayout(size, members),
    bits: (first, bits, signed) => new BitsLayout(first, bits, signed, little),
    wideBits: (first, bits, signed) => new WideBitsLayout(first, bits, signed, little),
  };
}

class IntegerLayout implements Layout<number> {
  readonly size: 1 | 2 | 4;
  readonly #signed: boolean;
  readonly #little: boolean;

  constructor(size: 1 | 2 | 4, signed: boolean, little: boolean) {
    this.size = size;
    this.#signed = signed;
    this.#little = little;
  }

  get(memory: Memory, offset: number): number {
    const view = viewOf(memory.read(offset, this.size));
    switch (this.size) {
      case 1: return this.#signed ? view.getInt8(0) : view.getUint8(0);
      case 2: return this.#signed ? view.getInt16(0, this.#little) : view.getUint16(0, this.#little);
      default: return this.#signed ? view.getInt32(0, this.#little) : view.getUint32(0, this.#little);
    }
  }

  set(memory: Memory, offset: number, value: number): void {
    checkNumber(value, 8 * this.size, this.#signed);
    const bytes = new Uint8Array(this.size);
    const view = viewOf(bytes);
    if (this.size === 1) view.setUint8(0, value);
    else if (this.size === 2) view.setUint16(0, value, this.#little);
    else view.setUint32(0, value, this.#little);
    memory.write(offset, bytes);
  }
}

function checkNumber(value: number, bits: number, signed: boolean): void {
  const [least, most] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  if (!Number.isInteger(value) || value < least || value > most) refuse(`${String(value)} is no ${signed ? 'signed' : 'unsigned'} integer of ${bits} bits`);
}

function checkBigInt(value: bigint, bits: number, signed: boolean): bigint {
  const stored = BigInt.asUintN(bits, value);
  if (typeof value !== 'bigint' || (signed ? BigInt.asIntN(bits, value) : stored) !== value) refuse(`${String(value)} is no ${signed ? 'signed' : 'unsigned'} integer of ${bits} bits`);
  return stored;
}

/** Integers of whole bytes that a number could not hold. */
class WideLayout implements Layout<bigint> {
  readonly size: 8 | 16;
  readonly #signed: boolean;
  readonly #little: boolean;

  constructor(size: 8 | 16, signed: boolean, little: boolean) {
    this.size = size;
    this.#signed = signed;
    this.#little = little;
  }

  get(memory: Memory, offset: number): bigint {
    const value = readBytes(memory.read(offset, this.size), this.#little);
    return this.#signed ? BigInt.asIntN(8 * this.size, value) : value;
  }

  set(memory: Memory, offset: number, value: bigint): void {
    memory.write(offset, writeBytes(checkBigInt(value, 8 * this.size, this.#signed), this.size, this.#little));
  }
}

function readBytes(bytes: Uint8Array, little: boolean): bigint {
  let value = 0n;
  for (const byte of little ? bytes.toReversed() : bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

function writeBytes(value: bigint, size: number, little: boolean): Uint8Array {
  const bytes = Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
  return little ? bytes : bytes.reverse();
}

const BOOL: Layout<boolean> = {
  size: 1,
  get: (memory, offset) => memory.read(offset, 1)[0] !== 0,
  set: (memory, offset, value) => memory.write(offset, Uint8Array.of(value ? 1 : 0)),
};

class FloatLayout implements Layout<number> {
  readonly size: 4 | 8;
  readonly #little: boolean;

  constructor(size: 4 | 8, little: boolean) {
    this.size = size;
    this.#little = little;
  }

  get(memory: Memory, offset: number): number {
    const view = viewOf(memory.read(offset, this.size));
    return this.size === 4 ? view.getFloat32(0, this.#little) : view.getFloat64(0, this.#little);
  }

  set(memory: Memory, offset: number, value: number): void {
    const bytes = new Uint8Array(this.size);
    if (this.size === 4) viewOf(bytes).setFloat32(0, value, this.#little);
    else viewOf(bytes).setFloat64(0, value, this.#little);
    memory.write(offset, bytes);
  }
}

class BytesLayout implements Layout<Uint8Array> {
  readonly size: number;

  constructor(size: number) {
    this.size = size;
  }

  get(memory: Memory, offset: number): Uint8Array {
    return memory.read(offset, this.size);
  }

  set(memory: Memory, offset: number, value: Uint8Array): void {
    if (value.length !== this.size) refuse(`${value.length} bytes where there are ${this.size}`);
    memory.write(offset, value);
  }
}

/** Bits of a struct's memory: the offset that is handed in is the struct's, the bits are counted from its start. */
class WideBitsLayout implements Layout<bigint> {
  readonly size = 0;
  readonly #start: number;
  readonly #length: number;
  readonly #shift: bigint;
  readonly #bits: number;
  readonly #signed: boolean;
  readonly #little: boolean;

  constructor(first: number, bits: number, signed: boolean, little: boolean) {
    this.#start = first >>> 3;
    this.#length = ((first + bits + 7) >>> 3) - this.#start;
    // Big-endian machines count bits from the top.
    this.#shift = BigInt(little ? first & 7 : 8 * this.#length - (first & 7) - bits);
    this.#bits = bits;
    this.#signed = signed;
    this.#little = little;
  }

  get(memory: Memory, offset: number): bigint {
    const value = BigInt.asUintN(this.#bits, readBytes(memory.read(offset + this.#start, this.#length), this.#little) >> this.#shift);
    return this.#signed ? BigInt.asIntN(this.#bits, value) : value;
  }

  set(memory: Memory, offset: number, value: bigint): void {
    const stored = checkBigInt(value, this.#bits, this.#signed);
    const mask = ((1n << BigInt(this.#bits)) - 1n) << this.#shift;
    const before = readBytes(memory.read(offset + this.#start, this.#length), this.#little);
    memory.write(offset + this.#start, writeBytes((before & ~mask) | (stored << this.#shift), this.#length, this.#little));
  }
}

class BitsLayout implements Layout<number> {
  readonly size = 0;
  readonly #wide: WideBitsLayout;
  readonly #bits: number;
  readonly #signed: boolean;

  constructor(first: number, bits: number, signed: boolean, little: boolean) {
    this.#wide = new WideBitsLayout(first, bits, signed, little);
    this.#bits = bits;
    this.#signed = signed;
  }

  get(memory: Memory, offset: number): number {
    return Number(this.#wide.get(memory, offset));
  }

  set(memory: Memory, offset: number, value: number): void {
    checkNumber(value, this.#bits, this.#signed);
    this.#wide.set(memory, offset, BigInt(value));
  }
}

class ArrayLayout<T> implements Layout<ArrayView<T>> {
  readonly size: number;
  readonly #element: Layout<T>;
  readonly #length: number;

  constructor(element: Layout<T>, length: number) {
    this.size = element.size * length;
    this.#element = element;
    this.#length = length;
  }

  get(memory: Memory, offset: number): ArrayView<T> {
    const view = new ArrayInMemory(memory, offset, this.#element, this.#length);
    PLACES.set(view, { memory, offset, layout: this });
    return view;
  }

  set(memory: Memory, offset: number, value: Iterable<T>): void {
    if (copyView(memory, offset, value, this)) return;
    setElements(this.get(memory, offset), value);
  }
}

function setElements<T>(target: ArrayView<T>, value: Iterable<T>): void {
  const elements = [...value];
  if (elements.length !== target.length) refuse(`${elements.length} elements where there are ${target.length}`);
  for (const [i, element] of elements.entries()) target.set(i, element);
}

class ArrayInMemory<T> implements ArrayView<T> {
  readonly length: number;
  readonly #memory: Memory;
  readonly #offset: number;
  readonly #element: Layout<T>;

  constructor(memory: Memory, offset: number, element: Layout<T>, length: number) {
    this.length = length;
    this.#memory = memory;
    this.#offset = offset;
    this.#element = element;
  }

  #place(index: number): number {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) throw new RangeError(`index ${index} of an array of ${this.length}`);
    return this.#offset + index * this.#element.size;
  }

  get(index: number): T {
    return this.#element.get(this.#memory, this.#place(index));
  }

  set(index: number, value: T): void {
    this.#element.set(this.#memory, this.#place(index), value);
  }

  toArray(): T[] {
    return [...this];
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.length; i++) yield this.get(i);
  }
}

class TextLayout implements Layout<TextView> {
  readonly size: number;
  readonly #element: Layout<number>;

  constructor(element: Layout<number>, length: number) {
    this.size = length;
    this.#element = element;
  }

  get(memory: Memory, offset: number): TextView {
    const view = new TextInMemory(memory, offset, this.#element, this.size);
    PLACES.set(view, { memory, offset, layout: this });
    return view;
  }

  set(memory: Memory, offset: number, value: Iterable<number>): void {
    if (copyView(memory, offset, value, this)) return;
    setElements(this.get(memory, offset), value);
  }
}

class TextInMemory extends ArrayInMemory<number> implements TextView {
  readonly #memory: Memory;
  readonly #offset: number;

  constructor(memory: Memory, offset: number, element: Layout<number>, length: number) {
    super(memory, offset, element, length);
    this.#memory = memory;
    this.#offset = offset;
  }

  get bytes(): Uint8Array {
    return this.#memory.read(this.#offset, this.length);
  }

  set bytes(value: Uint8Array) {
    if (value.length !== this.length) refuse(`${value.length} bytes where there are ${this.length}`);
    this.#memory.write(this.#offset, value);
  }

  get text(): string {
    const { bytes } = this;
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  set text(value: string) {
    const encoded = new TextEncoder().encode(value);
    if (encoded.length > this.length) refuse(`a text of ${encoded.length} bytes where there are ${this.length}`);
    const bytes = new Uint8Array(this.length);
    bytes.set(encoded);
    this.bytes = bytes;
  }
}

class StructLayout<T extends object> implements Layout<T> {
  readonly size: number;
  readonly #members: readonly MemberLayout[];

  constructor(size: number, members: readonly MemberLayout[]) {
    this.size = size;
    this.#members = members;
  }

  /** An object with a property for every member; it has no prototype, whose names members could have. */
  get(memory: Memory, offset: number): T {
    const view = Object.create(null) as T;
    for (const [name, at, layout] of this.#members) {
      Object.defineProperty(view, name, {
        enumerable: true,
        get: () => layout.get(memory, offset + at),
        set: (value: unknown) => {
          layout.set(memory, offset + at, value);
        },
      });
    }
    PLACES.set(view, { memory, offset, layout: this });
    return Object.freeze(view);
  }

  /** Copies a view, or sets the members that are given. */
  set(memory: Memory, offset: number, value: T): void {
    if (copyView(memory, offset, value, this)) return;
    if (typeof value !== 'object' || value === null) refuse(`${String(value)} where a struct is wanted`);
    const known = new Map(this.#members.map((member) => [member[0], member]));
    for (const [name, member] of Object.entries(value)) {
      const [, at, layout] = known.get(name) ?? refuse(`the struct has no member '${name}'`);
      layout.set(memory, offset + at, member);
    }
  }
}

const LITTLE: Layouts = createLayouts(true);
const BIG: Layouts = createLayouts(false);
