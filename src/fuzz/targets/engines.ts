/**
 * @module src/fuzz/targets/engines
 * Programs that nobody verified on interpreter and compiled code: result, memory, stack, fault, budget and counts must agree. What is reached are pairs
 * of instructions that follow each other, and how the run ended.
 */
import { InputError } from '../../../isa/errors.ts';
import { disassembleProgram } from '../../../isa/disasm.ts';
import type { Program, RunOptions } from '../../../vm/types.ts';
import { Arena, generateUnverified, imageOf } from '../bytecode/unverified.ts';
import { combine, type Coverage } from '../coverage.ts';
import { bytesOfSlots, mutateInstructions, replaceSlots, slotsOf } from '../mutators/instructions.ts';
import type { Random } from '../random.ts';
import { smallerIntegers } from '../shrink.ts';
import type { Finding, Target, TargetEnvironment, TargetFactory } from '../types.ts';

interface EngineInput {
  /** Decides the budget, whether indirect jumps have declared targets and whether executions are counted. */
  readonly seed: number;
  readonly instructions: Uint8Array;
}

const MAGIC = 0xe9;
const HEADER = 8;
const MOST_SLOTS = 96;
/** Compiled modules die with the garbage only: a new machine now and then. */
const RUNS_PER_ARENA = 4000;
const BUDGET = 3000;
const END = 0x20000;

/** Of every fourth program, how often each instruction was executed is compared as well: that is other code. */
function isCounted(seed: number): boolean {
  return (seed & 3) === 0;
}

/** A third of the programs runs into its budget. */
function budgetOf(seed: number): number {
  return seed % 3 === 0 ? 1 + (seed % 97) : BUDGET;
}

class EnginesTarget implements Target<EngineInput> {
  readonly name = 'engines';
  readonly batchRuns = 64;
  readonly #coverage: Coverage;
  readonly #engines: readonly RunOptions[];
  #arena: Arena = new Arena();
  #left: number = RUNS_PER_ARENA;
  /** Code of the instruction executed last in this run. */
  #previous = 0;

  constructor({ coverage }: TargetEnvironment) {
    this.#coverage = coverage;
    const trace = (program: Program, pc: number): void => {
      const code = program.image.instructions[pc * 8]!;
      coverage.hit(combine(this.#previous, code));
      this.#previous = code;
    };
    this.#engines = [{ tier: 'interpreter', mode: 'checked', trace }, { tier: 'interpreter', mode: 'checked' }, { tier: 'baseline', mode: 'checked' }];
  }

  seeds(): readonly EngineInput[] {
    return [];
  }

  generate(random: Random): EngineInput {
    return { seed: random.next(), instructions: generateUnverified(random) };
  }

  mutate(input: EngineInput, random: Random, other: EngineInput | undefined): EngineInput {
    if (random.oneIn(8)) return { ...input, seed: random.next() };
    const instructions = mutateInstructions(input.instructions, random, other?.instructions);
    return { ...input, instructions: instructions.slice(0, 8 * MOST_SLOTS) };
  }

  execute(input: EngineInput): Finding | undefined {
    if (--this.#left < 0) {
      this.#arena = new Arena();
      this.#left = RUNS_PER_ARENA;
    }
    this.#previous = 0;
    const before = this.#arena.refusals;
    const [observed, interpreted, compiled] = this.#arena.run(imageOf(input.instructions, input.seed), budgetOf(input.seed), this.#engines, isCounted(input.seed));
    const { fault, used } = JSON.parse(interpreted!) as Ending;
    this.#coverage.hit(combine(END, fault === null ? 0 : fault[0].length, 32 - Math.clz32(used)));
    if (this.#arena.refusals !== before) return { oracle: 'engines', trace: 'refused', message: 'the compiler refused a program that the interpreter runs' };
    if (observed !== interpreted) return difference('observed', observed!, interpreted!);
    return compiled === interpreted ? undefined : difference('compiled', interpreted!, compiled!);
  }

  serialise({ seed, instructions }: EngineInput): Uint8Array {
    const bytes = new Uint8Array(HEADER + instructions.length);
    bytes[0] = MAGIC;
    new DataView(bytes.buffer).setUint32(4, seed, true);
    bytes.set(instructions, HEADER);
    return bytes;
  }

  deserialise(given: Uint8Array): EngineInput {
    const bytes = new Uint8Array(given.buffer, given.byteOffset, given.length);
    if (bytes.length < HEADER + 8 || bytes[0] !== MAGIC || bytes.length % 8 !== 0) throw new InputError('', 'input', 'no program for the target engines');
    return { seed: new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(4, true), instructions: bytes.slice(HEADER) };
  }

  *shrink(input: EngineInput): Iterable<EngineInput> {
    const { instructions } = input;
    const count = instructions.length >> 3;
    for (let size = count >> 1; size >= 1; size >>= 1) {
      for (let at = 0; at + size <= count && size < count; at += size) yield { ...input, instructions: replaceSlots(instructions, at, at + size, []) };
    }
    for (const seed of [1, 2, 3, 4]) if (seed !== input.seed) yield { ...input, seed };
    const slots = slotsOf(instructions);
    for (const [i, slot] of slots.entries()) {
      for (const imm of smallerIntegers(slot.imm)) if (Math.abs(imm) < 8) yield { ...input, instructions: bytesOfSlots(slots.with(i, { ...slot, imm })) };
    }
  }

  size({ instructions }: EngineInput): number {
    return instructions.length >> 3;
  }

  toTranscript(): undefined {
    return undefined;
  }

  toAssembly({ seed, instructions }: EngineInput): string {
    const targets = imageOf(instructions, seed).jumpTargets;
    const head = `; budget ${budgetOf(seed)}${isCounted(seed) ? ', counted' : ''}${targets === undefined ? '' : `, indirect jumps to ${targets.join(' ')}`}`;
    return [head, ...disassembleProgram(instructions).map(({ text }) => text), ''].join('\n');
  }
}

interface Ending {
  readonly r0: readonly number[];
  readonly used: number;
  readonly fault: readonly [kind: string, pc: number, lo: number, hi: number, size: number] | null;
  readonly [field: string]: unknown;
}

function difference(who: string, a: string, b: string): Finding {
  const first = JSON.parse(a) as Ending, second = JSON.parse(b) as Ending;
  const fields = Object.keys(first).filter((field) => JSON.stringify(first[field]) !== JSON.stringify(second[field]));
  const faults = fields.includes('fault') ? `: ${first.fault?.[0] ?? 'none'}, ${second.fault?.[0] ?? 'none'}` : '';
  return { oracle: 'engines', trace: `${who} ${fields.join(', ')}${faults}`, message: `${who} run differs from the interpreter in ${fields.join(', ')}:\n${a}\n${b}` };
}

export const createTarget: TargetFactory = (environment) => new EnginesTarget(environment) as Target;
