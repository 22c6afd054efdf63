/**
 * @module btf/core_apply
 * CO-RE relocation inside `BPF_PROG_LOAD`: which types of the kernel are candidates, the kernel's cache of them, and the
 * application of one relocation with its log. Reproduces `bpf_core_apply` and its helpers of kernel/bpf/btf.c. The cache is
 * part of the behaviour: it is keyed by name alone, and printed at log level 2.
 */
import { EINVAL } from '../isa/errno.ts';
import { BPF_CORE_TYPE_ID_LOCAL, BTF_KIND_STRUCT } from '../isa/uapi.ts';
import { type BTF, BTF_KIND_NAMES } from './btf.ts';
import { type CoreCandidate, type CoreRelocation, type CoreReporter, essentialNameLength, resolveCoreRelocation } from './core.ts';
import { patchCoreInstruction } from './core_patch.ts';

const CACHE_SIZE = 31;
const MAX_DEPTH = 2;

/**
 * Structs that are in the cache before anybody loads a program: the iterators that the kernel preloads at boot
 * (kernel/bpf/preload) are relocated like any others.
 */
const PRELOADED = ['bpf_iter__bpf_map', 'bpf_iter_meta', 'bpf_map', 'bpf_iter__bpf_prog', 'bpf_prog', 'bpf_prog_aux', 'bpf_func_info', 'btf'];

interface CandidateList {
  readonly name: string;
  readonly kind: number;
  readonly candidates: readonly CoreCandidate[];
}

/** Own types of `target` with that essential name and kind, in order of their ids. */
export function findCoreCandidates(target: BTF, essentialName: string, hasKind: (kind: number) => boolean): CoreCandidate[] {
  const candidates: CoreCandidate[] = [];
  for (const id of target.idsByPrefix(essentialName)) {
    if (!hasKind(target.kind(id))) continue;
    if (essentialNameLength(target.typeName(id)) === essentialName.length) candidates.push({ btf: target, id });
  }
  return candidates;
}

/** A kernel instance's two caches: names looked up in its own BTF, and in its modules' where that has none. */
export class CoreCandidateCache {
  readonly #kernel = Array.from<CandidateList | undefined>({ length: CACHE_SIZE });
  readonly #modules = Array.from<CandidateList | undefined>({ length: CACHE_SIZE });

  #isPreloaded = false;

  find(kernelBTF: BTF, name: string, kind: number): CandidateList {
    if (!this.#isPreloaded) {
      this.#isPreloaded = true;
      for (const preloaded of PRELOADED) this.find(kernelBTF, preloaded, BTF_KIND_STRUCT);
    }
    const slot = jhash(name) % CACHE_SIZE;
    let list = this.#kernel[slot];
    if (list === undefined || list.name !== name) {
      list = { name, kind, candidates: findCoreCandidates(kernelBTF, name, (other) => other === kind) };
      this.#kernel[slot] = list;
    }
    if (list.candidates.length > 0) return list;
    let fromModules = this.#modules[slot];
    if (fromModules === undefined || fromModules.name !== name) {
      fromModules = { name, kind, candidates: [] };
      this.#modules[slot] = fromModules;
    }
    return fromModules;
  }

  /** Both caches as the log shows them. */
  toText(): string {
    return `vmlinux_cand_cache:${cacheText(this.#kernel)}\nmodule_cand_cache:${cacheText(this.#modules)}\n`;
  }
}

function cacheText(cache: readonly (CandidateList | undefined)[]): string {
  return cache
    .map((list, i) => list === undefined ? '' : `[${i}]${list.name}(${list.candidates.map(({ id }) => id).join(' ')}), `)
    .join('');
}

/** What a load brings to {@link applyCoreRelocation}. */
export interface CoreContext {
  /** The program's BTF. */
  readonly btf: BTF;
  readonly kernelBTF: BTF | undefined;
  readonly cache: CoreCandidateCache;
  /** Receives log text; leave out at log level 0. */
  readonly log?: { write(text: string): void } | undefined;
  /** True at log level 2, where the caches are printed. */
  readonly isVerbose: boolean;
}

/** Applies relocation number `index` to `program` (8 bytes an instruction), in place; 0 or `-errno`. */
export function applyCoreRelocation(context: CoreContext, relo: CoreRelocation, index: number, program: Uint8Array): number {
  const { btf, log } = context;
  const write = (text: string): void => log?.write(text.length > 1023 ? text.slice(0, 1023) : text);
  if (!btf.has(relo.typeID)) {
    write(`relo #${index}: bad type id ${relo.typeID}\n`);
    return -EINVAL;
  }
  const needsCandidates = relo.kind !== BPF_CORE_TYPE_ID_LOCAL;
  const result = applyWithCandidates(context, relo, index, program, needsCandidates, write);
  if (needsCandidates && context.isVerbose) write(context.cache.toText());
  return result;
}

function applyWithCandidates(
  context: CoreContext, relo: CoreRelocation, index: number, program: Uint8Array, needsCandidates: boolean, write: (text: string) => void,
): number {
  const { btf, kernelBTF } = context;
  let candidates: readonly CoreCandidate[] = [];
  if (needsCandidates) {
    const name = btf.typeName(relo.typeID);
    if (kernelBTF === undefined || name === '') {
      write(`target candidate search failed for ${relo.typeID | 0}\n`);
      return -EINVAL;
    }
    const list = context.cache.find(kernelBTF, name.slice(0, essentialNameLength(name)), btf.kind(relo.typeID));
    candidates = list.candidates;
    for (const { id } of candidates) {
      write(`CO-RE relocating ${BTF_KIND_NAMES[list.kind] ?? ''} ${list.name}: found target candidate [${id}]\n`);
    }
  }
  const reporter: CoreReporter = { programName: '', warn: write, debug: write, maxDepth: MAX_DEPTH };
  const result = resolveCoreRelocation(btf, relo, index, candidates, reporter);
  if (typeof result === 'number') return result;
  return patchCoreInstruction(program, relo.instructionOffset, relo.instructionOffset >>> 3, index, result, reporter);
}

/** Bob Jenkins' hash of the bytes of a name (include/linux/jhash.h, initval 0); uint32. It orders the printed cache. */
function jhash(name: string): number {
  const byte = (i: number): number => i < name.length ? name.charCodeAt(i) & 0xff : 0;
  const word = (i: number): number => byte(i) | (byte(i + 1) << 8) | (byte(i + 2) << 16) | (byte(i + 3) << 24);
  const rotate = (x: number, n: number): number => (x << n) | (x >>> (32 - n));
  let a = (0xdeadbeef + name.length) | 0;
  let b = a;
  let c = a;
  let at = 0;
  for (; name.length - at > 12; at += 12) {
    a = (a + word(at)) | 0;
    b = (b + word(at + 4)) | 0;
    c = (c + word(at + 8)) | 0;
    a = (a - c) ^ rotate(c, 4); c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 6); a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 8); b = (b + a) | 0;
    a = (a - c) ^ rotate(c, 16); c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 19); a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 4); b = (b + a) | 0;
  }
  if (at === name.length) return c >>> 0;
  a = (a + word(at)) | 0;
  b = (b + word(at + 4)) | 0;
  c = (c + word(at + 8)) | 0;
  c = (c ^ b) - rotate(b, 14);
  a = (a ^ c) - rotate(c, 11);
  b = (b ^ a) - rotate(a, 25);
  c = (c ^ b) - rotate(b, 16);
  a = (a ^ c) - rotate(c, 4);
  b = (b ^ a) - rotate(a, 14);
  c = (c ^ b) - rotate(b, 24);
  return c >>> 0;
}
