/**
 * @module src/fuzz/oracles/impossible
 * Ways that no run takes and the verifier follows all the same. A range is an arc: it cannot say that a number with bit 39 set is not zero, so the
 * branch where it is zero is followed, with a number that is neither (0x8000000000 in Linux, too). What comes of it may be refused though the same
 * program is accepted where a wider state covers it. Owns the question whether a walk was on such a way.
 */
import * as U from '../../../isa/uapi.ts';
import { SCALAR_VALUE } from '../../../verifier/regtypes.ts';
import { SCALAR_WORDS, scalarConst } from '../../../verifier/scalar.ts';
import { scalarBranch } from '../../../verifier/scalar_branch.ts';
import { REG_SCALAR, REG_TYPE, regAt } from '../../../verifier/state.ts';

const NOWHERE = -1;
/** Registers below the frame pointer. */
const NUMBERED = 10;

/** Watches the states of one verification, in the order in which they are visited. */
export class ImpossibleWays {
  /** A branch was followed whose condition does not hold for the numbers with which it was followed. */
  seen = false;
  #instructions: DataView = new DataView(new ArrayBuffer(0));
  #last: number = NOWHERE;
  readonly #constant: Int32Array = new Int32Array(SCALAR_WORDS);

  /** Prepares for a program. */
  begin(instructions: Uint8Array): void {
    this.seen = false;
    this.#last = NOWHERE;
    this.#instructions = new DataView(instructions.buffer, instructions.byteOffset, instructions.byteLength);
  }

  /** The state before `insn`, whose registers are those of `frame` in `words`. */
  visit(insn: number, words: Int32Array, frame: number): void {
    const last = this.#last;
    this.#last = insn;
    if (this.seen) return;
    if (last !== NOWHERE && insn === last + 1 && !this.#endsPath(last)) this.seen = this.#contradicts(last, false, words, frame);
    else if (last !== NOWHERE && this.#target(last) === insn) this.seen = this.#contradicts(last, true, words, frame);
    else this.seen = this.#cameByNone(insn, words, frame);
  }

  /** The way goes on from a jump that was put aside: true where there is one that leads here, and none that can have. */
  #cameByNone(insn: number, words: Int32Array, frame: number): boolean {
    let jumps = 0;
    for (let from = 0; from * 8 < this.#instructions.byteLength; from++) {
      if (this.#target(from) !== insn) continue;
      if (!this.#contradicts(from, true, words, frame)) return false;
      jumps++;
    }
    return jumps > 0;
  }

  #endsPath(insn: number): boolean {
    const code = this.#instructions.getUint8(insn * 8);
    return code === (U.BPF_JMP | U.BPF_EXIT) || code === (U.BPF_JMP | U.BPF_JA) || code === (U.BPF_JMP32 | U.BPF_JA);
  }

  /** Where a conditional jump leads when it is taken; {@link NOWHERE} for other instructions and where both ways are one. */
  #target(insn: number): number {
    const code = this.#instructions.getUint8(insn * 8), op = code & 0xf0;
    if (((code & 7) !== U.BPF_JMP && (code & 7) !== U.BPF_JMP32) || op === U.BPF_JA || op === U.BPF_CALL || op === U.BPF_EXIT || op >= U.BPF_JCOND) return NOWHERE;
    const off = this.#instructions.getInt16(insn * 8 + 2, true);
    return off === 0 ? NOWHERE : insn + off + 1;
  }

  /** True where the numbers of now decide the conditional jump `from` the other way. */
  #contradicts(from: number, isTaken: boolean, words: Int32Array, frame: number): boolean {
    if (this.#target(from) === NOWHERE) return false;
    const code = this.#instructions.getUint8(from * 8), registers = this.#instructions.getUint8(from * 8 + 1), imm = this.#instructions.getInt32(from * 8 + 4, true);
    const dst = registers & 15, src = registers >> 4, isX = (code & U.BPF_X) !== 0;
    if (dst >= NUMBERED || words[regAt(frame, dst) + REG_TYPE] !== SCALAR_VALUE) return false;
    if (isX && (src >= NUMBERED || src === dst || words[regAt(frame, src) + REG_TYPE] !== SCALAR_VALUE)) return false;
    scalarConst(this.#constant, 0, imm, imm >> 31);
    const right = isX ? words : this.#constant, at = isX ? regAt(frame, src) + REG_SCALAR : 0;
    const decided = scalarBranch(words, regAt(frame, dst) + REG_SCALAR, right, at, code & 0xf0, (code & 7) === U.BPF_JMP32);
    return decided === (isTaken ? 0 : 1);
  }
}
