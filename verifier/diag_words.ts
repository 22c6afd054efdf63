/**
 * @module verifier/diag_words
 * The words of reports: regions, locks, things that change, and numbers. Reproduces the naming functions of
 * kernel/bpf/diagnostics.c. 64-bit numbers appear in reports only: BigInt is fast enough there.
 */
import { BOUND, cnum64SMax, cnum64SMin, cnum64UMax, cnum64UMin } from './cnum.ts';
import { S_R64, S_VAR, TARGET_REG, TARGET_STACK_ARG, TARGET_STACK_SLOT } from './diag_events.ts';
import {
  DIAG_CONTEXT_IRQ, DIAG_CONTEXT_LOCK, DIAG_CONTEXT_PREEMPT, DIAG_CONTEXT_RCU, DIAG_MOD_CALLER_SAVED, DIAG_MOD_NON_OWN_REF,
  DIAG_MOD_PKT_DATA_CHANGE, DIAG_MOD_REF_RELEASE, DIAG_MOD_WRITE,
} from './diagnostics_port.ts';
import { MEM_ALLOC, NON_OWN_REF, PTR_TO_BTF_ID, PTR_UNTRUSTED, baseType } from './regtypes.ts';
import { REF_TYPE_LOCK, REF_TYPE_RES_LOCK, REF_TYPE_RES_LOCK_IRQ } from './state.ts';

export function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

export function isAllocated(type: number): boolean {
  return baseType(type) === PTR_TO_BTF_ID && (type & MEM_ALLOC) !== 0 && (type & PTR_UNTRUSTED) === 0;
}

export function isBorrowed(type: number): boolean {
  return isAllocated(type) && (type & NON_OWN_REF) !== 0;
}

export function contextName(kind: number): string {
  switch (kind) {
    case DIAG_CONTEXT_RCU: return 'RCU read lock region';
    case DIAG_CONTEXT_PREEMPT: return 'non-preemptible region';
    case DIAG_CONTEXT_IRQ: return 'IRQ-disabled region';
    case DIAG_CONTEXT_LOCK: return 'lock region';
    default: return 'non-sleepable program';
  }
}

export function contextConstraint(kind: number): string {
  switch (kind) {
    case DIAG_CONTEXT_RCU: return 'RCU read-side critical sections cannot call operations that may sleep';
    case DIAG_CONTEXT_PREEMPT: return 'preemption-disabled code cannot call operations that may sleep';
    case DIAG_CONTEXT_IRQ: return 'IRQ-disabled code cannot call operations that may sleep';
    case DIAG_CONTEXT_LOCK: return 'code holding a BPF spin lock cannot call operations that may sleep';
    default: return '';
  }
}

export function activeContext(depth: number, context: string): string {
  return depth === 1 ? `an active ${context} (depth 1)` : `${depth} active ${context}s (depth ${depth})`;
}

export function lockName(type: number): string {
  switch (type) {
    case REF_TYPE_LOCK: return 'bpf_spin_lock';
    case REF_TYPE_RES_LOCK: return 'resource spin lock';
    case REF_TYPE_RES_LOCK_IRQ: return 'IRQ-saving resource spin lock';
    default: return 'lock';
  }
}

export function targetName(kind: number, index: number): string {
  switch (kind) {
    case TARGET_REG: return `R${index}`;
    case TARGET_STACK_ARG: return `*(R11-${(index + 1) * 8})`;
    case TARGET_STACK_SLOT: return `stack slot fp${-(index + 1) * 8}`;
    default: return 'value';
  }
}

export function changeReason(reason: number, kind: number): string {
  switch (reason) {
    case DIAG_MOD_REF_RELEASE: return `resource release invalidated this ${kind === TARGET_REG ? 'pointer' : 'value'}`;
    case DIAG_MOD_PKT_DATA_CHANGE: return 'packet data may have moved';
    case DIAG_MOD_NON_OWN_REF: return 'leaving the protected region invalidated this borrowed pointer';
    case DIAG_MOD_CALLER_SAVED:
      return kind === TARGET_STACK_ARG ? 'call invalidated this outgoing stack argument' : 'call invalidated this caller-saved register';
    case DIAG_MOD_WRITE: return kind === TARGET_STACK_SLOT ? 'a later stack write overwrote this spilled value' : '';
    default: return '';
  }
}

