/**
 * @module src/bench/admission
 * Admissions that can be repeated: one `BPF_PROG_LOAD` with its maps and signature, or one light skeleton from its first call to its last
 * mapping. Everything that is not admission (booting, keys, making and filling the maps of a single load, taking down) lies outside of
 * what is timed. Owns the set-up; does not own how often it is repeated or what is done with the times.
 */
import { ALL_ALGORITHMS } from '../../crypto/algorithms.ts';
import { sha256 } from '../../crypto/digest.ts';
import { MAP_CREATE_ATTR, MAP_ELEM_ATTR, PROG_LOAD_ATTR, writeInt, writeLong, writeName, type Field } from '../../isa/attr.ts';
import { errnoName } from '../../isa/errno.ts';
import { InternalError } from '../../isa/errors.ts';
import type { Phases } from '../../isa/phases.ts';
import * as U from '../../isa/uapi.ts';
import type { SystemCall } from '../../kernel/api.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { destroySkeleton, isLoaded, KEY_SPEC_SESSION_KEYRING, loadAndRun } from '../../loader/load-and-run.ts';
import { Scratch } from '../../loader/port.ts';
import type { LightSkeleton } from '../../loader/skeleton.ts';
import type { PhaseClock, Recorded } from './phases.ts';

/** A kernel version whose rules are followed. */
export type Contract = '7.3' | '6.18';

/** Something that can be admitted again and again. */
export interface Admission {
  /** Admits once, timed, and takes everything down again, not timed. */
  perform(): Recorded;
  /** Admits once, not timed, with statistics; the system calls that were made. */
  observe(): readonly SystemCall[];
}

/** What every admission needs. */
export interface AdmissionOptions {
  readonly clock: PhaseClock;
  /** Where the kernel says what it is doing: the clock, or nobody for an undisturbed measurement of the whole. */
  readonly phases: Phases | undefined;
  readonly kernelBTF?: () => Uint8Array;
  /** Trusted certificates, DER. */
  readonly certificates?: readonly Uint8Array[];
  readonly contract?: Contract;
}

/** Room for the last line of every log, which is all that is wanted. */
const STATISTICS = { level: 4, size: 1 << 16 } as const;

/** Boots a kernel that trusts the certificates and has a security module that looks at every load. */
function boot(options: AdmissionOptions, observer?: (call: SystemCall) => void): Kernel {
  const { phases, kernelBTF, certificates = [], contract = '7.3' } = options;
  const kernel = new Kernel({
    profile: contract, algorithms: ALL_ALGORITHMS,
    ...(phases === undefined ? {} : { phases }), ...(kernelBTF === undefined ? {} : { kernelBTF }), ...(observer === undefined ? {} : { observer }),
  });
  kernel.hooks.attach('bpf_prog_load', ({ signature }) => (signature.verdict > 1 ? -1 : 0));
  for (const certificate of certificates) {
    const serial = kernel.addKey('asymmetric', 'bench', certificate, KEY_SPEC_SESSION_KEYRING);
    if (serial < 0) throw new InternalError(`the kernel does not take a key of the benchmark: ${errnoName(-serial)}`);
  }
  // The kernel's types are there before anything is loaded.
  kernel.state.publishKernelBTF();
  return kernel;
}

/** One load of a program. */
export interface ProgramSpec {
  readonly instructions: Uint8Array;
  /** Contents of the maps that are folded into the signature; one frozen array each. */
  readonly maps: readonly Uint8Array[];
  /** Over instructions and maps; unsigned without. */
  readonly signature: Uint8Array | undefined;
}

/** Repeats one `BPF_PROG_LOAD`. */
export class ProgramAdmission implements Admission {
  readonly #spec: ProgramSpec;
  readonly #options: AdmissionOptions;
  readonly #kernel: Kernel;
  readonly #attr: number;

  constructor(spec: ProgramSpec, options: AdmissionOptions) {
    this.#spec = spec;
    this.#options = options;
    this.#kernel = boot(options);
    this.#attr = this.#prepare(this.#kernel);
  }

  perform(): Recorded {
    const { clock } = this.#options;
    clock.begin();
    const fd = this.#kernel.bpf(U.BPF_PROG_LOAD, this.#attr, LOAD_SIZE);
    const recorded = clock.end();
    checked('BPF_PROG_LOAD', fd);
    this.#kernel.close(fd);
    return recorded;
  }

