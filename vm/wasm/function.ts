/**
 * @module vm/wasm/function
 * Compiles one function of a dense program to a WebAssembly function body. Owns the translation of instructions; structure comes
 * from `cfg`, register facts from `flow`, control flow is laid out by `structure`.
 *
 * Shape: `(r1…r5: i64, sp: i32, base: i32) → r0: i64`; `sp` is the offset that r10 points at, `base` that of the run's stack. Registers
 * are i64 locals, and i32 locals besides, where only the lower half matters or the upper is zero. Local calls are WebAssembly
 * calls; a fault is an imported function that throws.
 *
 * Variants: `checked` tests each access against the region of live memory that the same base register last met; `counted` charges the
 * budget block by block and hands over to the interpreter at a loop header from which it might not suffice.
 */
import { KERNEL_HI } from '../address-space.ts';
import { OPS as OP_NAMES } from '../ops.ts';
import { STRIDE, type Atomic, type PreparedProgram } from '../program.ts';
import type { FaultKind } from '../types.ts';
import { ByteWriter, TYPE_I32, TYPE_I64, TYPE_VOID, W } from './bytes.ts';
import { buildFlowGraph, callsNowhere, type FlowGraph } from './cfg.ts';
import { ALL_REGISTERS, analyse, demandBefore, FACTS, KIND, zeroAfter, type BlockFacts, type Demand, type OpFacts } from './flow.ts';
import {
  FAULT_KINDS, FRAME_STRIDE, FRAME_TOP, IMPORT, SCRATCH_GOES, SCRATCH_LEFT, SCRATCH_LIMITS, SCRATCH_REGISTERS, SCRATCH_RESULT, SCRATCH_WINDOW,
} from './layout.ts';
import { findLoops, type LoopFacts } from './loops.ts';
import { emitStructure, type BlockEmitter } from './structure.ts';

/** What is compiled, and how. */
export interface Variant {
  readonly checked: boolean;
  readonly counted: boolean;
}

/** What a function needs to know of its module. */
export interface ModuleContext {
  /** Function index of the local function that begins at a dense instruction. */
  functionIndex(dense: number): number;
  /** Function index of a helper that is compiled into the module, -1 for one that is called outside. */
  inlineHelper(id: number): number;
}

/** A compiled body. */
export interface CompiledFunction {
  /** Locals and code, without the length in front. */
  readonly body: Uint8Array;
  /** Positions in {@link body} of instructions that may trap, ascending, with their dense index: pairs. */
  readonly traps: Int32Array;
}

const NO_LOOPS: LoopFacts = { quietLoop: new Int32Array(0), steady: new Uint16Array(0), entering: new Uint16Array(0) };
const PARAM_SP = 5;
const PARAM_BASE = 6;
const PARAMS = 7;
const FP = 10;
/** Index, behind those of the registers, of the window of the region that was looked up last. */
const LAST_FOUND = 13;
const MAY_GOTO = 0x800000;
/** Bytes from `base` to the `sp` of the eighth frame: a call from there is one too many. */
const DEEPEST = 8 * FRAME_STRIDE + FRAME_TOP;

/** Conditions by stem: i64 and i32 opcodes, and the unsigned i32 one that serves where both upper halves are zero. */
const COMPARE: Readonly<Record<string, readonly [wide: number, narrow: number, zero: number]>> = {
  jeq: [W.i64_eq, W.i32_eq, W.i32_eq], jne: [W.i64_ne, W.i32_ne, W.i32_ne],
  jgt: [W.i64_gt_u, W.i32_gt_u, W.i32_gt_u], jge: [W.i64_ge_u, W.i32_ge_u, W.i32_ge_u],
  jlt: [W.i64_lt_u, W.i32_lt_u, W.i32_lt_u], jle: [W.i64_le_u, W.i32_le_u, W.i32_le_u],
  jsgt: [W.i64_gt_s, W.i32_gt_s, W.i32_gt_u], jsge: [W.i64_ge_s, W.i32_ge_s, W.i32_ge_u],
  jslt: [W.i64_lt_s, W.i32_lt_s, W.i32_lt_u], jsle: [W.i64_le_s, W.i32_le_s, W.i32_le_u],
};
const BINARY: Readonly<Record<string, readonly [wide: number, narrow: number]>> = {
  add: [W.i64_add, W.i32_add], sub: [W.i64_sub, W.i32_sub], mul: [W.i64_mul, W.i32_mul], or: [W.i64_or, W.i32_or], and: [W.i64_and, W.i32_and],
  xor: [W.i64_xor, W.i32_xor], lsh: [W.i64_shl, W.i32_shl], rsh: [W.i64_shr_u, W.i32_shr_u], arsh: [W.i64_shr_s, W.i32_shr_s],
  div: [W.i64_div_u, W.i32_div_u], mod: [W.i64_rem_u, W.i32_rem_u], sdiv: [W.i64_div_s, W.i32_div_s], smod: [W.i64_rem_s, W.i32_rem_s],
};

export class FunctionCompiler implements BlockEmitter {
  readonly code: Int32Array;
  readonly graph: FlowGraph;
  readonly out: ByteWriter = new ByteWriter(4096);
  readonly #program: PreparedProgram;
  readonly #atomics: readonly Atomic[];
  readonly #variant: Variant;
  readonly #module: ModuleContext;
  readonly #root: number;
  readonly #continuation: number;
  readonly #facts: BlockFacts;
  readonly #loops: LoopFacts;
  /** The quiet loop around the block at hand, -1 for none. */
  #loop: number = -1;
  /** Types of the locals behind the parameters. */
  readonly #locals: number[] = [];
  readonly #wide: Int32Array = new Int32Array(13).fill(-1);
  readonly #narrow: Int32Array = new Int32Array(13).fill(-1);
  readonly #temporaries: { readonly type: number; readonly index: number }[] = [];
  readonly #traps: number[] = [];
  /** Where the current values are: registers whose i64, whose i32 local is right. */
  #validWide: number = 0;
  #validNarrow: number = 0;
  #zero: number = 0;
  /** Upper halves that matter behind each instruction of the block at hand. */
  #demand: Uint16Array = new Uint16Array(64);
  /** Registers that are live behind each of them. */
  #liveBehind: Uint16Array = new Uint16Array(64);
  #demandBase: number = 0;
  /** True where the function never writes r10: it is then `sp` itself. */
  readonly #fixedFrame: boolean;
  #usesWideFrame: boolean = false;
  #usesMayGoto: boolean = false;
  #left: number = -1;
  #goes: number = -1;
  #address: number = -1;
  /** Instructions of the block that are charged but not executed yet. */
  #ahead: number = 0;
  // Checked accesses: by base register the locals of the window, and by size those of its limits.
  readonly #windowBase: Int32Array = new Int32Array(14).fill(-1);
  readonly #windowLimit: Int32Array = new Int32Array(14 * 4).fill(-1);
  /** Sizes (bit 0: one byte … bit 3: eight) that the function accesses through each register. */
  readonly #sizes: Uint8Array = new Uint8Array(14);
  /** Byte range relative to each register that was found accessible in this block. */
  readonly #knownFrom: Int32Array = new Int32Array(13);
  readonly #knownTo: Int32Array = new Int32Array(13);

  /** `continuation`: the function begins inside a frame, with its registers in the scratch area; stack bytes of that frame. */
  constructor(
    program: PreparedProgram, leaders: Uint8Array, root: number, variant: Variant, module: ModuleContext, continuation: number = -1,
  ) {
    this.#continuation = continuation;
    this.#program = program;
    this.#variant = variant;
    this.#module = module;
    this.#root = root;
    this.code = variant.checked ? program.checked : program.fast;
    this.#atomics = program.atomics;
    this.graph = buildFlowGraph(this.code, leaders, root, true);
    this.#facts = analyse(this.code, this.graph, this.#atomics, variant.checked, continuation < 0);
    this.#fixedFrame = !this.#scan();
    this.#loops = variant.checked ? findLoops(this.code, this.graph) : NO_LOOPS;
  }

  /** Instructions in the function, for limits on the whole module. */
  get instructions(): number {
    return this.graph.instructions;
  }

