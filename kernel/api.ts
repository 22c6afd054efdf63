/**
 * @module kernel/api
 * What the outside sees of a kernel instance: options, hook signatures, audit snapshots, the system-call observer. Types and
 * constants only; the behaviour is in `kernel.ts`.
 */
import type { KernelAlgorithms } from '../crypto/algorithms.ts';
import type { Phases } from '../isa/phases.ts';
import type { Admission } from '../verifier/types.ts';
import type { AddressSpace } from '../vm/address-space.ts';
import type { Tier } from '../vm/types.ts';

/** Capability numbers of `include/uapi/linux/capability.h` that `bpf(2)` asks for. */
export const CAP_NET_ADMIN = 12;
export const CAP_SYS_ADMIN = 21;
export const CAP_PERFMON = 38;
export const CAP_BPF = 39;

/** Every capability of Linux 7.3 (bits 0 to 40). */
export const CAP_FULL_SET = 0x1ffffffffffn;

/** Bits of `mmap`'s `prot`. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;

/** How programs are run. Results do not depend on it. */
export interface EngineOptions {
  /** Default `auto`: the machine's policy. */
  readonly tier?: Tier;
  /** Compiles with the platform's optimising compiler at once (`bpftwin/node` has one). */
  readonly compileOptimised?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
  /** Milliseconds, for the times in the statistics; without it they are 0. */
  readonly clock?: () => number;
  /** False: helpers are always called outside the module. */
  readonly inModule?: boolean;
}

/** How a kernel instance is set up. Everything is optional; the default is Linux 7.3 as root, with no certificates. */
export interface KernelOptions {
  /** `"7.3"` (default) or `"6.18"`, see docs/architecture.md. */
  readonly profile?: string;
  /** Seed of every source of randomness (default 1): the same seed and input give the same output, byte for byte. */
  readonly seed?: number;
  /** Gives the raw BTF of the kernel; called at most once, when something first needs it. Absent: a kernel built without BTF. */
  readonly kernelBTF?: () => Uint8Array;
  /** Effective capability set, bit `n` for capability `n`; default {@link CAP_FULL_SET}. */
  readonly capabilities?: bigint;
  /** X.509 certificates (DER) in the system keyrings. */
  readonly certificates?: {
    readonly builtin?: readonly Uint8Array[];
    readonly secondary?: readonly Uint8Array[];
    readonly platform?: readonly Uint8Array[];
  };
  /** What the kernel can verify (crypto/algorithms.ts); default: a distribution's kernel. */
  readonly algorithms?: KernelAlgorithms;
  /** Hashes that no certificate may have: `tbs:` and the SHA-256 of its signed part in hexadecimal. */
  readonly blacklist?: readonly string[];
  /** The sysctl `kernel.unprivileged_bpf_disabled` (0, 1, 2); default 0, as on the recorded kernel. */
  readonly unprivilegedBPFDisabled?: number;
  /** Possible CPUs, 1 to 64; default 2. */
  readonly cpus?: number;
  /** Nanoseconds since boot when the instance starts; default 1 s. */
  readonly bootTime?: number;
  /** Real time at boot, seconds since 1970: certificates and keys expire by it; default 2026-01-01. */
  readonly realTimeOffset?: number;
  /** Largest memory of the instance in bytes; default 2 GiB. Allocations beyond give `ENOMEM`. */
  readonly memoryLimit?: number;
  /** Memory to work in, fresh or reset, instead of one of its own; `memoryLimit` is then the space's affair. */
  readonly space?: AddressSpace;
  /** Beyond Linux: signatures must also be canonical DER by a certificate that is valid now and may sign (`crypto/strict.ts`). */
  readonly strict?: boolean;
  readonly engine?: EngineOptions;
  /** Sees every `bpf()` call, from user space and from programs, after it returned. */
  readonly observer?: SystemCallObserver;
  /** Hears which part of an admission is under way, for measurements; changes nothing that the kernel does. */
  readonly phases?: Phases;
}

