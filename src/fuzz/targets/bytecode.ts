/**
 * @module src/fuzz/targets/bytecode
 * Programs against verifier and machine. Promises: what is accepted faults nowhere; every value was foreseen; both engines agree; dead code,
 * renamed registers and a way through the assembler change nothing; the verifier's own invariants hold; nothing is left behind.
 */
import { InputError } from '../../../isa/errors.ts';
import { assembleText } from '../../../isa/asm.ts';
import { decodeInstruction } from '../../../isa/decode.ts';
import { disassembleProgram } from '../../../isa/disasm.ts';
import { EFAULT, errnoName } from '../../../isa/errno.ts';
import { specOf } from '../../../isa/instructions.ts';
import * as U from '../../../isa/uapi.ts';
import { NOT_INIT, SCALAR_VALUE } from '../../../verifier/regtypes.ts';
import {
  REG_ID, REG_MASK_HI, REG_MASK_LO, REG_PRECISE, REG_R32, REG_R64, REG_TYPE, REG_VAR_HI, REG_VAR_LO, regAt,
} from '../../../verifier/state.ts';
import type { StateObserver } from '../../../verifier/types.ts';
import { parseKernelBTF } from '../../../btf/kernel.ts';
import type { BytecodeInput } from '../bytecode/input.ts';
import { Grammar, KIND_RAW_TRACEPOINT, KIND_SYSCALL, KIND_UNPRIVILEGED, MOST_SLOTS } from '../bytecode/grammar.ts';
import type { IteratorFunctions } from '../bytecode/sequences.ts';
import { toTranscript } from '../bytecode/transcript.ts';
import { type Loaded, MAPS, type Outcome, World } from '../bytecode/world.ts';
import { combine, type Coverage } from '../coverage.ts';
import { bytesOfSlots, mutateInstructions, randomInstruction, readsUnnamed, renameRegisters, replaceSlots, slotsOf } from '../mutators/instructions.ts';
import { ImpossibleWays } from '../oracles/impossible.ts';
import { StateRecorder } from '../oracles/soundness.ts';
import type { Random } from '../random.ts';
import { smallerIntegers } from '../shrink.ts';
import type { Finding, Target, TargetEnvironment, TargetFactory } from '../types.ts';

const MAGIC = 0xb9;
const HEADER = 16;
const FLAG_STRICT = 1, FLAG_STATE_FREQ = 8, FLAG_INVARIANTS = 0x80;
const FLAGS = FLAG_STRICT | FLAG_STATE_FREQ | FLAG_INVARIANTS;
/**
 * States that the verifier may visit for one program; beyond, the program is given up. Of 60,000 of the grammar's
 * programs that are 244, and 242 of them do not end in 4,000 either (loops whose iterations are all different): a larger limit buys nothing but time.
 */
export const MOST_VISITS = 512;
/** The same where every path is followed. */
const MOST_PATHS_VISITS = 4000;
/** Conditional jumps beyond which not every path is followed. */
const MOST_JUMPS = 9;
const RUNS = 1;
const RUNS_THOROUGH = 3;
/** One input in so many is asked, chosen by its bytes: states (cheap), engines (a compilation), variants (three loads). */
const SOUNDNESS_ONE_IN = 6, ENGINES_ONE_IN = 96, VARIANTS_ONE_IN = 48;
const REJECTED = 0x1000, ACCEPTED = 0x2000;

/** Thrown through the verifier where a program takes too long; a count, not a clock. */
class TooLong extends Error {}
const TOO_LONG = new TooLong('visits');

/** What a register is like, coarsely: kind, and of numbers sign, width, how well they are known. Few classes, so that new ones mean something. */
function stateClass(words: Int32Array, at: number): number {
  const type = words[at + REG_TYPE]!;
  // The other words of a register that nobody wrote are those of whoever had the state before.
  if (type === NOT_INIT) return NOT_INIT;
  const maskLo = words[at + REG_MASK_LO]!, maskHi = words[at + REG_MASK_HI]!;
  if (type !== SCALAR_VALUE) return type ^ ((maskLo | maskHi) === 0 ? 0x4000 : 0);
  if ((maskLo | maskHi) === 0) {
    const lo = words[at + REG_VAR_LO]!, hi = words[at + REG_VAR_HI]!;
    return 0x100 | (hi === 0 ? (lo === 0 ? 0 : lo > 0 ? 1 : 2) : hi === -1 ? 3 : 4);
  }
  const width = maskHi !== 0 ? 2 : maskLo >>> 8 !== 0 ? 1 : 0;
  const isWide32 = words[at + REG_R32 + 1] === -1 ? 1 : 0;
  const startsLow = words[at + REG_R64 + 1]! < 0 ? 1 : 0;
  return 0x200 | (width << 4) | isWide32 | (startsLow << 1) | (words[at + REG_PRECISE]! << 2) | (words[at + REG_ID] === 0 ? 0 : 8);
}

