/**
 * @module vm/wasm/layout
 * What compiled code and the machine agree on: the stack's blocks, the scratch area of a run, the imported functions and the numbers of
 * faults. A run's scratch area is engine memory of the address space: no address of a program leads there.
 */
import { MAX_DEPTH } from '../program.ts';
import type { FaultKind } from '../types.ts';

/** Bytes from one frame's stack to the next: 64 that belong to nobody, 512 of stack, 64 for outgoing arguments 6 to 12. */
export const FRAME_STRIDE = 640;
/** From the start of a block to its `r10`. */
export const FRAME_TOP = 576;

// The scratch area: offsets from its start.

/** Result of a call to the outside, i64 (helpers: only the upper half, at + 4). */
export const SCRATCH_RESULT = 0;
/** Instructions left, i64. */
export const SCRATCH_LEFT = 8;
/** Address of the region that the last slow check found, i64. */
export const SCRATCH_WINDOW = 16;
/** For sizes 1, 2, 4, 8: how many places of the region an access of that size may begin at, i32 each. */
export const SCRATCH_LIMITS = 24;
/** What may_goto has left, for the interpreter. */
export const SCRATCH_GOES = 40;
/** r0…r12, i64 each, for the interpreter. */
export const SCRATCH_REGISTERS = 48;
/** `sp` of the last frame that the running program may have, i32: a call from there is one too many. */
export const SCRATCH_DEEPEST = 152;
/** Word index of the instruction that calls a helper inside the module, i32: where the helper calls out from. */
export const SCRATCH_AT = 156;
/** Where a function that is compiled in parts goes on, i32: part << {@link ENTRY_BITS} | entry; -1 where it is done. */
export const SCRATCH_PART = 160;
export const ENTRY_BITS = 16;
/** Offset of the first frame's block, i32. */
export const SCRATCH_FRAMES = 164;
/** By frame depth: bytes of its stack, i32 each. */
export const SCRATCH_DEPTHS = 168;
/** In the scratch area of a machine's first run, i32: whether `once` may run there. */
export const SCRATCH_BUSY: number = SCRATCH_DEPTHS + 4 * MAX_DEPTH;
/** Values of it: it may; a run is under way, whose stack it is; an entry keeps a result that the next run makes invalid. */
export const FREE = 0;
export const UNDER_WAY = 1;
export const RESULT_KEPT = 2;
/** Bytes of a scratch area. */
export const SCRATCH_BYTES: number = SCRATCH_BUSY + 4;

/** Function indices of the imports. */
export const IMPORT = { helper: 0, kfunc: 1, tail: 2, packet: 3, slow: 4, fault: 5, resume: 6, arena: 7, perCPU: 8, region: 9 } as const;
export const IMPORT_COUNT = 10;

/** Numbers of fault kinds; the size of a faulting access is added, shifted by 8. */
export const FAULT_KINDS: Readonly<Record<FaultKind, number>> = {
  memory: 0, alignment: 1, 'call-depth': 2, budget: 3, 'unknown-helper': 4, 'bad-target': 5, 'bad-instruction': 6, helper: 7,
};

export const FAULT_NAMES: readonly FaultKind[] = [
  'memory', 'alignment', 'call-depth', 'budget', 'unknown-helper', 'bad-target', 'bad-instruction', 'helper',
];

/** Parameters of a compiled function behind r1 to r5: the frame's end, the scratch area; and how many there are. */
export const PARAM_SP = 5;
export const PARAM_BASE = 6;
export const PARAMS = 7;
