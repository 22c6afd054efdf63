/**
 * @module src/fuzz/targets/loader
 * Light skeletons through signing, admission, verification and run: loader instructions, metadata and signature changed, signed anew or not, the
 * caller's context hostile, a fault at the k-th event. Promises held: changed contents under an old signature are refused; a signed
 * loader makes what was signed, whatever its caller asks for; a failure is reported as what it was and leaves nothing.
 */
import { equalBytes, fromHex, toHex } from '../../../crypto/bytes.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { verifyDetached, certificateKeyring } from '../../../crypto/verify.ts';
import type { Certificate } from '../../../crypto/x509.ts';
import { DISTRIBUTION_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { InputError } from '../../../isa/errors.ts';
import { EMFILE, ENOMEM, errnoName } from '../../../isa/errno.ts';
import { PROG_LOAD_ATTR, readLow } from '../../../isa/attr.ts';
import { disassembleProgram } from '../../../isa/disasm.ts';
import { Kernel } from '../../../kernel/kernel.ts';
import type { KernelOptions } from '../../../kernel/api.ts';
import { KEY_SPEC_SESSION_KEYRING } from '../../../kernel/keys/keyrings.ts';
import type { KernelObject } from '../../../kernel/objects.ts';
import {
  destroySkeleton, isLoaded, loadAndRun, type LoadedSkeleton, type LoadFailure, type LoadOptions,
} from '../../../loader/load-and-run.ts';
import type { LightSkeleton } from '../../../loader/skeleton.ts';
import { combine, Coverage } from '../coverage.ts';
import { skeletonCalls, transcriptOf } from '../load-calls.ts';
import { mutateBytes } from '../mutators/bytes.ts';
import { mutateBER } from '../mutators/der.ts';
import { mutateInstructions, slotsOf } from '../mutators/instructions.ts';
import { AdmissionWitness } from '../oracles/admission.ts';
import { arm, compareResources, resourcesOf, type Fault } from '../oracles/resources.ts';
import { objection } from '../oracles/signature.ts';
import type { Random } from '../random.ts';
import { smallerBytes } from '../shrink.ts';
import type { Finding, Target, TargetEnvironment } from '../types.ts';
import { parseJSON } from './signature.ts';
import { makeKeyrings, SpareSpace } from './kernels.ts';
import { createRSASigner, type FuzzSigner } from './signer.ts';
import { exampleSkeleton, generatedSkeleton, OBJECTS, resigned, type BaseSkeleton } from './skeletons.ts';
import { randomFault, readFault, signerCertificate, textID } from './syscalls.ts';

/** A skeleton with changes; absent parts are the base's own. */
export interface LoaderInput {
  readonly base: string;
  readonly signed: boolean;
  /** Sign what was changed, so that it is admitted. */
  readonly resign: boolean;
  readonly instructions?: Uint8Array;
  readonly metadata?: Uint8Array;
  readonly blob?: Uint8Array;
  /** `max_entries` of every map and the first byte of every data section in the caller's context. */
  readonly maxEntries?: number;
  readonly data?: number;
  readonly fault?: Fault;
}

/** What a load made, for comparison. */
interface Payload {
  readonly maps: readonly string[];
  readonly entries: readonly number[];
  readonly programs: readonly string[];
}

const MEMORY_LIMIT = 64 << 20;
/** An error number that nothing else in a load gives. */
const INJECTED = 18;
const LOG = { level: 1, size: 1 << 16 } as const;
const MOST_METADATA = 1 << 16;
/** Admissions that are checked a second time. */
const RECHECKED_ONE_IN = 8;

const finding = (oracle: string, trace: string, message = trace): Finding => ({ oracle, trace, message });

class LoaderTarget implements Target<LoaderInput> {
  readonly name = 'loader';
  readonly batchRuns = 32;
  readonly #coverage: Coverage;
  readonly #environment: TargetEnvironment;
  readonly #options: KernelOptions;
  readonly #spare: SpareSpace = new SpareSpace(MEMORY_LIMIT);
  readonly #signer: FuzzSigner = createRSASigner();
  readonly #certificates: readonly Certificate[];
  readonly #bases: Map<string, BaseSkeleton> = new Map();
  readonly #names: readonly string[];
  readonly #references: Map<string, Payload> = new Map();

  constructor(environment: TargetEnvironment) {
    const { coverage, kernelBTF } = environment;
    this.#coverage = coverage;
    this.#environment = environment;
    this.#options = kernelBTF === undefined ? {} : { kernelBTF };
    this.#certificates = [signerCertificate(this.#signer)];
    // The example refers to types of the kernel.
    this.#names = [...Object.keys(OBJECTS), ...(kernelBTF === undefined ? [] : ['flow'])];
  }

  #base(name: string): BaseSkeleton {
    let base = this.#bases.get(name);
    if (base === undefined) {
      // Made once: that is no doing of the input that needs it first.
      this.#coverage.listen(false);
      base = name === 'flow' ? exampleSkeleton(this.#environment.file, this.#signer) : generatedSkeleton(name, this.#signer);
      this.#bases.set(name, base);
      this.#coverage.listen(true);
    }
    return base;
  }

  seeds(): readonly LoaderInput[] {
    return [];
  }

  generate(random: Random): LoaderInput {
    const input: LoaderInput = { base: random.pick(this.#names), signed: random.below(3) > 0, resign: random.oneIn(2) };
    switch (random.below(4)) {
      case 0: return { ...input, fault: randomFault(random) };
      case 1: return { ...input, maxEntries: random.pick([0, 1, 2, 8, 0x4000]), data: random.below(256) };
      default: return this.mutate(input, random, undefined);
    }
  }

  mutate(input: LoaderInput, random: Random, other: LoaderInput | undefined): LoaderInput {
    const { fault: _none, ...withoutFault } = input;
    switch (random.below(12)) {
      case 0: return random.oneIn(2) ? { ...input, fault: randomFault(random) } : withoutFault;
      case 1: return { ...input, maxEntries: random.below(64), data: random.below(256) };
      case 2: return { ...input, signed: !input.signed };
      case 3: return { ...input, resign: !input.resign };
      case 4: case 5: return { ...input, blob: mutateBER(this.#blob(input), random, other?.blob).slice(0, MOST_METADATA) };
      case 6: case 7: return { ...input, metadata: mutateBytes(this.#metadata(input), random, other?.metadata, MOST_METADATA) };
      default: return { ...input, instructions: mutateInstructions(this.#instructions(input), random, other?.instructions) };
    }
  }

  #skeleton({ base, signed }: LoaderInput): LightSkeleton {
    return signed ? this.#base(base).signed : this.#base(base).unsigned;
  }

  #instructions(input: LoaderInput): Uint8Array {
    return input.instructions ?? this.#skeleton(input).instructions;
  }

  #metadata(input: LoaderInput): Uint8Array {
    return input.metadata ?? this.#skeleton(input).metadata;
  }

  #blob(input: LoaderInput): Uint8Array {
    return input.blob ?? this.#base(input.base).signed.signature?.bytes ?? new Uint8Array(0);
  }

  /** The skeleton that is loaded. */
  #changed(input: LoaderInput): LightSkeleton {
    const skeleton = this.#skeleton(input);
    const instructions = this.#instructions(input), metadata = this.#metadata(input);
    if (skeleton.signature === undefined) return { ...skeleton, instructions, metadata };
    if (input.resign && input.blob === undefined) return isSame(input) ? skeleton : resigned(skeleton, instructions, metadata, this.#signer);
    return { ...skeleton, instructions, metadata, signature: { ...skeleton.signature, bytes: this.#blob(input), exclusiveHash: sha256(instructions) } };
  }

  execute(input: LoaderInput, thorough = true): Finding | undefined {
    const skeleton = this.#changed(input);
    if (skeleton.instructions.length === 0 || skeleton.metadata.length === 0) return undefined;
    const kernel = new Kernel({ ...this.#options, space: this.#spare.take() });
    makeKeyrings(kernel);
    kernel.addKey('asymmetric', 'fuzz', this.#signer.certificate, KEY_SPEC_SESSION_KEYRING);
    const before = resourcesOf(kernel);
    const isOriginal = isSame(input);
    const witness = new AdmissionWitness(kernel, this.#certificates, thorough || isChosen(skeleton));
    let misplaced = false;
    kernel.hooks.attach('bpf_prog_load', (_program, attr, fromProgram) => {
      const view = new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
      misplaced ||= isOriginal && fromProgram && (readLow(view, 0, PROG_LOAD_ATTR.insns) & 7) !== 0;
      return 0;
    });
    const armed = input.fault === undefined ? undefined : arm(input.fault, INJECTED);
    if (armed !== undefined) kernel.injectFaults(armed.injector);
    const outcome = loadAndRun(kernel, skeleton, this.#loadOptions(input, skeleton));
    kernel.injectFaults(undefined);
    this.#report(input, outcome);
    const found = witness.finding ?? witness.checkExclusive()
      ?? (misplaced ? finding('loader', 'misaligned instructions', 'the loader passed instructions that are not aligned to 8 bytes') : undefined)
      ?? this.#judge(input, kernel, skeleton, outcome, armed?.struck() ?? false);
    if (isLoaded(outcome)) destroySkeleton(kernel, outcome);
    // A changed loader may keep what it opened: that is its own affair, until the process ends.
    if (!isOriginal) for (const { fd } of kernel.state.files.list()) kernel.close(fd);
    return found ?? compareResources(before, resourcesOf(kernel));
  }

  #loadOptions(input: LoaderInput, skeleton: LightSkeleton): LoadOptions {
    const { maxEntries, data } = input;
    // A data section of several elements cannot be mapped; a signed loader does not make one.
    const sized = skeleton.maps.filter((map) => input.signed || map.data === undefined);
    return {
      ...(isSame(input) ? {} : { log: LOG }),
      ...(maxEntries === undefined ? {} : { maxEntries: new Map(sized.map(({ name }) => [name, maxEntries])) }),
      ...(data === undefined ? {} : {
        data: new Map(skeleton.maps.flatMap((map) => (map.data === undefined ? [] : [[map.name, Uint8Array.of(data)] as const]))),
      }),
    };
  }

  #report({ base, signed, fault }: LoaderInput, outcome: LoadedSkeleton | LoadFailure): void {
    const where = isLoaded(outcome) ? 0 : textID(outcome.step);
    this.#coverage.hit(combine(outcome.errno, where, signed ? 1 : 0, fault === undefined ? 0 : 1));
    this.#coverage.hit(combine(textID(base), outcome.errno, where, fault?.k ?? 0));
    const last = outcome.log.split('\n').findLast((line) => line !== '' && !line.startsWith('processed '));
    if (last !== undefined) this.#coverage.hit(combine(7, textID(last)));
  }

  #judge(input: LoaderInput, kernel: Kernel, skeleton: LightSkeleton, outcome: LoadedSkeleton | LoadFailure, struck: boolean): Finding | undefined {
    const { base, signed, fault, blob } = input;
    const isOriginal = isSame(input);
    // What a changed loader returns is its own affair.
    const isReturned = !isLoaded(outcome) && outcome.step === 'run of loader prog' && !isOriginal;
    if (!isReturned && errnoName(outcome.errno).startsWith('E?')) return finding('errors', `errno of ${isLoaded(outcome) ? 'load' : outcome.step}`, `error number ${outcome.errno}`);
    if (isLoaded(outcome) && signed) {
      const original = this.#base(base).signed;
      const isChanged = !equalBytes(skeleton.instructions, original.instructions) || !equalBytes(skeleton.metadata, original.metadata);
      if (isChanged && (!input.resign || blob !== undefined)) return finding('tamper', 'changed contents', 'a loader with changed contents ran under the old signature');
      if (blob !== undefined) return this.#checkBlob(skeleton);
    }
    if (!isOriginal || blob !== undefined) return undefined;
    if (!isLoaded(outcome)) return this.#judgeFailure(outcome, fault, struck);
    if (struck && fault?.kind === 'call') return finding('loader', 'failed call ignored', `the ${fault.k}. call failed, and the loader went on as if it had not`);
    const open = kernel.state.files.list().length, wanted = skeleton.maps.length + skeleton.programs.length;
    if (open !== wanted) return finding('resources', 'descriptors after a load', `${open} descriptors are open after a load that makes ${wanted} objects`);
    return this.#judgePayload(input, kernel, outcome);
  }

  #judgeFailure(outcome: LoadFailure, fault: Fault | undefined, struck: boolean): Finding | undefined {
    if (!struck) return finding('loader', `${outcome.step} fails`, `an unchanged skeleton does not load: ${outcome.message} (${outcome.errno}) ${outcome.log}`);
    const expected = fault?.kind === 'call' ? [INJECTED] : fault?.kind === 'fd' ? [EMFILE] : [ENOMEM];
    return expected.includes(outcome.errno)
      ? undefined
      : finding('loader', `errno of ${outcome.step}`, `the ${fault?.k}. ${fault?.kind} failed, which is error ${expected.join()}; reported is ${outcome.errno}`);
  }

  #checkBlob(skeleton: LightSkeleton): Finding | undefined {
    const parts = [skeleton.instructions, skeleton.metadata];
    const { message } = verifyDetached(parts, skeleton.signature?.bytes ?? new Uint8Array(0), {
      algorithms: DISTRIBUTION_ALGORITHMS, keyring: certificateKeyring(this.#certificates),
    });
    const payload = new Uint8Array(skeleton.instructions.length + skeleton.metadata.length);
    payload.set(skeleton.instructions);
    payload.set(skeleton.metadata, skeleton.instructions.length);
    const why = message === undefined ? 'it cannot be read' : objection(message, payload, this.#certificates);
    return why === undefined ? undefined : finding('tamper', 'changed signature', `a changed signature was accepted although ${why}`);
  }

  /** A signed loader makes the same whatever the context says; an unsigned one takes the context's numbers. */
  #judgePayload(input: LoaderInput, kernel: Kernel, outcome: LoadedSkeleton): Finding | undefined {
    const { base, signed, maxEntries, data } = input;
    const got = payloadOf(kernel, outcome, data !== undefined && !signed);
    if (maxEntries === undefined && data === undefined) {
      const key = `${base} ${signed}`;
      const known = this.#references.get(key);
      if (known === undefined) this.#references.set(key, got);
      else if (!isEqual(known, got)) return finding('loader', 'payload differs', `two loads of the same skeleton made ${JSON.stringify(known)} and ${JSON.stringify(got)}`);
      return undefined;
    }
    if (!signed) {
      const skeleton = this.#base(base).unsigned;
      const wrong = maxEntries === undefined || maxEntries === 0 ? [] : got.entries.filter((entries, i) => skeleton.maps[i]?.data === undefined && entries !== maxEntries);
      return wrong.length === 0 ? undefined : finding('loader', 'context ignored', `the context asks for ${maxEntries} elements, the maps have ${got.entries.join()}`);
    }
    const { maxEntries: _entries, data: _data, fault: _fault, ...plain } = input;
    if (!this.#references.has(`${base} true`)) {
      this.#coverage.listen(false);
      new LoaderTarget({ ...this.#environment, coverage: new Coverage() }).#learn(plain, this.#references);
      this.#coverage.listen(true);
    }
    const reference = this.#references.get(`${base} true`);
    return reference === undefined || isEqual(reference, got)
      ? undefined
      : finding('loader', 'context decides', `a signed loader made ${JSON.stringify(got)} instead of ${JSON.stringify(reference)} because of its context`);
  }

  /** Notes what an unchanged skeleton makes. In a target of its own: the caller's kernel is in use. */
  #learn(input: LoaderInput, references: Map<string, Payload>): void {
    this.execute(input);
    for (const [key, payload] of this.#references) references.set(key, payload);
  }

  serialise({ instructions, metadata, blob, ...rest }: LoaderInput): Uint8Array {
    const hex = (key: string, bytes: Uint8Array | undefined): object => (bytes === undefined ? {} : { [key]: toHex(bytes) });
    return new TextEncoder().encode(JSON.stringify({
      base: rest.base, signed: rest.signed, resign: rest.resign, ...hex('instructions', instructions), ...hex('metadata', metadata), ...hex('blob', blob),
      ...(rest.maxEntries === undefined ? {} : { maxEntries: rest.maxEntries }), ...(rest.data === undefined ? {} : { data: rest.data }),
      ...(rest.fault === undefined ? {} : { fault: rest.fault }),
    }));
  }

  deserialise(bytes: Uint8Array): LoaderInput {
    const value = parseJSON(bytes) as Partial<Record<string, unknown>>;
    const { base, signed, resign, maxEntries, data } = value;
    if (typeof base !== 'string' || !(base === 'flow' || Object.hasOwn(OBJECTS, base)) || typeof signed !== 'boolean' || typeof resign !== 'boolean') {
      throw new InputError('input', '', 'base, signed and resign expected');
    }
    const fault = readFault(value['fault']);
    const hex = (key: 'instructions' | 'metadata' | 'blob'): Partial<LoaderInput> => {
      const text = value[key];
      return typeof text === 'string' ? { [key]: fromHex(text) } : {};
    };
    return {
      base, signed, resign, ...hex('instructions'), ...hex('metadata'), ...hex('blob'),
      ...(typeof maxEntries === 'number' ? { maxEntries } : {}), ...(typeof data === 'number' ? { data } : {}), ...(fault === undefined ? {} : { fault }),
    };
  }

  *shrink(input: LoaderInput): Iterable<LoaderInput> {
    for (const part of ['fault', 'blob', 'metadata', 'instructions', 'maxEntries', 'data'] as const) {
      const { [part]: value, ...rest } = input;
      if (value !== undefined) yield rest;
    }
    for (const base of this.#names) if (this.#names.indexOf(base) < this.#names.indexOf(input.base)) yield { ...input, base };
    const { fault } = input;
    if (fault !== undefined) for (let k = 1; k < fault.k; k++) yield { ...input, fault: { ...fault, k } };
    if (input.blob !== undefined) for (const blob of smallerBytes(input.blob)) yield { ...input, blob };
  }

  size(input: LoaderInput): number {
    const base = this.#skeleton(input);
    const distance = (a: Uint8Array | undefined, b: Uint8Array): number => (a === undefined ? 0 : 8 + Math.abs(a.length - b.length) + a.filter((byte, i) => byte !== b[i]).length);
    const blob = this.#base(input.base).signed.signature?.bytes ?? new Uint8Array(0);
    return this.#names.indexOf(input.base) + distance(input.instructions, base.instructions) + distance(input.metadata, base.metadata)
      + distance(input.blob, blob) + (input.fault?.k ?? 0) + (input.maxEntries === undefined ? 0 : 1) + (input.data === undefined ? 0 : 1);
  }

  toTranscript(input: LoaderInput): string | undefined {
    const skeleton = this.#changed(input);
    if (input.fault !== undefined || skeleton.instructions.length === 0 || skeleton.metadata.length === 0) return undefined;
    return transcriptOf(skeletonCalls(skeleton, [this.#signer.certificate], this.#loadOptions(input, skeleton)));
  }

  toAssembly(input: LoaderInput): string {
    const { base, signed, resign, maxEntries, data, fault, instructions, metadata, blob } = input;
    const head = `skeleton ${base}, ${signed ? (resign && blob === undefined ? 'signed anew' : 'signed') : 'unsigned'}`;
    const parts = [
      ...(fault === undefined ? [] : [`the ${fault.k}. ${fault.kind} fails`]), ...(maxEntries === undefined ? [] : [`max_entries ${maxEntries}`]),
      ...(data === undefined ? [] : [`first byte of data ${data}`]),
      ...(instructions === undefined ? [] : [`${slotsOf(instructions).length} instructions:`, ...disassembleProgram(instructions).map(({ text }) => text)]),
      ...(metadata === undefined ? [] : [`metadata ${toHex(metadata)}`]), ...(blob === undefined ? [] : [`signature ${toHex(blob)}`]),
    ];
    return [head, ...parts, ''].join('\n');
  }
}

/** One skeleton in {@link RECHECKED_ONE_IN}, by its contents. */
function isChosen({ instructions, metadata }: LightSkeleton): boolean {
  let h = 0x811c9dc5;
  for (let at = 0; at < instructions.length; at += 4) h = Math.imul(h ^ instructions[at]!, 0x01000193);
  for (let at = 0; at < metadata.length; at += 4) h = Math.imul(h ^ metadata[at]!, 0x01000193);
  return ((h ^ (h >>> 15)) >>> 0) % RECHECKED_ONE_IN === 0;
}

/** Nothing of the skeleton was changed but who signs it. */
function isSame({ instructions, metadata, blob }: LoaderInput): boolean {
  return instructions === undefined && metadata === undefined && blob === undefined;
}

function payloadOf(kernel: Kernel, loaded: LoadedSkeleton, withoutContents: boolean): Payload {
  const targetOf = (fd: number): KernelObject | undefined => kernel.state.files.get(fd)?.target;
  const made = loaded.maps.flatMap(({ fd }) => {
    const target = targetOf(fd);
    return target?.kind === 'map' ? [target] : [];
  });
  const contents = (id: number): string => {
    const bytes = withoutContents ? undefined : kernel.peekElement(id, new Uint8Array(4));
    return bytes === undefined ? '' : toHex(bytes);
  };
  return {
    maps: made.map(({ id, name, type, keySize, valueSize, maxEntries, flags, frozen }) => [name, type, keySize, valueSize, maxEntries, flags, frozen, contents(id)].join(' ')),
    entries: made.map(({ maxEntries }) => maxEntries),
    programs: loaded.programs.flatMap(({ fd }) => {
      const target = targetOf(fd);
      return target?.kind === 'prog' ? [`${target.name} ${target.type} ${toHex(target.verified?.tag ?? new Uint8Array(0))}`] : [];
    }),
  };
}

function isEqual(a: Payload, b: Payload): boolean {
  return isSameList(a.maps, b.maps) && isSameList(a.entries, b.entries) && isSameList(a.programs, b.programs);
}

function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** Makes the target `loader`. */
export function createTarget(environment: TargetEnvironment): Target<LoaderInput> {
  return new LoaderTarget(environment);
}
