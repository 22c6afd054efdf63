/**
 * @module src/policy
 * LSM policies for `run`: objects whose LSM programs are loaded and attached in the kernel before the skeleton comes. Owns loading,
 * attaching and the report of what they answered; the hooks are the kernel's (`kernel/lsm.ts`).
 */
import { RAW_TRACEPOINT_ATTR, writeInt } from '../isa/attr.ts';
import { errnoName } from '../isa/errno.ts';
import { InputError } from '../isa/errors.ts';
import { BPF_PROG_TYPE_LSM, BPF_RAW_TRACEPOINT_OPEN } from '../isa/uapi.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { AttachedLSMProgram } from '../kernel/lsm.ts';
import { defaultObjectName } from '../loader/gen/skeleton-model.ts';
import { keepObject } from '../loader/object/load-object.ts';
import { openObject } from '../loader/object/open.ts';
import { Scratch } from '../loader/port.ts';
import { applyPresets, type Preset } from './veristat/presets.ts';

/** An object with LSM programs. */
export interface Policy {
  readonly file: string;
  readonly bytes: Uint8Array;
  /** First values of its global variables. */
  readonly presets?: readonly Preset[];
}

/** What a program of a policy did, in the JSON of `run -j`. */
export interface ReportedPolicy {
  readonly object: string;
  readonly program: string;
  readonly hook: string;
  readonly runs: number;
  /** Runs whose answer refused what was asked. */
  readonly refusals: number;
  /** Why a run could not be performed to its end, which refuses with `EFAULT`; `null` where none was cut short. */
  readonly fault: string | null;
}

const SHORT_LOG = { level: 1, size: 1 << 20 } as const;

/** Policies in a kernel. */
export class Policies {
  readonly #kernel: Kernel;
  /** Files of the programs, by the id of the program. */
  readonly #files: Map<number, string> = new Map();
  /** What programs had been asked when the skeleton came: they are asked about policies that are attached after them, too. */
  #before: ReadonlyMap<number, AttachedLSMProgram> = new Map();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * Loads a policy and attaches its LSM programs.
   *
   * @throws InputError where the object cannot be opened or has no LSM program, or the kernel refuses one
   */
  attach({ file, bytes, presets = [] }: Policy): void {
    const kernel = this.#kernel, { state } = kernel, object = openObject(bytes, file, defaultObjectName(file));
    applyPresets(object, presets);
    const kept = keepObject(kernel, object, bytes, {
      kernel: { btf: state.kernelBTF(), symbol: (name) => state.symbols.lookup(name) }, log: SHORT_LOG,
    });
    if (!('programFDs' in kept)) {
      throw new InputError(file, `program ${kept.name}`, `${kept.reason ?? `the kernel refuses it (${errnoName(kept.errno)})`}\n${kept.log}`.trimEnd());
    }
    const { attached } = state.lsm, before = attached.length;
    for (const [name, fd] of kept.programFDs) {
      const program = state.programByFD(fd);
      if (typeof program === 'number' || program.type !== BPF_PROG_TYPE_LSM) continue;
      const link = this.#link(fd);
      if (link < 0) throw new InputError(file, `program ${name}`, `cannot be attached: ${errnoName(-link)}`);
      this.#files.set(program.id, file);
    }
    if (attached.length === before) throw new InputError(file, '', 'no LSM program in it');
  }

  /** All policies are attached: from here on is counted. */
  begin(): void {
    this.#before = new Map(this.#kernel.state.lsm.attached.map((entry) => [entry.program.id, { ...entry }]));
  }

  /** What the programs did since {@link begin}, in the order of attachment. */
  report(): ReportedPolicy[] {
    return this.#kernel.state.lsm.attached.flatMap(({ program, hook, runs, refusals, fault }) => {
      const object = this.#files.get(program.id), before = this.#before.get(program.id);
      if (object === undefined) return [];
      return [{ object, program: program.name, hook, runs: runs - (before?.runs ?? 0), refusals: refusals - (before?.refusals ?? 0), fault: fault ?? null }];
    });
  }

  #link(fd: number): number {
    const scratch = new Scratch(this.#kernel), attr = new DataView(new ArrayBuffer(RAW_TRACEPOINT_ATTR.cookie.offset + 8));
    try {
      writeInt(attr, 0, RAW_TRACEPOINT_ATTR.prog_fd, fd);
      const address = scratch.bytes(new Uint8Array(attr.buffer));
      return address < 0 ? address : this.#kernel.bpf(BPF_RAW_TRACEPOINT_OPEN, address, attr.byteLength);
    } finally {
      scratch.release();
    }
  }
}
