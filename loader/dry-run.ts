/**
 * @module loader/dry-run
 * Runs a loader program without a kernel to see what it asks for: registers, stack, context and the metadata blob are real,
 * every answer from outside is invented and unmistakable, so a value found anywhere later tells where it came from. Owns the
 * small machine and the list of requests; what the requests mean is `metadata.ts`.
 *
 * A loader could behave otherwise on a real kernel, because its branches may depend on answers. So each conditional jump that
 * looked at one is recorded, and so is every instruction that never ran. Instruction semantics: RFC 9669, for the part that a
 * loader can use (no calls between its own functions, no atomics).
 */
import { sha256 } from '../crypto/digest.ts';
import { decodeInstruction, type Instruction } from '../isa/decode.ts';
import * as U from '../isa/uapi.ts';
import { LD_IMM64 } from '../isa/instructions.ts';
import { latin1UpToNUL } from '../isa/latin1.ts';
import { mapDescOffset, type LightSkeleton } from './skeleton.ts';

/** Addresses of the three regions; far apart, so that arithmetic on one never reaches another. */
export const BLOB_BASE = 0x1000_0000_0000n;
const CTX_BASE = 0x2000_0000_0000n;
const STACK_TOP = 0x3000_0000_0200n;
const STACK_SIZE = 512;
/** The process's copies of the data sections, one every 16 MiB. */
const DATA_BASE = 0x4000_0000_0000n;
const DATA_STRIDE = 0x100_0000n;

/** `struct bpf_map` of the loader's map: the check of older loaders reads its hash and whether it is exclusive. */
const MAP_BASE = 0x5000_0000_0000n;

/** File descriptors, type ids and addresses that answers are made of. */
export const FIRST_FD = 0x100000;
export const FIRST_TYPE_ID = 0x2000000;
export const FIRST_ADDRESS = 0xffffffff_f0000000n;

/** One request of the loader to the outside, in order. */
export type LoaderRequest =
  | { readonly kind: 'bpf'; readonly at: number; readonly cmd: number; readonly attrOffset: number | undefined; readonly attr: Uint8Array; readonly size: number; readonly result: number }
  | { readonly kind: 'find'; readonly at: number; readonly name: string; readonly nameOffset: number | undefined; readonly nameSize: number; readonly btfKind: number; readonly id: number }
  | { readonly kind: 'kallsyms'; readonly at: number; readonly name: string; readonly nameOffset: number | undefined; readonly nameSize: number; readonly resultOffset: number | undefined; readonly address: bigint }
  | { readonly kind: 'close'; readonly at: number; readonly fd: number }
  | { readonly kind: 'copy'; readonly at: number; readonly to: number | undefined; readonly size: number; readonly map: number | undefined }
  | { readonly kind: 'print'; readonly at: number; readonly format: string; readonly formatOffset: number | undefined; readonly formatSize: number };

/** A store into the blob. */
export interface BlobWrite {
  /** Instruction that stored. */
  readonly at: number;
  readonly offset: number;
  readonly size: number;
  readonly value: bigint;
}

/** Everything that one run showed. */
export interface DryRun {
  readonly requests: readonly LoaderRequest[];
  readonly writes: readonly BlobWrite[];
  /** The context after the run. */
  readonly context: Uint8Array;
  /** The blob after the run. */
  readonly blob: Uint8Array;
  /** One byte an instruction slot: 1 where it ran. */
  readonly executed: Uint8Array;
  /** Conditional jumps that looked at an answer from outside or at the context, and whether they jumped. */
  readonly conditions: readonly { readonly at: number; readonly taken: boolean }[];
  /** What the loader returned; `undefined` where it did not get to its end. */
  readonly retval: bigint | undefined;
  /** Why it did not get there. */
  readonly stopped: string | undefined;
}

/** Instructions that a loader may take; a real one of 64 maps and 32 programs takes about 20,000. */
const MAX_STEPS = 2_000_000;
const MAX_REQUESTS = 100_000;
const MASK64 = 0xffff_ffff_ffff_ffffn;

/** What ends a run early; never leaves this module. */
class Stop extends Error {}

/** The machine's memory at the moment of a request. */
export interface DryMemory {
  /** `size` bytes at an address, a copy, and where in the blob they are; `undefined` outside the loader's memory. */
  read(address: bigint, size: number): { readonly bytes: Uint8Array; readonly blobOffset: number | undefined } | undefined;
}

/** Called at each request, before the machine goes on. */
export type DryObserver = (request: LoaderRequest, memory: DryMemory) => void;