/** One finished `bpf()` call. */
export interface SystemCall {
  /** Command number without `BPF_COMMON_ATTRS`. */
  readonly cmd: number;
  /** Command name without `BPF_`, or the number as text. */
  readonly name: string;
  /** `size` argument. */
  readonly size: number;
  /** Bytes of `union bpf_attr` as the kernel copied them (before the call), at most the kernel's own size. */
  readonly attr: Uint8Array;
  /** Decoded arguments, in the order of the fields: numbers, strings and short descriptions. */
  readonly args: Readonly<Record<string, number | bigint | string>>;
  /** `>= 0` or `-errno`. */
  readonly result: number;
  /** True where a program issued the call (`bpf_sys_bpf`), false from user space. */
  readonly fromProgram: boolean;
  /** The verifier or BTF log of the call as far as one was asked for. */
  readonly log: string;
}

/** Called once per finished `bpf()` call. */
export type SystemCallObserver = (call: SystemCall) => void;

/** What an LSM sees of a map. */
export interface MapView {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly frozen: boolean;
  readonly exclusiveDigest: Uint8Array | undefined;
}

/** What an LSM sees of a program. `id` is 0 before it is published and again when it is freed. */
export interface ProgramView {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly expectedAttachType: number;
  readonly sleepable: boolean;
  readonly gplCompatible: boolean;
  readonly instructionCount: number;
  /** 8 bytes; zeros before verification. */
  readonly tag: Uint8Array;
  /** `prog->aux->sig`. */
  readonly signature: { readonly verdict: 0 | 1; readonly keyringType: number; readonly keyringSerial: number };
}

/** LSM hooks by name; each returns 0 to allow or `-errno` (a `void` hook cannot refuse). */
export interface LSMHooks {
  /** `security_bpf(cmd, attr, size, kernel)`: before every command. `attr` may be read, not changed. */
  bpf(cmd: number, attr: Uint8Array, size: number, kernel: boolean): number;
  /** `security_bpf_map(map, fmode)`: an fd for a map is minted. `fmode` 1 read, 2 write, 3 both. */
  bpf_map(map: MapView, fmode: number): number;
  /** `security_bpf_prog(prog)`: an fd for a program is minted. */
  bpf_prog(prog: ProgramView): number;
  bpf_map_create(map: MapView, attr: Uint8Array, kernel: boolean): number;
  bpf_map_free(map: MapView): void;
  /** After admission, before the program is verified. */
  bpf_prog_load(prog: ProgramView, attr: Uint8Array, kernel: boolean, admission: Admission): number;
  bpf_prog_free(prog: ProgramView): void;
}

export type LSMHookName = keyof LSMHooks;

/** One open file descriptor. */
export interface FileView {
  readonly fd: number;
  readonly kind: 'map' | 'prog' | 'btf' | 'link' | 'stats' | 'other';
  /** Id of the object, 0 where it has none. */
  readonly id: number;
}

/** Snapshot of a map for audits. */
export interface MapSnapshot extends MapView {
  readonly refcount: number;
  readonly userRefcount: number;
  readonly btfID: number;
}

/** Snapshot of a program for audits. */
export interface ProgramSnapshot extends ProgramView {
  readonly refcount: number;
  readonly mapIDs: readonly number[];
  readonly btfID: number;
  /** Instructions as they were passed to `PROG_LOAD`. */
  readonly instructions: Uint8Array;
  /** Instructions after verification. */
  readonly xlated: Uint8Array;
  /** False where only admission and structural checks ran. */
  readonly fullyVerified: boolean;
  /** Kernel's log verdict statistics. */
  readonly verifiedInstructions: number;
  readonly license: string;
  readonly flags: number;
}

/** Snapshot of a BTF object for audits. */
export interface BTFSnapshot {
  readonly id: number;
  readonly refcount: number;
  readonly size: number;
}

/** Everything alive in a kernel instance. */
export interface KernelObjects {
  readonly files: readonly FileView[];
  readonly maps: readonly MapSnapshot[];
  readonly programs: readonly ProgramSnapshot[];
  readonly btfs: readonly BTFSnapshot[];
  readonly links: readonly { readonly id: number; readonly type: number; readonly programID: number; readonly refcount: number }[];
}

/** Fault injection: return true to make the `n`-th event (from 1) of a kind fail. */
export interface FaultInjector {
  /** A `bpf()` call about to start; a number is its result instead of performing it. */
  systemCall?(count: number, cmd: number, fromProgram: boolean): number | undefined;
  /** An allocation of kernel memory (`-ENOMEM`) or of a file descriptor (`-EMFILE`). */
  allocation?(count: number, what: 'memory' | 'fd'): boolean;
}
