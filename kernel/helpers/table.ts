/**
 * @module kernel/helpers/table
 * All helpers of the instance in one array by helper id, as the machine wants them. Each theme has its own file.
 */
import { BPF_FUNC_cgrp_storage_delete } from '../../isa/uapi.ts';
import type { HelperFunction } from '../../vm/types.ts';
import type { KernelState } from '../state.ts';
import { BASE_HELPERS } from './base.ts';
import { mapHelpers } from './maps.ts';
import { packetHelpers } from './packet.ts';
import { syscallHelpers } from './syscall.ts';

/** A helper id with its function. */
export type HelperEntry = readonly [id: number, helper: HelperFunction];

const THEMES: readonly ((kernel: KernelState) => readonly HelperEntry[])[] = [
  mapHelpers, ...BASE_HELPERS, syscallHelpers, packetHelpers,
];

/** Helpers by `BPF_FUNC_*`; holes are helpers that the instance does not have. */
export function createHelpers(kernel: KernelState): readonly (HelperFunction | undefined)[] {
  const table: (HelperFunction | undefined)[] = [];
  // The room at once: an array that grows by the id is made anew again and again.
  table.length = BPF_FUNC_cgrp_storage_delete + 1;
  for (let i = 0; i < THEMES.length; i++) for (const [id, helper] of THEMES[i]?.(kernel) ?? []) table[id] = helper;
  return table;
}
