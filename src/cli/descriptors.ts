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
    if (error.code !== 'EAGAIN') process.exit(statusOfWriteError(error));
    // A pipe that its other end made non-blocking, and that is full.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    return 0;
  }
}

/** The status of a process that cannot write. A reader that has seen enough (`| head`) is no failure. */
export function statusOfWriteError({ code }: { readonly code?: unknown }): number {
  return code === 'EPIPE' ? 0 : 2;
}
