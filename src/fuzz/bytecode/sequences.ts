/**
 * @module src/fuzz/bytecode/sequences
 * Longer pieces for the grammar, each with its own beginning and end: open-coded iterators, dynamic pointers, numbers that depend on a path
 * nobody can foresee and come back through the stack. Mostly right, now and then without what the verifier insists on. Owns what they
 * consist of; the grammar owns where they stand. Contracts reproduced: those of kernel/bpf/helpers.c and bpf_iter.c.
 */
import * as U from '../../../isa/uapi.ts';
import type { Random } from '../random.ts';

/** Ids of the kernel functions of the number iterator in the kernel's types. */
export interface IteratorFunctions {
  readonly create: number;
  readonly next: number;
  readonly destroy: number;
}

/** Where instructions go. */
export interface Writer {
  readonly random: Random;
  /** Appends one; its index. */
  emit(code: number, dst: number, src: number, off: number, imm: number): number;
  /** Makes the jump at `at` lead to what comes next. */
  land(at: number): void;
  /** Makes the jump at `at` lead to the instruction at `to`. */
  lead(at: number, to: number): void;
  /** Index of what comes next. */
  here(): number;
}

const FP = 10;
/** Below the slots that the grammar keeps numbers in: the 16 bytes of a dynamic pointer (an iterator has 8), and a buffer. */
const OBJECT = -80, BUFFER = -88, PATH_SLOT = -96;
const MOV = U.BPF_ALU64 | U.BPF_MOV, ADD = U.BPF_ALU64 | U.BPF_ADD;
const CALL = U.BPF_JMP | U.BPF_CALL;

function constant(to: Writer, register: number, value: number): void {
  to.emit(MOV, register, 0, 0, value);
}

function stackAddress(to: Writer, register: number, off: number): void {
  to.emit(MOV | U.BPF_X, register, FP, 0, 0);
  to.emit(ADD, register, 0, 0, off);
}

function loadMap(to: Writer, register: number, fd: number): void {
  to.emit(U.BPF_LD | U.BPF_IMM | U.BPF_DW, register, U.BPF_PSEUDO_MAP_FD, 0, fd);
  to.emit(0, 0, 0, 0, 0);
}

/** `for (i in start…end) …`: bpf_iter_num_new, _next until null, _destroy. Leaves 0 in r0. */
export function iteratorLoop(to: Writer, functions: IteratorFunctions, sum: number): void {
  const { random } = to;
  const kernelFunction = (id: number): number => to.emit(CALL, 0, U.BPF_PSEUDO_KFUNC_CALL, 0, id);
  stackAddress(to, 1, OBJECT);
  constant(to, 2, random.pick([0, 0, 1, -3, 5]));
  constant(to, 3, random.pick([3, 10, 0, 100, 0x7fffffff]));
  kernelFunction(functions.create);
  if (random.oneIn(4)) constant(to, sum, 0);
  const start = to.here();
  stackAddress(to, 1, OBJECT);
  kernelFunction(functions.next);
  const done = random.oneIn(16) ? -1 : to.emit(U.BPF_JMP | U.BPF_JEQ, 0, 0, 0, 0);
  switch (random.below(5)) {
    case 0: break;
    case 1: to.emit(U.BPF_LDX | U.BPF_MEM | U.BPF_W, sum, 0, 0, 0); break;
    case 2: to.emit(ADD, sum, 0, 0, 1); break;
    case 3:
      to.emit(U.BPF_LDX | U.BPF_MEM | U.BPF_W, 1, 0, 0, 0);
      to.emit(ADD | U.BPF_X, sum, 1, 0, 0);
      if (random.oneIn(2)) to.emit(U.BPF_ALU64 | U.BPF_AND, sum, 0, 0, 31);
      break;
    default: to.emit(random.oneIn(4) ? U.BPF_STX | U.BPF_MEM | U.BPF_W : U.BPF_STX | U.BPF_MEM | U.BPF_DW, FP, sum, random.oneIn(12) ? OBJECT : BUFFER, 0);
  }
  to.lead(to.emit(U.BPF_JMP | U.BPF_JA, 0, 0, 0, 0), start);
  if (done >= 0) to.land(done);
  if (!random.oneIn(10)) {
    stackAddress(to, 1, OBJECT);
    kernelFunction(functions.destroy);
  }
  constant(to, 0, 0);
}

