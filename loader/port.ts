/**
 * @module loader/port
 * The one way in which the loader reaches a kernel: a handful of calls in the shape of system calls, over memory that the
 * kernel can see. `kernel/` offers it, and so could a binding to a real `bpf(2)`. Owns the contract and two small helpers
 * that keep user memory from leaking; does not own anything behind the port.
 */

/** `PROT_READ` of `mman.h`. */
export const PROT_READ = 1;
/** `PROT_WRITE` of `mman.h`. */
export const PROT_WRITE = 2;
/** `MAP_SHARED` of `mman.h`. */
export const MAP_SHARED = 1;
/** `MAP_FIXED` of `mman.h`. */
export const MAP_FIXED = 0x10;
/** `MAP_ANONYMOUS` of `mman.h`. */
export const MAP_ANONYMOUS = 0x20;

/**
 * What attaching to probes and tracepoints needs of a machine besides `bpf(2)`: performance events, and the files in which the kernel says
 * what there is. Results are as those of a {@link Port}.
 */
export interface Machine {
  /** `process.arch`: `x64`, `arm64`. */
  readonly architecture: string;
  /** `perf_event_open(2)` with `struct perf_event_attr` at `attrAddress`: a descriptor or `-errno`. */
  perfEventOpen(attrAddress: number, pid: number, cpu: number, groupFD: number, flags: number): number;
  /** `ioctl(2)`: `>= 0` or `-errno`. */
  ioctl(fd: number, request: number, argument: number): number;
  /** A whole file, or `-errno`. */
  readFile(path: string): Uint8Array | number;
  /** Where a program or a library without a path lies, as a shell would find it; `-ENOENT`. */
  findBinary(name: string): string | number;
}

/**
 * A process in front of a kernel. User addresses are below 2^47, so a `number` holds them exactly and a negative number is
 * always `-errno`.
 */
export interface Port {
  /** `bpf(cmd, attr, size)` with `union bpf_attr` at `attrAddress`: `>= 0` or `-errno`. */
  bpf(cmd: number, attrAddress: number, size: number): number;
  /** Zeroed private user memory of `size` bytes (8-byte aligned), or `-ENOMEM`. */
  allocUser(size: number): number;
  /** Gives back what `allocUser` returned. */
  freeUser(address: number): void;
  /** A copy of `length` bytes; throws `InternalError` where that memory was not handed out by this port. */
  readUser(address: number, length: number): Uint8Array;
  /** Writes all of `bytes`; throws `InternalError` where that memory was not handed out by this port. */
  writeUser(address: number, bytes: Uint8Array): void;
  /** `close(2)`: 0 or `-errno`. */
  close(fd: number): number;
  /** `mmap(2)`: an address or `-errno`. `address` 0 lets the kernel choose; `MAP_FIXED` replaces what is there. */
  mmap(address: number, length: number, prot: number, flags: number, fd: number, offset: number): number;
  /** `munmap(2)`: 0 or `-errno`. */
  munmap(address: number, length: number): number;
  /** The machine around the kernel; a kernel without one has no performance events. */
  readonly machine?: Machine;
}

/**
 * User memory of one operation: everything taken is given back by `release`, also when something throws in between.
 *
 * @example
 * const scratch = new Scratch(port);
 * try { port.bpf(BPF_MAP_FREEZE, scratch.bytes(attr), attr.length); } finally { scratch.release(); }
 */
export class Scratch {
  readonly #port: Port;
  readonly #taken: number[] = [];

  constructor(port: Port) {
    this.#port = port;
  }

  /** Zeroed memory; the address, or `-ENOMEM`. A size of 0 still gives a valid address. */
  zeroed(size: number): number {
    const address = this.#port.allocUser(Math.max(size, 1));
    if (address >= 0) this.#taken.push(address);
    return address;
  }

  /** Memory that holds a copy of `bytes`; the address, or `-ENOMEM`. */
  bytes(bytes: Uint8Array): number {
    const address = this.zeroed(bytes.length);
    if (address >= 0 && bytes.length > 0) this.#port.writeUser(address, bytes);
    return address;
  }

  /** Memory that holds `text`, a byte a character, with a final NUL; the address, or `-ENOMEM`. */
  cString(text: string): number {
    const bytes = new Uint8Array(text.length + 1);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return this.bytes(bytes);
  }

  /** Gives everything back. */
  release(): void {
    for (const address of this.#taken.splice(0)) this.#port.freeUser(address);
  }
}
