/**
 * @module src/cli/gen
 * `bpftwin gen skeleton -L [-S -k KEY -i CERT] OBJ.o [name NAME]`: prints the header of a light skeleton as bpftool does.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { checkKeyName } from '../../crypto/private-key.ts';
import { signDetached } from '../../crypto/sign.ts';
import { InputError } from '../../isa/errors.ts';
import { cutObjectName, defaultObjectName } from '../../loader/gen/skeleton-text.ts';
import { readCertificates } from '../certificates.ts';
import { generateLightSkeleton, type GenerateOptions } from '../gen.ts';
import { installNodeCrypto } from '../node/native-crypto.ts';
import { UsageError } from './failure.ts';
import { EXIT_OK, readInput, type Context } from './io.ts';
import { withKey } from './sign.ts';

export interface GenSkeletonOptions {
  readonly useLoader?: boolean;
  readonly sign?: boolean;
  readonly key?: string;
  readonly cert?: string;
  readonly passphraseFile?: string;
  readonly kconfig?: string;
}

/** Runs the command; `words` are what follows the object: `name NAME`. */
export function genSkeletonCommand(file: string, words: readonly string[], options: GenSkeletonOptions, context: Context): number {
  if (options.useLoader !== true) throw new UsageError('gen skeleton: only light skeletons are generated, give -L');
  const name = nameOf(file, words);
  const bytes = readInput(file);
  installNodeCrypto();
  const common = { name, possibleCPUs: possibleCPUs(), ...(options.kconfig === undefined ? {} : { configuration: readConfiguration(options.kconfig) }) };
  context.stdout.write(options.sign === true ? signed(bytes, file, common, options) : generateLightSkeleton(bytes, file, common));
  return EXIT_OK;
}

function nameOf(file: string, words: readonly string[]): string {
  const [keyword, name, ...rest] = words;
  if (keyword === undefined) return defaultObjectName(file);
  // bpftool takes any beginning of the word.
  if (!'name'.startsWith(keyword) || rest.length > 0) throw new UsageError(`unknown arg ${keyword === 'name' ? rest[0] ?? '' : keyword}`);
  if (name === undefined || name === '') throw new UsageError("'name' needs at least 1 argument, 0 found");
  return cutObjectName(name);
}

function signed(bytes: Uint8Array, file: string, common: GenerateOptions, options: GenSkeletonOptions): string {
  const { key, cert } = options;
  if (key === undefined || cert === undefined) throw new UsageError('-S needs a private key (-k) and a certificate (-i)');
  checkKeyName(key);
  const [certificate] = readCertificates(readInput(cert), cert);
  if (certificate === undefined) throw new InputError(cert, '', 'no certificate in it');
  return withKey({ ...options, key }, (privateKey) => generateLightSkeleton(bytes, file, {
    ...common, sign: (parts) => signDetached(parts, privateKey, certificate.raw, { file: cert }),
  }));
}

/** The text of a kernel configuration, compressed or not (`/proc/config.gz`). */
export function readConfiguration(file: string): string {
  const bytes = readInput(file, MAX_CONFIGURATION);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return new TextDecoder().decode(bytes);
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_CONFIGURATION }).toString('utf8');
  } catch (error) {
    throw new InputError(file, '', error instanceof Error ? error.message : String(error));
  }
}

const MAX_CONFIGURATION = 16 * 1024 * 1024;

/** Processors that this machine can have: libbpf sizes perf event arrays by them. */
export function possibleCPUs(): number {
  try {
    const last = /(\d+)\s*$/.exec(readFileSync('/sys/devices/system/cpu/possible', 'latin1'))?.[1];
    return last === undefined ? availableParallelism() : Number(last) + 1;
  } catch {
    return availableParallelism();
  }
}
