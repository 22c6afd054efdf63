/**
 * @module src/bench/sweep
 * The measurements of `bpftwin bench`: one admission by phase, and sweeps over sizes, keys, payloads and contracts. Owns what is varied and
 * which growth is looked for; measuring is `measure.ts`.
 */
import type { Phase, Phases } from '../../isa/phases.ts';
import { ProgramAdmission, SkeletonAdmission, type Admission, type Contract } from './admission.ts';
import { createSigner, KEY_NAMES, type KeyName, type RSAKeySource, type Signer } from './keys.ts';
import { comparePairs, countWork, measure, type Effort, type Instruments, type Measurement, type Pairing } from './measure.ts';
import { createPayload } from './payload.ts';
import { PhaseClock, type PhaseTimes } from './phases.ts';
import { branchProgram, loopProgram, straightProgram } from './programs.ts';
import { fitGrowth, type Growth, type Point } from './statistics.ts';
import { countCalls, type Counters } from './counters.ts';

/** Names of the sweeps, in the order in which they are done. */
export const SWEEPS = ['instructions', 'metadata', 'maps', 'keys', 'payload', 'loops', 'branches', 'contract'] as const;
export type SweepName = (typeof SWEEPS)[number];

/** A line of growth to be fitted: which phases, over what. */
export interface GrowthQuestion {
  readonly name: string;
  readonly phases: readonly Phase[];
  readonly over: 'size' | 'processed' | 'bytesHashed';
  /** In words, for people. */
  readonly of: string;
  readonly expected: number;
  readonly model: 'above a constant' | 'straight';
}

/** What a sweep varies. */
export interface SweepPlan {
  readonly name: SweepName;
  readonly title: string;
  /** One sentence for newcomers. */
  readonly explanation: string;
  /** What `size` counts; `key` for names. */
  readonly unit: 'instructions' | 'bytes' | 'maps' | 'key' | 'programs';
  readonly sizes: readonly number[];
  readonly quickSizes: readonly number[];
  readonly questions: readonly GrowthQuestion[];
}

const MIB = 1 << 20, KIB = 1 << 10;
/** A signature covers just under 16 MiB, the instructions included. */
const LARGEST = 16 * MIB - 4 * KIB;

const verification = (name: string): GrowthQuestion => ({
  name, phases: ['main verification'], over: 'processed', of: 'main verification over processed instructions', expected: 1, model: 'above a constant',
});

/** Every sweep. */
export const PLANS: readonly SweepPlan[] = [
  {
    name: 'instructions', title: 'Instructions', unit: 'instructions', sizes: [10, 100, 1_000, 10_000, 100_000, 1_000_000], quickSizes: [10, 1_000, 100_000],
    explanation: 'One signed program of straight code without maps; every instruction is hashed and verified once.',
    questions: [
      verification('verification of straight code'),
      { name: 'digest', phases: ['digest'], over: 'size', of: 'digest over instructions', expected: 1, model: 'above a constant' },
    ],
  },
  {
    name: 'metadata', title: 'Metadata', unit: 'bytes', sizes: [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, LARGEST], quickSizes: [4 * KIB, 64 * KIB, MIB],
    explanation: 'A program of two instructions whose signature covers one frozen map of this size.',
    questions: [
      { name: 'hashing and folding', phases: ['folding', 'hashing'], over: 'size', of: 'hashing and folding over bytes of metadata', expected: 1, model: 'above a constant' },
      { name: 'signature', phases: ['signature'], over: 'size', of: 'signature, hashing apart, over bytes of metadata', expected: 0, model: 'straight' },
    ],
  },
  {
    name: 'maps', title: 'Folded maps', unit: 'maps', sizes: [1, 2, 4, 8, 16, 32, 64], quickSizes: [1, 8, 64],
    explanation: 'The signature covers this many frozen maps of 4 KiB each.',
    questions: [{ name: 'binding and folding of maps', phases: ['fd_array', 'folding', 'hashing'], over: 'size', of: 'fd_array, folding and hashing over maps', expected: 1, model: 'above a constant' }],
  },
  {
    name: 'keys', title: 'Kinds of keys', unit: 'key', sizes: KEY_NAMES.map((_, i) => i), quickSizes: [0, 3, 7],
    explanation: 'The same program and 64 KiB of metadata, signed by each kind of key that Linux takes.', questions: [],
  },
  {
    name: 'payload', title: 'Programs in the payload', unit: 'programs', sizes: [1, 2, 4, 8, 16, 32], quickSizes: [1, 8, 32],
    explanation: 'A signed light skeleton from end to end: its loader is admitted, runs, and has this many programs admitted.',
    questions: [],
  },
  {
    name: 'loops', title: 'Loops', unit: 'instructions', sizes: [49, 499, 4_999, 49_999, 490_000], quickSizes: [49, 4_999],
    explanation: 'A loop of five instructions; the verifier follows each of its turns (the size).', questions: [verification('verification of loops')],
  },
  {
    name: 'branches', title: 'Branches', unit: 'instructions', sizes: [8, 26, 82, 258, 810], quickSizes: [8, 82],
    explanation: 'A chain of branches on one unknown value; each side knows another value of it, so states pile up.', questions: [verification('verification of branches')],
  },
  {
    name: 'contract', title: 'Contract: who checks the metadata', unit: 'programs', sizes: [1, 8, 32], quickSizes: [8],
    explanation: 'The same object signed for 6.18, whose loader checks its own metadata, and for 7.3, whose kernel does; in alternating pairs.', questions: [],
  },
];

