/**
 * @module vm/wasm/counted
 * Finds loops whose number of iterations is known when they begin: one block that steps a register to a limit, and reaches memory through
 * pointers that step along. Such a loop needs one look at its whole range in front of it instead of one at each access, and one charge.
 * What is found here is proven in front of the loop at run time (`counted-loops.ts`); nothing is assumed of values.
 */
import { OPS } from '../ops.ts';
import { STRIDE } from '../program.ts';
import { isCondition, type FlowGraph } from './cfg.ts';
import { FACTS, KIND, type OpFacts } from './flow.ts';

const REGISTERS = 13;
const FRAME_POINTER = 10;
/**
 * Steps and sums of them stay below this: with the offset of an access they are less than 65,536 even after four iterations, and live memory
 * begins there. So no base that lags behind its address is negative.
 */
const NEAR = 1 << 13;

/** A sum of registers as they are when an iteration begins, and a constant. */
export interface Sum {
  readonly registers: readonly number[];
  readonly constant: number;
  /** The register that the first operand came from: its window is the one to look at. */
  readonly root: number;
}

/** What is added in each iteration: a constant, or a register that the loop does not change. */
export interface Step {
  readonly constant: number;
  /** -1 for none. */
  readonly register: number;
}

/** Accesses that differ by constants only: the lowest, and the one that ends last. */
export interface Reach {
  readonly sum: Sum;
  readonly step: Step;
  readonly from: number;
  readonly fromBytes: number;
  readonly to: number;
  readonly toBytes: number;
}

/** The loop goes on while `value relation limit`, with the value at the end of an iteration. */
export interface CountedLoop {
  readonly header: number;
  readonly exit: number;
  /** Instructions of an iteration, and of the last one: a jump back is not part of that. */
  readonly length: number;
  readonly lastLength: number;
  /** Dense instruction of the condition. */
  readonly condition: number;
  readonly relation: 'ne' | 'lt' | 'le' | 'gt' | 'ge';
  readonly signed: boolean;
  readonly width: 32 | 64;
  readonly value: Sum;
  readonly step: Step;
  /** A sum of registers that the loop does not change. */
  readonly limit: Sum;
  readonly reaches: readonly Reach[];
  /** Step of each register that the loop changes by a constant only, 0 for others. */
  readonly steps: Int32Array;
  /** Registers that the loop writes. */
  readonly written: number;
  readonly accesses: number;
}

const CONTINUE: Readonly<Record<string, readonly [taken: CountedLoop['relation'] | '', fallen: CountedLoop['relation'] | '', signed: boolean]>> = {
  jne: ['ne', '', false], jeq: ['', 'ne', false], jlt: ['lt', 'ge', false], jge: ['ge', 'lt', false], jgt: ['gt', 'le', false], jle: ['le', 'gt', false],
  jslt: ['lt', 'ge', true], jsge: ['ge', 'lt', true], jsgt: ['gt', 'le', true], jsle: ['le', 'gt', true],
};

/** Operations that a counted loop may consist of: no calls, no faults of their own. */
const ALLOWED: ReadonlySet<number> = new Set([
  KIND.add64, KIND.and64, KIND.or64, KIND.mov64, KIND.lsh64, KIND.rsh64, KIND.arsh64, KIND.alu32, KIND.movs64, KIND.movs32, KIND.neg64, KIND.neg32,
  KIND.bswap, KIND.bswap64, KIND.lddw, KIND.nop, KIND.load, KIND.store, KIND.ldarg, KIND.starg, KIND.div64, KIND.sdiv64,
]);
const JA = OPS.indexOf('ja');

/** By header. `frameBytes`: accesses that stay inside the frame's own stack need no look. */
export function findCountedLoops(code: Int32Array, graph: FlowGraph, checked: boolean, frameBytes: number): ReadonlyMap<number, CountedLoop> {
  const found = new Map<number, CountedLoop>();
  if (!graph.reducible) return found;
  for (let block = 0; block < graph.count; block++) {
    if (graph.isHeader[block] === 0) continue;
    const loop = countedLoop(code, graph, block, checked, frameBytes);
    if (loop !== undefined) found.set(block, loop);
  }
  return found;
}

/** The block that closes the loop: the header itself, or one behind it that is a jump only; -1 where the loop has more. */
function latchOf(code: Int32Array, graph: FlowGraph, header: number): number {
  const { firstPredecessor, predecessors } = graph;
  let latch = -1;
  for (let at = firstPredecessor[header]!; at < firstPredecessor[header + 1]!; at++) {
    if (predecessors[at]! < header) continue;
    if (latch >= 0) return -1;
    latch = predecessors[at]!;
  }
  if (latch === header) return latch;
  const isJump = graph.end[latch]! - graph.start[latch]! === 1 && code[graph.start[latch]! * STRIDE] === JA;
  return isJump && firstPredecessor[latch + 1]! - firstPredecessor[latch]! === 1 && predecessors[firstPredecessor[latch]!] === header ? latch : -1;
}

