/**
 * @module kernel/kernel
 * A kernel instance as a process sees it: `bpf(2)`, user memory, descriptors, keys; and as an auditor sees it: hooks, live objects,
 * trace, faults. Owns the facade; everything behind it is in `state.ts` and `syscall/`.
 */
import { EOPNOTSUPP } from '../isa/errno.ts';
import { InternalError } from '../isa/errors.ts';
import type { AddressSpace, SpaceStats } from '../vm/address-space.ts';
import type { EngineStats, Fault } from '../vm/types.ts';
import type { FaultInjector, KernelObjects, KernelOptions, LSMHookName, LSMHooks, SystemCallObserver } from './api.ts';
import type { Keyrings } from './keys/keyrings.ts';
import { userPointer } from './memory.ts';
import { Runner } from './run.ts';
import { KernelState, viewOf } from './state.ts';
import { systemCall } from './syscall/dispatch.ts';

const MAP_SHARED = 1;

/** `KEYCTL_*` operations that {@link Kernel.keyctl} knows. */
const KEYCTL = {
  getKeyringID: 0, joinSession: 1, revoke: 3, clear: 7, link: 8, unlink: 9, search: 10, setTimeout: 15, invalidate: 21, move: 30,
} as const;

/**
 * One kernel with one process in front of it.
 *
 * @example
 * const kernel = new Kernel({ kernelBTF: () => vmlinuxBTF });
 * const attr = kernel.allocUser(ATTR_SIZE);
 * const fd = kernel.bpf(BPF_MAP_CREATE, attr, 92);
 * kernel.close(fd);
 */
export class Kernel {
  /** Everything behind the facade, for helpers of the instance and its tests. */
  readonly state: KernelState;
  /** LSM hooks: `attach(name, fn)` gives a function that detaches it again. */
  readonly hooks: { attach<Name extends LSMHookName>(name: Name, hook: LSMHooks[Name]): () => void };

  constructor(options: KernelOptions = {}) {
    this.state = new KernelState(options);
    this.state.runner = new Runner(this.state);
    this.hooks = { attach: (name, hook) => this.state.attachHook(name, hook) };
  }

  // -------------------------------------------------- system calls of the process

  /** `bpf(cmd, attr, size)`; with `BPF_COMMON_ATTRS` in `cmd` also the common attributes. `>= 0` or `-errno`. */
  bpf(cmd: number, attrAddress: number, size: number, commonAddress = 0, commonSize = 0): number {
    return systemCall(this.state, cmd, userPointer(attrAddress), size >>> 0, userPointer(commonAddress), commonSize >>> 0);
  }

  /** `close(2)` */
  close(fd: number): number {
    return this.state.files.close(fd);
  }

  /** `dup(2)` */
  dup(fd: number): number {
    return this.state.files.dup(fd);
  }

  /** `mmap(2)`: an address or `-errno`. */
  mmap(address: number, length: number, prot: number, flags: number = MAP_SHARED, fd = -1, offset = 0): number {
    return this.state.process.mmap(address, length, prot, flags, fd, offset);
  }

  /** `munmap(2)` */
  munmap(address: number, length: number): number {
    return this.state.process.munmap(address, length);
  }

  /** Sets the effective capabilities, bit `n` for capability `n`. */
  setCapabilities(effective: bigint): void {
    this.state.capabilities = effective;
  }

  get capabilities(): bigint {
    return this.state.capabilities;
  }

  /** `add_key(2)`: a serial or `-errno`. */
  addKey(type: string, description: string | undefined, payload: Uint8Array, keyring: number): number {
    return this.keyrings.addKey(type, description, payload, keyring);
  }

  /** `keyctl(2)` for the operations on numbers; others are methods of {@link keyrings}. `-EOPNOTSUPP` for those it does not know. */
  keyctl(operation: number, first = 0, second = 0, third = 0, fourth = 0): number {
    const { keyrings } = this;
    switch (operation) {
      case KEYCTL.getKeyringID: return keyrings.getKeyringID(first, second !== 0);
      case KEYCTL.joinSession: return keyrings.joinSession(undefined);
      case KEYCTL.revoke: return keyrings.revoke(first);
      case KEYCTL.clear: return keyrings.clear(first);
      case KEYCTL.link: return keyrings.link(first, second);
      case KEYCTL.unlink: return keyrings.unlink(first, second);
      case KEYCTL.setTimeout: return keyrings.setTimeout(first, second);
      case KEYCTL.invalidate: return keyrings.invalidate(first);
      case KEYCTL.move: return keyrings.move(first, second, third, fourth);
      default: return -EOPNOTSUPP;
    }
  }

