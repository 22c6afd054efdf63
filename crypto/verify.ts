/**
 * @module crypto/verify
 * A detached CMS signature against data and a keyring, with the kernel's verdict and error number
 * (`certs/system_keyring.c`, `crypto/asymmetric_keys/pkcs7_verify.c`, `pkcs7_trust.c`): internal consistency first, then the
 * revocation list, then trust. Keyrings are behind {@link TrustKeyring}.
 */
import { EBADMSG, EKEYREJECTED, EINVAL, ENOKEY, ENOMEM, ENOPKG } from '../isa/errno.ts';
import { within, type Phases } from '../isa/phases.ts';
import type { KernelAlgorithms } from './algorithms.ts';
import { contextConstructed, TAG } from './ber.ts';
import { equalBytes } from './bytes.ts';
import { readSignedMessage, type SignedMessage, type SignerInfo } from './pkcs7.ts';
import { Rejection } from './rejection.ts';
import { availableHash, messageDigest, sameID, verifySignature, type AuthorityIDs, type PublicKey, type Signature } from './signature.ts';
import type { Certificate, CertificateContext } from './x509.ts';

/** A key that may vouch. */
export interface TrustedKey {
  /** Serial number and issuer; subject key identifier; subject name. */
  readonly ids: AuthorityIDs;
  readonly publicKey: PublicKey;
  /** The certificate that the key came with. */
  readonly certificate: Certificate;
}

/** What verification needs of a keyring. */
export interface TrustKeyring {
  /**
   * The first asymmetric key one of whose first two identifiers is `id`, keyrings in it included.
   * @returns the key or a negative error number: `-ENOKEY` for none, `-EKEYREVOKED`, `-EKEYEXPIRED`, …
   */
  find(id: Uint8Array): TrustedKey | number;
}

/** Everything a verdict depends on besides message and data. */
export interface VerifyContext extends CertificateContext {
  readonly algorithms: KernelAlgorithms;
  /** `undefined` where the kernel has no such keyring: nothing is trusted. */
  readonly keyring: TrustKeyring | undefined;
  /** The blacklist keyring, asked where the kernel has a revocation list. */
  readonly revocationList?: TrustKeyring;
  /** Hears when the message is read. */
  readonly phases?: Phases | undefined;
}

/** The verdict over one message. */
export interface Verification {
  /** 0 for accepted, else a positive error number. */
  readonly errno: number;
  /** Which step decided. */
  readonly step: 'parse' | 'content' | 'signer' | 'revocation' | 'trust' | 'strict' | 'accepted';
  /** In words. */
  readonly reason: string;
  /** Offset in the message, where one is to blame. */
  readonly offset: number | undefined;
  /** The message, where it could be read. */
  readonly message: SignedMessage | undefined;
  /** The key of the keyring that vouched. */
  readonly trustedBy: TrustedKey | undefined;
}

/**
 * How the outcomes of several signers become one: `start` where no signer decides; an outcome listed in `soft` lets the next
 * signer try, and replaces an earlier soft one where it stands later in the list; success stays unless a later signer fails hard;
 * any other outcome ends the walk at once. Comments of `pkcs7_verify` and `pkcs7_validate_trust` give the same order.
 */
const COMBINATION: Readonly<Record<'signer' | 'trust', { readonly start: number; readonly soft: readonly number[] }>> = {
  signer: { start: ENOPKG, soft: [ENOPKG] },
  trust: { start: ENOKEY, soft: [ENOKEY, ENOPKG] },
};

/** State of one certificate during verification. */
interface Link {
  readonly certificate: Certificate;
  /** The certificate of the message that signed this one; itself for a root. */
  issuer: Link | undefined;
  blacklisted: boolean;
  seen: boolean;
  verified: boolean;
}

/** State of one signer during verification. */
interface Signer {
  readonly info: SignerInfo;
  readonly signature: Signature;
  link: Link | undefined;
  blacklisted: boolean;
  unsupported: boolean;
}

/** Content of the signed attributes as they are digested: SET OF instead of `[0]` (RFC 5652 section 5.4). */
function attributesAsSet(attributes: Uint8Array): Uint8Array {
  const bytes = attributes.slice();
  bytes[0] = TAG.set;
  return bytes;
}

