/**
 * @module verifier/live_stack_marks
 * What is known of the stack at every instruction of a function as it is called from one place: halves of slots that may be read, must be
 * written, are live. Data only; `live_stack.ts` finds it.
 */
import type { Slab } from './workspace.ts';
import { MAX_BPF_REG, MAX_CALL_FRAMES, MAX_STACK_ARG_SLOTS } from './regtypes.ts';

/** Halves of slots in a frame, and bytes of each. */
export const HALVES = 128, HALF_BYTES = 4;
/** Words of what is known of one instruction and frame: may read, must write, live before; four each. */
export const READ = 0, WRITE = 4, LIVE = 8, MARK_WORDS = 12;
/** Registers and outgoing stack arguments that are tracked, then stack slots. */
export const TRACKED_REGS: number = MAX_BPF_REG + MAX_STACK_ARG_SLOTS;
export const SLOTS = 64;
export const TRACKED: number = TRACKED_REGS + SLOTS;
export const FRAME_POINTER = 10;

/** A function as called from one place at one depth. */
export class Instance {
  readonly callsite: number;
  readonly depth: number;
  readonly subprog: number;
  readonly start: number;
  readonly count: number;
  readonly #slab: Slab;
  /** Marks by frame, then instruction: {@link MARK_WORDS} each for {@link count} of them. */
  readonly frames: (Int32Array | undefined)[] = [];
  analysed = false;

  constructor(callsite: number, depth: number, subprog: number, start: number, count: number, slab: Slab) {
    this.#slab = slab;
    this.callsite = callsite;
    this.depth = depth;
    this.subprog = subprog;
    this.start = start;
    this.count = count;
  }

  /** Marks of `frame`, made on first use. */
  marks(frame: number): Int32Array {
    return (this.frames[frame] ??= this.#slab.i32(this.count * MARK_WORDS));
  }

  /** Adds halves `low` to `high` to a mark. */
  add(frame: number, insn: number, mark: number, low: number, high: number): void {
    const m = this.marks(frame), at = (insn - this.start) * MARK_WORDS + mark;
    for (let h = Math.max(low, 0); h <= high && h < HALVES; h++) m[at + (h >> 5)]! |= 1 << (h & 31);
  }

  addAll(frame: number, insn: number): void {
    const m = this.marks(frame), at = (insn - this.start) * MARK_WORDS + READ;
    for (let i = 0; i < 4; i++) m[at + i] = -1;
  }

  /** Adds to `live` the halves of a frame that are live before an instruction. */
  addLive(insn: number, frame: number, live: Int32Array): void {
    const m = this.frames[frame];
    if (m === undefined) return;
    const at = (insn - this.start) * MARK_WORDS + LIVE;
    for (let i = 0; i < 4; i++) live[i]! |= m[at + i]!;
  }
}

/** Instances that are looked through one by one. */
const FEW = 8;

/** The result, and the question being asked of it. */
export class LiveStack {
  readonly instances: Instance[] = [];
  /** The same by call site and depth, once there are many. */
  #index: Map<number, Instance> | undefined = undefined;
  analyses = 0;
  // The query: instances and call sites by frame.
  readonly byFrame: (Instance | undefined)[] = [];
  readonly callsites: Int32Array;
  curframe = 0;
  insn = 0;

  constructor(slab: Slab) {
    this.callsites = slab.i32(MAX_CALL_FRAMES);
  }

  add(instance: Instance): void {
    const { instances } = this;
    instances.push(instance);
    if (instances.length <= FEW) return;
    const index = (this.#index ??= new Map(instances.map((each) => [each.callsite * MAX_CALL_FRAMES + each.depth, each])));
    index.set(instance.callsite * MAX_CALL_FRAMES + instance.depth, instance);
  }

  /** The instance for a call site (of the outermost frame: the function's start) and a depth. */
  find(callsite: number, depth: number): Instance | undefined {
    if (this.#index !== undefined) return this.#index.get(callsite * MAX_CALL_FRAMES + depth);
    const { instances } = this;
    for (let i = 0; i < instances.length; i++) if (instances[i]!.callsite === callsite && instances[i]!.depth === depth) return instances[i];
    return undefined;
  }
}
