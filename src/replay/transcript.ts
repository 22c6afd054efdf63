/**
 * @module src/replay/transcript
 * The transcript format: lines of JSON that describe system calls byte for byte with the answers of a real kernel. Owns the
 * checked blueprint of one line; does not perform anything. The format, with what this project adds to it, is described
 * in docs/transcripts.md.
 */
import { commandByName } from '../../isa/attr.ts';
import { InputError } from '../../isa/errors.ts';

/** Buffers and slots that one line may ask for: hostile input gets no more. */
const MAX_LINE_CHARS = 256 * 1024 * 1024;
const MAX_BUFFER_BYTES = 256 * 1024 * 1024;
const MAX_ATTR_BYTES = 64 * 1024;
const MAX_BUFFERS = 512;
/** Rows of `infd`, `take` and the like; an `fd_array` may have 4096 entries and one. */
const MAX_ROWS = 8192;
/** All blobs of one transcript together. */
const MAX_BLOB_BYTES = 1024 * 1024 * 1024;
/** Slots for fds are numbered below this. */
export const MAX_SLOTS = 4096;

/** Where a buffer's address goes: an offset in `attr`. */
export interface InBuffer {
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** True for `inout`: what the kernel left in it is part of the answer. */
  readonly answered: boolean;
}

export interface OutBuffer {
  readonly offset: number;
  readonly size: number;
}

/**
 * A buffer whose address goes to byte `at` of the buffer of `offset`; `bytes` go in, or `size` zeroed bytes come out, as bytes or
 * as the text of a log.
 */
export interface NestedBuffer {
  readonly isLog: boolean;
  readonly offset: number;
  readonly at: number;
  readonly bytes: Uint8Array | undefined;
  readonly size: number;
}

/** One `bpf()` call. */
export interface BPFCall {
  readonly op: 'bpf';
  readonly cmd: number;
  readonly name: string;
  readonly attr: Uint8Array;
  readonly inputs: readonly InBuffer[];
  readonly outputs: readonly OutBuffer[];
  readonly nested: readonly NestedBuffer[];
  /** The fd of `slot` (-1: no fd) goes to `offset` of `attr`. */
  readonly fds: readonly { readonly offset: number; readonly slot: number }[];
  /** The fd of `slot` goes to byte `at` of the buffer of `offset`. */
  readonly nestedFDs: readonly { readonly offset: number; readonly at: number; readonly slot: number }[];
  /** After the call the fd at byte `at` of the buffer of `offset` is kept in `slot`. */
  readonly taken: readonly { readonly offset: number; readonly at: number; readonly slot: number }[];
  /** Byte ranges of answered buffers that depend on the machine. */
  readonly ignored: ReadonlyMap<string, readonly (readonly [start: number, length: number])[]>;
  readonly save: number | undefined;
  readonly want: Answer;
}

/** Any other operation. */
export type OtherCall =
  | { readonly op: 'key'; readonly name: string; readonly der: Uint8Array; readonly want: Answer }
  | { readonly op: 'keyid'; readonly id: number; readonly want: Answer }
  | { readonly op: 'caps'; readonly effective: bigint; readonly want: Answer }
  | { readonly op: 'mmap'; readonly slot: number; readonly size: number; readonly prot: number; readonly want: Answer }
  | { readonly op: 'munmap'; readonly want: Answer }
  | { readonly op: 'close'; readonly slot: number; readonly want: Answer }
  | { readonly op: 'dup'; readonly slot: number; readonly save: number; readonly want: Answer }
  | { readonly op: 'watch'; readonly want: Answer }
  | { readonly op: 'admissions'; readonly want: Answer };

export type Operation = BPFCall | OtherCall;

/** What a kernel answered. Fields are `undefined` where the call has no such answer or the recording none. */
export interface Answer {
  /** `-1` with an `errno`, or the result; `"fd"` stands for any fd. */
  readonly ret: number | 'fd';
  readonly errno: number;
  /** Masked text of the verifier or BTF log. */
  readonly log?: string | undefined;
  /** For logs too long to record: SHA-256 of the masked text and its last characters. */
  readonly logSha256?: string | undefined;
  readonly logTail?: string | undefined;
  /** Hex of answered buffers by offset in `attr` (`"16"`) or within a buffer (`"16+64"`), trailing zeros cut. */
  readonly out?: Readonly<Record<string, string>> | undefined;
  readonly retval?: number | undefined;
  readonly dataSizeOut?: number | undefined;
  /** For `admissions`. */
  readonly seen?: Admissions | undefined;
}

