/**
 * @module verifier/progtypes
 * What the checks ask about a program's type: the helpers it may call, and how it may access its context. The front of the
 * tables in this folder; the shapes are in `../ops_types.ts`.
 */
import type { VerifierEnv } from '../env.ts';
import type { HelperProto } from '../ops_types.ts';
import { factsOf } from './facts.ts';
import { findProto, isForbidden } from './funcs.ts';

/**
 * The prototype of a helper for this program; `undefined` where programs like it may not call it, or where there is no such
 * helper. `isForbidden` is set where the prototype has a rule of its own that excludes the program.
 */
export function getHelperProto(env: VerifierEnv, id: number): HelperProto | undefined {
  const facts = factsOf(env);
  const proto = findProto(id, facts);
  return proto !== undefined && isForbidden(proto, facts) ? { ...proto, isForbidden: true } : proto;
}
