/**
 * @module crypto/rejection
 * How a decoder or a check inside this room says no: an error number as Linux gives it, the rule in words, and where.
 * It never leaves the room's public functions, which return the same facts as a value.
 */
import { errnoName } from '../isa/errno.ts';

/** Why something was refused. */
export interface Refusal {
  /** Positive error number. */
  readonly errno: number;
  /** The rule that refused, in words. */
  readonly reason: string;
  /** Byte offset in the input at which it was noticed; `undefined` where the whole is meant. */
  readonly offset: number | undefined;
}

/**
 * Thrown inside `crypto/` while a blob is taken apart; caught by the public functions. Not an `Error`: a refusal is ordinary there
 * (every accepted signature is first not found on the revocation list), and a stack trace that nobody reads costs 10 us, half of
 * an RSA-2048 verification.
 */
export class Rejection implements Refusal {
  readonly errno: number;
  readonly reason: string;
  readonly offset: number | undefined;

  constructor(errno: number, reason: string, offset?: number) {
    this.errno = errno;
    this.reason = reason;
    this.offset = offset;
  }

  toString(): string {
    return `${errnoName(this.errno)}: ${this.reason}${this.offset === undefined ? '' : ` at byte ${this.offset}`}`;
  }
}

/** Whether a public function's answer is a refusal. */
export function isRefusal(answer: object): answer is Refusal {
  return 'errno' in answer && 'reason' in answer;
}

/** Runs `work`; a {@link Rejection} becomes its return value, anything else is thrown on. */
export function orRefusal<T>(work: () => T): T | Refusal {
  try {
    return work();
  } catch (error) {
    if (error instanceof Rejection) return { errno: error.errno, reason: error.reason, offset: error.offset };
    throw error;
  }
}

/** Runs `work` on a part of an input that begins at `base`: offsets and reasons of a {@link Rejection} then speak of the whole. */
export function within<T>(what: string, base: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    throw new Rejection(error.errno, `${what}: ${error.reason}`, error.offset === undefined ? base : base + error.offset);
  }
}