  observe(): readonly SystemCall[] {
    const calls: SystemCall[] = [];
    const kernel = boot({ ...this.#options, phases: undefined }, (call) => calls.push(call));
    const attr = this.#prepare(kernel, true);
    // Making the maps is not what is counted.
    calls.length = 0;
    checked('BPF_PROG_LOAD', kernel.bpf(U.BPF_PROG_LOAD, attr, LOAD_SIZE));
    return calls;
  }

  /** Maps and user memory of the load; the address of its attributes. */
  #prepare(kernel: Kernel, isLogged = false): number {
    const { instructions, maps, signature } = this.#spec, scratch = new Scratch(kernel);
    const memory = (bytes: Uint8Array): bigint => BigInt(checked('memory', scratch.bytes(bytes)));
    const digest = sha256(instructions), attr = attrUpTo(PROG_LOAD_ATTR.keyring_id), fds = new Int32Array(maps.map((contents) => createFrozenMap(kernel, contents, digest)));
    writeInt(attr, 0, PROG_LOAD_ATTR.prog_type, U.BPF_PROG_TYPE_SCHED_CLS);
    writeInt(attr, 0, PROG_LOAD_ATTR.insn_cnt, instructions.length / 8);
    writeLong(attr, 0, PROG_LOAD_ATTR.insns, memory(instructions));
    writeLong(attr, 0, PROG_LOAD_ATTR.license, BigInt(checked('memory', scratch.cString('GPL'))));
    writeName(attr, 0, PROG_LOAD_ATTR.prog_name, 'bench');
    if (fds.length > 0) {
      writeLong(attr, 0, PROG_LOAD_ATTR.fd_array, memory(new Uint8Array(fds.buffer)));
      writeInt(attr, 0, PROG_LOAD_ATTR.fd_array_cnt, fds.length);
    }
    if (signature !== undefined) {
      writeLong(attr, 0, PROG_LOAD_ATTR.signature, memory(signature));
      writeInt(attr, 0, PROG_LOAD_ATTR.signature_size, signature.length);
      writeInt(attr, 0, PROG_LOAD_ATTR.keyring_id, KEY_SPEC_SESSION_KEYRING);
    }
    if (isLogged) {
      writeInt(attr, 0, PROG_LOAD_ATTR.log_level, STATISTICS.level);
      writeInt(attr, 0, PROG_LOAD_ATTR.log_size, STATISTICS.size);
      writeLong(attr, 0, PROG_LOAD_ATTR.log_buf, BigInt(checked('memory', scratch.zeroed(STATISTICS.size))));
    }
    return checked('memory', scratch.bytes(bytesOf(attr)));
  }
}

/** Repeats the load of a light skeleton. */
export class SkeletonAdmission implements Admission {
  readonly #skeleton: LightSkeleton;
  readonly #options: AdmissionOptions;
  readonly #kernel: Kernel;

  constructor(skeleton: LightSkeleton, options: AdmissionOptions) {
    this.#skeleton = skeleton;
    this.#options = options;
    this.#kernel = boot(options);
  }

  perform(): Recorded {
    return this.#load(this.#kernel, undefined);
  }

  observe(): readonly SystemCall[] {
    const calls: SystemCall[] = [];
    this.#load(boot({ ...this.#options, phases: undefined }, (call) => calls.push(call)), STATISTICS);
    return calls;
  }

  #load(kernel: Kernel, log: typeof STATISTICS | undefined): Recorded {
    const { clock, contract = '7.3' } = this.#options;
    clock.begin();
    const outcome = loadAndRun(kernel, this.#skeleton, { userSpace: contract, ...(log === undefined ? {} : { log }) });
    const recorded = clock.end();
    if (!isLoaded(outcome)) throw new InternalError(`the benchmark's skeleton ${this.#skeleton.name} does not load: ${outcome.message}, ${errnoName(outcome.errno)}\n${outcome.log}`);
    destroySkeleton(kernel, outcome);
    return recorded;
  }
}

const LOAD_SIZE = PROG_LOAD_ATTR.keyring_id.offset + PROG_LOAD_ATTR.keyring_id.size;

function checked(what: string, result: number): number {
  if (result < 0) throw new InternalError(`${what} of the benchmark: ${errnoName(-result)}`);
  return result;
}

function attrUpTo(last: Field): DataView {
  return new DataView(new ArrayBuffer(last.offset + last.size));
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** An array of one element that only the program with this digest may use, filled and frozen: what a signature can cover. */
function createFrozenMap(kernel: Kernel, contents: Uint8Array, digest: Uint8Array): number {
  const scratch = new Scratch(kernel);
  const call = (what: string, cmd: number, attr: DataView): number => checked(what, kernel.bpf(cmd, checked('memory', scratch.bytes(bytesOf(attr))), attr.byteLength));
  try {
    const create = attrUpTo(MAP_CREATE_ATTR.excl_prog_hash_size), element = attrUpTo(MAP_ELEM_ATTR.flags), freeze = attrUpTo(MAP_ELEM_ATTR.map_fd);
    writeInt(create, 0, MAP_CREATE_ATTR.map_type, U.BPF_MAP_TYPE_ARRAY);
    writeInt(create, 0, MAP_CREATE_ATTR.key_size, 4);
    writeInt(create, 0, MAP_CREATE_ATTR.value_size, contents.length);
    writeInt(create, 0, MAP_CREATE_ATTR.max_entries, 1);
    writeName(create, 0, MAP_CREATE_ATTR.map_name, 'bench');
    writeLong(create, 0, MAP_CREATE_ATTR.excl_prog_hash, BigInt(checked('memory', scratch.bytes(digest))));
    writeInt(create, 0, MAP_CREATE_ATTR.excl_prog_hash_size, digest.length);
    const fd = call('BPF_MAP_CREATE', U.BPF_MAP_CREATE, create);
    writeInt(element, 0, MAP_ELEM_ATTR.map_fd, fd);
    writeLong(element, 0, MAP_ELEM_ATTR.key, BigInt(checked('memory', scratch.bytes(new Uint8Array(4)))));
    writeLong(element, 0, MAP_ELEM_ATTR.value, BigInt(checked('memory', scratch.bytes(contents))));
    call('BPF_MAP_UPDATE_ELEM', U.BPF_MAP_UPDATE_ELEM, element);
    writeInt(freeze, 0, MAP_ELEM_ATTR.map_fd, fd);
    call('BPF_MAP_FREEZE', U.BPF_MAP_FREEZE, freeze);
    return fd;
  } finally {
    scratch.release();
  }
}