  /** Keys of the instance. */
  get keyrings(): Keyrings {
    return this.state.keyrings;
  }

  // -------------------------------------------------- memory of the process

  /** Private, zeroed user memory: its address, or `-ENOMEM`. */
  allocUser(size: number): number {
    return this.state.process.allocate(size);
  }

  freeUser(address: number): void {
    this.state.process.free(address);
  }

  /** A copy of user memory; throws InternalError where it is not mapped. */
  readUser(address: number, length: number): Uint8Array {
    return this.state.process.read(address, length);
  }

  writeUser(address: number, bytes: Uint8Array): void {
    this.state.process.write(address, bytes);
  }

  /** User memory with these bytes, or of that size: its address, or `-ENOMEM`. */
  userAlloc(content: number | Uint8Array): number {
    const address = this.allocUser(typeof content === 'number' ? content : content.length);
    if (address > 0 && typeof content !== 'number' && content.length > 0) this.writeUser(address, content);
    return address;
  }

  // -------------------------------------------------- audit

  /** Everything alive now. */
  objects(): KernelObjects {
    const { state } = this;
    return {
      files: state.files.list().map(({ fd, file }) => ({ fd, kind: file.target.kind, id: file.target.id })),
      maps: state.maps.values().map((map) => ({ ...viewOf(map), refcount: map.references, userRefcount: map.userReferences, btfID: map.btfID })),
      programs: state.programs.values().map((program) => program.snapshot()),
      btfs: state.btfs.values().filter((object) => !object.isKernel).map((object) => ({
        id: object.id, refcount: object.references, size: object.btf.bytes.length,
      })),
      links: state.links.values().map((link) => ({ id: link.id, type: link.type, programID: link.program?.id ?? 0, refcount: link.references })),
    };
  }

  /** Lines that programs printed with `bpf_trace_printk`, oldest first. */
  get trace(): readonly string[] {
    return this.state.trace;
  }

  /** Why the last run of a program ended early. */
  get lastFault(): Fault | undefined {
    return this.state.lastFault;
  }

  /** What the last run needed and the instance does not have. */
  get lastNotes(): readonly string[] {
    return this.state.lastNotes;
  }

  /** What the engines have done so far: runs by tier, modules, fallbacks. */
  get engineStats(): EngineStats {
    if (this.state.runner === undefined) throw new InternalError('a kernel without a runner');
    return this.state.runner.machine.stats;
  }

  get memory(): AddressSpace {
    return this.state.memory.space;
  }

  get memoryStats(): SpaceStats {
    return this.state.memory.space.stats;
  }

  /** Sees every `bpf()` call from here on; `undefined` for nobody. */
  setObserver(observer: SystemCallObserver | undefined): void {
    this.state.observer = observer;
  }

  /** Makes chosen calls and allocations fail from here on, counting from 1; `undefined` for none. */
  injectFaults(faults: FaultInjector | undefined): void {
    this.state.setFaults(faults);
  }

  /** Contents of a live map's element by id, without going through a descriptor: for audits. `undefined` where there is none. */
  peekElement(mapID: number, key: Uint8Array): Uint8Array | undefined {
    const map = this.state.maps.find(mapID);
    if (map === undefined || key.length !== map.keySize) return undefined;
    const { memory } = this.state;
    const size = map.userValueSize({ lo: 0, hi: 0 });
    return memory.withBuffer(Math.max(1, key.length), 'audit key', (keyAt) => memory.withBuffer(size, 'audit value', (valueAt) => {
      memory.space.setBytes(keyAt, key);
      return map.copyValue(keyAt, valueAt, { lo: 0, hi: 0 }) === 0 ? memory.space.getBytes(valueAt, size) : undefined;
    }));
  }

  /** The end of the process: closes and unmaps everything, frees its memory. */
  exit(): void {
    this.state.process.exit();
    for (const { fd } of this.state.files.list()) this.state.files.close(fd);
  }
}

