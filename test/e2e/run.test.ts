import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../crypto/bytes.ts';
import { errnoName } from '../../isa/errno.ts';
import { parseLightSkeleton } from '../../loader/lskel.ts';
import { destroySkeleton, isLoaded, loadAndRun, type LoadedSkeleton } from '../../loader/load-and-run.ts';
import type { ProgramSnapshot } from '../../kernel/api.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { readCertificates } from '../../src/certificates.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { runSkeleton, type RunReport } from '../../src/run.ts';
import { bpftwin } from '../unit/cli/harness.ts';
import { FIXTURES, fixture, fixturePath } from '../unit/loader/fixtures.ts';

/** What Linux 7.3.4 shows of a loaded fixture. */
interface Expected {
  readonly err: number;
  readonly ctx_size: number;
  readonly maps: readonly {
    readonly name: string; readonly type: number; readonly key_size: number; readonly value_size: number; readonly max_entries: number;
    readonly map_flags: number; readonly frozen: number; readonly contents: readonly { readonly key: string; readonly value?: string | null }[] | null;
  }[];
  readonly progs: readonly { readonly name: string; readonly type: number; readonly tag: string; readonly xlated_insns: number; readonly gpl_compatible: number }[];
}

function expected(name: string): Expected {
  return JSON.parse(readFileSync(fixturePath(`expected/${name}.json`), 'utf8')) as Expected;
}

const certificate = (name = 'rsa2048'): ReturnType<typeof readCertificates> =>
  readCertificates(readFileSync(fixturePath(`keys/${name}.crt`)), `${name}.crt`);

const cases = FIXTURES.flatMap((name) => [[name, `unsigned/${name}.lskel.h`, name], [name, `signed/${name}.lskel.h`, `${name}.signed`]] as const);

function kernelWithKey(): Kernel {
  const kernel = new Kernel({ kernelBTF: () => loadKernelBTF() });
  for (const { raw } of certificate()) expect(kernel.addKey('asymmetric', 'test', raw, -3)).toBeGreaterThan(0);
  return kernel;
}

/** Programs whose instructions hold the address of a kernel symbol, which is another on every boot. */
const HAS_ADDRESS: ReadonlySet<string> = new Set(['use_task']);

function tagOf(program: ProgramSnapshot | undefined): string {
  return program === undefined || HAS_ADDRESS.has(program.name) ? '' : toHex(program.tag);
}

/** Runs `look` while the skeleton is loaded, then takes it down and holds the kernel to having nothing left. */
function whileLoaded(path: string, look: (kernel: Kernel, loaded: LoadedSkeleton) => void): void {
  const kernel = kernelWithKey();
  const outcome = loadAndRun(kernel, fixture(path), { log: { level: 1, size: 1 << 22 } });
  if (!isLoaded(outcome)) throw new Error(`${errnoName(outcome.errno)} ${outcome.message}\n${outcome.log.slice(-2000)}`);
  look(kernel, outcome);
  destroySkeleton(kernel, outcome);
  const { files, maps, programs, btfs } = kernel.objects();
  expect({ files: files.length, maps: maps.length, programs: programs.length, btfs: btfs.length }).toEqual({ files: 0, maps: 0, programs: 0, btfs: 0 });
}