/**
 * Runs the loader of a skeleton with invented answers.
 *
 * @example
 * dryRun(skeleton).requests.filter((request) => request.kind === 'bpf').map((request) => request.cmd);
 */
export function dryRun(skeleton: LightSkeleton, observer: DryObserver = () => {}): DryRun {
  return new DryMachine(skeleton, observer).run();
}

/** A value and whether it came from outside. */
interface Value {
  readonly bits: bigint;
  readonly foreign: boolean;
}

const ZERO: Value = { bits: 0n, foreign: false };

interface Region {
  readonly base: bigint;
  readonly bytes: Uint8Array;
  /** 1 where the byte came from outside. */
  readonly foreign: Uint8Array;
  readonly writable: boolean;
}

function region(base: bigint, bytes: Uint8Array, writable: boolean, foreign: 0 | 1): Region {
  return { base, bytes, foreign: new Uint8Array(bytes.length).fill(foreign), writable };
}

const ACCESS_SIZES = [4, 2, 1, 8] as const;

function accessSize(code: number): number {
  return ACCESS_SIZES[(code >> 3) & 3] ?? 8;
}

class DryMachine implements DryMemory {
  readonly #skeleton: LightSkeleton;
  readonly #observer: DryObserver;
  readonly #registers: Value[] = Array.from({ length: 11 }, () => ZERO);
  readonly #blob: Region;
  readonly #regions: readonly Region[];
  readonly #requests: LoaderRequest[] = [];
  readonly #writes: BlobWrite[] = [];
  readonly #executed: Uint8Array;
  readonly #conditions: { at: number; taken: boolean }[] = [];
  #nextFD = FIRST_FD;
  #nextID = FIRST_TYPE_ID;
  #nextAddress = FIRST_ADDRESS;
  #pc = 0;

  constructor(skeleton: LightSkeleton, observer: DryObserver) {
    this.#skeleton = skeleton;
    this.#observer = observer;
    const { maps } = skeleton;
    this.#blob = region(BLOB_BASE, skeleton.metadata.slice(), true, 0);
    this.#regions = [
      this.#blob,
      region(CTX_BASE, this.#context(), true, 1),
      region(STACK_TOP - BigInt(STACK_SIZE), new Uint8Array(STACK_SIZE), true, 0),
      region(MAP_BASE, this.#bpfMap(), false, 1),
      ...maps.flatMap((map, i) => (map.data === undefined ? [] : [region(DATA_BASE + BigInt(i) * DATA_STRIDE, map.data.initialValue, false, 1)])),
    ];
    this.#executed = new Uint8Array(skeleton.instructions.length / 8);
    this.#registers[1] = { bits: CTX_BASE, foreign: false };
    this.#registers[10] = { bits: STACK_TOP, foreign: false };
  }

  run(): DryRun {
    let retval: bigint | undefined;
    let stopped: string | undefined;
    try {
      retval = this.#loop();
    } catch (reason) {
      if (!(reason instanceof Stop)) throw reason;
      stopped = `instruction ${this.#pc}: ${reason.message}`;
    }
    const context = this.#regions[1]?.bytes ?? new Uint8Array(0);
    return {
      requests: this.#requests, writes: this.#writes, context, blob: this.#blob.bytes, executed: this.#executed,
      conditions: this.#conditions, retval, stopped,
    };
  }

  /** What the skeleton's C code passes when its user changes nothing. */
  #context(): Uint8Array {
    const { contextSize, maps } = this.#skeleton;
    const context = new Uint8Array(contextSize);
    const view = new DataView(context.buffer);
    view.setUint32(0, contextSize, true);
    for (const [i, map] of maps.entries()) {
      if (map.data !== undefined) view.setBigUint64(mapDescOffset(i) + 8, DATA_BASE + BigInt(i) * DATA_STRIDE, true);
    }
    return context;
  }

