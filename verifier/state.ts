/**
 * @module verifier/state
 * Layout of registers, stack slots, frames and states in 32-bit words, and the pool that saved states live in. Owns where
 * things are and how they are copied; what they mean is in the checks. Mirrors `struct bpf_reg_state`, `bpf_stack_state`,
 * `bpf_func_state`, `bpf_verifier_state` (include/linux/bpf_verifier.h).
 *
 * The current state lives in one fixed "hot" array in which every frame has room for a full stack; saved states are packed
 * into pages, only as long as they need to be. Both have the same layout inside a frame, so code that takes `(words,
 * offset)` works on either. Nothing is allocated while instructions are checked: blocks and state objects are recycled.
 */
import { BPF_REG_SIZE, MAX_BPF_REG, MAX_BPF_STACK, MAX_CALL_FRAMES, MAX_STACK_ARG_SLOTS } from './regtypes.ts';

// A register.
export const REG_TYPE = 0;
/** Constant offset of a pointer, or distance between linked scalars. */
export const REG_DELTA = 1;
/** By kind: packet range, frame number, map index, BTF index, memory size, dynptr type, subprogram, IRQ class. */
export const REG_A = 2;
/** By kind: BTF type id, "first slot" of a dynptr, iterator's BTF type id. */
export const REG_B = 3;
/** Iterator: state in bits 0-1, depth above. */
export const REG_C = 4;
/** Ten words: tristate number, 64-bit range, 32-bit range (see scalar.ts). */
export const REG_SCALAR = 5;
export const REG_VAR_LO = 5;
export const REG_VAR_HI = 6;
export const REG_MASK_LO = 7;
export const REG_MASK_HI = 8;
export const REG_R64 = 9;
export const REG_R32 = 13;
export const REG_ID = 15;
export const REG_PARENT_ID = 16;
export const REG_MAP_UID = 17;
export const REG_PRECISE = 18;
export const REG_WORDS = 20;

/** Bits of an id that say "this scalar is another one plus delta". */
export const BPF_ADD_CONST64: number = 1 << 31;
export const BPF_ADD_CONST32: number = 1 << 30;
export const BPF_ADD_CONST: number = BPF_ADD_CONST64 | BPF_ADD_CONST32;

// A stack slot: a register and eight bytes of slot types.
export const SLOT_TYPES = 20;
export const SLOT_WORDS = 22;
export const STACK_SLOTS: number = MAX_BPF_STACK / BPF_REG_SIZE;

// enum bpf_stack_slot_type
export const STACK_INVALID = 0;
export const STACK_SPILL = 1;
export const STACK_MISC = 2;
export const STACK_ZERO = 3;
export const STACK_DYNPTR = 4;
export const STACK_ITER = 5;
export const STACK_IRQ_FLAG = 6;
export const STACK_POISON = 7;

// A frame.
export const F_CALLSITE = 0;
export const F_FRAMENO = 1;
export const F_SUBPROG = 2;
export const F_ASYNC_ENTRY_CNT = 3;
export const F_RET_MIN = 4;
export const F_RET_MAX = 5;
export const F_RET_32BIT = 6;
export const F_FLAGS = 7;
export const F_CALLBACK_DEPTH = 8;
export const F_INSNS_SUBTOTAL = 9;
export const F_ALLOCATED_STACK = 10;
export const F_OUT_STACK_ARGS = 11;
export const F_DIAG_ID = 12;
export const F_REGS = 14;
export const F_STACK: number = F_REGS + MAX_BPF_REG * REG_WORDS;
/** Words of a frame without stack and stack arguments. */
export const FRAME_FIXED_WORDS: number = F_STACK;
/** Where outgoing stack arguments are in a hot frame: behind a full stack. */
const HOT_STACK_ARGS: number = F_STACK + STACK_SLOTS * SLOT_WORDS;
const HOT_FRAME_WORDS: number = HOT_STACK_ARGS + MAX_STACK_ARG_SLOTS * REG_WORDS;

// Bits of F_FLAGS.
export const FF_IN_CALLBACK = 1;
export const FF_IN_ASYNC_CALLBACK = 2;
export const FF_IN_EXCEPTION_CALLBACK = 4;
export const FF_NO_STACK_ARG_LOAD = 8;

