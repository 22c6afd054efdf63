/**
 * @module loader/skeleton
 * The blueprint of a light skeleton: what a `.lskel.h` says, as plain data, without a kernel and without C. Owns the shape;
 * reading it from text is `lskel.ts`, loading it `load-and-run.ts`, explaining its bytes `metadata.ts`.
 */

/** How the skeleton's C code attaches a program (`skel_internal.h`). */
export type SkeletonAttach =
  | { readonly kind: 'none' }
  /** `BPF_RAW_TRACEPOINT_OPEN`; without a name for tracing and LSM programs, whose target is in the load. */
  | { readonly kind: 'raw_tracepoint'; readonly name: string | undefined }
  /** `BPF_LINK_CREATE` with `BPF_TRACE_ITER`. */
  | { readonly kind: 'iter' };

/** A global variable that the skeleton shows to C. */
export interface SkeletonVariable {
  /** `""` for padding. */
  readonly name: string;
  /** The C declaration as written, blanks folded. */
  readonly declaration: string;
  /** Bytes, from the skeleton's size assertion; `undefined` where there is none. */
  readonly size: number | undefined;
}

/** A data section that the skeleton maps into the process (`.data`, `.rodata`, `.bss`, …). */
export interface SkeletonData {
  readonly initialValue: Uint8Array;
  /** Bytes of the mapping, whole pages. */
  readonly mmapSize: number;
  /** What the C code does after the load: maps it for reading, for writing too, or only write-protects its own copy (per-CPU). */
  readonly access: 'read' | 'read-write' | 'protect';
  readonly variables: readonly SkeletonVariable[];
}

/** A map of the loader's context, in order. */
export interface SkeletonMap {
  readonly name: string;
  readonly line: number;
  readonly data: SkeletonData | undefined;
}

/** A program of the loader's context, in order. */
export interface SkeletonProgram {
  readonly name: string;
  readonly line: number;
  readonly attach: SkeletonAttach;
}

/** The signature of a signed skeleton. */
export interface SkeletonSignature {
  /** Detached PKCS#7, DER. */
  readonly bytes: Uint8Array;
  /** `excl_prog_hash`: 32 bytes where the generator was bpftool. */
  readonly exclusiveHash: Uint8Array;
  readonly line: number;
}

/** A whole light skeleton. */
export interface LightSkeleton {
  readonly file: string;
  readonly name: string;
  readonly maps: readonly SkeletonMap[];
  readonly programs: readonly SkeletonProgram[];
  /** Names of `links`, without `_fd`. */
  readonly links: readonly string[];
  /** Bytes of pointers that a `struct_ops` member puts between maps and programs. */
  readonly structOpsSize: number;
  /** Bytes of the loader's context: everything before `links`. */
  readonly contextSize: number;
  /** The blob that becomes the value of "__loader.map". */
  readonly metadata: Uint8Array;
  /** The loader program, 8 bytes an instruction. */
  readonly instructions: Uint8Array;
  readonly signature: SkeletonSignature | undefined;
  /** Functions that no generator writes, by name; they play no part in the load. */
  readonly extraFunctions: readonly string[];
}

/** `sizeof(struct bpf_loader_ctx)`. */
export const LOADER_CTX_SIZE = 24;
/** `sizeof(struct bpf_map_desc)`: `map_fd`, `max_entries`, `initial_value`. */
export const MAP_DESC_SIZE = 16;
/** `sizeof(struct bpf_prog_desc)`: `prog_fd`. */
export const PROG_DESC_SIZE = 4;

/** Offset of map `index` in the context. */
export function mapDescOffset(index: number): number {
  return LOADER_CTX_SIZE + MAP_DESC_SIZE * index;
}

/** Offset of program `index` in the context, as the loader's instructions know it (they know of no `struct_ops` member). */
export function progDescOffset(mapCount: number, index: number): number {
  return LOADER_CTX_SIZE + MAP_DESC_SIZE * mapCount + PROG_DESC_SIZE * index;
}