function signatureOf(info: SignerInfo, data: Uint8Array | readonly Uint8Array[]): Signature {
  const { attributes } = info;
  return {
    algorithm: info.algorithm, takesData: info.takesData, value: info.signature, authority: [info.id, undefined, undefined],
    hash: info.takesData && attributes === undefined ? 'none' : info.hash,
    message: attributes === undefined ? data : attributesAsSet(attributes),
  };
}

/** Checks of one message, in the kernel's order. */
class Verifier {
  private readonly message: SignedMessage;
  private readonly data: Uint8Array | readonly Uint8Array[];
  private readonly context: VerifyContext;
  private readonly links: readonly Link[];
  private readonly signers: readonly Signer[];
  /** Verdicts already computed: the signer's key often is both embedded and trusted. */
  private readonly checked = new Map<Signature, { key: PublicKey; errno: number }>();
  trustedBy: TrustedKey | undefined;

  constructor(message: SignedMessage, data: Uint8Array | readonly Uint8Array[], context: VerifyContext) {
    this.message = message;
    this.data = data;
    this.context = context;
    this.links = message.certificates.map((certificate) => (
      { certificate, issuer: undefined, blacklisted: certificate.blacklisted, seen: false, verified: false }));
    this.signers = message.signers.map((info) => (
      { info, signature: signatureOf(info, data), link: undefined, blacklisted: false, unsupported: false }));
  }

  /** Digests, embedded certificates and the chains between them; throws {@link Rejection} unless all is well. */
  checkSigners(): void {
    if (this.message.contentType !== 'data') throw new Rejection(EKEYREJECTED, 'Authenticode content');
    let combined = COMBINATION.signer.start, reason = 'no signer whose digest this kernel computes';
    for (const signer of this.signers) {
      const outcome = this.attempt(() => this.checkSigner(signer));
      if (signer.blacklisted) {
        if (combined === ENOPKG) [combined, reason] = [EKEYREJECTED, 'signer depends on a blacklisted certificate'];
        continue;
      }
      if (outcome === undefined) combined = 0;
      else if (COMBINATION.signer.soft.includes(outcome.errno)) signer.unsupported = true;
      else throw outcome;
    }
    if (combined !== 0) throw new Rejection(combined, reason);
  }

  /** Whether `keyring` vouches for a signer; throws {@link Rejection} if not. */
  checkTrust(keyring: TrustKeyring): void {
    for (const link of this.links) link.seen = false;
    const { start, soft } = COMBINATION.trust;
    let combined = start, reason = 'no key of the keyring vouches for a signer';
    for (const signer of this.signers) {
      const outcome = this.attempt(() => this.checkSignerTrust(signer, keyring));
      if (outcome === undefined) combined = 0;
      else if (!soft.includes(outcome.errno)) throw outcome;
      else if (combined !== 0 && soft.indexOf(outcome.errno) > soft.indexOf(combined)) [combined, reason] = [outcome.errno, outcome.reason];
    }
    if (combined !== 0) throw new Rejection(combined, reason);
  }

  private attempt(step: () => void): Rejection | undefined {
    try {
      step();
      return undefined;
    } catch (error) {
      if (error instanceof Rejection) return error;
      throw error;
    }
  }

  private checkSigner(signer: Signer): void {
    const { info } = signer;
    this.checkDigest(info);
    signer.link = this.links.find(({ certificate }) => sameID(certificate.id, info.id));
    if (signer.link === undefined) return;
    const { certificate } = signer.link;
    if (info.signingTime !== undefined && (info.signingTime < certificate.validFrom || info.signingTime > certificate.validTo)) {
      throw new Rejection(EKEYREJECTED, 'signing time outside the validity of the signer\'s certificate');
    }
    const errno = this.verify(certificate.key, signer.signature);
    if (errno !== 0) throw new Rejection(errno, 'signature does not verify with the embedded certificate');
    this.checkChain(signer, signer.link);
  }

