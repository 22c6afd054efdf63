/**
 * @module vm/wasm/flow
 * What is known of registers between blocks: which are live, of which the upper half matters, of which it is zero. From this the
 * compiler keeps a register as i32 where nobody can tell the difference. Masks have one bit a register (0…12).
 * A fact too many among the demanded halves costs speed; one too few would be wrong, so what is not understood demands all.
 */
import { OPS } from '../ops.ts';
import { STRIDE, type Atomic } from '../program.ts';
import { eachSuccessor, type FlowGraph } from './cfg.ts';

/** What the analyses and the code generator tell apart. */
export const KIND = {
  other: 0, add64: 1, and64: 2, or64: 3, mov64: 4, lsh64: 5, rsh64: 6, arsh64: 7, div64: 8, sdiv64: 9, alu32: 10, movs64: 11, movs32: 12, neg64: 13,
  neg32: 14, bswap: 15, bswap64: 16, lddw: 17, nop: 18, castuser: 19, percpu: 20, load: 21, store: 22, ldarg: 23, starg: 24, atomic: 25, jump64: 26,
  jump32: 27, ja: 28, maygoto: 29, call: 30, helper: 31, callx: 32, tailcall: 33, exit: 34, packet: 35, end: 36,
} as const;

/** Facts of an operation, by its number. */
export interface OpFacts {
  readonly kind: number;
  /** Operation without width and source: "add", "jeq". */
  readonly stem: string;
  readonly width: number;
  /** True where the second operand is a register. */
  readonly register: boolean;
  /** Bytes of a memory access. */
  readonly bytes: number;
  readonly signed: boolean;
  /** "f", "c", "p", "a" for loads and stores. */
  readonly access: string;
  /** True for shifts by 32 and more. */
  readonly high: boolean;
}

const ADDITIVE: ReadonlySet<string> = new Set(['add', 'sub', 'mul']);

function factsOf(name: string): OpFacts {
  const base = { stem: name, width: 64, register: false, bytes: 0, signed: false, access: '', high: false };
  let match = /^(j[a-z]+)(32|64)([kx])$/.exec(name);
  if (match !== null) {
    return { ...base, kind: match[2] === '64' ? KIND.jump64 : KIND.jump32, stem: match[1]!, width: Number(match[2]), register: match[3] === 'x' };
  }
  match = /^ld(s?)(8|16|32|64)([fcpa])$/.exec(name);
  if (match !== null) return { ...base, kind: KIND.load, stem: 'ld', signed: match[1] === 's', bytes: Number(match[2]) / 8, access: match[3]! };
  match = /^st(8|16|32|64)([kx])([fca])$/.exec(name);
  if (match !== null) return { ...base, kind: KIND.store, stem: 'st', bytes: Number(match[1]) / 8, register: match[2] === 'x', access: match[3]! };
  match = /^movs(8|16|32)_(32|64)$/.exec(name);
  if (match !== null) {
    return { ...base, kind: match[2] === '64' ? KIND.movs64 : KIND.movs32, stem: 'movs', width: Number(match[2]), bytes: Number(match[1]) / 8, register: true };
  }
  match = /^(add|sub|mul|div|sdiv|mod|smod|or|and|lsh|rsh|arsh|xor|mov)(32|64)([kx])(h?)$/.exec(name);
  if (match !== null) {
    const [, stem = '', width = '', source, high] = match;
    const kind =
      width === '32' ? KIND.alu32
      : ADDITIVE.has(stem) ? KIND.add64
      : stem === 'and' ? KIND.and64
      : stem === 'or' || stem === 'xor' ? KIND.or64
      : stem === 'mov' ? KIND.mov64
      : stem === 'lsh' ? KIND.lsh64
      : stem === 'rsh' ? KIND.rsh64
      : stem === 'arsh' ? KIND.arsh64
      : stem === 'div' || stem === 'mod' ? KIND.div64
      : KIND.sdiv64;
    return { ...base, kind, stem, width: Number(width), register: source === 'x', high: high === 'h' };
  }
  const simple: Readonly<Record<string, number>> = {
    neg64: KIND.neg64, neg32: KIND.neg32, bswap16: KIND.bswap, bswap32: KIND.bswap, zext16: KIND.bswap, bswap64: KIND.bswap64, lddw: KIND.lddw,
    nop: KIND.nop, castuser: KIND.castuser, percpu: KIND.percpu, ldarg: KIND.ldarg, stargk: KIND.starg, stargx: KIND.starg, atomic: KIND.atomic,
    ja: KIND.ja, maygoto: KIND.maygoto, call: KIND.call, helper: KIND.helper, kfunc: KIND.helper, callx: KIND.callx, tailcall: KIND.tailcall,
    exit: KIND.exit, ldabs: KIND.packet, ldind: KIND.packet, gotox: KIND.end, bad: KIND.end, badtarget: KIND.end,
  };
  return { ...base, kind: simple[name] ?? KIND.other, register: name === 'stargx' };
}