/** What a hook on `bpf_prog_load` saw since it was asked last: how many loads, and the verdict on the last of them. */
export interface Admissions {
  readonly count: number;
  readonly verdict: number;
  readonly keyringType: number;
  /** Serials differ from kernel to kernel: `"none"` is 0, `"session"` that of the session keyring. */
  readonly serial: 'none' | 'session' | 'other';
}

/** A new case: fds closed, all capabilities, an empty session keyring. */
export interface CaseLine {
  readonly case: string;
  readonly suite: string;
  readonly mode: string;
  readonly desc: string;
}

type Line = { readonly kind: 'case'; readonly value: CaseLine } | { readonly kind: 'operation'; readonly value: Operation };

const HEX = new Int8Array(128).fill(-1);
for (let i = 0; i < 16; i++) {
  HEX['0123456789abcdef'.charCodeAt(i)] = i;
  HEX['0123456789ABCDEF'.charCodeAt(i)] = i;
}

/** Bytes of a hex string, `undefined` where it is none. */
export function hexToBytes(hex: string): Uint8Array | undefined {
  if (hex.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = HEX[hex.charCodeAt(2 * i)] ?? -1;
    const low = HEX[hex.charCodeAt(2 * i + 1)] ?? -1;
    if (high < 0 || low < 0) return undefined;
    bytes[i] = (high << 4) | low;
  }
  return bytes;
}

const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Hex of `bytes` with trailing zeros cut, as answers are recorded. */
export function bytesToTrimmedHex(bytes: Uint8Array): string {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length--;
  let hex = '';
  for (let i = 0; i < length; i++) hex += DIGITS[bytes[i] ?? 0] ?? '';
  return hex;
}

type JSONObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JSONObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads a transcript line by line; remembers its blobs.
 *
 * @example
 * const reader = new TranscriptReader('cases.jsonl');
 * reader.read('{"case":"a","suite":"s","mode":"priv"}'); // { kind: 'case', … }
 */
export class TranscriptReader {
  readonly #file: string;
  readonly #blobs = new Map<string, Uint8Array>();
  #blobBytes = 0;
  #line = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** Number of the line read last, from 1. */
  get line(): number {
    return this.#line;
  }

