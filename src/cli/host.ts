/**
 * @module src/cli/host
 * What libbpf takes from the machine that it runs on: its processors, and a kernel configuration from a file.
 */
import { readFileSync } from 'node:fs';
import { InputError } from '../../isa/errors.ts';
import { readInput } from './io.ts';

const MAX_CONFIGURATION = 16 * 1024 * 1024;

/** The text of a kernel configuration, compressed or not (`/proc/config.gz`). */
export function readConfiguration(file: string): string {
  const bytes = readInput(file, MAX_CONFIGURATION);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return new TextDecoder().decode(bytes);
  const { gunzipSync } = process.getBuiltinModule('node:zlib');
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_CONFIGURATION }).toString('utf8');
  } catch (error) {
    throw new InputError(file, '', error instanceof Error ? error.message : String(error));
  }
}

/** Processors that this machine can have: libbpf sizes perf event arrays by them. */
export function possibleCPUs(): number {
  try {
    const last = /(\d+)\s*$/.exec(readFileSync('/sys/devices/system/cpu/possible', 'latin1'))?.[1];
    if (last !== undefined) return Number(last) + 1;
  } catch {
    // Not Linux.
  }
  return process.getBuiltinModule('node:os').availableParallelism();
}
