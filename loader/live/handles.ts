/**
 * @module loader/live/handles
 * What a loaded skeleton hands out: maps with typed keys and values, programs that can be run; links are `links.ts`. Everything goes
 * through the {@link Port}. Owns the calls; what kinds of maps and programs there are is the kernel's.
 */
import { MAP_ELEM_ATTR, TEST_RUN_ATTR, readInt, writeInt, writeLong, type Field } from '../../isa/attr.ts';
import { ENOENT, errnoName } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { Scratch, type Port } from '../port.ts';
import { LocalMemory, type Layout } from './layout.ts';

/** The kernel, or the skeleton before it was asked, said no. */
export class SkeletonError extends Error {
  /** Positive; 0 where no system call failed. */
  readonly errno: number;
  /** The verifier's or the loader's log, where there is one. */
  readonly log: string;

  constructor(what: string, errno: number, log = '') {
    super(errno === 0 ? what : `${what}: ${errnoName(errno)}`);
    this.name = 'SkeletonError';
    this.errno = errno;
    this.log = log;
  }
}

/** A loaded object, while there is one. */
export interface Loaded {
  readonly port: Port;
  readonly fd: number;
}

/** Where a handle finds its descriptor; throws before the load and after the end. */
export type Descriptor = () => Loaded;

/** Throws once the skeleton is loaded: what a load is told cannot be changed after it. */
export type BeforeLoad = (what: string) => void;

/** What a map is created with instead of what its object says. */
export interface MapSettings {
  readonly maxEntries?: number;
  /** Bytes; only where the object is loaded by the library, not by a loader program. */
  readonly valueSize?: number;
}

/** A zeroed `union bpf_attr` that ends after `last`. */
export function attrBytes(last: Field): DataView {
  return new DataView(new ArrayBuffer(last.offset + last.size));
}

/** Address of a copy of the bytes. */
export function placed(scratch: Scratch, bytes: Uint8Array): bigint {
  const address = scratch.bytes(bytes);
  if (address < 0) throw new SkeletonError('no memory for an argument', -address);
  return BigInt(address);
}

/** Makes a call; `>= 0` or `-errno`. */
export function perform(port: Port, scratch: Scratch, command: number, attr: DataView): number {
  return port.bpf(command, Number(placed(scratch, new Uint8Array(attr.buffer))), attr.byteLength);
}

/** A map of the skeleton. */
export class MapHandle {
  readonly name: string;
  readonly #descriptor: Descriptor;
  readonly #beforeLoad: BeforeLoad;
  #settings: MapSettings = {};

  constructor(name: string, descriptor: Descriptor, beforeLoad: BeforeLoad) {
    this.name = name;
    this.#descriptor = descriptor;
    this.#beforeLoad = beforeLoad;
  }

  /** What was configured. */
  get settings(): MapSettings {
    return this.#settings;
  }

  /** Creates the map larger or smaller than the object says; before the load. */
  configure(settings: MapSettings): void {
    this.#beforeLoad(`map '${this.name}'`);
    for (const [what, value] of Object.entries(settings)) {
      if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new SkeletonError(`map '${this.name}': ${what} of ${String(value)}`, 0);
    }
    this.#settings = { ...this.#settings, ...settings };
  }

  /** @throws SkeletonError where the skeleton is not loaded */
  get fd(): number {
    return this.#descriptor().fd;
  }

  /** The port and descriptor together. */
  protected loaded(): Loaded {
    return this.#descriptor();
  }
}

/** Update only what is not there yet, or only what is there; default both. */
export type UpdateFlags = 'any' | 'new' | 'existing';

const UPDATE_FLAGS: Readonly<Record<UpdateFlags, bigint>> = { any: 0n, new: 1n, existing: 2n };

/** A map whose keys and values have a type. Structs that it gives are copies: changing one changes the map only through `update`. */
export class TypedMap<K, V> extends MapHandle {
  readonly #key: Layout<K>;
  readonly #value: Layout<V>;

  constructor(name: string, descriptor: Descriptor, beforeLoad: BeforeLoad, key: Layout<K>, value: Layout<V>) {
    super(name, descriptor, beforeLoad);
    this.#key = key;
    this.#value = value;
  }

  /** The kernel would write values of another size over what lies behind their place. */
  override configure(settings: MapSettings): void {
    if (settings.valueSize !== undefined && settings.valueSize !== this.#value.size) {
      throw new SkeletonError(`map '${this.name}': its values have a type of ${this.#value.size} bytes`, 0);
    }
    super.configure(settings);
  }

