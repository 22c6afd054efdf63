/**
 * @module src/fuzz/bytecode/unverified
 * Random programs that nobody verified, for comparing engines: every instruction, jumps in all directions, local calls, helpers, accesses inside
 * and outside of live memory; and a machine that runs one program on several engines from equal states. The same seed gives the same program.
 */
import { bytesToHex } from '@noble/hashes/utils.js';
import { INSTRUCTIONS, type InstructionSpec } from '../../../isa/instructions.ts';
import { ldImm64, raw, toBytes } from '../../../isa/encode.ts';
import type { Instruction } from '../../../isa/decode.ts';
import { AddressSpace, KERNEL_HI } from '../../../vm/address-space.ts';
import { Machine } from '../../../vm/machine.ts';
import { STACK_LABEL } from '../../../vm/run.ts';
import { CODE_HI, codeAddress, type MachineOptions, type Program, type ProgramImage, type RunOptions } from '../../../vm/types.ts';
import { Random } from '../random.ts';

const SIMPLE = INSTRUCTIONS.filter((spec) => ['alu', 'mov', 'neg', 'end', 'swap', 'cast'].includes(spec.kind));
const MEMORY = INSTRUCTIONS.filter((spec) => ['load', 'store', 'storeImmediate', 'atomic', 'loadAcquire', 'storeRelease'].includes(spec.kind));
const JUMPS = INSTRUCTIONS.filter((spec) => spec.kind === 'jump');
const OTHERS = INSTRUCTIONS.filter((spec) => ['goto', 'gotoIndirect', 'mayGoto', 'call', 'exit', 'nospec', 'packet', 'internalCall', 'percpu'].includes(spec.kind));
const IMMEDIATES = [0, 1, -1, 2, 7, 31, 32, 33, 63, 64, 255, 4096, 65535, 0x7fffffff, -0x80000000, -8, -512, 1234567];

function fill(random: Random, spec: InstructionSpec, at: number, count: number): readonly Instruction[] {
  const field = (use: 'operand' | number, value: number): number => (use === 'operand' ? value : use);
  const register = (): number => (random.below(12) === 0 ? 10 : random.below(10));
  const isJump = spec.kind === 'jump' || spec.kind === 'goto' || spec.kind === 'mayGoto' || spec.name === 'call_local';
  const distance = random.below(5) === 0 ? -random.below(at + 2) : random.below(Math.min(8, count - at + 1));
  const isMemory = MEMORY.includes(spec);
  const off = isJump ? distance : isMemory ? random.pick([0, 0, 8, 16, 4, 1, -8, -16, -4, 24, 40, 56, 63, 64, -512, 100]) : random.pick([0, 1]);
  const imm = isJump ? distance : spec.name === 'call_helper' ? 1 + random.below(4) : random.pick(IMMEDIATES);
  let dst = register();
  let src = register();
  if (isMemory && random.below(8) !== 0) {
    // Mostly through r6 (the memory) and r10 (the stack), so that something happens.
    const base = random.pick([6, 6, 10, 8]);
    if (spec.kind === 'load' || spec.kind === 'loadAcquire') src = base;
    else dst = base;
  }
  if (spec.kind !== 'store' && spec.kind !== 'storeImmediate' && spec.kind !== 'atomic' && spec.kind !== 'storeRelease' && !isJump) {
    if ((dst === 10 || dst === 6) && random.below(10) !== 0) dst = random.below(6);
  }
  if (spec.slots === 2) return ldImm64(`r${dst}` as 'r1', BigInt(random.next()) << BigInt(random.below(33)));
  return [raw(spec.code, field(spec.dst, dst), field(spec.src, src), field(spec.off, off), field(spec.imm, imm))];
}

/** Numbers at the edges of 32 and 64 bits, and halves that say nothing of each other. */
const EDGES = [0n, 1n, -1n, 1n << 31n, -(1n << 31n), 1n << 63n, (1n << 63n) - 1n, 1n << 32n, 0x1234_5678n << 32n, 0xffff_ffffn, -(1n << 32n)];
const BINARY = SIMPLE.filter((spec) => spec.src === 'operand' && spec.kind === 'alu');
const DIVISIONS = BINARY.filter(({ name }) => /div|mod/.test(name));

/** An operation on two numbers at edges: the least number by -1, zero in one half of a divisor, distances of shifts as large as numbers. */
function edgeOperation(random: Random): readonly Instruction[] {
  const dst = random.below(6), src = random.below(6);
  const spec = random.pick(random.below(2) === 0 && DIVISIONS.length > 0 ? DIVISIONS : BINARY);
  const number = (register: number): readonly Instruction[] => ldImm64(`r${register}` as 'r1', BigInt.asUintN(64, random.pick(EDGES)));
  return [...number(dst), ...number(src), raw(spec.code, dst, src, spec.off === 'operand' ? random.below(2) : spec.off, 0)];
}

