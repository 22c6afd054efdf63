/**
 * @module src/cli/btf
 * `bpftwin btf dump file FILE [format raw|c] [root_id ID]… [unsorted]`: types as bpftool lists them or as a C header. The words behind the
 * command are bpftool's, and so are its complaints.
 */
import { InputError } from '../../isa/errors.ts';
import { readBTFFile } from '../node/kernel-btf.ts';
import { dumpBTF, type BTFInput } from '../btf.ts';
import { UsageError } from './failure.ts';
import { EXIT_OK, writeLatin1, type Context } from './io.ts';

const MAX_ROOTS = 16;
/** Text is handed on in pieces of about this many characters. */
const CHUNK = 1 << 16;

interface Words {
  readonly file: string;
  readonly format: 'raw' | 'c';
  readonly roots: readonly number[];
  readonly unsorted: boolean;
}

/** Runs the command; `words` are all that follow `dump`. */
export function btfDumpCommand(words: readonly string[], options: { readonly baseBtf?: string }, context: Context): number {
  const { file, format, roots, unsorted } = parseWords(words);
  if (format === 'c' && context.json) throw new UsageError('JSON output for C-syntax dump is not supported');
  const pieces = dumpBTF(read(file), {
    format: context.json ? 'json' : format, unsorted,
    ...(roots.length === 0 ? {} : { roots }),
    ...(options.baseBtf === undefined ? {} : { base: read(options.baseBtf) }),
    warn: (message) => context.stderr.write(`bpftwin: ${file}: ${message}\n`),
  });
  let waiting = '';
  for (const piece of pieces) {
    waiting += piece;
    if (waiting.length < CHUNK) continue;
    writeLatin1(context.stdout, waiting);
    waiting = '';
  }
  writeLatin1(context.stdout, waiting);
  return EXIT_OK;
}

function read(file: string): BTFInput {
  return { ...readBTFFile(file), file };
}

/** bpftool takes any beginning of a word. */
function isWord(given: string | undefined, word: string): boolean {
  return given !== undefined && given !== '' && word.startsWith(given);
}

function parseWords(words: readonly string[]): Words {
  const rest = [...words];
  const source = rest.shift();
  const file = rest.shift();
  if (source === undefined || file === undefined) throw new UsageError(`'dump' needs at least 2 arguments, ${words.length} found`);
  if (isWord(source, 'map') || isWord(source, 'prog') || isWord(source, 'id')) throw new UsageError(`btf dump ${source}: needs a running kernel; types of a file are dumped with 'btf dump file FILE'`);
  if (!isWord(source, 'file')) throw new UsageError(`unrecognized BTF source specifier: '${source}'`);
  if (isWord(rest[0], 'file')) throw new UsageError('merging the types of several files is not supported');
  let format: Words['format'] = 'raw';
  let unsorted = false;
  const roots: number[] = [];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (isWord(word, 'format')) format = formatOf(rest.shift());
    else if (isWord(word, 'root_id')) addRoot(roots, rest.shift());
    else if (isWord(word, 'unsorted')) unsorted = true;
    else throw new UsageError(`unrecognized option: '${word}'`);
  }
  return { file, format, roots, unsorted };
}

function formatOf(word: string | undefined): Words['format'] {
  if (word === undefined) throw new UsageError("expecting value for 'format' option");
  if (word !== 'c' && word !== 'raw') throw new UsageError(`unrecognized format specifier: '${word}', possible values: raw, c`);
  return word;
}

function addRoot(roots: number[], word: string | undefined): void {
  if (roots.length === MAX_ROOTS) throw new UsageError(`only ${MAX_ROOTS} root_id are supported`);
  if (word === undefined) throw new UsageError("expecting value for 'root_id' option");
  // What strtoul takes with base 0, without signs and blanks.
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(word)) throw new UsageError(`can't parse ${word} as root ID`);
  const id = /^0[0-7]+$/.test(word) ? Number.parseInt(word, 8) : Number(word);
  if (roots.includes(id)) throw new UsageError(`duplicate root_id ${id} supplied`);
  if (id > 0xffffffff) throw new InputError(word, '', `invalid root ID: ${id}`);
  roots.push(id);
}
