/**
 * @module verifier/rewrite/xlate
 * From a verified program to its xlated form: runs the passes and moves line and function records with the instructions
 * (`bpf_adj_linfo`, `bpf_adj_linfo_after_remove`, `adjust_btf_func` of Linux 7.3).
 */
import type { VerifierEnv } from '../env.ts';
import type { XlatedProgram } from '../types.ts';
import { applyFixups } from './fixups.ts';
import { Rewrite } from './rewrite.ts';

/** Lines that are left. The last line of removed instructions goes to the next that is left, unless that has its own. */
function moveLines(env: VerifierEnv, position: Int32Array): { record: number; instruction: number }[] {
  const lines: { record: number; instruction: number }[] = [];
  const { lineInfo } = env;
  const count = position.length - 1;
  for (let record = 0; record < lineInfo.length; record++) {
    const { insn } = lineInfo[record]!;
    let at = insn;
    while (at < count && position[at]! < 0) at++;
    if (at >= count) continue;
    const next = lineInfo[record + 1];
    if (at > insn && next !== undefined && next.insn <= at) continue;
    lines.push({ record, instruction: position[at]! });
  }
  return lines;
}

/**
 * Rewrites the program of `env`, whose subprograms then have their new places. The instructions of `env` are written over: nobody needs them any more.
 * @returns the rewritten program or `-errno`, with the reason in the log
 */
export function xlate(env: VerifierEnv): XlatedProgram | number {
  const rewrite = new Rewrite(env);
  const before = env.subprogs;
  const error = applyFixups(rewrite, env);
  if (error !== 0) return error;
  const functionCount = env.subprogCount - env.hiddenSubprogCount;
  const subprograms: number[] = [];
  for (let i = 0; i < env.subprogCount; i++) subprograms.push(env.subprogs[i]!.start);
  return {
    instructions: rewrite.encode(),
    subprograms,
    functionCount,
    lines: moveLines(env, rewrite.position),
    functions: env.funcInfoCount === 0 ? [] : env.subprogs.slice(0, functionCount).map((sub) => ({
      record: before.indexOf(sub), instruction: sub.start, unreliable: sub.unreliable, isExceptionCallback: sub.isExceptionCallback,
      changesPacketData: sub.changesPktData, mightSleep: sub.mightSleep,
    })),
    position: rewrite.position,
  };
}