  /** The beginning of `struct bpf_map` as those kernels have it: `u8 sha[32]`, then `u32 excl`. */
  #bpfMap(): Uint8Array {
    const bytes = new Uint8Array(40);
    bytes.set(sha256(this.#skeleton.metadata));
    bytes[32] = this.#skeleton.signature === undefined ? 0 : 1;
    return bytes;
  }

  #loop(): bigint {
    const { instructions } = this.#skeleton;
    const count = instructions.length / 8;
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      if (this.#pc < 0 || this.#pc >= count) throw new Stop('control leaves the program');
      this.#executed[this.#pc] = 1;
      const insn = decodeInstruction(instructions, this.#pc * 8);
      if (insn.code === (U.BPF_JMP | U.BPF_EXIT)) return this.#register(0).bits;
      this.#pc += this.#step(insn);
    }
    throw new Stop(`more than ${MAX_STEPS} instructions`);
  }

  /** Performs one instruction; how far the next one is. */
  #step(insn: Instruction): number {
    switch (insn.code & 7) {
      case U.BPF_LD: return this.#loadImmediate(insn);
      case U.BPF_LDX: return this.#load(insn);
      case U.BPF_ST: return this.#store(insn, { bits: BigInt(insn.imm), foreign: false });
      case U.BPF_STX: return this.#store(insn, this.#register(insn.src));
      case U.BPF_ALU: return this.#arithmetic(insn, 32n);
      case U.BPF_ALU64: return this.#arithmetic(insn, 64n);
      case U.BPF_JMP: return this.#jump(insn, 64n);
      default: return this.#jump(insn, 32n);
    }
  }