  private checkDigest(info: SignerInfo): void {
    if (info.attributes === undefined && info.takesData) return;
    if (availableHash(info.hash, this.context.algorithms) === undefined) throw new Rejection(ENOPKG, `no digest ${info.hash} in this kernel`);
    if (info.attributes === undefined) return;
    const expected = messageDigest({ ...signatureOf(info, this.data), hash: info.hash, message: this.data }, this.context.algorithms);
    if (info.messageDigest === undefined) throw new Rejection(EKEYREJECTED, 'no messageDigest');
    if (info.messageDigest.length !== expected.length) throw new Rejection(EBADMSG, 'messageDigest of another length');
    if (!equalBytes(info.messageDigest, expected)) throw new Rejection(EKEYREJECTED, 'messageDigest is not the digest of the content');
  }

  /** Follows authority key identifiers through the message's certificates, verifying every signature on the way. */
  private checkChain(signer: Signer, first: Link): void {
    for (const link of this.links) link.seen = false;
    for (let link = first; ;) {
      const { certificate } = link;
      link.seen = true;
      if (link.blacklisted) {
        signer.blacklisted = true;
        for (let below: Link | undefined = first; below !== undefined && below !== link; below = below.issuer) below.blacklisted = true;
        return;
      }
      if (certificate.selfSigned) {
        link.issuer = link;
        return;
      }
      const issuer = this.issuerOf(certificate);
      if (issuer === undefined || issuer.seen) return;
      const errno = this.verify(issuer.certificate.key, certificate.signature);
      if (errno !== 0) throw new Rejection(errno, 'a certificate\'s signature does not verify with its issuer');
      link.issuer = issuer;
      link = issuer;
    }
  }

  private issuerOf(certificate: Certificate): Link | undefined {
    const [id, keyID] = certificate.signature.authority;
    if (id === undefined) return this.links.find((link) => sameID(link.certificate.subjectKeyID, keyID));
    const issuer = this.links.find((link) => sameID(link.certificate.id, id));
    if (issuer !== undefined && keyID !== undefined && !sameID(issuer.certificate.subjectKeyID, keyID)) {
      throw new Rejection(EKEYREJECTED, 'authority key identifier names another key than its issuer and serial number');
    }
    return issuer;
  }

  private checkSignerTrust(signer: Signer, keyring: TrustKeyring): void {
    if (signer.unsupported) throw new Rejection(ENOPKG, 'signer uses what this kernel lacks');
    let last: Link | undefined;
    for (let link = signer.link; link !== undefined; link = link.issuer) {
      if (link.seen) {
        if (!link.verified) throw new Rejection(ENOKEY, 'certificate is not vouched for');
        this.markVerified(signer, link);
        return;
      }
      link.seen = true;
      const found = findKey(keyring, link.certificate.id, link.certificate.subjectKeyID);
      if (typeof found !== 'number') {
        this.vouch(found, last === undefined ? signer.signature : last.certificate.signature);
        this.markVerified(signer, link);
        return;
      }
      if (found === -ENOMEM) throw new Rejection(ENOMEM, 'out of memory');
      if (link.issuer === link) throw new Rejection(ENOKEY, 'self-signed certificate that is not in the keyring');
      last = link;
    }
    const found = last === undefined ? -ENOKEY : this.findIssuer(last.certificate, keyring);
    if (last !== undefined && typeof found !== 'number') {
      this.vouch(found, last.certificate.signature);
      this.markVerified(signer, last);
      return;
    }
    if (typeof found === 'number' && found !== -ENOKEY) throw new Rejection(-found, 'search for the issuer of the last certificate');
    const direct = findKey(keyring, signer.info.id, undefined);
    if (typeof direct === 'number') {
      throw new Rejection(-direct, direct === -ENOKEY ? 'signer is not in the keyring' : 'search for the signer');
    }
    this.vouch(direct, signer.signature);
  }

  private findIssuer(certificate: Certificate, keyring: TrustKeyring): TrustedKey | number {
    const [id, keyID] = certificate.signature.authority;
    return id === undefined && keyID === undefined ? -ENOKEY : findKey(keyring, id, keyID);
  }

