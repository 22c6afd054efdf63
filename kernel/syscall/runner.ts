/**
 * @module kernel/syscall/runner
 * The machine of the instance, for commands that run programs.
 */
import { InternalError } from '../../isa/errors.ts';
import type { Runner } from '../run.ts';
import type { Call } from './call.ts';

export function runnerOf(call: Call): Runner {
  const { runner } = call.kernel;
  if (runner === undefined) throw new InternalError('no machine');
  return runner;
}
