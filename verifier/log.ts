/**
 * @module verifier/log
 * The verifier's log: messages in the order they are written, each with the kind of event that made it, and the rendering
 * into a user buffer as `kernel/bpf/log.c` does it: every message cut at 1023 bytes, fixed buffers keep the beginning, rolling
 * ones the end, `log_true_size` counts what the longest log needed. Does not own what is said.
 *
 * Text is latin-1: one character, one byte.
 */
import { EFAULT, EINVAL, ENOSPC } from '../isa/errno.ts';
import { BPF_LOG_FIXED, BPF_LOG_LEVEL1, BPF_LOG_LEVEL2, BPF_LOG_MASK } from './log_levels.ts';

/** What a stretch of the log is about. */
export type LogEventKind = 'message' | 'instruction' | 'state' | 'source' | 'precision' | 'statistic' | 'diagnostic';

/** One stretch of the log. `insn` is the instruction being looked at, -1 before the main loop. */
export interface LogEvent {
  readonly kind: LogEventKind;
  readonly insn: number;
  readonly text: string;
}

/** Longest text of one message; the kernel formats into a buffer of 1024 bytes with the final NUL. */
const MAX_MESSAGE = 1023;
const UINT_MAX = 0xffffffff;
const NO_LOG: readonly [error: number, trueSize: number] = [0, 0];

export class VerifierLog {
  /** `BPF_LOG_*` bits as given by the caller; 0 writes nothing. */
  readonly level: number;
  /** Bytes of the user's buffer. */
  readonly size: number;
  readonly hasBuffer: boolean;
  /** Bytes written so far, after resets: the kernel's `end_pos`. */
  endPos = 0;
  /** The kernel's `len_max`: bytes that the longest state of the log needs, with its NUL. */
  maxLength = 0;
  /** First byte still in a rolling buffer: the kernel's `start_pos`. */
  #startPos = 0;
  /** Bytes up to which texts are kept. */
  #stored = 0;
  #kinds: LogEventKind[] = [];
  #insns: number[] = [];
  #texts: string[] = [];
  #kind: LogEventKind = 'message';
  #insn = -1;

  constructor(level: number, size: number, hasBuffer: boolean) {
    this.level = level;
    this.size = size;
    this.hasBuffer = hasBuffer;
  }

  /** 0, or `-EINVAL` where level, size and buffer do not fit together (`bpf_vlog_init`). */
  check(): number {
    if (this.hasBuffer !== this.size > 0) return -EINVAL;
    if (this.hasBuffer && this.level === 0) return -EINVAL;
    if ((this.level & ~BPF_LOG_MASK) !== 0 || this.size > UINT_MAX >>> 2) return -EINVAL;
    return 0;
  }

  /** True where instructions and states are wanted (level 1 or 2). */
  get verbose(): boolean {
    return (this.level & (BPF_LOG_LEVEL1 | BPF_LOG_LEVEL2)) !== 0;
  }

