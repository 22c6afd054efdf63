/**
 * @module src/cli/replay
 * `bpftwin replay FILE.jsonl[.gz]…`: performs transcripts on a fresh kernel and compares with the recorded answers. Owns
 * options, reading files and the choice of text or JSON; the work is in `src/replay`.
 */
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { createGunzip } from 'node:zlib';
import { DISTRIBUTION_ALGORITHMS, RECORDED_ALGORITHMS } from '../../crypto/algorithms.ts';
import { InputError } from '../../isa/errors.ts';
import type { Tier } from '../../vm/types.ts';
import { nodeEngine } from '../node/engine.ts';
import { loadKernelBTF } from '../node/kernel-btf.ts';
import { KernelTarget } from '../replay/kernel-target.ts';
import { Replay, type ReplaySummary } from '../replay/replay.ts';
import { formatReport } from '../replay/report.ts';

/** What the command line asks for. */
export interface ReplayCommandOptions {
  readonly only?: string | undefined;
  /** Groups and differences printed in full; default 10. */
  readonly show?: number | undefined;
  /** Engine that runs programs; default `auto`. */
  readonly tier?: Tier | undefined;
  /** Raw BTF of the kernel instead of the built-in one. */
  readonly btf?: string | undefined;
  /** Writes the logs of every differing case there, as CASE.OP.got and CASE.OP.want. */
  readonly dump?: string | undefined;
  /** Prints every case that takes longer than this, in milliseconds. */
  readonly slow?: number | undefined;
  /** Profile of the kernel that answered; default `"7.3"`. */
  readonly kernel?: '7.3' | '6.18' | undefined;
  /** Whether that kernel was built with ECDSA; the recorded ones of 7.3.4 were not, unless said otherwise. */
  readonly ecdsa?: boolean | undefined;
  readonly json?: boolean | undefined;
  readonly pretty?: boolean | undefined;
}

const LONGEST_LINE = 256 * 1024 * 1024;

/**
 * Runs the command.
 * @returns the exit status: 0 where everything agreed, 1 where something differs
 * @throws InputError where a file cannot be read or is no transcript
 * @example await replayCommand(['cases.jsonl.gz'], { show: 5 }, process.stdout);
 */
export async function replayCommand(
  files: readonly string[],
  options: ReplayCommandOptions,
  output: { write(text: string): unknown },
): Promise<number> {
  const started = performance.now();
  const summary = await replayFiles(files, options, output);
  if (options.json === true || options.pretty === true) {
    output.write(`${JSON.stringify(summary, undefined, options.pretty === true ? 2 : undefined)}\n`);
  } else {
    output.write(formatReport(summary, options.show ?? 10, (performance.now() - started) / 1000));
  }
  return summary.mismatches.length === 0 ? 0 : 1;
}

/** Performs all transcripts and gives the counts. */
export async function replayFiles(
  files: readonly string[],
  options: ReplayCommandOptions,
  output: { write(text: string): unknown },
): Promise<ReplaySummary> {
  // the same array every time: kernels share what they parse of it
  let btf: Uint8Array | undefined;
  const kernelBTF = (): Uint8Array => (btf ??= loadKernelBTF(options.btf));
  const dump = options.dump;
  if (dump !== undefined) mkdirSync(dump, { recursive: true });
  let caseStarted = performance.now();
  const replay = new Replay({
    createTarget: () => new KernelTarget({
      kernelBTF, algorithms: options.ecdsa === true ? DISTRIBUTION_ALGORITHMS : RECORDED_ALGORITHMS, cpus: 2, profile: options.kernel ?? '7.3',
      engine: nodeEngine(options.tier),
    }),
    only: options.only === undefined ? undefined : regularExpression(options.only),
    onAnswer: (testCase, index, operation, got, differences) => {
      if (dump === undefined || differences.length === 0) return;
      const name = join(dump, `${testCase.case.replace(/[^\w.-]+/g, '_')}.${index}`);
      writeFileSync(`${name}.got`, `${got.ret} ${got.errno}\n${got.log ?? ''}`);
      writeFileSync(`${name}.want`, `${operation.want.ret} ${operation.want.errno}\n${operation.want.log ?? operation.want.logTail ?? ''}`);
    },
    onCase: ({ case: name }) => {
      const now = performance.now();
      if (options.slow !== undefined && now - caseStarted > options.slow) output.write(`${name}: ${Math.round(now - caseStarted)} ms\n`);
      caseStarted = now;
    },
  });
  for (const file of files) {
    replay.open(file);
    let isEmpty = true;
    for await (const line of readLines(file)) {
      isEmpty &&= line.trim() === '';
      replay.line(line);
    }
    if (isEmpty) throw new InputError(file, '', 'an empty file is no transcript');
  }
  return replay.finish();
}

function regularExpression(source: string): RegExp {
  try {
    return new RegExp(source);
  } catch (error) {
    throw new InputError('--only', '', error instanceof Error ? error.message : String(error));
  }
}

/** The lines of a text file, gzipped or not, without holding more than one of them. */
export async function* readLines(file: string): AsyncGenerator<string> {
  const source = createReadStream(file, { highWaterMark: 1 << 20 });
  const stream = file.endsWith('.gz') ? source.pipe(createGunzip({ chunkSize: 1 << 20 })) : source;
  source.on('error', (error) => stream.destroy(error));
  const decoder = new StringDecoder('utf8');
  let rest: string[] = [];
  let length = 0;
  try {
    for await (const chunk of stream) {
      const text = decoder.write(chunk as Buffer);
      let start = 0;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
        rest.push(text.slice(start, end));
        yield rest.length === 1 ? rest[0] ?? '' : rest.join('');
        rest = [];
        length = 0;
        start = end + 1;
      }
      if (start === text.length) continue;
      rest.push(text.slice(start));
      length += text.length - start;
      if (length > LONGEST_LINE) throw new InputError(file, '', 'a line is too long for a transcript');
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(file, '', error instanceof Error ? error.message : String(error));
  }
  if (rest.length > 0) yield rest.join('');
}
