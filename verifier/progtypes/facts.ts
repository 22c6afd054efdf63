/**
 * @module verifier/progtypes/facts
 * What of a load the tables of program types look at, gathered once a load. Owns no rules.
 */
import { BPF_PROG_TYPE_EXT, BPF_PROG_TYPE_STRUCT_OPS } from '../../isa/uapi.ts';
import type { VerifierEnv } from '../env.ts';
import type { ProgramFacts } from './funcs.ts';

/** The load that was asked about last: one is under way at a time, but for hooks that load another. */
let knownOf: VerifierEnv | undefined;
let known: ProgramFacts | undefined;

/** The facts of a load. Stable from the moment the attach target of an extension is resolved. */
export function factsOf(env: VerifierEnv): ProgramFacts {
  const cached = known;
  if (knownOf === env && cached !== undefined && cached.type === env.resolvedProgType && cached.expectedAttachType === expectedAttachType(env)) return cached;
  const facts = gatherFacts(env);
  knownOf = env;
  // most loads are like the one before: what was found out for that holds for them
  if (cached === undefined || !areSame(cached, facts)) known = facts;
  return known!;
}

function areSame(a: ProgramFacts, b: ProgramFacts): boolean {
  const x = a.capabilities, y = b.capabilities;
  return a.loadedType === b.loadedType && a.type === b.type && a.expectedAttachType === b.expectedAttachType && a.sleepable === b.sleepable
    && a.attachName === b.attachName && a.attachStruct === b.attachStruct && a.attachesToProgram === b.attachesToProgram
    && x.bpf === y.bpf && x.perfmon === y.perfmon && x.netAdmin === y.netAdmin && x.sysAdmin === y.sysAdmin && x.sysBoot === y.sysBoot;
}

function expectedAttachType(env: VerifierEnv): number {
  return env.load.type === BPF_PROG_TYPE_EXT && env.savedDstProgType !== 0 ? env.savedDstAttachType : env.expectedAttachType;
}

function gatherFacts(env: VerifierEnv): ProgramFacts {
  const { load } = env;
  const isStructOps = load.type === BPF_PROG_TYPE_STRUCT_OPS;
  const btf = env.attachBTF;
  const id = load.attachBTFID;
  const target = btf === undefined || id === 0 || !btf.has(id) ? '' : btf.typeName(id);
  const member = isStructOps && target !== '' && btf !== undefined && btf.isStructOrUnion(id) && load.expectedAttachType < btf.vlen(id)
    ? btf.memberName(id, load.expectedAttachType) : '';
  return {
    loadedType: load.type,
    type: env.resolvedProgType,
    expectedAttachType: expectedAttachType(env),
    sleepable: env.sleepable,
    capabilities: load.capabilities,
    attachName: isStructOps ? member : target,
    attachStruct: isStructOps ? target : '',
    attachesToProgram: load.attachProgram !== undefined,
  };
}
