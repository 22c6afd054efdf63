/**
 * @module kernel/memory
 * Kernel allocations and the copies across the border to user space. Owns the rules of `copy_from_user`, `copy_to_user` and of
 * `bpfptr_t` (a pointer that is a kernel address where a program issued the call); does not own the memory itself
 * (vm/address-space.ts).
 */
import { ENOMEM } from '../isa/errno.ts';
import { latin1 } from '../isa/latin1.ts';
import { type AddressSpace, PAGE_SIZE, USER_HI } from '../vm/address-space.ts';
import type { FaultInjector } from './api.ts';

/** A 64-bit pointer out of `union bpf_attr`, in words. `kernel`: it is to be read as a kernel address (`bpfptr_t`). */
export interface BPFPtr {
  readonly lo: number;
  readonly hi: number;
  readonly kernel: boolean;
}

/** A pointer out of an attribute block. */
export function pointerAt(view: DataView, offset: number, kernel: boolean): BPFPtr {
  return { lo: view.getUint32(offset, true), hi: view.getInt32(offset + 4, true), kernel };
}

export function isNull(pointer: BPFPtr): boolean {
  return pointer.lo === 0 && pointer.hi === 0;
}

/** `pointer + by` bytes. */
export function advance(pointer: BPFPtr, by: number): BPFPtr {
  const sum = (pointer.lo >>> 0) + by;
  return { lo: sum % 0x100000000, hi: (pointer.hi + Math.floor(sum / 0x100000000)) | 0, kernel: pointer.kernel };
}

/** A user address as two words. */
export function userPointer(address: number): BPFPtr {
  const hi = Math.floor(address / 0x100000000);
  return { lo: address - hi * 0x100000000, hi: hi | 0, kernel: false };
}

/** Failed kernel allocation; turned into `-ENOMEM` where the system call returns. */
export class KernelOutOfMemory extends Error {
  readonly errno: number = ENOMEM;
  constructor(what: string) {
    super(`no memory for ${what}`);
    this.name = 'KernelOutOfMemory';
  }
}

const nothing = (): void => undefined;

export class KernelMemory {
  readonly space: AddressSpace;
  private allocations = 0;
  private faults: FaultInjector | undefined;
  /** Allocations of the construction under way. */
  private built: number[] | undefined;

  constructor(space: AddressSpace) {
    this.space = space;
  }

  setFaults(faults: FaultInjector | undefined): void {
    this.faults = faults;
    this.allocations = 0;
  }

  /** Offset of `size` zero bytes. @throws KernelOutOfMemory */
  alloc(size: number, label: string, align = 16): number {
    const offset = this.tryAlloc(size, label, align);
    if (offset === 0) throw new KernelOutOfMemory(label);
    return offset;
  }

  /** As {@link alloc}, 0 where there is no memory or a fault is injected. */
  tryAlloc(size: number, label: string, align = 16): number {
    this.allocations++;
    if (this.faults?.allocation?.(this.allocations, 'memory') === true) return 0;
    const offset = this.space.tryAlloc(size, label, align);
    if (offset !== 0) this.built?.push(offset);
    return offset;
  }

  free(offset: number): void {
    const { built } = this;
    if (built !== undefined) {
      const at = built.lastIndexOf(offset);
      if (at >= 0) built.splice(at, 1);
    }
    this.space.free(offset);
  }

  /** Runs `body`, which builds one object out of several allocations; where it throws, all of them are given back. */
  build<R>(body: () => R): R {
    const outer = this.built;
    const built: number[] = [];
    this.built = built;
    try {
      const result = body();
      if (outer !== undefined) for (const offset of built) outer.push(offset);
      return result;
    } catch (error) {
      for (const offset of built) this.space.free(offset);
      throw error;
    } finally {
      this.built = outer;
    }
  }

  get u8(): Uint8Array {
    return this.space.u8;
  }

  get view(): DataView {
    return this.space.view;
  }

  /** Runs `body` with `size` bytes of kernel memory that end with it. @throws KernelOutOfMemory */
  withBuffer<R>(size: number, label: string, body: (offset: number) => R): R {
    const offset = this.alloc(size, label);
    try {
      return body(offset);
    } finally {
      this.free(offset);
    }
  }

