/**
 * @module verifier/kfunc_table
 * The kernel functions that a program calls, found once before anything is checked (`add_kfuncs`, kernel/bpf/verifier.c).
 */
import { EPERM } from '../isa/errno.ts';
import type { VerifierEnv } from './env.ts';
import { addKfuncCall } from './kfuncs.ts';
import { isPseudoKfuncCall } from './subprogs.ts';

/** Finds all of them; 0 or `-errno`. */
export function addKfuncCalls(env: VerifierEnv): number {
  const { imm, off, count } = env.insns;
  for (let i = 0; i < count; i++) {
    if (!isPseudoKfuncCall(env, i)) continue;
    if (!env.bpfCapable) {
      env.log.write('loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN\n');
      env.diag?.policy(
        i, 'kernel function call', 'calling kernel functions requires CAP_BPF or CAP_SYS_ADMIN',
        'Load this program with the required capability, or avoid kernel function calls in unprivileged programs.',
      );
      return -EPERM;
    }
    const error = addKfuncCall(env, imm[i]!, off[i]!);
    if (error < 0) return error;
  }
  return 0;
}