/** The same for the other operand, coarser still. */
function operandClass(words: Int32Array, at: number): number {
  const type = words[at + REG_TYPE]!;
  const mask = words[at + REG_MASK_LO]! | words[at + REG_MASK_HI]!;
  return type !== SCALAR_VALUE ? type : mask === 0 ? 0x100 : words[at + REG_MASK_HI] === 0 ? 0x200 : 0x300;
}

/** Reports instruction × classes of the states of its operands. */
class StateCounter implements StateObserver {
  readonly everyPath = false;
  readonly #hit: Coverage['hit'];
  readonly #mark: Coverage['mark'];
  #instructions: Uint8Array = new Uint8Array(0);
  #left = 0;
  #previous = 0;

  constructor(coverage: Coverage) {
    this.#hit = coverage.hit;
    this.#mark = coverage.mark;
  }

  begin(instructions: Uint8Array): void {
    this.#instructions = instructions;
    this.#left = MOST_VISITS;
    this.#previous = 0;
  }

  /** Code of the instruction that was looked at last. */
  get last(): number {
    return this.#previous;
  }

  visit(insn: number, words: Int32Array, frame: number): void {
    if (--this.#left < 0) throw TOO_LONG;
    const code = this.#instructions[insn * 8]!;
    const registers = this.#instructions[insn * 8 + 1]!;
    const dst = registers & 15, src = registers >> 4;
    const a = dst < 10 ? stateClass(words, regAt(frame, dst)) : dst;
    const b = (code & U.BPF_X) !== 0 && src < 10 ? operandClass(words, regAt(frame, src)) : 0;
    this.#mark(combine(code, a, b));
    this.#hit(combine(0x10000 | this.#previous, code));
    this.#previous = code;
  }
}

/** Gives up where every path would be too many, and sees which of them no run takes. */
class BoundedRecorder extends StateRecorder {
  readonly ways: ImpossibleWays = new ImpossibleWays();
  #left = 0;

  override begin(count: number): void {
    super.begin(count);
    this.#left = MOST_PATHS_VISITS;
  }

  override visit(insn: number, words: Int32Array, frame: number): void {
    if (--this.#left < 0) throw TOO_LONG;
    this.ways.visit(insn, words, frame);
    super.visit(insn, words, frame);
  }
}

function hashOf(input: BytecodeInput): number {
  let h = 0x811c9dc5 ^ input.data;
  const { instructions } = input;
  for (let i = 0; i < instructions.length; i++) h = Math.imul(h ^ instructions[i]!, 0x01000193);
  return (h ^ (h >>> 13)) >>> 0;
}

function callsKernel(instructions: Uint8Array): boolean {
  for (let at = 0; at < instructions.length; at += 8) if (instructions[at] === (U.BPF_JMP | U.BPF_CALL) && instructions[at + 1]! >> 4 === U.BPF_PSEUDO_KFUNC_CALL) return true;
  return false;
}

function countJumps(instructions: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < instructions.length; at += 8) {
    const cls = instructions[at]! & 7, op = instructions[at]! & 0xf0;
    if ((cls === U.BPF_JMP || cls === U.BPF_JMP32) && op !== U.BPF_CALL && op !== U.BPF_EXIT && op !== U.BPF_JA) count++;
  }
  return count;
}

function nameAt(instructions: Uint8Array, insn: number): string {
  if (insn * 8 + 8 > instructions.length || insn < 0) return 'nothing';
  const instruction = decodeInstruction(instructions, insn * 8);
  const { code, dst, src, off, imm } = instruction;
  const name = specOf(code, dst, src, off, imm)?.name ?? `opcode ${code.toString(16)}`;
  return name === 'call_helper' ? `${name} ${imm}` : name;
}

/** Ids of the number iterator's functions; undefined where the kernel has none. */
function iteratorFunctions(kernelBTF: Uint8Array): IteratorFunctions | undefined {
  const types = parseKernelBTF(kernelBTF);
  const [create, next, destroy] = ['new', 'next', 'destroy'].map((name) => types.findByNameKind(`bpf_iter_num_${name}`, U.BTF_KIND_FUNC));
  return create === undefined || next === undefined || destroy === undefined || Math.min(create, next, destroy) <= 0 ? undefined : { create, next, destroy };
}

class BytecodeTarget implements Target<BytecodeInput> {
  readonly name = 'bytecode';
  readonly batchRuns = 256;
  readonly #coverage: Coverage;
  readonly #grammar: Grammar;
  readonly #counter: StateCounter;
  readonly #recorder: BoundedRecorder = new BoundedRecorder();
  readonly #kernelBTF: (() => Uint8Array) | undefined;
  #world: World;

