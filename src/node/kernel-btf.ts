/**
 * @module src/node/kernel-btf
 * Where a kernel's BTF comes from: the asset of the package (Linux 7.3.4, compressed), or a file of the user's: raw BTF, raw BTF
 * compressed with gzip, or an ELF file with a `.BTF` section. Gives bytes; parsing them is btf/'s.
 */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { InputError } from '../../isa/errors.ts';
import { BTF_MAGIC } from '../../isa/uapi.ts';

const ASSET = 'vmlinux-7.3.4.btf.gz';
/** The largest BTF that is accepted, bytes: four times the kernel's own limit for one BTF. */
const MAX_BTF_SIZE = 64 * 1024 * 1024;
/** The largest file that is read whole, bytes: a kernel image with debug information has no place here but its BTF does. */
const MAX_HEADER_TABLE = 16 * 1024 * 1024;

const cache = new Map<string, Uint8Array>();

/**
 * The raw BTF of a kernel, read once per path.
 *
 * @param file raw BTF, gzip of it, or ELF; without it the package's own, Linux 7.3.4.
 * @throws {InputError} where the file cannot be read or holds no BTF.
 * @example
 * const kernel = new Kernel({ kernelBTF: () => loadKernelBTF() });
 */
export function loadKernelBTF(file?: string): Uint8Array {
  const path = file ?? findAsset();
  let bytes = cache.get(path);
  if (bytes === undefined) {
    bytes = readBTF(path);
    cache.set(path, bytes);
  }
  return bytes;
}

/** The asset lies beside the package's sources, one or two levels above this module (source tree or `dist`). */
function findAsset(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < 5; level++) {
    const path = join(folder, 'assets', ASSET);
    if (existsSync(path)) return path;
    folder = dirname(folder);
  }
  throw new InputError(ASSET, '', 'the kernel BTF that comes with the package is missing');
}

function readBTF(path: string): Uint8Array {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    throw new InputError(path, '', `cannot be opened: ${reasonOf(error)}`);
  }
  try {
    const size = fstatSync(descriptor).size;
    const head = readRange(path, descriptor, 0, Math.min(size, 64));
    if (head[0] === 0x1f && head[1] === 0x8b) return unzip(path, readRange(path, descriptor, 0, limited(path, size)));
    if (head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46) return readELFSection(path, descriptor, size, head);
    if (head.length >= 2 && (head[0] ?? 0) + (head[1] ?? 0) * 256 === BTF_MAGIC) {
      // sysfs gives BTF files a size; pipes do not, and are read to their end.
      return size > 0 ? readRange(path, descriptor, 0, limited(path, size)) : readFileSync(descriptor);
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

/** Reads section `.BTF` of a 64-bit little-endian ELF file without reading the rest: kernels with debug information are large. */
function readELFSection(path: string, descriptor: number, fileSize: number, head: Uint8Array): Uint8Array {
  if (head.length < 64 || head[4] !== 2 || head[5] !== 1) throw new InputError(path, 'ELF header', 'not a 64-bit little-endian ELF file');
  const header = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const tableOffset = offsetAt(header, 40);
  const entrySize = header.getUint16(58, true);
  const count = header.getUint16(60, true);
  const namesIndex = header.getUint16(62, true);
  if (entrySize < 64 || count === 0 || namesIndex >= count || tableOffset + entrySize * count > fileSize) {
    throw new InputError(path, 'ELF header', 'the section table does not lie in the file');
  }
  if (entrySize * count > MAX_HEADER_TABLE) throw new InputError(path, 'ELF header', 'the section table is too large');
  const tableBytes = readRange(path, descriptor, tableOffset, entrySize * count);
  const table = new DataView(tableBytes.buffer);
  const namesBytes = sectionBytes(path, descriptor, fileSize, table, namesIndex * entrySize, '.shstrtab', MAX_HEADER_TABLE);
  const names = Buffer.from(namesBytes.buffer, namesBytes.byteOffset, namesBytes.byteLength);
  for (let i = 0; i < count; i++) {
    const nameAt = table.getUint32(i * entrySize, true);
    if (names.toString('latin1', nameAt, nameAt + 5) === '.BTF\0') {
      return sectionBytes(path, descriptor, fileSize, table, i * entrySize, '.BTF', MAX_BTF_SIZE);
    }
  }
  throw new InputError(path, '', 'the ELF file has no .BTF section');
}

/** A 64-bit field as a number; beyond 2^53 it lies in no file. */
function offsetAt(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

function sectionBytes(
  path: string, descriptor: number, fileSize: number, table: DataView, at: number, name: string, limit: number,
): Uint8Array {
  const offset = offsetAt(table, at + 24);
  const size = offsetAt(table, at + 32);
  if (offset + size > fileSize || size > limit) throw new InputError(path, `section ${name}`, 'does not lie in the file');
  return readRange(path, descriptor, offset, size);
}
