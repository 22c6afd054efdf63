/**
 * @module btf/core_patch
 * Writes the result of a CO-RE relocation into its instruction, or replaces the instruction by one that can never verify.
 * Reproduces `bpf_core_patch_insn` of tools/lib/bpf/relo_core.c.
 */
import { EINVAL, ERANGE } from '../isa/errno.ts';
import {
  BPF_ALU, BPF_ALU64, BPF_B, BPF_CALL, BPF_DW, BPF_H, BPF_IMM, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_W,
} from '../isa/uapi.ts';
import type { CoreReporter, CoreResult } from './core.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;
/** 0xbad2310, "bad relo": the number of the helper that a poisoned instruction calls. */
const POISON_HELPER = 195896080;

/** Bytes by size code, and size codes by bytes. */
const BYTES_BY_SIZE: ReadonlyMap<number, number> = new Map([[BPF_DW, 8], [BPF_W, 4], [BPF_H, 2], [BPF_B, 1]]);
const SIZE_BY_BYTES: ReadonlyMap<number, number> = new Map([...BYTES_BY_SIZE].map(([size, bytes]) => [bytes, size]));

/**
 * Patches the instruction at byte `offset` of `program` (8 bytes an instruction) in place.
 *
 * @param instruction number of the instruction in messages.
 * @returns 0 or `-errno`.
 */
export function patchCoreInstruction(
  program: Uint8Array, offset: number, instruction: number, index: number, result: CoreResult, reporter: CoreReporter,
): number {
  const patch = new Patch(program, offset, instruction, index, result, reporter);
  return patch.apply();
}

class Patch {
  readonly #view: DataView;
  readonly #at: number;
  readonly #instruction: number;
  readonly #result: CoreResult;
  readonly #reporter: CoreReporter;
  readonly #prefix: string;

  constructor(program: Uint8Array, offset: number, instruction: number, index: number, result: CoreResult, reporter: CoreReporter) {
    this.#view = new DataView(program.buffer, program.byteOffset, program.byteLength);
    this.#at = offset;
    this.#instruction = instruction;
    this.#result = result;
    this.#reporter = reporter;
    this.#prefix = `prog '${reporter.programName}': relo #${index}:`;
  }

  apply(): number {
    const code = this.#view.getUint8(this.#at);
    switch (code & 7) {
      case BPF_ALU: case BPF_ALU64:
        return (code & 8) === BPF_K ? this.#patchALU() : this.#refuseUnknown();
      case BPF_LDX: case BPF_ST: case BPF_STX:
        return this.#patchMemory();
      case BPF_LD:
        return this.#patchLoad64();
      default:
        return this.#refuseUnknown();
    }
  }