  constructor({ coverage, kernelBTF }: TargetEnvironment) {
    this.#coverage = coverage;
    this.#kernelBTF = kernelBTF;
    this.#world = new World(kernelBTF);
    this.#grammar = new Grammar(MAPS, kernelBTF === undefined ? undefined : iteratorFunctions(kernelBTF()));
    this.#counter = new StateCounter(coverage);
  }

  seeds(): readonly BytecodeInput[] {
    return [];
  }

  generate(random: Random): BytecodeInput {
    const kind = random.oneIn(16) ? KIND_UNPRIVILEGED : random.oneIn(8) ? KIND_RAW_TRACEPOINT : KIND_SYSCALL;
    const flags = random.oneIn(5) ? FLAG_STATE_FREQ : random.oneIn(4) ? (random.oneIn(2) ? FLAG_INVARIANTS : 1 << random.below(8)) & FLAGS : 0;
    const data = random.next();
    if (random.oneIn(24)) {
      const slots = Array.from({ length: 1 + random.below(12) }, () => randomInstruction(random));
      return { kind, flags, data, instructions: bytesOfSlots([...slots, decodeInstruction(Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0), 0)]) };
    }
    let instructions = this.#grammar.program(random, kind);
    if (random.oneIn(8)) instructions = cut(mutateInstructions(instructions, random, undefined));
    return { kind, flags, data, instructions };
  }

