/**
 * @module vm/wasm/function
 * Compiles one function of a dense program to a WebAssembly function body. Owns blocks and the order of things; control flow is laid out by
 * `structure`, single instructions come from the layers below (`calls`, `arithmetic`, `memory`, `exits`, `state`).
 *
 * Shape: `(r1…r5: i64, sp: i32, base: i32) → r0: i64`; `sp` is the offset that r10 points at, `base` that of the run's scratch area. Registers
 * are i64 locals, and i32 locals besides, where only the lower half matters or the upper is zero. Local calls are WebAssembly
 * calls; a fault is an imported function that throws.
 *
 * Variants: `checked` tests each access against the region of live memory that the same base register last met; `counted` charges the
 * budget block by block and hands over to the interpreter at a loop header from which it might not suffice; `covered` raises a counter
 * wherever control enters instructions that are executed together, and leaves away what would make one of several executions.
 */
import { KERNEL_HI } from '../address-space.ts';
import { MAX_STACK, STRIDE } from '../program.ts';
import { ByteWriter, TYPE_I32, TYPE_I64, W } from './bytes.ts';
import { CallEmitter } from './calls.ts';
import { eachSuccessor, isIndirectJump } from './cfg.ts';
import { definedRegister, demandBefore, demandOfSwitch, FACTS, KIND, zeroAfter, type Demand, type OpFacts } from './flow.ts';
import { ENTRY_BITS, FRAME_STRIDE, PARAM_BASE, PARAM_SP, SCRATCH_GOES, SCRATCH_REGISTERS } from './layout.ts';
import { noteDepth } from './exits.ts';
import { FP, MAY_GOTO } from './state.ts';
import { emitStructure, type BlockEmitter } from './structure.ts';

/** A compiled body. */
export interface CompiledFunction {
  /** Locals and code, without the length in front. */
  readonly body: Uint8Array;
  /** Positions in {@link body} of instructions that may trap, ascending, with their dense index: pairs. */
  readonly traps: Int32Array;
}

/**
 * Constants without a use that keep V8 from unrolling a loop: they count as its instructions (80 are the most that it unrolls), but
 * become no code.
 */
const BALLAST = 80;

/** Comparisons that hold where the other does not, but for equality: its opposite is made of it. */
const OPPOSITE: Readonly<Record<string, string>> = {
  jgt: 'jle', jle: 'jgt', jlt: 'jge', jge: 'jlt', jsgt: 'jsle', jsle: 'jsgt', jslt: 'jsge', jsge: 'jslt',
};

export class FunctionCompiler extends CallEmitter implements BlockEmitter {
  /** By block that is charged with the one in front of it: what is charged from its beginning on. */
  protected readonly chargedAhead: Map<number, number> = new Map();

  /** In a part: the local with the number of the entry. */
  protected way: number = -1;

  compile(): CompiledFunction {
    if (this.variant.counted) this.left = this.local(TYPE_I64);
    if (this.usesMayGoto) this.goes = this.local(TYPE_I32);
    this.enterFunction();
    this.edge(0);
    emitStructure(this);
    this.out.byte(W.unreachable);
    return this.assemble();
  }

  protected assemble(): CompiledFunction {
    const head = new ByteWriter(64);
    const groups: { type: number; count: number }[] = [];
    for (const type of this.locals) {
      const last = groups.at(-1);
      if (last !== undefined && last.type === type) last.count++;
      else groups.push({ type, count: 1 });
    }
    head.u32(groups.length);
    for (const { type, count } of groups) {
      head.u32(count);
      head.byte(type);
    }
    if (this.lowest >= 0) {
      head.byte(W.local_get); head.u32(PARAM_SP); head.byte(W.i32_const); head.s32(MAX_STACK); head.byte(W.i32_sub);
      head.byte(W.local_set); head.u32(this.lowest);
    }
    if (this.usesWideFrame) {
      // r10 as an address, computed once.
      const body = this.out;
      head.byte(W.local_get); head.u32(PARAM_SP); head.byte(W.i64_extend_i32_u);
      head.byte(W.i64_const); head.s64(0, KERNEL_HI); head.byte(W.i64_or);
      head.byte(W.local_set); head.u32(this.wide[FP]!);
      return this.join(head, body);
    }
    return this.join(head, this.out);
  }

