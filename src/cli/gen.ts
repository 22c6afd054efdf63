/**
 * @module src/cli/gen
 * `bpftwin gen skeleton [-L [-S -k KEY -i CERT]] OBJ.o [name NAME]` and `gen subskeleton`: print headers as bpftool does, or modules in
 * TypeScript.
 */
import { InputError } from '../../isa/errors.ts';
import { cutObjectName, defaultObjectName } from '../../loader/gen/skeleton-model.ts';
import { generateLightModule, generateLightSkeleton, generateModule, generateSkeleton, generateSubskeleton, type GenerateOptions } from '../gen.ts';
import { UsageError } from './failure.ts';
import { possibleCPUs, readConfiguration } from './host.ts';
import { EXIT_OK, readInput, type Context } from './io.ts';

export interface GenSkeletonOptions {
  readonly useLoader?: boolean;
  readonly sign?: boolean;
  readonly key?: string;
  readonly cert?: string;
  readonly passphraseFile?: string;
  readonly kconfig?: string;
  readonly lang?: 'c' | 'ts';
  readonly runtime?: string;
}

/** Runs the command; `words` are what follows the object: `name NAME`. */
export async function genSkeletonCommand(file: string, words: readonly string[], options: GenSkeletonOptions, context: Context): Promise<number> {
  const name = nameOf(file, words);
  // bpftool: signing is the loader's business.
  const isLight = options.useLoader === true || options.sign === true;
  const bytes = readInput(file);
  const isModule = options.lang === 'ts';
  if (options.runtime !== undefined && !isModule) throw new UsageError('--runtime: only a TypeScript skeleton imports a module');
  const runtime = options.runtime === undefined ? {} : { runtime: options.runtime };
  if (!isLight) {
    context.stdout.write(isModule ? generateModule(bytes, file, { name, ...runtime }) : generateSkeleton(bytes, file, { name }));
    return EXIT_OK;
  }
  const generate = isModule ? generateLightModule : generateLightSkeleton;
  const common = { name, ...runtime, possibleCPUs: possibleCPUs(), ...(options.kconfig === undefined ? {} : { configuration: readConfiguration(options.kconfig) }) };
  context.stdout.write(options.sign === true ? await signed(generate, bytes, file, common, options) : generate(bytes, file, common));
  return EXIT_OK;
}

/** `gen subskeleton OBJ.o [name NAME]`. */
export function genSubskeletonCommand(file: string, words: readonly string[], options: { readonly useLoader?: boolean }, context: Context): number {
  if (options.useLoader === true) throw new UsageError('cannot use loader for subskeletons');
  const name = nameOf(file, words);
  context.stdout.write(generateSubskeleton(readInput(file), file, { name }));
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

/** Only a signed skeleton pays for loading the cryptography. */
async function signed(generate: typeof generateLightSkeleton, bytes: Uint8Array, file: string, common: GenerateOptions, options: GenSkeletonOptions): Promise<string> {
  const { key, cert } = options;
  if (key === undefined || cert === undefined) throw new UsageError('-S needs a private key (-k) and a certificate (-i)');
  const [{ withKey }, { checkKeyName }, { signDetached }, { readCertificates }, { installNodeCrypto }] = await Promise.all([
    import('./sign.ts'), import('../../crypto/private-key.ts'), import('../../crypto/sign.ts'), import('../certificates.ts'), import('../node/native-crypto.ts'),
  ]);
  installNodeCrypto();
  checkKeyName(key);
  const [certificate] = readCertificates(readInput(cert), cert);
  if (certificate === undefined) throw new InputError(cert, '', 'no certificate in it');
  return withKey({ ...options, key }, (privateKey) => generate(bytes, file, {
    ...common, sign: (parts) => signDetached(parts, privateKey, certificate.raw, { file: cert }),
  }));
}
