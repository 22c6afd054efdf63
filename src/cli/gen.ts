/**
 * @module src/cli/gen
 * `bpftwin gen skeleton [-L [-S -k KEY -i CERT]] OBJ.o [name NAME]` and `gen subskeleton`: print headers as bpftool does, or modules in
 * TypeScript.
 */
import { InputError } from '../../isa/errors.ts';
import type { GenerateOptions } from '../gen.ts';
import { UsageError } from './failure.ts';
import { possibleCPUs, readConfiguration } from './host.ts';
import { EXIT_OK, readInput, writeLatin1, type Context } from './io.ts';
import { Notes } from './notes.ts';
import { nameOfSkeleton } from './skeleton-name.ts';

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
  const name = nameOfSkeleton(file, words);
  // bpftool: signing is the loader's business.
  const isLight = options.useLoader === true || options.sign === true;
  const bytes = readInput(file);
  if (context.debug && !isLight) await sayOpening(bytes, file, name, context);
  const isModule = options.lang === 'ts';
  if (options.runtime !== undefined && !isModule) throw new UsageError('--runtime: only a TypeScript skeleton imports a module');
  const runtime = options.runtime === undefined ? {} : { runtime: options.runtime };
  const machine = { possibleCPUs: possibleCPUs(), ...(options.kconfig === undefined ? {} : { configuration: readConfiguration(options.kconfig) }) };
  const notes = new Notes();
  const text = await textOf(bytes, file, { name, ...machine, ...runtime, note: notes.take }, options, isLight, isModule);
  // With debugging on they are among the other lines already.
  if (!context.debug || isLight) notes.write(context);
  writeLatin1(context.stdout, text);
  return EXIT_OK;
}

/** Each form loads what it needs itself: most of the time of a small object is loading modules. */
async function textOf(bytes: Uint8Array, file: string, common: GenerateOptions, options: GenSkeletonOptions, isLight: boolean, isModule: boolean): Promise<string> {
  const { name, runtime: _runtime, ...machine } = common;
  if (isLight && !isModule && options.sign !== true) return (await import('../gen-light.ts')).lightSkeletonText(bytes, file, name, machine);
  if (!isLight && !isModule) return (await import('../../loader/gen/c-skeleton.ts')).formatCSkeleton(bytes, file, name, common.note);
  const { generateLightModule, generateLightSkeleton, generateModule } = await import('../gen.ts');
  if (!isLight) return generateModule(bytes, file, common);
  const generate = isModule ? generateLightModule : generateLightSkeleton;
  return options.sign === true ? signed(generate, bytes, file, common, options) : generate(bytes, file, common);
}

/** `gen subskeleton OBJ.o [name NAME]`. */
export async function genSubskeletonCommand(file: string, words: readonly string[], options: { readonly useLoader?: boolean }, context: Context): Promise<number> {
  if (options.useLoader === true) throw new UsageError('cannot use loader for subskeletons');
  const name = nameOfSkeleton(file, words);
  const bytes = readInput(file);
  if (context.debug) await sayOpening(bytes, file, '', context);
  const { formatCSubskeleton } = await import('../../loader/gen/c-skeleton.ts');
  const notes = new Notes();
  const text = formatCSubskeleton(bytes, file, name, notes.take);
  if (!context.debug) notes.write(context);
  writeLatin1(context.stdout, text);
  return EXIT_OK;
}

/** What libbpf says with debugging on while it opens an object. */
async function sayOpening(bytes: Uint8Array, file: string, name: string, context: Context): Promise<void> {
  const [{ openObject }, { openLog }] = await Promise.all([import('../../loader/object/open.ts'), import('../../loader/object/open-log.ts')]);
  writeLatin1(context.stderr, openLog(openObject(bytes, file, name)).map((line) => `libbpf: ${line}\n`).join(''));
}

/** Only a signed skeleton pays for loading the cryptography. */
async function signed(generate: (bytes: Uint8Array, file: string, options: GenerateOptions) => string, bytes: Uint8Array, file: string, common: GenerateOptions, options: GenSkeletonOptions): Promise<string> {
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