describe('every fixture loads, and shows what Linux shows', () => {
  it.each(cases)('%s (%s)', (_, path, answers) => {
    const want = expected(answers);
    whileLoaded(path, (kernel, loaded) => {
      const objects = kernel.objects();
      const idOf = (fd: number): number | undefined => objects.files.find((file) => file.fd === fd)?.id;
      const maps = loaded.maps.map(({ fd }) => objects.maps.find(({ id }) => id === idOf(fd)));
      expect(maps.map((map) => [map?.name, map?.type, map?.keySize, map?.valueSize, map?.maxEntries, map?.flags, map?.frozen]))
        .toEqual(want.maps.map((map) => [map.name, map.type, map.key_size, map.value_size, map.max_entries, map.map_flags, map.frozen === 1]));
      const programs = loaded.programs.map(({ fd }) => objects.programs.find(({ id }) => id === idOf(fd)));
      expect(programs.map((program) => [program?.name, program?.type, program?.gplCompatible, tagOf(program)]))
        .toEqual(want.progs.map((program) => [program.name, program.type, program.gpl_compatible === 1, HAS_ADDRESS.has(program.name) ? '' : program.tag]));
      for (const [index, { contents }] of want.maps.entries()) {
        for (const { key, value } of (contents ?? []).slice(0, 64)) {
          if (value === null || value === undefined) continue;
          const found = kernel.peekElement(maps[index]?.id ?? 0, Uint8Array.from(key.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)));
          expect(found, `${maps[index]?.name}[${key}]`).toBeDefined();
          // A per-CPU map has as many copies as the machine has processors; the first is what counts.
          const length = Math.min(found?.length ?? 0, value.length / 2);
          expect(toHex(found?.subarray(0, length) ?? new Uint8Array(0))).toBe(value.slice(0, 2 * length));
        }
      }
    });
  });
});

describe('signatures', () => {
  const run = (path: string, key?: string, keyring?: 'session' | 'builtin' | 'secondary' | 'platform'): RunReport =>
    runSkeleton(fixture(path), {
      certificates: key === undefined ? [] : certificate(key), kernelBTF: () => loadKernelBTF(), ...(keyring === undefined ? {} : { keyring }),
    });

  it.each([
    ['rsa2048', 'signed/runnable.lskel.h'], ['rsa4096', 'signed/onemap.rsa4096.lskel.h'], ['p256', 'signed/onemap.p256.lskel.h'], ['p384', 'signed/onemap.p384.lskel.h'],
  ])('%s is verified', (key, path) => {
    const { signature } = run(path, key).loader;
    expect(signature).toMatchObject({ present: true, verdict: 'VERIFIED', keyring: { type: 'USER' }, signer: `bpftwin: throw-away test key ${key}` });
    expect(signature.keyring.serial).toBeGreaterThan(0);
  });

  it.each([['builtin', 'BUILTIN'], ['secondary', 'SECONDARY'], ['platform', 'PLATFORM']] as const)('the %s keyring vouches', (keyring, type) => {
    const report = run('signed/runnable.lskel.h', 'rsa2048', keyring);
    expect(report.result.errno).toBe(0);
    expect(report.loader.signature).toMatchObject({ verdict: 'VERIFIED', keyring: { type, serial: 0 } });
  });

  it.each([['no key', undefined], ['another key', 'stranger']] as const)('with %s: ENOKEY', (_, key) => {
    const report = run('signed/runnable.lskel.h', key);
    expect(report.result).toMatchObject({ name: 'ENOKEY', call: 'PROG_LOAD', step: 'failed to load loader prog' });
    expect(report.loader.signature.verdict).toBe('UNSIGNED');
    expect(report.log).toContain('signature verification failed: -126');
  });

  it('every flipped bit of instructions or metadata is refused', () => {
    const skeleton = fixture('signed/runnable.lskel.h');
    const flip = (bytes: Uint8Array, bit: number): Uint8Array => bytes.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
    for (let i = 0; i < 8; i++) {
      const inInstructions = (i * 7919 * 13) % (8 * skeleton.instructions.length);
      const inMetadata = (i * 104729 * 7) % (8 * skeleton.metadata.length);
      for (const changed of [{ ...skeleton, metadata: flip(skeleton.metadata, inMetadata) }, { ...skeleton, instructions: flip(skeleton.instructions, inInstructions) }]) {
        const report = runSkeleton(changed, { certificates: certificate(), log: { level: 1, size: 65_536 } });
        // Changed instructions no longer have the digest that the map is exclusive to; that is seen first.
        expect(report.result.name).toBe(changed.instructions === skeleton.instructions ? 'EKEYREJECTED' : 'EACCES');
      }
    }
  });

  it('a skeleton of one contract under the other kernel is refused', () => {
    const old = fixture('in-loader-check/runnable.lskel.h');
    expect(runSkeleton(old, { certificates: certificate() }).result.name).toBe('EKEYREJECTED');
    expect(runSkeleton(fixture('signed/runnable.lskel.h'), { certificates: certificate(), kernel: '6.18' }).result.name).toBe('EKEYREJECTED');
  });
});

