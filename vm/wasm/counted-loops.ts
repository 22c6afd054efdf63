/**
 * @module vm/wasm/counted-loops
 * Emits loops of a known number of iterations (`counted`) twice: without any check, where a proof in front of the loop holds, and as they
 * are otherwise. The proof computes the number of iterations, looks at both ends of each range of memory, and takes the whole
 * loop from the budget. What it accepts neither faults nor runs out of budget, so that nothing between its ends can be observed.
 *
 * Inside, registers that only step by a constant are i32 or not there at all, steps are folded into the offsets of accesses, and several
 * iterations follow each other.
 */
import { STRIDE } from '../program.ts';
import { TYPE_I32, TYPE_I64, TYPE_VOID, W } from './bytes.ts';
import { findCountedLoops, type CountedLoop, type Reach, type Sum } from './counted.ts';
import { demandBefore, FACTS, KIND, zeroAfter, type Demand, type OpFacts } from './flow.ts';
import { FunctionCompiler, type CompiledFunction } from './function.ts';
import { FP } from './state.ts';

/** Instructions that several iterations in a row may have together. */
const UNROLLED = 48;
const MOST_ITERATIONS = 4;
/** Larger bodies gain too little. */
const LARGEST_BODY = 100;
const MOST_TRIPS = 0x7fffffff;
/** Between numbers below this nothing overflows. */
const FAR_HI = 1 << 30;

/** How a loop is emitted. */
interface Plan {
  readonly loop: CountedLoop;
  /** Registers that step by a constant and whose upper half nobody reads inside. */
  readonly riders: number;
  /** Those of them that something inside reads. */
  readonly needed: number;
  /** Upper halves that matter behind each instruction. */
  readonly demand: Uint16Array;
  readonly iterations: number;
}

export class LoopCompiler extends FunctionCompiler {
  readonly #plans: Map<number, Plan> = new Map();
  /** Local with the number of iterations less one, i64. */
  #trips: number = -1;

  override compile(): CompiledFunction {
    if (!this.module.isHelper && this.module.counters === undefined) this.#findPlans();
    return super.compile();
  }

