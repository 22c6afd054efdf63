/**
 * @module vm/wasm/state
 * What the code generator knows while it compiles one function: the locals it has taken, in which form each register is at hand, what
 * the analyses found; and the smallest pieces of code. The layers above it: `exits` (budget, faults, handing over to the interpreter),
 * `memory`, `arithmetic`, `function`.
 */
import type { DirectImport } from '../direct.ts';
import { STRIDE, type Atomic, type PreparedProgram } from '../program.ts';
import { ByteWriter, TYPE_I32, TYPE_I64, W } from './bytes.ts';
import type { Counters } from './counters.ts';
import type { InlineBody } from './inline.ts';
import { buildFlowGraph, eachSuccessor, type FlowGraph, type PartView, type TargetsOf } from './cfg.ts';
import { analyse, definedRegister, FACTS, KIND, type BlockFacts, type OpFacts } from './flow.ts';
import { IMPORT_COUNT, PARAM_SP, PARAMS } from './layout.ts';
import { narrowComparisons } from './pointers.ts';
import { findForkingLoops, findLoops, type LoopFacts } from './loops.ts';

/** What is compiled, and how. */
export interface Variant {
  readonly checked: boolean;
  readonly counted: boolean;
  /** Tells how often each instruction was executed. */
  readonly covered?: boolean;
}

/** What a function needs to know of its module. */
export interface ModuleContext {
  /** Dense form of the variant; a copy where comparisons of pointers are to be narrowed. */
  readonly code: Int32Array;
  /** Function index of the local function that begins at a dense instruction. */
  functionIndex(dense: number): number;
  /** Function index of a helper that is compiled into the module, -1 for one that is called outside. */
  inlineHelper(id: number): number;
  /** The same as a body to be repeated, where it is short and does nothing but compute. */
  helperBody(id: number): InlineBody | undefined;
  /** True where that function may access memory or call out. */
  isInvolved(id: number): boolean;
  /** A helper that is imported by itself; `registers` is the offset of r0 for helpers that work in memory. */
  direct(id: number): { readonly index: number; readonly form: DirectImport; readonly registers: number } | undefined;
  /** True while such a helper is compiled: it calls out on behalf of its caller. */
  readonly isHelper: boolean;
  /** Counters of executed instructions, where they are wanted. */
  readonly counters: Counters | undefined;
  /** Hears that the module calls one of the imports that all modules have. */
  readonly leave: () => void;
  /** What any function of the program does: code that begins inside a frame does not see what was done before. */
  habits(): Habits;
}

export interface Habits {
  readonly writesFramePointer: boolean;
  readonly usesMayGoto: boolean;
}

export function habitsOf(code: Int32Array, atomics: readonly Atomic[]): Habits {
  let writesFramePointer = false;
  let usesMayGoto = false;
  for (let at = 0; at < code.length; at += STRIDE) {
    const facts = FACTS[code[at]!]!;
    if (definedRegister(facts, code, at, atomics) === FP) writesFramePointer = true;
    if (facts.kind === KIND.maygoto) usesMayGoto = true;
  }
  return { writesFramePointer, usesMayGoto };
}

const NO_LOOPS: LoopFacts = { quietLoop: new Int32Array(0), steady: new Uint16Array(0), entering: new Uint16Array(0) };
export const FP: number = 10;
/** Index, behind those of the registers, of the window of the region that was looked up last. */
export const LAST_FOUND: number = 13;
export const MAY_GOTO: number = 0x800000;

