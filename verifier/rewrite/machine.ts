/**
 * @module verifier/rewrite/machine
 * The form of a verified program that the machine runs: as it was verified, but for accesses to contexts and sockets, which read the
 * kernel's own structures, and accesses that may fault or lead to an arena, which are marked as such. Calls keep their helper numbers
 * and BTF ids.
 */
import { ENOMEM } from '../../isa/errno.ts';
import type { VerifierEnv } from '../env.ts';
import { convertCtxAccess } from '../progtypes/index.ts';
import { guardedCode, isPlainLoad, isPlainStore } from './fixups.ts';
import { KEEP, REPLACE, Rewrite } from './rewrite.ts';

/** A program for the machine. */
export interface MachineProgram {
  /** 8 bytes each. */
  readonly instructions: Uint8Array;
  /** First instruction of each subprogram. */
  readonly subprograms: readonly number[];
  /** Bytes, by subprogram. */
  readonly stackDepths: readonly number[];
  /** Where each instruction as verified is now. */
  readonly machineIndex: Int32Array;
  /** Index in `subprograms` of the function that exceptions lead to. */
  readonly exceptionCallback: number | undefined;
}

/** @returns the program, or `-errno` where a jump would become too long */
export function machineProgram(env: VerifierEnv): MachineProgram | number {
  const r = new Rewrite(env);
  const result = r.pass((i) => {
    const notes = r.notes(i);
    if (notes < 0) return KEEP;
    const code = r.code[i]!;
    const ptrType = r.aux.ptrType[notes]!;
    r.code[i] = guardedCode(code, ptrType);
    if (r.code[i] !== code || (!isPlainLoad(code) && !isPlainStore(code))) return KEEP;
    const converted = convertCtxAccess(env, ptrType, r.at(i), r.aux.ctxFieldSize[notes]!);
    if (converted === undefined || converted.length === 0) return KEEP;
    r.emitAll(converted);
    return REPLACE;
  });
  if (result < 0) return -ENOMEM;
  return {
    instructions: r.encode(),
    subprograms: r.starts.slice(0, env.subprogCount),
    stackDepths: env.subprogs.slice(0, env.subprogCount).map((sub) => sub.stackDepth),
    machineIndex: r.position,
    exceptionCallback: env.exceptionCallbackSubprog === 0 ? undefined : env.exceptionCallbackSubprog,
  };
}
