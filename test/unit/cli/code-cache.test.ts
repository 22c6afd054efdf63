/** Compiled code that is kept between runs. */
import { chmodSync, mkdtempSync, readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readCode, writeCode } from '../../../src/cli/code-cache.ts';

describe('compiled code', () => {
  const code = Buffer.from('code');
  let folder = '';

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'bpftwin-code-'));
    vi.stubEnv('NODE_COMPILE_CACHE', undefined);
    vi.stubEnv('NODE_DISABLE_COMPILE_CACHE', undefined);
    vi.stubEnv('XDG_CACHE_HOME', folder);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it('is read as it was written, under its name, by this version of Node', () => {
    expect(readCode('a.cjs')).toBeUndefined();
    writeCode('a.cjs', code);
    writeCode('a.cjs', code);
    expect(readCode('a.cjs')).toEqual(code);
    expect(readCode('b.cjs')).toBeUndefined();
    expect(readdirSync(join(folder, 'bpftwin'))).toEqual([`a.cjs-${process.version}-${process.arch}`]);
    expect(statSync(join(folder, 'bpftwin')).mode & 0o777).toBe(0o700);
  });

  it('is not read where others could have written it', () => {
    writeCode('a.cjs', code);
    chmodSync(join(folder, 'bpftwin', `a.cjs-${process.version}-${process.arch}`), 0o666);
    expect(readCode('a.cjs')).toBeUndefined();
  });

  it('goes where Node is told to keep its own, and nowhere where it is told not to', () => {
    vi.stubEnv('NODE_COMPILE_CACHE', join(folder, 'told'));
    writeCode('a.cjs', code);
    expect(readdirSync(folder)).toEqual(['told']);
    vi.stubEnv('NODE_DISABLE_COMPILE_CACHE', '1');
    expect(readCode('a.cjs')).toBeUndefined();
    vi.stubEnv('NODE_DISABLE_COMPILE_CACHE', undefined);
    expect(readCode('a.cjs')).toEqual(code);
  });

  it('is done without where the folder cannot be written', () => {
    vi.stubEnv('XDG_CACHE_HOME', '/proc/nowhere');
    writeCode('a.cjs', code);
    expect(readCode('a.cjs')).toBeUndefined();
  });
});
