/**
 * @module vm/wasm/loops
 * Natural loops of a reducible flow graph, and through which registers checked code may reach memory without leaving a loop.
 *
 * Why: WebAssembly has no branch hints everywhere. A call in an arm that joins the loop again makes V8 reload and spill on the hot path
 * (measured: 3.2 ns instead of 0.6 for a copied byte), an arm that returns does not. So in a loop without calls a check that misses
 * hands over to the interpreter, and what the loop reaches through pointers is looked up in front of it.
 */
import { STRIDE } from '../program.ts';
import type { FlowGraph } from './cfg.ts';
import { FACTS, KIND } from './flow.ts';

export interface LoopFacts {
  /** By block: the header of the innermost loop around it, if that contains no calls; -1 otherwise. */
  readonly quietLoop: Int32Array;
  /** By header of a loop without calls: registers that only move within a region there (1 bit each). */
  readonly steady: Uint16Array;
  /** By header: registers that are steady in it, but not in the loop around it. */
  readonly entering: Uint16Array;
}

const CALLS: ReadonlySet<number> = new Set([KIND.call, KIND.helper, KIND.callx, KIND.tailcall, KIND.packet, KIND.percpu]);
const REGISTERS = 13;
/** Instructions of the loops that V8 unrolls, at most. */
const UNROLLED_BY_V8 = 80;

/** Finds them. Irreducible graphs have none. */
export function findLoops(code: Int32Array, graph: FlowGraph): LoopFacts {
  const { count } = graph;
  const quietLoop = new Int32Array(count).fill(-1);
  const steady = new Uint16Array(count);
  const entering = new Uint16Array(count);
  if (!graph.reducible) return { quietLoop, steady, entering };
  const parent = loopParents(graph);
  const noisy = new Uint8Array(count);
  for (let block = 0; block < count; block++) {
    if (!hasCall(code, graph, block)) continue;
    for (let header = graph.isHeader[block] === 1 ? block : parent[block]!; header >= 0 && noisy[header] === 0; header = parent[header]!) noisy[header] = 1;
  }
  for (let block = 0; block < count; block++) {
    const inner = graph.isHeader[block] === 1 ? block : parent[block]!;
    if (inner >= 0 && noisy[inner] === 0) quietLoop[block] = inner;
  }
  findSteady(code, graph, quietLoop, parent, steady);
  for (let header = 0; header < count; header++) {
    if (quietLoop[header] !== header) continue;
    const around = parent[header]!;
    entering[header] = steady[header]! & ~(around >= 0 && noisy[around] === 0 ? steady[around]! : 0);
  }
  return { quietLoop, steady, entering };
}

/**
 * 1 for headers of innermost loops in which ways part and meet again. Such branches are hard to predict, and four copies of them, as V8's
 * unrolling makes, harder: a bubble sort takes a quarter more time.
 */
export function findForkingLoops(graph: FlowGraph): Uint8Array {
  const { count } = graph;
  const forking = new Uint8Array(count);
  const sizes = new Int32Array(count);
  if (!graph.reducible) return forking;
  const parent = loopParents(graph);
  const loopOf = (block: number): number => (graph.isHeader[block] === 1 ? block : parent[block]!);
  for (let block = 0; block < count; block++) {
    const loop = loopOf(block);
    if (loop < 0) continue;
    sizes[loop]! += graph.end[block]! - graph.start[block]!;
    const taken = graph.taken[block]!;
    const next = graph.next[block]!;
    if (taken >= 0 && next >= 0 && taken !== loop && next !== loop && loopOf(taken) === loop && loopOf(next) === loop) forking[loop] = 1;
  }
  for (let header = 0; header < count; header++) {
    if (graph.isHeader[header] === 1 && parent[header]! >= 0) forking[parent[header]!] = 0;
    if (sizes[header]! > UNROLLED_BY_V8) forking[header] = 0;
  }
  return forking;
}