export class FunctionState {
  readonly code: Int32Array;
  readonly graph: FlowGraph;
  readonly out: ByteWriter = new ByteWriter(4096);
  protected readonly program: PreparedProgram;
  protected readonly atomics: readonly Atomic[];
  protected readonly variant: Variant;
  protected readonly module: ModuleContext;
  protected readonly root: number;
  protected readonly continuation: number;
  /** In a part: blocks that other parts lead to. */
  protected readonly isEntry: Uint8Array;
  protected readonly facts: BlockFacts;
  protected readonly loops: LoopFacts;
  /** 1 for headers of loops that V8 should not unroll. */
  protected readonly ballast: Uint8Array;
  /** The quiet loop around the block at hand, -1 for none. */
  protected loop: number = -1;
  /** Types of the locals behind the parameters. */
  protected readonly locals: number[] = [];
  protected readonly wide: Int32Array = new Int32Array(13).fill(-1);
  protected readonly narrow: Int32Array = new Int32Array(13).fill(-1);
  protected readonly temporaries: { readonly type: number; readonly index: number }[] = [];
  protected readonly traps: number[] = [];
  /** Where the current values are: registers whose i64, whose i32 local is right. */
  protected validWide: number = 0;
  protected validNarrow: number = 0;
  protected zero: number = 0;
  /** Upper halves that matter behind each instruction of the block at hand. */
  protected demand: Uint16Array = new Uint16Array(64);
  /** Registers that are live behind each of them. */
  protected liveBehind: Uint16Array = new Uint16Array(64);
  protected demandBase: number = 0;
  /** True where the function never writes r10: it is then `sp` itself. */
  protected readonly fixedFrame: boolean;
  protected usesWideFrame: boolean = false;
  /** Local with the lowest byte of the frame's stack, -1 where no access goes there: instructions have no negative offsets. */
  protected lowest: number = -1;
  protected usesMayGoto: boolean = false;
  protected left: number = -1;
  protected goes: number = -1;
  protected address: number = -1;
  /** Instructions of the block that are charged but not executed yet. */
  protected ahead: number = 0;
  // Checked accesses: by base register the locals of the window, and by size those of its limits.
  protected readonly windowBase: Int32Array = new Int32Array(14).fill(-1);
  protected readonly windowLimit: Int32Array = new Int32Array(14 * 4).fill(-1);
  /** Sizes (bit 0: one byte … bit 3: eight) that the function accesses through each register. */
  protected readonly sizes: Uint8Array = new Uint8Array(14);
  /** Byte range relative to each register that was found accessible in this block. */
  protected readonly knownFrom: Int32Array = new Int32Array(13);
  protected readonly knownTo: Int32Array = new Int32Array(13);
  /** True in loops that are proven in front: accesses are not checked there. */
  protected trusted: boolean = false;
  /** Steps of registers that are put off there. */
  protected readonly pending: Int32Array = new Int32Array(13);
  /** The last load of 16 bits in the block at hand, and where to: that value needs no mask to be swapped. */
  protected shortAt: number = -1;
  protected shortRegister: number = -1;

  /**
   * `continuation`: the function begins inside a frame, with its registers in the scratch area; stack bytes of that frame. `part`: and it
   * is left for other parts in the same way.
   */
  constructor(
    program: PreparedProgram, leaders: Uint8Array, root: number, variant: Variant, module: ModuleContext, targetsOf: TargetsOf,
    continuation: number = -1, part?: PartView,
  ) {
    this.continuation = continuation;
    this.program = program;
    this.variant = variant;
    this.module = module;
    this.root = root;
    this.code = module.code;
    this.atomics = program.atomics;
    this.graph = buildFlowGraph(this.code, leaders, root, module.counters === undefined, targetsOf, part);
    if (module.code !== program.fast && !variant.checked) narrowComparisons(module.code, program.fast, this.graph, this.atomics);
    this.facts = analyse(this.code, this.graph, this.atomics, variant.checked, continuation < 0);
    let writesFramePointer = this.scan();
    if (continuation >= 0) {
      const habits = module.habits();
      writesFramePointer ||= habits.writesFramePointer;
      this.usesMayGoto ||= habits.usesMayGoto;
    }
    this.fixedFrame = !writesFramePointer;
    this.isEntry = new Uint8Array(part === undefined ? 0 : this.graph.count);
    if (part !== undefined) eachSuccessor(this.graph, 0, (to) => { this.isEntry[to] = 1; });
    this.loops = variant.checked ? findLoops(this.code, this.graph) : NO_LOOPS;
    this.ballast = findForkingLoops(this.graph);
  }

  /** Instructions in the function, for limits on the whole module. */
  get instructions(): number {
    return this.graph.instructions;
  }

  /** One look at every instruction: is r10 written, which sizes go through which register, are there may_gotos? */
  protected scan(): boolean {
    const { graph, code } = this;
    let writesFrame = false;
    const copies = new Set<number>();
    const visit = (dense: number): void => {
      const at = dense * STRIDE;
      const facts = FACTS[code[at]!]!;
      if (definedRegister(facts, code, at, this.atomics) === FP) writesFrame = true;
      if (facts.kind === KIND.maygoto) this.usesMayGoto = true;
      if (facts.access === 'c') {
        const base = facts.kind === KIND.load ? code[at + 2]! >> 1 : code[at + 1]! >> 1;
        this.sizes[base]! |= facts.bytes;
      } else if (facts.kind === KIND.mov64 && facts.register) {
        copies.add(((code[at + 2]! >> 1) << 4) | (code[at + 1]! >> 1));
      } else if (facts.kind === KIND.atomic) {
        const atomic = this.atomics[code[at + 3]!]!;
        this.sizes[atomic.operation === 0x100 ? atomic.src : atomic.dst]! |= atomic.size;
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
        const sizes = this.sizes[copy >> 4]! | this.sizes[copy & 15]!;
        if (sizes !== this.sizes[copy >> 4]) changed = true;
        this.sizes[copy >> 4] = sizes;
      }
    }
    for (let base = 0; base < LAST_FOUND; base++) this.sizes[LAST_FOUND]! |= this.sizes[base]!;
    return writesFrame;
  }

