/**
 * @module vm/wasm/cfg
 * The control-flow graph of one function of a dense program: blocks in reverse postorder, dominators (Lengauer and Tarjan, "A fast
 * algorithm for finding dominators in a flowgraph", 1979, with path compression: linear but for a logarithm, whatever the
 * program), loop headers, reducibility; and which short blocks become conditional moves.
 * All walks are iterative over typed arrays: a program may have a million instructions.
 */
import { op, OPS } from '../ops.ts';
import { STRIDE } from '../program.ts';

const JA = op('ja');
const MAY_GOTO = op('maygoto');
const CALL = op('call');
const GOTOX = op('gotox');
export const BAD_TARGET_OP: number = op('badtarget');
const FIRST_CONDITION = op('jeq64k');
const LAST_CONDITION = op('jsle32x');
const ENDS: ReadonlySet<number> = new Set([op('exit'), op('gotox'), op('bad'), BAD_TARGET_OP]);

/** Operations that neither fault nor touch memory: a short block of them may run without its condition. */
const PURE: Uint8Array = Uint8Array.from(OPS, (name) =>
  /^(add|sub|mul|or|and|xor|lsh|rsh|arsh|mov)(32|64)[kx]h?$|^movs|^neg|^bswap|^zext16$|^lddw$|^nop$/.test(name) ? 1 : 0,
);
/** Instructions that are cheaper to execute always than to jump around. */
const SELECT_LIMIT = 3;
/** kV8MaxWasmFunctionBrTableSize, rounded down: an indirect jump over more is left to the interpreter. */
export const MAX_TABLE = 60_000;

/** Where an indirect jump may lead: dense instructions and their indices in the program, ascending. */
export interface IndirectTargets {
  readonly dense: Int32Array;
  readonly pc: Int32Array;
}

/** Targets of the indirect jump at a dense instruction, `undefined` where any instruction may be one. */
export type TargetsOf = (dense: number) => IndirectTargets | undefined;

/** An indirect jump in a flow graph. */
export interface Switch {
  readonly pc: Int32Array;
  /** Block of each target. */
  readonly blocks: Int32Array;
}

/** A range of a function that is compiled by itself: `parts.ts`. */
export interface PartView {
  /** Dense instructions at which control comes from outside, ascending. */
  readonly entries: Int32Array;
  /** True where the part contains a dense instruction. Those behind the program's end, which fault, are in every part. */
  has(dense: number): boolean;
  /** Word that leads the dispatcher to an entry of another part. */
  wayTo(dense: number): number;
}

export function isCondition(operation: number): boolean {
  return operation >= FIRST_CONDITION && operation <= LAST_CONDITION;
}

/** True for jumps through a register. Where their targets are not known they are left to the interpreter. */
export function isIndirectJump(operation: number): boolean {
  return operation === GOTOX;
}

/** Dense index of the target of the jump at word `at`. */
function jumpTarget(code: Int32Array, at: number): number {
  const operation = code[at]!;
  const immediate = !isCondition(operation) || ((operation - FIRST_CONDITION) & 1) === 0;
  return code[at + (immediate ? 2 : 3)]! / STRIDE;
}

/** True for a local call whose target is no instruction: it ends its block, as it faults. */
export function callsNowhere(code: Int32Array, at: number): boolean {
  return code[at] === CALL && code[code[at + 2]!] === BAD_TARGET_OP;
}

/** One byte a dense instruction: 1 where a block begins. Shared by all functions of a program. */
export function findLeaders(code: Int32Array, indirect?: Int32Array): Uint8Array {
  const count = code.length / STRIDE;
  const leaders = new Uint8Array(count + 1);
  for (const dense of indirect ?? []) leaders[dense] = 1;
  for (let dense = 0; dense < count; dense++) {
    const at = dense * STRIDE;
    const operation = code[at]!;
    if (operation === JA || operation === MAY_GOTO || isCondition(operation)) {
      leaders[jumpTarget(code, at)] = 1;
      leaders[dense + 1] = 1;
    } else if (ENDS.has(operation) || callsNowhere(code, at)) leaders[dense + 1] = 1;
  }
  return leaders;
}

/**
 * Blocks are numbered in reverse postorder, the entry is 0. Successors of block `b` are `taken[b]` and `next[b]`, -1 where there
 * is none; a block with one successor has it in `next`. In parts of functions there are blocks without instructions: the entry, which
 * leads to those of the part, and one for each place outside that the part leaves to.
 */
