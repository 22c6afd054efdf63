/**
 * @module verifier/rewrite/code
 * Instructions as the rewriting passes write them, one function a form, in the order of operands of the kernel's macros
 * (`include/linux/filter.h`). Each appends to the patch being made.
 */
import { BPF_ADDR_PERCPU, BPF_NOSPEC } from '../../isa/instructions.ts';
import {
  BPF_ALU, BPF_ALU64, BPF_CALL, BPF_DW, BPF_EXIT, BPF_IMM, BPF_JA, BPF_JMP, BPF_JMP32, BPF_LD, BPF_LDX, BPF_MEM, BPF_MOV, BPF_ST, BPF_STX, BPF_X,
} from '../../isa/uapi.ts';
import type { Rewrite } from './rewrite.ts';

/** The register that only rewritten programs have (`BPF_REG_AX`). */
export const AX: number = 12;

/** Upper half of an address in the kernel that stands for one which nobody is shown. */
export const KERNEL_ADDRESS_HI: number = 0xffff8880 | 0;

export function aluK(r: Rewrite, is64: boolean, op: number, dst: number, imm: number): void {
  r.emit((is64 ? BPF_ALU64 : BPF_ALU) | op, dst, 0, 0, imm);
}

export function aluX(r: Rewrite, is64: boolean, op: number, dst: number, src: number): void {
  r.emit((is64 ? BPF_ALU64 : BPF_ALU) | BPF_X | op, dst, src, 0, 0);
}

export function alu64(r: Rewrite, op: number, dst: number, imm: number): void {
  aluK(r, true, op, dst, imm);
}

export function mov64(r: Rewrite, dst: number, imm: number): void {
  aluK(r, true, BPF_MOV, dst, imm);
}

export function mov32(r: Rewrite, dst: number, imm: number): void {
  aluK(r, false, BPF_MOV, dst, imm);
}

export function copy64(r: Rewrite, dst: number, src: number): void {
  aluX(r, true, BPF_MOV, dst, src);
}

/** Offset in a per-processor area to the address of this processor's copy. */
export function percpuAddress(r: Rewrite, reg: number): void {
  r.emit(BPF_ALU64 | BPF_MOV | BPF_X, reg, reg, BPF_ADDR_PERCPU, 0);
}

export function jumpK(r: Rewrite, is64: boolean, op: number, dst: number, imm: number, distance: number): void {
  r.emit((is64 ? BPF_JMP : BPF_JMP32) | op, dst, 0, distance, imm);
}

export function jumpX(r: Rewrite, is64: boolean, op: number, dst: number, src: number, distance: number): void {
  r.emit((is64 ? BPF_JMP : BPF_JMP32) | BPF_X | op, dst, src, distance, 0);
}

export function skip(r: Rewrite, distance: number): void {
  r.emit(BPF_JMP | BPF_JA, 0, 0, distance, 0);
}

/** `size` is `BPF_B`…`BPF_DW`. */
export function load(r: Rewrite, size: number, dst: number, src: number, off: number): void {
  r.emit(BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

export function store(r: Rewrite, size: number, dst: number, src: number, off: number): void {
  r.emit(BPF_STX | BPF_MEM | size, dst, src, off, 0);
}

export function storeK(r: Rewrite, size: number, dst: number, off: number, imm: number): void {
  r.emit(BPF_ST | BPF_MEM | size, dst, 0, off, imm);
}

export function load64(r: Rewrite, dst: number, lo: number, hi: number): void {
  r.emit(BPF_LD | BPF_IMM | BPF_DW, dst, 0, 0, lo);
  r.emit(0, 0, 0, 0, hi);
}

/** A call of a function of the kernel, whose address nobody is shown. */
export function callKernel(r: Rewrite, src = 0, imm = 0, off = 0): void {
  r.emit(BPF_JMP | BPF_CALL, 0, src, off, imm);
}

export function exit(r: Rewrite): void {
  r.emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/** A barrier against speculation. */
export function barrier(r: Rewrite): void {
  r.emit(BPF_ST | BPF_NOSPEC, 0, 0, 0, 0);
}