  protected frameBytes(): number {
    if (this.continuation >= 0) return this.continuation;
    return this.program.stackAt(this.program.pcOf[this.root] ?? 0);
  }

  protected local(type: number): number {
    this.locals.push(type);
    return PARAMS + this.locals.length - 1;
  }

  protected stackStart(): number {
    if (this.lowest < 0) this.lowest = this.local(TYPE_I32);
    return this.lowest;
  }

  newLocal(): number {
    return this.local(TYPE_I32);
  }

  protected wideLocal(register: number): number {
    if (register >= 1 && register <= 5) return register - 1;
    if (this.wide[register]! < 0) this.wide[register] = this.local(TYPE_I64);
    return this.wide[register]!;
  }

  protected narrowLocal(register: number): number {
    if (this.narrow[register]! < 0) this.narrow[register] = this.local(TYPE_I32);
    return this.narrow[register]!;
  }

  protected borrow(type: number): number {
    const index = this.temporaries.findIndex((one) => one.type === type);
    if (index < 0) return this.local(type);
    return this.temporaries.splice(index, 1)[0]!.index;
  }

  protected giveBack(type: number, index: number): void {
    this.temporaries.push({ type, index });
  }

  protected get(local: number): void {
    this.out.byte(W.local_get);
    this.out.u32(local);
  }

  protected set(local: number): void {
    this.out.byte(W.local_set);
    this.out.u32(local);
  }

  protected tee(local: number): void {
    this.out.byte(W.local_tee);
    this.out.u32(local);
  }

  protected i32(value: number): void {
    this.out.byte(W.i32_const);
    this.out.s32(value);
  }

  protected i64(lo: number, hi: number = lo >> 31): void {
    this.out.byte(W.i64_const);
    this.out.s64(lo, hi);
  }

  protected memory(opcode: number, offset: number): void {
    this.out.byte(opcode);
    this.out.byte(0);
    this.out.u32(offset);
  }

  protected call(index: number): void {
    if (index < IMPORT_COUNT) this.module.leave();
    this.out.byte(W.call);
    this.out.u32(index);
  }

  protected pushWide(register: number): void {
    if (register === FP && this.fixedFrame) {
      this.usesWideFrame = true;
      this.get(this.wideLocal(FP));
    } else if ((this.validWide & (1 << register)) !== 0) this.get(this.wideLocal(register));
    else {
      this.get(this.narrowLocal(register));
      this.out.byte(W.i64_extend_i32_u);
    }
  }

  protected pushNarrow(register: number): void {
    if (register === FP && this.fixedFrame) this.get(PARAM_SP);
    else if ((this.validNarrow & (1 << register)) !== 0) this.get(this.narrowLocal(register));
    else {
      this.get(this.wideLocal(register));
      this.out.byte(W.i32_wrap_i64);
    }
  }

  protected pushHigh(register: number): void {
    if ((this.validWide & (1 << register)) === 0 && register !== FP) {
      this.i32(0);
      return;
    }
    this.pushWide(register);
    this.i64(32);
    this.out.byte(W.i64_shr_u);
    this.out.byte(W.i32_wrap_i64);
  }

  protected setWide(register: number): void {
    this.set(this.wideLocal(register));
    this.validWide |= 1 << register;
    this.validNarrow &= ~(1 << register);
  }

  protected setNarrow(register: number): void {
    this.set(this.narrowLocal(register));
    this.validNarrow |= 1 << register;
    this.validWide &= ~(1 << register);
  }

  /** Does the upper half of `register` matter behind dense instruction `dense` of the block at hand? */
  protected isWide(dense: number, register: number): boolean {
    return (this.demand[dense - this.demandBase]! & (1 << register)) !== 0;
  }

  protected operandIsZero(at: number, facts: OpFacts): boolean {
    return facts.register ? (this.zero & (1 << (this.code[at + 2]! >> 1))) !== 0 : this.code[at + 3]! >= 0;
  }

  protected pushOperandNarrow(at: number, facts: OpFacts): void {
    if (facts.register) this.pushNarrow(this.code[at + 2]! >> 1);
    else this.i32(this.code[at + 3]!);
  }

  protected pushOperandWide(at: number, facts: OpFacts): void {
    if (facts.register) this.pushWide(this.code[at + 2]! >> 1);
    else this.i64(this.code[at + 3]!);
  }
}
