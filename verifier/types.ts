/**
 * @module verifier/types
 * What goes into the verifier and what comes out: plain data and a few callbacks, no file descriptors of its own, no time,
 * no randomness. The kernel room builds a {@link ProgramLoad} and a {@link VerifierEnvironment} and interprets the
 * {@link Verdict}.
 */
import type { BTF } from '../btf/btf.ts';
import type { FieldRecord } from '../btf/record.ts';
import type { Phases } from '../isa/phases.ts';

/** A map as the verifier sees it. The kernel's map objects implement it; identity (`===`) is map identity. */
export interface MapDescriptor {
  readonly kind: 'map';
  readonly id: number;
  readonly name: string;
  /** `BPF_MAP_TYPE_*` */
  readonly type: number;
  /** Bytes. */
  readonly keySize: number;
  /** Bytes. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** `BPF_F_*` creation flags. */
  readonly flags: number;
  readonly mapExtra: bigint;
  readonly frozen: boolean;
  /** True while a writable mapping or an update from user space is under way. */
  readonly hasActiveWriters: boolean;
  /** 32 bytes, the digest of the one program that may use an exclusive map. */
  readonly exclusiveDigest: Uint8Array | undefined;
  readonly btf: BTF | undefined;
  readonly btfKeyTypeID: number;
  readonly btfValueTypeID: number;
  /** Type of a struct_ops map's value in the kernel's BTF, 0 for others. */
  readonly btfVmlinuxValueTypeID: number;
  /** The template of a map-in-map. */
  readonly innerMap: MapDescriptor | undefined;
  /** Special fields of the value, where they are known without its type. */
  readonly record?: FieldRecord | undefined;
  /** True for an instruction array that a program was loaded with: it serves no second one. */
  readonly isUsed?: boolean;
  /** False for a map of a user without `CAP_PERFMON`: indices are masked against what a processor guesses. */
  readonly bypassesSpecV1?: boolean;
  /** Low 32 bits (offset in the linear memory) of the address of `struct bpf_map`. */
  readonly address: number;
  /**
   * Low 32 bits of the address that `map_direct_value_addr` gives for byte `offset` of the value, or `-errno` (arrays with one
   * element, arenas, instruction arrays; others `-EINVAL`… as the kernel decides).
   */
  directValueAddress(offset: number): number;
  /** The bytes a signature folds in: the whole value of a plain one-element array, to be read at once; `-errno` otherwise. */
  signedContents(): Uint8Array | number;
  /**
   * Reads `size` (1, 2, 4, 8) bytes of a frozen read-only value as lo/hi words, for constant propagation; undefined if not allowed.
   * Of an instruction array: of `struct bpf_insn_array_value`s (16 bytes each), as user space stored them.
   */
  readDirectValue(offset: number, size: number): readonly [lo: number, hi: number] | undefined;
}

/** A BTF object behind a file descriptor. */
export interface BTFDescriptor {
  readonly kind: 'btf';
  readonly id: number;
  readonly btf: BTF;
  /** True for BTF of the kernel or a module. */
  readonly isKernel: boolean;
}

/** What a program that attaches to a function has to know of it (`struct bpf_func_info_aux`, `struct bpf_prog_aux`). */
export interface FunctionFacts {
  /** BTF does not describe its arguments truly. */
  readonly unreliable: boolean;
  readonly isExceptionCallback: boolean;
  readonly changesPacketData: boolean;
  readonly mightSleep: boolean;
}

/** A loaded program, as attach target (`attach_prog_fd`) or tail-call peer. */
export interface ProgramDescriptor {
  readonly kind: 'prog';
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly expectedAttachType: number;
  readonly btf: BTF | undefined;
  /** Functions that BTF describes, main program first. */
  readonly functions: readonly (FunctionFacts & { readonly typeID: number })[];
  /** The main program gets a pointer into an arena as argument (`bpf_prog_has_arena_ctx_arg`). */
  readonly hasArenaArgument: boolean;
  readonly sleepable: boolean;
  readonly jited: boolean;
  /** A tracing program that traces a tracing program (`attach_tracing_prog`). */
  readonly tracesTracing: boolean;
}

