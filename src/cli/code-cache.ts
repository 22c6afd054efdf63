/**
 * @module src/cli/code-cache
 * Keeps compiled code in the user's cache folder, or where `NODE_COMPILE_CACHE` says; `NODE_DISABLE_COMPILE_CACHE` turns it off, as Node's
 * own cache of modules, which keeps no functions that were compiled when they were first called. Nothing here ever fails: without a
 * cache a run takes a little longer. Whoever can write such a file decides what runs, so files of other users are not read.
 */
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Code of one file is a few hundred kilobytes. */
const MAX_CODE = 16 * 1024 * 1024;
const OTHERS_MAY_WRITE = 0o022;

/** The code that was kept under a name by this version of Node, if any. */
export function readCode(name: string): Buffer | undefined {
  const folder = cacheFolder();
  if (folder === undefined) return undefined;
  try {
    const fd = openSync(fileOf(folder, name), 'r');
    try {
      const { size, uid, mode } = fstatSync(fd);
      if (size > MAX_CODE || (process.getuid !== undefined && (uid !== process.getuid() || (mode & OTHERS_MAY_WRITE) !== 0))) return undefined;
      const code = Buffer.allocUnsafe(size);
      return readSync(fd, code, 0, size, 0) === size ? code : undefined;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** Keeps code under a name; whole or not at all, whoever else does so at the same time. */
export function writeCode(name: string, code: Buffer): void {
  const folder = cacheFolder();
  if (folder === undefined) return;
  try {
    makeFolder(dirname(folder));
    makeFolder(folder);
    const file = fileOf(folder, name);
    const temporary = `${file}.${process.pid}`;
    writeFileSync(temporary, code, { mode: 0o600, flag: 'wx' });
    renameSync(temporary, file);
  } catch {
    // A cache that cannot be written is none.
  }
}

/** Not with all that is above it: Node tries that without end where a file system refuses, as `/proc` does. */
function makeFolder(folder: string): void {
  if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 });
}

/** V8 itself refuses code of another version of its own or with other flags; the rest is in the name. */
function fileOf(folder: string, name: string): string {
  return join(folder, `${name}-${process.version}-${process.arch}`);
}

function cacheFolder(): string | undefined {
  const { env } = process;
  if (env['NODE_DISABLE_COMPILE_CACHE'] !== undefined) return undefined;
  const asked = env['NODE_COMPILE_CACHE'] ?? '';
  if (asked !== '') return join(asked, 'bpftwin');
  const user = env['XDG_CACHE_HOME'] ?? '';
  if (user.startsWith('/')) return join(user, 'bpftwin');
  const local = process.platform === 'win32' ? env['LOCALAPPDATA'] : process.platform === 'darwin' ? under(env['HOME'], 'Library/Caches') : under(env['HOME'], '.cache');
  return local === undefined || local === '' ? undefined : join(local, 'bpftwin');
}

function under(home: string | undefined, folder: string): string | undefined {
  return home === undefined || home === '' ? undefined : join(home, folder);
}
