import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { currentProvider, setProvider, type CryptoProvider } from '../../../crypto/provider.ts';
import { ProgramAdmission, SkeletonAdmission } from '../../../src/bench/admission.ts';
import { countCalls } from '../../../src/bench/counters.ts';
import { createSigner, KEY_NAMES, type KeyName, type Signer } from '../../../src/bench/keys.ts';
import { comparePairs, condense, measure, warmUp, type Instruments } from '../../../src/bench/measure.ts';
import { createPayload } from '../../../src/bench/payload.ts';
import { PhaseClock } from '../../../src/bench/phases.ts';
import { branchProgram, loopProgram, straightProgram } from '../../../src/bench/programs.ts';
import { answerQuestions, Bench, generatedPrograms, PLANS, type SweepName } from '../../../src/bench/sweep.ts';
import { countingProvider } from '../../../src/bench/counters.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { createNodeProvider } from '../../../src/node/native-crypto.ts';
import { encodePKCS8, readPrivateKey, type RSAPrivateKey } from '../../../crypto/private-key.ts';
import { fixturePath } from '../loader/fixtures.ts';

const kernelBTF = (): Uint8Array => loadKernelBTF();
const payload = (): Uint8Array => new Uint8Array(readFileSync(new URL('../../../assets/payload.bpf.o', import.meta.url)));
/** The fixtures' key stands for RSA keys of any length: making one takes seconds. */
const rsaKey = (): Uint8Array => encodePKCS8(readPrivateKey(new Uint8Array(readFileSync(fixturePath('keys/rsa2048.pem'))), 'rsa2048.pem') as RSAPrivateKey);
const signerOf = (name: KeyName): Signer => createSigner(name, rsaKey);
const clock = new PhaseClock(() => 0);

/** Instruments whose clock ticks at every look and that sample four times. */
function instruments(): Instruments {
  let ticks = 0;
  const tick = (): number => (ticks += 1) / 1000, plain = createNodeProvider();
  return {
    now: tick, used: tick, memory: () => ({ allocated: 7, peak: 5 }),
    sample: (_name, work) => {
      for (let i = 0; i < 4; i++) work();
    },
    usePrimitives: ({ phases, onHash }) => {
      const provider = phases === undefined ? plain : createNodeProvider(phases);
      setProvider(onHash === undefined ? provider : countingProvider(provider, onHash));
    },
  };
}

// Primitives are the process's: every test leaves those that it found.
let before: CryptoProvider | undefined;
beforeEach(() => {
  before = currentProvider();
});
afterEach(() => setProvider(before));

describe('programs of any size', () => {
  it.each([3, 10, 1_000])('straight code of %d instructions', (count) => {
    expect(straightProgram(count).length / 8).toBe(count);
    const { processed, instructions } = countCalls(new ProgramAdmission({ instructions: straightProgram(count), maps: [], signature: undefined }, { clock, phases: undefined }).observe());
    expect({ processed, instructions }).toEqual({ processed: count, instructions: count });
  });

  it('loops take two processed instructions a turn, branches make states', () => {
    const work = (instructions: Uint8Array): ReturnType<typeof countCalls> => countCalls(new ProgramAdmission({ instructions, maps: [], signature: undefined }, { clock, phases: undefined }).observe());
    expect(work(loopProgram(499)).processed).toBe(1001);
    expect(work(branchProgram(40)).states).toBeGreaterThan(4 * work(branchProgram(10)).states);
  });
});

describe('signers', () => {
  it.each(KEY_NAMES.filter((name) => !name.startsWith('RSA-') || name === 'RSA-2048'))('%s: the kernel takes key and signature over instructions and maps', (name) => {
    const signer = signerOf(name), instructions = straightProgram(3), maps = [new Uint8Array(64).fill(1), new Uint8Array(32).fill(2)];
    const options = { clock, phases: undefined, certificates: [signer.certificate] };
    new ProgramAdmission({ instructions, maps, signature: signer.sign([instructions, ...maps]) }, options).perform();
    const wrong = new ProgramAdmission({ instructions, maps: [...maps].reverse(), signature: signer.sign([instructions, ...maps]) }, options);
    expect(() => wrong.perform()).toThrow('EKEYREJECTED');
  });
});

describe('payloads', () => {
  it.each([['7.3', 1], ['7.3', 3], ['6.18', 1], ['6.18', 3]] as const)('for %s with %d programs load', (contract, programs) => {
    const signer = signerOf('ECDSA P-256'), skeleton = createPayload(payload(), { programs, contract, signer });
    const calls = new SkeletonAdmission(skeleton, { clock, phases: undefined, contract, kernelBTF, certificates: [signer.certificate] }).observe();
    expect(calls.filter(({ name, fromProgram, result }) => name === 'PROG_LOAD' && fromProgram && result >= 0)).toHaveLength(programs);
  });

  it('of the older contract have a longer loader', () => {
    const [old, current] = (['6.18', '7.3'] as const).map((contract) => createPayload(payload(), { programs: 1, contract, signer: signerOf('ECDSA P-256') }).instructions.length);
    expect(old).toBeGreaterThan(current ?? Infinity);
  });
});