export interface FlowGraph {
  readonly count: number;
  /** First dense instruction, and the one behind the last. */
  readonly start: Int32Array;
  readonly end: Int32Array;
  readonly taken: Int32Array;
  readonly next: Int32Array;
  /** Blocks that end in an indirect jump whose targets are known; they have no other successors. */
  readonly switches: ReadonlyMap<number, Switch>;
  /** Blocks that leave the part, with the word for the dispatcher. */
  readonly exits: ReadonlyMap<number, number>;
  /**
   * Dense start of the short block that is executed under the condition of this block's last instruction, -1 for none, its end, and
   * whether it is executed where the condition holds (else where it does not).
   */
  readonly selectStart: Int32Array;
  readonly selectEnd: Int32Array;
  readonly selectIfTaken: Uint8Array;
  /** Predecessors of `b`: `predecessors[firstPredecessor[b]…firstPredecessor[b + 1] - 1]`. */
  readonly firstPredecessor: Int32Array;
  readonly predecessors: Int32Array;
  /** Immediate dominator; -1 for the entry. */
  readonly dominator: Int32Array;
  /** 1 where a back edge leads to the block. */
  readonly isHeader: Uint8Array;
  /** 1 where two or more forward edges meet. */
  readonly isMerge: Uint8Array;
  readonly reducible: boolean;
  /** Dense instructions in all blocks. */
  readonly instructions: number;
}

/**
 * Builds the graph of the function that begins at dense instruction `root`, or of a part of it. `select` allows conditional moves.
 */
export function buildFlowGraph(
  code: Int32Array, leaders: Uint8Array, root: number, select: boolean, targetsOf: TargetsOf, part?: PartView,
): FlowGraph {
  const raw = collectBlocks(code, leaders, root, targetsOf, part);
  if (select) convertShortBlocks(code, raw);
  return orderBlocks(raw);
}

/** Calls `visit` for every edge out of a block. */
export function eachSuccessor(graph: Pick<FlowGraph, 'taken' | 'next' | 'switches'>, block: number, visit: (to: number) => void): void {
  if (graph.taken[block]! >= 0) visit(graph.taken[block]!);
  if (graph.next[block]! >= 0) visit(graph.next[block]!);
  else if (graph.switches.size > 0) for (const to of graph.switches.get(block)?.blocks ?? []) visit(to);
}

interface RawBlocks {
  readonly start: number[];
  readonly end: number[];
  readonly taken: number[];
  readonly next: number[];
  readonly selectStart: number[];
  readonly selectEnd: number[];
  readonly selectIfTaken: number[];
  readonly switches: Map<number, Switch>;
  readonly exits: Map<number, number>;
}

function collectBlocks(code: Int32Array, leaders: Uint8Array, root: number, targetsOf: TargetsOf, part: PartView | undefined): RawBlocks {
  const raw: RawBlocks = {
    start: [], end: [], taken: [], next: [], selectStart: [], selectEnd: [], selectIfTaken: [], switches: new Map(), exits: new Map(),
  };
  const blockOf = new Map<number, number>();
  const add = (dense: number): number => {
    const block = raw.start.length;
    raw.start.push(dense);
    raw.end.push(dense);
    raw.taken.push(-1);
    raw.next.push(-1);
    raw.selectStart.push(-1);
    raw.selectEnd.push(-1);
    raw.selectIfTaken.push(0);
    return block;
  };
  const enter = (dense: number): number => {
    const known = blockOf.get(dense);
    if (known !== undefined) return known;
    const block = add(dense);
    blockOf.set(dense, block);
    if (part !== undefined && !part.has(dense)) raw.exits.set(block, part.wayTo(dense));
    return block;
  };
  const entry = part === undefined ? -1 : add(root);
  if (part === undefined) enter(root);
  else raw.switches.set(entry, { pc: part.entries.map((_, index) => index), blocks: part.entries.map(enter) });
  for (let block = 0; block < raw.start.length; block++) {
    if (block === entry || raw.exits.has(block)) continue;
    let dense = raw.start[block]!;
    while (!endsBlock(code, dense * STRIDE) && leaders[dense + 1] === 0) dense++;
    const at = dense * STRIDE;
    const operation = code[at]!;
    raw.end[block] = dense + 1;
    if (operation === JA) raw.next[block] = enter(jumpTarget(code, at));
    else if (operation === MAY_GOTO || isCondition(operation)) {
      raw.next[block] = enter(dense + 1);
      raw.taken[block] = enter(jumpTarget(code, at));
    } else if (operation === GOTOX) {
      const targets = targetsOf(dense);
      if (targets !== undefined) raw.switches.set(block, { pc: targets.pc, blocks: targets.dense.map(enter) });
    } else if (!endsBlock(code, at)) raw.next[block] = enter(dense + 1);
  }
  return raw;
}

