/**
 * @module src/cli/keys
 * `bpftwin keys [--cert FILE]… [--builtin-cert FILE]… [--secondary-cert FILE]… [--platform-cert FILE]… [--blacklist FILE]`: the
 * keyrings that a kernel and a process with these certificates have, listed as `/proc/keys` lists them.
 */
import { explainCertificate } from '../../crypto/explain.ts';
import { toHex } from '../../crypto/bytes.ts';
import { InputError } from '../../isa/errors.ts';
import { errnoName } from '../../isa/errno.ts';
import { Keyrings, KEY_SPEC_SESSION_KEYRING } from '../../kernel/keys/keyrings.ts';
import { readCertificates } from '../certificates.ts';
import { installNodeCrypto } from '../node/native-crypto.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';

export interface KeysCommandOptions {
  readonly cert?: readonly string[];
  readonly builtinCert?: readonly string[];
  readonly secondaryCert?: readonly string[];
  readonly platformCert?: readonly string[];
  readonly blacklist?: string;
}

/** Runs the command; 1 where the kernel would not take one of the certificates for the session keyring. */
export function keysCommand(options: KeysCommandOptions, context: Context): number {
  installNodeCrypto();
  const keyrings = createKeyrings(options), refused: { file: string; subject: string; errno: number; name: string }[] = [];
  for (const file of options.cert ?? []) {
    for (const certificate of readCertificates(readInput(file), file)) {
      const serial = keyrings.addKey('asymmetric', undefined, certificate.raw, KEY_SPEC_SESSION_KEYRING);
      if (serial < 0) refused.push({ file, subject: certificate.subjectName, errno: -serial, name: errnoName(serial) });
    }
  }
  if (context.json) writeJSON(context, { keys: describe(keyrings), refused });
  else {
    context.stdout.write(keyrings.list());
    for (const { file, subject, name } of refused) context.stderr.write(`bpftwin: ${file}: ${subject}: add_key: ${name}\n`);
  }
  return refused.length === 0 ? EXIT_OK : EXIT_REJECTED;
}

function createKeyrings(options: KeysCommandOptions): Keyrings {
  let state = 1;
  const ders = (files: readonly string[] | undefined): Uint8Array[] => (files ?? []).flatMap((file) => readCertificates(readInput(file), file)).map(({ raw }) => raw);
  return new Keyrings({
    now: () => Math.floor(Date.now() / 1000),
    random: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0),
    builtin: ders(options.builtinCert), secondary: ders(options.secondaryCert),
    ...(options.platformCert === undefined ? {} : { platform: ders(options.platformCert) }),
    ...(options.blacklist === undefined ? {} : { blacklist: readBlacklist(options.blacklist) }),
  });
}

/** One entry a line, `tbs:` or `bin:` and hexadecimal; empty lines and lines after `#` are ignored. */
function readBlacklist(file: string): string[] {
  const lines = new TextDecoder().decode(readInput(file)).split(/\r?\n/).map((line) => line.replace(/#.*/, '').trim().toLowerCase());
  const wrong = lines.findIndex((line) => line !== '' && !/^(?:tbs|bin):(?:[0-9a-f]{2})+$/.test(line));
  if (wrong >= 0) throw new InputError(file, `line ${wrong + 1}`, 'not a blacklist entry: tbs: or bin: and hexadecimal');
  return lines.filter((line) => line !== '');
}

function describe(keyrings: Keyrings): unknown[] {
  return keyrings.snapshot().map(({ certificate, payload, ...key }) => ({
    ...key, ...(certificate === undefined ? {} : { certificate: explainCertificate(certificate) }), ...(payload === undefined ? {} : { payload: toHex(payload) }),
  }));
}
