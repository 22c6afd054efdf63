/**
 * @module vm/wasm/calls
 * Calls of all kinds, and the operations that leave the straight course of a block: local calls, helpers inside and outside of the
 * module, tail calls, packet loads, indirect jumps, may_goto.
 */
import { KERNEL_HI } from '../address-space.ts';
import { DECLINED, type DirectImport } from '../direct.ts';
import { OPS as OP_NAMES } from '../ops.ts';
import { STRIDE } from '../program.ts';
import { CODE_HI, codeAddress } from '../types.ts';
import { ArithmeticEmitter } from './arithmetic.ts';
import { TYPE_I32, TYPE_I64, TYPE_VOID, W } from './bytes.ts';
import { callsNowhere } from './cfg.ts';
import { writeInline, type InlineBody } from './inline.ts';
import { ALL_REGISTERS, KIND, zeroAfter, type OpFacts } from './flow.ts';
import { FRAME_STRIDE, IMPORT, PARAM_BASE, PARAM_SP, SCRATCH_AT, SCRATCH_DEEPEST, SCRATCH_REGISTERS, SCRATCH_RESULT } from './layout.ts';

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

  /** A helper's body in place of its call. */
  protected repeat(body: InlineBody): void {
    const { out } = this;
    const types = [TYPE_I64, TYPE_I64, TYPE_I64, TYPE_I64, TYPE_I64];
    const own = [...types, ...body.locals].map((type) => ({ type, index: this.borrow(type) }));
    for (const [index, one] of own.entries()) {
      if (index < 5) this.pushWide(index + 1);
      else if (one.type === TYPE_I32) this.i32(0);
      else this.i64(0);
      this.set(one.index);
    }
    const low = this.borrow(TYPE_I32);
    if (body.keepsFirst) {
      this.pushNarrow(1);
      this.set(low);
    }
    const local = (index: number): number => (index < 5 ? own[index]!.index : index === 5 ? PARAM_SP : index === 6 ? PARAM_BASE : own[index - 2]!.index);
    // It computes only: nothing in it traps.
    writeInline(out, body, local, low, () => {});
    this.setWide(0);
    this.giveBack(TYPE_I32, low);
    for (const { type, index } of own) this.giveBack(type, index);
  }

  protected callHelper(dense: number, facts: OpFacts): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const isKfunc = OP_NAMES[code[at]!] === 'kfunc';
    const inline = facts.kind === KIND.helper && !isKfunc ? this.module.inlineHelper(code[at + 3]!) : -1;
    const body = inline < 0 ? undefined : this.module.helperBody(code[at + 3]!);
    if (body !== undefined) {
      this.repeat(body);
      return;
    }
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
    const direct = facts.kind === KIND.helper && !isKfunc ? this.module.direct(code[at + 3]!) : undefined;
    this.storeLeft(this.ahead);
    if (direct === undefined) {
      this.callOutside(at, facts, isKfunc);
      if (this.isWide(dense, 0)) {
        out.byte(W.i64_extend_i32_u);
        this.get(PARAM_BASE);
        this.memory(W.i64_load32_u, SCRATCH_RESULT + 4);
        this.i64(32);
        out.byte(W.i64_shl);
        out.byte(W.i64_or);
        this.setWide(0);
      } else this.setNarrow(0);
    } else if (direct.form.result === 'memory') this.callInMemory(dense, direct.index, direct.form, direct.registers);
    else this.callDirect(dense, facts, direct.index, direct.form);
    this.afterCall(dense);
  }

  /** Calls a helper in the general form, or a kfunc: leaves the lower half of the result, the upper one is in the scratch area. */
  protected callOutside(at: number, facts: OpFacts, isKfunc: boolean): void {
    const { out, code } = this;
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
  }

  /** Arguments and result in memory, at addresses that are constants. */
  protected callInMemory(dense: number, index: number, { parameters }: DirectImport, registers: number): void {
    for (let register = 1; register <= parameters.length; register++) {
      this.i32(0);
      this.pushWide(register);
      this.memory(W.i64_store, registers + 8 * register);
    }
    this.call(index);
    this.i32(0);
    if (this.isWide(dense, 0)) {
      this.memory(W.i64_load, registers);
      this.setWide(0);
    } else {
      this.memory(W.i32_load, registers);
      this.setNarrow(0);
    }
  }

  /** Arguments as parameters. Where the helper declines, it is called in the general form. */
  protected callDirect(dense: number, facts: OpFacts, index: number, { parameters, result }: DirectImport): void {
    const { out } = this;
    for (const [argument, form] of parameters.entries()) {
      this.pushNarrow(argument + 1);
      if (form === 'pair') this.pushHigh(argument + 1);
    }
    this.call(index);
    if (result === 'unsigned') {
      this.setNarrow(0);
      return;
    }
    const low = this.borrow(TYPE_I32);
    this.tee(low);
    this.i32(DECLINED);
    out.byte(W.i32_eq);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.callOutside(dense * STRIDE, facts, false);
    this.set(low);
    out.byte(W.end);
    this.get(low);
    if (!this.isWide(dense, 0)) this.setNarrow(0);
    else {
      if (result === 'signed') out.byte(W.i64_extend_i32_s);
      else {
        out.byte(W.i64_extend_i32_u);
        this.i64(0, KERNEL_HI);
        this.i64(0);
        this.get(low);
        out.byte(W.select);
        out.byte(W.i64_or);
      }
      this.setWide(0);
    }
    this.giveBack(TYPE_I32, low);
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
