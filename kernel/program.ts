/**
 * @module kernel/program
 * A loaded program: what the verifier gave back, the references it holds, `struct bpf_prog` and its `aux` in linear memory.
 * Owns the object; loading is `syscall/prog-load.ts`, running `run.ts`. Reproduces `struct bpf_prog`, `struct bpf_prog_aux`.
 */
import type { BTF } from '../btf/btf.ts';
import { EBUSY } from '../isa/errno.ts';
import { BPF_PROG_TYPE_EXT, BPF_PROG_TYPE_TRACING } from '../isa/uapi.ts';
import type { Admission, BTFDescriptor, ProgramDescriptor, VerifiedProgram } from '../verifier/types.ts';
import type { Program, ProgramImage } from '../vm/types.ts';
import type { ProgramSnapshot, ProgramView } from './api.ts';
import type { BPFMap } from './maps/map.ts';
import { type KernelMemory, KernelOutOfMemory } from './memory.ts';

/** Offsets of Linux 7.3.4 (x86-64, from its BTF): programs of tracing and LSM kinds read them. */
const PROG = { size: 96, flags: 2, sleepable: 4, type: 8, expectedAttachType: 12, length: 16, tag: 24, aux: 80 } as const;
const AUX = {
  size: 2032, references: 0, usedMapCount: 8, id: 32, attachBTFID: 48, sigVerdict: 276, prog: 1296, loadTime: 1312, verifiedInsns: 1320,
  name: 1344,
} as const;
const FLAG_JITED = 1;
const FLAG_GPL = 8;

/** Fields of `BPF_PROG_LOAD` that stay with the program. */
export interface ProgramAttributes {
  readonly name: string;
  readonly type: number;
  readonly expectedAttachType: number;
  readonly flags: number;
  readonly license: string;
  readonly gplCompatible: boolean;
  readonly sleepable: boolean;
  readonly attachBTFID: number;
  readonly instructions: Uint8Array;
  /** Nanoseconds since boot. */
  readonly loadTime: number;
  readonly userID: number;
  readonly xdpHasFrags: boolean;
  readonly isDeviceBound: boolean;
}

/** Who frees programs that nobody refers to any more. */
export interface ProgramHost {
  freeProgram(program: BPFProgram): void;
}

/** What the machine gets of a program, with the program that it belongs to. */
export interface OwnedImage extends ProgramImage {
  readonly owner: BPFProgram;
}

/** The program whose prepared form this is; `undefined` for one that no kernel prepared. */
export function programOf(prepared: Program): BPFProgram | undefined {
  return (prepared.image as Partial<OwnedImage>).owner;
}

const NO_BYTES: Uint8Array = new Uint8Array(0);
const UNSIGNED: Admission = { verdict: 0, keyringType: 0, keyringSerial: 0, digest: undefined, boundMaps: [] };

export class BPFProgram implements ProgramDescriptor {
  readonly kind = 'prog' as const;
  id = 0;
  readonly name: string;
  readonly type: number;
  expectedAttachType: number;
  readonly flags: number;
  readonly license: string;
  readonly gplCompatible: boolean;
  readonly sleepable: boolean;
  readonly attachBTFID: number;
  /** Kernel BTF that `attachBTFID` belongs to, and the program it replaces or traces. */
  readonly attachBTF: (BTFDescriptor & { put(): void }) | undefined;
  readonly attachProgram: BPFProgram | undefined;
  readonly instructions: Uint8Array;
  readonly loadTime: number;
  readonly userID: number;
  readonly xdpHasFrags: boolean;
  readonly isDeviceBound: boolean;
  /** Offset of `struct bpf_prog`. */
  readonly address: number;
  readonly auxAddress: number;
  references = 1;
  admission: Admission = UNSIGNED;
  verified: VerifiedProgram | undefined = undefined;
  usedMaps: BPFMap[] = [];
  usedBTFs: { put(): void; readonly id: number }[] = [];
  btfObject: (BTFDescriptor & { put(): void }) | undefined = undefined;
  funcInfo: Uint8Array = NO_BYTES;
  lineInfo: Uint8Array = NO_BYTES;
  funcInfoRecordSize = 8;
  lineInfoRecordSize = 16;
  runTime = 0;
  runCount = 0;
  recursionMisses = 0;
  /** Prepared for the machine on the first run. */
  prepared: Program | undefined = undefined;
  /** Struct_ops map of `BPF_PROG_ASSOC_STRUCT_OPS`, with a reference. */
  associated: BPFMap | undefined = undefined;
  /** Output streams 1 and 2 of the program (`bpf_stream_vprintk`). */
  readonly streams: readonly [Uint8Array[], Uint8Array[]] = [[], []];
  private readonly memory: KernelMemory;
  private readonly host: ProgramHost;