  mutate(input: BytecodeInput, random: Random, other: BytecodeInput | undefined): BytecodeInput {
    const { instructions } = input;
    switch (random.below(10)) {
      case 0: return { ...input, data: random.next() };
      case 1: return random.oneIn(3) ? { ...input, flags: (input.flags ^ (1 << random.below(8))) & FLAGS } : { ...input, instructions: tweak(instructions, random) };
      case 2: case 3: {
        const at = random.below(instructions.length >> 3);
        return { ...input, instructions: cut(replaceSlots(instructions, at, at, slotsOf(this.#grammar.piece(random)))) };
      }
      case 4: case 5: case 6: return { ...input, instructions: cut(mutateInstructions(instructions, random, other?.instructions)) };
      default: return { ...input, instructions: tweak(instructions, random) };
    }
  }

  execute(input: BytecodeInput, thorough = false): Finding | undefined {
    try {
      return this.#execute(input, thorough);
    } catch (error) {
      // Giving up leaves the kernel as it was; of anything else nobody knows what it left.
      if (error instanceof TooLong) return this.#settled();
      this.#world = new World(this.#kernelBTF);
      throw error;
    }
  }

  #execute(input: BytecodeInput, thorough: boolean): Finding | undefined {
    const world = this.#world;
    const { instructions, kind, flags } = input;
    const hash = hashOf(input);
    this.#counter.begin(instructions);
    const loaded = world.load(instructions, kind, flags, this.#counter);
    if (typeof loaded === 'number') {
      this.#coverage.hit(combine(REJECTED, loaded, this.#counter.last));
      if (loaded === -EFAULT) return { oracle: 'invariants', trace: `EFAULT at ${nameAt(instructions, lastIndex(instructions, this.#counter.last))}`, message: 'the verifier says that it is broken: a register\'s ranges contradict each other' };
      return this.#settled() ?? (thorough || hash % VARIANTS_ONE_IN === 1 ? this.#quietly(() => this.#renamedVerdict(input, loaded)) : undefined);
    }
    this.#coverage.hit(combine(ACCEPTED, kind));
    let finding: Finding | undefined;
    if (kind !== KIND_UNPRIVILEGED && world.canRun(loaded)) {
      finding = this.#runs(loaded, input, thorough ? RUNS_THOROUGH : RUNS);
      if (finding === undefined && (thorough || hash % SOUNDNESS_ONE_IN === 0)) finding = this.#quietly(() => this.#soundness(input, thorough ? RUNS_THOROUGH : RUNS));
      if (finding === undefined && (thorough || hash % ENGINES_ONE_IN === 1)) finding = this.#quietly(() => this.#engines(loaded, input));
    }
    world.unload(loaded);
    finding ??= this.#settled();
    if (finding === undefined && (thorough || hash % VARIANTS_ONE_IN === 0)) finding = this.#quietly(() => this.#variants(input));
    return finding;
  }

  /** What an oracle does besides must not count as reached. */
  #quietly(ask: () => Finding | undefined): Finding | undefined {
    this.#coverage.listen(false);
    try {
      return ask();
    } catch (error) {
      if (!(error instanceof TooLong)) throw error;
      return undefined;
    } finally {
      this.#coverage.listen(true);
    }
  }

  #settled(): Finding | undefined {
    const complaint = this.#world.settle();
    if (complaint === undefined) return undefined;
    this.#world = new World(this.#kernelBTF);
    return { oracle: 'resources', trace: complaint.replace(/-?\d+/g, 'N'), message: `left behind: ${complaint}` };
  }

  /** Accepted programs fault nowhere. */
  #runs(loaded: Loaded, input: BytecodeInput, count: number): Finding | undefined {
    for (let run = 0; run < count; run++) {
      const { fault } = this.#world.run(loaded, input.data + run, { tier: 'interpreter' });
      if (fault === undefined) continue;
      if (fault.kind === 'budget') return undefined;
      if (fault.kind === 'helper' || fault.kind === 'unknown-helper') return undefined;
      const where = fault.nearest === undefined ? 'nowhere' : fault.nearest.label.replace(/\d+/g, 'N');
      return { oracle: 'bounds', trace: `${fault.kind} ${fault.write ? 'write' : 'read'} near ${where}`, message: `an accepted program faults: ${fault.message}` };
    }
    return undefined;
  }

  /** Loads a program with every path followed and recorded. */
  #loadEveryPath({ instructions, kind, flags }: BytecodeInput): Loaded | number {
    this.#recorder.begin(instructions.length >> 3);
    this.#recorder.ways.begin(instructions);
    return this.#world.load(instructions, kind, flags, this.#recorder);
  }

