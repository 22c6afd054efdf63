/**
 * @module vm/wasm/inline
 * Puts the body of one compiled function into another one in place of a call: reads the instructions that the compiler emits, moves their
 * locals, and makes branches of their returns. For entries from JavaScript, where a call would cost as much as a short program.
 * Source: WebAssembly Core Specification, chapter 5.
 */
import { InternalError } from '../../isa/errors.ts';
import { TYPE_I64, W, type ByteWriter } from './bytes.ts';
import type { CompiledFunction } from './function.ts';

/** A function taken apart. */
export interface InlineBody {
  /** Types of the locals behind the parameters. */
  readonly locals: readonly number[];
  /** Instructions with the closing `end`. */
  readonly code: Uint8Array;
  /** As {@link CompiledFunction.traps}, relative to {@link code}. */
  readonly traps: Int32Array;
  /** True where the first parameter is never written. */
  readonly keepsFirst: boolean;
}

/** Shapes of immediates. */
const NONE = 0;
const ONE = 1;
const MEMORY = 2;
const BLOCK = 3;
const TABLE = 4;
const LOCAL = 5;
const BYTE = 6;
const UNKNOWN = 7;
const IMMEDIATES: Uint8Array = new Uint8Array(256).fill(UNKNOWN);
for (const opcode of [W.unreachable, W.else, W.end, W.return, W.drop, W.select]) IMMEDIATES[opcode] = NONE;
// From the first comparison to the last sign extension.
IMMEDIATES.fill(NONE, W.i32_eqz, W.i64_extend32_s + 1);
for (const opcode of [W.br, W.br_if, W.call, W.i32_const, W.i64_const]) IMMEDIATES[opcode] = ONE;
IMMEDIATES.fill(MEMORY, W.i32_load, W.i64_store32 + 1);
for (const opcode of [W.block, W.loop, W.if]) IMMEDIATES[opcode] = BLOCK;
for (const opcode of [W.local_get, W.local_set, W.local_tee]) IMMEDIATES[opcode] = LOCAL;
IMMEDIATES[W.br_table] = TABLE;
/** `memory.size` has an index. */
IMMEDIATES[0x3f] = BYTE;

/** Reads the declarations of a function's locals. */
export function takeApart({ body, traps }: CompiledFunction): InlineBody {
  const locals: number[] = [];
  const reader = new Reader(body, 0);
  for (let groups = reader.u32(); groups > 0; groups--) {
    const count = reader.u32();
    const type = reader.byte();
    for (let n = 0; n < count; n++) locals.push(type);
  }
  const start = reader.at;
  let keepsFirst = true;
  while (reader.at < body.length) {
    const opcode = reader.byte();
    if (IMMEDIATES[opcode] === LOCAL) keepsFirst = !(reader.u32() === 0 && opcode !== W.local_get) && keepsFirst;
    else reader.skip(IMMEDIATES[opcode]!);
  }
  return { locals, code: body.subarray(start), traps: traps.map((value, index) => (index % 2 === 0 ? value - start : value)), keepsFirst };
}

/**
 * Writes the function as a block that leaves its i64 result on the operand stack.
 *
 * @param local the new index of a local or parameter
 * @param low an i32 local with the lower half of the first parameter
 * @param trap hears where in `out` an instruction may trap, and its dense index; ascending
 */
export function writeInline(
  out: ByteWriter, { code, traps, keepsFirst }: InlineBody, local: (index: number) => number, low: number, trap: (at: number, dense: number) => void,
): void {
  const reader = new Reader(code, 0);
  let nextTrap = 0;
  let depth = 0;
  out.byte(W.block);
  out.byte(TYPE_I64);
  while (reader.at < code.length) {
    const start = reader.at;
    if (traps[nextTrap] === start) {
      trap(out.length, traps[nextTrap + 1]!);
      nextTrap += 2;
    }
    const opcode = reader.byte();
    if (opcode === W.return) {
      out.byte(W.br);
      out.u32(depth);
      continue;
    }
    out.byte(opcode);
    const shape = IMMEDIATES[opcode]!;
    if (shape === LOCAL) {
      const index = reader.u32();
      const isLow = keepsFirst && index === 0 && code[reader.at] === W.i32_wrap_i64;
      if (isLow) reader.at++;
      out.u32(isLow ? low : local(index));
      continue;
    }
    if (shape === BLOCK) depth++;
    else if (opcode === W.end) depth--;
    reader.skip(shape);
    out.append(code.subarray(start + 1, reader.at));
  }
  if (depth !== -1) throw new InternalError('unbalanced function body');
}

class Reader {
  at: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  byte(): number {
    return this.#bytes[this.at++]!;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const part = this.byte();
      value |= (part & 0x7f) << shift;
      if (part < 0x80) return value >>> 0;
    }
  }

  #leb(): void {
    while (this.byte() >= 0x80);
  }

  skip(shape: number): void {
    switch (shape) {
      case NONE:
        return;
      case ONE:
        this.#leb();
        return;
      case MEMORY:
        this.#leb();
        this.#leb();
        return;
      case BLOCK: case BYTE:
        this.at++;
        return;
      case TABLE:
        for (let count = this.u32(); count >= 0; count--) this.#leb();
        return;
      default:
        throw new InternalError(`opcode ${this.#bytes[this.at - 1]} in a function body`);
    }
  }
}
