/**
 * @module vm/wasm/memory
 * Loads, stores and atomics. Unchecked accesses use the lower half of the address as offset. Checked ones are tested against a window: the
 * bounds of the live region that the same base register last met, kept in locals and handed on with copies of the pointer.
 */
import { KERNEL_HI, LOWEST } from '../address-space.ts';
import { MAX_STACK, STRIDE, type Atomic } from '../program.ts';
import { BINARY } from './arithmetic-table.ts';
import { TYPE_I32, TYPE_I64, TYPE_VOID, W } from './bytes.ts';
import { ExitEmitter } from './exits.ts';
import { definedRegister, demandBefore, fetchTarget, KIND, type Demand, type OpFacts } from './flow.ts';
import { FAULT_KINDS, IMPORT, PARAM_BASE, PARAM_SP, SCRATCH_LIMITS, SCRATCH_WINDOW } from './layout.ts';
import { FP, LAST_FOUND } from './state.ts';

export class MemoryEmitter extends ExitEmitter {
  /** The frame's own stack is the window of r10 and of copies of it. */
  protected openFrameWindow(): void {
    const bytes = this.frameBytes();
    this.pushWide(FP);
    this.i64(bytes);
    this.out.byte(W.i64_sub);
    this.set(this.window(FP));
    for (let log = 0; log < 4; log++) {
      if ((this.sizes[FP]! & (1 << log)) === 0) continue;
      this.i64(Math.max(0, bytes - (1 << log) + 1));
      this.set(this.limit(FP, 1 << log));
    }
  }

  /** In front of a loop without calls: looks up the regions of pointers that only move inside it. */
  emitLoopEntry(block: number): void {
    if (!this.variant.checked || this.loops.quietLoop[block] !== block) return;
    const { out } = this;
    for (let register = 0; register < 13; register++) {
      const bit = 1 << register;
      if (register === FP && this.fixedFrame) continue;
      if (this.sizes[register] === 0 || (this.facts.live[block]! & bit) === 0 || (this.loops.entering[block]! & bit) === 0) continue;
      this.pushWide(register);
      this.get(this.window(register));
      out.byte(W.i64_sub);
      this.get(this.limit(register, this.sizes[register]! & -this.sizes[register]!));
      out.byte(W.i64_ge_u);
      out.byte(W.if);
      out.byte(TYPE_VOID);
      this.get(PARAM_SP);
      this.pushNarrow(register);
      this.pushHigh(register);
      this.call(IMPORT.region);
      out.byte(W.if);
      out.byte(TYPE_VOID);
      this.loadWindow(LAST_FOUND);
      this.copyWindow(register, LAST_FOUND);
      out.byte(W.end);
      out.byte(W.end);
    }
  }

  /**
   * Pushes the i32 address of an access; gives the offset that belongs into the instruction. In checked code the access is inside a live
   * allocation behind this.
   */
  protected pushAddress(at: number, base: number, off: number, bytes: number, write: boolean, access: string): number {
    const { out } = this;
    if (this.trusted) {
      off += this.pending[base]!;
      access = 'f';
    }
    if (access === 'c' && !this.isKnown(base, off, bytes)) {
      this.checkAccess(at, base, off, bytes, write);
      this.get(this.address);
      out.byte(W.i32_wrap_i64);
      return 0;
    }
    if (base === FP && this.fixedFrame && off < 0 && off >= -MAX_STACK) {
      this.get(this.stackStart());
      return off + MAX_STACK;
    }
    this.pushNarrow(base);
    if (off >= 0) return off;
    this.i32(off);
    out.byte(W.i32_add);
    return 0;
  }

  /** True where the innermost loop around a header has calls or atomics, or is not known. */
  protected loopIsNotQuiet(header: number): boolean {
    return this.variant.checked && this.loops.quietLoop[header] !== header;
  }

  protected isKnown(base: number, off: number, bytes: number): boolean {
    if (base === FP && this.fixedFrame && off >= -this.frameBytes() && off + bytes <= 0) return true;
    return off >= this.knownFrom[base]! && off + bytes <= this.knownTo[base]!;
  }

