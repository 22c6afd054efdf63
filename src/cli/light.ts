/**
 * @module src/cli/light
 * `bpftwin gen skeleton -L OBJ.o [name NAME]`, without any other option: builds call it once for every object, and most of its time would
 * be the start of a command line that knows thirty options. Everything else about the command is `gen.ts`.
 */
import { lightSkeletonText } from '../gen-light.ts';
import { reportFailure } from './failure.ts';
import { possibleCPUs } from './host.ts';
import { createContext, EXIT_OK, readInput, type Surroundings } from './io.ts';
import type { LightCall } from './light-call.ts';
import { Notes } from './notes.ts';
import { nameOfSkeleton } from './skeleton-name.ts';

/** Runs the command; the exit status. */
export function runLight({ file, words }: LightCall, surroundings: Surroundings): number {
  try {
    const name = nameOfSkeleton(file, words);
    const notes = new Notes();
    const text = lightSkeletonText(readInput(file), file, name, { possibleCPUs: possibleCPUs(), note: notes.take });
    notes.write(surroundings);
    surroundings.stdout.write(Buffer.from(text, 'latin1'));
    return EXIT_OK;
  } catch (error) {
    return reportFailure(createContext(surroundings, {}), error);
  }
}
