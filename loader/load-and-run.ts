/**
 * @module loader/load-and-run
 * Loads a light skeleton through a {@link Port}: opens it (context, copies of the data sections), makes the loader's map,
 * loads and runs the loader program, maps the data sections, and takes everything down again when a step fails. Owns the
 * user-space half of a load; does not own what the calls do, nor the skeleton's meaning (`skeleton.ts`).
 * Reproduces the user-space side of `tools/lib/bpf/skel_internal.h` of Linux 7.3, and of 6.18 where that is asked for.
 */
import { InternalError } from '../isa/errors.ts';
import { ENOMEM } from '../isa/errno.ts';
import {
  MAP_CREATE_ATTR, MAP_ELEM_ATTR, OBJ_INFO_ATTR, PROG_LOAD_ATTR, RAW_TRACEPOINT_ATTR, LINK_CREATE_ATTR, TEST_RUN_ATTR,
  readInt, writeInt, writeLong, writeName, type Field,
} from '../isa/attr.ts';
import { MAP_INFO, MAP_INFO_SIZE } from '../isa/info.ts';
import { latin1UpToNUL } from '../isa/latin1.ts';
import * as U from '../isa/uapi.ts';
import { MAP_FIXED, MAP_SHARED, MAP_ANONYMOUS, PROT_READ, PROT_WRITE, Scratch, type Port } from './port.ts';
import { mapDescOffset, progDescOffset, type LightSkeleton } from './skeleton.ts';

/** `KEY_SPEC_SESSION_KEYRING`: what a C program that sets `skel->keyring_id` to the session keyring writes. */
export const KEY_SPEC_SESSION_KEYRING = -3;

/** The user-space side that a skeleton is loaded with: `skel_internal.h` of that kernel. */
export type UserSpace = '7.3' | '6.18';

/** What the C program would set before `NAME__load`. */
export interface LoadOptions {
  /** Default `"7.3"`. */
  readonly userSpace?: UserSpace;
  /** `skel->keyring_id`, default {@link KEY_SPEC_SESSION_KEYRING}; ignored by unsigned skeletons. */
  readonly keyringID?: number;
  /** `skel->ctx.log_level`, `log_size` and `log_buf`. Default: no log. */
  readonly log?: { readonly level: number; readonly size: number };
  /** `skel->maps.NAME.max_entries`, by map name; a signed loader ignores it. */
  readonly maxEntries?: ReadonlyMap<string, number>;
  /** Bytes for data sections instead of the skeleton's own, by map name; at most as many as the section has. */
  readonly data?: ReadonlyMap<string, Uint8Array>;
}

/** The steps of a load, named as `skel_internal.h` reports them. */
export type LoadStep =
  | 'open skeleton' | 'create loader map' | 'update loader map' | 'freeze map' | 'fetch obj info' | 'load loader prog'
  | 'execute loader prog' | 'run of loader prog' | 'map data section';

/** A map that the loader made. */
export interface LoadedMap {
  readonly name: string;
  readonly fd: number;
  /** User address of the mapped data section. */
  readonly address: number | undefined;
  /** Bytes mapped. */
  readonly mmapSize: number;
}

/** A program that the loader made. */
export interface LoadedProgram {
  readonly name: string;
  readonly fd: number;
}

/** A loaded skeleton; give it to {@link destroySkeleton} when done. */
export interface LoadedSkeleton {
  readonly errno: 0;
  readonly retval: number;
  readonly log: string;
  readonly maps: readonly LoadedMap[];
  readonly programs: readonly LoadedProgram[];
}

/** A load that failed; nothing of it is left. */
export interface LoadFailure {
  /** Positive. */
  readonly errno: number;
  readonly step: LoadStep;
  /** What `skel_internal.h` puts into `errstr`, or our words for a step outside it. */
  readonly message: string;
  /** What the loader program returned, where it ran. */
  readonly retval: number | undefined;
  readonly log: string;
}

const MESSAGES: Readonly<Record<LoadStep, string>> = {
  'open skeleton': 'failed to allocate the skeleton',
  'create loader map': 'failed to create loader map',
  'update loader map': 'failed to update loader map',
  'freeze map': 'failed to freeze map',
  'fetch obj info': 'failed to fetch obj info',
  'load loader prog': 'failed to load loader prog',
  'execute loader prog': 'failed to execute loader prog',
  'run of loader prog': 'error returned by loader prog',
  'map data section': 'failed to map a data section',
};

