/**
 * @module kernel/keys/restrict
 * Link restrictions of keyrings (`crypto/asymmetric_keys/restrict.c`, `certs/system_keyring.c`): who must have signed a
 * certificate before a keyring takes it.
 */
import { EINVAL, EKEYREJECTED, ENOKEY, ENOPKG, EOPNOTSUPP, EPERM } from '../../isa/errno.ts';
import type { KernelAlgorithms } from '../../crypto/algorithms.ts';
import { findKey, type TrustedKey, type TrustKeyring } from '../../crypto/verify.ts';
import { sameID, verifySignature, type AuthorityIDs, type Signature } from '../../crypto/signature.ts';
import type { Key, LinkCandidate, LinkCheck, Restriction } from './key.ts';
import { validate } from './key.ts';

/** What restrictions need of the keyrings around them. */
export interface RestrictionContext {
  readonly algorithms: KernelAlgorithms;
  /** A keyring as verification sees it. */
  trust(keyring: Key): TrustKeyring;
  /** First key of a keyring with this subject name, or a negative error number. */
  findByName(keyring: Key, subject: Uint8Array): TrustedKey | number;
  lookup(serial: number): Key | number;
  now(): number;
}

/** Nothing may be linked. */
export const rejectAll: LinkCheck = () => -EPERM;

function signatureOf(candidate: LinkCandidate): Signature | undefined {
  const { certificate } = candidate;
  return certificate === undefined || certificate.unsupportedSignature ? undefined : certificate.signature;
}

function findSigner(context: RestrictionContext, keyring: Key, authority: AuthorityIDs): TrustedKey | number {
  const [id, keyID, name] = authority;
  if (id === undefined && keyID === undefined) return name === undefined ? -EINVAL : context.findByName(keyring, name);
  return findKey(context.trust(keyring), id, keyID);
}

/** A key of `trusted` must have signed the certificate (`restrict_link_by_signature`). */
export function signedBy(context: RestrictionContext, trusted: () => Key | undefined): LinkCheck {
  return (candidate) => {
    const keyring = trusted();
    if (keyring === undefined) return -ENOKEY;
    if (candidate.type !== 'asymmetric') return -EOPNOTSUPP;
    const signature = signatureOf(candidate);
    if (signature === undefined) return -ENOPKG;
    const signer = findSigner(context, keyring, signature.authority);
    return typeof signer === 'number' ? -ENOKEY : negative(verifySignature(signer.publicKey, signature, context.algorithms));
  };
}

function negative(errno: number): number {
  return errno === 0 ? 0 : -errno;
}

/** One given key as signer: which identifiers must agree depends on which the certificate has. */
function isSigner(key: TrustedKey, authority: AuthorityIDs): boolean {
  const [id, keyID, name] = authority, either = (wanted: Uint8Array | undefined): boolean => sameID(key.ids[0], wanted) || sameID(key.ids[1], wanted);
  if (id === undefined && keyID === undefined) return sameID(key.ids[2], name);
  if (id === undefined || keyID === undefined) return either(id ?? keyID);
  return sameID(key.ids[1], keyID) && either(id);
}

/** A key, a keyring, and with `chain` the restricted keyring itself, may have signed (`restrict_link_by_key_or_keyring`). */
function signedByKeyOrKeyring(context: RestrictionContext, destination: Key, trusted: Key | undefined, chain: boolean): LinkCheck {
  return (candidate) => {
    if (candidate.type !== 'asymmetric') return -EOPNOTSUPP;
    const signature = signatureOf(candidate);
    if (signature === undefined) return -ENOPKG;
    let signer: TrustedKey | undefined;
    if (trusted?.type === 'keyring') {
      const found = findSigner(context, trusted, signature.authority);
      if (typeof found !== 'number') signer = found;
    } else if (trusted !== undefined) {
      if (trusted.trusted === undefined) return -EOPNOTSUPP;
      const valid = validate(trusted, context.now());
      if (isSigner(trusted.trusted, signature.authority)) {
        if (valid !== 0) return valid;
        signer = trusted.trusted;
      }
    }
    if (chain && signer === undefined) {
      const found = findSigner(context, destination, signature.authority);
      if (typeof found !== 'number') signer = found;
    }
    return signer === undefined ? -ENOKEY : negative(verifySignature(signer.publicKey, signature, context.algorithms));
  };
}

/**
 * The restriction that KEYCTL_RESTRICT_KEYRING names for asymmetric keys: `builtin_trusted`, `builtin_and_secondary_trusted`,
 * `key_or_keyring:SERIAL[:chain]`.
 */
export function asymmetricRestriction(
  text: string, destination: Key, context: RestrictionContext, system: { builtin(): Key | undefined; secondary(): Key | undefined },
): Restriction | number {
  if (text === 'builtin_trusted') return { check: signedBy(context, system.builtin), trusted: undefined };
  if (text === 'builtin_and_secondary_trusted') return { check: signedBy(context, system.secondary), trusted: undefined };
  const [method, serialText, ...rest] = text.split(':'), tail = rest.join(':');
  if (method !== 'key_or_keyring' || serialText === undefined || (rest.length > 0 && tail !== 'chain')) return -EINVAL;
  if (!/^-?(?:0x[0-9a-fA-F]+|[0-9]+)$/.test(serialText)) return -EINVAL;
  const chain = rest.length > 0, serial = Number(serialText.replace('-', '')) * (serialText.startsWith('-') ? -1 : 1);
  if (serial === 0 && chain) return { check: signedByKeyOrKeyring(context, destination, undefined, true), trusted: undefined };
  const trusted = context.lookup(serial);
  if (typeof trusted === 'number') return trusted;
  return { check: signedByKeyOrKeyring(context, destination, trusted, chain), trusted };
}

/** What `add_key` says of a certificate that the blacklist names. */
export const BLACKLISTED: number = -EKEYREJECTED;