  protected join(head: ByteWriter, code: ByteWriter): CompiledFunction {
    const shift = head.length;
    const traps = Int32Array.from(this.traps);
    for (let index = 0; index < traps.length; index += 2) traps[index]! += shift;
    head.append(code.view());
    head.byte(W.end);
    return { body: head.view(), traps };
  }

  protected enterFunction(): void {
    if (this.isEntry.length > 0) {
      this.way = this.local(TYPE_I32);
      this.get(0);
      this.out.byte(W.i32_wrap_i64);
      this.i32((1 << ENTRY_BITS) - 1);
      this.out.byte(W.i32_and);
      this.set(this.way);
    }
    this.validWide = 0x3e;
    this.validNarrow = 0;
    this.zero = 0;
    if (!this.fixedFrame) {
      this.get(PARAM_SP);
      this.out.byte(W.i64_extend_i32_u);
      this.i64(0, KERNEL_HI);
      this.out.byte(W.i64_or);
      this.setWide(FP);
    }
    // The others are zero, as locals are: both forms are right.
    for (const register of [0, 6, 7, 8, 9, 11, 12]) {
      this.validWide |= 1 << register;
      this.validNarrow |= 1 << register;
    }
    if (this.continuation >= 0) this.loadRegisters();
    else if (this.variant.checked) {
      noteDepth(this.out, this.frameBytes());
    }
    if (this.variant.checked && this.fixedFrame && this.sizes[FP] !== 0) this.openFrameWindow();
    if (this.goes >= 0) {
      if (this.continuation >= 0) {
        this.get(PARAM_BASE);
        this.memory(W.i32_load, SCRATCH_GOES);
      } else this.i32(MAY_GOTO);
      this.set(this.goes);
    }
    if (this.left >= 0) {
      this.loadLeft(0);
      if (this.graph.isHeader[0] === 0 && this.way < 0) this.checkBudget(this.graph.start[0]!, this.facts.live[0]!);
    }
  }

  protected loadRegisters(): void {
    for (let register = 0; register < 13; register++) {
      if ((this.facts.live[0]! & (1 << register)) === 0 || (register === FP && this.fixedFrame)) continue;
      this.get(PARAM_BASE);
      this.memory(W.i64_load, SCRATCH_REGISTERS + 8 * register);
      this.setWide(register);
    }
  }

  /** State at the beginning of a block that is entered by jumps. */
  enterBlock(block: number): void {
    const { live, wide, zero } = this.facts;
    const narrow = zero[block]! | ~wide[block]!;
    this.validNarrow = narrow & live[block]!;
    this.validWide = ~this.validNarrow;
    this.zero = zero[block]!;
  }

  /** Registers that need another form before control may enter `to`. */
  protected mismatched(to: number): number {
    const { live, wide, zero } = this.facts;
    const narrow = (zero[to]! | ~wide[to]!) & live[to]!;
    let mask = (narrow & ~this.validNarrow) | (live[to]! & ~narrow & ~this.validWide);
    if (this.fixedFrame) mask &= ~(1 << FP);
    return mask;
  }

  /** True where an edge to `to` needs no code. */
  isFreeEdge(to: number): boolean {
    return this.mismatched(to) === 0;
  }

  /** Code on the edge to `to`: brings registers into the form that the block expects. */
  protected edge(to: number): void {
    const mask = this.mismatched(to);
    if (mask === 0) return;
    for (let register = 0; register < 13; register++) {
      if ((mask & (1 << register)) === 0) continue;
      if ((this.validWide & (1 << register)) !== 0) {
        this.get(this.wideLocal(register));
        this.out.byte(W.i32_wrap_i64);
        this.set(this.narrowLocal(register));
      } else {
        this.get(this.narrowLocal(register));
        this.out.byte(W.i64_extend_i32_u);
        this.set(this.wideLocal(register));
      }
    }
  }

  /** Loops of a known number of iterations: `counted-loops`. */
  isCounted(_block: number): boolean {
    return false;
  }

  emitCounted(_block: number, _leave: (exit: number, inside: number) => void): void {}

  /** As {@link edge}, for the layout of control flow. */
  emitEdge(to: number): void {
    this.edge(to);
  }

  /** Where values are, to be restored before the other branch of a condition. */
  saveState(): readonly [number, number, number] {
    return [this.validWide, this.validNarrow, this.zero];
  }

  restoreState([wide, narrow, zero]: readonly [number, number, number]): void {
    this.validWide = wide;
    this.validNarrow = narrow;
    this.zero = zero;
  }

