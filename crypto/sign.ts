/**
 * @module crypto/sign
 * Makes detached CMS signatures for BPF programs: byte for byte what `bpftool gen skeleton -S` (7.3) and `sign-file` make of the
 * same key, certificate and data (OpenSSL's CMS with `CMS_NOCERTS | CMS_BINARY | CMS_NOATTR`; RFC 5652 section 5). RSA and ECDSA
 * results are deterministic here; OpenSSL's ECDSA is not, so there equality means "verifies".
 *
 * Does not own: reading keys (`crypto/private-key.ts`), what is signed (`loader/`).
 */
import { InputError } from '../isa/errors.ts';
import { ALL_ALGORITHMS } from './algorithms.ts';
import { equalBytes, stripLeadingZeros } from './bytes.ts';
import { derElement, derExplicit, derImplicit, derNull, derOctetString, derOID, derSequence, derSetOf, derSmallInteger } from './der.ts';
import { digest } from './digest.ts';
import { publicPoint, signECDSA } from './ecdsa.ts';
import { expandMLDSA, publicMLDSA, signMLDSA } from './mldsa.ts';
import { OID } from './oid.ts';
import type { PrivateKey } from './private-key.ts';
import { currentProvider, type CurveName, type HashName } from './provider.ts';
import { isRefusal, orRefusal } from './rejection.ts';
import { readRSAPublicKey, signRSA } from './rsa.ts';
import { parseCertificate, type Certificate } from './x509.ts';

/** How a signature is made. */
export interface SignOptions {
  /** Digest; default SHA-256 as bpftool has it, SHA-512 for ML-DSA. */
  readonly hash?: HashName;
  /** How the signer is named: by subject key identifier (bpftool, `sign-file -k`) or by issuer and serial number (`sign-file`). */
  readonly signerID?: 'key identifier' | 'issuer and serial';
  /** The certificate's file, for errors. */
  readonly file?: string;
}

const HASH_OID: Readonly<Record<HashName, string>> = {
  sha1: OID.sha1, sha224: OID.sha224, sha256: OID.sha256, sha384: OID.sha384, sha512: OID.sha512,
  'sha3-256': OID.sha3_256, 'sha3-384': OID.sha3_384, 'sha3-512': OID.sha3_512,
};
const ECDSA_OID: Readonly<Record<HashName, string>> = {
  sha1: OID.ecdsaWithSHA1, sha224: OID.ecdsaWithSHA224, sha256: OID.ecdsaWithSHA256, sha384: OID.ecdsaWithSHA384, sha512: OID.ecdsaWithSHA512,
  'sha3-256': OID.ecdsaWithSHA3_256, 'sha3-384': OID.ecdsaWithSHA3_384, 'sha3-512': OID.ecdsaWithSHA3_512,
};
const MLDSA_OID = { mldsa44: OID.mlDSA44, mldsa65: OID.mlDSA65, mldsa87: OID.mlDSA87 } as const;
const KEY_CURVE: Readonly<Record<string, CurveName>> = {
  'ecdsa-nist-p192': 'p192', 'ecdsa-nist-p256': 'p256', 'ecdsa-nist-p384': 'p384', 'ecdsa-nist-p521': 'p521',
};

/** The certificate's public key is that of the private key. */
function belongsTo(key: PrivateKey, certificate: Certificate): boolean {
  const { algorithm, bytes } = certificate.key;
  if (key.kind === 'rsa') {
    if (algorithm !== 'rsa') return false;
    const known = readRSAPublicKey(bytes, false);
    return equalBytes(known.modulus, key.modulus) && equalBytes(known.exponent, key.publicExponent);
  }
  if (key.kind === 'ec') return KEY_CURVE[algorithm] === key.curve && equalBytes(bytes, publicPoint(key.curve, stripLeadingZeros(key.scalar)));
  const publicKey = key.expanded !== undefined ? publicMLDSA(key.kind, key.expanded)
    : key.seed !== undefined ? expandMLDSA(key.kind, key.seed).publicKey : undefined;
  return algorithm === key.kind && publicKey !== undefined && equalBytes(bytes, publicKey);
}

