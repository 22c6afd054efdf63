/**
 * @module src/cli/sources
 * Where the source of an object may lie: beside the object, in the folder `src` beside its own, or in the current folder. The verifier
 * names files without their folder.
 */
import { basename, dirname, join } from 'node:path';
import { InputError } from '../../isa/errors.ts';
import type { SourceFinder } from '../veristat/explain.ts';
import { readInput } from './io.ts';

const MAX_SOURCE = 16 * 1024 * 1024;

/** Finds the sources of one object; each is read once. */
export function createSourceFinder(object: string): SourceFinder {
  const found = new Map<string, readonly string[] | undefined>();
  const folders = [dirname(object), join(dirname(object), 'src'), join(dirname(object), '..', 'src'), '.'];
  return (name) => {
    // Whatever the object calls it, nothing outside of these folders is read.
    const file = basename(name);
    if (!found.has(file)) found.set(file, folders.map((folder) => readLines(join(folder, file))).find((lines) => lines !== undefined));
    return found.get(file);
  };
}

function readLines(file: string): readonly string[] | undefined {
  try {
    return new TextDecoder().decode(readInput(file, MAX_SOURCE)).split(/\r?\n/);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
