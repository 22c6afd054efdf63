/**
 * @module verifier/diagnostics_port
 * What the checks tell the writer of "Verification failed" reports. Owns the interface only; the reports are in
 * `diagnostics.ts`. Methods have the names of `bpf_diag_*` (kernel/bpf/diagnostics.c) without the prefix.
 */

/** `enum bpf_diag_context_kind` by name. */
export type DiagContext = 'rcu' | 'preempt' | 'irq' | 'lock' | 'sleepable' | string;

export interface Diagnostics {
  programStructure(insn: number, problem: string, suggestion: string, reason: string): void;
  policy(insn: number, operation: string, reason: string, suggestion: string): void;
  registerType(insn: number, regno: number, problem: string, reason: string, suggestion: string): void;
}
