/**
 * @module btf/check
 * `BPF_BTF_LOAD`'s judgement of a BTF from user space: header, sections, types one by one, references, chains, special
 * fields. Reproduces `btf_parse` of kernel/bpf/btf.c: order of checks, limits, error numbers and log text. Does not own
 * user memory, log buffers, ids or descriptors (kernel room).
 */
import { E2BIG, EINVAL, ELOOP, ENOTSUPP } from '../isa/errno.ts';
import { BTF_MAGIC, BTF_MAX_NAME_OFFSET, BTF_VERSION } from '../isa/uapi.ts';
import { BTF, BTF_HEADER_SIZE, type BTFHeader, isModifierKind, readBTFHeader, wordsOf } from './btf.ts';
import { type BTFLogSink, CheckEnv } from './check_env.ts';
import { checkAllMetas } from './check_meta.ts';
import { checkAllTypes } from './check_resolve.ts';
import { checkStructRecords } from './record.ts';

export type { BTFLogSink } from './check_env.ts';

/** `BTF_MAX_SIZE`: larger BTF is `E2BIG` before a byte of it is read. */
export const BTF_MAX_SIZE: number = 16 * 1024 * 1024;
const MAX_CHAIN = 32;

/** What the check may need from outside. */
export interface BTFCheckOptions {
  /** Receives log text; leave out at log level 0. */
  readonly log?: BTFLogSink | undefined;
  /** The kernel's own BTF, asked for where map or object fields point to kernel types. */
  readonly kernelBTF?: (() => BTF | undefined) | undefined;
}

/** The verdict: `errno` is 0 with a BTF, or positive without. */
export type BTFCheckResult =
  | { readonly errno: 0; readonly btf: BTF }
  | { readonly errno: number; readonly btf: undefined };

/**
 * Judges BTF as `BPF_BTF_LOAD` does, in time and memory linear in its size.
 *
 * @example
 * const log: string[] = [];
 * const { errno, btf } = checkBTF(bytes, { log: { write: (text) => log.push(text) } });
 */
export function checkBTF(bytes: Uint8Array, options: BTFCheckOptions = {}): BTFCheckResult {
  const refuse = (errno: number): BTFCheckResult => ({ errno, btf: undefined });
  if (bytes.length > BTF_MAX_SIZE) return refuse(E2BIG);
  const log = options.log;
  const header = checkHeader(bytes, log);
  if (typeof header === 'number') return refuse(-header);

  const body = header.headerLength;
  const strings = bytes.subarray(body + header.stringOffset, body + header.stringOffset + header.stringLength);
  const problem = stringSectionProblem(bytes, header, strings) ?? layoutProblem(bytes, header) ?? typeSectionProblem(header);
  if (problem !== undefined) {
    log?.write(problem);
    return refuse(EINVAL);
  }

  const words = wordsOf(bytes, body + header.typeOffset, header.typeLength);
  const env = new CheckEnv(words, strings, log);
  let result = checkAllMetas(env, header.typeLength);
  if (result === 0) result = checkAllTypes(env);
  if (result === 0) result = checkModifierChains(env);
  if (result !== 0) return refuse(-result);

  const btf = new BTF(bytes, header, words, env.offsets.slice(0, env.typeCount - 1), {});
  result = checkStructRecords(btf, options.kernelBTF ?? ((): undefined => undefined));
  return result === 0 ? { errno: 0, btf } : refuse(-result);
}

/** The header as the kernel copies it: what lies behind `hdr_len` reads as zero. `-errno` where it is refused. */
function checkHeader(bytes: Uint8Array, log: BTFLogSink | undefined): BTFHeader | number {
  const refuse = (message: string, errno: number): number => {
    log?.write(message);
    return -errno;
  };
  const size = bytes.length;
  if (size < 8) return refuse('hdr_len not found', EINVAL);
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  const headerLength = view.getUint32(4, true);
  if (size < headerLength) return refuse('btf_header not found', EINVAL);
  for (let i = BTF_HEADER_SIZE; i < headerLength; i++) {
    if (bytes[i] !== 0) return refuse('Unsupported btf_header', E2BIG);
  }
  const copy = new Uint8Array(BTF_HEADER_SIZE);
  copy.set(bytes.subarray(0, Math.min(headerLength, BTF_HEADER_SIZE)));
  const header = readCopiedHeader(copy);
  // The kernel keeps judging by the copied length, which a header shorter than 8 bytes cuts off too.
  logHeader(header, size, log);
  if (header.magic !== BTF_MAGIC) return refuse('Invalid magic', EINVAL);
  if (header.version !== BTF_VERSION) return refuse('Unsupported version', ENOTSUPP);
  if (header.flags !== 0) return refuse('Unsupported flags', ENOTSUPP);
  if (size === header.headerLength) return refuse('No data', EINVAL);
  const problem = sectionProblem(header, size);
  return problem === undefined ? header : refuse(problem, EINVAL);
}