// A reference: type, id, instruction, parent id or lock pointer key.
export const REF_TYPE = 0;
export const REF_ID = 1;
export const REF_INSN = 2;
export const REF_PARENT_OR_PTR = 3;
export const REF_WORDS = 4;
export const REF_TYPE_PTR = 2;
export const REF_TYPE_IRQ = 4;
export const REF_TYPE_LOCK = 8;
export const REF_TYPE_RES_LOCK = 16;
export const REF_TYPE_RES_LOCK_IRQ = 32;
export const REF_TYPE_LOCK_MASK: number = REF_TYPE_LOCK | REF_TYPE_RES_LOCK | REF_TYPE_RES_LOCK_IRQ;

// A jump history entry.
export const HIST_IDX = 0;
export const HIST_PREV_IDX = 1;
/** `INSN_F_*` in bits 0-3, frame in 4-7, slot in 8-13. */
export const HIST_FLAGS = 2;
export const HIST_LINKED = 3;
export const HIST_WORDS = 5;
export const INSN_F_STACK_ACCESS = 1;
export const INSN_F_DST_REG_STACK = 2;
export const INSN_F_SRC_REG_STACK = 4;
export const INSN_F_STACK_ARG_ACCESS = 8;

const NO_WORDS: Int32Array = new Int32Array(0);
const NO_BYTES: Uint8Array = new Uint8Array(0);

/** A piece of a page. */
interface Block {
  readonly w: Int32Array;
  readonly b: Uint8Array;
  readonly base: number;
  /** Its words as an array of their own, made when first wanted: making one costs more than copying. */
  view: Int32Array | undefined;
}

/**
 * A state: where its words are and the scalars that belong to the whole. The words at `base` are: references, then the frames
 * (`frameAt[i]`, absolute), then the jump history.
 */
export class VState {
  w: Int32Array = NO_WORDS;
  b: Uint8Array = NO_BYTES;
  base = 0;
  /** Words of the block, 0 for the hot state. */
  words = 0;
  block: Block | undefined = undefined;
  readonly frameAt: Int32Array = new Int32Array(MAX_CALL_FRAMES);
  refsAt = 0;
  hist: Int32Array = NO_WORDS;
  histAt = 0;
  histCount = 0;

  parent: VState | undefined = undefined;
  equalState: VState | undefined = undefined;
  branches = 0;
  insnIdx = 0;
  curframe = 0;
  acquiredRefs = 0;
  activeLocks = 0;
  activePreemptLocks = 0;
  activeIRQID = 0;
  activeLockID = 0;
  activeLockPtr = 0;
  activeRCULocks = 0;
  speculative = false;
  inSleepable = false;
  firstInsnIdx = 0;
  lastInsnIdx = 0;
  dfsDepth = 0;
  callbackUnrollDepth = 0;
  mayGotoDepth = 0;

  // Explored-state list node.
  missCount = 0;
  hitCount = 0;
  inFreeList = false;
  /** The next older checkpoint of the same bucket. */
  next: VState | undefined = undefined;
  isHot = false;

  // While waiting to be explored: where to go on, where it came from, how long log and event history were.
  queuedInsn = 0;
  queuedPrev = 0;
  queuedLogPos = 0;
  queuedDiagPos = 0;
}

/** Offset of the current frame. */
export function curFrame(st: VState): number {
  return st.frameAt[st.curframe]!;
}

/** Offset of register `regno` of a frame. */
export function regAt(frame: number, regno: number): number {
  return frame + F_REGS + regno * REG_WORDS;
}

/** Offset of stack slot `spi` of a frame. */
export function slotAt(frame: number, spi: number): number {
  return frame + F_STACK + spi * SLOT_WORDS;
}

/** Offset of outgoing stack argument `slot`. */
export function stackArgAt(st: VState, frame: number, slot: number): number {
  const start = st.isHot ? HOT_STACK_ARGS : F_STACK + (st.w[frame + F_ALLOCATED_STACK]! >> 3) * SLOT_WORDS;
  return frame + start + slot * REG_WORDS;
}

/** Slot index of a stack offset: -1…-8 is 0. */
export function spiOf(off: number): number {
  return ((-off - 1) / BPF_REG_SIZE) | 0;
}

/** The instruction at which `frame` of a state stands (`bpf_frame_insn_idx`). */
export function frameInsnIdx(st: VState, frame: number): number {
  return frame === st.curframe ? st.insnIdx : st.w[st.frameAt[frame + 1]! + F_CALLSITE]!;
}

const SCRATCH_REGS = 16;
const HOT_REFS = 4096;
const HOT_WORDS: number = SCRATCH_REGS * REG_WORDS + HOT_REFS * REF_WORDS + MAX_CALL_FRAMES * HOT_FRAME_WORDS;
/** Pages double from the first to the largest: most programs need a small one only. */
const FIRST_PAGE_WORDS: number = 1 << 14;
const LARGEST_PAGE_WORDS: number = 1 << 18;
/** Words of the smallest block, as a power of two; size classes are multiples. */
const GRAIN_SHIFT = 6;