  compile(): CompiledFunction {
    if (this.#variant.counted) this.#left = this.#local(TYPE_I64);
    if (this.#usesMayGoto) this.#goes = this.#local(TYPE_I32);
    this.#enterFunction();
    this.#edge(0);
    emitStructure(this);
    this.out.byte(W.unreachable);
    return this.#assemble();
  }

  #assemble(): CompiledFunction {
    const head = new ByteWriter(64);
    const groups: { type: number; count: number }[] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last !== undefined && last.type === type) last.count++;
      else groups.push({ type, count: 1 });
    }
    head.u32(groups.length);
    for (const { type, count } of groups) {
      head.u32(count);
      head.byte(type);
    }
    if (this.#usesWideFrame) {
      // r10 as an address, computed once.
      const body = this.out;
      head.byte(W.local_get); head.u32(PARAM_SP); head.byte(W.i64_extend_i32_u);
      head.byte(W.i64_const); head.s64(0, KERNEL_HI); head.byte(W.i64_or);
      head.byte(W.local_set); head.u32(this.#wide[FP]!);
      return this.#join(head, body);
    }
    return this.#join(head, this.out);
  }

  #join(head: ByteWriter, code: ByteWriter): CompiledFunction {
    const shift = head.length;
    const traps = Int32Array.from(this.#traps, (value, index) => (index % 2 === 0 ? value + shift : value));
    head.append(code.view());
    head.byte(W.end);
    return { body: head.view(), traps };
  }

  /** One look at every instruction: is r10 written, which sizes go through which register, are there may_gotos? */
  #scan(): boolean {
    const { graph, code } = this;
    let writesFrame = false;
    const copies = new Set<number>();
    const visit = (dense: number): void => {
      const at = dense * STRIDE;
      const facts = FACTS[code[at]!]!;
      if (definedRegister(facts, code, at, this.#atomics) === FP) writesFrame = true;
      if (facts.kind === KIND.maygoto) this.#usesMayGoto = true;
      if (facts.access === 'c') {
        const base = facts.kind === KIND.load ? code[at + 2]! >> 1 : code[at + 1]! >> 1;
        this.#sizes[base]! |= facts.bytes;
      } else if (facts.kind === KIND.mov64 && facts.register) {
        copies.add(((code[at + 2]! >> 1) << 4) | (code[at + 1]! >> 1));
      } else if (facts.kind === KIND.atomic) {
        const atomic = this.#atomics[code[at + 3]!]!;
        this.#sizes[atomic.operation === 0x100 ? atomic.src : atomic.dst]! |= atomic.size;
      }
    };
    for (let block = 0; block < graph.count; block++) {
      for (let dense = graph.start[block]!; dense < graph.end[block]!; dense++) visit(dense);
      for (let dense = graph.selectStart[block]!; dense >= 0 && dense < graph.selectEnd[block]!; dense++) visit(dense);
    }
    // A window is handed on with a copied pointer, so the source needs the limits of the copy.
    for (let changed = true; changed; ) {
      changed = false;
      for (const copy of copies) {
        const sizes = this.#sizes[copy >> 4]! | this.#sizes[copy & 15]!;
        if (sizes !== this.#sizes[copy >> 4]) changed = true;
        this.#sizes[copy >> 4] = sizes;
      }
    }
    for (let base = 0; base < LAST_FOUND; base++) this.#sizes[LAST_FOUND]! |= this.#sizes[base]!;
    return writesFrame;
  }

  // Locals

  #local(type: number): number {
    this.#locals.push(type);
    return PARAMS + this.#locals.length - 1;
  }

  newLocal(): number {
    return this.#local(TYPE_I32);
  }

  #wideLocal(register: number): number {
    if (register >= 1 && register <= 5) return register - 1;
    if (this.#wide[register]! < 0) this.#wide[register] = this.#local(TYPE_I64);
    return this.#wide[register]!;
  }

  #narrowLocal(register: number): number {
    if (this.#narrow[register]! < 0) this.#narrow[register] = this.#local(TYPE_I32);
    return this.#narrow[register]!;
  }

  #borrow(type: number): number {
    const index = this.#temporaries.findIndex((one) => one.type === type);
    if (index < 0) return this.#local(type);
    return this.#temporaries.splice(index, 1)[0]!.index;
  }