describe('measurements', () => {
  it('condense long runs into medians of consecutive parts', () => {
    expect(condense([1, 2, 3], 5)).toEqual([1, 2, 3]);
    expect(condense([1, 9, 1, 4, 5, 4], 2)).toEqual([1, 4]);
  });

  it('warm up until it does not get faster, and no longer than they may', () => {
    let time = 0, cost = 1, calls = 0;
    const made = { ...instruments(), used: () => time };
    warmUp(made, () => {
      calls++;
      time += cost;
      cost = Math.max(0.1, cost / 2);
    }, 100);
    expect(cost).toBe(0.1);
    expect(calls).toBeLessThan(30);
    const began = time;
    warmUp(made, () => void (time += 1), 3);
    expect(time - began).toBeLessThanOrEqual(4);
  });

  it('count the same work whatever the clock says', () => {
    const signer = signerOf('ECDSA P-256'), instructions = straightProgram(10), maps = [new Uint8Array(4096)], made = instruments(), ticking = new PhaseClock(() => made.now());
    made.usePrimitives({});
    const subject = new ProgramAdmission({ instructions, maps, signature: signer.sign([instructions, ...maps]) }, { clock: ticking, phases: ticking, certificates: [signer.certificate] });
    const { counters, samples, phases, memory, seconds } = measure(made, 'ten', 10, subject, ticking, { seconds: 0, least: 1, warm: 0.1 });
    // Digest of the instructions; of instructions and map for the signature.
    expect(counters).toEqual({ instructions: 10, processed: 10, states: 0, peakStates: 0, systemCalls: 1, bytesHashed: 80 + 80 + 4096, digests: 2 });
    expect(samples).toHaveLength(4);
    expect(memory).toEqual({ allocated: 7, peak: 5 });
    expect(phases.hashing).toBeGreaterThan(0);
    expect(Object.values(phases).reduce((sum, value) => sum + value, 0)).toBeCloseTo(seconds.value, 9);
  });

  it('compare in alternating order', () => {
    const order: string[] = [], made = instruments(), contender = (name: string, whole: number): Parameters<typeof comparePairs>[1] => ({
      phases: undefined, perform: () => {
        order.push(name);
        return { whole, disturbance: 1, own: new Float64Array(0), payload: new Float64Array(0) };
      },
    });
    const { ratio } = comparePairs(made, contender('a', 1), contender('b', 1.5), { seconds: 0, least: 4, warm: 0 });
    expect(ratio).toEqual({ value: 1.5, low: 1.5, high: 1.5 });
    expect(order.slice(-8).join('')).toBe('abbaabba');
  });
});

describe('sweeps', () => {
  const laboratory = (): ConstructorParameters<typeof Bench>[0] => ({ instruments: instruments(), kernelBTF, rsaKey, payload: payload(), effort: { seconds: 0, least: 1, warm: 0 }, quick: true });
  const plan = (name: SweepName): (typeof PLANS)[number] => PLANS.find((candidate) => candidate.name === name)!;

  it('count the work of every size exactly', () => {
    const counts = new Bench(laboratory()).count(plan('maps'));
    expect(counts.map(({ name, counters: { bytesHashed } }) => [name, bytesHashed])).toEqual([1, 8, 64].map((maps) => [`${maps} map${maps === 1 ? '' : 's'}`, 2 * 24 + maps * 4096]));
  });

  it('say how a part grows', () => {
    const rows = [1_000, 4_000, 16_000, 64_000, 256_000].map((size) => ({
      name: String(size), size, seconds: { value: size / 1e6, low: size / 1e6, high: size / 1e6 }, samples: [], payload: {}, memory: null,
      phases: { hashing: size / 2e6, folding: size / 4e6, signature: 1e-3 }, counters: { instructions: 3, processed: 3, states: 0, peakStates: 0, bytesHashed: size, digests: 2, systemCalls: 1 },
    }));
    const answers = answerQuestions(plan('metadata'), { name: 'metadata', rows, contract: [] });
    expect(answers['hashing and folding']?.growth.exponent.value).toBeCloseTo(1, 2);
    expect(answers['signature']?.growth.exponent.value).toBeCloseTo(0, 2);
  });

  it('give every program a name of its own, under which its work on Linux is recorded', () => {
    const names = generatedPrograms().map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});