  /** A key was found: whatever is wrong with its signature is reported as one error. */
  private vouch(key: TrustedKey, signature: Signature): void {
    const errno = this.verify(key.publicKey, signature);
    if (errno === ENOMEM) throw new Rejection(ENOMEM, 'out of memory');
    if (errno !== 0) throw new Rejection(EKEYREJECTED, 'signature does not verify with the key of the keyring');
    this.trustedBy = key;
  }

  private markVerified(signer: Signer, upTo: Link): void {
    for (let link = signer.link; link !== undefined; link = link.issuer) {
      link.verified = true;
      if (link === upTo) return;
    }
  }

  private verify(key: PublicKey, signature: Signature): number {
    const known = this.checked.get(signature);
    if (known !== undefined && known.key.algorithm === key.algorithm && equalBytes(known.key.bytes, key.bytes)) return known.errno;
    const errno = verifySignature(key, signature, this.context.algorithms);
    this.checked.set(signature, { key, errno });
    return errno;
  }
}

/**
 * Looks a key up by up to two identifiers (`find_asymmetric_key`, exact): the first is searched; where both are given the key
 * found must carry the second as its subject key identifier.
 * @returns the key or a negative error number
 */
export function findKey(keyring: TrustKeyring, id: Uint8Array | undefined, keyID: Uint8Array | undefined): TrustedKey | number {
  const wanted = id ?? keyID;
  if (wanted === undefined || wanted.length === 0) return -EINVAL;
  const found = keyring.find(wanted);
  if (typeof found === 'number' || id === undefined || keyID === undefined) return found;
  return sameID(found.ids[1], keyID) ? found : -EKEYREJECTED;
}

/**
 * Verifies a detached signature as `verify_pkcs7_signature` does for BPF.
 * @param data what is signed, in one piece or several
 * @example verifyDetached([insns, metadata], signature, { algorithms: DISTRIBUTION_ALGORITHMS, keyring }).errno === 0
 */
export function verifyDetached(data: Uint8Array | readonly Uint8Array[], signature: Uint8Array, context: VerifyContext): Verification {
  let step: Verification['step'] = 'parse', message: SignedMessage | undefined;
  try {
    message = within(context.phases, 'CMS parse', () => readSignedMessage(signature, context));
    step = 'content';
    if (message.content !== undefined) throw new Rejection(EBADMSG, 'the message carries its own content');
    const verifier = new Verifier(message, data, context);
    step = 'signer';
    verifier.checkSigners();
    step = 'revocation';
    if (context.algorithms.revocationList && context.revocationList !== undefined && isRevoked(verifier, context.revocationList)) {
      throw new Rejection(EKEYREJECTED, 'signer is on the revocation list');
    }
    step = 'trust';
    if (context.keyring === undefined) throw new Rejection(ENOKEY, 'this kernel has no such keyring');
    verifier.checkTrust(context.keyring);
    return { errno: 0, step: 'accepted', reason: 'signature verified', offset: undefined, message, trustedBy: verifier.trustedBy };
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    return { errno: error.errno, step, reason: error.reason, offset: error.offset, message, trustedBy: undefined };
  }
}

function isRevoked(verifier: Verifier, list: TrustKeyring): boolean {
  try {
    verifier.checkTrust(list);
    return true;
  } catch (error) {
    if (error instanceof Rejection) return false;
    throw error;
  }
}

/** The key that a certificate puts into a keyring. */
export function trustedKey(certificate: Certificate): TrustedKey {
  return { ids: [certificate.id, certificate.subjectKeyID, certificate.subject], publicKey: certificate.key, certificate };
}

/** A keyring that holds just these certificates, for checks outside a kernel. */
export function certificateKeyring(certificates: readonly Certificate[]): TrustKeyring {
  const keys = certificates.map(trustedKey);
  return { find: (id) => keys.find((key) => sameID(key.ids[0], id) || sameID(key.ids[1], id)) ?? -ENOKEY };
}

/** The identifier octet of signed attributes as they stand in a message. */
export const SIGNED_ATTRIBUTES_TAG: number = contextConstructed(0);
