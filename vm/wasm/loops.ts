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
  /** By block: the header of the outermost loop around it that contains no calls, -1 where there is none. */
  readonly quietLoop: Int32Array;
  /** By header of such a loop: registers that only move within a region there (1 bit each). */
  readonly steady: Uint16Array;
}

const CALLS: ReadonlySet<number> = new Set([KIND.call, KIND.helper, KIND.callx, KIND.tailcall, KIND.packet, KIND.percpu]);

/** Finds them. Irreducible graphs have none. */
export function findLoops(code: Int32Array, graph: FlowGraph): LoopFacts {
  const { count } = graph;
  const quietLoop = new Int32Array(count).fill(-1);
  const steady = new Uint16Array(count);
  if (!graph.reducible) return { quietLoop, steady };
  const parent = loopParents(graph);
  const noisy = new Uint8Array(count);
  for (let block = 0; block < count; block++) {
    if (!hasCall(code, graph, block)) continue;
    for (let header = graph.isHeader[block] === 1 ? block : parent[block]!; header >= 0 && noisy[header] === 0; header = parent[header]!) noisy[header] = 1;
  }
  // Blocks are in reverse postorder: a loop's parent comes before it.
  for (let block = 0; block < count; block++) {
    const inner = graph.isHeader[block] === 1 ? block : parent[block]!;
    if (inner < 0 || noisy[inner] === 1) continue;
    const around = inner === block ? parent[inner]! : inner;
    quietLoop[block] = inner !== block ? quietLoop[inner]! : around >= 0 && noisy[around] === 0 ? quietLoop[around]! : inner;
  }
  findSteady(code, graph, quietLoop, steady);
  return { quietLoop, steady };
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
function findSteady(code: Int32Array, graph: FlowGraph, quietLoop: Int32Array, steady: Uint16Array): void {
  const copies: { readonly loop: number; readonly dst: number; readonly src: number }[] = [];
  for (let block = 0; block < graph.count; block++) if (quietLoop[block]! >= 0) steady[quietLoop[block]!] = 0x1fff;
  for (let block = 0; block < graph.count; block++) {
    const loop = quietLoop[block]!;
    if (loop < 0) continue;
    const visit = (dense: number): void => {
      const at = dense * STRIDE;
      const facts = FACTS[code[at]!]!;
      const d = code[at + 1]! >> 1;
      switch (facts.kind) {
        case KIND.add64:
          if (facts.stem === 'mul') steady[loop]! &= ~(1 << d);
          return;
        case KIND.mov64:
          if (facts.register) copies.push({ loop, dst: d, src: code[at + 2]! >> 1 });
          else steady[loop]! &= ~(1 << d);
          return;
        case KIND.store: case KIND.starg: case KIND.jump32: case KIND.jump64: case KIND.ja: case KIND.nop: case KIND.maygoto: case KIND.exit: case KIND.end:
          return;
        case KIND.atomic:
          // Any register may be its target; few loops with atomics step pointers of unknown regions.
          steady[loop] = 0;
          return;
        default:
          steady[loop]! &= ~(1 << d);
      }
    };
    for (let dense = graph.start[block]!; dense < graph.end[block]!; dense++) visit(dense);
    for (let dense = graph.selectStart[block]!; dense >= 0 && dense < graph.selectEnd[block]!; dense++) visit(dense);
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const { loop, dst, src } of copies) {
      if ((steady[loop]! & (1 << dst)) === 0 || (steady[loop]! & (1 << src)) !== 0) continue;
      steady[loop]! &= ~(1 << dst);
      changed = true;
    }
  }
}