/** Walks over functions, one after the other. */
export class FunctionWalk {
  readonly #code: Int32Array;
  /** By dense instruction the number of the last walk that came there. */
  readonly #seen: Int32Array;
  #walk: number = 0;

  constructor(code: Int32Array) {
    this.#code = code;
    this.#seen = new Int32Array(code.length / STRIDE);
  }

  /** Instructions of the function that begins at `root`. Calls `jump` for each jump, `fall` where control may go on to the next. */
  size(root: number, targetsOf: TargetsOf, jump?: (from: number, to: number) => void, fall?: (from: number) => void): number {
    const code = this.#code;
    const seen = this.#seen;
    const walk = ++this.#walk;
    const pending: number[] = [root];
    let size = 0;
    const go = (from: number, to: number): void => {
      jump?.(from, to);
      if (seen[to] !== walk) pending.push(to);
    };
    while (pending.length > 0) {
      for (let dense = pending.pop()!; seen[dense] !== walk; dense++) {
        seen[dense] = walk;
        size++;
        const at = dense * STRIDE;
        const operation = code[at]!;
        if (operation === JA || operation === MAY_GOTO || isCondition(operation)) go(dense, jumpTarget(code, at));
        else if (operation === GOTOX) for (const target of targetsOf(dense)?.dense ?? []) go(dense, target);
        if (operation === JA || ENDS.has(operation) || callsNowhere(code, at)) break;
        fall?.(dense);
      }
    }
    return size;
  }

  /** True where the last walk came to an instruction. */
  cameTo(dense: number): boolean {
    return this.#seen[dense] === this.#walk;
  }
}

function endsBlock(code: Int32Array, at: number): boolean {
  const operation = code[at]!;
  return operation === JA || operation === MAY_GOTO || isCondition(operation) || ENDS.has(operation) || callsNowhere(code, at);
}

/** `if (c) { one to three moves }` without memory or faults becomes straight code with selects. */
function convertShortBlocks(code: Int32Array, raw: RawBlocks): void {
  const incoming = new Int32Array(raw.start.length);
  incoming[0] = 1;
  for (let block = 0; block < raw.start.length; block++) {
    if (raw.taken[block]! >= 0) incoming[raw.taken[block]!]!++;
    if (raw.next[block]! >= 0) incoming[raw.next[block]!]!++;
  }
  // A target of an indirect jump stays a block of its own.
  for (const { blocks } of raw.switches.values()) for (const to of blocks) incoming[to]! += 2;
  const short = (block: number, join: number): boolean => {
    if (incoming[block] !== 1 || raw.taken[block]! >= 0 || raw.next[block] !== join || block === join || raw.selectStart[block]! >= 0) return false;
    const start = raw.start[block]!;
    let end = raw.end[block]!;
    if (code[(end - 1) * STRIDE] === JA) end--;
    if (end === start || end - start > SELECT_LIMIT) return false;
    for (let dense = start; dense < end; dense++) if (PURE[code[dense * STRIDE]!] === 0) return false;
    return true;
  };
  for (let block = 0; block < raw.start.length; block++) {
    const taken = raw.taken[block]!;
    const next = raw.next[block]!;
    if (taken < 0 || taken === next || !isCondition(code[(raw.end[block]! - 1) * STRIDE]!)) continue;
    const ifTaken = short(taken, next);
    if (!ifTaken && !short(next, taken)) continue;
    const absorbed = ifTaken ? taken : next;
    raw.selectStart[block] = raw.start[absorbed]!;
    raw.selectEnd[block] = raw.end[absorbed]!;
    raw.selectIfTaken[block] = ifTaken ? 1 : 0;
    raw.taken[block] = -1;
    raw.next[block] = ifTaken ? next : taken;
    // The join loses one of its two edges from here.
    incoming[raw.next[block]!]!--;
  }
}

