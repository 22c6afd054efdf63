/**
 * @module vm/wasm/wrappers
 * Functions of a module that JavaScript calls, with int32 parameters only: entries of all functions, the program itself, the batch, the
 * rest of a frame. Short programs are part of the wrappers that run them.
 */
import { KERNEL_HI } from '../address-space.ts';
import { ByteWriter, TYPE_I32, TYPE_I64, TYPE_VOID, W } from './bytes.ts';
import type { CompiledFunction } from './function.ts';
import { takeApart, writeInline, type InlineBody } from './inline.ts';
import { FRAME_TOP, PARAMS, PARAM_BASE, PARAM_SP, SCRATCH_BUSY, SCRATCH_FRAMES, SCRATCH_RESULT } from './layout.ts';

/** Bodies of at most as many bytes (about a hundred instructions) are repeated in the wrappers that call them. */
const MAX_INLINE = 1536;
/** Where the first run of a machine has its scratch area, and the end of its first frame's stack: the same as long as the machine is there. */
export interface Home {
  readonly base: number;
  readonly sp: number;
}

/**
 * Locals of a wrapper that contains the program: behind the parameters the lower half of r1, r1 to r5, the frame's end, the scratch area,
 * and the program's own.
 */
class Locals {
  readonly low: number;
  readonly registers: number;
  readonly sp: number;
  readonly base: number;
  readonly own: number;

  constructor(parameters: number) {
    this.low = parameters;
    this.registers = parameters + 1;
    this.sp = this.registers + 5;
    this.base = this.sp + 1;
    this.own = this.base + 1;
  }

  /** The new index of a parameter or local of the program. */
  readonly of = (index: number): number => {
    if (index === PARAM_BASE) return this.base;
    if (index === PARAM_SP) return this.sp;
    return index < PARAMS ? this.registers + index : this.own + index - PARAMS;
  };

  /** Declares them, and begins the code with what never changes. */
  declare(inline: InlineBody | undefined, { base, sp }: Home): ByteWriter {
    const out = declare([TYPE_I32, ...Array.from({ length: 5 }, () => TYPE_I64), TYPE_I32, TYPE_I32, ...(inline?.locals ?? [])]);
    out.byte(W.i32_const); out.s32(base); set(out, this.base);
    out.byte(W.i32_const); out.s32(sp); set(out, this.sp);
    return out;
  }
}

const NO_TRAPS = new Int32Array(0);

function finish(out: ByteWriter, traps: readonly number[] = []): CompiledFunction {
  out.byte(W.end);
  return { body: out.view(), traps: traps.length === 0 ? NO_TRAPS : Int32Array.from(traps) };
}

function get(out: ByteWriter, local: number): void {
  out.byte(W.local_get);
  out.u32(local);
}

function set(out: ByteWriter, local: number): void {
  out.byte(W.local_set);
  out.u32(local);
}

function joinHalves(out: ByteWriter, lo: number, hi: number): void {
  get(out, lo);
  out.byte(W.i64_extend_i32_u);
  get(out, hi);
  out.byte(W.i64_extend_i32_u);
  out.byte(W.i64_const);
  out.s64(32, 0);
  out.byte(W.i64_shl);
  out.byte(W.i64_or);
}

/** Takes the i64 in local `value` apart: the upper half to the scratch area of `base`, the lower half stays on the stack. */
function leaveResult(out: ByteWriter, base: number, value: number): void {
  get(out, base);
  get(out, value);
  out.byte(W.i64_const);
  out.s64(32, 0);
  out.byte(W.i64_shr_u);
  out.byte(W.i64_store32);
  out.byte(0);
  out.u32(SCRATCH_RESULT + 4);
  get(out, value);
  out.byte(W.i32_wrap_i64);
}

function zero(out: ByteWriter, type: number): void {
  out.byte(type === TYPE_I64 ? W.i64_const : W.i32_const);
  out.byte(0);
}

function declare(types: readonly number[]): ByteWriter {
  const out = new ByteWriter(256);
  out.u32(types.length);
  for (const type of types) {
    out.u32(1);
    out.byte(type);
  }
  return out;
}

/** `f<i>(unused, sp, base, r1lo, r1hi, …, r5hi) → r0 lo`; the upper half of r0 is in the scratch area. */
export function entryWrapper(callee: number): CompiledFunction {
  const out = declare([TYPE_I64]);
  for (let register = 0; register < 5; register++) joinHalves(out, 3 + 2 * register, 4 + 2 * register);
  get(out, 1);
  get(out, 2);
  out.byte(W.call);
  out.u32(callee);
  set(out, 13);
  leaveResult(out, 2, 13);
  return finish(out);
}

/** `go(sp, base) → r0 lo`: the rest of a frame whose registers are in the scratch area. */
export function continuationWrapper(callee: number): CompiledFunction {
  const out = declare([TYPE_I64]);
  for (let register = 1; register <= 5; register++) zero(out, TYPE_I64);
  get(out, 0);
  get(out, 1);
  out.byte(W.call);
  out.u32(callee);
  set(out, 2);
  leaveResult(out, 1, 2);
  return finish(out);
}

/** The program's function, if it is short enough to be repeated. */
export function inlined(program: CompiledFunction): InlineBody | undefined {
  return program.body.length <= MAX_INLINE ? takeApart(program) : undefined;
}