  /** A key of zeros, to fill in. */
  createKey(): K {
    return this.#key.get(new LocalMemory(new Uint8Array(this.#key.size)), 0);
  }

  /** A value of zeros, to fill in. */
  createValue(): V {
    return this.#value.get(new LocalMemory(new Uint8Array(this.#value.size)), 0);
  }

  /** `undefined` where the key is not in the map. */
  lookup(key: K): V | undefined {
    return this.#call((port, scratch, fd) => {
      const attr = attrBytes(MAP_ELEM_ATTR.flags);
      const address = scratch.zeroed(this.#value.size);
      if (address < 0) throw new SkeletonError('no memory for a value', -address);
      writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, fd);
      writeLong(attr, 0, MAP_ELEM_ATTR.key, placed(scratch, encode(this.#key, key)));
      writeLong(attr, 0, MAP_ELEM_ATTR.value, BigInt(address));
      const result = perform(port, scratch, U.BPF_MAP_LOOKUP_ELEM, attr);
      if (result === -ENOENT) return undefined;
      this.#check('lookup', result);
      return this.#value.get(new LocalMemory(port.readUser(address, this.#value.size)), 0);
    });
  }

  update(key: K, value: V, flags: UpdateFlags = 'any'): void {
    this.#call((port, scratch, fd) => {
      const attr = attrBytes(MAP_ELEM_ATTR.flags);
      writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, fd);
      writeLong(attr, 0, MAP_ELEM_ATTR.key, placed(scratch, encode(this.#key, key)));
      writeLong(attr, 0, MAP_ELEM_ATTR.value, placed(scratch, encode(this.#value, value)));
      writeLong(attr, 0, MAP_ELEM_ATTR.flags, UPDATE_FLAGS[flags]);
      this.#check('update', perform(port, scratch, U.BPF_MAP_UPDATE_ELEM, attr));
    });
  }

  /** Whether the key was in the map. */
  delete(key: K): boolean {
    return this.#call((port, scratch, fd) => {
      const attr = attrBytes(MAP_ELEM_ATTR.key);
      writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, fd);
      writeLong(attr, 0, MAP_ELEM_ATTR.key, placed(scratch, encode(this.#key, key)));
      const result = perform(port, scratch, U.BPF_MAP_DELETE_ELEM, attr);
      if (result === -ENOENT) return false;
      this.#check('delete', result);
      return true;
    });
  }

  /** The keys, in the kernel's order. */
  *keys(): Generator<K> {
    let previous: Uint8Array | undefined;
    for (;;) {
      const next = this.#nextKey(previous);
      if (next === undefined) return;
      yield this.#key.get(new LocalMemory(next.slice()), 0);
      previous = next;
    }
  }

  /** Keys with their values; what disappears meanwhile is left out. */
  *entries(): Generator<[key: K, value: V]> {
    for (const key of this.keys()) {
      const value = this.lookup(key);
      if (value !== undefined) yield [key, value];
    }
  }

  #nextKey(previous: Uint8Array | undefined): Uint8Array | undefined {
    return this.#call((port, scratch, fd) => {
      const attr = attrBytes(MAP_ELEM_ATTR.next_key);
      const address = scratch.zeroed(this.#key.size);
      if (address < 0) throw new SkeletonError('no memory for a key', -address);
      writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, fd);
      if (previous !== undefined) writeLong(attr, 0, MAP_ELEM_ATTR.key, placed(scratch, previous));
      writeLong(attr, 0, MAP_ELEM_ATTR.next_key, BigInt(address));
      const result = perform(port, scratch, U.BPF_MAP_GET_NEXT_KEY, attr);
      if (result === -ENOENT) return undefined;
      this.#check('next key', result);
      return port.readUser(address, this.#key.size);
    });
  }

  #check(what: string, result: number): void {
    if (result < 0) throw new SkeletonError(`map '${this.name}': ${what}`, -result);
  }

  #call<R>(work: (port: Port, scratch: Scratch, fd: number) => R): R {
    const { port, fd } = this.loaded();
    const scratch = new Scratch(port);
    try {
      return work(port, scratch, fd);
    } finally {
      scratch.release();
    }
  }
}

function encode<T>(layout: Layout<T>, value: T): Uint8Array {
  const memory = new LocalMemory(new Uint8Array(layout.size));
  layout.set(memory, 0, value);
  return memory.bytes;
}

