/**
 * @module src/node/fuzz-environment
 * What fuzzing targets get from Node: files of the package, the kernel's types; and running one input of a finding again.
 */
import { readFileSync } from 'node:fs';
import { Coverage } from '../fuzz/coverage.ts';
import { Shard } from '../fuzz/shard.ts';
import { loadTarget } from '../fuzz/targets/index.ts';
import type { Finding, TargetEnvironment } from '../fuzz/types.ts';
import { loadKernelBTF } from './kernel-btf.ts';
import { installNodeCrypto } from './native-crypto.ts';
import { packageFile } from './package-file.ts';

/** What targets are made with here. */
export function createTargetEnvironment(coverage: Coverage): TargetEnvironment {
  return { coverage, file: (name) => new Uint8Array(readFileSync(packageFile(name))), kernelBTF: () => loadKernelBTF() };
}

/**
 * Runs one input of a target with all oracles.
 *
 * @param input bytes, or base64 of them
 * @returns what an oracle complains of, `undefined` for nothing
 * @throws InputError where there is no such target or the bytes are no input of it
 * @example
 * expect(await reproduce('bytecode', 'uQAAAA…')).toBeUndefined();
 */
export async function reproduce(target: string, input: Uint8Array | string): Promise<Finding | undefined> {
  const bytes = typeof input === 'string' ? new Uint8Array(Buffer.from(input, 'base64')) : new Uint8Array(input.buffer, input.byteOffset, input.length);
  installNodeCrypto();
  const shard = new Shard(await loadTarget(target), createTargetEnvironment(new Coverage()));
  try {
    return shard.reproduce(bytes);
  } finally {
    shard.dispose();
  }
}
