/**
 * @module vm/wasm/wrappers
 * Functions of a module that JavaScript calls, with int32 parameters only: entries of all functions, the program itself, the batch, the
 * rest of a frame. Short programs are part of the wrappers that run them.
 */
import { KERNEL_HI } from '../address-space.ts';
import { ByteWriter, TYPE_I32, TYPE_I64, TYPE_VOID, W } from './bytes.ts';
import type { CompiledFunction } from './function.ts';
import { takeApart, writeInline, type InlineBody } from './inline.ts';
import { FRAME_STRIDE, FRAME_TOP, IMPORT_COUNT, SCRATCH_RESULT } from './layout.ts';
import { PARAM_BASE, PARAM_SP, PARAMS } from './state.ts';

/** Bodies of at most as many bytes (about a hundred instructions) are repeated in the wrappers that call them. */
const MAX_INLINE = 1536;
/** Arguments of a function, r1 to r5, and behind them the locals of an inlined one. */
const REGISTER_LOCALS = 3;
const SP_LOCAL = REGISTER_LOCALS + 5;
const OWN_LOCALS = SP_LOCAL + 1;

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
export function entryWrapper(index: number): CompiledFunction {
  const out = declare([TYPE_I64]);
  for (let register = 0; register < 5; register++) joinHalves(out, 3 + 2 * register, 4 + 2 * register);
  get(out, 1);
  get(out, 2);
  out.byte(W.call);
  out.u32(IMPORT_COUNT + index);
  set(out, 13);
  leaveResult(out, 2, 13);
  return finish(out);
}

/** `go(sp, base) → r0 lo`: the rest of a frame whose registers are in the scratch area. */
export function continuationWrapper(index: number): CompiledFunction {
  const out = declare([TYPE_I64]);
  for (let register = 1; register <= 5; register++) zero(out, TYPE_I64);
  get(out, 0);
  get(out, 1);
  out.byte(W.call);
  out.u32(IMPORT_COUNT + index);
  set(out, 2);
  leaveResult(out, 1, 2);
  return finish(out);
}

/** The program's function, if it is short enough to be repeated. */
function inlined(program: CompiledFunction): InlineBody | undefined {
  return program.body.length <= MAX_INLINE ? takeApart(program) : undefined;
}

/** Locals of a wrapper around the program, which has three parameters and the first of them is `base`. */
function localsOf(inline: InlineBody | undefined): readonly number[] {
  return [...Array.from({ length: 5 }, () => TYPE_I64), TYPE_I32, ...(inline?.locals ?? [])];
}

function localOf(index: number): number {
  if (index === PARAM_BASE) return 0;
  if (index === PARAM_SP) return SP_LOCAL;
  return index < PARAMS ? REGISTER_LOCALS + index : OWN_LOCALS + index - PARAMS;
}

function setFrame(out: ByteWriter): void {
  get(out, 0);
  out.byte(W.i32_const);
  out.s32(FRAME_STRIDE + FRAME_TOP);
  out.byte(W.i32_add);
  set(out, SP_LOCAL);
}

/** The program with r1 in its local: leaves r0. */
function runProgram(out: ByteWriter, inline: InlineBody | undefined, traps: number[]): void {
  if (inline !== undefined) {
    writeInline(out, inline, localOf, (at, dense) => traps.push(at, dense));
    return;
  }
  for (let register = 0; register < 5; register++) get(out, REGISTER_LOCALS + register);
  get(out, SP_LOCAL);
  get(out, 0);
  out.byte(W.call);
  out.u32(IMPORT_COUNT);
}

/** `main(base, r1lo, r1hi) → r0 lo`: the program from its first instruction, in the first frame. */
export function mainWrapper(program: CompiledFunction): CompiledFunction {
  const inline = inlined(program);
  const out = declare(localsOf(inline));
  const traps: number[] = [];
  joinHalves(out, 1, 2);
  set(out, REGISTER_LOCALS);
  setFrame(out);
  runProgram(out, inline, traps);
  set(out, REGISTER_LOCALS);
  leaveResult(out, 0, REGISTER_LOCALS);
  return finish(out, traps);
}

/**
 * `batch(base, list, count)`: runs the program for each of `count` 16-byte entries at offset `list`: r1 is the kernel address of the
 * offset in the entry's first word, r0 goes to its second half.
 */
export function batchWrapper(program: CompiledFunction): CompiledFunction {
  const inline = inlined(program);
  const out = declare(localsOf(inline));
  const traps: number[] = [];
  setFrame(out);
  out.byte(W.block); out.byte(TYPE_VOID);
  get(out, 2); out.byte(W.i32_eqz); out.byte(W.br_if); out.u32(0);
  out.byte(W.loop); out.byte(TYPE_VOID);
  get(out, 1);
  out.byte(W.i64_load32_u); out.byte(0); out.u32(0);
  out.byte(W.i64_const); out.s64(0, KERNEL_HI);
  out.byte(W.i64_or);
  set(out, REGISTER_LOCALS);
  if (inline !== undefined) {
    // A function's locals begin at zero, those of an iteration where the one before has left them.
    for (let register = 1; register < 5; register++) { zero(out, TYPE_I64); set(out, REGISTER_LOCALS + register); }
    for (const [index, type] of inline.locals.entries()) { zero(out, type); set(out, OWN_LOCALS + index); }
  }
  get(out, 1);
  runProgram(out, inline, traps);
  out.byte(W.i64_store); out.byte(0); out.u32(8);
  get(out, 1); out.byte(W.i32_const); out.s32(16); out.byte(W.i32_add); set(out, 1);
  get(out, 2); out.byte(W.i32_const); out.s32(1); out.byte(W.i32_sub); out.byte(W.local_tee); out.u32(2);
  out.byte(W.br_if); out.u32(0);
  out.byte(W.end);
  out.byte(W.end);
  return finish(out, traps);
}
