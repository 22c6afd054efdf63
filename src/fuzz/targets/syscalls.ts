/**
 * @module src/fuzz/targets/syscalls
 * Sequences of `bpf()` calls against a fresh kernel: changed attributes, descriptors closed and duplicated in between, signed loads, a fault at
 * the k-th event. Promises held: nothing but error numbers comes out; everything is given back; what is admitted with a signature is
 * what was signed; an exclusive map has one program.
 */
import { isRefusal } from '../../../crypto/rejection.ts';
import { parseCertificate, type Certificate } from '../../../crypto/x509.ts';
import { DISTRIBUTION_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { InputError, InternalError } from '../../../isa/errors.ts';
import { errnoName } from '../../../isa/errno.ts';
import type { KernelOptions } from '../../../kernel/api.ts';
import { lastMessage } from '../../replay/compare.ts';
import { KernelTarget } from '../../replay/kernel-target.ts';
import { Performer } from '../../replay/perform.ts';
import { TranscriptReader, type Operation } from '../../replay/transcript.ts';
import { writeOperation } from '../../replay/write.ts';
import { combine, type Coverage } from '../coverage.ts';
import { admissionCalls, randomDeviations } from '../mutators/admissions.ts';
import { bounded, MOST_OPERATIONS, mutateOperations, NO_ANSWER, randomOperation } from '../mutators/calls.ts';
import { typedProgram } from '../mutators/typed-programs.ts';
import { AdmissionWitness } from '../oracles/admission.ts';
import { arm, compareResources, resourcesOf, type Fault } from '../oracles/resources.ts';
import type { Random } from '../random.ts';
import { withoutParts } from '../shrink.ts';
import type { Finding, Target, TargetEnvironment } from '../types.ts';
import { makeKeyrings, SpareSpace } from './kernels.ts';
import { createSigner, type FuzzSigner } from './signer.ts';

/** A sequence, and an event that fails in it. */
export interface CallSequence {
  readonly operations: readonly Operation[];
  readonly fault: Fault | undefined;
}

const MEMORY_LIMIT = 64 << 20;
const MOST_FAULTS = 64;
const FILE = 'input';

/** A fault at a random event. */
export function randomFault(random: Random): Fault {
  return { kind: random.pick(['call', 'memory', 'fd'] as const), k: 1 + random.below(random.oneIn(3) ? MOST_FAULTS : 12) };
}

/** The certificate of our signer, as keyrings have it. */
export function signerCertificate(signer: FuzzSigner): Certificate {
  const certificate = parseCertificate(signer.certificate, { algorithms: DISTRIBUTION_ALGORITHMS });
  if (isRefusal(certificate)) throw new InternalError(`the fuzzing signer's certificate is refused: ${certificate.reason}`);
  return certificate;
}

/** FNV-1a of a text without its numbers, decimal and hexadecimal. */
export function textID(text: string): number {
  let h = 0x811c9dc5;
  for (const char of text.replace(/\b0x[0-9a-f]+|\d+/gi, '0')) h = Math.imul(h ^ char.charCodeAt(0), 0x01000193);
  return h >>> 0;
}

class SyscallsTarget implements Target<CallSequence> {
  readonly name = 'syscalls';
  readonly batchRuns = 64;
  readonly #coverage: Coverage;
  readonly #options: KernelOptions;
  readonly #spare: SpareSpace = new SpareSpace(MEMORY_LIMIT);
  readonly #signer: FuzzSigner = createSigner('fuzz');
  readonly #certificates: readonly Certificate[];

  constructor({ coverage, kernelBTF }: TargetEnvironment) {
    this.#coverage = coverage;
    this.#options = kernelBTF === undefined ? {} : { kernelBTF };
    this.#certificates = [signerCertificate(this.#signer)];
  }

  seeds(): readonly CallSequence[] {
    return [];
  }

  generate(random: Random): CallSequence {
    const operations = random.oneIn(2)
      ? admissionCalls(randomDeviations(random), random, this.#signer)
      : random.oneIn(4) ? typedProgram(random) : Array.from({ length: 2 + random.below(12) }, () => randomOperation(random));
    return { operations: operations.map(bounded), fault: random.oneIn(3) ? randomFault(random) : undefined };
  }

  mutate(input: CallSequence, random: Random, other: CallSequence | undefined): CallSequence {
    if (random.oneIn(6)) return { ...input, fault: random.oneIn(3) ? undefined : randomFault(random) };
    if (random.oneIn(12)) return { ...input, operations: [...input.operations, ...admissionCalls(randomDeviations(random), random, this.#signer)].slice(-MOST_OPERATIONS) };
    if (random.oneIn(24)) return { ...input, operations: [...input.operations, ...typedProgram(random)].slice(-MOST_OPERATIONS).map(bounded) };
    let { operations } = input;
    for (let n = 1 + (random.oneIn(3) ? random.below(6) : 0); n > 0; n--) operations = mutateOperations(operations, random, other?.operations);
    return { ...input, operations };
  }

  execute({ operations, fault }: CallSequence): Finding | undefined {
    const target = new KernelTarget({ ...this.#options, space: this.#spare.take() });
    const { kernel } = target;
    makeKeyrings(kernel);
    const before = resourcesOf(kernel);
    const witness = new AdmissionWitness(kernel, this.#certificates);
    const performer = new Performer(target);
    if (fault !== undefined) kernel.injectFaults(arm(fault).injector);
    let previous = 0;
    for (const operation of operations) {
      const { ret, errno, log } = performer.perform(operation);
      if (errno !== 0 && errnoName(errno).startsWith('E?')) {
        return { oracle: 'errors', trace: `${nameOf(operation)} errno`, message: `${nameOf(operation)} answered with error number ${errno}, which no kernel has` };
      }
      const step = combine(textID(nameOf(operation)), errno, ret === 'fd' ? 1 : 0, log === undefined ? 0 : textID(lastMessage(log)));
      this.#coverage.hit(step);
      this.#coverage.hit(combine(previous, step));
      previous = step;
      if (witness.finding !== undefined) return witness.finding;
    }
    const exclusive = witness.checkExclusive();
    kernel.injectFaults(undefined);
    performer.reset();
    performer.release();
    return exclusive ?? compareResources(before, resourcesOf(kernel));
  }

  serialise({ operations, fault }: CallSequence): Uint8Array {
    const head = JSON.stringify({ case: 'fuzz', suite: 'fuzz', mode: 'priv', ...(fault === undefined ? {} : { fault }) });
    return new TextEncoder().encode([head, ...operations.map((operation) => writeOperation(operation, NO_ANSWER))].join('\n'));
  }

  deserialise(bytes: Uint8Array): CallSequence {
    const [head = '', ...lines] = new TextDecoder().decode(bytes).split('\n');
    const reader = new TranscriptReader(FILE);
    if (reader.read(head)?.kind !== 'case') throw new InputError(FILE, 'line 1', 'a case expected');
    const operations = lines.flatMap((line): Operation[] => {
      const read = reader.read(line);
      return read?.kind === 'operation' ? [bounded(read.value)] : [];
    });
    return { operations, fault: readFault((JSON.parse(head) as { fault?: unknown }).fault) };
  }

  *shrink({ operations, fault }: CallSequence): Iterable<CallSequence> {
    if (fault !== undefined) yield { operations, fault: undefined };
    for (const fewer of withoutParts(operations)) yield { operations: fewer, fault };
    if (fault !== undefined) for (let k = 1; k < fault.k; k++) yield { operations, fault: { ...fault, k } };
    for (const [i, operation] of operations.entries()) {
      for (const simpler of simplerOperations(operation)) yield { operations: operations.with(i, simpler), fault };
    }
  }

  size({ operations, fault }: CallSequence): number {
    return operations.reduce((sum, operation) => sum + 64 + (operation.op === 'bpf' ? weight(operation) : 0), fault?.k ?? 0);
  }

  toTranscript({ operations, fault }: CallSequence): string | undefined {
    return fault === undefined ? `${new TextDecoder().decode(this.serialise({ operations, fault }))}\n` : undefined;
  }

  toAssembly({ operations, fault }: CallSequence): string {
    const lines = operations.map((operation) => writeOperation(operation, NO_ANSWER).replace(/,"want".*$/, '}'));
    return [...(fault === undefined ? [] : [`the ${fault.k}. ${fault.kind} fails`]), ...lines, ''].join('\n');
  }
}

function nameOf(operation: Operation): string {
  return operation.op === 'bpf' ? operation.name : operation.op;
}

function weight(call: Operation & { op: 'bpf' }): number {
  const nonZero = call.attr.reduce((sum, byte) => sum + (byte === 0 ? 0 : 1), 0);
  return nonZero + call.inputs.reduce((sum, { bytes }) => sum + bytes.length, 0) + call.outputs.length + call.fds.length + call.nestedFDs.length;
}

function* simplerOperations(operation: Operation): Generator<Operation> {
  if (operation.op !== 'bpf') return;
  for (let at = 0; at + 4 <= operation.attr.length; at += 4) {
    if (operation.attr.subarray(at, at + 4).every((byte) => byte === 0)) continue;
    yield { ...operation, attr: operation.attr.slice().fill(0, at, at + 4) };
  }
  for (const [i, input] of operation.inputs.entries()) {
    const nestedFDs = operation.nestedFDs.filter(({ offset }) => offset !== input.offset);
    yield { ...operation, inputs: operation.inputs.toSpliced(i, 1), nestedFDs };
  }
  for (let i = 0; i < operation.outputs.length; i++) yield { ...operation, outputs: operation.outputs.toSpliced(i, 1) };
  for (let i = 0; i < operation.fds.length; i++) yield { ...operation, fds: operation.fds.toSpliced(i, 1) };
}

/** A fault as inputs on disk have it. */
export function readFault(value: unknown): Fault | undefined {
  if (value === undefined) return undefined;
  const { kind, k } = value as { kind?: unknown; k?: unknown };
  if ((kind !== 'call' && kind !== 'memory' && kind !== 'fd') || typeof k !== 'number' || !Number.isInteger(k) || k < 1) {
    throw new InputError(FILE, 'fault', 'kind and k expected');
  }
  return { kind, k };
}

/** Makes the target `syscalls`. */
export function createTarget(environment: TargetEnvironment): Target<CallSequence> {
  return new SyscallsTarget(environment);
}
