/**
 * @module vm/wasm/arithmetic-table
 * Which WebAssembly instruction computes which operation and condition.
 */
import { W } from './bytes.ts';

/** Conditions by stem: i64 and i32 opcodes, and the unsigned i32 one that serves where both upper halves are zero. */
export const COMPARE: Readonly<Record<string, readonly [wide: number, narrow: number, zero: number]>> = {
  jeq: [W.i64_eq, W.i32_eq, W.i32_eq], jne: [W.i64_ne, W.i32_ne, W.i32_ne],
  jgt: [W.i64_gt_u, W.i32_gt_u, W.i32_gt_u], jge: [W.i64_ge_u, W.i32_ge_u, W.i32_ge_u],
  jlt: [W.i64_lt_u, W.i32_lt_u, W.i32_lt_u], jle: [W.i64_le_u, W.i32_le_u, W.i32_le_u],
  jsgt: [W.i64_gt_s, W.i32_gt_s, W.i32_gt_u], jsge: [W.i64_ge_s, W.i32_ge_s, W.i32_ge_u],
  jslt: [W.i64_lt_s, W.i32_lt_s, W.i32_lt_u], jsle: [W.i64_le_s, W.i32_le_s, W.i32_le_u],
};

/** Operations by stem: i64 and i32 opcodes. */
export const BINARY: Readonly<Record<string, readonly [wide: number, narrow: number]>> = {
  add: [W.i64_add, W.i32_add], sub: [W.i64_sub, W.i32_sub], mul: [W.i64_mul, W.i32_mul], or: [W.i64_or, W.i32_or], and: [W.i64_and, W.i32_and],
  xor: [W.i64_xor, W.i32_xor], lsh: [W.i64_shl, W.i32_shl], rsh: [W.i64_shr_u, W.i32_shr_u], arsh: [W.i64_shr_s, W.i32_shr_s],
  div: [W.i64_div_u, W.i32_div_u], mod: [W.i64_rem_u, W.i32_rem_u], sdiv: [W.i64_div_s, W.i32_div_s], smod: [W.i64_rem_s, W.i32_rem_s],
};
