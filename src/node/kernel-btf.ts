/**
 * @module src/node/kernel-btf
 * Where BTF comes from: the asset of the package (Linux 7.3.4, compressed), or a file of the user's: raw BTF, raw BTF compressed with
 * gzip, or an ELF file of either class and byte order with a `.BTF` section. Gives bytes; parsing them is btf/'s.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { findTypeSections, MAX_BTF_SIZE, type ByteSource } from '../../btf/type-sections.ts';
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
    return readTypes(path, sourceOf(path, descriptor));
  } finally {
    closeSync(descriptor);
  }
}

function readTypes(path: string, source: ByteSource): BTFFile {
  const { size } = source;
  const head = source.read(0, Math.min(size, 64));
  if (head[0] === 0x1f && head[1] === 0x8b) return { bytes: unzip(path, source.read(0, limited(path, size))) };
  if (head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46) {
    const { bytes, pointerSize } = findTypeSections(source, head, path);
    return { bytes, pointerSize };
  }
  const magic = (head[0] ?? 0) + (head[1] ?? 0) * 256;
  if (magic === BTF_MAGIC || magic === SWAPPED_BTF_MAGIC) return { bytes: source.read(0, limited(path, size)) };
  throw new InputError(path, 'byte 0', head.length === 0 ? 'the file is empty' : 'neither BTF nor ELF nor gzip');
}

/** Parts of a file are read when they are wanted. A pipe has no size and is read to its end. */
function sourceOf(path: string, descriptor: number): ByteSource {
  const status = fstatSync(descriptor);
  if (status.isFile()) return { size: status.size, read: (offset, length) => readRange(path, descriptor, offset, length) };
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (let count = 1; count > 0; size += count) {
      limited(path, size);
      const chunk = new Uint8Array(1 << 20);
      count = readSync(descriptor, chunk, 0, chunk.length, null);
      chunks.push(chunk.subarray(0, count));
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(path, `byte ${size}`, `cannot be read: ${reasonOf(error)}`);
  }
  const bytes = new Uint8Array(Buffer.concat(chunks));
  return { size, read: (offset, length) => bytes.subarray(offset, offset + length) };
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
