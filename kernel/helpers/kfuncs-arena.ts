/**
 * @module kernel/helpers/kfuncs-arena
 * Allocation of arena pages by programs. Reproduces the kernel functions of kernel/bpf/arena.c.
 */
import { EINVAL } from '../../isa/errno.ts';
import type { HelperCall, HelperFunction } from '../../vm/types.ts';
import { ArenaMap } from '../maps/arena.ts';
import type { KernelState } from '../state.ts';
import { high, low, pointer, setWords } from './arguments.ts';

/** `NUMA_NO_NODE`; the instance has node 0 only. */
const NO_NODE = -1;

function arenaOf(kernel: KernelState, call: HelperCall): ArenaMap | undefined {
  const map = kernel.mapAt(pointer(call, 1));
  return map instanceof ArenaMap ? map : undefined;
}

function allocate(kernel: KernelState): HelperFunction {
  return (call) => {
    const arena = arenaOf(kernel, call);
    const count = call.u32(3);
    const node = low(call, 4);
    if (arena === undefined || low(call, 5) !== 0 || high(call, 5) !== 0 || count === 0 || (node !== NO_NODE && node !== 0)) return setWords(call, 0, 0);
    const isAnywhere = low(call, 2) === 0 && high(call, 2) === 0;
    // An address without low half is a request for that page, which is not inside any arena that begins above it.
    const lo = isAnywhere || low(call, 2) !== 0 ? arena.allocatePages(low(call, 2), count) : 0;
    setWords(call, lo, lo === 0 ? 0 : Number(BigInt.asIntN(32, arena.userStart >> 32n)));
  };
}

function release(kernel: KernelState): HelperFunction {
  return (call) => {
    if (low(call, 2) === 0 && high(call, 2) === 0) return;
    arenaOf(kernel, call)?.freePages(low(call, 2), call.u32(3));
  };
}

function reserve(kernel: KernelState): HelperFunction {
  return (call) => {
    const arena = arenaOf(kernel, call);
    const count = call.u32(3);
    call.setResult(arena === undefined ? -EINVAL : count === 0 ? 0 : arena.reservePages(low(call, 2), count));
  };
}

/** Kernel functions by name. */
export const ARENA_KFUNCS: ReadonlyMap<string, (kernel: KernelState) => HelperFunction> = new Map([
  ['bpf_arena_alloc_pages', allocate], ['bpf_arena_free_pages', release], ['bpf_arena_reserve_pages', reserve],
]);
