/**
 * @module src/fuzz/bytecode/world
 * A kernel that is used again for every program: maps of a few kinds, buffers, and short ways to load, run and compare. Owns that a program finds
 * what the one before it found: values, clock, random numbers, stack.
 */
import { InternalError } from '../../../isa/errors.ts';
import { ATTR_SIZE, MAP_CREATE_ATTR, MAP_ELEM_ATTR, PROG_LOAD_ATTR, writeInt, writeLong } from '../../../isa/attr.ts';
import { pooledBytes } from '../../../isa/pool.ts';
import * as U from '../../../isa/uapi.ts';
import { BPF_F_SLEEPABLE } from '../../../verifier/env.ts';
import type { StateObserver } from '../../../verifier/types.ts';
import { KERNEL_HI } from '../../../vm/address-space.ts';
import { MAX_FRAMES } from '../../../vm/program.ts';
import { STACK_LABEL } from '../../../vm/run.ts';
import { FRAME_STRIDE } from '../../../vm/wasm/layout.ts';
import type { Fault, Program, RunOptions } from '../../../vm/types.ts';
import { CAP_FULL_SET } from '../../../kernel/api.ts';
import { Kernel } from '../../../kernel/kernel.ts';
import { ArrayMap } from '../../../kernel/maps/array.ts';
import { ProgArrayMap } from '../../../kernel/maps/fd-array.ts';
import { RingBufferMap } from '../../../kernel/maps/ringbuf.ts';
import type { BPFProgram } from '../../../kernel/program.ts';
import type { RunContext } from '../../../kernel/run.ts';
import { Random } from '../random.ts';
import { CONTEXT_SIZE, KIND_RAW_TRACEPOINT, KIND_UNPRIVILEGED, type MapNumbers, VALUE_SIZE } from './grammar.ts';

/** Instructions that a run may execute. */
export const RUN_BUDGET: number = 1 << 13;
const FIRST_FD = 3;
/** Programs of a kind whose maps are these: descriptors in the order of creation. */
export const MAPS: MapNumbers = { value: FIRST_FD, four: FIRST_FD + 1, hash: FIRST_FD + 2, ring: FIRST_FD + 3, constant: FIRST_FD + 4, calls: FIRST_FD + 5 };

/** How each map is created, in the order of {@link MAPS}: type, bytes of key and value, entries, flags. */
export const MAP_SHAPES: readonly (readonly [type: number, key: number, value: number, entries: number, flags: number])[] = [
  [U.BPF_MAP_TYPE_ARRAY, 4, VALUE_SIZE, 1, 0],
  [U.BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0],
  [U.BPF_MAP_TYPE_HASH, 8, 16, 8, 0],
  [U.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0],
  [U.BPF_MAP_TYPE_ARRAY, 4, 16, 1, U.BPF_F_RDONLY_PROG],
  [U.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0],
];
/** What the frozen array holds. */
export const CONSTANT: Uint8Array = Uint8Array.from({ length: 16 }, (_, i) => (i * 37 + 5) & 0xff);
const BOOT_TIME = 1_000_000_000;
const CONTEXT_BYTES = 512;
const MOST_BYTES = 1 << 16;
/** Bytes between a key and its value in the buffer of an update. */
const VALUE_OFFSET = 64;
/** Keys of the hash table at the start: 0 and 1. */
export const KEYS = 2;

/** Helpers after which maps, clock and random numbers are as before (values of maps are put back anyway). */
const HARMLESS: readonly number[] = [
  U.BPF_FUNC_map_lookup_elem, U.BPF_FUNC_ktime_get_ns, U.BPF_FUNC_get_prandom_u32, U.BPF_FUNC_get_smp_processor_id, U.BPF_FUNC_get_current_pid_tgid,
  U.BPF_FUNC_strtol, U.BPF_FUNC_probe_read_kernel, U.BPF_FUNC_tail_call, U.BPF_FUNC_loop, U.BPF_FUNC_ktime_get_boot_ns, U.BPF_FUNC_get_numa_node_id,
  U.BPF_FUNC_dynptr_from_mem, U.BPF_FUNC_dynptr_read, U.BPF_FUNC_dynptr_write, U.BPF_FUNC_dynptr_data,
];