  /** Every value of every step lies in a state that the verifier had there. */
  #soundness(input: BytecodeInput, count: number): Finding | undefined {
    // An iterator ends by comparison with the state of the turn before: where every path is followed, there is none.
    if (countJumps(input.instructions) > MOST_JUMPS || callsKernel(input.instructions)) return undefined;
    const recorder = this.#recorder;
    const world = this.#world;
    const loaded = this.#loadEveryPath(input);
    if (typeof loaded === 'number') {
      if (recorder.ways.seen) return undefined;
      return { oracle: 'metamorphic', trace: `every path: ${errnoName(-loaded)}`, message: `accepted, but refused with ${errnoName(-loaded)} where every path is followed` };
    }
    let finding: Finding | undefined;
    if (!recorder.overflowed && isInPlace(loaded.program.verified?.machineIndex)) {
      for (let run = 0; run < count && finding === undefined; run++) finding = this.#follow(loaded, input, run);
    }
    world.unload(loaded);
    world.settle();
    return finding;
  }

  /**
   * True where some way through the program is one that no run takes. Linux refuses, too, what it finds there, and does not look where a wider
   * state covers it: what covers it depends on checkpoints, so the same program written otherwise may be refused.
   */
  #takesImpossibleWays(input: BytecodeInput): boolean {
    try {
      const loaded = this.#loadEveryPath(input);
      if (typeof loaded !== 'number') this.#world.unload(loaded);
    } catch (error) {
      if (!(error instanceof TooLong)) throw error;
    }
    this.#world.settle();
    return this.#recorder.ways.seen;
  }

  #follow(loaded: Loaded, input: BytecodeInput, run: number): Finding | undefined {
    const recorder = this.#recorder;
    const world = this.#world;
    let before = -1;
    let finding: Finding | undefined;
    world.run(loaded, input.data + run, {
      tier: 'interpreter',
      trace: (_, pc, registers) => {
        if (finding !== undefined) return;
        if (!recorder.foresaw(pc, registers, world.contextLo, world.memory)) {
          const { reasons, kind } = recorder.explain(pc, registers, world.contextLo, world.memory);
          finding = {
            oracle: 'soundness', trace: `${kind} after ${nameAt(input.instructions, before)}`,
            message: `before instruction ${pc} (after ${before}) no state allows what is there: ${reasons.join(' | ')}`,
          };
        }
        before = pc;
      },
    });
    return finding;
  }

  /** Interpreter and compiled code agree. */
  #engines(loaded: Loaded, input: BytecodeInput): Finding | undefined {
    const world = this.#world;
    const interpreted = world.run(loaded, input.data, { tier: 'interpreter' });
    for (const mode of ['checked', 'fast'] as const) {
      const what = differenceOf(interpreted, world.run(loaded, input.data, { tier: 'baseline', mode }));
      if (what !== '') return { oracle: 'engines', trace: what.replace(/-?\d+/g, 'N'), message: `compiled code (${mode}) differs from the interpreter: ${what}` };
    }
    return undefined;
  }

  /** Dead code, other registers, other text: same verdict, same result. */
  #variants(input: BytecodeInput): Finding | undefined {
    const own = this.#result(input);
    if (own === undefined || typeof own === 'number') return undefined;
    const hash = hashOf(input);
    const at = hash % (input.instructions.length >> 3);
    const variants: [string, Uint8Array][] = [
      ...(readsUnnamed(input.instructions) ? [] : [['renamed registers', renameRegisters(renameRegisters(input.instructions, 6, 8), 7, 9)] satisfies [string, Uint8Array]]),
      ['dead code', withDeadCode(input.instructions)],
      ['an empty jump', replaceSlots(input.instructions, at, at, [{ code: U.BPF_JMP | U.BPF_JA, dst: 0, src: 0, off: 0, imm: 0 }])],
    ];
    const changed = hasOnlyKnown(input.instructions) ? this.#throughText(input.instructions) : undefined;
    if (changed !== undefined) return changed;
    for (const [name, instructions] of variants) {
      if (instructions.length > 8 * (MOST_SLOTS + 8) || (name === 'an empty jump' && isSecondSlot(input.instructions, at))) continue;
      const other = this.#result({ ...input, instructions });
      if (other === undefined) continue;
      if (typeof other === 'number') {
        if (this.#takesImpossibleWays(input)) continue;
        return { oracle: 'metamorphic', trace: `${name}: ${errnoName(-other)}`, message: `accepted, but with ${name} refused: ${errnoName(-other)}` };
      }
      const what = differenceOf({ ...own, instructions: -1 }, other);
      if (what !== '') return { oracle: 'metamorphic', trace: `${name}: ${what.replace(/-?\d+/g, 'N')}`, message: `with ${name} the program behaves otherwise: ${what}` };
    }
    return undefined;
  }

  /** What the disassembler writes, the assembler reads as the same program. */
  #throughText(instructions: Uint8Array): Finding | undefined {
    const plain = withoutUnspoken(instructions);
    const text = disassembleProgram(plain).map((line) => (line.text.startsWith('(18)') ? `${line.text} ll` : line.text)).join('\n');
    const assembled = assembleText(text, 'disassembly');
    if (sameBytes(assembled, plain)) return undefined;
    const insn = firstDifference(assembled, plain) >> 3;
    return { oracle: 'metamorphic', trace: `assembler: ${nameAt(instructions, insn)}`, message: `instruction ${insn} comes back changed from disassembler and assembler:\n${text}` };
  }

  /** A refused program is refused for the same reason where registers that mean the same are exchanged. */
  #renamedVerdict(input: BytecodeInput, errno: number): Finding | undefined {
    if (readsUnnamed(input.instructions)) return undefined;
    const renamed = renameRegisters(renameRegisters(input.instructions, 6, 8), 7, 9);
    const loaded = this.#world.load(renamed, input.kind, input.flags, undefined);
    if (typeof loaded !== 'number') this.#world.unload(loaded);
    this.#world.settle();
    if (loaded === errno) return undefined;
    const now = typeof loaded === 'number' ? errnoName(-loaded) : 'accepted';
    return { oracle: 'metamorphic', trace: `renamed registers: ${errnoName(-errno)}, ${now}`, message: `refused with ${errnoName(-errno)}, but with renamed registers ${now}` };
  }

  /** Verdict and first run of a program; undefined where it cannot be run to its end. */
  #result(input: BytecodeInput): Outcome | number | undefined {
    const world = this.#world;
    this.#counter.begin(input.instructions);
    const loaded = world.load(input.instructions, input.kind, input.flags, this.#counter);
    if (typeof loaded === 'number') return loaded;
    const outcome = input.kind !== KIND_UNPRIVILEGED && world.canRun(loaded) ? world.run(loaded, input.data, { tier: 'interpreter' }) : undefined;
    world.unload(loaded);
    world.settle();
    return outcome?.fault === undefined ? outcome : undefined;
  }

  serialise({ kind, flags, data, instructions }: BytecodeInput): Uint8Array {
    const bytes = new Uint8Array(HEADER + instructions.length);
    const view = new DataView(bytes.buffer);
    bytes[0] = MAGIC;
    bytes[1] = kind;
    view.setUint32(4, flags, true);
    view.setUint32(8, data, true);
    bytes.set(instructions, HEADER);
    return bytes;
  }

  deserialise(given: Uint8Array): BytecodeInput {
    const bytes = new Uint8Array(given.buffer, given.byteOffset, given.length);
    if (bytes.length < HEADER + 8 || bytes[0] !== MAGIC || (bytes.length - HEADER) % 8 !== 0) throw new InputError('', 'input', 'no program for the target bytecode');
    if (bytes[1]! > KIND_UNPRIVILEGED || bytes.length > HEADER + 8 * 4096) throw new InputError('', 'input', 'a kind of program that there is not, or too many instructions');
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return { kind: bytes[1]!, flags: view.getUint32(4, true) & FLAGS, data: view.getUint32(8, true), instructions: bytes.slice(HEADER) };
  }

  *shrink(input: BytecodeInput): Iterable<BytecodeInput> {
    const { instructions } = input;
    const count = instructions.length >> 3;
    for (let size = count >> 1; size >= 1; size >>= 1) {
      for (let at = 0; at + size <= count; at += size) yield { ...input, instructions: replaceSlots(instructions, at, at + size, []) };
    }
    if (input.flags !== 0) yield { ...input, flags: 0 };
    if (input.kind !== KIND_SYSCALL) yield { ...input, kind: KIND_SYSCALL };
    for (const data of smallerIntegers(input.data % 64)) yield { ...input, data };
    const slots = slotsOf(instructions);
    for (const [i, slot] of slots.entries()) {
      for (const imm of smallerIntegers(slot.imm)) if (Math.abs(imm) < 16 || imm === slot.imm >> 1) yield { ...input, instructions: bytesOfSlots(slots.with(i, { ...slot, imm })) };
    }
  }

  size({ instructions }: BytecodeInput): number {
    return instructions.length >> 3;
  }

  toTranscript(input: BytecodeInput): string | undefined {
    return toTranscript(input);
  }

  toAssembly({ kind, flags, data, instructions }: BytecodeInput): string {
    const head = `; ${['SYSCALL', 'RAW_TRACEPOINT', 'SOCKET_FILTER without privileges'][kind]}, prog_flags 0x${flags.toString(16)}, values from seed ${data}`;
    return [head, ...disassembleProgram(instructions).map(({ text }) => text), ''].join('\n');
  }
}

