/**
 * @module src/fuzz/mutators/instructions
 * Changes to programs that keep them programs: 16-byte loads stay whole, jumps and calls still lead to the instruction that they led
 * to, registers are renamed throughout. Pure functions over bytes (8 an instruction slot).
 */
import { decodeInstruction, INSTRUCTION_SIZE, writeInstruction, type Instruction } from '../../../isa/decode.ts';
import { INSTRUCTIONS, LD_IMM64 } from '../../../isa/instructions.ts';
import * as U from '../../../isa/uapi.ts';
import type { Random } from '../random.ts';

const MOST_SLOTS = 4096;

/** The instructions of a program; the second slots of 16-byte loads are with the first. */
interface Slotted {
  readonly slots: readonly Instruction[];
  /** True for second halves. */
  readonly isSecond: readonly boolean[];
}

/** All slots of a program; a last partial one is left out. */
export function slotsOf(bytes: Uint8Array): Instruction[] {
  const out: Instruction[] = [];
  for (let at = 0; at + INSTRUCTION_SIZE <= bytes.length; at += INSTRUCTION_SIZE) out.push(decodeInstruction(bytes, at));
  return out;
}

/** The bytes of slots. */
export function bytesOfSlots(slots: readonly Instruction[]): Uint8Array {
  const out = new Uint8Array(slots.length * INSTRUCTION_SIZE);
  for (const [i, slot] of slots.entries()) writeInstruction(out, i * INSTRUCTION_SIZE, slot);
  return out;
}

function slotted(bytes: Uint8Array): Slotted {
  const slots = slotsOf(bytes);
  const isSecond = slots.map(() => false);
  for (let i = 0; i + 1 < slots.length; i++) if (slots[i]!.code === LD_IMM64 && !isSecond[i]) isSecond[i + 1] = true;
  return { slots, isSecond };
}

/** Which field of an instruction is a distance to another, if one is. */
export function jumpField({ code, src }: Instruction): 'off' | 'imm' | undefined {
  const cls = code & 7, op = code & 0xf0;
  if (code === LD_IMM64) return src === U.BPF_PSEUDO_FUNC ? 'imm' : undefined;
  if (cls !== U.BPF_JMP && cls !== U.BPF_JMP32) return undefined;
  if (op === U.BPF_EXIT) return undefined;
  if (op === U.BPF_CALL) return src === U.BPF_PSEUDO_CALL ? 'imm' : undefined;
  return cls === U.BPF_JMP32 && op === U.BPF_JA ? 'imm' : 'off';
}

/**
 * Replaces slots `[from, to)` by `by`; jumps over the place keep their targets, jumps into it lead behind it. Jumps of `by` count from
 * where they are. A jump whose distance no longer fits is left pointing at the next instruction.
 */
export function replaceSlots(bytes: Uint8Array, from: number, to: number, by: readonly Instruction[]): Uint8Array {
  const slots = slotsOf(bytes);
  const shift = by.length - (to - from);
  /** Where a jump to `index` leads afterwards: what comes in is entered where the place was. */
  const moved = (index: number): number => (index <= from ? index : index < to ? from + by.length : index + shift);
  const stands = (index: number): number => (index < from ? index : index + shift);
  const out: Instruction[] = [];
  for (const [i, slot] of slots.entries()) {
    if (i === from) out.push(...by);
    if (i >= from && i < to) continue;
    const field = jumpField(slot);
    if (field === undefined || (i > 0 && slots[i - 1]!.code === LD_IMM64)) {
      out.push(slot);
      continue;
    }
    const distance = moved(i + 1 + slot[field]) - stands(i) - 1;
    const limit = field === 'off' ? 0x7fff : 0x7fffffff;
    out.push({ ...slot, [field]: distance > limit || distance < -limit - 1 ? 0 : distance });
  }
  if (from >= slots.length) out.push(...by);
  return bytesOfSlots(out.slice(0, MOST_SLOTS));
}

/** Exchanges two registers everywhere, R10 excepted. Keeps results unless a convention (arguments, R0) is touched. */
export function renameRegisters(bytes: Uint8Array, a: number, b: number): Uint8Array {
  const rename = (register: number): number => (register === a ? b : register === b ? a : register);
  const { slots, isSecond } = slotted(bytes);
  return bytesOfSlots(slots.map((slot, i) => {
    const isPseudo = slot.code === LD_IMM64 || (slot.code & 0xf7) === (U.BPF_JMP | U.BPF_CALL);
    return isSecond[i] ? slot : { ...slot, dst: rename(slot.dst), src: isPseudo ? slot.src : rename(slot.src) };
  }));
}

/** True where an instruction reads a register that it does not name: packet loads take the context from R6. */
export function readsUnnamed(bytes: Uint8Array): boolean {
  const { slots, isSecond } = slotted(bytes);
  return slots.some(({ code }, i) => !isSecond[i] && (code & 7) === U.BPF_LD && ((code & 0xe0) === U.BPF_ABS || (code & 0xe0) === U.BPF_IND));
}

