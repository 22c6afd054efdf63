/**
 * @module src/fuzz/guard
 * What escapes from the product while an input runs is a finding: only typed errors may, and those a target catches itself.
 */
import { InputError } from '../../isa/errors.ts';
import type { Finding, Target } from './types.ts';

const FRAMES = 4;

/** The part of a stack trace that belongs to the target: what called it differs from worker to worker. */
function ownFrames(stack: string): string {
  const lines = stack.split('\n');
  const end = lines.findIndex((line) => /\bexecuteGuarded\b/.test(line));
  return lines.slice(0, end < 0 ? lines.length : end).join('\n');
}

/** Functions that were running, innermost first: names only, so that a moved line stays the same finding. */
function innermost(stack: string, count: number): string {
  const names: string[] = [];
  for (const line of stack.split('\n')) {
    const match = /^\s+at (?:async )?(?:new )?([\w$.#<>]+) \(.*?([\w.-]+)\.[jt]s[:?]/.exec(line);
    if (match === null) continue;
    const name = `${match[2]}:${match[1]!.replace(/^.*\./, '')}`;
    if (names.at(-1) !== name) names.push(name);
    if (names.length === count) break;
  }
  return names.join(' < ');
}

/** A finding for something that was thrown. */
export function findingOf(error: unknown): Finding {
  if (!(error instanceof Error)) return { oracle: 'errors', trace: `thrown ${typeof error}`, message: `something that is no error was thrown: ${String(error)}` };
  const kind = error instanceof InputError ? 'InputError' : error.constructor.name;
  const stack = ownFrames(error.stack ?? '');
  // A stack that ran over has another innermost frame each time.
  const isOverrun = error instanceof RangeError && /call stack/.test(error.message);
  return { oracle: 'errors', trace: `${kind} at ${isOverrun ? 'call stack' : innermost(stack, FRAMES)}`, message: isOverrun ? `${kind}: ${error.message}` : stack };
}

/** Runs an input; what escapes becomes a finding. */
export function executeGuarded<Input>(target: Target<Input>, input: Input, thorough: boolean): Finding | undefined {
  try {
    return target.execute(input, thorough);
  } catch (error) {
    return findingOf(error);
  }
}
