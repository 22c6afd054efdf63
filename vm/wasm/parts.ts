/**
 * @module vm/wasm/parts
 * Divides a function that is too large for one WebAssembly function into parts: ranges of dense instructions that are compiled each by
 * itself, and the places at which control enters them. A dispatcher calls one part after another; registers travel in the scratch
 * area. Owns where the cuts are and the dispatcher; the code of a part comes from `function`.
 *
 * Cuts go where the fewest loops are torn apart. Everything is linear in the size of the function.
 */
import { KERNEL_HI } from '../address-space.ts';
import { STRIDE, type PreparedProgram } from '../program.ts';
import { ByteWriter, TYPE_I32, TYPE_VOID, W } from './bytes.ts';
import { FunctionWalk, type PartView, type TargetsOf } from './cfg.ts';
import { FACTS, KIND } from './flow.ts';
import { LoopCompiler } from './counted-loops.ts';
import { noteDepth } from './exits.ts';
import type { CompiledFunction } from './function.ts';
import { ENTRY_BITS, PARAMS, PARAM_BASE, PARAM_SP, SCRATCH_GOES, SCRATCH_PART, SCRATCH_REGISTERS } from './layout.ts';
import { FP, MAY_GOTO, type ModuleContext, type Variant } from './state.ts';
import { Refusal } from './structure.ts';

/**
 * Instructions beyond which a function is compiled in parts, and about as many as one part has. V8 refuses functions of more than
 * 7,654,321 bytes, and what its optimising compiler needs grows faster than the function.
 */
export const PART_INSTRUCTIONS: number = 40_000;
/** Bytes of code that a part should stay under, by estimate. */
const PART_BYTES = 2_000_000;
const MAX_ENTRIES = 60_000;

interface Partition {
  /** As `findLeaders` gives them, and a block begins at each cut. */
  readonly leaders: Uint8Array;
  readonly views: readonly PartView[];
  /** Word that leads the dispatcher to an entry; `undefined` for what is none. */
  wayTo(dense: number): number | undefined;
}

/** Rough bytes of code of one instruction. */
function weightOf(operation: number, { checked, counted }: Variant): number {
  const { kind, access } = FACTS[operation]!;
  switch (kind) {
    case KIND.call: case KIND.helper: case KIND.callx: case KIND.tailcall: case KIND.packet: case KIND.percpu:
      return 150 + (checked ? 300 : 0) + (counted ? 200 : 0);
    case KIND.load: case KIND.store: case KIND.atomic:
      return access === 'c' || (checked && kind === KIND.atomic) ? 200 : 30;
    case KIND.jump32: case KIND.jump64: case KIND.ja:
      return counted ? 40 : 25;
    default:
      return 12;
  }
}