function orderBlocks(raw: RawBlocks): FlowGraph {
  const total = raw.start.length;
  const preorder = new Int32Array(total).fill(-1);
  const parent = new Int32Array(total).fill(-1);
  const vertex: number[] = [];
  const postorder: number[] = [];
  const stack: number[] = [0];
  const visited = new Uint8Array(total);
  // Each entry is a block to enter, or, complemented, one to leave. `taken` is pushed first so that `next` is visited last…
  // and comes directly behind its block in reverse postorder.
  const from: number[] = [-1];
  const enter = (block: number, origin: number): void => {
    if (block < 0 || visited[block] === 1) return;
    stack.push(block);
    from.push(origin);
  };
  while (stack.length > 0) {
    const entry = stack.pop()!;
    const origin = from.pop()!;
    if (entry < 0) {
      postorder.push(~entry);
      continue;
    }
    if (visited[entry] === 1) continue;
    visited[entry] = 1;
    preorder[entry] = vertex.length;
    parent[entry] = origin;
    vertex.push(entry);
    stack.push(~entry);
    from.push(-1);
    const targets = raw.switches.get(entry)?.blocks;
    if (targets !== undefined) for (const target of targets) enter(target, entry);
    enter(raw.next[entry]!, entry);
    enter(raw.taken[entry]!, entry);
  }
  const count = postorder.length;
  const number = new Int32Array(total).fill(-1);
  for (let index = 0; index < count; index++) number[postorder[count - 1 - index]!] = index;

  const start = new Int32Array(count);
  const end = new Int32Array(count);
  const taken = new Int32Array(count);
  const next = new Int32Array(count);
  const selectStart = new Int32Array(count);
  const selectEnd = new Int32Array(count);
  const selectIfTaken = new Uint8Array(count);
  let instructions = 0;
  for (let block = 0; block < total; block++) {
    const index = number[block]!;
    if (index < 0) continue;
    start[index] = raw.start[block]!;
    end[index] = raw.end[block]!;
    taken[index] = raw.taken[block]! < 0 ? -1 : number[raw.taken[block]!]!;
    next[index] = raw.next[block]! < 0 ? -1 : number[raw.next[block]!]!;
    selectStart[index] = raw.selectStart[block]!;
    selectEnd[index] = raw.selectEnd[block]!;
    selectIfTaken[index] = raw.selectIfTaken[block]!;
    instructions += end[index]! - start[index]! + (selectStart[index]! < 0 ? 0 : selectEnd[index]! - selectStart[index]!);
  }
  const switches = new Map([...raw.switches].map(([block, { pc, blocks }]) => [number[block]!, { pc, blocks: blocks.map((to) => number[to]!) }]));
  const exits = new Map([...raw.exits].flatMap(([block, way]) => (number[block]! < 0 ? [] : [[number[block]!, way] as const])));
  const edges = { taken, next, switches };
  const { firstPredecessor, predecessors } = findPredecessors(count, edges);
  const spanning = { vertex: Int32Array.from(vertex, (block) => number[block]!), parent: new Int32Array(count).fill(-1), preorder: new Int32Array(count) };
  for (const block of vertex) {
    spanning.preorder[number[block]!] = preorder[block]!;
    if (parent[block]! >= 0) spanning.parent[number[block]!] = number[parent[block]!]!;
  }
  const dominator = findDominators(count, spanning, firstPredecessor, predecessors);
  const loops = classifyEdges(count, edges, dominator);
  return {
    count, start, end, taken, next, switches, exits, selectStart, selectEnd, selectIfTaken, firstPredecessor, predecessors, dominator, instructions, ...loops,
  };
}

type Edges = Pick<FlowGraph, 'taken' | 'next' | 'switches'>;

function findPredecessors(count: number, edges: Edges): { firstPredecessor: Int32Array; predecessors: Int32Array } {
  const firstPredecessor = new Int32Array(count + 1);
  for (let block = 0; block < count; block++) eachSuccessor(edges, block, (to) => firstPredecessor[to + 1]!++);
  for (let block = 0; block < count; block++) firstPredecessor[block + 1]! += firstPredecessor[block]!;
  const predecessors = new Int32Array(firstPredecessor[count]!);
  const fill = firstPredecessor.slice();
  for (let block = 0; block < count; block++) {
    eachSuccessor(edges, block, (to) => {
      predecessors[fill[to]!++] = block;
    });
  }
  return { firstPredecessor, predecessors };
}

interface SpanningTree {
  /** Block by preorder number. */
  readonly vertex: Int32Array;
  readonly parent: Int32Array;
  readonly preorder: Int32Array;
}

