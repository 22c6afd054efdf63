/**
 * @module src/node/kernel-btf
 * Where BTF comes from: the asset of the package (Linux 7.3.4, compressed), or a file of the user's: raw BTF, raw BTF compressed with
 * gzip, or an ELF file of either class and byte order with a `.BTF` section. Gives bytes; parsing them is btf/'s.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { InputError } from '../../isa/errors.ts';
import { BTF_MAGIC } from '../../isa/uapi.ts';
import { packageFile } from './package-file.ts';

/** `BTF_MAGIC` of a machine of the other byte order. */
const SHT_PROGBITS = 1, SHF_COMPRESSED = 0x800;
const LONGEST_BTF_NAME = '.BTF.base'.length;
const SWAPPED_BTF_MAGIC = 0x9feb;
const ASSET = 'assets/vmlinux-7.3.4.btf.gz';
/** The largest BTF that is accepted, bytes: four times the kernel's own limit for one BTF. */
const MAX_BTF_SIZE = 64 * 1024 * 1024;
/** The largest file that is read whole, bytes: a kernel image with debug information has no place here but its BTF does. */
const MAX_HEADER_TABLE = 16 * 1024 * 1024;

const cache = new Map<string, Uint8Array>();
/** Where the package's own BTF lies; found once, because whoever makes a kernel asks. */
let asset: string | undefined;

/**
 * The raw BTF of a kernel, read once per path.
 *
 * @param file raw BTF, gzip of it, or ELF; without it the package's own, Linux 7.3.4.
 * @throws {InputError} where the file cannot be read or holds no BTF.
 * @example
 * const kernel = new Kernel({ kernelBTF: () => loadKernelBTF() });
 */
export function loadKernelBTF(file?: string): Uint8Array {
  const path = file ?? (asset ??= packageFile(ASSET));
  let bytes = cache.get(path);
  if (bytes === undefined) {
    ({ bytes } = readBTFFile(path));
    cache.set(path, bytes);
  }
  return bytes;
}

/** Raw BTF and, from ELF, the size of pointers on its machine. */
export interface BTFFile {
  readonly bytes: Uint8Array;
  readonly pointerSize?: 4 | 8;
}

/**
 * The raw BTF in a file: the file itself, what gzip made of it, or its section `.BTF`.
 * @throws {InputError} where the file cannot be read or holds no BTF.
 */
export function readBTFFile(path: string): BTFFile {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    throw new InputError(path, '', `cannot be opened: ${reasonOf(error)}`);
  }
  try {
    const size = fstatSync(descriptor).size;
    const head = readRange(path, descriptor, 0, Math.min(size, 64));
    if (head[0] === 0x1f && head[1] === 0x8b) return { bytes: unzip(path, readRange(path, descriptor, 0, limited(path, size))) };
    if (head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46) return readELFSection(path, descriptor, size, head);
    const magic = (head[0] ?? 0) + (head[1] ?? 0) * 256;
    if (magic === BTF_MAGIC || magic === SWAPPED_BTF_MAGIC) {
      // sysfs gives BTF files a size; pipes do not, and are read to their end.
      return { bytes: size > 0 ? readRange(path, descriptor, 0, limited(path, size)) : readFileSync(descriptor) };
    }
    throw new InputError(path, 'byte 0', head.length === 0 ? 'the file is empty' : 'neither BTF nor ELF nor gzip');
  } finally {
    closeSync(descriptor);
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error ? String(error.code) : error.message;
}

function limited(path: string, size: number): number {
  if (size > MAX_BTF_SIZE) throw new InputError(path, '', `${size} bytes are more than the ${MAX_BTF_SIZE} that BTF may have`);
  return size;
}

function unzip(path: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_BTF_SIZE });
  } catch (error) {
    throw new InputError(path, '', `cannot be unpacked: ${reasonOf(error)}`);
  }
}

function readRange(path: string, descriptor: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let done = 0;
  try {
    while (done < length) {
      const count = readSync(descriptor, bytes, done, length - done, offset + done);
      if (count === 0) break;
      done += count;
    }
  } catch (error) {
    throw new InputError(path, `byte ${offset + done}`, `cannot be read: ${reasonOf(error)}`);
  }
  if (done < length) throw new InputError(path, `byte ${offset + done}`, 'the file ends too early');
  return bytes;
}

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

/** Reads section `.BTF` of an ELF file without reading the rest: kernels with debug information are large. */
function readELFSection(path: string, descriptor: number, fileSize: number, head: Uint8Array): BTFFile {
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
    throw new InputError(path, 'ELF header', 'the section table does not lie in the file');
  }
  if (entrySize * count > MAX_HEADER_TABLE) throw new InputError(path, 'ELF header', 'the section table is too large');
  const tableBytes = readRange(path, descriptor, tableOffset, entrySize * count);
  const table = new DataView(tableBytes.buffer);
  const section = (index: number, name: string, limit: number): Uint8Array => {
    const at = index * entrySize;
    const offset = layout.offset(table, at + (is64 ? 24 : 16));
    const size = layout.offset(table, at + (is64 ? 32 : 20));
    if (offset + size > fileSize || size > limit) {
      const what = index === namesIndex ? `failed to get e_shstrndx from ${path}` : `failed to get section(${index}, ${name}) data from ${path}`;
      throw new InputError(path, `section ${name}`, `${what}: it does not lie in the file`);
    }
    return readRange(path, descriptor, offset, size);
  };
  const namesBytes = section(namesIndex, '.shstrtab', MAX_HEADER_TABLE);
  const names = Buffer.from(namesBytes.buffer, namesBytes.byteOffset, namesBytes.byteLength);
  let bytes: Uint8Array | undefined;
  for (let i = 1; i < count; i++) {
    const nameAt = layout.word(table, i * entrySize);
    const end = names.indexOf(0, nameAt);
    if (nameAt >= names.length || end < 0) throw new InputError(path, `section ${i}`, `failed to get section(${i}) name from ${path}`);
    const name = end - nameAt > LONGEST_BTF_NAME ? '' : names.toString('latin1', nameAt, end);
    if (name !== '.BTF' && name !== '.BTF.ext' && name !== '.BTF.base') continue;
    const type = layout.word(table, i * entrySize + 4);
    if (type !== SHT_PROGBITS) throw new InputError(path, `section ${name}`, `unexpected section type (${type}) of section(${i}, ${name}) from ${path}`);
    const found = section(i, name, MAX_BTF_SIZE);
    const flags = layout.word(table, i * entrySize + (is64 && !layout.isLittle ? 12 : 8));
    // libelf has swapped the header of what claims to be compressed in the other byte order.
    if ((flags & SHF_COMPRESSED) !== 0 && !layout.isLittle) throw new InputError(path, `section ${name}`, 'compressed sections are not supported');
    if (name === '.BTF') bytes = found;
  }
  if (bytes === undefined) throw new InputError(path, '', `failed to find '.BTF' ELF section in ${path}`);
  return { bytes, pointerSize: is64 ? 8 : 4 };
}
