/**
 * @module src/cli/sign
 * `bpftwin sign FILE -k KEY -i CERT [-o OUT] [--hash NAME] [--by-serial] [--kernel 7.3|6.18] [--passphrase-file FILE]`: makes the
 * detached signature of a light skeleton, or of any file, and writes it beside the file. The signature is `src/sign.ts`.
 *
 * A passphrase comes from the file named, or from the terminal; never from the command line, where others can read it.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { isHashName } from '../../crypto/digest.ts';
import { checkKeyName, readPrivateKey, wipeKey, type PrivateKey } from '../../crypto/private-key.ts';
import { InputError } from '../../isa/errors.ts';
import { readCertificates } from '../certificates.ts';
import { installNodeCrypto } from '../node/native-crypto.ts';
import { signFile, type SignFileOptions, type SignReport } from '../sign.ts';
import { UsageError } from './failure.ts';
import { EXIT_OK, readInput, writeJSON, type Context } from './io.ts';

export interface SignCommandOptions {
  readonly key: string;
  readonly cert: string;
  readonly out?: string;
  readonly hash?: string;
  readonly bySerial?: boolean;
  readonly kernel?: '7.3' | '6.18';
  readonly passphraseFile?: string;
}

const MAX_KEY_FILE = 1 << 20, MAX_PASSPHRASE = 4096, NEWLINE = 0x0a, RETURN = 0x0d;

/** Runs the command. */
export function signCommand(file: string, options: SignCommandOptions, context: Context): number {
  installNodeCrypto();
  checkKeyName(options.key);
  const [certificate] = readCertificates(readInput(options.cert), options.cert), contents = readInput(file);
  if (certificate === undefined) throw new InputError(options.cert, '', 'no certificate in it');
  const { signature, report } = withKey(options, (key) => signFile(contents, file, key, certificate, signOptions(options)));
  const out = options.out ?? `${file}.p7s`;
  writeOutput(out, signature);
  if (context.json) writeJSON(context, { ...report, output: out });
  else context.stdout.write(describe(report, out));
  return EXIT_OK;
}

function signOptions(options: SignCommandOptions): SignFileOptions {
  const { hash, kernel, bySerial } = options;
  if (hash !== undefined && !isHashName(hash)) throw new UsageError(`--hash: no digest is called ${JSON.stringify(hash)}`);
  return { ...(hash === undefined ? {} : { hash }), ...(kernel === undefined ? {} : { kernel }), ...(bySerial === undefined ? {} : { bySerial }) };
}

/** Reads the key, lends it to `use`, and overwrites file contents and key whatever happens. */
export function withKey<T>(options: Pick<SignCommandOptions, 'key' | 'passphraseFile'>, use: (key: PrivateKey) => T): T {
  const bytes = readInput(options.key, MAX_KEY_FILE);
  try {
    const key = readPrivateKey(bytes, options.key, () => passphrase(options));
    try {
      return use(key);
    } finally {
      wipeKey(key);
    }
  } finally {
    bytes.fill(0);
  }
}

function passphrase({ key, passphraseFile }: Pick<SignCommandOptions, 'key' | 'passphraseFile'>): Uint8Array | undefined {
  if (passphraseFile !== undefined) return firstLine(readInput(passphraseFile, MAX_PASSPHRASE));
  return askTerminal(`passphrase of ${key}: `);
}

function firstLine(bytes: Uint8Array): Uint8Array {
  const end = bytes.findIndex((byte) => byte === NEWLINE || byte === RETURN);
  return end < 0 ? bytes : bytes.slice(0, end);
}

/** Asks on the terminal, without echo; `undefined` where there is none. */
function askTerminal(question: string): Uint8Array | undefined {
  let terminal: number;
  try {
    terminal = openSync('/dev/tty', 'r+');
  } catch {
    return undefined;
  }
  const echo = (mode: string): boolean => spawnSync('stty', [mode], { stdio: [terminal, 'ignore', 'ignore'] }).status === 0;
  const hidden = echo('-echo'), buffer = new Uint8Array(MAX_PASSPHRASE);
  try {
    // A terminal that cannot hide what is typed is not asked.
    if (!hidden) return undefined;
    writeSync(terminal, question);
    const count = readSync(terminal, buffer, 0, buffer.length, null);
    writeSync(terminal, '\n');
    return firstLine(buffer.slice(0, count));
  } finally {
    buffer.fill(0);
    if (hidden) echo('echo');
    closeSync(terminal);
  }
}

function writeOutput(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (error) {
    throw new InputError(path, '', error instanceof Error ? error.message : String(error));
  }
}

function describe({ covers, signature, exclusive_hash: exclusive }: SignReport, out: string): string {
  const { signer } = signature, identity = signer.identity.form === 'key identifier' ? `key identifier ${signer.identity.keyID}`
    : `${signer.identity.issuer}, serial ${signer.identity.serial}`;
  const lines = [
    ...covers.map(({ what, bytes, sha256 }) => `signed     ${what}, ${bytes} bytes, SHA-256 ${sha256}`),
    `signer     ${signer.algorithm} with ${signer.digest}, by ${identity}`,
    ...(exclusive === null ? [] : [`exclusive  ${exclusive}`]),
    `written    ${out}, ${signature.bytes} bytes`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}
