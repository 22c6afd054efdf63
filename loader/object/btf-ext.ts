/**
 * @module loader/object/btf-ext
 * `.BTF.ext` of an object as libbpf keeps it: records as words in native order, by section, with their own record size, because
 * longer records than today's are passed on unchanged. Reproduces `btf_ext_parse` of `tools/lib/bpf/btf.c`.
 */
import { InputError } from '../../isa/errors.ts';

/** Records of one section. */
export interface ExtSection {
  readonly nameOffset: number;
  /** Words of each record; the first is the offset in the section, bytes. */
  readonly records: readonly Uint32Array[];
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
const MAX_RECORD = 256;

/**
 * Parses the section.
 * @throws InputError naming section, byte and reason
 */
export function parseObjectBTFExt(bytes: Uint8Array, file: string): ObjectBTFExt {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (at: number, reason: string): never => {
    throw new InputError(file, `section .BTF.ext, byte ${at}`, reason);
  };
  if (bytes.length < 24) fail(bytes.length, 'BTF.ext header not found');
  const little = view.getUint16(0, true) === 0xeb9f;
  if (!little && view.getUint16(0, false) !== 0xeb9f) fail(0, 'Invalid BTF.ext magic');
  const word = (at: number): number => view.getUint32(at, little);
  const headerLength = word(4);
  if (headerLength < 24 || headerLength > bytes.length) fail(4, `a header of ${headerLength} bytes`);

  const info = (field: number, minimum: number): ExtInfo => {
    const length = field + 8 <= headerLength ? word(field + 4) : 0;
    if (length === 0) return NONE;
    let at = headerLength + word(field);
    const end = at + length;
    if (end > bytes.length || length < 4 || at % 4 !== 0) fail(field, `${length} bytes of records do not fit into the section's ${bytes.length}`);
    const recordSize = word(at);
    if (recordSize < minimum || recordSize > MAX_RECORD || recordSize % 4 !== 0) fail(at, `records of ${recordSize} bytes`);
    at += 4;
    const sections: ExtSection[] = [];
    while (at < end) {
      if (at + 8 > end) fail(at, 'the section ends inside a header of records');
      const [nameOffset, count] = [word(at), word(at + 4)];
      at += 8;
      if (count === 0 || at + count * recordSize > end) fail(at - 4, `${count} records do not fit`);
      const start = at;
      sections.push({
        nameOffset,
        records: Array.from({ length: count }, (_, i) => Uint32Array.from({ length: recordSize / 4 }, (__, j) => word(start + i * recordSize + 4 * j))),
      });
      at += count * recordSize;
    }
    return { recordSize, sections };
  };
  return { functions: info(8, 8), lines: info(16, 16), relocations: info(24, 16) };
}
