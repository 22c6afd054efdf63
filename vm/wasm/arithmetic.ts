/**
 * @module vm/wasm/arithmetic
 * Arithmetic and conditions (RFC 9669 sections 4.1 to 4.3): 64 bits as i64, or as i32 where only the lower half of the result matters or
 * the upper halves of the operands are zero; 32 bits as i32.
 */
import { OPS as OP_NAMES } from '../ops.ts';
import { STRIDE } from '../program.ts';
import { BINARY, COMPARE } from './arithmetic-table.ts';
import { TYPE_I32, TYPE_I64, W } from './bytes.ts';
import { FACTS, KIND, type OpFacts } from './flow.ts';
import { MemoryEmitter } from './memory.ts';

export class ArithmeticEmitter extends MemoryEmitter {
  /**
   * Leaves a number that is not 0 where the jump at word `at` is taken. `last`: its first operand is not read behind it.
   *
   * V8 puts what is behind a test for equality next to the jump where the test fails, so that the way on from "unequal: leave", the usual
   * one, is a jump over the other: a difference that is not 0 has no such opposite. Where the operand lives on it would need a copy.
   */
  protected condition(at: number, facts: OpFacts, last: boolean = false): void {
    const { code, out } = this;
    const d = code[at + 1]! >> 1;
    const s = facts.register ? code[at + 2]! >> 1 : -1;
    const k = code[at + 3]!;
    const zeroBoth = (this.zero & (1 << d)) !== 0 && (s >= 0 ? (this.zero & (1 << s)) !== 0 : k >= 0);
    const narrow = facts.width === 32 || zeroBoth;
    if (facts.stem === 'jset') {
      const zeroOne = (this.zero & (1 << d)) !== 0 || (s >= 0 ? (this.zero & (1 << s)) !== 0 : k >= 0);
      if (narrow || zeroOne) {
        this.pushNarrow(d);
        if (s >= 0) this.pushNarrow(s);
        else this.i32(k);
        out.byte(W.i32_and);
        return;
      }
      this.pushWide(d);
      if (s >= 0) this.pushWide(s);
      else this.i64(k);
      out.byte(W.i64_and);
      this.i64(0);
      out.byte(W.i64_ne);
      return;
    }
    const compare = COMPARE[facts.stem]!;
    if (narrow) {
      this.pushNarrow(d);
      if (s < 0 && k === 0 && (facts.stem === 'jeq' || facts.stem === 'jne')) {
        if (facts.stem === 'jeq') out.byte(W.i32_eqz);
        return;
      }
      if (s >= 0) this.pushNarrow(s);
      else this.i32(k);
      if (last && facts.stem === 'jne') out.byte(W.i32_sub);
      else out.byte(facts.width === 32 ? compare[1] : compare[2]);
      return;
    }
    this.pushWide(d);
    if (s < 0 && k === 0 && facts.stem === 'jeq') {
      out.byte(W.i64_eqz);
      return;
    }
    if (s >= 0) this.pushWide(s);
    else this.i64(k);
    out.byte(compare[0]);
  }

  /**
   * Bytes put in network order only to be compared with a number: the number is swapped instead. True where that was done, with the
   * condition on the operand stack.
   */
  protected swappedJump(dense: number): boolean {
    const { code, out } = this;
    const at = dense * STRIDE;
    const next = at + STRIDE;
    const name = OP_NAMES[code[at]!]!;
    const facts = FACTS[code[next]!]!;
    const k = code[next + 3]!;
    const is16 = name === 'bswap16';
    if (!is16 && name !== 'bswap32') return false;
    if ((facts.stem !== 'jeq' && facts.stem !== 'jne') || facts.register || code[at + 1] !== code[next + 1]) return false;
    const d = code[at + 1]! >> 1;
    // What lies above the swapped bytes is 0.
    if ((this.liveBehind[dense + 1 - this.demandBase]! & (1 << d)) !== 0 || (is16 ? k >>> 0 > 0xffff : facts.width === 64 && k < 0)) return false;
    this.pushNarrow(d);
    if (is16) this.shortOnly(dense, d);
    this.i32(is16 ? ((k & 255) << 8) | (k >> 8) : (k << 24) | ((k & 0xff00) << 8) | ((k >>> 8) & 0xff00) | (k >>> 24));
    out.byte(facts.stem === 'jeq' ? W.i32_eq : W.i32_sub);
    return true;
  }