function cut(instructions: Uint8Array): Uint8Array {
  return instructions.length > 8 * MOST_SLOTS ? instructions.slice(0, 8 * MOST_SLOTS) : instructions;
}

/** One operand changed, in place on a copy: the cheapest change, and the one that finds most. */
function tweak(instructions: Uint8Array, random: Random): Uint8Array {
  const out = instructions.slice();
  const at = 8 * random.below(out.length >> 3);
  const view = new DataView(out.buffer);
  switch (random.below(7)) {
    case 0: view.setInt32(at + 4, random.int32(), true); break;
    case 1: view.setInt32(at + 4, (view.getInt32(at + 4, true) + random.between(-2, 2)) | 0, true); break;
    case 2: out[at + 1] = (out[at + 1]! & 0xf0) | random.below(10); break;
    case 3: out[at + 1] = (out[at + 1]! & 0x0f) | (random.below(10) << 4); break;
    case 4: out[at] = (out[at]! & 7) === U.BPF_ALU || (out[at]! & 7) === U.BPF_ALU64 ? out[at]! ^ 3 : out[at]! ^ ((out[at]! & 7) >= U.BPF_JMP ? 3 : 8); break;
    case 5: out[at] = out[at]! ^ (random.pick([0x10, 0x20, 0x40, 0x80, 8])); break;
    default: view.setInt16(at + 2, view.getInt16(at + 2, true) + random.between(-8, 8), true);
  }
  return out;
}

