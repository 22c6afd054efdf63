/**
 * @module verifier/state_equal
 * Is a new state covered by an old one? Owns the comparison of registers, stack, references and ids. Reproduces
 * `regsafe()`, `stacksafe()`, `refsafe()` and `states_equal()` of `kernel/bpf/states.c`.
 */
import { cnum32IsSubset, cnum64IsSubset } from './cnum.ts';
import type { VerifierEnv } from './env.ts';
import {
  MAX_BPF_REG, NOT_INIT, PTR_TO_ARENA, PTR_TO_BUF, PTR_TO_INSN, PTR_TO_MAP_KEY, PTR_TO_MAP_VALUE, PTR_TO_MEM, PTR_TO_PACKET, PTR_TO_PACKET_META,
  PTR_TO_TP_BUFFER, SCALAR_VALUE, baseType,
} from './regtypes.ts';
import { scalarUnknown } from './scalar.ts';
import {
  BPF_ADD_CONST, FF_NO_STACK_ARG_LOAD, F_ALLOCATED_STACK, F_CALLBACK_DEPTH, F_CALLSITE, F_FLAGS, F_OUT_STACK_ARGS, F_REGS, REF_ID, REF_PARENT_OR_PTR,
  REF_TYPE, REF_TYPE_IRQ, REF_TYPE_LOCK_MASK, REF_TYPE_PTR, REF_WORDS, REG_A, REG_B, REG_C, REG_DELTA, REG_ID, REG_MAP_UID, REG_PARENT_ID, REG_PRECISE,
  REG_R32, REG_R64, REG_SCALAR, REG_TYPE, REG_WORDS, SLOT_TYPES, STACK_DYNPTR, STACK_INVALID, STACK_IRQ_FLAG, STACK_ITER, STACK_MISC,
  STACK_POISON, STACK_SPILL, STACK_ZERO, frameInsnIdx, regAt, slotAt, stackArgAt, type VState,
} from './state.ts';
import { tnumIn } from './tnum.ts';

/** How alike states must be: ranges may be narrower and imprecise scalars anything; ranges may be narrower; nothing may differ. */
export const NOT_EXACT = 0, EXACT = 1, RANGE_WITHIN = 2;

const ITER_STATE_ACTIVE = 1;
const ALL_REGS: number = (1 << MAX_BPF_REG) - 1;

/** Pairs of ids that stand for each other: an old id always means the same new one. */
const ID_MAP_SIZE: number = (MAX_BPF_REG + 64 + 7) * 16;
const oldIDs = new Int32Array(ID_MAP_SIZE), newIDs = new Int32Array(ID_MAP_SIZE);
let idCount = 0;
let temporaryID = 0;

function sameID(old: number, cur: number): boolean {
  if (old === 0 || cur === 0) return old === cur;
  for (let i = 0; i < idCount; i++) {
    if (oldIDs[i] === old) return newIDs[i] === cur;
    if (newIDs[i] === cur) return false;
  }
  if (idCount === ID_MAP_SIZE) return false;
  oldIDs[idCount] = old;
  newIDs[idCount++] = cur;
  return true;
}

/** An old scalar without id relies on no link; a new one without id gets one that nothing else has. */
function sameScalarID(old: number, cur: number): boolean {
  if (old === 0) return true;
  const id = cur !== 0 ? cur : ++temporaryID;
  if (!sameID(old, id)) return false;
  return (old & BPF_ADD_CONST) === 0 || sameID(old & ~BPF_ADD_CONST, id & ~BPF_ADD_CONST);
}

/** The first `count` words are the same. */
function sameWords(ow: Int32Array, o: number, cw: Int32Array, c: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (ow[o + i] !== cw[c + i]) return false;
  return true;
}

const sameIDs = (ow: Int32Array, o: number, cw: Int32Array, c: number): boolean =>
  sameID(ow[o + REG_ID]!, cw[c + REG_ID]!) && sameID(ow[o + REG_PARENT_ID]!, cw[c + REG_PARENT_ID]!) && sameID(ow[o + REG_MAP_UID]!, cw[c + REG_MAP_UID]!);