  /** Budget check at a loop header, inside the loop. */
  emitLoopHead(block: number): void {
    this.ahead = 0;
    if (this.ballast[block] === 1) {
      for (let one = 0; one < BALLAST; one++) {
        this.i32(0);
        this.out.byte(W.drop);
      }
    }
    if (this.left >= 0) this.checkBudget(this.graph.start[block]!, this.facts.live[block]!);
  }

  /**
   * Code of a block up to its jump. Leaves the condition of a conditional jump on the operand stack (true: `taken`); blocks without
   * one leave nothing. Blocks without successors return or fault.
   */
  emitBlock(block: number): void {
    const { graph, code } = this;
    const start = graph.start[block]!;
    const end = graph.end[block]!;
    if (start === end) {
      this.emitBorder(block);
      return;
    }
    if (this.isEntry[block] === 1 && graph.isHeader[block] === 0 && this.left >= 0) {
      this.ahead = 0;
      this.checkBudget(start, this.facts.live[block]!);
    }
    this.computeDemand(block);
    const { counters } = this.module;
    // Counted instructions are not begun anew by the interpreter.
    this.loop = this.variant.checked && counters === undefined ? this.loops.quietLoop[block]! : -1;
    this.knownTo.fill(0);
    this.knownFrom.fill(0);
    this.shortAt = -1;
    const isSwitch = graph.switches.has(block);
    this.chargeBlock(block);
    for (let dense = start; dense < end; dense++) {
      this.ahead--;
      const at = dense * STRIDE;
      const facts = FACTS[code[at]!]!;
      if (counters?.begins(dense) === true && (isSwitch || !isIndirectJump(code[at]!))) counters.raise(this.out, dense);
      if (isSwitch && dense === end - 1) this.tableIndex(at, graph.switches.get(block)!.pc[0] ?? 0);
      else if (dense === end - 1 && graph.selectStart[block]! >= 0) this.emitSelect(block, at, facts);
      else if (dense + 1 < end && counters?.begins(dense + 1) !== true && (this.emitPair(dense) || (dense + 2 === end && !isSwitch && graph.selectStart[block]! < 0 && this.swappedJump(dense)))) {
        dense++;
        this.ahead--;
      } else this.emit(dense, facts);
      this.zero = zeroAfter(code, dense * STRIDE, this.atomics, this.zero);
      this.forgetKnown(dense, facts);
    }
  }

  /** Instructions that a block charges for: the last one of a function's end counts when it is reached; a short block only where it is likelier run. */
  protected countOf(block: number): number {
    const { graph, code } = this;
    const end = graph.end[block]!;
    const ends = FACTS[code[(end - 1) * STRIDE]!]!.kind === KIND.end && !graph.switches.has(block) ? 1 : 0;
    const chosen = graph.selectStart[block]! >= 0 && graph.selectIfTaken[block] === 1 ? graph.selectEnd[block]! - graph.selectStart[block]! : 0;
    return end - graph.start[block]! - ends + chosen;
  }

  /** The block that follows without a choice and is entered from nowhere else, -1 for none. */
  protected follower(block: number): number {
    const { graph } = this;
    const next = graph.next[block]!;
    if (graph.taken[block]! >= 0 || next <= block || graph.isHeader[next] === 1 || graph.start[next] === graph.end[next] || this.isEntry[next] === 1) return -1;
    return graph.firstPredecessor[next + 1]! - graph.firstPredecessor[next]! === 1 ? next : -1;
  }

  /** Charges for a block and for those that follow it without a choice; {@link ahead} is what is charged behind each point. */
  protected chargeBlock(block: number): void {
    if (this.left < 0) return;
    const before = this.chargedAhead.get(block);
    if (before !== undefined) {
      this.ahead = before;
      return;
    }
    const chain: number[] = [];
    let total = 0;
    for (let one = block; one >= 0; one = this.follower(one)) {
      chain.push(one);
      total += this.countOf(one);
    }
    this.charge(total);
    this.ahead = total;
    for (const one of chain) {
      if (one !== block) this.chargedAhead.set(one, total);
      total -= this.countOf(one);
    }
  }

  /** A block without instructions: where a part is entered or left. */
  protected emitBorder(block: number): void {
    const way = this.graph.exits.get(block);
    if (way === undefined) this.get(this.way);
    else this.leavePart(way);
  }