function signatureValue(key: PrivateKey, hash: HashName, data: readonly Uint8Array[]): Uint8Array {
  if (key.kind === 'rsa') {
    return currentProvider()?.signRSA?.(key.encoded, hash, data) ?? signRSA(key.modulus, key.publicExponent, key.primes, hash, digest(hash, ...data));
  }
  if (key.kind === 'ec') return signECDSA(key.curve, key.scalar, digest(hash, ...data));
  if (key.expanded !== undefined) return signMLDSA(key.kind, key.expanded, data);
  const { secretKey } = expandMLDSA(key.kind, key.seed ?? new Uint8Array(32));
  try {
    return signMLDSA(key.kind, secretKey, data);
  } finally {
    secretKey.fill(0);
  }
}

function signatureAlgorithm(key: PrivateKey, hash: HashName): Uint8Array {
  if (key.kind === 'rsa') return derSequence(derOID(OID.rsaEncryption), derNull());
  return derSequence(derOID(key.kind === 'ec' ? ECDSA_OID[hash] : MLDSA_OID[key.kind]));
}

/**
 * A signer whose key and certificate are checked once, for many signatures.
 * @param certificate DER of the signer's certificate
 * @returns signs the concatenation of the parts that it is given
 * @throws InputError where the certificate cannot be read, has no subject key identifier, or is not that of the key
 * @example const sign = detachedSigner(key, certificateDER); sign([insns, metadata]);
 */
export function detachedSigner(key: PrivateKey, certificate: Uint8Array, options: SignOptions = {}): (data: readonly Uint8Array[]) => Uint8Array {
  const file = options.file ?? 'certificate', parsed = parseCertificate(certificate, { algorithms: ALL_ALGORITHMS });
  if (isRefusal(parsed)) throw new InputError(file, parsed.offset === undefined ? '' : `byte ${parsed.offset}`, `not a certificate: ${parsed.reason}`);
  const matches = orRefusal(() => ({ matches: belongsTo(key, parsed) }));
  if (isRefusal(matches) || !matches.matches) throw new InputError(file, '', 'the certificate is not that of the private key');
  const byKeyID = (options.signerID ?? 'key identifier') === 'key identifier';
  if (byKeyID && parsed.subjectKeyID === undefined) throw new InputError(file, '', 'the certificate has no subject key identifier');
  const hash = options.hash ?? (key.kind.startsWith('mldsa') ? 'sha512' : 'sha256'), version = derSmallInteger(byKeyID ? 3 : 1);
  const signerID = byKeyID ? derImplicit(0, parsed.subjectKeyID ?? new Uint8Array(0)) : derSequence(derElement(0x30, parsed.issuer), derElement(0x02, parsed.serial));
  const digestAlgorithm = derSequence(derOID(HASH_OID[hash]));
  return (data) => {
    const value = orRefusal(() => ({ bytes: signatureValue(key, hash, data) }));
    if (isRefusal(value)) throw new InputError('private key', '', value.reason);
    const signer = derSequence(version, signerID, digestAlgorithm, signatureAlgorithm(key, hash), derOctetString(value.bytes));
    return derSequence(derOID(OID.signedData), derExplicit(0, derSequence(
      version, derSetOf(digestAlgorithm), derSequence(derOID(OID.data)), derSetOf(signer))));
  };
}

/**
 * Signs `data` (the concatenation of its parts) once; as {@link detachedSigner}.
 * @example const blob = signDetached([insns, metadata], key, certificateDER);
 */
export function signDetached(data: readonly Uint8Array[], key: PrivateKey, certificate: Uint8Array, options: SignOptions = {}): Uint8Array {
  return detachedSigner(key, certificate, options)(data);
}