/** `limit`: about how many instructions a part has. `extra`: where control also enters, if the function contains it; -1 for nothing. */
function divide(
  code: Int32Array, count: number, leaders: Uint8Array, root: number, targetsOf: TargetsOf, variant: Variant, limit: number, extra: number,
): Partition {
  const walk = new FunctionWalk(code);
  const falls = new Uint8Array(count);
  const from: number[] = [];
  const to: number[] = [];
  walk.size(
    root, targetsOf,
    (origin, target) => {
      // What lies behind the end of the program is in every part.
      if (target >= count) return;
      from.push(origin);
      to.push(target);
    },
    (dense) => { falls[dense] = 1; },
  );
  const edges: Edges = { from, to, walk };
  const cuts = chooseCuts(code, count, edges, variant, limit);
  const partOf = (dense: number): number => {
    let low = 0;
    let high = cuts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (cuts[middle]! <= dense) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const own = leaders.slice();
  const isEntry = new Uint8Array(count + 1);
  isEntry[root] = 1;
  if (extra >= 0 && extra < count && walk.cameTo(extra)) {
    isEntry[extra] = 1;
    own[extra] = 1;
  }
  for (const cut of cuts) {
    own[cut] = 1;
    if (cut > 0 && falls[cut - 1] === 1) isEntry[cut] = 1;
  }
  for (let edge = 0; edge < from.length; edge++) {
    if (partOf(from[edge]!) !== partOf(to[edge]!)) isEntry[to[edge]!] = 1;
  }
  const ways = new Map<number, number>();
  const views = cuts.map((first, index): PartView => {
    const end = cuts[index + 1] ?? count;
    const entries: number[] = [];
    for (let dense = first; dense < end; dense++) {
      if (isEntry[dense] === 0) continue;
      ways.set(dense, (index << ENTRY_BITS) | entries.length);
      entries.push(dense);
    }
    return { entries: Int32Array.from(entries), wayTo: (dense) => ways.get(dense)!, has: (dense) => dense >= count || (dense >= first && dense < end) };
  });
  return { leaders: own, views, wayTo: (dense) => ways.get(dense) };
}

/** Jumps of the function at hand, and which instructions are its. */
interface Edges {
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly walk: FunctionWalk;
}

/** First instructions of the parts, the first of them 0. */
function chooseCuts(code: Int32Array, count: number, edges: Edges, variant: Variant, limit: number): number[] {
  // How many jumps back a cut in front of an instruction would tear apart.
  const torn = new Int32Array(count + 2);
  const { from, to, walk } = edges;
  for (let edge = 0; edge < from.length; edge++) {
    if (to[edge]! > from[edge]!) continue;
    torn[to[edge]! + 1]!++;
    torn[from[edge]! + 1]!--;
  }
  for (let dense = 0; dense < count; dense++) torn[dense + 1]! += torn[dense]!;
  const cuts = [0];
  let size = 0;
  let bytes = 0;
  let best = -1;
  for (let dense = 0; dense < count; dense++) {
    if (!walk.cameTo(dense)) continue;
    if (size > 0 && size >= limit >> 1 && (best < 0 || torn[dense]! <= torn[best]!)) best = dense;
    if (size >= Math.min(limit, MAX_ENTRIES) || bytes >= PART_BYTES) {
      const cut = best < 0 ? dense : best;
      cuts.push(cut);
      // What lies behind the cut is gone through again, for the next part: at most as much as that part may have.
      dense = cut;
      size = 0;
      bytes = 0;
      best = -1;
    }
    size++;
    bytes += weightOf(code[dense * STRIDE]!, variant);
  }
  return cuts;
}

/** The parts of all divided functions of a module. */
export class PartList {
  readonly functions: CompiledFunction[] = [];
  readonly #first: number;
  /** The divided function that contains the instruction where a frame is to go on, and the stack bytes of its frames. */
  #going: { readonly frameBytes: number; readonly way: number; readonly parts: number; readonly first: number } | undefined = undefined;

  /** @param first function index of the first part */
  constructor(first: number) {
    this.#first = first;
  }

  /**
   * Compiles a function in parts; gives the one that calls them.
   *
   * @param limit about how many instructions a part has
   * @param frameBytes stack bytes of the frame where the function is the rest of one, otherwise -1
   * @param extra dense instruction at which {@link goOn} will enter, -1 for none
   * @throws Refusal where even small parts are too large
   */
  divide(
    program: PreparedProgram, leaders: Uint8Array, root: number, variant: Variant, context: ModuleContext, targetsOf: TargetsOf, limit: number,
    frameBytes: number, extra: number,
  ): CompiledFunction {
    const bytes = frameBytes < 0 ? program.stackAt(program.pcOf[root] ?? 0) : frameBytes;
    const first = this.#first + this.functions.length;
    for (let size = Math.max(1, limit); ; size >>= 1) {
      const partition = divide(context.code, program.denseCount, leaders, root, targetsOf, variant, size, extra);
      const { views } = partition;
      try {
        const made = views.map((view) => new LoopCompiler(program, partition.leaders, view.entries[0]!, variant, context, targetsOf, bytes, view).compile());
        this.functions.push(...made);
      } catch (error) {
        if (!(error instanceof Refusal) || size < 64) throw error;
        continue;
      }
      const way = partition.wayTo(extra);
      if (way !== undefined) this.#going = { frameBytes: bytes, way, parts: views.length, first };
      const stack = variant.checked ? bytes : -1;
      return { body: dispatcher(views.length, first, partition.wayTo(root)!, frameBytes < 0, stack), traps: new Int32Array(0) };
    }
  }

  /** Enters a function that is divided already at the `extra` instruction; `undefined` where none contains it. */
  goOn(frameBytes: number): CompiledFunction | undefined {
    const going = this.#going;
    if (going === undefined || going.frameBytes !== frameBytes) return undefined;
    return { body: dispatcher(going.parts, going.first, going.way, false, -1), traps: new Int32Array(0) };
  }
}

function get(out: ByteWriter, local: number): void {
  out.byte(W.local_get);
  out.u32(local);
}

/**
 * The function that calls the parts. With `fresh` it is the eBPF function itself, with its arguments in r1…r5; without, it goes on in a
 * frame whose registers are in the scratch area.
 *
 * @param frameBytes what checked code writes down as the depth of the frame's stack; -1 for nothing
 * @param way where it begins
 * @param firstPart function index of the first part
 */
function dispatcher(parts: number, firstPart: number, way: number, fresh: boolean, frameBytes: number): Uint8Array {
  const out = new ByteWriter(256);
  const next = PARAMS;
  const result = 0;
  out.u32(1); out.u32(1); out.byte(TYPE_I32);
  if (fresh) enterFrame(out, frameBytes);
  out.byte(W.i32_const); out.s32(way); out.byte(W.local_set); out.u32(next);
  out.byte(W.loop); out.byte(TYPE_VOID);
  get(out, PARAM_BASE);
  out.byte(W.i32_const); out.s32(-1);
  store(out, W.i32_store, SCRATCH_PART);
  // One block around each call and one around all: a part's call leaves by the outermost.
  for (let block = 0; block <= parts; block++) { out.byte(W.block); out.byte(TYPE_VOID); }
  get(out, next);
  out.byte(W.i32_const); out.s32(ENTRY_BITS); out.byte(W.i32_shr_u);
  out.byte(W.br_table); out.u32(parts - 1);
  for (let part = 0; part < parts; part++) out.u32(part);
  for (let part = 0; part < parts; part++) {
    out.byte(W.end);
    get(out, next); out.byte(W.i64_extend_i32_u);
    for (let register = 2; register <= 5; register++) { out.byte(W.i64_const); out.s64(0, 0); }
    get(out, PARAM_SP);
    get(out, PARAM_BASE);
    out.byte(W.call); out.u32(firstPart + part);
    out.byte(W.local_set); out.u32(result);
    out.byte(W.br); out.u32(parts - 1 - part);
  }
  out.byte(W.end);
  get(out, PARAM_BASE);
  out.byte(W.i32_load); out.byte(0); out.u32(SCRATCH_PART);
  out.byte(W.local_tee); out.u32(next);
  out.byte(W.i32_const); out.s32(0); out.byte(W.i32_ge_s);
  out.byte(W.br_if); out.u32(0);
  out.byte(W.end);
  get(out, result);
  out.byte(W.end);
  return out.view();
}

/** What a function does on entry: its registers go to the scratch area, where the first part looks for them. */
function enterFrame(out: ByteWriter, frameBytes: number): void {
  if (frameBytes >= 0) noteDepth(out, frameBytes);
  for (let register = 0; register < 13; register++) {
    get(out, PARAM_BASE);
    if (register >= 1 && register <= 5) get(out, register - 1);
    else if (register === FP) {
      get(out, PARAM_SP); out.byte(W.i64_extend_i32_u);
      out.byte(W.i64_const); out.s64(0, KERNEL_HI); out.byte(W.i64_or);
    } else { out.byte(W.i64_const); out.s64(0, 0); }
    store(out, W.i64_store, SCRATCH_REGISTERS + 8 * register);
  }
  get(out, PARAM_BASE);
  out.byte(W.i32_const); out.s32(MAY_GOTO);
  store(out, W.i32_store, SCRATCH_GOES);
}

function store(out: ByteWriter, opcode: number, offset: number): void {
  out.byte(opcode); out.byte(0); out.u32(offset);
}
