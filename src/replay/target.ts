/**
 * @module src/replay/target
 * What a transcript is performed on: a process in front of a kernel. Owns the contract; `kernel-target.ts` implements it on
 * our kernel.
 */
import type { Port } from '../../loader/port.ts';
import type { Admissions } from './transcript.ts';

/** The loader's port and the few system calls beside it that transcripts use. */
export interface ReplayTarget extends Port {
  /** `dup(2)`: another fd for the same open file, or `-errno`. */
  dup(fd: number): number;
  /** `add_key("asymmetric", name, der)` to the session keyring: a serial or `-errno`. */
  addKey(name: string, der: Uint8Array): number;
  /** `KEYCTL_GET_KEYRING_ID(id, create = 0)`: a serial or `-errno`. */
  keyringID(id: number): number;
  /** The effective capability set from here on. */
  setCapabilities(effective: bigint): void;
  /** All capabilities, an empty session keyring, no hooks. */
  resetProcess(): void;
  /** Hooks `bpf_prog_load` and starts counting. */
  watchAdmissions(): void;
  /** What the hook saw since it was asked last. */
  takeAdmissions(): Admissions;
  /** Objects (fds, maps, programs…) that are alive, for messages: none after everything was closed. */
  liveObjects(): readonly string[];
}