function countedLoop(code: Int32Array, graph: FlowGraph, header: number, checked: boolean, frameBytes: number): CountedLoop | undefined {
  const latch = latchOf(code, graph, header);
  const start = graph.start[header]!;
  const end = graph.end[header]!;
  if (latch < 0 || start === end || graph.taken[header]! < 0 || graph.switches.has(header)) return undefined;
  const onTaken = graph.taken[header] === latch;
  const exit = onTaken ? graph.next[header]! : graph.taken[header]!;
  const last = (end - 1) * STRIDE;
  if (exit === latch || exit < 0 || !isCondition(code[last]!)) return undefined;
  const body = walkBody(code, start, end - 1);
  if (body === undefined) return undefined;
  const condition = conditionOf(code, last, body, onTaken);
  if (condition === undefined) return undefined;
  const reaches = checked ? reachesOf(body, frameBytes) : [];
  if (reaches === undefined) return undefined;
  const steps = Int32Array.from({ length: REGISTERS }, (_, register) => {
    const step = body.stepOf(register);
    return step === undefined || step.register >= 0 ? 0 : step.constant;
  });
  return {
    header, exit, length: end - start + (latch === header ? 0 : 1), lastLength: end - start, condition: end - 1, reaches, steps, written: body.written,
    accesses: body.accesses.length, ...condition,
  };
}

interface Access {
  readonly sum: Sum | undefined;
  readonly bytes: number;
}

interface Body {
  /** Value of each register behind the last instruction before the condition, by its 64 bits and by its lower half. */
  readonly sums: readonly (Sum | undefined)[];
  readonly lows: readonly (Sum | undefined)[];
  readonly written: number;
  readonly accesses: readonly Access[];
  /** How a register changes from one iteration to the next; `undefined` where that is not known. */
  stepOf(register: number): Step | undefined;
  lowStepOf(register: number): number | undefined;
}

const NONE: Step = { constant: 0, register: -1 };

function walkBody(code: Int32Array, start: number, end: number): Body | undefined {
  const sums: (Sum | undefined)[] = Array.from({ length: REGISTERS }, (_, register) => ({ registers: [register], constant: 0, root: register }));
  const lows = sums.slice();
  const accesses: Access[] = [];
  let written = 0;
  for (let dense = start; dense < end; dense++) {
    const at = dense * STRIDE;
    const facts = FACTS[code[at]!]!;
    if (!ALLOWED.has(facts.kind)) return undefined;
    const d = code[at + 1]! >> 1;
    const s = code[at + 2]! >> 1;
    if (facts.kind === KIND.load || facts.kind === KIND.store) {
      if (facts.access === 'p' || facts.access === 'a') return undefined;
      const isLoad = facts.kind === KIND.load;
      const off = isLoad || facts.register ? code[at + 3]! : code[at + 2]!;
      const sum = sums[isLoad ? s : d];
      accesses.push({ sum: sum === undefined ? undefined : { ...sum, constant: sum.constant + off }, bytes: facts.bytes });
      if (!isLoad) continue;
    }
    if (facts.kind === KIND.nop || facts.kind === KIND.starg) continue;
    written |= 1 << d;
    const low = lowAfter(code, at, facts, lows);
    sums[d] = sumAfter(code, at, facts, sums);
    lows[d] = low;
  }
  const stepOf = (register: number): Step | undefined => {
    if ((written & (1 << register)) === 0) return NONE;
    const sum = sums[register];
    if (sum === undefined || !sum.registers.includes(register)) return undefined;
    if (sum.registers.length === 1) return { constant: sum.constant, register: -1 };
    const other = sum.registers[0] === register ? sum.registers[1]! : sum.registers[0]!;
    return sum.constant === 0 && other !== register && (written & (1 << other)) === 0 ? { constant: 0, register: other } : undefined;
  };
  const lowStepOf = (register: number): number | undefined => {
    if ((written & (1 << register)) === 0) return 0;
    const low = lows[register];
    return low !== undefined && low.registers[0] === register ? low.constant : undefined;
  };
  return { sums, lows, written, accesses, stepOf, lowStepOf };
}

function plus(sum: Sum | undefined, constant: number): Sum | undefined {
  if (sum === undefined || Math.abs(sum.constant + constant) >= NEAR) return undefined;
  return { ...sum, constant: sum.constant + constant };
}

function sumAfter(code: Int32Array, at: number, facts: OpFacts, sums: readonly (Sum | undefined)[]): Sum | undefined {
  const own = sums[code[at + 1]! >> 1];
  const other = sums[code[at + 2]! >> 1];
  if (facts.kind === KIND.mov64 && facts.register) return other;
  if (facts.kind !== KIND.add64 || facts.stem === 'mul') return undefined;
  if (!facts.register) return plus(own, facts.stem === 'add' ? code[at + 3]! : -code[at + 3]!);
  if (facts.stem !== 'add' || own === undefined || other === undefined || own.registers.length + other.registers.length > 2) return undefined;
  return plus({ registers: [...own.registers, ...other.registers], constant: own.constant, root: own.root }, other.constant);
}

