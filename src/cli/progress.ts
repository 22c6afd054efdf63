/**
 * @module src/cli/progress
 * How far long work is, on a terminal only: a line on standard error with the time that is left. Pipes and JSON get nothing.
 */
import type { Context } from './io.ts';

export interface Progress {
  /** The next step begins. */
  step(what: string): void;
  stop(): void;
}

const SILENT: Progress = { step: () => undefined, stop: () => undefined };

/** Shows `total` steps. */
export async function createProgress(context: Context, total: number): Promise<Progress> {
  if (!context.isTerminal || context.json || !process.stderr.isTTY) return SILENT;
  const { default: cliProgress } = await import('cli-progress');
  const line = new cliProgress.SingleBar({
    format: '{bar} {value}/{total}  {eta_formatted} left  {what}', stream: process.stderr, hideCursor: true, clearOnComplete: true, barsize: 24, synchronousUpdate: true,
    barCompleteChar: '█', barIncompleteChar: '░', etaBuffer: 8, linewrap: false,
  });
  line.start(total, 0, { what: '' });
  let steps = 0;
  return {
    step: (what) => line.update(steps++, { what }),
    stop: () => line.stop(),
  };
}