function readCopiedHeader(copy: Uint8Array): BTFHeader {
  const header = readBTFHeader(copy);
  const view = new DataView(copy.buffer);
  if (header === undefined) throw new RangeError('a header copy has 32 bytes');
  return { ...header, layoutOffset: view.getUint32(24, true), layoutLength: view.getUint32(28, true) };
}

function hasLayout(header: BTFHeader): boolean {
  return header.headerLength >= BTF_HEADER_SIZE;
}

function logHeader(header: BTFHeader, size: number, log: BTFLogSink | undefined): void {
  if (log === undefined) return;
  log.write(`magic: 0x${header.magic.toString(16)}\n`);
  log.write(`version: ${header.version}\n`);
  log.write(`flags: 0x${header.flags.toString(16)}\n`);
  log.write(`hdr_len: ${header.headerLength}\n`);
  log.write(`type_off: ${header.typeOffset}\n`);
  log.write(`type_len: ${header.typeLength}\n`);
  log.write(`str_off: ${header.stringOffset}\n`);
  log.write(`str_len: ${header.stringLength}\n`);
  if (hasLayout(header) && size >= header.headerLength) {
    log.write(`layout_off: ${header.layoutOffset}\n`);
    log.write(`layout_len: ${header.layoutLength}\n`);
  }
  log.write(`btf_total_size: ${size}\n`);
}

/** Sections must follow each other without gap or overlap and fill the rest. */
function sectionProblem(header: BTFHeader, size: number): string | undefined {
  const sections: [offset: number, length: number][] = [
    [header.typeOffset, header.typeLength],
    [header.stringOffset, header.stringLength],
  ];
  if (hasLayout(header) && header.layoutLength !== 0) sections.push([header.layoutOffset, header.layoutLength]);
  // The kernel compares with 32-bit differences.
  sections.sort((a, b) => ((a[0] - b[0]) | 0) || ((a[1] - b[1]) | 0));
  const expected = size - header.headerLength;
  let total = 0;
  for (const [offset, length] of sections) {
    if (expected < offset) return 'Invalid section offset';
    if (total < offset) return 'Unsupported section found';
    if (total > offset) return 'Section overlap found';
    if (expected - total < length) return 'Total section length too long';
    total += length;
  }
  return expected === total ? undefined : 'Unsupported section found';
}

function stringSectionProblem(bytes: Uint8Array, header: BTFHeader, strings: Uint8Array): string | undefined {
  const end = header.headerLength + header.stringOffset + header.stringLength;
  if (!hasLayout(header) && end !== bytes.length) return 'String section is not at the end';
  const length = strings.length;
  const isValid = length > 0 && length - 1 <= BTF_MAX_NAME_OFFSET && strings[length - 1] === 0 && strings[0] === 0;
  return isValid ? undefined : 'Invalid string section';
}

function layoutProblem(bytes: Uint8Array, header: BTFHeader): string | undefined {
  if (!hasLayout(header) || header.layoutLength === 0) return undefined;
  if (header.layoutOffset % 4 !== 0) return 'Unaligned layout_off';
  if (header.layoutLength < 4) return 'Layout section is too small';
  if (header.layoutLength % 4 !== 0) return 'layout_len is not multiple of 4';
  return header.headerLength + header.layoutOffset + header.layoutLength > bytes.length ? 'Layout section is too big' : undefined;
}

function typeSectionProblem(header: BTFHeader): string | undefined {
  if (header.typeOffset % 4 !== 0) return 'Unaligned type_off';
  return header.typeLength === 0 ? 'No type found' : undefined;
}

/** No chain of modifiers may be longer than 32 or lead back into itself. */
function checkModifierChains(env: CheckEnv): number {
  let good = 0;
  for (let id = 1; id < env.typeCount; id++) {
    if (!isModifierKind(env.kind(id))) continue;
    let current = id;
    for (let left = MAX_CHAIN; isModifierKind(env.kind(current)); left--) {
      if (left === 0) {
        env.write('Max chain length or cycle detected');
        return -ELOOP;
      }
      if (current <= good) break;
      current = env.word((env.at(current) ?? 0) + 2);
      if (env.kind(current) < 0) return -EINVAL;
    }
    good = id;
  }
  return 0;
}