/** Bytes of a log that are read at first: most logs are short, their buffers long. */
const LOG_STEP = 4096;

/** `prog_flags`: the loader calls helpers that may sleep. */
const BPF_F_SLEEPABLE = 1 << 4;
/** `sizeof(attr.test)`: the last field and the padding after it. */
const TEST_RUN_SIZE = 80;

/** True for a load that worked. */
export function isLoaded(outcome: LoadedSkeleton | LoadFailure): outcome is LoadedSkeleton {
  return outcome.errno === 0;
}

/**
 * Loads a light skeleton as `NAME__open_and_load()` does.
 *
 * @param port the kernel
 * @param skeleton from `parseLightSkeleton`
 * @returns the loaded skeleton, or the failing step with a positive errno; in that case every fd and mapping is gone
 *
 * @example
 * const outcome = loadAndRun(kernel, skeleton);
 * if (isLoaded(outcome)) destroySkeleton(kernel, outcome);
 */
export function loadAndRun(port: Port, skeleton: LightSkeleton, options: LoadOptions = {}): LoadedSkeleton | LoadFailure {
  const load = new Load(port, skeleton, options);
  try {
    return load.perform();
  } finally {
    load.release();
  }
}

/** `NAME__destroy()`: closes every fd and takes the mappings down. */
export function destroySkeleton(port: Port, loaded: LoadedSkeleton): void {
  for (const program of loaded.programs) if (program.fd > 0) port.close(program.fd);
  for (const map of loaded.maps) {
    if (map.address !== undefined) port.munmap(map.address, map.mmapSize);
    if (map.fd > 0) port.close(map.fd);
  }
}

/** A failed step on its way out of {@link Load}; never leaves this module. */
class StepFailed {
  readonly step: LoadStep;
  readonly errno: number;
  readonly retval: number | undefined;
  constructor(step: LoadStep, errno: number, retval?: number) {
    this.step = step;
    this.errno = errno;
    this.retval = retval;
  }
}

class Load {
  readonly #port: Port;
  readonly #skeleton: LightSkeleton;
  readonly #options: LoadOptions;
  readonly #scratch: Scratch;
  readonly #mappings = new Map<string, number>();
  #context = 0;
  #logBuffer = 0;
  #mapFD = -1;
  #progFD = -1;

  constructor(port: Port, skeleton: LightSkeleton, options: LoadOptions) {
    this.#port = port;
    this.#skeleton = skeleton;
    this.#options = options;
    this.#scratch = new Scratch(port);
  }

  perform(): LoadedSkeleton | LoadFailure {
    try {
      this.#open();
      const retval = this.#runLoader();
      this.#finalize();
      const loaded = this.#loaded(retval);
      this.#mappings.clear();
      return loaded;
    } catch (reason) {
      if (!(reason instanceof StepFailed)) throw reason;
      this.#closePayload();
      return { errno: reason.errno, step: reason.step, message: MESSAGES[reason.step], retval: reason.retval, log: this.#log() };
    }
  }

  /** Takes down whatever is still this load's own. */
  release(): void {
    this.#closeLoader();
    for (const [name, address] of this.#mappings) this.#port.munmap(address, this.#mmapSize(name));
    this.#mappings.clear();
    this.#scratch.release();
  }

  #mmapSize(name: string): number {
    return this.#skeleton.maps.find((map) => map.name === name)?.data?.mmapSize ?? 0;
  }

  #checked(step: LoadStep, result: number): number {
    if (result < 0) throw new StepFailed(step, -result);
    return result;
  }