/** The current state's memory and the pages of saved states. One per load. */
export class StatePool {
  /** The hot words: scratch registers, then the current state. */
  readonly w: Int32Array = new Int32Array(HOT_WORDS);
  readonly b: Uint8Array = new Uint8Array(this.w.buffer);
  readonly current: VState = new VState();
  #pages: Int32Array[] = [];
  #pageBytes: Uint8Array[] = [];
  #pageWords: number = FIRST_PAGE_WORDS / 2;
  #pageUsed: number = FIRST_PAGE_WORDS / 2;
  #freeBlocks: Block[][] = [];
  /** The second page of an earlier load: one in sixty small programs needs it, and it costs more to make than many of them to verify. */
  #second: Int32Array | undefined;
  /** A block was larger than the first page. */
  #hasLargeBlocks = false;
  /** By frame and slots of its stack: the hot words of a frame as an array of their own. */
  readonly #hotFrames: (Int32Array | undefined)[] = Array.from({ length: MAX_CALL_FRAMES * (STACK_SLOTS + 1) }, () => undefined);
  /** All states that were made, and those of them that are not in use. */
  readonly #states: VState[] = [];
  #freeStates: VState[] = [];
  /** Words in live blocks. */
  liveWords = 0;

  constructor() {
    const st = this.current;
    st.w = this.w;
    st.b = this.b;
    st.isHot = true;
    st.refsAt = SCRATCH_REGS * REG_WORDS;
    const frames = st.refsAt + HOT_REFS * REF_WORDS;
    for (let i = 0; i < MAX_CALL_FRAMES; i++) st.frameAt[i] = frames + i * HOT_FRAME_WORDS;
    st.hist = new Int32Array(256 * HIST_WORDS);
  }

  /**
   * Makes the pool ready for another load: no state is alive, the first page and at most `kept` state objects stay. What the words held stays
   * too: whoever begins a frame or grows a stack writes all of it.
   */
  reset(kept: number): void {
    const st = this.current;
    copyScalars(st, EMPTY_STATE);
    st.histCount = 0;
    this.#freeBlocks = [];
    this.liveWords = 0;
    // a load that ended in an exception left its states where they were; an assignment to a length costs more than the rest of this
    if (this.#states.length > kept) this.#states.length = kept;
    if (this.#freeStates.length !== this.#states.length) this.#takeBack();
    if (this.#pages.length > 1 || this.#hasLargeBlocks) this.#giveBack();
    this.#pageUsed = this.#pages.length === 0 ? this.#pageWords : 0;
  }

  /** All states are free. */
  #takeBack(): void {
    for (const st of this.#states) {
      st.next = undefined;
      st.block = undefined;
      forget(st);
    }
    this.#freeStates = this.#states.slice();
  }

  #newState(): VState {
    const st = new VState();
    this.#states.push(st);
    return st;
  }

  /** Keeps the first page in use and the second in reserve: what is given back must not live on in states that wait for use. */
  #giveBack(): void {
    const isFirst = this.#pages.length > 0;
    this.#second ??= this.#pages[1];
    this.#pages = isFirst ? [this.#pages[0]!] : [];
    this.#pageBytes = isFirst ? [this.#pageBytes[0]!] : [];
    this.#pageWords = this.#pages[0]?.length ?? FIRST_PAGE_WORDS / 2;
    this.#hasLargeBlocks = false;
    for (const idle of this.#freeStates) {
      idle.w = NO_WORDS;
      idle.b = NO_BYTES;
      idle.hist = NO_WORDS;
    }
  }

  /** Offset of scratch register `n` (0 to 15) in {@link w}. */
  scratch(n: number): number {
    return n * REG_WORDS;
  }

  /** Most references that the current state can hold. */
  get maxRefs(): number {
    return HOT_REFS;
  }