  protected checkAccess(at: number, base: number, off: number, bytes: number, write: boolean): void {
    const { out } = this;
    if (this.address < 0) this.address = this.local(TYPE_I64);
    this.pushWide(base);
    if (off !== 0) {
      this.i64(off);
      out.byte(W.i64_add);
    }
    this.tee(this.address);
    this.get(this.window(base));
    out.byte(W.i64_sub);
    this.get(this.limit(base, bytes));
    out.byte(W.i64_ge_u);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    if (this.loop >= 0 && (this.loops.steady[this.loop]! & (1 << base)) !== 0) {
      this.resume(at / STRIDE, this.ahead + 1, this.liveBefore(at));
      out.byte(W.end);
      this.remember(base, off, bytes);
      return;
    }
    // A register that serves several regions in turn often comes back to the one looked up last.
    this.get(this.address);
    this.get(this.window(LAST_FOUND));
    out.byte(W.i64_sub);
    this.get(this.limit(LAST_FOUND, bytes));
    out.byte(W.i64_lt_u);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.copyWindow(base, LAST_FOUND);
    out.byte(W.else);
    this.storeLeft(this.ahead);
    this.i32(at);
    this.get(PARAM_SP);
    this.get(this.address);
    out.byte(W.i32_wrap_i64);
    this.get(this.address);
    this.i64(32);
    out.byte(W.i64_shr_u);
    out.byte(W.i32_wrap_i64);
    this.i32(bytes | (write ? 256 : 0));
    this.call(IMPORT.slow);
    this.loadWindow(LAST_FOUND);
    this.copyWindow(base, LAST_FOUND);
    out.byte(W.end);
    out.byte(W.end);
    this.remember(base, off, bytes);
  }

  /** Takes the region that a call has found as the window of a register. */
  protected loadWindow(base: number): void {
    this.get(PARAM_BASE);
    this.memory(W.i64_load, SCRATCH_WINDOW);
    this.set(this.window(base));
    for (let log = 0; log < 4; log++) {
      if ((this.sizes[base]! & (1 << log)) === 0) continue;
      this.get(PARAM_BASE);
      this.memory(W.i64_load32_u, SCRATCH_LIMITS + 4 * log);
      this.set(this.limit(base, 1 << log));
    }
  }

  protected remember(base: number, off: number, bytes: number): void {
    const from = this.knownFrom[base]!;
    const to = this.knownTo[base]!;
    // Bytes that touch lie in one allocation: between two there is always a gap.
    const joins = from < to && off <= to && off + bytes >= from;
    this.knownFrom[base] = joins ? Math.min(from, off) : off;
    this.knownTo[base] = joins ? Math.max(to, off + bytes) : off + bytes;
  }

  /** Registers that are live in front of the instruction at word `at` of the block at hand. */
  protected liveBefore(at: number): number {
    const state: Demand = { live: this.liveBehind[at / STRIDE - this.demandBase]!, wide: 0 };
    demandBefore(this.code, at, this.atomics, this.variant.checked, state);
    return state.live;
  }

  protected window(base: number): number {
    if (this.windowBase[base]! < 0) this.windowBase[base] = this.local(TYPE_I64);
    return this.windowBase[base]!;
  }

  protected limit(base: number, bytes: number): number {
    const index = base * 4 + (31 - Math.clz32(bytes));
    if (this.windowLimit[index]! < 0) this.windowLimit[index] = this.local(TYPE_I64);
    return this.windowLimit[index]!;
  }

  protected copyWindow(d: number, s: number): void {
    if (d === s) return;
    this.get(this.window(s));
    this.set(this.window(d));
    for (let log = 0; log < 4; log++) {
      if ((this.sizes[d]! & (1 << log)) === 0) continue;
      this.get(this.limit(s, 1 << log));
      this.set(this.limit(d, 1 << log));
    }
  }

  /** Behind a call to the outside allocations may be gone. */
  protected forgetWindows(): void {
    if (!this.variant.checked) return;
    this.knownFrom.fill(0);
    this.knownTo.fill(0);
    for (let base = 0; base <= LAST_FOUND; base++) {
      if (base === FP && this.fixedFrame) continue;
      for (let log = 0; log < 4; log++) {
        if ((this.sizes[base]! & (1 << log)) === 0) continue;
        this.i64(0);
        this.set(this.limit(base, 1 << log));
      }
    }
  }

  /** What was found accessible moves with `r += constant` and is forgotten with any other write. */
  protected forgetKnown(dense: number, facts: OpFacts): void {
    if (!this.variant.checked) return;
    const at = dense * STRIDE;
    const register = definedRegister(facts, this.code, at, this.atomics);
    if (register < 0) return;
    const k = this.code[at + 3]!;
    if (facts.kind === KIND.add64 && !facts.register && (facts.stem === 'add' || facts.stem === 'sub') && Math.abs(k) < 1 << 20) {
      const by = facts.stem === 'add' ? k : -k;
      if (this.knownFrom[register]! === this.knownTo[register]!) return;
      this.knownFrom[register]! -= by;
      this.knownTo[register]! -= by;
      return;
    }
    this.knownFrom[register] = 0;
    this.knownTo[register] = 0;
  }

