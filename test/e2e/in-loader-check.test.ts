/**
 * Skeletons of the contract before 7.3 on a 6.18 kernel: the loader itself compares its metadata with a hash in its instructions.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readCertificates } from '../../src/certificates.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { runSkeleton } from '../../src/run.ts';
import { fixture, fixturePath } from '../unit/loader/fixtures.ts';

const certificates = readCertificates(readFileSync(fixturePath('keys/rsa2048.crt')), 'rsa2048.crt');
const options = { kernel: '6.18', certificates, kernelBTF: () => loadKernelBTF() } as const;

describe('a loader that checks its own metadata', () => {
  it.each(['nomap', 'onemap', 'globals', 'runnable'])('%s loads on 6.18', (name) => {
    const report = runSkeleton(fixture(`in-loader-check/${name}.lskel.h`), options);
    expect(report.result).toMatchObject({ errno: 0 });
    expect(report.progs.length).toBeGreaterThan(0);
    expect(report.loader.signature).toMatchObject({ verdict: 'VERIFIED', signer: 'bpftwin: throw-away test key rsa2048', keyring: { type: 'NONE', serial: 0 } });
  });

  it('signed by nobody whom the kernel trusts', () => {
    const { loader, result } = runSkeleton(fixture('in-loader-check/onemap.lskel.h'), { ...options, certificates: [] });
    expect({ verdict: loader.signature.verdict, name: result.name }).toEqual({ verdict: 'UNSIGNED', name: 'ENOKEY' });
  });

  it('refuses changed metadata after the kernel has admitted it', () => {
    const skeleton = fixture('in-loader-check/onemap.lskel.h'), metadata = skeleton.metadata.slice();
    metadata[metadata.length - 1] = (metadata.at(-1) ?? 0) ^ 1;
    const { result, retval, progs } = runSkeleton({ ...skeleton, metadata }, options);
    expect({ step: result.step, name: result.name, progs }).toEqual({ step: 'error returned by loader prog', name: 'EINVAL', progs: [] });
    expect(retval).toBe(-22);
  });

  it('does not load on 7.3, whose struct bpf_map lacks what it reads', () => {
    expect(runSkeleton(fixture('in-loader-check/onemap.lskel.h'), { ...options, kernel: '7.3' }).result.errno).not.toBe(0);
  });
});
