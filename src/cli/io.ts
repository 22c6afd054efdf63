/**
 * @module src/cli/io
 * What every command needs of its surroundings: where output goes and in which form, how files are read, how failures end the
 * process. Owns no command. Exit statuses: 0 accepted, 1 rejected or different, 2 bad usage or unreadable input, 70 a bug.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { InputError } from '../../isa/errors.ts';
import { latin1Bytes } from '../../isa/latin1.ts';

export const EXIT_OK = 0;
export const EXIT_REJECTED = 1;
export const EXIT_USAGE = 2;
export const EXIT_BUG = 70;

/** A stream that text goes to, as UTF-8; bytes go there as they are. */
export interface TextSink {
  write(text: string | Uint8Array): unknown;
}

/** Writes a text of one character a byte. */
export function writeLatin1(sink: TextSink, text: string): void {
  sink.write(/[^\0-\x7f]/.test(text) ? latin1Bytes(text) : text);
}

/** The process around a command; tests give their own. */
export interface Surroundings {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  /** Standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Characters in a line of the terminal. */
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** bpftool's options, which every command takes. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly pretty?: boolean;
  readonly debug?: boolean;
}

/** What a command is given. */
export interface Context extends Surroundings {
  /** `-j` or `-p`. */
  readonly json: boolean;
  readonly pretty: boolean;
  readonly debug: boolean;
  /** Tables and colours; false for pipes, for JSON and under `NO_COLOR`. */
  readonly colours: boolean;
}

/** The context of one invocation. */
export function createContext(surroundings: Surroundings, options: GlobalOptions): Context {
  const json = options.json === true || options.pretty === true;
  // https://no-color.org: any value that is not empty.
  const noColour = (surroundings.env['NO_COLOR'] ?? '') !== '' || surroundings.env['TERM'] === 'dumb';
  return {
    ...surroundings,
    json,
    pretty: options.pretty === true,
    debug: options.debug === true,
    colours: surroundings.isTerminal && !noColour && !json,
  };
}

/** Writes a value as JSON: one line, or indented with `-p`. 64-bit numbers that a double cannot hold become strings. */
export function writeJSON(context: Context, value: unknown): void {
  const text = JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? bigIntToJSON(item) : item), context.pretty ? 4 : undefined);
  context.stdout.write(`${text}\n`);
}

function bigIntToJSON(value: bigint): number | string {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : String(value);
}

/** Largest input, in bytes: four characters a byte of the largest metadata that can be signed, twice over. */
const MAX_INPUT = 256 * 1024 * 1024;

/**
 * Reads a whole file.
 * @throws InputError that names it, where it cannot be read or is larger than `limit` bytes
 */
export function readInput(file: string, limit: number = MAX_INPUT): Uint8Array {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    throw new InputError(file, '', reasonOf(error));
  }
  try {
    return readAll(fd, file, limit);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(file, '', reasonOf(error));
  } finally {
    closeSync(fd);
  }
}

function readAll(fd: number, file: string, limit: number): Uint8Array {
  const { size } = fstatSync(fd);
  if (size > limit) throw new InputError(file, '', `${size} bytes, more than the ${limit} that are read`);
  const chunks: Uint8Array[] = [];
  let total = 0;
  // The size is only a hint: a pipe has none, and a file may grow.
  for (let want = Math.max(size + 1, 65_536); ; want = 1 << 20) {
    const chunk = new Uint8Array(want);
    const count = readSync(fd, chunk, 0, want, null);
    if (count === 0) break;
    total += count;
    if (total > limit) throw new InputError(file, '', `more than the ${limit} bytes that are read`);
    chunks.push(chunk.subarray(0, count));
  }
  if (chunks.length === 1 && chunks[0] !== undefined) return chunks[0];
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file', EACCES: 'permission denied', EISDIR: 'is a directory', ENOTDIR: 'not a directory', ELOOP: 'too many symbolic links',
  EMFILE: 'too many open files', ENAMETOOLONG: 'file name too long',
};

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return REASONS[code] ?? (error instanceof Error ? error.message : String(error));
}