/** The lower half: one register and a constant. */
function lowAfter(code: Int32Array, at: number, facts: OpFacts, lows: readonly (Sum | undefined)[]): Sum | undefined {
  const isAdd = facts.stem === 'add' || facts.stem === 'sub';
  if (facts.stem === 'mov' && facts.register && facts.kind !== KIND.movs64 && facts.kind !== KIND.movs32) return lows[code[at + 2]! >> 1];
  if (!isAdd || facts.register || (facts.kind !== KIND.add64 && facts.kind !== KIND.alu32)) return undefined;
  return plus(lows[code[at + 1]! >> 1], facts.stem === 'add' ? code[at + 3]! : -code[at + 3]!);
}

/** Steps of all registers of a sum together. */
function stepOfSum(body: Body, sum: Sum): Step | undefined {
  let constant = 0;
  let register = -1;
  for (const one of sum.registers) {
    const step = body.stepOf(one);
    if (step === undefined || (step.register >= 0 && register >= 0)) return undefined;
    constant += step.constant;
    if (step.register >= 0) register = step.register;
  }
  return (constant !== 0 && register >= 0) || Math.abs(constant) >= NEAR ? undefined : { constant, register };
}

function conditionOf(
  code: Int32Array, at: number, body: Body, onTaken: boolean,
): Pick<CountedLoop, 'relation' | 'signed' | 'width' | 'value' | 'step' | 'limit'> | undefined {
  const facts = FACTS[code[at]!]!;
  const known = CONTINUE[facts.stem];
  if (known === undefined) return undefined;
  const [taken, fallen, signed] = known;
  const relation = onTaken ? taken : fallen;
  if (relation === '') return undefined;
  const width = facts.width === 32 ? 32 : 64;
  const d = code[at + 1]! >> 1;
  const sumOf = (register: number): Sum | undefined => (width === 32 ? body.lows[register] : body.sums[register]);
  const stepOf = (sum: Sum): Step | undefined => {
    if (width === 64) return stepOfSum(body, sum);
    const constant = body.lowStepOf(sum.registers[0]!);
    return constant === undefined ? undefined : { constant, register: -1 };
  };
  const left = sumOf(d);
  const right = facts.register ? sumOf(code[at + 2]! >> 1) : { registers: [], constant: code[at + 3]!, root: -1 };
  if (left === undefined || right === undefined) return undefined;
  const ownStep = stepOf(left);
  const otherStep = right.registers.length === 0 ? NONE : stepOf(right);
  if (ownStep === undefined || otherStep === undefined) return undefined;
  const isStill = (step: Step): boolean => step.constant === 0 && step.register < 0;
  const turned = ({ ne: 'ne', lt: 'gt', le: 'ge', gt: 'lt', ge: 'le' } as const)[relation];
  if (isStill(ownStep) === isStill(otherStep)) return undefined;
  const made = isStill(otherStep) ? { value: left, step: ownStep, limit: right, relation } : { value: right, step: otherStep, limit: left, relation: turned };
  const isUp = made.step.register >= 0 || made.step.constant > 0;
  if (made.relation === 'ne') return made.step.register >= 0 ? undefined : { ...made, signed, width };
  if (isUp !== (made.relation === 'lt' || made.relation === 'le')) return undefined;
  return { ...made, signed, width };
}

/** The ranges to look at; `undefined` where an access cannot be told in advance. */
function reachesOf(body: Body, frameBytes: number): readonly Reach[] | undefined {
  const reaches = new Map<string, Reach>();
  for (const { sum, bytes } of body.accesses) {
    if (sum === undefined) return undefined;
    const step = stepOfSum(body, sum);
    if (step === undefined) return undefined;
    const { constant, registers, root } = sum;
    if (registers.length === 1 && registers[0] === FRAME_POINTER && step.constant === 0 && constant >= -frameBytes && constant + bytes <= 0) continue;
    const key = `${root} ${registers.toSorted().join(' ')}`;
    const known = reaches.get(key);
    if (known === undefined) {
      reaches.set(key, { sum, step, from: constant, fromBytes: bytes, to: constant, toBytes: bytes });
      continue;
    }
    const isLower = constant < known.from;
    const isHigher = constant + bytes > known.to + known.toBytes;
    reaches.set(key, {
      ...known, ...(isLower ? { from: constant, fromBytes: bytes } : {}), ...(isHigher ? { to: constant, toBytes: bytes } : {}),
    });
  }
  return reaches.size > 4 ? undefined : [...reaches.values()];
}
