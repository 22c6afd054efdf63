/**
 * @module src/node/fuzz-corpus
 * A corpus in a folder: one file an input, named by its content.
 */
import { existsSync, mkdirSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../isa/errors.ts';
import { nameOf } from '../fuzz/corpus.ts';

const NAME = /^[0-9a-f]{16}\.input$/;
const LARGEST = 1 << 20;

/** The inputs of a folder in the order of their names; none where there is no folder. */
export function loadCorpus(folder: string, read: (file: string, limit: number) => Uint8Array): readonly Uint8Array[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => NAME.test(name)).toSorted();
  return names.map((name) => read(join(folder, name), LARGEST));
}

/** Makes the folder hold exactly these inputs (files of other names stay). */
export function saveCorpus(folder: string, inputs: readonly Uint8Array[]): void {
  try {
    mkdirSync(folder, { recursive: true });
    const wanted = new Set(inputs.map((bytes) => `${nameOf(bytes)}.input`));
    for (const name of readdirSync(folder)) if (NAME.test(name) && !wanted.has(name)) unlinkSync(join(folder, name));
    for (const bytes of inputs) writeFileSync(join(folder, `${nameOf(bytes)}.input`), bytes);
  } catch (error) {
    throw new InputError(folder, '', error instanceof Error ? error.message : String(error));
  }
}
