/**
 * @module vm/wasm/pointers
 * Which registers of a verified program hold kernel addresses, and what follows: two of them compare by their lower halves. A loop that
 * runs from one pointer to another then needs no 64-bit register at all.
 *
 * Why verified programs only: an access through a register says that it points into live memory, as the verifier has proven it. Live
 * memory begins at 65,536 and ends below 2^31, so an address within {@link REACH} bytes of it has the upper half of all kernel addresses.
 */
import { KERNEL_HI } from '../address-space.ts';
import { OP, OPS } from '../ops.ts';
import { STRIDE, type Atomic } from '../program.ts';
import { eachSuccessor, type FlowGraph } from './cfg.ts';
import { definedRegister, FACTS, KIND } from './flow.ts';

const REGISTERS = 13;
const REACH = 65_536;
const UNKNOWN = -1;
const FRAME_POINTER = 10;

/** By operation: what it is for two kernel addresses, -1 where that is nothing else. */
const NARROW: Int16Array = Int16Array.from(OPS, (name) => {
  const match = /^j(s?)(eq|ne|gt|ge|lt|le)64x$/.exec(name);
  return match === null ? -1 : OP[`j${match[2]}32x`]!;
});

/** Makes 32-bit comparisons of those of two pointers in `code`, a copy of the program's. Walks all instructions of the function. */
export function narrowComparisons(code: Int32Array, original: Int32Array, graph: FlowGraph, atomics: readonly Atomic[]): void {
  let found = false;
  for (let block = 0; block < graph.count; block++) {
    if (graph.start[block] === graph.end[block]) continue;
    const at = (graph.end[block]! - 1) * STRIDE;
    code[at] = original[at]!;
    if (NARROW[original[at]!]! >= 0) found = true;
  }
  if (!found) return;
  const entry = solve(original, graph, atomics);
  const state = new Int32Array(REGISTERS);
  for (let block = 0; block < graph.count; block++) {
    const last = graph.end[block]! - 1;
    if (last < graph.start[block]!) continue;
    const at = last * STRIDE;
    const narrow = NARROW[original[at]!]!;
    if (narrow < 0) continue;
    for (let register = 0; register < REGISTERS; register++) state[register] = entry[block * REGISTERS + register]!;
    for (let dense = graph.start[block]!; dense < last; dense++) step(original, dense * STRIDE, atomics, state);
    if (state[original[at + 1]! >> 1]! >= 0 && state[original[at + 2]! >> 1]! >= 0) code[at] = narrow;
  }
}

/** By block and register at its beginning: how far the value may be from live memory, or {@link UNKNOWN}. */
function solve(code: Int32Array, graph: FlowGraph, atomics: readonly Atomic[]): Int32Array {
  const { count } = graph;
  const entry = new Int32Array(count * REGISTERS).fill(UNKNOWN);
  const reached = new Uint8Array(count);
  const pending = new Uint8Array(count);
  const queue: number[] = [0];
  entry[FRAME_POINTER] = 0;
  reached[0] = 1;
  const state = new Int32Array(REGISTERS);
  const skipped = new Int32Array(REGISTERS);
  for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
    pending[block] = 0;
    for (let register = 0; register < REGISTERS; register++) state[register] = entry[block * REGISTERS + register]!;
    for (let dense = graph.start[block]!; dense < graph.end[block]!; dense++) step(code, dense * STRIDE, atomics, state);
    if (graph.selectStart[block]! >= 0) {
      skipped.set(state);
      for (let dense = graph.selectStart[block]!; dense < graph.selectEnd[block]!; dense++) step(code, dense * STRIDE, atomics, state);
      for (let register = 0; register < REGISTERS; register++) state[register] = join(state[register]!, skipped[register]!);
    }
    eachSuccessor(graph, block, (to) => {
      let changed = reached[to] === 0;
      for (let register = 0; register < REGISTERS; register++) {
        const index = to * REGISTERS + register;
        const joined = reached[to] === 0 ? state[register]! : join(entry[index]!, state[register]!);
        if (joined === entry[index]) continue;
        entry[index] = joined;
        changed = true;
      }
      reached[to] = 1;
      if (changed && pending[to] === 0) {
        pending[to] = 1;
        queue.push(to);
      }
    });
  }
  return entry;
}

/** The larger distance, in steps of powers of two: a pointer that only moves in a loop is soon unknown. */
function join(a: number, b: number): number {
  if (a === b) return a;
  if (a < 0 || b < 0) return UNKNOWN;
  const far = Math.max(a, b);
  const rounded = far === 0 ? 0 : 2 ** (32 - Math.clz32(far - 1));
  return rounded > REACH ? UNKNOWN : rounded;
}

function step(code: Int32Array, at: number, atomics: readonly Atomic[], state: Int32Array): void {
  const facts = FACTS[code[at]!]!;
  const d = code[at + 1]! >> 1;
  const s = code[at + 2]! >> 1;
  switch (facts.kind) {
    case KIND.load: {
      // The base is left at its offset from live memory; the destination may be the base.
      if (facts.access === 'f') state[s] = Math.abs(code[at + 3]!);
      state[d] = UNKNOWN;
      return;
    }
    case KIND.store:
      if (facts.access === 'f') state[d] = Math.abs(code[facts.register ? at + 3 : at + 2]!);
      return;
    case KIND.atomic: {
      const atomic = atomics[code[at + 3]!]!;
      if (!atomic.arena) state[atomic.operation === 0x100 ? atomic.src : atomic.dst] = Math.abs(atomic.off);
      break;
    }
    case KIND.mov64:
      state[d] = facts.register ? state[s]! : UNKNOWN;
      return;
    case KIND.add64:
      if (!facts.register && facts.stem !== 'mul' && state[d]! >= 0) {
        const far = state[d]! + Math.abs(code[at + 3]!);
        state[d] = far > REACH ? UNKNOWN : far;
      } else state[d] = UNKNOWN;
      return;
    case KIND.lddw:
      state[d] = code[at + 3] === KERNEL_HI && code[at + 2]! >= REACH ? 0 : UNKNOWN;
      return;
    default:
  }
  const register = definedRegister(facts, code, at, atomics);
  if (register >= 0) state[register] = UNKNOWN;
}