  #giveBack(type: number, index: number): void {
    this.#temporaries.push({ type, index });
  }

  // Small pieces of code

  #get(local: number): void {
    this.out.byte(W.local_get);
    this.out.u32(local);
  }

  #set(local: number): void {
    this.out.byte(W.local_set);
    this.out.u32(local);
  }

  #tee(local: number): void {
    this.out.byte(W.local_tee);
    this.out.u32(local);
  }

  #i32(value: number): void {
    this.out.byte(W.i32_const);
    this.out.s32(value);
  }

  #i64(lo: number, hi: number = lo >> 31): void {
    this.out.byte(W.i64_const);
    this.out.s64(lo, hi);
  }

  #memory(opcode: number, offset: number): void {
    this.out.byte(opcode);
    this.out.byte(0);
    this.out.u32(offset);
  }

  #call(index: number): void {
    this.out.byte(W.call);
    this.out.u32(index);
  }

  #pushWide(register: number): void {
    if (register === FP && this.#fixedFrame) {
      this.#usesWideFrame = true;
      this.#get(this.#wideLocal(FP));
    } else if ((this.#validWide & (1 << register)) !== 0) this.#get(this.#wideLocal(register));
    else {
      this.#get(this.#narrowLocal(register));
      this.out.byte(W.i64_extend_i32_u);
    }
  }

  #pushNarrow(register: number): void {
    if (register === FP && this.#fixedFrame) this.#get(PARAM_SP);
    else if ((this.#validNarrow & (1 << register)) !== 0) this.#get(this.#narrowLocal(register));
    else {
      this.#get(this.#wideLocal(register));
      this.out.byte(W.i32_wrap_i64);
    }
  }

  #pushHigh(register: number): void {
    if ((this.#validWide & (1 << register)) === 0 && register !== FP) {
      this.#i32(0);
      return;
    }
    this.#pushWide(register);
    this.#i64(32);
    this.out.byte(W.i64_shr_u);
    this.out.byte(W.i32_wrap_i64);
  }

  #setWide(register: number): void {
    this.#set(this.#wideLocal(register));
    this.#validWide |= 1 << register;
    this.#validNarrow &= ~(1 << register);
  }

  #setNarrow(register: number): void {
    this.#set(this.#narrowLocal(register));
    this.#validNarrow |= 1 << register;
    this.#validWide &= ~(1 << register);
  }

  // Function and block boundaries

  #enterFunction(): void {
    this.#validWide = 0x3e;
    this.#validNarrow = 0;
    this.#zero = 0;
    if (!this.#fixedFrame) {
      this.#get(PARAM_SP);
      this.out.byte(W.i64_extend_i32_u);
      this.#i64(0, KERNEL_HI);
      this.out.byte(W.i64_or);
      this.#setWide(FP);
    }
    // The others are zero, as locals are: both forms are right.
    for (const register of [0, 6, 7, 8, 9, 11, 12]) {
      this.#validWide |= 1 << register;
      this.#validNarrow |= 1 << register;
    }
    if (this.#continuation >= 0) this.#loadRegisters();
    else if (this.#variant.checked) {
      // The depth of the frame's stack, for the slow check of accesses to it.
      this.#get(PARAM_SP);
      this.#i32(FRAME_TOP);
      this.out.byte(W.i32_sub);
      this.#i32(this.#frameBytes());
      this.#memory(W.i32_store, 0);
    }
    if (this.#variant.checked && this.#fixedFrame && this.#sizes[FP] !== 0) this.#openFrameWindow();
    if (this.#goes >= 0) {
      if (this.#continuation >= 0) {
        this.#get(PARAM_BASE);
        this.#memory(W.i32_load, SCRATCH_GOES);
      } else this.#i32(MAY_GOTO);
      this.#set(this.#goes);
    }
    if (this.#left >= 0) {
      this.#loadLeft(0);
      if (this.graph.isHeader[0] === 0) this.#checkBudget(this.graph.start[0]!, this.#facts.live[0]!);
    }
  }

  #loadRegisters(): void {
    for (let register = 0; register < 13; register++) {
      if ((this.#facts.live[0]! & (1 << register)) === 0 || (register === FP && this.#fixedFrame)) continue;
      this.#get(PARAM_BASE);
      this.#memory(W.i64_load, SCRATCH_REGISTERS + 8 * register);
      this.#setWide(register);
    }
  }

  /** The frame's own stack is the window of r10 and of copies of it. */
  #openFrameWindow(): void {
    const bytes = this.#frameBytes();
    this.#pushWide(FP);
    this.#i64(bytes);
    this.out.byte(W.i64_sub);
    this.#set(this.#window(FP));
    for (let log = 0; log < 4; log++) {
      if ((this.#sizes[FP]! & (1 << log)) === 0) continue;
      this.#i64(Math.max(0, bytes - (1 << log) + 1));
      this.#set(this.#limit(FP, 1 << log));
    }
  }

  #frameBytes(): number {
    if (this.#continuation >= 0) return this.#continuation;
    return this.#program.stackAt(this.#program.pcOf[this.#root] ?? 0);
  }

  /** State at the beginning of a block that is entered by jumps. */
  enterBlock(block: number): void {
    const { live, wide, zero } = this.#facts;
    const narrow = zero[block]! | ~wide[block]!;
    this.#validNarrow = narrow & live[block]!;
    this.#validWide = ~this.#validNarrow;
    this.#zero = zero[block]!;
  }

  /** Registers that need another form before control may enter `to`. */
  #mismatched(to: number): number {
    const { live, wide, zero } = this.#facts;
    const narrow = (zero[to]! | ~wide[to]!) & live[to]!;
    let mask = (narrow & ~this.#validNarrow) | (live[to]! & ~narrow & ~this.#validWide);
    if (this.#fixedFrame) mask &= ~(1 << FP);
    return mask;
  }

  /** True where an edge to `to` needs no code. */
  isFreeEdge(to: number): boolean {
    return this.#mismatched(to) === 0;
  }

  /** Code on the edge to `to`: brings registers into the form that the block expects. */
  #edge(to: number): void {
    const mask = this.#mismatched(to);
    if (mask === 0) return;
    for (let register = 0; register < 13; register++) {
      if ((mask & (1 << register)) === 0) continue;
      if ((this.#validWide & (1 << register)) !== 0) {
        this.#get(this.#wideLocal(register));
        this.out.byte(W.i32_wrap_i64);
        this.#set(this.#narrowLocal(register));
      } else {
        this.#get(this.#narrowLocal(register));
        this.out.byte(W.i64_extend_i32_u);
        this.#set(this.#wideLocal(register));
      }
    }
  }

  /** As {@link #edge}, for the layout of control flow. */
  emitEdge(to: number): void {
    this.#edge(to);
  }

  /** Where values are, to be restored before the other branch of a condition. */
  saveState(): readonly [number, number, number] {
    return [this.#validWide, this.#validNarrow, this.#zero];
  }

  restoreState([wide, narrow, zero]: readonly [number, number, number]): void {
    this.#validWide = wide;
    this.#validNarrow = narrow;
    this.#zero = zero;
  }

  /** In front of a loop without calls: looks up the regions of pointers that only move inside it. */
  emitLoopEntry(block: number): void {
    if (!this.#variant.checked || this.#loops.quietLoop[block] !== block) return;
    const { out } = this;
    for (let register = 0; register < 13; register++) {
      const bit = 1 << register;
      if (register === FP && this.#fixedFrame) continue;
      if (this.#sizes[register] === 0 || (this.#facts.live[block]! & bit) === 0 || (this.#loops.entering[block]! & bit) === 0) continue;
      this.#pushWide(register);
      this.#get(this.#window(register));
      out.byte(W.i64_sub);
      this.#get(this.#limit(register, this.#sizes[register]! & -this.#sizes[register]!));
      out.byte(W.i64_ge_u);
      out.byte(W.if);
      out.byte(TYPE_VOID);
      this.#get(PARAM_SP);
      this.#pushNarrow(register);
      this.#pushHigh(register);
      this.#call(IMPORT.region);
      out.byte(W.if);
      out.byte(TYPE_VOID);
      this.#loadWindow(LAST_FOUND);
      this.#copyWindow(register, LAST_FOUND);
      out.byte(W.end);
      out.byte(W.end);
    }
  }

  /** Budget check at a loop header, inside the loop. */
  emitLoopHead(block: number): void {
    this.#ahead = 0;
    if (this.#left >= 0) this.#checkBudget(this.graph.start[block]!, this.#facts.live[block]!);
  }

  /**
   * Code of a block up to its jump. Leaves the condition of a conditional jump on the operand stack (true: `taken`); blocks without
   * one leave nothing. Blocks without successors return or fault.
   */
  emitBlock(block: number): void {
    const { graph, code } = this;
    const start = graph.start[block]!;
    const end = graph.end[block]!;
    this.#computeDemand(block);
    this.#loop = this.#variant.checked ? this.#loops.quietLoop[block]! : -1;
    this.#knownTo.fill(0);
    this.#knownFrom.fill(0);
    const counted = end - start - (FACTS[code[(end - 1) * STRIDE]!]!.kind === KIND.end ? 1 : 0);
    this.#charge(counted);
    this.#ahead = counted;
    for (let dense = start; dense < end; dense++) {
      this.#ahead--;
      const at = dense * STRIDE;
      const facts = FACTS[code[at]!]!;
      if (dense === end - 1 && graph.selectStart[block]! >= 0) this.#emitSelect(block, at, facts);
      else if (dense + 1 < end && this.#emitPair(dense)) {
        dense++;
        this.#ahead--;
      } else this.#emit(dense, facts);
      this.#zero = zeroAfter(code, dense * STRIDE, this.#atomics, this.#zero);
      this.#forgetKnown(dense, facts);
    }
  }

  #computeDemand(block: number): void {
    const { graph, code } = this;
    const { live, wide } = this.#facts;
    const start = graph.start[block]!;
    const end = graph.end[block]!;
    const extra = graph.selectStart[block]! < 0 ? 0 : graph.selectEnd[block]! - graph.selectStart[block]!;
    if (this.#demand.length < end - start + extra) {
      this.#demand = new Uint16Array((end - start + extra) * 2);
      this.#liveBehind = new Uint16Array((end - start + extra) * 2);
    }
    this.#demandBase = start;
    const state: Demand = { live: 0, wide: 0 };
    for (const to of [graph.taken[block]!, graph.next[block]!]) {
      if (to < 0) continue;
      state.live |= live[to]!;
      state.wide |= wide[to]!;
    }
    if (extra > 0) {
      const after = { ...state };
      for (let index = extra - 1; index >= 0; index--) {
        this.#demand[end - start + index] = state.wide;
        demandBefore(code, (graph.selectStart[block]! + index) * STRIDE, this.#atomics, this.#variant.checked, state);
      }
      state.live |= after.live;
      state.wide |= after.wide;
    }
    for (let dense = end - 1; dense >= start; dense--) {
      this.#demand[dense - start] = state.wide;
      this.#liveBehind[dense - start] = state.live;
      demandBefore(code, dense * STRIDE, this.#atomics, this.#variant.checked, state);
    }
  }

  /** Does the upper half of `register` matter behind dense instruction `dense` of the block at hand? */
  #isWide(dense: number, register: number): boolean {
    return (this.#demand[dense - this.#demandBase]! & (1 << register)) !== 0;
  }

  // Budget

  #charge(count: number): void {
    if (this.#left < 0 || count === 0) return;
    this.#get(this.#left);
    this.#i64(count);
    this.out.byte(W.i64_sub);
    this.#set(this.#left);
  }

  /** Writes the budget that is left, with `ahead` instructions given back. */
  #storeLeft(ahead: number): void {
    if (this.#left < 0) return;
    this.#get(PARAM_BASE);
    this.#get(this.#left);
    if (ahead !== 0) {
      this.#i64(ahead);
      this.out.byte(W.i64_add);
    }
    this.#memory(W.i64_store, SCRATCH_LEFT);
  }

  #loadLeft(ahead: number): void {
    if (this.#left < 0) return;
    this.#get(PARAM_BASE);
    this.#memory(W.i64_load, SCRATCH_LEFT);
    if (ahead !== 0) {
      this.#i64(ahead);
      this.out.byte(W.i64_sub);
    }
    this.#set(this.#left);
  }

  /** Between two checks no instruction runs twice, so the function's length is enough. */
  #checkBudget(dense: number, live: number): void {
    this.#get(this.#left);
    this.#i64(this.graph.instructions + 1);
    this.out.byte(W.i64_lt_s);
    this.out.byte(W.if);
    this.out.byte(TYPE_VOID);
    this.#resume(dense, this.#ahead, live);
    this.out.byte(W.end);
  }

  /** Lets the interpreter finish the frame from `dense` on, and returns its result. */
  #resume(dense: number, ahead: number, live: number): void {
    this.#storeLeft(ahead);
    for (let register = 0; register < 13; register++) {
      if ((live & (1 << register)) === 0 && register !== FP) continue;
      this.#get(PARAM_BASE);
      this.#pushWide(register);
      this.#memory(W.i64_store, SCRATCH_REGISTERS + 8 * register);
    }
    this.#get(PARAM_BASE);
    if (this.#goes >= 0) this.#get(this.#goes);
    else this.#i32(MAY_GOTO);
    this.#memory(W.i32_store, SCRATCH_GOES);
    this.#i32(dense * STRIDE);
    this.#get(PARAM_SP);
    this.#call(IMPORT.resume);
    this.#get(PARAM_BASE);
    this.#memory(W.i64_load, SCRATCH_RESULT);
    this.out.byte(W.return);
  }

  #fault(at: number, kind: FaultKind, ahead: number): void {
    this.#storeLeft(ahead);
    this.#i32(at);
    this.#get(PARAM_SP);
    this.#i32(FAULT_KINDS[kind]);
    this.#i32(0);
    this.#i32(0);
    this.#call(IMPORT.fault);
    this.out.byte(W.unreachable);
  }

  // Conditions

  #condition(at: number, facts: OpFacts): void {
    const { code, out } = this;
    const d = code[at + 1]! >> 1;
    const s = facts.register ? code[at + 2]! >> 1 : -1;
    const k = code[at + 3]!;
    const zeroBoth = (this.#zero & (1 << d)) !== 0 && (s >= 0 ? (this.#zero & (1 << s)) !== 0 : k >= 0);
    const narrow = facts.width === 32 || zeroBoth;
    if (facts.stem === 'jset') {
      const zeroOne = (this.#zero & (1 << d)) !== 0 || (s >= 0 ? (this.#zero & (1 << s)) !== 0 : k >= 0);
      if (narrow || zeroOne) {
        this.#pushNarrow(d);
        if (s >= 0) this.#pushNarrow(s);
        else this.#i32(k);
        out.byte(W.i32_and);
        return;
      }
      this.#pushWide(d);
      if (s >= 0) this.#pushWide(s);
      else this.#i64(k);
      out.byte(W.i64_and);
      this.#i64(0);
      out.byte(W.i64_ne);
      return;
    }
    const compare = COMPARE[facts.stem]!;
    if (narrow) {
      this.#pushNarrow(d);
      if (s < 0 && k === 0 && (facts.stem === 'jeq' || facts.stem === 'jne')) {
        if (facts.stem === 'jeq') out.byte(W.i32_eqz);
        return;
      }
      if (s >= 0) this.#pushNarrow(s);
      else this.#i32(k);
      out.byte(facts.width === 32 ? compare[1] : compare[2]);
      return;
    }
    this.#pushWide(d);
    if (s < 0 && k === 0 && facts.stem === 'jeq') {
      out.byte(W.i64_eqz);
      return;
    }
    if (s >= 0) this.#pushWide(s);
    else this.#i64(k);
    out.byte(compare[0]);
  }

  /** The condition, then the short block whose results are selected by it. */
  #emitSelect(block: number, at: number, facts: OpFacts): void {
    const { graph, code, out } = this;
    const start = graph.selectStart[block]!;
    const end = graph.selectEnd[block]!;
    const next = graph.next[block]!;
    const { live, wide } = this.#facts;
    this.#condition(at, facts);
    const condition = this.#borrow(TYPE_I32);
    this.#set(condition);
    if (this.#left >= 0) {
      this.#get(this.#left);
      this.#i64(graph.selectIfTaken[block] === 1 ? end - start : 0);
      this.#i64(graph.selectIfTaken[block] === 1 ? 0 : end - start);
      this.#get(condition);
      out.byte(W.select);
      out.byte(W.i64_sub);
      this.#set(this.#left);
    }
    const zeroSkipped = this.#zero;
    let zeroRun = this.#zero;
    const written: number[] = [];
    for (let dense = start; dense < end; dense++) {
      const register = definedRegister(FACTS[code[dense * STRIDE]!]!, code, dense * STRIDE, this.#atomics);
      if (register >= 0 && !written.includes(register) && (live[next]! & (1 << register)) !== 0) written.push(register);
      zeroRun = zeroAfter(code, dense * STRIDE, this.#atomics, zeroRun);
    }
    const zero = zeroSkipped & zeroRun;
    const saved = written.map((register) => {
      const narrow = ((zero | ~wide[next]!) & (1 << register)) !== 0;
      const type = narrow ? TYPE_I32 : TYPE_I64;
      const local = this.#borrow(type);
      if (narrow) this.#pushNarrow(register);
      else this.#pushWide(register);
      this.#set(local);
      return { register, narrow, type, local };
    });
    const blockStart = this.#demandBase;
    this.#demandBase = start - (graph.end[block]! - graph.start[block]!);
    for (let dense = start; dense < end; dense++) {
      const one = FACTS[code[dense * STRIDE]!]!;
      if (one.kind !== KIND.ja) this.#emit(dense, one);
      this.#zero = zeroAfter(code, dense * STRIDE, this.#atomics, this.#zero);
    }
    this.#demandBase = blockStart;
    for (const { register, narrow, type, local } of saved) {
      const push = (): void => {
        if (narrow) this.#pushNarrow(register);
        else this.#pushWide(register);
      };
      if (graph.selectIfTaken[block] === 1) {
        push();
        this.#get(local);
      } else {
        this.#get(local);
        push();
      }
      this.#get(condition);
      out.byte(W.select);
      if (narrow) this.#setNarrow(register);
      else this.#setWide(register);
      this.#giveBack(type, local);
    }
    this.#giveBack(TYPE_I32, condition);
    this.#zero = zero;
  }

  // Instructions

  /** `r <<= 32; r >>= 32` is a zero or sign extension. */
  #emitPair(dense: number): boolean {
    const { code, out } = this;
    const at = dense * STRIDE;
    const first = FACTS[code[at]!]!;
    const second = FACTS[code[at + STRIDE]!]!;
    if (first.kind !== KIND.lsh64 || !first.high || code[at + 3] !== 0 || !second.high || code[at + 7] !== 0 || code[at + 1] !== code[at + 5]) return false;
    const d = code[at + 1]! >> 1;
    if (second.kind === KIND.rsh64) {
      this.#pushNarrow(d);
      this.#setNarrow(d);
    } else if (second.kind === KIND.arsh64) {
      this.#pushNarrow(d);
      out.byte(W.i64_extend_i32_s);
      this.#setWide(d);
    } else return false;
    this.#zero = zeroAfter(code, at, this.#atomics, this.#zero);
    return true;
  }

  #emit(dense: number, facts: OpFacts): void {
    const { code, out } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    switch (facts.kind) {
      case KIND.add64: case KIND.and64: case KIND.or64:
        this.#binary64(dense, facts);
        return;
      case KIND.mov64:
        this.#move64(dense, facts);
        return;
      case KIND.lsh64: case KIND.rsh64: case KIND.arsh64:
        this.#shift64(dense, facts);
        return;
      case KIND.div64: case KIND.sdiv64:
        this.#divide(dense, facts, !((this.#zero & (1 << d)) !== 0 && this.#operandIsZero(at, facts)));
        return;
      case KIND.alu32:
        this.#binary32(dense, facts);
        return;
      case KIND.movs64: case KIND.movs32:
        this.#signExtend(dense, facts);
        return;
      case KIND.neg64:
        if (this.#isWide(dense, d)) {
          this.#i64(0);
          this.#pushWide(d);
          out.byte(W.i64_sub);
          this.#setWide(d);
          return;
        }
        this.#negate32(d);
        return;
      case KIND.neg32:
        this.#negate32(d);
        return;
      case KIND.bswap:
        this.#swap32(code[at]!, d);
        return;
      case KIND.bswap64:
        this.#swap64(d);
        return;
      case KIND.lddw:
        if (code[at + 3] === 0 || !this.#isWide(dense, d)) {
          this.#i32(code[at + 2]!);
          this.#setNarrow(d);
        } else {
          this.#i64(code[at + 2]!, code[at + 3]!);
          this.#setWide(d);
        }
        return;
      case KIND.nop: case KIND.ja:
        return;
      case KIND.castuser:
        this.#castUser(at, d);
        return;
      case KIND.percpu:
        this.#perCPU(at, d);
        return;
      case KIND.load:
        this.#load(dense, facts);
        return;
      case KIND.store:
        this.#store(dense, facts);
        return;
      case KIND.ldarg:
        this.#get(PARAM_SP);
        this.#i32(FRAME_STRIDE - code[at + 2]!);
        out.byte(W.i32_sub);
        this.#memory(W.i64_load, 0);
        this.#setWide(d);
        return;
      case KIND.starg:
        this.#get(PARAM_SP);
        if (facts.register) this.#pushWide(code[at + 3]! >> 1);
        else this.#i64(code[at + 3]!);
        this.#memory(W.i64_store, code[at + 2]!);
        return;
      case KIND.atomic:
        this.#atomic(dense);
        return;
      case KIND.jump64: case KIND.jump32:
        this.#condition(at, facts);
        return;
      case KIND.maygoto:
        this.#mayGoto();
        return;
      case KIND.call:
        this.#callLocal(at);
        return;
      case KIND.helper: case KIND.callx:
        this.#callHelper(dense, facts);
        return;
      case KIND.tailcall:
        this.#tailCall(dense);
        return;
      case KIND.exit:
        this.#storeLeft(0);
        this.#pushWide(0);
        out.byte(W.return);
        return;
      case KIND.packet:
        this.#packet(dense);
        return;
      default:
        this.#endOfTheRoad(at);
    }
  }

  #operandIsZero(at: number, facts: OpFacts): boolean {
    return facts.register ? (this.#zero & (1 << (this.code[at + 2]! >> 1))) !== 0 : this.code[at + 3]! >= 0;
  }

  #pushOperandNarrow(at: number, facts: OpFacts): void {
    if (facts.register) this.#pushNarrow(this.code[at + 2]! >> 1);
    else this.#i32(this.code[at + 3]!);
  }

  #pushOperandWide(at: number, facts: OpFacts): void {
    if (facts.register) this.#pushWide(this.code[at + 2]! >> 1);
    else this.#i64(this.code[at + 3]!);
  }

  #binary64(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    const own = (this.#zero & (1 << d)) !== 0;
    const operand = this.#operandIsZero(at, facts);
    const zeroResult = facts.kind === KIND.and64 ? own || operand : facts.kind === KIND.or64 && own && operand;
    if (zeroResult || !this.#isWide(dense, d)) {
      this.#pushNarrow(d);
      this.#pushOperandNarrow(at, facts);
      this.out.byte(BINARY[facts.stem]![1]);
      this.#setNarrow(d);
      return;
    }
    this.#pushWide(d);
    this.#pushOperandWide(at, facts);
    this.out.byte(BINARY[facts.stem]![0]);
    this.#setWide(d);
  }

  #move64(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    if (this.#variant.checked && facts.register && this.#sizes[d] !== 0) this.#copyWindow(d, this.code[at + 2]! >> 1);
    if (!this.#isWide(dense, d) || this.#operandIsZero(at, facts)) {
      this.#pushOperandNarrow(at, facts);
      this.#setNarrow(d);
      return;
    }
    this.#pushOperandWide(at, facts);
    this.#setWide(d);
  }

  #copyWindow(d: number, s: number): void {
    if (d === s) return;
    this.#get(this.#window(s));
    this.#set(this.#window(d));
    for (let log = 0; log < 4; log++) {
      if ((this.#sizes[d]! & (1 << log)) === 0) continue;
      this.#get(this.#limit(s, 1 << log));
      this.#set(this.#limit(d, 1 << log));
    }
  }

  #shift64(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    const { out } = this;
    if (facts.register) {
      this.#pushWide(d);
      this.#pushWide(this.code[at + 2]! >> 1);
      out.byte(BINARY[facts.stem]![0]);
      this.#setWide(d);
      return;
    }
    const k = this.code[at + 3]! + (facts.high ? 32 : 0);
    if (facts.stem === 'lsh' && !this.#isWide(dense, d)) {
      if (facts.high) this.#i32(0);
      else {
        this.#pushNarrow(d);
        this.#i32(k);
        out.byte(W.i32_shl);
      }
      this.#setNarrow(d);
      return;
    }
    if (facts.stem !== 'lsh' && (this.#zero & (1 << d)) !== 0) {
      if (facts.high) this.#i32(0);
      else {
        this.#pushNarrow(d);
        this.#i32(k);
        out.byte(W.i32_shr_u);
      }
      this.#setNarrow(d);
      return;
    }
    this.#pushWide(d);
    this.#i64(k);
    out.byte(BINARY[facts.stem]![0]);
    if (facts.stem === 'rsh' && facts.high) {
      out.byte(W.i32_wrap_i64);
      this.#setNarrow(d);
    } else this.#setWide(d);
  }

  #binary32(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    if (facts.stem === 'mov') this.#pushOperandNarrow(at, facts);
    else if (/^s?(div|mod)$/.test(facts.stem)) {
      this.#divide(dense, facts, false);
      return;
    } else {
      this.#pushNarrow(d);
      this.#pushOperandNarrow(at, facts);
      this.out.byte(BINARY[facts.stem]![1]);
    }
    this.#setNarrow(d);
  }

  /** Division: by zero gives 0 and leaves a remainder of the dividend (RFC 9669 section 4.1); MIN / -1 is MIN. */
  #divide(dense: number, facts: OpFacts, wide: boolean): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    const push = (): void => (wide ? this.#pushWide(d) : this.#pushNarrow(d));
    const operand = (): void => (wide ? this.#pushOperandWide(at, facts) : this.#pushOperandNarrow(at, facts));
    const zero = (): void => (wide ? this.#i64(0) : this.#i32(0));
    const set = (): void => (wide ? this.#setWide(d) : this.#setNarrow(d));
    const remainder = facts.stem.endsWith('mod');
    // Where both upper halves are zero, signed division of 64 bits is unsigned division of 32.
    const stem = facts.width === 64 && !wide ? facts.stem.replace('s', '') : facts.stem;
    const signed = stem.startsWith('s');
    const opcode = BINARY[stem]![wide ? 0 : 1];
    const type = wide ? TYPE_I64 : TYPE_I32;
    const byMinusOne = (): void => {
      if (remainder) zero();
      else {
        zero();
        push();
        out.byte(wide ? W.i64_sub : W.i32_sub);
      }
    };
    if (!facts.register) {
      const k = code[at + 3]!;
      if (k === 0) {
        if (remainder) push();
        else zero();
      } else if (signed && k === -1) byMinusOne();
      else {
        push();
        operand();
        out.byte(opcode);
      }
      set();
      return;
    }
    operand();
    out.byte(wide ? W.i64_eqz : W.i32_eqz);
    out.byte(W.if);
    out.byte(type);
    if (remainder) push();
    else zero();
    out.byte(W.else);
    if (signed) {
      operand();
      if (wide) this.#i64(-1);
      else this.#i32(-1);
      out.byte(wide ? W.i64_eq : W.i32_eq);
      out.byte(W.if);
      out.byte(type);
      byMinusOne();
      out.byte(W.else);
    }
    push();
    operand();
    out.byte(opcode);
    if (signed) out.byte(W.end);
    out.byte(W.end);
    set();
  }

  #signExtend(dense: number, facts: OpFacts): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    const s = code[at + 2]! >> 1;
    const narrow = facts.kind === KIND.movs32 || !this.#isWide(dense, d);
    this.#pushNarrow(s);
    if (facts.bytes < 4) out.byte(facts.bytes === 1 ? W.i32_extend8_s : W.i32_extend16_s);
    if (narrow) this.#setNarrow(d);
    else {
      out.byte(W.i64_extend_i32_s);
      this.#setWide(d);
    }
  }

  #negate32(d: number): void {
    this.#i32(0);
    this.#pushNarrow(d);
    this.out.byte(W.i32_sub);
    this.#setNarrow(d);
  }

  #swap32(operation: number, d: number): void {
    const { out } = this;
    const name = OP_NAMES[operation]!;
    if (name === 'zext16') {
      this.#pushNarrow(d);
      this.#i32(0xffff);
      out.byte(W.i32_and);
    } else if (name === 'bswap16') {
      // (v << 8 | v >>> 8 & 255) & 65535
      this.#pushNarrow(d);
      this.#i32(8);
      out.byte(W.i32_shl);
      this.#i32(0xff00);
      out.byte(W.i32_and);
      this.#pushNarrow(d);
      this.#i32(8);
      out.byte(W.i32_shr_u);
      this.#i32(0xff);
      out.byte(W.i32_and);
      out.byte(W.i32_or);
    } else {
      // rotl(v, 8) & 0x00ff00ff | rotl(v, 24) & 0xff00ff00
      this.#pushNarrow(d);
      this.#i32(8);
      out.byte(W.i32_rotl);
      this.#i32(0x00ff00ff);
      out.byte(W.i32_and);
      this.#pushNarrow(d);
      this.#i32(24);
      out.byte(W.i32_rotl);
      this.#i32(0xff00ff00 | 0);
      out.byte(W.i32_and);
      out.byte(W.i32_or);
    }
    this.#setNarrow(d);
  }

  #swap64(d: number): void {
    const { out } = this;
    const value = this.#borrow(TYPE_I64);
    this.#pushWide(d);
    this.#set(value);
    for (const [shift, maskLo, maskHi] of [[8, 0x00ff00ff, 0x00ff00ff], [16, 0x0000ffff, 0x0000ffff]] as const) {
      this.#get(value);
      this.#i64(maskLo, maskHi);
      out.byte(W.i64_and);
      this.#i64(shift);
      out.byte(W.i64_shl);
      this.#get(value);
      this.#i64(shift);
      out.byte(W.i64_shr_u);
      this.#i64(maskLo, maskHi);
      out.byte(W.i64_and);
      out.byte(W.i64_or);
      this.#set(value);
    }
    this.#get(value);
    this.#i64(32);
    out.byte(W.i64_rotl);
    this.#setWide(d);
    this.#giveBack(TYPE_I64, value);
  }

  #castUser(at: number, d: number): void {
    const { out } = this;
    const source = this.code[at + 2]! >> 1;
    const hi = this.#program.image.arena?.userHi ?? 0;
    const low = this.#borrow(TYPE_I32);
    this.#pushNarrow(source);
    this.#tee(low);
    out.byte(W.i64_extend_i32_u);
    this.#i64(0, hi);
    this.#i64(0);
    this.#get(low);
    out.byte(W.select);
    out.byte(W.i64_or);
    this.#setWide(d);
    this.#giveBack(TYPE_I32, low);
  }

  #perCPU(at: number, d: number): void {
    const { out } = this;
    this.#storeLeft(this.#ahead);
    this.#pushWide(this.code[at + 2]! >> 1);
    this.#i32(at);
    this.#get(PARAM_SP);
    this.#call(IMPORT.perCPU);
    out.byte(W.i64_extend_i32_s);
    out.byte(W.i64_add);
    this.#loadLeft(this.#ahead);
    this.#setWide(d);
    this.#forgetWindows();
  }

  // Memory

  /**
   * Pushes the i32 address of an access; gives the offset that belongs into the instruction. In checked code the access is inside a live
   * allocation behind this.
   */
  #pushAddress(at: number, base: number, off: number, bytes: number, write: boolean, access: string): number {
    const { out } = this;
    if (access === 'c' && !this.#isKnown(base, off, bytes)) {
      this.#checkAccess(at, base, off, bytes, write);
      this.#get(this.#address);
      out.byte(W.i32_wrap_i64);
      return 0;
    }
    this.#pushNarrow(base);
    if (off >= 0) return off;
    this.#i32(off);
    out.byte(W.i32_add);
    return 0;
  }

  #isKnown(base: number, off: number, bytes: number): boolean {
    if (base === FP && this.#fixedFrame && off >= -this.#frameBytes() && off + bytes <= 0) return true;
    return off >= this.#knownFrom[base]! && off + bytes <= this.#knownTo[base]!;
  }

  #checkAccess(at: number, base: number, off: number, bytes: number, write: boolean): void {
    const { out } = this;
    if (this.#address < 0) this.#address = this.#local(TYPE_I64);
    this.#pushWide(base);
    if (off !== 0) {
      this.#i64(off);
      out.byte(W.i64_add);
    }
    this.#tee(this.#address);
    this.#get(this.#window(base));
    out.byte(W.i64_sub);
    this.#get(this.#limit(base, bytes));
    out.byte(W.i64_ge_u);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    if (this.#loop >= 0 && (this.#loops.steady[this.#loop]! & (1 << base)) !== 0) {
      this.#resume(at / STRIDE, this.#ahead + 1, this.#liveBefore(at));
      out.byte(W.end);
      this.#remember(base, off, bytes);
      return;
    }
    // A register that serves several regions in turn often comes back to the one looked up last.
    this.#get(this.#address);
    this.#get(this.#window(LAST_FOUND));
    out.byte(W.i64_sub);
    this.#get(this.#limit(LAST_FOUND, bytes));
    out.byte(W.i64_lt_u);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.#copyWindow(base, LAST_FOUND);
    out.byte(W.else);
    this.#storeLeft(this.#ahead);
    this.#i32(at);
    this.#get(PARAM_SP);
    this.#get(this.#address);
    out.byte(W.i32_wrap_i64);
    this.#get(this.#address);
    this.#i64(32);
    out.byte(W.i64_shr_u);
    out.byte(W.i32_wrap_i64);
    this.#i32(bytes | (write ? 256 : 0));
    this.#call(IMPORT.slow);
    this.#loadWindow(LAST_FOUND);
    this.#copyWindow(base, LAST_FOUND);
    out.byte(W.end);
    out.byte(W.end);
    this.#remember(base, off, bytes);
  }

  /** Takes the region that a call has found as the window of a register. */
  #loadWindow(base: number): void {
    this.#get(PARAM_BASE);
    this.#memory(W.i64_load, SCRATCH_WINDOW);
    this.#set(this.#window(base));
    for (let log = 0; log < 4; log++) {
      if ((this.#sizes[base]! & (1 << log)) === 0) continue;
      this.#get(PARAM_BASE);
      this.#memory(W.i64_load32_u, SCRATCH_LIMITS + 4 * log);
      this.#set(this.#limit(base, 1 << log));
    }
  }

  #remember(base: number, off: number, bytes: number): void {
    const from = this.#knownFrom[base]!;
    const to = this.#knownTo[base]!;
    // Bytes that touch lie in one allocation: between two there is always a gap.
    const joins = from < to && off <= to && off + bytes >= from;
    this.#knownFrom[base] = joins ? Math.min(from, off) : off;
    this.#knownTo[base] = joins ? Math.max(to, off + bytes) : off + bytes;
  }

  /** Registers that are live in front of the instruction at word `at` of the block at hand. */
  #liveBefore(at: number): number {
    const state: Demand = { live: this.#liveBehind[at / STRIDE - this.#demandBase]!, wide: 0 };
    demandBefore(this.code, at, this.#atomics, this.#variant.checked, state);
    return state.live;
  }

  #window(base: number): number {
    if (this.#windowBase[base]! < 0) this.#windowBase[base] = this.#local(TYPE_I64);
    return this.#windowBase[base]!;
  }

  #limit(base: number, bytes: number): number {
    const index = base * 4 + (31 - Math.clz32(bytes));
    if (this.#windowLimit[index]! < 0) this.#windowLimit[index] = this.#local(TYPE_I64);
    return this.#windowLimit[index]!;
  }

  /** Behind a call to the outside allocations may be gone. */
  #forgetWindows(): void {
    if (!this.#variant.checked) return;
    this.#knownFrom.fill(0);
    this.#knownTo.fill(0);
    for (let base = 0; base <= LAST_FOUND; base++) {
      if (base === FP && this.#fixedFrame) continue;
      for (let log = 0; log < 4; log++) {
        if ((this.#sizes[base]! & (1 << log)) === 0) continue;
        this.#i64(0);
        this.#set(this.#limit(base, 1 << log));
      }
    }
  }

  /** What was found accessible moves with `r += constant` and is forgotten with any other write. */
  #forgetKnown(dense: number, facts: OpFacts): void {
    if (!this.#variant.checked) return;
    const at = dense * STRIDE;
    const register = definedRegister(facts, this.code, at, this.#atomics);
    if (register < 0) return;
    const k = this.code[at + 3]!;
    if (facts.kind === KIND.add64 && !facts.register && (facts.stem === 'add' || facts.stem === 'sub') && Math.abs(k) < 1 << 20) {
      const by = facts.stem === 'add' ? k : -k;
      if (this.#knownFrom[register]! === this.#knownTo[register]!) return;
      this.#knownFrom[register]! -= by;
      this.#knownTo[register]! -= by;
      return;
    }
    this.#knownFrom[register] = 0;
    this.#knownTo[register] = 0;
  }

  #access(dense: number, opcode: number, offset: number): void {
    this.#traps.push(this.out.length, dense);
    this.#memory(opcode, offset);
  }

  #load(dense: number, facts: OpFacts): void {
    const { code } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    const base = code[at + 2]! >> 1;
    const off = code[at + 3]!;
    const wide = this.#isWide(dense, d) && (facts.signed || facts.bytes === 8);
    if (facts.access === 'p' || facts.access === 'a') {
      this.#guardedLoad(dense, facts, d, base, off, wide);
      return;
    }
    const offset = this.#pushAddress(at, base, off, facts.bytes, false, facts.access);
    this.#access(dense, loadOpcode(facts, wide), offset);
    if (wide) this.#setWide(d);
    else this.#setNarrow(d);
  }

  /** A load that gives 0 where it would fault. */
  #guardedLoad(dense: number, facts: OpFacts, d: number, base: number, off: number, wide: boolean): void {
    const { out } = this;
    const address = this.#borrow(TYPE_I32);
    if (facts.access === 'a') this.#arenaAddress(base, off, facts.bytes);
    else this.#probeAddress(base, off);
    this.#tee(address);
    this.#i32(0);
    out.byte(W.i32_ge_s);
    out.byte(W.if);
    out.byte(wide ? TYPE_I64 : TYPE_I32);
    this.#get(address);
    this.#access(dense, loadOpcode(facts, wide), 0);
    out.byte(W.else);
    if (wide) this.#i64(0);
    else this.#i32(0);
    out.byte(W.end);
    if (wide) this.#setWide(d);
    else this.#setNarrow(d);
    this.#giveBack(TYPE_I32, address);
  }

  #arenaAddress(base: number, off: number, bytes: number): void {
    this.#pushNarrow(base);
    this.#i32(off);
    this.#i32(bytes);
    this.#call(IMPORT.arena);
  }

  /** The offset of a kernel address inside the memory, else -1. The upper half counts without the carry of the offset. */
  #probeAddress(base: number, off: number): void {
    const { out } = this;
    const at = this.#borrow(TYPE_I32);
    this.#pushNarrow(base);
    this.#i32(off);
    out.byte(W.i32_add);
    this.#tee(at);
    this.#i32(-1);
    this.#pushHigh(base);
    this.#i32(KERNEL_HI);
    out.byte(W.i32_eq);
    this.#get(at);
    this.#i32(65536);
    out.byte(W.i32_ge_s);
    out.byte(W.i32_and);
    this.#get(at);
    out.byte(0x3f);
    out.byte(0);
    this.#i32(16);
    out.byte(W.i32_shl);
    this.#i32(8);
    out.byte(W.i32_sub);
    out.byte(W.i32_le_u);
    out.byte(W.i32_and);
    out.byte(W.select);
    this.#giveBack(TYPE_I32, at);
  }

  #store(dense: number, facts: OpFacts): void {
    const { code, out } = this;
    const at = dense * STRIDE;
    const base = code[at + 1]! >> 1;
    const off = facts.register ? code[at + 3]! : code[at + 2]!;
    const value = (): void => {
      if (facts.bytes === 8) {
        if (facts.register) this.#pushWide(code[at + 2]! >> 1);
        else this.#i64(code[at + 3]!);
      } else if (facts.register) this.#pushNarrow(code[at + 2]! >> 1);
      else this.#i32(code[at + 3]!);
    };
    const opcode = facts.bytes === 8 ? W.i64_store : facts.bytes === 4 ? W.i32_store : facts.bytes === 2 ? W.i32_store16 : W.i32_store8;
    if (facts.access === 'a') {
      const address = this.#borrow(TYPE_I32);
      this.#arenaAddress(base, off, facts.bytes);
      this.#tee(address);
      this.#i32(0);
      out.byte(W.i32_ge_s);
      out.byte(W.if);
      out.byte(TYPE_VOID);
      this.#get(address);
      value();
      this.#access(dense, opcode, 0);
      out.byte(W.end);
      this.#giveBack(TYPE_I32, address);
      return;
    }
    const offset = this.#pushAddress(at, base, off, facts.bytes, true, facts.access);
    value();
    this.#access(dense, opcode, offset);
  }

  #atomic(dense: number): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const atomic = this.#atomics[code[at + 3]!]!;
    const { size, arena, off } = atomic;
    const isLoad = atomic.operation === 0x100;
    const base = isLoad ? atomic.src : atomic.dst;
    const address = this.#borrow(TYPE_I32);
    if (arena) {
      this.#arenaAddress(base, off, size);
      this.#set(address);
      if (isLoad) {
        this.#i64(0);
        this.#setWide(atomic.dst);
      }
      // A fetching operation that is dropped keeps its register: both ways must leave it in the same form.
      const target = fetchTarget(atomic);
      if (target >= 0) {
        this.#pushWide(target);
        this.#setWide(target);
      }
      this.#get(address);
      this.#i32(0);
      out.byte(W.i32_ge_s);
      out.byte(W.if);
      out.byte(TYPE_VOID);
    } else {
      const offset = this.#pushAddress(at, base, off, size, !isLoad, this.#variant.checked ? 'c' : 'f');
      if (offset !== 0) {
        this.#i32(offset);
        out.byte(W.i32_add);
      }
      this.#set(address);
    }
    if (size > 1) this.#checkAlignment(at, address, base, size, arena);
    this.#atomicBody(dense, atomic, address);
    if (arena) out.byte(W.end);
    this.#giveBack(TYPE_I32, address);
  }

  #checkAlignment(at: number, address: number, base: number, size: number, arena: boolean): void {
    const { out } = this;
    this.#get(address);
    this.#i32(size - 1);
    out.byte(W.i32_and);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.#storeLeft(this.#ahead);
    this.#i32(at);
    this.#get(PARAM_SP);
    this.#i32(FAULT_KINDS.alignment | (size << 8));
    this.#get(address);
    if (arena) this.#i32(KERNEL_HI);
    else this.#pushHigh(base);
    this.#call(IMPORT.fault);
    out.byte(W.unreachable);
    out.byte(W.end);
  }

  #atomicBody(dense: number, { dst, src, operation, size }: Atomic, address: number): void {
    const { out } = this;
    const wide = size === 8;
    const loadOp = wide ? W.i64_load : size === 4 ? W.i32_load : size === 2 ? W.i32_load16_u : W.i32_load8_u;
    const storeOp = wide ? W.i64_store : size === 4 ? W.i32_store : size === 2 ? W.i32_store16 : W.i32_store8;
    const push = (register: number): void => (wide ? this.#pushWide(register) : this.#pushNarrow(register));
    /** The result of a fetch: i64 everywhere, as an arena's dropped access keeps the i64 form. */
    const set = (register: number): void => {
      if (!wide) out.byte(W.i64_extend_i32_u);
      this.#setWide(register);
    };
    if (operation === 0x100) {
      this.#get(address);
      this.#access(dense, loadOp, 0);
      set(dst);
      return;
    }
    if (operation === 0x110) {
      this.#get(address);
      push(src);
      this.#access(dense, storeOp, 0);
      return;
    }
    const type = wide ? TYPE_I64 : TYPE_I32;
    const old = this.#borrow(type);
    this.#get(address);
    this.#access(dense, loadOp, 0);
    this.#set(old);
    this.#get(address);
    if (operation === 0xf1) {
      push(src);
      this.#get(old);
      this.#get(old);
      push(0);
      out.byte(wide ? W.i64_eq : W.i32_eq);
      out.byte(W.select);
    } else if (operation === 0xe1) push(src);
    else {
      this.#get(old);
      push(src);
      const stem = { 0x00: 'add', 0x40: 'or', 0x50: 'and', 0xa0: 'xor' }[operation & 0xf0]!;
      out.byte(BINARY[stem]![wide ? 0 : 1]);
    }
    this.#access(dense, storeOp, 0);
    if ((operation & 1) === 1) {
      this.#get(old);
      set(operation === 0xf1 ? 0 : src);
    }
    this.#giveBack(type, old);
  }

  // Control

  /** Leaves the condition: the counter is used up. */
  #mayGoto(): void {
    const { out } = this;
    this.#get(this.#goes);
    out.byte(W.i32_eqz);
    this.#get(this.#goes);
    this.#get(this.#goes);
    this.#i32(0);
    out.byte(W.i32_ne);
    out.byte(W.i32_sub);
    this.#set(this.#goes);
  }

  #callLocal(at: number): void {
    const { out, code } = this;
    this.#get(PARAM_SP);
    this.#get(PARAM_BASE);
    out.byte(W.i32_sub);
    this.#i32(DEEPEST);
    out.byte(W.i32_ge_s);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.#fault(at, 'call-depth', this.#ahead);
    out.byte(W.end);
    if (callsNowhere(code, at)) {
      this.#fault(code[at + 2]!, 'bad-target', 0);
      return;
    }
    this.#storeLeft(this.#ahead);
    for (let register = 1; register <= 5; register++) this.#pushWide(register);
    this.#get(PARAM_SP);
    this.#i32(FRAME_STRIDE);
    out.byte(W.i32_add);
    this.#get(PARAM_BASE);
    this.#call(this.#module.functionIndex(code[at + 2]! / STRIDE));
    this.#setWide(0);
    this.#afterCall(at / STRIDE);
  }

  #callHelper(dense: number, facts: OpFacts): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const isKfunc = OP_NAMES[code[at]!] === 'kfunc';
    const inline = facts.kind === KIND.helper && !isKfunc ? this.#module.inlineHelper(code[at + 3]!) : -1;
    if (inline >= 0) {
      for (let register = 1; register <= 5; register++) this.#pushWide(register);
      this.#get(PARAM_SP);
      this.#get(PARAM_BASE);
      this.#call(inline);
      this.#setWide(0);
      return;
    }
    this.#storeLeft(this.#ahead);
    this.#i32(at);
    if (facts.kind === KIND.callx) {
      // An id beyond 32 bits is none: -1 is never a helper.
      this.#pushNarrow(code[at + 1]! >> 1);
      this.#i32(-1);
      this.#pushHigh(code[at + 1]! >> 1);
      out.byte(W.i32_eqz);
      out.byte(W.select);
    } else this.#i32(code[at + 3]!);
    this.#get(PARAM_SP);
    for (let register = 1; register <= 5; register++) {
      this.#pushNarrow(register);
      this.#pushHigh(register);
    }
    this.#call(isKfunc ? IMPORT.kfunc : IMPORT.helper);
    if (this.#isWide(dense, 0)) {
      out.byte(W.i64_extend_i32_u);
      this.#get(PARAM_BASE);
      this.#memory(W.i64_load32_u, SCRATCH_RESULT + 4);
      this.#i64(32);
      out.byte(W.i64_shl);
      out.byte(W.i64_or);
      this.#setWide(0);
    } else this.#setNarrow(0);
    this.#afterCall(dense);
  }

  /** Takes back the budget, which the callee has drawn on; the windows may be stale. */
  #afterCall(dense: number): void {
    this.#forgetWindows();
    if (this.#left < 0) return;
    this.#loadLeft(this.#ahead);
    this.#zero = zeroAfter(this.code, dense * STRIDE, this.#atomics, this.#zero);
    this.#checkBudget(dense + 1, this.#liveBehind[dense - this.#demandBase]!);
  }

  #tailCall(dense: number): void {
    const { out } = this;
    this.#storeLeft(this.#ahead);
    this.#i32(dense * STRIDE);
    this.#get(PARAM_SP);
    this.#pushNarrow(1);
    this.#pushHigh(1);
    this.#pushNarrow(2);
    this.#pushNarrow(3);
    this.#call(IMPORT.tail);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.#get(PARAM_BASE);
    this.#memory(W.i64_load, SCRATCH_RESULT);
    out.byte(W.return);
    out.byte(W.end);
    this.#afterCall(dense);
  }

  #packet(dense: number): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    this.#storeLeft(this.#ahead);
    this.#i32(at);
    this.#get(PARAM_SP);
    if (OP_NAMES[code[at]!] === 'ldind') {
      this.#pushNarrow(code[at + 2]! >> 1);
      this.#i32(code[at + 3]!);
      out.byte(W.i32_add);
    } else this.#i32(code[at + 3]!);
    this.#pushNarrow(6);
    this.#pushHigh(6);
    this.#call(IMPORT.packet);
    out.byte(W.i32_eqz);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.#i64(0);
    out.byte(W.return);
    out.byte(W.end);
    this.#get(PARAM_BASE);
    this.#memory(W.i32_load, SCRATCH_RESULT);
    this.#setNarrow(0);
    this.#afterCall(dense);
  }

  /** Indirect jumps go on in the interpreter; what is no instruction faults. */
  #endOfTheRoad(at: number): void {
    const name = OP_NAMES[this.code[at]!]!;
    if (name === 'gotox') this.#resume(at / STRIDE, 0, ALL_REGISTERS);
    else if (name === 'badtarget') this.#fault(at, 'bad-target', 0);
    else {
      // Charged as an attempt, as the interpreter does.
      this.#charge(1);
      this.#fault(at, 'bad-instruction', 0);
    }
  }
}

