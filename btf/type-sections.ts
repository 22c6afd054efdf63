/**
 * @module btf/type-sections
 * The sections of an ELF file that are about types: `.BTF` and `.BTF.ext`, of either class and byte order. Owns finding them as libbpf's
 * `btf__parse` does, which asks less of a file than whoever opens an object; what is in them is others'. Reproduces `btf_find_elf_sections`
 * of `tools/lib/bpf/btf.c`.
 */
import { InputError } from '../isa/errors.ts';
import { latin1 } from '../isa/latin1.ts';

const SHT_PROGBITS = 1, SHT_STRTAB = 3, SHF_COMPRESSED = 0x800;
const LONGEST_BTF_NAME = '.BTF.base'.length;
/** The largest BTF that is accepted, bytes: four times the kernel's own limit for one BTF. */
export const MAX_BTF_SIZE: number = 64 * 1024 * 1024;
/** The largest table of sections, or of their names, that is read, bytes. */
const MAX_HEADER_TABLE = 16 * 1024 * 1024;

/** Where an ELF file of one class and byte order has what is looked for. */
class ELFLayout {
  readonly is64: boolean;
  readonly isLittle: boolean;

  constructor(is64: boolean, isLittle: boolean) {
    this.is64 = is64;
    this.isLittle = isLittle;
  }

  half(view: DataView, at: number): number {
    return view.getUint16(at, this.isLittle);
  }

  word(view: DataView, at: number): number {
    return view.getUint32(at, this.isLittle);
  }

  /** An offset or size as a number; beyond 2^53 it lies in no file. */
  offset(view: DataView, at: number): number {
    if (!this.is64) return this.word(view, at);
    const [low, high] = this.isLittle ? [at, at + 4] : [at + 4, at];
    return this.word(view, low) + this.word(view, high) * 2 ** 32;
  }
}

/** A file of which parts are read. */
export interface ByteSource {
  /** Bytes of the whole. */
  readonly size: number;
  read(offset: number, length: number): Uint8Array;
}

/** What an ELF file says of types. */
export interface TypeSections {
  /** Contents of `.BTF`. */
  readonly bytes: Uint8Array;
  /** Contents of `.BTF.ext`, where there is one. */
  readonly ext?: Uint8Array;
  /** The size of pointers on the file's machine. */
  readonly pointerSize: 4 | 8;
}

/**
 * Finds the sections without reading the rest: kernels with debug information are large.
 *
 * @param head the first 64 bytes, or fewer where the file ends
 * @param path what messages call the file
 * @throws InputError with libbpf's reason where it has one
 */
export function findTypeSections(source: ByteSource, head: Uint8Array, path: string): TypeSections {
  const fileSize = source.size;
  const [elfClass = 0, order = 0] = head.subarray(4, 6);
  const is64 = elfClass === 2;
  if ((!is64 && elfClass !== 1) || (order !== 1 && order !== 2) || head[6] !== 1 || head.length < (is64 ? 64 : 52)) throw new InputError(path, 'ELF header', `failed to get EHDR from ${path}: no ELF file of 32 or 64 bits`);
  const layout = new ELFLayout(is64, order === 1);
  const header = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const tableOffset = layout.offset(header, is64 ? 40 : 32);
  const [count, namesIndex] = (is64 ? [60, 62] : [48, 50]).map((at) => layout.half(header, at)) as [number, number];
  // libelf does not ask the header how long its entries are.
  const entrySize = is64 ? 64 : 40;
  if (count === 0 || namesIndex >= count || tableOffset + entrySize * count > fileSize) {
    throw new InputError(path, 'ELF header', `failed to get e_shstrndx from ${path}: the section table does not lie in the file`);
  }
  if (entrySize * count > MAX_HEADER_TABLE) throw new InputError(path, 'ELF header', 'the section table is too large');
  const tableBytes = source.read(tableOffset, entrySize * count);
  const table = new DataView(tableBytes.buffer, tableBytes.byteOffset, tableBytes.byteLength);
  const section = (index: number, name: string, limit: number): Uint8Array => {
    const at = index * entrySize;
    const offset = layout.offset(table, at + (is64 ? 24 : 16));
    const size = layout.offset(table, at + (is64 ? 32 : 20));
    if (offset + size > fileSize || size > limit) {
      const what = index === namesIndex ? `failed to get e_shstrndx from ${path}` : `failed to get section(${index}, ${name}) data from ${path}`;
      throw new InputError(path, `section ${name}`, `${what}: it does not lie in the file`);
    }
    return source.read(offset, size);
  };
  const names = section(namesIndex, '.shstrtab', MAX_HEADER_TABLE);
  // libelf takes names from a table of strings only.
  const hasNames = layout.word(table, namesIndex * entrySize + 4) === SHT_STRTAB;
  let bytes: Uint8Array | undefined;
  let ext: Uint8Array | undefined;
  for (let i = 1; i < count; i++) {
    const nameAt = layout.word(table, i * entrySize);
    const end = names.indexOf(0, nameAt);
    if (!hasNames || nameAt >= names.length || end < 0) throw new InputError(path, `section ${i}`, `failed to get section(${i}) name from ${path}`);
    const name = end - nameAt > LONGEST_BTF_NAME ? '' : latin1(names.subarray(nameAt, end));
    if (name !== '.BTF' && name !== '.BTF.ext' && name !== '.BTF.base') continue;
    const type = layout.word(table, i * entrySize + 4);
    if (type !== SHT_PROGBITS) throw new InputError(path, `section ${name}`, `unexpected section type (${type}) of section(${i}, ${name}) from ${path}`);
    const found = section(i, name, MAX_BTF_SIZE);
    const flags = layout.word(table, i * entrySize + (is64 && !layout.isLittle ? 12 : 8));
    // libelf has swapped the header of what claims to be compressed in the other byte order.
    if ((flags & SHF_COMPRESSED) !== 0 && !layout.isLittle) throw new InputError(path, `section ${name}`, 'compressed sections are not supported');
    if (name === '.BTF') bytes = found;
    else if (name === '.BTF.ext') ext = found;
  }
  if (bytes === undefined) throw new InputError(path, '', `failed to find '.BTF' ELF section in ${path}`);
  return { bytes, ...(ext === undefined ? {} : { ext }), pointerSize: is64 ? 8 : 4 };
}
