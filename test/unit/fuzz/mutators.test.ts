/** Mutators: what they promise to keep, and that the oracles beside them see what they are for. */
import { describe, expect, it } from 'vitest';
import { DISTRIBUTION_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { concatBytes } from '../../../crypto/bytes.ts';
import { certificateKeyring, verifyDetached } from '../../../crypto/verify.ts';
import { decodeInstruction } from '../../../isa/decode.ts';
import { alu64, assemble, exit, jump, label, ldImm64, mov64 } from '../../../isa/encode.ts';
import { LD_IMM64 } from '../../../isa/instructions.ts';
import { Kernel } from '../../../kernel/kernel.ts';
import { isLoaded, loadAndRun } from '../../../loader/load-and-run.ts';
import { mutateBER, parseBER, writeBER } from '../../../src/fuzz/mutators/der.ts';
import { bytesOfSlots, mutateInstructions, randomInstruction, renameRegisters, replaceSlots, slotsOf } from '../../../src/fuzz/mutators/instructions.ts';
import { admissionCalls, randomDeviations, type Deviations } from '../../../src/fuzz/mutators/admissions.ts';
import { performOnTwin } from '../../../src/fuzz/answers.ts';
import { typedProgram } from '../../../src/fuzz/mutators/typed-programs.ts';
import { objection } from '../../../src/fuzz/oracles/signature.ts';
import { Random } from '../../../src/fuzz/random.ts';
import { createSigner } from '../../../src/fuzz/targets/signer.ts';
import { generatedSkeleton, OBJECTS } from '../../../src/fuzz/targets/skeletons.ts';
import { signerCertificate } from '../../../src/fuzz/targets/syscalls.ts';
import { KernelTarget } from '../../../src/replay/kernel-target.ts';
import { Performer } from '../../../src/replay/perform.ts';

const signer = createSigner('fuzz');

describe('programs with types of their own', () => {
  it('are taken, or refused at their types, their records, their arguments; the same for the same seed', () => {
    const verdicts = new Map<string, number>();
    for (let seed = 0; seed < 60; seed++) {
      const operations = typedProgram(new Random(seed));
      expect(typedProgram(new Random(seed))).toEqual(operations);
      const [types, program] = performOnTwin(operations, undefined);
      const verdict = types?.ret !== 'fd' ? 'types' : program?.ret === 'fd' ? 'taken' : /func_info|func info|line_info/.test(program?.log ?? '') ? 'records' : 'refused';
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    }
    expect([...verdicts.keys()].toSorted()).toEqual(['records', 'refused', 'taken', 'types']);
    expect(verdicts.get('types')).toBeLessThan(30);
  });
});

describe('programs', () => {
  const program = assemble([mov64('r1', 1), jump('jeq', 'r1', 0, 'end'), ldImm64('r2', 7n), alu64('add', 'r1', 2), label('end'), mov64('r0', 0), exit()]);

  it('keep their jumps when instructions are put in or left out', () => {
    const target = (bytes: Uint8Array): number => {
      const slots = slotsOf(bytes);
      const at = slots.findIndex(({ code }) => code === 0x15);
      return slots.findIndex(({ code, dst, imm }) => code === 0xb7 && dst === 0 && imm === 0) - at - 1 - slots[at]!.off;
    };
    expect(target(program)).toBe(0);
    expect(target(replaceSlots(program, 3, 3, slotsOf(assemble([mov64('r5', 5), mov64('r6', 6)]))))).toBe(0);
    expect(target(replaceSlots(program, 2, 4, []))).toBe(0);
    expect(target(replaceSlots(program, 0, 0, slotsOf(assemble([mov64('r5', 5)]))))).toBe(0);
  });

  it('keep both halves of a 16-byte load together', () => {
    const random = new Random(3);
    let bytes = program;
    for (let i = 0; i < 400; i++) {
      const next = mutateInstructions(bytes, random, program);
      expect(next.length % 8).toBe(0);
      bytes = next.length === 0 || next.length > 8 * 64 ? program : next;
    }
    for (let at = 0; at < 200; at++) expect(randomInstruction(random).dst).toBeLessThan(11);
  });

  it('are what they were after two renamings', () => {
    const renamed = renameRegisters(program, 1, 4);
    expect(renamed).not.toEqual(program);
    expect(renameRegisters(renamed, 1, 4)).toEqual(program);
    expect(decodeInstruction(renamed, 0).dst).toBe(4);
    expect(slotsOf(renamed).findIndex(({ code }) => code === LD_IMM64)).toBe(2);
    expect(bytesOfSlots(slotsOf(program))).toEqual(program);
  });
});

describe('messages', () => {
  const payload = Uint8Array.of(1, 2, 3), message = signer.sign([payload]);

  it('come back from their parts', () => {
    for (const bytes of [message, signer.certificate, new Uint8Array(0), Uint8Array.of(0x30, 0x80, 0, 0), Uint8Array.of(1, 2, 3, 4, 5)]) expect(writeBER(parseBER(bytes))).toEqual(bytes);
  });

  it('are accepted by the second opinion where the first accepts them, and not with another payload', () => {
    const certificate = signerCertificate(signer);
    const accepted = (bytes: Uint8Array): ReturnType<typeof verifyDetached> => verifyDetached(payload, bytes, { algorithms: DISTRIBUTION_ALGORITHMS, keyring: certificateKeyring([certificate]) });
    const random = new Random(1);
    let survivors = 0;
    for (let i = 0; i < 300; i++) {
      const verification = accepted(mutateBER(message, random, undefined));
      if (verification.errno !== 0) continue;
      survivors++;
      expect(objection(verification.message!, payload, [certificate])).toBeUndefined();
    }
    expect(survivors).toBeGreaterThan(3);
    const { message: read } = accepted(message);
    expect(objection(read!, Uint8Array.of(1, 2, 4), [certificate])).toMatch(/no signer/);
    expect(objection(read!, payload, [signerCertificate(createSigner('stranger'))])).toMatch(/no signer/);
  });
});

describe('skeletons made for fuzzing', () => {
  it.each(Object.keys(OBJECTS))('load, unsigned and signed: %s', (name) => {
    const { unsigned, signed } = generatedSkeleton(name, signer);
    for (const skeleton of [unsigned, signed]) {
      const kernel = new Kernel();
      kernel.addKey('asymmetric', 'fuzz', signer.certificate, -3);
      const outcome = loadAndRun(kernel, skeleton);
      expect(isLoaded(outcome), isLoaded(outcome) ? '' : outcome.message).toBe(true);
      expect(kernel.objects().programs).toHaveLength(OBJECTS[name]!.programs.length);
    }
    expect(signed.signature?.bytes).toEqual(signer.sign([concatBytes(signed.instructions, signed.metadata)]));
  });
});

describe('signed loads', () => {
  const NONE: Deviations = {
    maps: 2, unfrozen: -1, shared: -1, foreign: -1, several: -1, hash: -1, unsigned: -1, swapped: false, altered: -1, boundSwapped: false, unbound: false, twice: false,
    noSignature: false, noKey: false, changedProgram: false, usesMap: false,
  };
  const load = (deviations: Partial<Deviations>): number => {
    const performer = new Performer(new KernelTarget({}));
    return admissionCalls({ ...NONE, ...deviations }, new Random(4), signer).map((operation) => performer.perform(operation)).at(-1)!.errno;
  };

  it.each([
    [{}, 0], [{ unfrozen: 1 }, 1], [{ shared: 0 }, 1], [{ foreign: 1 }, 13], [{ hash: 0 }, 22], [{ several: 1 }, 524], [{ unsigned: 1 }, 129], [{ swapped: true }, 129], [{ altered: 0 }, 129],
    [{ boundSwapped: true }, 129], [{ unbound: true }, 129], [{ twice: true }, 0], [{ noKey: true }, 126], [{ changedProgram: true }, 129], [{ noSignature: true }, 13],
  ] as const)('with %j end as Linux has it', (deviations, errno) => {
    expect(load(deviations)).toBe(errno);
  });

  it('deviate mostly in one thing', () => {
    const random = new Random(2);
    const counts = Array.from({ length: 300 }, () => Object.entries(randomDeviations(random)).filter(([key, value]) => key !== 'maps' && key !== 'usesMap' && value !== -1 && value !== false).length);
    expect(counts.filter((count) => count === 0).length).toBeGreaterThan(30);
    expect(counts.filter((count) => count === 1).length).toBeGreaterThan(30);
  });
});
