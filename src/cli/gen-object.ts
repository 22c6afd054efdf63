/**
 * @module src/cli/gen-object
 * `bpftwin gen object OUT.o IN.o…`: links objects into one, as bpftool does.
 */
import { writeFileSync } from 'node:fs';
import { InputError } from '../../isa/errors.ts';
import { linkObjects } from '../../loader/link/linker.ts';
import { EXIT_OK, readInput, type Context } from './io.ts';

/** Runs the command; the output is written only when everything could be linked. */
export function genObjectCommand(output: string, files: readonly string[], context: Context): number {
  const linked = linkObjects(files.map((file) => ({ file, bytes: readInput(file) })));
  try {
    writeFileSync(output, linked);
  } catch (error) {
    throw new InputError(output, '', error instanceof Error ? error.message : 'cannot be written');
  }
  // bpftool prints nothing either; with -j it prints null.
  if (context.json) context.stdout.write('null\n');
  return EXIT_OK;
}
