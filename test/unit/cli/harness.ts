/**
 * Runs the command line inside the test, with its output caught.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { latin1 } from '../../../isa/latin1.ts';
import { main } from '../../../src/cli/main.ts';
import type { Surroundings } from '../../../src/cli/io.ts';

export interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Bytes are shown one character each. */
function textOf(text: string | Uint8Array): string {
  return typeof text === 'string' ? text : latin1(text);
}

/** One command line; `options` change what the process looks like. */
export async function bpftwin(argv: readonly string[], options: Partial<Surroundings> = {}): Promise<Answer> {
  let stdout = '';
  let stderr = '';
  const status = await main(argv, {
    stdout: { write: (text) => (stdout += textOf(text)) },
    stderr: { write: (text) => (stderr += textOf(text)) },
    isTerminal: false,
    columns: 80,
    env: {},
    ...options,
  });
  return { status, stdout, stderr };
}

let folder: string | undefined;
let count = 0;

/** A file with these contents, gone with the temporary folder. */
export function temporary(name: string, contents: string | Uint8Array): string {
  folder ??= mkdtempSync(join(tmpdir(), 'bpftwin-test-'));
  const path = join(folder, `${count++}-${name}`);
  writeFileSync(path, contents);
  return path;
}
