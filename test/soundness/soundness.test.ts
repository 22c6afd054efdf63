/**
 * Soundness: whatever a program does, the verifier foresaw it. Of random programs that are accepted, every register and every byte of
 * stack at every step of every run lies in a state that the verifier had at that instruction. `BPFTWIN_SOUNDNESS_SEEDS=N` tries N
 * programs instead of the default, `BPFTWIN_SOUNDNESS_FIRST=S` begins with another.
 */
import { describe, expect, test } from 'vitest';
import { BPF_PROG_TYPE_SYSCALL } from '../../isa/uapi.ts';
import { PTR_TO_CTX, PTR_TO_STACK, SCALAR_VALUE } from '../../verifier/regtypes.ts';
import {
  F_ALLOCATED_STACK, F_FRAMENO, F_STACK, REG_A, REG_SCALAR, REG_TYPE, SLOT_TYPES, SLOT_WORDS, STACK_SPILL, STACK_ZERO, regAt,
} from '../../verifier/state.ts';
import type { ProgramLoad, StateObserver, VerifiedProgram } from '../../verifier/types.ts';
import { verify } from '../../verifier/verify.ts';
import { AddressSpace, KERNEL_HI } from '../../vm/address-space.ts';
import { Machine } from '../../vm/machine.ts';
import type { RegisterFile } from '../../vm/types.ts';
import { inScalar } from '../unit/verifier/scalar-support.ts';
import { CONTEXT_SIZE, Random, randomProgram } from './programs.ts';

const SEEDS = Number(process.env['BPFTWIN_SOUNDNESS_SEEDS'] ?? 150);
const FIRST = Number(process.env['BPFTWIN_SOUNDNESS_FIRST'] ?? 1);
const RUNS = 6;
const REASONS = 11;

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

/** A frame as the verifier knew it, on its own. */
interface State {
  readonly words: Int32Array;
  readonly slots: number;
}

/** Collects the states at each instruction. */
class Recorder implements StateObserver {
  readonly everyPath: boolean;
  readonly states: Map<number, State[]> = new Map();

  constructor(everyPath: boolean) {
    this.everyPath = everyPath;
  }

  visit(insn: number, words: Int32Array, frame: number): void {
    const slots = words[frame + F_ALLOCATED_STACK]! / 8;
    const list = this.states.get(insn) ?? [];
    list.push({ words: words.slice(frame, frame + F_STACK + slots * SLOT_WORDS), slots });
    this.states.set(insn, list);
  }
}

const word = (registers: RegisterFile, n: number): bigint => (BigInt(registers[2 * n + 1]! >>> 0) << 32n) | BigInt(registers[2 * n]! >>> 0);
const MASK = (1n << 64n) - 1n;

/** What of a concrete frame a state does not allow; "" for nothing. */
function outside(state: State, registers: RegisterFile, context: bigint, byteAt: (offset: number) => number): string {
  const { words } = state;
  const r10 = word(registers, 10);
  for (let reg = 0; reg < 10; reg++) {
    const at = regAt(0, reg);
    const value = word(registers, reg);
    const type = words[at + REG_TYPE]!;
    const isHere = type === PTR_TO_STACK && words[at + REG_A] === words[F_FRAMENO];
    const relative = type === SCALAR_VALUE ? value : type === PTR_TO_CTX ? (value - context) & MASK : isHere ? (value - r10) & MASK : undefined;
    if (relative !== undefined && !inScalar(words, at + REG_SCALAR, relative)) return `r${reg} = ${value.toString(16)}`;
  }
  for (let slot = 0; slot < state.slots; slot++) {
    const at = F_STACK + slot * SLOT_WORDS;
    const types = Array.from({ length: 8 }, (_, k) => (words[at + SLOT_TYPES + (k >> 2)]! >> (8 * (k & 3))) & 0xff);
    const byteOf = (k: number): number => byteAt(-8 * slot - 1 - k);
    if (types.some((type, k) => type === STACK_ZERO && byteOf(k) !== 0)) return `fp${-8 * (slot + 1)} is not zero`;
    if (types.some((type) => type !== STACK_SPILL) || words[at + REG_TYPE] !== SCALAR_VALUE) continue;
    let value = 0n;
    for (let k = 0; k < 8; k++) value = (value << 8n) | BigInt(byteOf(k));
    if (!inScalar(words, at + REG_SCALAR, value)) return `fp${-8 * (slot + 1)} = ${value.toString(16)}`;
  }
  return '';
}

/** Runs the program on random contexts; gives the number of steps that were held against states. */
function holds(program: VerifiedProgram, states: ReadonlyMap<number, readonly State[]> | undefined, random: Random, label: string): number {
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const machine = new Machine({ space, helpers: [] });
  const context = space.alloc(CONTEXT_SIZE, 'context', 16);
  const address = (BigInt(KERNEL_HI >>> 0) << 32n) | BigInt(context >>> 0);
  const prepared = machine.load({ name: label, instructions: program.instructions, subprograms: program.subprograms, stackDepths: program.stackDepths, verified: true });
  let steps = 0;
  let wrong = '';
  const trace = (_: unknown, pc: number, registers: RegisterFile): void => {
    steps++;
    if (states === undefined || wrong !== '') return;
    const byteAt = (offset: number): number => space.getBytes((registers[20]! + offset) >>> 0, 1)[0]!;
    const known = states.get(pc) ?? [];
    const reasons = known.map((state) => outside(state, registers, address, byteAt));
    if (!reasons.includes('')) wrong = `${label}, instruction ${pc}: ${reasons.slice(0, REASONS).join(' | ') || 'never visited'}`;
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
    let accepted = 0;
    let steps = 0;
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const random = new Random(seed);
      const instructions = randomProgram(random);
      const recorder = new Recorder(true);
      const program = check(instructions, recorder);
      if (program === undefined) continue;
      accepted++;
      steps += holds(program, recorder.states, random, `seed ${seed}`);
    }
    expect(accepted).toBeGreaterThan(SEEDS / 2);
    expect(steps).toBeGreaterThan(accepted * RUNS);
  });

  test('what it accepts after leaving out paths that lead to nothing new', () => {
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const random = new Random(seed);
      const instructions = randomProgram(random);
      const all = check(instructions, new Recorder(true));
      const pruned = check(instructions, undefined);
      expect(pruned === undefined, `seed ${seed}`).toBe(all === undefined);
      if (pruned !== undefined) holds(pruned, undefined, random, `seed ${seed}`);
    }
  });

  test('a value that no state allows is found', () => {
    const random = new Random(7);
    const instructions = randomProgram(random);
    const recorder = new Recorder(true);
    const program = check(instructions, recorder)!;
    for (const list of recorder.states.values()) {
      for (const { words } of list) {
        const at = regAt(0, 7) + REG_SCALAR;
        if (words[regAt(0, 7) + REG_TYPE] === SCALAR_VALUE) words.set([0x1234, 0, 0, 0, 0x1234, 0, 0, 0, 0x1234, 0], at);
      }
    }
    expect(() => holds(program, recorder.states, random, 'changed')).toThrow(/instruction \d+: /);
  });
});