  #register(n: number): Value {
    return this.#registers[n] ?? ZERO;
  }

  #set(n: number, bits: bigint, foreign: boolean): void {
    if (n > 9) throw new Stop(`writes r${n}`);
    this.#registers[n] = { bits: BigInt.asUintN(64, bits), foreign };
  }

  #loadImmediate(insn: Instruction): number {
    if (insn.code !== LD_IMM64) throw new Stop('a packet load');
    const at = (this.#pc + 1) * 8;
    if (at + 8 > this.#skeleton.instructions.length) throw new Stop('half of a 16-byte load');
    const high = decodeInstruction(this.#skeleton.instructions, at).imm;
    this.#executed[this.#pc + 1] = 1;
    if (insn.src === U.BPF_PSEUDO_MAP_IDX_VALUE && insn.imm === 0) this.#set(insn.dst, BLOB_BASE + BigInt(high >>> 0), false);
    else if (insn.src === U.BPF_PSEUDO_MAP_IDX && insn.imm === 0) this.#set(insn.dst, MAP_BASE, false);
    else if (insn.src === 0) this.#set(insn.dst, (BigInt(high >>> 0) << 32n) | BigInt(insn.imm >>> 0), false);
    else throw new Stop(`a 16-byte load of kind ${insn.src}`);
    return 2;
  }

  #find(address: bigint, size: number, write: boolean): { readonly region: Region; readonly offset: number } {
    for (const candidate of this.#regions) {
      const offset = address - candidate.base;
      if (offset < 0n || offset + BigInt(size) > BigInt(candidate.bytes.length)) continue;
      if (write && !candidate.writable) throw new Stop('a store into the memory of the process');
      return { region: candidate, offset: Number(offset) };
    }
    throw new Stop(`${write ? 'a store to' : 'a read of'} ${size} bytes outside its memory`);
  }

  #blobOffset(address: bigint, size: number): number | undefined {
    const offset = address - BLOB_BASE;
    return offset >= 0n && offset + BigInt(size) <= BigInt(this.#blob.bytes.length) ? Number(offset) : undefined;
  }

  #read(address: bigint, size: number): Value {
    const { region: from, offset } = this.#find(address, size, false);
    let bits = 0n;
    let foreign = false;
    for (let i = size - 1; i >= 0; i--) {
      bits = (bits << 8n) | BigInt(from.bytes[offset + i] ?? 0);
      foreign ||= from.foreign[offset + i] === 1;
    }
    return { bits, foreign };
  }

  #load(insn: Instruction): number {
    const mode = insn.code & 0xe0;
    if (mode !== U.BPF_MEM) throw new Stop('a load other than a plain one');
    const value = this.#read(this.#register(insn.src).bits + BigInt(insn.off), accessSize(insn.code));
    this.#set(insn.dst, value.bits, value.foreign);
    return 1;
  }

  #store(insn: Instruction, value: Value): number {
    if ((insn.code & 0xe0) !== U.BPF_MEM) throw new Stop('an atomic operation');
    const size = accessSize(insn.code);
    const bits = BigInt.asUintN(8 * size, value.bits);
    this.#write(this.#register(insn.dst).bits + BigInt(insn.off), size, bits, value.foreign);
    return 1;
  }

  #write(address: bigint, size: number, bits: bigint, foreign: boolean): void {
    const { region: to, offset } = this.#find(address, size, true);
    for (let i = 0; i < size; i++) to.bytes[offset + i] = Number((bits >> BigInt(8 * i)) & 0xffn);
    to.foreign.fill(foreign ? 1 : 0, offset, offset + size);
    if (to === this.#blob) this.#writes.push({ at: this.#pc, offset, size, value: bits });
  }

  #operand(insn: Instruction): Value {
    return (insn.code & U.BPF_X) !== 0 ? this.#register(insn.src) : { bits: BigInt.asUintN(64, BigInt(insn.imm)), foreign: false };
  }

  #arithmetic(insn: Instruction, width: 32n | 64n): number {
    const bits = Number(width);
    const a = BigInt.asUintN(bits, this.#register(insn.dst).bits);
    const operand = this.#operand(insn);
    const b = BigInt.asUintN(bits, operand.bits);
    const operation = insn.code & 0xf0;
    const foreign = operand.foreign || (operation !== U.BPF_MOV && this.#register(insn.dst).foreign);
    this.#set(insn.dst, BigInt.asUintN(bits, arithmetic(operation, a, b, width, insn.off)), foreign);
    return 1;
  }

  #jump(insn: Instruction, width: 32n | 64n): number {
    const operation = insn.code & 0xf0;
    if (operation === U.BPF_JA) return 1 + (width === 32n ? insn.imm : insn.off);
    if (operation === U.BPF_CALL) return this.#call(insn);
    const left = this.#register(insn.dst);
    const right = this.#operand(insn);
    const taken = compare(operation, left.bits, right.bits, Number(width));
    if (left.foreign || right.foreign) this.#conditions.push({ at: this.#pc, taken });
    return taken ? 1 + insn.off : 1;
  }

  #call(insn: Instruction): number {
    if (insn.src !== 0) throw new Stop('a call that is none of a helper');
    if (this.#requests.length >= MAX_REQUESTS) throw new Stop(`more than ${MAX_REQUESTS} requests`);
    const result = this.#helper(insn.imm);
    for (let n = 1; n <= 5; n++) this.#set(n, 0n, false);
    this.#set(0, result, true);
    return 1;
  }

  #request(request: LoaderRequest): void {
    this.#requests.push(request);
    this.#observer(request, this);
  }

  read(address: bigint, size: number): { readonly bytes: Uint8Array; readonly blobOffset: number | undefined } | undefined {
    for (const { base, bytes } of this.#regions) {
      const offset = address - base;
      if (size < 0 || offset < 0n || offset + BigInt(size) > BigInt(bytes.length)) continue;
      return { bytes: bytes.slice(Number(offset), Number(offset) + size), blobOffset: base === BLOB_BASE ? Number(offset) : undefined };
    }
    return undefined;
  }

  #argument(n: number): bigint {
    return this.#register(n).bits;
  }

  #int(n: number): number {
    return Number(BigInt.asIntN(32, this.#argument(n)));
  }

  #helper(id: number): bigint {
    switch (id) {
      case U.BPF_FUNC_sys_bpf: return this.#sysBPF();
      case U.BPF_FUNC_sys_close: return this.#sysClose();
      case U.BPF_FUNC_btf_find_by_name_kind: return this.#findByNameKind();
      case U.BPF_FUNC_kallsyms_lookup_name: return this.#kallsyms();
      case U.BPF_FUNC_copy_from_user:
      case U.BPF_FUNC_probe_read_kernel: return this.#copy();
      case U.BPF_FUNC_trace_printk: return this.#print();
      default: throw new Stop(`helper ${id}, which no generated loader calls`);
    }
  }

  #sysBPF(): bigint {
    const cmd = this.#int(1);
    const address = this.#argument(2);
    const size = this.#int(3);
    if (size < 0 || size > 4096) throw new Stop(`an attr of ${size} bytes`);
    const { region: from, offset } = this.#find(address, size, false);
    const returnsFD = cmd === U.BPF_MAP_CREATE || cmd === U.BPF_PROG_LOAD || cmd === U.BPF_BTF_LOAD;
    const result = returnsFD ? this.#nextFD++ : 0;
    this.#request({
      kind: 'bpf', at: this.#pc, cmd, attrOffset: this.#blobOffset(address, size), attr: from.bytes.slice(offset, offset + size), size, result,
    });
    return BigInt(result);
  }

  #sysClose(): bigint {
    this.#request({ kind: 'close', at: this.#pc, fd: this.#int(1) });
    return 0n;
  }

  #text(address: bigint, size: number): string {
    if (size < 0 || size > 4096) throw new Stop(`a string of ${size} bytes`);
    const { region: from, offset } = this.#find(address, size, false);
    return latin1UpToNUL(from.bytes.subarray(offset, offset + size));
  }

  #findByNameKind(): bigint {
    const size = this.#int(2);
    const name = this.#text(this.#argument(1), size);
    const id = this.#nextID++;
    const nameOffset = this.#blobOffset(this.#argument(1), size);
    this.#request({ kind: 'find', at: this.#pc, name, nameOffset, nameSize: size, btfKind: this.#int(3), id });
    return BigInt(id);
  }

  #kallsyms(): bigint {
    const size = this.#int(2);
    const name = this.#text(this.#argument(1), size);
    const address = this.#nextAddress;
    this.#nextAddress += 16n;
    const nameOffset = this.#blobOffset(this.#argument(1), size);
    const resultOffset = this.#blobOffset(this.#argument(4), 8);
    this.#request({ kind: 'kallsyms', at: this.#pc, name, nameOffset, nameSize: size, resultOffset, address });
    this.#write(this.#argument(4), 8, address, true);
    return 0n;
  }

  #copy(): bigint {
    const size = this.#int(2);
    if (size < 0) throw new Stop(`a copy of ${size} bytes`);
    const from = this.#argument(3);
    const { region: to, offset } = this.#find(this.#argument(1), size, true);
    // probe_read_kernel() with a null source is how a loader clears its stack: it fails and zeroes.
    if (from === 0n) {
      to.bytes.fill(0, offset, offset + size);
      to.foreign.fill(0, offset, offset + size);
      return MASK64 - 13n;
    }
    const source = this.#find(from, size, false);
    to.bytes.set(source.region.bytes.subarray(source.offset, source.offset + size), offset);
    to.foreign.fill(1, offset, offset + size);
    const map = from >= DATA_BASE ? Number((from - DATA_BASE) / DATA_STRIDE) : undefined;
    this.#request({ kind: 'copy', at: this.#pc, to: this.#blobOffset(this.#argument(1), size), size, map });
    return 0n;
  }

  #print(): bigint {
    const size = this.#int(2);
    const format = this.#text(this.#argument(1), size);
    this.#request({ kind: 'print', at: this.#pc, format, formatOffset: this.#blobOffset(this.#argument(1), size), formatSize: size });
    return BigInt(format.length);
  }
}