/** What a test run is given (`BPF_PROG_TEST_RUN`). */
export interface TestRunInput {
  /** The context, for kinds of programs that take one. */
  readonly ctx?: Uint8Array;
  /** A packet. */
  readonly data?: Uint8Array;
  readonly repeat?: number;
  /** `BPF_F_TEST_*` */
  readonly flags?: number;
}

/** What a test run gives. */
export interface TestRunResult {
  /** The program's return value, as the kernel reports it: unsigned. */
  readonly retval: number;
  /** Nanoseconds, mean over the repetitions. */
  readonly duration: number;
  /** The context afterwards, empty where none was given. */
  readonly ctx: Uint8Array;
  /** The packet afterwards, empty where none was given. */
  readonly data: Uint8Array;
}

const TEST_RUN_SIZE = 80;
/** A program may make a packet longer. */
const PACKET_ROOM = 256;

/** A program of the skeleton. */
export class ProgramHandle {
  readonly name: string;
  readonly #descriptor: Descriptor;
  readonly #beforeLoad: BeforeLoad;
  #autoload: boolean | undefined;

  constructor(name: string, descriptor: Descriptor, beforeLoad: BeforeLoad) {
    this.name = name;
    this.#descriptor = descriptor;
    this.#beforeLoad = beforeLoad;
  }

  /** Whether the program is loaded; `undefined` leaves it to the object. Set before the load, and only without a loader program. */
  get autoload(): boolean | undefined {
    return this.#autoload;
  }

  set autoload(value: boolean | undefined) {
    this.#beforeLoad(`program '${this.name}'`);
    this.#autoload = value;
  }

  /** @throws SkeletonError where the skeleton is not loaded */
  get fd(): number {
    return this.#descriptor().fd;
  }

  /** Runs the program once (or `repeat` times) without attaching it. */
  testRun({ ctx, data, repeat = 0, flags = 0 }: TestRunInput = {}): TestRunResult {
    const { port, fd } = this.#descriptor();
    const scratch = new Scratch(port);
    try {
      const attr = new DataView(new ArrayBuffer(TEST_RUN_SIZE));
      const A = TEST_RUN_ATTR;
      writeInt(attr, 0, A.prog_fd, fd);
      writeInt(attr, 0, A.repeat, repeat);
      writeInt(attr, 0, A.flags, flags);
      const ctxAt = ctx === undefined ? undefined : placed(scratch, ctx);
      if (ctxAt !== undefined) {
        writeInt(attr, 0, A.ctx_size_in, ctx?.length ?? 0);
        writeLong(attr, 0, A.ctx_in, ctxAt);
      }
      const room = data === undefined ? 0 : data.length + PACKET_ROOM;
      const dataOut = room === 0 ? 0n : placed(scratch, new Uint8Array(room));
      if (data !== undefined) {
        writeInt(attr, 0, A.data_size_in, data.length);
        writeLong(attr, 0, A.data_in, placed(scratch, data));
        writeInt(attr, 0, A.data_size_out, room);
        writeLong(attr, 0, A.data_out, dataOut);
      }
      // Only network programs copy their context out; others change what they were given.
      const ctxOut = ctx === undefined || data === undefined ? ctxAt : placed(scratch, new Uint8Array(ctx.length));
      if (ctxOut !== undefined && ctxOut !== ctxAt) {
        writeInt(attr, 0, A.ctx_size_out, ctx?.length ?? 0);
        writeLong(attr, 0, A.ctx_out, ctxOut);
      }
      const address = Number(placed(scratch, new Uint8Array(attr.buffer)));
      const result = port.bpf(U.BPF_PROG_TEST_RUN, address, TEST_RUN_SIZE);
      if (result < 0) throw new SkeletonError(`program '${this.name}': test run`, -result);
      const after = port.readUser(address, TEST_RUN_SIZE);
      const view = new DataView(after.buffer, after.byteOffset, after.byteLength);
      return {
        retval: readInt(view, 0, A.retval), duration: readInt(view, 0, A.duration),
        ctx: ctxOut === undefined ? new Uint8Array(0) : port.readUser(Number(ctxOut), ctx?.length ?? 0),
        data: data === undefined ? new Uint8Array(0) : port.readUser(Number(dataOut), Math.min(room, readInt(view, 0, A.data_size_out))),
      };
    } finally {
      scratch.release();
    }
  }
}
