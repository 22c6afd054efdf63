/**
 * @module verifier/diag_events
 * What happened on the path being explored, as far as a report may want to tell it: branches taken, values that changed, references
 * and regions. A ring of fixed-size records that is cut back when another path is taken up. Reproduces the event log of
 * kernel/bpf/diagnostics.c with its capacity; what is said about the events is in diagnostics.ts.
 */
import { BPF_ADD, BPF_ALU, BPF_ALU64, BPF_AND, BPF_ARSH, BPF_END, BPF_LSH, BPF_MUL, BPF_NEG, BPF_OR, BPF_RSH, BPF_SUB, BPF_XOR } from '../isa/uapi.ts';
import { DIAG_MOD_WRITE } from './diagnostics_port.ts';
import type { VerifierEnv } from './env.ts';
import { CONST_PTR_TO_MAP, PTR_TO_BTF_ID, PTR_TO_MAP_KEY, PTR_TO_MAP_VALUE, baseType } from './regtypes.ts';
import { REG_A, REG_B, REG_R64, REG_TYPE, REG_VAR_LO } from './state.ts';

// Kinds of events.
export const EVENT_BRANCH = 0;
export const EVENT_MOD = 1;
export const EVENT_REF_ACQUIRE = 2;
export const EVENT_REF_RELEASE = 3;
export const EVENT_CONTEXT = 4;

// Kinds of things that change.
export const TARGET_NONE = 0;
export const TARGET_REG = 1;
export const TARGET_STACK_ARG = 2;
export const TARGET_STACK_SLOT = 3;
export const TARGET_STACK_RANGE = 4;

// Words of a target: kind, frame identity, frame number, number or lowest offset, offset behind the highest.
export const T_KIND = 0;
export const T_FRAME_ID = 1;
export const T_FRAMENO = 2;
export const T_A = 3;
export const T_B = 4;
export const TARGET_WORDS = 5;

// Words of a snapshot of a register: type, BTF index and id, map index + 1, tristate number, 64-bit range.
export const S_TYPE = 0;
export const S_BTF = 1;
export const S_BTF_ID = 2;
export const S_MAP = 3;
export const S_VAR = 4;
export const S_R64 = 8;
export const SNAPSHOT_WORDS = 12;

// Words of an event.
export const E_INSN = 0;
export const E_KIND = 1;
export const E_IN_LINEAGE = 2;
/** Branch: 1 if taken. Reference: id. Context: kind, 1 if entered, depth. */
export const E_ARG = 3;
export const E_TARGET = 3;
export const E_ORIGIN: number = E_TARGET + TARGET_WORDS;
export const E_REASON: number = E_ORIGIN + TARGET_WORDS;
export const E_OLD: number = E_REASON + 1;
export const E_NEW: number = E_OLD + SNAPSHOT_WORDS;
const EVENT_WORDS: number = E_NEW + SNAPSHOT_WORDS;

/** Events that the kernel keeps at most: 64 MiB of 152 bytes each. */
const MAX_EVENTS: number = Math.floor((64 << 20) / 152);
const FIRST_CAPACITY = 64;

const LINEAGE_OPERATIONS: ReadonlySet<number> = new Set([
  BPF_ADD, BPF_SUB, BPF_MUL, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_ARSH, BPF_XOR, BPF_NEG, BPF_END,
]);

/** Takes a snapshot of the register at `reg` of the current state into `to` at `at`. */
export function takeSnapshot(env: VerifierEnv, reg: number, to: Int32Array, at: number): void {
  const { w } = env;
  const type = w[reg + REG_TYPE]!;
  const base = baseType(type);
  to[at + S_TYPE] = type;
  const hasBTF = base === PTR_TO_BTF_ID && w[reg + REG_A] !== 0 && w[reg + REG_B] !== 0;
  to[at + S_BTF] = hasBTF ? w[reg + REG_A]! : 0;
  to[at + S_BTF_ID] = hasBTF ? w[reg + REG_B]! : 0;
  to[at + S_MAP] = base === CONST_PTR_TO_MAP || base === PTR_TO_MAP_KEY || base === PTR_TO_MAP_VALUE ? w[reg + REG_A]! + 1 : 0;
  for (let i = 0; i < 4; i++) {
    to[at + S_VAR + i] = w[reg + REG_VAR_LO + i]!;
    to[at + S_R64 + i] = w[reg + REG_R64 + i]!;
  }
}

/** True where events are about the same thing; a write to a stretch of the stack concerns every slot in it. */
export function targetsMatch(a: Int32Array, x: number, b: Int32Array, y: number): boolean {
  if (a[x + T_FRAME_ID] !== b[y + T_FRAME_ID] || a[x + T_FRAMENO] !== b[y + T_FRAMENO]) return false;
  if (a[x + T_KIND] === TARGET_STACK_RANGE && b[y + T_KIND] === TARGET_STACK_SLOT) {
    const slotOff = -(b[y + T_A]! + 1) * 8;
    return a[x + T_A]! < slotOff + 8 && a[x + T_B]! > slotOff;
  }
  return a[x + T_KIND] === b[y + T_KIND] && b[y + T_KIND] !== TARGET_STACK_RANGE && a[x + T_A] === b[y + T_A];
}

/** The ring. Positions of events count from the oldest that is kept. */
export class DiagEvents {
  words: Int32Array = new Int32Array(0);
  count = 0;
  /** Events that were dropped from the beginning of the path. */
  firstSeq = 0;
  #capacity = 0;
  #head = 0;

  /** Word offset of the event at a position. */
  at(position: number): number {
    const index = this.#head + position;
    return (index < this.#capacity ? index : index - this.#capacity) * EVENT_WORDS;
  }

  /** Room for one more event, cleared; its word offset. The oldest gives way where there is no more room. */
  append(insn: number, kind: number): number {
    let offset: number;
    if (this.count === this.#capacity && this.#capacity < MAX_EVENTS) this.#grow();
    if (this.count < this.#capacity) {
      offset = this.at(this.count++);
    } else {
      offset = this.#head * EVENT_WORDS;
      if (++this.#head === this.#capacity) this.#head = 0;
      this.firstSeq++;
    }
    this.words.fill(0, offset, offset + EVENT_WORDS);
    this.words[offset + E_INSN] = insn;
    this.words[offset + E_KIND] = kind;
    return offset;
  }

  /** Takes the last event back. */
  dropLast(): void {
    this.count--;
  }

  #grow(): void {
    this.#capacity = Math.min(this.#capacity === 0 ? FIRST_CAPACITY : this.#capacity * 2, MAX_EVENTS);
    const next = new Int32Array(this.#capacity * EVENT_WORDS);
    next.set(this.words);
    this.words = next;
  }

  /** Position to come back to with {@link restore}. */
  save(): number {
    return this.firstSeq + this.count;
  }

  restore(position: number): void {
    const end = this.save();
    const to = Math.min(position, end);
    if (to <= this.firstSeq) {
      this.firstSeq = to;
      this.#head = 0;
      this.count = 0;
      return;
    }
    this.count = to - this.firstSeq;
  }

  /** True where an event changes a register by arithmetic: the value before it is still part of the story. */
  keepsLineage(env: VerifierEnv, offset: number): boolean {
    const { words } = this;
    if (words[offset + E_REASON] !== DIAG_MOD_WRITE || words[offset + E_TARGET + T_KIND] !== TARGET_REG) return false;
    const code = env.insns.code[words[offset + E_INSN]!]!;
    const cls = code & 7;
    return (cls === BPF_ALU || cls === BPF_ALU64) && LINEAGE_OPERATIONS.has(code & 0xf0);
  }
}
