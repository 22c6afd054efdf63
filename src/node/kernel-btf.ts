/**
 * @module src/node/kernel-btf
 * Where BTF comes from: the asset of the package (Linux 7.3.4, compressed), or a file of the user's: raw BTF, raw BTF compressed with
 * gzip, or an ELF file of either class and byte order with a `.BTF` section. Gives bytes; parsing them is btf/'s.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { findTypeSections, MAX_BTF_SIZE } from '../../btf/type-sections.ts';
import { InputError } from '../../isa/errors.ts';
import { BTF_MAGIC } from '../../isa/uapi.ts';
import { packageFile } from './package-file.ts';

/** `BTF_MAGIC` of a machine of the other byte order. */
const SWAPPED_BTF_MAGIC = 0x9feb;
const ASSET = 'assets/vmlinux-7.3.4.btf.gz';

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
    if (head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46) {
      const { bytes, pointerSize } = findTypeSections({ size, read: (offset, length) => readRange(path, descriptor, offset, length) }, head, path);
      return { bytes, pointerSize };
    }
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
