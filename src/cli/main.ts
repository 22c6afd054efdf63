#!/usr/bin/env node
/**
 * @module src/cli/main
 * Runs command lines, and where Node was started with this file, that of the process. Only what every command needs is loaded here. The
 * package's own entry is `start.ts`, which calls this one for all commands but the one that has to be fast.
 */
import { realpathSync } from 'node:fs';
import nodeModule from 'node:module';
import { descriptors, endOnWriteError } from './descriptors.ts';
import type { Surroundings } from './io.ts';
import { lightCall } from './light-call.ts';

/**
 * Runs one command line.
 *
 * @param argv the arguments after the program's name
 * @param surroundings where output goes
 * @returns the exit status
 *
 * @example
 * await main(['inspect', 'a.lskel.h', '-j'], surroundings);
 */
export async function main(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const light = lightCall(argv);
  if (light !== undefined) return (await import('./light.ts')).runLight(light, surroundings);
  return (await import('./program.ts')).runProgram(argv, surroundings);
}

/** Runs the command line of this process. */
export async function start(): Promise<void> {
  keepCompiledModules();
  const argv = process.argv.slice(2);
  if (lightCall(argv) !== undefined) process.exit(await main(argv, descriptors()));
  process.stdout.on('error', endOnWriteError);
  process.exitCode = await main(argv, {
    stdout: process.stdout,
    stderr: process.stderr,
    isTerminal: process.stdout.isTTY,
    columns: process.stdout.columns || 80,
    env: process.env,
  });
}

/** Newer versions of Node (22.1) keep compiled modules from one run to the next; `NODE_DISABLE_COMPILE_CACHE=1` turns it off. */
function keepCompiledModules(): void {
  if ('enableCompileCache' in nodeModule && typeof nodeModule.enableCompileCache === 'function') nodeModule.enableCompileCache();
}

/** True where this file is what Node was started with, also through a link in `node_modules/.bin`. */
function isEntry(): boolean {
  const started = process.argv[1];
  if (started === undefined) return false;
  try {
    return realpathSync(started) === import.meta.filename;
  } catch {
    return false;
  }
}

if (isEntry()) await start();
