/** LSM policies: real programs on the hooks of the system call, asked about signed, unsigned and tampered loads. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readCertificates } from '../../src/certificates.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { runSkeleton, type RunReport } from '../../src/run.ts';
import { parsePreset } from '../../src/veristat/presets.ts';
import { fixture, fixturePath } from '../unit/loader/fixtures.ts';

const certificates = readCertificates(readFileSync(fixturePath('keys/rsa2048.crt')), 'rsa2048.crt');
const bytes = (name: string): Uint8Array => readFileSync(fixturePath(`objects/${name}.bpf.o`));

function run(file: string, enforce: 0 | 1, more: Parameters<typeof runSkeleton>[1] = {}): RunReport {
  const policy = { file: 'lsm.bpf.o', bytes: bytes('lsm'), presets: [parsePreset(`enforce = ${enforce}`)] };
  return runSkeleton(fixture(file), { certificates, kernelBTF: () => loadKernelBTF(), policies: [policy], ...more });
}
const admit = ({ policy }: RunReport): unknown => policy?.find(({ program }) => program === 'admit');

describe('a policy that refuses unsigned programs', () => {
  it('looks on where it is not enforced', () => {
    const report = run('unsigned/onemap.lskel.h', 0);
    expect(report.result.errno).toBe(0);
    expect(admit(report)).toEqual({ object: 'lsm.bpf.o', program: 'admit', hook: 'bpf_prog_load', runs: 2, refusals: 0, fault: null });
    expect(report.policy?.find(({ program }) => program === 'watch')?.runs).toBe(report.calls.length);
  });

  it('refuses an unsigned loader', () => {
    const report = run('unsigned/onemap.lskel.h', 1);
    expect(report.result).toMatchObject({ name: 'EPERM', step: 'failed to load loader prog', call: 'PROG_LOAD' });
    expect(admit(report)).toMatchObject({ runs: 1, refusals: 1 });
  });

  it('lets a signed loader in, and is asked again about the unsigned program that it loads', () => {
    const report = run('signed/onemap.lskel.h', 1);
    expect(report.loader.signature.verdict).toBe('VERIFIED');
    expect(report.result).toMatchObject({ name: 'EPERM', step: 'error returned by loader prog' });
    expect(admit(report)).toMatchObject({ runs: 2, refusals: 1 });
  });

  it('is not asked about a tampered load, which the kernel refuses before', () => {
    const skeleton = fixture('signed/onemap.lskel.h'), metadata = skeleton.metadata.slice();
    metadata[100] = (metadata[100] ?? 0) ^ 1;
    const policy = { file: 'lsm.bpf.o', bytes: bytes('lsm') };
    const report = runSkeleton({ ...skeleton, metadata }, { certificates, kernelBTF: () => loadKernelBTF(), policies: [policy] });
    expect(report.result.name).toBe('EKEYREJECTED');
    expect(admit(report)).toMatchObject({ runs: 0, refusals: 0 });
  });

  it('is asked once by each of two copies, until the first refuses', () => {
    const policy = (file: string): { file: string; bytes: Uint8Array; presets: [ReturnType<typeof parsePreset>] } => ({ file, bytes: bytes('lsm'), presets: [parsePreset('enforce = 1')] });
    // the second policy's own programs are unsigned: the first refuses them already
    expect(() => run('unsigned/onemap.lskel.h', 1, { policies: [policy('a.bpf.o'), policy('b.bpf.o')] })).toThrow(/b\.bpf\.o: program \w+: the kernel refuses it \(EPERM\)/);
  });
});

describe('what is no policy', () => {
  it('has no LSM program', () => {
    expect(() => run('unsigned/onemap.lskel.h', 0, { policies: [{ file: 'maps.bpf.o', bytes: bytes('maps') }] })).toThrow('maps.bpf.o: no LSM program in it');
  });

  it('does not pass the verifier', () => {
    expect(() => run('unsigned/onemap.lskel.h', 0, { policies: [{ file: 'rejected.bpf.o', bytes: bytes('rejected') }] })).toThrow(/^rejected\.bpf\.o: program \w+: the kernel refuses it \(E\w+\)/);
  });
});