/** One program of up to some dozens of instructions. */
export function generateUnverified(random: Random): Uint8Array {
  const count = 4 + random.below(random.below(4) === 0 ? 60 : 20);
  const instructions: Instruction[] = [raw(0xbf, 6, 1), raw(0xbf, 8, 10), raw(0x07, 8, 0, 0, -64)];
  for (let register = 0; register < 6; register++) if (random.below(2) === 0) instructions.push(raw(0xb7, register, 0, 0, random.pick(IMMEDIATES)));
  while (instructions.length < count + 6) {
    const kind = random.below(20);
    const from = kind < 10 ? SIMPLE : kind < 14 ? MEMORY : kind < 17 ? JUMPS : kind < 18 ? OTHERS : SIMPLE;
    if (random.below(24) === 0) instructions.push(...edgeOperation(random));
    else if (kind === 18) instructions.push(...ldImm64(`r${random.below(6)}` as 'r1', BigInt(random.next()) << BigInt(random.below(33))));
    else if (kind === 19 && random.below(3) === 0) {
      const register = random.below(6);
      const address = BigInt.asUintN(64, (BigInt(CODE_HI) << 32n) | BigInt(codeAddress(random.below(count + 6)) >>> 0));
      instructions.push(...ldImm64(`r${register}` as 'r1', address), ...(random.below(3) === 0 ? [raw(0x07, register, 0, 0, random.pick([8, -8, 16, 1]))] : []), raw(0x0d, register));
    } else if (kind === 19 && random.below(4) === 0) instructions.push(raw(random.below(256), random.below(16), random.below(16), random.below(20) - 4, random.below(200)));
    else instructions.push(...fill(random, random.pick(from), instructions.length, count + 6));
  }
  instructions.push(raw(0x95));
  return toBytes(instructions);
}

/** The image of instructions: in half of them, by the seed, indirect jumps have declared targets. */
export function imageOf(instructions: Uint8Array, seed: number): ProgramImage {
  const name = 'generated';
  if (seed % 2 === 0) return { name, instructions };
  const random = new Random(~seed);
  return { name, instructions, jumpTargets: Array.from({ length: instructions.length / 8 }, (_, pc) => pc).filter(() => random.below(4) !== 0) };
}

/** One program and its image. */
export function generateImage(seed: number): ProgramImage {
  return imageOf(generateUnverified(new Random(seed)), seed);
}

/** What a run has left behind, as text. */
export type Trace = string;

/** Runs generated programs on several engines of one machine, from equal states. */
export class Arena {
  readonly #space: AddressSpace = new AddressSpace({ initialBytes: 1 << 19 });
  readonly #machine: Machine;
  readonly #memory: number;
  readonly #stack: number;
  /** All frames: tail calls in functions go deeper than calls alone. */
  readonly #stackBytes: number;
  #current: Program | undefined = undefined;

  /** @param options what the machine has beside its helpers */
  constructor(options: Partial<MachineOptions> = {}) {
    this.#machine = new Machine({
      ...options, space: this.#space,
      helpers: [
        undefined,
        (call): void => {
          call.registers[0] = call.registers[2]! ^ (call.registers[4]! + call.registers[6]!);
          call.registers[1] = call.registers[3]! ^ call.registers[10]!;
        },
        (call): void => call.setPointer(this.#memory),
        (call): void => {
          call.callbackArguments.fill(0);
          call.callbackArguments[0] = call.registers[2]!;
          call.callbackArguments[2] = this.#memory;
          call.callbackArguments[3] = KERNEL_HI;
          call.callback(codeAddress(call.u32(3) % 8));
          call.setResult(call.callbackResult[0]!);
        },
        (call): void => {
          call.charge(call.u32(1) & 15);
          call.setResult(-22);
        },
      ],
      kfunc: (call, id) => call.setResult(id & 0xff),
      loadPacket: (_, offset) => (offset >= 0 && offset < 64 ? offset : -1),
      perCPUOffset: () => 16,
      tailCall: (_, map, index) => (((map ^ index) & 1) === 0 ? this.#current : undefined),
    });
    this.#memory = this.#space.alloc(64, 'memory');
    this.#machine.run(this.#machine.load({ name: 'warm', instructions: toBytes([raw(0x95)]) }), 0, 0);
    const stack = this.#space.live().find((one) => one.label === STACK_LABEL)!;
    this.#stack = stack.offset;
    this.#stackBytes = stack.size;
  }

  /** Result, memory, stack, fault and budget of one run on each engine; with `counts`, how often each instruction was executed. */
  run(image: ProgramImage, budget: number, engines: readonly RunOptions[], counts = false): readonly Trace[] {
    const program = this.#machine.load(image);
    this.#current = program;
    const traces = engines.map((engine) => {
      for (let byte = 0; byte < 64; byte++) this.#space.u8[this.#memory + byte] = byte * 7;
      this.#space.u8.fill(0, this.#stack, this.#stack + this.#stackBytes);
      const coverage = counts ? new Uint32Array(image.instructions.length >> 3) : undefined;
      const options = coverage === undefined ? { ...engine, budget } : { ...engine, budget, coverage };
      const { r0Lo, r0Hi, fault, instructions: used } = this.#machine.run(program, this.#memory, KERNEL_HI, options);
      const memory = bytesToHex(this.#space.getBytes(this.#memory, 64));
      const stack = bytesToHex(this.#space.getBytes(this.#stack + 640 + 64, 512));
      return JSON.stringify({
        r0: [r0Lo, r0Hi], used, memory, stack,
        fault: fault === undefined ? null : [fault.kind, fault.pc, fault.addressLo, fault.addressHi, fault.size],
        ...(coverage === undefined ? {} : { counts: [...coverage] }),
      });
    });
    this.#machine.unload(program);
    return traces;
  }

  get refusals(): number {
    return this.#machine.stats.refusals;
  }
}
