import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { VERSION } from '../../../src/cli/version.ts';
import { fixturePath, fixtureText } from '../loader/fixtures.ts';
import { bpftwin, temporary } from './harness.ts';

const SIGNED = fixturePath('signed/globals.lskel.h');
const CERT = fixturePath('keys/rsa2048.crt');

describe('options', () => {
  it('-V prints the package\'s version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string };
    expect(VERSION).toBe(version);
    expect(await bpftwin(['-V'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('-h lists the commands', async () => {
    const { status, stdout } = await bpftwin(['-h']);
    expect(status).toBe(0);
    for (const name of ['run', 'inspect', 'replay']) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
  });

  it.each([
    [['nonsense'], /unknown command 'nonsense'/],
    [['inspect'], /missing required argument 'file'/],
    [['inspect', SIGNED, '--nonsense'], /unknown option '--nonsense'/],
    [['run', SIGNED, '--keyring', 'mine'], /Allowed choices are session, builtin, secondary, platform/],
    [['run', SIGNED, '--kernel', '5.15'], /Allowed choices are 7\.3, 6\.18/],
    [['run', SIGNED, '--policy', 'no-such.o'], /no-such\.o: no such file/],
  ])('%j is bad usage', async (argv, message) => {
    const text = await bpftwin(argv);
    expect(text.status).toBe(2);
    expect(text.stderr).toMatch(message);
    expect(text.stdout).toBe('');
    for (const option of ['-j', '-p']) {
      const json = await bpftwin([option, ...argv]);
      expect(json.status).toBe(2);
      expect(json.stderr).toBe('');
      expect((JSON.parse(json.stdout) as { error: string }).error).toMatch(message);
    }
  });

  it('are taken before and behind the command', async () => {
    expect((await bpftwin(['-j', 'inspect', SIGNED])).stdout).toBe((await bpftwin(['inspect', SIGNED, '-j'])).stdout);
  });
});

describe('bad input', () => {
  it.each([
    ['an empty file', '', 'the file is empty'],
    ['a truncated header', fixtureText('signed/onemap.lskel.h').slice(0, 3000), 'line '],
    ['a C file', 'int main(void) { return 0; }\n', 'line 1: not a light skeleton'],
    ['unknown escapes', fixtureText('unsigned/onemap.lskel.h').replace('\\x', '\\q'), 'unknown escape'],
    ['control characters', 'st\u0007ruct\u001b[31m {', 'not a light skeleton'],
  ])('%s: one line, exit status 2', async (_, contents, reason) => {
    const file = temporary('a.lskel.h', contents);
    for (const command of ['inspect', 'run']) {
      const { status, stdout, stderr } = await bpftwin([command, file]);
      expect(status).toBe(2);
      expect(stdout).toBe('');
      expect(stderr).toContain(`bpftwin: ${file}: `);
      expect(stderr).toContain(reason);
      expect(stderr.split('\n').length).toBe(2);
      expect(stderr.replace('\n', '')).not.toMatch(/\p{Cc}/u);
      const json = await bpftwin(['-j', command, file]);
      expect(json).toMatchObject({ status: 2, stderr: '' });
      expect(JSON.parse(json.stdout)).toHaveProperty('error');
    }
  });

  it('a file that is not there, a folder', async () => {
    expect(await bpftwin(['inspect', '/no/such/file'])).toEqual({ status: 2, stdout: '', stderr: 'bpftwin: /no/such/file: no such file\n' });
    expect((await bpftwin(['inspect', '/'])).stderr).toBe('bpftwin: /: is a directory\n');
  });

  it.each([
    ['text', 'hello', /not a certificate/],
    ['nothing', '', /the file is empty/],
    ['a cut certificate', readFileSync(CERT, 'latin1').slice(0, 300), /line 1: the file ends inside a certificate/],
    ['bad base64', '-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n', /line 1: not a certificate: its base64 is malformed/],
    ['a private key', readFileSync(fixturePath('keys/rsa2048.pem'), 'latin1'), /no certificate in it/],
    ['DER that is none', Uint8Array.of(0x30, 3, 2, 1, 5), /not a certificate/],
  ])('a certificate that is none: %s', async (_, contents, message) => {
    const file = temporary('x.crt', contents);
    const { status, stderr } = await bpftwin(['inspect', SIGNED, '--cert', file]);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).toContain(file);
  });
});

describe('inspect', () => {
  it('verifies against the certificates that it is given', async () => {
    const check = async (...certificates: string[]): Promise<unknown> => {
      const { status, stdout } = await bpftwin(['inspect', '-j', SIGNED, ...certificates.flatMap((name) => ['--cert', fixturePath(`keys/${name}`)])]);
      const { signature } = JSON.parse(stdout) as { signature: { check: { verdict: string; name: string; signer: { subject: string } | null } } };
      return [status, signature.check.verdict, signature.check.name, signature.check.signer?.subject];
    };
    expect(await check()).toEqual([0, 'not checked', '', undefined]);
    expect(await check('rsa2048.crt')).toEqual([0, 'verified', '', 'O=bpftwin, CN=throw-away test key rsa2048']);
    expect(await check('stranger.crt', 'rsa2048.der')).toEqual([0, 'verified', '', 'O=bpftwin, CN=throw-away test key rsa2048']);
    expect(await check('stranger.crt')).toEqual([1, 'refused', 'ENOKEY', undefined]);
  });

  it('says over which bytes', async () => {
    const { stdout } = await bpftwin(['inspect', '-j', fixturePath('in-loader-check/onemap.lskel.h'), '--cert', CERT]);
    const inspection = JSON.parse(stdout) as { contract: { name: string }; signature: { covers: { what: string }[]; check: { verdict: string } } };
    expect(inspection.contract.name).toBe('in-loader');
    expect(inspection.signature.covers.map(({ what }) => what)).toEqual(['instructions']);
    expect(inspection.signature.check.verdict).toBe('verified');
  });

  it('of a changed skeleton is refused', async () => {
    const file = temporary('changed.lskel.h', fixtureText('signed/globals.lskel.h').replace(/(opts_insn\[\][^"]*"\\\n\\x)bf/, '$1b7'));
    const { status, stdout } = await bpftwin(['inspect', file, '--cert', CERT]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/verdict +refused: EKEYREJECTED/);
    expect(stdout).toMatch(/exclusive +the metadata is for another loader/);
  });

  it('is plain in a pipe, boxed and coloured on a terminal, never under NO_COLOR', async () => {
    const isColoured = (text: string): boolean => text.includes('\u001b[');
    const terminal = { isTerminal: true, env: { TERM: 'xterm' } };
    const plain = await bpftwin(['inspect', SIGNED]);
    expect(isColoured(plain.stdout)).toBe(false);
    expect(plain.stdout).toMatch(/^map +type +key +value/m);
    const boxed = await bpftwin(['inspect', SIGNED], terminal);
    expect(isColoured(boxed.stdout)).toBe(true);
    expect(boxed.stdout).toContain('┌');
    expect(await bpftwin(['inspect', SIGNED], { ...terminal, env: { TERM: 'xterm', NO_COLOR: '1' } })).toEqual(plain);
    expect(isColoured((await bpftwin(['inspect', '-j', SIGNED], terminal)).stdout)).toBe(false);
  });

  it('-d adds requests, segments and listings', async () => {
    const { stdout } = await bpftwin(['inspect', '-d', SIGNED]);
    expect(stdout).toMatch(/^ {2}MAP_CREATE\(map_type=2, /m);
    expect(stdout).toMatch(/^ +\d+ +\d+ {2}instructions of within$/m);
    expect(stdout).toMatch(/^ {2}\d+: \(95\) exit$/m);
  });
});

describe('gen skeleton', () => {
  const OBJECT = fixturePath('objects/globals.bpf.o');
  const KEYS = ['-k', fixturePath('keys/rsa2048.pem'), '-i', CERT];

  it('prints bpftool\'s header, unsigned and signed', async () => {
    expect(await bpftwin(['gen', 'skeleton', '-L', OBJECT, 'name', 'globals'])).toEqual({ status: 0, stdout: fixtureText('unsigned/globals.lskel.h'), stderr: '' });
    expect((await bpftwin(['gen', 'skeleton', '-L', '-S', ...KEYS, OBJECT, 'name', 'globals'])).stdout === fixtureText('signed/globals.lskel.h')).toBe(true);
  });

  it('names the skeleton after the file', async () => {
    const { stdout } = await bpftwin(['gen', 'skeleton', '-L', OBJECT]);
    expect(stdout).toContain('\nstruct globals_bpf {\n');
  });

  it.each([
    [['gen', 'skeleton', '-L', OBJECT, 'nonsense'], /unknown arg nonsense/],
    [['gen', 'skeleton', '-L', OBJECT, 'name'], /'name' needs at least 1 argument/],
    [['gen', 'skeleton', '-L', '-S', OBJECT], /-S needs a private key/],
    [['gen', 'skeleton', '-L', '-S', '-k', 'pkcs11:token=x', '-i', CERT, OBJECT], /PKCS#11/],
    [['gen', 'skeleton', '-L', '-S', '-k', fixturePath('keys/stranger.pem'), '-i', CERT, OBJECT], /not that of the private key/],
    [['gen', 'skeleton', '-L', CERT], /is not a proper ELF object/],
  ])('%j ends with 2', async (argv, message) => {
    const { status, stderr } = await bpftwin(argv);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });
});

describe('inspect --object', () => {
  it.each([
    ['unsigned/globals.lskel.h', 'globals', 0], ['signed/globals.lskel.h', 'globals', 0], ['in-loader-check/globals.lskel.h', 'globals', 0], ['signed/globals.lskel.h', 'onemap', 1],
  ])('%s against %s.bpf.o ends with %i', async (skeleton, object, status) => {
    const answer = await bpftwin(['inspect', '-j', fixturePath(skeleton), '--object', fixturePath(`objects/${object}.bpf.o`)]);
    expect(answer.status).toBe(status);
    expect((JSON.parse(answer.stdout) as { object: { matches: boolean } }).object.matches).toBe(status === 0);
  });
});

describe('strict mode', () => {
  it('takes what bpftool makes', async () => {
    const { status, stdout } = await bpftwin(['inspect', '--strict', SIGNED, '--cert', CERT]);
    expect(stdout).toMatch(/^strict +keeps every rule$/m);
    expect(status).toBe(0);
  });

  it('refuses bytes behind the message, which Linux ignores', async () => {
    const file = temporary('trailing.lskel.h', fixtureText('signed/runnable.lskel.h').replace(/(opts_sig\[\][^"]*"[^"]*)"/, '$1\\0"'));
    expect((await bpftwin(['run', '-j', file, '--cert', CERT])).status).toBe(0);
    const { status, stdout } = await bpftwin(['run', '--strict', file, '--cert', CERT]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^signature +not verified: strict mode, trailing-bytes: /m);
    expect((await bpftwin(['inspect', '--strict', file, '--cert', CERT])).stdout).toMatch(/^strict +trailing-bytes: /m);
  });
});

describe('sign and keys', () => {
  it('sign makes the signature that the skeleton has', async () => {
    const out = temporary('x.p7s', '');
    expect((await bpftwin(['sign', fixturePath('unsigned/onemap.lskel.h'), '-k', fixturePath('keys/rsa2048.pem'), '-i', CERT, '-o', out])).status).toBe(0);
    expect(readFileSync(out)[0]).toBe(0x30);
  });

  it('keys lists the session keyring', async () => {
    const { status, stdout } = await bpftwin(['keys', '--cert', CERT]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/asymmetri bpftwin: throw-away test key rsa2048: /);
  });
});

describe('verify', () => {
  const object = fixturePath('objects/rejected.bpf.o');

  it.each([[[]], [['--log', '1']], [['--log', '2']]])('with %j names the message that decided', async (options) => {
    const { status, stdout } = await bpftwin(['verify', object, ...options]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^rejected\.bpf\.o +out_of_bounds +failure .* EACCES: R0 max value is outside of the allowed memory range$/m);
    expect(stdout).toMatch(/^rejected\.bpf\.o +fine +success/m);
    expect(stdout.trimEnd()).toMatch(/2 programs, 1 refused$/);
  });
});
