/**
 * Fixtures for the loader's tests, and small skeletons made to measure.
 */
import { readFileSync } from 'node:fs';
import { parseLightSkeleton } from '../../../loader/lskel.ts';
import type { LightSkeleton } from '../../../loader/skeleton.ts';

/** Every fixture that exists unsigned and signed. */
export const FIXTURES: readonly string[] = [
  'nomap', 'onemap', 'globals', 'programs', 'subprogs', 'mapinmap', 'tailcalls', 'core', 'kfuncs', 'lsm', 'tracing', 'maps', 'runnable', 'most',
];

export function fixturePath(path: string): string {
  return new URL(`../../fixtures/${path}`, import.meta.url).pathname;
}

export function fixtureText(path: string): string {
  return readFileSync(fixturePath(path), 'latin1');
}

export function fixture(path: string): LightSkeleton {
  return parseLightSkeleton(readFileSync(fixturePath(path)), path);
}

/** Parses text as the file `t.h`. */
export function parse(text: string): LightSkeleton {
  return parseLightSkeleton(Uint8Array.from(text, (char) => char.charCodeAt(0) & 0xff), 't.h');
}
