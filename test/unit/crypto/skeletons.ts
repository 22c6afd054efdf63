/** The parts of a light skeleton that a signature concerns, read through the loader's own reader. */
import { readFileSync } from 'node:fs';
import { parseLightSkeleton } from '../../../loader/lskel.ts';

export function readLightSkeleton(path: string): { readonly insns: Uint8Array; readonly data: Uint8Array; readonly signature: Uint8Array } {
  const skeleton = parseLightSkeleton(readFileSync(path), path);
  return { insns: skeleton.instructions, data: skeleton.metadata, signature: skeleton.signature?.bytes ?? new Uint8Array(0) };
}
