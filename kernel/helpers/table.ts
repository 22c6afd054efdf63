/**
 * @module kernel/helpers/table
 * All helpers of the instance in one array by helper id, as the machine wants them. Each theme has its own file.
 */
import type { HelperFunction } from '../../vm/types.ts';
import type { KernelState } from '../state.ts';
import { baseHelpers } from './base.ts';
import { mapHelpers } from './maps.ts';
import { packetHelpers } from './packet.ts';
import { syscallHelpers } from './syscall.ts';

/** A helper id with its function. */
export type HelperEntry = readonly [id: number, helper: HelperFunction];

/** Helpers by `BPF_FUNC_*`; holes are helpers that the instance does not have. */
export function createHelpers(kernel: KernelState): readonly (HelperFunction | undefined)[] {
  const table: (HelperFunction | undefined)[] = [];
  for (const [id, helper] of [...mapHelpers(kernel), ...baseHelpers(kernel), ...syscallHelpers(kernel), ...packetHelpers(kernel)]) table[id] = helper;
  return table;
}
