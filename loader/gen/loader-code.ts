/**
 * @module loader/gen/loader-code
 * The two buffers of a generated loader: its instructions and the blob of bytes that they work on, with the instruction sequences that
 * the generator puts together. Sequences, registers and offsets are those of `tools/lib/bpf/gen_loader.c` of Linux 7.3, because the
 * bytes must be; what is generated for an object is `gen-loader.ts`.
 *
 * R6 holds the context, R7 the result of the last command, R8 the instruction being relocated, R9 the result of a lookup.
 */
import { EINVAL, ERANGE } from '../../isa/errno.ts';
import { latin1Bytes } from '../../isa/latin1.ts';
import { LD_IMM64 } from '../../isa/opcodes.ts';
import * as U from '../../isa/uapi.ts';
import { writeWords } from '../../isa/words.ts';
import { swapInstructions } from '../object/open.ts';

export const MAX_USED_MAPS = 64;
export const MAX_USED_PROGS = 32;
export const MAX_KFUNC_DESCS = 256;
const FD_ARRAY_SIZE = 4 * (MAX_USED_MAPS + MAX_KFUNC_DESCS);
/** `struct loader_stack`: `btf_fd`, `inner_map_fd`, `prog_fd[32]`. */
const STACK_SIZE = 8 + 4 * MAX_USED_PROGS;
export const STACK_BTF_FD: number = -STACK_SIZE;
export const STACK_INNER_MAP_FD: number = -STACK_SIZE + 4;

/** Place of a program's descriptor on the loader's stack. */
export function stackProgramFD(index: number): number {
  return -STACK_SIZE + 8 + 4 * index;
}

/** Words of 8 bytes in a SHA-256 digest, and where `struct bpf_map` says that it is exclusive, before Linux 7.3. */
const DIGEST_WORDS = 4;
const MAP_EXCLUSIVE_OFFSET = 32;
/** Sizes of memory accesses by bytes. */
const ACCESS: Readonly<Record<number, number>> = { 1: U.BPF_B, 2: U.BPF_H, 4: U.BPF_W, 8: U.BPF_DW };
const MOV64_REG = U.BPF_ALU64 | U.BPF_MOV | U.BPF_X;
const MOV64_IMM = U.BPF_ALU64 | U.BPF_MOV | U.BPF_K;
export const JUMP: number = U.BPF_JMP | U.BPF_JA;

/** Bytes that grow. */
class Blob {
  #bytes: Uint8Array = new Uint8Array(65_536);
  length: number = 0;

  append(bytes: Uint8Array): number {
    const start = this.length;
    this.grow(bytes.length);
    this.#bytes.set(bytes, start);
    return start;
  }

