/**
 * @module kernel/helpers/kfuncs
 * Kernel functions that programs call by BTF id. Owns the dispatch by name; a function that the instance does not have ends the
 * run with a fault that names it.
 */
import { BTF_KIND_FUNC } from '../../isa/uapi.ts';
import type { HelperCall, HelperFunction } from '../../vm/types.ts';
import type { RunContext } from '../run.ts';
import type { KernelState } from '../state.ts';
import { ARENA_KFUNCS } from './kfuncs-arena.ts';
import { CORE_KFUNCS } from './kfuncs-core.ts';
import { GRAPH_KFUNCS } from './kfuncs-graph.ts';
import { STRING_KFUNCS } from './kfuncs-strings.ts';

const BY_NAME: ReadonlyMap<string, (kernel: KernelState) => HelperFunction> = new Map([...CORE_KFUNCS, ...STRING_KFUNCS, ...ARENA_KFUNCS, ...GRAPH_KFUNCS]);

/** Calls the kernel function with that BTF id; `offset` 0 is the kernel's own BTF. */
export function callKfunc(kernel: KernelState, call: HelperCall, btfID: number, offset: number): void {
  const btf = kernel.kernelBTF();
  const name = offset === 0 && btf?.kind(btfID) === BTF_KIND_FUNC ? btf.typeName(btfID) : `#${btfID} of module BTF ${offset}`;
  const make = BY_NAME.get(name);
  if (make === undefined) {
    (call.context as RunContext).notes.push(`kernel function ${name} is not available`);
    call.fault('unknown-helper', btfID);
  }
  make(kernel)(call);
}
