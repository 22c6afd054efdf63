/**
 * @module btf/encoding
 * How BTF is encoded: the header, the size of every kind's record, where each type begins, and the shapes in which its parts are handed
 * out. Owns bytes and bounds (include/uapi/linux/btf.h); the graph is `btf.ts`.
 */
import { InputError } from '../isa/errors.ts';
import {
  BTF_KIND_ARRAY, BTF_KIND_CONST, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT,
  BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_RESTRICT, BTF_KIND_STRUCT,
  BTF_KIND_TYPEDEF, BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_VAR, BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';

/** Encodings of an integer: bits of {@link IntType.encoding}. */
export const BTF_INT_SIGNED = 1;
export const BTF_INT_CHAR = 2;
export const BTF_INT_BOOL = 4;

/** Names of the kinds as logs and dumps print them, by kind. */
export const BTF_KIND_NAMES: readonly string[] = [
  'UNKNOWN', 'INT', 'PTR', 'ARRAY', 'STRUCT', 'UNION', 'ENUM', 'FWD', 'TYPEDEF', 'VOLATILE', 'CONST', 'RESTRICT', 'FUNC',
  'FUNC_PROTO', 'VAR', 'DATASEC', 'FLOAT', 'DECL_TAG', 'TYPE_TAG', 'ENUM64',
];

/** 32-bit words of `struct btf_type`. */
export const TYPE_WORDS = 3;
/** Bytes of `struct btf_header` without and with the layout section's fields. */
export const BTF_HEADER_SIZE_V0 = 24;
export const BTF_HEADER_SIZE = 32;

/** The header's fields; offsets are relative to the end of the header, as in the bytes. */
export interface BTFHeader {
  readonly magic: number;
  readonly version: number;
  readonly flags: number;
  readonly headerLength: number;
  readonly typeOffset: number;
  readonly typeLength: number;
  readonly stringOffset: number;
  readonly stringLength: number;
  readonly layoutOffset: number;
  readonly layoutLength: number;
}

/** An integer's description. */
export interface IntType {
  /** Bytes. */
  readonly size: number;
  readonly bits: number;
  readonly offset: number;
  /** `BTF_INT_SIGNED`, `BTF_INT_CHAR`, `BTF_INT_BOOL`, or 0. */
  readonly encoding: number;
}

/** A member of a struct or union. */
export interface Member {
  readonly name: string;
  readonly type: number;
  /** Bits from the start of the struct. */
  readonly bitOffset: number;
  /** Bits of a bit field, 0 for others. */
  readonly bitfieldSize: number;
}

/** A parameter of a function prototype. The last one with name `""` and type 0 stands for `...`. */
export interface Param {
  readonly name: string;
  readonly type: number;
}

/** A value of an enumeration: `lo` and `hi` are its 32-bit halves (sign-extended for `ENUM`), unsigned. */
export interface EnumValue {
  readonly name: string;
  readonly lo: number;
  readonly hi: number;
  /** Signed or unsigned as the enumeration says. */
  readonly value: bigint;
}

/** One variable of a data section. */
export interface SectionVariable {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

const isLittleEndianHost = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Copies `length` bytes at `offset` into words, whatever the alignment and the host's byte order. */
export function wordsOf(bytes: Uint8Array, offset: number, length: number): Uint32Array {
  const count = length >>> 2;
  const words = new Uint32Array(count);
  if (isLittleEndianHost) {
    new Uint8Array(words.buffer).set(bytes.subarray(offset, offset + count * 4));
    return words;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) words[i] = view.getUint32(offset + i * 4, true);
  return words;
}

/** True for typedef, volatile, const, restrict and type tag: their size is that of the type they refer to. */
export function isModifierKind(kind: number): boolean {
  return kind === BTF_KIND_TYPEDEF || kind === BTF_KIND_VOLATILE || kind === BTF_KIND_CONST || kind === BTF_KIND_RESTRICT
    || kind === BTF_KIND_TYPE_TAG;
}

/** Words that follow `struct btf_type` for a known kind, `-1` for an unknown one. */
export function trailingWords(kind: number, vlen: number): number {
  switch (kind) {
    case BTF_KIND_PTR: case BTF_KIND_FWD: case BTF_KIND_TYPEDEF: case BTF_KIND_VOLATILE: case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT: case BTF_KIND_FUNC: case BTF_KIND_FLOAT: case BTF_KIND_TYPE_TAG:
      return 0;
    case BTF_KIND_INT: case BTF_KIND_VAR: case BTF_KIND_DECL_TAG:
      return 1;
    case BTF_KIND_ARRAY:
      return 3;
    case BTF_KIND_STRUCT: case BTF_KIND_UNION: case BTF_KIND_DATASEC: case BTF_KIND_ENUM64:
      return vlen * 3;
    case BTF_KIND_ENUM: case BTF_KIND_FUNC_PROTO:
      return vlen * 2;
    default:
      return -1;
  }
}

/** A growable list of word offsets. */
class OffsetList {
  #items: Uint32Array = new Uint32Array(64);
  #length = 0;

  push(offset: number): void {
    if (this.#length === this.#items.length) {
      const next = new Uint32Array(this.#items.length * 2);
      next.set(this.#items);
      this.#items = next;
    }
    this.#items[this.#length++] = offset;
  }

  finish(): Uint32Array {
    return this.#items.slice(0, this.#length);
  }
}

/** Reads the header of little-endian BTF, without judging it; `undefined` where fewer than 24 bytes are there. */
export function readBTFHeader(bytes: Uint8Array): BTFHeader | undefined {
  if (bytes.length < BTF_HEADER_SIZE_V0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = view.getUint32(4, true);
  const hasLayout = headerLength >= BTF_HEADER_SIZE && bytes.length >= BTF_HEADER_SIZE;
  return {
    magic: view.getUint16(0, true),
    version: view.getUint8(2),
    flags: view.getUint8(3),
    headerLength,
    typeOffset: view.getUint32(8, true),
    typeLength: view.getUint32(12, true),
    stringOffset: view.getUint32(16, true),
    stringLength: view.getUint32(20, true),
    layoutOffset: hasLayout ? view.getUint32(24, true) : 0,
    layoutLength: hasLayout ? view.getUint32(28, true) : 0,
  };
}

/** Finds where each type begins; kinds that are unknown here are stepped over by the layout section where it tells how. */
export function indexTypes(file: string, words: Uint32Array, header: BTFHeader, bytes: Uint8Array): Uint32Array {
  if (header.typeLength % 4 !== 0) throw new InputError(file, 'byte 12', 'BTF types data is malformed: it ends inside a word');
  const list = new OffsetList();
  let at = 0;
  let id = 1;
  while (at < words.length) {
    if (at + TYPE_WORDS > words.length) throw new InputError(file, `type [${id}]`, 'BTF types data is malformed: it ends inside a type');
    const info = words[at + 1] ?? 0;
    const kind = (info >>> 24) & 0x7f;
    let trailing = trailingWords(kind, info & 0xffffff);
    if (trailing < 0) trailing = trailingByLayout(kind, info & 0xffffff, header, bytes);
    if (trailing < 0) throw new InputError(file, `type [${id}]`, `unknown kind ${kind}`);
    list.push(at);
    at += TYPE_WORDS + trailing;
    if (at > words.length) throw new InputError(file, `type [${id}]`, `BTF type [${id}] is malformed: ${BTF_KIND_NAMES[kind] ?? kind} exceeds the type section`);
    id++;
  }
  return list.finish();
}

function trailingByLayout(kind: number, vlen: number, header: BTFHeader, bytes: Uint8Array): number {
  if (kind === 0 || (kind + 1) * 4 > header.layoutLength) return -1;
  const at = header.headerLength + header.layoutOffset + kind * 4;
  const infoSize = bytes[at];
  const elementSize = bytes[at + 1];
  if (infoSize === undefined || elementSize === undefined || (infoSize + elementSize) % 4 !== 0) return -1;
  return (infoSize + elementSize * vlen) / 4;
}