const rangeWithin = (ow: Int32Array, o: number, cw: Int32Array, c: number): boolean =>
  cnum64IsSubset(ow, o + REG_R64, cw, c + REG_R64) && cnum32IsSubset(ow, o + REG_R32, cw, c + REG_R32) && tnumIn(ow, o + REG_SCALAR, cw, c + REG_SCALAR);

/** True where all that is safe with the old register is safe with the new one. */
function regSafe(env: VerifierEnv, ow: Int32Array, o: number, cw: Int32Array, c: number, exact: number): boolean {
  if (exact === EXACT) return sameWords(ow, o, cw, c, REG_ID) && sameIDs(ow, o, cw, c);
  const type = ow[o + REG_TYPE]!;
  if (type === NOT_INIT) return true;
  if (type !== cw[c + REG_TYPE]) return false;
  if (type === SCALAR_VALUE && exact === NOT_EXACT && ow[o + REG_PRECISE] === 0 && !env.exploreAluLimits) return true;
  switch (baseType(type)) {
    case SCALAR_VALUE:
      return scalarSafe(env, ow, o, cw, c, exact);
    case PTR_TO_MAP_KEY: case PTR_TO_MAP_VALUE: case PTR_TO_MEM: case PTR_TO_BUF: case PTR_TO_TP_BUFFER:
      return sameWords(ow, o, cw, c, REG_SCALAR) && rangeWithin(ow, o, cw, c) && sameIDs(ow, o, cw, c);
    case PTR_TO_PACKET_META: case PTR_TO_PACKET: {
      const range = ow[o + REG_A]!, curRange = cw[c + REG_A]!;
      if (range < 0 || curRange < 0 ? range !== curRange : range > curRange) return false;
      const id = ow[o + REG_ID]!;
      if (!sameID(id, cw[c + REG_ID]!)) return false;
      // packet pointers that share an id keep their distances
      if (id !== 0 && (ow[o + REG_R64] !== cw[c + REG_R64] || ow[o + REG_R64 + 1] !== cw[c + REG_R64 + 1])) return false;
      return rangeWithin(ow, o, cw, c);
    }
    case PTR_TO_ARENA:
      return true;
    case PTR_TO_INSN:
      return sameWords(ow, o, cw, c, REG_SCALAR) && rangeWithin(ow, o, cw, c);
    default:
      return sameWords(ow, o, cw, c, REG_ID) && sameIDs(ow, o, cw, c);
  }
}

function scalarSafe(env: VerifierEnv, ow: Int32Array, o: number, cw: Int32Array, c: number, exact: number): boolean {
  const id = ow[o + REG_ID]!, curID = cw[c + REG_ID]!;
  if (env.exploreAluLimits) return sameWords(ow, o, cw, c, REG_ID) && sameScalarID(id, curID);
  if (ow[o + REG_PRECISE] === 0 && exact === NOT_EXACT) return true;
  if (id !== 0 && ((id ^ curID) & BPF_ADD_CONST) !== 0) return false;
  if ((id & BPF_ADD_CONST) !== 0 && ow[o + REG_DELTA] !== cw[c + REG_DELTA]) return false;
  return sameScalarID(id, curID) && rangeWithin(ow, o, cw, c);
}

/** What reading bytes of unknown content yields. */
const UNBOUND: Int32Array = new Int32Array(REG_WORDS);
UNBOUND[REG_TYPE] = SCALAR_VALUE;
scalarUnknown(UNBOUND, REG_SCALAR);

/** What {@link scalarInSlot} found. */
const NOTHING = 0, SPILLED = 1, UNKNOWN = 2;

/** The scalar that a load from byte `from` of a slot on would give: the spilled one, an unknown one, or none. */
function scalarInSlot(env: VerifierEnv, st: VState, slot: number, from: number): number {
  const types = (slot + SLOT_TYPES) * 4;
  if (st.b[types + from] === STACK_SPILL && st.w[slot + REG_TYPE] === SCALAR_VALUE) return SPILLED;
  for (let i = from; i < 8; i++) {
    const type = st.b[types + i]!;
    if (type === STACK_MISC || (env.allowUninitStack && (type === STACK_INVALID || type === STACK_POISON))) continue;
    return NOTHING;
  }
  return UNKNOWN;
}