describe('the command', () => {
  it('prints one line per call with --trace', async () => {
    const { stdout } = await bpftwin(['run', '--trace', fixturePath('unsigned/runnable.lskel.h')]);
    const lines = stdout.split('\n').filter((line) => /^ *bpf\(/.test(line));
    expect(lines[0]).toMatch(/^bpf\(MAP_CREATE, \{map_type=2, key_size=4, value_size=\d+, max_entries=1, map_name="__loader\.map"\}, 92\) = \d+$/);
    expect(lines.at(-1)).toMatch(/^bpf\(PROG_TEST_RUN, .* = 0$/);
    expect(lines.filter((line) => line.startsWith('  bpf(')).length).toBe(9);
  });

  it('gives JSON of the promised shape', async () => {
    const { status, stdout } = await bpftwin(['run', '-j', fixturePath('signed/runnable.lskel.h'), '--cert', fixturePath('keys/rsa2048.crt')]);
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as RunReport;
    expect(Object.keys(report)).toEqual(['kernel', 'loader', 'result', 'retval', 'maps', 'progs', 'calls', 'log']);
    expect(report.maps.map((map) => map.name)).toEqual(['results', 'steps', 'runnable.rodata', 'runnable.bss']);
    expect(report.progs[0]).toMatchObject({ name: 'collatz', type: 'syscall', tag: '8ad317e6b6634aac' });
  });

  it('is the same every time, byte for byte', async () => {
    const argv = ['run', '-p', fixturePath('signed/runnable.lskel.h'), '--cert', fixturePath('keys/rsa2048.crt')];
    expect(await bpftwin(argv)).toEqual(await bpftwin(argv));
  });

  it('ends with 1, errno, call and log where the load is refused', async () => {
    const { status, stdout } = await bpftwin(['run', fixturePath('signed/runnable.lskel.h'), '--cert', fixturePath('keys/stranger.crt')]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^rejected +ENOKEY \(126\): failed to load loader prog \(PROG_LOAD\)$/m);
    expect(stdout).toContain('signature verification failed: -126\n');
  });

  it('tells that programs were not verified, where they were not', async () => {
    const { stdout } = await bpftwin(['run', fixturePath('unsigned/runnable.lskel.h')]);
    expect(stdout.includes('admitted, not verified')).toBe(/\badmitted$/m.test(stdout));
  });
});

describe('failures', () => {
  it('at any system call leave nothing behind', () => {
    const skeleton = parseLightSkeleton(readFileSync(fixturePath('signed/runnable.lskel.h')), 'x');
    for (let failing = 1; failing < 40; failing++) {
      const kernel = kernelWithKey();
      let seen = 0;
      kernel.injectFaults({ systemCall: (count) => ((seen = count) === failing ? -12 : undefined) });
      const outcome = loadAndRun(kernel, skeleton);
      if (isLoaded(outcome)) {
        expect(failing).toBeGreaterThan(10);
        expect(seen).toBeLessThan(failing);
        return;
      }
      expect(outcome.errno).toBe(12);
      const { files, maps, programs, btfs } = kernel.objects();
      expect([files, maps, programs, btfs].map((list) => list.length), `call ${failing}`).toEqual([0, 0, 0, 0]);
    }
    throw new Error('never loaded');
  });
});
