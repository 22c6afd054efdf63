/**
 * @module src/replay/perform
 * Performs the operations of a transcript on a target, as the program that recorded them did: buffers in memory, addresses
 * and fds put into place, answers read back. Owns slots and the memory of a call; does not compare.
 */
import { EBADF, EINVAL } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { MAP_SHARED } from '../../loader/port.ts';
import { maskLog } from './compare.ts';
import type { ReplayTarget } from './target.ts';
import { MAX_SLOTS, bytesToTrimmedHex, type Answer, type BPFCall, type Operation } from './transcript.ts';

/** Commands that answer with an fd. */
export const FD_COMMANDS: ReadonlySet<number> = new Set([
  U.BPF_MAP_CREATE, U.BPF_PROG_LOAD, U.BPF_OBJ_GET, U.BPF_PROG_GET_FD_BY_ID, U.BPF_MAP_GET_FD_BY_ID, U.BPF_RAW_TRACEPOINT_OPEN,
  U.BPF_BTF_LOAD, U.BPF_BTF_GET_FD_BY_ID, U.BPF_LINK_CREATE, U.BPF_LINK_GET_FD_BY_ID, U.BPF_ITER_CREATE, U.BPF_TOKEN_CREATE,
]);
/** Where the address of a log buffer is in `attr`, by command. */
export const LOG_OFFSET: ReadonlyMap<number, number> = new Map([
  [U.BPF_PROG_LOAD, 32],
  [U.BPF_BTF_LOAD, 8],
]);
const ATTR_SPACE = 256;
const MIN_BUFFER = 8;
/** Zeroed bytes behind every buffer: recorded programs sometimes pass one that is shorter than what the kernel reads. */
const SLACK = 64;
const LOG_CHUNK = 1 << 16;

/** An answer of the target; `log` is masked. */
export type Got = Omit<Answer, 'logSha256' | 'logTail'>;

interface Buffer {
  readonly key: string;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
  readonly answered: boolean;
  readonly isLog: boolean;
}

/** Performs operations one by one; `reset` begins a new case. */
export class Performer {
  readonly #target: ReplayTarget;
  readonly #slots = new Int32Array(MAX_SLOTS).fill(-1);
  /** Fds that a later call displaced from their slot. */
  readonly #displaced: number[] = [];
  /** Every mapping of the case; the last is the one that `munmap` undoes. */
  readonly #mappings: { readonly address: number; readonly size: number }[] = [];
  /** One block of user memory for all buffers of a call; zero between calls. */
  #arena = { address: 0, size: 0 };
  #zeros: Uint8Array = new Uint8Array(0);
  #used = 0;

  constructor(target: ReplayTarget) {
    this.#target = target;
  }

