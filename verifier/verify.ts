/**
 * @module verifier/verify
 * A load from admission to the rewritten program, in the order of the kernel's `bpf_check` (kernel/bpf/verifier.c). Owns the
 * order of the phases, the statistics at the end of the log and the verdict; the phases themselves are in their own modules.
 */
import { within, type Phase, type Phases } from '../isa/phases.ts';
import { admit, admitBeforeLog } from './admission.ts';
import { checkAttachTarget } from './attach_target.ts';
import { checkCFG, computePostorder } from './cfg.ts';
import { checkBTFInfo, checkCoreRelo, prepareBTFInfo } from './check_btf.ts';
import { computeConstRegs, pruneDeadBranches } from './const_fold.ts';
import { doCheckMain, doCheckSubprogs } from './do_check.ts';
import { createDiagnostics } from './diagnostics.ts';
import { InsnAux, KEPT_NOTES, VerifierEnv } from './env.ts';
import { markFastcallPatterns, removeFastcallSpills } from './fastcall.ts';
import { checkAndResolveInsns } from './insns.ts';
import { addKfuncCalls } from './kfunc_table.ts';
import { computeLiveRegisters } from './liveness.ts';
import { BPF_LOG_STATS } from './log_levels.ts';
import { contextArguments } from './progtypes/ctx_args.ts';
import { baseType, PTR_TO_ARENA } from './regtypes.ts';
import { machineProgram } from './rewrite/machine.ts';
import { xlate } from './rewrite/xlate.ts';
import { computeSCC } from './scc.ts';
import { checkMaxStackDepth } from './stack_depth.ts';
import { addSubprogs, checkSubprogs, isGlobalSubprog, sortSubprogsTopologically } from './subprogs.ts';
import type { ProgramLoad, Verdict, VerifiedProgram, VerifierEnvironment } from './types.ts';
import { leaveWorkspace, type Workspace } from './workspace.ts';

/** Most instructions that one load may process. */
export const BPF_COMPLEXITY_LIMIT_INSNS = 1_000_000;

/**
 * Verifies one load.
 * @returns a verdict: `errno` 0 with the program ready to run, or the kernel's error number; the log either way.
 * @example
 * const verdict = verify(load, environment);
 * if (verdict.errno === 0) run(verdict.program!);
 */
export function verify(load: ProgramLoad, environment: VerifierEnvironment): Verdict {
  const env = setUp(load, environment);
  try {
    return verifyIn(env, environment);
  } finally {
    leaveWorkspace(env.workspace);
  }
}

function setUp(load: ProgramLoad, environment: VerifierEnvironment): VerifierEnv {
  const { phases } = environment;
  return phases === undefined ? new VerifierEnv(load, environment) : within(phases, 'set-up', () => new VerifierEnv(load, environment));
}

function verifyIn(env: VerifierEnv, environment: VerifierEnvironment): Verdict {
  const start = environment.now();
  const early = admitBeforeLog(env);
  if (early !== 0) return verdict(env, early, false);
  const logError = env.log.check();
  if (logError !== 0) return verdict(env, logError, false);
  env.diag = createDiagnostics(env);
  const { error, admission } = admit(env);
  env.admission = admission;
  if (error !== 0) return verdict(env, error, true);
  const checked = check(env);
  const { phases } = environment;
  return phases === undefined ? conclude(env, checked, start) : within(phases, 'log', () => conclude(env, checked, start));
}

function conclude(env: VerifierEnv, checked: number, start: number): Verdict {
  const end = env.ext.now();
  if (env.log.level !== 0) writeStatistics(env, end - start);
  return verdict(env, checked, true);
}

/** What is done to the program, in the kernel's order, with the part of the load that each step belongs to. */
const STEPS: readonly (readonly [Phase, (env: VerifierEnv) => number])[] = [
  ['set-up', noteInstructions],
  ['references', prepareBTFInfo], ['references', checkCoreRelo], ['references', addSubprogs], ['references', checkSubprogs], ['references', checkBTFInfo],
  ['references', checkAndResolveInsns], ['references', addKfuncCalls], ['control flow', checkCFG], ['control flow', computePostorder],
  ['references', checkAttachTarget], ['control flow', computeConstRegs], ['control flow', pruneDeadBranches],
  ['control flow', sortSubprogsTopologically], ['control flow', computeSCC], ['liveness', computeLiveRegisters], ['liveness', markFastcallPatterns],
  ['main verification', doCheckMain], ['main verification', doCheckSubprogs], ['rewrites', removeFastcallSpills], ['rewrites', checkMaxStackDepth],
  ['rewrites', rewrite],
];