  protected computeDemand(block: number): void {
    const { graph, code } = this;
    const { live, wide } = this.facts;
    const start = graph.start[block]!;
    const end = graph.end[block]!;
    const extra = graph.selectStart[block]! < 0 ? 0 : graph.selectEnd[block]! - graph.selectStart[block]!;
    if (this.demand.length < end - start + extra) {
      this.demand = new Uint16Array((end - start + extra) * 2);
      this.liveBehind = new Uint16Array((end - start + extra) * 2);
    }
    this.demandBase = start;
    const state: Demand = { live: 0, wide: 0 };
    eachSuccessor(graph, block, (to) => {
      state.live |= live[to]!;
      state.wide |= wide[to]!;
    });
    if (extra > 0) {
      const after = { ...state };
      for (let index = extra - 1; index >= 0; index--) {
        this.demand[end - start + index] = state.wide;
        demandBefore(code, (graph.selectStart[block]! + index) * STRIDE, this.atomics, this.variant.checked, state);
      }
      state.live |= after.live;
      state.wide |= after.wide;
    }
    for (let dense = end - 1; dense >= start; dense--) {
      this.demand[dense - start] = state.wide;
      this.liveBehind[dense - start] = state.live;
      if (dense === end - 1 && graph.switches.has(block)) demandOfSwitch(code, dense * STRIDE, state);
      else demandBefore(code, dense * STRIDE, this.atomics, this.variant.checked, state);
    }
  }

  /** The condition, then the short block whose results are selected by it. */
  protected emitSelect(block: number, at: number, facts: OpFacts): void {
    const { graph, code, out } = this;
    const start = graph.selectStart[block]!;
    const end = graph.selectEnd[block]!;
    const next = graph.next[block]!;
    const { live, wide } = this.facts;
    this.condition(at, facts);
    const condition = this.borrow(TYPE_I32);
    this.set(condition);
    if (this.left >= 0) this.chargeSelect(at, facts, condition, end - start, graph.selectIfTaken[block] === 1);
    const zeroSkipped = this.zero;
    let zeroRun = this.zero;
    const written: number[] = [];
    for (let dense = start; dense < end; dense++) {
      const register = definedRegister(FACTS[code[dense * STRIDE]!]!, code, dense * STRIDE, this.atomics);
      if (register >= 0 && !written.includes(register) && (live[next]! & (1 << register)) !== 0) written.push(register);
      zeroRun = zeroAfter(code, dense * STRIDE, this.atomics, zeroRun);
    }
    const zero = zeroSkipped & zeroRun;
    const saved = written.map((register) => {
      const narrow = ((zero | ~wide[next]!) & (1 << register)) !== 0;
      const type = narrow ? TYPE_I32 : TYPE_I64;
      const local = this.borrow(type);
      if (narrow) this.pushNarrow(register);
      else this.pushWide(register);
      this.set(local);
      return { register, narrow, type, local };
    });
    const blockStart = this.demandBase;
    this.demandBase = start - (graph.end[block]! - graph.start[block]!);
    for (let dense = start; dense < end; dense++) {
      const one = FACTS[code[dense * STRIDE]!]!;
      if (one.kind !== KIND.ja) this.emit(dense, one);
      this.zero = zeroAfter(code, dense * STRIDE, this.atomics, this.zero);
    }
    this.demandBase = blockStart;
    for (const { register, narrow, type, local } of saved) {
      const push = (): void => {
        if (narrow) this.pushNarrow(register);
        else this.pushWide(register);
      };
      if (graph.selectIfTaken[block] === 1) {
        push();
        this.get(local);
      } else {
        this.get(local);
        push();
      }
      this.get(condition);
      out.byte(W.select);
      if (narrow) this.setNarrow(register);
      else this.setWide(register);
      this.giveBack(type, local);
    }
    this.giveBack(TYPE_I32, condition);
    this.zero = zero;
  }

  /**
   * The budget of a short block. Whether it is executed is told by the opposite comparison: were it the same, V8 would compute it once as a
   * number and test that for each selection. A block that is executed where the condition holds is charged already.
   */
  protected chargeSelect(at: number, facts: OpFacts, condition: number, count: number, ifTaken: boolean): void {
    const { out } = this;
    const opposite = OPPOSITE[facts.stem];
    this.get(this.left);
    if (opposite === undefined) {
      this.get(condition);
      out.byte(W.i32_eqz);
    } else this.condition(at, { ...facts, stem: opposite });
    out.byte(W.i64_extend_i32_u);
    if (count > 1) {
      this.i64(count);
      out.byte(W.i64_mul);
    }
    out.byte(ifTaken ? W.i64_add : W.i64_sub);
    this.set(this.left);
  }

