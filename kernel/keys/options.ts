/**
 * @module kernel/keys/options
 * What keyrings are created with, and the special serial numbers that user space names keyrings by
 * (`include/uapi/linux/keyctl.h`).
 */
import type { KernelAlgorithms } from '../../crypto/algorithms.ts';
import type { Phases } from '../../isa/phases.ts';

/** Special serial numbers (`include/uapi/linux/keyctl.h`). */
export const KEY_SPEC_THREAD_KEYRING = -1;
export const KEY_SPEC_PROCESS_KEYRING = -2;
export const KEY_SPEC_SESSION_KEYRING = -3;
export const KEY_SPEC_USER_KEYRING = -4;
export const KEY_SPEC_USER_SESSION_KEYRING = -5;
export const KEY_SPEC_GROUP_KEYRING = -6;
export const KEY_SPEC_REQKEY_AUTH_KEY = -7;
export const KEY_SPEC_REQUESTOR_KEYRING = -8;

/** What a kernel is created with. Certificates are DER. */
export interface KeyringsOptions {
  /** Whole seconds since 1970, never going back. */
  readonly now: () => number;
  /** Any 32-bit number; serial numbers come from it. */
  readonly random: () => number;
  readonly algorithms?: KernelAlgorithms;
  readonly builtin?: readonly Uint8Array[];
  readonly secondary?: readonly Uint8Array[];
  /** `undefined`: a kernel without a platform keyring. */
  readonly platform?: readonly Uint8Array[] | undefined;
  /** Hashes that no certificate may have: `tbs:` and the SHA-256 of its signed part in hexadecimal. */
  readonly blacklist?: readonly string[];
  /** Certificates whose signatures are revoked (needs an `algorithms.revocationList`). */
  readonly revoked?: readonly Uint8Array[];
  /** Refuse signatures that Linux accepts but that break a rule of `crypto/strict.ts` (`EKEYREJECTED`). */
  readonly strict?: boolean;
  /** Hears when a message is read. */
  readonly phases?: Phases;
  readonly uid?: number;
  /** Start without a session keyring of its own. */
  readonly withoutSession?: boolean;
}