  protected access(dense: number, opcode: number, offset: number): void {
    this.traps.push(this.out.length, dense);
    this.memory(opcode, offset);
  }

  protected load(dense: number, facts: OpFacts): void {
    const { code } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    const base = code[at + 2]! >> 1;
    const off = code[at + 3]!;
    const wide = this.isWide(dense, d) && (facts.signed || facts.bytes === 8);
    if (facts.access === 'p' || facts.access === 'a') {
      this.guardedLoad(dense, facts, d, base, off, wide);
      return;
    }
    const offset = this.pushAddress(at, base, off, facts.bytes, false, facts.access);
    this.access(dense, loadOpcode(facts, wide), offset);
    if (wide) this.setWide(d);
    else this.setNarrow(d);
    if (facts.bytes === 2 && !facts.signed) {
      this.shortAt = dense;
      this.shortRegister = d;
    }
  }

  /** A load that gives 0 where it would fault. */
  protected guardedLoad(dense: number, facts: OpFacts, d: number, base: number, off: number, wide: boolean): void {
    const { out } = this;
    const address = this.borrow(TYPE_I32);
    if (facts.access === 'a') this.arenaAddress(base, off, facts.bytes);
    else this.probeAddress(base, off);
    this.tee(address);
    this.i32(0);
    out.byte(W.i32_ge_s);
    out.byte(W.if);
    out.byte(wide ? TYPE_I64 : TYPE_I32);
    this.get(address);
    this.access(dense, loadOpcode(facts, wide), 0);
    out.byte(W.else);
    if (wide) this.i64(0);
    else this.i32(0);
    out.byte(W.end);
    if (wide) this.setWide(d);
    else this.setNarrow(d);
    this.giveBack(TYPE_I32, address);
  }

  protected arenaAddress(base: number, off: number, bytes: number): void {
    this.pushNarrow(base);
    this.i32(off);
    this.i32(bytes);
    this.call(IMPORT.arena);
  }

  /** The offset of a kernel address inside the memory, else -1. The upper half counts without the carry of the offset. */
  protected probeAddress(base: number, off: number): void {
    const { out } = this;
    const at = this.borrow(TYPE_I32);
    this.pushNarrow(base);
    this.i32(off);
    out.byte(W.i32_add);
    this.tee(at);
    this.i32(-1);
    this.pushHigh(base);
    this.i32(KERNEL_HI);
    out.byte(W.i32_eq);
    this.get(at);
    this.i32(LOWEST);
    out.byte(W.i32_ge_s);
    out.byte(W.i32_and);
    this.get(at);
    out.byte(0x3f);
    out.byte(0);
    this.i32(16);
    out.byte(W.i32_shl);
    this.i32(8);
    out.byte(W.i32_sub);
    out.byte(W.i32_le_u);
    out.byte(W.i32_and);
    out.byte(W.select);
    this.giveBack(TYPE_I32, at);
  }

  protected store(dense: number, facts: OpFacts): void {
    const { code, out } = this;
    const at = dense * STRIDE;
    const base = code[at + 1]! >> 1;
    const off = facts.register ? code[at + 3]! : code[at + 2]!;
    const value = (): void => {
      if (facts.bytes === 8) {
        if (facts.register) this.pushWide(code[at + 2]! >> 1);
        else this.i64(code[at + 3]!);
      } else if (facts.register) this.pushNarrow(code[at + 2]! >> 1);
      else this.i32(code[at + 3]!);
    };
    const opcode = facts.bytes === 8 ? W.i64_store : facts.bytes === 4 ? W.i32_store : facts.bytes === 2 ? W.i32_store16 : W.i32_store8;
    if (facts.access === 'a') {
      const address = this.borrow(TYPE_I32);
      this.arenaAddress(base, off, facts.bytes);
      this.tee(address);
      this.i32(0);
      out.byte(W.i32_ge_s);
      out.byte(W.if);
      out.byte(TYPE_VOID);
      this.get(address);
      value();
      this.access(dense, opcode, 0);
      out.byte(W.end);
      this.giveBack(TYPE_I32, address);
      return;
    }
    const offset = this.pushAddress(at, base, off, facts.bytes, true, facts.access);
    value();
    this.access(dense, opcode, offset);
  }

