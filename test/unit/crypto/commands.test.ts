/** `sign` and `keys` as commands: what they write, and that nothing of a private key shows. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '../../../crypto/bytes.ts';
import { readCertificates } from '../../../src/certificates.ts';
import { keysCommand } from '../../../src/cli/keys.ts';
import { createContext, type Context } from '../../../src/cli/io.ts';
import { signCommand, type SignCommandOptions } from '../../../src/cli/sign.ts';
import { readLightSkeleton } from './skeletons.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures'), KEYS = join(FIXTURES, 'keys');
const skeleton = join(FIXTURES, 'signed/onemap.lskel.h'), options: SignCommandOptions = { key: join(KEYS, 'rsa2048.pem'), cert: join(KEYS, 'rsa2048.crt') };
let dir = '';
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'bpftwin-sign-')); });
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function surroundings(json: boolean): { context: Context; output: () => string; errors: () => string } {
  let output = '', errors = '';
  const context = createContext({
    stdout: { write: (text: string) => { output += text; } }, stderr: { write: (text: string) => { errors += text; } }, isTerminal: false, columns: 80, env: {},
  }, { json });
  return { context, output: () => output, errors: () => errors };
}

describe('sign', () => {
  test('writes what bpftool writes for the same skeleton', () => {
    const out = join(dir, 'a.p7s'), { context, output } = surroundings(false);
    expect(signCommand(skeleton, { ...options, out }, context)).toBe(0);
    expect(toHex(readFileSync(out))).toBe(toHex(readLightSkeleton(skeleton).signature));
    expect(output()).toMatch(/^signed +instructions, \d+ bytes, SHA-256 [0-9a-f]{64}\nsigned +metadata/);
    expect(output()).toMatch(/signer +rsa with sha256, by key identifier [0-9a-f]{40}\nexclusive +[0-9a-f]{64}\nwritten +.*a\.p7s, 375 bytes\n$/);
  });

  test('signs the instructions alone for 6.18, and says so in JSON', () => {
    const out = join(dir, 'b.p7s'), { context, output } = surroundings(true);
    expect(signCommand(skeleton, { ...options, out, kernel: '6.18' }, context)).toBe(0);
    const report = JSON.parse(output()) as { covers: { what: string }[]; signature: { hex: string; signer: { digest: string } }; exclusive_hash: string };
    expect(report.covers.map(({ what }) => what)).toEqual(['instructions']);
    expect(report.signature.hex).toBe(toHex(readFileSync(out)));
    expect(report.exclusive_hash).toBe(report.covers[0] && (report.covers[0] as unknown as { sha256: string }).sha256);
  });

  test('signs any file byte for byte, named by issuer and serial number', () => {
    const file = join(dir, 'data.bin'), { context, output } = surroundings(true);
    writeFileSync(file, 'anything');
    expect(signCommand(file, { ...options, hash: 'sha512', bySerial: true }, context)).toBe(0);
    expect(JSON.parse(output())).toMatchObject({
      covers: [{ what: 'file', bytes: 8 }], exclusive_hash: null, output: `${file}.p7s`,
      signature: { signer: { digest: 'sha512', identity: { form: 'issuer and serial', issuer: expect.stringMatching(/^O=bpftwin, CN=/) } } },
    });
  });

  test.each<[string, Partial<SignCommandOptions>, RegExp]>([
    ['a PKCS#11 URI', { key: 'pkcs11:token=x;object=y' }, /PKCS#11 are not supported/],
    ['a key of another certificate', { cert: join(KEYS, 'stranger.crt') }, /not that of the private key/],
    ['a certificate as the key', { key: join(KEYS, 'rsa2048.crt') }, /no private key in it/],
    ['a missing file', { key: join(KEYS, 'none.pem') }, /no such file/],
    ['an unknown digest', { hash: 'md5' }, /no digest is called "md5"/],
    ['an output that cannot be written', { out: '/nonexistent/x' }, /\/nonexistent\/x/],
  ])('refuses %s', (_, changes, message) => {
    const { context } = surroundings(false);
    expect(() => signCommand(skeleton, { out: join(dir, 'x'), ...options, ...changes }, context)).toThrow(message);
  });

  test('takes a passphrase from a file, and never shows it', () => {
    const forms = JSON.parse(readFileSync(join(import.meta.dirname, 'key-forms.json'), 'utf8')) as Record<string, string>;
    const key = join(dir, 'encrypted.pem'), passphraseFile = join(dir, 'passphrase'), { context, output, errors } = surroundings(true);
    writeFileSync(key, forms['rsa encrypted aes-256 sha256'] ?? '');
    writeFileSync(passphraseFile, 'open sesame\nmore\n');
    expect(() => signCommand(skeleton, { ...options, key, passphraseFile, out: join(dir, 'x') }, context)).toThrow(/not that of the private key/);
    writeFileSync(passphraseFile, 'wrong');
    expect(() => signCommand(skeleton, { ...options, key, passphraseFile, out: join(dir, 'x') }, context)).toThrow(/passphrase is wrong/);
    expect(output() + errors()).not.toMatch(/sesame/);
  });
});

describe('keys', () => {
  test('lists keyrings as /proc/keys does', () => {
    const { context, output } = surroundings(false);
    expect(keysCommand({ cert: [options.cert], builtinCert: [join(KEYS, 'p256.crt')] }, context)).toBe(0);
    expect(output()).toMatch(/^[0-9a-f]{8} I------ +2 perm 1f0b0000 +0 +0 keyring +\.builtin_trusted_keys: 1$/m);
    expect(output()).toMatch(/^[0-9a-f]{8} I--Q--- +1 perm 3f030000 +0 +0 keyring +_ses: 1$/m);
    expect(output()).toMatch(/^[0-9a-f]{8} I--Q--- +1 perm 39010000 +0 +0 asymmetri bpftwin: throw-away test key rsa2048: [0-9a-f]{40}: X509\.rsa [0-9a-f]{8} \[\]$/m);
    expect(output()).toMatch(/1f030000 +0 +0 asymmetri .*X509\.ecdsa-nist-p256/);
  });

  test('gives the facts of certificates in JSON, and says what is refused', () => {
    const blacklist = join(dir, 'blacklist'), first = surroundings(true), second = surroundings(true);
    expect(keysCommand({ cert: [options.cert] }, first.context)).toBe(0);
    const keys = (JSON.parse(first.output()) as { keys: { type: string; certificate?: { key: string; fingerprint: string } }[] }).keys;
    expect(keys.find(({ type }) => type === 'asymmetric')?.certificate).toMatchObject({ key: 'RSA 2048', selfSigned: true, usage: ['digitalSignature'] });
    writeFileSync(blacklist, `# none of these\ntbs:${'00'.repeat(32)}\n`);
    expect(keysCommand({ cert: [options.cert], blacklist }, second.context)).toBe(0);
    const certificate = readCertificates(readFileSync(options.cert), options.cert)[0], third = surroundings(true);
    writeFileSync(blacklist, `tbs:${toHex(certificate?.tbsDigest ?? new Uint8Array(0))}\n`);
    expect(keysCommand({ cert: [options.cert], blacklist }, third.context)).toBe(1);
    expect(JSON.parse(third.output())).toMatchObject({ refused: [{ file: options.cert, errno: 129, name: 'EKEYREJECTED' }] });
    writeFileSync(blacklist, 'junk\n');
    expect(() => keysCommand({ blacklist }, second.context)).toThrow(/line 1: not a blacklist entry/);
  });
});
