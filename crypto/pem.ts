/**
 * @module crypto/pem
 * PEM armour (RFC 7468, and the header lines of RFC 1421 that encrypted traditional keys have): finds blocks, undoes base64.
 */
import { InputError } from '../isa/errors.ts';

/** One block of a PEM file. */
export interface PEMBlock {
  /** `"CERTIFICATE"`, `"PRIVATE KEY"`, … */
  readonly label: string;
  readonly bytes: Uint8Array;
  /** Header lines, names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Line of the BEGIN mark, from 1. */
  readonly line: number;
}

const BEGIN = '-----BEGIN ', DASHES = '-----', MAX_BLOCKS = 10_000, MAX_TEXT = 1 << 24;

/** Whether a file looks like PEM. */
export function isPEM(bytes: Uint8Array): boolean {
  return new TextDecoder('latin1').decode(bytes.subarray(0, MAX_TEXT)).includes(BEGIN);
}

/**
 * All blocks of a PEM file in order; text between them is ignored.
 * @throws InputError naming file and line for a block that does not end or whose base64 is malformed
 */
export function readPEM(bytes: Uint8Array, file: string): PEMBlock[] {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, MAX_TEXT)), blocks: PEMBlock[] = [];
  for (let at = text.indexOf(BEGIN); at >= 0;) {
    const line = countLines(text, at), place = `line ${line}`, labelEnd = text.indexOf(DASHES, at + BEGIN.length);
    const label = text.slice(at + BEGIN.length, labelEnd), end = labelEnd < 0 ? -1 : text.indexOf(`-----END ${label}-----`, labelEnd);
    if (end < 0) throw new InputError(file, place, 'the file ends inside a PEM block');
    if (blocks.length >= MAX_BLOCKS) throw new InputError(file, place, `more than ${MAX_BLOCKS} PEM blocks`);
    blocks.push(readBlock(label, text.slice(labelEnd + DASHES.length, end), file, line));
    at = text.indexOf(BEGIN, end);
  }
  return blocks;
}

function countLines(text: string, end: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

function readBlock(label: string, body: string, file: string, line: number): PEMBlock {
  const headers = new Map<string, string>(), base64: string[] = [];
  for (const text of body.split(/\r?\n/)) {
    const header = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(text);
    if (header !== null && base64.length === 0) headers.set((header[1] ?? '').toLowerCase(), (header[2] ?? '').trim());
    else if (text.trim() !== '') base64.push(text.replace(/\s+/g, ''));
  }
  const bare = base64.join('');
  if (bare === '' || bare.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(bare)) throw new InputError(file, `line ${line}`, `malformed base64 in ${label}`);
  return { label, bytes: Uint8Array.from(atob(bare), (char) => char.charCodeAt(0)), headers, line };
}

/** Writes a PEM block. */
export function writePEM(label: string, bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return `-----BEGIN ${label}-----\n${btoa(binary).replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`;
}
