/**
 * @module kernel/syscall/log
 * Where the log of a command goes: out of the command's own fields or of the common attributes, and the copy to user space at
 * the end. Owns those rules; the text and its window are `verifier/log.ts`. Reproduces `bpf_log_attr_init`,
 * `bpf_log_attr_create_vlog`, `bpf_log_attr_finalize` (kernel/bpf/log.c).
 */
import { COMMON_ATTR, type Field } from '../../isa/attr.ts';
import { EFAULT, EINVAL } from '../../isa/errno.ts';
import { VerifierLog } from '../../verifier/log.ts';
import { advance, type BPFPtr, isNull, pointerAt } from '../memory.ts';
import type { Call } from './call.ts';

const COMMON_TRUE_SIZE_END = COMMON_ATTR.log_true_size.offset + COMMON_ATTR.log_true_size.size;

/** A checked destination. */
export interface LogTarget {
  readonly level: number;
  readonly size: number;
  /** The user's buffer, `undefined` for none. */
  readonly buffer: BPFPtr | undefined;
  /** Where `log_true_size` is written, `undefined` where the caller's structure is too short for it. */
  readonly trueSize: BPFPtr | undefined;
}

/** Fields of a command that describe its log. */
export interface LogFields {
  readonly level: Field;
  readonly size: Field;
  readonly buffer: Field;
  readonly trueSize: Field;
}

function isValid(level: number, size: number, hasBuffer: boolean): boolean {
  return (level === 0 && size === 0 && !hasBuffer) || new VerifierLog(level, size, hasBuffer).check() === 0;
}

/** `bpf_log_attr_init`: `-EINVAL` where either description is bad or both are given and differ. */
export function logTarget(call: Call, fields: LogFields): LogTarget | number {
  const common = call.common.view;
  const commonBuffer = pointerAt(common, COMMON_ATTR.log_buf.offset, false);
  const commonLevel = common.getUint32(COMMON_ATTR.log_level.offset, true);
  const commonSize = common.getUint32(COMMON_ATTR.log_size.offset, true);
  const buffer = call.userPointer(fields.buffer);
  const level = call.u32(fields.level);
  const size = call.u32(fields.size);
  if (!isValid(commonLevel, commonSize, !isNull(commonBuffer)) || !isValid(level, size, !isNull(buffer))) return -EINVAL;
  if (!isNull(buffer) && !isNull(commonBuffer)) {
    const isSame = buffer.lo === commonBuffer.lo && buffer.hi === commonBuffer.hi && size === commonSize && level === commonLevel;
    if (!isSame) return -EINVAL;
  }
  if (isNull(buffer) && !isNull(commonBuffer)) {
    const hasRoom = call.common.size >= COMMON_TRUE_SIZE_END;
    return {
      level: commonLevel, size: commonSize, buffer: commonBuffer,
      trueSize: hasRoom ? advance(call.common.pointer, COMMON_ATTR.log_true_size.offset) : undefined,
    };
  }
  const hasRoom = call.size >= fields.trueSize.offset + fields.trueSize.size;
  return {
    level, size, buffer: isNull(buffer) ? undefined : buffer,
    trueSize: hasRoom ? advance(call.pointer, fields.trueSize.offset) : undefined,
  };
}

/** The log of a command that has only the common attributes; `undefined` where the caller passed none. */
export function commonLog(call: Call): { readonly log: VerifierLog; readonly target: LogTarget } | number | undefined {
  if (call.common.size === 0) return undefined;
  const view = call.common.view;
  const buffer = pointerAt(view, COMMON_ATTR.log_buf.offset, false);
  const level = view.getUint32(COMMON_ATTR.log_level.offset, true);
  const size = view.getUint32(COMMON_ATTR.log_size.offset, true);
  const log = new VerifierLog(level, size, !isNull(buffer));
  const bad = log.check();
  if (bad !== 0) return bad;
  const hasRoom = call.common.size >= COMMON_TRUE_SIZE_END;
  const trueSize = hasRoom ? advance(call.common.pointer, COMMON_ATTR.log_true_size.offset) : undefined;
  return { log, target: { level, size, buffer: isNull(buffer) ? undefined : buffer, trueSize } };
}

/** Ends a log: copies text and size out. 0, `-ENOSPC` where the text was cut, `-EFAULT`. */
export function finishLog(call: Call, target: LogTarget, log: VerifierLog): number {
  const [error, trueSize] = log.finalize();
  return deliverLog(call, target, log.render(), trueSize, error);
}

/** Copies a finished log out. `error` is what its end gave; a fault replaces it. */
export function deliverLog(call: Call, target: LogTarget, text: string, trueSize: number, error: number): number {
  call.log = text;
  const memory = call.kernel.memory;
  let result = error;
  let size = target.level === 0 ? 0 : trueSize;
  if (target.level !== 0 && target.buffer !== undefined && size > 0) {
    const bytes = new Uint8Array(text.length + 1);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    if (!memory.copyTo(target.buffer, bytes)) result = -EFAULT;
  }
  if (target.level === 0) size = 0;
  if (target.trueSize !== undefined && !memory.putU32(target.trueSize, size)) return -EFAULT;
  return result;
}
