/**
 * @module crypto/algorithms
 * Which algorithms a kernel has: data of a kernel profile. What a kernel lacks is refused with the error numbers of a
 * kernel built that way (`ENOPKG` for a digest, `ENOENT` for a signature algorithm).
 */
import type { HashName } from './provider.ts';

/** Public key algorithms, named as in the kernel's `struct public_key.pkey_algo`. */
export type KeyAlgorithm =
  | 'rsa' | 'ecdsa-nist-p192' | 'ecdsa-nist-p256' | 'ecdsa-nist-p384' | 'ecdsa-nist-p521' | 'ecrdsa'
  | 'mldsa44' | 'mldsa65' | 'mldsa87';

/** What a signature says of its algorithm: like a key's, but ECDSA does not name the curve. */
export type SignatureAlgorithm = 'rsa' | 'ecdsa' | 'ecrdsa' | 'mldsa44' | 'mldsa65' | 'mldsa87';

/** Algorithms and options of one kernel build. */
export interface KernelAlgorithms {
  readonly hashes: ReadonlySet<HashName>;
  readonly signatures: ReadonlySet<KeyAlgorithm>;
  /** FIPS mode: RSA from 2048 bits only, no P-192. */
  readonly fips: boolean;
  /** `CONFIG_SYSTEM_REVOCATION_LIST`: a message signed by a key of the blacklist keyring is refused. */
  readonly revocationList: boolean;
  /** `CONFIG_SYSTEM_DATA_VERIFICATION`: without it no signature can be verified. */
  readonly dataVerification: boolean;
}

const RSA_AND_ECDSA: readonly KeyAlgorithm[] = [
  'rsa', 'ecdsa-nist-p192', 'ecdsa-nist-p256', 'ecdsa-nist-p384', 'ecdsa-nist-p521',
];

/**
 * The kernel whose answers are recorded in test/parity: built without ECDSA (`CONFIG_CRYPTO_ECDSA` unset), SHA-3 and ML-DSA.
 * Certificates of those algorithms can be read, but what they sign cannot be checked there (`ENOENT`).
 */
export const RECORDED_ALGORITHMS: KernelAlgorithms = {
  hashes: new Set<HashName>(['sha1', 'sha224', 'sha256', 'sha384', 'sha512']),
  signatures: new Set<KeyAlgorithm>(['rsa']),
  fips: false,
  revocationList: false,
  dataVerification: true,
};

/** A distribution kernel: RSA, ECDSA, SHA-1 and SHA-2 built in, nothing that would be loaded as a module. */
export const DISTRIBUTION_ALGORITHMS: KernelAlgorithms = {
  hashes: new Set<HashName>(['sha1', 'sha224', 'sha256', 'sha384', 'sha512']),
  signatures: new Set(RSA_AND_ECDSA),
  fips: false,
  revocationList: false,
  dataVerification: true,
};

/** A kernel with everything built in that this project computes. */
export const ALL_ALGORITHMS: KernelAlgorithms = {
  hashes: new Set<HashName>(['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512']),
  signatures: new Set<KeyAlgorithm>([...RSA_AND_ECDSA, 'mldsa44', 'mldsa65', 'mldsa87']),
  fips: false,
  revocationList: true,
  dataVerification: true,
};
