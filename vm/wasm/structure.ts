/**
 * @module vm/wasm/structure
 * Lays out a control-flow graph as WebAssembly blocks and loops, from the dominator tree (Ramsey, "Beyond Relooper", ICFP 2022):
 * a loop header opens a `loop`; a block where forward edges meet is placed behind a `block` that its dominator opens; every other
 * block is placed where the one edge to it is. Irreducible graphs get a `loop` around a `br_table` over all blocks.
 *
 * Iterative: the nesting of programs is bounded by their size only.
 */
import { TYPE_VOID, W, type ByteWriter } from './bytes.ts';
import { childLists, type FlowGraph, type Switch } from './cfg.ts';

/** Thrown where a function cannot be expressed within the limits of WebAssembly engines. */
export class Refusal extends Error {}

/** What the layout asks of the code generator. */
export interface BlockEmitter {
  readonly graph: FlowGraph;
  readonly out: ByteWriter;
  enterBlock(block: number): void;
  /** In front of a loop, with the state of its header. */
  emitLoopEntry(block: number): void;
  emitLoopHead(block: number): void;
  /** True for a header whose loop has a second version, which is emitted in front of it and goes to the loop's exit by `leave`. */
  isCounted(block: number): boolean;
  emitCounted(block: number, leave: (exit: number, inside: number) => void): void;
  /**
   * Leaves a condition on the operand stack where the block has two successors;
   * where it has a table, the distance from the first of its targets.
   */
  emitBlock(block: number): void;
  emitEdge(to: number): void;
  isFreeEdge(to: number): boolean;
  /** Leaves a block that ends in an indirect jump to what is none of its targets. */
  emitBadJump(block: number): void;
  saveState(): readonly [number, number, number];
  restoreState(state: readonly [number, number, number]): void;
  /** A fresh i32 local. */
  newLocal(): number;
}

/** `br_table` and nesting that V8 accepts (kV8MaxWasmFunctionBrTableSize is 65,520). */
const MAX_DISPATCH = 60_000;

/** kV8MaxWasmFunctionSize. */
export const MAX_BODY = 7_654_321;

export function emitStructure(emitter: BlockEmitter): void {
  if (emitter.graph.reducible) new Layout(emitter).emit();
  else emitDispatcher(emitter);
}

const TREE = 0;
const END = 1;
const BRANCH = 2;

class Layout {
  readonly #emitter: BlockEmitter;
  readonly #graph: FlowGraph;
  readonly #out: ByteWriter;
  readonly #first: Int32Array;
  readonly #sibling: Int32Array;
  /** Blocks in each block's dominator subtree. */
  readonly #weight: Int32Array;
  /** Nesting depth at which a block's label was opened. */
  readonly #loopLabel: Int32Array;
  readonly #blockLabel: Int32Array;
  #depth: number = 0;
  /** Pending work: action and block; BRANCH also has its origin and the state to restore. */
  readonly #actions: number[] = [];
  readonly #blocks: number[] = [];
  readonly #states: (readonly [number, number, number])[] = [];
  readonly #origins: number[] = [];

  constructor(emitter: BlockEmitter) {
    this.#emitter = emitter;
    this.#graph = emitter.graph;
    this.#out = emitter.out;
    const { count, dominator } = emitter.graph;
    const { first, sibling } = childLists(count, dominator);
    this.#first = first;
    this.#sibling = sibling;
    this.#loopLabel = new Int32Array(count);
    this.#blockLabel = new Int32Array(count);
    this.#weight = new Int32Array(count).fill(1);
    for (let block = count - 1; block > 0; block--) this.#weight[dominator[block]!]! += this.#weight[block]!;
  }

  emit(): void {
    this.#push(TREE, 0);
    while (this.#actions.length > 0) {
      if (this.#out.length > MAX_BODY) throw new Refusal(`function of more than ${MAX_BODY} bytes`);
      const action = this.#actions.pop()!;
      const block = this.#blocks.pop()!;
      if (action === TREE) this.#tree(block);
      else if (action === END) {
        this.#out.byte(W.end);
        this.#depth--;
      } else {
        this.#emitter.restoreState(this.#states.pop()!);
        this.#branch(this.#origins.pop()!, block);
      }
    }
  }

  #push(action: number, block: number): void {
    this.#actions.push(action);
    this.#blocks.push(block);
  }