  /** `r <<= 32; r >>= 32` is a zero or sign extension. */
  protected emitPair(dense: number): boolean {
    const { code, out } = this;
    const at = dense * STRIDE;
    const first = FACTS[code[at]!]!;
    const second = FACTS[code[at + STRIDE]!]!;
    if (first.kind !== KIND.lsh64 || !first.high || code[at + 3] !== 0 || !second.high || code[at + 7] !== 0 || code[at + 1] !== code[at + 5]) return false;
    const d = code[at + 1]! >> 1;
    if (second.kind === KIND.rsh64) {
      this.pushNarrow(d);
      this.setNarrow(d);
    } else if (second.kind === KIND.arsh64) {
      this.pushNarrow(d);
      out.byte(W.i64_extend_i32_s);
      this.setWide(d);
    } else return false;
    this.zero = zeroAfter(code, at, this.atomics, this.zero);
    return true;
  }

  protected emit(dense: number, facts: OpFacts): void {
    const { code, out } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    switch (facts.kind) {
      case KIND.add64: case KIND.and64: case KIND.or64:
        this.binary64(dense, facts);
        return;
      case KIND.mov64:
        this.move64(dense, facts);
        return;
      case KIND.lsh64: case KIND.rsh64: case KIND.arsh64:
        this.shift64(dense, facts);
        return;
      case KIND.div64: case KIND.sdiv64:
        this.divide(dense, facts, !((this.zero & (1 << d)) !== 0 && this.operandIsZero(at, facts)));
        return;
      case KIND.alu32:
        this.binary32(dense, facts);
        return;
      case KIND.movs64: case KIND.movs32:
        this.signExtend(dense, facts);
        return;
      case KIND.neg64:
        if (this.isWide(dense, d)) {
          this.i64(0);
          this.pushWide(d);
          out.byte(W.i64_sub);
          this.setWide(d);
          return;
        }
        this.negate32(d);
        return;
      case KIND.neg32:
        this.negate32(d);
        return;
      case KIND.bswap:
        this.swap32(dense, d);
        return;
      case KIND.bswap64:
        this.swap64(d);
        return;
      case KIND.lddw:
        if (code[at + 3] === 0 || !this.isWide(dense, d)) {
          this.i32(code[at + 2]!);
          this.setNarrow(d);
        } else {
          this.i64(code[at + 2]!, code[at + 3]!);
          this.setWide(d);
        }
        return;
      case KIND.nop: case KIND.ja:
        return;
      case KIND.castuser:
        this.castUser(at, d);
        return;
      case KIND.percpu:
        this.perCPU(at, d);
        return;
      case KIND.load:
        this.load(dense, facts);
        return;
      case KIND.store:
        this.store(dense, facts);
        return;
      case KIND.ldarg:
        this.get(PARAM_SP);
        this.i32(FRAME_STRIDE - code[at + 2]!);
        out.byte(W.i32_sub);
        this.memory(W.i64_load, 0);
        this.setWide(d);
        return;
      case KIND.starg:
        this.get(PARAM_SP);
        if (facts.register) this.pushWide(code[at + 3]! >> 1);
        else this.i64(code[at + 3]!);
        this.memory(W.i64_store, code[at + 2]!);
        return;
      case KIND.atomic:
        this.atomic(dense);
        return;
      case KIND.jump64: case KIND.jump32:
        this.condition(at, facts, (this.liveBehind[dense - this.demandBase]! & (1 << d)) === 0);
        return;
      case KIND.maygoto:
        this.mayGoto();
        return;
      case KIND.call:
        this.callLocal(at);
        return;
      case KIND.helper: case KIND.callx:
        this.callHelper(dense, facts);
        return;
      case KIND.tailcall:
        this.tailCall(dense);
        return;
      case KIND.exit:
        this.storeLeft(0);
        this.pushWide(0);
        out.byte(W.return);
        return;
      case KIND.packet:
        this.packet(dense);
        return;
      default:
        this.endOfTheRoad(at);
    }
  }
}