  #findPlans(): void {
    const { graph, variant } = this;
    const loops = findCountedLoops(this.code, graph, variant.checked, this.fixedFrame ? this.frameBytes() : 0);
    for (const [header, loop] of loops) {
      if (loop.length > LARGEST_BODY || this.loopIsNotQuiet(header)) continue;
      // Code that neither checks nor counts gains from fewer steps only.
      if (!variant.checked && !variant.counted && (loop.accesses === 0 || loop.length * 2 > UNROLLED)) continue;
      this.#plans.set(header, this.#plan(loop));
      // The way out is taken from both versions.
      if (loop.exit > header) graph.isMerge[loop.exit] = 1;
    }
  }

  #plan(loop: CountedLoop): Plan {
    const { facts, graph } = this;
    const { header, exit, condition } = loop;
    const start = graph.start[header]!;
    const code = this.program.fast;
    let riders = 0;
    for (let register = 0; register < 13; register++) if (loop.steps[register] !== 0 && register !== FP) riders |= 1 << register;
    const demand = new Uint16Array(condition + 1 - start);
    const state: Demand = { live: 0, wide: 0 };
    let needed = 0;
    for (;;) {
      state.live = facts.live[exit]! | facts.live[header]!;
      state.wide = (facts.wide[exit]! | facts.wide[header]!) & ~riders;
      needed = 0;
      demand[condition - start] = state.wide;
      for (let dense = condition - 1; dense >= start; dense--) {
        const at = dense * STRIDE;
        demand[dense - start] = state.wide;
        const d = code[at + 1]! >> 1;
        const steps = isStep(code, at) && (riders & (1 << d)) !== 0;
        const facts = FACTS[code[at]!]!;
        if (!steps) needed |= usedBy(code, at, facts) | baseOf(code, at, facts);
        demandBefore(code, at, this.atomics, false, state);
      }
      const lost = state.wide & riders;
      if (lost === 0) break;
      riders &= ~lost;
    }
    const iterations = Math.max(1, Math.min(MOST_ITERATIONS, 2 ** Math.floor(Math.log2(UNROLLED / loop.length))));
    return { loop, riders, needed: needed & riders, demand, iterations };
  }

  override isCounted(block: number): boolean {
    return this.#plans.has(block);
  }

  /**
   * The fast version, inside a block that leads to the other one. `leave` jumps to the exit, from
   * so many blocks further inside.
   */
  override emitCounted(block: number, leave: (exit: number, inside: number) => void): void {
    const plan = this.#plans.get(block)!;
    const { loop, riders, iterations } = plan;
    const { out } = this;
    const { live } = this.facts;
    this.#emitProof(loop);
    const trips = this.#trips;
    const count = this.borrow(TYPE_I32);
    this.get(trips);
    out.byte(W.i32_wrap_i64);
    this.i32(1);
    out.byte(W.i32_add);
    this.set(count);
    this.#enterRiders(plan);
    const wide = this.validWide;
    const narrow = this.validNarrow;
    const zero = this.zero & ~riders;
    const enter = (): void => {
      this.validWide = wide;
      this.validNarrow = narrow;
      this.zero = zero;
    };
    const finish = (inside: number): void => {
      for (let register = 0; register < 13; register++) {
        if ((riders & (1 << register)) === 0) continue;
        this.validWide |= 1 << register;
        if ((plan.needed & (1 << register)) === 0) this.validNarrow &= ~(1 << register);
      }
      this.zero &= ~riders;
      this.edge(loop.exit);
      leave(loop.exit, inside);
    };
    /** Registers that the body writes are brought into the form that they have when it begins. */
    const goBack = (): void => {
      for (let register = 0; register < 13; register++) {
        const bit = 1 << register;
        if ((loop.written & live[block]! & ~riders & bit) === 0 || (register === FP && this.fixedFrame)) continue;
        if ((narrow & bit) !== 0 && (this.validNarrow & bit) === 0) {
          this.get(this.wideLocal(register));
          out.byte(W.i32_wrap_i64);
          this.set(this.narrowLocal(register));
        } else if ((narrow & bit) === 0 && (this.validWide & bit) === 0) {
          this.get(this.narrowLocal(register));
          out.byte(W.i64_extend_i32_u);
          this.set(this.wideLocal(register));
        }
      }
    };
    if (iterations > 1) {
      out.byte(W.block); out.byte(TYPE_VOID);
      this.get(count);
      this.i32(iterations);
      out.byte(W.i32_lt_u);
      out.byte(W.br_if); out.u32(0);
      enter();
      out.byte(W.loop); out.byte(TYPE_VOID);
      for (let one = 0; one < iterations; one++) this.#emitIteration(plan);
      this.#flush(plan, ALL);
      goBack();
      this.get(count);
      this.i32(iterations);
      out.byte(W.i32_sub);
      this.tee(count);
      this.i32(iterations);
      out.byte(W.i32_ge_u);
      out.byte(W.br_if); out.u32(0);
      out.byte(W.end);
      this.get(count);
      out.byte(W.i32_eqz);
      out.byte(W.if); out.byte(TYPE_VOID);
      finish(2);
      out.byte(W.end);
      out.byte(W.end);
    }
    enter();
    out.byte(W.loop); out.byte(TYPE_VOID);
    this.#emitIteration(plan);
    this.#flush(plan, ALL);
    goBack();
    this.get(count);
    this.i32(1);
    out.byte(W.i32_sub);
    this.tee(count);
    out.byte(W.br_if); out.u32(0);
    out.byte(W.end);
    finish(0);
    this.giveBack(TYPE_I32, count);
  }

  // The proof

  #emitProof(loop: CountedLoop): void {
    if (this.#trips < 0) this.#trips = this.local(TYPE_I64);
    this.#countTrips(loop);
    for (const reach of loop.reaches) this.#lookAt(reach);
    if (this.left < 0) return;
    const { out } = this;
    const rest = this.borrow(TYPE_I64);
    this.get(this.left);
    this.get(this.#trips);
    this.i64(loop.length);
    out.byte(W.i64_mul);
    out.byte(W.i64_sub);
    this.i64(loop.lastLength);
    out.byte(W.i64_sub);
    this.tee(rest);
    // As at a loop header: what follows must fit in, too.
    this.i64(this.graph.instructions + 1);
    out.byte(W.i64_lt_s);
    this.#refuse();
    this.get(rest);
    this.set(this.left);
    this.giveBack(TYPE_I64, rest);
  }

  /** Goes to the other version where the condition on the operand stack holds. */
  #refuse(): void {
    this.out.byte(W.br_if);
    this.out.u32(0);
  }

  #pushSum({ registers, constant }: Sum, extra: number = 0): void {
    const { out } = this;
    for (const [index, register] of registers.entries()) {
      this.pushWide(register);
      if (index > 0) out.byte(W.i64_add);
    }
    if (registers.length === 0) this.i64(constant + extra);
    else if (constant + extra !== 0) {
      this.i64(constant + extra);
      out.byte(W.i64_add);
    }
  }

  #pushNarrowSum({ registers, constant }: Sum): void {
    const [register] = registers;
    if (register === undefined) {
      this.i32(constant);
      return;
    }
    this.pushNarrow(register);
    if (constant === 0) return;
    this.i32(constant);
    this.out.byte(W.i32_add);
  }

  /** Leaves the number of iterations less one in its local, or refuses. */
  #countTrips(loop: CountedLoop): void {
    const { out } = this;
    const { relation, width, step, value, limit } = loop;
    const trips = this.#trips;
    const isUp = step.register >= 0 || step.constant > 0;
    const size = Math.abs(step.constant);
    if (relation === 'ne' && width === 32) {
      this.#pushNarrowSum(isUp ? limit : value);
      this.#pushNarrowSum(isUp ? value : limit);
      out.byte(W.i32_sub);
      out.byte(W.i64_extend_i32_u);
    } else {
      const push = (sum: Sum): void => {
        if (width === 64) this.#pushSum(sum);
        else {
          this.#pushNarrowSum(sum);
          out.byte(W.i64_extend_i32_u);
        }
      };
      if (relation !== 'ne') {
        for (const sum of [value, limit]) {
          push(sum);
          if (width === 64) this.i64(0, FAR_HI);
          else this.i64(FAR_HI);
          out.byte(W.i64_ge_u);
          this.#refuse();
        }
        if (!isUp && !loop.signed) {
          // The value must not run below zero.
          push(limit);
          this.i64(size);
          out.byte(W.i64_lt_u);
          this.#refuse();
        }
      }
      push(isUp ? limit : value);
      push(isUp ? value : limit);
      out.byte(W.i64_sub);
    }
    if (relation === 'le' || relation === 'ge') {
      this.i64(1);
      out.byte(W.i64_add);
    }
    this.set(trips);
    if (relation === 'ne') {
      if (size > 1) {
        this.get(trips);
        this.#divide(size, true);
        this.i64(0);
        out.byte(W.i64_ne);
        this.#refuse();
        this.get(trips);
        this.#divide(size, false);
        this.set(trips);
      }
    } else {
      this.get(trips);
      this.i64(0);
      out.byte(W.i64_lt_s);
      this.#refuse();
      if (step.register >= 0) {
        // A step of zero is refused, too.
        this.pushWide(step.register);
        this.i64(1);
        out.byte(W.i64_sub);
        this.i64(MOST_TRIPS);
        out.byte(W.i64_ge_u);
        this.#refuse();
        this.get(trips);
        this.pushWide(step.register);
        out.byte(W.i64_add);
        this.i64(1);
        out.byte(W.i64_sub);
        this.pushWide(step.register);
        out.byte(W.i64_div_u);
        this.set(trips);
      } else if (size > 1) {
        this.get(trips);
        this.i64(size - 1);
        out.byte(W.i64_add);
        this.#divide(size, false);
        this.set(trips);
      }
    }
    this.get(trips);
    this.i64(MOST_TRIPS);
    out.byte(W.i64_ge_u);
    this.#refuse();
  }

  #divide(size: number, remainder: boolean): void {
    const { out } = this;
    if ((size & (size - 1)) !== 0) {
      this.i64(size);
      out.byte(remainder ? W.i64_rem_u : W.i64_div_u);
    } else if (remainder) {
      this.i64(size - 1);
      out.byte(W.i64_and);
    } else {
      this.i64(31 - Math.clz32(size));
      out.byte(W.i64_shr_u);
    }
  }

  /** Both ends of a range must lie in the region that the pointer belongs to. */
  #lookAt({ sum, step, from, fromBytes, to, toBytes }: Reach): void {
    const { out } = this;
    if (step.register >= 0) {
      this.pushWide(step.register);
      this.i64(MOST_TRIPS);
      out.byte(W.i64_ge_u);
      this.#refuse();
    }
    const isDown = step.constant < 0;
    const ends = [[from, fromBytes, isDown], [to, toBytes, !isDown]] as const;
    for (const [constant, bytes, isLast] of ends) {
      this.#pushSum({ ...sum, constant });
      if (isLast && (step.constant !== 0 || step.register >= 0)) {
        this.get(this.#trips);
        if (step.register >= 0) this.pushWide(step.register);
        else this.i64(step.constant);
        out.byte(W.i64_mul);
        out.byte(W.i64_add);
      }
      this.get(this.window(sum.root));
      out.byte(W.i64_sub);
      this.get(this.limit(sum.root, bytes));
      out.byte(W.i64_ge_u);
      this.#refuse();
    }
  }

  // The loop

  /** Riders leave their i64 form with what they will be in the end; what the loop only reads is at hand in both forms. */
  #enterRiders({ loop, riders, needed }: Plan): void {
    const { out } = this;
    const live = this.facts.live[loop.header]!;
    const wanted = this.facts.live[loop.exit]!;
    for (let register = 0; register < 13; register++) {
      const bit = 1 << register;
      if (register === FP && this.fixedFrame) continue;
      if ((riders & bit) !== 0) {
        if ((needed & bit) !== 0 && (this.validNarrow & bit) === 0) {
          this.get(this.wideLocal(register));
          out.byte(W.i32_wrap_i64);
          this.set(this.narrowLocal(register));
        }
        if ((wanted & bit) !== 0) {
          this.pushWide(register);
          this.get(this.#trips);
          this.i64(1);
          out.byte(W.i64_add);
          this.i64(loop.steps[register]!);
          out.byte(W.i64_mul);
          out.byte(W.i64_add);
          this.set(this.wideLocal(register));
        }
        this.validNarrow |= bit;
        this.validWide &= ~bit;
      } else if ((live & ~loop.written & bit) !== 0 && (this.validNarrow & bit) === 0 && this.#isRead(loop, register)) {
        this.get(this.wideLocal(register));
        out.byte(W.i32_wrap_i64);
        this.set(this.narrowLocal(register));
        this.validNarrow |= bit;
      }
    }
  }

  /** True where the lower half of a register is read inside: as an address, or in arithmetic that may be narrow. */
  #isRead({ header, condition }: CountedLoop, register: number): boolean {
    const { code } = this;
    for (let dense = this.graph.start[header]!; dense < condition; dense++) {
      const at = dense * STRIDE;
      const facts = FACTS[code[at]!]!;
      if (facts.kind === KIND.load && code[at + 2]! >> 1 === register) return true;
      if (facts.kind === KIND.store && code[at + 1]! >> 1 === register) return true;
      if (facts.register && code[at + 2]! >> 1 === register) return true;
    }
    return false;
  }

  /** One iteration, without its condition. */
  #emitIteration(plan: Plan): void {
    const { loop, demand, riders, needed } = plan;
    const { code } = this;
    const start = this.graph.start[loop.header]!;
    const ownDemand = this.demand;
    const ownBase = this.demandBase;
    this.demand = demand;
    this.demandBase = start;
    this.trusted = true;
    for (let dense = start; dense < loop.condition; dense++) {
      const at = dense * STRIDE;
      const facts = FACTS[code[at]!]!;
      const d = code[at + 1]! >> 1;
      const bit = 1 << d;
      if (isStep(code, at) && (riders & bit) !== 0) {
        if ((needed & bit) !== 0) this.pending[d]! += facts.stem === 'add' ? code[at + 3]! : -code[at + 3]!;
      } else {
        this.#flush(plan, usedBy(code, at, facts));
        if (dense + 1 < loop.condition && this.emitPair(dense)) {
          dense++;
          this.zero = zeroAfter(code, dense * STRIDE, this.atomics, this.zero);
          continue;
        }
        this.emit(dense, facts);
      }
      this.zero = zeroAfter(code, at, this.atomics, this.zero);
    }
    this.trusted = false;
    this.demand = ownDemand;
    this.demandBase = ownBase;
  }

  /** Executes steps that have been put off. */
  #flush({ riders }: Plan, mask: number): void {
    for (let register = 0; register < 13; register++) {
      const by = this.pending[register]!;
      if (by === 0 || (riders & mask & (1 << register)) === 0) continue;
      this.get(this.narrowLocal(register));
      this.i32(by);
      this.out.byte(W.i32_add);
      this.set(this.narrowLocal(register));
      this.pending[register] = 0;
    }
  }
}

const ALL = 0x1fff;

/** The base register of an access. */
function baseOf(code: Int32Array, at: number, facts: OpFacts): number {
  return facts.kind === KIND.load ? 1 << (code[at + 2]! >> 1) : facts.kind === KIND.store ? 1 << (code[at + 1]! >> 1) : 0;
}

function isStep(code: Int32Array, at: number): boolean {
  const facts = FACTS[code[at]!]!;
  return facts.kind === KIND.add64 && !facts.register && facts.stem !== 'mul';
}

/** Registers whose value an instruction reads other than as the base of an access, or writes. */
function usedBy(code: Int32Array, at: number, facts: OpFacts): number {
  const d = 1 << (code[at + 1]! >> 1);
  const s = facts.register ? 1 << (code[at + 2]! >> 1) : 0;
  if (facts.kind === KIND.load) return 0;
  if (facts.kind === KIND.store) return s;
  if (facts.kind === KIND.starg) return facts.register ? 1 << (code[at + 3]! >> 1) : 0;
  return d | s;
}
