/**
 * @module verifier/diagnostics_port
 * What the checks tell the writer of "Verification failed" reports. Owns the interface only; the reports are in
 * `diagnostics.ts`. Methods have the names of `bpf_diag_*` (kernel/bpf/diagnostics.c) without the prefix. Registers are given as
 * offsets in the current state's words (`env.w`), -1 for none; frames likewise.
 */

// enum bpf_diag_mod_reason
export const DIAG_MOD_WRITE = 0;
export const DIAG_MOD_SPILL = 1;
export const DIAG_MOD_VAR_WRITE = 2;
export const DIAG_MOD_REF_RELEASE = 3;
export const DIAG_MOD_PKT_DATA_CHANGE = 4;
export const DIAG_MOD_NON_OWN_REF = 5;
export const DIAG_MOD_CALLER_SAVED = 6;

// enum bpf_diag_context_kind
export const DIAG_CONTEXT_RCU = 1;
export const DIAG_CONTEXT_PREEMPT = 2;
export const DIAG_CONTEXT_IRQ = 3;
export const DIAG_CONTEXT_LOCK = 4;

// enum bpf_diag_invalid_deref_kind
export const DIAG_DEREF_SCALAR = 0;
export const DIAG_DEREF_NULLABLE_PTR = 1;
export const DIAG_DEREF_MODIFIED_PTR = 2;
export const DIAG_DEREF_INVALID_PTR = 3;

export interface Diagnostics {
  /** A new frame's identity (`bpf_diag_init_frame`). */
  initFrame(): number;
  programStructure(insn: number, problem: string, suggestion: string, reason: string): void;
  policy(insn: number, operation: string, reason: string, suggestion: string): void;
  registerType(insn: number, regno: number, problem: string, reason: string, suggestion: string): void;
  /** `arg` counts from 1, -1 for none; `stackSlot` is the slot of an on-stack argument or -1. */
  callType(insn: number, arg: number, regno: number, stackSlot: number, callName: string, argName: string, reason: string, suggestion: string): void;
  ctxForbidden(insn: number, operation: string, suggestion: string): void;
  ctxActive(insn: number, operation: string, kind: number, suggestion: string): void;
  ctxRequired(insn: number, operation: string, kind: number, suggestion: string): void;
  ctxUnderflow(insn: number, operation: string, kind: number, suggestion: string): void;
  /** `offset` as lo, hi words. */
  invalidDeref(insn: number, regno: number, regName: string, reg: number, kind: number, offsetLo: number, offsetHi: number): void;
  unreadableReg(insn: number, regno: number): void;
  stackArgUninit(insn: number, nargs: number, slot: number, calleeName: string, argName: string | undefined): void;
  memory(insn: number, problem: string, reason: string, suggestion: string): void;
  memBounds(insn: number, regno: number, regName: string, typeName: string, proof: string, off: number, size: number, memSize: number, reg: number): void;
  res(insn: number, problem: string, reason: string, suggestion: string): void;
  /** `activeLock` is the offset of a reference in `env.w`, -1 for none. */
  lock(insn: number, problem: string, reason: string, suggestion: string, activeLock: number): void;
  irq(insn: number, problem: string, reason: string, suggestion: string, depth: number): void;
  leak(refID: number, allocInsn: number, failInsn: number): void;
  recordBranch(insn: number, isTaken: boolean): void;
  modBegin(reg: number, origin: number, reason: number): void;
  modEnd(): void;
  recordScrub(reg: number, reason: number): void;
  recordScrubStack(frame: number, minOff: number, maxOff: number, reason: number): void;
  recordRefAcquire(insn: number, refID: number): void;
  recordRefRelease(insn: number, refID: number): void;
  recordContext(insn: number, kind: number, isEntered: boolean, depth: number): void;
  eventLogSave(): number;
  eventLogRestore(position: number): void;
  /** A register kind in plain words (`bpf_diag_reg_type_plain`). */
  regTypePlain(type: number): string;
}
