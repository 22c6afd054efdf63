/**
 * @module loader/object/btf-ext
 * `.BTF.ext` of an object as libbpf keeps it: records as words in native order, by section, with their own record size, because
 * longer records than today's are passed on unchanged. Reproduces `btf_ext_parse` of `tools/lib/bpf/btf.c`.
 */
import { InputError } from '../../isa/errors.ts';
import { BTF_MAGIC, BTF_VERSION } from '../../isa/uapi.ts';
import { readWords } from '../../isa/words.ts';

/** Records of one section. */
export interface ExtSection {
  readonly nameOffset: number;
  readonly count: number;
  /** Words of all records, one record after the other; the first of each is the offset in the section, bytes. */
  readonly words: Uint32Array;
}

/** One kind of records; `recordSize` in bytes, 0 where the object has none. */
export interface ExtInfo {
  readonly recordSize: number;
  readonly sections: readonly ExtSection[];
}

export interface ObjectBTFExt {
  readonly functions: ExtInfo;
  readonly lines: ExtInfo;
  readonly relocations: ExtInfo;
}

const NONE: ExtInfo = { recordSize: 0, sections: [] };

/** The words of each record of a section. */
export function recordsOf({ count, words }: ExtSection): Uint32Array[] {
  const size = words.length / count;
  return Array.from({ length: count }, (_, i) => words.subarray(size * i, size * (i + 1)));
}

/**
 * Parses the section.
 * @throws InputError naming section, byte and reason
 */
export function parseObjectBTFExt(bytes: Uint8Array, file: string): ObjectBTFExt {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (at: number, reason: string): never => {
    throw new InputError(file, `section .BTF.ext, byte ${at}`, reason);
  };
  if (bytes.length < 8) fail(bytes.length, 'BTF.ext header too short');
  const little = view.getUint16(0, true) === BTF_MAGIC;
  if (!little && view.getUint16(0, false) !== BTF_MAGIC) fail(0, `Invalid BTF.ext magic:${view.getUint16(0, true).toString(16)}`);
  if (view.getUint8(2) !== BTF_VERSION) fail(2, `Unsupported BTF.ext version:${view.getUint8(2)}`);
  if (view.getUint8(3) !== 0) fail(3, `Unsupported BTF.ext flags:${view.getUint8(3).toString(16)}`);
  const word = (at: number): number => view.getUint32(at, little);
  const headerLength = word(4);
  if (headerLength > bytes.length) fail(4, 'BTF.ext header not found');
  if (headerLength === bytes.length) fail(4, 'BTF.ext has no data');
  if (headerLength < 24) fail(4, 'BTF.ext header missing func_info, line_info');

  const info = (field: number, minimum: number, what: string): ExtInfo => {
    const length = field + 8 <= headerLength ? word(field + 4) : 0;
    if (length === 0) return NONE;
    const offset = word(field);
    if (offset % 4 !== 0) fail(field, `.BTF.ext ${what} section is not aligned to 4 bytes`);
    let at = headerLength + offset;
    const end = at + length;
    if (end > bytes.length) fail(field, `${what} section (off:${offset} len:${length}) is beyond the end of the ELF section .BTF.ext`);
    if (length < 4) fail(at, `.BTF.ext ${what} record size not found`);
    const recordSize = word(at);
    // Records of another byte order can only be turned around where every field is known.
    if (recordSize < minimum || (!little && recordSize !== minimum) || recordSize % 4 !== 0) fail(at, `${what} section in .BTF.ext has invalid record size ${recordSize}`);
    if (length === 4) fail(at, `${what} section in .BTF.ext has no records`);
    at += 4;
    const sections: ExtSection[] = [];
    while (at < end) {
      if (at + 8 > end) fail(at, `${what} section header is not found in .BTF.ext`);
      const [nameOffset, count] = [word(at), word(at + 4)];
      at += 8;
      if (count === 0 || at + count * recordSize > end) fail(at - 4, `${what} section has incorrect num_records in .BTF.ext`);
      sections.push({ nameOffset, count, words: readWords(bytes.subarray(at, at + count * recordSize), little) });
      at += count * recordSize;
    }
    return { recordSize, sections };
  };
  return { functions: info(8, 8, 'func_info'), lines: info(16, 16, 'line_info'), relocations: info(24, 16, 'core_relo') };
}