  /** Makes room for zeros. */
  grow(size: number): void {
    this.length += size;
    if (this.length <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * this.length);
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  take(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

/** Words of a loader's first instructions; it grows. */
const FIRST_WORDS = 8192;

/** What the generator cannot express; `errno` is libbpf's. */
export class GeneratorError extends Error {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** Writer of instructions and data. */
export class LoaderCode {
  /** Two words an instruction, and how many bytes that is. */
  #words: Uint32Array = new Uint32Array(FIRST_WORDS);
  #length = 0;
  readonly #data = new Blob();
  readonly littleEndian: boolean;
  /** Offset of `fd_array` in the blob. */
  readonly fdArray: number;
  #cleanupLabel = 0;

  constructor(littleEndian: boolean) {
    this.littleEndian = littleEndian;
    this.fdArray = this.addZeros(FD_ARRAY_SIZE);
  }

  /** Adds bytes to the blob, filled up to a multiple of eight; their offset. */
  addData(bytes: Uint8Array): number {
    const start = this.#data.append(bytes);
    this.#data.grow(-bytes.length & 7);
    return start;
  }

  addZeros(size: number): number {
    return this.addData(new Uint8Array(size));
  }

  /** A string with its NUL; offset and length. */
  addString(text: string): { readonly offset: number; readonly length: number } {
    const bytes = latin1Bytes(`${text}\0`);
    return { offset: this.addData(bytes), length: bytes.length };
  }

  /** Place of slot `index` of `fd_array`. */
  fdSlot(index: number): number {
    return this.fdArray + 4 * index;
  }

  emit(code: number, dst: number, src: number, off: number, imm: number): void {
    const at = this.#length >> 2;
    if (at === this.#words.length) {
      const larger = new Uint32Array(2 * at);
      larger.set(this.#words);
      this.#words = larger;
    }
    this.#words[at] = code | (dst << 8) | (src << 12) | (off << 16);
    this.#words[at + 1] = imm;
    this.#length += 8;
  }

  /** `dst = address of blob + offset` */
  address(dst: number, offset: number): void {
    this.emit(LD_IMM64, dst, U.BPF_PSEUDO_MAP_IDX_VALUE, 0, 0);
    this.emit(0, 0, 0, 0, offset);
  }

  moveRegister(dst: number, src: number): void {
    this.emit(MOV64_REG, dst, src, 0, 0);
  }

  moveImmediate(dst: number, value: number): void {
    this.emit(MOV64_IMM, dst, 0, 0, value);
  }

  load(size: number, dst: number, src: number, off: number): void {
    this.emit(U.BPF_LDX | U.BPF_MEM | (ACCESS[size] ?? 0), dst, src, off, 0);
  }

  store(size: number, dst: number, src: number, off: number): void {
    this.emit(U.BPF_STX | U.BPF_MEM | (ACCESS[size] ?? 0), dst, src, off, 0);
  }

  storeImmediate(size: number, dst: number, off: number, value: number): void {
    this.emit(U.BPF_ST | U.BPF_MEM | (ACCESS[size] ?? 0), dst, 0, off, value);
  }

  /** Conditional or plain jump against an immediate. */
  jump(operation: number, dst: number, value: number, off: number): void {
    this.emit(U.BPF_JMP | operation | U.BPF_K, dst, 0, off, value);
  }

  shiftRight32(register: number): void {
    this.emit(U.BPF_ALU64 | U.BPF_RSH | U.BPF_K, register, 0, 0, 32);
  }

  call(helper: number): void {
    this.emit(U.BPF_JMP | U.BPF_CALL, 0, 0, 0, helper);
  }

  exit(): void {
    this.emit(U.BPF_JMP | U.BPF_EXIT, 0, 0, 0, 0);
  }

  /** `*(u64 *)(blob + offset) = address of blob + data` */
  storeAddress(offset: number, data: number): void {
    this.address(0, data);
    this.address(1, offset);
    this.store(8, 1, 0, 0);
  }

  blobToBlob(offset: number, size: number, from: number): void {
    this.address(2, from);
    this.load(size, 0, 2, 0);
    this.address(1, offset);
    this.store(size, 1, 0, 0);
  }

  blobToContext(contextOffset: number, size: number, from: number): void {
    this.address(1, from);
    this.load(size, 0, 1, 0);
    this.store(size, 6, 0, contextOffset);
  }

  /** With `skipZero` a zero in the context leaves the blob as it is. */
  contextToBlob(offset: number, size: number, contextOffset: number, skipZero: boolean): void {
    this.load(size, 0, 6, contextOffset);
    if (skipZero) this.jump(U.BPF_JEQ, 0, 0, 3);
    this.address(1, offset);
    this.store(size, 1, 0, 0);
  }

  stackToBlob(offset: number, size: number, stackOffset: number): void {
    this.load(size, 0, 10, stackOffset);
    this.address(1, offset);
    this.store(size, 1, 0, 0);
  }

  stackToContext(contextOffset: number, size: number, stackOffset: number): void {
    this.load(size, 0, 10, stackOffset);
    this.store(size, 6, 0, contextOffset);
  }

  /** `r7 = bpf(command, blob + attr, size)` */
  systemCall(command: number, attr: number, size: number): void {
    this.moveImmediate(1, command);
    this.address(2, attr);
    this.moveImmediate(3, size);
    this.call(U.BPF_FUNC_sys_bpf);
    this.moveRegister(7, 0);
  }

  /** `if (r7 < 0) goto cleanup` */
  checkError(): void {
    const off = -(this.#length - this.#cleanupLabel) / 8 - 1;
    if (off < -32768) throw new GeneratorError(ERANGE, 'the loader is too long for the jump to its cleanup code');
    this.jump(U.BPF_JSLT, 7, 0, off);
  }

  /** Jumps to the cleanup code where `dst` is not what it is compared with; `src` 0 compares with `value`. */
  #unlessEqual(dst: number, src: number, value: number): void {
    const off = -(this.#length - this.#cleanupLabel) / 8 - 1;
    this.emit(U.BPF_JMP | U.BPF_JNE | (src === 0 ? U.BPF_K : U.BPF_X), dst, src, off, value);
  }

  /** `dst = address of struct bpf_map` of the loader's map */
  #mapAddress(dst: number): void {
    this.emit(LD_IMM64, dst, U.BPF_PSEUDO_MAP_IDX, 0, 0);
    this.emit(0, 0, 0, 0, 0);
  }

  /**
   * The check of loaders before Linux 7.3: the map is exclusive and its hash is one that is filled in later.
   * @returns offsets of the four constants
   */
  checkMetadata(): readonly number[] {
    this.#mapAddress(1);
    this.load(4, 2, 1, MAP_EXCLUSIVE_OFFSET);
    this.moveImmediate(7, -EINVAL);
    this.#unlessEqual(2, 0, 1);
    return Array.from({ length: DIGEST_WORDS }, (_, i) => {
      this.#mapAddress(1);
      this.load(8, 2, 1, 8 * i);
      const constant = this.#length;
      this.emit(LD_IMM64, 3, 0, 0, 0);
      this.emit(0, 0, 0, 0, 0);
      this.moveImmediate(7, -EINVAL);
      this.#unlessEqual(2, 3, 0);
      return constant;
    });
  }

  /** Fills in the hash that `checkMetadata` left open. */
  setMetadataHash(constants: readonly number[], hash: Uint8Array): void {
    const words = new DataView(hash.buffer, hash.byteOffset, hash.byteLength);
    const [low, high] = this.littleEndian ? [0, 4] : [4, 0];
    for (const [i, at] of constants.entries()) {
      this.#words[at / 4 + 1] = words.getUint32(8 * i + low, this.littleEndian);
      this.#words[at / 4 + 3] = words.getUint32(8 * i + high, this.littleEndian);
    }
  }

  /** Closes what r1 holds, where it is a descriptor. */
  #close(): void {
    this.jump(U.BPF_JSLE, 1, 0, 2);
    this.moveRegister(9, 1);
    this.call(U.BPF_FUNC_sys_close);
  }

  closeStack(stackOffset: number): void {
    this.load(4, 1, 10, stackOffset);
    this.#close();
  }

  closeBlob(offset: number): void {
    this.address(0, offset);
    this.load(4, 1, 0, 0);
    this.#close();
  }

  /** The beginning of every loader: a clear stack, and the code that closes everything after an error. */
  prologue(programs: number, maps: number): void {
    this.moveRegister(6, 1);
    this.moveRegister(1, 10);
    this.emit(U.BPF_ALU64 | U.BPF_ADD | U.BPF_K, 1, 0, 0, -STACK_SIZE);
    this.moveImmediate(2, STACK_SIZE);
    this.moveImmediate(3, 0);
    this.call(U.BPF_FUNC_probe_read_kernel);
    const slots = 2 + programs;
    const length = slots * 3 + 2 + maps * 6;
    if (length > 32767) throw new GeneratorError(ERANGE, 'the loader is too long for the jump over its cleanup code');
    this.emit(JUMP, 0, 0, length, 0);
    this.#cleanupLabel = this.#length;
    for (let i = 0; i < slots; i++) {
      this.load(4, 1, 10, -STACK_SIZE + 4 * i);
      this.jump(U.BPF_JSLE, 1, 0, 1);
      this.call(U.BPF_FUNC_sys_close);
    }
    for (let i = 0; i < maps; i++) this.closeBlob(this.fdSlot(i));
    this.moveRegister(0, 7);
    this.exit();
  }

  /** Instructions in the target's byte order. */
  takeInstructions(): Uint8Array {
    const bytes = new Uint8Array(this.#length);
    writeWords(bytes, 0, this.#words.subarray(0, this.#length / 4), true);
    if (!this.littleEndian) swapInstructions(bytes);
    return bytes;
  }

  takeData(): Uint8Array {
    return this.#data.take();
  }
}