  protected atomic(dense: number): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const atomic = this.atomics[code[at + 3]!]!;
    const { size, arena, off } = atomic;
    const isLoad = atomic.operation === 0x100;
    const base = isLoad ? atomic.src : atomic.dst;
    const address = this.borrow(TYPE_I32);
    if (arena) {
      this.arenaAddress(base, off, size);
      this.set(address);
      if (isLoad) {
        this.i64(0);
        this.setWide(atomic.dst);
      }
      // A fetching operation that is dropped keeps its register: both ways must leave it in the same form.
      const target = fetchTarget(atomic);
      if (target >= 0) {
        this.pushWide(target);
        this.setWide(target);
      }
      this.get(address);
      this.i32(0);
      out.byte(W.i32_ge_s);
      out.byte(W.if);
      out.byte(TYPE_VOID);
    } else {
      const offset = this.pushAddress(at, base, off, size, !isLoad, this.variant.checked ? 'c' : 'f');
      if (offset !== 0) {
        this.i32(offset);
        out.byte(W.i32_add);
      }
      this.set(address);
    }
    if (size > 1) this.checkAlignment(at, address, base, size, arena);
    this.atomicBody(dense, atomic, address);
    if (arena) out.byte(W.end);
    this.giveBack(TYPE_I32, address);
  }

  protected checkAlignment(at: number, address: number, base: number, size: number, arena: boolean): void {
    const { out } = this;
    this.get(address);
    this.i32(size - 1);
    out.byte(W.i32_and);
    out.byte(W.if);
    out.byte(TYPE_VOID);
    this.storeLeft(this.ahead);
    this.i32(at);
    this.get(PARAM_SP);
    this.i32(FAULT_KINDS.alignment | (size << 8));
    this.get(address);
    if (arena) this.i32(KERNEL_HI);
    else this.pushHigh(base);
    this.call(IMPORT.fault);
    out.byte(W.unreachable);
    out.byte(W.end);
  }

  protected atomicBody(dense: number, { dst, src, operation, size }: Atomic, address: number): void {
    const { out } = this;
    const wide = size === 8;
    const loadOp = wide ? W.i64_load : size === 4 ? W.i32_load : size === 2 ? W.i32_load16_u : W.i32_load8_u;
    const storeOp = wide ? W.i64_store : size === 4 ? W.i32_store : size === 2 ? W.i32_store16 : W.i32_store8;
    const push = (register: number): void => (wide ? this.pushWide(register) : this.pushNarrow(register));
    /** The result of a fetch: i64 everywhere, as an arena's dropped access keeps the i64 form. */
    const set = (register: number): void => {
      if (!wide) out.byte(W.i64_extend_i32_u);
      this.setWide(register);
    };
    if (operation === 0x100) {
      this.get(address);
      this.access(dense, loadOp, 0);
      set(dst);
      return;
    }
    if (operation === 0x110) {
      this.get(address);
      push(src);
      this.access(dense, storeOp, 0);
      return;
    }
    const type = wide ? TYPE_I64 : TYPE_I32;
    const old = this.borrow(type);
    this.get(address);
    this.access(dense, loadOp, 0);
    this.set(old);
    this.get(address);
    if (operation === 0xf1) {
      push(src);
      this.get(old);
      this.get(old);
      push(0);
      out.byte(wide ? W.i64_eq : W.i32_eq);
      out.byte(W.select);
    } else if (operation === 0xe1) push(src);
    else {
      this.get(old);
      push(src);
      const stem = { 0x00: 'add', 0x40: 'or', 0x50: 'and', 0xa0: 'xor' }[operation & 0xf0]!;
      out.byte(BINARY[stem]![wide ? 0 : 1]);
    }
    this.access(dense, storeOp, 0);
    if ((operation & 1) === 1) {
      this.get(old);
      set(operation === 0xf1 ? 0 : src);
    }
    this.giveBack(type, old);
  }
}

function loadOpcode(facts: OpFacts, wide: boolean): number {
  if (facts.bytes === 8) return wide ? W.i64_load : W.i32_load;
  if (facts.bytes === 4) return wide && facts.signed ? W.i64_load32_s : W.i32_load;
  if (facts.bytes === 2) return facts.signed ? (wide ? W.i64_load16_s : W.i32_load16_s) : W.i32_load16_u;
  return facts.signed ? (wide ? W.i64_load8_s : W.i32_load8_s) : W.i32_load8_u;
}
