/**
 * A process without a kernel behind it: memory, descriptors and mappings are counted, the commands answer as told. For tests of
 * what the loader does with every answer.
 */
import { EBADF, ENOMEM } from '../../../isa/errno.ts';
import * as U from '../../../isa/uapi.ts';
import type { Port } from '../../../loader/port.ts';
import { MAP_FIXED } from '../../../loader/port.ts';

export interface FakeCall {
  readonly cmd: number;
  readonly attr: Uint8Array;
}

const BASE = 0x1000_0000;

export class FakePort implements Port {
  readonly calls: FakeCall[] = [];
  readonly openFDs: Set<number> = new Set();
  readonly blocks: Map<number, number> = new Map();
  readonly mappings: Map<number, { length: number; prot: number; fd: number }> = new Map();
  /** Number of the event (from 1, in order: allocations, calls, mmaps) that fails, 0 for none. */
  failAt = 0;
  failErrno = 1;
  events = 0;
  retval = 0;
  /** Called during `PROG_TEST_RUN` with the context, which it may change. */
  onRun: (context: DataView) => void = () => {};
  readonly #memory = new Uint8Array(1 << 22);
  #next = BASE;

  #fails(): boolean {
    this.events++;
    return this.events === this.failAt;
  }

  openFD(): number {
    let fd = 3;
    while (this.openFDs.has(fd)) fd++;
    this.openFDs.add(fd);
    return fd;
  }

  bpf(cmd: number, attrAddress: number, size: number): number {
    const attr = this.readUser(attrAddress, size);
    this.calls.push({ cmd, attr });
    if (this.#fails()) return -this.failErrno;
    if (cmd === U.BPF_MAP_CREATE || cmd === U.BPF_PROG_LOAD || cmd === U.BPF_RAW_TRACEPOINT_OPEN || cmd === U.BPF_LINK_CREATE) return this.openFD();
    if (cmd === U.BPF_PROG_TEST_RUN) this.#testRun(attrAddress, attr);
    return 0;
  }

  #testRun(attrAddress: number, attr: Uint8Array): void {
    const view = new DataView(attr.buffer);
    const context = Number(view.getBigUint64(48, true)) - BASE;
    if (this.retval >= 0) this.onRun(new DataView(this.#memory.buffer, context, view.getUint32(40, true)));
    new DataView(this.#memory.buffer).setInt32(attrAddress - BASE + 4, this.retval, true);
  }

  #take(size: number): number {
    const address = this.#next;
    this.#next += Math.ceil(size / 4096) * 4096;
    this.#memory.fill(0, address - BASE, this.#next - BASE);
    return address;
  }

  allocUser(size: number): number {
    if (this.#fails()) return -ENOMEM;
    const address = this.#take(size);
    this.blocks.set(address, size);
    return address;
  }

  freeUser(address: number): void {
    if (!this.blocks.delete(address)) throw new Error(`freed ${address}, which is not taken`);
  }

  readUser(address: number, length: number): Uint8Array {
    return this.#memory.slice(address - BASE, address - BASE + length);
  }

  writeUser(address: number, bytes: Uint8Array): void {
    this.#memory.set(bytes, address - BASE);
  }

  close(fd: number): number {
    if (!this.openFDs.delete(fd)) throw new Error(`closed ${fd}, which is not open`);
    return this.openFDs.has(fd) ? -EBADF : 0;
  }

  mmap(address: number, length: number, prot: number, flags: number, fd: number, _offset: number): number {
    if (this.#fails()) return -ENOMEM;
    const at = (flags & MAP_FIXED) !== 0 ? address : this.#take(length);
    this.mappings.set(at, { length, prot, fd });
    return at;
  }

  munmap(address: number, length: number): number {
    if (this.mappings.get(address)?.length !== length) throw new Error(`unmapped ${address}, which is not mapped with ${length} bytes`);
    this.mappings.delete(address);
    return 0;
  }
}