export const FACTS: readonly OpFacts[] = OPS.map(factsOf);
const KIND_OF: Uint8Array = Uint8Array.from(FACTS, (facts) => facts.kind);
const IS_REGISTER: Uint8Array = Uint8Array.from(FACTS, (facts) => (facts.register ? 1 : 0));
const IS_HIGH: Uint8Array = Uint8Array.from(FACTS, (facts) => (facts.high ? 1 : 0));
/** True where the base address is used as 64 bits: checked accesses and loads that test the address. */
const WIDE_BASE: Uint8Array = Uint8Array.from(FACTS, (facts) => (facts.access === 'c' || facts.access === 'p' ? 1 : 0));

export const ALL_REGISTERS = 0x1fff;
const ARGUMENTS = 0x3e;
const R0 = 1;
/** Registers that are zero when a function begins: all but r1…r5 and r10. */
const ZERO_AT_ENTRY: number = ALL_REGISTERS & ~ARGUMENTS & ~(1 << 10);

/** Facts at the beginning of each block. */
export interface BlockFacts {
  /** Registers whose value may still be read. */
  readonly live: Uint16Array;
  /** Registers of which the upper half may still be read. */
  readonly wide: Uint16Array;
  /** Registers whose upper half is zero. */
  readonly zero: Uint16Array;
}

/** State of the backward walk; one object for all walks. */
export interface Demand {
  live: number;
  wide: number;
}

/** Facts before the instruction at word `at`, from those behind it. */
export function demandBefore(code: Int32Array, at: number, atomics: readonly Atomic[], checked: boolean, state: Demand): void {
  const operation = code[at]!;
  const kind = KIND_OF[operation]!;
  const d = 1 << (code[at + 1]! >> 1);
  const register = IS_REGISTER[operation] === 1;
  const s = register ? 1 << (code[at + 2]! >> 1) : 0;
  const wideD = (state.wide & d) !== 0;
  switch (kind) {
    case KIND.add64: case KIND.or64:
      state.live |= d | s;
      if (wideD) state.wide |= s;
      return;
    case KIND.and64:
      state.live |= d | s;
      if (wideD && register) state.wide |= s;
      else if (code[at + 3]! >= 0) state.wide &= ~d;
      return;
    case KIND.mov64: {
      const liveD = (state.live & d) !== 0;
      state.live &= ~d;
      state.wide &= ~d;
      if (liveD) state.live |= s;
      if (wideD) state.wide |= s;
      return;
    }
    case KIND.lsh64:
      state.live |= d | s;
      if (IS_HIGH[operation] === 1) state.wide &= ~d;
      return;
    case KIND.rsh64: case KIND.arsh64:
      state.live |= d | s;
      state.wide |= d;
      return;
    case KIND.div64: case KIND.sdiv64:
      state.live |= d | s;
      state.wide |= d | s;
      return;
    case KIND.alu32:
      if (FACTS[operation]!.stem === 'mov') state.live &= ~d;
      else state.live |= d;
      state.wide &= ~d;
      state.live |= s;
      return;
    case KIND.movs64: case KIND.movs32:
      state.live &= ~d;
      state.wide &= ~d;
      state.live |= s;
      return;
    case KIND.neg64:
      state.live |= d;
      return;
    case KIND.neg32: case KIND.bswap:
      state.live |= d;
      state.wide &= ~d;
      return;
    case KIND.bswap64:
      state.live |= d;
      state.wide |= d;
      return;
    case KIND.lddw: case KIND.ldarg:
      state.live &= ~d;
      state.wide &= ~d;
      return;
    case KIND.nop: case KIND.ja: case KIND.maygoto:
      return;
    case KIND.castuser: case KIND.percpu: {
      const source = 1 << (code[at + 2]! >> 1);
      state.live &= ~d;
      state.wide &= ~d;
      state.live |= source;
      if (kind === KIND.percpu) state.wide |= source;
      return;
    }
    case KIND.load: {
      const base = 1 << (code[at + 2]! >> 1);
      state.live &= ~d;
      state.wide &= ~d;
      state.live |= base;
      if (WIDE_BASE[operation] === 1) state.wide |= base;
      return;
    }
    case KIND.store:
      state.live |= d | s;
      if (WIDE_BASE[operation] === 1) state.wide |= d;
      if (register && FACTS[operation]!.bytes === 8) state.wide |= s;
      return;
    case KIND.starg:
      if (register) {
        const value = 1 << (code[at + 3]! >> 1);
        state.live |= value;
        state.wide |= value;
      }
      return;
    case KIND.atomic: {
      const { dst, src, size, arena, operation: what } = atomics[code[at + 3]!]!;
      const uses = (1 << dst) | (1 << src) | (what === 0xf1 ? R0 : 0);
      state.live |= uses;
      if (size === 8) state.wide |= uses;
      if (checked && !arena) state.wide |= 1 << (what === 0x100 ? src : dst);
      return;
    }
    case KIND.jump64:
      state.live |= d | s;
      state.wide |= d | s;
      return;
    case KIND.jump32:
      state.live |= d | s;
      return;
    case KIND.call: case KIND.helper:
      state.live = (state.live & ~R0) | ARGUMENTS;
      state.wide = (state.wide & ~R0) | ARGUMENTS;
      return;
    case KIND.callx:
      state.live = (state.live & ~R0) | ARGUMENTS | d;
      state.wide = (state.wide & ~R0) | ARGUMENTS | d;
      return;
    case KIND.tailcall:
      state.live |= 0xe;
      state.wide |= 0xe;
      return;
    case KIND.exit:
      state.live = R0;
      state.wide = R0;
      return;
    case KIND.packet: {
      // The packet hook may look at r6 (the context), the indirect form adds a register.
      const used = (1 << 6) | (1 << (code[at + 2]! >> 1));
      state.live = (state.live & ~R0) | used;
      state.wide = (state.wide & ~R0) | used;
      return;
    }
    default:
      state.live = ALL_REGISTERS;
      state.wide = ALL_REGISTERS;
  }
}

