/**
 * @module vm/wasm/exits
 * The ways out of a compiled function other than its end: the budget and its check, faults, and handing the frame over to the
 * interpreter.
 */
import { STRIDE } from '../program.ts';
import type { FaultKind } from '../types.ts';
import { TYPE_VOID, W, type ByteWriter } from './bytes.ts';
import {
  FAULT_KINDS, FRAME_STRIDE, IMPORT, PARAM_BASE, PARAM_SP, SCRATCH_DEPTHS, SCRATCH_FRAMES, SCRATCH_GOES, SCRATCH_LEFT, SCRATCH_PART, SCRATCH_REGISTERS, SCRATCH_RESULT,
} from './layout.ts';
import { FP, FunctionState, MAY_GOTO } from './state.ts';

/** Writes down how many bytes of stack the frame has, for the slow check of accesses to it. */
export function noteDepth(out: ByteWriter, bytes: number): void {
  const get = (local: number): void => {
    out.byte(W.local_get);
    out.u32(local);
  };
  const constant = (value: number): void => {
    out.byte(W.i32_const);
    out.s32(value);
  };
  get(PARAM_BASE);
  get(PARAM_SP);
  get(PARAM_BASE);
  out.byte(W.i32_load); out.byte(0); out.u32(SCRATCH_FRAMES);
  out.byte(W.i32_sub);
  constant(FRAME_STRIDE);
  out.byte(W.i32_div_u);
  constant(2);
  out.byte(W.i32_shl);
  out.byte(W.i32_add);
  constant(bytes);
  out.byte(W.i32_store); out.byte(0); out.u32(SCRATCH_DEPTHS);
}

export class ExitEmitter extends FunctionState {
  protected charge(count: number): void {
    if (this.left < 0 || count === 0) return;
    this.get(this.left);
    this.i64(count);
    this.out.byte(W.i64_sub);
    this.set(this.left);
  }

  /** Writes the budget that is left, with `ahead` instructions given back. */
  protected storeLeft(ahead: number): void {
    if (this.left < 0) return;
    this.get(PARAM_BASE);
    this.get(this.left);
    if (ahead !== 0) {
      this.i64(ahead);
      this.out.byte(W.i64_add);
    }
    this.memory(W.i64_store, SCRATCH_LEFT);
  }

  protected loadLeft(ahead: number): void {
    if (this.left < 0) return;
    this.get(PARAM_BASE);
    this.memory(W.i64_load, SCRATCH_LEFT);
    if (ahead !== 0) {
      this.i64(ahead);
      this.out.byte(W.i64_sub);
    }
    this.set(this.left);
  }

  /** Between two checks no instruction runs twice, so the function's length is enough. */
  protected checkBudget(dense: number, live: number): void {
    this.get(this.left);
    this.i64(this.graph.instructions + 1);
    this.out.byte(W.i64_lt_s);
    this.out.byte(W.if);
    this.out.byte(TYPE_VOID);
    this.resume(dense, this.ahead, live);
    this.out.byte(W.end);
  }

  /** Lets the interpreter finish the frame from `dense` on, and returns its result. */
  protected resume(dense: number, ahead: number, live: number): void {
    this.storeLeft(ahead);
    for (let register = 0; register < 13; register++) {
      if ((live & (1 << register)) === 0 && register !== FP) continue;
      this.get(PARAM_BASE);
      this.pushWide(register);
      this.memory(W.i64_store, SCRATCH_REGISTERS + 8 * register);
    }
    this.get(PARAM_BASE);
    if (this.goes >= 0) this.get(this.goes);
    else this.i32(MAY_GOTO);
    this.memory(W.i32_store, SCRATCH_GOES);
    this.i32(dense * STRIDE);
    this.get(PARAM_SP);
    this.call(IMPORT.resume);
    this.get(PARAM_BASE);
    this.memory(W.i64_load, SCRATCH_RESULT);
    this.out.byte(W.return);
  }

  /** Leaves a part for another one: all registers are in their i64 form. */
  protected leavePart(way: number): void {
    this.storeLeft(0);
    for (let register = 0; register < 13; register++) {
      if (register === FP && this.fixedFrame) continue;
      this.get(PARAM_BASE);
      this.pushWide(register);
      this.memory(W.i64_store, SCRATCH_REGISTERS + 8 * register);
    }
    if (this.goes >= 0) {
      this.get(PARAM_BASE);
      this.get(this.goes);
      this.memory(W.i32_store, SCRATCH_GOES);
    }
    this.get(PARAM_BASE);
    this.i32(way);
    this.memory(W.i32_store, SCRATCH_PART);
    this.i64(0);
    this.out.byte(W.return);
  }

  protected fault(at: number, kind: FaultKind, ahead: number): void {
    this.storeLeft(ahead);
    this.i32(at);
    this.get(PARAM_SP);
    this.i32(FAULT_KINDS[kind]);
    this.i32(0);
    this.i32(0);
    this.call(IMPORT.fault);
    this.out.byte(W.unreachable);
  }
}
