/**
 * @module verifier/rewrite/machine
 * The form of a verified program that the machine runs: as it was verified, but for accesses to contexts and sockets, which read the
 * kernel's own structures, and accesses that may fault or lead to an arena, which are marked as such. Calls keep their helper numbers
 * and BTF ids.
 */
import { ENOMEM } from '../../isa/errno.ts';
import { BPF_LDX, BPF_ST, BPF_STX } from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import { convertCtxAccess, isConverted } from '../progtypes/index.ts';
import { guardedCode, isPlainLoad, isPlainStore } from './fixups.ts';
import { encodeInstructions, KEEP, REPLACE, Rewrite } from './rewrite.ts';

const NOT_MOVED: Int32Array = new Int32Array(0);

/** A program for the machine. */
export interface MachineProgram {
  /** 8 bytes each. */
  readonly instructions: Uint8Array;
  /** First instruction of each subprogram. */
  readonly subprograms: readonly number[];
  /** Bytes, by subprogram. */
  readonly stackDepths: readonly number[];
  /** Where each instruction as verified is now; empty where none moved. */
  readonly machineIndex: Int32Array;
  /** Index in `subprograms` of the function that exceptions lead to. */
  readonly exceptionCallback: number | undefined;
}

function convertForMachine(i: number, r: Rewrite): number {
  const code = r.code[i]!;
  const isAccess = isPlainLoad(code) || isPlainStore(code);
  if (!isAccess && (code & 7) !== BPF_STX) return KEEP;
  const notes = r.notes(i);
  if (notes < 0) return KEEP;
  const ptrType = r.aux.ptrType[notes]!;
  const guarded = guardedCode(code, ptrType);
  if (guarded !== code) r.code[i] = guarded;
  if (guarded !== code || !isAccess) return KEEP;
  if (!isConverted(r.env, ptrType)) return KEEP;
  const converted = convertCtxAccess(r.env, ptrType, r.at(i), r.aux.ctxFieldSize[notes]!);
  if (converted === undefined || converted.length === 0) return KEEP;
  r.emitAll(converted);
  return REPLACE;
}

/** True where some access takes another form. */
function isConvertedAnywhere(env: VerifierEnv): boolean {
  const { insns: { code, count }, aux: { ptrType } } = env;
  // programs ask about few kinds of pointers
  let plain = 0;
  for (let i = 0; i < count; i++) {
    const type = ptrType[i]!, op = code[i]!, cls = op & 7;
    if (type === 0 || (cls !== BPF_LDX && cls !== BPF_STX && cls !== BPF_ST)) continue;
    if (guardedCode(op, type) !== op) return true;
    if (type === plain) continue;
    if (isConverted(env, type)) return true;
    plain = type;
  }
  return false;
}

/** @returns the program, or `-errno` where a jump would become too long */
export function machineProgram(env: VerifierEnv): MachineProgram | number {
  const r = isConvertedAnywhere(env) ? new Rewrite(env, env.insns.copy(env.slab)) : undefined;
  if (r !== undefined && r.pass(convertForMachine) < 0) return -ENOMEM;
  const subprograms: number[] = [], stackDepths: number[] = [];
  for (let i = 0; i < env.subprogCount; i++) {
    subprograms.push(r === undefined ? env.subprogs[i]!.start : r.starts[i]!);
    stackDepths.push(env.subprogs[i]!.stackDepth);
  }
  return {
    instructions: r === undefined ? encodeInstructions(env.insns, env.insns.count) : r.encode(),
    subprograms,
    stackDepths,
    machineIndex: r !== undefined && r.hasMoved ? r.position : NOT_MOVED,
    exceptionCallback: env.exceptionCallbackSubprog === 0 ? undefined : env.exceptionCallbackSubprog,
  };
}
