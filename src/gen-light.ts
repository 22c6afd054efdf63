/**
 * @module src/gen-light
 * The text of a light skeleton, without anything that only other forms need: `gen skeleton -L` starts a process for every object, and
 * loading modules is most of its time. Who signs brings the cryptography. `src/gen.ts` has the public functions.
 */
import { generateLoader, type GeneratedLoader, type GenLoaderOptions } from '../loader/gen/gen-loader.ts';
import { draftSkeleton, formatSkeleton, type LoaderSignature } from '../loader/gen/skeleton-text.ts';
import { openNoting } from '../loader/object/open.ts';

/** What of the machine the generator needs to be told, and who is told of what is left out. */
export type MachineFacts = Pick<GenLoaderOptions, 'possibleCPUs' | 'configuration' | 'kernelVersion' | 'kallsyms' | 'note'>;

/**
 * The header.
 * @param machine facts of the machine; `note` gets what libbpf says although it succeeds
 * @param sign signs the loader; without it the skeleton is unsigned
 * @throws InputError with file, section and libbpf's reason
 */
export function lightSkeletonText(bytes: Uint8Array, file: string, name: string, machine: MachineFacts, sign?: (loader: GeneratedLoader) => LoaderSignature): string {
  const object = openNoting(bytes, file, name, machine.note);
  const draft = draftSkeleton(object, name);
  const loader = generateLoader(object, { signed: sign !== undefined, ...machine });
  return sign === undefined ? formatSkeleton(draft, loader) : formatSkeleton(draft, loader, sign(loader));
}
