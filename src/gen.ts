/**
 * @module src/gen
 * Skeletons from objects: `gen skeleton` and `gen subskeleton` as functions, and the comparison of a light skeleton with the object it
 * claims to be made from. The work is in `loader/object` and `loader/gen`.
 */
import { equalBytes } from '../crypto/bytes.ts';
import { sha256 } from '../crypto/digest.ts';
import type { LightSkeleton } from '../loader/skeleton.ts';
import { generateLoader, type GeneratedLoader } from '../loader/gen/gen-loader.ts';
import { formatCSkeleton, formatCSubskeleton } from '../loader/gen/c-skeleton.ts';
import type { LoaderSignature } from '../loader/gen/skeleton-text.ts';
import { draftModule, formatLightModule, formatObjectModule } from '../loader/gen/ts-skeleton.ts';
import type { BPFObject } from '../loader/object/model.ts';
import { openNoting, openObject } from '../loader/object/open.ts';
import { lightSkeletonText } from './gen-light.ts';

/** How a skeleton is generated. */
export interface GenerateOptions {
  /** Name in the skeleton and of internal maps; one character a byte. */
  readonly name: string;
  /** Signs instructions and metadata; gives a detached PKCS#7. */
  readonly sign?: (parts: readonly Uint8Array[]) => Uint8Array;
  /** Possible processors, for perf event arrays without a size. */
  readonly possibleCPUs?: number;
  /** Text of a kernel configuration, for `__kconfig` externs. */
  readonly configuration?: string;
  /** Version and symbols of the machine that bpftool would run on; see `GenLoaderOptions`. */
  readonly kernelVersion?: number;
  readonly kallsyms?: string;
  /** What a TypeScript module imports from: a package or a path; default `'bpftwin'`. */
  readonly runtime?: string;
  /** Gets what libbpf says although it succeeds, of sections that it makes nothing of and of programs without records of source lines, such as `elf: skipping unrecognized data section(7) custom`. */
  readonly note?: (line: string) => void;
}

const RUNTIME = 'bpftwin';

/**
 * The header that `bpftool gen skeleton -L [-S]` of Linux 7.3 prints for an object: one character for each byte, since names need be no
 * UTF-8. `latin1Bytes` makes the bytes of it.
 *
 * @throws InputError with file, section and libbpf's reason
 *
 * @example
 * generateLightSkeleton(readFileSync('a.bpf.o'), 'a.bpf.o', { name: 'a' });
 */
export function generateLightSkeleton(bytes: Uint8Array, file: string, options: GenerateOptions): string {
  const { name, runtime: _runtime, sign, ...machine } = options;
  return lightSkeletonText(bytes, file, name, machine, sign === undefined ? undefined : (loader) => signatureOf(loader, sign));
}

function signatureOf(loader: GeneratedLoader, sign: NonNullable<GenerateOptions['sign']>): LoaderSignature {
  return { signature: sign([loader.instructions, loader.metadata]), exclusiveHash: sha256(loader.instructions) };
}

/** The loader, and its signature where it is to be signed. */
function loaderOf(object: BPFObject, { name: _name, runtime: _runtime, sign, ...machine }: GenerateOptions): [loader: GeneratedLoader, signature?: LoaderSignature] {
  const loader = generateLoader(object, { signed: sign !== undefined, ...machine });
  return sign === undefined ? [loader] : [loader, signatureOf(loader, sign)];
}

/**
 * The header that `bpftool gen skeleton` of Linux 7.3 prints for an object: C for libbpf, with the object inside; one character a byte.
 *
 * @throws InputError with file, section and libbpf's reason
 *
 * @example
 * generateSkeleton(readFileSync('a.bpf.o'), 'a.bpf.o', { name: 'a' });
 */
export function generateSkeleton(bytes: Uint8Array, file: string, { name, note }: Pick<GenerateOptions, 'name' | 'note'>): string {
  return formatCSkeleton(plainView(bytes), file, name, note);
}

/**
 * The header that `bpftool gen subskeleton` of Linux 7.3 prints: C for a library whose object was linked into another one. Empty where a
 * data section has no types, as with bpftool. One character a byte.
 *
 * @throws InputError with file, section and libbpf's reason
 */
export function generateSubskeleton(bytes: Uint8Array, file: string, { name, note }: Pick<GenerateOptions, 'name' | 'note'>): string {
  return formatCSubskeleton(plainView(bytes), file, name, note);
}

/**
 * A light skeleton as a TypeScript module: a class that loads, attaches and destroys it through a `Port`, with typed maps and variables.
 *
 * @throws InputError with file, section and libbpf's reason
 *
 * @example
 * writeFileSync('flow.ts', generateLightModule(readFileSync('flow.bpf.o'), 'flow.bpf.o', { name: 'flow' }));
 */
export function generateLightModule(bytes: Uint8Array, file: string, options: GenerateOptions): string {
  const object = openNoting(plainView(bytes), file, options.name, options.note);
  const draft = draftModule(object, options.name, 'light', options.runtime ?? RUNTIME);
  return formatLightModule(draft, ...loaderOf(object, options));
}

/**
 * The same with the whole object inside: relocations are made by the library when it is loaded, with the types of the kernel that it is told.
 *
 * @throws InputError with file, section and libbpf's reason
 */
export function generateModule(bytes: Uint8Array, file: string, { name, runtime = RUNTIME, note }: Pick<GenerateOptions, 'name' | 'runtime' | 'note'>): string {
  const plain = plainView(bytes);
  return formatObjectModule(draftModule(openNoting(plain, file, name, note), name, 'whole', runtime), plain);
}

/** A Buffer's `slice` shares memory, a plain view's copies. */
function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where two byte strings part; `undefined` where they are equal. */
function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  if (equalBytes(a, b)) return undefined;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return length;
}

/** Whether a skeleton is what an object generates. */
export interface ObjectComparison {
  readonly file: string;
  readonly matches: boolean;
  /** Byte at which the loader's instructions part, `null` where they do not. */
  readonly instructions_differ_at: number | null;
  readonly metadata_differ_at: number | null;
}

/**
 * Generates the loader of an object anew and compares it with a skeleton's.
 * @throws InputError where the object cannot be opened or generates no loader
 */
export function compareWithObject(skeleton: LightSkeleton, bytes: Uint8Array, file: string, options: { readonly inLoaderCheck: boolean; readonly possibleCPUs?: number }): ObjectComparison {
  const { possibleCPUs, inLoaderCheck } = options;
  const loader: GeneratedLoader = generateLoader(openObject(bytes, file, skeleton.name), {
    signed: skeleton.signature !== undefined, ...(inLoaderCheck ? { inLoaderCheck: sha256 } : {}), ...(possibleCPUs === undefined ? {} : { possibleCPUs }),
  });
  const instructions = firstDifference(loader.instructions, skeleton.instructions);
  const metadata = firstDifference(loader.metadata, skeleton.metadata);
  return { file, matches: instructions === undefined && metadata === undefined, instructions_differ_at: instructions ?? null, metadata_differ_at: metadata ?? null };
}
