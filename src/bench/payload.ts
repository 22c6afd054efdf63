/**
 * @module src/bench/payload
 * Light skeletons of an object with as many of its programs as a measurement wants, signed for either contract.
 */
import { sha256 } from '../../crypto/digest.ts';
import { generateLoader } from '../../loader/gen/gen-loader.ts';
import { draftSkeleton, formatSkeleton } from '../../loader/gen/skeleton-text.ts';
import { parseLightSkeleton } from '../../loader/lskel.ts';
import { openObject } from '../../loader/object/open.ts';
import type { LightSkeleton } from '../../loader/skeleton.ts';
import type { Contract } from './admission.ts';
import type { Signer } from './keys.ts';

/** What is made of the object. */
export interface PayloadOptions {
  /** The first so many programs; at least 1. */
  readonly programs: number;
  readonly contract: Contract;
  /** Unsigned without. */
  readonly signer?: Signer;
}

/**
 * The skeleton that libbpf and bpftool of that kernel make of the object.
 * @throws InputError where the object cannot be opened or makes no loader
 */
export function createPayload(bytes: Uint8Array, { programs, contract, signer }: PayloadOptions): LightSkeleton {
  const name = 'payload', opened = openObject(bytes, `${name}.bpf.o`, name);
  const wanted = new Set(opened.programs.filter(({ isSubprogram }) => !isSubprogram).slice(0, programs).map((program) => program.name));
  const object = { ...opened, programs: opened.programs.map((program) => ({ ...program, autoload: program.isSubprogram || wanted.has(program.name) })) };
  const draft = draftSkeleton(object, name);
  const loader = generateLoader(object, { signed: signer !== undefined, ...(contract === '6.18' ? { inLoaderCheck: sha256 } : {}) });
  const parts = contract === '6.18' ? [loader.instructions] : [loader.instructions, loader.metadata];
  const header = formatSkeleton(draft, loader, signer === undefined ? undefined : { signature: signer.sign(parts), exclusiveHash: sha256(loader.instructions) });
  return parseLightSkeleton(new TextEncoder().encode(header), `${name}.lskel.h`);
}
