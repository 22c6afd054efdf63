/**
 * @module test/planted/hooks
 * Module hooks: whatever is imported as `…?fault=ID` is a module graph of its own, in which one file has that fault. So many faulty
 * versions live beside each other and beside the right one in a process.
 */
import { readFile } from 'node:fs/promises';
import type { LoadHook, ResolveHook } from 'node:module';
import { fileURLToPath } from 'node:url';
import { faultNamed, plant } from './faults.ts';

const root = new URL('../../', import.meta.url).href;

export const resolve: ResolveHook = async (specifier, context, next) => {
  const resolved = await next(specifier, context);
  const fault = context.parentURL === undefined ? null : new URL(context.parentURL).searchParams.get('fault');
  if (fault === null || !resolved.url.startsWith(root) || resolved.url.includes('?')) return resolved;
  return { ...resolved, url: `${resolved.url}?fault=${fault}` };
};

export const load: LoadHook = async (url, context, next) => {
  const id = url.startsWith(root) ? new URL(url).searchParams.get('fault') : null;
  if (id === null) return next(url, context);
  const fault = faultNamed(id);
  const path = fileURLToPath(url.slice(0, url.indexOf('?')));
  const source = await readFile(path, 'utf8');
  const isFaulty = url.startsWith(`${root}${fault.file}.js?`);
  return { format: 'module', source: isFaulty ? plant(source, fault) : source, shortCircuit: true };
};
