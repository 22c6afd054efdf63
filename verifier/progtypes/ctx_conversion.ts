/**
 * @module verifier/progtypes/ctx_conversion
 * The tools of `ctx_convert.ts`: an access that is being turned into instructions on the kernel's structures. Owns how loads and
 * stores are written down, not what becomes of which field.
 */
import type { Instruction } from '../../isa/decode.ts';
import { InternalError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { KernelLayout, Place } from './kernel_layout.ts';

const SIZE_CODES: ReadonlyMap<number, number> = new Map([[1, U.BPF_B], [2, U.BPF_H], [4, U.BPF_W], [8, U.BPF_DW]]);
const SIZE_BYTES = [4, 2, 1, 8] as const;
/** The register that only rewritten programs have. */
export const REG_AX = 12;

/** Bytes of the memory access of an instruction. */
export function accessSize(code: number): number {
  return SIZE_BYTES[(code >> 3) & 3]!;
}

export function sizeCode(bytes: number): number {
  const code = SIZE_CODES.get(bytes);
  if (code === undefined) throw new InternalError(`no access of ${bytes} bytes`);
  return code;
}

/** The instructions that one access becomes. */
export class Conversion {
  readonly kernel: KernelLayout;
  readonly insn: Instruction;
  readonly isWrite: boolean;
  /** The program also looks at `tstamp_type`, so that it takes `tstamp` as it is. */
  readonly knowsTimestampType: boolean;
  readonly out: Instruction[] = [];
  /** Bytes of the kernel's field, where a narrower load must be cut out of it; 0 for none. */
  targetSize = 0;

  constructor(kernel: KernelLayout, insn: Instruction, knowsTimestampType: boolean) {
    this.kernel = kernel;
    this.insn = insn;
    this.knowsTimestampType = knowsTimestampType;
    this.isWrite = (insn.code & 7) !== U.BPF_LDX;
  }

  emit(code: number, dst: number, src: number, off: number, imm: number): void {
    this.out.push({ code, dst, src, off, imm });
  }

  ldx(size: number, dst: number, src: number, off: number): void {
    this.emit(U.BPF_LDX | U.BPF_MEM | sizeCode(size), dst, src, off, 0);
  }

  stx(size: number, dst: number, off: number, src: number): void {
    this.emit(U.BPF_STX | U.BPF_MEM | sizeCode(size), dst, src, off, 0);
  }

  jump(condition: number, dst: number, imm: number, off: number): void {
    this.emit(U.BPF_JMP | condition, dst, 0, off, imm);
  }

  skip(distance: number): void {
    this.emit(U.BPF_JMP | U.BPF_JA, 0, 0, distance, 0);
  }

  alu32(op: number, dst: number, imm: number): void {
    this.emit(U.BPF_ALU | op, dst, 0, 0, imm);
  }

  mov64(dst: number, imm: number): void {
    this.emit(U.BPF_ALU64 | U.BPF_MOV, dst, 0, 0, imm);
  }

  copy(dst: number, src: number): void {
    this.emit(U.BPF_ALU64 | U.BPF_MOV | U.BPF_X, dst, src, 0, 0);
  }

  place(path: string): Place {
    return this.kernel.place(path);
  }

  /** The access itself as a store of its own width class (STX or ST) to another place. */
  store(size: number, base: number, off: number): void {
    const { insn } = this;
    this.emit((insn.code & 7) | U.BPF_MEM | sizeCode(size), base, insn.src, off, insn.imm);
  }

  /** A member of the structure that the context pointer really points at: load or store. */
  own(path: string, size?: number, extra = 0): void {
    const place = this.place(path);
    const bytes = size ?? place.size;
    if (this.isWrite) this.store(bytes, this.insn.dst, place.offset + extra);
    else this.ldx(bytes, this.insn.dst, this.insn.src, place.offset + extra);
  }

  /** As {@link own}, and a narrower load is cut out of the member. */
  target(path: string, size?: number): void {
    this.own(path, size);
    this.targetSize = size ?? this.place(path).size;
  }

  /** Loads a pointer into the destination register. */
  pointer(path: string): void {
    const { dst, src } = this.insn;
    const place = this.place(path);
    this.ldx(place.size, dst, this.out.length === 0 ? src : dst, place.offset);
  }

  /** Loads from what the destination register points at. */
  follow(path: string, size?: number, extra = 0): void {
    const { dst } = this.insn;
    const place = this.place(path);
    this.ldx(size ?? place.size, dst, dst, place.offset + extra);
  }

  /** Skips the next instructions if the pointer just loaded is NULL. */
  unlessNull(count = 1): void {
    this.jump(U.BPF_JEQ, this.insn.dst, 0, count);
  }

  /** A register that the access does not use, counted down from R9. */
  spare(): number {
    const { dst, src } = this.insn;
    let reg = 9;
    if (src === reg || dst === reg) reg--;
    if (src === reg || dst === reg) reg--;
    return reg;
  }
}
