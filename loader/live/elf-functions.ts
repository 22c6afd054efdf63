/**
 * @module loader/live/elf-functions
 * Where functions lie in a program or a library: offsets in the file, from its symbol tables, as a probe in user space needs them. 64-bit
 * little-endian ELF. Every offset and count is checked against the file. Reproduces the rules of `tools/lib/bpf/elf.c`: which table is
 * read, what counts as a match.
 */
import { latin1UpToNUL } from '../../isa/latin1.ts';

const HEADER = 64;
const SECTION = 64;
const SYMBOL = 24;
const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const STB_WEAK = 2;

/** One function of a file. */
interface FileFunction {
  readonly name: string;
  readonly offset: number;
  readonly isWeak: boolean;
}

/** Why a function has no offset, in words, or its offsets. */
export type Offsets = { readonly offsets: readonly number[] } | { readonly reason: string };

/** A file's sections and symbol tables. */
class ExecutableFile {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isReadable(): boolean {
    const view = this.#view;
    return view.byteLength >= HEADER && view.getUint32(0) === 0x7f454c46 && view.getUint8(4) === 2 && view.getUint8(5) === 1
      && view.getUint16(58, true) === SECTION && this.#long(40) + SECTION * view.getUint16(60, true) <= view.byteLength;
  }

  /** Too large for the file reads as infinity, which no check passes. */
  #long(at: number): number {
    if (at + 8 > this.#view.byteLength) return Infinity;
    const value = Number(this.#view.getBigUint64(at, true));
    return Number.isSafeInteger(value) ? value : Infinity;
  }

  #section(index: number): number {
    return this.#long(40) + SECTION * index;
  }

  get #sectionCount(): number {
    return this.#view.getUint16(60, true);
  }

  /** The functions of the first table of a type; `undefined` where there is no such table. */
  functions(tableType: number): FileFunction[] | undefined {
    const view = this.#view;
    for (let i = 0; i < this.#sectionCount; i++) {
      const header = this.#section(i);
      if (view.getUint32(header + 4, true) !== tableType) continue;
      const [from, size] = [this.#long(header + 24), this.#long(header + 32)];
      const strings = view.getUint32(header + 40, true);
      if (from + size > view.byteLength || strings >= this.#sectionCount) return [];
      return this.#read(from, Math.floor(size / SYMBOL), this.#section(strings));
    }
    return undefined;
  }

  #read(from: number, count: number, strings: number): FileFunction[] {
    const view = this.#view;
    const [stringsAt, stringsSize] = [this.#long(strings + 24), this.#long(strings + 32)];
    if (stringsAt + stringsSize > view.byteLength) return [];
    const found: FileFunction[] = [];
    for (let i = 0; i < count; i++) {
      const at = from + SYMBOL * i;
      const info = view.getUint8(at + 4);
      const section = view.getUint16(at + 6, true);
      const name = view.getUint32(at, true);
      if ((info & 15) !== STT_FUNC || section === 0 || section >= this.#sectionCount || name >= stringsSize) continue;
      const header = this.#section(section);
      // What lies where depends on the section that the symbol is in.
      const offset = this.#long(at + 8) - this.#long(header + 16) + this.#long(header + 24);
      found.push({ name: this.#string(stringsAt + name, stringsAt + stringsSize), offset, isWeak: info >> 4 === STB_WEAK });
    }
    return found;
  }

  #string(from: number, end: number): string {
    return latin1UpToNUL(this.#bytes.subarray(from, Math.min(end, from + 4096)));
  }
}

/**
 * Offset of one function; dynamic symbols come before the others, since a stripped file has no more.
 * @param name versions (`name@LIB`) are not told apart
 */
export function functionOffset(bytes: Uint8Array, name: string): Offsets {
  const file = new ExecutableFile(bytes);
  if (!file.isReadable) return { reason: 'is no 64-bit little-endian ELF file' };
  if (name.includes('@')) return { reason: `'${name}': versions of symbols are not told apart` };
  for (const table of [SHT_DYNSYM, SHT_SYMTAB]) {
    let found: FileFunction | undefined;
    for (const candidate of file.functions(table) ?? []) {
      if (candidate.name !== name || candidate.offset === found?.offset) continue;
      if (found !== undefined && candidate.isWeak) continue;
      if (found !== undefined && !found.isWeak) return { reason: `ambiguous match for '${name}'` };
      found = candidate;
    }
    if (found !== undefined && found.offset > 0 && Number.isFinite(found.offset)) return { offsets: [found.offset] };
  }
  return { reason: `failed to find symbol '${name}'` };
}

/** Offsets of the functions that a pattern names; the table of all symbols comes first. */
export function functionOffsets(bytes: Uint8Array, pattern: string): Offsets {
  const file = new ExecutableFile(bytes);
  if (!file.isReadable) return { reason: 'is no 64-bit little-endian ELF file' };
  for (const table of [SHT_SYMTAB, SHT_DYNSYM]) {
    const offsets = (file.functions(table) ?? []).filter(({ name, offset }) => Number.isFinite(offset) && matchesPattern(name, pattern)).map(({ offset }) => offset);
    if (offsets.length > 0) return { offsets };
  }
  return { reason: `failed to find symbols for pattern '${pattern}'` };
}

/**
 * True where a name matches a pattern of `*` (any text) and `?` (one character).
 * @example matchesPattern('do_unlinkat', 'do_*at') // true
 */
export function matchesPattern(name: string, pattern: string): boolean {
  let [at, wanted, star, retry] = [0, 0, -1, 0];
  while (at < name.length) {
    if (pattern[wanted] === '*') {
      star = wanted++;
      retry = at;
    } else if (wanted < pattern.length && (pattern[wanted] === '?' || pattern[wanted] === name[at])) {
      at++;
      wanted++;
    } else if (star >= 0) {
      // The star takes one character more.
      wanted = star + 1;
      at = ++retry;
    } else {
      return false;
    }
  }
  while (pattern[wanted] === '*') wanted++;
  return wanted === pattern.length;
}
