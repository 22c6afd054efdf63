/**
 * @module vm/wasm/calls
 * Calls of all kinds, and the operations that leave the straight course of a block: local calls, helpers inside and outside of the
 * module, tail calls, packet loads, indirect jumps, may_goto.
 */
import { OPS as OP_NAMES } from '../ops.ts';
import { STRIDE } from '../program.ts';
import { CODE_HI, codeAddress } from '../types.ts';
import { ArithmeticEmitter } from './arithmetic.ts';
import { TYPE_VOID, W } from './bytes.ts';
import { callsNowhere } from './cfg.ts';
import { ALL_REGISTERS, KIND, zeroAfter, type OpFacts } from './flow.ts';
import { FRAME_STRIDE, IMPORT, SCRATCH_AT, SCRATCH_DEEPEST, SCRATCH_REGISTERS, SCRATCH_RESULT } from './layout.ts';
import { PARAM_BASE, PARAM_SP } from './state.ts';

export class CallEmitter extends ArithmeticEmitter {
  /** Leaves the condition: the counter is used up. */
  protected mayGoto(): void {
    const { out } = this;
    this.get(this.goes);
    out.byte(W.i32_eqz);
    this.get(this.goes);
    this.get(this.goes);
    this.i32(0);
    out.byte(W.i32_ne);
    out.byte(W.i32_sub);
    this.set(this.goes);
  }

  protected callLocal(at: number): void {
    const { out, code } = this;
    this.get(PARAM_SP);
    this.get(PARAM_BASE);
    this.memory(W.i32_load, SCRATCH_DEEPEST);
    out.byte(W.i32_ge_s);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.fault(at, 'call-depth', this.ahead);
    out.byte(W.end);
    if (callsNowhere(code, at)) {
      this.fault(code[at + 2]!, 'bad-target', 0);
      return;
    }
    this.storeLeft(this.ahead);
    for (let register = 1; register <= 5; register++) this.pushWide(register);
    this.get(PARAM_SP);
    this.i32(FRAME_STRIDE);
    out.byte(W.i32_add);
    this.get(PARAM_BASE);
    this.call(this.module.functionIndex(code[at + 2]! / STRIDE));
    this.setWide(0);
    this.afterCall(at / STRIDE);
  }