const withoutPoison = (type: number): number => (type === STACK_POISON ? STACK_INVALID : type);

/** All eight bytes of a slot are invalid, or all are forgotten. */
function isUnused(w: Int32Array, slot: number): boolean {
  const types = w[slot + SLOT_TYPES]!;
  return types === w[slot + SLOT_TYPES + 1] && (types === 0 || types === STACK_POISON * 0x01010101);
}

function stackSafe(env: VerifierEnv, old: VState, oldFrame: number, cur: VState, curFrame: number, fr: number, exact: number): boolean {
  const oldSize = old.w[oldFrame + F_ALLOCATED_STACK]!, curSize = cur.w[curFrame + F_ALLOCATED_STACK]!;
  for (let i = 0; i < oldSize; i++) {
    const spi = i >> 3, im = i & 7;
    const oldSlot = slotAt(oldFrame, spi), curSlot = slotAt(curFrame, spi);
    const type = old.b[(oldSlot + SLOT_TYPES) * 4 + im]!;
    const inside = i < curSize;
    const curType = inside ? cur.b[(curSlot + SLOT_TYPES) * 4 + im]! : STACK_INVALID;
    if (exact === EXACT && (!inside || withoutPoison(type) !== withoutPoison(curType))) return false;
    if (type === STACK_INVALID || type === STACK_POISON) {
      if (im === 0 && exact !== EXACT && isUnused(old.w, oldSlot)) i += 7;
      continue;
    }
    if (env.allowUninitStack && type === STACK_MISC) continue;
    if (!inside) return false;
    if (im === 0 || im === 4) {
      const a = scalarInSlot(env, old, oldSlot, im), b = a === NOTHING ? NOTHING : scalarInSlot(env, cur, curSlot, im);
      if (b !== NOTHING) {
        const ow = a === SPILLED ? old.w : UNBOUND, cw = b === SPILLED ? cur.w : UNBOUND;
        if (!regSafe(env, ow, a === SPILLED ? oldSlot : 0, cw, b === SPILLED ? curSlot : 0, exact)) return noteMismatch(old.insnIdx, fr, MISMATCH_SLOT + spi);
        i += im === 0 ? 7 : 3;
        continue;
      }
    }
    if (type === STACK_MISC && curType === STACK_ZERO) continue;
    if (type !== curType) return false;
    if (im === 7 && !slotSafe(env, type, old.w, oldSlot, cur.w, curSlot, exact)) return noteMismatch(old.insnIdx, fr, MISMATCH_SLOT + spi);
  }
  return true;
}

/** Both slots are of the same type: their contents must agree, too. */
function slotSafe(env: VerifierEnv, type: number, ow: Int32Array, o: number, cw: Int32Array, c: number, exact: number): boolean {
  switch (type) {
    case STACK_SPILL:
      return regSafe(env, ow, o, cw, c, exact);
    case STACK_DYNPTR:
      return ow[o + REG_A] === cw[c + REG_A] && ow[o + REG_B] === cw[c + REG_B]
        && sameID(ow[o + REG_ID]!, cw[c + REG_ID]!) && sameID(ow[o + REG_PARENT_ID]!, cw[c + REG_PARENT_ID]!);
    case STACK_ITER:
      // the depth only keeps iterations apart and does not matter here
      return ow[o + REG_TYPE] === cw[c + REG_TYPE] && ow[o + REG_A] === cw[c + REG_A] && ow[o + REG_B] === cw[c + REG_B]
        && (ow[o + REG_C]! & 3) === (cw[c + REG_C]! & 3) && sameID(ow[o + REG_ID]!, cw[c + REG_ID]!);
    case STACK_IRQ_FLAG:
      return sameID(ow[o + REG_ID]!, cw[c + REG_ID]!) && ow[o + REG_A] === cw[c + REG_A];
    default:
      return type === STACK_MISC || type === STACK_ZERO;
  }
}