  /** Leaves the lower 16 bits of the number on the operand stack, which is that in register `d` before instruction `dense`. */
  protected shortOnly(dense: number, d: number): void {
    if (this.shortAt === dense - 1 && this.shortRegister === d) return;
    this.i32(0xffff);
    this.out.byte(W.i32_and);
  }

  protected binary64(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    const own = (this.zero & (1 << d)) !== 0;
    const operand = this.operandIsZero(at, facts);
    const zeroResult = facts.kind === KIND.and64 ? own || operand : facts.kind === KIND.or64 && own && operand;
    if (zeroResult || !this.isWide(dense, d)) {
      this.pushNarrow(d);
      this.pushOperandNarrow(at, facts);
      this.out.byte(BINARY[facts.stem]![1]);
      this.setNarrow(d);
      return;
    }
    this.pushWide(d);
    this.pushOperandWide(at, facts);
    this.out.byte(BINARY[facts.stem]![0]);
    this.setWide(d);
  }

  protected move64(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    if (this.variant.checked && !this.trusted && facts.register && this.sizes[d] !== 0) this.copyWindow(d, this.code[at + 2]! >> 1);
    if (!this.isWide(dense, d) || this.operandIsZero(at, facts)) {
      this.pushOperandNarrow(at, facts);
      this.setNarrow(d);
      return;
    }
    this.pushOperandWide(at, facts);
    this.setWide(d);
  }

  protected shift64(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    const { out } = this;
    if (facts.register) {
      this.pushWide(d);
      this.pushWide(this.code[at + 2]! >> 1);
      out.byte(BINARY[facts.stem]![0]);
      this.setWide(d);
      return;
    }
    const k = this.code[at + 3]! + (facts.high ? 32 : 0);
    if (facts.stem === 'lsh' && !this.isWide(dense, d)) {
      if (facts.high) this.i32(0);
      else {
        this.pushNarrow(d);
        this.i32(k);
        out.byte(W.i32_shl);
      }
      this.setNarrow(d);
      return;
    }
    if (facts.stem !== 'lsh' && (this.zero & (1 << d)) !== 0) {
      if (facts.high) this.i32(0);
      else {
        this.pushNarrow(d);
        this.i32(k);
        out.byte(W.i32_shr_u);
      }
      this.setNarrow(d);
      return;
    }
    this.pushWide(d);
    this.i64(k);
    out.byte(BINARY[facts.stem]![0]);
    if (facts.stem === 'rsh' && facts.high) {
      out.byte(W.i32_wrap_i64);
      this.setNarrow(d);
    } else this.setWide(d);
  }

  protected binary32(dense: number, facts: OpFacts): void {
    const at = dense * STRIDE;
    const d = this.code[at + 1]! >> 1;
    if (facts.stem === 'mov') this.pushOperandNarrow(at, facts);
    else if (/^s?(div|mod)$/.test(facts.stem)) {
      this.divide(dense, facts, false);
      return;
    } else {
      this.pushNarrow(d);
      this.pushOperandNarrow(at, facts);
      this.out.byte(BINARY[facts.stem]![1]);
    }
    this.setNarrow(d);
  }

