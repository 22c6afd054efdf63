/**
 * @module btf/ext
 * `.BTF.ext` of an object file: function and line information and CO-RE relocations, by section. Owns the encoding that
 * libbpf's `btf_ext_parse` reads (tools/lib/bpf/btf.c); does not own what a kernel says about the records.
 */
import { InputError } from '../isa/errors.ts';
import { BTF_MAGIC, BTF_VERSION } from '../isa/uapi.ts';
import type { BTF } from './btf.ts';
import type { CoreRelocation } from './core.ts';

/** `struct bpf_func_info` of an object: bytes from the start of the section, and a FUNC type. */
export interface FunctionInfo {
  readonly instructionOffset: number;
  readonly typeID: number;
}

/** `struct bpf_line_info` of an object: bytes from the start of the section, and string offsets. */
export interface LineInfo {
  readonly instructionOffset: number;
  readonly fileNameOffset: number;
  readonly lineOffset: number;
  readonly line: number;
  readonly column: number;
}

/** Records of one section of the object, in the order of the file. */
export interface SectionRecords<T> {
  readonly section: string;
  readonly records: readonly T[];
}

/** The parsed `.BTF.ext`. Record sizes are those of the file: libbpf passes longer records to the kernel unchanged. */
export interface BTFExt {
  readonly functions: readonly SectionRecords<FunctionInfo>[];
  readonly functionRecordSize: number;
  readonly lines: readonly SectionRecords<LineInfo>[];
  readonly lineRecordSize: number;
  readonly relocations: readonly SectionRecords<CoreRelocation>[];
  readonly relocationRecordSize: number;
}

const HEADER_SIZE = 24;
const FUNCTION_SIZE = 8;
const LINE_SIZE = 16;
const RELOCATION_SIZE = 16;

/**
 * Parses `.BTF.ext`.
 *
 * @param btf the object's BTF, for section names.
 * @throws {InputError} where header, sections or records do not fit; names the byte.
 */
export function parseBTFExt(bytes: Uint8Array, btf: BTF, file = 'BTF.ext'): BTFExt {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (at: number, reason: string): never => {
    throw new InputError(file, `byte ${at}`, reason);
  };
  if (bytes.length < HEADER_SIZE) fail(bytes.length, `ends inside the BTF.ext header (${HEADER_SIZE} bytes)`);
  if (view.getUint16(0, true) === 0x9feb) fail(0, 'big-endian BTF.ext is not supported');
  if (view.getUint16(0, true) !== BTF_MAGIC) fail(0, 'no BTF.ext: wrong magic');
  if (view.getUint8(2) !== BTF_VERSION) fail(2, `unknown BTF.ext version ${view.getUint8(2)}`);
  if (view.getUint8(3) !== 0) fail(3, `unknown BTF.ext flags 0x${view.getUint8(3).toString(16)}`);
  const headerLength = view.getUint32(4, true);
  if (headerLength < HEADER_SIZE || headerLength > bytes.length) fail(4, `header length ${headerLength} does not fit into ${bytes.length} bytes`);

  const read = <T>(field: number, minimum: number, what: string, decode: (at: number) => T): readonly [number, SectionRecords<T>[]] => {
    if (field + 8 > headerLength) return [0, []];
    const offset = view.getUint32(field, true);
    const length = view.getUint32(field + 4, true);
    if (length === 0) return [0, []];
    if (offset % 4 !== 0) fail(field, `${what} is not aligned to 4 bytes`);
    let at = headerLength + offset;
    if (at + length > bytes.length) fail(field, `${what} (${offset}, ${length} bytes) exceeds ${bytes.length} bytes`);
    const end = at + length;
    if (length < 4) fail(at, `${what} has no record size`);
    const recordSize = view.getUint32(at, true);
    if (recordSize < minimum || recordSize % 4 !== 0) fail(at, `${what} has invalid record size ${recordSize}`);
    at += 4;
    const sections: SectionRecords<T>[] = [];
    while (at < end) {
      if (end - at < 8) fail(at, `${what} ends inside a section header`);
      const section = btf.stringAt(view.getUint32(at, true));
      const count = view.getUint32(at + 4, true);
      if (section === undefined) fail(at, `${what} names a section outside the string section`);
      if (count === 0) fail(at + 4, `${what} has a section without records`);
      at += 8;
      if (count * recordSize > end - at) fail(at, `${what} ends inside the records of a section`);
      const records: T[] = [];
      for (let i = 0; i < count; i++, at += recordSize) records.push(decode(at));
      sections.push({ section: section ?? '', records });
    }
    return [recordSize, sections];
  };

  const [functionRecordSize, functions] = read(8, FUNCTION_SIZE, 'func_info', (at): FunctionInfo => ({
    instructionOffset: view.getUint32(at, true), typeID: view.getUint32(at + 4, true),
  }));
  const [lineRecordSize, lines] = read(16, LINE_SIZE, 'line_info', (at): LineInfo => ({
    instructionOffset: view.getUint32(at, true),
    fileNameOffset: view.getUint32(at + 4, true),
    lineOffset: view.getUint32(at + 8, true),
    line: view.getUint32(at + 12, true) >>> 10,
    column: view.getUint32(at + 12, true) & 0x3ff,
  }));
  const [relocationRecordSize, relocations] = read(24, RELOCATION_SIZE, 'core_relo', (at) => readCoreRelocation(view, at));
  return { functions, functionRecordSize, lines, lineRecordSize, relocations, relocationRecordSize };
}

/** Reads `struct bpf_core_relo` at a byte offset. */
export function readCoreRelocation(view: DataView, at: number): CoreRelocation {
  return {
    instructionOffset: view.getUint32(at, true),
    typeID: view.getUint32(at + 4, true),
    accessStringOffset: view.getUint32(at + 8, true),
    kind: view.getUint32(at + 12, true),
  };
}
