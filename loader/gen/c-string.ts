/**
 * @module loader/gen/c-string
 * Bytes as the body of a C string, as bpftool writes them (`print_hex` of `tools/bpf/bpftool/gen.c`). A skeleton is hardly anything else,
 * a million of them, and is mostly made by a process that lives for nothing else: JavaScript would run in V8's interpreter all the while.
 * WebAssembly is compiled at once: 0.3 ms for 50 kB in a new process where JavaScript takes 5 ms. Where there is none (pages may forbid
 * it), JavaScript does the same.
 */

import { InputError } from '../../isa/errors.ts';

const LINE_WIDTH = 78;
/** Bytes whose text, four characters each, is still a string. */
const MOST_BYTES = 1 << 26;
const [BACKSLASH, NEWLINE, ZERO, X] = [0x5c, 0x0a, 0x30, 0x78];
/** Escapes of all bytes, a word of characters each, and behind them the memory that the bytes are put into. */
const TABLE_SIZE = 1024;
const PAGE = 65_536;
/** Fewer bytes are not worth a module. */
const FEW = 256;

/**
 * Lines are at most 78 characters wide.
 * @throws InputError for data that no C compiler would take, either
 */
export function cStringBody(bytes: Uint8Array): string {
  if (bytes.length > MOST_BYTES) throw new InputError('skeleton', 'initial values', `${bytes.length} bytes of data are more than the ${MOST_BYTES} that can be written as a C string`);
  const text = (bytes.length < FEW ? undefined : writeCompiled(bytes)) ?? writeInterpreted(bytes);
  return new TextDecoder().decode(text);
}

/** Every line but the last has at least 75 characters before its two; the last store may go two bytes beyond the text. */
function roomFor(bytes: Uint8Array): number {
  return 4 * bytes.length + 2 * Math.ceil((4 * bytes.length) / (LINE_WIDTH - 3)) + 2;
}

/** The text, in JavaScript. */
export function writeInterpreted(bytes: Uint8Array): Uint8Array {
  const escapes = escapeTable();
  const text = new Uint8Array(roomFor(bytes));
  let at = 0;
  let limit = LINE_WIDTH;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (at + (byte === 0 ? 2 : 4) > limit) {
      text[at++] = BACKSLASH;
      text[at++] = NEWLINE;
      limit = at + LINE_WIDTH;
    }
    text[at++] = BACKSLASH;
    text[at++] = escapes[4 * byte + 1] ?? 0;
    if (byte === 0) continue;
    text[at++] = escapes[4 * byte + 2] ?? 0;
    text[at++] = escapes[4 * byte + 3] ?? 0;
  }
  return text.subarray(0, at);
}

/** The text, in WebAssembly; `undefined` where that is not to be had. */
export function writeCompiled(bytes: Uint8Array): Uint8Array | undefined {
  if (typeof WebAssembly === 'undefined') return undefined;
  const start = TABLE_SIZE + bytes.length;
  try {
    const memory = new WebAssembly.Memory({ initial: Math.ceil((start + roomFor(bytes)) / PAGE) });
    const { exports } = new WebAssembly.Instance((compiled ??= new WebAssembly.Module(MODULE)), { m: { m: memory } });
    const write = exports['f'];
    if (typeof write !== 'function') return undefined;
    const all = new Uint8Array(memory.buffer);
    all.set(escapeTable());
    all.set(bytes, TABLE_SIZE);
    return all.subarray(start, Number(write(TABLE_SIZE, start, start)));
  } catch (error) {
    if (error instanceof WebAssembly.CompileError || error instanceof RangeError) return undefined;
    throw error;
  }
}

let table: Uint8Array | undefined;

/** `\0` and two characters that are not used, then `\x01` to `\xff`. */
function escapeTable(): Uint8Array {
  if (table !== undefined) return table;
  table = new Uint8Array(TABLE_SIZE);
  for (let byte = 0, at = 0; byte < 256; byte++, at += 4) {
    table[at] = BACKSLASH;
    table[at + 1] = byte === 0 ? ZERO : X;
    table[at + 2] = hexDigit(byte >> 4);
    table[at + 3] = hexDigit(byte & 15);
  }
  return table;
}

function hexDigit(value: number): number {
  return value + (value < 10 ? 0x30 : 0x57);
}

let compiled: WebAssembly.Module | undefined;

// Operation codes of WebAssembly, and locals of the function.
const [BLOCK, LOOP, IF, END, BR, BR_IF, EMPTY] = [2, 3, 4, 11, 12, 13, 0x40];
const [SELECT, GET, SET, TEE, LOAD, LOAD_BYTE, STORE, STORE_HALF, CONST] = [0x1b, 0x20, 0x21, 0x22, 0x28, 0x2d, 0x36, 0x3b, 0x41];
const [GREATER, NOT_LESS, ADD, SHIFT_LEFT, I32] = [0x4b, 0x4f, 0x6a, 0x74, 0x7f];
const [FROM, TO, AT, LIMIT, BYTE, NEXT] = [0, 1, 2, 3, 4, 5];
/** Signed LEB128 of the width and of a backslash with a newline behind it. */
const WIDTH = [LINE_WIDTH | 0x80, 0];
const BREAK = [0xdc, 0x14];
/** Alignment and offset of an access. */
const ANYWHERE = [0, 0];

/** `f(from, to, at)`: writes the escapes of the bytes from `from` to `to`; where the text ends. */
const FUNCTION = [
  1, 3, I32, // three more locals
  GET, AT, CONST, ...WIDTH, ADD, SET, LIMIT,
  BLOCK, EMPTY, LOOP, EMPTY,
  GET, FROM, GET, TO, NOT_LESS, BR_IF, 1,
  // next = at + (byte ? 4 : 2)
  GET, AT, CONST, 4, CONST, 2, GET, FROM, LOAD_BYTE, ...ANYWHERE, TEE, BYTE, SELECT, ADD, TEE, NEXT,
  GET, LIMIT, GREATER, IF, EMPTY,
  GET, AT, CONST, ...BREAK, STORE_HALF, ...ANYWHERE,
  GET, AT, CONST, 2, ADD, TEE, AT, CONST, ...WIDTH, ADD, SET, LIMIT,
  GET, NEXT, CONST, 2, ADD, SET, NEXT,
  END,
  GET, AT, GET, BYTE, CONST, 2, SHIFT_LEFT, LOAD, ...ANYWHERE, STORE, ...ANYWHERE,
  GET, NEXT, SET, AT,
  GET, FROM, CONST, 1, ADD, SET, FROM,
  BR, 0, END, END,
  GET, AT, END,
];

/** Magic and version; a type, the import of `m.m`, a function, its export as `f`, its code. */
const MODULE: Uint8Array<ArrayBuffer> = Uint8Array.from([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, [1, 0x60, 3, I32, I32, I32, 1, I32]),
  ...section(2, [1, 1, 0x6d, 1, 0x6d, 2, 0, 1]),
  ...section(3, [1, 0]),
  ...section(7, [1, 1, 0x66, 0, 0]),
  ...section(10, [1, ...sized(FUNCTION)]),
]);

function section(id: number, content: readonly number[]): number[] {
  return [id, ...sized(content)];
}

/** LEB128 of the length, then the content; two bytes are enough for what is here. */
function sized(content: readonly number[]): number[] {
  return [(content.length & 0x7f) | 0x80, content.length >> 7, ...content];
}
