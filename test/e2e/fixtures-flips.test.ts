/**
 * Every single-bit flip, in 200 places of the instructions and in 200 of the metadata of every signed fixture, is refused with
 * EKEYREJECTED. Flipped instructions come with a metadata map that is exclusive to their own digest, so that the signature is what refuses.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../crypto/digest.ts';
import { setProvider } from '../../crypto/provider.ts';
import { EKEYREJECTED } from '../../isa/errno.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { isLoaded, loadAndRun } from '../../loader/load-and-run.ts';
import type { LightSkeleton } from '../../loader/skeleton.ts';
import { createNodeProvider } from '../../src/node/native-crypto.ts';
import { FIXTURES, fixture, fixturePath } from '../unit/loader/fixtures.ts';

const PLACES = 200;
const signed = [...FIXTURES.map((name) => [name, 'rsa2048'] as const), ...['rsa4096', 'p256', 'p384'].map((key) => ['onemap', key] as const)];

beforeAll(() => setProvider(createNodeProvider()));
afterAll(() => setProvider(undefined));

/** xorshift32: the same places on every run. */
function* places(bits: number, seed: number): Generator<number> {
  let state = seed | 1;
  for (let i = 0; i < PLACES; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield (state >>> 0) % bits;
  }
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice();
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

/** The digest that exclusive maps name: SHA-256 over the instructions with fds of maps zeroed (bpf_prog_calc_tag). */
function digest(instructions: Uint8Array): Uint8Array {
  const copy = instructions.slice();
  for (let i = 0; i + 16 <= copy.length; i += 8) {
    const source = (copy[i + 1] ?? 0) >> 4;
    if (copy[i] !== 0x18 || (source !== 1 && source !== 2)) continue;
    copy.fill(0, i + 4, i + 8);
    copy.fill(0, i + 12, i + 16);
    i += 8;
  }
  return sha256(copy);
}

describe.each(signed)('%s signed by %s', (name, key) => {
  const skeleton = fixture(`signed/${name}${key === 'rsa2048' ? '' : `.${key}`}.lskel.h`);
  const kernel = new Kernel();
  kernel.addKey('asymmetric', 'signer', readFileSync(fixturePath(`keys/${key}.der`)), -3);

  function verdict(changed: LightSkeleton): number {
    const outcome = loadAndRun(kernel, changed);
    return isLoaded(outcome) ? 0 : outcome.errno;
  }

  it('refuses flips of the metadata', () => {
    const accepted = [...places(8 * skeleton.metadata.length, 7)].filter((bit) => verdict({ ...skeleton, metadata: flip(skeleton.metadata, bit) }) !== EKEYREJECTED);
    expect(accepted).toEqual([]);
  });

  it('refuses flips of the instructions', () => {
    const { signature } = skeleton;
    if (signature === undefined) throw new Error('not signed');
    const accepted = [...places(8 * skeleton.instructions.length, 11)].filter((bit) => {
      const instructions = flip(skeleton.instructions, bit);
      return verdict({ ...skeleton, instructions, signature: { ...signature, exclusiveHash: digest(instructions) } }) !== EKEYREJECTED;
    });
    expect(accepted).toEqual([]);
  });
});