/** Helpers that change no more than the memory of the ring buffer. */
const ON_RING: readonly number[] = [
  U.BPF_FUNC_ringbuf_reserve, U.BPF_FUNC_ringbuf_submit, U.BPF_FUNC_ringbuf_discard,
  U.BPF_FUNC_ringbuf_reserve_dynptr, U.BPF_FUNC_ringbuf_submit_dynptr, U.BPF_FUNC_ringbuf_discard_dynptr,
];
const NOTHING = 0, RING = 1, EVERYTHING = 2;
/** By helper: what it leaves changed. */
const CHANGES: Uint8Array = new Uint8Array(256).fill(EVERYTHING);
for (const helper of HARMLESS) CHANGES[helper] = NOTHING;
for (const helper of ON_RING) CHANGES[helper] = RING;
/** Bytes of the stack that programs reach without tail calls: there is nothing in the program array. */
const SHALLOW_STACK: number = FRAME_STRIDE * (MAX_FRAMES + 1);

/** What a run left behind. */
export interface Outcome {
  readonly lo: number;
  readonly hi: number;
  readonly instructions: number;
  readonly fault: Fault | undefined;
  /** Values of the maps that programs may write. */
  readonly memory: Uint8Array;
  /** Which places maps, values and the ring had: results may hold addresses, which are comparable only between runs with all of them in the same. */
  readonly place: number;
}

/** A program that was accepted, with what runs need. */
export interface Loaded {
  /** Which set of maps it belongs to. */
  readonly generation: number;
  readonly fd: number;
  readonly program: BPFProgram;
  readonly prepared: Program;
}

/** Bytes that are tried more often than others. */
const BYTES: readonly number[] = [0, 0xff, 0x7f, 0x80, 1];

/** The context that `seed` stands for. */
export function contextOf(seed: number): Uint8Array {
  const bytes = new Uint8Array(CONTEXT_SIZE);
  fillContext(bytes, seed);
  return bytes;
}

function fillContext(bytes: Uint8Array, seed: number): void {
  const random = new Random(seed);
  for (let at = 0; at < bytes.length; at += 8) {
    switch (random.below(6)) {
      case 0: bytes.fill(0, at, at + 8); break;
      case 1: bytes.fill(0xff, at, at + 8); break;
      case 2: bytes.fill(0, at, at + 8); bytes[at + random.below(8)] = 1 << random.below(8); break;
      case 3: for (let i = 0; i < 8; i++) bytes[at + i] = i < 4 ? random.next() : 0; break;
      case 4: bytes.fill(0, at, at + 8); bytes[at] = random.below(70); break;
      default: for (let i = 0; i < 8; i++) {
        const any = random.below(256), which = random.below(BYTES.length + 1);
        bytes[at + i] = BYTES[which] ?? any;
      }
    }
  }
}

export class World {
  readonly kernel: Kernel;
  readonly #attr: number;
  readonly #instructions: number;
  readonly #block: DataView = new DataView(new ArrayBuffer(ATTR_SIZE));
  readonly #blockBytes: Uint8Array = new Uint8Array(this.#block.buffer);
  readonly #context: number;
  readonly #contextBytes: Uint8Array = new Uint8Array(CONTEXT_SIZE);
  #stack = 0;
  #stackBytes = 0;
  #values: readonly { readonly at: number; readonly bytes: Uint8Array }[] = [];
  #valueBytes = 0;
  #place = 0;
  #calls: ProgArrayMap | undefined;
  #liveBytes = 0;
  #isDirty = false;
  /** A run may have been deeper than the frames of one program: by a tail call to one that it loaded itself. */
  #isDeep = true;
  #generation = 0;
  /** The ring buffer's memory, and what it holds before a run. */
  #ring = 0;
  #ringBytes: Uint8Array = new Uint8Array(0);