  #open(opcode: number): void {
    this.#out.byte(opcode);
    this.#out.byte(TYPE_VOID);
    this.#depth++;
  }

  #tree(block: number): void {
    const { isHeader, isMerge, taken, next } = this.#graph;
    // A loop of one block is left for what lies behind it from both of its versions.
    const isCounted = isHeader[block] === 1 && this.#emitter.isCounted(block);
    if (isHeader[block] === 1 && !isCounted) this.#loop(block);
    const merges: number[] = [];
    for (let child = this.#first[block]!; child >= 0; child = this.#sibling[child]!) if (isMerge[child] === 1) merges.push(child);
    // The last in reverse postorder is placed last, so its label is the outermost.
    for (let index = merges.length - 1; index >= 0; index--) {
      this.#open(W.block);
      this.#blockLabel[merges[index]!] = this.#depth;
      this.#push(TREE, merges[index]!);
      this.#push(END, merges[index]!);
    }
    if (isCounted) this.#counted(block);
    this.#emitter.enterBlock(block);
    if (isHeader[block] === 1) this.#emitter.emitLoopHead(block);
    this.#emitter.emitBlock(block);
    const targets = this.#graph.switches.get(block);
    if (targets !== undefined) this.#switch(block, targets);
    else if (taken[block]! >= 0) this.#conditional(block, taken[block]!, next[block]!);
    else if (next[block]! >= 0) this.#branch(block, next[block]!);
  }

  #loop(block: number): void {
    this.#emitter.enterBlock(block);
    this.#emitter.emitLoopEntry(block);
    this.#open(W.loop);
    this.#loopLabel[block] = this.#depth;
    this.#push(END, block);
  }

  #counted(block: number): void {
    this.#emitter.enterBlock(block);
    this.#emitter.emitLoopEntry(block);
    this.#open(W.block);
    this.#emitter.emitCounted(block, (exit, inside) => {
      this.#depth += inside;
      this.#jump(W.br, block, exit);
      this.#depth -= inside;
    });
    this.#out.byte(W.end);
    this.#depth--;
    this.#emitter.enterBlock(block);
    this.#open(W.loop);
    this.#loopLabel[block] = this.#depth;
    this.#push(END, block);
  }

  /** True where an edge is a plain jump to a label. */
  #isJump(from: number, to: number): boolean {
    return to <= from || this.#graph.isMerge[to] === 1;
  }

  #jump(opcode: number, from: number, to: number): void {
    const label = to <= from ? this.#loopLabel[to]! : this.#blockLabel[to]!;
    this.#out.byte(opcode);
    this.#out.u32(this.#depth - label);
  }

  #branch(from: number, to: number): void {
    this.#emitter.emitEdge(to);
    if (this.#isJump(from, to)) this.#jump(W.br, from, to);
    else this.#push(TREE, to);
  }

  #switch(block: number, targets: Switch): void {
    emitTable(this.#emitter, block, targets, (to, inside) => {
      this.#emitter.emitEdge(to);
      this.#depth += inside;
      this.#jump(W.br, block, to);
      this.#depth -= inside;
    });
  }

  #conditional(block: number, taken: number, next: number): void {
    const emitter = this.#emitter;
    if (this.#isJump(block, taken) && emitter.isFreeEdge(taken)) {
      this.#jump(W.br_if, block, taken);
      this.#branch(block, next);
      return;
    }
    if (this.#isJump(block, next) && emitter.isFreeEdge(next)) {
      this.#out.byte(W.i32_eqz);
      this.#jump(W.br_if, block, next);
      this.#branch(block, taken);
      return;
    }
    // One side inside an `if` that it never leaves, the other behind it: the smaller side is nested.
    const size = (to: number): number => (this.#isJump(block, to) ? 0 : this.#weight[to]!);
    const nestTaken = size(taken) <= size(next);
    if (!nestTaken) this.#out.byte(W.i32_eqz);
    this.#open(W.if);
    this.#states.push(emitter.saveState());
    this.#origins.push(block);
    this.#push(BRANCH, nestTaken ? next : taken);
    this.#push(END, block);
    this.#branch(block, nestTaken ? taken : next);
  }
}

/**
 * A branch table: the index is on the operand stack. Each target has a place of its own inside as many blocks, where `go` brings
 * registers into the form that the target expects and jumps.
 */
function emitTable(emitter: BlockEmitter, block: number, { pc, blocks }: Switch, go: (to: number, inside: number) => void): void {
  const { out } = emitter;
  const places = [...new Set(blocks)];
  const placeOf = new Map(places.map((to, place) => [to, place + 1]));
  const index = emitter.newLocal();
  out.byte(W.local_set);
  out.u32(index);
  for (let place = 0; place <= places.length; place++) {
    out.byte(W.block);
    out.byte(TYPE_VOID);
  }
  out.byte(W.local_get);
  out.u32(index);
  out.byte(W.br_table);
  const first = pc[0] ?? 0;
  const last = pc.at(-1) ?? -1;
  out.u32(pc.length === 0 ? 0 : last - first + 1);
  // Innermost is what is no target: gaps of the table, and its end.
  for (let at = first, next = 0; at <= last; at++) out.u32(pc[next] === at ? placeOf.get(blocks[next++]!)! : 0);
  out.u32(0);
  out.byte(W.end);
  emitter.emitBadJump(block);
  const state = emitter.saveState();
  for (const [place, to] of places.entries()) {
    out.byte(W.end);
    emitter.restoreState(state);
    go(to, places.length - 1 - place);
  }
}

function emitDispatcher(emitter: BlockEmitter): void {
  const { graph, out } = emitter;
  const { count } = graph;
  if (count > MAX_DISPATCH) throw new Refusal(`irreducible function of ${count} blocks`);
  const selector = emitter.newLocal();
  const go = (to: number, label: number): void => {
    emitter.emitEdge(to);
    out.byte(W.i32_const);
    out.s32(to);
    out.byte(W.local_set);
    out.u32(selector);
    out.byte(W.br);
    out.u32(label);
  };
  out.byte(W.loop);
  out.byte(TYPE_VOID);
  for (let block = 0; block < count; block++) {
    out.byte(W.block);
    out.byte(TYPE_VOID);
  }
  out.byte(W.local_get);
  out.u32(selector);
  out.byte(W.br_table);
  out.u32(count - 1);
  for (let block = 0; block < count; block++) out.u32(block);
  for (let block = 0; block < count; block++) {
    out.byte(W.end);
    const label = count - 1 - block;
    emitter.enterBlock(block);
    if (graph.isHeader[block] === 1) emitter.emitLoopHead(block);
    emitter.emitBlock(block);
    const taken = graph.taken[block]!;
    const next = graph.next[block]!;
    const targets = graph.switches.get(block);
    if (targets !== undefined) emitTable(emitter, block, targets, (to, inside) => go(to, label + inside));
    if (taken >= 0) {
      const state = emitter.saveState();
      out.byte(W.if);
      out.byte(TYPE_VOID);
      go(taken, label + 1);
      out.byte(W.end);
      emitter.restoreState(state);
    }
    if (next >= 0) go(next, label);
  }
  out.byte(W.end);
}