/** One row of the contract's sweep: the same object under both contracts. */
export interface ContractRow {
  readonly name: string;
  readonly size: number;
  /** `first` is 6.18, `second` 7.3, `ratio` 7.3 over 6.18. */
  readonly times: Pairing;
  readonly before: { readonly phases: PhaseTimes; readonly counters: Counters };
  readonly after: { readonly phases: PhaseTimes; readonly counters: Counters };
}

/** A finished sweep. */
export interface Sweep {
  readonly name: SweepName;
  readonly rows: readonly Measurement[];
  readonly contract: readonly ContractRow[];
}

/** A fitted line of growth. */
export interface GrowthAnswer extends Omit<GrowthQuestion, 'name'> {
  readonly sweep: SweepName;
  readonly growth: Growth;
  readonly points: readonly Point[];
}

/** One admission in full. */
export interface PhaseReport extends Measurement {
  /** Without anyone listening (`first`) and with marks (`second`), in pairs. */
  readonly marks: Pairing;
  /** The phases' sum, which is the whole of the marked admissions, over the whole of the unmarked ones that were measured in turn with them. */
  readonly coverage: number;
}

/** Everything that measurements need. */
export interface Laboratory {
  readonly instruments: Instruments;
  readonly kernelBTF: () => Uint8Array;
  readonly rsaKey: RSAKeySource;
  /** The object with 32 programs. */
  readonly payload: Uint8Array;
  readonly effort: Effort;
  readonly quick: boolean;
}

/** How far the work is. */
export type OnProgress = (done: number, total: number, what: string) => void;

const PAYLOAD_PROGRAMS = 8, MOST_PROGRAMS = 32;

/** The unsigned programs of the sweeps by name, for a recording of what a real kernel makes of them. */
export function generatedPrograms(sweeps: readonly SweepName[] = SWEEPS, quick = false): readonly { readonly name: string; readonly instructions: Uint8Array }[] {
  const make: Readonly<Partial<Record<SweepName, (size: number) => Uint8Array>>> = { instructions: straightProgram, loops: loopProgram, branches: branchProgram };
  return PLANS.flatMap((plan) => {
    const program = sweeps.includes(plan.name) ? make[plan.name] : undefined;
    return program === undefined ? [] : (quick ? plan.quickSizes : plan.sizes).map((size) => ({ name: sizeName(plan, size), instructions: program(size) }));
  });
}

/** Does the measurements, one after the other. */
export class Bench {
  readonly #lab: Laboratory;
  readonly #clock: PhaseClock;
  readonly #signers = new Map<KeyName, Signer>();

  constructor(lab: Laboratory) {
    this.#lab = lab;
    this.#clock = new PhaseClock(() => lab.instruments.now(), () => lab.instruments.used());
  }