/** The registers whose upper half is zero behind the instruction at word `at`. */
export function zeroAfter(code: Int32Array, at: number, atomics: readonly Atomic[], zero: number): number {
  const operation = code[at]!;
  const d = 1 << (code[at + 1]! >> 1);
  const register = IS_REGISTER[operation] === 1;
  const k = code[at + 3]!;
  const operand = register ? (zero & (1 << (code[at + 2]! >> 1))) !== 0 : k >= 0;
  const own = (zero & d) !== 0;
  const put = (isZero: boolean): number => (isZero ? zero | d : zero & ~d);
  switch (KIND_OF[operation]!) {
    case KIND.add64: case KIND.neg64: case KIND.movs64: case KIND.bswap64: case KIND.castuser: case KIND.percpu: case KIND.ldarg: case KIND.lsh64:
      return put(false);
    case KIND.and64: return put(own || operand);
    case KIND.or64: return put(own && operand);
    case KIND.mov64: return put(operand);
    case KIND.rsh64: return put(own || IS_HIGH[operation] === 1);
    case KIND.arsh64: return put(own);
    case KIND.div64: return put(own);
    case KIND.sdiv64: return put(own && operand);
    case KIND.alu32: case KIND.movs32: case KIND.neg32: case KIND.bswap: return put(true);
    case KIND.lddw: return put(k === 0);
    case KIND.load: return put(!FACTS[operation]!.signed && FACTS[operation]!.bytes < 8);
    case KIND.atomic: {
      const { dst, src, size, arena, operation: what } = atomics[k]!;
      // An arena's access to a missing page is dropped: what it would fetch into stays as it is.
      if (arena && what !== 0x100 && size < 8) return zero;
      const target = what === 0x100 ? 1 << dst : what === 0xf1 ? R0 : (what & 1) === 1 ? 1 << src : 0;
      return size < 8 ? zero | target : zero & ~target;
    }
    case KIND.call: case KIND.helper: case KIND.callx: return zero & ~R0;
    case KIND.packet: return zero | R0;
    default: return zero;
  }
}

/** Solves both analyses for one function. `fromStart`: it begins with its arguments and zeros, not in the middle of a frame. */
export function analyse(code: Int32Array, graph: FlowGraph, atomics: readonly Atomic[], checked: boolean, fromStart: boolean): BlockFacts {
  return { ...solveDemand(code, graph, atomics, checked), zero: solveZero(code, graph, atomics, fromStart ? ZERO_AT_ENTRY : 0) };
}

/** Walks back over one block (its short conditional part included) from the facts at its end. */
function demandOfBlock(
  code: Int32Array, graph: FlowGraph, atomics: readonly Atomic[], checked: boolean, block: number, state: Demand,
): void {
  if (graph.exits.has(block)) {
    state.live = ALL_REGISTERS;
    state.wide = ALL_REGISTERS;
    return;
  }
  if (graph.selectStart[block]! >= 0) {
    const { live, wide } = state;
    for (let dense = graph.selectEnd[block]! - 1; dense >= graph.selectStart[block]!; dense--) {
      demandBefore(code, dense * STRIDE, atomics, checked, state);
    }
    state.live |= live;
    state.wide |= wide;
  }
  let last = graph.end[block]! - 1;
  if (last >= graph.start[block]! && graph.switches.has(block)) demandOfSwitch(code, last-- * STRIDE, state);
  for (let dense = last; dense >= graph.start[block]!; dense--) {
    demandBefore(code, dense * STRIDE, atomics, checked, state);
  }
}

