/** Strict mode: what it refuses by which rule, and how much of Linux's laxness is left. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { ALL_ALGORITHMS, RECORDED_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { concatBytes } from '../../../crypto/bytes.ts';
import { setProvider } from '../../../crypto/provider.ts';
import { isRefusal } from '../../../crypto/rejection.ts';
import { checkStrictly } from '../../../crypto/strict.ts';
import { certificateKeyring, verifyDetached } from '../../../crypto/verify.ts';
import { parseCertificate, type Certificate } from '../../../crypto/x509.ts';
import { createNodeProvider } from '../../../src/node/native-crypto.ts';
import { freshKeyrings, readCases } from './recorded.ts';
import { readLightSkeleton } from './skeletons.ts';

beforeAll(() => {
  setProvider(createNodeProvider());
  return () => setProvider(undefined);
});

const cases = new Map(readCases('signatures.jsonl.gz').map((recorded) => [recorded.name, recorded]));
const NOW = Date.UTC(2030, 0, 1) / 1000;

/** Rules that a recorded case, accepted by Linux, breaks. */
function rulesOf(name: string): string[] {
  const recorded = cases.get(name), { load } = recorded ?? {};
  if (recorded === undefined || load?.signature === undefined) throw new Error(`no case ${name}`);
  const certificates = recorded.keys.map(({ der }) => parseCertificate(der, { algorithms: ALL_ALGORITHMS })).filter((c): c is Certificate => !isRefusal(c));
  const size = new DataView(load.attr.buffer, load.attr.byteOffset).getUint32(160, true), blob = load.signature.subarray(0, size);
  const verification = verifyDetached(load.program, blob, { algorithms: RECORDED_ALGORITHMS, keyring: certificateKeyring(certificates) });
  expect(verification.errno).toBe(0);
  return [...new Set(checkStrictly(blob, verification, NOW).map(({ rule }) => rule))];
}

describe('each refusal names its rule', () => {
  // The recorded messages carry NULL parameters with their digests, as older versions of OpenSSL write them.
  const base = ['null-parameters'];
  test.each([
    ['load: rsa key id', []], ['load: size 8192', ['trailing-bytes']], ['ber: trailing bytes', ['trailing-bytes']],
    ['ber: SignerInfo length form 2', []], ['ber: digest algorithm length form 1', ['minimal-length']],
    ['ber: outer tag primitive', ['tag-form']], ['message: digestAlgorithms three', ['digest-algorithms', 'sorted-set']],
    ['message: crls [1] certificates', ['revocation-lists']], ['message: certificates [2] signer', ['structure']],
    ['message: signerInfos sequence', ['structure']], ['message: three signers', ['single-signer']],
    ['signer: unsigned attributes [1]', ['unsigned-attributes']], ['signer: rsa sha1', ['weak-digest', 'digest-algorithms']],
    ['attributes: other order', []], ['attributes: sequence form over the content', ['structure']],
    ['chain: expired signer', ['certificate-validity']], ['chain: signingTime inside, nothing embedded', ['certificate-validity']],
  ] as const)('%s', (name, extra) => {
    expect(rulesOf(name).toSorted()).toEqual(expect.arrayContaining([...extra].toSorted()));
    for (const rule of rulesOf(name)) expect([...base, ...extra, 'sorted-set']).toContain(rule);
  });

  test('indefinite lengths', () => expect(rulesOf('ber: indefinite everywhere')).toContain('definite-length'));
  test('a key for encipherment only', () => expect(rulesOf('chain: nothing embedded, trust leaf')).toContain('certificate-usage'));
});

describe('what bpftool makes', () => {
  const skeleton = readLightSkeleton(join(import.meta.dirname, '../../fixtures/signed/onemap.lskel.h'));
  const der = readFileSync(join(import.meta.dirname, '../../fixtures/keys/rsa2048.der'));

  test('is accepted in strict mode, with anything added refused', () => {
    const keyrings = freshKeyrings({ strict: true, now: () => NOW });
    keyrings.addKey('asymmetric', undefined, der, -3);
    const ring = keyrings.resolveKeyring(-3);
    if (ring === undefined) throw new Error('no session keyring');
    expect(keyrings.verifySignature([skeleton.insns, skeleton.data], skeleton.signature, ring)).toBe(0);
    expect(keyrings.verifySignature([skeleton.insns, skeleton.data], concatBytes(skeleton.signature, Uint8Array.of(0)), ring)).toBe(-129);
    expect(keyrings.verification).toMatchObject({ step: 'strict', reason: 'strict mode, trailing-bytes: 1 bytes after the message' });
  });

  test('is refused when the certificate is not valid now', () => {
    const keyrings = freshKeyrings({ strict: true, now: () => 1_000_000 });
    keyrings.addKey('asymmetric', undefined, der, -3);
    const ring = keyrings.resolveKeyring(-3);
    if (ring === undefined) throw new Error('no session keyring');
    expect(keyrings.verifySignature([skeleton.insns, skeleton.data], skeleton.signature, ring)).toBe(-129);
    expect(keyrings.verification?.reason).toMatch(/certificate-validity/);
  });
});

test('no flip of bpftool\'s signature that Linux accepts survives strict mode', () => {
  const skeleton = readLightSkeleton(join(import.meta.dirname, '../../fixtures/signed/onemap.lskel.h'));
  const certificate = parseCertificate(readFileSync(join(import.meta.dirname, '../../fixtures/keys/rsa2048.der')), { algorithms: ALL_ALGORITHMS });
  if (isRefusal(certificate)) throw new Error(certificate.reason);
  const context = { algorithms: RECORDED_ALGORITHMS, keyring: certificateKeyring([certificate]) }, data = concatBytes(skeleton.insns, skeleton.data);
  // The signature value fills the end, and no flip of it is accepted: only the structure before it can be.
  const structure = skeleton.signature.length - 256;
  let accepted = 0;
  for (let bit = 0; bit < structure * 8; bit++) {
    const flipped = skeleton.signature.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const verification = verifyDetached(data, flipped, context);
    if (verification.errno !== 0) continue;
    accepted++;
    expect(checkStrictly(flipped, verification, NOW), `bit ${bit}`).not.toEqual([]);
  }
  expect(accepted).toBeGreaterThan(80);
});
