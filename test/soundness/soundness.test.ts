/**
 * Soundness: whatever a program does, the verifier foresaw it. Of random programs that are accepted, every register and every byte of
 * stack at every step of every run lies in a state that the verifier had at that instruction. `BPFTWIN_SOUNDNESS_SEEDS=N` tries N
 * programs instead of the default, `BPFTWIN_SOUNDNESS_FIRST=S` begins with another.
 */
import { describe, expect, test } from 'vitest';
import { BPF_PROG_TYPE_SYSCALL } from '../../isa/uapi.ts';
import { StateRecorder } from '../../src/fuzz/oracles/soundness.ts';
import { SCALAR_VALUE } from '../../verifier/regtypes.ts';
import { REG_SCALAR, REG_TYPE, regAt } from '../../verifier/state.ts';
import type { ProgramLoad, StateObserver, VerifiedProgram } from '../../verifier/types.ts';
import { verify } from '../../verifier/verify.ts';
import { AddressSpace, KERNEL_HI } from '../../vm/address-space.ts';
import { Machine } from '../../vm/machine.ts';
import type { RegisterFile } from '../../vm/types.ts';
import { CONTEXT_SIZE, Random, randomProgram } from './programs.ts';

const SEEDS = Number(process.env['BPFTWIN_SOUNDNESS_SEEDS'] ?? 150);
const FIRST = Number(process.env['BPFTWIN_SOUNDNESS_FIRST'] ?? 1);
const RUNS = 6;
const REASONS = 11;
/** Room for the states of one program. */
const MOST_WORDS = 1 << 23;

const EMPTY = { count: 0, recordSize: 0, isNull: true, read: () => undefined };

function load(instructions: Uint8Array): ProgramLoad {
  return {
    type: BPF_PROG_TYPE_SYSCALL, expectedAttachType: 0, flags: 0x10, name: 'random', license: 'GPL', gplCompatible: true, kernelVersion: 0, ifindex: 0,
    instructions, attachBTFID: 0, attachBTF: undefined, attachProgram: undefined, btfFD: 0, funcInfo: EMPTY, lineInfo: EMPTY, coreRelos: EMPTY,
    fdArray: { present: false, count: 0, read: () => undefined }, signature: undefined, log: { level: 0, size: 0, present: false },
    capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true },
  };
}

function check(instructions: Uint8Array, observer: StateObserver | undefined): VerifiedProgram | undefined {
  return verify(load(instructions), {
    resolveFD: () => -9, kernelBTF: () => undefined, kernelSymbol: () => undefined, onProgramLoad: () => 0, random: () => 0, now: () => 0, profile: '7.3',
    resolveKeyring: () => undefined, verifySignature: () => -1, observer,
  }).program;
}

/** Runs the program on random contexts; gives the number of steps that were held against states. */
function holds(program: VerifiedProgram, recorder: StateRecorder | undefined, random: Random, label: string): number {
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const machine = new Machine({ space, helpers: [] });
  const context = space.alloc(CONTEXT_SIZE, 'context', 16);
  const prepared = machine.load({ name: label, instructions: program.instructions, subprograms: program.subprograms, stackDepths: program.stackDepths, verified: true });
  let steps = 0;
  let wrong = '';
  const trace = (_: unknown, pc: number, registers: RegisterFile): void => {
    steps++;
    if (recorder === undefined || wrong !== '' || recorder.foresaw(pc, registers, context, space.u8)) return;
    const { reasons } = recorder.explain(pc, registers, context, space.u8, REASONS);
    wrong = `${label}, instruction ${pc}: ${reasons.join(' | ')}`;
  };
  for (let run = 0; run < RUNS; run++) {
    const bytes = Uint8Array.from({ length: CONTEXT_SIZE }, () => random.pick([0, 0, 0xff, 0x7f, 0x80, 1, random.below(256)]));
    space.setBytes(context, bytes);
    const result = machine.run(prepared, context, KERNEL_HI, { mode: 'checked', trace });
    expect(result.fault, label).toBeUndefined();
  }
  expect(wrong).toBe('');
  return steps;
}

describe('the verifier foresees', () => {
  test(`every value of ${SEEDS} random programs`, () => {
    const recorder = new StateRecorder(true, MOST_WORDS);
    let accepted = 0;
    let steps = 0;
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const random = new Random(seed);
      const instructions = randomProgram(random);
      recorder.begin(instructions.length / 8);
      const program = check(instructions, recorder);
      if (program === undefined) continue;
      accepted++;
      expect(recorder.overflowed).toBe(false);
      steps += holds(program, recorder, random, `seed ${seed}`);
    }
    expect(accepted).toBeGreaterThan(SEEDS / 2);
    expect(steps).toBeGreaterThan(accepted * RUNS);
  });

  test('what it accepts after leaving out paths that lead to nothing new', () => {
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const random = new Random(seed);
      const instructions = randomProgram(random);
      const all = check(instructions, { everyPath: true, visit: () => undefined });
      const pruned = check(instructions, undefined);
      expect(pruned === undefined, `seed ${seed}`).toBe(all === undefined);
      if (pruned !== undefined) holds(pruned, undefined, random, `seed ${seed}`);
    }
  });

  test('a value that no state allows is found', () => {
    const random = new Random(7);
    const instructions = randomProgram(random);
    const recorder = new StateRecorder();
    recorder.begin(instructions.length / 8);
    const program = check(instructions, recorder)!;
    recorder.forEach((words, frame) => {
      const at = regAt(frame, 7);
      if (words[at + REG_TYPE] === SCALAR_VALUE) words.set([0x1234, 0, 0, 0, 0x1234, 0, 0, 0, 0x1234, 0], at + REG_SCALAR);
    });
    expect(() => holds(program, recorder, random, 'changed')).toThrow(/instruction \d+: /);
  });
});