  /** Appends one message (one `verbose()` of the kernel). */
  write(message: string): void {
    if (this.level === 0 || message.length === 0) return;
    const text = message.length > MAX_MESSAGE ? message.slice(0, MAX_MESSAGE) : message;
    const length = text.length + 1;
    const need = this.endPos + length;
    if (need > this.maxLength) this.maxLength = Math.min(need, UINT_MAX);
    if ((this.level & BPF_LOG_FIXED) === 0 && need - this.#startPos >= this.size) this.#startPos = need - this.size;
    const isLost = (this.level & BPF_LOG_FIXED) !== 0 && this.endPos >= this.size;
    this.endPos += text.length;
    // what a fixed buffer has no room for counts, but need not be kept
    if (isLost) return;
    this.#stored = this.endPos;
    this.#kinds.push(this.#kind);
    this.#insns.push(this.#insn);
    this.#texts.push(text);
    if (this.#texts.length > 65536) this.#forget();
  }

  /** From here on messages are about this. */
  about(kind: LogEventKind, insn: number): void {
    this.#kind = kind;
    this.#insn = insn;
  }

  /** Forgets everything from byte `position` on (`bpf_vlog_reset`). */
  reset(position: number): void {
    if (this.level === 0 || position > this.endPos) return;
    let excess = this.#stored - position;
    while (excess > 0 && this.#texts.length > 0) {
      const last = this.#texts.length - 1;
      const text = this.#texts[last]!;
      if (text.length > excess) {
        this.#texts[last] = text.slice(0, text.length - excess);
        excess = 0;
      } else {
        excess -= text.length;
        this.#texts.pop();
        this.#kinds.pop();
        this.#insns.pop();
      }
    }
    this.endPos = position;
    if (this.#stored > position) this.#stored = position;
    if (this.endPos < this.#startPos) this.#startPos = this.endPos;
  }

  /** The events that are still there, in order. */
  events(): LogEvent[] {
    return this.#texts.map((text, i) => ({ kind: this.#kinds[i]!, insn: this.#insns[i]!, text }));
  }

  /** What the user's buffer holds at the end, without the NUL. */
  render(): string {
    if (this.level === 0 || !this.hasBuffer || this.size === 0) return '';
    const text = this.#texts.join('');
    if ((this.level & BPF_LOG_FIXED) !== 0) return text.slice(0, this.size - 1);
    const keep = this.endPos - this.#startPos;
    return keep >= text.length ? text : text.slice(text.length - keep);
  }

  /** `[0 or -errno, log_true_size]` (`bpf_vlog_finalize`). */
  finalize(): readonly [error: number, trueSize: number] {
    if (this.level === 0) return NO_LOG;
    if (this.hasBuffer !== this.size > 0) return [-EFAULT, this.maxLength];
    if (this.hasBuffer && this.maxLength > this.size) return [-ENOSPC, this.maxLength];
    return [0, this.maxLength];
  }

  /** Drops what can no longer show in the buffer, so that a long log costs no more memory than its buffer. */
  #forget(): void {
    const keepFirst = (this.level & BPF_LOG_FIXED) !== 0;
    if (keepFirst) return;
    const window = Math.max(this.size, 1 << 16) * 2;
    let kept = 0;
    let from = this.#texts.length;
    while (from > 0 && kept < window) kept += this.#texts[--from]!.length;
    if (from < 32768) {
      // Many short messages: join them so that the arrays stay short.
      const cut = this.#texts.length - 1024;
      // Cut as well: else the joined text would be joined again and again, and grow.
      const joined = this.#texts.slice(from, cut).join('').slice(-window);
      this.#texts = [joined, ...this.#texts.slice(cut)];
      this.#kinds = ['message', ...this.#kinds.slice(cut)];
      this.#insns = [-1, ...this.#insns.slice(cut)];
      return;
    }
    this.#texts = this.#texts.slice(from);
    this.#kinds = this.#kinds.slice(from);
    this.#insns = this.#insns.slice(from);
  }
}

/** `%lld` where it fits 16 bits signed, else `%#llx`. Words of a signed 64-bit number. */
export function signedText(lo: number, hi: number): string {
  if (hi === lo >> 31 && lo >= -32768 && lo <= 32767) return String(lo);
  return hexText(lo, hi);
}

/** `%llu` where it fits 16 bits, else `%#llx`. */
export function unsignedText(lo: number, hi: number): string {
  if (hi === 0 && lo >>> 0 <= 0xffff) return String(lo >>> 0);
  return hexText(lo, hi);
}

/** `%#llx`; the kernel puts the prefix before zero too. */
export function hexText(lo: number, hi: number): string {
  if (hi === 0) return `0x${(lo >>> 0).toString(16)}`;
  return `0x${(hi >>> 0).toString(16)}${(lo >>> 0).toString(16).padStart(8, '0')}`;
}

/** A tristate number in the log: the constant, or `(value; mask)`. */
export function tnumText(valueLo: number, valueHi: number, maskLo: number, maskHi: number): string {
  if (maskLo === 0 && maskHi === 0) {
    if (valueHi === 0 && valueLo >>> 0 <= 0xffff) return String(valueLo >>> 0);
    return signedText(valueLo, valueHi);
  }
  return `(${hexText(valueLo, valueHi)}; ${hexText(maskLo, maskHi)})`;
}

/** Decimal text of a 64-bit number given as words. */
export function decimalText(lo: number, hi: number, isSigned: boolean): string {
  if (isSigned && hi < 0) {
    const negLo = -lo | 0;
    const negHi = (~hi + (negLo === 0 ? 1 : 0)) | 0;
    return `-${decimalText(negLo, negHi, false)}`;
  }
  if (hi === 0) return String(lo >>> 0);
  const high = (hi >>> 0) * 4294967296 + (lo >>> 0);
  if (high <= Number.MAX_SAFE_INTEGER) return String(high);
  return ((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)).toString();
}
