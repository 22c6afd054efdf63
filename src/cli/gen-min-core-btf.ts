/**
 * @module src/cli/gen-min-core-btf
 * `bpftwin gen min_core_btf INPUT OUTPUT OBJECT…`: the part of a kernel's types that the objects' CO-RE relocations need, as bpftool
 * writes it.
 */
import { writeFileSync } from 'node:fs';
import { InputError } from '../../isa/errors.ts';
import { minCoreBTF } from '../../loader/gen/min-core-btf.ts';
import { readBTFFile } from '../node/kernel-btf.ts';
import { EXIT_OK, readInput, type Context } from './io.ts';

/** Runs the command. */
export function genMinCoreBTFCommand(input: string, output: string, objects: readonly string[], context: Context): number {
  const bytes = minCoreBTF(readBTFFile(input).bytes, input, objects.map((file) => ({ file, bytes: readInput(file) })));
  try {
    writeFileSync(output, bytes);
  } catch (error) {
    throw new InputError(output, '', `error saving btf file: ${error instanceof Error ? error.message : String(error)}`);
  }
  // bpftool prints nothing either; with -j it prints null.
  if (context.json) context.stdout.write('null\n');
  return EXIT_OK;
}