/** A record of a ring buffer behind a dynamic pointer: reserved, written, read or looked into, submitted or given up. Leaves 0 in r0. */
export function dynamicPointer(to: Writer, ring: number): void {
  const { random } = to;
  const size = random.pick([8, 16, 32, 64]);
  const inside = (): number => random.pick([0, 0, 4, 8, size - 8, size, -1]);
  loadMap(to, 1, ring);
  constant(to, 2, size);
  constant(to, 3, 0);
  stackAddress(to, 4, OBJECT);
  to.emit(CALL, 0, 0, 0, U.BPF_FUNC_ringbuf_reserve_dynptr);
  for (let uses = 1 + random.below(2); uses > 0; uses--) {
    switch (random.below(random.oneIn(8) ? 4 : 3)) {
      case 0: {
        stackAddress(to, 1, OBJECT);
        constant(to, 2, inside());
        constant(to, 3, random.pick([1, 4, 8]));
        to.emit(CALL, 0, 0, 0, U.BPF_FUNC_dynptr_data);
        const isNull = random.oneIn(12) ? -1 : to.emit(U.BPF_JMP | U.BPF_JEQ, 0, 0, 0, 0);
        to.emit(U.BPF_ST | U.BPF_MEM | random.pick([U.BPF_B, U.BPF_W, U.BPF_DW]), 0, 0, random.oneIn(8) ? 4 : 0, random.int32());
        if (isNull >= 0) to.land(isNull);
        break;
      }
      case 1:
        to.emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, FP, 0, BUFFER, random.int32());
        stackAddress(to, 1, OBJECT);
        constant(to, 2, inside());
        stackAddress(to, 3, BUFFER);
        constant(to, 4, random.pick([8, 4, 1, 16]));
        constant(to, 5, 0);
        to.emit(CALL, 0, 0, 0, U.BPF_FUNC_dynptr_write);
        break;
      case 2:
        stackAddress(to, 1, BUFFER);
        constant(to, 2, random.pick([8, 4, 1]));
        stackAddress(to, 3, OBJECT);
        constant(to, 4, inside());
        constant(to, 5, 0);
        to.emit(CALL, 0, 0, 0, U.BPF_FUNC_dynptr_read);
        break;
      default: to.emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, FP, 0, random.pick([OBJECT, OBJECT + 8]), 0);
    }
  }
  for (let ends = random.oneIn(10) ? random.below(3) : 1; ends > 0; ends--) {
    stackAddress(to, 1, OBJECT);
    constant(to, 2, 0);
    to.emit(CALL, 0, 0, 0, random.oneIn(2) ? U.BPF_FUNC_ringbuf_submit_dynptr : U.BPF_FUNC_ringbuf_discard_dynptr);
  }
  constant(to, 0, 0);
}

const FETCHES = [U.BPF_ADD | U.BPF_FETCH, U.BPF_OR | U.BPF_FETCH, U.BPF_XOR | U.BPF_FETCH, U.BPF_XCHG] as const;

/**
 * One of two numbers, written to the stack on two paths, read back by a load or an atomic fetch and used as offset into the stack: one of them
 * often leads out of it. A verifier that forgets what the first path depended on takes the second for the same. `unknown` is a register that
 * holds a number, `number` and `pointer` are overwritten.
 */
export function divergingPaths(to: Writer, unknown: number, number: number, pointer: number): void {
  const { random } = to;
  const inside = [-8, -16, -24, -32], outside = [-1024, -4096, 8, 64];
  const write = (value: number): void => {
    constant(to, number, value);
    to.emit(U.BPF_STX | U.BPF_MEM | U.BPF_DW, FP, number, PATH_SLOT, 0);
  };
  const isFirst = random.oneIn(2);
  const branch = to.emit((random.oneIn(2) ? U.BPF_JMP : U.BPF_JMP32) | random.pick([U.BPF_JEQ, U.BPF_JNE, U.BPF_JGT, U.BPF_JSGT]), unknown, 0, 0, random.pick([0, 0, 1, 7]));
  write(random.pick(isFirst ? inside : random.oneIn(3) ? inside : outside));
  const over = to.emit(U.BPF_JMP | U.BPF_JA, 0, 0, 0, 0);
  to.land(branch);
  write(random.pick(isFirst ? outside : inside));
  to.land(over);
  if (random.oneIn(3)) to.emit(U.BPF_LDX | U.BPF_MEM | U.BPF_DW, number, FP, PATH_SLOT, 0);
  else {
    constant(to, number, 0);
    to.emit(U.BPF_STX | U.BPF_ATOMIC | U.BPF_DW, FP, number, PATH_SLOT, random.pick(FETCHES));
  }
  to.emit(MOV | U.BPF_X, pointer, FP, 0, 0);
  to.emit(ADD | U.BPF_X, pointer, number, 0, 0);
  to.emit(U.BPF_ST | U.BPF_MEM | U.BPF_DW, pointer, 0, 0, random.below(3));
}