/** An indirect jump that stays in the function: as {@link demandBefore}. */
export function demandOfSwitch(code: Int32Array, at: number, state: Demand): void {
  const d = 1 << (code[at + 1]! >> 1);
  state.live |= d;
  state.wide |= d;
}

function solveDemand(
  code: Int32Array, graph: FlowGraph, atomics: readonly Atomic[], checked: boolean,
): { live: Uint16Array; wide: Uint16Array } {
  const live = new Uint16Array(graph.count);
  const wide = new Uint16Array(graph.count);
  const state: Demand = { live: 0, wide: 0 };
  const pending = new Uint8Array(graph.count).fill(1);
  const queue = new WorkList(graph.count);
  for (let block = 0; block < graph.count; block++) queue.push(block);
  for (let block = queue.pop(); block >= 0; block = queue.pop()) {
    pending[block] = 0;
    state.live = 0;
    state.wide = 0;
    eachSuccessor(graph, block, (to) => {
      state.live |= live[to]!;
      state.wide |= wide[to]!;
    });
    demandOfBlock(code, graph, atomics, checked, block, state);
    if (state.live === live[block] && state.wide === wide[block]) continue;
    live[block] = state.live;
    wide[block] = state.wide;
    for (let at = graph.firstPredecessor[block]!; at < graph.firstPredecessor[block + 1]!; at++) {
      const one = graph.predecessors[at]!;
      if (pending[one] === 0) {
        pending[one] = 1;
        queue.push(one);
      }
    }
  }
  return { live, wide };
}

function solveZero(code: Int32Array, graph: FlowGraph, atomics: readonly Atomic[], atEntry: number): Uint16Array {
  const zero = new Uint16Array(graph.count).fill(ALL_REGISTERS);
  zero[0] = atEntry;
  const pending = new Uint8Array(graph.count).fill(1);
  const queue = new WorkList(graph.count);
  // Popped from the end: pushed from the last block to the first, so that the first pass goes forward.
  for (let block = graph.count - 1; block >= 0; block--) queue.push(block);
  for (let block = queue.pop(); block >= 0; block = queue.pop()) {
    pending[block] = 0;
    let mask = zero[block]!;
    for (let dense = graph.start[block]!; dense < graph.end[block]!; dense++) mask = zeroAfter(code, dense * STRIDE, atomics, mask);
    if (graph.selectStart[block]! >= 0) {
      const skipped = mask;
      for (let dense = graph.selectStart[block]!; dense < graph.selectEnd[block]!; dense++) mask = zeroAfter(code, dense * STRIDE, atomics, mask);
      mask &= skipped;
    }
    eachSuccessor(graph, block, (to) => {
      if ((zero[to]! & mask) === zero[to]!) return;
      zero[to]! &= mask;
      if (pending[to] === 0) {
        pending[to] = 1;
        queue.push(to);
      }
    });
  }
  return zero;
}

/** A stack of blocks, each in it at most once. */
class WorkList {
  readonly #items: Int32Array;
  #length: number = 0;

  constructor(capacity: number) {
    this.#items = new Int32Array(capacity);
  }

  push(block: number): void {
    this.#items[this.#length++] = block;
  }

  /** The block pushed last, -1 where there is none. */
  pop(): number {
    return this.#length === 0 ? -1 : this.#items[--this.#length]!;
  }
}

/** Register that an atomic instruction writes, -1 for none. */
export function fetchTarget({ dst, src, operation }: Atomic): number {
  if (operation === 0x100) return dst;
  if (operation === 0xf1) return 0;
  return operation < 0x100 && (operation & 1) === 1 ? src : -1;
}

/** Register that an instruction writes, -1 for none. */
export function definedRegister(facts: OpFacts, code: Int32Array, at: number, atomics: readonly Atomic[]): number {
  switch (facts.kind) {
    case KIND.nop: case KIND.ja: case KIND.store: case KIND.starg: case KIND.jump32: case KIND.jump64: case KIND.maygoto: case KIND.tailcall:
    case KIND.exit: case KIND.end: case KIND.other:
      return -1;
    case KIND.call: case KIND.helper: case KIND.callx: case KIND.packet:
      return 0;
    case KIND.atomic:
      return fetchTarget(atomics[code[at + 3]!]!);
    default:
      return code[at + 1]! >> 1;
  }
}