/** Credentials of the load, already resolved from capabilities and token. */
export interface LoadCapabilities {
  readonly bpf: boolean;
  readonly perfmon: boolean;
  readonly netAdmin: boolean;
  readonly sysAdmin: boolean;
  /** For destructive kernel functions; as `sysAdmin` where it is not given. */
  readonly sysBoot?: boolean;
}

/** `BPF_PROG_LOAD` after the field rules of the system call: everything copied from user memory, nothing verified. */
export interface ProgramLoad {
  /** `BPF_PROG_TYPE_*` */
  readonly type: number;
  readonly expectedAttachType: number;
  readonly flags: number;
  readonly name: string;
  readonly license: string;
  readonly gplCompatible: boolean;
  readonly kernelVersion: number;
  readonly ifindex: number;
  /** 8 bytes an instruction, as passed. */
  readonly instructions: Uint8Array;
  readonly attachBTFID: number;
  readonly attachBTF: BTFDescriptor | undefined;
  readonly attachProgram: ProgramDescriptor | undefined;
  /** `prog_btf_fd`, 0 for none. */
  readonly btfFD: number;
  readonly funcInfo: UserArray;
  readonly lineInfo: UserArray;
  readonly coreRelos: UserArray;
  /** `fd_array`; `count` is `fd_array_cnt`. `read(i)` gives an fd or `undefined` where user memory faults. */
  readonly fdArray: { readonly present: boolean; readonly count: number; read(index: number): number | undefined };
  /** Non-null `attr->signature`. `read()` gives `undefined` where user memory faults. */
  readonly signature: { readonly size: number; readonly keyringID: number; read(): Uint8Array | undefined } | undefined;
  readonly log: { readonly level: number; readonly size: number; readonly present: boolean };
  readonly capabilities: LoadCapabilities;
}

/** An array of records in user memory: `count` records of `recordSize` bytes. `read` gives `undefined` where memory faults. */
export interface UserArray {
  readonly count: number;
  readonly recordSize: number;
  /** True where the pointer is null. */
  readonly isNull: boolean;
  read(offset: number, length: number): Uint8Array | undefined;
}

/** Looks on while the paths of a program are followed. */
export interface StateObserver {
  /** True to follow every path to its end, also where an equal state was explored before. */
  readonly everyPath: boolean;
  /**
   * What is known before instruction `insn` is checked. The words hold the current frame at `frame`, laid out as `state.ts` says; they
   * change as soon as this returns.
   */
  visit(insn: number, words: Int32Array, frame: number): void;
}

/** What the verifier may ask of its surroundings while it works. All calls are pure reads of kernel state. */
export interface VerifierEnvironment {
  /** Resolves a file descriptor; `-errno` where it is not one of these objects (`-EBADF`, `-EINVAL`). */
  resolveFD(fd: number): MapDescriptor | BTFDescriptor | ProgramDescriptor | number;
  /** The kernel's own BTF; `undefined` on a kernel built without. Loaded on first use. */
  kernelBTF(): BTFDescriptor | undefined;
  /** Address and size facts of kernel symbols for typed ksyms and `kallsyms`; lo/hi words, `undefined` if unknown. */
  kernelSymbol(name: string): readonly [lo: number, hi: number] | undefined;
  /**
   * Verifies a detached PKCS#7 signature over `data` (insns‖maps; parts are not copied together first) against a keyring: 0 or
   * `-errno`. The keyring must have been resolved by `resolveKeyring`.
   */
  verifySignature(data: readonly Uint8Array[], signature: Uint8Array, keyring: ResolvedKeyring): number;
  /** Resolves `keyring_id`; `undefined` where it resolves to nothing. */
  resolveKeyring(keyringID: number): ResolvedKeyring | undefined;
  /** LSM hook `bpf_prog_load`, called after admission and before the program is verified: 0 or `-errno`. */
  onProgramLoad(admission: Admission): number;
  /** Seedable source for what the kernel randomises. */
  random(): number;
  /** Whole microseconds for "verification time", from the kernel instance's clock. */
  now(): number;
  readonly observer?: StateObserver | undefined;
  /** Hears which part of the load is under way. */
  readonly phases?: Phases | undefined;
  /** Possible CPUs (`nr_cpu_ids`). */
  readonly cpuCount?: number;
  /** Kernel profile, `"7.3"` or `"6.18"`. */
  readonly profile: string;
}