  /**
   * @returns a case or an operation; `undefined` for a blank line or a blob
   * @throws InputError naming file and line
   */
  read(text: string): Line | undefined {
    this.#line++;
    if (text.length > MAX_LINE_CHARS) this.fail(`a line of ${text.length} characters is too long`);
    if (text.trim() === '') return undefined;
    const value = this.#json(text);
    if (value['blob'] !== undefined) {
      this.#addBlob(value);
      return undefined;
    }
    if (value['case'] !== undefined) return { kind: 'case', value: this.#case(value) };
    return { kind: 'operation', value: this.#operation(value) };
  }

  /** @throws InputError at the current line */
  fail(reason: string): never {
    throw new InputError(this.#file, `line ${this.#line}`, reason);
  }

  #json(text: string): JSONObject {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      this.fail('no JSON');
    }
    if (!isObject(value)) this.fail('a line holds one JSON object');
    return value;
  }

  #addBlob(value: JSONObject): void {
    const name = this.#string(value, 'blob');
    const bytes = this.#hex(this.#string(value, 'hex'), 'hex');
    this.#blobBytes += bytes.length;
    if (this.#blobBytes > MAX_BLOB_BYTES) this.fail('the blobs are too large together');
    this.#blobs.set(name, bytes);
  }

  #case(value: JSONObject): CaseLine {
    const text = (key: string): string => (typeof value[key] === 'string' ? value[key] : '');
    return { case: this.#string(value, 'case'), suite: text('suite'), mode: text('mode'), desc: text('desc') };
  }

  #operation(value: JSONObject): Operation {
    const op = this.#string(value, 'op');
    const want = this.#answer(value['want']);
    switch (op) {
      case 'bpf':
        return this.#call(value, want);
      case 'key':
        return { op, name: this.#string(value, 'name'), der: this.#hex(this.#string(value, 'der'), 'der'), want };
      case 'keyid':
        return { op, id: this.#integer(value['id'], 'id', -0x80000000, 0x7fffffff), want };
      case 'caps': {
        const effective = this.#string(value, 'effective');
        if (!/^[0-9a-fA-F]{1,16}$/.test(effective)) this.fail('effective: up to 16 hex digits expected');
        return { op, effective: BigInt(`0x${effective}`), want };
      }
      case 'mmap':
        return {
          op,
          slot: this.#slot(value['slot'], 'slot'),
          size: this.#integer(value['size'], 'size', 0, MAX_BUFFER_BYTES),
          prot: this.#integer(value['prot'], 'prot', 0, 7),
          want,
        };
      case 'close':
        return { op, slot: this.#slot(value['slot'], 'slot'), want };
      case 'dup':
        return { op, slot: this.#slot(value['slot'], 'slot'), save: this.#integer(value['save'], 'save', 0, MAX_SLOTS - 1), want };
      case 'munmap':
      case 'watch':
      case 'admissions':
        return { op, want };
      default:
        return this.fail(`unknown operation ${JSON.stringify(op)}`);
    }
  }

  #call(value: JSONObject, want: Answer): BPFCall {
    const { cmd, name } = this.#command(value['cmd']);
    const attr = this.#hex(this.#string(value, 'attr'), 'attr');
    if (attr.length > MAX_ATTR_BYTES) this.fail('attr is too long');
    // the memory that holds attr has at least 256 bytes, whatever the size argument says
    const space = Math.max(attr.length, 256);
    const inputs = [
      ...this.#inputs(value['in'], 'in', space, false),
      ...this.#inputs(value['inout'], 'inout', space, true),
    ];
    const outputs = this.#entries(value['out'], 'out').map(([offset, size]) => ({
      offset: this.#attrOffset(offset, 'out', space, 8),
      size: this.#integer(size, 'out', 0, MAX_BUFFER_BYTES),
    }));
    const fds = this.#entries(value['fd'], 'fd').map(([offset, slot]) => ({
      offset: this.#attrOffset(offset, 'fd', space, 4),
      slot: this.#slot(slot, 'fd'),
    }));
    const sizes = new Map<number, number>();
    for (const { offset, bytes } of inputs) sizes.set(offset, Math.max(bytes.length, 8));
    for (const { offset, size } of outputs) sizes.set(offset, Math.max(size, 8));
    const nested = (['inptr', 'outptr', 'logptr'] as const).flatMap((key) => this.#nested(value[key], key, sizes));
    if (inputs.length + outputs.length + nested.length > MAX_BUFFERS) this.fail('too many buffers');
    return {
      op: 'bpf',
      cmd,
      name,
      attr,
      inputs,
      outputs,
      nested,
      fds,
      nestedFDs: this.#placed(value['infd'], 'infd', sizes),
      taken: this.#placed(value['take'], 'take', sizes),
      ignored: this.#ignored(value['ignore']),
      save: value['save'] === undefined ? undefined : this.#integer(value['save'], 'save', 0, MAX_SLOTS - 1),
      want,
    };
  }

  #command(value: unknown): { cmd: number; name: string } {
    if (typeof value === 'number') {
      const cmd = this.#integer(value, 'cmd', 0, 0x7fffffff);
      return { cmd, name: String(cmd) };
    }
    if (typeof value !== 'string') this.fail('cmd: a name or a number expected');
    const spec = commandByName(value);
    if (spec === undefined) this.fail(`unknown command ${JSON.stringify(value)}`);
    return { cmd: spec.cmd, name: spec.name };
  }

  #inputs(value: unknown, key: string, space: number, answered: boolean): InBuffer[] {
    return this.#entries(value, key).map(([offset, hex]) => ({
      offset: this.#attrOffset(offset, key, space, 8),
      bytes: this.#bytes(hex, key),
      answered,
    }));
  }

  #nested(value: unknown, key: 'inptr' | 'outptr' | 'logptr', sizes: ReadonlyMap<number, number>): NestedBuffer[] {
    return this.#rows(value, key).map(([offset, at, last]) => {
      const place = this.#inBuffer(offset, at, 8, key, sizes);
      if (key === 'inptr') {
        const bytes = this.#bytes(last, key);
        return { ...place, bytes, size: bytes.length, isLog: false };
      }
      return { ...place, bytes: undefined, size: this.#integer(last, key, 0, MAX_BUFFER_BYTES), isLog: key === 'logptr' };
    });
  }

  #placed(value: unknown, key: string, sizes: ReadonlyMap<number, number>): { offset: number; at: number; slot: number }[] {
    return this.#rows(value, key).map(([offset, at, slot]) => ({
      ...this.#inBuffer(offset, at, 4, key, sizes),
      slot: this.#slot(slot, key),
    }));
  }

  #inBuffer(offset: unknown, at: unknown, width: number, key: string, sizes: ReadonlyMap<number, number>): { offset: number; at: number } {
    const owner = this.#integer(offset, key, 0, MAX_ATTR_BYTES);
    const size = sizes.get(owner);
    if (size === undefined) this.fail(`${key}: there is no buffer at offset ${owner}`);
    return { offset: owner, at: this.#integer(at, key, 0, size - width) };
  }

  #ignored(value: unknown): ReadonlyMap<string, readonly (readonly [number, number])[]> {
    const ranges = new Map<string, readonly (readonly [number, number])[]>();
    for (const [key, rows] of this.#entries(value, 'ignore')) {
      const list = this.#rows(rows, 'ignore').map(
        ([start, length]) =>
          [this.#integer(start, 'ignore', 0, MAX_BUFFER_BYTES), this.#integer(length, 'ignore', 0, MAX_BUFFER_BYTES)] as const,
      );
      ranges.set(key, list);
    }
    return ranges;
  }

  #answer(value: unknown): Answer {
    if (value === undefined) return this.fail('this operation has no recorded answer (want)');
    if (!isObject(value)) return this.fail('want: an object expected');
    const { ret, out, seen } = value;
    if (ret !== 'fd' && typeof ret !== 'number') this.fail('want.ret: a number or "fd" expected');
    const text = (key: string): string | undefined => {
      const field = value[key];
      if (field !== undefined && typeof field !== 'string') this.fail(`want.${key}: a string expected`);
      return field;
    };
    const number = (key: string): number | undefined => {
      const field = value[key];
      if (field !== undefined && typeof field !== 'number') this.fail(`want.${key}: a number expected`);
      return field;
    };
    return {
      ret,
      errno: number('errno') ?? 0,
      log: text('log'),
      logSha256: text('logSha256'),
      logTail: text('logTail'),
      out: out === undefined ? undefined : this.#wantedOut(out),
      retval: number('retval'),
      dataSizeOut: number('dataSizeOut'),
      seen: seen === undefined ? undefined : this.#admissions(seen),
    };
  }

  #wantedOut(value: unknown): Readonly<Record<string, string>> {
    const out: Record<string, string> = {};
    for (const [key, hex] of this.#entries(value, 'want.out')) {
      if (typeof hex !== 'string') this.fail('want.out: hex expected');
      out[key] = hex;
    }
    return out;
  }

  #admissions(value: unknown): Admissions {
    if (!isObject(value)) return this.fail('want.seen: an object expected');
    const serial = value['serial'];
    if (serial !== 'none' && serial !== 'session' && serial !== 'other') return this.fail('want.seen.serial: none, session or other expected');
    const number = (key: string): number => this.#integer(value[key], `want.seen.${key}`, -1, 0x7fffffff);
    return { count: number('count'), verdict: number('verdict'), keyringType: number('keyringType'), serial };
  }

  #entries(value: unknown, key: string): [string, unknown][] {
    if (value === undefined) return [];
    if (!isObject(value)) return this.fail(`${key}: an object expected`);
    return Object.entries(value);
  }

  #rows(value: unknown, key: string): (readonly unknown[])[] {
    if (value === undefined) return [];
    if (!Array.isArray(value) || value.length > MAX_ROWS || !value.every((row) => Array.isArray(row))) {
      return this.fail(`${key}: a short array of arrays expected`);
    }
    return value;
  }

  #bytes(value: unknown, key: string): Uint8Array {
    if (typeof value !== 'string') return this.fail(`${key}: hex or "@BLOB" expected`);
    if (!value.startsWith('@')) return this.#hex(value, key);
    const blob = this.#blobs.get(value.slice(1));
    return blob ?? this.fail(`${key}: no blob ${value} before this line`);
  }

  #hex(value: string, key: string): Uint8Array {
    return hexToBytes(value) ?? this.fail(`${key}: an even number of hex digits expected`);
  }

  #string(value: JSONObject, key: string): string {
    const field = value[key];
    return typeof field === 'string' ? field : this.fail(`${key}: a string expected`);
  }

  #attrOffset(text: string, key: string, space: number, width: number): number {
    return this.#integer(/^\d{1,6}$/.test(text) ? Number(text) : undefined, `${key} offset`, 0, space - width);
  }

  #slot(value: unknown, key: string): number {
    return this.#integer(value, `${key} slot`, -1, MAX_SLOTS - 1);
  }

  #integer(value: unknown, key: string, low: number, high: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
      return this.fail(`${key}: an integer from ${low} to ${high} expected`);
    }
    return value;
  }
}