const S64_MIN = -(2n ** 63n);
const S64_MAX = 2n ** 63n - 1n;
const U64_MAX = 2n ** 64n - 1n;

export function toUnsigned(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

export function toSigned(lo: number, hi: number): bigint {
  return BigInt.asIntN(64, toUnsigned(lo, hi));
}

export function hex(lo: number, hi: number): string {
  return `0x${toUnsigned(lo, hi).toString(16)}`;
}

export function signedBound(value: bigint): string {
  if (value === S64_MIN) return 'S64_MIN';
  return value === S64_MAX ? 'S64_MAX' : String(value);
}

export function unsignedBound(value: bigint): string {
  return value === U64_MAX ? 'U64_MAX' : String(value);
}

/** A sum in words where it does not fit 64 bits (`bpf_diag_fmt_s64_sum`). */
export function sumText(value: bigint, addend: number): string {
  const sum = value + BigInt(addend);
  if (sum >= S64_MIN && sum <= S64_MAX) return String(sum);
  return `${value} plus ${addend} (${addend < 0 ? 'below S64_MIN' : 'above S64_MAX'})`;
}

interface Bounds {
  readonly smin: bigint;
  readonly smax: bigint;
  readonly umin: bigint;
  readonly umax: bigint;
}

export function boundsOf(words: Int32Array, range: number): Bounds {
  cnum64SMin(words, range);
  const smin = toSigned(BOUND[0]!, BOUND[1]!);
  cnum64SMax(words, range);
  const smax = toSigned(BOUND[0]!, BOUND[1]!);
  cnum64UMin(words, range);
  const umin = toUnsigned(BOUND[0]!, BOUND[1]!);
  cnum64UMax(words, range);
  return { smin, smax, umin, umax: toUnsigned(BOUND[0]!, BOUND[1]!) };
}

export function scalarRange(words: Int32Array, range: number): string {
  const { smin, smax, umin, umax } = boundsOf(words, range);
  return `signed range [${signedBound(smin)}, ${signedBound(smax)}], unsigned range [${unsignedBound(umin)}, ${unsignedBound(umax)}]`;
}

export function isConstVar(words: Int32Array, at: number): boolean {
  return words[at + S_VAR + 2] === 0 && words[at + S_VAR + 3] === 0;
}

export function isUnknown(words: Int32Array, at: number): boolean {
  if (words[at + S_VAR + 2] !== -1 || words[at + S_VAR + 3] !== -1) return false;
  const { smin, smax, umin, umax } = boundsOf(words, at + S_R64);
  return smin === S64_MIN && smax === S64_MAX && umin === 0n && umax === U64_MAX;
}

export function knownBits(words: Int32Array, at: number): string {
  const value = hex(words[at + S_VAR]!, words[at + S_VAR + 1]!);
  return `known bits ${value}, unknown mask ${hex(words[at + S_VAR + 2]!, words[at + S_VAR + 3]!)}`;
}

export function scalarText(words: Int32Array, at: number): string {
  if (isConstVar(words, at)) return `integer scalar value ${toSigned(words[at + S_VAR]!, words[at + S_VAR + 1]!)}`;
  if (isUnknown(words, at)) return 'integer scalar with unknown value';
  const { smin, smax } = boundsOf(words, at + S_R64);
  if (smin === smax) return `integer scalar value ${smin}`;
  return `integer scalar with ${scalarRange(words, at + S_R64)}`;
}

export function offsetText(words: Int32Array, at: number): string {
  if (isConstVar(words, at)) return `at offset ${toSigned(words[at + S_VAR]!, words[at + S_VAR + 1]!)}`;
  if (isUnknown(words, at)) return 'with unknown offset';
  return `with variable offset: ${knownBits(words, at)}, ${scalarRange(words, at + S_R64)}`;
}