/** A keyring that a signature is checked against. `type` is `BPF_SIG_KEYRING_*` (1 builtin, 2 secondary, 3 platform, 4 user). */
export interface ResolvedKeyring {
  readonly type: number;
  /** Serial of a user keyring, 0 for system keyrings. */
  readonly serial: number;
  /** Opaque to the verifier. */
  readonly handle: unknown;
}

/** What an LSM sees of a load once admission is complete. */
export interface Admission {
  /** 0 unsigned, 1 verified. */
  readonly verdict: 0 | 1;
  /** `BPF_SIG_KEYRING_*`, 0 for none. */
  readonly keyringType: number;
  readonly keyringSerial: number;
  /** SHA-256 over the instructions as passed; `undefined` until it is computed. */
  readonly digest: Uint8Array | undefined;
  /** Maps bound through `fd_array` so far, in order. */
  readonly boundMaps: readonly MapDescriptor[];
}

/** A rewritten program and what of its descriptions is left. */
export interface XlatedProgram {
  /** 8 bytes each. Maps are addresses in 16-byte loads, functions of the program distances. */
  readonly instructions: Uint8Array;
  /** First instruction of each subprogram left; the last may be one of the kernel's own. */
  readonly subprograms: readonly number[];
  /** How many of them are the program's own. */
  readonly functionCount: number;
  /** `line_info` left: index of the record and its instruction. */
  readonly lines: readonly { readonly record: number; readonly instruction: number }[];
  /** `func_info` left, likewise. */
  readonly functions: readonly (FunctionFacts & { readonly record: number; readonly instruction: number })[];
  /** Where each instruction is now, -1 for one that is gone. */
  readonly position: Int32Array;
}

/** One program after verification, ready for an engine. */
export interface VerifiedProgram {
  /** What the machine executes: the instructions that were verified, 8 bytes each, with accesses that may fault marked. */
  readonly instructions: Uint8Array;
  /** The program as Linux rewrites it before it compiles it ("xlated"), addresses of the kernel left out. */
  readonly xlated: XlatedProgram;
  /** 8 bytes: the first 8 of the digest over instructions with map references zeroed. */
  readonly tag: Uint8Array;
  /** 32 bytes. */
  readonly digest: Uint8Array;
  readonly usedMaps: readonly MapDescriptor[];
  readonly usedBTFs: readonly BTFDescriptor[];
  /** First instruction of each subprogram, main program first. */
  readonly subprograms: readonly number[];
  /** Where the machine has each instruction as passed; absent where nothing moved. For jump tables. */
  readonly machineIndex?: Int32Array;
  /** Index in `subprograms` of the function that exceptions lead to. */
  readonly exceptionCallback?: number | undefined;
  /** Stack bytes by subprogram. */
  readonly stackDepths: readonly number[];
  readonly btf: BTFDescriptor | undefined;
  /** See {@link ProgramDescriptor.hasArenaArgument}. */
  readonly hasArenaArgument: boolean;
  readonly maxCtxOffset: number;
  readonly verifiedInstructions: number;
  /** True once abstract interpretation ran; false where only admission and the structural checks did. */
  readonly fullyVerified: boolean;
}

/** Statistics of the last line of the log. */
export interface VerifierStats {
  readonly instructionsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly maxStatesPerInstruction: number;
  readonly markRead: number;
}

/** The verifier's answer. */
export interface Verdict {
  /** 0 or a positive error number. */
  readonly errno: number;
  /** What the kernel would have put into the user's buffer, without the final NUL; `""` at level 0. */
  readonly log: string;
  /** `log_true_size`: bytes the whole log needs, with the final NUL. */
  readonly logTrueSize: number;
  readonly stats: VerifierStats;
  readonly admission: Admission;
  readonly program: VerifiedProgram | undefined;
}
