/**
 * @module verifier/value_range
 * Ranges that a returned or passed value must lie in (`retval_range_within`, `verbose_invalid_scalar`, kernel/bpf/verifier.c).
 */
import { EINVAL } from '../isa/errno.ts';
import type { VerifierEnv } from './env.ts';
import { s32max, s32min, smax, smin } from './regs.ts';
import { smaxText, sminText } from './stack.ts';

/** What a value must be in, and that it is a 32-bit one. */
export interface ValueRange {
  readonly min: number;
  readonly max: number;
  readonly is32: boolean;
}

/** The scalar in `reg` lies inside `range` (`retval_range_within`). */
export function isWithin(w: Int32Array, reg: number, range: ValueRange): boolean {
  if (range.is32) return range.min <= s32min(w, reg) && s32max(w, reg) <= range.max;
  return range.min <= smin(w, reg) && smax(w, reg) <= range.max;
}

/** Says that a value is outside its range (`verbose_invalid_scalar`). */
export function refuseScalar(env: VerifierEnv, reg: number, range: ValueRange, context: string, name: string): number {
  const { w } = env;
  const low = smin(w, reg) > -(2 ** 63) ? ` smin=${sminText(w, reg, 0)}` : '';
  const highText = smaxText(w, reg, 0);
  const high = highText === '9223372036854775807' ? '' : ` smax=${highText}`;
  const what = low === '' && high === '' ? ' unknown scalar value' : '';
  env.log.write(`${context} the register ${name} has`);
  env.log.write(`${low}${high}${what} should have been in [${range.min}, ${range.max}]\n`);
  return -EINVAL;
}