/** The steps over the program; 0 or `-errno` of the first that refuses. */
function check(env: VerifierEnv): number {
  const { phases } = env.ext;
  for (let i = 0; i < STEPS.length; i++) {
    const step = STEPS[i]!;
    const error = phases === undefined ? step[1](env) : timed(env, phases, step);
    if (error < 0) return error;
  }
  return 0;
}

function timed(env: VerifierEnv, phases: Phases, [phase, step]: (typeof STEPS)[number]): number {
  return within(phases, phase, () => step(env));
}

function noteInstructions(env: VerifierEnv): number {
  env.aux = notesOf(env.workspace, env.insns.count);
  return 0;
}

function notesOf(workspace: Workspace, count: number): InsnAux {
  for (const notes of workspace.notes) {
    if (notes.capacity < count || notes.capacity > 4 * count + 32) continue;
    notes.begin(count);
    return notes;
  }
  const notes = new InsnAux(count);
  if (notes.capacity <= KEPT_NOTES) workspace.notes.push(notes);
  return notes;
}

/** The program for the machine, and as Linux rewrites it. */
function rewrite(env: VerifierEnv): number {
  const machine = machineProgram(env);
  if (typeof machine === 'number') return machine;
  env.machine = machine;
  const xlated = xlate(env);
  if (typeof xlated === 'number') return xlated;
  env.xlated = xlated;
  return 0;
}

function writeStatistics(env: VerifierEnv, microseconds: number): void {
  const { log } = env;
  log.about('statistic', -1);
  if ((log.level & BPF_LOG_STATS) !== 0) {
    log.write(`verification time ${microseconds} usec\n`);
    log.write(`stack depth max ${env.maxStackDepth}\n`);
    for (let i = 0; i < env.subprogCount - env.hiddenSubprogCount; i++) {
      const sub = env.subprogs[i]!;
      const name = sub.name === undefined || sub.name === '' ? '<unknown>' : sub.name;
      const kind = i === 0 ? 'main' : isGlobalSubprog(env, i) ? 'global' : 'static';
      log.write(`subprog ${i} (${name}) ${kind} insns_self ${sub.insnsSelf} insns_total ${sub.insnsTotal} stack ${sub.stackDepth}\n`);
    }
  }
  log.write(
    `processed ${env.insnProcessed} insns (limit ${BPF_COMPLEXITY_LIMIT_INSNS}) max_states_per_insn ${env.maxStatesPerInsn} ` +
      `total_states ${env.totalStates} peak_states ${env.peakStates} mark_read ${env.longestMarkReadWalk}\n`,
  );
}

const NO_LOG: readonly [error: number, trueSize: number] = [0, 0];

function verdict(env: VerifierEnv, result: number, logIsOpen: boolean): Verdict {
  const [logError, logTrueSize] = logIsOpen ? env.log.finalize() : NO_LOG;
  const error = logError !== 0 ? logError : result;
  return {
    errno: error === 0 ? 0 : -error,
    log: logIsOpen ? env.log.render() : '',
    logTrueSize,
    stats: {
      instructionsProcessed: env.insnProcessed, totalStates: env.totalStates, peakStates: env.peakStates,
      maxStatesPerInstruction: env.maxStatesPerInsn, markRead: env.longestMarkReadWalk,
    },
    admission: env.admission,
    program: error === 0 ? verifiedProgram(env) : undefined,
  };
}

function hasArenaArgument(env: VerifierEnv): boolean {
  const list = contextArguments(env);
  return list.some(({ regType }) => baseType(regType) === PTR_TO_ARENA);
}

function verifiedProgram(env: VerifierEnv): VerifiedProgram {
  // Field by field: a spread costs more here than most phases of a small program.
  const { instructions, subprograms, stackDepths, machineIndex, exceptionCallback } = env.machine!;
  return {
    instructions, subprograms, stackDepths, machineIndex, exceptionCallback,
    xlated: env.xlated!,
    tag: env.digest.slice(0, 8),
    digest: env.digest,
    usedMaps: env.usedMaps,
    usedBTFs: env.usedBTFs,
    btf: env.btf,
    hasArenaArgument: hasArenaArgument(env),
    maxCtxOffset: env.maxCtxOffset,
    verifiedInstructions: env.insnProcessed,
    fullyVerified: true,
  };
}
