/**
 * @module src/fuzz/targets/index
 * What can be fuzzed, by name. A target's modules are loaded when it is asked for.
 */
import { InputError } from '../../../isa/errors.ts';
import type { TargetFactory } from '../types.ts';

interface Entry {
  readonly about: string;
  readonly load: () => Promise<{ readonly createTarget: TargetFactory }>;
}

const TARGETS: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  ['bytecode', { about: 'programs: verified, run on both engines, held against the states that the verifier foresaw', load: () => import('./bytecode.ts') }],
  ['loader', { about: 'changed loader instructions and metadata of real skeletons through signing, admission, verification and run', load: () => import('./loader.ts') }],
  ['syscalls', { about: 'sequences of bpf() calls with changed attributes, descriptors closed and duplicated in between, failing events', load: () => import('./syscalls.ts') }],
  ['signature', { about: 'CMS messages and X.509 certificates', load: () => import('./signature.ts') }],
  ['object', { about: 'ELF objects, BTF, text of skeletons', load: () => import('./object.ts') }],
  ['engines', { about: 'unverified programs: interpreter against compiled code', load: () => import('./engines.ts') }],
]);

/** Names and what they stand for. */
export const TARGET_NAMES: readonly { readonly name: string; readonly about: string }[] = [...TARGETS].map(([name, { about }]) => ({ name, about }));

/** @throws InputError where there is no such target */
export async function loadTarget(name: string): Promise<TargetFactory> {
  const entry = TARGETS.get(name);
  if (entry === undefined) throw new InputError('', 'target', `${name} is none of ${[...TARGETS.keys()].join(', ')}`);
  return (await entry.load()).createTarget;
}