  get #immediate(): number {
    return this.#view.getInt32(this.#at + 4, true);
  }

  #warn(text: string, errno: number): number {
    this.#reporter.warn(`${this.#prefix} ${text}\n`);
    return -errno;
  }

  #refuseUnknown(): number {
    const view = this.#view;
    const registers = view.getUint8(this.#at + 1);
    const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
    return this.#warn(
      `trying to relocate unrecognized insn #${this.#instruction}, code:${hex(view.getUint8(this.#at))}, src:${hex(registers >>> 4)}, `
      + `dst:${hex(registers & 15)}, off:${hex(view.getInt16(this.#at + 2, true))}, imm:${hex(this.#immediate)}`, EINVAL);
  }

  #patchALU(): number {
    const { poison, validate, originalValue, newValue } = this.#result;
    if (poison) return this.#poison();
    const current = this.#immediate;
    if (validate && BigInt.asUintN(64, BigInt(current)) !== originalValue) {
      return this.#warn(`unexpected insn #${this.#instruction} (ALU/ALU64) value: got ${current}, exp ${originalValue} -> ${newValue}`, EINVAL);
    }
    this.#view.setInt32(this.#at + 4, Number(BigInt.asIntN(32, newValue)), true);
    this.#reporter.debug(`${this.#prefix} patched insn #${this.#instruction} (ALU/ALU64) imm ${BigInt.asUintN(64, BigInt(current))} -> ${newValue}\n`);
    return 0;
  }

  #patchMemory(): number {
    const { poison, validate, originalValue, newValue, failMemorySizeAdjust, originalSize, newSize } = this.#result;
    if (poison) return this.#poison();
    const current = this.#view.getInt16(this.#at + 2, true);
    const place = `insn #${this.#instruction} (LDX/ST/STX)`;
    if (validate && BigInt.asUintN(64, BigInt(current)) !== originalValue) {
      return this.#warn(`unexpected ${place} value: got ${current}, exp ${originalValue} -> ${newValue}`, EINVAL);
    }
    if (newValue > 0x7fffn) return this.#warn(`${place} value too big: ${newValue}`, ERANGE);
    if (failMemorySizeAdjust) {
      this.#warn(`${place} accesses field incorrectly. `
        + 'Make sure you are accessing pointers, unsigned integers, or fields of matching type and size.', 0);
      return this.#poison();
    }
    this.#view.setInt16(this.#at + 2, Number(newValue), true);
    this.#reporter.debug(`${this.#prefix} patched ${place} off ${BigInt.asUintN(64, BigInt(current))} -> ${newValue}\n`);
    if (newSize === originalSize) return 0;

    const code = this.#view.getUint8(this.#at);
    const bytes = BYTES_BY_SIZE.get(code & 0x18) ?? -1;
    if (bytes !== originalSize) return this.#warn(`${place} unexpected mem size: got ${bytes}, exp ${originalSize}`, EINVAL);
    const size = SIZE_BY_BYTES.get(newSize);
    if (size === undefined) return this.#warn(`${place} invalid new mem size: ${newSize}`, EINVAL);
    this.#view.setUint8(this.#at, (code & 0xe7) | size);
    this.#reporter.debug(`${this.#prefix} patched ${place} mem_sz ${originalSize} -> ${newSize}\n`);
    return 0;
  }

  #patchLoad64(): number {
    const view = this.#view;
    const at = this.#at;
    const { poison, validate, originalValue, newValue } = this.#result;
    const hasForm = view.getUint8(at) === LD_IMM64 && at + 16 <= view.byteLength
      && (view.getUint8(at + 1) & 0xf0) === 0 && view.getInt16(at + 2, true) === 0 && view.getInt32(at + 8, true) === 0;
    if (!hasForm) return this.#warn(`insn #${this.#instruction} (LDIMM64) has unexpected form`, EINVAL);
    if (poison) return this.#poison();
    const current = (BigInt(view.getUint32(at + 12, true)) << 32n) | BigInt(view.getUint32(at + 4, true));
    if (validate && current !== originalValue) {
      return this.#warn(`unexpected insn #${this.#instruction} (LDIMM64) value: got ${current}, exp ${originalValue} -> ${newValue}`, EINVAL);
    }
    view.setUint32(at + 4, Number(newValue & 0xffffffffn), true);
    view.setUint32(at + 12, Number(newValue >> 32n), true);
    this.#reporter.debug(`${this.#prefix} patched insn #${this.#instruction} (LDIMM64) imm64 ${current} -> ${newValue}\n`);
    return 0;
  }

  #poison(): number {
    const view = this.#view;
    const count = view.getUint8(this.#at) === LD_IMM64 ? 2 : 1;
    for (let i = 0; i < count; i++) {
      const at = this.#at + i * 8;
      this.#reporter.debug(`${this.#prefix} substituting insn #${this.#instruction + i} w/ invalid insn\n`);
      if (at + 8 > view.byteLength) break;
      view.setUint8(at, BPF_JMP | BPF_CALL);
      view.setUint8(at + 1, 0);
      view.setInt16(at + 2, 0, true);
      view.setInt32(at + 4, POISON_HELPER, true);
    }
    return 0;
  }
}