  constructor(
    memory: KernelMemory, attr: ProgramAttributes, attachBTF: (BTFDescriptor & { put(): void }) | undefined, attachProgram: BPFProgram | undefined,
    host: ProgramHost,
  ) {
    this.memory = memory;
    this.name = attr.name;
    this.type = attr.type;
    this.expectedAttachType = attr.expectedAttachType;
    this.flags = attr.flags;
    this.license = attr.license;
    this.gplCompatible = attr.gplCompatible;
    this.sleepable = attr.sleepable;
    this.attachBTFID = attr.attachBTFID;
    this.attachBTF = attachBTF;
    this.attachProgram = attachProgram;
    this.instructions = attr.instructions;
    this.loadTime = attr.loadTime;
    this.userID = attr.userID;
    this.xdpHasFrags = attr.xdpHasFrags;
    this.isDeviceBound = attr.isDeviceBound;
    this.host = host;
    this.address = memory.alloc(PROG.size, `prog ${attr.name}`);
    this.auxAddress = memory.tryAlloc(AUX.size, `prog aux ${attr.name}`);
    if (this.auxAddress === 0) {
      memory.free(this.address);
      throw new KernelOutOfMemory('prog aux');
    }
    this.writeStruct();
  }

  private writeStruct(): void {
    const { view, space } = this.memory;
    const at = this.address;
    view.setUint32(at + PROG.flags, FLAG_JITED | (this.gplCompatible ? FLAG_GPL : 0), true);
    view.setUint8(at + PROG.sleepable, this.sleepable ? 1 : 0);
    view.setUint32(at + PROG.type, this.type, true);
    view.setUint32(at + PROG.expectedAttachType, this.expectedAttachType, true);
    view.setUint32(at + PROG.length, this.instructions.length / 8, true);
    space.setPointer(at + PROG.aux, this.auxAddress);
    space.setPointer(this.auxAddress + AUX.prog, this.address);
    view.setUint32(this.auxAddress + AUX.attachBTFID, this.attachBTFID, true);
    view.setUint32(this.auxAddress + AUX.loadTime, this.loadTime % 0x100000000, true);
    view.setUint32(this.auxAddress + AUX.loadTime + 4, Math.floor(this.loadTime / 0x100000000), true);
    for (let i = 0; i < this.name.length && i < 15; i++) view.setUint8(this.auxAddress + AUX.name + i, this.name.charCodeAt(i));
  }

  /** Records what admission found out, where LSM programs look for it. */
  setAdmission(admission: Admission): void {
    this.admission = admission;
    const view = this.memory.view;
    view.setInt32(this.auxAddress + AUX.sigVerdict, admission.keyringSerial, true);
    view.setUint8(this.auxAddress + AUX.sigVerdict + 4, admission.keyringType);
    view.setUint8(this.auxAddress + AUX.sigVerdict + 5, admission.verdict);
  }

  setVerified(verified: VerifiedProgram): void {
    this.verified = verified;
    const { view, u8 } = this.memory;
    for (let i = 0; i < 8; i++) u8[this.address + PROG.tag + i] = verified.tag[i]!;
    view.setUint32(this.address + PROG.length, verified.xlated.instructions.length / 8, true);
    view.setUint32(this.auxAddress + AUX.verifiedInsns, verified.verifiedInstructions, true);
    if (this.type === BPF_PROG_TYPE_EXT) this.expectedAttachType = 0;
  }

  setID(id: number): void {
    this.id = id;
    this.memory.view.setUint32(this.auxAddress + AUX.id, id, true);
  }

  get(): void {
    this.references++;
  }

  put(): void {
    if (--this.references === 0) this.host.freeProgram(this);
  }

  /** Ties the program to a struct_ops map (`bpf_prog_assoc_struct_ops`): `-EBUSY` where it is tied to another. */
  associate(map: BPFMap): number {
    if (this.associated !== undefined && this.associated !== map) return -EBUSY;
    if (this.associated === undefined) {
      map.references++;
      this.associated = map;
    }
    return 0;
  }

  /** Frees its memory; the references it holds are the caller's business. */
  destroy(): void {
    this.memory.free(this.auxAddress);
    this.memory.free(this.address);
  }

  get btf(): BTF | undefined {
    return this.btfObject?.btf;
  }

  get jited(): boolean {
    return true;
  }

  get tracesTracing(): boolean {
    return this.type === BPF_PROG_TYPE_TRACING && this.attachProgram?.type === BPF_PROG_TYPE_TRACING;
  }

  get functions(): ProgramDescriptor['functions'] {
    const view = new DataView(this.funcInfo.buffer, this.funcInfo.byteOffset, this.funcInfo.byteLength);
    return (this.verified?.xlated.functions ?? []).map((facts) => ({ ...facts, typeID: view.getUint32(facts.record * 8 + 4, true) }));
  }

  get hasArenaArgument(): boolean {
    return this.verified?.hasArenaArgument === true;
  }

  view(): ProgramView {
    return {
      id: this.id, name: this.name, type: this.type, expectedAttachType: this.expectedAttachType, sleepable: this.sleepable,
      gplCompatible: this.gplCompatible, instructionCount: this.instructions.length / 8, tag: this.verified?.tag ?? new Uint8Array(8),
      signature: {
        verdict: this.admission.verdict, keyringType: this.admission.keyringType, keyringSerial: this.admission.keyringSerial,
      },
    };
  }

  snapshot(): ProgramSnapshot {
    return {
      ...this.view(), refcount: this.references, mapIDs: this.usedMaps.map((map) => map.id), btfID: this.btfObject?.id ?? 0,
      instructions: this.instructions.slice(), xlated: this.verified?.xlated.instructions.slice() ?? NO_BYTES,
      fullyVerified: this.verified?.fullyVerified ?? false, verifiedInstructions: this.verified?.verifiedInstructions ?? 0,
      license: this.license, flags: this.flags,
    };
  }
}