  #take(words: number, st: VState): void {
    // no Math.ceil: its result would make `words` a floating point field
    const grains = (words + (1 << GRAIN_SHIFT) - 1) >> GRAIN_SHIFT;
    const rounded = grains << GRAIN_SHIFT;
    st.words = rounded;
    this.liveWords += rounded;
    const free = this.#freeBlocks[grains];
    const block = (free === undefined ? undefined : free.pop()) ?? this.#newBlock(rounded);
    st.block = block;
    st.w = block.w;
    st.b = block.b;
    st.base = block.base;
  }

  #newBlock(words: number): Block {
    if (words > FIRST_PAGE_WORDS) {
      this.#hasLargeBlocks = true;
      const w = new Int32Array(words);
      return { w, b: new Uint8Array(w.buffer), base: 0, view: undefined };
    }
    if (this.#pageUsed + words > this.#pageWords) {
      this.#pageWords = Math.min(this.#pageWords * 2, LARGEST_PAGE_WORDS);
      const kept = this.#pages.length === 1 && this.#second?.length === this.#pageWords ? this.#second : undefined;
      const page = kept ?? new Int32Array(this.#pageWords);
      this.#pages.push(page);
      this.#pageBytes.push(new Uint8Array(page.buffer));
      this.#pageUsed = 0;
    }
    const page = this.#pages.length - 1, base = this.#pageUsed;
    this.#pageUsed += words;
    return { w: this.#pages[page]!, b: this.#pageBytes[page]!, base, view: undefined };
  }

  /** Gives a saved state's block and object back. */
  free(st: VState): void {
    this.liveWords -= st.words;
    this.#releaseBlock(st);
    forget(st);
    this.#freeStates.push(st);
  }

  #releaseBlock(st: VState): void {
    const grains = st.words >> GRAIN_SHIFT;
    let free = this.#freeBlocks[grains];
    if (free === undefined) {
      free = [];
      this.#freeBlocks[grains] = free;
    }
    free.push(st.block!);
    st.block = undefined;
  }

  /** A saved copy of `src`, jump history included. */
  save(src: VState): VState {
    return this.#saveInto(this.#freeStates.pop() ?? this.#newState(), src);
  }

  /** Makes `st`, a state put aside, a copy of the current state as it is now; its place in the queue stays. */
  replace(st: VState): void {
    const branchesOf = st.parent;
    this.liveWords -= st.words;
    this.#releaseBlock(st);
    this.#saveInto(st, this.current);
    st.parent = branchesOf;
  }

  /** A saved state that consists of one frame, given as offset in {@link w}, and holds nothing. */
  saveFrame(frame: number): VState {
    const st = this.#freeStates.pop() ?? this.#newState();
    const stackWords = (this.w[frame + F_ALLOCATED_STACK]! >> 3) * SLOT_WORDS;
    this.#take(FRAME_FIXED_WORDS + stackWords, st);
    copyWords(st.w, st.base, this.w, frame, FRAME_FIXED_WORDS + stackWords);
    copyScalars(st, EMPTY_STATE);
    st.refsAt = st.base;
    st.frameAt[0] = st.base;
    st.hist = st.w;
    st.histAt = st.base;
    st.histCount = 0;
    st.missCount = 0;
    st.hitCount = 0;
    st.inFreeList = false;
    return st;
  }

  #saveInto(st: VState, src: VState): VState {
    const sw = src.w;
    let words = src.acquiredRefs * REF_WORDS;
    for (let i = 0; i <= src.curframe; i++) words += packedFrameWords(sw, src.frameAt[i]!);
    words += src.histCount * HIST_WORDS;
    this.#take(words, st);
    const dw = st.w;
    let at = st.base;
    st.refsAt = at;
    if (src.acquiredRefs !== 0) copyWords(dw, at, sw, src.refsAt, src.acquiredRefs * REF_WORDS);
    at += src.acquiredRefs * REF_WORDS;
    for (let i = 0; i <= src.curframe; i++) {
      const from = src.frameAt[i]!;
      st.frameAt[i] = at;
      const slots = sw[from + F_ALLOCATED_STACK]! >> 3, stackWords = slots * SLOT_WORDS;
      if (src.isHot) dw.set(this.#hotFrame(i, slots), at);
      else copyWords(dw, at, sw, from, FRAME_FIXED_WORDS + stackWords);
      dw[at + F_INSNS_SUBTOTAL] = 0;
      at += FRAME_FIXED_WORDS + stackWords;
      const argWords = sw[from + F_OUT_STACK_ARGS]! * REG_WORDS;
      if (argWords > 0) {
        copyWords(dw, at, sw, stackArgAt(src, from, 0), argWords);
        at += argWords;
      }
    }
    st.hist = dw;
    st.histAt = at;
    st.histCount = src.histCount;
    copyWords(dw, at, src.hist, src.histAt, src.histCount * HIST_WORDS);
    copyScalars(st, src);
    st.missCount = 0;
    st.hitCount = 0;
    st.inFreeList = false;
    return st;
  }

  #hotFrame(index: number, slots: number): Int32Array {
    const key = index * (STACK_SLOTS + 1) + slots;
    let view = this.#hotFrames[key];
    if (view === undefined) {
      const from = this.current.frameAt[index]!;
      view = this.w.subarray(from, from + FRAME_FIXED_WORDS + slots * SLOT_WORDS);
      this.#hotFrames[key] = view;
    }
    return view;
  }

  /**
   * Copies the frame of a state of one frame only, with what is behind it in its block: behind the stack of a hot frame nothing is of
   * interest. False where that does not work.
   */
  #restoreOnly(src: VState): boolean {
    const { block } = src;
    if (src.curframe !== 0 || block === undefined || src.frameAt[0] !== block.base || src.words > HOT_STACK_ARGS) return false;
    this.w.set((block.view ??= block.w.subarray(block.base, block.base + src.words)), this.current.frameAt[0]!);
    return true;
  }

  /** Makes a saved state the current one. The saved one stays as it is. */
  restore(src: VState): void {
    const st = this.current;
    const dw = st.w;
    const sw = src.w;
    if (src.acquiredRefs !== 0) copyWords(dw, st.refsAt, sw, src.refsAt, src.acquiredRefs * REF_WORDS);
    const isCopied = this.#restoreOnly(src);
    for (let i = 0; i <= src.curframe; i++) {
      const from = src.frameAt[i]!;
      const to = st.frameAt[i]!;
      if (!isCopied) copyWords(dw, to, sw, from, FRAME_FIXED_WORDS + (sw[from + F_ALLOCATED_STACK]! >> 3) * SLOT_WORDS);
      dw[to + F_INSNS_SUBTOTAL] = 0;
      const argWords = sw[from + F_OUT_STACK_ARGS]! * REG_WORDS;
      if (argWords > 0) copyWords(dw, to + HOT_STACK_ARGS, sw, stackArgAt(src, from, 0), argWords);
    }
    this.reserveHistory(src.histCount);
    copyWords(st.hist, 0, src.hist, src.histAt, src.histCount * HIST_WORDS);
    st.histCount = src.histCount;
    copyScalars(st, src);
  }

  /** Room for `count` entries in the current state's jump history. */
  reserveHistory(count: number): void {
    const st = this.current;
    if (count * HIST_WORDS <= st.hist.length) return;
    const next = new Int32Array(Math.max(st.hist.length * 2, count * HIST_WORDS));
    next.set(st.hist);
    st.hist = next;
  }
}