/** With an offset on the operand stack: r1 is its kernel address. */
function setContext(out: ByteWriter, { low, registers }: Locals): void {
  out.byte(W.local_tee);
  out.u32(low);
  out.byte(W.i64_extend_i32_u);
  out.byte(W.i64_const);
  out.s64(0, KERNEL_HI);
  out.byte(W.i64_or);
  set(out, registers);
}

/** The program with r1 in its local: leaves r0. */
function runProgram(out: ByteWriter, callee: number, inline: InlineBody | undefined, locals: Locals, traps: number[]): void {
  if (inline !== undefined) {
    writeInline(out, inline, locals.of, locals.low, (at, dense) => traps.push(at, dense));
    return;
  }
  for (let register = 0; register < 5; register++) get(out, locals.registers + register);
  get(out, locals.sp);
  get(out, locals.base);
  out.byte(W.call);
  out.u32(callee);
}

/** `main(base, r1lo, r1hi) → r0 lo`: the program from its first instruction, in the first frame. */
export function mainWrapper(callee: number): CompiledFunction {
  const out = declare([TYPE_I64]);
  joinHalves(out, 1, 2);
  for (let register = 2; register <= 5; register++) zero(out, TYPE_I64);
  get(out, 0);
  out.byte(W.i32_load); out.byte(0); out.u32(SCRATCH_FRAMES);
  out.byte(W.i32_const);
  out.s32(FRAME_TOP);
  out.byte(W.i32_add);
  get(out, 0);
  out.byte(W.call);
  out.u32(callee);
  set(out, 3);
  leaveResult(out, 0, 3);
  return finish(out);
}

/**
 * `once(offset) → r0 lo`: at home, as `main` with the kernel address of an offset in r1. Leaves all of r0 in the scratch area. Traps
 * before it has done anything where it may not run: that is two instructions here, and more in front of the call.
 */
export function onceWrapper(callee: number, inline: InlineBody | undefined, home: Home): CompiledFunction {
  const locals = new Locals(1);
  const out = locals.declare(inline, home);
  const traps: number[] = [];
  get(out, locals.base); out.byte(W.i32_load); out.byte(0); out.u32(SCRATCH_BUSY);
  out.byte(W.if); out.byte(TYPE_VOID);
  out.byte(W.unreachable);
  out.byte(W.end);
  get(out, 0);
  setContext(out, locals);
  get(out, locals.base);
  runProgram(out, callee, inline, locals, traps);
  out.byte(W.local_tee); out.u32(locals.registers);
  out.byte(W.i64_store); out.byte(0); out.u32(SCRATCH_RESULT);
  get(out, locals.registers);
  out.byte(W.i32_wrap_i64);
  return finish(out, traps);
}

/** `repeat(offset, count)`: as `once`, `count` times (at least once), with the last r0 in the scratch area. */
export function repeatWrapper(callee: number, inline: InlineBody | undefined, home: Home): CompiledFunction {
  const locals = new Locals(2);
  const out = locals.declare(inline, home);
  const traps: number[] = [];
  out.byte(W.loop); out.byte(TYPE_VOID);
  get(out, 0);
  setContext(out, locals);
  clearLocals(out, inline, locals);
  get(out, locals.base);
  runProgram(out, callee, inline, locals, traps);
  out.byte(W.i64_store); out.byte(0); out.u32(SCRATCH_RESULT);
  countDown(out, 1);
  out.byte(W.end);
  return finish(out, traps);
}

/** A function's locals begin at zero, those of an iteration where the one before has left them. */
function clearLocals(out: ByteWriter, inline: InlineBody | undefined, locals: Locals): void {
  if (inline === undefined) return;
  for (let register = 1; register < 5; register++) { zero(out, TYPE_I64); set(out, locals.registers + register); }
  for (const [index, type] of inline.locals.entries()) { zero(out, type); set(out, locals.own + index); }
}

/** Goes on with the innermost loop until the local is 0. */
function countDown(out: ByteWriter, local: number): void {
  get(out, local); out.byte(W.i32_const); out.s32(1); out.byte(W.i32_sub); out.byte(W.local_tee); out.u32(local);
  out.byte(W.br_if); out.u32(0);
}

/**
 * `batch(list, count)`: runs the program for each of `count` 16-byte entries at offset `list`: r1 is the kernel address of the
 * offset in the entry's first word, r0 goes to its second half.
 */
export function batchWrapper(callee: number, inline: InlineBody | undefined, home: Home): CompiledFunction {
  const locals = new Locals(2);
  const out = locals.declare(inline, home);
  const traps: number[] = [];
  out.byte(W.block); out.byte(TYPE_VOID);
  get(out, 1); out.byte(W.i32_eqz); out.byte(W.br_if); out.u32(0);
  out.byte(W.loop); out.byte(TYPE_VOID);
  get(out, 0);
  out.byte(W.i32_load); out.byte(0); out.u32(0);
  setContext(out, locals);
  clearLocals(out, inline, locals);
  get(out, 0);
  runProgram(out, callee, inline, locals, traps);
  out.byte(W.i64_store); out.byte(0); out.u32(8);
  get(out, 0); out.byte(W.i32_const); out.s32(16); out.byte(W.i32_add); set(out, 0);
  countDown(out, 1);
  out.byte(W.end);
  out.byte(W.end);
  return finish(out, traps);
}