function loadOpcode(facts: OpFacts, wide: boolean): number {
  if (facts.bytes === 8) return wide ? W.i64_load : W.i32_load;
  if (facts.bytes === 4) return wide && facts.signed ? W.i64_load32_s : W.i32_load;
  if (facts.bytes === 2) return facts.signed ? (wide ? W.i64_load16_s : W.i32_load16_s) : W.i32_load16_u;
  return facts.signed ? (wide ? W.i64_load8_s : W.i32_load8_s) : W.i32_load8_u;
}

/** Register that an atomic instruction writes, -1 for none. */
function fetchTarget({ dst, src, operation }: Atomic): number {
  if (operation === 0x100) return dst;
  if (operation === 0xf1) return 0;
  return operation < 0x100 && (operation & 1) === 1 ? src : -1;
}

/** Register that an instruction writes, -1 for none. */
function definedRegister(facts: OpFacts, code: Int32Array, at: number, atomics: readonly Atomic[]): number {
  switch (facts.kind) {
    case KIND.nop: case KIND.ja: case KIND.store: case KIND.starg: case KIND.jump32: case KIND.jump64: case KIND.maygoto: case KIND.tailcall:
    case KIND.exit: case KIND.end: case KIND.other:
      return -1;
    case KIND.call: case KIND.helper: case KIND.callx: case KIND.packet:
      return 0;
    case KIND.atomic:
      return fetchTarget(atomics[code[at + 3]!]!);
    default:
      return code[at + 1]! >> 1;
  }
}
