/**
 * @module src/fuzz/oracles/resources
 * What a kernel holds, counted, and whether it holds the same again later: descriptors, ids, objects, keys, memory of kernel and
 * process. The promise is that after a failure at any point, once the process has closed what it opened, nothing is left.
 */
import type { FaultInjector } from '../../../kernel/api.ts';
import type { Kernel } from '../../../kernel/kernel.ts';
import { ENOMEM } from '../../../isa/errno.ts';
import { STACK_LABEL } from '../../../vm/run.ts';
import type { Finding } from '../types.ts';

/** Memory that outlives runs by design: the machine keeps its stacks. */
const KEPT: ReadonlySet<string> = new Set([STACK_LABEL]);
const MOST_NAMED = 8;

/** Counts by kind of thing. */
export type Resources = ReadonlyMap<string, number>;

/** Counts everything that a kernel holds now. */
export function resourcesOf(kernel: Kernel): Resources {
  const counts = new Map<string, number>();
  const add = (what: string, n = 1): void => void counts.set(what, (counts.get(what) ?? 0) + n);
  const { files, maps, programs, btfs, links } = kernel.state;
  for (const { file } of files.list()) add(`descriptor of a ${file.target.kind}`);
  add('map', maps.size);
  add('program', programs.size);
  add('BTF', btfs.values().filter(({ isKernel }) => !isKernel).length);
  add('link', links.size);
  add('link to a key', kernel.keyrings.linkCount);
  add('byte of user space', kernel.state.process.inUse);
  kernel.memory.countLive((label, count) => {
    if (KEPT.has(label) || label.startsWith('user')) return;
    const what = label.startsWith('prog aux ') ? 'prog aux' : label.startsWith('prog ') ? 'prog' : label;
    add(`allocation "${what}"`, count);
  });
  return counts;
}

/** What there is more or less of than before. */
export function compareResources(before: Resources, after: Resources): Finding | undefined {
  if (isSame(before, after)) return undefined;
  const names = [...new Set([...before.keys(), ...after.keys()])].toSorted();
  const changed = names.filter((name) => (before.get(name) ?? 0) !== (after.get(name) ?? 0));
  if (changed.length === 0) return undefined;
  const lines = changed.slice(0, MOST_NAMED).map((name) => `${name}: ${before.get(name) ?? 0} before, ${after.get(name) ?? 0} after`);
  return { oracle: 'resources', trace: changed.slice(0, MOST_NAMED).join(', '), message: `left behind: ${lines.join('; ')}` };
}

/** Kinds of which there are none are as good as kinds that are not there, which {@link compareResources} finds out. */
function isSame(before: Resources, after: Resources): boolean {
  if (before.size !== after.size) return false;
  for (const [name, count] of before) if (after.get(name) !== count) return false;
  return true;
}

/** Which event of which kind fails, counted from 1. */
export interface Fault {
  readonly kind: 'call' | 'memory' | 'fd';
  readonly k: number;
}

/** An injector for one fault, and whether it has struck. */
export interface ArmedFault {
  readonly injector: FaultInjector;
  readonly struck: () => boolean;
}

/** `errno` is what a failing system call answers. */
export function arm({ kind, k }: Fault, errno: number = ENOMEM): ArmedFault {
  let struck = false;
  const strike = (hit: boolean): boolean => {
    struck ||= hit;
    return hit;
  };
  const injector: FaultInjector = kind === 'call'
    ? { systemCall: (count) => (strike(count === k) ? -errno : undefined) }
    : { allocation: (count, what) => what === kind && strike(count === k) };
  return { injector, struck: () => struck };
}