  /**
   * Pages of user space that show other memory than their own offset: mappings at an address of the caller's choice. Page number of
   * the address to page number of the memory.
   */
  readonly fixedPages: Map<number, { readonly page: number; readonly writable: boolean }> = new Map();

  /** Ranges of user space whose pages come with the first access, by address; `touch` gets bytes from the start. */
  readonly watched: Set<{ readonly start: number; readonly end: number; touch: (from: number, to: number) => void }> = new Set();

  private notice(pointer: BPFPtr, length: number): void {
    const start = pointer.hi * 0x100000000 + (pointer.lo >>> 0);
    for (const range of this.watched) {
      const from = Math.max(start, range.start);
      const to = Math.min(start + length, range.end);
      if (from < to) range.touch(from - range.start, to - range.start);
    }
  }

  /** Calls `visit` for each contiguous piece of a user range until one is not accessible; the number of bytes reached. */
  private walkUser(pointer: BPFPtr, length: number, write: boolean, visit: (at: number, from: number, bytes: number) => void): number {
    if (this.watched.size > 0) this.notice(pointer, length);
    if (this.fixedPages.size === 0) {
      const reach = this.space.userReach(pointer.lo, pointer.hi, length, write);
      if (reach > 0) visit(pointer.lo >>> 0, 0, reach);
      return reach;
    }
    if (pointer.hi < 0) return 0;
    const start = pointer.hi * 0x100000000 + (pointer.lo >>> 0);
    let done = 0;
    while (done < length) {
      const address = start + done;
      const inPage = address % PAGE_SIZE;
      const bytes = Math.min(length - done, PAGE_SIZE - inPage);
      const fixed = this.fixedPages.get(Math.floor(address / PAGE_SIZE));
      if (fixed !== undefined) {
        if (write && !fixed.writable) return done;
        visit(fixed.page * PAGE_SIZE + inPage, done, bytes);
      } else {
        const hi = Math.floor(address / 0x100000000);
        if (hi !== USER_HI || this.space.userReach(address % 0x100000000, hi, bytes, write) !== bytes) return done;
        visit(address % 0x100000000, done, bytes);
      }
      done += bytes;
    }
    return done;
  }

  /** A user address where all pages are in their places and nobody waits for accesses. */
  private isPlain(pointer: BPFPtr): boolean {
    return !pointer.kernel && this.fixedPages.size === 0 && this.watched.size === 0;
  }

  /** A copy of `length` bytes from `pointer`, `undefined` on a fault (`copy_from_bpfptr`). */
  copyFrom(pointer: BPFPtr, length: number): Uint8Array | undefined {
    if (pointer.kernel) {
      // copy_from_kernel_nofault_allowed refuses addresses of user space before it looks at the length.
      if (pointer.hi >= 0) return undefined;
      if (length === 0) return new Uint8Array(0);
      const at = this.space.kernelToOffset(pointer.lo, pointer.hi, length);
      return at < 0 ? undefined : this.space.getBytes(at, length);
    }
    if (length === 0) return new Uint8Array(0);
    if (this.fixedPages.size === 0) {
      if (this.watched.size > 0) this.notice(pointer, length);
      return this.space.userReach(pointer.lo, pointer.hi, length, false) === length ? this.space.getBytes(pointer.lo >>> 0, length) : undefined;
    }
    // A hostile length must not cost an allocation before the range is known to be there.
    if (this.walkUser(pointer, length, false, nothing) !== length) return undefined;
    const bytes = new Uint8Array(length);
    this.walkUser(pointer, length, false, (at, from, count) => bytes.set(this.space.u8.subarray(at, at + count), from));
    return bytes;
  }

  /** Copies `length` bytes from `pointer` to the start of `bytes`, which has room for them; false on a fault. */
  copyToBytes(bytes: Uint8Array, pointer: BPFPtr, length: number): boolean {
    if (length > 0 && this.isPlain(pointer)) {
      if (this.space.userReach(pointer.lo, pointer.hi, length, false) !== length) return false;
      const at = pointer.lo >>> 0;
      bytes.set(this.space.u8.subarray(at, at + length));
      return true;
    }
    const given = this.copyFrom(pointer, length);
    if (given === undefined) return false;
    bytes.set(given);
    return true;
  }

