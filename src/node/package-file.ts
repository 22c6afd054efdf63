/**
 * @module src/node/package-file
 * Where files of the package lie: beside its sources, which are the source tree, `dist`, or a build somewhere inside `node_modules`.
 */
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError } from '../../isa/errors.ts';

/** Folders above this module that are looked in. */
const LEVELS = 7;

/**
 * The path of a file of the package (or repository), by its name from the top, such as `assets/payload.bpf.o`.
 *
 * @throws InputError where the name leads out of the package or there is no such file
 */
export function packageFile(name: string): string {
  if (normalize(name).startsWith('..')) throw new InputError(name, '', 'outside the package');
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < LEVELS; level++) {
    const path = join(folder, name);
    if (existsSync(path)) return path;
    folder = dirname(folder);
  }
  throw new InputError(name, '', 'no such file in the package');
}