function findDominators(count: number, tree: SpanningTree, firstPredecessor: Int32Array, predecessors: Int32Array): Int32Array {
  const { vertex, parent, preorder } = tree;
  const semi = preorder.slice();
  const label = Int32Array.from({ length: count }, (_, block) => block);
  const ancestor = new Int32Array(count).fill(-1);
  const bucketHead = new Int32Array(count).fill(-1);
  const bucketNext = new Int32Array(count).fill(-1);
  const dominator = new Int32Array(count).fill(-1);
  const path: number[] = [];

  const evaluate = (block: number): number => {
    if (ancestor[block]! < 0) return block;
    path.length = 0;
    let top = block;
    while (ancestor[ancestor[top]!]! >= 0) {
      path.push(top);
      top = ancestor[top]!;
    }
    for (let index = path.length - 1; index >= 0; index--) {
      const one = path[index]!;
      const above = ancestor[one]!;
      if (semi[label[above]!]! < semi[label[one]!]!) label[one] = label[above]!;
      ancestor[one] = ancestor[above]!;
    }
    return label[block]!;
  };

  for (let index = count - 1; index > 0; index--) {
    const block = vertex[index]!;
    for (let at = firstPredecessor[block]!; at < firstPredecessor[block + 1]!; at++) {
      const candidate = semi[evaluate(predecessors[at]!)]!;
      if (candidate < semi[block]!) semi[block] = candidate;
    }
    const bucket = vertex[semi[block]!]!;
    bucketNext[block] = bucketHead[bucket]!;
    bucketHead[bucket] = block;
    const above = parent[block]!;
    ancestor[block] = above;
    for (let one = bucketHead[above]!; one >= 0; one = bucketNext[one]!) {
      const best = evaluate(one);
      dominator[one] = semi[best]! < semi[one]! ? best : above;
    }
    bucketHead[above] = -1;
  }
  for (let index = 1; index < count; index++) {
    const block = vertex[index]!;
    if (dominator[block] !== vertex[semi[block]!]) dominator[block] = dominator[dominator[block]!]!;
  }
  return dominator;
}

function classifyEdges(
  count: number, edges: Edges, dominator: Int32Array,
): { isHeader: Uint8Array; isMerge: Uint8Array; reducible: boolean } {
  const { enter, leave } = numberTree(count, dominator);
  const isHeader = new Uint8Array(count);
  const isMerge = new Uint8Array(count);
  const forward = new Int32Array(count);
  let reducible = true;
  for (let block = 0; block < count; block++) {
    const isSwitch = edges.switches.has(block);
    eachSuccessor(edges, block, (to) => {
      if (to > block) {
        // A branch table needs a label for each of its targets.
        forward[to]! += isSwitch ? 2 : 1;
        return;
      }
      // Numbers fall along an edge only where it closes a cycle; a natural loop's header dominates it.
      isHeader[to] = 1;
      if (enter[to]! > enter[block]! || leave[block]! > leave[to]!) reducible = false;
    });
  }
  for (let block = 0; block < count; block++) if (forward[block]! > 1) isMerge[block] = 1;
  return { isHeader, isMerge, reducible };
}

/** Entry and exit numbers of the dominator tree: `a` dominates `b` where `b`'s interval lies in `a`'s. */
function numberTree(count: number, dominator: Int32Array): { enter: Int32Array; leave: Int32Array } {
  const { first, sibling } = childLists(count, dominator);
  const enter = new Int32Array(count);
  const leave = new Int32Array(count);
  let clock = 0;
  const stack: number[] = [0];
  while (stack.length > 0) {
    const entry = stack.pop()!;
    if (entry < 0) {
      leave[~entry] = clock++;
      continue;
    }
    enter[entry] = clock++;
    stack.push(~entry);
    for (let child = first[entry]!; child >= 0; child = sibling[child]!) stack.push(child);
  }
  return { enter, leave };
}

/** Children of each block in the dominator tree, ascending. */
export function childLists(count: number, dominator: Int32Array): { first: Int32Array; sibling: Int32Array } {
  const first = new Int32Array(count).fill(-1);
  const sibling = new Int32Array(count).fill(-1);
  for (let block = count - 1; block > 0; block--) {
    const above = dominator[block]!;
    sibling[block] = first[above]!;
    first[above] = block;
  }
  return { first, sibling };
}
