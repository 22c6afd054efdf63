/**
 * @module src/btf
 * `btf dump` as a function: types of a kernel, a module or an object as a listing, as JSON or as a C header. The texts are `btf/dump.ts`
 * and `btf/c-header.ts`; this adds what libbpf asks of a file's types before it hands them out.
 */
import { BTF } from '../btf/btf.ts';
import { readBTFHeader } from '../btf/encoding.ts';
import { littleEndianBTF } from '../btf/byte-order.ts';
import { cHeader } from '../btf/c-header.ts';
import { describeType, dumpText, type DumpRecord, type DumpValue } from '../btf/dump.ts';
import { rewriteNames, rewriteTypeIDs } from '../btf/references.ts';
import { typeSource, type TypeSource } from '../btf/type-source.ts';
import { InputError } from '../isa/errors.ts';
import { BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_MAGIC } from '../isa/uapi.ts';

/** Raw BTF and what is known of where it lies. */
export interface BTFInput {
  readonly bytes: Uint8Array;
  /** Name in messages. */
  readonly file: string;
  /** Bytes of a pointer where the file says (ELF); default: what the types tell. */
  readonly pointerSize?: number;
}

/** How types are shown. */
export interface DumpBTFOptions {
  readonly format: 'raw' | 'c' | 'json';
  /** Ids to show alone (`root_id`). */
  readonly roots?: readonly number[];
  /** `format c` in the order of ids. */
  readonly unsorted?: boolean;
  /** The BTF that a module's extends. */
  readonly base?: BTFInput;
  /** Takes what libbpf would warn of. */
  readonly warn?: (message: string) => void;
}

/**
 * The types in pieces of text, as `bpftool btf dump file … format raw|c` of Linux 7.3 prints them: one character for each byte, since
 * names need be no UTF-8. `latin1Bytes` makes the bytes of it.
 *
 * @throws InputError naming file, type and reason, where the bytes are no BTF or its types make no sense
 *
 * @example
 * [...dumpBTF({ bytes: loadKernelBTF(), file: 'vmlinux' }, { format: 'c' })].join(''); // vmlinux.h
 */
export function* dumpBTF(input: BTFInput, { format, roots, unsorted, base, warn }: DumpBTFOptions): Generator<string> {
  const baseBTF = base === undefined ? undefined : parseBTF(base, undefined);
  const btf = parseBTF(input, baseBTF);
  for (const id of roots ?? []) if (!Number.isInteger(id) || !btf.has(id)) throw new InputError(input.file, '', `invalid root ID: ${id}`);
  const text = format === 'c'
    ? cHeader(sourceOf(btf, input), { ...(roots === undefined ? {} : { roots }), ...(unsorted === undefined ? {} : { unsorted }), ...(warn === undefined ? {} : { warn }) })
    : format === 'raw' ? dumpText(btf, roots) : jsonText(btf, roots);
  yield* text;
}

function sourceOf(btf: BTF, { file, pointerSize }: BTFInput): TypeSource {
  return typeSource(btf, (place, reason) => {
    throw new InputError(file, place, reason);
  }, pointerSize);
}

function parseBTF(input: BTFInput, base: BTF | undefined): BTF {
  const { buffer, byteOffset, byteLength } = input.bytes;
  const bytes = littleEndianBTF(new Uint8Array(buffer, byteOffset, byteLength));
  checkLayout(bytes, base !== undefined, input.file);
  const btf = BTF.parse(bytes, { name: input.file, anyVersion: true, ...(base === undefined ? {} : { base }) });
  checkReferences(btf, input.file);
  return btf;
}

/** libbpf wants types before strings, and strings that begin with the empty one (`btf_parse_hdr`, `btf_parse_str_sec`). */
function checkLayout(bytes: Uint8Array, isSplit: boolean, file: string): void {
  const header = readBTFHeader(bytes);
  if (header === undefined || header.magic !== BTF_MAGIC || header.headerLength > bytes.length) return;
  const { typeOffset, typeLength, stringOffset, stringLength, headerLength } = header;
  if (typeOffset + typeLength > stringOffset) {
    throw new InputError(file, 'byte 8', `Invalid BTF data sections layout: type data at ${typeOffset} + ${typeLength}, strings data at ${stringOffset} + ${stringLength}`);
  }
  if (isSplit) return;
  if (stringLength === 0) throw new InputError(file, 'byte 16', 'Invalid BTF string section');
  if ((bytes[headerLength + stringOffset] ?? 0) !== 0) throw new InputError(file, 'byte 16', 'Malformed BTF string section, did you forget to provide base BTF?');
}

const PART_NAMES: Readonly<Record<number, string>> = { [BTF_KIND_ENUM]: 'enum', [BTF_KIND_ENUM64]: 'enum', [BTF_KIND_FUNC_PROTO]: 'param' };

/** libbpf's check of every type (`btf_sanity_check`): that what it names is there. */
function checkReferences(btf: BTF, file: string): void {
  for (let id = btf.startID; id < btf.endID; id++) {
    const start = btf.wordOffset(id);
    const words = btf.words.subarray(start, id + 1 < btf.endID ? btf.wordOffset(id + 1) : btf.words.length);
    const kind = btf.kind(id);
    const fail = (reason: string): never => {
      throw new InputError(file, `type ${id}`, `btf: type [${id}]: ${reason}`);
    };
    let what = 'type name';
    rewriteNames(words, (offset) => {
      if (btf.stringAt(offset) === undefined) fail(`invalid ${what} (string offset ${offset})`);
      what = `${PART_NAMES[kind] ?? 'field'} name`;
      return offset;
    });
    // The third word of a forward declaration is no reference for libbpf's check, nor is what a function returns.
    const unchecked = kind === BTF_KIND_FUNC_PROTO ? 1 : 0;
    let references = 0;
    if (kind !== BTF_KIND_FWD) rewriteTypeIDs(words, (target) => (references++ < unchecked || btf.has(target) ? target : fail(`invalid referenced type ID ${target}`)));
    if (kind === BTF_KIND_FUNC && btf.kind(btf.type(id)) !== BTF_KIND_FUNC_PROTO) fail(`referenced type [${btf.type(id)}] is not FUNC_PROTO`);
  }
}

/** bpftool's JSON: 64-bit numbers are numbers. */
function* jsonText(btf: BTF, roots: readonly number[] | undefined): Generator<string> {
  const ids = roots ?? Array.from({ length: btf.endID - btf.startID }, (_, i) => btf.startID + i);
  yield '{"types":[';
  let separator = '';
  for (const id of ids) {
    yield separator + recordText(describeType(btf, id));
    separator = ',';
  }
  yield ']}\n';
}

function recordText(record: DumpRecord): string {
  return `{${Object.entries(record).map(([name, value]) => `${JSON.stringify(name)}:${valueText(value)}`).join(',')}}`;
}

function valueText(value: DumpValue): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return typeof value === 'object' ? `[${value.map(recordText).join(',')}]` : String(value);
}