/** ALU operations of RFC 9669, on unsigned operands of `width` bits. */
function arithmetic(operation: number, a: bigint, b: bigint, width: 32n | 64n, off: number): bigint {
  const bits = Number(width);
  const shift = b & (width - 1n);
  switch (operation) {
    case U.BPF_ADD: return a + b;
    case U.BPF_SUB: return a - b;
    case U.BPF_MUL: return a * b;
    case U.BPF_OR: return a | b;
    case U.BPF_AND: return a & b;
    case U.BPF_XOR: return a ^ b;
    case U.BPF_LSH: return a << shift;
    case U.BPF_RSH: return a >> shift;
    case U.BPF_ARSH: return BigInt.asIntN(bits, a) >> shift;
    case U.BPF_NEG: return -a;
    case U.BPF_MOV:
      if (off !== 0 && off !== 8 && off !== 16 && off !== 32) throw new Stop(`a move of ${off} bits`);
      return off === 0 ? b : BigInt.asIntN(off, b);
    default: throw new Stop(`ALU operation 0x${operation.toString(16)}, which no generated loader uses`);
  }
}

function compare(operation: number, a: bigint, b: bigint, bits: number): boolean {
  const ua = BigInt.asUintN(bits, a);
  const ub = BigInt.asUintN(bits, b);
  const sa = BigInt.asIntN(bits, a);
  const sb = BigInt.asIntN(bits, b);
  switch (operation) {
    case U.BPF_JEQ: return ua === ub;
    case U.BPF_JNE: return ua !== ub;
    case U.BPF_JGT: return ua > ub;
    case U.BPF_JGE: return ua >= ub;
    case U.BPF_JLT: return ua < ub;
    case U.BPF_JLE: return ua <= ub;
    case U.BPF_JSET: return (ua & ub) !== 0n;
    case U.BPF_JSGT: return sa > sb;
    case U.BPF_JSGE: return sa >= sb;
    case U.BPF_JSLT: return sa < sb;
    case U.BPF_JSLE: return sa <= sb;
    default: throw new Stop(`jump 0x${operation.toString(16)}`);
  }
}

/** True where `fd` was invented for map, program or BTF number `fd - FIRST_FD` of the run. */
export function isInventedFD(fd: number): boolean {
  return fd >= FIRST_FD && fd < FIRST_TYPE_ID;
}

