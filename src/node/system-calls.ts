/**
 * @module src/node/system-calls
 * `bpf(2)` of the kernel that this process runs on, as a transcript's target and as a skeleton's port: through `koffi`, which the user
 * installs beside this package. Linux on x86-64 and arm64 only. Owns addresses and numbers of system calls; {@link NativeCalls} is all that it needs of the outside.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../loader/port.ts';
import { InputError } from '../../isa/errors.ts';
import { EBADF, EIO, ENOENT } from '../../isa/errno.ts';
import type { ReplayTarget } from '../replay/target.ts';
import type { Admissions } from '../replay/transcript.ts';

/** System calls and memory of this process. Addresses are below 2^48. */
export interface NativeCalls {
  /** `syscall(2)`: the result, or `-errno`. */
  call(number: number, ...args: readonly (number | bigint)[]): number;
  read(address: number, length: number): Uint8Array;
  write(address: number, bytes: Uint8Array): void;
}

interface Numbers {
  readonly bpf: number;
  readonly addKey: number;
  readonly keyctl: number;
  readonly capget: number;
  readonly capset: number;
  readonly mmap: number;
  readonly munmap: number;
  readonly close: number;
  readonly dup: number;
  readonly perfEventOpen: number;
  readonly ioctl: number;
}

/** `asm/unistd_64.h`, `asm-generic/unistd.h`. */
const NUMBERS: Readonly<Partial<Record<string, Numbers>>> = {
  x64: { bpf: 321, addKey: 248, keyctl: 250, capget: 125, capset: 126, mmap: 9, munmap: 11, close: 3, dup: 32, perfEventOpen: 298, ioctl: 16 },
  arm64: { bpf: 280, addKey: 217, keyctl: 219, capget: 90, capset: 91, mmap: 222, munmap: 215, close: 57, dup: 23, perfEventOpen: 241, ioctl: 29 },
};
/** Where libbpf looks for a program or a library besides the user's own paths. */
const PROGRAM_FOLDERS = ['/usr/bin', '/usr/sbin'] as const;
const LIBRARY_FOLDERS = ['/usr/lib64', '/usr/lib'] as const;
const PAGE = 4096;
const PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22;
const SESSION_KEYRING = -3;
const KEYCTL_GET_KEYRING_ID = 0, KEYCTL_JOIN_SESSION = 1, KEYCTL_CLEAR = 7;
const CAPABILITY_VERSION = 0x20080522;

/** The machine that this process runs on. */
class NativeMachine implements Machine {
  readonly architecture: string;
  readonly #native: NativeCalls;
  readonly #numbers: Numbers;

  constructor(native: NativeCalls, numbers: Numbers, architecture: string) {
    this.architecture = architecture;
    this.#native = native;
    this.#numbers = numbers;
  }

  perfEventOpen(attrAddress: number, pid: number, cpu: number, groupFD: number, flags: number): number {
    return this.#native.call(this.#numbers.perfEventOpen, attrAddress, pid, cpu, groupFD, flags);
  }

  ioctl(fd: number, request: number, argument: number): number {
    return this.#native.call(this.#numbers.ioctl, fd, request, argument);
  }

  readFile(path: string): Uint8Array | number {
    try {
      return new Uint8Array(readFileSync(path));
    } catch (error) {
      return error instanceof Error && 'errno' in error && typeof error.errno === 'number' ? error.errno : -EIO;
    }
  }

  findBinary(name: string): string | number {
    const isLibrary = name.endsWith('.so') || name.includes('.so.');
    const multiarch = this.architecture === 'x64' ? '/lib/x86_64-linux-gnu' : '/lib/aarch64-linux-gnu';
    const own = (isLibrary ? process.env['LD_LIBRARY_PATH'] : process.env['PATH'])?.split(':').filter((folder) => folder !== '') ?? [];
    const folders = isLibrary ? [...own, ...LIBRARY_FOLDERS, multiarch, '/lib64', '/lib'] : [...own, ...PROGRAM_FOLDERS];
    for (const folder of folders) {
      try {
        accessSync(join(folder, name), isLibrary ? constants.R_OK : constants.R_OK | constants.X_OK);
        return join(folder, name);
      } catch {
        // Then in the next one.
      }
    }
    return -ENOENT;
  }
}

/** The kernel under this process. */
export class SystemCallTarget implements ReplayTarget {
  readonly #native: NativeCalls;
  readonly #numbers: Numbers;
  readonly #sizes: Map<number, number> = new Map();
  readonly #scratch: number;
  readonly machine: Machine;

  /** @throws InputError on a machine whose numbers are not known, or where `bpf(2)` is not permitted */
  constructor(native: NativeCalls, architecture: string = process.arch) {
    const numbers = NUMBERS[architecture];
    if (numbers === undefined) throw new InputError('bpf(2)', '', `unknown on ${architecture}: x64 and arm64 only`);
    this.#native = native;
    this.#numbers = numbers;
    this.machine = new NativeMachine(native, numbers, architecture);
    this.#scratch = this.allocUser(PAGE);
    // A session of its own, so that the user's keys stay out of it.
    native.call(numbers.keyctl, KEYCTL_JOIN_SESSION, 0);
  }

