/**
 * @module src/cli/descriptors
 * Output without streams, whose modules take longer to load than a small skeleton to make: what was written is written, and the process
 * may end at once.
 */
import { writeSync } from 'node:fs';
import type { Surroundings, TextSink } from './io.ts';

/** The process's own output, for commands that only print. */
export function descriptors(): Surroundings {
  return { stdout: sink(1), stderr: sink(2), isTerminal: false, columns: 80, env: {} };
}

function sink(fd: number): TextSink {
  return {
    write(text) {
      const bytes = typeof text === 'string' ? Buffer.from(text) : text;
      for (let at = 0; at < bytes.length;) at += writeSome(fd, bytes.subarray(at));
    },
  };
}

function writeSome(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    if (error.code !== 'EAGAIN') endOnWriteError(error);
    // A pipe that its other end made non-blocking, and that is full.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    return 0;
  }
}

/** Ends a process that cannot write. A reader that has seen enough (`| head`) is no failure. */
export function endOnWriteError({ code, message }: { readonly code?: unknown; readonly message: string }): never {
  if (code === 'EPIPE') process.exit(0);
  try {
    writeSync(2, `bpftwin: output cannot be written: ${code === 'ENOSPC' ? 'no space left on device' : message}\n`);
  } catch {
    // It was standard error that cannot be written: the status says it.
  }
  process.exit(2);
}