  /** Copies `length` bytes from `pointer` to kernel memory; false on a fault. */
  copyInto(offset: number, pointer: BPFPtr, length: number): boolean {
    if (length > 0 && this.isPlain(pointer)) {
      if (this.space.userReach(pointer.lo, pointer.hi, length, false) !== length) return false;
      this.space.u8.copyWithin(offset, pointer.lo >>> 0, (pointer.lo >>> 0) + length);
      return true;
    }
    const bytes = this.copyFrom(pointer, length);
    if (bytes === undefined) return false;
    // Only now: pages that came with the copy may have moved the memory.
    this.space.u8.set(bytes, offset);
    return true;
  }

  /** Copies bytes to `pointer`; on a fault false, what lies before the faulting page is written, as in the kernel. */
  copyTo(pointer: BPFPtr, bytes: Uint8Array): boolean {
    const length = bytes.length;
    if (length === 0) return true;
    if (pointer.kernel) {
      const at = this.space.kernelToOffset(pointer.lo, pointer.hi, length);
      if (at < 0) return false;
      this.space.u8.set(bytes, at);
      return true;
    }
    if (this.isPlain(pointer) && this.space.userReach(pointer.lo, pointer.hi, length, true) === length) {
      this.space.u8.set(bytes, pointer.lo >>> 0);
      return true;
    }
    return this.walkUser(pointer, length, true, (at, from, count) => this.space.u8.set(bytes.subarray(from, from + count), at)) === length;
  }

  /** Copies `length` bytes of kernel memory to `pointer`; false on a fault. */
  copyOut(pointer: BPFPtr, offset: number, length: number): boolean {
    return this.copyTo(pointer, this.space.u8.slice(offset, offset + length));
  }

  /** Writes a 32-bit word (`put_user`). */
  putU32(pointer: BPFPtr, value: number): boolean {
    if (this.isPlain(pointer) && this.space.userReach(pointer.lo, pointer.hi, 4, true) === 4) {
      this.space.view.setUint32(pointer.lo >>> 0, value, true);
      return true;
    }
    return this.copyTo(pointer, Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
  }

  /** Writes a 64-bit word given as a bigint (`put_user`). */
  putU64(pointer: BPFPtr, value: bigint): boolean {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    return this.copyTo(pointer, bytes);
  }

  /** How many of `length` bytes from `pointer` on may be read. */
  readable(pointer: BPFPtr, length: number): number {
    if (!pointer.kernel) return this.walkUser(pointer, length, false, nothing);
    if (this.space.kernelToOffset(pointer.lo, pointer.hi, 1) < 0) return 0;
    return Math.min(length, this.space.byteLength - (pointer.lo >>> 0));
  }

  /** As {@link readString}, one character a byte. */
  readLatin1(pointer: BPFPtr, limit: number): string | undefined {
    if (this.isPlain(pointer)) {
      const reach = this.space.userReach(pointer.lo, pointer.hi, limit, false);
      const { u8 } = this.space, from = pointer.lo >>> 0;
      let text = '';
      for (let i = 0; i < reach; i++) {
        const byte = u8[from + i]!;
        if (byte === 0) return text;
        text += String.fromCharCode(byte);
      }
      return reach < limit ? undefined : text;
    }
    const bytes = this.readString(pointer, limit);
    return bytes === undefined ? undefined : latin1(bytes);
  }

  /**
   * Up to `limit` bytes of a string, without its NUL (`strncpy_from_bpfptr`); cut where it is longer, `undefined` where memory
   * faults before a NUL or the limit.
   */
  readString(pointer: BPFPtr, limit: number): Uint8Array | undefined {
    const bytes = this.copyFrom(pointer, this.readable(pointer, limit));
    if (bytes === undefined) return undefined;
    const end = bytes.indexOf(0);
    if (end >= 0) return bytes.subarray(0, end);
    return bytes.length < limit ? undefined : bytes;
  }
}