function isSecondSlot(instructions: Uint8Array, at: number): boolean {
  return at > 0 && instructions[(at - 1) * 8] === (U.BPF_LD | U.BPF_IMM | U.BPF_DW);
}

/** The program behind a branch that is never taken. */
function withDeadCode(instructions: Uint8Array): Uint8Array {
  const none = { dst: 0, src: 0, off: 0 };
  return replaceSlots(instructions, 0, 0, [
    { code: U.BPF_ALU64 | U.BPF_MOV, ...none, imm: 1 },
    { code: U.BPF_JMP | U.BPF_JEQ, ...none, off: 2, imm: 1 },
    { code: U.BPF_ALU64 | U.BPF_MUL, ...none, imm: 7 },
    { code: U.BPF_STX | U.BPF_MEM | U.BPF_DW, dst: 10, src: 0, off: -8, imm: 0 },
  ]);
}

/** True where every instruction has a row in the table: text of others, which may stand where no path leads, is no assembly. */
function hasOnlyKnown(instructions: Uint8Array): boolean {
  for (let at = 0; at < instructions.length; at += 8) {
    const { code, dst, src, off, imm } = decodeInstruction(instructions, at);
    if (specOf(code, dst, src, off, imm) === undefined) return false;
    if (code === (U.BPF_LD | U.BPF_IMM | U.BPF_DW)) at += 8;
  }
  return true;
}

/** Without what text does not say: what a 16-byte load's number refers to, and the offset of an exit, which has no meaning. */
function withoutUnspoken(instructions: Uint8Array): Uint8Array {
  const out = instructions.slice();
  for (let at = 0; at < out.length; at += 8) {
    if (out[at] === (U.BPF_JMP | U.BPF_EXIT)) out.fill(0, at + 2, at + 4);
    if (out[at] !== (U.BPF_LD | U.BPF_IMM | U.BPF_DW)) continue;
    out[at + 1]! &= 0x0f;
    at += 8;
  }
  return out;
}

/** True where the machine has every instruction where the verifier had it. */
function isInPlace(index: Int32Array | undefined): boolean {
  return index === undefined || index.every((at, i) => at === i);
}

function lastIndex(instructions: Uint8Array, code: number): number {
  for (let at = 0; at < instructions.length; at += 8) if (instructions[at] === code) return at >> 3;
  return -1;
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i;
  return a.length;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && firstDifference(a, b) === a.length;
}

/** What differs between two runs, "" for nothing. */
function differenceOf(a: Outcome, b: Outcome): string {
  if (a.fault?.kind !== b.fault?.kind) return `fault ${a.fault?.kind ?? 'none'} and ${b.fault?.kind ?? 'none'}`;
  if (a.fault !== undefined || a.place !== b.place) return '';
  if (a.lo !== b.lo || a.hi !== b.hi) return `result ${a.hi}:${a.lo} and ${b.hi}:${b.lo}`;
  if (a.instructions >= 0 && b.instructions >= 0 && a.instructions !== b.instructions) return `${a.instructions} instructions and ${b.instructions}`;
  return sameBytes(a.memory, b.memory) ? '' : 'memory';
}

export const createTarget: TargetFactory = (environment) => new BytecodeTarget(environment) as Target;
