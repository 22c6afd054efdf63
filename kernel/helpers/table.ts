/**
 * @module kernel/helpers/table
 * All helpers of the instance in one array by helper id, as the machine wants them. Each theme has its own file.
 */
import { BPF_FUNC_cgrp_storage_delete } from '../../isa/uapi.ts';
import type { HelperCall, HelperFunction } from '../../vm/types.ts';
import type { RunContext } from '../run.ts';
import type { KernelState } from '../state.ts';
import { BASE_HELPERS } from './base.ts';
import { mapHelpers } from './maps.ts';
import { packetHelpers } from './packet.ts';
import { syscallHelpers } from './syscall.ts';

/** A helper id with its function. */
export type HelperEntry = readonly [id: number, helper: HelperFunction];

type Theme = (kernel: KernelState) => readonly HelperEntry[];

const THEMES: readonly Theme[] = [
  mapHelpers, ...BASE_HELPERS, syscallHelpers, packetHelpers,
];

/** Helpers by `BPF_FUNC_*`; holes are helpers that the instance does not have. */
export type HelperTable = (HelperFunction | undefined)[];

/** All helpers of a kernel. */
export function createHelpers(kernel: KernelState): HelperTable {
  const table = Array.from<HelperFunction | undefined>({ length: BPF_FUNC_cgrp_storage_delete + 1 });
  for (const theme of THEMES) for (const [id, helper] of theme(kernel)) table[id] = helper;
  return table;
}

/** What stands in each table of {@link lateHelpers} at first, the same for all kernels; made with the first one. */
let first: HelperTable | undefined;

/** As {@link createHelpers}, for runs of the kernel: those of a theme are made when the first of them is called. Most kernels call few. */
export function lateHelpers(kernel: KernelState): HelperTable {
  if (first === undefined) {
    first = createHelpers(kernel);
    for (const theme of THEMES) for (const [id] of theme(kernel)) first[id] = (call) => makeAndCall(theme, id, call);
  }
  return first.slice();
}

function makeAndCall(theme: Theme, wanted: number, call: HelperCall): void {
  const { kernel } = call.context as RunContext;
  const table = kernel.runner!.helpers;
  for (const [id, helper] of theme(kernel)) table[id] = helper;
  table[wanted]!(call);
}