  /** @param kernelBTF for programs that call kernel functions */
  constructor(kernelBTF?: () => Uint8Array) {
    const kernel = new Kernel(kernelBTF === undefined ? {} : { kernelBTF });
    this.kernel = kernel;
    this.#attr = kernel.allocUser(ATTR_SIZE);
    this.#instructions = kernel.allocUser(MOST_BYTES);
    this.#license = kernel.userAlloc(Uint8Array.of(71, 80, 76, 0));
    this.#context = kernel.memory.alloc(CONTEXT_BYTES, 'context', 16);
    this.#makeMaps();
    // The machine makes its stack with the first run.
    const loaded = this.load(Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0), 0, 0, undefined);
    if (typeof loaded === 'number') throw new InternalError(`the first program of a world was refused: ${loaded}`);
    this.run(loaded, 0, { tier: 'interpreter' });
    this.unload(loaded);
    const stack = kernel.memory.live().find(({ label }) => label === STACK_LABEL)!;
    this.#stack = stack.offset;
    this.#stackBytes = stack.size;
    this.#liveBytes = kernel.memoryStats.liveBytes;
  }

  readonly #license: number;

  #call(cmd: number): number {
    this.kernel.writeUser(this.#attr, this.#blockBytes);
    return this.kernel.bpf(cmd, this.#attr, ATTR_SIZE);
  }

  #makeMaps(): void {
    const { kernel } = this;
    const block = this.#block;
    for (const [index, [type, key, value, entries, flags]] of MAP_SHAPES.entries()) {
      this.#blockBytes.fill(0);
      writeInt(block, 0, MAP_CREATE_ATTR.map_type, type);
      writeInt(block, 0, MAP_CREATE_ATTR.key_size, key);
      writeInt(block, 0, MAP_CREATE_ATTR.value_size, value);
      writeInt(block, 0, MAP_CREATE_ATTR.max_entries, entries);
      writeInt(block, 0, MAP_CREATE_ATTR.map_flags, flags);
      const fd = this.#call(U.BPF_MAP_CREATE);
      if (fd !== FIRST_FD + index) throw new InternalError(`map ${index} of a world has descriptor ${fd}`);
    }
    this.#update(MAPS.constant, new Uint8Array(4), CONSTANT);
    this.#blockBytes.fill(0);
    writeInt(block, 0, MAP_ELEM_ATTR.map_fd, MAPS.constant);
    this.#call(U.BPF_MAP_FREEZE);
    for (let key = 0; key < KEYS; key++) this.#update(MAPS.hash, Uint8Array.of(key, 0, 0, 0, 0, 0, 0, 0), new Uint8Array(16));
    const values: { at: number; bytes: Uint8Array }[] = [];
    for (const fd of [MAPS.value, MAPS.four]) {
      const map = kernel.state.mapByFD(fd);
      if (map instanceof ArrayMap) values.push({ at: map.values, bytes: new Uint8Array(map.elementSize * map.maxEntries) });
    }
    const hash = kernel.state.mapByFD(MAPS.hash);
    if (typeof hash !== 'number') {
      kernel.state.memory.withBuffer(8, 'key', (at) => {
        for (let key = 0; key < KEYS; key++) {
          kernel.memory.setU32(at, key);
          values.push({ at: hash.lookup(at), bytes: new Uint8Array(16) });
        }
      });
    }
    const calls = kernel.state.mapByFD(MAPS.calls);
    this.#calls = calls instanceof ProgArrayMap ? calls : undefined;
    const ring = kernel.state.mapByFD(MAPS.ring);
    if (!(ring instanceof RingBufferMap)) throw new InternalError('the ring buffer of a world is none');
    this.#ring = ring.ring;
    if (this.#ringBytes.length === 0) this.#ringBytes = new Uint8Array(kernel.memory.live().find(({ offset }) => offset === ring.ring)!.size);
    this.#ringBytes.set(kernel.memory.u8.subarray(ring.ring, ring.ring + this.#ringBytes.length));
    this.#values = values;
    let place = 0x811c9dc5 ^ this.#ring;
    for (const { at } of values) place = Math.imul(place ^ at, 0x01000193);
    for (let fd = FIRST_FD; fd < FIRST_FD + MAP_SHAPES.length; fd++) {
      const map = kernel.state.mapByFD(fd);
      place = Math.imul(place ^ (typeof map === 'number' ? 0 : map.address), 0x01000193);
    }
    this.#place = place;
    this.#valueBytes = values.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.#isDirty = false;
  }

  #update(fd: number, key: Uint8Array, value: Uint8Array): void {
    const { kernel } = this;
    // Where instructions go: nobody needs those of a program that was loaded.
    const keyAt = this.#instructions, valueAt = keyAt + VALUE_OFFSET;
    kernel.writeUser(keyAt, key);
    kernel.writeUser(valueAt, value);
    this.#blockBytes.fill(0);
    writeInt(this.#block, 0, MAP_ELEM_ATTR.map_fd, fd);
    writeLong(this.#block, 0, MAP_ELEM_ATTR.key, BigInt(keyAt));
    writeLong(this.#block, 0, MAP_ELEM_ATTR.value, BigInt(valueAt));
    this.#call(U.BPF_MAP_UPDATE_ELEM);
  }

  /** Closes all descriptors and makes the maps anew. */
  #renew(): void {
    for (const { fd } of this.kernel.state.files.list()) this.kernel.close(fd);
    this.#generation++;
    this.#makeMaps();
    this.#liveBytes = this.kernel.memoryStats.liveBytes;
  }

  /** Loads a program of a kind: what it became, or `-errno`. */
  load(instructions: Uint8Array, kind: number, flags: number, observer: StateObserver | undefined): Loaded | number {
    const { kernel } = this;
    const { state } = kernel;
    const block = this.#block;
    const isPrivileged = kind !== KIND_UNPRIVILEGED;
    const type = kind === KIND_RAW_TRACEPOINT ? U.BPF_PROG_TYPE_RAW_TRACEPOINT : isPrivileged ? U.BPF_PROG_TYPE_SYSCALL : U.BPF_PROG_TYPE_SOCKET_FILTER;
    this.#blockBytes.fill(0);
    writeInt(block, 0, PROG_LOAD_ATTR.prog_type, type);
    writeInt(block, 0, PROG_LOAD_ATTR.insn_cnt, instructions.length >> 3);
    block.setUint32(PROG_LOAD_ATTR.insns.offset, this.#instructions % 2 ** 32, true);
    block.setUint32(PROG_LOAD_ATTR.insns.offset + 4, Math.floor(this.#instructions / 2 ** 32), true);
    block.setUint32(PROG_LOAD_ATTR.license.offset, this.#license % 2 ** 32, true);
    block.setUint32(PROG_LOAD_ATTR.license.offset + 4, Math.floor(this.#license / 2 ** 32), true);
    writeInt(block, 0, PROG_LOAD_ATTR.prog_flags, flags | (type === U.BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0));
    kernel.writeUser(this.#instructions, instructions);
    state.stateObserver = observer;
    state.capabilities = isPrivileged ? CAP_FULL_SET : 0n;
    let fd: number;
    try {
      fd = this.#call(U.BPF_PROG_LOAD);
    } finally {
      // The first program that touches a program array decides which others may: the next one is another input's first.
      if (this.#calls !== undefined) this.#calls.owner = undefined;
      state.stateObserver = undefined;
      state.capabilities = CAP_FULL_SET;
    }
    if (fd < 0) return fd;
    const program = state.programByFD(fd);
    if (typeof program === 'number') throw new InternalError(`descriptor ${fd} of a loaded program: ${program}`);
    return { generation: this.#generation, fd, program, prepared: state.runner!.prepare(program) };
  }

  unload({ fd, generation }: Loaded): void {
    if (generation === this.#generation) this.kernel.close(fd);
  }

  /** True where the program reads no more context than there is. */
  canRun({ program }: Loaded): boolean {
    return (program.verified?.maxCtxOffset ?? 0) <= CONTEXT_BYTES;
  }

  /** Low half of the context's address. */
  get contextLo(): number {
    return this.#context;
  }

  get memory(): Uint8Array {
    return this.kernel.memory.u8;
  }

  /** Runs a program on the context that `seed` stands for, from the same state every time. */
  run(loaded: Loaded, seed: number, options: Pick<RunOptions, 'tier' | 'mode' | 'trace'>): Outcome {
    const { kernel } = this;
    const { state } = kernel;
    if (this.#isDirty) this.#renew();
    if (loaded.generation !== this.#generation) this.#reload(loaded);
    fillContext(this.#contextBytes, seed);
    const memory = kernel.memory.u8;
    memory.fill(0, this.#context, this.#context + CONTEXT_BYTES);
    memory.set(this.#contextBytes, this.#context);
    for (const { at, bytes } of this.#values) {
      fillValue(bytes, seed);
      memory.set(bytes, at);
    }
    memory.fill(0, this.#stack, this.#stack + (this.#isDeep ? this.#stackBytes : Math.min(SHALLOW_STACK, this.#stackBytes)));
    this.#isDeep = false;
    state.sources.restart(1, BOOT_TIME);
    state.trace.length = 0;
    const context: RunContext = { kernel: state, program: loaded.program, notes: [] };
    const how: RunOptions = { mode: options.mode ?? 'checked', budget: RUN_BUDGET, context };
    if (options.tier !== undefined) how.tier = options.tier;
    if (options.trace !== undefined) how.trace = options.trace;
    const result = state.runner!.machine.run(loaded.prepared, this.#context, KERNEL_HI, how);
    const changes = changesOf(loaded.prepared.image.instructions);
    if (changes === EVERYTHING) {
      this.#isDirty = true;
      this.#isDeep = true;
    } else if (changes === RING) memory.set(this.#ringBytes, this.#ring);
    return { lo: result.r0Lo, hi: result.r0Hi, instructions: result.instructions, fault: result.fault, memory: this.#capture(), place: this.#place };
  }

  #capture(): Uint8Array {
    const out = pooledBytes(this.#valueBytes + CONTEXT_BYTES);
    const memory = this.kernel.memory.u8;
    let to = 0;
    for (const { at, bytes } of this.#values) {
      // a loop: a view of so few bytes costs more than they do
      for (let i = 0; i < bytes.length; i++) out[to++] = memory[at + i]!;
    }
    out.set(memory.subarray(this.#context, this.#context + CONTEXT_BYTES), to);
    return out;
  }

  /** The same program with the maps of now. */
  #reload(loaded: Loaded): void {
    const { program } = loaded;
    const kind = program.type === U.BPF_PROG_TYPE_RAW_TRACEPOINT ? KIND_RAW_TRACEPOINT : 0;
    const again = this.load(program.instructions, kind, program.flags & ~BPF_F_SLEEPABLE, undefined);
    if (typeof again === 'number') throw new InternalError(`a program that was accepted is refused the second time: ${again}`);
    Object.assign(loaded, again);
  }

  /** After a program is gone: everything back as it was. A complaint, or undefined. */
  settle(): string | undefined {
    const { state } = this.kernel;
    if (this.#isDirty) {
      this.#renew();
      return undefined;
    }
    const { liveBytes } = this.kernel.memoryStats;
    if (state.programs.size === 0 && state.maps.size === MAP_SHAPES.length && liveBytes === this.#liveBytes) return undefined;
    return `${state.programs.size} programs, ${state.maps.size} maps, ${liveBytes - this.#liveBytes} bytes of memory more than before`;
  }

  /** Bytes that stacks of deeper runs and the like added for good. */
  accept(): void {
    this.#liveBytes = this.kernel.memoryStats.liveBytes;
  }
}

/** Fills the value of a map (of an array: all its values) as a run from `seed` finds it. */
export function fillValue(bytes: Uint8Array, seed: number): void {
  let x = seed | 1;
  for (let at = 0; at < bytes.length; at++) {
    x = (Math.imul(x, 0x19660d) + 0x3c6ef35f) | 0;
    bytes[at] = (x & 0x300) === 0 ? 0 : (x & 0xc00) === 0 ? 0xff : x >>> 24;
  }
}

/** What a program's helpers leave changed, beside values of maps: nothing, the ring buffer's memory, who knows what. */
function changesOf(instructions: Uint8Array): number {
  let changes = NOTHING;
  for (let at = 0; at + 8 <= instructions.length; at += 8) {
    if (instructions[at] !== (U.BPF_JMP | U.BPF_CALL) || instructions[at + 1]! >> 4 !== 0) continue;
    const helper = instructions[at + 4]! | (instructions[at + 5]! << 8) | (instructions[at + 6]! << 16) | (instructions[at + 7]! << 24);
    const change = CHANGES[helper] ?? EVERYTHING;
    if (change === EVERYTHING) return EVERYTHING;
    if (change === RING) changes = RING;
  }
  return changes;
}