/** What a state that is not in use must not hold on to. */
function forget(st: VState): void {
  st.parent = undefined;
  st.equalState = undefined;
  st.words = 0;
  st.histCount = 0;
}

function packedFrameWords(w: Int32Array, frame: number): number {
  return FRAME_FIXED_WORDS + (w[frame + F_ALLOCATED_STACK]! >> 3) * SLOT_WORDS + w[frame + F_OUT_STACK_ARGS]! * REG_WORDS;
}

/** Copies words between arrays; short runs in a loop, because a view costs more than they do. */
export function copyWords(d: Int32Array, to: number, s: Int32Array, from: number, count: number): void {
  if (d === s) {
    d.copyWithin(to, from, from + count);
    return;
  }
  if (count > 64) {
    d.set(s.subarray(from, from + count), to);
    return;
  }
  for (let i = 0; i < count; i++) d[to + i] = s[from + i]!;
}

/** Copies one register. */
export function copyReg(d: Int32Array, to: number, s: Int32Array, from: number): void {
  for (let i = 0; i < REG_WORDS; i++) d[to + i] = s[from + i]!;
}

function copyScalars(d: VState, s: VState): void {
  d.parent = s.parent;
  d.equalState = s.equalState;
  d.branches = s.branches;
  d.insnIdx = s.insnIdx;
  d.curframe = s.curframe;
  d.acquiredRefs = s.acquiredRefs;
  d.activeLocks = s.activeLocks;
  d.activePreemptLocks = s.activePreemptLocks;
  d.activeIRQID = s.activeIRQID;
  d.activeLockID = s.activeLockID;
  d.activeLockPtr = s.activeLockPtr;
  d.activeRCULocks = s.activeRCULocks;
  d.speculative = s.speculative;
  d.inSleepable = s.inSleepable;
  d.firstInsnIdx = s.firstInsnIdx;
  d.lastInsnIdx = s.lastInsnIdx;
  d.dfsDepth = s.dfsDepth;
  d.callbackUnrollDepth = s.callbackUnrollDepth;
  d.mayGotoDepth = s.mayGotoDepth;
}

/** What a state begins as. */
const EMPTY_STATE: VState = new VState();
