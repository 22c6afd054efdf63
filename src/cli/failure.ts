/**
 * @module src/cli/failure
 * How an exception ends the process: one line on standard error, or `{"error": …}` on standard output, and an exit status.
 */
import { InputError, InternalError } from '../../isa/errors.ts';
import { readable } from '../../isa/latin1.ts';
import { EXIT_BUG, EXIT_USAGE, writeJSON, type Context } from './io.ts';

/** Bad usage that is noticed after the command line was parsed. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** Reports `error` in the form that the options ask for; the exit status. */
export function reportFailure(context: Context, error: unknown): number {
  const isInput = error instanceof InputError || error instanceof UsageError;
  const message = oneLine(readable(error instanceof Error ? describe(error) : String(error)));
  if (context.json) writeJSON(context, { error: message });
  else context.stderr.write(`bpftwin: ${message}\n`);
  if (!isInput && context.debug && error instanceof Error && error.stack !== undefined) context.stderr.write(`${error.stack}\n`);
  return isInput ? EXIT_USAGE : EXIT_BUG;
}

function describe(error: Error): string {
  if (error instanceof InputError || error instanceof UsageError || error instanceof InternalError) return error.message;
  return `this is a bug: ${error.name}: ${error.message}`;
}

/** Control characters from file names and contents must not reach the terminal, nor break the one line. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