  /** Steps that the sweeps and the phases take, for progress. */
  static steps(sweeps: readonly SweepName[], quick: boolean): number {
    return 1 + PLANS.filter(({ name }) => sweeps.includes(name)).reduce((sum, { sizes, quickSizes }) => sum + (quick ? quickSizes : sizes).length, 0);
  }

  /** One signed light skeleton with eight programs, end to end. */
  phases(): PhaseReport {
    const { instruments, effort } = this.#lab, long = { seconds: effort.seconds * 4, least: effort.least, warm: effort.warm * 6 };
    const marked = this.#skeleton(PAYLOAD_PROGRAMS, '7.3', this.#clock), plain = this.#skeleton(PAYLOAD_PROGRAMS, '7.3', undefined);
    const measurement = measure(instruments, `light skeleton with ${PAYLOAD_PROGRAMS} programs`, PAYLOAD_PROGRAMS, marked, this.#clock, long);
    const marks = comparePairs(instruments, { phases: undefined, perform: () => plain.perform() }, { phases: this.#clock, perform: () => marked.perform() }, { ...long, least: 4 * effort.least });
    return { ...measurement, marks, coverage: marks.calm };
  }

  /** One sweep. */
  sweep(plan: SweepPlan, onStep: (what: string) => void): Sweep {
    const { quick } = this.#lab, sizes = quick ? plan.quickSizes : plan.sizes;
    if (plan.name === 'contract') {
      return { name: plan.name, rows: [], contract: sizes.map((size) => {
        onStep(`${plan.title}: ${size} programs`);
        return this.#compareContracts(size);
      }) };
    }
    return { name: plan.name, contract: [], rows: sizes.map((size) => {
      const name = sizeName(plan, size);
      onStep(`${plan.title}: ${name}`);
      return measure(this.#lab.instruments, name, size, this.#subject(plan.name, size), this.#clock, this.#lab.effort);
    }) };
  }

  /** Work alone, without times: the same everywhere. */
  count(plan: SweepPlan): readonly { readonly name: string; readonly counters: Counters }[] {
    const { instruments, quick } = this.#lab, sizes = quick ? plan.quickSizes : plan.sizes;
    if (plan.name !== 'contract') return sizes.map((size) => ({ name: sizeName(plan, size), counters: countWork(instruments, this.#subject(plan.name, size)).counters }));
    return sizes.flatMap((size) => (['6.18', '7.3'] as const).map((contract) => (
      { name: `${size} programs, ${contract}`, counters: countWork(instruments, this.#skeleton(size, contract, undefined)).counters })));
  }

  /** The verifier's work on the programs of these sweeps, by the names under which it was recorded on Linux. */
  work(sweeps: readonly SweepName[]): readonly { readonly program: string; readonly work: Pick<Counters, 'processed' | 'states' | 'peakStates'> }[] {
    const generated = generatedPrograms(sweeps, this.#lab.quick).map(({ name, instructions }) => ({ name, calls: this.#program(instructions, [], undefined, undefined).observe() }));
    const payload = sweeps.includes('payload') ? this.#skeleton(MOST_PROGRAMS, '7.3', undefined).observe() : [];
    const loads = payload.filter(({ name, fromProgram }) => name === 'PROG_LOAD' && fromProgram);
    return [...generated, ...loads.map((call) => ({ name: `payload/${String(call.args['prog_name'])}`, calls: [call] }))].map(({ name, calls }) => {
      const { processed, states, peakStates } = countCalls(calls);
      return { program: name, work: { processed, states, peakStates } };
    });
  }

  #signer(name: KeyName): Signer {
    let signer = this.#signers.get(name);
    if (signer === undefined) {
      signer = createSigner(name, this.#lab.rsaKey);
      this.#signers.set(name, signer);
    }
    return signer;
  }

  #subject(name: SweepName, size: number): Admission {
    const two = straightProgram(3), phases = this.#clock;
    switch (name) {
      case 'instructions': return this.#program(straightProgram(size), [], 'RSA-2048', phases);
      case 'metadata': return this.#program(two, [metadata(size)], 'RSA-2048', phases);
      case 'maps': return this.#program(two, Array.from({ length: size }, (_, i) => metadata(4 * KIB, i)), 'RSA-2048', phases);
      case 'keys': return this.#program(two, [metadata(64 * KIB)], KEY_NAMES[size] ?? 'RSA-2048', phases);
      case 'payload':
      case 'contract': return this.#skeleton(size, '7.3', phases);
      case 'loops': return this.#program(loopProgram(size), [], undefined, phases);
      case 'branches': return this.#program(branchProgram(size), [], undefined, phases);
    }
  }

  #program(instructions: Uint8Array, maps: readonly Uint8Array[], key: KeyName | undefined, phases: Phases | undefined): ProgramAdmission {
    this.#lab.instruments.usePrimitives({});
    const signer = key === undefined ? undefined : this.#signer(key);
    return new ProgramAdmission({ instructions, maps, signature: signer?.sign([instructions, ...maps]) }, this.#options(signer, '7.3', phases));
  }

  #skeleton(programs: number, contract: Contract, phases: Phases | undefined): SkeletonAdmission {
    this.#lab.instruments.usePrimitives({});
    const signer = this.#signer('RSA-2048');
    return new SkeletonAdmission(createPayload(this.#lab.payload, { programs, contract, signer }), this.#options(signer, contract, phases));
  }

  #options(signer: Signer | undefined, contract: Contract, phases: Phases | undefined): ConstructorParameters<typeof SkeletonAdmission>[1] {
    return { clock: this.#clock, phases, contract, kernelBTF: this.#lab.kernelBTF, certificates: signer === undefined ? [] : [signer.certificate] };
  }

  #compareContracts(programs: number): ContractRow {
    const { instruments, effort } = this.#lab, name = `${programs} program${programs === 1 ? '' : 's'}`;
    const [before, after] = (['6.18', '7.3'] as const).map((contract) => (
      measure(instruments, `${name}, ${contract}`, programs, this.#skeleton(programs, contract, this.#clock), this.#clock, { ...effort, seconds: effort.seconds / 2 })));
    const [old, current] = (['6.18', '7.3'] as const).map((contract) => this.#skeleton(programs, contract, undefined));
    const times = comparePairs(
      instruments, { phases: undefined, perform: () => old!.perform() }, { phases: undefined, perform: () => current!.perform() }, { ...effort, seconds: effort.seconds * 2 });
    return {
      name, size: programs, times,
      before: { phases: before!.phases, counters: before!.counters }, after: { phases: after!.phases, counters: after!.counters },
    };
  }
}

/** Bytes that do not repeat early, the same every time. */
function metadata(size: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0, state = seed + 1; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** `4,096` as people write it. */
export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Bytes with the unit that suits them. */
export function formatBytes(bytes: number): string {
  if (bytes < KIB) return `${Math.round(bytes)} B`;
  const [value, unit] = bytes < MIB ? [bytes / KIB, 'KiB'] : [bytes / MIB, 'MiB'];
  return `${value < 10 && !Number.isInteger(value) ? value.toFixed(1) : String(Math.round(value))} ${unit}`;
}

function sizeName({ name, unit }: SweepPlan, size: number): string {
  if (unit === 'key') return KEY_NAMES[size] ?? '';
  if (unit === 'bytes') return formatBytes(size);
  if (name === 'loops') return `${formatCount(size)} turns`;
  if (name === 'branches') return `${formatCount(size)} branches`;
  return `${formatCount(size)} ${size === 1 ? unit.slice(0, -1) : unit}`;
}

/** Fits the growth that a sweep's plan asks about. */
export function answerQuestions(plan: SweepPlan, { rows }: Sweep): Readonly<Record<string, GrowthAnswer>> {
  const answers: Record<string, GrowthAnswer> = {};
  for (const { name, ...question } of plan.questions) {
    const points = rows.map((row): Point => {
      const part = question.phases.reduce((sum, phase) => sum + (row.phases[phase] ?? 0), 0), { value, low, high } = row.seconds;
      // A part is taken to vary as much as its whole does.
      return { size: question.over === 'size' ? row.size : row.counters[question.over], seconds: { value: part, low: (part * low) / value, high: (part * high) / value } };
    });
    const growth = fitGrowth(points, question.model);
    if (growth !== undefined) answers[name] = { sweep: plan.name, ...question, growth, points };
  }
  return answers;
}