const NOT_INITIALISED: Int32Array = new Int32Array(REG_WORDS);

function stackArgsSafe(env: VerifierEnv, old: VState, oldFrame: number, cur: VState, curFrame: number, exact: number): boolean {
  const oldCount = old.w[oldFrame + F_OUT_STACK_ARGS]!, curCount = cur.w[curFrame + F_OUT_STACK_ARGS]!;
  for (let i = 0; i < Math.max(oldCount, curCount); i++) {
    const [ow, o] = i < oldCount ? [old.w, stackArgAt(old, oldFrame, i)] : [NOT_INITIALISED, 0];
    const [cw, c] = i < curCount ? [cur.w, stackArgAt(cur, curFrame, i)] : [NOT_INITIALISED, 0];
    if (!regSafe(env, ow, o, cw, c, exact)) return false;
  }
  return true;
}

function refsSafe(old: VState, cur: VState): boolean {
  if (old.acquiredRefs !== cur.acquiredRefs || old.activeLocks !== cur.activeLocks || old.activePreemptLocks !== cur.activePreemptLocks
    || old.activeRCULocks !== cur.activeRCULocks) return false;
  if (!sameID(old.activeIRQID, cur.activeIRQID)) return false;
  if (!sameID(old.activeLockID, cur.activeLockID) || old.activeLockPtr !== cur.activeLockPtr) return false;
  for (let i = 0; i < old.acquiredRefs; i++) {
    const o = old.refsAt + i * REF_WORDS, c = cur.refsAt + i * REF_WORDS;
    const type = old.w[o + REF_TYPE]!;
    if (!sameID(old.w[o + REF_ID]!, cur.w[c + REF_ID]!) || type !== cur.w[c + REF_TYPE]) return false;
    const about = old.w[o + REF_PARENT_OR_PTR]!, curAbout = cur.w[c + REF_PARENT_OR_PTR]!;
    if (type === REF_TYPE_PTR) {
      if (!sameID(about, curAbout)) return false;
    } else if ((type & REF_TYPE_LOCK_MASK) !== 0) {
      if (about !== curAbout) return false;
    } else if (type !== REF_TYPE_IRQ) return false;
  }
  return true;
}

/**
 * By instruction, where its states differed last (0: nowhere in particular): a frame, and a register or a stack slot. Looked at
 * first, because states of one place mostly differ in one thing, a counter for example.
 */
let lastMismatch: Int16Array = new Int16Array(1024);
const MISMATCH_FRAME = 128, MISMATCH_SLOT = 32;
const ALL_SPILLED: number = STACK_SPILL * 0x01010101;

const isWholeSpill = (w: Int32Array, slot: number): boolean => w[slot + SLOT_TYPES] === ALL_SPILLED && w[slot + SLOT_TYPES + 1] === ALL_SPILLED;

function noteMismatch(insn: number, fr: number, place: number): false {
  if (insn >= lastMismatch.length) {
    const grown = new Int16Array(Math.max(lastMismatch.length * 2, insn + 1));
    grown.set(lastMismatch);
    lastMismatch = grown;
  }
  lastMismatch[insn] = fr * MISMATCH_FRAME + place;
  return false;
}

/** True where the states differ again in what differed last; false says nothing. */
function differsAgain(env: VerifierEnv, old: VState, cur: VState, exact: number): boolean {
  const noted = old.insnIdx < lastMismatch.length ? lastMismatch[old.insnIdx]! : 0;
  const fr = (noted / MISMATCH_FRAME) | 0, place = noted % MISMATCH_FRAME;
  if (place === 0 || fr > old.curframe) return false;
  const o = old.frameAt[fr]!, c = cur.frameAt[fr]!;
  if (place < MISMATCH_SLOT) {
    const reg = place - 1;
    return (env.aux.liveRegsBefore[frameInsnIdx(old, fr)]! & (1 << reg)) !== 0 && !regSafe(env, old.w, regAt(o, reg), cur.w, regAt(c, reg), exact);
  }
  const spi = place - MISMATCH_SLOT;
  if (spi >= old.w[o + F_ALLOCATED_STACK]! >> 3 || spi >= cur.w[c + F_ALLOCATED_STACK]! >> 3) return false;
  const oldSlot = slotAt(o, spi), curSlot = slotAt(c, spi);
  return isWholeSpill(old.w, oldSlot) && isWholeSpill(cur.w, curSlot) && !regSafe(env, old.w, oldSlot, cur.w, curSlot, exact);
}