  /** Division: by zero gives 0 and leaves a remainder of the dividend (RFC 9669 section 4.1); MIN / -1 is MIN. */
  protected divide(dense: number, facts: OpFacts, wide: boolean): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    const push = (): void => (wide ? this.pushWide(d) : this.pushNarrow(d));
    const operand = (): void => (wide ? this.pushOperandWide(at, facts) : this.pushOperandNarrow(at, facts));
    const zero = (): void => (wide ? this.i64(0) : this.i32(0));
    const set = (): void => (wide ? this.setWide(d) : this.setNarrow(d));
    const remainder = facts.stem.endsWith('mod');
    // Where both upper halves are zero, signed division of 64 bits is unsigned division of 32.
    const stem = facts.width === 64 && !wide ? facts.stem.replace('s', '') : facts.stem;
    const signed = stem.startsWith('s');
    const opcode = BINARY[stem]![wide ? 0 : 1];
    const type = wide ? TYPE_I64 : TYPE_I32;
    const byMinusOne = (): void => {
      if (remainder) zero();
      else {
        zero();
        push();
        out.byte(wide ? W.i64_sub : W.i32_sub);
      }
    };
    if (!facts.register) {
      const k = code[at + 3]!;
      if (k === 0) {
        if (remainder) push();
        else zero();
      } else if (signed && k === -1) byMinusOne();
      else {
        push();
        operand();
        out.byte(opcode);
      }
      set();
      return;
    }
    operand();
    out.byte(wide ? W.i64_eqz : W.i32_eqz);
    out.byte(W.if);
    out.byte(type);
    if (remainder) push();
    else zero();
    out.byte(W.else);
    if (signed) {
      operand();
      if (wide) this.i64(-1);
      else this.i32(-1);
      out.byte(wide ? W.i64_eq : W.i32_eq);
      out.byte(W.if);
      out.byte(type);
      byMinusOne();
      out.byte(W.else);
    }
    push();
    operand();
    out.byte(opcode);
    if (signed) out.byte(W.end);
    out.byte(W.end);
    set();
  }

  protected signExtend(dense: number, facts: OpFacts): void {
    const { out, code } = this;
    const at = dense * STRIDE;
    const d = code[at + 1]! >> 1;
    const s = code[at + 2]! >> 1;
    const narrow = facts.kind === KIND.movs32 || !this.isWide(dense, d);
    this.pushNarrow(s);
    if (facts.bytes < 4) out.byte(facts.bytes === 1 ? W.i32_extend8_s : W.i32_extend16_s);
    if (narrow) this.setNarrow(d);
    else {
      out.byte(W.i64_extend_i32_s);
      this.setWide(d);
    }
  }

  protected negate32(d: number): void {
    this.i32(0);
    this.pushNarrow(d);
    this.out.byte(W.i32_sub);
    this.setNarrow(d);
  }

  protected swap32(dense: number, d: number): void {
    const { out } = this;
    const name = OP_NAMES[this.code[dense * STRIDE]!]!;
    if (name === 'zext16') {
      this.pushNarrow(d);
      this.i32(0xffff);
      out.byte(W.i32_and);
    } else if (name === 'bswap16') {
      // Of a 16-bit v, v * 0x01000100 has the bytes in the order 0, 1, 0, and a zero.
      this.pushNarrow(d);
      this.shortOnly(dense, d);
      this.i32(0x01000100);
      out.byte(W.i32_mul);
      this.i32(16);
      out.byte(W.i32_shr_u);
    } else {
      // rotl(v, 8) & 0x00ff00ff | rotl(v, 24) & 0xff00ff00
      this.pushNarrow(d);
      this.i32(8);
      out.byte(W.i32_rotl);
      this.i32(0x00ff00ff);
      out.byte(W.i32_and);
      this.pushNarrow(d);
      this.i32(24);
      out.byte(W.i32_rotl);
      this.i32(0xff00ff00 | 0);
      out.byte(W.i32_and);
      out.byte(W.i32_or);
    }
    this.setNarrow(d);
  }

  protected swap64(d: number): void {
    const { out } = this;
    const value = this.borrow(TYPE_I64);
    this.pushWide(d);
    this.set(value);
    for (const [shift, maskLo, maskHi] of [[8, 0x00ff00ff, 0x00ff00ff], [16, 0x0000ffff, 0x0000ffff]] as const) {
      this.get(value);
      this.i64(maskLo, maskHi);
      out.byte(W.i64_and);
      this.i64(shift);
      out.byte(W.i64_shl);
      this.get(value);
      this.i64(shift);
      out.byte(W.i64_shr_u);
      this.i64(maskLo, maskHi);
      out.byte(W.i64_and);
      out.byte(W.i64_or);
      this.set(value);
    }
    this.get(value);
    this.i64(32);
    out.byte(W.i64_rotl);
    this.setWide(d);
    this.giveBack(TYPE_I64, value);
  }

  protected castUser(at: number, d: number): void {
    const { out } = this;
    const source = this.code[at + 2]! >> 1;
    const hi = this.program.image.arena?.userHi ?? 0;
    const low = this.borrow(TYPE_I32);
    this.pushNarrow(source);
    this.tee(low);
    out.byte(W.i64_extend_i32_u);
    this.i64(0, hi);
    this.i64(0);
    this.get(low);
    out.byte(W.select);
    out.byte(W.i64_or);
    this.setWide(d);
    this.giveBack(TYPE_I32, low);
  }
}