  protected callHelper(dense: number, facts: OpFacts): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const isKfunc = OP_NAMES[code[at]!] === 'kfunc';
    const inline = facts.kind === KIND.helper && !isKfunc ? this.module.inlineHelper(code[at + 3]!) : -1;
    if (inline >= 0) {
      const isInvolved = this.module.isInvolved(code[at + 3]!);
      if (isInvolved) {
        this.storeLeft(this.ahead);
        this.get(PARAM_BASE);
        this.i32(at);
        this.memory(W.i32_store, SCRATCH_AT);
      }
      for (let register = 1; register <= 5; register++) this.pushWide(register);
      this.get(PARAM_SP);
      this.get(PARAM_BASE);
      this.call(inline);
      this.setWide(0);
      if (isInvolved) this.afterCall(dense);
      return;
    }
    this.storeLeft(this.ahead);
    this.storeArguments(5);
    if (this.module.isHelper) {
      this.get(PARAM_BASE);
      this.memory(W.i32_load, SCRATCH_AT);
    } else this.i32(at);
    if (facts.kind === KIND.callx) {
      // An id beyond 32 bits is none: -1 is never a helper.
      this.pushNarrow(code[at + 1]! >> 1);
      this.i32(-1);
      this.pushHigh(code[at + 1]! >> 1);
      out.byte(W.i32_eqz);
      out.byte(W.select);
    } else this.i32(code[at + 3]!);
    this.get(PARAM_SP);
    this.call(isKfunc ? IMPORT.kfunc : IMPORT.helper);
    if (this.isWide(dense, 0)) {
      out.byte(W.i64_extend_i32_u);
      this.get(PARAM_BASE);
      this.memory(W.i64_load32_u, SCRATCH_RESULT + 4);
      this.i64(32);
      out.byte(W.i64_shl);
      out.byte(W.i64_or);
      this.setWide(0);
    } else this.setNarrow(0);
    this.afterCall(dense);
  }

  /** Arguments travel in memory: thirteen int32 parameters cost more than the call. */
  protected storeArguments(count: number): void {
    for (let register = 1; register <= count; register++) {
      this.get(PARAM_BASE);
      this.pushWide(register);
      this.memory(W.i64_store, SCRATCH_REGISTERS + 8 * register);
    }
  }

  /** Takes back the budget, which the callee has drawn on; the windows may be stale. */
  protected afterCall(dense: number): void {
    this.forgetWindows();
    if (this.left < 0) return;
    this.loadLeft(this.ahead);
    this.zero = zeroAfter(this.code, dense * STRIDE, this.atomics, this.zero);
    this.checkBudget(dense + 1, this.liveBehind[dense - this.demandBase]!);
  }

  protected tailCall(dense: number): void {
    const { out } = this;
    this.storeLeft(this.ahead);
    this.storeArguments(3);
    this.i32(dense * STRIDE);
    this.get(PARAM_SP);
    this.call(IMPORT.tail);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.get(PARAM_BASE);
    this.memory(W.i64_load, SCRATCH_RESULT);
    out.byte(W.return);
    out.byte(W.end);
    this.afterCall(dense);
  }

  protected packet(dense: number): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    this.storeLeft(this.ahead);
    this.i32(at);
    this.get(PARAM_SP);
    if (OP_NAMES[code[at]!] === 'ldind') {
      this.pushNarrow(code[at + 2]! >> 1);
      this.i32(code[at + 3]!);
      out.byte(W.i32_add);
    } else this.i32(code[at + 3]!);
    this.pushNarrow(6);
    this.pushHigh(6);
    this.call(IMPORT.packet);
    out.byte(W.i32_eqz);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.i64(0);
    out.byte(W.return);
    out.byte(W.end);
    this.get(PARAM_BASE);
    this.memory(W.i32_load, SCRATCH_RESULT);
    this.setNarrow(0);
    this.afterCall(dense);
  }

  protected perCPU(at: number, d: number): void {
    const { out } = this;
    this.storeLeft(this.ahead);
    this.pushWide(this.code[at + 2]! >> 1);
    this.i32(at);
    this.get(PARAM_SP);
    this.call(IMPORT.perCPU);
    out.byte(W.i64_extend_i32_s);
    out.byte(W.i64_add);
    this.loadLeft(this.ahead);
    this.setWide(d);
    this.forgetWindows();
  }

  /** Leaves how far the address in the register is behind the first target, in instructions; what is no code address is too far. */
  protected tableIndex(at: number, first: number): void {
    const { out } = this;
    const register = this.code[at + 1]! >> 1;
    this.pushNarrow(register);
    this.i32(codeAddress(first));
    out.byte(W.i32_sub);
    // Low bits that are set become high ones.
    this.i32(29);
    out.byte(W.i32_rotl);
    this.i32(-1);
    this.pushHigh(register);
    this.i32(CODE_HI);
    out.byte(W.i32_eq);
    out.byte(W.select);
  }

  emitBadJump(block: number): void {
    if (this.graph.start[block] === this.graph.end[block]) this.out.byte(W.unreachable);
    else this.fault((this.graph.end[block]! - 1) * STRIDE, 'bad-target', 0);
  }

  /** Indirect jumps whose targets nobody has declared go on in the interpreter; what is no instruction faults. */
  protected endOfTheRoad(at: number): void {
    const name = OP_NAMES[this.code[at]!]!;
    if (name === 'gotox') this.resume(at / STRIDE, 0, ALL_REGISTERS);
    else if (name === 'badtarget') this.fault(at, 'bad-target', 0);
    else {
      // Charged as an attempt, as the interpreter does.
      this.charge(1);
      this.fault(at, 'bad-instruction', 0);
    }
  }
}