/** By block the header of the innermost loop around it; for headers that of the loop outside. -1 for none. */
function loopParents(graph: FlowGraph): Int32Array {
  const { count, firstPredecessor, predecessors } = graph;
  const parent = new Int32Array(count).fill(-1);
  // Outermost loop found so far that contains a block, with path compression.
  const outer = Int32Array.from({ length: count }, (_, block) => block);
  const find = (block: number): number => {
    let root = block;
    while (outer[root] !== root) root = outer[root]!;
    for (let at = block; outer[at] !== root; ) {
      const next = outer[at]!;
      outer[at] = root;
      at = next;
    }
    return root;
  };
  const pending: number[] = [];
  for (let header = count - 1; header >= 0; header--) {
    if (graph.isHeader[header] === 0) continue;
    pending.length = 0;
    for (let at = firstPredecessor[header]!; at < firstPredecessor[header + 1]!; at++) {
      if (predecessors[at]! >= header) pending.push(predecessors[at]!);
    }
    while (pending.length > 0) {
      const block = find(pending.pop()!);
      if (block === header) continue;
      parent[block] = header;
      outer[block] = header;
      for (let at = firstPredecessor[block]!; at < firstPredecessor[block + 1]!; at++) pending.push(predecessors[at]!);
    }
  }
  return parent;
}

function hasCall(code: Int32Array, graph: FlowGraph, block: number): boolean {
  for (let dense = graph.start[block]!; dense < graph.end[block]!; dense++) if (CALLS.has(FACTS[code[dense * STRIDE]!]!.kind)) return true;
  return false;
}

/** A register is steady in a loop where every write to it there is a step from a pointer: `+=`, `-=`, or a copy of a steady register. */
function findSteady(code: Int32Array, graph: FlowGraph, quietLoop: Int32Array, parent: Int32Array, steady: Uint16Array): void {
  const { count } = graph;
  const killed = new Uint16Array(count);
  // By loop and register: the registers that it is copied from.
  const sources = new Map<number, Uint16Array>();
  for (let block = 0; block < count; block++) {
    const loop = quietLoop[block]!;
    if (loop < 0) continue;
    let copies = sources.get(loop);
    if (copies === undefined) sources.set(loop, (copies = new Uint16Array(REGISTERS)));
    for (let dense = graph.start[block]!; dense < graph.end[block]!; dense++) killed[loop]! |= effectOf(code, dense * STRIDE, copies);
    for (let dense = graph.selectStart[block]!; dense >= 0 && dense < graph.selectEnd[block]!; dense++) {
      killed[loop]! |= effectOf(code, dense * STRIDE, copies);
    }
  }
  // An inner loop has a higher number than the one around it.
  for (let header = count - 1; header >= 0; header--) {
    if (quietLoop[header] !== header) continue;
    const copies = sources.get(header)!;
    let bad = killed[header]!;
    for (let changed = true; changed; ) {
      changed = false;
      for (let register = 0; register < REGISTERS; register++) {
        if ((bad & (1 << register)) !== 0 || (copies[register]! & bad) === 0) continue;
        bad |= 1 << register;
        changed = true;
      }
    }
    steady[header] = ~bad & 0x1fff;
    const around = parent[header]!;
    if (around < 0 || quietLoop[around] !== around) continue;
    killed[around]! |= killed[header]!;
    const above = sources.get(around);
    if (above === undefined) sources.set(around, copies.slice());
    else for (let register = 0; register < REGISTERS; register++) above[register]! |= copies[register]!;
  }
}

/** Registers that an instruction makes unsteady; copies are noted in `copies`. */
function effectOf(code: Int32Array, at: number, copies: Uint16Array): number {
  const facts = FACTS[code[at]!]!;
  const d = code[at + 1]! >> 1;
  switch (facts.kind) {
    case KIND.add64:
      return facts.stem === 'mul' ? 1 << d : 0;
    case KIND.mov64:
      if (!facts.register) return 1 << d;
      copies[d]! |= 1 << (code[at + 2]! >> 1);
      return 0;
    case KIND.store: case KIND.starg: case KIND.jump32: case KIND.jump64: case KIND.ja: case KIND.nop: case KIND.maygoto: case KIND.exit: case KIND.end:
      return 0;
    case KIND.atomic:
      // Any register may be its target; few loops with atomics step pointers of unknown regions.
      return 0x1fff;
    default:
      return 1 << d;
  }
}