  /** Closes everything and forgets it. */
  reset(): void {
    while (this.#mappings.length > 0) this.#unmap();
    for (let slot = 0; slot < MAX_SLOTS; slot++) {
      const fd = this.#slots[slot] ?? -1;
      if (fd >= 0) this.#target.close(fd);
    }
    for (const fd of this.#displaced.splice(0)) this.#target.close(fd);
    this.#slots.fill(-1);
    this.#target.resetProcess();
  }

  /** Gives back the memory of calls; another performer may use the target from here on. */
  release(): void {
    if (this.#arena.size > 0) this.#target.freeUser(this.#arena.address);
    this.#arena = { address: 0, size: 0 };
  }

  /** Performs one operation and gives the answer. What the target throws comes through. */
  perform(operation: Operation): Got {
    switch (operation.op) {
      case 'bpf':
        return this.#call(operation);
      case 'key':
        return result(this.#target.addKey(operation.name, operation.der));
      case 'keyid':
        return result(this.#target.keyringID(operation.id));
      case 'caps':
        this.#target.setCapabilities(operation.effective);
        return result(0);
      case 'mmap':
        return this.#map(operation.slot, operation.size, operation.prot);
      case 'munmap':
        this.#unmap();
        return result(0);
      case 'close': {
        const fd = this.#fd(operation.slot);
        const ret = fd >= 0 ? this.#target.close(fd) : -EBADF;
        if (operation.slot >= 0) this.#slots[operation.slot] = -1;
        // the recorder notes no errno for close
        return { ret: ret < 0 ? -1 : 0, errno: 0 };
      }
      case 'dup': {
        const fd = this.#fd(operation.slot);
        const copy = fd >= 0 ? this.#target.dup(fd) : -EBADF;
        if (copy >= 0) this.#keep(operation.save, copy);
        return copy >= 0 ? { ret: 'fd', errno: 0 } : result(copy);
      }
      case 'watch':
        this.#target.watchAdmissions();
        return result(0);
      case 'admissions':
        return { ret: 0, errno: 0, seen: this.#target.takeAdmissions() };
    }
  }

  #map(slot: number, size: number, prot: number): Got {
    const address = this.#target.mmap(0, size, prot, MAP_SHARED, this.#fd(slot), 0);
    if (address < 0) return result(address);
    this.#mappings.push({ address, size });
    return result(0);
  }

  #unmap(): void {
    const mapping = this.#mappings.pop();
    if (mapping !== undefined) this.#target.munmap(mapping.address, mapping.size);
  }

  #keep(slot: number, fd: number): void {
    const old = this.#fd(slot);
    if (old >= 0) this.#displaced.push(old);
    this.#slots[slot] = fd;
  }

  #fd(slot: number): number {
    return slot < 0 ? -1 : this.#slots[slot] ?? -1;
  }

  #call(call: BPFCall): Got {
    const attr = new Uint8Array(Math.max(call.attr.length, ATTR_SPACE));
    attr.set(call.attr);
    const attrView = new DataView(attr.buffer);
    const buffers = this.#layOut(call, attrView);
    for (const { offset, slot } of call.fds) attrView.setInt32(offset, this.#fd(slot), true);
    const attrAddress = this.#take(attr.length);
    this.#target.writeUser(attrAddress, attr);

    const ret = this.#target.bpf(call.cmd, attrAddress, call.attr.length);

    // What is no descriptor (a plain 0) must not be closed as one later.
    if (call.save !== undefined && ret >= 0 && (FD_COMMANDS.has(call.cmd) || call.cmd === U.BPF_ENABLE_STATS)) this.#keep(call.save, ret);
    const answer = this.#answer(call, ret, attrAddress, buffers);
    this.#clear(buffers);
    if (call.save === undefined && ret >= 0 && FD_COMMANDS.has(call.cmd)) this.#target.close(ret);
    return answer;
  }

  /** Puts all buffers of a call into memory and their addresses into `attr` and into one another. */
  #layOut(call: BPFCall, attr: DataView): readonly Buffer[] {
    let need = attr.byteLength + SLACK;
    for (const { bytes } of call.inputs) need += bytes.length + MIN_BUFFER + SLACK + 16;
    for (const { size } of call.outputs) need += size + MIN_BUFFER + SLACK + 16;
    for (const { size } of call.nested) need += size + MIN_BUFFER + SLACK + 16;
    this.#reserve(need);

    const buffers: Buffer[] = [];
    const contents = new Map<number, { address: number; bytes: Uint8Array }>();
    for (const { offset, bytes, answered } of call.inputs) {
      const size = Math.max(bytes.length, MIN_BUFFER);
      const address = this.#take(size);
      const copy = new Uint8Array(size);
      copy.set(bytes);
      contents.set(offset, { address, bytes: copy });
      setAddress(attr, offset, address);
      buffers.push({ key: String(offset), offset, address, size: bytes.length, answered, isLog: false });
    }
    for (const { offset, size } of call.outputs) {
      const address = this.#take(Math.max(size, MIN_BUFFER));
      setAddress(attr, offset, address);
      const isLog = LOG_OFFSET.get(call.cmd) === offset;
      if (!isLog) contents.set(offset, { address, bytes: new Uint8Array(Math.max(size, MIN_BUFFER)) });
      buffers.push({ key: String(offset), offset, address, size, answered: true, isLog });
    }
    const viewOf = (offset: number): DataView | undefined => {
      const bytes = contents.get(offset)?.bytes;
      return bytes && new DataView(bytes.buffer);
    };
    for (const { offset, at, bytes, size, isLog } of call.nested) {
      const address = this.#take(Math.max(size, MIN_BUFFER));
      if (bytes !== undefined && size > 0) this.#target.writeUser(address, bytes);
      const view = viewOf(offset);
      if (view !== undefined) setAddress(view, at, address);
      buffers.push({ key: `${offset}+${at}`, offset: -1, address, size, answered: bytes === undefined, isLog });
    }
    for (const { offset, at, slot } of call.nestedFDs) viewOf(offset)?.setInt32(at, this.#fd(slot), true);
    for (const { address, bytes } of contents.values()) this.#target.writeUser(address, bytes);
    return buffers;
  }

  #answer(call: BPFCall, ret: number, attrAddress: number, buffers: readonly Buffer[]): Got {
    const out: Record<string, string> = {};
    let log: string | undefined;
    let hasOut = false;
    for (const buffer of buffers) {
      if (buffer.isLog) {
        log = maskLog(this.#readText(buffer.address, buffer.size));
      } else if (buffer.answered) {
        out[buffer.key] = this.#readAnswer(call, buffer);
        hasOut = true;
      }
    }
    const isRun = call.cmd === U.BPF_PROG_TEST_RUN;
    const run = isRun ? new DataView(this.#target.readUser(attrAddress, ATTR_SPACE).slice().buffer) : undefined;
    return {
      ret: ret < 0 ? -1 : FD_COMMANDS.has(call.cmd) ? 'fd' : ret,
      errno: ret < 0 ? -ret : 0,
      log,
      out: hasOut ? out : undefined,
      retval: run?.getUint32(4, true),
      dataSizeOut: run?.getUint32(12, true),
    };
  }

  #readAnswer(call: BPFCall, buffer: Buffer): string {
    const bytes = this.#target.readUser(buffer.address, buffer.size).slice();
    const view = new DataView(bytes.buffer);
    for (const { offset, at, slot } of call.taken) {
      if (offset !== buffer.offset || at + 4 > bytes.length) continue;
      const fd = view.getInt32(at, true);
      if (fd <= 0) continue;
      if (slot >= 0) this.#keep(slot, fd);
      // which number an fd has is no answer: any fd reads 1
      view.setInt32(at, 1, true);
    }
    for (const [start, length] of call.ignored.get(buffer.key) ?? []) bytes.fill(0, start, start + length);
    return bytesToTrimmedHex(bytes);
  }

  /** ASCII up to the first NUL. */
  #readText(address: number, size: number): string {
    let text = '';
    for (let at = 0; at < size; at += LOG_CHUNK) {
      const chunk = this.#target.readUser(address + at, Math.min(LOG_CHUNK, size - at));
      const end = chunk.indexOf(0);
      text += latin1(end < 0 ? chunk : chunk.subarray(0, end));
      if (end >= 0) break;
    }
    return text;
  }

  #reserve(size: number): void {
    this.#used = 0;
    if (size <= this.#arena.size) return;
    if (this.#arena.size > 0) this.#target.freeUser(this.#arena.address);
    const rounded = Math.max(1 << 20, 2 ** Math.ceil(Math.log2(size)));
    const address = this.#target.allocUser(rounded);
    if (address < 0) {
      this.#arena = { address: 0, size: 0 };
      throw new Error(`no memory for the buffers of a call (${rounded} bytes): ${address}`);
    }
    this.#arena = { address, size: rounded };
  }

  #take(size: number): number {
    const address = this.#arena.address + this.#used;
    this.#used = (this.#used + size + SLACK + 15) & ~15;
    return address;
  }

  /** Makes the memory zero again; of a log only what was written. */
  #clear(buffers: readonly Buffer[]): void {
    let dirty = this.#used;
    const log = buffers.find(({ isLog, size }) => isLog && size > LOG_CHUNK);
    if (log === undefined) {
      this.#zero(this.#arena.address, dirty);
      return;
    }
    const before = log.address - this.#arena.address;
    this.#zero(this.#arena.address, before);
    const after = log.address + log.size;
    dirty -= before + log.size;
    this.#zero(after, dirty);
    // a log is written from its start, without gaps
    for (let at = 0; at < log.size; at += LOG_CHUNK) {
      const length = Math.min(LOG_CHUNK, log.size - at);
      const chunk = this.#target.readUser(log.address + at, length);
      if (chunk.every((byte) => byte === 0)) break;
      this.#zero(log.address + at, length);
    }
  }

  #zero(address: number, length: number): void {
    if (length <= 0) return;
    if (this.#zeros.length < length) this.#zeros = new Uint8Array(2 ** Math.ceil(Math.log2(length)));
    this.#target.writeUser(address, this.#zeros.subarray(0, length));
  }
}

function result(ret: number): Got {
  return ret < 0 ? { ret: -1, errno: -ret } : { ret, errno: 0 };
}

function setAddress(view: DataView, offset: number, address: number): void {
  view.setUint32(offset, address % 2 ** 32, true);
  view.setUint32(offset + 4, Math.floor(address / 2 ** 32), true);
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return text;
}

/** The answer where nothing could be performed at all. */
export const UNPERFORMED: Got = { ret: -1, errno: EINVAL };