/** An instruction of the table with operands from `random`. */
export function randomInstruction(random: Random): Instruction {
  const spec = random.pick(INSTRUCTIONS);
  return {
    code: spec.code,
    dst: spec.dst === 'operand' ? random.below(11) : spec.dst,
    src: spec.src === 'operand' ? random.below(11) : spec.src,
    off: spec.off === 'operand' ? (random.oneIn(2) ? random.below(16) - 8 : (random.int32() << 16) >> 16) : spec.off,
    imm: (spec.imm === 'operand' ? random.int32() : spec.imm) | 0,
  };
}

function changeField(slot: Instruction, random: Random): Instruction {
  switch (random.below(7)) {
    case 0: return { ...slot, dst: random.below(11) };
    case 1: return { ...slot, src: random.below(11) };
    case 2: return { ...slot, imm: random.int32() };
    case 3: return { ...slot, imm: (slot.imm + random.between(-8, 8)) | 0 };
    case 4: return { ...slot, off: random.oneIn(2) ? slot.off + random.between(-8, 8) : (random.int32() << 16) >> 16 };
    case 5: return { ...slot, code: slot.code ^ random.pick([8, 0x10, 0x20, 0x40, 0x80, 1, 3, 4, 0x18]) };
    default: return { ...slot, off: 0, imm: random.pick([0, -1, slot.imm]) };
  }
}

/** A jump that leads somewhere within the program, or the instruction itself where it is none. */
function redirect(slots: readonly Instruction[], index: number, random: Random): Instruction {
  const slot = slots[index]!;
  const field = jumpField(slot);
  return field === undefined ? slot : { ...slot, [field]: random.below(slots.length) - index - 1 };
}

/** Changes which map a 16-byte load is of, or what it takes it for. */
function changeMap(slots: readonly Instruction[], index: number, random: Random): Instruction {
  const slot = slots[index]!;
  return random.oneIn(2) ? { ...slot, imm: random.below(8) - 1 } : { ...slot, src: random.below(7) };
}

function indexesWhere(slots: readonly Instruction[], isSecond: readonly boolean[], holds: (slot: Instruction) => boolean): number[] {
  return slots.flatMap((slot, i) => (!isSecond[i] && holds(slot) ? [i] : []));
}

/** Whole instructions `[from, to)` near `from`: never half of a 16-byte load. */
function wholeRange(isSecond: readonly boolean[], start: number, length: number): readonly [from: number, to: number] {
  let from = start, to = Math.min(isSecond.length, start + length);
  while (from > 0 && isSecond[from]) from--;
  while (to < isSecond.length && isSecond[to]) to++;
  return [from, to];
}

/**
 * One change to a program: an instruction put in, left out, copied or replaced, two exchanged, a field changed, a jump led elsewhere,
 * registers renamed, a map reference changed, a piece of `other` put in.
 * @example mutateInstructions(assemble([mov64('r0', 0), exit()]), new Random(3), undefined)
 */
export function mutateInstructions(bytes: Uint8Array, random: Random, other: Uint8Array | undefined): Uint8Array {
  const { slots, isSecond } = slotted(bytes);
  if (slots.length === 0) return bytesOfSlots([randomInstruction(random)]);
  const index = random.below(slots.length);
  const [from, to] = wholeRange(isSecond, index, 1);
  const set = (at: number, slot: Instruction): Uint8Array => bytesOfSlots(slots.with(at, slot));
  switch (random.below(13)) {
    case 0: return replaceSlots(bytes, from, from, [randomInstruction(random)]);
    case 1: return slots.length > to - from ? replaceSlots(bytes, from, to, []) : bytes;
    case 2: return replaceSlots(bytes, from, to, [randomInstruction(random)]);
    case 3: return replaceSlots(bytes, from, from, slots.slice(from, to));
    case 4: {
      const [source, end] = wholeRange(isSecond, random.below(slots.length), 1 + random.below(4));
      return replaceSlots(bytes, from, from, slots.slice(source, end));
    }
    case 5: {
      const jumps = indexesWhere(slots, isSecond, (slot) => jumpField(slot) !== undefined);
      const at = jumps.length === 0 ? index : random.pick(jumps);
      return set(at, redirect(slots, at, random));
    }
    case 6: return renameRegisters(bytes, random.below(10), random.below(10));
    case 7: {
      const loads = indexesWhere(slots, isSecond, (slot) => slot.code === LD_IMM64);
      return loads.length === 0 ? set(index, changeField(slots[index]!, random)) : (() => {
        const at = random.pick(loads);
        return set(at, changeMap(slots, at, random));
      })();
    }
    case 8: {
      if (other === undefined || other.length < INSTRUCTION_SIZE) return set(index, changeField(slots[index]!, random));
      const there = slotted(other);
      const [source, end] = wholeRange(there.isSecond, random.below(there.slots.length), 1 + random.below(8));
      return replaceSlots(bytes, from, from, there.slots.slice(source, end));
    }
    case 9: {
      const second = random.below(slots.length);
      return isSecond[index] || isSecond[second] || slots[index]!.code === LD_IMM64 || slots[second]!.code === LD_IMM64
        ? bytes
        : bytesOfSlots(slots.with(index, slots[second]!).with(second, slots[index]!));
    }
    default: return set(index, changeField(slots[index]!, random));
  }
}