function framesEqual(env: VerifierEnv, old: VState, cur: VState, fr: number, exact: number): boolean {
  const o = old.frameAt[fr]!, c = cur.frameAt[fr]!;
  const ow = old.w, cw = cur.w;
  if (ow[o + F_CALLBACK_DEPTH]! > cw[c + F_CALLBACK_DEPTH]!) return false;
  if ((ow[o + F_FLAGS]! & FF_NO_STACK_ARG_LOAD) === 0 && (cw[c + F_FLAGS]! & FF_NO_STACK_ARG_LOAD) !== 0) return false;
  for (let live = env.aux.liveRegsBefore[frameInsnIdx(old, fr)]! & ALL_REGS; live !== 0; live &= live - 1) {
    const i = 31 - Math.clz32(live & -live);
    if (!regSafe(env, ow, regAt(o, i), cw, regAt(c, i), exact)) return noteMismatch(old.insnIdx, fr, i + 1);
  }
  return stackSafe(env, old, o, cur, c, fr, exact) && stackArgsSafe(env, old, o, cur, c, exact);
}

/** True where everything that is safe from `old` on is safe from `cur` on. */
export function statesEqual(env: VerifierEnv, old: VState, cur: VState, exact: number): boolean {
  if (old.curframe !== cur.curframe) return false;
  // what was simulated under misspeculation proves nothing about real paths
  if (old.speculative && !cur.speculative) return false;
  idCount = 0;
  temporaryID = env.idGen;
  if (differsAgain(env, old, cur, exact)) return false;
  idCount = 0;
  temporaryID = env.idGen;
  if (old.inSleepable !== cur.inSleepable || !refsSafe(old, cur)) return false;
  for (let i = 0; i <= old.curframe; i++) {
    if (old.w[old.frameAt[i]! + F_CALLSITE] !== cur.w[cur.frameAt[i]! + F_CALLSITE]) return false;
    if (!framesEqual(env, old, cur, i, exact)) return false;
  }
  return true;
}

/** Where the last comparison of {@link maybeLooping} failed: mostly the next one fails there, too (a loop's counter). */
let lastDifference = 0;

/** A cheap test before the exact comparison: the registers of the innermost frame are the same, ids included. */
export function maybeLooping(old: VState, cur: VState): boolean {
  if (old.curframe !== cur.curframe) return false;
  const ow = old.w, cw = cur.w;
  const o = old.frameAt[cur.curframe]! + F_REGS, c = cur.frameAt[cur.curframe]! + F_REGS;
  if (ow[o + lastDifference] !== cw[c + lastDifference]) return false;
  for (let reg = 0; reg < MAX_BPF_REG * REG_WORDS; reg += REG_WORDS) {
    for (let at = reg; at < reg + REG_PRECISE; at++) {
      if (ow[o + at] === cw[c + at]) continue;
      lastDifference = at;
      return false;
    }
  }
  return true;
}

/** True where an active iterator made progress between the two states: what looks like an endless loop is none. */
export function iteratorDepthsDiffer(old: VState, cur: VState): boolean {
  for (let fr = old.curframe; fr >= 0; fr--) {
    const frame = old.frameAt[fr]!;
    for (let i = 0, n = old.w[frame + F_ALLOCATED_STACK]! >> 3; i < n; i++) {
      const slot = slotAt(frame, i);
      if (old.b[(slot + SLOT_TYPES) * 4] !== STACK_ITER) continue;
      const iter = old.w[slot + REG_C]!;
      if ((iter & 3) === ITER_STATE_ACTIVE && cur.w[slotAt(cur.frameAt[fr]!, i) + REG_C]! >> 2 !== iter >> 2) return true;
    }
  }
  return false;
}