  bpf(cmd: number, attrAddress: number, size: number): number {
    return this.#native.call(this.#numbers.bpf, cmd, attrAddress, size);
  }

  allocUser(size: number): number {
    const pages = Math.max(1, Math.ceil(size / PAGE)) * PAGE;
    const address = this.#native.call(this.#numbers.mmap, 0, pages, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
    if (address > 0) this.#sizes.set(address, pages);
    return address;
  }

  freeUser(address: number): void {
    const size = this.#sizes.get(address);
    if (size === undefined) throw new InputError('memory', `0x${address.toString(16)}`, 'not allocated here');
    this.#sizes.delete(address);
    this.#native.call(this.#numbers.munmap, address, size);
  }

  readUser(address: number, length: number): Uint8Array {
    return length === 0 ? new Uint8Array(0) : this.#native.read(address, length);
  }

  writeUser(address: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#native.write(address, bytes);
  }

  close(fd: number): number {
    // The descriptors of the process itself are none of a transcript's business.
    return fd <= 2 ? -EBADF : this.#native.call(this.#numbers.close, fd);
  }

  dup(fd: number): number {
    return this.#native.call(this.#numbers.dup, fd);
  }

  mmap(address: number, length: number, prot: number, flags: number, fd: number, offset: number): number {
    return this.#native.call(this.#numbers.mmap, address, length, prot, flags, fd, offset);
  }

  munmap(address: number, length: number): number {
    return this.#native.call(this.#numbers.munmap, address, length);
  }

  addKey(name: string, der: Uint8Array): number {
    const text = new TextEncoder().encode(`asymmetric\0${name}\0`);
    const address = this.allocUser(text.length + der.length + 1);
    this.writeUser(address, text);
    this.writeUser(address + text.length, der);
    const result = this.#native.call(this.#numbers.addKey, address, address + 'asymmetric'.length + 1, address + text.length, der.length, SESSION_KEYRING);
    this.freeUser(address);
    return result;
  }

  keyringID(id: number): number {
    return this.#native.call(this.#numbers.keyctl, KEYCTL_GET_KEYRING_ID, id, 0);
  }

  setCapabilities(effective: bigint): void {
    this.#changeCapabilities((permitted) => permitted & effective);
  }

  resetProcess(): void {
    this.#changeCapabilities((permitted) => permitted);
    this.#native.call(this.#numbers.keyctl, KEYCTL_CLEAR, SESSION_KEYRING);
  }

  #changeCapabilities(choose: (permitted: bigint) => bigint): void {
    const data = this.#scratch + 8;
    const head = new DataView(new ArrayBuffer(8));
    head.setUint32(0, CAPABILITY_VERSION, true);
    this.writeUser(this.#scratch, new Uint8Array(head.buffer));
    this.#native.call(this.#numbers.capget, this.#scratch, data);
    const view = new DataView(this.readUser(data, 24).slice().buffer);
    const permitted = BigInt(view.getUint32(4, true)) | (BigInt(view.getUint32(16, true)) << 32n);
    const chosen = choose(permitted);
    view.setUint32(0, Number(chosen & 0xffffffffn), true);
    view.setUint32(12, Number(chosen >> 32n), true);
    this.writeUser(data, new Uint8Array(view.buffer));
    this.#native.call(this.#numbers.capset, this.#scratch, data);
  }

  watchAdmissions(): void {
    throw new InputError('transcript', '', 'admissions cannot be watched on this kernel');
  }

  takeAdmissions(): Admissions {
    throw new InputError('transcript', '', 'admissions cannot be watched on this kernel');
  }

  /** Nobody can tell: other processes have objects too. */
  liveObjects(): readonly string[] {
    return [];
  }
}

/** The part of koffi that is used. */
interface Koffi {
  load(path: string | null): { func(prototype: string): (...args: readonly unknown[]) => unknown };
  errno(): number;
}

/**
 * System calls through koffi.
 * @throws InputError where koffi is not installed or this is no Linux
 */
export async function loadNativeCalls(importModule: (name: string) => Promise<unknown> = (name) => import(name)): Promise<NativeCalls> {
  if (process.platform !== 'linux') throw new InputError('bpf(2)', '', `this is ${process.platform}, not Linux`);
  let koffi: Koffi;
  try {
    const module = (await importModule('koffi')) as { readonly default?: Koffi } & Koffi;
    koffi = module.default ?? module;
  } catch {
    throw new InputError('koffi', '', 'not installed: npm install koffi, or give --kernel-image');
  }
  const libc = koffi.load(null);
  const call = libc.func('int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)');
  const copyOut = libc.func('void memcpy(_Out_ uint8_t *to, uintptr_t from, size_t size)');
  const copyIn = libc.func('void memcpy(uintptr_t to, const uint8_t *from, size_t size)');
  return {
    call: (number, ...args) => {
      const result = Number(call(number, ...Array.from({ length: 6 }, (_, i) => args[i] ?? 0)));
      return result === -1 ? -koffi.errno() : result;
    },
    read: (address, length) => {
      const bytes = Buffer.alloc(length);
      copyOut(bytes, address, length);
      return new Uint8Array(bytes.buffer, bytes.byteOffset, length);
    },
    write: (address, bytes) => {
      copyIn(address, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), bytes.length);
    },
  };
}