  #memory(step: LoadStep, bytes: Uint8Array): number {
    return this.#checked(step, this.#scratch.bytes(bytes));
  }

  /** `NAME__open()`, then what the caller sets in the skeleton. */
  #open(): void {
    const { maps, contextSize } = this.#skeleton;
    const context = new Uint8Array(contextSize);
    const view = new DataView(context.buffer);
    view.setUint32(0, contextSize, true);
    for (const [index, map] of maps.entries()) {
      const at = mapDescOffset(index);
      view.setUint32(at + 4, this.#options.maxEntries?.get(map.name) ?? 0, true);
      if (map.data !== undefined) view.setBigUint64(at + 8, BigInt(this.#prepareData(map.name, map.data.initialValue, map.data.mmapSize)), true);
    }
    const { log } = this.#options;
    if (log !== undefined) {
      this.#logBuffer = this.#checked('open skeleton', this.#scratch.zeroed(log.size));
      view.setUint32(8, log.level, true);
      view.setUint32(12, log.size, true);
      view.setBigUint64(16, BigInt(this.#logBuffer), true);
    }
    this.#context = this.#memory('open skeleton', context);
  }

  /** `skel_prep_map_data()`: an anonymous mapping with the initial value. */
  #prepareData(name: string, initialValue: Uint8Array, mmapSize: number): number {
    const result = this.#port.mmap(0, mmapSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    // NAME__open() gives NULL whatever the reason was; its callers take that for want of memory.
    if (result < 0) throw new StepFailed('open skeleton', ENOMEM);
    this.#mappings.set(name, result);
    const own = this.#options.data?.get(name);
    this.#port.writeUser(result, initialValue);
    if (own !== undefined) this.#port.writeUser(result, own.subarray(0, initialValue.length));
    return result;
  }

  /** `bpf_load_and_run()`; the loader's return value. */
  #runLoader(): number {
    this.#createMap();
    this.#updateMap();
    this.#freezeMap();
    if (this.#options.userSpace === '6.18') this.#fetchHash();
    this.#loadProgram();
    const retval = this.#testRun();
    this.#closeLoader();
    return retval;
  }

  #createMap(): void {
    const { signature, metadata } = this.#skeleton;
    const attr = attrBytes(MAP_CREATE_ATTR.excl_prog_hash_size);
    writeInt(attr, 0, MAP_CREATE_ATTR.map_type, U.BPF_MAP_TYPE_ARRAY);
    writeInt(attr, 0, MAP_CREATE_ATTR.key_size, 4);
    writeInt(attr, 0, MAP_CREATE_ATTR.value_size, metadata.length);
    writeInt(attr, 0, MAP_CREATE_ATTR.max_entries, 1);
    writeName(attr, 0, MAP_CREATE_ATTR.map_name, '__loader.map');
    if (signature !== undefined) {
      writeLong(attr, 0, MAP_CREATE_ATTR.excl_prog_hash, BigInt(this.#memory('create loader map', signature.exclusiveHash)));
      writeInt(attr, 0, MAP_CREATE_ATTR.excl_prog_hash_size, signature.exclusiveHash.length);
    }
    this.#mapFD = this.#checked('create loader map', this.#bpf('create loader map', U.BPF_MAP_CREATE, attr));
  }

  #updateMap(): void {
    const step = 'update loader map';
    const attr = attrBytes(MAP_ELEM_ATTR.flags);
    writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, this.#mapFD);
    writeLong(attr, 0, MAP_ELEM_ATTR.key, BigInt(this.#memory(step, new Uint8Array(4))));
    writeLong(attr, 0, MAP_ELEM_ATTR.value, BigInt(this.#memory(step, this.#skeleton.metadata)));
    this.#checked(step, this.#bpf(step, U.BPF_MAP_UPDATE_ELEM, attr));
  }

  #freezeMap(): void {
    const attr = attrBytes(MAP_ELEM_ATTR.map_fd);
    writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, this.#mapFD);
    this.#checked('freeze map', this.#bpf('freeze map', U.BPF_MAP_FREEZE, attr));
  }

  /** Before 7.3: asking for the map's hash is what makes the kernel compute it for the loader to read. */
  #fetchHash(): void {
    const step = 'fetch obj info';
    const info = new DataView(new ArrayBuffer(MAP_INFO_SIZE));
    writeLong(info, 0, MAP_INFO.hash, BigInt(this.#memory(step, new Uint8Array(32))));
    writeInt(info, 0, MAP_INFO.hash_size, 32);
    const attr = attrBytes(OBJ_INFO_ATTR.info);
    writeInt(attr, 0, OBJ_INFO_ATTR.bpf_fd, this.#mapFD);
    writeInt(attr, 0, OBJ_INFO_ATTR.info_len, MAP_INFO_SIZE);
    writeLong(attr, 0, OBJ_INFO_ATTR.info, BigInt(this.#memory(step, bytesOf(info))));
    this.#checked(step, this.#bpf(step, U.BPF_OBJ_GET_INFO_BY_FD, attr));
  }

  #loadProgram(): void {
    const step = 'load loader prog';
    const { instructions, signature } = this.#skeleton;
    const attr = attrBytes(PROG_LOAD_ATTR.keyring_id);
    const fdArray = new DataView(new ArrayBuffer(4));
    fdArray.setInt32(0, this.#mapFD, true);
    writeInt(attr, 0, PROG_LOAD_ATTR.prog_type, U.BPF_PROG_TYPE_SYSCALL);
    writeInt(attr, 0, PROG_LOAD_ATTR.insn_cnt, instructions.length / 8);
    writeLong(attr, 0, PROG_LOAD_ATTR.insns, BigInt(this.#memory(step, instructions)));
    writeLong(attr, 0, PROG_LOAD_ATTR.license, BigInt(this.#checked(step, this.#scratch.cString('Dual BSD/GPL'))));
    writeInt(attr, 0, PROG_LOAD_ATTR.log_level, this.#options.log?.level ?? 0);
    writeInt(attr, 0, PROG_LOAD_ATTR.log_size, this.#options.log?.size ?? 0);
    writeLong(attr, 0, PROG_LOAD_ATTR.log_buf, BigInt(this.#logBuffer));
    writeInt(attr, 0, PROG_LOAD_ATTR.prog_flags, BPF_F_SLEEPABLE);
    writeName(attr, 0, PROG_LOAD_ATTR.prog_name, '__loader.prog');
    writeLong(attr, 0, PROG_LOAD_ATTR.fd_array, BigInt(this.#memory(step, bytesOf(fdArray))));
    if (signature !== undefined) {
      writeLong(attr, 0, PROG_LOAD_ATTR.signature, BigInt(this.#memory(step, signature.bytes)));
      writeInt(attr, 0, PROG_LOAD_ATTR.signature_size, signature.bytes.length);
      writeInt(attr, 0, PROG_LOAD_ATTR.keyring_id, this.#options.keyringID ?? KEY_SPEC_SESSION_KEYRING);
      if (this.#options.userSpace !== '6.18') writeInt(attr, 0, PROG_LOAD_ATTR.fd_array_cnt, 1);
    }
    this.#progFD = this.#checked(step, this.#bpf(step, U.BPF_PROG_LOAD, attr));
  }

  #testRun(): number {
    const step = 'execute loader prog';
    const attr = new DataView(new ArrayBuffer(TEST_RUN_SIZE));
    writeInt(attr, 0, TEST_RUN_ATTR.prog_fd, this.#progFD);
    writeLong(attr, 0, TEST_RUN_ATTR.ctx_in, BigInt(this.#context));
    writeInt(attr, 0, TEST_RUN_ATTR.ctx_size_in, this.#skeleton.contextSize);
    const address = this.#memory(step, bytesOf(attr));
    this.#checked(step, this.#port.bpf(U.BPF_PROG_TEST_RUN, address, TEST_RUN_SIZE));
    const after = viewOf(this.#port.readUser(address, TEST_RUN_SIZE));
    const retval = readInt(after, 0, TEST_RUN_ATTR.retval) | 0;
    if (retval < 0) throw new StepFailed('run of loader prog', -retval, retval);
    return retval;
  }

  #closeLoader(): void {
    if (this.#mapFD >= 0) this.#port.close(this.#mapFD);
    if (this.#progFD >= 0) this.#port.close(this.#progFD);
    this.#mapFD = -1;
    this.#progFD = -1;
  }

  /** `skel_finalize_map_data()`: the map takes the place of the copy, at the same address. */
  #finalize(): void {
    for (const [index, map] of this.#skeleton.maps.entries()) {
      const { data } = map;
      const address = this.#mappings.get(map.name);
      // A per-CPU section's own copy is only write-protected in the process; no map is mapped.
      if (data === undefined || address === undefined || data.access === 'protect') continue;
      const prot = data.access === 'read' ? PROT_READ : PROT_READ | PROT_WRITE;
      const fd = this.#contextInt(mapDescOffset(index));
      const mapped = this.#port.mmap(address, data.mmapSize, prot, MAP_SHARED | MAP_FIXED, fd, 0);
      // The C code answers -ENOMEM whatever mmap() said.
      if (mapped < 0) throw new StepFailed('map data section', ENOMEM);
      if (mapped !== address) throw new InternalError(`MAP_FIXED moved a mapping from ${address} to ${mapped}`);
    }
  }

  #contextInt(offset: number): number {
    return viewOf(this.#port.readUser(this.#context + offset, 4)).getInt32(0, true);
  }

  /** Offset of program `index` in the struct; `structOpsSize` bytes of pointers come before. */
  #programOffset(index: number): number {
    return progDescOffset(this.#skeleton.maps.length, index) + this.#skeleton.structOpsSize;
  }

  #loaded(retval: number): LoadedSkeleton {
    const maps = this.#skeleton.maps.map((map, index): LoadedMap => ({
      name: map.name,
      fd: this.#contextInt(mapDescOffset(index)),
      address: this.#mappings.get(map.name),
      mmapSize: map.data?.mmapSize ?? 0,
    }));
    const programs = this.#skeleton.programs.map((program, index): LoadedProgram => ({
      name: program.name, fd: this.#contextInt(this.#programOffset(index)),
    }));
    return { errno: 0, retval, log: this.#log(), maps, programs };
  }

  /** `NAME__destroy()` after a failure: a loader that failed has written no fd, one that finished has. */
  #closePayload(): void {
    if (this.#context === 0) return;
    const { maps, programs } = this.#skeleton;
    const fds = [...programs.map((_, i) => this.#contextInt(this.#programOffset(i))), ...maps.map((_, i) => this.#contextInt(mapDescOffset(i)))];
    for (const fd of fds) if (fd > 0) this.#port.close(fd);
  }

  #bpf(step: LoadStep, cmd: number, attr: DataView): number {
    return this.#port.bpf(cmd, this.#memory(step, bytesOf(attr)), attr.byteLength);
  }

  /** Text in the log buffer up to its first NUL, one character a byte. */
  #log(): string {
    const size = this.#options.log?.size ?? 0;
    if (this.#logBuffer <= 0 || size === 0) return '';
    for (let length = Math.min(size, LOG_STEP); ; length = Math.min(size, 4 * length)) {
      const bytes = this.#port.readUser(this.#logBuffer, length);
      if (length === size || bytes.includes(0)) return latin1UpToNUL(bytes);
    }
  }
}

/**
 * `NAME__PROGRAM__attach()`: attaches one program as the skeleton's C code does.
 * @returns the link's fd, 0 where the skeleton does not attach that kind of program, or `-errno`
 */
export function attachProgram(port: Port, skeleton: LightSkeleton, program: LoadedProgram): number {
  const attach = skeleton.programs.find((candidate) => candidate.name === program.name)?.attach ?? { kind: 'none' };
  if (attach.kind === 'none') return 0;
  const scratch = new Scratch(port);
  try {
    if (attach.kind === 'iter') return attachIterator(port, scratch, program.fd);
    const attr = attrBytes(RAW_TRACEPOINT_ATTR.prog_fd);
    const name = attach.name === undefined ? 0 : scratch.cString(attach.name);
    if (name < 0) return name;
    writeLong(attr, 0, RAW_TRACEPOINT_ATTR.name, BigInt(name));
    writeInt(attr, 0, RAW_TRACEPOINT_ATTR.prog_fd, program.fd);
    return call(port, scratch, U.BPF_RAW_TRACEPOINT_OPEN, attr);
  } finally {
    scratch.release();
  }
}

function attachIterator(port: Port, scratch: Scratch, fd: number): number {
  const attr = attrBytes(LINK_CREATE_ATTR.iter_info_len);
  writeInt(attr, 0, LINK_CREATE_ATTR.prog_fd, fd);
  writeInt(attr, 0, LINK_CREATE_ATTR.attach_type, U.BPF_TRACE_ITER);
  return call(port, scratch, U.BPF_LINK_CREATE, attr);
}

function call(port: Port, scratch: Scratch, cmd: number, attr: DataView): number {
  const address = scratch.bytes(bytesOf(attr));
  return address < 0 ? address : port.bpf(cmd, address, attr.byteLength);
}

/** A zeroed `union bpf_attr` that ends after `last`: `offsetofend`. */
function attrBytes(last: Field): DataView {
  return new DataView(new ArrayBuffer(last.offset + last.size));
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
